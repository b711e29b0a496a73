//! The command as a whole, against the emulated gateway: lines, exit codes, signals.

use std::io::BufRead;
use std::time::Duration;

use serde_json::Value;
use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::{Seen, ServerConfig, Target, Tokens};

fn emulator(change: impl FnOnce(&mut ServerConfig)) -> Emulator {
    Emulator::builder().configure(change).start().unwrap()
}

mod common;

use common::*;

#[test]
fn gateway_prints_what_discord_says() {
    let emulator = emulator(|config| {
        config.shards = 32;
        config.max_concurrency = 16;
    });
    let api = emulator.api_base();
    let output = run(&["gateway", "--api", &api]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let info = &lines(&output.stdout)[0];
    assert_eq!(info["shards"], 32);
    assert_eq!(info["session_start_limit"]["max_concurrency"], 16);
    let output = run(&["gateway", "--api", &api, "--format", "pretty"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("32 recommended") && text.contains("about 5 s"),
        "{text}"
    );
}

#[test]
fn failures_have_their_exit_codes() {
    let emulator = emulator(|config| config.tokens = Tokens::These(["another".to_owned()].into()));
    let api = emulator.api_base();
    for verb in ["gateway", "watch"] {
        let refused = run(&[verb, "--api", &api]);
        assert_eq!(code(&refused), Some(3), "{}", said(&refused));
        assert!(said(&refused).contains("401"), "{}", said(&refused));
        let unreachable = run(&[verb, "--api", "http://127.0.0.1:9", "--tries", "1"]);
        assert_eq!(code(&unreachable), Some(4), "{}", said(&unreachable));
    }
    for usage in [
        &["gateway", "--api", "ftp://h"][..],
        &["gateway"],
        &["watch", "--intents", "nonsense"],
        &["watch", "--until", "never"],
        &["gateway", "--api", &api, "--ca-file", "/nonexistent"],
        &["watch", "--token-file", "/nonexistent"],
        &["watch", "--token", "secret"],
        &["gateway", "--api", &api, "--proxy", "u:secret@h"],
        &["watch", "--api", &api, "--proxy", "https://u:secret@h"],
    ] {
        let output = run(usage);
        assert_eq!(code(&output), Some(2), "{usage:?} {}", said(&output));
        assert!(output.stdout.is_empty());
        assert!(!said(&output).contains("u:secret"), "{}", said(&output));
    }
    let odd = shardwright(&["watch", "--api", &api])
        .env("DISCORD_TOKEN", "two words")
        .output()
        .unwrap();
    assert_eq!(code(&odd), Some(2));
    assert!(!said(&odd).contains("two words"), "{}", said(&odd));
}

#[test]
fn a_proxy_comes_from_the_flag_or_the_environment() {
    let emulator = emulator(|_| {});
    let api = emulator.api_base();
    let down = ["gateway", "--api", &api, "--tries", "1", "--proxy"];
    let output = run(&[&down[..], &["http://u:secret@127.0.0.1:9"]].concat());
    assert_eq!(code(&output), Some(4), "{}", said(&output));
    assert!(said(&output).contains("the proxy"), "{}", said(&output));
    assert!(!said(&output).contains("secret"), "{}", said(&output));
    let seen = emulator.with_machine(|machine| machine.log().entries().len());
    assert_eq!(seen, 0, "a direct request");
    let excepted = shardwright(&[&down[..], &["http://127.0.0.1:9"]].concat())
        .env("NO_PROXY", "127.0.0.0/8")
        .output()
        .unwrap();
    assert_eq!(code(&excepted), Some(0), "{}", said(&excepted));
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let with = |value: &str, more: &[&str]| {
            let args = [&["gateway", "--api", &api][..], more].concat();
            shardwright(&args).env(name, value).output().unwrap()
        };
        let wrong = with("ftp://u:secret@h", &[]);
        assert_eq!(code(&wrong), Some(2), "{}", said(&wrong));
        assert!(said(&wrong).contains(name), "{}", said(&wrong));
        assert!(!said(&wrong).contains("secret"), "{}", said(&wrong));
        // This machine is dialled directly.
        assert_eq!(code(&with("http://127.0.0.1:9", &[])), Some(0));
        assert_eq!(code(&with("ftp://h", &["--proxy", ""])), Some(0));
    }
}

#[test]
fn a_failed_start_ends_in_the_last_two_lines_too() {
    let emulator = emulator(|config| config.tokens = Tokens::These(["another".to_owned()].into()));
    let output = watch(&emulator, &[]);
    assert_eq!(types(&lines(&output.stdout)), ["stopped", "summary"]);
}

#[test]
fn watch_until_ready_says_what_happened() {
    let emulator = emulator(|config| {
        config.shards = 2;
        config.max_concurrency = 2;
    });
    let output = watch(&emulator, &["--until", "ready", "--data"]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let lines = lines(&output.stdout);
    assert_ended(&lines);
    let types = types(&lines);
    for name in ["connecting", "hello", "identifying", "ready", "dispatch"] {
        assert!(types.contains(&name), "{name} in {types:?}");
    }
    let ready = lines.iter().find(|line| line["name"] == "READY").unwrap();
    assert!(ready["d"]["session_id"].is_string());
    let all = lines
        .iter()
        .find(|line| line["type"] == "connected_all_shards");
    assert_eq!(all.unwrap()["shards"], 2);
    assert_eq!(lines.last().unwrap()["identifies"], 2);
}

#[test]
fn only_what_is_wanted_is_delivered() {
    let emulator = emulator(|_| {});
    let more = [
        "--until",
        "seconds:1",
        "--only",
        "ready",
        "--compress",
        "zstd",
    ];
    let lines = lines(&watch(&emulator, &more).stdout);
    assert_ended(&lines);
    let names: Vec<_> = lines
        .iter()
        .filter_map(|line| line["name"].as_str())
        .collect();
    assert_eq!(names, ["READY"]);
}

#[test]
fn a_certificate_of_ones_own_is_trusted() {
    let emulator = Emulator::builder().tls().start().unwrap();
    let path = std::env::temp_dir().join(format!("shardwright-ca-{}.pem", std::process::id()));
    std::fs::write(&path, emulator.ca_pem().unwrap()).unwrap();
    let trusting = ["--ca-file", path.to_str().unwrap(), "--until", "ready"];
    let output = watch(&emulator, &trusting);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let output = watch(&emulator, &["--tries", "1"]);
    assert_eq!(code(&output), Some(4), "{}", said(&output));
}

#[test]
fn a_fatal_close_code_is_exit_code_3() {
    let emulator = emulator(|config| config.allowed_intents = 1);
    let output = watch(&emulator, &["--intents", "guilds,guild-messages"]);
    assert_eq!(code(&output), Some(3), "{}", said(&output));
    let lines = lines(&output.stdout);
    assert_ended(&lines);
    let stopped = lines.iter().find(|line| line["type"] == "stopped").unwrap();
    assert_eq!(stopped["code"], 4014);
}

#[test]
fn with_nothing_set_up_an_emulated_gateway_is_watched() {
    let output = run(&["watch", "--format", "json", "--until", "events:3"]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    let lines = lines(&output.stdout);
    assert_ended(&lines);
    assert!(
        types(&lines)
            .iter()
            .filter(|name| **name == "dispatch")
            .count()
            >= 3
    );
}

#[test]
fn commands_come_on_standard_input() {
    let emulator = emulator(|_| {});
    let mut watch = watching(&emulator, &["--stdin"]);
    watch.line("connected_all_shards");
    watch.say(r#"{"do":"dance"}"#);
    let rejected = watch.line("rejected");
    assert_eq!(rejected["what"], r#"{"do":"dance"}"#);
    watch.say(r#"{"do":"status_update","status":"dnd"}"#);
    let sent = watch.line("sent");
    assert_eq!((&sent["op"], &sent["shard"]), (&3.into(), &0.into()));
    watch.say(r#"{"do":"send","shard":7,"payload":{"op":3,"d":{}}}"#);
    watch.line("rejected");
    watch.say(r#"{"do":"disconnect","keep":true}"#);
    let stopped = watch.line("stopped");
    assert!(stopped["states"][0]["session_id"].is_string(), "{stopped}");
    watch.line("summary");
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
}

#[test]
fn members_are_collected_into_one_line() {
    let emulator = emulator(|config| {
        config.members_per_guild = 30;
        config.members_per_chunk = 10;
    });
    let mut watch = watching(&emulator, &["--stdin", "--intents", "all"]);
    watch.line("connected_all_shards");
    let guild = "41771983423143937";
    let ask = |more: &str| {
        format!(r#"{{"do":"guild_request_members","guild_id":"{guild}","collect":true{more}}}"#)
    };
    watch.say(&ask(""));
    let line = watch.line("members");
    assert_eq!(
        (&line["shard"], &line["guild_id"]),
        (&0.into(), &guild.into())
    );
    assert_eq!(
        (&line["complete"], &line["why"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(line["members"].as_array().unwrap().len(), 30);
    assert_eq!(line["members"][28]["user"]["username"], "user00028");
    assert_eq!(
        line["members"][29]["user"]["username"], "emulated",
        "the bot"
    );
    assert_eq!(line["not_found"], serde_json::json!([]));
    assert!(line["nonce"].is_string() && line["t"].is_u64(), "{line}");

    watch.say(&ask(
        r#","user_ids":["41771983423144937","5"],"presences":true,"nonce":"mine""#,
    ));
    let line = watch.line("members");
    assert_eq!(line["nonce"], "mine");
    assert_eq!(line["not_found"], serde_json::json!(["5"]));
    assert_eq!(line["members"].as_array().unwrap().len(), 1);
    assert_eq!(line["presences"].as_array().unwrap().len(), 1);

    watch.say(&ask(r#","query":"a","limit":500"#));
    let line = watch.line("members");
    assert_eq!(
        (&line["complete"], &line["nonce"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(line["members"], serde_json::json!([]));
    assert!(
        line["why"].as_str().unwrap().contains("lower the limit"),
        "{line}"
    );
    watch.say(r#"{"do":"disconnect"}"#);
    watch.line("summary");
}

#[test]
fn states_are_told_and_acknowledged_by_hand() {
    let emulator = emulator(|_| {});
    let mut watch = watching(&emulator, &["--stdin", "--manual-ack"]);
    watch.line("connected_all_shards");
    emulator.push_event(&Target::All, "ONE", "{}");
    let one = watch.event("ONE");
    watch.say(r#"{"do":"shard_states","match":["all"]}"#);
    // Resumed from where READY stood, which always counts.
    let before = watch.line("shard_states")["states"][0]["seq"].as_u64();
    assert!(before < one["seq"].as_u64(), "{before:?}");
    let seq = one["seq"].as_u64().unwrap();
    watch.say(&format!(
        r#"{{"do":"ack","shard":0,"session":1,"seq":{}}}"#,
        seq + 1
    ));
    assert!(
        watch.line("rejected")["why"]
            .as_str()
            .unwrap()
            .contains("not given out")
    );
    watch.say(&format!(
        r#"{{"do":"ack","shard":0,"session":1,"seq":{seq}}}"#
    ));
    watch.say(r#"{"do":"shard_states","match":[{"shard":[0,1]}]}"#);
    let states = watch.line("shard_states");
    assert_eq!(states["states"][0]["seq"].as_u64(), Some(seq), "{states}");
    watch.say(r#"{"do":"shard_states","match":[{"session_id":"another"}]}"#);
    assert_eq!(watch.line("shard_states")["states"], serde_json::json!([]));
}

#[test]
fn a_line_that_has_left_counts_as_handled() {
    let emulator = emulator(|_| {});
    let mut watch = watching(&emulator, &["--stdin"]);
    watch.line("connected_all_shards");
    emulator.push_event(&Target::All, "ONE", "{}");
    let seq = watch.event("ONE")["seq"].clone();
    watch.say(r#"{"do":"shard_states","match":["all"]}"#);
    assert_eq!(watch.line("shard_states")["states"][0]["seq"], seq);
}

#[test]
fn the_end_of_the_input_is_no_disconnect() {
    let emulator = emulator(|_| {});
    let output = watch(&emulator, &["--stdin", "--until", "ready"]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    assert!(types(&lines(&output.stdout)).contains(&"connected_all_shards"));
}

#[test]
fn signals_stop_in_order() {
    for name in ["INT", "TERM"] {
        let emulator = emulator(|_| {});
        let mut watch = watching(&emulator, &[]);
        watch.line("connected_all_shards");
        watch.signal(name);
        watch.line("stopped");
        watch.line("summary");
        assert_eq!(watch.child.wait().unwrap().code(), Some(0));
        let final_close = Seen::ClosedByClient {
            code: 1000,
            answer: false,
        };
        let entries = |log: &shardwright_testkit::server::Log| {
            log.entries().iter().any(|entry| entry.what == final_close)
        };
        assert!(emulator.wait_for(entries, Duration::from_secs(10)));
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let emulator = emulator(|_| {});
    let mut watch = watching(&emulator, &[]);
    watch.line("connected_all_shards");
    // It will not answer the close frame.
    emulator.play(&Target::All, &[Effect::Stall]);
    watch.signal("INT");
    // The first has been understood; an orderly end would exit with 0.
    watch.line("disconnected");
    watch.signal("INT");
    assert_eq!(watch.child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_closed_output_is_an_orderly_stop() {
    let emulator = emulator(|config| config.rate = 100.0);
    let mut watch = watching(&emulator, &[]);
    watch.line("connected_all_shards");
    drop(watch.out.take());
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_name_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("manual-ack"), "{shell}");
    }
    assert_eq!(code(&run(&["completions", "none-such"])), Some(2));
}

#[test]
fn every_runtime_brings_the_same_events() {
    // The same events each time: an emulator of its own, and nothing at random.
    let run = |runtime: &str| {
        // Guilds may come before or after the bot is connected.
        let emulator = emulator(|server| server.send_guilds = false);
        let mut watch = watching(&emulator, &["--runtime", runtime, "--data", "--stdin"]);
        watch.line("connected_all_shards");
        emulator.flood(&Target::All, 500);
        let mut dispatches = Vec::new();
        loop {
            let line = watch.line("dispatch");
            dispatches.push((line["seq"].clone(), line["name"].clone(), line["d"].clone()));
            if line["name"] == DONE {
                break;
            }
        }
        watch.say(r#"{"do":"disconnect"}"#);
        watch.line("summary");
        assert_eq!(watch.child.wait().unwrap().code(), Some(0), "{runtime}");
        dispatches
    };
    let expected = run("tokio");
    assert_eq!(expected.len(), 501);
    for runtime in ["async-std", "smol", "blocking"] {
        assert!(run(runtime) == expected, "{runtime} brings other events");
    }
}

#[test]
fn a_flood_comes_out_whole() {
    let emulator = emulator(|_| {});
    let mut watch = watching(&emulator, &["--until", &format!("event:{DONE}")]);
    watch.line("connected_all_shards");
    emulator.flood(&Target::All, 20_000);
    let mut last = None;
    for _ in 0..=20_000 {
        let seq = watch.line("dispatch")["seq"].as_u64();
        assert!(last.is_none() || seq == last.map(|last: u64| last + 1));
        last = seq;
    }
    watch.line("stopped");
    assert!(watch.line("summary")["events"].as_u64() > Some(20_000));
}

#[test]
fn emulate_serves_any_bot() {
    let args = ["emulate", "--rate", "0", "--flood", "100", "--shards", "2"];
    let mut emulate = Running::start(&mut shardwright(&args));
    let mut api = String::new();
    emulate.out.as_mut().unwrap().read_line(&mut api).unwrap();
    let more = ["--format", "json", "--until", "event:EMULATOR_DONE"];
    for _ in 0..2 {
        let args = [&["watch", "--shards", "1", "--api", api.trim()], &more[..]].concat();
        let output = run(&args);
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        let lines = lines(&output.stdout);
        assert_ended(&lines);
        assert!(lines.last().unwrap()["events"].as_u64() > Some(100));
    }
    emulate.signal("INT");
    assert_eq!(emulate.child.wait().unwrap().code(), Some(0));
}
