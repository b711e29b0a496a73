//! A bot on tokio against the emulated gateway, over real sockets.

use std::time::Duration;

use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::scenario::{Effect, Ending, Nth, Scenario, Step, When};
use shardwright_testkit::server::{Log, Seen, ServerConfig, Target};
use shardwright_tokio::{
    Activity, ApiBase, ChannelInfoField, Command, Compression, ConnectError, Event, Events,
    GuildId, Intents, Options, Overflow, RequestGuildMembers, Shards, StatusUpdate, StopReason,
    Token, VoiceStateUpdate, connect_bot, gateway_info,
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

/// Waits until the gateway has seen something. Blocks its thread, so the test needs another one.
fn until_seen(emulator: &Emulator, what: &str, wanted: impl FnMut(&Log) -> bool) {
    let seen = tokio::task::block_in_place(|| emulator.wait_for(wanted, PATIENCE));
    assert!(seen, "the gateway never saw {what}");
}

/// Floods a shard while its line is cut in the middle of a dispatch again and again, and checks that
/// every event comes once and every cut costs exactly one Resume.
async fn flood_over_cut_lines(compression: Compression) {
    const EVENTS: u64 = 20_000;
    const CUTS: u64 = 5;
    // At the server's own dispatches, so that it does not matter how far behind the client is.
    let steps: Vec<Step> = (1..=CUTS)
        .map(|n| {
            let cut = Effect::Cut {
                after: 7,
                then: Ending::Rst,
            };
            Step::new(When::Dispatch(Nth::Only(n * EVENTS / (CUTS + 1))), [cut])
        })
        .collect();
    // What a reset throws away of the buffers on the way must still be there to be replayed.
    let room = |config: &mut ServerConfig| {
        config.replay_events = 2 * EVENTS as usize;
        config.replay_bytes = 256 * 1024 * 1024;
    };
    let emulator = Emulator::builder()
        .configure(room)
        .scenario(Scenario::of(steps))
        .start()
        .unwrap();
    let mut options = options(&emulator);
    options.compression = compression;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let mut last = 0;
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
    assert!(resumed >= 1);
    bot.disconnect().await;
    emulator.with_machine(|machine| {
        // Counted here: a RESUMED that was on its way when the next cut came is not seen by the client.
        let count = |wanted: fn(&Seen) -> bool| machine.log().count(wanted);
        let cuts = CUTS as usize;
        assert_eq!(count(|seen| matches!(seen, Seen::Step { .. })), cuts);
        assert_eq!(count(|seen| matches!(seen, Seen::Resume { .. })), cuts);
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
    flood_over_cut_lines(Compression::Zlib).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_comes_once_over_cut_lines_with_zstd() {
    flood_over_cut_lines(Compression::Zstd).await;
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

/// Waits until all shards are connected. Returns the last sequence taken.
async fn until_connected(events: &mut Events) -> u64 {
    let connected = async {
        let mut last = 0;
        loop {
            match events.next().await {
                Some(Event::Dispatch(event)) => last = event.id().seq,
                Some(Event::ConnectedAllShards { .. }) => return last,
                Some(_) => {}
                None => panic!("the bot has ended"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, connected)
        .await
        .expect("the bot is ready")
}

/// What the client sent, by opcode.
fn sent(emulator: &Emulator, wanted: u64) -> Vec<String> {
    emulator.with_machine(|machine| {
        let entries = machine.log().entries().iter();
        entries
            .filter_map(|entry| match &entry.what {
                Seen::Received { op: Some(op), text } if *op == wanted => Some(text.clone()),
                _ => None,
            })
            .collect()
    })
}

/// The codes of the client's own close frames.
fn close_codes(emulator: &Emulator) -> Vec<u16> {
    emulator.with_machine(|machine| {
        let entries = machine.log().entries().iter();
        entries
            .filter_map(|entry| match entry.what {
                Seen::ClosedByClient {
                    code,
                    answer: false,
                } => Some(code),
                _ => None,
            })
            .collect()
    })
}

#[tokio::test]
async fn tls_trusts_the_roots_it_is_given_and_no_others() {
    let emulator = Emulator::builder().tls().start().unwrap();
    let mut options = options(&emulator);
    options.start_tries = Some(1);
    let error = gateway_info(&token(), &options).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let pem = emulator.ca_pem().unwrap();
    options.tls.add_roots(pem.as_bytes()).unwrap();
    assert_eq!(gateway_info(&token(), &options).await.unwrap().shards, 1);
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    until_connected(&mut events).await;
    bot.disconnect().await;
    assert_eq!(close_codes(&emulator), [1000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_sessions_go_on_after_the_last_event_that_was_taken() {
    let emulator = Emulator::builder().start().unwrap();
    let (bot, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
    let mut last = until_connected(&mut events).await;
    emulator.flood(&Target::All, 1000);
    for _ in 0..100 {
        if let Some(Event::Dispatch(event)) = events.next().await {
            assert_eq!(event.id().seq, last + 1);
            last = event.id().seq;
        }
    }
    let states = bot.disconnect_keeping_sessions().await;
    assert_eq!(states[0].seq, Some(last));
    assert_eq!(close_codes(&emulator), [4000]);
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Dispatch(_)), "withdrawn");
    }
    let mut options = options(&emulator);
    options.states = states;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let rest = async {
        while let Some(event) = events.next().await {
            match event {
                Event::Dispatch(event) => {
                    assert_eq!(event.id().seq, last + 1, "no gap, no double");
                    last = event.id().seq;
                    if event.name() == DONE {
                        return;
                    }
                }
                Event::SessionLost { .. } => panic!("the session was lost"),
                _ => {}
            }
        }
        panic!("the bot has ended");
    };
    tokio::time::timeout(PATIENCE, rest)
        .await
        .expect("the rest comes");
    bot.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_mailbox_loses_nothing() {
    const EVENTS: u64 = 5000;
    let emulator = Emulator::builder().start().unwrap();
    let mut options = options(&emulator);
    options.mailbox_events = 8;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let mut last = until_connected(&mut events).await;
    emulator.flood(&Target::All, EVENTS);
    let flood = async {
        while let Some(event) = events.next().await {
            if let Event::Dispatch(event) = event {
                assert_eq!(event.id().seq, last + 1, "no gap, no double");
                last = event.id().seq;
                if event.name() == DONE {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("the flood ends");
    assert_eq!(events.dropped(), 0);
    bot.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_is_counted_exactly() {
    const EVENTS: u64 = 2000;
    let emulator = Emulator::builder().start().unwrap();
    let mut options = options(&emulator);
    options.mailbox_events = 16;
    options.overflow = Overflow::DropNewest;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let last = until_connected(&mut events).await;
    emulator.flood(&Target::All, EVENTS);
    // The flood, and the event that ends it.
    let dropped = EVENTS + 1 - 16;
    until_seen(&emulator, "the flood's end", |log| {
        log.count(|seen| *seen == Seen::FloodEnded) == 1
    });
    // The answer to a beat asked for after the flood says that all of it has been read.
    let beats = sent(&emulator, 1).len();
    emulator.play(&Target::All, &[Effect::Op1("absent".into())]);
    until_seen(&emulator, "the answer to op 1", |log| {
        log.count(|seen| matches!(seen, Seen::Received { op: Some(1), .. })) > beats
    });
    assert_eq!(events.dropped(), dropped);
    bot.disconnect().await;
    let mut taken = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Dispatch(event) = event {
            taken.push(event.id().seq);
        }
    }
    assert_eq!(taken, (last + 1..=last + 16).collect::<Vec<_>>());
    assert_eq!(events.dropped(), dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_reach_the_gateway() {
    let emulator = Emulator::builder().start().unwrap();
    let (bot, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
    until_connected(&mut events).await;
    let guild = GuildId::new(41_771_983_423_143_937);
    let playing = StatusUpdate::online().activity(Activity::playing("chess"));
    bot.status_update(playing, Shards::All).await.unwrap();
    bot.voice_state_update(VoiceStateUpdate {
        guild,
        channel: None,
        self_mute: false,
        self_deaf: true,
    })
    .await
    .unwrap();
    bot.guild_request_members(RequestGuildMembers::by_prefix(guild, "a", 5))
        .await
        .unwrap();
    bot.request_soundboard_sounds([guild]).await.unwrap();
    bot.request_channel_info(guild, [ChannelInfoField::Status])
        .await
        .unwrap();
    let raw =
        Command::raw(r#"{"op":3,"d":{"since":null,"activities":[],"status":"dnd","afk":false}}"#);
    let accepted = bot
        .send(raw.clone().unwrap(), Shards::Only(vec![0]))
        .await
        .unwrap();
    accepted.sent().await.unwrap();
    assert!(
        bot.send(raw.unwrap(), Shards::Only(vec![9])).await.is_err(),
        "no such shard"
    );
    until_seen(&emulator, "all six commands", |log| {
        let came = |wanted| {
            log.count(|seen| matches!(seen, Seen::Received { op: Some(op), .. } if *op == wanted))
        };
        [3, 4, 8, 31, 43].map(came) == [2, 1, 1, 1, 1]
    });
    bot.disconnect().await;
    let stopped = bot.status_update(StatusUpdate::online(), Shards::All).await;
    assert!(stopped.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_events_stops_resumably_and_dropping_the_bot_changes_nothing() {
    let emulator = Emulator::builder().start().unwrap();
    let (bot, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
    drop(bot);
    until_connected(&mut events).await;
    emulator.flood(&Target::All, 10);
    let still_alive = async {
        while !matches!(events.next().await, Some(Event::Dispatch(event)) if event.name() == DONE) {
        }
    };
    tokio::time::timeout(PATIENCE, still_alive)
        .await
        .expect("events come");
    drop(events);
    until_seen(&emulator, "a close frame", |log| {
        log.count(|seen| matches!(seen, Seen::ClosedByClient { .. })) > 0
    });
    assert_eq!(close_codes(&emulator), [4000]);
}

#[tokio::test]
async fn a_start_may_be_given_up() {
    let emulator = Emulator::builder()
        .configure(|config| config.remaining = 5)
        .start()
        .unwrap();
    let mut options = options(&emulator);
    // Nobody listens here.
    options.api = ApiBase::parse("http://127.0.0.1:9").unwrap();
    let start = connect_bot(token(), options.clone());
    let given_up = tokio::time::timeout(Duration::from_millis(300), start).await;
    assert!(given_up.is_err(), "it tries without end");
    options.start_tries = Some(1);
    let error = connect_bot(token(), options).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Fetch(fault) if !fault.is_fatal()),
        "{error}"
    );
}
