//! How long a fleet waits for shards that were told to end.

use std::time::{Duration, Instant};

/// Who hears so much later that a time has come was not awake for some of it.
const LATE: Duration = Duration::from_millis(100);
/// A host that is never on time must not keep a stop from ending.
const MOST: u32 = 10;

/// When shards that have not reported their end are given up.
///
/// That time is given at least twice. If the host slept, the fleet may be the first to hear that it has
/// passed, so one that is late gives it again.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    end: Instant,
    given: u32,
}

impl Patience {
    pub(super) fn new(now: Instant, time: Duration) -> Self {
        Self {
            end: now + time,
            given: 1,
        }
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// Whether it has come to its end; else it may have been given again.
    pub(super) fn is_over(&mut self, now: Instant, time: Duration) -> bool {
        let Some(late) = now.checked_duration_since(self.end) else {
            return false;
        };
        if self.given >= MOST || (self.given > 1 && late < LATE) {
            return true;
        }
        *self = Self {
            end: now + time,
            given: self.given + 1,
        };
        false
    }
}
