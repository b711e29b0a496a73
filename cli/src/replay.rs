//! `shardwright replay`: have a recorded run happen again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use shardwright_tokio::trace::{Redactor, Replay, Replayed, Step, TraceError};

use crate::Outcome;
use crate::args::{Format, ReplayArgs, UntilSeq};
use crate::lines::printable;

pub(crate) fn run(args: &ReplayArgs) -> Outcome {
    let result = match &args.drop_bodies {
        Some(copy) => share(&args.file, copy),
        None => Watcher::new(args).run(&args.file),
    };
    match result {
        Ok(outcome) => outcome,
        // Whoever reads has had enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Done,
        Err(failure) => {
            eprintln!("shardwright: {failure}");
            failure.outcome()
        }
    }
}

/// Why there is no replay.
#[derive(Debug)]
enum Failure {
    Input(String),
    Output(io::Error),
    Trace(TraceError),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(what) => f.write_str(what),
            Self::Output(error) => write!(f, "cannot write: {error}"),
            Self::Trace(error) => error.fmt(f),
        }
    }
}

impl Failure {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Input(_) | Self::Trace(TraceError::NoHeader) => Outcome::Usage,
            Self::Output(_) | Self::Trace(_) => Outcome::Internal,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        Self::Trace(error)
    }
}

/// Gives each whole line of a file to somebody until they have had enough.
fn each_line<E: From<Failure>>(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<bool, E>,
) -> Result<(), E> {
    let unreadable = |error: io::Error| {
        let what = format!("cannot read {}: {error}", path.display());
        E::from(Failure::Input(what))
    };
    let mut file = BufReader::with_capacity(256 * 1024, File::open(path).map_err(unreadable)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        file.read_until(b'\n', &mut line).map_err(unreadable)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            eprintln!(
                "the last line of the trace is unfinished and left out: its process was killed"
            );
            return Ok(());
        }
        if !take(&line)? {
            return Ok(());
        }
    }
}

/// Replays, and shows what there is to see.
struct Watcher {
    print: bool,
    json: bool,
    until: Option<UntilSeq>,
    out: BufWriter<Stdout>,
    replay: Replay,
}

impl Watcher {
    fn new(args: &ReplayArgs) -> Self {
        let pretty = io::stdout().is_terminal();
        let format = args.format.unwrap_or(match pretty {
            true => Format::Pretty,
            false => Format::Json,
        });
        Self {
            print: args.print && format != Format::None,
            json: format == Format::Json,
            until: args.until,
            out: BufWriter::with_capacity(64 * 1024, io::stdout()),
            replay: Replay::new(Instant::now()),
        }
    }

    fn run(mut self, path: &Path) -> Result<Outcome, Failure> {
        let mut stopped = false;
        each_line(path, |line| -> Result<bool, Failure> {
            let Some(step) = self.replay.line(line)? else {
                return Ok(true);
            };
            if self.print {
                match self.json {
                    true => json_step(&mut self.out, &step)?,
                    false => pretty_step(&mut self.out, &step)?,
                }
            }
            stopped = self.until.is_some_and(|until| until.is_reached(&step));
            Ok(!stopped)
        })?;
        if self.replay.header().is_none() {
            return Err(TraceError::NoHeader.into());
        }
        if stopped {
            self.states()?;
        } else if let Some(UntilSeq { seq, .. }) = self.until {
            eprintln!("no dispatch with sequence {seq} is in the trace");
        }
        let recorded_by = self.replay.header().map(|header| header.by.clone());
        self.end(&recorded_by.unwrap_or_default())
    }

    /// Where every shard stands.
    fn states(&mut self) -> io::Result<()> {
        for (life, machine) in self.replay.shards() {
            let (phase, state) = (format!("{:?}", machine.phase()), machine.state());
            if self.json {
                let line = json!({"type":"state","life":life,"phase":phase,"state":state});
                writeln!(self.out, "{line}")?;
            } else {
                writeln!(self.out, "shard {}: {phase}, {state:?}", state.shard)?;
            }
        }
        Ok(())
    }

    fn end(mut self, recorded_by: &str) -> Result<Outcome, Failure> {
        let replayed = self.replay.replayed();
        if self.json {
            writeln!(self.out, "{}", json_end(replayed))?;
        } else {
            writeln!(self.out, "{}", pretty_end(replayed))?;
        }
        self.out.flush()?;
        let Some(mismatch) = &replayed.mismatch else {
            return Ok(Outcome::Done);
        };
        eprintln!("shardwright: {}", printable(&mismatch.to_string()));
        let this = concat!("shardwright-core ", env!("CARGO_PKG_VERSION"));
        if recorded_by != this {
            eprintln!(
                "recorded by {}, replayed by {this}: they may differ",
                printable(recorded_by)
            );
        }
        Ok(Outcome::Internal)
    }
}

