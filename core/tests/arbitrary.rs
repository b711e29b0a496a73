//! Anything at all, in any order: what must hold whatever the network, the consumer and the clock do.

mod common;
mod play;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use common::ZlibServer;
use play::config;
use proptest::prelude::*;
use shardwright_core::{
    Action, Activity, Answer, ChannelId, Command, CommandId, Compression, ConnId, Event, EventId,
    Frame, GuildId, IfNotReady, Input, RequestGuildMembers, ShardId, ShardMachine, StatusUpdate,
    Stop, TransportFault, VoiceStateUpdate, Wait,
};

/// What happens next. Numbers are taken modulo what is possible.
#[derive(Clone, Debug)]
enum Step {
    Start,
    Opened(u8),
    Text(u8, String),
    Bytes(u8, bool, Vec<u8>),
    Compressed(u8, String, bool),
    Closed(u8, Option<u16>),
    Failed(u8, u8),
    Flushed(u8),
    Granted(u8),
    Command(u8, bool),
    Acknowledged(u32, u64),
    Congested(bool),
    Stop(bool),
    /// Milliseconds, and the wall clock's seconds if it is told.
    Pass(u64, Option<i64>),
    /// To the next deadline.
    Deadline,
    /// The next thing a good gateway would do, so that the deep states are reached.
    Onward,
    /// The last event once more.
    Again,
}

