//! What goes into the decoder and what comes out of it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::span::Span;

/// From this many bytes up a payload is handed over with its buffer instead of being copied.
const HAND_OVER_FROM: usize = 64 * 1024;

/// The content of one websocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message. Its bytes need not be UTF-8; nothing here relies on it.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Frame {
    /// The bytes of the message, of either kind.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// The length of the message in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the message has no content at all.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl Serialize for Frame {
    /// Text as text, everything else in base64.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = "Frame";
        let base64 = Base64Display::new(self.as_bytes(), &BASE64);
        match self {
            Self::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => serializer.serialize_newtype_variant(name, 0, "Text", text),
                Err(_) => serializer.serialize_newtype_variant(name, 1, "Text64", &Shown(base64)),
            },
            Self::Binary(_) => {
                serializer.serialize_newtype_variant(name, 2, "Binary64", &Shown(base64))
            }
        }
    }
}

/// Writes itself as a string without making one first.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        enum Stored<'s> {
            Text(#[serde(borrow)] Cow<'s, str>),
            Text64(#[serde(borrow)] Cow<'s, str>),
            Binary64(#[serde(borrow)] Cow<'s, str>),
        }
        let decode = |text: Cow<'_, str>| match BASE64.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(error) => Err(de::Error::custom(error)),
        };
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Text(text) => Self::Text(text.into_owned().into()),
            Stored::Text64(text) => Self::Text(decode(text)?),
            Stored::Binary64(text) => Self::Binary(decode(text)?),
        })
    }
}

/// A payload that still lies in a buffer of the decoder, lent until the decoder moves on.
///
/// Look at it in place with [`as_bytes`](Self::as_bytes), or keep a part of it with
/// [`into_bytes`](Self::into_bytes).
pub struct PayloadBuf<'m>(Lent<'m>);

// In two enums, so that no room is taken for what tells them apart.
enum Lent<'m> {
    // Kept already.
    Owned(Bytes),
    Borrowed(Borrowed<'m>),
}

enum Borrowed<'m> {
    Inflated {
        buffer: &'m mut Vec<u8>,
        span: Span,
        // False while the buffer also holds bytes of payloads to come.
        may_take: bool,
    },
    Frame(&'m mut Bytes),
}

impl From<Bytes> for PayloadBuf<'static> {
    fn from(bytes: Bytes) -> Self {
        Self(Lent::Owned(bytes))
    }
}

impl<'m> PayloadBuf<'m> {
    #[inline]
    pub(super) fn inflated(buffer: &'m mut Vec<u8>, span: Span, may_take: bool) -> Self {
        Self(Lent::Borrowed(Borrowed::Inflated {
            buffer,
            span,
            may_take,
        }))
    }

    /// The whole payload.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Lent::Owned(bytes) => bytes,
            Lent::Borrowed(Borrowed::Inflated { buffer, span, .. }) => span.of(buffer),
            Lent::Borrowed(Borrowed::Frame(bytes)) => bytes,
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
        let lent = match self.0 {
            Lent::Owned(bytes) => return bytes.slice(cut(part, bytes.len())),
            Lent::Borrowed(lent) => lent,
        };
        match lent {
            Borrowed::Inflated {
                buffer,
                span,
                may_take,
            } => {
                let part = span.part(part);
                let worth_it = part.len() >= HAND_OVER_FROM && part.len() >= buffer.capacity() / 2;
                if may_take && worth_it {
                    Bytes::from(std::mem::take(buffer)).slice(part)
                } else {
                    copy(buffer.get(part).unwrap_or_default())
                }
            }
            Borrowed::Frame(bytes) => {
                let part = cut(part, bytes.len());
                if part.len() >= HAND_OVER_FROM {
                    std::mem::take(bytes).slice(part)
                } else {
                    copy(&bytes[part])
                }
            }
        }
    }
}

/// What of a part lies before this end.
fn cut(part: Range<usize>, end: usize) -> Range<usize> {
    let end = part.end.min(end);
    part.start.min(end)..end
}

/// Lends a payload that came uncompressed.
impl<'m> From<&'m mut Bytes> for PayloadBuf<'m> {
    fn from(bytes: &'m mut Bytes) -> Self {
        Self(Lent::Borrowed(Borrowed::Frame(bytes)))
    }
}

/// Lends a buffer that holds exactly one payload.
impl<'m> From<&'m mut Vec<u8>> for PayloadBuf<'m> {
    fn from(buffer: &'m mut Vec<u8>) -> Self {
        let span = Span::from(0..buffer.len());
        Self::inflated(buffer, span, true)
    }
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

    #[test]
    fn a_small_part_is_copied_and_the_buffer_stays() {
        let mut buffer = vec![b'x'; 100_000];
        let part = PayloadBuf::from(&mut buffer).into_bytes(10..20);
        assert_eq!(part.len(), 10);
        assert_eq!(buffer.len(), 100_000);
    }

    #[test]
    fn a_large_part_takes_the_buffer_along() {
        let mut buffer = vec![b'x'; 100_000];
        let at = buffer.as_ptr();
        let part = PayloadBuf::from(&mut buffer).into_bytes(10..100_000);
        assert_eq!(part.as_ptr(), at.wrapping_add(10));
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn a_buffer_that_is_mostly_empty_is_not_handed_over() {
        let mut buffer = Vec::with_capacity(1_000_000);
        buffer.resize(100_000, b'x');
        let part = PayloadBuf::from(&mut buffer).into_bytes(0..100_000);
        assert_eq!(part.len(), 100_000);
        assert_eq!(buffer.len(), 100_000);
    }

    #[test]
    fn a_buffer_with_more_payloads_in_it_is_not_handed_over() {
        let mut buffer = vec![b'x'; 200_000];
        let part =
            PayloadBuf::inflated(&mut buffer, (0..150_000).into(), false).into_bytes(0..150_000);
        assert_eq!(part.len(), 150_000);
        assert_eq!(buffer.len(), 200_000);
    }

    #[test]
    fn a_large_frame_is_shared_and_a_small_one_copied() {
        let mut frame = Bytes::from(vec![b'x'; 100_000]);
        let at = frame.as_ptr();
        let small = PayloadBuf::from(&mut frame).into_bytes(0..10);
        assert_ne!(small.as_ptr(), at);
        let large = PayloadBuf::from(&mut frame).into_bytes(5..100_000);
        assert_eq!(large.as_ptr(), at.wrapping_add(5));
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn a_range_beyond_the_end_is_cut() {
        let mut frame = Bytes::from_static(b"{}");
        assert_eq!(&PayloadBuf::from(&mut frame).into_bytes(1..90)[..], b"}");
        assert!(PayloadBuf::from(&mut frame).into_bytes(7..90).is_empty());
        assert!(PayloadBuf::from(&mut frame).into_bytes(2..1).is_empty());
        let mut buffer = b"{}".to_vec();
        assert!(PayloadBuf::from(&mut buffer).into_bytes(7..90).is_empty());
    }
}
