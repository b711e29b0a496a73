//! Where lines go, and what is counted on the way.

use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::time::{Duration, Instant};

use serde_json::json;
use shardwright_tokio::{Event, Next};

use crate::args::Format;
use crate::lines::{json_line, pretty_line};
use crate::status::StatusLine;
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
    status: Option<StatusLine>,
}

/// So many bytes of lines are written at once.
const TOGETHER: usize = 64 * 1024;

impl Screen {
    pub(crate) fn new(format: Format, data: bool, verbose: bool) -> Self {
        let for_people = format == Format::Pretty && std::io::stdout().is_terminal();
        Self {
            format,
            data,
            verbose,
            began: Instant::now(),
            out: BufWriter::with_capacity(TOGETHER, std::io::stdout()),
            waiting: false,
            closed: false,
            status: for_people.then(StatusLine::new),
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
        let flushed = match &self.status {
            Some(status) => status.aside(|| self.out.flush()),
            None => self.out.flush(),
        };
        if flushed.is_err() {
            self.closed = true;
        }
    }

    /// Whether there is a line to keep up to date.
    pub(crate) fn has_status(&self) -> bool {
        self.status.is_some()
    }

    pub(crate) fn tick(&mut self) {
        if let Some(status) = &mut self.status {
            status.tick();
        }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        if let Some(status) = &mut self.status {
            status.note(event);
        }
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
        // The buffer would write by itself, across the status line.
        if self.status.is_some() && self.out.buffer().len() + line.len() >= TOGETHER {
            self.flush();
            self.waiting = true;
        }
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
        if let Some(status) = self.status.take() {
            status.clear();
        }
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
