//! Shards that are added and removed.

use super::*;

fn empty() -> World {
    let plan = ShardPlan::Exactly(Vec::new());
    started(plan, limit(1000, 3600, 1))
}

#[test]
fn sessions_resume_at_once_and_the_others_queue() {
    let mut world = empty();
    let mut states: Vec<_> = (0..8).map(|id| session_of(shard(id, 16))).collect();
    states.extend((8..11).map(|id| ShardState::fresh(shard(id, 16))));
    world.tell(add(1, states));
    assert_eq!(world.done, [(1, Ok(()))]);
    assert!(world.started.starts_with(&[0, 1, 2, 3, 4, 5, 6, 7]));
    world.pass(Duration::from_secs(12));
    // One bucket: the second and the third wait their turns.
    let times: Vec<u64> = world.identified.values().map(Duration::as_secs).collect();
    assert_eq!(times, [0, 5, 10]);
    assert_eq!(
        world.identified.keys().copied().collect::<Vec<_>>(),
        [8, 9, 10]
    );
}

#[test]
fn a_shard_that_is_here_is_refused_and_nothing_changes() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    let begun = world.started.len();
    let twice = |number| FleetError::AlreadyHere {
        shard: shard(number, 2),
    };
    let other = session_of(shard(0, 3));
    world.tell(add(1, vec![other.clone(), session_of(shard(1, 2))]));
    assert_eq!(world.done, [(1, Err(twice(1)))]);
    world.tell(add(2, vec![other.clone(), other]));
    let error = FleetError::AlreadyHere { shard: shard(0, 3) };
    assert_eq!(world.done[1], (2, Err(error)));
    assert_eq!(world.started.len(), begun);
}

#[test]
fn removed_shards_end_resumably_and_are_told_as_they_ended() {
    let mut world = started(ShardPlan::Total(3), limit(1000, 3600, 16));
    world.story();
    let filter = ShardFilter::from(shard(0, 3)).or_session("session-2");
    world.tell(remove(1, filter));
    assert_eq!(world.story(), ["0 stop [0, 3] Keep", "0 stop [2, 3] Keep"]);
    let states = vec![session_of(shard(0, 3)), session_of(shard(2, 3))];
    assert_eq!(world.states, [(1, states.clone())]);
    assert!(world.stops().is_empty(), "the rest goes on");
    // They can come back.
    world.tell(add(2, states));
    assert_eq!(world.story(), ["0 start [0, 3]", "0 start [2, 3]"]);
}

#[test]
fn the_last_shard_may_go_and_another_come() {
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 16));
    world.tell(remove(1, ShardFilter::all()));
    assert!(
        world.stops().is_empty(),
        "a fleet lives until it is told to stop"
    );
    world.tell(add(2, vec![session_of(shard(1, 2))]));
    assert_eq!(world.done, [(2, Ok(()))]);
    world.tell(FleetInput::Stop(Stop::Keep));
    assert_eq!(world.stops(), [&StopReason::Requested]);
}

#[test]
fn a_shard_that_never_started_goes_with_what_it_came_with() {
    let mut world = started(ShardPlan::Total(9), limit(1000, 3600, 1));
    assert!(!world.started.contains(&8));
    world.tell(remove(1, ShardFilter::from(shard(8, 9))));
    assert_eq!(world.states, [(1, vec![ShardState::fresh(shard(8, 9))])]);
    world.pass(Duration::from_secs(60));
    assert!(!world.started.contains(&8), "it does not start afterwards");
    assert!(world.all_connected_at().is_some(), "nobody waits for it");
}

#[test]
fn a_shard_that_does_not_end_is_given_up() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    world.stubborn = vec![0];
    world.tell(FleetInput::Start);
    world.tell(remove(1, ShardFilter::from(shard(0, 2))));
    world.pass(Duration::from_secs(11));
    assert!(world.states.is_empty());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.states, [(1, vec![session_of(shard(0, 2))])]);
}

