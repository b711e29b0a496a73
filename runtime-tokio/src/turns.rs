//! Gives turns at the times that are asked for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use shardwright_runtime::Turn;

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
        poll_fn(|cx| {
            loop {
                let at = match turn(cx) {
                    Turn::Done(result) => return Poll::Ready(result),
                    Turn::Again => {
                        // To wake itself would be to go on before whoever runs in `block_on` gets a turn.
                        let _ = pin!(tokio::task::yield_now()).poll(cx);
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
