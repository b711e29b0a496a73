//! Tells new machines what the recorded ones heard, and compares what they do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::{Mismatch, TraceError};
use super::lines::{FLEET, Header, Line};
use super::words::{Mask, Words, is_wait};
use crate::{
    Action, Compression, Event, EventFilter, EventId, FleetAction, FleetInput, FleetMachine, Input,
    ShardId, ShardMachine, ShardStart, Token,
};

const ANSWER_ALONE: &str = "an answer without a question";

/// Replays a trace line by line.
#[derive(Debug)]
pub struct Replay {
    base: Instant,
    line: u64,
    story: Option<Story>,
    replayed: Replayed,
    /// The fleet's last answer, and a shard's. Lines of shards may come before that of the fleet's answer.
    fleet: Answer,
    shard: Answer,
}

/// What a machine did. The texts are used again for the next answer.
#[derive(Debug, Default)]
struct Answer {
    words: Vec<String>,
    /// How many of them are of this answer.
    count: usize,
    dispatches: Vec<EventId>,
}

impl Answer {
    fn begin(&mut self) {
        self.count = 0;
        self.dispatches.clear();
    }

    fn did(&mut self, say: impl FnOnce(&mut String)) {
        if self.count == self.words.len() {
            self.words.push(String::new());
        }
        if let Some(word) = self.words.get_mut(self.count) {
            word.clear();
            say(word);
            self.count += 1;
        }
    }

    fn words(&self) -> &[String] {
        self.words.get(..self.count).unwrap_or_default()
    }
}

/// What there is from the header on.
#[derive(Debug)]
struct Story {
    header: Header,
    words: Words,
    fleet: FleetMachine,
    /// When the fleet heard what it has answered, while the answer was not compared.
    unanswered: Option<Duration>,
    starts: Vec<Option<ShardStart>>,
    shards: BTreeMap<u32, ShardMachine>,
}

/// How a replay went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// How many inputs were replayed.
    pub inputs: u64,
    /// How many actions were compared.
    pub actions: u64,
    /// How many dispatches were among them.
    pub dispatches: u64,
    /// How many lives of shards there were.
    pub lives: u32,
    /// The time from the beginning to the last input.
    pub time: Duration,
    /// Why the recording ended, if not because everything was over.
    pub ended: Option<String>,
    /// What came out differently first.
    pub mismatch: Option<Mismatch>,
    /// How many inputs had other actions.
    pub mismatches: u64,
}

impl Replayed {
    fn note(&mut self, at: Duration, mismatch: &Option<Mismatch>) {
        self.time = self.time.max(at);
        self.mismatches += u64::from(mismatch.is_some());
        if self.mismatch.is_none() {
            self.mismatch.clone_from(mismatch);
        }
    }

    /// Whether all actions were the same.
    ///
    /// # Errors
    /// The first that was not.
    pub fn verify(&self) -> Result<(), Mismatch> {
        self.mismatch.clone().map_or(Ok(()), Err)
    }
}

/// One line, replayed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Step<'r> {
    /// The line of the trace, from 1.
    pub line: u64,
    /// When, since the beginning.
    pub at: Duration,
    /// Whose: 0 is the fleet's life.
    pub life: u32,
    /// Which shard lives it; none for the fleet.
    pub shard: Option<ShardId>,
    /// What it was told, as JSON. None where a life begins, and in the line that holds the fleet's answer as it
    /// was recorded: that only compares.
    pub heard: Option<&'r str>,
    /// What it did about it now.
    pub did: &'r [String],
    /// Which dispatches are among that.
    pub dispatches: &'r [EventId],
    /// What was recorded otherwise.
    pub mismatch: Option<Mismatch>,
}

/// Replays a whole trace. Any `base` will do for the beginning: all times are relative to it.
///
/// # Errors
/// What comes is no trace, or a damaged one. A replay that does otherwise is no error here:
/// [`Replayed::verify`] says so.
pub fn replay(trace: &[u8], base: Instant) -> Result<Replayed, TraceError> {
    let mut replay = Replay::new(base);
    for line in trace.split_inclusive(|&byte| byte == b'\n') {
        if line.ends_with(b"\n") {
            replay.line(line)?;
        }
    }
    replay.finish()
}

