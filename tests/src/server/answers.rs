//! What the gateway answers to commands.

use serde_json::{Value, json};

use super::client::{Members, Voice, Which};
use super::io::ConnId;
use super::log::Violation;
use super::session::SessionKey;
use super::{ServerMachine, bodies, intents};

/// Ids answered per request.
const MAX_IDS: usize = 100;
/// Members answered to a prefix.
const MAX_FOUND: u64 = 100;
/// Bytes of a nonce.
const MAX_NONCE: usize = 32;

impl ServerMachine {
    /// The connection's session and its intents, if the guild is one of its shard.
    fn owner(&mut self, id: ConnId, guild: u64) -> Option<(SessionKey, u64)> {
        let key = self.conns.get(&id)?.session?;
        let session = self.sessions.get(&key)?;
        let (shard, granted) = (session.shard, session.intents);
        if shard.owns(guild) {
            return Some((key, granted));
        }
        self.violation(id, Violation::OtherShard(guild));
        None
    }

    pub(super) fn answer_voice(&mut self, id: ConnId, voice: &Voice) {
        let Some((key, granted)) = self.owner(id, voice.guild) else {
            return;
        };
        if intents::pass(granted, "VOICE_STATE_UPDATE") {
            let session = self.rng.hex(16);
            let state = bodies::own_voice_state(
                bodies::Members::of(&self.config, voice.guild),
                voice.channel,
                &session,
                voice.mute,
                voice.deaf,
            );
            self.push(key, "VOICE_STATE_UPDATE", &state);
        } else {
            self.violation(id, Violation::MissingIntent);
        }
        if voice.channel.is_some() {
            let server = json!({
                "token": self.rng.hex(10),
                "guild_id": voice.guild.to_string(),
                "endpoint": "voice.gateway.invalid:443",
            });
            self.push(key, "VOICE_SERVER_UPDATE", &server.to_string());
        }
    }

    pub(super) fn answer_members(&mut self, id: ConnId, members: Members) {
        let Some(guild) = members.guild else { return };
        let Some((key, granted)) = self.owner(id, guild) else {
            return;
        };
        if members.both {
            self.violation(id, Violation::QueryAndIds);
        }
        let nonce = match members.nonce {
            Some(nonce) if nonce.len() > MAX_NONCE => {
                self.violation(id, Violation::LongNonce(nonce.len()));
                None
            }
            nonce => nonce,
        };
        let all = bodies::Members::of(&self.config, guild);
        let mut not_found = None;
        let found: Vec<u64> = match members.which {
            Which::Prefix { query, limit: 0 } if query.is_empty() => {
                if granted & intents::GUILD_MEMBERS == 0 {
                    return self.violation(id, Violation::MissingIntent);
                }
                if !self.whole_list_allowed(id, key, guild, nonce.as_deref()) {
                    return;
                }
                (0..all.count).collect()
            }
            Which::Prefix { query, limit } => {
                let limit = match (query.is_empty(), limit) {
                    (true, limit) => limit,
                    (false, 0) => MAX_FOUND,
                    (false, limit) => limit.min(MAX_FOUND),
                };
                (0..all.count)
                    .filter(|n| all.name(*n).starts_with(&query))
                    .take(usize::try_from(limit).unwrap_or(usize::MAX))
                    .collect()
            }
            Which::Ids(ids) => {
                let mut missing = Vec::new();
                let mut found = Vec::new();
                for id in ids.into_iter().take(MAX_IDS) {
                    let number = match &id {
                        Value::String(text) => text.parse().ok(),
                        other => other.as_u64(),
                    };
                    match number.and_then(|number: u64| all.find(number)) {
                        Some(n) => found.push(n),
                        None => missing.push(id),
                    }
                }
                not_found = Some(missing);
                found
            }
        };
        let presences = members.presences && granted & intents::GUILD_PRESENCES != 0;
        self.send_chunks(key, guild, &found, not_found, presences, nonce.as_deref());
    }

    fn send_chunks(
        &mut self,
        key: SessionKey,
        guild: u64,
        found: &[u64],
        mut not_found: Option<Vec<Value>>,
        presences: bool,
        nonce: Option<&str>,
    ) {
        let size = usize::try_from(self.config.members_per_chunk.clamp(1, 1000)).unwrap_or(1000);
        let count = found.len().div_ceil(size).max(1);
        let all = bodies::Members::of(&self.config, guild);
        for index in 0..count {
            let here = found.chunks(size).nth(index).unwrap_or_default();
            let members: Vec<_> = here.iter().map(|n| all.member(*n)).collect();
            let mut chunk = json!({
                "guild_id": guild.to_string(), "members": members,
                "chunk_index": index, "chunk_count": count,
            });
            if let Some(not_found) = not_found.take() {
                chunk["not_found"] = not_found.into();
            }
            if presences {
                let all = here.iter().map(|n| {
                    json!({
                        "user": {"id": all.id(*n)},
                        "status": "online", "activities": [], "client_status": {"desktop": "online"},
                    })
                });
                chunk["presences"] = all.collect();
            }
            if let Some(nonce) = nonce {
                chunk["nonce"] = nonce.into();
            }
            self.push(key, "GUILD_MEMBERS_CHUNK", &chunk.to_string());
        }
    }

    fn whole_list_allowed(
        &mut self,
        id: ConnId,
        key: SessionKey,
        guild: u64,
        nonce: Option<&str>,
    ) -> bool {
        let again = self
            .whole_lists
            .get(&guild)
            .map(|last| *last + self.config.whole_list_pause)
            .filter(|again| *again > self.now);
        let Some(again) = again else {
            self.whole_lists.insert(guild, self.now);
            return true;
        };
        self.violation(id, Violation::WholeListTooSoon);
        let mut meta = json!({"guild_id": guild.to_string()});
        if let Some(nonce) = nonce {
            meta["nonce"] = nonce.into();
        }
        let wait = (again - self.now).as_secs_f64();
        let body = json!({"opcode": 8, "retry_after": wait, "meta": meta});
        self.push(key, "RATE_LIMITED", &body.to_string());
        false
    }

    pub(super) fn answer_sounds(&mut self, id: ConnId, guilds: &[u64]) {
        for guild in guilds {
            if let Some((key, _)) = self.owner(id, *guild) {
                let sounds = json!([{
                    "name": "ding", "sound_id": (guild + 9).to_string(), "volume": 1.0,
                    "emoji_id": null, "emoji_name": null, "guild_id": guild.to_string(),
                    "available": true,
                }]);
                let body = json!({"guild_id": guild.to_string(), "soundboard_sounds": sounds});
                self.push(key, "SOUNDBOARD_SOUNDS", &body.to_string());
            }
        }
    }

    pub(super) fn answer_channel_info(&mut self, id: ConnId, guild: u64, fields: &[String]) {
        let Some((key, _)) = self.owner(id, guild) else {
            return;
        };
        let mut channel = json!({"id": guild.wrapping_add(1).to_string()});
        for field in fields {
            match field.as_str() {
                "status" => channel["status"] = Value::Null,
                "voice_start_time" => channel["voice_start_time"] = Value::Null,
                _ => {}
            }
        }
        let body = json!({"guild_id": guild.to_string(), "channels": [channel]});
        self.push(key, "CHANNEL_INFO", &body.to_string());
    }
}
