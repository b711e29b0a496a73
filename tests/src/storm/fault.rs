//! What can go wrong in a storm, as data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scenario::{Effect, Ending, Listener, Step};
use crate::world::{DialFate, HostClock, Vanish, Way};

/// Whom something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum On {
    /// Every connection or session.
    All,
    /// That of the shard with this number; nobody's while there is none.
    Shard(u32),
}

/// One thing that goes wrong, or is asked for at an awkward time. Times are in milliseconds.
///
/// Each can be applied whatever the state of the world is: where there is nothing it could happen to,
/// nothing happens.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// The server plays effects of [scenarios](crate::scenario).
    Play {
        /// On whose connections.
        on: On,
        /// What.
        effects: Vec<Effect>,
    },
    /// The server waits for something to happen, and plays effects then.
    Step {
        /// On what, and what then.
        step: Step,
        /// Whether a connection is ended now, so that something happens.
        then_fin: Option<On>,
    },
    /// A close frame that stops a shard or the bot for good; a while later somebody starts it again.
    Fatal {
        /// Whose connection is closed.
        shard: u32,
        /// With which code.
        code: u16,
        /// After so long it is started again.
        down: u64,
    },
    /// Events come while a connection is down, all to be replayed.
    Backlog {
        /// Whose.
        on: On,
        /// How many.
        events: u64,
    },
    /// So many events, as fast as the line takes them.
    Flood {
        /// Whose.
        on: On,
        /// How many.
        events: u64,
    },
    /// What the client says to the old connection, its close frame too, arrives when the new one is up, and
    /// the server closes the old one late.
    LateClose {
        /// Whose.
        shard: u32,
        /// How late.
        late: u64,
        /// With which code.
        code: u16,
    },
    /// The hosts for resumes restart one after the other: each group of shards is told to reconnect, dropped
    /// later, and finds its host closed for a while.
    RollingRestart {
        /// How many hosts.
        hosts: u32,
        /// One such time after the other.
        every: u64,
        /// How long each is down.
        down: u64,
    },
    /// Nothing is there: lines are reset, dials and requests fail.
    Outage {
        /// For how long.
        lasts: u64,
    },
    /// READY names another address for resumes than there is: a dead one, or none at all.
    ResumeUrl {
        /// What it names; `"absent"`: it names none.
        url: Value,
        /// For how long.
        lasts: u64,
    },
    /// Discord allows another number of Identifies at once, and the bot re-shards, which tells it so.
    Width {
        /// How many.
        max_concurrency: u64,
        /// To how many shards.
        to: u32,
    },

    /// Nothing passes on a line.
    Stall {
        /// Whose.
        shard: u32,
        /// Which way.
        way: Way,
        /// For how long; none: for good.
        lasts: Option<u64>,
    },
    /// A line is reset on the way.
    Reset {
        /// Whose.
        shard: u32,
    },
    /// A line breaks after so many more bytes.
    Cut {
        /// Whose.
        shard: u32,
        /// Which way they go.
        way: Way,
        /// How many.
        after: u64,
        /// How it breaks.
        then: Ending,
    },
    /// Nothing reaches anybody.
    Partition {
        /// For how long.
        lasts: u64,
    },
    /// What dials meet.
    Dials {
        /// To which address; none: to any.
        to: Option<Listener>,
        /// What.
        fate: DialFate,
        /// For how long.
        lasts: u64,
    },
    /// REST requests find nobody.
    NoRest {
        /// For how long.
        lasts: u64,
    },
    /// The network is slow, and chance adds a tail to its delays.
    Slow {
        /// One way, at least.
        latency: u64,
        /// What chance adds, at most.
        jitter: u64,
        /// For how long.
        lasts: u64,
    },

    /// The bot's host sleeps.
    Sleep {
        /// What its clock does.
        clock: HostClock,
        /// For how long.
        lasts: u64,
    },
    /// The wall clock jumps.
    StepWall {
        /// How far.
        by: u64,
        /// Or back.
        forward: bool,
    },
    /// The consumer takes events slowly, or none.
    Consumer {
        /// One each so many milliseconds; none: it takes nothing.
        every: Option<u64>,
        /// For how long.
        lasts: u64,
        /// Whether the process crashes then, with what was not taken.
        then_crash: Option<Vanish>,
    },
    /// The process vanishes, and another takes its place.
    Crash {
        /// How.
        how: Vanish,
        /// So much later.
        down: u64,
        /// Whether the states of its shards were stored just before; else what was stored last is used.
        stored: bool,
    },
    /// The process stops and keeps its sessions, and another goes on with them.
    HandOver,
    /// What drives a shard ends as by a panic.
    Fell {
        /// Whose.
        shard: u32,
    },

    /// Shards run in another bot for a while; if some do already, they come home.
    Lend {
        /// Which, by number.
        shards: Vec<u32>,
        /// So much time lies between leaving the one and beginning in the other.
        pause: u64,
    },
    /// The bot gets another number of shards.
    ReShard {
        /// How many.
        to: u32,
    },
    /// The states of all shards are asked for.
    AskStates,
    /// The states of all shards are stored, for a crash to come.
    StoreStates,
    /// The presence is changed so many times in a row.
    Presence {
        /// How many times.
        times: u32,
    },
}

