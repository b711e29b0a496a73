//! Hands a shard's events over: to its mailbox, or to a handler on the spot.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use shardwright_core::{Event, EventId, ShardId};

use crate::bodies::Bodies;
use crate::mailbox::{Batch, Room};
use crate::{Mailboxes, Slot};

type Handler = Box<dyn FnMut(Event<'_>) + Send>;

/// Handlers that get events on the spot, without a copy, each shard its own: the fastest way to take events.
///
/// A handler is called in its shard's own task or thread and must not wait: while it runs, its shard's heart
/// does not beat. A dispatch counts as handled when it returns. If it panics, the shard is started again and
/// goes on after that event. Events of the whole bot ([`Event::Stopped`] and others without a shard) still
/// come as a stream, which has to be kept: dropping it stops the bot.
///
/// ```
/// use shardwright_core::Event;
/// use shardwright_runtime::InPlace;
///
/// let in_place = InPlace::new(|shard| {
///     let mut count = 0;
///     move |event: Event<'_>| {
///         if let Event::Dispatch(event) = event {
///             count += 1;
///             println!("{shard}: number {count} is {}", event.name());
///         }
///     }
/// });
/// # drop(in_place);
/// ```
#[derive(Clone)]
pub struct InPlace(Arc<dyn Fn(ShardId) -> Handler + Send + Sync>);

impl InPlace {
    /// Handlers made by this closure: one for each shard, and a new one each time it is started.
    pub fn new<F, H>(make: F) -> Self
    where
        F: Fn(ShardId) -> H + Send + Sync + 'static,
        H: FnMut(Event<'_>) + Send + 'static,
    {
        Self(Arc::new(move |shard| Box::new(make(shard))))
    }
}

impl fmt::Debug for InPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InPlace")
    }
}

/// Where one shard's events go.
pub(crate) struct Delivery {
    mailboxes: Mailboxes,
    slot: Slot,
    spot: Option<Spot>,
    /// What a turn has brought so far: the mailbox is shared by all shards and their consumer, and is locked
    /// once for many events.
    brought: Batch,
    /// So many events at most.
    most_brought: usize,
    bodies: Bodies,
    /// How large all was that this turn has brought.
    bytes: usize,
    /// What the mailbox has room for, at least, beyond that.
    room: Room,
    /// Something was put into the mailbox, and its consumer has not been told.
    unannounced: bool,
    /// Memory that nothing is in is kept: more will be in it soon.
    keep: bool,
}

/// A handler on the spot, and what it has had.
struct Spot {
    handler: Handler,
    /// The last dispatch it was given; it has handled that unless it is just at it, or has panicked.
    given: Option<EventId>,
    /// Nothing more is delivered: whoever resumes the session gets it.
    withdrawn: bool,
    /// Of a layout that may not have taken over yet.
    muted: bool,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("in_place", &self.spot.is_some())
            .finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(
        mailboxes: Mailboxes,
        shard: ShardId,
        muted: bool,
        in_place: Option<&InPlace>,
    ) -> Self {
        let slot = if muted {
            mailboxes.add_muted(shard)
        } else {
            mailboxes.add(shard)
        };
        if in_place.is_some() {
            mailboxes.set_in_place(slot);
        }
        let spot = in_place.map(|in_place| Spot {
            handler: (in_place.0)(shard),
            given: None,
            withdrawn: false,
            muted,
        });
        Self {
            mailboxes,
            slot,
            spot,
            brought: Batch::default(),
            most_brought: 1,
            bodies: Bodies::default(),
            bytes: 0,
            room: Room::default(),
            unannounced: false,
            keep: false,
        }
    }

    pub(crate) fn is_in_place(&self) -> bool {
        self.spot.is_some()
    }

    /// So many events at most wait to be put into the mailbox.
    pub(crate) fn hand_over_after(&mut self, events: usize) {
        self.most_brought = events;
    }

    /// Hands an event over. True if reading shall pause.
    pub(crate) fn deliver(&mut self, event: Event<'_>) -> bool {
        if self.spot.is_some() {
            return self.on_the_spot(event);
        }
        match event {
            Event::Dispatch(dispatch) => {
                let dispatch = dispatch.into_owned_with(|body| self.bodies.copy(body));
                self.bring(Event::Dispatch(dispatch))
            }
            event => self.bring(event.into_owned()),
        }
    }

