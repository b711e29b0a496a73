//! What comes off the wire in every way a gateway, or a broken one, may cut, merge and compress it.

mod common;

use common::*;
use flate2::FlushCompress;
use proptest::collection::vec;
use proptest::prelude::*;
use shardwright_core::{
    DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, Envelope, Frame, FrameDecoder, TooLarge,
};

fn zlib() -> FrameDecoder {
    FrameDecoder::new(DecoderMode::ZlibStream, DEFAULT_PAYLOAD_LIMIT)
}

fn in_pieces(stream: &[u8], len: usize) -> impl Iterator<Item = Frame> {
    stream.chunks(len).map(binary)
}

/// READY and 50 dispatches, and the stream they make.
fn session() -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut texts = vec![ready(100_000)];
    texts.extend(dispatches(50));
    let mut server = ZlibServer::new();
    let stream = texts.iter().flat_map(|t| server.payload(t)).collect();
    (bytes_of(&texts), stream)
}

#[test]
fn a_stream_cut_into_single_bytes_gives_the_same_payloads() {
    let (payloads, stream) = session();
    assert_eq!(feed_all(&mut zlib(), in_pieces(&stream, 1)), payloads);
}

#[test]
fn a_stream_cut_every_kilobyte_gives_the_same_payloads() {
    let (payloads, stream) = session();
    assert_eq!(feed_all(&mut zlib(), in_pieces(&stream, 1024)), payloads);
}

#[test]
fn a_suffix_split_over_two_messages_is_seen() {
    for in_the_second in 1..4 {
        let mut server = ZlibServer::new();
        let mut decoder = zlib();
        for payload in bytes_of(&dispatches(20)) {
            let sent = server.payload(&payload);
            let (first, second) = sent.split_at(sent.len() - in_the_second);
            assert!(feed(&mut decoder, binary(first)).unwrap().is_empty());
            assert_eq!(feed(&mut decoder, binary(second)).unwrap(), [payload]);
        }
    }
}

#[test]
fn a_suffix_inside_the_data_ends_no_payload() {
    // The header of a stored block of 0xFF00 bytes holds the suffix.
    let payload = repeated(0xFF00 + 100).into_bytes();
    let mut stream = vec![0x78, 0x01];
    stream.extend(stored(&payload[..99]));
    let split = stream.len() + 4;
    stream.extend(stored(&payload[99..0xFF00 + 99]));
    stream.extend(stored(&payload[0xFF00 + 99..]));
    stream.extend(stored(b""));
    let (first, second) = stream.split_at(split);
    assert!(first.ends_with(&[0x00, 0x00, 0xFF, 0xFF]));
    let mut decoder = zlib();
    assert!(feed(&mut decoder, binary(first)).unwrap().is_empty());
    assert!(feed(&mut decoder, binary(second)).unwrap() == [&payload[..]]);
    // In one message there are two of them, and still one payload.
    decoder.reset();
    assert!(feed(&mut decoder, binary(stream)).unwrap() == [payload]);

    // Or the data itself does, which makes it no JSON; it still is one payload.
    let payload = b"{\"op\":0,\"d\":\"\x00\x00\xff\xff and on\"}";
    let mut stream = vec![0x78, 0x01];
    stream.extend(stored(payload));
    let split = stream
        .windows(4)
        .position(|bytes| bytes == [0, 0, 255, 255]);
    let second = stream.split_off(split.unwrap() + 4);
    decoder.reset();
    assert!(feed(&mut decoder, binary(stream)).unwrap().is_empty());
    assert!(feed(&mut decoder, binary(second)).unwrap().is_empty());
    let end = feed(&mut decoder, binary(stored(b"")));
    assert_eq!(end, Err(DecodeError::NotJson));
}

