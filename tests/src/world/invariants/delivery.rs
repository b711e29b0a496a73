//! Rule 1: what the server gave a session reaches the consumer once, in order, without a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shardwright_core::{Event, EventId, ShardId};

use super::{Broken, Evidence, breach};
use crate::server::{ConnId, Seen};
use crate::world::{BotStory, TakenEvent};

/// What was given this long before the end may still be on its way.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// What a session was given: sequence number, time, digest.
type Given = BTreeMap<u64, (Duration, u64)>;

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
    let mut attached = BTreeMap::new();
    for entry in evidence.log {
        if let (
            Seen::Ready { session } | Seen::Resume { session, .. } | Seen::Resumed { session, .. },
            Some(conn),
        ) = (&entry.what, entry.conn)
        {
            attached.insert(session.as_str(), conn);
        }
        if let (Seen::Damaged { seq: Some(seq) }, Some(line)) =
            (&entry.what, entry.conn.and_then(|conn| evidence.line(conn)))
        {
            damaged.insert((line.bot.0, line.shard, *seq));
        }
    }
    let mut furthest = BTreeMap::new();
    for (index, bot) in evidence.bots.iter().enumerate() {
        let mut reader = Reader {
            evidence,
            index,
            bot,
            given: &given,
            damaged: &damaged,
            names: names(bot),
            dropped: bot.dropped.iter().copied().collect(),
            last: BTreeMap::new(),
            up: BTreeMap::new(),
            attached: &attached,
        };
        reader.start(&furthest, broken);
        reader.read(broken);
        reader.finish(broken);
        for (session, seq) in reader.last {
            let so_far = furthest.entry(session).or_insert(0);
            *so_far = seq.max(*so_far);
        }
    }
}

/// Discord's name of each of a process's sessions.
fn names(bot: &BotStory) -> BTreeMap<(ShardId, u32), String> {
    let mut names = BTreeMap::new();
    for state in &bot.given {
        if let Some(id) = &state.session_id {
            names.insert((state.shard, 1), id.clone());
        }
    }
    for taken in &bot.taken {
        if let Some(Event::Ready {
            shard,
            session,
            session_id,
            ..
        }) = taken.event.notice()
        {
            names.insert((*shard, *session), session_id.clone());
        }
    }
    names
}

struct Reader<'e> {
    evidence: &'e Evidence<'e>,
    index: usize,
    bot: &'e BotStory,
    given: &'e BTreeMap<&'e str, Given>,
    /// What was damaged on its way, in whichever session of a shard.
    damaged: &'e BTreeSet<(usize, ShardId, u64)>,
    names: BTreeMap<(ShardId, u32), String>,
    dropped: BTreeSet<EventId>,
    /// The last that the consumer took, by session.
    last: BTreeMap<String, u64>,
    /// The session of each shard that is up, and the client's number of its connection.
    up: BTreeMap<ShardId, (String, u32, u32)>,
    /// The connection that each session has at the server.
    attached: &'e BTreeMap<&'e str, ConnId>,
}

