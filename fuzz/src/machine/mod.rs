//! Anything that can happen to a shard, in any order and at any time: [`checker`] says what must hold.
//!
//! An input is a setup followed by operations. Two machines get the same and must answer the same.

mod checker;
mod commands;
mod desk;
mod gateway;
mod lines;
mod ops;
mod setup;

use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use shardwright_core::{
    Action, Compression, ConnId, Event, Frame, GuildId, IfNotReady, Input, Misuse, Phase,
    ShardMachine, Stop, Wait,
};

use self::checker::Checker;
use self::desk::Desk;
use self::gateway::Gateway;
use self::lines::Told;
use self::ops::{Kind, Op, Payload, Seq, Wrap};
use self::setup::{LIMIT, Setup};
use crate::secret;
use crate::time::{Clock, Step};

/// Each is hundreds of inputs.
const BURSTS: usize = 3;
/// A message inflates to payloads of two bytes at least, each an event and perhaps a problem.
const DRAIN: usize = 2 * LIMIT;
/// A zstd window of 8 MiB with what is kept beside it.
const CONTEXT: usize = 10 << 20;

/// A shard and what happens to it.
pub type Plot = crate::plot::Plot<Setup, Op>;

pub fn check(plot: Plot) {
    let mut play = Play::new(plot.setup);
    play.spelt = plot.ops.iter().any(|op| secret::is_spelt_in(op.bytes()));
    plot.ops.into_iter().for_each(|op| play.carry_out(op));
    play.end();
}

struct Play {
    machine: ShardMachine,
    twin: ShardMachine,
    clock: Clock,
    gateway: Gateway,
    checker: Checker,
    desk: Desk,
    compression: Compression,
    waits: bool,
    /// The latest time that the machine was told: the desk may have seen a later one, before the clock went back.
    told: Instant,
    bursts: usize,
    started: bool,
    /// The input spells the token itself.
    spelt: bool,
}

impl Play {
    fn new(setup: Setup) -> Self {
        let mut clock = Clock::new();
        let now = clock.show();
        let machine =
            || ShardMachine::new(setup.config.clone(), setup.state.clone(), setup.seed, now);
        let seq = setup
            .state
            .as_ref()
            .and_then(|state| state.seq)
            .unwrap_or(0);
        Self {
            machine: machine(),
            twin: machine(),
            gateway: Gateway::new(seq),
            checker: Checker::new(&setup, now),
            desk: Desk::new(setup.config.shard, setup.seed),
            compression: setup.config.compression,
            waits: setup.waits,
            told: now,
            bursts: 0,
            started: false,
            spelt: false,
            clock,
        }
    }

    fn carry_out(&mut self, op: Op) {
        let conn = |back| self.checker.lines.pick(back);
        match op {
            Op::Pass(step) => self.pass(step),
            Op::Tick { wall } => self.tick(wall),
            Op::Onward => self.onward(),
            Op::Start => self.start(),
            Op::Opened { back } => self.opened(conn(back)),
            Op::Payload {
                back,
                payload,
                wrap,
            } => self.payload(conn(back), &payload, wrap),
            Op::Bytes { back, text, bytes } => {
                self.gateway.spoilt = true;
                let frame = if text {
                    Frame::Text(String::from_utf8_lossy(&bytes).into_owned().into())
                } else {
                    Frame::Binary(bytes.into())
                };
                self.receive(conn(back), vec![frame]);
            }
            Op::Closed { back, code } => {
                if let Some(conn) = conn(back) {
                    self.checker.lines.input(conn, Told::Ended);
                    self.legal(Input::Closed { conn, code });
                }
            }
            Op::Failed { back, why } => {
                if let Some(conn) = conn(back) {
                    self.checker.lines.input(conn, Told::Ended);
                    self.legal(Input::Failed { conn, why });
                }
            }
            Op::Flushed { back } => {
                if let Some(conn) = conn(back) {
                    self.legal(Input::Flushed { conn });
                }
            }
            Op::Granted { back } => self.granted(conn(back)),
            Op::Command { kind, queue } => self.command(kind, queue),
            Op::Collect {
                guild,
                who,
                time,
                room,
            } => {
                self.clock.show();
                let guild = GuildId::new(u64::from(guild) << 22);
                self.desk.ask(self.clock.latest(), guild, who, time, room);
                self.serve();
            }
            Op::Burst { .. } if self.bursts == BURSTS => {}
            Op::Burst { count, beats } => {
                self.bursts += 1;
                let conn = conn(0);
                for _ in 0..count {
                    if beats {
                        self.payload(conn, &Payload::Beat, Wrap::Usual);
                    } else {
                        self.command(Kind::Raw { op: 99 }, true);
                    }
                }
            }
            Op::Acknowledged { back } => {
                if let Some(id) = self.checker.handed(back) {
                    self.checker.acknowledged(id);
                    self.legal(Input::Acknowledged(id));
                }
            }
            Op::AckAhead { by } => {
                if let Some(id) = self.checker.unborn(by) {
                    // Due timers run first and may end the session.
                    let result = self.input(Input::Acknowledged(id));
                    assert!(matches!(result, Ok(()) | Err(Misuse::AckAhead { .. })));
                }
            }
            Op::CatchUp => {
                let mark = self.checker.new_question();
                self.legal(Input::CatchUp { mark });
            }
            Op::Congested(congested) => self.legal(Input::Congested(congested)),
            Op::Stop { last } => self.stop(if last { Stop::Final } else { Stop::Keep }),
        }
    }

