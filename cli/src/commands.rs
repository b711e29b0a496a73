//! Commands on standard input: one JSON object a line.

use serde::Deserialize;
use serde_json::value::RawValue;
use shardwright_tokio::{
    Activity, ActivityKind, ChannelId, Command, GuildId, GuildMembersRequest, Members, Nonce,
    RequestGuildMembers, ShardFilter, ShardId, ShardState, Shards, Status, StatusUpdate, UserId,
    VoiceStateUpdate,
};

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Wish {
    StatusUpdate {
        #[serde(default)]
        status: Option<String>,
        #[serde(default)]
        idle_since: Option<u64>,
        #[serde(default)]
        activity: Option<WishedActivity>,
        #[serde(default)]
        afk: bool,
        #[serde(default)]
        shards: WishedShards,
    },
    VoiceStateUpdate {
        guild_id: GuildId,
        channel_id: Option<ChannelId>,
        #[serde(default)]
        mute: bool,
        #[serde(default)]
        deaf: bool,
    },
    GuildRequestMembers {
        guild_id: GuildId,
        #[serde(default)]
        query: Option<String>,
        #[serde(default)]
        limit: u32,
        #[serde(default)]
        user_ids: Option<Vec<UserId>>,
        #[serde(default)]
        presences: bool,
        #[serde(default)]
        nonce: Option<String>,
        #[serde(default)]
        collect: bool,
    },
    RequestSoundboardSounds {
        guild_ids: Vec<GuildId>,
        #[serde(default)]
        shards: WishedShards,
    },
    ShardStates {
        r#match: Vec<WishedMatch>,
    },
    AddShards {
        states: Vec<ShardState>,
    },
    RemoveShards {
        r#match: Vec<WishedMatch>,
    },
    ReShard {
        #[serde(default)]
        to: Option<u32>,
    },
    Ack {
        shard: u32,
        session: u32,
        seq: u64,
    },
    Disconnect {
        #[serde(default)]
        keep: bool,
    },
}

