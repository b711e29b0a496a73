//! Stores a bot's run while it goes on: on a thread of its own, for a disk may be slow.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use shardwright_core::{KnownStarts, ShardState, StopReason};

use crate::inbox::{Inbox, Sender, inbox};
use crate::store::{SavedRun, SessionStore};

/// How often what changes all the time, the sequences, is stored.
const EVERY: Duration = Duration::from_secs(5);
/// After an event that matters (a session has begun), how soon.
const SOON: Duration = Duration::from_millis(200);

/// When to store what.
pub(crate) struct Saver {
    store: Option<Arc<dyn SessionStore>>,
    /// States of the last run that are of no shard here: they stay as they are.
    others: Vec<ShardState>,
    due: Instant,
    /// What is being stored now.
    under_way: Option<Inbox<Result<(), String>>>,
    last: Option<SavedRun>,
    failed: bool,
}

impl std::fmt::Debug for Saver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saver")
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

impl Saver {
    pub(crate) fn new(store: Option<Arc<dyn SessionStore>>, last: Option<&SavedRun>) -> Self {
        Self {
            store,
            others: last.map(|run| run.shards.clone()).unwrap_or_default(),
            due: Instant::now(),
            under_way: None,
            last: None,
            failed: false,
        }
    }

    /// When states are wanted next.
    pub(crate) fn due(&self) -> Option<Instant> {
        let idle = self.store.is_some() && self.under_way.is_none();
        idle.then_some(self.due)
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Something happened that should outlive a crash.
    pub(crate) fn soon(&mut self) {
        self.due = self.due.min(Instant::now() + SOON);
    }

    /// These shards are here: what an earlier run left of them is history.
    pub(crate) fn forget(&mut self, here: &[ShardState]) {
        self.others
            .retain(|other| here.iter().all(|state| state.shard != other.shard));
    }

    /// Stores the states as they are now.
    pub(crate) fn save(&mut self, states: Vec<ShardState>, starts: Option<KnownStarts>) {
        self.due = Instant::now() + EVERY;
        let run = self.run(states, starts);
        if self.last.as_ref() != Some(&run) {
            self.store(run);
        }
    }

    /// Stores the final states.
    pub(crate) fn save_the_end(
        &mut self,
        states: Vec<ShardState>,
        starts: Option<KnownStarts>,
        why: &StopReason,
    ) {
        let mut run = self.run(states, starts);
        // Anything else would happen to the next run as well.
        run.ended_in_order = matches!(why, StopReason::Requested | StopReason::ReShardRequired);
        self.store(run);
    }

    fn run(&mut self, mut states: Vec<ShardState>, starts: Option<KnownStarts>) -> SavedRun {
        self.forget(&states);
        states.extend(self.others.iter().cloned());
        SavedRun::new(states, starts, SystemTime::now())
    }

    fn store(&mut self, run: SavedRun) {
        let Some(store) = self.store.clone() else {
            return;
        };
        self.last = Some(run.clone());
        let (says, result) = inbox();
        self.under_way = Some(result);
        let saying: Sender<_> = says.clone();
        let spawned = thread::Builder::new()
            .name("shardwright-store".to_owned())
            .spawn(move || {
                let result = store.save(&run);
                says.send(result.map_err(|error| error.to_string()));
            });
        if let Err(error) = spawned {
            saying.send(Err(format!("no thread: {error}")));
        }
    }

    /// Ready when what was under way is done: with what is to be told, if it failed for the first time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        let Poll::Ready(result) = under_way.poll(cx) else {
            return Poll::Pending;
        };
        self.under_way = None;
        let failed = std::mem::replace(&mut self.failed, false);
        // A store that panics says nothing.
        let result = result.unwrap_or_else(|| Err("the store panicked".to_owned()));
        let Err(why) = result else {
            return Poll::Ready(None);
        };
        self.failed = true;
        self.last = None;
        tracing::warn!(why, "the run could not be stored");
        Poll::Ready((!failed).then_some(why))
    }
}
