//! Rules 5, 8, 9 and 10: recovery, sizes, ends, the token.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shardwright_core::{Event, ShardId, ShardState};

use super::{Broken, Evidence, breach};
use crate::server::Seen;
use crate::world::{BotStory, Life, Overflow};

/// The longest way back: the pause of a bot whose sessions kept failing, and its last tries.
const RECOVERY: Duration = Duration::from_secs(35 * 60);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(30);
const FATAL: [u16; 6] = [4004, 4010, 4011, 4012, 4013, 4014];
/// 4010 concerns its shard alone, and 4011 its layout.
const SHARD_ONLY: [u16; 2] = [4010, 4011];

pub(super) fn check(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    fatal(evidence, broken);
    recovery(evidence, broken);
    for (index, bot) in evidence.bots.iter().enumerate() {
        sizes(index, bot, broken);
        one_end(index, bot, evidence.end, broken);
        connections_end(index, bot, broken);
        states(index, bot, broken);
        for (rule, list, what) in [
            (9, &bot.after_stop, "an action after the stop"),
            (9, &bot.misuse, "misuse"),
            (10, &bot.leaks, "the token is in"),
        ] {
            if let Some(first) = list.first() {
                breach(
                    broken,
                    rule,
                    evidence.end,
                    format!("bot {index}: {what}: {first}"),
                );
            }
        }
    }
    for line in evidence.lines {
        if line.most_unread > evidence.config.send_window + line.largest {
            let what = format!("line {}: {} bytes unread", line.id.0, line.most_unread);
            breach(broken, 8, evidence.end, what);
        }
    }
    masked(evidence, broken);
}

fn fatal(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    for line in evidence.lines {
        let Some((at, Some(code))) = line.closed else {
            continue;
        };
        // Whatever comes after our own close frame says nothing any more.
        if !FATAL.contains(&code) || line.close.is_some() {
            continue;
        }
        let again = evidence.lines.iter().find(|other| {
            other.bot == line.bot
                && other.dialled > at
                && (!SHARD_ONLY.contains(&code) || other.life == line.life)
        });
        if let Some(again) = again {
            let what = format!("line {}: dialled after close code {code}", again.id.0);
            breach(broken, 5, again.dialled, what);
        }
    }
}

fn recovery(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let Some(calm) = evidence
        .calm
        .filter(|calm| evidence.end >= *calm + RECOVERY)
    else {
        return;
    };
    let over = |line: &crate::world::LineStory| matches!(line.closed, Some((_, Some(code))) if FATAL.contains(&code));
    let fatal = evidence.lines.iter().filter(|line| over(line));
    let fatal: BTreeSet<_> = fatal.map(|line| line.bot.0).collect();
    let mut live = BTreeSet::new();
    for entry in evidence.log {
        if matches!(entry.what, Seen::Ready { .. } | Seen::Resumed { .. })
            && let Some(conn) = entry.conn
        {
            live.insert(conn);
        }
    }
    for ((index, life), lines) in evidence.by_owner() {
        let bot = evidence.bots[index];
        let shard = lines[0].shard;
        let life = evidence.life((index, life));
        if life.is_some_and(|life| life.fell.is_some() || life.told.is_some()) {
            continue;
        }
        if bot.crashed.is_some() || bot.stop.is_some() || fatal.contains(&index) {
            continue;
        }
        // All may have to identify anew, each in its turn, and once more.
        let living = bot.lives.iter().filter(|life| life.is_on()).count() as u64;
        let turns = living / evidence.config.max_concurrency.max(1);
        let by = calm
            + RECOVERY
            + 2 * evidence.config.identify_pause * u32::try_from(turns).unwrap_or(u32::MAX);
        if evidence.end < by {
            continue;
        }
        let last = lines
            .last()
            .filter(|line| line.ended.is_none() && live.contains(&line.id));
        if last.is_none() {
            breach(
                broken,
                5,
                by,
                format!("shard {shard} of bot {index} is still not up"),
            );
        }
    }
}

/// A full mailbox still takes that its shard leaves its connection, and that it ends.
const LEAVING: usize = 2;

/// What may come to the mailbox of a life beside that, which was kept elsewhere before.
fn brought(bot: &BotStory, life: &Life) -> usize {
    // Of what it heard while another layout was heard, the latest.
    let muted = life.heard_lately;
    // What was taken back when it left may be given back; until then it has a limit like the mailbox's own, or
    // is what that held, and one drain more.
    let left = life.told.map(|_| bot.mail_limit + 2 * bot.most_drained);
    muted + left.unwrap_or(0)
}

fn sizes(index: usize, bot: &BotStory, broken: &mut Vec<Broken>) {
    let brought = bot.lives.iter().map(|life| brought(bot, life)).max();
    let most = bot.mail_limit + bot.most_drained + LEAVING + brought.unwrap_or(0);
    if bot.overflow == Overflow::Pause && bot.most_mail > most {
        let what = format!(
            "bot {index}: {} events in a mailbox for {most}",
            bot.most_mail
        );
        breach(broken, 8, bot.began, what);
    }
    // One payload whole, one on its way.
    if bot.most_buffered > bot.limits.payload_limit.saturating_mul(2) {
        let what = format!("bot {index}: a decoder of {} bytes", bot.most_buffered);
        breach(broken, 8, bot.began, what);
    }
}

