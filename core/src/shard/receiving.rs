//! Reads payloads: what each opcode does to the machine, and which dispatches are handed over.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use crate::dispatch::DispatchHeader;
use crate::envelope::Usual;
use crate::guild_tracker::GuildTracker;
use crate::heartbeat::Heart;
use crate::session::Session;
use crate::shard::link::{CatchUp, Stage};
use crate::shard::protocol::{Out, OwnedEvent, ProtocolMachine, State, usable_resume_url};
use crate::timer::Timer;
use crate::{
    ConnId, DecodeError, DisconnectReason, Envelope, EventId, Problem, SessionLoss, ShardState,
};

/// READY, as far as the machine needs it.
#[derive(Deserialize)]
struct Ready<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(borrow, default)]
    resume_gateway_url: Option<&'a serde_json::value::RawValue>,
}

/// What a payload is, if it is as nearly all are.
enum Usually {
    Deliver(EventId, DispatchHeader),
    Filtered,
    Not,
}

#[derive(Deserialize)]
struct Hello {
    heartbeat_interval: serde_json::Number,
}

impl ProtocolMachine {
    /// One payload of the open connection. If all that it leads to is that it is delivered, as what.
    #[inline(always)]
    pub(crate) fn payload(&mut self, payload: &[u8]) -> Option<(EventId, DispatchHeader)> {
        match self.usual_dispatch(payload) {
            Usually::Deliver(id, header) => return Some((id, header)),
            Usually::Filtered => {}
            Usually::Not => self.any_payload(payload),
        }
        None
    }

    #[cold]
    fn any_payload(&mut self, payload: &[u8]) {
        let State::Open(link) = &self.state else {
            return;
        };
        let conn = link.conn;
        let envelope = match Envelope::scan(payload) {
            Ok(envelope) => envelope,
            Err(error) => return self.malformed(conn, error.to_string()),
        };
        match envelope.op {
            0 => self.dispatch(conn, payload, &envelope),
            1 => self.beat_requested(),
            7 => self.leave(DisconnectReason::ReconnectRequested),
            9 => {
                let resumable = payload.get(envelope.data.clone()) == Some(b"true".as_slice());
                self.invalid_session(resumable);
            }
            10 => self.hello(conn, payload.get(envelope.data.clone()).unwrap_or_default()),
            11 => self.beat_acknowledged(),
            other => self.unknown_opcode(conn, other),
        }
    }

    /// The way of nearly all payloads, in which nothing is looked at but what has to be: the next dispatch
    /// of a session that is up and whose guilds are there.
    #[inline(always)]
    fn usual_dispatch(&mut self, payload: &[u8]) -> Usually {
        let State::Open(link) = &mut self.state else {
            return Usually::Not;
        };
        let (Stage::Live { .. }, Some(session)) = (&link.stage, &mut self.session) else {
            return Usually::Not;
        };
        let Some(usual) = Usual::scan(payload) else {
            return Usually::Not;
        };
        let name = usual.name.of(payload);
        let next = session.received.saturating_add(1);
        if usual.op != 0
            || usual.seq != Some(next)
            || matches!(name, b"" | b"READY")
            || session.guilds.is_some()
        {
            return Usually::Not;
        }
        let filter = &self.config.filter;
        let wanted =
            filter.is_all() || std::str::from_utf8(name).is_ok_and(|name| filter.wants(name));
        if let Some(heart) = &mut link.heart {
            heart.dispatch();
        }
        self.timers.clear(Timer::Probe);
        self.poison = None;
        session.received = next;
        if !wanted {
            session.acks.filtered(next);
            return Usually::Filtered;
        }
        session.acks.delivered(next);
        let id = EventId {
            shard: self.config.shard,
            session: session.ordinal,
            seq: next,
        };
        Usually::Deliver(id, DispatchHeader::of_usual(&usual))
    }

    /// The decoder could not make a payload of what came.
    pub(crate) fn undecodable(&mut self, error: DecodeError) {
        let State::Open(link) = &self.state else {
            return;
        };
        let conn = link.conn;
        let after = self.session.as_ref().map(|session| session.received);
        self.problem(Some(conn), Problem::Undecodable { after, error });
        self.leave_poisoned();
    }

    pub(crate) fn empty_message(&mut self) {
        if let State::Open(link) = &mut self.state
            && !std::mem::replace(&mut link.reported_empty, true)
        {
            let conn = link.conn;
            self.problem(Some(conn), Problem::EmptyMessage);
        }
    }

    fn malformed(&mut self, conn: ConnId, what: String) {
        let after = self.session.as_ref().map(|session| session.received);
        self.problem(Some(conn), Problem::Malformed { after, what });
        self.leave_poisoned();
    }

