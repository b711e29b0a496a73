//! One shard's thread: its poll wakes it for its socket, its waker for everything else.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use mio::{Events, Registry, Token};
use shardwright_core::TransportFault;
use shardwright_runtime::{Consumer, Driver, Seat, Target, Turn, io_fault};

use crate::dial::Diallers;
use crate::socket::MioSocket;

const THE_WAKER: Token = Token(0);

struct Ring(mio::Waker);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        // Its thread may have ended.
        let _ = self.0.wake();
    }
}

/// Drives a shard until its end.
pub(crate) fn run(seat: Seat, diallers: Diallers) -> io::Result<()> {
    let mut poll = mio::Poll::new()?;
    let mut events = Events::with_capacity(8);
    let waker = Waker::from(Arc::new(Ring(mio::Waker::new(poll.registry(), THE_WAKER)?)));
    let registry = Arc::new(poll.registry().try_clone()?);
    let mut driver = Driver::new(seat, Consumer::OtherThread, move |target| {
        Box::pin(open(target, diallers.clone(), Arc::clone(&registry)))
    });
    loop {
        let until = match driver.turn(&mut Context::from_waker(&waker)) {
            Turn::Done(()) => return Ok(()),
            // A turn tries everything; nothing has to be waited for.
            Turn::Again => {
                std::thread::yield_now();
                continue;
            }
            Turn::Wait(until) => until,
        };
        let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            // What it was does not matter: a turn tries everything.
            _ => {}
        }
    }
}

fn open(
    target: Target,
    diallers: Diallers,
    registry: Arc<Registry>,
) -> impl Future<Output = Result<MioSocket, TransportFault>> + Send {
    let mut dialling = None;
    let mut target = Some(target);
    poll_fn(move |cx| {
        if let Some(target) = target.take() {
            dialling = Some(diallers.dial(target, cx.waker().clone()));
        }
        let opened = match dialling.as_ref().map(|dialling| dialling.try_recv()) {
            Some(Ok(opened)) => opened,
            Some(Err(TryRecvError::Empty)) => return Poll::Pending,
            Some(Err(TryRecvError::Disconnected)) | None => {
                Err(TransportFault::Other("the dial has ended".to_owned()))
            }
        };
        Poll::Ready(opened.and_then(|socket| {
            let registry = registry.try_clone();
            let socket = registry.and_then(|registry| MioSocket::new(socket, registry));
            socket.map_err(|error| io_fault(&error))
        }))
    })
}
