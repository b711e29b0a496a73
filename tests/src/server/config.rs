//! What the emulated gateway is like: limits, sizes, addresses.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

/// Which bot tokens are good.
#[derive(Clone, Default)]
#[allow(clippy::exhaustive_enums)]
pub enum Tokens {
    /// Every non-empty one.
    #[default]
    Any,
    /// Only these.
    These(BTreeSet<String>),
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::These(tokens) => write!(f, "These({} tokens)", tokens.len()),
        }
    }
}

impl Tokens {
    /// Whether this token, with or without `Bot ` before it, is good.
    #[must_use]
    pub fn accept(&self, token: &str) -> bool {
        let token = token.strip_prefix("Bot ").unwrap_or(token);
        match self {
            Self::Any => !token.is_empty(),
            Self::These(tokens) => tokens.contains(token),
        }
    }
}

/// How an emulated gateway is set up. Start from [`ServerConfig::default`] and change fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The shard count `/gateway/bot` recommends.
    pub shards: u64,
    /// Identifies per window.
    pub total: u64,
    /// Identifies left in the running window.
    pub remaining: u64,
    /// Until the running window ends; later windows last [`ServerConfig::window`].
    pub reset_after: Duration,
    /// The length of an identify window.
    pub window: Duration,
    /// Identifies allowed per [`ServerConfig::identify_pause`], one a bucket.
    pub max_concurrency: u64,
    /// The least time between two Identifies of one bucket.
    pub identify_pause: Duration,
    /// Time between beats, as Hello tells it.
    pub heartbeat_interval: Duration,
    /// After so many intervals without a beat the connection is closed.
    pub heartbeat_patience: f64,
    /// Which tokens are good.
    pub tokens: Tokens,
    /// The intents that are granted; others end in 4014.
    pub allowed_intents: u64,
    /// Shard totals must be a multiple of this, else 4010.
    pub shard_multiple: u64,
    /// Guilds the bot is in; more than 2500 a shard end in 4011.
    pub total_guilds: Option<u64>,
    /// Guilds in each READY.
    pub guilds_per_shard: u64,
    /// Members of each guild.
    pub members_per_guild: u64,
    /// Members in one GUILD_MEMBERS_CHUNK.
    pub members_per_chunk: u64,
    /// How long a guild's whole member list may not be asked for again.
    pub whole_list_pause: Duration,
    /// Bytes READY is filled up with.
    pub ready_filler: usize,
    /// Bytes each GUILD_CREATE is filled up with.
    pub guild_filler: usize,
    /// Whether GUILD_CREATE follows READY (it also needs the intent GUILDS).
    pub send_guilds: bool,
    /// How long a session without a connection lives.
    pub session_ttl: Duration,
    /// How many dispatches a session keeps for a replay.
    pub replay_events: usize,
    /// How many bytes of dispatches a session keeps for a replay.
    pub replay_bytes: usize,
    /// Events per second and shard.
    pub rate: f64,
    /// The websocket address for new sessions, without a query.
    pub main_url: String,
    /// The websocket address for resumes, without a query.
    pub resume_url: String,
    /// What READY names in place of [`ServerConfig::resume_url`]; `"absent"` leaves it out.
    pub ready_resume_url: Option<Value>,
    /// Refuse (400) every upgrade but `v=10`, `encoding=json` and a known `compress`, each at most
    /// once.
    pub strict_query: bool,
    /// Refuse to resume a session over a query unlike the one that made it.
    pub resume_same_query: bool,
    /// Close (4003) on commands before READY or RESUMED.
    pub strict_order: bool,
    /// How long a resumed connection on the main address lives.
    pub resume_on_main_lives: Option<Duration>,
    /// Effort of compression, 1 to 9.
    pub compression_level: u32,
    /// Wait for [`Input::Flushed`](super::Input::Flushed) once [`ServerConfig::send_window`] bytes
    /// are under way on a connection.
    pub flow_control: bool,
    /// How many bytes may be under way on a connection.
    pub send_window: usize,
    /// How many log entries are kept; the older half is dropped when there are more.
    pub log_limit: usize,
    /// Whether each dispatch a session is given is logged, with a digest of its content.
    pub log_dispatches: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            total: 1000,
            remaining: 1000,
            reset_after: Duration::from_secs(86_400),
            window: Duration::from_secs(86_400),
            max_concurrency: 1,
            identify_pause: Duration::from_secs(5),
            heartbeat_interval: Duration::from_millis(41_250),
            heartbeat_patience: 1.5,
            tokens: Tokens::Any,
            allowed_intents: super::intents::ALL,
            shard_multiple: 1,
            total_guilds: None,
            guilds_per_shard: 3,
            members_per_guild: 25,
            members_per_chunk: 1000,
            whole_list_pause: Duration::from_secs(30),
            ready_filler: 0,
            guild_filler: 0,
            send_guilds: true,
            session_ttl: Duration::from_secs(300),
            replay_events: 10_000,
            replay_bytes: 64 << 20,
            rate: 0.0,
            main_url: "ws://gateway.invalid".to_owned(),
            resume_url: "ws://gateway-resume.invalid".to_owned(),
            ready_resume_url: None,
            strict_query: true,
            resume_same_query: true,
            strict_order: true,
            resume_on_main_lives: None,
            compression_level: 1,
            flow_control: false,
            send_window: 1 << 20,
            log_limit: 200_000,
            log_dispatches: false,
        }
    }
}
