//! Shards whose drivers are stuck: nobody waits for them, and none of their name runs beside them.

use super::*;

#[test]
fn a_shard_comes_back_once_its_old_driver_has_ended() {
    for vanishes in [false, true] {
        let mut world = started(ShardPlan::Total(3), limit(1000, 3600, 16));
        world.stubborn = vec![0, 1];
        world.tell(remove(
            1,
            ShardFilter::none()
                .or_shard(shard(0, 3))
                .or_shard(shard(1, 3)),
        ));
        world.pass(Duration::from_secs(60));
        let (_, given) = &world.states[0];
        assert_eq!(given.len(), 2, "they are given up, and handed over");
        world.story();
        // One with a session and one without. Their old drivers are stuck, and may still be connected.
        let states = vec![session_of(shard(0, 3)), ShardState::fresh(shard(1, 3))];
        world.tell(add(2, states));
        assert_eq!(world.done, [(2, Ok(()))]);
        world.pass(Duration::from_secs(60));
        assert!(
            world.story().is_empty(),
            "two of one name never run at once"
        );
        // What the old ones do now is not the new ones' doing, and starts are counted all the same.
        let left = world.fleet.starts_left().unwrap().remaining;
        for number in [0, 1] {
            for report in [
                ShardReport::Up,
                ShardReport::Down,
                ShardReport::WantIdentify { conn: ConnId(9) },
                ShardReport::IdentifySent { conn: ConnId(9) },
            ] {
                let shard = shard(number, 3);
                world.tell(FleetInput::Report { shard, report });
            }
        }
        assert!(world.story().is_empty());
        assert_eq!(world.fleet.starts_left().unwrap().remaining, left - 2);
        for number in [1, 0] {
            let shard = shard(number, 3);
            world.tell(if vanishes {
                vanished(shard, session_of(shard))
            } else {
                stopped_with(session_of(shard))
            });
            let started: Vec<String> = world.story();
            assert_eq!(started, [format!("120 start {shard}")]);
        }
        world.pass(Duration::from_secs(60));
        assert!(world.stops().is_empty());
        assert_eq!(world.identified[&1].as_secs(), 125);
        // Once: what comes of it later is its own.
        world.stubborn.clear();
        world.tell(remove(3, ShardFilter::all()));
        assert_eq!(world.states[1].1.len(), 3);
    }
}

#[test]
fn one_that_waits_for_its_old_driver_holds_up_nobody_and_can_go_again() {
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 1));
    world.stubborn = vec![0];
    world.tell(remove(1, ShardFilter::all()));
    world.pass(Duration::from_secs(60));
    world.story();
    world.tell(add(
        2,
        (0..4)
            .map(|id| ShardState::fresh(shard(id, if id == 0 { 1 } else { 5 })))
            .collect(),
    ));
    world.pass(Duration::from_secs(60));
    assert_eq!(
        world.identified.len(),
        4,
        "the first was one of them before"
    );
    world.tell(remove(3, ShardFilter::none().or_shard(shard(0, 1))));
    let zero = ShardState::fresh(shard(0, 1));
    assert_eq!(world.states[1], (3, vec![zero.clone()]));
    // It was planned and is no more: the end of the old one starts nothing.
    world.story();
    world.tell(stopped_with(session_of(shard(0, 1))));
    assert!(world.story().is_empty());
    world.tell(add(4, vec![zero]));
    assert_eq!(world.story(), ["120 start [0, 1]"]);
}

#[test]
fn an_end_that_nobody_waited_for_starts_nothing() {
    // Only the first two of a bucket are started at once.
    let mut world = World::new(ShardPlan::Total(4), limit(1000, 3600, 1), 4);
    world.hanging = vec![0, 1, 2, 3];
    world.tell(FleetInput::Start);
    world.story();
    world.tell(stopped_with(session_of(shard(3, 4))));
    assert!(world.story().is_empty(), "it waits for its turn");
    // One that comes back late to a bot that ends.
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.stubborn = vec![0, 1];
    world.tell(remove(1, ShardFilter::from(shard(0, 2))));
    world.pass(Duration::from_secs(60));
    world.tell(add(2, vec![session_of(shard(0, 2))]));
    world.tell(FleetInput::Stop(Stop::Keep));
    world.story();
    world.tell(stopped_with(session_of(shard(0, 2))));
    assert!(world.story().is_empty());
}

#[test]
fn one_whose_old_driver_has_ended_is_the_next_of_its_bucket() {
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 1));
    world.stubborn = vec![0];
    world.tell(remove(1, ShardFilter::all()));
    world.pass(Duration::from_secs(60));
    // The first two that can start take the bucket's places, and keep them.
    world.hanging = vec![1, 2];
    let others = (1..5).map(|id| shard(id, 5));
    let states = std::iter::once(shard(0, 1)).chain(others);
    world.story();
    world.tell(add(2, states.map(ShardState::fresh).collect()));
    world.tell(stopped_with(session_of(shard(0, 1))));
    assert_eq!(world.story(), ["60 start [1, 5]", "60 start [2, 5]"]);
    world.hanging = vec![0, 3, 4];
    for (number, next) in [(1, shard(0, 1)), (2, shard(3, 5))] {
        let shard = shard(number, 5);
        let report = ShardReport::Down;
        world.tell(FleetInput::Report { shard, report });
        assert_eq!(world.story(), [format!("60 start {next}")]);
    }
    let report = ShardReport::Down;
    world.tell(FleetInput::Report {
        shard: shard(0, 1),
        report,
    });
    assert_eq!(world.story(), ["60 start [4, 5]"]);
}

