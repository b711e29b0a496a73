//! Another number of shards for a running bot.
//!
//! ```text
//!              demanded (4011) or asked for
//!                       │ ask Discord: address, number, starts left
//!                       ▼
//!   passing fault ◀─ Fetching ──▶ Waiting (too few starts, demanded: until the reset)
//!   asks again          │                │
//!                       ▼◀───────────────┘
//!     StopThenStart     │      StartThenSwap
//!         ┌─────────────┴──────────────┐
//!         ▼                            ▼
//!     Emptying                      Building, the old layout untouched
//!     the old ones end                 │ all up and loaded      │ one is refused, or too late
//!         │                            ▼                        │
//!         ▼                      ... the old have caught up     │
//!     the new ones start               │                        ▼
//!                                      ▼                     the new ones end
//!                               swap, the old ones end       the old layout goes on
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::identify::BETWEEN;
use super::overlapping::{Next, Overlapping};
use super::patience::Patience;
use super::roster::{Life, Shard};
use super::{
    ABSURD_TOTAL, Event, FleetAction, FleetError, FleetMachine, ReShardPolicy, ShardPlan, ToShard,
};
use crate::{
    CommandId, FetchFault, FetchMachine, FetchNext, GatewayInfo, ShardId, Stop, StopReason,
};

/// Beside the time that the identify limit asks for, how long a new layout may take to be up.
const TIME_TO_BUILD: Duration = Duration::from_secs(10 * 60);
/// How often Discord is asked for a re-shard that a person waits for.
const TRIES_ON_DEMAND: u32 = 3;

/// A change to another number of shards.
#[derive(Clone, Debug)]
pub(super) struct ReShard {
    phase: Phase,
    fetch: FetchMachine,
    /// What was asked for; Discord decides if `None`.
    wanted: Option<u32>,
    /// Who asked.
    asked: Option<CommandId>,
}

#[derive(Clone, Debug)]
enum Phase {
    Fetching {
        retry_at: Option<Instant>,
    },
    /// For session starts.
    Waiting {
        until: Instant,
    },
    Emptying {
        total: u32,
        old: BTreeSet<ShardId>,
        patience: Patience,
    },
    Building {
        total: u32,
        deadline: Instant,
        /// From when on all of the new layout are up and loaded.
        overlap: Option<Overlapping>,
    },
    /// The new layout has taken over; the old shards end.
    Leaving {
        old: BTreeSet<ShardId>,
        patience: Patience,
    },
}

impl ReShard {
    /// Old shards are ending.
    pub(super) fn makes_way(&self) -> bool {
        matches!(self.phase, Phase::Emptying { .. } | Phase::Leaving { .. })
    }

    /// Whether this is an old shard that has still to end.
    pub(super) fn waits_for(&self, shard: ShardId) -> bool {
        match &self.phase {
            Phase::Emptying { old, .. } | Phase::Leaving { old, .. } => old.contains(&shard),
            _ => false,
        }
    }

    pub(super) fn next_time(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Fetching { retry_at } => *retry_at,
            Phase::Waiting { until } => Some(*until),
            Phase::Building {
                deadline, overlap, ..
            } => {
                let look = overlap.as_ref().map(Overlapping::look_again);
                Some(look.map_or(*deadline, |look| look.min(*deadline)))
            }
            Phase::Emptying { patience, .. } | Phase::Leaving { patience, .. } => {
                Some(patience.end())
            }
        }
    }
}

impl FleetMachine {
    /// A shard was closed with 4011.
    pub(super) fn more_shards_demanded(&mut self, shard: ShardId, why: StopReason) {
        if shard.total() != self.total {
            // Of a layout that was added, or that is not up yet.
            self.coming_shard_failed(shard, &why);
            return self.end_if_none_is_left(why);
        }
        let all_here = matches!(
            self.config.plan,
            ShardPlan::Recommended | ShardPlan::Total(_)
        );
        if self.config.re_shard == ReShardPolicy::Report || !all_here {
            let (from, to) = (self.total, None);
            let event = Event::ReShard { from, to };
            self.out.push_back(FleetAction::Emit(event));
            return self.stop(Stop::Keep, why);
        }
        if self.re_shard.is_none() {
            self.begin_re_shard(None, None);
        }
    }

