//! Requests for members on their way through the fleet.

use super::*;
use crate::{GuildId, GuildMembersRequest, RequestMembersError};

/// On shard 1 of 4.
const GUILD: GuildId = GuildId::new(1 << 22);

fn world() -> World {
    let ids = vec![0, 1];
    let total = Some(4);
    started(ShardPlan::Ids { ids, total }, limit(1000, 3600, 16))
}

fn ask(id: u64, guild: GuildId) -> FleetInput {
    FleetInput::CollectMembers {
        id: CommandId(id),
        request: GuildMembersRequest::everyone(guild),
    }
}

fn report(number: u32, id: u64, result: RequestMembersError) -> FleetInput {
    FleetInput::Report {
        shard: ShardId::new(number, 4).unwrap(),
        report: ShardReport::Members {
            id: CommandId(id),
            result: Err(result),
        },
    }
}

#[test]
fn the_shard_of_the_guild_is_asked_and_answers_once() {
    let mut world = world();
    world.tell(ask(1, GUILD));
    assert_eq!(world.told, [(1, "members".to_owned())]);
    world.tell(report(0, 1, RequestMembersError::SessionLost));
    world.tell(report(1, 2, RequestMembersError::SessionLost));
    assert!(world.members.is_empty(), "another shard, another request");
    world.tell(report(1, 1, RequestMembersError::ConsumerStalled));
    world.tell(report(1, 1, RequestMembersError::SessionLost));
    assert_eq!(
        world.members,
        [(1, Err(RequestMembersError::ConsumerStalled))]
    );
}

#[test]
fn a_guild_of_a_shard_that_does_not_run_here_is_refused() {
    let mut world = world();
    let guild = GuildId::new(3 << 22);
    world.tell(ask(1, guild));
    let error = CommandError::NotMyGuild { guild }.into();
    assert_eq!(world.members, [(1, Err(error))]);
    assert!(world.told.is_empty());
}

#[test]
fn a_fleet_that_does_not_run_refuses() {
    let mut idle = World::new(ShardPlan::Total(1), limit(1000, 3600, 1), 1);
    idle.tell(ask(1, GUILD));
    assert_eq!(idle.members, [(1, Err(CommandError::NotReady.into()))]);
    let mut stopped = world();
    stopped.tell(FleetInput::Stop(Stop::Final));
    stopped.tell(ask(1, GUILD));
    assert_eq!(
        stopped.members,
        [(1, Err(RequestMembersError::ShardStopped))]
    );
}

#[test]
fn a_shard_that_ends_or_vanishes_is_answered_for() {
    for vanishes in [true, false] {
        let mut world = world();
        world.tell(ask(1, GUILD));
        world.tell(ask(2, GuildId::new(4 << 22)));
        let shard = ShardId::new(1, 4).unwrap();
        world.tell(if vanishes {
            vanished(shard, ShardState::fresh(shard))
        } else {
            stopped(shard, StopReason::Requested)
        });
        assert_eq!(world.members, [(1, Err(RequestMembersError::ShardStopped))]);
        world.tell(report(1, 1, RequestMembersError::SessionLost));
        assert_eq!(world.members.len(), 1, "what comes late counts no more");
        world.members.clear();
        world.tell(ask(3, GUILD));
        let error = if vanishes {
            CommandError::NotReady.into()
        } else {
            RequestMembersError::ShardStopped
        };
        assert_eq!(world.members, [(3, Err(error))]);
    }
}

#[test]
fn a_stop_answers_all() {
    let mut world = world();
    world.tell(ask(1, GUILD));
    world.tell(ask(2, GuildId::new(4 << 22)));
    world.tell(FleetInput::Stop(Stop::Keep));
    let ends: Vec<_> = world.members.iter().map(|(id, _)| *id).collect();
    assert_eq!(ends.len(), 2);
    assert!(
        world
            .members
            .iter()
            .all(|(_, end)| *end == Err(RequestMembersError::ShardStopped))
    );
}
