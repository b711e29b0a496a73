//! Starting, identifying, commands, states, ends.

use super::*;

#[test]
fn buckets_identify_side_by_side_and_each_waits_five_seconds() {
    let mut world = started(ShardPlan::Total(32), limit(1000, 3600, 16));
    world.pass(Duration::from_secs(12));
    for id in 0..16 {
        assert_eq!(world.identified[&id], Duration::ZERO, "shard {id}");
        let second = world.identified[&(id + 16)];
        assert!(
            (Duration::from_secs(5)..Duration::from_secs(6)).contains(&second),
            "{second:?}"
        );
    }
    assert!(world.all_connected_at().unwrap() < Duration::from_secs(12));
}

#[test]
fn shards_of_one_bucket_take_turns_wherever_they_run() {
    let plan = ShardPlan::Ids {
        ids: vec![0, 16, 32, 48],
        total: Some(64),
    };
    let mut world = started(plan, limit(1000, 3600, 16));
    world.pass(Duration::from_secs(20));
    let times: Vec<Duration> = world.identified.values().copied().collect();
    assert_eq!(times.len(), 4);
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(5), "{times:?}");
    }
}

#[test]
fn the_budget_is_counted_down_and_the_rest_waits_for_the_reset() {
    let mut world = started(ShardPlan::Total(3), limit(1, 60, 1));
    world.pass(Duration::from_secs(64));
    assert_eq!(world.identified.len(), 1);
    assert!(
        world
            .events
            .iter()
            .any(|(_, e)| matches!(e, Event::IdentifyBudgetSpent { .. }))
    );
    world.pass(Duration::from_secs(2));
    assert_eq!(world.identified.len(), 2);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.identified.len(), 3);
    let times: Vec<u64> = world.identified.values().map(Duration::as_secs).collect();
    assert_eq!(times, [0, 65, 70], "for sure");
}

#[test]
fn a_shard_that_hangs_holds_up_nobody() {
    let mut world = World::new(ShardPlan::Total(3), limit(1000, 3600, 1), 3);
    world.hanging = vec![0];
    world.tell(FleetInput::Start);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.identified.keys().copied().collect::<Vec<_>>(), [1, 2]);
    // Its dial fails: it asks by itself when it is connected after all.
    world.tell(FleetInput::Report {
        shard: shard(0, 3),
        report: ShardReport::Down,
    });
    let report = ShardReport::WantIdentify { conn: ConnId(2) };
    world.tell(FleetInput::Report {
        shard: shard(0, 3),
        report,
    });
    world.pass(Duration::from_secs(6));
    assert!(world.identified.contains_key(&0));
    assert!(world.all_connected_at().is_some());
}

#[test]
fn sockets_are_opened_when_their_turn_is_near() {
    let mut world = started(ShardPlan::Total(100), limit(1000, 3600, 1));
    assert_eq!(
        world.started.len(),
        3,
        "one identified at once, two on the way"
    );
    world.pass(Duration::from_secs(6));
    assert_eq!(world.started.len(), 4);
}

#[test]
fn resumes_start_at_once_and_take_no_turn() {
    let mut world = World::new(ShardPlan::Total(16), limit(0, 3600, 1), 16);
    world.fleet.config.states = (0..16)
        .map(|id| ShardState {
            session_id: Some("s".into()),
            seq: Some(5),
            ..ShardState::fresh(shard(id, 16))
        })
        .collect();
    world.tell(FleetInput::Start);
    assert_eq!(world.started.len(), 16);
    assert!(world.identified.is_empty());
    assert_eq!(world.all_connected_at(), Some(Duration::ZERO));
}

#[test]
fn an_empty_plan_is_legal_and_lives_until_it_is_stopped() {
    let mut world = started(
        ShardPlan::Ids {
            ids: vec![],
            total: Some(4),
        },
        limit(1000, 3600, 1),
    );
    assert!(world.stops().is_empty());
    world.tell(FleetInput::Stop(Stop::Final));
    assert_eq!(world.stops(), [&StopReason::Requested]);
    assert_eq!(world.wait, Wait::Stopped);
}

