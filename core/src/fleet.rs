//! The set of shards of one bot as one machine: which shards exist, who may identify when, when all are
//! connected, what a fatal close code means for the others, and the one end.
//!
//! | state | `Start` | `Fetched` | `Report` | `Command` | `Stop` | `Tick` |
//! |---|---|---|---|---|---|---|
//! | idle | fetch the gateway's address | – | – | refuse: not ready | end | – |
//! | fetching | misuse | plan and start shards, or try again later, or end | – | refuse: not ready | end | try again |
//! | running | misuse | – | turns, counts, fatal codes | route | stop every shard | give turns |
//! | stopping | misuse | – | end after the last | refuse: stopped | – | give up on shards that do not report |
//! | stopped | – | – | – | refuse: stopped | – | – |
//!
//! Shards with a session start at once: a resume needs no turn. The others start when their turn is near,
//! so that no socket sits open for minutes. Every turn belongs to a shard *and* its connection.

mod commands;
mod identify;
mod messages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use self::commands::Pending;
use self::identify::IdentifyTurns;
pub use self::messages::{
    FleetAction, FleetConfig, FleetInput, ShardPlan, ShardReport, ShardStart, ShardTemplate,
    Shards, ToShard,
};
use crate::rng::Rng;
use crate::{
    Answer, CloseAction, CloseCode, CommandError, CommandId, Event, FetchFault, FetchMachine,
    FetchNext, GatewayInfo, GatewayRequest, GatewayUrl, Misuse, ShardId, ShardState, Stop,
    StopReason, Wait, WaitFor,
};

/// Shards of one bucket that are on their way to their Identify at one time: one whose turn it is, and
/// one that dials meanwhile.
const ON_THE_WAY: usize = 2;
/// A shard reports its end once its close is answered or has timed out, and this long after at the latest.
/// One that does not is given up, so that a stop always ends.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// More shards than any bot has.
const ABSURD_TOTAL: u32 = 100_000;

#[derive(Debug)]
enum State {
    Idle,
    /// `retry_at` while waiting to ask again.
    Fetching {
        retry_at: Option<Instant>,
    },
    Running,
    Stopping {
        why: StopReason,
        give_up_at: Instant,
        /// That time has been given once already.
        again: bool,
    },
    Stopped,
}

/// How far one shard is.
#[derive(Debug)]
enum Life {
    Planned,
    Running {
        /// READY or RESUMED, as far as reported.
        up: bool,
        /// Still on its way to its first Identify: holds one of the bucket's places.
        on_the_way: bool,
    },
    Stopped(Box<ShardState>),
}

/// The set of shards of one bot. Same contract as [`ShardMachine`](crate::ShardMachine): `handle`, then
/// `poll` until it waits.
#[derive(Debug)]
pub struct FleetMachine {
    config: FleetConfig,
    now: Instant,
    rng: Rng,
    state: State,
    fetch: FetchMachine,
    url: Option<GatewayUrl>,
    total: u32,
    shards: BTreeMap<u32, Life>,
    /// Planned shards by bucket, in the order of their numbers.
    queues: BTreeMap<u32, VecDeque<u32>>,
    turns: Option<IdentifyTurns>,
    /// Started shards of each bucket that have not identified yet.
    on_the_way: BTreeMap<u32, usize>,
    /// How many shards are READY or RESUMED.
    up: usize,
    all_up_said: bool,
    spent_said: bool,
    pending: BTreeMap<CommandId, Pending>,
    out: VecDeque<FleetAction>,
    drained: bool,
}

impl FleetMachine {
    /// A fleet that waits for [`FleetInput::Start`]. The seed decides every random delay, its shards'
    /// too.
    #[must_use]
    pub fn new(config: FleetConfig, seed: u64, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let fetch = FetchMachine::new(config.tries, rng.next_u64());
        Self {
            config,
            now,
            rng,
            state: State::Idle,
            fetch,
            url: None,
            total: 0,
            shards: BTreeMap::new(),
            queues: BTreeMap::new(),
            turns: None,
            on_the_way: BTreeMap::new(),
            up: 0,
            all_up_said: false,
            spent_said: false,
            pending: BTreeMap::new(),
            out: VecDeque::new(),
            drained: true,
        }
    }

    /// How many shards the bot has in all; `None` until the gateway's address is known.
    #[must_use]
    pub fn total(&self) -> Option<u32> {
        (self.total > 0).then_some(self.total)
    }

