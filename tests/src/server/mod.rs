//! The emulated gateway as a pure machine.
//!
//! It is told what happens with [`ServerMachine::handle`] and says what to do with
//! [`ServerMachine::poll`], until that answers [`ServerAction::Wait`]. It has no clock, no socket
//! and no randomness but its seed, so the same inputs at the same times give the same actions.
//!
//! It answers as Discord's gateway does, and refuses what that refuses: each misuse with its
//! close code, and a [`Violation`] in the log. Where Discord's documents are silent it takes the
//! stricter reading; `docs/emulator.md` lists those choices.

mod answers;
mod bodies;
mod client;
mod compress;
mod config;
mod conn;
mod control;
mod director;
mod effects;
mod endings;
mod identify;
pub mod intents;
mod io;
mod log;
mod receive;
mod report;
mod rest;
mod send;
mod session;
mod shape;
mod timers;
mod upgrade;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::corpus::{Corpus, Draw};
use crate::rng::Rng;
use crate::scenario::{Listener, RestFault, Scenario};

pub use compress::Transport;
pub use config::{ServerConfig, Tokens};
pub use control::{SessionInfo, Target};
pub use io::{ConnId, Frame, HowDropped, Input, Outgoing, ServerAction, Shard, WsMessage};
pub use log::{Log, LogEntry, Seen, Violation, digest};
pub use rest::{Delivery, RestResponse};
pub use upgrade::Query;

use conn::{Conn, Phase};
use director::{PlayedStep, Script};
use session::{Session, SessionKey};
use timers::{Timer, Timers};

/// The emulated gateway.
#[derive(Debug)]
pub struct ServerMachine {
    config: ServerConfig,
    corpus: Arc<Corpus>,
    draws: BTreeMap<u64, Arc<Draw>>,
    rng: Rng,
    started: Instant,
    now: Instant,
    conns: BTreeMap<ConnId, Conn>,
    opened: u64,
    shard_conns: BTreeMap<Shard, u64>,
    sessions: BTreeMap<SessionKey, Session>,
    session_ids: BTreeMap<String, SessionKey>,
    next_session: SessionKey,
    steps: Vec<PlayedStep>,
    /// Those that may still be played, by number.
    unspent: Vec<usize>,
    scripts: BTreeMap<u64, Script>,
    next_script: u64,
    rest_faults: VecDeque<RestFault>,
    revoked: bool,
    window_end: Instant,
    /// Tokens in the order they were first seen: the bots.
    bots: BTreeMap<String, u64>,
    buckets: BTreeMap<(u64, u64), Instant>,
    whole_lists: BTreeMap<u64, Instant>,
    timers: Timers,
    actions: VecDeque<ServerAction>,
    /// Connections with dispatches to send.
    queue: VecDeque<ConnId>,
    log: Log,
}

impl ServerMachine {
    /// A gateway in perfect order with the built-in corpus.
    #[must_use]
    pub fn new(config: ServerConfig, seed: u64, now: Instant) -> Self {
        Self::with(
            config,
            Scenario::default(),
            Arc::new(Corpus::builtin()),
            seed,
            now,
        )
    }

    /// A gateway that plays a scenario, with a corpus of its own.
    #[must_use]
    pub fn with(
        mut config: ServerConfig,
        scenario: Scenario,
        corpus: Arc<Corpus>,
        seed: u64,
        now: Instant,
    ) -> Self {
        scenario.setup.apply(&mut config);
        let mut machine = Self {
            window_end: now + config.reset_after,
            log: Log::new(config.log_limit),
            config,
            corpus,
            draws: BTreeMap::new(),
            rng: Rng::new(seed),
            started: now,
            now,
            conns: BTreeMap::new(),
            opened: 0,
            shard_conns: BTreeMap::new(),
            sessions: BTreeMap::new(),
            session_ids: BTreeMap::new(),
            next_session: 0,
            steps: Vec::new(),
            unspent: Vec::new(),
            scripts: BTreeMap::new(),
            next_script: 0,
            rest_faults: scenario.rest.into(),
            revoked: false,
            bots: BTreeMap::new(),
            buckets: BTreeMap::new(),
            whole_lists: BTreeMap::new(),
            timers: Timers::default(),
            actions: VecDeque::new(),
            queue: VecDeque::new(),
        };
        for step in scenario.steps {
            machine.add_step(step);
        }
        machine
    }

