//! The shards of a fleet: what each does, and how they start.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Event, FleetAction, FleetMachine, State, count};
use crate::{
    Answer, CommandError, CommandId, Problem, ShardId, ShardStart, ShardState, StopReason,
};

/// Shards of one bucket that are on their way to their Identify at one time: one whose turn it is, and
/// one that dials meanwhile.
const ON_THE_WAY: usize = 2;
/// A shard whose driver has vanished is started again after this, twice as long each time.
const FIRST_RESTART: Duration = Duration::from_secs(1);
const LAST_RESTART: Duration = Duration::from_secs(60);

/// One shard of a fleet.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) life: Life,
    /// Of a layout that is to take over: not heard yet, and not given commands.
    pub(super) coming: bool,
    /// Another layout has taken over: it has nothing to hand over, and has still to end.
    pub(super) replaced: bool,
}

/// How far a shard is.
#[derive(Clone, Debug)]
pub(super) enum Life {
    /// Not started yet; it may bring an older state that is of no use to resume from.
    Planned(Option<Box<ShardState>>),
    Running {
        /// READY or RESUMED, as far as reported.
        up: bool,
        /// It has a session, as far as reported: from READY on, until it asks to identify.
        session: bool,
        /// Its guilds are loaded, as far as reported.
        loaded: bool,
        /// Still on its way to its first Identify: holds one of the bucket's places.
        on_the_way: bool,
    },
    /// Its driver vanished: it is started again then.
    Fallen {
        at: Instant,
        state: Box<ShardState>,
    },
    Stopped(Box<ShardState>),
}

impl Shard {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.life, Life::Running { .. })
    }

    pub(super) fn has_stopped(&self) -> bool {
        matches!(self.life, Life::Stopped(_))
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.life, Life::Running { up: true, .. })
    }

    /// More events may come of a session that it had.
    pub(super) fn has_events_to_come(&self) -> bool {
        match self.life {
            Life::Running { session, .. } => session,
            Life::Fallen { .. } => true,
            // It waits for an old driver of its name.
            Life::Planned(ref state) => state.as_deref().is_some_and(ShardState::is_resumable),
            Life::Stopped(_) => false,
        }
    }

    pub(super) fn is_loaded(&self) -> bool {
        matches!(self.life, Life::Running { loaded: true, .. })
    }
}

impl FleetMachine {
    /// The states of the present layout's shards as far as they are known here: those that have ended,
    /// and what was given for those that have not started.
    #[must_use]
    pub fn states(&self) -> Vec<ShardState> {
        if self.total == 0 {
            return self.config.states.clone();
        }
        let present = |shard: &Shard| !shard.coming && !shard.replaced;
        let present = self.shards.iter().filter(|(_, shard)| present(shard));
        present
            .map(|(id, shard)| match &shard.life {
                Life::Stopped(state) | Life::Fallen { state, .. } => (**state).clone(),
                Life::Planned(Some(state)) => (**state).clone(),
                Life::Planned(None) | Life::Running { .. } => ShardState::fresh(*id),
            })
            .collect()
    }

    /// A new shard: starts at once if it has a session, else when its turn is near.
    pub(super) fn enlist(&mut self, id: ShardId, state: Option<ShardState>, coming: bool) {
        let resumable = state.as_ref().is_some_and(ShardState::is_resumable);
        self.present += usize::from(!coming);
        let life = Life::Planned(state.map(Box::new));
        let shard = Shard {
            life,
            coming,
            replaced: false,
        };
        self.shards.insert(id, shard);
        if resumable {
            self.start(id);
        } else if let Some(turns) = &self.turns {
            let queue = self.queues.entry(turns.bucket_of(id)).or_default();
            queue.push_back(id);
        }
    }

    /// Takes a shard out of the set. One that runs is given up: nobody waits for it any more.
    pub(super) fn discharge(&mut self, id: ShardId) {
        self.leave(id, CommandError::Stopped);
        self.falls.remove(&id);
        if let Some(turns) = &mut self.turns {
            turns.forget(id);
        }
        let Some(shard) = self.shards.remove(&id) else {
            return;
        };
        self.present -= usize::from(!shard.coming);
        if matches!(shard.life, Life::Planned(_)) {
            self.queues
                .values_mut()
                .for_each(|queue| queue.retain(|queued| *queued != id));
        }
        if shard.is_running() {
            self.unended.insert(id);
            self.no_longer_asked(id);
            self.no_longer_removed(id);
        }
    }