    pub(super) fn re_shard_on_demand(
        &mut self,
        id: CommandId,
        to: Option<u32>,
    ) -> Result<(), FleetError> {
        if let Some(error) = self.unchangeable() {
            return Err(error);
        }
        if self.re_shard.is_some() {
            return Err(FleetError::ReSharding);
        }
        match to {
            Some(total) if total == 0 || total > ABSURD_TOTAL => {
                return Err(FleetError::BadTotal { total });
            }
            Some(total) if total == self.total => return Err(FleetError::SameTotal { total }),
            _ => {}
        }
        let of_one_layout = self.shards.keys().all(|shard| shard.total() == self.total);
        if !of_one_layout || super::count(self.shards.len()) != self.total {
            return Err(FleetError::NotAllHere);
        }
        self.begin_re_shard(to, Some(id));
        Ok(())
    }

    fn begin_re_shard(&mut self, wanted: Option<u32>, asked: Option<CommandId>) {
        let tries = asked.map(|_| TRIES_ON_DEMAND);
        self.re_shard = Some(ReShard {
            phase: Phase::Fetching { retry_at: None },
            fetch: FetchMachine::new(tries, self.rng.next_u64()),
            wanted,
            asked,
        });
        self.fetch_now();
    }

    pub(super) fn fetched_while_running(&mut self, result: Result<GatewayInfo, FetchFault>) {
        let Some(ReShard {
            phase: Phase::Fetching { retry_at },
            fetch,
            ..
        }) = &mut self.re_shard
        else {
            return self.recounted(result);
        };
        match fetch.on_result(self.now, result) {
            FetchNext::Done(info) => self.know_the_new_total(info),
            FetchNext::RetryAt(at) => *retry_at = Some(at),
            FetchNext::Failed(fault) => self.fail_re_shard(fault.into()),
        }
    }

    fn know_the_new_total(&mut self, info: GatewayInfo) {
        let Some(re_shard) = &mut self.re_shard else {
            return;
        };
        // Demanded, so more than now are needed, whatever is recommended.
        let demanded = re_shard.asked.is_none();
        let least = if demanded { self.total + 1 } else { 1 };
        let total = re_shard.wanted.unwrap_or(info.shards).max(least);
        let limit = info.session_start_limit;
        self.url = Some(info.url);
        self.refresh_turns(&limit);
        if total == self.total {
            return self.fail_re_shard(FleetError::SameTotal { total });
        }
        if total > ABSURD_TOTAL {
            return self.fail_re_shard(FleetError::BadTotal { total });
        }
        let left = self.turns.as_ref().map_or(0, |turns| turns.left());
        if left < total && !demanded {
            return self.fail_re_shard(FleetError::NotEnoughStarts {
                total,
                left,
                reset_after: limit.reset_after,
            });
        }
        if left == 0 {
            let until = self.now + limit.reset_after;
            if let Some(re_shard) = &mut self.re_shard {
                re_shard.phase = Phase::Waiting { until };
            }
            self.out
                .push_back(FleetAction::Emit(Event::IdentifyBudgetSpent {
                    reset_after: limit.reset_after,
                    waiting: total,
                    kept_back: self.turns.as_ref().map_or(0, |turns| turns.kept_back()),
                }));
            return;
        }
        if self.config.re_shard == ReShardPolicy::StartThenSwap {
            self.build(total);
        } else {
            self.empty(total);
        }
    }

    /// Ends the old shards; the new ones start when they are gone.
    fn empty(&mut self, total: u32) {
        self.say_re_shard(total);
        let old = self.end_the_present();
        let patience = self.patience();
        if let Some(re_shard) = &mut self.re_shard {
            re_shard.phase = Phase::Emptying {
                total,
                old,
                patience,
            };
        }
        self.go_on_when_empty();
    }

    /// Starts the new shards beside the old ones.
    fn build(&mut self, total: u32) {
        if let Some(shard) = self
            .shards
            .keys()
            .copied()
            .find(|shard| shard.total() == total)
        {
            // Of a layout that was added.
            return self.fail_re_shard(FleetError::AlreadyHere { shard });
        }
        let turns = self
            .turns
            .as_ref()
            .map_or(1, |turns| turns.max_concurrency());
        let deadline = self.now + BETWEEN * total.div_ceil(turns) + TIME_TO_BUILD;
        if let Some(re_shard) = &mut self.re_shard {
            re_shard.phase = Phase::Building {
                total,
                deadline,
                overlap: None,
            };
        }
        self.out.push_back(FleetAction::PrepareSwap);
        self.enlist_layout(total, true);
    }

