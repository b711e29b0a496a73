//! Of rule 1: a layout that takes over knows nothing of what came before it, so the one before has delivered that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shardwright_core::{Event, Overlap, Stop};

use super::delivery::Given;
use super::{Broken, Evidence, Owner, breach};
use crate::server::Seen;
use crate::world::{BotStory, Life, TakenEvent};

/// What is known of the sessions, whoever had them.
pub(super) struct Server<'e> {
    pub(super) given: &'e BTreeMap<&'e str, Given>,
    /// What was damaged on its way.
    pub(super) damaged: &'e BTreeSet<(Owner, u64)>,
    /// When each was forgotten.
    pub(super) ended: &'e BTreeMap<&'e str, Duration>,
    /// What full mailboxes dropped.
    pub(super) dropped: &'e BTreeSet<(Owner, u32, u64)>,
}

pub(super) fn check(evidence: &Evidence<'_>, server: &Server<'_>, broken: &mut Vec<Broken>) {
    for (index, bot) in evidence.bots.iter().enumerate() {
        // What is in the mailboxes of one that is gone, or stands still, is not known.
        let unknown = bot.crashed.is_some() || bot.waiting > 0 || bot.filtered;
        if unknown || bot.swapped.is_empty() {
            continue;
        }
        let had = last_sessions(bot);
        for swap in &bot.swapped {
            let known = known_since(evidence, index, *swap);
            for (life, (of, had)) in bot.lives.iter().zip(&had).enumerate() {
                let Some(had) = had else { continue };
                if of.told != Some((*swap, Stop::Final)) {
                    continue;
                }
                if let Some(seq) = missing((index, life), of, had, server, *swap, known) {
                    let what = format!(
                        "bot {index} changed to another layout without {seq} of session {}, given before {:.3} s",
                        had.name,
                        known.as_secs_f64()
                    );
                    breach(broken, 1, *swap, what);
                }
            }
        }
    }
}

/// A session that a life of a shard had.
struct Had {
    ordinal: u32,
    name: String,
    /// The last of it that was taken.
    last: u64,
}

/// The session that each life had when it ended.
fn last_sessions(bot: &BotStory) -> Vec<Option<Had>> {
    let given = bot.lives.iter().map(|life| {
        let state = life.given.as_ref()?;
        Some(Had {
            ordinal: 1,
            name: state.session_id.clone()?,
            last: state.seq?,
        })
    });
    let mut all: Vec<_> = given.collect();
    for taken in &bot.taken {
        let Some(had) = taken.life.and_then(|life| all.get_mut(life)) else {
            continue;
        };
        match (&taken.event, had) {
            (
                TakenEvent::Notice(Event::Ready {
                    session,
                    session_id,
                    ..
                }),
                had,
            ) => {
                *had = Some(Had {
                    ordinal: *session,
                    name: session_id.clone(),
                    last: 1,
                });
            }
            (TakenEvent::Notice(Event::SessionLost { .. }), had) => *had = None,
            (TakenEvent::Dispatch { id, .. }, Some(had)) if id.session == had.ordinal => {
                had.last = id.seq.max(had.last);
            }
            _ => {}
        }
    }
    all
}

/// What the consumers of bots had been given lately when a new layout took over, or were given then: which bot,
/// and the content.
pub(super) fn delivered_before(evidence: &Evidence<'_>) -> BTreeSet<(usize, u64)> {
    let mut all = BTreeSet::new();
    for (index, bot) in evidence.bots.iter().enumerate() {
        for swap in &bot.swapped {
            // Also of a driver that has fallen since.
            let is_old = |life: Option<usize>| {
                let life = life.and_then(|life| bot.lives.get(life));
                life.is_some_and(|life| !(life.muted && life.heard == Some(*swap)))
            };
            let begin = bot
                .taken
                .partition_point(|taken| taken.at + Overlap::WINDOW < *swap);
            for taken in &bot.taken[begin..] {
                if let TakenEvent::Dispatch { digest, .. } = taken.event
                    && is_old(taken.life)
                {
                    all.insert((index, digest));
                }
            }
        }
    }
    all
}

/// What came after this can be had from the layout that takes over.
fn known_since(evidence: &Evidence<'_>, bot: usize, swap: Duration) -> Duration {
    let is_new = |life: &Life| life.muted && life.heard == Some(swap);
    let ready = evidence.log.iter().filter(|entry| {
        let line = entry.conn.and_then(|conn| evidence.line(conn));
        matches!(entry.what, Seen::Ready { .. })
            && entry.at <= swap
            && line.is_some_and(|line| {
                line.bot.0 == bot && evidence.life((bot, line.life)).is_some_and(is_new)
            })
    });
    let up = ready.map(|entry| entry.at).max().unwrap_or_default();
    up.max(swap.saturating_sub(Overlap::KEPT))
}

/// The first that a life should have delivered of the session that it had when it left, and has not.
fn missing(
    owner: Owner,
    life: &Life,
    had: &Had,
    server: &Server<'_>,
    swap: Duration,
    known: Duration,
) -> Option<u64> {
    let name = had.name.as_str();
    if server.ended.get(name).is_some_and(|at| *at < swap) {
        return None;
    }
    // It may have taken over from another layout itself, and have left out what that had delivered.
    let since = life.heard.map(|heard| heard + Overlap::WINDOW);
    let excused = |seq: u64| {
        server.dropped.contains(&(owner, had.ordinal, seq))
            || server.damaged.contains(&(owner, seq))
    };
    let given = server.given.get(name)?.range(had.last + 1..);
    let mut due = given.filter(|(seq, (at, _))| {
        *at < known && since.is_none_or(|since| *at > since) && !excused(**seq)
    });
    due.next().map(|(seq, _)| *seq)
}
