//! What must hold of a shard's actions, whatever happens to it.

use std::time::{Duration, Instant};

use serde_json::Value;
use shardwright_core::{
    Action, ConnId, DisconnectReason, Dispatch, Event, EventId, OutgoingText, ShardState,
};

use super::commands::Commands;
use super::lines::Lines;
use super::setup::Setup;
use crate::secret;

/// A session, as far as it shows.
#[derive(Debug)]
struct Session {
    ordinal: u32,
    id: Option<String>,
    /// The last sequence handed over.
    highest: u64,
    acknowledged: u64,
}

pub(super) struct Checker {
    setup: ShardState,
    /// All events are handed over, so that the sequence is known from them.
    hears_all: bool,
    pub(super) now: Instant,
    pub(super) lines: Lines,
    pub(super) commands: Commands,
    session: Option<Session>,
    sessions: u32,
    /// Of the newest events, for acknowledging them.
    handed: Vec<EventId>,
    /// What the newest connection brought may be anything.
    pub(super) spoilt: bool,
    stopped: bool,
    /// What the shard ended with.
    last: Option<ShardState>,
    connecting: Option<ConnId>,
    questions: u64,
    /// Whether a beat was sent since the last question, while it has no answer.
    asked: Option<bool>,
}

impl Checker {
    pub(super) fn new(setup: &Setup, now: Instant) -> Self {
        let shard = setup.config.shard;
        let state = setup
            .state
            .clone()
            .filter(|state| state.shard == shard && state.is_resumable());
        let session = state.map(|state| Session {
            ordinal: 1,
            id: state.session_id,
            highest: state.seq.unwrap_or_default(),
            acknowledged: state.seq.unwrap_or_default(),
        });
        Self {
            setup: ShardState::fresh(shard),
            hears_all: setup.config.filter.is_all(),
            now,
            lines: Lines::default(),
            commands: Commands::default(),
            sessions: u32::from(session.is_some()),
            session,
            handed: Vec::new(),
            spoilt: false,
            stopped: false,
            last: None,
            connecting: None,
            questions: 0,
            asked: None,
        }
    }

