//! What is compressed comes out as it went in, however it is cut.

mod bench;

use bench::{Bench, identify_with, resume};
use flate2::{Decompress, FlushDecompress};
use serde_json::{Value, json};
use shardwright_testkit::scenario::{Damage, Effect, Level, Listener, Scenario, Step, When};
use shardwright_testkit::server::{ConnId, Outgoing, ServerConfig, Target, WsMessage};

const ZLIB: &str = "/?v=10&encoding=json&compress=zlib-stream";
const ZSTD: &str = "/?v=10&encoding=json&compress=zstd-stream";

fn inflate(context: &mut Decompress, mut input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 16);
    loop {
        let before = context.total_in();
        context
            .decompress_vec(input, &mut out, FlushDecompress::Sync)
            .expect("good data");
        input = &input[(context.total_in() - before) as usize..];
        if input.is_empty() && out.len() < out.capacity() {
            return out;
        }
        out.reserve(1 << 16);
    }
}

fn unzlib(sent: &[Outgoing]) -> Vec<Value> {
    let mut context = Decompress::new(true);
    let mut buffer = Vec::new();
    let mut payloads = Vec::new();
    for outgoing in sent {
        let WsMessage::Binary(bytes) = &outgoing.message else {
            panic!("text on a compressed connection");
        };
        buffer.extend_from_slice(bytes);
        if buffer.ends_with(&[0, 0, 0xFF, 0xFF]) {
            let text = inflate(&mut context, &buffer);
            payloads.extend(
                serde_json::Deserializer::from_slice(&text)
                    .into_iter::<Value>()
                    .map(Result::unwrap),
            );
            buffer.clear();
        }
    }
    assert!(buffer.is_empty(), "a payload without its end");
    payloads
}

fn unzstd(sent: &[Outgoing]) -> Vec<Value> {
    use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
    let mut context = Decoder::new().unwrap();
    let mut payloads = Vec::new();
    for outgoing in sent {
        let mut input = InBuffer::around(outgoing.message.bytes());
        let mut text = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let mut out = OutBuffer::around(&mut chunk[..]);
            context.run(&mut input, &mut out).unwrap();
            let full = out.pos() == 4096;
            text.extend_from_slice(out.as_slice());
            if input.pos() == outgoing.message.bytes().len() && !full {
                break;
            }
        }
        payloads.push(serde_json::from_slice(&text).expect("one message is one payload"));
    }
    payloads
}

fn stream(bench: &mut Bench, target: &str, sizes: &[usize]) -> ConnId {
    let conn = bench.dial(Listener::Main, target);
    bench.send(conn, &identify_with(json!({})));
    for size in sizes {
        let effects = [Effect::Big {
            t: "X".to_owned(),
            bytes: *size,
            count: 1,
        }];
        let now = bench.now;
        bench.machine.play(now, &Target::Conn(conn), &effects);
        bench.drain();
    }
    conn
}

#[test]
fn zlib_and_zstd_streams_come_out_whole_at_every_size() {
    let sizes = [
        0,
        1,
        16_383,
        16_384,
        32_768,
        65_535,
        65_536,
        131_072,
        5 << 20,
    ];
    let mut bench = Bench::new(ServerConfig::default());
    let conn = stream(&mut bench, ZLIB, &sizes);
    let sent = &bench.got(conn).sent;
    assert_eq!(sent[0].message.bytes()[0], 0x78);
    for outgoing in sent {
        assert!(outgoing.message.bytes().ends_with(&[0, 0, 0xFF, 0xFF]));
    }
    let one = unzlib(sent);
    bench.ms(6_000);
    let conn = stream(&mut bench, ZSTD, &sizes);
    let sent = &bench.got(conn).sent;
    assert_eq!(sent[0].message.bytes()[..4], [0x28, 0xB5, 0x2F, 0xFD]);
    assert_ne!(sent[1].message.bytes()[..4], [0x28, 0xB5, 0x2F, 0xFD]);
    let other = unzstd(sent);
    assert_eq!(one.len(), 5 + sizes.len());
    assert_eq!(one.len(), other.len());
    for ((a, b), size) in one.iter().zip(&other).skip(5).zip(sizes) {
        assert_eq!(a["d"], b["d"]);
        assert_eq!(a["d"]["filler"].as_str().unwrap().len(), size);
    }
}

#[test]
fn random_text_survives_both_streams() {
    let mut config = ServerConfig::default();
    config.rate = 100.0;
    for (target, undo) in [
        (ZLIB, unzlib as fn(&[Outgoing]) -> Vec<Value>),
        (ZSTD, unzstd),
    ] {
        let mut bench = Bench::new(config.clone());
        let conn = stream(&mut bench, target, &[]);
        bench.ms(3_000);
        let payloads = undo(&bench.got(conn).sent);
        let seqs: Vec<_> = payloads.iter().filter_map(|p| p["s"].as_u64()).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        assert!(seqs.len() > 250);
    }
}

