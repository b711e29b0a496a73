//! Which groups of events a bot asks Discord for.
//!
//! The bits are sent in Identify and stay fixed for the session. An undefined bit ends in close
//! 4013, a privileged one that the developer portal has not enabled in 4014.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub, SubAssign};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// A set of gateway intents: which events Discord sends.
///
/// Serde writes the number and reads it back with the check of [`from_bits`](Self::from_bits).
/// A text is parsed as a list of names; see the `FromStr` implementation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Intents(u64);

macro_rules! intents {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Intents {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
        }

        /// Every intent under its present name, in the order of the bits.
        pub(crate) const NAMED: &[(&str, Intents)] =
            &[$((stringify!($name), Intents::$name),)*];
    };
}

intents! {
    /// Guilds, roles, channels, threads and stages coming, changing and going. Without it the bot
    /// does not learn which guilds it is in.
    GUILDS = 0;
    /// Privileged. Members joining, changing and leaving, and whole member lists.
    GUILD_MEMBERS = 1;
    /// Bans and audit log entries. Once called `GUILD_BANS`.
    GUILD_MODERATION = 2;
    /// Emojis, stickers and soundboard sounds. Once `GUILD_EMOJIS_AND_STICKERS`.
    GUILD_EXPRESSIONS = 3;
    /// Integrations.
    GUILD_INTEGRATIONS = 4;
    /// Webhooks of channels changing.
    GUILD_WEBHOOKS = 5;
    /// Invites made and deleted.
    GUILD_INVITES = 6;
    /// Who is in which voice channel. Needed to join voice.
    GUILD_VOICE_STATES = 7;
    /// Privileged. Members' status and activities.
    GUILD_PRESENCES = 8;
    /// Messages in guilds.
    GUILD_MESSAGES = 9;
    /// Reactions in guilds.
    GUILD_MESSAGE_REACTIONS = 10;
    /// Typing in guilds.
    GUILD_MESSAGE_TYPING = 11;
    /// Direct messages to the bot.
    DIRECT_MESSAGES = 12;
    /// Reactions in direct messages.
    DIRECT_MESSAGE_REACTIONS = 13;
    /// Typing in direct messages.
    DIRECT_MESSAGE_TYPING = 14;
    /// Privileged. Brings no event; fills the text, embeds, attachments, components and polls of
    /// messages, which arrive empty without it.
    MESSAGE_CONTENT = 15;
    /// Scheduled events of guilds.
    GUILD_SCHEDULED_EVENTS = 16;
    /// Auto moderation rules.
    AUTO_MODERATION_CONFIGURATION = 20;
    /// Auto moderation at work.
    AUTO_MODERATION_EXECUTION = 21;
    /// Votes in polls of guilds.
    GUILD_MESSAGE_POLLS = 24;
    /// Votes in polls of direct messages.
    DIRECT_MESSAGE_POLLS = 25;
}

impl Intents {
    /// No intent. Legal: interactions and a few other events come all the same.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Every defined intent, the privileged ones included.
    pub const fn all() -> Self {
        Self(53_608_447)
    }

    /// The three that must be enabled in the developer portal, or Discord closes with 4014.
    pub const fn privileged() -> Self {
        Self(Self::GUILD_MEMBERS.0 | Self::GUILD_PRESENCES.0 | Self::MESSAGE_CONTENT.0)
    }

    /// Every intent that any bot may ask for. This is the default.
    pub const fn non_privileged() -> Self {
        Self::all().difference(Self::privileged())
    }

