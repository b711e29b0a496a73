//! Holds what a fleet does against the rules. It sees what goes in and comes out, and nothing of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shardwright_core::{
    Answer, CommandId, ConnId, Event, FleetAction, GateRequest, ShardId, ShardState, ToShard, Wait,
};

/// Discord's: one Identify of a bucket in this time.
const BETWEEN: Duration = Duration::from_secs(5);
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
    pub(super) told_to_stop: bool,
    /// It was told so long ago, and nobody waits for its end any more.
    given_up: bool,
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
    /// Questions and commands without their last answer.
    pub(super) open: BTreeSet<CommandId>,
    accepted: BTreeSet<CommandId>,
    /// Which of them remove shards, and which bring some.
    removing: BTreeSet<CommandId>,
    adding: BTreeMap<CommandId, ShardId>,
    /// Whose states were given out.
    gone: BTreeSet<ShardId>,
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
    Removes(CommandId),
    Adds(CommandId, ShardId),
    Wants(ShardId, ConnId),
    Withdraws(ShardId),
    Sent(ShardId),
    Up(ShardId),
    Down(ShardId),
    Ended(ShardId),
    GateOpened(ShardId, ConnId),
    GateFailed(ShardId, ConnId),
    Other,
}

impl Checker {
    /// Takes note of what goes in.
    pub fn hear(&mut self, now: Instant, told: Told) {
        match told {
            Told::Fetched(left) => {
                self.starts = Some((left, now + DAY));
            }
            Told::Asked(id) => {
                self.open.insert(id);
            }
            Told::Removes(id) => {
                self.open.insert(id);
                self.removing.insert(id);
            }
            Told::Adds(id, shard) => {
                self.open.insert(id);
                self.adding.insert(id, shard);
            }
            Told::Wants(shard, conn) => {
                self.take_back(shard);
                self.change(shard, |shard| {
                    shard.identified = false;
                    shard.wants = Some(conn);
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
            Told::Up(shard) => self.change(shard, |shard| shard.up = true),
            Told::Down(shard) => self.change(shard, |shard| {
                shard.up = false;
                shard.identified = false;
            }),
            Told::Ended(shard) => {
                self.shards.remove(&shard);
            }
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
                let order = self.started;
                self.started += 1;
                let new = Running {
                    order,
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
                        self.gone.retain(|gone| Some(*gone) != added);
                        Ok(())
                    }
                    FleetAction::States { states, .. } if self.removing.remove(id) => {
                        for state in states {
                            self.change(state.shard, |shard| shard.given_up = true);
                        }
                        self.give_out(states)
                    }
                    _ => Ok(()),
                }
            }
            FleetAction::Emit(Event::ConnectedAllShards { .. }) => {
                let mut staying = self.shards.values().filter(|shard| !shard.told_to_stop);
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

    /// Whoever gets a state goes on from there.
    fn give_out(&mut self, states: &[ShardState]) -> Verdict {
        for state in states {
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
                running.told_to_stop = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn give_turn(&mut self, now: Instant, shard: ShardId, conn: ConnId, knows: bool) -> Verdict {
        let given = self
            .shards
            .values()
            // Who was told to stop long ago does not begin a session any more.
            .filter(|other| other.turn.is_some() && !other.given_up)
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
