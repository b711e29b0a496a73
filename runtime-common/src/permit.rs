//! The right to hold memory that only so many lines of a process may hold at a time.
//!
//! When a thousand shards start together each is busy, and what they all held at once would never be given
//! back by most allocators.

use std::sync::atomic::{AtomicUsize, Ordering};

/// One of so many, counted where it says.
#[derive(Debug)]
pub(crate) struct Permit(&'static AtomicUsize);

impl Permit {
    /// One more, if there are less than `most`.
    pub(crate) fn take(all: &'static AtomicUsize, most: usize) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        let taken = all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        // Not made and dropped if there is none.
        taken.is_ok().then(|| Self(all))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
