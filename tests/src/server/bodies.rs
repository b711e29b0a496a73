//! The bodies of what the server says by itself.

use serde_json::{Value, json};

use super::config::ServerConfig;
use super::io::Shard;

/// The bot's own id, and its application's.
const BOT: &str = "1090000000000000001";

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

pub(super) fn ready(
    config: &ServerConfig,
    session: &str,
    shard: Option<Shard>,
    guilds: &[u64],
) -> String {
    let mut body = json!({
        "v": 10,
        "user": {"id": BOT, "username": "emulated", "discriminator": "0001", "bot": true,
                 "avatar": null, "global_name": null, "verified": true, "mfa_enabled": true,
                 "email": null, "flags": 0},
        "user_settings": {},
        "session_id": session,
        "session_type": "normal",
        "relationships": [],
        "private_channels": [],
        "presences": [],
        "guilds": guilds.iter().map(|id| json!({"id": id.to_string(), "unavailable": true}))
            .collect::<Vec<_>>(),
        "application": {"id": BOT, "flags": 565_248},
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
    let mut body = json!({
        "id": id, "name": format!("Guild {}", guild >> 22), "unavailable": false, "large": false,
        "owner_id": BOT, "member_count": config.members_per_guild,
        "joined_at": "2024-01-01T00:00:00.000000+00:00", "preferred_locale": "en-US",
        "verification_level": 0, "default_message_notifications": 0,
        "explicit_content_filter": 0, "mfa_level": 0, "nsfw_level": 0, "premium_tier": 0,
        "afk_timeout": 300, "system_channel_flags": 0, "premium_progress_bar_enabled": false,
        "roles": [{"id": id, "name": "@everyone", "color": 0, "hoist": false, "position": 0,
                   "permissions": "104324673", "managed": false, "mentionable": false,
                   "flags": 0}],
        "channels": [{"id": (guild + 1).to_string(), "type": 0, "name": "general",
                      "position": 0, "permission_overwrites": [], "topic": null,
                      "last_message_id": null, "parent_id": null, "nsfw": false}],
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
const EMPTY_LISTS: [&str; 10] = [
    "emojis",
    "features",
    "guild_scheduled_events",
    "members",
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

/// The `n`-th member of a guild.
pub(super) fn member(guild: u64, n: u64) -> Value {
    json!({
        "user": {"id": member_id(guild, n).to_string(), "username": member_name(n),
                 "discriminator": "0", "global_name": null, "avatar": null},
        "nick": null, "avatar": null, "roles": [], "flags": 0, "pending": false,
        "joined_at": "2024-01-01T00:00:00.000000+00:00", "premium_since": null,
        "deaf": false, "mute": false, "communication_disabled_until": null,
    })
}

pub(super) fn member_id(guild: u64, n: u64) -> u64 {
    guild.wrapping_add(1_000).wrapping_add(n)
}

pub(super) fn member_name(n: u64) -> String {
    format!("user{n:05}")
}

pub(super) fn own_voice_state(
    guild: u64,
    channel: Option<u64>,
    session: &str,
    mute: bool,
    deaf: bool,
) -> String {
    json!({
        "guild_id": guild.to_string(), "channel_id": channel.map(|id| id.to_string()),
        "user_id": BOT, "session_id": session, "self_mute": mute, "self_deaf": deaf,
        "self_video": false, "mute": false, "deaf": false, "suppress": false,
        "request_to_speak_timestamp": null,
    })
    .to_string()
}
