//! Worlds in which everything goes wrong at random, and rules that hold all the same.
//!
//! `WORLD_COUNT` sets how many worlds are played, `WORLD_SEED` the first seed, `WORLD_MINUTES` how long
//! each is stormy.

use std::time::Duration;

use shardwright_core::{
    Command, Compression, ReShardPolicy, ShardFilter, ShardId, ShardPlan, ShardState, Shards,
    StatusUpdate, Stop,
};
use shardwright_testkit::rng::Rng;
use shardwright_testkit::scenario::{
    Damage, Effect, Ending, Level, Listener, ListenerMode, Step, When,
};
use shardwright_testkit::server::Target;
use shardwright_testkit::world::{
    BotId, BotSpec, Consumer, DialFate, Gate, HostClock, Network, Overflow, Saved, Vanish, Way,
    World, WorldError,
};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn one_of<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.below(all.len() as u64) as usize]
}

fn up_to(rng: &mut Rng, seconds: u64) -> Duration {
    Duration::from_millis(rng.below(seconds * 1000))
}

/// A world, its running bot, and what a restart would begin with.
struct Storm {
    world: World,
    rng: Rng,
    bot: BotId,
    spec: BotSpec,
    streams: bool,
    kept: Vec<ShardState>,
    saved: Option<Saved>,
    /// Takes shards from the bot and gives them back.
    other: Option<BotId>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let tail = setting("WORLD_TAIL", 60) as usize;
        let shards = 1 + rng.below(4);
        let bandwidth = one_of(&mut rng, &[None, None, None, Some(20_000), Some(100_000)]);
        let network = Network {
            latency: Duration::from_millis(rng.below(120)),
            jitter: Duration::from_millis(one_of(&mut rng, &[0, 1, 40, 140, 2000])),
            bandwidth,
            dial: Duration::from_millis(rng.below(400)),
            ..Network::default()
        };
        let rate = one_of(&mut rng, &[0.0, 0.02, 0.1, 0.5]);
        let max_concurrency = one_of(&mut rng, &[1, 1, 2, 16]);
        let interval = Duration::from_millis(one_of(&mut rng, &[41_250, 41_250, 10_000]));
        let window = one_of(
            &mut rng,
            &[None, None, Some((40, Duration::from_secs(1200)))],
        );
        let replay = one_of(&mut rng, &[10_000, 10_000, 200]);
        let world = World::builder()
            .seed(rng.next_u64())
            .network(network)
            .keep_bodies(false)
            .transcript(Some(20 * tail.max(100)))
            .tail(tail)
            .configure(|server| {
                server.shards = shards;
                server.rate = rate;
                server.max_concurrency = max_concurrency;
                server.heartbeat_interval = interval;
                server.replay_events = replay;
                server.guilds_per_shard = 2;
                server.members_per_guild = 2;
                if let Some((total, window)) = window {
                    (server.total, server.remaining) = (total, total);
                    (server.window, server.reset_after) = (window, window);
                }
            })
            .build();
        let compression = one_of(
            &mut rng,
            &[
                Compression::Zlib,
                Compression::Zlib,
                Compression::Zstd,
                Compression::None,
                Compression::Payload,
            ],
        );
        let mut fleet = World::fleet_config();
        fleet.template.compression = compression;
        let mut spec = BotSpec::new(fleet);
        spec.mailbox_events = one_of(&mut rng, &[4096, 200, 20]);
        if rng.below(4) == 0 {
            spec.overflow = Overflow::DropNewest;
        }
        if rng.below(4) == 0 {
            spec.gate = Some(Gate {
                at_most: up_to(&mut rng, 30),
                fails_once_in: one_of(&mut rng, &[0, 2, 5]),
            });
        }
        spec.stores = rng.below(2) == 0;
        if rng.below(2) == 0 {
            spec.fleet.re_shard = ReShardPolicy::StartThenSwap;
        }
        let mut storm = Self {
            world,
            rng,
            bot: BotId(0),
            spec,
            streams: matches!(compression, Compression::Zlib | Compression::Zstd),
            kept: Vec::new(),
            saved: None,
            other: None,
        };
        storm.bot = storm.world.start(storm.spec.clone());
        storm
    }

    fn target(&mut self) -> Target {
        match self.rng.below(3) {
            0 => Target::All,
            _ => Target::Number(self.rng.below(4)),
        }
    }

    fn play(&mut self, effects: &[Effect]) {
        let target = self.target();
        self.world.play(&target, effects);
    }

    /// One thing goes wrong.
    fn fault(&mut self) -> Result<(), WorldError> {
        let bot = self.bot;
        let shard = self.rng.below(4) as u32;
        let rng = &mut self.rng;
        let way = one_of(rng, &[Way::ToServer, Way::ToClient, Way::Both]);
        let ending = one_of(rng, &[Ending::Fin, Ending::Rst, Ending::Stall]);
        match rng.below(46) {
            0 | 1 => self.play(&[Effect::Op7]),
            2 => self.play(&[Effect::Op9(true.into())]),
            3 => self.play(&[Effect::Op9(false.into())]),
            4 | 5 => {
                let codes = [
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
                let code = one_of(rng, &codes);
                self.play(&[Effect::Close(code)]);
            }
            6 => self.play(&[Effect::Fin]),
            7 => self.play(&[Effect::Events(3), Effect::Rst]),
            8 | 9 => {
                let after = rng.below(120) as usize;
                self.play(&[
                    Effect::Cut {
                        after,
                        then: ending,
                    },
                    Effect::Events(2),
                ]);
            }
            10 => {
                let time = one_of(
                    rng,
                    &[
                        None,
                        Some(Duration::from_secs(5)),
                        Some(Duration::from_secs(70)),
                    ],
                );
                self.world.stall(bot, shard, way, time);
            }
            11 => self.world.reset(bot, shard),
            12 => {
                let after = rng.below(3000);
                self.world.cut(bot, shard, way, after, ending);
            }
            13 => {
                let time = up_to(rng, 240);
                self.world.partition(time);
            }
            14 | 15 => {
                let fates = [
                    DialFate::Refused,
                    DialFate::Unreachable,
                    DialFate::Hangs,
                    DialFate::NoName,
                ];
                let fate = one_of(rng, &fates);
                let which = one_of(rng, &[None, Some(Listener::Main), Some(Listener::Resume)]);
                let time = up_to(rng, 400);
                self.world.dials(which, fate, time);
            }
            16 => {
                let clock = one_of(rng, &[HostClock::Stops, HostClock::Runs]);
                let time = up_to(rng, 300);
                self.world.sleep(bot, time, clock);
            }
            17 => {
                let (by, forward) = (up_to(rng, 4000), rng.below(2) == 0);
                self.world.step_wall(by, forward);
            }
            18 => self.crash()?,
            19 => self.hand_over()?,
            20..=22 => {
                let pause = Duration::from_millis(rng.below(3000));
                let consumer = one_of(
                    rng,
                    &[Consumer::Pauses, Consumer::Every(pause), Consumer::AtOnce],
                );
                self.world.set_consumer(bot, consumer);
                let time = up_to(rng, 300);
                self.world.run_for(time)?;
                // What waits is lost with its process, and must come again to the next.
                if self.rng.below(4) == 0 {
                    self.crash()?;
                }
                self.world.set_consumer(bot, Consumer::AtOnce);
            }
            23 => self.play(&[Effect::Invalidate, Effect::Fin]),
            24 => {
                let count = one_of(rng, &[None, Some(1), Some(2)]);
                self.play(&[Effect::WithholdAcks(count)]);
            }
            25 => self.play(&[Effect::Op1("absent".into()), Effect::Ping(4)]),
            26 => {
                let events = rng.below(60);
                let target = self.target();
                self.world.flood(&target, events);
            }
            27 => {
                let how = one_of(
                    rng,
                    &[Damage::BadUtf8, Damage::Unfinished, Damage::NoSuffix],
                );
                self.play(&[
                    Effect::Damage {
                        how,
                        seq: None,
                        count: None,
                    },
                    Effect::Events(2),
                ]);
            }
            28 => self.play(&[Effect::Repeat(3)]),
            29 => self.play(&[Effect::SkipSeq(2), Effect::Events(1)]),
            30 if self.streams => {
                let level = one_of(rng, &[Level::Messages, Level::Frames, Level::Writes]);
                let sizes = vec![1 + rng.below(40) as usize];
                let split = Effect::Split {
                    sizes,
                    level,
                    count: Some(3),
                };
                self.play(&[split, Effect::Events(3)]);
            }
            31 if self.spec.fleet.template.compression == Compression::Zlib => {
                self.play(&[Effect::Merge(3), Effect::Events(3)])
            }
            32 => {
                let which = one_of(rng, &[Listener::Main, Listener::Resume]);
                let mode = one_of(rng, &[ListenerMode::Closed, ListenerMode::Hang]);
                let ms = Some(rng.below(300_000));
                self.play(&[Effect::Listener { which, mode, ms }]);
            }
            33 => self.play(&[Effect::Silent, Effect::Wait(20_000), Effect::Recover]),
            34 => self.play(&[Effect::Deaf, Effect::Wait(30_000), Effect::Recover]),
            35 => self.play(&[Effect::Hang]),
            36 => {
                let when = one_of(rng, &[0, 1, 2, 3]);
                let when =
                    [When::Dialled, When::Opened, When::Identify, When::Resume][when].clone();
                let refuse = Effect::Refuse {
                    status: 503,
                    retry_after: Some(3),
                    location: None,
                };
                let effect = match rng.below(3) {
                    0 => Effect::Hang,
                    1 if matches!(when, When::Dialled) => refuse,
                    _ => Effect::WaitUpTo(30_000),
                };
                let times = 1 + rng.below(3) as u32;
                self.world.with_server(|server, _| {
                    server.add_step(Step::new(when, [effect]).times(times))
                });
                self.play(&[Effect::Fin]);
            }
            37 => {
                let status = StatusUpdate::online();
                if let Ok(command) = Command::status_update(status) {
                    for _ in 0..rng.below(8) {
                        self.world.command(bot, Shards::All, command.clone());
                    }
                }
            }
            38 => self.kept = self.world.states(bot),
            39 | 40 => self.lend()?,
            41 => self.world.fell(bot, shard),
            42 => self.re_shard()?,
            43 => {
                let width = one_of(rng, &[1, 2, 16]);
                self.world.with_server(|server, _| {
                    server.configure(|server| server.max_concurrency = width);
                });
                self.re_shard()?;
            }
            44 => {
                self.world.shard_states(bot, ShardFilter::all());
            }
            _ => {
                let target = self.target();
                self.world
                    .push_event(&target, "GUILD_MEMBER_ADD", r#"{"nick":"ü"}"#);
            }
        }
        Ok(())
    }

    fn crash(&mut self) -> Result<(), WorldError> {
        self.call_home()?;
        if self.rng.below(2) == 0 {
            self.kept = self.world.states(self.bot);
        }
        let how = one_of(&mut self.rng, &[Vanish::Process, Vanish::Host]);
        self.world.crash(self.bot, how);
        self.saved = self.world.saved(self.bot).cloned();
        let pause = up_to(&mut self.rng, 400);
        self.world.run_for(pause)?;
        self.restart();
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), WorldError> {
        self.call_home()?;
        self.world.stop(self.bot, Stop::Keep);
        self.world.set_consumer(self.bot, Consumer::AtOnce);
        let bot = self.bot;
        self.world.run_until(|world| world.ended(bot))?;
        if let Some(states) = self.world.last_states(bot) {
            self.kept = states.to_vec();
        }
        self.saved = self.world.saved(bot).cloned();
        self.restart();
        Ok(())
    }

    fn restart(&mut self) {
        let mut spec = self.spec.clone();
        spec.fleet.states = std::mem::take(&mut self.kept);
        let saved = self.saved.take();
        let total = saved
            .as_ref()
            .map_or(&spec.fleet.states, |saved| &saved.shards);
        // The layout may have changed since the configuration was written.
        if let Some(total) = total.iter().map(|state| state.shard.total()).max() {
            spec.fleet.plan = ShardPlan::Total(total);
        }
        self.bot = self.world.start_again(spec, saved);
    }

    /// Lets shards go from one bot and run in another.
    fn pass(&mut self, from: BotId, to: BotId, filter: ShardFilter) -> Result<(), WorldError> {
        let removed = self.world.remove_shards(from, filter);
        let patience = Duration::from_secs(1200);
        self.world
            .run_until_within(patience, |world| world.answered(from, removed).is_some())?;
        let states = self.world.answered(from, removed).map(<[_]>::to_vec);
        let pause = one_of(&mut self.rng, &[0, 0, 1, 90]);
        self.world.run_for(Duration::from_secs(pause))?;
        let added = self.world.add_shards(to, states.unwrap_or_default());
        assert!(self.world.done(to, added).is_some());
        Ok(())
    }

    /// Some shards run in another bot for a while, or come back from it.
    fn lend(&mut self) -> Result<(), WorldError> {
        if self.other.is_some() {
            return self.call_home();
        }
        let here: Vec<ShardId> = self.world.present(self.bot).collect();
        let some: Vec<ShardId> = here
            .into_iter()
            .filter(|_| self.rng.below(2) == 0)
            .collect();
        let mut spec = self.spec.clone();
        spec.stores = false;
        spec.fleet.plan = ShardPlan::Exactly(Vec::new());
        let other = self.world.start(spec);
        self.other = Some(other);
        self.known(other)?;
        self.known(self.bot)?;
        self.pass(self.bot, other, ShardFilter::none().or_shards(some))
    }

    fn call_home(&mut self) -> Result<(), WorldError> {
        let Some(other) = self.other.take() else {
            return Ok(());
        };
        self.known(self.bot)?;
        self.pass(other, self.bot, ShardFilter::all())?;
        self.world.stop(other, Stop::Keep);
        self.world.run_until(|world| world.ended(other))
    }

    /// Waits until a bot knows the gateway's address.
    fn known(&mut self, bot: BotId) -> Result<(), WorldError> {
        self.world.run_until(|world| world.is_planned(bot))
    }

    fn re_shard(&mut self) -> Result<(), WorldError> {
        self.call_home()?;
        let to = 1 + self.rng.below(5) as u32;
        self.world.re_shard(self.bot, Some(to));
        Ok(())
    }

    fn run(&mut self, stormy: Duration) -> Result<(), WorldError> {
        let end = self.world.time() + stormy;
        while self.world.time() < end {
            let pause = self.rng.around(Duration::from_secs(45));
            self.world.run_for(pause)?;
            self.fault()?;
        }
        self.call_home()?;
        self.world.check()?;
        self.world.calm();
        let bot = self.bot;
        let longest = Duration::from_secs(35 * 60);
        self.world
            .run_until_within(longest, |world| world.all_live(bot))?;
        self.world.run_for(Duration::from_secs(180))?;
        self.world.check()?;
        let how = one_of(&mut self.rng, &[Stop::Keep, Stop::Final]);
        self.world.stop(bot, how);
        self.world.run_for(Duration::from_secs(60))?;
        assert!(self.world.ended(bot));
        self.world.check()
    }
}

#[test]
fn the_rules_hold_in_any_weather() {
    let first = setting("WORLD_SEED", 1);
    let count = setting("WORLD_COUNT", 100);
    let stormy = Duration::from_secs(60 * setting("WORLD_MINUTES", 20));
    let mut failed = Vec::new();
    for seed in first..first + count {
        let mut storm = Storm::new(seed);
        if let Err(error) = storm.run(stormy) {
            let text = error.to_string();
            println!("WORLD_SEED={seed} WORLD_COUNT=1: {text}\n");
            failed.push((seed, text.lines().take(3).collect::<Vec<_>>().join("\n")));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {count} worlds: {failed:#?}",
        failed.len()
    );
}
