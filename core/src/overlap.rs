//! Two layouts of one bot hear the same events for a while. This knows what the old one has delivered
//! lately, so that the new one does not deliver it again.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::Dispatch;

/// A multiset of what was delivered within the last [`Overlap::WINDOW`].
///
/// Two events are the same if their names and bodies are, byte for byte. Of two equal ones that were
/// delivered, two are matched.
#[derive(Clone, Debug, Default)]
pub struct Overlap {
    delivered: BTreeMap<u64, VecDeque<Instant>>,
    /// The same, by time.
    order: VecDeque<(Instant, u64)>,
}

impl Overlap {
    /// How far apart two layouts may be: 10 s.
    pub const WINDOW: Duration = Duration::from_secs(10);

    /// Nothing was delivered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The old layout has delivered this.
    pub fn delivered(&mut self, now: Instant, event: &Dispatch<'_>) {
        self.expire(now);
        let hash = hash(event);
        self.delivered.entry(hash).or_default().push_back(now);
        self.order.push_back((now, hash));
    }

    /// The new layout has this. True if the old one has delivered it: each time it did is matched once.
    pub fn matches(&mut self, now: Instant, event: &Dispatch<'_>) -> bool {
        self.expire(now);
        let hash = hash(event);
        let Some(times) = self.delivered.get_mut(&hash) else {
            return false;
        };
        times.pop_front();
        if times.is_empty() {
            self.delivered.remove(&hash);
        }
        true
    }

    /// Whether nothing is left to be matched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delivered.is_empty()
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(at, hash)) = self.order.front()
            && now.saturating_duration_since(at) > Self::WINDOW
        {
            self.order.pop_front();
            // It may have been matched meanwhile.
            if let Some(times) = self.delivered.get_mut(&hash)
                && times.front() == Some(&at)
            {
                times.pop_front();
                if times.is_empty() {
                    self.delivered.remove(&hash);
                }
            }
        }
    }
}

fn hash(event: &Dispatch<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.name().hash(&mut hasher);
    event.data().hash(&mut hasher);
    hasher.finish()
}