impl Replay {
    /// A replay that waits for the first line. Any `base` will do for the beginning.
    #[must_use]
    pub fn new(base: Instant) -> Self {
        Self {
            base,
            line: 0,
            story: None,
            replayed: Replayed::default(),
            fleet: Answer::default(),
            shard: Answer::default(),
        }
    }

    /// Replays one line. Nothing comes of the header.
    ///
    /// # Errors
    /// The line is damaged, or belongs to another place.
    pub fn line<'r>(&'r mut self, line: &'r [u8]) -> Result<Option<Step<'r>>, TraceError> {
        self.line += 1;
        let number = self.line;
        let damaged = |what: &dyn std::fmt::Display| TraceError::damaged(number, what);
        let line = std::str::from_utf8(line).map_err(|error| damaged(&error))?;
        if self.story.is_none() {
            let header = read_header(line, number)?;
            self.story = Some(Story::new(header, self.base));
            return Ok(None);
        }
        let line: Line<'r> = serde_json::from_str(line).map_err(|error| damaged(&error))?;
        if let Some(ended) = line.ended {
            self.replayed.ended = Some(ended);
            return Ok(None);
        }
        let at = Duration::from_nanos(line.at);
        let now = self
            .base
            .checked_add(at)
            .ok_or_else(|| damaged(&"its time is out of bounds"))?;
        let story = self.story.as_mut().ok_or(TraceError::NoHeader)?;
        self.shard.begin();
        let (at, shard) = match &line {
            Line {
                life: FLEET,
                heard: Some(heard),
                ..
            } => {
                story.fleet_hears(now, at, read(heard, number)?, &mut self.fleet);
                (at, None)
            }
            Line { life: FLEET, .. } => {
                let at = story.unanswered.take();
                (at.ok_or_else(|| damaged(&ANSWER_ALONE))?, None)
            }
            Line {
                begins: Some(shard),
                events,
                ..
            } => {
                story
                    .begin(line.life, *shard, events.clone(), now)
                    .ok_or_else(|| damaged(&"a shard begins that the fleet did not start"))?;
                self.replayed.lives += 1;
                (at, Some(*shard))
            }
            _ => {
                let heard = line.heard.ok_or_else(|| damaged(&ANSWER_ALONE))?;
                let shard = story
                    .shard_hears(line.life, now, read(heard, number)?, &mut self.shard)
                    .ok_or_else(|| damaged(&"no shard has begun this life"))?;
                (at, Some(shard))
            }
        };
        let answer = match line.life {
            FLEET => &self.fleet,
            _ => &self.shard,
        };
        let mismatch = line.did.and_then(|recorded| {
            self.replayed.actions += answer.count as u64;
            let (recorded, replayed) = first_difference(&recorded, answer.words())?;
            Some(Mismatch {
                line: number,
                shard,
                at,
                recorded,
                replayed,
            })
        });
        self.replayed.note(at, &mismatch);
        self.replayed.inputs += u64::from(line.heard.is_some());
        self.replayed.dispatches += self.shard.dispatches.len() as u64;
        Ok(Some(Step {
            line: number,
            at,
            life: line.life,
            shard,
            heard: line.heard.map(RawValue::get),
            did: match line.heard {
                Some(_) => answer.words(),
                None => &[],
            },
            dispatches: &self.shard.dispatches,
            mismatch,
        }))
    }

    /// The header, once it was read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.story.as_ref().map(|story| &story.header)
    }

    /// How it has gone so far.
    #[must_use]
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// The fleet as it stands; none before the header.
    #[must_use]
    pub fn fleet(&self) -> Option<&FleetMachine> {
        self.story.as_ref().map(|story| &story.fleet)
    }

    /// The shards' machines as they stand, by life.
    pub fn shards(&self) -> impl Iterator<Item = (u32, &ShardMachine)> {
        let shards = self.story.iter().flat_map(|story| &story.shards);
        shards.map(|(life, machine)| (*life, machine))
    }

    /// Ends the replay.
    ///
    /// # Errors
    /// There was no header.
    pub fn finish(self) -> Result<Replayed, TraceError> {
        match self.story {
            Some(_) => Ok(self.replayed),
            None => Err(TraceError::NoHeader),
        }
    }
}

