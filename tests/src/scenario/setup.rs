//! The settings a scenario may change on the server it is played on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::server::{ServerConfig, Tokens};

/// Settings; what is left out stays as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Setup {
    /// The shard count `/gateway/bot` recommends.
    pub shards: Option<u64>,
    /// Identifies allowed per 5 s.
    pub max_concurrency: Option<u64>,
    /// Identifies per window.
    pub total: Option<u64>,
    /// Identifies left.
    pub remaining: Option<u64>,
    /// Milliseconds until the window ends.
    pub reset_after_ms: Option<u64>,
    /// Milliseconds between beats.
    pub heartbeat_interval_ms: Option<u64>,
    /// The tokens that are good (any).
    pub tokens: Option<Vec<String>>,
    /// The intents that are granted; others end in 4014.
    pub allowed_intents: Option<u64>,
    /// Shard totals must be a multiple of this, else 4010.
    pub shard_multiple: Option<u64>,
    /// Guilds the bot is in, for the limit of 2500 a shard, else 4011.
    pub total_guilds: Option<u64>,
    /// Guilds in each READY.
    pub guilds_per_shard: Option<u64>,
    /// Members of each guild.
    pub members_per_guild: Option<u64>,
    /// Bytes READY is filled up with.
    pub ready_filler: Option<usize>,
    /// Bytes each GUILD_CREATE is filled up with.
    pub guild_filler: Option<usize>,
    /// Whether GUILD_CREATE follows READY.
    pub send_guilds: Option<bool>,
    /// How long a session without a connection lives, in milliseconds.
    pub session_ttl_ms: Option<u64>,
    /// How many dispatches a session keeps for a replay.
    pub replay_events: Option<usize>,
    /// Events per second and shard.
    pub rate: Option<f64>,
    /// Effort of compression, 1 to 9; a zlib stream's second byte tells it.
    pub compression_level: Option<u32>,
    /// How long a resumed connection on the main address lives, in milliseconds.
    pub resume_on_main_lives_ms: Option<u64>,
    /// What READY names as `resume_gateway_url`; `"absent"` leaves it out.
    pub resume_url: Option<Value>,
}

impl Setup {
    /// Writes the settings into a configuration.
    pub fn apply(&self, config: &mut ServerConfig) {
        fn set<T: Clone>(to: &mut T, from: Option<&T>) {
            if let Some(value) = from {
                *to = value.clone();
            }
        }
        fn set_ms(to: &mut Duration, from: Option<u64>) {
            if let Some(ms) = from {
                *to = Duration::from_millis(ms);
            }
        }
        set(&mut config.shards, self.shards.as_ref());
        set(&mut config.max_concurrency, self.max_concurrency.as_ref());
        set(&mut config.total, self.total.as_ref());
        if let Some(total) = self.total {
            config.remaining = config.remaining.min(total);
        }
        set(&mut config.remaining, self.remaining.as_ref());
        set_ms(&mut config.reset_after, self.reset_after_ms);
        set_ms(&mut config.heartbeat_interval, self.heartbeat_interval_ms);
        if let Some(tokens) = &self.tokens {
            config.tokens = Tokens::These(tokens.iter().cloned().collect());
        }
        set(&mut config.allowed_intents, self.allowed_intents.as_ref());
        set(&mut config.shard_multiple, self.shard_multiple.as_ref());
        if self.total_guilds.is_some() {
            config.total_guilds = self.total_guilds;
        }
        set(&mut config.guilds_per_shard, self.guilds_per_shard.as_ref());
        set(
            &mut config.members_per_guild,
            self.members_per_guild.as_ref(),
        );
        set(&mut config.ready_filler, self.ready_filler.as_ref());
        set(&mut config.guild_filler, self.guild_filler.as_ref());
        set(&mut config.send_guilds, self.send_guilds.as_ref());
        set_ms(&mut config.session_ttl, self.session_ttl_ms);
        set(&mut config.replay_events, self.replay_events.as_ref());
        set(&mut config.rate, self.rate.as_ref());
        set(
            &mut config.compression_level,
            self.compression_level.as_ref(),
        );
        if let Some(ms) = self.resume_on_main_lives_ms {
            config.resume_on_main_lives = Some(Duration::from_millis(ms));
        }
        if self.resume_url.is_some() {
            config.ready_resume_url.clone_from(&self.resume_url);
        }
    }
}
