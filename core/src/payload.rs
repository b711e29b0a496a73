//! The payloads that the machine sends of its own accord, as text for the wire.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::command_error::{CommandError, check_size};
use crate::intents::Intents;
use crate::presence::StatusUpdate;
use crate::shard_id::ShardId;
use crate::token::Token;

/// The name of the library in the field for the browser and the device.
pub(crate) const LIBRARY: &str = "shardwright";

/// A payload with the token in it; `Debug` shows its size only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretPayload(String);

impl SecretPayload {
    #[cfg(test)]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The text for the wire, taken out; whoever holds it hides it from logs and errors.
    pub(crate) fn into_exposed(self) -> String {
        self.0
    }
}

impl fmt::Debug for SecretPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretPayload({} bytes)", self.0.len())
    }
}

/// What Identify says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdentifyArgs<'a> {
    pub(crate) token: &'a Token,
    pub(crate) properties: Properties<'a>,
    pub(crate) intents: Intents,
    /// Asks for payload compression, which transport compression excludes.
    pub(crate) compress: bool,
    /// From which size on a guild is large: 50 to 250 members.
    pub(crate) large_threshold: Option<u8>,
    pub(crate) shard: ShardId,
    pub(crate) presence: Option<&'a StatusUpdate>,
    /// A bit field of client behaviours, apart from the intents.
    pub(crate) capabilities: Option<u64>,
}

/// Who connects, for Discord's statistics.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Properties<'a> {
    pub(crate) os: &'a str,
    pub(crate) browser: &'a str,
    pub(crate) device: &'a str,
}

impl<'a> Properties<'a> {
    /// The library on an operating system.
    pub(crate) const fn on(os: &'a str) -> Self {
        Self {
            os,
            browser: LIBRARY,
            device: LIBRARY,
        }
    }
}

/// Opcode 1: the last sequence number of the session as a bare number, or null.
pub(crate) fn heartbeat(seq: Option<u64>) -> String {
    match seq {
        Some(seq) => format!(r#"{{"op":1,"d":{seq}}}"#),
        None => r#"{"op":1,"d":null}"#.to_owned(),
    }
}

/// Opcode 6. The number's key is `seq`, not the `s` of an envelope.
pub(crate) fn resume(token: &Token, session_id: &str, seq: u64) -> SecretPayload {
    let token = Value::from(token.expose());
    let session_id = Value::from(session_id);
    SecretPayload(format!(
        r#"{{"op":6,"d":{{"token":{token},"session_id":{session_id},"seq":{seq}}}}}"#
    ))
}

/// Opcode 2. Fails if it is over 4096 bytes, which only a long presence brings about: the one to
/// leave out then.
pub(crate) fn identify(args: &IdentifyArgs<'_>) -> Result<SecretPayload, CommandError> {
    #[derive(Serialize)]
    struct Payload<'a> {
        op: u8,
        d: Body<'a>,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        token: &'a str,
        properties: Properties<'a>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        compress: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        large_threshold: Option<u8>,
        shard: ShardId,
        #[serde(skip_serializing_if = "Option::is_none")]
        presence: Option<&'a StatusUpdate>,
        intents: Intents,
        #[serde(skip_serializing_if = "Option::is_none")]
        capabilities: Option<u64>,
    }
    let payload = Payload {
        op: 2,
        d: Body {
            token: args.token.expose(),
            properties: args.properties,
            compress: args.compress,
            large_threshold: args.large_threshold,
            shard: args.shard,
            presence: args.presence,
            intents: args.intents,
            capabilities: args.capabilities,
        },
    };
    // Cannot fail: the keys are strings and no field writes an error.
    let text = serde_json::to_string(&payload)
        .map_err(|error| CommandError::Malformed(error.to_string()))?;
    check_size(text.len())?;
    Ok(SecretPayload(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Activity;

    #[test]
    fn heartbeats_are_bare_numbers() {
        assert_eq!(heartbeat(None), r#"{"op":1,"d":null}"#);
        assert_eq!(heartbeat(Some(251)), r#"{"op":1,"d":251}"#);
    }

    #[test]
    fn resume_has_three_fields_and_escapes() {
        let token = Token::new("a.\"b").unwrap();
        let payload = resume(&token, "s\\1", 1337);
        assert_eq!(
            payload.expose(),
            r#"{"op":6,"d":{"token":"a.\"b","session_id":"s\\1","seq":1337}}"#
        );
        assert_eq!(format!("{payload:?}"), "SecretPayload(61 bytes)");
    }

    #[test]
    fn identify_has_what_is_needed_and_no_more() {
        let token = Token::new("a.b").unwrap();
        let mut args = IdentifyArgs {
            token: &token,
            properties: Properties::on("linux"),
            intents: Intents::GUILDS | Intents::GUILD_MESSAGES,
            compress: false,
            large_threshold: None,
            shard: ShardId::SINGLE,
            presence: None,
            capabilities: None,
        };
        let payload = identify(&args).unwrap();
        assert_eq!(
            payload.expose(),
            r#"{"op":2,"d":{"token":"a.b","properties":{"os":"linux","browser":"shardwright","device":"shardwright"},"shard":[0,1],"intents":513}}"#
        );
        assert!(!format!("{payload:?} {args:?}").contains("a.b"));

        let presence = StatusUpdate::dnd();
        args.compress = true;
        args.large_threshold = Some(250);
        args.shard = ShardId::new(3, 16).unwrap();
        args.presence = Some(&presence);
        args.capabilities = Some(32768);
        args.intents = Intents::empty();
        assert_eq!(
            identify(&args).unwrap().into_exposed(),
            r#"{"op":2,"d":{"token":"a.b","properties":{"os":"linux","browser":"shardwright","device":"shardwright"},"compress":true,"large_threshold":250,"shard":[3,16],"presence":{"since":null,"activities":[],"status":"dnd","afk":false},"intents":0,"capabilities":32768}}"#
        );

        let long = StatusUpdate::online().activity(Activity::playing("x".repeat(4000)));
        args.presence = Some(&long);
        assert!(matches!(
            identify(&args),
            Err(CommandError::TooLarge { bytes: 4001..4400 })
        ));
    }
}
