//! A whole bot in virtual time: the fleet and its shards, with a gateway that does as it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use shardwright_core::{
    Action, Answer, CommandId, ConnId, Event, FetchFault, FleetAction, FleetConfig, FleetError,
    FleetInput, FleetMachine, GatewayInfo, Input, Intents, SessionStartLimit, ShardId,
    ShardMachine, ShardPlan, ShardReport, ShardState, StopReason, ToShard, Token, Wait, WaitFor,
};

use crate::play::{ready_text, text_frame};

enum Job {
    Fleet(FleetInput),
    Shard(ShardId, Input),
}

pub(crate) struct Crew {
    fleet: FleetMachine,
    fleet_wait: Wait,
    pub(crate) now: Instant,
    pub(crate) began: Instant,
    shards: BTreeMap<ShardId, ShardMachine>,
    /// The connection of each shard that was dialled last.
    pub(crate) conns: BTreeMap<ShardId, ConnId>,
    jobs: VecDeque<Job>,
    /// What the API answers; `info` once there is nothing left here.
    pub(crate) faults: VecDeque<FetchFault>,
    pub(crate) info: GatewayInfo,
    /// Shards whose dials are never answered.
    pub(crate) unreachable: BTreeSet<ShardId>,
    /// Shards whose Identify is never answered.
    pub(crate) unanswered: BTreeSet<ShardId>,
    /// What went over the wire and what the fleet did, with its time.
    pub(crate) log: Vec<(Duration, String)>,
    pub(crate) events: Vec<(Duration, Event<'static>)>,
    pub(crate) answers: Vec<(u64, Answer)>,
    pub(crate) done: Vec<(u64, Result<(), FleetError>)>,
    pub(crate) states: Vec<(u64, Vec<ShardState>)>,
}

pub(crate) fn shard(number: u32, total: u32) -> ShardId {
    ShardId::new(number, total).unwrap()
}

pub(crate) fn config(plan: ShardPlan) -> FleetConfig {
    let mut config = FleetConfig::new(Token::new("secret-token").unwrap(), Intents::GUILDS);
    config.plan = plan;
    config.template.compression = shardwright_core::Compression::None;
    config
}

pub(crate) fn limit(remaining: u32, reset_after: u64, at_once: u32) -> SessionStartLimit {
    SessionStartLimit::new(1000, remaining, Duration::from_secs(reset_after), at_once)
}

impl Crew {
    pub(crate) fn started(plan: ShardPlan, limit: SessionStartLimit) -> Self {
        let mut crew = Self::new(config(plan), limit);
        crew.tell(FleetInput::Start);
        crew
    }

    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    pub(crate) fn new(config: FleetConfig, limit: SessionStartLimit) -> Self {
        let now = Instant::now();
        Self {
            fleet: FleetMachine::new(config, 1, now),
            fleet_wait: Wait::For(WaitFor::Start),
            now,
            began: now,
            shards: BTreeMap::new(),
            conns: BTreeMap::new(),
            jobs: VecDeque::new(),
            faults: VecDeque::new(),
            info: GatewayInfo::new("ws://main.example".parse().unwrap(), 2, limit),
            unreachable: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            log: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            done: Vec::new(),
            states: Vec::new(),
        }
    }

    pub(crate) fn tell(&mut self, input: FleetInput) {
        self.jobs.push_back(Job::Fleet(input));
        self.work();
    }

    pub(crate) fn tell_shard(&mut self, shard: ShardId, input: Input) {
        self.jobs.push_back(Job::Shard(shard, input));
        self.work();
    }

    /// The gateway closes a shard's connection.
    pub(crate) fn close(&mut self, shard: ShardId, code: Option<u16>) {
        let conn = self.conns[&shard];
        self.tell_shard(shard, Input::Closed { conn, code });
    }

