//! What the fleet, its shards and its runtime say to each other: plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ABSURD_TOTAL;
use crate::{
    Action, Answer, ApiBase, Command, CommandId, Compression, ConnId, Event, EventFilter,
    FetchFault, GatewayInfo, GatewayRequest, GatewayUrl, GuildId, GuildMembers,
    GuildMembersRequest, IfNotReady, Input, Intents, RequestMembersError, ShardConfig, ShardFilter,
    ShardId, ShardLimits, ShardState, StatusUpdate, Stop, StopReason, Token, Wait,
};

/// Which shards a bot runs here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShardPlan {
    /// As many as Discord recommends, all of them.
    #[default]
    Recommended,
    /// All of this many.
    Total(u32),
    /// Only these numbers. An empty list is legal: a fleet lives until it is told to stop.
    Ids {
        /// The numbers.
        ids: Vec<u32>,
        /// Of how many; what Discord recommends if `None`.
        total: Option<u32>,
    },
    /// Exactly these shards, of whatever totals. An empty list is legal here too.
    Exactly(Vec<ShardId>),
}

/// What happens when Discord demands more shards (close code 4011).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum ReShardPolicy {
    /// The bot says so ([`Event::ReShard`]) and ends, its sessions kept. Whoever coordinates several
    /// processes decides.
    Report,
    /// All shards stop, then the new ones start, as fast as they may identify. The bot is offline
    /// meanwhile.
    StopThenStart,
    /// The new shards start beside the old ones, unheard. They take over when all are READY, their guilds are
    /// loaded, and the old ones have delivered what came before that, however slow the consumer is. No
    /// event is missed as long as Discord sends it to both within 3 s, and one comes twice only if its body
    /// differs. If that fails, or takes ten minutes, the old ones just go on.
    ///
    /// What the old ones have delivered comes before anything of the new ones. Until all of it is handled the new
    /// sessions go on from where they began, should they be resumed: a process that crashes before that has lost
    /// what of it came earlier, and the rest comes again, as it does after a hand-over, or when a driver is lost.
    StartThenSwap,
}

/// A shard of a bot with a gate of its own ([`FleetAction::AskGate`]) whose turn it is to identify.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateRequest {
    /// Which shard.
    pub shard: ShardId,
    /// On which of its connections; a turn ends with its connection.
    pub conn: ConnId,
    /// The shard's bucket: those of different buckets may identify at the same time.
    pub bucket: u32,
    /// The bot's label.
    pub label: String,
}

/// How many session starts an earlier run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct KnownStarts {
    /// How many were left, at most.
    pub remaining: u32,
    /// When all are there again, from now on.
    pub reset_after: Duration,
}

/// Why a change to the set of shards was refused, or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The gateway's address is not known yet.
    #[error("the bot is not connected yet; wait for the first event")]
    NotStarted,
    /// The bot has stopped.
    #[error("the bot has stopped; connect a new one")]
    Stopped,
    /// A shard that runs here already, or is named twice.
    #[error("shard {shard} is here already; remove it first")]
    AlreadyHere {
        /// Which.
        shard: ShardId,
    },
    /// A re-shard is under way.
    #[error("a re-shard is under way; wait until it is over")]
    ReSharding,
    /// No bot has so many shards, or so few.
    #[error("{total} shards are not possible; give a total from 1 to {ABSURD_TOTAL}")]
    BadTotal {
        /// How many were asked for.
        total: u32,
    },
    /// It runs with this total already.
    #[error("there are {total} shards already; give another total")]
    SameTotal {
        /// How many.
        total: u32,
    },
    /// Only some of the bot's shards run here.
    #[error("only some of the bot's shards run here; add and remove shards where all are known")]
    NotAllHere,
    /// Too few session starts are left today.
    #[error("{total} shards need {total} session starts and {left} are left; try again in {} s",
        reset_after.as_secs())]
    NotEnoughStarts {
        /// How many shards were to start.
        total: u32,
        /// How many starts there are.
        left: u32,
        /// When there are all again.
        reset_after: Duration,
    },
    /// The gateway could not be asked.
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    /// A shard of the new layout was refused for good.
    #[error("shard {shard} of the new layout ended: {why}; the old layout goes on")]
    ShardFailed {
        /// Which.
        shard: ShardId,
        /// Why.
        why: StopReason,
    },
    /// The new layout was not up in time.
    #[error("the new layout was not up in time; the old layout goes on")]
    TimedOut,
}

