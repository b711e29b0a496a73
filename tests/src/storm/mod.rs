//! Storms: bots in a [world](crate::world) in which everything goes wrong, by a schedule that is data.
//!
//! A [`Schedule`] is made from a seed before anything happens: how the world and the bot are set up, and a
//! list of times and [`Fault`]s. A [`Storm`] plays it, then lets the weather clear up, waits for all shards
//! to come back, stops the bot and holds the run against the [rules](crate::world::invariants). The same
//! schedule gives the same run, byte for byte. One that breaks a rule can be [shrunk](shrink) to the few
//! faults that it takes.
//!
//! ```
//! use std::time::Duration;
//! use shardwright_testkit::storm::{Intensity, Schedule, Storm};
//!
//! let schedule = Schedule::generate(7, 2, Duration::from_secs(600), Intensity::High);
//! assert!(!schedule.faults.is_empty());
//! let mut storm = Storm::new(&schedule);
//! storm.run()?;
//! assert!(storm.report().resumes > 0);
//! # Ok::<(), shardwright_testkit::storm::StormError>(())
//! ```

mod dice;
mod draw;
mod fault;
mod moves;
mod play;
mod report;
mod setup;
pub mod shrink;
#[cfg(test)]
mod tests;
mod weather;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use fault::{Fault, On};
pub use play::{Glance, Storm, StormError};
pub use report::Report;
pub use setup::Setup;

/// How much goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Intensity {
    /// Nothing.
    None,
    /// Each shard meets something about every half an hour, and so does the bot as a whole.
    #[default]
    Low,
    /// Each shard meets something about every two minutes, and so does the bot as a whole.
    High,
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::exhaustive_structs)]
pub struct Timed {
    /// Milliseconds since the world began.
    pub at: u64,
    /// What happens then.
    pub fault: Fault,
}

/// The format of schedules this version reads and writes.
const FORMAT: u32 = 1;

/// A storm as data.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::exhaustive_structs)]
pub struct Schedule {
    /// The version of the format.
    pub format: u32,
    /// The seed it was made from.
    pub seed: u64,
    /// How much goes wrong.
    pub intensity: Intensity,
    /// How long it is stormy, in milliseconds.
    pub lasts: u64,
    /// What world and bot are like.
    pub setup: Setup,
    /// What goes wrong, in order of time.
    pub faults: Vec<Timed>,
}

/// A text that is no schedule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// It is not JSON, or not of this form.
    #[error("not a schedule: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error("a schedule of format {0}; this version reads format {FORMAT}")]
    Format(u32),
    /// A number in it makes no sense.
    #[error("not a schedule: {0}")]
    Senseless(&'static str),
}

impl Schedule {
    /// A schedule whose all is decided by these.
    #[must_use]
    pub fn generate(seed: u64, shards: u32, lasts: Duration, intensity: Intensity) -> Self {
        draw::schedule(seed, shards.max(1), lasts, intensity)
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_json(text: &str) -> Result<Self, ScheduleError> {
        let schedule: Self = serde_json::from_str(text)?;
        if schedule.format != FORMAT {
            return Err(ScheduleError::Format(schedule.format));
        }
        schedule.setup.check().map_err(ScheduleError::Senseless)?;
        Ok(schedule)
    }

    /// Writes it, one fault a line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let line = |timed: &Timed| serde_json::to_string(timed).unwrap_or_default();
        let faults: Vec<_> = self.faults.iter().map(line).collect();
        let bare = Self {
            faults: Vec::new(),
            ..self.clone()
        };
        let head = serde_json::to_string(&bare).unwrap_or_default();
        let head = head.strip_suffix("]}").unwrap_or(&head);
        if faults.is_empty() {
            return format!("{head}]}}\n");
        }
        format!("{head}\n{}\n]}}\n", faults.join(",\n"))
    }

    /// How long it is stormy.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        Duration::from_millis(self.lasts)
    }
}
