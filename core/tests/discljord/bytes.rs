//! Bytes: what comes compressed, and what is too large.

use shardwright_core::{
    Compression, DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, FrameDecoder, Phase, TooLarge,
    TransportFault,
};

use crate::common::{ZlibServer, bytes_of, dispatches, feed, feed_all, repeated};
use crate::common::{binary, ready};
use crate::play::{Play, R1, config, ready_text, resume};

fn decoder() -> FrameDecoder {
    FrameDecoder::new(DecoderMode::ZlibStream, DEFAULT_PAYLOAD_LIMIT)
}

/// There a message that grew beyond 1 MiB was cut, and the next ones were what was left of it; one that
/// was smaller than its compressed form made the loop spin.
#[test]
fn s11_every_payload_comes_out_whole_whatever_its_size_and_its_pieces() {
    let texts = [repeated(2_990_000), repeated(77), repeated(77)];
    let mut server = ZlibServer::new();
    let mut decoder = decoder();
    for text in &texts {
        let sent = server.payload(text);
        assert!(sent.len() < 1 << 20, "far less than it grows to");
        let payloads = feed(&mut decoder, binary(sent)).unwrap();
        assert!(payloads == [text.as_bytes()], "{} bytes", text.len());
    }

    // Deflated without compression: a header of two bytes, a stored block with its length and the
    // complement of that, and the empty block of a flush. 54 bytes for 42.
    const HELLO: &[u8; 42] = br#"{"op":10,"d":{"heartbeat_interval":41250}}"#;
    let mut sent = vec![0x78, 0x01, 0x00, 0x2A, 0x00, 0xD5, 0xFF];
    sent.extend_from_slice(HELLO);
    sent.extend_from_slice(&[0x00, 0x00, 0x00, 0xFF, 0xFF]);
    assert_eq!(sent.len(), 54);
    decoder.reset();
    assert_eq!(feed(&mut decoder, binary(sent.clone())).unwrap(), [HELLO]);
    decoder.reset();
    let bytewise = sent.iter().map(|byte| binary([*byte]));
    assert_eq!(feed_all(&mut decoder, bytewise), [HELLO]);

    let mut texts = vec![ready(20_000)];
    texts.extend(dispatches(20));
    let mut server = ZlibServer::new();
    let stream: Vec<u8> = texts.iter().flat_map(|text| server.payload(text)).collect();
    for size in (1..64).chain([1000, stream.len()]) {
        decoder.reset();
        let pieces = stream.chunks(size).map(binary);
        assert!(
            feed_all(&mut decoder, pieces) == bytes_of(&texts),
            "pieces of {size} bytes"
        );
    }
}

/// There a message could be as large as it liked.
#[test]
fn s32_what_is_too_large_is_a_typed_error_and_costs_one_connection() {
    const LIMIT: usize = 64 * 1024;
    let mut decoder = FrameDecoder::new(DecoderMode::ZlibStream, LIMIT);
    let bomb = ZlibServer::new().payload(repeated(4 << 20));
    assert!(bomb.len() < LIMIT);
    assert_eq!(
        feed(&mut decoder, binary(bomb)),
        Err(DecodeError::TooLarge {
            limit: LIMIT,
            what: TooLarge::Payload
        })
    );
    assert!(decoder.memory() < 4 * LIMIT, "{}", decoder.memory());

    // As text, compressed, and as the websocket layer sees it.
    for how in ["text", "compressed", "refused by the transport"] {
        let mut config = config();
        config.limits.payload_limit = LIMIT;
        let is_compressed = how == "compressed";
        if is_compressed {
            config.compression = Compression::Zlib;
        }
        let mut play = Play::with(config, None, 1);
        play.ack = !is_compressed;
        let mut server = ZlibServer::new();
        let hello = r#"{"op":10,"d":{"heartbeat_interval":41250}}"#;
        let mut say = |play: &mut Play, text: &str| {
            let conn = play.conn();
            if is_compressed {
                play.binary(conn, server.payload(text));
            } else {
                play.text(conn, text);
            }
        };
        play.tell(shardwright_core::Input::Start);
        play.open(play.conn());
        say(&mut play, hello);
        say(&mut play, &ready_text("A", "ws://r1.example", 1));
        assert_eq!(play.phase(), Phase::Live);
        match how {
            "refused by the transport" => play.fail(play.conn(), TransportFault::TooLarge),
            _ => say(&mut play, &repeated(LIMIT + 1)),
        }
        assert_eq!(play.notices("TooLarge").len().min(1), 1, "{how}");
        assert!(play.closes().iter().all(|code| *code == 4000));
        assert!(play.machine.buffer_memory() < 4 * LIMIT);
        let (conn, url) = play.next_dial();
        assert!(url.starts_with(R1), "{url}");
        play.open(conn);
        server = ZlibServer::new();
        let mut say = |play: &mut Play, text: &str| {
            if is_compressed {
                play.binary(conn, server.payload(text));
            } else {
                play.text(conn, text);
            }
        };
        say(&mut play, hello);
        assert_eq!(play.sent(conn), [resume("A", 1)], "{how}");
        say(&mut play, r#"{"t":"RESUMED","s":2,"op":0,"d":null}"#);
        assert_eq!(play.phase(), Phase::Live);
    }
}
