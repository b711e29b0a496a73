//! Reconnects over real sockets leave no memory behind. Alone in its process, whose memory is what is
//! measured; the emulated gateway is in it too.
#![cfg(target_os = "linux")]

use std::time::Duration;

use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::Target;
use shardwright_tokio::{ApiBase, Event, Intents, Options, Token, connect_bot};

/// The memory that this process has now, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Number 31 of what is mended, with sockets: there each connection left an inflate context and a
/// websocket client behind.
#[tokio::test]
async fn s31_reconnects_leave_memory_flat() {
    let emulator = Emulator::builder()
        .configure(|config| {
            config.log_limit = 100;
            config.replay_events = 10;
        })
        .start()
        .unwrap();
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    options.limits.backoff_base = Duration::from_millis(1);
    options.limits.backoff_cap = Duration::from_millis(1);
    let (bot, mut events) = connect_bot(Token::new("a-token").unwrap(), options)
        .await
        .unwrap();
    let mut reconnects = 0;
    let mut before = 0;
    let reconnecting = async {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectedAllShards { .. } => {}
                Event::Resumed { .. } => reconnects += 1,
                _ => continue,
            }
            match reconnects {
                100 => before = memory(),
                600 => return,
                _ => {}
            }
            emulator.play(&Target::All, &[Effect::Op7]);
        }
        panic!("the bot has ended");
    };
    tokio::time::timeout(Duration::from_secs(180), reconnecting)
        .await
        .expect("600 reconnects");
    let grown = memory().saturating_sub(before);
    // One context of 32 KiB kept from each of these would be 16 MB.
    assert!(grown < 6 << 20, "{grown} bytes in 500 reconnects");
    bot.disconnect().await;
}
