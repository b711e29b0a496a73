//! What is run, in which order, and what is made of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use shardwright_tokio::Compression;

use super::prepared::Play;
use super::table::{self, Measured, Row};
use super::{BenchArgs, BenchError};

/// One client of a group.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Whose program: ours, or a peer's.
    pub(super) peer: bool,
    /// What it should cost, at most: so many times what that other one does.
    pub(super) aim: Option<(f64, &'static str)>,
    flags: Vec<String>,
}

impl Entry {
    fn aims(mut self, at_most: f64, of: &'static str) -> Self {
        self.aim = Some((at_most, of));
        self
    }
}

/// Clients that are compared with each other, against one server.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) play: Play,
    /// Events of all connections.
    pub(super) events: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// CPU time an event.
    Events,
    /// Real time an event, the lines being in the client's memory.
    Throughput,
    /// The same, and how long after it was sent each is there.
    Late,
    /// A start, a rest, and all shards resumed at once; with so many that may identify at once.
    Scale(u32),
    /// Memory and CPU of shards that rest.
    Rest,
}

fn ours(name: &'static str, who: &str) -> Entry {
    Entry {
        name,
        peer: false,
        aim: None,
        flags: vec!["--who".to_owned(), who.to_owned()],
    }
}

/// With a consumer that is a task itself.
fn in_task(name: &'static str, who: &str) -> Entry {
    let mut entry = ours(name, who);
    entry.flags.push("--in-task".to_owned());
    entry
}

fn peer(name: &'static str, program: &str) -> Entry {
    Entry {
        name,
        peer: true,
        aim: None,
        flags: vec![program.to_owned()],
    }
}

fn all(args: &BenchArgs) -> Vec<Group> {
    let mut groups = Vec::new();
    let compressions = [Compression::Zlib, Compression::Zstd, Compression::None];
    let play = |compression, events, rate, shards, guilds| Play {
        compression,
        guilds,
        events,
        rate,
        ready_bytes: 0,
        shards,
        tls: false,
        stamps: false,
    };
    for compression in compressions {
        let (stream, in_place) = match compression {
            Compression::Zlib => (1.06, 1.03),
            Compression::Zstd => (1.15, 1.10),
            _ => (1.35, 1.35),
        };
        let mut entries = vec![
            ours("floor", "floor"),
            ours("tokio, events", "tokio").aims(stream, "floor"),
            ours("tokio, in place", "in-place").aims(in_place, "floor"),
            ours("tokio, messages parsed", "messages"),
            ours("async-std, events", "async-std").aims(1.10, "tokio, events"),
            ours("smol, events", "smol").aims(1.10, "tokio, events"),
            ours("blocking, events", "blocking").aims(1.10, "tokio, events"),
            peer("twilight, raw", "twilight-raw"),
            peer("twilight, typed", "twilight-typed"),
            peer("tokio, typed by twilight-model", "shardwright-typed")
                .aims(0.96, "twilight, typed"),
        ];
        if compression == Compression::Zlib {
            let messages = entries
                .iter_mut()
                .find(|entry| entry.name == "tokio, messages parsed");
            if let Some(messages) = messages {
                messages.aim = Some((1.20, "floor"));
            }
        }
        if compression == Compression::None {
            entries.retain(|entry| entry.name != "tokio, messages parsed");
        }
        groups.push(Group {
            name: format!("one shard as fast as it can, {compression}"),
            play: play(compression, args.events, None, 1, 1),
            events: args.events,
            entries,
            kind: Kind::Events,
        });
    }
    let paced = |name: &str, shards: u32, rate: f64, events: u64| Group {
        name: name.to_owned(),
        play: play(
            Compression::Zlib,
            events / u64::from(shards),
            Some(rate),
            shards,
            1,
        ),
        events: events / u64::from(shards) * u64::from(shards),
        entries: vec![
            ours("floor", "floor"),
            ours("tokio, events", "tokio").aims(1.10, "floor"),
            in_task("tokio, events in a task", "tokio").aims(1.10, "floor"),
            ours("tokio, in place", "in-place").aims(1.10, "floor"),
            ours("blocking, events", "blocking"),
            peer("twilight, raw", "twilight-raw"),
        ],
        kind: Kind::Events,
    };
    let second = args.events / 20;
    let mut one = paced("one shard, 1,000 events a second, zlib", 1, 1000.0, second);
    one.play.stamps = true;
    one.kind = Kind::Late;
    groups.push(one);
    groups.push(paced(
        "200 shards, 5,000 events a second in all, zlib",
        200,
        25.0,
        second * 3,
    ));
    let threads = |mut entry: Entry, threads: &str| {
        let threads = ["--threads".to_owned(), threads.to_owned()];
        entry.flags.extend(threads);
        entry
    };
    // As fast as `who` can, on one thread and on two; two cost so many times what one does, at most.
    let on_threads = |who: &str, at_most: f64| {
        const ONE: &str = "tokio, events, one thread";
        const ONE_TASK: &str = "tokio, events in a task, one thread";
        let two = ours("tokio, events, two threads", who);
        let two_task = in_task("tokio, events in a task, two threads", who);
        [
            threads(ours(ONE, who), "0"),
            threads(two, "2").aims(at_most, ONE),
            threads(in_task(ONE_TASK, who), "0"),
            threads(two_task, "2").aims(at_most, ONE_TASK),
        ]
    };
    let mut entries = vec![ours("floor", "floor")];
    entries.extend(on_threads("tokio", 1.08));
    entries.push(peer("twilight, raw", "twilight-raw"));
    groups.push(Group {
        name: "eight shards as fast as they can, zlib".to_owned(),
        play: play(Compression::Zlib, args.events / 8, None, 8, 1),
        events: args.events / 8 * 8,
        entries,
        kind: Kind::Events,
    });
    groups.push(Group {
        name: "eight shards from memory, zlib, real time".to_owned(),
        play: play(Compression::Zlib, args.events / 8, None, 8, 1),
        events: args.events / 8 * 8,
        // 1.85 times the throughput.
        entries: on_threads("memory", 0.54).into(),
        kind: Kind::Throughput,
    });
    for compression in [Compression::Zlib, Compression::None] {
        groups.push(Group {
            name: format!("a READY of 20 MB, {compression}"),
            play: Play {
                ready_bytes: 20_000_000,
                ..play(compression, 0, None, 1, 3)
            },
            events: 0,
            entries: vec![
                ours("tokio, events", "tokio"),
                ours("tokio, in place", "in-place"),
                peer("twilight, raw", "twilight-raw"),
            ],
            kind: Kind::Rest,
        });
    }
    for compression in compressions {
        let at_rest = match compression {
            Compression::Zlib => 0.6,
            Compression::Zstd => 0.85,
            _ => 1.0,
        };
        groups.push(Group {
            name: format!("shards at rest, {compression}"),
            play: play(compression, 0, None, args.shards, 60),
            events: 0,
            entries: vec![
                ours("tokio, events", "tokio").aims(at_rest, "twilight, raw"),
                ours("tokio, in place", "in-place").aims(at_rest, "twilight, raw"),
                ours("blocking, events", "blocking"),
                peer("twilight, raw", "twilight-raw"),
            ],
            kind: Kind::Rest,
        });
    }
    for compression in compressions {
        let mut group = Group {
            name: format!("shards at rest, {compression}, TLS"),
            play: play(compression, 0, None, args.shards, 60),
            events: 0,
            entries: vec![
                ours("tokio, events", "tokio"),
                ours("tokio, in place", "in-place"),
                ours("blocking, events", "blocking"),
                peer("twilight, raw", "twilight-raw"),
            ],
            kind: Kind::Rest,
        };
        group.play.tls = true;
        groups.push(group);
    }
    for shards in [1000, 3000, 10_000] {
        groups.push(Group {
            name: format!("a bot of {shards} shards, zlib"),
            play: play(Compression::Zlib, 0, None, shards, 3),
            events: 0,
            entries: vec![ours("tokio, events", "tokio")],
            kind: Kind::Scale(1000),
        });
    }
    groups
}

