//! Who may read when all want to: when a bot starts, each of its shards gets megabytes at once.
//!
//! A shard whose turn ends while there is more to read holds a part of a message, in a buffer that has grown for
//! it, until its next turn. If all took their turns in order, all would; so only so many may be amid, and
//! the others begin when one of those has taken all there was, or has had its share.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crate::permit::Permit;

/// So many shards of a process are amid.
const MOST: usize = 64;
/// After so many turns another may begin.
const SHARE: u32 = 128;
/// So long at most is waited: whoever holds a permit may have to wait for its consumer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many are.
static AMID_NOW: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub(crate) struct Rush {
    /// The turns that are left with it.
    permit: Option<(Permit, u32)>,
    waiting_since: Option<Instant>,
    permits: &'static AtomicUsize,
}

impl Default for Rush {
    fn default() -> Self {
        Self::among(&AMID_NOW)
    }
}

impl Rush {
    fn among(permits: &'static AtomicUsize) -> Self {
        Self {
            permit: None,
            waiting_since: None,
            permits,
        }
    }

    /// A turn begins: whether it may read.
    pub(crate) fn may_read(&mut self, now: Instant) -> bool {
        match &mut self.permit {
            Some((_, 0)) => {
                self.permit = None;
                self.waiting_since = Some(now);
                return false;
            }
            Some((_, left)) => {
                *left -= 1;
                return true;
            }
            None => {}
        }
        self.permit = Permit::take(self.permits, MOST).map(|permit| (permit, SHARE));
        if self.permit.is_none() {
            let since = *self.waiting_since.get_or_insert(now);
            if now.saturating_duration_since(since) < PATIENCE {
                return false;
            }
        }
        self.waiting_since = None;
        true
    }

    /// Nothing more has come.
    pub(crate) fn rest(&mut self) {
        self.permit = None;
    }
}
