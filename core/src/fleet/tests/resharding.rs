//! Another number of shards for a running bot.

use super::*;

fn with(policy: ReShardPolicy, shards: u32) -> World {
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 16), shards);
    world.fleet.config.re_shard = policy;
    world.tell(FleetInput::Start);
    world.story();
    world
}

fn demand(world: &mut World, number: u32, total: u32) {
    world.tell(stopped(shard(number, total), StopReason::ReShardRequired));
}

fn ask(world: &mut World, to: Option<u32>) {
    let id = CommandId(1);
    world.tell(FleetInput::ReShard { id, to });
}

fn re_shards(world: &World) -> Vec<(u32, Option<u32>)> {
    let events = world.events.iter().filter_map(|(_, event)| match event {
        Event::ReShard { from, to } => Some((*from, *to)),
        _ => None,
    });
    events.collect()
}

fn connected(world: &World) -> Vec<u32> {
    let events = world.events.iter().filter_map(|(_, event)| match event {
        Event::ConnectedAllShards { shards } => Some(*shards),
        _ => None,
    });
    events.collect()
}

#[test]
fn reported_it_ends_the_bot_with_its_sessions_kept() {
    let mut world = with(ReShardPolicy::Report, 2);
    demand(&mut world, 1, 2);
    assert_eq!(re_shards(&world), [(2, None)]);
    assert_eq!(world.story(), ["0 stop [0, 2] Keep"]);
    assert_eq!(world.stops(), [&StopReason::ReShardRequired]);
}

#[test]
fn who_runs_only_some_shards_is_always_told() {
    let plan = ShardPlan::Ids {
        ids: vec![0, 1],
        total: Some(4),
    };
    let mut world = started(plan, limit(1000, 3600, 16));
    demand(&mut world, 1, 4);
    assert_eq!(re_shards(&world), [(4, None)]);
    assert_eq!(world.stops(), [&StopReason::ReShardRequired]);
}

#[test]
fn stop_then_start_ends_the_old_and_starts_what_discord_recommends() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    world.info.shards = 3;
    demand(&mut world, 1, 2);
    assert_eq!(
        world.story(),
        [
            "0 fetch",
            "0 stop [0, 2] Final",
            "0 start [0, 3]",
            "0 start [1, 3]",
            "0 start [2, 3]",
        ]
    );
    world.pass(Duration::from_secs(6));
    assert_eq!(re_shards(&world), [(2, Some(3))]);
    assert_eq!(connected(&world), [2, 3], "said again");
    assert_eq!(world.fleet.total(), Some(3));
    assert!(world.stops().is_empty());
}

#[test]
fn a_demand_means_more_whatever_is_recommended() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    demand(&mut world, 0, 2);
    assert_eq!(re_shards(&world), [(2, Some(3))]);
}

