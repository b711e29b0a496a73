//! What can be asked about the members of a guild.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::command_error::CommandError;
use crate::ids::{GuildId, UserId};

/// The most ids that one request is answered for, and the most members that a prefix finds.
const MOST: usize = 100;

/// The longest nonce that Discord echoes, in bytes.
const NONCE_BYTES: usize = 32;

/// Asks for members of a guild. They come as one or more `GUILD_MEMBERS_CHUNK` events.
///
/// What Discord would ignore or cut short is refused when this becomes a
/// [`Command`](crate::Command).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RequestGuildMembers {
    /// The guild. One at a time.
    pub guild: GuildId,
    /// Which of its members.
    pub who: Members,
    /// Whether to send their presences too; needs [`Intents::GUILD_PRESENCES`](crate::Intents).
    pub presences: bool,
    /// Comes back in each chunk. Without it two requests for one guild cannot be told apart.
    pub nonce: Option<Nonce>,
}

/// Which members. One or the other: Discord ignores ids beside a query.
///
/// Complete by nature.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Members {
    /// Those whose user name begins with `prefix`.
    Query {
        /// What the name begins with. Empty: every name.
        prefix: String,
        /// How many at most: 1 to 100. With an empty prefix 0 means all, which needs
        /// [`Intents::GUILD_MEMBERS`](crate::Intents::GUILD_MEMBERS) and is allowed once in 30
        /// seconds for a guild.
        limit: u32,
    },
    /// Those with these ids, 1 to 100 of them. Ids of others come back in `not_found`.
    Ids(Vec<UserId>),
}

/// A mark that Discord repeats in the answer: 1 to 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(Box<str>);

impl RequestGuildMembers {
    /// Asks for all members.
    pub const fn everyone(guild: GuildId) -> Self {
        Self::new(
            guild,
            Members::Query {
                prefix: String::new(),
                limit: 0,
            },
        )
    }

    /// Asks for members whose user name begins with `prefix`, `limit` of them at most.
    pub fn by_prefix(guild: GuildId, prefix: impl Into<String>, limit: u32) -> Self {
        Self::new(
            guild,
            Members::Query {
                prefix: prefix.into(),
                limit,
            },
        )
    }

    /// Asks for the members with these ids.
    pub fn by_ids(guild: GuildId, ids: impl IntoIterator<Item = UserId>) -> Self {
        Self::new(guild, Members::Ids(ids.into_iter().collect()))
    }

    /// Asks for these members, without presences and nonce.
    pub const fn new(guild: GuildId, who: Members) -> Self {
        Self {
            guild,
            who,
            presences: false,
            nonce: None,
        }
    }

    /// Asks for presences, or not.
    #[must_use]
    pub fn presences(mut self, presences: bool) -> Self {
        self.presences = presences;
        self
    }

    /// Sets the nonce.
    #[must_use]
    pub fn nonce(mut self, nonce: Nonce) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// Whether this asks for the whole list of members. Discord rations such requests: one in 30
    /// seconds for a guild, over all processes of the bot.
    pub fn is_whole_list(&self) -> bool {
        matches!(&self.who, Members::Query { prefix, limit: 0 } if prefix.is_empty())
    }

    pub(crate) fn check(&self) -> Result<(), CommandError> {
        match &self.who {
            Members::Query { prefix, .. } if prefix.is_empty() => Ok(()),
            Members::Query { limit: 0, .. } => Err(CommandError::bad_value(
                "limit",
                "0 goes with an empty query only, for all members; with a prefix give 1 to 100",
            )),
            Members::Query { limit, .. } if *limit > MOST as u32 => Err(CommandError::bad_value(
                "limit",
                format!("a prefix finds at most {MOST} members, not {limit}; lower the limit"),
            )),
            Members::Query { .. } => Ok(()),
            Members::Ids(ids) if ids.is_empty() => Err(CommandError::bad_value(
                "user_ids",
                "no id is given; give at least one, or ask by query",
            )),
            Members::Ids(ids) if ids.len() > MOST => Err(CommandError::bad_value(
                "user_ids",
                format!(
                    "{} ids are more than the {MOST} that are answered; split the request",
                    ids.len()
                ),
            )),
            Members::Ids(_) => Ok(()),
        }
    }
}

impl Serialize for RequestGuildMembers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("guild_id", &self.guild)?;
        match &self.who {
            Members::Query { prefix, limit } => {
                map.serialize_entry("query", prefix)?;
                map.serialize_entry("limit", limit)?;
            }
            Members::Ids(ids) => map.serialize_entry("user_ids", ids)?,
        }
        if self.presences {
            map.serialize_entry("presences", &true)?;
        }
        if let Some(nonce) = &self.nonce {
            map.serialize_entry("nonce", nonce.as_str())?;
        }
        map.end()
    }
}

impl Nonce {
    /// Checks a nonce.
    ///
    /// # Errors
    /// It is empty, or longer than 32 bytes (not characters): Discord would leave it out of the
    /// answer.
    pub fn new(text: impl Into<String>) -> Result<Self, CommandError> {
        let text = text.into();
        match text.len() {
            0 => Err(CommandError::bad_value(
                "nonce",
                "it is empty; leave it out or give it a text",
            )),
            1..=NONCE_BYTES => Ok(Self(text.into_boxed_str())),
            bytes => Err(CommandError::bad_value(
                "nonce",
                format!(
                    "{bytes} bytes are more than the {NONCE_BYTES} that are echoed; shorten it"
                ),
            )),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nonce {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Nonce {
    type Error = CommandError;

    fn try_from(text: String) -> Result<Self, CommandError> {
        Self::new(text)
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.0.into_string()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUILD: GuildId = GuildId::new(7);

    fn field(request: &RequestGuildMembers) -> Option<String> {
        match request.check() {
            Ok(()) => None,
            Err(CommandError::BadValue { field, .. }) => Some(field.into_owned()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn limits_are_checked_as_discord_heeds_them() {
        for (prefix, limit, bad) in [
            ("", 0, None),
            ("", 50, None),
            ("", 5000, None),
            ("a", 1, None),
            ("a", 100, None),
            ("a", 0, Some("limit")),
            ("a", 101, Some("limit")),
        ] {
            let request = RequestGuildMembers::by_prefix(GUILD, prefix, limit);
            assert_eq!(field(&request).as_deref(), bad, "{prefix} {limit}");
            assert_eq!(request.is_whole_list(), prefix.is_empty() && limit == 0);
        }
        for (count, bad) in [
            (0, Some("user_ids")),
            (1, None),
            (100, None),
            (101, Some("user_ids")),
        ] {
            let request = RequestGuildMembers::by_ids(GUILD, (0..count).map(UserId::new));
            assert_eq!(field(&request).as_deref(), bad, "{count}");
        }
    }

    #[test]
    fn nonces_are_measured_in_bytes() {
        assert!(Nonce::new("x".repeat(32)).is_ok());
        assert!(Nonce::new("x".repeat(33)).is_err());
        assert!(Nonce::new("é".repeat(16)).is_ok());
        assert!(Nonce::new("é".repeat(17)).is_err());
        assert!(Nonce::new("").is_err());
        let nonce: Nonce = "n1".parse().unwrap();
        assert_eq!((nonce.as_str(), nonce.to_string()), ("n1", "n1".into()));
        assert_eq!(serde_json::to_string(&nonce).unwrap(), r#""n1""#);
        assert!(serde_json::from_str::<Nonce>(r#""""#).is_err());
    }
}
