//! What is kept of a run for those who look at it afterwards: what each consumer got, and what each
//! connection went through, as the world saw it and not as the client tells it.

use std::collections::BTreeMap;
use std::time::Duration;

use shardwright_core::{
    Answer, CommandId, Event, EventId, FleetError, ShardId, ShardLimits, ShardState, Stop,
};

use super::BotId;
use super::mailbox::Overflow;
use crate::server::{ConnId, digest};

/// One event as a consumer took it.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Taken {
    /// When, since the world began.
    pub at: Duration,
    /// Of which of the bot's [lives](BotStory::lives); none if of the whole bot.
    pub life: Option<usize>,
    /// What.
    pub event: TakenEvent,
}

/// What a consumer took.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums)]
pub enum TakenEvent {
    /// An event from Discord.
    Dispatch {
        /// Which.
        id: EventId,
        /// Its name.
        name: String,
        /// Of its name and body, as the server counts it.
        digest: u64,
        /// Its body; empty unless bodies are kept.
        body: Vec<u8>,
    },
    /// Any other event.
    Notice(Event<'static>),
}

impl TakenEvent {
    pub(super) fn new(event: Event<'static>, keep_body: bool) -> Self {
        match event {
            Event::Dispatch(dispatch) => Self::Dispatch {
                id: dispatch.id(),
                name: dispatch.name().to_owned(),
                digest: digest(dispatch.name(), dispatch.data()),
                body: if keep_body {
                    dispatch.data().to_vec()
                } else {
                    Vec::new()
                },
            },
            other => Self::Notice(other),
        }
    }

    /// The dispatch's identity and name, if it is one.
    #[must_use]
    pub fn dispatch(&self) -> Option<(EventId, &str)> {
        match self {
            Self::Dispatch { id, name, .. } => Some((*id, name)),
            Self::Notice(_) => None,
        }
    }

    /// The event, if it is no dispatch.
    #[must_use]
    pub fn notice(&self) -> Option<&Event<'static>> {
        match self {
            Self::Notice(event) => Some(event),
            Self::Dispatch { .. } => None,
        }
    }
}

/// What one bot process lived through. A restart is another one.
#[derive(Debug, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct BotStory {
    /// When it began.
    pub began: Duration,
    /// Its shards, in the order in which they started. One that starts again has another life.
    pub lives: Vec<Life>,
    /// When its process vanished, if it did.
    pub crashed: Option<Duration>,
    /// Whether it was told to stop, and how.
    pub stop: Option<(Duration, Stop)>,
    /// What its consumer took, in order.
    pub taken: Vec<Taken>,
    /// Dispatches that a full mailbox dropped.
    pub dropped: Vec<(usize, EventId)>,
    /// What became of commands.
    pub answers: Vec<(CommandId, Answer)>,
    /// How changes to its shards went, and when that was known.
    pub done: BTreeMap<CommandId, (Duration, Result<(), FleetError>)>,
    /// States that were asked for, and when they were known.
    pub states: BTreeMap<CommandId, (Duration, Vec<ShardState>)>,
    /// When new layouts took over from old ones.
    pub swapped: Vec<Duration>,
    /// How many Identifies of other buckets Discord allowed at once, and since when that was known.
    pub max_concurrency: Vec<(Duration, u32)>,
    /// Whether turns to identify wait at a gate.
    pub gated: bool,
    /// How often it was asked.
    pub gate_asked: usize,
    /// When it opened, for which shard and connection.
    pub gate_opened: Vec<(Duration, ShardId, u32)>,
    /// Places the token turned up in where it should not.
    pub leaks: Vec<String>,
    /// What the machines called misuse.
    pub misuse: Vec<String>,
    /// Actions of machines that had said they were stopped.
    pub after_stop: Vec<String>,
    /// When its host slept.
    pub slept: Vec<Span>,
    /// When reading in which life paused for want of room.
    pub congested: Vec<(usize, Span)>,
    /// The most events that waited in one mailbox.
    pub most_mail: usize,
    /// What a mailbox may hold.
    pub mail_limit: usize,
    /// The most events one drain of a machine gave.
    pub most_drained: usize,
    /// The most memory one decoder held, in bytes.
    pub most_buffered: usize,
    /// How many events wait for the consumer now.
    pub waiting: usize,
    /// What a full mailbox means.
    pub overflow: Overflow,
    /// Whether events are filtered, so that some never come.
    pub filtered: bool,
    /// Whether resumes go to the configured host.
    pub stays_on_host: bool,
    /// The deadlines and sizes it was given.
    pub limits: ShardLimits,
}

