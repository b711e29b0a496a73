//! Dispatches written as the gateway writes them, which take a way of their own through the machine.

mod play;

use play::{Play, R2, beat, config, dispatch_text, resume};
use shardwright_core::{EventFilter, Phase};

#[test]
fn a_filter_hands_over_what_it_names_and_counts_the_rest() {
    let mut config = config();
    config.filter = EventFilter::only(["MESSAGE_CREATE"]);
    let mut play = Play::up_with(Play::with(config, None, 1), 41_250);
    let conn = play.conn();
    let names = ["MESSAGE_CREATE", "TYPING_START", "MESSAGE_CREATE", "X"];
    for (seq, name) in (2..).zip(names) {
        play.text(conn, &dispatch_text(seq, name));
    }
    assert_eq!(play.names(), ["MESSAGE_CREATE"; 2]);
    assert_eq!(play.seqs(), [2, 4]);
    // Those that were left out are not asked for again.
    play.op7(conn);
    let (conn, _) = play.reconnect(41_250);
    assert_eq!(play.sent(conn)[0], resume("A", 5));
}

#[test]
fn the_opcode_says_what_a_payload_is_whatever_else_stands_in_it() {
    let mut play = Play::up();
    let conn = play.conn();
    // An acknowledgement and an unknown opcode are no dispatch, and a demand to reconnect is one.
    for op in [11, 99, 7] {
        assert_eq!(play.phase(), Phase::Live);
        play.text(
            conn,
            &format!(r#"{{"t":"MESSAGE_CREATE","s":2,"op":{op},"d":null}}"#),
        );
    }
    assert_ne!(play.phase(), Phase::Live);
    assert_eq!(play.seqs(), [1]);
    let (conn, _) = play.reconnect(41_250);
    assert_eq!(play.sent(conn)[0], resume("A", 1));
}

#[test]
fn a_ready_is_a_session_whatever_its_number() {
    let mut play = Play::up();
    let conn = play.conn();
    play.ready(conn, "B", "ws://r2.example", 2);
    play.text(conn, r#"{"t":null,"s":null,"op":1,"d":null}"#);
    assert_eq!(play.sent(conn).last(), Some(&beat(2)));
    play.op7(conn);
    let (conn, url) = play.reconnect(41_250);
    assert_eq!(
        (play.sent(conn)[0].as_str(), url.as_str()),
        (&*resume("B", 2), R2)
    );
}

#[test]
fn a_dispatch_without_a_name_counts_like_any_other() {
    let mut play = Play::up();
    let conn = play.conn();
    play.text(conn, r#"{"t":null,"s":2,"op":0,"d":{}}"#);
    play.text(conn, &dispatch_text(3, "MESSAGE_CREATE"));
    assert_eq!(play.names(), ["READY", "", "MESSAGE_CREATE"]);
    assert_eq!(play.seqs(), [1, 2, 3]);
}