/// What the last event hands over is what each shard left, and no shard is left out.
fn states(index: usize, bot: &BotStory, broken: &mut Vec<Broken>) {
    let mut left = BTreeMap::<_, (_, &ShardState)>::new();
    let mut begun = BTreeSet::new();
    // The last life of each shard counts, and not if it was let go or never took over.
    let lives = bot.lives.iter().map(|life| (life.shard, life));
    let last: BTreeMap<_, _> = lives.collect();
    let counts = |life: &Life| life.let_go.is_none() && (!life.muted || life.heard.is_some());
    let gone = |shard: &ShardId| last.get(shard).is_some_and(|life| !counts(life));
    for taken in &bot.taken {
        match taken.event.notice() {
            Some(Event::Connecting { shard, .. }) => {
                begun.insert(*shard);
            }
            // Boxes are emptied in turn: an earlier life's end may be taken last.
            Some(Event::ShardStopped { shard, state, .. })
                if left.get(shard).is_none_or(|(life, _)| *life <= taken.life) =>
            {
                left.insert(*shard, (taken.life, state));
            }
            Some(Event::Stopped { states, .. }) => {
                for shard in &begun {
                    let handed = states.iter().find(|state| state.shard == *shard);
                    if gone(shard) {
                        continue;
                    }
                    let fell = last.get(shard).and_then(|life| life.fell.as_ref());
                    let left = fell
                        .map(|(_, state)| state)
                        .or_else(|| left.get(shard).map(|(_, state)| *state));
                    if left != handed {
                        let what = format!(
                            "bot {index}: shard {shard} left {left:?}, handed over is {handed:?}"
                        );
                        breach(broken, 9, taken.at, what);
                    }
                }
            }
            _ => {}
        }
    }
}

fn one_end(index: usize, bot: &BotStory, end: Duration, broken: &mut Vec<Broken>) {
    let mut stopped = None;
    let mut over = BTreeSet::new();
    for taken in &bot.taken {
        if let Some(at) = stopped {
            let what = format!("bot {index}: an event after the last, which came at {at:?}");
            return breach(broken, 9, taken.at, what);
        }
        if let Some(Event::Stopped { .. }) = taken.event.notice() {
            stopped = Some(taken.at);
        }
        if let Some(life) = taken.life.filter(|life| over.contains(life)) {
            let what = format!("bot {index}: an event of shard life {life} after its end");
            breach(broken, 9, taken.at, what);
        }
        if let (Some(Event::ShardStopped { .. }), Some(life)) = (taken.event.notice(), taken.life) {
            over.insert(life);
        }
    }
    let late = bot.stop.filter(|(asked, _)| *asked + STOP < end);
    let slept = bot
        .slept
        .iter()
        .any(|span| span.to.is_none_or(|to| to + STOP > end));
    if let Some((asked, _)) = late
        && stopped.is_none()
        && bot.crashed.is_none()
        && bot.waiting == 0
        && !slept
    {
        breach(
            broken,
            9,
            asked,
            format!("bot {index}: no last event after a stop"),
        );
    }
}

/// Exactly one end for each connection that was begun.
fn connections_end(index: usize, bot: &BotStory, broken: &mut Vec<Broken>) {
    let mut open = BTreeMap::new();
    for taken in &bot.taken {
        let Some(life) = taken.life else { continue };
        match taken.event.notice() {
            Some(Event::Connecting { shard, conn, .. }) => {
                if let Some(before) = open.insert(life, *conn) {
                    let what = format!("bot {index} shard {shard}: {before:?} has no end");
                    breach(broken, 9, taken.at, what);
                }
            }
            Some(Event::Disconnected { shard, conn, .. }) if open.remove(&life) != Some(*conn) => {
                let what = format!("bot {index} shard {shard}: {conn:?} ends and was not open");
                breach(broken, 9, taken.at, what);
            }
            Some(Event::ShardStopped { shard, .. }) if open.contains_key(&life) => {
                let what = format!("bot {index} shard {shard}: stopped with an open connection");
                breach(broken, 9, taken.at, what);
            }
            _ => {}
        }
    }
}

/// What the server got: the token where it belongs is masked in its log, so any other is plain to see.
fn masked(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    for entry in evidence.log {
        if let Seen::Received { op, text } = &entry.what
            && text.contains("[token]") != matches!(op, Some(2 | 6))
            && !text.is_empty()
            && text != "[masked]"
        {
            let what = format!(
                "{:?}: the token is in a payload of op {op:?}, or missing",
                entry.conn
            );
            breach(broken, 10, entry.at, what);
        }
    }
}
