//! What every runtime shares, turned by hand: a shard whose driver ends, and a runtime that shuts down.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use shardwright_core::{ApiBase, Event, Intents, Problem, StopReason, Token};
use shardwright_runtime::{Options, Seat, Turn, prepare};
use shardwright_testkit::emulator::Emulator;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn waker() -> Waker {
    Arc::new(Unpark(thread::current())).into()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = waker();
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        thread::park();
    }
}

#[test]
fn a_driver_that_ends_is_reported_and_so_is_a_runtime_that_does() {
    let emulator = Emulator::builder().start().unwrap();
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    let (mut owner, connecting) = prepare(Token::new("t").unwrap(), &options).unwrap();
    let waker = waker();
    let mut seats: Vec<Seat> = Vec::new();
    while seats.is_empty() {
        let turn = owner.turn(&mut Context::from_waker(&waker), |seat| seats.push(seat));
        assert!(matches!(turn, Turn::Wait(_)));
        thread::park_timeout(Duration::from_secs(1));
    }
    let (bot, mut events) = block_on(connecting.done()).unwrap();
    let first = block_on(events.next());
    assert!(matches!(
        first,
        Some(Event::Starting {
            shards: 1,
            total: 1,
            ..
        })
    ));
    seats.clear();
    let turn = owner.turn(&mut Context::from_waker(&waker), |_| panic!("not at once"));
    assert!(
        matches!(turn, Turn::Wait(Some(_))),
        "it is started again later"
    );
    let Some(Event::Problem { problem, .. }) = block_on(events.next()) else {
        panic!("not told");
    };
    assert!(matches!(problem, Problem::DriverEnded { .. }), "{problem}");
    drop(owner);
    let last = block_on(events.next());
    let Some(Event::Stopped { why, .. }) = last else {
        panic!("{last:?}")
    };
    assert_eq!(why, StopReason::Abandoned);
    assert!(block_on(events.next()).is_none());
    block_on(bot.disconnect());
}