#[test]
fn a_fatal_code_of_the_whole_bot_stops_every_shard_once() {
    for code in [4004, 4012, 4013, 4014] {
        let mut world = started(ShardPlan::Total(3), limit(1000, 3600, 1));
        let why = StopReason::Fatal {
            code: CloseCode::new(code),
        };
        world.tell(stopped(shard(0, 3), why.clone()));
        assert_eq!(world.stops(), [&why]);
        let begun = world.started.len();
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.started.len(), begun, "nothing starts after {code}");
        assert_eq!(world.stops().len(), 1);
    }
}

#[test]
fn an_invalid_shard_ends_alone() {
    let mut world = started(ShardPlan::Total(3), limit(1000, 3600, 16));
    let why = StopReason::Fatal {
        code: CloseCode::new(4010),
    };
    world.tell(stopped(shard(1, 3), why));
    assert!(world.stops().is_empty());
    assert!(world.told.is_empty());
}

#[test]
fn two_stops_are_one_and_the_end_comes_last() {
    let mut world = started(ShardPlan::Total(3), limit(1000, 3600, 16));
    world.tell(FleetInput::Stop(Stop::Keep));
    world.tell(FleetInput::Stop(Stop::Final));
    assert_eq!(
        world.told,
        [(0, "Keep".into()), (1, "Keep".into()), (2, "Keep".into())]
    );
    assert_eq!(world.stops().len(), 1);
    assert!(
        matches!(world.events.last(), Some((_, Event::Stopped { states, .. })) if states.len() == 3)
    );
}

#[test]
fn a_stop_ends_without_shards_that_do_not_report() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.stubborn = (0..100).collect();
    world.tell(FleetInput::Stop(Stop::Keep));
    world.pass(Duration::from_millis(11_999));
    assert!(world.stops().is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.stops().len(), 1);
    // Who asks afterwards is told at once: nobody else is left to answer.
    world.mute = true;
    let (id, filter) = (CommandId(1), ShardFilter::all());
    world.tell(FleetInput::AskForStates { id, filter });
    assert_eq!(world.states.len(), 1);
    assert_eq!(world.states[0].1.len(), 2);
}

#[test]
fn shards_that_slept_with_the_host_are_not_given_up_when_it_wakes() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.stubborn = (0..100).collect();
    world.tell(FleetInput::Stop(Stop::Keep));
    // The host sleeps, and again: the fleet is the first to hear that time has passed.
    for slept in [6_001, 60_000, 7_000] {
        world.now += Duration::from_millis(slept);
        world.tell(FleetInput::Tick);
        assert!(world.stops().is_empty());
    }
    let state = ShardState {
        session_id: Some("kept".to_owned()),
        seq: Some(7),
        ..ShardState::fresh(shard(0, 2))
    };
    let report = ShardReport::Stopped {
        why: StopReason::Requested,
        state: state.clone(),
    };
    world.tell(FleetInput::Report {
        shard: shard(0, 2),
        report,
    });
    // It waits once more, not for ever.
    world.now += Duration::from_secs(6);
    world.tell(FleetInput::Tick);
    assert!(
        matches!(world.events.last(), Some((_, Event::Stopped { states, .. })) if states[0] == state)
    );
}

#[test]
fn a_stop_ends_on_a_host_that_is_never_on_time() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.stubborn = (0..100).collect();
    world.tell(FleetInput::Stop(Stop::Keep));
    let mut ticks = 0;
    while world.stops().is_empty() {
        world.now += Duration::from_secs(60);
        world.tell(FleetInput::Tick);
        ticks += 1;
    }
    assert_eq!(ticks, 10);
}

