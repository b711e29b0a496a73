//! On async-std's global executor. async-std is no longer developed: new programs should take
//! [`smol`](https://docs.rs/smol), with this crate's module of that name.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use ::async_std::net::{TcpStream, ToSocketAddrs};
use ::async_std::task;
pub use shardwright_runtime::surface::*;
pub use shardwright_runtime::{Accepted, Bot, Events};
use shardwright_runtime::{prepare, prepare_shards};

use crate::turns::{Runtime, Waiting, inquire, run};

#[derive(Clone)]
struct AsyncStd;

impl Runtime for AsyncStd {
    type Tcp = TcpStream;

    fn spawn(&self, task: Waiting<()>) {
        task::spawn(task);
    }

    fn sleep_until(at: Instant) -> Waiting<()> {
        Box::pin(task::sleep(at.saturating_duration_since(Instant::now())))
    }

    fn resolve(host: String, port: u16) -> Waiting<io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok((host.as_str(), port).to_socket_addrs().await?.collect()) })
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
    run(AsyncStd, prepare(token, &options)?).await
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
    run(AsyncStd, prepare_shards(token, &options, gateway, shards)?).await
}

/// What Discord says of the gateway: address, recommended shards, session starts left.
///
/// # Errors
/// If Discord refuses for good, or [`Options::start_tries`] are used up.
pub async fn gateway_info(token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
    inquire::<AsyncStd>(token, options).await
}
