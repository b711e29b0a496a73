//! Where lines go, and what is counted on the way.

use std::io::{BufWriter, Stdout, Write};
use std::time::{Duration, Instant};

use serde_json::json;
use shardwright_tokio::{Event, Next};

use crate::args::Format;
use crate::lines::{json_line, pretty_line};
use crate::usage::usage;

/// Standard output. Lines are written together when many events come at once: call
/// [`flush`](Self::flush) before waiting.
pub(crate) struct Screen {
    format: Format,
    data: bool,
    verbose: bool,
    began: Instant,
    out: BufWriter<Stdout>,
    waiting: bool,
    closed: bool,
}

impl Screen {
    pub(crate) fn new(format: Format, data: bool, verbose: bool) -> Self {
        Self {
            format,
            data,
            verbose,
            began: Instant::now(),
            out: BufWriter::with_capacity(64 * 1024, std::io::stdout()),
            waiting: false,
            closed: false,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn t(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether there are lines to flush.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Nobody reads standard output any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn flush(&mut self) {
        self.waiting = false;
        if self.out.flush().is_err() {
            self.closed = true;
        }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        let at = self.elapsed();
        let line = match self.format {
            Format::Json => json_line(event, at, self.data, self.verbose),
            Format::Pretty => pretty_line(event, at, self.data, self.verbose),
            Format::None => None,
        };
        if let Some(line) = line {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        if self.closed {
            return;
        }
        self.waiting = true;
        if writeln!(self.out, "{line}").is_err() {
            self.closed = true;
        }
    }

    /// A line that is no event: the answer to a command.
    pub(crate) fn json(&mut self, mut value: serde_json::Value) {
        if self.format == Format::Json {
            value["t"] = self.t().into();
        }
        if self.format != Format::None {
            self.line(&value.to_string());
        }
    }

    /// The last line.
    pub(crate) fn summary(&mut self, counts: &Counts, dropped: u64) {
        let (cpu, rss) = usage();
        let wall = self.elapsed().as_secs_f64();
        let Counts {
            events,
            bytes,
            reconnects,
            resumes,
            identifies,
        } = counts;
        let line = if self.format == Format::Json {
            json!({
                "t": self.t(), "type": "summary", "events": events, "bytes": bytes, "wall_s": wall,
                "cpu_s": cpu, "max_rss_kb": rss, "reconnects": reconnects, "resumes": resumes,
                "identifies": identifies, "dropped": dropped,
            })
            .to_string()
        } else {
            format!(
                "{events} events, {:.1} MB in {wall:.1} s; {reconnects} reconnects, {resumes} \
                 resumes, {identifies} identifies, {dropped} dropped; {cpu:.2} s of CPU, {} MB of \
                 memory",
                *bytes as f64 / 1e6,
                rss / 1024,
            )
        };
        self.line(&line);
        self.flush();
    }
}

/// What the summary says.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    bytes: u64,
    reconnects: u64,
    resumes: u64,
    identifies: u64,
}

impl Counts {
    pub(crate) fn count(&mut self, event: &Event<'_>) {
        match event {
            Event::Dispatch(event) => {
                self.events += 1;
                self.bytes += event.payload_size() as u64;
            }
            Event::Disconnected { next, .. } if *next != Next::Stop => self.reconnects += 1,
            Event::Resumed { .. } => self.resumes += 1,
            Event::Identifying { .. } => self.identifies += 1,
            _ => {}
        }
    }
}
