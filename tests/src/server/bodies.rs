//! The bodies of what the server says by itself.

use serde_json::{Value, json};

use super::config::ServerConfig;
use super::io::Shard;

/// The bot's own id, and its application's.
const BOT: &str = "1090000000000000001";
const BOT_NAME: &str = "emulated";

/// When everyone joined.
const JOINED: &str = "2024-01-01T00:00:00.000000+00:00";

/// Whoever made the application.
const OWNER: &str = "1090000000000000002";

/// The privileged intents, as a bot in few guilds has them.
const APPLICATION_FLAGS: u64 = 565_248;

/// Guild ids count up from here, one a step, so that they spread evenly over the shards.
const FIRST_GUILD: u64 = 200_000_000_000;

/// The guilds a shard sees; the layouts of one bot share them.
pub(super) fn guilds(config: &ServerConfig, shard: Shard) -> Vec<u64> {
    let total = shard.total.max(1);
    let all = config
        .total_guilds
        .unwrap_or_else(|| config.guilds_per_shard.saturating_mul(total));
    let first = (total + shard.number - FIRST_GUILD % total) % total;
    (first..all)
        .step_by(usize::try_from(total).unwrap_or(usize::MAX))
        .map(|n| ((FIRST_GUILD + n) << 22) | (n & 0x3FF))
        .collect()
}

/// Text of so many bytes that compresses well and needs no escape.
pub(super) fn filler(bytes: usize) -> String {
    const BRICK: &str = "abcdefghijklmnop";
    let mut text = BRICK.repeat(bytes.div_ceil(BRICK.len()));
    text.truncate(bytes);
    text
}

pub(super) fn hello(interval: &Value) -> String {
    format!(
        r#"{{"t":null,"s":null,"op":10,"d":{{"heartbeat_interval":{interval},"_trace":["[\"emulated\",{{}}]"]}}}}"#
    )
}

