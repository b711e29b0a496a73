//! The sequence number: what moves it, what carries it, what wipes it.

mod play;

use play::{
    IDENTIFY, MAIN, NULL_BEAT, Play, R1, beat, config, dispatch_text, ms, ready_text, resume, secs,
};
use shardwright_core::{EventId, Input, Phase, ShardId, TransportFault};

#[test]
fn ready_and_resumed_count_like_any_dispatch() {
    let mut play = Play::up();
    play.fin(play.conn());
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 1)]);
    play.resumed(conn, 2);
    play.fin(conn);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 2)]);
    assert_eq!(play.seqs(), [1, 2]);
}

#[test]
fn beats_are_null_before_the_first_dispatch_and_a_bare_number_after_it() {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 500);
    play.pass(secs(5));
    let sent = play.sent(conn);
    assert_eq!(sent[0], IDENTIFY);
    assert!((10..=11).contains(&sent[1..].len()), "{sent:?}");
    assert!(sent[1..].iter().all(|text| text == NULL_BEAT), "{sent:?}");
    play.ready(conn, "A", "ws://r1.example", 1);
    play.dispatch(conn, 2, "X");
    let before = sent.len();
    play.pass(secs(2));
    assert_eq!(
        play.sent(conn)[before..],
        [beat(2), beat(2), beat(2), beat(2)]
    );
}

#[test]
fn a_requested_beat_says_nothing_about_the_sequence() {
    let mut play = Play::up();
    let conn = play.conn();
    for s in 2..=40 {
        play.dispatch(conn, s, "X");
    }
    for text in [r#"{"op":1,"d":null}"#, r#"{"op":1,"d":3}"#, r#"{"op":1}"#] {
        play.text(conn, text);
    }
    assert_eq!(play.sent(conn)[1..], [beat(40), beat(40), beat(40)]);
    play.fin(conn);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 40)]);
}

#[test]
fn a_large_event_is_handed_over_before_the_small_ones_behind_it() {
    let mut play = Play::up();
    let conn = play.conn();
    let filler = "x".repeat(6 << 20);
    play.text(
        conn,
        &format!(r#"{{"t":"GUILD_CREATE","s":2,"op":0,"d":{{"name":"{filler}"}}}}"#),
    );
    let mut exported = Vec::new();
    for s in 3..=200 {
        play.dispatch(conn, s, "X");
        exported.push(play.machine.state().seq);
    }
    play.fin(conn);
    assert_eq!(play.seqs(), (1..=200).collect::<Vec<_>>());
    assert!(exported.is_sorted());
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 200)]);
}

#[test]
fn another_process_resumes_after_what_was_handled_not_after_what_was_received() {
    let mut play = Play::up();
    let conn = play.conn();
    for s in 2..=80 {
        play.dispatch(conn, s, "X");
    }
    play.tell(Input::Acknowledged(EventId {
        shard: ShardId::new(0, 1).unwrap(),
        session: 1,
        seq: 50,
    }));
    let state = play.machine.state();
    // The same process goes on after what it received.
    play.fin(conn);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 80)]);

    let mut next = Play::with(config(), Some(state), 2);
    next.tell(Input::Start);
    let conn = next.conn();
    next.open(conn);
    next.hello(conn, 41250);
    assert_eq!(next.sent(conn), [resume("A", 50)]);
    for s in 51..=80 {
        next.dispatch(conn, s, "X");
    }
    next.resumed(conn, 81);
    assert_eq!(next.seqs(), (51..=81).collect::<Vec<_>>());
}

#[test]
fn an_acknowledgement_of_an_old_session_does_not_count_for_the_new_one() {
    let mut play = Play::up();
    let conn = play.conn();
    for s in 2..=500 {
        play.dispatch(conn, s, "X");
    }
    play.op9(conn, "false");
    let (conn, _) = play.reconnect(41250);
    play.ready(conn, "B", "ws://r2.example", 1);
    for s in 2..=5 {
        play.dispatch(conn, s, "X");
    }
    let id = |session, seq| EventId {
        shard: ShardId::new(0, 1).unwrap(),
        session,
        seq,
    };
    play.tell(Input::Acknowledged(id(1, 400)));
    assert_eq!(play.machine.state().seq, Some(1));
    play.tell(Input::Acknowledged(id(2, 4)));
    assert_eq!(play.machine.state().seq, Some(4));
}

#[test]
fn a_new_session_starts_without_the_old_sequence() {
    let mut play = Play::up();
    let conn = play.conn();
    for s in 2..=500 {
        play.dispatch(conn, s, "X");
    }
    play.op9(conn, "false");
    let (conn, url) = play.reconnect(300);
    assert_eq!(url, MAIN);
    play.pass(secs(2));
    let sent = play.sent(conn);
    assert_eq!(sent[0], IDENTIFY);
    assert!(sent.len() >= 6, "{sent:?}");
    assert!(sent[1..].iter().all(|text| text == NULL_BEAT), "{sent:?}");
    play.ready(conn, "B", "ws://r2.example", 1);
    play.fin(conn);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("B", 1)]);
}