    #[inline]
    fn bring(&mut self, event: Event<'static>) -> bool {
        let size = self.brought.push(event);
        self.bytes += size;
        self.room.events = self.room.events.saturating_sub(1);
        self.room.bytes = self.room.bytes.saturating_sub(size);
        let wait =
            self.room.events > 0 && self.room.bytes > 0 && self.brought.len() < self.most_brought;
        !wait && self.hand_over()
    }

    #[inline]
    fn on_the_spot(&mut self, event: Event<'_>) -> bool {
        let Some(spot) = &mut self.spot else {
            return false;
        };
        let event = if spot.muted || self.mailboxes.swaps() {
            match self.mailboxes.pass(self.slot, event) {
                Some(event) => event,
                None => return false,
            }
        } else {
            event
        };
        spot.handle(event);
        false
    }

    /// Puts what was brought into the mailbox. True if reading shall pause.
    pub(crate) fn hand_over(&mut self) -> bool {
        if self.brought.is_empty() {
            return false;
        }
        self.unannounced = true;
        self.room = self
            .mailboxes
            .push_all(self.slot, &mut self.brought, self.keep);
        self.room.pause
    }

    /// Hands over what a turn has brought, and wakes the consumer if there is news for it.
    pub(crate) fn announce(&mut self) {
        self.hand_over();
        if !self.keep {
            self.brought.rest();
        }
        if std::mem::take(&mut self.unannounced) {
            self.mailboxes.announce();
        }
    }

    /// Whether memory that nothing is in shall be kept.
    pub(crate) fn keep(&mut self, keep: bool) {
        self.keep = keep;
        self.bodies.keep(keep);
    }

    pub(crate) fn begin_turn(&mut self) {
        self.bytes = 0;
        self.bodies.begin_turn();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether events of many shards wait for the consumer.
    pub(crate) fn is_in_a_crowd(&self) -> bool {
        self.spot.is_none() && self.mailboxes.has_a_crowd()
    }

    /// Delivers what was kept back while the shard was muted, once it is heard.
    pub(crate) fn poll_kept(&mut self, cx: &mut Context<'_>) {
        let Some(spot) = self.spot.as_mut().filter(|spot| spot.muted) else {
            return;
        };
        while let Poll::Ready(kept) = self.mailboxes.poll_kept(self.slot, cx) {
            match kept {
                Some(event) => spot.handle(event),
                None => {
                    spot.muted = false;
                    return;
                }
            }
        }
    }

    /// The last dispatch that the consumer has done with.
    pub(crate) fn handled(&self) -> Option<EventId> {
        match &self.spot {
            Some(spot) => spot.given.max(self.mailboxes.handled(self.slot)),
            None => self.mailboxes.handled(self.slot),
        }
    }

    /// Takes back what has not been given; the last that was.
    pub(crate) fn withdraw(&mut self) -> Option<EventId> {
        self.hand_over();
        let given = self.mailboxes.withdraw(self.slot);
        match &mut self.spot {
            Some(spot) => {
                spot.withdrawn = true;
                spot.given.max(given)
            }
            None => given,
        }
    }

    /// Ready once all that was given before a [`withdraw`](Self::withdraw) is done with: the last of it.
    pub(crate) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<Option<EventId>> {
        match &self.spot {
            Some(spot) => Poll::Ready(spot.given.max(self.mailboxes.handled(self.slot))),
            None => self.mailboxes.poll_settled(self.slot, cx),
        }
    }

    /// Ready once a paused shard may read again.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.mailboxes.poll_room(self.slot, cx)
    }

    /// The shard is gone.
    pub(crate) fn retire(&mut self) {
        self.hand_over();
        self.mailboxes.retire(self.slot);
    }
}

impl Spot {
    #[inline]
    fn handle(&mut self, event: Event<'_>) {
        if let Event::Dispatch(dispatch) = &event {
            if self.withdrawn {
                return;
            }
            // Before: one whose handler panics would come again and again.
            self.given = Some(dispatch.id());
        }
        (self.handler)(event);
    }
}
