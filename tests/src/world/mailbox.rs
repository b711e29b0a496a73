//! Where events wait for a consumer: one bounded box a shard, taken from in turn.
//!
//! The limits work as those of the real runtimes: what one drain of a machine gives is always taken, a
//! full box pauses its shard, and half of it free lets the shard go on.
//! What is kept beside a box, of a shard that leaves, is limited too.

use std::collections::VecDeque;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use shardwright_core::{Event, EventId, Overlap};

use super::swap::{Muted, Swap};

/// What happens when the consumer is too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Overflow {
    /// Nothing more is read from the shard's line until there is room.
    #[default]
    Pause,
    /// New dispatches are dropped; everything else is kept.
    DropNewest,
}

/// Bytes an event counts beside its body.
const OVERHEAD: usize = 256;

#[derive(Debug, Default)]
struct Mailbox {
    waiting: VecDeque<(u64, Event<'static>, usize)>,
    bytes: usize,
    full: bool,
    /// Another layout has taken over: its dispatches come from there.
    silenced: bool,
    /// Its shard leaves: what was taken back of a session that may still be lost.
    aside: Option<Aside>,
    /// The last session that is lost.
    lost: Option<u32>,
    handled: Option<EventId>,
    /// The last that the consumer was given.
    given: Option<EventId>,
    /// Of a layout that has not taken over yet.
    muted: Option<Muted>,
    /// Of one that has.
    is_new: bool,
}

#[derive(Debug, Default)]
struct Aside {
    events: Vec<(Event<'static>, usize)>,
    bytes: usize,
}

impl Aside {
    fn put(&mut self, event: Event<'static>, size: usize) {
        self.bytes += size;
        self.events.push((event, size));
    }

