//! The syntax of `NO_PROXY`.

use std::net::IpAddr;

/// The hosts that are dialled directly, in the syntax of `NO_PROXY`: a list with commas of
///
/// - `*`: every host;
/// - `host`: this name and no other;
/// - `.suffix` or `*.suffix`: this name and all below it;
/// - `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`: this address;
/// - `192.0.2.0/24`, `2001:db8::/32`: addresses of this network;
/// - any of these but a network with `:port` (IPv6 in brackets): only this port.
///
/// Addresses match hosts that are given as addresses; no name is looked up. The list is often meant
/// for other programs too: an entry that is none of these matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    Name(String),
    /// With its leading dot.
    Suffix(String),
    /// An address, and how many of its bits count.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Reads a list; the empty one excepts nobody.
    pub fn new(list: &str) -> Self {
        Self(list.split(',').filter_map(Entry::read).collect())
    }

    /// Whether this host, in lower case and without a dot at its end, is excepted.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        let address = host.parse::<IpAddr>().ok();
        let address = address.map(|address| address.to_canonical());
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|only| only == port)
                && match &entry.hosts {
                    Hosts::All => true,
                    Hosts::Name(name) => name == host,
                    Hosts::Suffix(suffix) => {
                        address.is_none()
                            && (host.ends_with(suffix.as_str()) || host == &suffix[1..])
                    }
                    Hosts::Network(network, bits) => {
                        address.is_some_and(|address| within(address, *network, *bits))
                    }
                }
        })
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Some((network, bits)) = text.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let bits: u32 = bits.parse().ok()?;
            let most = if network.is_ipv4() { 32 } else { 128 };
            let hosts = Hosts::Network(network, bits);
            return (bits <= most).then_some(Self { hosts, port: None });
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']')?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return None,
            };
            (host, port)
        } else if text.matches(':').count() == 1 {
            let (host, port) = text.split_once(':')?;
            (host, Some(port))
        } else {
            (text.as_str(), None)
        };
        let port = port.map(str::parse).transpose().ok()?;
        let host = host.strip_suffix('.').unwrap_or(host);
        let hosts = if host == "*" {
            Hosts::All
        } else if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            Hosts::Network(address, if address.is_ipv4() { 32 } else { 128 })
        } else if let Some(suffix) = host.strip_prefix('*').or(Some(host))
            && suffix.starts_with('.')
        {
            Hosts::Suffix(suffix.to_owned())
        } else {
            Hosts::Name(host.to_owned())
        };
        (!host.is_empty()).then_some(Self { hosts, port })
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            differ.leading_zeros() >= bits
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            differ.leading_zeros() >= bits
        }
        _ => false,
    }
}
