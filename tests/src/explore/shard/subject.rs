//! A shard with its clock, its connections and what its gateway would say next.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant, SystemTime};

use shardwright_core::{
    Action, Command, CommandId, Compression, ConnId, Event, EventId, Frame, GuildId, IfNotReady,
    Input, Intents, Phase, ShardConfig, ShardId, ShardMachine, ShardState, Token, TransportFault,
    VoiceStateUpdate, Wait,
};

use super::checker::{Checker, Step};
use super::did::{Did, TOKEN};
use super::heard::{Heard, Payload};
use super::{Letter, server};
use crate::explore::{Subject, key_of};

/// A drain that is longer than this never ends.
const ENDLESS: usize = 1000;
const LATE: Duration = Duration::from_secs(2 * 3600);
const SLEPT: Duration = Duration::from_secs(3 * 3600);

/// A shard under test: the machine, its world and its [`Checker`].
#[derive(Debug)]
pub struct Shard {
    machine: ShardMachine,
    pub(super) world: World,
    pub(super) checker: Checker,
    /// What came of the last input.
    pub(super) did: Vec<Did>,
    pub(super) heard: Option<Heard>,
}

/// What the machine's inputs are made of.
#[derive(Clone, Debug, Hash)]
pub(super) struct World {
    origin: Instant,
    pub(super) now: Instant,
    /// How far the wall clock has run ahead.
    ahead: Duration,
    conns: Vec<ConnId>,
    /// READYs so far: each names its session by this number.
    readies: u32,
    commands: u64,
    questions: u64,
    last_event: Option<EventId>,
}

impl Shard {
    /// A shard without a session that nobody has started.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let origin = Instant::now();
        let token = Token::new(TOKEN).expect("it has no space in it");
        let shard = ShardId::new(0, 1).expect("0 is below 1");
        let url = "wss://main.example".parse().expect("it is an address");
        let mut config = ShardConfig::new(shard, token, Intents::GUILDS, url);
        config.compression = Compression::None;
        Self {
            machine: ShardMachine::new(config, None, seed, origin),
            world: World {
                origin,
                now: origin,
                ahead: Duration::ZERO,
                conns: Vec::new(),
                readies: 0,
                commands: 0,
                questions: 0,
                last_event: None,
            },
            checker: Checker::default(),
            did: Vec::new(),
            heard: None,
        }
    }

    /// Where the machine says it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.machine.phase()
    }

    /// What the machine would store.
    #[must_use]
    pub fn state(&self) -> ShardState {
        self.machine.state()
    }

    pub(super) fn wait(&self) -> Wait {
        self.machine.wait()
    }

    fn input(&mut self, letter: Letter) -> Option<(Input, Heard)> {
        let conn = if letter.is_of_the_network() {
            *self.world.conns.last()?
        } else {
            return Some(self.input_of_the_host(letter));
        };
        self.input_of_the_network(letter, conn)
    }

    fn input_of_the_host(&mut self, letter: Letter) -> (Input, Heard) {
        match letter {
            Letter::Queue | Letter::Fail => self.command(letter == Letter::Queue),
            Letter::CatchUp => {
                self.world.questions += 1;
                let mark = self.world.questions;
                (Input::CatchUp { mark }, Heard::CatchUp(mark))
            }
            Letter::Acknowledged => match self.world.last_event {
                Some(id) => (
                    Input::Acknowledged(id),
                    Heard::Acknowledged {
                        session: id.session,
                        seq: id.seq,
                    },
                ),
                None => self.tick(),
            },
            Letter::Congested(congested) => {
                (Input::Congested(congested), Heard::Congested(congested))
            }
            Letter::Stop(how) => (Input::Stop(how), Heard::Stop(how)),
            Letter::Start => (Input::Start, Heard::Start),
            _ => self.tick(),
        }
    }

    fn tick(&self) -> (Input, Heard) {
        let world = &self.world;
        let since = Duration::from_secs(1_700_000_000) + (world.now - world.origin) + world.ahead;
        let wall = Some(SystemTime::UNIX_EPOCH + since);
        (Input::Tick { wall }, Heard::Tick)
    }

    fn command(&mut self, queue: bool) -> (Input, Heard) {
        self.world.commands += 1;
        let id = self.world.commands;
        let command = if queue {
            Command::voice_state_update(VoiceStateUpdate {
                guild: GuildId::new(1),
                channel: None,
                self_mute: false,
                self_deaf: false,
            })
        } else {
            Command::raw(r#"{"op":43,"d":{}}"#)
        };
        let input = Input::Command {
            id: CommandId(id),
            command: command.expect("it is small"),
            if_not_ready: if queue {
                IfNotReady::Queue
            } else {
                IfNotReady::Fail
            },
        };
        (input, Heard::Command(id))
    }

    fn input_of_the_network(&mut self, letter: Letter, conn: ConnId) -> Option<(Input, Heard)> {
        let number = conn.get();
        Some(match letter {
            Letter::Opened => (Input::Opened { conn }, Heard::Opened(number)),
            Letter::Closed(code) => (Input::Closed { conn, code }, Heard::Closed(number, code)),
            Letter::Failed => {
                let why = TransportFault::Reset;
                (Input::Failed { conn, why }, Heard::Failed(number))
            }
            Letter::Flushed => (Input::Flushed { conn }, Heard::Flushed(number)),
            Letter::IdentifyGranted => (Input::IdentifyGranted { conn }, Heard::Granted(number)),
            _ => {
                let payload = self.payload(letter)?;
                let frame = Frame::Text(payload.text().into());
                (
                    Input::Received { conn, frame },
                    Heard::Received(number, payload),
                )
            }
        })
    }

    fn payload(&mut self, letter: Letter) -> Option<Payload> {
        let received = self
            .checker
            .session
            .as_ref()
            .map_or(0, |session| session.received);
        let dispatch = |resumed, seq| Payload::Dispatch { resumed, seq };
        Some(match letter {
            Letter::Hello => Payload::Hello,
            Letter::AbsurdHello => Payload::AbsurdHello,
            Letter::BeatRequest => Payload::BeatRequest,
            Letter::Reconnect => Payload::Reconnect,
            Letter::InvalidSession(resumable) => Payload::InvalidSession(resumable),
            Letter::BeatAck => Payload::BeatAck,
            Letter::Ready => {
                self.world.readies += 1;
                let session_id = format!("session {}", self.world.readies);
                Payload::Ready { session_id, seq: 1 }
            }
            Letter::ReadyAgain => Payload::Ready {
                session_id: self.checker.session.as_ref()?.id.clone(),
                seq: 1,
            },
            Letter::Resumed => dispatch(true, Some(received + 1)),
            Letter::ResumedAgain => dispatch(true, Some(received)),
            Letter::Next => dispatch(false, Some(received + 1)),
            Letter::Duplicate => dispatch(false, Some(received)),
            Letter::Gap => dispatch(false, Some(received + 2)),
            Letter::Unnumbered => dispatch(false, None),
            Letter::Garbage => Payload::Garbage,
            Letter::Empty => Payload::Empty,
            _ => return None,
        })
    }

    fn move_clock(&mut self, letter: Letter) {
        let Wait::Until(deadline) = self.machine.wait() else {
            return;
        };
        match letter {
            Letter::TickDue => self.world.now = deadline,
            Letter::TickEarly => self.pass_half(),
            Letter::TickLate => {
                self.world.now = deadline + LATE;
                self.world.ahead += SLEPT;
            }
            _ => {}
        }
    }

    /// Time passes, and nobody says so.
    pub(super) fn pass_half(&mut self) {
        if let Wait::Until(deadline) = self.machine.wait() {
            self.world.now += deadline.saturating_duration_since(self.world.now) / 2;
        }
    }

    fn give(&mut self, input: Input, heard: &Heard) -> Result<(), String> {
        let misuse = |misuse| format!("{heard:?} was called misuse: {misuse}");
        self.machine.handle(self.world.now, input).map_err(misuse)?;
        self.did.clear();
        self.heard = Some(heard.clone());
        let wait = loop {
            let action = self.machine.poll();
            match &action {
                Action::Wait(wait) => break *wait,
                Action::Connect { conn, .. } => self.world.conns.push(*conn),
                Action::Emit(Event::Dispatch(dispatch)) => {
                    self.world.last_event = Some(dispatch.id());
                }
                _ => {}
            }
            self.did.extend(Did::of(action));
            if self.did.len() > ENDLESS {
                return Err("the drain does not end".to_owned());
            }
        };
        let state = self.machine.state();
        let step = Step {
            now: self.world.now,
            heard,
            did: &self.did,
            wait,
            phase: self.machine.phase(),
            state: &state,
        };
        self.checker
            .step(&step)
            .map_err(|what| format!("{what}: {heard:?} gave {:?}, {wait:?}", self.did))
    }

    /// Everything the network can say, said of the connection before the last.
    ///
    /// # Errors
    /// If anything came of it.
    pub(super) fn say_old_things(&mut self) -> Result<(), String> {
        let conns = self.world.conns.len();
        let Some(old) = conns
            .checked_sub(2)
            .and_then(|at| self.world.conns.get(at).copied())
        else {
            return Ok(());
        };
        let readies = self.world.readies;
        let letters = Letter::ALL.into_iter();
        for letter in letters.filter(|letter| letter.is_of_the_network()) {
            let Some((input, heard)) = self.input_of_the_network(letter, old) else {
                continue;
            };
            self.give(input, &heard)?;
            if !self.did.is_empty() {
                return Err(format!(
                    "{letter:?} of an old connection gave {:?}",
                    self.did
                ));
            }
        }
        self.world.readies = readies;
        Ok(())
    }
}

