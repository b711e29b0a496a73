//! A stop: at once, from everywhere, once, and with nothing after it.

mod play;

use play::{Did, Play, R1, config, ms, resume, secs};
use shardwright_core::{
    Answer, Command, CommandError, EventId, Input, Phase, ShardId, ShardState, Stop,
    TransportFault, Wait,
};

/// A shard in each of its phases.
fn phases() -> Vec<Play> {
    let mut all = vec![Play::new(), Play::started()];
    let mut play = Play::started();
    play.open(play.conn());
    all.push(play);
    for grant in [false, true] {
        let mut play = Play::started();
        play.grant = grant;
        play.open(play.conn());
        play.hello(play.conn(), 41250);
        all.push(play);
    }
    let mut play = Play::up();
    play.fin(play.conn());
    play.reconnect(41250);
    all.push(play);
    all.push(Play::up());
    let mut play = Play::up();
    play.answer_close = false;
    play.op7(play.conn());
    all.push(play);
    let mut play = Play::up();
    play.fin(play.conn());
    all.push(play);
    let mut play = Play::new();
    play.tell(Input::Congested(true));
    play.tell(Input::Start);
    all.push(play);
    assert_eq!(
        all.iter().map(Play::phase).collect::<Vec<_>>(),
        [
            Phase::Idle,
            Phase::Connecting,
            Phase::AwaitingHello,
            Phase::AwaitingPermit,
            Phase::Identifying,
            Phase::Resuming,
            Phase::Live,
            Phase::Closing,
            Phase::Backoff,
            Phase::Parked,
        ]
    );
    all
}

#[test]
fn every_phase_ends_in_one_last_event_and_nothing_after_it() {
    for how in [Stop::Keep, Stop::Final] {
        for answers in [true, false] {
            for mut play in phases() {
                let phase = play.phase();
                let dials = play.dials().len();
                play.answer_close = answers;
                play.stop(how);
                play.stop(how);
                play.pass(secs(5));
                assert_eq!(play.phase(), Phase::Stopped, "{phase:?} within 5 s");
                assert_eq!(play.machine.wait(), Wait::Stopped);
                assert!(
                    matches!(play.done.last(), Some((_, Did::Notice(text))) if text.contains("ShardStopped") && text.contains("Requested")),
                    "{phase:?}: {:?}",
                    play.done.last()
                );
                let done = play.done.len();
                play.pass(secs(3600));
                play.tell(Input::Start);
                play.tell(Input::Congested(false));
                for &conn in &play.conns.clone() {
                    play.open(conn);
                    play.hello(conn, 41250);
                    play.tell(Input::IdentifyGranted { conn });
                    play.op7(conn);
                    play.close(conn, Some(4000));
                    play.fail(conn, TransportFault::Reset);
                }
                assert_eq!(play.done.len(), done, "{phase:?}");
                assert_eq!(play.dials().len(), dials, "{phase:?}");
                assert_eq!(play.notices("ShardStopped").len(), 1);
            }
        }
    }
}

#[test]
fn a_stop_closes_with_1000_only_if_it_is_final_and_1001_never() {
    for mut play in phases() {
        let phase = play.phase();
        let before = play.closes();
        play.stop(Stop::Keep);
        play.pass(secs(5));
        assert!(
            play.closes().iter().all(|code| *code == 4000),
            "{phase:?}: {:?}",
            play.closes()
        );
        let open = !matches!(
            phase,
            Phase::Idle | Phase::Connecting | Phase::Closing | Phase::Backoff | Phase::Parked
        );
        assert_eq!(play.closes().len() - before.len(), usize::from(open));
    }
    for mut play in phases() {
        let phase = play.phase();
        let before = play.closes().len();
        play.stop(Stop::Final);
        play.pass(secs(5));
        assert!(
            play.closes()[before..].iter().all(|code| *code == 1000),
            "{phase:?}"
        );
        assert!(!play.machine.state().is_resumable(), "{phase:?}");
    }
}

#[test]
fn a_stop_in_the_middle_of_a_long_pause_is_done_at_once() {
    let mut play = Play::up();
    play.fin(play.conn());
    play.refuse_all(secs(300), &TransportFault::Refused);
    while play.phase() != Phase::Backoff {
        play.fail(play.conn(), TransportFault::Refused);
    }
    let dials = play.dials().len();
    play.stop(Stop::Keep);
    assert_eq!(play.phase(), Phase::Stopped, "without any time passing");
    play.pass(secs(3600));
    assert_eq!(play.dials().len(), dials);
}

#[test]
fn what_crosses_a_stop_on_the_wire_does_not_bring_the_shard_back() {
    type Cross = fn(&mut Play);
    let crossings: [Cross; 6] = [
        |play| play.op7(play.conn()),
        |play| play.op9(play.conn(), "false"),
        |play| play.op9(play.conn(), "true"),
        |play| play.close(play.conn(), Some(4000)),
        |play| play.fin(play.conn()),
        |play| play.fail(play.conn(), TransportFault::Reset),
    ];
    for how in [Stop::Keep, Stop::Final] {
        for cross in crossings {
            for stop_first in [true, false] {
                let mut play = Play::up();
                play.answer_close = false;
                if stop_first {
                    play.stop(how);
                    cross(&mut play);
                } else {
                    cross(&mut play);
                    play.stop(how);
                }
                play.pass(secs(3600));
                assert_eq!(play.dials().len(), 1);
                assert_eq!(play.phase(), Phase::Stopped);
                assert_eq!(play.notices("ShardStopped").len(), 1);
                assert_eq!(play.notices("Disconnected").len(), 1);
            }
        }
    }
}

