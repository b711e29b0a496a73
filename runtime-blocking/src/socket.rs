//! A websocket that waits in its shard's poll.

use std::io::{self, ErrorKind, Write};
use std::task::{Context, Poll};

use mio::{Interest, Registry, Token};
use shardwright_runtime::Socket;
use tungstenite::{Error, Message, WebSocket};

use crate::dial::Bytes;

/// The only socket in a shard's poll.
const THE_SOCKET: Token = Token(1);

pub(crate) struct MioSocket {
    socket: WebSocket<Bytes>,
    registry: Registry,
}

impl MioSocket {
    /// Puts the socket into the poll.
    pub(crate) fn new(mut socket: WebSocket<Bytes>, registry: Registry) -> io::Result<Self> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        let stream = socket.get_mut().tcp().stream.get_mut();
        registry.register(stream, THE_SOCKET, interests)?;
        Ok(Self { socket, registry })
    }
}

impl Drop for MioSocket {
    fn drop(&mut self) {
        // It is closed right after.
        let stream = self.socket.get_mut().tcp().stream.get_mut();
        let _ = self.registry.deregister(stream);
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

fn polled(result: Result<(), Error>) -> Poll<Result<(), Error>> {
    match result {
        Err(error) if would_block(&error) => Poll::Pending,
        other => Poll::Ready(other),
    }
}

/// Every call is tried until it would block; the poll wakes the shard's thread when it no longer would.
impl Socket for MioSocket {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match self.socket.read() {
            Ok(message) => Poll::Ready(Some(Ok(message))),
            Err(error) if would_block(&error) => Poll::Pending,
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        polled(self.socket.flush())
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        match self.socket.write(message) {
            // It is in the library's buffer.
            Err(error) if would_block(&error) => Ok(()),
            other => other,
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        polled(self.socket.flush())
    }

    fn poll_bytes(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.socket.get_mut().write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            other => Poll::Ready(other),
        }
    }
}
