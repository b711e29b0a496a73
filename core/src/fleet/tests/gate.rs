//! Turns that wait at a gate of the user's own.

use super::*;

fn gated(shards: u32, max_concurrency: u32) -> World {
    let limit = limit(1000, 3600, max_concurrency);
    let mut world = World::new(ShardPlan::Total(shards), limit, shards);
    world.fleet.config.gated = true;
    world.fleet.config.label = "mine".to_owned();
    world.tell(FleetInput::Start);
    world
}

fn open(request: &GateRequest) -> FleetInput {
    FleetInput::GateOpened {
        shard: request.shard,
        conn: request.conn,
    }
}

#[test]
fn nobody_identifies_before_the_gate_opens_and_each_turn_asks_once() {
    let mut world = gated(17, 16);
    assert_eq!(world.at_gate.len(), 16, "one of each bucket");
    world.pass(Duration::from_secs(60));
    assert!(world.identified.is_empty());
    assert_eq!(world.at_gate.len(), 16, "the local buckets come first");
    let first = world.at_gate[0].clone();
    assert_eq!((first.bucket, first.label.as_str()), (0, "mine"));
    world.tell(open(&first));
    assert_eq!(world.identified.len(), 1);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.at_gate.len(), 17, "shard 16 is of the same bucket");
    // Its turn is over: a second answer means nothing.
    world.tell(open(&first));
    assert_eq!(world.identified.len(), 1);
}

#[test]
fn a_turn_ends_with_its_connection_and_the_gate_is_left() {
    let mut world = gated(1, 1);
    let first = world.at_gate[0].clone();
    let zero = first.shard;
    let report = ShardReport::WithdrawIdentify { conn: first.conn };
    world.tell(FleetInput::Report {
        shard: zero,
        report,
    });
    assert!(world.at_gate.is_empty());
    let conn = ConnId(2);
    let report = ShardReport::WantIdentify { conn };
    world.tell(FleetInput::Report {
        shard: zero,
        report,
    });
    assert_eq!(world.at_gate.len(), 1);
    world.tell(open(&first));
    assert!(
        world.identified.is_empty(),
        "the answer to the old turn is void"
    );
    world.tell(open(&world.at_gate[0].clone()));
    assert_eq!(world.identified.len(), 1);
}

#[test]
fn a_gate_that_fails_blocks_nobody_for_good() {
    let mut world = gated(2, 1);
    let first = world.at_gate.remove(0);
    world.tell(FleetInput::GateFailed {
        shard: first.shard,
        conn: first.conn,
    });
    assert!(world.at_gate.is_empty(), "the bucket pauses");
    world.pass(Duration::from_secs(6));
    let next = world.at_gate.remove(0);
    assert_ne!(next.shard, first.shard, "the next one's turn");
    world.tell(open(&next));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.at_gate[0].shard, first.shard);
    let told = world.events.iter().any(|(_, event)| {
        matches!(
            event,
            Event::Problem {
                problem: Problem::GateFailed,
                ..
            }
        )
    });
    assert!(told);
}

#[test]
fn a_gate_that_fails_for_a_turn_that_is_over_means_nothing() {
    let mut world = gated(1, 1);
    let first = world.at_gate[0].clone();
    let failed = FleetInput::GateFailed {
        shard: first.shard,
        conn: ConnId(first.conn.0 + 1),
    };
    world.tell(failed);
    let problems = |world: &World| {
        let events = world.events.iter();
        let problem = |event: &Event<'_>| matches!(event, Event::Problem { .. });
        events.filter(|(_, event)| problem(event)).count()
    };
    assert_eq!(problems(&world), 0);
    assert_eq!(world.at_gate.len(), 1, "the turn is still waited for");
    world.tell(open(&first));
    assert_eq!(world.identified.len(), 1);
}

#[test]
fn a_stop_leaves_the_gate() {
    let mut world = gated(2, 16);
    world.tell(FleetInput::Stop(Stop::Final));
    assert!(world.at_gate.is_empty());
}

#[test]
fn resumes_do_not_ask() {
    let mut world = World::new(ShardPlan::Total(1), limit(1000, 3600, 1), 1);
    world.fleet.config.gated = true;
    world.fleet.config.states = vec![session_of(shard(0, 1))];
    world.tell(FleetInput::Start);
    assert!(world.at_gate.is_empty());
    assert!(world.all_connected_at().is_some());
}

#[test]
fn a_stop_leaves_the_gate_at_once() {
    let mut world = gated(2, 16);
    world.stubborn = vec![0, 1];
    world.tell(FleetInput::Stop(Stop::Final));
    assert!(world.at_gate.is_empty());
}
