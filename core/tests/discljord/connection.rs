//! Connections: what is sent after a resume, faults of the peer, closing, hosts, deadlines.

use std::collections::BTreeSet;

use shardwright_core::{
    Answer, Command, CommandError, Compression, Input, Phase, ShardId, ShardState, Stop,
    TransportFault, Wait,
};

use crate::common::ZlibServer;
use crate::play::{Did, IDENTIFY, MAIN, Play, R1, config, ms, ready_text, resume, secs};

fn raw_text(n: u64) -> String {
    format!(r#"{{"op":31,"d":{{"guild_ids":["{n}"]}}}}"#)
}

fn raw(n: u64) -> Command {
    Command::raw(&raw_text(n)).unwrap()
}

/// There only READY let commands go, so that after a resume they waited for ever.
#[test]
fn s01_commands_leave_after_a_resume() {
    let mut play = Play::up();
    let first = play.conn();
    play.command(1, raw(1));
    play.fin(first);
    play.command(2, raw(2));
    let (second, _) = play.reconnect(41_250);
    play.command(3, raw(3));
    play.dispatch(second, 2, "MESSAGE_CREATE");
    assert_eq!(
        play.sent(second),
        [resume("A", 1)],
        "not among the replayed events"
    );
    play.resumed(second, 3);
    play.command(4, raw(4));
    assert_eq!(play.sent(second)[1..], [2, 3, 4].map(raw_text));
    for id in 1..=4 {
        assert_eq!(play.all_sent(&raw_text(id)).len(), 1, "once each");
        assert_eq!(play.answers(id), [Answer::Accepted, Answer::Sent]);
    }

    // One that was handed over has never seen a READY.
    let state = ShardState {
        session_id: Some("A".into()),
        seq: Some(5),
        ..ShardState::fresh(ShardId::SINGLE)
    };
    let mut play = Play::with(config(), Some(state), 1);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41_250);
    play.resumed(conn, 6);
    play.command(1, raw(1));
    assert_eq!(play.sent(conn), [resume("A", 5), raw_text(1)]);
}

