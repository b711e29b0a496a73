//! Op 9, and sessions that cannot be had back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use shardwright_core::{CloseCode, DisconnectReason, Event, Next, SessionLoss};
use shardwright_testkit::scenario::{Effect, Listener, Nth, Selector, Step, When};
use shardwright_testkit::server::{ConnId, Seen, Violation};

use crate::harness::{Harness, cases};
use crate::play::{Play, gateway, ms, stray};

cases![
    op_9_on_a_living_connection_is_obeyed,
    op_9_in_answer_to_identify_is_tried_again,
    op_9_true_in_answer_to_identify_is_no_session,
    op_9_true_is_answered_with_resume,
    four_op_9_true_in_a_row_end_the_session,
    op_9_null_ends_the_session,
    op_9_without_a_body_ends_the_session,
    resumes_that_are_closed_each_time_end_in_a_new_session,
    late_words_of_the_old_socket_are_void,
    what_comes_before_hello_is_obeyed,
];

/// Op 9 on a living connection whose heart goes on being answered: the client leaves by itself, and
/// identifies anew after the pause.
fn op_9_on_a_living_connection_is_obeyed(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([Effect::Events(5), Effect::Op9(false.into())]);
    let gone = play.gone();
    assert_eq!(
        gone.reason,
        DisconnectReason::InvalidSession { resumable: false }
    );
    assert_eq!(gone.next, Next::Identify);
    assert!(gone.delay >= Duration::from_secs(1), "{:?}", gone.delay);
    assert!(gone.delay <= Duration::from_secs(5), "{:?}", gone.delay);
    play.ready();
    assert_eq!(play.seq(), 1);
    assert!(play.resumes().is_empty());
    assert_eq!(play.close_codes(), [4000]);
    play.end();
}

fn op_9_to_identify(harness: &dyn Harness, body: bool) {
    let step = Step::new(When::Identify, [Effect::Op9(body.into())]).instead();
    let mut play = Play::start(harness, gateway([step]));
    assert_eq!(play.gone().next, Next::Identify);
    play.ready();
    assert_eq!(play.log(|log| log.identifies()), 2);
    assert!(play.resumes().is_empty());
    play.end();
}

/// Op 9 in answer to Identify ("failed, or too fast"): another one, after the pause and through the queue.
fn op_9_in_answer_to_identify_is_tried_again(harness: &dyn Harness) {
    op_9_to_identify(harness, false);
}

/// With `true` there is still nothing to resume.
fn op_9_true_in_answer_to_identify_is_no_session(harness: &dyn Harness) {
    op_9_to_identify(harness, true);
}

/// `true` asks for a Resume: same session, same sequence.
fn op_9_true_is_answered_with_resume(harness: &dyn Harness) {
    let step = Step::new(When::Resume, [Effect::Op9(true.into())]).instead();
    let mut play = Play::up(harness, gateway([step]));
    play.play([Effect::Op7]);
    play.resumed();
    let resumes = play.resumes();
    assert_eq!(resumes.len(), 2);
    assert_eq!(resumes[0], resumes[1]);
    assert_eq!(play.log(|log| log.identifies()), 1);
    play.end();
}

/// `true` again and again is a session that cannot be had back.
fn four_op_9_true_in_a_row_end_the_session(harness: &dyn Harness) {
    let step = Step::new(When::Resume, [Effect::Op9(true.into())])
        .instead()
        .always();
    let mut play = Play::up(harness, gateway([step]));
    play.play([Effect::Op7]);
    play.ready();
    assert_eq!(play.lost, [SessionLoss::Invalidated]);
    assert_eq!(play.resumes().len(), 4);
    play.end();
}

fn op_9_with(harness: &dyn Harness, body: Value) {
    let mut play = Play::up(harness, gateway([]));
    play.play([Effect::Op9(body)]);
    assert_eq!(play.gone().next, Next::Identify);
    play.ready();
    assert!(play.resumes().is_empty());
    play.end();
}

/// `null` is not `true`.
fn op_9_null_ends_the_session(harness: &dyn Harness) {
    op_9_with(harness, Value::Null);
}

/// Nor is nothing at all.
fn op_9_without_a_body_ends_the_session(harness: &dyn Harness) {
    op_9_with(harness, "absent".into());
}

