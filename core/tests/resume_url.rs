//! Where a session is resumed, with what query, and when that host is left.

mod play;

use play::{IDENTIFY, MAIN, NULL_BEAT, Play, R1, R2, config, resume, secs};
use shardwright_core::{Compression, Phase, TransportFault};

#[test]
fn the_resume_url_keeps_path_port_and_foreign_parameters_and_gets_the_query_once() {
    for (given, dialled) in [
        ("ws://h:1234", "ws://h:1234/?v=10&encoding=json"),
        ("ws://h:1234/", "ws://h:1234/?v=10&encoding=json"),
        ("ws://h:1234/edge", "ws://h:1234/edge?v=10&encoding=json"),
        ("ws://h:1234/?x=1", "ws://h:1234/?x=1&v=10&encoding=json"),
        (
            "ws://h:1234/?v=9&compress=zlib-stream&encoding=etf",
            "ws://h:1234/?v=10&encoding=json",
        ),
    ] {
        let mut play = Play::started();
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, 41250);
        play.ready(conn, "A", given, 1);
        play.op7(conn);
        assert_eq!(play.next_dial().1, dialled, "{given}");
    }
}

#[test]
fn a_resume_asks_for_the_same_compression_as_the_connection_that_made_the_session() {
    let mut config = config();
    config.compression = Compression::Zlib;
    let mut play = Play::with(config, None, 1);
    // Text is understood whatever was asked for.
    play = Play::up_with(play, 41250);
    play.op7(play.conn());
    play.next_dial();
    assert_eq!(
        play.urls(),
        [
            "ws://main.example/?v=10&encoding=json&compress=zlib-stream",
            "ws://r1.example/?v=10&encoding=json&compress=zlib-stream",
        ]
    );
}

#[test]
fn a_resume_host_goes_with_its_session() {
    let mut play = Play::up();
    play.op7(play.conn());
    let (conn, url) = play.reconnect(41250);
    assert_eq!((url.as_str(), play.sent(conn)), (R1, vec![resume("A", 1)]));
    play.op9(conn, "false");
    let (conn, url) = play.reconnect(1000);
    assert_eq!(url, MAIN);
    play.pass(secs(1));
    assert_eq!(play.sent(conn), [IDENTIFY, NULL_BEAT]);
    play.ready(conn, "B", "ws://r2.example", 1);
    play.op7(conn);
    let (conn, url) = play.reconnect(41250);
    assert_eq!((url.as_str(), play.sent(conn)), (R2, vec![resume("B", 1)]));
}

#[test]
fn a_session_stays_on_its_resume_host_for_as_long_as_that_works() {
    let mut play = Play::up();
    play.op7(play.conn());
    for s in 2..8 {
        let (conn, url) = play.resume_again(41250, s);
        assert_eq!(url, R1);
        play.pass(secs(600));
        play.fin(conn);
    }
    assert_eq!(play.identifies(), 1);
}

#[test]
fn a_shard_told_to_stay_on_its_host_never_dials_another() {
    let mut config = config();
    config.stay_on_host = true;
    let mut play = Play::up_with(Play::with(config, None, 1), 41250);
    play.op7(play.conn());
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 1)]);
    play.resumed(conn, 2);
    play.fin(conn);
    play.refuse_all(secs(600), &TransportFault::Refused);
    let urls = play.urls();
    assert!(urls.len() > 8, "{urls:?}");
    assert!(urls.iter().all(|url| url == MAIN), "{urls:?}");
}

