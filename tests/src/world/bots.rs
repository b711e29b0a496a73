//! Drives the machines of the bots: carries out what they say, tells them what happened, lets the
//! consumers take what came.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shardwright_core::{
    Action, CommandId, Event, EventId, FleetAction, FleetConfig, FleetInput, FleetMachine, Input,
    Phase, ShardId, ShardMachine, ShardPlan, ShardReport, ShardStart, Token, Wait,
};

use super::mailbox::{Mailboxes, Overflow, Put};
use super::queue::Due;
use super::story::{BotStory, Span, Taken, TakenEvent};
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
        }
    }
}

#[derive(Debug)]
pub(super) struct ShardSlot {
    pub(super) id: ShardId,
    pub(super) machine: ShardMachine,
    /// The line it dials or has.
    pub(super) line: Option<LineId>,
    /// When it wants to be woken, by its host's clock.
    wake_at: Option<Instant>,
    /// The earliest wake-up on its way, by the world's.
    coming: Option<Instant>,
    pub(super) congested: bool,
    acknowledged: Option<EventId>,
    stopped: bool,
}

#[derive(Debug)]
pub(super) struct Bot {
    pub(super) token: Token,
    plan: ShardPlan,
    pub(super) fleet: FleetMachine,
    fleet_wake: Option<Instant>,
    fleet_coming: Option<Instant>,
    fleet_stopped: bool,
    pub(super) shards: Vec<ShardSlot>,
    pub(super) by_number: BTreeMap<u32, usize>,
    pub(super) mail: Mailboxes,
    pub(super) consumer: Consumer,
    /// A `Take` is on its way.
    taking: bool,
    /// How many shards are live.
    pub(super) live: usize,
    /// How many wait for room.
    paused: usize,
    /// How far its host's clock is behind the world's.
    pub(super) behind: Duration,
    pub(super) asleep_until: Option<Instant>,
    pub(super) gone: bool,
    pub(super) next_command: u64,
    pub(super) story: BotStory,
}

