//! What can be asked of a collector, and what it answers.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RawJson;
use crate::{Command, CommandError, GuildId, Members, Nonce, RequestGuildMembers, UserId};

/// Ids that Discord answers in one request.
const BATCH: usize = 100;

/// Asks for members of a guild, and for the whole answer in one piece.
///
/// Unlike [`RequestGuildMembers`] it may name any number of ids, it needs no nonce, and it has a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuildMembersRequest {
    /// The guild. One at a time.
    pub guild: GuildId,
    /// Which of its members. Any number of ids: they are asked for in batches of 100.
    pub who: Members,
    /// Whether to ask for their presences too; needs [`Intents::GUILD_PRESENCES`](crate::Intents).
    pub presences: bool,
    /// How long it may take in all, waiting for a connection or for its turn included: 60 s.
    pub time_allowed: Duration,
    /// How many bytes of JSON (and a little for each member) may be gathered before it is given up:
    /// 256 MiB, room for about half a million members.
    pub max_bytes: usize,
}

impl GuildMembersRequest {
    /// Asks for all members. Needs [`Intents::GUILD_MEMBERS`](crate::Intents::GUILD_MEMBERS): without it
    /// nothing comes back. Discord allows it once in 30 seconds for a guild; a second one waits.
    #[must_use]
    pub fn everyone(guild: GuildId) -> Self {
        let prefix = String::new();
        Self::new(guild, Members::Query { prefix, limit: 0 })
    }

    /// Asks for members whose user name begins with `prefix`, `limit` of them at most (1 to 100).
    #[must_use]
    pub fn by_prefix(guild: GuildId, prefix: impl Into<String>, limit: u32) -> Self {
        let prefix = prefix.into();
        Self::new(guild, Members::Query { prefix, limit })
    }

    /// Asks for the members with these ids, any number of them. The same id twice counts once.
    #[must_use]
    pub fn by_ids(guild: GuildId, ids: impl IntoIterator<Item = UserId>) -> Self {
        Self::new(guild, Members::Ids(ids.into_iter().collect()))
    }

    /// Asks for these members, without presences, with a minute of time.
    #[must_use]
    pub fn new(guild: GuildId, who: Members) -> Self {
        Self {
            guild,
            who,
            presences: false,
            time_allowed: Duration::from_secs(60),
            max_bytes: 256 * 1024 * 1024,
        }
    }

    /// Asks for presences, or not.
    #[must_use]
    pub fn presences(mut self, presences: bool) -> Self {
        self.presences = presences;
        self
    }

    /// Sets how long it may take in all.
    #[must_use]
    pub fn time_allowed(mut self, time_allowed: Duration) -> Self {
        self.time_allowed = time_allowed;
        self
    }

    /// Sets how much may be gathered.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    pub(super) fn is_whole_list(&self) -> bool {
        matches!(&self.who, Members::Query { prefix, limit: 0 } if prefix.is_empty())
    }

    /// Ids that stand there twice would come twice when they fall into different batches.
    pub(super) fn without_doubles(mut self) -> Self {
        if let Members::Ids(ids) = &mut self.who {
            let mut seen = BTreeSet::new();
            ids.retain(|id| seen.insert(*id));
        }
        self
    }

    /// How many requests it takes. No ids are one request, which is refused.
    pub(super) fn batches(&self) -> usize {
        match &self.who {
            Members::Query { .. } => 1,
            Members::Ids(ids) => ids.len().div_ceil(BATCH).max(1),
        }
    }

    /// The command of one of them.
    pub(super) fn batch(&self, index: usize, nonce: String) -> Result<Command, CommandError> {
        let who = match &self.who {
            Members::Ids(ids) => Cow::Owned(Members::Ids(
                ids.iter()
                    .skip(index * BATCH)
                    .take(BATCH)
                    .copied()
                    .collect(),
            )),
            query => Cow::Borrowed(query),
        };
        Command::request_guild_members(
            RequestGuildMembers::new(self.guild, who.into_owned())
                .presences(self.presences)
                .nonce(Nonce::new(nonce)?),
        )
    }
}

/// The whole answer to a [`GuildMembersRequest`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuildMembers {
    /// The guild.
    pub guild: GuildId,
    /// The members found, each as Discord wrote it, in the order of the request's batches and of their
    /// chunks. Those who join or leave meanwhile may or may not be among them.
    pub members: Vec<RawJson>,
    /// Their presences, if they were asked for and the intent allows it.
    pub presences: Vec<RawJson>,
    /// Ids that were asked for and are no members.
    pub not_found: Vec<UserId>,
    /// The marks of the chunks that it was made of, one for each batch: the chunks themselves come as
    /// `GUILD_MEMBERS_CHUNK` events too.
    pub nonces: Vec<Nonce>,
}

impl GuildMembers {
    /// Leaves nothing but how many there are.
    pub(crate) fn empty_all(&mut self) {
        for raw in self.members.iter_mut().chain(&mut self.presences) {
            *raw = RawJson::null();
        }
    }
}

impl fmt::Debug for GuildMembers {
    /// Counts only: there may be a million of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuildMembers")
            .field("guild", &self.guild)
            .field("members", &self.members.len())
            .field("presences", &self.presences.len())
            .field("not_found", &self.not_found.len())
            .field("nonces", &self.nonces)
            .finish()
    }
}

/// Why there is no whole answer to a [`GuildMembersRequest`]. What had come is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RequestMembersError {
    /// The time allowed is over.
    #[error("{received} of {} chunks came in time; {}", .expected.map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string()),
        if *.received == 0 { "check the guild and the intent GUILD_MEMBERS, or allow more time" } else { "allow more time" })]
    TimedOut {
        /// How many chunks had come.
        received: u32,
        /// How many there are, if known.
        expected: Option<u32>,
    },
    /// Discord refused it for being too frequent, and it could not be repeated in the time allowed or was
    /// refused once more.
    #[error("discord rations such requests; ask again in {} s", .retry_after.as_secs_f64())]
    RateLimited {
        /// How long Discord wants a pause.
        retry_after: Duration,
    },
    /// The session that it was asked in is gone, and the answer with it.
    #[error("the session was lost and the answer with it; ask again")]
    SessionLost,
    /// Events are not taken fast enough, so that nothing is read from the gateway: it would wait for ever
    /// if who waits for it is who takes the events.
    #[error(
        "reading is paused because events are not taken; take them while this waits, then ask again"
    )]
    ConsumerStalled,
    /// The shard or the bot has ended.
    #[error("the shard has stopped; ask again when it runs")]
    ShardStopped,
    /// It was not sent.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The answer has more bytes than were allowed.
    #[error("the answer has more than {limit} bytes; raise max_bytes or ask for fewer members")]
    TooLarge {
        /// What was allowed.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_emptied_members_only_their_number_is_left() {
        let text = r#"{"guild":"7","members":[{"user":1},{"user":2}],"presences":[{"user":1}],"not_found":["3"],"nonces":[]}"#;
        let mut members: GuildMembers = serde_json::from_str(text).unwrap();
        members.empty_all();
        let left = r#"{"guild":"7","members":[null,null],"presences":[null],"not_found":["3"],"nonces":[]}"#;
        assert_eq!(serde_json::to_string(&members).unwrap(), left);
    }
}
