//! Compressed connections through the whole machine: contexts belong to connections, pieces are put
//! together, damage costs one connection and no session.

mod common;
mod play;

use common::{ZlibServer, stored, zlib_whole};
use play::{Did, IDENTIFY, Play, config, dispatch_text, ms, ready_text, resume, secs};
use shardwright_core::{Compression, Input, Phase, ShardConfig};

const HELLO: &str = r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#;
const SOON: &str = r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":1000}}"#;
const OP7: &str = r#"{"t":null,"s":null,"op":7,"d":null}"#;
const RESUMED: &str = r#"{"t":"RESUMED","s":99,"op":0,"d":null}"#;
const R1_ZLIB: &str = "ws://r1.example/?v=10&encoding=json&compress=zlib-stream";

/// A final block of a type that does not exist, then the marker: no inflater can read it.
const BROKEN: [u8; 5] = [0x07, 0x00, 0x00, 0xFF, 0xFF];

fn compressed(compression: Compression) -> ShardConfig {
    let mut config = config();
    config.compression = compression;
    config
}

fn zlib_play() -> Play {
    Play::with(compressed(Compression::Zlib), None, 1)
}

/// Starts, opens, and greets with this Hello.
fn up(mut play: Play, server: &mut ZlibServer, hello: &str) -> Play {
    // The tests answer beats themselves, inside the stream.
    play.ack = false;
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.binary(conn, server.payload(hello));
    play.binary(conn, server.payload(ready_text("A", "ws://r1.example", 1)));
    assert_eq!(play.phase(), Phase::Live);
    play
}

/// What every way of cutting must give.
fn expected(payloads: u64) -> Vec<u64> {
    (1..=payloads).collect()
}

#[test]
fn what_an_old_connection_still_sends_never_reaches_the_new_context() {
    let mut old = ZlibServer::new();
    let mut play = up(zlib_play(), &mut old, HELLO);
    play.answer_close = false;
    let first = play.conn();
    play.binary(first, old.payload(OP7));
    play.binary(first, old.payload(dispatch_text(2, "LATE")));
    let (second, url) = play.next_dial();
    assert_eq!(url, R1_ZLIB);
    play.binary(first, old.payload(dispatch_text(3, "LATE")));
    play.open(second);
    play.binary(first, old.payload(dispatch_text(4, "LATE")));
    let mut new = ZlibServer::new();
    let hello = new.payload(HELLO);
    let (head, tail) = hello.split_at(7);
    play.binary(second, head.to_vec());
    play.binary(first, old.payload(dispatch_text(5, "LATE")));
    play.binary(second, tail.to_vec());
    assert_eq!(play.sent(second), [resume("A", 1)]);
    play.binary(second, new.payload(dispatch_text(2, "MESSAGE_CREATE")));
    play.binary(second, new.payload(RESUMED));
    assert_eq!(play.names(), ["READY", "MESSAGE_CREATE", "RESUMED"]);
    assert_eq!(play.dials().len(), 2);
}

#[cfg(feature = "zstd")]
#[test]
fn the_same_holds_for_zstd() {
    let mut old = common::ZstdServer::new();
    let mut play = Play::with(compressed(Compression::Zstd), None, 1);
    play.answer_close = false;
    play.tell(Input::Start);
    let first = play.conn();
    play.open(first);
    play.binary(first, old.payload(HELLO));
    play.binary(first, old.payload(ready_text("A", "ws://r1.example", 1)));
    play.binary(first, old.payload(OP7));
    let (second, url) = play.next_dial();
    assert_eq!(
        url,
        "ws://r1.example/?v=10&encoding=json&compress=zstd-stream"
    );
    play.binary(first, old.payload(dispatch_text(2, "LATE")));
    play.open(second);
    play.binary(first, old.payload(dispatch_text(3, "LATE")));
    let mut new = common::ZstdServer::new();
    play.binary(second, new.payload(HELLO));
    assert_eq!(play.sent(second), [resume("A", 1)]);
    play.binary(second, new.payload(dispatch_text(2, "MESSAGE_CREATE")));
    assert_eq!(play.names(), ["READY", "MESSAGE_CREATE"]);
}

