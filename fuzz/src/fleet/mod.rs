//! Anything that can happen to a fleet, in any order and at any time.
//!
//! An input is a setup followed by operations. Two machines get the same and must answer the same. At the
//! end the bot gets a calm hour and must come up, as far as session starts are left; then it is stopped.

mod lives;
mod ops;
mod reports;
mod requests;
mod setup;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shardwright_core::{
    ChannelId, Command, CommandId, ConnId, Event, FetchFault, FleetAction, FleetInput,
    FleetMachine, GatewayInfo, GuildId, GuildMembersRequest, IfNotReady, Misuse, ShardFilter,
    ShardId, ShardState, Shards, Stop, ToShard, VoiceStateUpdate, Wait,
};

use self::lives::{Lives, Turn};
use self::ops::{Answer, Op, To, Which};
use self::requests::{Kind, Requests};
use self::setup::Setup;
use self::turns::Turns;
use crate::secret;
use crate::time::{Clock, Step};

/// In which a small bot comes up.
const ROUNDS: usize = 8;
/// For each shard a few things may be to do at once.
const DRAIN: usize = 2_000;
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A bot and what happens to it.
pub type Plot = crate::plot::Plot<Setup, Op>;

pub fn check(plot: Plot) {
    let mut play = Play::new(plot.setup);
    play.spelt = plot.ops.iter().any(|op| secret::is_spelt_in(op.bytes()));
    plot.ops.into_iter().for_each(|op| play.carry_out(op));
    play.calm();
    play.end();
}

struct Play {
    machine: FleetMachine,
    twin: FleetMachine,
    clock: Clock,
    patience: Duration,
    lives: Lives,
    turns: Turns,
    requests: Requests,
    /// Turns that wait at the user's gate.
    gate: Vec<(ShardId, ConnId)>,
    /// How many requests to Discord are out.
    fetches: usize,
    /// Shards that are to be added, by request.
    adding: BTreeMap<CommandId, Vec<ShardId>>,
    /// Shards whose states were given out.
    gone: BTreeSet<ShardId>,
    swapping: bool,
    started: bool,
    /// It knows which shards it has.
    planned: bool,
    stopped: bool,
    /// The input spells the token itself.
    spelt: bool,
}

impl Play {
    fn new(setup: Setup) -> Self {
        let mut clock = Clock::new();
        let now = clock.show();
        let machine = || FleetMachine::new(setup.config.clone(), setup.seed, now);
        Self {
            machine: machine(),
            twin: machine(),
            patience: setup.config.template.limits.close_timeout.min(A_DAY),
            lives: Lives::default(),
            turns: Turns::default(),
            requests: Requests::default(),
            gate: Vec::new(),
            fetches: 0,
            adding: BTreeMap::new(),
            gone: BTreeSet::new(),
            swapping: false,
            started: false,
            planned: false,
            stopped: false,
            spelt: false,
            clock,
        }
    }

    fn carry_out(&mut self, op: Op) {
        match op {
            Op::Pass(step) => self.pass(step),
            Op::Tick => self.tick(),
            Op::Start => self.start(),
            Op::Fetched(answer) => self.fetched(answer),
            Op::Onward { life } => {
                let count = self.lives.0.len();
                if count > 0 {
                    self.onward(usize::from(life) % count);
                }
            }
            Op::Settle => (0..ROUNDS).for_each(|_| self.settle()),
            Op::AllOnward => (0..self.lives.0.len()).for_each(|life| self.onward(life)),
            Op::Report { life, report } => {
                if let Some(life) = self.lives.pick(life) {
                    let shard = life.shard;
                    self.report(shard, report);
                }
            }
            Op::Stray { shard, report } => self.report(shard, report),
            Op::Command { to, queue } => self.command(to, queue),
            Op::Collect { guild } => {
                let id = self.requests.new_id(Kind::Members);
                let request = GuildMembersRequest::everyone(guild_id(guild));
                self.legal(FleetInput::CollectMembers { id, request });
            }
            Op::AskForStates { which } => {
                let filter = self.filter(which);
                let id = self.requests.new_id(Kind::States);
                self.legal(FleetInput::AskForStates { id, filter });
            }
            Op::AddShards { shards, resumable } => {
                let id = self.requests.new_id(Kind::Change);
                let state = if resumable {
                    setup::resumable
                } else {
                    ShardState::fresh
                };
                self.adding.insert(id, shards.clone());
                let states = shards.into_iter().map(state).collect();
                self.legal(FleetInput::AddShards { id, states });
            }
            Op::RemoveShards { which } => {
                let filter = self.filter(which);
                let id = self.requests.new_id(Kind::Removal);
                self.legal(FleetInput::RemoveShards { id, filter });
            }
            Op::ReShard { to } => {
                let id = self.requests.new_id(Kind::Change);
                self.legal(FleetInput::ReShard { id, to });
            }
            Op::GateOpened { back } => self.gate_opens(back),
            Op::GateFailed { back } => {
                if let Some((shard, conn)) = self.at_gate(back) {
                    let life = self.lives.running(shard);
                    if let Some(life) =
                        life.filter(|life| life.turn == Turn::AtGate && life.conn() == conn)
                    {
                        life.turn = Turn::Wanted;
                    }
                    self.legal(FleetInput::GateFailed { shard, conn });
                }
            }
            Op::Stop { last } => self.legal(FleetInput::Stop(if last {
                Stop::Final
            } else {
                Stop::Keep
            })),
        }
    }

