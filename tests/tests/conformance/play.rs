//! A bot, the gateway it talks to, and what can be waited for on both sides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shardwright_core::{
    ApiBase, CloseCode, DisconnectReason, Dispatch, Event, EventId, Intents, Next, Problem,
    SessionLoss, ShardId, ShardState, StopReason, Token,
};
use shardwright_runtime::{AcknowledgeError, Options};
use shardwright_testkit::emulator::{Builder, Emulator};
use shardwright_testkit::scenario::{Effect, Scenario, Step};
use shardwright_testkit::server::{self, Log, Seen, Target};

use crate::harness::{Commands, Harness, Subject, Taken};
use crate::recording::Recording;

/// The longest anything may take on a busy machine; nothing waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How many of the last events a failure shows.
const MEMORY: usize = 40;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn token() -> Token {
    Token::new("a-token").expect("a token")
}

/// Options with short pauses. Deadlines are as long as in earnest, unless a case is about them.
pub(crate) fn options(api: &str) -> Options {
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(api).expect("an address");
    options.seed = Some(1);
    // A start that cannot succeed must fail, not hang.
    options.start_tries = Some(4);
    options.limits.backoff_base = ms(20);
    options.limits.backoff_cap = ms(200);
    options
}

/// An emulator whose READY is not followed by guilds, so that the first dispatch of a case is number 2.
pub(crate) fn gateway(steps: impl Into<Vec<Step>>) -> Builder {
    Emulator::builder()
        .configure(|config| config.send_guilds = false)
        .scenario(Scenario::of(steps))
}

/// The same, with a heart that beats so often.
pub(crate) fn beating(interval: Duration, steps: impl Into<Vec<Step>>) -> Builder {
    gateway(steps).configure(|config| config.heartbeat_interval = interval)
}

/// A lost connection.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) code: Option<CloseCode>,
    pub(crate) reason: DisconnectReason,
    pub(crate) next: Next,
    pub(crate) delay: Duration,
}

pub(crate) struct Play {
    emulator: Option<Emulator>,
    pub(crate) bot: Arc<dyn Commands>,
    subject: Option<Box<dyn Subject>>,
    /// The last dispatch taken of each shard: session and sequence.
    last: BTreeMap<ShardId, (u32, u64)>,
    /// Gaps are part of the case.
    gaps: bool,
    memory: VecDeque<String>,
    stopped: u32,
    /// What no case expects unless it asks for it.
    pub(crate) lost: Vec<SessionLoss>,
    pub(crate) gone: u32,
    recording: Option<Recording>,
}

impl Play {
    /// Starts a bot against this gateway.
    pub(crate) fn start(harness: &dyn Harness, builder: Builder) -> Self {
        Self::with(harness, builder, |_| {})
    }

    /// The same with other options.
    pub(crate) fn with(
        harness: &dyn Harness,
        builder: Builder,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let emulator = builder.start().expect("an emulator");
        Self::on(harness, emulator, change)
    }

    /// The same, on an emulator that runs already.
    pub(crate) fn on(
        harness: &dyn Harness,
        emulator: Emulator,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let trust = |options: &mut Options| {
            if let Some(pem) = emulator.ca_pem() {
                options.tls.add_roots(pem.as_bytes()).expect("a root");
            }
            change(options);
        };
        let mut play = Self::at(harness, &emulator.api_base(), trust);
        play.emulator = Some(emulator);
        play
    }

    /// The same, with a gateway of the case's own.
    pub(crate) fn at(harness: &dyn Harness, api: &str, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options(api);
        change(&mut options);
        let recording = Recording::if_wanted(&mut options);
        Self::of(harness.connect(token(), options).expect("a bot"), recording)
    }

    /// A bot that runs exactly these shards.
    pub(crate) fn shards(
        harness: &dyn Harness,
        emulator: &Emulator,
        shards: impl IntoIterator<Item = ShardId>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = options(&emulator.api_base());
        change(&mut options);
        let recording = Recording::if_wanted(&mut options);
        let gateway = harness.gateway_info(&token(), &options).expect("a gateway");
        let shards = shards.into_iter().collect();
        let subject = harness.connect_shards(token(), options, gateway, shards);
        Self::of(subject.expect("a bot"), recording)
    }