impl UntilSeq {
    fn is_reached(self, step: &Step<'_>) -> bool {
        step.dispatches.iter().any(|id| {
            let here = self.shard.is_none_or(|shard| id.shard.number() == shard);
            here && id.seq >= self.seq
        })
    }
}

fn json_step(out: &mut impl Write, step: &Step<'_>) -> io::Result<()> {
    let t = u64::try_from(step.at.as_millis()).unwrap_or(u64::MAX);
    let heard = step
        .heard
        .and_then(|heard| serde_json::from_str::<&RawValue>(heard).ok());
    let line = json!({"type":"step","t":t,"line":step.line,"life":step.life,"shard":step.shard,
        "heard":heard,"did":step.did,"mismatch":step.mismatch.as_ref().map(ToString::to_string)});
    writeln!(out, "{line}")
}

fn pretty_step(out: &mut impl Write, step: &Step<'_>) -> io::Result<()> {
    let who = match step.shard {
        Some(shard) => format!("{:>4}", shard.number()),
        None => "   -".to_owned(),
    };
    let at = step.at.as_secs_f64();
    match step.heard {
        Some(heard) => writeln!(out, "{at:>10.3} {who}  {}", printable(&short(heard)))?,
        None if step.shard.is_some() => writeln!(out, "{at:>10.3} {who}  a life begins")?,
        None => {}
    }
    for word in step.did {
        writeln!(out, "                   {}", printable(word))?;
    }
    if let Some(mismatch) = &step.mismatch {
        writeln!(out, "  MISMATCH: {}", printable(&mismatch.to_string()))?;
    }
    Ok(())
}

/// An input in a few words: what arrived is shown by its size, for what it did stands below.
fn short(heard: &str) -> String {
    let value: Value = serde_json::from_str(heard).unwrap_or_default();
    let Value::Object(map) = &value else {
        return value.as_str().unwrap_or(heard).to_owned();
    };
    let Some((name, inside)) = map.iter().next() else {
        return heard.to_owned();
    };
    if name == "Received" {
        let frame = inside["frame"]
            .as_object()
            .and_then(|frame| frame.iter().next());
        let (kind, text) = match frame {
            Some((kind, text)) => (kind.as_str(), text.as_str().unwrap_or_default()),
            None => ("", ""),
        };
        let bytes = match kind {
            "Text" => text.len(),
            // Four characters hold three bytes.
            _ => text.trim_end_matches('=').len() * 3 / 4,
        };
        return format!("Received {bytes} bytes on {}", inside["conn"]);
    }
    format!("{name} {inside}")
}

fn json_end(replayed: &Replayed) -> Value {
    json!({
        "type": "replayed",
        "inputs": replayed.inputs,
        "actions": replayed.actions,
        "dispatches": replayed.dispatches,
        "lives": replayed.lives,
        "time_ms": u64::try_from(replayed.time.as_millis()).unwrap_or(u64::MAX),
        "ended": replayed.ended,
        "mismatches": replayed.mismatches,
        "mismatch": replayed.mismatch.as_ref().map(ToString::to_string),
    })
}

fn pretty_end(replayed: &Replayed) -> String {
    let verdict = match replayed.mismatches {
        0 => "all the same".to_owned(),
        1 => "ONE INPUT HAD OTHER ACTIONS".to_owned(),
        n => format!("{n} INPUTS HAD OTHER ACTIONS"),
    };
    let ended = replayed.ended.as_ref();
    let ended = ended.map_or_else(String::new, |why| {
        format!(" (it ends early: {})", printable(why))
    });
    format!(
        "{} inputs over {:.1} s, {} actions and {} dispatches among them: {verdict}{ended}",
        replayed.inputs,
        replayed.time.as_secs_f64(),
        replayed.actions,
        replayed.dispatches,
    )
}

/// Writes a copy without what events hold.
fn share(path: &Path, copy: &Path) -> Result<Outcome, Failure> {
    let same = std::fs::canonicalize(path).ok();
    if same.is_some() && same == std::fs::canonicalize(copy).ok() {
        let what = "the copy would overwrite the trace; give it another name";
        return Err(Failure::Input(what.to_owned()));
    }
    let (sender, lines) = channel();
    let mut redactor = Redactor::new(Instant::now(), Arc::new(sender));
    let file = File::create(copy)
        .map_err(|error| Failure::Input(format!("cannot write {}: {error}", copy.display())))?;
    let mut file = BufWriter::new(file);
    let copied = each_line(path, |line| -> Result<bool, Failure> {
        let result = redactor.line(line);
        write_all(&mut file, &lines)?;
        result?;
        Ok(true)
    });
    file.flush()?;
    copied?;
    let replayed = redactor.finish()?;
    eprintln!(
        "{}: {} events without their bodies; commands, guild ids that were waited for and session ids are in it",
        copy.display(),
        replayed.dispatches
    );
    Ok(Outcome::Done)
}

fn write_all(file: &mut impl Write, lines: &Receiver<Vec<u8>>) -> io::Result<()> {
    lines.try_iter().try_for_each(|line| file.write_all(&line))
}
