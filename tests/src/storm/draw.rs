//! Makes a schedule from a seed.

use std::time::Duration;

use serde_json::Value;
use shardwright_core::Compression;

use super::setup::{BIG, Setup};
use super::{FORMAT, Fault, Intensity, On, Schedule, Timed};
use crate::rng::Rng;
use crate::scenario::Effect;

const DAY: u64 = 86_400_000;

pub(super) fn schedule(seed: u64, shards: u32, lasts: Duration, intensity: Intensity) -> Schedule {
    let mut rng = Rng::new(seed);
    let setup = Setup::draw(&mut rng, shards, intensity);
    let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    let apart = match intensity {
        Intensity::None => None,
        Intensity::Low => Some(Duration::from_secs(1800)),
        Intensity::High => Some(Duration::from_secs(120)),
    };
    let mut dice = Dice {
        rng,
        shards,
        streams: matches!(setup.compression, Compression::Zlib | Compression::Zstd),
        zlib: setup.compression == Compression::Zlib,
    };
    let faults = apart.map_or_else(Vec::new, |apart| dice.faults(&setup, lasts, apart));
    Schedule {
        format: FORMAT,
        seed,
        intensity,
        lasts,
        setup,
        faults,
    }
}

/// What a fault costs in session starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    Nothing,
    One,
    All,
}

/// What it costs if sessions are lost by it.
fn cost(fault: &Fault) -> Cost {
    let ends = |effect: &Effect| match effect {
        Effect::Op9(body) => body != &Value::Bool(true),
        Effect::Close(Some(code)) => [4001, 4003, 4006, 4007, 4009].contains(code),
        Effect::Invalidate | Effect::InvalidateAll | Effect::Damage { .. } => true,
        _ => false,
    };
    match fault {
        Fault::Play { on, effects } if effects.iter().any(ends) => match on {
            On::All => Cost::All,
            On::Shard(_) => Cost::One,
        },
        Fault::LateClose { .. } => Cost::One,
        Fault::ReShard { .. } | Fault::Width { .. } => Cost::All,
        Fault::Crash { stored: false, .. } | Fault::Fatal { code: 4011, .. } => Cost::All,
        _ => Cost::Nothing,
    }
}

pub(super) struct Dice {
    pub(super) rng: Rng,
    pub(super) shards: u32,
    /// The connections are compressed streams.
    pub(super) streams: bool,
    /// Of zlib.
    pub(super) zlib: bool,
}

impl Dice {
    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.rng.below(all.len() as u64) as usize].clone()
    }

    pub(super) fn up_to(&mut self, seconds: u64) -> u64 {
        self.rng.below(seconds * 1000)
    }

    pub(super) fn shard(&mut self) -> u32 {
        // One more: the bot may get more shards on the way.
        let extra = u32::from(self.shards <= BIG);
        self.rng.below(u64::from(self.shards + extra)) as u32
    }

    /// Faults in order of time: those of each shard, and those of the bot as a whole.
    fn faults(&mut self, setup: &Setup, lasts: u64, apart: Duration) -> Vec<Timed> {
        let mut faults = Vec::new();
        let of_shards = apart.div_f64(f64::from(self.shards));
        let (mut shard_at, mut bot_at) = (0, 0);
        self.pause(&mut shard_at, of_shards);
        self.pause(&mut bot_at, apart);
        // A big bot's session starts last for the day, so that it is up most of it.
        let big = self.shards > BIG;
        let to_spend = setup.starts.saturating_sub(u64::from(self.shards)) * 8 / 10;
        let (mut day, mut starts) = (0, 0);
        loop {
            let at = shard_at.min(bot_at) / 1_000_000;
            if at >= lasts {
                return faults;
            }
            let fault = if shard_at <= bot_at {
                self.pause(&mut shard_at, of_shards);
                self.of_shard()
            } else {
                self.pause(&mut bot_at, apart);
                self.of_bot()
            };
            if at / DAY > day {
                (day, starts) = (at / DAY, 0);
            }
            let costs = match cost(&fault) {
                Cost::Nothing => 0,
                Cost::One => 1,
                Cost::All => u64::from(self.shards),
            };
            // A fifth of them at once, the others in the course of the day.
            let by_now = to_spend * (at % DAY + DAY / 4) / (DAY * 5 / 4);
            if big && costs > 0 && starts + costs > by_now {
                continue;
            }
            starts += costs;
            faults.push(Timed { at, fault });
        }
    }

    fn pause(&mut self, at: &mut u64, mean: Duration) {
        let pause = self.rng.around(mean).as_nanos();
        *at = at.saturating_add(u64::try_from(pause).unwrap_or(u64::MAX));
    }
}
