//! Sessions: what keeps them, what ends them, what a resume brings.

mod bench;

use std::time::Duration;

use bench::{Bench, QUERY, beat, identify, identify_with, resume};
use serde_json::json;
use shardwright_testkit::scenario::Listener;
use shardwright_testkit::server::{ServerConfig, Target, Violation};

fn push(bench: &mut Bench, count: usize) {
    for _ in 0..count {
        let now = bench.now;
        bench
            .machine
            .push_event(now, &Target::All, "TYPING_START", "{}");
    }
    bench.drain();
}

#[test]
fn ready_comes_first_and_the_guilds_follow() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.open();
    bench.send(conn, &identify_with(json!({"shard": [1, 4]})));
    assert_eq!(bench.ops(conn), [10, 0, 0, 0, 0]);
    assert_eq!(bench.seqs(conn), [1, 2, 3, 4]);
    let payloads = bench.payloads(conn);
    let ready = &payloads[1]["d"];
    assert_eq!(ready["shard"], json!([1, 4]));
    assert_eq!(ready["resume_gateway_url"], "ws://gateway-resume.invalid");
    let guilds: Vec<_> = ready["guilds"].as_array().unwrap().iter().collect();
    for (guild, create) in guilds.iter().zip(&payloads[2..]) {
        let id: u64 = guild["id"].as_str().unwrap().parse().unwrap();
        assert_eq!((id >> 22) % 4, 1);
        assert_eq!(create["d"]["id"], guild["id"]);
    }
    // Keys in the order of live payloads.
    let raw = bench.got(conn).sent[1].message.bytes().clone();
    assert!(raw.starts_with(br#"{"t":"READY","s":1,"op":0,"d":{"#));
}

#[test]
fn a_resume_replays_what_was_missed_and_ends_with_resumed() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    let session = bench.session(conn);
    push(&mut bench, 3);
    bench.lose(conn);
    push(&mut bench, 2);
    let next = bench.dial(Listener::Resume, QUERY);
    bench.send(next, &resume(&session, 5));
    assert_eq!(bench.seqs(next), [6, 7, 8, 9, 10]);
    assert_eq!(bench.names(next).last().unwrap(), "RESUMED");
    // RESUMED is a dispatch like any other.
    bench.client_close(next, 4000);
    let third = bench.dial(Listener::Resume, QUERY);
    bench.send(third, &resume(&session, 10));
    assert_eq!(bench.seqs(third), [11]);
    assert!(bench.machine.log().violations().is_empty());
}

#[test]
fn close_1000_and_1001_end_the_session_and_other_codes_do_not() {
    for (code, lives) in [
        (1000, false),
        (1001, false),
        (1005, true),
        (4000, true),
        (1012, true),
    ] {
        let mut bench = Bench::new(ServerConfig::default());
        let conn = bench.up();
        let session = bench.session(conn);
        bench.client_close(conn, code);
        let next = bench.open();
        bench.send(next, &resume(&session, 4));
        let ops = bench.ops(next);
        assert_eq!(ops, if lives { [10, 0] } else { [10, 9] }, "{code}");
    }
}

#[test]
fn the_answer_to_our_own_close_says_nothing_about_the_session() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    let session = bench.session(conn);
    let now = bench.now;
    let effects = [shardwright_testkit::scenario::Effect::Close(Some(4000))];
    bench.machine.play(now, &Target::All, &effects);
    bench.drain();
    assert_eq!(bench.closed(conn), Some(4000));
    bench.client_close(conn, 1000);
    let next = bench.open();
    bench.send(next, &resume(&session, 4));
    assert_eq!(bench.names(next), ["RESUMED"]);
}

#[test]
fn resumes_that_cannot_be_are_refused_each_in_its_way() {
    let mut config = ServerConfig::default();
    config.replay_events = 10;
    config.session_ttl = Duration::from_secs(60);
    let mut bench = Bench::new(config);
    let conn = bench.up();
    let session = bench.session(conn);
    bench.lose(conn);

    let unknown = bench.open();
    bench.send(unknown, &resume("nonsense", 1));
    assert_eq!(
        bench.payloads(unknown)[1],
        json!({"t": null, "s": null, "op": 9, "d": false})
    );

    let other_query = bench.dial(Listener::Main, "/?v=10&encoding=json&compress=zlib-stream");
    assert_eq!(bench.got(other_query).sent.len(), 1);

    let ahead = bench.open();
    bench.send(ahead, &resume(&session, 5));
    assert_eq!(bench.closed(ahead), Some(4007));
    assert!(bench.machine.sessions().is_empty(), "4007 ends it");

    bench.ms(5_000);
    let conn = bench.up();
    let session = bench.session(conn);
    bench.lose(conn);
    push(&mut bench, 20);
    let evicted = bench.open();
    bench.send(evicted, &resume(&session, 4));
    assert_eq!(bench.ops(evicted), [10, 9]);

    bench.ms(5_000);
    let conn = bench.up();
    let session = bench.session(conn);
    bench.lose(conn);
    bench.ms(59_000);
    assert_eq!(bench.machine.sessions().len(), 1);
    bench.ms(1_000);
    let late = bench.open();
    bench.send(late, &resume(&session, 4));
    assert_eq!(bench.ops(late), [10, 9]);

    let null = bench.open();
    bench.text(
        null,
        r#"{"op":6,"d":{"token":"a","session_id":"x","seq":null}}"#,
    );
    assert_eq!(bench.ops(null), [10, 9]);
}

