//! Record what a bot's machines heard and did, and have it happen again.
//!
//! A machine's actions follow from its configuration, its seed, the times and the inputs alone. A trace holds
//! these, and the actions beside them: [`replay()`] tells new machines the same and compares every action, bit
//! for bit. So a trace is a bug report that can be run, and a regression test:
//!
//! ```no_run
//! use std::time::Instant;
//! use shardwright_core::trace;
//!
//! let recorded = std::fs::read("the-night-it-hung.trace")?;
//! let replayed = trace::replay(&recorded, Instant::now())?;
//! replayed.verify()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is in it
//!
//! Everything the gateway sent, interaction and voice tokens included, and every command. The bot's token is
//! not: Identify and Resume are recorded and compared with a mask of the same length in its place, and a line
//! that would hold it anyway (somebody sent it back) ends the recording. [`Redactor`] makes a copy that keeps of
//! each event its name and size only, to be shown to others.
//!
//! Beside the machines a runtime has things of its own: sockets, mailboxes, a
//! [`MemberCollector`](crate::MemberCollector). What they did is in the trace as inputs of the machines.
//!
//! # The format
//!
//! JSON lines, version 1. The first is the [header](Header); each further one belongs to a *life*: 0 is the
//! fleet, 1 the first shard that it started, and so on.
//!
//! | keys | line |
//! |---|---|
//! | `life`, `at`, `begins`, `events` | a shard's machine is made: which shard, and which events it hands over (null: all) |
//! | `life`, `at`, `heard` | what the fleet was told; `at` is in nanoseconds since the fleet was made |
//! | `life`, `did` | its answer: its actions down to the one that ends the drain |
//! | `life`, `at`, `heard`, `did` | what a shard was told, and its answer |
//! | `ended` | why nothing follows, if not because everything is over |
//!
//! Actions are text. That of a dispatch ends with its payload's size and the XXH3 hash of its body; all else is
//! in full. A line without an end, as a killed process leaves it, is left out of account.

mod error;
mod lines;
mod recorded;
mod redact;
mod replay;
mod tape;
mod words;

pub use error::{Mismatch, TraceError};
pub use lines::Header;
pub use recorded::{RecordedFleet, RecordedShard};
pub use redact::Redactor;
pub use replay::{Replay, Replayed, Step, replay};
pub use tape::{ShardTape, TraceSink};

/// The version of the format.
pub const VERSION: u32 = 1;
