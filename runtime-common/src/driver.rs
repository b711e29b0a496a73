//! Drives one shard: moves messages between its seat and its socket, and waits. A write that blocks holds up
//! neither reading nor the machine.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use shardwright_core::{CloseCode, ConnId, Input, OutgoingText, TransportFault};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame as WebSocketFrame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Bytes, Error, Message};

use crate::dial::READ_BUFFER;
use crate::keeping::Keeping;
use crate::rush::Rush;
use crate::{Consumer, Ended, Incoming, Network, Seat, Target, Turn, Wire, fault, io_fault};

/// After a failed write, how long what has arrived is still read before the connection is given up.
const READ_ON: Duration = Duration::from_secs(1);

/// A turn is over earlier if its messages, or the events that they held, are larger than this on average, in
/// bytes: so that what a thousand shards say when they start is not in memory all at once.
const LARGEST_MEAN: usize = 1024;

/// And if the events that wait for the consumer are larger than this in all, in bytes, unless messages come all
/// the time.
const MOST_BROUGHT: usize = 16 * 1024;

/// What of one record of TLS is taken at least before its rest waits for the next turn, in bytes of events.
const MOST_OF_A_RECORD: usize = 64 * 1024;

/// A shard that comes while the events of many others wait lets them be taken first, so many times in a row at
/// most: a consumer that is slow for good is a matter of the mailbox's limits.
const MOST_PASSES: u32 = 8;

/// A message from this size on does not stay in the buffer it was read into.
const LARGE: usize = 4 * 1024;

/// A websocket that does not block: `Pending` is what a socket says that would, and the waker is woken when
/// it is worth another try.
pub trait Socket: Send + 'static {
    /// What comes next.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming>;
    /// Whether there is room for another message.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    /// Takes a message, once there is room.
    ///
    /// # Errors
    /// If the connection is broken.
    fn take(&mut self, message: Message) -> Result<(), Error>;
    /// Whether all that was taken is out.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    /// Writes some of these bytes as they are, once all that was taken is out; says how many.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Whether something has been decrypted that is in no message yet.
    fn holds(&self) -> bool;
    /// Gives memory back that nothing is in: nothing more has come.
    fn rest(&mut self);
}

/// An attempt to open a websocket.
pub type Dial<S> = Pin<Box<dyn Future<Output = Result<S, TransportFault>> + Send>>;

/// Opens websockets.
pub type Dialler<S> = Box<dyn FnMut(Target) -> Dial<S> + Send>;

/// One shard and its socket. A runtime gives it turns.
pub struct Driver<S> {
    seat: Seat,
    wire: Connection<S>,
    begun: bool,
    /// How many messages are taken in one turn.
    most: usize,
    /// Turns in a row in which others were let go first.
    passes: u32,
    rush: Rush,
    keeping: Keeping,
}

impl<S: Socket> Driver<S> {
    /// A driver that has not started.
    pub fn new(
        mut seat: Seat,
        consumer: Consumer,
        dial: impl FnMut(Target) -> Dial<S> + Send + 'static,
    ) -> Self {
        let most = consumer.messages(seat.delivers_in_place());
        seat.hand_over_after(consumer.events());
        let rush = Rush::at(seat.network().gate.clone());
        let wire = Connection {
            dial: Box::new(dial),
            network: seat.network().clone(),
            largest: seat.largest_frame(),
            dialling: None,
            line: None,
        };
        Self {
            seat,
            wire,
            begun: false,
            most,
            passes: 0,
            rush,
            keeping: Keeping::default(),
        }
    }

    /// Does all there is to do now.
    pub fn turn(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        self.seat.begin_turn();
        let turn = self.work(cx);
        self.seat.end_turn(self.keeping.keeps());
        turn
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.seat.start(&mut self.wire);
        }
        let (mut taken, mut bytes) = (0, 0);
        loop {
            if self.seat.is_over() {
                return Turn::Done(());
            }
            // What is to be sent goes before anything that may end its connection. It never waits.
            if let Poll::Ready(input) = self.wire.poll_write(cx) {
                self.seat.handle(input, &mut self.wire);
                continue;
            }
            if self.seat.poll(cx, &mut self.wire).is_ready() {
                continue;
            }
            if taken == 0
                && self.passes < MOST_PASSES
                && self.seat.is_in_a_crowd()
                && !self.wire.holds()
            {
                self.passes += 1;
                return Turn::Again;
            }
            self.passes = 0;
            let reads = self.seat.wants_to_read();
            if taken == 0
                && reads
                && self.wire.is_greeted()
                && !self.rush.may_read(self.seat.now(), cx)
            {
                // All else goes on: a time that is past would be waited for again and again.
                self.keeping.turn(0, 0, self.seat.now());
                match self.wire.poll_else(cx) {
                    Poll::Ready(input) => self.seat.handle(input, &mut self.wire),
                    Poll::Pending => return self.wait(),
                }
                continue;
            }
            let incoming = match &mut self.wire.line {
                Some(line) if reads && line.may_read() => line.socket.poll_read(cx),
                _ => Poll::Pending,
            };
            match incoming {
                Poll::Ready(Incoming::Frame(frame)) => {
                    bytes += frame.len();
                    if let Some(conn) = self.wire.saw(frame.as_bytes()) {
                        self.seat.received(conn, frame, &mut self.wire);
                    }
                }
                Poll::Ready(Incoming::Ended(how)) => self.ended(*how),
                Poll::Pending => match self.wire.poll_else(cx) {
                    Poll::Ready(input) => self.seat.handle(input, &mut self.wire),
                    Poll::Pending => {
                        self.rest(taken, bytes);
                        return self.wait();
                    }
                },
            }
            taken += 1;
            let most_bytes = self.most * LARGEST_MEAN;
            let most_brought = match self.keeping.keeps() {
                true => most_bytes,
                false => MOST_BROUGHT,
            };
            let enough = taken >= self.most
                || bytes >= most_bytes
                || self.seat.brought() >= most_brought
                || self.seat.is_in_a_crowd();
            // A record of TLS is taken to its end as a rule: it takes the more room while it waits.
            let goes_on = || self.seat.brought() < MOST_OF_A_RECORD && self.wire.holds();
            if enough && !goes_on() {
                self.keeping.turn(taken, bytes, self.seat.now());
                return Turn::Again;
            }
        }
    }
}

