//! One shard's whole life as one machine: many connections, several sessions.
//!
//! # States and what moves between them
//!
//! ```text
//!             Start                Opened                Hello, session to resume
//!   Idle ───────────▶ Connecting ─────────▶ AwaitingHello ───────────────────────▶ Resuming ─┐
//!                       ▲   │                    │ Hello, none                       RESUMED │
//!                       │   │ failed             ▼            granted           READY        ▼
//!                       │   │              AwaitingPermit ──────────▶ Identifying ────────▶ Live
//!                       │   ▼                    │                         │                 │
//!            time, room │ Backoff ◀── closed by the gateway, lost ◀────────┴─────────────────┤
//!                       │   ▲                                                                │
//!                       │   └── Closing ◀── op 7, op 9, zombie, deadline, undecodable, stop ◀┘
//!                     Parked (the consumer has no room)           │
//!                                                                 └──▶ Stopped ◀── fatal close code
//! ```
//!
//! | state | has | leaves by its own deadline |
//! |---|---|---|
//! | `Idle` | nothing | never: waits for `Start` |
//! | `Connecting` | a dial | `dial_timeout` → `Backoff` |
//! | `AwaitingHello` | a connection | `hello_timeout` → `Closing` |
//! | `AwaitingPermit` | beats | never by itself: the fleet has the deadline; beats go on |
//! | `Identifying` | beats | `ready_timeout` → `Closing` |
//! | `Resuming` | beats, session | `resumed_timeout` after the last replayed event → `Closing` |
//! | `Live` | beats, session | a missing acknowledgement → `Closing` |
//! | `Closing` | our close frame is out | `close_timeout`, or the next dial if earlier |
//! | `Backoff` | a time to dial | that time → `Connecting`, or `Parked` while congested |
//! | `Parked` | no room at the consumer | never: waits for `Congested(false)` |
//! | `Stopped` | the final state | the end |
//!
//! | input | `Idle` | `Connecting` | open (five states) | `Closing` | `Backoff` | `Parked` | `Stopped` |
//! |---|---|---|---|---|---|---|---|
//! | `Start` | dial | misuse | misuse | misuse | misuse | misuse | – |
//! | `Opened` | – | `AwaitingHello` | – | – | – | – | – |
//! | `Received` | – | – | decode | – | – | – | – |
//! | `Closed` | – | `Backoff` | by code | next | – | – | – |
//! | `Failed` | – | `Backoff` | `Backoff` | next | – | – | – |
//! | `Flushed` | – | – | sent | – | – | – | – |
//! | `IdentifyGranted` | – | – | Identify, if awaited | – | – | – | – |
//! | `Command` | queue | queue | queue or send | queue (refuse if stopping) | queue | queue | refuse |
//! | `Acknowledged` | note | note | note | note | note | note | note |
//! | `Congested` | note | note | pause or go on | dial if due | note | dial | note |
//! | `Stop` | `Stopped` | `Stopped` | `Closing` | then `Stopped` | `Stopped` | `Stopped` | – |
//! | `Tick` | due timers | due timers | due timers | due timers | due timers | – | – |
//!
//! `–` is nothing at all: what arrives for an older connection is ignored by its number.

mod connecting;
mod link;
mod notice;
mod protocol;
mod receiving;
mod sending;

use std::time::Instant;

use self::protocol::{Out, ProtocolMachine};
use crate::{
    Action, ConnId, DecodeError, Dispatch, Event, Frame, FrameDecoder, Input, Misuse, ShardConfig,
    ShardState, Wait,
};

/// Where a shard is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Not started.
    Idle,
    /// Dialling.
    Connecting,
    /// Connected; the gateway has not said Hello.
    AwaitingHello,
    /// Beating; waiting for permission to identify.
    AwaitingPermit,
    /// Identify is sent.
    Identifying,
    /// Resume is sent; missed events are coming.
    Resuming,
    /// READY or RESUMED: events flow, commands are sent.
    Live,
    /// Our close frame is out.
    Closing,
    /// Waiting to dial again.
    Backoff,
    /// Waiting for room in the consumer's mailbox before dialling again.
    Parked,
    /// The end.
    Stopped,
}

