//! Holds what a shard does against the rules. It sees what goes in and comes out, and nothing of the machine.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use shardwright_core::{Answer, Phase, ShardState, Wait, WaitFor};

use super::did::Did;
use super::heard::{Heard, Payload};

/// Where new sessions begin.
pub(super) const MAIN: &str = "wss://main.example/?v=10&encoding=json";
/// Where every READY says that its session is to be resumed.
pub(super) const RESUME: &str = "wss://resume.example/?v=10&encoding=json";

/// The current connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Line {
    /// There is none.
    Gone,
    Dialling,
    Open,
    /// The shard has sent its close frame.
    Closing,
}

/// The identify turn of the current connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    NotWanted,
    Wanted,
    Given,
    /// The Identify is sent; the fleet does not know yet.
    Used,
    /// Reported as used, or given back.
    Settled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) ordinal: u32,
    pub(super) id: String,
    pub(super) received: u64,
    pub(super) acknowledged: u64,
}

/// Whether all has arrived that was sent when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    mark: u64,
    /// The gateway answers beats in order: so many answers, and the one to the first beat since has come. `None`
    /// until there is such a beat.
    answers: Option<u32>,
}

/// What it remembers of all that happened. It is part of a state's name, so it forgets what no longer
/// matters.
#[derive(Clone, Debug, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude each other"
)]
pub struct Checker {
    pub(super) started: bool,
    pub(super) congested: bool,
    /// Whether a stop was asked for, and whether a final one.
    pub(super) stop: Option<bool>,
    pub(super) stopped: bool,
    /// The number of the last connection.
    pub(super) conn: u32,
    pub(super) line: Line,
    pub(super) opened: bool,
    pub(super) hello: bool,
    pub(super) turn: Turn,
    pub(super) resume_sent: bool,
    pub(super) live: bool,
    pub(super) session: Option<Session>,
    pub(super) sessions: u32,
    /// Beats without an acknowledgement on this connection.
    pub(super) beats: u32,
    /// The last question whether all has arrived, until it is answered or its connection is gone.
    pub(super) question: Option<Question>,
    /// Commands on this connection that have not left yet.
    pub(super) unflushed: u32,
    /// Commands without their last answer, and whether they were accepted.
    pub(super) commands: BTreeMap<u64, bool>,
    /// A `Connecting` whose `Disconnected` is still to come.
    pub(super) announced: Option<u32>,
    pub(super) dialled_at: Option<Instant>,
    pub(super) not_before: Option<Instant>,
    /// The last moment at which a connection was live.
    pub(super) alive_at: Option<Instant>,
    /// Op 9 with `true` in a row.
    pub(super) resumable_invalids: u32,
    /// Connections in a row that opened and brought the session nothing.
    pub(super) fruitless: u32,
    /// The sequence after which something could not be read.
    pub(super) poisoned_after: Option<u64>,
}

/// One input, and all that came of it.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Step<'s> {
    /// When.
    pub now: Instant,
    /// The input.
    pub heard: &'s Heard,
    /// What the shard did.
    pub did: &'s [Did],
    /// What it waits for now.
    pub wait: Wait,
    /// What it says of itself.
    pub phase: Phase,
    /// What it would store.
    pub state: &'s ShardState,
}

/// What a step must bring, from what was known before it.
#[derive(Default)]
pub(super) struct Due {
    /// Gaps and dispatches, in this order.
    events: VecDeque<Did>,
    /// The session that begins.
    ready: Option<(String, u64)>,
    resumed: bool,
    close: bool,
    beat: bool,
    /// The question that is answered with this mark.
    caught_up: Option<u64>,
    identify: bool,
    greeting: bool,
    reported: bool,
    sent: u32,
    answer: Option<u64>,
    session_ends: bool,
    session_stays: bool,
    /// The code of a close that may end the shard.
    code: Option<u16>,
    stop: bool,
    nothing: bool,
    /// What may end the session in this step, by the beginning of its `Debug` text.
    losses: Vec<&'static str>,
    next: Option<shardwright_core::Next>,
}

type Verdict = Result<(), String>;

