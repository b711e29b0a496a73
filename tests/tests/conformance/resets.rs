//! A reset at each stage of a connection: a Resume when there is a session, else an Identify, and one
//! notice.

use shardwright_core::{DisconnectReason, Next};
use shardwright_testkit::scenario::{Effect, Ending, Listener, Nth, Selector, Step, When};

use crate::harness::{Harness, cases};
use crate::play::{Play, dispatch, gateway};
use crate::raw::{self, Raw};

cases![
    before_the_upgrade,
    after_the_upgrade_request,
    after_the_upgrade,
    after_hello,
    after_identify,
    after_ready,
    after_resume,
    within_a_replay,
    within_a_frame,
];

/// TCP is accepted and reset.
fn before_the_upgrade(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    raw::reset(raw.accept_tcp());
    let gone = play.gone();
    assert!(
        matches!(gone.reason, DisconnectReason::CouldNotConnect(_)),
        "{gone:?}"
    );
    assert_eq!(gone.next, Next::Identify);
    let mut line = raw.accept_ready(40_000);
    play.ready();
    assert_eq!(play.gone, 1);
    line.text(&raw::dispatch(2, "AFTER"));
    play.dispatch("AFTER");
    line.stop(play);
}

/// A reset on the first connection, at some point before READY.
fn reset_before_ready(harness: &dyn Harness, when: When) -> Play {
    let step = Step::new(when, [Effect::Rst]).instead();
    let mut play = Play::start(harness, gateway([step]));
    assert_eq!(play.gone().next, Next::Identify);
    play.ready();
    assert_eq!(play.gone, 1, "one notice");
    assert_eq!(play.dials().len(), 2);
    play
}

/// The upgrade is asked for.
fn after_the_upgrade_request(harness: &dyn Harness) {
    reset_before_ready(harness, When::Dialled).end();
}

/// The upgrade is done.
fn after_the_upgrade(harness: &dyn Harness) {
    reset_before_ready(harness, When::Opened).end();
}

/// Hello was sent.
fn after_hello(harness: &dyn Harness) {
    reset_before_ready(harness, When::Hello).end();
}

/// Identify came: the next one takes its turn in the queue.
fn after_identify(harness: &dyn Harness) {
    let play = reset_before_ready(harness, When::Identify);
    assert_eq!(play.log(|log| log.identifies()), 2);
    play.end();
}

/// With a session every reset is followed by a Resume, and costs one notice.
fn reset_with_session(harness: &dyn Harness, steps: Vec<Step>, play_it: &[Effect], notices: u32) {
    let mut play = Play::up(harness, gateway(steps));
    play.play(play_it);
    assert_eq!(play.gone().next, Next::Resume);
    play.resumed();
    assert_eq!(play.gone, notices);
    assert_eq!(play.dials().len(), 1 + notices as usize);
    assert_eq!(play.log(|log| log.identifies()), 1);
    play.end();
}

/// READY was taken.
fn after_ready(harness: &dyn Harness) {
    reset_with_session(harness, Vec::new(), &[Effect::Rst], 1);
}

/// Resume came.
fn after_resume(harness: &dyn Harness) {
    let step = Step::new(When::Resume, [Effect::Rst]).instead();
    reset_with_session(harness, vec![step], &[Effect::Rst], 2);
}

/// The first replayed event was sent.
fn within_a_replay(harness: &dyn Harness) {
    let step = Step::new(When::Dispatch(Nth::Only(2)), [Effect::Rst])
        .on(Selector::listener(Listener::Resume));
    let missed = [Effect::Op7, dispatch("TWO"), dispatch("THREE")];
    reset_with_session(harness, vec![step], &missed, 2);
}

/// Half a frame was sent.
fn within_a_frame(harness: &dyn Harness) {
    let cut = Effect::Cut {
        after: 20,
        then: Ending::Rst,
    };
    reset_with_session(harness, Vec::new(), &[cut, dispatch("HALF")], 1);
}