#[test]
fn a_payload_flushed_in_several_parts_is_one_payload() {
    let mut server = ZlibServer::new();
    let mut decoder = zlib();
    for (at, part) in ["", r#"{"op":0,"#, "", r#""d":{"a":[1"#, "] "]
        .iter()
        .enumerate()
    {
        let sent = server.payload(part);
        assert!(feed(&mut decoder, binary(sent)).unwrap().is_empty(), "{at}");
    }
    let sent = server.payload("}}\n");
    let payloads = feed(&mut decoder, binary(sent)).unwrap();
    assert_eq!(payloads, [br#"{"op":0,"d":{"a":[1] }}"#]);
}

#[test]
fn payloads_merged_into_one_message_are_told_apart() {
    let mut server = ZlibServer::new();
    let texts = dispatches(3);
    let merged: Vec<u8> = texts.iter().flat_map(|t| server.payload(t)).collect();
    let mut decoder = zlib();
    assert_eq!(
        feed(&mut decoder, binary(merged)).unwrap(),
        bytes_of(&texts)
    );
    let sent = server.payload(&texts[0]);
    assert_eq!(
        feed(&mut decoder, binary(sent)).unwrap()[0],
        texts[0].as_bytes()
    );
}

#[test]
fn a_large_payload_among_merged_ones_can_be_kept() {
    let texts = [repeated(300_000), repeated(200), repeated(900_000)];
    let mut server = ZlibServer::new();
    let merged: Vec<u8> = texts.iter().flat_map(|t| server.payload(t)).collect();
    let mut decoder = zlib();
    decoder.push(binary(merged));
    for text in &texts {
        assert!(decoder.advance().unwrap());
        let kept = decoder.lend().into_bytes(0..text.len());
        assert_eq!(kept, text.as_bytes());
    }
    assert!(!decoder.advance().unwrap());
    let sent = server.payload(&texts[1]);
    assert_eq!(
        feed(&mut decoder, binary(sent)).unwrap()[0],
        texts[1].as_bytes()
    );
}

#[test]
fn merged_text_that_is_no_json_is_an_error() {
    let mut server = ZlibServer::new();
    let mut merged = server.payload(r#"{"op":0} oops "#);
    merged.extend(server.payload(r#"{"op":0}"#));
    assert_eq!(feed(&mut zlib(), binary(merged)), Err(DecodeError::NotJson));
}

#[test]
fn memory_falls_back_after_many_fragments() {
    let mut random = Random(7);
    let noise: String = (0..60_000)
        .map(|_| format!("{:x}", random.next()))
        .collect();
    let payload = |len: usize| format!(r#"{{"d":"{}"}}"#, &noise[..len]);
    let mut server = ZlibServer::with_level(0);
    let mut decoder = zlib();
    let idle = at_rest(&mut decoder, &mut server);

    let first = payload(400 * 1024 - 1000);
    let sent = server.payload(&first);
    assert_eq!(sent.len().div_ceil(1024), 400);
    let frames = in_pieces(&sent, 1024);
    assert_eq!(feed_all(&mut decoder, frames), [first.as_bytes()]);
    let large = payload(900_000);
    let sent = server.payload(&large);
    assert_eq!(
        feed(&mut decoder, binary(sent)).unwrap(),
        [large.as_bytes()]
    );
    for _ in 0..70 {
        let small = payload(50);
        let sent = server.payload(&small);
        let frames = in_pieces(&sent, 40);
        assert_eq!(feed_all(&mut decoder, frames), [small.as_bytes()]);
    }
    assert!(decoder.memory() < idle + 40_000, "{}", decoder.memory());
}

#[test]
fn a_huge_payload_leaves_no_memory_behind() {
    let mut server = ZlibServer::new();
    let mut decoder = zlib();
    let idle = at_rest(&mut decoder, &mut server);
    let huge = repeated(5_000_000);
    feed(&mut decoder, binary(server.payload(&huge))).unwrap();
    feed(&mut decoder, binary(server.payload(repeated(100)))).unwrap();
    assert!(decoder.memory() < idle + 100_000);

    // Kept, it takes its buffer along.
    decoder.push(binary(server.payload(&huge)));
    assert!(decoder.advance().unwrap());
    let data = Envelope::scan(decoder.payload()).unwrap().data;
    let kept = decoder.lend().into_bytes(data.clone());
    assert!(decoder.memory() < idle + 100_000);
    assert!(decoder.payload().is_empty());
    assert_eq!(kept, huge.as_bytes()[data]);
    assert!(!decoder.advance().unwrap());
}

#[test]
fn output_of_any_length_is_complete() {
    let around = |len| [len - 1, len, len + 1];
    let sizes = [
        8 << 10,
        16 << 10,
        32 << 10,
        64 << 10,
        128 << 10,
        5_000_000,
        20_000_000,
    ];
    let mut server = ZlibServer::new();
    let mut decoder = zlib();
    for size in sizes.into_iter().flat_map(around) {
        let payload = repeated(size);
        let sent = server.payload(&payload);
        assert!(sent.len() < size / 50);
        let payloads = feed(&mut decoder, binary(sent)).unwrap();
        assert!(payloads == [payload.as_bytes()], "{size}");
    }
}

#[test]
fn a_broken_stream_is_one_error_and_poisons_the_rest() {
    let mut server = ZlibServer::new();
    let mut decoder = zlib();
    let texts = dispatches(8);
    let frames: Vec<_> = texts.iter().map(|text| server.payload(text)).collect();
    for (frame, text) in frames[..6].iter().zip(&texts) {
        let payloads = feed(&mut decoder, binary(frame.clone())).unwrap();
        assert_eq!(payloads, [text.as_bytes()]);
    }
    // The type of the block, so that the damage can't pass for other text.
    let mut damaged = frames[6].clone();
    damaged[0] |= 0b110;
    let error = feed(&mut decoder, binary(damaged)).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }), "{error}");
    for frame in &frames[6..] {
        let error = feed(&mut decoder, binary(frame.clone())).unwrap_err();
        assert_eq!(error, DecodeError::Poisoned);
    }
    assert_eq!(feed(&mut decoder, text("{}")), Err(DecodeError::Poisoned));
    assert_eq!(decoder.advance(), Ok(false));

    // A new connection is not affected.
    decoder.reset();
    let sent = ZlibServer::new().payload(&texts[0]);
    assert_eq!(
        feed(&mut decoder, binary(sent)).unwrap(),
        [texts[0].as_bytes()]
    );
}

#[test]
fn nothing_of_an_old_connection_reaches_the_new_one() {
    let mut old = ZlibServer::new();
    let mut decoder = zlib();
    let texts = dispatches(3);
    feed(&mut decoder, binary(old.payload(&texts[0]))).unwrap();
    let unfinished = old.payload(&texts[1]);
    feed(&mut decoder, binary(&unfinished[..unfinished.len() - 2])).unwrap();
    decoder.push(binary(old.payload(&texts[2])));
    decoder.reset();
    assert_eq!(decoder.advance(), Ok(false));
    let sent = ZlibServer::new().payload(&texts[1]);
    assert_eq!(
        feed(&mut decoder, binary(sent)).unwrap(),
        [texts[1].as_bytes()]
    );
}

#[test]
fn fragments_without_an_end_stop_at_the_cap() {
    let limit = 1 << 20;
    let mut decoder = FrameDecoder::new(DecoderMode::ZlibStream, limit);
    let idle = at_rest(&mut decoder, &mut ZlibServer::new());
    for fed in 1.. {
        let result = feed(&mut decoder, binary([b'x'; 1024]));
        assert!(decoder.memory() <= idle + limit);
        if fed * 1024 > limit {
            let what = TooLarge::Compressed;
            assert_eq!(result, Err(DecodeError::TooLarge { limit, what }));
            break;
        }
        assert_eq!(result, Ok(vec![]));
    }
    assert!(decoder.memory() < idle + 100_000);
}

#[test]
fn empty_messages_are_counted_and_skipped() {
    for mode in [
        DecoderMode::Plain,
        DecoderMode::ZlibStream,
        DecoderMode::Payload,
    ] {
        let mut decoder = FrameDecoder::new(mode, DEFAULT_PAYLOAD_LIMIT);
        for _ in 0..5 {
            decoder.push(text(""));
            decoder.push(binary(""));
        }
        decoder.push(text("{}"));
        decoder.push(binary(""));
        assert_eq!(decoder.advance(), Ok(true));
        assert_eq!(decoder.payload(), b"{}");
        assert_eq!(decoder.advance(), Ok(false));
        assert_eq!(decoder.empty_frames(), 11);
    }
}

#[test]
fn every_zlib_header_is_read() {
    for (level, header) in [(0, 0x01), (1, 0x01), (2, 0x5E), (6, 0x9C), (9, 0xDA)] {
        let mut server = ZlibServer::with_level(level);
        let text = repeated(500);
        let mut sent = server.payload(&text);
        // The low bits make header a multiple of 31, the high ones only tell of the level.
        sent[..2].copy_from_slice(&[0x78, header]);
        assert_eq!(feed(&mut zlib(), binary(sent)).unwrap(), [text.as_bytes()]);
    }
}

#[test]
fn compressed_payloads_mix_with_text() {
    let mut decoder = FrameDecoder::new(DecoderMode::Payload, DEFAULT_PAYLOAD_LIMIT);
    for payload in dispatches(20) {
        for frame in [
            text(payload.clone()),
            binary(zlib_whole(&payload)),
            binary(payload.clone()),
        ] {
            assert_eq!(feed(&mut decoder, frame).unwrap(), [payload.as_bytes()]);
        }
    }
}

#[test]
fn a_compressed_payload_is_a_whole_stream_and_nothing_else() {
    let sent = zlib_whole(repeated(500));
    let mut decoder = FrameDecoder::new(DecoderMode::Payload, DEFAULT_PAYLOAD_LIMIT);
    let mut with_more = sent.clone();
    with_more.push(0);
    let error = feed(&mut decoder, binary(with_more)).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }));
    decoder.reset();
    for cut in 1..sent.len() {
        let error = feed(&mut decoder, binary(&sent[..cut])).unwrap_err();
        assert_eq!(error, DecodeError::Truncated);
        decoder.reset();
    }
    let mut damaged = sent;
    *damaged.last_mut().unwrap() ^= 1;
    let error = feed(&mut decoder, binary(damaged)).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }));
}

