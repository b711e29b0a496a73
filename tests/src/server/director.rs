//! Plays the scenario: which step is due when, and scripts that take time.

use std::collections::VecDeque;
use std::time::Duration;

use super::client::{Identify, Payload, Resume};
use super::compress::Encoder;
use super::conn::{Conn, Phase};
use super::io::{ConnId, ServerAction, Shard};
use super::log::{Seen, Violation};
use super::timers::Timer;
use super::{ServerMachine, bodies};
use crate::scenario::{Effect, Selector, Step, Times, When};

/// A step and how often it was played.
#[derive(Debug)]
pub(super) struct PlayedStep {
    step: Step,
    played: u32,
}

/// Effects that wait for their time, and what the server does by itself after them.
#[derive(Debug)]
pub(super) struct Script {
    conn: Option<ConnId>,
    effects: VecDeque<Effect>,
    /// Leave out effects that are about the whole server: another script has them.
    local: bool,
    /// The last dispatch it made: what follows in it must not overtake that.
    reach: u64,
    then: Option<Act>,
}

/// What the server does by itself.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Accept,
    Hello,
    Ready(Box<Identify>, Shard, u64),
    Replay(Resume),
    Ack,
    Obey(Box<Payload>),
}

/// A moment a step may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Dialled,
    Opened,
    Hello,
    Identify,
    Resume,
    Ready,
    Resumed,
    Beat(u64),
    Dispatch(u64),
    Received(u64),
}

impl Moment {
    fn is(self, when: &When) -> bool {
        match (self, when) {
            (Self::Dialled, When::Dialled)
            | (Self::Opened, When::Opened)
            | (Self::Hello, When::Hello)
            | (Self::Identify, When::Identify)
            | (Self::Resume, When::Resume)
            | (Self::Ready, When::Ready)
            | (Self::Resumed, When::Resumed) => true,
            (Self::Beat(n), When::Beat(nth)) | (Self::Dispatch(n), When::Dispatch(nth)) => {
                nth.holds(n)
            }
            (Self::Received(op), When::Received(wanted)) => op == *wanted,
            _ => false,
        }
    }
}

fn selects(on: &Selector, conn: &Conn) -> bool {
    on.listener.is_none_or(|listener| listener == conn.listener)
        && on.conn.is_none_or(|nth| nth.holds(conn.nth))
        && on
            .shard
            .is_none_or(|number| conn.shard.is_some_and(|shard| shard.number == number))
        && on.shard_conn.is_none_or(|nth| nth.holds(conn.shard_nth))
}

impl ServerMachine {
    /// Adds a step to the scenario.
    pub fn add_step(&mut self, step: Step) {
        let number = self.steps.len();
        if let When::At(ms) = step.when {
            let at = self.started + Duration::from_millis(ms);
            self.timers.set(at.max(self.now), Timer::Everywhere(number));
        }
        self.steps.push(PlayedStep { step, played: 0 });
        self.unspent.push(number);
    }

    /// Whether a step may be played now; counts it if so.
    fn may_play(&mut self, number: usize) -> bool {
        let Some(PlayedStep { step, played }) = self.steps.get_mut(number) else {
            return false;
        };
        if matches!(step.times, Times::AtMost(times) if *played >= times) {
            return false;
        }
        if step.chance < 1.0 && self.rng.unit() >= step.chance {
            return false;
        }
        *played = played.saturating_add(1);
        if matches!(step.times, Times::AtMost(times) if *played >= times) {
            self.unspent.retain(|unspent| *unspent != number);
        }
        true
    }

    /// How many steps may still be played.
    #[must_use]
    pub fn unspent_steps(&self) -> usize {
        self.unspent.len()
    }

    /// Something a step may wait for happens; `act` is what the server does by itself.
    pub(super) fn moment(&mut self, id: ConnId, moment: Moment, act: Option<Act>) {
        let mut effects = VecDeque::new();
        let mut instead = false;
        let mut next = 0;
        while let Some(number) = self.unspent.get(next).copied() {
            next += 1;
            let step = &self.steps[number].step;
            let Some(conn) = self.conns.get(&id) else {
                return;
            };
            if moment.is(&step.when) && selects(&step.on, conn) && self.may_play(number) {
                self.note(Some(id), Seen::Step { number });
                let step = &self.steps[number].step;
                effects.extend(step.effects.iter().cloned());
                instead |= step.instead;
                // A spent one has made room for the next.
                next -= usize::from(self.unspent.get(next - 1) != Some(&number));
            }
        }
        let then = act.filter(|_| !instead);
        if !effects.is_empty() {
            self.start_script(Some(id), effects, false, then);
        } else if let Some(act) = then {
            self.act(id, act);
        }
    }

    pub(super) fn start_script(
        &mut self,
        conn: Option<ConnId>,
        effects: VecDeque<Effect>,
        local: bool,
        then: Option<Act>,
    ) {
        self.next_script += 1;
        let script = Script {
            conn,
            effects,
            local,
            reach: 0,
            then,
        };
        self.scripts.insert(self.next_script, script);
        self.run_script(self.next_script);
    }

