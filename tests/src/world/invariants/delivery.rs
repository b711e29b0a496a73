//! Rule 1: what the server gave a session reaches the consumer once, in order, without a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shardwright_core::{Event, EventId, Overlap};

use super::{Broken, Evidence, Owner, breach, swaps};
use crate::server::{ConnId, Seen};
use crate::world::{Taken, TakenEvent};

/// What was given this long before the end may still be on its way.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// What a session was given: sequence number, time, digest.
pub(super) type Given = BTreeMap<u64, (Duration, u64)>;

pub(super) fn check(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let mut given = BTreeMap::<&str, Given>::new();
    for entry in evidence.log {
        if let Seen::Given {
            session,
            seq,
            digest,
        } = &entry.what
        {
            let session = given.entry(session.as_str()).or_default();
            session.insert(*seq, (entry.at, *digest));
        }
    }
    if given.is_empty() {
        return;
    }
    let mut damaged = BTreeSet::new();
    let mut ended = BTreeMap::new();
    let mut attached = BTreeMap::new();
    for entry in evidence.log {
        // A Resume that was answered late takes the session away from a newer one: then what is given goes there.
        if let (
            Seen::Ready { session }
            | Seen::Resume { session, .. }
            | Seen::Resumed { session, .. }
            | Seen::Given { session, .. },
            Some(conn),
        ) = (&entry.what, entry.conn)
        {
            attached.insert(session.as_str(), conn);
        }
        if let Seen::SessionEnded { session, .. } = &entry.what {
            ended.entry(session.as_str()).or_insert(entry.at);
        }
        if let (Seen::Damaged { seq: Some(seq) }, Some(line)) =
            (&entry.what, entry.conn.and_then(|conn| evidence.line(conn)))
        {
            damaged.insert(((line.bot.0, line.life), *seq));
        }
    }
    let dropped = dropped(evidence);
    let server = swaps::Server {
        given: &given,
        damaged: &damaged,
        ended: &ended,
        dropped: &dropped,
    };
    swaps::check(evidence, &server, broken);
    let mut reader = Reader {
        evidence,
        given: &given,
        damaged: &damaged,
        attached: &attached,
        ended: &ended,
        lives: names(evidence),
        furthest: BTreeMap::new(),
        again: BTreeMap::new(),
        dropped: &dropped,
        delivered_before: swaps::delivered_before(evidence),
    };
    for step in steps(evidence) {
        reader.step(&step, broken);
    }
    reader.finish(broken);
}

/// The lives with Discord's names of their sessions: READY itself is taken before the event that says it.
fn names(evidence: &Evidence<'_>) -> BTreeMap<Owner, Reading> {
    let mut lives = BTreeMap::<Owner, Reading>::new();
    for (index, bot) in evidence.bots.iter().enumerate() {
        for taken in &bot.taken {
            if let (
                Some(life),
                Some(Event::Ready {
                    session,
                    session_id,
                    ..
                }),
            ) = (taken.life, taken.event.notice())
            {
                let names = &mut lives.entry((index, life)).or_default().names;
                names.insert(*session, session_id.clone());
            }
        }
    }
    lives
}

/// What happened to consumers.
enum Step<'e> {
    Taken(Owner, &'e Taken),
    Begins(Owner),
    Crashed(usize),
}

/// In the order of time.
fn steps<'e>(evidence: &Evidence<'e>) -> impl Iterator<Item = Step<'e>> {
    let mut steps = Vec::new();
    for (index, bot) in evidence.bots.iter().enumerate() {
        // What is taken at the moment of a hand-over was taken before it.
        for taken in &bot.taken {
            if let Some(life) = taken.life {
                steps.push(((taken.at, 0), Step::Taken((index, life), taken)));
            }
        }
        if let Some(at) = bot.crashed {
            steps.push(((at, 1), Step::Crashed(index)));
        }
        for (life, begun) in bot.lives.iter().enumerate() {
            steps.push(((begun.began, 2), Step::Begins((index, life))));
        }
    }
    steps.sort_by_key(|(order, _)| *order);
    steps.into_iter().map(|(_, step)| step)
}

/// What a life of a shard has given its consumer.
#[derive(Default)]
struct Reading {
    begun: bool,
    /// Discord's name of each of its sessions.
    names: BTreeMap<u32, String>,
    /// The last that was taken, by session.
    last: BTreeMap<String, u64>,
    /// The session that is up, and the client's number of its connection.
    up: Option<(String, u32, u32)>,
}

