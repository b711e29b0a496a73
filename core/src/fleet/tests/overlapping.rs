//! A new layout is up: what the old one still has to deliver is waited for.

use super::resharding::{ask, with};
use super::*;

/// One old shard or two, and a new layout, all of it up since second 5.
fn both_up(old: u32, behind: &[ShardId]) -> World {
    let mut world = with(ReShardPolicy::StartThenSwap, old);
    world.behind = behind.to_vec();
    ask(&mut world, Some(old + 1));
    world.pass(Duration::from_millis(5500));
    assert!(world.identified.contains_key(&old), "all have identified");
    world.story();
    world
}

fn report(world: &mut World, shard: ShardId, report: ShardReport) {
    world.tell(FleetInput::Report { shard, report });
}

fn caught_up(world: &mut World, shard: ShardId, mark: u64) {
    report(world, shard, ShardReport::CaughtUp { mark });
}

#[test]
fn an_old_shard_that_is_behind_is_waited_for_and_asked_again_if_that_took_long() {
    let old = shard(0, 1);
    let mut world = both_up(1, &[old]);
    // Discord may be 3 s later with one than with the other; then there are 6 s for the answer.
    world.pass(Duration::from_secs(4));
    assert_eq!(world.story(), ["8 catch up [0, 1]"]);
    world.pass(Duration::from_secs(20));
    assert!(world.story().is_empty(), "however long that takes");
    caught_up(&mut world, old, 1);
    assert_eq!(world.story(), ["29 catch up [0, 1]"], "that was long ago");
    world.pass(Duration::from_secs(5));
    caught_up(&mut world, old, 1);
    assert!(world.story().is_empty(), "not what was asked");
    caught_up(&mut world, old, 2);
    assert_eq!(world.story(), ["34 swap", "34 stop [0, 1] Final"]);
    assert_eq!(world.done, [(1, Ok(()))]);
}

#[test]
fn all_of_the_old_layout_are_asked_and_each_has_to_answer() {
    let (zero, one) = (shard(0, 2), shard(1, 2));
    let mut world = both_up(2, &[zero, one]);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.story(), ["8 catch up [0, 2]", "8 catch up [1, 2]"]);
    caught_up(&mut world, one, 1);
    caught_up(&mut world, one, 1);
    caught_up(&mut world, shard(0, 3), 1);
    assert!(world.story().is_empty());
    caught_up(&mut world, zero, 1);
    assert_eq!(world.story()[0], "9 swap");
}

#[test]
fn an_old_shard_that_is_away_brings_what_it_missed_first() {
    let (zero, one) = (shard(0, 2), shard(1, 2));
    let mut world = both_up(2, &[zero, one]);
    world.pass(Duration::from_secs(4));
    world.story();
    caught_up(&mut world, one, 1);
    report(&mut world, zero, ShardReport::Down);
    world.pass(Duration::from_secs(40));
    caught_up(&mut world, zero, 1);
    assert!(world.story().is_empty(), "it is away");
    report(&mut world, zero, ShardReport::Up);
    assert_eq!(world.story(), ["49 catch up [0, 2]", "49 catch up [1, 2]"]);
    caught_up(&mut world, zero, 2);
    caught_up(&mut world, one, 2);
    assert_eq!(world.story()[0], "49 swap");
}

