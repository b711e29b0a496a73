//! What clients send: limits first, then order, then the body.

use std::time::Duration;

use bytes::Bytes;

use super::client::{self, Payload, Refused};
use super::conn::{Conn, Phase, within};
use super::director::{Act, Moment};
use super::io::{ConnId, Frame, ServerAction};
use super::log::{Seen, Violation};
use super::timers::Timer;
use super::{ServerMachine, bodies, upgrade};
use crate::scenario::Listener;

/// Payloads allowed in [`SEND_WINDOW`].
const MAX_SENDS: usize = 120;
const SEND_WINDOW: Duration = Duration::from_secs(60);
/// Presences allowed in [`PRESENCE_WINDOW`].
const MAX_PRESENCES: usize = 5;
const PRESENCE_WINDOW: Duration = Duration::from_secs(20);
/// From a request for a guild that can't be one to the end of the session.
const POISON_DELAY: Duration = Duration::from_secs(3);

impl ServerMachine {
    pub(super) fn on_opened(&mut self, id: ConnId, listener: Listener, target: String) {
        self.opened += 1;
        let url = match listener {
            Listener::Main => &self.config.main_url,
            Listener::Resume => &self.config.resume_url,
        };
        let checked = upgrade::check(&target, url, self.config.strict_query);
        let query = checked.as_ref().copied().unwrap_or_default();
        let conn = Conn::new(id, self.opened, listener, target, query, self.now);
        self.conns.insert(id, conn);
        match checked {
            Ok(_) => self.moment(id, Moment::Dialled, Some(Act::Accept)),
            Err((status, why)) => {
                self.violation(id, Violation::Address(why));
                self.refuse_upgrade(id, status, None, None);
            }
        }
    }

    pub(super) fn refuse_upgrade(
        &mut self,
        id: ConnId,
        status: u16,
        retry_after: Option<u64>,
        location: Option<String>,
    ) {
        if self.phase(id) != Some(Phase::Dialled) {
            return;
        }
        self.note_upgrade(id, Some(status));
        self.conns.remove(&id);
        self.actions.push_back(ServerAction::Refuse {
            conn: id,
            status,
            retry_after,
            location,
        });
    }

    pub(super) fn note_upgrade(&mut self, id: ConnId, status: Option<u16>) {
        if let Some(conn) = self.conns.get(&id) {
            let what = Seen::Upgrade {
                listener: conn.listener,
                target: conn.target.clone(),
                status,
            };
            self.note(Some(id), what);
        }
    }

