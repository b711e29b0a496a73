//! Answers to what clients ask for, and the REST side.

mod bench;

use std::collections::BTreeSet;

use bench::{Bench, identify_with};
use serde_json::{Value, json};
use shardwright_testkit::scenario::Scenario;
use shardwright_testkit::server::{ConnId, Delivery, ServerConfig, Tokens, Violation};

fn guild(bench: &mut Bench, conn: ConnId) -> String {
    let payloads = bench.payloads(conn);
    let ready = payloads.iter().find(|p| p["t"] == "READY").unwrap();
    ready["d"]["guilds"][0]["id"].as_str().unwrap().to_owned()
}

/// Dispatches that came since READY and the guilds.
fn since(bench: &mut Bench, conn: ConnId, name: &str) -> Vec<Value> {
    bench
        .payloads(conn)
        .into_iter()
        .filter(|payload| payload["t"] == name)
        .map(|payload| payload["d"].clone())
        .collect()
}

fn members(bench: &mut Bench, conn: ConnId, d: Value) -> Vec<Value> {
    let before = since(bench, conn, "GUILD_MEMBERS_CHUNK").len();
    bench.send(conn, &json!({"op": 8, "d": d}));
    since(bench, conn, "GUILD_MEMBERS_CHUNK").split_off(before)
}

#[test]
fn a_whole_list_comes_in_chunks_and_once_in_30_seconds() {
    let mut config = ServerConfig::default();
    config.members_per_guild = 2500;
    let mut bench = Bench::new(config);
    let conn = bench.up();
    let guild = guild(&mut bench, conn);
    let all = json!({"guild_id": guild, "query": "", "limit": 0, "nonce": "n1"});
    let chunks = members(&mut bench, conn, all.clone());
    let sizes: Vec<_> = chunks
        .iter()
        .map(|chunk| chunk["members"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    assert!(
        chunks
            .iter()
            .all(|c| c["chunk_count"] == 3 && c["nonce"] == "n1")
    );
    bench.ms(1_000);
    assert!(members(&mut bench, conn, all.clone()).is_empty());
    let limited = since(&mut bench, conn, "RATE_LIMITED");
    assert_eq!(limited.len(), 1);
    assert_eq!(limited[0]["opcode"], 8);
    assert!((limited[0]["retry_after"].as_f64().unwrap() - 29.0).abs() < 0.01);
    assert_eq!(
        limited[0]["meta"],
        json!({"guild_id": guild, "nonce": "n1"})
    );
    bench.ms(29_000);
    assert_eq!(members(&mut bench, conn, all).len(), 3);
}

#[test]
fn members_are_found_by_prefix_and_by_id() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    let guild = guild(&mut bench, conn);
    let some = members(
        &mut bench,
        conn,
        json!({"guild_id": guild, "query": "user0001", "limit": 5}),
    );
    assert_eq!(some[0]["members"].as_array().unwrap().len(), 5);
    let none = members(
        &mut bench,
        conn,
        json!({"guild_id": guild, "query": "nobody", "limit": 5}),
    );
    assert_eq!((none.len(), &none[0]["chunk_count"]), (1, &json!(1)));
    assert_eq!(none[0]["members"], json!([]));
    let id = some[0]["members"][0]["user"]["id"].clone();
    let by_id = members(
        &mut bench,
        conn,
        json!({"guild_id": guild, "user_ids": [id, "12", 34], "presences": true}),
    );
    assert_eq!(by_id[0]["not_found"], json!(["12", 34]));
    assert_eq!(by_id[0]["members"][0]["user"]["id"], id);
    assert_eq!(by_id[0]["presences"].as_array().unwrap().len(), 1);
    assert!(bench.machine.log().violations().is_empty());
    let long = "ä".repeat(17);
    let lost = members(
        &mut bench,
        conn,
        json!({"guild_id": guild, "user_ids": "1", "nonce": long}),
    );
    assert!(lost[0].get("nonce").is_none());
    assert_eq!(
        bench.machine.log().violations(),
        [&Violation::LongNonce(34)]
    );
}

#[test]
fn the_bot_is_a_member_of_its_guilds_and_counted() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    let guild = guild(&mut bench, conn);
    let bot = since(&mut bench, conn, "READY")[0]["user"]["id"].clone();
    let created = since(&mut bench, conn, "GUILD_CREATE").remove(0);
    let listed = created["members"].as_array().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["user"]["id"], bot);
    assert!(created["roles"][0]["colors"]["primary_color"].is_u64());
    let all = json!({"guild_id": guild, "query": "", "limit": 0});
    let whole = members(&mut bench, conn, all).remove(0);
    let ids: BTreeSet<_> = whole["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["user"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(created["member_count"], ids.len());
    assert!(ids.contains(bot.as_str().unwrap()));
    for wanted in [
        json!({"guild_id": guild, "user_ids": [bot]}),
        json!({"guild_id": guild, "query": "emul", "limit": 9}),
    ] {
        let found = members(&mut bench, conn, wanted).remove(0);
        assert_eq!(found["members"], json!([listed[0]]));
    }
    let join =
        json!({"guild_id": guild, "channel_id": "77", "self_mute": false, "self_deaf": false});
    bench.send(conn, &json!({"op": 4, "d": join}));
    let state = since(&mut bench, conn, "VOICE_STATE_UPDATE").remove(0);
    assert_eq!(state["member"], listed[0]);
}

