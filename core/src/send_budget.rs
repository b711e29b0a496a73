//! Decides when a payload may be sent: 120 in any 60 s of a connection, all kinds counted, and 5
//! presence updates in any 20 s. A reserve is kept for heartbeats, so that commands can never delay
//! one. (Going over is answered with close code 4008.)

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SENDS: usize = 120;
const WINDOW: Duration = Duration::from_secs(60);
const PRESENCES: usize = 5;
const PRESENCE_WINDOW: Duration = Duration::from_secs(20);
/// A little more than the window, so that clocks that run apart and a network that compresses gaps
/// do not turn 120 into 121 at the gateway.
const MARGIN: Duration = Duration::from_millis(150);

/// A sliding log of one connection's sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendBudget {
    sends: VecDeque<Instant>,
    presences: VecDeque<Instant>,
    reserve: usize,
}

impl SendBudget {
    /// Keeps room for the heartbeats of this interval, and for as many again that the gateway may
    /// ask for.
    pub(crate) fn reserve_for(&mut self, interval: Duration) {
        let interval = interval.as_millis().max(1);
        let beats = usize::try_from(60_000_u128.div_ceil(interval)).unwrap_or(SENDS) + 1;
        self.reserve = beats.saturating_mul(3).min(SENDS * 3 / 4);
    }

    fn forget(&mut self, now: Instant) {
        while self
            .sends
            .front()
            .is_some_and(|&at| at + WINDOW + MARGIN <= now)
        {
            self.sends.pop_front();
        }
        while self
            .presences
            .front()
            .is_some_and(|&at| at + PRESENCE_WINDOW + MARGIN <= now)
        {
            self.presences.pop_front();
        }
    }

    /// When the next beat can go. Beats may use the whole budget, except for what is kept back for
    /// an Identify that is still to come.
    pub(crate) fn beat_at(&mut self, now: Instant, keep: usize) -> Instant {
        self.free_at(now, SENDS - keep)
    }

    /// When the next command can go.
    pub(crate) fn command_at(&mut self, now: Instant) -> Instant {
        self.free_at(now, SENDS - self.reserve)
    }

    /// When the next presence update can go, as far as its own limit is concerned.
    pub(crate) fn presence_at(&mut self, now: Instant) -> Instant {
        self.forget(now);
        let over = (self.presences.len() + 1).saturating_sub(PRESENCES);
        match over
            .checked_sub(1)
            .and_then(|last| self.presences.get(last))
        {
            Some(&at) => at + PRESENCE_WINDOW + MARGIN,
            None => now,
        }
    }

    fn free_at(&mut self, now: Instant, allowed: usize) -> Instant {
        self.forget(now);
        let over = (self.sends.len() + 1).saturating_sub(allowed);
        match over.checked_sub(1).and_then(|last| self.sends.get(last)) {
            Some(&at) => at + WINDOW + MARGIN,
            None => now,
        }
    }

    pub(crate) fn sent(&mut self, now: Instant, presence: bool) {
        self.sends.push_back(now);
        if presence {
            self.presences.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stop_before_the_reserve_and_beats_do_not() {
        let start = Instant::now_for_test();
        let mut budget = SendBudget::default();
        budget.reserve_for(Duration::from_millis(41_250));
        let mut sent = 0;
        while budget.command_at(start) == start {
            budget.sent(start, false);
            sent += 1;
        }
        // 60 / 41.25 rounds up to 2 beats, one more at the edge, three times: 9 of 120.
        assert_eq!(sent, 111);
        for _ in 0..9 {
            assert_eq!(budget.beat_at(start, 0), start);
            budget.sent(start, false);
        }
        assert_eq!(
            budget.beat_at(start, 0),
            start + Duration::from_millis(60_150)
        );
    }

    #[test]
    fn the_sixth_presence_waits_for_the_first_to_leave_the_window() {
        let start = Instant::now_for_test();
        let mut budget = SendBudget::default();
        for second in 0..5 {
            let now = start + Duration::from_secs(second);
            assert_eq!(budget.presence_at(now), now);
            budget.sent(now, true);
        }
        let now = start + Duration::from_secs(5);
        assert_eq!(
            budget.presence_at(now),
            start + Duration::from_millis(20_150)
        );
    }

    #[test]
    fn a_quarter_of_the_budget_is_left_to_commands_however_fast_the_heart_beats() {
        let start = Instant::now_for_test();
        let mut budget = SendBudget::default();
        budget.reserve_for(Duration::from_millis(200));
        for _ in 0..30 {
            assert_eq!(budget.command_at(start), start);
            budget.sent(start, false);
        }
        assert!(budget.command_at(start) > start);
    }

    #[test]
    fn a_send_counts_until_it_has_left_its_window_and_is_forgotten_then() {
        let start = Instant::now_for_test();
        let mut budget = SendBudget::default();
        for _ in 0..5 {
            budget.sent(start, true);
        }
        for _ in 5..120 {
            budget.sent(start, false);
        }
        let presence_free = start + Duration::from_millis(20_150);
        let early = presence_free - Duration::from_millis(1);
        assert_eq!(budget.presence_at(early), presence_free);
        assert_eq!(budget.presence_at(presence_free), presence_free);
        let free = start + Duration::from_millis(60_150);
        let early = free - Duration::from_millis(1);
        assert_eq!(budget.beat_at(early, 0), free);
        assert_eq!(budget.beat_at(free, 0), free);
        let kept = budget.sends.len() + budget.presences.len();
        assert_eq!(kept, 0, "what has left its window takes no memory");
    }

    /// Tests need one real instant to count from.
    trait Epoch {
        fn now_for_test() -> Self;
    }
    impl Epoch for Instant {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        fn now_for_test() -> Self {
            Self::now()
        }
    }
}
