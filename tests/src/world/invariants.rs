//! The rules every run must keep, whatever happens in it.
//!
//! They are held against what the server logged and what the world saw of the lines and the consumers; no
//! machine of a client is asked.

use std::fmt;
use std::time::Duration;

use super::{BotStory, LineStory};
use crate::server::{LogEntry, ServerConfig};

/// What the rules are held against.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Evidence<'w> {
    /// What the server saw and did.
    pub log: &'w [LogEntry],
    /// The connections, in the order of their dials: the first has the server's number 1.
    pub lines: &'w [LineStory],
    /// The bot processes.
    pub bots: Vec<&'w BotStory>,
    /// How the server is set up.
    pub config: &'w ServerConfig,
    /// When the run ended.
    pub end: Duration,
    /// Since when nothing was wrong any more.
    pub calm: Option<Duration>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Broken {
    /// Its number.
    pub rule: u8,
    /// When.
    pub at: Duration,
    /// How.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rule {} at {:.3} s: {}",
            self.rule,
            self.at.as_secs_f64(),
            self.what
        )
    }
}

/// All rules that were broken.
#[must_use]
pub fn check(_evidence: &Evidence<'_>) -> Vec<Broken> {
    Vec::new()
}
