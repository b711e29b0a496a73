//! A websocket that waits in its shard's poll.

use std::io;
use std::task::{Context, Poll};

use mio::{Interest, Registry, Token};
use shardwright_runtime::{Framing, Incoming, Socket, write_bytes};
use tungstenite::{Error, Message};

use crate::dial::Bytes;

/// The only socket in a shard's poll.
const THE_SOCKET: Token = Token(1);

pub(crate) struct MioSocket {
    stream: Bytes,
    framing: Framing,
    registry: Registry,
}

impl MioSocket {
    /// Puts the socket into the poll.
    pub(crate) fn new(
        (mut stream, framing): (Bytes, Framing),
        registry: Registry,
    ) -> io::Result<Self> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        registry.register(stream.tcp().stream.get_mut(), THE_SOCKET, interests)?;
        Ok(Self {
            stream,
            framing,
            registry,
        })
    }
}

impl Drop for MioSocket {
    fn drop(&mut self) {
        // It is closed right after.
        let stream = self.stream.tcp().stream.get_mut();
        let _ = self.registry.deregister(stream);
    }
}

/// Every call is tried until it would block; the poll wakes the shard's thread when it no longer would.
impl Socket for MioSocket {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Incoming> {
        self.framing.read(&mut self.stream)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush(cx)
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        self.framing.write(&mut self.stream, message)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.framing.flush(&mut self.stream)
    }

    fn poll_bytes(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        write_bytes(&mut self.stream, bytes)
    }

    fn holds(&self) -> bool {
        self.stream.holds()
    }

    fn rest(&mut self) {
        self.framing.rest(&mut self.stream);
        self.stream.tcp().stream.rest();
    }
}
