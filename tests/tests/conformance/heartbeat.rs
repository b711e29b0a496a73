//! Heartbeats: when they are sent, and when their answers are missed.

use shardwright_core::{Command, DisconnectReason, Event, Next};
use shardwright_testkit::scenario::{Effect, Nth, Selector, Step, When};
use shardwright_testkit::server::Seen;
use shardwright_testkit::ws;

use crate::harness::{Harness, cases};
use crate::play::{Play, beating, dispatch, gateway, ms};
use crate::raw::{Raw, frame};

cases![
    a_missing_answer_is_not_carried_to_the_next_connection,
    an_answer_behind_a_backlog_is_waited_for,
    a_peer_that_falls_silent_is_left,
    a_peer_that_stops_reading_is_left,
    a_reset_at_the_moment_of_the_verdict_is_one_loss,
    beats_do_not_wait_behind_commands,
    a_beat_that_is_asked_for_is_sent_at_once,
    beats_go_on_while_ready_is_awaited,
    a_second_hello_changes_the_one_schedule,
];

/// The first beat of a connection stays unanswered and the line ends: the next connection starts without
/// that debt.
fn a_missing_answer_is_not_carried_to_the_next_connection(harness: &dyn Harness) {
    let step = Step::new(When::Beat(Nth::Only(1)), [Effect::Fin])
        .instead()
        .on(Selector::conn(1));
    let mut play = Play::up(harness, beating(ms(1000), [step]));
    assert_eq!(play.gone().next, Next::Resume);
    play.resumed();
    play.heartbeats(4);
    assert_eq!(play.gone, 1);
    assert_eq!(play.dials().len(), 2);
    play.end();
}

/// Every answer is two and a half intervals late, but dispatches keep coming: the link lives.
fn an_answer_behind_a_backlog_is_waited_for(harness: &dyn Harness) {
    let late = Step::new(When::Beat(Nth::Every { every: 1 }), [Effect::Wait(2500)]).always();
    let mut play = Play::up(harness, beating(ms(1000), [late]));
    play.emulator().set_rate(100.0);
    play.heartbeats(4);
    assert_eq!(play.gone, 0);
    play.log(|log| {
        let conn = log
            .entries()
            .iter()
            .find_map(|entry| entry.conn)
            .expect("one");
        assert!(log.beats(conn).len() >= 6);
    });
    play.end();
}

/// A half-open connection: the verdict comes from the missing answer, no close handshake is waited for,
/// and the old socket is really given up.
fn a_peer_that_falls_silent_is_left(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |options| {
        options.limits.close_timeout = crate::play::PATIENCE * 2;
    });
    let mut old = raw.accept_ready(300);
    play.ready();
    // Neither read nor written from here on.
    let gone = play.gone();
    assert_eq!(gone.reason, DisconnectReason::Zombie);
    let mut new = raw.accept_resume(40_000, 1);
    new.text(&crate::raw::dispatch(2, "RESUMED"));
    play.resumed();
    assert_eq!(old.until_end(), Some(4000), "tried once, then dropped");
    assert_eq!(play.gone, 1);
    new.stop(play);
}

/// A peer that does not read fills the way out: a write that blocks stops neither the verdict nor the
/// reconnect.
fn a_peer_that_stops_reading_is_left(harness: &dyn Harness) {
    let raw = Raw::with_receive_buffer(Some(4096));
    let mut play = raw.bot(harness, |_| {});
    let mut old = raw.accept_ready(1000);
    play.ready();
    // What a client may send in a minute fits into the buffers on the way; its pongs do not.
    let pings = frame(true, ws::PING, &[b'x'; 125]).repeat(1000);
    for _ in 0..80 {
        old.bytes(&pings);
    }
    let gone = play.gone();
    assert_eq!(gone.reason, DisconnectReason::Zombie);
    let mut new = raw.accept_resume(40_000, 1);
    new.text(&crate::raw::dispatch(2, "RESUMED"));
    play.resumed();
    // What was stuck comes now; then the end, for the socket was dropped.
    old.until_end();
    new.stop(play);
}