impl Bot {
    pub(super) fn new(spec: BotSpec, seed: u64, now: Instant, began: Duration) -> Self {
        let mail = Mailboxes::new(spec.mailbox_events, spec.mailbox_bytes, spec.overflow);
        Self {
            token: spec.fleet.token.clone(),
            story: BotStory {
                began,
                given: spec.fleet.states.clone(),
                mail_limit: spec.mailbox_events,
                overflow: spec.overflow,
                filtered: !spec.fleet.template.filter.is_all(),
                stays_on_host: spec.fleet.template.stay_on_host,
                limits: spec.fleet.template.limits.clone(),
                ..BotStory::default()
            },
            plan: spec.fleet.plan.clone(),
            fleet: FleetMachine::new(spec.fleet, seed, now),
            fleet_wake: None,
            fleet_coming: None,
            fleet_stopped: false,
            shards: Vec::new(),
            by_number: BTreeMap::new(),
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

    /// How many shards its plan has.
    pub(super) fn planned(&self) -> usize {
        match (&self.plan, self.fleet.total()) {
            (ShardPlan::Ids { ids, .. }, _) => ids.iter().collect::<BTreeSet<_>>().len(),
            (_, total) => total.unwrap_or(0) as usize,
        }
    }

    fn clock(&self, now: Instant) -> Instant {
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
        let now = self.now;
        let Some(it) = self.bots.get_mut(bot.0).filter(|it| !it.gone) else {
            return;
        };
        let was_stopped = it.fleet_stopped;
        if let Err(misuse) = it.fleet.handle(it.clock(now), input) {
            it.story.misuse.push(format!("fleet: {misuse}"));
        }
        loop {
            let it = &mut self.bots[bot.0];
            let action = it.fleet.poll();
            if was_stopped && !matches!(action, FleetAction::Wait(_) | FleetAction::Answer { .. }) {
                it.story.after_stop.push(format!("fleet: {action:?}"));
            }
            match action {
                FleetAction::Fetch(request) => self.ask_rest(bot, request),
                FleetAction::StartShard(start) => self.add_shard(bot, *start),
                FleetAction::Tell { shard, message } => {
                    if let Some(index) = it.by_number.get(&shard.number()) {
                        self.queue.put(now, Due::Tell(bot, *index, message));
                    }
                }
                FleetAction::Answer { id, answer } => it.story.answers.push((id, answer)),
                FleetAction::Emit(event) => {
                    let shown = format!("{event:?}");
                    it.leak(&shown, "an event of the bot");
                    it.mail.put_of_bot(event);
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
        self.set_fleet_alarm(bot);
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

    fn add_shard(&mut self, bot: BotId, start: ShardStart) {
        let now = self.now;
        let it = &mut self.bots[bot.0];
        let id = start.config.shard;
        let machine = ShardMachine::new(start.config, start.state, start.seed, it.clock(now));
        let index = it.shards.len();
        it.shards.push(ShardSlot {
            id,
            machine,
            line: None,
            wake_at: None,
            coming: None,
            congested: false,
            acknowledged: None,
            stopped: false,
        });
        it.by_number.insert(id.number(), index);
        it.mail.add();
        self.queue.put(now, Due::StartShard(bot, index));
    }

    pub(super) fn wake_shard(&mut self, bot: BotId, index: usize) {
        let now = self.now;
        let it = &mut self.bots[bot.0];
        let clock = it.clock(now);
        let slot = &mut it.shards[index];
        if slot.coming.is_some_and(|coming| coming <= now) {
            slot.coming = None;
        }
        if slot.wake_at.is_some_and(|at| at <= clock) {
            slot.wake_at = None;
            let handled = self.bots[bot.0].mail.handled(index);
            self.acknowledge(bot, index, handled);
            let wall = Some(self.wall);
            self.shard_input(bot, index, Input::Tick { wall });
        } else {
            self.set_alarm(bot, index);
        }
    }

    fn set_alarm(&mut self, bot: BotId, index: usize) {
        let it = &mut self.bots[bot.0];
        let slot = &mut it.shards[index];
        if let Some(at) = slot.wake_at.map(|at| at + it.behind)
            && slot.coming.is_none_or(|coming| at < coming)
        {
            slot.coming = Some(at);
            self.queue.put(at, Due::WakeShard(bot, index));
        }
    }

    /// Tells a shard what its consumer has handled.
    pub(super) fn acknowledge(&mut self, bot: BotId, index: usize, handled: Option<EventId>) {
        let slot = &mut self.bots[bot.0].shards[index];
        if let Some(id) = handled.filter(|_| handled != slot.acknowledged) {
            slot.acknowledged = handled;
            self.shard_input(bot, index, Input::Acknowledged(id));
        }
    }

    /// Tells the fleet what a shard's next life would go on from.
    pub(super) fn report_state(&mut self, bot: BotId, index: usize) {
        let handled = self.bots[bot.0].mail.handled(index);
        self.acknowledge(bot, index, handled);
        let state = self.bots[bot.0].shards[index].machine.state();
        let report = ShardReport::State { state };
        self.queue.put(self.now, Due::Report(bot, index, report));
    }

    /// Tells a shard's machine something and does what it says; then lets it read on.
    pub(super) fn shard_input(&mut self, bot: BotId, index: usize, input: Input) {
        self.drive(bot, index, input);
        while let Some(input) = self.read_line(bot, index) {
            self.drive(bot, index, input);
        }
    }

    fn drive(&mut self, bot: BotId, index: usize, input: Input) {
        let now = self.now;
        let mut next = Some(input);
        let was = self.bots[bot.0].shards[index].machine.phase();
        while let Some(input) = next.take() {
            let it = &mut self.bots[bot.0];
            let clock = it.clock(now);
            if let Err(misuse) = it.shards[index].machine.handle(clock, input) {
                it.story
                    .misuse
                    .push(format!("shard {}: {misuse}", it.shards[index].id));
            }
            let (wait, full) = self.drain(bot, index);
            let it = &mut self.bots[bot.0];
            let slot = &mut it.shards[index];
            slot.wake_at = until(wait);
            let buffered = slot.machine.buffer_memory();
            it.story.most_buffered = it.story.most_buffered.max(buffered);
            if full && !slot.congested {
                slot.congested = true;
                it.paused += 1;
                let from = now - self.base;
                it.story.congested.push((slot.id, Span { from, to: None }));
                next = Some(Input::Congested(true));
            } else if wait == Wait::Stopped && !std::mem::replace(&mut slot.stopped, true) {
                // Whatever still comes must not stir it.
                next = Some(Input::Tick {
                    wall: Some(self.wall),
                });
            }
        }
        let it = &mut self.bots[bot.0];
        let phase = it.shards[index].machine.phase();
        if phase != was {
            it.live += usize::from(phase == Phase::Live);
            it.live -= usize::from(was == Phase::Live);
        }
        self.set_alarm(bot, index);
    }

    /// Carries out what a shard's machine wants; whether its mailbox is full.
    fn drain(&mut self, bot: BotId, index: usize) -> (Wait, bool) {
        let now = self.now;
        let mut full = false;
        let mut drained = 0;
        loop {
            let it = &mut self.bots[bot.0];
            let slot = &mut it.shards[index];
            let id = slot.id;
            let action = slot.machine.poll();
            if slot.stopped && !matches!(action, Action::Wait(_) | Action::Answer { .. }) {
                it.story.after_stop.push(format!("shard {id}: {action:?}"));
                if it.story.after_stop.len() > 100 {
                    return (Wait::Stopped, full);
                }
                continue;
            }
            let report = ShardReport::from_action(&action);
            match action {
                Action::Emit(event) => {
                    drained += 1;
                    let event = event.into_owned();
                    full |= self.emit(bot, index, event);
                }
                Action::Connect { conn, url, .. } => self.dial(bot, index, conn, url),
                Action::Send { conn, text } => self.client_sends(bot, index, conn, &text),
                Action::Close { conn, code, reason } => {
                    self.client_closes(bot, index, conn, code.get(), reason);
                }
                Action::Abort { conn } => self.client_aborts(bot, index, conn),
                Action::Wait(wait) => {
                    let story = &mut self.bots[bot.0].story;
                    story.most_drained = story.most_drained.max(drained);
                    return (wait, full);
                }
                _ => {}
            }
            if let Some(report) = report {
                self.queue.put(now, Due::Report(bot, index, report));
            }
        }
    }

    fn emit(&mut self, bot: BotId, index: usize, event: Event<'static>) -> bool {
        let it = &mut self.bots[bot.0];
        let id = it.shards[index].id;
        if let Event::Dispatch(dispatch) = &event {
            // Its `Debug` must not show what the body of a dispatch may repeat, so the name is enough.
            it.leak(dispatch.name(), "a dispatch's name");
        } else {
            let shown = format!("{event:?}");
            it.leak(&shown, "an event");
            self.note(|| format!("bot {} shard {id}: {shown}", bot.0));
        }
        let it = &mut self.bots[bot.0];
        let put = it.mail.put(index, event);
        it.story.most_mail = it.story.most_mail.max(it.mail.len(index));
        if let Put::Dropped(id) = put {
            it.story.dropped.push(id);
        }
        self.rouse_consumer(bot);
        matches!(put, Put::Full)
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
            let Some(event) = it.mail.take() else { break };
            let event = TakenEvent::new(event, keep);
            if let Some((id, name)) = event.dispatch() {
                took.push((id, name.to_owned()));
            }
            it.story.taken.push(Taken { at, event });
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
                let id = slot.id;
                if let Some((_, span)) = it
                    .story
                    .congested
                    .iter_mut()
                    .rev()
                    .find(|(of, _)| *of == id)
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

fn until(wait: Wait) -> Option<Instant> {
    match wait {
        Wait::Until(at) => Some(at),
        _ => None,
    }
}
