//! The bot token, kept so that it cannot be printed by accident.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest token that is taken, in bytes. Discord's are about 70.
const MAX_BYTES: usize = 512;

/// What stands for the token in texts that people see.
const MASK: &str = "[token]";

/// A bot token.
///
/// It can be compared and cloned, but has neither `Display` nor serde, and its `Debug` shows
/// nothing: the token belongs into Identify, Resume and one HTTP header and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

/// Why a text is no token. It never holds a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing is left once white space and the prefix are taken off.
    #[error("the token is empty; copy it from the bot's page in the developer portal")]
    Empty,
    /// There is white space between two characters: two tokens, or a foreign prefix.
    #[error("the token has white space inside; give one bare token, without `Bearer` or a comment")]
    InnerWhiteSpace,
    /// There is a control character.
    #[error("the token holds a control character; copy it anew from the developer portal")]
    Control,
    /// There is a character beyond ASCII, often a byte-order mark or a curly quote.
    #[error("the token holds a character that is not ascii; save it as plain text, without quotes")]
    NotAscii,
    /// It is too long for any token.
    #[error("the token is {bytes} bytes long, more than {MAX_BYTES}; give the token alone")]
    TooLong {
        /// The length found, in bytes, without white space and prefix.
        bytes: usize,
    },
}

impl Token {
    /// Takes a token as people store it: white space and line ends around it and one leading
    /// `Bot ` or `bot ` are dropped.
    ///
    /// # Errors
    /// What is left is empty, longer than 512 bytes, or holds white space, control or non-ASCII
    /// characters. The error holds nothing of the text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TokenError> {
        let text = text.as_ref().trim();
        let bare = match text
            .strip_prefix("Bot")
            .or_else(|| text.strip_prefix("bot"))
        {
            // "Bot" alone is a prefix whose token is missing.
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
                rest.trim_start()
            }
            _ => text,
        };
        if bare.is_empty() {
            return Err(TokenError::Empty);
        }
        if bare.len() > MAX_BYTES {
            return Err(TokenError::TooLong { bytes: bare.len() });
        }
        for c in bare.chars() {
            if c.is_whitespace() {
                return Err(TokenError::InnerWhiteSpace);
            }
            if c.is_control() {
                return Err(TokenError::Control);
            }
            if !c.is_ascii() {
                return Err(TokenError::NotAscii);
            }
        }
        Ok(Self(bare.into()))
    }

    /// What stands in for a token of this length, as in a trace.
    pub(crate) fn placeholder(length: usize) -> Self {
        let dots = ".".repeat(length.clamp(MASK.len(), 6 * MAX_BYTES) - MASK.len());
        Self(MASK.replace(']', &format!("{dots}]")).into())
    }

    pub(crate) fn masked() -> Self {
        Self::placeholder(0)
    }

    /// The bare token, for the payloads Identify and Resume and for the `Authorization` header
    /// (which puts `Bot ` before it). Whoever calls this keeps it out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text with `[token]` wherever the token stands: as it is, percent-encoded, or escaped
    /// as in a JSON string.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for form in self.forms() {
            if text.contains(&*form) {
                text = Cow::Owned(text.replace(&*form, MASK));
            }
        }
        text
    }

    /// The spellings in which the token may turn up; the plain one comes last, because it may be
    /// a part of the others.
    fn forms(&self) -> Vec<Cow<'_, str>> {
        let plain = self.expose();
        let json = serde_json::Value::from(plain).to_string();
        let quoted = json.trim_start_matches('"');
        let escaped = quoted.strip_suffix('"').unwrap_or(quoted);
        let mut forms = Vec::new();
        for form in [
            percent_encoded(plain, b"0123456789ABCDEF"),
            percent_encoded(plain, b"0123456789abcdef"),
            escaped.to_owned(),
        ] {
            if form != plain {
                forms.push(Cow::Owned(form));
            }
        }
        forms.push(Cow::Borrowed(plain));
        forms
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::new(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Everything but RFC 3986's unreserved characters encoded, with the digits given.
fn percent_encoded(text: &str, digits: &[u8; 16]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(digits[usize::from(byte >> 4)]));
            out.push(char::from(digits[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "MTk4NjIyNDgz.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs";

    #[test]
    fn white_space_and_one_prefix_are_taken_off() {
        for text in [
            BARE.to_owned(),
            format!("  {BARE}\r\n"),
            format!("Bot {BARE}"),
            format!("bot {BARE}\n"),
            format!("\tBot  {BARE}"),
        ] {
            assert_eq!(Token::new(&text).unwrap().expose(), BARE, "{text:?}");
        }
        // Only a whole word is a prefix.
        assert_eq!(Token::new("Botany.x").unwrap().expose(), "Botany.x");
        assert_eq!(BARE.parse(), Token::new(BARE));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", " \n", "Bot", "Bot ", "bot\n"] {
            assert_eq!(Token::new(text), Err(TokenError::Empty), "{text:?}");
        }
        for text in ["a b", "Bearer abc", "Bot Bot abc", "a\nb", "a\u{a0}b"] {
            assert_eq!(
                Token::new(text),
                Err(TokenError::InnerWhiteSpace),
                "{text:?}"
            );
        }
        assert_eq!(Token::new("a\0b"), Err(TokenError::Control));
        assert_eq!(Token::new("a\u{7f}"), Err(TokenError::Control));
        assert_eq!(Token::new("\u{feff}abc"), Err(TokenError::NotAscii));
        assert_eq!(Token::new("“abc”"), Err(TokenError::NotAscii));
        assert!(Token::new("x".repeat(512)).is_ok());
        let long = "x".repeat(513);
        assert_eq!(Token::new(long), Err(TokenError::TooLong { bytes: 513 }));
    }

    #[test]
    fn neither_debug_nor_an_error_shows_it() {
        let token = Token::new(BARE).unwrap();
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        assert_eq!(format!("{:?}", Some(&token)), "Some(Token(redacted))");
        let error = Token::new("secret one").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn redact_finds_every_spelling() {
        let token = Token::new("ab+/c=.\"d").unwrap();
        let text = "1 ab+/c=.\"d 2 ab%2B%2Fc%3D.%22d 3 ab%2b%2fc%3d.%22d 4 ab+/c=.\\\"d 5";
        assert_eq!(
            token.redact(text),
            "1 [token] 2 [token] 3 [token] 4 [token] 5"
        );
        assert!(matches!(token.redact("nothing here"), Cow::Borrowed(_)));
        let token = Token::new(BARE).unwrap();
        assert_eq!(token.redact(&format!("{BARE}{BARE}")), "[token][token]");
    }
}
