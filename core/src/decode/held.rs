//! What was decoded, and how it is lent.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::span::Span;

use super::buffer::Buffer;
use super::error::DecodeError;

/// From this many bytes up a payload is handed over with its buffer instead of being copied.
const HAND_OVER_FROM: usize = 64 * 1024;

/// The current payload, and those after it.
#[derive(Clone, Default)]
pub(super) struct Held {
    // Inflated text: payloads that were found, then perhaps the start of one.
    pub(super) output: Buffer,
    // How much of `output` belongs to payloads that were found.
    found: usize,
    // Payloads in `output` that come after the current one.
    pub(super) ready: VecDeque<Span>,
    pub(super) current: Current,
}

/// Where the current payload is.
#[derive(Clone, Default)]
pub(super) enum Current {
    #[default]
    Nowhere,
    Inflated(Span),
    Frame(Bytes),
}

/// What a message has added to the output.
pub(super) enum Found {
    Nothing,
    One,
    /// One or more, to be told apart by reading the text.
    Some,
}

impl Held {
    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        match &self.current {
            Current::Nowhere => &[],
            Current::Inflated(span) => span.of(&self.output.bytes),
            Current::Frame(bytes) => bytes,
        }
    }

    #[inline]
    pub(super) fn lend(&mut self) -> PayloadBuf<'_> {
        PayloadBuf(Lent::Borrowed(self))
    }

    /// See [`PayloadBuf::into_bytes_with`].
    #[inline]
    fn keep(&mut self, part: Range<usize>, copy: impl FnOnce(&[u8]) -> Bytes) -> Bytes {
        match &mut self.current {
            Current::Nowhere => Bytes::new(),
            Current::Inflated(span) => {
                let part = span.part(part);
                let buffer = &mut self.output.bytes;
                // Not while it also holds bytes of payloads to come.
                let may_take = self.ready.is_empty() && self.found == buffer.len();
                let worth_it = part.len() >= HAND_OVER_FROM && part.len() >= buffer.capacity() / 2;
                if may_take && worth_it {
                    Bytes::from(std::mem::take(buffer)).slice(part)
                } else {
                    copy(buffer.get(part).unwrap_or_default())
                }
            }
            Current::Frame(bytes) => {
                let part = cut(part, bytes.len());
                if part.len() >= HAND_OVER_FROM {
                    std::mem::take(bytes).slice(part)
                } else {
                    copy(&bytes[part])
                }
            }
        }
    }

    /// Leaves the payloads that were found.
    #[inline]
    pub(super) fn release(&mut self) {
        self.current = Current::Nowhere;
        if self.found > 0 {
            self.output.release(self.found);
            self.found = 0;
        }
    }

    pub(super) fn forget(&mut self) {
        self.output.forget();
        self.found = 0;
        self.ready.clear();
        self.current = Current::Nowhere;
    }

    pub(super) fn found(&mut self, found: Found) -> Result<bool, DecodeError> {
        match found {
            Found::Nothing => return Ok(false),
            Found::One => {
                self.found = self.output.bytes.len();
                self.current = Current::Inflated((0..self.found).into());
                return Ok(true);
            }
            Found::Some => {}
        }
        // No value is built and no text is checked to be UTF-8 here: this only finds the ends.
        let mut documents =
            serde_json::Deserializer::from_slice(&self.output.bytes).into_iter::<IgnoredAny>();
        self.found = loop {
            let start = documents.byte_offset();
            match documents.next() {
                Some(Ok(IgnoredAny)) => {
                    let span = start..documents.byte_offset();
                    self.ready.push_back(span.into());
                }
                // The rest is the start of a payload.
                Some(Err(error)) if error.is_eof() => break start,
                Some(Err(_)) => return Err(DecodeError::NotJson),
                None => break self.output.bytes.len(),
            }
        };
        match self.ready.pop_front() {
            Some(first) => {
                self.current = Current::Inflated(first);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// A payload that still lies in a buffer of the decoder, lent until the decoder moves on.
///
/// Look at it in place with [`as_bytes`](Self::as_bytes), or keep a part of it with
/// [`into_bytes`](Self::into_bytes).
pub struct PayloadBuf<'m>(Lent<'m>);

enum Lent<'m> {
    // Kept already.
    Owned(Bytes),
    // The current payload.
    Borrowed(&'m mut Held),
}

impl From<Bytes> for PayloadBuf<'static> {
    fn from(bytes: Bytes) -> Self {
        Self(Lent::Owned(bytes))
    }
}

impl PayloadBuf<'_> {
    /// The whole payload.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Lent::Owned(bytes) => bytes,
            Lent::Borrowed(held) => held.payload(),
        }
    }

    /// A part of the payload, to keep. `part` counts from the payload's first byte; what lies beyond
    /// its end is left out.
    ///
    /// A small part is copied, so that it keeps nothing else alive. From 64 KiB up the decoder's
    /// buffer itself is handed over, so that a large payload is never in memory twice, unless most of
    /// that buffer would be dead weight.
    pub fn into_bytes(self, part: Range<usize>) -> Bytes {
        self.into_bytes_with(part, Bytes::copy_from_slice)
    }

    /// The same, with a way of one's own to copy a small part.
    #[inline]
    pub fn into_bytes_with(self, part: Range<usize>, copy: impl FnOnce(&[u8]) -> Bytes) -> Bytes {
        match self.0 {
            Lent::Owned(bytes) => bytes.slice(cut(part, bytes.len())),
            Lent::Borrowed(held) => held.keep(part, copy),
        }
    }
}

