//! Reconnects leave no memory behind. Alone in its process, whose memory is what is measured.
#![cfg(target_os = "linux")]

mod common;
mod play;

use common::ZlibServer;
use play::{Play, config, ms, ready_text};
use shardwright_core::{Compression, Input, Phase};

/// The memory that this process has now, in bytes.
#[allow(
    clippy::disallowed_methods,
    reason = "a test may ask about its process"
)]
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Number 31 of what is mended: there each connection left its inflate context behind, tens of kilobytes
/// outside the collected heap, and a websocket client.
#[test]
fn s31_ten_thousand_reconnects_leave_memory_flat() {
    const HELLO: &str = r#"{"op":10,"d":{"heartbeat_interval":41250}}"#;
    let mut config = config();
    config.compression = Compression::Zlib;
    config.limits.backoff_base = ms(1);
    config.limits.backoff_cap = ms(1);
    let mut play = Play::with(config, None, 1);
    play.ack = false;
    play.tell(Input::Start);
    let mut before = 0;
    for n in 0..10_000 {
        if n == 1000 {
            before = memory();
        }
        let conn = play.conn();
        play.open(conn);
        let mut server = ZlibServer::new();
        play.binary(conn, server.payload(HELLO));
        let answer = if n == 0 {
            ready_text("A", "ws://r1.example", 1)
        } else {
            format!(r#"{{"t":"RESUMED","s":{},"op":0,"d":null}}"#, n + 1)
        };
        play.binary(conn, server.payload(answer));
        assert_eq!(play.phase(), Phase::Live, "{n}");
        play.fin(conn);
        play.next_dial();
        // The harness is not to be measured.
        play.done.clear();
        play.delays.clear();
        let last = play.conn();
        play.conns = vec![last];
    }
    let grown = memory().saturating_sub(before);
    // One context of 32 KiB kept from each of these would be 288 MB.
    assert!(grown < 4 << 20, "{grown} bytes in 9,000 reconnects");
}
