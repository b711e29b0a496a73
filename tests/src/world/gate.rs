//! A gate of the user's own that turns to identify wait at.

use std::time::Duration;

use shardwright_core::{ConnId, GateRequest, ShardId};

use crate::rng::Rng;

/// A gate that opens after a while, or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Gate {
    /// It takes so long at most; chance decides.
    pub at_most: Duration,
    /// It fails once in so many times; 0: never.
    pub fails_once_in: u64,
}

#[derive(Debug)]
struct Asked {
    shard: ShardId,
    conn: ConnId,
    serial: u64,
    opens: bool,
}

#[derive(Debug)]
pub(super) struct Gatekeeper {
    gate: Option<Gate>,
    asked: Vec<Asked>,
    serial: u64,
}

/// When the gate answers, and what is to be told then.
pub(super) struct Deciding {
    pub(super) after: Duration,
    pub(super) serial: u64,
}

impl Gatekeeper {
    pub(super) fn new(gate: Option<Gate>) -> Self {
        Self {
            gate,
            asked: Vec::new(),
            serial: 0,
        }
    }

    pub(super) fn ask(&mut self, request: &GateRequest, rng: &mut Rng) -> Deciding {
        let gate = self.gate.unwrap_or(Gate {
            at_most: Duration::ZERO,
            fails_once_in: 0,
        });
        self.serial += 1;
        self.asked.push(Asked {
            shard: request.shard,
            conn: request.conn,
            serial: self.serial,
            opens: gate.fails_once_in == 0 || rng.below(gate.fails_once_in) != 0,
        });
        let most = u64::try_from(gate.at_most.as_nanos()).unwrap_or(u64::MAX);
        Deciding {
            after: Duration::from_nanos(rng.below(most.max(1))),
            serial: self.serial,
        }
    }

    pub(super) fn leave(&mut self, shard: ShardId, conn: ConnId) {
        self.asked
            .retain(|asked| (asked.shard, asked.conn) != (shard, conn));
    }

    /// Whether it opens; nothing if nobody waits any more.
    pub(super) fn answer(&mut self, shard: ShardId, conn: ConnId, serial: u64) -> Option<bool> {
        let index = self
            .asked
            .iter()
            .position(|asked| (asked.shard, asked.conn, asked.serial) == (shard, conn, serial))?;
        Some(self.asked.swap_remove(index).opens)
    }
}