/// One shard of a bot as a pure machine: takes what happened, answers with what to do.
///
/// After each [`handle`](Self::handle), call [`poll`](Self::poll) and carry out its actions until it
/// answers [`Action::Wait`]. See the crate's front page for the loop.
#[derive(Debug)]
pub struct ShardMachine {
    protocol: ProtocolMachine,
    decoder: FrameDecoder,
    /// The connection whose frames the decoder is in the middle of.
    decoding: Option<ConnId>,
    /// Whether the decoder may hold another payload.
    more: bool,
    empty_frames: u64,
    drained: bool,
}

impl ShardMachine {
    /// A machine that waits for [`Input::Start`].
    ///
    /// With a `state` of the same shard it begins with a Resume. The `seed` decides every random
    /// delay: same configuration, seed, times and inputs, same actions.
    #[must_use]
    pub fn new(
        mut config: ShardConfig,
        state: Option<ShardState>,
        seed: u64,
        now: Instant,
    ) -> Self {
        config.compression = config.compression.supported();
        let decoder = FrameDecoder::new(config.compression.into(), config.limits.payload_limit);
        Self {
            protocol: ProtocolMachine::new(config, state, seed, now),
            decoder,
            decoding: None,
            more: false,
            empty_frames: 0,
            drained: true,
        }
    }

