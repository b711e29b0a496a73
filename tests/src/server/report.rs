//! Questions tests ask the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::io::{ConnId, Shard};
use super::log::{Log, LogEntry, Seen, Violation};

impl Log {
    /// The entries of one connection.
    pub fn of(&self, conn: ConnId) -> impl Iterator<Item = &LogEntry> {
        self.entries().iter().filter(move |e| e.conn == Some(conn))
    }

    /// How many entries satisfy this.
    pub fn count(&self, mut wanted: impl FnMut(&Seen) -> bool) -> usize {
        self.entries().iter().filter(|e| wanted(&e.what)).count()
    }

    /// Everything the clients did wrong.
    #[must_use]
    pub fn violations(&self) -> Vec<&Violation> {
        self.entries()
            .iter()
            .filter_map(|entry| match &entry.what {
                Seen::Violation(violation) => Some(violation),
                _ => None,
            })
            .collect()
    }

    /// Upgrade requests, answered or not.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.count(|what| matches!(what, Seen::Upgrade { .. }))
    }

    /// Good Identifies.
    #[must_use]
    pub fn identifies(&self) -> usize {
        self.count(|what| matches!(what, Seen::Identify { .. }))
    }

    /// READYs sent.
    #[must_use]
    pub fn readies(&self) -> usize {
        self.count(|what| matches!(what, Seen::Ready { .. }))
    }

    /// RESUMEDs sent.
    #[must_use]
    pub fn resumed(&self) -> usize {
        self.count(|what| matches!(what, Seen::Resumed { .. }))
    }

    /// When each bot identified in each bucket.
    #[must_use]
    pub fn identify_times(&self) -> BTreeMap<(u64, u64), Vec<Duration>> {
        let mut times = BTreeMap::<_, Vec<_>>::new();
        for entry in self.entries() {
            if let Seen::Identify { bot, bucket, .. } = entry.what {
                times.entry((bot, bucket)).or_default().push(entry.at);
            }
        }
        times
    }

    /// When a connection beat.
    #[must_use]
    pub fn beats(&self, conn: ConnId) -> Vec<Duration> {
        self.of(conn)
            .filter(|entry| matches!(entry.what, Seen::Received { op: Some(1), .. }))
            .map(|entry| entry.at)
            .collect()
    }

    /// The most payloads any connection sent within a sliding window.
    #[must_use]
    pub fn most_sends(&self, window: Duration) -> usize {
        let mut recent = BTreeMap::<_, VecDeque<Duration>>::new();
        let mut most = 0;
        for entry in self.entries() {
            if let (Some(conn), Seen::Received { .. }) = (entry.conn, &entry.what) {
                let times = recent.entry(conn).or_default();
                times.push_back(entry.at);
                while times
                    .front()
                    .is_some_and(|first| *first + window <= entry.at)
                {
                    times.pop_front();
                }
                most = most.max(times.len());
            }
        }
        most
    }

    /// The most connections each shard had open at once, counted from its Identify or Resume.
    #[must_use]
    pub fn most_open(&self) -> BTreeMap<Shard, usize> {
        let mut open = BTreeMap::<Shard, Vec<ConnId>>::new();
        let mut most = BTreeMap::new();
        for entry in self.entries() {
            let (Some(conn), Some(shard)) = (entry.conn, entry.shard) else {
                continue;
            };
            let conns = open.entry(shard).or_default();
            match entry.what {
                Seen::Lost
                | Seen::Dropped { .. }
                | Seen::ClosedByClient { .. }
                | Seen::Closed { .. } => conns.retain(|other| *other != conn),
                Seen::Identify { .. } | Seen::Resume { .. } if !conns.contains(&conn) => {
                    conns.push(conn);
                    let count = most.entry(shard).or_insert(0);
                    *count = (*count).max(conns.len());
                }
                _ => {}
            }
        }
        most
    }

    /// The targets of all upgrade requests.
    #[must_use]
    pub fn targets(&self) -> Vec<&str> {
        self.entries()
            .iter()
            .filter_map(|entry| match &entry.what {
                Seen::Upgrade { target, .. } => Some(target.as_str()),
                _ => None,
            })
            .collect()
    }
}
