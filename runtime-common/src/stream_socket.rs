//! A websocket over a byte stream of an async runtime.
//!
//! The libraries that bring the websocket to a runtime register wakers for reading and for writing with every
//! message, since two tasks might use it. A shard is one task, so here the waker is kept and only looked at.

use std::io::{self, ErrorKind, Read, Write};
use std::task::{Context, Poll, Waker};

use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message};

use crate::{Framing, Incoming, Socket, write_bytes};

/// A byte stream that wakes its task when it is worth another try.
pub trait ByteStream: Send + 'static {
    /// Reads some bytes; 0 at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes some bytes.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Sees to it that what was written goes out.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Whether something has been decrypted that nobody has read yet.
    fn holds(&self) -> bool;
    /// Gives memory back that nothing is in: nothing more has come.
    fn rest(&mut self);
}

/// Calls that do not wait, for the library.
#[derive(Debug)]
struct Polled<S> {
    stream: S,
    waker: Waker,
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl<S: ByteStream> Read for Polled<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
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
    stream: Polled<S>,
    framing: Framing,
}

impl<S: ByteStream> StreamSocket<S> {
    /// The websocket on a stream that has been upgraded, and what was read of it beyond that.
    pub fn new(stream: S, read: Vec<u8>, config: WebSocketConfig) -> Self {
        let waker = Waker::noop().clone();
        Self {
            stream: Polled { stream, waker },
            framing: Framing::new(read, config),
        }
    }

    #[inline]
    fn hang(&mut self, cx: &Context<'_>) {
        let waker = &mut self.stream.waker;
        if !waker.will_wake(cx.waker()) {
            waker.clone_from(cx.waker());
        }
    }
}

impl<S: ByteStream> Socket for StreamSocket<S> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.hang(cx);
        self.framing.read(&mut self.stream)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush(cx)
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        self.framing.write(&mut self.stream, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.hang(cx);
        self.framing.flush(&mut self.stream)
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.hang(cx);
        write_bytes(&mut self.stream, bytes)
    }

    fn holds(&self) -> bool {
        self.stream.stream.holds()
    }

    fn rest(&mut self) {
        self.framing.rest(&mut self.stream);
        self.stream.stream.rest();
    }
}
