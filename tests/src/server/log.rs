//! What the server saw and did, for tests to look at.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use super::io::{ConnId, HowDropped, Shard};
use crate::scenario::Listener;

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogEntry {
    /// Since the server's start.
    pub at: Duration,
    /// The connection it is about.
    pub conn: Option<ConnId>,
    /// The shard that connection belongs to, once it is known.
    pub shard: Option<Shard>,
    /// What it was.
    pub what: Seen,
}

/// What was seen or done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Seen {
    /// An upgrade request and its answer; 101 when it was accepted, none when it hangs.
    Upgrade {
        /// Where it came in.
        listener: Listener,
        /// Path and query.
        target: String,
        /// The answer.
        status: Option<u16>,
    },
    /// A payload came.
    Received {
        /// Its opcode, if it has one.
        op: Option<u64>,
        /// The text, the token masked; empty if it is not JSON.
        text: String,
    },
    /// A good Identify came.
    Identify {
        /// Which bot: tokens are numbered as they come, from 0.
        bot: u64,
        /// The identify bucket.
        bucket: u64,
        /// The intents.
        intents: u64,
        /// Whether it brought a presence.
        presence: bool,
    },
    /// A Resume came.
    Resume {
        /// The session it names.
        session: String,
        /// The sequence number it names.
        seq: Option<u64>,
    },
    /// READY was sent.
    Ready {
        /// The new session.
        session: String,
    },
    /// READY names another address for resumes than there is.
    Misnamed {
        /// The new session.
        session: String,
        /// The address; empty if it is no text.
        url: String,
    },
    /// RESUMED was sent.
    Resumed {
        /// The session.
        session: String,
        /// How many dispatches were replayed before it.
        replayed: u64,
    },
    /// A session can't be resumed any more.
    SessionEnded {
        /// Which.
        session: String,
        /// Why.
        why: &'static str,
    },
    /// The server sent an opcode other than 0 and 11.
    Sent {
        /// Which.
        op: u64,
    },
    /// The server closed the connection.
    Closed {
        /// The code.
        code: Option<u16>,
        /// Why.
        reason: String,
    },
    /// The server ended the line.
    Dropped {
        /// How.
        how: HowDropped,
    },
    /// The client sent a close frame; a frame without a code counts as 1005.
    ClosedByClient {
        /// The code.
        code: u16,
        /// Whether the server had sent one before.
        answer: bool,
    },
    /// The line is gone, without a close frame from the client.
    Lost,
    /// The client did what it should not.
    Violation(Violation),
    /// A step of the scenario was played.
    Step {
        /// Its place in the scenario.
        number: usize,
    },
    /// A REST request.
    Rest {
        /// The method.
        method: String,
        /// The path.
        path: String,
        /// The answer; none when it hangs.
        status: Option<u16>,
    },
    /// A dispatch of a finished flood's end was sent.
    FloodEnded,
    /// Hello was sent.
    Hello {
        /// The time between beats it names, if that makes sense.
        interval: Option<Duration>,
    },
    /// Op 9 was sent.
    Invalid {
        /// Whether the session may be resumed.
        resumable: bool,
    },
    /// A message was damaged on its way out.
    Damaged {
        /// The dispatch in it, if it was one.
        seq: Option<u64>,
    },
    /// A session was given a dispatch; only with
    /// [`log_dispatches`](super::ServerConfig::log_dispatches).
    Given {
        /// Which session.
        session: String,
        /// Its sequence number there.
        seq: u64,
        /// Of its name and body, see [`digest`].
        digest: u64,
    },
}

/// A number that tells dispatches of different names or bodies apart. Good within one program only.
#[must_use]
pub fn digest(name: &str, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.write_u8(0xFF);
    hasher.write(body);
    hasher.finish()
}