    fn of(subject: Box<dyn Subject>, recording: Option<Recording>) -> Self {
        Self {
            emulator: None,
            bot: subject.bot(),
            subject: Some(subject),
            last: BTreeMap::new(),
            gaps: false,
            memory: VecDeque::new(),
            stopped: 0,
            lost: Vec::new(),
            gone: 0,
            recording,
        }
    }

    /// Starts a bot and waits for its READY.
    pub(crate) fn up(harness: &dyn Harness, builder: Builder) -> Self {
        let mut play = Self::start(harness, builder);
        play.ready();
        play
    }

    /// The same with other options.
    pub(crate) fn up_with(
        harness: &dyn Harness,
        builder: Builder,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut play = Self::with(harness, builder, change);
        play.ready();
        play
    }

    /// The emulated gateway.
    pub(crate) fn emulator(&self) -> &Emulator {
        self.emulator.as_ref().expect("an emulator")
    }

    /// From now on sequence numbers may be missing.
    pub(crate) fn expect_gaps(&mut self) {
        self.gaps = true;
    }

    /// The bot resumes a session of an earlier one, after this number.
    pub(crate) fn resuming_after(&mut self, seq: u64) {
        self.last.insert(ShardId::SINGLE, (1, seq));
    }

    /// The bot resumes these sessions of an earlier one.
    pub(crate) fn going_on_from(&mut self, states: &[ShardState]) {
        for state in states {
            let seq = state.seq.expect("a session");
            self.last.insert(state.shard, (1, seq));
        }
    }

    /// The last dispatch taken of each shard.
    pub(crate) fn seqs(&self) -> BTreeMap<ShardId, u64> {
        let last = self.last.iter();
        last.map(|(shard, (_, seq))| (*shard, *seq)).collect()
    }

    /// Waits until all shards are connected: so many.
    pub(crate) fn connected(&mut self, wanted: u32) {
        self.until("all shards", |event| match event {
            Event::ConnectedAllShards { shards } if *shards == wanted => Some(()),
            _ => None,
        });
    }

    /// Says by hand that a dispatch has been handled.
    pub(crate) fn acknowledge(&self, id: EventId) -> Result<(), AcknowledgeError> {
        self.subject.as_ref().expect("its events").acknowledge(id)
    }

