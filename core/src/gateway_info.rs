//! What Discord says about connecting: where to, with how many shards, and how often.

use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::Value;

use crate::gateway_url::GatewayUrl;

/// The answer of `/gateway/bot`.
///
/// Serde uses the shape on the wire. Reading refuses what cannot be used (no address, no shards, no
/// limits), naming the field, and ignores keys that are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayInfo {
    /// Where new sessions begin.
    pub url: GatewayUrl,
    /// How many shards Discord recommends, at least one. For a large bot always a count that it may
    /// use.
    pub shards: u32,
    /// How many sessions may still begin.
    pub session_start_limit: SessionStartLimit,
}

/// How many sessions the bot may begin: Identifies, over all its shards and processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStartLimit {
    /// How many in a window of 24 hours; 1000 unless the bot is large.
    pub total: u32,
    /// How many are left of them.
    pub remaining: u32,
    /// After which time all are there again. At most 24 hours; on the wire in milliseconds.
    pub reset_after: Duration,
    /// How many may begin at the same time, one in each bucket; at least one.
    pub max_concurrency: u32,
}

/// No window of Discord is longer; a time that is would only be a fault.
const LONGEST_RESET: Duration = Duration::from_secs(24 * 60 * 60);

impl GatewayInfo {
    /// Puts the data together, for a gateway that is not asked by HTTP. A count of 0 shards becomes
    /// 1.
    pub fn new(url: GatewayUrl, shards: u32, session_start_limit: SessionStartLimit) -> Self {
        Self {
            url,
            shards: shards.max(1),
            session_start_limit,
        }
    }

    /// Reads the JSON text of an answer; what is wrong with it names the field.
    pub(crate) fn from_value(value: &Value) -> Result<Self, String> {
        if !value.is_object() {
            return Err("the answer is no JSON object".to_owned());
        }
        let url = value
            .get("url")
            .ok_or("`url` is missing")?
            .as_str()
            .ok_or("`url` is no text")?;
        let url = GatewayUrl::parse(url).map_err(|error| format!("`url` is unusable: {error}"))?;
        let shards = number(value, "shards", "shards")?;
        if shards == 0 {
            return Err("`shards` is 0".to_owned());
        }
        let limit = value
            .get("session_start_limit")
            .ok_or("`session_start_limit` is missing")?;
        Ok(Self {
            url,
            shards,
            session_start_limit: SessionStartLimit::from_value(limit)?,
        })
    }
}

impl SessionStartLimit {
    /// Puts the limit together. A `reset_after` of more than 24 hours is cut to them, and a
    /// `max_concurrency` of 0 becomes 1.
    pub fn new(total: u32, remaining: u32, reset_after: Duration, max_concurrency: u32) -> Self {
        Self {
            total,
            remaining,
            reset_after: reset_after.min(LONGEST_RESET),
            max_concurrency: max_concurrency.max(1),
        }
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        if !value.is_object() {
            return Err("`session_start_limit` is no JSON object".to_owned());
        }
        let reset_after: u64 = number(value, "reset_after", "session_start_limit.reset_after")?;
        Ok(Self::new(
            number(value, "total", "session_start_limit.total")?,
            number(value, "remaining", "session_start_limit.remaining")?,
            Duration::from_millis(reset_after),
            number(
                value,
                "max_concurrency",
                "session_start_limit.max_concurrency",
            )?,
        ))
    }
}

/// A whole number that fits; `name` is what the message calls it.
fn number<T: TryFrom<u64>>(value: &Value, key: &str, name: &str) -> Result<T, String> {
    let found = value
        .get(key)
        .ok_or_else(|| format!("`{name}` is missing"))?;
    found
        .as_u64()
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("`{name}` is no whole number in range"))
}

impl Serialize for GatewayInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("GatewayInfo", 3)?;
        out.serialize_field("url", &self.url)?;
        out.serialize_field("shards", &self.shards)?;
        out.serialize_field("session_start_limit", &self.session_start_limit)?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for GatewayInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for SessionStartLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = u64::try_from(self.reset_after.as_millis()).unwrap_or(u64::MAX);
        let mut out = serializer.serialize_struct("SessionStartLimit", 4)?;
        out.serialize_field("total", &self.total)?;
        out.serialize_field("remaining", &self.remaining)?;
        out.serialize_field("reset_after", &millis)?;
        out.serialize_field("max_concurrency", &self.max_concurrency)?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for SessionStartLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &str = r#"{"url":"wss://gateway.discord.gg/","shards":9,"session_start_limit":{"total":1000,"remaining":999,"reset_after":14400000,"max_concurrency":16}}"#;

    #[test]
    fn the_wire_shape_is_read_and_written() {
        let info: GatewayInfo = serde_json::from_str(WIRE).unwrap();
        let limit = SessionStartLimit::new(1000, 999, Duration::from_secs(4 * 3600), 16);
        let url = GatewayUrl::parse("wss://gateway.discord.gg/").unwrap();
        assert_eq!(info, GatewayInfo::new(url, 9, limit));
        assert_eq!(serde_json::to_string(&info).unwrap(), WIRE);
        assert_eq!(
            serde_json::from_str::<SessionStartLimit>(&serde_json::to_string(&limit).unwrap())
                .unwrap(),
            limit
        );
        let more = WIRE.replacen('{', r#"{"new":[1],"#, 1);
        assert_eq!(serde_json::from_str::<GatewayInfo>(&more).unwrap(), info);
    }

    #[test]
    fn odd_limits_are_made_usable() {
        let text = WIRE
            .replace("\"max_concurrency\":16", "\"max_concurrency\":0")
            .replace("14400000", "18446744073709551615");
        let info: GatewayInfo = serde_json::from_str(&text).unwrap();
        assert_eq!(info.session_start_limit.max_concurrency, 1);
        assert_eq!(
            info.session_start_limit.reset_after,
            Duration::from_secs(86_400)
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (from, to, problem) in [
            ("\"url\"", "\"uri\"", "`url` is missing"),
            ("\"wss://gateway.discord.gg/\"", "7", "`url` is no text"),
            ("wss:", "https:", "`url` is unusable: "),
            (":9,", ":0,", "`shards` is 0"),
            (":9,", ":9.5,", "`shards` is no whole number in range"),
            (
                ":9,",
                ":4294967296,",
                "`shards` is no whole number in range",
            ),
            (
                "session_start_limit",
                "x",
                "`session_start_limit` is missing",
            ),
            (
                "\"total\"",
                "\"x\"",
                "`session_start_limit.total` is missing",
            ),
            (
                "999",
                "-1",
                "`session_start_limit.remaining` is no whole number in range",
            ),
            (
                "14400000",
                "\"1\"",
                "`session_start_limit.reset_after` is no whole number in range",
            ),
        ] {
            let value = serde_json::from_str(&WIRE.replace(from, to)).unwrap();
            let found = GatewayInfo::from_value(&value).unwrap_err();
            assert!(found.starts_with(problem), "{found}");
        }
        assert!(GatewayInfo::from_value(&Value::Null).is_err());
        assert!(serde_json::from_str::<SessionStartLimit>("[]").is_err());
    }
}
