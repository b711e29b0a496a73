//! Reads the answer to the gateway request, and says what an answer without the data means.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use serde::{Deserialize, Serialize};

use crate::gateway_info::GatewayInfo;
use crate::proxy::ProxyFault;
use crate::token::Token;

/// Why the gateway's data could not be had.
///
/// What [is fatal](Self::is_fatal) stays so however often it is tried, and repeating it may get the
/// address banned: 10,000 answers of 401, 403 or 429 in ten minutes. The rest passes by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FetchFault {
    /// Discord refuses: 4xx other than 408 and 429.
    #[error("the api refused the request (http {status}{}); {advice}", said(*.code, .message))]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// Discord's own code, if the answer had one.
        code: Option<u64>,
        /// What Discord said, cut after 300 characters; empty if it said nothing readable.
        message: String,
        /// What a person does about it.
        advice: Cow<'static, str>,
    },
    /// Too many requests (429).
    #[error(
        "the api's rate limit is reached{}; wait {:.1} s before the next request",
        if *.global { " for all requests" } else { "" },
        .retry_after.as_secs_f64()
    )]
    RateLimited {
        /// How long to wait, at most 24 hours.
        retry_after: Duration,
        /// Whether the limit is that of all requests together.
        global: bool,
    },
    /// Discord, or what stands before it, is out of order at the moment (408, 5xx).
    #[error("the api is not available (http {status}); try again in a while")]
    Unavailable {
        /// The status of HTTP.
        status: u16,
    },
    /// The answer sends elsewhere (3xx). That is not followed: the token would go along.
    #[error("the api answered with a redirect (http {status}); correct the api's base address")]
    Redirect {
        /// The status of HTTP.
        status: u16,
    },
    /// The answer came, but is not the gateway's data.
    #[error(
        "the answer is not the gateway's data: {problem}; check the api's base address and any proxy"
    )]
    NotAGateway {
        /// What is wrong with it.
        problem: String,
    },
    /// The proxy does not forward.
    #[error("the api cannot be reached: {0}")]
    Proxy(#[from] ProxyFault),
    /// No answer came.
    #[error("the api cannot be reached: {what}; check the network, the proxy and the base address")]
    Network {
        /// What the runtime reports.
        what: String,
    },
}

/// No wait is believed to be longer.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait when a 429 does not say: then it is rarely Discord's own, but the ban of an
/// address, and haste prolongs it.
const WAIT_UNSAID: Duration = Duration::from_secs(60);

/// How many characters of foreign text a message repeats.
const QUOTED: usize = 300;

impl GatewayInfo {
    /// Reads an answer to a [`GatewayRequest`](crate::GatewayRequest): status, the header
    /// `Retry-After` if there is one, and as much of the body as came.
    ///
    /// [`GatewayRequest::read_response`](crate::GatewayRequest::read_response) does the same and
    /// masks the token, should the answer repeat it.
    ///
    /// # Errors
    /// Any answer other than the gateway's data; see [`FetchFault`].
    pub fn from_response(
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
    ) -> Result<Self, FetchFault> {
        match status {
            200 => read_body(body),
            300..=399 => Err(FetchFault::Redirect { status }),
            429 => Err(rate_limited(retry_after, body)),
            408 | 500..=599 => Err(FetchFault::Unavailable { status }),
            400..=499 => Err(refused(status, body)),
            _ => Err(FetchFault::NotAGateway {
                problem: format!("http status {status} has no meaning here"),
            }),
        }
    }
}

impl FetchFault {
    /// A fault of the network, for the runtime that met it: a look-up, a connection, TLS, a
    /// deadline, an answer that was cut short. Where the text may repeat the request, follow it by
    /// [`redacted`](Self::redacted).
    pub fn network(what: impl fmt::Display) -> Self {
        // Not cut: a cut within the token would hide it from the mask.
        Self::Network {
            what: one_line(what.to_string().chars()),
        }
    }

    /// Whether it stays as it is until a person changes something: then the request is refused
    /// for good. Else the network or Discord is at fault, and a later try may succeed.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Redirect { .. })
    }

    /// The fault with the token masked in the texts that came from outside.
    #[must_use]
    pub fn redacted(mut self, token: &Token) -> Self {
        if let Self::Refused { message: text, .. }
        | Self::NotAGateway { problem: text }
        | Self::Network { what: text } = &mut self
        {
            *text = token.redact(text).into_owned();
        }
        self
    }
}

