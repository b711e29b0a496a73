//! Gives turns on plain threads, and waits on them for what futures bring: a thread sleeps until a waker or a
//! time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::Turn;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// Waiting for one event after the other, a thread makes its waker once.
    static WAKER: Waker = new_waker();
}

fn new_waker() -> Waker {
    Arc::new(Unpark(thread::current())).into()
}

/// The waker of this thread. It may be woken for something that was waited for before, which costs a look.
fn waker() -> Waker {
    // The thread may be about to end.
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| new_waker())
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
            Turn::Again => thread::yield_now(),
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

/// Polls once more whenever it is woken, for so long at most.
pub fn wait_for<T>(time: Duration, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    // What is there at once needs no clock.
    let mut end = None;
    turns(|cx| match poll(cx) {
        Poll::Ready(result) => Turn::Done(Some(result)),
        Poll::Pending => {
            let now = Instant::now();
            // A time that cannot be told is as good as for ever.
            match *end.get_or_insert_with(|| now.checked_add(time)) {
                Some(end) if end <= now => Turn::Done(None),
                end => Turn::Wait(end),
            }
        }
    })
}
