//! Sessions: who they belong to, what they sent, what can be replayed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::io::{ConnId, Shard};
use super::upgrade::Query;
use crate::corpus::Draw;
use crate::scenario::Damage;

/// A session's place in the machine; never used again.
pub(super) type SessionKey = u64;

/// A dispatch that may be asked for again.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) seq: u64,
    pub(super) payload: Bytes,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) id: String,
    pub(super) shard: Shard,
    pub(super) token: String,
    pub(super) intents: u64,
    pub(super) query: Query,
    /// The last sequence number given to a dispatch.
    pub(super) seq: u64,
    /// The highest one that left for the client on any connection.
    pub(super) sent: u64,
    pub(super) conn: Option<ConnId>,
    pub(super) detached_at: Option<Instant>,
    pub(super) draw: Arc<Draw>,
    pub(super) rate_since: Instant,
    pub(super) rate_done: u64,
    pub(super) flood: u64,
    pub(super) flood_end: Option<Arc<str>>,
    /// Dispatches that are damaged each time they are sent.
    pub(super) damaged: BTreeMap<u64, (Damage, Option<u32>)>,
    /// Everything up to here is gone from the buffer.
    evicted: u64,
    replay: VecDeque<Stored>,
    bytes: usize,
}

pub(super) struct NewSession {
    pub(super) key: SessionKey,
    pub(super) id: String,
    pub(super) shard: Shard,
    pub(super) token: String,
    pub(super) intents: u64,
    pub(super) query: Query,
    pub(super) conn: ConnId,
    pub(super) draw: Arc<Draw>,
    pub(super) now: Instant,
}

impl Session {
    pub(super) fn new(new: NewSession) -> Self {
        Self {
            key: new.key,
            id: new.id,
            shard: new.shard,
            token: new.token,
            intents: new.intents,
            query: new.query,
            seq: 0,
            sent: 0,
            conn: Some(new.conn),
            detached_at: None,
            draw: new.draw,
            rate_since: new.now,
            rate_done: 0,
            flood: 0,
            flood_end: None,
            damaged: BTreeMap::new(),
            evicted: 0,
            replay: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Gives the next number to a dispatch and keeps it. `unsent_from` is the first number the
    /// connection still waits for: such dispatches are kept beyond the limits, up to four times.
    pub(super) fn push(&mut self, name: &str, body: &str, keep: Keep) -> u64 {
        self.seq += 1;
        let payload = envelope(name, &self.seq.to_string(), body);
        self.bytes += payload.len();
        self.replay.push_back(Stored {
            seq: self.seq,
            payload,
        });
        loop {
            let over = |times: usize| {
                self.replay.len() > keep.events.saturating_mul(times)
                    || self.bytes > keep.bytes.saturating_mul(times)
            };
            match self.replay.front() {
                Some(first) if first.seq != self.seq => {
                    let waited_for = keep.unsent_from.is_some_and(|from| first.seq >= from);
                    if !over(if waited_for { 4 } else { 1 }) {
                        break;
                    }
                    self.evicted = first.seq;
                    self.bytes -= first.payload.len();
                    self.replay.pop_front();
                }
                _ => break,
            }
        }
        self.seq
    }

    /// Whether all that follows `seq` can still be replayed.
    pub(super) fn can_replay_after(&self, seq: u64) -> bool {
        seq >= self.evicted
    }

    /// The first kept dispatch after `seq`.
    pub(super) fn after(&self, seq: u64) -> Option<&Stored> {
        let first = self.replay.front()?;
        let guess = seq.saturating_add(1).saturating_sub(first.seq) as usize;
        match self.replay.get(guess) {
            Some(stored) if stored.seq == seq + 1 => Some(stored),
            _ => self
                .replay
                .get(self.replay.partition_point(|stored| stored.seq <= seq)),
        }
    }

    /// The last `count` kept dispatches up to `seq`.
    pub(super) fn last(&self, count: usize, seq: u64) -> Vec<Stored> {
        let end = self.replay.partition_point(|stored| stored.seq <= seq);
        let start = end.saturating_sub(count);
        self.replay.range(start..end).cloned().collect()
    }

    /// How a dispatch is damaged this time.
    pub(super) fn damage(&mut self, seq: u64) -> Option<Damage> {
        let (how, left) = self.damaged.get_mut(&seq)?;
        let how = *how;
        if let Some(left) = left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.damaged.remove(&seq);
            }
        }
        Some(how)
    }
}

/// How much of a session is kept for a replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) unsent_from: Option<u64>,
}

/// A dispatch, its keys in the order live ones have.
pub(super) fn envelope(name: &str, seq: &str, body: &str) -> Bytes {
    let mut text = String::with_capacity(body.len() + name.len() + seq.len() + 30);
    text.push_str("{\"t\":");
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        text.push('"');
        text.push_str(name);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(name).to_string());
    }
    text.push_str(",\"s\":");
    text.push_str(seq);
    text.push_str(",\"op\":0,\"d\":");
    text.push_str(body);
    text.push('}');
    text.into()
}
