//! Lets time pass.

use std::fmt::Write;
use std::time::{Duration, Instant};

use shardwright_core::{FleetInput, Input, Stop, ToShard};

use super::invariants::{self, Broken, Evidence};
use super::queue::{Due, Queued};
use super::{BotId, World};
use crate::server::Input as ServerInput;

/// How long [`World::run_until`] waits, in virtual time.
const PATIENCE: Duration = Duration::from_secs(6 * 60 * 60);

/// Why a run failed. It shows the seed and how the transcript ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// What was waited for can't come: nothing more will happen.
    #[error("nothing more can happen at {at:?} (seed {seed})\n{tail}")]
    Idle {
        /// When.
        at: Duration,
        /// The world's seed.
        seed: u64,
        /// The end of the transcript.
        tail: String,
    },
    /// What was waited for did not come in time.
    #[error("what was waited for did not come by {at:?} (seed {seed})\n{tail}")]
    TooLate {
        /// When the patience ended.
        at: Duration,
        /// The world's seed.
        seed: u64,
        /// The end of the transcript.
        tail: String,
    },
    /// Things happen without end and no time passes.
    #[error("live-lock at {at:?} (seed {seed})\n{tail}")]
    LiveLock {
        /// When.
        at: Duration,
        /// The world's seed.
        seed: u64,
        /// The end of the transcript.
        tail: String,
    },
    /// Rules were broken.
    #[error("{} rules broken (seed {seed}){}\n{tail}", broken.len(), list(broken))]
    Broken {
        /// Which, and how.
        broken: Vec<Broken>,
        /// The world's seed.
        seed: u64,
        /// The end of the transcript.
        tail: String,
    },
}

fn list(broken: &[Broken]) -> String {
    let mut text = String::new();
    for one in broken.iter().take(20) {
        let _ = write!(text, "\n- {one}");
    }
    text
}

impl World {
    /// Lets so much time pass.
    ///
    /// # Errors
    /// [`WorldError::LiveLock`].
    pub fn run_for(&mut self, time: Duration) -> Result<(), WorldError> {
        let until = self.now + time;
        while self.queue.next().is_some_and(|at| at <= until) {
            self.step()?;
        }
        self.pass_to(until);
        Ok(())
    }

    /// Lets time pass until this holds; six hours at most.
    ///
    /// # Errors
    /// When it does not come to hold, or nothing more can happen, or there is a live-lock.
    pub fn run_until(&mut self, wanted: impl FnMut(&Self) -> bool) -> Result<(), WorldError> {
        self.run_until_within(PATIENCE, wanted)
    }

    /// Lets time pass until this holds, but no longer than so.
    ///
    /// # Errors
    /// As [`World::run_until`].
    pub fn run_until_within(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(&Self) -> bool,
    ) -> Result<(), WorldError> {
        let until = self.now + patience;
        while !wanted(self) {
            let (at, seed) = (self.time(), self.seed);
            match self.queue.next() {
                None => {
                    return Err(WorldError::Idle {
                        at,
                        seed,
                        tail: self.tail(self.tail_lines),
                    });
                }
                Some(next) if next > until => {
                    self.pass_to(until);
                    let at = self.time();
                    return Err(WorldError::TooLate {
                        at,
                        seed,
                        tail: self.tail(self.tail_lines),
                    });
                }
                Some(_) => self.step()?,
            }
        }
        Ok(())
    }

    /// Lets time pass until this holds, or for so long; whether it came to hold.
    ///
    /// # Errors
    /// [`WorldError::LiveLock`].
    pub fn wait(
        &mut self,
        at_most: Duration,
        mut wanted: impl FnMut(&Self) -> bool,
    ) -> Result<bool, WorldError> {
        let until = self.now + at_most;
        while !wanted(self) {
            if self.queue.next().is_none_or(|next| next > until) {
                self.pass_to(until);
                return Ok(wanted(self));
            }
            self.step()?;
        }
        Ok(true)
    }

    /// Holds the run so far against the [rules](invariants).
    ///
    /// # Errors
    /// [`WorldError::Broken`] with every rule that was broken.
    pub fn check(&self) -> Result<(), WorldError> {
        let broken = invariants::check(&self.evidence());
        if broken.is_empty() {
            return Ok(());
        }
        Err(WorldError::Broken {
            broken,
            seed: self.seed,
            tail: self.tail(self.tail_lines),
        })
    }

