//! Whatever comes in, in whatever order: the machine stays in order.

mod bench;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::{QUERY, beat, identify, presence, resume};
use serde_json::Value;
use shardwright_testkit::corpus::Corpus;
use shardwright_testkit::rng::Rng;
use shardwright_testkit::scenario::{
    Damage, Effect, Ending, Level, Listener, Scenario, Step, When,
};
use shardwright_testkit::server::{
    ConnId, Frame, Input, ServerAction, ServerConfig, ServerMachine, Target,
};

/// What may still be told to a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Dialled,
    Open,
    /// Half a message is on the line.
    Torn,
    Closing,
    Gone,
}

#[derive(Default)]
struct Lines(BTreeMap<ConnId, Line>);

impl Lines {
    fn check(&mut self, action: &ServerAction) {
        let allowed: &[Line] = match action {
            ServerAction::Accept { .. } | ServerAction::Refuse { .. } => &[Line::Dialled],
            ServerAction::Send { .. } | ServerAction::Ping { .. } | ServerAction::Pong { .. } => {
                &[Line::Open]
            }
            ServerAction::Close { .. } => &[Line::Open],
            ServerAction::Drop { .. } => &[Line::Dialled, Line::Open, Line::Torn, Line::Closing],
            _ => return,
        };
        let (conn, next) = match action {
            ServerAction::Accept { conn } => (conn, Line::Open),
            ServerAction::Send { conn, outgoing } if outgoing.only.is_some() => (conn, Line::Torn),
            ServerAction::Send { conn, .. }
            | ServerAction::Ping { conn, .. }
            | ServerAction::Pong { conn, .. } => (conn, Line::Open),
            ServerAction::Close { conn, .. } => (conn, Line::Closing),
            ServerAction::Refuse { conn, .. } | ServerAction::Drop { conn, .. } => {
                (conn, Line::Gone)
            }
            _ => return,
        };
        let line = self.0.get_mut(conn).expect("a connection that was opened");
        assert!(
            allowed.contains(line),
            "{action:?} on a line that is {line:?}"
        );
        *line = next;
    }
}

fn effect(rng: &mut Rng) -> Effect {
    let body = [
        Value::Bool(true),
        Value::Bool(false),
        Value::Null,
        "absent".into(),
    ][rng.below(4) as usize]
        .clone();
    match rng.below(30) {
        0 => Effect::Wait(rng.below(5000)),
        1 => Effect::WaitUpTo(5000),
        2 => Effect::Hang,
        3 => Effect::Silent,
        4 => Effect::Deaf,
        5 => Effect::Stall,
        6 => Effect::Recover,
        7 => Effect::Plain,
        8 => Effect::Hello(body),
        9 => Effect::Op1(body),
        10 => Effect::Op7,
        11 => Effect::Op9(body),
        12 => Effect::Ack(2),
        13 => Effect::WithholdAcks(Some(2)),
        14 => Effect::Text(String::new()),
        15 => Effect::Ping(4),
        16 => Effect::Dispatch {
            t: "A \"b\"".to_owned(),
            d: body.clone(),
            s: (rng.below(2) == 0).then_some(body),
        },
        17 => Effect::Events(rng.below(4)),
        18 => Effect::Flood(20),
        19 => Effect::SkipSeq(2),
        20 => Effect::Repeat(3),
        21 => Effect::Close((rng.below(2) == 0).then_some(4000 + rng.below(15) as u16)),
        22 => Effect::Fin,
        23 => Effect::Rst,
        24 => Effect::Cut {
            after: rng.below(40) as usize,
            then: [Ending::Fin, Ending::Rst, Ending::Stall][rng.below(3) as usize],
        },
        25 => Effect::Split {
            sizes: vec![rng.below(9) as usize],
            level: [Level::Messages, Level::Frames, Level::Writes][rng.below(3) as usize],
            count: Some(2),
        },
        26 => Effect::Merge(rng.below(4) as usize),
        27 => Effect::Damage {
            how: [
                Damage::Flip,
                Damage::BadUtf8,
                Damage::Unfinished,
                Damage::NoSuffix,
            ][rng.below(4) as usize],
            seq: Some(rng.below(9)),
            count: None,
        },
        28 => Effect::Invalidate,
        _ => Effect::InvalidateAll,
    }
}