    /// Tells the fleet what happened, and what time it is.
    ///
    /// # Errors
    /// [`Misuse`] if the caller broke the contract; the input has changed nothing then.
    pub fn handle(&mut self, now: Instant, input: FleetInput) -> Result<(), Misuse> {
        if !self.drained {
            return Err(Misuse::OutputPending);
        }
        self.now = self.now.max(now);
        let result = self.input(input);
        self.look_at_the_clock();
        self.drained = result.is_err() && self.out.is_empty();
        result
    }

    /// What to do next.
    pub fn poll(&mut self) -> FleetAction {
        if let Some(action) = self.out.pop_front() {
            return action;
        }
        self.drained = true;
        FleetAction::Wait(match &self.state {
            State::Idle => Wait::For(WaitFor::Start),
            State::Stopped => Wait::Stopped,
            State::Fetching { retry_at } => until(*retry_at),
            State::Running => until(self.turns.as_ref().and_then(IdentifyTurns::next)),
            State::Stopping { give_up_at, .. } => until(Some(*give_up_at)),
        })
    }

    fn input(&mut self, input: FleetInput) -> Result<(), Misuse> {
        match input {
            FleetInput::Start => match self.state {
                State::Idle => self.ask(),
                State::Stopped => {}
                _ => return Err(Misuse::AlreadyStarted),
            },
            FleetInput::Fetched(result) => self.fetched(result),
            FleetInput::Report { shard, report } => self.report(shard, report),
            FleetInput::Command {
                id,
                to,
                command,
                if_not_ready,
            } => {
                self.command(id, to, &command, if_not_ready);
            }
            FleetInput::Stop(how) => self.stop(how, StopReason::Requested),
            FleetInput::Tick => {}
        }
        Ok(())
    }

    fn look_at_the_clock(&mut self) {
        match &self.state {
            State::Fetching { retry_at: Some(at) } if *at <= self.now => self.ask(),
            State::Running => self.give_turns(),
            State::Stopping { give_up_at, .. } if *give_up_at <= self.now => self.give_up(),
            _ => {}
        }
    }

    /// Shards that do not report are left behind; but not at once: if the host slept, the fleet may be the
    /// first to hear that the time has passed.
    fn give_up(&mut self) {
        let patience = self.stop_patience();
        match &mut self.state {
            State::Stopping {
                give_up_at, again, ..
            } if !*again => {
                *again = true;
                *give_up_at = self.now + patience;
            }
            _ => self.end(),
        }
    }

    fn stop_patience(&self) -> Duration {
        self.config.template.limits.close_timeout + STOP_PATIENCE
    }

    fn ask(&mut self) {
        self.state = State::Fetching { retry_at: None };
        self.out.push_back(FleetAction::Fetch(GatewayRequest::new(
            &self.config.api,
            &self.config.token,
        )));
    }

    fn fetched(&mut self, result: Result<GatewayInfo, FetchFault>) {
        if !matches!(self.state, State::Fetching { retry_at: None }) {
            return;
        }
        match self.fetch.on_result(self.now, result) {
            FetchNext::Done(info) => self.plan(info),
            FetchNext::RetryAt(at) => self.state = State::Fetching { retry_at: Some(at) },
            FetchNext::Failed(fault) => self.finish(StopReason::Fetch(fault)),
        }
    }

    fn plan(&mut self, info: GatewayInfo) {
        let (ids, total) = match &self.config.plan {
            ShardPlan::Recommended => (None, info.shards),
            ShardPlan::Total(total) => (None, *total),
            ShardPlan::Ids { ids, total } => (Some(ids.clone()), total.unwrap_or(info.shards)),
        };
        let bad = ids.iter().flatten().find(|id| **id >= total).copied();
        if total == 0 || total > ABSURD_TOTAL || bad.is_some() {
            let problem = match bad {
                Some(id) => format!("shard {id} does not exist among {total} shards"),
                None => format!("{total} shards are not possible"),
            };
            return self.finish(StopReason::Fetch(FetchFault::NotAGateway { problem }));
        }
        self.total = total;
        let turns = IdentifyTurns::new(&info.session_start_limit, self.now);
        self.url = Some(info.url);
        self.state = State::Running;
        let ids = ids.unwrap_or_else(|| (0..total).collect());
        let mut resumable = Vec::new();
        for id in ids {
            if self.shards.insert(id, Life::Planned).is_some() {
                continue;
            }
            let Ok(shard) = ShardId::new(id, total) else {
                continue;
            };
            let known = self.config.states.iter().find(|state| state.shard == shard);
            match known.filter(|state| state.is_resumable()) {
                Some(state) => resumable.push((shard, state.clone())),
                None => self
                    .queues
                    .entry(turns.bucket_of(shard))
                    .or_default()
                    .push_back(id),
            }
        }
        self.turns = Some(turns);
        for (shard, state) in resumable {
            self.start(shard, Some(state));
        }
        let buckets: Vec<u32> = self.queues.keys().copied().collect();
        for bucket in buckets {
            self.start_next(bucket);
        }
        self.say_if_all_up();
    }

