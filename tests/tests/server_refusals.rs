//! Each misuse ends in the close code Discord gives it.

mod bench;

use bench::{Bench, QUERY, beat, identify, identify_with, presence, resume};
use serde_json::{Value, json};
use shardwright_testkit::scenario::Listener;
use shardwright_testkit::server::{ServerConfig, Tokens, Violation};

fn code_of(config: ServerConfig, first: &Value) -> Option<u16> {
    let mut bench = Bench::new(config);
    let conn = bench.open();
    bench.send(conn, first);
    bench.closed(conn)
}

fn code_when_up(text: &str) -> Option<u16> {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    bench.text(conn, text);
    bench.closed(conn)
}

#[test]
fn identify_is_checked_in_every_field() {
    let plain = ServerConfig::default;
    let mut tokens = plain();
    tokens.tokens = Tokens::These(["other".to_owned()].into());
    let mut unprivileged = plain();
    unprivileged.allowed_intents = 53_575_421;
    let mut large = plain();
    large.shard_multiple = 16;
    let mut crowded = plain();
    crowded.total_guilds = Some(5001);
    for (config, fields, code) in [
        (plain(), json!({}), None),
        (plain(), json!({"token": "Bot a.b.c"}), None),
        (plain(), json!({"intents": 0}), None),
        (plain(), json!({"shard": [1, 2]}), None),
        (tokens, json!({}), Some(4004)),
        (plain(), json!({"token": ""}), Some(4004)),
        (plain(), json!({"token": null}), Some(4002)),
        (plain(), json!({"properties": null}), Some(4002)),
        (plain(), json!({"properties": {"os": "linux"}}), Some(4002)),
        (plain(), json!({"large_threshold": 251}), Some(4002)),
        (
            plain(),
            json!({"presence": {"status": "online"}}),
            Some(4002),
        ),
        (plain(), json!({"shard": [2, 2]}), Some(4010)),
        (plain(), json!({"shard": [0]}), Some(4010)),
        (plain(), json!({"shard": "0"}), Some(4010)),
        (plain(), json!({"shard": [0, 0]}), Some(4010)),
        (large.clone(), json!({"shard": [0, 24]}), Some(4010)),
        (large, json!({"shard": [0, 32]}), None),
        (crowded.clone(), json!({"shard": [0, 2]}), Some(4011)),
        (crowded, json!({"shard": [0, 3]}), None),
        (plain(), json!({"intents": null}), Some(4013)),
        (plain(), json!({"intents": 1 << 17}), Some(4013)),
        (plain(), json!({"intents": -1}), Some(4013)),
        (unprivileged, json!({"intents": 3}), Some(4014)),
    ] {
        assert_eq!(
            code_of(config, &identify_with(fields.clone())),
            code,
            "{fields}"
        );
    }
}

#[test]
fn order_is_kept() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.open();
    bench.send(conn, &beat(None));
    assert_eq!(bench.ops(conn), [10, 11]);
    bench.send(conn, &presence());
    assert_eq!(bench.closed(conn), Some(4003));

    let again = bench.up();
    bench.send(again, &identify());
    assert_eq!(bench.closed(again), Some(4005));
    assert_eq!(code_when_up(&resume("x", 1).to_string()), Some(4005));
}