impl Hash for Shard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.world.hash(state);
        self.checker.hash(state);
    }
}

impl Subject for Shard {
    type Input = Letter;

    fn fork(&self) -> Self {
        Self {
            machine: self
                .machine
                .try_clone()
                .expect("its connections are not compressed"),
            world: self.world.clone(),
            checker: self.checker.clone(),
            did: Vec::new(),
            heard: None,
        }
    }

    fn inputs(&self) -> Vec<Letter> {
        let timed = matches!(self.machine.wait(), Wait::Until(_));
        let possible = |letter: &Letter| match letter {
            Letter::Start => !self.checker.started,
            Letter::Acknowledged => self.world.last_event.is_some(),
            Letter::TickDue | Letter::TickEarly | Letter::TickLate => timed,
            Letter::ReadyAgain => self.checker.session.is_some(),
            letter => !letter.is_of_the_network() || !self.world.conns.is_empty(),
        };
        let all = Letter::ALL.into_iter().chain(Letter::MORE_TICKS);
        all.filter(possible).collect()
    }

    fn apply(&mut self, letter: Letter) -> Result<(), String> {
        self.move_clock(letter);
        match self.input(letter) {
            Some((input, heard)) => self.give(input, &heard),
            None => Ok(()),
        }
    }

    fn key(&self) -> u128 {
        let mut text = String::with_capacity(4096);
        // Its `Debug` shows every field; of the decoder, that it holds nothing between two inputs.
        let _ = write!(text, "{:?}", self.machine);
        key_of(&text, self)
    }

    fn probe(&self) -> Result<(), String> {
        server::probe(self)
    }
}
