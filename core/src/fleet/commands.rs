//! Routes a command to the shards it is for, and makes one answer of theirs.

use std::collections::BTreeMap;

use super::{FleetAction, FleetMachine, Life, Shards, State, ToShard};
use crate::{Answer, Command, CommandError, CommandId, CommandKind, IfNotReady, ShardId};

/// A command that several shards have to answer.
#[derive(Debug)]
pub(super) struct Pending {
    /// Shards that have not answered, and whether they have accepted.
    pub(super) open: BTreeMap<u32, bool>,
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
        let wanted: Vec<u32> = match to {
            Shards::Guild(guild) => match ShardId::for_guild(guild, self.total) {
                Ok(shard) if self.shards.contains_key(&shard.number()) => vec![shard.number()],
                _ => return self.refuse(id, CommandError::NotMyGuild { guild }),
            },
            Shards::Only(ids) => match ids.iter().find(|id| !self.shards.contains_key(id)) {
                Some(unknown) => {
                    return self.refuse(id, CommandError::NoSuchShard { shard: *unknown });
                }
                None => ids,
            },
            Shards::All => {
                // Shards that have not started yet say it in their Identify.
                if let (CommandKind::Presence, Some(status)) = (command.kind(), command.status()) {
                    self.config.template.presence = Some(status.clone());
                }
                self.shards.keys().copied().collect()
            }
        };
        let is_running = |id: &u32| matches!(self.shards.get(id), Some(Life::Running { .. }));
        let running: BTreeMap<u32, bool> = wanted
            .iter()
            .filter(|id| is_running(id))
            .map(|id| (*id, false))
            .collect();
        if running.is_empty() {
            let all_stopped = wanted
                .iter()
                .all(|id| matches!(self.shards.get(id), Some(Life::Stopped(_))));
            let error = if all_stopped && !wanted.is_empty() {
                CommandError::Stopped
            } else {
                CommandError::NotReady
            };
            return self.refuse(id, error);
        }
        for shard in running
            .keys()
            .filter_map(|id| ShardId::new(*id, self.total).ok())
        {
            let message = ToShard::Command {
                id,
                command: command.clone(),
                if_not_ready,
            };
            self.out.push_back(FleetAction::Tell { shard, message });
        }
        self.pending.insert(
            id,
            Pending {
                open: running,
                accepted: false,
            },
        );
    }

    pub(super) fn answered(&mut self, shard: u32, id: CommandId, answer: Answer) {
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