#[test]
fn a_resume_over_another_query_is_refused() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.dial(Listener::Main, "/?v=10&encoding=json&compress=zlib-stream");
    bench.send(conn, &identify());
    let session = bench.machine.sessions()[0].id.clone();
    bench.lose(conn);
    let next = bench.open();
    bench.send(next, &resume(&session, 1));
    assert_eq!(bench.ops(next), [10, 9]);
    assert!(
        bench
            .machine
            .log()
            .violations()
            .contains(&&Violation::OtherQuery)
    );
}

#[test]
fn a_resume_takes_the_session_from_a_connection_that_is_still_open() {
    let mut bench = Bench::new(ServerConfig::default());
    let old = bench.up();
    let session = bench.session(old);
    let new = bench.open();
    bench.send(new, &resume(&session, 4));
    push(&mut bench, 1);
    assert_eq!(bench.seqs(new), [5, 6]);
    assert_eq!(bench.seqs(old), [1, 2, 3, 4]);
    bench.send(old, &beat(4));
    assert_eq!(bench.ops(old).last(), Some(&11));
    bench.client_close(old, 1000);
    assert_eq!(
        bench.machine.sessions().len(),
        1,
        "the old one has no say any more"
    );
}

#[test]
fn buckets_and_the_budget_hold() {
    let mut config = ServerConfig::default();
    config.max_concurrency = 2;
    config.remaining = 4;
    config.reset_after = Duration::from_secs(60);
    let mut bench = Bench::new(config);
    let at = |bench: &mut Bench, shard: u64| {
        let conn = bench.open();
        bench.send(conn, &identify_with(json!({"shard": [shard, 4]})));
        conn
    };
    let (zero, one, two) = (at(&mut bench, 0), at(&mut bench, 1), at(&mut bench, 2));
    assert_eq!(bench.ops(zero)[..2], [10, 0]);
    assert_eq!(bench.ops(one)[..2], [10, 0]);
    assert_eq!(bench.ops(two), [10, 9]);
    bench.ms(4_999);
    // The refused one counts: its bucket is free 5 s after it.
    let three = at(&mut bench, 3);
    assert_eq!(bench.ops(three), [10, 9]);
    assert_eq!(bench.machine.config().remaining, 0);
    bench.ms(10_000);
    let spent = at(&mut bench, 3);
    assert_eq!(bench.closed(spent), Some(4004));
    assert_eq!(bench.closed(zero), Some(4003));
    assert!(
        bench
            .machine
            .log()
            .violations()
            .contains(&&Violation::BudgetSpent)
    );
    assert!(bench.machine.sessions().is_empty());
}

#[test]
fn the_window_renews_the_budget() {
    let mut config = ServerConfig::default();
    config.remaining = 1;
    config.reset_after = Duration::from_secs(60);
    let mut bench = Bench::new(config);
    bench.up();
    bench.ms(60_000);
    bench.up();
    assert!(
        bench
            .machine
            .log()
            .violations()
            .iter()
            .all(|v| **v == Violation::NoBeat)
    );
    assert_eq!(bench.machine.config().remaining, 999);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut config = ServerConfig::default();
        config.rate = 50.0;
        let mut bench = Bench::new(config);
        let conn = bench.up();
        bench.ms(10_000);
        bench.got(conn).sent.clone()
    };
    let (one, other) = (run(), run());
    assert_eq!(one, other);
    assert!(one.len() > 450, "{}", one.len());
}

#[test]
fn two_bots_have_buckets_of_their_own() {
    let mut bench = Bench::new(ServerConfig::default());
    for token in ["x", "y"] {
        let conn = bench.open();
        bench.send(conn, &identify_with(json!({"token": token})));
        assert_eq!(bench.names(conn)[0], "READY");
    }
    let times = bench.machine.log().identify_times();
    assert_eq!(times.keys().collect::<Vec<_>>(), [&(0, 0), &(1, 0)]);
}
