//! Nothing stays of a connection that is gone: descriptors, tasks and memory are after thousands of
//! reconnects what they were after a few.

use std::time::Duration;

use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::scenario::{Effect, Listener, ListenerMode, Scenario};
use shardwright_testkit::server::{Log, Seen, Target};
use shardwright_tokio::{ApiBase, Event, Events, Intents, Options, Token, connect_bot};

const SHARDS: usize = 50;
/// Of each kind, for each shard; the first few only warm up.
const ROUNDS: usize = 40;
const WARM: usize = 10;
const PATIENCE: Duration = Duration::from_secs(300);

/// What the process holds: open descriptors, and resident memory in kB.
fn held() -> (usize, u64) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let memory = line.and_then(|line| line.split_whitespace().nth(1));
    (descriptors, memory.unwrap().parse().unwrap())
}

fn until_seen(emulator: &Emulator, wanted: impl FnMut(&Log) -> bool) {
    let seen = tokio::task::block_in_place(|| emulator.wait_for(wanted, PATIENCE));
    assert!(seen, "the gateway never saw it");
}

/// Waits until every shard has gone on with its session once more.
async fn all_resumed(events: &mut Events) {
    let all = async {
        let mut resumed = 0;
        while resumed < SHARDS {
            match events.next().await {
                Some(Event::Resumed { .. }) => resumed += 1,
                Some(Event::SessionLost { why, .. }) => panic!("a session was lost: {why}"),
                Some(_) => {}
                None => panic!("the bot has ended"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("all resume");
}

/// One loss of every shard's line of each kind.
async fn round(emulator: &Emulator, events: &mut Events) {
    emulator.play(&Target::All, &[Effect::Op7]);
    all_resumed(events).await;
    emulator.play(&Target::All, &[Effect::Rst]);
    all_resumed(events).await;
    // The upgrade fails until every shard has met that.
    let mut refused = 0;
    emulator.set_listener(Listener::Resume, ListenerMode::Closed);
    emulator.set_listener(Listener::Main, ListenerMode::Closed);
    emulator.play(&Target::All, &[Effect::Fin]);
    let failing = async {
        while refused < SHARDS {
            let event = events.next().await;
            let failed = matches!(
                event,
                Some(Event::Disconnected { reason, .. }) if reason.to_string().contains("refused")
            );
            refused += usize::from(failed);
        }
    };
    tokio::time::timeout(PATIENCE, failing)
        .await
        .expect("dials fail");
    emulator.set_listener(Listener::Resume, ListenerMode::Open);
    emulator.set_listener(Listener::Main, ListenerMode::Open);
    all_resumed(events).await;
    // Lines that are dead on both sides, as far as a client can tell.
    emulator.play(&Target::All, &[Effect::Stall]);
    all_resumed(events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_reconnects_of_each_kind_leave_nothing_behind() {
    let emulator = Emulator::builder()
        .configure(|config| {
            config.shards = SHARDS as u64;
            config.max_concurrency = SHARDS as u64;
            config.heartbeat_interval = Duration::from_millis(500);
            // What the gateway remembers is full before anything is measured.
            config.log_limit = 1000;
            config.replay_events = 16;
        })
        .scenario(Scenario::of([]))
        .start()
        .unwrap();
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    options.limits.backoff_base = Duration::from_millis(5);
    options.limits.backoff_cap = Duration::from_millis(50);
    options.limits.close_timeout = Duration::from_millis(100);
    let token = Token::new("a-token").unwrap();
    let (bot, mut events) = connect_bot(token, options).await.unwrap();
    all_up(&mut events).await;
    let tasks = tokio::runtime::Handle::current().metrics();
    let mut held_after = Vec::new();
    let mut alive = Vec::new();
    for _ in 0..ROUNDS {
        round(&emulator, &mut events).await;
        held_after.push(held());
        alive.push(tasks.num_alive_tasks());
    }
    assert_eq!(alive[ROUNDS - 1], alive[WARM]);
    // The gateway's side is in this process too, and may be a socket ahead or behind.
    let (early, late) = (held_after[WARM].0, held_after[ROUNDS - 1].0);
    assert!(
        early.abs_diff(late) <= SHARDS / 5,
        "{early} descriptors, then {late}"
    );
    // Buffers come and go; what stays shows in the least of some rounds.
    let least = |rounds: &[(usize, u64)]| rounds.iter().map(|held| held.1).min().unwrap();
    let early = least(&held_after[WARM / 2..WARM + WARM / 2]);
    let late = least(&held_after[ROUNDS - WARM..]);
    assert!(late <= early + early / 20, "{early} kB, then {late} kB");
    bot.disconnect().await;
    until_seen(&emulator, |log| {
        log.count(|seen| matches!(seen, Seen::ClosedByClient { code: 1000, .. })) == SHARDS
    });
}

async fn all_up(events: &mut Events) {
    let up =
        async { while !matches!(events.next().await, Some(Event::ConnectedAllShards { .. })) {} };
    tokio::time::timeout(PATIENCE, up)
        .await
        .expect("all connect");
}