#[test]
fn layouts_stand_side_by_side_and_each_serves_its_guilds() {
    let mut world = started(ShardPlan::Exactly(vec![shard(0, 1)]), limit(1000, 3600, 16));
    world.tell(add(1, vec![ShardState::fresh(shard(0, 2))]));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.started, [0, 0]);
    world.tell(remove(2, ShardFilter::from(shard(0, 1))));
    assert_eq!(world.states, [(2, vec![session_of(shard(0, 1))])]);
    let command = Command::status_update(StatusUpdate::online()).unwrap();
    for (id, guild) in [(3, 2_u64 << 22), (4, 1_u64 << 22)] {
        world.tell(FleetInput::Command {
            id: CommandId(id),
            to: Shards::Guild(guild.into()),
            command: command.clone(),
            if_not_ready: IfNotReady::Queue,
        });
    }
    // 2 mod 2 is 0, which is here; 1 mod 2 is 1, which is not.
    assert_eq!(world.told.last(), Some(&(0, "command".to_owned())));
    let guild = crate::GuildId::from(1_u64 << 22);
    let refused = Answer::Refused(CommandError::NotMyGuild { guild });
    assert_eq!(world.answers, [(4, refused)]);
}

#[test]
fn all_connected_is_said_again_when_the_added_are() {
    let mut world = empty();
    let said = |world: &World| {
        let all = world.events.iter().filter_map(|(_, event)| match event {
            Event::ConnectedAllShards { shards } => Some(*shards),
            _ => None,
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(said(&world), [0]);
    world.tell(add(
        1,
        vec![session_of(shard(0, 2)), session_of(shard(1, 2))],
    ));
    assert_eq!(said(&world), [0, 2]);
}

#[test]
fn before_the_start_and_after_the_end_nothing_can_be_changed() {
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 1), 1);
    let one = || vec![session_of(shard(0, 2))];
    world.tell(add(1, one()));
    assert_eq!(world.done, [(1, Err(FleetError::NotStarted))]);
    world.tell(FleetInput::Start);
    world.tell(FleetInput::Stop(Stop::Final));
    world.tell(add(2, one()));
    assert_eq!(world.done[1], (2, Err(FleetError::Stopped)));
    world.tell(remove(3, ShardFilter::all()));
    assert_eq!(world.states.len(), 1, "answered all the same");
}

/// What the last event says is left.
pub(super) fn left(world: &World) -> Vec<ShardState> {
    let (_, last) = world.events.last().unwrap();
    let Event::Stopped { states, .. } = last else {
        panic!("{last:?}")
    };
    states.clone()
}

#[test]
fn before_the_start_no_shard_goes() {
    let mut config = FleetConfig::new(Token::new("token").unwrap(), Intents::GUILDS);
    config.states = vec![session_of(shard(0, 1))];
    config.plan = ShardPlan::Total(1);
    let url = "ws://main.example".parse().unwrap();
    let info = GatewayInfo::new(url, 1, limit(1000, 3600, 1));
    let mut world = World::with(config, info);
    world.tell(remove(1, ShardFilter::all()));
    assert_eq!(world.states, [(1, Vec::new())]);
    world.tell(FleetInput::Start);
    assert_eq!(world.started, [0]);
}

#[test]
fn what_an_ending_fleet_leaves_goes_to_nobody_else() {
    let both = [session_of(shard(0, 2)), session_of(shard(1, 2))];
    // Asked before the stop, between it and the end, and after that.
    for asked in 0..3 {
        let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
        world.stubborn = vec![0, 1];
        world.mute = asked == 0;
        world.tell(FleetInput::Start);
        let ask = |world: &mut World, at| {
            if at == asked {
                world.tell(remove(1, ShardFilter::all()));
            }
        };
        ask(&mut world, 0);
        world.tell(FleetInput::Stop(Stop::Keep));
        ask(&mut world, 1);
        for state in both.clone() {
            world.tell(stopped_with(state));
        }
        assert_eq!(left(&world), both);
        ask(&mut world, 2);
        assert_eq!(world.states, [(1, Vec::new())], "asked {asked}");
    }
}

#[test]
fn a_shard_that_was_to_go_before_the_end_is_not_left_behind_as_well() {
    let last = |number, seq| ShardState {
        seq: Some(seq),
        ..session_of(shard(number, 2))
    };
    for ends in [true, false] {
        let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
        world.stubborn = vec![0];
        world.tell(FleetInput::Start);
        world.tell(remove(1, ShardFilter::from(shard(0, 2))));
        world.tell(FleetInput::Stop(Stop::Keep));
        assert!(world.stops().is_empty());
        if ends {
            // The end waits for nobody else.
            world.tell(stopped_with(last(0, 99)));
        } else {
            world.pass(Duration::from_secs(60));
        }
        assert_eq!(
            world.states,
            [(1, vec![last(0, if ends { 99 } else { 7 })])]
        );
        assert_eq!(left(&world), [last(1, 7)]);
    }
}

#[test]
fn a_shard_that_two_ask_for_goes_to_the_first() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    world.stubborn = vec![0];
    world.tell(FleetInput::Start);
    let last = |number, seq| ShardState {
        seq: Some(seq),
        ..session_of(shard(number, 2))
    };
    world.tell(remove(1, ShardFilter::from(shard(0, 2))));
    world.tell(remove(2, ShardFilter::all()));
    assert_eq!(world.states, [(2, vec![last(1, 7)])]);
    world.tell(stopped_with(last(0, 99)));
    assert_eq!(world.states[1..], [(1, vec![last(0, 99)])]);
}