pub(super) fn read_header(line: &str, number: u64) -> Result<Header, TraceError> {
    #[derive(Deserialize)]
    struct Version {
        shardwright_trace: u32,
    }
    if !line.starts_with('{') {
        return Err(TraceError::NoHeader);
    }
    let version: Version = serde_json::from_str(line).map_err(|_| TraceError::NoHeader)?;
    let (found, known) = (version.shardwright_trace, super::VERSION);
    if found > known {
        return Err(TraceError::Version { found, known });
    }
    let mut header: Header =
        serde_json::from_str(line).map_err(|error| TraceError::damaged(number, error))?;
    let compression = header.config.template.compression;
    if compression != compression.supported() {
        let what = Compression::name(compression);
        return Err(TraceError::Unsupported { what });
    }
    header.config.token = Token::placeholder(header.token_length);
    Ok(header)
}

pub(super) fn read<'l, T: Deserialize<'l>>(
    heard: &'l RawValue,
    line: u64,
) -> Result<T, TraceError> {
    serde_json::from_str(heard.get()).map_err(|error| TraceError::damaged(line, error))
}

impl Story {
    fn new(header: Header, base: Instant) -> Self {
        let config = header.config.clone();
        Self {
            words: Words::new(base, Mask::new(&config.token)),
            fleet: FleetMachine::new(config, header.seed, base),
            header,
            unanswered: None,
            starts: Vec::new(),
            shards: BTreeMap::new(),
        }
    }

    fn fleet_hears(&mut self, now: Instant, at: Duration, input: FleetInput, answer: &mut Answer) {
        answer.begin();
        self.unanswered = Some(at);
        if let Err(misuse) = self.fleet.handle(now, input) {
            answer.did(|word| *word = format!("misuse {misuse}"));
        }
        loop {
            let action = self.fleet.poll();
            answer.did(|word| {
                // Memory can be written.
                let _ = self.words.fleet(&action, word);
            });
            match action {
                FleetAction::StartShard(mut start) => {
                    start.config.os.clone_from(&self.header.os);
                    self.starts.push(Some(*start));
                }
                FleetAction::Wait(_) => return,
                _ => {}
            }
        }
    }

    fn begin(
        &mut self,
        life: u32,
        shard: ShardId,
        events: EventFilter,
        now: Instant,
    ) -> Option<()> {
        let index = usize::try_from(life).ok()?.checked_sub(1)?;
        let slot = self.starts.get_mut(index)?;
        let mut start = slot.take_if(|start| start.config.shard == shard)?;
        start.config.filter = events;
        let machine = ShardMachine::new(start.config, start.state, start.seed, now);
        self.shards.insert(life, machine);
        Some(())
    }

    fn shard_hears(
        &mut self,
        life: u32,
        now: Instant,
        input: Input,
        answer: &mut Answer,
    ) -> Option<ShardId> {
        answer.begin();
        let machine = self.shards.get_mut(&life)?;
        if let Err(misuse) = machine.handle(now, input) {
            answer.did(|word| *word = format!("misuse {misuse}"));
        }
        loop {
            let action = machine.poll();
            answer.did(|word| {
                // Memory can be written.
                let _ = self.words.shard(&action, word);
            });
            match action {
                Action::Emit(Event::Dispatch(event)) => answer.dispatches.push(event.id()),
                Action::Wait(_) => break,
                _ => {}
            }
        }
        Some(machine.state().shard)
    }
}

/// The first pair of actions that differ: recorded, replayed.
fn first_difference(
    recorded: &[Cow<'_, str>],
    replayed: &[String],
) -> Option<(Option<String>, Option<String>)> {
    let mut recorded = recorded.iter().map(AsRef::as_ref);
    let mut replayed = replayed.iter().map(String::as_str);
    loop {
        let pair = (recorded.next(), replayed.next());
        match pair {
            (None, None) => return None,
            (Some(a), Some(b)) if a == b => {}
            // After misuse a caller need not ask for more.
            (None, Some(wait)) if is_wait(wait) => {}
            (a, b) => return Some((a.map(str::to_owned), b.map(str::to_owned))),
        }
    }
}
