//! Draws single faults.

use serde_json::json;

use super::draw::Dice;
use super::setup::BIG;
use super::{Fault, On};
use crate::scenario::{
    Damage, Effect, Ending, Level, Listener, ListenerMode, RestFault, Step, When,
};
use crate::world::{DialFate, HostClock, Vanish, Way};

/// Close codes that end neither the bot nor a shard.
const CODES: [Option<u16>; 13] = [
    None,
    Some(1000),
    Some(1001),
    Some(4000),
    Some(4001),
    Some(4002),
    Some(4003),
    Some(4005),
    Some(4006),
    Some(4007),
    Some(4008),
    Some(4009),
    Some(4200),
];

impl Dice {
    fn way(&mut self) -> Way {
        self.one_of(&[Way::ToServer, Way::ToClient, Way::Both])
    }

    fn ending(&mut self) -> Ending {
        self.one_of(&[Ending::Fin, Ending::Rst, Ending::Stall])
    }

    fn coin(&mut self) -> bool {
        self.rng.below(2) == 0
    }

    fn vanish(&mut self) -> Vanish {
        self.one_of(&[Vanish::Process, Vanish::Host])
    }

    /// What happens to one shard.
    pub(super) fn of_shard(&mut self) -> Fault {
        let shard = self.shard();
        let on = On::Shard(shard);
        match self.rng.below(24) {
            0..=10 => Fault::Play {
                on,
                effects: self.effects(),
            },
            11 => Fault::Stall {
                shard,
                way: self.way(),
                lasts: self.one_of(&[None, Some(5_000), Some(20_000), Some(70_000)]),
            },
            12 => Fault::Reset { shard },
            13 | 14 => Fault::Cut {
                shard,
                way: self.way(),
                after: self.rng.below(3000),
                then: self.ending(),
            },
            15 => self.step(on),
            16 => Fault::Backlog {
                on,
                events: self.rng.below(40),
            },
            17 => Fault::Flood {
                on,
                events: self.rng.below(60),
            },
            18 | 19 => Fault::LateClose {
                shard,
                late: self.up_to(20),
                code: self.one_of(&[1000, 4000, 4006, 4009]),
            },
            20 => Fault::Fell { shard },
            _ => Fault::Play {
                on,
                effects: self.more_effects(),
            },
        }
    }

    /// What the server does on a connection; the usual things more often.
    fn effects(&mut self) -> Vec<Effect> {
        match self.rng.below(12) {
            0 | 1 => vec![Effect::Op7],
            2 => vec![Effect::Op9(true.into())],
            3 => vec![Effect::Op9(self.one_of(&[
                json!(false),
                json!(false),
                json!(null),
                json!("absent"),
            ]))],
            4 | 5 => vec![Effect::Close(self.one_of(&CODES))],
            6 => vec![Effect::Fin],
            7 => vec![Effect::Events(3), Effect::Rst],
            8 | 9 => {
                let (after, then) = (self.rng.below(120) as usize, self.ending());
                vec![Effect::Cut { after, then }, Effect::Events(2)]
            }
            10 => vec![Effect::Invalidate, Effect::Fin],
            _ => vec![Effect::WithholdAcks(self.one_of(&[None, Some(1), Some(2)]))],
        }
    }

