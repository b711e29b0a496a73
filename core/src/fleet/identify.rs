//! Decides who may identify when: one Identify a bucket in five seconds, first come first served, and
//! never more than the day's session starts.
//!
//! A bucket gives one turn at a time. With a gate of the user's own, a turn waits there first; it stays
//! with its shard and connection until its Identify has left, or until it is withdrawn.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::{ConnId, SessionStartLimit, ShardId};

/// Discord allows one Identify a bucket in 5 s, as seen at the gateway. Counted from the moment one left
/// here, 150 ms more cover a delay that varies by less than that.
pub(super) const BETWEEN: Duration = Duration::from_millis(5_150);
/// How long a window of session starts is.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// So much later than Discord says a window is over for sure: its milliseconds are cut, and in a day a clock is
/// wrong by some seconds. An Identify too early costs the token.
const SURELY: Duration = Duration::from_secs(5);
/// What Discord says is left may not count an Identify that left here so shortly before.
const ON_THE_WAY: Duration = Duration::from_secs(10);
/// Once starts look like a crash loop, one part in so many of the window's total is kept back.
const RESERVE: u32 = 10;
/// So many Identifies of one shard within so long look like one: the first and three more.
const LOOP_OF: usize = 4;
const LOOP_WITHIN: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Debug, Default)]
struct Bucket {
    waiting: VecDeque<(ShardId, ConnId)>,
    /// Given and not used yet: one, or several that shared no bucket until Discord changed their number.
    granted: Vec<Grant>,
    free_at: Option<Instant>,
}

/// A turn that was given.
#[derive(Clone, Copy, Debug)]
struct Grant {
    shard: ShardId,
    conn: ConnId,
    /// Still waits at the user's gate, and can be called back.
    at_gate: bool,
}

impl Bucket {
    fn is_free(&self, now: Instant) -> bool {
        self.granted.is_empty() && self.free_at.is_none_or(|at| at <= now)
    }

    /// The connection on which this shard held a turn, if it held one.
    fn forget(&mut self, shard: ShardId) -> Option<ConnId> {
        self.waiting.retain(|(waiting, _)| *waiting != shard);
        let held = self.granted.iter().position(|held| held.shard == shard)?;
        Some(self.granted.remove(held).conn)
    }
}

/// The identify turns of one bot, and its session starts.
#[derive(Clone, Debug)]
pub(super) struct IdentifyTurns {
    max_concurrency: u32,
    remaining: u32,
    total: u32,
    resets_at: Instant,
    /// Discord has not told of this window: it follows one that is over.
    assumed: bool,
    /// Starts look like a crash loop: some are kept back until the reset.
    careful: bool,
    /// Each turn waits at a gate of the user's own first.
    gated: bool,
    /// Those that have been used since their number last changed.
    buckets: BTreeMap<u32, Bucket>,
    /// When the others are free.
    unused_free_at: Option<Instant>,
    /// When each shard identified last, the latest few times.
    identified: BTreeMap<ShardId, VecDeque<Instant>>,
    /// Identifies that may still be on their way.
    latest: VecDeque<Instant>,
    /// Identifies since Discord told of this window, or since it was assumed. Any of them may count in the next
    /// one: the clock of a host that sleeps may stand still, and the window end long before it does here.
    sent: u32,
    /// So many of the window before may count in this one, or not; they are not among those that remain.
    in_doubt: u32,
}

impl IdentifyTurns {
    pub(super) fn new(limit: &SessionStartLimit, careful: bool, now: Instant) -> Self {
        Self {
            max_concurrency: limit.max_concurrency.max(1),
            remaining: limit.remaining,
            total: limit.total,
            resets_at: now + limit.reset_after,
            assumed: false,
            careful,
            gated: false,
            buckets: BTreeMap::new(),
            unused_free_at: None,
            identified: BTreeMap::new(),
            latest: VecDeque::new(),
            sent: 0,
            in_doubt: 0,
        }
    }

    pub(super) fn gated(self, gated: bool) -> Self {
        Self { gated, ..self }
    }

