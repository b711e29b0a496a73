//! A forward proxy on threads: CONNECT and SOCKS5, with or without a login.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use shardwright_core::{Proxy, ProxyRules};

use crate::play::PATIENCE;
use crate::raw::read_head;

/// How a proxy behaves.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    Connect,
    /// `Basic` and base64.
    ConnectWithLogin(&'static str),
    Socks,
    SocksWithLogin(&'static str, &'static str),
    /// Says this and ends.
    Says(&'static [u8]),
    /// Accepts and says nothing.
    Hangs,
}

/// A proxy, and the hosts it was asked for.
pub(crate) struct Forwarder {
    scheme: &'static str,
    port: u16,
    asked: Receiver<String>,
}

impl Forwarder {
    pub(crate) fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let (asks, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let asks = asks.clone();
                thread::spawn(move || serve(stream, manner, &asks));
            }
        });
        let scheme = match manner {
            Manner::Socks | Manner::SocksWithLogin(..) => "socks5h",
            _ => "http",
        };
        Self {
            scheme,
            port,
            asked,
        }
    }

    /// Rules that send everything through it, with this before the host.
    pub(crate) fn rules(&self, login: &str) -> ProxyRules {
        rules(&format!("{}://{login}127.0.0.1:{}", self.scheme, self.port))
    }

    /// The next host and port that it was asked for.
    pub(crate) fn asked(&self) -> String {
        self.asked.recv_timeout(PATIENCE).expect("a connection")
    }

    /// Whether it was asked for more.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

/// Everything through this proxy, this machine too.
pub(crate) fn rules(proxy: &str) -> ProxyRules {
    let mut rules = ProxyRules::through(Proxy::parse(proxy).expect("a proxy"));
    rules.loopback = true;
    rules
}

fn serve(mut client: TcpStream, manner: Manner, asks: &Sender<String>) -> Option<()> {
    client.set_read_timeout(Some(PATIENCE)).ok()?;
    let (to, answer) = match manner {
        Manner::Connect | Manner::ConnectWithLogin(_) => {
            let head = read_head(&mut client);
            let to = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
            if let Manner::ConnectWithLogin(login) = manner
                && !head.contains(&format!("\r\nProxy-Authorization: {login}\r\n"))
            {
                asks.send(to).ok()?;
                let refusal = b"HTTP/1.1 407 Who?\r\nContent-Length: 4\r\n\r\nWho?";
                return client.write_all(refusal).ok();
            }
            (to, &b"HTTP/1.1 200 Established\r\nVia: x\r\n\r\n"[..])
        }
        Manner::Socks | Manner::SocksWithLogin(..) => {
            let login = match manner {
                Manner::SocksWithLogin(user, password) => Some((user, password)),
                _ => None,
            };
            (socks(&mut client, login)?, &b"\x05\0\0\x01\0\0\0\0\0\0"[..])
        }
        Manner::Says(bytes) => {
            read_head(&mut client);
            asks.send(String::new()).ok()?;
            return client.write_all(bytes).ok();
        }
        Manner::Hangs => {
            asks.send(String::new()).ok()?;
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest);
            return None;
        }
    };
    asks.send(to.clone()).ok()?;
    let gateway = TcpStream::connect(to).ok()?;
    client.set_read_timeout(None).ok()?;
    client.set_nodelay(true).ok()?;
    gateway.set_nodelay(true).ok()?;
    client.write_all(answer).ok()?;
    let (from, into) = (gateway.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || pipe(from, into));
    pipe(client, gateway);
    None
}

fn pipe(mut from: TcpStream, mut into: TcpStream) {
    let _ = std::io::copy(&mut from, &mut into);
    let _ = into.shutdown(Shutdown::Write);
}

fn bytes(client: &mut TcpStream, count: u8) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count.into()];
    client.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn byte(client: &mut TcpStream) -> Option<u8> {
    bytes(client, 1)?.pop()
}

fn word(client: &mut TcpStream) -> Option<String> {
    let length = byte(client)?;
    String::from_utf8(bytes(client, length)?).ok()
}

/// Host and port that are asked for.
fn socks(client: &mut TcpStream, login: Option<(&str, &str)>) -> Option<String> {
    assert_eq!(byte(client)?, 5);
    let methods = byte(client)?;
    let methods = bytes(client, methods)?;
    match login {
        None => client.write_all(b"\x05\0").ok()?,
        Some(_) if !methods.contains(&2) => {
            client.write_all(b"\x05\xff").ok()?;
            return None;
        }
        Some(login) => {
            client.write_all(b"\x05\x02").ok()?;
            assert_eq!(byte(client)?, 1);
            let (user, password) = (word(client)?, word(client)?);
            let fits = (user.as_str(), password.as_str()) == login;
            client.write_all(&[1, u8::from(!fits)]).ok()?;
            if !fits {
                return None;
            }
        }
    }
    let head = bytes(client, 4)?;
    let host = match head.as_slice() {
        [5, 1, 0, 1] => {
            let address: [u8; 4] = bytes(client, 4)?.try_into().ok()?;
            Ipv4Addr::from(address).to_string()
        }
        [5, 1, 0, 3] => word(client)?,
        _ => return None,
    };
    let port = bytes(client, 2)?.try_into().ok()?;
    Some(format!("{host}:{}", u16::from_be_bytes(port)))
}
