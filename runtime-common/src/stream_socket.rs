//! A websocket over a byte stream of an async runtime.
//!
//! The libraries that bring the websocket to a runtime register wakers for reading and for writing with every
//! message, since two tasks might use it. A shard is one task, so here the waker is kept and only looked at.

use std::io::{self, ErrorKind, Read, Write};
use std::task::{Context, Poll, Waker};

use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::Socket;

/// A byte stream that wakes its task when it is worth another try.
pub trait ByteStream: Send + 'static {
    /// Reads some bytes; 0 at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes some bytes.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Sees to it that what was written goes out.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Calls that do not wait, for the library.
#[derive(Debug)]
struct Polled<S> {
    stream: S,
    waker: Waker,
    /// What was read with the upgrade's answer, and how much of it has been given.
    early: (Vec<u8>, usize),
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl<S: ByteStream> Read for Polled<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (early, given) = &mut self.early;
        if let Some(mut rest @ [_, ..]) = early.get(*given..) {
            let count = rest.read(into)?;
            *given += count;
            return Ok(count);
        }
        let mut cx = Context::from_waker(&self.waker);
        now(self.stream.poll_read(&mut cx, into))
    }
}

impl<S: ByteStream> Write for Polled<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(&self.waker);
        now(self.stream.poll_write(&mut cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(&self.waker);
        now(self.stream.poll_flush(&mut cx))
    }
}

/// A websocket of an async runtime.
#[derive(Debug)]
pub struct StreamSocket<S> {
    socket: WebSocket<Polled<S>>,
}

impl<S: ByteStream> StreamSocket<S> {
    /// The websocket on a stream that has been upgraded, and what was read of it beyond that.
    pub fn new(stream: S, read: Vec<u8>, config: WebSocketConfig) -> Self {
        let waker = Waker::noop().clone();
        let early = (read, 0);
        let stream = Polled {
            stream,
            waker,
            early,
        };
        // Not with what was read: the library would then take its length for that of its buffer.
        let socket = WebSocket::from_raw_socket(stream, Role::Client, Some(config));
        Self { socket }
    }

    #[inline]
    fn socket(&mut self, cx: &Context<'_>) -> &mut WebSocket<Polled<S>> {
        let waker = &mut self.socket.get_mut().waker;
        if !waker.will_wake(cx.waker()) {
            waker.clone_from(cx.waker());
        }
        &mut self.socket
    }
}

impl<S: ByteStream> Socket for StreamSocket<S> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        read_message(self.socket(cx))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        flush_messages(self.socket(cx))
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        write_message(&mut self.socket, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        flush_messages(self.socket(cx))
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        write_bytes(self.socket(cx), bytes)
    }
}

/// The next message of a websocket whose stream does not wait.
#[inline]
pub fn read_message<S: Read + Write>(
    socket: &mut WebSocket<S>,
) -> Poll<Option<Result<Message, Error>>> {
    match socket.read() {
        Ok(message) => Poll::Ready(Some(Ok(message))),
        Err(error) if would_block(&error) => Poll::Pending,
        Err(Error::ConnectionClosed | Error::AlreadyClosed) => Poll::Ready(None),
        Err(error) => Poll::Ready(Some(Err(error))),
    }
}

/// Gives a websocket whose stream does not wait a message.
///
/// # Errors
/// If the connection is broken.
pub fn write_message<S: Read + Write>(
    socket: &mut WebSocket<S>,
    message: Message,
) -> Result<(), Error> {
    match socket.write(message) {
        // It is in the library's buffer.
        Err(error) if would_block(&error) => Ok(()),
        other => other,
    }
}

/// Ready once all messages of a websocket whose stream does not wait are out.
///
/// # Errors
/// If the connection is broken.
pub fn flush_messages<S: Read + Write>(socket: &mut WebSocket<S>) -> Poll<Result<(), Error>> {
    match socket.flush() {
        Err(error) if would_block(&error) => Poll::Pending,
        other => Poll::Ready(other),
    }
}

/// Writes bytes past a websocket whose stream does not wait.
///
/// # Errors
/// If the connection is broken.
pub fn write_bytes<S: Read + Write>(
    socket: &mut WebSocket<S>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match socket.get_mut().write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}