fn payload() -> impl Strategy<Value = String> {
    let seq = prop_oneof![4 => 0..20_u64, 1 => any::<u64>()];
    prop_oneof![
        seq.clone().prop_map(|s| format!(r#"{{"t":"MESSAGE_CREATE","s":{s},"op":0,"d":{{"a":[1]}}}}"#)),
        seq.clone().prop_map(|s| format!(r#"{{"d":{{"a":1}},"op":0,"t":"X","s":{s}}}"#)),
        seq.clone().prop_map(|s| format!(r#"{{"t":"RESUMED","s":{s},"op":0,"d":null}}"#)),
        seq.prop_map(|s| format!(
            r#"{{"t":"READY","s":{s},"op":0,"d":{{"session_id":"s{s}","resume_gateway_url":"ws://r{s}.example"}}}}"#
        )),
        prop_oneof![Just(200_u64), Just(1000), Just(41_250), any::<u64>()]
            .prop_map(|ms| format!(r#"{{"op":10,"d":{{"heartbeat_interval":{ms}}}}}"#)),
        (0..20_u64, ".{0,12}").prop_map(|(op, d)| format!(r#"{{"op":{op},"d":{d}}}"#)),
        Just(r#"{"op":0,"t":"UNNUMBERED","s":null,"d":1}"#.to_owned()),
        Just(r#"{"op":1,"d":null}"#.to_owned()),
        Just(r#"{"op":7,"d":null}"#.to_owned()),
        Just(r#"{"op":9,"d":true}"#.to_owned()),
        Just(r#"{"op":9,"d":false}"#.to_owned()),
        Just(r#"{"op":11}"#.to_owned()),
        ".{0,30}",
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Mostly the newest connection.
    let conn = || prop_oneof![6 => Just(0_u8), 1 => any::<u8>()];
    let code = prop_oneof![
        Just(None),
        (1000..1016_u16).prop_map(Some),
        (4000..4016_u16).prop_map(Some),
        any::<u16>().prop_map(Some)
    ];
    prop_oneof![
        1 => Just(Step::Start),
        2 => conn().prop_map(Step::Opened),
        8 => (conn(), payload()).prop_map(|(conn, text)| Step::Text(conn, text)),
        2 => (conn(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(conn, text, bytes)| Step::Bytes(conn, text, bytes)),
        2 => (conn(), payload(), any::<bool>())
            .prop_map(|(conn, text, fresh)| Step::Compressed(conn, text, fresh)),
        2 => (conn(), code).prop_map(|(conn, code)| Step::Closed(conn, code)),
        2 => (conn(), any::<u8>()).prop_map(|(conn, why)| Step::Failed(conn, why)),
        2 => conn().prop_map(Step::Flushed),
        2 => conn().prop_map(Step::Granted),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(kind, queue)| Step::Command(kind, queue)),
        2 => (0..4_u32, 0..20_u64).prop_map(|(session, seq)| Step::Acknowledged(session, seq)),
        2 => any::<bool>().prop_map(Step::Congested),
        1 => (0..12_u8).prop_map(|one| if one == 0 { Step::Stop(true) } else { Step::Deadline }),
        1 => (0..12_u8).prop_map(|one| if one == 0 { Step::Stop(false) } else { Step::Onward }),
        3 => (prop_oneof![0..5000_u64, 0..10_000_000_u64], proptest::option::of(-100_000..100_000_i64))
            .prop_map(|(ms, wall)| Step::Pass(ms, wall)),
        6 => Just(Step::Deadline),
        60 => Just(Step::Onward),
        4 => Just(Step::Again),
    ]
}

/// The world around a machine, and all that must hold of it.
struct World {
    machine: ShardMachine,
    now: Instant,
    began: Instant,
    conns: Vec<ConnId>,
    /// The connection that was dialled and is neither closed, failed nor aborted.
    alive: Option<ConnId>,
    server: ZlibServer,
    compression: Compression,
    /// How far a good gateway has come with the newest connection.
    progress: u8,
    /// Session and last numbered sequence handed over.
    last: (u32, u64),
    stop_final: bool,
    stopped: bool,
    commands: u64,
    /// Sends on the newest connection.
    sends: Vec<Instant>,
    log: Vec<String>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn new(compression: Compression, seed: u64, began: Option<Instant>) -> Self {
        let mut config = config();
        config.compression = compression;
        config.limits.payload_limit = 4096;
        config.limits.command_queue = 8;
        let now = began.unwrap_or_else(Instant::now);
        Self {
            machine: ShardMachine::new(config, None, seed, now),
            now,
            began: now,
            conns: Vec::new(),
            alive: None,
            server: ZlibServer::new(),
            compression,
            progress: 0,
            last: (0, 0),
            stop_final: false,
            stopped: false,
            commands: 0,
            sends: Vec::new(),
            log: Vec::new(),
        }
    }

    /// 0 is the newest connection, other numbers some older one.
    fn conn(&self, pick: u8) -> Option<ConnId> {
        let newest = self.conns.len().checked_sub(1)?;
        self.conns
            .get(newest - usize::from(pick) % self.conns.len())
            .copied()
    }

    fn take(&mut self, step: Step) {
        let Some(input) = self.input(step) else {
            return;
        };
        self.tell(input);
    }

    fn input(&mut self, step: Step) -> Option<Input> {
        Some(match step {
            Step::Start => Input::Start,
            Step::Opened(pick) => Input::Opened {
                conn: self.conn(pick)?,
            },
            Step::Text(pick, text) => self.received(pick, Frame::Text(Bytes::from(text)))?,
            Step::Bytes(pick, true, bytes) => self.received(pick, Frame::Text(bytes.into()))?,
            Step::Bytes(pick, false, bytes) => self.received(pick, Frame::Binary(bytes.into()))?,
            Step::Compressed(pick, text, fresh) => {
                let bytes = if fresh {
                    ZlibServer::new().payload(text)
                } else {
                    self.server.payload(text)
                };
                self.received(pick, Frame::Binary(bytes.into()))?
            }
            Step::Closed(pick, code) => Input::Closed {
                conn: self.conn(pick)?,
                code,
            },
            Step::Failed(pick, why) => {
                let conn = self.conn(pick)?;
                let why = match why % 5 {
                    0 => TransportFault::Reset,
                    1 => TransportFault::TooLarge,
                    2 => TransportFault::Protocol("odd".into()),
                    3 => TransportFault::Upgrade {
                        status: 429,
                        retry_after: Some(Duration::MAX),
                    },
                    _ => TransportFault::NameLookup,
                };
                Input::Failed { conn, why }
            }
            Step::Flushed(pick) => Input::Flushed {
                conn: self.conn(pick)?,
            },
            Step::Granted(pick) => Input::IdentifyGranted {
                conn: self.conn(pick)?,
            },
            Step::Command(kind, queue) => {
                self.commands += 1;
                Input::Command {
                    id: CommandId(self.commands),
                    command: command(kind),
                    if_not_ready: if queue {
                        IfNotReady::Queue
                    } else {
                        IfNotReady::Fail
                    },
                }
            }
            Step::Acknowledged(session, seq) => Input::Acknowledged(EventId {
                shard: ShardId::new(0, 1).unwrap(),
                session,
                seq,
            }),
            Step::Congested(congested) => Input::Congested(congested),
            Step::Stop(last) => {
                // A stop that comes too late decides nothing.
                self.stop_final |= last && !self.stopped;
                Input::Stop(if last { Stop::Final } else { Stop::Keep })
            }
            Step::Pass(ms, wall) => {
                self.now += Duration::from_millis(ms);
                let wall = wall.map(|seconds| {
                    let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
                    let seconds = Duration::from_secs(seconds.unsigned_abs());
                    if ms % 2 == 0 {
                        base + seconds
                    } else {
                        base - seconds
                    }
                });
                Input::Tick { wall }
            }
            Step::Deadline => {
                let Wait::Until(at) = self.machine.wait() else {
                    return None;
                };
                self.now = self.now.max(at);
                Input::Tick { wall: None }
            }
            Step::Onward => self.onward()?,
            Step::Again => {
                let again = format!(r#"{{"t":"X","s":{},"op":0,"d":1}}"#, self.last.1);
                self.received(0, Frame::Text(again.into()))?
            }
        })
    }

    fn received(&self, pick: u8, frame: Frame) -> Option<Input> {
        Some(Input::Received {
            conn: self.conn(pick)?,
            frame,
        })
    }

    /// Open, Hello, permission, READY or RESUMED, then events.
    fn onward(&mut self) -> Option<Input> {
        let Some(conn) = self.alive else {
            return match self.machine.wait() {
                Wait::Until(at) => {
                    self.now = self.now.max(at);
                    Some(Input::Tick { wall: None })
                }
                Wait::For(_) if self.conns.is_empty() => Some(Input::Start),
                _ => Some(Input::Congested(false)),
            };
        };
        self.progress = self.progress.saturating_add(1);
        let next = self.last.1.saturating_add(1);
        let text = match self.progress {
            1 => return Some(Input::Opened { conn }),
            2 => r#"{"op":10,"d":{"heartbeat_interval":1000}}"#.to_owned(),
            3 => return Some(Input::IdentifyGranted { conn }),
            4 => return Some(Input::Flushed { conn }),
            5 if self.machine.state().session_id.is_some() => {
                format!(r#"{{"t":"RESUMED","s":{next},"op":0,"d":null}}"#)
            }
            5 => {
                r#"{"t":"READY","s":1,"op":0,"d":{"session_id":"S","resume_gateway_url":"ws://r1.example"}}"#
                    .to_owned()
            }
            6 => r#"{"op":11}"#.to_owned(),
            _ => format!(r#"{{"t":"GUILD_CREATE","s":{next},"op":0,"d":{{}}}}"#),
        };
        if self.compression == Compression::Zlib {
            let bytes = self.server.payload(text);
            return Some(Input::Received {
                conn,
                frame: Frame::Binary(bytes.into()),
            });
        }
        Some(Input::Received {
            conn,
            frame: Frame::Text(text.into()),
        })
    }

    fn tell(&mut self, input: Input) {
        let ended = match &input {
            Input::Closed { conn, .. } | Input::Failed { conn, .. } => Some(*conn),
            _ => None,
        };
        if ended.is_some() && ended == self.alive {
            self.alive = None;
        }
        // Misuse follows from the caller's own calls alone.
        if let Err(misuse) = self.machine.handle(self.now, input.clone()) {
            let mine = matches!(input, Input::Start | Input::Acknowledged(_));
            assert!(mine, "{misuse:?} for {input:?}");
        }
        self.drain();
        // A deadline that has come is served in a few ticks, not for ever.
        for tick in 0.. {
            let Wait::Until(at) = self.machine.wait() else {
                break;
            };
            if at > self.now {
                break;
            }
            assert!(tick < 5, "a busy loop");
            self.machine
                .handle(self.now, Input::Tick { wall: None })
                .unwrap();
            self.drain();
        }
    }

    fn drain(&mut self) {
        let was_stopped = self.stopped;
        for count in 0.. {
            assert!(count < 200, "a drain without end");
            let action = self.machine.poll();
            let text = format!("{action:?}");
            let at_work = !was_stopped && !self.stopped;
            match action {
                Action::Wait(wait) => {
                    assert_eq!(self.stopped, wait == Wait::Stopped);
                    self.log.push(format!("{:?}", self.now - self.began));
                    break;
                }
                Action::Answer { answer, .. } => {
                    assert!(
                        at_work || matches!(answer, Answer::Refused(_)),
                        "{answer:?}"
                    );
                }
                Action::Connect { conn, .. } => {
                    assert!(at_work && self.alive.is_none(), "two connections");
                    assert!(self.conns.last() < Some(&conn));
                    self.conns.push(conn);
                    self.alive = Some(conn);
                    self.progress = 0;
                    self.server = ZlibServer::new();
                    self.sends.clear();
                }
                Action::Abort { conn } => {
                    assert!(at_work);
                    assert_eq!(self.alive.take(), Some(conn));
                }
                Action::Close { conn, code, .. } => {
                    assert!(at_work);
                    assert_eq!(self.alive, Some(conn));
                    assert!(code.get() == 4000 || (code.get() == 1000 && self.stop_final));
                }
                Action::Send { conn, text } => {
                    assert!(at_work);
                    assert_eq!(self.alive, Some(conn));
                    assert!(text.as_str().len() <= 4096);
                    self.sends.push(self.now);
                    let since = self.sends.iter().rev().nth(120);
                    let minute = Duration::from_secs(60);
                    assert!(
                        since.is_none_or(|at| self.now - *at >= minute),
                        "over the limit"
                    );
                }
                Action::Emit(Event::Dispatch(event)) => {
                    assert!(at_work);
                    let id = event.id();
                    // Without a session (0) there is no order, without a number no progress.
                    if id.session > 0 && event.name() != "UNNUMBERED" {
                        let now = (id.session, id.seq);
                        assert!(now > self.last, "{now:?} after {:?}", self.last);
                        self.last = now;
                    }
                }
                Action::Emit(Event::ShardStopped { .. }) => {
                    assert!(at_work, "stopped twice");
                    self.stopped = true;
                }
                _ => assert!(at_work, "{text} after the end"),
            }
            self.log.push(text);
        }
        assert!(self.machine.buffer_memory() < 256 * 1024);
    }
}

fn command(kind: u8) -> Command {
    match kind % 5 {
        0 => Command::status_update(StatusUpdate::dnd()),
        1 => {
            let activity = Activity::playing("x".repeat(3990));
            Command::status_update(StatusUpdate::online().activity(activity))
        }
        2 => Command::voice_state_update(VoiceStateUpdate {
            guild: GuildId::new(u64::from(kind)),
            channel: Some(ChannelId::new(1)),
            self_mute: false,
            self_deaf: false,
        }),
        3 => Command::request_guild_members(RequestGuildMembers::everyone(GuildId::new(1))),
        _ => Command::raw(r#"{"op":31,"d":1}"#),
    }
    .unwrap()
}

fn compressions() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Zlib),
        Just(Compression::Zstd),
        Just(Compression::Payload)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_a_shard(
        compression in compressions(),
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new(compression, seed, None);
        for step in steps {
            world.take(step);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_actions(
        compression in compressions(),
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut one = World::new(compression, seed, None);
        let mut two = World::new(compression, seed, Some(one.began));
        for step in steps {
            one.take(step.clone());
            two.take(step);
        }
        prop_assert_eq!(one.log, two.log);
    }

    /// Whatever has happened, a gateway that answers makes a shard live again, unless it has stopped.
    #[test]
    fn a_good_gateway_heals_everything(
        compression in prop_oneof![Just(Compression::None), Just(Compression::Zlib)],
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(compression, seed, None);
        for step in steps {
            world.take(step);
        }
        world.take(Step::Congested(false));
        // What is left of the old connection ends first.
        if let Some(conn) = world.alive {
            world.tell(Input::Closed { conn, code: None });
        }
        for _ in 0..60 {
            if world.machine.phase() == shardwright_core::Phase::Live {
                break;
            }
            world.take(Step::Onward);
        }
        let phase = world.machine.phase();
        prop_assert!(
            matches!(phase, shardwright_core::Phase::Live | shardwright_core::Phase::Stopped),
            "{:?}", phase
        );
    }
}