#[test]
fn the_old_shards_go_on_until_discord_has_answered() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    world.info.shards = 4;
    world.faults = vec![FetchFault::network("down"), FetchFault::network("down")];
    demand(&mut world, 1, 2);
    assert_eq!(world.story(), ["0 fetch"], "shard 0 is left alone");
    world.pass(Duration::from_secs(30));
    assert_eq!(re_shards(&world), [(2, Some(4))]);
}

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
    assert_eq!(world.story(), ["20 swap", "20 stop [0, 1] Final"]);
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
    world.pass(Duration::from_secs(6));
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
fn what_cannot_be_done_is_refused() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    ask(&mut world, Some(0));
    ask(&mut world, Some(2));
    // Their Identifies have long since been counted.
    world.pass(Duration::from_secs(11));
    world.info.session_start_limit = limit(3, 60, 16);
    ask(&mut world, Some(4));
    let reset_after = Duration::from_secs(60);
    let errors = [
        FleetError::BadTotal { total: 0 },
        FleetError::SameTotal { total: 2 },
        FleetError::NotEnoughStarts {
            total: 4,
            left: 3,
            reset_after,
        },
    ];
    let refused: Vec<_> = world
        .done
        .iter()
        .map(|(_, result)| result.clone())
        .collect();
    assert_eq!(refused, errors.map(Err));
    assert!(!world.story().iter().any(|line| line.contains("stop")));
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
fn a_demand_waits_for_session_starts() {
    let mut world = with(ReShardPolicy::StopThenStart, 1);
    world.info.session_start_limit = limit(0, 60, 16);
    demand(&mut world, 0, 1);
    world.pass(Duration::from_secs(59));
    assert!(re_shards(&world).is_empty());
    assert!(world.stops().is_empty());
    world.info.session_start_limit = limit(1000, 3600, 16);
    world.pass(Duration::from_secs(2));
    assert_eq!(re_shards(&world), [(1, Some(2))]);
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
fn other_buckets_after_a_re_shard() {
    // Eight shards at a time before, one at a time afterwards.
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 8), 8);
    world.tell(FleetInput::Start);
    world.info.session_start_limit = limit(1000, 3600, 1);
    let before = world.now;
    world.identified.clear();
    ask(&mut world, Some(4));
    world.pass(Duration::from_secs(60));
    let times: Vec<u64> = world.identified.values().map(Duration::as_secs).collect();
    assert_eq!(
        times,
        [5, 10, 15, 20],
        "and not before the old turns are 5 s old"
    );
    assert_eq!(world.began, before);
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
fn an_old_shard_whose_driver_vanishes_while_it_makes_way_does_not_come_back() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    world.stubborn = vec![0];
    ask(&mut world, Some(3));
    world.tell(vanished(shard(0, 2), session_of(shard(0, 2))));
    world.pass(Duration::from_secs(60));
    let story = world.story();
    assert!(
        !story.iter().any(|what| what.ends_with("start [0, 2]")),
        "{story:?}"
    );
    assert_eq!(world.done, [(1, Ok(()))]);
    assert_eq!(connected(&world), [2, 3]);
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
    world.pass(Duration::from_secs(6));
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
fn old_shards_that_do_not_end_are_given_up_before_the_new_ones_start() {
    let mut world = with(ReShardPolicy::StopThenStart, 1);
    world.stubborn = vec![0];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(11));
    assert_eq!(world.story(), ["0 fetch", "0 stop [0, 1] Final"]);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.story(), ["12 start [0, 2]", "12 start [1, 2]"]);
}

#[test]
fn a_swap_is_over_when_the_old_shards_have_ended_or_are_given_up() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.stubborn = vec![0];
    ask(&mut world, Some(2));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.done, [(1, Ok(()))]);
    assert!(world.story().contains(&"5 stop [0, 1] Final".to_owned()));
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
    world.pass(Duration::from_secs(6));
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
    report(&mut world, zero, ShardReport::Up);
    assert_eq!(world.done, [(1, Ok(()))]);
}

#[test]
fn the_number_that_is_running_and_absurd_ones_are_refused_without_asking() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    for total in [2, 100_001, u32::MAX] {
        ask(&mut world, Some(total));
    }
    assert_eq!(world.story(), Vec::<String>::new());
    let bad = |total| (1, Err(FleetError::BadTotal { total }));
    assert_eq!(world.done[1..], [bad(100_001), bad(u32::MAX)]);
    ask(&mut world, Some(100_000));
    assert!(matches!(
        world.done.last(),
        Some((_, Err(FleetError::NotEnoughStarts { .. })))
    ));
}

#[test]
fn only_a_whole_layout_can_be_exchanged() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    let (id, filter) = (CommandId(2), ShardFilter::from(shard(1, 2)));
    world.tell(FleetInput::RemoveShards { id, filter });
    ask(&mut world, Some(3));
    assert_eq!(world.done, [(1, Err(FleetError::NotAllHere))]);
    let (id, states) = (CommandId(3), vec![session_of(shard(0, 3))]);
    world.tell(FleetInput::AddShards { id, states });
    ask(&mut world, Some(3));
    assert_eq!(world.done[2], (1, Err(FleetError::NotAllHere)));
}

#[test]
fn as_many_starts_as_shards_are_enough() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    // The Identifies of the two have long since been counted.
    world.pass(Duration::from_secs(11));
    world.info.session_start_limit = limit(4, 60, 16);
    ask(&mut world, Some(4));
    assert_eq!(world.done, [(1, Ok(()))]);
}

#[test]
fn a_re_shard_that_is_under_way_brings_new_shards_to_a_bot_that_has_none_left() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    world.faults = vec![FetchFault::network("down")];
    demand(&mut world, 0, 2);
    let code = CloseCode::new(4010);
    world.tell(stopped(shard(1, 2), StopReason::Fatal { code }));
    assert!(world.stops().is_empty());
    world.pass(Duration::from_secs(60));
    assert_eq!(connected(&world).last(), Some(&3));
}

