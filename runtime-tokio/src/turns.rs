//! Gives turns at the times that are asked for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use shardwright_runtime::Turn;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Gives turns until one says that it is over.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function has room for what it is given twice"
)]
pub(crate) fn turns<T>(
    mut turn: impl FnMut(&mut Context<'_>) -> Turn<T>,
) -> impl Future<Output = T> {
    async move {
        let mut set_to = Instant::now();
        let mut timer = pin!(tokio::time::sleep_until(set_to.into()));
        let flavor = Handle::current().runtime_flavor();
        let is_alone = matches!(flavor, RuntimeFlavor::CurrentThread);
        poll_fn(|cx| {
            loop {
                let at = match turn(cx) {
                    Turn::Done(result) => return Poll::Ready(result),
                    // On one thread whoever wakes itself goes on before the future in `block_on` gets a turn.
                    Turn::Again if is_alone => {
                        let _ = pin!(tokio::task::yield_now()).poll(cx);
                        return Poll::Pending;
                    }
                    // On several another may be free, while who yields stays on its own.
                    Turn::Again => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Turn::Wait(None) => return Poll::Pending,
                    Turn::Wait(Some(at)) => at,
                };
                if at != set_to {
                    set_to = at;
                    timer.as_mut().reset(at.into());
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}
