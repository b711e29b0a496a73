//! Payloads of the same size without what is in them.

use serde_json::{Map, Value};

use crate::Envelope;

/// The payload, with filling in place of an event's body. What is no event is kept.
pub(super) fn drop(payload: &[u8], keeps_guilds: bool) -> Vec<u8> {
    let Ok(envelope) = Envelope::scan(payload) else {
        // Nothing else is malformed in the same way.
        return Vec::from("malformed");
    };
    if envelope.op != 0 {
        return payload.to_vec();
    }
    let name = envelope.name.as_deref();
    let seq = envelope.seq;
    let mut text = format!(
        r#"{{"t":{},"s":{},"op":0,"d":"#,
        name.map_or(Value::Null, Value::from),
        seq.map_or(Value::Null, Value::from)
    );
    let room = payload.len().saturating_sub(text.len() + 1);
    let body = payload.get(envelope.data).unwrap_or_default();
    match what_matters(name.unwrap_or_default(), body, keeps_guilds) {
        Some(kept) => text.push_str(&filled(kept, room)),
        None => text.push_str(&filling(room)),
    }
    text.push('}');
    text.into_bytes()
}

/// What of a body the machines read.
fn what_matters(name: &str, body: &[u8], keeps_guilds: bool) -> Option<Map<String, Value>> {
    let keys: &[&str] = match name {
        "READY" if keeps_guilds => &["session_id", "resume_gateway_url", "guilds"],
        "READY" => &["session_id", "resume_gateway_url"],
        "GUILD_CREATE" | "GUILD_DELETE" if keeps_guilds => &["id", "unavailable"],
        _ => return None,
    };
    let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let kept = body
        .into_iter()
        .filter(|(key, _)| keys.contains(&key.as_str()));
    Some(kept.map(|(key, value)| (key, known_by_id(value))).collect())
}

/// Of guilds in a list only who they are and whether they are there.
fn known_by_id(value: Value) -> Value {
    let Value::Array(list) = value else {
        return value;
    };
    let guilds = list.into_iter().map(|guild| {
        let Value::Object(mut guild) = guild else {
            return Value::Null;
        };
        guild.retain(|key, _| matches!(key.as_str(), "id" | "unavailable"));
        guild.into()
    });
    guilds.collect()
}

/// An object of this length, if it is not longer by itself.
fn filled(mut object: Map<String, Value>, room: usize) -> String {
    const KEY: &str = "dropped";
    let text = Value::from(object.clone()).to_string();
    let comma = usize::from(!object.is_empty());
    match room.checked_sub(text.len() + comma + KEY.len() + r#""":"""#.len()) {
        Some(rest) => {
            object.insert(KEY.to_owned(), "x".repeat(rest).into());
            Value::from(object).to_string()
        }
        None => text,
    }
}

/// A value of this length.
fn filling(room: usize) -> String {
    match room {
        0 | 1 => "0".to_owned(),
        _ => format!("\"{}\"", "x".repeat(room - 2)),
    }
}
