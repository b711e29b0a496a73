//! The blocking runtime under test.

use std::sync::Arc;
use std::time::Duration;

use shardwright_blocking::{Bot, Events, RecvTimeout, connect_bot, connect_shards, gateway_info};
use shardwright_core::{
    Command, CommandError, EventId, FleetError, GatewayInfo, ShardFilter, ShardId, ShardState,
    Shards, StatusUpdate, Token,
};
use shardwright_runtime::{AcknowledgeError, ConnectError, Options};

use crate::harness::{Commands, Harness, Subject, Taken};

pub(crate) struct Blocking;

struct Running {
    bot: Arc<Handle>,
    events: Events,
}

struct Handle(Bot);

impl Harness for Blocking {
    fn name(&self) -> &'static str {
        "blocking"
    }

    fn connect(&self, token: Token, options: Options) -> Result<Box<dyn Subject>, ConnectError> {
        let (bot, events) = connect_bot(token, options)?;
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
        let (bot, events) = connect_shards(token, options, gateway, shards)?;
        let bot = Arc::new(Handle(bot));
        Ok(Box::new(Running { bot, events }))
    }

    fn gateway_info(&self, token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
        gateway_info(token, options)
    }
}

impl Subject for Running {
    fn next(&mut self, at_most: Duration) -> Taken {
        match self.events.recv_timeout(at_most) {
            RecvTimeout::Event(event) => Taken::Event(event),
            RecvTimeout::Ended => Taken::Ended,
            RecvTimeout::TimedOut => Taken::TimedOut,
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
        self.0.status_update(status, to).map(drop)
    }

    fn send_raw(&self, shard: u32, command: Command) -> Result<(), CommandError> {
        self.send(command, Shards::Only(vec![shard]))
    }

    fn send(&self, command: Command, to: Shards) -> Result<(), CommandError> {
        self.0.send(command, to).map(drop)
    }

    fn shard_states(&self, filter: ShardFilter) -> Vec<ShardState> {
        self.0.shard_states(filter)
    }

    fn add_shards(&self, states: Vec<ShardState>) -> Result<(), FleetError> {
        self.0.add_shards(states)
    }

    fn remove_shards(&self, filter: ShardFilter) -> Vec<ShardState> {
        self.0.remove_shards(filter)
    }

    fn re_shard(&self, to: Option<u32>) -> Result<(), FleetError> {
        self.0.re_shard(to)
    }

    fn disconnect(&self) {
        self.0.disconnect();
    }

    fn disconnect_keeping_sessions(&self) -> Vec<ShardState> {
        self.0.disconnect_keeping_sessions()
    }
}