#[test]
fn a_shard_that_slept_with_the_host_goes_with_its_session() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    world.stubborn = vec![0];
    world.tell(FleetInput::Start);
    let zero = shard(0, 2);
    world.tell(remove(1, ShardFilter::from(zero)));
    for _ in 0..2 {
        world.now += Duration::from_secs(300);
        world.tell(FleetInput::Tick);
    }
    assert!(world.states.is_empty());
    let last = ShardState {
        seq: Some(99),
        ..session_of(zero)
    };
    world.tell(stopped_with(last.clone()));
    assert_eq!(world.states, [(1, vec![last])]);
}

#[test]
fn a_driver_that_vanishes_while_it_is_removed_does_not_come_back() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    world.stubborn = vec![0];
    world.tell(FleetInput::Start);
    let zero = shard(0, 2);
    world.tell(remove(1, ShardFilter::from(zero)));
    let last = ShardState {
        seq: Some(99),
        ..session_of(zero)
    };
    world.tell(vanished(zero, last.clone()));
    assert_eq!(world.states, [(1, vec![last])]);
    let begun = world.started.len();
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.started.len(), begun);
}

#[test]
fn a_shard_that_ends_before_its_removal_is_neither_stopped_nor_started_again() {
    let (goes, stays) = (shard(0, 2), shard(1, 2));
    for end in [
        stopped_with(session_of(goes)),
        vanished(goes, session_of(goes)),
    ] {
        let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
        world.story();
        let ask = remove(1, ShardFilter::from(goes));
        world.fleet.handle(world.now, ask).unwrap();
        while !matches!(world.fleet.poll(), FleetAction::Wait(_)) {}
        let state = session_of(stays);
        let report = ShardReport::State { state };
        world.tell(FleetInput::Report {
            shard: stays,
            report,
        });
        world.tell(end);
        assert_eq!(world.states, [(1, vec![session_of(goes)])]);
        world.pass(Duration::from_secs(60));
        assert!(world.story().is_empty());
    }
}

#[test]
fn a_code_that_concerns_a_shard_that_is_to_go_does_not_concern_the_others() {
    let (goes, stays) = (shard(0, 2), shard(1, 2));
    let invalid = StopReason::Fatal {
        code: CloseCode::INVALID_SHARD,
    };
    for why in [StopReason::ReShardRequired, invalid] {
        let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
        world.fleet.config.re_shard = ReShardPolicy::StopThenStart;
        world.story();
        // It ends after the others have said what their states are, and before it has.
        world.mute = true;
        world.tell(remove(1, ShardFilter::from(goes)));
        let state = session_of(stays);
        let report = ShardReport::State { state };
        world.tell(FleetInput::Report {
            shard: stays,
            report,
        });
        world.tell(stopped(goes, why));
        assert_eq!(world.states, [(1, vec![ShardState::fresh(goes)])]);
        assert!(world.story().is_empty() && world.stops().is_empty());
    }
}

