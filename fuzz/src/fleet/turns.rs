//! Who may identify: one of a bucket in 5 s, and never more than there are session starts.

use std::time::{Duration, Instant};

use shardwright_core::{ConnId, SessionStartLimit, ShardId};

use super::lives::{Lives, Turn};

const APART: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
struct Window {
    left: u32,
    total: u32,
    resets_at: Instant,
    max_concurrency: u32,
}

#[derive(Debug, Default)]
pub(super) struct Turns {
    window: Option<Window>,
    /// Every Identify.
    sent: Vec<(ShardId, Instant)>,
}

impl Turns {
    /// Discord says how many sessions may begin.
    pub(super) fn know(&mut self, limit: &SessionStartLimit, now: Instant) {
        self.window = Some(Window {
            left: limit.remaining,
            total: limit.total,
            resets_at: now + limit.reset_after,
            max_concurrency: limit.max_concurrency,
        });
        self.look_at_the_clock(now);
    }

    /// Discord was asked once more, for a re-shard.
    pub(super) fn know_again(&mut self, limit: &SessionStartLimit, now: Instant) {
        if self.window.is_some() {
            self.know(limit, now);
        }
    }

    /// Once the window is over all starts are there again.
    pub(super) fn look_at_the_clock(&mut self, now: Instant) {
        if let Some(window) = self
            .window
            .as_mut()
            .filter(|window| now >= window.resets_at)
        {
            window.left = window.total.max(1);
            window.resets_at = now + WINDOW;
        }
    }

    /// A turn leaves the fleet: for the shard itself, or for the gate before it.
    pub(super) fn given(
        &mut self,
        shard: ShardId,
        conn: ConnId,
        to: Turn,
        lives: &mut Lives,
        now: Instant,
    ) {
        let held = |turn| matches!(turn, Turn::AtGate | Turn::Granted);
        let life = lives.running(shard).expect("a turn for a shard that runs");
        assert_eq!(life.conn(), conn, "a turn belongs to a connection");
        let before = std::mem::replace(&mut life.turn, to);
        if before == Turn::AtGate {
            return;
        }
        assert_eq!(before, Turn::Wanted, "{life:?}");
        let window = self.window.as_mut().expect("limits are known first");
        let out = lives
            .0
            .iter()
            .filter(|life| !life.ended && held(life.turn))
            .count();
        assert!(
            out as u64 <= u64::from(window.left),
            "{out} turns and {} starts",
            window.left
        );
        let bucket = shard.bucket(window.max_concurrency);
        let same = |other: ShardId| other.bucket(window.max_concurrency) == bucket;
        let others = lives
            .0
            .iter()
            .filter(|life| life.shard != shard && !life.ended && same(life.shard));
        for other in others {
            assert!(!held(other.turn), "two turns of one bucket: {other:?}");
        }
        for (other, at) in self.sent.iter().filter(|(other, _)| same(*other)) {
            let apart = now.saturating_duration_since(*at);
            assert!(apart >= APART, "{shard} {apart:?} after {other}");
        }
    }

    /// A turn is given no longer: its shard waits again, if it still wants it.
    pub(super) fn called_back(&self, shard: ShardId, conn: ConnId, lives: &mut Lives) {
        if let Some(life) = lives.running(shard)
            && life.turn == Turn::AtGate
            && life.conn() == conn
        {
            life.turn = Turn::Wanted;
        }
    }

    /// An Identify has left.
    pub(super) fn sent(&mut self, shard: ShardId, now: Instant) {
        self.sent.push((shard, now));
        if let Some(window) = &mut self.window {
            window.left = window.left.saturating_sub(1);
        }
    }
}
