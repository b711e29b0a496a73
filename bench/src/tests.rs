use std::sync::atomic::Ordering;

use clap::Parser;

use crate::{Args, Count, Failure, ours, twilight};

fn count() -> Count {
    let flags = "twilight-typed --url ws://[::1]:1 --compress none --guilds 1 --events 1";
    Count::new(&Args::parse_from(flags.split(' ')))
}

fn both(name: &str, body: &str) -> [(Result<bool, Failure>, u64); 2] {
    let (theirs, own) = (count(), count());
    let text = format!(r#"{{"t":"{name}","s":7,"op":0,"d":{body}}}"#);
    let read = twilight::read(text, &theirs);
    let ours = ours::read(name, body, &own).map(|()| true);
    let skipped = |count: Count| count.skipped.load(Ordering::Relaxed);
    [(read, skipped(theirs)), (ours, skipped(own))]
}

#[test]
fn all_that_is_played_is_read_by_both() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let Some((name, rest)) = text
            .strip_prefix(r#"{"t":""#)
            .and_then(|text| text.split_once('"'))
        else {
            continue;
        };
        let (_, body) = rest.split_once(r#""d":"#).unwrap();
        let body = body.trim_end().strip_suffix('}').unwrap();
        for (read, skipped) in both(name, body) {
            assert!(read.unwrap(), "{name}");
            assert_eq!(skipped, 0, "{name}");
        }
        files += 1;
    }
    assert!(files > 50, "{files} files");
}

#[test]
fn unknown_names_are_counted_and_skipped_by_both() {
    for (read, skipped) in both("CAKE_BAKED", r#"{"id":1}"#) {
        assert!(read.unwrap());
        assert_eq!(skipped, 1);
    }
}

#[test]
fn what_does_not_fit_its_type_is_an_error_to_both() {
    for (read, skipped) in both("MESSAGE_CREATE", r#"{"id":"1"}"#) {
        assert!(read.unwrap_err().to_string().len() > 10);
        assert_eq!(skipped, 0);
    }
}

#[test]
fn beats_are_no_dispatches() {
    let beat = r#"{"t":null,"s":null,"op":11,"d":null}"#.to_owned();
    assert!(!twilight::read(beat, &count()).unwrap());
}
