//! Who may read when all want to: when a bot starts, each of its shards gets megabytes at once.
//!
//! A shard whose turn ends while there is more to read holds a part of a message, in a buffer that has grown for
//! it, until its next turn. If all took their turns in order, all would; so only so many may be amid, and
//! the others begin, in the order they came, when one of those has taken all there was, or has had its share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// So many shards of a bot are amid, where that is enough for all threads that may drive them.
const MOST: usize = 32;
/// After so many turns another may begin.
const SHARE: u32 = 128;
/// So long at most is waited, then one turn is taken all the same: those who are amid may be held up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all shards of a bot share.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    most: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Those who are amid, and those who may be and have not asked since.
    amid: usize,
    tickets: u64,
    waiting: BTreeMap<u64, Waker>,
    let_in: BTreeSet<u64>,
}

impl Default for Gate {
    fn default() -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        Self::for_so_many(MOST.max(4 * threads))
    }
}

impl Gate {
    fn for_so_many(most: usize) -> Self {
        let state = Arc::default();
        Self { most, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side leaves plain data behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One is not amid any more.
    fn release(&self) {
        let mut state = self.lock();
        let Some((ticket, waker)) = state.waiting.pop_first() else {
            state.amid -= 1;
            return;
        };
        state.let_in.insert(ticket);
        drop(state);
        // Not under the lock: a waker may run its task on the spot.
        waker.wake();
    }
}

/// Where a shard is.
#[derive(Debug)]
enum Place {
    /// Has nothing to read, as far as it knows.
    Away,
    /// Waits with this ticket, until then.
    Waits(u64, Instant),
    /// May take so many more turns.
    Amid(u32),
}

/// One shard among all.
#[derive(Debug)]
pub(crate) struct Rush {
    place: Place,
    gate: Gate,
}

impl Rush {
    pub(crate) fn at(gate: Gate) -> Self {
        let place = Place::Away;
        Self { place, gate }
    }

    /// Whether a turn may read. Else the waker is woken when one may.
    pub(crate) fn may_read(&mut self, now: Instant, cx: &Context<'_>) -> bool {
        if let Place::Amid(left) = &mut self.place {
            if let Some(less) = left.checked_sub(1) {
                *left = less;
                return true;
            }
            self.rest();
        }
        let mut state = self.gate.lock();
        let (ticket, until) = match self.place {
            Place::Waits(ticket, until) => (ticket, until),
            _ if state.amid < self.gate.most => {
                state.amid += 1;
                drop(state);
                self.place = Place::Amid(SHARE - 1);
                return true;
            }
            _ => {
                state.tickets += 1;
                (state.tickets, now + PATIENCE)
            }
        };
        if state.let_in.remove(&ticket) {
            self.place = Place::Amid(SHARE - 1);
            return true;
        }
        if until <= now {
            // It keeps its place in the line.
            self.place = Place::Waits(ticket, now + PATIENCE);
            return true;
        }
        self.place = Place::Waits(ticket, until);
        state.waiting.insert(ticket, cx.waker().clone());
        false
    }

    /// Nothing more has come.
    pub(crate) fn rest(&mut self) {
        match std::mem::replace(&mut self.place, Place::Away) {
            Place::Away => {}
            Place::Amid(_) => self.gate.release(),
            Place::Waits(ticket, _) => {
                let mut state = self.gate.lock();
                state.waiting.remove(&ticket);
                let was_let_in = state.let_in.remove(&ticket);
                drop(state);
                if was_let_in {
                    self.gate.release();
                }
            }
        }
    }

    /// When it wants another turn.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match self.place {
            Place::Waits(_, until) => Some(until),
            _ => None,
        }
    }
}

impl Drop for Rush {
    fn drop(&mut self) {
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// So many shards that all want to read, and how often each was woken.
    struct Shards(Vec<(Rush, Arc<Bell>)>);

    impl Shards {
        fn new(gate: &Gate, count: usize) -> Self {
            let one = || (Rush::at(gate.clone()), Arc::new(Bell::default()));
            Self((0..count).map(|_| one()).collect())
        }

        fn ask(&mut self, index: usize, now: Instant) -> bool {
            let (rush, bell) = &mut self.0[index];
            let waker = Waker::from(Arc::clone(bell));
            rush.may_read(now, &Context::from_waker(&waker))
        }

        fn rung(&self) -> Vec<usize> {
            let rung = self.0.iter().map(|(_, bell)| bell.0.load(Ordering::SeqCst));
            let rung = rung.enumerate().filter(|(_, rung)| *rung > 0);
            rung.map(|(index, _)| index).collect()
        }
    }

    #[test]
    fn only_so_many_are_amid_and_the_others_follow_in_order() {
        let gate = Gate::for_so_many(MOST);
        let now = Instant::now();
        let mut shards = Shards::new(&gate, MOST + 3);
        let may: Vec<_> = (0..MOST + 3).map(|index| shards.ask(index, now)).collect();
        assert_eq!(may.iter().filter(|may| **may).count(), MOST);
        assert_eq!(may[MOST..], [false; 3]);
        // Asking again changes nothing.
        assert!(shards.ask(0, now) && !shards.ask(MOST + 2, now));
        assert!(shards.rung().is_empty());
        shards.0[7].0.rest();
        assert_eq!(shards.rung(), [MOST]);
        assert!(!shards.ask(MOST + 1, now), "it is not its turn yet");
        assert!(!shards.ask(7, now), "it is behind the others now");
        assert!(shards.ask(MOST, now));
        shards.0[8].0.rest();
        assert_eq!(shards.rung(), [MOST, MOST + 1]);
        // One that is let in and gone passes it on.
        drop(shards.0.remove(MOST + 1));
        assert_eq!(shards.rung(), [MOST, MOST + 1]);
        assert!(shards.ask(MOST + 1, now), "formerly the last");
        drop(shards);
        assert_eq!(gate.lock().amid, 0);
        assert!(gate.lock().waiting.is_empty() && gate.lock().let_in.is_empty());
    }

    #[test]
    fn after_its_share_a_shard_lets_another_in() {
        let gate = Gate::for_so_many(MOST);
        let now = Instant::now();
        let mut shards = Shards::new(&gate, MOST + 1);
        for index in 0..MOST {
            assert!(shards.ask(index, now));
        }
        assert!(!shards.ask(MOST, now));
        for _ in 1..SHARE {
            assert!(shards.ask(0, now));
        }
        assert!(!shards.ask(0, now), "the other waits");
        assert_eq!(shards.rung(), [MOST]);
        assert!(shards.ask(MOST, now));
        // Where nobody waits it goes on at once.
        shards.0.truncate(1);
        for _ in 0..3 * SHARE {
            assert!(shards.ask(0, now));
        }
    }

    #[test]
    fn nobody_waits_for_long_for_those_who_are_held_up() {
        let gate = Gate::for_so_many(MOST);
        let mut now = Instant::now();
        let mut shards = Shards::new(&gate, MOST + 1);
        for index in 0..MOST {
            assert!(shards.ask(index, now));
        }
        for _ in 0..3 {
            assert!(!shards.ask(MOST, now));
            let until = shards.0[MOST].0.wake_at().unwrap();
            assert_eq!(until, now + PATIENCE);
            now = until;
            assert!(shards.ask(MOST, now), "one turn");
        }
        assert!(!shards.ask(MOST, now));
        drop(shards);
        assert_eq!(gate.lock().amid, 0);
    }
}
