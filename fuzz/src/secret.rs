//! The token of all fuzzed machines, and the rule that no text shows it.

use std::sync::LazyLock;

use shardwright_core::Token;

/// With characters that JSON and URLs escape.
const TOKEN: &str = "MTk4NjIyNDgz.Cl2+FMQ/\"x\\y.ZnCjm1XVW7vRze4b7Cq4se7kKWs";
/// So much of it is as bad as all of it.
const PART: usize = 9;

/// Pieces of its spellings. Whatever holds twice their length of it holds one of them.
static PARTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let escaped = TOKEN.escape_default().to_string();
    let mut parts = Vec::new();
    for form in [TOKEN, &escaped] {
        let whole = form.as_bytes().chunks_exact(PART);
        parts.extend(whole.map(|part| String::from_utf8_lossy(part).into_owned()));
    }
    parts
});

pub(crate) fn token() -> Token {
    Token::new(TOKEN).expect("this is a token")
}

/// Whether a good part of the token stands in the text, as it is or escaped.
pub(crate) fn is_in(text: &str) -> bool {
    PARTS.iter().any(|part| text.contains(part.as_str()))
}

/// Whether the fuzzer has come upon some of the token by itself: then it may stand anywhere.
pub(crate) fn is_spelt_in(input: &[u8]) -> bool {
    const SOME: usize = 5;
    let input = String::from_utf8_lossy(input);
    let escaped = TOKEN.escape_default().to_string();
    [TOKEN, &escaped].iter().any(|form| {
        let some = form.as_bytes().windows(SOME);
        some.filter_map(|some| str::from_utf8(some).ok())
            .any(|some| input.contains(some))
    })
}

pub(crate) fn must_not_show(text: &str) {
    assert!(!is_in(text), "the token shows in: {text}");
}
