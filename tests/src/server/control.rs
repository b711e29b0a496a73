//! What a test or a command does to the running server.

use std::time::{Duration, Instant};

use super::io::{ConnId, Shard};
use super::{Phase, ServerMachine};
use crate::scenario::{Effect, RestFault};

/// Which sessions or connections something is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// All.
    All,
    /// Those of the shard with this number, whatever the total.
    Number(u64),
    /// Those of this shard.
    Shard(Shard),
    /// That of this connection.
    Conn(ConnId),
    /// The session of this id.
    Session(String),
}

/// What is known of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its id.
    pub id: String,
    /// Its shard.
    pub shard: Shard,
    /// Its intents.
    pub intents: u64,
    /// The last sequence number it gave.
    pub seq: u64,
    /// The connection it has now.
    pub conn: Option<ConnId>,
    /// Whether that connection had READY or RESUMED.
    pub live: bool,
}

impl ServerMachine {
    /// Gives a dispatch to all sessions the target names, whatever their intents; they keep it
    /// for a replay when they have no connection. Says how many there were.
    pub fn push_event(&mut self, now: Instant, target: &Target, name: &str, d: &str) -> usize {
        self.pass_time(now);
        let keys = self.keys(target);
        for key in &keys {
            self.push(*key, name, d);
        }
        keys.len()
    }

    /// Sends each session so many events of the corpus as fast as its line takes them, then a
    /// dispatch named `end` with an empty body.
    pub fn flood(&mut self, now: Instant, target: &Target, events: u64, end: Option<&str>) {
        self.pass_time(now);
        for key in self.keys(target) {
            if let Some(session) = self.sessions.get_mut(&key) {
                session.flood = session.flood.saturating_add(events);
                session.flood_end = end.map(Into::into);
                if let Some(conn) = session.conn {
                    self.enqueue(conn);
                }
            }
        }
    }

    /// Plays effects on all open connections the target names, and those that are about the
    /// whole server once.
    pub fn play(&mut self, now: Instant, target: &Target, effects: &[Effect]) {
        self.pass_time(now);
        let conns: Vec<ConnId> = match target {
            Target::Conn(conn) => vec![*conn],
            target => self
                .conns
                .values()
                .filter(|conn| match target {
                    Target::All => conn.phase != Phase::Dialled,
                    Target::Number(number) => {
                        conn.shard.is_some_and(|shard| shard.number == *number)
                    }
                    Target::Shard(shard) => conn.shard == Some(*shard),
                    Target::Session(id) => {
                        conn.session.is_some() && conn.session == self.session_ids.get(id).copied()
                    }
                    Target::Conn(_) => false,
                })
                .map(|conn| conn.id)
                .collect(),
        };
        self.start_script(None, effects.to_vec().into(), false, None);
        for conn in conns {
            self.start_script(Some(conn), effects.to_vec().into(), true, None);
        }
    }

    /// From now on each session gets so many events a second.
    pub fn set_rate(&mut self, now: Instant, rate: f64) {
        self.pass_time(now);
        let running = self.config.rate > 0.0;
        self.config.rate = rate;
        let keys = self.keys(&Target::All);
        for key in keys {
            if running {
                // Its timer is set already.
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.rate_since = self.now;
                    session.rate_done = 0;
                }
            } else {
                self.start_rate(key);
            }
        }
    }

    /// The addresses clients reach the server at.
    pub fn set_urls(&mut self, main: String, resume: String) {
        self.config.main_url = main;
        self.config.resume_url = resume;
    }

    /// Changes the settings of the running server.
    pub fn configure(&mut self, change: impl FnOnce(&mut super::ServerConfig)) {
        change(&mut self.config);
    }

    /// How long until there are all session starts again.
    pub fn starts_renewed_in(&mut self, now: Instant) -> Duration {
        self.pass_time(now);
        self.remaining();
        self.window_end - self.now
    }

    /// The next REST answer is this one.
    pub fn push_rest_fault(&mut self, fault: RestFault) {
        self.rest_faults.push_back(fault);
    }

    /// All sessions that can be resumed or are running.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.sessions
            .values()
            .map(|session| SessionInfo {
                id: session.id.clone(),
                shard: session.shard,
                intents: session.intents,
                seq: session.seq,
                conn: session.conn,
                live: session
                    .conn
                    .is_some_and(|conn| self.phase(conn) == Some(Phase::Live)),
            })
            .collect()
    }

    /// All connections the server still has.
    pub fn open_connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.conns.keys().copied()
    }

    fn keys(&self, target: &Target) -> Vec<u64> {
        // The two that need no search.
        let one = match target {
            Target::Conn(conn) => Some(self.conns.get(conn).and_then(|conn| conn.session)),
            Target::Session(id) => Some(self.session_ids.get(id).copied()),
            _ => None,
        };
        if let Some(key) = one {
            return key
                .filter(|key| self.sessions.contains_key(key))
                .into_iter()
                .collect();
        }
        self.sessions
            .values()
            .filter(|session| match target {
                Target::All => true,
                Target::Number(number) => session.shard.number == *number,
                Target::Shard(shard) => session.shard == *shard,
                Target::Conn(conn) => session.conn == Some(*conn),
                Target::Session(id) => session.id == *id,
            })
            .map(|session| session.key)
            .collect()
    }
}
