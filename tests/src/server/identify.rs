//! New sessions and resumed ones: checks, the identify limits, the answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::client::{self, Identify, Refused, Resume};
use super::compress::{Encoder, Transport};
use super::conn::Phase;
use super::director::{Act, Moment};
use super::io::{ConnId, Shard};
use super::log::{Seen, Violation};
use super::session::{NewSession, Session};
use super::timers::Timer;
use super::{ServerMachine, bodies, intents};

/// Guilds a shard may have.
const MAX_GUILDS: u64 = 2500;
/// The shortest time between two batches of events.
const RATE_TICK: Duration = Duration::from_millis(10);
/// The most events of one batch; what is beyond is left out.
const RATE_BATCH: u64 = 10_000;

impl ServerMachine {
    pub(super) fn on_identify(&mut self, id: ConnId, identify: Identify) {
        let (shard, granted) = match self.check_identify(&identify) {
            Ok(good) => good,
            Err(refused) => return self.refuse(id, refused),
        };
        let early_beat = self.name_shard(id, shard);
        if let Some(seq) = early_beat {
            self.violation(id, Violation::BeatSequence(seq));
        }
        let bucket = shard.number % self.config.max_concurrency.max(1);
        let bots = self.bots.len() as u64;
        let bot = *self.bots.entry(bare(&identify.token)).or_insert(bots);
        self.note(
            Some(id),
            Seen::Identify {
                bot,
                bucket,
                intents: granted,
                presence: identify.presence,
            },
        );
        let last = self.buckets.insert((bot, bucket), self.now);
        if self.remaining() == 0 {
            self.violation(id, Violation::BudgetSpent);
            return self.reset_token(id);
        }
        self.config.remaining -= 1;
        let after = last.map(|last| self.now - last);
        if let Some(after) = after.filter(|after| *after < self.config.identify_pause) {
            self.violation(id, Violation::IdentifiedTooFast { bucket, after });
            return self.invalid_session(id, &false.into());
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.phase = Phase::Asked;
        }
        let act = Act::Ready(Box::new(identify), shard, granted);
        self.moment(id, Moment::Identify, Some(act));
    }

    fn check_identify(&self, identify: &Identify) -> Result<(Shard, u64), Refused> {
        let refuse = |code, what| Err(Refused { code, what });
        if self.revoked || !self.config.tokens.accept(&identify.token) {
            return refuse(4004, Violation::Token);
        }
        let multiple = self.config.shard_multiple.max(1);
        let Some(shard) = client::shard(identify.shard.as_ref())
            .filter(|shard| shard.total.is_multiple_of(multiple))
        else {
            return refuse(4010, Violation::Shard);
        };
        if let Some(guilds) = self.config.total_guilds
            && guilds.div_ceil(shard.total) > MAX_GUILDS
        {
            return refuse(4011, Violation::ShardingRequired);
        }
        let Some(asked) = identify.intents.as_ref().and_then(Value::as_u64) else {
            return refuse(4013, Violation::Intents);
        };
        if asked & !intents::ALL != 0 {
            return refuse(4013, Violation::Intents);
        }
        if asked & !self.config.allowed_intents != 0 {
            return refuse(4014, Violation::DisallowedIntents);
        }
        Ok((shard, asked))
    }

    /// What is left of the identify window, which may just have been renewed.
    pub(super) fn remaining(&mut self) -> u64 {
        let window = self.config.window.max(Duration::from_millis(1));
        while self.window_end <= self.now {
            self.window_end += window;
            self.config.remaining = self.config.total;
        }
        self.config.remaining
    }

