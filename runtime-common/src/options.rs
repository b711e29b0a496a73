//! How a bot is connected.

use std::fmt;
use std::sync::Arc;

use shardwright_core::{
    ApiBase, Compression, EventFilter, FetchFault, FleetConfig, Intents, KnownStarts, ProxyRules,
    ReShardPolicy, ShardLimits, ShardPlan, ShardState, StatusUpdate, Token,
};

use crate::rush::Gate;
use crate::{
    Acknowledge, IdentifyGate, InPlace, Network, Overflow, SessionStore, StoreError, TlsError,
    TlsOptions, TraceFile, TraceFileError,
};

/// Everything about a bot but its token. The defaults are right for most.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Which events Discord sends.
    pub intents: Intents,
    /// Discord's REST API; another base for an emulator.
    pub api: ApiBase,
    /// Which shards run here: as many as Discord recommends.
    pub shards: ShardPlan,
    /// How the gateway compresses: zlib-stream.
    pub compression: Compression,
    /// The presence of new sessions.
    pub presence: Option<StatusUpdate>,
    /// Which events are handed over: all.
    pub filter: EventFilter,
    /// Sessions of an earlier run to resume.
    pub states: Vec<ShardState>,
    /// Resume on the configured host even when READY names another.
    pub stay_on_host: bool,
    /// Deadlines, sizes and delays.
    pub limits: ShardLimits,
    /// What happens when events are not taken fast enough: reading pauses, and nothing is lost.
    pub overflow: Overflow,
    /// Handlers that get the events of shards on the spot, in place of the stream: none.
    pub in_place: Option<InPlace>,
    /// When a dispatch counts as handled: when the next event is asked for.
    pub acknowledge: Acknowledge,
    /// How many events wait for the consumer, a shard: 4,096.
    pub mailbox_events: usize,
    /// How many bytes of them, a shard: 16 MiB. Once 64 MiB wait on all shards together, each is paused that has
    /// brought anything, until half of it all is taken, or all that is its own.
    pub mailbox_bytes: usize,
    /// Whom connections trust: Mozilla's roots.
    pub tls: TlsOptions,
    /// Through which proxy the API and the gateway are reached: none. A host that has one is never dialled
    /// directly.
    pub proxy: ProxyRules,
    /// How often the gateway's address is asked for before giving up: without end.
    pub start_tries: Option<u32>,
    /// What happens when Discord demands more shards: a bot that runs them all stops them and starts as
    /// many as it should, others end and say so.
    pub re_shard: ReShardPolicy,
    /// Who else decides when a shard may identify: nobody.
    pub identify_when: Option<IdentifyGate>,
    /// The bot's name for its gate.
    pub label: String,
    /// Where the states of the shards are stored, so that a run goes on where the last one ended or died:
    /// nowhere.
    pub store: Option<Arc<dyn SessionStore>>,
    /// How many session starts an earlier run left.
    pub known_starts: Option<KnownStarts>,
    /// Keep a tenth of the session starts back until Discord grants new ones: for a run after one that
    /// did not end in order.
    pub careful: bool,
    /// Where everything that the bot's machines are told and do is recorded: nowhere.
    pub record: Option<TraceFile>,
    /// The seed of every random delay: a new one each time.
    pub seed: Option<u64>,
}

impl Options {
    /// The defaults for these intents.
    #[must_use]
    pub fn new(intents: Intents) -> Self {
        Self {
            intents,
            api: ApiBase::default(),
            shards: ShardPlan::default(),
            compression: Compression::default(),
            presence: None,
            filter: EventFilter::default(),
            states: Vec::new(),
            stay_on_host: false,
            limits: ShardLimits::default(),
            overflow: Overflow::Pause,
            in_place: None,
            acknowledge: Acknowledge::OnNext,
            mailbox_events: 4096,
            mailbox_bytes: 16 * 1024 * 1024,
            tls: TlsOptions::default(),
            proxy: ProxyRules::default(),
            start_tries: None,
            re_shard: ReShardPolicy::StopThenStart,
            identify_when: None,
            label: String::new(),
            store: None,
            known_starts: None,
            careful: false,
            record: None,
            seed: None,
        }
    }

    /// How connections are made.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(crate) fn network(&self) -> Result<Network, TlsError> {
        Ok(Network {
            tls: self.tls.client_config()?,
            proxy: Arc::new(self.proxy.clone()),
            gate: Gate::default(),
        })
    }

    /// The configuration of the fleet.
    #[must_use]
    pub fn fleet(&self, token: Token) -> FleetConfig {
        let mut config = FleetConfig::new(token, self.intents);
        config.api = self.api.clone();
        config.plan = self.shards.clone();
        config.states = self.states.clone();
        config.tries = self.start_tries;
        config.re_shard = self.re_shard;
        config.gated = self.identify_when.is_some();
        config.label = self.label.clone();
        config.known_starts = self.known_starts;
        config.careful = self.careful;
        config.template.compression = self.compression;
        config.template.presence = self.presence.clone();
        config.template.filter = self.filter.clone();
        config.template.stay_on_host = self.stay_on_host;
        config.template.limits = self.limits.clone();
        config
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("intents", &self.intents)
            .field("api", &self.api)
            .field("shards", &self.shards)
            .field("compression", &self.compression)
            .field("states", &self.states.len())
            .finish_non_exhaustive()
    }
}

/// Why a bot could not be started.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The gateway's address could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The stored run could not be read.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// It cannot be recorded.
    #[error(transparent)]
    Trace(#[from] TraceFileError),
    /// The bot was stopped before it was connected.
    #[error("the bot was stopped before it was connected")]
    Stopped,
}
