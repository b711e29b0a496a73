//! Every rule is shown a history in which it is broken, and one beside it in which it is not.

use std::time::Duration;

use shardwright_core::{
    ConnId as ClientConn, DisconnectReason, Event, EventId, Next, SessionLoss, ShardId, ShardState,
    Stop, StopReason,
};

use super::{Evidence, check};
use crate::scenario::Listener;
use crate::server::{ConnId, LogEntry, Seen, ServerConfig, Violation};
use crate::world::{
    BotId, BotStory, DialFate, Life, LineStory, Sent, Span, Taken, TakenEvent, World,
};

const NONE: [u8; 0] = [];
const MAIN: &str = "ws://gateway.invalid/?v=10&encoding=json";
const RESUME: &str = "ws://gateway-resume.invalid/?v=10&encoding=json";

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

mod connections;
mod sessions;

/// A history written by hand.
struct Doctored {
    log: Vec<LogEntry>,
    lines: Vec<LineStory>,
    bots: Vec<BotStory>,
    config: ServerConfig,
    end: Duration,
    calm: Option<Duration>,
    wall_jumps: Vec<Duration>,
}

impl Doctored {
    /// Two hours in which a bot did nothing.
    fn new() -> Self {
        Self {
            log: Vec::new(),
            lines: Vec::new(),
            bots: vec![BotStory {
                mail_limit: 100,
                ..BotStory::default()
            }],
            config: ServerConfig::default(),
            end: s(7200),
            calm: None,
            wall_jumps: Vec::new(),
        }
    }

    fn log(&mut self, at: Duration, line: u64, what: Seen) {
        let conn = (line > 0).then_some(ConnId(line));
        self.log.push(LogEntry {
            at,
            conn,
            shard: None,
            what,
        });
    }

    fn dial(&mut self, at: Duration, url: &str) -> u64 {
        let id = self.lines.len() as u64 + 1;
        let conn = u32::try_from(id).unwrap();
        self.lines.push(LineStory::new(
            ConnId(id),
            BotId(0),
            ShardId::SINGLE,
            conn,
            url,
            at,
        ));
        id
    }

    /// A line that is open from `at` on, and was left again at once.
    fn open(&mut self, at: Duration, url: &str) -> u64 {
        let id = self.dial(at, url);
        let line = self.line(id);
        line.opened = Some(at);
        line.ended = Some(at);
        let listener = if url == MAIN {
            Listener::Main
        } else {
            Listener::Resume
        };
        let what = Seen::Upgrade {
            listener,
            target: String::new(),
            status: Some(101),
        };
        self.log(at, id, what);
        id
    }

    fn line(&mut self, id: u64) -> &mut LineStory {
        &mut self.lines[id as usize - 1]
    }

    fn bot(&mut self) -> &mut BotStory {
        self.bots.last_mut().unwrap()
    }

    fn identify(&mut self, at: Duration, line: u64, delay: Duration) {
        let sent = Sent {
            at: at - delay,
            arrived: Some(at),
            op: 2,
        };
        self.line(line).sent.push(sent);
        let what = Seen::Identify {
            bot: 0,
            bucket: 0,
            intents: 0,
            presence: false,
        };
        self.log(at, line, what);
    }

    /// READY at the server, and at the consumer.
    fn ready(&mut self, at: Duration, line: u64, session: &str) {
        self.log(
            at,
            line,
            Seen::Ready {
                session: session.to_owned(),
            },
        );
        self.take(
            at,
            Event::Ready {
                shard: ShardId::SINGLE,
                conn: conn(line),
                session: 1,
                session_id: session.to_owned(),
            },
        );
    }

    fn take(&mut self, at: Duration, event: Event<'static>) {
        self.took(at, TakenEvent::Notice(event));
    }

    /// Nothing is taken before what was taken before it, or before its process began.
    fn took(&mut self, at: Duration, event: TakenEvent) {
        let bot = self.bot();
        let last = bot.taken.last().map_or(bot.began, |taken| taken.at);
        let of_bot = matches!(event.notice(), Some(Event::Stopped { .. }));
        bot.taken.push(Taken {
            at: at.max(last),
            life: (!of_bot).then_some(0),
            event,
        });
    }

    fn give(&mut self, seq: u64) {
        let what = Seen::Given {
            session: "one".to_owned(),
            seq,
            digest: seq * 7,
        };
        self.log(s(seq), 1, what);
    }

    fn get(&mut self, seq: u64, digest: u64) {
        let id = EventId {
            shard: ShardId::SINGLE,
            session: 1,
            seq,
        };
        let event = TakenEvent::Dispatch {
            id,
            name: "X".to_owned(),
            digest,
            body: Vec::new(),
        };
        self.took(s(seq), event);
    }

    /// A session that was given five dispatches, of which the consumer took these.
    fn delivered(taken: &[u64]) -> Self {
        let mut it = Self::new();
        let line = it.open(s(0), MAIN);
        it.ready(s(0), line, "one");
        (1..=5).for_each(|seq| it.give(seq));
        taken.iter().for_each(|seq| it.get(*seq, seq * 7));
        it
    }

    /// Which rules are broken, each once.
    fn broken(&self) -> Vec<u8> {
        let evidence = Evidence {
            log: &self.log,
            lines: &self.lines,
            bots: self.bots.iter().collect(),
            config: &self.config,
            end: self.end,
            calm: self.calm,
            wall_jumps: &self.wall_jumps,
        };
        let mut rules: Vec<_> = check(&evidence).iter().map(|broken| broken.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// A client's number of a connection; only a machine makes them.
fn conn(number: u64) -> ClientConn {
    let find = |world: &World| {
        let taken = world.story(BotId(0)).taken.iter();
        let mut conns = taken.filter_map(|taken| match taken.event.notice() {
            Some(Event::Connecting { conn, .. }) => Some(*conn),
            _ => None,
        });
        conns.find(|conn| u64::from(conn.get()) == number)
    };
    let mut world = World::builder().build();
    world.dials(None, DialFate::Refused, s(3600));
    world.start_bot();
    world.run_until(|world| find(world).is_some()).unwrap();
    find(&world).unwrap()
}

fn stopped(states: Vec<ShardState>) -> Event<'static> {
    Event::Stopped {
        why: StopReason::Requested,
        states,
    }
}
