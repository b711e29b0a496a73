//! Sessions that outlive a process: stored, after any death of it, and handed from one process to another.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::*;
use serde_json::{Value, json};
use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::server::Seen;

/// A file that goes with the test.
struct StateFile(PathBuf);

impl StateFile {
    fn new(name: &str) -> Self {
        let name = format!("shardwright-{name}-{}.json", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// What is stored of the only shard, if anything is.
    fn seq(&self) -> Option<u64> {
        let text = std::fs::read(&self.0).ok()?;
        let run: Value =
            serde_json::from_slice(&text).expect("it is whole whenever it is looked at");
        run["shards"][0]["seq"].as_u64()
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// All lines up to the end of the process.
fn rest(watch: &mut Running) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut text = String::new();
    let out = watch.out.as_mut().unwrap();
    while std::io::BufRead::read_line(out, &mut text).unwrap() > 0 {
        // The last one may be cut.
        lines.extend(serde_json::from_str::<Value>(&text).ok());
        text.clear();
    }
    lines
}

fn dispatches(lines: &[Value]) -> Vec<u64> {
    let dispatches = lines.iter().filter(|line| line["type"] == "dispatch");
    dispatches
        .map(|line| line["seq"].as_u64().unwrap())
        .collect()
}

fn identifies(emulator: &Emulator) -> usize {
    emulator.with_machine(|machine| machine.log().identifies())
}

fn no_violations(emulator: &Emulator) -> bool {
    emulator.with_machine(|machine| machine.log().violations().is_empty())
}

#[test]
fn a_process_that_is_killed_again_and_again_loses_no_event() {
    let emulator = emulator(|config| config.rate = 400.0);
    let file = StateFile::new("killed");
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    let mut next = 1;
    for round in 0..5 {
        let mut watch = watching(&emulator, &["--state", file.path()]);
        let first = watch.line("dispatch");
        let mut got = vec![first["seq"].as_u64().unwrap()];
        assert_eq!(got[0], next, "round {round} goes on after what was stored");
        // Until some of what this process has shown is stored.
        while file.seq() < Some(got[0] + 20) || got.len() < 200 {
            got.push(watch.line("dispatch")["seq"].as_u64().unwrap());
        }
        watch.signal("KILL");
        got.extend(dispatches(&rest(&mut watch)));
        assert!(got.windows(2).all(|pair| pair[1] == pair[0] + 1), "{got:?}");
        let stored = file.seq().unwrap();
        assert!(
            stored <= *got.last().unwrap(),
            "nothing is stored before it is shown"
        );
        got.iter()
            .for_each(|seq| *seen.entry(*seq).or_default() += 1);
        next = stored + 1;
    }
    let numbers: Vec<u64> = seen.keys().copied().collect();
    assert!(
        numbers.iter().copied().eq(1..=numbers.len() as u64),
        "no gap"
    );
    assert_eq!(identifies(&emulator), 1, "one session all along");
    assert!(no_violations(&emulator));
}

#[test]
fn a_stop_with_a_state_keeps_the_session_and_the_next_run_goes_on() {
    let emulator = emulator(|_| {});
    let file = StateFile::new("kept");
    let state = ["--state", file.path(), "--until", "ready"];
    let output = watch(&emulator, &state);
    let lines = lines(&output.stdout);
    assert_ended(&lines);
    let stopped = &lines[lines.len() - 2];
    assert!(stopped["states"][0]["session_id"].is_string(), "{stopped}");
    let run: Value = serde_json::from_slice(&std::fs::read(&file.0).unwrap()).unwrap();
    assert_eq!(run["ended_in_order"], json!(true));
    assert_eq!(run["shards"][0]["seq"], stopped["states"][0]["seq"]);
    let last = dispatches(&lines).last().copied();
    assert_eq!(
        run["shards"][0]["seq"].as_u64(),
        last,
        "all that was shown counts"
    );
    let output = watch(&emulator, &state);
    assert!(types(&common::lines(&output.stdout)).contains(&"resumed"));
    assert_eq!(identifies(&emulator), 1);
    let codes = emulator.with_machine(|machine| {
        let entries = machine.log().entries().iter();
        let codes = entries.filter_map(|entry| match entry.what {
            Seen::ClosedByClient {
                code,
                answer: false,
            } => Some(code),
            _ => None,
        });
        codes.collect::<Vec<_>>()
    });
    assert_eq!(codes, [4000, 4000], "1000 would end the session");
}

#[test]
fn the_file_holds_no_token() {
    let emulator = emulator(|_| {});
    let file = StateFile::new("secret");
    let api = emulator.api_base();
    let args = [
        "watch",
        "--api",
        &api,
        "--state",
        file.path(),
        "--until",
        "ready",
    ];
    let output = shardwright(&args)
        .env("DISCORD_TOKEN", "a.very.secret.token")
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let text = std::fs::read_to_string(&file.0).unwrap();
    assert!(
        text.contains("session_id") && !text.contains("secret.token"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_state_is_named_and_left_alone() {
    let emulator = emulator(|_| {});
    let file = StateFile::new("bad");
    std::fs::write(&file.0, "my diary").unwrap();
    let output = watch(&emulator, &["--state", file.path(), "--until", "ready"]);
    assert_eq!(code(&output), Some(2));
    assert!(said(&output).contains(file.path()), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(&file.0).unwrap(), "my diary");
    assert_eq!(identifies(&emulator), 0);
}

#[test]
fn shards_are_handed_from_one_process_to_another_while_events_flow() {
    let emulator = emulator(|config| {
        config.shards = 4;
        config.max_concurrency = 16;
        config.rate = 400.0;
    });
    let mut from = watching(&emulator, &["--stdin", "--shards", "4"]);
    let mut to = watching(&emulator, &["--stdin", "--shard-ids", "", "--shards", "4"]);
    from.line("connected_all_shards");
    to.line("connected_all_shards");
    let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut take = |line: &Value| {
        if line["type"] == "dispatch" {
            let shard = line["shard"].as_u64().unwrap();
            seen.entry(shard)
                .or_default()
                .push(line["seq"].as_u64().unwrap());
        }
    };
    // What came before is of no interest, but where each shard begins is.
    for shard in 0..4 {
        from.say(&json!({"do":"remove_shards","match":[{"shard":[shard,4]}]}).to_string());
        let states = loop {
            let line = from.any_line();
            take(&line);
            if line["type"] == "shard_states" {
                break line["states"].clone();
            }
        };
        assert_eq!(states[0]["shard"], json!([shard, 4]));
        to.say(&json!({"do":"add_shards","states":states}).to_string());
        loop {
            let line = to.any_line();
            take(&line);
            if line["type"] == "resumed" && line["shard"] == shard {
                break;
            }
        }
    }
    // However fast that was, there is something to look at.
    let mut here = [0; 4];
    while here.iter().any(|events| *events < 3) {
        let line = to.any_line();
        take(&line);
        if line["type"] == "dispatch" {
            here[line["shard"].as_u64().unwrap() as usize] += 1;
        }
    }
    from.say(r#"{"do":"disconnect"}"#);
    rest(&mut from).iter().for_each(&mut take);
    to.say(r#"{"do":"disconnect"}"#);
    rest(&mut to).iter().for_each(&mut take);
    assert_eq!(seen.len(), 4);
    for (shard, seqs) in seen {
        assert!(seqs.len() > 1);
        let whole = seqs.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(whole, "shard {shard}: {seqs:?}");
    }
    assert_eq!(
        identifies(&emulator),
        4,
        "each shard once, in the first process"
    );
    assert!(no_violations(&emulator));
}

#[test]
fn a_bot_gets_another_number_of_shards_on_demand() {
    let emulator = emulator(|config| config.max_concurrency = 16);
    let mut watch = watching(&emulator, &["--stdin"]);
    watch.line("connected_all_shards");
    watch.say(r#"{"do":"re_shard","to":1}"#);
    let why = watch.line("rejected")["why"].clone();
    assert!(why.as_str().unwrap().contains("already"), "{why}");
    watch.say(r#"{"do":"re_shard","to":2}"#);
    let re_shard = watch.line("re_shard");
    assert_eq!((&re_shard["from"], &re_shard["to"]), (&json!(1), &json!(2)));
    assert_eq!(watch.line("connected_all_shards")["shards"], 2);
    assert_eq!(identifies(&emulator), 3);
}