/// Each Resume is closed without a code: a bounded number of tries, on both hosts, with growing pauses;
/// then a new session.
fn resumes_that_are_closed_each_time_end_in_a_new_session(harness: &dyn Harness) {
    let step = Step::new(When::Resume, [Effect::Close(None)])
        .instead()
        .always();
    let mut play = Play::up(harness, gateway([step]));
    play.play([Effect::Fin]);
    play.ready();
    assert_eq!(play.lost, [SessionLoss::ResumeRefused]);
    let resumes: BTreeSet<_> = play.resumes().into_iter().collect();
    assert_eq!(resumes.len(), 1, "the same session and sequence");
    assert!(play.resumes().len() <= 6, "{:?}", play.resumes());
    let main = play
        .dials()
        .iter()
        .filter(|dial| dial.0 == Listener::Main)
        .count();
    assert!(main >= 3, "the main host is tried too: {:?}", play.dials());
    play.end();
}

/// What the old socket still says after the new one is up touches nothing: no event, no sequence, no
/// reconnect.
fn late_words_of_the_old_socket_are_void(harness: &dyn Harness) {
    let builder = gateway([
        // The server neither reads nor answers, and so keeps its end of the old connection.
        Step::new(
            When::Beat(Nth::Only(1)),
            [Effect::WithholdAcks(None), Effect::Deaf],
        )
        .on(Selector::conn(1)),
    ])
    .configure(|config| config.heartbeat_interval = ms(1000));
    let mut play = Play::up(harness, builder);
    assert_eq!(play.gone().reason, DisconnectReason::Zombie);
    play.resumed();
    play.play_on(
        ConnId(1),
        [
            stray("LATE", 99),
            Effect::Op9(false.into()),
            Effect::Close(Some(4000)),
            Effect::Fin,
        ],
    );
    let seq = play.seq();
    let mut beats = 0;
    play.until("beats on the new connection", |event| {
        assert!(
            !matches!(event, Event::Dispatch(_) | Event::Disconnected { .. }),
            "{event:?}"
        );
        beats += usize::from(matches!(event, Event::Heartbeat { .. }));
        (beats == 4).then_some(())
    });
    assert_eq!(play.seq(), seq);
    assert_eq!(play.dials().len(), 2);
    play.bot.disconnect();
    play.ended();
}

/// Op 9, op 7, a close or a dispatch may come before Hello. Nothing is sent before it, and the rules for
/// the session are those of always.
fn what_comes_before_hello_is_obeyed(harness: &dyn Harness) {
    let on = |n| Selector::conn(n);
    let mut play = Play::up(
        harness,
        gateway([
            Step::new(When::Opened, [Effect::Op7]).instead().on(on(2)),
            Step::new(When::Opened, [Effect::Close(Some(4000))])
                .instead()
                .on(on(3)),
            Step::new(When::Opened, [stray("EARLY", 2)]).on(on(4)),
            Step::new(When::Opened, [Effect::Op9(false.into())])
                .instead()
                .on(on(5)),
        ]),
    );
    play.play([Effect::Op7]);
    assert_eq!(play.gone().reason, DisconnectReason::ReconnectRequested);
    assert_eq!(play.gone().reason, DisconnectReason::ReconnectRequested);
    let closed = play.gone();
    assert_eq!(closed.code, Some(CloseCode::new(4000)));
    assert_eq!(closed.next, Next::Resume);
    play.dispatch("EARLY");
    // The gateway never gave that number away, so it refuses the Resume that names it.
    let refused = play.gone();
    assert_eq!(refused.code, Some(CloseCode::new(4007)));
    assert_eq!(play.resumes().len(), 1);
    assert_eq!(play.resumes()[0].1, Some(2));
    let invalid = play.gone();
    assert_eq!(
        invalid.reason,
        DisconnectReason::InvalidSession { resumable: false }
    );
    play.ready();
    play.log(|log| {
        let before = |seen: &Seen| matches!(seen, Seen::Violation(Violation::BeforeHello(_)));
        assert_eq!(log.count(before), 0);
    });
    play.bot.disconnect();
    play.ended();
}
