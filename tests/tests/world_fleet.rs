//! A big bot in one world. `WORLD_SHARDS` sets how big; in a release build 10,000 is no trouble.

use std::collections::BTreeMap;
use std::time::Duration;

use shardwright_core::{Compression, Stop};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::Target;
use shardwright_testkit::world::{BotSpec, World};

#[test]
fn a_thousand_shards_come_up_and_reconnect_without_an_identify() {
    let shards = std::env::var("WORLD_SHARDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let shards: u32 = shards.unwrap_or(1000);
    let mut world = World::builder()
        .keep_bodies(false)
        .transcript(Some(1000))
        .configure(|server| {
            server.shards = u64::from(shards);
            server.max_concurrency = 16;
            server.total = 4 * u64::from(shards);
            server.remaining = server.total;
            server.guilds_per_shard = 1;
            server.members_per_guild = 1;
        })
        .build();
    let mut fleet = World::fleet_config();
    // A stream a shard and end would need gigabytes for what is shown elsewhere.
    fleet.template.compression = Compression::None;
    let bot = world.start(BotSpec::new(fleet));
    world.run_until(|world| world.all_live(bot)).unwrap();
    // Sixteen every five seconds, and little more.
    let least = Duration::from_secs(5) * (shards / 16).saturating_sub(1);
    let took = world.time();
    assert!(
        took >= least && took <= least + least / 10 + Duration::from_secs(10),
        "{took:?}"
    );
    assert_eq!(world.server().log().identifies(), shards as usize);

    // All are told to reconnect at one moment.
    let before = world.lines().len();
    world.play(&Target::All, &[Effect::Op7]);
    world.run_for(Duration::from_secs(5)).unwrap();
    assert!(world.all_live(bot));
    assert_eq!(world.server().log().identifies(), shards as usize);
    assert_eq!(world.server().log().resumed(), shards as usize);
    let mut dials = BTreeMap::<u128, usize>::new();
    for line in &world.lines()[before..] {
        *dials.entry(line.dialled.as_millis() / 100).or_default() += 1;
    }
    // A second's worth of dials, spread evenly.
    assert!((10..=13).contains(&dials.len()), "{dials:?}");
    let most = dials.values().max().copied().unwrap();
    assert!(most < shards as usize / 5, "{dials:?}");

    world.stop(bot, Stop::Final);
    world.run_until(|world| world.ended(bot)).unwrap();
    world.check().unwrap();
}
