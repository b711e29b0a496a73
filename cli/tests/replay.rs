//! `watch --record`, `record` and `replay`, from outside.

mod common;

use std::path::{Path, PathBuf};

use common::{assert_ended, code, emulator, lines, run, said, shardwright, watch};
use serde_json::Value;

/// A file of this test, gone afterwards.
struct Scrap(PathBuf);

impl Scrap {
    fn new(name: &str) -> Self {
        let name = format!("shardwright-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The last line of a replay, as JSON.
fn verdict(output: &std::process::Output) -> Value {
    lines(&output.stdout).pop().unwrap()
}

#[test]
fn a_run_on_any_runtime_comes_out_the_same_again() {
    for runtime in ["tokio", "async-std", "smol", "blocking"] {
        let emulator = emulator(|server| {
            server.shards = 2;
            server.max_concurrency = 2;
            server.rate = 200.0;
        });
        let trace = Scrap::new(&format!("run-{runtime}.trace"));
        let more = ["--runtime", runtime, "--record", trace.path()];
        let output = watch(&emulator, &[&more[..], &["--until", "events:50"]].concat());
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        assert_ended(&lines(&output.stdout));
        let replayed = run(&["replay", trace.path(), "--format", "json"]);
        assert_eq!(code(&replayed), Some(0), "{}", said(&replayed));
        let verdict = verdict(&replayed);
        assert_eq!(verdict["type"], "replayed");
        assert_eq!(verdict["mismatches"], 0);
        assert_eq!(verdict["lives"], 2);
        assert!(verdict["dispatches"].as_u64().unwrap() >= 50, "{verdict}");
    }
}

#[test]
fn nobody_else_may_read_a_trace_and_the_token_is_not_in_it() {
    let emulator = emulator(|_| {});
    let trace = Scrap::new("secret.trace");
    let token = "MTA5.a-secret-of-forty-characters-or-more.at-all";
    let api = emulator.api_base();
    let args = ["record", trace.path(), "--api", &api, "--until", "ready"];
    let output = shardwright(&args)
        .env("DISCORD_TOKEN", token)
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let text = trace.text();
    assert!(text.contains(r#"\"op\":2,"#), "an Identify is in it");
    assert!(!text.contains("a-secret"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&trace.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_changed_trace_is_found_out() {
    let emulator = emulator(|server| server.rate = 100.0);
    let trace = Scrap::new("changed.trace");
    watch(
        &emulator,
        &["--record", trace.path(), "--until", "events:5"],
    );
    // Another seed: the first beat comes at another time.
    let text = trace.text();
    let (header, rest) = text.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(header).unwrap();
    header["seed"] = 1.into();
    std::fs::write(&trace.0, format!("{header}\n{rest}")).unwrap();
    let output = run(&["replay", trace.path(), "--format", "json"]);
    assert_eq!(code(&output), Some(1));
    assert!(said(&output).contains("did otherwise"), "{}", said(&output));
    assert!(verdict(&output)["mismatches"].as_u64() > Some(0));
}

#[test]
fn a_trace_is_readable_and_stops_where_it_is_told_to() {
    let emulator = emulator(|server| server.rate = 100.0);
    let trace = Scrap::new("readable.trace");
    watch(
        &emulator,
        &["--record", trace.path(), "--until", "events:20"],
    );
    let output = run(&[
        "replay",
        trace.path(),
        "--print",
        "--format",
        "pretty",
        "--until",
        "0:7",
    ]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("dispatch 1:1 READY "), "{text}");
    assert!(text.contains("dispatch 1:7 "));
    assert!(!text.contains("dispatch 1:8 "));
    assert!(text.contains("shard [0, 1]: Live"), "how it stands");
    let never = run(&["replay", trace.path(), "--until", "9:7", "--format", "json"]);
    assert!(said(&never).contains("no dispatch"), "{}", said(&never));
    let steps = run(&["replay", trace.path(), "--print", "--format", "json"]);
    let steps = lines(&steps.stdout);
    assert!(
        steps
            .iter()
            .any(|step| step["heard"]["Received"]["conn"] == 1)
    );
}

#[test]
fn a_copy_for_others_has_no_bodies() {
    let emulator = emulator(|server| server.rate = 100.0);
    let (trace, copy) = (Scrap::new("whole.trace"), Scrap::new("public.trace"));
    let more = [
        "--compress",
        "none",
        "--record",
        trace.path(),
        "--until",
        "events:30",
    ];
    watch(&emulator, &more);
    assert!(trace.text().contains("content"), "events hold something");
    let output = run(&["replay", trace.path(), "--drop-bodies", copy.path()]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    assert!(!copy.text().contains("content"));
    let replayed = run(&["replay", copy.path(), "--format", "json"]);
    assert_eq!(code(&replayed), Some(0), "{}", said(&replayed));
    let whole = run(&["replay", trace.path(), "--format", "json"]);
    assert_eq!(
        verdict(&replayed)["dispatches"],
        verdict(&whole)["dispatches"]
    );
    // Not over itself.
    let output = run(&["replay", trace.path(), "--drop-bodies", trace.path()]);
    assert_eq!(code(&output), Some(2));
    assert!(trace.text().contains("content"));
}

#[test]
fn what_is_no_trace_is_a_usage_error_and_a_damaged_one_is_not_replayed() {
    let scrap = Scrap::new("no.trace");
    assert_eq!(code(&run(&["replay", scrap.path()])), Some(2), "no file");
    for text in ["", "hello\n", "{\"a\":1}\n"] {
        std::fs::write(&scrap.0, text).unwrap();
        let output = run(&["replay", scrap.path()]);
        assert_eq!(code(&output), Some(2), "{text:?}: {}", said(&output));
        assert!(said(&output).contains("no trace"), "{}", said(&output));
    }
    let output = run(&["replay", scrap.path(), "--until", "x"]);
    assert_eq!(code(&output), Some(2));
    let emulator = emulator(|_| {});
    watch(&emulator, &["--record", scrap.path(), "--until", "ready"]);
    let text = scrap.text() + "garbage\n";
    std::fs::write(&scrap.0, text).unwrap();
    let output = run(&["replay", scrap.path()]);
    assert_eq!(code(&output), Some(1));
    assert!(said(&output).contains("damaged"), "{}", said(&output));
}

#[test]
fn where_no_trace_can_be_written_nothing_begins() {
    let path = Path::new("/no/such/folder/x.trace");
    let emulator = emulator(|_| {});
    let output = watch(
        &emulator,
        &["--record", path.to_str().unwrap(), "--until", "ready"],
    );
    assert_eq!(code(&output), Some(2));
    assert!(said(&output).contains("trace"), "{}", said(&output));
}
