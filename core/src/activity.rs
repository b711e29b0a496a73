//! One line of what a bot is doing.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::command_error::CommandError;

/// What a bot is shown to be doing.
///
/// Of an activity's many fields a bot can set four: the name, the kind, a second line and, for a
/// stream, its address. Names are checked when the presence becomes a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Activity {
    name: String,
    #[serde(rename = "type")]
    kind: ActivityKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// The verb before an activity's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ActivityKind {
    /// Playing a game (0).
    #[default]
    Playing,
    /// Streaming (1).
    Streaming,
    /// Listening to (2).
    Listening,
    /// Watching (3).
    Watching,
    /// A text of one's own (4).
    Custom,
    /// Competing in (5).
    Competing,
}

/// A text that names no kind of activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no such activity; use playing, streaming, listening, watching, competing or custom"
)]
pub struct ParseActivityKindError;

/// What the address of a stream may begin with.
const STREAM_HOSTS: [&str; 4] = [
    "https://twitch.tv/",
    "https://www.twitch.tv/",
    "https://youtube.com/",
    "https://www.youtube.com/",
];

/// The name that goes with a custom text. Discord wants one and shows none.
const CUSTOM_NAME: &str = "Custom Status";

impl Activity {
    /// An activity of this kind. For [`ActivityKind::Custom`] the text is what is shown, as with
    /// [`custom`](Self::custom); a stream so made has no address.
    pub fn new(text: impl Into<String>, kind: ActivityKind) -> Self {
        let (name, state) = match kind {
            ActivityKind::Custom => (CUSTOM_NAME.to_owned(), Some(text.into())),
            _ => (text.into(), None),
        };
        Self {
            name,
            kind,
            url: None,
            state,
        }
    }

    /// Playing a game.
    pub fn playing(name: impl Into<String>) -> Self {
        Self::new(name, ActivityKind::Playing)
    }

    /// Streaming at an address on Twitch or YouTube.
    ///
    /// # Errors
    /// The address does not begin with `https://twitch.tv/` or `https://youtube.com/` (`www.` may
    /// stand before either), or holds white space.
    pub fn streaming(
        name: impl Into<String>,
        url: impl Into<String>,
    ) -> Result<Self, CommandError> {
        let mut activity = Self::new(name, ActivityKind::Streaming);
        activity.url = Some(url.into());
        activity.check_url()?;
        Ok(activity)
    }

    /// Listening to something.
    pub fn listening(name: impl Into<String>) -> Self {
        Self::new(name, ActivityKind::Listening)
    }

    /// Watching something.
    pub fn watching(name: impl Into<String>) -> Self {
        Self::new(name, ActivityKind::Watching)
    }

    /// Competing in something.
    pub fn competing(name: impl Into<String>) -> Self {
        Self::new(name, ActivityKind::Competing)
    }

    /// A text of one's own, with no verb before it.
    pub fn custom(text: impl Into<String>) -> Self {
        Self::new(text, ActivityKind::Custom)
    }

    /// Sets the second line, or the text of a custom activity. An empty text takes it away.
    #[must_use]
    pub fn state(mut self, text: impl Into<String>) -> Self {
        self.state = Some(text.into()).filter(|text| !text.is_empty());
        self
    }

    /// The name: what is played, watched and so on. Of a custom activity it is not shown.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind.
    pub const fn kind(&self) -> ActivityKind {
        self.kind
    }

    /// The address of a stream.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The second line, or the text of a custom activity.
    pub fn state_text(&self) -> Option<&str> {
        self.state.as_deref()
    }

    pub(crate) fn check(&self) -> Result<(), CommandError> {
        if self.name.trim().is_empty() {
            return Err(CommandError::bad_value(
                "activities.name",
                "it is empty; give the activity a name",
            ));
        }
        let text = self.state.as_deref().map(str::trim);
        if text == Some("") || (text.is_none() && self.kind == ActivityKind::Custom) {
            return Err(CommandError::bad_value(
                "activities.state",
                "it is empty; give the text to show",
            ));
        }
        self.check_url()
    }

    /// Discord looks at the address of streams only.
    fn check_url(&self) -> Result<(), CommandError> {
        let Some(url) = self.url.as_deref() else {
            return Ok(());
        };
        if self.kind != ActivityKind::Streaming {
            return Ok(());
        }
        if STREAM_HOSTS.iter().any(|host| url.starts_with(host))
            && !url.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Ok(());
        }
        Err(CommandError::bad_value(
            "activities.url",
            "discord shows streams of https://twitch.tv/ and https://youtube.com/ only; give an \
             address that begins so",
        ))
    }
}

impl ActivityKind {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Playing => 0,
            Self::Streaming => 1,
            Self::Listening => 2,
            Self::Watching => 3,
            Self::Custom => 4,
            Self::Competing => 5,
        }
    }

    /// The kind with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Playing,
            1 => Self::Streaming,
            2 => Self::Listening,
            3 => Self::Watching,
            4 => Self::Custom,
            5 => Self::Competing,
            _ => return None,
        })
    }

    /// The word: `playing`, `streaming` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Playing => "playing",
            Self::Streaming => "streaming",
            Self::Listening => "listening",
            Self::Watching => "watching",
            Self::Custom => "custom",
            Self::Competing => "competing",
        }
    }
}

