//! Another number of shards, the new ones beside the old ones until all are there.

use super::resharding::{ask, connected, demand, re_shards, with};
use super::*;

#[test]
fn start_then_swap_leaves_the_old_alone_until_all_new_are_loaded() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.hanging = vec![1];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(20));
    assert_eq!(
        world.story(),
        [
            "0 fetch",
            "0 prepare swap",
            "0 start [0, 2] muted",
            "0 start [1, 2] muted",
        ]
    );
    assert!(re_shards(&world).is_empty() && world.done.is_empty());
    // Commands still go to the old one alone.
    let told = world.told.len();
    world.tell(FleetInput::Command {
        id: CommandId(7),
        to: Shards::All,
        command: Command::status_update(StatusUpdate::online()).unwrap(),
        if_not_ready: IfNotReady::Queue,
    });
    assert_eq!(world.told.len(), told + 1);
    let one = shard(1, 2);
    world.tell(FleetInput::Report {
        shard: one,
        report: ShardReport::Up,
    });
    assert!(world.story().is_empty(), "its guilds are not loaded");
    world.tell(FleetInput::Report {
        shard: one,
        report: ShardReport::Loaded,
    });
    world.pass(Duration::from_secs(3));
    assert_eq!(
        world.story(),
        ["23 catch up [0, 1]", "23 swap", "23 stop [0, 1] Final"]
    );
    assert_eq!(re_shards(&world), [(1, Some(2))]);
    assert_eq!(world.done, [(1, Ok(()))]);
    assert_eq!(connected(&world), [1, 2]);
    assert_eq!(world.fleet.total(), Some(2));
}

#[test]
fn a_new_layout_that_is_refused_leaves_the_old_one_running() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.hanging = vec![1];
    ask(&mut world, Some(2));
    world.story();
    let code = CloseCode::new(4010);
    world.tell(stopped(shard(1, 2), StopReason::Fatal { code }));
    assert_eq!(world.story(), ["0 abandon swap", "0 stop [0, 2] Final"]);
    let why = StopReason::Fatal { code };
    let error = FleetError::ShardFailed {
        shard: shard(1, 2),
        why,
    };
    assert_eq!(world.done, [(1, Err(error))]);
    assert_eq!(world.fleet.total(), Some(1));
    assert!(world.stops().is_empty());
    let states: Vec<_> = world.fleet.states().iter().map(|s| s.shard).collect();
    assert_eq!(states, [shard(0, 1)]);
    // And it can be tried again.
    world.hanging.clear();
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.done.last(), Some(&(1, Ok(()))));
}

#[test]
fn a_new_layout_that_never_comes_up_is_given_up() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.hanging = vec![0, 1];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.done, [(1, Err(FleetError::TimedOut))]);
    assert!(world.stops().is_empty());
}

#[test]
fn a_demand_that_fails_is_told_as_an_event() {
    let mut world = with(ReShardPolicy::StartThenSwap, 2);
    world.hanging = vec![0, 1, 2];
    demand(&mut world, 1, 2);
    world.pass(Duration::from_secs(3600));
    let failed = world.events.iter().any(|(_, event)| {
        matches!(
            event,
            Event::ReShardFailed {
                from: 2,
                why: FleetError::TimedOut
            }
        )
    });
    assert!(failed);
    assert!(world.stops().is_empty(), "shard 0 of 2 still runs");
}

#[test]
fn only_one_at_a_time() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.hanging = vec![1];
    ask(&mut world, Some(2));
    ask(&mut world, Some(3));
    assert_eq!(world.done, [(1, Err(FleetError::ReSharding))]);
}

#[test]
fn a_stop_in_the_middle_ends_everything_once() {
    for policy in [ReShardPolicy::StopThenStart, ReShardPolicy::StartThenSwap] {
        let mut world = with(policy, 1);
        world.stubborn = vec![0];
        world.hanging = vec![0, 1];
        ask(&mut world, Some(2));
        world.stubborn.clear();
        world.tell(FleetInput::Stop(Stop::Final));
        world.pass(Duration::from_secs(60));
        assert_eq!(world.stops(), [&StopReason::Requested], "{policy:?}");
        assert_eq!(world.done.len(), 1, "whoever asked is told");
        assert_eq!(world.wait, Wait::Stopped);
    }
}

