//! A fleet with its clock and what its shards would say next.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use shardwright_core::{
    Action, Answer, CloseCode, Command, CommandId, Compression, ConnId, FetchFault, FleetAction,
    FleetConfig, FleetInput, FleetMachine, GatewayInfo, IfNotReady, Input, Intents, ReShardPolicy,
    SessionStartLimit, ShardConfig, ShardFilter, ShardId, ShardMachine, ShardReport, ShardState,
    Shards, Stop, StopReason, Token, TransportFault, Wait,
};

use super::checker::{Checker, Told};
use super::{Letter, Says};
use crate::explore::{Subject, key_of};

const ENDLESS: usize = 1000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LATE: Duration = Duration::from_secs(60 * 60);
/// A fleet gives up on shards that do not report their end.
const STOPPING: Duration = Duration::from_secs(30);
const MOST_LETTERS: usize = 200;

/// A fleet under test: the machine, its world and its [`Checker`].
#[derive(Debug)]
pub struct Fleet {
    machine: FleetMachine,
    wait: Wait,
    pub(super) now: Instant,
    /// The first two connections of any shard.
    pub(super) conns: [ConnId; 2],
    gated: bool,
    /// A new layout starts before the old one ends.
    swapping: bool,
    /// How many session starts each fetch says are left.
    starts: u32,
    began: bool,
    fetching: bool,
    asked: u64,
    last_command: Option<CommandId>,
    pub(super) checker: Checker,
}

impl Fleet {
    /// A fleet that nobody has started, of so many session starts, with a gate of the user's or without.
    #[must_use]
    pub fn new(starts: u32, gated: bool) -> Self {
        let now = Instant::now();
        Self {
            machine: FleetMachine::new(config(gated), 7, now),
            wait: Wait::For(shardwright_core::WaitFor::Start),
            now,
            conns: two_connections(now),
            gated,
            swapping: false,
            starts,
            began: false,
            fetching: false,
            asked: 0,
            last_command: None,
            checker: Checker::default(),
        }
    }

    /// The same, but a new layout starts before the old one ends.
    #[must_use]
    pub fn swapping(self) -> Self {
        let mut config = config(self.gated);
        config.re_shard = ReShardPolicy::StartThenSwap;
        Self {
            machine: FleetMachine::new(config, 7, self.now),
            swapping: true,
            ..self
        }
    }

    /// How many shards say something.
    fn speakers(&self) -> usize {
        if self.swapping { 5 } else { 2 }
    }

