//! How much a shard does before anybody else gets a turn.

/// Whether a bot's events are taken on the thread that its shards run on.
///
/// In one turn a shard takes so many messages at most that no flood keeps a thread from other shards; then the
/// consumer is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Consumer {
    /// They are: what a turn brings should be no more than fits into the processor's
    /// cache, and nothing is gained by handing any of it over before the end of the turn.
    SameThread,
    /// On another: each time it is woken costs as much as some events, so turns are long; and what is handed over
    /// early it can take meanwhile, if it is awake.
    OtherThread,
    /// The shards run on several threads, one of which may be the consumer's.
    AnyThread,
}

/// So many messages in a turn if they are handled on the spot: nobody waits for what the turn brings.
const IN_PLACE: usize = 256;

impl Consumer {
    /// So many messages at most in one turn.
    pub(crate) fn messages(self, in_place: bool) -> usize {
        let messages = match self {
            Self::SameThread => 128,
            Self::OtherThread => 1024,
            Self::AnyThread => 256,
        };
        if in_place {
            return messages.max(IN_PLACE);
        }
        messages
    }

    /// So many events at most wait to be put into the mailbox.
    pub(crate) fn events(self) -> usize {
        match self {
            Self::SameThread => 128,
            Self::OtherThread | Self::AnyThread => 32,
        }
    }
}