#[test]
fn a_number_of_shards_that_no_bot_has_is_refused() {
    for asked in [true, false] {
        let mut world = with(ReShardPolicy::StartThenSwap, 2);
        world.info = GatewayInfo::new(
            world.info.url.clone(),
            u32::MAX,
            SessionStartLimit::new(u32::MAX, u32::MAX, Duration::from_secs(3600), u32::MAX),
        );
        let begun = world.started.len();
        if asked {
            ask(&mut world, None);
            let total = u32::MAX;
            assert_eq!(world.done, [(1, Err(FleetError::BadTotal { total }))]);
        } else {
            demand(&mut world, 1, 2);
            let (_, last) = world.events.last().unwrap();
            assert!(
                matches!(last, Event::ReShardFailed { from: 2, .. }),
                "{last:?}"
            );
        }
        assert_eq!(world.started.len(), begun);
        assert!(world.stops().is_empty(), "the old shards go on");
    }
}

#[test]
fn a_driver_that_vanishes_during_a_swap_and_is_still_needed_comes_back() {
    let comes_back = |world: &mut World, shard: ShardId| {
        world.tell(vanished(shard, session_of(shard)));
        world.pass(Duration::from_secs(2));
        let start = format!("start {shard}");
        world.story().iter().any(|what| what.ends_with(&start))
    };
    // The old one, as long as the new ones are not there.
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.hanging = vec![0, 1];
    ask(&mut world, Some(2));
    assert!(comes_back(&mut world, shard(0, 1)));
    // A new one, while the old one has not ended.
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.stubborn = vec![0];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(9));
    world.story();
    assert!(!comes_back(&mut world, shard(0, 1)));
    assert!(comes_back(&mut world, shard(1, 2)));
}

#[test]
fn no_shards_are_added_to_a_layout_that_changes() {
    let mut world = with(ReShardPolicy::StartThenSwap, 2);
    world.hanging = vec![2];
    ask(&mut world, Some(3));
    let (id, states) = (CommandId(2), vec![ShardState::fresh(shard(0, 4))]);
    world.tell(FleetInput::AddShards { id, states });
    assert_eq!(world.done, [(2, Err(FleetError::ReSharding))]);
}

#[test]
fn a_layout_some_of_which_is_here_already_is_not_built() {
    let mut world = with(ReShardPolicy::StartThenSwap, 2);
    let (id, states) = (CommandId(2), vec![session_of(shard(0, 3))]);
    world.tell(FleetInput::AddShards { id, states });
    world.story();
    demand(&mut world, 1, 2);
    assert_eq!(world.story(), ["0 fetch"], "no shard starts twice");
    let why = FleetError::AlreadyHere { shard: shard(0, 3) };
    let (_, last) = world.events.last().unwrap();
    assert!(
        matches!(last, Event::ReShardFailed { why: found, .. } if *found == why),
        "{last:?}"
    );
}

#[test]
fn a_new_layout_has_the_time_that_its_identifies_take_and_ten_minutes() {
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 2), 1);
    world.fleet.config.re_shard = ReShardPolicy::StartThenSwap;
    world.tell(FleetInput::Start);
    world.hanging = vec![0, 1, 2, 3];
    // Two rounds of 5.15 s.
    ask(&mut world, Some(4));
    world.pass(Duration::from_secs(610));
    assert!(world.done.is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.done, [(1, Err(FleetError::TimedOut))]);
}

#[test]
fn a_swap_is_over_when_the_old_shards_have_ended_or_are_given_up() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.stubborn = vec![0];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.done, [(1, Ok(()))]);
    assert!(world.story().contains(&"8 stop [0, 1] Final".to_owned()));
    world.pass(Duration::from_secs(10));
    assert_eq!(connected(&world), [1], "not while an old one is there");
    ask(&mut world, Some(3));
    assert_eq!(world.done[1], (1, Err(FleetError::ReSharding)));
    world.pass(Duration::from_secs(2));
    assert_eq!(connected(&world), [1, 2]);
    world.hanging = vec![0, 1, 2];
    ask(&mut world, Some(3));
    assert_eq!(world.done.len(), 2, "it has begun");
}

#[test]
fn a_new_shard_that_reconnects_does_not_make_a_swap_complete() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.stubborn = vec![0];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(9));
    let shard = shard(1, 2);
    for report in [ShardReport::Down, ShardReport::Up] {
        world.tell(FleetInput::Report { shard, report });
    }
    assert_eq!(connected(&world), [1], "an old one is still there");
    world.pass(Duration::from_secs(12));
    assert_eq!(connected(&world), [1, 2]);
}

