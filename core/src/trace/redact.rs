//! A copy of a trace without what its events hold.

mod bodies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::ShardTape;
use super::error::TraceError;
use super::lines::{Ended, FLEET, Line};
use super::recorded::{RecordedFleet, RecordedShard};
use super::replay::{Replay, Replayed, read, read_header};
use super::tape::{TraceSink, json_line};
use super::words::is_wait;
use crate::{
    Action, ConnId, EventFilter, FleetAction, FleetInput, Frame, FrameDecoder, Input, ShardReport,
    ShardStart,
};

/// Makes a copy of a trace that can be shown to others: of each event its name and size are left, and what the
/// machines act on (a session's id and address; where somebody waits for guilds, their ids). Commands stay.
///
/// The copy is a trace like any other. It is replayed while it is made: its actions are those of the original
/// but for the hashes of bodies.
#[derive(Debug)]
pub struct Redactor {
    original: Replay,
    base: Instant,
    sink: Arc<dyn TraceSink>,
    /// Keeps the lines of the copy until it is sure that they are fit.
    hold: Arc<Sender<Vec<u8>>>,
    held: Receiver<Vec<u8>>,
    copy: Option<Copied>,
    check: Replay,
    line: u64,
}

impl Redactor {
    /// One that waits for the first line, and writes the copy to the sink. Any `base` will do.
    #[must_use]
    pub fn new(base: Instant, sink: Arc<dyn TraceSink>) -> Self {
        let (hold, held) = channel();
        Self {
            original: Replay::new(base),
            base,
            sink,
            hold: Arc::new(hold),
            held,
            copy: None,
            check: Replay::new(base),
            line: 0,
        }
    }

    /// Copies one line.
    ///
    /// # Errors
    /// It is damaged, or [needs its bodies](TraceError::NeedsBodies). What came before it is a good copy,
    /// which says why it ends.
    pub fn line(&mut self, line: &[u8]) -> Result<(), TraceError> {
        self.line += 1;
        let mut before = Vec::new();
        if let Some(step) = self.original.line(line)? {
            said(step.did, &mut before);
        }
        self.copy_line(line)?;
        let held: Vec<_> = self.held.try_iter().collect();
        let mut after = Vec::new();
        for line in &held {
            if let Some(step) = self.check.line(line)? {
                said(step.did, &mut after);
            }
        }
        if before != after {
            let ended = "what follows needs the bodies of events";
            self.sink.line(&json_line(&Ended { ended }));
            return Err(TraceError::NeedsBodies { line: self.line });
        }
        for line in &held {
            self.sink.line(line);
        }
        Ok(())
    }

    /// Ends the copy; says how the original's replay went.
    ///
    /// # Errors
    /// There was no header.
    pub fn finish(self) -> Result<Replayed, TraceError> {
        self.original.finish()
    }

    fn copy_line(&mut self, line: &[u8]) -> Result<(), TraceError> {
        let number = self.line;
        let text = String::from_utf8_lossy(line);
        let Some(copy) = &mut self.copy else {
            let mut header = read_header(&text, number)?;
            header.without_bodies = true;
            self.copy = Some(Copied::new(self.hold.clone(), header, self.base));
            return Ok(());
        };
        let line: Line<'_> =
            serde_json::from_str(&text).map_err(|error| TraceError::damaged(number, error))?;
        if let Some(ended) = &line.ended {
            self.hold.line(&json_line(&Ended { ended }));
            return Ok(());
        }
        // The original's replay has looked at all of it.
        let now = self.base + Duration::from_nanos(line.at);
        if line.begins.is_some() {
            copy.begin(line.life, line.events, now);
        } else if let Some(heard) = line.heard {
            if line.life == FLEET {
                copy.fleet_hears(now, read(heard, number)?);
            } else {
                copy.shard_hears(line.life, now, read(heard, number)?);
            }
        }
        Ok(())
    }
}

/// What was done, waits and the hashes of bodies left out.
fn said(did: &[String], all: &mut Vec<String>) {
    let did = did.iter().filter(|word| !is_wait(word));
    all.extend(did.map(|word| match word.rsplit_once(' ') {
        Some((rest, _hash)) if rest.starts_with("dispatch ") => rest.to_owned(),
        _ => word.clone(),
    }));
}

