//! What goes into the decoder.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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
