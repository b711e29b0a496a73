//! One client in a process of its own: connects, counts, says what it used.

mod memory;
mod scale;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use shardwright_tokio::{
    Compression, Event, EventFilter, Events, GatewayInfo, InPlace, Intents, Options,
    SessionStartLimit, ShardId, Token,
};
use tokio::runtime::Runtime;

use super::BenchError;
use super::floor::Floor;
use super::meter::{Memory, Meter, cpu};
use super::prepared::opening;

/// Who is measured. What another program offers is called by the same flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Who {
    /// Websocket and inflate, nothing else
    Floor,
    /// The stream of events
    Tokio,
    /// The same, with lines that are in memory
    Memory,
    /// Handlers on the spot
    InPlace,
    /// Messages are parsed on the spot, all else is filtered
    Messages,
    AsyncStd,
    Smol,
    Blocking,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ClientArgs {
    #[arg(long)]
    pub(super) who: Who,
    #[arg(long)]
    pub(super) url: String,
    #[arg(long)]
    pub(super) compress: Compression,
    #[arg(long, default_value_t = 1)]
    pub(super) shards: u32,
    #[arg(long)]
    pub(super) guilds: u32,
    /// Events on all shards together
    #[arg(long)]
    pub(super) events: u64,
    /// How many of them are messages
    #[arg(long, default_value_t = 0)]
    pub(super) messages: u64,
    /// Worker threads of the runtime; 0: the calling thread alone
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    /// Take the stream's events in a task of their own
    #[arg(long)]
    pub(super) in_task: bool,
    /// Once all is delivered, rest so long and measure that too
    #[arg(long, default_value_t = 0.0)]
    pub(super) rest: f64,
    /// Say when each event was there
    #[arg(long)]
    pub(super) stamps: bool,
    /// Trust this authority's certificate, a PEM file
    #[arg(long, value_name = "FILE")]
    pub(super) authority: Option<PathBuf>,
    /// Measure a start, a rest, and the resume of all shards at once; so many may identify at once
    #[arg(long, value_name = "N")]
    pub(super) scale: Option<u32>,
}

pub(super) fn run(args: &ClientArgs) -> Result<(), BenchError> {
    let runtime = runtime(args.threads)?;
    let before = Memory::now()?;
    let start = u64::from(args.shards) * opening(args.guilds);
    let meter = match args.who {
        // What is filtered is not counted. The first message is where the measurement begins.
        Who::Messages => Meter::new(0, args.messages),
        _ if args.stamps => Meter::new(start, args.events).stamping(),
        _ => Meter::new(start, args.events),
    };
    let client = Client {
        args,
        meter: &meter,
        last: if args.events == 0 { start } else { u64::MAX },
    };
    if let Some(at_once) = args.scale {
        return scale::run(&client, &runtime, at_once, before);
    }
    // Whatever is connected stays so until it has been looked at.
    let kept = client.connect(&runtime)?;
    let mut report = json!({});
    if args.rest > 0.0 {
        // All of it is there; what was needed on the way is given back.
        let settle = Duration::from_secs_f64(args.rest / 2.0);
        runtime.block_on(async { tokio::time::sleep(settle).await });
        let (now, used) = (Memory::now()?, cpu());
        runtime.block_on(async { tokio::time::sleep(settle).await });
        report = json!({
            "memory": now.resident.saturating_sub(before.resident),
            "peak": now.peak.saturating_sub(before.resident),
            "threads": now.threads,
            "rest_cpu_s": (cpu() - used).as_secs_f64(),
            "rest_s": settle.as_secs_f64(),
        });
    }
    if args.events > 0 {
        let used = meter
            .used()
            .ok_or_else(|| BenchError::new(format!("only {} events came", meter.counted())))?;
        report["cpu_ns"] = used.cpu_ns.into();
        report["real_ns"] = used.real_ns.into();
    }
    if args.stamps {
        report["taken"] = meter.stamps().into();
    }
    // Whoever asked may be gone.
    let _ = writeln!(std::io::stdout(), "{report}");
    drop(kept);
    // Not to be waited for.
    runtime.shutdown_background();
    Ok(())
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    if threads == 0 {
        return tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A message, as far as a bot that answers commands reads it.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: &'a str,
    #[serde(borrow)]
    channel_id: &'a str,
    #[serde(borrow)]
    content: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    author: Author<'a>,
}

#[derive(Deserialize)]
struct Author<'a> {
    #[serde(borrow)]
    id: &'a str,
    #[serde(default)]
    bot: bool,
}

/// Something that has to stay alive.
type Kept = Box<dyn std::any::Any>;

struct Client<'c> {
    args: &'c ClientArgs,
    meter: &'c Meter,
    /// The number of the last event, if the measurement itself has none.
    last: u64,
}

