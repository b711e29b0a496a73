//! [discord.py](https://discordpy.readthedocs.io), in a process of its own: `discord_py/client.py`
//! reports on its standard output and takes orders on its standard input.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};
use shardwright_testkit::emulator::Emulator;

use crate::{Ask, Options, Peer, Record, Report};

/// The transport compression it asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Compression {
    /// `zlib-stream`.
    Zlib,
    /// `zstd-stream`.
    Zstd,
}

/// A running discord.py.
#[derive(Debug)]
pub struct DiscordPy {
    record: Record,
    child: Arc<Mutex<Child>>,
    orders: Mutex<ChildStdin>,
}

impl DiscordPy {
    /// Starts it with the interpreter of an environment that has `discord_py/requirements.txt`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        python: &Path,
        compression: Compression,
        emulator: &Emulator,
        options: Options,
    ) -> Self {
        let mut command = Command::new(python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/discord_py/client.py"))
            .arg(emulator.api_base())
            .arg(emulator.gateway_url())
            .arg(match compression {
                Compression::Zlib => "zlib",
                Compression::Zstd => "zstd",
            });
        if options.shards > 1 {
            command.arg("--sharded");
        }
        if options.fetch_members {
            command.arg("--fetch-members");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let orders = child.stdin.take().expect("a pipe was asked for");
        let lines = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
        let record = Record::default();
        let child = Arc::new(Mutex::new(child));
        let (of_thread, until) = (record.clone(), Arc::clone(&child));
        thread::spawn(move || {
            for line in lines.lines() {
                let line = line.expect("the pipe holds");
                let report = serde_json::from_str(&line).ok().as_ref().and_then(report);
                let report =
                    report.unwrap_or_else(|| Report::Complaint(format!("an odd line: {line}")));
                of_thread.push(report);
            }
            let status = locked(&until).wait();
            if !status.as_ref().is_ok_and(ExitStatus::success) {
                of_thread.push(Report::Complaint(format!("it ended with {status:?}")));
            }
            of_thread.push(Report::Ended);
        });
        Self {
            record,
            child,
            orders: Mutex::new(orders),
        }
    }

    fn order(&self, order: &Value) {
        // One that ended by itself has said so in the record.
        let _ = writeln!(locked(&self.orders), "{order}");
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a line of the script.
fn report(line: &Value) -> Option<Report> {
    let (kind, value) = line.as_object()?.iter().next()?;
    let text = || value.as_str().map(str::to_owned);
    Some(match kind.as_str() {
        "op" => Report::Op(value.as_u64()?),
        "dispatch" => Report::Dispatch {
            seq: value["seq"].as_u64()?,
            name: value["name"].as_str()?.to_owned(),
            known: value["known"].as_bool()?,
        },
        "guild" => Report::Guild(value.as_u64()?),
        "discarded" => Report::Discarded(text()?),
        "members" => Report::Members(
            value
                .as_array()?
                .iter()
                .map(Value::as_u64)
                .collect::<Option<_>>()?,
        ),
        "ready" => Report::Ready,
        "complaint" => Report::Complaint(text()?),
        _ => return None,
    })
}

impl Peer for DiscordPy {
    fn record(&self) -> &Record {
        &self.record
    }

    fn ask(&self, what: &Ask) {
        let order = match what {
            Ask::Members { guild } => json!({"members": guild}),
            Ask::Prefix {
                guild,
                prefix,
                limit,
            } => json!({"prefix": [guild, prefix, limit]}),
            Ask::Ids { guild, ids } => json!({"ids": [guild, ids]}),
            Ask::Presence => json!({"presence": null}),
            Ask::Voice { guild, channel } => json!({"voice": [guild, channel]}),
        };
        self.order(&order);
    }

    fn stop(&self) {
        self.order(&json!({"stop": null}));
    }
}

impl Drop for DiscordPy {
    fn drop(&mut self) {
        // A check that failed leaves it running.
        let mut child = locked(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}
