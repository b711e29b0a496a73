//! The biggest bots there are, in one world: what the limits allow is what they get, whatever goes wrong.
//! `WORLD_SHARDS` sets how big; the default is smaller in a debug build.

use std::collections::BTreeMap;
use std::time::Duration;

use shardwright_core::{Compression, Stop};
use shardwright_testkit::rng::Rng;
use shardwright_testkit::scenario::{Effect, Listener, Step, When};
use shardwright_testkit::server::{Seen, Target};
use shardwright_testkit::world::{BotId, BotSpec, DialFate, World};

const SECOND: Duration = Duration::from_secs(1);
const BUCKETS: u32 = 16;

fn shards() -> u32 {
    let shards = std::env::var("WORLD_SHARDS").ok();
    let default = if cfg!(debug_assertions) { 1000 } else { 10_000 };
    shards.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn big(shards: u32) -> (World, BotId) {
    let mut world = World::builder()
        .keep_bodies(false)
        .transcript(Some(1000))
        .configure(|server| {
            server.shards = u64::from(shards);
            server.max_concurrency = u64::from(BUCKETS);
            server.total = 4 * u64::from(shards);
            server.remaining = server.total;
            server.guilds_per_shard = 1;
            server.members_per_guild = 1;
            server.session_ttl = SECOND * 1800;
        })
        .build();
    let mut fleet = World::fleet_config();
    // A stream a shard and end would need gigabytes for what is shown elsewhere.
    fleet.template.compression = Compression::None;
    let mut spec = BotSpec::new(fleet);
    spec.mailbox_events = 256;
    let bot = world.start(spec);
    (world, bot)
}

/// Bad news at start-up: so many of a hundred connections are refused, say Hello late, or are told that
/// their session is invalid.
fn trouble(world: &mut World) {
    let refuse = Effect::Refuse {
        status: 503,
        retry_after: None,
        location: None,
    };
    for step in [
        Step::new(When::Dialled, [refuse]).always().chance(0.03),
        Step::new(When::Opened, [Effect::WaitUpTo(3000)])
            .always()
            .chance(0.05),
        Step::new(When::Identify, [Effect::Op9(false.into())])
            .instead()
            .always()
            .chance(0.02),
    ] {
        world.with_server(|server, _| server.add_step(step));
    }
}

#[test]
fn all_come_up_in_the_time_the_limits_allow_and_an_outage_costs_no_session() {
    let shards = shards();
    let (mut world, bot) = big(shards);
    trouble(&mut world);
    // Dials fail on the way as well, now and then.
    let mut rng = Rng::new(1);
    let started = world.time();
    while !world.all_live(bot) {
        world.run_for(SECOND * 30).unwrap();
        if rng.below(10) == 0 {
            world.dials(
                Some(Listener::Main),
                DialFate::Refused,
                Duration::from_millis(300),
            );
        }
        assert!(world.time() < SECOND * 2 * shards, "never up");
    }
    let took = world.time() - started;

    // Every Identify was needed: one a shard, and one more for each that was refused.
    let log = world.server().log();
    let refused = log.count(|seen| matches!(seen, Seen::Invalid { .. }));
    let identified = log.identifies();
    assert_eq!(identified, shards as usize + refused);
    // The fullest bucket sets the time, five seconds a turn.
    let mut last = BTreeMap::<u64, (usize, Duration)>::new();
    for entry in log.entries() {
        if let Seen::Identify { bucket, .. } = entry.what {
            let (count, at) = last.entry(bucket).or_insert((0, Duration::ZERO));
            assert!(
                *count == 0 || entry.at - *at >= SECOND * 5,
                "bucket {bucket}"
            );
            (*count, *at) = (*count + 1, entry.at);
        }
    }
    let fullest = last.values().map(|(count, _)| *count).max().unwrap();
    let least = SECOND * 5 * (fullest as u32 - 1);
    assert!(
        took <= least + least / 10 + SECOND * 60,
        "{took:?} for {least:?}"
    );

    // Ten minutes of nothing. The sessions live on.
    let (before, began) = (world.lines().len(), world.time());
    let resumed = world.server().log().resumed();
    world.dials(None, DialFate::Unreachable, SECOND * 600);
    world.play(&Target::All, &[Effect::Rst]);
    world.run_for(SECOND * 600).unwrap();
    assert_eq!(world.live(bot), 0);
    let back = world.time();
    world
        .run_until_within(SECOND * 180, |world| world.all_live(bot))
        .unwrap();
    let log = world.server().log();
    assert_eq!(log.identifies(), identified, "nobody identified anew");
    assert!(log.resumed() >= resumed + shards as usize);
    let mut dials = BTreeMap::<u64, u32>::new();
    for line in &world.lines()[before..] {
        *dials.entry((line.dialled - began).as_secs()).or_default() += 1;
    }
    // The first tries spread over a second or two, all later ones over a minute.
    let during = dials.iter().filter(|(at, _)| (120..600).contains(*at));
    let most = during.map(|(_, count)| *count).max().unwrap();
    assert!(
        most < shards / 15,
        "{most} dials in one second of the outage"
    );
    let after = dials.range((back - began).as_secs()..);
    let most = after.map(|(_, count)| *count).max().unwrap();
    assert!(
        most < shards / 10,
        "{most} dials in one second when it was over"
    );
    let each = (world.lines().len() - before) / shards as usize;
    assert!(each <= 40, "{each} dials a shard in ten minutes");

    world.stop(bot, Stop::Final);
    world.run_until(|world| world.ended(bot)).unwrap();
    world.check().unwrap();
}
