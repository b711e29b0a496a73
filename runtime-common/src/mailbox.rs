//! Bounded mailboxes, one a shard, drained in turn by one consumer, so that a noisy shard stops no other.
//!
//! No async runtime is needed: both sides wait through wakers. What a drain of a machine hands over is
//! always taken, so nothing is lost at the edge: "full" is an answer, not a refusal. So a mailbox holds at
//! most its limit and what one drain gives; and after a change of layouts, or the loss of a session that was
//! withdrawn from, what was kept elsewhere until then, which has bounds of its own. What the consumer has at hand is a
//! small part of that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use shardwright_core::{Event, EventId, ShardId};

use crate::swap::{Muted, Swap, Verdict};

mod acks;
mod aside;
mod batch;
mod hand;
mod in_place;
mod layouts;
mod positions;

pub use acks::AcknowledgeError;
pub use batch::{Batch, Room};

use aside::Aside;
use hand::Hand;

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

/// When a dispatch counts as handled, so that a session that is resumed elsewhere goes on after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Acknowledge {
    /// When the consumer asks for the next event.
    #[default]
    OnNext,
    /// When the consumer says so with `events.acknowledge(id)`.
    ///
    /// After a `StartThenSwap` the sessions of the new shards go on from where they began until what the old ones have
    /// delivered is acknowledged too, or until the consumer has taken as many events since as a mailbox holds.
    Manual,
}

struct Item {
    event: Event<'static>,
    /// Its number among all events of the bot.
    number: u64,
}

impl Item {
    #[inline]
    fn size(&self) -> usize {
        size_of(&self.event)
    }
}

struct Mailbox {
    shard: ShardId,
    items: VecDeque<Item>,
    /// Its room is kept when it is empty: more will be in it soon.
    keep: bool,
    bytes: usize,
    dropped: u64,
    /// Full, and not yet down to half.
    full: bool,
    /// Another layout has taken over: its dispatches come from there.
    silenced: bool,
    /// Its shard leaves, and its dispatches go to whoever resumes the session.
    aside: Option<Aside>,
    /// The last session that is lost.
    lost: Option<u32>,
    /// Its shard is gone: the box goes with its last event.
    retired: bool,
    /// Of a layout that has not taken over yet.
    muted: Option<Muted>,
    /// Of a layout that has taken over from another.
    is_new: bool,
    /// What it holds is for a handler on the spot, not for the consumer.
    in_place: bool,
    producer: Option<Waker>,
    /// The last dispatch that the consumer was given.
    given: Option<EventId>,
    /// The last that it has done with.
    handled: Option<EventId>,
    /// Of a layout that has taken over: the last dispatch that was left out, and the last before another came that was
    /// not.
    passed_over: Option<EventId>,
    passed_over_before: Option<EventId>,
    /// Of one that is over: once the consumer has taken so many events in all, as many since the last of this as a
    /// mailbox holds, what it has not acknowledged of this is waited for no more.
    owes_until: u64,
}

impl Mailbox {
    fn new(shard: ShardId) -> Self {
        Self {
            shard,
            items: VecDeque::new(),
            keep: false,
            bytes: 0,
            dropped: 0,
            full: false,
            silenced: false,
            aside: None,
            lost: None,
            retired: false,
            muted: None,
            is_new: false,
            in_place: false,
            producer: None,
            given: None,
            handled: None,
            passed_over: None,
            passed_over_before: None,
            owes_until: 0,
        }
    }
}

