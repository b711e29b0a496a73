//! What users of discljord's gateway layer have run into, told once more over real sockets. The numbers are
//! those of `docs/coming-from-discljord.md`; the stories that need no socket are in the core's tests.

mod ends;
mod faults;
mod secrets;
mod streams;

use std::time::Duration;

use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::server::{Log, Seen, ServerConfig};
use shardwright_tokio::{ApiBase, Event, Events, Intents, Options, ShardId, Token};

/// The longest any of these may take on a busy machine; nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(180);

fn emulator(change: impl FnOnce(&mut ServerConfig)) -> Emulator {
    Emulator::builder()
        .configure(|config| config.max_concurrency = 16)
        .configure(change)
        .start()
        .unwrap()
}

fn options(emulator: &Emulator) -> Options {
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    options.seed = Some(1);
    options
}

fn token() -> Token {
    Token::new("a-token").unwrap()
}

fn shard(number: u32, total: u32) -> ShardId {
    ShardId::new(number, total).unwrap()
}

async fn in_time<T>(what: &str, doing: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, doing).await {
        Ok(result) => result,
        Err(_) => panic!("{what} takes too long"),
    }
}

/// Takes events until one satisfies.
async fn until(events: &mut Events, what: &str, mut wanted: impl FnMut(&Event<'_>) -> bool) {
    let taking = async {
        while let Some(event) = events.next().await {
            if wanted(&event) {
                return;
            }
        }
        panic!("the bot has ended");
    };
    in_time(what, taking).await;
}

/// Takes events until all shards are connected. The last sequence that came.
async fn until_connected(events: &mut Events) -> u64 {
    let mut last = 0;
    until(events, "the connection", |event| {
        if let Event::Dispatch(event) = event {
            last = event.id().seq;
        }
        matches!(event, Event::ConnectedAllShards { .. })
    })
    .await;
    last
}

/// Waits until the gateway has seen something. Blocks its thread, so the test needs another one.
fn until_seen(emulator: &Emulator, what: &str, wanted: impl FnMut(&Log) -> bool) {
    let seen = tokio::task::block_in_place(|| emulator.wait_for(wanted, PATIENCE));
    assert!(seen, "the gateway never saw {what}");
}

/// The codes of the client's own close frames.
fn close_codes(emulator: &Emulator) -> Vec<u16> {
    emulator.with_machine(|machine| {
        let entries = machine.log().entries().iter();
        let codes = entries.filter_map(|entry| match entry.what {
            Seen::ClosedByClient { code, answer } => (!answer).then_some(code),
            _ => None,
        });
        codes.collect()
    })
}

fn identifies(emulator: &Emulator) -> usize {
    emulator.with_machine(|machine| machine.log().identifies())
}

/// The guide names a test for each number, and each of them is there.
#[test]
fn every_number_of_the_guide_has_its_test() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let mut sources = String::new();
    for folder in ["core/tests/discljord", "tests/tests/discljord"] {
        for file in std::fs::read_dir(format!("{root}/{folder}")).unwrap() {
            sources += &std::fs::read_to_string(file.unwrap().path()).unwrap();
        }
        sources += &read(&format!("{folder}_memory.rs"));
    }
    let guide = read("docs/coming-from-discljord.md");
    let rows = guide.lines().filter(|line| line.starts_with("| S"));
    let mut numbers = 0;
    for row in rows {
        numbers += 1;
        assert!(row.starts_with(&format!("| S{numbers} |")), "{row}");
        let column = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<_> = column.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(name.starts_with(&format!("s{numbers:02}_")), "{name}");
            assert!(sources.contains(&format!("fn {name}()")), "{name}");
        }
    }
    assert_eq!(numbers, 32);
}
