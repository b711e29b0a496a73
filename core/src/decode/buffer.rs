//! A byte buffer that grows with what is really produced, never past a cap, and gives memory back.

use super::error::{DecodeError, TooLarge};

/// Up to here a buffer is kept for good.
const KEEP: usize = 64 * 1024;
/// Above this it is given back as soon as one use leaves most of it empty.
const GIVE_BACK_AT_ONCE: usize = 1024 * 1024;
/// Between the two: after so many such uses in a row.
const PATIENCE: u8 = 64;
const FIRST_GROWTH: usize = 8192;

#[derive(Clone, Debug, Default)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    // Uses in a row that left most of the capacity empty.
    idle: u8,
}

impl Buffer {
    /// Makes room for more output. One byte above the cap is allowed, to see that the cap is passed.
    pub(super) fn make_room(&mut self, limit: usize) -> Result<(), DecodeError> {
        let len = self.bytes.len();
        if len < self.bytes.capacity() {
            return Ok(());
        }
        let most = limit.saturating_add(1);
        let wanted = len.saturating_mul(2).max(FIRST_GROWTH).min(most);
        if wanted <= len {
            return Err(DecodeError::TooLarge {
                limit,
                what: TooLarge::Payload,
            });
        }
        self.bytes.reserve_exact(wanted - len);
        Ok(())
    }

    pub(super) fn check(&self, limit: usize) -> Result<(), DecodeError> {
        if self.bytes.len() > limit {
            return Err(DecodeError::TooLarge {
                limit,
                what: TooLarge::Payload,
            });
        }
        Ok(())
    }

    /// Ends one use of the buffer: drops the first `used` bytes and, after large ones, memory.
    pub(super) fn release(&mut self, used: usize) {
        let capacity = self.bytes.capacity();
        if used < self.bytes.len() {
            self.bytes.drain(..used);
            return;
        }
        let peak = self.bytes.len();
        self.bytes.clear();
        if capacity <= KEEP || peak == 0 {
            return;
        }
        if peak >= capacity / 4 {
            self.idle = 0;
            return;
        }
        self.idle += 1;
        if capacity > GIVE_BACK_AT_ONCE || self.idle >= PATIENCE {
            self.idle = 0;
            self.bytes.shrink_to(KEEP);
        }
    }

    /// Forgets everything, and a large allocation with it.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(buffer: &mut Buffer, len: usize) {
        buffer.bytes.resize(len, 0);
        buffer.release(len);
    }

    #[test]
    fn a_huge_buffer_goes_with_the_next_small_use() {
        let mut buffer = Buffer::default();
        used(&mut buffer, 5_000_000);
        assert!(buffer.bytes.capacity() >= 5_000_000);
        used(&mut buffer, 60);
        assert!(buffer.bytes.capacity() <= KEEP);
    }

    #[test]
    fn a_middling_buffer_goes_after_many_small_uses() {
        let mut buffer = Buffer::default();
        used(&mut buffer, 500_000);
        for _ in 1..PATIENCE {
            used(&mut buffer, 60);
        }
        assert!(buffer.bytes.capacity() >= 500_000);
        used(&mut buffer, 60);
        assert!(buffer.bytes.capacity() <= KEEP);
    }

    #[test]
    fn room_stops_one_byte_above_the_limit() {
        let mut buffer = Buffer::default();
        buffer.make_room(9000).unwrap();
        assert_eq!(buffer.bytes.capacity(), FIRST_GROWTH);
        buffer.bytes.resize(FIRST_GROWTH, 0);
        buffer.make_room(9000).unwrap();
        assert_eq!(buffer.bytes.capacity(), 9001);
        buffer.bytes.resize(9001, 0);
        assert!(buffer.make_room(9000).is_err());
        assert!(buffer.check(9000).is_err());
    }
}
