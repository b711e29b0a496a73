//! `zstd-stream`: one message, one payload, in a frame that never ends.
#![cfg(feature = "zstd")]

mod common;

use common::*;
use shardwright_core::{DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, FrameDecoder, TooLarge};

fn zstd() -> FrameDecoder {
    FrameDecoder::new(DecoderMode::ZstdStream, DEFAULT_PAYLOAD_LIMIT)
}

/// Magic number, no content size, no checksum, a window of 2^`log`.
fn frame_header(log: u8) -> Vec<u8> {
    vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, (log - 10) << 3]
}

#[test]
fn every_message_of_a_never_ending_frame_is_a_payload() {
    let mut texts = vec![ready(100_000)];
    texts.extend(dispatches(50));
    let mut server = ZstdServer::new();
    let mut decoder = zstd();
    for (at, text) in texts.iter().enumerate() {
        let sent = server.payload(text);
        assert_eq!(sent.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]), at == 0);
        assert_eq!(feed(&mut decoder, binary(sent)).unwrap(), [text.as_bytes()]);
    }
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
    let mut server = ZstdServer::new();
    let mut decoder = zstd();
    for size in sizes.into_iter().flat_map(around) {
        let payload = repeated(size);
        let sent = server.payload(&payload);
        assert!(sent.len() < size / 50);
        let payloads = feed(&mut decoder, binary(sent)).unwrap();
        assert!(payloads == [payload.as_bytes()], "{size}");
    }
}

#[test]
fn a_very_large_ready_is_accepted() {
    for len in [17_000_000, 40_000_000] {
        let ready = ready(len);
        let sent = ZstdServer::new().payload(&ready);
        assert!(feed(&mut zstd(), binary(sent)).unwrap() == [ready.as_bytes()]);
    }
}

#[test]
fn a_message_that_ends_inside_its_payload_is_an_error() {
    let payload = repeated(500_000);
    let sent = ZstdServer::new().payload(&payload);
    for cut in [1, 5, 10, sent.len() / 2, sent.len() - 1] {
        let mut decoder = zstd();
        let result = feed(&mut decoder, binary(&sent[..cut]));
        assert_eq!(result, Err(DecodeError::Truncated), "{cut}");
        let result = feed(&mut decoder, binary(&sent[cut..]));
        assert_eq!(result, Err(DecodeError::Poisoned));
    }
}

#[test]
fn a_wide_window_is_accepted_and_a_wider_one_refused() {
    let payload = repeated(300);
    for log in [18, 20, 23] {
        let sent = ZstdServer::with_window(log).payload(&payload);
        let payloads = feed(&mut zstd(), binary(sent)).unwrap();
        assert_eq!(payloads, [payload.as_bytes()]);
    }
    let sent = ZstdServer::with_window(24).payload(&payload);
    let (limit, what) = (8 << 20, TooLarge::Window);
    assert_eq!(
        feed(&mut zstd(), binary(sent)),
        Err(DecodeError::TooLarge { limit, what })
    );
}

#[test]
fn a_new_connection_starts_anew() {
    let mut decoder = zstd();
    let texts = dispatches(3);
    let mut old = ZstdServer::new();
    feed(&mut decoder, binary(old.payload(&texts[0]))).unwrap();
    let late = old.payload(&texts[1]);
    feed(&mut decoder, binary(&late[..late.len() / 2])).unwrap_err();
    decoder.reset();
    let mut new = ZstdServer::new();
    for text in &texts {
        let payloads = feed(&mut decoder, binary(new.payload(text))).unwrap();
        assert_eq!(payloads, [text.as_bytes()]);
    }
    // The window limit outlives the reset.
    decoder.reset();
    let sent = ZstdServer::with_window(24).payload(&texts[0]);
    assert!(feed(&mut decoder, binary(sent)).is_err());
}

#[test]
fn damage_is_one_error_and_poisons_the_rest() {
    let mut server = ZstdServer::new();
    let mut decoder = zstd();
    feed(&mut decoder, binary(server.payload(repeated(300)))).unwrap();
    let mut damaged = server.payload(ready(50_000));
    // A block of the reserved type.
    damaged[0] |= 0b110;
    let error = feed(&mut decoder, binary(damaged)).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }), "{error}");
    let result = feed(&mut decoder, binary(server.payload("{}")));
    assert_eq!(result, Err(DecodeError::Poisoned));
}

#[test]
fn frames_that_end_after_each_payload_are_read_as_well() {
    let mut decoder = zstd();
    for text in dispatches(5) {
        let sent = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
        assert_eq!(feed(&mut decoder, binary(sent)).unwrap(), [text.as_bytes()]);
    }
}

#[test]
fn json_is_understood_in_a_message_of_either_kind() {
    let payload = repeated(200);
    let mut decoder = zstd();
    for frame in [text(payload.clone()), binary(payload.clone())] {
        assert_eq!(feed(&mut decoder, frame).unwrap(), [payload.as_bytes()]);
    }
    let mut server = ZstdServer::new();
    for _ in 0..2 {
        let sent = server.payload(&payload);
        assert_eq!(
            feed(&mut decoder, binary(sent)).unwrap(),
            [payload.as_bytes()]
        );
        assert_eq!(feed(&mut decoder, text("{}")).unwrap(), [b"{}"]);
    }
    assert!(feed(&mut decoder, binary("{}")).is_err());
}

#[test]
fn empty_messages_are_counted_and_skipped() {
    let mut decoder = zstd();
    for _ in 0..10 {
        assert!(feed(&mut decoder, binary("")).unwrap().is_empty());
    }
    assert_eq!(decoder.empty_frames(), 10);
    let sent = ZstdServer::new().payload("{}");
    assert_eq!(feed(&mut decoder, binary(sent)).unwrap(), [b"{}"]);
}

#[test]
fn a_payload_may_be_as_long_as_the_limit_and_not_longer() {
    let limit = 100_000;
    let mut decoder = FrameDecoder::new(DecoderMode::ZstdStream, limit);
    let sent = ZstdServer::new().payload(repeated(limit));
    assert_eq!(feed(&mut decoder, binary(sent)).unwrap()[0].len(), limit);
    decoder.reset();
    let sent = ZstdServer::new().payload(repeated(limit + 1));
    let what = TooLarge::Payload;
    assert_eq!(
        feed(&mut decoder, binary(sent)),
        Err(DecodeError::TooLarge { limit, what })
    );
}

#[test]
fn a_bomb_stops_at_the_cap() {
    let limit = 4 << 20;
    // 131 KB: each block is one byte repeated 2^17 times, 4 GiB in all.
    let mut bomb = frame_header(18);
    for _ in 0..1 << 15 {
        bomb.extend_from_slice(&[0x02, 0x00, 0x10, b'x']);
    }
    let mut decoder = FrameDecoder::new(DecoderMode::ZstdStream, limit);
    let what = TooLarge::Payload;
    assert_eq!(
        feed(&mut decoder, binary(bomb)),
        Err(DecodeError::TooLarge { limit, what })
    );
    assert!(decoder.memory() < 2 << 20);
}

#[test]
fn the_context_is_counted_as_memory() {
    // A window of 128 KiB at least, once it is in use.
    let mut decoder = FrameDecoder::new(DecoderMode::ZstdStream, DEFAULT_PAYLOAD_LIMIT);
    let mut server = ZstdServer::new();
    feed(&mut decoder, binary(server.payload(repeated(200_000)))).unwrap();
    assert!(decoder.memory() > 128 * 1024);
}
