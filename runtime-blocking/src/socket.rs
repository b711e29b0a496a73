//! A websocket that waits in its shard's poll.

use std::io;
use std::task::{Context, Poll};

use mio::{Interest, Registry, Token};
use shardwright_runtime::{Socket, flush_messages, read_message, write_bytes, write_message};
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

/// Every call is tried until it would block; the poll wakes the shard's thread when it no longer would.
impl Socket for MioSocket {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        read_message(&mut self.socket)
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        flush_messages(&mut self.socket)
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        write_message(&mut self.socket, message)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        flush_messages(&mut self.socket)
    }

    fn poll_bytes(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        write_bytes(&mut self.socket, bytes)
    }
}