    fn more_effects(&mut self) -> Vec<Effect> {
        match self.rng.below(13) {
            0 => vec![Effect::Op1("absent".into()), Effect::Ping(4)],
            1 => {
                let kinds = [Damage::BadUtf8, Damage::Unfinished, Damage::NoSuffix];
                let damage = Effect::Damage {
                    how: self.one_of(&kinds),
                    seq: None,
                    count: None,
                };
                vec![damage, Effect::Events(2)]
            }
            2 => vec![Effect::Repeat(3)],
            3 => vec![Effect::SkipSeq(2), Effect::Events(1)],
            4 if self.streams => {
                let split = Effect::Split {
                    sizes: vec![1 + self.rng.below(40) as usize],
                    level: self.one_of(&[Level::Messages, Level::Frames, Level::Writes]),
                    count: Some(3),
                };
                vec![split, Effect::Events(3)]
            }
            5 if self.zlib => vec![Effect::Merge(3), Effect::Events(3)],
            6 => vec![Effect::Silent, Effect::Wait(20_000), Effect::Recover],
            7 => vec![Effect::Deaf, Effect::Wait(30_000), Effect::Recover],
            8 => vec![Effect::Hang],
            9 => vec![Effect::Ack(2)],
            // READY's own number: it must be taken for an old one.
            10 => vec![Effect::Dispatch {
                t: "MESSAGE_CREATE".to_owned(),
                d: json!({"content": "again?"}),
                s: Some(json!(1)),
            }],
            11 => vec![Effect::Text(r#"{"op":99,"d":null}"#.to_owned())],
            _ => vec![Effect::Dispatch {
                t: "A_NAME_OF_TOMORROW".to_owned(),
                d: json!({"nick": "ü"}),
                s: None,
            }],
        }
    }

    /// The next connections meet something: no answer, a slow one, a refusal, an absurd Hello.
    fn step(&mut self, on: On) -> Fault {
        let moments = [When::Dialled, When::Opened, When::Identify, When::Resume];
        let when = self.one_of(&moments);
        let effect = match self.rng.below(3) {
            _ if when == When::Opened && self.coin() => Effect::Hello(self.one_of(&[
                json!(0),
                json!(1),
                json!(40),
                json!(-41_250),
                json!(0.5),
                json!(1e15),
                json!(null),
                json!("41250"),
            ])),
            0 => Effect::Hang,
            1 if when == When::Dialled => Effect::Refuse {
                status: self.one_of(&[429, 500, 503]),
                retry_after: Some(3),
                location: None,
            },
            _ => Effect::WaitUpTo(30_000),
        };
        let instead = matches!(effect, Effect::Hello(_));
        let times = 1 + self.rng.below(3) as u32;
        let mut step = Step::new(when, [effect]).times(times);
        step.instead = instead;
        Fault::Step {
            step,
            then_fin: Some(on),
        }
    }

    /// What happens to the bot as a whole.
    pub(super) fn of_bot(&mut self) -> Fault {
        match self.rng.below(37) {
            0 => Fault::Play {
                on: On::All,
                effects: self.effects(),
            },
            1 => Fault::Play {
                on: On::All,
                effects: self.more_effects(),
            },
            2 => Fault::Partition {
                lasts: self.up_to(240),
            },
            3 | 4 => {
                let fates = [
                    DialFate::Refused,
                    DialFate::Unreachable,
                    DialFate::Hangs,
                    DialFate::NoName,
                ];
                Fault::Dials {
                    to: self.one_of(&[None, Some(Listener::Main), Some(Listener::Resume)]),
                    fate: self.one_of(&fates),
                    lasts: self.up_to(400),
                }
            }
            5 => Fault::NoRest {
                lasts: self.up_to(300),
            },
            6 | 7 => Fault::Slow {
                latency: self.rng.below(800),
                jitter: self.one_of(&[0, 300, 3000]),
                lasts: self.up_to(300),
            },
            8 | 9 => Fault::Sleep {
                clock: self.one_of(&[HostClock::Stops, HostClock::Runs]),
                lasts: self.up_to(300),
            },
            10 => Fault::StepWall {
                by: self.up_to(4000),
                forward: self.coin(),
            },
            11..=14 => self.consumer(),
            15 => Fault::HandOver,
            16 | 17 => Fault::Crash {
                how: self.vanish(),
                down: self.up_to(400),
                stored: self.coin(),
            },
            18 => Fault::Play {
                on: On::All,
                effects: vec![Effect::Listener {
                    which: self.one_of(&[Listener::Main, Listener::Resume]),
                    mode: self.one_of(&[ListenerMode::Closed, ListenerMode::Hang]),
                    ms: Some(self.rng.below(300_000)),
                }],
            },
            19 => self.rest(),
            20..=22 => self.lend(),
            23 | 24 => Fault::ReShard { to: self.total() },
            25 => {
                let widths: &[u64] = if self.shards > BIG {
                    &[16, 32, 64]
                } else {
                    &[1, 2, 16]
                };
                Fault::Width {
                    max_concurrency: self.one_of(widths),
                    to: self.total(),
                }
            }
            26 => Fault::AskStates,
            27 | 28 => Fault::StoreStates,
            29 => Fault::Presence {
                times: self.rng.below(8) as u32,
            },
            30 => Fault::RollingRestart {
                hosts: 1 + self.rng.below(8) as u32,
                every: self.up_to(60),
                down: self.up_to(60),
            },
            31 if self.rng.below(8) == 0 => Fault::Outage { lasts: 600_000 },
            32 => Fault::Backlog {
                on: On::All,
                events: self.rng.below(40),
            },
            33 => Fault::Fatal {
                shard: self.shard(),
                code: self.one_of(&[4004, 4010, 4011, 4012, 4013, 4014]),
                down: 1000 + self.up_to(200),
            },
            34 => Fault::Play {
                on: On::All,
                effects: vec![Effect::InvalidateAll],
            },
            35 => Fault::ResumeUrl {
                url: self.one_of(&[
                    json!("ws://gone.invalid"),
                    json!("ws://gone.invalid"),
                    json!("not an address"),
                    json!("http://gateway.invalid"),
                    json!(""),
                    json!(null),
                    json!("absent"),
                ]),
                lasts: self.up_to(600),
            },
            _ => self.step(On::All),
        }
    }

    fn consumer(&mut self) -> Fault {
        Fault::Consumer {
            every: match self.rng.below(3) {
                0 => None,
                _ => Some(self.rng.below(3000)),
            },
            lasts: self.up_to(300),
            then_crash: (self.rng.below(4) == 0).then(|| self.vanish()),
        }
    }

    fn rest(&mut self) -> Fault {
        let fault = RestFault {
            status: self.one_of(&[None, Some(429), Some(500), Some(502)]),
            retry_after: Some(2.0),
            html: self.rng.below(4) == 0,
            hang: self.rng.below(4) == 0,
            times: Some(1 + self.rng.below(3) as u32),
            ..RestFault::default()
        };
        Fault::Play {
            on: On::All,
            effects: vec![Effect::Rest(fault)],
        }
    }

    fn lend(&mut self) -> Fault {
        // Every second shard of a small bot, a few of a big one's.
        let most = self.shards + u32::from(self.shards <= BIG);
        let one_in = u64::from(self.shards / BIG + 2);
        Fault::Lend {
            shards: (0..most).filter(|_| self.rng.below(one_in) == 0).collect(),
            pause: self.one_of(&[0, 0, 1000, 90_000]),
        }
    }

    fn total(&mut self) -> u32 {
        if self.shards > BIG {
            let some = self.shards / 16;
            return self.shards - some + self.rng.below(u64::from(2 * some + 1)) as u32;
        }
        1 + self.rng.below(u64::from(self.shards + 2)) as u32
    }
}
