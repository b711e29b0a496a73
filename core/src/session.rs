//! What of a session outlives a connection, and what of a shard outlives a process.

use serde::{Deserialize, Serialize};

use crate::guild_tracker::GuildTracker;
use crate::{AckLog, GatewayUrl, ShardId};

/// What another process needs to go on with a shard's session. Plain data: store it, hand it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "plain data, built by whoever stores it"
)]
pub struct ShardState {
    /// The shard, `[number, total]`.
    pub shard: ShardId,
    /// Discord's name of the session; `None` if there is nothing to resume.
    #[serde(default)]
    pub session_id: Option<String>,
    /// The last *acknowledged* sequence: resuming replays what the consumer had not handled.
    #[serde(default)]
    pub seq: Option<u64>,
    /// Where to resume. An unusable one is the same as none.
    #[serde(default)]
    pub resume_gateway_url: Option<String>,
    /// When this was taken, in seconds since 1970, if the time was known. For people: a session of any age
    /// is tried once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

impl ShardState {
    /// A longer session id could not be sent in a Resume of 4096 bytes.
    pub(crate) const LONGEST_ID: usize = 1024;

    /// A shard with nothing to resume.
    #[must_use]
    pub fn fresh(shard: ShardId) -> Self {
        Self {
            shard,
            session_id: None,
            seq: None,
            resume_gateway_url: None,
            at: None,
        }
    }

    /// Whether there is a session to resume.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.seq.is_some()
            && self
                .session_id
                .as_deref()
                .is_some_and(|id| (1..=Self::LONGEST_ID).contains(&id.len()))
    }
}

/// A session as the machine knows it. READY replaces all of it as one value; what ends a session
/// drops all of it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) ordinal: u32,
    pub(crate) id: String,
    pub(crate) resume_url: Option<GatewayUrl>,
    /// The last sequence received: what beats and resumes carry.
    pub(crate) received: u64,
    /// What the consumer has handled: what [`ShardState`] carries.
    pub(crate) acks: AckLog,
    /// Connections in a row that opened and ended before RESUMED or a replayed event.
    pub(crate) fruitless: u8,
    /// The guilds that have not come yet, while that is of interest.
    pub(crate) guilds: Option<GuildTracker>,
}

impl Session {
    /// How many fruitless resumes the resume host gets before the configured host is tried.
    pub(crate) const TRIES_ON_RESUME_HOST: u8 = 3;
    /// How many fruitless resumes a session survives in all.
    pub(crate) const TRIES: u8 = 5;

    pub(crate) fn new(ordinal: u32, id: String, resume_url: Option<GatewayUrl>, seq: u64) -> Self {
        Self {
            ordinal,
            id,
            resume_url,
            received: seq,
            acks: AckLog::new(seq),
            fruitless: 0,
            guilds: None,
        }
    }
}