    /// Discord was asked again. Turns that wait keep their order, and no bucket is free earlier. Returns the
    /// turns that were at the gate and are not given any more.
    ///
    /// Its answer was given before Identifies that were on their way then have arrived: in the same window
    /// there are no more starts than were counted here, and fewer only if others spend them too.
    #[must_use]
    pub(super) fn refresh(
        &mut self,
        limit: &SessionStartLimit,
        now: Instant,
    ) -> Vec<(ShardId, ConnId)> {
        let resets_at = now + limit.reset_after;
        let same_window = now < self.resets_at && resets_at <= self.resets_at + ON_THE_WAY;
        self.forget_arrived(now);
        let unseen = count(&self.latest);
        let least = limit.remaining.saturating_sub(unseen);
        self.remaining = if same_window && self.remaining <= limit.remaining {
            least.max(self.remaining)
        } else {
            least
        };
        self.total = limit.total;
        self.resets_at = resets_at;
        self.assumed = false;
        self.sent = unseen;
        self.in_doubt = 0;
        let max_concurrency = limit.max_concurrency.max(1);
        if max_concurrency == self.max_concurrency {
            return Vec::new();
        }
        self.max_concurrency = max_concurrency;
        let old = std::mem::take(&mut self.buckets);
        let latest = old.values().filter_map(|bucket| bucket.free_at).max();
        self.unused_free_at = self.unused_free_at.max(latest);
        let granted = old.values().flat_map(|bucket| &bucket.granted).copied();
        let (at_gate, used): (Vec<_>, Vec<_>) = granted.partition(|grant| grant.at_gate);
        // A turn that was given may be used any moment: it cannot be called back, only waited for.
        for grant in used {
            self.bucket(grant.shard).granted.push(grant);
        }
        let mut called_back = Vec::new();
        for grant in at_gate {
            let Grant { shard, conn, .. } = grant;
            let bucket = self.bucket(shard);
            if bucket.is_free(now) {
                bucket.granted.push(grant);
            } else {
                bucket.waiting.push_back((shard, conn));
                called_back.push((shard, conn));
            }
        }
        for (shard, conn) in old.into_values().flat_map(|bucket| bucket.waiting) {
            self.bucket(shard).waiting.push_back((shard, conn));
        }
        called_back
    }

    /// The bucket of a shard. Only those that are used are kept: their number is whatever Discord says.
    fn bucket(&mut self, shard: ShardId) -> &mut Bucket {
        let number = self.bucket_of(shard);
        let free_at = self.unused_free_at;
        self.buckets.entry(number).or_insert_with(|| Bucket {
            free_at,
            ..Bucket::default()
        })
    }

    pub(super) fn bucket_of(&self, shard: ShardId) -> u32 {
        shard.bucket(self.max_concurrency)
    }

    pub(super) fn max_concurrency(&self) -> u32 {
        self.max_concurrency
    }

    /// A shard asks for its turn on this connection; an older request of it is void.
    pub(super) fn request(&mut self, shard: ShardId, conn: ConnId) {
        let bucket = self.bucket(shard);
        bucket.forget(shard);
        bucket.waiting.push_back((shard, conn));
    }

    /// A shard no longer wants its turn, or gives it back unused. The turn it held, if it held one.
    pub(super) fn withdraw(&mut self, shard: ShardId) -> Option<ConnId> {
        let bucket = self.bucket_of(shard);
        let bucket = self.buckets.get_mut(&bucket)?;
        bucket.forget(shard)
    }

    /// Whether this turn is still given.
    pub(super) fn is_granted(&self, shard: ShardId, conn: ConnId) -> bool {
        let bucket = self.buckets.get(&self.bucket_of(shard));
        let is_it = |grant: &Grant| (grant.shard, grant.conn) == (shard, conn);
        bucket.is_some_and(|bucket| bucket.granted.iter().any(is_it))
    }

    /// The gate has opened for this turn. False if it is no longer given.
    pub(super) fn opened(&mut self, shard: ShardId, conn: ConnId) -> bool {
        let bucket = self.bucket_of(shard);
        let granted = self.buckets.get_mut(&bucket);
        let mut granted = granted.into_iter().flat_map(|bucket| &mut bucket.granted);
        let grant = granted.find(|grant| (grant.shard, grant.conn) == (shard, conn));
        grant.map(|grant| grant.at_gate = false).is_some()
    }

    /// The gate failed: the turn goes to the end of its queue, and the bucket pauses.
    pub(super) fn put_back(&mut self, shard: ShardId, conn: ConnId, now: Instant) {
        let bucket = self.bucket(shard);
        bucket.forget(shard);
        bucket.waiting.push_back((shard, conn));
        bucket.free_at = bucket.free_at.max(Some(now + BETWEEN));
    }

    /// An Identify has left, be it that of a shard that was given up: Discord counts it.
    pub(super) fn count(&mut self, shard: ShardId, now: Instant) {
        let bucket = self.bucket(shard);
        bucket.forget(shard);
        bucket.free_at = Some(now + BETWEEN);
        self.remaining = self.remaining.saturating_sub(1);
        self.sent = self.sent.saturating_add(1);
        self.forget_arrived(now);
        self.latest.push_back(now);
    }

    fn forget_arrived(&mut self, now: Instant) {
        let arrived = |at: &Instant| now.saturating_duration_since(*at) >= ON_THE_WAY;
        while self.latest.front().is_some_and(arrived) {
            self.latest.pop_front();
        }
    }

