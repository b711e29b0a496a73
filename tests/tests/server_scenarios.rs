//! Scenarios do what they say, and the examples in the documentation are read.

mod bench;

use bench::{Bench, QUERY, beat, identify, resume};
use serde_json::json;
use shardwright_testkit::scenario::{
    Effect, Ending, Listener, ListenerMode, Scenario, Selector, Step, When,
};
use shardwright_testkit::server::{
    HowDropped, Input, ServerAction, ServerConfig, Target, Violation,
};

fn scenario(steps: &str) -> Bench {
    let text = format!(r#"{{"steps": {steps}}}"#);
    Bench::with(ServerConfig::default(), Scenario::from_json(&text).unwrap())
}

#[test]
fn every_example_of_the_documentation_is_a_scenario() {
    let page = include_str!("../../docs/scenarios.md");
    let mut examples = 0;
    for block in page.split("```json\n").skip(1) {
        let text = block.split("```").next().unwrap();
        Scenario::from_json(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        examples += 1;
    }
    assert!(examples >= 4);
}

#[test]
fn unknown_words_are_refused() {
    for text in [
        r#"{"stepps": []}"#,
        r#"{"steps": [{"when": "sometime", "do": []}]}"#,
        r#"{"steps": [{"when": "hello", "do": ["explode"]}]}"#,
        r#"{"steps": [{"when": "hello", "do": [], "times": "never"}]}"#,
        r#"{"setup": {"shard": 4}}"#,
    ] {
        assert!(Scenario::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn a_delayed_ready_waits_while_beats_are_acknowledged() {
    let mut bench = scenario(r#"[{"when": "identify", "do": [{"wait": 5000}]}]"#);
    let conn = bench.open();
    bench.send(conn, &identify());
    bench.ms(4_999);
    bench.send(conn, &beat(None));
    assert_eq!(bench.ops(conn), [10, 11]);
    bench.send(conn, &json!({"op": 31, "d": {"guild_ids": []}}));
    assert_eq!(bench.closed(conn), Some(4003), "a command before READY");

    let mut bench = scenario(r#"[{"when": "identify", "do": [{"wait": 5000}]}]"#);
    let conn = bench.open();
    bench.send(conn, &identify());
    bench.ms(5_000);
    assert_eq!(bench.names(conn)[0], "READY");
}

#[test]
fn an_answer_can_be_replaced_on_one_listener_only() {
    let mut bench = scenario(
        r#"[{"when": "resume", "on": {"listener": "resume"}, "times": "always",
             "instead": true, "do": [{"op9": true}]}]"#,
    );
    let conn = bench.up();
    let session = bench.session(conn);
    bench.lose(conn);
    for _ in 0..3 {
        let next = bench.dial(Listener::Resume, QUERY);
        bench.send(next, &resume(&session, 4));
        assert_eq!(bench.payloads(next)[1]["d"], true);
        bench.client_close(next, 4000);
    }
    let next = bench.open();
    bench.send(next, &resume(&session, 4));
    assert_eq!(bench.names(next), ["RESUMED"]);
}

#[test]
fn op_9_bodies_can_be_anything_and_end_the_session_unless_true() {
    for (body, left) in [("true", 1), ("false", 0), ("null", 0), (r#""absent""#, 0)] {
        let mut bench = scenario(&format!(
            r#"[{{"when": "ready", "do": [{{"op9": {body}}}]}}]"#
        ));
        let conn = bench.open();
        bench.send(conn, &identify());
        assert_eq!(bench.machine.sessions().len(), left, "{body}");
        let op9 = bench.payloads(conn).pop().unwrap();
        assert_eq!(op9["op"], 9);
        assert_eq!(op9.get("d").is_none(), body.contains("absent"));
        // The same connection may start anew.
        bench.ms(5_000);
        bench.send(conn, &identify());
        assert_eq!(bench.machine.sessions().len(), left + 1);
    }
}

#[test]
fn beats_can_stay_unanswered_or_be_answered_too_often() {
    let mut bench = scenario(
        r#"[{"when": {"beat": 2}, "instead": true, "do": []},
            {"when": {"beat": {"from": 4}}, "times": "always", "do": [{"ack": 2}]}]"#,
    );
    let conn = bench.open();
    let mut acks = Vec::new();
    for _ in 0..5 {
        bench.send(conn, &beat(None));
        acks.push(bench.ops(conn).iter().filter(|op| **op == 11).count());
    }
    assert_eq!(acks, [1, 1, 2, 5, 8]);
}

#[test]
fn a_dispatch_number_triggers_exactly_there() {
    let mut bench = scenario(
        r#"[{"when": {"dispatch": 7}, "do": ["rst"]},
            {"when": "ready", "do": [{"events": 10}]}]"#,
    );
    let conn = bench.open();
    bench.send(conn, &identify());
    assert_eq!(bench.seqs(conn), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(bench.got(conn).dropped, Some(HowDropped::Rst));
    assert_eq!(bench.machine.sessions()[0].seq, 14);
}

#[test]
fn what_a_script_sends_goes_out_before_the_line_ends() {
    let mut bench = scenario(
        r#"[{"when": {"after_live": 100},
             "do": [{"events": 3}, {"op1": "absent"}, {"close": null}, "fin"]}]"#,
    );
    let conn = bench.up();
    bench.ms(100);
    assert_eq!(bench.seqs(conn), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(bench.ops(conn).last(), Some(&1));
    assert_eq!(bench.got(conn).closed, Some(None));
    assert_eq!(bench.got(conn).dropped, Some(HowDropped::Fin));
}

#[test]
fn a_cut_message_is_the_last_thing_on_its_line() {
    let steps = [Step::new(
        When::AfterLive(10),
        [
            Effect::Cut {
                after: 9,
                then: Ending::Rst,
            },
            Effect::Events(3),
        ],
    )];
    let mut bench = Bench::steps(steps);
    let conn = bench.up();
    bench.ms(10);
    assert_eq!(bench.got(conn).sent.last().unwrap().only, Some(9));
    assert_eq!(bench.got(conn).sent.len(), 6);
    assert_eq!(bench.got(conn).dropped, Some(HowDropped::Rst));
    let session = bench.machine.sessions()[0].id.clone();
    let next = bench.open();
    bench.send(next, &resume(&session, 4));
    assert_eq!(bench.seqs(next), [5, 6, 7, 8]);
}

#[test]
fn lies_about_the_sequence() {
    let mut bench = scenario(
        r#"[{"when": "ready", "do": [
            {"dispatch": {"t": "A"}}, {"skip_seq": 2}, {"dispatch": {"t": "B", "d": {"x": 1}}},
            {"repeat": 2}, {"dispatch": {"t": "C", "s": 99}}, {"dispatch": {"t": "D", "s": null}}]}]"#,
    );
    bench.machine.configure(|config| config.send_guilds = false);
    let conn = bench.up();
    let seen: Vec<_> = bench.payloads(conn)[2..]
        .iter()
        .map(|p| (p["t"].as_str().unwrap().to_owned(), p["s"].as_u64()))
        .collect();
    let want = [("A", 2), ("B", 5), ("A", 2), ("B", 5), ("C", 99)];
    let want = want.map(|(t, s)| (t.to_owned(), Some(s)));
    assert_eq!(seen[..5], want);
    assert_eq!(seen[5].0, "D");
}

#[test]
fn hello_can_be_absurd_or_missing() {
    for interval in ["0", "-1", "1e300", r#""soon""#, "null"] {
        let mut bench = scenario(&format!(
            r#"[{{"when": "opened", "instead": true, "do": [{{"hello": {interval}}}]}}]"#
        ));
        let conn = bench.open();
        let want: serde_json::Value = serde_json::from_str(interval).unwrap();
        assert_eq!(bench.payloads(conn)[0]["d"]["heartbeat_interval"], want);
        bench.ms(10_000_000);
        assert_eq!(bench.closed(conn), None);
    }
    let mut bench = scenario(r#"[{"when": "opened", "do": ["silent"]}]"#);
    let conn = bench.open();
    assert!(bench.got(conn).sent.is_empty());
    bench.send(conn, &identify());
    assert_eq!(
        bench.machine.log().violations(),
        [&Violation::BeforeHello(2)]
    );
}

#[test]
fn refusals_at_the_door_are_counted() {
    let steps = [
        Step::new(
            When::Dialled,
            [Effect::Refuse {
                status: 520,
                retry_after: None,
                location: None,
            }],
        )
        .times(3),
        Step::new(When::Dialled, [Effect::Hang]).on(Selector::conn(5)),
    ];
    let mut bench = Bench::steps(steps);
    let statuses: Vec<_> = (0..6)
        .map(|_| {
            let conn = bench.open();
            bench.got(conn).status
        })
        .collect();
    assert_eq!(
        statuses,
        [Some(520), Some(520), Some(520), Some(101), None, Some(101)]
    );
}

#[test]
fn listeners_close_for_a_while() {
    let mut bench = scenario(
        r#"[{"when": {"at": 1000}, "do": [
            {"listener": {"which": "resume", "mode": "closed", "ms": 500}}, "fin"]}]"#,
    );
    let conns = [bench.up(), bench.open()];
    bench.ms(1_000);
    assert_eq!(
        bench.listeners,
        [ServerAction::Listener {
            which: Listener::Resume,
            mode: ListenerMode::Closed
        }],
        "once, however many lines there are"
    );
    for conn in conns {
        assert_eq!(bench.got(conn).dropped, Some(HowDropped::Fin));
    }
    bench.ms(500);
    assert_eq!(bench.listeners.len(), 2);
}

