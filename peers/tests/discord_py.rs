//! discord.py against the emulated gateway. The environment it runs in is made under the target
//! directory when it is not there yet.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use shardwright_peers::checks::{self, Start};
use shardwright_peers::discord_py::{Compression, DiscordPy};

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/discord_py/requirements.txt");

/// The interpreter of the environment.
fn python() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("discord_py");
        let python = folder.join("bin/python");
        // pip comes last into a new environment.
        if !folder.join("bin/pip").exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        }
        // Quick when all is there already.
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ];
        run(Command::new(&python).args(pip).arg(REQUIREMENTS));
        python
    })
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(|s| s.success()),
        "{command:?}: {status:?}"
    );
}

const ZLIB: Start<'_> = &|emulator, options| {
    Box::new(DiscordPy::start(
        python(),
        Compression::Zlib,
        emulator,
        options,
    ))
};
const ZSTD: Start<'_> = &|emulator, options| {
    Box::new(DiscordPy::start(
        python(),
        Compression::Zstd,
        emulator,
        options,
    ))
};

#[test]
fn beats() {
    checks::beats(ZLIB);
}

#[test]
fn asked_for_beats() {
    checks::asked_for_beats(ZSTD);
}

fn whole_corpus(start: Start<'_>) {
    let (unknown, discarded) = checks::corpus(start);
    assert_eq!(unknown, Vec::<String>::new());
    // A view that was never made has nothing to receive a modal: the one thing it may put aside.
    assert_eq!(
        discarded,
        ["Modal interaction referencing unknown custom_id report. Discarding"]
    );
}

#[test]
fn corpus_zlib() {
    whole_corpus(ZLIB);
}

#[test]
fn corpus_zstd() {
    whole_corpus(ZSTD);
}

#[test]
fn resumes_zlib() {
    checks::resumes(ZLIB);
}

#[test]
fn resumes_zstd() {
    checks::resumes(ZSTD);
}

#[test]
fn new_session() {
    checks::new_session(ZLIB);
}

#[test]
fn members() {
    checks::members(ZSTD);
}

#[test]
fn presence() {
    checks::presence(ZLIB);
}

#[test]
fn voice() {
    checks::voice(ZLIB);
}

#[test]
fn ready() {
    checks::ready(ZSTD);
}

#[test]
fn two_shards() {
    checks::two_shards(ZLIB);
}