impl Fault {
    /// What kind it is, in a word or two, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Play { effects, .. } => effects.first().map_or("nothing", effect_kind),
            Self::Step { step, .. } if matches!(*step.effects, [Effect::Hello(_)]) => {
                "absurd Hello"
            }
            Self::Step { .. } => "slow or hung answer",
            Self::Fatal { .. } => "fatal close code",
            Self::Backlog { .. } => "backlog",
            Self::Flood { .. } => "flood",
            Self::LateClose { .. } => "late close",
            Self::RollingRestart { .. } => "rolling restart",
            Self::Outage { .. } => "outage",
            Self::ResumeUrl { .. } => "wrong address for resumes",
            Self::Width { .. } => "max_concurrency",
            Self::Stall { .. } => "stalled line",
            Self::Reset { .. } => "reset on the way",
            Self::Cut { .. } => "cut line",
            Self::Partition { .. } => "partition",
            Self::Dials { .. } => "failing dials",
            Self::NoRest { .. } => "no REST",
            Self::Slow { .. } => "slow network",
            Self::Sleep { .. } => "host sleep",
            Self::StepWall { .. } => "wall clock step",
            Self::Consumer { .. } => "slow consumer",
            Self::Crash { .. } => "crash",
            Self::HandOver => "hand-over",
            Self::Fell { .. } => "shard driver gone",
            Self::Lend { .. } => "lent shards",
            Self::ReShard { .. } => "re-shard",
            Self::AskStates | Self::StoreStates => "states asked",
            Self::Presence { .. } => "presence burst",
        }
    }

    /// Whether it takes the bot apart, so that it has to wait for others of its like.
    pub(super) fn is_structural(&self) -> bool {
        matches!(
            self,
            Self::Crash { .. }
                | Self::HandOver
                | Self::Lend { .. }
                | Self::ReShard { .. }
                | Self::Width { .. }
        )
    }
}

fn effect_kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Op1(_) => "op 1",
        Effect::Op7 => "op 7",
        Effect::Op9(body) if body == &Value::Bool(true) => "op 9 true",
        Effect::Op9(_) => "op 9 false",
        Effect::Hello(_) => "second Hello",
        Effect::Ack(_) => "stray op 11",
        Effect::WithholdAcks(_) => "op 11 withheld",
        Effect::Close(_) => "close code",
        Effect::Fin => "end of stream",
        Effect::Rst | Effect::Events(_) => "reset",
        Effect::Cut { .. } => "cut message",
        Effect::Damage { .. } => "damaged payload",
        Effect::Repeat(_) => "repeated dispatches",
        Effect::SkipSeq(_) => "skipped sequence",
        Effect::Split { .. } | Effect::Merge(_) => "split or merged messages",
        Effect::Listener { .. } => "closed listener",
        Effect::Silent | Effect::Deaf | Effect::Hang | Effect::Stall => "silent server",
        Effect::Invalidate | Effect::InvalidateAll => "session forgotten",
        Effect::Text(_) | Effect::Dispatch { .. } | Effect::Big { .. } => "odd payload",
        Effect::Rest(_) => "odd REST answer",
        _ => "other",
    }
}
