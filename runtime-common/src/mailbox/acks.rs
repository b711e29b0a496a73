//! What the consumer has done with, and what is taken back from it.

use std::task::{Context, Poll};

use shardwright_core::EventId;

use super::{Acknowledge, Item, Mailboxes, Slot, State, wake};

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
        let boxes = state.boxes.iter_mut().enumerate();
        let mut boxes = boxes
            .filter_map(|(index, place)| Some((index, place.as_mut()?)))
            .filter(|(_, mailbox)| mailbox.shard == id.shard)
            .peekable();
        if boxes.peek().is_none() {
            return Ok(());
        }
        let Some((index, mailbox)) = boxes.find(|(_, mailbox)| mailbox.given >= Some(id)) else {
            return Err(AcknowledgeError::NotGiven(id));
        };
        mailbox.handled = mailbox.handled.max(Some(id));
        let settled = mailbox.handled >= mailbox.given;
        let silenced = mailbox.silenced;
        let mut producers = vec![mailbox.producer.take_if(|_| settled)];
        drop(boxes);
        state.free_if_over(index);
        if silenced && !state.has_more_of_the_last_layout() {
            let boxes = state.boxes.iter_mut().flatten();
            producers.extend(boxes.map(|mailbox| mailbox.producer.take()));
        }
        drop(state);
        producers.into_iter().for_each(wake);
        Ok(())
    }

    /// The last dispatch of a shard that the consumer has done with.
    #[must_use]
    pub fn handled(&self, slot: Slot) -> Option<EventId> {
        let mut state = self.settled();
        let waits = state.has_more_of_the_last_layout();
        let mailbox = state.at(slot.0)?;
        let handled = mailbox.handled_through();
        handled.filter(|_| mailbox.silenced || !waits)
    }

    /// Takes back the dispatches of a shard that the consumer has not been given, and all that are still
    /// to come: whoever resumes its session gets them. What is left of sessions that are lost stays.
    /// Returns the last that was given.
    pub fn withdraw(&self, slot: Slot) -> Option<EventId> {
        let mut state = self.settled();
        let State {
            boxes,
            bytes,
            turns,
            ..
        } = &mut *state;
        let mailbox = boxes.get_mut(slot.0)?.as_mut()?;
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
        given
    }

    /// Ready with the last dispatch that a withdrawn shard's next life goes on after: the last that was
    /// given, once that has been acknowledged if this is done by hand.
    pub fn poll_settled(&self, slot: Slot, cx: &mut Context<'_>) -> Poll<Option<EventId>> {
        let mut state = self.settled();
        let abandoned = state.abandoned;
        let waits = state.has_more_of_the_last_layout();
        let Some(mailbox) = state.at(slot.0) else {
            return Poll::Ready(None);
        };
        if self.acknowledge == Acknowledge::OnNext {
            return Poll::Ready(mailbox.given_through());
        }
        let waits = waits && !mailbox.silenced;
        if (mailbox.handled >= mailbox.given && !waits) || abandoned {
            return Poll::Ready(mailbox.handled_through());
        }
        mailbox.producer = Some(cx.waker().clone());
        Poll::Pending
    }
}
