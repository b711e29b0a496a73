//! The machine behind a lock, and the way from its actions to the lines that carry them out.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use crate::scenario::{Listener, ListenerMode};
use crate::server::{
    ConnId, HowDropped, Input, Log, Outgoing, RestResponse, ServerAction, ServerMachine,
};
use crate::ws;

/// What a line must do next.
#[derive(Debug)]
pub(super) enum Order {
    Accept,
    Refuse {
        status: u16,
        retry_after: Option<u64>,
        location: Option<String>,
    },
    Send(Outgoing),
    Control {
        opcode: u8,
        payload: Bytes,
    },
    Wire(Bytes),
    Drop(HowDropped),
}

/// The hub's end of a line.
#[derive(Debug)]
struct LineEnd {
    orders: mpsc::UnboundedSender<Order>,
    reads: watch::Sender<bool>,
    dropped: Arc<Notify>,
}

/// A line's own end.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: ConnId,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) reads: watch::Receiver<bool>,
    /// Told when the line is to end, however much is still to be written.
    pub(super) dropped: Arc<Notify>,
}

#[derive(Debug)]
struct Inner {
    machine: ServerMachine,
    lines: BTreeMap<ConnId, LineEnd>,
    next_conn: u64,
    until: Option<Instant>,
    /// What each listener really does now.
    doors: [ListenerMode; 2],
    stopped: bool,
}

#[derive(Debug)]
pub(super) struct Hub {
    inner: Mutex<Inner>,
    changed: Condvar,
    wake: Notify,
    modes: [watch::Sender<ListenerMode>; 2],
    stop: watch::Sender<bool>,
}

impl Hub {
    pub(super) fn new(machine: ServerMachine) -> Self {
        Self {
            inner: Mutex::new(Inner {
                machine,
                lines: BTreeMap::new(),
                next_conn: 0,
                until: None,
                doors: [ListenerMode::Open; 2],
                stopped: false,
            }),
            changed: Condvar::new(),
            wake: Notify::new(),
            modes: [ListenerMode::Open; 2].map(watch::Sender::new),
            stop: watch::Sender::new(false),
        }
    }

    /// A panic in a caller's closure must not take the server down with it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut ServerMachine) -> T) -> T {
        let mut inner = self.lock();
        let answer = look(&mut inner.machine);
        self.drain(&mut inner);
        answer
    }

    pub(super) fn feed(&self, input: Input) {
        self.with(|machine| machine.handle(Instant::now(), input));
    }

    pub(super) fn rest(&self, method: &str, path: &str, auth: Option<&str>) -> RestResponse {
        self.with(|machine| machine.rest(Instant::now(), method, path, auth))
    }

    /// A new line with its number.
    pub(super) fn open_line(&self) -> Line {
        let (orders, receiver) = mpsc::unbounded_channel();
        let (reads, reading) = watch::channel(true);
        let dropped = Arc::new(Notify::new());
        let mut inner = self.lock();
        inner.next_conn += 1;
        let id = ConnId(inner.next_conn);
        let end = LineEnd {
            orders,
            reads,
            dropped: Arc::clone(&dropped),
        };
        inner.lines.insert(id, end);
        Line {
            id,
            orders: receiver,
            reads: reading,
            dropped,
        }
    }

    /// The line is gone; what it was told already it may still write.
    pub(super) fn lost(&self, id: ConnId) {
        let mut inner = self.lock();
        inner.lines.remove(&id);
        inner.machine.handle(
            Instant::now(),
            Input::Closed {
                conn: id,
                code: None,
            },
        );
        self.drain(&mut inner);
    }

    fn drain(&self, inner: &mut Inner) {
        loop {
            let (conn, order) = match inner.machine.poll() {
                ServerAction::Wait(until) => {
                    if until != inner.until {
                        inner.until = until;
                        self.wake.notify_one();
                    }
                    break;
                }
                ServerAction::Listener { which, mode } => {
                    self.modes[which as usize].send_replace(mode);
                    continue;
                }
                ServerAction::Reads { conn, on } => {
                    if let Some(line) = inner.lines.get(&conn) {
                        line.reads.send_replace(on);
                    }
                    continue;
                }
                ServerAction::Accept { conn } => (conn, Order::Accept),
                ServerAction::Refuse {
                    conn,
                    status,
                    retry_after,
                    location,
                } => {
                    let order = Order::Refuse {
                        status,
                        retry_after,
                        location,
                    };
                    (conn, order)
                }
                ServerAction::Send { conn, outgoing } => (conn, Order::Send(outgoing)),
                ServerAction::Ping { conn, bytes } => (conn, control(ws::PING, bytes)),
                ServerAction::Pong { conn, bytes } => (conn, control(ws::PONG, bytes)),
                ServerAction::Close { conn, code, reason } => {
                    let payload = ws::close_payload(code, &reason).into();
                    (conn, control(ws::CLOSE, payload))
                }
                ServerAction::Wire { conn, bytes } => (conn, Order::Wire(bytes)),
                ServerAction::Drop { conn, how } => (conn, Order::Drop(how)),
            };
            let last = matches!(order, Order::Drop(_) | Order::Refuse { .. });
            if let Some(line) = inner.lines.get(&conn) {
                // A line that ended by itself has no more use for orders.
                let _ = line.orders.send(order);
                if last {
                    line.dropped.notify_one();
                }
            }
            if last {
                inner.lines.remove(&conn);
            }
        }
        self.changed.notify_all();
    }

    pub(super) fn wait_for(&self, mut wanted: impl FnMut(&Log) -> bool, at_most: Duration) -> bool {
        self.wait(at_most, |inner| wanted(inner.machine.log()))
    }

    /// Waits until a listener has really become what it was told to be.
    pub(super) fn wait_for_listener(&self, which: Listener, mode: ListenerMode) {
        let at_most = Duration::from_secs(5);
        self.wait(at_most, |inner| {
            inner.stopped || inner.doors[which as usize] == mode
        });
    }

    fn wait(&self, at_most: Duration, mut wanted: impl FnMut(&Inner) -> bool) -> bool {
        let guard = self.lock();
        let (_guard, timeout) = self
            .changed
            .wait_timeout_while(guard, at_most, |inner| !wanted(inner))
            .unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    pub(super) fn door_is(&self, which: Listener, mode: ListenerMode) {
        self.lock().doors[which as usize] = mode;
        self.changed.notify_all();
    }

    pub(super) fn mode(&self, which: Listener) -> watch::Receiver<ListenerMode> {
        self.modes[which as usize].subscribe()
    }

    /// Ticks the machine when it is time, until the server stops.
    pub(super) async fn keep_time(&self) {
        let mut stop = self.stop.subscribe();
        loop {
            let until = self.lock().until;
            let due = async {
                match until {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.wake.notified() => {}
                () = due => self.feed(Input::Tick),
            }
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.stop.send_replace(true);
        self.changed.notify_all();
    }
}

fn control(opcode: u8, payload: Bytes) -> Order {
    Order::Control { opcode, payload }
}