    /// Tells the machine what happened. A time before the last one counts as the last one.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.pass_time(now);
        match input {
            Input::Opened {
                conn,
                listener,
                target,
            } => self.on_opened(conn, listener, target),
            Input::Received { conn, frame } => self.on_frame(conn, frame),
            Input::Closed {
                conn,
                code: Some(code),
            } => self.on_client_close(conn, code),
            Input::Closed { conn, code: None } => self.on_lost(conn),
            Input::Misframed { conn, fault } => {
                self.violation(conn, Violation::Framing(fault));
                self.close(conn, Some(1002), "protocol error");
            }
            Input::Flushed { conn, bytes } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.in_flight = conn.in_flight.saturating_sub(bytes);
                }
                self.enqueue(conn);
            }
            Input::Tick => {}
        }
    }

    /// What to do next. The drain ends with [`ServerAction::Wait`]; dispatches of a burst are made
    /// one by one as they are asked for.
    pub fn poll(&mut self) -> ServerAction {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return action;
            }
            if let Some(conn) = self.queue.pop_front() {
                self.send_next(conn);
            } else if let Some(timer) = self.timers.due(self.now) {
                // Something was put off by no time at all.
                self.on_timer(timer);
            } else {
                return ServerAction::Wait(self.timers.next());
            }
        }
    }

    /// What the server saw and did.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How it is set up now.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    fn pass_time(&mut self, now: Instant) {
        let now = now.max(self.now);
        while let Some(at) = self.timers.next().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            if let Some(timer) = self.timers.due(now) {
                self.on_timer(timer);
            }
        }
        self.now = now;
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Beat(conn) => self.on_beat_due(conn),
            Timer::Script(script) => self.run_script(script),
            Timer::Step(conn, step) => self.step_due(conn, step),
            Timer::Everywhere(step) => self.step_everywhere(step),
            Timer::Rate(session) => self.on_rate(session),
            Timer::Expiry(session) => self.on_expiry(session),
            Timer::CloseUnanswered(conn) => {
                if self.phase(conn) == Some(Phase::Closing) {
                    self.drop_line(conn, HowDropped::InOrder);
                }
            }
            Timer::MainLife(conn) => self.close(conn, Some(4000), "resumed on the wrong host"),
            Timer::Poisoned(conn) => {
                if self.phase(conn) == Some(Phase::Live) {
                    self.invalid_session(conn, &false.into());
                }
            }
            Timer::Forgotten(conn) => {
                if self.conns.get(&conn).is_some_and(|conn| conn.deaf) {
                    self.drop_line(conn, HowDropped::Rst);
                }
            }
            Timer::Listener(which) => self.set_listener(which, Default::default(), None),
        }
    }

    fn phase(&self, conn: ConnId) -> Option<Phase> {
        self.conns.get(&conn).map(|conn| conn.phase)
    }

    fn note(&mut self, conn: Option<ConnId>, what: Seen) {
        let shard = conn
            .and_then(|conn| self.conns.get(&conn))
            .and_then(|conn| conn.shard);
        self.log.push(LogEntry {
            at: self.now - self.started,
            conn,
            shard,
            what,
        });
    }

    fn violation(&mut self, conn: ConnId, what: Violation) {
        self.note(Some(conn), Seen::Violation(what));
    }

    fn set_listener(
        &mut self,
        which: Listener,
        mode: crate::scenario::ListenerMode,
        lasts: Option<Duration>,
    ) {
        self.actions
            .push_back(ServerAction::Listener { which, mode });
        if let Some(lasts) = lasts {
            self.timers.set(self.now + lasts, Timer::Listener(which));
        }
    }
}
