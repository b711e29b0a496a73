//! The rules every run must keep, whatever happens in it.
//!
//! They are held against what the server logged and what the world saw of the lines and the consumers; no
//! machine of a client is asked how it stands.
//!
//! | rule | says |
//! |---|---|
//! | 0 | nothing goes to the server that it would have to call wrong |
//! | 1 | within a session each dispatch reaches a consumer once, in order, without a gap, over any number of resumes, lives of its shard and processes; not what a mailbox was told to drop, nor the end of a session that was lost; after a crash again from what was acknowledged; when a layout takes over, each event from one of the two |
//! | 2 | one Identify a bucket in 5 s as long as the delay varies by less than 150 ms, whatever the layout; never more than the session-start limit, and none before the bot's own gate opened; a session that can be resumed is not given up without a reason |
//! | 3 | never over 120 payloads in 60 s of a connection; the first beat within one interval, each next one interval later at most |
//! | 4 | a silent line is left in time; 4000 is what the client closes with, 1000 in a final stop only |
//! | 5 | once nothing is wrong any more all shards are up in bounded time; after a fatal close code nobody dials again |
//! | 6 | no dial, request or Identify in a loop without a pause |
//! | 7 | new sessions on the main address, resumes on the one READY named, with the same query |
//! | 8 | mailboxes, unread bytes and buffers stay within their limits |
//! | 9 | one last event, and nothing after it; one end for each connection |
//! | 10 | the token is in Identify and Resume and nowhere else |

mod connections;
mod delivery;
mod dials;
mod ends;
mod identifies;
mod swaps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use shardwright_core::Event;

use super::{BotStory, Life, LineStory, Span};
use crate::server::{ConnId, LogEntry, Seen, ServerConfig, Violation};

/// How much two delays may differ where a rule counts on it.
const STEADY: Duration = Duration::from_millis(150);
/// For what happens at one moment in several steps.
const SLACK: Duration = Duration::from_millis(5);

/// What the rules are held against.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Evidence<'w> {
    /// What the server saw and did.
    pub log: &'w [LogEntry],
    /// The connections, in the order of their dials: the first has the server's number 1.
    pub lines: &'w [LineStory],
    /// The bot processes.
    pub bots: Vec<&'w BotStory>,
    /// How the server is set up.
    pub config: &'w ServerConfig,
    /// When the run ended.
    pub end: Duration,
    /// Since when nothing was wrong any more.
    pub calm: Option<Duration>,
    /// When everybody's wall clock jumped ahead, which looks as if the host had slept.
    pub wall_jumps: &'w [Duration],
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Broken {
    /// Its number.
    pub rule: u8,
    /// When.
    pub at: Duration,
    /// How.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        write!(f, "rule {} at {at:.3} s: {}", self.rule, self.what)
    }
}

/// All rules that were broken.
#[must_use]
pub fn check(evidence: &Evidence<'_>) -> Vec<Broken> {
    let mut broken = Vec::new();
    manners(evidence, &mut broken);
    delivery::check(evidence, &mut broken);
    identifies::check(evidence, &mut broken);
    connections::check(evidence, &mut broken);
    dials::check(evidence, &mut broken);
    ends::check(evidence, &mut broken);
    broken
}

fn breach(broken: &mut Vec<Broken>, rule: u8, at: Duration, what: String) {
    broken.push(Broken { rule, at, what });
}

/// Rule 0.
fn manners(evidence: &Evidence<'_>, broken: &mut Vec<Broken>) {
    let mut invalidated = BTreeSet::new();
    for entry in evidence.log {
        if matches!(entry.what, Seen::Invalid { .. }) {
            invalidated.insert(entry.conn);
        }
        let Seen::Violation(what) = &entry.what else {
            continue;
        };
        // Sent before the news of it arrived.
        let crossed = invalidated.contains(&entry.conn)
            && matches!(
                what,
                Violation::BeforeIdentify(_) | Violation::BeforeReady(_)
            );
        let excused = matches!(
            what,
            // Rules 2 and 3 look at these, with the delays in view.
            Violation::IdentifiedTooFast { .. }
                | Violation::BudgetSpent
                | Violation::RateLimited
                | Violation::PresenceLimited
                // What the line or the bot's owner is to blame for.
                | Violation::NoBeat
                | Violation::UnknownSession
                | Violation::Token
                | Violation::Intents
                | Violation::DisallowedIntents
                | Violation::ShardingRequired
                | Violation::Shard
                | Violation::WholeListTooSoon
                | Violation::MissingIntent
        );
        if !excused && !crossed {
            breach(broken, 0, entry.at, format!("{:?}: {what}", entry.conn));
        }
    }
}

