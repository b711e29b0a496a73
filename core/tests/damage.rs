//! One flipped bit, at every place of a message.

mod common;

use common::*;
use shardwright_core::{DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, FrameDecoder};

/// Flips every bit between the header and the last four bytes; counts errors and texts that differ.
fn flip_all(mode: DecoderMode, message: &[u8], payload: &str) -> (usize, usize) {
    let mut decoder = FrameDecoder::new(mode, DEFAULT_PAYLOAD_LIMIT);
    let (mut errors, mut differing) = (0, 0);
    for bit in 16..(message.len() - 4) * 8 {
        let mut damaged = message.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match feed(&mut decoder, binary(damaged)) {
            Ok(payloads) if payloads == [payload.as_bytes()] => {}
            Ok(_) => differing += 1,
            Err(_) => {
                errors += 1;
                let next = feed(&mut decoder, binary(message));
                assert_eq!(next, Err(DecodeError::Poisoned));
            }
        }
        decoder.reset();
        let next = feed(&mut decoder, binary(message)).unwrap();
        assert_eq!(next, [payload.as_bytes()], "after bit {bit}");
        decoder.reset();
    }
    (errors, differing)
}

#[test]
fn a_flipped_bit_in_a_compressed_payload_is_never_other_text() {
    for payload in dispatches(3) {
        let message = zlib_whole(&payload);
        let (errors, differing) = flip_all(DecoderMode::Payload, &message, &payload);
        assert_eq!(differing, 0);
        assert!(errors > 0);
    }
}

#[test]
fn a_flipped_bit_in_a_stream_may_pass_for_other_text_but_a_reset_heals_it() {
    for payload in dispatches(3) {
        let message = ZlibServer::new().payload(&payload);
        let (errors, differing) = flip_all(DecoderMode::ZlibStream, &message, &payload);
        assert!(errors > 0 && differing > 0, "{errors} {differing}");
    }
}
