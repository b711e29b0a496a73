//! What goes wrong: with lines, hosts, dials, clocks and processes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shardwright_core::Phase;

use super::network::{DialFate, DialRule, Network, Way};
use super::queue::Due;
use super::story::Span;
use super::{BotId, World};
use crate::scenario::{Effect, Ending, Listener, ListenerMode};
use crate::server::{ConnId, Target};

/// What a host's monotonic clock does while it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum HostClock {
    /// It stands still, as when a machine is suspended; only the wall clock shows it.
    Stops,
    /// It goes on, as when a process is stopped.
    Runs,
}

/// How a process vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Vanish {
    /// It is killed: its host ends its lines, without a close frame.
    Process,
    /// Its host loses power: its lines fall silent.
    Host,
}

impl World {
    /// The line a shard has or dials.
    #[must_use]
    pub fn line(&self, bot: BotId, shard: u32) -> Option<ConnId> {
        let bot = &self.bots[bot.0];
        bot.shards[bot.index(shard)?].line
    }

    /// Nothing passes on a shard's line, one way or both, from now on; for so long, or without end.
    pub fn stall(&mut self, bot: BotId, shard: u32, way: Way, time: Option<Duration>) {
        let Some(id) = self.line(bot, shard) else {
            return;
        };
        self.note(|| format!("line {}: stalls {way:?} for {time:?}", id.0));
        let until = time.map(|time| self.now + time);
        if let Some(line) = self.lines.get_mut(&id) {
            for (pipe, affected) in [(&mut line.up, way.up()), (&mut line.down, way.down())] {
                if affected {
                    pipe.stalled |= until.is_none();
                    pipe.stalled_until = pipe.stalled_until.max(until);
                }
            }
        }
        if let Some(until) = until {
            self.queue.put(until, Due::Release(id));
        }
    }

    /// What stalled goes on; nothing was lost.
    pub fn recover(&mut self, bot: BotId, shard: u32) {
        let Some(id) = self.line(bot, shard) else {
            return;
        };
        self.recover_line(id);
    }

    fn recover_line(&mut self, id: ConnId) {
        if let Some(line) = self.lines.get_mut(&id) {
            for pipe in [&mut line.up, &mut line.down] {
                pipe.stalled = false;
                pipe.stalled_until = None;
            }
            self.release(id);
        }
    }

    /// Something on the way resets a shard's line: what is under way is lost, both ends are told.
    pub fn reset(&mut self, bot: BotId, shard: u32) {
        let Some(id) = self.line(bot, shard) else {
            return;
        };
        self.note(|| format!("line {}: reset on the way", id.0));
        let latency = u64::try_from(self.network.latency.as_nanos()).unwrap_or(u64::MAX);
        let after = Duration::from_nanos(self.rng.below(latency));
        self.ends_both(id, self.now + after, Ending::Rst);
    }

    /// A shard's line breaks once so many more bytes have passed one way; the message they end in does not
    /// arrive.
    pub fn cut(&mut self, bot: BotId, shard: u32, way: Way, after: u64, ending: Ending) {
        let Some(id) = self.line(bot, shard) else {
            return;
        };
        self.note(|| {
            format!(
                "line {}: is cut {after} bytes later, {way:?} {ending:?}",
                id.0
            )
        });
        if let Some(line) = self.lines.get_mut(&id) {
            for (pipe, affected) in [(&mut line.up, way.up()), (&mut line.down, way.down())] {
                if affected {
                    pipe.cut = Some((pipe.position + after, ending));
                }
            }
        }
    }

    /// Nothing reaches anybody for so long. What is on the way then arrives late.
    pub fn partition(&mut self, time: Duration) {
        self.note(|| format!("no network for {time:?}"));
        let until = self.now + time;
        self.partition = self.partition.max(Some(until));
        for (id, line) in &mut self.lines {
            for pipe in [&mut line.up, &mut line.down] {
                pipe.stalled_until = pipe.stalled_until.max(Some(until));
            }
            self.queue.put(until, Due::Release(*id));
        }
    }