/// What of a part lies before this end.
fn cut(part: Range<usize>, end: usize) -> Range<usize> {
    let end = part.end.min(end);
    part.start.min(end)..end
}

impl fmt::Debug for PayloadBuf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadBuf")
            .field("len", &self.as_bytes().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payloads that were inflated into one buffer, of so many bytes each, the first of which is the current one.
    fn inflated(sizes: &[usize], capacity: usize) -> Held {
        let mut held = Held::default();
        held.output.bytes.reserve_exact(capacity);
        for size in sizes {
            let text = format!("\"{}\"", "x".repeat(size - 2));
            held.output.bytes.extend_from_slice(text.as_bytes());
        }
        let found = if sizes.len() == 1 {
            Found::One
        } else {
            Found::Some
        };
        assert!(matches!(held.found(found), Ok(true)));
        held
    }

    fn frame(bytes: Bytes) -> Held {
        Held {
            current: Current::Frame(bytes),
            ..Held::default()
        }
    }

    fn buffer(held: &Held) -> &Vec<u8> {
        &held.output.bytes
    }

    #[test]
    fn a_small_part_is_copied_and_the_buffer_stays() {
        let mut held = inflated(&[100_000], 100_000);
        let part = held.lend().into_bytes(10..20);
        assert_eq!(part.len(), 10);
        assert_eq!(buffer(&held).len(), 100_000);
        assert_eq!(held.payload().len(), 100_000);
    }

    #[test]
    fn a_large_part_takes_the_buffer_along() {
        let mut held = inflated(&[100_000], 100_000);
        let at = buffer(&held).as_ptr();
        let part = held.lend().into_bytes(10..100_000);
        assert_eq!(part.as_ptr(), at.wrapping_add(10));
        assert_eq!(buffer(&held).capacity(), 0);
        assert!(held.payload().is_empty());
    }

    #[test]
    fn a_buffer_that_is_mostly_empty_is_not_handed_over() {
        let mut held = inflated(&[100_000], 1_000_000);
        let part = held.lend().into_bytes(0..100_000);
        assert_eq!(part.len(), 100_000);
        assert_eq!(buffer(&held).len(), 100_000);
    }

    #[test]
    fn a_buffer_with_more_payloads_in_it_is_not_handed_over() {
        let mut held = inflated(&[150_000, 50_000], 200_000);
        let part = held.lend().into_bytes(0..150_000);
        assert_eq!(part.len(), 150_000);
        assert_eq!(buffer(&held).len(), 200_000);
        assert_eq!(held.ready.len(), 1);
    }

    #[test]
    fn a_buffer_with_the_start_of_another_in_it_is_not_handed_over() {
        let mut held = inflated(&[150_000], 200_000);
        held.output.bytes.push(b'{');
        let part = held.lend().into_bytes(0..150_000);
        assert_eq!(part.len(), 150_000);
        assert_eq!(buffer(&held).len(), 150_001);
    }

    #[test]
    fn a_large_frame_is_shared_and_a_small_one_copied() {
        let bytes = Bytes::from(vec![b'x'; 100_000]);
        let at = bytes.as_ptr();
        let mut held = frame(bytes);
        let small = held.lend().into_bytes(0..10);
        assert_ne!(small.as_ptr(), at);
        let large = held.lend().into_bytes(5..100_000);
        assert_eq!(large.as_ptr(), at.wrapping_add(5));
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn a_range_beyond_the_end_is_cut() {
        for mut held in [frame(Bytes::from_static(b"\"\"")), inflated(&[2], 2)] {
            assert_eq!(&held.lend().into_bytes(1..90)[..], b"\"");
            assert!(held.lend().into_bytes(7..90).is_empty());
            assert!(held.lend().into_bytes(2..1).is_empty());
        }
        assert!(Held::default().lend().into_bytes(0..1).is_empty());
    }
}
