//! Another number of shards for a running bot.

use super::*;

pub(super) fn with(policy: ReShardPolicy, shards: u32) -> World {
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 16), shards);
    world.fleet.config.re_shard = policy;
    world.tell(FleetInput::Start);
    world.story();
    world
}

pub(super) fn demand(world: &mut World, number: u32, total: u32) {
    world.tell(stopped(shard(number, total), StopReason::ReShardRequired));
}

pub(super) fn ask(world: &mut World, to: Option<u32>) {
    let id = CommandId(1);
    world.tell(FleetInput::ReShard { id, to });
}

pub(super) fn re_shards(world: &World) -> Vec<(u32, Option<u32>)> {
    let events = world.events.iter().filter_map(|(_, event)| match event {
        Event::ReShard { from, to } => Some((*from, *to)),
        _ => None,
    });
    events.collect()
}

pub(super) fn connected(world: &World) -> Vec<u32> {
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
