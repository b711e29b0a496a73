//! The token of all fuzzed machines, and the rule that no text shows it.

use shardwright_core::Token;

/// With characters that JSON, URLs and both escape. No input holds it by chance.
const TOKEN: &str = "MTk4NjIy.Cl2+FMQ/\"x\\.ZnCjm1XVW7vRze4b7C";
/// So much of it is as bad as all of it.
const PART: usize = 10;

pub(crate) fn token() -> Token {
    Token::new(TOKEN).expect("this is a token")
}

/// Whether some part of the token stands in the text, as it is or escaped.
pub(crate) fn is_in(text: &str) -> bool {
    let escaped = serde_json::Value::from(TOKEN).to_string();
    let debugged = escaped.escape_debug().to_string();
    [TOKEN, &escaped, &debugged].iter().any(|form| {
        let form = form.trim_matches(|c| c == '"');
        let parts = form.as_bytes().windows(PART);
        parts.filter_map(|part| str::from_utf8(part).ok()).any(|part| text.contains(part))
    })
}

pub(crate) fn must_not_show(text: &str) {
    assert!(!is_in(text), "the token shows in: {text}");
}
