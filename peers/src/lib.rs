//! Other people's clients against the emulated gateway.
//!
//! Client and emulator of this repository come from one hand: where both misread the protocol, no
//! test between the two tells. So clients that know nothing of either are put in front of the
//! emulator, and what they refuse counts as the emulator's fault until shown otherwise.
//!
//! A [`Peer`] reports what it gets into a [`Record`]; the [`checks`] are the same for all of them.

pub mod checks;
pub mod discord_py;
mod record;
mod run;
pub mod twilight;

pub use record::{Record, Report};

/// How a peer is to be started.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many shards it runs.
    pub shards: u32,
    /// Whether it asks for the members of every guild by itself, if it knows how to.
    pub fetch_members: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 1,
            fetch_members: false,
        }
    }
}

/// Something a peer is asked to send.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ask {
    /// Op 8 for the whole list of a guild.
    Members {
        /// Which guild.
        guild: u64,
    },
    /// Op 8 for the members whose names begin so.
    Prefix {
        /// Which guild.
        guild: u64,
        /// What the names begin with.
        prefix: &'static str,
        /// How many at most.
        limit: u64,
    },
    /// Op 8 for some members.
    Ids {
        /// Which guild.
        guild: u64,
        /// Which members.
        ids: Vec<u64>,
    },
    /// Op 3.
    Presence,
    /// Op 4.
    Voice {
        /// Which guild.
        guild: u64,
        /// The channel to join; none to leave.
        channel: Option<u64>,
    },
}

/// A running client that is not ours.
pub trait Peer {
    /// What it reported.
    fn record(&self) -> &Record;
    /// Has it send something.
    fn ask(&self, what: &Ask);
    /// Has it end its connection for good; it then reports [`Report::Ended`].
    fn stop(&self);
}