#[test]
fn bodies_are_checked() {
    let long = json!({"op": 3, "d": {"since": null, "activities": [], "status": "online",
                      "afk": false, "filler": "ä".repeat(2100)}});
    for (text, code) in [
        ("{", 4002),
        ("[1]", 4002),
        ("", 4002),
        (&long.to_string(), 4002),
        ("{}", 4001),
        (r#"{"op":"1","d":null}"#, 4001),
        (r#"{"op":5,"d":{}}"#, 4001),
        (r#"{"op":11}"#, 4001),
        (r#"{"op":0,"d":{}}"#, 4001),
        (r#"{"op":99,"d":{}}"#, 4001),
        (r#"{"op":1,"d":{"seq":1}}"#, 4002),
        (r#"{"op":1,"d":"1"}"#, 4002),
        (r#"{"op":1,"d":1.5}"#, 4002),
        (r#"{"op":3,"d":{"activities":[null]}}"#, 4002),
        (
            r#"{"op":3,"d":{"activities":[],"status":"online","afk":false}}"#,
            4002,
        ),
        (
            r#"{"op":3,"d":{"since":null,"activities":[],"status":"away","afk":false}}"#,
            4002,
        ),
        (
            r#"{"op":4,"d":{"guild_id":"1","self_mute":false,"self_deaf":false}}"#,
            4001,
        ),
        (
            r#"{"op":4,"d":{"guild_id":"1","channel_id":null,"self_deaf":false}}"#,
            4001,
        ),
        (r#"{"op":8,"d":{"guild_id":"1"}}"#, 4001),
        (r#"{"op":8,"d":{"guild_id":"1","query":""}}"#, 4001),
        (r#"{"op":31,"d":{"guild_ids":"1"}}"#, 4001),
        (r#"{"op":43,"d":{"guild_id":"1"}}"#, 4001),
    ] {
        assert_eq!(code_when_up(text), Some(code), "{text}");
    }
    for text in [
        r#"{"op":1,"d":1}"#,
        r#"{"op":1,"d":null}"#,
        r#"{"op":1}"#,
        r#"{"op":3,"d":{"since":91879201,"activities":[{"name":"x","type":4,"state":"y"}],"status":"idle","afk":false}}"#,
    ] {
        assert_eq!(code_when_up(text), None, "{text}");
    }
}

#[test]
fn exactly_4096_bytes_pass() {
    let mut d = json!({"since": null, "activities": [], "status": "online", "afk": false, "x": ""});
    let bare = json!({"op": 3, "d": d}).to_string().len();
    d["x"] = "x".repeat(4096 - bare).into();
    assert_eq!(code_when_up(&json!({"op": 3, "d": d}).to_string()), None);
    d["x"] = "x".repeat(4097 - bare).into();
    assert_eq!(
        code_when_up(&json!({"op": 3, "d": d}).to_string()),
        Some(4002)
    );
}

#[test]
fn more_than_120_sends_in_any_60_seconds_end_in_4008() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    bench.ms(30_000);
    for _ in 0..119 {
        bench.send(conn, &beat(1));
    }
    assert_eq!(bench.closed(conn), None);
    bench.ms(30_000);
    bench.send(conn, &beat(1)); // the Identify has left the window
    assert_eq!(bench.closed(conn), None);
    bench.send(conn, &beat(1));
    assert_eq!(bench.closed(conn), Some(4008));
    let session = bench.session(conn);
    let next = bench.open();
    bench.send(next, &resume(&session, 1));
    assert!(
        bench.names(next).contains(&"RESUMED".to_owned()),
        "4008 keeps the session"
    );
}

#[test]
fn a_sixth_presence_in_20_seconds_ends_in_4008() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    for _ in 0..5 {
        bench.send(conn, &presence());
    }
    bench.ms(20_000);
    bench.send(conn, &presence());
    assert_eq!(bench.closed(conn), None);
    for _ in 0..5 {
        bench.send(conn, &presence());
    }
    assert_eq!(bench.closed(conn), Some(4008));
}

#[test]
fn silence_ends_the_connection_but_not_the_session() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    bench.ms(41_250);
    bench.send(conn, &beat(1));
    bench.ms(61_000);
    assert_eq!(bench.closed(conn), None);
    bench.ms(1_000);
    assert_eq!(bench.closed(conn), Some(4000));
    assert!(
        bench
            .machine
            .log()
            .violations()
            .contains(&&Violation::NoBeat)
    );
    assert_eq!(bench.machine.sessions().len(), 1);
}

#[test]
fn bad_addresses_are_refused_and_a_version_that_never_was_is_closed() {
    let mut bench = Bench::new(ServerConfig::default());
    for (target, status) in [
        ("/", 400),
        ("/?v=5&encoding=json", 400),
        ("/?v=10&encoding=etf", 400),
        ("/gateway?v=10&encoding=json", 404),
    ] {
        let conn = bench.dial(Listener::Main, target);
        assert_eq!(bench.got(conn).status, Some(status), "{target}");
    }
    let conn = bench.dial(Listener::Main, "/?v=77&encoding=json");
    assert_eq!(bench.closed(conn), Some(4012));
    let conn = bench.dial(Listener::Resume, QUERY);
    assert_eq!(bench.ops(conn), [10]);
}

#[test]
fn what_is_odd_but_legal_is_only_noted() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    bench.text(conn, r#"{"op":1,"d":1,"s":4}"#);
    bench.send(conn, &beat(900));
    assert_eq!(bench.closed(conn), None);
    assert_eq!(
        bench.machine.log().violations(),
        [&Violation::WroteSequence, &Violation::BeatSequence(900)]
    );
}

#[test]
fn the_token_is_masked_in_the_log() {
    let mut bench = Bench::new(ServerConfig::default());
    bench.up();
    let log = format!("{:?}", bench.machine.log().entries());
    assert!(log.contains("[token]") && !log.contains("a.b.c"));
}
