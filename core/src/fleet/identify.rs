//! Decides who may identify when: one Identify a bucket in five seconds, first come first served, and
//! never more than the day's session starts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::{ConnId, SessionStartLimit, ShardId};

/// Discord allows one Identify a bucket in 5 s, as seen at the gateway. Counted from the moment one left
/// here, 150 ms more cover a delay that varies by less than that.
const BETWEEN: Duration = Duration::from_millis(5_150);
/// How long a window of session starts is.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Default)]
struct Bucket {
    waiting: VecDeque<(ShardId, ConnId)>,
    granted: Option<(ShardId, ConnId)>,
    free_at: Option<Instant>,
}

/// The identify turns of one bot.
#[derive(Clone, Debug)]
pub(crate) struct IdentifyTurns {
    max_concurrency: u32,
    remaining: u32,
    total: u32,
    resets_at: Instant,
    buckets: BTreeMap<u32, Bucket>,
}

impl IdentifyTurns {
    pub(crate) fn new(limit: &SessionStartLimit, now: Instant) -> Self {
        Self {
            max_concurrency: limit.max_concurrency.max(1),
            remaining: limit.remaining,
            total: limit.total,
            resets_at: now + limit.reset_after,
            buckets: BTreeMap::new(),
        }
    }

    pub(crate) fn bucket_of(&self, shard: ShardId) -> u32 {
        shard.bucket(self.max_concurrency)
    }

    /// A shard asks for its turn on this connection; an older request of it is void.
    pub(crate) fn request(&mut self, shard: ShardId, conn: ConnId) {
        self.withdraw(shard);
        let bucket = self.bucket_of(shard);
        self.buckets
            .entry(bucket)
            .or_default()
            .waiting
            .push_back((shard, conn));
    }

    /// A shard no longer wants its turn, or gives it back unused.
    pub(crate) fn withdraw(&mut self, shard: ShardId) {
        let bucket = self.bucket_of(shard);
        if let Some(bucket) = self.buckets.get_mut(&bucket) {
            bucket.waiting.retain(|(waiting, _)| *waiting != shard);
            bucket.granted.take_if(|(granted, _)| *granted == shard);
        }
    }

    /// An Identify has left.
    pub(crate) fn sent(&mut self, shard: ShardId, now: Instant) {
        let key = self.bucket_of(shard);
        let bucket = self.buckets.entry(key).or_default();
        bucket.waiting.retain(|(waiting, _)| *waiting != shard);
        bucket.granted.take_if(|(granted, _)| *granted == shard);
        bucket.free_at = Some(now + BETWEEN);
        self.remaining = self.remaining.saturating_sub(1);
    }

    /// The next turn to give, now.
    pub(crate) fn grant(&mut self, now: Instant) -> Option<(ShardId, ConnId)> {
        if now >= self.resets_at {
            self.remaining = self.total.max(1);
            self.resets_at = now + WINDOW;
        }
        // Turns given and not yet used will spend a start each.
        let given = self
            .buckets
            .values()
            .filter(|bucket| bucket.granted.is_some())
            .count();
        if usize::try_from(self.remaining).is_ok_and(|remaining| remaining <= given) {
            return None;
        }
        for bucket in self.buckets.values_mut() {
            let free = bucket.free_at.is_none_or(|at| at <= now);
            if bucket.granted.is_none()
                && free
                && let Some(next) = bucket.waiting.pop_front()
            {
                bucket.granted = Some(next);
                return Some(next);
            }
        }
        None
    }

    /// When to look again: a bucket becomes free, or the budget is reset.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.waiting() == 0 {
            return None;
        }
        if self.remaining == 0 {
            return Some(self.resets_at);
        }
        self.buckets
            .values()
            .filter(|bucket| bucket.granted.is_none() && !bucket.waiting.is_empty())
            .filter_map(|bucket| bucket.free_at)
            .min()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.buckets
            .values()
            .map(|bucket| bucket.waiting.len())
            .sum()
    }

    /// How long until there are starts again, if there are none and somebody waits.
    pub(crate) fn spent(&self, now: Instant) -> Option<Duration> {
        (self.remaining == 0 && self.waiting() > 0)
            .then(|| self.resets_at.saturating_duration_since(now))
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
    }
}