/// `send` apart: its payload stays as written, which a tagged enum cannot keep.
#[derive(Debug, Deserialize)]
struct Send<'a> {
    #[serde(rename = "do")]
    what: &'a str,
    shard: u32,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WishedActivity {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    name: String,
    #[serde(default)]
    url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum WishedShards {
    Only(Vec<u32>),
    All(String),
    #[default]
    NotSaid,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum WishedMatch {
    Shard { shard: ShardId },
    Session { session_id: String },
    Word(String),
}

/// What a line asks for.
pub(crate) enum Order {
    States(ShardFilter),
    AddShards(Vec<ShardState>),
    RemoveShards(ShardFilter),
    ReShard(Option<u32>),
    Acknowledge {
        shard: u32,
        session: u32,
        seq: u64,
    },
    Send {
        op: u8,
        nonce: Option<String>,
        command: Command,
        to: Shards,
    },
    /// Members, all chunks of the answer in one line.
    Collect {
        nonce: Option<String>,
        request: GuildMembersRequest,
    },
    Disconnect {
        keep: bool,
    },
}

/// Reads one line. The error says what is wrong with it.
pub(crate) fn read(line: &str) -> Result<Order, String> {
    if let Ok(send) = serde_json::from_str::<Send<'_>>(line)
        && send.what == "send"
    {
        let command = Command::raw(send.payload.get()).map_err(|error| error.to_string())?;
        return Ok(Order::Send {
            op: command.op(),
            nonce: None,
            command,
            to: Shards::Only(vec![send.shard]),
        });
    }
    let wish: Wish = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let (command, to, nonce) = match wish {
        Wish::ShardStates { r#match } => return Ok(Order::States(filter(r#match)?)),
        Wish::AddShards { states } => return Ok(Order::AddShards(states)),
        Wish::RemoveShards { r#match } => return Ok(Order::RemoveShards(filter(r#match)?)),
        Wish::ReShard { to } => return Ok(Order::ReShard(to)),
        Wish::Ack {
            shard,
            session,
            seq,
        } => {
            return Ok(Order::Acknowledge {
                shard,
                session,
                seq,
            });
        }
        Wish::Disconnect { keep } => return Ok(Order::Disconnect { keep }),
        Wish::StatusUpdate {
            status,
            idle_since,
            activity,
            afk,
            shards,
        } => {
            let status: Status = status
                .as_deref()
                .unwrap_or("online")
                .parse()
                .map_err(|error: shardwright_tokio::ParseStatusError| error.to_string())?;
            let mut update = match status {
                Status::Idle => StatusUpdate::idle(idle_since),
                other => StatusUpdate::new(other),
            };
            if let Some(wished) = activity {
                update = update.activity(wished.activity()?);
            }
            (
                Command::status_update(update.afk(afk)),
                shards.read()?,
                None,
            )
        }
        Wish::VoiceStateUpdate {
            guild_id,
            channel_id,
            mute,
            deaf,
        } => {
            let update = VoiceStateUpdate {
                guild: guild_id,
                channel: channel_id,
                self_mute: mute,
                self_deaf: deaf,
            };
            (
                Command::voice_state_update(update),
                Shards::Guild(guild_id),
                None,
            )
        }
        Wish::GuildRequestMembers {
            guild_id,
            query,
            limit,
            user_ids,
            presences,
            nonce,
            collect,
        } => {
            let who = match (user_ids, query) {
                (Some(_), Some(_)) => return Err("give query or user_ids, not both".to_owned()),
                (Some(ids), None) => Members::Ids(ids),
                (None, prefix) => Members::Query {
                    prefix: prefix.unwrap_or_default(),
                    limit,
                },
            };
            if collect {
                let request = GuildMembersRequest::new(guild_id, who).presences(presences);
                return Ok(Order::Collect { nonce, request });
            }
            let mut request = RequestGuildMembers::new(guild_id, who).presences(presences);
            if let Some(nonce) = &nonce {
                request =
                    request.nonce(Nonce::new(nonce.as_str()).map_err(|error| error.to_string())?);
            }
            (
                Command::request_guild_members(request),
                Shards::Guild(guild_id),
                nonce,
            )
        }
        Wish::RequestSoundboardSounds { guild_ids, shards } => (
            Command::request_soundboard_sounds(guild_ids),
            shards.read()?,
            None,
        ),
    };
    let command = command.map_err(|error| error.to_string())?;
    Ok(Order::Send {
        op: command.op(),
        nonce,
        command,
        to,
    })
}

impl WishedShards {
    fn read(self) -> Result<Shards, String> {
        match self {
            Self::Only(ids) => Ok(Shards::Only(ids)),
            Self::NotSaid => Ok(Shards::All),
            Self::All(word) if word == "all" => Ok(Shards::All),
            Self::All(word) => Err(format!(
                "shards: `{word}` is neither \"all\" nor a list of numbers"
            )),
        }
    }
}

impl WishedActivity {
    fn activity(self) -> Result<Activity, String> {
        if let Some(url) = self.url {
            return Activity::streaming(self.name, url).map_err(|error| error.to_string());
        }
        let kind: ActivityKind = self
            .kind
            .as_deref()
            .unwrap_or("playing")
            .parse()
            .map_err(|error: shardwright_tokio::ParseActivityKindError| error.to_string())?;
        Ok(Activity::new(self.name, kind))
    }
}

fn filter(items: Vec<WishedMatch>) -> Result<ShardFilter, String> {
    let mut filter = ShardFilter::none();
    for item in items {
        filter = match item {
            WishedMatch::Shard { shard } => filter.or_shard(shard),
            WishedMatch::Session { session_id } => filter.or_session(session_id),
            WishedMatch::Word(word) if word == "all" => ShardFilter::all(),
            WishedMatch::Word(word) => {
                return Err(format!(
                    "match: `{word}` is neither \"all\" nor an object with shard or session_id"
                ));
            }
        };
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read() {
        for line in [
            r#"{"do":"status_update","status":"idle","idle_since":null,"activity":{"type":"watching","name":"x"},"afk":false,"shards":"all"}"#,
            r#"{"do":"status_update","shards":[0,1]}"#,
            r#"{"do":"voice_state_update","guild_id":"41771983423143937","channel_id":null,"mute":false,"deaf":true}"#,
            r#"{"do":"guild_request_members","guild_id":"41771983423143937","query":"","limit":0,"nonce":"n"}"#,
            r#"{"do":"guild_request_members","guild_id":"41771983423143937","user_ids":["1"]}"#,
            r#"{"do":"guild_request_members","guild_id":"41771983423143937","user_ids":["1"],"nonce":"n","collect":true}"#,
            r#"{"do":"request_soundboard_sounds","guild_ids":["41771983423143937"]}"#,
            r#"{"do":"send","shard":0,"payload":{"op":3,"d":{"since":null}}}"#,
            r#"{"do":"shard_states","match":["all"]}"#,
            r#"{"do":"shard_states","match":[{"shard":[0,1]},{"session_id":"s"}]}"#,
            r#"{"do":"add_shards","states":[{"shard":[0,2],"session_id":"s","seq":7,"resume_gateway_url":null}]}"#,
            r#"{"do":"add_shards","states":[{"shard":[1,2]}]}"#,
            r#"{"do":"remove_shards","match":[{"shard":[0,1]}]}"#,
            r#"{"do":"re_shard","to":4}"#,
            r#"{"do":"re_shard"}"#,
            r#"{"do":"ack","shard":0,"session":1,"seq":7}"#,
            r#"{"do":"disconnect","keep":true}"#,
        ] {
            assert!(read(line).is_ok(), "{line}: {:?}", read(line).err());
        }
    }

    #[test]
    fn a_bad_line_is_refused() {
        for line in [
            "",
            "x",
            "[]",
            r#"{"do":"dance"}"#,
            r#"{"do":"send","shard":0,"payload":{"op":2,"d":{}}}"#,
            r#"{"do":"status_update","shards":"some"}"#,
            r#"{"do":"shard_states"}"#,
            r#"{"do":"shard_states","match":["some"]}"#,
            r#"{"do":"shard_states","match":[{"shard":[1,1]}]}"#,
            r#"{"do":"ack","shard":0}"#,
            r#"{"do":"add_shards","states":[{"shard":[2,2]}]}"#,
            r#"{"do":"remove_shards"}"#,
            r#"{"do":"re_shard","to":-1}"#,
            r#"{"do":"guild_request_members","guild_id":"abc"}"#,
            r#"{"do":"guild_request_members","guild_id":"1","collect":"yes"}"#,
            r#"{"do":"guild_request_members","guild_id":"1","query":"a","user_ids":["1"],"collect":true}"#,
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
