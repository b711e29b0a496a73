//! What the world and the bot of a storm are like.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use shardwright_core::{Compression, ReShardPolicy};

use super::Intensity;
use crate::rng::Rng;
use crate::world::{BotSpec, Gate, Network, Overflow, World};

/// A bot with more shards than this counts as big: its session starts are what Discord gives big bots, and
/// what costs all its sessions happens about once a day.
pub(super) const BIG: u32 = 16;

/// What the world and the bot are like. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::exhaustive_structs)]
pub struct Setup {
    /// What the world's dice are thrown with.
    pub dice: u64,
    /// How many shards the bot has at first.
    pub shards: u32,
    /// One way through the network, at least.
    pub latency: u64,
    /// What chance adds, at most.
    pub jitter: u64,
    /// Bytes a second, each way and connection.
    pub bandwidth: Option<u64>,
    /// From a dial to the upgrade request's arrival.
    pub dial: u64,
    /// Events a second and shard.
    pub rate: f64,
    /// Identifies at once.
    pub max_concurrency: u64,
    /// Session starts in a window.
    pub starts: u64,
    /// The length of a window.
    pub window: u64,
    /// What others have left of the session starts of the first window.
    pub left: u64,
    /// How long that window lasts.
    pub renewed_in: u64,
    /// Between beats.
    pub heartbeat_interval: u64,
    /// How long a session without a connection lives.
    pub session_ttl: u64,
    /// How many dispatches a session keeps for a replay.
    pub replay_events: usize,
    /// zlib, zstd, none or payload.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub compression: Compression,
    /// How many events wait for the consumer, a shard.
    pub mailbox_events: usize,
    /// What a full mailbox means.
    pub overflow: Overflow,
    /// The gate that turns to identify wait at: how long at most, and that it fails once in so many times.
    pub gate: Option<(u64, u64)>,
    /// Whether the bot stores its run while it goes on.
    pub stores: bool,
    /// Whether a new layout starts before the old one ends.
    pub start_then_swap: bool,
}

fn as_text<S: Serializer>(compression: &Compression, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(compression)
}

fn from_text<'de, D: Deserializer<'de>>(from: D) -> Result<Compression, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(de::Error::custom)
}

impl Setup {
    pub(super) fn draw(rng: &mut Rng, shards: u32, intensity: Intensity) -> Self {
        let big = shards > BIG;
        let calm = intensity == Intensity::None;
        let one_of = |rng: &mut Rng, all: &[u64]| all[rng.below(all.len() as u64) as usize];
        let bandwidth = one_of(rng, &[0, 0, 0, 20_000, 100_000]);
        let compressions = [
            Compression::Zlib,
            Compression::Zlib,
            Compression::Zstd,
            Compression::None,
            Compression::Payload,
        ];
        let tight = !big && !calm && rng.below(3) == 0;
        let day = 86_400_000;
        let many = u64::from(shards);
        // 1000 a day, or 2000 and five for each thousand guilds.
        let starts = match (tight, big) {
            (true, _) => 40,
            (_, false) => 1000,
            (_, true) => (5 * many).max(2000),
        };
        let window = if tight { 1_200_000 } else { day };
        let short = rng.below(4) == 0;
        Self {
            dice: rng.next_u64(),
            shards,
            latency: rng.below(120),
            jitter: one_of(rng, &[0, 1, 40, 140, if calm { 30 } else { 2000 }]),
            bandwidth: Some(bandwidth).filter(|bandwidth| *bandwidth > 0 && !big),
            dial: rng.below(400),
            rate: if big {
                [0.005, 0.02][rng.below(2) as usize]
            } else {
                [0.0, 0.02, 0.1, 0.5][rng.below(4) as usize]
            },
            // What Discord gives: one, or 16 from 150,000 guilds on, and the big ones more.
            max_concurrency: match shards {
                0..=BIG => one_of(rng, &[1, 1, 2, 16]),
                17..=2000 => 16,
                _ => 64,
            },
            starts,
            window,
            // Too few for all shards, as after another deployment.
            left: if short { rng.below(many) } else { starts },
            renewed_in: if short { rng.below(1_200_000) } else { window },
            heartbeat_interval: if big {
                41_250
            } else {
                one_of(rng, &[41_250, 41_250, 10_000])
            },
            session_ttl: if big { 1_800_000 } else { 300_000 },
            replay_events: one_of(rng, &[10_000, 10_000, 200]) as usize,
            // A stream a shard and end would need gigabytes.
            compression: if big {
                Compression::None
            } else {
                compressions[rng.below(5) as usize]
            },
            mailbox_events: one_of(rng, &[4096, 200, 20]) as usize,
            overflow: if rng.below(4) == 0 {
                Overflow::DropNewest
            } else {
                Overflow::Pause
            },
            gate: (!big && rng.below(4) == 0).then(|| (rng.below(30_000), one_of(rng, &[0, 2, 5]))),
            stores: !big && rng.below(2) == 0,
            start_then_swap: rng.below(2) == 0,
        }
    }

