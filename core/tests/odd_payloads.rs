//! What no gateway should send, and some that it does: nothing of it may crash a shard, make it loop,
//! or cost more than it must.

mod play;

use play::{IDENTIFY, MAIN, Play, R1, beat, config, dispatch_text, ms, ready_text, resume, secs};
use shardwright_core::{Input, Next, Phase, TransportFault};

/// A payload with this name, sequence and body.
fn event(seq: u64, name: &str, body: &str) -> String {
    format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{body}}}"#)
}

fn opened() -> Play {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play
}

#[test]
fn a_ready_over_the_cap_costs_few_identifies() {
    for as_fault in [false, true] {
        let mut config = config();
        config.limits.payload_limit = 64 * 1024;
        let mut play = Play::with(config, None, 1);
        play.tell(Input::Start);
        let big = format!(
            r#"{{"t":"READY","s":1,"op":0,"d":{{"v":10,"session_id":"A","x":"{}"}}}}"#,
            "x".repeat(64 * 1024)
        );
        let end = play.now + secs(3600);
        while play.now < end {
            let conn = play.conn();
            play.open(conn);
            play.hello(conn, 41_250);
            if as_fault {
                // The websocket layer has a limit of its own.
                play.fail(conn, TransportFault::TooLarge);
            } else {
                play.text(conn, &big);
            }
            play.next_dial();
        }
        let identifies = play.identifies();
        assert!((4..=10).contains(&identifies), "{identifies} in an hour");
        assert!(!play.notices("TooLarge").is_empty());
        assert!(!play.notices("IdentifyFailing").is_empty());
        assert!(play.closes().iter().all(|code| *code == 4000));
    }
}

#[test]
fn a_ready_of_17_and_of_40_mb_is_taken() {
    for size in [17_000_000, 40_000_000] {
        let mut play = opened();
        let conn = play.conn();
        play.hello(conn, 41_250);
        let ready = format!(
            r#"{{"t":"READY","s":1,"op":0,"d":{{"session_id":"A","x":"{}"}}}}"#,
            "x".repeat(size)
        );
        play.text(conn, &ready);
        assert_eq!(play.phase(), Phase::Live);
        assert_eq!(play.seqs(), [1]);
    }
}