    pub(super) fn on_frame(&mut self, id: ConnId, frame: Frame) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        if conn.deaf || matches!(conn.phase, Phase::Dialled | Phase::Closing) {
            return;
        }
        match frame {
            Frame::Ping(bytes) if !conn.hung => {
                self.actions
                    .push_back(ServerAction::Pong { conn: id, bytes });
            }
            Frame::Ping(_) | Frame::Pong(_) => {}
            Frame::Text(bytes) | Frame::Binary(bytes) => self.on_payload(id, &bytes),
        }
    }

    fn on_payload(&mut self, id: ConnId, bytes: &Bytes) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let sends = within(&mut conn.sends, now, SEND_WINDOW);
        let (hello, phase, said_resumed) = (conn.hello, conn.phase, conn.said_resumed);
        let read = client::envelope(bytes);
        let op = match &read {
            Ok(envelope) => Some(envelope.op),
            Err(Refused {
                what: Violation::UnknownOpcode(op),
                ..
            }) => *op,
            Err(_) => None,
        };
        let text = match &read {
            Ok(envelope) => masked(bytes, &envelope.d),
            Err(_) => String::new(),
        };
        self.note(Some(id), Seen::Received { op, text });
        if sends > MAX_SENDS {
            let refused = Refused {
                code: 4008,
                what: Violation::RateLimited,
            };
            return self.refuse(id, refused);
        }
        let envelope = match read {
            Ok(envelope) => envelope,
            Err(refused) => return self.refuse(id, refused),
        };
        if envelope.odd {
            self.violation(id, Violation::WroteSequence);
        }
        if !hello {
            self.violation(id, Violation::BeforeHello(envelope.op));
        }
        if let Err(refused) = self.in_order(phase, said_resumed, envelope.op) {
            return self.refuse(id, refused);
        }
        match client::body(envelope.op, envelope.d) {
            Ok(payload) => {
                let act = Some(Act::Obey(Box::new(payload)));
                self.moment(id, Moment::Received(envelope.op), act);
            }
            Err(refused) => self.refuse(id, refused),
        }
    }

    fn in_order(&self, phase: Phase, said_resumed: bool, op: u64) -> Result<(), Refused> {
        let refuse = |code, what| Err(Refused { code, what });
        match (op, phase) {
            (1, _) | (2 | 6, Phase::Fresh) => Ok(()),
            (2 | 6, _) => refuse(4005, Violation::AlreadyAuthenticated),
            (_, Phase::Fresh) => refuse(4003, Violation::BeforeIdentify(op)),
            (_, Phase::Asked | Phase::Starting { .. })
                if self.config.strict_order && !said_resumed =>
            {
                refuse(4003, Violation::BeforeReady(op))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn refuse(&mut self, id: ConnId, refused: Refused) {
        let reason = refused.what.to_string();
        self.violation(id, refused.what);
        self.close(id, Some(refused.code), &reason);
    }

    /// Does what a payload asks for.
    pub(super) fn obey(&mut self, id: ConnId, payload: Payload) {
        match payload {
            Payload::Beat(seq) => self.on_beat(id, seq),
            Payload::Identify(identify) => self.on_identify(id, identify),
            Payload::Resume(resume) => self.on_resume(id, resume),
            Payload::Presence => {
                let now = self.now;
                let count = self
                    .conns
                    .get_mut(&id)
                    .map_or(0, |conn| within(&mut conn.presences, now, PRESENCE_WINDOW));
                if count > MAX_PRESENCES {
                    let refused = Refused {
                        code: 4008,
                        what: Violation::PresenceLimited,
                    };
                    self.refuse(id, refused);
                }
            }
            Payload::Voice(voice) => self.answer_voice(id, &voice),
            Payload::Members(members) if members.guild.is_none() => {
                let what = Violation::BadBody {
                    op: 8,
                    why: "guild_id is no snowflake",
                };
                self.violation(id, what);
                self.timers
                    .set(self.now + POISON_DELAY, Timer::Poisoned(id));
            }
            Payload::Members(members) => self.answer_members(id, members),
            Payload::Sounds(guilds) => self.answer_sounds(id, &guilds),
            Payload::ChannelInfo { guild, fields } => self.answer_channel_info(id, guild, &fields),
        }
    }

    fn on_beat(&mut self, id: ConnId, seq: Option<u64>) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.beats += 1;
        conn.last_beat = self.now;
        let nth = conn.beats;
        let wrong = match (conn.phase, seq) {
            (Phase::Fresh, seq) => {
                conn.early_beat = seq;
                None
            }
            (Phase::Starting { until, .. }, Some(seq)) if seq > until => Some(seq),
            (Phase::Live, Some(seq)) => {
                let sent = conn
                    .session
                    .and_then(|key| self.sessions.get(&key))
                    .map(|session| session.sent);
                sent.filter(|sent| seq > *sent).map(|_| seq)
            }
            _ => None,
        };
        if let Some(seq) = wrong {
            self.violation(id, Violation::BeatSequence(seq));
        }
        self.watch_beat(id);
        self.moment(id, Moment::Beat(nth), Some(Act::Ack));
    }

    pub(super) fn acknowledge(&mut self, id: ConnId) {
        let withheld = self.conns.get_mut(&id).is_some_and(Conn::withholds);
        if !withheld {
            let text = bodies::control(11, &"absent".into());
            self.send_control(id, 11, text);
        }
    }

    /// Sets the timer for the next overdue beat.
    pub(super) fn watch_beat(&mut self, id: ConnId) {
        if let Some(at) = self.beat_deadline(id) {
            self.timers.set(at, Timer::Beat(id));
        }
    }

    fn beat_deadline(&self, id: ConnId) -> Option<std::time::Instant> {
        let conn = self.conns.get(&id)?;
        let patience = conn.interval?.mul_f64(self.config.heartbeat_patience);
        Some(conn.last_beat + patience)
    }

    pub(super) fn on_beat_due(&mut self, id: ConnId) {
        let over = self.beat_deadline(id).is_some_and(|at| at <= self.now);
        let heard = self
            .conns
            .get(&id)
            .is_some_and(|conn| !conn.deaf && conn.phase != Phase::Closing);
        if over && heard {
            self.violation(id, Violation::NoBeat);
            self.close(id, Some(4000), "no beat for too long");
        }
    }
}

/// The payload's text without the token.
fn masked(bytes: &[u8], d: &serde_json::Value) -> String {
    let text = String::from_utf8_lossy(bytes);
    match d.get("token").and_then(serde_json::Value::as_str) {
        Some(token) if !token.is_empty() => {
            let masked = text.replace(token, "[token]");
            if masked == text {
                // The token is written with escapes.
                return String::from("[masked]");
            }
            masked
        }
        _ => text.into_owned(),
    }
}
