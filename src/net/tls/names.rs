//! The names and addresses that a certificate is for.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::str::FromStr;

use rustls_pki_types::DnsName;

use crate::net::error::Error;

/// A host name (lower case, perhaps with a leading `*.`) or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteName {
    /// A host name.
    Dns(String),
    /// An address.
    Address(IpAddr),
}

impl FromStr for SiteName {
    type Err = Error;

    /// A trailing dot is dropped; brackets around an IPv6 address are allowed.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let checked = name.strip_prefix("*.").unwrap_or(&name);
        match DnsName::try_from(checked) {
            Ok(_) => Ok(Self::Dns(name)),
            Err(_) => Err(Error::BadName { name: text.chars().take(100).collect() }),
        }
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What this machine is called and may be reached by: its host name, alone and with the domain that its resolver
/// searches first, `localhost`, and every address that it has now. Link-local addresses are left out: they need a zone,
/// which a certificate cannot hold.
pub fn of_this_machine() -> Vec<SiteName> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut names = host_names(&read("/proc/sys/kernel/hostname"), &read("/etc/resolv.conf"));
    names.push(SiteName::Dns("localhost".into()));
    let mut addresses = v4_addresses(&read("/proc/net/fib_trie"));
    addresses.extend(v6_addresses(&read("/proc/net/if_inet6")));
    if !addresses.iter().any(|address| !address.is_loopback()) {
        addresses.extend(address_towards_others());
    }
    addresses.push(Ipv4Addr::LOCALHOST.into());
    addresses.push(Ipv6Addr::LOCALHOST.into());
    names.extend(addresses.into_iter().filter(|address| is_nameable(*address)).map(SiteName::Address));
    names.sort();
    names.dedup();
    names
}

fn is_nameable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !v4.is_link_local() && !v4.is_unspecified() && (!v4.is_loopback() || v4 == Ipv4Addr::LOCALHOST)
        }
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

fn host_names(kernel: &str, resolver: &str) -> Vec<SiteName> {
    let Ok(SiteName::Dns(host)) = kernel.parse() else { return Vec::new() };
    let domain = resolver.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("search" | "domain")).then(|| words.next().unwrap_or_default())
    });
    let full = domain.filter(|_| !host.contains('.')).and_then(|domain| format!("{host}.{domain}").parse().ok());
    [Some(SiteName::Dns(host)), full].into_iter().flatten().collect()
}

/// The kernel's routing table tells local addresses as a line `|-- <address>` and below it `/32 host LOCAL`.
fn v4_addresses(fib_trie: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.take().map(IpAddr::V4));
        }
    }
    found
}

/// One line for each address; the first word is the address in 32 hex digits.
fn v6_addresses(if_inet6: &str) -> Vec<IpAddr> {
    let address = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok();
    if_inet6.lines().filter_map(address).map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
}

/// Where the kernel does not tell: the address that packets to others would carry (documentation networks; a UDP socket
/// that is connected sends nothing).
fn address_towards_others() -> Vec<IpAddr> {
    let towards = |from: &str, to: &str| -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        Ok(socket.local_addr()?.ip())
    };
    [towards("0.0.0.0:0", "192.0.2.1:9"), towards("[::]:0", "[2001:db8::1]:9")].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str) -> SiteName {
        SiteName::Dns(name.into())
    }

    #[test]
    fn parses_names_and_addresses_and_nothing_else() {
        assert_eq!("Patches.Site.Example.".parse::<SiteName>().unwrap(), dns("patches.site.example"));
        assert_eq!("*.site.example".parse::<SiteName>().unwrap(), dns("*.site.example"));
        assert_eq!("[::1]".parse::<SiteName>().unwrap().to_string(), "::1");
        assert_eq!("::ffff:10.0.0.1".parse::<SiteName>().unwrap().to_string(), "10.0.0.1");
        for bad in ["", "a b", "pätch.example", "a..b", "-", "http://x", "*.", "x.*.y", &"a".repeat(300)] {
            assert!(bad.parse::<SiteName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_what_the_kernel_tells() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 192.0.2.2\n        \
                    /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(v4_addresses(trie), vec!["192.0.2.2".parse::<IpAddr>().unwrap()]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\nfd000000000000000000000000000002 02 40 00 80 eth0\nx";
        assert_eq!(v6_addresses(inet6), ["::1", "fd00::2"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        let names = host_names("Node7\n", "# x\nsearch branch.example other.example\n");
        assert_eq!(names, [dns("node7"), dns("node7.branch.example")]);
        assert_eq!(host_names("node7.site.example", "search branch.example"), [dns("node7.site.example")]);
        assert!(host_names("", "").is_empty());
    }

    #[test]
    fn finds_this_machine() {
        let names = of_this_machine();
        assert!(names.contains(&dns("localhost")));
        assert!(names.contains(&SiteName::Address(Ipv4Addr::LOCALHOST.into())));
        assert!(names.is_sorted());
    }
}