/// A life of a shard in a bot process.
type Owner = (usize, usize);

impl<'w> Evidence<'w> {
    fn line(&self, id: ConnId) -> Option<&'w LineStory> {
        let index = usize::try_from(id.0).ok()?.checked_sub(1)?;
        self.lines.get(index).filter(|line| line.id == id)
    }

    /// The lines of each life of a shard, in the order of their dials.
    fn by_owner(&self) -> BTreeMap<Owner, Vec<&'w LineStory>> {
        let mut owners = BTreeMap::<Owner, Vec<_>>::new();
        for line in self.lines {
            owners
                .entry((line.bot.0, line.life))
                .or_default()
                .push(line);
        }
        owners
    }

    /// The lines whose READY or RESUMED reached a consumer. One that was sent may have been lost.
    fn reached(&self) -> BTreeSet<ConnId> {
        let mut conns = BTreeSet::new();
        for (index, bot) in self.bots.iter().enumerate() {
            for taken in &bot.taken {
                if let (Some(life), Some(Event::Ready { conn, .. } | Event::Resumed { conn, .. })) =
                    (taken.life, taken.event.notice())
                {
                    conns.insert((index, life, conn.get()));
                }
            }
        }
        let lines = self.lines.iter();
        lines
            .filter(|line| conns.contains(&(line.bot.0, line.life, line.conn)))
            .map(|line| line.id)
            .collect()
    }

    fn life(&self, (bot, life): Owner) -> Option<&'w Life> {
        self.bots.get(bot)?.lives.get(life)
    }

    /// How long the bot's host slept between two times.
    fn slept(&self, bot: usize, from: Duration, to: Duration) -> Duration {
        let spans = self.bots.get(bot).map(|bot| bot.slept.as_slice());
        let spans = spans.unwrap_or_default();
        spans.iter().map(|span| span.within(from, to)).sum()
    }

    /// How often it slept between two times, or thought so: what the clock shows is seen at the next beat.
    fn sleeps(&self, bot: usize, from: Duration, to: Duration, beat: Duration) -> u32 {
        let spans = self.bots.get(bot).map(|bot| bot.slept.as_slice());
        let slept = |span: &&Span| !span.within(from, to).is_zero();
        let sleeps = spans.unwrap_or_default().iter().filter(slept).count();
        let seen = from.saturating_sub(beat)..to;
        let jumps = self.wall_jumps.iter().filter(|at| seen.contains(*at));
        (sleeps + jumps.count()) as u32
    }

    /// When each life of a shard had no room for more.
    fn congestion(&self) -> Congestion {
        let mut spans = BTreeMap::<Owner, Vec<Span>>::new();
        for (index, bot) in self.bots.iter().enumerate() {
            for (life, span) in &bot.congested {
                spans.entry((index, *life)).or_default().push(*span);
            }
        }
        Congestion(spans)
    }
}

/// When each life of a shard had no room for more, in order of time.
struct Congestion(BTreeMap<Owner, Vec<Span>>);

impl Congestion {
    /// Those that end after the one time and begin before the other.
    fn between(&self, owner: Owner, from: Duration, to: Duration) -> impl Iterator<Item = &Span> {
        let spans = self.0.get(&owner).map(Vec::as_slice).unwrap_or_default();
        let begin = spans.partition_point(|span| span.to.is_some_and(|end| end <= from));
        spans[begin..].iter().take_while(move |span| span.from < to)
    }

    /// How long between two times.
    fn within(&self, owner: Owner, from: Duration, to: Duration) -> Duration {
        let spans = self.between(owner, from, to);
        spans.map(|span| span.within(from, to)).sum()
    }

    /// Whether it was so between two times, if only for a moment.
    fn was(&self, owner: Owner, from: Duration, to: Duration) -> bool {
        self.between(owner, from, to).next().is_some()
    }
}
