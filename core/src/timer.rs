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
pub(crate) struct Timers([Option<Instant>; COUNT]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    /// Forgets everything that belongs to a connection.
    pub(crate) fn clear_all(&mut self) {
        self.0 = Default::default();
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// The earliest deadline that has passed, taken out.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (timer, _) = ALL
            .into_iter()
            .filter_map(|timer| Some((timer, self.0[timer as usize]?)))
            .filter(|&(_, at)| at <= now)
            .min_by_key(|&(_, at)| at)?;
        self.clear(timer);
        Some(timer)
    }
}
