//! A small message that would inflate to gigabytes. Alone in its process, since the process's peak of
//! memory is what is measured.
#![cfg(target_os = "linux")]

mod common;

use common::*;
use flate2::FlushCompress;
use shardwright_core::{DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, FrameDecoder, TooLarge};

/// The most memory this process ever had, in bytes.
#[allow(
    clippy::disallowed_methods,
    reason = "a test may ask about its process"
)]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_bomb_stops_at_the_cap() {
    // After a full flush the same bytes may be repeated at will: 4 MB make 4 GiB.
    let mut server = ZlibServer::with_level(9);
    let spaces = vec![b' '; 1 << 20];
    let mut bomb = server.flush(&spaces, FlushCompress::Full);
    let again = server.flush(&spaces, FlushCompress::Full);
    for _ in 1..4096 {
        bomb.extend_from_slice(&again);
    }
    let limit = DEFAULT_PAYLOAD_LIMIT;
    let mut decoder = FrameDecoder::new(DecoderMode::ZlibStream, limit);
    let (idle, before) = (decoder.memory(), peak());
    for _ in 0..3 {
        let what = TooLarge::Payload;
        let result = feed(&mut decoder, binary(bomb.clone()));
        assert_eq!(result, Err(DecodeError::TooLarge { limit, what }));
        assert!(decoder.memory() < idle + 100_000);
        decoder.reset();
    }
    let grown = peak() - before;
    assert!(grown < limit + bomb.len() + (8 << 20), "{grown}");
}
