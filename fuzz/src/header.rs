//! Any payload: the scan reads the envelope that a JSON parser reads, or both find fault with it.

use serde::de::IgnoredAny;
use serde_json::Value;
use shardwright_core::{Envelope, EnvelopeError};

pub fn check(payload: &[u8]) {
    let scanned = Envelope::scan(payload);
    if let Ok(envelope) = &scanned {
        check_without_body(payload, envelope);
    }
    let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(payload) else {
        return;
    };
    match (scanned, expected(&value)) {
        (Ok(envelope), expected) => {
            let body = match &payload[envelope.data.clone()] {
                [] => None,
                // Something follows the body, which the fast way leaves to whoever parses the body.
                body => match serde_json::from_slice::<Value>(body) {
                    Ok(body) => Some(body),
                    Err(_) => return,
                },
            };
            assert_eq!(Ok(outer(&envelope)), expected);
            assert_eq!(body.as_ref(), value.get("d"));
        }
        (Err(EnvelopeError::NameTooLong), Err(EnvelopeError::BadName)) => {}
        (Err(error), expected) => assert_eq!(Err(error), expected),
    }
}

/// Whatever the body is, the rest is JSON and holds what the scan has found in it.
fn check_without_body(payload: &[u8], envelope: &Envelope<'_>) {
    if let Some(range) = envelope.name_range() {
        assert_eq!(
            Some(&payload[range]),
            envelope.name.as_deref().map(str::as_bytes)
        );
    }
    let before = &payload[..envelope.data.start];
    let after = &payload[envelope.data.end..];
    let body: &[u8] = if envelope.data.is_empty() {
        b""
    } else {
        b"null"
    };
    let rest = [before, body, after].concat();
    match serde_json::from_slice::<Value>(&rest) {
        Ok(value) => assert_eq!(Ok(outer(envelope)), expected(&value)),
        // Too deep, a number too large, or text that is not UTF-8.
        Err(_) => drop(serde_json::from_slice::<IgnoredAny>(&rest).expect("JSON around the body")),
    }
}

type Outer = (u64, Option<u64>, Option<String>);

fn outer(envelope: &Envelope<'_>) -> Outer {
    let name = envelope.name.as_deref().map(str::to_owned);
    (envelope.op, envelope.seq, name)
}

fn expected(value: &Value) -> Result<Outer, EnvelopeError> {
    let op = value.get("op").ok_or(EnvelopeError::NoOpcode)?;
    let op = integer(op).ok_or(EnvelopeError::BadOpcode)?;
    let seq = match &value["s"] {
        Value::Null => None,
        seq => Some(integer(seq).ok_or(EnvelopeError::BadSequence)?),
    };
    let name = match &value["t"] {
        Value::Null => None,
        Value::String(name) if name.len() > 256 => return Err(EnvelopeError::NameTooLong),
        Value::String(name) => Some(name.clone()),
        _ => return Err(EnvelopeError::BadName),
    };
    Ok((op, seq, name))
}

fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|_| !value.is_i64())?;
        (float.fract() == 0.0 && (0.0..=(1_u64 << 53) as f64).contains(&float))
            .then_some(float as u64)
    })
}
