//! Shards that come from elsewhere, and shards that go: a hand-over between processes loses and doubles
//! nothing.

use std::collections::BTreeSet;
use std::time::Instant;

use super::patience::Patience;
use super::roster::Life;
use super::{FleetAction, FleetError, FleetMachine, ToShard};
use crate::{CommandId, ShardId, ShardState, Stop};

/// Shards that are told to go.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    /// Those that have not ended yet.
    open: BTreeSet<ShardId>,
    /// What each goes on from elsewhere; for those that are open, as far as it was known before.
    states: Vec<ShardState>,
    patience: Patience,
}

impl Removal {
    pub(super) fn patience_ends(&self) -> Instant {
        self.patience.end()
    }

    fn concerns(&self, shard: ShardId) -> bool {
        self.states.iter().any(|state| state.shard == shard)
    }

    pub(super) fn waits_for(&self, shard: ShardId) -> bool {
        self.open.contains(&shard)
    }
}

impl FleetMachine {
    /// All of them, or none.
    pub(super) fn add_shards(&mut self, states: Vec<ShardState>) -> Result<(), FleetError> {
        if let Some(error) = self.unchangeable() {
            return Err(error);
        }
        if self.re_shard.is_some() {
            return Err(FleetError::ReSharding);
        }
        let mut seen = BTreeSet::new();
        for state in &states {
            let shard = state.shard;
            let here = self.shards.get(&shard);
            let here = here.is_some_and(|here| !here.has_stopped());
            // Somebody else has still to be told its state.
            let goes = self
                .removals
                .values()
                .any(|removal| removal.concerns(shard));
            if here || goes || !seen.insert(shard) {
                return Err(FleetError::AlreadyHere { shard });
            }
        }
        if states.is_empty() {
            return Ok(());
        }
        self.all_up_said = false;
        for state in states {
            // One that has ended makes place.
            self.discharge(state.shard);
            self.enlist(state.shard, Some(state), false);
        }
        self.start_what_is_near();
        Ok(())
    }

    /// Removes the shards of these states, as they are known now; not those that are being removed already.
    pub(super) fn remove_shards(&mut self, id: CommandId, states: Vec<ShardState>) {
        let mut removal = Removal {
            open: BTreeSet::new(),
            states: Vec::new(),
            patience: self.patience(),
        };
        for state in states {
            let shard = state.shard;
            // Whoever asked first gets it.
            if self.removals.values().any(|other| other.waits_for(shard)) {
                continue;
            }
            let life = self.shards.get(&shard).map(|shard| &shard.life);
            match life {
                Some(Life::Running { .. }) => {
                    let message = ToShard::Stop(Stop::Keep);
                    self.out.push_back(FleetAction::Tell { shard, message });
                    removal.open.insert(shard);
                }
                Some(_) => self.discharge(shard),
                None => continue,
            }
            removal.states.push(state);
        }
        self.removals.insert(id, removal);
        self.answer_removals(|removal| removal.open.is_empty());
        // Those that are left may all be connected.
        if self.present > 0 {
            self.say_if_all_up();
        }
    }

    /// A shard has ended. True if it was told to go: it is no longer one of the fleet then.
    pub(super) fn removed(&mut self, shard: ShardId, state: &ShardState) -> bool {
        let mut gone = false;
        for removal in self.removals.values_mut() {
            if removal.open.remove(&shard) {
                gone = true;
                if let Some(old) = removal.states.iter_mut().find(|old| old.shard == shard) {
                    old.clone_from(state);
                }
            }
        }
        if gone {
            self.discharge(shard);
            self.answer_removals(|removal| removal.open.is_empty());
            if self.present > 0 {
                self.say_if_all_up();
            }
        }
        gone
    }

    pub(super) fn give_up_removals(&mut self) {
        let (now, time) = (self.now, self.stop_patience());
        let mut late = BTreeSet::new();
        for removal in self.removals.values_mut() {
            if removal.patience.is_over(now, time) {
                late.append(&mut removal.open);
            }
        }
        if late.is_empty() {
            return;
        }
        for shard in late {
            self.discharge(shard);
        }
        self.answer_removals(|removal| removal.open.is_empty());
        if self.present > 0 {
            self.say_if_all_up();
        }
    }

    /// This shard was given up, for whatever reason.
    pub(super) fn no_longer_removed(&mut self, shard: ShardId) {
        for removal in self.removals.values_mut() {
            removal.open.remove(&shard);
        }
        self.answer_removals(|removal| removal.open.is_empty());
    }

    /// The fleet ends. Whose state goes to whoever removed it is not left behind as well.
    pub(super) fn end_removals(&mut self) {
        let removals = self.removals.values_mut();
        let open: Vec<ShardId> = removals
            .flat_map(|removal| std::mem::take(&mut removal.open))
            .collect();
        for shard in open {
            self.discharge(shard);
        }
        self.answer_removals(|_| true);
    }

    pub(super) fn answer_removals(&mut self, which: impl Fn(&Removal) -> bool) {
        let answered: Vec<CommandId> = self
            .removals
            .iter()
            .filter(|(_, removal)| which(removal))
            .map(|(id, _)| *id)
            .collect();
        for id in answered {
            if let Some(mut removal) = self.removals.remove(&id) {
                removal.states.sort_by_key(|state| state.shard);
                let states = removal.states;
                self.out.push_back(FleetAction::States { id, states });
            }
        }
    }
}
