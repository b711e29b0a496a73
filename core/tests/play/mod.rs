//! One shard in virtual time, played by hand: the test is the gateway.
//!
//! Nothing here knows the protocol: it moves the clock from deadline to deadline, keeps what the
//! machine did with the time it did it, and lets the test say what the network answers.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardwright_core::{
    Action, Answer, CloseCode, Command, CommandId, Compression, ConnId, Event, Frame, IfNotReady,
    Input, Intents, Next, Phase, ShardConfig, ShardId, ShardMachine, ShardState, Stop, Token,
    TransportFault, Wait,
};

pub const MAIN: &str = "ws://main.example/?v=10&encoding=json";
pub const R1: &str = "ws://r1.example/?v=10&encoding=json";
pub const R2: &str = "ws://r2.example/?v=10&encoding=json";

/// What the machine did.
#[derive(Clone, Debug, PartialEq)]
pub enum Did {
    Dial(u32, String),
    Send(u32, String),
    Close(u32, u16),
    Abort(u32),
    WantIdentify(u32),
    WithdrawIdentify(u32),
    IdentifySent(u32),
    CaughtUp(u64),
    Answer(u64, Answer),
    /// Session ordinal, sequence, name, body.
    Event(u32, u64, String, String),
    /// Any other event, as its `Debug` text.
    Notice(String),
}

pub struct Play {
    pub machine: ShardMachine,
    pub now: Instant,
    pub began: Instant,
    /// Everything done so far, with the time since the beginning.
    pub done: Vec<(Duration, Did)>,
    /// Whether permits are given at once.
    pub grant: bool,
    /// Whether everything sent is reported as flushed at once.
    pub flush: bool,
    /// Whether each beat is acknowledged at once.
    pub ack: bool,
    /// Whether the peer answers a close frame at once.
    pub answer_close: bool,
    pub delays: Vec<(Next, Duration)>,
    /// What the close frames said.
    pub reasons: Vec<&'static str>,
    /// Every connection so far.
    pub conns: Vec<ConnId>,
}

pub fn config() -> ShardConfig {
    let mut config = ShardConfig::new(
        ShardId::new(0, 1).unwrap(),
        Token::new("secret-token").unwrap(),
        Intents::from_bits(513).unwrap(),
        "ws://main.example".parse().unwrap(),
    );
    config.compression = Compression::None;
    config.os = "linux".into();
    config
}

pub const IDENTIFY: &str = r#"{"op":2,"d":{"token":"secret-token","properties":{"os":"linux","browser":"shardwright","device":"shardwright"},"shard":[0,1],"intents":513}}"#;

