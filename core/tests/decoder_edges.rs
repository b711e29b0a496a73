//! Streams that end, odd text in one flush, and what a decoder says it holds.

mod common;

use common::*;
use shardwright_core::{DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, FrameDecoder};

const MARKER: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

fn zlib() -> FrameDecoder {
    FrameDecoder::new(DecoderMode::ZlibStream, DEFAULT_PAYLOAD_LIMIT)
}

#[test]
fn what_is_flushed_once_is_one_payload_whatever_stands_in_it() {
    let mut server = ZlibServer::new();
    let mut decoder = zlib();
    for odd in [r#"{"op":0}{"op":1}"#, r#"{"op":0} oops }"#, "}"] {
        let sent = server.payload(odd);
        assert_eq!(feed(&mut decoder, binary(sent)).unwrap(), [odd.as_bytes()]);
    }
}

/// An encoder that is flushed once more than needed adds an empty block.
#[test]
fn what_was_flushed_twice_and_is_unfinished_does_not_swallow_the_next_payload() {
    let twice = |mut sent: Vec<u8>| {
        sent.extend([0, 0, 0, 0xFF, 0xFF]);
        binary(sent)
    };
    let unfinished = r#"{"t":"A","s":5,"op":0,"d":{"id":"1"}"#;
    let next = r#"{"t":"B","s":6,"op":0,"d":{}}"#;
    let mut server = ZlibServer::new();
    let mut decoder = zlib();
    let none: [&[u8]; 0] = [];
    assert_eq!(
        feed(&mut decoder, twice(server.payload(unfinished))).unwrap(),
        none
    );
    let error = feed(&mut decoder, binary(server.payload(next))).unwrap_err();
    assert!(matches!(error, DecodeError::NotJson), "{error}");
    // If what comes next is the rest, it is one payload; and what was whole is there at once.
    for (first, second) in [(unfinished, "}"), (next, next)] {
        let mut server = ZlibServer::new();
        let mut decoder = zlib();
        let mut got = feed(&mut decoder, twice(server.payload(first))).unwrap();
        got.extend(feed(&mut decoder, twice(server.payload(second))).unwrap());
        assert_eq!(got.concat(), [first, second].concat().as_bytes());
        assert_eq!(got.len(), if second == "}" { 1 } else { 2 });
    }
}

#[test]
fn what_comes_after_the_end_of_a_stream_is_an_error() {
    // An empty stored block that is the last one ends in the marker as well.
    let last = [1, 0, 0, 0xFF, 0xFF];
    let payload = br#"{"op":7}"#;
    let whole = [&[0x78, 0x01], &stored(payload)[..], &last].concat();
    let more = [stored(payload), stored(b"")].concat();
    let another = ZlibServer::new().payload(payload);
    for next in [more, another, MARKER.to_vec()] {
        let mut decoder = zlib();
        let first = feed(&mut decoder, binary(whole.clone())).unwrap();
        assert_eq!(first, [payload]);
        let error = feed(&mut decoder, binary(next)).unwrap_err();
        assert!(matches!(error, DecodeError::Corrupt { .. }), "{error}");
        // The next connection has a stream of its own.
        decoder.reset();
        let first = feed(&mut decoder, binary(whole.clone())).unwrap();
        assert_eq!(first, [payload]);
    }
}

#[test]
fn what_follows_the_end_of_a_stream_is_its_checksum_and_no_more() {
    let payload = br#"{"op":7}"#;
    let mut last = stored(payload);
    last[0] = 1;
    // The checksum is not looked at, so the marker may stand for it.
    let whole = [&[0x78, 0x01], &last[..], &MARKER].concat();
    assert_eq!(feed(&mut zlib(), binary(whole)).unwrap(), [payload]);
    let longer = [&[0x78, 0x01], &last[..], &[0], &MARKER].concat();
    let error = feed(&mut zlib(), binary(longer)).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }), "{error}");
}

