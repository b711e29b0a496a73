//! Where a part of a payload stands, in half the room that a range of `usize` takes: an event is moved several
//! times on its way to the consumer.

use std::ops::Range;

/// No payload is larger than this, in bytes: what a span can point into. The decoder sees to it.
pub(crate) const LONGEST: usize = u32::MAX as usize;

/// A part of a payload, its end not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The part of these bytes that it is; none of them if it is no part of them.
    #[inline]
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.range().len()
    }

    /// The smallest span that holds both.
    #[inline]
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The same part, counted from where another span starts.
    #[inline]
    pub(crate) fn within(self, outer: Self) -> Self {
        Self {
            start: self.start.saturating_sub(outer.start),
            end: self.end.saturating_sub(outer.start),
        }
    }

    /// A part of this part, cut off where this ends.
    #[inline]
    pub(crate) fn part(self, inner: Range<usize>) -> Range<usize> {
        let end = inner.end.min(self.len());
        let start = inner.start.min(end);
        let from = self.start as usize;
        from + start..from + end
    }
}

/// What lies beyond the longest payload is cut off.
impl From<Range<usize>> for Span {
    #[inline]
    fn from(range: Range<usize>) -> Self {
        let short = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: short(range.start),
            end: short(range.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_says_what_its_range_says() {
        let bytes = b"0123456789";
        let span = Span::from(2..5);
        assert_eq!(
            (span.of(bytes), span.range(), span.len()),
            (&b"234"[..], 2..5, 3)
        );
        assert_eq!(span.of(b"0123"), b"", "it ends beyond them");
        assert_eq!(Span::from(0..LONGEST.saturating_add(7)).range(), 0..LONGEST);
    }

    #[test]
    fn spans_of_spans() {
        let (name, data) = (Span::from(6..10), Span::from(20..30));
        let both = name.with(data);
        assert_eq!(both.range(), 6..30);
        assert_eq!(data.with(name), both);
        assert_eq!(name.within(both).range(), 0..4);
        assert_eq!(data.within(both).range(), 14..24);
        assert_eq!(data.part(2..4), 22..24);
        assert_eq!(data.part(8..99), 28..30);
        assert_eq!(data.part(99..100), 30..30);
    }
}