/// What every shard of a bot has in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardTemplate {
    /// Which events Discord sends.
    pub intents: Intents,
    /// How the gateway compresses what it sends.
    pub compression: Compression,
    /// The presence of new sessions.
    pub presence: Option<StatusUpdate>,
    /// See [`ShardConfig::large_threshold`].
    pub large_threshold: Option<u8>,
    /// See [`ShardConfig::capabilities`].
    pub capabilities: Option<u64>,
    /// See [`ShardConfig::stay_on_host`].
    pub stay_on_host: bool,
    /// Which events are handed over.
    pub filter: EventFilter,
    /// See [`ShardConfig::track_guilds`].
    pub track_guilds: bool,
    /// Deadlines, sizes and delays.
    pub limits: ShardLimits,
}

impl ShardTemplate {
    /// The configuration of one shard.
    #[must_use]
    pub fn config(&self, shard: ShardId, token: Token, url: GatewayUrl) -> ShardConfig {
        let mut config = ShardConfig::new(shard, token, self.intents, url);
        config.compression = self.compression;
        config.presence = self.presence.clone();
        config.large_threshold = self.large_threshold;
        config.capabilities = self.capabilities;
        config.stay_on_host = self.stay_on_host;
        config.filter = self.filter.clone();
        config.track_guilds = self.track_guilds;
        config.limits = self.limits.clone();
        config
    }
}

/// How a bot is configured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FleetConfig {
    /// Discord's REST API.
    pub api: ApiBase,
    /// The bot's token. Serde leaves it out.
    #[serde(skip, default = "Token::masked")]
    pub token: Token,
    /// Which shards run here.
    pub plan: ShardPlan,
    /// What they have in common.
    pub template: ShardTemplate,
    /// Sessions to resume; those of shards that are not planned are left alone.
    pub states: Vec<ShardState>,
    /// How often the gateway's address is asked for before giving up; `None`: without end.
    pub tries: Option<u32>,
    /// What is known of the gateway already: it is not asked then.
    pub gateway: Option<GatewayInfo>,
    /// What happens on a demand for more shards.
    pub re_shard: ReShardPolicy,
    /// Turns to identify wait at a gate of the user's own as well ([`FleetAction::AskGate`]).
    pub gated: bool,
    /// The bot's name for its gate.
    pub label: String,
    /// How many session starts an earlier run left, if it is known.
    pub known_starts: Option<KnownStarts>,
    /// The last run did not end in order: a tenth of the session starts is kept back until the reset, so
    /// that a crash loop cannot spend them all.
    pub careful: bool,
}

impl FleetConfig {
    /// The defaults: Discord itself, all shards that it recommends.
    #[must_use]
    pub fn new(token: Token, intents: Intents) -> Self {
        Self {
            api: ApiBase::default(),
            token,
            plan: ShardPlan::default(),
            template: ShardTemplate {
                intents,
                compression: Compression::default(),
                presence: None,
                large_threshold: None,
                capabilities: None,
                stay_on_host: false,
                filter: EventFilter::default(),
                track_guilds: false,
                limits: ShardLimits::default(),
            },
            states: Vec::new(),
            tries: None,
            gateway: None,
            re_shard: ReShardPolicy::StopThenStart,
            gated: false,
            label: String::new(),
            known_starts: None,
            careful: false,
        }
    }
}

/// Which shards a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Shards {
    /// Every shard here.
    All,
    /// Those with these numbers.
    Only(Vec<u32>),
    /// The one that serves this guild.
    Guild(GuildId),
}

