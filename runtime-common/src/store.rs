//! What of a bot outlives its process: the states of its shards, and what is left of the day's session
//! starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use shardwright_core::{KnownStarts, ShardState};

/// A run, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SavedRun {
    /// Of this layout: [`SavedRun::VERSION`].
    pub version: u32,
    /// What each shard goes on from.
    pub shards: Vec<ShardState>,
    /// Session starts left of Discord's window.
    #[serde(default)]
    pub starts: Option<SavedStarts>,
    /// Whether the run ended as it was told to. One that did not, say because it was killed, makes the
    /// next one keep a tenth of the session starts back ([`Options::careful`](crate::Options::careful)).
    pub ended_in_order: bool,
}

/// Session starts left of Discord's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct SavedStarts {
    /// How many.
    pub remaining: u32,
    /// When all are there again, in seconds since 1970.
    pub resets_at: u64,
}

impl SavedRun {
    /// The version that this code writes, and the newest that it reads.
    pub const VERSION: u32 = 1;

    /// A run that has not ended in order.
    #[must_use]
    pub fn new(shards: Vec<ShardState>, starts: Option<KnownStarts>, now: SystemTime) -> Self {
        let starts = starts.map(|starts| SavedStarts {
            remaining: starts.remaining,
            resets_at: since_1970(now).saturating_add(starts.reset_after).as_secs(),
        });
        Self {
            version: Self::VERSION,
            shards,
            starts,
            ended_in_order: false,
        }
    }

    /// The session starts that it left, if Discord has not granted new ones since.
    pub(crate) fn known_starts(&self, now: SystemTime) -> Option<KnownStarts> {
        let starts = self.starts?;
        let reset_after = Duration::from_secs(starts.resets_at).checked_sub(since_1970(now))?;
        Some(KnownStarts {
            remaining: starts.remaining,
            reset_after,
        })
    }
}

fn since_1970(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Why a run could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused.
    #[error("{place}: {source}")]
    Io {
        /// Which file, or what else is stored to.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is stored is no saved run.
    #[error("{place} is no saved run ({problem}); name another, or delete it to start anew")]
    NotARun {
        /// Which file, or what else is read.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What is stored is of a newer version of this library.
    #[error(
        "{place} was written by a newer version (layout {version}); use that one, or delete it to start anew"
    )]
    TooNew {
        /// Which file, or what else is read.
        place: String,
        /// Its version.
        version: u32,
    },
}

/// Where a bot's runs are stored. Give it to [`Options::store`](crate::Options::store).
///
/// The run is read once before the start, on the caller's thread, and written when sessions begin and every few seconds while it
/// changes, on a thread of its own, and at the end before [`Event::Stopped`](shardwright_core::Event).
/// One process at a time.
pub trait SessionStore: Send + Sync {
    /// The last run; `None` if there is none.
    ///
    /// # Errors
    /// If there is one and it cannot be read. The bot does not start then: starting anew would throw its
    /// sessions away.
    fn load(&self) -> Result<Option<SavedRun>, StoreError>;

    /// Takes the place of what was stored, all or nothing.
    ///
    /// # Errors
    /// If that fails. It is tried again with the next change.
    fn save(&self, run: &SavedRun) -> Result<(), StoreError>;
}

/// A run in a file, as JSON. Written to a neighbour first and renamed, so that it is whole whenever the
/// process or the machine dies; for its owner only (mode 600), for whoever has a session can disturb it.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// A store at this place. Its folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn fault(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            place: self.path.display().to_string(),
            source,
        }
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut neighbour = std::ffi::OsString::from(".");
        neighbour.push(name);
        neighbour.push(format!(".{}", std::process::id()));
        let neighbour = self.path.with_file_name(neighbour);
        let written = write_privately(&neighbour, text)
            .and_then(|()| fs::rename(&neighbour, &self.path))
            .and_then(|()| keep_the_name(&self.path));
        if written.is_err() {
            // It is of no use to anybody.
            let _ = fs::remove_file(&neighbour);
        }
        written
    }
}

fn write_privately(path: &Path, text: &[u8]) -> io::Result<()> {
    // One that is left over may be somebody else's to read.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// A rename is only safe from a power cut once its folder is.
fn keep_the_name(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

impl SessionStore for FileStore {
    fn load(&self) -> Result<Option<SavedRun>, StoreError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fault(error)),
        };
        let place = self.path.display().to_string();
        let no_run = |error: serde_json::Error| StoreError::NotARun {
            place: place.clone(),
            problem: error.to_string(),
        };
        let Version { version } = serde_json::from_slice(&text).map_err(no_run)?;
        if version > SavedRun::VERSION {
            return Err(StoreError::TooNew { place, version });
        }
        serde_json::from_slice(&text).map(Some).map_err(no_run)
    }

    fn save(&self, run: &SavedRun) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(run).map_err(|error| self.fault(error.into()))?;
        self.write(&text).map_err(|error| self.fault(error))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use shardwright_core::ShardId;

    use super::*;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("shardwright-store-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn store(&self) -> FileStore {
            FileStore::new(self.0.join("run.json"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn run() -> SavedRun {
        let starts = KnownStarts {
            remaining: 7,
            reset_after: Duration::from_secs(60),
        };
        let state = ShardState {
            session_id: Some("a".to_owned()),
            seq: Some(5),
            ..ShardState::fresh(ShardId::SINGLE)
        };
        SavedRun::new(vec![state], Some(starts), at(1000))
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let folder = Folder::new("round-trip");
        let store = folder.store();
        assert_eq!(store.load().unwrap(), None);
        store.save(&run()).unwrap();
        assert_eq!(store.load().unwrap(), Some(run()));
        let mut other = run();
        other.ended_in_order = true;
        store.save(&other).unwrap();
        assert_eq!(store.load().unwrap(), Some(other));
        let files: Vec<_> = fs::read_dir(&folder.0).unwrap().collect();
        assert_eq!(files.len(), 1, "nothing is left beside it");
    }

    #[cfg(unix)]
    #[test]
    fn it_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("mode");
        let store = folder.store();
        fs::write(&store.path, "{}").unwrap();
        fs::set_permissions(&store.path, fs::Permissions::from_mode(0o644)).unwrap();
        store.save(&run()).unwrap();
        let mode = fs::metadata(&store.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_left_alone() {
        let folder = Folder::new("bad");
        let store = folder.store();
        for text in ["", "{", "[]", r#"{"version":1}"#, r#"{"version":"1"}"#] {
            fs::write(&store.path, text).unwrap();
            let error = store.load().unwrap_err();
            assert!(
                matches!(error, StoreError::NotARun { .. }),
                "{text}: {error}"
            );
            assert!(error.to_string().contains("run.json"), "{error}");
            assert_eq!(fs::read_to_string(&store.path).unwrap(), text);
        }
        fs::write(&store.path, r#"{"version":2,"news":[]}"#).unwrap();
        let error = store.load().unwrap_err();
        assert!(
            matches!(error, StoreError::TooNew { version: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = Folder::new("gone");
        let store = FileStore::new(folder.0.join("no").join("run.json"));
        assert!(store.load().unwrap().is_none());
        assert!(matches!(store.save(&run()), Err(StoreError::Io { .. })));
    }

    #[test]
    fn starts_count_until_discord_grants_new_ones() {
        let starts = |now| run().known_starts(at(now)).map(|s| s.reset_after.as_secs());
        assert_eq!(starts(1000), Some(60));
        assert_eq!(starts(1050), Some(10));
        assert_eq!(starts(1061), None);
    }
}
