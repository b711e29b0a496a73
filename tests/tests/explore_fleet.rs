//! Every sequence of inputs to a fleet of two shards in one bucket, from several of its states, up to a
//! length.
//!
//! `EXPLORE_DEPTH` goes further than the default of two inputs; then better with `--release`.

use shardwright_testkit::explore::fleet::{Fleet, Letter, stories, stories_of_a_swap};
use shardwright_testkit::explore::{Explorer, Subject as _};

fn explore(root: &Fleet, stories: impl IntoIterator<Item = (&'static str, Vec<Letter>)>) {
    let asked = std::env::var("EXPLORE_DEPTH");
    let depth = asked.ok().and_then(|depth| depth.parse().ok()).unwrap_or(2);
    let mut explorer = Explorer::default();
    for (name, story) in stories {
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
    explore(&Fleet::new(1000, false), stories());
}

#[test]
fn nor_with_two_session_starts_left() {
    explore(&Fleet::new(2, false), stories());
}

#[test]
fn nor_with_a_gate_of_the_users() {
    let short = stories().into_iter().filter(|(_, story)| story.len() <= 2);
    explore(&Fleet::new(1000, true), short);
}

#[test]
fn nor_while_a_new_layout_takes_over() {
    let root = Fleet::new(1000, false).swapping();
    explore(&root, stories_of_a_swap());
}