fn read_body(body: &[u8]) -> Result<GatewayInfo, FetchFault> {
    let problem = match serde_json::from_slice::<Value>(body) {
        Ok(value) => match GatewayInfo::from_value(&value) {
            Ok(info) => return Ok(info),
            Err(problem) => problem,
        },
        Err(_) if body.trim_ascii_start().starts_with(b"<") => {
            "it is a web page, not JSON".to_owned()
        }
        Err(_) if body.trim_ascii().is_empty() => "it is empty".to_owned(),
        Err(error) if error.is_eof() => "it is cut short".to_owned(),
        Err(error) => format!("it is not JSON ({error})"),
    };
    Err(FetchFault::NotAGateway { problem })
}

fn rate_limited(header: Option<&str>, body: &[u8]) -> FetchFault {
    let body = json(body);
    let in_body = body.get("retry_after").and_then(Value::as_f64);
    // The header may also hold a date, which nobody can turn into a time without a clock.
    let in_header = || header.and_then(|text| text.trim().parse().ok());
    let retry_after = in_body
        .and_then(wait)
        .or_else(|| in_header().and_then(wait))
        .unwrap_or(WAIT_UNSAID);
    FetchFault::RateLimited {
        retry_after,
        global: body.get("global") == Some(&Value::Bool(true)),
    }
}

/// Seconds as a time within the longest wait; `None` if they make no sense.
fn wait(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        return None;
    }
    let capped = seconds.min(LONGEST_WAIT.as_secs_f64());
    Duration::try_from_secs_f64(capped).ok()
}

fn refused(status: u16, body: &[u8]) -> FetchFault {
    let body = json(body);
    FetchFault::Refused {
        status,
        code: body.get("code").and_then(Value::as_u64),
        message: body
            .get("message")
            .and_then(Value::as_str)
            .map(quote)
            .unwrap_or_default(),
        advice: match status {
            400 => "check the version in the api's base address, or update this library",
            401 => "check the token; copy a new one from the bot's page in the developer portal",
            403 => "check that the token is this bot's, and that its network is not blocked",
            404 => "check the api's base address; it ends in the version, such as /api/v10",
            405 => "check the api's base address; something else answers there",
            407 => "give the proxy's user name and password",
            _ => "do not repeat it before the cause is known",
        }
        .into(),
    }
}

/// Whatever the body is; a proxy's web page counts as nothing.
fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// Foreign text for a message: short, and in one line.
fn quote(text: &str) -> String {
    one_line(text.chars().take(QUOTED))
}

