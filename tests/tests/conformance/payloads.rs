//! Large and odd payloads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use shardwright_core::{
    Compression, DecodeError, DisconnectReason, Event, Next, Problem, SessionLoss, TransportFault,
};
use shardwright_runtime::Options;
use shardwright_testkit::emulator::Builder;
use shardwright_testkit::scenario::{Damage, Effect, Level, Step, When};

use crate::harness::{Harness, cases};
use crate::play::{Play, dispatch, gateway};

cases![
    ready_of_17_mb_in_one_frame,
    ready_of_40_mb_in_one_frame,
    ready_of_40_mb_in_continuation_frames,
    ready_of_40_mb_with_zlib,
    guild_create_of_25_mb,
    a_ready_over_the_limit_does_not_burn_session_starts,
    a_compressed_ready_over_the_limit_does_not_burn_session_starts,
    a_decompression_bomb_is_stopped_at_the_limit,
    a_decompression_bomb_takes_no_more_memory_than_the_limit,
    a_decompression_bomb_in_every_replay_costs_the_session,
    text_that_is_not_utf_8_kills_nobody,
    compressed_text_that_is_not_utf_8_kills_nobody,
    unknown_events_opcodes_and_keys_are_passed_or_skipped,
    empty_messages_are_skipped,
];

const MB: usize = 1 << 20;

/// One large payload at a time, for the sake of the machine.
fn alone() -> MutexGuard<'static, ()> {
    static LARGE: Mutex<()> = Mutex::new(());
    LARGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A READY of a size: it is taken as a whole, and the session lives.
fn large_ready(harness: &dyn Harness, builder: Builder, compression: Compression, bytes: usize) {
    let _alone = alone();
    let builder = builder.configure(|config| config.ready_filler = bytes);
    let mut play = Play::with(harness, builder, |options| {
        options.compression = compression
    });
    let ready = play.dispatch("READY");
    assert!(ready.payload_size() > bytes);
    play.ready();
    play.play([dispatch("TWO")]);
    play.dispatch("TWO");
    assert_eq!(play.gone, 0);
    play.end();
}

/// Larger than the frame limit of 16 MiB that libraries like to have.
fn ready_of_17_mb_in_one_frame(harness: &dyn Harness) {
    large_ready(harness, gateway([]), Compression::None, 17 * MB);
}

/// What 2500 large guilds come to.
fn ready_of_40_mb_in_one_frame(harness: &dyn Harness) {
    large_ready(harness, gateway([]), Compression::None, 40 * MB);
}

/// The same in frames of 64 KB.
fn ready_of_40_mb_in_continuation_frames(harness: &dyn Harness) {
    let split = Effect::Split {
        sizes: vec![64 * 1024],
        level: Level::Frames,
        count: None,
    };
    let step = Step::new(When::Identify, [split]);
    large_ready(harness, gateway([step]), Compression::None, 40 * MB);
}

/// The same from a small message.
fn ready_of_40_mb_with_zlib(harness: &dyn Harness) {
    large_ready(harness, gateway([]), Compression::Zlib, 40 * MB);
}

/// One guild that is larger than the mailbox: an event is always taken as a whole.
fn guild_create_of_25_mb(harness: &dyn Harness) {
    let _alone = alone();
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.compression = Compression::None;
        options.mailbox_bytes = MB;
    });
    play.play([
        Effect::Big {
            t: "GUILD_CREATE".to_owned(),
            bytes: 25 * MB,
            count: 1,
        },
        dispatch("AFTER"),
    ]);
    assert!(play.dispatch("GUILD_CREATE").data().len() > 25 * MB);
    play.dispatch("AFTER");
    assert_eq!(play.gone, 0);
    play.end();
}

/// A READY over the limit: said with its name, and the next session start is put off.
fn ready_over_the_limit(harness: &dyn Harness, compression: Compression) -> DisconnectReason {
    let builder = gateway([]).configure(|config| config.ready_filler = 2 * MB);
    let mut play = Play::with(harness, builder, |options| {
        options.compression = compression;
        options.limits.payload_limit = MB;
        options.limits.identify_breaker = 2;
    });
    let mut failing = None;
    let gone = loop {
        match play.next() {
            Event::Problem {
                problem: Problem::IdentifyFailing { tries, next_try_in },
                ..
            } => failing = Some((tries, next_try_in)),
            Event::Disconnected { reason, .. } => break reason,
            _ => {}
        }
    };
    let (tries, pause) = failing.expect("the breaker says so");
    assert_eq!(tries, 3);
    assert!(pause.as_secs() >= 60, "{pause:?}");
    assert_eq!(play.log(|log| log.identifies()), 1);
    play.end();
    gone
}

/// A frame that says it is too large.
fn a_ready_over_the_limit_does_not_burn_session_starts(harness: &dyn Harness) {
    let reason = ready_over_the_limit(harness, Compression::None);
    assert_eq!(reason, DisconnectReason::Lost(TransportFault::TooLarge));
}

/// A small frame that turns out too large.
fn a_compressed_ready_over_the_limit_does_not_burn_session_starts(harness: &dyn Harness) {
    let reason = ready_over_the_limit(harness, Compression::Zlib);
    assert_eq!(reason, DisconnectReason::Undecodable);
}

fn bomb() -> Effect {
    Effect::Bomb {
        t: "BOMB".to_owned(),
        bytes: 64 * MB as u64,
    }
}

fn small(options: &mut Options) {
    options.limits.payload_limit = MB;
}

fn too_large(play: &mut Play) {
    let error = play.problem(|problem| match problem {
        Problem::Undecodable { error, .. } => Some(error.clone()),
        _ => None,
    });
    let limit = matches!(error, DecodeError::TooLarge { limit: MB, .. });
    assert!(limit, "{error}");
}