    /// Whether the fleet has ended.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.checker.stopped
    }

    /// The action that starts the first shard.
    #[cfg(test)]
    pub(super) fn first_start() -> FleetAction {
        let mut fleet = Self::new(1000, false);
        let fetched = FleetInput::Fetched(Ok(fleet.info()));
        for input in [FleetInput::Start, fetched] {
            fleet
                .machine
                .handle(fleet.now, input)
                .expect("it is no misuse");
            loop {
                match fleet.machine.poll() {
                    FleetAction::Wait(_) => break,
                    start @ FleetAction::StartShard(_) => return start,
                    _ => {}
                }
            }
        }
        unreachable!("a fleet starts its shards once the address is known")
    }

    fn running(&self, number: usize) -> Option<ShardId> {
        let mut shards: Vec<_> = self.checker.shards.iter().collect();
        shards.sort_by_key(|(_, running)| running.order);
        shards.get(number).map(|(shard, _)| **shard)
    }

    fn may_say(&self, shard: ShardId, says: Says) -> bool {
        let known = self.checker.shards.get(&shard);
        match says {
            Says::Sent => known.is_some_and(|known| matches!(known.turn, Some((_, true)))),
            Says::CommandSent => self.last_command.is_some(),
            Says::CaughtUp => known.is_some_and(|known| known.asked.is_some()),
            _ => true,
        }
    }

    fn question(&mut self) -> CommandId {
        self.asked += 1;
        CommandId(self.asked)
    }

    fn input(&mut self, letter: Letter) -> Option<(FleetInput, Told)> {
        let asking = |id, input| (input, Told::Asked(id));
        Some(match letter {
            Letter::Start => (FleetInput::Start, Told::Other),
            Letter::Fetched => (
                FleetInput::Fetched(Ok(self.info())),
                Told::Fetched(self.starts),
            ),
            Letter::FetchLimited => (FleetInput::Fetched(Err(refusal(429))), Told::Other),
            Letter::FetchRefused => (FleetInput::Fetched(Err(refusal(401))), Told::Other),
            Letter::Of(number, says) => {
                let shard = self.running(number)?;
                self.report(shard, says)
            }
            Letter::OfAnother(says) => self.report(shard(7, 9), says),
            Letter::GateOpened => {
                let (shard, conn) = self.checker.at_gate.first().copied()?;
                (
                    FleetInput::GateOpened { shard, conn },
                    Told::GateOpened(shard, conn),
                )
            }
            Letter::GateFailed => {
                let (shard, conn) = self.checker.at_gate.first().copied()?;
                (
                    FleetInput::GateFailed { shard, conn },
                    Told::GateFailed(shard, conn),
                )
            }
            Letter::Command => {
                let id = self.question();
                self.last_command = Some(id);
                let to = Shards::All;
                let command = Command::raw(r#"{"op":43,"d":{}}"#).expect("it is small");
                let if_not_ready = IfNotReady::Queue;
                let input = FleetInput::Command {
                    id,
                    to,
                    command,
                    if_not_ready,
                };
                (input, Told::Commands(id))
            }
            Letter::AskForStates => {
                let (id, filter) = (self.question(), ShardFilter::all());
                asking(id, FleetInput::AskForStates { id, filter })
            }
            Letter::AddShard => {
                let (id, shard) = (self.question(), shard(0, 5));
                let states = vec![ShardState::fresh(shard)];
                (
                    FleetInput::AddShards { id, states },
                    Told::Adds(id, shard, false),
                )
            }
            Letter::BringBack => {
                let (id, shard) = (self.question(), shard(0, 2));
                let states = vec![with_session(shard)];
                (
                    FleetInput::AddShards { id, states },
                    Told::Adds(id, shard, true),
                )
            }
            Letter::RemoveShard => {
                let filter = ShardFilter::none().or_shard(self.running(0)?);
                let id = self.question();
                (FleetInput::RemoveShards { id, filter }, Told::Removes(id))
            }
            Letter::RemoveAll => {
                let (id, filter) = (self.question(), ShardFilter::all());
                (FleetInput::RemoveShards { id, filter }, Told::Removes(id))
            }
            Letter::ReShard => {
                let id = self.question();
                asking(id, FleetInput::ReShard { id, to: Some(3) })
            }
            Letter::Stop(how) => (FleetInput::Stop(how), Told::Other),
            Letter::TickDue | Letter::TickLate => (FleetInput::Tick, Told::Other),
        })
    }

    fn info(&self) -> GatewayInfo {
        let url = "wss://main.example".parse().expect("it is an address");
        GatewayInfo::new(url, 2, SessionStartLimit::new(1000, self.starts, DAY, 1))
    }

    fn report(&self, shard: ShardId, says: Says) -> (FleetInput, Told) {
        let state = ShardState::fresh(shard);
        let stopped = |why| ShardReport::Stopped {
            why,
            state: state.clone(),
        };
        let held = self.checker.shards.get(&shard);
        let conn = held.and_then(|held| held.turn.map(|turn| turn.0).or(held.wants));
        let conn = conn.unwrap_or(self.conns[0]);
        let (report, told) = match says {
            Says::Want(which) => {
                let conn = self.conns[which];
                (ShardReport::WantIdentify { conn }, Told::Wants(shard, conn))
            }
            Says::Withdraw => (
                ShardReport::WithdrawIdentify { conn },
                Told::Withdraws(shard),
            ),
            Says::Sent => (ShardReport::IdentifySent { conn }, Told::Sent(shard)),
            Says::Up => (ShardReport::Up, Told::Up(shard)),
            Says::Down => (ShardReport::Down, Told::Down(shard)),
            Says::Stopped => (stopped(StopReason::Requested), Told::Ended(shard)),
            Says::Fatal(code) => {
                let code = CloseCode::new(code);
                (stopped(StopReason::Fatal { code }), Told::Ended(shard))
            }
            Says::NeedsMoreShards => (stopped(StopReason::ReShardRequired), Told::Ended(shard)),
            Says::Vanished => (ShardReport::Vanished { state }, Told::Vanished(shard)),
            Says::State => (ShardReport::State { state }, Told::State(shard)),
            Says::CommandSent => {
                let id = self.last_command.unwrap_or(CommandId(0));
                (
                    ShardReport::Answer {
                        id,
                        answer: Answer::Sent,
                    },
                    Told::Other,
                )
            }
            Says::Loaded => (ShardReport::Loaded, Told::Loaded(shard)),
            Says::CaughtUp => {
                let asked = held.and_then(|held| held.asked);
                let mark = asked.map_or(0, |(mark, _)| mark);
                (ShardReport::CaughtUp { mark }, Told::CaughtUp(shard))
            }
        };
        (FleetInput::Report { shard, report }, told)
    }

    fn give(&mut self, input: FleetInput, told: Told) -> Result<(), String> {
        let misuse = |misuse| format!("{told:?} was called misuse: {misuse}");
        self.machine.handle(self.now, input).map_err(misuse)?;
        self.checker.hear(self.now, told);
        let mut done = Vec::new();
        loop {
            let action = self.machine.poll();
            match &action {
                FleetAction::Wait(wait) => {
                    self.wait = *wait;
                    break;
                }
                FleetAction::Fetch(_) => self.fetching = true,
                _ => {}
            }
            let verdict = self.checker.act(self.now, told, &action);
            done.push(action);
            verdict.map_err(|what| format!("{what}: {told:?} gave {done:?}"))?;
            if done.len() > ENDLESS {
                return Err("the drain does not end".to_owned());
            }
        }
        self.checker
            .settle(self.now, self.wait)
            .map_err(|what| format!("{what}: {told:?} gave {done:?}, {:?}", self.wait))
    }

    /// Nobody reports any more; it ends all the same.
    fn stops(&self) -> Result<(), String> {
        let mut fleet = self.fork();
        fleet.apply(Letter::Stop(Stop::Keep))?;
        while !fleet.has_stopped() {
            if fleet.now > self.now + STOPPING || !matches!(fleet.wait, Wait::Until(_)) {
                return Err("the fleet does not stop".to_owned());
            }
            fleet.apply(Letter::TickDue)?;
        }
        Ok(())
    }

    /// Shards, gate and REST do as they should from here on: in the end all are up, or the fleet has ended.
    fn comes_up(&self) -> Result<(), String> {
        let mut fleet = self.fork();
        for _ in 0..MOST_LETTERS {
            let Some(letter) = fleet.next(false) else {
                return fleet.settled();
            };
            fleet
                .apply(letter)
                .map_err(|what| format!("while all behave, {what}"))?;
        }
        Err(format!(
            "all behave and the shards do not come up: {:?}",
            fleet.checker
        ))
    }

    fn settled(&self) -> Result<(), String> {
        if self.checker.is_prepared() && !self.has_stopped() {
            return Err("all behave and the layouts do not change".to_owned());
        }
        if self.checker.all_have_ended() && !self.has_stopped() {
            return Err("no shard is left and the bot does not end".to_owned());
        }
        if self.checker.is_asked() {
            return Err("all behave and somebody has no answer".to_owned());
        }
        Ok(())
    }

    /// All behave until something is so; what they said. `stuck`: but those who are told to stop say nothing.
    pub(super) fn behave_until(
        &mut self,
        stuck: bool,
        until: &dyn Fn(&Self) -> bool,
    ) -> Vec<Letter> {
        let mut said = Vec::new();
        while !until(self) {
            let letter = self.next(stuck).expect("it comes to that");
            self.apply(letter).expect("all behave");
            said.push(letter);
        }
        said
    }

    fn next(&self, stuck: bool) -> Option<Letter> {
        if self.has_stopped() {
            return None;
        }
        if !self.began {
            return Some(Letter::Start);
        }
        if self.fetching {
            return Some(Letter::Fetched);
        }
        if !self.checker.at_gate.is_empty() {
            return Some(Letter::GateOpened);
        }
        for number in 0..self.checker.shards.len() {
            let shard = self.running(number)?;
            let known = self.checker.shards.get(&shard)?;
            let says = match (known.turn, known.wants) {
                _ if known.is_told_to_stop() && stuck => continue,
                _ if known.is_told_to_stop() => Says::Stopped,
                _ if known.asked_for_state => Says::State,
                (Some((_, true)), _) => Says::Sent,
                (None, None) if !known.up && self.identified(shard) => Says::Up,
                (None, None) if !known.up => Says::Want(1),
                _ if known.asked.is_some() => Says::CaughtUp,
                _ if known.up && known.muted && !known.loaded => Says::Loaded,
                _ => continue,
            };
            return Some(Letter::Of(number, says));
        }
        matches!(self.wait, Wait::Until(_)).then_some(Letter::TickDue)
    }

    /// Whether its Identify has left and nothing came back yet.
    fn identified(&self, shard: ShardId) -> bool {
        self.checker
            .shards
            .get(&shard)
            .is_some_and(|known| known.identified)
    }
}