#[test]
fn a_command_is_routed_by_guild_and_answered_once() {
    let mut world = started(
        ShardPlan::Ids {
            ids: vec![0, 1],
            total: Some(4),
        },
        limit(1000, 3600, 16),
    );
    let command = Command::status_update(StatusUpdate::online()).unwrap();
    let send = |id: u64, to: Shards| FleetInput::Command {
        id: CommandId(id),
        to,
        command: command.clone(),
        if_not_ready: IfNotReady::Queue,
    };
    // (1 << 22) >> 22 is 1: shard 1 of 4; (3 << 22) is shard 3, which does not run here.
    world.tell(send(1, Shards::Guild((1_u64 << 22).into())));
    assert_eq!(world.told, [(1, "command".to_owned())]);
    let foreign = crate::GuildId::from(3_u64 << 22);
    world.tell(send(2, Shards::Guild(foreign)));
    assert_eq!(
        world.answers,
        [(
            2,
            Answer::Refused(CommandError::NotMyGuild { guild: foreign })
        )]
    );
    world.answers.clear();
    world.tell(send(3, Shards::All));
    for (number, answer) in [
        (0, Answer::Accepted),
        (1, Answer::Accepted),
        (0, Answer::Sent),
        (1, Answer::Sent),
    ] {
        let report = ShardReport::Answer {
            id: CommandId(3),
            answer,
        };
        world.tell(FleetInput::Report {
            shard: shard(number, 4),
            report,
        });
    }
    assert_eq!(world.answers, [(3, Answer::Accepted), (3, Answer::Sent)]);
    world.answers.clear();
    world.tell(send(4, Shards::Only(vec![0, 7])));
    assert_eq!(
        world.answers,
        [(4, Answer::Refused(CommandError::NoSuchShard { shard: 7 }))]
    );
}

#[test]
fn states_are_told_of_the_shards_that_are_asked_for() {
    let mut world = started(ShardPlan::Total(3), limit(1000, 3600, 16));
    let ask = |id, filter| FleetInput::AskForStates {
        id: CommandId(id),
        filter,
    };
    world.tell(ask(1, ShardFilter::all()));
    let all: Vec<_> = (0..3).map(|id| session_of(shard(id, 3))).collect();
    assert_eq!(world.states, [(1, all.clone())]);
    world.states.clear();
    let some = ShardFilter::from(shard(0, 3)).or_session("session-2");
    world.tell(ask(2, some));
    assert_eq!(world.states, [(2, vec![all[0].clone(), all[2].clone()])]);
    world.states.clear();
    world.tell(ask(3, ShardFilter::from(shard(0, 2))));
    assert_eq!(world.states, [(3, vec![])], "0 of 2 is another shard");
}

#[test]
fn a_shard_whose_driver_vanished_is_started_again_with_its_session() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    let zero = shard(0, 2);
    world.tell(vanished(zero, session_of(zero)));
    assert_eq!(world.started, [0, 1]);
    world.pass(Duration::from_millis(999));
    assert_eq!(
        world.started,
        [0, 1],
        "not at once: a fault at each start must not spin"
    );
    world.pass(Duration::from_millis(1));
    assert_eq!(world.started, [0, 1, 0]);
    assert_eq!(world.identified.len(), 2, "it resumes: no second Identify");
    assert!(world.stops().is_empty());
    let told = |event: &Event<'_>| {
        matches!(
            event,
            Event::Problem {
                problem: Problem::DriverEnded { .. },
                ..
            }
        )
    };
    assert_eq!(
        world.events.iter().filter(|(_, event)| told(event)).count(),
        1
    );
}

