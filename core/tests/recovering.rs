//! What a shard does after it lost a connection: where it dials, whether it resumes, how long it waits.

mod play;

use play::{Did, IDENTIFY, MAIN, Play, R1, R2, beat, config, ms, resume, secs};
use shardwright_core::{
    Command, Input, Phase, ShardId, ShardState, StatusUpdate, Stop, TransportFault,
};

#[test]
fn an_unreachable_resume_host_is_left_and_the_session_kept() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        let first = play.conn();
        play.fin(first);
        let mut on_r1 = 0;
        loop {
            let (conn, url) = play.next_dial();
            if url == MAIN {
                play.open(conn);
                play.hello(conn, 41250);
                assert_eq!(play.sent(conn), [resume("A", 1)]);
                play.op9(conn, "false");
                break;
            }
            assert_eq!(url, R1);
            on_r1 += 1;
            play.fail(conn, TransportFault::Refused);
        }
        assert!(on_r1 <= 5, "{on_r1} dials of a dead host");
        let (conn, url) = play.reconnect(41250);
        assert_eq!(url, MAIN, "a new session begins on the configured host");
        assert_eq!(play.sent(conn), [IDENTIFY]);
    }
}

#[test]
fn each_ready_replaces_id_url_and_sequence_as_one() {
    let mut play = Play::up();
    let conn = play.conn();
    play.dispatch(conn, 2, "X");
    play.op9(conn, "false");
    let (conn, url) = play.reconnect(41250);
    assert_eq!(url, MAIN);
    play.ready(conn, "B", "ws://r2.example", 1);
    play.op7(conn);
    let (conn, url) = play.reconnect(41250);
    assert_eq!(url, R2);
    assert_eq!(play.sent(conn), [resume("B", 1)]);
}

#[test]
fn only_a_dispatch_with_a_number_moves_the_sequence() {
    let mut play = Play::up();
    let conn = play.conn();
    for seq in 2..=9 {
        play.dispatch(conn, seq, "X");
    }
    play.text(conn, r#"{"t":null,"s":null,"op":11,"d":null}"#);
    play.text(conn, r#"{"op":1,"s":null,"d":null}"#);
    play.text(conn, r#"{"op":11}"#);
    play.fin(conn);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 9)]);
}

#[test]
fn a_requested_beat_is_sent_at_once_with_our_own_sequence() {
    let mut play = Play::up();
    let conn = play.conn();
    play.dispatch(conn, 2, "X");
    for text in [r#"{"op":1,"d":null}"#, r#"{"op":1,"d":3}"#, r#"{"op":1}"#] {
        play.text(conn, text);
    }
    assert_eq!(play.sent(conn)[1..], [beat(2), beat(2), beat(2)]);
}

#[test]
fn op_9_false_waits_one_to_five_seconds_and_identifies() {
    let mut pauses = Vec::new();
    for seed in 0..50 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        let conn = play.conn();
        play.op9(conn, "false");
        let at = play.elapsed();
        let (conn, _) = play.reconnect(300);
        pauses.push(play.elapsed() - at);
        assert_eq!(play.sent(conn), [IDENTIFY]);
        play.pass(ms(300));
        assert_eq!(
            play.sent(conn)[1],
            r#"{"op":1,"d":null}"#,
            "a new session has no sequence"
        );
    }
    assert!(
        pauses
            .iter()
            .all(|pause| (secs(1)..=secs(5)).contains(pause)),
        "{pauses:?}"
    );
    assert!(*pauses.iter().max().unwrap() - *pauses.iter().min().unwrap() > secs(2));
}

#[test]
fn op_9_true_resumes_and_the_fourth_in_a_row_identifies() {
    let mut play = Play::up();
    let mut conn = play.conn();
    play.op7(conn);
    for _ in 0..4 {
        conn = play.reconnect(41250).0;
        assert_eq!(play.sent(conn), [resume("A", 1)]);
        play.op9(conn, "true");
    }
    let (conn, url) = play.reconnect(41250);
    assert_eq!(
        (url.as_str(), play.sent(conn)),
        (MAIN, vec![IDENTIFY.to_owned()])
    );
}