/// Something that happened, told to the fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FleetInput {
    /// Begin.
    Start,
    /// The answer to [`FleetAction::Fetch`].
    Fetched(Result<GatewayInfo, FetchFault>),
    /// A shard reports.
    Report {
        /// Which.
        shard: ShardId,
        /// What.
        report: ShardReport,
    },
    /// The bot wants something sent.
    Command {
        /// The caller's number for it.
        id: CommandId,
        /// Which shards.
        to: Shards,
        /// The checked payload.
        command: Command,
        /// What to do on a shard that is not READY.
        if_not_ready: IfNotReady,
    },
    /// The bot wants members of a guild, and the whole answer in one piece.
    CollectMembers {
        /// The caller's number for it.
        id: CommandId,
        /// What is asked for.
        request: GuildMembersRequest,
    },
    /// The bot wants to know the states of its shards.
    AskForStates {
        /// The caller's number for it.
        id: CommandId,
        /// Of which shards.
        filter: ShardFilter,
    },
    /// The bot wants these shards to run here too: those with a session resume it. One that was here before and has
    /// not ended starts when it has.
    AddShards {
        /// The caller's number for it.
        id: CommandId,
        /// What they go on from.
        states: Vec<ShardState>,
    },
    /// The bot no longer wants these shards to run here. A fleet that has not started, or is about to end,
    /// lets none go: of each shard one tells, this answer or [`Event::Stopped`].
    RemoveShards {
        /// The caller's number for it.
        id: CommandId,
        /// Which.
        filter: ShardFilter,
    },
    /// The bot wants another number of shards.
    ReShard {
        /// The caller's number for it.
        id: CommandId,
        /// How many; what Discord recommends if `None`.
        to: Option<u32>,
    },
    /// The user's gate lets a shard identify.
    GateOpened {
        /// Which.
        shard: ShardId,
        /// On this connection.
        conn: ConnId,
    },
    /// The user's gate has failed, as by a panic.
    GateFailed {
        /// For which shard.
        shard: ShardId,
        /// On this connection.
        conn: ConnId,
    },
    /// End the bot.
    Stop(Stop),
    /// Time has passed.
    Tick,
}

/// The rare things a shard tells the fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShardReport {
    /// It asks for its turn to identify.
    WantIdentify {
        /// On this connection.
        conn: ConnId,
    },
    /// It gives its turn back.
    WithdrawIdentify {
        /// On this connection.
        conn: ConnId,
    },
    /// Its Identify has left.
    IdentifySent {
        /// On this connection.
        conn: ConnId,
    },
    /// The answer to [`ToShard::CatchUp`].
    CaughtUp {
        /// Of the question.
        mark: u64,
    },
    /// READY or RESUMED.
    Up,
    /// It lost a connection, or could not make one.
    Down,
    /// Its guilds are loaded, or will not be.
    Loaded,
    /// What became of a command.
    Answer {
        /// The caller's number.
        id: CommandId,
        /// Its fate.
        answer: Answer,
    },
    /// It has ended. To be reported even if the fleet has given it up long ago: another of its name waits for that.
    Stopped {
        /// Why.
        why: StopReason,
        /// Its final state.
        state: ShardState,
    },
    /// The answer to [`ToShard::CollectMembers`]. A runtime says so itself; no action does.
    Members {
        /// The caller's number.
        id: CommandId,
        /// All of it, or why not.
        result: Result<GuildMembers, RequestMembersError>,
    },
    /// The answer to [`ToShard::ReportState`]. A runtime says so itself; no action does.
    State {
        /// What its next life would go on from.
        state: ShardState,
    },
    /// What drove it has ended, as by a panic. A runtime says so itself; no action does.
    Vanished {
        /// The state it can be started again with.
        state: ShardState,
    },
}

impl ShardReport {
    /// What the fleet has to know of a shard's action, if anything.
    #[must_use]
    #[inline]
    pub fn from_action(action: &Action<'_>) -> Option<Self> {
        match action {
            Action::Emit(Event::Dispatch(_)) | Action::Wait(_) => None,
            action => Self::from_rare(action),
        }
    }

    fn from_rare(action: &Action<'_>) -> Option<Self> {
        Some(match action {
            Action::WantIdentify { conn } => Self::WantIdentify { conn: *conn },
            Action::WithdrawIdentify { conn } => Self::WithdrawIdentify { conn: *conn },
            Action::IdentifySent { conn } => Self::IdentifySent { conn: *conn },
            Action::CaughtUp { mark } => Self::CaughtUp { mark: *mark },
            Action::Answer { id, answer } => Self::Answer {
                id: *id,
                answer: answer.clone(),
            },
            Action::Emit(Event::Ready { .. } | Event::Resumed { .. }) => Self::Up,
            Action::Emit(Event::Disconnected { .. }) => Self::Down,
            Action::Emit(Event::GuildsLoaded { .. }) => Self::Loaded,
            Action::Emit(Event::ShardStopped { why, state, .. }) => Self::Stopped {
                why: why.clone(),
                state: (**state).clone(),
            },
            _ => return None,
        })
    }
}

