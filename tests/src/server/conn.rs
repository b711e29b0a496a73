//! What the machine knows of one connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::compress::Encoder;
use super::io::{ConnId, Shard};
use super::session::SessionKey;
use super::shape::Split;
use super::upgrade::Query;
use crate::scenario::{Damage, Ending, Listener};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The upgrade is not answered yet.
    Dialled,
    /// No session: Identify or Resume may come.
    Fresh,
    /// Identify or Resume came and is not answered yet.
    Asked,
    /// READY or RESUMED is queued as the dispatch `until`.
    Starting {
        until: u64,
        resumed_from: Option<u64>,
    },
    /// READY or RESUMED was sent.
    Live,
    /// Another connection resumed the session.
    Superseded,
    /// The server sent a close frame.
    Closing,
}

/// Messages that travel together.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) left: usize,
    pub(super) text: bool,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    /// The how-manieth of all.
    pub(super) nth: u64,
    pub(super) listener: Listener,
    pub(super) target: String,
    pub(super) query: Query,
    pub(super) phase: Phase,
    pub(super) shard: Option<Shard>,
    /// The how-manieth of its shard.
    pub(super) shard_nth: u64,
    pub(super) session: Option<SessionKey>,
    /// The session a Resume asked for.
    pub(super) asked: Option<SessionKey>,
    pub(super) encoder: Encoder,
    /// The last dispatch of the session that was sent here.
    pub(super) cursor: u64,
    /// The dispatch a script wants to be sent before what follows.
    pub(super) must_reach: u64,
    pub(super) in_flight: usize,
    pub(super) queued: bool,
    pub(super) hello: bool,
    pub(super) interval: Option<Duration>,
    pub(super) last_beat: Instant,
    pub(super) beats: u64,
    pub(super) early_beat: Option<u64>,
    pub(super) sends: VecDeque<Instant>,
    pub(super) presences: VecDeque<Instant>,
    /// Acknowledgements left out; none is all.
    pub(super) withhold: Option<u32>,
    pub(super) hung: bool,
    /// Half a message is on the line: nothing can follow.
    pub(super) torn: bool,
    pub(super) silent: bool,
    pub(super) deaf: bool,
    /// It was sent a RESUMED, if only one of an attempt before it that came to nothing: whoever hears that
    /// takes the session for resumed.
    pub(super) said_resumed: bool,
    /// The body of an op 9 that waits until payloads go out again.
    pub(super) unsaid: Option<Value>,
    pub(super) cut: Option<(usize, Ending)>,
    pub(super) split: Option<Split>,
    pub(super) merge: Option<Merge>,
    pub(super) damage: Option<(Damage, u32)>,
}

impl Conn {
    pub(super) fn new(
        id: ConnId,
        nth: u64,
        listener: Listener,
        target: String,
        query: Query,
        now: Instant,
    ) -> Self {
        Self {
            id,
            nth,
            listener,
            target,
            query,
            phase: Phase::Dialled,
            shard: None,
            shard_nth: 0,
            session: None,
            asked: None,
            encoder: Encoder::Plain,
            cursor: 0,
            must_reach: 0,
            in_flight: 0,
            queued: false,
            hello: false,
            interval: None,
            last_beat: now,
            beats: 0,
            early_beat: None,
            sends: VecDeque::new(),
            presences: VecDeque::new(),
            withhold: Some(0),
            hung: false,
            torn: false,
            silent: false,
            deaf: false,
            said_resumed: false,
            unsaid: None,
            cut: None,
            split: None,
            merge: None,
            damage: None,
        }
    }

    /// Whether payloads go out.
    pub(super) fn speaks(&self) -> bool {
        !(self.hung || self.silent || matches!(self.phase, Phase::Closing | Phase::Dialled))
    }

    /// Whether the next acknowledgement is left out; counts it.
    pub(super) fn withholds(&mut self) -> bool {
        match &mut self.withhold {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// How the next message is damaged; counts it.
    pub(super) fn next_damage(&mut self) -> Option<Damage> {
        let (how, left) = self.damage.as_mut()?;
        let how = *how;
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.damage = None;
        }
        Some(how)
    }

    /// The websocket-level sizes of the next message at one level; counts it.
    pub(super) fn next_split(&mut self) -> Option<Split> {
        let split = self.split.as_mut()?;
        let now = split.clone();
        if let Some(left) = &mut split.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.split = None;
            }
        }
        Some(now)
    }
}

/// Counts what came within a sliding window, this one included.
pub(super) fn within(times: &mut VecDeque<Instant>, now: Instant, window: Duration) -> usize {
    while times.front().is_some_and(|first| *first + window <= now) {
        times.pop_front();
    }
    times.push_back(now);
    times.len()
}

/// A ping's payload of so many bytes.
pub(super) fn ping_bytes(length: usize) -> Bytes {
    (0..length.min(125)).map(|n| n as u8).collect()
}
