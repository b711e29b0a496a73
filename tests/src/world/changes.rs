//! Which shards a bot runs, changed while it runs.

use std::time::Duration;

use shardwright_core::{
    CommandId, FleetError, FleetInput, Phase, ShardFilter, ShardId, ShardState,
};

use super::{BotId, World};

impl World {
    /// Has a bot run these shards too; how that went is told by [`done`](Self::done).
    pub fn add_shards(&mut self, bot: BotId, states: Vec<ShardState>) -> CommandId {
        let id = self.new_command(bot);
        self.note(|| format!("bot {}: {id:?} adds {states:?}", bot.0));
        self.fleet_input(bot, FleetInput::AddShards { id, states });
        id
    }

    /// Has a bot let these shards go; [`answered`](Self::answered) tells from where they go on.
    pub fn remove_shards(&mut self, bot: BotId, filter: ShardFilter) -> CommandId {
        let id = self.new_command(bot);
        self.note(|| format!("bot {}: {id:?} removes {filter:?}", bot.0));
        self.fleet_input(bot, FleetInput::RemoveShards { id, filter });
        id
    }

    /// Asks a bot for the states of its shards; [`answered`](Self::answered) tells them.
    pub fn shard_states(&mut self, bot: BotId, filter: ShardFilter) -> CommandId {
        let id = self.new_command(bot);
        self.fleet_input(bot, FleetInput::AskForStates { id, filter });
        id
    }

    /// Gives a bot another number of shards; how that went is told by [`done`](Self::done).
    pub fn re_shard(&mut self, bot: BotId, to: Option<u32>) -> CommandId {
        let id = self.new_command(bot);
        self.note(|| format!("bot {}: {id:?} re-shards to {to:?}", bot.0));
        self.fleet_input(bot, FleetInput::ReShard { id, to });
        id
    }

    /// How a change went, once it is known.
    #[must_use]
    pub fn done(&self, bot: BotId, id: CommandId) -> Option<&Result<(), FleetError>> {
        let done = self.story(bot).done.get(&id)?;
        Some(&done.1)
    }

    /// The states that were asked for, once they are known.
    #[must_use]
    pub fn answered(&self, bot: BotId, id: CommandId) -> Option<&[ShardState]> {
        let answered = self.story(bot).states.get(&id)?;
        Some(&answered.1)
    }

    /// The shards that are to run in a bot.
    pub fn present(&self, bot: BotId) -> impl Iterator<Item = ShardId> + '_ {
        self.bots[bot.0].present.iter().copied()
    }

    /// Whether a bot knows the gateway's address, and so its shards.
    #[must_use]
    pub fn is_planned(&self, bot: BotId) -> bool {
        self.bots[bot.0].fleet.total().is_some()
    }

    /// Where a shard of whichever layout is in its life; none before it is started.
    #[must_use]
    pub fn phase_of(&self, bot: BotId, shard: ShardId) -> Option<Phase> {
        let bot = &self.bots[bot.0];
        let index = *bot.by_id.get(&shard)?;
        Some(bot.shards[index].machine.phase())
    }

    /// When a change was done.
    #[must_use]
    pub fn done_at(&self, bot: BotId, id: CommandId) -> Option<Duration> {
        Some(self.story(bot).done.get(&id)?.0)
    }
}