    /// A copy that goes its own way from here: to look at what would follow from several inputs.
    ///
    /// `None` if the connection is compressed, as an inflate context cannot be copied.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self {
            protocol: self.protocol.clone(),
            decoder: self.decoder.try_clone()?,
            ..*self
        })
    }

    /// Tells the machine what happened, and what time it is.
    ///
    /// # Errors
    /// [`Misuse`] if the caller broke the contract; the input has changed nothing then.
    #[inline]
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<(), Misuse> {
        if !self.drained {
            return Err(Misuse::OutputPending);
        }
        self.protocol.advance(now);
        let result = match input {
            Input::Received { conn, frame } => {
                self.received(conn, frame);
                Ok(())
            }
            Input::Opened { conn } => {
                let result = self.protocol.input(Input::Opened { conn });
                if self.protocol.listens_to(conn) && self.decoding != Some(conn) {
                    // Context and buffers belong to one connection.
                    self.decoder.reset();
                    self.decoding = Some(conn);
                    self.more = false;
                }
                result
            }
            other => self.protocol.input(other),
        };
        // Due timers have run even if the input itself was misuse; what they ask for is still to do.
        self.drained = result.is_err() && self.protocol.out.is_empty();
        result
    }

    /// [`handle`](Self::handle) of a message and the first [`poll`](Self::poll) after it in one step: what a driver does
    /// most, at a third less. If the first thing that comes of the message is a dispatch, `take` gets it, and what it
    /// returns is returned. The drain goes on either way: [`settle`](Self::settle) or poll until it waits.
    ///
    /// # Errors
    /// [`Misuse`] if the last drain has not ended; the message has changed nothing then.
    // An event is large: it is made where it is taken, and not moved.
    #[inline(always)]
    pub fn receive<R>(
        &mut self,
        now: Instant,
        conn: ConnId,
        frame: Frame,
        take: impl FnOnce(Event<'_>) -> R,
    ) -> Result<Option<R>, Misuse> {
        if !self.drained {
            return Err(Misuse::OutputPending);
        }
        self.drained = false;
        self.protocol.advance(now);
        let news = !self.protocol.out.is_empty();
        if news || self.decoder.empty_frames() != self.empty_frames {
            self.received(conn, frame);
            return Ok(None);
        }
        if self.decoding != Some(conn) || !self.protocol.listens_to(conn) {
            return Ok(None);
        }
        self.more = true;
        match self.decoder.take(frame) {
            Ok(true) => {
                if let Some((id, header)) = self.protocol.payload(self.decoder.payload()) {
                    let dispatch = Dispatch::new(id, header, self.decoder.lend());
                    return Ok(Some(take(Event::Dispatch(dispatch))));
                }
            }
            Ok(false) => self.more = false,
            Err(error) => self.undecodable(error),
        }
        Ok(None)
    }

    /// Ends a drain in which nothing is left to do, as [`poll`](Self::poll) with [`Action::Wait`] does:
    /// [`wait`](Self::wait) says for what. False if there is more, which is to be polled.
    #[inline]
    pub fn settle(&mut self) -> bool {
        if !self.protocol.out.is_empty() {
            return false;
        }
        let listens = |conn| self.protocol.listens_to(conn);
        if self.more && !self.decoder.finish() && self.decoding.is_some_and(listens) {
            return false;
        }
        self.more = false;
        self.drained = true;
        true
    }

    fn undecodable(&mut self, error: DecodeError) {
        self.more = false;
        self.protocol.undecodable(error);
    }

    #[inline]
    fn received(&mut self, conn: ConnId, frame: Frame) {
        if self.decoding != Some(conn) || !self.protocol.listens_to(conn) {
            return;
        }
        self.decoder.push(frame);
        self.more = true;
        if self.decoder.empty_frames() != self.empty_frames {
            self.empty_frames = self.decoder.empty_frames();
            self.protocol.empty_message();
        }
    }

    /// What to do next.
    #[inline]
    pub fn poll(&mut self) -> Action<'_> {
        while self.protocol.out.is_empty() {
            if self.settle() {
                return Action::Wait(self.wait());
            }
            match self.decoder.advance() {
                Ok(true) => {
                    if let Some((id, header)) = self.protocol.payload(self.decoder.payload()) {
                        let dispatch = Dispatch::new(id, header, self.decoder.lend());
                        return Action::Emit(Event::Dispatch(dispatch));
                    }
                }
                Ok(false) => self.more = false,
                Err(error) => self.undecodable(error),
            }
        }
        self.next_action()
    }

    fn next_action(&mut self) -> Action<'_> {
        let action = match self.protocol.out.pop_front() {
            Some(Out::Deliver { id, header }) => {
                let dispatch = Dispatch::new(id, header, self.decoder.lend());
                return Action::Emit(Event::Dispatch(dispatch));
            }
            Some(other) => other.into_action(&self.protocol.config),
            None => None,
        };
        // Only Deliver has no action of its own.
        action.unwrap_or_else(|| Action::Wait(self.protocol.wait()))
    }

    /// Whether the runtime shall read from the socket: not while the consumer has no room, unless
    /// the connection is being closed (then what comes is discarded).
    #[must_use]
    #[inline]
    pub fn wants_to_read(&self) -> bool {
        !self.protocol.congested || self.phase() == Phase::Closing
    }

    /// Where the shard is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.protocol.phase()
    }

    /// What another process needs to resume the session, as far as the consumer has acknowledged it.
    #[must_use]
    pub fn state(&self) -> ShardState {
        self.protocol.shard_state()
    }

    /// What the machine waits for, once drained.
    #[must_use]
    #[inline]
    pub fn wait(&self) -> Wait {
        self.protocol.wait()
    }

    /// Gives memory back that nothing is in, which changes nothing else: worth it whenever no message has
    /// come for a moment, if there are many shards and most are at rest.
    pub fn rest(&mut self) {
        if self.drained {
            self.decoder.rest();
        }
    }

    /// Whether the buffer that a large payload needed, of up to 1 MiB, is kept after it, which changes nothing else:
    /// worth it while messages come all the time. It is not, at first.
    pub fn keep_large(&mut self, keep: bool) {
        self.decoder.keep_large(keep);
    }

    /// How much memory the decoder holds, in bytes.
    #[must_use]
    pub fn buffer_memory(&self) -> usize {
        self.decoder.memory()
    }
}
