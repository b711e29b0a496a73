//! Instructions an event of each piece of the hot path, counted by valgrind, so that a slow-down is seen that
//! no clock would show on a machine with other work to do.
//!
//! `cargo bench -p shardwright-testkit --bench instructions` compares with `instructions.txt` and fails if a
//! piece needs a tenth more than there; with `-- --update` it writes what it counted.

mod cases;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use cases::{EVENTS, Session, decode, frames, keep, payloads, scan};
use shardwright_core::{Compression, DEFAULT_PAYLOAD_LIMIT, FrameDecoder};

const PIECES: [&str; 8] = [
    "envelope",
    "decoder-zlib",
    "decoder-zstd",
    "machine",
    "machine-polled",
    "machine-zlib",
    "machine-zstd",
    "copy",
];
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// How much more is too much.
const TOLERANCE: f64 = 0.1;

/// What is counted: a piece, and how many events go through it.
fn run(piece: &str, events: usize) {
    match piece {
        "envelope" => scan(&payloads()[..events]),
        "decoder-zlib" => decoded(Compression::Zlib, events),
        "decoder-zstd" => decoded(Compression::Zstd, events),
        "machine" => Session::new(Compression::None).run(events),
        "machine-polled" => Session::new(Compression::None).run_polled(events),
        "machine-zlib" => Session::new(Compression::Zlib).run(events),
        "machine-zstd" => Session::new(Compression::Zstd).run(events),
        _ => keep(&payloads()[..events]),
    }
}

fn decoded(compression: Compression, events: usize) {
    let mut decoder = FrameDecoder::new(compression.into(), DEFAULT_PAYLOAD_LIMIT);
    decode(&mut decoder, &frames(compression)[..events]);
}

/// All instructions of a run.
fn count(piece: &str, events: usize) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([piece, &events.to_string()])
        .output()
        .map_err(|error| {
            format!("valgrind: {error}; install it (Debian: apt-get install valgrind)")
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.ok_or_else(|| format!("valgrind counted nothing:\n{said}"))?;
    count
        .trim()
        .parse()
        .map_err(|_| format!("no count: {count}"))
}

fn compare(update: bool) -> Result<bool, String> {
    let before = std::fs::read_to_string(FILE).unwrap_or_default();
    let before: BTreeMap<_, f64> = before
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(piece, count)| Some((piece, count.trim().parse().ok()?)))
        .collect();
    let (mut text, mut good) = (String::new(), true);
    println!("{:14} {:>8} {:>8}", "", "now", "before");
    for piece in PIECES {
        // What it takes to get there is the same for both.
        let few = EVENTS / 2;
        let each = (count(piece, EVENTS)? - count(piece, few)?) / (EVENTS - few) as f64;
        let known = before.get(piece).copied();
        let verdict = match known {
            Some(known) if each > known * (1.0 + TOLERANCE) => {
                good = false;
                "slower"
            }
            Some(known) if each < known * (1.0 - TOLERANCE) => "faster: update the file",
            Some(_) => "",
            None => "new",
        };
        println!(
            "{piece:14} {each:>8.0} {:>8.0} {verdict}",
            known.unwrap_or(f64::NAN)
        );
        // Writing to a string does not fail.
        let _ = writeln!(text, "{piece} {each:.0}");
    }
    if update {
        std::fs::write(Path::new(FILE), text).map_err(|error| error.to_string())?;
        return Ok(true);
    }
    Ok(good)
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [piece, events] = args.as_slice()
        && let Ok(events) = events.parse()
    {
        run(piece, events);
        return ExitCode::SUCCESS;
    }
    match compare(args.iter().any(|arg| arg == "--update")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "more instructions than before: see which change it was, or update the file with `-- --update`"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
