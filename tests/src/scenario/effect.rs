//! What a step can do. Each effect does one thing; a play is made by putting them in a row.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Listener;

/// How a line ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Ending {
    /// The TCP stream is closed in order, without a websocket close frame and without TLS's own
    /// farewell.
    #[default]
    Fin,
    /// The TCP connection is reset.
    Rst,
    /// The line stays open and falls silent.
    Stall,
}

/// At which level something is cut into pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Level {
    /// Several websocket messages; for a compressed stream only, where pieces are put together
    /// by the client.
    #[default]
    Messages,
    /// One websocket message in several frames.
    Frames,
    /// One frame in several writes.
    Writes,
}

/// What is done to the bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Damage {
    /// One bit in the middle of what goes over the line is flipped.
    Flip,
    /// One letter inside a string of the payload becomes the byte FF, before any compression.
    BadUtf8,
    /// The payload's last byte is missing, before any compression.
    Unfinished,
    /// The last four bytes of what goes over the line are missing.
    NoSuffix,
}

/// What a dial meets at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum ListenerMode {
    /// It is answered.
    #[default]
    Open,
    /// The connection is refused.
    Closed,
    /// It is accepted and nothing more is ever said.
    Hang,
}

/// One answer of the REST side that is not the normal one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RestFault {
    /// HTTP status (200: the normal answer, with what else is said here).
    pub status: Option<u16>,
    /// The header `Retry-After`, in seconds.
    pub retry_after_header: Option<u64>,
    /// `retry_after` in the body, in seconds.
    pub retry_after: Option<f64>,
    /// A web page in place of JSON.
    pub html: bool,
    /// Only so many bytes of the body are sent, then the line ends.
    pub cut_body: Option<usize>,
    /// No answer at all.
    pub hang: bool,
    /// For how many requests (1).
    pub times: Option<u32>,
}

/// One thing to do. Times are in milliseconds; bodies written as `"absent"` are left out.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Effect {
    /// Wait before the next effect, or before the server's own act.
    Wait(u64),
    /// Wait a random time up to this one.
    WaitUpTo(u64),

    /// Answer the upgrade with an HTTP status. Only at [`When::Dialled`](super::When::Dialled).
    Refuse {
        /// The status.
        status: u16,
        /// The header `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
        /// The header `Location`.
        #[serde(default)]
        location: Option<String>,
    },
    /// From now on nothing is sent, neither an upgrade answer nor a payload nor a pong.
    Hang,
    /// From now on no payload is sent; websocket pings are answered.
    Silent,
    /// Nothing is read any more.
    Deaf,
    /// Neither read nor written any more.
    Stall,
    /// Undoes `hang`, `silent`, `deaf` and `stall`. An op 9 that was to be sent meanwhile is sent now.
    Recover,
    /// Sends plain text on this connection whatever compression was asked for.
    Plain,

    /// Op 10 with this `heartbeat_interval`, of any type.
    Hello(Value),
    /// Op 1 with this body.
    Op1(Value),
    /// Op 7.
    Op7,
    /// Op 9 with this body; with anything but `true` the session is gone.
    Op9(Value),
    /// Op 11, so many times.
    Ack(u32),
    /// The next acknowledgements are left out; `null`: all.
    WithholdAcks(Option<u32>),
    /// Any text as one payload (compressed where the connection is).
    Text(String),
    /// Bytes as one websocket message, as they are.
    Raw {
        /// The bytes in hexadecimal.
        hex: String,
        /// As a binary message (text).
        #[serde(default)]
        binary: bool,
    },
    /// Websocket frames byte for byte, in hexadecimal; on real lines only.
    Wire(String),
    /// A websocket ping with so many bytes.
    Ping(usize),

    /// One dispatch to the connection's session; with `s` it goes to the connection alone, with
    /// this number, and the session does not know of it.
    Dispatch {
        /// The event name.
        t: String,
        /// The body.
        #[serde(default)]
        d: Value,
        /// The sequence number to lie with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        s: Option<Value>,
    },
    /// Dispatches of a given size to the connection's session.
    Big {
        /// The event name.
        t: String,
        /// The size of the body in bytes.
        bytes: usize,
        /// How many (1).
        #[serde(default = "one")]
        count: u64,
    },
    /// One dispatch of such a size to the connection alone, made without ever holding it as a
    /// whole; only where a compressed stream was asked for.
    Bomb {
        /// The event name.
        t: String,
        /// The size of the body in bytes.
        bytes: u64,
    },
    /// So many events of the corpus to the connection's session, at once.
    Events(u64),
    /// So many events, as fast as the line takes them.
    Flood(u64),
    /// The session's next sequence numbers are left out.
    SkipSeq(u64),
    /// The last so many dispatches are sent again.
    Repeat(u64),

    /// A close frame with this code; `null`: without a code.
    Close(Option<u16>),
    /// The line ends without a close frame, in order.
    Fin,
    /// The line is reset.
    Rst,

    /// The next message goes out only up to this many bytes of its websocket frame.
    Cut {
        /// How many bytes go out.
        after: usize,
        /// How the line ends then.
        #[serde(default)]
        then: Ending,
    },
    /// The next messages are cut into pieces of these sizes, over and over.
    Split {
        /// Sizes in bytes; `[1]` is byte by byte. The last pieces may be shorter.
        sizes: Vec<usize>,
        /// Cut into what.
        #[serde(default)]
        level: Level,
        /// For how many messages (all).
        #[serde(default)]
        count: Option<u64>,
    },
    /// The next so many payloads travel in one websocket message.
    Merge(usize),
    /// The next message is damaged, or the dispatch with this number each time it is sent.
    Damage {
        /// How.
        how: Damage,
        /// Which dispatch of the session.
        #[serde(default)]
        seq: Option<u64>,
        /// How many times (1; for a dispatch: always).
        #[serde(default)]
        count: Option<u32>,
    },

    /// The connection's session can't be resumed any more; nobody is told.
    Invalidate,
    /// No session can be resumed any more.
    InvalidateAll,
    /// From now on READY names this as `resume_gateway_url`.
    ResumeUrl(Value),
    /// All tokens are refused from now on.
    RevokeTokens,
    /// What dials to a listener meet from now on.
    Listener {
        /// Which.
        which: Listener,
        /// What.
        mode: ListenerMode,
        /// For how long (for good).
        #[serde(default)]
        ms: Option<u64>,
    },
    /// The next REST answer.
    Rest(RestFault),
}

fn one() -> u64 {
    1
}

impl Effect {
    /// Whether it is about the whole server, not about one connection.
    #[must_use]
    pub fn is_global(&self) -> bool {
        matches!(
            self,
            Self::InvalidateAll
                | Self::ResumeUrl(_)
                | Self::RevokeTokens
                | Self::Listener { .. }
                | Self::Rest(_)
        )
    }
}
