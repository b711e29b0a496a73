//! Runs are recorded and come out the same again. With `CONFORMANCE_RECORD=1` in the environment that is looked at
//! in every case; in a debug build it costs too much time for the cases that are about time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use shardwright_core::trace::{self, Replayed};
use shardwright_core::{Compression, Event, ShardFilter, Shards, StatusUpdate};
use shardwright_runtime::{ConnectError, Options, TraceFile, TraceFileError};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::Target;

use crate::harness::{Harness, cases};
use crate::play::{Play, gateway, options, token};

cases![
    what_two_shards_live_through_is_replayed,
    one_file_takes_one_bot,
    a_full_disk_ends_the_recording_and_not_the_bot,
];

/// The recording of a bot, in a file that goes with it.
#[derive(Debug)]
pub(crate) struct Recording {
    file: TraceFile,
    path: PathBuf,
}

impl Recording {
    /// Has a bot recorded if that is wanted, unless its case does so itself.
    pub(crate) fn if_wanted(options: &mut Options) -> Option<Self> {
        std::env::var_os("CONFORMANCE_RECORD")?;
        Self::of(options)
    }

    fn of(options: &mut Options) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if options.record.is_some() {
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("shardwright-{}-{number}.trace", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = TraceFile::create(&path).expect("a file");
        options.record = Some(file.clone());
        Some(Self { file, path })
    }

    /// Replays what there is of it. All of it must be there once the bot has ended.
    pub(crate) fn verify(&self, ended: bool) {
        if ended {
            self.file.finish().expect("all was written");
        }
        let replayed = replay(&self.path);
        if ended || replayed.inputs > 0 {
            replayed.verify().expect("the same actions");
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn replay(path: &Path) -> Replayed {
    let recorded = std::fs::read(path).expect("a trace");
    if !recorded.contains(&b'\n') {
        return Replayed::default();
    }
    trace::replay(&recorded, Instant::now()).expect("a trace")
}

fn what_two_shards_live_through_is_replayed(harness: &dyn Harness) {
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let emulator = gateway([])
            .configure(|config| {
                config.shards = 2;
                config.max_concurrency = 2;
            })
            .start()
            .expect("an emulator");
        let mut probe = options(&emulator.api_base());
        let recording = Recording::of(&mut probe).expect("a recording");
        let mut play = Play::on(harness, emulator, |options| {
            options.record = probe.record.take();
            options.compression = compression;
        });
        play.connected(2);
        play.emulator().play(&Target::All, &[Effect::Rst]);
        for _ in 0..2 {
            play.resumed();
        }
        let idle = StatusUpdate::idle(None);
        play.bot
            .status_update(idle, Shards::All)
            .expect("a presence");
        assert_eq!(play.bot.shard_states(ShardFilter::all()).len(), 2);
        play.emulator().push_event(&Target::All, "LAST", "{}");
        for _ in 0..2 {
            play.until("the last event", |event| match event {
                Event::Dispatch(event) if event.name() == "LAST" => Some(()),
                _ => None,
            });
        }
        play.bot.disconnect();
        play.ended();
        recording.verify(true);
        let replayed = replay(&recording.path);
        assert_eq!(replayed.lives, 2);
        let seqs: u64 = play.seqs().values().sum();
        assert_eq!(replayed.dispatches, seqs, "all that the consumer took");
        let text = std::fs::read_to_string(&recording.path).expect("a trace");
        assert!(!text.contains(token().expose()));
        assert_eq!(replayed.ended, None);
    }
}

fn one_file_takes_one_bot(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    let mut first = options(&emulator.api_base());
    let recording = Recording::of(&mut first).expect("a recording");
    let second = first.clone();
    let subject = harness.connect(token(), first).expect("a bot");
    let error = harness.connect(token(), second).err().expect("a refusal");
    assert!(matches!(error, ConnectError::Trace(TraceFileError::InUse)));
    drop(subject);
    drop(recording);
}

fn a_full_disk_ends_the_recording_and_not_the_bot(harness: &dyn Harness) {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let file = TraceFile::create(full).expect("a device");
    let record = Some(file.clone());
    let mut play = Play::up_with(harness, gateway([]), |options| options.record = record);
    play.emulator().push_event(&Target::All, "STILL_HERE", "{}");
    play.dispatch("STILL_HERE");
    play.bot.disconnect();
    play.ended();
    assert!(matches!(file.finish(), Err(TraceFileError::Io(_))));
}
