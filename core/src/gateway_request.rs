//! The one HTTP request of the library: which gateway, and how many sessions may start.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::address::{Address, Schemes, UrlError};
use crate::fetch_fault::FetchFault;
use crate::gateway_info::GatewayInfo;
use crate::token::Token;

/// What Discord asks every client to call itself: a word, an address and a version.
const USER_AGENT: &str = concat!(
    "DiscordBot (",
    env!("CARGO_PKG_REPOSITORY"),
    ", ",
    env!("CARGO_PKG_VERSION"),
    ")"
);

/// The base of the REST API, `https://discord.com/api/v10` by default.
///
/// An `http://` or `https://` address with a host, perhaps a port and a path, and no query. Slashes
/// at its end are dropped and nothing is added, the version included. Over `http://` the token
/// travels in the open: for an emulator or a proxy of one's own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApiBase(Address);

/// `GET /gateway/bot`, ready to be carried out by a runtime.
///
/// Its `Debug` does not show the token.
#[derive(Clone)]
pub struct GatewayRequest {
    base: ApiBase,
    url: String,
    authorization: String,
    token: Token,
}

impl ApiBase {
    /// Checks an address; the same as parsing the text.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let mut address = Address::parse(text, Schemes::Http)?;
        if address.query.is_some() {
            return Err(UrlError::Query);
        }
        let path = address.path.trim_end_matches('/').len();
        address.path.truncate(path);
        Ok(Self(address))
    }

    /// Whether requests go by TLS (`https://`).
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

    /// Whether the host is this machine by name (`localhost`) or by a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.0.host == "localhost"
            || self
                .0
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl Serialize for ApiBase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiBase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Default for ApiBase {
    /// `https://discord.com/api/v10`.
    fn default() -> Self {
        Self(Address {
            schemes: Schemes::Http,
            tls: true,
            host: "discord.com".to_owned(),
            port: None,
            path: "/api/v10".to_owned(),
            query: None,
        })
    }
}

impl FromStr for ApiBase {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for ApiBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ApiBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiBase({})", self.0)
    }
}

impl GatewayRequest {
    /// The request to make at `base` for the bot with this token.
    pub fn new(base: &ApiBase, token: &Token) -> Self {
        Self {
            base: base.clone(),
            url: format!("{base}/gateway/bot"),
            authorization: format!("Bot {}", token.expose()),
            token: token.clone(),
        }
    }

    /// The method: `GET`, without a body.
    pub const fn method(&self) -> &'static str {
        "GET"
    }

    /// The whole address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path alone, as it stands in a request line.
    pub fn path(&self) -> String {
        format!("{}/gateway/bot", self.base.0.path)
    }

    /// Where the request goes: scheme, host and port.
    pub const fn base(&self) -> &ApiBase {
        &self.base
    }

    /// The headers to send, beside those that HTTP itself needs. `Authorization` holds the token:
    /// it must not be logged, nor sent on after a redirect.
    pub fn headers(&self) -> [(&'static str, &str); 2] {
        [
            ("Authorization", &self.authorization),
            ("User-Agent", USER_AGENT),
        ]
    }

    /// The fault of a request that brought no answer, with the token kept out of its text.
    pub fn network_fault(&self, what: &dyn fmt::Display) -> FetchFault {
        FetchFault::network(what).redacted(&self.token)
    }

    /// Reads the answer: [`GatewayInfo::from_response`], and the token kept out of whatever the
    /// fault repeats.
    ///
    /// # Errors
    /// Any answer other than the gateway's data; see [`FetchFault`].
    pub fn read_response(
        &self,
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
    ) -> Result<GatewayInfo, FetchFault> {
        GatewayInfo::from_response(status, retry_after, body).or_else(|_| {
            // Masked before it is read, for a text that is cut may end within the token.
            let body = String::from_utf8_lossy(body);
            let body = self.token.redact(&body);
            GatewayInfo::from_response(status, retry_after, body.as_bytes())
                .map_err(|fault| fault.redacted(&self.token))
        })
    }
}

