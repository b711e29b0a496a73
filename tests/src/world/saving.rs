//! What of a bot outlives its process, stored while it runs.

use std::time::{Duration, Instant, SystemTime};

use shardwright_core::{
    CommandId, FleetInput, KnownStarts, ShardFilter, ShardReport, ShardState, StopReason,
};

use super::queue::Due;
use super::{BotId, BotSpec, World};

/// The number of a bot's question to itself.
pub(super) const OWN: CommandId = CommandId(0);
/// How often what changes all the time is stored.
const EVERY: Duration = Duration::from_secs(5);
/// How soon what matters is.
const SOON: Duration = Duration::from_millis(200);

/// A run, as it is stored.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Saved {
    /// What each shard goes on from.
    pub shards: Vec<ShardState>,
    /// Session starts that are left, and when there are all again.
    pub starts: Option<(u32, SystemTime)>,
    /// Whether the run ended as it was told to.
    pub ended_in_order: bool,
}

/// When to store what.
#[derive(Debug)]
pub(super) struct Saver {
    others: Vec<ShardState>,
    due: Instant,
    asking: bool,
    saved: Option<Saved>,
}

impl Saver {
    pub(super) fn new(others: Vec<ShardState>, now: Instant) -> Self {
        Self {
            others,
            due: now,
            asking: false,
            saved: None,
        }
    }

    /// Whether the next run should know of this, even if this one is killed soon.
    pub(super) fn cares_for(input: &FleetInput) -> bool {
        use ShardReport as Report;
        match input {
            FleetInput::Start => true,
            FleetInput::Report { report, .. } => matches!(
                report,
                Report::Up | Report::IdentifySent { .. } | Report::Stopped { .. }
            ),
            _ => false,
        }
    }
}

impl World {
    /// What a bot has stored; nothing if it stores nothing.
    #[must_use]
    pub fn saved(&self, bot: BotId) -> Option<&Saved> {
        self.bots[bot.0].saver.as_ref()?.saved.as_ref()
    }

    /// Starts a bot that goes on where the stored run ended or was killed.
    pub fn start_again(&mut self, mut spec: BotSpec, saved: Option<Saved>) -> BotId {
        if let Some(saved) = saved {
            spec.fleet.states = saved.shards;
            spec.fleet.careful |= !saved.ended_in_order;
            spec.fleet.known_starts = saved.starts.and_then(|(remaining, at)| {
                let reset_after = at.duration_since(self.wall).ok()?;
                Some(KnownStarts {
                    remaining,
                    reset_after,
                })
            });
        }
        self.start(spec)
    }

    pub(super) fn save_soon(&mut self, bot: BotId) {
        let due = self.now + SOON;
        let Some(saver) = &mut self.bots[bot.0].saver else {
            return;
        };
        saver.due = saver.due.min(due);
        let due = saver.due.max(self.now);
        self.queue.put(due, Due::Save(bot));
    }

    pub(super) fn ask_what_to_save(&mut self, bot: BotId) {
        let now = self.now;
        let Some(saver) = &mut self.bots[bot.0].saver else {
            return;
        };
        if saver.due > now || std::mem::replace(&mut saver.asking, true) {
            return;
        }
        let filter = ShardFilter::all();
        self.fleet_input(bot, FleetInput::AskForStates { id: OWN, filter });
    }

    pub(super) fn save(&mut self, bot: BotId, states: Vec<ShardState>) {
        let due = self.now + EVERY;
        self.store(bot, states, false);
        if let Some(saver) = &mut self.bots[bot.0].saver {
            saver.asking = false;
            saver.due = due;
            self.queue.put(due, Due::Save(bot));
        }
    }

    pub(super) fn save_the_end(&mut self, bot: BotId, states: Vec<ShardState>, why: &StopReason) {
        let in_order = matches!(why, StopReason::Requested | StopReason::ReShardRequired);
        self.store(bot, states, in_order);
        // Nothing is stored after that.
        if let Some(saver) = &mut self.bots[bot.0].saver {
            saver.asking = true;
        }
    }

    fn store(&mut self, bot: BotId, mut states: Vec<ShardState>, ended_in_order: bool) {
        let it = &mut self.bots[bot.0];
        let starts = it.fleet.starts_left();
        let wall = self.wall;
        let Some(saver) = &mut it.saver else { return };
        let here = |other: &ShardState| states.iter().any(|state| state.shard == other.shard);
        saver.others.retain(|other| !here(other));
        states.extend(saver.others.iter().cloned());
        saver.saved = Some(Saved {
            shards: states,
            starts: starts.map(|starts| (starts.remaining, wall + starts.reset_after)),
            ended_in_order,
        });
    }
}