/// The groups that are asked for.
fn wanted(args: &BenchArgs) -> Vec<Group> {
    let mut groups = all(args);
    let asked = |group: &Group| {
        args.rows
            .iter()
            .any(|row| group.name.contains(row.as_str()))
    };
    groups.retain(|group| args.rows.is_empty() || asked(group));
    groups
}

/// What is wrong with what is asked for, if anything is.
pub(super) fn check(args: &BenchArgs) -> Result<(), BenchError> {
    if wanted(args).is_empty() {
        let names: Vec<_> = all(args).into_iter().map(|group| group.name).collect();
        return Err(BenchError::new(format!(
            "no row has that in its name; there are: {}",
            names.join("; ")
        )));
    }
    Ok(())
}

pub(super) fn run(args: &BenchArgs) -> Result<(), BenchError> {
    let mut groups = wanted(args);
    let program = std::env::current_exe()?;
    for group in &mut groups {
        let compression = group.play.compression;
        group.entries.retain(|entry| {
            !entry.peer || peer_path(args.peers.as_deref(), entry, compression).is_some()
        });
    }
    let rounds: usize = groups.iter().map(|group| group.entries.len()).sum();
    let progress = ProgressBar::new(rounds as u64 * u64::from(args.runs)).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)")
            .map_err(BenchError::new)?,
    );
    for group in groups {
        let mut server = Server::start(&program, &group.play)?;
        let mut measured: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for _ in 0..args.runs {
            for entry in &group.entries {
                progress.set_message(format!("{}: {}", group.name, entry.name));
                let path = match entry.peer {
                    true => peer_path(args.peers.as_deref(), entry, group.play.compression),
                    false => None,
                };
                let mut report = client(&program, path.as_deref(), entry, &group, &server)?;
                if group.kind == Kind::Late {
                    server.compare(&mut report)?;
                }
                measured.entry(entry.name).or_default().push(report);
                progress.inc(1);
            }
        }
        let rows = group.entries.iter().map(|entry| Row {
            name: entry.name,
            aim: entry.aim,
            measured: Measured::new(
                measured.get(entry.name).map_or(&[][..], Vec::as_slice),
                &group,
            ),
        });
        let rows: Vec<_> = rows.collect();
        progress.suspend(|| table::print(&group, server.mean, args, &rows));
    }
    progress.finish_and_clear();
    Ok(())
}