impl Reader<'_> {
    /// A process goes on where the one before was acknowledged, which is never ahead of what was taken.
    fn start(&mut self, furthest: &BTreeMap<String, u64>, broken: &mut Vec<Broken>) {
        for state in &self.bot.given {
            let (Some(id), Some(seq)) = (&state.session_id, state.seq) else {
                continue;
            };
            let taken = furthest.get(id).copied();
            if let Some(taken) = taken.filter(|taken| *taken < seq && !self.bot.filtered) {
                let what = format!("a state names {seq}, only {taken} was taken of {id}");
                breach(broken, 1, self.bot.began, what);
            }
            self.last.insert(id.clone(), seq);
        }
    }

    fn read(&mut self, broken: &mut Vec<Broken>) {
        for taken in &self.bot.taken {
            match &taken.event {
                TakenEvent::Dispatch {
                    id, digest, name, ..
                } => {
                    self.dispatch(taken.at, *id, name, *digest, broken);
                }
                TakenEvent::Notice(Event::SessionLost {
                    shard,
                    session,
                    last_seq,
                    ..
                }) => {
                    self.up.remove(shard);
                    let Some(name) = self.names.get(&(*shard, *session)).cloned() else {
                        continue;
                    };
                    // Told to stop, a runtime withdraws what was not taken.
                    if self.bot.stop.is_some_and(|(asked, _)| asked <= taken.at) {
                        continue;
                    }
                    self.whole_up_to(&name, *shard, *session, *last_seq, taken.at, broken);
                }
                TakenEvent::Notice(
                    Event::Ready {
                        shard,
                        session,
                        conn,
                        ..
                    }
                    | Event::Resumed {
                        shard,
                        session,
                        conn,
                        ..
                    },
                ) => {
                    if let Some(name) = self.names.get(&(*shard, *session)) {
                        let up = (name.clone(), *session, conn.get());
                        self.up.insert(*shard, up);
                    }
                }
                TakenEvent::Notice(Event::Disconnected { shard, .. }) => {
                    self.up.remove(shard);
                }
                TakenEvent::Notice(_) => {}
            }
        }
    }

    fn dispatch(
        &mut self,
        at: Duration,
        id: EventId,
        name: &str,
        digest: u64,
        broken: &mut Vec<Broken>,
    ) {
        // READY is taken just before the event that names its session.
        let Some(session) = self.names.get(&(id.shard, id.session)) else {
            return;
        };
        let Some(given) = self.given.get(session.as_str()) else {
            return;
        };
        let (bot, seq) = (self.index, id.seq);
        let here = || format!("bot {bot} took {name} {seq} of session {session}");
        match given.get(&seq) {
            None => breach(broken, 1, at, format!("{}, which was never given", here())),
            Some((_, wanted))
                if *wanted != digest && !self.damaged.contains(&(bot, id.shard, seq)) =>
            {
                breach(broken, 1, at, format!("{} with another content", here()));
            }
            Some(_) => {}
        }
        let last = self.last.get(session).copied().unwrap_or(0);
        if seq <= last {
            return breach(broken, 1, at, format!("{} after {last}", here()));
        }
        let missing = given
            .range(last + 1..seq)
            .map(|(seq, _)| *seq)
            .find(|seq| !self.dropped.contains(&EventId { seq: *seq, ..id }));
        // What followed a damaged payload may have been taken for its rest.
        let missing = missing
            .filter(|seq| !(last..=*seq).any(|seq| self.damaged.contains(&(bot, id.shard, seq))));
        if let Some(missing) = missing.filter(|_| !self.bot.filtered) {
            let what = format!("{} but not {missing}; the last was {last}", here());
            breach(broken, 1, at, what);
        }
        self.last.insert(session.clone(), seq);
    }

    fn whole_up_to(
        &self,
        name: &str,
        shard: ShardId,
        session: u32,
        until: u64,
        at: Duration,
        broken: &mut Vec<Broken>,
    ) {
        let (Some(given), false) = (self.given.get(name), self.bot.filtered) else {
            return;
        };
        let last = self.last.get(name).copied().unwrap_or(0);
        let missing = given
            .range(last + 1..=until.max(last + 1))
            .map(|(seq, _)| *seq)
            .filter(|seq| *seq <= until)
            .find(|seq| {
                !self.dropped.contains(&EventId {
                    shard,
                    session,
                    seq: *seq,
                })
            });
        if let Some(missing) = missing {
            let bot = self.index;
            let what =
                format!("bot {bot} was not given {missing} of session {name}; the last was {last}");
            breach(broken, 1, at, what);
        }
    }

    /// In a run that ended in peace everything has arrived.
    fn finish(&self, broken: &mut Vec<Broken>) {
        let end = self.evidence.end;
        let peace = self
            .evidence
            .calm
            .is_some_and(|calm| calm + ON_THE_WAY * 6 < end);
        if !peace || self.bot.crashed.is_some() || self.bot.stop.is_some() || self.bot.waiting > 0 {
            return;
        }
        for (shard, (name, session, conn)) in &self.up {
            // A Resume that was held up on a line since left takes the session there when it arrives.
            let here = self.evidence.lines.iter().rev().find(|line| {
                line.bot.0 == self.index && line.shard == *shard && line.conn == *conn
            });
            if here.map(|line| &line.id) != self.attached.get(name.as_str()) {
                continue;
            }
            let Some(given) = self.given.get(name.as_str()) else {
                continue;
            };
            let due = given.iter().filter(|(_, (at, _))| *at + ON_THE_WAY < end);
            if let Some(until) = due.map(|(seq, _)| *seq).max() {
                self.whole_up_to(name, *shard, *session, until, end, broken);
            }
        }
    }
}
