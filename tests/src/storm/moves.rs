//! Processes that end and begin, and shards that move between them.

use std::time::Duration;

use shardwright_core::{ShardFilter, ShardId, ShardPlan, ShardState, Stop};

use super::play::{Storm, StormError, ms};
use crate::world::{BotId, Consumer, Vanish};

/// Whoever lets shards go or ends may sleep first.
const PATIENCE: Duration = Duration::from_secs(1200);

impl Storm<'_> {
    pub(super) fn crash(&mut self, how: Vanish, down: u64, stored: bool) -> Result<(), StormError> {
        self.call_home()?;
        if stored {
            self.kept = self.world.states(self.bot);
        }
        self.world.crash(self.bot, how);
        self.saved = self.world.saved(self.bot).cloned();
        self.pass(ms(down))?;
        self.restart();
        Ok(())
    }

    pub(super) fn hand_over(&mut self) -> Result<(), StormError> {
        self.call_home()?;
        let bot = self.bot;
        self.world.stop(bot, Stop::Keep);
        self.world.set_consumer(bot, Consumer::AtOnce);
        if !self.wait(PATIENCE, |world| world.ended(bot))? {
            self.world.check()?;
            return Err(StormError::NoEnd(PATIENCE));
        }
        if let Some(states) = self.world.last_states(bot) {
            self.kept = states.to_vec();
        }
        self.saved = self.world.saved(bot).cloned();
        self.restart();
        Ok(())
    }

    fn restart(&mut self) {
        let mut spec = self.spec.clone();
        spec.fleet.states = std::mem::take(&mut self.kept);
        let mut saved = self.saved.take();
        let states = saved
            .as_mut()
            .map_or(&mut spec.fleet.states, |saved| &mut saved.shards);
        let total = |states: &[ShardState]| states.iter().map(|state| state.shard.total()).max();
        let mut homeless = std::mem::take(&mut self.homeless);
        if let Some(total) = total(states) {
            // A session of another layout is of no use any more.
            homeless.retain(|state| state.shard.total() == total);
        }
        states.retain(|state| homeless.iter().all(|other| other.shard != state.shard));
        states.extend(homeless);
        // The layout may have changed since the configuration was written.
        if let Some(total) = total(states) {
            spec.fleet.plan = ShardPlan::Total(total);
        }
        self.bot = self.world.start_again(spec, saved);
    }

    /// Has a bot let shards go; none if it is about to end: it leaves them in the end.
    fn let_go(&mut self, from: BotId, filter: ShardFilter) -> Result<Vec<ShardState>, StormError> {
        let removed = self.world.remove_shards(from, filter);
        if !self.wait(PATIENCE, |world| world.answered(from, removed).is_some())? {
            self.world.check()?;
            return Err(StormError::NoEnd(PATIENCE));
        }
        let states = self.world.answered(from, removed);
        Ok(states.unwrap_or_default().to_vec())
    }

    /// Has the first of these bots that can run shards that were let go; if none can, the next process does.
    fn place(&mut self, states: Vec<ShardState>, bots: &[BotId]) -> Result<(), StormError> {
        if states.is_empty() {
            return Ok(());
        }
        for bot in bots.iter().copied() {
            let added = self.world.add_shards(bot, states.clone());
            self.wait(PATIENCE, |world| world.done(bot, added).is_some())?;
            if self.world.done(bot, added) == Some(&Ok(())) {
                return Ok(());
            }
        }
        self.homeless.extend(states);
        Ok(())
    }

    /// Some shards run in another bot for a while, or come back from it.
    pub(super) fn lend(&mut self, shards: &[u32], pause: u64) -> Result<(), StormError> {
        if self.other.is_some() {
            return self.call_home();
        }
        if self.world.ended(self.bot) {
            return Ok(());
        }
        let here = self.world.present(self.bot);
        let some: Vec<ShardId> = here
            .filter(|shard| shards.contains(&shard.number()))
            .collect();
        let mut spec = self.spec.clone();
        spec.stores = false;
        spec.fleet.plan = ShardPlan::Exactly(Vec::new());
        let other = self.world.start(spec);
        self.other = Some(other);
        self.known(other)?;
        self.known(self.bot)?;
        let filter = ShardFilter::none().or_shards(some);
        let lent = self.let_go(self.bot, filter)?;
        self.pass(ms(pause))?;
        self.place(lent, &[other, self.bot])
    }

    pub(super) fn call_home(&mut self) -> Result<(), StormError> {
        let Some(other) = self.other.take() else {
            return Ok(());
        };
        self.known(self.bot)?;
        let lent = self.let_go(other, ShardFilter::all())?;
        self.place(lent, &[self.bot])?;
        self.world.stop(other, Stop::Keep);
        if !self.wait(PATIENCE, |world| world.ended(other))? {
            self.world.check()?;
            return Err(StormError::NoEnd(PATIENCE));
        }
        // Those of a bot that had ended by itself, or was about to.
        let left = self.world.last_states(other);
        let left = left.unwrap_or_default().to_vec();
        self.place(left, &[self.bot])
    }

    /// Waits until a bot knows the gateway's address.
    fn known(&mut self, bot: BotId) -> Result<(), StormError> {
        self.wait(PATIENCE * 18, |world| {
            world.is_planned(bot) || world.ended(bot)
        })?;
        Ok(())
    }

    pub(super) fn re_shard(&mut self, to: u32) -> Result<(), StormError> {
        self.call_home()?;
        self.world.re_shard(self.bot, Some(to.max(1)));
        Ok(())
    }
}