/// The machines of the copy.
#[derive(Debug)]
struct Copied {
    fleet: RecordedFleet,
    os: Box<str>,
    /// What the fleet has started, in the order of lives.
    starts: Vec<Option<(ShardStart, Option<ShardTape>)>>,
    shards: BTreeMap<u32, CopiedShard>,
}

impl Copied {
    fn new(sink: Arc<dyn TraceSink>, header: super::Header, now: Instant) -> Self {
        Self {
            os: header.os.clone(),
            fleet: RecordedFleet::copy(sink, header, now),
            starts: Vec::new(),
            shards: BTreeMap::new(),
        }
    }

    fn fleet_hears(&mut self, now: Instant, input: FleetInput) {
        // Misuse is recorded, as it was in the original.
        let _ = self.fleet.handle(now, without_members(input));
        loop {
            match self.fleet.poll() {
                FleetAction::StartShard(mut start) => {
                    start.config.os.clone_from(&self.os);
                    self.starts.push(Some((*start, self.fleet.tape())));
                }
                FleetAction::Wait(_) => return,
                _ => {}
            }
        }
    }

    fn begin(&mut self, life: u32, events: EventFilter, now: Instant) {
        let index = usize::try_from(life)
            .ok()
            .and_then(|life| life.checked_sub(1));
        let slot = index.and_then(|index| self.starts.get_mut(index));
        if let Some((mut start, tape)) = slot.and_then(Option::take) {
            start.config.filter = events;
            self.shards.insert(life, CopiedShard::new(start, now, tape));
        }
    }

    fn shard_hears(&mut self, life: u32, now: Instant, input: Input) {
        if let Some(shard) = self.shards.get_mut(&life) {
            shard.hears(now, input);
        }
    }
}

#[derive(Debug)]
struct CopiedShard {
    machine: RecordedShard,
    decoder: FrameDecoder,
    decoding: Option<ConnId>,
    keeps_guilds: bool,
}

impl CopiedShard {
    fn new(start: ShardStart, now: Instant, tape: Option<ShardTape>) -> Self {
        let mode = start.config.compression.supported().into();
        Self {
            decoder: FrameDecoder::new(mode, start.config.limits.payload_limit),
            decoding: None,
            keeps_guilds: start.config.track_guilds,
            machine: RecordedShard::new(start, now, tape),
        }
    }

    fn hears(&mut self, now: Instant, input: Input) {
        match input {
            Input::Received { conn, frame } if !frame.is_empty() => {
                let texts = self.payloads(conn, frame);
                if texts.is_empty() {
                    // A piece of a payload does nothing but take its time.
                    self.tell(now, Input::Tick { wall: None });
                }
                for text in texts {
                    let frame = Frame::Text(text.into());
                    self.tell(now, Input::Received { conn, frame });
                }
            }
            Input::Opened { conn } => {
                if self.decoding.is_none_or(|old| conn > old) {
                    self.decoder.reset();
                    self.decoding = Some(conn);
                }
                self.tell(now, Input::Opened { conn });
            }
            other => self.tell(now, other),
        }
    }

    /// The payloads that a frame completes, without their bodies.
    fn payloads(&mut self, conn: ConnId, frame: Frame) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        if self.decoding != Some(conn) {
            return found;
        }
        self.decoder.push(frame);
        loop {
            match self.decoder.advance() {
                Ok(true) => found.push(bodies::drop(self.decoder.payload(), self.keeps_guilds)),
                Ok(false) => return found,
                // Nothing else is undecodable in the same way.
                Err(_) => {
                    found.push(Vec::from("undecodable"));
                    return found;
                }
            }
        }
    }

    fn tell(&mut self, now: Instant, input: Input) {
        // Misuse is recorded, as it was in the original.
        let _ = self.machine.handle(now, input);
        while !matches!(self.machine.poll(), Action::Wait(_)) {}
    }
}

/// Of gathered members only their number is left.
fn without_members(input: FleetInput) -> FleetInput {
    match input {
        FleetInput::Report {
            shard,
            report: ShardReport::Members { id, mut result },
        } => {
            if let Ok(members) = &mut result {
                members.empty_all();
            }
            let report = ShardReport::Members { id, result };
            FleetInput::Report { shard, report }
        }
        other => other,
    }
}
