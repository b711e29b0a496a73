//! The way out: from a session's dispatches to websocket messages.

use bytes::Bytes;

use super::ServerMachine;
use super::conn::{Merge, Phase};
use super::director::Moment;
use super::io::{ConnId, HowDropped, Outgoing, ServerAction, WsMessage};
use super::log::{Seen, digest};
use super::session::Keep;
use super::shape;
use super::timers::Timer;
use crate::scenario::Level;

impl ServerMachine {
    /// Gives a dispatch to a session; its connection sends it when its turn comes.
    pub(super) fn push(&mut self, key: u64, name: &str, body: &str) -> Option<u64> {
        let session = self.sessions.get_mut(&key)?;
        let conn = session.conn.and_then(|id| self.conns.get(&id));
        let keep = Keep {
            events: self.config.replay_events,
            bytes: self.config.replay_bytes,
            unsent_from: conn
                .filter(|conn| conn.speaks())
                .map(|conn| conn.cursor + 1),
        };
        let seq = session.push(name, body, keep);
        let (conn, id) = (session.conn, session.id.as_str());
        if self.config.log_dispatches {
            let what = Seen::Given {
                session: id.to_owned(),
                seq,
                digest: digest(name, body.as_bytes()),
            };
            self.note(conn, what);
        }
        if let Some(id) = conn {
            self.enqueue(id);
        }
        Some(seq)
    }

    /// Puts a connection into the queue of those that have something to send.
    pub(super) fn enqueue(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let held_up = self.config.flow_control && conn.in_flight >= self.config.send_window;
        if conn.session.is_some() && !conn.queued && !held_up && conn.speaks() {
            conn.queued = true;
            self.queue.push_back(id);
        }
    }

