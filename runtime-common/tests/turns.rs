//! A turn ends, however much there is to do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shardwright_core::{
    Compression, Frame, GatewayInfo, Intents, SessionStartLimit, ShardId, Token,
};
use shardwright_runtime::{Consumer, Driver, Incoming, Options, Socket, Turn, prepare_shards};
use tungstenite::{Error, Message};

/// A gateway that always has one more message.
struct Endless {
    read: Arc<AtomicU64>,
    /// So many messages are decrypted at once.
    record: u64,
}

impl Socket for Endless {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Incoming> {
        let read = self.read.fetch_add(1, Ordering::Relaxed);
        assert!(read < 100_000, "the turn does not end");
        let text = match read {
            0 => r#"{"op":10,"d":{"heartbeat_interval":41250}}"#,
            _ => r#"{"op":11}"#,
        };
        Poll::Ready(Incoming::Frame(Frame::Text(text.into())))
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, _: Message) -> Result<(), Error> {
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_bytes(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn holds(&self) -> bool {
        !self
            .read
            .load(Ordering::Relaxed)
            .is_multiple_of(self.record)
    }

    fn rest(&mut self) {}
}

/// How many messages each of ten turns takes, of which 128 are a turn, if so many are decrypted at once.
fn turns(record: u64) -> Vec<u64> {
    let mut options = Options::new(Intents::empty());
    options.compression = Compression::None;
    let url = "ws://gateway.example".parse().unwrap();
    let starts = SessionStartLimit::new(1000, 1000, Duration::ZERO, 1);
    let gateway = GatewayInfo::new(url, 1, starts);
    let token = Token::new("a-token").unwrap();
    let (mut owner, _connecting) =
        prepare_shards(token, &options, gateway, [ShardId::SINGLE]).unwrap();
    let mut seats = Vec::new();
    let idle = Waker::noop();
    owner.turn(&mut Context::from_waker(idle), |seat| seats.push(seat));
    let read = Arc::new(AtomicU64::new(0));
    let endless = Arc::clone(&read);
    let mut driver = Driver::new(seats.remove(0), Consumer::SameThread, move |_| {
        let read = Arc::clone(&endless);
        Box::pin(async move { Ok(Endless { read, record }) })
    });
    let mut all = Vec::new();
    for _ in 1..=10 {
        let before = read.load(Ordering::Relaxed);
        let result = driver.turn(&mut Context::from_waker(Waker::noop()));
        // The socket has nothing new to say.
        assert_eq!(result, Turn::Again);
        all.push(read.load(Ordering::Relaxed) - before);
    }
    all
}

#[test]
fn a_flood_is_taken_in_many_turns_that_let_others_in() {
    for taken in turns(1) {
        assert!((1..=1000).contains(&taken), "{taken}");
    }
}

#[test]
fn what_is_decrypted_already_is_taken_first() {
    // The first turn has begun with the opened connection, which is no message.
    assert_eq!(turns(50)[1..], [150; 9]);
    assert_eq!(turns(200)[1..], [200; 9]);
}
