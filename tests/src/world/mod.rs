//! Bots and the emulated gateway face to face, in virtual time.
//!
//! A [`World`] holds one [`ServerMachine`], any number of bots (each a `FleetMachine`, the `ShardMachine`s
//! it starts, and a consumer) and the network between them. There is no socket, no thread and no sleep: the
//! world jumps from one moment at which something happens to the next. What goes over the lines is what
//! goes over real ones, compressed bytes and all.
//!
//! The same settings and the same seed give the same run, which [`World::transcript`] shows byte for byte.
//! [`World::check`] compares what the server saw and what the consumers got with the
//! [rules every run must keep](invariants).
//!
//! ```
//! use std::time::Duration;
//! use shardwright_testkit::scenario::Effect;
//! use shardwright_testkit::server::Target;
//! use shardwright_testkit::world::World;
//!
//! let mut world = World::builder().seed(7).configure(|server| server.shards = 2).build();
//! let bot = world.start_bot();
//! world.run_until(|world| world.all_live(bot))?;
//!
//! // Both shards are told to reconnect. What happens meanwhile is replayed.
//! world.play(&Target::All, &[Effect::Op7]);
//! world.push_event(&Target::All, "MESSAGE_CREATE", r#"{"content":"still here"}"#);
//! world.run_for(Duration::from_secs(10))?;
//!
//! assert!(world.all_live(bot));
//! assert_eq!(world.server().log().resumed(), 2);
//! assert_eq!(world.names(bot, 1).last(), Some(&"RESUMED"));
//! world.check()?;
//! # Ok::<(), shardwright_testkit::world::WorldError>(())
//! ```

mod bots;
mod builder;
mod changes;
mod faults;
mod gate;
pub mod invariants;
mod lines;
mod mailbox;
mod network;
mod queue;
mod run;
mod saving;
mod serving;
mod shards;
mod story;
mod swap;
mod transcript;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use shardwright_core::{
    Command, CommandId, Event, FleetConfig, FleetInput, IfNotReady, Intents, Phase, ShardId,
    ShardState, Shards, Stop, Token,
};

use crate::rng::Rng;
use crate::scenario::{Effect, ListenerMode};
use crate::server::{ConnId, ServerMachine, Target};

pub use bots::{BotSpec, Consumer};
pub use builder::Builder;
pub use faults::{HostClock, Vanish};
pub use gate::Gate;
pub use mailbox::Overflow;
pub use network::{DialFate, Network, Way};
pub use run::WorldError;
pub use saving::Saved;
pub use story::{BotStory, Life, LineStory, Sent, Span, Taken, TakenEvent};

use bots::Bot;
use lines::Line;
use network::DialRule;
use queue::Queue;
use transcript::{Mark, Transcript};

/// The token of bots that are given none.
pub const TOKEN: &str = "MTA5.token-of-a-simulated-bot.never-shown";

/// One bot process, in the order of their starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct BotId(pub usize);

/// A server, bots and a network, with one clock.
#[derive(Debug)]
pub struct World {
    seed: u64,
    base: Instant,
    now: Instant,
    wall: SystemTime,
    /// When it jumped ahead.
    wall_jumps: Vec<Duration>,
    rng: Rng,
    network: Network,
    queue: Queue,
    server: ServerMachine,
    server_tick: Option<Instant>,
    doors: [ListenerMode; 2],
    dial_rules: Vec<DialRule>,
    partition: Option<Instant>,
    rest_down: Option<Instant>,
    lines: BTreeMap<ConnId, Line>,
    line_stories: Vec<LineStory>,
    bots: Vec<Bot>,
    keep_bodies: bool,
    at_once: u64,
    at_once_limit: Option<u64>,
    transcript: Option<Transcript>,
    /// How many lines of it an error shows.
    tail_lines: usize,
    /// Since when nothing is wrong any more.
    calm: Option<Duration>,
}

