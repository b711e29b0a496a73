//! An unbounded queue between threads or tasks of any runtime: the standard library's channel, and a
//! waker for whoever waits at its end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Both ends of a new queue.
pub(crate) fn inbox<T>() -> (Sender<T>, Inbox<T>) {
    let (into, from) = mpsc::channel();
    let bell = Arc::new(Bell::default());
    let sender = Sender {
        into: Some(into),
        bell: Arc::clone(&bell),
    };
    (sender, Inbox { from, bell })
}

/// Wakes whoever waits for the next message.
#[derive(Default)]
struct Bell(Mutex<Option<Waker>>);

impl Bell {
    fn hang(&self, waker: &Waker) {
        let mut hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *hung {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn ring(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Not under the lock: a waker may run its task on the spot.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

pub(crate) struct Sender<T> {
    /// Gone only while this is dropped.
    into: Option<mpsc::Sender<T>>,
    bell: Arc<Bell>,
}

impl<T> Sender<T> {
    /// False if nobody will ever read it.
    pub(crate) fn send(&self, message: T) -> bool {
        let sent = self
            .into
            .as_ref()
            .is_some_and(|into| into.send(message).is_ok());
        self.bell.ring();
        sent
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            into: self.into.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.into = None;
        // The last one to leave is news too.
        self.bell.ring();
    }
}

pub(crate) struct Inbox<T> {
    from: mpsc::Receiver<T>,
    bell: Arc<Bell>,
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

impl<T> Inbox<T> {
    /// The next message; `None` once it is empty and nobody can send any more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.from.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(message) => return Poll::Ready(Some(message)),
            Err(TryRecvError::Disconnected) => return Poll::Ready(None),
        }
        self.bell.hang(cx.waker());
        // What came before the bell was hung has not rung it.
        match self.from.try_recv() {
            Err(TryRecvError::Empty) => Poll::Pending,
            Ok(message) => Poll::Ready(Some(message)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
        }
    }

    pub(crate) fn next(&mut self) -> impl Future<Output = Option<T>> {
        poll_fn(|cx| self.poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn messages_come_in_order_and_ring_once_each_time_somebody_waits() {
        let (sender, mut inbox) = inbox();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert_eq!(inbox.poll(&mut cx), Poll::Pending);
        assert!(sender.send(1) && sender.send(2));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(inbox.poll(&mut cx), Poll::Ready(Some(1)));
        assert_eq!(inbox.poll(&mut cx), Poll::Ready(Some(2)));
        assert_eq!(inbox.poll(&mut cx), Poll::Pending);
    }

    #[test]
    fn the_last_sender_to_leave_rings_too() {
        let (sender, mut inbox) = inbox::<()>();
        let other = sender.clone();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        drop(sender);
        assert_eq!(inbox.poll(&mut cx), Poll::Pending);
        drop(other);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(inbox.poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn nobody_reads_once_the_inbox_is_gone() {
        let (sender, inbox) = inbox();
        drop(inbox);
        assert!(!sender.send(1));
    }
}