#[test]
fn a_driver_that_keeps_vanishing_is_started_less_and_less_often() {
    let mut world = World::new(ShardPlan::Total(1), limit(1000, 3600, 16), 1);
    world.hanging = vec![0];
    world.tell(FleetInput::Start);
    let zero = shard(0, 1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.tell(vanished(zero, ShardState::fresh(zero)));
        let (before, fell_at) = (world.started.len(), world.now);
        while world.started.len() == before {
            let Wait::Until(at) = world.wait else {
                panic!("nothing to wait for: {:?}", world.wait)
            };
            world.now = at;
            world.tell(FleetInput::Tick);
        }
        waits.push((world.now - fell_at).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn a_command_to_a_shard_that_vanishes_is_answered() {
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 16));
    let command = Command::status_update(StatusUpdate::online()).unwrap();
    world.tell(FleetInput::Command {
        id: CommandId(1),
        to: Shards::All,
        command,
        if_not_ready: IfNotReady::Queue,
    });
    world.tell(vanished(shard(0, 1), session_of(shard(0, 1))));
    assert_eq!(
        world.answers,
        [(1, Answer::Refused(CommandError::Interrupted))]
    );
}

#[test]
fn a_stop_keeps_the_session_of_a_shard_that_vanished() {
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 16));
    let zero = shard(0, 1);
    world.tell(vanished(zero, session_of(zero)));
    world.tell(FleetInput::Stop(Stop::Keep));
    let Some((_, Event::Stopped { states, .. })) = world.events.last() else {
        panic!("{:?}", world.events.last())
    };
    assert_eq!(states[..], [session_of(zero)]);
    let begun = world.started.len();
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.started.len(), begun);
}

#[test]
fn ten_thousand_shards_connect_in_the_time_the_limits_allow() {
    let mut world = started(ShardPlan::Total(10_000), limit(20_000, 3600, 16));
    world.pass(Duration::from_secs(3600));
    // 10,000 / 16 = 625 turns a bucket, the first at once.
    let limit = Duration::from_secs(624 * 5);
    let took = world.all_connected_at().expect("all are connected");
    assert!(took >= limit && took <= limit + limit / 10, "{took:?}");
}

#[test]
fn inputs_before_the_drain_are_misuse() {
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 1), 1);
    world.fleet.handle(world.now, FleetInput::Start).unwrap();
    let error = world.fleet.handle(world.now, FleetInput::Tick).unwrap_err();
    assert_eq!(error, Misuse::OutputPending);
}

#[test]
fn before_the_start_no_total_is_known() {
    let world = World::new(ShardPlan::Total(3), limit(1000, 3600, 1), 3);
    assert_eq!(world.fleet.total(), None);
}

#[test]
fn an_input_before_the_drain_is_done_is_misuse_and_a_start_after_the_end_is_nothing() {
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 1));
    assert_eq!(world.fleet.handle(world.now, FleetInput::Tick), Ok(()));
    let again = world.fleet.handle(world.now, FleetInput::Tick);
    assert_eq!(again, Err(Misuse::OutputPending));
    assert!(matches!(world.fleet.poll(), FleetAction::Wait(_)));
    world.tell(FleetInput::Stop(Stop::Final));
    assert_eq!(world.stops().len(), 1);
    world.tell(FleetInput::Start);
    assert_eq!((world.stops().len(), world.started.len()), (1, 1));
}

#[test]
fn a_stop_waits_for_every_shard_and_gives_up_those_that_do_not_report() {
    let mut world = World::new(ShardPlan::Total(2), limit(1000, 3600, 16), 2);
    world.stubborn = vec![1];
    world.tell(FleetInput::Start);
    world.tell(FleetInput::Stop(Stop::Keep));
    // Twice 6 s: a shard has 5 s for its close handshake.
    world.pass(Duration::from_secs(11));
    assert!(world.stops().is_empty());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.stops(), [&StopReason::Requested]);
    assert_eq!(world.wait, Wait::Stopped);
}

#[test]
fn a_bot_ends_with_its_last_shard() {
    let code = CloseCode::new(4010);
    let refused = StopReason::Fatal { code };
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    world.tell(stopped(shard(0, 2), refused.clone()));
    assert!(world.stops().is_empty(), "one still runs");
    world.tell(stopped(shard(1, 2), refused.clone()));
    assert_eq!(world.stops(), [&StopReason::NoShardsLeft]);
    let mut world = started(ShardPlan::Total(1), limit(1000, 3600, 16));
    world.tell(stopped(shard(0, 1), refused.clone()));
    assert_eq!(world.stops(), [&refused], "alone, its reason is the bot's");
}