#[test]
fn every_close_code_is_answered_as_it_should_be() {
    for code in [
        1000, 1001, 1006, 1011, 1012, 3000, 4000, 4002, 4005, 4008, 4099, 4999,
    ] {
        let mut play = Play::up();
        play.close(play.conn(), Some(code));
        let (conn, url) = play.reconnect(41250);
        assert_eq!(
            (url.as_str(), play.sent(conn)),
            (R1, vec![resume("A", 1)]),
            "{code}"
        );
    }
    for code in [4001, 4003, 4006, 4007, 4009] {
        let mut play = Play::up();
        play.close(play.conn(), Some(code));
        let (conn, url) = play.reconnect(41250);
        assert_eq!(
            (url.as_str(), play.sent(conn)),
            (MAIN, vec![IDENTIFY.to_owned()]),
            "{code}"
        );
    }
    for code in [4004, 4010, 4011, 4012, 4013, 4014] {
        let mut play = Play::up();
        play.close(play.conn(), Some(code));
        play.pass(secs(3600));
        assert_eq!(play.phase(), Phase::Stopped, "{code}");
        assert_eq!(play.dials().len(), 1, "{code}");
        assert_eq!(play.notices("ShardStopped").len(), 1, "{code}");
    }
}

#[test]
fn a_resume_that_leads_nowhere_ends_in_a_new_session() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.fin(play.conn());
        let mut hosts = Vec::new();
        let conn = loop {
            let (conn, url) = play.reconnect(41250);
            if play.sent(conn) == [IDENTIFY] {
                assert_eq!(url, MAIN);
                break conn;
            }
            hosts.push(url);
            play.pass(ms(20));
            play.close(conn, None);
        };
        assert_eq!(hosts, [R1, R1, R1, MAIN, MAIN]);
        assert!(play.elapsed() < secs(180));
        assert_eq!(play.notices("SessionLost").len(), 1);
        play.ready(conn, "B", "ws://r2.example", 1);
        assert_eq!(play.phase(), Phase::Live);
    }
}

#[test]
fn what_an_old_connection_still_says_is_void() {
    let mut play = Play::up_with(Play::new(), 1000);
    let old = play.conn();
    play.answer_close = false;
    play.ack = false;
    let (new, _) = play.reconnect(1000);
    play.ack = true;
    play.resumed(new, 2);
    play.pass(secs(3));
    let dials = play.dials().len();
    play.dispatch(old, 99, "X");
    play.op9(old, "false");
    play.close(old, Some(4000));
    play.pass(secs(10));
    assert_eq!(play.dials().len(), dials);
    assert_eq!(play.seqs(), [1, 2]);
    assert_eq!(
        play.closes(),
        [4000],
        "a dead link is left with a code that keeps the session"
    );
}

#[test]
fn a_shard_told_to_reconnect_does_so_within_a_second_whatever_the_peer_does() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.answer_close = false;
        let conn = play.conn();
        let at = play.elapsed();
        play.op7(conn);
        let (_, url) = play.next_dial();
        assert_eq!(url, R1);
        assert!(play.elapsed() - at < secs(1));
        let abort = play
            .done
            .iter()
            .position(|(_, did)| *did == Did::Abort(1))
            .unwrap();
        let dial = play
            .done
            .iter()
            .rposition(|(_, did)| matches!(did, Did::Dial(2, _)))
            .unwrap();
        assert!(abort < dial, "never two connections at once");
    }
}

