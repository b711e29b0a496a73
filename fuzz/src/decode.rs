//! Any bytes, cut anywhere: the decoder never panics, stays within its memory, and a zlib stream gives the
//! same payloads however it is cut.
//!
//! Layout of an input: the mode (three bits), the limit (two bits) and whether the first line is made large
//! (one bit), the number of cuts (modulo 16), each cut as two bytes, the bytes to cut. The modes above 3
//! compress those bytes first, one payload a line, so that whole streams are met often.

use bytes::Bytes;
use serde::de::IgnoredAny;
use shardwright_core::{DecodeError, DecoderMode, Envelope, Frame, FrameDecoder};

use crate::pack::{ZlibStream, ZstdStream, zlib_whole};

/// The usual one, and some that are soon passed.
const LIMITS: [usize; 4] = [1 << 20, 1 << 12, 100, 2];
/// Enough for buffers to be given back.
const LARGE: usize = 200_000;
/// A window of 8 MiB with what zstd keeps beside it.
const ZSTD_CONTEXT: usize = 10 << 20;
const ZLIB_CONTEXT: usize = 64 << 10;
const MARKER: [u8; 4] = [0, 0, 255, 255];

pub fn check(data: &[u8]) {
    let [kind, cuts, rest @ ..] = data else {
        return;
    };
    let cuts = usize::from(cuts % 16);
    if rest.len() < 2 * cuts {
        return;
    }
    let (cuts, bytes) = rest.split_at(2 * cuts);
    let cuts: Vec<usize> = cuts
        .chunks(2)
        .map(|c| usize::from(c[0]) << 8 | usize::from(c[1]))
        .collect();
    let limit = LIMITS[usize::from(kind >> 3 & 3)];
    let bytes = &match bytes.strip_prefix(b"{\"") {
        Some(rest) if kind & 32 != 0 => {
            [b"{\"x\":\"", &vec![b'x'; LARGE][..], b"\",\"", rest].concat()
        }
        _ => bytes.to_vec(),
    }[..];
    let lines = bytes.split(|byte| *byte == b'\n');
    match kind % 8 {
        0 => drop(run(DecoderMode::Plain, limit, &pieces(bytes, &cuts))),
        1 => zlib(limit, bytes, &cuts),
        2 => drop(run(DecoderMode::ZstdStream, limit, &pieces(bytes, &cuts))),
        3 => drop(run(DecoderMode::Payload, limit, &pieces(bytes, &cuts))),
        4 => {
            let stream = zlib_stream(lines.clone());
            zlib(limit, &stream, &cuts);
            if are_payloads(lines.clone()) {
                let result = run(DecoderMode::ZlibStream, limit, &pieces(&stream, &[]));
                comes_out(result, lines, limit);
            }
        }
        5 => {
            // One byte is damaged.
            let mut stream = zlib_stream(lines);
            let at = cuts.first().map_or(0, |cut| cut % stream.len().max(1));
            if let Some(byte) = stream.get_mut(at) {
                *byte ^= kind | 1;
            }
            zlib(limit, &stream, &cuts);
        }
        6 => {
            let mut server = ZstdStream::new();
            let message = |line| Bytes::from(server.message(line));
            let messages: Vec<_> = lines.clone().map(message).collect();
            let result = run(DecoderMode::ZstdStream, limit, &messages);
            if lines.clone().all(|line| line.ends_with(b"}")) {
                comes_out(result, lines, limit);
            }
        }
        _ => {
            let messages: Vec<_> = lines.clone().map(zlib_whole).collect();
            let result = run(DecoderMode::Payload, limit, &messages);
            comes_out(result, lines, limit);
        }
    }
}

/// What was compressed comes out again, unless it is too large.
fn comes_out<'a>(
    result: Result<Vec<Bytes>, DecodeError>,
    lines: impl Iterator<Item = &'a [u8]>,
    limit: usize,
) {
    match result {
        Ok(payloads) => assert!(payloads.iter().map(|payload| &payload[..]).eq(lines)),
        Err(DecodeError::TooLarge { .. }) if limit < LIMITS[0] => {}
        Err(error) => panic!("each message is a payload: {error}"),
    }
}

fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Bytes> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    ends.windows(2)
        .map(|ends| Bytes::copy_from_slice(&bytes[ends[0]..ends[1]]))
        .collect()
}

/// Two connections on which the same comes.
fn run(mode: DecoderMode, limit: usize, messages: &[Bytes]) -> Result<Vec<Bytes>, DecodeError> {
    let mut decoder = FrameDecoder::new(mode, limit);
    let first = decode(&mut decoder, limit, messages);
    decoder.reset();
    let second = decode(&mut decoder, limit, messages);
    assert_eq!(first, second, "nothing of a connection outlives it");
    first
}

fn decode(
    decoder: &mut FrameDecoder,
    limit: usize,
    messages: &[Bytes],
) -> Result<Vec<Bytes>, DecodeError> {
    let mode = decoder.mode();
    let mut payloads = Vec::new();
    for message in messages {
        decoder.push(Frame::Binary(message.clone()));
        loop {
            let more = decoder.advance();
            let context = match mode {
                DecoderMode::Plain => 0,
                DecoderMode::ZstdStream => ZSTD_CONTEXT,
                _ => ZLIB_CONTEXT,
            };
            assert!(decoder.memory() <= 2 * limit + context + message.len());
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    decoder.push(Frame::Text(Bytes::from_static(b"{}")));
                    assert_eq!(decoder.advance(), Err(DecodeError::Poisoned));
                    decoder.reset();
                    decoder.push(Frame::Text(Bytes::from_static(b"{}")));
                    assert_eq!(decoder.advance(), Ok(true));
                    return Err(error);
                }
            }
            let payload = decoder.payload();
            assert!(payload.len() <= limit);
            if let Ok(envelope) = Envelope::scan(payload) {
                assert!(payload.get(envelope.data).is_some());
            }
            let len = payload.len();
            let kept = decoder.lend().into_bytes(0..len);
            assert_eq!(kept.len(), len);
            payloads.push(kept);
        }
    }
    Ok(payloads)
}

/// The stream in pieces and in one piece.
fn zlib(limit: usize, stream: &[u8], cuts: &[usize]) {
    let cut = run(DecoderMode::ZlibStream, limit, &pieces(stream, cuts));
    let whole = run(DecoderMode::ZlibStream, limit, &pieces(stream, &[]));
    let (Ok(cut), Ok(whole)) = (cut, whole) else {
        return;
    };
    if !stream.ends_with(&MARKER) || stream.starts_with(b"{") {
        return;
    }
    let (cut_text, whole_text) = (squeeze(&cut), squeeze(&whole));
    assert!(cut_text.starts_with(&whole_text) || whole_text.starts_with(&cut_text));
    // A stream flushed inside a payload, right after a brace, can be cut so that it seems to end there.
    let all_json = cut
        .iter()
        .all(|payload| serde_json::from_slice::<IgnoredAny>(payload).is_ok());
    if all_json && !whole.is_empty() {
        let trimmed = |payload: &Bytes| payload.trim_ascii().to_vec();
        let cut: Vec<_> = cut.iter().map(trimmed).collect();
        let whole: Vec<_> = whole.iter().map(trimmed).collect();
        assert_eq!(cut, whole);
    }
}

fn squeeze(payloads: &[Bytes]) -> Vec<u8> {
    let bytes = payloads.iter().flatten().copied();
    bytes.filter(|byte| !byte.is_ascii_whitespace()).collect()
}

/// Whether each line is a payload of its own, and nothing else.
fn are_payloads<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> bool {
    lines.all(|line| {
        line.starts_with(b"{")
            && line.ends_with(b"}")
            && serde_json::from_slice::<IgnoredAny>(line).is_ok()
    })
}

fn zlib_stream<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut server = ZlibStream::new();
    lines.flat_map(|line| server.message(line)).collect()
}
