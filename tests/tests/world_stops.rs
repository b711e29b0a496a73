//! Stories of bots with several shards that are told to stop.

use std::time::Duration;

use shardwright_core::{Event, ReShardPolicy, ShardFilter, ShardPlan, Stop, StopReason};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::{Seen, Target};
use shardwright_testkit::world::{BotId, BotSpec, Consumer, DialFate, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn up(shards: u64, rate: f64) -> (World, BotId) {
    let mut world = World::builder()
        .configure(|server| {
            (server.shards, server.rate, server.max_concurrency) = (shards, rate, 16);
        })
        .build();
    let mut spec = BotSpec::new(World::fleet_config());
    spec.stores = true;
    let bot = world.start(spec);
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.run_for(SECOND * 10).unwrap();
    (world, bot)
}

/// Stops, says how long that took, and sees to it that nobody comes back.
fn stop(world: &mut World, bot: BotId, how: Stop) -> Duration {
    let asked = world.time();
    world.stop(bot, how);
    world
        .run_until_within(MINUTE, |world| world.ended(bot))
        .unwrap();
    let took = world.time() - asked;
    let dials = world.lines().len();
    world.run_for(MINUTE * 60).unwrap();
    assert_eq!(world.lines().len(), dials, "nobody dials after a stop");
    let ends = world.story(bot).taken.iter();
    let ends = ends.filter(|taken| matches!(taken.event.notice(), Some(Event::Stopped { .. })));
    assert_eq!(ends.count(), 1);
    world.check().unwrap();
    took
}

#[test]
fn in_the_middle_of_long_pauses_it_is_done_at_once() {
    let (mut world, bot) = up(8, 0.0);
    world.dials(None, DialFate::Refused, MINUTE * 60);
    world.play(&Target::All, &[Effect::Fin]);
    world.run_for(MINUTE * 10).unwrap();
    assert_eq!(world.live(bot), 0);
    assert!(stop(&mut world, bot, Stop::Keep) < Duration::from_millis(200));
    // The sessions outlive it.
    let states = world.last_states(bot).unwrap();
    assert!(states.len() == 8 && states.iter().all(|state| state.is_resumable()));
}

#[test]
fn what_crosses_it_on_the_wire_brings_nobody_back() {
    let news = [
        vec![Effect::Op7],
        vec![Effect::Op9(false.into())],
        vec![Effect::Op9(true.into())],
        vec![Effect::Close(Some(4000))],
        vec![Effect::Fin],
        vec![Effect::Rst],
    ];
    for effects in news {
        for how in [Stop::Keep, Stop::Final] {
            for late in [0, 20, 45, 80, 150] {
                let (mut world, bot) = up(3, 1.0);
                world.play(&Target::All, &effects);
                world.run_for(Duration::from_millis(late)).unwrap();
                let took = stop(&mut world, bot, how);
                assert!(took <= SECOND * 6, "{effects:?} {how:?}: {took:?}");
            }
        }
    }
}

#[test]
fn a_final_one_says_goodbye_on_every_line_and_leaves_nothing_stored() {
    let (mut world, bot) = up(100, 0.0);
    assert!(stop(&mut world, bot, Stop::Final) <= SECOND);
    let log = world.server().log();
    let goodbyes = log.count(|seen| matches!(seen, Seen::ClosedByClient { code: 1000, .. }));
    assert_eq!(goodbyes, 100);
    let saved = world.saved(bot).unwrap();
    assert!(saved.ended_in_order);
    assert!(saved.shards.iter().all(|state| !state.is_resumable()));
}

#[test]
fn one_that_keeps_leaves_each_session_after_the_last_event_taken() {
    let (mut world, bot) = up(4, 20.0);
    world.set_consumer(bot, Consumer::Every(Duration::from_millis(30)));
    world.run_for(SECOND * 20).unwrap();
    world.stop(bot, Stop::Keep);
    world
        .run_until_within(MINUTE, |world| world.ended(bot))
        .unwrap();
    for state in world.last_states(bot).unwrap() {
        let taken = world.sequence_of(bot, state.shard);
        assert_eq!(state.seq, taken.last().copied());
    }
    let saved = world.saved(bot).cloned();
    let next = world.start_again(BotSpec::new(World::fleet_config()), saved);
    world
        .run_until_within(SECOND * 10, |world| world.all_live(next))
        .unwrap();
    world.run_for(SECOND * 10).unwrap();
    assert_eq!(world.server().log().identifies(), 4);
    world.check().unwrap();
}

/// How a shard is told to leave and to keep its session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leave {
    Stop,
    Removed,
    /// A new layout had begun beside its own, and had not taken over.
    StopBeforeASwap,
}

