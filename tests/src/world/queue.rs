//! What is still to happen, in order of time; what is due at one moment in the order it was decided.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

use shardwright_core::{
    ConnId as ClientConn, FetchFault, FleetInput, GatewayInfo, GatewayRequest, ShardId,
    ShardReport, ToShard, TransportFault,
};

use super::BotId;
use crate::scenario::Ending;
use crate::server::{ConnId, WsMessage};

/// What a client's end of a line sends.
#[derive(Debug)]
pub(super) enum Up {
    /// A text message, and its place among those the line has carried.
    Frame {
        text: String,
        index: usize,
    },
    Pong(bytes::Bytes),
    Close(u16),
    /// So many bytes were read: there is room for more.
    Room(usize),
    /// The client's socket is gone.
    End,
}

/// What the server's end of a line sends.
#[derive(Debug)]
pub(super) enum Down {
    Accept,
    Refuse(TransportFault),
    Message { message: WsMessage, whole: bool },
    Ping(bytes::Bytes),
    Close(Option<u16>),
    End(Ending),
}

/// One thing that will happen.
#[derive(Debug)]
pub(super) enum Due {
    ServerTick,
    ToServer(ConnId, Up),
    ToClient(ConnId, Down),
    /// A dial reaches the server.
    Dialled(ConnId),
    DialFailed(ConnId, TransportFault),
    /// What was held up on a line may go on.
    Release(ConnId),
    /// What a client has written has left its host.
    Flushed(ConnId),
    WakeFleet(BotId),
    /// What was asked of a bot while its host slept.
    Asked(BotId, Box<FleetInput>),
    /// A shard, by its place in its bot.
    StartShard(BotId, usize),
    WakeShard(BotId, usize),
    Report(BotId, usize, ShardReport),
    Tell(BotId, usize, ToShard),
    /// The consumer asks for an event.
    Take(BotId),
    /// What the gate of a bot says to a shard on a connection, if nobody has left since.
    GateAnswers(BotId, ShardId, ClientConn, u64),
    /// A bot stores its run, if it is time.
    Save(BotId),
    RestAsked(BotId, GatewayRequest),
    RestAnswered(BotId, Box<Result<GatewayInfo, FetchFault>>),
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) at: Instant,
    /// Kept when something is put off, so that it stays ahead of what was decided later.
    pub(super) serial: u64,
    pub(super) due: Due,
}

/// One in the heap, which moves them a lot: small.
#[derive(Debug)]
struct Place {
    at: Instant,
    serial: u64,
    due: Box<Due>,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    /// The earliest is the greatest: a heap gives that first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Place>,
    serial: u64,
}

impl Queue {
    pub(super) fn put(&mut self, at: Instant, due: Due) {
        self.serial += 1;
        let serial = self.serial;
        let due = Box::new(due);
        self.heap.push(Place { at, serial, due });
    }

    /// Puts off what was taken out.
    pub(super) fn put_off(&mut self, at: Instant, queued: Queued) {
        let Queued { serial, due, .. } = queued;
        let due = Box::new(due);
        self.heap.push(Place { at, serial, due });
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|queued| queued.at)
    }

    pub(super) fn take(&mut self) -> Option<Queued> {
        let Place { at, serial, due } = self.heap.pop()?;
        let due = *due;
        Some(Queued { at, serial, due })
    }
}
