//! Carries out the effects of a scenario.

use serde_json::Value;

use super::conn::{Merge, Phase, ping_bytes};
use super::io::{ConnId, HowDropped, ServerAction, WsMessage};
use super::shape::Split;
use super::timers::Timer;
use super::{ServerMachine, bodies, compress::Encoder, session};
use crate::scenario::{Damage, Effect};

/// How long a line that is not read any more is kept.
const DEAF_LIFE: std::time::Duration = std::time::Duration::from_secs(600);

impl ServerMachine {
    pub(super) fn global_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::InvalidateAll => {
                let all: Vec<_> = self.sessions.keys().copied().collect();
                for key in all {
                    self.end_session(key, "ended by the scenario");
                }
            }
            Effect::ResumeUrl(url) => self.config.ready_resume_url = Some(url.clone()),
            Effect::RevokeTokens => self.revoked = true,
            Effect::Listener { which, mode, ms } => {
                let lasts = ms.map(std::time::Duration::from_millis);
                self.set_listener(*which, *mode, lasts);
            }
            Effect::Rest(fault) => self.rest_faults.push_back(fault.clone()),
            _ => {}
        }
    }

    pub(super) fn effect(&mut self, id: ConnId, effect: &Effect) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if conn.phase == Phase::Closing
            && !matches!(effect, Effect::Fin | Effect::Rst | Effect::Wire(_))
        {
            return;
        }
        match effect {
            Effect::Refuse {
                status,
                retry_after,
                location,
            } => self.refuse_upgrade(id, *status, *retry_after, location.clone()),
            Effect::Hang => conn.hung = true,
            Effect::Silent => conn.silent = true,
            Effect::Deaf => self.deaf(id),
            Effect::Stall => self.stall(id),
            Effect::Recover => self.recover(id),
            Effect::Plain => conn.encoder = Encoder::Plain,

            Effect::Hello(interval) => self.hello(id, interval),
            Effect::Op1(body) => self.send_control(id, 1, bodies::control(1, body)),
            Effect::Op7 => self.send_control(id, 7, bodies::control(7, &Value::Null)),
            Effect::Op9(body) => self.invalid_session(id, body),
            Effect::Ack(count) => {
                for _ in 0..*count {
                    self.send_control(id, 11, bodies::control(11, &"absent".into()));
                }
            }
            Effect::WithholdAcks(count) => conn.withhold = *count,
            Effect::Text(text) => {
                self.send_rest_of_script(id);
                self.send_payload(id, text.clone().into(), None);
            }
            Effect::Raw { hex, binary } => {
                self.send_rest_of_script(id);
                let bytes = from_hex(hex).into();
                let message = if *binary {
                    WsMessage::Binary(bytes)
                } else {
                    WsMessage::Text(bytes)
                };
                if self.conns.get(&id).is_some_and(|conn| conn.speaks()) {
                    self.send_message(id, message);
                }
            }
            Effect::Wire(hex) => {
                self.send_rest_of_script(id);
                if self.conns.contains_key(&id) {
                    let bytes = from_hex(hex).into();
                    self.actions
                        .push_back(ServerAction::Wire { conn: id, bytes });
                }
            }
            Effect::Ping(length) => {
                self.send_rest_of_script(id);
                if self.conns.get(&id).is_some_and(|conn| conn.speaks()) {
                    let bytes = ping_bytes(*length);
                    self.actions
                        .push_back(ServerAction::Ping { conn: id, bytes });
                }
            }

            Effect::Dispatch { t, d, s: Some(s) } => {
                self.send_rest_of_script(id);
                let payload = session::envelope(t, &s.to_string(), &d.to_string());
                self.send_payload(id, payload, None);
            }
            Effect::Dispatch { t, d, s: None } => self.push_here(id, t, &d.to_string()),
            Effect::Big { t, bytes, count } => {
                let body = format!(r#"{{"filler":"{}"}}"#, bodies::filler(*bytes));
                for _ in 0..*count {
                    self.push_here(id, t, &body);
                }
            }
            Effect::Bomb { t, bytes } => self.send_bomb(id, t, *bytes),
            Effect::Events(count) => self.push_events(id, *count),
            Effect::Flood(count) => {
                if let Some(session) = conn.session.and_then(|key| self.sessions.get_mut(&key)) {
                    session.flood = session.flood.saturating_add(*count);
                    self.enqueue(id);
                }
            }
            Effect::SkipSeq(count) => {
                if let Some(session) = conn.session.and_then(|key| self.sessions.get_mut(&key)) {
                    session.seq = session.seq.saturating_add(*count);
                }
            }
            Effect::Repeat(count) => self.repeat(id, *count),

            Effect::Close(code) => self.close(id, *code, "as the scenario says"),
            Effect::Fin => self.drop_line(id, HowDropped::Fin),
            Effect::Rst => self.drop_line(id, HowDropped::Rst),

            Effect::Cut { after, then } => conn.cut = Some((*after, *then)),
            Effect::Split {
                sizes,
                level,
                count,
            } => {
                conn.split = Some(Split {
                    sizes: sizes.clone(),
                    level: *level,
                    left: *count,
                });
            }
            Effect::Merge(count) => {
                conn.merge = (*count > 0).then(|| Merge {
                    left: *count,
                    text: false,
                    bytes: Vec::new(),
                });
            }
            Effect::Damage { how, seq, count } => self.set_damage(id, *how, *seq, *count),
            Effect::Invalidate => {
                if let Some(key) = conn.session.or(conn.asked) {
                    self.end_session(key, "ended by the scenario");
                }
            }
            _ => {}
        }
    }

    fn set_damage(&mut self, id: ConnId, how: Damage, seq: Option<u64>, count: Option<u32>) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        match seq {
            None => conn.damage = Some((how, count.unwrap_or(1))),
            Some(seq) => {
                let key = conn.session.or(conn.asked);
                if let Some(session) = key.and_then(|key| self.sessions.get_mut(&key)) {
                    session.damaged.insert(seq, (how, count));
                }
            }
        }
    }

    fn push_here(&mut self, id: ConnId, name: &str, body: &str) {
        let Some(key) = self.conns.get(&id).and_then(|conn| conn.session) else {
            return;
        };
        if let (Some(seq), Some(conn)) = (self.push(key, name, body), self.conns.get_mut(&id)) {
            conn.must_reach = seq;
        }
    }

    fn send_bomb(&mut self, id: ConnId, name: &str, bytes: u64) {
        self.send_rest_of_script(id);
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.speaks()) else {
            return;
        };
        let whole = session::envelope(name, "null", r#"{"filler":""}"#);
        let (head, tail) = whole.split_at(whole.len() - 3);
        if let Ok(Some(message)) = conn.encoder.bomb(head, bytes, tail) {
            self.send_message(id, message);
        }
    }

    fn push_events(&mut self, id: ConnId, count: u64) {
        let Some(draw) = self
            .conns
            .get(&id)
            .and_then(|conn| conn.session)
            .and_then(|key| self.sessions.get(&key))
            .map(|session| session.draw.clone())
        else {
            return;
        };
        for _ in 0..count {
            if let Some(payload) = draw.next(&mut self.rng) {
                self.push_here(id, payload.name(), payload.body());
            }
        }
    }

    fn repeat(&mut self, id: ConnId, count: u64) {
        self.send_rest_of_script(id);
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let Some(session) = conn.session.and_then(|key| self.sessions.get(&key)) else {
            return;
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        for stored in session.last(count, conn.cursor) {
            self.send_payload(id, stored.payload, Some(stored.seq));
        }
    }

    fn deaf(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.deaf = true;
            self.timers.set(self.now + DEAF_LIFE, Timer::Forgotten(id));
            self.actions.push_back(ServerAction::Reads {
                conn: id,
                on: false,
            });
        }
    }

    pub(super) fn stall(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.hung = true;
        }
        self.deaf(id);
    }

    fn recover(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.hung = conn.torn;
        conn.silent = false;
        conn.last_beat = self.now;
        if std::mem::take(&mut conn.deaf) {
            self.actions
                .push_back(ServerAction::Reads { conn: id, on: true });
        }
        let unsaid = conn.unsaid.take_if(|_| !conn.hung);
        self.watch_beat(id);
        if let Some(body) = unsaid {
            self.invalid_session(id, &body);
        }
        self.enqueue(id);
    }
}

/// Bytes written in hexadecimal; what is no digit is skipped.
fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4) | pair[1])
        .collect()
}
