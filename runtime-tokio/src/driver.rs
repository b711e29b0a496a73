//! Drives one shard: moves bytes between its socket and its machine, and waits. Timers come first, so
//! that no flood can starve the heart; a write that blocks holds up neither reading nor the machine.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures_util::{SinkExt, StreamExt};
use shardwright_core::{
    Action, ConnId, Event, EventId, Frame, Input, ShardId, ShardMachine, ShardReport, ShardStart,
    Stop, ToShard, TransportFault, Wait,
};
use shardwright_runtime::{Mailboxes, Slot};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::dial::{Socket, dial, fault};

/// After a failed write, how long what has arrived is still read before the connection is given up.
const READ_ON: Duration = Duration::from_secs(1);

type Dial = Pin<Box<dyn Future<Output = Result<Socket, TransportFault>> + Send>>;

pub(crate) struct Driver {
    machine: ShardMachine,
    shard: ShardId,
    tls: Arc<ClientConfig>,
    largest: usize,
    mailboxes: Mailboxes,
    slot: Slot,
    from_fleet: mpsc::UnboundedReceiver<ToShard>,
    to_fleet: mpsc::UnboundedSender<(ShardId, ShardReport)>,
    dial: Option<(ConnId, Dial)>,
    line: Option<Line>,
    congested: bool,
    acknowledged: Option<EventId>,
    fleet_gone: bool,
    wake_at: Pin<Box<Sleep>>,
}

/// One open connection.
struct Line {
    conn: ConnId,
    socket: Socket,
    outgoing: VecDeque<Message>,
    unflushed: bool,
    /// Set when a write has failed.
    broken: Option<(TransportFault, Pin<Box<Sleep>>)>,
}

impl Driver {
    pub(crate) fn new(
        start: ShardStart,
        tls: Arc<ClientConfig>,
        mailboxes: Mailboxes,
        from_fleet: mpsc::UnboundedReceiver<ToShard>,
        to_fleet: mpsc::UnboundedSender<(ShardId, ShardReport)>,
    ) -> Self {
        let now = Instant::now();
        let shard = start.config.shard;
        // A frame's header and a little more than the largest payload.
        let largest = start.config.limits.payload_limit.saturating_add(64 * 1024);
        Self {
            machine: ShardMachine::new(start.config, start.state, start.seed, now),
            shard,
            tls,
            largest,
            slot: mailboxes.add(),
            mailboxes,
            from_fleet,
            to_fleet,
            dial: None,
            line: None,
            congested: false,
            acknowledged: None,
            fleet_gone: false,
            wake_at: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut input = Input::Start;
        loop {
            self.handle(input);
            match self.drain() {
                Wait::Stopped => return,
                Wait::Until(at) => self.wake_at.as_mut().reset(at.into()),
                // Nothing to time; a far deadline keeps the loop the same.
                _ => self
                    .wake_at
                    .as_mut()
                    .reset(tokio::time::Instant::now() + Duration::from_secs(3600)),
            }
            input = poll_fn(|cx| self.poll_input(cx)).await;
        }
    }

    /// Carries out what the machine wants done, until it waits.
    fn drain(&mut self) -> Wait {
        let mut full = false;
        loop {
            let action = self.machine.poll();
            let report = ShardReport::from_action(&action);
            match action {
                Action::Emit(event) => {
                    trace(&event);
                    full |= self.mailboxes.push(self.slot, event.into_owned());
                }
                Action::Send { conn, text } => {
                    if let Some(line) = self.line.as_mut().filter(|line| line.conn == conn) {
                        line.outgoing.push_back(Message::text(text.into_string()));
                        line.unflushed = true;
                    }
                }
                Action::Connect {
                    conn,
                    url,
                    time_allowed,
                } => {
                    self.line = None;
                    let tls = Arc::clone(&self.tls);
                    let dialling = dial(url, time_allowed, tls, self.largest);
                    self.dial = Some((conn, Box::pin(dialling)));
                }
                Action::Close { conn, code, reason } => {
                    if let Some(line) = self.line.as_mut().filter(|line| line.conn == conn) {
                        let frame = CloseFrame {
                            code: code.get().into(),
                            reason: reason.into(),
                        };
                        line.outgoing.push_back(Message::Close(Some(frame)));
                        line.unflushed = true;
                    }
                }
                Action::Abort { conn } => {
                    self.line.take_if(|line| line.conn == conn);
                    self.dial.take_if(|(dialling, _)| *dialling == conn);
                }
                Action::Wait(wait) => {
                    // Only once a drain has ended may the machine be told of the full mailbox.
                    if full && !self.congested {
                        self.congested = true;
                        full = false;
                        self.handle(Input::Congested(true));
                        continue;
                    }
                    return wait;
                }
                _ => {}
            }
            // After the event itself, so that what the fleet says about it comes later.
            if let Some(report) = report {
                // The fleet is only gone when the whole runtime shuts down.
                let _ = self.to_fleet.send((self.shard, report));
            }
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if self.wake_at.as_mut().poll(cx).is_ready() {
            // Ticks are rare: this costs nothing an event, and keeps the acknowledged sequence near.
            self.acknowledge(self.mailboxes.handled(self.slot));
            return Poll::Ready(Input::Tick {
                wall: Some(SystemTime::now()),
            });
        }
        if self.congested && self.mailboxes.poll_room(self.slot, cx).is_ready() {
            self.congested = false;
            return Poll::Ready(Input::Congested(false));
        }
        if !self.fleet_gone {
            match self.from_fleet.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    if matches!(message, ToShard::Stop(Stop::Keep)) {
                        self.acknowledge(self.mailboxes.withdraw(self.slot));
                    }
                    return Poll::Ready(message.into_input());
                }
                Poll::Ready(None) => {
                    self.fleet_gone = true;
                    self.acknowledge(self.mailboxes.withdraw(self.slot));
                    return Poll::Ready(Input::Stop(Stop::Keep));
                }
                Poll::Pending => {}
            }
        }
        if let Some((conn, dial)) = &mut self.dial
            && let Poll::Ready(result) = dial.as_mut().poll(cx)
        {
            let conn = *conn;
            self.dial = None;
            return Poll::Ready(match result {
                Ok(socket) => {
                    self.line = Some(Line::new(conn, socket));
                    Input::Opened { conn }
                }
                Err(why) => Input::Failed { conn, why },
            });
        }
        let read = self.machine.wants_to_read();
        let Some(line) = &mut self.line else {
            return Poll::Pending;
        };
        let Poll::Ready(input) = line.poll(read, cx) else {
            return Poll::Pending;
        };
        if matches!(input, Input::Closed { .. } | Input::Failed { .. }) {
            self.line = None;
        }
        Poll::Ready(input)
    }