#[test]
fn a_ready_without_a_usable_resume_url_is_resumed_on_the_main_host() {
    for (field, complains) in [
        ("", false),
        (r#","resume_gateway_url":null"#, false),
        (r#","resume_gateway_url":"""#, true),
        (r#","resume_gateway_url":"not a url""#, true),
        (r#","resume_gateway_url":"http://x""#, true),
        (r#","resume_gateway_url":7"#, true),
    ] {
        let mut play = Play::started();
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, 41250);
        play.text(
            conn,
            &format!(
                r#"{{"t":"READY","s":1,"op":0,"d":{{"v":10,"session_id":"A"{field},"guilds":[]}}}}"#
            ),
        );
        assert_eq!(play.notices("BadResumeUrl").len(), usize::from(complains));
        play.fin(conn);
        let (conn, url) = play.reconnect(41250);
        assert_eq!(
            (url.as_str(), play.sent(conn)),
            (MAIN, vec![resume("A", 1)]),
            "{field}"
        );
    }
}

#[test]
fn a_ready_never_moves_a_bot_from_tls_to_plain_text() {
    let mut config = config();
    config.gateway_url = "wss://main.example".parse().unwrap();
    let mut play = Play::up_with(Play::with(config, None, 1), 41250);
    play.op7(play.conn());
    assert_eq!(play.next_dial().1, "wss://main.example/?v=10&encoding=json");
    assert_eq!(play.notices("BadResumeUrl").len(), 1);
}

#[test]
fn the_session_named_in_a_resume_is_always_the_last_one() {
    let mut play = Play::started();
    let mut conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    for n in 1..=5 {
        play.ready(conn, &format!("A{n}"), &format!("ws://r{n}.example"), 1);
        play.dispatch(conn, 2, "X");
        if n < 5 {
            play.op9(conn, "false");
            conn = play.reconnect(41250).0;
        }
    }
    play.op7(conn);
    let (conn, url) = play.reconnect(41250);
    assert_eq!(url, "ws://r5.example/?v=10&encoding=json");
    assert_eq!(play.sent(conn), [resume("A5", 2)]);
    assert_eq!(play.resumes().len(), 1);
}

#[test]
fn a_name_that_cannot_be_looked_up_sends_the_session_to_the_main_host() {
    let mut play = Play::up();
    play.fin(play.conn());
    loop {
        let (conn, url) = play.next_dial();
        if url == MAIN {
            play.open(conn);
            play.hello(conn, 41250);
            break;
        }
        play.fail(conn, TransportFault::NameLookup);
    }
    assert_eq!(play.urls(), [MAIN, R1, R1, R1, MAIN]);
    assert_eq!(play.sent(play.conn()), [resume("A", 1)]);
}

#[test]
fn an_outage_of_our_own_network_costs_neither_session_nor_resume_host() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.fail(play.conn(), TransportFault::Unreachable);
        play.refuse_all(secs(120), &TransportFault::Unreachable);
        assert!(play.notices("SessionLost").is_empty());
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [resume("A", 1)]);
        play.resumed(conn, 2);
        play.fin(conn);
        assert_eq!(play.next_dial().1, R1, "after the outage as before it");
    }
}

#[test]
fn a_session_that_nobody_could_reach_for_over_an_hour_is_given_up() {
    let mut play = Play::up();
    play.fin(play.conn());
    play.refuse_all(secs(50 * 60), &TransportFault::Refused);
    assert!(play.notices("SessionLost").is_empty());
    play.refuse_all(secs(20 * 60), &TransportFault::Refused);
    let lost = play.notices("SessionLost");
    assert_eq!(lost.len(), 1);
    assert!(lost[0].contains("TooOld"), "{lost:?}");
    let (conn, url) = play.reconnect(41250);
    assert_eq!(
        (url.as_str(), play.sent(conn)),
        (MAIN, vec![IDENTIFY.to_owned()])
    );
}

#[test]
fn a_host_that_opens_but_never_says_hello_is_left_after_three_tries() {
    let mut play = Play::up();
    play.fin(play.conn());
    for host in [R1, R1, R1, MAIN] {
        let (conn, url) = play.next_dial();
        assert_eq!(url, host);
        play.open(conn);
        let opened = play.elapsed();
        if host == MAIN {
            play.hello(conn, 41250);
            assert_eq!(play.sent(conn), [resume("A", 1)]);
        } else {
            play.pass(secs(10));
            assert_eq!(play.phase(), Phase::AwaitingHello);
            while play.phase() == Phase::AwaitingHello {
                play.pass(secs(1));
            }
            assert!(play.elapsed() - opened <= secs(60));
            assert!(play.sent(conn).is_empty());
        }
    }
    assert_eq!(play.closes(), [4000, 4000, 4000]);
}