impl fmt::Debug for GatewayRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayRequest(GET {})", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str) -> String {
        let base = ApiBase::parse(base).unwrap();
        let token = Token::new("a.b").unwrap();
        GatewayRequest::new(&base, &token).url().to_owned()
    }

    #[test]
    fn slashes_at_the_end_do_not_matter() {
        assert_eq!(
            url("https://discord.com/api/v10"),
            "https://discord.com/api/v10/gateway/bot"
        );
        assert_eq!(
            url("http://127.0.0.1:80/api/v10//"),
            "http://127.0.0.1:80/api/v10/gateway/bot"
        );
        assert_eq!(url("http://h"), "http://h/gateway/bot");
        assert_eq!(url("http://h/"), "http://h/gateway/bot");
        assert_eq!(
            ApiBase::default(),
            ApiBase::parse("https://discord.com/api/v10/").unwrap()
        );
        assert_eq!(
            ApiBase::default().to_string(),
            "https://discord.com/api/v10"
        );
    }

    #[test]
    fn other_addresses_are_refused() {
        assert_eq!(ApiBase::parse("http://h/x?y"), Err(UrlError::Query));
        assert_eq!(ApiBase::parse("http://u@h"), Err(UrlError::UserInfo));
        assert!(ApiBase::parse("wss://h").is_err());
        assert!(ApiBase::parse("discord.com").is_err());
    }

    #[test]
    fn loopback_is_known() {
        for (base, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]", true),
            ("http://LOCALHOST", true),
            ("https://discord.com", false),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(
                ApiBase::parse(base).unwrap().is_loopback(),
                expected,
                "{base}"
            );
        }
    }

    #[test]
    fn the_request_is_complete_and_silent() {
        let token = Token::new("Bot a.b").unwrap();
        let request = GatewayRequest::new(&ApiBase::default(), &token);
        assert_eq!(request.method(), "GET");
        assert_eq!(request.path(), "/api/v10/gateway/bot");
        assert_eq!(request.base().host(), "discord.com");
        assert_eq!(request.base().port(), 443);
        assert!(request.base().is_tls());
        let [(name, value), (agent, product)] = request.headers();
        assert_eq!((name, value), ("Authorization", "Bot a.b"));
        assert_eq!(agent, "User-Agent");
        assert!(product.starts_with("DiscordBot (https://"), "{product}");
        assert!(product.contains(", 0."), "{product}");
        assert!(!format!("{request:?}").contains("a.b"));
    }

    #[test]
    fn another_base_is_kept_as_it_was_given() {
        let base: ApiBase = "http://[::1]:8080/api".parse().unwrap();
        assert!(!base.is_tls());
        assert_eq!(format!("{base:?}"), "ApiBase(http://[::1]:8080/api)");
        let request = GatewayRequest::new(&base, &Token::new("a.b").unwrap());
        assert_eq!(request.base(), &base);
        assert_eq!(
            format!("{request:?}"),
            "GatewayRequest(GET http://[::1]:8080/api/gateway/bot)"
        );
    }

    #[test]
    fn an_answer_that_repeats_the_token_is_masked() {
        let token = Token::new("sec.ret").unwrap();
        let request = GatewayRequest::new(&ApiBase::default(), &token);
        let body = br#"{"code":0,"message":"bad header: Bot sec.ret"}"#;
        let fault = request.read_response(401, None, body).unwrap_err();
        assert!(fault.to_string().contains("Bot [token]"), "{fault}");
        assert!(!format!("{fault:?}").contains("sec.ret"));
        let body = format!(r#"{{"message":"{}sec.ret"}}"#, "x".repeat(297));
        let fault = request.read_response(403, None, body.as_bytes());
        assert!(!format!("{fault:?}").contains("xsec"), "{fault:?}");
        let fault = request
            .read_response(200, None, br#"{"url":"sec.ret"}"#)
            .unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("sec.ret"));
    }
}