#[test]
fn a_stream_cut_anywhere_gives_the_same_events() {
    let mut server = ZlibServer::new();
    let hello = server.payload(HELLO);
    let mut whole = Vec::new();
    let mut ends = Vec::new();
    let mut add = |text: &str| {
        whole.extend(server.payload(text));
        ends.push(whole.len());
    };
    add(&ready_text("A", "ws://r1.example", 1));
    for seq in 2..=51 {
        add(&dispatch_text(seq, "MESSAGE_CREATE"));
    }
    let around = |before: usize| -> Vec<Vec<u8>> {
        // Cut `before` bytes ahead of each payload's end, and at each end.
        let mut cuts: Vec<_> = ends.iter().flat_map(|end| [end - before, *end]).collect();
        cuts.insert(0, 0);
        let pieces = cuts.windows(2).map(|cut| whole[cut[0]..cut[1]].to_vec());
        pieces.collect()
    };
    let chunks = |size: usize| whole.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>();
    for pieces in [
        chunks(1),
        chunks(1024),
        chunks(whole.len()),
        around(3),
        around(2),
        around(1),
    ] {
        let mut play = zlib_play();
        play.tell(Input::Start);
        let conn = play.conn();
        play.open(conn);
        for byte in &hello {
            play.binary(conn, vec![*byte]);
        }
        for piece in pieces {
            play.binary(conn, piece);
        }
        assert_eq!(play.seqs(), expected(51));
        assert_eq!(play.sent(conn), [IDENTIFY]);
        assert_eq!(play.closes(), Vec::<u16>::new());
    }
}

#[test]
fn a_marker_inside_a_payload_does_not_end_it() {
    // The server flushes in the midst of a payload.
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, HELLO);
    let conn = play.conn();
    for (seq, cut) in [
        (2, r#"{"t":"ODD","s":2,"op":0,"d":{"x":{"#),
        (3, r#"{"t":"OD"#),
    ] {
        let text = format!(r#"{{"t":"ODD","s":{seq},"op":0,"d":{{"x":{{}},"y":1}}}}"#);
        play.binary(conn, server.payload(cut));
        assert_eq!(play.seqs().last(), Some(&(seq - 1)));
        play.binary(conn, server.payload(&text[cut.len()..]));
        assert_eq!(play.seqs().last(), Some(&seq));
    }
    // The same with a stored block, which holds its text as it is.
    let text = dispatch_text(4, "ODD");
    let mut piece = stored(text.as_bytes());
    piece.extend([0x00, 0x00, 0x00, 0xFF, 0xFF]);
    let (head, tail) = piece.split_at(3);
    play.binary(conn, head.to_vec());
    play.binary(conn, tail.to_vec());
    assert_eq!(play.seqs(), [1, 2, 3, 4]);
    assert_eq!(play.closes(), Vec::<u16>::new());
}

#[test]
fn damage_is_reported_once_and_costs_a_connection_but_no_session() {
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, HELLO);
    let first = play.conn();
    for seq in 2..=5 {
        play.binary(first, server.payload(dispatch_text(seq, "MESSAGE_CREATE")));
    }
    play.binary(first, BROKEN.to_vec());
    play.binary(first, server.payload(dispatch_text(7, "MESSAGE_CREATE")));
    let problems = play.notices("Undecodable");
    assert_eq!(problems.len(), 2, "the problem, and the reason of the loss");
    assert!(problems[0].contains("after: Some(5)"), "{problems:?}");
    assert_eq!(play.closes(), [4000]);
    let (second, _) = play.next_dial();
    play.open(second);
    let mut server = ZlibServer::new();
    play.binary(second, server.payload(HELLO));
    assert_eq!(play.sent(second), [resume("A", 5)]);
    for seq in 6..=7 {
        play.binary(second, server.payload(dispatch_text(seq, "MESSAGE_CREATE")));
    }
    play.binary(second, server.payload(RESUMED));
    assert_eq!(play.seqs(), [1, 2, 3, 4, 5, 6, 7, 99]);
    assert_eq!(play.identifies(), 1);
}

#[test]
fn damage_that_comes_back_with_every_replay_ends_the_session() {
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, HELLO);
    let first = play.conn();
    play.binary(first, BROKEN.to_vec());
    let (second, _) = play.next_dial();
    play.open(second);
    play.binary(second, ZlibServer::new().payload(HELLO));
    assert_eq!(play.sent(second), [resume("A", 1)]);
    play.binary(second, BROKEN.to_vec());
    let lost = play.notices("SessionLost");
    assert_eq!(lost.len(), 1);
    assert!(
        lost[0].contains("Poisoned") && lost[0].contains("last_seq: 1"),
        "{lost:?}"
    );
    let (third, url) = play.next_dial();
    assert_eq!(
        url,
        "ws://main.example/?v=10&encoding=json&compress=zlib-stream"
    );
    play.open(third);
    play.binary(third, ZlibServer::new().payload(HELLO));
    assert_eq!(play.sent(third), [IDENTIFY]);
    assert_eq!(play.closes(), [4000, 4000]);
}