    /// What Discord does when a bot starts too many sessions.
    fn reset_token(&mut self, id: ConnId) {
        self.revoked = true;
        self.close(
            id,
            Some(4004),
            "too many session starts: the token is reset",
        );
        let others: Vec<_> = self
            .conns
            .values()
            .filter(|conn| conn.session.is_some())
            .map(|conn| conn.id)
            .collect();
        for other in others {
            self.close(other, Some(4003), "the token was reset");
        }
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.end_session(session, "the token was reset");
        }
    }

    /// Notes which shard a connection is; gives the sequence number of beats before that.
    fn name_shard(&mut self, id: ConnId, shard: Shard) -> Option<u64> {
        let nth = self.shard_conns.entry(shard).or_insert(0);
        let conn = self.conns.get_mut(&id)?;
        if conn.shard != Some(shard) {
            *nth += 1;
            conn.shard = Some(shard);
            conn.shard_nth = *nth;
        }
        conn.early_beat.take()
    }

    /// READY and the guilds.
    pub(super) fn make_ready(
        &mut self,
        id: ConnId,
        identify: Identify,
        shard: Shard,
        granted: u64,
    ) {
        let id_text = self.rng.hex(16);
        let draw = self.draw_for(granted);
        let level = self.config.compression_level;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if identify.compress && conn.query.compress == Transport::Plain {
            conn.encoder = Encoder::Payload(level);
        }
        self.next_session += 1;
        let key = self.next_session;
        let session = Session::new(NewSession {
            key,
            id: id_text.clone(),
            shard,
            token: bare(&identify.token),
            intents: granted,
            query: conn.query,
            conn: id,
            draw,
            now: self.now,
        });
        conn.session = Some(key);
        conn.cursor = 0;
        conn.must_reach = 0;
        conn.phase = Phase::Starting {
            until: 1,
            resumed_from: None,
        };
        self.sessions.insert(key, session);
        self.session_ids.insert(id_text.clone(), key);
        let guilds = bodies::guilds(&self.config, shard);
        let echoed = identify.shard.as_ref().map(|_| shard);
        let ready = bodies::ready(&self.config, &id_text, echoed, &guilds);
        self.push(key, "READY", &ready);
        if let Some(url) = &self.config.ready_resume_url {
            let (session, url) = (id_text.clone(), url.as_str().unwrap_or_default().to_owned());
            self.note(Some(id), Seen::Misnamed { session, url });
        }
        if self.config.send_guilds && intents::pass(granted, "GUILD_CREATE") {
            for guild in guilds {
                let body = bodies::guild_create(&self.config, guild);
                self.push(key, "GUILD_CREATE", &body);
            }
        }
    }

    fn draw_for(&mut self, granted: u64) -> Arc<crate::corpus::Draw> {
        let corpus = &self.corpus;
        let draw = self
            .draws
            .entry(granted)
            .or_insert_with(|| Arc::new(corpus.draw_from(|name| intents::pass(granted, name))));
        Arc::clone(draw)
    }

    pub(super) fn on_resume(&mut self, id: ConnId, resume: Resume) {
        if self.revoked || !self.config.tokens.accept(&resume.token) {
            let refused = Refused {
                code: 4004,
                what: Violation::Token,
            };
            return self.refuse(id, refused);
        }
        let key = self.session_ids.get(&resume.session).copied();
        if let Some(shard) = key
            .and_then(|key| self.sessions.get(&key))
            .map(|session| session.shard)
        {
            self.name_shard(id, shard);
        }
        self.note(
            Some(id),
            Seen::Resume {
                session: resume.session.clone(),
                seq: resume.seq,
            },
        );
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.asked = key;
            conn.phase = Phase::Asked;
        }
        self.moment(id, Moment::Resume, Some(Act::Replay(resume)));
    }

    /// The replay and RESUMED, or why there is none.
    pub(super) fn replay(&mut self, id: ConnId, resume: &Resume) {
        let Some(query) = self.conns.get(&id).map(|conn| conn.query) else {
            return;
        };
        let session = self
            .session_ids
            .get(&resume.session)
            .and_then(|key| self.sessions.get(key))
            .filter(|session| session.token == bare(&resume.token));
        let fault = match (session, resume.seq) {
            (None, _) => Some(Violation::UnknownSession),
            (Some(_), None) => Some(Violation::ResumeWithoutSequence),
            (Some(session), Some(named)) if named > session.sent => {
                let sent = session.sent;
                let what = Violation::ResumeSequence { named, sent };
                return self.refuse(id, Refused { code: 4007, what });
            }
            (Some(session), _) if self.config.resume_same_query && session.query != query => {
                Some(Violation::OtherQuery)
            }
            _ => None,
        };
        if let Some(fault) = fault {
            self.violation(id, fault);
            return self.invalid_session(id, &false.into());
        }
        let (Some(session), Some(seq)) = (session, resume.seq) else {
            return;
        };
        if !session.can_replay_after(seq) {
            return self.invalid_session(id, &false.into());
        }
        self.attach(id, session.key, seq);
    }

    fn attach(&mut self, id: ConnId, key: u64, seq: u64) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let before = session.conn.replace(id);
        session.detached_at = None;
        let until = session.seq + 1;
        if let Some(old) = before.and_then(|old| self.conns.get_mut(&old)) {
            old.session = None;
            if old.phase != Phase::Closing {
                old.phase = Phase::Superseded;
            }
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.asked = None;
            conn.session = Some(key);
            conn.cursor = seq;
            conn.must_reach = 0;
            conn.phase = Phase::Starting {
                until,
                resumed_from: Some(seq),
            };
        }
        self.push(key, "RESUMED", r#"{"_trace":["[\"emulated\",{}]"]}"#);
    }

    /// Events come from now on at the configured rate.
    pub(super) fn start_rate(&mut self, key: u64) {
        let rate = self.config.rate;
        if !(rate.is_finite() && rate > 0.0) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.rate_since = self.now;
            session.rate_done = 0;
            self.timers.set(self.now + pace(rate), Timer::Rate(key));
        }
    }

    pub(super) fn on_rate(&mut self, key: u64) {
        let rate = self.config.rate;
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        if !(rate.is_finite() && rate > 0.0) {
            return;
        }
        let due = ((self.now - session.rate_since).as_secs_f64() * rate) as u64;
        let count = due.saturating_sub(session.rate_done);
        session.rate_done = session.rate_done.max(due);
        let draw = Arc::clone(&session.draw);
        for _ in 0..count.min(RATE_BATCH) {
            if let Some(payload) = draw.next(&mut self.rng) {
                self.push(key, payload.name(), payload.body());
            }
        }
        self.timers.set(self.now + pace(rate), Timer::Rate(key));
    }
}

fn pace(rate: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate)
        .unwrap_or(Duration::from_secs(3600))
        .clamp(RATE_TICK, Duration::from_secs(3600))
}

fn bare(token: &str) -> String {
    token.strip_prefix("Bot ").unwrap_or(token).to_owned()
}
