//! How the gateway compresses what it sends.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DecoderMode;

/// The compression to ask the gateway for. What the client sends is never compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compression {
    /// None: payloads arrive as text.
    None,
    /// Transport compression by `zlib-stream`: one zlib stream for the whole connection.
    #[default]
    Zlib,
    /// Transport compression by `zstd-stream`: one zstd frame for the whole connection. Needs the
    /// feature `zstd`.
    Zstd,
    /// Payload compression, asked for in Identify: some payloads arrive as a zlib stream of their
    /// own, the others as text.
    Payload,
}

/// A text that names no compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such compression; use zlib, zstd, none or payload")]
pub struct ParseCompressionError;

impl From<Compression> for DecoderMode {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Plain,
            Compression::Zlib => Self::ZlibStream,
            #[cfg(feature = "zstd")]
            Compression::Zstd => Self::ZstdStream,
            #[cfg(not(feature = "zstd"))]
            Compression::Zstd => Self::ZlibStream,
            Compression::Payload => Self::Payload,
        }
    }
}

impl Compression {
    /// What this build can undo: without the feature `zstd`, zlib stands in for it.
    #[must_use]
    pub const fn supported(self) -> Self {
        match self {
            Self::Zstd if !cfg!(feature = "zstd") => Self::Zlib,
            other => other,
        }
    }

    /// The value of the parameter `compress` in the gateway's address; `None` if it is left out.
    pub const fn query_value(self) -> Option<&'static str> {
        match self {
            Self::Zlib => Some("zlib-stream"),
            Self::Zstd => Some("zstd-stream"),
            Self::None | Self::Payload => None,
        }
    }

    /// The short name: `none`, `zlib`, `zstd` or `payload`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
            Self::Payload => "payload",
        }
    }
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    /// Reads the short names, and `zlib-stream` and `zstd-stream`, in either case.
    fn from_str(text: &str) -> Result<Self, ParseCompressionError> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "zlib" | "zlib-stream" => Ok(Self::Zlib),
            "zstd" | "zstd-stream" => Ok(Self::Zstd),
            "payload" => Ok(Self::Payload),
            _ => Err(ParseCompressionError),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        for (text, compression, query) in [
            ("none", Compression::None, None),
            ("zlib", Compression::Zlib, Some("zlib-stream")),
            ("zlib-stream", Compression::Zlib, Some("zlib-stream")),
            ("ZSTD", Compression::Zstd, Some("zstd-stream")),
            ("zstd-stream", Compression::Zstd, Some("zstd-stream")),
            ("payload", Compression::Payload, None),
        ] {
            assert_eq!(text.parse(), Ok(compression));
            assert_eq!(compression.query_value(), query);
        }
        for text in ["", "gzip", "true", "zlib stream"] {
            assert_eq!(text.parse::<Compression>(), Err(ParseCompressionError));
        }
        let zstd = match cfg!(feature = "zstd") {
            true => "zstd",
            false => "zlib",
        };
        assert_eq!(Compression::Zstd.supported().name(), zstd);
        assert_eq!(Compression::Payload.supported(), Compression::Payload);
        assert_eq!(Compression::default().to_string(), "zlib");
        assert_eq!(Compression::Payload.to_string(), "payload");
    }
}
