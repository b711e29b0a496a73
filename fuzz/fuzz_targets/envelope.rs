//! Any payload: the scan and a JSON parser read the same envelope.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shardwright_core::{Envelope, EnvelopeError};

fuzz_target!(|payload: &[u8]| {
    let scanned = Envelope::scan(payload);
    let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(payload) else {
        return;
    };
    let envelope = match scanned {
        Ok(envelope) => envelope,
        Err(EnvelopeError::Json { at }) => panic!("this is JSON, whatever is at {at}"),
        Err(_) => return,
    };
    let body = match &payload[envelope.data] {
        [] => None,
        // Something follows the body, which the fast way leaves to whoever parses the body.
        body => match serde_json::from_slice::<Value>(body) {
            Ok(body) => Some(body),
            Err(_) => return,
        },
    };
    assert_eq!(Some(envelope.op), integer(&value["op"]));
    assert_eq!(envelope.seq, integer(&value["s"]));
    assert_eq!(envelope.name.as_deref(), value["t"].as_str());
    assert_eq!(body.as_ref(), value.get("d"));
});

fn integer(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_f64().map(|float| float as u64))
}
