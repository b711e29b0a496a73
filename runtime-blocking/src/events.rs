//! The events of a bot, for threads.

use std::time::Duration;

use shardwright_runtime::surface::{AcknowledgeError, Event, EventId};

use shardwright_runtime::threads::{wait, wait_for};

/// The events of a bot, in order for each shard: an iterator that waits. The last is [`Event::Stopped`],
/// then `None`.
///
/// Asking for the next event says that the one before has been handled, unless that is said by hand
/// ([`Acknowledge::Manual`](crate::Acknowledge::Manual)). Dropping this stops the bot in a way that its
/// sessions can be resumed.
#[derive(Debug)]
pub struct Events(shardwright_runtime::Events);

/// What came within the time.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum RecvTimeout {
    /// An event.
    Event(Event<'static>),
    /// Nothing.
    TimedOut,
    /// Nothing more will come.
    Ended,
}

impl Events {
    pub(crate) fn new(events: shardwright_runtime::Events) -> Self {
        Self(events)
    }

    /// The next event, if it comes within this time.
    pub fn recv_timeout(&mut self, time: Duration) -> RecvTimeout {
        match wait_for(time, |cx| self.0.poll(cx)) {
            Some(Some(event)) => RecvTimeout::Event(event),
            Some(None) => RecvTimeout::Ended,
            None => RecvTimeout::TimedOut,
        }
    }

    /// Says that this dispatch and all before it on its shard have been handled: a kept session goes on
    /// after it. One of a session that is over is ignored.
    ///
    /// # Errors
    /// If it has not been given out yet.
    pub fn acknowledge(&self, id: EventId) -> Result<(), AcknowledgeError> {
        self.0.acknowledge(id)
    }

    /// The same events to be awaited, for a program that has an executor beside this runtime's threads.
    #[must_use]
    pub fn into_async(self) -> shardwright_runtime::Events {
        self.0
    }

    /// How many dispatches were dropped because nobody took them fast enough; always 0 under
    /// [`Overflow::Pause`](crate::Overflow::Pause).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

impl Iterator for Events {
    type Item = Event<'static>;

    fn next(&mut self) -> Option<Event<'static>> {
        wait(self.0.next())
    }
}
