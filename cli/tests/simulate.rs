//! `simulate`: the same seed says the same, wrong flags are said to be wrong, ends are in order.

use std::io::BufRead;

mod common;

use common::*;

const SHORT: [&str; 7] = [
    "simulate", "--shards", "2", "--hours", "0.3", "--faults", "high",
];

#[test]
fn a_seed_says_what_happened_and_the_same_again() {
    let args = [&SHORT[..], &["--seed", "7", "--format", "json"]].concat();
    let (first, second) = (run(&args), run(&args));
    assert_eq!(code(&first), Some(0), "{}", said(&first));
    let (first, second) = (lines(&first.stdout), lines(&second.stdout));
    assert_eq!(types(&first), ["run", "end"]);
    assert_eq!(first[0]["report"], second[0]["report"]);
    assert_eq!(first[0]["seed"], 7);
    assert!(first[0]["report"]["events"].as_u64() > Some(0));
    assert!(first[0]["report"]["dials"].as_u64() >= Some(2));
    assert_eq!(first[1]["what"], "10 invariants: all true");
}

#[test]
fn pretty_output_ends_with_the_verdict() {
    let output = run(&[&SHORT[..], &["--seed", "8", "--format", "pretty"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("seed 8: 2 shards"), "{text}");
    assert!(text.ends_with("\n10 invariants: all true\n"), "{text}");
}

#[test]
fn a_schedule_is_played_from_a_file() {
    let text = shardwright_testkit::storm::Schedule::generate(
        3,
        1,
        std::time::Duration::from_secs(600),
        shardwright_testkit::storm::Intensity::High,
    )
    .to_json();
    let path = std::env::temp_dir().join(format!("storm-{}.json", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let output = run(&["simulate", "--play", file, "--format", "json"]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    assert_eq!(lines(&output.stdout)[0]["seed"], 3);
    std::fs::write(&path, "{}").unwrap();
    let output = run(&["simulate", "--play", file]);
    assert_eq!(code(&output), Some(2), "{}", said(&output));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn wrong_flags_are_usage_errors() {
    for flags in [
        &["--hours", "0"][..],
        &["--hours", "NaN"],
        &["--shards", "0"],
        &["--faults", "some"],
        &["--play", "/nonexistent"],
        &["--seconds", "1", "--seed", "1"],
    ] {
        let output = run(&[&["simulate"], flags].concat());
        assert_eq!(code(&output), Some(2), "{flags:?} {}", said(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_closed_standard_output_ends_it_in_order() {
    let args = [&SHORT[..], &["--count", "1000000", "--format", "json"]].concat();
    let mut child = shardwright(&args).spawn().unwrap();
    let mut first = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("\"seed\""), "{first}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
