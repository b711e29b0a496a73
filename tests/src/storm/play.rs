//! Plays a schedule.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use shardwright_core::{Command, ShardFilter, ShardState, Shards, StatusUpdate, Stop};

use super::report::Report;
use super::{Fault, Schedule, Timed};
use crate::world::invariants::Broken;
use crate::world::{BotId, BotSpec, Consumer, Saved, Vanish, World, WorldError};

/// How many lines of transcript an error shows.
const TAIL: usize = 60;
/// How often whoever watches is asked.
const SLICE: Duration = Duration::from_secs(10);
/// The longest way back of a small bot.
const RECOVERY: Duration = Duration::from_secs(35 * 60);

/// How a storm failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StormError {
    /// A rule was broken, or the world came to no end.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The bot did not end when it was told to, long after everything else was in order.
    #[error("the bot did not end within {0:?}")]
    NoEnd(Duration),
    /// Whoever watched wanted no more.
    #[error("interrupted")]
    Interrupted,
}

impl StormError {
    /// The number of the rule that was broken: the first if there are several.
    #[must_use]
    pub fn rule(&self) -> Option<u8> {
        match self {
            Self::World(WorldError::Broken { broken, .. }) => broken.first().map(|one| one.rule),
            Self::World(WorldError::LiveLock { .. }) => Some(6),
            Self::World(_) => Some(5),
            Self::NoEnd(_) => Some(9),
            Self::Interrupted => None,
        }
    }

    /// The rules that were broken, as far as they are known one by one.
    #[must_use]
    pub fn broken(&self) -> &[Broken] {
        match self {
            Self::World(WorldError::Broken { broken, .. }) => broken,
            _ => &[],
        }
    }
}

/// How far a storm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Glance {
    /// The time in the world.
    pub time: Duration,
    /// How long it is stormy.
    pub lasts: Duration,
    /// How many faults were played.
    pub faults: usize,
    /// How many shards are live.
    pub live: usize,
}

/// What follows from a fault, later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    ConsumerReady,
    Crash(Vanish),
    NetworkSteady,
    Host { number: u32, of: u32, down: u64 },
    ResumeUrlRight,
    StartAgain,
}

impl Then {
    fn is_structural(self) -> bool {
        matches!(self, Self::Crash(_) | Self::StartAgain)
    }
}

enum Due<'s> {
    Fault(&'s Fault),
    Then(Then),
}

type Watch<'s> = Box<dyn FnMut(Glance) -> bool + 's>;

/// A world, its running bot, and what a restart would begin with.
pub struct Storm<'s> {
    pub(super) schedule: &'s Schedule,
    pub(super) world: World,
    pub(super) bot: BotId,
    pub(super) spec: BotSpec,
    pub(super) kept: Vec<ShardState>,
    pub(super) saved: Option<Saved>,
    /// Takes shards from the bot and gives them back.
    pub(super) other: Option<BotId>,
    /// What was let go and no bot could run: for the next process.
    pub(super) homeless: Vec<ShardState>,
    next: usize,
    agenda: BTreeMap<(Duration, u64), Then>,
    serial: u64,
    /// What takes the bot apart, one after the other.
    waiting: VecDeque<Due<'s>>,
    busy: bool,
    played: BTreeMap<&'static str, u64>,
    watch: Option<Watch<'s>>,
}

