//! Collected answers to requests for members, over real sockets.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::scenario::{Effect, Nth, Scenario, Step, When};
use shardwright_testkit::server::{Seen, ServerConfig, Target};
use shardwright_tokio::{
    ApiBase, Bot, CommandError, Event, EventFilter, Events, GuildId, GuildMembers,
    GuildMembersRequest, Intents, Options, RequestMembersError, ShardPlan, Token, UserId,
    connect_bot,
};

const GUILD: GuildId = GuildId::new(41_771_983_423_143_937);

/// The longest any of these may take on a busy machine; nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The id of the n-th member of the guild.
fn member(n: u64) -> u64 {
    GUILD.get() + 1000 + n
}

fn emulator(steps: Vec<Step>, change: impl FnOnce(&mut ServerConfig)) -> Emulator {
    let builder = Emulator::builder().configure(change);
    builder.scenario(Scenario::of(steps)).start().unwrap()
}

async fn connect(emulator: &Emulator, change: impl FnOnce(&mut Options)) -> (Bot, Events) {
    let mut options = Options::new(Intents::all());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    change(&mut options);
    let token = Token::new("a-token").unwrap();
    let (bot, mut events) = connect_bot(token, options).await.unwrap();
    let ready =
        async { while !matches!(events.next().await, Some(Event::ConnectedAllShards { .. })) {} };
    tokio::time::timeout(PATIENCE, ready)
        .await
        .expect("the bot is ready");
    (bot, events)
}

type Answer = Result<GuildMembers, RequestMembersError>;

