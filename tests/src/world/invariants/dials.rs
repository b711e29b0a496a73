//! Rules 6 and 7: how often is dialled, and where.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Broken, Evidence, breach};
use crate::scenario::Listener;
use crate::server::{ConnId, Seen};
use crate::world::LineStory;

const MINUTE: Duration = Duration::from_secs(60);
/// More dials of one shard in a minute no backoff allows.
const DIALS: usize = 40;
/// Nor so many in this time.
const AT_ONCE: (usize, Duration) = (6, Duration::from_millis(100));
/// Requests of one bot in a minute.
const REQUESTS: usize = 40;
/// So often the address READY named is tried before the other.
const TRIES: usize = 3;

pub(super) fn check(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    for lines in evidence.by_owner().into_values() {
        pauses(&lines, broken);
        query(&lines, broken);
    }
    requests(evidence, broken);
    addresses(evidence, broken);
}

/// The first time at which more than `most` fall into a window.
fn crowded(times: &[Duration], most: usize, window: Duration) -> Option<Duration> {
    let late = times.iter().skip(most);
    let mut pairs = times.iter().zip(late);
    pairs
        .find(|(first, last)| **last - **first < window)
        .map(|(_, last)| *last)
}

fn pauses(lines: &[&LineStory], broken: &mut Vec<Broken>) {
    let times: Vec<_> = lines.iter().map(|line| line.dialled).collect();
    for (most, window) in [(DIALS, MINUTE), AT_ONCE] {
        if let Some(at) = crowded(&times, most, window) {
            let what = format!(
                "shard {} dials over {most} times in {window:?}",
                lines[0].shard
            );
            breach(broken, 6, at, what);
        }
    }
}

fn requests(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let times: Vec<_> = evidence
        .log
        .iter()
        .filter(|entry| matches!(entry.what, Seen::Rest { .. }))
        .map(|entry| entry.at)
        .collect();
    let most = REQUESTS * evidence.bots.len().max(1);
    if let Some(at) = crowded(&times, most, MINUTE) {
        breach(broken, 6, at, format!("over {most} requests in a minute"));
    }
}

fn query(lines: &[&LineStory], broken: &mut Vec<Broken>) {
    let of = |line: &LineStory| line.url.split_once('?').map(|(_, query)| query.to_owned());
    let first = of(lines[0]);
    if let Some(line) = lines.iter().find(|line| of(line) != first) {
        let what = format!(
            "line {}: {} has another query than before",
            line.id.0, line.url
        );
        breach(broken, 7, line.dialled, what);
    }
}

fn addresses(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let config = evidence.config;
    if config.main_url == config.resume_url {
        return;
    }
    let mut came_in = BTreeMap::<ConnId, Listener>::new();
    let mut live = BTreeMap::<_, Duration>::new();
    let mut named = BTreeMap::<&str, &str>::new();
    let owners = evidence.by_owner();
    let reached = evidence.reached();
    for entry in evidence.log {
        let Some(conn) = entry.conn else { continue };
        let Some(line) = evidence.line(conn) else {
            continue;
        };
        let owner = (line.bot.0, line.life);
        match &entry.what {
            Seen::Upgrade { listener, .. } => {
                came_in.insert(conn, *listener);
            }
            Seen::Ready { .. } | Seen::Resumed { .. } if reached.contains(&conn) => {
                live.insert(owner, line.dialled);
            }
            Seen::Identify { .. } if came_in.get(&conn) == Some(&Listener::Resume) => {
                let what = format!("line {}: an Identify on the address for resumes", conn.0);
                breach(broken, 7, entry.at, what);
            }
            Seen::Misnamed { session, url } => {
                named.insert(session, url);
            }
            Seen::Resume { session, .. } if came_in.get(&conn) == Some(&Listener::Main) => {
                let bot = evidence.bots[line.bot.0];
                let host = named.get(session.as_str()).copied();
                let host = host.unwrap_or(&config.resume_url);
                // What is no address, or this one, need not be tried first.
                if bot.stays_on_host || !host.starts_with("ws") || config.main_url == host {
                    continue;
                }
                let since = live.get(&owner).copied();
                // Held up on a line that was left long before.
                if since.is_some_and(|since| since > line.dialled) {
                    continue;
                }
                let dials = &owners[&owner];
                let end = dials.partition_point(|other| other.dialled < line.dialled);
                let begin = since.map_or(0, |since| {
                    dials.partition_point(|other| other.dialled <= since)
                });
                let tried = dials[begin.min(end)..end]
                    .iter()
                    .filter(|other| other.url.starts_with(host))
                    .count();
                if tried < TRIES {
                    let what = format!(
                        "line {}: a Resume on the main address after {tried} tries on the other",
                        conn.0
                    );
                    breach(broken, 7, entry.at, what);
                }
            }
            _ => {}
        }
    }
}