struct Reader<'e> {
    evidence: &'e Evidence<'e>,
    given: &'e BTreeMap<&'e str, Given>,
    /// What was damaged on its way, in whichever session of a life.
    damaged: &'e BTreeSet<(Owner, u64)>,
    /// The connection that each session has at the server.
    attached: &'e BTreeMap<&'e str, ConnId>,
    /// Sessions that the server has forgotten: what it still had for them went with them.
    ended: &'e BTreeMap<&'e str, Duration>,
    lives: BTreeMap<Owner, Reading>,
    /// The last of each session that any consumer took.
    furthest: BTreeMap<String, u64>,
    /// Up to where a session may be taken again: it was in the hands of a process that crashed.
    again: BTreeMap<String, u64>,
    /// What full mailboxes dropped, by session and number.
    dropped: &'e BTreeSet<(Owner, u32, u64)>,
    /// What bots had delivered lately when a new layout took over.
    delivered_before: BTreeSet<(usize, u64)>,
}

fn dropped(evidence: &Evidence<'_>) -> BTreeSet<(Owner, u32, u64)> {
    let mut all = BTreeSet::new();
    for (index, bot) in evidence.bots.iter().enumerate() {
        let dropped = bot.dropped.iter();
        all.extend(dropped.map(|(life, id)| ((index, *life), id.session, id.seq)));
    }
    all
}