    fn pass(&mut self, step: Step) {
        let deadline = match self.machine.wait() {
            Wait::Until(at) => Some(at),
            _ => None,
        };
        let deadline = deadline.into_iter().chain(self.desk.wake_at()).min();
        self.clock.step(step, deadline);
    }

    fn tick(&mut self, wall: Option<i16>) {
        let wall = wall.map(|off| {
            let off = i64::from(off);
            let by = Duration::from_secs(off.unsigned_abs());
            let wall = if off < 0 {
                self.clock.wall.checked_sub(by)
            } else {
                self.clock.wall.checked_add(by)
            };
            wall.unwrap_or(SystemTime::UNIX_EPOCH)
        });
        self.legal(Input::Tick { wall });
        if let Wait::Until(at) = self.machine.wait() {
            assert!(
                at > self.told || !self.waits,
                "a tick that leads to the next at once"
            );
        }
        self.desk.tick(self.clock.latest());
        self.serve();
    }

    fn start(&mut self) {
        let expected = if self.started && !self.checker.has_stopped() {
            Err(Misuse::AlreadyStarted)
        } else {
            Ok(())
        };
        self.started = true;
        let result = self.input(Input::Start);
        // Due timers run first and may end the shard.
        assert!(result == expected || self.checker.has_stopped());
    }

    /// What a peer that means well, or the passing of time, does next.
    fn onward(&mut self) {
        let conn = self.checker.lines.pick(0);
        let phase = self.machine.phase();
        let mut say = |payload| self.payload(conn, &payload, Wrap::Usual);
        match phase {
            Phase::Idle => self.start(),
            Phase::Connecting => self.opened(conn),
            Phase::AwaitingHello => say(Payload::Hello {
                millis: b"41250".to_vec(),
            }),
            Phase::AwaitingPermit => self.granted(conn),
            Phase::Identifying => {
                if let Some(conn) = conn {
                    self.legal(Input::Flushed { conn });
                }
                let (seq, guilds, url) = (Seq::Next, 2, 0);
                self.payload(conn, &Payload::Ready { seq, guilds, url }, Wrap::Usual);
            }
            Phase::Resuming => say(Payload::Resumed { seq: Seq::Next }),
            Phase::Live => say(Payload::Event {
                name: 0,
                seq: Seq::Next,
            }),
            Phase::Closing => {
                if let Some(conn) = conn {
                    self.checker.lines.input(conn, Told::Ended);
                    self.legal(Input::Closed { conn, code: None });
                }
            }
            Phase::Parked => self.legal(Input::Congested(false)),
            _ => {
                self.pass(Step::ToDeadline(0));
                self.tick(None);
            }
        }
    }

    fn opened(&mut self, conn: Option<ConnId>) {
        let Some(conn) = conn else { return };
        if self.machine.phase() == Phase::Connecting && self.checker.lines.pick(0) == Some(conn) {
            self.gateway.opened(self.compression);
        }
        self.checker.lines.input(conn, Told::Opened);
        self.legal(Input::Opened { conn });
    }

    fn granted(&mut self, conn: Option<ConnId>) {
        if let Some(conn) = conn {
            self.checker.lines.input(conn, Told::Granted);
            self.legal(Input::IdentifyGranted { conn });
        }
    }

    fn command(&mut self, kind: Kind, queue: bool) {
        let (id, command) = self.checker.commands.make(kind);
        self.legal(Input::Command {
            id,
            command,
            if_not_ready: if queue {
                IfNotReady::Queue
            } else {
                IfNotReady::Fail
            },
        });
    }

    fn payload(&mut self, conn: Option<ConnId>, payload: &Payload, wrap: Wrap) {
        let newest = self.checker.lines.pick(0);
        // The stream is the newest connection's: a piece that went to another would be missing.
        let wrap = match conn.is_some() && conn == newest {
            true => wrap,
            false => Wrap::Text,
        };
        let frames = self.gateway.frames(payload, wrap);
        self.receive(conn, frames);
    }

    fn receive(&mut self, conn: Option<ConnId>, frames: Vec<Frame>) {
        self.checker.spoilt = self.gateway.spoilt;
        let Some(conn) = conn else { return };
        for frame in frames {
            self.legal(Input::Received { conn, frame });
        }
    }

