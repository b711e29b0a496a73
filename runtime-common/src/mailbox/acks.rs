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
        let boxes = state.boxes.iter_mut().flatten();
        let mut boxes: Vec<_> = boxes.filter(|mailbox| mailbox.shard == id.shard).collect();
        if boxes.is_empty() {
            return Ok(());
        }
        let Some(mailbox) = boxes.iter_mut().find(|mailbox| mailbox.given >= Some(id)) else {
            return Err(AcknowledgeError::NotGiven(id));
        };
        mailbox.handled = mailbox.handled.max(Some(id));
        let settled = (mailbox.handled >= mailbox.given).then(|| mailbox.producer.take());
        drop(state);
        wake(settled.flatten());
        Ok(())
    }

    /// The last dispatch of a shard that the consumer has done with.
    #[must_use]
    pub fn handled(&self, slot: Slot) -> Option<EventId> {
        self.settled().at(slot.0)?.handled
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
        let given = mailbox.given;
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
        let Some(mailbox) = state.at(slot.0) else {
            return Poll::Ready(None);
        };
        if self.acknowledge == Acknowledge::OnNext {
            return Poll::Ready(mailbox.given);
        }
        if mailbox.handled >= mailbox.given || abandoned {
            return Poll::Ready(mailbox.handled);
        }
        mailbox.producer = Some(cx.waker().clone());
        Poll::Pending
    }
}
