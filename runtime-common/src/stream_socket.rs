//! The websocket of an async runtime as a [`Socket`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;
use tungstenite::{Error, Message};

use crate::Socket;

/// Writes to the byte stream under a websocket.
type WriteBytes<S> = fn(&mut S, &mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>;

/// A stream and sink of messages. Only how bytes are written below it differs from runtime to runtime.
#[derive(Debug)]
pub struct StreamSocket<S> {
    socket: S,
    write: WriteBytes<S>,
}

impl<S> StreamSocket<S> {
    /// This websocket; `write` goes past it.
    pub fn new(socket: S, write: WriteBytes<S>) -> Self {
        Self { socket, write }
    }
}

impl<S> Socket for StreamSocket<S>
where
    S: Stream<Item = Result<Message, Error>>
        + Sink<Message, Error = Error>
        + Unpin
        + Send
        + 'static,
{
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        Pin::new(&mut self.socket).poll_next(cx)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.socket).poll_ready(cx)
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        Pin::new(&mut self.socket).start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        (self.write)(&mut self.socket, cx, bytes)
    }
}
