//! Routes requests for members to the shard of their guild, and answers for shards that cannot.

use std::collections::BTreeMap;

use super::{FleetAction, FleetMachine, Life, State, ToShard};
use crate::{
    CommandError, CommandId, GuildMembers, GuildMembersRequest, RequestMembersError, ShardId,
};

/// Collections that are under way, and where.
pub(super) type Collections = BTreeMap<CommandId, ShardId>;

impl FleetMachine {
    pub(super) fn collect_members(&mut self, id: CommandId, request: GuildMembersRequest) {
        match self.shard_for_members(&request) {
            Ok(shard) => {
                self.collections.insert(id, shard);
                let message = ToShard::CollectMembers { id, request };
                self.out.push_back(FleetAction::Tell { shard, message });
            }
            Err(error) => {
                let result = Err(error);
                self.out.push_back(FleetAction::Members { id, result });
            }
        }
    }

    fn shard_for_members(
        &self,
        request: &GuildMembersRequest,
    ) -> Result<ShardId, RequestMembersError> {
        match self.state {
            State::Running => {}
            State::Idle | State::Fetching { .. } => return Err(CommandError::NotReady.into()),
            State::Stopping { .. } | State::Stopped => {
                return Err(RequestMembersError::ShardStopped);
            }
        }
        let guild = request.guild;
        let Some(id) = self.server_of(guild) else {
            return Err(CommandError::NotMyGuild { guild }.into());
        };
        match self.shards.get(&id).map(|shard| &shard.life) {
            Some(Life::Running { .. }) => Ok(id),
            Some(Life::Stopped(_)) => Err(RequestMembersError::ShardStopped),
            _ => Err(CommandError::NotReady.into()),
        }
    }

    /// A shard has gathered what it was asked for, or given up.
    pub(super) fn members_collected(
        &mut self,
        shard: ShardId,
        id: CommandId,
        result: Result<GuildMembers, RequestMembersError>,
    ) {
        if self.collections.get(&id) == Some(&shard) {
            self.collections.remove(&id);
            self.out.push_back(FleetAction::Members { id, result });
        }
    }

    /// This shard gathers nothing more, or none does.
    pub(super) fn end_collections(&mut self, of: Option<ShardId>) {
        let ended = |shard: &ShardId| of.is_none_or(|of| of == *shard);
        let (ended, open): (Collections, Collections) = std::mem::take(&mut self.collections)
            .into_iter()
            .partition(|(_, shard)| ended(shard));
        self.collections = open;
        for id in ended.into_keys() {
            let result = Err(RequestMembersError::ShardStopped);
            self.out.push_back(FleetAction::Members { id, result });
        }
    }
}
