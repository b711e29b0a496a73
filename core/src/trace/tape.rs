//! Writes the lines of a trace while they happen.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime};

use memchr::memmem::Finder;
use serde::Serialize;

use super::lines::{Begins, Ended, FLEET, Header};
use super::words::{Mask, Words};
use crate::{
    Action, EventFilter, FleetAction, FleetConfig, FleetInput, Input, Misuse, ShardId, Token,
};

/// A shorter token is nobody's secret, and stands in texts by chance.
const SHORTEST_SECRET: usize = 16;

/// A buffer that grew larger for one line is given back.
const BUFFER_KEPT: usize = 64 * 1024;

/// Where the lines of a trace go. It should take them quickly: the machines wait meanwhile.
pub trait TraceSink: fmt::Debug + Send + Sync {
    /// One line, its end included.
    fn line(&self, line: &[u8]);
}

/// Each line is sent. If nobody is there to take it, that is all right.
impl TraceSink for Sender<Vec<u8>> {
    fn line(&self, line: &[u8]) {
        let _ = self.send(line.to_vec());
    }
}

/// What all tapes of one trace share.
struct Trace {
    sink: Arc<dyn TraceSink>,
    base: Instant,
    words: Words,
    token: Option<Finder<'static>>,
    ended: AtomicBool,
}

impl Trace {
    fn write(&self, line: &[u8]) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let leaks = self
            .token
            .as_ref()
            .is_some_and(|token| token.find(line).is_some());
        if !leaks {
            return self.sink.line(line);
        }
        if !self.ended.swap(true, Ordering::Relaxed) {
            let why = Ended {
                ended: "the next line would hold the token",
            };
            self.sink.line(&json_line(&why));
        }
    }

    fn at(&self, now: Instant) -> u64 {
        let at = now.saturating_duration_since(self.base).as_nanos();
        u64::try_from(at).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

pub(super) fn json_line(line: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::new();
    append(&mut text, line);
    text.push(b'\n');
    text
}

/// Nothing that is recorded fails to be JSON, nor memory to be written.
fn append(text: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(text, value);
}

/// One line that is being written.
#[derive(Debug, Default)]
struct Draft {
    line: Vec<u8>,
    word: String,
    open: bool,
    empty: bool,
}

impl Draft {
    fn begin(&mut self) {
        self.line.clear();
        self.line.shrink_to(BUFFER_KEPT);
        self.word.shrink_to(BUFFER_KEPT);
        self.open = true;
        self.empty = true;
        self.line.push(b'{');
    }

    fn key(&mut self, name: &str, value: &impl Serialize) {
        if self.line.len() > 1 {
            self.line.push(b',');
        }
        append(&mut self.line, &name);
        self.line.push(b':');
        append(&mut self.line, value);
    }

    fn begin_did(&mut self) {
        self.line.extend_from_slice(br#","did":["#);
    }

    fn did(&mut self, say: impl FnOnce(&mut String)) {
        if !self.open {
            return;
        }
        if !std::mem::replace(&mut self.empty, false) {
            self.line.push(b',');
        }
        self.word.clear();
        say(&mut self.word);
        append(&mut self.line, &self.word);
    }

    fn end(&mut self, trace: &Trace) {
        if std::mem::replace(&mut self.open, false) {
            self.line.extend_from_slice(b"]}\n");
            trace.write(&self.line);
        }
    }
}

/// Records a fleet.
#[derive(Debug)]
pub(super) struct FleetTape {
    trace: Arc<Trace>,
    draft: Draft,
    lives: u32,
}

impl FleetTape {
    pub(super) fn new(
        sink: Arc<dyn TraceSink>,
        header: Header,
        token: Option<&Token>,
        base: Instant,
    ) -> Self {
        let token = token.map(Token::expose);
        let token = token.filter(|token| token.len() >= SHORTEST_SECRET);
        let trace = Trace {
            words: Words::new(base, Mask::new(&header.config.token)),
            token: token.map(|token| Finder::new(token).into_owned()),
            sink,
            base,
            ended: AtomicBool::new(false),
        };
        trace.write(&json_line(&header));
        Self {
            trace: Arc::new(trace),
            draft: Draft::default(),
            lives: 0,
        }
    }

    pub(super) fn heard(&mut self, now: Instant, input: &FleetInput) {
        self.draft.end(&self.trace);
        // Written before the fleet does anything, so that it comes before the first word of a shard that it
        // starts.
        self.draft.begin();
        self.draft.key("life", &FLEET);
        self.draft.key("at", &self.trace.at(now));
        self.draft.key("heard", input);
        self.draft.line.extend_from_slice(b"}\n");
        self.trace.write(&self.draft.line);
        self.draft.begin();
        self.draft.key("life", &FLEET);
        self.draft.begin_did();
    }

    pub(super) fn refused(&mut self, misuse: &Misuse) {
        self.draft.did(|word| *word = format!("misuse {misuse}"));
    }

    pub(super) fn did(&mut self, action: &FleetAction) {
        self.lives += u32::from(matches!(action, FleetAction::StartShard(_)));
        let words = &self.trace.words;
        self.draft.did(|word| {
            // Memory can be written.
            let _ = words.fleet(action, word);
        });
        if matches!(action, FleetAction::Wait(_)) {
            self.draft.end(&self.trace);
        }
    }

    pub(super) fn shard(&self) -> ShardTape {
        ShardTape {
            trace: self.trace.clone(),
            draft: Draft::default(),
            life: self.lives,
        }
    }
}

/// Records one life of a shard; from [`RecordedFleet::tape`](super::RecordedFleet::tape).
#[derive(Debug)]
pub struct ShardTape {
    trace: Arc<Trace>,
    draft: Draft,
    life: u32,
}

impl ShardTape {
    pub(super) fn begins(&self, now: Instant, shard: ShardId, events: &EventFilter) {
        self.trace.write(&json_line(&Begins {
            life: self.life,
            at: self.trace.at(now),
            begins: shard,
            events,
        }));
    }

    pub(super) fn heard(&mut self, now: Instant, input: &Input) {
        self.draft.end(&self.trace);
        self.draft.begin();
        self.draft.key("life", &self.life);
        self.draft.key("at", &self.trace.at(now));
        self.draft.key("heard", input);
        self.draft.begin_did();
    }

    pub(super) fn refused(&mut self, misuse: &Misuse) {
        self.draft.did(|word| *word = format!("misuse {misuse}"));
    }

    pub(super) fn did(&mut self, action: &Action<'_>) {
        let words = &self.trace.words;
        self.draft.did(|word| {
            // Memory can be written.
            let _ = words.shard(action, word);
        });
        if matches!(action, Action::Wait(_)) {
            self.draft.end(&self.trace);
        }
    }
}

/// The header of a recording that begins now.
pub(super) fn header(config: &FleetConfig, seed: u64, wall: Option<SystemTime>) -> Header {
    Header {
        version: super::VERSION,
        by: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        os: crate::options::OS.into(),
        wall,
        without_bodies: false,
        seed,
        token_length: Mask::new(&config.token).length(),
        config: config.clone(),
    }
}
