//! What a shard that leaves takes back from its consumer.
//!
//! Whoever resumes the session gets it again. Of a session that is lost nobody can get anything again, so
//! what is left of one stays for the consumer, also if that turns out only later.

use std::collections::VecDeque;

use shardwright_core::Event;

use super::Item;

/// Dispatches that were withdrawn.
#[derive(Default)]
pub(super) struct Aside {
    items: VecDeque<Item>,
    bytes: usize,
    /// Of those that came when it was full.
    dropped: u64,
}

impl Aside {
    /// Takes from this mailbox all dispatches of sessions after the one that was lost last.
    pub(super) fn take_from(&mut self, items: &mut VecDeque<Item>, lost: Option<u32>) {
        for item in std::mem::take(items) {
            if is_of_lost(&item.event, lost) {
                items.push_back(item);
            } else {
                self.put(item);
            }
        }
    }

    pub(super) fn put(&mut self, item: Item) {
        self.bytes += item.size();
        self.items.push_back(item);
    }

    pub(super) fn drop_one(&mut self) {
        self.dropped += 1;
    }

    pub(super) fn is_full(&self, events: usize, bytes: usize) -> bool {
        self.items.len() >= events || self.bytes >= bytes
    }

    /// Gives back everything, and how many are missing: its session is lost.
    pub(super) fn give_back(&mut self) -> (VecDeque<Item>, u64) {
        let Self { items, dropped, .. } = std::mem::take(self);
        (items, dropped)
    }
}

/// Anything that is no dispatch belongs to no session.
fn is_of_lost(event: &Event<'_>, lost: Option<u32>) -> bool {
    match event {
        Event::Dispatch(dispatch) => lost.is_some_and(|lost| dispatch.id().session <= lost),
        _ => true,
    }
}