#[test]
fn a_shard_whose_driver_vanishes_while_it_is_asked_to_go_is_gone() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    world.tell(FleetInput::Start);
    world.pass(Duration::from_secs(6));
    // Its driver is gone before it has answered.
    let (id, filter) = (CommandId(1), ShardFilter::from(shard(0, 2)));
    let now = world.now;
    world
        .fleet
        .handle(now, FleetInput::RemoveShards { id, filter })
        .unwrap();
    while !matches!(world.fleet.poll(), FleetAction::Wait(_)) {}
    world.tell(vanished(shard(0, 2), session_of(shard(0, 2))));
    let other = shard(1, 2);
    let report = ShardReport::State {
        state: session_of(other),
    };
    world.tell(FleetInput::Report {
        shard: other,
        report,
    });
    assert_eq!(world.states, [(1, vec![session_of(shard(0, 2))])]);
    let begun = world.started.len();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.started.len(), begun, "it does not come back");
}

#[test]
fn the_bots_own_layout_serves_a_guild_before_a_larger_one() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.tell(add(1, vec![session_of(shard(3, 4))]));
    // 3 mod 2 is 1, 3 mod 4 is 3: both are here.
    world.tell(FleetInput::Command {
        id: CommandId(2),
        to: Shards::Guild((3_u64 << 22).into()),
        command: Command::status_update(StatusUpdate::online()).unwrap(),
        if_not_ready: IfNotReady::Queue,
    });
    assert_eq!(world.told, [(1, "command".to_owned())]);
}

#[test]
fn without_the_one_that_was_waited_for_all_are_connected() {
    // Once it is told to end, once it had fallen before.
    for falls in [false, true] {
        for others in [0, 1] {
            let limit = limit(1000, 3600, 16);
            let last = shard(others, others + 1);
            let mut world = World::new(ShardPlan::Total(others + 1), limit, 1);
            world.hanging = vec![others];
            world.tell(FleetInput::Start);
            if falls {
                world.tell(vanished(last, ShardState::fresh(last)));
            }
            assert_eq!(world.all_connected_at(), None);
            world.tell(remove(1, ShardFilter::from(last)));
            assert_eq!(world.states.len(), 1);
            let said = world.all_connected_at().is_some();
            assert_eq!(said, others > 0, "{others} are left");
        }
    }
}

#[test]
fn a_driver_that_vanishes_beside_one_that_is_removed_comes_back() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    world.stubborn = vec![0];
    world.tell(FleetInput::Start);
    world.tell(remove(1, ShardFilter::from(shard(0, 2))));
    let one = shard(1, 2);
    let begun = world.started.len();
    world.tell(vanished(one, session_of(one)));
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.started[begun..], [1]);
}

#[test]
fn a_shard_that_has_just_vanished_does_not_count_as_connected() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 1), 2);
    world.hanging = vec![1];
    world.tell(FleetInput::Start);
    let (id, filter) = (CommandId(1), ShardFilter::from(shard(1, 2)));
    let now = world.now;
    world
        .fleet
        .handle(now, FleetInput::RemoveShards { id, filter })
        .unwrap();
    while !matches!(world.fleet.poll(), FleetAction::Wait(_)) {}
    world.tell(stopped_with(session_of(shard(1, 2))));
    world.tell(vanished(shard(0, 2), session_of(shard(0, 2))));
    assert_eq!(world.all_connected_at(), None, "0 is up no longer");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.all_connected_at(), Some(Duration::from_secs(1)));
}

#[test]
fn a_shard_whose_state_has_still_to_be_told_does_not_come_back() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.stubborn = vec![1];
    // The first ends at once, the second does not.
    world.tell(remove(1, ShardFilter::all()));
    let zero = shard(0, 2);
    world.tell(add(2, vec![session_of(zero)]));
    let here = FleetError::AlreadyHere { shard: zero };
    assert_eq!(world.done, [(2, Err(here))]);
    world.tell(stopped_with(session_of(shard(1, 2))));
    assert_eq!(world.states[0].1.len(), 2);
    world.tell(add(3, vec![session_of(zero)]));
    assert_eq!(world.done[1], (3, Ok(())));
}