/// There any error while a message was handled or sent made a shard vanish without a word.
#[test]
fn s03_no_fault_of_the_peer_or_the_line_makes_a_shard_vanish() {
    for bad in [
        "{",
        "null",
        "[0]",
        "hello",
        r#"{"op":"zero"}"#,
        r#"{"op":0,"t":"MESSAGE_CREATE","s":"two","d":{}}"#,
    ] {
        let mut play = Play::up();
        play.text(play.conn(), bad);
        assert_eq!(play.closes(), [4000], "{bad}");
        let told = play.notices("Malformed").len() + play.notices("Undecodable { after").len();
        assert_eq!(told, 1, "{bad}: {:?}", play.notices(""));
        let (conn, url) = play.reconnect(41_250);
        assert_eq!((url.as_str(), play.sent(conn)), (R1, vec![resume("A", 1)]));
        play.resumed(conn, 2);
        play.dispatch(conn, 3, "MESSAGE_CREATE");
        assert_eq!((play.phase(), play.seqs()), (Phase::Live, vec![1, 2, 3]));
    }

    // What is only strange costs nothing: an opcode nobody knows, a key that is empty.
    let mut play = Play::up();
    let conn = play.conn();
    play.text(conn, r#"{"op":99,"d":{"":1}}"#);
    play.text(
        conn,
        r#"{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"":{"":1}}}"#,
    );
    let last = play.done.iter().rev().find_map(|(_, did)| match did {
        Did::Event(_, seq, name, body) => Some((*seq, name.as_str(), body.as_str())),
        _ => None,
    });
    assert_eq!(last, Some((2, "MESSAGE_CREATE", r#"{"":{"":1}}"#)));
    assert_eq!(play.dials().len(), 1);

    // A write that fails is a connection that is lost.
    play.flush = false;
    play.command(1, raw(1));
    play.fail(conn, TransportFault::Reset);
    play.flush = true;
    let (conn, _) = play.reconnect(41_250);
    assert_eq!(play.sent(conn), [resume("A", 2)]);
    play.resumed(conn, 3);
    assert_eq!(play.phase(), Phase::Live);
    assert_eq!(
        play.answers(1),
        [Answer::Accepted, Answer::Refused(CommandError::Interrupted)]
    );
    assert!(play.notices("ShardStopped").is_empty());
}

/// There op 7 and op 9 were answered with a close of 1000, which ends the session that was to go on.
#[test]
fn s08_a_session_that_may_be_resumed_is_left_with_a_code_that_keeps_it() {
    type Order = fn(&mut Play);
    let orders: [Order; 2] = [
        |play| play.op7(play.conn()),
        |play| play.op9(play.conn(), "true"),
    ];
    for order in orders {
        let mut play = Play::up();
        order(&mut play);
        assert_eq!(play.closes(), [4000]);
        let (conn, url) = play.reconnect(41_250);
        assert_eq!((url.as_str(), play.sent(conn)), (R1, vec![resume("A", 1)]));
        assert!(play.notices("SessionLost").is_empty());
    }
    let mut pauses = BTreeSet::new();
    for seed in 0..30 {
        let mut play = Play::up_with(Play::seeded(seed), 41_250);
        let at = play.elapsed();
        play.op9(play.conn(), "false");
        assert_eq!(play.closes(), [4000]);
        let (conn, url) = play.reconnect(41_250);
        assert_eq!(
            (url.as_str(), play.sent(conn)),
            (MAIN, vec![IDENTIFY.to_owned()])
        );
        pauses.insert(play.elapsed() - at);
    }
    assert!(*pauses.first().unwrap() >= secs(1) && *pauses.last().unwrap() <= secs(5));
    assert!(pauses.len() > 25, "shards do not come back in step");
}

/// There READY's `resume_gateway_url` was ignored, and one address used for ever.
#[test]
fn s12_a_resume_goes_where_ready_said_with_the_same_query() {
    let mut config = config();
    config.compression = Compression::Zlib;
    let mut play = Play::with(config, None, 1);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    let mut server = ZlibServer::new();
    play.binary(
        conn,
        server.payload(r#"{"op":10,"d":{"heartbeat_interval":41250}}"#),
    );
    play.binary(
        conn,
        server.payload(ready_text("A", "wss://resume.example", 1)),
    );
    play.close(conn, Some(1001));
    let mut urls = Vec::new();
    for _ in 0..3 {
        let (conn, url) = play.next_dial();
        urls.push(url);
        play.fail(conn, TransportFault::Refused);
    }
    let (conn, url) = play.next_dial();
    urls.push(url);
    let resume_host = "wss://resume.example/?v=10&encoding=json&compress=zlib-stream";
    let main_host = "ws://main.example/?v=10&encoding=json&compress=zlib-stream";
    assert_eq!(urls, [resume_host, resume_host, resume_host, main_host]);
    play.open(conn);
    let mut server = ZlibServer::new();
    play.binary(
        conn,
        server.payload(r#"{"op":10,"d":{"heartbeat_interval":41250}}"#),
    );
    assert_eq!(play.sent(conn), [resume("A", 1)], "the session is kept");
}

/// There nothing that stayed away was ever noticed: no answer, no Hello, no READY, no RESUMED, no close.
#[test]
fn s16_whatever_stays_away_is_missed_at_its_deadline() {
    let dialling = Play::started();
    let mut greeting = Play::started();
    greeting.open(greeting.conn());
    let mut identifying = Play::started();
    identifying.open(identifying.conn());
    identifying.hello(identifying.conn(), 41_250);
    let mut resuming = Play::up();
    resuming.fin(resuming.conn());
    resuming.reconnect(41_250);
    let mut closing = Play::up();
    closing.answer_close = false;
    closing.stop(Stop::Keep);
    for (mut play, phase, deadline) in [
        (dialling, Phase::Connecting, 10),
        (greeting, Phase::AwaitingHello, 20),
        (identifying, Phase::Identifying, 60),
        (resuming, Phase::Resuming, 60),
        (closing, Phase::Closing, 5),
    ] {
        let conn = play.conn();
        assert!(matches!(play.machine.wait(), Wait::Until(_)), "{phase:?}");
        play.pass(secs(deadline) - ms(1));
        assert_eq!(play.phase(), phase);
        let before = play.done.len();
        play.pass(ms(1));
        assert_ne!(play.phase(), phase);
        let left = play.done[before..].iter().any(
            |(_, did)| matches!(did, Did::Abort(of) | Did::Close(of, 4000) if *of == conn.get()),
        );
        assert!(left, "{phase:?}: {:?}", &play.done[before..]);
        if phase == Phase::Closing {
            assert_eq!(play.machine.wait(), Wait::Stopped);
        } else {
            assert_ne!(play.next_dial().0, conn, "and dialled anew");
        }
    }
    // And nothing else is waited for without a time or a name.
    let mut play = Play::up();
    assert!(matches!(play.machine.wait(), Wait::Until(_)));
    play.op7(play.conn());
    assert!(matches!(play.machine.wait(), Wait::Until(_)));
}