    /// What dials meet for so long: those to one address, or all.
    pub fn dials(&mut self, listener: Option<Listener>, fate: DialFate, time: Duration) {
        self.note(|| format!("dials to {listener:?}: {fate:?} for {time:?}"));
        let until = self.now + time;
        self.dial_rules.push(DialRule {
            listener,
            fate,
            until,
        });
    }

    /// REST requests find nobody for so long.
    pub fn no_rest(&mut self, time: Duration) {
        self.note(|| format!("no REST for {time:?}"));
        self.rest_down = Some(self.now + time);
    }

    /// A bot's host sleeps: its machines hear nothing for so long, and everything at once then.
    pub fn sleep(&mut self, bot: BotId, time: Duration, clock: HostClock) {
        self.note(|| {
            format!(
                "bot {}: its host sleeps for {time:?}, its clock {clock:?}",
                bot.0
            )
        });
        let (now, from) = (self.now, self.time());
        let it = &mut self.bots[bot.0];
        if it.sleeps_until(now).is_some() {
            return;
        }
        it.asleep_until = Some(now + time);
        it.story.slept.push(Span {
            from,
            to: Some(from + time),
        });
        if clock == HostClock::Stops {
            it.behind += time;
        }
    }

    /// Everybody's wall clock jumps, forward or back.
    pub fn step_wall(&mut self, by: Duration, forward: bool) {
        self.note(|| format!("the wall clock jumps by {by:?}, forward: {forward}"));
        if forward {
            self.wall += by;
            self.wall_jumps.push(self.time());
        } else {
            self.wall -= by;
        }
    }

    /// A bot's process vanishes without a word. Nothing more happens in it.
    pub fn crash(&mut self, bot: BotId, how: Vanish) {
        self.note(|| format!("bot {}: vanishes: {how:?}", bot.0));
        let at = self.time();
        for index in 0..self.bots[bot.0].shards.len() {
            let line = self.bots[bot.0].shards[index].line;
            if how == Vanish::Host
                && let Some(line) = line.and_then(|id| self.lines.get_mut(&id))
            {
                line.up.shut = true;
            }
            self.client_leaves(bot, index);
        }
        let it = &mut self.bots[bot.0];
        it.gone = true;
        it.live = 0;
        it.story.crashed.get_or_insert(at);
    }

    /// What the network is like from now on.
    pub fn set_network(&mut self, network: Network) {
        self.note(|| format!("{network:?}"));
        self.network = network;
    }

    /// What the network is like.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// From now on nothing is wrong: lines that stall go on and are not cut any more, listeners are open, consumers take events at
    /// once. Hosts that sleep wake up in their own time. A run that goes on long enough shows whether everybody recovers.
    pub fn calm(&mut self) {
        self.note(|| "calm".to_owned());
        self.dial_rules.clear();
        self.partition = None;
        self.rest_down = None;
        for which in [Listener::Main, Listener::Resume] {
            let mode = ListenerMode::Open;
            self.play(
                &Target::All,
                &[Effect::Listener {
                    which,
                    mode,
                    ms: None,
                }],
            );
        }
        let ids: Vec<_> = self.lines.keys().copied().collect();
        for id in ids {
            if let Some(line) = self.lines.get_mut(&id) {
                (line.up.cut, line.down.cut) = (None, None);
            }
            self.recover_line(id);
        }
        for bot in 0..self.bots.len() {
            self.set_consumer(BotId(bot), super::Consumer::AtOnce);
        }
        let awake = self.bots.iter().filter_map(|bot| bot.asleep_until).max();
        self.calm = Some(awake.unwrap_or(self.now).max(self.now) - self.base);
    }

    /// How many of a bot's shards are in this phase.
    #[must_use]
    pub fn in_phase(&self, bot: BotId, phase: Phase) -> usize {
        let shards = &self.bots[bot.0].shards;
        shards
            .iter()
            .filter(|slot| !slot.fallen && slot.machine.phase() == phase)
            .count()
    }
}
