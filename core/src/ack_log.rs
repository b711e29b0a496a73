//! Decides which sequence number a stored state may carry: everything up to it has been handled by
//! the consumer, or was never meant for it.

use std::collections::VecDeque;

/// The acknowledged sequence of one session.
///
/// Filtered events count as acknowledged once every delivered event before them is. They are kept
/// as runs, so that the memory grows with the number of unacknowledged *changes* between delivered
/// and filtered, and is capped.
#[derive(Clone, Debug)]
pub(crate) struct AckLog {
    acknowledged: u64,
    last_delivered: u64,
    /// (last sequence delivered before the run, last sequence filtered in it), ascending.
    filtered: VecDeque<(u64, u64)>,
}

impl AckLog {
    /// Beyond this many runs the oldest are merged away: a crash then replays a little more.
    const RUNS: usize = 8192;

    pub(crate) fn new(seq: u64) -> Self {
        Self {
            acknowledged: seq,
            last_delivered: seq,
            filtered: VecDeque::new(),
        }
    }

    pub(crate) fn delivered(&mut self, seq: u64) {
        self.last_delivered = seq;
    }

    pub(crate) fn filtered(&mut self, seq: u64) {
        if self.acknowledged >= self.last_delivered {
            self.acknowledged = seq;
            self.last_delivered = self.last_delivered.max(seq);
            return;
        }
        match self.filtered.back_mut() {
            Some((after, through)) if *after == self.last_delivered => *through = seq,
            _ => {
                if self.filtered.len() == Self::RUNS {
                    self.filtered.pop_front();
                }
                self.filtered.push_back((self.last_delivered, seq));
            }
        }
    }

    /// The consumer has handled everything up to `seq`.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        self.acknowledged = self.acknowledged.max(seq);
        while let Some(&(after, through)) = self.filtered.front()
            && after <= self.acknowledged
        {
            self.acknowledged = self.acknowledged.max(through);
            self.filtered.pop_front();
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filtered_events_count_once_their_predecessors_do() {
        let mut log = AckLog::new(1);
        log.filtered(2);
        assert_eq!(log.acknowledged(), 2, "nothing before it is open");
        log.delivered(3);
        log.filtered(4);
        log.filtered(5);
        log.delivered(6);
        log.filtered(7);
        assert_eq!(log.acknowledged(), 2);
        log.acknowledge(3);
        assert_eq!(log.acknowledged(), 5);
        log.acknowledge(6);
        assert_eq!(log.acknowledged(), 7);
    }

    #[test]
    fn a_run_of_filtered_events_takes_the_room_of_one() {
        let mut log = AckLog::new(1);
        log.delivered(2);
        (3..100_000).for_each(|seq| log.filtered(seq));
        assert_eq!(log.filtered.len(), 1);
        log.acknowledge(2);
        assert_eq!(log.acknowledged(), 99_999);
    }

    #[test]
    fn too_many_runs_are_forgotten_from_the_oldest_on() {
        let mut log = AckLog::new(0);
        // Odd ones are delivered, even ones filtered: a run each.
        for seq in 1..=20_000 {
            if seq % 2 == 1 {
                log.delivered(seq);
            } else {
                log.filtered(seq);
            }
        }
        assert_eq!(log.filtered.len(), AckLog::RUNS);
        log.acknowledge(1);
        assert_eq!(log.acknowledged(), 1, "a little less than could be");
        log.acknowledge(19_999);
        assert_eq!(log.acknowledged(), 20_000);
    }

    #[test]
    fn an_acknowledgement_never_goes_back() {
        let mut log = AckLog::new(10);
        log.delivered(11);
        log.delivered(12);
        log.acknowledge(12);
        log.acknowledge(11);
        assert_eq!(log.acknowledged(), 12);
    }
}
