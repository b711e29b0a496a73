//! Drives the machines of the bots: carries out what they say, tells them what happened, lets the
//! consumers take what came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shardwright_core::trace::{RecordedFleet, RecordedShard, TraceSink};
use shardwright_core::{
    CommandId, ConnId, Event, EventId, FleetAction, FleetConfig, FleetInput, Input, Overlap, Phase,
    ShardId, ShardReport, Token, Wait,
};

use super::gate::{Gate, Gatekeeper};
use super::mailbox::{Mailboxes, Overflow};
use super::queue::Due;
use super::saving::{OWN, Saver};
use super::story::{BotStory, Taken, TakenEvent};
use super::transcript::Mark;
use super::{BotId, World};
use crate::server::ConnId as LineId;

/// How a consumer takes events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Consumer {
    /// Each as soon as it is there.
    #[default]
    AtOnce,
    /// One, then the next so much later.
    Every(Duration),
    /// None, until it is told otherwise.
    Pauses,
}

/// A bot to start.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct BotSpec {
    /// Its fleet.
    pub fleet: FleetConfig,
    /// How its consumer takes events.
    pub consumer: Consumer,
    /// What a full mailbox means.
    pub overflow: Overflow,
    /// How many events wait for the consumer, a shard: 4,096.
    pub mailbox_events: usize,
    /// How many bytes of them: 16 MiB.
    pub mailbox_bytes: usize,
    /// The gate of its own that turns to identify wait at.
    pub gate: Option<Gate>,
    /// Whether it stores its run while it goes on, for [`World::start_again`].
    pub stores: bool,
    /// Whether its machines are recorded, for [`World::trace`].
    pub record: bool,
}

impl BotSpec {
    /// The defaults, for a bot of this configuration.
    #[must_use]
    pub fn new(fleet: FleetConfig) -> Self {
        Self {
            fleet,
            consumer: Consumer::AtOnce,
            overflow: Overflow::Pause,
            mailbox_events: 4096,
            mailbox_bytes: 16 << 20,
            gate: None,
            stores: false,
            record: false,
        }
    }
}

/// Keeps the lines of a trace.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<u8>>);

impl TraceSink for Lines {
    fn line(&self, line: &[u8]) {
        let lines = self.0.lock();
        lines
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(line);
    }
}

