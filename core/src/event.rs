//! What the consumer is told: Discord's dispatches, and the life of the connection around them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    CloseCode, ConnId, DecodeError, Dispatch, FleetError, GuildId, SessionStartLimit, ShardId,
    ShardState, TransportFault,
};

/// Names one dispatch: acknowledge it and every one before it is acknowledged too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct EventId {
    /// The shard it came on.
    pub shard: ShardId,
    /// The ordinal of the session it belongs to: 1 for a machine's first session, one more at each
    /// READY. A late acknowledgement of an old session cannot count for a new one of the same machine.
    pub session: u32,
    /// Discord's sequence number within the session.
    pub seq: u64,
}

/// One event. It may borrow the machine's buffers until the next call; [`Event::into_owned`] keeps
/// it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'m> {
    /// An event from Discord. READY and RESUMED come as dispatches too.
    Dispatch(Dispatch<'m>),
    /// A connection is being dialled.
    Connecting {
        /// Which shard.
        shard: ShardId,
        /// The new connection.
        conn: ConnId,
        /// Where to, with the whole query.
        url: String,
    },
    /// The gateway said Hello.
    Hello {
        /// Which shard.
        shard: ShardId,
        /// On which connection.
        conn: ConnId,
        /// How often the gateway wants a heartbeat.
        heartbeat_interval: Duration,
    },
    /// An Identify is sent: one session start of the day is spent.
    Identifying {
        /// Which shard.
        shard: ShardId,
        /// On which connection.
        conn: ConnId,
    },
    /// A Resume is sent.
    Resuming {
        /// Which shard.
        shard: ShardId,
        /// On which connection.
        conn: ConnId,
        /// The last sequence received: Discord replays what came after it.
        seq: u64,
    },
    /// A new session has begun. Its READY dispatch comes just before this.
    Ready {
        /// Which shard.
        shard: ShardId,
        /// On which connection.
        conn: ConnId,
        /// The ordinal of the session.
        session: u32,
        /// Discord's name for it.
        session_id: String,
    },
    /// The session goes on after a lost connection. Its RESUMED dispatch comes just before this.
    Resumed {
        /// Which shard.
        shard: ShardId,
        /// On which connection.
        conn: ConnId,
        /// The ordinal of the session.
        session: u32,
        /// How many missed events were replayed.
        replayed: u64,
    },
    /// A heartbeat was acknowledged.
    Heartbeat {
        /// Which shard.
        shard: ShardId,
        /// The time from the beat to its acknowledgement.
        latency: Duration,
    },
    /// A connection was lost, or could not be made: exactly one for each `Connecting`.
    Disconnected {
        /// Which shard.
        shard: ShardId,
        /// Which connection.
        conn: ConnId,
        /// The close code, if the peer gave one.
        code: Option<CloseCode>,
        /// Why it ended.
        reason: DisconnectReason,
        /// What the shard does about it.
        next: Next,
        /// How long it waits before it does so.
        delay: Duration,
    },
    /// A session is gone for good: what happened between `last_seq` and the next READY is unknown.
    SessionLost {
        /// Which shard.
        shard: ShardId,
        /// The ordinal of the lost session.
        session: u32,
        /// The last sequence received in it.
        last_seq: u64,
        /// Why it was given up.
        why: SessionLoss,
    },
    /// Something was wrong and has been dealt with.
    Problem {
        /// Which shard.
        shard: ShardId,
        /// On which connection, if on one.
        conn: Option<ConnId>,
        /// What.
        problem: Problem,
    },
    /// This shard has ended. The last event of a shard.
    ShardStopped {
        /// Which shard.
        shard: ShardId,
        /// Why.
        why: StopReason,
        /// What another process needs to resume it; empty of a session after a final stop. Boxed, because
        /// every event has room for the largest.
        state: Box<ShardState>,
    },
    /// The gateway's address is known and the shards start: the first event of a bot.
    Starting {
        /// How many shards run here.
        shards: u32,
        /// Of how many in all.
        total: u32,
        /// How fast, and how often today, sessions may be started.
        limit: SessionStartLimit,
    },
    /// Every planned shard is READY or RESUMED.
    ConnectedAllShards {
        /// How many.
        shards: u32,
    },
    /// The guilds of a new session are loaded. Only with
    /// [`ShardConfig::track_guilds`](crate::ShardConfig::track_guilds).
    GuildsLoaded {
        /// Which shard.
        shard: ShardId,
        /// How many are there.
        guilds: usize,
        /// Those that did not come in time: an outage, as a rule.
        missing: Vec<GuildId>,
    },
    /// The bot changes to another number of shards: Discord demands it (close code 4011), or it was asked
    /// to. With `to`, the new shards take over.
    ReShard {
        /// The total in use.
        from: u32,
        /// The total to use, if known.
        to: Option<u32>,
    },
    /// A change to another number of shards has failed; the old shards go on.
    ReShardFailed {
        /// The total in use.
        from: u32,
        /// Why.
        why: FleetError,
    },
    /// The states of the shards could not be stored; it is tried again. Said once, until it works again.
    StoreFailed {
        /// What the store said.
        why: String,
    },
    /// No session starts are left: shards without a session wait for the reset.
    IdentifyBudgetSpent {
        /// How long until Discord grants new ones.
        reset_after: Duration,
        /// How many shards wait.
        waiting: u32,
        /// How many starts are kept back, because starts look like a crash loop
        /// ([`FleetConfig::careful`](crate::FleetConfig::careful)).
        kept_back: u32,
    },
    /// The whole bot has ended: exactly one, and always the last event.
    Stopped {
        /// Why.
        why: StopReason,
        /// The final state of each shard.
        states: Vec<ShardState>,
    },
}

