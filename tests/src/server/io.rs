//! What goes into the machine and what comes out of it.

use std::time::Instant;

use bytes::Bytes;

use crate::scenario::{Ending, Listener, ListenerMode};
use crate::ws;

/// One connection, numbered by the driver and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct ConnId(pub u64);

/// A shard's number and the total it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct Shard {
    /// Its number, from 0.
    pub number: u64,
    /// How many there are.
    pub total: u64,
}

impl Shard {
    /// Whether this shard owns the guild.
    #[must_use]
    pub fn owns(self, guild: u64) -> bool {
        (guild >> 22) % self.total.max(1) == self.number
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}]", self.number, self.total)
    }
}

/// A whole websocket message. Text is kept as bytes, because a scenario may break its encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum WsMessage {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl WsMessage {
    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    pub(super) fn with(&self, bytes: Bytes) -> Self {
        match self {
            Self::Text(_) => Self::Text(bytes),
            Self::Binary(_) => Self::Binary(bytes),
        }
    }
}

/// A websocket message on its way to a client, and how it is to travel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// The message.
    pub message: WsMessage,
    /// Sizes of the websocket frames it is cut into, over and over; empty: one frame.
    pub frames: Vec<usize>,
    /// Sizes of the writes its bytes are cut into, over and over; empty: one write.
    pub writes: Vec<usize>,
    /// Only so many bytes of what would go over the line do; the message never arrives whole.
    pub only: Option<usize>,
}

impl Outgoing {
    pub(super) fn whole(message: WsMessage) -> Self {
        Self {
            message,
            frames: Vec::new(),
            writes: Vec::new(),
            only: None,
        }
    }

    /// The bytes on the line, cut off where [`Outgoing::only`] says.
    pub fn wire(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let bytes = self.message.bytes();
        let mut opcode = match self.message {
            WsMessage::Text(_) => ws::TEXT,
            WsMessage::Binary(_) => ws::BINARY,
        };
        if self.frames.is_empty() {
            ws::write_frame(out, true, opcode, bytes);
        } else {
            let pieces = super::shape::pieces(bytes, &self.frames);
            let last = pieces.len() - 1;
            for (at, piece) in pieces.into_iter().enumerate() {
                ws::write_frame(out, at == last, opcode, piece);
                opcode = ws::CONTINUATION;
            }
        }
        if let Some(only) = self.only {
            out.truncate(start.saturating_add(only));
        }
    }

    /// Whether the client gets the message at all.
    #[must_use]
    pub fn arrives(&self) -> bool {
        let Some(only) = self.only else { return true };
        let mut wire = Vec::new();
        let uncut = Self {
            only: None,
            ..self.clone()
        };
        uncut.wire(&mut wire);
        wire.len() <= only
    }
}

/// A frame from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Frame {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A client asked for the upgrade.
    Opened {
        /// The new connection.
        conn: ConnId,
        /// Where it came in.
        listener: Listener,
        /// Path and query of the request.
        target: String,
    },
    /// A frame came.
    Received {
        /// On which connection.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// The client sent a close frame (a frame without a code counts as 1005), or, with `None`,
    /// the line is gone.
    Closed {
        /// Which connection.
        conn: ConnId,
        /// The code of the close frame.
        code: Option<u16>,
    },
    /// The client broke the framing rules.
    Misframed {
        /// On which connection.
        conn: ConnId,
        /// How.
        fault: ws::Misframed,
    },
    /// So many bytes of messages left for the client; only counted with
    /// [`flow_control`](super::ServerConfig::flow_control).
    Flushed {
        /// On which connection.
        conn: ConnId,
        /// How many, as [`WsMessage::bytes`] counts.
        bytes: usize,
    },
    /// Time has passed.
    Tick,
}

/// What the driver must do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerAction {
    /// Answer the upgrade with 101.
    Accept {
        /// Which connection.
        conn: ConnId,
    },
    /// Answer the upgrade with another status and end the line.
    Refuse {
        /// Which connection.
        conn: ConnId,
        /// The HTTP status.
        status: u16,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// The header `Location`.
        location: Option<String>,
    },
    /// Send a message.
    Send {
        /// On which connection.
        conn: ConnId,
        /// What, and how.
        outgoing: Outgoing,
    },
    /// Send a websocket ping.
    Ping {
        /// On which connection.
        conn: ConnId,
        /// Its payload.
        bytes: Bytes,
    },
    /// Send a websocket pong.
    Pong {
        /// On which connection.
        conn: ConnId,
        /// Its payload.
        bytes: Bytes,
    },
    /// Put these bytes on the line as they are.
    Wire {
        /// On which connection.
        conn: ConnId,
        /// The bytes.
        bytes: Bytes,
    },
    /// Send a close frame. The line stays: the client's own close frame or a
    /// [`Drop`](ServerAction::Drop) follows.
    Close {
        /// On which connection.
        conn: ConnId,
        /// The code, if it has one.
        code: Option<u16>,
        /// The reason.
        reason: String,
    },
    /// End the line; nothing follows on this connection.
    Drop {
        /// Which connection.
        conn: ConnId,
        /// How.
        how: HowDropped,
    },
    /// Stop reading from the client, or start again.
    Reads {
        /// On which connection.
        conn: ConnId,
        /// Whether to read.
        on: bool,
    },
    /// From now on dials to a listener meet this.
    Listener {
        /// Which listener.
        which: Listener,
        /// What they meet.
        mode: ListenerMode,
    },
    /// Nothing to do until an input comes, or until this time, when a
    /// [`Tick`](Input::Tick) is due.
    Wait(Option<Instant>),
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum HowDropped {
    /// After the close frames, in order.
    InOrder,
    /// The TCP stream ends without any farewell.
    Fin,
    /// The TCP connection is reset.
    Rst,
}

impl HowDropped {
    pub(super) fn of(ending: Ending) -> Option<Self> {
        match ending {
            Ending::Fin => Some(Self::Fin),
            Ending::Rst => Some(Self::Rst),
            Ending::Stall => None,
        }
    }
}
