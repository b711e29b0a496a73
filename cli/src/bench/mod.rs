//! `shardwright bench`: what an event and a shard cost, beside the least they could cost.
//!
//! The server and every client are processes of their own. All clients of a row run one after the other,
//! and the whole round is repeated, so that whatever else the machine does meets all of them; what counts
//! are the ratios of medians.

mod client;
mod floor;
mod meter;
mod plan;
mod prepared;
mod server;
mod table;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::Outcome;
use crate::args::{Cli, Format, Verb};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    part: Option<Part>,
    /// Only rows whose name has one of these in it
    rows: Vec<String>,
    /// How many events a run has
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..=2_000_000))]
    events: u64,
    /// How often each is run; medians count
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// How many shards rest in the rows about memory
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    shards: u32,
    /// A folder of other clients, called as this command calls its own: NAME-none, NAME-zlib, NAME-zstd
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// pretty or json [default: pretty on a terminal, else json]
    #[arg(long)]
    format: Option<Format>,
}

/// What a process of a benchmark is.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Server {
        /// What its ports play, as JSON
        plays: Vec<String>,
    },
    #[command(hide = true)]
    Client(client::ClientArgs),
}

/// Why a benchmark came to nothing.
#[derive(Debug)]
struct BenchError(String);

impl BenchError {
    fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BenchError {}

impl From<std::io::Error> for BenchError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs a part of a benchmark, which brings its own runtime.
pub(crate) fn part(cli: &Cli) -> Option<Outcome> {
    let Verb::Bench(BenchArgs {
        part: Some(part), ..
    }) = &cli.verb
    else {
        return None;
    };
    let result = match part {
        Part::Server { plays } => serve(plays),
        Part::Client(args) => client::run(args),
    };
    Some(match result {
        Ok(()) => Outcome::Done,
        Err(error) => {
            eprintln!("shardwright: {error}");
            Outcome::Internal
        }
    })
}

fn serve(plays: &[String]) -> Result<(), BenchError> {
    let plays = plays.iter().map(|play| serde_json::from_str(play));
    let plays = plays.collect::<Result<_, _>>().map_err(BenchError::new)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(server::run(plays))?)
}

pub(crate) async fn run(args: BenchArgs) -> Outcome {
    if let Err(error) = plan::check(&args) {
        eprintln!("shardwright: {error}");
        return Outcome::Usage;
    }
    match tokio::task::spawn_blocking(move || plan::run(&args)).await {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(error)) => {
            eprintln!("shardwright: {error}");
            Outcome::Internal
        }
        Err(_) => Outcome::Internal,
    }
}
