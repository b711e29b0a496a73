//! smol and async-std under test: both have threads of their own, so their futures can be waited for on any.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use shardwright_core::{
    Command, CommandError, EventId, FleetError, GatewayInfo, ShardFilter, ShardId, ShardState,
    Shards, StatusUpdate, Token,
};
use shardwright_runtime::threads::{wait, wait_for};
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
        let (bot, events) = wait((self.connect)(token, options))?;
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
        let (bot, events) = wait(connecting)?;
        let bot = Arc::new(Handle(bot));
        Ok(Box::new(Running { bot, events }))
    }

    fn gateway_info(&self, token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
        wait((self.inquire)(token, options))
    }
}

impl Subject for Running {
    fn next(&mut self, at_most: Duration) -> Taken {
        match wait_for(at_most, |cx| self.events.poll(cx)) {
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
        wait(self.0.status_update(status, to)).map(drop)
    }

    fn send_raw(&self, shard: u32, command: Command) -> Result<(), CommandError> {
        self.send(command, Shards::Only(vec![shard]))
    }

    fn send(&self, command: Command, to: Shards) -> Result<(), CommandError> {
        wait(self.0.send(command, to)).map(drop)
    }

    fn shard_states(&self, filter: ShardFilter) -> Vec<ShardState> {
        wait(self.0.shard_states(filter))
    }

    fn add_shards(&self, states: Vec<ShardState>) -> Result<(), FleetError> {
        wait(self.0.add_shards(states))
    }

    fn remove_shards(&self, filter: ShardFilter) -> Vec<ShardState> {
        wait(self.0.remove_shards(filter))
    }

    fn re_shard(&self, to: Option<u32>) -> Result<(), FleetError> {
        wait(self.0.re_shard(to))
    }

    fn disconnect(&self) {
        wait(self.0.disconnect());
    }

    fn disconnect_keeping_sessions(&self) -> Vec<ShardState> {
        wait(self.0.disconnect_keeping_sessions())
    }
}