#[test]
fn large_pieces_that_wait_for_their_end_never_take_more_room_than_the_cap() {
    let limit = 1_000_000;
    let mut decoder = FrameDecoder::new(DecoderMode::ZlibStream, limit);
    let idle = at_rest(&mut decoder, &mut ZlibServer::new());
    for piece in [600_000, 100_000, 300_000] {
        assert!(
            feed(&mut decoder, binary(vec![b'x'; piece]))
                .unwrap()
                .is_empty()
        );
        assert!(decoder.memory() <= idle + limit);
    }
}

#[test]
fn a_decoder_holds_nothing_before_its_first_compressed_message() {
    for mode in [
        DecoderMode::Plain,
        DecoderMode::ZlibStream,
        DecoderMode::Payload,
    ] {
        let mut decoder = FrameDecoder::new(mode, DEFAULT_PAYLOAD_LIMIT);
        assert_eq!(decoder.memory(), 0, "{mode:?}");
        decoder.reset();
        feed(&mut decoder, text("{}")).unwrap();
        assert_eq!(decoder.memory(), 0, "{mode:?}");
    }
    let mut decoder = zlib();
    // The window alone.
    assert!(at_rest(&mut decoder, &mut ZlibServer::new()) > 32 * 1024);
}

#[test]
fn at_rest_only_what_waits_for_its_end_is_held_and_nothing_is_lost() {
    let mut server = ZlibServer::with_level(0);
    let mut decoder = zlib();
    let idle = at_rest(&mut decoder, &mut server);
    let payload = repeated(7000);
    for _ in 0..2 {
        let sent = server.payload(&payload);
        let (start, end) = sent.split_at(3000);
        assert!(feed(&mut decoder, binary(start)).unwrap().is_empty());
        decoder.rest();
        assert!(decoder.memory() >= idle + 3000);
        assert_eq!(
            feed(&mut decoder, binary(end)).unwrap(),
            [payload.as_bytes()]
        );
        assert!(decoder.memory() > idle, "more may come");
        decoder.rest();
        assert_eq!(decoder.memory(), idle);
    }
    // Text whose end is still to come, which was flushed all the same.
    let half = server.payload(&payload[..4000]);
    assert!(feed(&mut decoder, binary(half)).unwrap().is_empty());
    decoder.rest();
    let rest = server.payload(&payload[4000..]);
    assert_eq!(
        feed(&mut decoder, binary(rest)).unwrap(),
        [payload.as_bytes()]
    );
}

#[test]
fn a_header_is_two_bytes_that_rfc_1950_allows() {
    let text = repeated(100);
    let sent = ZlibServer::with_level(0).payload(&text);
    let with = |header: [u8; 2]| {
        let mut sent = sent.clone();
        sent[..2].copy_from_slice(&header);
        feed(&mut zlib(), binary(sent)).is_ok()
    };
    let fits = |method: u8, flags: u8| {
        let number = u32::from(method) * 256 + u32::from(flags);
        let dictionary = flags / 32 % 2 == 1;
        method % 16 == 8 && method / 16 <= 7 && !dictionary && number % 31 == 0
    };
    let mut good = 0;
    // A brace begins JSON.
    for method in (0..=255).filter(|method| *method != b'{') {
        for flags in 0..=255 {
            let fits = fits(method, flags);
            assert_eq!(with([method, flags]), fits, "{method:#x} {flags:#x}");
            good += u32::from(fits);
        }
    }
    // Eight windows and four levels.
    assert_eq!(good, 32);
}

#[cfg(feature = "zstd")]
#[test]
fn the_window_of_a_zstd_stream_counts() {
    let mut decoder = FrameDecoder::new(DecoderMode::ZstdStream, DEFAULT_PAYLOAD_LIMIT);
    let sent = ZstdServer::with_window(23).payload(repeated(300));
    feed(&mut decoder, binary(sent)).unwrap();
    assert!(decoder.memory() > 8 << 20, "{}", decoder.memory());
}
