//! Every sequence of inputs to a shard, from each of its states, up to a length.
//!
//! `EXPLORE_DEPTH` goes further than the default of two inputs; then better with `--release`.

use shardwright_core::Phase;
use shardwright_testkit::explore::shard::{Shard, stories};
use shardwright_testkit::explore::{Explorer, Subject as _, play};

/// Any seed is a good one: it decides the lengths of pauses.
const SEED: u64 = 7;

fn depth() -> u32 {
    let asked = std::env::var("EXPLORE_DEPTH");
    asked.ok().and_then(|depth| depth.parse().ok()).unwrap_or(2)
}

#[test]
fn each_story_leads_where_it_says_and_all_states_are_reached() {
    let root = Shard::new(SEED);
    let mut reached = Vec::new();
    for (name, phase, story) in stories() {
        let shard = play(|| root.fork(), &story).unwrap_or_else(|found| panic!("{name}: {found}"));
        assert_eq!(shard.phase(), phase, "{name}");
        reached.push(phase);
    }
    for phase in [
        Phase::Idle,
        Phase::Connecting,
        Phase::AwaitingHello,
        Phase::AwaitingPermit,
        Phase::Identifying,
        Phase::Resuming,
        Phase::Live,
        Phase::Closing,
        Phase::Backoff,
        Phase::Parked,
        Phase::Stopped,
    ] {
        assert!(reached.contains(&phase), "{phase:?}");
    }
}

#[test]
fn no_sequence_of_inputs_breaks_a_rule() {
    let depth = depth();
    let root = Shard::new(SEED);
    let mut explorer = Explorer::default();
    for (name, _, story) in stories() {
        let walk = explorer.explore(|| root.fork(), &story, depth);
        let walk = walk.unwrap_or_else(|found| panic!("{found}"));
        println!(
            "{name}, depth {depth}: {} steps, {} new states",
            walk.steps, walk.states
        );
        // The last story ends where nothing is left to happen, in states others have led to as well.
        assert!(walk.steps > 0, "{name}");
    }
}
