//! The fleet in virtual time, with shards that answer at once.

mod gate;
mod given_up;
mod members;
mod moving;
mod overlapping;
mod resharding;
mod running;
mod starts;
mod swapping;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::{
    Command, ConnId, FetchFault, FleetAction, GatewayInfo, GuildMembers, IfNotReady, Intents,
    RequestMembersError, SessionStartLimit, ShardFilter, ShardLimits, StatusUpdate, Token,
};

struct World {
    fleet: FleetMachine,
    now: Instant,
    began: Instant,
    info: GatewayInfo,
    /// When each shard's Identify left.
    identified: BTreeMap<u32, Duration>,
    /// Shards that are started and never get as far as wanting to identify.
    hanging: Vec<u32>,
    told: Vec<(u32, String)>,
    events: Vec<(Duration, Event<'static>)>,
    answers: Vec<(u64, Answer)>,
    states: Vec<(u64, Vec<ShardState>)>,
    members: Vec<(u64, Result<GuildMembers, RequestMembersError>)>,
    started: Vec<u32>,
    /// What shards were started with.
    resumed: Vec<ShardState>,
    /// What happened, for people: when, and what.
    story: Vec<String>,
    /// Results of changes to the set of shards.
    done: Vec<(u64, Result<(), FleetError>)>,
    /// Answers to requests that are to fail, the first first.
    faults: Vec<FetchFault>,
    /// What the gate is asked and has not answered.
    at_gate: Vec<GateRequest>,
    /// Shards that do not end when they are told to.
    stubborn: Vec<u32>,
    /// Shards that have not delivered everything yet, when they are asked.
    behind: Vec<ShardId>,
    /// Shards do not say what their states are.
    mute: bool,
    wait: Wait,
}

impl World {
    fn new(plan: ShardPlan, limit: SessionStartLimit, shards: u32) -> Self {
        let url = "ws://main.example".parse().unwrap();
        let mut config = FleetConfig::new(Token::new("token").unwrap(), Intents::GUILDS);
        config.plan = plan;
        config.template.limits = ShardLimits::default();
        Self::with(config, GatewayInfo::new(url, shards, limit))
    }

    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn with(config: FleetConfig, info: GatewayInfo) -> Self {
        let now = Instant::now();
        Self {
            fleet: FleetMachine::new(config, 1, now),
            now,
            began: now,
            info,
            identified: BTreeMap::new(),
            hanging: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            states: Vec::new(),
            members: Vec::new(),
            started: Vec::new(),
            resumed: Vec::new(),
            story: Vec::new(),
            done: Vec::new(),
            faults: Vec::new(),
            at_gate: Vec::new(),
            stubborn: Vec::new(),
            behind: Vec::new(),
            mute: false,
            wait: Wait::For(WaitFor::Start),
        }
    }

