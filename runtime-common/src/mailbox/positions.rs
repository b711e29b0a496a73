//! How far the consumer is with what a box has had, and whether it is done with the layout before.

use shardwright_core::{Event, EventId};

use super::{Acknowledge, Item, Mailbox, State};

impl Mailbox {
    /// The last dispatch that was given, or that need not be; none that is still to be given came before it. For the
    /// state with nothing at hand.
    pub(super) fn given_through(&self) -> Option<EventId> {
        let mut dispatches = self.items.iter().filter_map(|item| match &item.event {
            Event::Dispatch(dispatch) => Some(dispatch.id()),
            _ => None,
        });
        let next = dispatches.next();
        let is_before = |id: &EventId| next.is_none_or(|next| *id < next);
        let over = self.passed_over.filter(is_before);
        let over_before = self.passed_over_before.filter(is_before);
        self.given.max(over).max(over_before)
    }

    /// The last dispatch that is done with, if all before it are.
    pub(super) fn handled_through(&self) -> Option<EventId> {
        if self.handled < self.given {
            return self.handled;
        }
        self.given_through()
    }

    /// A dispatch is left out: it is done with if all before it are.
    pub(super) fn pass_over(&mut self, id: EventId) {
        self.passed_over = Some(id);
    }

    /// What waits here goes elsewhere: only what was left out before it counts from now on.
    pub(super) fn freeze_what_was_passed_over(&mut self) {
        self.passed_over = self.given_through();
        self.passed_over_before = None;
    }

    pub(super) fn has_dispatches(&self) -> bool {
        let is_dispatch = |item: &Item| matches!(item.event, Event::Dispatch(_));
        !self.in_place && self.items.iter().any(is_dispatch)
    }

    /// Of a layout that is over, and the consumer, which has taken so many events, has not done with what it was given.
    pub(super) fn is_owing(&self, taken: u64) -> bool {
        self.silenced && self.handled < self.given && taken < self.owes_until
    }
}

impl State {
    /// Boxes of layouts that are over, whose last events were waited for long enough.
    pub(super) fn free_what_owes_no_more(&mut self) {
        let all = if self.silenced > 0 {
            self.boxes.len()
        } else {
            0
        };
        for index in 0..all {
            if self.at(index).is_some_and(|mailbox| mailbox.silenced) {
                self.free_if_over(index);
            }
        }
    }

    /// Whether something of the layout before the present one is still to be handled: until then nothing of the
    /// present one's sessions is, or who resumes them after a crash would get neither.
    pub(super) fn has_more_of_the_last_layout(&self) -> bool {
        self.is_left_behind(|mailbox| mailbox.has_dispatches() || mailbox.is_owing(self.taken))
    }

    /// The same where the consumer leaves: what it has in its hands counts as handled, unless that is said by hand.
    pub(super) fn leaves_something_of_the_last_layout(&self, acknowledge: Acknowledge) -> bool {
        match acknowledge {
            Acknowledge::OnNext => self.is_left_behind(Mailbox::has_dispatches),
            Acknowledge::Manual => self.has_more_of_the_last_layout(),
        }
    }

    fn is_left_behind(&self, is_left: impl Fn(&Mailbox) -> bool) -> bool {
        let mut boxes = self.boxes.iter().flatten();
        let is_here =
            self.silenced > 0 && boxes.any(|mailbox| mailbox.silenced && is_left(mailbox));
        is_here || self.left_behind
    }
}