#[test]
fn json_is_understood_in_a_message_of_either_kind() {
    let payload = repeated(200);
    let mut plain = FrameDecoder::new(DecoderMode::Plain, DEFAULT_PAYLOAD_LIMIT);
    assert_eq!(
        feed(&mut plain, binary(payload.clone())).unwrap(),
        [payload.as_bytes()]
    );
    // A server that ignores the wish for compression.
    let mut decoder = zlib();
    for frame in [
        text(payload.clone()),
        binary(payload.clone()),
        binary(payload.clone()),
    ] {
        assert_eq!(feed(&mut decoder, frame).unwrap(), [payload.as_bytes()]);
    }
    // Text between the pieces of a compressed payload leaves the stream alone.
    let sent = ZlibServer::new().payload(&payload);
    let (first, second) = sent.split_at(20);
    assert!(feed(&mut decoder, binary(first)).unwrap().is_empty());
    assert_eq!(feed(&mut decoder, text("{}")).unwrap(), [b"{}"]);
    assert_eq!(
        feed(&mut decoder, binary(second)).unwrap(),
        [payload.as_bytes()]
    );
    // Inside the stream a brace is not taken for JSON.
    assert!(feed(&mut decoder, binary("{}")).unwrap().is_empty());
}

#[test]
fn a_very_large_ready_is_accepted() {
    for len in [17_000_000, 40_000_000] {
        let ready = ready(len);
        let mut plain = FrameDecoder::new(DecoderMode::Plain, DEFAULT_PAYLOAD_LIMIT);
        plain.push(text(ready.clone()));
        assert_eq!(plain.advance(), Ok(true));
        assert!(plain.payload() == ready.as_bytes());

        let sent = ZlibServer::with_level(1).payload(&ready);
        let mut decoder = zlib();
        assert!(feed_all(&mut decoder, in_pieces(&sent, 64 << 10)) == [ready.as_bytes()]);
    }
}

