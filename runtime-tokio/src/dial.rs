//! Opens a websocket: TCP, TLS, upgrade. Nothing here decides anything; every failure becomes a
//! [`TransportFault`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shardwright_core::TransportFault;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// A byte stream, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) type Socket = WebSocketStream<Box<dyn Io>>;

/// Small, because thousands of shards idle in one process; large payloads grow them for a while.
const READ_BUFFER: usize = 8 * 1024;
/// What the machine asks to send is bounded by its send budget.
const WRITE_BUFFER: usize = 1024 * 1024;

pub(crate) async fn dial(
    url: String,
    time_allowed: Duration,
    tls: Arc<ClientConfig>,
    largest: usize,
) -> Result<Socket, TransportFault> {
    let request = url
        .as_str()
        .into_client_request()
        .map_err(|error| fault(&error))?;
    let uri = request.uri();
    let encrypted = uri.scheme_str() == Some("wss");
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|_| TransportFault::NameLookup)?
        .collect();
    let tcp = connect(&addresses, time_allowed).await?;
    // Frames are small and complete; waiting to fill packets only delays beats.
    let _ = tcp.set_nodelay(true);
    let stream: Box<dyn Io> = if encrypted {
        let name =
            ServerName::try_from(host).map_err(|error| TransportFault::Tls(error.to_string()))?;
        let tls = TlsConnector::from(tls).connect(name, tcp).await;
        Box::new(tls.map_err(|error| io_fault(&error))?)
    } else {
        Box::new(tcp)
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest));
    let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    upgrade
        .map(|(socket, _)| socket)
        .map_err(|error| fault(&error))
}

/// Tries the addresses in order. None may use up the time of the others: behind a broken IPv6 route the
/// next dial would begin with the same one.
async fn connect(
    addresses: &[SocketAddr],
    time_allowed: Duration,
) -> Result<TcpStream, TransportFault> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let share = time_allowed / count;
    let mut fault = TransportFault::NameLookup;
    for &address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => fault = io_fault(&error),
            Err(_) => fault = TransportFault::TimedOut,
        }
    }
    Err(fault)
}

/// What went wrong, in the core's terms.
pub(crate) fn fault(error: &Error) -> TransportFault {
    match error {
        Error::Io(error) => io_fault(error),
        Error::Http(response) => TransportFault::Upgrade {
            status: response.status().as_u16(),
            retry_after: response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs),
        },
        Error::Capacity(_) => TransportFault::TooLarge,
        Error::Utf8(_) => TransportFault::Protocol("text that is not UTF-8".to_owned()),
        // Without a closing handshake this is a lost line, not a broken peer.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => TransportFault::Reset,
        Error::Protocol(error) => TransportFault::Protocol(error.to_string()),
        other => TransportFault::Other(other.to_string()),
    }
}

fn io_fault(error: &io::Error) -> TransportFault {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => TransportFault::Refused,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => TransportFault::Reset,
        Kind::UnexpectedEof => TransportFault::UnexpectedEnd,
        Kind::TimedOut => TransportFault::TimedOut,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            TransportFault::Unreachable
        }
        Kind::InvalidData => TransportFault::Tls(error.to_string()),
        _ => TransportFault::Other(error.to_string()),
    }
}
