//! A bot on tokio against the emulated gateway, over real sockets.

use std::time::Duration;

use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::scenario::{Effect, Ending};
use shardwright_testkit::server::Target;
use shardwright_tokio::{
    ApiBase, Compression, ConnectError, Event, Intents, Options, StopReason, Token, connect_bot,
};

fn options(emulator: &Emulator) -> Options {
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    options.seed = Some(1);
    options
}

fn token() -> Token {
    Token::new("a-token").unwrap()
}

/// The longest any of these may take on a busy machine; nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Floods a shard while its line is cut again and again, and checks that every event comes once.
async fn flood_over_cut_lines(compression: Compression, cuts: usize) {
    const EVENTS: u64 = 20_000;
    // What a reset throws away of the buffers on the way must still be there to be replayed.
    let room = |config: &mut shardwright_testkit::server::ServerConfig| {
        config.replay_events = 2 * EVENTS as usize;
        config.replay_bytes = 256 * 1024 * 1024;
    };
    let emulator = Emulator::builder().configure(room).start().unwrap();
    let mut options = options(&emulator);
    options.compression = compression;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let mut last = 0;
    let mut cut = 0;
    let mut resumed = 0;
    let everything = async {
        while let Some(event) = events.next().await {
            match event {
                Event::Ready { .. } => emulator.flood(&Target::All, EVENTS),
                Event::Resumed { .. } => resumed += 1,
                Event::SessionLost { .. } => panic!("the session was lost"),
                Event::Dispatch(event) => {
                    assert_eq!(event.id().seq, last + 1, "no gap, no double");
                    last = event.id().seq;
                    // Only when the last cut has been recovered from, so that each one counts.
                    let place = EVENTS / 4 / cuts as u64 * (cut as u64 + 1);
                    if cut < cuts && resumed == cut && last > place {
                        cut += 1;
                        let ending = Effect::Cut {
                            after: 7,
                            then: Ending::Rst,
                        };
                        emulator.play(&Target::All, &[ending, Effect::Events(1)]);
                    }
                    if event.name() == DONE {
                        break;
                    }
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, everything)
        .await
        .expect("the flood ends");
    assert!(last > EVENTS);
    assert!(resumed >= 1, "no line was cut before the flood had ended");
    bot.disconnect().await;
    emulator.with_machine(|machine| {
        assert_eq!(machine.log().identifies(), 1, "one session all along");
        assert!(
            machine.log().violations().is_empty(),
            "{:?}",
            machine.log().violations()
        );
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_comes_once_over_cut_lines_with_zlib() {
    flood_over_cut_lines(Compression::Zlib, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_comes_once_over_cut_lines_with_zstd() {
    flood_over_cut_lines(Compression::Zstd, 5).await;
}

#[tokio::test]
async fn the_end_is_said_once_and_last() {
    let emulator = Emulator::builder()
        .configure(|config| config.shards = 2)
        .start()
        .unwrap();
    let (bot, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
    let mut all = Vec::new();
    let everything = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::ConnectedAllShards { shards: 2 }) {
                let bot = bot.clone();
                tokio::spawn(async move { bot.disconnect().await });
            }
            all.push(event);
        }
    };
    tokio::time::timeout(PATIENCE, everything)
        .await
        .expect("the bot ends");
    let ends = all
        .iter()
        .filter(|event| matches!(event, Event::Stopped { .. }))
        .count();
    assert_eq!(ends, 1);
    assert!(matches!(
        all.last(),
        Some(Event::Stopped {
            why: StopReason::Requested,
            ..
        })
    ));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn kept_sessions_are_resumed_by_the_next_bot() {
    let emulator = Emulator::builder().start().unwrap();
    let (bot, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
    let ready =
        async { while !matches!(events.next().await, Some(Event::ConnectedAllShards { .. })) {} };
    tokio::time::timeout(PATIENCE, ready)
        .await
        .expect("the bot is ready");
    let states = bot.disconnect_keeping_sessions().await;
    assert_eq!(states.len(), 1);
    assert!(states[0].is_resumable());
    let mut options = options(&emulator);
    options.states = states;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let resumed = async { while !matches!(events.next().await, Some(Event::Resumed { .. })) {} };
    tokio::time::timeout(PATIENCE, resumed)
        .await
        .expect("the session is resumed");
    bot.disconnect().await;
    emulator.with_machine(|machine| assert_eq!(machine.log().identifies(), 1));
}

#[tokio::test]
async fn a_refused_token_is_an_error_at_once() {
    let emulator = Emulator::builder()
        .configure(|config| {
            config.tokens =
                shardwright_testkit::server::Tokens::These(["another".to_owned()].into());
        })
        .start()
        .unwrap();
    let error = connect_bot(token(), options(&emulator)).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Fetch(fault) if fault.is_fatal()),
        "{error}"
    );
    assert!(!error.to_string().contains("a-token"));
}
