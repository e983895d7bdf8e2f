//! Names to addresses: resolved once, checked, and those very addresses are connected to.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};

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
            let found = lookup(name).await?;
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

/// What a name resolves to; at least one address.
pub(super) async fn lookup(name: &str) -> std::io::Result<Vec<IpAddr>> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in tokio::net::lookup_host((bare, 0)).await?.take(ADDRESSES_MAX) {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Whether an address is this node's: one that it was told of, or one that a socket can be bound to here.
pub(super) fn is_own(address: IpAddr, told: &[IpAddr]) -> bool {
    told.contains(&address.to_canonical()) || UdpSocket::bind((address, 0)).is_ok()
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
    fn only_public_addresses_are_connected_to() {
        assert_eq!(filter(&[], &["8.8.8.8", "10.0.0.1", "2600::1"]).unwrap(), ["8.8.8.8", "2600::1"]);
        assert!(filter(&[], &["10.0.0.1", "::ffff:10.0.0.2"]).unwrap_err().contains("private address 10.0.0.1"));
        assert!(filter(&["9.9.9.9"], &["9.9.9.9"]).unwrap_err().contains("back to this node"));
        assert!(filter(&["9.9.9.9"], &["::ffff:9.9.9.9"]).unwrap_err().contains("back to this node"));
        assert!(filter(&[], &["127.0.0.1"]).unwrap_err().contains("back to this node"));
    }
}
