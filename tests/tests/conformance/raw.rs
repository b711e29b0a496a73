//! A gateway written out by hand, for what the emulated one is too orderly for: bytes are sent exactly as
//! a case writes them. The case's own thread is the server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress};
use shardwright_runtime::Options;
use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::ws::{self, FromClient};
use socket2::{Domain, SockRef, Socket, Type};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::Harness;
use crate::play::{PATIENCE, Play, gateway};

/// A listener, and an emulator whose REST side names it as the gateway.
pub(crate) struct Raw {
    listener: TcpListener,
    /// Says where the gateway is; its own listeners are free for resumes.
    pub(crate) emulator: Emulator,
}

impl Raw {
    pub(crate) fn new() -> Self {
        Self::with_receive_buffer(None)
    }

    /// With a receive buffer of this size, so that a client that writes can be held up.
    pub(crate) fn with_receive_buffer(bytes: Option<usize>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if let Some(bytes) = bytes {
            socket.set_recv_buffer_size(bytes).expect("a buffer");
        }
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("an address");
        socket.listen(128).expect("a listener");
        let raw = Self {
            listener: socket.into(),
            emulator: gateway([]).start().expect("an emulator"),
        };
        let url = raw.url();
        raw.emulator
            .with_machine(|machine| machine.set_urls(url.clone(), url));
        raw
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.listener.local_addr().expect("an address"))
    }

    /// Starts a bot that is sent here, without compression.
    pub(crate) fn bot(&self, harness: &dyn Harness, change: impl FnOnce(&mut Options)) -> Play {
        Play::at(harness, &self.emulator.api_base(), |options| {
            options.compression = shardwright_core::Compression::None;
            change(options);
        })
    }

    /// The next connection, before a byte of it is read.
    pub(crate) fn accept_tcp(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// The next connection, upgraded.
    pub(crate) fn accept(&self) -> Line {
        Line::upgrade(self.accept_tcp())
    }

    /// The next connection, up to the client's Identify.
    pub(crate) fn accept_identify(&self, interval: u64) -> Line {
        let mut line = self.accept();
        line.hello(interval);
        let identify = line.payload(2);
        assert!(identify.contains(r#""op":2"#), "{identify}");
        line
    }

    /// The next connection, up to READY.
    pub(crate) fn accept_ready(&self, interval: u64) -> Line {
        let mut line = self.accept_identify(interval);
        line.text(&self.ready());
        line
    }

    /// The next connection, up to the client's Resume, which must name this sequence.
    pub(crate) fn accept_resume(&self, interval: u64, seq: u64) -> Line {
        let mut line = self.accept();
        line.hello(interval);
        let resume = line.payload(6);
        let token = r#""token":"a-token""#;
        assert!(resume.contains(token), "{resume}");
        assert!(resume.contains(r#""session_id":"a""#), "{resume}");
        assert!(resume.contains(&format!(r#""seq":{seq}"#)), "{resume}");
        line
    }

    /// READY of session `a`, to be resumed here.
    pub(crate) fn ready(&self) -> String {
        let url = self.url();
        format!(
            r#"{{"t":"READY","s":1,"op":0,"d":{{"v":10,"session_id":"a","resume_gateway_url":"{url}","guilds":[]}}}}"#
        )
    }
}

/// A dispatch as it is on the line.
pub(crate) fn dispatch(seq: u64, name: &str) -> String {
    format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{{"n":1}}}}"#)
}

/// One frame as it is on the line.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ws::write_frame(&mut bytes, fin, opcode, payload);
    bytes
}

/// One upgraded connection, seen from the gateway's side.
pub(crate) struct Line {
    pub(crate) stream: TcpStream,
    reader: ws::Reader,
}

impl Line {
    /// Reads an upgrade request and accepts it.
    fn upgrade(mut stream: TcpStream) -> Self {
        let answer = accept(&read_head(&mut stream));
        let mut line = Self::over(stream);
        line.bytes(answer.as_bytes());
        line
    }

    /// A connection whose upgrade is the case's own affair.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            reader: ws::Reader::default(),
        }
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the client reads");
    }

    pub(crate) fn frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        self.bytes(&frame(fin, opcode, payload));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.frame(true, ws::TEXT, text.as_bytes());
    }

    pub(crate) fn hello(&mut self, interval: u64) {
        self.text(&hello(interval));
    }

    /// What the client sends next, pings and pongs included; none at its end.
    pub(crate) fn read(&mut self) -> Option<FromClient> {
        loop {
            if let Some(frame) = self.reader.read().expect("well framed") {
                return Some(frame);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.reader.feed(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the client said nothing")
                }
                // A reset is an end.
                Err(_) => return None,
            }
        }
    }

    /// Reads until a payload of this opcode comes; beats are acknowledged.
    pub(crate) fn payload(&mut self, op: u8) -> String {
        self.payload_with(op, true)
    }

    /// The same, and nothing is written.
    pub(crate) fn payload_unanswered(&mut self, op: u8) -> String {
        self.payload_with(op, false)
    }

    fn payload_with(&mut self, op: u8, acknowledge: bool) -> String {
        let wanted = format!(r#"{{"op":{op},"#);
        loop {
            match self.read() {
                Some(FromClient::Text(text)) => {
                    let text = String::from_utf8(text.to_vec()).expect("UTF-8");
                    if acknowledge && text.starts_with(r#"{"op":1,"#) {
                        self.text(r#"{"op":11}"#);
                    }
                    if text.starts_with(&wanted) {
                        return text;
                    }
                }
                Some(_) => {}
                None => panic!("the client left before op {op}"),
            }
        }
    }

    /// Reads until the client's pong.
    pub(crate) fn pong(&mut self) -> Vec<u8> {
        loop {
            match self.read() {
                Some(FromClient::Pong(bytes)) => return bytes.to_vec(),
                Some(_) => {}
                None => panic!("the client left before its pong"),
            }
        }
    }

    /// Reads to the client's end; its close frame, if there was one.
    pub(crate) fn until_end(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(frame) = self.read() {
            if let FromClient::Close(with) = frame {
                code = with;
            }
        }
        code
    }

    /// Reads to the client's close frame; its code.
    pub(crate) fn until_close(&mut self) -> Option<u16> {
        loop {
            match self.read() {
                Some(FromClient::Close(code)) => return code,
                Some(_) => {}
                None => panic!("the client left without a close frame"),
            }
        }
    }

    /// Stops the bot on this connection and checks its farewell.
    pub(crate) fn stop(mut self, mut play: Play) {
        let bot = Arc::clone(&play.bot);
        let stopping = std::thread::spawn(move || bot.disconnect());
        assert_eq!(self.until_close(), Some(1000));
        drop(self);
        stopping.join().expect("stopped");
        play.ended();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        reset(self.stream);
    }
}

/// Resets a connection.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("a linger time");
}

pub(crate) fn hello(interval: u64) -> String {
    format!(r#"{{"t":null,"s":null,"op":10,"d":{{"heartbeat_interval":{interval}}}}}"#)
}

/// The answer that accepts an upgrade request.
pub(crate) fn accept(head: &str) -> String {
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim());
    let accept = derive_accept_key(key.expect("a websocket key").as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Reads a request up to its empty line.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a request is ASCII")
}

/// One zlib stream.
pub(crate) struct Zlib(Compress);

impl Zlib {
    pub(crate) fn new() -> Self {
        Self(Compress::new(Compression::new(6), true))
    }

    /// Compresses a piece and flushes, so that it ends in `00 00 FF FF`.
    pub(crate) fn piece(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + 128);
        self.0
            .compress_vec(piece, &mut out, FlushCompress::Sync)
            .expect("a stream");
        assert!(out.ends_with(&[0, 0, 0xFF, 0xFF]), "room for all of it");
        out
    }
}
