//! What a [`ShardMachine`](crate::ShardMachine) asks its runtime to do: its vocabulary of actions.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{CloseCode, CommandError, CommandId, ConnId, Event, OutgoingText};

/// One thing to do, from [`ShardMachine::poll`](crate::ShardMachine::poll). Carry it out, then
/// poll again until an [`Action::Wait`] ends the drain.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action<'m> {
    /// Open a websocket. Answer with [`Opened`](crate::Input::Opened) or
    /// [`Failed`](crate::Input::Failed).
    Connect {
        /// The number of the new connection.
        conn: ConnId,
        /// Where to, with the whole query.
        url: String,
        /// How long TCP, TLS and the upgrade may take together. The machine keeps this deadline
        /// itself and says [`Action::Abort`] when it has passed.
        time_allowed: Duration,
    },
    /// Send one text message. Answer with [`Flushed`](crate::Input::Flushed) once it is out; one
    /// answer may cover several messages.
    Send {
        /// On which connection.
        conn: ConnId,
        /// The payload. It may hold the token: print it only through its `Debug`.
        text: OutgoingText,
    },
    /// Send a close frame with exactly this code, and read on until the peer closes.
    Close {
        /// Which connection.
        conn: ConnId,
        /// 1000 only in a final stop.
        code: CloseCode,
        /// A few words for the peer.
        reason: &'static str,
    },
    /// Drop the connection now, without a close frame.
    Abort {
        /// Which connection.
        conn: ConnId,
    },
    /// Ask the fleet for permission to identify on this connection.
    WantIdentify {
        /// The connection that will identify.
        conn: ConnId,
    },
    /// The permission asked for is no longer wanted, or goes back unused.
    WithdrawIdentify {
        /// The connection it was for.
        conn: ConnId,
    },
    /// The Identify has left for the network: the fleet counts its five seconds from now.
    IdentifySent {
        /// On which connection.
        conn: ConnId,
    },
    /// The answer to [`Input::CatchUp`](crate::Input::CatchUp): everything that the gateway sent before it was
    /// asked has been emitted.
    CaughtUp {
        /// Of the question.
        mark: u64,
    },
    /// What became of a command.
    Answer {
        /// The caller's number for it.
        id: CommandId,
        /// Its fate so far.
        answer: Answer,
    },
    /// Hand this event to the consumer.
    Emit(Event<'m>),
    /// Nothing more to do for now: ends the drain.
    Wait(Wait),
}

/// What became of a command: `Accepted` may be followed by one more answer, the others are last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// Queued; another answer follows.
    Accepted,
    /// It has left for the network.
    Sent,
    /// It was not sent and will not be.
    Refused(CommandError),
}

/// What the machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Anything that happens, and a [`Tick`](crate::Input::Tick) no later than this.
    Until(Instant),
    /// No deadline: one named thing must happen first.
    For(WaitFor),
    /// The end. Nothing more will come of this machine.
    Stopped,
}

/// What a machine without a deadline waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitFor {
    /// [`Input::Start`](crate::Input::Start).
    Start,
    /// Room in the consumer's mailbox: [`Input::Congested`](crate::Input::Congested)`(false)`.
    Consumer,
    /// The fleet: a report, a command or a stop.
    Shards,
}

/// The caller broke the machine's contract. It follows from the caller's own calls alone, never
/// from the network, and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// `handle` was called before the last drain ended in a `Wait`.
    #[error("actions are left to carry out: poll until Wait before the next input")]
    OutputPending,
    /// A second `Start`.
    #[error("the machine was started before: start it once")]
    AlreadyStarted,
    /// An acknowledgement of something that was never handed out.
    #[error(
        "sequence {seq} was acknowledged but only {received} was received: acknowledge events you were given"
    )]
    AckAhead {
        /// The sequence that was acknowledged.
        seq: u64,
        /// The highest sequence received.
        received: u64,
    },
}