#[test]
fn a_payload_may_be_as_long_as_the_limit_and_not_longer() {
    for limit in [100, 8191, 8192, 8193, 100_000] {
        for mode in [
            DecoderMode::Plain,
            DecoderMode::ZlibStream,
            DecoderMode::Payload,
        ] {
            let frame = |len| match mode {
                DecoderMode::Plain => text(repeated(len)),
                DecoderMode::Payload => binary(zlib_whole(repeated(len))),
                _ => binary(ZlibServer::new().payload(repeated(len))),
            };
            let mut decoder = FrameDecoder::new(mode, limit);
            assert_eq!(feed(&mut decoder, frame(limit)).unwrap()[0].len(), limit);
            decoder.reset();
            let error = feed(&mut decoder, frame(limit + 1)).unwrap_err();
            let what = TooLarge::Payload;
            assert_eq!(error, DecodeError::TooLarge { limit, what }, "{mode:?}");
        }
    }
}

#[test]
fn a_byte_that_is_no_utf8_passes_through() {
    let payload = b"{\"op\":0,\"d\":\"\xff\"}".to_vec();
    let mut plain = FrameDecoder::new(DecoderMode::Plain, DEFAULT_PAYLOAD_LIMIT);
    assert_eq!(
        feed(&mut plain, text(payload.clone())).unwrap(),
        [&payload[..]]
    );
    let mut server = ZlibServer::new();
    let mut twice = server.payload(&payload);
    twice.extend(server.payload(&payload));
    assert_eq!(
        feed(&mut zlib(), binary(twice)).unwrap(),
        [&payload[..], &payload]
    );
}