/// 60 KB that inflate to 64 MB: inflating ends at the limit, and the session goes on.
fn a_decompression_bomb_is_stopped_at_the_limit(harness: &dyn Harness) {
    for compression in [Compression::Zlib, Compression::Zstd] {
        let _alone = alone();
        let mut play = Play::up_with(harness, gateway([]), |options| {
            options.compression = compression;
            small(options);
        });
        play.play([bomb()]);
        too_large(&mut play);
        assert_eq!(play.gone().next, Next::Resume);
        play.resumed();
        assert_eq!(play.close_codes(), [4000]);
        play.end();
    }
}

/// Half a gigabyte against a limit of 16 MB: what the process ever held grows by little more than the
/// limit. Measured in a process of its own.
#[cfg(target_os = "linux")]
fn a_decompression_bomb_takes_no_more_memory_than_the_limit(harness: &dyn Harness) {
    const ALONE: &str = "CONFORMANCE_ALONE";
    let _alone = alone();
    if std::env::var_os(ALONE).is_none() {
        let case = "payloads::a_decompression_bomb_takes_no_more_memory_than_the_limit";
        let itself = std::env::current_exe().expect("a program");
        let output = std::process::Command::new(itself)
            .args(["--exact", &format!("{}::{case}", harness.name())])
            .env(ALONE, "1")
            .output()
            .expect("a process");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.limits.payload_limit = 16 * MB;
    });
    let before = most_memory();
    play.play([Effect::Bomb {
        t: "BOMB".to_owned(),
        bytes: 512 * MB as u64,
    }]);
    play.problem(|problem| matches!(problem, Problem::Undecodable { .. }).then_some(()));
    play.resumed();
    let grown = most_memory() - before;
    assert!(grown < (16 + 64) * MB, "{} MB", grown / MB);
    play.end();
}

/// The most memory this process ever had, in bytes.
#[cfg(target_os = "linux")]
fn most_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes = kilobytes.and_then(|number| number.trim().parse::<usize>().ok());
    kilobytes.expect("a number") * 1024
}

/// Only Linux says how much memory there ever was.
#[cfg(not(target_os = "linux"))]
fn a_decompression_bomb_takes_no_more_memory_than_the_limit(_: &dyn Harness) {}

/// The bomb again in place of the replay: a new session rather than a loop.
fn a_decompression_bomb_in_every_replay_costs_the_session(harness: &dyn Harness) {
    let _alone = alone();
    let step = Step::new(When::Resume, [bomb()]).always();
    let mut play = Play::up_with(harness, gateway([step]), small);
    play.play([bomb()]);
    too_large(&mut play);
    too_large(&mut play);
    assert_eq!(play.session_lost(), SessionLoss::Poisoned);
    play.ready();
    assert_eq!(play.resumes().len(), 1);
    assert_eq!(play.dials().len(), 3);
    play.end();
}

/// An event with the byte FF in a string, each time it is sent. It may be handed over or cost the
/// session; what follows comes, and nothing loops.
fn not_utf_8(harness: &dyn Harness, compression: Compression) {
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.compression = compression;
    });
    play.play([
        dispatch("TWO"),
        Effect::Damage {
            how: Damage::BadUtf8,
            seq: Some(3),
            count: None,
        },
        Effect::Dispatch {
            t: "BROKEN".to_owned(),
            d: serde_json::json!({"text": "words and words"}),
            s: None,
        },
        dispatch("AFTER"),
    ]);
    let new_session = play.until("what follows", |event| match event {
        Event::Dispatch(event) if event.name() == "AFTER" => Some(false),
        Event::Ready { .. } => Some(true),
        _ => None,
    });
    if new_session {
        play.play([dispatch("AFTER")]);
        play.dispatch("AFTER");
    }
    assert!(play.dials().len() <= 3, "{:?}", play.dials());
    assert!(
        play.close_codes()
            .iter()
            .all(|code| *code != 1000 && *code != 1001)
    );
    play.end();
}

/// As text.
fn text_that_is_not_utf_8_kills_nobody(harness: &dyn Harness) {
    not_utf_8(harness, Compression::None);
}

/// Within compression.
fn compressed_text_that_is_not_utf_8_kills_nobody(harness: &dyn Harness) {
    not_utf_8(harness, Compression::Zlib);
}

/// An event nobody knows is delivered, an opcode nobody knows is skipped, with one word about it.
fn unknown_events_opcodes_and_keys_are_passed_or_skipped(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([
        Effect::Text(r#"{"op":99,"d":{"more":[1]},"new":true}"#.to_owned()),
        Effect::Text(r#"{"op":11}"#.to_owned()),
        dispatch("NOT_YET_INVENTED"),
    ]);
    let op = play.problem(|problem| match problem {
        Problem::UnknownOpcode(op) => Some(*op),
        _ => None,
    });
    assert_eq!(op, 99);
    assert_eq!(play.dispatch("NOT_YET_INVENTED").data(), br#"{"n":1}"#);
    assert_eq!(play.gone, 0);
    play.end();
}

/// Websocket messages of no length, text and binary: skipped, whatever the compression.
fn empty_messages_are_skipped(harness: &dyn Harness) {
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let empty = |binary| Effect::Raw {
            hex: String::new(),
            binary,
        };
        let ten: Vec<_> = (0..10).map(|n| empty(n % 2 == 1)).collect();
        let step = Step::new(When::Opened, ten.clone());
        let mut play = Play::up_with(harness, gateway([step]), |options| {
            options.compression = compression;
        });
        play.play(ten);
        play.play([dispatch("AFTER")]);
        play.dispatch("AFTER");
        assert_eq!(play.gone, 0, "{compression:?}");
        play.end();
    }
}
