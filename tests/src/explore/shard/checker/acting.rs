//! What each action of a shard must follow from.

use shardwright_core::{Answer, CommandError, Next, SessionLoss, ShardState, StopReason};

use super::super::did::Did;
use super::{Checker, Due, Line, MAIN, RESUME, Session, Step, Turn, Verdict, rule};

impl Checker {
    pub(super) fn act(&mut self, step: &Step<'_>, did: &Did, due: &mut Due) -> Verdict {
        match did {
            Did::Bad(what) => Err(what.clone()),
            Did::Note(_) => Ok(()),
            Did::Connecting { conn, url } => self.announced(step, *conn, url),
            Did::Dial { conn, .. } => self.dialled(step, *conn),
            Did::Identify { conn } => {
                self.may_send(*conn, "Identify")?;
                rule(
                    self.turn == Turn::Given,
                    "an Identify needs a turn, each its own",
                )?;
                rule(
                    self.session.is_none(),
                    "a session that can be resumed is not identified anew",
                )?;
                self.turn = Turn::Used;
                due.identify = false;
                Ok(())
            }
            Did::Resume {
                conn,
                session_id,
                seq,
            } => {
                self.may_send(*conn, "Resume")?;
                let fresh = !self.resume_sent && self.turn == Turn::NotWanted;
                rule(fresh, "one Resume or one Identify a connection")?;
                let fits = self
                    .session
                    .as_ref()
                    .is_some_and(|s| s.id == *session_id && s.received == *seq);
                rule(
                    fits,
                    "a Resume names the session and the highest sequence received",
                )?;
                self.resume_sent = true;
                due.greeting = false;
                Ok(())
            }
            Did::Beat { conn, seq } => {
                self.may_send(*conn, "a heartbeat")?;
                let received = self.session.as_ref().map(|session| session.received);
                rule(
                    *seq == received,
                    "a heartbeat carries the highest sequence received",
                )?;
                self.beats += 1;
                if let Some(question) = &mut self.question {
                    question.answers.get_or_insert(self.beats);
                }
                due.beat = false;
                Ok(())
            }
            Did::Command { conn, .. } => {
                self.may_send(*conn, "a command")?;
                rule(self.live, "commands wait for READY or RESUMED")?;
                self.unflushed += 1;
                Ok(())
            }
            Did::Close { conn, code } => {
                rule(self.is_open(*conn), "only an open connection is closed")?;
                let wanted = if self.stop == Some(true) { 1000 } else { 4000 };
                rule(*code == wanted, "4000 closes, 1000 in a final stop only")?;
                self.line = Line::Closing;
                due.close = false;
                Ok(())
            }
            Did::Abort { conn } => {
                let under_way = matches!(self.line, Line::Dialling | Line::Closing);
                rule(
                    *conn == self.conn && under_way,
                    "what is aborted was under way",
                )?;
                self.line = Line::Gone;
                Ok(())
            }
            Did::WantIdentify { conn } => {
                rule(
                    self.is_open(*conn) && self.hello,
                    "a turn is wanted after Hello",
                )?;
                let free = self.turn == Turn::NotWanted && !self.resume_sent;
                rule(
                    free && self.session.is_none(),
                    "a turn is wanted once, for a new session",
                )?;
                self.turn = Turn::Wanted;
                due.greeting = false;
                Ok(())
            }
            Did::WithdrawIdentify { conn } => {
                let held = matches!(self.turn, Turn::Wanted | Turn::Given);
                rule(
                    *conn == self.conn && held,
                    "a turn that is given back was wanted",
                )?;
                self.turn = Turn::Settled;
                Ok(())
            }
            Did::IdentifySent { conn } => {
                rule(
                    *conn == self.conn && self.turn == Turn::Used,
                    "a used turn is reported once",
                )?;
                self.turn = Turn::Settled;
                due.reported = false;
                Ok(())
            }
            Did::Answer { id, answer } => self.answered(*id, answer, due),
            Did::CaughtUp { mark } => rule(
                due.caught_up.take() == Some(*mark),
                "all has arrived once the answer to a later beat has, and is said once",
            ),
            Did::Dispatch { .. } | Did::Gap { .. } => {
                let expected = due.events.pop_front();
                if expected.as_ref() == Some(did) {
                    return Ok(());
                }
                Err(format!("{did:?} came out where {expected:?} was due"))
            }
            Did::Ready {
                conn,
                session,
                session_id,
            } => self.ready(step, *conn, *session, session_id, due),
            Did::Resumed { conn, session } => {
                rule(std::mem::take(&mut due.resumed), "RESUMED answers a Resume")?;
                let known = self.session.as_ref().is_some_and(|s| s.ordinal == *session);
                rule(
                    *conn == self.conn && known,
                    "the session that goes on is the one there was",
                )?;
                self.goes_live(step);
                Ok(())
            }
            Did::Disconnected { conn, next, delay } => {
                rule(
                    self.announced == Some(*conn),
                    "one Disconnected for each Connecting",
                )?;
                self.announced = None;
                self.not_before = Some(step.now + *delay);
                due.next = Some(*next);
                rule(
                    *next == Next::Stop || !delay.is_zero(),
                    "there is a pause before each further dial",
                )
            }
            Did::SessionLost { session, why } => self.lost(step, *session, *why, due),
            Did::ShardStopped { why, state } => self.has_stopped(why, state, due),
        }
    }

    fn may_send(&self, conn: u32, what: &str) -> Verdict {
        if self.is_open(conn) && self.hello {
            return Ok(());
        }
        Err(format!(
            "{what} was sent before Hello, or on a connection that is not open"
        ))
    }

