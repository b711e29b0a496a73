//! The line at the foot of a terminal: progress while shards identify, then how things are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shardwright_tokio::{Event, SessionStartLimit, ShardId};

/// How often it changes when nothing happens.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// One Identify a bucket in this time.
const A_TURN: Duration = Duration::from_secs(5);

pub(crate) struct StatusLine {
    bar: ProgressBar,
    facts: Facts,
}

/// What it tells of.
struct Facts {
    planned: u32,
    limit: Option<SessionStartLimit>,
    /// Connected at the moment.
    up: BTreeSet<ShardId>,
    /// All were connected once.
    complete: bool,
    latency: Option<Duration>,
    events: u64,
    counted_from: Instant,
    rate: f64,
}

impl StatusLine {
    pub(crate) fn new() -> Self {
        Self {
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout()),
            facts: Facts::new(Instant::now()),
        }
    }

    /// Takes note of an event.
    pub(crate) fn note(&mut self, event: &Event<'_>) {
        if self.facts.note(event) {
            self.draw();
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self) {
        self.facts.count(Instant::now());
        self.draw();
    }

    fn draw(&self) {
        let (up, planned) = (self.facts.up.len() as u64, u64::from(self.facts.planned));
        let template = if self.facts.complete || planned == 0 {
            "{msg}"
        } else {
            "{bar:24} {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_length(planned);
        self.bar.set_position(up);
        self.bar.set_message(self.facts.text());
    }

    /// Lets something else be written to the terminal.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Facts {
    fn new(now: Instant) -> Self {
        Self {
            planned: 0,
            limit: None,
            up: BTreeSet::new(),
            complete: false,
            latency: None,
            events: 0,
            counted_from: now,
            rate: 0.0,
        }
    }

    /// True if there is something new to show at once.
    fn note(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::Dispatch(_) => {
                self.events += 1;
                return false;
            }
            Event::Starting { shards, limit, .. } => {
                self.planned = *shards;
                self.limit = Some(*limit);
            }
            Event::Ready { shard, .. } | Event::Resumed { shard, .. } => {
                self.up.insert(*shard);
            }
            Event::Disconnected { shard, .. } | Event::ShardStopped { shard, .. } => {
                self.up.remove(shard);
            }
            Event::ConnectedAllShards { .. } => self.complete = true,
            Event::Heartbeat { latency, .. } => self.latency = Some(*latency),
            _ => return false,
        }
        true
    }

    fn count(&mut self, now: Instant) {
        let seconds = now.duration_since(self.counted_from).as_secs_f64();
        if seconds > 0.0 {
            self.rate = self.events as f64 / seconds;
        }
        self.events = 0;
        self.counted_from = now;
    }

    fn text(&self) -> String {
        let shards = format!("{}/{} shards", self.up.len(), self.planned);
        if !self.complete {
            return match self.time_left() {
                Some(left) => format!("{shards} connected, about {} s left", left.as_secs()),
                None => format!("{shards} connected"),
            };
        }
        let latency = match self.latency {
            Some(latency) => format!("{:.0} ms", latency.as_secs_f64() * 1000.0),
            None => "-".to_owned(),
        };
        format!("{:.1} events/s, latency {latency}, {shards} up", self.rate)
    }

    /// How long the identify limit makes the rest wait, if they all need new sessions.
    fn time_left(&self) -> Option<Duration> {
        let limit = self.limit?;
        let left = usize::try_from(self.planned)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.up.len());
        let turns = u32::try_from(left)
            .unwrap_or(u32::MAX)
            .div_ceil(limit.max_concurrency.max(1));
        // The first turn of each bucket is at once.
        (turns > 1).then(|| A_TURN * (turns - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(shards: u32, max_concurrency: u32) -> Event<'static> {
        Event::Starting {
            shards,
            total: shards,
            limit: SessionStartLimit::new(1000, 999, Duration::from_secs(60), max_concurrency),
        }
    }

    fn heartbeat(latency: u64) -> Event<'static> {
        Event::Heartbeat {
            shard: ShardId::new(0, 16).unwrap(),
            latency: Duration::from_millis(latency),
        }
    }

    #[test]
    fn time_left_is_what_the_identify_limit_asks_for() {
        for (shards, max_concurrency, text) in [
            (16, 1, "0/16 shards connected, about 75 s left"),
            (16, 16, "0/16 shards connected"),
            (17, 16, "0/17 shards connected, about 5 s left"),
            (1, 1, "0/1 shards connected"),
        ] {
            let mut facts = Facts::new(Instant::now());
            facts.note(&starting(shards, max_concurrency));
            assert_eq!(facts.text(), text);
        }
    }

    #[test]
    fn once_all_are_connected_it_says_how_things_are() {
        let began = Instant::now();
        let mut facts = Facts::new(began);
        facts.note(&starting(1, 1));
        facts.note(&Event::ConnectedAllShards { shards: 1 });
        assert_eq!(facts.text(), "0.0 events/s, latency -, 0/1 shards up");
        facts.note(&heartbeat(35));
        facts.events = 50;
        facts.count(began + Duration::from_secs(2));
        assert_eq!(facts.text(), "25.0 events/s, latency 35 ms, 0/1 shards up");
        facts.count(began + Duration::from_secs(3));
        assert_eq!(facts.text(), "0.0 events/s, latency 35 ms, 0/1 shards up");
    }
}
