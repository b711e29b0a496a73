//! What is said to a proxy before it forwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::connect::Connect;
use super::socks5::Socks5;
use super::{Kind, Proxy};
use crate::input::TransportFault;

/// The dialogue with a proxy, from the open connection to it until it forwards.
///
/// Ask [`poll`](Self::poll) what to do and give what is read to [`handle`](Self::handle). It takes
/// nothing that comes after the dialogue: that belongs to the connection within.
pub struct ProxyDialogue {
    says: Vec<u8>,
    hears: Hears,
    fault: Option<ProxyFault>,
}

enum Hears {
    Connect(Connect),
    Socks5(Socks5),
    Nothing,
}

/// What to do next. Its `Debug` shows no bytes: there may be a login in them.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum ProxyStep {
    /// Write these bytes; they are given out once.
    Write(Vec<u8>),
    /// Read, and not more than so many bytes.
    Read(usize),
    /// The proxy forwards.
    Done,
}

/// What went wrong with a proxy, without any text of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProxyFault {
    /// The connection to the proxy could not be made, or broke before it forwarded.
    #[error("the proxy cannot be reached: {0}; check its address and that it runs")]
    Unreached(Box<TransportFault>),
    /// It wants a login.
    #[error("the proxy asks for a login; give the proxy a login: scheme://user:password@host:port")]
    LoginNeeded,
    /// It does not take the login that it was given.
    #[error("the proxy refused the login; correct user and password in the proxy's address")]
    LoginRefused,
    /// It answered CONNECT with this HTTP status.
    #[error("the proxy refused to connect with http {0}")]
    Status(u16),
    /// It answered the SOCKS5 request with this.
    #[error("the proxy could not connect: {0}")]
    Socks(SocksReply),
    /// It does not speak the protocol that its address says.
    #[error("the proxy's answer is none; check its scheme and port")]
    Garbage,
    /// Its answer does not end.
    #[error("the proxy's answer is too long; check its scheme and port")]
    TooLong,
    /// The host's name cannot be put into the proxy's protocol.
    #[error("the host's name cannot be given to the proxy")]
    HostName,
}

/// Why a SOCKS5 proxy does not connect (RFC 1928).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SocksReply {
    /// 1.
    #[error("general failure")]
    GeneralFailure,
    /// 2.
    #[error("its rules do not allow it")]
    NotAllowed,
    /// 3.
    #[error("the network is unreachable")]
    NetworkUnreachable,
    /// 4.
    #[error("the host is unreachable")]
    HostUnreachable,
    /// 5.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// 6.
    #[error("the time to live expired")]
    TtlExpired,
    /// 7.
    #[error("it does not know the command")]
    CommandNotSupported,
    /// 8.
    #[error("it does not know this type of address")]
    AddressTypeNotSupported,
    /// One that has no meaning.
    #[error("reply {0}")]
    Other(u8),
}

impl ProxyDialogue {
    /// A dialogue that asks this proxy for a connection to a host: a name or an IP address without
    /// brackets.
    ///
    /// # Errors
    /// If the host is neither, or too long for the proxy's protocol.
    pub fn new(proxy: &Proxy, host: &str, port: u16) -> Result<Self, ProxyFault> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || host.len() > 255 || !host.bytes().all(plain) {
            return Err(ProxyFault::HostName);
        }
        let login = proxy.login.as_ref();
        let (says, hears) = match proxy.kind {
            Kind::Http => {
                let (says, connect) = Connect::new(host, port, login);
                (says, Hears::Connect(connect))
            }
            Kind::Socks5 => {
                let (says, socks) = Socks5::new(host, port, login);
                (says, Hears::Socks5(socks))
            }
        };
        Ok(Self {
            says,
            hears,
            fault: None,
        })
    }

    /// What to do now.
    pub fn poll(&mut self) -> ProxyStep {
        if !self.says.is_empty() {
            return ProxyStep::Write(std::mem::take(&mut self.says));
        }
        match &self.hears {
            Hears::Connect(connect) => ProxyStep::Read(connect.wants()),
            Hears::Socks5(socks) => ProxyStep::Read(socks.wants()),
            Hears::Nothing => ProxyStep::Done,
        }
    }

    /// Takes what the proxy said; how many of the bytes belong to the dialogue so far. The others
    /// are to be given again after the next [`ProxyStep::Write`], or are not the proxy's.
    ///
    /// # Errors
    /// If the proxy does not connect; the same fault from then on.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<usize, ProxyFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        for (taken, byte) in bytes.iter().enumerate() {
            if !self.says.is_empty() {
                return Ok(taken);
            }
            let done = match &mut self.hears {
                Hears::Connect(connect) => connect.take(*byte),
                Hears::Socks5(socks) => socks.take(*byte, &mut self.says),
                Hears::Nothing => return Ok(taken),
            };
            match done {
                Ok(false) => {}
                Ok(true) => self.hears = Hears::Nothing,
                Err(fault) => {
                    self.fault = Some(fault.clone());
                    return Err(fault);
                }
            }
        }
        Ok(bytes.len())
    }
}

impl fmt::Debug for ProxyDialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyDialogue")
            .field("done", &matches!(self.hears, Hears::Nothing))
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ProxyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(bytes) => write!(f, "Write({} bytes)", bytes.len()),
            Self::Read(most) => write!(f, "Read({most})"),
            Self::Done => f.write_str("Done"),
        }
    }
}
