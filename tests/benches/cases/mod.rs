//! The hot path in pieces: what happens to an event between the websocket and the consumer.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::time::Instant;

use bytes::Bytes;
use flate2::{Compress, FlushCompress};
use shardwright_core::{
    Action, Command, CommandId, Compression, ConnId, Envelope, Event, Frame, FrameDecoder, GuildId,
    IfNotReady, Input, Intents, RequestGuildMembers, ShardConfig, ShardId, ShardMachine, Token,
};
use shardwright_testkit::corpus::Corpus;
use shardwright_testkit::rng::Rng;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

/// So many events are made; a run goes through them.
pub(crate) const EVENTS: usize = 1000;

/// Payloads of the corpus's mix, from sequence number 2 on.
#[must_use]
pub(crate) fn payloads() -> Vec<Bytes> {
    let corpus = Corpus::builtin();
    let draw = corpus.draw_from(|name| !matches!(name, "READY" | "RESUMED" | "GUILD_CREATE"));
    let mut rng = Rng::new(1);
    let payload = |number: usize| {
        let payload = draw.next(&mut rng).expect("the corpus has events");
        let (name, body) = (payload.name(), payload.body());
        let seq = number + 2;
        format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{body}}}"#).into()
    };
    (0..EVENTS).map(payload).collect()
}

/// A machine in the middle of a session, and frames for it.
pub(crate) struct Session {
    machine: ShardMachine,
    conn: Option<ConnId>,
    now: Instant,
    frames: Vec<Frame>,
    kept: Vec<Frame>,
}

const HELLO: &str = r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#;
const READY: &str = r#"{"t":"READY","s":1,"op":0,"d":{"v":10,"session_id":"a","resume_gateway_url":"wss://r.example","guilds":[]}}"#;

impl Session {
    /// # Panics
    /// If the machine does not come up.
    #[must_use]
    pub(crate) fn new(compression: Compression) -> Self {
        let now = Instant::now();
        let url = "wss://gateway.example".parse().expect("an address");
        let token = Token::new("t").expect("a token");
        let mut config = ShardConfig::new(ShardId::SINGLE, token, Intents::all(), url);
        config.compression = compression;
        let mut session = Self {
            machine: ShardMachine::new(config, None, 1, now),
            conn: None,
            now,
            frames: Vec::new(),
            kept: Vec::new(),
        };
        let mut encode = encoder(compression);
        session.tell(Input::Start);
        let conn = session.conn();
        session.tell(Input::Opened { conn });
        let frame = encode(HELLO.as_bytes());
        session.tell(Input::Received { conn, frame });
        session.tell(Input::IdentifyGranted { conn });
        session.tell(Input::Flushed { conn });
        let frame = encode(READY.as_bytes());
        session.tell(Input::Received { conn, frame });
        session.frames = payloads().iter().map(|payload| encode(payload)).collect();
        // As the websocket library's, each lies in memory that somebody else uses as well.
        session.kept = session.frames.clone();
        session
    }

    fn conn(&self) -> ConnId {
        self.conn.expect("a started machine dials")
    }

    fn tell(&mut self, input: Input) -> usize {
        self.machine
            .handle(self.now, input)
            .expect("the inputs are in order");
        self.drain()
    }

    /// As the runtimes do.
    fn receive(&mut self, conn: ConnId, frame: Frame) -> usize {
        let take = |event: Event<'_>| {
            let Event::Dispatch(event) = event else {
                unreachable!("nothing else comes this way");
            };
            std::hint::black_box(event.data());
        };
        let received = self.machine.receive(self.now, conn, frame, take);
        let mut events = usize::from(received.expect("the drain has ended").is_some());
        if !self.machine.settle() {
            events += self.drain();
        }
        events
    }

    fn drain(&mut self) -> usize {
        let mut events = 0;
        loop {
            match self.machine.poll() {
                Action::Emit(Event::Dispatch(event)) => {
                    std::hint::black_box(event.data());
                    events += 1;
                }
                Action::Connect { conn, .. } => self.conn = Some(conn),
                Action::Wait(_) => return events,
                _ => {}
            }
        }
    }

    /// Gives the machine its first `count` frames, as the runtimes do.
    ///
    /// # Panics
    /// If not each of them is an event.
    pub(crate) fn run(&mut self, count: usize) {
        self.run_with(count, Self::receive);
    }

    /// The same with nothing but `handle` and `poll`.
    ///
    /// # Panics
    /// If not each of them is an event.
    pub(crate) fn run_polled(&mut self, count: usize) {
        self.run_with(count, |session, conn, frame| {
            session.tell(Input::Received { conn, frame })
        });
    }

    fn run_with(&mut self, count: usize, mut give: impl FnMut(&mut Self, ConnId, Frame) -> usize) {
        let conn = self.conn();
        let frames = std::mem::take(&mut self.frames);
        let mut events = 0;
        for frame in frames.into_iter().take(count) {
            events += give(self, conn, frame);
        }
        assert_eq!(events, count);
    }
}

