//! Rules 3 and 4: how much is sent and when, and when a line is left.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use shardwright_core::Stop;

use super::{Broken, Congestion, Evidence, SLACK, STEADY, breach};
use crate::server::{ConnId, Seen, Violation};
use crate::world::LineStory;

const SENDS: usize = 120;
const WINDOW: Duration = Duration::from_secs(60);
/// After a sleep the link is given this long to answer.
const PROBE: Duration = Duration::from_secs(10);
/// Below this the send limit wins over the beat.
const SHORT: Duration = Duration::from_secs(1);

pub(super) fn check(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let mut hellos = BTreeMap::<ConnId, Vec<(Duration, Option<Duration>)>>::new();
    for entry in evidence.log {
        match (&entry.what, entry.conn) {
            (Seen::Hello { interval }, Some(conn)) => {
                hellos.entry(conn).or_default().push((entry.at, *interval))
            }
            (
                Seen::Violation(what @ (Violation::RateLimited | Violation::PresenceLimited)),
                Some(conn),
            ) => {
                let line = evidence.line(conn);
                if line.is_some_and(|line| is_steady(line, entry.at)) {
                    breach(broken, 3, entry.at, format!("line {}: {what}", conn.0));
                }
            }
            _ => {}
        }
    }
    let congestion = evidence.congestion();
    for line in evidence.lines {
        limit(line, broken);
        code(evidence, line, broken);
        let interval = match hellos.get(&line.id).map(Vec::as_slice) {
            Some([(sent, Some(interval))]) => Some((*sent, *interval)),
            None => None,
            // Several, or one that makes no sense: there is no telling when a beat is due.
            Some(_) => continue,
        };
        if let (Some((sent, interval)), Some((hello, _))) = (interval, line.heard)
            && interval >= SHORT
        {
            // Else something came before it, and there is no telling when it came itself.
            let is_first = hello >= sent && line.said.is_none_or(|first| first >= sent);
            let hello = is_first.then_some(hello);
            beats(evidence, &congestion, line, (hello, interval), broken);
        }
        silence(
            evidence,
            &congestion,
            line,
            interval.map(|(_, interval)| interval),
            broken,
        );
    }
}

/// Whether what the line carried before this was under way for about the same time.
fn is_steady(line: &LineStory, at: Duration) -> bool {
    let recent = line
        .sent
        .iter()
        .filter(|sent| sent.arrived.is_some_and(|arrived| arrived <= at));
    let delays = recent.filter_map(|sent| Some(sent.arrived? - sent.at));
    let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
    for delay in delays {
        least = least.min(delay);
        most = most.max(delay);
    }
    most.saturating_sub(least) < STEADY
}

fn limit(line: &LineStory, broken: &mut Vec<Broken>) {
    let mut recent = VecDeque::new();
    for sent in &line.sent {
        while recent
            .front()
            .is_some_and(|first| *first + WINDOW <= sent.at)
        {
            recent.pop_front();
        }
        recent.push_back(sent.at);
        if recent.len() > SENDS {
            let what = format!("line {}: {} payloads in 60 s", line.id.0, recent.len());
            return breach(broken, 3, sent.at, what);
        }
    }
}

/// When the client let go of the line.
fn left(line: &LineStory) -> Option<Duration> {
    line.close
        .map(|(at, _)| at)
        .into_iter()
        .chain(line.ended)
        .min()
}

fn beats(
    evidence: &Evidence<'_>,
    congestion: &Congestion,
    line: &LineStory,
    (hello, interval): (Option<Duration>, Duration),
    broken: &mut Vec<Broken>,
) {
    let owner = (line.bot.0, line.life);
    let end = left(line).unwrap_or(evidence.end);
    let mut beats = line
        .sent
        .iter()
        .filter(|sent| sent.op == 1)
        .map(|sent| sent.at);
    let Some(mut last) = hello.or_else(|| beats.next()) else {
        return;
    };
    for at in beats.chain([end]) {
        // A Hello that came while nothing was read counts from when it was read.
        let unread = if Some(last) == hello {
            congestion.within(owner, last, at)
        } else {
            Duration::ZERO
        };
        let allowed = interval + evidence.slept(line.bot.0, last, at) + unread + SLACK;
        let gap = at.saturating_sub(last);
        if gap > allowed {
            let what = format!(
                "line {}: no beat for {gap:?}, every {interval:?} was asked for",
                line.id.0
            );
            return breach(broken, 3, at, what);
        }
        last = at;
    }
}

/// A line that says nothing is left in time.
fn silence(
    evidence: &Evidence<'_>,
    congestion: &Congestion,
    line: &LineStory,
    interval: Option<Duration>,
    broken: &mut Vec<Broken>,
) {
    let Some(opened) = line.opened else { return };
    let limits = &evidence.bots[line.bot.0].limits;
    let (since, patience) = match (line.heard, interval) {
        (Some((_, last)), Some(interval)) => (last, interval.max(SHORT) * 2),
        _ => (opened, limits.hello_timeout),
    };
    let until = left(line).unwrap_or(evidence.end);
    let slept = evidence.slept(line.bot.0, since, until);
    let owner = (line.bot.0, line.life);
    let congested = congestion.within(owner, since, until);
    // Each time it wakes up it asks for a sign of life first.
    let beat = interval.unwrap_or_default();
    let probes = PROBE * evidence.sleeps(line.bot.0, since, until, beat);
    let mut allowed = patience + slept + probes + congested + SLACK;
    // From then on it is given all the time again.
    if congestion.was(owner, since, until) {
        allowed += patience;
    }
    let silent = until.saturating_sub(since);
    if silent > allowed {
        let what = format!("line {}: stayed {silent:?} on a silent line", line.id.0);
        breach(broken, 4, until, what);
    }
}

fn code(evidence: &Evidence<'_>, line: &LineStory, broken: &mut Vec<Broken>) {
    let Some((at, code)) = line.close else { return };
    let stop = evidence.bots[line.bot.0].stop;
    // One that makes way for another layout is told alone.
    let told = evidence
        .life((line.bot.0, line.life))
        .and_then(|life| life.told);
    let is_final = |(asked, how): (Duration, Stop)| how == Stop::Final && asked <= at;
    let final_stop = stop.into_iter().chain(told).any(is_final);
    let wanted = if final_stop {
        code == 1000 || code == 4000
    } else {
        code == 4000
    };
    if !wanted {
        breach(
            broken,
            4,
            at,
            format!("line {}: closed with {code}", line.id.0),
        );
    }
}