/// A payload that is no dispatch; a body of `"absent"` is left out.
pub(super) fn control(op: u64, d: &Value) -> String {
    if d == "absent" {
        format!(r#"{{"t":null,"s":null,"op":{op}}}"#)
    } else {
        format!(r#"{{"t":null,"s":null,"op":{op},"d":{d}}}"#)
    }
}

/// The bot as it sees itself.
pub(super) fn own_user() -> Value {
    json!({"id": BOT, "username": BOT_NAME, "discriminator": "0001", "bot": true, "avatar": null,
           "global_name": null, "verified": true, "mfa_enabled": true, "email": null, "flags": 0})
}

/// The bot's application as the bot sees it.
pub(super) fn application(config: &ServerConfig) -> Value {
    let guilds = config
        .total_guilds
        .unwrap_or_else(|| config.guilds_per_shard.saturating_mul(config.shards));
    json!({
        "id": BOT, "name": BOT_NAME, "icon": null, "description": "", "summary": "",
        "type": null, "bot": own_user(), "bot_public": true, "bot_require_code_grant": false,
        "verify_key": "00".repeat(32), "flags": APPLICATION_FLAGS, "hook": true, "tags": [],
        "owner": {"id": OWNER, "username": "owner", "discriminator": "0", "avatar": null,
                  "global_name": null, "public_flags": 0},
        "team": null, "redirect_uris": [], "interactions_endpoint_url": null,
        "approximate_guild_count": guilds,
    })
}

pub(super) fn ready(
    config: &ServerConfig,
    session: &str,
    shard: Option<Shard>,
    guilds: &[u64],
) -> String {
    let mut body = json!({
        "v": 10,
        "user": own_user(),
        "user_settings": {},
        "session_id": session,
        "session_type": "normal",
        "relationships": [],
        "private_channels": [],
        "presences": [],
        "guilds": guilds.iter().map(|id| json!({"id": id.to_string(), "unavailable": true}))
            .collect::<Vec<_>>(),
        "application": {"id": BOT, "flags": APPLICATION_FLAGS},
        "_trace": ["[\"emulated\",{}]"],
    });
    let map = body.as_object_mut().expect("an object was just made");
    match &config.ready_resume_url {
        Some(Value::String(text)) if text == "absent" => {}
        Some(value) => {
            map.insert("resume_gateway_url".to_owned(), value.clone());
        }
        None => {
            map.insert(
                "resume_gateway_url".to_owned(),
                config.resume_url.clone().into(),
            );
        }
    }
    if let Some(shard) = shard {
        map.insert("shard".to_owned(), json!([shard.number, shard.total]));
    }
    if config.ready_filler > 0 {
        map.insert("_filler".to_owned(), filler(config.ready_filler).into());
    }
    body.to_string()
}

pub(super) fn guild_create(config: &ServerConfig, guild: u64) -> String {
    let id = guild.to_string();
    let members = Members::of(config, guild);
    let mut body = json!({
        "id": id, "name": format!("Guild {}", guild >> 22), "unavailable": false, "large": false,
        "owner_id": BOT, "member_count": members.count,
        "joined_at": JOINED, "preferred_locale": "en-US",
        "verification_level": 0, "default_message_notifications": 0,
        "explicit_content_filter": 0, "mfa_level": 0, "nsfw_level": 0, "premium_tier": 0,
        "afk_timeout": 300, "system_channel_flags": 0, "premium_progress_bar_enabled": false,
        "roles": [{"id": id, "name": "@everyone", "color": 0, "colors": {"primary_color": 0,
                   "secondary_color": null, "tertiary_color": null}, "hoist": false, "position": 0,
                   "permissions": "104324673", "managed": false, "mentionable": false,
                   "flags": 0}],
        "channels": [{"id": (guild + 1).to_string(), "type": 0, "name": "general",
                      "position": 0, "permission_overwrites": [], "topic": null,
                      "last_message_id": null, "parent_id": null, "nsfw": false}],
        // As without GUILD_PRESENCES or in a very large guild: the bot alone.
        "members": [members.bot()],
    });
    for list in EMPTY_LISTS {
        body[list] = json!([]);
    }
    for key in NULLS {
        body[key] = Value::Null;
    }
    if config.guild_filler > 0 {
        body["_filler"] = filler(config.guild_filler).into();
    }
    body.to_string()
}

/// Lists of a guild that are empty here.
const EMPTY_LISTS: [&str; 9] = [
    "emojis",
    "features",
    "guild_scheduled_events",
    "presences",
    "soundboard_sounds",
    "stage_instances",
    "stickers",
    "threads",
    "voice_states",
];

/// Fields of a guild that are null here.
const NULLS: [&str; 11] = [
    "afk_channel_id",
    "application_id",
    "banner",
    "description",
    "discovery_splash",
    "icon",
    "public_updates_channel_id",
    "rules_channel_id",
    "splash",
    "system_channel_id",
    "vanity_url_code",
];

/// The members of a guild, by number: invented ones, and the last is the bot itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Members {
    guild: u64,
    /// How many there are; at least the bot.
    pub(super) count: u64,
}

impl Members {
    pub(super) fn of(config: &ServerConfig, guild: u64) -> Self {
        let count = config.members_per_guild.max(1);
        Self { guild, count }
    }

    fn is_bot(self, n: u64) -> bool {
        n + 1 == self.count
    }

    pub(super) fn id(self, n: u64) -> String {
        if self.is_bot(n) {
            BOT.to_owned()
        } else {
            self.guild.wrapping_add(1_000).wrapping_add(n).to_string()
        }
    }

    /// The number of the member with this id.
    pub(super) fn find(self, id: u64) -> Option<u64> {
        if id.to_string() == BOT {
            return Some(self.count - 1);
        }
        let n = id.checked_sub(self.guild.wrapping_add(1_000))?;
        (n + 1 < self.count).then_some(n)
    }

    pub(super) fn name(self, n: u64) -> String {
        if self.is_bot(n) {
            BOT_NAME.to_owned()
        } else {
            format!("user{n:05}")
        }
    }

    pub(super) fn member(self, n: u64) -> Value {
        let user = if self.is_bot(n) {
            json!({"id": BOT, "username": BOT_NAME, "discriminator": "0001", "bot": true,
                   "global_name": null, "avatar": null})
        } else {
            json!({"id": self.id(n), "username": self.name(n), "discriminator": "0",
                   "global_name": null, "avatar": null})
        };
        json!({
            "user": user, "nick": null, "avatar": null, "roles": [], "flags": 0, "pending": false,
            "joined_at": JOINED, "premium_since": null, "deaf": false, "mute": false,
            "communication_disabled_until": null,
        })
    }

    pub(super) fn bot(self) -> Value {
        self.member(self.count - 1)
    }
}

pub(super) fn own_voice_state(
    members: Members,
    channel: Option<u64>,
    session: &str,
    mute: bool,
    deaf: bool,
) -> String {
    json!({
        "guild_id": members.guild.to_string(), "channel_id": channel.map(|id| id.to_string()),
        "user_id": BOT, "member": members.bot(), "session_id": session, "self_mute": mute, "self_deaf": deaf,
        "self_video": false, "mute": false, "deaf": false, "suppress": false,
        "request_to_speak_timestamp": null,
    })
    .to_string()
}
