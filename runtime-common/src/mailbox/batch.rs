//! Events that are put into a mailbox all at once: nearly always nothing has to be decided about any of them, and
//! none is moved if the mailbox is empty.

use std::collections::VecDeque;

use shardwright_core::Event;

use super::{Item, Mailboxes, Overflow, Slot, State, size_of};

/// Events of one shard on their way into its mailbox, all of which go in at once.
#[derive(Default)]
pub struct Batch {
    items: VecDeque<Item>,
    bytes: usize,
    /// Not all of them are dispatches.
    is_mixed: bool,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("events", &self.items.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Batch {
    /// One more. Returns how large it is, in bytes.
    #[inline]
    pub fn push(&mut self, event: Event<'static>) -> usize {
        let size = size_of(&event);
        self.bytes += size;
        self.is_mixed |= !matches!(event, Event::Dispatch(_));
        // Its number is given in the mailbox.
        self.items.push_back(Item { event, number: 0 });
        size
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Gives memory back that nothing is in.
    pub fn rest(&mut self) {
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
    }
}

/// What a mailbox still has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Room {
    /// So many events.
    pub events: usize,
    /// So many bytes.
    pub bytes: usize,
    /// Reading shall pause.
    pub pause: bool,
}

impl Mailboxes {
    /// Puts events of a shard in, and says how much more there is room for. `keep`: the mailbox keeps its memory when
    /// it is empty.
    ///
    /// The consumer is not woken, as by [`push`](Self::push).
    pub fn push_all(&self, slot: Slot, batch: &mut Batch, keep: bool) -> Room {
        let mut state = self.lock_for(slot.0);
        let is_plain =
            !batch.is_mixed && self.overflow == Overflow::Pause && state.is_plain(slot.0);
        if is_plain {
            state.put_all(slot.0, batch);
        } else {
            for item in batch.items.drain(..) {
                self.put(&mut state, slot, item.event);
            }
            (batch.bytes, batch.is_mixed) = (0, false);
        }
        let mut room = Room {
            pause: self.see_if_full(&mut state, slot),
            ..Room::default()
        };
        if let Some(mailbox) = state.at(slot.0) {
            mailbox.keep = keep;
            room.events = self.events.saturating_sub(mailbox.items.len());
            room.bytes = self.bytes.saturating_sub(mailbox.bytes);
        }
        self.see_the_crowd(&state);
        room
    }
}

impl State {
    /// Puts all of a batch in, as it is.
    fn put_all(&mut self, index: usize, batch: &mut Batch) {
        let Some(Some(mailbox)) = self.boxes.get_mut(index) else {
            return;
        };
        for item in &mut batch.items {
            item.number = self.pushed;
            self.pushed += 1;
        }
        let bytes = std::mem::take(&mut batch.bytes);
        mailbox.bytes += bytes;
        self.bytes += bytes;
        if !mailbox.items.is_empty() {
            return mailbox.items.append(&mut batch.items);
        }
        std::mem::swap(&mut mailbox.items, &mut batch.items);
        if !mailbox.items.is_empty() && !mailbox.in_place {
            self.turns.push_back(index);
        }
    }
}
