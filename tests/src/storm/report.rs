//! What happened in a storm, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use shardwright_core::{Event, SessionLoss};

use crate::server::Seen;
use crate::world::{BotStory, World};

/// What happened, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// How much time passed in the world, in seconds.
    pub seconds: f64,
    /// Processes of bots.
    pub processes: usize,
    /// Dials.
    pub dials: usize,
    /// Identifies that reached the server.
    pub identifies: usize,
    /// Resumes that came to RESUMED.
    pub resumes: usize,
    /// Sessions that bots lost, by why.
    pub sessions_lost: BTreeMap<&'static str, u64>,
    /// Dispatches that consumers took.
    pub events: u64,
    /// Faults that were played, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The longest time a shard was away, in seconds: from the end of a connection to READY or RESUMED in
    /// the same process.
    pub longest_away: f64,
}

impl Report {
    pub(super) fn new(world: &World, faults: &BTreeMap<&'static str, u64>) -> Self {
        let log = world.server().log();
        let mut report = Self {
            seconds: world.time().as_secs_f64(),
            dials: world.lines().len(),
            faults: faults.clone(),
            ..Self::default()
        };
        for entry in log.entries() {
            match entry.what {
                Seen::Identify { .. } => report.identifies += 1,
                Seen::Resumed { .. } => report.resumes += 1,
                _ => {}
            }
        }
        for bot in world.evidence().bots {
            report.processes += 1;
            report.read(bot);
        }
        report
    }

    fn read(&mut self, bot: &BotStory) {
        let mut away = BTreeMap::<_, Duration>::new();
        for taken in &bot.taken {
            let Some(event) = taken.event.notice() else {
                self.events += 1;
                continue;
            };
            match event {
                Event::Disconnected { .. } => {
                    away.entry(taken.life).or_insert(taken.at);
                }
                Event::Ready { .. } | Event::Resumed { .. } => {
                    if let Some(since) = away.remove(&taken.life) {
                        let time = taken.at.saturating_sub(since).as_secs_f64();
                        self.longest_away = self.longest_away.max(time);
                    }
                }
                Event::SessionLost { why, .. } => {
                    *self.sessions_lost.entry(reason(why)).or_default() += 1;
                }
                _ => {}
            }
        }
    }
}

fn reason(why: &SessionLoss) -> &'static str {
    match why {
        SessionLoss::Invalidated => "invalidated",
        SessionLoss::Closed(_) => "close code",
        SessionLoss::ResumeRefused => "resumes refused",
        SessionLoss::TooOld => "too old",
        SessionLoss::Poisoned => "undecodable event",
        SessionLoss::Superseded => "superseded",
        _ => "other",
    }
}
