//! The command as a process, for tests that look at it from outside.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::server::ServerConfig;

pub(crate) fn emulator(change: impl FnOnce(&mut ServerConfig)) -> Emulator {
    Emulator::builder().configure(change).start().unwrap()
}

/// The command with nothing of the caller's environment that it heeds.
pub(crate) fn shardwright(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardwright"));
    for name in [
        "DISCORD_TOKEN",
        "DISCORD_API",
        "RUST_LOG",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(name);
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    shardwright(args).output().unwrap()
}

pub(crate) fn watch(emulator: &Emulator, more: &[&str]) -> Output {
    let api = emulator.api_base();
    run(&[&["watch", "--api", &api, "--format", "json"], more].concat())
}

pub(crate) fn lines(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) fn types(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect()
}

/// That every run ends in the two last lines, each once.
pub(crate) fn assert_ended(lines: &[Value]) {
    let types = types(lines);
    assert!(types.ends_with(&["stopped", "summary"]), "{types:?}");
    assert_eq!(types.iter().filter(|name| **name == "stopped").count(), 1);
    assert_eq!(types.iter().filter(|name| **name == "summary").count(), 1);
    let times: Vec<_> = lines.iter().map(|line| line["t"].as_u64()).collect();
    assert!(times.iter().all(Option::is_some) && times.is_sorted());
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command that is talked to.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) out: Option<BufReader<std::process::ChildStdout>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out }
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn any_line(&mut self) -> Value {
        let mut text = String::new();
        let out = self.out.as_mut().unwrap();
        assert_ne!(
            out.read_line(&mut text).unwrap(),
            0,
            "the command has ended"
        );
        serde_json::from_str(&text).unwrap()
    }

    /// The next line of this type.
    pub(crate) fn line(&mut self, wanted: &str) -> Value {
        loop {
            let line = self.any_line();
            if line["type"] == wanted {
                return line;
            }
        }
    }

    /// The next event of this name: the guilds of a session may come before or after the news that all shards
    /// are connected.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.line("dispatch");
            if line["name"] == name {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn watching(emulator: &Emulator, more: &[&str]) -> Running {
    let api = emulator.api_base();
    Running::start(&mut shardwright(
        &[&["watch", "--api", &api, "--format", "json"], more].concat(),
    ))
}
