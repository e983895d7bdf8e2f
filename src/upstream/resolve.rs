//! Names to addresses: resolved once, checked, and those very addresses are connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::model::origin::is_public;

/// Addresses of one name that are looked at: bounds what a hostile name server can make of one connection.
const ADDRESSES_MAX: usize = 32;

/// A name that leads where nobody may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    address: IpAddr,
    own: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.own {
            write!(
                f,
                "its name leads back to this node ({}); give this node a name server that knows the real one",
                self.address
            )
        } else {
            write!(
                f,
                "its name leads to the private address {}; if that is meant, list the address itself in [origins] allow",
                self.address
            )
        }
    }
}

impl std::error::Error for Refusal {}

/// The name service answers, and says that the name does not exist or has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoName(String);

impl fmt::Display for NoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoName {}

/// How the C libraries word that a name does not exist or has no address; the standard library keeps the words, but not
/// the number. "Temporary failure in name resolution", which a dead or silent name server causes, is none of these.
const NO_NAME: [&str; 4] =
    ["name or service not known", "no address associated", "name does not resolve", "name has no usable address"];

/// The resolver that the client library is given.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    /// Private addresses are fine: the upstream that is named in the configuration.
    pub(super) private: bool,
    /// This node's own addresses, as far as they are known.
    pub(super) own: Vec<IpAddr>,
    /// The proxy's host, which is resolved here too and may lie anywhere.
    pub(super) proxy: Option<String>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.clone();
        Box::pin(async move {
            let name = name.as_str();
            let found = lookup(name).await.map_err(say)?;
            let free =
                checked.private || checked.proxy.as_deref().is_some_and(|proxy| proxy.eq_ignore_ascii_case(name));
            let may = if free { found } else { checked.filter(&found)? };
            Ok(Box::new(may.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

impl Checked {
    /// The public addresses among these. A name that has private ones beside them is not refused for it, but they are
    /// never connected to.
    fn filter(&self, found: &[IpAddr]) -> Result<Vec<IpAddr>, Refusal> {
        let mut refusal = None;
        let mut may = Vec::new();
        for address in found.iter().copied() {
            let own = is_own(address, &self.own);
            if own || !is_public(address) {
                refusal = refusal.or(Some(Refusal { address, own }));
            } else {
                may.push(address);
            }
        }
        match refusal {
            Some(refusal) if may.is_empty() => Err(refusal),
            _ => Ok(may),
        }
    }
}

/// The error by type: whether the name is the trouble, or asking about it.
fn say(error: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let words = error.to_string();
    let lower = words.to_ascii_lowercase();
    let no_name = error.kind() == io::ErrorKind::NotFound || NO_NAME.iter().any(|sign| lower.contains(sign));
    if no_name { Box::new(NoName(words)) } else { Box::new(error) }
}

/// What a name resolves to; at least one address.
pub(super) async fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in tokio::net::lookup_host((bare, 0)).await?.take(ADDRESSES_MAX) {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Whether an address is this node's: one that it was told of, or one that a socket can be bound to here.
pub(super) fn is_own(address: IpAddr, told: &[IpAddr]) -> bool {
    told.contains(&address.to_canonical()) || is_local(address, |address| UdpSocket::bind((address, 0)).is_ok())
}

/// Addresses that no interface has (RFC 5737, RFC 3849).
const NOBODYS: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)));

/// A machine may let sockets be bound to addresses that are not its own (`net.ipv4.ip_nonlocal_bind`, for addresses that
/// move between machines). There that proves nothing: an address is its own if packets to it would carry it as their
/// source too, which the kernel tells without sending one.
fn is_local(address: IpAddr, binds: impl Fn(IpAddr) -> bool) -> bool {
    let nobodys = if address.is_ipv4() { NOBODYS.0 } else { NOBODYS.1 };
    if !binds(address) {
        return false;
    }
    if !binds(nobodys) || address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // The discard port; nothing is sent.
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip().to_canonical() == address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(own: &[&str], found: &[&str]) -> Result<Vec<String>, String> {
        let parse = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let checked = Checked { private: false, own: parse(own), proxy: None };
        checked
            .filter(&parse(found))
            .map(|may| may.iter().map(ToString::to_string).collect())
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_from_a_name_server_that_is_away() {
        let is_no_name = |words: &str| say(io::Error::other(words)).downcast_ref::<NoName>().is_some();
        assert!(is_no_name("failed to lookup address information: Name or service not known"));
        assert!(is_no_name("failed to lookup address information: No address associated with hostname"));
        assert!(!is_no_name("failed to lookup address information: Temporary failure in name resolution"));
    }

    #[test]
    fn a_machine_that_binds_anything_does_not_take_the_world_for_itself() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let anything = |_| true;
        assert!(!is_local(parse("8.8.8.8"), anything) && !is_local(parse("2600::1"), anything));
        assert!(is_local(parse("127.0.0.1"), anything) && is_local(parse("0.0.0.0"), anything));
        assert!(is_local(parse("8.8.8.8"), |address| address == parse("8.8.8.8")), "one that it really has");
    }

    #[test]
    fn only_public_addresses_are_connected_to() {
        assert_eq!(filter(&[], &["8.8.8.8", "10.0.0.1", "2600::1"]).unwrap(), ["8.8.8.8", "2600::1"]);
        assert!(filter(&[], &["10.0.0.1", "::ffff:10.0.0.2"]).unwrap_err().contains("private address 10.0.0.1"));
        assert!(filter(&["9.9.9.9"], &["9.9.9.9"]).unwrap_err().contains("back to this node"));
        assert!(filter(&["9.9.9.9"], &["::ffff:9.9.9.9"]).unwrap_err().contains("back to this node"));
        assert!(filter(&[], &["127.0.0.1"]).unwrap_err().contains("back to this node"));
    }
}
