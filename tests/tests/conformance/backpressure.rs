//! A consumer that is too slow.

use shardwright_core::{Compression, DisconnectReason, Event};
use shardwright_runtime::Overflow;
use shardwright_testkit::emulator::DONE;
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::{Seen, Target};

use crate::harness::{Harness, cases};
use crate::play::{Play, beating, dispatch, gateway, ms};

cases![
    beats_go_on_while_the_consumer_is_blocked,
    a_full_mailbox_pauses_and_loses_nothing,
    a_consumer_that_stalls_costs_a_connection_and_no_event,
    what_is_dropped_is_counted_exactly,
    control_payloads_are_obeyed_while_dispatches_are_dropped,
    a_blocked_consumer_closes_the_tcp_window,
];

fn beats(play: &Play) -> usize {
    play.sent(1).len()
}

/// The consumer asks for nothing, the mailbox has room: beats and the answers to op 1 are on time, and
/// every event is there afterwards.
fn beats_go_on_while_the_consumer_is_blocked(harness: &dyn Harness) {
    let mut play = Play::up(harness, beating(ms(1000), []));
    play.emulator().set_rate(200.0);
    let count = |log: &shardwright_testkit::server::Log| {
        log.count(|seen| matches!(seen, Seen::Received { op: Some(1), .. }))
    };
    play.seen("beats", |log| count(log) >= 4);
    let before = beats(&play);
    play.play(vec![Effect::Op1("absent".into()); 3]);
    play.seen("the answers to op 1", |log| count(log) >= before + 3);
    play.emulator().set_rate(0.0);
    play.play([dispatch("LAST")]);
    play.dispatch("LAST");
    assert_eq!((play.gone, play.dropped()), (0, 0));
    play.end();
}

/// A mailbox of eight events: reading pauses again and again, and nothing is lost.
fn a_full_mailbox_pauses_and_loses_nothing(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| options.mailbox_events = 8);
    play.emulator().flood(&Target::All, 5000);
    play.dispatch(DONE);
    assert_eq!(play.dropped(), 0);
    play.end();
}

/// The consumer is blocked longer than an interval: the connection is left with a code that keeps the
/// session, not dialled again until there is room, and then resumed.
fn a_consumer_that_stalls_costs_a_connection_and_no_event(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, beating(ms(300), []), |options| {
        options.mailbox_events = 8;
    });
    play.emulator().flood(&Target::All, 200);
    play.seen("the close frame", |log| {
        log.count(|seen| matches!(seen, Seen::ClosedByClient { code: 4000, .. })) == 1
    });
    assert_eq!(play.dials().len(), 1);
    assert_eq!(play.gone().reason, DisconnectReason::ConsumerStalled);
    play.dispatch(DONE);
    assert!(play.lost.is_empty());
    assert_eq!(play.dropped(), 0);
    play.end();
}

/// With the other policy dispatches are dropped, the newest first, and counted.
fn what_is_dropped_is_counted_exactly(harness: &dyn Harness) {
    const EVENTS: u64 = 2000;
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.mailbox_events = 16;
        options.overflow = Overflow::DropNewest;
    });
    play.emulator().flood(&Target::All, EVENTS);
    play.seen("the flood's end", |log| {
        log.count(|seen| *seen == Seen::FloodEnded) == 1
    });
    // The answer to a beat asked for after the flood says that all of it has been read.
    play.play([Effect::Op1("absent".into())]);
    play.seen("the answer to op 1", |log| {
        log.count(|seen| matches!(seen, Seen::Received { op: Some(1), .. })) == 1
    });
    // The flood, and the event that ends it.
    assert_eq!(play.dropped(), EVENTS + 1 - 16);
    play.bot.disconnect();
    play.ended();
    assert_eq!(play.seq(), 1 + 16, "the oldest are kept");
    play.well_behaved();
}

/// Acknowledgements, op 1, op 7, RESUMED, op 9 and READY in the middle of a flood that nobody takes: each
/// is obeyed, and only dispatches count as dropped.
fn control_payloads_are_obeyed_while_dispatches_are_dropped(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, beating(ms(1000), []), |options| {
        options.mailbox_events = 16;
        options.overflow = Overflow::DropNewest;
    });
    let flood = [Effect::Events(300)];
    play.play(&flood);
    let asked = beats(&play);
    play.play([Effect::Op1("absent".into())]);
    play.seen("the answer to op 1", |log| {
        log.count(|seen| matches!(seen, Seen::Received { op: Some(1), .. })) > asked
    });
    play.play([Effect::Events(300), Effect::Op7]);
    play.seen("RESUMED", |log| log.resumed() == 1);
    play.play([Effect::Events(300), Effect::Op9(false.into())]);
    play.seen("a second READY", |log| log.readies() == 2);
    play.play(&flood);
    let beats = beats(&play);
    play.seen("beats of the new session", |log| {
        log.count(|seen| matches!(seen, Seen::Received { op: Some(1), .. })) >= beats + 2
    });
    // READY; three floods and RESUMED of the first session; READY and a flood of the second.
    let sent = 1 + 900 + 1 + 1 + 300;
    play.bot.disconnect();
    play.expect_gaps();
    let mut taken = 1;
    play.until("the end", |event| {
        taken += u64::from(matches!(event, Event::Dispatch(_)));
        matches!(event, Event::Stopped { .. }).then_some(())
    });
    assert_eq!(taken + play.dropped(), sent);
    assert!(play.dropped() > 1000);
    play.well_behaved();
}

/// A million events at the rate of the line, and nobody takes one: no more leave the gateway than the
/// mailbox and the buffers on the way hold.
fn a_blocked_consumer_closes_the_tcp_window(harness: &dyn Harness) {
    const EVENTS: u64 = 1_000_000;
    let mut play = Play::up_with(harness, beating(ms(4000), []), |options| {
        options.compression = Compression::None;
        options.mailbox_events = 64;
    });
    play.emulator().flood(&Target::All, EVENTS);
    // One interval after reading paused the connection is left; until then the window was closed.
    play.seen("the end of the connection", |log| {
        log.count(|seen| matches!(seen, Seen::ClosedByClient { code: 4000, .. })) == 1
    });
    let made = play
        .emulator()
        .with_machine(|machine| machine.sessions()[0].seq);
    // Some 50 MB, where the largest buffers of a system hold 40; read without a pause it would be far more.
    assert!(made < 50_000, "{made} events left");
    assert!(made > 64, "{made} events left");
    let from = play.seq();
    while play.seq() < from + 64 {
        play.next();
    }
    assert_eq!(play.dropped(), 0);
    play.bot.disconnect();
    play.ended();
}
