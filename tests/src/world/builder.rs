//! Makes a world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::World;
use super::network::Network;
use super::queue::Queue;
use super::transcript::Transcript;
use crate::corpus::Corpus;
use crate::rng::Rng;
use crate::scenario::{ListenerMode, Scenario};
use crate::server::{ServerConfig, ServerMachine};

/// Some time in the past, so that no run depends on the day.
const WALL: Duration = Duration::from_secs(1_700_000_000);

/// What a world is to be like.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    seed: u64,
    config: ServerConfig,
    scenario: Scenario,
    corpus: Option<Arc<Corpus>>,
    network: Network,
    keep_bodies: bool,
    transcript: bool,
    transcript_limit: Option<usize>,
    tail: usize,
    at_once: Option<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            seed: 0,
            config: ServerConfig {
                flow_control: true,
                log_dispatches: true,
                log_limit: usize::MAX,
                ..ServerConfig::default()
            },
            scenario: Scenario::default(),
            corpus: None,
            network: Network::default(),
            keep_bodies: true,
            transcript: true,
            transcript_limit: None,
            tail: 60,
            at_once: None,
        }
    }
}

impl Builder {
    /// What all dice are thrown with (0).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Changes settings of the server. Its log is complete and it counts what is under way.
    pub fn configure(mut self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// What the server does to its clients (nothing).
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenario = scenario;
        self
    }

    /// Which events the server streams (the built-in ones).
    pub fn corpus(mut self, corpus: Arc<Corpus>) -> Self {
        self.corpus = Some(corpus);
        self
    }

    /// What the network is like.
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Whether stories keep the bodies of events (they do). Long runs need less memory without.
    pub fn keep_bodies(mut self, keep: bool) -> Self {
        self.keep_bodies = keep;
        self
    }

    /// How many lines of transcript are kept, at most; none: all (the default), 0: nothing is written.
    pub fn transcript(mut self, limit: Option<usize>) -> Self {
        self.transcript = limit != Some(0);
        self.transcript_limit = limit;
        self
    }

    /// How many lines of transcript an error shows (60).
    pub fn tail(mut self, lines: usize) -> Self {
        self.tail = lines;
        self
    }

    /// How much may happen at one moment before it counts as a live-lock (200,000 things, and a thousand
    /// more for each connection).
    pub fn at_once(mut self, limit: u64) -> Self {
        self.at_once = Some(limit);
        self
    }

    /// Makes it. Nothing has happened in it yet.
    #[must_use]
    pub fn build(self) -> World {
        // The one look at a clock: there is no other way to an `Instant`.
        let base = Instant::now();
        let mut rng = Rng::new(self.seed);
        let corpus = self.corpus.unwrap_or_else(|| Arc::new(Corpus::builtin()));
        let server = ServerMachine::with(self.config, self.scenario, corpus, rng.next_u64(), base);
        let mut world = World {
            seed: self.seed,
            base,
            now: base,
            wall: SystemTime::UNIX_EPOCH + WALL,
            wall_jumps: Vec::new(),
            rng,
            network: self.network,
            queue: Queue::default(),
            server,
            server_tick: None,
            doors: [ListenerMode::Open; 2],
            dial_rules: Vec::new(),
            partition: None,
            rest_down: None,
            lines: BTreeMap::new(),
            line_stories: Vec::new(),
            bots: Vec::new(),
            keep_bodies: self.keep_bodies,
            at_once: 0,
            at_once_limit: self.at_once,
            transcript: self
                .transcript
                .then(|| Transcript::new(self.transcript_limit)),
            tail_lines: self.tail,
            calm: None,
        };
        world.drain_server();
        world
    }
}