fn rule(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

impl Default for Checker {
    fn default() -> Self {
        Self {
            started: false,
            congested: false,
            stop: None,
            stopped: false,
            conn: 0,
            line: Line::Gone,
            opened: false,
            hello: false,
            turn: Turn::NotWanted,
            resume_sent: false,
            live: false,
            session: None,
            sessions: 0,
            beats: 0,
            question: None,
            unflushed: 0,
            commands: BTreeMap::new(),
            announced: None,
            dialled_at: None,
            not_before: None,
            alive_at: None,
            resumable_invalids: 0,
            fruitless: 0,
            poisoned_after: None,
        }
    }
}

impl Checker {
    /// Checks one step and remembers it.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn step(&mut self, step: &Step<'_>) -> Verdict {
        if self.live {
            self.alive_at = Some(step.now);
        }
        let was_stopped = self.stopped;
        let mut due = self.expect(step);
        for did in step.did {
            if was_stopped {
                let refusal = matches!(
                    did,
                    Did::Answer {
                        answer: Answer::Refused(_),
                        ..
                    }
                );
                rule(refusal, "after the stop there is nothing but refusals")?;
            }
            self.act(step, did, &mut due)?;
        }
        self.settle(step, &due)?;
        self.check_waiting(step)?;
        self.check_view(step)
    }

    fn is_open(&self, conn: u32) -> bool {
        conn == self.conn && self.line == Line::Open
    }

    /// What the input changes by itself, and what it makes due.
    fn expect(&mut self, step: &Step<'_>) -> Due {
        let mut due = Due::default();
        let stale = Due {
            nothing: true,
            ..Due::default()
        };
        match step.heard {
            Heard::Start => self.started |= !self.stopped,
            Heard::Opened(conn) => {
                if *conn != self.conn || self.line != Line::Dialling {
                    return stale;
                }
                self.line = Line::Open;
                self.opened = true;
            }
            Heard::Closed(conn, code) => {
                if *conn != self.conn || self.line == Line::Gone {
                    return stale;
                }
                if self.line == Line::Open {
                    self.expect_of_code(*code, &mut due);
                }
                self.end_of_line(&mut due);
            }
            Heard::Failed(conn) => {
                if *conn != self.conn || self.line == Line::Gone {
                    return stale;
                }
                self.end_of_line(&mut due);
            }
            Heard::Received(conn, payload) => {
                if !self.is_open(*conn) {
                    return stale;
                }
                self.expect_of_payload(payload, &mut due);
            }
            Heard::Flushed(conn) => {
                if !self.is_open(*conn) {
                    return stale;
                }
                due.reported = self.turn == Turn::Used;
                due.sent = std::mem::take(&mut self.unflushed);
            }
            Heard::Granted(conn) => {
                if !self.is_open(*conn) || self.turn != Turn::Wanted {
                    return stale;
                }
                self.turn = Turn::Given;
                due.identify = true;
            }
            Heard::Command(id) => {
                self.commands.insert(*id, false);
                due.answer = Some(*id);
            }
            Heard::CatchUp(mark) => {
                if self.live && self.line == Line::Open {
                    let (mark, answers) = (*mark, None);
                    self.question = Some(Question { mark, answers });
                    due.beat = true;
                } else {
                    due.nothing = true;
                }
            }
            Heard::Acknowledged { session, seq } => {
                if let Some(known) = self.session.as_mut().filter(|s| s.ordinal == *session) {
                    known.acknowledged = known.acknowledged.max(*seq);
                }
                due.nothing = true;
            }
            Heard::Congested(congested) => self.congested = *congested,
            Heard::Stop(how) => {
                if self.stopped {
                    return stale;
                }
                let is_final = *how == shardwright_core::Stop::Final;
                due.stop = self.stop.is_none();
                self.stop.get_or_insert(is_final);
                if is_final {
                    self.session = None;
                }
            }
            // Time may end any connection.
            Heard::Tick => due.losses = vec!["TooOld", "ResumeRefused"],
        }
        due
    }

    fn end_of_line(&mut self, due: &mut Due) {
        due.losses.push(match self.line {
            Line::Dialling => "TooOld",
            _ => "ResumeRefused",
        });
        self.line = Line::Gone;
    }

    fn expect_of_code(&self, code: Option<u16>, due: &mut Due) {
        match code {
            Some(4001 | 4003 | 4006 | 4007 | 4009) => {
                due.losses.push("Closed");
                due.session_ends = true;
            }
            Some(4004 | 4010..=4014) => due.code = code,
            // The session lives on, unless it was closed before RESUMED too often.
            _ => due.session_stays = self.fruitless < 4,
        }
    }

    fn expect_of_payload(&mut self, payload: &Payload, due: &mut Due) {
        match payload {
            Payload::Hello => {
                due.greeting = !self.hello;
                self.hello = true;
            }
            Payload::AbsurdHello | Payload::Reconnect => {
                due.close = true;
                due.session_stays = self.fruitless < 4;
                due.losses.push("ResumeRefused");
            }
            Payload::Garbage => self.expect_poison(due),
            Payload::InvalidSession(resumable) => {
                due.close = true;
                due.losses.push("ResumeRefused");
                if *resumable == Some(true) {
                    self.resumable_invalids += 1;
                } else {
                    due.session_ends = true;
                }
                if *resumable != Some(true) || self.resumable_invalids >= 4 {
                    due.losses.push("Invalidated");
                }
            }
            Payload::BeatRequest => due.beat = self.hello,
            Payload::BeatAck => self.expect_of_answer(due),
            Payload::Ready { session_id, seq } => self.expect_of_ready(session_id, *seq, due),
            Payload::Dispatch { resumed, seq } => self.expect_of_dispatch(*resumed, *seq, due),
            Payload::Empty => {}
        }
    }

    fn expect_of_answer(&mut self, due: &mut Due) {
        if self.beats == 0 {
            return;
        }
        self.beats -= 1;
        if let Some(Question {
            mark,
            answers: Some(left),
        }) = &mut self.question
        {
            *left -= 1;
            if *left == 0 {
                due.caught_up = Some(*mark);
                self.question = None;
            }
        }
    }

    fn expect_poison(&mut self, due: &mut Due) {
        due.close = true;
        due.losses.push("ResumeRefused");
        let after = self.session.as_ref().map(|session| session.received);
        if after.is_some() && self.poisoned_after == after {
            due.losses.push("Poisoned");
            due.session_ends = true;
        }
        self.poisoned_after = after;
    }

    fn expect_of_ready(&mut self, session_id: &str, seq: u64, due: &mut Due) {
        let asked = matches!(self.turn, Turn::Used | Turn::Settled) || self.resume_sent;
        if !asked {
            return self.expect_poison(due);
        }
        let known = self
            .session
            .as_ref()
            .is_some_and(|s| s.id == session_id && seq <= s.received);
        if self.live && known {
            due.nothing = true;
            return;
        }
        due.losses.push("Superseded");
        due.ready = Some((session_id.to_owned(), seq));
        let session = self.sessions + 1;
        due.events.push_back(Did::Dispatch { session, seq });
    }

    fn expect_of_dispatch(&mut self, resumed: bool, seq: Option<u64>, due: &mut Due) {
        let Some(session) = &mut self.session else {
            let seq = seq.unwrap_or(0);
            due.events.push_back(Did::Dispatch { session: 0, seq });
            return;
        };
        due.resumed = resumed && self.resume_sent && !self.live;
        if let Some(seq) = seq {
            if seq <= session.received {
                due.nothing = !due.resumed;
                return;
            }
            let expected = session.received + 1;
            if seq > expected {
                due.events.push_back(Did::Gap { expected, got: seq });
            }
            session.received = seq;
            if self.resume_sent {
                self.fruitless = 0;
                self.resumable_invalids = 0;
            }
        }
        self.poisoned_after = None;
        due.events.push_back(Did::Dispatch {
            session: session.ordinal,
            seq: session.received,
        });
    }

    /// What the shard waits for at the end of a drain.
    fn check_waiting(&self, step: &Step<'_>) -> Verdict {
        let dialling_again = self.started && self.line == Line::Gone;
        match step.wait {
            _ if self.stopped => rule(step.wait == Wait::Stopped, "a stopped shard says so"),
            Wait::Stopped => rule(false, "only a stopped shard is stopped"),
            Wait::For(WaitFor::Start) => rule(!self.started, "a start was given"),
            Wait::For(WaitFor::Consumer) => rule(
                dialling_again && self.congested,
                "without need of the consumer it is not waited for",
            ),
            Wait::Until(at) => {
                rule(self.started, "an idle shard has no deadline")?;
                rule(at > step.now, "a deadline lies in the future")?;
                let planned = !dialling_again || self.not_before == Some(at);
                rule(planned, "the next dial is at the time that was announced")
            }
            _ => rule(false, "a shard waits for no other shards"),
        }
    }

    /// Phase and state as the outside saw them come about.
    fn check_view(&self, step: &Step<'_>) -> Verdict {
        let phase = match self.line {
            _ if self.stopped => Phase::Stopped,
            _ if !self.started => Phase::Idle,
            Line::Gone if step.wait == Wait::For(WaitFor::Consumer) => Phase::Parked,
            Line::Gone => Phase::Backoff,
            Line::Dialling => Phase::Connecting,
            Line::Closing => Phase::Closing,
            Line::Open if self.live => Phase::Live,
            Line::Open if !self.hello => Phase::AwaitingHello,
            Line::Open if self.resume_sent => Phase::Resuming,
            Line::Open if self.turn == Turn::Wanted => Phase::AwaitingPermit,
            Line::Open => Phase::Identifying,
        };
        if step.phase != phase {
            return Err(format!(
                "the phase is {:?} where {phase:?} was reached",
                step.phase
            ));
        }
        self.check_state(step.state)
    }

    pub(super) fn check_state(&self, state: &ShardState) -> Verdict {
        match &self.session {
            None => rule(
                state.session_id.is_none() && state.seq.is_none(),
                "without a session there is nothing to store",
            ),
            Some(session) => {
                rule(
                    state.session_id.as_ref() == Some(&session.id),
                    "the running session is stored",
                )?;
                rule(
                    state.seq <= Some(session.received),
                    "what was not received is not stored",
                )?;
                rule(
                    state.seq == Some(session.acknowledged),
                    "what is stored is what was acknowledged",
                )?;
                rule(state.is_resumable(), "a stored session can be resumed")
            }
        }
    }

    /// A session that could not be reached for longer than this may be given up.
    pub(super) const PATIENCE: Duration = Duration::from_secs(3600);
}

mod acting;
mod settling;
