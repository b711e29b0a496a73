//! Of rule 1: a layout that takes over knows nothing of what came before it, so the one before has delivered that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shardwright_core::{Event, EventId, Overlap, Stop};

use super::delivery::Given;
use super::{Broken, Evidence, Owner, breach};
use crate::server::Seen;
use crate::world::{Life, TakenEvent};

pub(super) fn check(
    evidence: &Evidence<'_>,
    given: &BTreeMap<&str, Given>,
    damaged: &BTreeSet<(Owner, u64)>,
    broken: &mut Vec<Broken>,
) {
    for (index, bot) in evidence.bots.iter().enumerate() {
        // What is in the mailboxes of one that is gone, or stands still, is not known.
        if bot.crashed.is_some() || bot.waiting > 0 || bot.filtered {
            continue;
        }
        for swap in &bot.swapped {
            let left = |life: &Life| life.told == Some((*swap, Stop::Final));
            let old = bot.lives.iter().enumerate();
            let old = old.filter(|(_, life)| left(life));
            let known = known_since(evidence, index, *swap);
            for (life, _) in old {
                let owner = (index, life);
                if let Some((session, seq)) = missing(evidence, owner, given, damaged, *swap, known)
                {
                    let what = format!(
                        "bot {index} changed to another layout without {seq} of session {session}, given before {:.3} s",
                        known.as_secs_f64()
                    );
                    breach(broken, 1, *swap, what);
                }
            }
        }
    }
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

/// What a life should have delivered of the session that it had when it left, and has not.
fn missing(
    evidence: &Evidence<'_>,
    owner: Owner,
    given: &BTreeMap<&str, Given>,
    damaged: &BTreeSet<(Owner, u64)>,
    swap: Duration,
    known: Duration,
) -> Option<(String, u64)> {
    let bot = evidence.bots[owner.0];
    let life = evidence.life(owner)?;
    let state = life.given.as_ref();
    let state = state.and_then(|state| Some((1, state.session_id.clone()?, state.seq?)));
    let mut session = state;
    for taken in bot.taken.iter().filter(|taken| taken.life == Some(owner.1)) {
        match (&taken.event, &mut session) {
            (
                TakenEvent::Notice(Event::Ready {
                    session: ordinal,
                    session_id,
                    ..
                }),
                _,
            ) => session = Some((*ordinal, session_id.clone(), 1)),
            (TakenEvent::Notice(Event::SessionLost { .. }), _) => session = None,
            (TakenEvent::Dispatch { id, .. }, Some((ordinal, _, last)))
                if id.session == *ordinal =>
            {
                *last = id.seq.max(*last);
            }
            _ => {}
        }
    }
    let (ordinal, session, last) = session?;
    let ended = evidence.log.iter().any(|entry| {
        matches!(&entry.what, Seen::SessionEnded { session: ended, .. } if *ended == session)
            && entry.at < swap
    });
    if ended {
        return None;
    }
    let dropped = |seq: u64| {
        let id = EventId {
            shard: evidence.bots[owner.0].lives[owner.1].shard,
            session: ordinal,
            seq,
        };
        bot.dropped.contains(&(owner.1, id)) || damaged.contains(&(owner, seq))
    };
    let due = given.get(session.as_str())?.range(last + 1..);
    // It may have taken over from another layout itself, and have left out what that had delivered.
    let since = life.heard.map(|heard| heard + Overlap::WINDOW);
    let mut due = due.filter(|(seq, (at, _))| {
        *at < known && since.is_none_or(|since| *at > since) && !dropped(**seq)
    });
    due.next().map(|(seq, _)| (session, *seq))
}
