//! Stories: a bot, the gateway and one thing that goes wrong.

use std::time::Duration;

use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::Target;
use shardwright_testkit::world::World;

#[test]
fn one_shard_comes_up() {
    let mut world = World::builder().seed(1).build();
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.run_for(Duration::from_secs(600)).unwrap();
    println!("{}", world.transcript());
    world.play(&Target::All, &[Effect::Op7]);
    world.run_for(Duration::from_secs(600)).unwrap();
    println!("{}", world.transcript());
    assert_eq!(world.sequence(bot, 0), [1, 2, 3, 4, 5]);
    world.check().unwrap();
}