impl std::fmt::Debug for Storm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storm")
            .field("time", &self.world.time())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl<'s> Storm<'s> {
    /// A world in which the schedule's bot has just been started.
    #[must_use]
    pub fn new(schedule: &'s Schedule) -> Self {
        Self::with_tail(schedule, TAIL)
    }

    /// The same, whose errors show so many lines of transcript.
    #[must_use]
    pub fn with_tail(schedule: &'s Schedule, tail: usize) -> Self {
        let mut world = schedule.setup.world(tail);
        let spec = schedule.setup.bot();
        Self {
            bot: world.start(spec.clone()),
            schedule,
            world,
            spec,
            kept: Vec::new(),
            saved: None,
            other: None,
            homeless: Vec::new(),
            next: 0,
            agenda: BTreeMap::new(),
            serial: 0,
            waiting: VecDeque::new(),
            busy: false,
            played: BTreeMap::new(),
            watch: None,
        }
    }

    /// Has this called every few seconds of the world's time; the storm ends when it says `false`.
    pub fn watch(&mut self, watch: impl FnMut(Glance) -> bool + 's) {
        self.watch = Some(Box::new(watch));
    }

    /// The world, to look at.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::new(&self.world, &self.played)
    }

    /// Plays all of it, lets everybody recover, and stops the bot.
    ///
    /// # Errors
    /// When a rule is broken, or the bot does not come back or end.
    pub fn run(&mut self) -> Result<(), StormError> {
        self.advance(self.schedule.lasts())?;
        self.clear_up()?;
        let longest = RECOVERY + self.turns();
        let bot = self.bot;
        if !self.wait(longest, |world| world.all_live(bot))? {
            // The rules say more of it if they can.
            self.world.check()?;
            self.world
                .run_until_within(Duration::ZERO, |world| world.all_live(bot))?;
        }
        self.pass(Duration::from_secs(180))?;
        self.world.check()?;
        let how = if self.schedule.setup.dice.is_multiple_of(2) {
            Stop::Keep
        } else {
            Stop::Final
        };
        self.world.stop(bot, how);
        let patience = Duration::from_secs(60);
        self.pass(patience)?;
        if !self.world.ended(bot) {
            self.world.check()?;
            return Err(StormError::NoEnd(patience));
        }
        Ok(self.world.check()?)
    }

    /// The storm is over: what it would still have done is left out.
    fn clear_up(&mut self) -> Result<(), StormError> {
        self.next = self.schedule.faults.len();
        self.waiting.clear();
        let again = self
            .agenda
            .values()
            .any(|then| matches!(then, Then::StartAgain));
        self.agenda.clear();
        self.world.set_network(self.schedule.setup.network());
        self.name_resume_url(None);
        self.call_home()?;
        if again || self.world.ended(self.bot) {
            self.hand_over()?;
        }
        let needed = 2 * self.world.present(self.bot).count() as u64;
        let day = Duration::from_millis(self.schedule.setup.window);
        if self.world.server().config().remaining < needed && day > RECOVERY {
            let left = self
                .world
                .with_server(|server, now| server.starts_renewed_in(now));
            self.pass(left + Duration::from_secs(1))?;
        }
        self.world.calm();
        Ok(())
    }

    /// How long all shards may need to identify.
    fn turns(&self) -> Duration {
        let shards = self.world.present(self.bot).count() as u32;
        let config = self.world.server().config();
        let width = u32::try_from(config.max_concurrency.max(1)).unwrap_or(u32::MAX);
        2 * config.identify_pause * (shards / width)
    }

    pub(super) fn later(&mut self, after: u64, then: Then) {
        self.serial += 1;
        let at = self.world.time() + Duration::from_millis(after);
        self.agenda.insert((at, self.serial), then);
    }

    /// When the next thing is due.
    fn due(&self) -> Option<Duration> {
        let fault = self.schedule.faults.get(self.next);
        let fault = fault.map(|timed| Duration::from_millis(timed.at));
        let then = self.agenda.first_key_value().map(|((at, _), _)| *at);
        fault.into_iter().chain(then).min()
    }

    /// Takes out what is due by now.
    fn take(&mut self) -> Option<Due<'s>> {
        let now = self.world.time();
        if let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= now
        {
            return Some(Due::Then(entry.remove()));
        }
        let Timed { at, fault } = self.schedule.faults.get(self.next)?;
        if Duration::from_millis(*at) > now {
            return None;
        }
        self.next += 1;
        Some(Due::Fault(fault))
    }

    /// Plays what is due until this time.
    fn advance(&mut self, until: Duration) -> Result<(), StormError> {
        loop {
            while !self.busy
                && let Some(due) = self.waiting.pop_front()
            {
                self.happen(due)?;
            }
            let now = self.world.time();
            if now >= until {
                return Ok(());
            }
            let next = self.due().unwrap_or(until).min(until).min(now + SLICE);
            self.world.run_for(next.saturating_sub(now))?;
            self.look()?;
            self.happen_now()?;
        }
    }

    /// Lets so much time pass, whatever happens in it.
    pub(super) fn pass(&mut self, time: Duration) -> Result<(), StormError> {
        self.wait(time, |_| false).map(|_| ())
    }

    /// Plays what is due until this holds, or for so long; whether it came to hold.
    pub(super) fn wait(
        &mut self,
        at_most: Duration,
        mut wanted: impl FnMut(&World) -> bool,
    ) -> Result<bool, StormError> {
        let until = self.world.time() + at_most;
        loop {
            let now = self.world.time();
            let next = self.due().unwrap_or(until).min(until).min(now + SLICE);
            if self.world.wait(next.saturating_sub(now), &mut wanted)? {
                return Ok(true);
            }
            if self.world.time() >= until {
                return Ok(false);
            }
            self.look()?;
            self.happen_now()?;
        }
    }

    fn look(&mut self) -> Result<(), StormError> {
        let glance = Glance {
            time: self.world.time(),
            lasts: self.schedule.lasts(),
            faults: self.next,
            live: self.world.live(self.bot),
        };
        if let Some(watch) = &mut self.watch
            && !watch(glance)
        {
            return Err(StormError::Interrupted);
        }
        Ok(())
    }

    fn happen_now(&mut self) -> Result<(), StormError> {
        while let Some(due) = self.take() {
            self.happen(due)?;
        }
        Ok(())
    }

    fn happen(&mut self, due: Due<'s>) -> Result<(), StormError> {
        let structural = match &due {
            Due::Fault(fault) => fault.is_structural(),
            Due::Then(then) => then.is_structural(),
        };
        if structural && self.busy {
            // What is going on may wait for the consumer that was to be slow until this crash.
            if matches!(due, Due::Then(Then::Crash(_))) {
                self.world.set_consumer(self.bot, Consumer::AtOnce);
            }
            self.waiting.push_back(due);
            return Ok(());
        }
        self.busy |= structural;
        let happened = match due {
            Due::Fault(fault) => {
                *self.played.entry(fault.kind()).or_default() += 1;
                self.fault(fault)
            }
            Due::Then(then) => self.then(then),
        };
        if structural {
            self.busy = false;
        }
        happened
    }

    fn then(&mut self, then: Then) -> Result<(), StormError> {
        match then {
            Then::ConsumerReady => self.world.set_consumer(self.bot, Consumer::AtOnce),
            Then::Crash(how) => return self.crash(how, 5000, true),
            Then::NetworkSteady => self.world.set_network(self.schedule.setup.network()),
            Then::Host { number, of, down } => self.restart_host(number, of, down),
            Then::ResumeUrlRight => self.name_resume_url(None),
            Then::StartAgain => return self.hand_over(),
        }
        Ok(())
    }

    fn fault(&mut self, fault: &Fault) -> Result<(), StormError> {
        let bot = self.bot;
        match *fault {
            Fault::Crash { how, down, stored } => return self.crash(how, down, stored),
            Fault::HandOver => return self.hand_over(),
            Fault::Lend { ref shards, pause } if !self.schedule.setup.starts_are_scarce() => {
                return self.lend(shards, pause);
            }
            Fault::Lend { .. } => {}
            Fault::ReShard { to } => return self.re_shard(to),
            Fault::Width {
                max_concurrency,
                to,
            } => {
                let width = max_concurrency.max(1);
                self.world.with_server(|server, _| {
                    server.configure(|server| server.max_concurrency = width);
                });
                return self.re_shard(to);
            }
            Fault::AskStates => {
                self.world.shard_states(bot, ShardFilter::all());
            }
            Fault::StoreStates => self.kept = self.world.states(bot),
            Fault::Fell { shard } => self.world.fell(bot, shard),
            Fault::Presence { times } => {
                if let Ok(command) = Command::status_update(StatusUpdate::online()) {
                    for _ in 0..times {
                        self.world.command(bot, Shards::All, command.clone());
                    }
                }
            }
            Fault::Consumer {
                every,
                lasts,
                then_crash,
            } => {
                let every = every.map(Duration::from_millis);
                let consumer = every.map_or(Consumer::Pauses, Consumer::Every);
                self.world.set_consumer(bot, consumer);
                self.later(lasts, then_crash.map_or(Then::ConsumerReady, Then::Crash));
            }
            Fault::Sleep { clock, lasts } => self.world.sleep(bot, ms(lasts), clock),
            Fault::StepWall { by, forward } => self.world.step_wall(ms(by), forward),
            _ => self.break_around(fault),
        }
        Ok(())
    }
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