    fn hello_job(&self, shard: ShardId) -> Job {
        let frame = text_frame(r#"{"op":10,"d":{"heartbeat_interval":41250}}"#);
        let conn = self.conns[&shard];
        Job::Shard(shard, Input::Received { conn, frame })
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next_time()
            && at <= end
        {
            self.now = self.now.max(at);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    fn next_time(&self) -> Option<Instant> {
        let shards = self.shards.values().map(ShardMachine::wait);
        let waits = shards.chain([self.fleet_wait]);
        let times = waits.filter_map(|wait| match wait {
            Wait::Until(at) => Some(at),
            _ => None,
        });
        times.min()
    }

    fn tick(&mut self) {
        for shard in self.shards.keys() {
            let tick = Input::Tick { wall: None };
            self.jobs.push_back(Job::Shard(*shard, tick));
        }
        self.tell(FleetInput::Tick);
    }

    fn work(&mut self) {
        while let Some(job) = self.jobs.pop_front() {
            match job {
                Job::Fleet(input) => {
                    self.fleet.handle(self.now, input).expect("no misuse");
                    self.drain_fleet();
                }
                Job::Shard(shard, input) => {
                    if let Some(mut machine) = self.shards.remove(&shard) {
                        machine.handle(self.now, input).expect("no misuse");
                        self.drain_shard(shard, &mut machine);
                        self.shards.insert(shard, machine);
                    }
                }
            }
        }
    }

    fn note(&mut self, what: String) {
        self.log.push((self.now - self.began, what));
    }

    fn drain_fleet(&mut self) {
        loop {
            match self.fleet.poll() {
                FleetAction::Wait(wait) => {
                    self.fleet_wait = wait;
                    return;
                }
                FleetAction::Fetch(_) => {
                    self.note("fetch".into());
                    let fault = self.faults.pop_front();
                    let result = fault.map_or_else(|| Ok(self.info.clone()), Err);
                    self.jobs.push_back(Job::Fleet(FleetInput::Fetched(result)));
                }
                FleetAction::StartShard(start) => {
                    let shard = start.config.shard;
                    let muted = if start.muted { " muted" } else { "" };
                    self.note(format!("start {shard}{muted}"));
                    let machine =
                        ShardMachine::new(start.config, start.state, start.seed, self.now);
                    self.shards.insert(shard, machine);
                    self.jobs.push_back(Job::Shard(shard, Input::Start));
                }
                FleetAction::Tell { shard, message } => self.told(shard, message),
                FleetAction::Answer { id, answer } => self.answers.push((id.0, answer)),
                FleetAction::States { id, states } => self.states.push((id.0, states)),
                FleetAction::Done { id, result } => self.done.push((id.0, result)),
                FleetAction::Emit(event) => self.events.push((self.now - self.began, event)),
                FleetAction::Swap => self.note("swap".into()),
                _ => {}
            }
        }
    }

    fn told(&mut self, shard: ShardId, message: ToShard) {
        if let ToShard::Stop(how) = &message {
            self.note(format!("stop {shard} {how:?}"));
        }
        match message.into_input() {
            Some(input) => self.jobs.push_back(Job::Shard(shard, input)),
            None => {
                let state = self.shards[&shard].state();
                let report = ShardReport::State { state };
                let input = FleetInput::Report { shard, report };
                self.jobs.push_back(Job::Fleet(input));
            }
        }
    }

    fn drain_shard(&mut self, shard: ShardId, machine: &mut ShardMachine) {
        loop {
            let action = machine.poll();
            if let Some(report) = ShardReport::from_action(&action) {
                let input = FleetInput::Report { shard, report };
                self.jobs.push_back(Job::Fleet(input));
            }
            let mut answer = |input| self.jobs.push_back(Job::Shard(shard, input));
            match action {
                Action::Wait(_) => return,
                Action::Connect { conn, url, .. } => {
                    self.conns.insert(shard, conn);
                    self.log
                        .push((self.now - self.began, format!("dial {shard} {url}")));
                    if self.unreachable.contains(&shard) {
                        continue;
                    }
                    self.jobs
                        .push_back(Job::Shard(shard, Input::Opened { conn }));
                    self.jobs.push_back(self.hello_job(shard));
                }
                Action::Send { conn, text } => {
                    answer(Input::Flushed { conn });
                    let reply = match text.op() {
                        1 => Some(r#"{"op":11}"#.to_owned()),
                        2 if self.unanswered.contains(&shard) => None,
                        2 => Some(ready_text(&format!("s{shard}"), "ws://r1.example", 1)),
                        6 => Some(r#"{"t":"RESUMED","s":2,"op":0,"d":null}"#.to_owned()),
                        _ => None,
                    };
                    if let Some(reply) = reply {
                        let frame = text_frame(&reply);
                        answer(Input::Received { conn, frame });
                    }
                    self.note(format!("send {shard} {}", text.into_string()));
                }
                Action::Close { conn, code, .. } => {
                    let code = code.get();
                    answer(Input::Closed {
                        conn,
                        code: Some(code),
                    });
                    self.note(format!("close {shard} {code}"));
                }
                Action::Emit(event) => {
                    let event = event.into_owned();
                    if let Event::Dispatch(event) = &event {
                        answer(Input::Acknowledged(event.id()));
                    }
                    self.events.push((self.now - self.began, event));
                }
                _ => {}
            }
        }
    }

    /// When something began so in the log.
    pub(crate) fn when(&self, begins: &str) -> Vec<Duration> {
        let found = self.log.iter().filter(|(_, what)| what.starts_with(begins));
        found.map(|(at, _)| *at).collect()
    }

    /// When a shard sent each of its Identifies.
    pub(crate) fn identified(&self, shard: ShardId) -> Vec<Duration> {
        self.when(&format!(r#"send {shard} {{"op":2,"#))
    }

    pub(crate) fn all_connected(&self) -> Vec<(Duration, u32)> {
        let events = self.events.iter().filter_map(|(at, event)| match event {
            Event::ConnectedAllShards { shards } => Some((*at, *shards)),
            _ => None,
        });
        events.collect()
    }

    pub(crate) fn stops(&self) -> Vec<&StopReason> {
        let events = self.events.iter().filter_map(|(_, event)| match event {
            Event::Stopped { why, .. } => Some(why),
            _ => None,
        });
        events.collect()
    }

    pub(crate) fn shard_stops(&self) -> Vec<(ShardId, &StopReason)> {
        let events = self.events.iter().filter_map(|(_, event)| match event {
            Event::ShardStopped { shard, why, .. } => Some((*shard, why)),
            _ => None,
        });
        events.collect()
    }

    pub(crate) fn answers_to(&self, id: CommandId) -> Vec<Answer> {
        let answers = self.answers.iter().filter(|(of, _)| *of == id.0);
        answers.map(|(_, answer)| answer.clone()).collect()
    }

    /// Empties the log.
    pub(crate) fn forget(&mut self) {
        self.log.clear();
        self.events.clear();
    }
}
