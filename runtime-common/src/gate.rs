//! A user's own say in who identifies when: for bots of several processes that share an identify limit.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use shardwright_core::{ConnId, FleetInput, GateRequest, ShardId};

use crate::inbox::{Sender, inbox};

/// Whether it opened; it has failed if not.
type Opening = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Says when a shard may identify, after its turn by the local limits has come.
///
/// Asked once a turn. The turn is over when the future is done; it is dropped if the shard loses its
/// connection meanwhile, and the shard asks again later. A gate that panics is told as a problem, and the
/// shard waits for its next turn.
///
/// ```
/// use shardwright_runtime::IdentifyGate;
///
/// let gate = IdentifyGate::new(|turn| async move {
///     // Ask whoever coordinates the processes.
///     println!("{} wants to identify, bucket {}", turn.shard, turn.bucket);
/// });
/// # drop(gate);
/// ```
#[derive(Clone)]
pub struct IdentifyGate(Arc<dyn Fn(GateRequest) -> Opening + Send + Sync>);

impl IdentifyGate {
    /// A gate that is asked by an async closure.
    pub fn new<F, Opens>(ask: F) -> Self
    where
        F: Fn(GateRequest) -> Opens + Send + Sync + 'static,
        Opens: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |request| {
            let opening = ask(request);
            Box::pin(async move {
                opening.await;
                true
            })
        }))
    }

    /// A gate that is asked by a closure that blocks, each time on a thread of its own.
    pub fn blocking(ask: impl Fn(GateRequest) + Send + Sync + 'static) -> Self {
        let ask = Arc::new(ask);
        Self(Arc::new(move |request| {
            let ask = Arc::clone(&ask);
            let (opened, mut opens) = inbox();
            let asking = std::thread::Builder::new().name("shardwright-gate".to_owned());
            // Without a thread, or if the closure panics, nothing is ever sent.
            let _ = asking.spawn(move || {
                ask(request);
                // Its turn may be over.
                opened.send(());
            });
            Box::pin(async move { opens.next().await.is_some() })
        }))
    }
}

impl fmt::Debug for IdentifyGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentifyGate")
    }
}

/// The turns that wait at a bot's gate.
#[derive(Default)]
pub(crate) struct Gatekeeper {
    gate: Option<IdentifyGate>,
    waiting: Vec<(ShardId, ConnId, Opening)>,
}

impl fmt::Debug for Gatekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gatekeeper")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Gatekeeper {
    pub(crate) fn new(gate: Option<IdentifyGate>) -> Self {
        Self {
            gate,
            waiting: Vec::new(),
        }
    }

    pub(crate) fn ask(&mut self, request: GateRequest, to_fleet: &Sender<FleetInput>) {
        let (shard, conn) = (request.shard, request.conn);
        let Some(gate) = &self.gate else {
            to_fleet.send(FleetInput::GateOpened { shard, conn });
            return;
        };
        // The closure is the user's: whatever it does must not take the bot along.
        match catch_unwind(AssertUnwindSafe(|| (gate.0)(request))) {
            Ok(opening) => self.waiting.push((shard, conn, opening)),
            Err(_) => {
                to_fleet.send(FleetInput::GateFailed { shard, conn });
            }
        }
    }

    pub(crate) fn leave(&mut self, shard: ShardId, conn: ConnId) {
        self.waiting
            .retain(|(waiting, on, _)| (*waiting, *on) != (shard, conn));
    }

    /// The next turn that is decided.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FleetInput> {
        for index in 0..self.waiting.len() {
            let (shard, conn, opening) = &mut self.waiting[index];
            let (shard, conn) = (*shard, *conn);
            let polled = catch_unwind(AssertUnwindSafe(|| opening.as_mut().poll(cx)));
            let input = match polled {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(true)) => FleetInput::GateOpened { shard, conn },
                Ok(Poll::Ready(false)) | Err(_) => FleetInput::GateFailed { shard, conn },
            };
            drop(self.waiting.swap_remove(index));
            return Poll::Ready(input);
        }
        Poll::Pending
    }
}