/// Two shards; the first was told to go and is stuck, so it is given up after a while.
fn stuck() -> World {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.stubborn = vec![0];
    world.tell(remove(1, ShardFilter::from(shard(0, 2))));
    world
}

#[test]
fn nobody_waits_for_what_a_shard_that_was_given_up_might_say() {
    let mut world = stuck();
    world.mute = true;
    let (id, filter) = (CommandId(2), ShardFilter::all());
    world.tell(FleetInput::AskForStates { id, filter });
    let other = shard(1, 2);
    let state = session_of(other);
    let report = ShardReport::State {
        state: state.clone(),
    };
    world.tell(FleetInput::Report {
        shard: other,
        report,
    });
    let command = Command::status_update(StatusUpdate::online()).unwrap();
    world.tell(FleetInput::Command {
        id: CommandId(3),
        to: Shards::Only(vec![0]),
        command,
        if_not_ready: IfNotReady::Queue,
    });
    assert_eq!((world.states.len(), world.answers.len()), (0, 0));
    world.pass(Duration::from_secs(60));
    let (mut answered, states) = (world.states.clone(), vec![state]);
    answered.sort_by_key(|(id, _)| *id);
    assert_eq!(answered[1], (2, states), "those that are here");
    assert_eq!(answered[0].0, 1);
    let refused = Answer::Refused(CommandError::Stopped);
    assert_eq!(world.answers, [(3, refused)]);
}

#[test]
fn one_that_comes_back_goes_on_after_what_its_old_driver_has_handled() {
    let state = |session: &str, seq| ShardState {
        session_id: Some(session.to_owned()),
        seq: Some(seq),
        ..session_of(shard(0, 2))
    };
    for (last, goes_on) in [
        (state("kept", 9), state("kept", 9)),
        (state("kept", 6), state("kept", 7)),
        (state("another", 9), state("kept", 7)),
        (ShardState::fresh(shard(0, 2)), state("kept", 7)),
    ] {
        for vanishes in [false, true] {
            let mut world = stuck();
            world.pass(Duration::from_secs(60));
            world.tell(add(2, vec![state("kept", 7)]));
            world.resumed.clear();
            world.tell(if vanishes {
                vanished(shard(0, 2), last.clone())
            } else {
                stopped_with(last.clone())
            });
            assert_eq!(world.resumed, std::slice::from_ref(&goes_on));
        }
    }
}

#[test]
fn a_new_layout_waits_for_one_that_waits_for_its_old_driver() {
    let mut world = stuck();
    world.fleet.config.re_shard = ReShardPolicy::StartThenSwap;
    world.pass(Duration::from_secs(60));
    world.tell(add(2, vec![session_of(shard(0, 2))]));
    world.tell(FleetInput::ReShard {
        id: CommandId(3),
        to: Some(3),
    });
    world.story();
    world.pass(Duration::from_secs(60));
    assert!(!world.story().iter().any(|line| line.ends_with("swap")));
    world.stubborn.clear();
    world.tell(stopped_with(session_of(shard(0, 2))));
    world.pass(Duration::from_secs(60));
    let story = world.story();
    assert!(
        story.contains(&"120 catch up [0, 2]".to_owned()),
        "{story:?}"
    );
    assert!(
        story.iter().any(|line| line.ends_with(" swap")),
        "{story:?}"
    );
}

#[test]
fn a_removal_is_over_when_its_shard_is_given_up_for_another_reason() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.fleet.config.re_shard = ReShardPolicy::StopThenStart;
    world.stubborn = vec![0];
    world.tell(FleetInput::ReShard {
        id: CommandId(1),
        to: Some(3),
    });
    world.pass(Duration::from_secs(3));
    world.tell(remove(2, ShardFilter::from(shard(0, 2))));
    // The re-shard gives it up before the removal would have.
    world.pass(Duration::from_millis(9_100));
    assert_eq!(world.states, [(2, vec![session_of(shard(0, 2))])]);
    world.tell(add(3, vec![session_of(shard(0, 2))]));
    world.stubborn.clear();
    world.tell(stopped_with(session_of(shard(0, 2))));
    world.story();
    world.pass(Duration::from_secs(60));
    assert!(world.story().is_empty(), "the new one is left alone");
    let (id, filter) = (CommandId(4), ShardFilter::from(shard(0, 2)));
    world.tell(FleetInput::AskForStates { id, filter });
    assert_eq!(world.states[1].1.len(), 1);
}

#[test]
fn a_fatal_code_ends_the_bot_however_late_it_comes() {
    let mut world = stuck();
    world.pass(Duration::from_secs(60));
    world.tell(add(2, vec![session_of(shard(0, 2))]));
    world.story();
    let why = StopReason::Fatal {
        code: CloseCode::AUTHENTICATION_FAILED,
    };
    world.tell(stopped(shard(0, 2), why.clone()));
    assert_eq!(world.story(), ["60 stop [1, 2] Keep"]);
    assert_eq!(world.stops(), [&why]);
}

#[test]
fn who_is_left_is_all_connected_once_the_others_are_given_up() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    (world.hanging, world.stubborn) = (vec![1], vec![1]);
    world.tell(FleetInput::Start);
    world.tell(remove(1, ShardFilter::from(shard(1, 2))));
    assert_eq!(world.all_connected_at(), None);
    world.pass(Duration::from_secs(60));
    assert!(world.all_connected_at().is_some());
}