pub fn resume(session: &str, seq: u64) -> String {
    format!(r#"{{"op":6,"d":{{"token":"secret-token","session_id":"{session}","seq":{seq}}}}}"#)
}

pub const NULL_BEAT: &str = r#"{"op":1,"d":null}"#;

pub fn beat(seq: u64) -> String {
    format!(r#"{{"op":1,"d":{seq}}}"#)
}

pub fn ready_text(session: &str, url: &str, s: u64) -> String {
    format!(
        r#"{{"t":"READY","s":{s},"op":0,"d":{{"v":10,"session_id":"{session}","resume_gateway_url":"{url}","guilds":[]}}}}"#
    )
}

pub fn dispatch_text(s: u64, name: &str) -> String {
    format!(r#"{{"t":"{name}","s":{s},"op":0,"d":{{"n":{s}}}}}"#)
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Play {
    pub fn new() -> Self {
        Self::with(config(), None, 1)
    }

    pub fn seeded(seed: u64) -> Self {
        Self::with(config(), None, seed)
    }

    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    pub fn with(config: ShardConfig, state: Option<ShardState>, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            machine: ShardMachine::new(config, state, seed, now),
            now,
            began: now,
            done: Vec::new(),
            grant: true,
            flush: true,
            ack: true,
            answer_close: true,
            delays: Vec::new(),
            reasons: Vec::new(),
            conns: Vec::new(),
        }
    }

    /// Started, and dialled once.
    pub fn started() -> Self {
        let mut play = Self::new();
        play.tell(Input::Start);
        play
    }

    /// The standard opening of a case: connection 1 on the main host, Hello(41250), Identify, READY
    /// of session A with sequence 1 and resume host R1.
    pub fn up() -> Self {
        Self::up_with(Self::new(), 41250)
    }

    pub fn up_with(mut play: Self, interval: u64) -> Self {
        play.tell(Input::Start);
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, interval);
        play.ready(conn, "A", "ws://r1.example", 1);
        play
    }

    pub fn handle(&mut self, input: Input) {
        self.machine.handle(self.now, input).expect("no misuse");
    }

    /// Tells the machine and drains it; carries out the conveniences that are switched on.
    pub fn tell(&mut self, input: Input) {
        self.handle(input);
        self.drain();
    }

    pub fn drain(&mut self) {
        let mut answers = Vec::new();
        loop {
            let at = self.now - self.began;
            let did = match self.machine.poll() {
                Action::Wait(_) => break,
                Action::Connect { conn, url, .. } => {
                    self.conns.push(conn);
                    Did::Dial(conn.get(), url)
                }
                Action::Send { conn, text } => {
                    if self.flush {
                        answers.push(Input::Flushed { conn });
                    }
                    if self.ack && text.op() == 1 {
                        answers.push(Input::Received {
                            conn,
                            frame: text_frame(r#"{"op":11}"#),
                        });
                    }
                    Did::Send(conn.get(), text.into_string())
                }
                Action::Close { conn, code, reason } => {
                    self.reasons.push(reason);
                    if self.answer_close {
                        answers.push(Input::Closed {
                            conn,
                            code: Some(code.get()),
                        });
                    }
                    Did::Close(conn.get(), code.get())
                }
                Action::Abort { conn } => Did::Abort(conn.get()),
                Action::WantIdentify { conn } => {
                    if self.grant {
                        answers.push(Input::IdentifyGranted { conn });
                    }
                    Did::WantIdentify(conn.get())
                }
                Action::WithdrawIdentify { conn } => Did::WithdrawIdentify(conn.get()),
                Action::IdentifySent { conn } => Did::IdentifySent(conn.get()),
                Action::CaughtUp { mark } => Did::CaughtUp(mark),
                Action::Answer { id, answer } => Did::Answer(id.0, answer),
                Action::Emit(Event::Dispatch(event)) => Did::Event(
                    event.id().session,
                    event.id().seq,
                    event.name().to_owned(),
                    String::from_utf8_lossy(event.data()).into_owned(),
                ),
                Action::Emit(event) => {
                    if let Event::Disconnected { next, delay, .. } = &event {
                        self.delays.push((*next, *delay));
                    }
                    Did::Notice(format!("{event:?}"))
                }
                other => panic!("unexpected action {other:?}"),
            };
            self.done.push((at, did));
        }
        for answer in answers {
            self.tell(answer);
        }
    }

    /// The connection dialled last.
    pub fn conn(&self) -> ConnId {
        *self.conns.last().expect("something was dialled")
    }

    pub fn open(&mut self, conn: ConnId) {
        self.tell(Input::Opened { conn });
    }

    pub fn text(&mut self, conn: ConnId, text: &str) {
        self.tell(Input::Received {
            conn,
            frame: text_frame(text),
        });
    }

    pub fn binary(&mut self, conn: ConnId, bytes: Vec<u8>) {
        self.tell(Input::Received {
            conn,
            frame: Frame::Binary(Bytes::from(bytes)),
        });
    }

    pub fn hello(&mut self, conn: ConnId, interval: u64) {
        self.text(
            conn,
            &format!(r#"{{"t":null,"s":null,"op":10,"d":{{"heartbeat_interval":{interval}}}}}"#),
        );
    }

    pub fn ready(&mut self, conn: ConnId, session: &str, url: &str, s: u64) {
        self.text(conn, &ready_text(session, url, s));
    }

    pub fn resumed(&mut self, conn: ConnId, s: u64) {
        self.text(
            conn,
            &format!(r#"{{"t":"RESUMED","s":{s},"op":0,"d":null}}"#),
        );
    }

    pub fn dispatch(&mut self, conn: ConnId, s: u64, name: &str) {
        self.text(conn, &dispatch_text(s, name));
    }

    pub fn op7(&mut self, conn: ConnId) {
        self.text(conn, r#"{"t":null,"s":null,"op":7,"d":null}"#);
    }

    pub fn op9(&mut self, conn: ConnId, d: &str) {
        self.text(conn, &format!(r#"{{"t":null,"s":null,"op":9,"d":{d}}}"#));
    }

    pub fn close(&mut self, conn: ConnId, code: Option<u16>) {
        self.tell(Input::Closed { conn, code });
    }

    /// The stream ends without a close frame.
    pub fn fin(&mut self, conn: ConnId) {
        self.close(conn, None);
    }

    pub fn fail(&mut self, conn: ConnId, why: TransportFault) {
        self.tell(Input::Failed { conn, why });
    }

    pub fn command(&mut self, id: u64, command: Command) {
        self.tell(Input::Command {
            id: CommandId(id),
            command,
            if_not_ready: IfNotReady::Queue,
        });
    }

    pub fn stop(&mut self, how: Stop) {
        self.tell(Input::Stop(how));
    }

    /// Moves the clock, from deadline to deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            match self.machine.wait() {
                Wait::Until(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.tell(Input::Tick { wall: None });
                }
                _ => break,
            }
        }
        self.now = end;
        self.tell(Input::Tick { wall: None });
    }

    /// Passes time until the next dial and answers its connection; panics if there is none within a
    /// day.
    pub fn next_dial(&mut self) -> (ConnId, String) {
        let before = self.dials().len();
        let end = self.now + secs(24 * 60 * 60);
        while self.dials().len() == before {
            match self.machine.wait() {
                Wait::Until(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.tell(Input::Tick { wall: None });
                }
                other => panic!("no dial comes: {other:?}"),
            }
        }
        let url = self.dials().pop().unwrap().1;
        (self.conn(), url)
    }

    /// The next dial, opened and greeted.
    pub fn reconnect(&mut self, interval: u64) -> (ConnId, String) {
        let (conn, url) = self.next_dial();
        self.open(conn);
        self.hello(conn, interval);
        (conn, url)
    }

    /// The next dial, resumed with this sequence.
    pub fn resume_again(&mut self, interval: u64, s: u64) -> (ConnId, String) {
        let (conn, url) = self.reconnect(interval);
        self.resumed(conn, s);
        (conn, url)
    }

    /// Every dial fails so until this much time has passed.
    pub fn refuse_all(&mut self, time: Duration, why: &TransportFault) {
        let end = self.now + time;
        loop {
            if self.phase() == Phase::Connecting {
                self.fail(self.conn(), why.clone());
            }
            match self.machine.wait() {
                Wait::Until(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.tell(Input::Tick { wall: None });
                }
                _ => break,
            }
        }
        self.now = end;
    }

    pub fn urls(&self) -> Vec<String> {
        self.dials().into_iter().map(|(_, url)| url).collect()
    }

    pub fn phase(&self) -> Phase {
        self.machine.phase()
    }

    pub fn dials(&self) -> Vec<(Duration, String)> {
        self.done
            .iter()
            .filter_map(|(at, did)| match did {
                Did::Dial(_, url) => Some((*at, url.clone())),
                _ => None,
            })
            .collect()
    }

    /// What was sent on a connection.
    pub fn sent(&self, conn: ConnId) -> Vec<String> {
        self.sent_at(conn)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    pub fn sent_at(&self, conn: ConnId) -> Vec<(Duration, String)> {
        self.done
            .iter()
            .filter_map(|(at, did)| match did {
                Did::Send(on, text) if *on == conn.get() => Some((*at, text.clone())),
                _ => None,
            })
            .collect()
    }

    /// Everything sent on any connection that begins so.
    pub fn all_sent(&self, prefix: &str) -> Vec<(Duration, String)> {
        self.done
            .iter()
            .filter_map(|(at, did)| match did {
                Did::Send(_, text) if text.starts_with(prefix) => Some((*at, text.clone())),
                _ => None,
            })
            .collect()
    }

    pub fn identifies(&self) -> usize {
        self.all_sent(r#"{"op":2,"#).len()
    }

    pub fn resumes(&self) -> Vec<String> {
        self.all_sent(r#"{"op":6,"#)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    /// Sequence numbers handed over, in order.
    pub fn seqs(&self) -> Vec<u64> {
        self.done
            .iter()
            .filter_map(|(_, did)| match did {
                Did::Event(_, seq, ..) => Some(*seq),
                _ => None,
            })
            .collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.done
            .iter()
            .filter_map(|(_, did)| match did {
                Did::Event(_, _, name, _) => Some(name.clone()),
                _ => None,
            })
            .collect()
    }

    /// The close codes sent.
    pub fn closes(&self) -> Vec<u16> {
        self.done
            .iter()
            .filter_map(|(_, did)| match did {
                Did::Close(_, code) => Some(*code),
                _ => None,
            })
            .collect()
    }

    pub fn answers(&self, id: u64) -> Vec<Answer> {
        self.done
            .iter()
            .filter_map(|(_, did)| match did {
                Did::Answer(of, answer) if *of == id => Some(answer.clone()),
                _ => None,
            })
            .collect()
    }

    /// The notices whose text contains this.
    pub fn notices(&self, part: &str) -> Vec<String> {
        self.done
            .iter()
            .filter_map(|(_, did)| match did {
                Did::Notice(text) if text.contains(part) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.began
    }
}

pub fn text_frame(text: &str) -> Frame {
    Frame::Text(Bytes::copy_from_slice(text.as_bytes()))
}

pub fn close_code(code: u16) -> CloseCode {
    CloseCode::new(code)
}
