//! Worlds in which everything goes wrong at random, and rules that hold all the same.
//!
//! `WORLD_COUNT` sets how many worlds are played, `WORLD_SEED` the first seed, `WORLD_MINUTES` how long
//! each is stormy.

use std::time::Duration;

use shardwright_testkit::rng::Rng;
use shardwright_testkit::storm::{Intensity, Schedule, Storm};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn the_rules_hold_in_any_weather() {
    let first = setting("WORLD_SEED", 1);
    let count = setting("WORLD_COUNT", 100);
    let stormy = Duration::from_secs(60 * setting("WORLD_MINUTES", 20));
    let tail = setting("WORLD_TAIL", 60) as usize;
    let mut failed = Vec::new();
    for seed in first..first + count {
        let shards = 1 + Rng::new(seed).below(4) as u32;
        let schedule = Schedule::generate(seed, shards, stormy, Intensity::High);
        if let Err(error) = Storm::with_tail(&schedule, tail).run() {
            let text = error.to_string();
            println!("WORLD_SEED={seed} WORLD_COUNT=1: {text}\n");
            failed.push((seed, text.lines().take(3).collect::<Vec<_>>().join("\n")));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {count} worlds: {failed:#?}",
        failed.len()
    );
}
