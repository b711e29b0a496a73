//! Holds what a fleet does against the rules. It sees what goes in and comes out, and nothing of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shardwright_core::{
    Answer, CommandId, ConnId, Event, FleetAction, GateRequest, ShardId, ShardState, ToShard, Wait,
};

/// Discord's: one Identify of a bucket in this time.
const BETWEEN: Duration = Duration::from_secs(5);
/// How long a shard may take to end: 5 s for the answer to its close, and one more.
const ENDING: Duration = Duration::from_secs(6);
/// Discord may be so much later with an event to one layout than to the other.
const SKEW: Duration = Duration::from_secs(3);
/// What a new layout was sent so long before it takes over, it has kept.
const KEPT: Duration = Duration::from_secs(9);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A shard that runs.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Running {
    /// When it was started, among the others.
    pub(super) order: u32,
    /// The connection it wants to identify on.
    pub(super) wants: Option<ConnId>,
    /// Its turn, and whether it knows: with a gate it waits there first.
    pub(super) turn: Option<(ConnId, bool)>,
    /// Its Identify has left.
    pub(super) identified: bool,
    pub(super) up: bool,
    /// Its events are kept back until its layout takes over.
    pub(super) muted: bool,
    pub(super) loaded: bool,
    /// When it was up first, unless it has asked to identify since.
    session_since: Option<Instant>,
    /// It was started with a session.
    resumes: bool,
    /// It was asked for its state.
    pub(super) asked_for_state: bool,
    /// It was asked whether all has arrived, and when.
    pub(super) asked: Option<(u64, Instant)>,
    /// When it was asked what it has answered.
    caught_up: Option<Instant>,
    told_to_stop_at: Option<Instant>,
    /// Its state was given out to who removed it.
    given_out: bool,
}

impl Running {
    pub(super) fn is_told_to_stop(&self) -> bool {
        self.told_to_stop_at.is_some()
    }
}

/// What it remembers of all that happened.
#[derive(Clone, Debug, Default, Hash)]
pub struct Checker {
    pub(super) stopped: bool,
    pub(super) shards: BTreeMap<ShardId, Running>,
    started: u32,
    /// Who waits at the user's gate.
    pub(super) at_gate: BTreeSet<(ShardId, ConnId)>,
    /// When the last Identify of the bucket left.
    sent_at: Option<Instant>,
    /// Session starts that are left, and when there are new ones.
    pub(super) starts: Option<(u32, Instant)>,
    /// Questions and commands without their last answer; and which are commands.
    pub(super) open: BTreeSet<CommandId>,
    commands: BTreeSet<CommandId>,
    accepted: BTreeSet<CommandId>,
    /// Which of them remove shards, and which bring some.
    removing: BTreeSet<CommandId>,
    adding: BTreeMap<CommandId, (ShardId, bool)>,
    /// Whose states were given out.
    gone: BTreeSet<ShardId>,
    /// A new layout is built beside the old one; since when all of it are up and loaded.
    prepared: bool,
    both_up_since: Option<Instant>,
    /// Whose sessions somebody has to resume: their drivers are gone, or they are added and not started.
    to_come_back: BTreeSet<ShardId>,
    last_mark: u64,
    /// Shards that have ended by themselves, and none of their names has been started since.
    ended: BTreeSet<ShardId>,
}

type Verdict = Result<(), String>;