#[test]
fn a_stream_that_ends_is_an_error_only_if_it_goes_on() {
    let mut sent = ZlibServer::new().flush(br#"{"op":7}"#, FlushCompress::Finish);
    sent.extend_from_slice(&[0, 0, 255, 255]);
    let error = feed(&mut zlib(), binary(sent)).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }));
}

#[test]
fn a_decoder_can_move_between_threads() {
    fn is_send<T: Send + 'static>() {}
    is_send::<FrameDecoder>();
    is_send::<Frame>();
    is_send::<DecodeError>();
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_payloads(
        bodies in vec("[a-z {}]{0,400}", 1..12), cuts in vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let texts: Vec<String> =
            bodies.iter().map(|body| format!(r#"{{"op":0,"d":"{body}"}}"#)).collect();
        let mut server = ZlibServer::new();
        let stream: Vec<u8> = texts.iter().flat_map(|text| server.payload(text)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<Frame> = cuts.windows(2).map(|w| binary(&stream[w[0]..w[1]])).collect();
        let expected = bytes_of(&texts);
        prop_assert_eq!(&feed_all(&mut zlib(), pieces), &expected);
        prop_assert_eq!(&feed_all(&mut zlib(), in_pieces(&stream, 1)), &expected);
        prop_assert_eq!(&feed_all(&mut zlib(), [binary(stream)]), &expected);
    }
}

#[test]
fn taking_one_payload_leaves_the_next_of_the_same_message() {
    let (one, two) = (repeated(300_000), repeated(90_000));
    let mut server = ZlibServer::new();
    let mut message = server.payload(&one);
    message.extend(server.payload(&two));
    let mut decoder = FrameDecoder::new(DecoderMode::ZlibStream, DEFAULT_PAYLOAD_LIMIT);
    decoder.push(binary(message));
    for expected in [one, two] {
        assert_eq!(decoder.advance(), Ok(true));
        let taken = decoder.lend().into_bytes(0..expected.len());
        assert!(taken == expected.as_bytes());
    }
    assert_eq!(decoder.advance(), Ok(false));
}

#[test]
fn a_payload_in_two_messages_may_begin_behind_another_and_look_whole() {
    let mut server = ZlibServer::new();
    let mut message = server.payload(r#"{"a":1}"#);
    message.extend(server.payload(r#"{"b":{"c":2}"#));
    let mut decoder = FrameDecoder::new(DecoderMode::ZlibStream, DEFAULT_PAYLOAD_LIMIT);
    let first = feed(&mut decoder, binary(message)).unwrap();
    assert_eq!(first, [br#"{"a":1}"#]);
    let second = feed(&mut decoder, binary(server.payload("}"))).unwrap();
    assert_eq!(second, [br#"{"b":{"c":2}}"#]);
}

#[test]
fn the_memory_of_messages_is_counted_before_and_after_they_are_looked_at() {
    for mode in [DecoderMode::Plain, DecoderMode::ZlibStream] {
        let mut decoder = FrameDecoder::new(mode, DEFAULT_PAYLOAD_LIMIT);
        assert_eq!(decoder.mode(), mode);
        let idle = decoder.memory();
        decoder.push(text(repeated(5000)));
        decoder.push(text(repeated(700)));
        assert_eq!(decoder.memory(), idle + 5700);
        assert_eq!(decoder.advance(), Ok(true));
        assert_eq!(decoder.memory(), idle + 5700);
        assert_eq!(decoder.advance(), Ok(true));
        assert_eq!(decoder.memory(), idle + 700);
        assert_eq!(decoder.advance(), Ok(false));
        assert_eq!(decoder.memory(), idle);
    }
}

#[test]
fn the_limit_is_for_what_comes_in_too() {
    // Stored as it is, so a little longer than its text.
    let message = ZlibServer::with_level(0).payload(repeated(5000));
    let read = |limit| {
        let mut decoder = FrameDecoder::new(DecoderMode::ZlibStream, limit);
        feed(&mut decoder, binary(message.clone())).map(|payloads| payloads.len())
    };
    assert_eq!(read(message.len()), Ok(1));
    let limit = message.len() - 1;
    let what = TooLarge::Compressed;
    assert_eq!(read(limit), Err(DecodeError::TooLarge { limit, what }));
}
