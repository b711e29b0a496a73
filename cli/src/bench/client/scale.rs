//! A bot of many shards: how it starts, rests, and resumes when all its lines are dropped at once.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shardwright_tokio::{Event, Events, Shards, StatusUpdate};
use tokio::runtime::Runtime;
use tokio::time::timeout_at;

use super::{Client, opening};
use crate::bench::BenchError;
use crate::bench::meter::{Memory, cpu};

/// What was given back on the way is given back by then.
const SETTLE: Duration = Duration::from_secs(3);
/// Each shard beats about once in this time.
const REST: Duration = Duration::from_secs(41);
/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn run(
    client: &Client<'_>,
    runtime: &Runtime,
    at_once: u32,
    before: Memory,
) -> Result<(), BenchError> {
    let report = runtime.block_on(measure(client, at_once, before))?;
    // Whoever asked may be gone.
    let _ = writeln!(std::io::stdout(), "{report}");
    Ok(())
}

/// What has been used since.
struct Since {
    real: Instant,
    cpu: Duration,
}

impl Since {
    fn now() -> Self {
        Self {
            real: Instant::now(),
            cpu: cpu(),
        }
    }

    fn put(&self, report: &mut Value, name: &str) {
        report[format!("{name}_s")] = self.real.elapsed().as_secs_f64().into();
        report[format!("{name}_cpu_s")] = (cpu() - self.cpu).as_secs_f64().into();
    }
}

async fn measure(client: &Client<'_>, at_once: u32, before: Memory) -> Result<Value, BenchError> {
    let mut report = json!({});
    let shards = u64::from(client.args.shards);
    let (token, options, gateway, ids) = client.options()?;
    let start = Since::now();
    let connected = shardwright_tokio::connect_shards(token, options, gateway, ids).await;
    let (bot, mut events) = connected.map_err(BenchError::new)?;
    let all = shards * opening(client.args.guilds);
    count(&mut events, all, |event| {
        matches!(event, Event::Dispatch(_))
    })
    .await?;
    start.put(&mut report, "connect");
    // As many rounds as the limit asks for.
    report["rounds"] = shards.div_ceil(u64::from(at_once)).into();

    pass(&mut events, SETTLE).await?;
    let now = Memory::now()?;
    report["memory"] = now.resident.saturating_sub(before.resident).into();
    report["peak"] = now.peak.saturating_sub(before.resident).into();
    let rest = Since::now();
    pass(&mut events, REST).await?;
    rest.put(&mut report, "rest");

    let resume = Since::now();
    let presence = bot.status_update(StatusUpdate::online(), Shards::Only(vec![0]));
    presence.await.map_err(BenchError::new)?;
    count(&mut events, shards, |event| {
        matches!(event, Event::Resumed { .. })
    })
    .await?;
    resume.put(&mut report, "resume");
    Ok(report)
}

/// Takes events until so many are what is meant.
async fn count(
    events: &mut Events,
    all: u64,
    meant: impl Fn(&Event<'_>) -> bool,
) -> Result<(), BenchError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut left = all;
    while left > 0 {
        match timeout_at(deadline, events.next()).await {
            Ok(Some(event)) if meant(&event) => left -= 1,
            Ok(Some(event @ (Event::Stopped { .. } | Event::SessionLost { .. }))) => {
                return Err(BenchError::new(format!("{event:?}")));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                return Err(BenchError::new(format!("{left} of {all} did not come")));
            }
        }
    }
    Ok(())
}

/// Takes events for so long.
async fn pass(events: &mut Events, time: Duration) -> Result<(), BenchError> {
    let end = tokio::time::Instant::now() + time;
    loop {
        match timeout_at(end, events.next()).await {
            Err(_) => return Ok(()),
            Ok(Some(event @ (Event::Disconnected { .. } | Event::Stopped { .. }))) => {
                return Err(BenchError::new(format!("{event:?}")));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Err(BenchError::new("the bot is gone")),
        }
    }
}
