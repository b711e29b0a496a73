//! Checks a payload that a caller wrote by hand.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::command_error::{CommandError, check_size};

/// How deep a payload may be nested. Discord's own commands need four levels; a parser on the
/// other side may give up at any depth.
const MAX_DEPTH: usize = 64;

/// The opcode, and the text for the wire: the envelope written anew, `d` as it was.
pub(crate) fn check(payload: &str) -> Result<(u8, Box<str>), CommandError> {
    // Before anything is parsed: what follows is then bounded in time and depth.
    check_size(payload.len())?;
    if depth(payload) > MAX_DEPTH {
        return Err(CommandError::Malformed(format!(
            "it is nested more than {MAX_DEPTH} deep"
        )));
    }
    // Derived code would read an array as well.
    if !payload.trim_start().starts_with('{') {
        return Err(CommandError::Malformed("it is not an object".to_owned()));
    }
    let Envelope { op, d } = serde_json::from_str(payload)
        .map_err(|error| CommandError::Malformed(short(&error.to_string())))?;
    if let 0 | 1 | 2 | 6 | 7 | 9 | 10 | 11 = op {
        return Err(CommandError::ReservedOp { op });
    }
    let json = format!(r#"{{"op":{op},"d":{}}}"#, d.map_or("null", RawValue::get));
    check_size(json.len())?;
    Ok((op, json.into_boxed_str()))
}

/// Derived code refuses a key that stands there twice, so the opcode that was checked is the one
/// that is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object with the keys `op` and `d`")]
struct Envelope<'p> {
    op: u8,
    #[serde(borrow, default)]
    d: Option<&'p RawValue>,
}

/// The deepest nesting of arrays and objects, brackets in strings left out of account.
fn depth(json: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// serde_json repeats unknown keys in full.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(payload: &str) -> Result<String, CommandError> {
        check(payload).map(|(_, json)| json.into())
    }

    #[test]
    fn the_envelope_is_normalised_and_d_kept() {
        for (payload, json) in [
            (
                r#"{"op":3,"d":{"a": [1.50, null]}}"#,
                r#"{"op":3,"d":{"a": [1.50, null]}}"#,
            ),
            (" {\"d\" : 1e3 ,\n\"op\" : 255 } ", r#"{"op":255,"d":1e3}"#),
            (r#"{"op":5}"#, r#"{"op":5,"d":null}"#),
            (r#"{"op":5,"d":null}"#, r#"{"op":5,"d":null}"#),
            (r#"{"op":14,"d":"\u00e9}]"}"#, r#"{"op":14,"d":"\u00e9}]"}"#),
        ] {
            assert_eq!(sent(payload).as_deref(), Ok(json));
        }
    }

    #[test]
    fn the_machines_own_opcodes_are_refused() {
        for op in [0, 1, 2, 6, 7, 9, 10, 11] {
            assert_eq!(
                sent(&format!(r#"{{"op":{op},"d":null}}"#)),
                Err(CommandError::ReservedOp { op })
            );
        }
        for op in [3, 4, 5, 8, 12, 31, 43, 99, 255] {
            assert!(sent(&format!(r#"{{"op":{op},"d":{{}}}}"#)).is_ok(), "{op}");
        }
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for payload in [
            "",
            "null",
            "[3,{}]",
            r#""op""#,
            "{}",
            r#"{"d":{}}"#,
            r#"{"op":"3","d":{}}"#,
            r#"{"op":3.0,"d":{}}"#,
            r#"{"op":-3,"d":{}}"#,
            r#"{"op":256,"d":{}}"#,
            r#"{"op":null,"d":{}}"#,
            r#"{"op":3,"d":{},"s":1}"#,
            r#"{"op":3,"d":{},"t":null}"#,
            r#"{"op":3,"op":2,"d":{}}"#,
            r#"{"op":3,"\u006fp":2,"d":{}}"#,
            r#"{"op":3,"d":{}} {}"#,
            r#"{"op":3,"d":{}"#,
            r#"{"op":3,"d":{a:1}}"#,
            r#"{"op":3,"d":NaN}"#,
            "{\"op\":3,\"d\":\"\n\"}",
            "\u{feff}{\"op\":3,\"d\":{}}",
        ] {
            assert!(
                matches!(sent(payload), Err(CommandError::Malformed(_))),
                "{payload}"
            );
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let nested = |levels: usize| {
            format!(
                r#"{{"op":3,"d":{}{}}}"#,
                "[".repeat(levels),
                "]".repeat(levels)
            )
        };
        // The envelope is a level of its own.
        assert!(sent(&nested(63)).is_ok());
        assert!(matches!(sent(&nested(64)), Err(CommandError::Malformed(_))));
        assert!(sent(&nested(2000)).is_err());
        let beside = "[[]],".repeat(500) + "{}";
        assert!(sent(&format!(r#"{{"op":3,"d":[{beside}]}}"#)).is_ok());
        let brackets = format!(r#"{{"op":3,"d":"\"{}"}}"#, "[".repeat(500));
        assert!(sent(&brackets).is_ok());
        let long = |bytes: usize| format!(r#"{{"op":3,"d":"{}"}}"#, "x".repeat(bytes - 15));
        assert_eq!(sent(&long(4096)).unwrap().len(), 4096);
        assert_eq!(
            sent(&long(5000)),
            Err(CommandError::TooLarge { bytes: 5000 })
        );
        let key = format!(r#"{{"op":3,"{}":1}}"#, "k".repeat(3000));
        assert!(matches!(sent(&key), Err(CommandError::Malformed(text)) if text.len() == 200));
    }
}