    fn is_full(&self, limit: usize, byte_limit: usize) -> bool {
        self.events.len() >= limit || self.bytes >= byte_limit
    }
}

impl Mailbox {
    fn is_over(&self, limit: usize, byte_limit: usize) -> bool {
        self.waiting.len() >= limit || self.bytes >= byte_limit
    }
}

#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    boxes: Vec<Mailbox>,
    turns: VecDeque<usize>,
    /// How many events wait in all boxes.
    total: usize,
    of_bot: VecDeque<(u64, Event<'static>)>,
    last: Option<Event<'static>>,
    count: u64,
    in_hand: Option<(usize, EventId)>,
    swap: Swap,
    /// The last event was taken: what still comes is thrown away.
    ended: bool,
    /// The most events that one box ever held.
    most: usize,
    limit: usize,
    byte_limit: usize,
    overflow: Overflow,
}

/// What became of an event that was put in.
pub(super) enum Put {
    Kept,
    Full,
    Dropped(EventId),
    Ignored,
}

impl Mailboxes {
    pub(super) fn new(limit: usize, byte_limit: usize, overflow: Overflow) -> Self {
        Self {
            limit: limit.max(1),
            byte_limit,
            overflow,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, muted: bool) {
        self.boxes.push(Mailbox {
            muted: muted.then(Muted::default),
            ..Mailbox::default()
        });
    }

    /// From now on what is delivered is remembered, for a swap.
    pub(super) fn prepare_swap(&mut self) {
        self.swap = Swap::Prepared(Overlap::new());
    }

    pub(super) fn abandon_swap(&mut self) {
        self.swap = Swap::None;
    }

    /// The shards that were muted take over.
    pub(super) fn swap(&mut self, now: Instant) {
        let Swap::Prepared(overlap) = std::mem::take(&mut self.swap) else {
            return;
        };
        self.swap = Swap::Done(overlap, now);
        let mut kept = Vec::new();
        for (index, mailbox) in self.boxes.iter_mut().enumerate() {
            match mailbox.muted.take() {
                Some(muted) => {
                    mailbox.is_new = true;
                    kept.extend(muted.latest(now).map(|(event, size)| (index, event, size)));
                }
                None => mailbox.silenced = true,
            }
        }
        for (index, event, size) in kept {
            if let Event::Dispatch(dispatch) = &event
                && self.swap.leaves_out(now, dispatch, true)
            {
                continue;
            }
            self.keep(index, event, size);
        }
    }

    fn keep(&mut self, shard: usize, event: Event<'static>, size: usize) {
        let mailbox = &mut self.boxes[shard];
        if mailbox.waiting.is_empty() {
            self.turns.push_back(shard);
        }
        self.count += 1;
        self.total += 1;
        mailbox.bytes += size;
        mailbox.waiting.push_back((self.count, event, size));
        self.most = self.most.max(mailbox.waiting.len());
    }

    pub(super) fn put(&mut self, now: Instant, shard: usize, event: Event<'static>) -> Put {
        if self.ended {
            return Put::Ignored;
        }
        let (limit, byte_limit, overflow) = (self.limit, self.byte_limit, self.overflow);
        let Some(mailbox) = self.boxes.get_mut(shard) else {
            return Put::Ignored;
        };
        let over = mailbox.is_over(limit, byte_limit);
        let mut size = OVERHEAD;
        match &event {
            Event::Dispatch(dispatch) => {
                size += dispatch.data().len();
                if mailbox.silenced {
                    return Put::Ignored;
                }
                if let Some(muted) = &mut mailbox.muted {
                    if muted.wants(now, dispatch, &mut self.swap) {
                        muted.keep(now, event, size, byte_limit);
                    }
                    return Put::Ignored;
                }
                if let Some(aside) = &mut mailbox.aside {
                    let was_full = aside.is_full(limit, byte_limit);
                    if was_full && overflow == Overflow::DropNewest {
                        return Put::Dropped(dispatch.id());
                    }
                    mailbox.full |= was_full;
                    aside.put(event, size);
                    return if mailbox.full { Put::Full } else { Put::Kept };
                }
                if over && overflow == Overflow::DropNewest {
                    return Put::Dropped(dispatch.id());
                }
                if self.swap.leaves_out(now, dispatch, mailbox.is_new) {
                    return Put::Ignored;
                }
            }
            Event::GuildsLoaded { .. } => {
                if let Some(muted) = &mut mailbox.muted {
                    muted.loaded = true;
                }
            }
            Event::SessionLost { session, .. } => {
                mailbox.lost = Some(*session);
                // Nobody can resume it: what was taken back is for the consumer after all.
                let aside = mailbox.aside.as_mut().map(std::mem::take);
                for (event, size) in aside.into_iter().flat_map(|aside| aside.events) {
                    self.keep(shard, event, size);
                }
            }
            Event::Heartbeat { .. } if over => return Put::Ignored,
            _ => {}
        }
        self.keep(shard, event, size);
        let mailbox = &mut self.boxes[shard];
        mailbox.full |= mailbox.is_over(limit, byte_limit);
        if mailbox.full && overflow == Overflow::Pause {
            Put::Full
        } else {
            Put::Kept
        }
    }

    /// An event of the whole bot: taken after everything that came before it; the end last of all.
    pub(super) fn put_of_bot(&mut self, event: Event<'static>) {
        if matches!(event, Event::Stopped { .. }) {
            self.last = Some(event);
        } else {
            self.of_bot.push_back((self.count, event));
        }
    }

    /// How many events wait in all boxes.
    pub(super) fn waiting(&self) -> usize {
        self.total + self.of_bot.len() + usize::from(self.last.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.of_bot.is_empty() && self.last.is_none()
    }

    /// The consumer asks for an event, and so says that it is done with the one before.
    ///
    /// With it, whose box it was in; none for those of the whole bot.
    pub(super) fn take(&mut self) -> Option<(Option<usize>, Event<'static>)> {
        if let Some((shard, id)) = self.in_hand.take()
            && let Some(mailbox) = self.boxes.get_mut(shard)
        {
            mailbox.handled = Some(id);
        }
        if let Some((after, _)) = self.of_bot.front() {
            let earlier = |mailbox: &Mailbox| {
                mailbox
                    .waiting
                    .front()
                    .is_some_and(|(number, ..)| number <= after)
            };
            if !self.boxes.iter().any(earlier) {
                return self.of_bot.pop_front().map(|(_, event)| (None, event));
            }
        }
        let Some(shard) = self.turns.pop_front() else {
            self.ended |= self.last.is_some();
            return self.last.take().map(|event| (None, event));
        };
        let mailbox = self.boxes.get_mut(shard)?;
        let (_, event, size) = mailbox.waiting.pop_front()?;
        self.total -= 1;
        mailbox.bytes -= size;
        if mailbox.waiting.len() <= self.limit / 2 && mailbox.bytes <= self.byte_limit / 2 {
            mailbox.full = false;
        }
        if !mailbox.waiting.is_empty() {
            self.turns.push_back(shard);
        }
        if let Event::Dispatch(dispatch) = &event {
            self.in_hand = Some((shard, dispatch.id()));
            mailbox.given = Some(dispatch.id());
        }
        Some((Some(shard), event))
    }

    pub(super) fn has_room(&self, shard: usize) -> bool {
        self.boxes.get(shard).is_none_or(|mailbox| !mailbox.full)
    }

    /// The most events that one box ever held.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn handled(&self, shard: usize) -> Option<EventId> {
        self.boxes.get(shard)?.handled
    }

    /// Takes back what the consumer was not given of a session that can be resumed; the last it was given.
    pub(super) fn withdraw(&mut self, shard: usize) -> Option<EventId> {
        let mailbox = self.boxes.get_mut(shard)?;
        self.total -= mailbox.waiting.len();
        let lost = mailbox.lost;
        let (stays, back): (VecDeque<_>, VecDeque<_>) =
            mailbox
                .waiting
                .drain(..)
                .partition(|(_, event, _)| match event {
                    Event::Dispatch(dispatch) => Some(dispatch.id().session) <= lost,
                    _ => true,
                });
        mailbox.waiting = stays;
        let aside = mailbox.aside.get_or_insert_default();
        for (_, event, size) in back {
            aside.put(event, size);
        }
        self.total += mailbox.waiting.len();
        mailbox.bytes = mailbox.waiting.iter().map(|(.., size)| size).sum();
        if mailbox.waiting.len() <= self.limit / 2 && mailbox.bytes <= self.byte_limit / 2 {
            mailbox.full = false;
        }
        if mailbox.waiting.is_empty() {
            self.turns.retain(|turn| *turn != shard);
        }
        mailbox.given
    }
}
