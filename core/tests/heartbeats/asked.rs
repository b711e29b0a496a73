//! Beats that the gateway asks for.

use crate::play::{Play, beat, ms, secs};
use crate::{ACK, next_beat, unacknowledged};

#[test]
fn a_beat_asked_for_is_sent_at_once_with_the_last_sequence() {
    let mut play = Play::up();
    let conn = play.conn();
    for seq in 2..=12 {
        play.dispatch(conn, seq, "MESSAGE_CREATE");
    }
    play.text(conn, r#"{"t":null,"s":null,"op":1,"d":null}"#);
    let asked = play.elapsed();
    assert_eq!(play.sent_at(conn).pop(), Some((asked, beat(12))));
}

#[test]
fn beats_asked_for_neither_move_the_schedule_nor_trip_the_verdict() {
    let mut play = Play::up_with(unacknowledged(4), 1000);
    let conn = play.conn();
    let first = next_beat(&mut play);
    play.text(conn, ACK);
    play.pass(ms(500));
    play.text(conn, r#"{"op":1,"d":null}"#);
    // The asked-for beat stays unanswered; the scheduled ones are acknowledged... to it first.
    let second = next_beat(&mut play);
    assert_eq!(second - first, secs(1));
    play.text(conn, ACK);
    play.text(conn, ACK);
    assert_eq!(next_beat(&mut play) - second, secs(1));
    assert_eq!(play.closes(), Vec::<u16>::new());
}

#[test]
fn a_beat_that_was_asked_for_may_wait_four_intervals_too() {
    let mut play = Play::up_with(unacknowledged(1), 1000);
    let conn = play.conn();
    let first = next_beat(&mut play);
    play.text(conn, ACK);
    play.text(conn, r#"{"op":1,"d":null}"#);
    let mut seq = 1;
    while play.closes().is_empty() {
        seq += 1;
        play.dispatch(conn, seq, "MESSAGE_CREATE");
        play.pass(ms(100));
    }
    assert_eq!(play.elapsed() - first, secs(4));
}

#[test]
fn the_acknowledgement_of_a_beat_that_was_asked_for_tells_its_latency() {
    let mut play = Play::up_with(unacknowledged(1), 600_000);
    let conn = play.conn();
    play.text(conn, r#"{"op":1,"d":null}"#);
    play.pass(ms(70));
    play.text(conn, ACK);
    let told = play.notices("Heartbeat {");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("latency: 70ms"), "{told:?}");
}