    /// The number that goes into Identify.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set with these bits; `None` if one of them is undefined, which Discord would answer
    /// with close 4013.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits & !Self::all().0 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The set with these bits, undefined ones included: for an intent that is newer than this
    /// crate.
    pub const fn from_bits_retain(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether at least one of `other` is in this set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes `other` out.
    pub const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// The present names of the intents in the set, in the order of the bits. Undefined bits have
    /// no name.
    pub fn iter_names(self) -> impl Iterator<Item = (&'static str, Self)> {
        NAMED
            .iter()
            .copied()
            .filter(move |&(_, intent)| self.contains(intent))
    }

    /// Which intents bring the event: any one of the set is enough (`MESSAGE_CREATE` comes by
    /// [`GUILD_MESSAGES`](Self::GUILD_MESSAGES) and by
    /// [`DIRECT_MESSAGES`](Self::DIRECT_MESSAGES), each for its own messages). An empty set: the
    /// event is sent whatever the intents. `None`: the event is not documented.
    ///
    /// `event` is Discord's spelling, such as `GUILD_CREATE`.
    pub fn for_event(event: &str) -> Option<Self> {
        Some(match event {
            "READY"
            | "RESUMED"
            | "RATE_LIMITED"
            | "APPLICATION_COMMAND_PERMISSIONS_UPDATE"
            | "INTERACTION_CREATE"
            | "GUILD_MEMBERS_CHUNK"
            | "SOUNDBOARD_SOUNDS"
            | "CHANNEL_INFO"
            | "ENTITLEMENT_CREATE"
            | "ENTITLEMENT_UPDATE"
            | "ENTITLEMENT_DELETE"
            | "SUBSCRIPTION_CREATE"
            | "SUBSCRIPTION_UPDATE"
            | "SUBSCRIPTION_DELETE"
            | "USER_UPDATE"
            | "VOICE_SERVER_UPDATE" => Self::empty(),

            "GUILD_CREATE"
            | "GUILD_UPDATE"
            | "GUILD_DELETE"
            | "GUILD_ROLE_CREATE"
            | "GUILD_ROLE_UPDATE"
            | "GUILD_ROLE_DELETE"
            | "CHANNEL_CREATE"
            | "CHANNEL_UPDATE"
            | "CHANNEL_DELETE"
            | "THREAD_CREATE"
            | "THREAD_UPDATE"
            | "THREAD_DELETE"
            | "THREAD_LIST_SYNC"
            | "THREAD_MEMBER_UPDATE"
            | "STAGE_INSTANCE_CREATE"
            | "STAGE_INSTANCE_UPDATE"
            | "STAGE_INSTANCE_DELETE"
            | "VOICE_CHANNEL_STATUS_UPDATE"
            | "VOICE_CHANNEL_START_TIME_UPDATE" => Self::GUILDS,

            "CHANNEL_PINS_UPDATE" => Self::GUILDS.union(Self::DIRECT_MESSAGES),
            // With GUILDS alone only the bot's own membership is told.
            "THREAD_MEMBERS_UPDATE" => Self::GUILDS.union(Self::GUILD_MEMBERS),
            "GUILD_MEMBER_ADD" | "GUILD_MEMBER_UPDATE" | "GUILD_MEMBER_REMOVE" => {
                Self::GUILD_MEMBERS
            }
            "GUILD_AUDIT_LOG_ENTRY_CREATE" | "GUILD_BAN_ADD" | "GUILD_BAN_REMOVE" => {
                Self::GUILD_MODERATION
            }
            "GUILD_EMOJIS_UPDATE"
            | "GUILD_STICKERS_UPDATE"
            | "GUILD_SOUNDBOARD_SOUND_CREATE"
            | "GUILD_SOUNDBOARD_SOUND_UPDATE"
            | "GUILD_SOUNDBOARD_SOUND_DELETE"
            | "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => Self::GUILD_EXPRESSIONS,
            "GUILD_INTEGRATIONS_UPDATE"
            | "INTEGRATION_CREATE"
            | "INTEGRATION_UPDATE"
            | "INTEGRATION_DELETE" => Self::GUILD_INTEGRATIONS,
            "WEBHOOKS_UPDATE" => Self::GUILD_WEBHOOKS,
            "INVITE_CREATE" | "INVITE_DELETE" => Self::GUILD_INVITES,
            "VOICE_STATE_UPDATE" | "VOICE_CHANNEL_EFFECT_SEND" => Self::GUILD_VOICE_STATES,
            "PRESENCE_UPDATE" => Self::GUILD_PRESENCES,
            "MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" => {
                Self::GUILD_MESSAGES.union(Self::DIRECT_MESSAGES)
            }
            "MESSAGE_DELETE_BULK" => Self::GUILD_MESSAGES,
            "MESSAGE_REACTION_ADD"
            | "MESSAGE_REACTION_REMOVE"
            | "MESSAGE_REACTION_REMOVE_ALL"
            | "MESSAGE_REACTION_REMOVE_EMOJI" => {
                Self::GUILD_MESSAGE_REACTIONS.union(Self::DIRECT_MESSAGE_REACTIONS)
            }
            "TYPING_START" => Self::GUILD_MESSAGE_TYPING.union(Self::DIRECT_MESSAGE_TYPING),
            "GUILD_SCHEDULED_EVENT_CREATE"
            | "GUILD_SCHEDULED_EVENT_UPDATE"
            | "GUILD_SCHEDULED_EVENT_DELETE"
            | "GUILD_SCHEDULED_EVENT_USER_ADD"
            | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => Self::GUILD_SCHEDULED_EVENTS,
            "AUTO_MODERATION_RULE_CREATE"
            | "AUTO_MODERATION_RULE_UPDATE"
            | "AUTO_MODERATION_RULE_DELETE" => Self::AUTO_MODERATION_CONFIGURATION,
            "AUTO_MODERATION_ACTION_EXECUTION" => Self::AUTO_MODERATION_EXECUTION,
            "MESSAGE_POLL_VOTE_ADD" | "MESSAGE_POLL_VOTE_REMOVE" => {
                Self::GUILD_MESSAGE_POLLS.union(Self::DIRECT_MESSAGE_POLLS)
            }
            _ => return None,
        })
    }
}

impl Default for Intents {
    /// [`Intents::non_privileged`].
    fn default() -> Self {
        Self::non_privileged()
    }
}

impl BitOr for Intents {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Intents {
    fn bitor_assign(&mut self, other: Self) {
        self.insert(other);
    }
}

impl BitAnd for Intents {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl Sub for Intents {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.difference(other)
    }
}

impl SubAssign for Intents {
    fn sub_assign(&mut self, other: Self) {
        self.remove(other);
    }
}

impl FromIterator<Self> for Intents {
    fn from_iter<I: IntoIterator<Item = Self>>(intents: I) -> Self {
        intents.into_iter().fold(Self::empty(), Self::union)
    }
}

impl Extend<Self> for Intents {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, intents: I) {
        intents.into_iter().for_each(|intent| self.insert(intent));
    }
}

impl fmt::Debug for Intents {
    /// Names joined by `|`; undefined bits as a hexadecimal number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intents(")?;
        let mut joint = "";
        for (name, _) in self.iter_names() {
            write!(f, "{joint}{name}")?;
            joint = " | ";
        }
        let undefined = self.difference(Self::all()).bits();
        if undefined != 0 {
            write!(f, "{joint}{undefined:#x}")?;
        } else if self.is_empty() {
            f.write_str("none")?;
        }
        f.write_str(")")
    }
}

