//! The day's session starts: counted, over restarts too, and kept from a crash loop.

use super::*;

fn spent(world: &World) -> Vec<(u32, u32)> {
    let events = world.events.iter().filter_map(|(_, event)| match event {
        Event::IdentifyBudgetSpent {
            waiting, kept_back, ..
        } => Some((*waiting, *kept_back)),
        _ => None,
    });
    events.collect()
}

fn careful(remaining: u32, shards: u32) -> World {
    let limit = limit(remaining, 3600, 16);
    let mut world = World::new(ShardPlan::Total(shards), limit, shards);
    world.fleet.config.careful = true;
    world.tell(FleetInput::Start);
    world
}

#[test]
fn first_starts_may_spend_all() {
    let mut world = started(ShardPlan::Total(5), limit(3, 60, 16));
    world.pass(Duration::from_secs(59));
    assert_eq!(world.identified.len(), 3);
    assert_eq!(spent(&world), [(2, 0)]);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.identified.len(), 5);
}

#[test]
fn after_a_run_that_did_not_end_in_order_a_tenth_is_kept_back() {
    // A tenth of 1000 is 100.
    let mut world = careful(103, 5);
    world.pass(Duration::from_secs(3604));
    assert_eq!(world.identified.len(), 3);
    assert_eq!(spent(&world), [(2, 100)]);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.identified.len(), 5, "the reset brings them");
}

#[test]
fn sessions_resume_whatever_is_left() {
    let limit = limit(0, 3600, 1);
    let mut world = World::new(ShardPlan::Total(2), limit, 2);
    world.fleet.config.careful = true;
    world.fleet.config.states = (0..2).map(|id| session_of(shard(id, 2))).collect();
    world.tell(FleetInput::Start);
    assert_eq!(world.all_connected_at(), Some(Duration::ZERO));
}

#[test]
fn a_shard_that_identifies_again_and_again_makes_the_fleet_careful() {
    let mut world = started(ShardPlan::Total(1), limit(103, 3600, 1));
    let zero = shard(0, 1);
    for conn in 2..10 {
        world.pass(Duration::from_secs(6));
        world.tell(FleetInput::Report {
            shard: zero,
            report: ShardReport::Down,
        });
        let conn = ConnId(conn);
        let report = ShardReport::WantIdentify { conn };
        world.tell(FleetInput::Report {
            shard: zero,
            report,
        });
    }
    // The first and three more within ten minutes: from then on 100 are kept, and 103 - 4 is less.
    assert_eq!(world.fleet.starts_left().unwrap().remaining, 99);
    assert_eq!(spent(&world), [(1, 100)]);
}

#[test]
fn what_an_earlier_run_has_spent_of_the_same_window_counts() {
    let with = |known: KnownStarts| {
        let mut world = World::new(ShardPlan::Total(3), limit(1000, 3600, 16), 3);
        world.fleet.config.known_starts = Some(known);
        world.tell(FleetInput::Start);
        world.identified.len()
    };
    let known = |remaining, reset_after| KnownStarts {
        remaining,
        reset_after: Duration::from_secs(reset_after),
    };
    assert_eq!(with(known(2, 3500)), 2);
    assert_eq!(with(known(2, 60)), 3, "another window, which is over");
}

#[test]
fn starts_left_are_counted_down() {
    let mut world = started(ShardPlan::Total(3), limit(1000, 3600, 16));
    world.pass(Duration::from_secs(100));
    let left = world.fleet.starts_left().unwrap();
    assert_eq!(left.remaining, 997);
    assert_eq!(left.reset_after, Duration::from_secs(3500));
}

#[test]
fn who_waits_for_starts_is_counted_whether_connected_or_not() {
    let world = started(ShardPlan::Total(9), limit(0, 60, 1));
    assert!(world.started.len() < 9);
    // The second on its way has not asked yet.
    assert_eq!(spent(&world), [(8, 0)]);
}

/// Another turn for a shard that was up.
fn identify_again(world: &mut World, conn: u32) {
    world.tell(FleetInput::Report {
        shard: shard(0, 1),
        report: ShardReport::WantIdentify { conn: ConnId(conn) },
    });
}