#[derive(Default)]
struct State {
    boxes: Vec<Option<Mailbox>>,
    /// Places for new boxes.
    free: Vec<usize>,
    /// Boxes with something in them, in the order of their turns.
    turns: VecDeque<usize>,
    /// Events of the whole bot: each after everything that came before it.
    bot: VecDeque<(Event<'static>, u64)>,
    pushed: u64,
    /// So many events were taken by the consumer, at least.
    taken: u64,
    /// The size of what is in all boxes, in bytes.
    bytes: usize,
    /// That is too much, and not yet down to half of it.
    full: bool,
    /// So many boxes are of layouts that are over.
    silenced: usize,
    /// The box of the dispatch in the consumer's hands.
    in_hand: Option<usize>,
    /// The box of which the consumer has taken many events at once, if it may still have many of them.
    much_at_hand: Option<usize>,
    swap: Swap,
    /// By boxes that are gone.
    dropped_before: u64,
    /// The last event of all has a place of its own: it always fits.
    last: Option<Event<'static>>,
    ended: bool,
    abandoned: bool,
    /// And had not done with all that a layout that was over had delivered.
    left_behind: bool,
    consumer: Option<Waker>,
}

/// What can be known without the lock, as a rule.
#[derive(Default)]
struct Hints {
    /// A swap is prepared: delivery in place has to look.
    swapping: AtomicBool,
    /// Many shards have something in their mailboxes.
    crowd: AtomicBool,
}

/// The mailboxes of one bot.
#[derive(Clone)]
pub struct Mailboxes {
    state: Arc<Mutex<State>>,
    hand: Arc<Mutex<Hand>>,
    hints: Arc<Hints>,
    events: usize,
    bytes: usize,
    overflow: Overflow,
    acknowledge: Acknowledge,
}

impl std::fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailboxes").finish_non_exhaustive()
    }
}

/// One shard's place among the mailboxes.
#[derive(Clone, Copy, Debug)]
pub struct Slot(usize);

/// So many shards with something in their mailboxes are a crowd: each that is given another turn before the
/// consumer makes what is in memory larger by a turn's events. Where all run on one thread, a thousand shards
/// that start would otherwise fill their mailboxes before the first event is taken.
const CROWD: usize = 32;

/// What all mailboxes hold together, in bytes, before each is full that has anything in it: a thousand shards, each
/// within its own limit, may have more than there is memory. One with an empty mailbox still reads.
const ALL_BYTES: usize = 64 * 1024 * 1024;

/// What an event that is no dispatch counts as, and every dispatch beside its body.
const EVENT_BYTES: usize = 256;

