//! What is recorded comes out the same again, holds no token, and can be shared without its bodies.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is no machine"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::{Compression as Level, FlushCompress};
use shardwright_core::trace::{
    self, RecordedFleet, RecordedShard, Redactor, Replay, Replayed, TraceError, TraceSink,
};
use shardwright_core::{
    Action, Command, CommandId, Compression, Event, FleetAction, FleetConfig, FleetInput, Frame,
    GatewayInfo, IfNotReady, Input, Intents, SessionStartLimit, ShardId, ShardPlan, ShardReport,
    StatusUpdate, Stop, Token, TransportFault,
};

const TOKEN: &str = "MTA5.a-token-that-must-not-be-written.anywhere";
const SECRET: &str = "what people wrote";

/// Keeps the lines.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<u8>>);

impl TraceSink for Lines {
    fn line(&self, line: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(line);
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A gateway's side of one connection.
struct Gateway {
    stream: Option<flate2::Compress>,
}

impl Gateway {
    fn new(compression: Compression) -> Self {
        let stream = flate2::Compress::new(Level::default(), true);
        Self {
            stream: Some(stream).filter(|_| compression == Compression::Zlib),
        }
    }

    fn frame(&mut self, text: &str) -> Frame {
        let Some(stream) = &mut self.stream else {
            return Frame::Text(text.to_owned().into());
        };
        let mut bytes = Vec::with_capacity(text.len() + 100);
        stream
            .compress_vec(text.as_bytes(), &mut bytes, FlushCompress::Sync)
            .unwrap();
        Frame::Binary(bytes.into())
    }
}

/// One shard's life, and its fleet, recorded.
struct Bot {
    lines: Arc<Lines>,
    base: Instant,
    now: Instant,
    fleet: RecordedFleet,
    shard: Option<RecordedShard>,
    gateway: Gateway,
    compression: Compression,
    conn: Option<shardwright_core::ConnId>,
    names: Vec<String>,
    /// Messages are told in the short way, as the runtimes do.
    short: bool,
}

impl Bot {
    fn new(compression: Compression) -> Self {
        Self::with(compression, true)
    }

    fn with(compression: Compression, recorded: bool) -> Self {
        let lines = Arc::new(Lines::default());
        let base = Instant::now();
        let mut config = FleetConfig::new(Token::new(TOKEN).unwrap(), Intents::GUILDS);
        config.template.compression = compression;
        config.template.presence = Some(StatusUpdate::online());
        config.plan = ShardPlan::Total(1);
        let limit = SessionStartLimit::new(1000, 1000, Duration::from_secs(3600), 1);
        let url = "wss://gateway.example".parse().unwrap();
        config.gateway = Some(GatewayInfo::new(url, 1, limit));
        let record = recorded.then(|| (lines.clone() as Arc<dyn TraceSink>, None));
        Self {
            fleet: RecordedFleet::new(config, 5, base, record),
            lines,
            base,
            now: base,
            shard: None,
            gateway: Gateway::new(compression),
            compression,
            conn: None,
            names: Vec::new(),
            short: false,
        }
    }

    fn fleet(&mut self, input: FleetInput) {
        self.fleet.handle(self.now, input).unwrap();
        let mut told = Vec::new();
        loop {
            match self.fleet.poll() {
                FleetAction::StartShard(start) => {
                    let tape = self.fleet.tape();
                    self.shard = Some(RecordedShard::new(*start, self.now, tape));
                }
                FleetAction::Tell { message, .. } => {
                    told.extend(message.into_input());
                }
                FleetAction::Wait(_) => break,
                _ => {}
            }
        }
        for input in told {
            self.shard(input);
        }
    }

    fn shard(&mut self, input: Input) {
        let mut reports = Vec::new();
        let shard = self.shard.as_mut().unwrap();
        match input {
            Input::Received { conn, frame } if self.short => {
                let name = |event: Event<'_>| match event {
                    Event::Dispatch(event) => event.name().to_owned(),
                    other => panic!("{other:?}"),
                };
                let took = shard.receive(self.now, conn, frame, name);
                self.names.extend(took.unwrap());
                if shard.settle() {
                    return;
                }
            }
            input => shard.handle(self.now, input).unwrap(),
        }
        loop {
            let action = shard.poll();
            reports.extend(ShardReport::from_action(&action));
            match action {
                Action::Wait(_) => break,
                Action::Connect { conn, .. } => self.conn = Some(conn),
                Action::Emit(Event::Dispatch(event)) => self.names.push(event.name().to_owned()),
                _ => {}
            }
        }
        let shard = ShardId::new(0, 1).unwrap();
        for report in reports {
            self.fleet(FleetInput::Report { shard, report });
        }
    }

    fn hears(&mut self, text: &str) {
        let frame = self.gateway.frame(text);
        let conn = self.conn.unwrap();
        self.shard(Input::Received { conn, frame });
    }

    fn passes(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.shard(Input::Tick { wall: None });
        self.fleet(FleetInput::Tick);
    }

    fn opens(&mut self) {
        self.gateway = Gateway::new(self.compression);
        let conn = self.conn.unwrap();
        self.shard(Input::Opened { conn });
        self.hears(r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#);
        self.shard(Input::Flushed { conn });
    }

    fn event(&mut self, seq: u64, name: &str, d: &str) {
        self.hears(&format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{d}}}"#));
    }

    /// A life with a lost connection, a command, a message in pieces and a stop.
    fn live(&mut self) {
        self.fleet(FleetInput::Start);
        self.shard(Input::Start);
        self.passes(100);
        self.opens();
        self.event(
            1,
            "READY",
            r#"{"v":10,"user":{"name":"somebody"},"session_id":"s-1","resume_gateway_url":"wss://resume.example","guilds":[{"id":"77","unavailable":true}]}"#,
        );
        // It leads to a word about it when the next comes.
        let conn = self.conn.unwrap();
        let frame = Frame::Text(Default::default());
        self.shard(Input::Received { conn, frame });
        for seq in 2..20 {
            self.passes(3000);
            let d = format!(r#"{{"id":"{seq}","content":"{SECRET}"}}"#);
            self.event(seq, "MESSAGE_CREATE", &d);
        }
        let command = Command::status_update(StatusUpdate::dnd()).unwrap();
        self.shard(Input::Command {
            id: CommandId(9),
            command,
            if_not_ready: IfNotReady::Queue,
        });
        let conn = self.conn.unwrap();
        self.shard(Input::Flushed { conn });
        self.shard(Input::Failed {
            conn,
            why: TransportFault::Reset,
        });
        self.passes(1000);
        self.opens();
        self.event(20, "TYPING_START", r#"{"user_id":"12345"}"#);
        self.event(21, "RESUMED", "null");
        if self.compression == Compression::Zlib {
            self.in_pieces();
        }
        self.fleet(FleetInput::Stop(Stop::Keep));
        let conn = self.conn.unwrap();
        self.shard(Input::Closed { conn, code: None });
    }

    fn in_pieces(&mut self) {
        let text =
            format!(r#"{{"t":"MESSAGE_UPDATE","s":22,"op":0,"d":{{"content":"{SECRET}"}}}}"#);
        let Frame::Binary(bytes) = self.gateway.frame(&text) else {
            unreachable!()
        };
        let conn = self.conn.unwrap();
        for piece in bytes.chunks(7) {
            let frame = Frame::Binary(piece.to_vec().into());
            self.shard(Input::Received { conn, frame });
        }
    }

    fn trace(&mut self) -> String {
        self.live();
        self.lines.text()
    }
}

/// Replays with another beginning than the recording had.
fn replay(trace: &str) -> Replayed {
    trace::replay(trace.as_bytes(), Instant::now() + Duration::from_secs(999)).unwrap()
}

#[test]
fn a_life_comes_out_the_same_again() {
    for compression in [Compression::None, Compression::Zlib] {
        let mut bot = Bot::new(compression);
        let trace = bot.trace();
        let last = if compression == Compression::Zlib {
            22
        } else {
            21
        };
        assert_eq!(bot.names.len(), last);
        let replayed = replay(&trace);
        replayed.verify().unwrap();
        assert_eq!(replayed.dispatches, last as u64);
        assert_eq!(replayed.lives, 1);
        assert_eq!(replayed.time, bot.now - bot.base);
        assert_eq!(replayed.ended, None);
        // Some of what went on is there to be read.
        for words in [
            "dispatch 1:2 MESSAGE_CREATE",
            "connect 2 wss://resume.example",
            r#""session_id\":\"s-1\""#,
        ] {
            assert!(trace.contains(words), "{words}");
        }
    }
}

#[test]
fn the_short_way_is_recorded_as_the_long_one() {
    for compression in [Compression::None, Compression::Zlib] {
        let mut long = Bot::new(compression);
        let trace = long.trace();
        let short = |recorded| {
            let mut bot = Bot::with(compression, recorded);
            bot.short = true;
            bot.live();
            bot
        };
        let (recorded, not_recorded) = (short(true), short(false));
        // The first line has the time of day in it.
        let without_first = |trace: &str| trace.split_once('\n').unwrap().1.to_owned();
        assert_eq!(without_first(&recorded.lines.text()), without_first(&trace));
        assert_eq!(not_recorded.lines.text(), "");
        assert_eq!(recorded.names, long.names);
        assert_eq!(not_recorded.names, long.names);
        // Not recorded, an event is handed over at once, and the drain ends without an action.
        let mut bot = not_recorded;
        let conn = bot.conn.unwrap();
        let mut shard = bot.shard.take().unwrap();
        let frame = Frame::Text("{}".into());
        let took = shard.receive(bot.now, conn, frame, |event| panic!("{event:?}"));
        assert_eq!(took, Ok(None::<()>));
        assert!(shard.settle());
    }
}

#[test]
fn a_recorded_shard_gives_memory_back_as_any_other() {
    let mut bot = Bot::new(Compression::Zlib);
    bot.fleet(FleetInput::Start);
    bot.shard(Input::Start);
    bot.passes(100);
    bot.opens();
    let shard = bot.shard.as_mut().unwrap();
    let before = shard.buffer_memory();
    shard.rest();
    assert!(shard.buffer_memory() < before);
}

#[test]
fn the_token_is_not_in_it() {
    let trace = Bot::new(Compression::None).trace();
    assert!(!trace.contains(TOKEN));
    assert_eq!(trace.matches("[token.").count(), 2, "Identify and Resume");
}

#[test]
fn a_line_that_would_hold_the_token_ends_the_recording() {
    let mut bot = Bot::new(Compression::None);
    bot.live();
    let lines = bot.lines.text().lines().count();
    bot.fleet(FleetInput::Fetched(Err(
        shardwright_core::FetchFault::network(format!("proxy says: {TOKEN}")),
    )));
    bot.fleet(FleetInput::Tick);
    let trace = bot.lines.text();
    assert!(!trace.contains(TOKEN));
    assert_eq!(trace.lines().count(), lines + 1);
    let replayed = replay(&trace);
    assert!(replayed.ended.unwrap().contains("token"));
}

#[test]
fn any_other_action_is_found() {
    let trace = Bot::new(Compression::None).trace();
    let lines: Vec<&str> = trace.lines().collect();
    let mut found = 0;
    for (index, line) in lines.iter().enumerate().skip(1) {
        // One action less, or one that is worded otherwise.
        let Some((before, after)) = line.rsplit_once("\"did\":[\"") else {
            continue;
        };
        let changed = format!("{before}\"did\":[\"other {after}");
        let mut lines = lines.clone();
        lines[index] = &changed;
        let replayed = replay(&(lines.join("\n") + "\n"));
        let mismatch = replayed.verify().unwrap_err();
        assert_eq!(mismatch.line, index as u64 + 1);
        let said = mismatch.to_string();
        assert!(said.starts_with(&format!("line {}, ", index + 1)), "{said}");
        assert!(said.contains("did otherwise\n  recorded: other "), "{said}");
        assert!(mismatch.recorded.unwrap().starts_with("other "));
        found += 1;
    }
    assert!(found > 50, "{found}");
}

#[test]
fn another_input_has_other_actions() {
    let trace = Bot::new(Compression::None).trace();
    let body = trace.replace("what people wrote", "what people write");
    assert!(replay(&body).verify().is_err(), "the hash of a body");
    let seed = trace.replacen("\"seed\":5", "\"seed\":6", 1);
    assert!(replay(&seed).verify().is_err(), "random delays");
    let code = trace.replacen("\"Reset\"", "\"Refused\"", 1);
    assert!(replay(&code).verify().is_err(), "why it was disconnected");
}

#[test]
fn a_killed_process_leaves_a_trace_that_replays() {
    let trace = Bot::new(Compression::Zlib).trace();
    for length in (trace.find('\n').unwrap() + 1..trace.len()).step_by(97) {
        replay(&trace[..length]).verify().unwrap();
    }
}

#[test]
fn what_is_no_trace_is_refused_with_a_reason() {
    let base = Instant::now();
    for text in ["", "\n", "hello\n", "{}\n", "[1]\n"] {
        let error = trace::replay(text.as_bytes(), base).unwrap_err();
        assert_eq!(error, TraceError::NoHeader, "{text:?}");
    }
    let newer = "{\"shardwright_trace\":99}\n";
    assert_eq!(
        trace::replay(newer.as_bytes(), base).unwrap_err(),
        TraceError::Version {
            found: 99,
            known: 1
        }
    );
    let good = Bot::new(Compression::None).trace();
    let header = good.lines().next().unwrap();
    for line in [
        "x",
        "{\"life\":1,\"at\":5,\"heard\":\"Start\",\"did\":[]}",
        "{\"life\":0,\"did\":[]}",
        "{\"life\":7,\"at\":5,\"begins\":[0,1],\"events\":null}",
        "{\"life\":0,\"at\":5,\"heard\":{\"Nonsense\":1}}",
        "{\"life\":0,\"at\":18446744073709551615,\"heard\":\"Tick\",\"did\":3}",
    ] {
        let text = format!("{header}\n{line}\n");
        let error = trace::replay(text.as_bytes(), base).unwrap_err();
        assert!(
            matches!(error, TraceError::Damaged { line: 2, .. }),
            "{line}: {error}"
        );
    }
}

#[test]
fn a_copy_without_bodies_tells_the_same_story() {
    for compression in [Compression::None, Compression::Zlib] {
        let original = Bot::new(compression).trace();
        let lines = Arc::new(Lines::default());
        let mut redactor = Redactor::new(Instant::now(), lines.clone());
        for line in original.split_inclusive('\n') {
            redactor.line(line.as_bytes()).unwrap();
        }
        let before = redactor.finish().unwrap();
        let copy = lines.text();
        let after = replay(&copy);
        after.verify().unwrap();
        assert_eq!(after.dispatches, before.dispatches);
        for secret in [SECRET, "somebody", "12345", "\"77\"", TOKEN] {
            assert!(!copy.contains(secret), "{secret}");
        }
        // Name, number and size of each event.
        let told = |trace: &str| {
            let mut replay = Replay::new(Instant::now());
            let mut told = Vec::new();
            for line in trace.split_inclusive('\n') {
                if let Some(step) = replay.line(line.as_bytes()).unwrap() {
                    let events = step.did.iter().filter(|word| word.starts_with("dispatch"));
                    told.extend(events.map(|word| word.rsplit_once(' ').unwrap().0.to_owned()));
                }
            }
            told
        };
        assert_eq!(told(&original), told(&copy));
    }
}

#[test]
fn what_cannot_be_told_without_its_bytes_ends_the_copy() {
    let mut bot = Bot::new(Compression::Zlib);
    bot.fleet(FleetInput::Start);
    bot.shard(Input::Start);
    bot.passes(100);
    bot.opens();
    let conn = bot.conn.unwrap();
    let frame = Frame::Binary(b"no stream at all\x00\x00\xff\xff".to_vec().into());
    bot.shard(Input::Received { conn, frame });
    let original = bot.lines.text();
    replay(&original).verify().unwrap();
    let lines = Arc::new(Lines::default());
    let mut redactor = Redactor::new(Instant::now(), lines.clone());
    let mut results = original
        .split_inclusive('\n')
        .map(|line| redactor.line(line.as_bytes()));
    let (at, error) = (1..)
        .zip(&mut results)
        .find_map(|(at, result)| Some((at, result.err()?)))
        .unwrap();
    assert!(
        matches!(error, TraceError::NeedsBodies { line } if line == at),
        "line {at}: {error}"
    );
    assert!(at > 5, "Hello and what came before it can be told");
    let copy = replay(&lines.text());
    copy.verify().unwrap();
    assert!(copy.ended.unwrap().contains("bodies"));
}