#[test]
fn an_old_shard_is_waited_for_as_long_as_it_has_a_session() {
    let (zero, one) = (shard(0, 2), shard(1, 2));
    let mut world = both_up(2, &[zero, one]);
    report(&mut world, zero, ShardReport::Down);
    world.pass(Duration::from_secs(500));
    assert!(world.story().is_empty());
    // Another session knows nothing of what the last one missed.
    let conn = ConnId(2);
    report(&mut world, zero, ShardReport::WantIdentify { conn });
    assert_eq!(world.story(), ["505 catch up [1, 2]"]);
    caught_up(&mut world, one, 1);
    assert_eq!(world.story()[0], "505 swap");
    // The last that was there may lose it as well, and have no turn to identify.
    let mut world = both_up(2, &[zero, one]);
    world.fleet.config.gated = true;
    for shard in [zero, one] {
        report(&mut world, shard, ShardReport::Down);
        world.pass(Duration::from_secs(10));
        assert!(world.story().is_empty());
    }
    report(&mut world, zero, ShardReport::WantIdentify { conn });
    assert!(world.story().is_empty());
    world.stubborn = vec![1];
    report(&mut world, one, ShardReport::WantIdentify { conn });
    assert_eq!(world.story()[0], "25 swap");
    // Each has a bucket of its own; but it is to end.
    let asked: Vec<_> = world.at_gate.iter().map(|request| request.shard).collect();
    assert!(!asked.contains(&one), "{asked:?}");
}

#[test]
fn an_old_shard_that_has_ended_or_fallen_is_not_asked() {
    let (zero, one) = (shard(0, 2), shard(1, 2));
    let mut world = both_up(2, &[zero, one]);
    world.pass(Duration::from_secs(4));
    world.story();
    caught_up(&mut world, one, 1);
    let code = CloseCode::new(4010);
    world.tell(stopped(zero, StopReason::Fatal { code }));
    assert_eq!(world.story(), ["9 swap", "9 stop [1, 2] Final"]);
    // One that has fallen comes back in a second, and is asked then.
    let mut world = both_up(2, &[zero, one]);
    world.pass(Duration::from_secs(4));
    caught_up(&mut world, one, 1);
    world.story();
    world.tell(vanished(zero, session_of(zero)));
    assert!(world.story().is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(
        world.story(),
        [
            "10 start [0, 2]",
            "10 catch up [0, 2]",
            "10 catch up [1, 2]"
        ]
    );
    // Or later, when it is up again: its session has more to bring until then.
    let mut world = both_up(2, &[zero, one]);
    world.hanging = vec![0];
    world.tell(vanished(zero, session_of(zero)));
    world.pass(Duration::from_secs(100));
    assert_eq!(world.story(), ["6 start [0, 2]"]);
    report(&mut world, zero, ShardReport::Up);
    assert_eq!(world.story().len(), 2);
}

#[test]
fn nobody_is_waited_for_if_all_of_the_old_layout_have_ended() {
    let mut world = with(ReShardPolicy::StartThenSwap, 1);
    world.info.shards = 2;
    resharding::demand(&mut world, 0, 1);
    world.pass(Duration::from_millis(5500));
    let story = world.story();
    assert_eq!(story.last().unwrap(), "5 swap", "{story:?}");
}

#[test]
fn the_new_layout_has_to_be_up_when_the_old_one_has_caught_up() {
    let (old, new) = (shard(0, 1), shard(0, 2));
    let mut world = both_up(1, &[old]);
    world.pass(Duration::from_secs(4));
    world.story();
    report(&mut world, new, ShardReport::Down);
    caught_up(&mut world, old, 1);
    assert!(world.story().is_empty());
    // It may have a new session: what came before that is for the old one again.
    report(&mut world, new, ShardReport::Up);
    caught_up(&mut world, old, 1);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.story(), ["12 catch up [0, 1]"]);
    caught_up(&mut world, old, 2);
    assert_eq!(world.story()[0], "12 swap");
}

#[test]
fn an_old_layout_that_never_catches_up_goes_on() {
    let old = shard(0, 1);
    let mut world = both_up(1, &[old]);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.done, [(1, Err(FleetError::TimedOut))]);
    assert!(world.stops().is_empty());
    caught_up(&mut world, old, 1);
    let story = world.story();
    let swapped = |what: &&String| what.ends_with(" swap") && !what.ends_with("abandon swap");
    assert!(!story.iter().any(|what| swapped(&what)), "{story:?}");
}
