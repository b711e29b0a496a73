//! Limits of session starts, and the address that is asked for: stories of whole fleets.

use std::time::Duration;

use shardwright_core::{Event, FleetError, ShardPlan, Stop, StopReason};
use shardwright_testkit::scenario::{Effect, RestFault, Step, When};
use shardwright_testkit::server::{Seen, ServerConfig, Target};
use shardwright_testkit::world::{BotId, BotSpec, Vanish, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn world(change: impl FnOnce(&mut ServerConfig)) -> World {
    World::builder().configure(change).build()
}

fn spec(plan: ShardPlan) -> BotSpec {
    let mut fleet = World::fleet_config();
    fleet.plan = plan;
    BotSpec::new(fleet)
}

/// When Identifies arrived, in order.
fn identifies(world: &World) -> Vec<(Duration, u64)> {
    let log = world.server().log().entries().iter();
    log.filter_map(|entry| match entry.what {
        Seen::Identify { bucket, .. } => Some((entry.at, bucket)),
        _ => None,
    })
    .collect()
}

fn requests(world: &World) -> Vec<Duration> {
    let log = world.server().log().entries().iter();
    log.filter(|entry| matches!(entry.what, Seen::Rest { .. }))
        .map(|entry| entry.at)
        .collect()
}

fn notices(world: &World, bot: BotId) -> impl Iterator<Item = (Duration, &Event<'static>)> {
    let taken = world.story(bot).taken.iter();
    taken.filter_map(|taken| Some((taken.at, taken.event.notice()?)))
}

#[test]
fn buckets_identify_side_by_side() {
    let mut wide = world(|server| (server.shards, server.max_concurrency) = (32, 16));
    let bot = wide.start_bot();
    wide.run_until(|world| world.all_live(bot)).unwrap();
    assert!(wide.time() < SECOND * 12, "{:?}", wide.time());
    let arrived = identifies(&wide);
    assert!(
        arrived[15].0 < SECOND * 2,
        "the first of each bucket at once"
    );
    for bucket in 0..16 {
        let of: Vec<_> = arrived.iter().filter(|(_, of)| *of == bucket).collect();
        assert!(of.len() == 2 && of[1].0 - of[0].0 >= SECOND * 5);
    }
    wide.check().unwrap();

    let mut one = world(|server| (server.shards, server.max_concurrency) = (64, 16));
    let ids = vec![0, 16, 32, 48];
    let bot = one.start(spec(ShardPlan::Ids {
        ids,
        total: Some(64),
    }));
    one.run_until(|world| world.all_live(bot)).unwrap();
    assert!(one.time() >= SECOND * 15 && one.time() < SECOND * 18);
    one.check().unwrap();
}

#[test]
fn a_dial_that_hangs_holds_up_nobody_and_a_late_hello_moves_the_next_turn() {
    let mut world = world(|server| server.shards = 2);
    let hang = Step::new(When::Dialled, [Effect::Hang]).times(1);
    world.with_server(|server, _| server.add_step(hang));
    let bot = world.start_bot();
    world.run_until(|world| world.live(bot) == 1).unwrap();
    assert!(world.time() < SECOND * 36, "{:?}", world.time());
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.check().unwrap();

    // The Hello of the first comes late: the five seconds count from its Identify.
    let mut late = World::builder()
        .configure(|server| server.shards = 2)
        .build();
    let wait = Step::new(When::Opened, [Effect::Wait(4900)]).times(1);
    late.with_server(|server, _| server.add_step(wait));
    let bot = late.start_bot();
    late.run_until(|world| world.all_live(bot)).unwrap();
    let arrived = identifies(&late);
    assert!(arrived[1].0 - arrived[0].0 >= SECOND * 5);
    late.check().unwrap();
}

#[test]
fn the_reset_is_waited_for_and_five_seconds_more() {
    let mut world = world(|server| {
        (server.shards, server.total, server.remaining) = (3, 100, 1);
        server.reset_after = MINUTE;
    });
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    let at: Vec<_> = identifies(&world).iter().map(|(at, _)| *at).collect();
    assert!(at[0] < SECOND * 2);
    let over = MINUTE + SECOND * 5;
    assert!(at[1] >= over && at[1] < over + SECOND * 2, "{at:?}");
    assert!(
        at[2] - at[1] >= SECOND * 5 && at[2] < over + SECOND * 8,
        "{at:?}"
    );
    world.check().unwrap();
}

#[test]
fn who_waits_for_a_turn_and_loses_its_line_identifies_once_on_the_next() {
    let mut world = world(|server| server.shards = 6);
    let bot = world.start_bot();
    world.run_until(|world| world.live(bot) == 4).unwrap();
    // The next has its line open and waits for its turn.
    world.run_for(SECOND).unwrap();
    world.step_wall(MINUTE * 60, false);
    let waiting = world.phase(bot, 4).unwrap();
    assert_eq!(waiting, shardwright_core::Phase::AwaitingPermit);
    let line = world.line(bot, 4).unwrap();
    world.reset(bot, 4);
    world.run_until(|world| world.all_live(bot)).unwrap();
    let log = world.server().log();
    assert_eq!(log.identifies(), 6);
    let on_the_dead = log
        .of(line)
        .filter(|entry| matches!(entry.what, Seen::Identify { .. }));
    assert_eq!(on_the_dead.count(), 0);
    assert!(world.time() < SECOND * 40);
    world.check().unwrap();
}

#[test]
fn a_spent_budget_stops_new_sessions_and_no_resume() {
    let limits = |server: &mut ServerConfig| {
        (server.shards, server.total, server.remaining) = (5, 1000, 3);
        server.reset_after = MINUTE * 60;
    };
    let mut first = world(limits);
    let bot = first.start_bot();
    first.run_until(|world| world.all_live(bot)).unwrap();
    let at: Vec<_> = identifies(&first).iter().map(|(at, _)| *at).collect();
    assert!(at[2] < MINUTE && at[3] >= MINUTE * 60, "{at:?}");
    first.check().unwrap();

    // Nothing is left, and all have sessions.
    first.with_server(|server, _| server.configure(|server| server.remaining = 0));
    first.stop(bot, Stop::Keep);
    first.run_until(|world| world.ended(bot)).unwrap();
    let states = first.last_states(bot).unwrap().to_vec();
    let began = first.time();
    let bot = first.start_with(states);
    first.run_until(|world| world.all_live(bot)).unwrap();
    assert!(first.time() - began < SECOND * 5);
    assert_eq!(first.server().log().resumed(), 5);
    first.check().unwrap();
}

#[test]
fn a_process_that_dies_after_each_identify_leaves_a_reserve() {
    let mut world = World::builder()
        .transcript(Some(0))
        .configure(|server| (server.total, server.remaining) = (100, 100))
        .build();
    let mut spec = spec(ShardPlan::Total(1));
    spec.stores = true;
    let mut saved = None;
    for _ in 0..200 {
        let before = world.server().log().identifies();
        let bot = world.start_again(spec.clone(), saved.take());
        let end = world.time() + MINUTE;
        let _ = world.run_until_within(MINUTE, |world| {
            world.server().log().identifies() > before || world.time() >= end
        });
        // READY never reaches it.
        world.crash(bot, Vanish::Process);
        saved = world.saved(bot).cloned();
        world.run_for(SECOND * 6).unwrap();
    }
    assert_eq!(world.server().log().identifies(), 90);
    world.check().unwrap();
}

#[test]
fn what_rest_refuses_is_asked_for_less_and_less_often() {
    // Told to wait for most of a day, by a proxy's page.
    let day = 82_800;
    let mut world = world(|server| server.shards = 2);
    world.with_server(|server, _| {
        server.push_rest_fault(fault(|fault| {
            (fault.status, fault.retry_after_header) = (Some(429), Some(day));
            fault.html = true;
        }));
    });
    let bot = world.start_bot();
    world.run_for(Duration::from_secs(day - 10)).unwrap();
    assert_eq!(requests(&world).len(), 1);
    world.run_until(|world| world.all_live(bot)).unwrap();
    assert!(world.time() < Duration::from_secs(day) + MINUTE * 2);
    world.check().unwrap();
}

fn fault(change: impl FnOnce(&mut RestFault)) -> RestFault {
    let mut fault = RestFault::default();
    change(&mut fault);
    fault
}

#[test]
fn nonsense_from_rest_is_asked_again_after_capped_pauses() {
    let mut world = world(|server| server.shards = 2);
    for turn in 0..24 {
        let fault = fault(|fault| match turn % 4 {
            0 => fault.status = Some(502),
            1 => (fault.status, fault.html) = (Some(520), true),
            2 => fault.cut_body = Some(30),
            _ => fault.hang = true,
        });
        world.with_server(|server, _| server.push_rest_fault(fault));
    }
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    let asked = requests(&world);
    assert_eq!(asked.len(), 25);
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (early, late): (Duration, Duration) = (pauses[..4].iter().sum(), pauses[20..].iter().sum());
    assert!(late > early * 2, "{pauses:?}");
    assert!(
        pauses.iter().all(|pause| *pause < SECOND * 75),
        "{pauses:?}"
    );
    world.check().unwrap();
}

#[test]
fn a_token_that_rest_refuses_ends_the_bot() {
    let mut world = world(|_| {});
    let refused = fault(|fault| fault.status = Some(401));
    world.with_server(|server, _| server.push_rest_fault(refused));
    let bot = world.start_bot();
    world.run_for(MINUTE * 60).unwrap();
    assert!(world.ended(bot));
    assert_eq!((requests(&world).len(), world.lines().len()), (1, 0));
    let end = notices(&world, bot).last().unwrap().1;
    assert!(
        matches!(
            end,
            Event::Stopped {
                why: StopReason::Fetch(_),
                ..
            }
        ),
        "{end:?}"
    );
    world.check().unwrap();
}

#[test]
fn a_short_wait_may_be_named_in_the_body() {
    let mut world = world(|_| {});
    let short = fault(|fault| (fault.status, fault.retry_after) = (Some(429), Some(0.3)));
    world.with_server(|server, _| server.push_rest_fault(short));
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    let asked = requests(&world);
    assert!((Duration::from_millis(300)..SECOND * 3).contains(&(asked[1] - asked[0])));
    world.check().unwrap();
}

#[test]
fn shards_that_run_need_no_rest() {
    let mut world = world(|server| server.shards = 2);
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.no_rest(MINUTE * 60);
    world.play(&Target::All, &[Effect::Op9(false.into())]);
    world.run_for(MINUTE).unwrap();
    assert!(world.all_live(bot));
    assert_eq!(
        (world.server().log().identifies(), requests(&world).len()),
        (4, 1)
    );
    // And a change that would need it fails, told, with the old layout untouched.
    let asked = world.re_shard(bot, Some(4));
    world
        .run_until(|world| world.done(bot, asked).is_some())
        .unwrap();
    let done = world.done(bot, asked).unwrap();
    assert!(matches!(done, Err(FleetError::Fetch(_))), "{done:?}");
    assert!(world.all_live(bot));
    world.check().unwrap();
}

#[test]
fn resumes_take_no_turns() {
    let mut world = world(|server| server.shards = 16);
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.run_for(MINUTE).unwrap();
    let asked = world.time();
    world.play(&Target::All, &[Effect::Op7]);
    world
        .run_until(|world| world.server().log().resumed() == 16)
        .unwrap();
    assert!(world.time() - asked < SECOND * 3);
    assert_eq!(world.server().log().identifies(), 16);
    world.check().unwrap();
}

#[test]
fn two_bots_do_not_wait_for_each_other() {
    let mut world = world(|server| server.shards = 3);
    let mut other = spec(ShardPlan::Total(3));
    other.fleet.token = shardwright_core::Token::new("MTA6.another-bot.never-shown").unwrap();
    let x = world.start(spec(ShardPlan::Total(3)));
    world.run_for(Duration::from_millis(700)).unwrap();
    let began = world.time();
    let y = world.start(other);
    world
        .run_until(|world| world.all_live(x) && world.all_live(y))
        .unwrap();
    assert!(world.time() < SECOND * 13);
    let lines = world.lines().iter().filter(|line| line.bot == y);
    let sent = lines.flat_map(|line| line.sent.iter().filter(|sent| sent.op == 2));
    let first = sent.map(|sent| sent.at).min().unwrap();
    assert!(first - began < SECOND, "{:?}", first - began);
    world.check().unwrap();
}
