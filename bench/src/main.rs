//! One client in a process of its own, called and measured as `shardwright bench` does with its own clients.
//! Which one it is, the program's name tells.

#[path = "../../cli/src/bench/meter.rs"]
mod meter;
mod ours;
#[cfg(test)]
mod tests;
mod twilight;

use std::any::Any;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::json;
use shardwright_tokio::Compression;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use meter::{Memory, Meter, cpu};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Who {
    /// Each event as text
    TwilightRaw,
    /// Each event in twilight-model's type for it
    TwilightTyped,
    /// Handlers on the spot, each event in twilight-model's type for it
    ShardwrightTyped,
}

#[derive(Debug, Parser)]
struct Args {
    /// Who is measured [default: as this program's name begins]
    #[arg(long)]
    who: Option<Who>,
    #[arg(long)]
    url: String,
    #[arg(long)]
    compress: Compression,
    #[arg(long, default_value_t = 1)]
    shards: u32,
    #[arg(long)]
    guilds: u32,
    /// Events on all shards together
    #[arg(long)]
    events: u64,
    /// How many of them are messages, which makes no difference here
    #[arg(long, default_value_t = 0)]
    messages: u64,
    /// Once all is delivered, rest so long and measure that too
    #[arg(long, default_value_t = 0.0)]
    rest: f64,
    /// Say when each event was there
    #[arg(long)]
    stamps: bool,
}

impl Args {
    fn who(&self) -> Result<Who, Failure> {
        if let Some(who) = self.who {
            return Ok(who);
        }
        let program = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&program).file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let known = Who::value_variants().iter().find(|who| {
            let value = who.to_possible_value();
            value.is_some_and(|value| name.starts_with(value.get_name()))
        });
        known
            .copied()
            .ok_or_else(|| format!("{name} is no client; say --who").into())
    }

    /// One consumer counts alone, as long as nothing has to go on behind its back.
    fn alone(&self) -> bool {
        self.shards == 1 && self.rest == 0.0 && self.events > 0
    }
}

/// Counts the events of all shards.
#[derive(Clone)]
struct Count {
    meter: Meter,
    /// The number of the last event, if the measurement itself has none.
    last: u64,
    /// Those whose name twilight-model does not know.
    skipped: Arc<AtomicU64>,
}

impl Count {
    fn new(args: &Args) -> Self {
        let start = u64::from(args.shards) * (1 + u64::from(args.guilds));
        let meter = Meter::new(start, args.events);
        Self {
            meter: if args.stamps { meter.stamping() } else { meter },
            last: if args.events == 0 { start } else { u64::MAX },
            skipped: Arc::default(),
        }
    }

    /// One more event, of any shard. True for the last.
    fn event(&self) -> bool {
        self.meter.count() || self.meter.counted() == self.last
    }

    #[cold]
    fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Told when the last event is there, and of every failure.
type End = UnboundedSender<Result<(), Failure>>;

/// Whatever is connected stays so until it has been looked at.
type Kept = Box<dyn Any>;

fn main() -> ExitCode {
    // One of many tasks that is gone would be waited for without end.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // An event may be long, and what is wrong with it stands behind it.
            let mut text: String = failure.to_string().chars().take(500).collect();
            let mut cause = failure.source();
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("shardwright-bench: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let who = args.who()?;
    if who != Who::ShardwrightTyped && args.compress != twilight::COMPRESSION {
        let built = twilight::COMPRESSION;
        return Err(format!("twilight was built for {built}, not for {}", args.compress).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = Memory::now()?;
    let count = Count::new(args);
    let (end, mut ends) = unbounded_channel();
    let kept: Result<Kept, Failure> = runtime.block_on(async {
        let kept = match who {
            Who::TwilightRaw => twilight::connect(args, &count, false, end).await?,
            Who::TwilightTyped => twilight::connect(args, &count, true, end).await?,
            Who::ShardwrightTyped => ours::connect(args, &count, end).await?,
        };
        ends.recv().await.ok_or("nobody is left")??;
        Ok(kept)
    });
    let kept = kept?;
    let mut report = json!({ "skipped": count.skipped.load(Ordering::Relaxed) });
    if args.rest > 0.0 {
        // All of it is there; what was needed on the way is given back.
        let settle = Duration::from_secs_f64(args.rest / 2.0);
        runtime.block_on(async { tokio::time::sleep(settle).await });
        let (now, used) = (Memory::now()?, cpu());
        runtime.block_on(async { tokio::time::sleep(settle).await });
        report["memory"] = now.resident.saturating_sub(before.resident).into();
        report["peak"] = now.peak.saturating_sub(before.resident).into();
        report["threads"] = now.threads.into();
        report["rest_cpu_s"] = (cpu() - used).as_secs_f64().into();
        report["rest_s"] = settle.as_secs_f64().into();
    }
    // Whoever was lost at rest was not measured.
    while let Ok(end) = ends.try_recv() {
        end?;
    }
    if args.events > 0 {
        let used = count.meter.used();
        let used = used.ok_or_else(|| format!("only {} events came", count.meter.counted()))?;
        report["cpu_ns"] = used.cpu_ns.into();
        report["real_ns"] = used.real_ns.into();
    }
    if args.stamps {
        report["taken"] = count.meter.stamps().into();
    }
    println!("{report}");
    drop(kept);
    // Not to be waited for.
    runtime.shutdown_background();
    Ok(())
}