impl Client<'_> {
    fn connect(&self, runtime: &Runtime) -> Result<Kept, BenchError> {
        match self.args.who {
            Who::Floor => runtime.block_on(self.floor()),
            Who::Tokio | Who::Memory | Who::AsyncStd | Who::Smol => runtime.block_on(self.stream()),
            Who::InPlace | Who::Messages => runtime.block_on(self.in_place()),
            Who::Blocking => self.blocking(),
        }
    }

    async fn floor(&self) -> Result<Kept, BenchError> {
        if self.args.shards == 1 {
            let mut floor = Floor::connect(&self.args.url, self.args.compress).await?;
            // Hello is no event.
            floor.read().await?;
            let mut meter = self.meter.alone();
            let mut count = 0;
            loop {
                floor.read().await?;
                count += 1;
                if meter.count() || count == self.last {
                    return Ok(Box::new(floor));
                }
            }
        }
        let (done, mut dones) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..self.args.shards {
            let mut floor = Floor::connect(&self.args.url, self.args.compress).await?;
            let (meter, done, last) = (self.meter.clone(), done.clone(), self.last);
            tokio::spawn(async move {
                if floor.read().await.is_err() {
                    return;
                }
                while floor.read().await.is_ok() {
                    if meter.count() || meter.counted() == last {
                        // The receiver is only gone when all is over.
                        let _ = done.send(());
                    }
                }
            });
        }
        dones.recv().await;
        Ok(Box::new(done))
    }

    fn options(&self) -> Result<(Token, Options, GatewayInfo, Vec<ShardId>), BenchError> {
        let token = Token::new("bench").map_err(BenchError::new)?;
        let mut options = Options::new(Intents::all());
        options.compression = self.args.compress;
        if let Some(file) = &self.args.authority {
            let roots = std::fs::read(file)?;
            options.tls.add_roots(&roots).map_err(BenchError::new)?;
        }
        let url = self.args.url.parse().map_err(BenchError::new)?;
        let at_once = self.args.scale.unwrap_or(100_000);
        let limit = SessionStartLimit::new(100_000, 100_000, DAY, at_once);
        let gateway = GatewayInfo::new(url, self.args.shards, limit);
        let shards = (0..self.args.shards).map(|number| ShardId::new(number, self.args.shards));
        let shards = shards.collect::<Result<_, _>>().map_err(BenchError::new)?;
        Ok((token, options, gateway, shards))
    }

    /// Counts a stream of events to the last.
    fn counter(&self) -> impl FnMut(&Event<'_>) -> Result<bool, BenchError> + use<> {
        let mut meter = self.meter.alone();
        let last = self.last;
        let mut count = 0;
        move |event| {
            match event {
                Event::Dispatch(event) => {
                    std::hint::black_box(event.data());
                    count += 1;
                    return Ok(meter.count() || count == last);
                }
                Event::Disconnected { .. } | Event::Stopped { .. } => {
                    return Err(BenchError::new(format!("{event:?}")));
                }
                _ => {}
            }
            Ok(false)
        }
    }

    async fn stream(&self) -> Result<Kept, BenchError> {
        let (bot, mut events) = if self.args.who == Who::Memory {
            memory::connect(self).await?
        } else {
            let (token, options, gateway, shards) = self.options()?;
            let connected = match self.args.who {
                Who::AsyncStd => {
                    use shardwright_async_std::async_std::connect_shards;
                    connect_shards(token, options, gateway, shards).await
                }
                Who::Smol => {
                    use shardwright_async_std::smol::connect_shards;
                    connect_shards(token, options, gateway, shards).await
                }
                _ => shardwright_tokio::connect_shards(token, options, gateway, shards).await,
            };
            connected.map_err(BenchError::new)?
        };
        let mut counter = self.counter();
        let taking = async move {
            while let Some(event) = events.next().await {
                if counter(&event)? {
                    break;
                }
            }
            Ok::<Events, BenchError>(events)
        };
        let events = if self.args.in_task {
            tokio::spawn(taking).await.map_err(BenchError::new)?
        } else {
            taking.await
        };
        Ok(Box::new((bot, events?)))
    }

    fn blocking(&self) -> Result<Kept, BenchError> {
        let (token, options, gateway, shards) = self.options()?;
        let connected = shardwright_blocking::connect_shards(token, options, gateway, shards);
        let (bot, mut events) = connected.map_err(BenchError::new)?;
        let mut counter = self.counter();
        for event in events.by_ref() {
            if counter(&event)? {
                break;
            }
        }
        Ok(Box::new((bot, events)))
    }

    async fn in_place(&self) -> Result<Kept, BenchError> {
        let (token, mut options, gateway, shards) = self.options()?;
        let (done, dones) = mpsc::channel();
        let wake = Arc::new(tokio::sync::Notify::new());
        let end = {
            let wake = Arc::clone(&wake);
            move |result: Result<(), BenchError>| {
                // The receiver is only gone when all is over.
                let _ = done.send(result);
                wake.notify_one();
            }
        };
        let (meter, last, alone) = (self.meter.clone(), self.last, shards.len() == 1);
        let parses = self.args.who == Who::Messages;
        if parses {
            options.filter = EventFilter::only(["MESSAGE_CREATE"]);
        }
        options.in_place = Some(InPlace::new(move |_| {
            let (end, meter) = (end.clone(), meter.clone());
            let mut own = meter.alone();
            move |event: Event<'_>| {
                let over = match &event {
                    Event::Dispatch(event) if parses => match event.parse::<Message<'_>>() {
                        Ok(message) => {
                            let Message {
                                id,
                                channel_id,
                                content,
                                author,
                            } = message;
                            std::hint::black_box((id, channel_id, content, author.id, author.bot));
                            own.count()
                        }
                        Err(error) => return end(Err(BenchError::new(error))),
                    },
                    Event::Dispatch(event) => {
                        std::hint::black_box(event.data());
                        if alone && last == u64::MAX {
                            own.count()
                        } else {
                            meter.count() || meter.counted() == last
                        }
                    }
                    Event::Disconnected { .. } => {
                        return end(Err(BenchError::new(format!("{event:?}"))));
                    }
                    _ => false,
                };
                if over {
                    end(Ok(()));
                }
            }
        }));
        let connected = shardwright_tokio::connect_shards(token, options, gateway, shards);
        let kept = connected.await.map_err(BenchError::new)?;
        wake.notified().await;
        dones.recv().map_err(BenchError::new)??;
        Ok(Box::new(kept))
    }
}