/// What a client did that it should not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The address was not one Discord answers.
    #[error("bad address: {0}")]
    Address(String),
    /// A framing rule was broken.
    #[error("framing: {0}")]
    Framing(crate::ws::Misframed),
    /// Something was sent before Hello.
    #[error("op {0} before Hello")]
    BeforeHello(u64),
    /// A payload that needs a session came before Identify or Resume.
    #[error("op {0} before Identify")]
    BeforeIdentify(u64),
    /// A payload that needs a running session came before READY or RESUMED.
    #[error("op {0} before READY or RESUMED")]
    BeforeReady(u64),
    /// The payload is no JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// The payload is longer than 4096 bytes.
    #[error("a payload of {0} bytes")]
    TooLong(usize),
    /// No such opcode, or one only the server sends.
    #[error("unknown opcode {0:?}")]
    UnknownOpcode(Option<u64>),
    /// The body does not fit the opcode.
    #[error("op {op}: {why}")]
    BadBody {
        /// The opcode.
        op: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The client wrote `s` or `t`.
    #[error("the client wrote s or t")]
    WroteSequence,
    /// A second Identify or Resume on one connection.
    #[error("already authenticated")]
    AlreadyAuthenticated,
    /// The token is not good.
    #[error("bad token")]
    Token,
    /// The shard pair is not one, or its total is not permitted.
    #[error("bad shard")]
    Shard,
    /// Too many guilds for this total.
    #[error("sharding required")]
    ShardingRequired,
    /// Undefined or missing intents.
    #[error("bad intents")]
    Intents,
    /// Intents that are not granted.
    #[error("disallowed intents")]
    DisallowedIntents,
    /// An API version that never was.
    #[error("bad version")]
    Version,
    /// Two Identifies of one bucket within 5 s.
    #[error("bucket {bucket}: an identify {after:?} after the last one")]
    IdentifiedTooFast {
        /// The bucket.
        bucket: u64,
        /// Time since the last one.
        after: Duration,
    },
    /// More Identifies than the window allows.
    #[error("no identify left in this window")]
    BudgetSpent,
    /// More than 120 payloads in 60 s.
    #[error("more than 120 payloads in 60 s")]
    RateLimited,
    /// More than 5 presences in 20 s.
    #[error("more than 5 presences in 20 s")]
    PresenceLimited,
    /// No beat came for too long.
    #[error("no beat for too long")]
    NoBeat,
    /// A beat carried a sequence number this session never had, or one of an older session.
    #[error("a beat with sequence {0}")]
    BeatSequence(u64),
    /// A Resume named a sequence number that was never sent.
    #[error("a resume from {named}, only {sent} were sent")]
    ResumeSequence {
        /// What it named.
        named: u64,
        /// What was sent.
        sent: u64,
    },
    /// A Resume with `seq: null`.
    #[error("a resume without a sequence number")]
    ResumeWithoutSequence,
    /// A Resume of a session that is not there.
    #[error("a resume of an unknown session")]
    UnknownSession,
    /// A Resume over a query unlike the one that made the session.
    #[error("a resume over another query")]
    OtherQuery,
    /// A command for a guild of another shard.
    #[error("a guild of another shard: {0}")]
    OtherShard(u64),
    /// Both `query` and `user_ids`.
    #[error("query and user_ids together")]
    QueryAndIds,
    /// A nonce of more than 32 bytes.
    #[error("a nonce of {0} bytes")]
    LongNonce(usize),
    /// A whole member list asked for twice within 30 s.
    #[error("a whole member list within 30 s of the last")]
    WholeListTooSoon,
    /// An intent is missing for what was asked.
    #[error("a command without the intent it needs")]
    MissingIntent,
}

/// The log, and what can be asked of it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: Vec<LogEntry>,
    limit: usize,
    dropped: usize,
}

impl Log {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(2),
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, entry: LogEntry) {
        if self.entries.len() >= self.limit {
            let half = self.limit / 2;
            self.entries.drain(..half);
            self.dropped += half;
        }
        self.entries.push(entry);
    }

    /// Everything, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// How many old entries were dropped for want of room.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}