    fn pass(&mut self, step: Step) {
        let deadline = match self.machine.poll() {
            FleetAction::Wait(Wait::Until(at)) => Some(at),
            _ => None,
        };
        self.clock.step(step, deadline);
    }

    fn tick(&mut self) {
        self.legal(FleetInput::Tick);
        if let FleetAction::Wait(Wait::Until(at)) = self.machine.poll() {
            assert!(
                at > self.clock.latest(),
                "a tick that leads to the next at once"
            );
        }
    }

    fn start(&mut self) {
        let expected = if self.started && !self.stopped {
            Err(Misuse::AlreadyStarted)
        } else {
            Ok(())
        };
        self.started = true;
        let result = self.input(FleetInput::Start);
        // Time comes first and may end the bot.
        assert!(result == expected || self.stopped);
    }

    fn fetched(&mut self, answer: Answer) {
        if self.fetches == 0 {
            return;
        }
        self.fetches -= 1;
        let result = match answer {
            Answer::Info { shards, limits } => Ok(setup::info(shards, limits)),
            Answer::Body { status, body } => GatewayInfo::from_response(status, None, &body),
            Answer::Unavailable => Err(FetchFault::network("no route")),
        };
        if let Ok(info) = &result {
            self.clock.show();
            self.turns
                .know_again(&info.session_start_limit, self.clock.latest());
        }
        self.legal(FleetInput::Fetched(result));
    }

    fn command(&mut self, to: To, queue: bool) {
        let id = self.requests.new_id(Kind::Command);
        let to = match to {
            To::All => Shards::All,
            To::Only(numbers) => Shards::Only(numbers),
            To::Guild(guild) => Shards::Guild(guild_id(guild)),
        };
        let command = Command::voice_state_update(VoiceStateUpdate {
            guild: guild_id(0),
            channel: Some(ChannelId::new(1)),
            self_mute: false,
            self_deaf: false,
        });
        self.legal(FleetInput::Command {
            id,
            to,
            command: command.expect("a command that Discord takes"),
            if_not_ready: if queue {
                IfNotReady::Queue
            } else {
                IfNotReady::Fail
            },
        });
    }

    fn filter(&mut self, which: Which) -> ShardFilter {
        match which {
            Which::All => ShardFilter::all(),
            Which::None => ShardFilter::none(),
            Which::One(shard) => shard.into(),
            Which::Life(back) => self
                .lives
                .pick(back)
                .map_or_else(ShardFilter::none, |life| life.shard.into()),
        }
    }

    fn at_gate(&mut self, back: u8) -> Option<(ShardId, ConnId)> {
        let at = self.gate.len().checked_sub(1)?;
        Some(self.gate.remove(at - usize::from(back) % (at + 1)))
    }

    fn gate_opens(&mut self, back: u8) {
        if let Some((shard, conn)) = self.at_gate(back) {
            self.legal(FleetInput::GateOpened { shard, conn });
        }
    }

    /// Every shard does what comes next, and time passes until something is due.
    fn settle(&mut self) {
        // Its Identify leaves, it is up, its guilds are loaded: all before the next deadline.
        for life in (0..self.lives.0.len()).cycle().take(3 * self.lives.0.len()) {
            self.onward(life);
        }
        self.pass(Step::ToDeadline(0));
        self.tick();
    }

    /// Every shard does what it should and time passes: whoever wants to identify does so in the end.
    fn calm(&mut self) {
        self.start();
        for _ in 0..3 * self.lives.0.len() + 16 {
            if self.stopped {
                return;
            }
            for life in 0..self.lives.0.len() {
                if self.lives.0[life].turn != Turn::None {
                    self.onward(life);
                }
            }
            self.pass(Step::ToDeadline(0));
            self.tick();
        }
        let waits = self
            .lives
            .0
            .iter()
            .find(|life| life.told.is_none() && !life.ended && life.turn == Turn::Wanted);
        assert!(
            waits.is_none() || self.stopped,
            "its turn never comes: {waits:?}"
        );
    }

    /// However it stands, a stop is the end soon, whether the shards report theirs or not.
    fn end(&mut self) {
        self.legal(FleetInput::Stop(Stop::Keep));
        for _ in 0..3 {
            self.pass(Step::ToDeadline(0));
            self.tick();
        }
        assert!(self.stopped, "a stop ends");
    }

