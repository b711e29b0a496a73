//! Bounded mailboxes, one a shard, drained in turn by one consumer, so that a noisy shard stops no other.
//!
//! No async runtime is needed: both sides wait through wakers. What a drain of a machine hands over is
//! always taken, so nothing is lost at the edge: "full" is an answer, not a refusal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use shardwright_core::{Event, EventId};

/// What happens when the consumer is too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Overflow {
    /// Nothing more is read from the shard's socket until there is room; Discord keeps what is missed.
    #[default]
    Pause,
    /// Reading goes on, and new dispatches are dropped and counted. Everything else is kept.
    DropNewest,
}

#[derive(Default)]
struct Mailbox {
    /// Event, size, and its number among all events of the bot.
    events: VecDeque<(Event<'static>, usize, u64)>,
    bytes: usize,
    dropped: u64,
    /// Full, and not yet down to half.
    full: bool,
    producer: Option<Waker>,
    /// In the consumer's hands, not yet handled.
    taken: Option<EventId>,
    handled: Option<EventId>,
}

#[derive(Default)]
struct State {
    boxes: Vec<Mailbox>,
    /// Boxes with something in them, in the order of their turns.
    turns: VecDeque<usize>,
    /// Events of the whole bot: each after everything that came before it.
    bot: VecDeque<(Event<'static>, u64)>,
    pushed: u64,
    last: Option<Event<'static>>,
    ended: bool,
    abandoned: bool,
    consumer: Option<Waker>,
}

/// The mailboxes of one bot.
#[derive(Clone)]
pub struct Mailboxes {
    state: Arc<Mutex<State>>,
    events: usize,
    bytes: usize,
    overflow: Overflow,
}

impl std::fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailboxes").finish_non_exhaustive()
    }
}

/// One shard's place among the mailboxes.
#[derive(Clone, Copy, Debug)]
pub struct Slot(usize);

impl Mailboxes {
    /// No mailbox yet; each will hold this many events and bytes.
    #[must_use]
    pub fn new(events: usize, bytes: usize, overflow: Overflow) -> Self {
        Self {
            state: Arc::default(),
            events: events.max(1),
            bytes,
            overflow,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side leaves plain data behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mailbox for one more shard.
    #[must_use]
    pub fn add(&self) -> Slot {
        let mut state = self.lock();
        state.boxes.push(Mailbox::default());
        Slot(state.boxes.len() - 1)
    }

    /// Puts an event of a shard in. True if reading shall pause.
    pub fn push(&self, slot: Slot, event: Event<'static>) -> bool {
        let size = match &event {
            Event::Dispatch(dispatch) => dispatch.data().len() + 128,
            _ => 256,
        };
        let mut state = self.lock();
        if state.abandoned {
            return false;
        }
        state.pushed += 1;
        let number = state.pushed;
        let Some(mailbox) = state.boxes.get_mut(slot.0) else {
            return false;
        };
        let at_limit = mailbox.events.len() >= self.events || mailbox.bytes >= self.bytes;
        if at_limit && self.overflow == Overflow::DropNewest && matches!(event, Event::Dispatch(_))
        {
            mailbox.dropped += 1;
            return false;
        }
        let first = mailbox.events.is_empty();
        mailbox.bytes += size;
        mailbox.events.push_back((event, size, number));
        if mailbox.events.len() >= self.events || mailbox.bytes >= self.bytes {
            mailbox.full = true;
        }
        let pause = mailbox.full && self.overflow == Overflow::Pause;
        if first {
            state.turns.push_back(slot.0);
        }
        wake(state.consumer.take());
        pause
    }

    /// Puts an event of the whole bot in.
    pub fn push_bot(&self, event: Event<'static>) {
        let mut state = self.lock();
        if matches!(event, Event::Stopped { .. }) {
            state.last = Some(event);
        } else {
            let number = state.pushed;
            state.bot.push_back((event, number));
        }
        wake(state.consumer.take());
    }

    /// Ready once a paused shard may read again.
    pub fn poll_room(&self, slot: Slot, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let Some(mailbox) = state.boxes.get_mut(slot.0) else {
            return Poll::Ready(());
        };
        if !mailbox.full {
            return Poll::Ready(());
        }
        mailbox.producer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next event; `None` after the last. Taking one acknowledges the one before of the same shard.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Event<'static>>> {
        let mut state = self.lock();
        if let Some(&(_, number)) = state.bot.front() {
            let oldest = |mailbox: &Mailbox| mailbox.events.front().map(|&(_, _, number)| number);
            let is_next = state
                .boxes
                .iter()
                .filter_map(oldest)
                .all(|waiting| waiting > number);
            if is_next && let Some((event, _)) = state.bot.pop_front() {
                return Poll::Ready(Some(event));
            }
        }
        if let Some(turn) = state.turns.pop_front()
            && let Some(mailbox) = state.boxes.get_mut(turn)
            && let Some((event, size, _)) = mailbox.events.pop_front()
        {
            mailbox.bytes -= size;
            if let Event::Dispatch(dispatch) = &event {
                mailbox.handled = mailbox.taken.replace(dispatch.id()).or(mailbox.handled);
            } else if let Some(before) = mailbox.taken.take() {
                mailbox.handled = Some(before);
            }
            let room = mailbox.events.len() <= self.events / 2 && mailbox.bytes <= self.bytes / 2;
            if mailbox.full && room {
                mailbox.full = false;
                wake(mailbox.producer.take());
            }
            if !mailbox.events.is_empty() {
                state.turns.push_back(turn);
            }
            return Poll::Ready(Some(event));
        }
        if let Some(last) = state.last.take() {
            state.ended = true;
            return Poll::Ready(Some(last));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.consumer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The last event of a shard that the consumer has handled.
    #[must_use]
    pub fn handled(&self, slot: Slot) -> Option<EventId> {
        self.lock().boxes.get(slot.0)?.handled
    }

    /// Dispatches dropped so far, of all shards.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock()
            .boxes
            .iter()
            .map(|mailbox| mailbox.dropped)
            .sum()
    }

    /// Nobody will take events any more: what is there and what comes is thrown away.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        for mailbox in &mut state.boxes {
            mailbox.events.clear();
            mailbox.bytes = 0;
            mailbox.full = false;
            wake(mailbox.producer.take());
        }
        state.turns.clear();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
