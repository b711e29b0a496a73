//! The lines of a trace.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{EventFilter, FleetConfig, ShardId};

/// The first line: what a fleet was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The version of the format.
    #[serde(rename = "shardwright_trace")]
    pub version: u32,
    /// What wrote it: the version of this crate. Another one may act, or word its actions, differently.
    pub by: String,
    /// The system it ran on, which Identify names.
    pub os: Box<str>,
    /// The time of day at the beginning, if it was known.
    pub wall: Option<SystemTime>,
    /// The bodies of events were left out.
    #[serde(default)]
    pub without_bodies: bool,
    /// The fleet's seed.
    pub seed: u64,
    /// How long the token was, as JSON. The token itself is not in here.
    pub token_length: usize,
    /// How the fleet was configured.
    pub config: FleetConfig,
}

/// The life of the fleet.
pub(super) const FLEET: u32 = 0;

/// Any other line.
#[derive(Deserialize)]
pub(super) struct Line<'l> {
    #[serde(default)]
    pub(super) life: u32,
    #[serde(default)]
    pub(super) at: u64,
    pub(super) begins: Option<ShardId>,
    #[serde(default)]
    pub(super) events: EventFilter,
    #[serde(borrow)]
    pub(super) heard: Option<&'l RawValue>,
    #[serde(borrow)]
    pub(super) did: Option<Vec<Cow<'l, str>>>,
    pub(super) ended: Option<String>,
}

/// A shard's machine is made.
#[derive(Serialize)]
pub(super) struct Begins<'l> {
    pub(super) life: u32,
    pub(super) at: u64,
    pub(super) begins: ShardId,
    pub(super) events: &'l EventFilter,
}

/// Nothing follows.
#[derive(Serialize)]
pub(super) struct Ended<'l> {
    pub(super) ended: &'l str,
}
