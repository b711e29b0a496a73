//! Rule 2: who identifies when, and that no session is given up without a reason.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Broken, Evidence, STEADY, breach};
use crate::server::{ConnId, LogEntry, Seen, Violation};
use crate::world::LineStory;

const APART: Duration = Duration::from_secs(5);
/// So many fruitless connections end a session.
const FRUITLESS: usize = 5;
/// So many times op 9 with `true` ends it.
const INVALID: usize = 4;
/// Close codes of the server that end it.
const ENDS_SESSION: [u16; 5] = [4001, 4003, 4006, 4007, 4009];

pub(super) fn check(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    spacing(evidence, broken);
    gates(evidence, broken);
    budget(evidence, broken);
    given_up(evidence, broken);
}

/// An Identify as it arrived.
struct Arrived {
    at: Duration,
    delay: Duration,
    number: u32,
}

fn spacing(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let mut recent = BTreeMap::<usize, VecDeque<Arrived>>::new();
    for entry in evidence.log {
        let Seen::Identify { bucket, .. } = entry.what else {
            continue;
        };
        let Some(line) = entry.conn.and_then(|conn| evidence.line(conn)) else {
            continue;
        };
        let sent = line.sent.iter().find(|sent| sent.op == 2);
        let Some(sent) = sent.map(|sent| sent.at) else {
            continue;
        };
        let this = Arrived {
            at: entry.at,
            delay: entry.at.saturating_sub(sent),
            number: line.shard.number(),
        };
        // The buckets as the bot knew them when this one left: Discord may change their number any time.
        let known = &evidence.bots[line.bot.0].max_concurrency;
        let known = known.iter().rev().find(|(at, _)| *at <= sent);
        let buckets = known.map_or(1, |(_, buckets)| (*buckets).max(1));
        let recent = recent.entry(line.bot.0).or_default();
        while recent
            .front()
            .is_some_and(|first| first.at + APART <= this.at)
        {
            recent.pop_front();
        }
        let before = recent.iter().rev().find(|before| {
            before.number % buckets == this.number % buckets
                && before.delay.abs_diff(this.delay) < STEADY
        });
        if let Some(before) = before {
            let after = this.at - before.at;
            let what = format!("bucket {bucket}: an Identify {after:?} after the last");
            breach(broken, 2, entry.at, what);
        }
        recent.push_back(this);
    }
}

/// Nobody identifies before the bot's own gate opened for that connection.
fn gates(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let mut opened = BTreeMap::<_, Vec<_>>::new();
    for (index, bot) in evidence.bots.iter().enumerate() {
        for (at, shard, conn) in &bot.gate_opened {
            opened.entry((index, *shard, *conn)).or_default().push(*at);
        }
    }
    for line in evidence.lines {
        let bot = evidence.bots[line.bot.0];
        let sent = line.sent.iter().find(|sent| sent.op == 2);
        let Some(sent) = sent.filter(|_| bot.gated) else {
            continue;
        };
        let times = opened.get(&(line.bot.0, line.shard, line.conn));
        let mut times = times.into_iter().flatten();
        if !times.any(|at| (line.dialled..=sent.at).contains(at)) {
            let what = format!("line {}: an Identify before the gate opened", line.id.0);
            breach(broken, 2, sent.at, what);
        }
    }
}

/// A process that is alone with its token never spends more than there is.
fn budget(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    for entry in evidence.log {
        if entry.what != Seen::Violation(Violation::BudgetSpent) {
            continue;
        }
        let alive = |at: Duration| {
            let bots = evidence.bots.iter();
            bots.filter(|bot| bot.began <= at && bot.crashed.is_none_or(|crash| at <= crash))
                .count()
        };
        if alive(entry.at) <= 1 {
            breach(broken, 2, entry.at, "no session start was left".to_owned());
        }
    }
}

/// What is known of a life of a shard while the log is read.
#[derive(Default)]
struct Known<'e> {
    /// Its session, and when its last live line ended.
    session: Option<String>,
    live: Option<&'e LineStory>,
    opened: usize,
    /// Op 9 with `true`.
    invalid: usize,
    /// A close code or op 9 that ends it.
    closed: bool,
    damaged: usize,
}

fn given_up(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let mut lives = BTreeMap::<_, Known<'_>>::new();
    for (index, bot) in evidence.bots.iter().enumerate() {
        for (life, begun) in bot.lives.iter().enumerate() {
            let given = begun.given.as_ref().filter(|state| state.seq.is_some());
            let known = Known {
                session: given.and_then(|state| state.session_id.clone()),
                ..Known::default()
            };
            lives.insert((index, life), known);
        }
    }
    let reached = evidence.reached();
    let mut ended = BTreeMap::<&str, Duration>::new();
    for entry in evidence.log {
        if let Seen::SessionEnded { session, .. } = &entry.what {
            ended.insert(session, entry.at);
        }
        let Some(line) = entry.conn.and_then(|conn: ConnId| evidence.line(conn)) else {
            continue;
        };
        let life = lives.entry((line.bot.0, line.life)).or_default();
        read(entry, line, reached.contains(&line.id), life);
        if !matches!(entry.what, Seen::Identify { .. }) {
            continue;
        }
        let Some(session) = life.session.as_deref() else {
            continue;
        };
        // Held up on a line that was left before the session began.
        if life.live.is_some_and(|live| live.dialled > line.dialled) {
            continue;
        }
        let gone_for = life
            .live
            .and_then(|live| live.ended)
            .map(|end| line.dialled.saturating_sub(end));
        let limits = &evidence.bots[line.bot.0].limits;
        let too_old = gone_for.is_none_or(|gone| gone >= limits.session_patience);
        let reason = ended.contains_key(session)
            || life.opened >= FRUITLESS
            || life.invalid >= INVALID
            || life.closed
            || life.damaged >= 2
            || (life.opened == 0 && too_old);
        if !reason {
            let what = format!(
                "shard {} of bot {} identified anew though session {session} could be resumed",
                line.shard, line.bot.0
            );
            breach(broken, 2, entry.at, what);
        }
    }
}

fn read<'e>(entry: &LogEntry, line: &'e LineStory, reached: bool, life: &mut Known<'e>) {
    match &entry.what {
        Seen::Ready { session } | Seen::Resumed { session, .. } if reached => {
            *life = Known {
                session: Some(session.clone()),
                live: Some(line),
                // A dispatch may be poison before and after a resume.
                damaged: life.damaged,
                ..Known::default()
            };
        }
        Seen::Upgrade {
            status: Some(101), ..
        } => life.opened += 1,
        Seen::Invalid { resumable: true } => life.invalid += 1,
        Seen::Invalid { resumable: false } => life.closed = true,
        Seen::Closed {
            code: Some(code), ..
        } if ENDS_SESSION.contains(code) => life.closed = true,
        Seen::Damaged { .. } => life.damaged += 1,
        _ => {}
    }
}