// It is moved several times on its way to the consumer.
const _: () = assert!(size_of::<Event<'_>>() <= 96);

impl Event<'_> {
    /// Makes the event independent of the machine's buffers: small payloads are copied, from 64 KiB
    /// up the buffer itself is handed over.
    #[must_use]
    #[inline]
    pub fn into_owned(self) -> Event<'static> {
        self.into_owned_with(Bytes::copy_from_slice)
    }

    /// The same, with a way of one's own to copy small payloads: see [`Dispatch::into_owned_with`].
    #[must_use]
    #[inline]
    pub fn into_owned_with(self, copy: impl FnOnce(&[u8]) -> Bytes) -> Event<'static> {
        match self {
            Self::Dispatch(dispatch) => Event::Dispatch(dispatch.into_owned_with(copy)),
            Self::Connecting { shard, conn, url } => Event::Connecting { shard, conn, url },
            Self::Hello {
                shard,
                conn,
                heartbeat_interval,
            } => Event::Hello {
                shard,
                conn,
                heartbeat_interval,
            },
            Self::Identifying { shard, conn } => Event::Identifying { shard, conn },
            Self::Resuming { shard, conn, seq } => Event::Resuming { shard, conn, seq },
            Self::Ready {
                shard,
                conn,
                session,
                session_id,
            } => Event::Ready {
                shard,
                conn,
                session,
                session_id,
            },
            Self::Resumed {
                shard,
                conn,
                session,
                replayed,
            } => Event::Resumed {
                shard,
                conn,
                session,
                replayed,
            },
            Self::Heartbeat { shard, latency } => Event::Heartbeat { shard, latency },
            Self::Disconnected {
                shard,
                conn,
                code,
                reason,
                next,
                delay,
            } => Event::Disconnected {
                shard,
                conn,
                code,
                reason,
                next,
                delay,
            },
            Self::SessionLost {
                shard,
                session,
                last_seq,
                why,
            } => Event::SessionLost {
                shard,
                session,
                last_seq,
                why,
            },
            Self::Problem {
                shard,
                conn,
                problem,
            } => Event::Problem {
                shard,
                conn,
                problem,
            },
            Self::ShardStopped { shard, why, state } => Event::ShardStopped { shard, why, state },
            Self::Starting {
                shards,
                total,
                limit,
            } => Event::Starting {
                shards,
                total,
                limit,
            },
            Self::ConnectedAllShards { shards } => Event::ConnectedAllShards { shards },
            Self::GuildsLoaded {
                shard,
                guilds,
                missing,
            } => Event::GuildsLoaded {
                shard,
                guilds,
                missing,
            },
            Self::StoreFailed { why } => Event::StoreFailed { why },
            Self::ReShardFailed { from, why } => Event::ReShardFailed { from, why },
            Self::ReShard { from, to } => Event::ReShard { from, to },
            Self::IdentifyBudgetSpent {
                reset_after,
                waiting,
                kept_back,
            } => Event::IdentifyBudgetSpent {
                reset_after,
                waiting,
                kept_back,
            },
            Self::Stopped { why, states } => Event::Stopped { why, states },
        }
    }

    /// The shard it concerns; `None` for events of the whole bot.
    #[must_use]
    pub fn shard(&self) -> Option<ShardId> {
        match self {
            Self::Dispatch(dispatch) => Some(dispatch.id().shard),
            Self::Connecting { shard, .. }
            | Self::Hello { shard, .. }
            | Self::Identifying { shard, .. }
            | Self::Resuming { shard, .. }
            | Self::Ready { shard, .. }
            | Self::Resumed { shard, .. }
            | Self::Heartbeat { shard, .. }
            | Self::Disconnected { shard, .. }
            | Self::SessionLost { shard, .. }
            | Self::Problem { shard, .. }
            | Self::GuildsLoaded { shard, .. }
            | Self::ShardStopped { shard, .. } => Some(*shard),
            Self::Starting { .. }
            | Self::ConnectedAllShards { .. }
            | Self::ReShard { .. }
            | Self::ReShardFailed { .. }
            | Self::StoreFailed { .. }
            | Self::IdentifyBudgetSpent { .. }
            | Self::Stopped { .. } => None,
        }
    }
}

