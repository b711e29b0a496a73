//! Every sequence of inputs to a fleet of two shards in one bucket, from several of its states, up to a
//! length.
//!
//! `EXPLORE_DEPTH` goes further than the default of two inputs; then better with `--release`.

use shardwright_testkit::explore::fleet::{Fleet, stories};
use shardwright_testkit::explore::{Explorer, Subject as _};

fn explore(starts: u32, gated: bool) {
    let asked = std::env::var("EXPLORE_DEPTH");
    let depth = asked.ok().and_then(|depth| depth.parse().ok()).unwrap_or(2);
    let root = Fleet::new(starts, gated);
    let mut explorer = Explorer::default();
    for (name, story) in stories() {
        if gated && story.len() > 2 {
            continue;
        }
        let walk = explorer.explore(|| root.fork(), &story, depth);
        let walk = walk.unwrap_or_else(|found| panic!("{found}"));
        println!(
            "{name}, depth {depth}: {} steps, {} new states",
            walk.steps, walk.states
        );
        assert!(walk.steps > 0 || walk.states == 0, "{name}");
    }
}

#[test]
fn no_sequence_of_inputs_breaks_a_rule() {
    explore(1000, false);
}

#[test]
fn nor_with_two_session_starts_left() {
    explore(2, false);
}

#[test]
fn nor_with_a_gate_of_the_users() {
    explore(1000, true);
}