fn rule(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// What a fleet was told, as far as it matters here.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_enums, missing_docs)]
pub enum Told {
    /// The address, with so many starts left.
    Fetched(u32),
    Asked(CommandId),
    Commands(CommandId),
    Removes(CommandId),
    /// With a session or without.
    Adds(CommandId, ShardId, bool),
    Wants(ShardId, ConnId),
    Withdraws(ShardId),
    Sent(ShardId),
    Up(ShardId),
    Down(ShardId),
    Ended(ShardId),
    Vanished(ShardId),
    Loaded(ShardId),
    CaughtUp(ShardId),
    State(ShardId),
    GateOpened(ShardId, ConnId),
    GateFailed(ShardId, ConnId),
    Other,
}

impl Checker {
    /// Takes note of what goes in.
    pub fn hear(&mut self, now: Instant, told: Told) {
        self.take_note(now, told);
        self.look_at_the_layouts(now);
    }

    fn take_note(&mut self, now: Instant, told: Told) {
        match told {
            Told::Fetched(left) => {
                self.starts = Some((left, now + DAY));
            }
            Told::Asked(id) => {
                self.open.insert(id);
            }
            Told::Commands(id) => {
                self.open.insert(id);
                self.commands.insert(id);
            }
            Told::Removes(id) => {
                self.open.insert(id);
                self.removing.insert(id);
            }
            Told::Adds(id, shard, resumes) => {
                self.open.insert(id);
                self.adding.insert(id, (shard, resumes));
            }
            Told::Wants(shard, conn) => {
                self.take_back(shard);
                self.change(shard, |shard| {
                    shard.identified = false;
                    shard.wants = Some(conn);
                    shard.session_since = None;
                    shard.resumes = false;
                });
            }
            Told::Withdraws(shard) => self.take_back(shard),
            Told::Sent(shard) => {
                self.take_back(shard);
                self.change(shard, |shard| shard.identified = true);
                self.sent_at = Some(now);
                if let Some((left, _)) = &mut self.starts {
                    *left = left.saturating_sub(1);
                }
            }
            Told::Up(shard) => self.change(shard, |shard| {
                shard.up = true;
                shard.session_since.get_or_insert(now);
            }),
            Told::Down(shard) => self.change(shard, |shard| {
                shard.up = false;
                shard.asked = None;
                shard.caught_up = None;
                shard.identified = false;
            }),
            Told::Ended(shard) => {
                let ended = self.shards.remove(&shard);
                if ended.is_some_and(|ended| !ended.is_told_to_stop()) {
                    self.ended.insert(shard);
                }
            }
            Told::Vanished(shard) => {
                let fell = self.shards.remove(&shard);
                if fell.is_some_and(|fell| !fell.is_told_to_stop()) {
                    self.to_come_back.insert(shard);
                }
            }
            Told::State(shard) => self.change(shard, |shard| shard.asked_for_state = false),
            Told::Loaded(shard) => self.change(shard, |shard| shard.loaded = true),
            Told::CaughtUp(shard) => self.change(shard, |shard| {
                shard.caught_up = shard.asked.take().map(|(_, at)| at);
            }),
            Told::GateOpened(shard, conn) | Told::GateFailed(shard, conn) => {
                let waited = self.at_gate.remove(&(shard, conn));
                let failed = matches!(told, Told::GateFailed(..));
                self.change(shard, |shard| {
                    if waited && failed && shard.turn == Some((conn, false)) {
                        shard.turn = None;
                        shard.wants = Some(conn);
                    }
                });
            }
            Told::Other => {}
        }
    }

    fn change(&mut self, shard: ShardId, how: impl FnOnce(&mut Running)) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            how(shard);
        }
    }

    fn take_back(&mut self, shard: ShardId) {
        self.change(shard, |shard| {
            shard.wants = None;
            shard.turn = None;
        });
    }

    /// Checks one action.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn act(&mut self, now: Instant, told: Told, action: &FleetAction) -> Verdict {
        let answers = matches!(
            action,
            FleetAction::Answer { .. } | FleetAction::Done { .. } | FleetAction::States { .. }
        );
        rule(
            !self.stopped || answers,
            "after the end there are only answers",
        )?;
        match action {
            FleetAction::StartShard(start) => {
                self.gone.remove(&start.config.shard);
                self.to_come_back.remove(&start.config.shard);
                self.ended.remove(&start.config.shard);
                rule(
                    !start.muted || self.prepared,
                    "who is muted belongs to a layout that is built",
                )?;
                let order = self.started;
                self.started += 1;
                let new = Running {
                    order,
                    muted: start.muted,
                    resumes: start.state.is_some(),
                    session_since: start.state.as_ref().map(|_| now),
                    ..Running::default()
                };
                let before = self.shards.insert(start.config.shard, new);
                rule(before.is_none(), "a shard runs once at a time")
            }
            FleetAction::Tell { shard, message } => self.tell(now, told, *shard, message),
            FleetAction::AskGate(GateRequest { shard, conn, .. }) => {
                self.give_turn(now, *shard, *conn, false)?;
                self.at_gate.insert((*shard, *conn));
                Ok(())
            }
            FleetAction::LeaveGate { shard, conn } => {
                self.at_gate.remove(&(*shard, *conn));
                self.change(*shard, |shard| shard.turn = None);
                Ok(())
            }
            FleetAction::PrepareSwap => rule(
                !std::mem::replace(&mut self.prepared, true),
                "one new layout at a time",
            ),
            FleetAction::AbandonSwap => {
                self.both_up_since = None;
                rule(
                    std::mem::replace(&mut self.prepared, false),
                    "what is abandoned was prepared",
                )
            }
            FleetAction::Swap => self.swap(now),
            FleetAction::Answer {
                id,
                answer: Answer::Accepted,
            } => rule(
                self.open.contains(id) && self.accepted.insert(*id),
                "a command is accepted once",
            ),
            FleetAction::Answer { id, .. }
            | FleetAction::Done { id, .. }
            | FleetAction::States { id, .. } => {
                self.accepted.remove(id);
                rule(self.open.remove(id), "each question has one answer")?;
                let added = self.adding.remove(id);
                match action {
                    FleetAction::Done { result: Ok(()), .. } => {
                        if let Some((shard, resumes)) = added {
                            self.added(shard, resumes);
                        }
                        Ok(())
                    }
                    FleetAction::States { states, .. } if self.removing.remove(id) => {
                        for state in states {
                            self.change(state.shard, |shard| shard.given_out = true);
                        }
                        self.give_out(states)
                    }
                    _ => Ok(()),
                }
            }
            FleetAction::Emit(Event::ConnectedAllShards { .. }) => {
                let mut staying = self
                    .shards
                    .values()
                    .filter(|shard| !shard.is_told_to_stop() && !shard.muted);
                rule(
                    staying.all(|shard| shard.up),
                    "all shards are up when it is said",
                )
            }
            FleetAction::Emit(Event::Stopped { states, .. }) => {
                self.stopped = true;
                rule(
                    self.open.is_empty(),
                    "every question has its answer before the end",
                )?;
                self.give_out(states)
            }
            _ => Ok(()),
        }
    }

    /// It is the fleet's again. Where another of its name has still to end it starts later.
    fn added(&mut self, shard: ShardId, resumes: bool) {
        self.gone.remove(&shard);
        let runs = self
            .shards
            .get(&shard)
            .is_some_and(|shard| !shard.is_told_to_stop());
        if resumes && !runs {
            self.to_come_back.insert(shard);
        }
    }

    /// Whoever gets a state goes on from there.
    fn give_out(&mut self, states: &[ShardState]) -> Verdict {
        for state in states {
            self.to_come_back.remove(&state.shard);
            let new = self.gone.insert(state.shard);
            rule(new, "each state is given out once")?;
        }
        Ok(())
    }

    fn tell(&mut self, now: Instant, told: Told, shard: ShardId, message: &ToShard) -> Verdict {
        let Some(running) = self.shards.get_mut(&shard) else {
            return Err("who does not run is told nothing".to_owned());
        };
        match message {
            ToShard::IdentifyGranted { conn } => match running.turn {
                Some((given, false)) => {
                    let opened =
                        matches!(told, Told::GateOpened(of, on) if of == shard && on == *conn);
                    rule(
                        given == *conn && opened,
                        "who waits at the gate waits until it opens",
                    )?;
                    running.turn = Some((*conn, true));
                    Ok(())
                }
                Some(_) => Err("a turn is given once".to_owned()),
                None => self.give_turn(now, shard, *conn, true),
            },
            ToShard::Stop(_) => {
                running.told_to_stop_at.get_or_insert(now);
                Ok(())
            }
            ToShard::ReportState => {
                running.asked_for_state = true;
                Ok(())
            }
            ToShard::CatchUp { mark } => {
                running.asked = Some((*mark, now));
                running.caught_up = None;
                let old = running.up && !running.muted;
                let new = *mark >= std::mem::replace(&mut self.last_mark, *mark);
                let late = self.both_up_since.is_some_and(|at| now >= at + SKEW);
                rule(
                    old && new && late,
                    "the old layout is asked a while after the new one is up",
                )
            }
            _ => Ok(()),
        }
    }

    /// Who was told to stop so long ago does not begin a session any more.
    fn is_given_up(&self, shard: &Running, now: Instant) -> bool {
        let late = shard.told_to_stop_at.is_some_and(|at| now >= at + ENDING);
        shard.given_out || (late && self.removing.is_empty())
    }

    /// Whether all have ended by themselves, and none was removed or is to come.
    pub(super) fn all_have_ended(&self) -> bool {
        let nobody = self.shards.is_empty() && self.to_come_back.is_empty();
        nobody && !self.ended.is_empty() && self.gone.is_empty()
    }

    /// Whether somebody has asked something, other than a command to be sent, and has no answer.
    pub(super) fn is_asked(&self) -> bool {
        self.open.difference(&self.commands).next().is_some()
    }

    /// How many shards are up.
    pub(super) fn up(&self) -> usize {
        self.shards.values().filter(|shard| shard.up).count()
    }

    /// A new layout is being built.
    pub(super) fn is_prepared(&self) -> bool {
        self.prepared
    }

    /// Since when all of a new layout are up and loaded.
    pub(super) fn both_up_since(&self) -> Option<Instant> {
        self.both_up_since
    }

    /// Who has been asked whether all has arrived, and has not answered.
    pub(super) fn asked(&self) -> impl Iterator<Item = ShardId> {
        let asked = self
            .shards
            .iter()
            .filter(|(_, shard)| shard.asked.is_some());
        asked.map(|(shard, _)| *shard)
    }

    fn look_at_the_layouts(&mut self, now: Instant) {
        let coming = |(_, shard): &(&ShardId, &Running)| shard.muted && !shard.is_told_to_stop();
        let mut new = self.shards.iter().filter(coming);
        let total = new.clone().next().map(|(shard, _)| shard.total());
        let all_here =
            total.and_then(|total| usize::try_from(total).ok()) == Some(new.clone().count());
        if all_here && new.all(|(_, shard)| shard.up && shard.loaded) {
            self.both_up_since.get_or_insert(now);
        } else {
            self.both_up_since = None;
        }
    }

    /// The new layout takes over. What was sent to the old one alone comes from the old one or not at all.
    fn swap(&mut self, now: Instant) -> Verdict {
        rule(
            std::mem::replace(&mut self.prepared, false),
            "what takes over was prepared",
        )?;
        rule(
            self.both_up_since.is_some(),
            "who takes over is up and loaded, all of them",
        )?;
        self.both_up_since = None;
        rule(
            self.to_come_back.is_empty() || !self.removing.is_empty(),
            "nobody takes over while one of the old is to come back",
        )?;
        let kept = |at: Instant| now <= at + KEPT - SKEW;
        let lacks = |shard: &Running| {
            let old = !shard.muted && !shard.is_told_to_stop();
            let all_kept = match shard.session_since {
                Some(since) => kept(since) && !shard.resumes,
                None => true,
            };
            old && !all_kept && !shard.caught_up.is_some_and(kept)
        };
        rule(
            !self.shards.values().any(lacks),
            "the old layout has delivered what the new one was not sent",
        )?;
        for shard in self.shards.values_mut() {
            shard.muted = false;
        }
        Ok(())
    }

    fn give_turn(&mut self, now: Instant, shard: ShardId, conn: ConnId, knows: bool) -> Verdict {
        let given = self
            .shards
            .values()
            .filter(|other| other.turn.is_some() && !self.is_given_up(other, now))
            .count();
        rule(given == 0, "one turn of a bucket at a time")?;
        let free = self.sent_at.is_none_or(|at| now >= at + BETWEEN);
        rule(free, "one Identify of a bucket in five seconds")?;
        let left = self
            .starts
            .is_some_and(|(left, reset)| left > 0 || now >= reset);
        rule(left, "no more turns than session starts")?;
        if let Some((left, reset)) = &mut self.starts
            && now >= *reset
        {
            (*left, *reset) = (1000, now + DAY);
        }
        let Some(running) = self.shards.get_mut(&shard) else {
            return Err("who does not run has no turn".to_owned());
        };
        rule(
            running.wants == Some(conn),
            "a turn is for the connection that wants it",
        )?;
        running.wants = None;
        running.turn = Some((conn, knows));
        Ok(())
    }

    /// Checks what it waits for.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn settle(&self, now: Instant, wait: Wait) -> Verdict {
        rule(
            self.stopped == (wait == Wait::Stopped),
            "what has ended says so",
        )?;
        rule(
            !matches!(wait, Wait::Until(at) if at <= now),
            "a deadline lies in the future",
        )
    }
}
