//! The `shardwright` command: watch, inspect and emulate the Discord Gateway.

mod args;
mod bench;
mod commands;
mod emulate;
mod gateway;
mod lines;
mod replay;
mod runtimes;
mod screen;
mod signals;
mod simulate;
mod status;
mod usage;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Verb};

/// How a run ended, as the exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Internal,
    Usage,
    Refused,
    Unreachable,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Internal => 1,
            Outcome::Usage => 2,
            Outcome::Refused => 3,
            Outcome::Unreachable => 4,
        })
    }
}

/// The exit code of a second Ctrl-C.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    if let Some(outcome) = bench::part(&cli) {
        return outcome.into();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shardwright: cannot start: {error}");
            return Outcome::Internal.into();
        }
    };
    let outcome = runtime.block_on(async {
        match cli.verb {
            Verb::Watch(args) => watch::run(*args, cli.verbose).await,
            Verb::Gateway(args) => gateway::run(args).await,
            Verb::Emulate(args) => emulate::run(args).await,
            Verb::Record(args) => watch::run(args.into_watch(), cli.verbose).await,
            Verb::Replay(args) => replay::run(&args),
            Verb::Simulate(args) => simulate::run(args).await,
            Verb::Bench(args) => bench::run(args).await,
            Verb::Completions { shell } => completions(shell),
        }
    });
    // A reader of standard input may still be blocked; it must not hold up the end.
    runtime.shutdown_background();
    outcome.into()
}

/// Prints completions. Made in memory first, so that a closed standard output is no fault.
fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(shell, &mut command, "shardwright", &mut text);
    // Whoever reads may have had enough.
    let _ = std::io::stdout().write_all(&text);
    Outcome::Done
}
