//! The websocket upgrade: what is asked for, and every odd answer to it.

use std::io::{Read, Write};
use std::time::Duration;

use shardwright_core::{Problem, TransportFault};
use shardwright_testkit::scenario::{Effect, Selector, Step, When};
use shardwright_testkit::server::Seen;
use shardwright_testkit::ws;

use crate::connecting::could_not;
use crate::harness::{Harness, cases};
use crate::play::{PATIENCE, Play, gateway, ms};
use crate::raw::{self, Line, Raw};

cases![
    http_errors_at_the_upgrade_are_said_and_sat_out,
    retry_after_is_kept,
    a_redirect_is_not_followed,
    the_upgrade_asks_for_what_is_needed_and_no_more,
    hello_may_come_with_the_upgrade,
    an_upgrade_may_come_in_pieces,
    an_upgrade_without_the_right_key_is_refused,
    an_upgrade_that_drips_is_given_up,
    an_upgrade_without_end_is_given_up,
];

fn refusing(status: u16, retry_after: Option<u64>, location: Option<String>) -> Step {
    let refuse = Effect::Refuse {
        status,
        retry_after,
        location,
    };
    Step::new(When::Dialled, [refuse])
}

/// 520 three times, then 400, then all is well: each is named with its status, and the start succeeds.
fn http_errors_at_the_upgrade_are_said_and_sat_out(harness: &dyn Harness) {
    let statuses = [520, 520, 520, 400];
    let steps: Vec<_> = (1..)
        .zip(statuses)
        .map(|(n, status)| refusing(status, None, None).on(Selector::conn(n)))
        .collect();
    let mut play = Play::start(harness, gateway(steps));
    for wanted in statuses {
        let (status, advice) = play.problem(|problem| match problem {
            Problem::UpgradeRefused { status, advice } => Some((*status, *advice)),
            _ => None,
        });
        assert_eq!(status, wanted);
        if status == 400 {
            assert!(advice.contains("query is wrong"), "{advice}");
        }
    }
    play.ready();
    assert_eq!(play.gone, 4);
    play.end();
}

/// A host that says when to come back is not dialled earlier.
fn retry_after_is_kept(harness: &dyn Harness) {
    let step = refusing(429, Some(1), None);
    let mut play = Play::start(harness, gateway([step]));
    let gone = play.gone();
    assert!(gone.delay >= Duration::from_secs(1), "{gone:?}");
    play.ready();
    let between = play.log(|log| {
        let entries = log.entries().iter();
        let dials = entries.filter(|entry| matches!(entry.what, Seen::Upgrade { .. }));
        let at: Vec<_> = dials.map(|entry| entry.at).collect();
        at[1] - at[0]
    });
    assert!(between >= Duration::from_secs(1), "{between:?}");
    play.end();
}

/// The token goes to the configured host and nowhere else.
fn a_redirect_is_not_followed(harness: &dyn Harness) {
    let elsewhere = gateway([]).start().expect("an emulator");
    let step = refusing(301, None, Some(elsewhere.gateway_url()));
    let mut play = Play::start(harness, gateway([step]));
    let gone = play.gone();
    assert!(
        matches!(
            could_not(&gone),
            TransportFault::Upgrade { status: 301, .. }
        ),
        "{gone:?}"
    );
    play.ready();
    assert_eq!(
        elsewhere.with_machine(|machine| machine.log().entries().len()),
        0
    );
    play.end();
}

/// The request names host, version and key; no extension is offered, and no token is in it.
fn the_upgrade_asks_for_what_is_needed_and_no_more(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    let head = raw::read_head(&mut stream);
    let host = raw.url().replace("ws://", "");
    assert!(
        head.starts_with("GET /?v=10&encoding=json HTTP/1.1\r\n"),
        "{head}"
    );
    let lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    for wanted in [
        &format!("host: {host}"),
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
    ] {
        assert_eq!(
            lines.iter().filter(|line| *line == wanted).count(),
            1,
            "{head}"
        );
    }
    let head = head.to_ascii_lowercase();
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    assert!(!head.contains("a-token"), "{head}");
    drop(stream);
    play.gone();
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}

/// The answer to the upgrade and Hello in one TCP segment: Hello is not swallowed with the former.
fn hello_may_come_with_the_upgrade(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    let mut bytes = raw::accept(&raw::read_head(&mut stream)).into_bytes();
    bytes.extend(raw::frame(true, ws::TEXT, raw::hello(40_000).as_bytes()));
    let mut line = Line::over(stream);
    line.bytes(&bytes);
    line.payload(2);
    line.text(&raw.ready());
    play.ready();
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// The answer in small writes.
fn an_upgrade_may_come_in_pieces(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    let answer = raw::accept(&raw::read_head(&mut stream));
    let mut line = Line::over(stream);
    for piece in answer.as_bytes().chunks(5) {
        line.bytes(piece);
        std::thread::yield_now();
    }
    line.hello(40_000);
    line.payload(2);
    line.text(&raw.ready());
    play.ready();
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// Whoever cannot derive the key is no websocket server, but perhaps a cache.
fn an_upgrade_without_the_right_key_is_refused(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    raw::read_head(&mut stream);
    let other = "GET / HTTP/1.1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    Line::over(stream).bytes(raw::accept(other).as_bytes());
    let gone = play.gone();
    assert!(
        matches!(could_not(&gone), TransportFault::Protocol(_)),
        "{gone:?}"
    );
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}

/// A byte now and then is no progress: the deadline is for the dial as a whole.
fn an_upgrade_that_drips_is_given_up(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |options| options.limits.dial_timeout = ms(800));
    let mut stream = raw.accept_tcp();
    raw::read_head(&mut stream);
    let drip = std::thread::spawn(move || {
        // Until the client has left; the pace is what is tested.
        let head = b"HTTP/1.1 101 Switching Protocols\r\nX: ".iter();
        stream.set_read_timeout(Some(ms(20))).expect("a time");
        for byte in head.chain(b"x".iter().cycle()) {
            let left = matches!(stream.read(&mut [0]), Ok(0));
            if left || stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    assert_eq!(could_not(&play.gone()), &TransportFault::TimedOut);
    drip.join().expect("the client left");
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}

/// Headers without end: given up long before the deadline of the dial, and not kept.
fn an_upgrade_without_end_is_given_up(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |options| {
        options.limits.dial_timeout = PATIENCE * 2;
    });
    let mut stream = raw.accept_tcp();
    raw::read_head(&mut stream);
    let mut sent = 0;
    let header = format!("X: {}\r\n", "x".repeat(1020));
    if stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\n")
        .is_ok()
    {
        while stream.write_all(header.as_bytes()).is_ok() {
            sent += header.len();
            assert!(sent < 64 << 20, "it is read without end");
        }
    }
    could_not(&play.gone());
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}