    /// What the rules are held against.
    #[must_use]
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence {
            log: self.server.log().entries(),
            lines: &self.line_stories,
            bots: self.bots.iter().map(|bot| &bot.story).collect(),
            config: self.server.config(),
            end: self.time(),
            calm: self.calm,
            wall_jumps: &self.wall_jumps,
        }
    }

    fn pass_to(&mut self, at: Instant) {
        let at = at.max(self.now);
        if at > self.now {
            self.wall += at - self.now;
            self.now = at;
            self.at_once = 0;
        }
    }

    fn step(&mut self) -> Result<(), WorldError> {
        let Some(queued) = self.queue.take() else {
            return Ok(());
        };
        self.pass_to(queued.at);
        self.at_once += 1;
        let usual = 200_000 + 1000 * self.lines.len() as u64;
        if self.at_once > self.at_once_limit.unwrap_or(usual) {
            let at = self.time();
            return Err(WorldError::LiveLock {
                at,
                seed: self.seed,
                tail: self.tail(self.tail_lines),
            });
        }
        self.happen(queued);
        Ok(())
    }

    fn happen(&mut self, queued: Queued) {
        if let Some(bot) = self.host_of(&queued.due) {
            let it = &self.bots[bot.0];
            if it.gone {
                return;
            }
            if let Some(until) = it.sleeps_until(self.now) {
                return self.queue.put_off(until, queued);
            }
        }
        match queued.due {
            Due::ToServer(..) => self.reach_server(queued),
            Due::ToClient(..) => self.reach_client(queued),
            Due::ServerTick => {
                self.server_tick = None;
                self.server_input(ServerInput::Tick);
            }
            Due::Dialled(line) => self.dialled(line),
            Due::DialFailed(line, why) => self.dial_failed(line, why),
            Due::Release(line) => self.release(line),
            Due::Flushed(line) => self.flushed(line),
            Due::WakeFleet(bot) => self.wake_fleet(bot),
            Due::Asked(bot, input) => self.fleet_input(bot, *input),
            Due::StartShard(bot, index) => self.shard_input(bot, index, Input::Start),
            Due::WakeShard(bot, index) => self.wake_shard(bot, index),
            Due::Report(bot, index, report) => {
                let shard = self.bots[bot.0].shards[index].id;
                self.fleet_input(bot, FleetInput::Report { shard, report });
            }
            Due::Tell(bot, index, message) => {
                if let ToShard::Stop(how) = message {
                    let at = self.time();
                    let life = &mut self.bots[bot.0].story.lives[index];
                    life.told.get_or_insert((at, how));
                    if how == Stop::Keep {
                        self.withdraw(bot, index);
                    }
                }
                match message.into_input() {
                    Some(input) => self.shard_input(bot, index, input),
                    // The only thing of a runtime's own that a world is asked for.
                    None => self.report_state(bot, index),
                }
            }
            Due::Take(bot) => self.take(bot),
            Due::RestAsked(bot, request) => self.answer_rest(bot, &request),
            Due::RestAnswered(bot, result) => {
                if let Ok(info) = result.as_ref() {
                    let known = (self.time(), info.session_start_limit.max_concurrency);
                    self.bots[bot.0].story.max_concurrency.push(known);
                }
                self.fleet_input(bot, FleetInput::Fetched(*result));
            }
            Due::GateAnswers(bot, shard, conn, serial) => {
                self.gate_answers(bot, shard, conn, serial);
            }
            Due::Save(bot) => self.ask_what_to_save(bot),
        }
    }

    /// The bot on whose host it happens.
    fn host_of(&self, due: &Due) -> Option<BotId> {
        match due {
            Due::ServerTick
            | Due::ToServer(..)
            | Due::Dialled(_)
            | Due::Release(_)
            | Due::RestAsked(..) => None,
            Due::ToClient(line, _) | Due::DialFailed(line, _) | Due::Flushed(line) => {
                self.lines.get(line).map(|line| line.bot)
            }
            Due::WakeFleet(bot)
            | Due::Asked(bot, _)
            | Due::StartShard(bot, _)
            | Due::WakeShard(bot, _)
            | Due::Report(bot, ..)
            | Due::Tell(bot, ..)
            | Due::Take(bot)
            | Due::GateAnswers(bot, ..)
            | Due::Save(bot)
            | Due::RestAnswered(bot, _) => Some(*bot),
        }
    }
}
