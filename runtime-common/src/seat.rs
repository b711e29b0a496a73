//! A shard's machine and all that surrounds it in every runtime: its mailbox, the fleet's messages, its
//! deadlines. A driver gives it a [`Wire`] and polls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use shardwright_core::trace::{RecordedShard, ShardTape};
use shardwright_core::{
    Action, CloseCode, ConnId, Event, EventId, FleetInput, Frame, Input, Misuse, OutgoingText,
    ShardId, ShardReport, ShardStart, ShardState, Stop, ToShard, Wait,
};

use crate::collecting::{Collecting, Wanted};
use crate::delivery::{Delivery, InPlace};
use crate::inbox::{Inbox, Sender};
use crate::{Mailboxes, Network};

/// How long a shard that keeps its session waits for its last events to be acknowledged by hand.
const PATIENCE_FOR_ACKS: Duration = Duration::from_secs(5);

/// The connections of one shard: carries out what its machine wants of the network. There is never more
/// than one; what is meant for another number than the present one's is ignored.
pub trait Wire {
    /// Dials, in place of whatever there was.
    fn connect(&mut self, conn: ConnId, url: String, time_allowed: Duration);
    /// Sends a text message, which may hold the token.
    fn send(&mut self, conn: ConnId, text: OutgoingText);
    /// Sends a close frame.
    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &'static str);
    /// Drops the connection, or the attempt at one.
    fn abort(&mut self, conn: ConnId);
}

/// One shard, ready to be driven.
///
/// A driver calls [`poll`](Self::poll) until it has nothing to do, then gives it what the wire brings
/// ([`received`](Self::received), [`handle`](Self::handle)), until [`is_over`](Self::is_over). When neither has anything it waits until
/// [`wake_at`](Self::wake_at), or until the waker is woken.
#[derive(Debug)]
pub struct Seat {
    machine: RecordedShard,
    collecting: Collecting,
    shard: ShardId,
    network: Network,
    largest: usize,
    delivery: Delivery,
    messages: Inbox<ToShard>,
    to_fleet: Sender<FleetInput>,
    congested: bool,
    acknowledged: Option<EventId>,
    /// Keeps its session, and waits until then for its last events to be acknowledged.
    leaving: Option<Instant>,
    fleet_gone: bool,
    /// The machine has said so, and all that it wanted before is done.
    is_over: bool,
    clock: Clock,
    /// In this turn everything but the wire has been asked for news, and had none.
    asked: bool,
}

/// Gives an event to who wants it. True if reading shall pause.
// Not a closure: those get a copy of a large argument.
fn hand_over(collecting: &mut Collecting, delivery: &mut Delivery, event: Event<'_>) -> bool {
    if collecting.keeps(&event) {
        return false;
    }
    trace(&event);
    delivery.deliver(event)
}

/// How often in a row a time is good for: a clock is read for every so many messages of one turn.
const USES: u8 = 8;

/// The time, read now and then.
#[derive(Debug)]
struct Clock {
    now: Instant,
    uses: u8,
}

impl Clock {
    fn read(&mut self) -> Instant {
        self.now = Instant::now();
        self.uses = USES;
        self.now
    }

    /// Whether it is time to look again.
    fn is_old(&mut self) -> bool {
        match self.uses.checked_sub(1) {
            Some(left) => self.uses = left,
            None => {
                self.read();
                return true;
            }
        }
        false
    }
}

impl Seat {
    pub(crate) fn new(
        mut start: ShardStart,
        tape: Option<ShardTape>,
        network: Network,
        mailboxes: Mailboxes,
        in_place: Option<&InPlace>,
        messages: Inbox<ToShard>,
        to_fleet: Sender<FleetInput>,
    ) -> Self {
        let now = Instant::now();
        let shard = start.config.shard;
        // A frame's header and a little more than the largest payload.
        let largest = start.config.limits.payload_limit.saturating_add(64 * 1024);
        let collecting = Collecting::beside(&mut start);
        Self {
            delivery: Delivery::new(mailboxes, shard, start.muted, in_place),
            collecting,
            machine: RecordedShard::new(start, now, tape),
            shard,
            network,
            largest,
            messages,
            to_fleet,
            congested: false,
            acknowledged: None,
            leaving: None,
            fleet_gone: false,
            is_over: false,
            clock: Clock { now, uses: 0 },
            asked: false,
        }
    }

    /// Which shard it is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Whether its events are handled on the spot.
    pub(crate) fn delivers_in_place(&self) -> bool {
        self.delivery.is_in_place()
    }

    /// So many events at most are brought before they are put into the mailbox.
    pub(crate) fn hand_over_after(&mut self, events: usize) {
        self.delivery.hand_over_after(events);
    }

    /// How its connections are made.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The largest websocket frame and message that is read, in bytes.
    #[must_use]
    pub fn largest_frame(&self) -> usize {
        self.largest
    }