    /// Sends one dispatch of a connection and puts it back into the queue.
    pub(super) fn send_next(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.queued = false;
        }
        if self.send_one(id, true) {
            self.enqueue(id);
        }
    }

    /// Sends what a script has pushed, before something else may follow.
    pub(super) fn send_rest_of_script(&mut self, id: ConnId) {
        while self
            .conns
            .get(&id)
            .is_some_and(|conn| conn.cursor < conn.must_reach)
        {
            if !self.send_one(id, false) {
                break;
            }
        }
        self.flush_merge(id);
    }

    fn send_one(&mut self, id: ConnId, flood: bool) -> bool {
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.speaks()) else {
            return false;
        };
        let Some(session) = conn.session.and_then(|key| self.sessions.get_mut(&key)) else {
            return false;
        };
        if !session.can_replay_after(conn.cursor) {
            let key = session.key;
            self.end_session(key, "the connection fell behind what is kept");
            self.close(id, Some(4000), "too slow");
            return false;
        }
        let Some(next) = session.after(conn.cursor).cloned() else {
            let (key, live) = (session.key, conn.phase == Phase::Live);
            return flood && live && self.make_flood(key);
        };
        session.sent = session.sent.max(next.seq);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.cursor = next.seq;
            conn.said_resumed |= next.payload.starts_with(br#"{"t":"RESUMED""#);
        }
        self.send_payload(id, next.payload, Some(next.seq));
        self.after_dispatch(id, next.seq);
        true
    }

    /// Makes the next event of a flood; false when there is none.
    fn make_flood(&mut self, key: u64) -> bool {
        let Some(session) = self.sessions.get_mut(&key).filter(|s| s.flood > 0) else {
            return false;
        };
        session.flood -= 1;
        let over = session.flood == 0;
        let end = if over { session.flood_end.take() } else { None };
        let draw = session.draw.clone();
        if let Some(payload) = draw.next(&mut self.rng) {
            self.push(key, payload.name(), payload.body());
        }
        if let Some(end) = end {
            self.push(key, &end, "{}");
        }
        if over {
            let conn = self.sessions.get(&key).and_then(|session| session.conn);
            self.note(conn, Seen::FloodEnded);
        }
        true
    }

    fn after_dispatch(&mut self, id: ConnId, seq: u64) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if let Phase::Starting {
            until,
            resumed_from,
        } = conn.phase
            && seq == until
        {
            conn.phase = Phase::Live;
            let listener = conn.listener;
            let session = conn.session.and_then(|key| self.sessions.get(&key));
            let (key, session) = session
                .map(|session| (session.key, session.id.clone()))
                .unwrap_or_default();
            if let Some(from) = resumed_from {
                let replayed = until.saturating_sub(from + 1);
                self.note(Some(id), Seen::Resumed { session, replayed });
                if let Some(lives) = self.config.resume_on_main_lives
                    && listener == Default::default()
                {
                    self.timers.set(self.now + lives, Timer::MainLife(id));
                }
                self.moment(id, Moment::Resumed, None);
            } else {
                self.note(Some(id), Seen::Ready { session });
                self.start_rate(key);
                self.moment(id, Moment::Ready, None);
            }
            self.live_steps(id);
        }
        self.moment(id, Moment::Dispatch(seq), None);
    }

    /// Sends a payload that is no dispatch.
    pub(super) fn send_control(&mut self, id: ConnId, op: u64, text: String) {
        self.send_rest_of_script(id);
        if self.conns.get(&id).is_none_or(|conn| !conn.speaks()) {
            return;
        }
        if op != 11 {
            self.note(Some(id), Seen::Sent { op });
        }
        self.send_payload(id, text.into(), None);
    }

    /// Compresses one payload and sends it.
    pub(super) fn send_payload(&mut self, id: ConnId, mut payload: Bytes, seq: Option<u64>) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.speaks()) else {
            return;
        };
        let session = conn.session.and_then(|key| self.sessions.get_mut(&key));
        let damage = match (seq, session) {
            (Some(seq), Some(session)) => session.damage(seq),
            _ => None,
        };
        let damage = damage.or_else(|| conn.next_damage());
        if let Some(how) = damage {
            payload = shape::damage_payload(&payload, how);
            self.note(Some(id), Seen::Damaged { seq });
        }
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let Ok(mut message) = conn.encoder.encode(payload) else {
            return self.close(id, Some(4000), "compression failed");
        };
        if let Some(how) = damage {
            message = message.with(shape::damage_message(message.bytes(), how));
        }
        let Some(merge) = &mut conn.merge else {
            return self.send_message(id, message);
        };
        merge.text = matches!(message, WsMessage::Text(_));
        merge.bytes.extend_from_slice(message.bytes());
        merge.left = merge.left.saturating_sub(1);
        if merge.left == 0 {
            self.flush_merge(id);
        }
    }

    fn flush_merge(&mut self, id: ConnId) {
        let Some(Merge { bytes, text, .. }) =
            self.conns.get_mut(&id).and_then(|conn| conn.merge.take())
        else {
            return;
        };
        if !bytes.is_empty() {
            let bytes = bytes.into();
            let message = if text {
                WsMessage::Text(bytes)
            } else {
                WsMessage::Binary(bytes)
            };
            self.send_message(id, message);
        }
    }

    /// Sends one websocket message, cut as the scenario wants it.
    pub(super) fn send_message(&mut self, id: ConnId, message: WsMessage) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.in_flight += message.bytes().len();
        let cut = conn.cut.take();
        let split = conn.next_split();
        let mut all = Vec::new();
        match split {
            Some(split) if split.level == Level::Messages => {
                for piece in shape::pieces(message.bytes(), &split.sizes) {
                    let piece = message.with(message.bytes().slice_ref(piece));
                    all.push(Outgoing::whole(piece));
                }
            }
            Some(split) => {
                let mut outgoing = Outgoing::whole(message);
                match split.level {
                    Level::Writes => outgoing.writes = split.sizes,
                    _ => outgoing.frames = split.sizes,
                }
                all.push(outgoing);
            }
            None => all.push(Outgoing::whole(message)),
        }
        if let Some((after, _)) = cut {
            all.truncate(1);
            all[0].only = Some(after);
        }
        for outgoing in all {
            self.actions
                .push_back(ServerAction::Send { conn: id, outgoing });
        }
        if let Some((_, then)) = cut {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.torn = true;
                conn.hung = true;
            }
            match HowDropped::of(then) {
                Some(how) => self.drop_line(id, how),
                None => self.stall(id),
            }
        }
    }
}
