//! Opens a websocket: TCP, TLS, upgrade.

use shardwright_core::TransportFault;
use shardwright_runtime::{Target, fault, io_fault};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// A byte stream, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) type Socket = WebSocketStream<Box<dyn Io>>;

pub(crate) async fn dial(target: Target) -> Result<Socket, TransportFault> {
    let tcp = connect(&target).await?;
    // Frames are small and complete; waiting to fill packets only delays beats.
    let _ = tcp.set_nodelay(true);
    let stream: Box<dyn Io> = match target.tls {
        Some((config, name)) => {
            let tls = TlsConnector::from(config).connect(name, tcp).await;
            Box::new(tls.map_err(|error| io_fault(&error))?)
        }
        None => Box::new(tcp),
    };
    client_async_with_config(target.request, stream, Some(target.config))
        .await
        .map(|(socket, _)| socket)
        .map_err(|error| fault(&error))
}

/// Tries the addresses in order.
async fn connect(target: &Target) -> Result<TcpStream, TransportFault> {
    let addresses: Vec<_> = tokio::net::lookup_host((target.host.as_str(), target.port))
        .await
        .map_err(|_| TransportFault::NameLookup)?
        .collect();
    let time = target.time_for_each(addresses.len());
    let mut fault = TransportFault::NameLookup;
    for address in addresses {
        match tokio::time::timeout(time, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => fault = io_fault(&error),
            Err(_) => fault = TransportFault::TimedOut,
        }
    }
    Err(fault)
}
