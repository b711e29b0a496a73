//! What a shard did, as plain data.

use std::time::Duration;

use serde::Deserialize;
use shardwright_core::{
    Action, Answer, Event, Next, OutgoingText, Problem, SessionLoss, ShardState, StopReason,
};

/// No other text of the machine may contain this.
pub(super) const TOKEN: &str = "t0p-s3cret";

/// One action of a shard. Connections and commands go by their bare numbers.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_enums, missing_docs)]
pub enum Did {
    Dial {
        conn: u32,
        url: String,
    },
    Identify {
        conn: u32,
    },
    Resume {
        conn: u32,
        session_id: String,
        seq: u64,
    },
    Beat {
        conn: u32,
        seq: Option<u64>,
    },
    Command {
        conn: u32,
        op: u8,
    },
    Close {
        conn: u32,
        code: u16,
    },
    Abort {
        conn: u32,
    },
    WantIdentify {
        conn: u32,
    },
    WithdrawIdentify {
        conn: u32,
    },
    IdentifySent {
        conn: u32,
    },
    Answer {
        id: u64,
        answer: Answer,
    },
    CaughtUp {
        mark: u64,
    },
    Dispatch {
        session: u32,
        seq: u64,
    },
    Connecting {
        conn: u32,
        url: String,
    },
    Ready {
        conn: u32,
        session: u32,
        session_id: String,
    },
    Resumed {
        conn: u32,
        session: u32,
    },
    Disconnected {
        conn: u32,
        next: Next,
        delay: Duration,
    },
    SessionLost {
        session: u32,
        why: SessionLoss,
    },
    Gap {
        expected: u64,
        got: u64,
    },
    ShardStopped {
        why: StopReason,
        state: ShardState,
    },
    /// An event that only informs.
    Note(String),
    /// A text that must not be: not of its opcode's form, or with the token where it does not belong.
    Bad(String),
}

#[derive(Deserialize)]
struct Sent<D> {
    d: D,
}

#[derive(Deserialize)]
struct IdentifyBody {
    token: String,
}

#[derive(Deserialize)]
struct ResumeBody {
    token: String,
    session_id: String,
    seq: u64,
}

impl Did {
    /// The same as plain data; `None` for a `Wait`.
    #[must_use]
    pub fn of(action: Action<'_>) -> Option<Self> {
        let did = match action {
            Action::Wait(_) => return None,
            Action::Connect { conn, url, .. } => Self::Dial {
                conn: conn.get(),
                url,
            },
            Action::Send { conn, text } => Self::sent(conn.get(), &text),
            Action::Close { conn, code, .. } => Self::Close {
                conn: conn.get(),
                code: code.get(),
            },
            Action::Abort { conn } => Self::Abort { conn: conn.get() },
            Action::WantIdentify { conn } => Self::WantIdentify { conn: conn.get() },
            Action::WithdrawIdentify { conn } => Self::WithdrawIdentify { conn: conn.get() },
            Action::IdentifySent { conn } => Self::IdentifySent { conn: conn.get() },
            Action::CaughtUp { mark } => Self::CaughtUp { mark },
            Action::Answer { id, answer } => Self::Answer { id: id.0, answer },
            Action::Emit(event) => Self::event(event),
            other => Self::Note(format!("{other:?}")),
        };
        let leaks = format!("{did:?}").contains(TOKEN);
        Some(if leaks {
            Self::Bad("a token where it does not belong".to_owned())
        } else {
            did
        })
    }

    fn sent(conn: u32, text: &OutgoingText) -> Self {
        let form = match text.op() {
            1 => serde_json::from_str(text.as_str())
                .map(|sent: Sent<Option<u64>>| Self::Beat { conn, seq: sent.d })
                .ok(),
            2 => serde_json::from_str(text.as_str())
                .ok()
                .filter(|sent: &Sent<IdentifyBody>| sent.d.token == TOKEN)
                .map(|_| Self::Identify { conn }),
            6 => serde_json::from_str(text.as_str())
                .ok()
                .filter(|sent: &Sent<ResumeBody>| sent.d.token == TOKEN)
                .map(|sent| Self::Resume {
                    conn,
                    session_id: sent.d.session_id,
                    seq: sent.d.seq,
                }),
            op => (!text.as_str().contains(TOKEN)).then_some(Self::Command { conn, op }),
        };
        form.unwrap_or_else(|| Self::Bad(format!("a payload of opcode {} of bad form", text.op())))
    }

    fn event(event: Event<'_>) -> Self {
        match event {
            Event::Dispatch(dispatch) => Self::Dispatch {
                session: dispatch.id().session,
                seq: dispatch.id().seq,
            },
            Event::Connecting { conn, url, .. } => Self::Connecting {
                conn: conn.get(),
                url,
            },
            Event::Ready {
                conn,
                session,
                session_id,
                ..
            } => Self::Ready {
                conn: conn.get(),
                session,
                session_id,
            },
            Event::Resumed { conn, session, .. } => Self::Resumed {
                conn: conn.get(),
                session,
            },
            Event::Disconnected {
                conn, next, delay, ..
            } => Self::Disconnected {
                conn: conn.get(),
                next,
                delay,
            },
            Event::SessionLost { session, why, .. } => Self::SessionLost { session, why },
            Event::Problem {
                problem: Problem::Gap { expected, got },
                ..
            } => Self::Gap { expected, got },
            Event::ShardStopped { why, state, .. } => Self::ShardStopped { why, state: *state },
            other => Self::Note(format!("{other:?}")),
        }
    }
}
