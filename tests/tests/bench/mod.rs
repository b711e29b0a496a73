//! A client without a brain and a clock that moves when told to: what the machine-level tests
//! stand on.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shardwright_testkit::corpus::Corpus;
use shardwright_testkit::scenario::{Listener, Scenario, Step};
use shardwright_testkit::server::{
    ConnId, Frame, HowDropped, Input, Outgoing, ServerAction, ServerConfig, ServerMachine,
    WsMessage,
};

pub const QUERY: &str = "/?v=10&encoding=json";

/// What a connection got.
#[derive(Debug, Default)]
pub struct Got {
    pub status: Option<u16>,
    pub sent: Vec<Outgoing>,
    pub pongs: usize,
    pub pings: usize,
    pub closed: Option<Option<u16>>,
    pub dropped: Option<HowDropped>,
}

pub struct Bench {
    pub machine: ServerMachine,
    pub now: Instant,
    pub until: Option<Instant>,
    pub listeners: Vec<ServerAction>,
    conns: BTreeMap<ConnId, Got>,
    opened: u64,
}

impl Bench {
    pub fn new(config: ServerConfig) -> Self {
        Self::with(config, Scenario::default())
    }

    pub fn steps(steps: impl Into<Vec<Step>>) -> Self {
        Self::with(ServerConfig::default(), Scenario::of(steps))
    }

    pub fn with(config: ServerConfig, scenario: Scenario) -> Self {
        let now = Instant::now();
        let machine = ServerMachine::with(config, scenario, Arc::new(Corpus::builtin()), 7, now);
        Self {
            machine,
            now,
            until: None,
            listeners: Vec::new(),
            conns: BTreeMap::new(),
            opened: 0,
        }
    }

    pub fn drain(&mut self) {
        loop {
            match self.machine.poll() {
                ServerAction::Wait(until) => {
                    self.until = until;
                    return;
                }
                action @ ServerAction::Listener { .. } => self.listeners.push(action),
                ServerAction::Accept { conn } => self.got(conn).status = Some(101),
                ServerAction::Refuse { conn, status, .. } => self.got(conn).status = Some(status),
                ServerAction::Send { conn, outgoing } => self.got(conn).sent.push(outgoing),
                ServerAction::Ping { conn, .. } => self.got(conn).pings += 1,
                ServerAction::Pong { conn, .. } => self.got(conn).pongs += 1,
                ServerAction::Close { conn, code, .. } => self.got(conn).closed = Some(code),
                ServerAction::Drop { conn, how } => self.got(conn).dropped = Some(how),
                _ => {}
            }
        }
    }

    pub fn got(&mut self, conn: ConnId) -> &mut Got {
        self.conns.entry(conn).or_default()
    }

    pub fn handle(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.drain();
    }

    /// Lets time pass, stopping at each of the machine's deadlines.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.until.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.handle(Input::Tick);
        }
        self.now = end;
        self.handle(Input::Tick);
    }

    pub fn ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    pub fn dial(&mut self, listener: Listener, target: &str) -> ConnId {
        self.opened += 1;
        let conn = ConnId(self.opened);
        self.got(conn);
        self.handle(Input::Opened {
            conn,
            listener,
            target: target.to_owned(),
        });
        conn
    }

    pub fn open(&mut self) -> ConnId {
        self.dial(Listener::Main, QUERY)
    }

    pub fn text(&mut self, conn: ConnId, text: &str) {
        self.handle(Input::Received {
            conn,
            frame: Frame::Text(text.to_owned().into()),
        });
    }

    pub fn send(&mut self, conn: ConnId, value: &Value) {
        self.text(conn, &value.to_string());
    }

    /// A connection with a running session.
    pub fn up(&mut self) -> ConnId {
        let conn = self.open();
        self.send(conn, &identify());
        assert_eq!(self.names(conn).first().map(String::as_str), Some("READY"));
        conn
    }

    pub fn lose(&mut self, conn: ConnId) {
        self.handle(Input::Closed { conn, code: None });
    }

    pub fn client_close(&mut self, conn: ConnId, code: u16) {
        self.handle(Input::Closed {
            conn,
            code: Some(code),
        });
    }

    /// Uncompressed payloads that arrived.
    pub fn payloads(&mut self, conn: ConnId) -> Vec<Value> {
        self.got(conn)
            .sent
            .iter()
            .filter(|outgoing| outgoing.arrives())
            .map(|outgoing| match &outgoing.message {
                WsMessage::Text(bytes) => serde_json::from_slice(bytes).unwrap_or(Value::Null),
                WsMessage::Binary(_) => panic!("binary on a plain connection"),
            })
            .collect()
    }

    pub fn names(&mut self, conn: ConnId) -> Vec<String> {
        self.payloads(conn)
            .iter()
            .filter_map(|payload| payload["t"].as_str().map(str::to_owned))
            .collect()
    }

    pub fn seqs(&mut self, conn: ConnId) -> Vec<u64> {
        self.payloads(conn)
            .iter()
            .filter_map(|payload| payload["s"].as_u64())
            .collect()
    }

    pub fn ops(&mut self, conn: ConnId) -> Vec<u64> {
        self.payloads(conn)
            .iter()
            .filter_map(|payload| payload["op"].as_u64())
            .collect()
    }

    pub fn session(&mut self, conn: ConnId) -> String {
        let payloads = self.payloads(conn);
        let ready = payloads.iter().find(|payload| payload["t"] == "READY");
        ready.unwrap()["d"]["session_id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn closed(&mut self, conn: ConnId) -> Option<u16> {
        self.got(conn).closed.flatten()
    }
}

pub fn identify() -> Value {
    identify_with(json!({}))
}

/// An Identify with other fields; null takes a field away.
pub fn identify_with(other: Value) -> Value {
    let mut d = json!({
        "token": "a.b.c", "intents": 53_608_447u64,
        "properties": {"os": "linux", "browser": "bench", "device": "bench"},
    });
    let map = d.as_object_mut().unwrap();
    for (key, value) in other.as_object().unwrap() {
        if value.is_null() {
            map.remove(key);
        } else {
            map.insert(key.clone(), value.clone());
        }
    }
    json!({"op": 2, "d": d})
}

pub fn resume(session: &str, seq: u64) -> Value {
    json!({"op": 6, "d": {"token": "a.b.c", "session_id": session, "seq": seq}})
}

pub fn beat(seq: impl Into<Option<u64>>) -> Value {
    json!({"op": 1, "d": seq.into()})
}

pub fn presence() -> Value {
    json!({"op": 3, "d": {"since": null, "activities": [], "status": "online", "afk": false}})
}