/// The verdict and the reset come at the same instant: one notice, one new connection.
fn a_reset_at_the_moment_of_the_verdict_is_one_loss(harness: &dyn Harness) {
    std::thread::scope(|scope| {
        for offset in [-2_i64, -1, 0, 1, 2] {
            scope.spawn(move || {
                let interval = 1000;
                let wait = u64::try_from(interval + offset).expect("a time");
                let step = Step::new(When::Beat(Nth::Only(1)), [Effect::Wait(wait), Effect::Rst])
                    .instead()
                    .on(Selector::conn(1));
                let builder = beating(ms(1000), [step]);
                let mut play = Play::up_with(harness, builder, |options| {
                    options.seed = Some(wait);
                });
                assert_eq!(play.gone().next, Next::Resume);
                play.resumed();
                play.heartbeats(2);
                assert_eq!(play.gone, 1);
                assert_eq!(play.dials().len(), 2);
                play.end();
            });
        }
    });
}

/// 400 commands wait; the beats pass them by, and so does a Resume. In all no more is sent than may be.
fn beats_do_not_wait_behind_commands(harness: &dyn Harness) {
    let mut play = Play::up(harness, beating(ms(1000), []));
    for _ in 0..400 {
        play.bot.send_raw(0, presence()).expect("it waits");
    }
    play.heartbeats(3);
    play.play([Effect::Op7]);
    play.resumed();
    play.heartbeats(3);
    assert_eq!(play.gone, 1);
    play.log(|log| {
        assert!(log.most_sends(std::time::Duration::from_secs(60)) <= 120);
        for conn in 1..=2 {
            let conn = shardwright_testkit::server::ConnId(conn);
            let beats = log.beats(conn);
            assert!(beats.len() >= 3, "{beats:?}");
        }
    });
    play.end();
}

/// A command that nobody counts but the limit of all.
fn presence() -> Command {
    Command::raw(r#"{"op":8,"d":{"guild_id":"41771983423143937","query":"a","limit":1}}"#)
        .expect("a command")
}

/// Op 1 is answered at once with the sequence, not with op 11, and not when the schedule says.
fn a_beat_that_is_asked_for_is_sent_at_once(harness: &dyn Harness) {
    let play = Play::up(harness, gateway([]));
    play.play(vec![dispatch("ONE"); 11]);
    for body in ["null", "3"] {
        let before = play.sent(1).len();
        let body = serde_json::from_str(body).expect("JSON");
        play.play([Effect::Op1(body)]);
        play.seen("the answer to op 1", |log| {
            log.count(|seen| matches!(seen, Seen::Received { op: Some(1), .. })) > before
        });
        let beats = play.sent(1);
        assert_eq!(beats.last().expect("one"), r#"{"op":1,"d":12}"#);
    }
    play.end();
}

/// While READY is awaited beats are sent, with `null`; then with the sequence.
fn beats_go_on_while_ready_is_awaited(harness: &dyn Harness) {
    let step = Step::new(When::Identify, [Effect::Wait(2500)]);
    let mut play = Play::up(harness, beating(ms(1000), [step]));
    let early = play.sent(1);
    assert!(early.len() >= 2, "{early:?}");
    assert!(early.iter().all(|beat| beat == r#"{"op":1,"d":null}"#));
    play.heartbeats(2);
    assert_eq!(play.sent(1).last().expect("one"), r#"{"op":1,"d":1}"#);
    assert_eq!(play.gone, 0);
    play.end();
}

/// A second Hello on one connection: one schedule, the new interval.
fn a_second_hello_changes_the_one_schedule(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([Effect::Hello(1000.into())]);
    play.heartbeats(2);
    play.play([Effect::Hello(41_250.into()), Effect::Op1("absent".into())]);
    // The answer to op 1 comes, and no beat of the old schedule with it.
    let before = play.sent(1).len();
    play.until("the answer", |event| {
        matches!(event, Event::Heartbeat { .. }).then_some(())
    });
    play.play([Effect::Op1("absent".into())]);
    play.heartbeats(1);
    assert!(play.sent(1).len() <= before + 2);
    play.end();
}