/// What a shard does after it lost a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Next {
    /// Connect again and go on with the session: nothing is lost.
    Resume,
    /// Connect again and start a new session.
    Identify,
    /// Nothing: the shard ends.
    Stop,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resume => "resume",
            Self::Identify => "identify",
            Self::Stop => "stop",
        })
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The peer closed it, with the code in the event or without one.
    #[error("closed by the gateway")]
    ClosedByGateway,
    /// The connection could not be made.
    #[error("could not connect: {0}")]
    CouldNotConnect(TransportFault),
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(TransportFault),
    /// The gateway asked for it (op 7).
    #[error("the gateway asked to reconnect")]
    ReconnectRequested,
    /// The gateway declared the session invalid (op 9).
    #[error("the gateway declared the session invalid")]
    InvalidSession {
        /// Whether it may be resumed on a new connection.
        resumable: bool,
    },
    /// A heartbeat was not acknowledged: the link is dead.
    #[error("heartbeats are not acknowledged: the link is dead")]
    Zombie,
    /// No Hello in time.
    #[error("no hello in time")]
    HelloTimeout,
    /// The Hello's interval makes no sense.
    #[error("the heartbeat interval makes no sense")]
    BadHello,
    /// No READY in time.
    #[error("no READY in time")]
    ReadyTimeout,
    /// Neither a replayed event nor RESUMED in time.
    #[error("no RESUMED in time")]
    ResumedTimeout,
    /// What arrived could not be decoded.
    #[error("undecodable payload")]
    Undecodable,
    /// The consumer did not make room in time; the session is resumed when there is room.
    #[error("the consumer is too slow")]
    ConsumerStalled,
    /// A stop was asked for.
    #[error("stopped")]
    Stopped,
}

/// Why a session was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionLoss {
    /// Op 9: the gateway no longer knows it.
    #[error("the gateway declared the session invalid")]
    Invalidated,
    /// A close code that ends sessions.
    #[error("the gateway ended the session with close code {0}")]
    Closed(CloseCode),
    /// Too many attempts to resume ended before RESUMED.
    #[error("it could not be resumed in several attempts")]
    ResumeRefused,
    /// It could not be reached for so long that Discord has surely dropped it.
    #[error("it could not be reached for too long")]
    TooOld,
    /// The same event could not be decoded twice: the session is given up rather than looping on it.
    #[error("the event after the last one could not be decoded twice")]
    Poisoned,
    /// A READY came in place of RESUMED.
    #[error("the gateway began a new session in its place")]
    Superseded,
}