impl<S: Socket> Driver<S> {
    #[cold]
    fn ended(&mut self, how: Ended) {
        let Some(line) = self.wire.line.take() else {
            return;
        };
        let conn = line.conn;
        let input = match how {
            Ended::Closed(code) => Input::Closed { conn, code },
            Ended::Failed(why) => {
                // What a write has failed of was first.
                let why = line.broken.map_or(why, |(why, _)| why);
                Input::Failed { conn, why }
            }
        };
        self.seat.handle(input, &mut self.wire);
    }

    /// Nothing more has come: most shards are at rest most of the time, and hold no buffers then.
    fn rest(&mut self, messages: usize, bytes: usize) {
        self.rush.rest();
        self.keeping.turn(messages, bytes, self.seat.now());
        if self.keeping.keeps() {
            return;
        }
        if let Some(line) = &mut self.wire.line {
            line.large = None;
            line.socket.rest();
        }
    }
}

impl<S> Driver<S> {
    fn wait(&self) -> Turn<()> {
        if self.seat.is_over() {
            return Turn::Done(());
        }
        let wake_at = self.seat.wake_at().into_iter().chain(self.wire.wake_at());
        let own = self
            .keeping
            .wake_at()
            .into_iter()
            .chain(self.rush.wake_at());
        Turn::Wait(wake_at.chain(own).min())
    }
}

impl<S> std::fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("shard", &self.seat.shard())
            .finish_non_exhaustive()
    }
}

struct Connection<S> {
    dial: Dialler<S>,
    network: Network,
    largest: usize,
    dialling: Option<(ConnId, Dial<S>)>,
    line: Option<Line<S>>,
}

/// What is to be sent.
enum Outgoing {
    Message(Message),
    /// A frame with the token in it. The websocket library writes every frame it is given to its log, so
    /// this one goes past it; and how much of it has gone already.
    Secret(Vec<u8>, usize),
}

/// One open connection.
struct Line<S> {
    conn: ConnId,
    socket: S,
    outgoing: VecDeque<Outgoing>,
    unflushed: bool,
    is_greeted: bool,
    /// The last large message. The library reads into one buffer for as long as nobody else has a part of it,
    /// and would keep one of READY's size for ever; so part of it is kept until another has begun.
    large: Option<Bytes>,
    /// Set when a write has failed: why, and how long is read on.
    broken: Option<(TransportFault, Instant)>,
}

impl<S: Send + 'static> Wire for Connection<S> {
    fn connect(&mut self, conn: ConnId, url: String, time_allowed: Duration) {
        self.line = None;
        let dialling = match Target::new(&url, time_allowed, &self.network, self.largest) {
            Ok(target) => (self.dial)(target),
            Err(why) => Box::pin(std::future::ready(Err(why))),
        };
        self.dialling = Some((conn, dialling));
    }

    fn send(&mut self, conn: ConnId, text: OutgoingText) {
        self.queue(
            conn,
            if text.is_secret() {
                Outgoing::Secret(secret_frame(text.into_string()), 0)
            } else {
                Outgoing::Message(Message::text(text.into_string()))
            },
        );
    }

    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &'static str) {
        let code = code.get().into();
        let reason = reason.into();
        let frame = CloseFrame { code, reason };
        self.queue(conn, Outgoing::Message(Message::Close(Some(frame))));
    }

    fn abort(&mut self, conn: ConnId) {
        self.line.take_if(|line| line.conn == conn);
        self.dialling.take_if(|(dialling, _)| *dialling == conn);
    }
}