    fn enlist_layout(&mut self, total: u32, coming: bool) {
        let shards = (0..total).filter_map(|number| ShardId::new(number, total).ok());
        for shard in shards {
            self.enlist(shard, None, coming);
        }
        self.start_what_is_near();
    }

    /// Swaps if all of the new layout are up, their guilds are loaded, and the old layout has delivered what came
    /// before that.
    pub(super) fn look_at_the_coming(&mut self) {
        let (now, shards) = (self.now, &self.shards);
        let Some(ReShard {
            phase: Phase::Building { total, overlap, .. },
            ..
        }) = &mut self.re_shard
        else {
            return;
        };
        let mut coming = shards.values().filter(|shard| shard.coming);
        if !coming.all(|shard| shard.is_up() && shard.is_loaded()) {
            *overlap = None;
            return;
        }
        let overlapping = overlap.get_or_insert_with(|| Overlapping::new(now));
        match overlapping.go_on(now, shards, &mut self.marks) {
            Next::Wait => {}
            Next::Ask { mark, shards } => {
                for shard in shards {
                    let message = ToShard::CatchUp { mark };
                    self.out.push_back(FleetAction::Tell { shard, message });
                }
            }
            Next::Swap => {
                let total = *total;
                self.swap(total);
            }
        }
    }

    /// A shard has delivered what there was when it was asked.
    pub(super) fn caught_up(&mut self, shard: ShardId, mark: u64) {
        if let Some(ReShard {
            phase:
                Phase::Building {
                    overlap: Some(overlap),
                    ..
                },
            ..
        }) = &mut self.re_shard
            && overlap.caught_up(shard, mark)
        {
            self.look_at_the_coming();
        }
    }

    fn swap(&mut self, total: u32) {
        self.say_re_shard(total);
        self.out.push_back(FleetAction::Swap);
        let old = self.end_shards(|shard| !shard.coming);
        self.let_the_coming_in();
        self.total = total;
        let patience = self.patience();
        let asked = self.re_shard.as_mut().and_then(|re_shard| {
            re_shard.phase = Phase::Leaving { old, patience };
            re_shard.asked.take()
        });
        self.answer_re_shard(asked, Ok(()));
        self.all_up_said = false;
        self.go_on_when_empty();
    }

    /// Ends the shards that are meant, and returns those that have still to say so.
    fn end_shards(&mut self, meant: impl Fn(&Shard) -> bool) -> BTreeSet<ShardId> {
        let mut open = BTreeSet::new();
        let meant: Vec<(ShardId, bool)> = self
            .shards
            .iter()
            .filter(|(_, shard)| meant(shard))
            .map(|(id, shard)| (*id, shard.is_running()))
            .collect();
        for (shard, runs) in meant {
            if runs {
                let message = ToShard::Stop(Stop::Final);
                self.out.push_back(FleetAction::Tell { shard, message });
                open.insert(shard);
            } else {
                self.discharge(shard);
            }
        }
        open
    }

    /// Ends the present layout, and returns those that have still to say so. Each keeps its place until
    /// the new layout starts: a bot that is stopped before hands over all of them.
    fn end_the_present(&mut self) -> BTreeSet<ShardId> {
        let mut open = BTreeSet::new();
        for state in self.states() {
            let shard = state.shard;
            if self.shards.get(&shard).is_some_and(Shard::is_running) {
                let message = ToShard::Stop(Stop::Final);
                self.out.push_back(FleetAction::Tell { shard, message });
                open.insert(shard);
            } else {
                self.set_life(shard, Life::Stopped(Box::new(state)));
            }
        }
        let shards = &self.shards;
        let waits = |id: &ShardId| shards.get(id).is_some_and(|shard| !shard.has_stopped());
        self.queues
            .values_mut()
            .for_each(|queue| queue.retain(waits));
        open
    }

    /// A shard has ended. True if it was one of an old layout that makes way.
    pub(super) fn old_shard_stopped(&mut self, shard: ShardId) -> bool {
        let Some(re_shard) = &mut self.re_shard else {
            return false;
        };
        let swapped = matches!(re_shard.phase, Phase::Leaving { .. });
        let (Phase::Emptying { old, .. } | Phase::Leaving { old, .. }) = &mut re_shard.phase else {
            return false;
        };
        let makes_way = old.remove(&shard);
        if makes_way {
            if swapped {
                self.discharge(shard);
            }
            self.go_on_when_empty();
        }
        makes_way
    }