/// So many commands fit into the send budget at once, whatever else is kept back.
pub(crate) const COMMANDS: u32 = 100;

impl Session {
    /// Gives the machine so many commands at once.
    ///
    /// # Panics
    /// If not each of them is sent.
    pub(crate) fn command(&mut self, count: u32) {
        let request = RequestGuildMembers::everyone(GuildId::from(1));
        let command = Command::request_guild_members(request).expect("a command");
        let mut sent = 0;
        for number in 0..count {
            let input = Input::Command {
                id: CommandId(number.into()),
                command: command.clone(),
                if_not_ready: IfNotReady::Queue,
            };
            self.machine
                .handle(self.now, input)
                .expect("the inputs are in order");
            loop {
                match self.machine.poll() {
                    Action::Send { text, .. } => {
                        std::hint::black_box(text);
                        sent += 1;
                    }
                    Action::Wait(_) => break,
                    _ => {}
                }
            }
        }
        assert_eq!(sent, count);
    }
}

/// Frames of the corpus's mix, compressed as they are on one connection.
#[must_use]
pub(crate) fn frames(compression: Compression) -> Vec<Frame> {
    let mut encode = encoder(compression);
    payloads().iter().map(|payload| encode(payload)).collect()
}

/// Decodes the frames of one connection.
///
/// # Panics
/// If not each of them holds a payload.
pub(crate) fn decode(decoder: &mut FrameDecoder, frames: &[Frame]) {
    for frame in frames {
        decoder.push(frame.clone());
        assert_eq!(decoder.advance(), Ok(true));
        std::hint::black_box(decoder.payload());
        assert_eq!(decoder.advance(), Ok(false));
    }
}

type Encode = Box<dyn FnMut(&[u8]) -> Frame>;

/// Compresses as the gateway does.
fn encoder(compression: Compression) -> Encode {
    match compression {
        Compression::Zlib => {
            let mut context = Compress::new(flate2::Compression::new(6), true);
            Box::new(move |payload| {
                let mut out = Vec::with_capacity(payload.len() + 1024);
                context
                    .compress_vec(payload, &mut out, FlushCompress::Sync)
                    .expect("there is room");
                Frame::Binary(out.into())
            })
        }
        Compression::Zstd => {
            let mut encoder = Encoder::new(3).expect("memory");
            let window = encoder.set_parameter(CParameter::WindowLog(18));
            window.expect("a window");
            Box::new(move |payload| {
                let mut out = vec![0; payload.len() + 1024];
                let mut room = OutBuffer::around(&mut out[..]);
                let mut input = InBuffer::around(payload);
                encoder.run(&mut input, &mut room).expect("there is room");
                assert_eq!(encoder.flush(&mut room).expect("there is room"), 0);
                let length = room.pos();
                out.truncate(length);
                Frame::Binary(out.into())
            })
        }
        _ => Box::new(|payload| Frame::Text(payload.to_vec().into())),
    }
}

/// Reads the envelopes of these payloads.
///
/// # Panics
/// If one has none.
pub(crate) fn scan(payloads: &[Bytes]) {
    for payload in payloads {
        let envelope = Envelope::scan(payload).expect("an envelope");
        std::hint::black_box(envelope);
    }
}

/// Makes events that outlive the machine's buffers, as a stream's consumer gets them.
pub(crate) fn keep(payloads: &[Bytes]) {
    for payload in payloads {
        std::hint::black_box(Bytes::copy_from_slice(payload));
    }
}