    fn tell(&mut self, input: FleetInput) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let input = inputs.remove(0);
            self.fleet.handle(self.now, input).unwrap();
            loop {
                match self.fleet.poll() {
                    FleetAction::Wait(wait) => {
                        self.wait = wait;
                        break;
                    }
                    FleetAction::Fetch(_) => {
                        self.tell_of("fetch");
                        let fault = (!self.faults.is_empty()).then(|| self.faults.remove(0));
                        inputs.push(FleetInput::Fetched(match fault {
                            Some(fault) => Err(fault),
                            None => Ok(self.info.clone()),
                        }));
                    }
                    FleetAction::PrepareSwap => self.tell_of("prepare swap"),
                    FleetAction::Swap => self.tell_of("swap"),
                    FleetAction::AbandonSwap => self.tell_of("abandon swap"),
                    FleetAction::Done { id, result } => self.done.push((id.0, result)),
                    FleetAction::AskGate(request) => self.at_gate.push(request),
                    FleetAction::LeaveGate { shard, conn } => {
                        self.tell_of(&format!("leave gate {shard}"));
                        self.at_gate
                            .retain(|request| (request.shard, request.conn) != (shard, conn));
                    }
                    FleetAction::StartShard(start) => {
                        let shard = start.config.shard;
                        self.started.push(shard.number());
                        self.resumed.extend(start.state.clone());
                        let muted = if start.muted { " muted" } else { "" };
                        self.tell_of(&format!("start {shard}{muted}"));
                        if self.hanging.contains(&shard.number()) {
                            continue;
                        }
                        if start.state.is_some() {
                            inputs.push(FleetInput::Report {
                                shard,
                                report: ShardReport::Up,
                            });
                        } else {
                            let report = ShardReport::WantIdentify { conn: ConnId(1) };
                            inputs.push(FleetInput::Report { shard, report });
                        }
                    }
                    FleetAction::Tell { shard, message } => match message {
                        ToShard::IdentifyGranted { conn } => {
                            self.identified
                                .insert(shard.number(), self.now - self.began);
                            let report = ShardReport::IdentifySent { conn };
                            inputs.push(FleetInput::Report { shard, report });
                            for report in [ShardReport::Up, ShardReport::Loaded] {
                                inputs.push(FleetInput::Report { shard, report });
                            }
                        }
                        ToShard::Stop(how) => {
                            self.told.push((shard.number(), format!("{how:?}")));
                            self.tell_of(&format!("stop {shard} {how:?}"));
                            if !self.stubborn.contains(&shard.number()) {
                                inputs.push(match how {
                                    Stop::Keep => stopped_with(session_of(shard)),
                                    Stop::Final => stopped(shard, StopReason::Requested),
                                });
                            }
                        }
                        ToShard::CatchUp { mark } => {
                            self.tell_of(&format!("catch up {shard}"));
                            if !self.behind.contains(&shard) {
                                let report = ShardReport::CaughtUp { mark };
                                inputs.push(FleetInput::Report { shard, report });
                            }
                        }
                        ToShard::ReportState if self.mute => {}
                        ToShard::ReportState => {
                            let state = session_of(shard);
                            let report = ShardReport::State { state };
                            inputs.push(FleetInput::Report { shard, report });
                        }
                        ToShard::CollectMembers { .. } => {
                            self.told.push((shard.number(), "members".into()));
                        }
                        ToShard::Command { .. } => {
                            self.told.push((shard.number(), "command".into()))
                        }
                    },
                    FleetAction::Answer { id, answer } => self.answers.push((id.0, answer)),
                    FleetAction::Members { id, result } => self.members.push((id.0, result)),
                    FleetAction::States { id, states } => self.states.push((id.0, states)),
                    FleetAction::Emit(event) => self.events.push((self.now - self.began, event)),
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Wait::Until(at) = self.wait
            && at <= end
        {
            self.now = self.now.max(at);
            self.tell(FleetInput::Tick);
        }
        self.now = end;
        self.tell(FleetInput::Tick);
    }

    fn all_connected_at(&self) -> Option<Duration> {
        self.events
            .iter()
            .find(|(_, event)| matches!(event, Event::ConnectedAllShards { .. }))
            .map(|(at, _)| *at)
    }

    fn stops(&self) -> Vec<&StopReason> {
        self.events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Stopped { why, .. } => Some(why),
                _ => None,
            })
            .collect()
    }
}

impl World {
    fn tell_of(&mut self, what: &str) {
        let at = (self.now - self.began).as_secs();
        self.story.push(format!("{at} {what}"));
    }

    /// The story so far; it goes on empty.
    fn story(&mut self) -> Vec<String> {
        std::mem::take(&mut self.story)
    }
}

fn stopped_with(state: ShardState) -> FleetInput {
    let shard = state.shard;
    let why = StopReason::Requested;
    let report = ShardReport::Stopped { why, state };
    FleetInput::Report { shard, report }
}

fn stopped(shard: ShardId, why: StopReason) -> FleetInput {
    let state = ShardState::fresh(shard);
    FleetInput::Report {
        shard,
        report: ShardReport::Stopped { why, state },
    }
}

fn session_of(shard: ShardId) -> ShardState {
    ShardState {
        session_id: Some(format!("session-{}", shard.number())),
        seq: Some(7),
        ..ShardState::fresh(shard)
    }
}

fn vanished(shard: ShardId, state: ShardState) -> FleetInput {
    let report = ShardReport::Vanished { state };
    FleetInput::Report { shard, report }
}

fn add(id: u64, states: Vec<ShardState>) -> FleetInput {
    let id = CommandId(id);
    FleetInput::AddShards { id, states }
}

fn remove(id: u64, filter: ShardFilter) -> FleetInput {
    let id = CommandId(id);
    FleetInput::RemoveShards { id, filter }
}

fn limit(remaining: u32, reset_after: u64, max_concurrency: u32) -> SessionStartLimit {
    SessionStartLimit::new(
        1000,
        remaining,
        Duration::from_secs(reset_after),
        max_concurrency,
    )
}

fn started(plan: ShardPlan, limit: SessionStartLimit) -> World {
    let mut world = World::new(plan, limit, 4);
    world.tell(FleetInput::Start);
    world
}

fn shard(number: u32, total: u32) -> ShardId {
    ShardId::new(number, total).unwrap()
}