impl Serialize for Intents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Intents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u64::deserialize(deserializer)?;
        Self::from_bits(bits)
            .ok_or_else(|| de::Error::custom(format_args!("{bits:#x} has undefined intent bits")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_discords() {
        assert_eq!(NAMED.len(), 21);
        assert_eq!(Intents::all().bits(), 53_608_447);
        assert_eq!(
            NAMED.iter().map(|named| named.1).collect::<Intents>(),
            Intents::all()
        );
        assert_eq!(Intents::privileged().bits(), 33_026);
        assert_eq!(Intents::non_privileged().bits(), 53_575_421);
        assert_eq!(Intents::default().bits(), 53_575_421);
        assert_eq!(Intents::empty().bits(), 0);
        for (intents, bits) in [
            (Intents::GUILDS, 1),
            (Intents::GUILD_MODERATION, 4),
            (Intents::GUILD_EXPRESSIONS, 8),
            (Intents::GUILD_MESSAGES, 512),
            (Intents::MESSAGE_CONTENT, 32_768),
            (Intents::GUILD_SCHEDULED_EVENTS, 65_536),
            (Intents::AUTO_MODERATION_CONFIGURATION, 1_048_576),
            (Intents::AUTO_MODERATION_EXECUTION, 2_097_152),
            (Intents::GUILD_MESSAGE_POLLS, 16_777_216),
            (Intents::DIRECT_MESSAGE_POLLS, 33_554_432),
        ] {
            assert_eq!(intents.bits(), bits);
        }
    }

    #[test]
    fn undefined_bits_are_refused_unless_asked_for() {
        for bit in [17, 18, 19, 22, 23, 26, 32, 63] {
            assert_eq!(Intents::from_bits(1 | 1 << bit), None, "{bit}");
            assert_eq!(Intents::from_bits_retain(1 << bit).bits(), 1 << bit);
        }
        assert_eq!(Intents::from_bits(53_608_447), Some(Intents::all()));
    }

    #[test]
    fn it_works_as_a_set() {
        let mut set = Intents::GUILDS | Intents::GUILD_MESSAGES;
        assert_eq!(set.bits(), 513);
        assert!(set.contains(Intents::GUILDS) && !set.contains(Intents::all()));
        assert!(set.intersects(Intents::all()) && !set.intersects(Intents::GUILD_MEMBERS));
        assert_eq!((set - Intents::GUILDS).bits(), 512);
        assert_eq!((set & Intents::GUILDS).bits(), 1);
        set.insert(Intents::GUILD_MEMBERS);
        set.remove(Intents::GUILDS);
        set |= Intents::GUILD_MODERATION;
        assert_eq!(set.bits(), 518);
        let names: Vec<_> = set.iter_names().map(|named| named.0).collect();
        assert_eq!(
            names,
            ["GUILD_MEMBERS", "GUILD_MODERATION", "GUILD_MESSAGES"]
        );
        set.extend([Intents::GUILDS, Intents::GUILD_MESSAGE_TYPING]);
        assert_eq!(set.bits(), 518 + 1 + 2048);
        set -= Intents::GUILD_MEMBERS | Intents::GUILD_INVITES;
        assert_eq!(set.bits(), 516 + 1 + 2048);
        assert!(Intents::empty().is_empty());
    }

    #[test]
    fn debug_names_the_members() {
        let set = Intents::GUILDS | Intents::GUILD_MESSAGES;
        assert_eq!(format!("{set:?}"), "Intents(GUILDS | GUILD_MESSAGES)");
        assert_eq!(format!("{:?}", Intents::empty()), "Intents(none)");
        let odd = Intents::from_bits_retain(1 << 17 | 1);
        assert_eq!(format!("{odd:?}"), "Intents(GUILDS | 0x20000)");
    }

    #[test]
    fn serde_uses_the_number() {
        assert_eq!(serde_json::to_string(&Intents::all()).unwrap(), "53608447");
        assert_eq!(serde_json::from_str::<Intents>("513").unwrap().bits(), 513);
        for text in ["131072", "-1", "\"GUILDS\"", "1.0", "null"] {
            assert!(serde_json::from_str::<Intents>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn events_know_their_intents() {
        for (event, bits) in [
            ("READY", 0),
            ("CHANNEL_INFO", 0),
            ("VOICE_SERVER_UPDATE", 0),
            ("GUILD_CREATE", 1),
            ("VOICE_CHANNEL_STATUS_UPDATE", 1),
            ("THREAD_MEMBERS_UPDATE", 1 + 2),
            ("GUILD_MEMBER_ADD", 2),
            ("GUILD_MEMBER_UPDATE", 2),
            ("GUILD_MEMBER_REMOVE", 2),
            ("GUILD_BAN_ADD", 4),
            ("GUILD_SOUNDBOARD_SOUNDS_UPDATE", 8),
            ("INTEGRATION_DELETE", 16),
            ("WEBHOOKS_UPDATE", 32),
            ("INVITE_CREATE", 64),
            ("VOICE_CHANNEL_EFFECT_SEND", 128),
            ("PRESENCE_UPDATE", 256),
            ("MESSAGE_CREATE", 512 + 4096),
            ("MESSAGE_DELETE_BULK", 512),
            ("MESSAGE_REACTION_REMOVE_EMOJI", 1024 + 8192),
            ("TYPING_START", 2048 + 16_384),
            ("CHANNEL_PINS_UPDATE", 1 + 4096),
            ("GUILD_SCHEDULED_EVENT_USER_ADD", 65_536),
            ("AUTO_MODERATION_RULE_UPDATE", 1_048_576),
            ("AUTO_MODERATION_ACTION_EXECUTION", 2_097_152),
            ("MESSAGE_POLL_VOTE_ADD", 16_777_216 + 33_554_432),
        ] {
            assert_eq!(
                Intents::for_event(event).map(Intents::bits),
                Some(bits),
                "{event}"
            );
        }
        for event in ["", "HELLO", "guild_create", "PRESENCES_REPLACE"] {
            assert_eq!(Intents::for_event(event), None, "{event}");
        }
    }
}
