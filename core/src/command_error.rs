//! Why a request of the caller was not carried out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::ids::GuildId;

/// The largest payload that Discord reads, in bytes of the encoded text, envelope included.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 4096;

/// Why a command was refused, or given up before it was sent.
///
/// One type for all of it: what Discord would refuse is refused when the command is made, the rest
/// when it is handed in or while it waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CommandError {
    /// The encoded payload is over 4096 bytes, which Discord answers with close 4002.
    #[error(
        "the payload has {bytes} bytes and discord reads {MAX_PAYLOAD_BYTES}; shorten or split it"
    )]
    TooLarge {
        /// The size found, in bytes.
        bytes: usize,
    },
    /// A field has a value that Discord refuses or does not heed.
    #[error("{field}: {problem}")]
    BadValue {
        /// The field, by its name on the wire.
        field: Cow<'static, str>,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A raw text is no payload.
    #[error("this is no gateway payload: {0}; send an object with the keys `op` and `d`")]
    Malformed(String),
    /// An opcode that the library sends itself, or that only the gateway sends.
    #[error("opcode {op} is not for callers; use the typed commands, or another opcode")]
    ReservedOp {
        /// The opcode asked for.
        op: u8,
    },
    /// No shard of this process serves the guild.
    #[error("no shard here serves guild {guild}; send it where that shard runs, or check the id")]
    NotMyGuild {
        /// The guild of the command.
        guild: GuildId,
    },
    /// The process runs no shard with this number.
    #[error("no shard {shard} runs here; ask for the shard states to see which do")]
    NoSuchShard {
        /// The number asked for.
        shard: u32,
    },
    /// The shard has no session at the moment, and the caller did not want to wait for one.
    #[error("the shard is not ready; send it again after ready or resumed, or let it queue")]
    NotReady,
    /// As many commands as may wait do so already.
    #[error("{limit} commands are waiting already; send it again when some are answered")]
    QueueFull {
        /// How many may wait.
        limit: usize,
    },
    /// A newer presence, or a newer voice state of the same guild, took its place before it was
    /// sent. Nothing is lost: the newer one holds.
    #[error("a newer command took its place before it was sent; nothing is left to do")]
    Replaced,
    /// The connection ended after a raw command and nothing says whether it arrived; it is not
    /// sent again, for it may be what the gateway objected to.
    #[error("the connection ended with this command under way; check its effect before repeating")]
    Interrupted,
    /// The shard or the bot has stopped and sends nothing more.
    #[error("the shard has stopped and sends nothing more; start it again first")]
    Stopped,
}

impl CommandError {
    pub(crate) fn bad_value(field: &'static str, problem: impl Into<String>) -> Self {
        Self::BadValue {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// Refuses a payload that is over the limit.
pub(crate) fn check_size(bytes: usize) -> Result<(), CommandError> {
    if bytes > MAX_PAYLOAD_BYTES {
        return Err(CommandError::TooLarge { bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do_next() {
        for error in [
            CommandError::TooLarge { bytes: 5000 },
            CommandError::bad_value("nonce", "it is empty; leave it out or give it a text"),
            CommandError::Malformed("expected value at line 1 column 1".into()),
            CommandError::ReservedOp { op: 2 },
            CommandError::NotMyGuild {
                guild: GuildId::new(1),
            },
            CommandError::NoSuchShard { shard: 7 },
            CommandError::NotReady,
            CommandError::QueueFull { limit: 500 },
            CommandError::Replaced,
            CommandError::Interrupted,
            CommandError::Stopped,
        ] {
            let text = error.to_string();
            assert!(text.contains("; "), "{text}");
            assert!(!text.ends_with('.'), "{text}");
            assert!(text.starts_with(|c: char| !c.is_uppercase()), "{text}");
        }
        assert_eq!(
            CommandError::TooLarge { bytes: 5000 }.to_string(),
            "the payload has 5000 bytes and discord reads 4096; shorten or split it"
        );
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        assert_eq!(check_size(4096), Ok(()));
        assert_eq!(
            check_size(4097),
            Err(CommandError::TooLarge { bytes: 4097 })
        );
    }
}
