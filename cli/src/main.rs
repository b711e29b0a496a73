//! The `shardwright` command: watch, inspect and emulate the Discord Gateway.

mod args;
mod commands;
mod emulate;
mod gateway;
mod lines;
mod runtimes;
mod screen;
mod signals;
mod status;
mod usage;
mod watch;

use std::process::ExitCode;

use clap::Parser;

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
        }
    });
    // A reader of standard input may still be blocked; it must not hold up the end.
    runtime.shutdown_background();
    outcome.into()
}
