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

    /// How long a new layout keeps what the old one has not delivered: 9 s. Less than the window, so that what
    /// is still kept when it takes over can still be recognized.
    pub const KEPT: Duration = Self::WINDOW.saturating_sub(Duration::from_secs(1));

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::DispatchHeader;
    use crate::{Envelope, EventId, PayloadBuf, ShardId};

    fn event(name: &str, body: &str) -> Dispatch<'static> {
        let text = format!(r#"{{"t":"{name}","s":1,"op":0,"d":{body}}}"#);
        let header = DispatchHeader::of(&Envelope::scan(text.as_bytes()).unwrap());
        let id = EventId {
            shard: ShardId::new(0, 1).unwrap(),
            session: 1,
            seq: 1,
        };
        Dispatch::new(id, header, PayloadBuf::from(bytes::Bytes::from(text)))
    }

    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn what_was_delivered_is_matched_as_often_as_it_was() {
        let now = now();
        let mut overlap = Overlap::new();
        let (one, two) = (event("A", "1"), event("A", "2"));
        assert!(!overlap.matches(now, &one));
        assert!(overlap.is_empty());
        for event in [&one, &two, &one] {
            overlap.delivered(now, event);
        }
        assert!(!overlap.is_empty());
        assert!(!overlap.matches(now, &event("B", "1")), "another name");
        assert!(!overlap.matches(now, &event("A", "3")), "another body");
        assert!(overlap.matches(now, &one));
        assert!(overlap.matches(now, &one));
        assert!(!overlap.matches(now, &one));
        assert!(overlap.matches(now, &two));
        assert!(overlap.is_empty());
    }

    #[test]
    fn after_ten_seconds_it_is_forgotten() {
        let now = now();
        let mut overlap = Overlap::new();
        let (one, two) = (event("A", "1"), event("A", "2"));
        overlap.delivered(now, &one);
        overlap.delivered(now + Duration::from_secs(1), &two);
        overlap.delivered(now + Duration::from_secs(2), &one);
        let later = now + Overlap::WINDOW + Duration::from_millis(1);
        assert!(overlap.matches(now + Overlap::WINDOW, &one), "the first");
        assert!(overlap.matches(later, &one), "the second");
        assert!(!overlap.matches(later, &one));
        assert!(overlap.matches(later, &two));
        overlap.delivered(later, &two);
        assert!(!overlap.matches(later + Duration::from_secs(11), &two));
        assert!(overlap.is_empty() && overlap.order.is_empty());
    }

    #[test]
    fn a_match_uses_up_the_oldest() {
        let now = now();
        let mut overlap = Overlap::new();
        let one = event("A", "1");
        overlap.delivered(now, &one);
        overlap.delivered(now + Duration::from_secs(5), &one);
        assert!(overlap.matches(now + Duration::from_secs(5), &one));
        // The one that is left is 8 s old; that its twin was older is of no interest.
        assert!(overlap.matches(now + Duration::from_secs(13), &one));
    }
}
