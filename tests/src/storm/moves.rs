//! Processes that end and begin, and shards that move between them.

use std::time::Duration;

use shardwright_core::{ShardFilter, ShardId, ShardPlan, Stop};

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
        let saved = self.saved.take();
        let total = saved
            .as_ref()
            .map_or(&spec.fleet.states, |saved| &saved.shards);
        // The layout may have changed since the configuration was written.
        if let Some(total) = total.iter().map(|state| state.shard.total()).max() {
            spec.fleet.plan = ShardPlan::Total(total);
        }
        self.bot = self.world.start_again(spec, saved);
    }

    /// Lets shards go from one bot and run in another.
    fn move_shards(
        &mut self,
        from: BotId,
        to: BotId,
        filter: ShardFilter,
        pause: u64,
    ) -> Result<(), StormError> {
        let removed = self.world.remove_shards(from, filter);
        if !self.wait(PATIENCE, |world| world.answered(from, removed).is_some())? {
            self.world.check()?;
            return Err(StormError::NoEnd(PATIENCE));
        }
        // None if it is about to end: its next life goes on with them then.
        let states = self.world.answered(from, removed).map(<[_]>::to_vec);
        self.pass(ms(pause))?;
        self.world.add_shards(to, states.unwrap_or_default());
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
        self.move_shards(self.bot, other, filter, pause)
    }

    pub(super) fn call_home(&mut self) -> Result<(), StormError> {
        let Some(other) = self.other.take() else {
            return Ok(());
        };
        self.known(self.bot)?;
        self.move_shards(other, self.bot, ShardFilter::all(), 0)?;
        self.world.stop(other, Stop::Keep);
        if self.wait(PATIENCE, |world| world.ended(other))? {
            return Ok(());
        }
        self.world.check()?;
        Err(StormError::NoEnd(PATIENCE))
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
