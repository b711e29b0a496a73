//! What a close code means for session and shard, and with what code we close ourselves.

mod play;

use play::{Did, IDENTIFY, MAIN, NULL_BEAT, Play, R1, config, ms, resume, secs};
use shardwright_core::{
    Answer, Command, CommandError, Compression, ConnId, Input, Next, Phase, StatusUpdate, Stop,
};

fn identifying(seed: u64) -> Play {
    let mut play = Play::seeded(seed);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    assert_eq!(play.sent(conn), [IDENTIFY]);
    play
}

#[test]
fn a_fatal_code_in_answer_to_identify_stops_for_good_and_names_the_code() {
    for code in [4004, 4010, 4012, 4013, 4014] {
        let mut play = identifying(1);
        play.close(play.conn(), Some(code));
        assert_eq!(play.phase(), Phase::Stopped);
        play.pass(secs(3600));
        assert_eq!(play.dials().len(), 1, "{code}");
        let stopped = play.notices("ShardStopped");
        assert_eq!(stopped.len(), 1);
        assert!(
            stopped[0].contains("Fatal") && stopped[0].contains(&code.to_string()),
            "{stopped:?}"
        );
        assert_eq!(play.delays, [(Next::Stop, secs(0))]);
    }
}

#[test]
fn too_many_guilds_for_the_layout_is_told_apart_from_other_fatal_codes() {
    let mut play = identifying(1);
    play.close(play.conn(), Some(4011));
    let stopped = play.notices("ShardStopped");
    assert_eq!(stopped.len(), 1);
    assert!(stopped[0].contains("ReShardRequired"), "{stopped:?}");
    play.pass(secs(3600));
    assert_eq!(play.dials().len(), 1);
}

#[test]
fn a_token_revoked_while_running_stops_the_shard_at_the_resume() {
    let mut play = Play::up();
    play.close(play.conn(), Some(4000));
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 1)]);
    play.close(conn, Some(4004));
    play.pass(secs(24 * 3600));
    assert_eq!(play.phase(), Phase::Stopped);
    assert_eq!((play.dials().len(), play.identifies()), (2, 1));
    assert!(!play.machine.state().is_resumable());
}

#[test]
fn not_authenticated_costs_the_session_and_not_the_shard() {
    let mut play = Play::up();
    play.close(play.conn(), Some(4003));
    let (conn, url) = play.reconnect(41250);
    assert_eq!(
        (url.as_str(), play.sent(conn)),
        (MAIN, vec![IDENTIFY.into()])
    );
    play.ready(conn, "B", "ws://r2.example", 1);
    assert_eq!(play.phase(), Phase::Live);

    let mut play = Play::up();
    play.close(play.conn(), Some(4003));
    let (conn, _) = play.reconnect(41250);
    play.close(conn, Some(4014));
    play.pass(secs(3600));
    assert_eq!((play.phase(), play.dials().len()), (Phase::Stopped, 2));
}

#[test]
fn no_answer_to_identify_burns_the_budget_whatever_its_code() {
    for code in [Some(4003), Some(4001), Some(1011), None] {
        let mut play = identifying(3);
        let mut conn = play.conn();
        while play.elapsed() < secs(24 * 3600) {
            play.pass(ms(100));
            play.close(conn, code);
            conn = play.reconnect(41250).0;
            assert_eq!(play.sent(conn), [IDENTIFY]);
        }
        let spent = play.identifies();
        assert!((20..=100).contains(&spent), "{code:?}: {spent}");
        let told = play.notices("IdentifyFailing");
        assert!(told.len() > 10, "{code:?}");
        assert!(told[0].contains("next_try_in"), "{told:?}");
        let longest = play.delays.iter().map(|(_, delay)| *delay).max().unwrap();
        assert!(
            (secs(15 * 60)..=secs(30 * 60)).contains(&longest),
            "{longest:?}"
        );
    }
}

