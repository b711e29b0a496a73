//! Takes an address apart, for the gateway and for the REST API alike.
//!
//! Narrower than RFC 3986 on purpose: what these two addresses never need (user names, fragments,
//! characters beyond ASCII) is refused rather than carried along.

use std::fmt;
use std::net::Ipv6Addr;

/// The longest address that is taken, in bytes.
pub(crate) const MAX_BYTES: usize = 2048;

/// Why a text is no usable address. It holds nothing of the text, which may carry a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with one of the two schemes that fit.
    #[error("the address does not begin with {plain} or {tls}; write it in full")]
    Scheme {
        /// The scheme without TLS, such as `ws://`.
        plain: &'static str,
        /// The scheme with TLS, such as `wss://`.
        tls: &'static str,
    },
    /// There is nothing where the host should be.
    #[error("the address has no host; write one after the two slashes")]
    NoHost,
    /// The host is neither a name nor an address.
    #[error("the host is neither a name nor an ip address; correct it, ipv6 goes in brackets")]
    BadHost,
    /// The port is no number from 1 to 65535.
    #[error("the port is no number from 1 to 65535; correct it or leave it out")]
    BadPort,
    /// There is a user name or password.
    #[error("the address has a user name in it; take out everything up to the @")]
    UserInfo,
    /// There is a fragment, which no server ever sees.
    #[error("the address has a fragment; take out the # and what follows it")]
    Fragment,
    /// There is a query where none belongs.
    #[error("the address has a query; take out the question mark and what follows it")]
    Query,
    /// White space, a control character, or one that an address writes percent-encoded.
    #[error("the address holds white space or another character that must be percent-encoded")]
    BadCharacter,
    /// It is longer than any address of Discord.
    #[error("the address is longer than {MAX_BYTES} bytes; check what was pasted")]
    TooLong,
}

/// The two schemes that an address may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Schemes {
    WebSocket,
    Http,
}

impl Schemes {
    const fn text(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::WebSocket, false) => "ws://",
            (Self::WebSocket, true) => "wss://",
            (Self::Http, false) => "http://",
            (Self::Http, true) => "https://",
        }
    }
}

/// An address in parts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) schemes: Schemes,
    pub(crate) tls: bool,
    /// In lower case, IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// Empty, or from the first slash on.
    pub(crate) path: String,
    /// Without the question mark.
    pub(crate) query: Option<String>,
}

