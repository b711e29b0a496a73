//! Gives turns at the times that are asked for, and what an executor has to offer for that.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use shardwright_core::{GatewayInfo, Token};
use shardwright_runtime::{
    Bot, ConnectError, Connecting, Consumer, Driver, Events, Inquiry, Options, Owner, Turn,
};

use crate::dial::dial;

pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Tasks, timers and sockets of one executor.
pub(crate) trait Runtime: Clone + Send + 'static {
    type Tcp: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    fn spawn(&self, task: Waiting<()>);
    fn sleep_until(at: Instant) -> Waiting<()>;
    fn resolve(host: String, port: u16) -> Waiting<io::Result<Vec<SocketAddr>>>;
    fn connect(address: SocketAddr) -> Waiting<io::Result<Self::Tcp>>;
}

/// Gives turns until one says that it is over.
// No async function, which has room for what it is given twice.
pub(crate) fn turns<R: Runtime, T>(
    mut turn: impl FnMut(&mut Context<'_>) -> Turn<T>,
) -> impl Future<Output = T> {
    let mut timer: Option<(Instant, Waiting<()>)> = None;
    poll_fn(move |cx| {
        loop {
            let at = match turn(cx) {
                Turn::Done(result) => return Poll::Ready(result),
                Turn::Again => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Wait(None) => return Poll::Pending,
                Turn::Wait(Some(at)) => at,
            };
            let set = timer.take().filter(|(set_to, _)| *set_to == at);
            let (_, waiting) = timer.insert(set.unwrap_or_else(|| (at, R::sleep_until(at))));
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer = None;
        }
    })
}

/// Runs a bot that is prepared.
pub(crate) async fn run<R: Runtime>(
    runtime: R,
    (mut owner, connecting): (Owner, Connecting),
) -> Result<(Bot, Events), ConnectError> {
    let shards = runtime.clone();
    runtime.spawn(Box::pin(turns::<R, _>(move |cx| {
        owner.turn(cx, |seat| {
            // That is on another thread as a rule.
            let consumer = Consumer::OtherThread;
            let mut driver = Driver::new(seat, consumer, |target| Box::pin(dial::<R>(target)));
            shards.spawn(Box::pin(turns::<R, _>(move |cx| driver.turn(cx))));
        })
    })));
    connecting.done().await
}

pub(crate) async fn inquire<R: Runtime>(
    token: &Token,
    options: &Options,
) -> Result<GatewayInfo, ConnectError> {
    let mut inquiry = Inquiry::new(token, options)?;
    turns::<R, _>(move |cx| inquiry.turn(cx)).await
}
