//! Forward proxies: their addresses, and which hosts go through them.

mod connect;
mod dialogue;
mod no_proxy;
mod socks5;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use dialogue::{ProxyDialogue, ProxyFault, ProxyStep, SocksReply};
pub use no_proxy::NoProxy;

use crate::address::{self, UrlError};

/// The longest user name or password, as RFC 1929 has it.
const LONGEST_LOGIN: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

/// A forward proxy: `http://host:port`, `socks5://host:port` or `socks5h://host:port`, perhaps with
/// `user:password@`, percent-encoded.
///
/// Without a port it is 80 for HTTP and 1080 for SOCKS. Everything is tunnelled by CONNECT through
/// an HTTP proxy, requests in the clear too. Both spellings of SOCKS5 leave looking up names to the
/// proxy. Neither `Debug` nor `Display` shows the login.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    login: Option<Login>,
}

/// Why a text is no proxy's address. It holds nothing of the text, which may carry a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It begins with none of the schemes.
    #[error(
        "the proxy's address does not begin with http://, socks5:// or socks5h://; write it in full"
    )]
    Scheme,
    /// A proxy that is itself spoken to in TLS.
    #[error("proxies that are spoken to in tls are not supported; give its http:// address")]
    Tls,
    /// Host or port is wrong.
    #[error("the proxy's address is wrong: {0}")]
    Address(#[from] UrlError),
    /// Something follows host and port.
    #[error("the proxy's address goes on after the port; percent-encode / ? and # in a login")]
    Path,
    /// A percent sign without two digits after it.
    #[error("the proxy's login is not percent-encoded; write % as %25 and @ as %40")]
    Encoding,
    /// Empty, too long, or with characters that no login has.
    #[error(
        "the proxy's login cannot be used; the user's name has 1 to 255 bytes without a colon, the \
         password up to 255, neither has control characters"
    )]
    Login,
}

impl Proxy {
    /// Checks an address; the same as parsing the text.
    ///
    /// # Errors
    /// [`ProxyError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        if text.len() > address::MAX_BYTES {
            return Err(UrlError::TooLong.into());
        }
        let (scheme, rest) = text.split_once("://").ok_or(ProxyError::Scheme)?;
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            "https" => return Err(ProxyError::Tls),
            _ => return Err(ProxyError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if !matches!(tail, "" | "/") {
            return Err(ProxyError::Path);
        }
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(Login::parse(login)?), host),
            None => (None, authority),
        };
        let (host, port) = address::split_authority(host)?;
        Ok(Self {
            kind,
            host,
            port: port.unwrap_or(default_port),
            login,
        })
    }

    /// The name or IP address to dial, in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        Self::parse(text)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.login.as_ref().map_or("", |_| ", login redacted");
        write!(f, "Proxy({self}{login})")
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, ProxyError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let (user, password) = (percent_decoded(user)?, percent_decoded(password)?);
        let fits = |part: &[u8]| {
            part.len() <= LONGEST_LOGIN && !part.iter().any(|byte| byte.is_ascii_control())
        };
        // A colon would end the name of a Basic login early.
        if user.is_empty() || user.contains(&b':') || !fits(&user) || !fits(&password) {
            return Err(ProxyError::Login);
        }
        Ok(Self { user, password })
    }
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, ProxyError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(ProxyError::Encoding);
        };
        out.push(u8::try_from(high * 16 + low).map_err(|_| ProxyError::Encoding)?);
    }
    Ok(out)
}

/// Host and port as in a `Host` header.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Which hosts are reached through which proxy. By default none through any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyRules {
    /// The proxy of all hosts but those excepted.
    pub proxy: Option<Proxy>,
    /// The hosts that are dialled directly.
    pub no_proxy: NoProxy,
    /// Whether this machine itself is reached through the proxy: `localhost`, names below it and
    /// loopback addresses. False unless set, for the proxy's loopback is another than one's own.
    pub loopback: bool,
}

impl ProxyRules {
    /// Everything through this proxy, but for loopback.
    pub fn through(proxy: Proxy) -> Self {
        Self {
            proxy: Some(proxy),
            ..Self::default()
        }
    }

    /// The proxy for this host, a name or an IP address without brackets; `None`: dial it directly.
    pub fn for_host(&self, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref()?;
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let direct = (!self.loopback && is_loopback(&host)) || self.no_proxy.matches(&host, port);
        (!direct).then_some(proxy)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;
