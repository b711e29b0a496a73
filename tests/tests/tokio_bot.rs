//! A bot on tokio against the emulated gateway, over real sockets: what is tokio's own. What every runtime
//! must do is in `conformance`.

use std::time::Duration;

use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::server::{Log, Seen, Target};
use shardwright_tokio::{
    Activity, ApiBase, ChannelInfoField, Command, ConnectError, Event, Events, GuildId, Intents,
    Options, RequestGuildMembers, Shards, StatusUpdate, Token, VoiceStateUpdate, connect_bot,
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

/// Waits until all shards are connected.
async fn until_connected(events: &mut Events) {
    let connected =
        async { while !matches!(events.next().await, Some(Event::ConnectedAllShards { .. })) {} };
    tokio::time::timeout(PATIENCE, connected)
        .await
        .expect("the bot is ready")
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
