//! `shardwright simulate`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use shardwright_testkit::rng::Rng;
use shardwright_testkit::storm::shrink::shrink;
use shardwright_testkit::storm::{Intensity, Report, Schedule, Storm, StormError, Timed};

use crate::Outcome;
use crate::args::Format;
use crate::signals::Interrupts;
use crate::usage::usage;

/// How many runs shrinking may take, and how many CPU seconds.
const TRIES: u32 = 500;
const SECONDS: f64 = 120.0;
/// How often the progress is drawn.
const DRAW: Duration = Duration::from_millis(100);
/// More hours than any machine has memory for.
const MOST_HOURS: f64 = 100_000.0;

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// What all chance is drawn from [default: a fresh one, which is printed]
    #[arg(long, value_name = "S", conflicts_with = "play")]
    seed: Option<u64>,
    /// How many shards the bot has [default: chosen by the seed, mostly 1 to 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "play")]
    shards: Option<u32>,
    /// How many hours it is stormy, in the time of the simulation
    #[arg(long, default_value = "1", value_name = "H", value_parser = parse_hours, conflicts_with = "play")]
    hours: f64,
    /// How much goes wrong
    #[arg(
        long,
        default_value = "low",
        value_name = "LEVEL",
        conflicts_with = "play"
    )]
    faults: Level,
    /// Play the schedule in this file
    #[arg(long, value_name = "FILE")]
    play: Option<std::path::PathBuf>,
    /// Play so many seeds, one after the other
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["play", "seconds"])]
    count: Option<u64>,
    /// Play fresh seeds for so long
    #[arg(long, value_name = "T", conflicts_with_all = ["play", "seed"])]
    seconds: Option<u64>,
    /// pretty or json [default: pretty on a terminal, else json]
    #[arg(long)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Nothing
    None,
    /// Each shard meets something about every half an hour
    Low,
    /// Each shard meets something about every two minutes
    High,
}

impl From<Level> for Intensity {
    fn from(level: Level) -> Self {
        match level {
            Level::None => Self::None,
            Level::Low => Self::Low,
            Level::High => Self::High,
        }
    }
}

fn parse_hours(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|hours| *hours > 0.0 && *hours <= MOST_HOURS)
        .ok_or_else(|| format!("`{text}` is no number of hours; write 24 or 0.5"))
}

pub(crate) async fn run(args: SimulateArgs) -> Outcome {
    let schedule = match args.play.as_deref().map(read).transpose() {
        Ok(schedule) => schedule,
        Err(error) => {
            eprintln!("shardwright: {error}");
            return Outcome::Usage;
        }
    };
    let asked = Arc::new(AtomicU8::new(0));
    let listening = Arc::clone(&asked);
    let mut interrupts = Interrupts::new();
    tokio::spawn(async move {
        loop {
            interrupts.next().await;
            if listening.fetch_add(1, Ordering::Relaxed) > 0 {
                std::process::exit(crate::INTERRUPTED);
            }
        }
    });
    let work = move || Simulation::new(args, asked).run(schedule);
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Outcome::Internal)
}

fn read(path: &Path) -> Result<Schedule, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Schedule::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A seed nobody chose.
fn fresh() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 32
}

/// Small bots, where everything happens to everything, and now and then a big one.
fn shards_of(seed: u64) -> u32 {
    let mut rng = Rng::new(seed ^ 0x5EED);
    match rng.below(16) {
        0 => 100,
        1 => 8 + rng.below(9) as u32,
        _ => 1 + rng.below(4) as u32,
    }
}

/// How one run went.
struct Run {
    result: Result<(), StormError>,
    report: Report,
    cpu: f64,
}

struct Simulation {
    args: SimulateArgs,
    format: Format,
    /// How often somebody asked for the end.
    asked: Arc<AtomicU8>,
    bar: Option<ProgressBar>,
    closed: bool,
}

