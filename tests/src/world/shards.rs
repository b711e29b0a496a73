//! Drives the machine of a shard: carries out what it says, tells it what happened.

use std::collections::VecDeque;

use shardwright_core::trace::{RecordedShard, ShardTape};
use shardwright_core::{Action, Event, EventId, Input, Phase, ShardReport, ShardStart, Wait};

use super::bots::{ShardSlot, until};
use super::mailbox::Put;
use super::queue::Due;
use super::story::{Life, Span};
use super::{BotId, World};

impl World {
    pub(super) fn add_shard(&mut self, bot: BotId, start: ShardStart, tape: Option<ShardTape>) {
        let (now, began) = (self.now, self.time());
        let it = &mut self.bots[bot.0];
        let (id, muted) = (start.config.shard, start.muted);
        it.story.lives.push(Life {
            muted,
            ..Life::new(id, began, start.state.clone())
        });
        let machine = RecordedShard::new(start, it.clock(now), tape);
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
            fallen: false,
            lately: VecDeque::new(),
        });
        it.by_id.insert(id, index);
        it.mail.add(muted);
        self.queue.put(now, Due::StartShard(bot, index));
    }

    pub(super) fn wake_shard(&mut self, bot: BotId, index: usize) {
        let now = self.now;
        let it = &mut self.bots[bot.0];
        let clock = it.clock(now);
        let slot = &mut it.shards[index];
        if slot.fallen {
            return;
        }
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
        let slot = &self.bots[bot.0].shards[index];
        if slot.fallen {
            return;
        }
        let state = slot.machine.state();
        let report = ShardReport::State { state };
        self.queue.put(self.now, Due::Report(bot, index, report));
    }

    /// Tells a shard's machine something and does what it says; then lets it read on.
    pub(super) fn shard_input(&mut self, bot: BotId, index: usize, input: Input) {
        if self.bots[bot.0].shards[index].fallen {
            return;
        }
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
                it.story.congested.push((index, Span { from, to: None }));
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
        let now = self.now;
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
        let put = it.mail.put(now, index, event);
        it.story.most_mail = it.mail.most();
        if let Put::Dropped(id) = put {
            it.story.dropped.push((index, id));
        }
        self.rouse_consumer(bot);
        matches!(put, Put::Full)
    }
}
