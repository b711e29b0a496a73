//! Decides when a heartbeat is due, and when silence means that the link is dead.
//!
//! Interval from the connection's own Hello, first beat after a random part of it. Dead: a scheduled
//! beat is due, the one before is unacknowledged and no complete dispatch came since; or any beat has
//! gone four intervals without an acknowledgement. Beats that the gateway asked for never trip the
//! check, acknowledgements that nobody waits for count for nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rng::Rng;

/// The heartbeat of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Heart {
    interval: Duration,
    due: Instant,
    waiting: VecDeque<Beat>,
    /// Whether a complete dispatch came since the last scheduled beat.
    dispatch_since: bool,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    at: Instant,
    scheduled: bool,
    /// Sent before or while nothing was read: its missing acknowledgement proves nothing.
    excused: bool,
}

/// What a due heartbeat means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send one.
    Beat,
    /// The link is dead.
    Dead,
    /// The timer fired far too late (the host slept): send one and see whether it is answered.
    Late,
}

impl Heart {
    /// More unanswered beats than this are not told apart.
    const WAITING: usize = 128;
    /// A Hello must ask for something between these.
    const SANE: std::ops::RangeInclusive<u64> = 200..=600_000;

    /// `None` if the interval makes no sense.
    pub(crate) fn new(now: Instant, interval_ms: u64, rng: &mut Rng) -> Option<Self> {
        if !Self::SANE.contains(&interval_ms) {
            return None;
        }
        let interval = Duration::from_millis(interval_ms);
        let due = now + interval.mul_f64(rng.unit_f64());
        Some(Self {
            interval,
            due,
            waiting: VecDeque::new(),
            dispatch_since: false,
        })
    }

    /// A second Hello on one connection: one schedule, the new interval.
    pub(crate) fn restart(&mut self, now: Instant, interval_ms: u64, rng: &mut Rng) -> bool {
        let Some(fresh) = Self::new(now, interval_ms, rng) else {
            return false;
        };
        self.interval = fresh.interval;
        self.due = fresh.due;
        true
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Judges a beat that is due. `reading` is false while the consumer is congested: then nothing
    /// was read, and no verdict is passed.
    pub(crate) fn judge(&self, now: Instant, reading: bool) -> Due {
        let late = now.saturating_duration_since(self.due);
        if late >= Duration::from_secs(1).max(self.interval / 2) {
            return Due::Late;
        }
        let mut held = self.waiting.iter().filter(|beat| !beat.excused).peekable();
        let too_old = held
            .peek()
            .is_some_and(|beat| now >= beat.at + self.interval * 4);
        let missed = held.any(|beat| beat.scheduled) && !self.dispatch_since;
        if reading && (too_old || missed) {
            Due::Dead
        } else {
            Due::Beat
        }
    }

    /// A scheduled beat is sent; the next is one interval after the moment this one was due.
    pub(crate) fn beat(&mut self, now: Instant, reading: bool) {
        self.remember(Beat {
            at: now,
            scheduled: true,
            excused: !reading,
        });
        self.dispatch_since = false;
        self.due += self.interval;
        if self.due <= now {
            // After a stall one beat is sent, not the backlog.
            self.due = now + self.interval;
        }
    }

    /// The send budget has no room: the beat is put off.
    pub(crate) fn postpone(&mut self, until: Instant) {
        self.due = until;
    }

    /// A beat outside the schedule is sent: the gateway asked, or the host slept.
    pub(crate) fn extra_beat(&mut self, now: Instant, reading: bool) {
        self.remember(Beat {
            at: now,
            scheduled: false,
            excused: !reading,
        });
    }

    fn remember(&mut self, beat: Beat) {
        if self.waiting.len() == Self::WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(beat);
    }

    /// An acknowledgement came: the time since the oldest unanswered beat, if there is one.
    pub(crate) fn acknowledged(&mut self, now: Instant) -> Option<Duration> {
        let beat = self.waiting.pop_front()?;
        Some(now.saturating_duration_since(beat.at))
    }

    /// How many beats may still be answered: on a slow line, or with a slow consumer, answers are minutes late.
    pub(crate) fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// A complete dispatch came: the link lives.
    pub(crate) fn dispatch(&mut self) {
        self.dispatch_since = true;
    }

    /// Nothing was read up to now, or the host slept: what is unanswered is not held against the
    /// link.
    pub(crate) fn excuse(&mut self) {
        for beat in &mut self.waiting {
            beat.excused = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn any_beat_may_wait_four_intervals_for_its_acknowledgement() {
        let now = Instant::now();
        let interval = Duration::from_secs(10);
        let ends = |reading| {
            let mut heart = Heart::new(now, 10_000, &mut Rng::new(1)).unwrap();
            heart.extra_beat(now, reading);
            heart.dispatch();
            [interval * 4 - Duration::from_millis(1), interval * 4].map(|passed| {
                heart.postpone(now + passed);
                heart.judge(now + passed, true)
            })
        };
        assert_eq!(ends(true), [Due::Beat, Due::Dead]);
        assert_eq!(ends(false), [Due::Beat, Due::Beat], "nothing was read");
    }
}