impl Mailboxes {
    /// No mailbox yet; each will hold this many events and bytes.
    #[must_use]
    pub fn new(events: usize, bytes: usize, overflow: Overflow, acknowledge: Acknowledge) -> Self {
        Self {
            state: Arc::default(),
            hand: Arc::default(),
            hints: Arc::default(),
            events: events.max(1),
            bytes,
            overflow,
            acknowledge,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side leaves plain data behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mailbox for one more shard.
    #[must_use]
    pub fn add(&self, shard: ShardId) -> Slot {
        let mut state = self.lock();
        let mailbox = Some(Mailbox::new(shard));
        let Some(index) = state.free.pop() else {
            state.boxes.push(mailbox);
            return Slot(state.boxes.len() - 1);
        };
        if let Some(place) = state.boxes.get_mut(index) {
            *place = mailbox;
        }
        Slot(index)
    }

    /// The shard is gone. What is in its mailbox is still delivered; nothing more is put in.
    pub fn retire(&self, slot: Slot) {
        let mut state = self.settled();
        if let Some(mailbox) = state.at(slot.0) {
            mailbox.retired = true;
        }
        state.free_if_over(slot.0);
    }

    /// Puts an event of a shard in. True if reading shall pause.
    ///
    /// The consumer is not woken: that is worth doing once for many events, by
    /// [`announce`](Self::announce).
    pub fn push(&self, slot: Slot, event: Event<'static>) -> bool {
        let mut state = self.lock_for(slot.0);
        self.put(&mut state, slot, event);
        self.see_if_full(&mut state, slot)
    }

    fn put(&self, state: &mut State, slot: Slot, event: Event<'static>) {
        if state.abandoned || state.ended {
            return;
        }
        let State {
            boxes,
            swap,
            pushed,
            ..
        } = state;
        let Some(Some(mailbox)) = boxes.get_mut(slot.0) else {
            return;
        };
        let at_limit = mailbox.items.len() >= self.events || mailbox.bytes >= self.bytes;
        let size = size_of(&event);
        match &event {
            Event::Dispatch(dispatch) => {
                if mailbox.silenced {
                    return;
                }
                if let Some(muted) = &mut mailbox.muted {
                    if muted.wants(dispatch, swap) {
                        muted.keep(event, size, self.bytes);
                    }
                    return;
                }
                if let Some(aside) = &mut mailbox.aside {
                    if aside.is_full(self.events, self.bytes) {
                        mailbox.full = self.overflow == Overflow::Pause;
                        if !mailbox.full {
                            aside.drop_one();
                            return;
                        }
                    }
                    let number = *pushed;
                    aside.put(Item { event, number });
                    return;
                }
                if at_limit && self.overflow == Overflow::DropNewest {
                    mailbox.dropped += 1;
                    return;
                }
                if swap.judge(dispatch, mailbox.is_new) == Verdict::LeaveOut {
                    mailbox.pass_over(dispatch.id());
                    return;
                }
            }
            Event::GuildsLoaded { .. } => {
                if let Some(muted) = &mut mailbox.muted {
                    muted.set_loaded();
                }
            }
            Event::SessionLost { session, .. } => state.lose(slot.0, *session),
            // A measurement, of no interest once it is old; all else is kept.
            Event::Heartbeat { .. } if at_limit => return,
            _ => {}
        }
        state.put(slot.0, event, size);
    }

    /// Whether a mailbox has had enough. True if reading shall pause.
    fn see_if_full(&self, state: &mut State, slot: Slot) -> bool {
        if self.overflow == Overflow::DropNewest {
            return false;
        }
        state.full |= state.bytes >= ALL_BYTES;
        let all_full = state.full;
        let Some(mailbox) = state.at(slot.0) else {
            return false;
        };
        mailbox.full |=
            all_full || mailbox.items.len() >= self.events || mailbox.bytes >= self.bytes;
        mailbox.full
    }

    #[inline]
    fn see_the_crowd(&self, state: &State) {
        let crowd = state.turns.len() > CROWD;
        self.hints.crowd.store(crowd, Ordering::Relaxed);
    }

    /// Whether events of many shards wait for the consumer.
    #[inline]
    pub(crate) fn has_a_crowd(&self) -> bool {
        self.hints.crowd.load(Ordering::Relaxed)
    }

    /// Tells the consumer that something was put in.
    pub fn announce(&self) {
        let consumer = self.lock().consumer.take();
        wake(consumer);
    }

    /// Puts an event of the whole bot in. [`Event::Stopped`] is the last of all.
    pub fn push_bot(&self, event: Event<'static>) {
        let mut state = self.lock();
        if matches!(event, Event::Stopped { .. }) {
            state.last = Some(event);
        } else if !state.abandoned && !state.ended {
            let number = state.pushed;
            state.bot.push_back((event, number));
        }
        let consumer = state.consumer.take();
        drop(state);
        wake(consumer);
    }

    /// Ready once a paused shard may read again.
    pub fn poll_room(&self, slot: Slot, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let Some(mailbox) = state.at(slot.0) else {
            return Poll::Ready(());
        };
        if !mailbox.full {
            return Poll::Ready(());
        }
        mailbox.producer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Who waits for room in this box, if there is room again: half of it, and if all together hold too much,
    /// all of it. Else a shard might wait for what is withdrawn, which nobody takes.
    fn producer_with_room(&self, state: &mut State, index: usize) -> Option<Waker> {
        let all_full = state.full;
        let mailbox = state.at(index)?;
        let half = mailbox.items.len() <= self.events / 2 && mailbox.bytes <= self.bytes / 2;
        let room = mailbox.items.is_empty() || (half && !all_full);
        if !mailbox.full || !room {
            return None;
        }
        mailbox.full = false;
        mailbox.producer.take()
    }

    /// Who waits for room in any box, once there is room again in all together.
    fn producers_with_room(&self, state: &mut State) -> Vec<Option<Waker>> {
        if !state.full || state.bytes > ALL_BYTES / 2 {
            return Vec::new();
        }
        state.full = false;
        let boxes = 0..state.boxes.len();
        boxes
            .map(|index| self.producer_with_room(state, index))
            .collect()
    }

    /// Dispatches dropped so far, of all shards.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let state = self.lock();
        let boxes = state.boxes.iter().flatten();
        state.dropped_before + boxes.map(|mailbox| mailbox.dropped).sum::<u64>()
    }

    /// Nobody will take events any more: what is there and what comes is thrown away.
    pub fn abandon(&self) {
        let mut state = self.settled();
        state.left_behind = state.leaves_something_of_the_last_layout(self.acknowledge);
        state.abandoned = true;
        state.turns.clear();
        let bot = std::mem::take(&mut state.bot);
        state.full = false;
        let mut thrown = VecDeque::new();
        let mut producers = Vec::new();
        let State { boxes, bytes, .. } = &mut *state;
        for mailbox in boxes.iter_mut().flatten() {
            mailbox.full = false;
            producers.push(mailbox.producer.take());
            // What is there for a handler on the spot is nobody else's affair.
            if !mailbox.in_place {
                mailbox.freeze_what_was_passed_over();
                thrown.append(&mut mailbox.items);
                *bytes -= std::mem::take(&mut mailbox.bytes);
            }
        }
        drop(state);
        producers.into_iter().for_each(wake);
        drop((bot, thrown));
    }
}

impl State {
    fn at(&mut self, index: usize) -> Option<&mut Mailbox> {
        self.boxes.get_mut(index)?.as_mut()
    }

    /// Whether a dispatch to this box is simply put in.
    fn is_plain(&self, index: usize) -> bool {
        let Some(Some(mailbox)) = self.boxes.get(index) else {
            return false;
        };
        !self.abandoned
            && !self.ended
            && !mailbox.silenced
            && mailbox.muted.is_none()
            && mailbox.aside.is_none()
            && matches!(self.swap, Swap::None)
    }

    /// A box whose shard is gone and that is empty makes place for another.
    fn free_if_over(&mut self, index: usize) {
        let (abandoned, taken) = (self.abandoned, self.taken);
        let over = |mailbox: &mut Mailbox| {
            // What a handler has not been given is for whoever resumes.
            let is_empty = mailbox.items.is_empty() || mailbox.in_place;
            mailbox.retired && is_empty && (abandoned || !mailbox.is_owing(taken))
        };
        let place = self.boxes.get_mut(index);
        if let Some(mailbox) = place.and_then(|place| place.take_if(over)) {
            self.dropped_before += mailbox.dropped;
            self.bytes -= mailbox.bytes;
            self.in_hand.take_if(|in_hand| *in_hand == index);
            self.silenced -= usize::from(mailbox.silenced);
            self.free.push(index);
        }
    }

    fn put(&mut self, index: usize, event: Event<'static>, size: usize) {
        let number = self.pushed;
        let Some(Some(mailbox)) = self.boxes.get_mut(index) else {
            return;
        };
        let first = mailbox.items.is_empty() && !mailbox.in_place;
        if mailbox.passed_over.is_some() && matches!(event, Event::Dispatch(_)) {
            mailbox.passed_over_before = mailbox.passed_over.take();
        }
        mailbox.bytes += size;
        self.bytes += size;
        mailbox.items.push_back(Item { event, number });
        self.pushed += 1;
        if first {
            self.turns.push_back(index);
        }
    }

    /// Nobody can resume this session: what was withdrawn of it is for the consumer after all.
    fn lose(&mut self, index: usize, session: u32) {
        let Some(mailbox) = self.at(index) else {
            return;
        };
        mailbox.lost = mailbox.lost.max(Some(session));
        if let Some(aside) = &mut mailbox.aside {
            let (items, dropped) = aside.give_back();
            mailbox.dropped += dropped;
            for item in items {
                let size = item.size();
                self.put(index, item.event, size);
            }
        }
    }

    fn set_handled(&mut self) {
        if let Some(index) = self.in_hand.take()
            && let Some(mailbox) = self.at(index)
        {
            mailbox.handled = mailbox.handled.max(mailbox.given);
            self.free_if_over(index);
        }
    }

    /// The next event of the whole bot, once everything that came before it is taken.
    fn next_of_bot(&mut self) -> Option<Event<'static>> {
        let &(_, before) = self.bot.front()?;
        let oldest = |mailbox: &Mailbox| mailbox.items.front().map(|item| item.number);
        let boxes = self.boxes.iter().flatten();
        if boxes
            .filter(|mailbox| !mailbox.in_place)
            .filter_map(oldest)
            .any(|number| number < before)
        {
            return None;
        }
        self.bot.pop_front().map(|(event, _)| event)
    }
}

/// What an event counts as, in bytes.
pub(crate) fn size_of(event: &Event<'_>) -> usize {
    match event {
        Event::Dispatch(dispatch) => EVENT_BYTES + dispatch.data().len(),
        _ => EVENT_BYTES,
    }
}

/// Never under the lock: a waker may run its task on the spot.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