fn one_line(text: impl Iterator<Item = char>) -> String {
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn said(code: Option<u64>, message: &str) -> String {
    let mut out = String::new();
    if let Some(code) = code.filter(|&code| code != 0) {
        out.push_str(&format!(", code {code}"));
    }
    if !message.is_empty() {
        out.push_str(": ");
        out.push_str(message);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, header: Option<&str>, body: &str) -> FetchFault {
        GatewayInfo::from_response(status, header, body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_good_answer_is_read() {
        let body = br#"{"url":"wss://g","shards":1,"session_start_limit":{"total":1000,"remaining":1,"reset_after":1,"max_concurrency":1}}"#;
        let info = GatewayInfo::from_response(200, None, body).unwrap();
        assert_eq!(info.url.to_string(), "wss://g");
    }

    #[test]
    fn refusals_are_fatal_and_say_what_to_do() {
        let body = r#"{"message": "401: Unauthorized", "code": 0}"#;
        assert_eq!(
            fault(401, None, body).to_string(),
            "the api refused the request (http 401: 401: Unauthorized); check the token; copy a \
             new one from the bot's page in the developer portal"
        );
        assert!(matches!(
            fault(400, None, r#"{"code":50035,"message":"Invalid Form Body"}"#),
            FetchFault::Refused {
                status: 400,
                code: Some(50035),
                ..
            }
        ));
        for status in [400, 401, 403, 404, 405, 407, 410, 418, 499] {
            for body in ["", "<html>no</html>", "{}", body] {
                let fault = fault(status, None, body);
                assert!(matches!(fault, FetchFault::Refused { status: s, .. } if s == status));
                assert!(fault.is_fatal());
            }
        }
        for status in [301, 302, 307, 308] {
            let fault = fault(status, None, "");
            assert_eq!(fault, FetchFault::Redirect { status });
            assert!(fault.is_fatal());
        }
    }

    #[test]
    fn each_refusal_says_where_to_look() {
        for (status, place) in [
            (400, "the version in the api's base address"),
            (401, "check the token"),
            (403, "that the token is this bot's"),
            (404, "ends in the version, such as /api/v10"),
            (405, "something else answers there"),
            (407, "the proxy's user name and password"),
            (451, "do not repeat it"),
        ] {
            let text = fault(status, None, "").to_string();
            assert!(text.contains(place), "{status}: {text}");
        }
    }

    #[test]
    fn server_faults_pass() {
        for status in [408, 500, 502, 503, 520, 599] {
            let fault = fault(status, None, "<html>");
            assert_eq!(fault, FetchFault::Unavailable { status });
            assert!(!fault.is_fatal());
        }
        assert!(!FetchFault::network("connection refused").is_fatal());
    }

    #[test]
    fn the_wait_comes_from_body_then_header() {
        let wait = |header, body| match fault(429, header, body) {
            FetchFault::RateLimited {
                retry_after,
                global,
            } => (retry_after.as_millis(), global),
            other => panic!("{other:?}"),
        };
        let body = r#"{"message":"x","retry_after":0.3,"global":true}"#;
        assert_eq!(wait(Some("1"), body), (300, true));
        assert_eq!(wait(Some("82800"), "<html>"), (82_800_000, false));
        assert_eq!(wait(Some(" 1.5 "), "{}"), (1500, false));
        assert_eq!(wait(None, ""), (60_000, false));
        assert_eq!(
            wait(Some("Wed, 21 Oct 2026 07:28:00 GMT"), ""),
            (60_000, false)
        );
        assert_eq!(wait(Some("-1"), r#"{"retry_after":-5}"#), (60_000, false));
        assert_eq!(wait(Some("NaN"), ""), (60_000, false));
        assert_eq!(wait(Some("inf"), ""), (86_400_000, false));
        assert_eq!(wait(None, r#"{"retry_after":1e300}"#), (86_400_000, false));
        assert_eq!(wait(None, r#"{"retry_after":0}"#), (0, false));
        assert_eq!(
            fault(429, None, body).to_string(),
            "the api's rate limit is reached for all requests; wait 0.3 s before the next request"
        );
    }

    #[test]
    fn other_bodies_are_told_apart() {
        for (body, expected) in [
            ("", "it is empty"),
            ("  <!doctype html>", "it is a web page, not JSON"),
            (r#"{"url":"wss://g""#, "it is cut short"),
            ("[]", "the answer is no JSON object"),
            (r#"{"url":"wss://g"}"#, "`shards` is missing"),
            (
                r#"{"url":"wss://g","shards":1}"#,
                "`session_start_limit` is missing",
            ),
        ] {
            match fault(200, None, body) {
                FetchFault::NotAGateway { problem } => assert_eq!(problem, expected),
                other => panic!("{other:?}"),
            }
        }
        match fault(200, None, r#"{"url":"wss://g",}"#) {
            FetchFault::NotAGateway { problem } => {
                assert!(problem.starts_with("it is not JSON ("), "{problem}");
            }
            other => panic!("{other:?}"),
        }
        for status in [0, 101, 204, 600] {
            let fault = fault(status, None, "");
            assert!(matches!(fault, FetchFault::NotAGateway { .. }) && !fault.is_fatal());
        }
        let text = GatewayInfo::from_response(200, None, b"\xff\xfe").unwrap_err();
        assert!(matches!(text, FetchFault::NotAGateway { .. }));
    }

    #[test]
    fn foreign_text_is_cut_and_of_one_line() {
        let body = format!(r#"{{"message":"a\n{}"}}"#, "x".repeat(5000));
        let FetchFault::Refused { message, .. } = fault(403, None, &body) else {
            panic!();
        };
        assert_eq!(message.len(), 300);
        assert!(message.starts_with("a x"));
    }

    #[test]
    fn the_token_is_masked() {
        let token = Token::new("sec.ret").unwrap();
        for fault in [
            FetchFault::network("bad header Bot sec.ret"),
            fault(403, None, r#"{"message":"sec.ret"}"#),
            FetchFault::NotAGateway {
                problem: "sec.ret".into(),
            },
        ] {
            let text = format!("{:?}", fault.redacted(&token));
            assert!(!text.contains("sec.ret") && text.contains("[token]"));
        }
    }
}