/// Something that was wrong and has been dealt with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A frame could not be decoded: closed with 4000, the session is resumed.
    #[error("undecodable frame after sequence {after:?}: {error}")]
    Undecodable {
        /// The last sequence received before it.
        after: Option<u64>,
        /// What was wrong with it.
        error: DecodeError,
    },
    /// A payload was not a gateway payload: closed with 4000, the session is resumed.
    #[error("malformed payload after sequence {after:?}: {what}")]
    Malformed {
        /// The last sequence received before it.
        after: Option<u64>,
        /// What was wrong with it.
        what: String,
    },
    /// Sequence numbers were skipped: events may be missing.
    #[error("sequence jumped from {expected} to {got}: {} events may be missing", got.saturating_sub(*expected))]
    Gap {
        /// The sequence that should have come.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// An opcode nobody knows; skipped.
    #[error("unknown opcode {0} skipped")]
    UnknownOpcode(u64),
    /// Empty messages arrive; skipped. Reported once a connection.
    #[error("empty message skipped")]
    EmptyMessage,
    /// A close code nobody knows; treated as a lost connection.
    #[error("unknown close code {0}: treated as a lost connection")]
    UnknownCloseCode(CloseCode),
    /// The gateway refused something this client sent.
    #[error("the gateway closed with {code} after {sent}; it is not sent again")]
    CommandRejected {
        /// The close code, 4001 or 4002.
        code: CloseCode,
        /// What was sent last: an opcode.
        sent: SentKind,
    },
    /// The gateway's host answered the websocket upgrade with an HTTP error.
    #[error("the gateway refused the connection with HTTP {status}: {advice}")]
    UpgradeRefused {
        /// The HTTP status.
        status: u16,
        /// What a person can do.
        advice: &'static str,
    },
    /// New sessions keep failing; the next try is put off to spare the day's session starts.
    #[error("{tries} new sessions failed in a row; the next try is in {} s", next_try_in.as_secs())]
    IdentifyFailing {
        /// How many in a row.
        tries: u32,
        /// When the next one will be.
        next_try_in: Duration,
    },
    /// The resume URL in READY cannot be used; resumes go to the configured host.
    #[error("READY named an unusable resume_gateway_url: resuming on the configured host")]
    BadResumeUrl,
    /// The presence is too large for an Identify and is sent after READY instead.
    #[error("the presence does not fit into an Identify and is sent after READY")]
    PresenceTooLarge,
    /// What drove the shard ended unexpectedly, as by a panic. It is started again, with its session.
    #[error("the shard's driver ended unexpectedly; it is started again in {} s", restart_in.as_secs_f64())]
    DriverEnded {
        /// When.
        restart_in: Duration,
    },
    /// The user's identify gate has failed. The shard waits for its next turn.
    #[error("the identify gate failed; the shard waits for its next turn")]
    GateFailed,
    /// The host slept: one extra heartbeat was sent to see whether the link still lives.
    #[error("the host slept; checking the link")]
    HostSlept,
}

/// What kind of payload was sent last before a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SentKind {
    /// A payload the machine itself made, or a typed command, of this opcode.
    Typed(u8),
    /// A raw command of this opcode.
    Raw(u8),
}

impl fmt::Display for SentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(op) => write!(f, "a command of opcode {op}"),
            Self::Raw(op) => write!(f, "a raw command of opcode {op}"),
        }
    }
}

/// Why a shard or the whole bot ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StopReason {
    /// It was asked to.
    #[error("stopped on request")]
    Requested,
    /// Discord refused it for good with this close code.
    #[error("the gateway closed with {code} for good: {}", code.advice().unwrap_or("see Discord's list of close codes"))]
    Fatal {
        /// The code: 4004, 4010, 4012, 4013 or 4014.
        code: CloseCode,
    },
    /// Discord demands more shards (4011).
    #[error(
        "the gateway demands more shards (4011): start again with the number that Discord recommends"
    )]
    ReShardRequired,
    /// Every shard has ended by itself.
    #[error("no shard is left running")]
    NoShardsLeft,
    /// What drove it ended before it did: its async runtime shut down.
    #[error("the runtime that drove it has shut down; keep it running until the last event")]
    Abandoned,
    /// The gateway's address could not be had.
    #[error("the gateway's address could not be fetched: {0}")]
    Fetch(crate::FetchFault),
}