fn config(gated: bool) -> FleetConfig {
    let mut config = FleetConfig::new(token(), Intents::GUILDS);
    config.gated = gated;
    config.template.compression = Compression::None;
    config
}

fn with_session(shard: ShardId) -> ShardState {
    let mut state = ShardState::fresh(shard);
    state.session_id = Some("session".to_owned());
    state.resume_gateway_url = Some("wss://resume.example".to_owned());
    state.seq = Some(1);
    state
}

fn token() -> Token {
    Token::new("token").expect("it has no space in it")
}

fn shard(number: u32, total: u32) -> ShardId {
    ShardId::new(number, total).expect("the number is below the total")
}

fn refusal(status: u16) -> FetchFault {
    match GatewayInfo::from_response(status, Some("2"), b"{}") {
        Err(fault) => fault,
        Ok(_) => FetchFault::network("nothing came"),
    }
}

/// Numbers of connections are given by shards alone.
fn two_connections(now: Instant) -> [ConnId; 2] {
    let url = "wss://main.example".parse().expect("it is an address");
    let config = ShardConfig::new(shard(0, 1), token(), Intents::GUILDS, url);
    let mut machine = ShardMachine::new(config, None, 7, now);
    let mut dial = |now, input| {
        machine.handle(now, input).expect("it is no misuse");
        let mut conn = None;
        loop {
            match machine.poll() {
                Action::Connect { conn: dialled, .. } => conn = Some(dialled),
                Action::Wait(_) => return conn,
                _ => {}
            }
        }
    };
    let first = dial(now, Input::Start).expect("a start dials");
    let why = TransportFault::Refused;
    dial(now, Input::Failed { conn: first, why });
    let second = dial(now + LATE, Input::Tick { wall: None }).expect("it dials again");
    [first, second]
}