#[test]
fn what_a_session_may_not_ask_is_not_answered() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.open();
    bench.send(conn, &identify_with(json!({"intents": 1, "shard": [0, 2]})));
    let guild = guild(&mut bench, conn);
    let other = (guild.parse::<u64>().unwrap() + (1 << 22)).to_string();
    let all = |guild: &str| json!({"guild_id": guild, "query": "", "limit": 0});
    assert!(members(&mut bench, conn, all(&guild)).is_empty());
    assert!(members(&mut bench, conn, all(&other)).is_empty());
    assert_eq!(
        bench.machine.log().violations()[0],
        &Violation::MissingIntent
    );
    assert!(matches!(
        bench.machine.log().violations()[1],
        Violation::OtherShard(_)
    ));
}

#[test]
fn a_guild_id_that_is_none_ends_the_session_three_seconds_later() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    assert!(
        members(
            &mut bench,
            conn,
            json!({"guild_id": "abc", "query": "", "limit": 0})
        )
        .is_empty()
    );
    bench.ms(2_999);
    assert_eq!(bench.machine.sessions().len(), 1);
    bench.ms(1);
    assert_eq!(bench.payloads(conn).last().unwrap()["op"], 9);
    assert!(bench.machine.sessions().is_empty());
}

#[test]
fn voice_sounds_and_channel_info_are_answered() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    let guild = guild(&mut bench, conn);
    let voice = |channel: Value| {
        json!({"op": 4, "d": {"guild_id": guild, "channel_id": channel,
               "self_mute": true, "self_deaf": false}})
    };
    bench.send(conn, &voice("77".into()));
    bench.send(conn, &voice(Value::Null));
    let states = since(&mut bench, conn, "VOICE_STATE_UPDATE");
    assert_eq!(states[0]["channel_id"], "77");
    assert_eq!(states[1]["channel_id"], Value::Null);
    assert_eq!(since(&mut bench, conn, "VOICE_SERVER_UPDATE").len(), 1);
    bench.send(conn, &json!({"op": 31, "d": {"guild_ids": [guild]}}));
    assert_eq!(
        since(&mut bench, conn, "SOUNDBOARD_SOUNDS")[0]["guild_id"],
        guild
    );
    bench.send(
        conn,
        &json!({"op": 43, "d": {"guild_id": guild, "fields": ["status"]}}),
    );
    assert!(
        since(&mut bench, conn, "CHANNEL_INFO")[0]["channels"][0]
            .get("status")
            .is_some()
    );
}

#[test]
fn events_come_by_intent() {
    let mut config = ServerConfig::default();
    config.rate = 200.0;
    let mut bench = Bench::new(config);
    let conn = bench.open();
    bench.send(conn, &identify_with(json!({"intents": 1 << 9})));
    bench.ms(5_000);
    for name in bench.names(conn) {
        let always = [
            "READY",
            "INTERACTION_CREATE",
            "ENTITLEMENT_CREATE",
            "GUILD_MEMBERS_CHUNK",
        ];
        assert!(
            name.starts_with("MESSAGE_") || always.contains(&name.as_str()),
            "{name}"
        );
    }
    assert!(bench.names(conn).len() > 500);
}