#[test]
fn a_payload_whose_end_never_comes_is_no_sign_of_life() {
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, SOON);
    let first = play.conn();
    let mut piece = server.payload(dispatch_text(2, "MESSAGE_CREATE"));
    piece.truncate(piece.len() - 4);
    play.binary(first, piece);
    let (second, _) = play.next_dial();
    assert!(play.elapsed() <= secs(2) + secs(5));
    assert_eq!(play.closes(), [4000]);
    play.open(second);
    play.binary(second, ZlibServer::new().payload(SOON));
    assert_eq!(play.sent(second), [resume("A", 1)]);
}

#[test]
fn unfinished_pieces_keep_no_link_alive() {
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, SOON);
    let first = play.conn();
    while play.closes().is_empty() {
        play.binary(first, vec![0x55]);
        play.pass(ms(100));
        assert!(play.elapsed() < secs(3), "no verdict comes");
    }
    assert_eq!(play.notices("Zombie").len(), 1);
}

#[test]
fn pieces_without_an_end_stop_at_the_cap() {
    let mut config = compressed(Compression::Zlib);
    config.limits.payload_limit = 64 * 1024;
    let mut server = ZlibServer::new();
    let mut play = up(Play::with(config, None, 1), &mut server, HELLO);
    let first = play.conn();
    for piece in 0..1000 {
        play.binary(first, vec![0x55; 1024]);
        assert!(play.machine.buffer_memory() < 256 * 1024, "piece {piece}");
    }
    assert_eq!(play.notices("TooLarge").len(), 1);
    assert_eq!(play.closes(), [4000]);
    let (second, _) = play.next_dial();
    play.open(second);
    play.binary(second, ZlibServer::new().payload(HELLO));
    assert_eq!(play.sent(second), [resume("A", 1)]);
}

#[test]
fn every_zlib_header_is_read() {
    for (level, second_byte) in [(1, 0x01), (5, 0x5E), (6, 0x9C), (9, 0xDA)] {
        let mut server = ZlibServer::with_level(level);
        let hello = server.payload(HELLO);
        assert_eq!(hello[..2], [0x78, second_byte]);
        let mut play = zlib_play();
        play.tell(Input::Start);
        let conn = play.conn();
        play.open(conn);
        play.binary(conn, hello);
        assert_eq!(play.sent(conn), [IDENTIFY], "level {level}");
    }
}

#[test]
fn a_server_that_ignores_the_wish_for_compression_is_understood() {
    for compression in [Compression::Zlib, Compression::Zstd, Compression::Payload] {
        for binary in [false, true] {
            let mut play = Play::with(compressed(compression), None, 1);
            play.tell(Input::Start);
            let conn = play.conn();
            play.open(conn);
            for text in [
                HELLO,
                &ready_text("A", "ws://r1.example", 1),
                &dispatch_text(2, "MESSAGE_CREATE"),
            ] {
                if binary {
                    play.binary(conn, text.as_bytes().to_vec());
                } else {
                    play.text(conn, text);
                }
            }
            assert_eq!(play.seqs(), [1, 2], "{compression:?}, binary {binary}");
            assert_eq!(play.phase(), Phase::Live);
        }
    }
}

#[test]
fn text_in_the_midst_of_a_compressed_stream_is_understood() {
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, HELLO);
    let conn = play.conn();
    play.dispatch(conn, 2, "IN_TEXT");
    play.binary(conn, server.payload(dispatch_text(3, "IN_ZLIB")));
    play.dispatch(conn, 4, "IN_TEXT");
    assert_eq!(play.seqs(), [1, 2, 3, 4]);
}

