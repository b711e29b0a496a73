//! What can be wrong with the bytes of a connection.

use std::borrow::Cow;
use std::fmt;

/// Why the bytes of a connection could not be turned into payloads.
///
/// After any of these the connection is of no more use: what follows in a compressed stream can't be
/// read, and in an uncompressed one it can't be trusted. Leave it with a code that keeps the session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The compressed data breaks the rules of its format.
    #[error("the compressed stream is corrupt: {what}")]
    Corrupt {
        /// The decompressor's words.
        what: Cow<'static, str>,
    },
    /// Something asks for more room than is allowed.
    #[error("{what} larger than {limit} bytes")]
    TooLarge {
        /// The cap that was reached, in bytes.
        limit: usize,
        /// Which of the sizes.
        what: TooLarge,
    },
    /// A message that has to hold a whole payload ends inside it.
    #[error("the message ends inside its payload")]
    Truncated,
    /// Several payloads came in one piece and can't be told apart, since they are no JSON.
    #[error("what was decompressed is no sequence of JSON documents")]
    NotJson,
    /// An earlier frame of this connection failed; only a reset helps.
    #[error("an earlier frame of this connection could not be decoded")]
    Poisoned,
}

/// The size that passed its cap in [`DecodeError::TooLarge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TooLarge {
    /// Compressed bytes that wait for the end of their payload.
    Compressed,
    /// A payload, after decompression if there is any.
    Payload,
    /// The window a zstd frame wants to refer back to.
    Window,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compressed => "unfinished compressed data",
            Self::Payload => "a payload",
            Self::Window => "a zstd window",
        })
    }
}

impl DecodeError {
    pub(super) fn corrupt(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}