/// One shard whose mailbox of 20 was full and holds 15: it does not read what comes now.
fn full_mailbox() -> (World, BotId) {
    let mut world = World::builder()
        .configure(|server| server.shards = 1)
        .build();
    let mut spec = BotSpec::new(World::fleet_config());
    spec.mailbox_events = 20;
    spec.fleet.re_shard = ReShardPolicy::StartThenSwap;
    let bot = world.start(spec);
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.run_for(SECOND).unwrap();
    world.set_consumer(bot, Consumer::Pauses);
    push(&mut world, 20);
    world.set_consumer(bot, Consumer::Every(SECOND));
    world.run_for(Duration::from_millis(4500)).unwrap();
    world.set_consumer(bot, Consumer::Pauses);
    (world, bot)
}

fn push(world: &mut World, events: u64) {
    for _ in 0..events {
        world.push_event(&Target::All, "MESSAGE_CREATE", "{}");
    }
    world.run_for(SECOND).unwrap();
}

#[test]
fn what_is_taken_back_of_a_session_that_turns_out_to_be_lost_is_given_after_all() {
    for how in [Leave::Stop, Leave::Removed, Leave::StopBeforeASwap] {
        let (mut world, bot) = full_mailbox();
        push(&mut world, 3);
        world.play(&Target::All, &[Effect::Close(Some(4006))]);
        world.run_for(SECOND).unwrap();
        let given = world.sequence(bot, 0).len();
        match how {
            Leave::Stop => world.stop(bot, Stop::Keep),
            Leave::Removed => {
                world.remove_shards(bot, ShardFilter::all());
            }
            Leave::StopBeforeASwap => {
                world.re_shard(bot, Some(4));
                world.run_for(SECOND).unwrap();
                world.stop(bot, Stop::Keep);
            }
        }
        world.run_for(SECOND * 10).unwrap();
        world.set_consumer(bot, Consumer::AtOnce);
        world.run_for(SECOND * 10).unwrap();
        let mut notices = world.story(bot).taken.iter();
        let lost = notices.find_map(|taken| match taken.event.notice() {
            Some(Event::SessionLost { last_seq, .. }) => Some(*last_seq),
            _ => None,
        });
        let taken = world.sequence(bot, 0);
        assert!(taken.len() >= given + 15, "{how:?}: {taken:?}");
        assert!(taken.iter().copied().eq(1..=lost.unwrap()), "{how:?}");
        assert!(world.story(bot).swapped.is_empty());
        world.check().unwrap();
    }
}

#[test]
fn who_leaves_takes_no_more_from_the_line_than_there_is_room_for() {
    let (mut world, bot) = full_mailbox();
    push(&mut world, 500);
    world.play(&Target::All, &[Effect::Close(Some(4006))]);
    world.run_for(SECOND).unwrap();
    world.stop(bot, Stop::Keep);
    world.run_for(SECOND * 10).unwrap();
    world.set_consumer(bot, Consumer::AtOnce);
    world.run_for(SECOND).unwrap();
    let state = &world.last_states(bot).unwrap()[0];
    assert_eq!(state.seq, world.sequence(bot, 0).last().copied());
    assert!(world.story(bot).most_mail < 25);
    world.check().unwrap();
}

#[test]
fn peers_that_never_answer_hold_it_up_for_five_seconds_at_most() {
    let (mut world, bot) = up(8, 0.0);
    world.play(&Target::All, &[Effect::Hang]);
    world.run_for(SECOND).unwrap();
    world.stop(bot, Stop::Final);
    // Twice, and the second time in another way.
    world.stop(bot, Stop::Keep);
    let took = stop(&mut world, bot, Stop::Final);
    assert!(took <= Duration::from_millis(5100), "{took:?}");
}

#[test]
fn before_anything_has_begun_it_ends_the_stream_too() {
    let mut world = World::builder().build();
    world.no_rest(MINUTE * 10);
    let bot = world.start_bot();
    world.run_for(SECOND).unwrap();
    assert_eq!(stop(&mut world, bot, Stop::Keep), Duration::ZERO);
    let mut fleet = World::fleet_config();
    fleet.plan = ShardPlan::Exactly(Vec::new());
    let mut world = World::builder().build();
    let bot = world.start(BotSpec::new(fleet));
    world.run_for(MINUTE).unwrap();
    assert_eq!(stop(&mut world, bot, Stop::Final), Duration::ZERO);
    let end = world.story(bot).taken.last().unwrap().event.notice();
    assert!(matches!(
        end,
        Some(Event::Stopped {
            why: StopReason::Requested,
            ..
        })
    ));
}
