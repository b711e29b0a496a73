//! What a step waits for, and on which connections.

use serde::{Deserialize, Serialize};

/// Which of the server's two addresses a connection came in on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Listener {
    /// The address `/gateway/bot` gives, for new sessions.
    #[default]
    Main,
    /// The address READY gives as `resume_gateway_url`.
    Resume,
}

/// The moment a step waits for.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum When {
    /// A client asked for the upgrade; the server's own act is to accept it.
    Dialled,
    /// The upgrade is done; the server's own act is Hello.
    Opened,
    /// Hello was sent.
    Hello,
    /// A good Identify came; the server's own act is READY and the guilds.
    Identify,
    /// A good Resume came; the server's own act is the replay and RESUMED.
    Resume,
    /// READY was sent.
    Ready,
    /// RESUMED was sent.
    Resumed,
    /// The n-th beat of a connection came; the server's own act is the acknowledgement.
    Beat(Nth),
    /// A dispatch with such a sequence number was sent.
    Dispatch(Nth),
    /// A payload with this opcode came; the server's own act is what it does about it.
    Received(u64),
    /// So many milliseconds after the upgrade.
    AfterOpen(u64),
    /// So many milliseconds after READY or RESUMED.
    AfterLive(u64),
    /// So many milliseconds after the server started, on every selected connection then open.
    At(u64),
    /// Again and again on a live connection, at random, so many milliseconds apart on average.
    EveryAbout(u64),
}

/// Which ones of a count that starts at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, deny_unknown_fields)]
#[allow(clippy::exhaustive_enums)]
pub enum Nth {
    /// Exactly this one.
    Only(u64),
    /// From one to another, both included.
    Between {
        /// The first.
        from: u64,
        /// The last (no last one).
        #[serde(default = "without_end")]
        to: u64,
    },
    /// Every so many.
    Every {
        /// 2 is every second one.
        every: u64,
    },
}

fn without_end() -> u64 {
    u64::MAX
}

impl Nth {
    /// Whether `n` is one of them.
    #[must_use]
    pub fn holds(self, n: u64) -> bool {
        match self {
            Self::Only(only) => n == only,
            Self::Between { from, to } => (from..=to).contains(&n),
            Self::Every { every } => every != 0 && n != 0 && n.is_multiple_of(every),
        }
    }
}

/// Which connections a step is about; what is left out does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Selector {
    /// The address they came in on.
    pub listener: Option<Listener>,
    /// The shard's number; known from Identify or Resume on.
    pub shard: Option<u64>,
    /// The how-manieth connection of the server's life.
    pub conn: Option<Nth>,
    /// The how-manieth connection of the shard; known from Identify or Resume on.
    pub shard_conn: Option<Nth>,
}

impl Selector {
    /// Connections that came in on this address.
    #[must_use]
    pub fn listener(listener: Listener) -> Self {
        Self {
            listener: Some(listener),
            ..Self::default()
        }
    }

    /// The n-th connection of all.
    #[must_use]
    pub fn conn(n: u64) -> Self {
        Self {
            conn: Some(Nth::Only(n)),
            ..Self::default()
        }
    }

    /// The connections of one shard.
    #[must_use]
    pub fn shard(number: u64) -> Self {
        Self {
            shard: Some(number),
            ..Self::default()
        }
    }
}

/// How often a step may be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "TimesText", into = "TimesText")]
#[allow(clippy::exhaustive_enums)]
pub enum Times {
    /// At most so often.
    AtMost(u32),
    /// Without end; `"always"` in JSON.
    Always,
}

impl Default for Times {
    fn default() -> Self {
        Self::AtMost(1)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Always,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum TimesText {
    Number(u32),
    Word(Word),
}

impl From<TimesText> for Times {
    fn from(text: TimesText) -> Self {
        match text {
            TimesText::Number(n) => Self::AtMost(n),
            TimesText::Word(Word::Always) => Self::Always,
        }
    }
}

impl From<Times> for TimesText {
    fn from(times: Times) -> Self {
        match times {
            Times::AtMost(n) => Self::Number(n),
            Times::Always => Self::Word(Word::Always),
        }
    }
}