    fn go_on_when_empty(&mut self) {
        let Some(re_shard) = &self.re_shard else {
            return;
        };
        match &re_shard.phase {
            Phase::Emptying { total, old, .. } if old.is_empty() => {
                let (total, asked) = (*total, re_shard.asked);
                self.re_shard = None;
                for state in self.states() {
                    self.discharge(state.shard);
                }
                self.total = total;
                self.all_up_said = false;
                self.enlist_layout(total, false);
                self.answer_re_shard(asked, Ok(()));
            }
            Phase::Leaving { old, .. } if old.is_empty() => {
                self.re_shard = None;
                self.say_if_all_up();
                // What is left may have ended while the others did.
                self.end_if_none_is_left(StopReason::NoShardsLeft);
            }
            _ => {}
        }
    }

    /// What the passing of time does to a re-shard.
    pub(super) fn go_on_re_sharding(&mut self) {
        let (now, time) = (self.now, self.stop_patience());
        let Some(re_shard) = &mut self.re_shard else {
            return;
        };
        match &mut re_shard.phase {
            Phase::Fetching { retry_at } if retry_at.is_some_and(|at| at <= now) => {
                *retry_at = None;
                self.fetch_now();
            }
            Phase::Waiting { until } if *until <= now => {
                re_shard.phase = Phase::Fetching { retry_at: None };
                self.fetch_now();
            }
            Phase::Building { deadline, .. } if *deadline <= now => {
                self.fail_re_shard(FleetError::TimedOut);
            }
            Phase::Building {
                overlap: Some(overlap),
                ..
            } if overlap.look_again() <= now => self.look_at_the_coming(),
            Phase::Emptying { old, patience, .. } | Phase::Leaving { old, patience } => {
                if !patience.is_over(now, time) {
                    return;
                }
                for shard in std::mem::take(old) {
                    self.discharge(shard);
                }
                self.go_on_when_empty();
            }
            _ => {}
        }
    }

    /// A shard has ended for good: a new layout with such a one is no good.
    pub(super) fn coming_shard_failed(&mut self, shard: ShardId, why: &StopReason) {
        if self.shards.get(&shard).is_some_and(|shard| shard.coming) {
            let why = why.clone();
            self.fail_re_shard(FleetError::ShardFailed { shard, why });
        }
    }

    /// The old layout goes on; what there is of the new one ends.
    fn fail_re_shard(&mut self, why: FleetError) {
        let Some(re_shard) = self.re_shard.take() else {
            return;
        };
        if let Phase::Building { .. } = re_shard.phase {
            self.out.push_back(FleetAction::AbandonSwap);
            let open = self.end_shards(|shard| shard.coming);
            let patience = self.patience();
            if !open.is_empty() {
                self.re_shard = Some(ReShard {
                    phase: Phase::Leaving {
                        old: open,
                        patience,
                    },
                    fetch: re_shard.fetch,
                    wanted: None,
                    asked: None,
                });
            }
        }
        let from = self.total;
        if re_shard.asked.is_none() {
            let why = why.clone();
            self.out
                .push_back(FleetAction::Emit(Event::ReShardFailed { from, why }));
        }
        self.answer_re_shard(re_shard.asked, Err(why));
        // Discord may have changed the buckets: those that wait may be the first of theirs now.
        self.start_what_is_near();
        self.end_if_none_is_left(StopReason::ReShardRequired);
    }

    /// The bot ends: whoever asked for another number of shards is told.
    pub(super) fn forget_re_shard(&mut self, why: FleetError) {
        if let Some(re_shard) = self.re_shard.take() {
            self.answer_re_shard(re_shard.asked, Err(why));
        }
    }

    fn say_re_shard(&mut self, total: u32) {
        let (from, to) = (self.total, Some(total));
        let event = Event::ReShard { from, to };
        self.out.push_back(FleetAction::Emit(event));
    }

    fn answer_re_shard(&mut self, asked: Option<CommandId>, result: Result<(), FleetError>) {
        if let Some(id) = asked {
            self.out.push_back(FleetAction::Done { id, result });
        }
    }
}
