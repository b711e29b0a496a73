//! What moves the sequence, and that events come in order and once.

use shardwright_core::{Compression, Event, Next, Problem};
use shardwright_testkit::emulator::DONE;
use shardwright_testkit::scenario::{Effect, Ending, Listener, Nth, Selector, Step, When};
use shardwright_testkit::server::{Seen, ServerConfig, Target};

use crate::harness::{Harness, cases};
use crate::play::{Play, dispatch, gateway};

cases![
    only_dispatches_with_a_number_move_it,
    ready_itself_counts,
    what_is_sent_twice_comes_once,
    a_gap_is_said,
    a_large_payload_is_not_overtaken,
    every_event_comes_once_over_cut_lines_with_zlib,
    every_event_comes_once_over_cut_lines_with_zstd,
    every_event_comes_once_over_cut_lines_uncompressed,
    a_replay_cut_short_goes_on_where_it_stopped,
    op_7_in_a_replay_keeps_what_was_replayed,
    op_9_in_a_replay_ends_the_session,
    an_event_is_not_lost_because_the_answer_to_another_failed,
];

/// Payloads with `"s":null` or without `s` leave the sequence where it is.
fn only_dispatches_with_a_number_move_it(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    let mut effects = vec![dispatch("ONE"); 8];
    effects.extend([
        Effect::Text(r#"{"t":null,"s":null,"op":11,"d":null}"#.to_owned()),
        Effect::Text(r#"{"t":null,"s":null,"op":1,"d":null}"#.to_owned()),
        Effect::Text(r#"{"op":11}"#.to_owned()),
        Effect::Fin,
    ]);
    play.play(effects);
    assert_eq!(play.gone().next, Next::Resume);
    assert_eq!(play.seq(), 9);
    play.resumed();
    assert_eq!(play.resumes()[0].1, Some(9));
    play.end();
}

/// READY and RESUMED have numbers like any dispatch.
fn ready_itself_counts(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    for (n, seq) in [1, 2, 3].into_iter().enumerate() {
        play.play([Effect::Fin]);
        play.resumed();
        assert_eq!(play.resumes()[n].1, Some(seq));
    }
    play.end();
}

/// The gateway may repeat itself; the consumer need not care.
fn what_is_sent_twice_comes_once(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    let mut effects = vec![dispatch("ONE"); 5];
    effects.extend([Effect::Repeat(4), dispatch("AFTER")]);
    play.play(effects);
    play.dispatch("AFTER");
    assert_eq!(play.seq(), 7);
    play.end();
}

/// Numbers that never come are reported, and the connection goes on.
fn a_gap_is_said(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.expect_gaps();
    play.play([Effect::SkipSeq(3), dispatch("AFTER")]);
    let gap = play.problem(|problem| match problem {
        Problem::Gap { expected, got } => Some((*expected, *got)),
        _ => None,
    });
    assert_eq!(gap, (2, 5));
    play.dispatch("AFTER");
    assert_eq!(play.gone, 0);
    play.end();
}

/// One frame is finished before the next is looked at: 6 MB are not overtaken by 50 bytes.
fn a_large_payload_is_not_overtaken(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    let big = |t: &str, bytes, count| Effect::Big {
        t: t.to_owned(),
        bytes,
        count,
    };
    play.play([
        big("GUILD_CREATE", 6_000_000, 1),
        big("SMALL", 50, 198),
        Effect::Fin,
    ]);
    play.gone();
    assert_eq!(play.seq(), 200);
    play.resumed();
    assert_eq!(play.resumes()[0].1, Some(200));
    play.end();
}

/// Floods a shard while its line is reset in the middle of a dispatch again and again: every event comes
/// once, and every cut costs exactly one Resume.
fn flood_over_cut_lines(harness: &dyn Harness, compression: Compression) {
    const EVENTS: u64 = 10_000;
    const CUTS: u64 = 5;
    // At the server's own dispatches, so that it does not matter how far behind the client is.
    let steps: Vec<Step> = (1..=CUTS)
        .map(|n| {
            let cut = Effect::Cut {
                after: 7,
                then: Ending::Rst,
            };
            Step::new(When::Dispatch(Nth::Only(n * EVENTS / (CUTS + 1))), [cut])
        })
        .collect();
    // What a reset throws away of the buffers on the way must still be there to be replayed.
    let room = |config: &mut ServerConfig| {
        config.replay_events = 2 * EVENTS as usize;
        config.replay_bytes = 256 * 1024 * 1024;
    };
    let builder = gateway(steps).configure(room);
    let mut play = Play::up_with(harness, builder, |options| {
        options.compression = compression
    });
    play.emulator().flood(&Target::All, EVENTS);
    play.dispatch(DONE);
    assert!(play.seq() > EVENTS);
    assert!(play.lost.is_empty());
    play.log(|log| {
        // Counted here: a RESUMED that was on its way when the next cut came is not seen by the client.
        let count = |wanted: fn(&Seen) -> bool| log.count(wanted);
        let cuts = CUTS as usize;
        assert_eq!(count(|seen| matches!(seen, Seen::Step { .. })), cuts);
        assert_eq!(count(|seen| matches!(seen, Seen::Resume { .. })), cuts);
        assert_eq!(log.identifies(), 1, "one session all along");
    });
    play.end();
}

/// Cut lines with zlib-stream.
fn every_event_comes_once_over_cut_lines_with_zlib(harness: &dyn Harness) {
    flood_over_cut_lines(harness, Compression::Zlib);
}

/// Cut lines with zstd-stream.
fn every_event_comes_once_over_cut_lines_with_zstd(harness: &dyn Harness) {
    flood_over_cut_lines(harness, Compression::Zstd);
}

/// Cut lines without compression.
fn every_event_comes_once_over_cut_lines_uncompressed(harness: &dyn Harness) {
    flood_over_cut_lines(harness, Compression::None);
}

/// A session with two events the client has not seen, whose replay is interrupted after them.
fn interrupted_replay(harness: &dyn Harness, effects: impl Into<Vec<Effect>>) -> Play {
    let step =
        Step::new(When::Dispatch(Nth::Only(3)), effects).on(Selector::listener(Listener::Resume));
    let mut play = Play::up(harness, gateway([step]));
    // Nothing after op 7 is looked at, so the two are left for the replay.
    play.play([Effect::Op7, dispatch("TWO"), dispatch("THREE")]);
    assert_eq!(play.gone().next, Next::Resume);
    assert_eq!(play.seq(), 1);
    play
}

/// A reset within a replay: what was replayed is not replayed again.
fn a_replay_cut_short_goes_on_where_it_stopped(harness: &dyn Harness) {
    let mut play = interrupted_replay(harness, [Effect::Fin]);
    play.gone();
    assert_eq!(play.seq(), 3);
    play.resumed();
    let seqs: Vec<_> = play.resumes().into_iter().map(|(_, seq)| seq).collect();
    assert_eq!(seqs, [Some(1), Some(3)]);
    play.end();
}

/// Op 7 within a replay is obeyed like any other.
fn op_7_in_a_replay_keeps_what_was_replayed(harness: &dyn Harness) {
    let mut play = interrupted_replay(harness, [Effect::Op7]);
    play.gone();
    assert_eq!(play.seq(), 3);
    play.resumed();
    let seqs: Vec<_> = play.resumes().into_iter().map(|(_, seq)| seq).collect();
    assert_eq!(seqs, [Some(1), Some(3)]);
    play.end();
}

/// Op 9 within a replay ends the session; what came before it was handed over.
fn op_9_in_a_replay_ends_the_session(harness: &dyn Harness) {
    let mut play = interrupted_replay(harness, [Effect::Op9(false.into())]);
    let gone = play.gone();
    assert_eq!((gone.next, play.seq()), (Next::Identify, 3));
    play.ready();
    assert_eq!(play.resumes().len(), 1);
    play.end();
}

/// Two events with a demand for a beat between them, then a reset: that the beat cannot be sent costs
/// neither event.
fn an_event_is_not_lost_because_the_answer_to_another_failed(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([
        dispatch("TWO"),
        Effect::Op1("absent".into()),
        dispatch("THREE"),
        Effect::Rst,
    ]);
    let mut replayed = None;
    play.until("RESUMED", |event| {
        if let Event::Resumed { replayed: n, .. } = event {
            replayed = Some(*n);
        }
        replayed
    });
    assert_eq!(replayed, Some(0), "both were read from the broken line");
    assert_eq!(play.resumes()[0].1, Some(3));
    play.end();
}