/// One life of a shard in a bot process, from its start on.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Life {
    /// Which shard's.
    pub shard: ShardId,
    /// When it began.
    pub began: Duration,
    /// What it went on from.
    pub given: Option<ShardState>,
    /// It began beside an old layout, unheard.
    pub muted: bool,
    /// When it took over then.
    pub heard: Option<Duration>,
    /// How many messages it had read within [`Overlap::WINDOW`](shardwright_core::Overlap::WINDOW) before that.
    pub heard_lately: usize,
    /// When it was told to stop, and how.
    pub told: Option<(Duration, Stop)>,
    /// When what drove it was gone, as by a panic, and what it left.
    pub fell: Option<(Duration, ShardState)>,
    /// When it was known to be none of the bot's any more.
    pub let_go: Option<Duration>,
}

impl Life {
    /// The usual one.
    #[must_use]
    pub fn new(shard: ShardId, began: Duration, given: Option<ShardState>) -> Self {
        Self {
            shard,
            began,
            given,
            muted: false,
            heard: None,
            heard_lately: 0,
            told: None,
            fell: None,
            let_go: None,
        }
    }

    /// Whether nobody has ended it, and nothing.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.told.is_none() && self.fell.is_none() && self.let_go.is_none()
    }
}

/// From when to when; without an end it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Span {
    /// Its beginning.
    pub from: Duration,
    /// Its end.
    pub to: Option<Duration>,
}

impl Span {
    /// How much of it lies between two times.
    #[must_use]
    pub fn within(&self, from: Duration, to: Duration) -> Duration {
        let end = self.to.unwrap_or(to).min(to);
        end.saturating_sub(self.from.max(from))
    }
}

/// What one connection went through, from its dial on.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct LineStory {
    /// Its number at the server.
    pub id: ConnId,
    /// Whose it is.
    pub bot: BotId,
    /// Which shard's.
    pub shard: ShardId,
    /// In which of its bot's [lives](BotStory::lives).
    pub life: usize,
    /// The client's number of it.
    pub conn: u32,
    /// What was dialled.
    pub url: String,
    /// When.
    pub dialled: Duration,
    /// When the client heard of the upgrade.
    pub opened: Option<Duration>,
    /// When the client's end was gone.
    pub ended: Option<Duration>,
    /// What the client sent, in order.
    pub sent: Vec<Sent>,
    /// The client's own close frame.
    pub close: Option<(Duration, u16)>,
    /// The close frame the client got.
    pub closed: Option<(Duration, Option<u16>)>,
    /// When the server first put a whole message on it.
    pub said: Option<Duration>,
    /// When whole messages reached the client: the first, and the last so far.
    pub heard: Option<(Duration, Duration)>,
    /// From when to when what the server sends is long on its way, for want of bandwidth: the last time.
    pub slow: Option<Span>,
    /// The most bytes that waited to be read.
    pub most_unread: usize,
    /// The bytes of the largest message.
    pub largest: usize,
}

impl LineStory {
    /// A dial, of which nothing more is known yet.
    #[must_use]
    pub fn new(
        id: ConnId,
        bot: BotId,
        shard: ShardId,
        conn: u32,
        url: &str,
        dialled: Duration,
    ) -> Self {
        Self {
            id,
            bot,
            shard,
            life: 0,
            conn,
            url: url.to_owned(),
            dialled,
            opened: None,
            ended: None,
            sent: Vec::new(),
            close: None,
            closed: None,
            said: None,
            heard: None,
            slow: None,
            most_unread: 0,
            largest: 0,
        }
    }
}

/// One payload of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Sent {
    /// When it was written.
    pub at: Duration,
    /// When the server got it, if it did.
    pub arrived: Option<Duration>,
    /// Its opcode.
    pub op: u8,
}
