//! The intent bits, and which of them an event needs.

/// Every defined bit.
pub const ALL: u64 = 53_608_447;
/// The bits Discord grants on request only.
pub const PRIVILEGED: u64 = 33_026;

pub(super) const GUILDS: u64 = 1;
pub(super) const GUILD_MEMBERS: u64 = 1 << 1;
pub(super) const GUILD_VOICE_STATES: u64 = 1 << 7;
pub(super) const GUILD_PRESENCES: u64 = 1 << 8;

/// The bits of which a session needs at least one to get this event; 0: it always comes.
#[must_use]
pub fn needed(event: &str) -> u64 {
    const MESSAGES: u64 = (1 << 9) | (1 << 12);
    match event {
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
        | "VOICE_CHANNEL_START_TIME_UPDATE" => GUILDS,
        "CHANNEL_PINS_UPDATE" => GUILDS | (1 << 12),
        "THREAD_MEMBERS_UPDATE" => GUILDS | GUILD_MEMBERS,
        "GUILD_MEMBER_ADD" | "GUILD_MEMBER_UPDATE" | "GUILD_MEMBER_REMOVE" => GUILD_MEMBERS,
        "GUILD_AUDIT_LOG_ENTRY_CREATE" | "GUILD_BAN_ADD" | "GUILD_BAN_REMOVE" => 1 << 2,
        "GUILD_EMOJIS_UPDATE"
        | "GUILD_STICKERS_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_CREATE"
        | "GUILD_SOUNDBOARD_SOUND_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_DELETE"
        | "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => 1 << 3,
        "GUILD_INTEGRATIONS_UPDATE"
        | "INTEGRATION_CREATE"
        | "INTEGRATION_UPDATE"
        | "INTEGRATION_DELETE" => 1 << 4,
        "WEBHOOKS_UPDATE" => 1 << 5,
        "INVITE_CREATE" | "INVITE_DELETE" => 1 << 6,
        "VOICE_STATE_UPDATE" | "VOICE_CHANNEL_EFFECT_SEND" => GUILD_VOICE_STATES,
        "PRESENCE_UPDATE" => GUILD_PRESENCES,
        "MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" => MESSAGES,
        "MESSAGE_DELETE_BULK" => 1 << 9,
        "MESSAGE_REACTION_ADD"
        | "MESSAGE_REACTION_REMOVE"
        | "MESSAGE_REACTION_REMOVE_ALL"
        | "MESSAGE_REACTION_REMOVE_EMOJI" => (1 << 10) | (1 << 13),
        "TYPING_START" => (1 << 11) | (1 << 14),
        "GUILD_SCHEDULED_EVENT_CREATE"
        | "GUILD_SCHEDULED_EVENT_UPDATE"
        | "GUILD_SCHEDULED_EVENT_DELETE"
        | "GUILD_SCHEDULED_EVENT_USER_ADD"
        | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => 1 << 16,
        "AUTO_MODERATION_RULE_CREATE"
        | "AUTO_MODERATION_RULE_UPDATE"
        | "AUTO_MODERATION_RULE_DELETE" => 1 << 20,
        "AUTO_MODERATION_ACTION_EXECUTION" => 1 << 21,
        "MESSAGE_POLL_VOTE_ADD" | "MESSAGE_POLL_VOTE_REMOVE" => (1 << 24) | (1 << 25),
        _ => 0,
    }
}

/// Whether a session with these intents gets this event.
#[must_use]
pub fn pass(intents: u64, event: &str) -> bool {
    let needed = needed(event);
    needed == 0 || needed & intents != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_masks_are_made_of_the_defined_bits() {
        let bits = (0..=16).chain([20, 21, 24, 25]);
        assert_eq!(bits.map(|bit| 1u64 << bit).sum::<u64>(), ALL);
        assert_eq!((1 << 1) | (1 << 8) | (1 << 15), PRIVILEGED);
        assert!(pass(0, "READY") && !pass(0, "GUILD_CREATE") && pass(1, "GUILD_CREATE"));
    }
}