    fn start(&mut self, shard: ShardId, state: Option<ShardState>) {
        let Some(url) = self.url.clone() else { return };
        let on_the_way = state.is_none();
        if on_the_way && let Some(turns) = &self.turns {
            *self.on_the_way.entry(turns.bucket_of(shard)).or_default() += 1;
        }
        self.shards.insert(
            shard.number(),
            Life::Running {
                up: false,
                on_the_way,
            },
        );
        let config = self
            .config
            .template
            .config(shard, self.config.token.clone(), url);
        let seed = self.rng.next_u64();
        self.out
            .push_back(FleetAction::StartShard(Box::new(ShardStart {
                config,
                state,
                seed,
            })));
    }

    /// Starts the next shards of a bucket, as far as there are places.
    fn start_next(&mut self, bucket: u32) {
        let total = self.total;
        let on_the_way = self.on_the_way.get(&bucket).copied().unwrap_or(0);
        let next: Vec<ShardId> = self
            .queues
            .get_mut(&bucket)
            .map(|queue| {
                let places = ON_THE_WAY.saturating_sub(on_the_way).min(queue.len());
                queue
                    .drain(..places)
                    .filter_map(|id| ShardId::new(id, total).ok())
                    .collect()
            })
            .unwrap_or_default();
        for shard in next {
            self.start(shard, None);
        }
    }

    /// A shard no longer needs its place on the way to an Identify.
    fn free_place(&mut self, shard: ShardId) {
        if let Some(Life::Running { on_the_way, .. }) = self.shards.get_mut(&shard.number())
            && std::mem::take(on_the_way)
            && let Some(turns) = &self.turns
        {
            let bucket = turns.bucket_of(shard);
            if let Some(count) = self.on_the_way.get_mut(&bucket) {
                *count = count.saturating_sub(1);
            }
            if matches!(self.state, State::Running) {
                self.start_next(bucket);
            }
        }
    }

    fn set_up(&mut self, shard: ShardId, now_up: bool) {
        if let Some(Life::Running { up, .. }) = self.shards.get_mut(&shard.number())
            && std::mem::replace(up, now_up) != now_up
        {
            self.up = if now_up {
                self.up + 1
            } else {
                self.up.saturating_sub(1)
            };
        }
    }

    fn give_turns(&mut self) {
        let Some(turns) = &mut self.turns else { return };
        while let Some((shard, conn)) = turns.grant(self.now) {
            let message = ToShard::IdentifyGranted { conn };
            self.out.push_back(FleetAction::Tell { shard, message });
        }
        match turns.spent(self.now) {
            Some(reset_after) if !self.spent_said => {
                self.spent_said = true;
                let planned: usize = self.queues.values().map(VecDeque::len).sum();
                let waiting = u32::try_from(turns.waiting() + planned).unwrap_or(u32::MAX);
                let event = Event::IdentifyBudgetSpent {
                    reset_after,
                    waiting,
                };
                self.out.push_back(FleetAction::Emit(event));
            }
            Some(_) => {}
            None => self.spent_said = false,
        }
    }

    fn report(&mut self, shard: ShardId, report: ShardReport) {
        let running = matches!(self.shards.get(&shard.number()), Some(Life::Running { .. }));
        if shard.total() != self.total || !running {
            return;
        }
        match report {
            ShardReport::WantIdentify { conn } => {
                if let (State::Running, Some(turns)) = (&self.state, &mut self.turns) {
                    turns.request(shard, conn);
                }
            }
            ShardReport::WithdrawIdentify { .. } => {
                if let Some(turns) = &mut self.turns {
                    turns.withdraw(shard);
                }
            }
            ShardReport::IdentifySent { .. } => {
                if let Some(turns) = &mut self.turns {
                    turns.sent(shard, self.now);
                }
                self.free_place(shard);
            }
            ShardReport::Up => {
                self.set_up(shard, true);
                self.free_place(shard);
                self.say_if_all_up();
            }
            ShardReport::Down => {
                self.set_up(shard, false);
                // It asks again by itself; meanwhile the next may dial.
                self.free_place(shard);
            }
            ShardReport::Answer { id, answer } => self.answered(shard.number(), id, answer),
            ShardReport::Stopped { why, state } => self.shard_stopped(shard, why, state),
        }
    }