impl Simulation {
    fn new(args: SimulateArgs, asked: Arc<AtomicU8>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let format = args.format.unwrap_or(if terminal {
            Format::Pretty
        } else {
            Format::Json
        });
        let bar = (terminal && format == Format::Pretty).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            args,
            format,
            asked,
            bar,
            closed: false,
        }
    }

    fn is_over(&self) -> bool {
        self.closed || self.asked.load(Ordering::Relaxed) > 0
    }

    fn line(&mut self, line: &str) {
        let write = || writeln!(std::io::stdout(), "{line}");
        let written = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        // Whoever reads may have had enough.
        self.closed |= written.is_err();
    }

    fn run(mut self, given: Option<Schedule>) -> Outcome {
        let began = Instant::now();
        let first = self.args.seed.unwrap_or_else(fresh);
        let mut done = 0;
        let outcome = loop {
            let schedule = match &given {
                Some(schedule) => schedule.clone(),
                None => self.schedule(first.wrapping_add(done)),
            };
            let outcome = self.one(&schedule, given.is_none());
            done += 1;
            let more = match (self.args.seconds, self.args.count) {
                (Some(seconds), _) => began.elapsed() < Duration::from_secs(seconds),
                (None, count) => done < count.unwrap_or(1),
            };
            if outcome != Outcome::Done || !more || self.is_over() {
                break outcome;
            }
        };
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        outcome
    }

    fn schedule(&self, seed: u64) -> Schedule {
        let shards = self.args.shards.unwrap_or_else(|| shards_of(seed));
        let lasts = Duration::from_secs_f64(self.args.hours * 3600.0);
        Schedule::generate(seed, shards, lasts, self.args.faults.into())
    }

    /// Plays a schedule and says how it went.
    fn one(&mut self, schedule: &Schedule, from_seed: bool) -> Outcome {
        if self.format == Format::Pretty {
            self.line(&format!(
                "seed {}: {} shards, {} h, {} faults",
                schedule.seed,
                schedule.setup.shards,
                hours(schedule),
                schedule.faults.len()
            ));
        }
        let run = self.play(schedule, f64::MAX);
        match &run.result {
            Ok(()) => {
                self.summary(schedule, &run, "10 invariants: all true");
                Outcome::Done
            }
            Err(StormError::Interrupted) => {
                self.summary(schedule, &run, "interrupted before the end");
                Outcome::Done
            }
            Err(error) => {
                let ending = format!("rule {} was broken", error.rule().unwrap_or_default());
                self.summary(schedule, &run, &ending);
                eprintln!("shardwright: {error}");
                self.failed(schedule, error, from_seed);
                Outcome::Internal
            }
        }
    }

    /// Plays a schedule, for so many CPU seconds at most.
    fn play(&self, schedule: &Schedule, at_most: f64) -> Run {
        let (began, _) = usage();
        let mut storm = Storm::new(schedule);
        let (asked, bar) = (Arc::clone(&self.asked), self.bar.clone());
        let mut drawn = Instant::now();
        let lasts = schedule.lasts().as_secs();
        storm.watch(move |glance| {
            if let Some(bar) = &bar
                && drawn.elapsed() > DRAW
            {
                drawn = Instant::now();
                bar.set_length(lasts);
                bar.set_position(glance.time.as_secs().min(lasts));
                bar.set_message(format!(
                    "{:.1} h, {} faults, {} shards up",
                    glance.time.as_secs_f64() / 3600.0,
                    glance.faults,
                    glance.live
                ));
            }
            asked.load(Ordering::Relaxed) == 0 && usage().0 - began < at_most
        });
        let mut result = storm.run();
        if let Err(StormError::Interrupted) = result
            && let Err(broken) = storm.world().check()
        {
            result = Err(broken.into());
        }
        let report = storm.report();
        drop(storm);
        let (now, _) = usage();
        Run {
            result,
            report,
            cpu: now - began,
        }
    }

    fn summary(&mut self, schedule: &Schedule, run: &Run, ending: &str) {
        let (_, rss) = usage();
        let speed =
            f64::from(schedule.setup.shards) * run.report.seconds / 3600.0 / run.cpu.max(1e-6);
        let text = match self.format {
            Format::Json => {
                let mut line = json!({
                    "type": "run", "seed": schedule.seed, "shards": schedule.setup.shards,
                    "hours": hours(schedule), "faults_planned": schedule.faults.len(),
                    "cpu_s": run.cpu, "shard_hours_per_cpu_s": speed, "max_rss_kb": rss,
                    "ok": run.result.is_ok(),
                    "rule": run.result.as_ref().err().and_then(StormError::rule),
                });
                line["report"] = serde_json::to_value(&run.report).unwrap_or_default();
                format!("{line}\n{}", json!({"type": "end", "what": ending}))
            }
            Format::Pretty => pretty(&run.report, run.cpu, speed, rss) + ending,
            Format::None => ending.to_owned(),
        };
        self.line(&text);
    }

    /// Says how to see it again, and makes the schedule small.
    fn failed(&self, schedule: &Schedule, error: &StormError, from_seed: bool) {
        if from_seed {
            let level = self.args.faults.to_possible_value();
            eprintln!(
                "again: shardwright simulate --seed {} --shards {} --hours {} --faults {}",
                schedule.seed,
                schedule.setup.shards,
                hours(schedule),
                level.as_ref().map_or("low", |level| level.get_name()),
            );
        }
        let small = self.smaller(schedule, error);
        let name = format!("storm-{}.json", schedule.seed);
        match std::fs::write(&name, small.to_json()) {
            Ok(()) => eprintln!(
                "{} of {} faults are enough: shardwright simulate --play {name}",
                small.faults.len(),
                schedule.faults.len()
            ),
            Err(error) => eprintln!("shardwright: cannot write {name}: {error}"),
        }
    }

    /// A part of the schedule that breaks the same rule.
    fn smaller(&self, schedule: &Schedule, error: &StormError) -> Schedule {
        let rule = error.rule();
        let (began, _) = usage();
        let left = || SECONDS - (usage().0 - began);
        let tries = AtomicU64::new(0);
        let go_on = || {
            let tried = tries.fetch_add(1, Ordering::Relaxed);
            tried < u64::from(TRIES) && left() > 0.0 && !self.is_over()
        };
        let breaks = |schedule: &Schedule| {
            let run = self.play(schedule, left());
            run.result.is_err_and(|error| error.rule() == rule)
        };
        let mut small = schedule.clone();
        // What came later is not to blame.
        if let Some(at) = error.broken().iter().map(|broken| broken.at).min() {
            let shorter = up_to(schedule, at);
            if go_on() && breaks(&shorter) {
                small = shorter;
            }
        }
        let fails = |faults: &[Timed]| {
            breaks(&Schedule {
                faults: faults.to_vec(),
                ..small.clone()
            })
        };
        small.faults = shrink(&small.faults, fails, go_on);
        // It need not go on for long after the last.
        let last = small.faults.last().map_or(0, |timed| timed.at);
        let shorter = up_to(&small, Duration::from_millis(last));
        if go_on() && breaks(&shorter) {
            small = shorter;
        }
        small
    }
}

