//! What the number in a close frame means, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The code of a WebSocket close frame on the main gateway.
///
/// Any number may arrive; the ones with a constant have a meaning. The voice gateway uses the same
/// numbers for other things and needs a type of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CloseCode(u16);

/// What to do when a connection has ended.
///
/// Complete by nature: a session is kept or not, and what stops is a shard, a layout or the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseAction {
    /// Reconnect and resume, if there is a session; else identify.
    Resume,
    /// Forget the session, reconnect and identify.
    Identify,
    /// This layout has too few shards: stop it, and start another one.
    ReShard,
    /// Stop this shard for good; others may go on.
    StopShard,
    /// Stop the whole bot for good: each of its shards would be refused alike.
    StopBot,
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $constant:ident = $code:literal, $name:literal;)*) => {
        impl CloseCode {
            $($(#[$doc])* pub const $constant: Self = Self($code);)*

            /// A short name in lower case; `None` for a number without a meaning.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

close_codes! {
    /// The connection is over as planned. Sent by us it ends the session.
    NORMAL = 1000, "normal closure";
    /// The peer is leaving. Sent by us it ends the session.
    GOING_AWAY = 1001, "going away";
    /// A frame broke the WebSocket protocol.
    PROTOCOL_ERROR = 1002, "protocol error";
    /// A kind of data that the peer does not take.
    UNSUPPORTED_DATA = 1003, "unsupported data";
    /// Stands for a close frame without a code; never on the wire.
    NO_CODE = 1005, "no code";
    /// Stands for a connection that ended without a close frame; never on the wire.
    ABNORMAL = 1006, "connection lost";
    /// Text that is not UTF-8.
    INVALID_DATA = 1007, "invalid data";
    /// A rule of the peer was broken.
    POLICY_VIOLATION = 1008, "policy violation";
    /// A message is larger than the peer takes.
    TOO_BIG = 1009, "message too big";
    /// A WebSocket extension is missing.
    EXTENSION_NEEDED = 1010, "extension needed";
    /// The peer failed.
    INTERNAL_ERROR = 1011, "internal error";
    /// The peer restarts.
    SERVICE_RESTART = 1012, "service restart";
    /// The peer is overloaded.
    TRY_AGAIN_LATER = 1013, "try again later";
    /// A proxy got no good answer from behind it.
    BAD_GATEWAY = 1014, "bad gateway";
    /// Stands for a failed TLS handshake; never on the wire.
    TLS_HANDSHAKE = 1015, "tls handshake failed";

    /// Discord does not know what went wrong.
    UNKNOWN_ERROR = 4000, "unknown error";
    /// An opcode that does not exist, or a body that does not belong to it.
    UNKNOWN_OPCODE = 4001, "unknown opcode";
    /// A payload that cannot be read, or of more than 4096 bytes.
    DECODE_ERROR = 4002, "decode error";
    /// Something was sent before Identify or Resume, or the session was invalidated: an intent
    /// was switched off in the portal, or the token was reset.
    NOT_AUTHENTICATED = 4003, "not authenticated";
    /// The token is wrong.
    AUTHENTICATION_FAILED = 4004, "authentication failed";
    /// A second Identify on one connection.
    ALREADY_AUTHENTICATED = 4005, "already authenticated";
    /// Historic: the session is not valid. No longer documented.
    SESSION_NO_LONGER_VALID = 4006, "session no longer valid";
    /// The sequence number in Resume is wrong.
    INVALID_SEQ = 4007, "invalid seq";
    /// More than 120 payloads within 60 s of one connection.
    RATE_LIMITED = 4008, "rate limited";
    /// The session has expired.
    SESSION_TIMED_OUT = 4009, "session timed out";
    /// The shard pair is wrong, or the total is none that a large bot may use.
    INVALID_SHARD = 4010, "invalid shard";
    /// Too many guilds for so few shards.
    SHARDING_REQUIRED = 4011, "sharding required";
    /// The `v` in the address is wrong.
    INVALID_API_VERSION = 4012, "invalid api version";
    /// The intents hold an undefined bit.
    INVALID_INTENTS = 4013, "invalid intents";
    /// A privileged intent is not enabled or not approved.
    DISALLOWED_INTENTS = 4014, "disallowed intents";
}

impl CloseCode {
    /// What we close with when the session is to live on: for a reconnect, a dead link, a payload
    /// that cannot be read, or a hand-over to another process.
    pub const KEEP_SESSION: Self = Self(4000);

    /// The code with this number.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What to do when the gateway has closed with this code.
    ///
    /// Discord documents which codes allow a reconnect. Whether the session survives is field
    /// practice: it does, unless the code speaks of the session itself, or of a bot whose session
    /// was taken away. Numbers without a meaning are treated as lost connections.
    pub const fn action(self) -> CloseAction {
        match self.0 {
            4001 | 4003 | 4006 | 4007 | 4009 => CloseAction::Identify,
            4004 | 4012 | 4013 | 4014 => CloseAction::StopBot,
            4010 => CloseAction::StopShard,
            4011 => CloseAction::ReShard,
            // 4000, 4002, 4005, 4008, everything below 4000 and everything unknown.
            _ => CloseAction::Resume,
        }
    }

    /// Whether Discord ends the session, and shows the bot as offline, when *we* close with this
    /// code. With any other code the session can be resumed for a few minutes.
    pub const fn ends_session_when_sent(self) -> bool {
        matches!(self.0, 1000 | 1001)
    }

    /// What a person does about it; `None` where nothing is to be done.
    pub const fn advice(self) -> Option<&'static str> {
        Some(match self.0 {
            4001 => "a command had an opcode or a body that discord does not know; correct it",
            4002 => "a command was not readable for discord; correct it, and keep it to 4096 bytes",
            4003 => {
                "if it comes again, look in the developer portal whether an intent was switched \
                 off or the token was reset"
            }
            4004 => {
                "check the token; if it was reset, copy the new one from the bot's page in the \
                 developer portal"
            }
            4008 => "send fewer commands: at most 120 in 60 seconds of a connection",
            4010 => {
                "check the shard ids and the total; a large bot's total is a multiple of the \
                 number that discord has assigned"
            }
            4011 => {
                "start with more shards: at most 2500 guilds fit one; ask discord for the \
                 recommended number"
            }
            4012 => "this gateway version is no longer served; update this library",
            4013 => "the intents hold bits that discord does not define; name them instead",
            4014 => {
                "enable the privileged intents for this bot in the developer portal, or leave them \
                 out"
            }
            _ => return None,
        })
    }
}

impl CloseAction {
    /// What to do when a connection has ended with this code, or with none at all, which is a lost
    /// connection and keeps the session.
    pub fn for_close(code: Option<CloseCode>) -> Self {
        code.map_or(Self::Resume, CloseCode::action)
    }

    /// Whether the shard never reconnects.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::ReShard | Self::StopShard | Self::StopBot)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    /// `4004 (authentication failed)`, or the bare number if it has no meaning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_action() {
        for code in 0..=u16::MAX {
            let expected = match code {
                4001 | 4003 | 4006 | 4007 | 4009 => CloseAction::Identify,
                4010 => CloseAction::StopShard,
                4011 => CloseAction::ReShard,
                4004 | 4012 | 4013 | 4014 => CloseAction::StopBot,
                _ => CloseAction::Resume,
            };
            assert_eq!(CloseCode::new(code).action(), expected, "{code}");
            let over = matches!(code, 4004 | 4010..=4014);
            assert_eq!(expected.is_final(), over, "{code}");
        }
        assert_eq!(CloseAction::for_close(None), CloseAction::Resume);
        assert_eq!(
            CloseAction::for_close(Some(CloseCode::INVALID_INTENTS)),
            CloseAction::StopBot
        );
    }

    #[test]
    fn what_is_final_comes_with_advice() {
        for code in 0..=u16::MAX {
            let code = CloseCode::new(code);
            if code.action().is_final() {
                assert!(code.advice().is_some(), "{code}");
            }
        }
        for code in [4001, 4002, 4003, 4008] {
            assert!(CloseCode::new(code).advice().is_some(), "{code}");
        }
        for code in [1000, 1006, 4000, 4005, 4007, 4009, 4999] {
            assert_eq!(CloseCode::new(code).advice(), None, "{code}");
        }
    }

    #[test]
    fn only_1000_and_1001_end_the_session() {
        let ending: Vec<u16> = (0..=u16::MAX)
            .filter(|&code| CloseCode::new(code).ends_session_when_sent())
            .collect();
        assert_eq!(ending, [1000, 1001]);
        assert_eq!(CloseCode::KEEP_SESSION.get(), 4000);
        assert_eq!(CloseCode::NORMAL.get(), 1000);
    }

    #[test]
    fn codes_show_their_names() {
        for (code, text) in [
            (4004, "4004 (authentication failed)"),
            (4006, "4006 (session no longer valid)"),
            (4014, "4014 (disallowed intents)"),
            (1006, "1006 (connection lost)"),
            (4999, "4999"),
            (0, "0"),
        ] {
            assert_eq!(CloseCode::from(code).to_string(), text);
        }
        assert_eq!(serde_json::to_string(&CloseCode::NORMAL).unwrap(), "1000");
        assert_eq!(u16::from(CloseCode::GOING_AWAY), 1001);
    }
}