    fn stop(&mut self, how: Stop) {
        self.checker.lines.last_stop |= how == Stop::Final;
        self.legal(Input::Stop(how));
        self.checker.lines.only_stop = self.checker.lines.last_stop;
    }

    /// However it stands, a stop is the end soon.
    fn end(&mut self) {
        self.start();
        self.stop(Stop::Keep);
        // What the desk waits for may come in between.
        let mut own = 0;
        while own < 3 && !self.checker.has_stopped() {
            let wait = self.machine.wait();
            self.pass(Step::ToDeadline(0));
            let now = self.clock.show();
            own += u32::from(!matches!(wait, Wait::Until(at) if at > now));
            self.tick(None);
        }
        assert!(
            self.checker.has_stopped(),
            "a stop ends: {:?}",
            self.machine.phase()
        );
        assert_eq!(
            (self.machine.wait(), self.machine.phase()),
            (Wait::Stopped, Phase::Stopped)
        );
        self.desk.end();
    }

    fn legal(&mut self, input: Input) {
        self.input(input)
            .expect("nothing that a driver may do is misuse");
    }

    fn input(&mut self, input: Input) -> Result<(), Misuse> {
        self.clock.show();
        let now = self.clock.latest();
        match &input {
            Input::Command { command, .. } => self.desk.notice(now, command),
            Input::Congested(congested) => self.desk.congested(now, *congested),
            _ => {}
        }
        let result = self.give(input);
        self.serve();
        result
    }

    /// Does what the collector wants.
    fn serve(&mut self) {
        while let Some((id, command)) = self.desk.next(self.clock.latest()) {
            self.checker.commands.add(id, &command, false);
            let given = self.give(Input::Command {
                id,
                command,
                if_not_ready: IfNotReady::Queue,
            });
            given.expect("nothing that a collector wants is misuse");
        }
    }

    fn give(&mut self, input: Input) -> Result<(), Misuse> {
        let size = match &input {
            Input::Received { frame, .. } => frame.len(),
            _ => 0,
        };
        let now = self.clock.show();
        self.told = self.told.max(now);
        // The desk may have been shown a later time.
        self.checker.now = self.told;
        let result = self.machine.handle(now, input.clone());
        // The other is told of messages in the short way.
        let mut first = None;
        let twin = match input {
            Input::Received { conn, frame } => {
                let took = self
                    .twin
                    .receive(now, conn, frame, |event| text(&Action::Emit(event)));
                took.map(|took| first = took)
            }
            other => self.twin.handle(now, other),
        };
        assert_eq!(result, twin);
        self.drain(first);
        assert!(self.machine.buffer_memory() <= 2 * LIMIT + CONTEXT + size);
        self.checker.state(&self.machine.state());
        result
    }

    /// `first`: what came of the input at the other machine at once.
    fn drain(&mut self, mut first: Option<String>) {
        for done in 0.. {
            assert!(done <= DRAIN, "a drain without end");
            let action = self.machine.poll();
            let text = text(&action);
            if !self.spelt {
                secret::must_not_show(&text);
            }
            let same = "the same inputs, the same actions";
            if let Some(twin) = first.take() {
                assert_eq!(text, twin, "{same}");
            } else {
                let twin = match self.twin.settle() {
                    true => Action::Wait(self.twin.wait()),
                    false => self.twin.poll(),
                };
                assert_eq!(text, self::text(&twin), "{same}");
                assert_eq!(sent(&action), sent(&twin));
            }
            self.checker.action(&action);
            self.desk.see(self.clock.latest(), &action);
            if let Action::Send { text, .. } = &action
                && text.op() == 8
            {
                let json: Value = serde_json::from_str(text.as_str()).expect("JSON is sent");
                self.gateway.nonces.push(json["d"]["nonce"].to_string());
            }
            if let Action::Wait(wait) = action {
                assert_eq!(wait, self.machine.wait());
                return;
            }
        }
    }
}

/// All of an action that people may see.
fn text(action: &Action<'_>) -> String {
    let more = match action {
        Action::Emit(Event::Dispatch(dispatch)) => {
            String::from_utf8_lossy(dispatch.data()).into_owned()
        }
        Action::Emit(Event::Problem { problem, .. }) => problem.to_string(),
        Action::Emit(Event::Disconnected { reason, .. }) => reason.to_string(),
        Action::Emit(Event::SessionLost { why, .. }) => why.to_string(),
        Action::Emit(Event::ShardStopped { why, .. }) => why.to_string(),
        _ => String::new(),
    };
    format!("{action:?} {more}")
}

/// What leaves, token and all.
fn sent<'a>(action: &'a Action<'_>) -> Option<&'a str> {
    match action {
        Action::Send { text, .. } => Some(text.as_str()),
        _ => None,
    }
}