#[test]
fn whatever_we_leave_for_the_session_outlives_our_close_code() {
    let mut play = Play::up_with(Play::new(), 1000);
    // Asked to reconnect.
    play.op7(play.conn());
    play.resume_again(1000, 2);
    // A dead link.
    play.ack = false;
    let (conn, _) = play.next_dial();
    play.ack = true;
    play.open(conn);
    play.hello(conn, 1000);
    play.resumed(conn, 3);
    // Bytes that cannot be read.
    play.text(conn, r#"{"t":"X","s":4,"op":0,"d":"#);
    let (conn, _) = play.resume_again(1000, 4);
    // Invalid, but resumable.
    play.op9(conn, "true");
    let (conn, _) = play.resume_again(1000, 5);
    assert_eq!(play.closes(), [4000, 4000, 4000, 4000]);
    assert_eq!(play.sent(conn)[0], resume("A", 4));
    assert_eq!(play.identifies(), 1);
}

#[test]
fn a_broken_compressed_stream_is_left_with_a_code_that_keeps_the_session() {
    let mut config = config();
    config.compression = Compression::Zlib;
    let mut play = Play::up_with(Play::with(config, None, 1), 41250);
    let conn = play.conn();
    play.dispatch(conn, 2, "X");
    play.binary(conn, vec![0x78, 0x9c, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    assert_eq!(play.closes(), [4000]);
    assert_eq!(play.notices("Undecodable {").len(), 1);
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [resume("A", 2)]);
}

#[test]
fn an_unasked_normal_close_is_no_goodbye() {
    for code in [1000, 1001] {
        let mut play = Play::up();
        play.close(play.conn(), Some(code));
        let (conn, url) = play.reconnect(41250);
        assert_eq!((url.as_str(), play.sent(conn)), (R1, vec![resume("A", 1)]));
        play.op9(conn, "false");
        let (conn, url) = play.reconnect(41250);
        assert_eq!(
            (url.as_str(), play.sent(conn)),
            (MAIN, vec![IDENTIFY.into()])
        );
    }
}

#[test]
fn an_unknown_close_code_is_named_and_resumed() {
    for code in [3000, 4099, 4999] {
        let mut play = Play::up();
        play.close(play.conn(), Some(code));
        let told = play.notices("UnknownCloseCode");
        assert_eq!(told.len(), 1, "{code}");
        assert!(told[0].contains(&code.to_string()), "{told:?}");
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [resume("A", 1)]);
    }
    let mut play = Play::up();
    play.close(play.conn(), Some(1001));
    assert!(play.notices("UnknownCloseCode").is_empty());
}

#[test]
fn a_session_that_a_resume_finds_dead_is_forgotten_altogether() {
    for code in [4006, 4007, 4009] {
        let mut play = Play::up();
        let conn = play.conn();
        for s in 2..=9 {
            play.dispatch(conn, s, "X");
        }
        play.fin(conn);
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [resume("A", 9)]);
        play.close(conn, Some(code));
        let lost = play.notices("SessionLost");
        assert!(
            lost.len() == 1 && lost[0].contains("last_seq: 9"),
            "{lost:?}"
        );
        let (conn, url) = play.reconnect(1000);
        play.pass(secs(1));
        assert_eq!(url, MAIN, "{code}");
        assert_eq!(play.sent(conn), [IDENTIFY, NULL_BEAT], "{code}");
        for _ in 0..8 {
            play.fin(play.conn());
            play.reconnect(1000);
        }
        assert_eq!(play.resumes(), [resume("A", 9)], "{code}");
    }
}

