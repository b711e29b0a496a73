//! A payload on its way out, which may hold the token.

use std::fmt;

/// The text of one outgoing payload. `Debug` shows everything but an Identify's or Resume's body,
/// which hold the token.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingText {
    text: String,
    op: u8,
}

impl OutgoingText {
    pub(crate) fn new(op: u8, text: String) -> Self {
        Self { text, op }
    }

    /// The JSON text, token and all.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The JSON text, token and all.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }

    /// The opcode.
    #[must_use]
    pub fn op(&self) -> u8 {
        self.op
    }

    /// Whether it holds the token.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.op, 2 | 6)
    }
}

impl fmt::Debug for OutgoingText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret() {
            write!(f, "op {} (body not shown: it holds the token)", self.op)
        } else {
            f.write_str(&self.text)
        }
    }
}