#[test]
fn payload_compression_is_one_document_each_and_only_without_a_stream() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = bench.open();
    bench.send(conn, &identify_with(json!({"compress": true})));
    let (mut texts, mut documents) = (0, 0);
    for outgoing in &bench.got(conn).sent {
        match &outgoing.message {
            WsMessage::Text(_) => texts += 1,
            WsMessage::Binary(bytes) => {
                let text = inflate(&mut Decompress::new(true), bytes);
                serde_json::from_slice::<Value>(&text).unwrap();
                documents += 1;
            }
        }
    }
    assert_eq!(
        (texts, documents),
        (1, 4),
        "Hello is text, READY and guilds are long"
    );

    bench.ms(6_000);
    let conn = bench.dial(Listener::Main, ZLIB);
    bench.send(conn, &identify_with(json!({"compress": true})));
    assert_eq!(unzlib(&bench.got(conn).sent).len(), 5);
}

#[test]
fn a_stream_cut_into_messages_or_merged_is_the_same_stream() {
    let plain = {
        let mut bench = Bench::new(ServerConfig::default());
        let conn = stream(&mut bench, ZLIB, &[3000; 10]);
        unzlib(&bench.got(conn).sent)
    };
    for sizes in [vec![1], vec![1024], vec![3, 1], vec![2, 2]] {
        let effects = [Effect::Split {
            sizes,
            level: Level::Messages,
            count: None,
        }];
        let mut bench = Bench::steps([Step::new(When::Opened, effects)]);
        let conn = stream(&mut bench, ZLIB, &[3000; 10]);
        assert_eq!(unzlib(&bench.got(conn).sent), plain);
    }
    let mut bench = Bench::steps([Step::new(When::Identify, [Effect::Merge(3)])]);
    let conn = stream(&mut bench, ZLIB, &[3000; 10]);
    assert_eq!(bench.got(conn).sent.len(), 13);
    assert_eq!(unzlib(&bench.got(conn).sent), plain);
}

#[test]
fn frames_and_writes_leave_the_message_whole() {
    for (level, frames) in [(Level::Frames, true), (Level::Writes, false)] {
        let effects = [Effect::Split {
            sizes: vec![20],
            level,
            count: Some(1),
        }];
        let mut bench = Bench::steps([Step::new(When::Opened, effects)]);
        let conn = bench.open();
        let hello = &bench.got(conn).sent[0];
        assert_eq!(hello.frames.is_empty(), !frames);
        assert_eq!(hello.writes.is_empty(), frames);
        let mut wire = Vec::new();
        hello.wire(&mut wire);
        assert_eq!(wire[0], if frames { 0x01 } else { 0x81 });
        assert!(hello.arrives());
    }
}

#[test]
fn a_flipped_bit_is_caught_and_the_replay_is_good() {
    let mut bench = Bench::new(ServerConfig::default());
    let conn = stream(&mut bench, ZLIB, &[]);
    let session = bench.machine.sessions()[0].id.clone();
    let effects = [
        Effect::Damage {
            how: Damage::NoSuffix,
            seq: None,
            count: None,
        },
        Effect::Events(1),
        Effect::Fin,
    ];
    let now = bench.now;
    bench.machine.play(now, &Target::Conn(conn), &effects);
    bench.drain();
    let last = bench.got(conn).sent.last().unwrap().message.bytes().clone();
    assert!(!last.ends_with(&[0, 0, 0xFF, 0xFF]));
    let next = bench.dial(Listener::Resume, ZLIB);
    bench.send(next, &resume(&session, 4));
    let payloads = unzlib(&bench.got(next).sent);
    assert_eq!(payloads.len(), 3);
    assert_eq!(payloads[1]["s"], 5);
}

#[test]
fn a_dispatch_can_be_poisoned_each_time_it_is_sent() {
    let scenario = Scenario::from_json(
        r#"{"steps": [{"when": "ready", "do": [
            {"damage": {"how": "bad_utf8", "seq": 5}},
            {"events": 2}]}]}"#,
    )
    .unwrap();
    let mut bench = Bench::with(ServerConfig::default(), scenario);
    let conn = bench.up();
    let session = bench.session(conn);
    let poisoned = |bench: &mut Bench, conn| {
        bench
            .got(conn)
            .sent
            .iter()
            .filter(|o| std::str::from_utf8(o.message.bytes()).is_err())
            .count()
    };
    assert_eq!(poisoned(&mut bench, conn), 1);
    bench.lose(conn);
    let next = bench.open();
    bench.send(next, &resume(&session, 1));
    assert_eq!(poisoned(&mut bench, next), 1);
}

#[test]
fn a_bomb_is_small_on_the_line_and_large_when_inflated() {
    let bytes = 5_000_000;
    for target in [ZLIB, ZSTD] {
        let mut bench = Bench::new(ServerConfig::default());
        let conn = stream(&mut bench, target, &[]);
        let effects = [Effect::Bomb {
            t: "BOOM".to_owned(),
            bytes,
        }];
        let now = bench.now;
        bench.machine.play(now, &Target::All, &effects);
        bench.drain();
        let sent = &bench.got(conn).sent;
        let size = sent.last().unwrap().message.bytes().len();
        assert!(size < 60_000, "{size}");
        let payloads = if target == ZLIB {
            unzlib(sent)
        } else {
            unzstd(sent)
        };
        let filler = payloads.last().unwrap()["d"]["filler"]
            .as_str()
            .unwrap()
            .len();
        assert_eq!(filler as u64, bytes);
    }
}