    fn legal(&mut self, input: FleetInput) {
        self.input(input)
            .expect("nothing that a runtime may do is misuse");
    }

    fn input(&mut self, input: FleetInput) -> Result<(), Misuse> {
        let now = self.clock.show();
        let result = self.machine.handle(now, input.clone());
        assert_eq!(result, self.twin.handle(now, input));
        self.turns.look_at_the_clock(self.clock.latest());
        for done in 0.. {
            assert!(
                done <= DRAIN + 8 * self.lives.0.len(),
                "a drain without end"
            );
            let action = self.machine.poll();
            let text = format!("{action:?}");
            assert_eq!(
                text,
                format!("{:?}", self.twin.poll()),
                "the same inputs, the same actions"
            );
            if !self.spelt {
                secret::must_not_show(&text);
            }
            if let FleetAction::Wait(wait) = &action {
                assert_eq!(*wait == Wait::Stopped, self.stopped);
                break;
            }
            self.action(action);
        }
        result
    }

    fn action(&mut self, action: FleetAction) {
        let now = self.clock.latest();
        match action {
            FleetAction::Answer { id, answer } => self.requests.answered(id, &answer),
            FleetAction::Done { id, result } => {
                self.requests.done(id, &[Kind::Change]);
                let added = self.adding.remove(&id);
                if result.is_ok() {
                    match added {
                        Some(added) => self.gone.retain(|shard| !added.contains(shard)),
                        None => self.gone.clear(),
                    }
                }
            }
            FleetAction::Members { id, .. } => drop(self.requests.done(id, &[Kind::Members])),
            FleetAction::States { id, states } => self.states(id, &states),
            other => {
                assert!(!self.stopped, "after the end: {other:?}");
                match other {
                    FleetAction::Fetch(_) => self.fetches += 1,
                    FleetAction::StartShard(start) => {
                        let (shard, resumes) = (start.config.shard, start.state.is_some());
                        self.gone.remove(&shard);
                        self.lives
                            .started(shard, resumes, start.muted, now, self.patience);
                    }
                    FleetAction::Tell { shard, message } => self.tell(shard, &message),
                    FleetAction::AskGate(request) => {
                        let (shard, conn) = (request.shard, request.conn);
                        self.turns
                            .given(shard, conn, Turn::AtGate, &mut self.lives, now);
                        self.gate.push((shard, conn));
                    }
                    FleetAction::LeaveGate { shard, conn } => {
                        self.gate.retain(|at| *at != (shard, conn));
                        self.turns.called_back(shard, conn, &mut self.lives);
                    }
                    FleetAction::PrepareSwap => {
                        assert!(!std::mem::replace(&mut self.swapping, true))
                    }
                    FleetAction::Swap => {
                        assert!(std::mem::take(&mut self.swapping), "prepared");
                        self.lives.swapped(self.clock.latest());
                    }
                    FleetAction::AbandonSwap => {
                        assert!(std::mem::take(&mut self.swapping), "prepared")
                    }
                    FleetAction::Emit(event) => self.event(&event),
                    _ => {}
                }
            }
        }
    }

    fn tell(&mut self, shard: ShardId, message: &ToShard) {
        let now = self.clock.latest();
        if let ToShard::IdentifyGranted { conn } = message {
            self.turns
                .given(shard, *conn, Turn::Granted, &mut self.lives, now);
        }
        self.lives.told(shard, message, now);
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Stopped { states, .. } => {
                // What it was given and never read it leaves as it was.
                if self.planned {
                    self.give_out(states);
                }
                self.lives.stopped();
                self.requests.stopped();
                self.stopped = true;
            }
            Event::Starting { limit, .. } => {
                self.planned = true;
                self.turns.know(limit, self.clock.latest());
            }
            // Whoever is of the new layout is new.
            Event::ReShard { .. } => self.gone.clear(),
            Event::ConnectedAllShards { shards } => {
                let up = self
                    .lives
                    .0
                    .iter()
                    .filter(|life| !life.ended && life.up && !life.muted);
                assert!(up.count() >= *shards as usize, "{shards} are not up");
            }
            _ => {}
        }
    }

    /// Whoever gets a state goes on from there.
    fn give_out(&mut self, states: &[ShardState]) {
        for state in states {
            let new = self.gone.insert(state.shard);
            assert!(new, "given out twice: {state:?}");
        }
    }

    fn states(&mut self, id: CommandId, states: &[ShardState]) {
        let kind = self.requests.done(id, &[Kind::States, Kind::Removal]);
        if kind == Kind::Removal {
            self.give_out(states);
            for state in states {
                let life = self.lives.running(state.shard);
                assert!(
                    life.is_none_or(|life| life.told.is_some()),
                    "removed and left running"
                );
            }
        }
    }
}

fn guild_id(number: u8) -> GuildId {
    GuildId::new(u64::from(number) << 22)
}
