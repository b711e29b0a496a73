//! What a runtime must offer to be tested: a bot that can be driven from a plain thread.

use std::sync::Arc;
use std::time::Duration;

use shardwright_core::{
    Command, CommandError, Event, EventId, FleetError, GatewayInfo, ShardFilter, ShardId,
    ShardState, Shards, StatusUpdate, Token,
};
use shardwright_runtime::{AcknowledgeError, ConnectError, Options};

/// One case: what must hold on every runtime.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&dyn Harness),
    /// Why it is not run, if it is not.
    pub(crate) ignored: Option<&'static str>,
}

impl Case {
    pub(crate) const fn new(name: &'static str, run: fn(&dyn Harness)) -> Self {
        Self {
            name,
            run,
            ignored: None,
        }
    }

    /// A case that fails for a known reason.
    pub(crate) const fn ignored(mut self, why: &'static str) -> Self {
        self.ignored = Some(why);
        self
    }
}

/// Names the cases of a file after their functions; those that fail for a known reason come last.
macro_rules! cases {
    ($($case:ident),* $(,)? $(; $known:ident = $why:literal)*) => {
        pub(crate) const CASES: &[crate::harness::Case] = &[
            $(crate::harness::Case::new(stringify!($case), $case),)*
            $(crate::harness::Case::new(stringify!($known), $known).ignored($why),)*
        ];
    };
}
pub(crate) use cases;

/// A runtime.
pub(crate) trait Harness: Send + Sync {
    /// Its name, as the trials are called.
    fn name(&self) -> &'static str;

    /// Starts a bot and returns once the gateway's address is known.
    fn connect(&self, token: Token, options: Options) -> Result<Box<dyn Subject>, ConnectError>;

    /// Starts a bot with exactly these shards.
    fn connect_shards(
        &self,
        token: Token,
        options: Options,
        gateway: GatewayInfo,
        shards: Vec<ShardId>,
    ) -> Result<Box<dyn Subject>, ConnectError>;

    /// Asks for the gateway's address and nothing more.
    fn gateway_info(&self, token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError>;
}

/// What came when an event was asked for.
#[derive(Debug)]
pub(crate) enum Taken {
    Event(Event<'static>),
    TimedOut,
    /// The last event was taken before.
    Ended,
}

/// A running bot and its events. Events are taken only by [`Subject::next`], so that a consumer that does
/// not ask is really slow.
pub(crate) trait Subject: Send {
    fn next(&mut self, at_most: Duration) -> Taken;

    /// Says by hand that a dispatch has been handled.
    fn acknowledge(&self, id: EventId) -> Result<(), AcknowledgeError>;

    /// How many dispatches were dropped.
    fn dropped(&self) -> u64;

    fn bot(&self) -> Arc<dyn Commands>;

    /// Drops the events; the bot's handle lives on.
    fn drop_events(self: Box<Self>);
}

/// A handle to a bot.
pub(crate) trait Commands: Send + Sync {
    fn status_update(&self, status: StatusUpdate, to: Shards) -> Result<(), CommandError>;

    fn send_raw(&self, shard: u32, command: Command) -> Result<(), CommandError>;

    fn send(&self, command: Command, to: Shards) -> Result<(), CommandError>;

    fn shard_states(&self, filter: ShardFilter) -> Vec<ShardState>;

    fn add_shards(&self, states: Vec<ShardState>) -> Result<(), FleetError>;

    fn remove_shards(&self, filter: ShardFilter) -> Vec<ShardState>;

    fn re_shard(&self, to: Option<u32>) -> Result<(), FleetError>;

    fn disconnect(&self);

    fn disconnect_keeping_sessions(&self) -> Vec<ShardState>;
}
