//! The ids of guilds, channels and users.
//!
//! Discord's ids are unsigned 64-bit numbers that travel as decimal strings in JSON. Some
//! servers and encodings send bare integers, so both are read; strings are written.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// There is no text at all.
    #[error("the id is empty; give a decimal number such as 41771983423143937")]
    Empty,
    /// A character is no decimal digit: a sign, a letter, white space, a mention's brackets.
    #[error("an id holds decimal digits only; copy the bare number, without signs or brackets")]
    NotDigits,
    /// The number needs more than 64 bits.
    #[error("the id is larger than 64 bits; check for digits pasted twice")]
    TooLarge,
    /// The number is zero, which Discord gives to nothing.
    #[error("the id is zero, which belongs to nothing; give the real id")]
    Zero,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Parsing a text asks for decimal digits, 64 bits and a value other than zero. Serde
        /// writes a string and reads a string of digits or an integer; there zero passes, because
        /// Discord echoes ids that it does not know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number, unchecked: any 64-bit value has the form of an id.
            pub const fn new(id: u64) -> Self {
                Self(id)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                match parse_digits(text)? {
                    0 => Err(IdError::Zero),
                    id => Ok(Self(id)),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(IdVisitor).map(Self)
            }
        }
    };
}

id_type! {
    /// The id of a guild, which users call a server.
    GuildId
}
id_type! {
    /// The id of a channel.
    ChannelId
}
id_type! {
    /// The id of a user or bot.
    UserId
}

/// Stricter than `u64::from_str`, which takes a plus sign.
fn parse_digits(text: &str) -> Result<u64, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(IdError::NotDigits);
    }
    text.parse().map_err(|_| IdError::TooLarge)
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id as a string of digits or an unsigned integer")
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<u64, E> {
        Ok(id)
    }

    fn visit_i64<E: de::Error>(self, id: i64) -> Result<u64, E> {
        u64::try_from(id).map_err(|_| E::custom("an id is not negative"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse_digits(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_parse() {
        assert_eq!(
            "41771983423143937".parse(),
            Ok(GuildId::new(41_771_983_423_143_937))
        );
        assert_eq!("18446744073709551615".parse(), Ok(ChannelId::new(u64::MAX)));
        assert_eq!("007".parse(), Ok(UserId::new(7)));
        assert_eq!("".parse::<UserId>(), Err(IdError::Empty));
        assert_eq!("0".parse::<UserId>(), Err(IdError::Zero));
        assert_eq!(
            "18446744073709551616".parse::<UserId>(),
            Err(IdError::TooLarge)
        );
        for text in ["+1", "-1", " 1", "1\n", "<@1>", "0x1", "1.0", "१"] {
            assert_eq!(text.parse::<UserId>(), Err(IdError::NotDigits), "{text}");
        }
    }

    #[test]
    fn serde_writes_strings_and_reads_both_forms() {
        let id = GuildId::new(u64::MAX);
        assert_eq!(
            serde_json::to_string(&id).unwrap(),
            r#""18446744073709551615""#
        );
        for text in [r#""18446744073709551615""#, "18446744073709551615"] {
            assert_eq!(serde_json::from_str::<GuildId>(text).unwrap(), id);
        }
        assert_eq!(serde_json::from_str::<GuildId>("0").unwrap().get(), 0);
        for text in ["-1", "1.5", "1e3", r#""+1""#, "null", "true", r#""""#] {
            assert!(serde_json::from_str::<GuildId>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<GuildId>("true").unwrap_err();
        assert!(error.to_string().contains("a string of digits"), "{error}");
        assert_eq!(id.to_string(), "18446744073709551615");
    }
}
