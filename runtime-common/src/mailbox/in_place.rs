//! Boxes of shards whose events are delivered in place: they only hold what is kept back while the layout
//! changes.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use shardwright_core::Event;

use super::{Item, Mailboxes, Slot, State, size_of};
use crate::swap::{Swap, Verdict};

impl Mailboxes {
    /// What comes to this box is delivered in place.
    pub(crate) fn set_in_place(&self, slot: Slot) {
        if let Some(mailbox) = self.lock().at(slot.0) {
            mailbox.in_place = true;
        }
    }

    /// Whether a change of layouts is under way: then [`pass`](Self::pass) decides what is delivered in
    /// place.
    pub(crate) fn swaps(&self) -> bool {
        self.hints.swapping.load(Ordering::Relaxed)
    }

    /// An event that is delivered in place, if it is to be delivered.
    pub(crate) fn pass<'m>(&self, slot: Slot, event: Event<'m>) -> Option<Event<'m>> {
        let mut state = self.lock();
        let State { boxes, swap, .. } = &mut *state;
        let Some(Some(mailbox)) = boxes.get_mut(slot.0) else {
            return None;
        };
        match &event {
            Event::Dispatch(dispatch) => {
                if mailbox.silenced || mailbox.aside.is_some() {
                    return None;
                }
                if let Some(muted) = &mut mailbox.muted {
                    if muted.wants(dispatch, swap) {
                        let size = size_of(&event);
                        muted.keep(event.into_owned(), size, self.bytes);
                    }
                    return None;
                }
                if swap.judge(dispatch, mailbox.is_new) == Verdict::LeaveOut {
                    mailbox.pass_over(dispatch.id());
                    return None;
                }
                if matches!(swap, Swap::None) {
                    self.hints.swapping.store(false, Ordering::Relaxed);
                }
            }
            Event::GuildsLoaded { .. } => {
                if let Some(muted) = &mut mailbox.muted {
                    muted.set_loaded();
                }
            }
            _ => {}
        }
        if mailbox.items.is_empty() {
            return Some(event);
        }
        // It has just taken over: what was kept comes first.
        let size = size_of(&event);
        state.put(slot.0, event.into_owned(), size);
        None
    }

    /// Ready once a shard that was muted is heard, with the next event that it has kept: for delivery in place. What
    /// is not asked for stays, should a handler panic.
    pub(crate) fn poll_kept(
        &self,
        slot: Slot,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Event<'static>>> {
        let mut state = self.lock();
        let State { boxes, bytes, .. } = &mut *state;
        let Some(Some(mailbox)) = boxes.get_mut(slot.0) else {
            return Poll::Ready(None);
        };
        if mailbox.muted.is_some() {
            mailbox.producer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let item = mailbox.items.pop_front();
        let size = item.as_ref().map_or(0, Item::size);
        mailbox.bytes -= size;
        *bytes -= size;
        Poll::Ready(item.map(|item| item.event))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use shardwright_core::ShardId;

    use super::*;
    use crate::{Acknowledge, Overflow};

    #[test]
    fn what_is_kept_for_a_handler_comes_one_by_one_also_when_the_consumer_is_gone() {
        let boxes = Mailboxes::new(10, 1 << 20, Overflow::Pause, Acknowledge::OnNext);
        let shard = ShardId::SINGLE;
        let slot = boxes.add_muted(shard);
        boxes.set_in_place(slot);
        for latency in (1..=3).map(Duration::from_secs) {
            boxes.push(slot, Event::Heartbeat { shard, latency });
        }
        let next = || boxes.poll_kept(slot, &mut Context::from_waker(Waker::noop()));
        assert!(next().is_pending(), "it is not heard yet");
        boxes.prepare_swap();
        boxes.swap();
        for number in 1..=3 {
            let Poll::Ready(Some(Event::Heartbeat { latency, .. })) = next() else {
                panic!("{number} is missing");
            };
            assert_eq!(latency, Duration::from_secs(number));
            boxes.abandon();
        }
        assert!(matches!(next(), Poll::Ready(None)));
        assert_eq!(boxes.lock().bytes, 0);
    }
}
