//! One shard, and everything that may happen to it.
//!
//! [`Shard`] is the machine and its world: a clock, the connections so far, what the gateway and the
//! consumer would say next. What it may be told is a [`Letter`]. A [`Checker`] follows.

mod checker;
mod did;
mod heard;
mod server;
mod subject;
#[cfg(test)]
mod tests;

pub use checker::{Checker, Step};
pub use did::Did;
pub use heard::{Heard, Payload};
pub use subject::Shard;

use shardwright_core::{Phase, Stop};

/// One thing that may happen to a shard. What the network says comes on the last connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Letter {
    /// The runtime starts it.
    Start,
    /// The websocket is open.
    Opened,
    /// A Hello with the usual interval.
    Hello,
    /// A Hello that asks for a beat every 3 ms.
    AbsurdHello,
    /// Op 1.
    BeatRequest,
    /// Op 7.
    Reconnect,
    /// Op 9 with `true`, `false` or `null`.
    InvalidSession(Option<bool>),
    /// Op 11.
    BeatAck,
    /// READY of a new session.
    Ready,
    /// The READY of the running session once more.
    ReadyAgain,
    /// RESUMED with the next sequence number.
    Resumed,
    /// RESUMED with the number of the last event.
    ResumedAgain,
    /// The next event.
    Next,
    /// The last event once more.
    Duplicate,
    /// The event after the next.
    Gap,
    /// An event without a number.
    Unnumbered,
    /// Text that is no payload.
    Garbage,
    /// A message of no bytes.
    Empty,
    /// The peer closes, with this code or without any.
    Closed(Option<u16>),
    /// The dial fails or the line breaks.
    Failed,
    /// All that was to be sent has left.
    Flushed,
    /// The fleet's permission to identify.
    IdentifyGranted,
    /// A typed command that may wait.
    Queue,
    /// A raw command that may not.
    Fail,
    /// Has all arrived that was sent by now?
    CatchUp,
    /// The consumer has handled the last event.
    Acknowledged,
    /// The consumer has no room, or has again.
    Congested(bool),
    /// The end.
    Stop(Stop),
    /// A tick at the deadline.
    TickDue,
    /// A tick halfway to the deadline.
    TickEarly,
    /// A tick two hours after the deadline; the wall clock says that it was three more.
    TickLate,
}

impl Letter {
    /// All of them. The codes are one of each kind: none, of the websocket, to resume, to identify, for the
    /// shard, for the bot, for more shards.
    pub const ALL: [Self; 42] = [
        Self::Start,
        Self::Opened,
        Self::Hello,
        Self::AbsurdHello,
        Self::BeatRequest,
        Self::Reconnect,
        Self::InvalidSession(Some(true)),
        Self::InvalidSession(Some(false)),
        Self::InvalidSession(None),
        Self::BeatAck,
        Self::Ready,
        Self::ReadyAgain,
        Self::Resumed,
        Self::ResumedAgain,
        Self::Next,
        Self::Duplicate,
        Self::Gap,
        Self::Unnumbered,
        Self::Garbage,
        Self::Empty,
        Self::Closed(None),
        Self::Closed(Some(1000)),
        Self::Closed(Some(1001)),
        Self::Closed(Some(4000)),
        Self::Closed(Some(4004)),
        Self::Closed(Some(4007)),
        Self::Closed(Some(4009)),
        Self::Closed(Some(4010)),
        Self::Closed(Some(4011)),
        Self::Closed(Some(4014)),
        Self::Failed,
        Self::Flushed,
        Self::IdentifyGranted,
        Self::Queue,
        Self::Fail,
        Self::CatchUp,
        Self::Acknowledged,
        Self::Congested(true),
        Self::Congested(false),
        Self::Stop(Stop::Keep),
        Self::Stop(Stop::Final),
        Self::TickDue,
    ];
    /// The ticks that are not on time.
    pub const MORE_TICKS: [Self; 2] = [Self::TickEarly, Self::TickLate];

    /// What the network says; it can be said of a connection that is over, too.
    #[must_use]
    pub fn is_of_the_network(self) -> bool {
        !matches!(
            self,
            Self::Start
                | Self::Queue
                | Self::Fail
                | Self::CatchUp
                | Self::Acknowledged
                | Self::Congested(_)
                | Self::Stop(_)
                | Self::TickDue
                | Self::TickEarly
                | Self::TickLate
        )
    }
}

use Letter::{
    Acknowledged, CatchUp, Closed, Congested, Flushed, Hello, IdentifyGranted, Opened, Ready,
    Resumed, Start, TickDue,
};

/// The ways to begin: to each state of the machine, and to a session that goes on, to a second one, and to
/// a connection that was never acknowledged anything.
#[must_use]
pub fn stories() -> Vec<(&'static str, Phase, Vec<Letter>)> {
    let to_permit = [Start, Opened, Hello];
    let to_live = [Start, Opened, Hello, IdentifyGranted, Flushed, Ready];
    let then = |first: &[Letter], more: &[Letter]| [first, more].concat();
    let lost = then(&to_live, &[Letter::Next, Acknowledged, Closed(None)]);
    let resuming = then(&lost, &[TickDue, Opened, Hello]);
    let invalid = then(
        &to_live,
        &[Letter::InvalidSession(Some(false)), Closed(Some(4000))],
    );
    vec![
        ("idle", Phase::Idle, vec![]),
        ("connecting", Phase::Connecting, vec![Start]),
        ("awaiting hello", Phase::AwaitingHello, vec![Start, Opened]),
        ("awaiting permit", Phase::AwaitingPermit, to_permit.to_vec()),
        (
            "identifying",
            Phase::Identifying,
            then(&to_permit, &[IdentifyGranted]),
        ),
        ("live", Phase::Live, to_live.to_vec()),
        ("backoff", Phase::Backoff, lost.clone()),
        ("resuming", Phase::Resuming, resuming.clone()),
        (
            "live again",
            Phase::Live,
            then(&resuming, &[Flushed, Letter::Next, Resumed]),
        ),
        (
            "closing",
            Phase::Closing,
            then(&to_live, &[Letter::Queue, Letter::Reconnect]),
        ),
        (
            "parked",
            Phase::Parked,
            then(&to_live, &[Congested(true), Closed(None), TickDue]),
        ),
        (
            "a second session",
            Phase::Live,
            then(
                &invalid,
                &[TickDue, Opened, Hello, IdentifyGranted, Flushed, Ready],
            ),
        ),
        (
            "never acknowledged",
            Phase::Live,
            then(&to_live, &[TickDue]),
        ),
        (
            "asked whether all has arrived",
            Phase::Live,
            // The answers to two beats are late, behind events that keep the link alive.
            then(
                &to_live,
                &[
                    TickDue,
                    Letter::Next,
                    TickDue,
                    Letter::Next,
                    Letter::TickEarly,
                    CatchUp,
                ],
            ),
        ),
        (
            "stopped",
            Phase::Stopped,
            then(&to_live, &[Letter::Stop(Stop::Keep), Closed(Some(4000))]),
        ),
    ]
}