/// Its part up to a time, and a minute more.
fn up_to(schedule: &Schedule, time: Duration) -> Schedule {
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut shorter = schedule.clone();
    shorter.faults.retain(|timed| timed.at <= time);
    shorter.lasts = shorter.lasts.min(time.saturating_add(60_000));
    shorter
}

fn hours(schedule: &Schedule) -> f64 {
    schedule.lasts as f64 / 3_600_000.0
}

fn pretty(report: &Report, cpu: f64, speed: f64, rss: i64) -> String {
    let list = |counts: &BTreeMap<&'static str, u64>| {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let counts = counts
            .into_iter()
            .map(|(what, count)| format!("{count} {what}"));
        let text = counts.collect::<Vec<_>>().join(", ");
        if text.is_empty() {
            "none".to_owned()
        } else {
            text
        }
    };
    format!(
        "time             {:.1} h, {} processes\n\
         dials            {}\n\
         identifies       {}\n\
         resumes          {}\n\
         sessions lost    {}\n\
         events           {}\n\
         faults           {}\n\
         longest away     {:.1} s\n\
         speed            {speed:.0} shard-hours a CPU second; {cpu:.2} s of CPU, {} MB of memory\n",
        report.seconds / 3600.0,
        report.processes,
        report.dials,
        report.identifies,
        report.resumes,
        list(&report.sessions_lost),
        report.events,
        list(&report.faults),
        report.longest_away,
        rss / 1024,
    )
}
