//! Whether a shard keeps its buffers from one turn to the next.
//!
//! As a rule it gives them back whenever nothing more has come. To one that gets messages all the time that
//! would be a few allocations with each; such a one keeps them until it has got none for a while, if not too
//! many others do so.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crate::permit::Permit;

/// Turns with messages that are less than this apart are what such a shard has.
const OFTEN: Duration = Duration::from_millis(100);
/// After so many messages in such turns it is one.
const MANY: usize = 256;
/// Turns whose messages are larger than this on average, in bytes as they came, do not count: they are the guilds of a
/// session that begins, as a rule, and a thousand may begin at once.
const LARGE: usize = 2 * 1024;
/// How often is looked whether it still is one.
const LOOK: Duration = Duration::from_secs(1);
/// So many shards of a process keep theirs.
const MOST: usize = 64;

/// How many do.
static KEEPING_NOW: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub(crate) struct Keeping {
    /// The last turn with messages.
    last: Option<Instant>,
    /// How many have come, with no long pause in between.
    messages: usize,
    /// And when to look again.
    permit: Option<(Permit, Instant)>,
    permits: &'static AtomicUsize,
}

impl Default for Keeping {
    fn default() -> Self {
        Self::among(&KEEPING_NOW)
    }
}

impl Keeping {
    fn among(permits: &'static AtomicUsize) -> Self {
        Self {
            last: None,
            messages: 0,
            permit: None,
            permits,
        }
    }

    /// A turn is over that has brought so many messages, and so many bytes of them.
    pub(crate) fn turn(&mut self, messages: usize, bytes: usize, now: Instant) {
        let last = self.last;
        let is_often = last.is_some_and(|last| now.saturating_duration_since(last) < OFTEN);
        if messages > 0 {
            self.last = Some(now);
            let before = if is_often { self.messages } else { 0 };
            let is_usual = bytes <= messages.saturating_mul(LARGE);
            self.messages = before.saturating_add(if is_usual { messages } else { 0 });
        }
        match &mut self.permit {
            Some((_, look_at)) if *look_at > now => {}
            Some((_, look_at)) if is_often => *look_at = now + LOOK,
            Some(_) => self.permit = None,
            None if is_often && messages > 0 && self.messages >= MANY => {
                let permit = Permit::take(self.permits, MOST);
                self.permit = permit.map(|permit| (permit, now + LOOK));
            }
            None => {}
        }
    }

    pub(crate) fn keeps(&self) -> bool {
        self.permit.is_some()
    }

    /// When it wants another turn.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.permit.as_ref().map(|(_, look_at)| *look_at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn only_who_gets_messages_all_the_time_keeps_and_not_for_long_afterwards() {
        static PERMITS: AtomicUsize = AtomicUsize::new(0);
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut rare = Keeping::among(&PERMITS);
        for at in [0, 100, 5000, 5200] {
            rare.turn(MANY, 0, ms(at));
            assert!(!rare.keeps() && rare.wake_at().is_none(), "{at}");
        }
        let mut busy = Keeping::among(&PERMITS);
        busy.turn(MANY - 3, (MANY - 3) * LARGE, ms(0));
        for at in [10, 20] {
            busy.turn(1, LARGE, ms(at));
            assert!(!busy.keeps(), "{at}");
        }
        busy.turn(100, 100 * LARGE + 1, ms(25));
        assert!(!busy.keeps(), "that is a session that begins");
        for at in (50..=2050).step_by(50) {
            busy.turn(1, LARGE, ms(at));
            assert!(busy.keeps(), "{at}");
        }
        // Turns of other kinds change nothing.
        busy.turn(0, 0, ms(2060));
        assert_eq!(busy.wake_at(), Some(ms(3050)));
        assert_eq!(PERMITS.load(Ordering::Relaxed), 1);
        busy.turn(0, 0, ms(3050));
        assert!(!busy.keeps());
        assert_eq!(PERMITS.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_so_many_keep() {
        static PERMITS: AtomicUsize = AtomicUsize::new(0);
        let now = Instant::now();
        let all: Vec<_> = (0..2 * MOST)
            .map(|_| {
                let mut one = Keeping::among(&PERMITS);
                one.turn(MANY, 0, now);
                one.turn(1, 0, now);
                one
            })
            .collect();
        assert_eq!(all.iter().filter(|one| one.keeps()).count(), MOST);
        drop(all);
        assert_eq!(PERMITS.load(Ordering::Relaxed), 0);
    }
}
