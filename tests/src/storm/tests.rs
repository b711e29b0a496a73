use super::*;
use crate::server::{LogEntry, Seen};

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let hour = Duration::from_secs(3600);
    let one = Schedule::generate(3, 3, hour, Intensity::High);
    assert_eq!(one, Schedule::generate(3, 3, hour, Intensity::High));
    assert_ne!(one, Schedule::generate(4, 3, hour, Intensity::High));
    assert!(one.faults.is_sorted_by_key(|timed| timed.at));
    assert!(one.faults.iter().all(|timed| timed.at < one.lasts));
    let calm = Schedule::generate(3, 3, hour, Intensity::None);
    assert!(calm.faults.is_empty());
}

#[test]
fn a_schedule_survives_json() {
    for seed in 0..20 {
        let shards = 1 + seed as u32 * 7;
        let one = Schedule::generate(seed, shards, Duration::from_secs(7200), Intensity::High);
        assert_eq!(Schedule::from_json(&one.to_json()).unwrap(), one);
    }
    let mut other = Schedule::generate(1, 1, Duration::from_secs(60), Intensity::Low);
    other.format = 7;
    assert!(matches!(
        Schedule::from_json(&other.to_json()),
        Err(ScheduleError::Format(7))
    ));
    other.format = FORMAT;
    other.setup.shards = 0;
    assert!(Schedule::from_json(&other.to_json()).is_err());
    assert!(Schedule::from_json("{}").is_err());
}

#[test]
fn shards_meet_faults_as_often_whatever_their_number() {
    let hour = Duration::from_secs(3600);
    let per_shard = |shards| {
        let schedule = Schedule::generate(1, shards, hour * 4, Intensity::High);
        schedule.faults.len() as f64 / f64::from(shards) / 4.0
    };
    // Thirty an hour for each shard; those that a big bot's session starts are too few for are left out.
    assert!(
        (20.0..32.0).contains(&per_shard(1000)),
        "{}",
        per_shard(1000)
    );
    assert!((24.0..60.0).contains(&per_shard(8)), "{}", per_shard(8));
}

#[test]
fn the_same_schedule_gives_the_same_run() {
    let schedule = Schedule::generate(11, 2, Duration::from_secs(900), Intensity::High);
    let run = || {
        let mut storm = Storm::with_tail(&schedule, 10_000);
        storm.run().unwrap();
        (storm.world().transcript(), storm.report())
    };
    let (first, second) = (run(), run());
    assert!(first == second);
    assert!(first.1.faults.values().sum::<u64>() > 0);
}

#[test]
fn any_part_of_a_schedule_is_one() {
    for seed in 0..12 {
        let mut schedule = Schedule::generate(seed, 3, Duration::from_secs(1800), Intensity::High);
        let mut place = 0;
        schedule.faults.retain(|_| {
            place += 1;
            (place + seed) % 3 == 0
        });
        Storm::new(&schedule).run().unwrap();
    }
}

#[test]
fn who_watches_may_end_it() {
    let schedule = Schedule::generate(5, 1, Duration::from_secs(3600), Intensity::Low);
    let mut storm = Storm::new(&schedule);
    storm.watch(|glance| glance.time < Duration::from_secs(100));
    assert!(matches!(storm.run(), Err(StormError::Interrupted)));
    assert!(storm.world().time() < Duration::from_secs(200));
}

/// Two of three shards are lent; then this shard is closed with a code that ends its bot, and another process
/// begins. Says how often shard 1 identified.
fn lent_and_ended(ends: u32) -> usize {
    let minute = Duration::from_secs(60);
    let mut schedule = Schedule::generate(1, 3, minute * 5, Intensity::None);
    (schedule.setup.left, schedule.setup.stores) = (1000, false);
    let fault = |at: u64, fault| Timed {
        at: at * 1000,
        fault,
    };
    let (shards, pause) = (vec![0, 1], 1000);
    let (shard, code, down) = (ends, 4014, 5000);
    schedule.faults = vec![
        fault(60, Fault::Lend { shards, pause }),
        fault(120, Fault::Fatal { shard, code, down }),
    ];
    let mut storm = Storm::new(&schedule);
    storm.run().unwrap();
    let log = storm.world().server().log().entries().iter();
    let lent = |entry: &&LogEntry| entry.shard.is_some_and(|shard| shard.number == 1);
    log.filter(lent)
        .filter(|entry| matches!(entry.what, Seen::Identify { .. }))
        .count()
}

#[test]
fn lent_shards_outlive_who_lent_them_and_who_has_them() {
    assert_eq!(lent_and_ended(2), 1, "the lender ends");
    assert_eq!(lent_and_ended(0), 1, "the borrower ends");
}
