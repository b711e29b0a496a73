//! SOCKS5 (RFC 1928) and its login (RFC 1929).

use std::net::IpAddr;

use super::Login;
use super::dialogue::{ProxyFault, SocksReply};

const VERSION: u8 = 5;

pub(super) struct Socks5 {
    /// What logs in, if that is asked for.
    login: Option<Vec<u8>>,
    request: Vec<u8>,
    stage: Stage,
    /// The answer so far; none is longer than 262 bytes.
    heard: Vec<u8>,
}

enum Stage {
    Method,
    Login,
    Reply,
}

impl Socks5 {
    pub(super) fn new(host: &str, port: u16, login: Option<&Login>) -> (Vec<u8>, Self) {
        let mut request = vec![VERSION, 1, 0];
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend(address.octets());
            }
            Err(_) => {
                request.push(3);
                request.extend(with_length(host.as_bytes()));
            }
        }
        request.extend(port.to_be_bytes());
        let says = match login {
            Some(_) => vec![VERSION, 2, 0, 2],
            None => vec![VERSION, 1, 0],
        };
        let login = login.map(|Login { user, password }| {
            let mut bytes = vec![1];
            bytes.extend(with_length(user));
            bytes.extend(with_length(password));
            bytes
        });
        let hears = Self {
            login,
            request,
            stage: Stage::Method,
            heard: Vec::new(),
        };
        (says, hears)
    }

    /// So many bytes come at least before the end of this answer.
    pub(super) fn wants(&self) -> usize {
        self.length().saturating_sub(self.heard.len()).max(1)
    }

    /// How long this answer is, as far as that is known.
    fn length(&self) -> usize {
        match (&self.stage, self.heard.get(3), self.heard.get(4)) {
            (Stage::Method | Stage::Login, ..) => 2,
            // A refusal may end here.
            (Stage::Reply, None, _) if self.heard.len() < 2 => 2,
            (Stage::Reply, None, _) => 4,
            (Stage::Reply, Some(1), _) => 10,
            (Stage::Reply, Some(4), _) => 22,
            (Stage::Reply, Some(_), None) => 5,
            (Stage::Reply, Some(_), Some(name)) => 7 + usize::from(*name),
        }
    }

    /// Takes a byte; true once the proxy forwards.
    pub(super) fn take(&mut self, byte: u8, says: &mut Vec<u8>) -> Result<bool, ProxyFault> {
        self.heard.push(byte);
        match (&self.stage, self.heard.as_slice()) {
            (Stage::Method | Stage::Reply, [first]) if *first != VERSION => {
                return Err(ProxyFault::Garbage);
            }
            (Stage::Login, [first]) if *first != 1 => return Err(ProxyFault::Garbage),
            (Stage::Method, [_, 0]) => self.ask(says),
            (Stage::Method, [_, 2]) => {
                *says = self.login.take().ok_or(ProxyFault::Garbage)?;
                self.stage = Stage::Login;
                self.heard.clear();
            }
            (Stage::Method, [_, 0xFF]) => {
                return Err(match self.login {
                    Some(_) => ProxyFault::LoginRefused,
                    None => ProxyFault::LoginNeeded,
                });
            }
            (Stage::Method, [_, _]) => return Err(ProxyFault::Garbage),
            (Stage::Login, [_, 0]) => self.ask(says),
            (Stage::Login, [_, _]) => return Err(ProxyFault::LoginRefused),
            (Stage::Reply, [_, code]) if *code != 0 => {
                return Err(ProxyFault::Socks(reply(*code)));
            }
            (Stage::Reply, [_, _, _, kind]) if !matches!(kind, 1 | 3 | 4) => {
                return Err(ProxyFault::Garbage);
            }
            (Stage::Reply, heard) => return Ok(heard.len() >= 4 && heard.len() == self.length()),
            _ => {}
        }
        Ok(false)
    }

    fn ask(&mut self, says: &mut Vec<u8>) {
        *says = std::mem::take(&mut self.request);
        self.stage = Stage::Reply;
        self.heard.clear();
    }
}

/// Bytes after their number, which the callers have checked.
fn with_length(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let bytes = bytes.iter().take(usize::from(length));
    std::iter::once(length).chain(bytes.copied())
}

fn reply(code: u8) -> SocksReply {
    match code {
        1 => SocksReply::GeneralFailure,
        2 => SocksReply::NotAllowed,
        3 => SocksReply::NetworkUnreachable,
        4 => SocksReply::HostUnreachable,
        5 => SocksReply::ConnectionRefused,
        6 => SocksReply::TtlExpired,
        7 => SocksReply::CommandNotSupported,
        8 => SocksReply::AddressTypeNotSupported,
        other => SocksReply::Other(other),
    }
}
