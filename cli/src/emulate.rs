//! `shardwright emulate`, and the emulator that `watch` starts for itself.

use std::io::Write;
use std::sync::{Arc, Weak};
use std::time::Duration;

use shardwright_testkit::corpus::Corpus;
use shardwright_testkit::emulator::{Emulator, EmulatorError};
use shardwright_testkit::scenario::Scenario;
use shardwright_testkit::server::{Seen, Target};

use crate::Outcome;
use crate::args::EmulateArgs;
use crate::signals::Interrupts;

/// How long the end of the emulator may go unnoticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: EmulateArgs) -> Outcome {
    let usage = |what: String| {
        eprintln!("shardwright: {what}");
        Outcome::Usage
    };
    if !(args.rate >= 0.0 && args.rate <= 1_000_000.0) {
        return usage("--rate takes a number from 0 to 1000000".to_owned());
    }
    let scenario = match Scenario::named_or_file(&args.scenario) {
        Ok(scenario) => scenario,
        Err(error) => return usage(format!("scenario {}: {error}", args.scenario)),
    };
    let mut builder = Emulator::builder()
        .listen(args.listen)
        .resume_listen(args.resume_listen)
        .scenario(scenario)
        .configure(|config| {
            config.shards = args.shards;
            config.max_concurrency = args.max_concurrency;
            config.rate = args.rate;
        });
    if let Some(folder) = &args.corpus {
        match Corpus::from_dir(folder) {
            Ok(corpus) => builder = builder.corpus(corpus),
            Err(error) => return usage(format!("{}: {error}", folder.display())),
        }
    }
    if args.tls {
        builder = builder.tls();
    }
    let emulator = match builder.start() {
        Ok(emulator) => emulator,
        Err(error) => {
            eprintln!("shardwright: {error}");
            return Outcome::Internal;
        }
    };
    if let (Some(path), Some(pem)) = (&args.ca_out, emulator.ca_pem())
        && let Err(error) = std::fs::write(path, pem)
    {
        return usage(format!("cannot write {}: {error}", path.display()));
    }
    let mut interrupts = Interrupts::new();
    // Whoever started it may not care for the address.
    let _ = writeln!(std::io::stdout(), "{}", emulator.api_base());
    if let Some(events) = args.flood {
        let emulator = Arc::new(emulator);
        let watched = Arc::downgrade(&emulator);
        std::thread::spawn(move || flood_each_session(&watched, events));
        interrupts.next().await;
        return Outcome::Done;
    }
    interrupts.next().await;
    emulator.stop();
    Outcome::Done
}

/// Floods every new session once, until the emulator is gone.
fn flood_each_session(emulator: &Weak<Emulator>, events: u64) {
    // How much of the log has been looked at.
    let mut seen = 0;
    while let Some(emulator) = emulator.upgrade() {
        let mut new = Vec::new();
        let there_are = emulator.wait_for(
            |log| {
                let fresh = log.entries().iter().skip(seen - log.dropped().min(seen));
                new.extend(fresh.filter_map(|entry| match &entry.what {
                    Seen::Ready { session } => Some(session.clone()),
                    _ => None,
                }));
                seen = log.dropped() + log.entries().len();
                !new.is_empty()
            },
            LOOK_AGAIN,
        );
        if there_are {
            for session in new {
                emulator.flood(&Target::Session(session), events);
            }
        }
    }
}

/// A gateway for those who have none: one shard, a few events a second, and the troubles of a first
/// minute.
pub(crate) fn for_newcomers() -> Result<Emulator, EmulatorError> {
    let scenario = Scenario::named("newcomer").unwrap_or_default();
    Emulator::builder()
        .scenario(scenario)
        .configure(|config| config.rate = 3.0)
        .start()
}
