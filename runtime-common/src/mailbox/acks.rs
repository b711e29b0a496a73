//! What the consumer has done with, and what is taken back from it.

use std::task::{Context, Poll};

use shardwright_core::EventId;

use super::{Acknowledge, Item, Mailbox, Mailboxes, Slot, State, wake};

/// Why an acknowledgement was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// The consumer has not been given this dispatch.
    #[error("event {seq} of session {session} on shard {shard} was not given out yet; acknowledge the id of a dispatch that was",
        seq = .0.seq, session = .0.session, shard = .0.shard)]
    NotGiven(EventId),
}

impl Mailboxes {
    /// The consumer has done with this dispatch and all before it.
    ///
    /// # Errors
    /// If it has not been given out yet.
    pub fn acknowledge(&self, id: EventId) -> Result<(), AcknowledgeError> {
        let mut state = self.settled();
        // A shard that was started anew may have a box for each of its lives, and one that is gone none.
        let has_waited = state.has_more_of_the_last_layout();
        let boxes = state.boxes.iter_mut().enumerate();
        let boxes: Vec<_> = boxes
            .filter_map(|(index, place)| Some((index, place.as_mut()?)))
            .filter(|(_, mailbox)| mailbox.shard == id.shard)
            .collect();
        let was_given = |(_, mailbox): &(usize, &mut Mailbox)| mailbox.given >= Some(id);
        if !boxes.is_empty() && !boxes.iter().any(was_given) {
            return Err(AcknowledgeError::NotGiven(id));
        }
        let mut producers = Vec::new();
        let mut indexes = Vec::new();
        for (index, mailbox) in boxes {
            if !mailbox.retired && mailbox.given < Some(id) {
                // Of another life, whose sessions have numbers of their own.
                continue;
            }
            mailbox.handled = mailbox.handled.max(mailbox.given.min(Some(id)));
            let settled = mailbox.handled >= mailbox.given;
            producers.push(mailbox.producer.take_if(|_| settled));
            indexes.push(index);
        }
        for index in indexes {
            state.free_if_over(index);
        }
        if has_waited && !state.has_more_of_the_last_layout() {
            let boxes = state.boxes.iter_mut().flatten();
            producers.extend(boxes.map(|mailbox| mailbox.producer.take()));
        }
        drop(state);
        producers.into_iter().for_each(wake);
        Ok(())
    }

    /// The last dispatch of a shard that the consumer has done with; of a layout that has taken over nothing, until all
    /// is done with that the layout before has delivered.
    #[must_use]
    pub fn handled(&self, slot: Slot) -> Option<EventId> {
        let mut state = self.settled();
        state.free_what_owes_no_more();
        let waits = state.has_more_of_the_last_layout();
        let mailbox = state.at(slot.0)?;
        let handled = mailbox.handled_through();
        handled.filter(|_| mailbox.silenced || !waits)
    }

    /// Takes back the dispatches of a shard that the consumer has not been given, and all that are still
    /// to come: whoever resumes its session gets them. What is left of sessions that are lost stays, and of a layout that
    /// is over, whose sessions nobody resumes.
    /// Returns the last that was given, or that need not be.
    pub fn withdraw(&self, slot: Slot) -> Option<EventId> {
        let mut state = self.settled();
        let waits = state.has_more_of_the_last_layout();
        let State {
            boxes,
            bytes,
            turns,
            ..
        } = &mut *state;
        let mailbox = boxes.get_mut(slot.0)?.as_mut()?;
        if mailbox.silenced {
            return mailbox.given;
        }
        mailbox.freeze_what_was_passed_over();
        let given = mailbox.given_through();
        let aside = mailbox.aside.get_or_insert_default();
        aside.take_from(&mut mailbox.items, mailbox.lost);
        *bytes -= mailbox.bytes;
        mailbox.bytes = mailbox.items.iter().map(Item::size).sum();
        *bytes += mailbox.bytes;
        if mailbox.items.is_empty() {
            turns.retain(|&turn| turn != slot.0);
        }
        let producer = self.producer_with_room(&mut state, slot.0);
        drop(state);
        wake(producer);
        // What is lost of the last layout, should this process crash, comes again.
        given.filter(|_| !waits)
    }

    /// Ready with the last dispatch that a withdrawn shard's next life goes on after: the last that was
    /// given, or that need not be, once all before has been acknowledged if this is done by hand.
    pub fn poll_settled(&self, slot: Slot, cx: &mut Context<'_>) -> Poll<Option<EventId>> {
        let mut state = self.settled();
        let abandoned = state.abandoned;
        let waits = state.leaves_something_of_the_last_layout(self.acknowledge);
        let Some(mailbox) = state.at(slot.0) else {
            return Poll::Ready(None);
        };
        let waits = waits && !mailbox.silenced;
        if self.acknowledge == Acknowledge::OnNext {
            return Poll::Ready(mailbox.given_through().filter(|_| !waits));
        }
        if abandoned && waits {
            return Poll::Ready(None);
        }
        if (mailbox.handled >= mailbox.given && !waits) || abandoned {
            return Poll::Ready(mailbox.handled_through());
        }
        mailbox.producer = Some(cx.waker().clone());
        Poll::Pending
    }
}
