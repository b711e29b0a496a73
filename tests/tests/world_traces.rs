//! What bots live through in a world comes out the same again when it is replayed.

use std::time::{Duration, Instant};

use shardwright_core::trace::{self, Replayed};
use shardwright_core::{Command, Compression, ReShardPolicy, Shards, StatusUpdate, Stop};
use shardwright_testkit::scenario::{Damage, Effect, Listener};
use shardwright_testkit::server::Target;
use shardwright_testkit::world::{
    BotId, BotSpec, Consumer, DialFate, HostClock, Network, Vanish, Way, World, WorldError,
};

fn world(compression: Compression) -> (World, BotId) {
    let mut world = World::builder()
        .seed(11)
        .network(Network {
            latency: Duration::from_millis(40),
            jitter: Duration::from_millis(20),
            ..Network::default()
        })
        .configure(|server| {
            server.shards = 3;
            server.rate = 0.5;
        })
        .build();
    let mut fleet = World::fleet_config();
    fleet.template.compression = compression;
    fleet.re_shard = ReShardPolicy::StartThenSwap;
    let mut spec = BotSpec::new(fleet);
    spec.record = true;
    let bot = world.start(spec);
    (world, bot)
}

fn minutes(world: &mut World, minutes: u64) -> Result<(), WorldError> {
    world.run_for(Duration::from_secs(60 * minutes))
}

/// An eventful day.
fn live(world: &mut World, bot: BotId) -> Result<(), WorldError> {
    minutes(world, 2)?;
    for effects in [
        vec![Effect::Op7],
        vec![Effect::Op9(false.into())],
        vec![Effect::Close(Some(4009))],
        vec![Effect::Rst],
        vec![
            Effect::Damage {
                how: Damage::BadUtf8,
                seq: None,
                count: None,
            },
            Effect::Events(2),
        ],
        vec![Effect::SkipSeq(2), Effect::Events(1)],
        vec![Effect::WithholdAcks(None)],
    ] {
        world.play(&Target::Number(1), &effects);
        minutes(world, 4)?;
    }
    world.stall(bot, 0, Way::ToClient, None);
    world.set_consumer(bot, Consumer::Pauses);
    world.flood(&Target::Number(2), 300);
    minutes(world, 5)?;
    world.set_consumer(bot, Consumer::AtOnce);
    world.dials(
        Some(Listener::Resume),
        DialFate::Refused,
        Duration::from_secs(60),
    );
    world.sleep(bot, Duration::from_secs(200), HostClock::Stops);
    minutes(world, 6)?;
    world.step_wall(Duration::from_secs(3000), true);
    world.fell(bot, 2);
    minutes(world, 3)?;
    let command = Command::status_update(StatusUpdate::idle(None)).expect("a presence");
    world.command(bot, Shards::All, command);
    world.re_shard(bot, Some(2));
    minutes(world, 6)
}

/// Told at another time of the clock, of course.
fn replay(world: &World, bot: BotId) -> Replayed {
    let trace = world.trace(bot).expect("it was recorded");
    trace::replay(&trace, Instant::now() + Duration::from_secs(77)).expect("a trace")
}

#[test]
fn an_eventful_day_comes_out_the_same_again() {
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let (mut world, bot) = world(compression);
        live(&mut world, bot).unwrap();
        world.stop(bot, Stop::Keep);
        minutes(&mut world, 1).unwrap();
        assert!(world.ended(bot));
        let replayed = replay(&world, bot);
        replayed.verify().unwrap();
        assert!(replayed.lives >= 6, "a fall, and another layout");
        let taken = world.story(bot).taken.iter();
        let taken = taken.filter(|taken| taken.event.dispatch().is_some());
        assert!(replayed.dispatches >= taken.count() as u64);
        assert!(replayed.time > Duration::from_secs(40 * 60));
    }
}

#[test]
fn so_does_what_a_crash_leaves() {
    let (mut world, bot) = world(Compression::Zlib);
    live(&mut world, bot).unwrap();
    world.crash(bot, Vanish::Process);
    let trace = world.trace(bot).unwrap();
    for cut in [trace.len(), trace.len() - 1, trace.len() / 2] {
        let replayed = trace::replay(&trace[..cut], Instant::now()).unwrap();
        replayed.verify().unwrap();
    }
}

#[test]
fn the_same_world_leaves_the_same_trace() {
    let [first, second] = [(), ()].map(|()| {
        let (mut world, bot) = world(Compression::Zlib);
        live(&mut world, bot).unwrap();
        world.trace(bot).unwrap()
    });
    assert!(first == second);
    assert!(
        !String::from_utf8(first)
            .unwrap()
            .contains(shardwright_testkit::world::TOKEN)
    );
}