    /// When the last Identify that left has surely arrived.
    pub(super) fn all_arrived_at(&self) -> Option<Instant> {
        self.latest.back().map(|at| *at + ON_THE_WAY)
    }

    /// The Identify of a shard that runs has left.
    pub(super) fn sent(&mut self, shard: ShardId, now: Instant) {
        self.count(shard, now);
        let times = self.identified.entry(shard).or_default();
        times.push_back(now);
        if times.len() > LOOP_OF {
            times.pop_front();
        }
        let first = times.front().filter(|_| times.len() == LOOP_OF);
        if first.is_some_and(|first| now.saturating_duration_since(*first) <= LOOP_WITHIN) {
            self.careful = true;
        }
    }

    /// This shard exists no longer.
    pub(super) fn forget(&mut self, shard: ShardId) {
        self.identified.remove(&shard);
    }

    /// How many starts there are to spend.
    pub(super) fn left(&self) -> u32 {
        self.remaining.saturating_sub(self.kept_back())
    }

    /// How many starts are kept back.
    pub(super) fn kept_back(&self) -> u32 {
        if self.careful {
            self.total / RESERVE
        } else {
            0
        }
    }

    /// How many remain, those counted that may have been spent in another window.
    pub(super) fn at_most(&self) -> u32 {
        self.remaining + self.in_doubt
    }

    pub(super) fn resets_at(&self) -> Instant {
        self.resets_at
    }

    /// Nobody can say more about this window.
    pub(super) fn take_as_told(&mut self) {
        self.assumed = false;
        self.in_doubt = 0;
    }

    /// Somebody waits for a start that there may be, of which Discord has not told.
    pub(super) fn may_have_more(&self, now: Instant) -> bool {
        self.assumed && self.waiting() > 0 && self.all_given(now)
    }

    /// When the next window has begun for sure.
    fn goes_on_at(&self) -> Instant {
        self.resets_at + SURELY
    }

    /// The next turn to give, now.
    pub(super) fn grant(&mut self, now: Instant) -> Option<(ShardId, ConnId)> {
        if now >= self.goes_on_at() {
            let total = self.total.max(1);
            let sent = std::mem::take(&mut self.sent).min(total);
            self.remaining = total - sent;
            self.forget_arrived(now);
            self.in_doubt = sent.saturating_sub(count(&self.latest));
            self.resets_at = now + WINDOW;
            self.assumed = true;
            self.careful = false;
        }
        if self.all_given(now) {
            return None;
        }
        for bucket in self.buckets.values_mut() {
            if bucket.is_free(now)
                && let Some((shard, conn)) = bucket.waiting.pop_front()
            {
                bucket.granted.push(Grant {
                    shard,
                    conn,
                    at_gate: self.gated,
                });
                return Some((shard, conn));
            }
        }
        None
    }

    /// Whether no start is left but for turns that are given and not yet used, which spend one each.
    fn all_given(&self, now: Instant) -> bool {
        let given = self.buckets.values().map(|bucket| bucket.granted.len());
        let given: usize = given.sum();
        let mut left = self.left();
        if now >= self.resets_at {
            // It may be the next window already, which has no more than its total, whatever this one is said to have.
            left = left.min(self.total.max(1).saturating_sub(self.sent));
        }
        usize::try_from(left).is_ok_and(|left| left <= given)
    }

    /// When to look again: a bucket becomes free, or the budget is reset.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if self.waiting() == 0 {
            return None;
        }
        if self.all_given(now) {
            return Some(self.goes_on_at());
        }
        self.buckets
            .values()
            .filter(|bucket| bucket.granted.is_empty() && !bucket.waiting.is_empty())
            .filter_map(|bucket| bucket.free_at)
            .min()
    }

    pub(super) fn waiting(&self) -> usize {
        self.buckets
            .values()
            .map(|bucket| bucket.waiting.len())
            .sum()
    }

    /// How long until Discord gives starts again, if there are none and somebody waits.
    pub(super) fn spent(&self, now: Instant) -> Option<Duration> {
        (self.left() == 0 && self.waiting() > 0)
            .then(|| self.resets_at.saturating_duration_since(now))
    }

    /// Nobody identifies any more. The turns that were held.
    pub(super) fn clear(&mut self) -> Vec<(ShardId, ConnId)> {
        std::mem::take(&mut self.buckets)
            .into_values()
            .flat_map(|bucket| bucket.granted)
            .map(|grant| (grant.shard, grant.conn))
            .collect()
    }
}

fn count<T>(of: impl IntoIterator<Item = T>) -> u32 {
    u32::try_from(of.into_iter().count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