    /// Whether it has caught up.
    pub(super) fn new_question(&mut self) -> u64 {
        self.questions += 1;
        self.asked = Some(false);
        self.questions
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn handed(&self, back: u8) -> Option<EventId> {
        let at = self.handed.len().checked_sub(1 + usize::from(back))?;
        self.handed.get(at).copied()
    }

    /// An event that has not come yet.
    pub(super) fn unborn(&self, by: u8) -> Option<EventId> {
        let session = self.session.as_ref().filter(|_| self.hears_all)?;
        Some(EventId {
            shard: self.setup.shard,
            session: session.ordinal,
            seq: session.highest.checked_add(1 + u64::from(by))?,
        })
    }

    pub(super) fn acknowledged(&mut self, id: EventId) {
        if let Some(session) = self
            .session
            .as_mut()
            .filter(|session| session.ordinal == id.session)
        {
            session.acknowledged = session.acknowledged.max(id.seq);
        }
    }

    pub(super) fn action(&mut self, action: &Action<'_>) {
        assert!(
            !self.has_stopped() || matches!(action, Action::Answer { .. } | Action::Wait(_)),
            "after the end: {action:?}"
        );
        let now = self.now;
        match action {
            Action::Connect { conn, .. } => {
                assert_eq!(self.connecting.take(), Some(*conn), "announced");
                self.lines.connect(*conn, now);
            }
            Action::Send { conn, text } => self.sent(*conn, text),
            Action::Close { conn, code, .. } => self.lines.close(*conn, *code),
            Action::Abort { conn } => self.lines.abort(*conn),
            Action::WantIdentify { conn } => {
                assert!(self.session.is_none(), "a session is resumed");
                self.lines.want_identify(*conn);
            }
            Action::WithdrawIdentify { conn } => self.lines.withdraw(*conn),
            Action::IdentifySent { conn } => self.lines.identify_sent(*conn),
            Action::CaughtUp { mark } => {
                assert_eq!(*mark, self.questions, "the last question is answered");
                assert_eq!(self.asked.take(), Some(true), "after a beat, once");
            }
            Action::Answer { id, answer } => self.commands.answered(*id, answer),
            Action::Emit(event) => self.event(event),
            _ => {}
        }
    }

    fn sent(&mut self, conn: ConnId, text: &OutgoingText) {
        let json: Value = serde_json::from_str(text.as_str()).expect("JSON is sent");
        let (op, d) = (text.op(), &json["d"]);
        assert_eq!(json["op"], op);
        assert!(text.as_str().len() <= 4096, "Discord reads no more");
        assert_eq!(text.is_secret(), secret::is_in(text.as_str()));
        self.lines.send(conn, op, self.now);
        if let (1, Some(beat_sent)) = (op, &mut self.asked) {
            *beat_sent = true;
        }
        match op {
            1 => match &self.session {
                None => assert_eq!(*d, Value::Null, "a beat without a session"),
                Some(session) => self.carries(d, session),
            },
            2 => {
                assert!(self.session.is_none(), "a session is resumed");
                assert_eq!(d["token"], secret::token().expose());
            }
            6 => {
                let session = self.session.as_ref().expect("a session to resume");
                assert_eq!(d["token"], secret::token().expose());
                if let Some(id) = &session.id {
                    assert_eq!(d["session_id"], **id);
                }
                self.carries(&d["seq"], session);
            }
            _ => self.commands.sent(op, text.as_str()),
        }
    }

    /// The highest sequence of the session.
    fn carries(&self, seq: &Value, session: &Session) {
        let seq = seq.as_u64().expect("a sequence");
        assert!(
            seq == session.highest || (!self.hears_all && seq > session.highest),
            "{seq}: {session:?}"
        );
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Dispatch(dispatch) => self.dispatch(dispatch),
            Event::Connecting { conn, .. } => self.connecting = Some(*conn),
            Event::Hello { conn, .. } => self.lines.hello(*conn),
            Event::Ready {
                session,
                session_id,
                ..
            } => self.ready(*session, session_id),
            Event::Resumed { session, .. } => {
                let known = self.session.as_ref().expect("a session");
                assert_eq!(known.ordinal, *session);
            }
            Event::Disconnected {
                conn,
                reason,
                delay,
                ..
            } => {
                if let DisconnectReason::InvalidSession { .. } = reason {
                    assert!(*delay >= Duration::from_secs(1), "op 9 asks for a pause");
                }
                self.lines.over(*conn, self.now, *delay);
                self.asked = None;
            }
            Event::SessionLost {
                session, last_seq, ..
            } => {
                let lost = self.session.take().expect("a session to lose");
                assert_eq!(lost.ordinal, *session);
                assert!(*last_seq == lost.highest || !self.hears_all);
            }
            Event::ShardStopped { state, .. } => {
                assert!(!std::mem::replace(&mut self.stopped, true), "one end");
                self.lines.stopped();
                self.commands.stopped();
                self.last = Some((**state).clone());
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, dispatch: &Dispatch<'_>) {
        let id = dispatch.id();
        assert_eq!(id.shard, self.setup.shard);
        if dispatch.name() == "READY" {
            assert!(self.session.is_none(), "the old session is over first");
            assert_eq!(id.session, self.sessions + 1);
            self.begin(id.session, id.seq, None);
        } else if id.session == 0 {
            assert!(self.session.is_none(), "a session has a number");
            return;
        } else {
            let hears_all = self.hears_all;
            let spoilt = self.spoilt;
            let session = self.session.as_mut().expect("a session");
            assert_eq!(id.session, session.ordinal);
            match mark(dispatch).filter(|_| !spoilt) {
                Some(Some(seq)) => {
                    assert_eq!(id.seq, seq);
                    assert!(
                        seq > session.highest,
                        "{seq} again, or out of order: {session:?}"
                    );
                }
                Some(None) => assert!(
                    id.seq == session.highest || !hears_all,
                    "{id:?}: {session:?}"
                ),
                None => assert!(id.seq >= session.highest, "{id:?}: {session:?}"),
            }
            session.highest = session.highest.max(id.seq);
        }
        self.handed.push(id);
    }

    fn ready(&mut self, ordinal: u32, id: &str) {
        if self.hears_all {
            let session = self.session.as_mut().expect("READY came before");
            assert_eq!(session.ordinal, ordinal);
            session.id = Some(id.to_owned());
        } else {
            assert_eq!(ordinal, self.sessions + 1);
            self.begin(ordinal, 0, Some(id.to_owned()));
        }
    }

    fn begin(&mut self, ordinal: u32, seq: u64, id: Option<String>) {
        self.sessions = ordinal;
        self.session = Some(Session {
            ordinal,
            id,
            highest: seq,
            acknowledged: seq,
        });
    }

    /// After a drain: the state that another process would get.
    pub(super) fn state(&mut self, state: &ShardState) {
        self.lines.drained();
        self.commands.drained();
        if let Some(last) = self.last.take() {
            // The time of day may have become known in between.
            let last = ShardState {
                at: state.at,
                ..last
            };
            assert_eq!(last, *state);
            if !state.is_resumable() {
                self.session = None;
            }
        }
        match (&self.session, state.seq) {
            (Some(session), Some(seq)) if self.hears_all => assert_eq!(seq, session.acknowledged),
            (Some(session), Some(seq)) => assert!(seq >= session.acknowledged),
            // A final stop ends the session at once.
            (Some(_), None) if self.lines.last_stop => self.session = None,
            (session, seq) => assert!(session.is_none() && seq.is_none(), "{session:?} {seq:?}"),
        }
    }
}

/// The sequence that the body repeats.
fn mark(dispatch: &Dispatch<'_>) -> Option<Option<u64>> {
    let body: Value = dispatch.parse().ok()?;
    let mark = body.get("mark")?;
    Some(mark.as_u64())
}
