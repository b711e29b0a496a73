//! On smol: on an executor of this crate's own, with a thread for each core, or on one that you bring
//! ([`connect_bot_on`]).

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ::smol::net::TcpStream;
use ::smol::{Executor, Timer};
pub use shardwright_runtime::surface::*;
pub use shardwright_runtime::{Accepted, Bot, Events};
use shardwright_runtime::{prepare, prepare_shards};

use crate::turns::{Runtime, Waiting, inquire, run};

#[derive(Clone)]
struct Smol(Arc<Executor<'static>>);

impl Smol {
    /// The executor of this crate's own; its threads start with the first bot.
    fn own() -> Self {
        static OWN: OnceLock<Arc<Executor<'static>>> = OnceLock::new();
        let executor = OWN.get_or_init(|| {
            let executor = Arc::new(Executor::new());
            let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
            for core in 0..cores {
                let executor = Arc::clone(&executor);
                let name = format!("shardwright-smol-{core}");
                let run = move || ::smol::block_on(executor.run(pending::<()>()));
                // One is enough to go on with; without any the bot waits for ever, as would everything.
                let _ = std::thread::Builder::new().name(name).spawn(run);
            }
            executor
        });
        Self(Arc::clone(executor))
    }
}

impl Runtime for Smol {
    type Tcp = TcpStream;

    fn spawn(&self, task: Waiting<()>) {
        self.0.spawn(task).detach();
    }

    fn sleep_until(at: Instant) -> Waiting<()> {
        Box::pin(async move {
            Timer::at(at).await;
        })
    }

    fn resolve(host: String, port: u16) -> Waiting<io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { ::smol::net::resolve((host, port)).await })
    }

    fn connect(address: SocketAddr) -> Waiting<io::Result<TcpStream>> {
        Box::pin(async move {
            let tcp = TcpStream::connect(address).await?;
            // Frames are small and complete; waiting to fill packets only delays beats.
            let _ = tcp.set_nodelay(true);
            Ok(tcp)
        })
    }
}

/// Connects a bot: asks Discord for the gateway's address and starts its shards.
///
/// Resolves when the first answer is in; shards come up meanwhile. Passing faults are retried
/// ([`Options::start_tries`]); the future may be dropped, and the bot with it.
///
/// # Errors
/// If Discord refuses the token or the request for good, or the tries are used up.
pub async fn connect_bot(token: Token, options: Options) -> Result<(Bot, Events), ConnectError> {
    run(Smol::own(), prepare(token, &options)?).await
}

/// Connects exactly these shards, of whatever totals, through a gateway that is known already
/// ([`gateway_info`]). The list may be empty: shards can be added later, and the bot lives until it is told
/// to stop. Meant for bots of several processes: see [`Options::identify_when`].
///
/// # Errors
/// If TLS cannot be set up, or the stored run cannot be read.
pub async fn connect_shards(
    token: Token,
    options: Options,
    gateway: GatewayInfo,
    shards: impl IntoIterator<Item = ShardId>,
) -> Result<(Bot, Events), ConnectError> {
    run(
        Smol::own(),
        prepare_shards(token, &options, gateway, shards)?,
    )
    .await
}

/// What Discord says of the gateway: address, recommended shards, session starts left.
///
/// # Errors
/// If Discord refuses for good, or [`Options::start_tries`] are used up.
pub async fn gateway_info(token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
    inquire::<Smol>(token, options).await
}

/// [`connect_bot`] on an executor of the caller's, which somebody has to run.
///
/// # Errors
/// As [`connect_bot`].
pub async fn connect_bot_on(
    executor: &Arc<Executor<'static>>,
    token: Token,
    options: Options,
) -> Result<(Bot, Events), ConnectError> {
    run(Smol(Arc::clone(executor)), prepare(token, &options)?).await
}

/// [`connect_shards`] on an executor of the caller's, which somebody has to run.
///
/// # Errors
/// As [`connect_shards`].
pub async fn connect_shards_on(
    executor: &Arc<Executor<'static>>,
    token: Token,
    options: Options,
    gateway: GatewayInfo,
    shards: impl IntoIterator<Item = ShardId>,
) -> Result<(Bot, Events), ConnectError> {
    let prepared = prepare_shards(token, &options, gateway, shards)?;
    run(Smol(Arc::clone(executor)), prepared).await
}
