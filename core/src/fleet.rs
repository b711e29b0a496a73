//! The set of shards of one bot as one machine: which shards exist, who may identify when, when all are
//! connected, what a fatal close code means for the others, how a bot gets other shards, and the one end.
//!
//! | state | `Start` | `Fetched` | `Report` | commands, questions | `AddShards` … `ReShard` | `Stop` | `Tick` |
//! |---|---|---|---|---|---|---|---|
//! | idle | fetch the gateway's address, or plan | – | – | refuse: not ready | refuse | end | – |
//! | fetching | misuse | plan and start shards, or try again later, or end | – | refuse: not ready | refuse | end | try again |
//! | running | misuse | go on with a re-shard, or know what is left | turns, counts, fatal codes | route | carry out | stop every shard | give turns, start what fell, go on with a re-shard, ask what is left |
//! | stopping | misuse | – | end after the last | refuse: stopped | refuse | – | give up on shards that do not report |
//! | stopped | – | – | – | refuse: stopped | refuse | – | – |
//!
//! Shards with a session start at once: a resume needs no turn. The others start when their turn is near,
//! so that no socket sits open for minutes. Every turn belongs to a shard *and* its connection.
//!
//! One shard's life:
//!
//! ```text
//!            its turn is near, or it has a session,
//!            and no other of its name runs                  it ends
//!   Planned ───────────────────────────────────────▶ Running ──────▶ Stopped
//!      │                                             │  ▲  │
//!      │ removed                its driver vanished  ▼  │  │ removed
//!      ▼                                          Fallen   ▼
//!   (gone)                                               (gone, once it has ended)
//! ```

mod commands;
mod copying;
mod identify;
mod members;
mod messages;
mod moving;
mod overlapping;
mod patience;
mod planning;
mod recount;
mod resharding;
mod roster;
mod states;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use self::commands::Pending;
use self::identify::IdentifyTurns;
use self::members::Collections;
pub use self::messages::{
    FleetAction, FleetConfig, FleetError, FleetInput, GateRequest, KnownStarts, ReShardPolicy,
    ShardPlan, ShardReport, ShardStart, ShardTemplate, Shards, ToShard,
};
use self::moving::Removal;
use self::patience::Patience;
use self::recount::Recount;
use self::resharding::ReShard;
use self::roster::{Life, Shard};
use self::states::Question;
use crate::rng::Rng;
use crate::{
    Answer, CloseAction, CloseCode, CommandError, CommandId, Event, FetchMachine, GatewayUrl,
    Misuse, Problem, SessionStartLimit, ShardId, ShardState, Stop, StopReason, Wait, WaitFor,
};

/// A shard reports its end once its close is answered or has timed out, and this long after at the latest.
/// One that does not is given up, so that a stop always ends.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// Two windows of session starts that end less than this apart are one.
const SAME_WINDOW: Duration = Duration::from_secs(5 * 60);
/// More shards than any bot has.
pub(crate) const ABSURD_TOTAL: u32 = 100_000;

#[derive(Clone, Debug)]
enum State {
    Idle,
    /// `retry_at` while waiting to ask again.
    Fetching {
        retry_at: Option<Instant>,
    },
    Running,
    Stopping {
        why: StopReason,
        patience: Patience,
    },
    Stopped,
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
    /// Of the bot's present layout.
    total: u32,
    shards: BTreeMap<ShardId, Shard>,
    /// Planned shards by bucket, in the order in which they start.
    queues: BTreeMap<u32, VecDeque<ShardId>>,
    turns: Option<IdentifyTurns>,
    /// Started shards of each bucket that have not identified yet.
    on_the_way: BTreeMap<u32, usize>,
    /// Given up before they had ended: a driver that is stuck. Another of that name waits until it has.
    unended: BTreeSet<ShardId>,
    /// How often the driver of a shard has vanished since it was last up.
    falls: BTreeMap<ShardId, u32>,
    /// How many shards of the present layout are READY or RESUMED, and how many there are.
    up: usize,
    present: usize,
    all_up_said: bool,
    spent_said: bool,
    pending: BTreeMap<CommandId, Pending>,
    questions: BTreeMap<CommandId, Question>,
    removals: BTreeMap<CommandId, Removal>,
    re_shard: Option<ReShard>,
    /// How often old shards were asked whether they have caught up.
    marks: u64,
    recount: Option<Recount>,
    /// Members that shards have still to gather.
    collections: Collections,
    out: VecDeque<FleetAction>,
    drained: bool,
}

