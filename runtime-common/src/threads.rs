//! Gives turns on plain threads, and waits on them for what futures bring: a thread sleeps until a waker or a
//! time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::Turn;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn waker() -> Waker {
    Arc::new(Unpark(thread::current())).into()
}

/// Sleeps until the waker of this thread is woken, or until then.
fn sleep(until: Option<Instant>) {
    match until {
        Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
        None => thread::park(),
    }
}

/// Gives turns until one says that it is over.
pub fn turns<T>(mut turn: impl FnMut(&mut Context<'_>) -> Turn<T>) -> T {
    let waker = waker();
    loop {
        match turn(&mut Context::from_waker(&waker)) {
            Turn::Done(result) => return result,
            Turn::Wait(until) => sleep(until),
        }
    }
}

/// Waits for something that some other thread brings about.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    turns(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Turn::Done(result),
        Poll::Pending => Turn::Wait(None),
    })
}

/// Polls once more whenever it is woken, until then at the latest.
pub fn wait_until<T>(
    at: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    turns(|cx| match poll(cx) {
        Poll::Ready(result) => Turn::Done(Some(result)),
        Poll::Pending if at.is_some_and(|at| at <= Instant::now()) => Turn::Done(None),
        Poll::Pending => Turn::Wait(at),
    })
}