impl Reader<'_> {
    fn step(&mut self, step: &Step<'_>, broken: &mut Vec<Broken>) {
        match *step {
            Step::Taken(owner, taken) => {
                self.begin(owner, broken);
                self.read(owner, taken, broken);
            }
            Step::Begins(owner) => self.begin(owner, broken),
            Step::Crashed(bot) => {
                let lives = self.lives.range((bot, 0)..(bot + 1, 0));
                for session in lives.flat_map(|(_, life)| life.last.keys()) {
                    let so_far = self.furthest.get(session).copied().unwrap_or(0);
                    self.again.insert(session.clone(), so_far);
                }
            }
        }
    }

    /// A life goes on where the one before was acknowledged, which is never ahead of what was taken.
    fn begin(&mut self, owner: Owner, broken: &mut Vec<Broken>) {
        let reading = self.lives.entry(owner).or_default();
        if std::mem::replace(&mut reading.begun, true) {
            return;
        }
        let begun = self.evidence.life(owner);
        let state = begun.and_then(|life| Some((life.began, life.given.as_ref()?)));
        let Some((began, state)) = state else { return };
        let (Some(id), Some(seq)) = (&state.session_id, state.seq) else {
            return;
        };
        reading.names.insert(1, id.clone());
        reading.last.insert(id.clone(), seq);
        let taken = self.furthest.get(id).copied();
        let filtered = self.evidence.bots[owner.0].filtered;
        if let Some(taken) = taken.filter(|taken| *taken < seq && !filtered) {
            let what = format!("a state names {seq}, only {taken} was taken of {id}");
            breach(broken, 1, began, what);
        }
    }

    fn read(&mut self, owner: Owner, taken: &Taken, broken: &mut Vec<Broken>) {
        let reading = self.lives.entry(owner).or_default();
        match &taken.event {
            TakenEvent::Dispatch {
                id, digest, name, ..
            } => self.dispatch(owner, taken.at, *id, name, *digest, broken),
            TakenEvent::Notice(Event::SessionLost {
                session, last_seq, ..
            }) => {
                reading.up = None;
                let Some(name) = reading.names.get(session).cloned() else {
                    return;
                };
                self.whole_up_to(&name, owner, *session, *last_seq, taken.at, broken);
            }
            TakenEvent::Notice(Event::Ready {
                session,
                conn,
                session_id,
                ..
            }) => {
                reading.up = Some((session_id.clone(), *session, conn.get()));
            }
            TakenEvent::Notice(Event::Resumed { session, conn, .. }) => {
                let name = reading.names.get(session);
                reading.up = name.map(|name| (name.clone(), *session, conn.get()));
            }
            TakenEvent::Notice(Event::Disconnected { .. }) => reading.up = None,
            TakenEvent::Notice(_) => {}
        }
    }

    fn dispatch(
        &mut self,
        owner: Owner,
        at: Duration,
        id: EventId,
        name: &str,
        digest: u64,
        broken: &mut Vec<Broken>,
    ) {
        let reading = self.lives.entry(owner).or_default();
        let Some(session) = reading.names.get(&id.session).cloned() else {
            return;
        };
        let Some(given) = self.given.get(session.as_str()) else {
            return;
        };
        let (bot, seq) = (owner.0, id.seq);
        let here = || format!("bot {bot} took {name} {seq} of session {session}");
        match given.get(&seq) {
            None => breach(broken, 1, at, format!("{}, which was never given", here())),
            Some((_, wanted)) if *wanted != digest && !self.damaged.contains(&(owner, seq)) => {
                breach(broken, 1, at, format!("{} with another content", here()));
            }
            Some(_) => {}
        }
        let last = reading.last.get(&session).copied().unwrap_or(0);
        if seq <= last {
            return breach(broken, 1, at, format!("{} after {last}", here()));
        }
        let furthest = self.furthest.entry(session.clone()).or_insert(0);
        let again = self.again.get(&session).copied().unwrap_or(0);
        if seq <= *furthest && seq > again {
            return breach(broken, 1, at, format!("{} again", here()));
        }
        *furthest = seq.max(*furthest);
        reading.last.insert(session.clone(), seq);
        let missing = self.missing(owner, id.session, given.range(last + 1..seq));
        // What followed a damaged payload may have been taken for its rest.
        let missing =
            missing.filter(|seq| !(last..=*seq).any(|seq| self.damaged.contains(&(owner, seq))));
        if let Some(missing) = missing {
            let what = format!("{} but not {missing}; the last was {last}", here());
            breach(broken, 1, at, what);
        }
    }

    /// The first of these that should have been delivered.
    fn missing<'g>(
        &self,
        owner: Owner,
        session: u32,
        mut given: impl Iterator<Item = (&'g u64, &'g (Duration, u64))>,
    ) -> Option<u64> {
        let bot = self.evidence.bots[owner.0];
        let life = self.evidence.life(owner);
        let muted = life.filter(|life| life.muted);
        // What the layout before had delivered may never have been taken.
        let in_doubt = bot.crashed.is_some() || bot.waiting > 0;
        let missing = given.find(|(seq, (given, digest))| {
            // What the layout before has delivered is left out.
            let before = muted.is_some_and(|life| {
                life.heard.is_none_or(|heard| {
                    *given <= heard
                        || (*given <= heard + Overlap::WINDOW
                            && (in_doubt || self.delivered_before.contains(&(owner.0, *digest))))
                })
            });
            !before && !self.dropped.contains(&(owner, session, **seq))
        });
        missing.map(|(seq, _)| *seq).filter(|_| !bot.filtered)
    }

    fn whole_up_to(
        &self,
        name: &str,
        owner: Owner,
        session: u32,
        until: u64,
        at: Duration,
        broken: &mut Vec<Broken>,
    ) {
        let Some(given) = self.given.get(name) else {
            return;
        };
        let last = self.lives.get(&owner).and_then(|life| life.last.get(name));
        let last = last.copied().unwrap_or(0);
        let due = given.range(last + 1..=until.max(last + 1));
        let due = due.filter(|(seq, _)| **seq <= until);
        if let Some(missing) = self.missing(owner, session, due) {
            let bot = owner.0;
            let what =
                format!("bot {bot} was not given {missing} of session {name}; the last was {last}");
            breach(broken, 1, at, what);
        }
    }

    /// In a run that ended in peace everything has arrived.
    fn finish(&self, broken: &mut Vec<Broken>) {
        let end = self.evidence.end;
        let calm = self.evidence.calm;
        if calm.is_none_or(|calm| calm + ON_THE_WAY * 6 >= end) {
            return;
        }
        let lines = self.evidence.lines.iter();
        let lines: BTreeMap<_, _> = lines
            .map(|line| (((line.bot.0, line.life), line.conn), line))
            .collect();
        for (owner, reading) in &self.lives {
            let bot = self.evidence.bots[owner.0];
            let life = self.evidence.life(*owner);
            let over = life.is_some_and(|life| life.told.is_some() || life.fell.is_some());
            if over || bot.crashed.is_some() || bot.stop.is_some() || bot.waiting > 0 {
                continue;
            }
            let Some((name, session, conn)) = &reading.up else {
                continue;
            };
            if self.ended.contains_key(name.as_str()) {
                continue;
            }
            // A Resume that was held up on a line since left takes the session there when it arrives.
            let here = lines.get(&(*owner, *conn)).copied();
            if here.map(|line| &line.id) != self.attached.get(name.as_str()) {
                continue;
            }
            // What fills the line has not arrived, nor what came after it.
            let slow = here.and_then(|line| line.slow);
            let slow = slow.filter(|span| span.to >= Some(end));
            let end_of_due = slow.map_or(end, |span| span.from);
            let Some(given) = self.given.get(name.as_str()) else {
                continue;
            };
            let due = given
                .iter()
                .filter(|(_, (at, _))| *at + ON_THE_WAY < end_of_due);
            if let Some(until) = due.map(|(seq, _)| *seq).max() {
                self.whole_up_to(name, *owner, *session, until, end, broken);
            }
        }
    }
}