fn when(rng: &mut Rng) -> When {
    match rng.below(9) {
        0 => When::Dialled,
        1 => When::Opened,
        2 => When::Hello,
        3 => When::Identify,
        4 => When::Resume,
        5 => When::Ready,
        6 => When::AfterOpen(rng.below(9000)),
        7 => When::At(rng.below(60_000)),
        _ => When::EveryAbout(20_000),
    }
}

fn frame(rng: &mut Rng, machine: &ServerMachine) -> Frame {
    let sessions = machine.sessions();
    let text = match rng.below(9) {
        0 | 1 => identify().to_string(),
        2 | 3 if !sessions.is_empty() => {
            let session = &sessions[rng.below(sessions.len() as u64) as usize];
            resume(&session.id, rng.below(session.seq + 2)).to_string()
        }
        2 | 3 => resume("unknown", 3).to_string(),
        4 => presence().to_string(),
        5 => r#"{"op":8,"d":{"guild_id":"abc","query":"","limit":0}}"#.to_owned(),
        6 => "nonsense".to_owned(),
        7 => return Frame::Ping("x".into()),
        _ => beat(rng.below(9)).to_string(),
    };
    Frame::Text(text.into())
}

fn play(seed: u64) {
    let mut rng = Rng::new(seed);
    let steps: Vec<_> = (0..6)
        .map(|_| {
            let effects: Vec<_> = (0..1 + rng.below(4)).map(|_| effect(&mut rng)).collect();
            Step::new(when(&mut rng), effects).times(2).chance(0.7)
        })
        .collect();
    let mut config = ServerConfig::default();
    config.heartbeat_interval = Duration::from_millis(5000);
    config.replay_events = 30;
    config.session_ttl = Duration::from_secs(40);
    config.rate = 1.0;
    let mut now = Instant::now();
    let corpus = Arc::new(Corpus::builtin());
    let mut machine = ServerMachine::with(config, Scenario::of(steps), corpus, seed, now);
    let mut lines = Lines::default();
    let mut opened = 0;
    for _ in 0..150 {
        now += Duration::from_millis(rng.below(3000));
        let conn = ConnId(1 + rng.below(opened + 1));
        match rng.below(12) {
            0..=2 => {
                opened += 1;
                let conn = ConnId(opened);
                lines.0.insert(conn, Line::Dialled);
                let query = [
                    "",
                    "&compress=zlib-stream",
                    "&compress=zstd-stream",
                    "&compress=x",
                ][rng.below(4) as usize];
                let target = format!("{QUERY}{query}");
                let listener = [Listener::Main, Listener::Resume][rng.below(2) as usize];
                machine.handle(
                    now,
                    Input::Opened {
                        conn,
                        listener,
                        target,
                    },
                );
            }
            3 => {
                let code = [None, Some(1000), Some(4000), Some(1005)][rng.below(4) as usize];
                machine.handle(now, Input::Closed { conn, code });
            }
            4 => {
                let effects: Vec<_> = (0..2).map(|_| effect(&mut rng)).collect();
                machine.play(now, &Target::Conn(conn), &effects);
            }
            5 => machine.handle(now, Input::Tick),
            _ => {
                let frame = frame(&mut rng, &machine);
                machine.handle(now, Input::Received { conn, frame });
            }
        }
        let mut actions = 0;
        loop {
            match machine.poll() {
                ServerAction::Wait(until) => {
                    assert!(until.is_none_or(|at| at > now), "a deadline that is over");
                    break;
                }
                action => lines.check(&action),
            }
            actions += 1;
            assert!(actions < 100_000, "a drain without end");
        }
    }
    for session in machine.sessions() {
        assert!(
            session
                .conn
                .is_none_or(|conn| machine.open_connections().any(|c| c == conn))
        );
    }
}

#[test]
fn the_machine_stays_in_order_whatever_comes() {
    for seed in 0..300 {
        let played = std::panic::catch_unwind(|| play(seed));
        assert!(played.is_ok(), "seed {seed}");
    }
}