    /// One that was given up has ended after all. What came after it was given up is known now.
    pub(super) fn ended_late(&mut self, id: ShardId, last: ShardState) {
        if !self.unended.remove(&id) || !matches!(self.state, State::Running) {
            return;
        }
        let Some(Shard {
            life: Life::Planned(state),
            ..
        }) = self.shards.get_mut(&id)
        else {
            return;
        };
        if let Some(state) = state
            && state.session_id == last.session_id
            && state.seq < last.seq
        {
            **state = last;
        }
        if state.as_deref().is_some_and(ShardState::is_resumable) {
            self.start(id);
        } else if let Some(turns) = &self.turns {
            let bucket = turns.bucket_of(id);
            let queue = self.queues.entry(bucket).or_default();
            queue.retain(|queued| *queued != id);
            queue.push_front(id);
            self.start_next(bucket);
        }
    }

    /// Starts a shard that is planned or has fallen, once no other of its name runs.
    pub(super) fn start(&mut self, id: ShardId) {
        if self.unended.contains(&id) {
            return;
        }
        let (Some(url), Some(shard)) = (self.url.clone(), self.shards.get_mut(&id)) else {
            return;
        };
        let state = match &mut shard.life {
            Life::Planned(state) => state.take().map(|state| *state),
            Life::Fallen { state, .. } => Some((**state).clone()),
            Life::Running { .. } | Life::Stopped(_) => return,
        };
        let state = state.filter(ShardState::is_resumable);
        let on_the_way = state.is_none();
        let muted = shard.coming;
        shard.life = Life::Running {
            up: false,
            session: !on_the_way,
            loaded: false,
            on_the_way,
        };
        if on_the_way && let Some(turns) = &self.turns {
            *self.on_the_way.entry(turns.bucket_of(id)).or_default() += 1;
        }
        let mut config = self
            .config
            .template
            .config(id, self.config.token.clone(), url);
        config.track_guilds |= muted;
        let seed = self.rng.next_u64();
        self.out
            .push_back(FleetAction::StartShard(Box::new(ShardStart {
                config,
                state,
                seed,
                muted,
            })));
    }

    pub(super) fn start_what_is_near(&mut self) {
        let buckets: Vec<u32> = self.queues.keys().copied().collect();
        for bucket in buckets {
            self.start_next(bucket);
        }
    }

    /// Starts the next shards of a bucket, as far as there are places.
    fn start_next(&mut self, bucket: u32) {
        let has_place = |it: &Self| it.on_the_way.get(&bucket).copied().unwrap_or(0) < ON_THE_WAY;
        while has_place(self)
            && let Some(queue) = self.queues.get_mut(&bucket)
            && let Some(shard) = queue.pop_front()
        {
            self.start(shard);
        }
    }

    /// Puts planned shards and those on their way where they belong after the number of buckets changed.
    pub(super) fn sort_into_buckets(&mut self) {
        let Some(turns) = &self.turns else { return };
        let planned: Vec<ShardId> = std::mem::take(&mut self.queues)
            .into_values()
            .flatten()
            .collect();
        self.on_the_way.clear();
        for id in planned {
            let queue: &mut VecDeque<_> = self.queues.entry(turns.bucket_of(id)).or_default();
            queue.push_back(id);
        }
        for (id, shard) in &self.shards {
            if let Life::Running {
                on_the_way: true, ..
            } = shard.life
            {
                *self.on_the_way.entry(turns.bucket_of(*id)).or_default() += 1;
            }
        }
    }

    /// A shard no longer needs its place on the way to an Identify.
    pub(super) fn free_place(&mut self, id: ShardId) {
        if let Some(Shard {
            life: Life::Running { on_the_way, .. },
            ..
        }) = self.shards.get_mut(&id)
            && std::mem::take(on_the_way)
            && let Some(turns) = &self.turns
        {
            let bucket = turns.bucket_of(id);
            if let Some(count) = self.on_the_way.get_mut(&bucket) {
                *count = count.saturating_sub(1);
            }
            if matches!(self.state, State::Running) {
                self.start_next(bucket);
            }
        }
    }

