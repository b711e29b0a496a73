//! Stories: bots, the gateway, and one thing that goes wrong.

use std::time::Duration;

use shardwright_core::{
    Compression, DisconnectReason, Event, Phase, SessionLoss, Stop, StopReason,
};
use shardwright_testkit::scenario::{Effect, Ending, Listener, ListenerMode, Scenario, Step, When};
use shardwright_testkit::server::{Seen, Target};
use shardwright_testkit::world::{
    BotId, BotSpec, Builder, Consumer, DialFate, HostClock, Network, Vanish, Way, World, WorldError,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A bot whose shards are all up.
fn up(builder: Builder) -> (World, BotId) {
    let mut world = builder.build();
    let bot = world.start_bot();
    world.run_until(|world| world.all_live(bot)).unwrap();
    (world, bot)
}

fn notices(world: &World, bot: BotId, wanted: impl Fn(&Event<'static>) -> bool) -> usize {
    let taken = world.story(bot).taken.iter();
    taken
        .filter_map(|taken| taken.event.notice())
        .filter(|event| wanted(event))
        .count()
}

fn left_as(world: &World, bot: BotId, wanted: &DisconnectReason) -> usize {
    notices(
        world,
        bot,
        |event| matches!(event, Event::Disconnected { reason, .. } if reason == wanted),
    )
}

fn gapless(world: &World, bot: BotId, shard: u32) -> u64 {
    let taken = world.sequence(bot, shard);
    let last = *taken.last().unwrap();
    assert!(taken.iter().copied().eq(1..=last), "{taken:?}");
    last
}

#[test]
fn the_same_seed_gives_the_same_transcript_byte_for_byte() {
    let run = |seed| {
        let scenario = Scenario::named("stormy").unwrap();
        let builder = World::builder().seed(seed).scenario(scenario);
        let (mut world, bot) =
            up(builder.configure(|server| (server.shards, server.rate) = (3, 0.2)));
        world.partition(MINUTE);
        world.run_for(MINUTE * 30).unwrap();
        world.stop(bot, Stop::Final);
        world.run_for(MINUTE).unwrap();
        world.transcript()
    };
    let first = run(5);
    assert!(first.lines().count() > 1000);
    assert_eq!(first, run(5));
    assert_ne!(first, run(6));
}

#[test]
fn asked_to_reconnect_it_resumes_on_the_other_host_and_misses_nothing() {
    let (mut world, bot) = up(World::builder().configure(|server| server.rate = 5.0));
    world.play(&Target::All, &[Effect::Op7]);
    world.run_for(MINUTE).unwrap();
    assert!(
        world.lines()[1]
            .url
            .starts_with("ws://gateway-resume.invalid/")
    );
    assert_eq!(
        (
            world.server().log().identifies(),
            world.server().log().resumed()
        ),
        (1, 1)
    );
    assert!(gapless(&world, bot, 0) > 250);
    world.check().unwrap();
}

#[test]
fn a_line_cut_in_the_middle_of_a_frame_loses_nothing() {
    for compression in [
        Compression::None,
        Compression::Zlib,
        Compression::Zstd,
        Compression::Payload,
    ] {
        for ending in [Ending::Fin, Ending::Rst] {
            for after in [0, 1, 7, 60] {
                let mut fleet = World::fleet_config();
                fleet.template.compression = compression;
                let mut world = World::builder().build();
                let bot = world.start(BotSpec::new(fleet));
                world.run_until(|world| world.all_live(bot)).unwrap();
                world.play(&Target::All, &[Effect::Events(2)]);
                world.play(
                    &Target::All,
                    &[
                        Effect::Cut {
                            after,
                            then: ending,
                        },
                        Effect::Events(3),
                    ],
                );
                world.run_for(MINUTE).unwrap();
                // READY, three guilds, five events, RESUMED.
                assert_eq!(
                    gapless(&world, bot, 0),
                    10,
                    "{compression:?} {ending:?} {after}"
                );
                assert_eq!(world.server().log().resumed(), 1);
                world.check().unwrap();
            }
        }
    }
}

#[test]
fn a_line_cut_on_the_way_loses_nothing_at_whichever_byte() {
    for way in [Way::ToServer, Way::ToClient] {
        for after in 0..40 {
            let (mut world, bot) = up(World::builder().seed(after));
            world.cut(bot, 0, way, after * 40, Ending::Rst);
            world.play(&Target::All, &[Effect::Events(4)]);
            world.run_for(MINUTE * 10).unwrap();
            assert!(world.all_live(bot));
            assert!(gapless(&world, bot, 0) >= 8);
            world.check().unwrap();
        }
    }
}

#[test]
fn op_9_with_true_resumes_and_with_false_begins_anew() {
    for resumable in [true, false] {
        let (mut world, bot) = up(World::builder());
        world.play(&Target::All, &[Effect::Op9(resumable.into())]);
        world
            .run_until(|world| world.phase(bot, 0) == Some(Phase::Connecting))
            .unwrap();
        let before = world.time();
        world.run_until(|world| world.all_live(bot)).unwrap();
        let closed = world.lines()[0].close.unwrap().0;
        assert!(
            (1..=5).contains(&(before - closed).as_secs()),
            "{:?}",
            before - closed
        );
        let lost = notices(&world, bot, |event| {
            matches!(event, Event::SessionLost { .. })
        });
        assert_eq!(lost, usize::from(!resumable));
        let identifies = world.server().log().identifies();
        assert_eq!(identifies, 1 + usize::from(!resumable));
        world.check().unwrap();
    }
}

#[test]
fn an_op_9_that_fell_into_a_silence_is_heard_after_it() {
    for silence in [Effect::Silent, Effect::Hang, Effect::Stall] {
        let (mut world, bot) = up(World::builder().configure(|server| server.rate = 1.0));
        world.run_for(MINUTE).unwrap();
        world.play(&Target::All, &[silence]);
        world.run_for(Duration::from_secs(5)).unwrap();
        world.play(&Target::All, &[Effect::Op9(false.into())]);
        world.run_for(Duration::from_secs(5)).unwrap();
        assert_eq!(
            notices(&world, bot, |event| matches!(
                event,
                Event::SessionLost { .. }
            )),
            0
        );
        world.play(&Target::All, &[Effect::Recover]);
        world.run_for(MINUTE).unwrap();
        assert!(world.all_live(bot));
        assert_eq!(world.server().log().identifies(), 2);
        world.calm();
        world.run_for(MINUTE * 3).unwrap();
        world.check().unwrap();
    }
}

#[test]
fn a_line_that_falls_silent_is_left_and_the_session_goes_on() {
    for way in [Way::ToServer, Way::ToClient, Way::Both] {
        let (mut world, bot) = up(World::builder().configure(|server| server.rate = 0.1));
        world.run_for(MINUTE * 3).unwrap();
        world.stall(bot, 0, way, None);
        let since = world.time();
        world.run_until(|world| world.lines().len() == 2).unwrap();
        let took = world.time() - since;
        // A stream of dispatches speaks for a link that does not answer beats, for a while.
        let longest = if way == Way::ToServer { 5 } else { 2 };
        assert!(
            took < Duration::from_secs_f64(41.25) * longest + MINUTE / 20,
            "{way:?}: {took:?}"
        );
        world.run_until(|world| world.all_live(bot)).unwrap();
        world.run_for(MINUTE * 5).unwrap();
        assert_eq!(world.server().log().identifies(), 1, "{way:?}");
        gapless(&world, bot, 0);
        world.check().unwrap();
    }
}

#[test]
fn a_dead_resume_host_is_left_for_the_main_one() {
    for fate in [
        DialFate::Refused,
        DialFate::Hangs,
        DialFate::NoName,
        DialFate::Unreachable,
    ] {
        let (mut world, bot) = up(World::builder().configure(|server| server.rate = 1.0));
        world.dials(Some(Listener::Resume), fate, MINUTE * 60);
        world.play(&Target::All, &[Effect::Rst]);
        world.run_for(Duration::from_secs(1)).unwrap();
        world
            .run_until_within(MINUTE, |world| world.all_live(bot))
            .unwrap();
        let urls: Vec<_> = world
            .lines()
            .iter()
            .map(|line| line.url.contains("resume"))
            .collect();
        assert_eq!(urls, [false, true, true, true, false], "{fate:?}");
        assert_eq!(world.server().log().resumed(), 1);
        gapless(&world, bot, 0);
        world.check().unwrap();
    }
}

#[test]
fn a_resume_host_that_accepts_and_says_nothing_is_left_too() {
    let scenario = Scenario::of(vec![
        Step::new(When::Opened, [Effect::Hang])
            .on(shardwright_testkit::scenario::Selector::listener(
                Listener::Resume,
            ))
            .times(100),
    ]);
    let (mut world, bot) = up(World::builder().scenario(scenario));
    world.play(&Target::All, &[Effect::Op7]);
    world
        .run_until(|world| world.server().log().resumed() == 1)
        .unwrap();
    assert_eq!(world.lines().len(), 5);
    assert_eq!(left_as(&world, bot, &DisconnectReason::HelloTimeout), 3);
    world.check().unwrap();
}

#[test]
fn ten_minutes_without_a_gateway_cost_the_session_and_nothing_else() {
    let (mut world, bot) = up(World::builder().configure(|server| server.shards = 2));
    for which in [Listener::Main, Listener::Resume] {
        let mode = ListenerMode::Closed;
        world.play(
            &Target::All,
            &[Effect::Listener {
                which,
                mode,
                ms: Some(600_000),
            }],
        );
    }
    world.play(&Target::All, &[Effect::Rst]);
    world.run_for(MINUTE * 10).unwrap();
    // Backed off: a dial every half a minute or so.
    assert!(world.lines().len() < 2 * 50, "{}", world.lines().len());
    world
        .run_until_within(MINUTE * 2, |world| world.all_live(bot))
        .unwrap();
    // The sessions lived five minutes.
    assert_eq!(world.server().log().identifies(), 4);
    let lost = |event: &Event<'static>| {
        matches!(
            event,
            Event::SessionLost {
                why: SessionLoss::Invalidated,
                ..
            }
        )
    };
    assert_eq!(notices(&world, bot, lost), 2);
    world.check().unwrap();
}

#[test]
fn a_consumer_that_stops_for_minutes_gets_everything_in_the_end() {
    let mut world = World::builder()
        .configure(|server| server.rate = 2.0)
        .build();
    let mut spec = BotSpec::new(World::fleet_config());
    spec.mailbox_events = 50;
    let bot = world.start(spec);
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.set_consumer(bot, Consumer::Pauses);
    world.run_for(MINUTE * 4).unwrap();
    assert_eq!(world.phase(bot, 0), Some(Phase::Parked));
    world.set_consumer(bot, Consumer::Every(Duration::from_millis(100)));
    world.run_for(MINUTE * 4).unwrap();
    world.set_consumer(bot, Consumer::AtOnce);
    world.run_for(MINUTE).unwrap();
    assert!(gapless(&world, bot, 0) > 1000);
    assert!(left_as(&world, bot, &DisconnectReason::ConsumerStalled) >= 1);
    assert_eq!(world.server().log().identifies(), 1);
    assert!(
        world.story(bot).most_mail <= 52,
        "{}",
        world.story(bot).most_mail
    );
    world.check().unwrap();
}

#[test]
fn a_flood_waits_on_the_line_of_a_slow_consumer() {
    let (mut world, bot) = up(World::builder().configure(|server| server.send_window = 64 << 10));
    world.set_consumer(bot, Consumer::Every(Duration::from_millis(1)));
    world.flood(&Target::All, 6_000);
    world.run_for(MINUTE).unwrap();
    assert!(world.names(bot, 0).len() > 6_000);
    gapless(&world, bot, 0);
    // What was under way, and the one message that did not fit any more.
    let line = &world.lines()[0];
    assert!(line.most_unread <= (64 << 10) + line.largest);
    assert!(line.most_unread > 64 << 10);
    world.check().unwrap();
}

#[test]
fn a_host_that_slept_finds_out_whether_its_links_still_live() {
    for clock in [HostClock::Stops, HostClock::Runs] {
        for (sleep, identifies) in [(30, 1), (200, 1), (1200, 2)] {
            let (mut world, bot) = up(World::builder().configure(|server| server.rate = 0.2));
            world.run_for(MINUTE).unwrap();
            world.sleep(bot, Duration::from_secs(sleep), clock);
            world.run_for(Duration::from_secs(sleep)).unwrap();
            world
                .run_until_within(MINUTE * 2, |world| world.all_live(bot))
                .unwrap();
            world.run_for(MINUTE * 3).unwrap();
            assert!(world.all_live(bot));
            assert_eq!(
                world.server().log().identifies(),
                identifies,
                "{clock:?} {sleep}"
            );
            world.check().unwrap();
        }
    }
}

#[test]
fn after_a_crash_the_next_process_goes_on_where_events_were_acknowledged() {
    for how in [Vanish::Process, Vanish::Host] {
        let (mut world, first) = up(World::builder().configure(|server| server.rate = 3.0));
        world.run_for(MINUTE).unwrap();
        world.set_consumer(first, Consumer::Every(Duration::from_secs(5)));
        world.run_for(MINUTE).unwrap();
        let states = world.states(first);
        // The one in its hands when the states were written down, and those of the seconds after.
        world.run_for(Duration::from_secs(20)).unwrap();
        let taken = *world.sequence(first, 0).last().unwrap();
        world.crash(first, how);
        world.run_for(MINUTE).unwrap();
        let acknowledged = states[0].seq.unwrap();
        assert!(acknowledged < taken);
        let second = world.start_with(states);
        world.run_until(|world| world.all_live(second)).unwrap();
        world.run_for(MINUTE).unwrap();
        let again = world.sequence(second, 0);
        assert_eq!(again[0], acknowledged + 1);
        assert!(again.is_sorted() && *again.last().unwrap() > taken + 300);
        assert_eq!(world.server().log().identifies(), 1);
        world.check().unwrap();
    }
}

#[test]
fn a_hand_over_goes_on_after_the_last_event_taken() {
    let builder = World::builder().configure(|server| (server.rate, server.shards) = (2.0, 3));
    let (mut world, first) = up(builder.configure(|server| server.max_concurrency = 16));
    world.set_consumer(first, Consumer::Every(Duration::from_millis(900)));
    world.run_for(MINUTE).unwrap();
    world.stop(first, Stop::Keep);
    world.set_consumer(first, Consumer::AtOnce);
    world.run_until(|world| world.ended(first)).unwrap();
    let states = world.last_states(first).unwrap().to_vec();
    let second = world.start_with(states);
    world.run_until(|world| world.all_live(second)).unwrap();
    world.run_for(MINUTE).unwrap();
    for shard in 0..3 {
        let mut all = world.sequence(first, shard);
        let there = world.sequence(second, shard);
        assert_eq!(there[0], all.last().unwrap() + 1);
        all.extend(there);
        assert!(all.iter().copied().eq(1..=all.len() as u64));
    }
    assert_eq!(world.server().log().identifies(), 3);
    world.check().unwrap();
}

#[test]
fn a_final_stop_ends_the_sessions() {
    let (mut world, bot) = up(World::builder().configure(|server| server.shards = 2));
    world.stop(bot, Stop::Final);
    world.run_until(|world| world.ended(bot)).unwrap();
    world.run_for(MINUTE).unwrap();
    assert!(world.server().sessions().is_empty());
    assert!(
        world
            .last_states(bot)
            .unwrap()
            .iter()
            .all(|state| !state.is_resumable())
    );
    world.check().unwrap();
}

#[test]
fn sixteen_shards_take_turns() {
    for (max_concurrency, least, most) in [(1, 75, 85), (16, 0, 2)] {
        let (mut world, bot) = up(World::builder().configure(|server| {
            (server.shards, server.max_concurrency) = (16, max_concurrency);
        }));
        let took = world.time().as_secs();
        assert!((least..=most).contains(&took), "{took}");
        world.run_for(MINUTE).unwrap();
        let all =
            |event: &Event<'static>| matches!(event, Event::ConnectedAllShards { shards: 16 });
        assert_eq!(notices(&world, bot, all), 1);
        world.check().unwrap();
    }
}

#[test]
fn a_fatal_code_stops_every_shard_once() {
    let (mut world, bot) = up(World::builder().configure(|server| {
        (server.shards, server.max_concurrency) = (4, 16);
    }));
    world.play(&Target::Number(2), &[Effect::Close(Some(4014))]);
    world.run_until(|world| world.ended(bot)).unwrap();
    let dials = world.lines().len();
    world.run_for(MINUTE * 60).unwrap();
    assert_eq!(world.lines().len(), dials);
    let fatal = |event: &Event<'static>| matches!(event, Event::Stopped { why: StopReason::Fatal { code }, .. } if code.get() == 4014);
    assert_eq!(notices(&world, bot, fatal), 1);
    // The others keep their sessions.
    let states = world.last_states(bot).unwrap();
    assert_eq!(
        states.iter().filter(|state| state.is_resumable()).count(),
        3
    );
    world.check().unwrap();
}

#[test]
fn a_spent_budget_is_waited_out() {
    let hour = MINUTE * 60;
    let mut world = World::builder()
        .configure(|server| {
            (server.shards, server.max_concurrency) = (6, 16);
            (server.total, server.remaining) = (4, 4);
            (server.reset_after, server.window) = (hour, hour);
        })
        .build();
    let bot = world.start_bot();
    world.run_for(hour - MINUTE).unwrap();
    assert_eq!(world.live(bot), 4);
    let spent = |event: &Event<'static>| matches!(event, Event::IdentifyBudgetSpent { .. });
    assert_eq!(notices(&world, bot, spent), 1);
    world.run_for(MINUTE * 2).unwrap();
    assert_eq!(world.live(bot), 6);
    world.check().unwrap();
}

#[test]
fn a_bandwidth_is_shared_by_what_comes_at_once() {
    let network = Network {
        bandwidth: Some(50_000),
        ..Network::default()
    };
    let builder = World::builder()
        .network(network)
        .configure(|server| server.ready_filler = 100_000);
    let mut world = builder.build();
    let mut fleet = World::fleet_config();
    fleet.template.compression = Compression::None;
    let bot = world.start(BotSpec::new(fleet));
    world.run_until(|world| world.all_live(bot)).unwrap();
    assert!(
        (2..4).contains(&world.time().as_secs()),
        "{:?}",
        world.time()
    );
}

#[test]
fn what_is_still_on_a_narrow_line_is_not_missing() {
    let network = Network {
        bandwidth: Some(20_000),
        ..Network::default()
    };
    let mut world = World::builder().network(network).build();
    let mut spec = BotSpec::new(World::fleet_config());
    spec.fleet.template.compression = Compression::None;
    let bot = world.start(spec);
    world.run_until(|world| world.all_live(bot)).unwrap();
    world.calm();
    world.run_for(MINUTE * 2).unwrap();
    let before = world.sequence(bot, 0).len();
    // Fifteen seconds each.
    let d = format!(r#"{{"filler":"{}"}}"#, "x".repeat(300_000));
    for _ in 0..2 {
        world.push_event(&Target::All, "MESSAGE_CREATE", &d);
        world.run_for(Duration::from_secs(1)).unwrap();
    }
    for arrived in [0, 1] {
        world.run_for(Duration::from_secs(12)).unwrap();
        assert_eq!(world.sequence(bot, 0).len(), before + arrived);
        world.check().unwrap();
    }
    world.run_for(MINUTE * 2).unwrap();
    assert_eq!(world.sequence(bot, 0).len(), before + 2);
    world.check().unwrap();
}

#[test]
fn a_world_in_which_nothing_can_happen_says_so() {
    let mut world = World::builder().seed(3).build();
    let error = world.run_until(|_| false).unwrap_err();
    assert!(matches!(error, WorldError::Idle { seed: 3, .. }));
    let bot = world.start_bot();
    let error = world.run_until_within(MINUTE, |_| false).unwrap_err();
    assert!(matches!(error, WorldError::TooLate { at, .. } if at == MINUTE));
    assert!(error.to_string().contains("takes READY"), "{error}");
    world.stop(bot, Stop::Final);
    world.run_until(|world| world.ended(bot)).unwrap();
    assert_eq!(
        world
            .server()
            .log()
            .count(|what| matches!(what, Seen::ClosedByClient { code: 1000, .. })),
        1
    );
}

#[test]
fn too_much_at_one_moment_is_a_live_lock() {
    let builder = World::builder().at_once(50);
    let mut world = builder
        .configure(|server| (server.shards, server.max_concurrency) = (64, 64))
        .build();
    world.start_bot();
    let error = world.run_for(MINUTE).unwrap_err();
    assert!(matches!(error, WorldError::LiveLock { .. }), "{error}");
}
