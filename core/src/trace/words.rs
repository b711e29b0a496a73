//! Actions as text: what a trace holds, and what a replay is compared with.

use std::fmt::{self, Write};
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64;

use crate::{Action, Event, FleetAction, OutgoingText, Token, Wait};

/// How actions are worded.
#[derive(Clone, Debug)]
pub(super) struct Words {
    base: Instant,
    mask: Mask,
}

/// Hides the token in Identify and Resume.
#[derive(Clone)]
pub(super) struct Mask {
    /// The token as it stands in JSON, with its key.
    secret: String,
    shown: String,
    length: usize,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mask").field(&self.shown).finish()
    }
}

impl Mask {
    pub(super) fn new(token: &Token) -> Self {
        let secret = serde_json::to_string(token.expose()).unwrap_or_default();
        let length = secret.len().saturating_sub(2);
        let shown = Token::placeholder(length);
        Self {
            secret: format!(r#""token":{secret}"#),
            shown: format!(r#""token":"{}""#, shown.expose()),
            length,
        }
    }

    /// The token's length, as JSON.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    fn hide(&self, text: &str) -> String {
        text.replacen(&self.secret, &self.shown, 1)
    }
}

impl Words {
    pub(super) fn new(base: Instant, mask: Mask) -> Self {
        Self { base, mask }
    }

    /// What a shard's machine did. What it is written to does not fail.
    pub(super) fn shard(&self, action: &Action<'_>, out: &mut String) -> fmt::Result {
        match action {
            Action::Emit(Event::Dispatch(event)) => {
                let id = event.id();
                let (name, size) = (event.name(), event.payload_size());
                let hash = xxh3_64(event.data());
                write!(
                    out,
                    "dispatch {}:{} {name} {size} {hash:016x}",
                    id.session, id.seq
                )
            }
            Action::Emit(event) => write!(out, "event {event:?}"),
            Action::Connect {
                conn,
                url,
                time_allowed,
            } => write!(out, "connect {conn} {url} within {time_allowed:?}"),
            Action::Send { conn, text } => {
                write!(out, "send {conn} ")?;
                self.text(text, out);
                Ok(())
            }
            Action::Close { conn, code, reason } => {
                write!(out, "close {conn} {} {reason}", code.get())
            }
            Action::Abort { conn } => write!(out, "abort {conn}"),
            Action::WantIdentify { conn } => write!(out, "want identify {conn}"),
            Action::WithdrawIdentify { conn } => write!(out, "withdraw identify {conn}"),
            Action::IdentifySent { conn } => write!(out, "identify sent {conn}"),
            Action::CaughtUp { mark } => write!(out, "caught up {mark}"),
            Action::Answer { id, answer } => write!(out, "answer {} {answer:?}", id.0),
            Action::Wait(wait) => self.wait(*wait, out),
        }
    }

    /// What the fleet did.
    pub(super) fn fleet(&self, action: &FleetAction, out: &mut String) -> fmt::Result {
        match action {
            FleetAction::StartShard(start) => {
                let shard = start.config.shard;
                let (seed, muted, state) = (start.seed, start.muted, &start.state);
                write!(
                    out,
                    "start shard {shard} seed {seed} muted {muted} {state:?}"
                )
            }
            FleetAction::Tell { shard, message } => write!(out, "tell {shard} {message:?}"),
            FleetAction::Emit(event) => write!(out, "event {event:?}"),
            FleetAction::Wait(wait) => self.wait(*wait, out),
            other => write!(out, "{other:?}"),
        }
    }

    fn text(&self, text: &OutgoingText, out: &mut String) {
        if text.is_secret() {
            out.push_str(&self.mask.hide(text.as_str()));
        } else {
            out.push_str(text.as_str());
        }
    }

    fn wait(&self, wait: Wait, out: &mut String) -> fmt::Result {
        match wait {
            Wait::Until(at) => {
                let at = at.saturating_duration_since(self.base);
                write!(out, "wait until {:?}", at)
            }
            Wait::For(what) => write!(out, "wait for {what:?}"),
            Wait::Stopped => out.write_str("over"),
        }
    }
}

/// Whether an action ends a drain.
pub(super) fn is_wait(action: &str) -> bool {
    action.starts_with("wait ") || action == "over"
}
