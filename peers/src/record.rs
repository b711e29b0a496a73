//! What a peer reported, and how to wait for it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nothing here takes that long; it only ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thing a peer reported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// A payload came that is no dispatch.
    Op(u64),
    /// A dispatch came.
    Dispatch {
        /// Its sequence number.
        seq: u64,
        /// Its name.
        name: String,
        /// Whether the peer has a type or a parser for it.
        known: bool,
    },
    /// A guild became known.
    Guild(u64),
    /// The peer read an event and found it about something it does not know.
    Discarded(String),
    /// A member request was answered; these are the members' ids.
    Members(Vec<u64>),
    /// All shards are up, and have the members they asked for.
    Ready,
    /// The peer could not make sense of something.
    Complaint(String),
    /// The peer is gone.
    Ended,
}

/// Everything a peer reported, in order.
#[derive(Clone, Debug, Default)]
pub struct Record {
    shared: Arc<(Mutex<Vec<Report>>, Condvar)>,
}

impl Record {
    /// Adds a report.
    pub fn push(&self, report: Report) {
        let (reports, changed) = &*self.shared;
        reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(report);
        changed.notify_all();
    }

    /// A copy of it as it is now.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let (reports, _) = &*self.shared;
        reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many reports satisfy this.
    pub fn count(&self, mut wanted: impl FnMut(&Report) -> bool) -> usize {
        self.reports()
            .iter()
            .filter(|report| wanted(report))
            .count()
    }

    /// What the peer could not make sense of.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let reports = self.reports().into_iter();
        reports
            .filter_map(|report| match report {
                Report::Complaint(what) => Some(what),
                _ => None,
            })
            .collect()
    }

    /// Waits until the reports satisfy a condition.
    ///
    /// # Panics
    /// When that takes too long, or the peer ended or complained meanwhile.
    pub fn wait_for(&self, what: &str, mut wanted: impl FnMut(&[Report]) -> bool) {
        let (reports, changed) = &*self.shared;
        let end = Instant::now() + PATIENCE;
        let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
        while !wanted(&reports) {
            let complaint = reports
                .iter()
                .find(|report| matches!(report, Report::Complaint(_)));
            assert_eq!(complaint, None, "while waiting for {what}");
            let gone = reports.last() == Some(&Report::Ended);
            assert!(!gone, "the peer ended; waited for {what}");
            let left = end.saturating_duration_since(Instant::now());
            let last = &reports[reports.len().saturating_sub(20)..];
            assert!(!left.is_zero(), "waited in vain for {what}; last {last:?}");
            reports = changed
                .wait_timeout(reports, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