impl Address {
    pub(crate) fn parse(text: &str, schemes: Schemes) -> Result<Self, UrlError> {
        if text.len() > MAX_BYTES {
            return Err(UrlError::TooLong);
        }
        let Some((tls, rest)) = [false, true]
            .into_iter()
            .find_map(|tls| Some((tls, strip_prefix(text, schemes.text(tls))?)))
        else {
            return Err(UrlError::Scheme {
                plain: schemes.text(false),
                tls: schemes.text(true),
            });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if tail.contains('#') {
            return Err(UrlError::Fragment);
        }
        if !rest.bytes().all(is_plain) {
            return Err(UrlError::BadCharacter);
        }
        let (host, port) = split_authority(authority)?;
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        Ok(Self {
            schemes,
            tls,
            host,
            port,
            path: path.to_owned(),
            query,
        })
    }

    /// The port to dial: the one given, else the scheme's.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// Host and, where one was given, port, as a `Host` header has them.
    pub(crate) fn authority(&self) -> String {
        let mut out = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if let Some(port) = self.port {
            out.push_str(&format!(":{port}"));
        }
        out
    }

    /// Scheme, host and port, nothing after.
    pub(crate) fn origin(&self) -> String {
        format!("{}{}", self.schemes.text(self.tls), self.authority())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Schemes are compared without regard to case.
fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// Printable ASCII but for the characters that RFC 3986 gives no place in an address.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)
}

pub(crate) fn split_authority(authority: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::BadHost)?;
        let address: Ipv6Addr = host.parse().map_err(|_| UrlError::BadHost)?;
        match port.strip_prefix(':') {
            Some(port) => (address.to_string(), Some(port)),
            None if port.is_empty() => (address.to_string(), None),
            None => return Err(UrlError::BadHost),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() {
            return Err(UrlError::NoHost);
        }
        if !host.bytes().all(in_name) || host.starts_with('.') || host.contains("..") {
            return Err(UrlError::BadHost);
        }
        (host.to_ascii_lowercase(), port)
    };
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::BadPort);
    }
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(UrlError::BadPort),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, UrlError> {
        Address::parse(text, Schemes::Http)
    }

    #[test]
    fn parts_are_found() {
        let address = parse("HTTPS://Discord.Com:8443/api/v10?a=1&b=/?").unwrap();
        assert!(address.tls);
        assert_eq!(address.host, "discord.com");
        assert_eq!(address.port(), 8443);
        assert_eq!(address.path, "/api/v10");
        assert_eq!(address.query.as_deref(), Some("a=1&b=/?"));
        assert_eq!(
            address.to_string(),
            "https://discord.com:8443/api/v10?a=1&b=/?"
        );
        assert_eq!(format!("{address:?}"), format!("{:?}", address.to_string()));
        let bare = parse("http://h").unwrap();
        assert_eq!((bare.port(), bare.path.as_str()), (80, ""));
        assert_eq!(parse("https://h").unwrap().port(), 443);
        assert_eq!(parse("http://h?x").unwrap().query.as_deref(), Some("x"));
        let six = parse("http://[::1]:80/x").unwrap();
        assert_eq!(
            (six.host.as_str(), six.authority()),
            ("::1", "[::1]:80".into())
        );
        assert_eq!(
            parse("http://[FE80::1]").unwrap().origin(),
            "http://[fe80::1]"
        );
    }

    #[test]
    fn each_fault_is_told_apart() {
        let scheme = UrlError::Scheme {
            plain: "http://",
            tls: "https://",
        };
        for (text, error) in [
            ("", scheme),
            ("h/x", scheme),
            ("ws://h", scheme),
            (" http://h", scheme),
            ("htt\u{e9}://h", scheme),
            ("http://", UrlError::NoHost),
            ("http:///x", UrlError::NoHost),
            ("http://:80", UrlError::NoHost),
            ("http://a..b", UrlError::BadHost),
            ("http://.a", UrlError::BadHost),
            ("http://a%20b", UrlError::BadHost),
            ("http://::1", UrlError::NoHost),
            ("http://[::1", UrlError::BadHost),
            ("http://[::1]x", UrlError::BadHost),
            ("http://[1.2.3.4]", UrlError::BadHost),
            ("http://h:", UrlError::BadPort),
            ("http://h:0", UrlError::BadPort),
            ("http://h:+1", UrlError::BadPort),
            ("http://h:65536", UrlError::BadPort),
            ("http://h:1:2", UrlError::BadPort),
            ("http://u:p@h", UrlError::UserInfo),
            ("http://h/#x", UrlError::Fragment),
            ("http://h#", UrlError::Fragment),
            ("http://h ", UrlError::BadCharacter),
            ("http://h/a b", UrlError::BadCharacter),
            ("http://h/\n", UrlError::BadCharacter),
            ("http://h/\u{e9}", UrlError::BadCharacter),
            ("http://h/<x>", UrlError::BadCharacter),
            ("http://h\\x", UrlError::BadCharacter),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        let long = format!("http://h/{}", "x".repeat(2039));
        assert!(parse(&long).is_ok());
        assert_eq!(parse(&(long + "x")), Err(UrlError::TooLong));
    }

    #[test]
    fn an_at_sign_in_the_path_is_no_user_name() {
        assert_eq!(parse("http://h/@x").unwrap().path, "/@x");
    }
}