#[test]
fn payload_compression_is_asked_for_in_identify_and_mixes_with_text() {
    let mut play = Play::with(compressed(Compression::Payload), None, 1);
    play.tell(Input::Start);
    let conn = play.conn();
    assert_eq!(play.dials()[0].1, "ws://main.example/?v=10&encoding=json");
    play.open(conn);
    play.text(conn, HELLO);
    assert!(play.sent(conn)[0].contains(r#""compress":true"#));
    play.binary(conn, zlib_whole(ready_text("A", "ws://r1.example", 1)));
    play.dispatch(conn, 2, "IN_TEXT");
    play.binary(conn, zlib_whole(dispatch_text(3, "IN_ZLIB")));
    assert_eq!(play.names(), ["READY", "IN_TEXT", "IN_ZLIB"]);
    // The next connection does the same.
    play.op7(conn);
    let (second, _) = play.reconnect(41_250);
    play.binary(second, zlib_whole(RESUMED));
    assert_eq!(play.phase(), Phase::Live);
}

#[test]
fn several_payloads_in_one_message_are_taken_in_order_up_to_the_one_that_ends_it() {
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, HELLO);
    let conn = play.conn();
    let mut message = server.payload(dispatch_text(2, "BEFORE"));
    message.extend(server.payload(r#"{"op":1,"d":null}"#));
    message.extend(server.payload(dispatch_text(3, "BEFORE")));
    message.extend(server.payload(OP7));
    message.extend(server.payload(dispatch_text(4, "AFTER")));
    play.binary(conn, message);
    assert_eq!(play.names(), ["READY", "BEFORE", "BEFORE"]);
    let order: Vec<_> = play
        .done
        .iter()
        .filter(|(_, did)| matches!(did, Did::Event(..) | Did::Send(..) | Did::Close(..)))
        .map(|(_, did)| match did {
            Did::Event(_, seq, ..) => format!("event {seq}"),
            Did::Send(_, text) if text.starts_with(r#"{"op":1,"#) => text.clone(),
            Did::Close(_, code) => format!("close {code}"),
            _ => "identify".to_owned(),
        })
        .collect();
    assert_eq!(
        order,
        [
            "identify",
            "event 1",
            "event 2",
            r#"{"op":1,"d":2}"#,
            "event 3",
            "close 4000"
        ]
    );
    let (second, _) = play.next_dial();
    play.open(second);
    play.binary(second, ZlibServer::new().payload(HELLO));
    assert_eq!(play.sent(second), [resume("A", 3)]);
}

#[test]
fn an_opening_that_is_told_again_loses_nothing_of_the_stream() {
    let mut server = ZlibServer::new();
    let mut play = up(zlib_play(), &mut server, HELLO);
    let conn = play.conn();
    let event = server.payload(dispatch_text(2, "MESSAGE_CREATE"));
    let (head, tail) = event.split_at(event.len() / 2);
    play.binary(conn, head.to_vec());
    play.open(conn);
    play.binary(conn, tail.to_vec());
    assert_eq!(play.names(), ["READY", "MESSAGE_CREATE"]);
}

#[test]
fn an_old_connection_that_opens_late_disturbs_no_stream() {
    let mut play = zlib_play();
    play.ack = false;
    play.tell(Input::Start);
    let old = play.conn();
    // The dial takes too long; its success is told when the next connection is in use.
    let (conn, _) = play.next_dial();
    play.open(conn);
    let mut server = ZlibServer::new();
    play.binary(conn, server.payload(HELLO));
    play.open(old);
    play.binary(conn, server.payload(ready_text("A", "ws://r1.example", 1)));
    assert_eq!(play.phase(), Phase::Live);
}

#[test]
fn the_memory_of_what_waits_for_its_end_is_told() {
    let mut server = ZlibServer::with_level(0);
    let mut play = up(zlib_play(), &mut server, HELLO);
    let before = play.machine.buffer_memory();
    let event = server.payload(common::repeated(300_000));
    play.binary(play.conn(), event[..200_000].to_vec());
    assert!(play.machine.buffer_memory() >= before + 190_000);
}

#[test]
fn a_machine_at_rest_gives_back_what_nothing_is_in_and_goes_on() {
    let mut server = ZlibServer::with_level(0);
    let mut play = up(zlib_play(), &mut server, HELLO);
    play.machine.rest();
    let idle = play.machine.buffer_memory();
    for seq in 2..5 {
        let event = format!(
            r#"{{"t":"A","s":{seq},"op":0,"d":{}}}"#,
            common::repeated(7000)
        );
        play.binary(play.conn(), server.payload(event));
        assert!(play.machine.buffer_memory() > idle);
        play.machine.rest();
        assert_eq!(play.machine.buffer_memory(), idle);
    }
    assert_eq!(play.seqs(), [1, 2, 3, 4]);
}