#[test]
fn beats_during_a_replay_carry_what_has_been_replayed() {
    let mut play = Play::up();
    let conn = play.conn();
    play.dispatch(conn, 2, "X");
    play.fin(conn);
    let (conn, _) = play.reconnect(1000);
    play.dispatch(conn, 3, "X");
    play.dispatch(conn, 4, "X");
    play.text(conn, r#"{"op":1,"d":null}"#);
    assert_eq!(play.sent(conn), [resume("A", 2), beat(4)]);
    play.resumed(conn, 5);
    assert_eq!(play.seqs(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_replayed_event_that_is_known_already_is_dropped_and_a_gap_is_told() {
    let mut play = Play::up();
    let conn = play.conn();
    play.dispatch(conn, 2, "X");
    play.dispatch(conn, 2, "X");
    play.dispatch(conn, 1, "X");
    play.dispatch(conn, 5, "X");
    assert_eq!(play.seqs(), [1, 2, 5]);
    let gaps = play.notices("Gap");
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].contains("Gap { expected: 3, got: 5 }"), "{gaps:?}");
}

#[test]
fn what_came_before_a_reset_is_delivered_and_counts() {
    let mut play = Play::up();
    let conn = play.conn();
    play.flush = false;
    play.dispatch(conn, 2, "X");
    play.text(conn, r#"{"op":1,"d":null}"#);
    play.dispatch(conn, 3, "X");
    play.fail(conn, TransportFault::Reset);
    assert_eq!(play.seqs(), [1, 2, 3]);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 3)]);
}

#[test]
fn nothing_is_delivered_after_a_close() {
    let mut play = Play::up();
    let conn = play.conn();
    play.close(conn, Some(4000));
    play.text(conn, &dispatch_text(2, "X"));
    play.text(conn, &ready_text("Z", "ws://r2.example", 1));
    play.fin(conn);
    play.fail(conn, TransportFault::Reset);
    assert_eq!(play.seqs(), [1]);
    let notices = play.notices("Disconnected");
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("4000"), "{notices:?}");
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 1)]);
    play.pass(ms(500));
    assert_eq!(play.dials().len(), 2);
}

#[test]
fn resumed_with_a_number_known_already_ends_the_replay_and_is_not_delivered_twice() {
    for s in ["1", "2"] {
        let mut play = Play::up();
        let conn = play.conn();
        play.dispatch(conn, 2, "X");
        play.fin(conn);
        let (conn, _) = play.reconnect(41250);
        play.text(
            conn,
            &format!(r#"{{"t":"RESUMED","s":{s},"op":0,"d":null}}"#),
        );
        assert_eq!(play.phase(), Phase::Live);
        assert_eq!(play.notices("Resumed {").len(), 1);
        play.dispatch(conn, 3, "X");
        play.pass(secs(600));
        assert_eq!(play.seqs(), [1, 2, 3]);
        assert_eq!(play.dials().len(), 2);
    }
}

#[test]
fn an_event_without_a_number_is_no_replayed_one() {
    let mut play = Play::up();
    play.fin(play.conn());
    for _ in 0..5 {
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [resume("A", 1)]);
        play.text(conn, r#"{"t":"X","s":null,"op":0,"d":{}}"#);
        play.fin(conn);
    }
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [IDENTIFY]);
    assert_eq!(play.names(), ["READY", "X", "X", "X", "X", "X"]);
}

#[test]
fn a_replayed_event_starts_the_count_of_fruitless_resumes_anew() {
    let mut play = Play::up();
    play.fin(play.conn());
    for s in 1..20 {
        let (conn, url) = play.reconnect(41250);
        assert_eq!((url.as_str(), play.sent(conn)), (R1, vec![resume("A", s)]));
        play.dispatch(conn, s + 1, "X");
        play.fin(conn);
    }
    assert_eq!(play.seqs(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_ready_that_is_sent_again_is_dropped_like_any_other_repeat() {
    let mut play = Play::up();
    let conn = play.conn();
    play.dispatch(conn, 2, "X");
    play.ready(conn, "A", "ws://r1.example", 1);
    play.dispatch(conn, 3, "X");
    assert_eq!(play.seqs(), [1, 2, 3]);
    assert!(play.notices("SessionLost").is_empty());
    play.fin(conn);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 3)]);
}

#[test]
fn the_end_of_a_replay_tells_how_much_it_was() {
    let mut play = Play::up();
    play.fin(play.conn());
    let (conn, _) = play.reconnect(41250);
    for seq in 2..=4 {
        play.dispatch(conn, seq, "MESSAGE_CREATE");
    }
    play.resumed(conn, 5);
    let told = play.notices("Resumed {");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("replayed: 3"), "{told:?}");
}