    /// What makes no sense in it.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.shards == 0 || self.shards > 100_000 {
            return Err("there are 1 to 100,000 shards");
        }
        if !self.rate.is_finite() || !(0.0..=1000.0).contains(&self.rate) {
            return Err("the rate is 0 to 1000 events a second");
        }
        if self.max_concurrency == 0 || self.starts == 0 || self.window == 0 {
            return Err("there are session starts");
        }
        if self.heartbeat_interval < 1000 {
            return Err("beats are a second apart at least");
        }
        let day = 24 * 3600 * 1000;
        if [self.latency, self.jitter, self.dial]
            .iter()
            .any(|ms| *ms > day)
        {
            return Err("a delay is a day at most");
        }
        Ok(())
    }

    pub(super) fn network(&self) -> Network {
        Network {
            latency: Duration::from_millis(self.latency),
            jitter: Duration::from_millis(self.jitter),
            bandwidth: self.bandwidth,
            dial: Duration::from_millis(self.dial),
            ..Network::default()
        }
    }

    pub(super) fn world(&self, tail: usize) -> World {
        World::builder()
            .seed(self.dice)
            .network(self.network())
            .keep_bodies(false)
            .transcript(Some(20 * tail))
            .tail(tail)
            .configure(|server| {
                server.shards = u64::from(self.shards);
                server.rate = self.rate;
                server.max_concurrency = self.max_concurrency;
                server.heartbeat_interval = Duration::from_millis(self.heartbeat_interval);
                server.replay_events = self.replay_events;
                server.session_ttl = Duration::from_millis(self.session_ttl);
                server.guilds_per_shard = if self.shards > BIG { 1 } else { 2 };
                server.members_per_guild = server.guilds_per_shard;
                let window = Duration::from_millis(self.window);
                (server.total, server.remaining) = (self.starts, self.left.min(self.starts));
                server.window = window;
                server.reset_after = Duration::from_millis(self.renewed_in);
            })
            .build()
    }

    /// Whether two processes that do not know of each other could start more sessions than are left; for that
    /// Discord resets the token.
    pub(super) fn starts_are_scarce(&self) -> bool {
        self.left.min(self.starts) < 20 * u64::from(self.shards)
    }

    pub(super) fn bot(&self) -> BotSpec {
        let mut fleet = World::fleet_config();
        fleet.template.compression = self.compression;
        if self.start_then_swap {
            fleet.re_shard = ReShardPolicy::StartThenSwap;
        }
        let mut spec = BotSpec::new(fleet);
        spec.mailbox_events = self.mailbox_events;
        spec.overflow = self.overflow;
        spec.gate = self.gate.map(|(at_most, fails_once_in)| Gate {
            at_most: Duration::from_millis(at_most),
            fails_once_in,
        });
        spec.stores = self.stores;
        spec
    }
}