#[test]
fn resumed_connections_on_the_main_host_live_short() {
    let text = r#"{"setup": {"resume_on_main_lives_ms": 30000}}"#;
    let mut bench = Bench::with(ServerConfig::default(), Scenario::from_json(text).unwrap());
    let conn = bench.up();
    let session = bench.session(conn);
    for (listener, code) in [(Listener::Resume, None), (Listener::Main, Some(4000))] {
        let next = bench.dial(listener, QUERY);
        bench.send(next, &resume(&session, 4));
        bench.ms(30_000);
        assert_eq!(bench.closed(next), code);
    }
}

#[test]
fn a_stalled_line_says_nothing_more() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.up();
    let now = bench.now;
    bench
        .machine
        .play(now, &Target::Conn(conn), &[Effect::Stall]);
    bench.drain();
    let before = bench.got(conn).sent.len();
    bench.send(conn, &beat(4));
    bench.ms(300_000);
    assert_eq!(bench.got(conn).sent.len(), before);
    assert_eq!(bench.closed(conn), None);
    bench.ms(300_000);
    assert_eq!(bench.got(conn).dropped, Some(HowDropped::Rst));
}

#[test]
fn a_flood_waits_for_room_on_the_line() {
    let mut config = ServerConfig::default();
    config.flow_control = true;
    config.send_window = 100_000;
    config.replay_bytes = 50_000;
    let mut bench = Bench::new(config);
    let conn = bench.up();
    let now = bench.now;
    bench.machine.flood(now, &Target::All, 20_000, Some("END"));
    bench.drain();
    let mut seen = 0;
    let mut rounds = 0;
    loop {
        let sent = std::mem::take(&mut bench.got(conn).sent);
        let bytes: usize = sent.iter().map(|o| o.message.bytes().len()).sum();
        assert!(
            bytes < 100_000 + 2_000_000,
            "one large event may go over: {bytes}"
        );
        seen += sent.len();
        let last = sent.last().unwrap().message.bytes().clone();
        if last.starts_with(br#"{"t":"END""#) {
            break;
        }
        rounds += 1;
        bench.handle(Input::Flushed { conn, bytes });
    }
    assert_eq!(seen, 5 + 20_000 + 1);
    assert!(rounds > 50, "{rounds}");
    assert_eq!(bench.machine.sessions().len(), 1);
}

#[test]
fn builtin_weather_keeps_moving() {
    for name in ["newcomer", "stormy", "random_cuts:5"] {
        let mut bench = Bench::with(ServerConfig::default(), Scenario::named(name).unwrap());
        // In a storm a dial may fail.
        let conn = loop {
            let conn = bench.open();
            bench.send(conn, &identify());
            if bench.names(conn).contains(&"READY".to_owned()) {
                break conn;
            }
            bench.ms(6_000);
        };
        bench.ms(60_000);
        assert!(
            bench.got(conn).closed.is_some()
                || bench.got(conn).dropped.is_some()
                || bench.ops(conn).contains(&1)
        );
    }
}