impl Subject for Fleet {
    type Input = Letter;

    fn fork(&self) -> Self {
        Self {
            machine: self.machine.try_clone().expect("its drain has ended"),
            checker: self.checker.clone(),
            ..*self
        }
    }

    fn inputs(&self) -> Vec<Letter> {
        let mut all = vec![
            Letter::Command,
            Letter::AskForStates,
            Letter::AddShard,
            Letter::BringBack,
            Letter::RemoveAll,
            Letter::ReShard,
            Letter::Stop(Stop::Keep),
            Letter::Stop(Stop::Final),
            Letter::OfAnother(Says::Want(0)),
            Letter::OfAnother(Says::Up),
            Letter::OfAnother(Says::Stopped),
        ];
        all.extend((!self.began).then_some(Letter::Start));
        if self.fetching {
            all.extend([Letter::Fetched, Letter::FetchLimited, Letter::FetchRefused]);
        }
        if !self.checker.at_gate.is_empty() {
            all.extend([Letter::GateOpened, Letter::GateFailed]);
        }
        if matches!(self.wait, Wait::Until(_)) {
            all.extend([Letter::TickDue, Letter::TickLate]);
        }
        for number in 0..self.speakers() {
            if let Some(shard) = self.running(number) {
                let says = Says::ALL.into_iter();
                let possible = says.filter(|says| self.may_say(shard, *says));
                all.extend(possible.map(|says| Letter::Of(number, says)));
            }
        }
        all.extend(self.running(0).map(|_| Letter::RemoveShard));
        all
    }

    fn apply(&mut self, letter: Letter) -> Result<(), String> {
        if let Wait::Until(deadline) = self.wait {
            match letter {
                Letter::TickDue => self.now = deadline,
                Letter::TickLate => self.now = deadline + LATE,
                _ => {}
            }
        }
        match letter {
            Letter::Start => self.began = true,
            Letter::Fetched | Letter::FetchLimited | Letter::FetchRefused => self.fetching = false,
            _ => {}
        }
        match self.input(letter) {
            Some((input, told)) => self.give(input, told),
            None => Ok(()),
        }
    }

    fn key(&self) -> u128 {
        let mut text = String::with_capacity(4096);
        let _ = write!(text, "{:?}", self.machine);
        let world = (
            self.now,
            self.began,
            self.fetching,
            self.asked,
            self.last_command,
            (self.gated, self.swapping),
        );
        key_of(&text, &(world, self.starts, &self.checker))
    }

    fn probe(&self) -> Result<(), String> {
        if self.has_stopped() {
            return Ok(());
        }
        self.stops()?;
        self.comes_up()
    }
}
