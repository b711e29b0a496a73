//! The heart: what is sent when, and when silence means a dead link.

#[path = "../play/mod.rs"]
mod play;

mod asked;
mod budget;
mod clocks;
mod schedule;
mod verdict;

use std::time::Duration;

use play::Play;
use shardwright_core::Wait;

const ACK: &str = r#"{"op":11}"#;

/// A play whose beats nobody acknowledges.
fn unacknowledged(seed: u64) -> Play {
    let mut play = Play::seeded(seed);
    play.ack = false;
    play
}

/// Passes time until another beat is sent; its time.
fn next_beat(play: &mut Play) -> Duration {
    let before = play.all_sent(r#"{"op":1,"#).len();
    loop {
        let Wait::Until(at) = play.machine.wait() else {
            panic!("no beat comes");
        };
        play.pass(at.saturating_duration_since(play.now));
        if let Some((at, _)) = play.all_sent(r#"{"op":1,"#).get(before) {
            return *at;
        }
    }
}

/// When beats were sent on the newest connection.
fn beats(play: &Play) -> Vec<Duration> {
    play.sent_at(play.conn())
        .into_iter()
        .filter(|(_, text)| text.starts_with(r#"{"op":1,"#))
        .map(|(at, _)| at)
        .collect()
}