#[test]
fn shards_that_wait_are_sorted_into_the_new_buckets_even_if_no_re_shard_follows() {
    let mut world = World::new(ShardPlan::Total(20), limit(1000, 3600, 1), 20);
    world.tell(FleetInput::Start);
    world.info.session_start_limit = limit(20, 3600, 16);
    ask(&mut world, Some(21));
    assert!(matches!(
        world.done[..],
        [(1, Err(FleetError::NotEnoughStarts { .. }))]
    ));
    world.pass(Duration::from_secs(30));
    assert_eq!(world.identified.len(), 20, "sixteen at a time");
}

#[test]
fn an_identify_that_leaves_after_its_shard_was_given_up_counts() {
    let mut world = with(ReShardPolicy::StopThenStart, 1);
    world.stubborn = vec![0];
    world.hanging = vec![0, 1];
    ask(&mut world, Some(2));
    // The old shard is given up, and the new ones have not asked for their turns yet.
    world.pass(Duration::from_secs(13));
    assert_eq!(world.started, [0, 0, 1]);
    let conn = ConnId(1);
    let report = ShardReport::IdentifySent { conn };
    let old = shard(0, 1);
    world.tell(FleetInput::Report { shard: old, report });
    let sent = world.now - world.began;
    let new = shard(0, 2);
    let report = ShardReport::WantIdentify { conn };
    world.tell(FleetInput::Report { shard: new, report });
    world.pass(Duration::from_secs(10));
    assert_eq!(world.identified[&0], sent + Duration::from_millis(5_150));
}

#[test]
fn a_bot_that_is_stopped_while_its_old_layout_ends_hands_over_all_of_it() {
    let mut world = with(ReShardPolicy::StopThenStart, 4);
    let slept = session_of(shard(2, 4));
    world.tell(vanished(shard(2, 4), slept.clone()));
    world.stubborn = vec![0];
    // The first to end is the one that was closed with 4011, the next sleeps, the third ends at once.
    demand(&mut world, 1, 4);
    world.stubborn.clear();
    world.tell(FleetInput::Stop(Stop::Keep));
    world.pass(Duration::from_secs(60));
    let states = moving::left(&world);
    let shards: Vec<ShardId> = states.iter().map(|state| state.shard).collect();
    assert_eq!(shards, [0, 1, 2, 3].map(|number| shard(number, 4)));
    assert_eq!(states[2], slept, "nobody closed its session");
    assert!(world.story().iter().all(|line| !line.contains("start")));
}

#[test]
fn old_shards_that_never_had_their_turn_hold_up_no_new_ones() {
    let plan = ShardPlan::Total(40);
    let mut world = World::new(plan, limit(1000, 3600, 1), 40);
    world.fleet.config.re_shard = ReShardPolicy::StopThenStart;
    // Those that start get nowhere, so the others stay in the queue.
    world.hanging = (0..40).collect();
    world.tell(FleetInput::Start);
    assert!(world.started.len() < 30, "{:?}", world.started);
    world.hanging.clear();
    ask(&mut world, Some(3));
    world.pass(Duration::from_secs(20));
    assert_eq!(connected(&world), [3]);
}

#[test]
fn commands_for_a_layout_that_makes_way_are_for_the_next() {
    let mut world = with(ReShardPolicy::StopThenStart, 2);
    world.stubborn = vec![0, 1];
    ask(&mut world, Some(3));
    world.tell(stopped(shard(0, 2), StopReason::Requested));
    world.tell(FleetInput::Command {
        id: CommandId(9),
        to: Shards::Only(vec![0]),
        command: Command::status_update(StatusUpdate::online()).unwrap(),
        if_not_ready: IfNotReady::Queue,
    });
    let refused = (9, Answer::Refused(CommandError::NotReady));
    assert!(world.answers.contains(&refused), "{:?}", world.answers);
}

#[test]
fn what_is_fatal_for_the_bot_ends_it_also_on_a_shard_that_makes_way() {
    for policy in [ReShardPolicy::StopThenStart, ReShardPolicy::StartThenSwap] {
        let mut world = with(policy, 2);
        world.stubborn = vec![0, 1];
        ask(&mut world, Some(3));
        world.pass(Duration::from_secs(6));
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
fn what_is_fatal_for_the_bot_ends_it_also_on_a_shard_that_is_removed() {
    let mut world = with(ReShardPolicy::Report, 2);
    world.stubborn = vec![0];
    world.tell(FleetInput::RemoveShards {
        id: CommandId(5),
        filter: ShardFilter::none().or_shard(shard(0, 2)),
    });
    let why = StopReason::Fatal {
        code: CloseCode::new(4004),
    };
    world.tell(stopped(shard(0, 2), why.clone()));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.stops(), [&why]);
    assert_eq!(world.states.len(), 1, "whoever removed it is answered");
}