impl World {
    /// How to make one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The configuration of a bot with the usual token and all intents, for [`BotSpec::new`].
    #[must_use]
    pub fn fleet_config() -> FleetConfig {
        let token = Token::new(TOKEN).expect("a token like any other");
        let mut config = FleetConfig::new(token, Intents::all());
        // The same transcript on every system.
        config.template.presence = None;
        config
    }

    /// Starts a bot as most are: as many shards as the server recommends, zlib, events taken at once.
    pub fn start_bot(&mut self) -> BotId {
        self.start(BotSpec::new(Self::fleet_config()))
    }

    /// Starts a bot that goes on with these sessions.
    pub fn start_with(&mut self, states: Vec<ShardState>) -> BotId {
        let mut config = Self::fleet_config();
        config.states = states;
        self.start(BotSpec::new(config))
    }

    /// Starts a bot.
    pub fn start(&mut self, spec: BotSpec) -> BotId {
        let id = BotId(self.bots.len());
        let bot = Bot::new(spec, self.rng.next_u64(), self.now, self.time());
        self.bots.push(bot);
        self.note(|| format!("bot {}: starts", id.0));
        self.fleet_input(id, FleetInput::Start);
        id
    }

    /// The time since the world began.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.now - self.base
    }

    /// What its dice are thrown with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The server: its log, sessions and settings.
    #[must_use]
    pub fn server(&self) -> &ServerMachine {
        &self.server
    }

    /// Tells the server something between two moments.
    pub fn with_server<T>(&mut self, tell: impl FnOnce(&mut ServerMachine, Instant) -> T) -> T {
        let answer = tell(&mut self.server, self.now);
        self.drain_server();
        answer
    }

    /// Gives a dispatch to the sessions the target names; says how many there were.
    pub fn push_event(&mut self, target: &Target, name: &str, d: &str) -> usize {
        self.with_server(|server, now| server.push_event(now, target, name, d))
    }

    /// Sends each of these sessions so many events as fast as its line takes them.
    pub fn flood(&mut self, target: &Target, events: u64) {
        self.with_server(|server, now| server.flood(now, target, events, None));
    }

    /// Plays effects now.
    pub fn play(&mut self, target: &Target, effects: &[Effect]) {
        self.note(|| format!("the server plays {effects:?}"));
        self.with_server(|server, now| server.play(now, target, effects));
    }

    /// What a bot lived through: its events with their times, and more.
    ///
    /// # Panics
    /// If there is no such bot.
    #[must_use]
    pub fn story(&self, bot: BotId) -> &BotStory {
        &self.bots[bot.0].story
    }

    /// All connections so far, in the order of their dials.
    #[must_use]
    pub fn lines(&self) -> &[LineStory] {
        &self.line_stories
    }

    /// The names of the dispatches that a shard's consumer took.
    #[must_use]
    pub fn names(&self, bot: BotId, shard: u32) -> Vec<&str> {
        let taken = self.bots[bot.0].shard(shard).into_iter();
        taken
            .flat_map(|shard| self.dispatches(bot, shard))
            .map(|(_, name)| name)
            .collect()
    }

    /// The sequence numbers of the dispatches that a shard's consumer took.
    #[must_use]
    pub fn sequence(&self, bot: BotId, shard: u32) -> Vec<u64> {
        let shard = self.bots[bot.0].shard(shard);
        shard.map_or_else(Vec::new, |shard| self.sequence_of(bot, shard))
    }

    /// The sequence numbers of the dispatches that the consumer took of a shard of whichever layout.
    #[must_use]
    pub fn sequence_of(&self, bot: BotId, shard: ShardId) -> Vec<u64> {
        self.dispatches(bot, shard).map(|(seq, _)| seq).collect()
    }

    fn dispatches(&self, bot: BotId, shard: ShardId) -> impl Iterator<Item = (u64, &str)> {
        self.story(bot)
            .taken
            .iter()
            .filter_map(|taken| taken.event.dispatch())
            .filter(move |(id, _)| id.shard == shard)
            .map(|(id, name)| (id.seq, name))
    }

    /// Where a shard is in its life; none before it is started.
    #[must_use]
    pub fn phase(&self, bot: BotId, shard: u32) -> Option<Phase> {
        let bot = &self.bots[bot.0];
        Some(bot.shards[bot.index(shard)?].machine.phase())
    }

    /// How many shards of a bot are live.
    #[must_use]
    pub fn live(&self, bot: BotId) -> usize {
        self.bots[bot.0].live
    }

    /// Whether all planned shards of a bot are live, and its host is awake to know.
    #[must_use]
    pub fn all_live(&self, bot: BotId) -> bool {
        let bot = &self.bots[bot.0];
        let awake = bot.sleeps_until(self.now).is_none();
        awake && bot.all_live()
    }

    /// Whether the bot has ended and its consumer knows.
    #[must_use]
    pub fn ended(&self, bot: BotId) -> bool {
        self.last_states(bot).is_some()
    }

    /// The states a bot left behind when it ended.
    #[must_use]
    pub fn last_states(&self, bot: BotId) -> Option<&[ShardState]> {
        match self.story(bot).taken.last()?.event.notice()? {
            Event::Stopped { states, .. } => Some(states),
            _ => None,
        }
    }

    /// What another process would need to go on from here: each shard's session as far as the consumer has
    /// handled its events.
    pub fn states(&mut self, bot: BotId) -> Vec<ShardState> {
        let present: Vec<usize> = self.bots[bot.0].by_id.values().copied().collect();
        for index in present.iter().copied() {
            let handled = self.bots[bot.0].mail.handled(index);
            self.acknowledge(bot, index, handled);
        }
        let it = &self.bots[bot.0];
        let slots = present.into_iter().map(|index| &it.shards[index]);
        slots
            .filter(|slot| it.present.contains(&slot.id))
            .map(|slot| slot.machine.state())
            .collect()
    }

    /// Has a command sent; its answers are in the bot's [story](Self::story).
    pub fn command(&mut self, bot: BotId, to: Shards, command: Command) -> CommandId {
        let id = self.new_command(bot);
        let if_not_ready = IfNotReady::Queue;
        self.fleet_input(
            bot,
            FleetInput::Command {
                id,
                to,
                command,
                if_not_ready,
            },
        );
        id
    }

    /// What was recorded of a bot, if its [`BotSpec::record`] asked for that.
    #[must_use]
    pub fn trace(&self, bot: BotId) -> Option<Vec<u8>> {
        self.bots[bot.0].trace.as_ref().map(|lines| lines.text())
    }

    /// Tells a bot to stop.
    pub fn stop(&mut self, bot: BotId, how: Stop) {
        self.note(|| format!("bot {}: told to stop: {how:?}", bot.0));
        let at = self.time();
        self.bots[bot.0].story.stop.get_or_insert((at, how));
        self.fleet_input(bot, FleetInput::Stop(how));
    }

    /// How the consumer takes events from now on.
    pub fn set_consumer(&mut self, bot: BotId, consumer: Consumer) {
        self.note(|| format!("bot {}: consumer {consumer:?}", bot.0));
        self.bots[bot.0].consumer = consumer;
        self.rouse_consumer(bot);
    }

    /// Everything that happened, as text.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.tail(usize::MAX)
    }

    fn tail(&self, lines: usize) -> String {
        self.transcript
            .as_ref()
            .map(|transcript| transcript.text(lines))
            .unwrap_or_default()
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        self.mark(|| Mark::Text(text()));
    }

    fn mark(&mut self, mark: impl FnOnce() -> Mark) {
        let at = self.now - self.base;
        if let Some(transcript) = &mut self.transcript {
            transcript.add(at, mark());
        }
    }
}
