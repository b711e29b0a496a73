//! Stories of fleets: shards that move, layouts that change, limits that bots share or do not.

use std::collections::BTreeMap;
use std::time::Duration;

use shardwright_core::{
    Event, Phase, Problem, ReShardPolicy, ShardFilter, ShardId, ShardPlan, Stop, StopReason,
};
use shardwright_testkit::scenario::{Effect, Selector, Step, When};
use shardwright_testkit::server::{Seen, ServerConfig, Target};
use shardwright_testkit::world::{BotId, BotSpec, Consumer, Gate, Taken, Vanish, World};

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

fn id(number: u32, total: u32) -> ShardId {
    ShardId::new(number, total).unwrap()
}

fn only(shards: impl IntoIterator<Item = ShardId>) -> ShardFilter {
    ShardFilter::none().or_shards(shards)
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

fn notices(world: &World, bot: BotId) -> impl Iterator<Item = (Duration, &Event<'static>)> {
    let taken = world.story(bot).taken.iter();
    taken.filter_map(|taken| Some((taken.at, taken.event.notice()?)))
}

/// Lets shards go from one bot and run in another.
fn hand_over(world: &mut World, from: BotId, to: BotId, shards: &[ShardId]) {
    let removed = world.remove_shards(from, only(shards.iter().copied()));
    world
        .run_until_within(MINUTE, |world| world.answered(from, removed).is_some())
        .unwrap();
    let states = world.answered(from, removed).unwrap().to_vec();
    assert_eq!(states.len(), shards.len());
    let added = world.add_shards(to, states);
    assert_eq!(world.done(to, added), Some(&Ok(())));
}

#[test]
fn shards_move_to_another_bot_under_flow_and_back() {
    let mut world = world(|server| (server.shards, server.rate) = (4, 20.0));
    let a = world.start(spec(ShardPlan::Total(4)));
    let b = world.start(spec(ShardPlan::Exactly(Vec::new())));
    world.run_until(|world| world.all_live(a)).unwrap();
    world.set_consumer(a, Consumer::Every(Duration::from_millis(11)));
    let (one, three) = (id(1, 4), id(3, 4));
    for _ in 0..5 {
        world.run_for(SECOND * 7).unwrap();
        hand_over(&mut world, a, b, &[one, three]);
        world.run_for(SECOND * 7).unwrap();
        hand_over(&mut world, b, a, &[one, three]);
    }
    world.set_consumer(a, Consumer::AtOnce);
    world.run_for(SECOND * 10).unwrap();
    assert!(world.all_live(a));
    assert_eq!(world.server().log().identifies(), 4);
    let mut all = world.sequence_of(a, one);
    all.extend(world.sequence_of(b, one));
    all.sort_unstable();
    let count = all.len() as u64;
    assert!(count > 1000 && all.into_iter().eq(1..=count));
    world.calm();
    world.run_for(MINUTE * 2).unwrap();
    world.check().unwrap();
}

#[test]
fn shards_are_told_apart_by_layout_as_well() {
    let mut world = world(|server| server.rate = 2.0);
    let bot = world.start(spec(ShardPlan::Exactly(vec![id(0, 1), id(0, 2), id(1, 2)])));
    world.run_until(|world| world.all_live(bot)).unwrap();
    let removed = world.remove_shards(bot, only([id(0, 1)]));
    world.run_for(SECOND * 5).unwrap();
    assert_eq!(world.answered(bot, removed).unwrap().len(), 1);
    assert!(world.present(bot).eq([id(0, 2), id(1, 2)]));
    world.run_for(MINUTE).unwrap();
    assert!(world.all_live(bot));
    for shard in [id(0, 2), id(1, 2)] {
        let taken = world.sequence_of(bot, shard);
        assert!(taken.len() > 100 && taken.iter().copied().eq(1..=taken.len() as u64));
    }
    assert_eq!(world.lines().len(), 3, "nobody dialled again");
    world.check().unwrap();
}

/// Gives each layout the same numbered event, on the shard of the same guild.
fn push_numbered(world: &mut World, number: u64, guild: u64, totals: &[u32]) {
    let d = format!(r#"{{"guild_id":"{guild}","n":{number}}}"#);
    for total in totals {
        let shard = (guild >> 22) % u64::from(*total);
        let target = Target::Shard(shardwright_testkit::server::Shard {
            number: shard,
            total: u64::from(*total),
        });
        world.push_event(&target, "MESSAGE_CREATE", &d);
    }
}

#[test]
fn a_new_layout_takes_over_under_flow_and_each_event_comes_once() {
    for seed in 0..20 {
        let mut world = World::builder()
            .seed(seed)
            .configure(|server| (server.shards, server.max_concurrency) = (2, 2))
            .build();
        let mut spec = spec(ShardPlan::Total(2));
        spec.fleet.re_shard = ReShardPolicy::StartThenSwap;
        let bot = world.start(spec);
        world.run_until(|world| world.all_live(bot)).unwrap();
        let asked = world.re_shard(bot, Some(4));
        let mut number = 0;
        for _ in 0..300 {
            world.run_for(Duration::from_millis(100)).unwrap();
            number += 1;
            push_numbered(&mut world, number, number << 22, &[2, 4]);
        }
        assert_eq!(world.done(bot, asked), Some(&Ok(())));
        world.run_for(SECOND * 20).unwrap();
        assert!(world.all_live(bot));
        assert!(world.present(bot).all(|shard| shard.total() == 4));
        assert_eq!(world.story(bot).swapped.len(), 1);
        let mut seen = BTreeMap::<u64, usize>::new();
        for taken in &world.story(bot).taken {
            if let shardwright_testkit::world::TakenEvent::Dispatch { name, body, .. } =
                &taken.event
                && name == "MESSAGE_CREATE"
            {
                let body: serde_json::Value = serde_json::from_slice(body).unwrap();
                *seen.entry(body["n"].as_u64().unwrap()).or_default() += 1;
            }
        }
        assert_eq!(seen.len() as u64, number, "seed {seed}: none is missing");
        assert!(
            seen.values().all(|times| *times == 1),
            "seed {seed}: none twice"
        );
        // The old layout left only when all of the new one were READY.
        let swap = world.story(bot).swapped[0];
        let ready = notices(&world, bot)
            .filter(|(at, event)| {
                *at <= swap && matches!(event, Event::Ready { shard, .. } if shard.total() == 4)
            })
            .count();
        assert_eq!(ready, 4);
        world.check().unwrap();
    }
}

#[test]
fn a_new_layout_brings_no_more_than_it_lately_heard() {
    let mut world =
        world(|server| (server.shards, server.max_concurrency, server.rate) = (1, 1, 10.0));
    let mut spec = spec(ShardPlan::Total(1));
    spec.fleet.re_shard = ReShardPolicy::StartThenSwap;
    spec.mailbox_events = 20;
    let bot = world.start(spec);
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.re_shard(bot, Some(8));
    // The first of the new layout listens for half a minute before the last is up.
    let is_new =
        |event: &Event<'_>| matches!(event, Event::Ready { shard, .. } if shard.total() == 8);
    world
        .run_until(|world| {
            notices(world, bot)
                .filter(|(_, event)| is_new(event))
                .count()
                == 8
        })
        .unwrap();
    // Nothing more comes of the old one's session, so it is not waited for.
    let old = Target::Shard(shardwright_testkit::server::Shard {
        number: 0,
        total: 1,
    });
    world.play(&old, &[Effect::Op9(false.into())]);
    world.run_for(SECOND).unwrap();
    assert!(world.story(bot).swapped.is_empty());
    world.set_consumer(bot, Consumer::Pauses);
    world.run_for(SECOND * 30).unwrap();
    let story = world.story(bot);
    assert_eq!(story.swapped.len(), 1);
    let lately = story.lives.iter().map(|life| life.heard_lately).max();
    assert!((80..=120).contains(&lately.unwrap()), "{lately:?}");
    assert!(story.most_mail > 80, "{}", story.most_mail);
    world.set_consumer(bot, Consumer::AtOnce);
    world.run_for(MINUTE).unwrap();
    world.check().unwrap();
}

#[test]
fn a_demand_for_more_shards_stops_the_old_and_starts_the_new() {
    let mut world = world(|server| (server.shards, server.max_concurrency) = (2, 4));
    let bot = world.start(spec(ShardPlan::Total(2)));
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.with_server(|server, _| {
        server.configure(|server| {
            (server.total_guilds, server.shards, server.max_concurrency) = (Some(10_000), 4, 1);
        });
    });
    world.play(&Target::All, &[Effect::Op9(false.into())]);
    world
        .run_until_within(MINUTE * 5, |world| {
            world.all_live(bot) && world.present(bot).count() == 4
        })
        .unwrap();
    world.run_for(MINUTE).unwrap();
    assert!(notices(&world, bot).any(|(_, event)| matches!(
        event,
        Event::ReShard {
            from: 2,
            to: Some(4)
        }
    )));
    // Four of one bucket now.
    let arrived = identifies(&world);
    let apart = arrived.windows(2).rev().take(3);
    assert!(
        apart
            .into_iter()
            .all(|pair| pair[1].0 - pair[0].0 >= SECOND * 5)
    );
    world.check().unwrap();
}

#[test]
fn a_gate_of_its_own_that_fails_now_and_then_lets_all_through() {
    let mut world = world(|server| (server.shards, server.max_concurrency) = (6, 2));
    let mut gated = spec(ShardPlan::Total(6));
    gated.gate = Some(Gate {
        at_most: SECOND * 20,
        fails_once_in: 3,
    });
    let bot = world.start(gated);
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.play(&Target::All, &[Effect::Op9(false.into())]);
    world.run_for(SECOND * 10).unwrap();
    world.run_until(|world| world.all_live(bot)).unwrap();
    let story = world.story(bot);
    assert_eq!(story.gate_opened.len(), 12);
    assert!(story.gate_asked > 12, "it has failed too");
    assert!(notices(&world, bot).any(|(_, event)| matches!(
        event,
        Event::Problem {
            problem: Problem::GateFailed,
            ..
        }
    )));
    world.check().unwrap();
}

#[test]
fn what_a_lost_session_left_outlives_the_driver_of_its_shard() {
    let mut world = world(|server| (server.shards, server.rate) = (1, 10.0));
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.set_consumer(bot, Consumer::Pauses);
    world.run_for(SECOND * 5).unwrap();
    world.play(&Target::All, &[Effect::Op9(false.into())]);
    world.run_for(SECOND).unwrap();
    world.fell(bot, 0);
    world.set_consumer(bot, Consumer::AtOnce);
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.run_for(MINUTE * 3).unwrap();
    let lost = |taken: &Taken| matches!(taken.event.notice(), Some(Event::SessionLost { .. }));
    assert!(world.story(bot).taken.iter().any(lost));
    world.check().unwrap();
}

#[test]
fn a_removed_shard_stays_away_and_one_that_fell_comes_back_with_its_session() {
    let mut world = world(|server| (server.shards, server.rate) = (3, 10.0));
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.remove_shards(bot, only([id(1, 3)]));
    world.run_for(SECOND * 5).unwrap();
    let dials = world.lines().len();
    world.run_for(MINUTE * 60).unwrap();
    assert_eq!(world.lines().len(), dials);
    world.set_consumer(bot, Consumer::Every(SECOND));
    world.run_for(SECOND * 10).unwrap();
    world.fell(bot, 2);
    world.run_for(SECOND * 10).unwrap();
    world.set_consumer(bot, Consumer::AtOnce);
    world.run_for(SECOND * 10).unwrap();
    assert!(world.all_live(bot));
    assert_eq!(
        (
            world.server().log().identifies(),
            world.server().log().resumed()
        ),
        (3, 1)
    );
    let taken = world.sequence(bot, 2);
    assert!(
        taken.iter().copied().eq(1..=taken.len() as u64),
        "each once"
    );
    world.check().unwrap();
}

#[test]
fn a_killed_bot_goes_on_from_what_was_stored() {
    let mut world = world(|server| (server.shards, server.rate) = (3, 5.0));
    let mut stored = spec(ShardPlan::Recommended);
    stored.stores = true;
    let mut bot = world.start(stored.clone());
    world.run_until(|world| world.all_live(bot)).unwrap();
    for turn in 0..4 {
        world.run_for(SECOND * 23).unwrap();
        if turn % 2 == 0 {
            world.crash(bot, Vanish::Process);
        } else {
            world.stop(bot, Stop::Keep);
            world.run_until(|world| world.ended(bot)).unwrap();
        }
        let saved = world.saved(bot).cloned().unwrap();
        assert_eq!(saved.ended_in_order, turn % 2 == 1);
        assert_eq!(saved.starts.unwrap().0, 997);
        bot = world.start_again(stored.clone(), Some(saved));
        world
            .run_until_within(SECOND * 10, |world| world.all_live(bot))
            .unwrap();
    }
    assert_eq!(world.server().log().identifies(), 3);
    world.check().unwrap();
}

#[test]
fn one_shards_trouble_leaves_the_others_alone() {
    let mut world = world(|server| (server.shards, server.rate) = (4, 1.0));
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    let quiet: Vec<_> = [0, 1, 3]
        .map(|shard| world.line(bot, shard).unwrap())
        .into();
    let target = Target::Number(2);
    for _ in 0..5 {
        world.reset(bot, 2);
        world.run_for(SECOND * 70).unwrap();
    }
    let how = shardwright_testkit::scenario::Damage::BadUtf8;
    let damage = Effect::Damage {
        how,
        seq: None,
        count: None,
    };
    world.play(&target, &[damage, Effect::Events(1)]);
    world.run_for(MINUTE).unwrap();
    world.play(&target, &[Effect::Close(Some(4010))]);
    world.run_for(MINUTE * 10).unwrap();
    assert_eq!(world.live(bot), 3);
    for (shard, line) in [0, 1, 3].into_iter().zip(quiet) {
        assert_eq!(
            world.line(bot, shard),
            Some(line),
            "shard {shard} never left its line"
        );
        let beats = world.server().log().beats(line);
        let least = Duration::from_millis(41_250 - 500);
        let most = Duration::from_millis(41_250 + 500);
        assert!(beats.len() > 15);
        assert!(
            beats
                .windows(2)
                .all(|pair| (least..most).contains(&(pair[1] - pair[0])))
        );
    }
    assert!(notices(&world, bot).any(
        |(_, event)| matches!(event, Event::ShardStopped { shard, .. } if *shard == id(2, 4))
    ));
    world.check().unwrap();
}

#[test]
fn four_shards_whose_sessions_end_at_once_pause_each_for_itself() {
    let mut spread = (Duration::MAX, Duration::ZERO);
    for seed in 0..50 {
        let mut world = World::builder()
            .seed(seed)
            .configure(|server| (server.shards, server.max_concurrency) = (4, 4))
            .build();
        let bot = world.start_bot();
        world.run_until(|world| world.all_live(bot)).unwrap();
        world.run_for(MINUTE).unwrap();
        let (before, hit) = (world.lines().len(), world.time());
        world.play(&Target::All, &[Effect::Op9(false.into())]);
        world
            .run_until(|world| world.server().log().readies() == 8)
            .unwrap();
        let dials: Vec<_> = world.lines()[before..]
            .iter()
            .map(|line| line.dialled - hit)
            .collect();
        let mut pauses = identifies(&world)[4..]
            .iter()
            .map(|(at, _)| *at - hit)
            .collect::<Vec<_>>();
        pauses.sort_unstable();
        assert_eq!((dials.len(), pauses.len()), (4, 4));
        // The news takes up to 70 ms, the dial and Identify up to half a second.
        let most = SECOND * 5 + Duration::from_millis(600);
        assert!(
            pauses
                .iter()
                .all(|pause| *pause >= SECOND && *pause <= most),
            "{pauses:?}"
        );
        assert!(pauses.windows(2).all(|pair| pair[0] != pair[1]));
        spread = (spread.0.min(pauses[0]), spread.1.max(pauses[3]));
        world.check().unwrap();
    }
    assert!(spread.1 - spread.0 > SECOND * 3, "{spread:?}");
}

#[test]
fn who_takes_shards_from_a_bot_that_is_ending_gets_none() {
    let mut world = world(|server| (server.shards, server.rate) = (2, 20.0));
    let (zero, one) = (id(0, 2), id(1, 2));
    let a = world.start(spec(ShardPlan::Total(2)));
    let b = world.start(spec(ShardPlan::Exactly(Vec::new())));
    world.run_until(|world| world.all_live(a)).unwrap();
    // Its consumer will not know of the end for long.
    world.set_consumer(a, Consumer::Every(SECOND));
    world.run_for(SECOND * 5).unwrap();
    let second = Target::Shard(shardwright_testkit::server::Shard {
        number: 1,
        total: 2,
    });
    world.play(&second, &[Effect::Close(Some(4014))]);
    world
        .run_until(|world| world.phase_of(a, one) == Some(Phase::Stopped))
        .unwrap();
    let mut given = Vec::new();
    for wait in [1, 10, 10, 10, 10, 10, 2000] {
        world.run_for(Duration::from_millis(wait)).unwrap();
        let removed = world.remove_shards(a, only([zero]));
        world
            .run_until(|world| world.answered(a, removed).is_some())
            .unwrap();
        let states = world.answered(a, removed).unwrap().to_vec();
        given.extend(states.iter().cloned());
        world.add_shards(b, states);
    }
    assert_eq!(world.phase_of(a, zero), Some(Phase::Stopped));
    world.set_consumer(a, Consumer::AtOnce);
    world.run_until(|world| world.ended(a)).unwrap();
    let left = world.last_states(a).unwrap().to_vec();
    assert!(given.is_empty(), "they are left behind: {left:?}");
    let c = world.start_with(left);
    world.run_until(|world| world.all_live(c)).unwrap();
    world.run_for(SECOND * 5).unwrap();
    let mut all = world.sequence_of(a, zero);
    all.extend(world.sequence_of(c, zero));
    assert!(all.iter().copied().eq(1..=all.len() as u64));
    world.calm();
    world.run_for(MINUTE * 2).unwrap();
    world.check().unwrap();
}

#[test]
fn a_fatal_code_of_one_stops_all_and_every_turn_that_waits() {
    for code in [4004, 4010, 4012, 4013, 4014] {
        let mut world = world(|server| server.shards = 3);
        let on = Selector::shard(1);
        let close = Step::new(When::Identify, [Effect::Close(Some(code))])
            .on(on)
            .instead();
        world.with_server(|server, _| server.add_step(close));
        let bot = world.start_bot();
        world
            .run_until(|world| {
                let mut lines = world.lines().iter();
                lines.any(|line| line.closed.is_some_and(|(_, closed)| closed == Some(code)))
            })
            .unwrap();
        let dials = world.lines().len();
        world.run_for(MINUTE * 60).unwrap();
        if code == 4010 {
            assert_eq!(world.live(bot), 2, "the others are not concerned");
            let again = world.lines()[dials..]
                .iter()
                .filter(|line| line.shard == id(1, 3));
            assert_eq!(again.count(), 0);
        } else {
            assert!(world.ended(bot), "{code}");
            assert_eq!(world.lines().len(), dials, "{code}: nobody dials");
            assert_eq!(world.server().log().identifies(), 2);
            let end = notices(&world, bot).last().unwrap().1;
            let Event::Stopped {
                why: StopReason::Fatal { code: why },
                ..
            } = end
            else {
                panic!("{end:?}");
            };
            assert_eq!(why.get(), code);
        }
        world.check().unwrap();
    }
}