#[test]
fn a_peer_that_never_answers_the_close_is_dropped_after_five_seconds() {
    let mut play = Play::up();
    play.answer_close = false;
    play.stop(Stop::Final);
    play.pass(ms(4999));
    assert_eq!(play.phase(), Phase::Closing);
    play.pass(ms(1));
    assert_eq!(play.phase(), Phase::Stopped);
    assert!(play.done.iter().any(|(_, did)| *did == Did::Abort(1)));
}

#[test]
fn a_dial_under_way_is_dropped_by_a_stop() {
    let mut play = Play::started();
    play.stop(Stop::Keep);
    assert!(play.done.iter().any(|(_, did)| *did == Did::Abort(1)));
    assert_eq!(play.phase(), Phase::Stopped);
    play.open(play.conn());
    play.hello(play.conn(), 41250);
    assert!(play.sent(play.conn()).is_empty());
}

#[test]
fn a_permit_asked_for_is_given_back_by_a_stop() {
    let mut play = Play::started();
    play.grant = false;
    play.open(play.conn());
    play.hello(play.conn(), 41250);
    play.stop(Stop::Keep);
    let of = |wanted: Did| play.done.iter().filter(|(_, did)| *did == wanted).count();
    assert_eq!(of(Did::WithdrawIdentify(1)), 1);
    assert_eq!(of(Did::IdentifySent(1)), 0);
}

#[test]
fn a_stop_that_keeps_leaves_all_that_another_process_needs() {
    let mut play = Play::up();
    let conn = play.conn();
    for s in 2..=7 {
        play.dispatch(conn, s, "X");
    }
    let shard = ShardId::new(0, 1).unwrap();
    play.tell(Input::Acknowledged(EventId {
        shard,
        session: 1,
        seq: 7,
    }));
    play.stop(Stop::Keep);
    assert_eq!(play.closes(), [4000]);
    let state = play.machine.state();
    assert_eq!(
        state,
        ShardState {
            shard,
            session_id: Some("A".into()),
            seq: Some(7),
            resume_gateway_url: Some("ws://r1.example".into()),
            at: None,
        }
    );

    let mut next = Play::with(config(), Some(state), 9);
    next.tell(Input::Start);
    let conn = next.conn();
    next.open(conn);
    next.hello(conn, 41250);
    assert_eq!(next.urls(), [R1]);
    assert_eq!(next.sent(conn), [resume("A", 7)]);
    next.resumed(conn, 8);
    assert_eq!(next.phase(), Phase::Live);
}

#[test]
fn a_final_stop_leaves_an_empty_state() {
    let mut play = Play::up();
    play.stop(Stop::Final);
    assert_eq!(play.closes(), [1000]);
    assert_eq!(
        play.machine.state(),
        ShardState::fresh(ShardId::new(0, 1).unwrap())
    );
}

#[test]
fn waiting_commands_are_refused_when_the_shard_ends_and_later_ones_at_once() {
    let raw = || Command::raw(r#"{"op":31,"d":null}"#).unwrap();
    let refused = || Answer::Refused(CommandError::Stopped);
    let mut play = Play::started();
    play.command(1, raw());
    play.stop(Stop::Keep);
    play.command(2, raw());
    assert_eq!(play.answers(1), [Answer::Accepted, refused()]);
    assert_eq!(play.answers(2), [refused()]);

    // While the close is under way, and after a fatal code.
    let mut play = Play::up();
    play.answer_close = false;
    play.stop(Stop::Keep);
    play.command(3, raw());
    assert_eq!(play.answers(3), [refused()]);
    let mut play = Play::up();
    play.close(play.conn(), Some(4004));
    play.command(4, raw());
    assert_eq!(play.answers(4), [refused()]);
    assert!(play.all_sent(r#"{"op":31"#).is_empty());
}

#[test]
fn a_command_sent_and_not_flushed_has_an_answer_when_the_shard_stops() {
    let mut play = Play::up();
    play.flush = false;
    play.command(1, Command::raw(r#"{"op":31,"d":null}"#).unwrap());
    play.stop(Stop::Final);
    assert_eq!(
        play.answers(1),
        [Answer::Accepted, Answer::Refused(CommandError::Interrupted)]
    );
}

#[test]
fn a_spent_send_budget_does_not_hold_up_the_close() {
    let mut play = Play::up();
    for n in 0..300 {
        play.command(n, Command::raw(r#"{"op":31,"d":null}"#).unwrap());
    }
    assert!(play.all_sent(r#"{"op":31"#).len() < 120);
    let at = play.elapsed();
    play.stop(Stop::Final);
    let (closed, _) = play
        .done
        .iter()
        .find(|(_, did)| matches!(did, Did::Close(..)))
        .unwrap();
    assert_eq!(*closed, at);
}