impl Lines {
    pub(super) fn text(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[derive(Debug)]
pub(super) struct ShardSlot {
    pub(super) id: ShardId,
    pub(super) machine: RecordedShard,
    /// The line it dials or has.
    pub(super) line: Option<LineId>,
    /// When it wants to be woken, by its host's clock.
    pub(super) wake_at: Option<Instant>,
    /// The earliest wake-up on its way, by the world's.
    pub(super) coming: Option<Instant>,
    pub(super) congested: bool,
    pub(super) acknowledged: Option<EventId>,
    pub(super) stopped: bool,
    /// What drove it is gone.
    pub(super) fallen: bool,
    /// When it read the latest messages, as long as it is not heard.
    pub(super) lately: VecDeque<Instant>,
}

impl ShardSlot {
    /// It reads a message, and is not heard.
    pub(super) fn reads_unheard(&mut self, now: Instant) {
        self.lately.push_back(now);
        let old = |at: &Instant| now.saturating_duration_since(*at) > Overlap::WINDOW;
        while self.lately.front().is_some_and(old) {
            self.lately.pop_front();
        }
    }

    pub(super) fn is_live(&self) -> bool {
        !self.fallen && self.machine.phase() == Phase::Live
    }
}

#[derive(Debug)]
pub(super) struct Bot {
    pub(super) token: Token,
    pub(super) fleet: RecordedFleet,
    pub(super) trace: Option<Arc<Lines>>,
    fleet_wake: Option<Instant>,
    fleet_coming: Option<Instant>,
    fleet_stopped: bool,
    /// One for each life of a shard, in the order of their beginnings.
    pub(super) shards: Vec<ShardSlot>,
    /// The latest life of each.
    pub(super) by_id: BTreeMap<ShardId, usize>,
    /// The shards that are to run here.
    pub(super) present: BTreeSet<ShardId>,
    gatekeeper: Gatekeeper,
    pub(super) saver: Option<Saver>,
    pub(super) mail: Mailboxes,
    pub(super) consumer: Consumer,
    /// A `Take` is on its way.
    taking: bool,
    /// How many shards are live.
    pub(super) live: usize,
    /// How many wait for room.
    pub(super) paused: usize,
    /// How far its host's clock is behind the world's.
    pub(super) behind: Duration,
    pub(super) asleep_until: Option<Instant>,
    pub(super) gone: bool,
    pub(super) next_command: u64,
    pub(super) story: BotStory,
}

impl Bot {
    pub(super) fn new(spec: BotSpec, seed: u64, now: Instant, began: Duration) -> Self {
        let mut spec = spec;
        spec.fleet.gated |= spec.gate.is_some();
        let trace = spec.record.then(Arc::<Lines>::default);
        let record = trace
            .clone()
            .map(|lines| (lines as Arc<dyn TraceSink>, None));
        let mail = Mailboxes::new(spec.mailbox_events, spec.mailbox_bytes, spec.overflow);
        Self {
            token: spec.fleet.token.clone(),
            story: BotStory {
                began,
                gated: spec.fleet.gated,
                mail_limit: spec.mailbox_events,
                overflow: spec.overflow,
                filtered: !spec.fleet.template.filter.is_all(),
                stays_on_host: spec.fleet.template.stay_on_host,
                limits: spec.fleet.template.limits.clone(),
                ..BotStory::default()
            },
            gatekeeper: Gatekeeper::new(spec.gate),
            saver: spec
                .stores
                .then(|| Saver::new(spec.fleet.states.clone(), now)),
            fleet: RecordedFleet::new(spec.fleet, seed, now, record),
            trace,
            fleet_wake: None,
            fleet_coming: None,
            fleet_stopped: false,
            shards: Vec::new(),
            by_id: BTreeMap::new(),
            present: BTreeSet::new(),
            mail,
            consumer: spec.consumer,
            taking: false,
            live: 0,
            paused: 0,
            behind: Duration::ZERO,
            asleep_until: None,
            gone: false,
            next_command: 0,
        }
    }

    /// Whether all shards that are to run here are live.
    pub(super) fn all_live(&self) -> bool {
        let live = |id| {
            self.by_id
                .get(id)
                .is_some_and(|index| self.shards[*index].is_live())
        };
        self.live > 0 && self.live >= self.present.len() && self.present.iter().all(live)
    }

    /// The shard with this number: of the bot's own layout, or of another that is here.
    pub(super) fn shard(&self, number: u32) -> Option<ShardId> {
        let total = self.fleet.total().unwrap_or(0);
        let own = ShardId::new(number, total).ok();
        let mut others = self.by_id.keys().rev().filter(|id| id.number() == number);
        own.filter(|id| self.by_id.contains_key(id))
            .or_else(|| others.next().copied())
    }

    /// The latest life of the shard with this number.
    pub(super) fn index(&self, number: u32) -> Option<usize> {
        self.by_id.get(&self.shard(number)?).copied()
    }

    /// Looks up which shards are to run here. Those that are not any more have been let go.
    fn know_the_present(&mut self, at: Duration) {
        let states = self.fleet.states();
        self.present = states.into_iter().map(|state| state.shard).collect();
        for (id, index) in &self.by_id {
            let life = &mut self.story.lives[*index];
            if !self.present.contains(id) && (!life.muted || life.heard.is_some()) {
                life.let_go.get_or_insert(at);
            }
        }
    }

    pub(super) fn clock(&self, now: Instant) -> Instant {
        now - self.behind
    }

    pub(super) fn sleeps_until(&self, now: Instant) -> Option<Instant> {
        self.asleep_until.filter(|until| *until > now)
    }

    pub(super) fn leak(&mut self, text: &str, place: &str) {
        if text.contains(self.token.expose()) {
            self.story.leaks.push(place.to_owned());
        }
    }
}

impl World {
    pub(super) fn fleet_input(&mut self, bot: BotId, input: FleetInput) {
        let (now, at) = (self.now, self.time());
        let Some(it) = self.bots.get_mut(bot.0).filter(|it| !it.gone) else {
            return;
        };
        if let Some(until) = it.sleeps_until(now) {
            // Whoever asks on a host that sleeps is asleep too.
            return self.queue.put(until, Due::Asked(bot, Box::new(input)));
        }
        let mut has_ended = it.fleet_stopped;
        let matters = Saver::cares_for(&input);
        // An end may make way for others.
        let mut changed = it.story.stop.is_none() && is_an_end(&input);
        if let Err(misuse) = it.fleet.handle(it.clock(now), input) {
            it.story.misuse.push(format!("fleet: {misuse}"));
        }
        loop {
            let it = &mut self.bots[bot.0];
            let action = it.fleet.poll();
            if has_ended && !is_an_answer(&action) {
                it.story.after_stop.push(format!("fleet: {action:?}"));
            }
            match action {
                FleetAction::Fetch(request) => self.ask_rest(bot, request),
                FleetAction::StartShard(start) => {
                    changed |= !start.muted && !it.present.contains(&start.config.shard);
                    let tape = it.fleet.tape();
                    self.add_shard(bot, *start, tape);
                }
                FleetAction::Tell { shard, message } => {
                    if let Some(index) = it.by_id.get(&shard) {
                        self.queue.put(now, Due::Tell(bot, *index, message));
                    }
                }
                FleetAction::Answer { id, answer } => it.story.answers.push((id, answer)),
                FleetAction::Done { id, result } => {
                    changed = true;
                    self.note(|| format!("bot {}: {id:?} {result:?}", bot.0));
                    self.bots[bot.0].story.done.insert(id, (at, result));
                }
                FleetAction::States { id: OWN, states } => self.save(bot, states),
                FleetAction::States { id, states } => {
                    changed = true;
                    it.story.states.insert(id, (at, states));
                }
                FleetAction::AskGate(request) => {
                    it.story.gate_asked += 1;
                    let answer = it.gatekeeper.ask(&request, &mut self.rng);
                    let due = Due::GateAnswers(bot, request.shard, request.conn, answer.serial);
                    self.queue.put(now + answer.after, due);
                }
                FleetAction::LeaveGate { shard, conn } => it.gatekeeper.leave(shard, conn),
                FleetAction::PrepareSwap => it.mail.prepare_swap(),
                FleetAction::AbandonSwap => it.mail.abandon_swap(),
                FleetAction::Swap => {
                    changed = true;
                    it.mail.swap(now);
                    it.story.swapped.push(at);
                    it.story.most_mail = it.mail.most();
                    for (life, slot) in it.story.lives.iter_mut().zip(&mut it.shards) {
                        if life.muted && life.heard.is_none() {
                            life.heard = Some(at);
                            let lately = std::mem::take(&mut slot.lately).into_iter();
                            let recent = |read: &Instant| {
                                now.saturating_duration_since(*read) <= Overlap::WINDOW
                            };
                            life.heard_lately = lately.filter(recent).count();
                        }
                    }
                    self.note(|| format!("bot {}: swap", bot.0));
                    self.rouse_consumer(bot);
                }
                FleetAction::Emit(event) => {
                    changed |= matches!(event, Event::Starting { .. });
                    let shown = format!("{event:?}");
                    it.leak(&shown, "an event of the bot");
                    if let Event::Stopped { why, states } = &event {
                        has_ended = true;
                        let (why, states) = (why.clone(), states.clone());
                        self.save_the_end(bot, states, &why);
                    }
                    self.bots[bot.0].mail.put_of_bot(event);
                    self.note(|| format!("bot {}: {shown}", bot.0));
                    self.rouse_consumer(bot);
                }
                FleetAction::Wait(wait) => {
                    it.fleet_stopped = wait == Wait::Stopped;
                    it.fleet_wake = until(wait);
                    break;
                }
                other => self.note(|| format!("bot {}: {other:?}", bot.0)),
            }
        }
        if changed {
            self.bots[bot.0].know_the_present(at);
        }
        if matters {
            self.save_soon(bot);
        }
        self.set_fleet_alarm(bot);
    }

    /// The gate of a bot has made up its mind.
    pub(super) fn gate_answers(&mut self, bot: BotId, shard: ShardId, conn: ConnId, serial: u64) {
        let at = self.time();
        let it = &mut self.bots[bot.0];
        match it.gatekeeper.answer(shard, conn, serial) {
            None => {}
            Some(true) => {
                it.story.gate_opened.push((at, shard, conn.get()));
                self.fleet_input(bot, FleetInput::GateOpened { shard, conn });
            }
            Some(false) => self.fleet_input(bot, FleetInput::GateFailed { shard, conn }),
        }
    }

    /// What drives a shard ends, as by a panic: its line is dropped, its fleet is told, and what was not
    /// taken goes to its next life.
    pub fn fell(&mut self, bot: BotId, shard: u32) {
        let at = self.time();
        let Some(index) = self.bots[bot.0].index(shard) else {
            return;
        };
        let slot = &self.bots[bot.0].shards[index];
        if self.bots[bot.0].gone || slot.fallen || slot.stopped {
            return;
        }
        self.note(|| format!("bot {}: the driver of shard {shard} is gone", bot.0));
        let it = &mut self.bots[bot.0];
        it.live -= usize::from(it.shards[index].is_live());
        let given = it.mail.withdraw(index);
        let clock = it.clock(self.now);
        let machine = &mut it.shards[index].machine;
        if let Some(id) = given {
            // Refused if it is of no session any more.
            let _ = machine.handle(clock, Input::Acknowledged(id));
            while !matches!(machine.poll(), shardwright_core::Action::Wait(_)) {}
        }
        let state = machine.state();
        it.shards[index].fallen = true;
        if std::mem::take(&mut it.shards[index].congested) {
            it.paused -= 1;
        }
        it.story.lives[index].fell = Some((at, state.clone()));
        let report = ShardReport::Vanished { state };
        self.client_leaves(bot, index);
        self.queue.put(self.now, Due::Report(bot, index, report));
        self.give_room(bot);
    }

    fn set_fleet_alarm(&mut self, bot: BotId) {
        let it = &mut self.bots[bot.0];
        if let Some(at) = it.fleet_wake.map(|at| at + it.behind)
            && it.fleet_coming.is_none_or(|coming| at < coming)
        {
            it.fleet_coming = Some(at);
            self.queue.put(at, Due::WakeFleet(bot));
        }
    }

    pub(super) fn wake_fleet(&mut self, bot: BotId) {
        let now = self.now;
        let it = &mut self.bots[bot.0];
        if it.fleet_coming.is_some_and(|coming| coming <= now) {
            it.fleet_coming = None;
        }
        if it.fleet_wake.is_some_and(|at| at <= it.clock(now)) {
            it.fleet_wake = None;
            self.fleet_input(bot, FleetInput::Tick);
        } else {
            self.set_fleet_alarm(bot);
        }
    }

    pub(super) fn rouse_consumer(&mut self, bot: BotId) {
        self.count_waiting(bot);
        let it = &mut self.bots[bot.0];
        if !it.taking && it.consumer != Consumer::Pauses && !it.mail.is_empty() {
            it.taking = true;
            self.queue.put(self.now, Due::Take(bot));
        }
    }

    /// The consumer asks for an event, or for all there are.
    pub(super) fn take(&mut self, bot: BotId) {
        let at = self.now - self.base;
        let keep = self.keep_bodies;
        let mut took = Vec::new();
        let it = &mut self.bots[bot.0];
        it.taking = false;
        let mut every = None;
        loop {
            if it.consumer == Consumer::Pauses {
                break;
            }
            let Some((life, event)) = it.mail.take() else {
                break;
            };
            let event = TakenEvent::new(event, keep);
            if let Some((id, name)) = event.dispatch() {
                took.push((id, name.to_owned()));
            }
            it.story.taken.push(Taken { at, life, event });
            if let Consumer::Every(pause) = it.consumer {
                every = Some(pause);
                break;
            }
        }
        if let Some(pause) = every {
            it.taking = true;
            self.queue.put(self.now + pause, Due::Take(bot));
        }
        for (id, name) in took {
            self.mark(|| Mark::Took(bot, id, name));
        }
        self.count_waiting(bot);
        self.give_room(bot);
    }

    fn count_waiting(&mut self, bot: BotId) {
        let it = &mut self.bots[bot.0];
        it.story.waiting = it.mail.waiting();
    }

    /// Lets paused shards go on whose mailboxes have room again.
    fn give_room(&mut self, bot: BotId) {
        if self.bots[bot.0].paused == 0 {
            return;
        }
        let at = self.now - self.base;
        for index in 0..self.bots[bot.0].shards.len() {
            let it = &mut self.bots[bot.0];
            let slot = &mut it.shards[index];
            if slot.congested && it.mail.has_room(index) {
                slot.congested = false;
                it.paused -= 1;
                if let Some((_, span)) = it
                    .story
                    .congested
                    .iter_mut()
                    .rev()
                    .find(|(of, _)| *of == index)
                {
                    span.to = Some(at);
                }
                self.shard_input(bot, index, Input::Congested(false));
            }
        }
    }

    pub(super) fn withdraw(&mut self, bot: BotId, index: usize) {
        let given = self.bots[bot.0].mail.withdraw(index);
        self.acknowledge(bot, index, given);
        self.count_waiting(bot);
        self.give_room(bot);
    }

    pub(super) fn new_command(&mut self, bot: BotId) -> CommandId {
        let it = &mut self.bots[bot.0];
        it.next_command += 1;
        CommandId(it.next_command)
    }
}

fn is_an_end(input: &FleetInput) -> bool {
    let FleetInput::Report { report, .. } = input else {
        return false;
    };
    // Who was told to go may fall on the way.
    matches!(
        report,
        ShardReport::Stopped { .. } | ShardReport::Vanished { .. }
    )
}

/// Whoever asks a fleet that has stopped is answered all the same.
fn is_an_answer(action: &FleetAction) -> bool {
    matches!(
        action,
        FleetAction::Wait(_)
            | FleetAction::Answer { .. }
            | FleetAction::Done { .. }
            | FleetAction::States { .. }
    )
}

pub(super) fn until(wait: Wait) -> Option<Instant> {
    match wait {
        Wait::Until(at) => Some(at),
        _ => None,
    }
}