    pub(super) fn set_up(&mut self, id: ShardId, now_up: bool) {
        if let Some(Shard {
            life: Life::Running { up, .. },
            coming,
            ..
        }) = self.shards.get_mut(&id)
            && std::mem::replace(up, now_up) != now_up
            && !*coming
        {
            self.up = if now_up {
                self.up + 1
            } else {
                self.up.saturating_sub(1)
            };
        }
    }

    pub(super) fn set_session(&mut self, id: ShardId, has_one: bool) {
        if let Some(Shard {
            life: Life::Running { session, .. },
            ..
        }) = self.shards.get_mut(&id)
        {
            *session = has_one;
        }
    }

    pub(super) fn set_loaded(&mut self, id: ShardId) {
        if let Some(Shard {
            life: Life::Running { loaded, .. },
            ..
        }) = self.shards.get_mut(&id)
        {
            *loaded = true;
        }
    }

    pub(super) fn set_life(&mut self, id: ShardId, life: Life) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.life = life;
        }
    }

    /// The shards of the coming layout are the present ones now.
    pub(super) fn let_the_coming_in(&mut self) {
        for shard in self.shards.values_mut() {
            shard.replaced = !shard.coming;
            if std::mem::take(&mut shard.coming) {
                self.present += 1;
                self.up += usize::from(shard.is_up());
            }
        }
    }

    /// A shard no longer takes part: its turn, its place and its commands are free.
    pub(super) fn leave(&mut self, id: ShardId, error: CommandError) {
        self.free_place(id);
        self.set_up(id, false);
        self.end_collections(Some(id));
        self.take_back_turn(id);
        let orphans: Vec<CommandId> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.open.contains_key(&id))
            .map(|(id, _)| *id)
            .collect();
        for command in orphans {
            self.answered(id, command, Answer::Refused(error.clone()));
        }
    }

    /// A shard's driver is gone, and the shard with it: it is started again, with its session.
    pub(super) fn vanished(&mut self, id: ShardId, state: ShardState) {
        self.set_up(id, false);
        let removed = self.removals.values().any(|removal| removal.waits_for(id));
        let makes_way = self
            .re_shard
            .as_ref()
            .is_some_and(|re_shard| re_shard.waits_for(id));
        if !matches!(self.state, State::Running) || removed || makes_way {
            return self.shard_stopped(id, StopReason::Abandoned, state);
        }
        self.leave(id, CommandError::Interrupted);
        let falls = self.falls.entry(id).or_default();
        let restart_in = FIRST_RESTART
            .saturating_mul(1 << (*falls).min(16))
            .min(LAST_RESTART);
        *falls += 1;
        let life = Life::Fallen {
            at: self.now + restart_in,
            state: Box::new(state.clone()),
        };
        self.set_life(id, life);
        self.state_known(id, &state);
        if !self.shards.contains_key(&id) {
            // It was to go anyway.
            return;
        }
        self.out.push_back(FleetAction::Emit(Event::Problem {
            shard: id,
            conn: None,
            problem: Problem::DriverEnded { restart_in },
        }));
    }

    pub(super) fn start_the_fallen(&mut self) {
        let is_due = |id: &&ShardId| match self.shards.get(id).map(|shard| &shard.life) {
            Some(Life::Fallen { at, .. }) => *at <= self.now,
            _ => false,
        };
        let due: Vec<ShardId> = self.falls.keys().filter(is_due).copied().collect();
        for id in due {
            self.start(id);
        }
    }

    /// When fallen shards are started again.
    pub(super) fn restarts(&self) -> impl Iterator<Item = Instant> + '_ {
        let shards = self.falls.keys().filter_map(|id| self.shards.get(id));
        shards.filter_map(|shard| match shard.life {
            Life::Fallen { at, .. } => Some(at),
            _ => None,
        })
    }

    /// How many shards are to run here.
    pub(super) fn planned_here(&self) -> u32 {
        count(self.present)
    }
}