/// What the fleet tells a shard.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ToShard {
    /// Its turn to identify.
    IdentifyGranted {
        /// On this connection.
        conn: ConnId,
    },
    /// Send this.
    Command {
        /// The caller's number for it.
        id: CommandId,
        /// The checked payload.
        command: Command,
        /// What to do if it is not READY.
        if_not_ready: IfNotReady,
    },
    /// Say once all that its gateway has sent until now is in the consumer's mailbox. A runtime that keeps
    /// events elsewhere in between puts them there before it reports the answer.
    CatchUp {
        /// Comes back with the answer.
        mark: u64,
    },
    /// Gather these members: for the [`MemberCollector`](crate::MemberCollector) beside its machine.
    CollectMembers {
        /// The caller's number for it.
        id: CommandId,
        /// What is asked for.
        request: GuildMembersRequest,
    },
    /// Say what its next life would go on from, once its machine knows what the consumer has handled.
    ReportState,
    /// End.
    Stop(Stop),
}

impl ToShard {
    /// The input for the shard's machine; `None` for what its runtime answers.
    #[must_use]
    pub fn into_input(self) -> Option<Input> {
        Some(match self {
            Self::IdentifyGranted { conn } => Input::IdentifyGranted { conn },
            Self::Command {
                id,
                command,
                if_not_ready,
            } => Input::Command {
                id,
                command,
                if_not_ready,
            },
            Self::CatchUp { mark } => Input::CatchUp { mark },
            Self::CollectMembers { .. } | Self::ReportState => return None,
            Self::Stop(how) => Input::Stop(how),
        })
    }
}

/// A shard to bring to life: make its [`ShardMachine`](crate::ShardMachine) and tell it `Start`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShardStart {
    /// Its configuration.
    pub config: ShardConfig,
    /// The session to resume.
    pub state: Option<ShardState>,
    /// The seed of its random delays.
    pub seed: u64,
    /// Its dispatches are kept back until [`FleetAction::Swap`].
    pub muted: bool,
}

/// One thing to do for the fleet.
#[derive(Debug)]
#[non_exhaustive]
pub enum FleetAction {
    /// Perform this request; answer with [`FleetInput::Fetched`].
    Fetch(GatewayRequest),
    /// Bring a shard to life.
    StartShard(Box<ShardStart>),
    /// Carry a message to a shard.
    Tell {
        /// Which.
        shard: ShardId,
        /// What.
        message: ToShard,
    },
    /// What became of a command.
    Answer {
        /// The caller's number for it.
        id: CommandId,
        /// Its fate so far.
        answer: Answer,
    },
    /// The answer to [`FleetInput::CollectMembers`]: exactly one.
    Members {
        /// The caller's number for it.
        id: CommandId,
        /// All of it, or why not.
        result: Result<GuildMembers, RequestMembersError>,
    },
    /// Ask the user's gate. Answer with [`FleetInput::GateOpened`], unless the next one comes first.
    AskGate(GateRequest),
    /// The turn is void: do not ask the gate any longer.
    LeaveGate {
        /// Which shard's.
        shard: ShardId,
        /// On which connection.
        conn: ConnId,
    },
    /// From now on remember what is delivered, for [`FleetAction::Swap`].
    PrepareSwap,
    /// Shards that were muted take over from those that were not.
    Swap,
    /// There will be no swap.
    AbandonSwap,
    /// How a change to the set of shards went.
    Done {
        /// The caller's number for it.
        id: CommandId,
        /// How.
        result: Result<(), FleetError>,
    },
    /// The answer to [`FleetInput::AskForStates`] and [`FleetInput::RemoveShards`].
    States {
        /// The caller's number for it.
        id: CommandId,
        /// The states asked for, or those of the shards that are gone, by shard.
        states: Vec<ShardState>,
    },
    /// Hand this event to the consumer.
    Emit(Event<'static>),
    /// Nothing more to do for now: ends the drain.
    Wait(Wait),
}
