//! How the network is reached: whom to trust, and through which proxy.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::ClientConfig;
use shardwright_core::{ProxyDialogue, ProxyFault, ProxyRules, ProxyStep, TransportFault};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, NextTimeout, TcpConnector, TransportAdapter,
};

use crate::io_fault;
use crate::rush::Gate;

/// What all connections of a bot have in common.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Network {
    /// TLS, for the API and the gateway alike.
    pub tls: Arc<ClientConfig>,
    /// Which hosts are reached through which proxy.
    pub proxy: Arc<ProxyRules>,
    /// Who may read when all want to.
    pub(crate) gate: Gate,
}

/// A fault on the way to the proxy. One's own deadline is no fault of the proxy's.
#[must_use]
pub fn unreached(why: TransportFault) -> TransportFault {
    match why {
        TransportFault::Proxy(_) | TransportFault::TimedOut => why,
        other => ProxyFault::Unreached(Box::new(other)).into(),
    }
}

/// Talks with the proxy until it forwards, and reads not a byte more.
///
/// # Errors
/// If it does not forward.
pub fn tunnel(
    stream: &mut (impl Read + Write),
    mut dialogue: ProxyDialogue,
) -> Result<(), TransportFault> {
    let broken = |error| unreached(io_fault(&error));
    let mut buffer = [0; 64];
    loop {
        match dialogue.poll() {
            ProxyStep::Done => return Ok(()),
            ProxyStep::Write(bytes) => stream.write_all(&bytes).map_err(broken)?,
            ProxyStep::Read(most) => {
                let most = most.min(buffer.len());
                let count = stream.read(&mut buffer[..most]).map_err(broken)?;
                if count == 0 {
                    return Err(unreached(TransportFault::UnexpectedEnd));
                }
                dialogue.handle(&buffer[..count])?;
            }
        }
    }
}

/// The HTTP client's way to a host: TCP, to the proxy if there is one for it, which then forwards. It looks
/// no name up that the proxy is to look up.
#[derive(Clone)]
pub(crate) struct Way(pub(crate) Arc<ProxyRules>);

impl Way {
    fn proxy(&self, uri: &Uri) -> Option<(&shardwright_core::Proxy, String, u16)> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let proxy = self.0.for_host(host, port)?;
        Some((proxy, host.to_owned(), port))
    }
}

fn foreign(why: TransportFault) -> Error {
    Error::Other(Box::new(why))
}

/// A fault of the HTTP client on its way to the proxy.
fn not_reached(error: Error) -> Error {
    foreign(unreached(match error {
        Error::Io(error) => io_fault(&error),
        Error::HostNotFound => TransportFault::NameLookup,
        other => TransportFault::Other(other.to_string()),
    }))
}

impl Resolver for Way {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let resolver = DefaultResolver::default();
        let Some((proxy, ..)) = self.proxy(uri) else {
            return resolver.resolve(uri, config, timeout);
        };
        let host = proxy.host();
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let uri = format!("http://{open}{host}{close}:{}/", proxy.port());
        let uri: Uri = uri
            .parse()
            .map_err(|_| foreign(ProxyFault::HostName.into()))?;
        resolver.resolve(&uri, config, timeout).map_err(not_reached)
    }
}

impl Connector<()> for Way {
    type Out = <TcpConnector as Connector<()>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let tcp = TcpConnector::default();
        let Some((proxy, host, port)) = self.proxy(details.uri) else {
            return tcp.connect(details, chained);
        };
        let transport = tcp.connect(details, chained).map_err(not_reached)?;
        let Some(transport) = transport else {
            return Ok(None);
        };
        let dialogue = ProxyDialogue::new(proxy, &host, port).map_err(|why| foreign(why.into()))?;
        let clock = Arc::clone(&details.current_time);
        let mut stream = TransportAdapter::new(transport, clock);
        stream.set_timeout(details.timeout);
        tunnel(&mut stream, dialogue).map_err(foreign)?;
        Ok(Some(stream.into_inner()))
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}
