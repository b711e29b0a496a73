//! An unbounded queue between threads or tasks of any runtime, which holds no memory while it is empty: every
//! shard has one that is hardly ever used.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Both ends of a new queue.
pub(crate) fn inbox<T>() -> (Sender<T>, Inbox<T>) {
    let queue = Arc::new(Queue(Mutex::new(State {
        messages: VecDeque::new(),
        senders: 1,
        is_read: true,
        reader: None,
    })));
    (Sender(Arc::clone(&queue)), Inbox(queue))
}

struct Queue<T>(Mutex<State<T>>);

struct State<T> {
    messages: VecDeque<T>,
    senders: usize,
    /// The reading end is there.
    is_read: bool,
    /// Whoever waits for the next message.
    reader: Option<Waker>,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic of the other side leaves plain data behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not under the lock: a waker may run its task on the spot.
fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

pub(crate) struct Sender<T>(Arc<Queue<T>>);

impl<T> Sender<T> {
    /// False if nobody will ever read it.
    pub(crate) fn send(&self, message: T) -> bool {
        let mut state = self.0.lock();
        if !state.is_read {
            return false;
        }
        state.messages.push_back(message);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        true
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        // The last one to leave is news too.
        let reader = match state.senders {
            0 => state.reader.take(),
            _ => None,
        };
        drop(state);
        wake(reader);
    }
}

pub(crate) struct Inbox<T>(Arc<Queue<T>>);

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
        let mut state = self.0.lock();
        if let Some(message) = state.messages.pop_front() {
            if state.messages.is_empty() {
                state.messages = VecDeque::new();
            }
            return Poll::Ready(Some(message));
        }
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        match &mut state.reader {
            Some(old) => old.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(crate) fn next(&mut self) -> impl Future<Output = Option<T>> {
        poll_fn(|cx| self.poll(cx))
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_read = false;
        let (messages, reader) = (std::mem::take(&mut state.messages), state.reader.take());
        drop(state);
        // Nor are these dropped under the lock: they may hold the other end of a queue.
        drop((messages, reader));
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