/// Where a peer's program is, if it was built.
fn peer_path(folder: Option<&Path>, entry: &Entry, compression: Compression) -> Option<PathBuf> {
    let name = entry.flags.first()?;
    let path = folder?.join(format!("{name}-{compression}"));
    path.is_file().then_some(path)
}

struct Server {
    child: Child,
    says: Option<BufReader<ChildStdout>>,
    authority: Option<Scrap>,
    url: String,
    messages: u64,
    mean: u64,
}

#[derive(Deserialize)]
struct Ready {
    url: String,
    messages: u64,
    mean: u64,
    authority: Option<String>,
}

/// What a server says when it has sent the events of a connection.
#[derive(Deserialize)]
struct Sent {
    sent: Vec<u64>,
}

/// A file that is gone when it is dropped.
struct Scrap(PathBuf);

impl Scrap {
    fn new(text: &str) -> std::io::Result<Self> {
        let name = format!("shardwright-bench-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text)?;
        Ok(Self(path))
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        // It may have been tidied away.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Server {
    fn start(program: &Path, play: &Play) -> Result<Self, BenchError> {
        let mut child = Command::new(program)
            .args(["bench", "server"])
            .arg(serde_json::to_string(play).map_err(BenchError::new)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let mut says = child.stdout.take().map(BufReader::new);
        if let Some(says) = &mut says {
            says.read_line(&mut line)?;
        }
        let Ready {
            url,
            messages,
            mean,
            authority,
        } = serde_json::from_str(&line).map_err(|_| BenchError::new("the server did not start"))?;
        let authority = authority.as_deref().map(Scrap::new).transpose()?;
        Ok(Self {
            child,
            says,
            authority,
            url,
            messages,
            mean,
        })
    }
}

impl Server {
    /// Puts into a client's report how late its events were, of all connections the last one's.
    fn compare(&mut self, report: &mut Value) -> Result<(), BenchError> {
        let mut line = String::new();
        if let Some(says) = &mut self.says {
            says.read_line(&mut line)?;
        }
        let Sent { sent } = serde_json::from_str(&line).map_err(BenchError::new)?;
        let taken: Vec<u64> =
            serde_json::from_value(report["taken"].take()).map_err(BenchError::new)?;
        if sent.len() != taken.len() {
            let what = format!("{} events sent, {} taken", sent.len(), taken.len());
            return Err(BenchError::new(what));
        }
        let late = sent
            .iter()
            .zip(&taken)
            .map(|(sent, taken)| taken.saturating_sub(*sent));
        let mut late: Vec<u64> = late.collect();
        late.sort_unstable();
        for (name, share) in [("late_p50_ns", 0.5), ("late_p99_ns", 0.99)] {
            let index = (late.len() as f64 * share) as usize;
            report[name] = late.get(index).copied().into();
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(
    program: &Path,
    peer: Option<&Path>,
    entry: &Entry,
    group: &Group,
    server: &Server,
) -> Result<Value, BenchError> {
    let mut command = match peer {
        Some(path) => Command::new(path),
        None => {
            let mut command = Command::new(program);
            command.args(["bench", "client"]).args(&entry.flags);
            command
        }
    };
    if let Some(Scrap(file)) = &server.authority {
        // Other programs take it from the environment.
        match peer {
            Some(_) => command.env("SSL_CERT_FILE", file),
            None => command.arg("--authority").arg(file),
        };
    }
    if group.play.stamps {
        command.arg("--stamps");
    }
    if let Kind::Scale(at_once) = group.kind {
        command.args(["--scale", &at_once.to_string()]);
    }
    let output = command
        .args(["--url", &server.url])
        .args(["--compress", &group.play.compression.to_string()])
        .args(["--shards", &group.play.shards.to_string()])
        .args(["--guilds", &group.play.guilds.to_string()])
        .args(["--events", &group.events.to_string()])
        .args(["--messages", &server.messages.to_string()])
        .args(["--rest", if group.kind == Kind::Rest { "4" } else { "0" }])
        .stderr(Stdio::inherit())
        .output()?;
    let line = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let name = entry.name;
        return Err(BenchError::new(format!("{name}: {}", output.status)));
    }
    serde_json::from_str(line.trim())
        .map_err(|error| BenchError::new(format!("{} said {line:?}: {error}", entry.name)))
}