    fn unknown_opcode(&mut self, conn: ConnId, op: u64) {
        if let State::Open(link) = &mut self.state
            && !std::mem::replace(&mut link.reported_opcode, true)
        {
            self.problem(Some(conn), Problem::UnknownOpcode(op));
        }
    }

    fn hello(&mut self, conn: ConnId, data: &[u8]) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        let interval = serde_json::from_slice(data).ok().and_then(|hello: Hello| {
            let number = hello.heartbeat_interval;
            number.as_u64().or_else(|| {
                // The float is integral and small, so nothing is lost.
                let float = number.as_f64()?;
                (float.fract() == 0.0 && (0.0..1e15).contains(&float)).then_some(float as u64)
            })
        });
        // One schedule a connection: a second Hello only changes it.
        let sane = match (&mut link.heart, interval) {
            (_, None) => false,
            (Some(heart), Some(interval)) => heart.restart(self.now, interval, &mut self.rng),
            (none, Some(interval)) => {
                *none = Heart::new(self.now, interval, &mut self.rng);
                none.is_some()
            }
        };
        let Some(heart) = link.heart.as_ref().filter(|_| sane) else {
            self.leave(DisconnectReason::BadHello);
            return;
        };
        let (interval, due) = (heart.interval(), heart.due());
        link.budget.reserve_for(interval);
        self.timers.set(Timer::Heartbeat, due);
        let first = link.stage == Stage::AwaitingHello;
        if first {
            self.timers.clear(Timer::Hello);
            self.emit(OwnedEvent::Hello {
                conn,
                heartbeat_interval: interval,
            });
            if self.session.is_some() {
                self.send_resume();
            } else {
                self.want_identify();
            }
        }
    }

    fn beat_acknowledged(&mut self) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        let Some(latency) = link
            .heart
            .as_mut()
            .and_then(|heart| heart.acknowledged(self.now))
        else {
            return;
        };
        let caught_up = link.catch_up.take_if(|catch_up| {
            let Some(left) = &mut catch_up.answers_left else {
                return false;
            };
            *left = left.saturating_sub(1);
            *left == 0
        });
        self.timers.clear(Timer::Probe);
        self.emit(OwnedEvent::Heartbeat { latency });
        if let Some(CatchUp { mark, .. }) = caught_up {
            self.out.push_back(Out::CaughtUp { mark });
        }
    }

    fn dispatch(&mut self, conn: ConnId, payload: &[u8], envelope: &Envelope<'_>) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        if let Some(heart) = &mut link.heart {
            heart.dispatch();
        }
        self.timers.clear(Timer::Probe);
        let name = envelope.name.as_deref().unwrap_or_default();
        if name == "READY" {
            return self.ready(conn, payload, envelope);
        }
        let Some(session) = &mut self.session else {
            // No session to count it in; nothing may be lost all the same.
            let id = EventId {
                shard: self.config.shard,
                session: 0,
                seq: envelope.seq.unwrap_or(0),
            };
            if self.config.filter.wants(name) {
                self.out.push_back(Out::Deliver {
                    id,
                    header: DispatchHeader::of(envelope),
                });
            }
            return;
        };
        let resumed = match &link.stage {
            Stage::Resuming { replayed } if name == "RESUMED" => Some(*replayed),
            _ => None,
        };
        if let Some(seq) = envelope.seq {
            if seq <= session.received {
                // Known already, so not handed over again; but RESUMED ends the replay all the same.
                if let Some(replayed) = resumed {
                    session.fruitless = 0;
                    let session = session.ordinal;
                    self.go_live(OwnedEvent::Resumed {
                        conn,
                        session,
                        replayed,
                    });
                }
                return;
            }
            let expected = session.received + 1;
            session.received = seq;
            if seq > expected {
                let problem = Problem::Gap { expected, got: seq };
                self.out.push_back(Out::Emit(Box::new(OwnedEvent::Problem {
                    conn: Some(conn),
                    problem,
                })));
            }
        }
        self.poison = None;
        if let Stage::Resuming { replayed } = &mut link.stage {
            if resumed.is_none() {
                *replayed += 1;
            }
            // What has no number is not replayed and says nothing about the session.
            if resumed.is_some() || envelope.seq.is_some() {
                session.fruitless = 0;
                self.resumable_invalids = 0;
            }
            if !self.congested {
                self.timers.set(
                    Timer::Session,
                    self.now + self.config.limits.resumed_timeout,
                );
            }
        }
        let id = EventId {
            shard: self.config.shard,
            session: session.ordinal,
            seq: session.received,
        };
        if self.config.filter.wants(name) {
            if envelope.seq.is_some() {
                session.acks.delivered(id.seq);
            }
            self.out.push_back(Out::Deliver {
                id,
                header: DispatchHeader::of(envelope),
            });
        } else if envelope.seq.is_some() {
            session.acks.filtered(id.seq);
        }
        if session.guilds.is_some() {
            self.saw_while_loading(name, payload, envelope);
        }
        if let Some(replayed) = resumed {
            let session = id.session;
            self.go_live(OwnedEvent::Resumed {
                conn,
                session,
                replayed,
            });
        }
    }

    /// A dispatch came while the guilds of the session are loading.
    fn saw_while_loading(&mut self, name: &str, payload: &[u8], envelope: &Envelope<'_>) {
        let Some(Session {
            guilds: Some(guilds),
            ..
        }) = &mut self.session
        else {
            return;
        };
        let body = payload.get(envelope.data.clone()).unwrap_or_default();
        // A new connection waits anew for what its replay brings.
        if guilds.saw(name, body) || name == "RESUMED" {
            self.wait_for_guilds();
        }
    }

    fn wait_for_guilds(&mut self) {
        let Some(Session {
            guilds: Some(guilds),
            ..
        }) = &self.session
        else {
            return;
        };
        if guilds.is_done() {
            return self.guilds_are_loaded();
        }
        let at = self.now + self.config.limits.guilds_timeout;
        self.timers.set(Timer::Guilds, at);
    }

    /// All guilds have come, or no more will.
    pub(crate) fn guilds_are_loaded(&mut self) {
        self.timers.clear(Timer::Guilds);
        if let Some(session) = &mut self.session
            && let Some(guilds) = session.guilds.take()
        {
            let (guilds, missing) = guilds.outcome();
            self.emit(OwnedEvent::GuildsLoaded { guilds, missing });
        }
    }

    fn ready(&mut self, conn: ConnId, payload: &[u8], envelope: &Envelope<'_>) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        if matches!(link.stage, Stage::AwaitingHello | Stage::AwaitingPermit) {
            return self.malformed(conn, "READY before Identify".to_owned());
        }
        let data = payload.get(envelope.data.clone()).unwrap_or_default();
        let ready: Ready<'_> = match serde_json::from_slice(data) {
            Ok(ready) => ready,
            Err(error) => return self.malformed(conn, format!("READY: {error}")),
        };
        let session_id = ready.session_id.into_owned();
        if session_id.is_empty() || session_id.len() > ShardState::LONGEST_ID {
            return self.malformed(conn, "READY without a usable session id".to_owned());
        }
        // A repeat of what began the running session is known, as any other dispatch would be.
        if matches!(link.stage, Stage::Live { .. })
            && let (Some(session), Some(seq)) = (&self.session, envelope.seq)
            && session.id == session_id
            && seq <= session.received
        {
            return;
        }
        // It has left, whether or not that has been reported.
        self.give_permit_back();
        let given = ready
            .resume_gateway_url
            .map(serde_json::value::RawValue::get);
        let given = given.filter(|url| *url != "null");
        let resume_url = given
            .and_then(|url| serde_json::from_str::<String>(url).ok())
            .and_then(|url| usable_resume_url(&self.config, &url));
        if given.is_some() && resume_url.is_none() {
            self.problem(Some(conn), Problem::BadResumeUrl);
        }
        let replaced = self.take_session(SessionLoss::Superseded);
        self.out.extend(replaced);
        self.sessions = self.sessions.saturating_add(1);
        let ordinal = self.sessions;
        let seq = envelope.seq.unwrap_or(0);
        let mut session = Session::new(ordinal, session_id.clone(), resume_url, seq);
        if self.config.track_guilds {
            session.guilds = Some(GuildTracker::of_ready(data, self.config.intents));
        }
        self.session = Some(session);
        self.poison = None;
        if self.config.filter.wants("READY") {
            let id = EventId {
                shard: self.config.shard,
                session: ordinal,
                seq,
            };
            self.out.push_back(Out::Deliver {
                id,
                header: DispatchHeader::of(envelope),
            });
        }
        self.go_live(OwnedEvent::Ready {
            conn,
            session: ordinal,
            session_id,
        });
        self.wait_for_guilds();
    }

    fn go_live(&mut self, event: OwnedEvent) {
        if let State::Open(link) = &mut self.state {
            link.stage = Stage::Live { since: self.now };
        }
        self.backoff.succeeded();
        self.resumable_invalids = 0;
        self.timers.clear(Timer::Session);
        self.emit(event);
        self.pump();
    }

    pub(crate) fn host_slept(&mut self) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        let Some(heart) = &mut link.heart else { return };
        heart.excuse();
        let conn = link.conn;
        let interval = heart.interval();
        if self.extra_beat() && !self.congested {
            self.timers.set(
                Timer::Probe,
                self.now + interval.min(Duration::from_secs(10)),
            );
            self.problem(Some(conn), Problem::HostSlept);
        }
    }
}
