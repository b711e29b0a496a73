//! Reads what a client sent, and says what Discord would close the connection for.

use serde_json::{Map, Value};

use super::io::Shard;
use super::log::Violation;

/// The most bytes a payload may have.
pub(super) const MAX_PAYLOAD: usize = 4096;

/// A payload that ends the connection.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) code: u16,
    pub(super) what: Violation,
}

fn refuse<T>(code: u16, what: Violation) -> Result<T, Refused> {
    Err(Refused { code, what })
}

/// Opcode and body.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) op: u64,
    pub(super) d: Value,
    /// The client wrote `s` or `t`, which only the server does.
    pub(super) odd: bool,
}

pub(super) fn envelope(bytes: &[u8]) -> Result<Envelope, Refused> {
    if bytes.len() > MAX_PAYLOAD {
        return refuse(4002, Violation::TooLong(bytes.len()));
    }
    let Ok(Value::Object(mut map)) = serde_json::from_slice(bytes) else {
        return refuse(4002, Violation::NotJson);
    };
    let odd = ["s", "t"]
        .iter()
        .any(|key| map.get(*key).is_some_and(|value| !value.is_null()));
    let Some(op) = map.get("op").and_then(Value::as_u64) else {
        return refuse(4001, Violation::UnknownOpcode(None));
    };
    if !matches!(op, 1 | 2 | 3 | 4 | 6 | 8 | 31 | 43) {
        return refuse(4001, Violation::UnknownOpcode(Some(op)));
    }
    let d = map.remove("d").unwrap_or(Value::Null);
    Ok(Envelope { op, d, odd })
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identify {
    pub(super) token: String,
    pub(super) intents: Option<Value>,
    pub(super) shard: Option<Value>,
    pub(super) compress: bool,
    pub(super) presence: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resume {
    pub(super) token: String,
    pub(super) session: String,
    pub(super) seq: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Voice {
    pub(super) guild: u64,
    pub(super) channel: Option<u64>,
    pub(super) mute: bool,
    pub(super) deaf: bool,
}

/// Which members are asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Which {
    Prefix { query: String, limit: u64 },
    Ids(Vec<Value>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Members {
    /// None: the id is no snowflake, which makes the session invalid a little later.
    pub(super) guild: Option<u64>,
    pub(super) which: Which,
    pub(super) both: bool,
    pub(super) presences: bool,
    pub(super) nonce: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Payload {
    Beat(Option<u64>),
    Identify(Identify),
    Presence,
    Voice(Voice),
    Resume(Resume),
    Members(Members),
    Sounds(Vec<u64>),
    ChannelInfo { guild: u64, fields: Vec<String> },
}

/// Reads the body of a known opcode.
pub(super) fn body(op: u64, d: Value) -> Result<Payload, Refused> {
    let code = if matches!(op, 1 | 2 | 3 | 6) {
        4002
    } else {
        4001
    };
    read(op, d).map_or_else(|why| refuse(code, Violation::BadBody { op, why }), Ok)
}

type Read<T> = Result<T, &'static str>;

fn read(op: u64, d: Value) -> Read<Payload> {
    if op == 1 {
        return match d {
            Value::Null => Ok(Payload::Beat(None)),
            d => d
                .as_u64()
                .map(|seq| Payload::Beat(Some(seq)))
                .ok_or("a beat's body is an integer or null"),
        };
    }
    let Value::Object(d) = d else {
        return Err("the body is not an object");
    };
    match op {
        2 => identify(&d).map(Payload::Identify),
        3 => presence(&d).map(|()| Payload::Presence),
        4 => voice(&d).map(Payload::Voice),
        6 => resume(&d).map(Payload::Resume),
        8 => members(&d).map(Payload::Members),
        31 => array(&d, "guild_ids")?
            .iter()
            .map(|id| snowflake(id).ok_or("a guild id is no snowflake"))
            .collect::<Read<_>>()
            .map(Payload::Sounds),
        _ => Ok(Payload::ChannelInfo {
            guild: d
                .get("guild_id")
                .and_then(snowflake)
                .ok_or("guild_id is no snowflake")?,
            fields: array(&d, "fields")?
                .iter()
                .map(|field| field.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or("a field is no string")?,
        }),
    }
}

fn text<'a>(d: &'a Map<String, Value>, key: &str, fault: &'static str) -> Read<&'a str> {
    d.get(key).and_then(Value::as_str).ok_or(fault)
}

fn boolean(d: &Map<String, Value>, key: &str, fault: &'static str) -> Read<bool> {
    d.get(key).and_then(Value::as_bool).ok_or(fault)
}

fn array<'a>(d: &'a Map<String, Value>, key: &str) -> Read<&'a Vec<Value>> {
    d.get(key)
        .and_then(Value::as_array)
        .ok_or("a list is missing")
}

fn snowflake(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

fn identify(d: &Map<String, Value>) -> Read<Identify> {
    let properties = d
        .get("properties")
        .and_then(Value::as_object)
        .ok_or("properties are missing")?;
    for (key, old) in [
        ("os", "$os"),
        ("browser", "$browser"),
        ("device", "$device"),
    ] {
        let value = properties.get(key).or_else(|| properties.get(old));
        if !value.is_some_and(Value::is_string) {
            return Err("properties need os, browser and device");
        }
    }
    if let Some(threshold) = d.get("large_threshold").filter(|v| !v.is_null())
        && !threshold.as_u64().is_some_and(|n| (50..=250).contains(&n))
    {
        return Err("large_threshold is not within 50 to 250");
    }
    let given = d.get("presence").filter(|v| !v.is_null());
    if let Some(given) = given {
        presence(given.as_object().ok_or("presence is not an object")?)?;
    }
    let compress = match d.get("compress") {
        None | Some(Value::Null) => false,
        Some(value) => value.as_bool().ok_or("compress is no boolean")?,
    };
    Ok(Identify {
        token: text(d, "token", "the token is missing")?.to_owned(),
        intents: d.get("intents").cloned(),
        shard: d.get("shard").filter(|v| !v.is_null()).cloned(),
        compress,
        presence: given.is_some(),
    })
}

/// The pair in Identify; none if it is not a shard.
pub(super) fn shard(pair: Option<&Value>) -> Option<Shard> {
    let Some(pair) = pair else {
        return Some(Shard {
            number: 0,
            total: 1,
        });
    };
    let [number, total] = pair.as_array()?.as_slice() else {
        return None;
    };
    let (number, total) = (number.as_u64()?, total.as_u64()?);
    (number < total).then_some(Shard { number, total })
}

fn resume(d: &Map<String, Value>) -> Read<Resume> {
    let seq = match d.get("seq").ok_or("seq is missing")? {
        Value::Null => None,
        value => Some(value.as_u64().ok_or("seq is no integer")?),
    };
    Ok(Resume {
        token: text(d, "token", "the token is missing")?.to_owned(),
        session: text(d, "session_id", "session_id is missing")?.to_owned(),
        seq,
    })
}

fn presence(d: &Map<String, Value>) -> Read<()> {
    let since = d.get("since").ok_or("since is missing")?;
    if !since.is_null() && !since.is_u64() {
        return Err("since is neither null nor an integer");
    }
    for activity in array(d, "activities")? {
        let activity = activity.as_object().ok_or("an activity is not an object")?;
        text(activity, "name", "an activity has no name")?;
        if activity
            .get("type")
            .and_then(Value::as_u64)
            .is_none_or(|kind| kind > 5)
        {
            return Err("an activity has no known type");
        }
    }
    let status = text(d, "status", "the status is missing")?;
    if !matches!(status, "online" | "dnd" | "idle" | "invisible" | "offline") {
        return Err("an unknown status");
    }
    boolean(d, "afk", "afk is missing").map(|_| ())
}

fn voice(d: &Map<String, Value>) -> Read<Voice> {
    let channel = match d.get("channel_id").ok_or("channel_id is left out")? {
        Value::Null => None,
        id => Some(snowflake(id).ok_or("channel_id is no snowflake")?),
    };
    Ok(Voice {
        guild: d
            .get("guild_id")
            .and_then(snowflake)
            .ok_or("guild_id is no snowflake")?,
        channel,
        mute: boolean(d, "self_mute", "self_mute is missing")?,
        deaf: boolean(d, "self_deaf", "self_deaf is missing")?,
    })
}

fn members(d: &Map<String, Value>) -> Read<Members> {
    let guild = match d.get("guild_id") {
        Some(Value::Array(guilds)) => guilds.first(),
        other => other,
    };
    let ids = d.get("user_ids").filter(|v| !v.is_null());
    let query = d.get("query").filter(|v| !v.is_null());
    let which = match (query, ids) {
        (Some(query), _) => Which::Prefix {
            query: query.as_str().ok_or("query is no string")?.to_owned(),
            limit: d
                .get("limit")
                .and_then(Value::as_u64)
                .ok_or("query without limit")?,
        },
        (None, Some(Value::Array(ids))) => Which::Ids(ids.clone()),
        (None, Some(id)) => Which::Ids(vec![id.clone()]),
        (None, None) => return Err("neither query nor user_ids"),
    };
    Ok(Members {
        guild: guild.ok_or("guild_id is missing").map(snowflake)?,
        which,
        both: query.is_some() && ids.is_some(),
        presences: d.get("presences").and_then(Value::as_bool).unwrap_or(false),
        nonce: d.get("nonce").and_then(Value::as_str).map(str::to_owned),
    })
}