#[test]
fn a_number_of_shards_that_cannot_be_ends_the_start() {
    let ids = |total| ShardPlan::Ids {
        ids: vec![0],
        total: Some(total),
    };
    let none = started(ShardPlan::Total(0), limit(1000, 3600, 1));
    let absurd = started(ids(100_001), limit(1000, 3600, 1));
    for world in [none, absurd] {
        let stops = world.stops();
        assert!(
            matches!(
                stops[..],
                [StopReason::Fetch(FetchFault::NotAGateway { .. })]
            ),
            "{stops:?}"
        );
    }
    let most = started(ids(100_000), limit(1000, 3600, 1));
    assert_eq!(most.started, [0]);
}

#[test]
fn a_command_to_a_shard_that_has_not_started_finds_it_not_ready() {
    let mut world = started(ShardPlan::Total(9), limit(1000, 3600, 1));
    assert!(!world.started.contains(&8));
    world.tell(FleetInput::Command {
        id: CommandId(1),
        to: Shards::Guild((8_u64 << 22).into()),
        command: Command::status_update(StatusUpdate::online()).unwrap(),
        if_not_ready: IfNotReady::Queue,
    });
    assert_eq!(
        world.answers,
        [(1, Answer::Refused(CommandError::NotReady))]
    );
}

#[test]
fn a_lost_connection_is_reported_as_down() {
    let lost = Event::Disconnected {
        shard: shard(0, 1),
        conn: ConnId(1),
        code: None,
        reason: crate::DisconnectReason::Zombie,
        next: crate::Next::Resume,
        delay: Duration::ZERO,
    };
    let report = ShardReport::from_action(&crate::Action::Emit(lost));
    assert!(matches!(report, Some(ShardReport::Down)), "{report:?}");
}

#[test]
fn a_start_tells_how_many_shards_run_here_of_how_many() {
    let plan = ShardPlan::Ids {
        ids: vec![1, 4, 6],
        total: Some(8),
    };
    let world = started(plan, limit(1000, 3600, 1));
    assert!(world.events.iter().any(|(_, event)| matches!(
        event,
        Event::Starting {
            shards: 3,
            total: 8,
            ..
        }
    )));
}

#[test]
fn a_first_fetch_that_fails_is_repeated_after_a_pause() {
    let mut world = World::new(ShardPlan::Recommended, limit(1000, 3600, 16), 1);
    world.faults = vec![FetchFault::network("down")];
    world.tell(FleetInput::Start);
    world.tell(FleetInput::Tick);
    assert_eq!(world.story(), ["0 fetch"]);
    world.pass(Duration::from_secs(60));
    assert!(world.all_connected_at().is_some());
    assert!(world.stops().is_empty());
}

#[test]
fn a_question_after_the_end_is_answered_even_if_a_shard_never_ended() {
    let mut world = World::new(ShardPlan::Total(1), limit(1000, 3600, 1), 1);
    world.stubborn = vec![0];
    world.tell(FleetInput::Start);
    world.tell(FleetInput::Stop(Stop::Keep));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.stops(), [&StopReason::Requested]);
    let (id, filter) = (CommandId(1), ShardFilter::all());
    world
        .fleet
        .handle(world.now, FleetInput::AskForStates { id, filter })
        .unwrap();
    let first = world.fleet.poll();
    assert!(matches!(&first, FleetAction::States { states, .. } if states.len() == 1));
}

#[test]
fn a_copy_goes_its_own_way_from_the_same_place() {
    let mut world = started(ShardPlan::Total(2), limit(1000, 3600, 16));
    let mut copy = world.fleet.try_clone().expect("all is carried out");
    copy.handle(world.now, FleetInput::Stop(Stop::Keep))
        .unwrap();
    assert!(copy.try_clone().is_none(), "each action is handed out once");
    let mut told = Vec::new();
    loop {
        match copy.poll() {
            FleetAction::Tell { shard, .. } => told.push(shard.number()),
            FleetAction::Wait(_) => break,
            _ => {}
        }
    }
    assert_eq!(told, [0, 1]);
    // The original has heard of no stop.
    world.pass(Duration::from_secs(60));
    assert!(world.told.is_empty() && world.stops().is_empty());
}