/// Waits for the answer while taking events. Also the names of these.
async fn ask(
    bot: &Bot,
    events: &mut Events,
    request: GuildMembersRequest,
) -> (Answer, Vec<String>) {
    let mut names = Vec::new();
    let mut note = |event| match event {
        Some(Event::Dispatch(event)) => names.push(event.name().to_owned()),
        Some(_) => {}
        None => panic!("the bot has ended"),
    };
    let both = async {
        let mut answer = std::pin::pin!(bot.request_members(request));
        loop {
            tokio::select! {
                event = events.next() => note(event),
                answer = &mut answer => return answer,
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, both).await;
    // What the answer is made of was handed over before it.
    while let Some(event) = events.next().now_or_never() {
        note(event);
    }
    (answer.expect("an answer comes"), names)
}

fn ids(members: &GuildMembers) -> Vec<u64> {
    let id = |member: &shardwright_tokio::RawJson| {
        let member: Value = member.parse().unwrap();
        member["user"]["id"].as_str().unwrap().parse().unwrap()
    };
    members.members.iter().map(id).collect()
}

/// The ids of so many members: the last one is the bot.
fn everyone(count: u64) -> Vec<u64> {
    const BOT: u64 = 1_090_000_000_000_000_001;
    (0..count - 1).map(member).chain([BOT]).collect()
}

fn count(names: &[String], wanted: &str) -> usize {
    names.iter().filter(|name| *name == wanted).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_list_of_several_chunks_comes_in_one_piece() {
    let emulator = emulator(Vec::new(), |config| config.members_per_guild = 2500);
    let (bot, mut events) = connect(&emulator, |_| {}).await;
    let request = GuildMembersRequest::everyone(GUILD);
    let (answer, names) = ask(&bot, &mut events, request).await;
    let answer = answer.unwrap();
    assert_eq!(ids(&answer), everyone(2500));
    assert!(answer.presences.is_empty() && answer.not_found.is_empty());
    assert_eq!(
        count(&names, "GUILD_MEMBERS_CHUNK"),
        3,
        "they are events too"
    );
    bot.disconnect().await;
    emulator.with_machine(|machine| assert!(machine.log().violations().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_ids_with_some_that_are_nobodys() {
    let emulator = emulator(Vec::new(), |config| config.members_per_guild = 201);
    let (bot, mut events) = connect(&emulator, |_| {}).await;
    let wanted = (0..250).map(|n| UserId::new(member(n)));
    let request = GuildMembersRequest::by_ids(GUILD, wanted).presences(true);
    let (answer, _) = ask(&bot, &mut events, request).await;
    let answer = answer.unwrap();
    assert_eq!(ids(&answer), (0..200).map(member).collect::<Vec<_>>());
    let missing: Vec<_> = (200..250).map(|n| UserId::new(member(n))).collect();
    assert_eq!(answer.not_found, missing);
    assert_eq!(answer.presences.len(), 200);
    assert_eq!(answer.nonces.len(), 3);
    let (answer, _) = ask(
        &bot,
        &mut events,
        GuildMembersRequest::by_prefix(GUILD, "user0001", 100),
    )
    .await;
    assert_eq!(
        ids(&answer.unwrap()),
        (10..20).map(member).collect::<Vec<_>>()
    );
    bot.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconnect_between_two_chunks_does_not_matter() {
    // READY, three guilds, then the second of twelve chunks.
    let step = Step::new(When::Dispatch(Nth::Only(6)), [Effect::Op7]);
    let emulator = emulator(vec![step], |config| {
        config.members_per_guild = 1200;
        config.members_per_chunk = 100;
    });
    let (bot, mut events) = connect(&emulator, |_| {}).await;
    let request = GuildMembersRequest::everyone(GUILD);
    let (answer, names) = ask(&bot, &mut events, request).await;
    assert_eq!(ids(&answer.unwrap()), everyone(1200));
    assert_eq!(count(&names, "GUILD_MEMBERS_CHUNK"), 12);
    bot.disconnect().await;
    emulator.with_machine(|machine| {
        let log = machine.log();
        assert_eq!(log.count(|seen| matches!(seen, Seen::Step { .. })), 1);
        assert_eq!(log.count(|seen| matches!(seen, Seen::Resume { .. })), 1);
        assert_eq!(log.identifies(), 1);
        let asked = |seen: &Seen| matches!(seen, Seen::Received { op: Some(8), .. });
        assert_eq!(log.count(asked), 1);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_ends_it() {
    let step = Step::new(When::Received(8), [Effect::Op9(false.into())]).instead();
    let emulator = emulator(vec![step], |_| {});
    let (bot, mut events) = connect(&emulator, |_| {}).await;
    let request = GuildMembersRequest::everyone(GUILD);
    let (answer, _) = ask(&bot, &mut events, request).await;
    assert_eq!(answer, Err(RequestMembersError::SessionLost));
    bot.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_takes_the_turn_and_discord_refuses() {
    // Beyond what these wait for; then short enough to be repeated.
    for (pause, well) in [
        (Duration::from_secs(3600), false),
        (Duration::from_secs(5), true),
    ] {
        let emulator = emulator(Vec::new(), |config| {
            config.whole_list_pause = pause;
            config.identify_pause = Duration::ZERO;
        });
        let (first, mut first_events) = connect(&emulator, |_| {}).await;
        let (second, mut second_events) = connect(&emulator, |_| {}).await;
        let request = GuildMembersRequest::everyone(GUILD);
        let (answer, _) = ask(&first, &mut first_events, request.clone()).await;
        assert_eq!(answer.unwrap().members.len(), 25);
        let (answer, names) = ask(&second, &mut second_events, request).await;
        match answer {
            Err(RequestMembersError::RateLimited { retry_after }) if !well => {
                assert!(retry_after > pause / 2, "{retry_after:?}");
            }
            Ok(members) if well => assert_eq!(members.members.len(), 25),
            other => panic!("{other:?}"),
        }
        assert_eq!(count(&names, "RATE_LIMITED"), 1);
        first.disconnect().await;
        second.disconnect().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_leaves_chunks_out_does_not_matter() {
    let emulator = emulator(Vec::new(), |_| {});
    let only = EventFilter::only(["GUILD_CREATE"]);
    let (bot, mut events) = connect(&emulator, |options| options.filter = only).await;
    let request = GuildMembersRequest::everyone(GUILD);
    let (answer, names) = ask(&bot, &mut events, request).await;
    assert_eq!(answer.unwrap().members.len(), 25);
    assert_eq!(count(&names, "GUILD_MEMBERS_CHUNK"), 0);
    bot.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_events_is_told_instead_of_waiting_for_ever() {
    let emulator = emulator(Vec::new(), |config| {
        config.members_per_guild = 1000;
        config.members_per_chunk = 10;
    });
    let (bot, events) = connect(&emulator, |options| options.mailbox_events = 16).await;
    let answer = bot.request_members(GuildMembersRequest::everyone(GUILD));
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    assert_eq!(
        answer.expect("at once"),
        Err(RequestMembersError::ConsumerStalled)
    );
    bot.disconnect().await;
    drop(events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_an_end_and_a_refusal() {
    let silent = Step::new(When::Received(8), []).instead().times(10);
    let emulator = emulator(vec![silent], |config| config.shards = 2);
    let one_of_two = |options: &mut Options| {
        let ids = vec![0];
        options.shards = ShardPlan::Ids { ids, total: None };
    };
    let (bot, mut events) = connect(&emulator, one_of_two).await;
    let shard_of = |n: u64| GuildId::new(n << 22);

    let request =
        GuildMembersRequest::everyone(shard_of(2)).time_allowed(Duration::from_millis(300));
    let (answer, _) = ask(&bot, &mut events, request).await;
    let (received, expected) = (0, None);
    assert_eq!(
        answer,
        Err(RequestMembersError::TimedOut { received, expected })
    );

    let guild = shard_of(1);
    let answer = bot
        .request_members(GuildMembersRequest::everyone(guild))
        .await;
    assert_eq!(answer, Err(CommandError::NotMyGuild { guild }.into()));

    let waiting = tokio::spawn({
        let bot = bot.clone();
        let request = GuildMembersRequest::by_prefix(shard_of(2), "a", 1);
        async move { bot.request_members(request).await }
    });
    let asked = |seen: &Seen| matches!(seen, Seen::Received { op: Some(8), .. });
    let seen =
        tokio::task::block_in_place(|| emulator.wait_for(|log| log.count(asked) == 2, PATIENCE));
    assert!(seen);
    bot.disconnect().await;
    assert_eq!(
        waiting.await.unwrap(),
        Err(RequestMembersError::ShardStopped)
    );
    let answer = bot
        .request_members(GuildMembersRequest::everyone(shard_of(2)))
        .await;
    assert_eq!(answer, Err(RequestMembersError::ShardStopped));
    // Nothing more is said to it.
    assert_eq!(emulator.push_event(&Target::All, "X", "{}"), 0);
}