#[test]
fn rest_answers_and_refuses() {
    let mut config = ServerConfig::default();
    config.tokens = Tokens::These(["good".to_owned()].into());
    config.shards = 4;
    let mut bench = Bench::new(config);
    let now = bench.now;
    let bot = "/api/v10/gateway/bot";
    let mut ask = |method: &str, path: &str, auth| bench.machine.rest(now, method, path, auth);
    let good = ask("GET", bot, Some("Bot good"));
    let body: Value = serde_json::from_str(&good.body).unwrap();
    assert_eq!(good.status, 200);
    assert_eq!(body["shards"], 4);
    assert_eq!(
        body["session_start_limit"],
        json!({"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1})
    );
    assert_eq!(ask("GET", bot, Some("good")).status, 401);
    assert_eq!(ask("GET", bot, Some("Bot bad")).status, 401);
    assert_eq!(ask("GET", bot, None).status, 401);
    assert_eq!(ask("POST", bot, Some("Bot good")).status, 405);
    assert_eq!(ask("GET", "/api/gateway/bot", Some("Bot good")).status, 404);
    assert_eq!(ask("GET", "/api/v10/gateway", None).status, 200);
}

#[test]
fn rest_says_who_the_bot_is() {
    let mut config = ServerConfig::default();
    config.tokens = Tokens::These(["good".to_owned()].into());
    let mut bench = Bench::new(config);
    let conn = bench.open();
    bench.send(conn, &identify_with(json!({"token": "good"})));
    let ready = since(&mut bench, conn, "READY").remove(0);
    let now = bench.now;
    let mut ask = |method: &str, path: &str, auth| {
        let answer = bench.machine.rest(now, method, path, auth);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status, body)
    };
    let good = Some("Bot good");
    assert_eq!(
        ask("GET", "/api/v10/users/@me", good),
        (200, ready["user"].clone())
    );
    let (status, application) = ask("GET", "/api/v10/applications/@me", good);
    assert_eq!(status, 200);
    assert_eq!(application["id"], ready["application"]["id"]);
    assert_eq!(application["flags"], ready["application"]["flags"]);
    assert_eq!(application["bot"]["id"], ready["user"]["id"]);
    assert_eq!(application["approximate_guild_count"], 3);
    assert_eq!(
        ask("GET", "/api/v10/oauth2/applications/@me", good),
        (200, application)
    );
    for path in [
        "/users/@me",
        "/applications/@me",
        "/oauth2/applications/@me",
    ] {
        let path = format!("/api/v10{path}");
        assert_eq!(ask("GET", &path, Some("Bot bad")).0, 401);
        assert_eq!(ask("GET", &path, None).0, 401);
        assert_eq!(ask("PUT", &path, good).0, 405);
    }
}

#[test]
fn rest_faults_are_played_in_order() {
    let scenario = Scenario::from_json(
        r#"{"rest": [
            {"status": 429, "retry_after_header": 82800, "html": true},
            {"status": 502, "times": 2},
            {"cut_body": 10},
            {"hang": true},
            {"status": 429, "retry_after": 0.3}]}"#,
    )
    .unwrap();
    let mut bench = Bench::with(ServerConfig::default(), scenario);
    let now = bench.now;
    let mut ask = || {
        bench
            .machine
            .rest(now, "GET", "/api/v10/gateway/bot", Some("Bot x"))
    };
    let first = ask();
    assert_eq!(first.status, 429);
    assert!(first.body.starts_with("<!DOCTYPE html>"));
    assert!(first.headers.contains(&("Retry-After", "82800".to_owned())));
    assert_eq!((ask().status, ask().status), (502, 502));
    assert_eq!(ask().delivery, Delivery::Cut(10));
    assert_eq!(ask().delivery, Delivery::Never);
    assert!(ask().body.contains("0.3"));
    assert_eq!(ask().status, 200);
}
