//! What every runtime's dial has in common: where to, how long, with which limits, and how a failure is
//! named in the core's terms.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shardwright_core::{ProxyDialogue, TransportFault};
use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::client::Request;
use tungstenite::protocol::WebSocketConfig;

use crate::{Network, unreached};

/// Small, because thousands of shards idle in one process; large payloads grow them for a while.
pub(crate) const READ_BUFFER: usize = 4 * 1024;
/// What the machine asks to send is bounded by its send budget.
const WRITE_BUFFER: usize = 1024 * 1024;

/// One websocket to open.
#[derive(Debug)]
#[non_exhaustive]
pub struct Target {
    /// The upgrade request.
    pub request: Request,
    /// The name or address to look up, without brackets: the proxy's, if there is one.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What to settle with the proxy before anything else.
    pub tunnel: Option<ProxyDialogue>,
    /// How to encrypt, if it is to be encrypted.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// How long it may take in all. The machine keeps this deadline itself.
    pub time_allowed: Duration,
    /// Sizes and limits of the websocket.
    pub config: WebSocketConfig,
}

impl Target {
    /// Where this URL leads.
    ///
    /// # Errors
    /// If it is no websocket URL, or its host can have no certificate or be given to no proxy.
    pub fn new(
        url: &str,
        time_allowed: Duration,
        network: &Network,
        largest: usize,
    ) -> Result<Self, TransportFault> {
        let request = url.into_client_request().map_err(|error| fault(&error))?;
        let uri = request.uri();
        let encrypted = uri.scheme_str() == Some("wss");
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let tls = if encrypted {
            let name = ServerName::try_from(host.clone())
                .map_err(|error| TransportFault::Tls(error.to_string()))?;
            Some((Arc::clone(&network.tls), name))
        } else {
            None
        };
        let (host, port, tunnel) = match network.proxy.for_host(&host, port) {
            Some(proxy) => {
                let dialogue = ProxyDialogue::new(proxy, &host, port)?;
                (proxy.host().to_owned(), proxy.port(), Some(dialogue))
            }
            None => (host, port, None),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        Ok(Self {
            request,
            host,
            port,
            tunnel,
            tls,
            time_allowed,
            config,
        })
    }

    /// A failed TCP connection, named after whom it was made to.
    #[must_use]
    pub fn unreached(&self, why: TransportFault) -> TransportFault {
        match self.tunnel {
            Some(_) => unreached(why),
            None => why,
        }
    }

    /// How long one of so many addresses may be tried. None may use up the time of the others: behind a
    /// broken IPv6 route the next dial would begin with the same one.
    #[must_use]
    pub fn time_for_each(&self, addresses: usize) -> Duration {
        self.time_allowed / u32::try_from(addresses).unwrap_or(u32::MAX).max(1)
    }
}

/// What went wrong on a websocket, in the core's terms.
#[must_use]
pub fn fault(error: &tungstenite::Error) -> TransportFault {
    use tungstenite::Error;
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

/// What went wrong on a byte stream, TLS included, in the core's terms.
#[must_use]
pub fn io_fault(error: &io::Error) -> TransportFault {
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
