//! Copies a fleet, so that several futures of one state can be looked at.

use std::collections::VecDeque;

use super::FleetMachine;

impl FleetMachine {
    /// A copy that goes its own way from here: to look at what would follow from several inputs.
    ///
    /// `None` while actions are left to carry out: each is handed out once.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        self.out.is_empty().then(|| Self {
            config: self.config.clone(),
            now: self.now,
            rng: self.rng.clone(),
            state: self.state.clone(),
            fetch: self.fetch.clone(),
            url: self.url.clone(),
            total: self.total,
            shards: self.shards.clone(),
            queues: self.queues.clone(),
            turns: self.turns.clone(),
            on_the_way: self.on_the_way.clone(),
            unended: self.unended.clone(),
            falls: self.falls.clone(),
            up: self.up,
            present: self.present,
            all_up_said: self.all_up_said,
            spent_said: self.spent_said,
            pending: self.pending.clone(),
            questions: self.questions.clone(),
            removals: self.removals.clone(),
            re_shard: self.re_shard.clone(),
            marks: self.marks,
            recount: self.recount.clone(),
            collections: self.collections.clone(),
            out: VecDeque::new(),
            drained: self.drained,
        })
    }
}
