//! Routes a command to the shards it is for, and makes one answer of theirs.

use std::collections::BTreeMap;

use super::roster::Shard;
use super::{FleetAction, FleetMachine, Shards, State, ToShard};
use crate::{Answer, Command, CommandError, CommandId, CommandKind, GuildId, IfNotReady, ShardId};

/// A command that several shards have to answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Shards that have not answered, and whether they have accepted.
    pub(super) open: BTreeMap<ShardId, bool>,
    accepted: bool,
}

impl FleetMachine {
    pub(super) fn command(
        &mut self,
        id: CommandId,
        to: Shards,
        command: &Command,
        if_not_ready: IfNotReady,
    ) {
        match self.state {
            State::Running => {}
            State::Idle | State::Fetching { .. } => return self.refuse(id, CommandError::NotReady),
            State::Stopping { .. } | State::Stopped => {
                return self.refuse(id, CommandError::Stopped);
            }
        }
        let wanted: Vec<ShardId> = match to {
            Shards::Guild(guild) => match self.server_of(guild) {
                Some(shard) => vec![shard],
                None => return self.refuse(id, CommandError::NotMyGuild { guild }),
            },
            Shards::Only(numbers) => {
                let is_here = |number: &&u32| self.present().any(|id| id.number() == **number);
                match numbers.iter().find(|number| !is_here(number)) {
                    Some(unknown) => {
                        return self.refuse(id, CommandError::NoSuchShard { shard: *unknown });
                    }
                    None => self
                        .present()
                        .filter(|id| numbers.contains(&id.number()))
                        .collect(),
                }
            }
            Shards::All => {
                // Shards that have not started yet say it in their Identify.
                if let (CommandKind::Presence, Some(status)) = (command.kind(), command.status()) {
                    self.config.template.presence = Some(status.clone());
                }
                self.present().collect()
            }
        };
        let has = |id: &ShardId, test: fn(&Shard) -> bool| self.shards.get(id).is_some_and(test);
        let running: BTreeMap<ShardId, bool> = wanted
            .iter()
            .filter(|id| has(id, Shard::is_running))
            .map(|id| (*id, false))
            .collect();
        if running.is_empty() {
            let all_stopped = wanted.iter().all(|id| has(id, Shard::has_stopped));
            // Those of a layout that makes way are followed by others.
            let for_good = all_stopped && self.re_shard.is_none();
            let error = if for_good && !wanted.is_empty() {
                CommandError::Stopped
            } else {
                CommandError::NotReady
            };
            return self.refuse(id, error);
        }
        for shard in running.keys().copied() {
            let message = ToShard::Command {
                id,
                command: command.clone(),
                if_not_ready,
            };
            self.out.push_back(FleetAction::Tell { shard, message });
        }
        let pending = Pending {
            open: running,
            accepted: false,
        };
        self.pending.insert(id, pending);
    }

    /// The shards of the present layout, and those added to it.
    fn present(&self) -> impl Iterator<Item = ShardId> + '_ {
        let present = self.shards.iter().filter(|(_, shard)| !shard.coming);
        present.map(|(id, _)| *id)
    }

    /// The shard that serves a guild. Several layouts may be here: the bot's own comes first, then the
    /// larger ones.
    pub(super) fn server_of(&self, guild: GuildId) -> Option<ShardId> {
        let own = ShardId::for_guild(guild, self.total).ok();
        let is_here = |id: &ShardId| self.shards.get(id).is_some_and(|shard| !shard.coming);
        own.filter(is_here)
            .or_else(|| self.present().filter(|id| id.owns(guild)).last())
    }

    pub(super) fn answered(&mut self, shard: ShardId, id: CommandId, answer: Answer) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        match answer {
            Answer::Accepted => {
                if let Some(accepted) = pending.open.get_mut(&shard) {
                    *accepted = true;
                }
                if !pending.accepted && pending.open.values().all(|accepted| *accepted) {
                    pending.accepted = true;
                    self.answer(id, Answer::Accepted);
                }
            }
            // What a newer one replaced needs no sending.
            Answer::Sent | Answer::Refused(CommandError::Replaced) => {
                pending.open.remove(&shard);
                if pending.open.is_empty() {
                    self.pending.remove(&id);
                    self.answer(id, Answer::Sent);
                }
            }
            Answer::Refused(error) => {
                self.pending.remove(&id);
                self.refuse(id, error);
            }
        }
    }
}