impl FleetMachine {
    /// A fleet that waits for [`FleetInput::Start`]. The seed decides every random delay, its shards'
    /// too.
    #[must_use]
    pub fn new(mut config: FleetConfig, seed: u64, now: Instant) -> Self {
        config.template.limits = config.template.limits.bounded();
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
            unended: BTreeSet::new(),
            falls: BTreeMap::new(),
            up: 0,
            present: 0,
            all_up_said: false,
            spent_said: false,
            pending: BTreeMap::new(),
            questions: BTreeMap::new(),
            removals: BTreeMap::new(),
            re_shard: None,
            marks: 0,
            recount: None,
            collections: Collections::default(),
            out: VecDeque::new(),
            drained: true,
        }
    }

    /// How many shards the bot has in all; `None` until the gateway's address is known.
    #[must_use]
    pub fn total(&self) -> Option<u32> {
        (self.total > 0).then_some(self.total)
    }

    /// How many session starts are left of Discord's window, and when it ends; `None` until the gateway's
    /// address is known. Of a window that Discord has not told of, how many are left at most.
    #[must_use]
    pub fn starts_left(&self) -> Option<KnownStarts> {
        self.turns.as_ref().map(|turns| KnownStarts {
            remaining: turns.at_most(),
            reset_after: turns.resets_at().saturating_duration_since(self.now),
        })
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
            State::Running => until(self.next_time()),
            State::Stopping { patience, .. } => until(Some(patience.end())),
        })
    }

    fn input(&mut self, input: FleetInput) -> Result<(), Misuse> {
        match input {
            FleetInput::Start => match self.state {
                State::Idle => self.begin(),
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
            FleetInput::AskForStates { id, filter } => self.ask_for_states(id, filter, false),
            FleetInput::AddShards { id, states } => {
                let result = self.add_shards(states);
                self.out.push_back(FleetAction::Done { id, result });
            }
            FleetInput::RemoveShards { id, filter } => self.ask_for_states(id, filter, true),
            FleetInput::ReShard { id, to } => {
                if let Err(error) = self.re_shard_on_demand(id, to) {
                    let result = Err(error);
                    self.out.push_back(FleetAction::Done { id, result });
                }
            }
            FleetInput::GateOpened { shard, conn } => {
                if self
                    .turns
                    .as_mut()
                    .is_some_and(|turns| turns.opened(shard, conn))
                {
                    let message = ToShard::IdentifyGranted { conn };
                    self.out.push_back(FleetAction::Tell { shard, message });
                }
            }
            FleetInput::GateFailed { shard, conn } => {
                if let Some(turns) = &mut self.turns
                    && turns.is_granted(shard, conn)
                {
                    turns.put_back(shard, conn, self.now);
                    self.out.push_back(FleetAction::Emit(Event::Problem {
                        shard,
                        conn: Some(conn),
                        problem: Problem::GateFailed,
                    }));
                }
            }
            FleetInput::CollectMembers { id, request } => self.collect_members(id, request),
            FleetInput::Stop(how) => self.stop(how, StopReason::Requested),
            FleetInput::Tick => {}
        }
        Ok(())
    }

    fn look_at_the_clock(&mut self) {
        let time = self.stop_patience();
        if let State::Stopping { patience, .. } = &mut self.state
            && patience.is_over(self.now, time)
        {
            return self.end();
        }
        match &self.state {
            State::Fetching { retry_at: Some(at) } if *at <= self.now => self.ask(),
            State::Running => {
                self.give_up_removals();
                self.go_on_re_sharding();
                self.start_the_fallen();
                self.give_turns();
            }
            _ => {}
        }
    }

    fn stop_patience(&self) -> Duration {
        self.config.template.limits.close_timeout + STOP_PATIENCE
    }

    /// With shards that are told to end now.
    fn patience(&self) -> Patience {
        Patience::new(self.now, self.stop_patience())
    }

    fn next_time(&self) -> Option<Instant> {
        let turn = self.turns.as_ref().and_then(|turns| turns.next(self.now));
        let re_shard = self.re_shard.as_ref().and_then(ReShard::next_time);
        let recount = self.recount.as_ref().and_then(Recount::next_time);
        let removals = self.removals.values().map(Removal::patience_ends);
        self.restarts()
            .chain(removals)
            .chain(turn)
            .chain(re_shard)
            .chain(recount)
            .min()
    }

    fn give_turns(&mut self) {
        let Some(turns) = &mut self.turns else { return };
        while let Some((shard, conn)) = turns.grant(self.now) {
            self.out.push_back(if self.config.gated {
                FleetAction::AskGate(GateRequest {
                    shard,
                    conn,
                    bucket: turns.bucket_of(shard),
                    label: self.config.label.clone(),
                })
            } else {
                let message = ToShard::IdentifyGranted { conn };
                FleetAction::Tell { shard, message }
            });
        }
        if self.recounts() {
            return;
        }
        let Some(turns) = &self.turns else { return };
        match turns.spent(self.now) {
            Some(reset_after) if !self.spent_said => {
                self.spent_said = true;
                let planned: usize = self.queues.values().map(VecDeque::len).sum();
                self.out
                    .push_back(FleetAction::Emit(Event::IdentifyBudgetSpent {
                        reset_after,
                        waiting: count(turns.waiting() + planned),
                        kept_back: turns.kept_back(),
                    }));
            }
            Some(_) => {}
            None => self.spent_said = false,
        }
    }

    /// Discord has been asked again, for whatever reason.
    fn refresh_turns(&mut self, limit: &SessionStartLimit) {
        if let Some(turns) = &mut self.turns {
            for (shard, conn) in turns.refresh(limit, self.now) {
                self.out.push_back(FleetAction::LeaveGate { shard, conn });
            }
        }
        self.sort_into_buckets();
    }

    fn take_back_turn(&mut self, shard: ShardId) {
        if let Some(turns) = &mut self.turns
            && let Some(conn) = turns.withdraw(shard)
            && self.config.gated
        {
            self.out.push_back(FleetAction::LeaveGate { shard, conn });
        }
    }

    fn report(&mut self, shard: ShardId, report: ShardReport) {
        let running = self.shards.get(&shard).is_some_and(Shard::is_running);
        if !running {
            match (report, &mut self.turns) {
                (ShardReport::IdentifySent { .. }, Some(turns)) => turns.count(shard, self.now),
                (ShardReport::Stopped { why, state }, _) => {
                    let given_up = self.unended.contains(&shard);
                    if given_up && self.stop_if_fatal(&why) {
                        return;
                    }
                    self.ended_late(shard, state);
                }
                (ShardReport::Vanished { state }, _) => self.ended_late(shard, state),
                _ => {}
            }
            return;
        }
        match report {
            ShardReport::WantIdentify { conn } => {
                self.take_back_turn(shard);
                self.set_session(shard, false);
                self.look_at_the_coming();
                let leaves = self.shards.get(&shard).is_none_or(|shard| shard.replaced);
                if let (State::Running, Some(turns), false) = (&self.state, &mut self.turns, leaves)
                {
                    turns.request(shard, conn);
                }
            }
            ShardReport::WithdrawIdentify { .. } => self.take_back_turn(shard),
            ShardReport::IdentifySent { .. } => {
                if let Some(turns) = &mut self.turns {
                    turns.sent(shard, self.now);
                }
                self.free_place(shard);
            }
            ShardReport::Up => {
                self.falls.remove(&shard);
                self.set_up(shard, true);
                self.set_session(shard, true);
                self.free_place(shard);
                self.say_if_all_up();
                self.look_at_the_coming();
            }
            ShardReport::Down => {
                self.set_up(shard, false);
                // It asks again by itself; meanwhile the next may dial.
                self.free_place(shard);
                self.look_at_the_coming();
            }
            ShardReport::Loaded => {
                self.set_loaded(shard);
                self.look_at_the_coming();
            }
            ShardReport::CaughtUp { mark } => self.caught_up(shard, mark),
            ShardReport::Answer { id, answer } => self.answered(shard, id, answer),
            ShardReport::Members { id, result } => self.members_collected(shard, id, result),
            ShardReport::State { state } => self.state_known(shard, &state),
            ShardReport::Vanished { state } => {
                self.vanished(shard, state);
                self.look_at_the_coming();
            }
            ShardReport::Stopped { why, state } => {
                self.shard_stopped(shard, why, state);
                self.look_at_the_coming();
            }
        }
    }

    fn say_if_all_up(&mut self) {
        let settled = !self.re_shard.as_ref().is_some_and(ReShard::makes_way);
        let running = matches!(self.state, State::Running);
        if !self.all_up_said && running && settled && self.up == self.present {
            self.all_up_said = true;
            let shards = count(self.present);
            self.out
                .push_back(FleetAction::Emit(Event::ConnectedAllShards { shards }));
        }
    }

    fn shard_stopped(&mut self, shard: ShardId, why: StopReason, state: ShardState) {
        self.leave(shard, CommandError::Stopped);
        // Before its state answers a question: what follows from the answer must know that it has ended.
        self.set_life(shard, Life::Stopped(Box::new(state.clone())));
        self.state_known(shard, &state);
        let removed = self.removed(shard, &state);
        // Whether or not it was to go: those in its place would be refused as well.
        if self.stop_if_fatal(&why) {
            return;
        }
        let gone = self.old_shard_stopped(shard) || removed;
        if matches!(self.state, State::Stopping { .. }) {
            if !self.shards.values().any(Shard::is_running) {
                self.end();
            }
            return;
        }
        if gone || !self.shards.contains_key(&shard) {
            return;
        }
        match (&self.state, &why) {
            (State::Running, StopReason::ReShardRequired) => self.more_shards_demanded(shard, why),
            (State::Running, _) => {
                self.coming_shard_failed(shard, &why);
                self.end_if_none_is_left(why);
            }
            _ => {}
        }
    }

    fn stop_if_fatal(&mut self, why: &StopReason) -> bool {
        let fatal = matches!(why, StopReason::Fatal { code } if stops_the_bot(*code));
        let stops = fatal && matches!(self.state, State::Running);
        if stops {
            self.stop(Stop::Keep, why.clone());
        }
        stops
    }

    /// Every shard has ended by itself, and no re-shard brings new ones.
    fn end_if_none_is_left(&mut self, why: StopReason) {
        let alive = self.shards.values().any(|shard| !shard.has_stopped());
        let running = matches!(self.state, State::Running);
        if alive || !running || self.re_shard.is_some() || self.shards.is_empty() {
            return;
        }
        let alone = self.shards.len() == 1;
        self.finish(if alone { why } else { StopReason::NoShardsLeft });
    }

    fn stop(&mut self, how: Stop, why: StopReason) {
        match self.state {
            State::Idle | State::Fetching { .. } => self.finish(why),
            State::Running => {
                self.queues.clear();
                let held = self.turns.as_mut().map(IdentifyTurns::clear);
                if self.config.gated {
                    for (shard, conn) in held.into_iter().flatten() {
                        self.out.push_back(FleetAction::LeaveGate { shard, conn });
                    }
                }
                self.forget_re_shard(FleetError::Stopped);
                let message = ToShard::Stop(how);
                let mut any = false;
                for (shard, _) in self.shards.iter().filter(|(_, shard)| shard.is_running()) {
                    let (shard, message) = (*shard, message.clone());
                    self.out.push_back(FleetAction::Tell { shard, message });
                    any = true;
                }
                if !any {
                    return self.finish(why);
                }
                self.state = State::Stopping {
                    why,
                    patience: self.patience(),
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
        self.answer_questions(|_| true);
        self.end_removals();
        self.forget_re_shard(FleetError::Stopped);
        self.end_collections(None);
        let states = self.states();
        self.out
            .push_back(FleetAction::Emit(Event::Stopped { why, states }));
    }

    fn answer(&mut self, id: CommandId, answer: Answer) {
        self.out.push_back(FleetAction::Answer { id, answer });
    }

    fn refuse(&mut self, id: CommandId, error: CommandError) {
        self.answer(id, Answer::Refused(error));
    }

    /// Why the set of shards cannot be changed now.
    fn unchangeable(&self) -> Option<FleetError> {
        match self.state {
            State::Idle | State::Fetching { .. } => Some(FleetError::NotStarted),
            State::Running => None,
            State::Stopping { .. } | State::Stopped => Some(FleetError::Stopped),
        }
    }
}

fn until(at: Option<Instant>) -> Wait {
    at.map_or(Wait::For(WaitFor::Shards), Wait::Until)
}

fn stops_the_bot(code: CloseCode) -> bool {
    code.action() == CloseAction::StopBot
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