#[test]
fn after_a_rate_limit_close_the_queue_waits_for_resumed_and_keeps_to_the_limit() {
    let raw = |n: u64| format!(r#"{{"op":31,"d":{{"n":{n}}}}}"#);
    let mut play = Play::up();
    play.close(play.conn(), Some(4008));
    for n in 0..200 {
        play.command(n, Command::raw(&raw(n)).unwrap());
    }
    let status = |status: StatusUpdate| Command::status_update(status).unwrap();
    play.command(1000, status(StatusUpdate::dnd()));
    play.command(1001, status(StatusUpdate::idle(None)));
    assert_eq!(
        play.answers(1000),
        [Answer::Accepted, Answer::Refused(CommandError::Replaced)]
    );
    let (conn, _) = play.reconnect(41250);
    play.pass(secs(5));
    let sent: Vec<_> = play
        .sent(conn)
        .into_iter()
        .filter(|text| !text.starts_with(r#"{"op":1,"#))
        .collect();
    assert_eq!(sent, [resume("A", 1)], "nothing before RESUMED");
    play.resumed(conn, 2);
    play.pass(secs(180));
    let commands: Vec<_> = play
        .all_sent(r#"{"op":31"#)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(commands, (0..200).map(raw).collect::<Vec<_>>(), "in order");
    let presences = play.all_sent(r#"{"op":3,"#);
    assert_eq!(presences.len(), 1);
    assert!(presences[0].1.contains(r#""status":"idle""#));
    let all = play.sent_at(conn);
    for (at, _) in &all {
        let window = all
            .iter()
            .filter(|(other, _)| other >= at && *other < *at + secs(60))
            .count();
        assert!(window <= 120, "{window} sends in a minute");
    }
}

#[test]
fn a_command_that_discord_could_not_read_is_named_and_not_repeated() {
    for (code, payload) in [
        (4001, r#"{"op":77,"d":null}"#),
        (4002, r#"{"op":3,"d":{"activities":[null]}}"#),
    ] {
        for flushed in [true, false] {
            let mut play = Play::up();
            let conn = play.conn();
            play.flush = flushed;
            play.command(1, Command::raw(payload).unwrap());
            play.close(conn, Some(code));
            play.flush = true;
            let told = play.notices("CommandRejected");
            assert!(
                told.len() == 1 && told[0].contains("Raw"),
                "{code}: {told:?}"
            );
            let last = if flushed {
                Answer::Sent
            } else {
                Answer::Refused(CommandError::Interrupted)
            };
            assert_eq!(play.answers(1), [Answer::Accepted, last]);
            let (conn, _) = play.reconnect(41250);
            if code == 4001 {
                play.ready(conn, "B", "ws://r2.example", 1);
            } else {
                play.resumed(conn, 2);
            }
            play.pass(secs(60));
            assert_eq!(play.phase(), Phase::Live);
            let times = play
                .done
                .iter()
                .filter(|(_, did)| matches!(did, Did::Send(_, text) if text == payload))
                .count();
            assert_eq!(times, 1, "{code} {flushed}");
        }
    }
}

#[test]
fn a_thousand_shards_told_to_reconnect_do_not_dial_at_once() {
    let mut tenths = [0_u32; 10];
    for seed in 0..1000 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        let at = play.elapsed();
        play.op7(play.conn());
        let (_, url) = play.next_dial();
        assert_eq!(url, R1);
        let after = play.elapsed() - at;
        assert!(after < secs(1), "{after:?}");
        tenths[(after.as_millis() / 100) as usize] += 1;
        assert_eq!(play.identifies(), 1);
    }
    // A hundred each, give or take.
    assert!(tenths.iter().all(|n| (60..=140).contains(n)), "{tenths:?}");
}

#[test]
fn a_typed_command_that_may_not_have_left_is_sent_again_unless_discord_complained() {
    for (code, again) in [(None, true), (Some(4000), true), (Some(4002), false)] {
        let mut play = Play::up();
        let conn = play.conn();
        play.flush = false;
        let dnd = Command::status_update(StatusUpdate::dnd()).unwrap();
        let text = dnd.json().to_owned();
        play.command(1, dnd);
        assert_eq!(play.sent(conn)[1..], [text.as_str()]);
        play.close(conn, code);
        play.flush = true;
        let (conn, _) = play.resume_again(41250, 2);
        let (sent, last) = if again {
            (vec![resume("A", 1), text], Answer::Sent)
        } else {
            (
                vec![resume("A", 1)],
                Answer::Refused(CommandError::Interrupted),
            )
        };
        assert_eq!(play.sent(conn), sent, "{code:?}");
        assert_eq!(play.answers(1), [Answer::Accepted, last], "{code:?}");
    }
}

#[test]
fn a_command_given_during_identify_or_replay_waits_for_its_end() {
    let raw = || Command::raw(r#"{"op":31,"d":null}"#).unwrap();
    let mut play = identifying(1);
    let conn = play.conn();
    play.command(1, raw());
    play.pass(secs(3));
    assert!(play.all_sent(r#"{"op":31"#).is_empty());
    play.ready(conn, "A", "ws://r1.example", 1);
    assert_eq!(play.all_sent(r#"{"op":31"#).len(), 1);

    play.fin(conn);
    let (conn, _) = play.reconnect(41250);
    play.command(2, raw());
    for s in 2..502 {
        play.dispatch(conn, s, "X");
    }
    assert_eq!(play.all_sent(r#"{"op":31"#).len(), 1);
    play.resumed(conn, 502);
    assert_eq!(play.all_sent(r#"{"op":31"#).len(), 2);
    assert_eq!(play.answers(2), [Answer::Accepted, Answer::Sent]);
}

#[test]
fn our_close_frames_say_why() {
    fn opened() -> (Play, ConnId) {
        let mut play = Play::seeded(1);
        play.ack = false;
        play.tell(Input::Start);
        let conn = play.conn();
        play.open(conn);
        (play, conn)
    }
    fn up() -> (Play, ConnId) {
        let mut play = Play::up();
        play.ack = false;
        let conn = play.conn();
        (play, conn)
    }
    let mut said = Vec::new();
    let mut end = |mut play: Play| {
        play.pass(secs(200));
        said.push(play.reasons[0]);
    };
    let (mut play, conn) = up();
    play.op7(conn);
    end(play);
    let (mut play, conn) = up();
    play.op9(conn, "true");
    end(play);
    let (play, _) = up();
    end(play);
    let (play, _) = opened();
    end(play);
    let (mut play, conn) = opened();
    play.hello(conn, 0);
    end(play);
    let (mut play, conn) = opened();
    play.hello(conn, 600_000);
    end(play);
    let (mut play, conn) = up();
    play.fin(conn);
    play.reconnect(600_000);
    end(play);
    let (mut play, conn) = up();
    play.text(conn, "{");
    end(play);
    let (mut play, _) = up();
    play.tell(Input::Congested(true));
    end(play);
    let (mut play, _) = up();
    play.stop(Stop::Keep);
    end(play);
    assert_eq!(
        said,
        [
            "reconnecting as asked",
            "session invalid",
            "no heartbeat acknowledgement",
            "no hello",
            "heartbeat interval out of range",
            "no ready",
            "no resumed",
            "undecodable payload",
            "will resume",
            "stopped",
        ]
    );
}
