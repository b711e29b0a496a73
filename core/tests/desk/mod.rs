//! A shard's machine with a collector of members beside it, in virtual time: the test is the gateway, and
//! drives both as a runtime does.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use std::time::{Duration, Instant};

use serde_json::Value;
use shardwright_core::{
    Action, CollectAction, Command, CommandId, Compression, ConnId, Event, Frame, GuildId,
    GuildMembers, GuildMembersRequest, IfNotReady, Input, Intents, MemberCollector,
    RequestMembersError, ShardConfig, ShardId, ShardMachine, Stop, Token, Wait,
};

pub const GUILD: GuildId = GuildId::new(41_771_983_423_143_937);

pub type Ended = Result<GuildMembers, RequestMembersError>;

pub struct Desk {
    pub machine: ShardMachine,
    pub collector: MemberCollector,
    pub now: Instant,
    pub began: Instant,
    pub conn: Option<ConnId>,
    /// The last sequence number.
    pub seq: u64,
    /// Whether what is sent is reported as flushed at once.
    pub flush: bool,
    /// Requests for members that were sent, and when.
    pub asked: Vec<(Duration, Value)>,
    /// Collections that have ended, and when.
    pub done: Vec<(Duration, u64, Ended)>,
    /// The names of the dispatches that the consumer was given.
    pub events: Vec<String>,
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Desk {
    /// Idle: nothing is dialled yet.
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    pub fn idle() -> Self {
        let now = Instant::now();
        let shard = ShardId::new(0, 1).unwrap();
        let mut config = ShardConfig::new(
            shard,
            Token::new("secret-token").unwrap(),
            Intents::all(),
            "ws://main.example".parse().unwrap(),
        );
        config.compression = Compression::None;
        Self {
            machine: ShardMachine::new(config, None, 1, now),
            collector: MemberCollector::new(shard, 1),
            now,
            began: now,
            conn: None,
            seq: 0,
            flush: true,
            asked: Vec::new(),
            done: Vec::new(),
            events: Vec::new(),
        }
    }

    /// With session A, live.
    pub fn up() -> Self {
        let mut desk = Self::idle();
        desk.tell(Input::Start);
        desk.greet();
        desk.ready("A");
        desk
    }

    pub fn tell(&mut self, input: Input) {
        self.machine.handle(self.now, input).expect("no misuse");
        self.drain();
        self.serve();
    }

    fn drain(&mut self) {
        let mut answers = Vec::new();
        loop {
            match self.machine.poll() {
                Action::Wait(_) => break,
                Action::Emit(event) => {
                    self.collector.observe(self.now, &event);
                    if let Event::Dispatch(event) = &event {
                        self.events.push(event.name().to_owned());
                    }
                }
                Action::Answer { id, answer } => self.collector.answered(self.now, id, &answer),
                Action::Connect { conn, .. } => self.conn = Some(conn),
                Action::WantIdentify { conn } => answers.push(Input::IdentifyGranted { conn }),
                Action::Close { conn, code, .. } => answers.push(Input::Closed {
                    conn,
                    code: Some(code.get()),
                }),
                Action::Send { conn, text } => {
                    if self.flush {
                        answers.push(Input::Flushed { conn });
                    }
                    match text.op() {
                        1 => answers.push(Input::Received {
                            conn,
                            frame: frame(r#"{"op":11}"#),
                        }),
                        8 => {
                            let sent: Value = serde_json::from_str(text.as_str()).unwrap();
                            self.asked.push((self.now - self.began, sent["d"].clone()));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        for answer in answers {
            self.machine.handle(self.now, answer).expect("no misuse");
            self.drain();
        }
    }

    /// Does what the collector wants.
    pub fn serve(&mut self) {
        loop {
            match self.collector.poll() {
                CollectAction::Send { id, command } => {
                    assert!(MemberCollector::owns(id));
                    let if_not_ready = IfNotReady::Queue;
                    let input = Input::Command {
                        id,
                        command,
                        if_not_ready,
                    };
                    self.machine.handle(self.now, input).expect("no misuse");
                    self.drain();
                }
                CollectAction::Done { id, result } => {
                    self.done.push((self.now - self.began, id.0, result));
                }
                CollectAction::Wait(_) => return,
                other => panic!("unexpected action {other:?}"),
            }
        }
    }

    pub fn ask(&mut self, id: u64, request: GuildMembersRequest) {
        self.collector.request(self.now, CommandId(id), request);
        self.serve();
    }

    /// Another command of the consumer's.
    pub fn command(&mut self, id: u64, command: Command) {
        self.collector.notice(self.now, &command);
        self.tell(Input::Command {
            id: CommandId(id),
            command,
            if_not_ready: IfNotReady::Queue,
        });
    }

    pub fn congested(&mut self, congested: bool) {
        self.collector.congested(self.now, congested);
        self.tell(Input::Congested(congested));
    }

    /// Moves the clock, from deadline to deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let machine = match self.machine.wait() {
                Wait::Until(at) => Some(at),
                _ => None,
            };
            let next = machine.into_iter().chain(self.collector.wake_at()).min();
            self.now = next.map_or(end, |at| self.now.max(at).min(end));
            self.collector.handle_tick(self.now);
            self.tell(Input::Tick { wall: None });
            if self.now == end {
                return;
            }
        }
    }

    pub fn text(&mut self, text: &str) {
        let conn = self.conn.expect("something was dialled");
        let frame = frame(text);
        self.tell(Input::Received { conn, frame });
    }

    /// The dialled connection opens, and the gateway says Hello.
    pub fn greet(&mut self) {
        let conn = self.conn.expect("something was dialled");
        self.tell(Input::Opened { conn });
        self.text(r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#);
    }

    pub fn ready(&mut self, session: &str) {
        self.seq = 0;
        self.event(
            "READY",
            &format!(
                r#"{{"v":10,"session_id":"{session}","resume_gateway_url":"ws://r.example","guilds":[]}}"#
            ),
        );
    }

    pub fn event(&mut self, name: &str, d: &str) {
        self.seq += 1;
        let seq = self.seq;
        self.text(&format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{d}}}"#));
    }

    /// Waits for the next dial and answers it.
    pub fn reconnect(&mut self) {
        let before = self.conn;
        while self.conn == before {
            self.pass(ms(100));
        }
        self.greet();
    }

    pub fn stop(&mut self) {
        self.tell(Input::Stop(Stop::Final));
    }

    /// The nonce of the n-th request that was sent.
    pub fn nonce(&self, n: usize) -> String {
        self.asked[n].1["nonce"].as_str().unwrap().to_owned()
    }

    /// A chunk of the n-th request, with these members.
    pub fn chunk(&mut self, n: usize, index: u32, count: u32, members: &[u64]) {
        let nonce = self.nonce(n);
        self.event("GUILD_MEMBERS_CHUNK", &chunk(&nonce, index, count, members));
    }

    /// The ids of the members of a collection that has ended well.
    pub fn members_of(&self, id: u64) -> Vec<u64> {
        ids(self.end_of(id).as_ref().expect("it ended well"))
    }

    pub fn end_of(&self, id: u64) -> &Ended {
        let mut ends = self.done.iter().filter(|(_, of, _)| *of == id);
        let (_, _, end) = ends.next().expect("it has ended");
        assert!(ends.next().is_none(), "it has ended twice");
        end
    }

    /// Nothing is left of the collections.
    pub fn assert_free(&self) {
        assert_eq!((self.collector.pending(), self.collector.memory()), (0, 0));
        assert_eq!(self.collector.wake_at(), None, "nothing is waited for");
    }
}

fn frame(text: &str) -> Frame {
    Frame::Text(text.to_owned().into())
}

pub fn ids(members: &GuildMembers) -> Vec<u64> {
    let id = |member: &shardwright_core::RawJson| {
        let member: Value = member.parse().unwrap();
        member["user"]["id"].as_str().unwrap().parse().unwrap()
    };
    members.members.iter().map(id).collect()
}

pub fn chunk(nonce: &str, index: u32, count: u32, members: &[u64]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|id| format!(r#"{{"user":{{"id":"{id}","username":"u{id}"}},"roles":[],"nick":null,"joined_at":"2024-01-01T00:00:00.000000+00:00","deaf":false,"mute":false,"flags":0}}"#))
        .collect();
    format!(
        r#"{{"guild_id":"{GUILD}","members":[{}],"chunk_index":{index},"chunk_count":{count},"nonce":"{nonce}"}}"#,
        members.join(",")
    )
}