    fn say_if_all_up(&mut self) {
        if !self.all_up_said && matches!(self.state, State::Running) && self.up == self.shards.len()
        {
            self.all_up_said = true;
            let shards = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
            self.out
                .push_back(FleetAction::Emit(Event::ConnectedAllShards { shards }));
        }
    }

    fn shard_stopped(&mut self, shard: ShardId, why: StopReason, state: ShardState) {
        let number = shard.number();
        self.free_place(shard);
        self.set_up(shard, false);
        self.shards.insert(number, Life::Stopped(Box::new(state)));
        if let Some(turns) = &mut self.turns {
            turns.withdraw(shard);
        }
        let orphans: Vec<CommandId> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.open.contains_key(&number))
            .map(|(id, _)| *id)
            .collect();
        for id in orphans {
            self.answered(number, id, Answer::Refused(CommandError::Stopped));
        }
        let alive = self
            .shards
            .values()
            .any(|life| !matches!(life, Life::Stopped(_)));
        let running = self
            .shards
            .values()
            .any(|life| matches!(life, Life::Running { .. }));
        match (&self.state, &why) {
            (State::Stopping { .. }, _) if !running => self.end(),
            (State::Running, StopReason::ReShardRequired) => {
                let event = Event::ReShard {
                    from: self.total,
                    to: None,
                };
                self.out.push_back(FleetAction::Emit(event));
                self.stop(Stop::Keep, why);
            }
            (State::Running, StopReason::Fatal { code }) if stops_the_bot(*code) => {
                self.stop(Stop::Keep, why);
            }
            (State::Running, _) if !alive => {
                let why = if self.shards.len() == 1 {
                    why
                } else {
                    StopReason::NoShardsLeft
                };
                self.finish(why);
            }
            _ => {}
        }
    }

    fn stop(&mut self, how: Stop, why: StopReason) {
        match self.state {
            State::Idle | State::Fetching { .. } => self.finish(why),
            State::Running => {
                self.queues.clear();
                if let Some(turns) = &mut self.turns {
                    turns.clear();
                }
                let running: Vec<u32> = self
                    .shards
                    .iter()
                    .filter(|(_, life)| matches!(life, Life::Running { .. }))
                    .map(|(id, _)| *id)
                    .collect();
                if running.is_empty() {
                    return self.finish(why);
                }
                for shard in running
                    .into_iter()
                    .filter_map(|id| ShardId::new(id, self.total).ok())
                {
                    self.out.push_back(FleetAction::Tell {
                        shard,
                        message: ToShard::Stop(how),
                    });
                }
                self.state = State::Stopping {
                    why,
                    give_up_at: self.now + self.stop_patience(),
                    again: false,
                };
            }
            State::Stopping { .. } | State::Stopped => {}
        }
    }

    fn end(&mut self) {
        if let State::Stopping { why, .. } = &self.state {
            let why = why.clone();
            self.finish(why);
        }
    }

    /// The last thing a fleet does.
    fn finish(&mut self, why: StopReason) {
        self.state = State::Stopped;
        let ids: Vec<CommandId> = std::mem::take(&mut self.pending).into_keys().collect();
        for id in ids {
            self.answer(id, Answer::Refused(CommandError::Stopped));
        }
        let total = self.total;
        let known = |id: u32| {
            self.config
                .states
                .iter()
                .find(move |s| s.shard.number() == id && s.shard.total() == total)
        };
        let states = self
            .shards
            .iter()
            .filter_map(|(id, life)| match life {
                Life::Stopped(state) => Some((**state).clone()),
                // Never started: what was given stays good.
                Life::Planned => known(*id).cloned(),
                Life::Running { .. } => ShardId::new(*id, total).ok().map(ShardState::fresh),
            })
            .collect();
        self.out
            .push_back(FleetAction::Emit(Event::Stopped { why, states }));
    }

    fn answer(&mut self, id: CommandId, answer: Answer) {
        self.out.push_back(FleetAction::Answer { id, answer });
    }

    fn refuse(&mut self, id: CommandId, error: CommandError) {
        self.answer(id, Answer::Refused(error));
    }
}

fn until(at: Option<Instant>) -> Wait {
    at.map_or(Wait::For(WaitFor::Shards), Wait::Until)
}

fn stops_the_bot(code: CloseCode) -> bool {
    code.action() == CloseAction::StopBot
}
