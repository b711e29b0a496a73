//! Where the bodies of events are copied to.
//!
//! A busy shard copies those of a turn one behind the other into a block: many events are one allocation, which
//! a consumer on another thread gives back once, not with each event, and which is used again if all of them
//! are gone by the next turn. The price is that an event that is kept keeps its block, which is why blocks are
//! small, and why a shard that is not busy does not have any.

use bytes::{Bytes, BytesMut};

/// The size of a block.
const BLOCK: usize = 16 * 1024;
/// What is larger than this has an allocation of its own.
const LARGE: usize = 2 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Bodies {
    /// The free part of the block; without a block, empty.
    block: BytesMut,
    keep: bool,
}

impl Bodies {
    /// Whether there are blocks: more will be in them soon.
    pub(crate) fn keep(&mut self, keep: bool) {
        self.keep = keep;
        if !keep {
            self.block = BytesMut::new();
        }
    }

    /// A turn begins: if no event of the last ones is left, their block is used again.
    pub(crate) fn begin_turn(&mut self) {
        if self.keep {
            // Else there is what is left of it.
            let _ = self.block.try_reclaim(BLOCK);
        }
    }

    #[inline]
    pub(crate) fn copy(&mut self, body: &[u8]) -> Bytes {
        if !self.keep || body.len() > LARGE {
            return Bytes::copy_from_slice(body);
        }
        if self.block.capacity() < body.len() && !self.block.try_reclaim(BLOCK) {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.block.extend_from_slice(body);
        self.block.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> Bodies {
        let mut bodies = Bodies::default();
        bodies.keep(true);
        bodies
    }

    fn body(byte: u8, len: usize) -> Vec<u8> {
        vec![byte; len]
    }

    #[test]
    fn every_body_is_what_it_was_however_long_it_is_kept() {
        let mut bodies = busy();
        let mut kept = Vec::new();
        for turn in 0..50_u8 {
            bodies.begin_turn();
            for len in [0, 1, 700, LARGE, LARGE + 1, 100_000] {
                let copy = bodies.copy(&body(turn, len));
                assert_eq!(copy, body(turn, len));
                if len % 7 == usize::from(turn % 7) {
                    kept.push((turn, len, copy));
                }
            }
        }
        assert!(kept.len() > 10);
        for (turn, len, copy) in kept {
            assert_eq!(copy, body(turn, len));
        }
    }

    #[test]
    fn a_block_is_used_again_once_its_events_are_gone() {
        let mut bodies = busy();
        let first = bodies.copy(b"first");
        let at = first.as_ptr();
        let second = bodies.copy(b"second");
        assert_eq!(second.as_ptr(), at.wrapping_add(5));
        drop((first, second));
        bodies.begin_turn();
        let third = bodies.copy(b"third");
        assert_eq!(third.as_ptr(), at);
        bodies.begin_turn();
        let fourth = bodies.copy(b"fourth");
        assert_eq!(
            fourth.as_ptr(),
            at.wrapping_add(5),
            "the third is still there"
        );
    }

    #[test]
    fn a_shard_that_is_not_busy_has_no_block() {
        let mut bodies = busy();
        let kept = bodies.copy(b"kept");
        bodies.keep(false);
        assert_eq!(bodies.block.capacity(), 0);
        let alone = bodies.copy(b"alone");
        assert!(alone.is_unique());
        assert_eq!((&kept[..], &alone[..]), (&b"kept"[..], &b"alone"[..]));
        assert!(kept.is_unique(), "nothing else holds its block");
    }
}