impl FromStr for ActivityKind {
    type Err = ParseActivityKindError;

    /// Reads the words in either case, and the shorter `game` or `play`, `stream`, `music` or
    /// `listen`, `watch`, and `compete`.
    fn from_str(text: &str) -> Result<Self, ParseActivityKindError> {
        match text.to_ascii_lowercase().as_str() {
            "playing" | "play" | "game" => Ok(Self::Playing),
            "streaming" | "stream" => Ok(Self::Streaming),
            "listening" | "listen" | "music" => Ok(Self::Listening),
            "watching" | "watch" => Ok(Self::Watching),
            "custom" => Ok(Self::Custom),
            "competing" | "compete" => Ok(Self::Competing),
            _ => Err(ParseActivityKindError),
        }
    }
}

impl fmt::Display for ActivityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for ActivityKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for ActivityKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::from_number(number)
            .ok_or_else(|| de::Error::custom(format_args!("there is no activity type {number}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(activity: &Activity) -> String {
        serde_json::to_string(activity).unwrap()
    }

    #[test]
    fn each_kind_has_its_wire_form() {
        let stream = Activity::streaming("chess", "https://www.twitch.tv/x").unwrap();
        for (activity, text) in [
            (Activity::playing("a"), r#"{"name":"a","type":0}"#),
            (
                stream,
                r#"{"name":"chess","type":1,"url":"https://www.twitch.tv/x"}"#,
            ),
            (Activity::listening("a"), r#"{"name":"a","type":2}"#),
            (Activity::watching("a"), r#"{"name":"a","type":3}"#),
            (
                Activity::custom("busy"),
                r#"{"name":"Custom Status","type":4,"state":"busy"}"#,
            ),
            (
                Activity::competing("a").state("b"),
                r#"{"name":"a","type":5,"state":"b"}"#,
            ),
        ] {
            assert_eq!(json(&activity), text);
            assert_eq!(activity.check(), Ok(()));
            assert_eq!(serde_json::from_str::<Activity>(text).unwrap(), activity);
        }
        let plain = Activity::playing("a").state("b").state("");
        assert_eq!(json(&plain), r#"{"name":"a","type":0}"#);
    }

    #[test]
    fn it_tells_its_parts() {
        let custom = Activity::custom("busy");
        assert_eq!(custom.name(), "Custom Status");
        assert_eq!(custom.kind(), ActivityKind::Custom);
        assert_eq!(custom.state_text(), Some("busy"));
        let chess = Activity::competing("chess");
        assert_eq!(chess.name(), "chess");
        assert_eq!(chess.kind(), ActivityKind::Competing);
        assert_eq!((chess.state_text(), chess.url()), (None, None));
    }

    #[test]
    fn only_two_sites_stream() {
        for url in [
            "https://twitch.tv/x",
            "https://www.twitch.tv/x",
            "https://youtube.com/watch?v=1",
            "https://www.youtube.com/watch?v=1",
        ] {
            assert_eq!(Activity::streaming("a", url).unwrap().url(), Some(url));
        }
        for url in [
            "",
            "https://twitch.tv",
            "http://twitch.tv/x",
            "https://twitch.tv.evil.example/x",
            "https://example.com/https://twitch.tv/",
            "https://twitch.tv/a b",
            " https://twitch.tv/x",
        ] {
            assert!(
                matches!(
                    Activity::streaming("a", url),
                    Err(CommandError::BadValue { field, .. }) if field == "activities.url"
                ),
                "{url}"
            );
        }
    }

    #[test]
    fn empty_texts_are_found() {
        for activity in [
            Activity::playing(""),
            Activity::playing(" \n"),
            Activity::custom(""),
            Activity::custom("x").state(""),
            Activity::playing("a").state(" "),
        ] {
            assert!(activity.check().is_err(), "{activity:?}");
        }
    }

    #[test]
    fn kinds_are_read_from_text_and_number() {
        for (number, words) in [
            (0, &["playing", "game", "Play"][..]),
            (1, &["streaming", "stream"]),
            (2, &["listening", "music", "LISTEN"]),
            (3, &["watching", "watch"]),
            (4, &["custom"]),
            (5, &["competing", "compete"]),
        ] {
            for word in words {
                assert_eq!(word.parse::<ActivityKind>().unwrap().number(), number);
            }
            let kind = ActivityKind::from_number(number).unwrap();
            assert_eq!(kind.to_string(), words[0]);
        }
        assert_eq!(ActivityKind::from_number(6), None);
        assert_eq!("".parse::<ActivityKind>(), Err(ParseActivityKindError));
        assert!(serde_json::from_str::<ActivityKind>("6").is_err());
    }
}
