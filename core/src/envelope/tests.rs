use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn scan(payload: &str) -> Result<Envelope<'_>, EnvelopeError> {
    Envelope::scan(payload.as_bytes())
}

fn data<'a>(payload: &'a str, envelope: &Envelope<'_>) -> &'a str {
    &payload[envelope.data.clone()]
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own data")]
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the corpus is part of the repository") {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".json") && name != "mix.json" {
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
    assert!(files.len() > 50);
    files
}

/// The fast way alone.
fn usual_shape(payload: &[u8]) -> Option<Envelope<'_>> {
    Usual::scan(payload)?.envelope(payload)
}

#[test]
fn every_payload_of_the_corpus_has_the_usual_shape() {
    for (name, payload) in corpus() {
        let fast = usual_shape(&payload).unwrap_or_else(|| panic!("{name} takes the slow way"));
        assert_eq!(fast, walk(&payload).unwrap(), "{name}");
        let value: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(fast.op, 0);
        assert_eq!(fast.seq, value["s"].as_u64());
        assert_eq!(fast.name.as_deref(), value["t"].as_str());
        assert_eq!(
            &payload[fast.name_range().unwrap()],
            value["t"].as_str().unwrap().as_bytes()
        );
        let data: Value = serde_json::from_slice(&payload[fast.data]).unwrap();
        assert_eq!(data, value["d"], "{name}");
    }
}

#[test]
fn control_payloads_are_read() {
    for payload in [
        r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"_trace":["[]"]}}"#,
        r#"{"t":null,"s":null,"op":10,"d":{}}"#,
    ] {
        let envelope = usual_shape(payload.as_bytes()).unwrap();
        assert_eq!(envelope, walk(payload.as_bytes()).unwrap());
        assert_eq!(
            (envelope.op, envelope.seq, &envelope.name),
            (10, None, &None)
        );
    }
    let ack = r#"{"t":null,"s":null,"op":11,"d":null}"#;
    let envelope = scan(ack).unwrap();
    assert_eq!(envelope.op, 11);
    assert_eq!(data(ack, &envelope), "null");
    let invalid = r#"{"op":9,"d":false,"s":null,"t":null}"#;
    let envelope = scan(invalid).unwrap();
    assert_eq!((envelope.op, data(invalid, &envelope)), (9, "false"));
}

