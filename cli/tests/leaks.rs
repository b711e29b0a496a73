//! Nothing stays of a connection that is gone: descriptors, tasks and memory are after thousands of
//! reconnects what they were after a few. The gateway is a process of its own, so that what is measured is
//! the bot.

mod common;

use std::io::BufRead;
use std::time::Duration;

use common::*;
use shardwright_tokio::{
    ApiBase, DisconnectReason, Event, Intents, Options, Token, TransportFault, connect_bot,
};

const SHARDS: usize = 50;
/// Of each kind, over all shards.
const RECONNECTS: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(300);

/// Every line is told to reconnect, reset, or goes dead, soon after it is live; some upgrades fail.
const SCENARIO: &str = r#"{
  "name": "no line lasts",
  "setup": { "shards": 50, "max_concurrency": 50, "heartbeat_interval_ms": 250, "replay_events": 16 },
  "steps": [
    { "when": { "after_live": 5 }, "chance": 0.33, "times": "always", "do": ["op7", { "wait": 60000 }] },
    { "when": { "after_live": 10 }, "chance": 0.5, "times": "always", "do": ["rst"] },
    { "when": { "after_live": 15 }, "times": "always", "do": ["stall"] },
    { "when": "dialled", "on": { "listener": "resume" }, "chance": 0.25, "times": "always",
      "do": [{ "refuse": { "status": 502 } }] }
  ]
}"#;

/// Open descriptors, and resident memory in kB.
fn held() -> (usize, u64) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let memory = line.and_then(|line| line.split_whitespace().nth(1));
    (descriptors, memory.unwrap().parse().unwrap())
}

#[derive(Debug, Default)]
struct Kinds {
    op7: usize,
    resets: usize,
    zombies: usize,
    refused: usize,
}

impl Kinds {
    fn count(&mut self, reason: &DisconnectReason) {
        match reason {
            DisconnectReason::ReconnectRequested => self.op7 += 1,
            DisconnectReason::Zombie => self.zombies += 1,
            DisconnectReason::CouldNotConnect(TransportFault::Upgrade { .. }) => self.refused += 1,
            DisconnectReason::Lost(_) => self.resets += 1,
            other => panic!("{other}"),
        }
    }

    fn least(&self) -> usize {
        let Self {
            op7,
            resets,
            zombies,
            refused,
        } = self;
        *op7.min(resets).min(zombies).min(refused)
    }
}

#[tokio::test]
async fn thousands_of_reconnects_of_each_kind_leave_nothing_behind() {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("shardwright-leaks-{}.json", std::process::id()));
    std::fs::write(&file, SCENARIO).unwrap();
    let scenario = [
        "emulate",
        "--rate",
        "0",
        "--scenario",
        file.to_str().unwrap(),
    ];
    let mut emulate = Running::start(&mut shardwright(&scenario));
    let mut api = String::new();
    emulate.out.as_mut().unwrap().read_line(&mut api).unwrap();
    std::fs::remove_file(&file).unwrap();
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(api.trim()).unwrap();
    options.limits.backoff_base = Duration::from_millis(5);
    options.limits.backoff_cap = Duration::from_millis(20);
    options.limits.close_timeout = Duration::from_millis(100);
    let token = Token::new("a-token").unwrap();
    let (bot, mut events) = connect_bot(token, options).await.unwrap();
    let tasks = tokio::runtime::Handle::current().metrics();
    let mut kinds = Kinds::default();
    let mut samples = Vec::new();
    let all = async {
        while kinds.least() < RECONNECTS {
            match events.next().await {
                Some(Event::Disconnected { reason, .. }) => {
                    kinds.count(&reason);
                    let total = kinds.op7 + kinds.resets + kinds.zombies + kinds.refused;
                    if total.is_multiple_of(100) {
                        samples.push((held(), tasks.num_alive_tasks()));
                    }
                }
                Some(Event::SessionLost { why, .. }) => panic!("a session was lost: {why}"),
                Some(_) => {}
                None => panic!("the bot has ended"),
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "{kinds:?}");
    // After ten of each for each shard, and at the end. Buffers come and go: what stays shows in the least
    // of some samples, and what is there at most in the most.
    let warm = samples.len() / 4;
    let (early, late) = (&samples[warm..2 * warm], &samples[samples.len() - warm..]);
    type Sample = ((usize, u64), usize);
    let least = |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).min().unwrap();
    let memory = |samples| least(samples, |sample| sample.0.1);
    let most = |samples: &[Sample], of: fn(&Sample) -> usize| samples.iter().map(of).max().unwrap();
    let shown = format!("{kinds:?}: {:?} … {:?}", early.first(), late.last());
    assert!(memory(late) <= memory(early) * 21 / 20, "memory: {shown}");
    let lines = most(late, |sample| sample.0.0);
    assert!(lines <= SHARDS * 3 + 50, "{lines} descriptors: {shown}");
    assert_eq!(most(late, |sample| sample.1), SHARDS + 1, "tasks: {shown}");
    bot.disconnect().await;
}
