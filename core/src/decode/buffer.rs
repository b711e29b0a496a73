//! A byte buffer that grows with what is really produced, never past a cap, and gives memory back.

use super::error::{DecodeError, TooLarge};

/// Up to here a buffer is kept. What is larger is given back after each use: only large payloads need it, and
/// compared with what those cost themselves a new buffer is cheap.
const KEEP: usize = 16 * 1024;
/// Up to here, if memory shall be kept: what is new to the process costs more than what is inflated into it.
const KEEP_LARGE: usize = 1024 * 1024;
const FIRST_GROWTH: usize = 2048;

#[derive(Clone, Debug, Default)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    keeps: bool,
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
    #[inline]
    pub(super) fn release(&mut self, used: usize) {
        if used < self.bytes.len() {
            self.bytes.drain(..used);
            return;
        }
        self.empty(if self.keeps { KEEP_LARGE } else { KEEP });
    }

    /// Whether the memory that large payloads needed shall be kept.
    pub(super) fn keep(&mut self, keep: bool) {
        self.keeps = keep;
        if self.bytes.is_empty() && !keep {
            self.forget();
        }
    }

    /// Gives the allocation back if nothing is in it.
    pub(super) fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// Forgets everything, and a large allocation with it.
    pub(super) fn forget(&mut self) {
        self.empty(KEEP);
    }

    #[inline]
    fn empty(&mut self, keep: usize) {
        self.bytes.clear();
        if self.bytes.capacity() > keep {
            self.bytes.shrink_to(FIRST_GROWTH);
        }
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
    fn a_large_buffer_goes_after_its_use() {
        let mut buffer = Buffer::default();
        for len in [5_000_000, 500_000, KEEP + 1] {
            used(&mut buffer, len);
            assert!(buffer.bytes.capacity() <= KEEP, "{len}");
        }
    }

    #[test]
    fn a_large_one_is_kept_if_that_is_wished_for() {
        let mut buffer = Buffer::default();
        buffer.keep(true);
        used(&mut buffer, 500_000);
        assert!(buffer.bytes.capacity() >= 500_000);
        used(&mut buffer, 5_000_000);
        assert!(buffer.bytes.capacity() <= KEEP, "that is too large");
        used(&mut buffer, 500_000);
        buffer.forget();
        assert!(buffer.bytes.capacity() <= KEEP, "all is over");
        used(&mut buffer, 500_000);
        buffer.keep(false);
        assert!(buffer.bytes.capacity() <= KEEP, "no more");
    }

    #[test]
    fn a_small_buffer_stays() {
        let mut buffer = Buffer::default();
        used(&mut buffer, FIRST_GROWTH);
        let at = buffer.bytes.as_ptr();
        used(&mut buffer, 60);
        assert_eq!(buffer.bytes.as_ptr(), at);
    }

    #[test]
    fn a_buffer_grows_when_it_is_full_and_not_before() {
        let mut buffer = Buffer::default();
        for capacity in [FIRST_GROWTH, FIRST_GROWTH * 2] {
            buffer.make_room(1 << 20).unwrap();
            assert_eq!(buffer.bytes.capacity(), capacity);
            buffer.bytes.resize(capacity - 1, 0);
            buffer.make_room(1 << 20).unwrap();
            assert_eq!(buffer.bytes.capacity(), capacity);
            buffer.bytes.push(0);
        }
    }

    #[test]
    fn what_comes_after_the_used_part_stays() {
        let mut buffer = Buffer::default();
        buffer.bytes.extend(*b"used, unused");
        buffer.release(6);
        assert_eq!(buffer.bytes, b"unused");
        buffer.release(6);
        assert!(buffer.bytes.is_empty());
    }

    #[test]
    fn room_stops_one_byte_above_the_limit() {
        const LIMIT: usize = FIRST_GROWTH + 808;
        let mut buffer = Buffer::default();
        buffer.make_room(LIMIT).unwrap();
        assert_eq!(buffer.bytes.capacity(), FIRST_GROWTH);
        buffer.bytes.resize(FIRST_GROWTH, 0);
        buffer.make_room(LIMIT).unwrap();
        assert_eq!(buffer.bytes.capacity(), LIMIT + 1);
        buffer.bytes.resize(LIMIT + 1, 0);
        assert!(buffer.make_room(LIMIT).is_err());
        assert!(buffer.check(LIMIT).is_err());
    }
}
