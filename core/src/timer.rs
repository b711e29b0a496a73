//! The deadlines of a machine: a small table. Firing early, late or twice is harmless.

use std::time::Instant;

/// The deadlines a shard can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Timer {
    /// The dial took too long.
    Dial,
    /// No Hello.
    Hello,
    /// Neither READY, a replayed event nor RESUMED.
    Session,
    /// No more guilds of a new session come.
    Guilds,
    /// A heartbeat is due.
    Heartbeat,
    /// The beat sent after the host slept found no answer.
    Probe,
    /// The send budget has room again.
    Send,
    /// The consumer has made no room.
    Congestion,
    /// The peer did not answer our close frame.
    Close,
    /// Time to dial again.
    Reconnect,
}

const COUNT: usize = 10;
const ALL: [Timer; COUNT] = [
    Timer::Dial,
    Timer::Hello,
    Timer::Session,
    Timer::Guilds,
    Timer::Heartbeat,
    Timer::Probe,
    Timer::Send,
    Timer::Congestion,
    Timer::Close,
    Timer::Reconnect,
];

/// When each deadline is, if it is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    at: [Option<Instant>; COUNT],
    /// The earliest of them: asked for with every message, changed with few.
    earliest: Option<Instant>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.change(timer, Some(at));
    }

    #[inline]
    pub(crate) fn clear(&mut self, timer: Timer) {
        if self.is_set(timer) {
            self.change(timer, None);
        }
    }

    fn change(&mut self, timer: Timer, at: Option<Instant>) {
        self.at[timer as usize] = at;
        self.earliest = self.at.iter().flatten().min().copied();
    }

    /// Forgets everything that belongs to a connection.
    pub(crate) fn clear_all(&mut self) {
        *self = Self::default();
    }

    #[inline]
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at[timer as usize].is_some()
    }

    /// The earliest deadline.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        self.earliest
    }

    /// The earliest deadline that has passed, taken out.
    #[inline]
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = self.earliest.filter(|at| *at <= now);
        due.and_then(|due| self.take(due))
    }

    fn take(&mut self, due: Instant) -> Option<Timer> {
        let timer = ALL
            .into_iter()
            .find(|timer| self.at[*timer as usize] == Some(due))?;
        self.clear(timer);
        Some(timer)
    }
}
