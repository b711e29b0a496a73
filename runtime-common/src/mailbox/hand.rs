//! What the consumer has at hand: a few events of one mailbox, so that it need not take the lock that all shards
//! share for each.
//!
//! They are its own until anybody wants to know or to change what it was given. Whoever does has both
//! locks ([`Mailboxes::settled`]): what is left at hand goes back to the front of its mailbox first. So does it, if
//! it was much, when something comes of another shard. So it makes no difference to anything but time, but that turns
//! are of more than one event.

use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use shardwright_core::{Event, EventId};

use super::{Acknowledge, Item, Mailboxes, State, wake};

/// So many events in one round of all shards: that long another shard may have to wait at most.
const A_ROUND: usize = 16;
/// So many, and twice that part of the events, if nothing of any other waits.
const ALONE: usize = 128;
/// And of a mailbox at most this part of its limits: what is at hand does not count there.
const PART: usize = 64;
/// Large ones are not worth it: so many bytes an event at most, on average.
const A_MEAN: usize = 2 * 1024;

#[derive(Default)]
pub(super) struct Hand {
    /// Whose they are; none of a mailbox that is gone are ever here.
    index: Option<usize>,
    items: VecDeque<Item>,
    /// The last dispatch that was given from here, and the last that is handled.
    given: Option<EventId>,
    handled: Option<EventId>,
    /// The last event that was given is a dispatch.
    holds_dispatch: bool,
}

impl Hand {
    /// The next event at hand. Asking says that the one before has been handled.
    #[inline]
    pub(super) fn next(&mut self, acknowledge: Acknowledge) -> Option<Event<'static>> {
        let item = self.items.pop_front()?;
        if acknowledge == Acknowledge::OnNext {
            self.handled = self.given;
        }
        self.holds_dispatch = match &item.event {
            Event::Dispatch(dispatch) => {
                self.given = Some(dispatch.id());
                true
            }
            _ => false,
        };
        Some(item.event)
    }

    /// Gives back what is left, and says what was given.
    pub(super) fn settle(&mut self, state: &mut State) {
        state.much_at_hand = None;
        let Some(index) = self.index.take() else {
            return;
        };
        let (given, handled) = (self.given.take(), self.handled.take());
        let Some(Some(mailbox)) = state.boxes.get_mut(index) else {
            return;
        };
        if given.is_some() {
            mailbox.given = given;
        }
        mailbox.handled = mailbox.handled.max(handled);
        if std::mem::take(&mut self.holds_dispatch) {
            state.in_hand = Some(index);
        }
        let gives_back = !self.items.is_empty();
        let was_empty = mailbox.items.is_empty();
        for item in self.items.drain(..).rev() {
            let size = item.size();
            mailbox.bytes += size;
            state.bytes += size;
            mailbox.items.push_front(item);
        }
        if gives_back && was_empty {
            state.turns.push_front(index);
        } else if gives_back && mailbox.silenced {
            // It comes before all of the next layout, also if it has got something else meanwhile.
            state.turns.retain(|&turn| turn != index);
            state.turns.push_front(index);
        }
        state.free_if_over(index);
    }
}