#[test]
fn an_acknowledgement_may_be_just_an_opcode() {
    let envelope = scan(r#"{"op":11}"#).unwrap();
    assert_eq!(envelope.op, 11);
    assert_eq!((envelope.seq, envelope.name), (None, None));
    assert!(envelope.data.is_empty());
}

#[test]
fn unknown_opcodes_and_keys_are_no_error() {
    let payload = r#" {"op" : 99 , "x":[{"op":1}], "d":{ } , "_trace":null}
"#;
    let envelope = scan(payload).unwrap();
    assert_eq!((envelope.op, data(payload, &envelope)), (99, "{ }"));
}

#[test]
fn the_body_may_come_before_the_opcode() {
    let payload = r#"{"d":{"a":1},"op":0,"s":3,"t":"X"}"#;
    let envelope = scan(payload).unwrap();
    assert_eq!((envelope.op, envelope.seq), (0, Some(3)));
    assert_eq!(data(payload, &envelope), r#"{"a":1}"#);
    assert_eq!(&payload[envelope.name_range().unwrap()], "X");
}

#[test]
fn a_large_body_before_the_name_is_skipped() {
    let body = format!("[{}0]", "1234567,".repeat(1_300_000));
    let payload = format!(r#"{{"d":{body},"t":"LATE","s":8,"op":0}}"#);
    let envelope = scan(&payload).unwrap();
    assert_eq!(envelope.name.as_deref(), Some("LATE"));
    assert_eq!(envelope.data.len(), body.len());
}

#[test]
fn envelopes_inside_strings_and_bodies_are_not_taken_for_the_real_one() {
    let body = r#"{"content":"\"op\":7,\"t\":\"READY\"","op":7,"t":"READY","s":1,"d":{}}"#;
    for payload in [
        format!(r#"{{"t":"MESSAGE_CREATE","s":9,"op":0,"d":{body}}}"#),
        format!(r#"{{"d":{body},"op":0,"s":9,"t":"MESSAGE_CREATE"}}"#),
        format!(r#"{{"x":"{{\"op\":7","op":0,"d":{body},"s":9,"t":"MESSAGE_CREATE"}}"#),
    ] {
        let envelope = scan(&payload).unwrap();
        assert_eq!((envelope.op, envelope.seq), (0, Some(9)));
        assert_eq!(envelope.name.as_deref(), Some("MESSAGE_CREATE"));
        assert_eq!(data(&payload, &envelope), body);
    }
}

#[test]
fn of_duplicate_keys_the_last_counts() {
    let payload = r#"{"op":7,"s":1,"d":1,"t":"A","op":0,"s":2,"d":2,"t":"B"}"#;
    let envelope = scan(payload).unwrap();
    assert_eq!((envelope.op, envelope.seq), (0, Some(2)));
    assert_eq!(envelope.name.as_deref(), Some("B"));
    assert_eq!(data(payload, &envelope), "2");
}

#[test]
fn what_follows_a_body_in_the_usual_shape_does_not_parse() {
    let payload = r#"{"t":"A","s":1,"op":0,"d":{},"op":7}"#;
    let envelope = scan(payload).unwrap();
    assert_eq!(envelope.op, 0);
    assert!(serde_json::from_str::<Value>(data(payload, &envelope)).is_err());
}

#[test]
fn sequence_numbers_may_be_written_as_floats() {
    for (written, read) in [
        ("5", 5),
        ("5.0", 5),
        ("5e0", 5),
        ("50E-1", 5),
        ("-0", 0),
        ("9007199254740992.0", 1 << 53),
        ("18446744073709551615", u64::MAX),
    ] {
        let payload = format!(r#"{{"t":"A","s":{written},"op":0,"d":{{}}}}"#);
        assert_eq!(scan(&payload).unwrap().seq, Some(read), "{written}");
    }
    for written in [
        "-1",
        "0.5",
        "18446744073709551616",
        "1e300",
        "1e999",
        "true",
        "\"5\"",
        "[5]",
    ] {
        let payload = format!(r#"{{"t":"A","s":{written},"op":0,"d":{{}}}}"#);
        let error = scan(&payload).unwrap_err();
        assert_eq!(error, EnvelopeError::BadSequence, "{written}");
    }
}

#[test]
fn numbers_of_any_length_are_read_alike() {
    for number in [
        0,
        9,
        10u64.pow(18),
        10u64.pow(19) - 1,
        10u64.pow(19),
        u64::MAX,
    ] {
        let payload = format!(r#"{{"t":"A","s":{number},"op":{number},"d":{{}}}}"#);
        let fast = usual_shape(payload.as_bytes());
        assert_eq!(fast.is_some(), number < 10u64.pow(19));
        let envelope = scan(&payload).unwrap();
        assert_eq!(envelope, walk(payload.as_bytes()).unwrap());
        assert_eq!((envelope.op, envelope.seq), (number, Some(number)));
    }
}

#[test]
fn a_name_ends_at_the_first_byte_that_may_not_stand_for_itself() {
    for byte in 0..=u8::MAX {
        let may_not = !(0x20..0x80).contains(&byte) || byte == b'"' || byte == b'\\';
        for len in 1..20 {
            for at in 0..len {
                // What comes behind the first that is found does not count.
                for behind in [b'A', b'"', 0, 0xff] {
                    let mut text = vec![b'Z'; at];
                    text.push(byte);
                    text.resize(len, behind);
                    let rest = match behind == b'A' {
                        true => len - at - 1,
                        false => 0,
                    };
                    let expected = if may_not { at } else { at + 1 + rest };
                    assert_eq!(plain(&text), expected, "{text:?}");
                }
            }
        }
    }
}

#[test]
fn a_number_ends_at_the_first_byte_that_is_no_digit() {
    for written in [
        "0",
        "7",
        "10",
        "42",
        "999",
        "1234567",
        "12345678",
        "1000000000",
        "9999999999999999999",
    ] {
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for behind in ["", "1", "99999999", "\u{ff}\0\"}"] {
                let text = [written.as_bytes(), &[byte], behind.as_bytes()].concat();
                let mut rest = text.as_slice();
                assert_eq!(digits(&mut rest), written.parse().ok(), "{text:?}");
                assert_eq!(rest, &text[written.len()..]);
            }
        }
    }
    for not_plain in [
        "",
        "-1",
        "00",
        "01",
        "007,,,,,,",
        "00000000",
        "10000000000000000000",
        ",1234567",
    ] {
        let mut rest = not_plain.as_bytes();
        assert_eq!(digits(&mut rest), None, "{not_plain}");
    }
}

#[test]
fn opcodes_are_non_negative_integers() {
    for written in ["-1", "0.5", "null", "\"0\"", "{}", "18446744073709551616"] {
        let payload = format!(r#"{{"t":"A","s":1,"op":{written},"d":{{}}}}"#);
        let error = scan(&payload).unwrap_err();
        assert_eq!(error, EnvelopeError::BadOpcode, "{written}");
    }
    assert_eq!(scan(r#"{"d":{}}"#), Err(EnvelopeError::NoOpcode));
    assert_eq!(scan("{}"), Err(EnvelopeError::NoOpcode));
}

#[test]
fn space_around_a_body_is_not_its_own() {
    for space in [" ", "\n", "\t\r\n"] {
        for body in [
            format!("{space}[1]"),
            format!("[1]{space}"),
            format!("{space}[1]{space}"),
        ] {
            let payload = format!(r#"{{"t":"A","s":1,"op":0,"d":{body}}}"#);
            let envelope = scan(&payload).unwrap();
            assert_eq!(data(&payload, &envelope), "[1]", "{payload:?}");
        }
    }
}

#[test]
fn names_are_unescaped() {
    let payload = r#"{"t":"RE\u0041D\u0059","s":1,"op":0,"d":{}}"#;
    let envelope = scan(payload).unwrap();
    assert_eq!(envelope.name.as_deref(), Some("READY"));
    assert_eq!(envelope.name_range(), None);
    let payload = r#"{"\u0074":"READY","\u006fp":0}"#;
    assert_eq!(scan(payload).unwrap().name.as_deref(), Some("READY"));
    for name in [r#""\ud800""#, "5", "[]", "true"] {
        let payload = format!(r#"{{"t":{name},"op":0}}"#);
        assert_eq!(scan(&payload), Err(EnvelopeError::BadName), "{name}");
    }
}

#[test]
fn names_are_bounded() {
    for (len, fits) in [
        (64, true),
        (65, true),
        (256, true),
        (257, false),
        (1 << 20, false),
    ] {
        for letter in ["N", "\\u004e"] {
            let name = letter.repeat(len);
            let payload = format!(r#"{{"t":"{name}","s":1,"op":0,"d":{{}}}}"#);
            match scan(&payload) {
                Ok(envelope) => assert!(fits && envelope.name.unwrap().len() == len),
                Err(error) => assert!(!fits && error == EnvelopeError::NameTooLong),
            }
        }
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let depth = 100_000;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for payload in [
            format!(r#"{{"d":{body},"op":0}}"#),
            format!(r#"{{"op":0,"d":{body}}}"#),
            format!(r#"{{"t":"A","s":1,"op":0,"d":{body}}}"#),
        ] {
            let envelope = scan(&payload).unwrap();
            assert_eq!(data(&payload, &envelope), body);
        }
        let unfinished = format!(r#"{{"op":0,"d":{}"#, open.repeat(depth));
        assert!(matches!(scan(&unfinished), Err(EnvelopeError::Json { .. })));
    }
}

#[test]
fn a_body_that_is_no_utf8_is_no_obstacle() {
    for payload in [
        &b"{\"t\":\"A\",\"s\":5,\"op\":0,\"d\":{\"x\":\"\xff\"}}"[..],
        b"{\"d\":{\"x\":\"\xff\"},\"t\":\"A\",\"s\":5,\"op\":0}",
    ] {
        let envelope = Envelope::scan(payload).unwrap();
        assert_eq!(envelope.seq, Some(5));
        assert_eq!(&payload[envelope.data], b"{\"x\":\"\xff\"}");
    }
    let name = b"{\"t\":\"\xff\",\"op\":0}";
    assert_eq!(Envelope::scan(name), Err(EnvelopeError::BadName));
}

#[test]
fn what_is_no_json_object_is_refused() {
    for payload in [
        "",
        " ",
        "{",
        "[]",
        "null",
        "\"op\"",
        "5",
        r#"{"op":0"#,
        r#"{"op":0}}"#,
        r#"{"op":0}{"op":0}"#,
        r#"{"op":0,}"#,
        r#"{,"op":0}"#,
        r#"{"op" 0}"#,
        r#"{"op":}"#,
        r#"{"op":0 "d":1}"#,
        r#"{op:0}"#,
        r#"{0:0}"#,
        r#"{"t":"A","s":05,"op":0,"d":1}"#,
        r#"{"t":"A","s":,"op":0,"d":1}"#,
        r#"{"t":"A","s":1,"op":0,"d":}"#,
    ] {
        assert!(
            matches!(scan(payload), Err(EnvelopeError::Json { .. })),
            "{payload}"
        );
    }
}

#[test]
fn a_payload_cut_anywhere_is_an_error_or_ends_in_a_brace() {
    let payload = br#"{"t":"A","s":1,"op":0,"d":{"a":{"b":[1,2]},"c":"}"}}"#;
    for cut in 0..payload.len() {
        if payload[..cut].last() != Some(&b'}') {
            assert!(Envelope::scan(&payload[..cut]).is_err());
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map("[a-z]{0,2}|op", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn of_any_length() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
}

/// A number as it may be written, null, or something unfit.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<u64>().prop_map(|n| n.to_string()),
        1 => (0u32..1_000_000).prop_map(|n| format!("{n}.0")),
        1 => (0u32..100).prop_map(|n| format!("{n}e1")),
        1 => Just("null".to_owned()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<f32>().prop_filter("finite", |n| n.is_finite())
            .prop_map(|n| Value::from(n).to_string()),
    ]
}

fn expected(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        (float.fract() == 0.0 && (0.0..=9e15).contains(&float)).then_some(float as u64)
    })
}

proptest! {
    #[test]
    fn both_ways_agree_on_the_usual_shape(
        name in option::of("[ !#-\\[\\]-\u{7f}]{1,70}"), seq in option::of(of_any_length()),
        op in of_any_length(),
        body in json(),
    ) {
        let name = name.map_or_else(|| "null".to_owned(), |name| format!("\"{name}\""));
        let seq = seq.map_or_else(|| "null".to_owned(), |seq| seq.to_string());
        let payload = format!(r#"{{"t":{name},"s":{seq},"op":{op},"d":{body}}}"#);
        if let Some(fast) = usual_shape(payload.as_bytes()) {
            prop_assert_eq!(fast, walk(payload.as_bytes()).unwrap());
        } else {
            // Long names, and numbers of 20 digits, are left to the slow way; the answer is the same.
            let long_number = seq.len() > 19 || op >= 10u64.pow(19);
            prop_assert!(name.len() > 65 || long_number);
            let slow = walk(payload.as_bytes()).unwrap();
            prop_assert_eq!(scan(&payload).unwrap(), slow);
        }
    }

    #[test]
    fn the_walk_agrees_with_a_json_parser(
        op in option::of(number()), seq in option::of(number()),
        name in option::of(option::of(any::<String>())), body in option::of(json()),
        others in btree_map("[a-z_]{2,4}", json(), 0..3),
        order in any::<u64>(), space in "[ \n\r\t]{0,2}",
    ) {
        let mut fields: Vec<(String, String)> = Vec::new();
        fields.extend(op.map(|op| ("op".to_owned(), op)));
        fields.extend(seq.map(|seq| ("s".to_owned(), seq)));
        fields.extend(name.map(|name| ("t".to_owned(), Value::from(name).to_string())));
        fields.extend(body.map(|body| ("d".to_owned(), body.to_string())));
        let others = others.into_iter().filter(|(key, _)| key != "op");
        fields.extend(others.map(|(key, value)| (key, value.to_string())));
        for at in 1..fields.len() {
            fields.swap(at, order as usize % (at + 1));
        }
        let fields: Vec<String> = fields.iter()
            .map(|(key, value)| format!("{space}\"{key}\"{space}:{space}{value}{space}"))
            .collect();
        let payload = format!("{space}{{{}}}{space}", fields.join(","));

        let value: Value = serde_json::from_str(&payload).unwrap();
        let name_fits = value["t"].as_str().is_none_or(|name| name.len() <= NAME_LIMIT);
        let seq_fits = value["s"].is_null() || expected(&value["s"]).is_some();
        // Not the scan: by chance the order may be the usual one with more after the body.
        match walk(payload.as_bytes()) {
            Ok(envelope) => {
                prop_assert_eq!(Some(envelope.op), expected(&value["op"]));
                prop_assert_eq!(envelope.seq, expected(&value["s"]));
                prop_assert!(seq_fits);
                prop_assert_eq!(envelope.name.as_deref(), value["t"].as_str());
                match value.get("d") {
                    Some(body) => prop_assert_eq!(
                        &serde_json::from_str::<Value>(data(&payload, &envelope)).unwrap(), body),
                    None => prop_assert!(envelope.data.is_empty()),
                }
            }
            Err(EnvelopeError::NoOpcode) => prop_assert!(value.get("op").is_none()),
            Err(EnvelopeError::BadOpcode) => prop_assert_eq!(expected(&value["op"]), None),
            Err(EnvelopeError::BadSequence) => prop_assert!(!seq_fits),
            Err(EnvelopeError::NameTooLong) => prop_assert!(!name_fits),
            Err(error) => prop_assert!(false, "{error}: {payload}"),
        }
    }

    #[test]
    fn no_input_panics(payload in vec(any::<u8>(), 0..200), cut in 0usize..60) {
        let _ = Envelope::scan(&payload);
        let mut damaged = br#"{"t":"MESSAGE_CREATE","s":62550,"op":0,"d":{"type":0}}"#.to_vec();
        let at = cut.min(damaged.len());
        damaged.splice(at.., payload);
        let _ = Envelope::scan(&damaged);
    }
}