    /// Tells the machine what the consumer has handled.
    fn acknowledge(&mut self, handled: Option<EventId>) {
        if let Some(id) = handled.filter(|_| handled != self.acknowledged) {
            self.acknowledged = handled;
            self.handle(Input::Acknowledged(id));
            self.drain();
        }
    }

    fn handle(&mut self, input: Input) {
        if let Err(misuse) = self.machine.handle(Instant::now(), input) {
            tracing::error!(shard = %self.shard, %misuse, "driver fault");
        }
    }
}

impl Line {
    fn new(conn: ConnId, socket: Socket) -> Self {
        Self {
            conn,
            socket,
            outgoing: VecDeque::new(),
            unflushed: false,
            broken: None,
        }
    }

    fn poll(&mut self, read: bool, cx: &mut Context<'_>) -> Poll<Input> {
        let conn = self.conn;
        if self.broken.is_none() && self.unflushed {
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    return Poll::Ready(Input::Flushed { conn });
                }
                Poll::Ready(Err(why)) => {
                    self.broken = Some((why, Box::pin(tokio::time::sleep(READ_ON))));
                }
                Poll::Pending => {}
            }
        }
        if read && let Poll::Ready(input) = self.poll_read(cx) {
            return Poll::Ready(input);
        }
        if let Some((why, read_on)) = &mut self.broken
            && read_on.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Input::Failed {
                conn,
                why: why.clone(),
            });
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        let conn = self.conn;
        loop {
            match self.socket.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => match message {
                    Message::Text(text) => {
                        return Poll::Ready(Input::Received {
                            conn,
                            frame: Frame::Text(text.into()),
                        });
                    }
                    Message::Binary(bytes) => {
                        return Poll::Ready(Input::Received {
                            conn,
                            frame: Frame::Binary(bytes),
                        });
                    }
                    Message::Close(frame) => {
                        // The library has queued the echo; it is sent if that takes no waiting.
                        let _ = self.socket.poll_flush_unpin(cx);
                        let code = frame.map(|frame| frame.code.into());
                        return Poll::Ready(Input::Closed { conn, code });
                    }
                    // Answered by the library.
                    _ => {}
                },
                Poll::Ready(Some(Err(error))) => {
                    let why = self
                        .broken
                        .take()
                        .map_or_else(|| fault(&error), |(why, _)| why);
                    return Poll::Ready(Input::Failed { conn, why });
                }
                Poll::Ready(None) => return Poll::Ready(Input::Closed { conn, code: None }),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        while !self.outgoing.is_empty() {
            match self.socket.poll_ready_unpin(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(fault(&error))),
                Poll::Pending => return Poll::Pending,
            }
            if let Some(message) = self.outgoing.pop_front()
                && let Err(error) = self.socket.start_send_unpin(message)
            {
                return Poll::Ready(Err(fault(&error)));
            }
        }
        self.socket
            .poll_flush_unpin(cx)
            .map_err(|error| fault(&error))
    }
}

fn trace(event: &Event<'_>) {
    match event {
        Event::Dispatch(_) | Event::Heartbeat { .. } => tracing::trace!(?event),
        Event::Problem { .. } | Event::SessionLost { .. } => tracing::warn!(?event),
        Event::Ready { .. } | Event::ShardStopped { .. } => tracing::info!(?event),
        _ => tracing::debug!(?event),
    }
}
