//! The address of the gateway, and what is asked for in its query.
//!
//! Neither the address that `/gateway/bot` names nor the one for resumes carries the query; it is
//! added at each dial, the same for a resume as for the connection that made the session.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::address::{Address, Schemes, UrlError};
use crate::compression::Compression;

/// The parameters that [`GatewayUrl::with_query`] sets.
const OURS: [&str; 3] = ["v", "encoding", "compress"];

/// A checked `ws://` or `wss://` address.
///
/// It has a host, perhaps a port, a path and a query; user names, fragments, white space and
/// characters beyond ASCII are refused. It displays in full, with scheme and host in lower case;
/// serde uses the same text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayUrl(Address);

impl GatewayUrl {
    /// Checks an address; the same as parsing the text.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Address::parse(text, Schemes::WebSocket).map(Self)
    }

    /// The address to dial: with `v`, `encoding=json` and, for transport compression, `compress`.
    ///
    /// Each stands there once, after the parameters that the address has of its own; those of the
    /// same name give way. Without a path there is one slash before the question mark.
    pub fn with_query(&self, version: u8, compression: Compression) -> String {
        let mut text = self.0.origin();
        text.push_str(if self.0.path.is_empty() {
            "/"
        } else {
            &self.0.path
        });
        text.push('?');
        let foreign = self.0.query.as_deref().unwrap_or_default();
        for pair in foreign.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            if !OURS.contains(&name) {
                text.push_str(pair);
                text.push('&');
            }
        }
        text.push_str(&format!("v={version}&encoding=json"));
        if let Some(value) = compression.query_value() {
            text.push_str("&compress=");
            text.push_str(value);
        }
        text
    }

    /// Whether the connection is by TLS (`wss://`).
    pub const fn is_tls(&self) -> bool {
        self.0.tls
    }

    /// The host's name or IP address, in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port to dial: the one given, else 443 with TLS and 80 without.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// Host and, if one was given, port: the value of a `Host` header.
    pub fn authority(&self) -> String {
        self.0.authority()
    }
}

impl FromStr for GatewayUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayUrl({})", self.0)
    }
}

impl Serialize for GatewayUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GatewayUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(text: &str, compression: Compression) -> String {
        GatewayUrl::parse(text).unwrap().with_query(10, compression)
    }

    #[test]
    fn the_query_is_added_once_and_the_rest_kept() {
        for (text, expected) in [
            ("ws://h:9", "ws://h:9/?v=10&encoding=json"),
            ("ws://h:9/", "ws://h:9/?v=10&encoding=json"),
            ("ws://h:9/edge", "ws://h:9/edge?v=10&encoding=json"),
            ("ws://h:9/edge/", "ws://h:9/edge/?v=10&encoding=json"),
            ("ws://h:9/?x=1", "ws://h:9/?x=1&v=10&encoding=json"),
            ("ws://h:9?x=1", "ws://h:9/?x=1&v=10&encoding=json"),
            ("wss://h/?", "wss://h/?v=10&encoding=json"),
            (
                "wss://h/?v=6&a=1&encoding=etf&&b&compress=zlib-stream&v=9&vv=2",
                "wss://h/?a=1&b&vv=2&v=10&encoding=json",
            ),
        ] {
            assert_eq!(dialled(text, Compression::None), expected, "{text}");
            assert_eq!(dialled(text, Compression::Payload), expected, "{text}");
            assert_eq!(
                dialled(text, Compression::Zlib),
                format!("{expected}&compress=zlib-stream")
            );
            assert_eq!(
                dialled(text, Compression::Zstd),
                format!("{expected}&compress=zstd-stream")
            );
            // What was dialled, dialled again, is the same.
            assert_eq!(dialled(expected, Compression::None), expected);
        }
    }

    #[test]
    fn the_parts_are_there() {
        let url = GatewayUrl::parse("wss://Gateway.Discord.gg").unwrap();
        assert!(url.is_tls());
        assert_eq!((url.host(), url.port()), ("gateway.discord.gg", 443));
        let url = GatewayUrl::parse("ws://[::1]:8080/x?y").unwrap();
        assert!(!url.is_tls());
        assert_eq!((url.host(), url.port()), ("::1", 8080));
        assert_eq!(url.authority(), "[::1]:8080");
        assert_eq!(url.to_string(), "ws://[::1]:8080/x?y");
        assert_eq!(format!("{url:?}"), "GatewayUrl(ws://[::1]:8080/x?y)");
    }

    #[test]
    fn serde_reads_and_writes_the_text() {
        let url: GatewayUrl = serde_json::from_str(r#""wss://h/""#).unwrap();
        assert_eq!(serde_json::to_string(&url).unwrap(), r#""wss://h/""#);
        for text in [r#""http://x""#, r#""not a url""#, r#""""#, "null", "1"] {
            assert!(serde_json::from_str::<GatewayUrl>(text).is_err(), "{text}");
        }
    }
}
