//! Two layouts that are both up: when the new one may take over.
//!
//! ```text
//!   all of the new are up and loaded ──SKEW──▶ the old ones are asked ──▶ all have answered
//!                                               ▲                 │             │ within FRESH?
//!                          one that was away    │                 │       no ◀──┴──▶ yes: swap
//!                          is back              └── one is away ◀─┘       │
//!                                               ▲                         │
//!                                               └─────────────────────────┘
//! ```
//!
//! What was sent to the old layout before the new one had its sessions comes from the old one or not at all. So
//! each old shard is asked to say when all that it has been sent is delivered: one whose line is slow, or whose
//! consumer is, has some of it before it. One that is away resumes, and brings what it missed; if it has lost
//! its session, nothing more of that comes, and it is not waited for.
//!
//! The new layout keeps what it hears for a while ([`KEPT`](crate::Overlap::KEPT)); what the old one had not
//! been sent when it was asked has to be younger than that at the swap.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::roster::Shard;
use crate::{Overlap, ShardId};

/// By how much Discord may be later with an event to one layout than to the other.
const SKEW: Duration = Duration::from_secs(3);
/// The old ones have to have answered within this, all of them.
const FRESH: Duration = Overlap::KEPT.saturating_sub(SKEW);

/// The time in which both layouts are up.
#[derive(Clone, Debug)]
pub(super) struct Overlapping {
    since: Instant,
    asked: Option<Asked>,
    look_again: Instant,
}

#[derive(Clone, Debug)]
struct Asked {
    at: Instant,
    mark: u64,
    /// Those that have not answered.
    open: BTreeSet<ShardId>,
}

/// What comes next.
pub(super) enum Next {
    Wait,
    Ask { mark: u64, shards: Vec<ShardId> },
    Swap,
}

impl Overlapping {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            asked: None,
            look_again: now + SKEW,
        }
    }

    pub(super) fn look_again(&self) -> Instant {
        self.look_again
    }

    /// A shard has delivered what there was when it was asked. True if it was the last.
    pub(super) fn caught_up(&mut self, shard: ShardId, mark: u64) -> bool {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.mark == mark) else {
            return false;
        };
        asked.open.remove(&shard) && asked.open.is_empty()
    }

    pub(super) fn go_on(
        &mut self,
        now: Instant,
        shards: &BTreeMap<ShardId, Shard>,
        last_mark: &mut u64,
    ) -> Next {
        let waited_for = |shard: &Shard| !shard.coming && shard.has_events_to_come();
        let old = || shards.iter().filter(|(_, shard)| waited_for(shard));
        if old().next().is_none() {
            return Next::Swap;
        }
        if now < self.since + SKEW {
            return Next::Wait;
        }
        self.look_again = now + FRESH;
        if old().any(|(_, shard)| !shard.is_up()) {
            self.asked = None;
            return Next::Wait;
        }
        if let Some(asked) = &mut self.asked {
            asked
                .open
                .retain(|id| shards.get(id).is_some_and(waited_for));
            if !asked.open.is_empty() {
                return Next::Wait;
            }
            if now <= asked.at + FRESH {
                return Next::Swap;
            }
        }
        let open: BTreeSet<ShardId> = old().map(|(id, _)| *id).collect();
        *last_mark += 1;
        let mark = *last_mark;
        let shards = open.iter().copied().collect();
        self.asked = Some(Asked {
            at: now,
            mark,
            open,
        });
        Next::Ask { mark, shards }
    }
}
