//! Knows when the guilds of a new session are loaded: READY lists them, each comes by itself afterwards.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{GuildId, Intents};

/// The guilds of one session that have not come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuildTracker {
    waiting: BTreeSet<GuildId>,
    missing: BTreeSet<GuildId>,
    loaded: usize,
}

/// A guild, as far as this needs it: of READY, `GUILD_CREATE` or `GUILD_DELETE`.
#[derive(Deserialize)]
struct Guild {
    id: GuildId,
    #[serde(default)]
    unavailable: Option<bool>,
}

#[derive(Deserialize)]
struct Guilds {
    #[serde(default)]
    guilds: Vec<Guild>,
}

impl GuildTracker {
    /// What is to be waited for after this READY: nothing without the intent to be told of guilds, or if
    /// its list cannot be read.
    pub(crate) fn of_ready(ready: &[u8], intents: Intents) -> Self {
        let listed = serde_json::from_slice(ready).ok();
        let listed = listed.filter(|_| intents.contains(Intents::GUILDS));
        let guilds = listed.map_or_else(Vec::new, |ready: Guilds| ready.guilds);
        Self {
            waiting: guilds.into_iter().map(|guild| guild.id).collect(),
            missing: BTreeSet::new(),
            loaded: 0,
        }
    }

    /// A dispatch came. True if it brought a guild that was waited for, or the news that it will not come.
    pub(crate) fn saw(&mut self, name: &str, body: &[u8]) -> bool {
        let created = match name {
            "GUILD_CREATE" => true,
            "GUILD_DELETE" => false,
            _ => return false,
        };
        let Ok(guild) = serde_json::from_slice::<Guild>(body) else {
            return false;
        };
        if !self.waiting.remove(&guild.id) {
            return false;
        }
        if guild.unavailable == Some(true) {
            // An outage: it is still one of the bot's guilds.
            self.missing.insert(guild.id);
        } else {
            self.loaded += usize::from(created);
        }
        true
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many have come, and which have not.
    pub(crate) fn outcome(self) -> (usize, Vec<GuildId>) {
        let missing = self.missing.union(&self.waiting).copied().collect();
        (self.loaded, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &[u8] = br#"{"v":10,"guilds":[{"id":"1","unavailable":true},{"id":"2","unavailable":true},{"id":"3","unavailable":true}]}"#;

    fn id(number: u64) -> GuildId {
        GuildId::from(number)
    }

    #[test]
    fn guilds_are_waited_for_until_each_has_come_or_will_not() {
        let mut tracker = GuildTracker::of_ready(READY, Intents::GUILDS);
        assert!(!tracker.saw("MESSAGE_CREATE", br#"{"id":"1"}"#));
        assert!(tracker.saw("GUILD_CREATE", br#"{"name":"x","id":"1"}"#));
        assert!(!tracker.saw("GUILD_CREATE", br#"{"id":"1"}"#), "twice");
        assert!(!tracker.saw("GUILD_CREATE", br#"{"id":"9"}"#), "a new one");
        assert!(tracker.saw("GUILD_CREATE", br#"{"id":"2","unavailable":true}"#));
        assert!(!tracker.is_done());
        assert!(
            tracker.saw("GUILD_DELETE", br#"{"id":"3"}"#),
            "the bot has left it"
        );
        assert!(tracker.is_done());
        assert_eq!(tracker.outcome(), (1, vec![id(2)]));
    }

    #[test]
    fn what_has_not_come_is_missing() {
        let mut tracker = GuildTracker::of_ready(READY, Intents::GUILDS);
        tracker.saw("GUILD_DELETE", br#"{"id":"3","unavailable":true}"#);
        tracker.saw("GUILD_CREATE", br#"{"id":"2"}"#);
        assert_eq!(tracker.outcome(), (1, vec![id(1), id(3)]));
    }

    #[test]
    fn without_the_intent_nothing_is_waited_for() {
        let tracker = GuildTracker::of_ready(READY, Intents::GUILD_MESSAGES);
        assert!(tracker.is_done());
        assert_eq!(tracker.outcome(), (0, vec![]));
    }

    #[test]
    fn what_cannot_be_read_is_not_waited_for() {
        for ready in [&b"{}"[..], b"{\"guilds\":7}", b"[]", b""] {
            assert!(GuildTracker::of_ready(ready, Intents::all()).is_done());
        }
        let mut tracker = GuildTracker::of_ready(READY, Intents::GUILDS);
        assert!(!tracker.saw("GUILD_CREATE", b"{\"id\":[]}"));
    }
}
