//! What a bot shows of itself: its status and its activities.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::activity::Activity;
use crate::command_error::CommandError;

/// The bot's status, activities and the rest of a presence, for all guilds of a shard.
///
/// Discord takes five changes in 20 seconds. Serde writes the body of the gateway's opcode 3: all
/// four keys, always.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatusUpdate {
    // The order is the one on the wire.
    since: Option<u64>,
    activities: Vec<Activity>,
    status: Status,
    afk: bool,
}

/// How a bot appears to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Green.
    #[default]
    Online,
    /// Red: do not disturb.
    Dnd,
    /// Yellow: away.
    Idle,
    /// Shown as offline. Discord knows an `offline` too, which does nothing when a bot sends it;
    /// here that word is read as this status, for it is what is meant.
    #[serde(alias = "offline")]
    Invisible,
}

/// A text that names no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such status; use online, dnd, idle or invisible")]
pub struct ParseStatusError;

impl StatusUpdate {
    /// A presence with this status, without activities, and not idle since any time.
    pub const fn new(status: Status) -> Self {
        Self {
            since: None,
            activities: Vec::new(),
            status,
            afk: false,
        }
    }

    /// Online.
    pub const fn online() -> Self {
        Self::new(Status::Online)
    }

    /// Do not disturb.
    pub const fn dnd() -> Self {
        Self::new(Status::Dnd)
    }

    /// Idle, since a time in milliseconds of the Unix epoch if it is known.
    pub const fn idle(since: Option<u64>) -> Self {
        let mut idle = Self::new(Status::Idle);
        idle.since = since;
        idle
    }

    /// Shown as offline.
    pub const fn invisible() -> Self {
        Self::new(Status::Invisible)
    }

    /// Adds an activity.
    #[must_use]
    pub fn activity(mut self, activity: Activity) -> Self {
        self.activities.push(activity);
        self
    }

    /// Says whether the user behind the client is away; bots have little use for it.
    #[must_use]
    pub const fn afk(mut self, afk: bool) -> Self {
        self.afk = afk;
        self
    }

    /// The status.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The activities, in the order they were added.
    pub fn activities(&self) -> &[Activity] {
        &self.activities
    }

    /// Since when it is idle, in milliseconds of the Unix epoch.
    pub const fn since(&self) -> Option<u64> {
        self.since
    }

    /// Whether it says that the user is away.
    pub const fn is_afk(&self) -> bool {
        self.afk
    }

    /// Checks what the builders let pass: that names and texts are not empty and that a stream's
    /// address is one that Discord takes. A [`Command`](crate::Command) checks this by itself; it
    /// is for presences that go into Identify.
    ///
    /// # Errors
    /// [`CommandError::BadValue`] names the field.
    pub fn check(&self) -> Result<(), CommandError> {
        self.activities.iter().try_for_each(Activity::check)
    }
}

impl Default for StatusUpdate {
    /// [`StatusUpdate::online`].
    fn default() -> Self {
        Self::online()
    }
}

impl Status {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Dnd => "dnd",
            Self::Idle => "idle",
            Self::Invisible => "invisible",
        }
    }
}

impl FromStr for Status {
    type Err = ParseStatusError;

    /// Reads the four words in either case, `offline` for invisible and `do-not-disturb` for dnd.
    fn from_str(text: &str) -> Result<Self, ParseStatusError> {
        match text.to_ascii_lowercase().as_str() {
            "online" => Ok(Self::Online),
            "dnd" | "do-not-disturb" | "do_not_disturb" | "donotdisturb" => Ok(Self::Dnd),
            "idle" => Ok(Self::Idle),
            "invisible" | "offline" => Ok(Self::Invisible),
            _ => Err(ParseStatusError),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(presence: &StatusUpdate) -> String {
        serde_json::to_string(presence).unwrap()
    }

    #[test]
    fn all_four_keys_are_always_there() {
        assert_eq!(
            json(&StatusUpdate::online()),
            r#"{"since":null,"activities":[],"status":"online","afk":false}"#
        );
        assert_eq!(
            json(&StatusUpdate::idle(Some(91_879_201)).afk(true)),
            r#"{"since":91879201,"activities":[],"status":"idle","afk":true}"#
        );
        assert_eq!(
            json(&StatusUpdate::dnd().activity(Activity::playing("chess"))),
            r#"{"since":null,"activities":[{"name":"chess","type":0}],"status":"dnd","afk":false}"#
        );
        assert_eq!(
            json(&StatusUpdate::invisible()),
            r#"{"since":null,"activities":[],"status":"invisible","afk":false}"#
        );
    }

    #[test]
    fn it_reads_back_and_tells_its_parts() {
        let presence = StatusUpdate::idle(Some(5))
            .activity(Activity::watching("tv"))
            .afk(true);
        let back: StatusUpdate = serde_json::from_str(&json(&presence)).unwrap();
        assert_eq!(back, presence);
        assert_eq!(back.status(), Status::Idle);
        assert_eq!(back.since(), Some(5));
        assert_eq!(back.activities(), [Activity::watching("tv")]);
        assert!(back.is_afk());
        assert!(!StatusUpdate::idle(None).is_afk());
        assert_eq!(StatusUpdate::default(), StatusUpdate::online());
    }

    #[test]
    fn statuses_are_read_from_text() {
        for (text, status) in [
            ("online", Status::Online),
            ("DND", Status::Dnd),
            ("do-not-disturb", Status::Dnd),
            ("Idle", Status::Idle),
            ("invisible", Status::Invisible),
            ("offline", Status::Invisible),
        ] {
            assert_eq!(text.parse(), Ok(status), "{text}");
        }
        assert_eq!("away".parse::<Status>(), Err(ParseStatusError));
        assert_eq!(Status::Dnd.to_string(), "dnd");
    }

    #[test]
    fn an_empty_name_is_found_wherever_it_stands() {
        let presence = StatusUpdate::online()
            .activity(Activity::playing("chess"))
            .activity(Activity::playing(" "));
        assert!(presence.check().is_err());
        assert_eq!(StatusUpdate::online().check(), Ok(()));
    }
}