impl<S> Connection<S> {
    fn queue(&mut self, conn: ConnId, message: Outgoing) {
        if let Some(line) = self.line.as_mut().filter(|line| line.conn == conn) {
            line.outgoing.push_back(message);
            line.unflushed = true;
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.line.as_ref()?.read_on_until()
    }
}

impl<S: Socket> Connection<S> {
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        match &mut self.line {
            Some(line) => line.poll_flushed(cx),
            None => Poll::Pending,
        }
    }

    /// The first message of the open connection, Hello as a rule, has come. It is not held back while others read
    /// much, so that what a connection needs for good is allocated before what they need for a moment.
    fn is_greeted(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.is_greeted)
    }

    fn holds(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.socket.holds())
    }

    /// A message has come: on which connection.
    #[inline]
    fn saw(&mut self, message: &Bytes) -> Option<ConnId> {
        let line = self.line.as_mut()?;
        line.is_greeted = true;
        if message.len() >= LARGE {
            line.large = Some(message.clone());
        } else if line.large.is_some() {
            line.large.take_if(|large| !is_right_behind(message, large));
        }
        Some(line.conn)
    }

    /// What there is other than messages.
    fn poll_else(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if let Some((conn, dialling)) = &mut self.dialling
            && let Poll::Ready(result) = dialling.as_mut().poll(cx)
        {
            let conn = *conn;
            self.dialling = None;
            return Poll::Ready(match result {
                Ok(socket) => {
                    self.line = Some(Line::new(conn, socket));
                    Input::Opened { conn }
                }
                Err(why) => Input::Failed { conn, why },
            });
        }
        let is_over =
            |line: &mut Line<S>| line.read_on_until().is_some_and(|at| at <= Instant::now());
        let Some(line) = self.line.take_if(is_over) else {
            return Poll::Pending;
        };
        let conn = line.conn;
        match line.broken {
            Some((why, _)) => Poll::Ready(Input::Failed { conn, why }),
            None => Poll::Pending,
        }
    }
}

impl<S> Line<S> {
    fn new(conn: ConnId, socket: S) -> Self {
        Self {
            conn,
            socket,
            outgoing: VecDeque::new(),
            unflushed: false,
            is_greeted: false,
            large: None,
            broken: None,
        }
    }

    /// It is broken, and what has arrived is read until then.
    fn read_on_until(&self) -> Option<Instant> {
        self.broken.as_ref().map(|(_, until)| *until)
    }
}

impl<S: Socket> Line<S> {
    /// Ready once all that was to be sent is out.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if self.broken.is_some() || !self.unflushed {
            return Poll::Pending;
        }
        match self.poll_write(cx) {
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                return Poll::Ready(Input::Flushed { conn: self.conn });
            }
            Poll::Ready(Err(why)) => self.broken = Some((why, Instant::now() + READ_ON)),
            Poll::Pending => {}
        }
        Poll::Pending
    }

    /// Not in the middle of what goes past the library: reading may write, a pong for example.
    #[inline]
    fn may_read(&self) -> bool {
        !matches!(self.outgoing.front(), Some(Outgoing::Secret(_, 1..)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        let broken = |error: Error| fault(&error);
        while let Some(next) = self.outgoing.front_mut() {
            match next {
                Outgoing::Message(_) => match self.socket.poll_room(cx) {
                    Poll::Ready(ready) => ready.map_err(broken)?,
                    Poll::Pending => return Poll::Pending,
                },
                Outgoing::Secret(frame, written) => {
                    // Nothing of the library's may come in between.
                    if *written == 0 {
                        match self.socket.poll_flush(cx) {
                            Poll::Ready(flushed) => flushed.map_err(broken)?,
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    while let Some(rest @ [_, ..]) = frame.get(*written..) {
                        match self.socket.poll_bytes(cx, rest) {
                            Poll::Ready(Ok(0)) => {
                                return Poll::Ready(Err(TransportFault::UnexpectedEnd));
                            }
                            Poll::Ready(Ok(count)) => *written += count,
                            Poll::Ready(Err(error)) => return Poll::Ready(Err(io_fault(&error))),
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                }
            }
            if let Some(Outgoing::Message(message)) = self.outgoing.pop_front() {
                self.socket.take(message).map_err(broken)?;
            }
        }
        self.socket.poll_flush(cx).map_err(broken)
    }
}

/// Whether a message lies in what is left of the buffer that a large one filled, which is less than a small
/// buffer holds.
fn is_right_behind(message: &Bytes, large: &Bytes) -> bool {
    let end = large.as_ptr_range().end.addr();
    (end..end + LARGE + READ_BUFFER).contains(&message.as_ptr().addr())
}

/// A text frame, as a client sends it.
fn secret_frame(text: String) -> Vec<u8> {
    let mut frame = WebSocketFrame::message(text, OpCode::Data(Data::Text), true);
    let mask = crate::random_seed().to_le_bytes();
    frame.header_mut().mask = Some([mask[0], mask[1], mask[2], mask[3]]);
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = frame.format(&mut bytes);
    bytes
}