    fn announced(&mut self, step: &Step<'_>, conn: u32, url: &str) -> Verdict {
        rule(self.line == Line::Gone, "never two connections at once")?;
        rule(
            self.announced.is_none(),
            "one Disconnected for each Connecting",
        )?;
        rule(conn == self.conn + 1, "connections are numbered one by one")?;
        rule(
            self.started && self.stop.is_none(),
            "nothing is dialled before a start or after a stop",
        )?;
        rule(
            !self.congested,
            "nothing is dialled while the consumer has no room",
        )?;
        let early = self.not_before.is_some_and(|at| step.now < at);
        rule(!early, "no dial before the announced pause is over")?;
        rule(
            self.dialled_at != Some(step.now),
            "no second dial without time passing",
        )?;
        let resumes = self.session.is_some() && url == RESUME;
        rule(
            url == MAIN || resumes,
            "new sessions on the main host, resumes where READY said",
        )?;
        self.conn = conn;
        self.announced = Some(conn);
        Ok(())
    }

    fn dialled(&mut self, step: &Step<'_>, conn: u32) -> Verdict {
        rule(self.line == Line::Gone, "never two connections at once")?;
        rule(self.announced == Some(conn), "a dial is announced")?;
        self.line = Line::Dialling;
        self.dialled_at = Some(step.now);
        self.opened = false;
        self.hello = false;
        self.turn = Turn::NotWanted;
        self.resume_sent = false;
        self.live = false;
        self.beats = 0;
        Ok(())
    }

    fn answered(&mut self, id: u64, answer: &Answer, due: &mut Due) -> Verdict {
        let Some(accepted) = self.commands.get_mut(&id) else {
            return Err(format!(
                "command {id} had its last answer, or was never given"
            ));
        };
        if due.answer == Some(id) {
            due.answer = None;
        }
        match answer {
            Answer::Accepted => {
                rule(
                    !std::mem::replace(accepted, true),
                    "a command is accepted once",
                )?;
                return rule(self.stop.is_none(), "nothing is accepted after a stop");
            }
            Answer::Sent => {
                rule(*accepted, "what was not accepted is not sent")?;
                rule(due.sent > 0, "what has not left is not sent")?;
                due.sent -= 1;
            }
            Answer::Refused(error) => {
                let ended = !self.stopped || *error == CommandError::Stopped;
                rule(ended, "a stopped shard refuses because it has stopped")?;
            }
            _ => {}
        }
        self.commands.remove(&id);
        Ok(())
    }

    fn goes_live(&mut self, step: &Step<'_>) {
        self.live = true;
        self.alive_at = Some(step.now);
        self.fruitless = 0;
        self.resumable_invalids = 0;
    }

    fn ready(
        &mut self,
        step: &Step<'_>,
        conn: u32,
        ordinal: u32,
        id: &str,
        due: &mut Due,
    ) -> Verdict {
        let Some((session_id, seq)) = due.ready.take() else {
            return Err("a session begins with READY".to_owned());
        };
        let fits = conn == self.conn && ordinal == self.sessions + 1 && id == session_id;
        rule(fits, "a new session has the next number and READY's name")?;
        rule(
            self.session.is_none(),
            "the old session is lost before a new one begins",
        )?;
        rule(
            due.events.is_empty(),
            "READY is handed over before the session counts as begun",
        )?;
        self.sessions = ordinal;
        self.session = Some(Session {
            ordinal,
            id: session_id,
            received: seq,
            acknowledged: seq,
        });
        self.poisoned_after = None;
        self.goes_live(step);
        Ok(())
    }

    fn lost(&mut self, step: &Step<'_>, ordinal: u32, why: SessionLoss, due: &Due) -> Verdict {
        let known = self.session.take().is_some_and(|s| s.ordinal == ordinal);
        rule(known, "only the running session can be lost")?;
        let name = format!("{why:?}");
        let allowed = due.losses.iter().any(|loss| name.starts_with(loss));
        rule(allowed, "a session is not given up without a reason")?;
        self.resumable_invalids = 0;
        self.poisoned_after = None;
        match why {
            SessionLoss::ResumeRefused => rule(
                self.fruitless >= 4,
                "a session is given up after five refused resumes",
            ),
            SessionLoss::TooOld => {
                let since = self
                    .alive_at
                    .map(|at| step.now.saturating_duration_since(at));
                rule(
                    since > Some(Self::PATIENCE),
                    "a session is kept for an hour",
                )
            }
            _ => Ok(()),
        }
    }

    fn has_stopped(&mut self, why: &StopReason, state: &ShardState, due: &mut Due) -> Verdict {
        rule(!self.stopped, "a shard stops once")?;
        rule(
            self.line == Line::Gone,
            "a shard has no connection when it stops",
        )?;
        rule(
            self.announced.is_none(),
            "one Disconnected for each Connecting",
        )?;
        rule(
            self.commands.is_empty(),
            "every command has its answer before the stop",
        )?;
        let fits = match why {
            StopReason::Requested => self.stop.is_some(),
            StopReason::Fatal { code } => due.code == Some(code.get()) && code.get() != 4011,
            StopReason::ReShardRequired => due.code == Some(4011),
            _ => false,
        };
        rule(fits, "a shard stops for the reason there was")?;
        if due.code.take().is_some() {
            self.session = None;
        }
        self.stopped = true;
        due.stop = false;
        self.check_state(state)
    }
}
