//! What every runtime has to do over real sockets: the same cases, one runtime after the other.
//!
//! `cargo test -p shardwright-testkit --test conformance` runs them all; a word after `--` picks those
//! whose name holds it (`tokio`, `closes`, `tokio::closes::fatal`). With `CONFORMANCE_TABLE=1` in the
//! environment, or with more than one runtime, a table of cases and runtimes follows.
//!
//! A case is a function of a [`Harness`]; a runtime is an implementation of it. Cases never sleep to wait
//! for something: they wait for what the emulated gateway has seen or the bot has said, with a patience
//! that nothing depends on. Where something must *not* happen they wait for something later that must.

mod blocking;
mod forwarder;
mod futures;
mod harness;
mod play;
mod raw;
mod table;
mod tokio;

mod acknowledging;
mod backpressure;
mod closes;
mod compression;
mod connecting;
mod control_frames;
mod fleet;
mod heartbeat;
mod in_place;
mod invalid_session;
mod payloads;
mod proxy;
mod recording;
mod resets;
mod resume_url;
mod sending;
mod sequence;
mod stopping;
mod tls;
mod upgrade;

use std::sync::Arc;

use harness::{Case, Harness};
use libtest_mimic::{Arguments, Trial};

/// The cases, by subject.
const SUBJECTS: &[(&str, &[Case])] = &[
    ("resume_url", resume_url::CASES),
    ("sequence", sequence::CASES),
    ("invalid_session", invalid_session::CASES),
    ("closes", closes::CASES),
    ("heartbeat", heartbeat::CASES),
    ("compression", compression::CASES),
    ("payloads", payloads::CASES),
    ("sending", sending::CASES),
    ("connecting", connecting::CASES),
    ("upgrade", upgrade::CASES),
    ("resets", resets::CASES),
    ("tls", tls::CASES),
    ("proxy", proxy::CASES),
    ("stopping", stopping::CASES),
    ("backpressure", backpressure::CASES),
    ("control_frames", control_frames::CASES),
    ("fleet", fleet::CASES),
    ("in_place", in_place::CASES),
    ("acknowledging", acknowledging::CASES),
    ("recording", recording::CASES),
];

/// The runtimes.
pub(crate) fn harnesses() -> Vec<Arc<dyn Harness>> {
    vec![
        Arc::new(tokio::Tokio),
        Arc::new(futures::SMOL),
        Arc::new(futures::ASYNC_STD),
        Arc::new(blocking::Blocking),
    ]
}

/// How many cases run at once unless `--test-threads` says otherwise. They mostly wait.
const THREADS: usize = 16;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let table = Arc::new(table::Table::default());
    let mut trials = Vec::new();
    for harness in harnesses() {
        for (subject, cases) in SUBJECTS {
            for case in *cases {
                let name = format!("{}::{subject}::{}", harness.name(), case.name);
                let row = format!("{subject}::{}", case.name);
                let (harness, table, run) = (Arc::clone(&harness), Arc::clone(&table), case.run);
                trials.push(
                    Trial::test(name, move || {
                        let passed = table.entry(row, harness.name());
                        run(harness.as_ref());
                        passed.set();
                        Ok(())
                    })
                    .with_ignored_flag(case.ignored.is_some()),
                );
            }
        }
    }
    let listing = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing && (harnesses().len() > 1 || std::env::var_os("CONFORMANCE_TABLE").is_some()) {
        print!("{table}");
        for (subject, cases) in SUBJECTS {
            for case in *cases {
                if let Some(why) = case.ignored {
                    println!("not run: {subject}::{}: {why}", case.name);
                }
            }
        }
    }
    conclusion.exit();
}