    /// The next event. Whatever the case is about: dispatches come in order and once.
    pub(crate) fn next(&mut self) -> Event<'static> {
        self.take().expect("the bot has ended")
    }

    /// The next event, or none after the last.
    pub(crate) fn take(&mut self) -> Option<Event<'static>> {
        self.take_before(Instant::now() + PATIENCE)
    }

    fn take_before(&mut self, end: Instant) -> Option<Event<'static>> {
        let subject = self.subject.as_mut().expect("its events");
        let event = match subject.next(end.saturating_duration_since(Instant::now())) {
            Taken::Event(event) => event,
            Taken::Ended => return None,
            Taken::TimedOut => panic!("no event came; the last ones: {:#?}", self.memory),
        };
        assert_eq!(self.stopped, 0, "an event after the last: {event:?}");
        if self.memory.len() == MEMORY {
            self.memory.pop_front();
        }
        self.memory.push_back(format!("{event:?}"));
        match &event {
            Event::Dispatch(dispatch) => {
                let id = dispatch.id();
                let last = self.last.entry(id.shard).or_default();
                let (session, seq) = *last;
                let expected = if id.session == session { seq + 1 } else { 1 };
                let fits = if self.gaps {
                    id.session > session || id.seq > seq
                } else {
                    id.session >= session && id.seq == expected
                };
                assert!(
                    fits,
                    "{id:?} after {last:?}; the last events: {:#?}",
                    self.memory
                );
                *last = (id.session, id.seq);
            }
            Event::Disconnected { .. } => self.gone += 1,
            Event::SessionLost { why, .. } => self.lost.push(*why),
            Event::Stopped { .. } => self.stopped += 1,
            _ => {}
        }
        Some(event)
    }

    /// The sequence of the last dispatch taken of the first shard.
    pub(crate) fn seq(&self) -> u64 {
        self.last.values().next().map_or(0, |(_, seq)| *seq)
    }

    /// Takes events until one is what is wanted.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Event<'static>) -> Option<T>,
    ) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "no {what}: {:#?}", self.memory);
            let Some(event) = self.take_before(end) else {
                panic!("the bot ended before {what}: {:#?}", self.memory);
            };
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// Waits for a new session; its id.
    pub(crate) fn ready(&mut self) -> String {
        self.until("READY", |event| match event {
            Event::Ready { session_id, .. } => Some(session_id.clone()),
            _ => None,
        })
    }

    /// Waits until a session goes on; how many events were replayed.
    pub(crate) fn resumed(&mut self) -> u64 {
        self.until("RESUMED", |event| match event {
            Event::Resumed { replayed, .. } => Some(*replayed),
            Event::SessionLost { .. } => panic!("the session was lost: {event:?}"),
            _ => None,
        })
    }

    /// Waits for a lost connection.
    pub(crate) fn gone(&mut self) -> Gone {
        self.until("a lost connection", |event| match event {
            Event::Disconnected {
                code,
                reason,
                next,
                delay,
                ..
            } => Some(Gone {
                code: *code,
                reason: reason.clone(),
                next: *next,
                delay: *delay,
            }),
            _ => None,
        })
    }

    /// Waits for a session that is given up.
    pub(crate) fn session_lost(&mut self) -> SessionLoss {
        self.until("a lost session", |event| match event {
            Event::SessionLost { why, .. } => Some(*why),
            _ => None,
        })
    }

    /// Waits for a problem that this takes.
    pub(crate) fn problem<T>(&mut self, wanted: impl Fn(&Problem) -> Option<T>) -> T {
        self.until("a problem", |event| match event {
            Event::Problem { problem, .. } => wanted(problem),
            _ => None,
        })
    }

    /// Waits for a dispatch of this name.
    pub(crate) fn dispatch(&mut self, name: &str) -> Dispatch<'static> {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "no {name}: {:#?}", self.memory);
            match self.take_before(end).expect("the bot has ended") {
                Event::Dispatch(dispatch) if dispatch.name() == name => return dispatch,
                _ => {}
            }
        }
    }

    /// Waits for an acknowledged heartbeat, so many times.
    pub(crate) fn heartbeats(&mut self, count: usize) {
        for _ in 0..count {
            self.until("a heartbeat", |event| {
                matches!(event, Event::Heartbeat { .. }).then_some(())
            });
        }
    }

    /// Plays effects on all connections.
    pub(crate) fn play(&self, effects: impl AsRef<[Effect]>) {
        self.emulator().play(&Target::All, effects.as_ref());
    }

    /// Plays effects on the n-th connection.
    pub(crate) fn play_on(&self, conn: server::ConnId, effects: impl AsRef<[Effect]>) {
        self.emulator().play(&Target::Conn(conn), effects.as_ref());
    }

    /// Waits until the gateway has seen something.
    pub(crate) fn seen(&self, what: &str, wanted: impl FnMut(&Log) -> bool) {
        let seen = self.emulator().wait_for(wanted, PATIENCE);
        assert!(seen, "the gateway never saw {what}: {:#?}", self.log_tail());
    }

    fn log_tail(&self) -> Vec<String> {
        self.log(|log| {
            let entries = log.entries();
            let from = entries.len().saturating_sub(MEMORY);
            entries[from..].iter().map(|e| format!("{e:?}")).collect()
        })
    }

    /// Asks the gateway's log.
    pub(crate) fn log<T>(&self, ask: impl FnOnce(&Log) -> T) -> T {
        self.emulator().with_machine(|machine| ask(machine.log()))
    }

    /// The Resumes so far: session and sequence.
    pub(crate) fn resumes(&self) -> Vec<(String, Option<u64>)> {
        self.log(|log| {
            let entries = log.entries().iter();
            entries
                .filter_map(|entry| match &entry.what {
                    Seen::Resume { session, seq } => Some((session.clone(), *seq)),
                    _ => None,
                })
                .collect()
        })
    }

    /// The payloads with this opcode that the client sent.
    pub(crate) fn sent(&self, wanted: u64) -> Vec<String> {
        self.log(|log| {
            let entries = log.entries().iter();
            entries
                .filter_map(|entry| match &entry.what {
                    Seen::Received { op: Some(op), text } if *op == wanted => Some(text.clone()),
                    _ => None,
                })
                .collect()
        })
    }

    /// The upgrade requests so far: where they came in, and what was answered.
    pub(crate) fn dials(&self) -> Vec<(shardwright_testkit::scenario::Listener, Option<u16>)> {
        self.log(|log| {
            let entries = log.entries().iter();
            entries
                .filter_map(|entry| match &entry.what {
                    Seen::Upgrade {
                        listener, status, ..
                    } => Some((*listener, *status)),
                    _ => None,
                })
                .collect()
        })
    }

    /// The codes of the client's own close frames.
    pub(crate) fn close_codes(&self) -> Vec<u16> {
        self.log(|log| {
            let entries = log.entries().iter();
            entries
                .filter_map(|entry| match entry.what {
                    Seen::ClosedByClient {
                        code,
                        answer: false,
                    } => Some(code),
                    _ => None,
                })
                .collect()
        })
    }

    /// How many dispatches the bot has dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.subject.as_ref().expect("its events").dropped()
    }

    /// Drops the events.
    pub(crate) fn drop_events(&mut self) {
        self.subject.take().expect("its events").drop_events();
    }

    /// Takes events until the stream ends: exactly one says so, and it is the last.
    pub(crate) fn ended(&mut self) -> (StopReason, Vec<ShardState>) {
        let end = self.until("the end", |event| match event {
            Event::Stopped { why, states } => Some((why.clone(), states.clone())),
            _ => None,
        });
        assert!(self.take().is_none(), "the stream goes on after its end");
        end
    }

    /// Stops the bot and checks what must hold in every case: the client kept the rules, no shard had two
    /// connections at once, and the end is said once.
    pub(crate) fn end(mut self) {
        self.bot.disconnect();
        let (why, _) = self.ended();
        assert_eq!(why, StopReason::Requested);
        self.well_behaved();
    }

    /// What must hold of a client in every case.
    pub(crate) fn well_behaved(&self) {
        self.log(no_fault);
    }
}

/// The gateway found no fault, and no shard had two connections at once.
pub(crate) fn no_fault(log: &Log) {
    let violations = log.violations();
    assert!(violations.is_empty(), "{violations:?}");
    let most = log.most_open();
    let one = most.values().all(|most| *most <= 1);
    assert!(one, "two at once: {most:?}");
}

/// An effect that sends one dispatch with a small body.
pub(crate) fn dispatch(name: &str) -> Effect {
    Effect::Dispatch {
        t: name.to_owned(),
        d: serde_json::json!({"n": 1}),
        s: None,
    }
}

/// A dispatch with a sequence number that the session does not know of.
pub(crate) fn stray(name: &str, seq: u64) -> Effect {
    Effect::Dispatch {
        t: name.to_owned(),
        d: serde_json::json!({"n": 1}),
        s: Some(seq.into()),
    }
}

/// Whatever a case was about, its bot's machines do the same when they are told the same.
impl Drop for Play {
    fn drop(&mut self) {
        self.subject = None;
        if let Some(recording) = self.recording.take()
            && !std::thread::panicking()
        {
            recording.verify(self.stopped > 0);
        }
    }
}
