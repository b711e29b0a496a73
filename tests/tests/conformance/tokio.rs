//! The tokio runtime under test: each bot has a runtime of its own.

use std::sync::Arc;
use std::time::Duration;

use shardwright_core::{
    Command, CommandError, EventId, FleetError, GatewayInfo, ShardFilter, ShardId, ShardState,
    Shards, StatusUpdate, Token,
};
use shardwright_runtime::{AcknowledgeError, ConnectError, Options};
use shardwright_tokio::{Bot, Events, connect_bot, connect_shards, gateway_info};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::harness::{Commands, Harness, Subject, Taken};

pub(crate) struct Tokio;

struct Running {
    bot: Arc<Handle>,
    events: Events,
}

struct Handle {
    runtime: Runtime,
    bot: Bot,
}

/// One worker, so that the bot runs while nobody asks for its events.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

impl Harness for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn connect(&self, token: Token, options: Options) -> Result<Box<dyn Subject>, ConnectError> {
        let runtime = runtime();
        let (bot, events) = runtime.block_on(connect_bot(token, options))?;
        let bot = Arc::new(Handle { runtime, bot });
        Ok(Box::new(Running { bot, events }))
    }

    fn connect_shards(
        &self,
        token: Token,
        options: Options,
        gateway: GatewayInfo,
        shards: Vec<ShardId>,
    ) -> Result<Box<dyn Subject>, ConnectError> {
        let runtime = runtime();
        let connecting = connect_shards(token, options, gateway, shards);
        let (bot, events) = runtime.block_on(connecting)?;
        let bot = Arc::new(Handle { runtime, bot });
        Ok(Box::new(Running { bot, events }))
    }

    fn gateway_info(&self, token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
        runtime().block_on(gateway_info(token, options))
    }
}

impl Subject for Running {
    fn next(&mut self, at_most: Duration) -> Taken {
        let next = async { timeout(at_most, self.events.next()).await };
        match self.bot.runtime.block_on(next) {
            Ok(Some(event)) => Taken::Event(event),
            Ok(None) => Taken::Ended,
            Err(_) => Taken::TimedOut,
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
        let accepted = self.runtime.block_on(self.bot.status_update(status, to));
        accepted.map(drop)
    }

    fn send_raw(&self, shard: u32, command: Command) -> Result<(), CommandError> {
        self.send(command, Shards::Only(vec![shard]))
    }

    fn send(&self, command: Command, to: Shards) -> Result<(), CommandError> {
        self.runtime.block_on(self.bot.send(command, to)).map(drop)
    }

    fn shard_states(&self, filter: ShardFilter) -> Vec<ShardState> {
        self.runtime.block_on(self.bot.shard_states(filter))
    }

    fn add_shards(&self, states: Vec<ShardState>) -> Result<(), FleetError> {
        self.runtime.block_on(self.bot.add_shards(states))
    }

    fn remove_shards(&self, filter: ShardFilter) -> Vec<ShardState> {
        self.runtime.block_on(self.bot.remove_shards(filter))
    }

    fn re_shard(&self, to: Option<u32>) -> Result<(), FleetError> {
        self.runtime.block_on(self.bot.re_shard(to))
    }

    fn disconnect(&self) {
        self.runtime.block_on(self.bot.disconnect());
    }

    fn disconnect_keeping_sessions(&self) -> Vec<ShardState> {
        self.runtime
            .block_on(self.bot.disconnect_keeping_sessions())
    }
}
