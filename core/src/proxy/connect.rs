//! HTTP CONNECT (RFC 9110, 9.3.6).

use super::dialogue::ProxyFault;
use super::{Login, authority};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// No answer's head is longer, interim ones included.
const LONGEST_ANSWER: usize = 16 * 1024;

/// The beginning of an answer; zeros stand for digits.
const STATUS_LINE: &[u8] = b"HTTP/1.0 000";

/// The answer so far: nothing is kept of it but the status.
pub(super) struct Connect {
    has_login: bool,
    /// Bytes in all.
    bytes: usize,
    /// Bytes of the status line that were looked at.
    at: usize,
    status: u16,
    /// What of an empty line has come: nothing, `\n`, or `\n\r`.
    line_end: u8,
}

impl Connect {
    pub(super) fn new(host: &str, port: u16, login: Option<&Login>) -> (Vec<u8>, Self) {
        let authority = authority(host, port);
        let mut says = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(Login { user, password }) = login {
            let login = [user, b":".as_slice(), password].concat();
            says.push_str(&format!(
                "Proxy-Authorization: Basic {}\r\n",
                BASE64.encode(&login)
            ));
        }
        says.push_str("\r\n");
        let hears = Self {
            has_login: login.is_some(),
            bytes: 0,
            at: 0,
            status: 0,
            line_end: 0,
        };
        (says.into_bytes(), hears)
    }

    /// So many bytes come at least before the end.
    pub(super) fn wants(&self) -> usize {
        match (STATUS_LINE.len() - self.at, self.line_end) {
            (0, 0) => 2,
            (0, _) => 1,
            // The two line ends.
            (left, _) => left + 2,
        }
    }

    /// Takes a byte; true once the proxy forwards.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool, ProxyFault> {
        self.bytes += 1;
        if self.bytes > LONGEST_ANSWER {
            return Err(ProxyFault::TooLong);
        }
        if let Some(expected) = STATUS_LINE.get(self.at) {
            let fits = match expected {
                b'0' => byte.is_ascii_digit(),
                _ => byte == *expected,
            };
            if !fits {
                return Err(ProxyFault::Garbage);
            }
            if self.at > 8 {
                self.status = self.status * 10 + u16::from(byte - b'0');
            }
            self.at += 1;
            return Ok(false);
        }
        self.line_end = match (self.line_end, byte) {
            (0, b'\n') => 1,
            (1, b'\r') => 2,
            (1 | 2, b'\n') => return self.end(),
            _ => 0,
        };
        Ok(false)
    }

    fn end(&mut self) -> Result<bool, ProxyFault> {
        match self.status {
            200..=299 => Ok(true),
            // An interim answer: the real one follows.
            100 | 102..=199 => {
                (self.at, self.status, self.line_end) = (0, 0, 0);
                Ok(false)
            }
            407 if self.has_login => Err(ProxyFault::LoginRefused),
            407 => Err(ProxyFault::LoginNeeded),
            status => Err(ProxyFault::Status(status)),
        }
    }
}
