//! Names some shards of a bot.

use serde::{Deserialize, Serialize};

use crate::{ShardId, ShardState};

/// Which shards are meant: those that any of its parts names. Empty, it names none.
///
/// ```
/// use shardwright_core::{ShardFilter, ShardId, ShardState};
///
/// let zero = ShardState::fresh(ShardId::new(0, 2)?);
/// assert!(ShardFilter::all().matches(&zero));
/// assert!(ShardFilter::none().or_shard(ShardId::new(0, 2)?).matches(&zero));
/// assert!(!ShardFilter::none().or_session("a-session").matches(&zero));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardFilter {
    all: bool,
    shards: Vec<ShardId>,
    sessions: Vec<String>,
}

impl ShardFilter {
    /// No shard.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every shard.
    #[must_use]
    pub fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// These shards too.
    #[must_use]
    pub fn or_shards(mut self, shards: impl IntoIterator<Item = ShardId>) -> Self {
        self.shards.extend(shards);
        self
    }

    /// This shard too.
    #[must_use]
    pub fn or_shard(self, shard: ShardId) -> Self {
        self.or_shards([shard])
    }

    /// The shard with this session too, by Discord's name of it.
    #[must_use]
    pub fn or_session(mut self, id: impl Into<String>) -> Self {
        self.sessions.push(id.into());
        self
    }

    /// Whether a shard in this state is meant.
    #[must_use]
    pub fn matches(&self, state: &ShardState) -> bool {
        let session = state.session_id.as_ref();
        self.all
            || self.shards.contains(&state.shard)
            || session.is_some_and(|session| self.sessions.contains(session))
    }
}

impl From<ShardId> for ShardFilter {
    fn from(shard: ShardId) -> Self {
        Self::none().or_shard(shard)
    }
}
