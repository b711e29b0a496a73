//! Which of the machine's timers is due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::io::ConnId;
use super::session::SessionKey;
use crate::scenario::Listener;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The client's beat is overdue.
    Beat(ConnId),
    /// A script goes on.
    Script(u64),
    /// A step is due on one connection.
    Step(ConnId, usize),
    /// A step is due on all connections it selects.
    Everywhere(usize),
    /// Events are due.
    Rate(SessionKey),
    /// A session without a connection ends.
    Expiry(SessionKey),
    /// A close frame was not answered.
    CloseUnanswered(ConnId),
    /// A resumed connection on the main address has lived long enough.
    MainLife(ConnId),
    /// A malformed command makes the session invalid.
    Poisoned(ConnId),
    /// A client nobody listens to has had its time.
    Forgotten(ConnId),
    /// A listener opens again.
    Listener(Listener),
}

/// Timers in order of time; those of the same time in the order they were set. A timer can't be
/// taken back: whoever set it looks at the state when it fires.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    set: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.set += 1;
        self.heap.push(Reverse((at, self.set, timer)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, timer))| timer)
    }
}