#[test]
fn text_that_is_not_unicode_is_handed_over_as_it_came() {
    let mut play = Play::up();
    let conn = play.conn();
    let mut payload = event(2, "MESSAGE_CREATE", r#"{"x":"?"}"#).into_bytes();
    let at = payload.iter().position(|byte| *byte == b'?').unwrap();
    payload[at] = 0xFF;
    play.binary(conn, payload);
    play.dispatch(conn, 3, "MESSAGE_CREATE");
    assert_eq!(play.seqs(), [1, 2, 3]);
    assert_eq!(play.dials().len(), 1);
}

#[test]
fn text_that_the_transport_refuses_costs_a_connection_then_the_session_and_no_loop() {
    let mut play = Play::up();
    for seq in 2..=4 {
        let conn = play.conn();
        play.dispatch(conn, seq, "MESSAGE_CREATE");
    }
    let broken = || TransportFault::Protocol("text that is not UTF-8".into());
    let conn = play.conn();
    play.fail(conn, broken());
    let (second, url) = play.reconnect(41_250);
    assert_eq!(url, R1);
    assert_eq!(play.sent(second), [resume("A", 4)]);
    play.fail(second, broken());
    let (third, url) = play.reconnect(41_250);
    assert_eq!(url, MAIN);
    assert_eq!(play.sent(third), [IDENTIFY]);
    play.ready(third, "B", "ws://r1.example", 1);
    assert_eq!(play.dials().len(), 3);
    assert_eq!(play.notices("Poisoned").len(), 1);
}

#[test]
fn unknown_events_opcodes_and_keys_are_no_errors() {
    let mut play = opened();
    let conn = play.conn();
    play.text(
        conn,
        r#"{"new":[1],"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"_trace":["x"],"more":{}}}"#,
    );
    assert_eq!(play.sent(conn), [IDENTIFY]);
    play.ready(conn, "A", "ws://r1.example", 1);
    play.text(conn, &event(2, "NOT_YET_INVENTED", r#"{"a":1}"#));
    for _ in 0..10 {
        play.text(conn, r#"{"op":99,"d":{}}"#);
        play.text(conn, r#"{"op":18446744073709551615}"#);
        play.text(conn, r#"{"op":8,"d":{"guild_id":"abc"}}"#);
        play.text(conn, r#"{"op":11}"#);
    }
    assert_eq!(play.names(), ["READY", "NOT_YET_INVENTED"]);
    assert_eq!(play.notices("UnknownOpcode").len(), 1, "once a connection");
    play.fin(conn);
    let (second, _) = play.reconnect(41_250);
    assert_eq!(play.sent(second), [resume("A", 2)]);
}

#[test]
fn empty_messages_are_skipped_with_one_warning_a_connection() {
    let mut play = opened();
    let conn = play.conn();
    play.text(conn, r#"{"op":11}"#);
    assert_eq!(play.notices("EmptyMessage").len(), 0);
    let empties = |play: &mut Play| {
        for _ in 0..10 {
            play.text(conn, "");
            play.binary(conn, Vec::new());
        }
    };
    empties(&mut play);
    assert_eq!(play.phase(), Phase::AwaitingHello);
    play.hello(conn, 41_250);
    play.ready(conn, "A", "ws://r1.example", 1);
    empties(&mut play);
    play.dispatch(conn, 2, "MESSAGE_CREATE");
    assert_eq!(play.notices("EmptyMessage").len(), 1);
    assert_eq!(play.seqs(), [1, 2]);
    assert_eq!((play.dials().len(), play.identifies()), (1, 1));
}

#[test]
fn before_hello_nothing_is_sent_whatever_comes() {
    // Reconnect.
    let mut play = Play::up();
    let first = play.conn();
    play.op7(first);
    let (second, _) = play.next_dial();
    play.open(second);
    play.op7(second);
    assert_eq!(play.sent(second), Vec::<String>::new());
    let (third, url) = play.reconnect(41_250);
    assert_eq!(url, R1);
    assert_eq!(play.sent(third), [resume("A", 1)]);
    // A lost session.
    let mut play = Play::up();
    let first = play.conn();
    play.op7(first);
    let (second, _) = play.next_dial();
    play.open(second);
    play.op9(second, "false");
    assert_eq!(play.sent(second), Vec::<String>::new());
    let (third, url) = play.reconnect(41_250);
    assert_eq!(url, MAIN);
    assert_eq!(play.sent(third), [IDENTIFY]);
    // A close.
    let mut play = Play::up();
    let first = play.conn();
    play.op7(first);
    let (second, _) = play.next_dial();
    play.open(second);
    play.close(second, Some(4000));
    let (third, _) = play.reconnect(41_250);
    assert_eq!(play.sent(third), [resume("A", 1)]);
    // A dispatch, and a beat that is asked for.
    let mut play = Play::up();
    let first = play.conn();
    play.op7(first);
    let (second, _) = play.next_dial();
    play.open(second);
    play.dispatch(second, 2, "MESSAGE_CREATE");
    play.text(second, r#"{"op":1,"d":null}"#);
    assert_eq!(play.sent(second), Vec::<String>::new());
    play.hello(second, 41_250);
    assert_eq!(play.sent(second), [resume("A", 2)]);
    assert_eq!(play.seqs(), [1, 2]);
}

#[test]
fn reconnects_asked_for_before_hello_are_answered_ever_more_slowly() {
    let mut later = 0;
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 41_250);
        let conn = play.conn();
        play.op7(conn);
        for _ in 0..10 {
            let (conn, _) = play.next_dial();
            play.open(conn);
            play.op7(conn);
        }
        let delays: Vec<_> = play.delays.iter().map(|(_, delay)| *delay).collect();
        assert_eq!(delays.len(), 11);
        for (failures, delay) in delays.iter().enumerate() {
            assert!(*delay <= secs(60).min(secs(1 << failures)), "{delays:?}");
        }
        later += usize::from(delays[8..].iter().any(|delay| *delay > secs(20)));
        assert!(play.identifies() == 1);
    }
    assert!(later >= 15, "{later} of 20");
}

#[test]
fn an_interrupted_replay_goes_on_where_it_stopped() {
    let replaying = || {
        let mut play = Play::up();
        let first = play.conn();
        for seq in 2..=10 {
            play.dispatch(first, seq, "MESSAGE_CREATE");
        }
        play.fin(first);
        let (second, _) = play.reconnect(41_250);
        assert_eq!(play.sent(second), [resume("A", 10)]);
        play.dispatch(second, 11, "MESSAGE_CREATE");
        play.dispatch(second, 12, "MESSAGE_CREATE");
        assert_eq!(play.seqs(), (1..=12).collect::<Vec<_>>());
        (play, second)
    };
    let (mut play, second) = replaying();
    play.op7(second);
    let (third, _) = play.reconnect(41_250);
    assert_eq!(play.sent(third), [resume("A", 12)]);

    let (mut play, second) = replaying();
    play.fail(second, TransportFault::Reset);
    let (third, _) = play.reconnect(41_250);
    assert_eq!(play.sent(third), [resume("A", 12)]);

    let (mut play, second) = replaying();
    play.op9(second, "false");
    assert!(play.notices("SessionLost")[0].contains("last_seq: 12"));
    let (third, url) = play.reconnect(41_250);
    assert_eq!(url, MAIN);
    assert_eq!(play.sent(third), [IDENTIFY]);
}

#[test]
fn a_replay_that_moves_is_never_fruitless() {
    let mut play = Play::up();
    let first = play.conn();
    play.fin(first);
    for seq in 2..=30 {
        let (conn, url) = play.reconnect(41_250);
        assert_eq!(url, R1);
        assert_eq!(play.sent(conn), [resume("A", seq - 1)]);
        play.dispatch(conn, seq, "MESSAGE_CREATE");
        play.fin(conn);
    }
    assert_eq!(play.identifies(), 1);
}

#[test]
fn a_body_of_wrong_types_concerns_its_event_alone() {
    let mut play = Play::up();
    let conn = play.conn();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let abyss = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        r#"{"user":7,"guild_id":[],"status":{"a":null}}"#,
        r#"{"id":9007199254740993,"guild_id":18446744073709551615}"#,
        r#""text""#,
        "null",
        "[]",
        "1e999",
        &deep,
        &abyss,
    ];
    for (seq, body) in (2..).zip(bodies) {
        play.text(conn, &event(seq, "PRESENCE_UPDATE", body));
    }
    let got: Vec<_> = play
        .done
        .iter()
        .filter_map(|(_, did)| match did {
            play::Did::Event(_, _, name, body) if name == "PRESENCE_UPDATE" => Some(body.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(got, bodies, "exactly as they came");
    play.fin(conn);
    let (second, _) = play.reconnect(41_250);
    assert_eq!(play.sent(second), [resume("A", 9)]);
}

#[test]
fn json_in_binary_frames_is_read_on_an_uncompressed_connection() {
    let mut play = opened();
    let conn = play.conn();
    play.binary(
        conn,
        br#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#.to_vec(),
    );
    assert_eq!(play.sent(conn), [IDENTIFY]);
    play.binary(conn, ready_text("A", "ws://r1.example", 1).into_bytes());
    play.binary(conn, dispatch_text(2, "MESSAGE_CREATE").into_bytes());
    assert_eq!(play.seqs(), [1, 2]);
}

#[test]
fn an_absurd_hello_is_left_with_4000_and_ever_longer_pauses() {
    for body in [
        r#"{"heartbeat_interval":0}"#,
        r#"{"heartbeat_interval":-1}"#,
        r#"{"heartbeat_interval":1}"#,
        r#"{"heartbeat_interval":199}"#,
        r#"{"heartbeat_interval":600001}"#,
        r#"{"heartbeat_interval":9007199254740992}"#,
        r#"{"heartbeat_interval":18446744073709551615}"#,
        r#"{"heartbeat_interval":1e300}"#,
        r#"{"heartbeat_interval":1e999}"#,
        r#"{"heartbeat_interval":41250.5}"#,
        r#"{"heartbeat_interval":"41250"}"#,
        r#"{"heartbeat_interval":null}"#,
        r#"{"heartbeat_interval":[41250]}"#,
        r#"{"Heartbeat_Interval":41250}"#,
        "{}",
        "[]",
        "null",
        "41250",
        "{",
    ] {
        let mut play = Play::up();
        let conn = play.conn();
        play.op7(conn);
        for _ in 0..30 {
            let (conn, _) = play.next_dial();
            play.open(conn);
            play.text(
                conn,
                &event(7, "X", body).replace(r#""op":0"#, r#""op":10"#),
            );
            assert_eq!(play.sent(conn), Vec::<String>::new(), "{body}");
            assert_eq!(play.phase(), Phase::Backoff, "{body}");
        }
        assert!(play.closes().iter().all(|code| *code == 4000), "{body}");
        assert!(play.elapsed() > secs(300), "{body}: {:?}", play.elapsed());
        assert_eq!(play.notices("reason: BadHello").len(), 30);
    }
    // Odd, but usable.
    for body in [
        r#"{"heartbeat_interval":41250.0}"#,
        r#"{"heartbeat_interval":4.125e4}"#,
        r#"{"heartbeat_interval":200}"#,
        r#"{"heartbeat_interval":600000}"#,
    ] {
        let mut play = opened();
        let conn = play.conn();
        play.text(conn, &format!(r#"{{"op":10,"d":{body}}}"#));
        assert_eq!(play.sent(conn), [IDENTIFY], "{body}");
    }
}

#[test]
fn an_absurd_second_hello_is_left_with_4000_and_a_resume() {
    let mut play = Play::up();
    let conn = play.conn();
    play.hello(conn, 1);
    assert_eq!(play.closes(), [4000]);
    let (second, _) = play.reconnect(41_250);
    assert_eq!(play.sent(second), [resume("A", 1)]);
}

#[test]
fn op_9_is_resumable_only_if_it_says_exactly_true() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, next) in [
        (r#","d":true"#, Next::Resume),
        (r#","d": true "#, Next::Resume),
        (r#","d":false"#, Next::Identify),
        (r#","d":null"#, Next::Identify),
        ("", Next::Identify),
        (r#","d":"true""#, Next::Identify),
        (r#","d":1"#, Next::Identify),
        (r#","d":[true]"#, Next::Identify),
        (r#","d":{"resumable":true}"#, Next::Identify),
        (&format!(r#","d":{deep}"#), Next::Identify),
    ] {
        let mut play = Play::up();
        let conn = play.conn();
        play.text(conn, &format!(r#"{{"op":9{body}}}"#));
        assert_eq!(play.closes(), [4000], "{body:.40}");
        let (said, delay) = play.delays[0];
        assert_eq!(said, next, "{body:.40}");
        assert!((secs(1)..=secs(5)).contains(&delay), "{delay:?}");
    }
}

#[test]
fn the_envelope_is_told_from_what_looks_like_it() {
    let padding = "x".repeat(10_000_000);
    let big_first = format!(r#"{{"d":{{"x":"{padding}"}},"op":0,"s":2,"t":"NAME"}}"#);
    for payload in [
        r#"{"d":{"op":7,"t":"READY","s":99},"op":0,"s":2,"t":"NAME"}"#,
        r#"{"t":"NAME","s":2,"op":0,"d":{"x":"\"op\":7,\"t\":\"READY\"","op":9}}"#,
        r#"{"t":"NAME","s":2,"op":0,"d":{"x":"},\"op\":7}"}}"#,
        r#"{"t":"WRONG","t":"NAME","s":1,"s":2,"op":7,"op":0,"d":1}"#,
        r#"{"t":"NAME","s":2.0,"op":0,"d":null}"#,
        r#"{"t":"NAME","s":2e0,"op":0e0,"d":null}"#,
        r#"{"t":"\u004eAME","s":2,"op":0,"d":null}"#,
        r#"{"\u0074":"NAME","s":2,"op":0,"d":null}"#,
        "\r\n{ \"t\" : \"NAME\" , \"s\" : 2 , \"op\" : 0 , \"d\" : null }\n",
        r#"{"op":0,"s":2,"t":"NAME"}"#,
        &big_first,
    ] {
        let mut play = Play::up();
        let conn = play.conn();
        play.text(conn, payload);
        assert_eq!(play.names(), ["READY", "NAME"], "{payload:.80}");
        assert_eq!(play.seqs(), [1, 2], "{payload:.80}");
        assert_eq!(play.phase(), Phase::Live);
    }
}

#[test]
fn what_is_no_payload_is_left_and_resumed_once() {
    let long_name = format!(r#"{{"t":"{}","s":2,"op":0,"d":1}}"#, "N".repeat(1_000_000));
    for payload in [
        "x",
        "null",
        "[]",
        "{}",
        r#"{"op":0,"s":2,"t":"NAME","d":{"#,
        r#"{"op":-1}"#,
        r#"{"op":"0"}"#,
        r#"{"op":1.5}"#,
        r#"{"op":0,"s":-2,"t":"NAME"}"#,
        r#"{"op":0,"s":"2","t":"NAME"}"#,
        r#"{"op":0,"s":2,"t":7}"#,
        r#"{"op":11} {"op":11}"#,
        &long_name,
    ] {
        let mut play = Play::up();
        let conn = play.conn();
        play.text(conn, payload);
        assert_eq!(play.closes(), [4000], "{payload:.80}");
        let named = play.notices("Malformed");
        assert_eq!(named.len(), 1, "{payload:.80}");
        assert!(named[0].contains("after: Some(1)"));
        let (second, _) = play.reconnect(41_250);
        assert_eq!(play.sent(second), [resume("A", 1)]);
        // It comes again with the replay: the session is given up rather than looping on it.
        play.text(second, payload);
        let (third, _) = play.reconnect(41_250);
        assert_eq!(play.sent(third), [IDENTIFY], "{payload:.80}");
        assert_eq!(play.notices("Poisoned").len(), 1);
    }
}

#[test]
fn a_ready_that_cannot_be_used_is_no_session() {
    for body in [
        "null",
        "{}",
        r#"{"session_id":""}"#,
        r#"{"session_id":7}"#,
        r#"{"session_id":null}"#,
        &format!(r#"{{"session_id":"{}"}}"#, "s".repeat(1025)),
        "{",
    ] {
        let mut play = opened();
        let conn = play.conn();
        play.hello(conn, 41_250);
        play.text(conn, &event(1, "READY", body));
        assert_eq!(play.closes(), [4000], "{body:.40}");
        assert_eq!(play.machine.state().session_id, None);
        let (second, url) = play.reconnect(41_250);
        assert_eq!(url, MAIN);
        assert_eq!(play.sent(second), [IDENTIFY]);
    }
}

#[test]
fn an_escaped_session_id_is_sent_back_as_it_was_meant() {
    let mut play = opened();
    let conn = play.conn();
    play.hello(conn, 41_250);
    play.text(conn, &event(1, "READY", r#"{"session_id":"a\u0022b\\c"}"#));
    play.fin(conn);
    let (second, url) = play.reconnect(41_250);
    assert_eq!(url, MAIN, "no resume host was named");
    assert_eq!(play.sent(second), [resume(r#"a\"b\\c"#, 1)]);
}

#[test]
fn sequences_never_go_back_and_a_gap_is_told() {
    let mut play = Play::up();
    let conn = play.conn();
    for seq in [2, 2, 1, 0, 5, 4, 18_446_744_073_709_551_615, 6] {
        play.dispatch(conn, seq, "MESSAGE_CREATE");
    }
    assert_eq!(play.seqs(), [1, 2, 5, u64::MAX]);
    assert_eq!(play.notices("Gap").len(), 2);
    play.text(conn, r#"{"op":1}"#);
    assert_eq!(play.sent(conn).pop().unwrap(), beat(u64::MAX));
    play.pass(ms(1));
    assert_eq!(play.phase(), Phase::Live);
}
