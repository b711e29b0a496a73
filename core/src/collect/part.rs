//! One request on the wire and what may answer it: chunks, or a refusal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{GuildMembers, RawJson};
use crate::UserId;

/// What every member, presence and chunk counts as beside its text.
const ITEM_BYTES: usize = 32;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Given to the shard's machine, which sends it when it can.
    Handed,
    /// It has left.
    Sent,
    /// Discord refused it: it is sent again then.
    Again(Instant),
    /// All chunks are in.
    Complete,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) stage: Stage,
    pub(super) retried: bool,
    /// How many chunks there are, as the first one said.
    count: Option<u32>,
    chunks: BTreeMap<u32, Chunk>,
}

#[derive(Debug)]
struct Chunk {
    members: Vec<RawJson>,
    presences: Vec<RawJson>,
    not_found: Vec<UserId>,
}

/// What became of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is a duplicate, or makes no sense.
    Ignored,
    /// It is kept and counts as this many bytes.
    Kept(usize),
    /// It does not fit.
    TooLarge,
}

impl Part {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Handed,
            retried: false,
            count: None,
            chunks: BTreeMap::new(),
        }
    }

    pub(super) fn has_any(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// The session that it was asked in owes it something.
    pub(super) fn is_owed(&self) -> bool {
        match self.stage {
            Stage::Sent => true,
            Stage::Handed => self.has_any(),
            Stage::Again(_) | Stage::Complete => false,
        }
    }

    pub(super) fn received(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn expected(&self) -> Option<u32> {
        self.count
    }

    /// Keeps a chunk, if there is room for it.
    pub(super) fn take(&mut self, body: &ChunkBody<'_>, room: usize) -> Taken {
        let (index, count) = (body.chunk_index, body.chunk_count);
        let fits = index < count && self.count.is_none_or(|known| known == count);
        if self.stage == Stage::Complete || !fits || self.chunks.contains_key(&index) {
            return Taken::Ignored;
        }
        // Before anything is copied.
        if body.text_bytes() > room {
            return Taken::TooLarge;
        }
        let Some(chunk) = body.read() else {
            return Taken::Ignored;
        };
        let items = chunk.members.len() + chunk.presences.len() + chunk.not_found.len() + 1;
        let bytes = body
            .text_bytes()
            .saturating_add(items.saturating_mul(ITEM_BYTES));
        if bytes > room {
            return Taken::TooLarge;
        }
        self.count = Some(count);
        self.chunks.insert(index, chunk);
        if self.received() == count {
            self.stage = Stage::Complete;
        }
        Taken::Kept(bytes)
    }

    /// Adds what it has to the answer, in the order of the chunks.
    pub(super) fn pour_into(self, answer: &mut GuildMembers) {
        for chunk in self.chunks.into_values() {
            answer.members.extend(chunk.members);
            answer.presences.extend(chunk.presences);
            answer.not_found.extend(chunk.not_found);
        }
    }
}

/// A `GUILD_MEMBERS_CHUNK`, its lists not yet taken apart.
#[derive(Deserialize)]
pub(super) struct ChunkBody<'a> {
    #[serde(default)]
    pub(super) nonce: Option<String>,
    chunk_index: u32,
    chunk_count: u32,
    #[serde(borrow, default)]
    members: Option<&'a RawValue>,
    #[serde(borrow, default)]
    presences: Option<&'a RawValue>,
    #[serde(borrow, default)]
    not_found: Option<&'a RawValue>,
}

impl ChunkBody<'_> {
    fn text_bytes(&self) -> usize {
        let lists = [self.members, self.presences, self.not_found];
        lists
            .into_iter()
            .flatten()
            .map(|list| list.get().len())
            .sum()
    }

    fn read(&self) -> Option<Chunk> {
        let not_found = list(self.not_found)?;
        Some(Chunk {
            members: list(self.members)?,
            presences: list(self.presences)?,
            // What is no id was not asked for.
            not_found: not_found
                .iter()
                .filter_map(|id: &RawJson| id.parse().ok())
                .collect(),
        })
    }
}

fn list(raw: Option<&RawValue>) -> Option<Vec<RawJson>> {
    raw.map_or_else(
        || Some(Vec::new()),
        |raw| serde_json::from_str(raw.get()).ok(),
    )
}

/// A `RATE_LIMITED`, as far as it says whose it is.
#[derive(Deserialize)]
pub(super) struct RateLimited {
    pub(super) opcode: u64,
    retry_after: f64,
    pub(super) meta: Meta,
}

#[derive(Deserialize)]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) nonce: Option<String>,
}

impl RateLimited {
    /// What makes no sense counts as no pause: such a request is repeated once all the same.
    pub(super) fn retry_after(&self) -> Duration {
        match Duration::try_from_secs_f64(self.retry_after) {
            Ok(pause) => pause,
            Err(_) if self.retry_after > 0.0 => Duration::MAX,
            Err(_) => Duration::ZERO,
        }
    }
}
