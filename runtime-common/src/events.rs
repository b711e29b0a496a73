//! The events of a bot, as its consumer sees them.

use std::future::poll_fn;
use std::task::{Context, Poll};

use shardwright_core::{Event, EventId, Stop};

use crate::Mailboxes;
use crate::inbox::Sender;
use crate::mailbox::AcknowledgeError;
use crate::owner::Order;

/// The events of a bot, in order for each shard. The last is [`Event::Stopped`], then `None`.
///
/// Asking for the next event says that the one before has been handled, unless that is said by hand
/// ([`Acknowledge::Manual`](crate::Acknowledge::Manual)). Dropping this stops the bot in a way that its
/// sessions can be resumed.
///
/// Events that came together share their memory, in blocks of 16 KiB: one that is kept for long is worth a
/// [`compact`](shardwright_core::Dispatch::compact).
#[derive(Debug)]
pub struct Events {
    pub(crate) mailboxes: Mailboxes,
    pub(crate) orders: Sender<Order>,
}

impl Events {
    /// The next event; `None` after the last. The future may be dropped: no event is lost.
    pub async fn next(&mut self) -> Option<Event<'static>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next event, for hand-written futures.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<'static>>> {
        self.mailboxes.poll_next(cx)
    }

    /// Says that this dispatch and all before it on its shard have been handled: a kept session goes on
    /// after it. One of a session that is over is ignored.
    ///
    /// # Errors
    /// If it has not been given out yet.
    pub fn acknowledge(&self, id: EventId) -> Result<(), AcknowledgeError> {
        self.mailboxes.acknowledge(id)
    }

    /// How many dispatches were dropped because nobody took them fast enough; always 0 under
    /// [`Overflow::Pause`](crate::Overflow::Pause).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.mailboxes.dropped()
    }
}

#[cfg(feature = "async")]
impl futures_core::Stream for Events {
    type Item = Event<'static>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.mailboxes.poll_next(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.mailboxes.abandon();
        let how = Stop::Keep;
        self.orders.send(Order::Stop { how, reply: None });
    }
}