    /// Whether the wire may read: not while the consumer is too slow.
    #[must_use]
    pub fn wants_to_read(&self) -> bool {
        self.machine.wants_to_read()
    }

    /// When it must be polled again, whatever happens; `None`: when something happens.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let machine = match self.machine.wait() {
            Wait::Until(at) => Some(at),
            _ => None,
        };
        let members = self.collecting.wake_at();
        machine.into_iter().chain(self.leaving).chain(members).min()
    }

    /// The shard has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// A turn begins: time has passed since the last.
    pub fn begin_turn(&mut self) {
        self.clock.read();
        self.asked = false;
        self.delivery.begin_turn();
    }

    /// A turn ends: the consumer is told of what it has brought, and memory that nothing is in is given back,
    /// unless it shall be kept.
    pub fn end_turn(&mut self, keep: bool) {
        self.delivery.keep(keep);
        self.delivery.announce();
        self.machine.keep_large(keep);
        if !keep {
            self.machine.rest();
        }
    }

    /// What time it was when the clock was read last.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now
    }

    /// How many bytes of events this turn has brought the consumer.
    #[must_use]
    pub fn brought(&self) -> usize {
        self.delivery.bytes()
    }

    /// The consumer has events of many shards before it: it is time that it gets a turn.
    #[must_use]
    pub fn is_in_a_crowd(&self) -> bool {
        self.delivery.is_in_a_crowd()
    }

    /// Begins the shard's life.
    pub fn start(&mut self, wire: &mut impl Wire) {
        self.handle(Input::Start, wire);
        // So that the time of day is known from the start.
        let wall = Some(SystemTime::now());
        self.handle(Input::Tick { wall }, wire);
    }

    /// Does one thing that needs no news from the wire, if there is any. Timers come first, so that no
    /// flood can starve the heart.
    pub fn poll(&mut self, cx: &mut Context<'_>, wire: &mut impl Wire) -> Poll<()> {
        if self.clock.is_old() {
            self.asked = false;
        }
        // Between two messages of a flood nobody else is asked: their wakers are set, and what a message makes due can wait
        // until the clock is read again.
        if self.asked {
            return Poll::Pending;
        }
        if self.wake_at().is_some_and(|at| at <= self.clock.now) {
            // Ticks are rare: this costs nothing an event, and keeps the acknowledged sequence near.
            self.acknowledge(self.delivery.handled(), wire);
            self.collecting.tick();
            let wall = Some(SystemTime::now());
            self.handle(Input::Tick { wall }, wire);
            self.leave_in_time(wire);
            return Poll::Ready(());
        }
        self.delivery.poll_kept(cx);
        if self.congested && self.delivery.poll_room(cx).is_ready() {
            self.congested = false;
            self.collecting.congested(false);
            self.handle(Input::Congested(false), wire);
            return Poll::Ready(());
        }
        if self.leaving.is_some()
            && let Poll::Ready(handled) = self.delivery.poll_settled(cx)
        {
            self.leave(handled, wire);
            return Poll::Ready(());
        }
        if self.fleet_gone {
            self.asked = true;
            return Poll::Pending;
        }
        match self.messages.poll(cx) {
            Poll::Ready(Some(ToShard::Stop(Stop::Keep))) => self.begin_to_leave(),
            Poll::Ready(Some(ToShard::ReportState)) => {
                self.acknowledge(self.delivery.handled(), wire);
                let state = self.machine.state();
                self.report(ShardReport::State { state });
            }
            Poll::Ready(Some(ToShard::CollectMembers { id, request })) => {
                self.collecting.begin(id, request);
                self.serve_collecting(wire);
            }
            Poll::Ready(Some(message)) => {
                self.collecting.notice(&message);
                if matches!(message, ToShard::Stop(_)) {
                    self.leaving = None;
                }
                if let Some(input) = message.into_input() {
                    self.handle(input, wire);
                }
            }
            Poll::Ready(None) => {
                self.fleet_gone = true;
                self.begin_to_leave();
            }
            Poll::Pending => {
                self.asked = true;
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Tells the machine what the wire brought, other than a message, and carries out what it wants.
    pub fn handle(&mut self, input: Input, wire: &mut impl Wire) {
        self.tell(input, wire);
        self.serve_collecting(wire);
    }

    /// Tells the machine of a message that has come, and carries out what it wants.
    #[inline]
    pub fn received(&mut self, conn: ConnId, frame: Frame, wire: &mut impl Wire) {
        let (collecting, delivery) = (&mut self.collecting, &mut self.delivery);
        let take = |event: Event<'_>| hand_over(collecting, delivery, event);
        let full = match self.machine.receive(self.clock.now, conn, frame, take) {
            Ok(full) => full.unwrap_or(false),
            Err(misuse) => {
                self.driver_fault(&misuse);
                false
            }
        };
        if full || !self.machine.settle() {
            self.drain(full, wire);
        }
        if !self.collecting.is_idle() {
            self.serve_collecting(wire);
        }
    }

    fn tell(&mut self, input: Input, wire: &mut impl Wire) {
        self.asked = false;
        let now = self.clock.read();
        if let Err(misuse) = self.machine.handle(now, input) {
            self.driver_fault(&misuse);
        }
        self.drain(false, wire);
    }

    #[cold]
    fn driver_fault(&self, misuse: &Misuse) {
        tracing::error!(shard = %self.shard, %misuse, "driver fault");
    }

    /// Does what the collector of members wants.
    fn serve_collecting(&mut self, wire: &mut impl Wire) {
        while let Some(wanted) = self.collecting.next() {
            match wanted {
                Wanted::Tell(input) => self.tell(input, wire),
                Wanted::Report(report) => self.report(report),
            }
        }
    }

    /// Does all that the machine wants. `full`: what it wanted before has filled the mailbox.
    fn drain(&mut self, mut full: bool, wire: &mut impl Wire) {
        loop {
            let action = self.machine.poll();
            if self.collecting.look_at(&action) {
                continue;
            }
            let report = ShardReport::from_action(&action);
            match action {
                Action::Emit(event) => {
                    trace(&event);
                    full |= self.delivery.deliver(event);
                }
                Action::Send { conn, text } => wire.send(conn, text),
                Action::Connect {
                    conn,
                    url,
                    time_allowed,
                } => wire.connect(conn, url, time_allowed),
                Action::Close { conn, code, reason } => wire.close(conn, code, reason),
                Action::Abort { conn } => wire.abort(conn),
                Action::Wait(wait) => {
                    // Only once a drain has ended may the machine be told of the full mailbox.
                    if full && !self.congested {
                        self.congested = true;
                        self.asked = false;
                        self.collecting.congested(true);
                        full = false;
                        if let Err(misuse) =
                            self.machine.handle(self.clock.now, Input::Congested(true))
                        {
                            self.driver_fault(&misuse);
                        }
                        continue;
                    }
                    self.is_over = wait == Wait::Stopped;
                    return;
                }
                _ => {}
            }
            // After the event itself, so that what the fleet says about it comes later.
            if let Some(report) = report {
                self.delivery.hand_over();
                self.report(report);
            }
        }
    }

    fn report(&self, report: ShardReport) {
        let shard = self.shard;
        // The fleet is only gone when the whole runtime shuts down.
        self.to_fleet.send(FleetInput::Report { shard, report });
    }

    /// Tells the machine what the consumer has handled.
    fn acknowledge(&mut self, handled: Option<EventId>, wire: &mut impl Wire) {
        if let Some(id) = handled.filter(|_| handled != self.acknowledged) {
            self.acknowledged = handled;
            self.handle(Input::Acknowledged(id), wire);
        }
    }

    /// Its session is kept: what the consumer has not been given goes to whoever resumes it.
    fn begin_to_leave(&mut self) {
        self.delivery.withdraw();
        self.leaving = Some(Instant::now() + PATIENCE_FOR_ACKS);
    }

    fn leave_in_time(&mut self, wire: &mut impl Wire) {
        if self.leaving.is_some_and(|at| at <= Instant::now()) {
            let handled = self.delivery.handled();
            self.leave(handled, wire);
        }
    }

    fn leave(&mut self, handled: Option<EventId>, wire: &mut impl Wire) {
        self.leaving = None;
        self.acknowledge(handled, wire);
        self.handle(Input::Stop(Stop::Keep), wire);
    }

    /// The state with which another can take its place: after the last event that was given out.
    fn last_state(&mut self) -> ShardState {
        let given = self.delivery.withdraw();
        while !matches!(self.machine.poll(), Action::Wait(_)) {}
        if let Some(id) = given {
            // Refused if it is of no session any more.
            let _ = self.machine.handle(Instant::now(), Input::Acknowledged(id));
        }
        self.machine.state()
    }
}

impl Drop for Seat {
    /// A driver that ends before its shard does (it panicked, or its task was cancelled) says so.
    fn drop(&mut self) {
        if self.is_over() {
            self.delivery.retire();
            return self.delivery.announce();
        }
        // Whatever went wrong may have left the machine in the middle of something.
        let state = catch_unwind(AssertUnwindSafe(|| self.last_state()))
            .unwrap_or_else(|_| ShardState::fresh(self.shard));
        self.delivery.retire();
        self.delivery.announce();
        self.report(ShardReport::Vanished { state });
    }
}

#[inline(always)]
fn trace(event: &Event<'_>) {
    match event {
        Event::Dispatch(event) => tracing::trace!(?event),
        event => trace_other(event),
    }
}

fn trace_other(event: &Event<'_>) {
    match event {
        Event::Heartbeat { .. } => tracing::trace!(?event),
        Event::Problem { .. } | Event::SessionLost { .. } => tracing::warn!(?event),
        Event::Ready { .. } | Event::ShardStopped { .. } => tracing::info!(?event),
        _ => tracing::debug!(?event),
    }
}