impl Mailboxes {
    /// The next event; `None` after the last. Asking says that the one before has been handled.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Event<'static>>> {
        let mut hand = self.hand();
        if let Some(event) = hand.next(self.acknowledge) {
            return Poll::Ready(Some(event));
        }
        let mut producers = Vec::new();
        let next = self.poll_boxes(&mut hand, &mut producers, cx);
        drop(hand);
        producers.into_iter().for_each(wake);
        next
    }

    /// The same with nothing at hand; and who is to be woken, once no lock is held.
    fn poll_boxes(
        &self,
        hand: &mut Hand,
        producers: &mut Vec<Option<Waker>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Event<'static>>> {
        let mut state = self.lock();
        hand.settle(&mut state);
        if self.acknowledge == Acknowledge::OnNext {
            state.set_handled();
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if let Some(event) = state.next_of_bot() {
            return Poll::Ready(Some(event));
        }
        let turn = state.turns.front().copied();
        if let Some(turn) = turn
            && let Some(event) = self.begin_turn(hand, &mut state)
        {
            if let producer @ Some(_) = self.producer_with_room(&mut state, turn) {
                producers.push(producer);
            }
            if state.full {
                producers.append(&mut self.producers_with_room(&mut state));
            }
            self.see_the_crowd(&state);
            return Poll::Ready(Some(event));
        }
        if let Some(last) = state.last.take() {
            state.ended = true;
            return Poll::Ready(Some(last));
        }
        state.consumer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn hand(&self) -> MutexGuard<'_, Hand> {
        // A panic of the other side leaves plain data behind.
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state with nothing at the consumer's hand.
    pub(super) fn settled(&self) -> MutexGuard<'_, State> {
        // Always in this order.
        let mut hand = self.hand();
        let mut state = self.lock();
        hand.settle(&mut state);
        state
    }

    /// The state, for what comes to this box: much that is at hand of another goes back, so that what comes need not
    /// wait for all of it.
    pub(super) fn lock_for(&self, index: usize) -> MutexGuard<'_, State> {
        let state = self.lock();
        if state.much_at_hand.is_none_or(|much| much == index) {
            return state;
        }
        drop(state);
        self.settled()
    }

    /// The next event of the shard whose turn it is, with more of its events at hand.
    pub(super) fn begin_turn(&self, hand: &mut Hand, state: &mut State) -> Option<Event<'static>> {
        let turn = state.turns.pop_front()?;
        let before = state.bot.front().map(|&(_, before)| before);
        let most = match (self.acknowledge, state.turns.len()) {
            // What is acknowledged by hand is settled with each event.
            (Acknowledge::Manual, _) => 1,
            (Acknowledge::OnNext, 0) if before.is_none() => ALONE.min(self.events / (PART / 2)),
            (Acknowledge::OnNext, others) => (A_ROUND / (others + 1)).min(self.events / PART),
        };
        let most_bytes = (most * A_MEAN).min(self.bytes / PART);
        let mailbox = state.boxes.get_mut(turn)?.as_mut()?;
        let first = mailbox.items.pop_front()?;
        let mut bytes = first.size();
        let rest = mailbox.items.len();
        let is_small = mailbox.items.capacity() <= 2 * ALONE;
        if (1..most).contains(&rest) && is_small && mailbox.bytes < most_bytes && before.is_none() {
            // All that there is: nothing is moved. The room that many had would stay here for good.
            bytes = mailbox.bytes;
            std::mem::swap(&mut hand.items, &mut mailbox.items);
        } else {
            let may_come = |item: &Item| before.is_none_or(|before| item.number < before);
            while hand.items.len() + 1 < most
                && bytes < most_bytes
                && mailbox.items.front().is_some_and(may_come)
                && let Some(item) = mailbox.items.pop_front()
            {
                bytes += item.size();
                hand.items.push_back(item);
            }
        }
        mailbox.bytes -= bytes;
        state.bytes -= bytes;
        state.taken += 1 + hand.items.len() as u64;
        if mailbox.silenced {
            let owes_until = state.taken.saturating_add(self.events as u64);
            mailbox.owes_until = mailbox.owes_until.max(owes_until);
        }
        if !mailbox.items.is_empty() {
            // What is left of a layout that is over comes before all of the next.
            match mailbox.silenced {
                true => state.turns.push_front(turn),
                false => state.turns.push_back(turn),
            }
        } else if !mailbox.keep {
            // A shard at rest holds no room for events.
            mailbox.items = VecDeque::new();
        }
        if hand.items.is_empty() && mailbox.retired && !mailbox.silenced && mailbox.items.is_empty()
        {
            // Nobody will want to know what was given of it.
            state.free_if_over(turn);
            return Some(first.event);
        }
        hand.index = Some(turn);
        state.much_at_hand = (hand.items.len() >= A_ROUND).then_some(turn);
        if let Event::Dispatch(dispatch) = &first.event {
            hand.given = Some(dispatch.id());
            hand.holds_dispatch = true;
        }
        Some(first.event)
    }
}
