//! What a runtime tells a [`ShardMachine`](crate::ShardMachine): its vocabulary of inputs.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Command, EventId, Frame, ProxyFault};

/// The number of one connection of a shard: grows by one at each dial and is never used twice.
///
/// Every input from the network carries it, so that what arrives late for an old connection is
/// ignored by construction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnId(pub(crate) u32);

impl ConnId {
    /// The number itself: 1 for a shard's first connection.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}", self.0)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The caller's own number for a command; comes back in [`Action::Answer`](crate::Action::Answer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommandId(pub u64);

/// What to do with a command that comes while the shard is not connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum IfNotReady {
    /// Keep it, in order, until READY or RESUMED. The queue is bounded.
    #[default]
    Queue,
    /// Refuse it with [`CommandError::NotReady`](crate::CommandError::NotReady).
    Fail,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Stop {
    /// Close with 4000: the session lives on for a few minutes and can be resumed, by this process
    /// or another.
    Keep,
    /// Close with 1000: Discord ends the session and the bot goes offline at once.
    Final,
}

/// One thing that happened, told to the machine by
/// [`ShardMachine::handle`](crate::ShardMachine::handle).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// Begin: dial for the first time.
    Start,
    /// The websocket of this connection is open (TCP, TLS and the upgrade are done).
    Opened {
        /// Which connection.
        conn: ConnId,
    },
    /// A whole websocket message arrived.
    Received {
        /// Which connection.
        conn: ConnId,
        /// Its content, still compressed if the connection is.
        frame: Frame,
    },
    /// The peer ended the connection: its close frame (with the code it gave, if any) or the end of
    /// the stream.
    Closed {
        /// Which connection.
        conn: ConnId,
        /// The code of the close frame; `None` without a close frame or without a code in it.
        code: Option<u16>,
    },
    /// The connection could not be made, or broke.
    Failed {
        /// Which connection.
        conn: ConnId,
        /// What went wrong.
        why: TransportFault,
    },
    /// Everything the machine asked to send on this connection so far has left for the network.
    Flushed {
        /// Which connection.
        conn: ConnId,
    },
    /// The answer to [`Action::WantIdentify`](crate::Action::WantIdentify): identify now.
    IdentifyGranted {
        /// The connection the permit is for.
        conn: ConnId,
    },
    /// The bot wants something sent.
    Command {
        /// The caller's number for it.
        id: CommandId,
        /// The checked payload.
        command: Command,
        /// What to do if the shard is not READY.
        if_not_ready: IfNotReady,
    },
    /// Say once all that the gateway has sent until now is handed over: answered with
    /// [`Action::CaughtUp`](crate::Action::CaughtUp). Forgotten if the connection ends before, and without one
    /// that is READY.
    CatchUp {
        /// Comes back with the answer. Only the last question is answered.
        mark: u64,
    },
    /// The consumer has handled all events up to and with this one.
    ///
    /// Of an older session it is ignored; ahead of what was received it is misuse.
    Acknowledged(EventId),
    /// The consumer's mailbox is full (`true`): nothing is read from the socket until it has room
    /// again (`false`).
    Congested(bool),
    /// End this shard.
    Stop(Stop),
    /// Time has passed. Early, late and doubled ticks are harmless.
    Tick {
        /// The wall clock, if the runtime has one: a jump ahead of the monotonic clock shows that
        /// the host slept.
        wall: Option<SystemTime>,
    },
}

/// What went wrong below the protocol, without any text of the peer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TransportFault {
    /// The name of the host could not be looked up.
    #[error("the host name could not be resolved")]
    NameLookup,
    /// The host refused the connection.
    #[error("the connection was refused")]
    Refused,
    /// The host or network cannot be reached.
    #[error("the network or host is unreachable")]
    Unreachable,
    /// Nothing answered in the time allowed.
    #[error("timed out")]
    TimedOut,
    /// The connection was reset or broke.
    #[error("the connection was reset")]
    Reset,
    /// The stream ended in the middle of a frame.
    #[error("the stream ended in the middle of a frame")]
    UnexpectedEnd,
    /// TLS failed: a certificate that does not fit, or a broken record.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The host answered the websocket upgrade with another HTTP status than 101.
    #[error("the host refused the websocket upgrade with HTTP {status}")]
    Upgrade {
        /// The HTTP status.
        status: u16,
        /// From `Retry-After`, when given: do not dial again earlier.
        retry_after: Option<Duration>,
    },
    /// The peer broke the websocket protocol (bad frame, text that is not UTF-8, …).
    #[error("the peer broke the websocket protocol: {0}")]
    Protocol(String),
    /// A frame or message was larger than the limit.
    #[error("a websocket message was larger than the limit")]
    TooLarge,
    /// The proxy does not forward. The host itself is not dialled then.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    /// Anything else, as the operating system calls it.
    #[error("{0}")]
    Other(String),
}
