//! Traces, damaged in any way.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use shardwright_core::trace::{Redactor, Replayed, TraceError, replay};

/// A clock cannot show much more, whatever the system.
const FAR: Duration = Duration::from_secs(300 * 365 * 24 * 60 * 60);

/// Whatever the bytes are, they are replayed or refused; twice, the same way; and what can be copied without
/// bodies replays.
pub fn check(data: &[u8]) {
    let base = Instant::now();
    let outcome = replay(data, base);
    assert_eq!(outcome, replay(data, base + Duration::from_secs(12345)));
    if let Err(error) = &outcome {
        assert!(error.to_string().len() < 1000, "an error repeats the trace");
    }
    if outcome.as_ref().is_ok_and(|replayed| replayed.time < FAR) {
        copy(data, base);
    }
}

fn copy(data: &[u8], base: Instant) {
    let (sender, lines) = channel();
    let mut redactor = Redactor::new(base, Arc::new(sender));
    let whole = data.split_inclusive(|&byte| byte == b'\n');
    let mut whole = whole.filter(|line| line.ends_with(b"\n"));
    let copied = whole.try_for_each(|line| redactor.line(line));
    if let Err(error) = copied {
        let excused = matches!(error, TraceError::NeedsBodies { .. });
        assert!(excused, "what replays can be copied: {error}");
    }
    let copy: Vec<u8> = lines.try_iter().flatten().collect();
    let replayed: Replayed = replay(&copy, base).expect("a copy is a trace");
    replayed.verify().expect("a copy comes out the same");
}
