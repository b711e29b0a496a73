//! smol and async-std under test: both have threads of their own, so their futures can be waited for on any.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use shardwright_core::{
    Command, CommandError, EventId, FleetError, GatewayInfo, ShardFilter, ShardId, ShardState,
    Shards, StatusUpdate, Token,
};
use shardwright_runtime::{AcknowledgeError, Bot, ConnectError, Events, Options};

use crate::harness::{Commands, Harness, Subject, Taken};

type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + 'a>>;

type Connecting = Doing<'static, (Bot, Events)>;

/// A runtime whose functions are these.
pub(crate) struct Futures {
    name: &'static str,
    connect: fn(Token, Options) -> Connecting,
    connect_shards: fn(Token, Options, GatewayInfo, Vec<ShardId>) -> Connecting,
    inquire: for<'a> fn(&'a Token, &'a Options) -> Doing<'a, GatewayInfo>,
}

pub(crate) const SMOL: Futures = Futures {
    name: "smol",
    connect: |token, options| Box::pin(shardwright_async_std::smol::connect_bot(token, options)),
    connect_shards: |token, options, gateway, shards| {
        Box::pin(shardwright_async_std::smol::connect_shards(
            token, options, gateway, shards,
        ))
    },
    inquire: |token, options| Box::pin(shardwright_async_std::smol::gateway_info(token, options)),
};

pub(crate) const ASYNC_STD: Futures = Futures {
    name: "async_std",
    connect: |token, options| {
        Box::pin(shardwright_async_std::async_std::connect_bot(
            token, options,
        ))
    },
    connect_shards: |token, options, gateway, shards| {
        Box::pin(shardwright_async_std::async_std::connect_shards(
            token, options, gateway, shards,
        ))
    },
    inquire: |token, options| {
        Box::pin(shardwright_async_std::async_std::gateway_info(
            token, options,
        ))
    },
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread; `None` if it takes too long.
fn wait<T>(future: impl Future<Output = T>, at_most: Option<Duration>) -> Option<T> {
    let mut future = pin!(future);
    let waker: Waker = Arc::new(Unpark(thread::current())).into();
    let until = at_most.map(|at_most| Instant::now() + at_most);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(result);
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}

fn done<T>(future: impl Future<Output = T>) -> T {
    wait(future, None).expect("without a limit")
}

struct Running {
    bot: Arc<Handle>,
    events: Events,
}

struct Handle(Bot);

impl Harness for Futures {
    fn name(&self) -> &'static str {
        self.name
    }

    fn connect(&self, token: Token, options: Options) -> Result<Box<dyn Subject>, ConnectError> {
        let (bot, events) = done((self.connect)(token, options))?;
        let bot = Arc::new(Handle(bot));
        Ok(Box::new(Running { bot, events }))
    }

    fn connect_shards(
        &self,
        token: Token,
        options: Options,
        gateway: GatewayInfo,
        shards: Vec<ShardId>,
    ) -> Result<Box<dyn Subject>, ConnectError> {
        let connecting = (self.connect_shards)(token, options, gateway, shards);
        let (bot, events) = done(connecting)?;
        let bot = Arc::new(Handle(bot));
        Ok(Box::new(Running { bot, events }))
    }

    fn gateway_info(&self, token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
        done((self.inquire)(token, options))
    }
}

impl Subject for Running {
    fn next(&mut self, at_most: Duration) -> Taken {
        match wait(self.events.next(), Some(at_most)) {
            Some(Some(event)) => Taken::Event(event),
            Some(None) => Taken::Ended,
            None => Taken::TimedOut,
        }
    }

    fn acknowledge(&self, id: EventId) -> Result<(), AcknowledgeError> {
        self.events.acknowledge(id)
    }

    fn dropped(&self) -> u64 {
        self.events.dropped()
    }

    fn bot(&self) -> Arc<dyn Commands> {
        Arc::clone(&self.bot) as Arc<dyn Commands>
    }

    fn drop_events(self: Box<Self>) {}
}

impl Commands for Handle {
    fn status_update(&self, status: StatusUpdate, to: Shards) -> Result<(), CommandError> {
        done(self.0.status_update(status, to)).map(drop)
    }

    fn send_raw(&self, shard: u32, command: Command) -> Result<(), CommandError> {
        self.send(command, Shards::Only(vec![shard]))
    }

    fn send(&self, command: Command, to: Shards) -> Result<(), CommandError> {
        done(self.0.send(command, to)).map(drop)
    }

    fn shard_states(&self, filter: ShardFilter) -> Vec<ShardState> {
        done(self.0.shard_states(filter))
    }

    fn add_shards(&self, states: Vec<ShardState>) -> Result<(), FleetError> {
        done(self.0.add_shards(states))
    }

    fn remove_shards(&self, filter: ShardFilter) -> Vec<ShardState> {
        done(self.0.remove_shards(filter))
    }

    fn re_shard(&self, to: Option<u32>) -> Result<(), FleetError> {
        done(self.0.re_shard(to))
    }

    fn disconnect(&self) {
        done(self.0.disconnect());
    }

    fn disconnect_keeping_sessions(&self) -> Vec<ShardState> {
        done(self.0.disconnect_keeping_sessions())
    }
}