/// A bot whose second window is used up, as far as it knows.
fn second_window_spent() -> World {
    let limit = |remaining| SessionStartLimit::new(3, remaining, Duration::from_secs(600), 1);
    let mut world = started(ShardPlan::Total(1), limit(1));
    world.story();
    world.pass(Duration::from_secs(606));
    // The one of the window before may count in this one.
    assert_eq!(world.fleet.starts_left().unwrap().remaining, 3);
    for conn in 2..4 {
        identify_again(&mut world, conn);
        world.pass(Duration::from_secs(6));
    }
    world.info.session_start_limit = limit(0);
    assert!(world.story().is_empty());
    assert!(spent(&world).is_empty());
    world
}

#[test]
fn discord_is_asked_when_the_starts_of_a_window_it_has_not_told_of_seem_spent() {
    // It was a shorter one, and the next has begun.
    let mut world = second_window_spent();
    world.info.session_start_limit.remaining = 2;
    identify_again(&mut world, 4);
    assert!(world.story().is_empty());
    world.pass(Duration::from_secs(10));
    assert_eq!(world.story(), ["622 fetch"], "ten seconds after the last");
    assert_eq!(world.fleet.starts_left().unwrap().remaining, 1);
    assert!(spent(&world).is_empty());
    // They are spent indeed: that is said, and believed until Discord's reset.
    let mut world = second_window_spent();
    identify_again(&mut world, 4);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.story(), ["622 fetch"]);
    assert_eq!(spent(&world), [(1, 0)]);
    world.pass(Duration::from_secs(598));
    assert!(world.story().is_empty(), "not asked again");
    let before = world.identified[&0];
    world.pass(Duration::from_secs(2));
    assert_ne!(world.identified[&0], before, "the reset brings it");
}

#[test]
fn a_host_that_slept_with_its_clock_spends_no_start_of_discord_s_next_window_twice() {
    // Each start four minutes after the one before: no crash loop.
    let step = Duration::from_secs(240);
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let mut world = started(
        ShardPlan::Total(1),
        SessionStartLimit::new(40, 35, hours(2), 1),
    );
    world.pass(step);
    // Discord's window ends now, and this clock's goes on for two hours.
    let mut of_the_next = 0;
    for conn in 2.. {
        let before = world.identified[&0];
        let left = 40 - of_the_next;
        world.info.session_start_limit = SessionStartLimit::new(40, left, hours(20), 1);
        identify_again(&mut world, conn);
        world.pass(step);
        if world.identified[&0] == before {
            break;
        }
        of_the_next += 1;
        assert!(of_the_next <= 40, "one too many");
    }
    assert_eq!(of_the_next, 40, "and all of them");
    assert_eq!(spent(&world), [(1, 0)]);
    let story = world.story();
    let asked = story.iter().filter(|line| line.ends_with("fetch"));
    assert_eq!(asked.count(), 2, "at the start, and once in between");
}

#[test]
fn discord_is_asked_for_what_is_left_until_it_answers() {
    let mut world = second_window_spent();
    world.info.session_start_limit.remaining = 2;
    world.faults = vec![FetchFault::Unavailable { status: 502 }; 2];
    identify_again(&mut world, 4);
    world.pass(Duration::from_secs(5));
    let asked = world.story();
    assert_eq!(asked[0], "622 fetch");
    assert!(spent(&world).is_empty(), "nobody knows");
    world.pass(Duration::from_secs(10));
    assert_eq!(asked.len() + world.story().len(), 3);
    assert!(world.identified[&0] > Duration::from_secs(622));
}

#[test]
fn a_refusal_is_no_reason_to_ask_again() {
    let mut world = second_window_spent();
    world.faults = vec![FetchFault::Refused {
        status: 401,
        code: None,
        message: String::new(),
        advice: "".into(),
    }];
    identify_again(&mut world, 4);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.story(), ["622 fetch"]);
    assert_eq!(spent(&world), [(1, 0)]);
    assert!(world.stops().is_empty(), "the gateway itself will say so");
}
