//! What can be wrong with a trace, and how a replay can differ from it.

use std::fmt;
use std::time::Duration;

use crate::ShardId;

/// Why a trace cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It has no header: not a trace, or an empty one.
    #[error(
        "this is no trace: its first line should be a header; give a file that `--record` wrote"
    )]
    NoHeader,
    /// Written by a newer version.
    #[error(
        "the trace has format {found}, and formats up to {known} are known; use a newer version"
    )]
    Version {
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// This build lacks what the trace needs.
    #[error(
        "the trace was recorded with {what}, which this build does not have; build with the feature {what}"
    )]
    Unsupported {
        /// The feature.
        what: &'static str,
    },
    /// A line makes no sense.
    #[error(
        "line {line} of the trace is damaged: {what}; replay what comes before it, or get the file anew"
    )]
    Damaged {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Without its events' bodies it would be another story from here on.
    #[error(
        "from line {line} on the trace is no longer the same without the bodies of events; share what comes before it"
    )]
    NeedsBodies {
        /// The number of the line, from 1.
        line: u64,
    },
}

impl TraceError {
    pub(super) fn damaged(line: u64, what: impl fmt::Display) -> Self {
        // What serde_json says may repeat the line.
        let what = what.to_string().chars().take(200).collect();
        Self::Damaged { line, what }
    }
}

/// The first action that came out differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct Mismatch {
    /// The line of the trace, from 1.
    pub line: u64,
    /// The shard, if it was one's action and not the fleet's.
    pub shard: Option<ShardId>,
    /// When, since the beginning.
    pub at: Duration,
    /// What was recorded; `None`: nothing more.
    pub recorded: Option<String>,
    /// What came out now; `None`: nothing more.
    pub replayed: Option<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, at, .. } = self;
        write!(f, "line {line}, {:.3} s: ", at.as_secs_f64())?;
        match self.shard {
            Some(shard) => write!(f, "shard {shard}")?,
            None => f.write_str("the fleet")?,
        }
        let or_nothing =
            |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing more".into());
        write!(
            f,
            " did otherwise\n  recorded: {}\n  replayed: {}",
            or_nothing(&self.recorded),
            or_nothing(&self.replayed)
        )
    }
}