    pub(super) fn run_script(&mut self, number: u64) {
        let Some(mut script) = self.scripts.remove(&number) else {
            return;
        };
        while let Some(effect) = script.effects.pop_front() {
            let wait = match effect {
                Effect::Wait(ms) => Duration::from_millis(ms),
                Effect::WaitUpTo(ms) => Duration::from_millis(self.rng.below(ms.saturating_add(1))),
                effect => {
                    if effect.is_global() {
                        if !script.local {
                            self.global_effect(&effect);
                        }
                    } else if let Some(conn) = script.conn {
                        let outer = self.swap_reach(conn, script.reach);
                        self.effect(conn, &effect);
                        script.reach = self.swap_reach(conn, outer);
                    }
                    continue;
                }
            };
            let Some(at) = self.now.checked_add(wait) else {
                return;
            };
            self.timers.set(at, Timer::Script(number));
            self.scripts.insert(number, script);
            return;
        }
        if let (Some(conn), Some(act)) = (script.conn, script.then) {
            self.act(conn, act);
        }
    }

    /// Scripts nest when a dispatch of one sets off another; each has its own dispatches to wait
    /// for.
    fn swap_reach(&mut self, conn: ConnId, reach: u64) -> u64 {
        self.conns
            .get_mut(&conn)
            .map_or(0, |conn| std::mem::replace(&mut conn.must_reach, reach))
    }

    /// A step of [`When::At`] is due.
    pub(super) fn step_everywhere(&mut self, number: usize) {
        if !self.may_play(number) {
            return;
        }
        let step = self.steps[number].step.clone();
        let open: Vec<_> = self
            .conns
            .values()
            .filter(|conn| conn.phase != Phase::Dialled && selects(&step.on, conn))
            .map(|conn| conn.id)
            .collect();
        self.note(None, Seen::Step { number });
        let effects: VecDeque<_> = step.effects.into();
        self.start_script(None, effects.clone(), false, None);
        for conn in open {
            self.start_script(Some(conn), effects.clone(), true, None);
        }
    }

    /// A step of one connection's own time is due.
    pub(super) fn step_due(&mut self, id: ConnId, number: usize) {
        let Some(step) = self.steps.get(number).map(|played| played.step.clone()) else {
            return;
        };
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let (fits, live) = (selects(&step.on, conn), conn.phase == Phase::Live);
        let again = match step.when {
            When::EveryAbout(ms) => Some(ms),
            _ => None,
        };
        if fits && (live || again.is_none()) && self.may_play(number) {
            self.note(Some(id), Seen::Step { number });
            self.start_script(Some(id), step.effects.into(), false, None);
        }
        if let Some(ms) = again {
            self.set_random_step(id, number, ms);
        }
    }

    fn set_random_step(&mut self, id: ConnId, number: usize, ms: u64) {
        let wait = self.rng.around(Duration::from_millis(ms.max(1)));
        if let Some(at) = self.now.checked_add(wait) {
            self.timers.set(at, Timer::Step(id, number));
        }
    }

    /// Sets the timers of steps that count from READY or RESUMED.
    pub(super) fn live_steps(&mut self, id: ConnId) {
        for number in self.unspent.clone() {
            match self.steps[number].step.when {
                When::AfterLive(ms) => self.set_step(id, number, ms),
                When::EveryAbout(ms) => self.set_random_step(id, number, ms),
                _ => {}
            }
        }
    }

    fn set_step(&mut self, id: ConnId, number: usize, ms: u64) {
        if let Some(at) = self.now.checked_add(Duration::from_millis(ms)) {
            self.timers.set(at, Timer::Step(id, number));
        }
    }

    fn act(&mut self, id: ConnId, act: Act) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if conn.phase == Phase::Closing {
            return;
        }
        match act {
            Act::Accept if conn.phase == Phase::Dialled => self.accept(id),
            Act::Hello if conn.phase == Phase::Fresh => {
                let ms = u64::try_from(self.config.heartbeat_interval.as_millis());
                let bad = conn.query.bad_version;
                self.hello(id, &ms.unwrap_or(u64::MAX).into());
                if bad {
                    self.violation(id, Violation::Version);
                    self.close(id, Some(4012), "invalid API version");
                }
            }
            Act::Ready(identify, shard, granted) if conn.phase == Phase::Asked => {
                self.make_ready(id, *identify, shard, granted);
            }
            Act::Replay(resume) if conn.phase == Phase::Asked => self.replay(id, &resume),
            Act::Ack => self.acknowledge(id),
            Act::Obey(payload) => self.obey(id, *payload),
            _ => {}
        }
    }

    fn accept(&mut self, id: ConnId) {
        let level = self.config.compression_level;
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.hung) else {
            self.note_upgrade(id, None);
            return;
        };
        match Encoder::new(conn.query.compress, level) {
            Ok(encoder) => conn.encoder = encoder,
            Err(_) => return self.refuse_upgrade(id, 500, None, None),
        }
        self.note_upgrade(id, Some(101));
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.phase = Phase::Fresh;
            conn.last_beat = now;
        }
        self.actions.push_back(ServerAction::Accept { conn: id });
        for number in self.unspent.clone() {
            if let When::AfterOpen(ms) = self.steps[number].step.when {
                self.set_step(id, number, ms);
            }
        }
        self.moment(id, Moment::Opened, Some(Act::Hello));
    }

    /// Op 10, with an interval of any type.
    pub(super) fn hello(&mut self, id: ConnId, interval: &serde_json::Value) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.speaks()) else {
            return;
        };
        conn.hello = true;
        conn.last_beat = now;
        // Nobody can be held to an interval that makes no sense.
        conn.interval = interval
            .as_u64()
            .filter(|ms| (1..=u64::from(u32::MAX)).contains(ms))
            .map(Duration::from_millis);
        let seen = Seen::Hello {
            interval: conn.interval,
        };
        self.note(Some(id), seen);
        self.send_control(id, 10, bodies::hello(interval));
        self.watch_beat(id);
        self.moment(id, Moment::Hello, None);
    }
}
