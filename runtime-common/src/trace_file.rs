//! The file a bot is recorded to: lines go to a thread, so that no slow disk holds up a shard.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use shardwright_core::trace::TraceSink;

/// How many bytes may wait for the disk.
const WAITING: usize = 64 * 1024 * 1024;

/// How long [`TraceFile::finish`] waits for the bot to let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file that one bot is recorded to, for [`Options::record`](crate::Options): everything its machines are
/// told and do, as [`trace`](shardwright_core::trace) describes. It never holds the token; it does hold what
/// the events hold.
///
/// Recording takes time for each event, about as much as decompressing it, and up to 64 MiB of memory while
/// the disk is slow. When that is full, or the disk is, the recording ends and the bot goes on.
#[derive(Clone, Debug)]
pub struct TraceFile(Arc<Shared>);

/// How a recording went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceFileError {
    /// The file could not be written.
    #[error("the trace could not be written: {0}; what was written before can be replayed")]
    Io(Arc<io::Error>),
    /// The disk was too slow.
    #[error(
        "the disk was too slow for the trace, which ends early; record to a faster one, or fewer events"
    )]
    TooSlow,
    /// A second bot was given the same file.
    #[error("the file records another bot already; give each bot a file of its own")]
    InUse,
    /// The bot has not ended.
    #[error("the bot is still being recorded; finish the trace after its last event")]
    NotOver,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    writing: bool,
    /// Until a bot records to it.
    file: Option<File>,
    /// Nothing more will come.
    over: bool,
    failed: Option<TraceFileError>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, time: Duration) -> MutexGuard<'s, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
    }
}

impl TraceFile {
    /// Creates the file, in place of whatever was there; nobody but its owner may read it.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let state = State {
            file: Some(file),
            ..State::default()
        };
        Ok(Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })))
    }

    /// Waits until all is written. Call it after the bot's last event.
    ///
    /// # Errors
    /// What is in the file is not all.
    pub fn finish(&self) -> Result<(), TraceFileError> {
        let give_up_at = Instant::now() + PATIENCE;
        let mut state = self.0.state();
        loop {
            if let Some(failed) = &state.failed {
                return Err(failed.clone());
            }
            let unused = state.file.is_some();
            if unused || state.over && state.waiting.is_empty() && !state.writing {
                return Ok(());
            }
            let left = give_up_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TraceFileError::NotOver);
            }
            state = self.0.wait(state, left);
        }
    }

    /// Where a bot records to, until it lets go of it.
    pub(crate) fn begin(&self) -> Result<Arc<dyn TraceSink>, TraceFileError> {
        let file = self.0.state().file.take().ok_or(TraceFileError::InUse)?;
        let shared = self.0.clone();
        thread::Builder::new()
            .name("shardwright-trace".to_owned())
            .spawn(move || write(&shared, file))
            .map_err(|error| TraceFileError::Io(Arc::new(error)))?;
        Ok(Arc::new(Sink(self.0.clone())))
    }
}

/// A bot's end of it.
#[derive(Debug)]
struct Sink(Arc<Shared>);

impl TraceSink for Sink {
    fn line(&self, line: &[u8]) {
        let mut state = self.0.state();
        if state.failed.is_some() {
            return;
        }
        if state.waiting.len() + line.len() > WAITING {
            tracing::error!("{}", TraceFileError::TooSlow);
            state.failed = Some(TraceFileError::TooSlow);
            state
                .waiting
                .extend_from_slice(b"{\"ended\":\"the disk was too slow\"}\n");
            return;
        }
        let idle = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        if idle {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.state().over = true;
        self.0.changed.notify_all();
    }
}

/// Writes what comes until nothing more will.
fn write(shared: &Shared, mut file: File) {
    let mut lines = Vec::new();
    loop {
        let mut state = shared.state();
        state.writing = false;
        shared.changed.notify_all();
        while state.waiting.is_empty() {
            if state.over {
                return;
            }
            state = shared.wait(state, Duration::from_secs(3600));
        }
        state.writing = true;
        lines.clear();
        std::mem::swap(&mut lines, &mut state.waiting);
        drop(state);
        if let Err(error) = file.write_all(&lines) {
            let error = TraceFileError::Io(Arc::new(error));
            tracing::error!("{error}");
            let mut state = shared.state();
            state.failed = Some(error);
            state.writing = false;
            shared.changed.notify_all();
            return;
        }
        lines.shrink_to(1024 * 1024);
    }
}
