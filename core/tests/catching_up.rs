//! Has all arrived that the gateway had sent by now? Its answer to a heartbeat comes after it.

mod play;

use play::{Did, Play, beat, ms, secs};
use shardwright_core::{Command, Input, StatusUpdate, Stop};

const ACK: &str = r#"{"op":11}"#;

/// Live, and its beats are answered by hand.
fn up() -> Play {
    let mut play = Play::up();
    play.ack = false;
    play.done.clear();
    play
}

fn ask(play: &mut Play, mark: u64) {
    play.tell(Input::CatchUp { mark });
}

/// What it did since it was last looked at, but for events of its own.
fn did(play: &mut Play) -> Vec<Did> {
    let done = play.done.drain(..).map(|(_, did)| did);
    done.filter(|did| !matches!(did, Did::Notice(_))).collect()
}

#[test]
fn the_answer_to_a_beat_of_its_own_says_so() {
    let mut play = up();
    let conn = play.conn();
    ask(&mut play, 7);
    assert_eq!(did(&mut play), [Did::Send(1, beat(1))], "at once");
    play.dispatch(conn, 2, "A");
    play.dispatch(conn, 3, "B");
    play.text(conn, ACK);
    let done = did(&mut play);
    assert!(
        matches!(
            done[..],
            [Did::Event(_, 2, ..), Did::Event(_, 3, ..), Did::CaughtUp(7)]
        ),
        "{done:?}"
    );
    // Once.
    play.text(conn, ACK);
    assert_eq!(did(&mut play), []);
}

#[test]
fn answers_to_earlier_beats_are_of_earlier_times() {
    let mut play = up();
    let conn = play.conn();
    // The first beat of the schedule has no answer yet.
    play.pass(ms(41_250));
    assert_eq!(did(&mut play), [Did::Send(1, beat(1))]);
    ask(&mut play, 1);
    assert_eq!(did(&mut play), [Did::Send(1, beat(1))]);
    play.text(conn, ACK);
    assert_eq!(did(&mut play), []);
    play.text(conn, ACK);
    assert_eq!(did(&mut play), [Did::CaughtUp(1)]);
}

#[test]
fn answers_that_are_minutes_late_are_waited_for() {
    let mut play = up();
    let conn = play.conn();
    // A slow line: events come without a pause, and the answers to the beats lie behind them.
    for seq in 2..5 {
        play.pass(ms(41_250));
        play.dispatch(conn, seq, "A");
    }
    did(&mut play);
    ask(&mut play, 1);
    assert_eq!(did(&mut play), [Did::Send(1, beat(4))]);
    for seq in 5..8 {
        play.text(conn, ACK);
        play.dispatch(conn, seq, "A");
    }
    assert!(!did(&mut play).contains(&Did::CaughtUp(1)));
    play.text(conn, ACK);
    assert_eq!(did(&mut play), [Did::CaughtUp(1)]);
}

#[test]
fn an_answer_that_never_came_makes_each_one_late() {
    let mut play = up();
    let conn = play.conn();
    play.pass(ms(41_250));
    // The link lives, and the gateway is past that beat: the next follows, and is answered.
    play.dispatch(conn, 2, "A");
    play.pass(ms(41_250));
    play.text(conn, ACK);
    play.pass(secs(1));
    did(&mut play);
    ask(&mut play, 1);
    assert_eq!(did(&mut play), [Did::Send(1, beat(2))]);
    play.text(conn, ACK);
    assert_eq!(did(&mut play), []);
    play.pass(ms(41_250));
    play.dispatch(conn, 3, "A");
    play.text(conn, ACK);
    assert_eq!(did(&mut play).last(), Some(&Did::CaughtUp(1)));
}

#[test]
fn only_the_last_question_is_answered() {
    let mut play = up();
    let conn = play.conn();
    ask(&mut play, 1);
    ask(&mut play, 2);
    assert_eq!(did(&mut play).len(), 2);
    play.text(conn, ACK);
    assert_eq!(did(&mut play), []);
    play.text(conn, ACK);
    assert_eq!(did(&mut play), [Did::CaughtUp(2)]);
}

#[test]
fn without_a_connection_it_is_forgotten() {
    let mut play = Play::new();
    ask(&mut play, 1);
    play.tell(Input::Start);
    let conn = play.conn();
    ask(&mut play, 2);
    play.open(conn);
    play.hello(conn, 41250);
    did(&mut play);
    ask(&mut play, 3);
    assert_eq!(did(&mut play), [], "it is not READY");
    play.ready(conn, "A", "ws://r1.example", 1);
    play.pass(ms(41_250));
    assert!(
        !did(&mut play)
            .iter()
            .any(|did| matches!(did, Did::CaughtUp(_)))
    );
    // Nor does it outlive the connection.
    play.ack = false;
    ask(&mut play, 4);
    play.fin(conn);
    let (conn, _) = play.next_dial();
    play.open(conn);
    play.hello(conn, 41250);
    play.resumed(conn, 9);
    play.ack = true;
    play.pass(ms(41_250));
    assert!(
        !did(&mut play)
            .iter()
            .any(|did| matches!(did, Did::CaughtUp(_)))
    );
    play.stop(Stop::Final);
    did(&mut play);
    ask(&mut play, 5);
    assert_eq!(did(&mut play), []);
}

#[test]
fn without_room_for_a_beat_it_is_answered_later() {
    let mut play = Play::up();
    let conn = play.conn();
    play.done.clear();
    // The gateway asks for so many beats that there is no room for one more, and answers them.
    for _ in 0..200 {
        play.text(conn, r#"{"op":1,"d":null}"#);
    }
    let sent = |done: &[Did]| {
        done.iter()
            .filter(|did| matches!(did, Did::Send(..)))
            .count()
    };
    assert_eq!(sent(&did(&mut play)), 119, "in a minute, after Identify");
    ask(&mut play, 1);
    assert_eq!(did(&mut play), []);
    play.pass(secs(61));
    let done = did(&mut play);
    let beat = done.iter().position(|did| matches!(did, Did::Send(..)));
    let caught_up = done.iter().position(|did| *did == Did::CaughtUp(1));
    assert!(beat.is_some() && beat < caught_up, "{done:?}");
}

#[test]
fn commands_do_not_hold_it_up() {
    let mut play = up();
    let conn = play.conn();
    for id in 0..200 {
        let status = StatusUpdate::online();
        play.command(id, Command::status_update(status).unwrap());
    }
    did(&mut play);
    ask(&mut play, 1);
    assert_eq!(did(&mut play), [Did::Send(1, beat(1))]);
    play.text(conn, ACK);
    assert_eq!(did(&mut play), [Did::CaughtUp(1)]);
}

#[test]
fn a_consumer_that_is_slow_makes_it_late() {
    let mut play = up();
    let conn = play.conn();
    play.tell(Input::Congested(true));
    ask(&mut play, 1);
    play.pass(secs(30));
    play.tell(Input::Congested(false));
    assert!(!did(&mut play).contains(&Did::CaughtUp(1)));
    play.dispatch(conn, 2, "A");
    play.text(conn, ACK);
    let done = did(&mut play);
    assert_eq!(done.last(), Some(&Did::CaughtUp(1)), "{done:?}");
}
