//! What a shard was told, as plain data: what its checker sees of an input.

use shardwright_core::Stop;

/// One input of a shard. Connections and commands go by their bare numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, missing_docs)]
pub enum Heard {
    Start,
    Opened(u32),
    Received(u32, Payload),
    Closed(u32, Option<u16>),
    Failed(u32),
    Flushed(u32),
    Granted(u32),
    Command(u64),
    CatchUp(u64),
    Acknowledged { session: u32, seq: u64 },
    Congested(bool),
    Stop(Stop),
    Tick,
}

/// What a message of the gateway holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, missing_docs)]
pub enum Payload {
    Hello,
    AbsurdHello,
    BeatRequest,
    Reconnect,
    /// Op 9; `None` for a body of `null`.
    InvalidSession(Option<bool>),
    BeatAck,
    Ready {
        session_id: String,
        seq: u64,
    },
    Dispatch {
        /// Whether it is RESUMED.
        resumed: bool,
        seq: Option<u64>,
    },
    Garbage,
    Empty,
}

impl Payload {
    /// The text of the message.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Hello => r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#.into(),
            Self::AbsurdHello => r#"{"op":10,"d":{"heartbeat_interval":3}}"#.into(),
            Self::BeatRequest => r#"{"op":1,"d":null}"#.into(),
            Self::Reconnect => r#"{"op":7,"d":null}"#.into(),
            Self::InvalidSession(resumable) => {
                let body = resumable.map_or("null".to_owned(), |resumable| resumable.to_string());
                format!(r#"{{"op":9,"d":{body}}}"#)
            }
            Self::BeatAck => r#"{"op":11}"#.into(),
            Self::Ready { session_id, seq } => format!(
                r#"{{"t":"READY","s":{seq},"op":0,"d":{{"v":10,"session_id":"{session_id}","resume_gateway_url":"wss://resume.example","guilds":[]}}}}"#
            ),
            Self::Dispatch { resumed, seq } => {
                let name = if *resumed { "RESUMED" } else { "TYPING_START" };
                let seq = seq.map_or("null".to_owned(), |seq| seq.to_string());
                format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{{}}}}"#)
            }
            Self::Garbage => "garbage".into(),
            Self::Empty => String::new(),
        }
    }
}