#[test]
fn the_old_layout_may_complete_while_the_new_one_is_built() {
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 16), 2);
    world.fleet.config.re_shard = ReShardPolicy::StartThenSwap;
    world.hanging = vec![0, 1, 2];
    world.tell(FleetInput::Start);
    ask(&mut world, Some(3));
    for number in [0, 1] {
        world.tell(FleetInput::Report {
            shard: shard(number, 2),
            report: ShardReport::Up,
        });
    }
    assert_eq!(connected(&world), [2]);
}

#[test]
fn a_layout_that_was_given_up_is_waited_for_as_well() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.hanging = vec![0, 1];
    world.stubborn = vec![0, 1];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(606));
    assert_eq!(world.done, [(1, Err(FleetError::TimedOut))]);
    world.pass(Duration::from_secs(10));
    ask(&mut world, Some(3));
    assert_eq!(world.done[1], (1, Err(FleetError::ReSharding)));
    world.pass(Duration::from_secs(2));
    ask(&mut world, Some(3));
    assert_eq!(world.done.len(), 2, "it has begun");
}

#[test]
fn all_of_a_new_layout_must_be_up_at_once() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.hanging = vec![1];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(20));
    let (zero, one) = (shard(0, 2), shard(1, 2));
    let report = |world: &mut World, shard, report| {
        world.tell(FleetInput::Report { shard, report });
    };
    report(&mut world, zero, ShardReport::Down);
    report(&mut world, one, ShardReport::Up);
    report(&mut world, one, ShardReport::Loaded);
    assert!(world.done.is_empty(), "the first one is down");
    world.pass(Duration::from_secs(60));
    assert!(world.done.is_empty());
    report(&mut world, zero, ShardReport::Up);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.done, [(1, Ok(()))]);
}

#[test]
fn what_is_fatal_for_the_bot_ends_it_also_on_a_shard_that_makes_way() {
    for policy in [ReShardPolicy::StopThenStart, ReShardPolicy::StartThenSwap] {
        let mut world = with(policy, 2);
        world.stubborn = vec![0, 1];
        ask(&mut world, Some(3));
        world.pass(Duration::from_secs(9));
        world.story();
        let why = StopReason::Fatal {
            code: CloseCode::new(4012),
        };
        world.tell(stopped(shard(0, 2), why.clone()));
        world.stubborn.clear();
        world.tell(stopped(shard(1, 2), StopReason::Requested));
        world.pass(Duration::from_secs(60));
        assert_eq!(world.stops(), [&why], "{policy:?}");
        assert!(world.story().iter().all(|line| !line.contains("start")));
    }
}

#[test]
fn a_layout_that_has_been_replaced_hands_nothing_over() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.stubborn = vec![0];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.done, [(1, Ok(()))]);
    let new = [0, 1].map(|number| shard(number, 2));
    let of = |states: &[ShardState]| states.iter().map(|state| state.shard).collect::<Vec<_>>();
    assert_eq!(of(&world.fleet.states()), new, "the old one has not ended");
    let (id, filter) = (CommandId(2), ShardFilter::all());
    world.tell(FleetInput::AskForStates { id, filter });
    assert_eq!(of(&world.states[0].1), new);
    world.tell(FleetInput::Stop(Stop::Keep));
    world.pass(Duration::from_secs(60));
    let (_, last) = world.events.last().unwrap();
    let Event::Stopped { states, .. } = last else {
        panic!("{last:?}");
    };
    assert_eq!(of(states), new);
}

#[test]
fn a_bot_whose_last_shard_is_a_new_one_that_failed_ends_once() {
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 1));
    world.fleet.config.re_shard = ReShardPolicy::StartThenSwap;
    world.hanging = vec![0, 1];
    world.tell(FleetInput::ReShard {
        id: CommandId(1),
        to: Some(2),
    });
    let invalid = StopReason::Fatal {
        code: CloseCode::INVALID_SHARD,
    };
    world.tell(stopped(shard(0, 1), invalid.clone()));
    assert!(world.stops().is_empty(), "a new layout is on its way");
    world.tell(stopped(shard(0, 2), invalid.clone()));
    world.tell(stopped(shard(1, 2), invalid));
    assert_eq!(world.stops().len(), 1);
}
