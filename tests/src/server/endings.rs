//! How connections and sessions end.

use serde_json::Value;

use super::conn::Phase;
use super::io::{ConnId, HowDropped, ServerAction};
use super::log::Seen;
use super::session::SessionKey;
use super::timers::Timer;
use super::{ServerMachine, bodies};

/// How long an unanswered close frame keeps a line open.
const CLOSE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

impl ServerMachine {
    /// The server closes a connection; some codes end its session too.
    pub(super) fn close(&mut self, id: ConnId, code: Option<u16>, reason: &str) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        if conn.phase == Phase::Closing {
            return;
        }
        if conn.phase == Phase::Dialled {
            return self.drop_line(id, HowDropped::Fin);
        }
        self.send_rest_of_script(id);
        let (hung, session) = match self.conns.get(&id) {
            Some(conn) => (conn.hung, conn.session.or(conn.asked)),
            None => return,
        };
        self.detach(id);
        if let Some(session) = session
            && matches!(code, Some(4001 | 4003 | 4004 | 4007 | 4009..=4014))
        {
            self.end_session(session, "closed with a code that ends it");
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.phase = Phase::Closing;
        }
        self.note(
            Some(id),
            Seen::Closed {
                code,
                reason: reason.to_owned(),
            },
        );
        if !hung {
            self.actions.push_back(ServerAction::Close {
                conn: id,
                code,
                reason: reason.to_owned(),
            });
        }
        self.timers
            .set(self.now + CLOSE_PATIENCE, Timer::CloseUnanswered(id));
    }

    /// The server ends the line.
    pub(super) fn drop_line(&mut self, id: ConnId, how: HowDropped) {
        self.send_rest_of_script(id);
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        if conn.phase == Phase::Dialled {
            self.note_upgrade(id, None);
        }
        self.detach(id);
        self.note(Some(id), Seen::Dropped { how });
        self.conns.remove(&id);
        self.actions.push_back(ServerAction::Drop { conn: id, how });
    }

    pub(super) fn on_client_close(&mut self, id: ConnId, code: u16) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        if conn.deaf {
            return;
        }
        if conn.phase == Phase::Dialled {
            return self.drop_line(id, HowDropped::Fin);
        }
        let (answer, hung) = (conn.phase == Phase::Closing, conn.hung);
        self.note(Some(id), Seen::ClosedByClient { code, answer });
        if !answer {
            // Only a close frame that comes first says anything about the session.
            let session = conn_session(self, id);
            self.detach(id);
            if let (Some(session), 1000 | 1001) = (session, code) {
                self.end_session(session, "closed by the client with 1000 or 1001");
            }
            if !hung {
                self.actions.push_back(ServerAction::Close {
                    conn: id,
                    code: (code != 1005).then_some(code),
                    reason: String::new(),
                });
            }
        }
        self.conns.remove(&id);
        self.actions.push_back(ServerAction::Drop {
            conn: id,
            how: HowDropped::InOrder,
        });
    }

    pub(super) fn on_lost(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        if conn.phase == Phase::Dialled {
            self.note_upgrade(id, None);
        }
        self.detach(id);
        self.note(Some(id), Seen::Lost);
        self.conns.remove(&id);
    }

    /// The session goes on without the connection.
    pub(super) fn detach(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.asked = None;
        let Some(key) = conn.session.take() else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(&key)
            && session.conn == Some(id)
        {
            session.conn = None;
            session.detached_at = Some(self.now);
            self.timers
                .set(self.now + self.config.session_ttl, Timer::Expiry(key));
        }
    }

    pub(super) fn on_expiry(&mut self, key: SessionKey) {
        let ttl = self.config.session_ttl;
        let over = self
            .sessions
            .get(&key)
            .and_then(|session| session.detached_at)
            .is_some_and(|since| since + ttl <= self.now);
        if over {
            self.end_session(key, "timed out");
        }
    }

    /// The session can't be resumed any more; a connection that has it keeps running without.
    pub(super) fn end_session(&mut self, key: SessionKey, why: &'static str) {
        let Some(session) = self.sessions.remove(&key) else {
            return;
        };
        self.session_ids.remove(&session.id);
        if let Some(conn) = session.conn.and_then(|id| self.conns.get_mut(&id)) {
            conn.session = None;
        }
        self.note(
            session.conn,
            Seen::SessionEnded {
                session: session.id,
                why,
            },
        );
    }

    /// Op 9. With anything but `true` the session is gone; Identify or Resume may follow on the
    /// same connection.
    pub(super) fn invalid_session(&mut self, id: ConnId, body: &Value) {
        if let Some(conn) = self.conns.get_mut(&id)
            && (conn.hung || conn.silent)
        {
            // A stream loses no part of what is sent: a client that hears on has heard this as well.
            conn.unsaid = Some(body.clone());
            return;
        }
        self.send_rest_of_script(id);
        let session = conn_session(self, id);
        self.detach(id);
        if let (Some(key), true) = (session, *body != true) {
            self.end_session(key, "invalid session");
        }
        if let Some(conn) = self.conns.get_mut(&id)
            && !matches!(conn.phase, Phase::Closing | Phase::Dialled)
        {
            conn.phase = Phase::Fresh;
            conn.said_resumed = false;
        }
        let resumable = *body == true;
        self.note(Some(id), Seen::Invalid { resumable });
        self.send_control(id, 9, bodies::control(9, body));
    }
}

fn conn_session(machine: &ServerMachine, id: ConnId) -> Option<SessionKey> {
    let conn = machine.conns.get(&id)?;
    conn.session.or(conn.asked)
}
