//! The run as text, one line for each thing that happened.

use std::fmt::Write;
use std::time::Duration;

use shardwright_core::EventId;

use super::BotId;
use crate::server::ConnId;

/// One line. What happens often is kept small and written out when asked for.
#[derive(Debug)]
pub(super) enum Mark {
    Text(String),
    Sent(ConnId, u8),
    Arrived(ConnId, usize),
    Took(BotId, EventId, String),
}

#[derive(Debug)]
pub(super) struct Transcript {
    marks: Vec<(Duration, Mark)>,
    /// No more than about this many are kept.
    limit: Option<usize>,
}

impl Transcript {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self {
            marks: Vec::new(),
            limit,
        }
    }

    pub(super) fn add(&mut self, at: Duration, mark: Mark) {
        if let Some(limit) = self.limit
            && self.marks.len() >= limit.max(2)
        {
            self.marks.drain(..limit.max(2) / 2);
        }
        self.marks.push((at, mark));
    }

    pub(super) fn text(&self, last: usize) -> String {
        let mut text = String::new();
        for (at, mark) in &self.marks[self.marks.len().saturating_sub(last)..] {
            let _ = write!(text, "{:>14.6}  ", at.as_secs_f64());
            let _ = match mark {
                Mark::Text(what) => writeln!(text, "{what}"),
                Mark::Sent(line, op) => writeln!(text, "line {}: client sends op {op}", line.0),
                Mark::Arrived(line, bytes) => {
                    writeln!(text, "line {}: {bytes} bytes reach the client", line.0)
                }
                Mark::Took(bot, id, name) => writeln!(
                    text,
                    "bot {} takes {name} {}:{} of shard {}",
                    bot.0, id.session, id.seq, id.shard
                ),
            };
        }
        text
    }
}
