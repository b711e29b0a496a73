//! The machine's contract with its caller: each way to break it is an error, and changes nothing.

mod play;

use play::{Play, beat, dispatch_text, resume, text_frame};
use shardwright_core::{Action, EventId, Input, Misuse, Phase, ShardId, Stop, Wait, WaitFor};

#[test]
fn an_input_before_the_drain_is_done_is_refused_and_forgotten() {
    let mut play = Play::new();
    play.handle(Input::Start);
    // The dial is still to carry out.
    for _ in 0..3 {
        assert_eq!(
            play.machine.handle(play.now, Input::Stop(Stop::Final)),
            Err(Misuse::OutputPending)
        );
    }
    play.drain();
    assert_eq!(play.phase(), Phase::Connecting);
    assert_eq!(play.dials().len(), 1);
    play.open(play.conn());
    assert_eq!(play.phase(), Phase::AwaitingHello);
}

#[test]
fn a_drain_is_done_only_at_its_wait() {
    let mut play = Play::new();
    play.handle(Input::Start);
    let mut polls = 0;
    while !matches!(play.machine.poll(), Action::Wait(_)) {
        polls += 1;
        assert_eq!(
            play.machine.handle(play.now, Input::Tick { wall: None }),
            Err(Misuse::OutputPending)
        );
    }
    assert!(polls >= 2, "a notice and the dial");
    assert_eq!(
        play.machine.handle(play.now, Input::Tick { wall: None }),
        Ok(())
    );
}

#[test]
fn a_second_start_is_refused_and_the_machine_goes_on() {
    let mut play = Play::up();
    let before = play.done.len();
    assert_eq!(
        play.machine.handle(play.now, Input::Start),
        Err(Misuse::AlreadyStarted)
    );
    // Nothing was asked for, so nothing is left to drain.
    play.dispatch(play.conn(), 2, "X");
    assert_eq!(play.phase(), Phase::Live);
    assert_eq!(play.seqs(), [1, 2]);
    assert_eq!(play.done.len(), before + 1);

    // Nor does it bring back a shard that waits to dial.
    play.fin(play.conn());
    assert_eq!(
        play.machine.handle(play.now, Input::Start),
        Err(Misuse::AlreadyStarted)
    );
    assert_eq!(play.phase(), Phase::Backoff);
    play.stop(Stop::Keep);
    let done = play.done.len();
    play.tell(Input::Start);
    assert_eq!(play.done.len(), done, "after the end it is nothing at all");
}

#[test]
fn an_acknowledgement_ahead_of_what_was_received_is_refused_and_does_not_count() {
    let mut play = Play::up();
    play.dispatch(play.conn(), 2, "X");
    let id = |session, seq| EventId {
        shard: ShardId::new(0, 1).unwrap(),
        session,
        seq,
    };
    assert_eq!(
        play.machine.handle(play.now, Input::Acknowledged(id(1, 3))),
        Err(Misuse::AckAhead {
            seq: 3,
            received: 2
        })
    );
    assert_eq!(play.machine.state().seq, Some(1));
    play.tell(Input::Acknowledged(id(1, 2)));
    assert_eq!(play.machine.state().seq, Some(2));
    // Of a session that is not the present one it is no misuse.
    play.tell(Input::Acknowledged(id(0, 900)));
    play.tell(Input::Acknowledged(EventId {
        shard: ShardId::new(1, 2).unwrap(),
        ..id(1, 900)
    }));
    assert_eq!(play.machine.state().seq, Some(2));
    play.fin(play.conn());
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 2)]);
}

#[test]
fn a_timer_that_came_due_with_a_misused_input_is_still_carried_out() {
    let mut play = Play::up();
    let conn = play.conn();
    let Wait::Until(due) = play.machine.wait() else {
        panic!("a live shard has a next beat");
    };
    play.now = due;
    assert_eq!(
        play.machine.handle(play.now, Input::Start),
        Err(Misuse::AlreadyStarted)
    );
    play.drain();
    assert_eq!(play.sent(conn)[1..], [beat(1)]);
}

#[test]
fn a_machine_that_was_not_started_waits_for_its_start() {
    let mut play = Play::new();
    assert_eq!(play.machine.wait(), Wait::For(WaitFor::Start));
    play.tell(Input::Tick { wall: None });
    assert!(play.done.is_empty());
    assert_eq!(play.phase(), Phase::Idle);
}

#[test]
fn a_frame_that_was_not_looked_at_is_still_to_drain() {
    let mut play = Play::up();
    let conn = play.conn();
    let frame = text_frame(&dispatch_text(2, "X"));
    play.handle(Input::Received { conn, frame });
    assert_eq!(
        play.machine.handle(play.now, Input::Tick { wall: None }),
        Err(Misuse::OutputPending)
    );
    play.drain();
    assert_eq!(play.seqs(), [1, 2]);
}
