//! A bot whose lines are in this process's memory: no system call is made for an event, so what more threads
//! bring is what the library allows.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use shardwright_runtime::{ByteStream, Consumer, Driver, StreamSocket, Turn, prepare_shards};
use shardwright_tokio::{Bot, Events};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::Client;
use crate::bench::BenchError;
use crate::bench::prepared::{Play, Prepared};

/// What all lines play; the events begin when all are up.
struct Stage {
    prepared: Prepared,
    events: usize,
    shards: u32,
    up: AtomicU32,
    waiting: Mutex<Vec<Waker>>,
}

impl Stage {
    fn begin(&self) {
        if self.up.fetch_add(1, Ordering::SeqCst) + 1 < self.shards {
            return;
        }
        for waker in self.waiting().drain(..) {
            waker.wake();
        }
    }

    fn has_begun(&self) -> bool {
        self.up.load(Ordering::SeqCst) >= self.shards
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Hello,
    /// What the client says has to come first.
    Identify,
    Start,
    Events,
    Over,
}

struct Line {
    stage: Arc<Stage>,
    part: Part,
    /// How much of the part has been read.
    at: usize,
    reader: Option<Waker>,
}

impl ByteStream for Line {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let (bytes, next) = match self.part {
                Part::Hello => (self.stage.prepared.hello(), Part::Identify),
                Part::Start => (self.stage.prepared.start(), Part::Events),
                Part::Events if self.stage.has_begun() => {
                    let events = self.stage.events;
                    (self.stage.prepared.events(0, events), Part::Over)
                }
                Part::Events => {
                    self.stage.waiting().push(cx.waker().clone());
                    // They may have begun in between.
                    if !self.stage.has_begun() {
                        return Poll::Pending;
                    }
                    continue;
                }
                Part::Identify | Part::Over => {
                    self.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            };
            let rest = bytes.get(self.at..).unwrap_or_default();
            let count = rest.len().min(into.len());
            if count > 0 {
                into[..count].copy_from_slice(&rest[..count]);
                self.at += count;
                return Poll::Ready(Ok(count));
            }
            self.at = 0;
            self.part = next;
            if next == Part::Events {
                self.stage.begin();
            }
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.part == Part::Identify {
            self.part = Part::Start;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn holds(&self) -> bool {
        false
    }

    fn rest(&mut self) {}
}

/// Gives turns until one says that it is over.
async fn turns(mut turn: impl FnMut(&mut Context<'_>) -> Turn<()>) {
    let mut timer = pin!(tokio::time::sleep_until(Instant::now().into()));
    let flavor = Handle::current().runtime_flavor();
    let is_alone = matches!(flavor, RuntimeFlavor::CurrentThread);
    poll_fn(|cx| {
        loop {
            match turn(cx) {
                Turn::Done(()) => return Poll::Ready(()),
                Turn::Again if is_alone => {
                    let _ = pin!(tokio::task::yield_now()).poll(cx);
                    return Poll::Pending;
                }
                Turn::Again => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Wait(None) => return Poll::Pending,
                Turn::Wait(Some(at)) => timer.as_mut().reset(at.into()),
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Connects to a session that is made here and now.
pub(super) async fn connect(client: &Client<'_>) -> Result<(Bot, Events), BenchError> {
    let args = client.args;
    let play = Play {
        compression: args.compress,
        guilds: args.guilds,
        events: args.events / u64::from(args.shards),
        rate: None,
        ready_bytes: 0,
        shards: args.shards,
        tls: false,
        stamps: false,
    };
    let stage = Arc::new(Stage {
        prepared: Prepared::new(&play, &args.url)?,
        events: usize::try_from(play.events).map_err(BenchError::new)?,
        shards: args.shards,
        up: AtomicU32::new(0),
        waiting: Mutex::default(),
    });
    // The same as on a socket of tokio's.
    let consumer = match args.threads {
        0 => Consumer::SameThread,
        _ => Consumer::AnyThread,
    };
    let (token, options, gateway, shards) = client.options()?;
    let prepared = prepare_shards(token, &options, gateway, shards);
    let (mut owner, connecting) = prepared.map_err(BenchError::new)?;
    tokio::spawn(turns(move |cx| {
        owner.turn(cx, |seat| {
            let stage = Arc::clone(&stage);
            let mut driver = Driver::new(seat, consumer, move |target| {
                let line = Line {
                    stage: Arc::clone(&stage),
                    part: Part::Hello,
                    at: 0,
                    reader: None,
                };
                Box::pin(async move { Ok(StreamSocket::new(line, Vec::new(), target.config)) })
            });
            tokio::spawn(turns(move |cx| driver.turn(cx)));
        })
    }));
    connecting.done().await.map_err(BenchError::new)
}