#[test]
fn a_stored_state_is_resumed_and_an_unusable_url_is_none() {
    for url in [None, Some(""), Some("http://x"), Some("not a url")] {
        let state = ShardState {
            shard: ShardId::new(0, 1).unwrap(),
            session_id: Some("A".into()),
            seq: Some(5),
            resume_gateway_url: url.map(str::to_owned),
            at: None,
        };
        let mut play = Play::with(config(), Some(state), 1);
        play.tell(Input::Start);
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, 41250);
        assert_eq!(play.dials()[0].1, MAIN);
        assert_eq!(play.sent(conn), [resume("A", 5)]);
    }
}

#[test]
fn commands_wait_for_the_session_and_leave_in_order() {
    let mut play = Play::started();
    let raw = |n: u32| Command::raw(&format!(r#"{{"op":31,"d":{{"n":{n}}}}}"#)).unwrap();
    for n in 0..3 {
        play.command(u64::from(n), raw(n));
    }
    play.command(9, Command::status_update(StatusUpdate::dnd()).unwrap());
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    assert_eq!(
        play.sent(conn).len(),
        1,
        "nothing but the Identify before READY"
    );
    assert!(
        play.sent(conn)[0].contains(r#""status":"dnd""#),
        "the Identify says the last presence"
    );
    play.ready(conn, "A", "ws://r1.example", 1);
    let sent = play.sent(conn);
    for n in 0..3 {
        assert_eq!(sent[n + 1], format!(r#"{{"op":31,"d":{{"n":{n}}}}}"#));
    }
    assert_eq!(sent.len(), 4);
}

#[test]
fn a_stop_is_final_from_everywhere() {
    for (how, code) in [(Stop::Keep, 4000), (Stop::Final, 1000)] {
        let mut play = Play::up();
        play.stop(how);
        assert_eq!(play.closes(), [code]);
        assert_eq!(play.phase(), Phase::Stopped);
        assert_eq!(play.machine.state().is_resumable(), how == Stop::Keep);
        play.pass(secs(3600));
        assert_eq!(play.dials().len(), 1);
        assert_eq!(play.notices("ShardStopped").len(), 1);
    }
}

#[test]
fn the_token_is_in_identify_and_resume_alone() {
    let mut play = Play::up();
    play.op7(play.conn());
    let (conn, _) = play.reconnect(41250);
    play.resumed(conn, 2);
    play.stop(Stop::Final);
    assert!(!format!("{:?}", play.machine).contains("secret-token"));
    for (_, did) in &play.done {
        let text = format!("{did:?}");
        let may = text.contains(r#"{\"op\":2,"#) || text.contains(r#"{\"op\":6,"#);
        assert!(may || !text.contains("secret-token"), "{text}");
    }
}

#[test]
fn an_outage_does_not_slow_what_follows_it() {
    for seed in 0..50 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.fin(play.conn());
        for _ in 0..12 {
            let (conn, _) = play.next_dial();
            play.fail(conn, TransportFault::Refused);
        }
        // The gateway is back and no longer knows the session.
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [resume("A", 1)]);
        let at = play.elapsed();
        play.op9(conn, "false");
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [IDENTIFY]);
        let pause = play.elapsed() - at;
        assert!((secs(1)..=secs(5)).contains(&pause), "{pause:?}");
    }
}

#[test]
fn a_gateway_that_accepts_and_closes_is_dialled_ever_more_slowly_whatever_comes_between() {
    let mut total = [std::time::Duration::ZERO; 2];
    for seed in 0..40 {
        let mut play = Play::seeded(seed);
        play.tell(Input::Start);
        let mut conn = play.conn();
        for n in 0..12 {
            play.open(conn);
            play.hello(conn, 41250);
            play.close(conn, Some(1011));
            // A refused dial in between resets nothing.
            let (refused, _) = play.next_dial();
            play.fail(refused, TransportFault::Refused);
            let at = play.elapsed();
            conn = play.next_dial().0;
            total[usize::from(n >= 6)] += play.elapsed() - at;
        }
    }
    assert!(total[1] > total[0] * 3, "{total:?}");
}
