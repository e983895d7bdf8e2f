//! What the site CA may sign for: domains and networks, as the name constraints of its certificate say them (RFC 5280,
//! 4.2.1.10).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::net::error::Error;
use crate::net::tls::names::SiteName;
use crate::net::tls::show;

/// What a CA may sign for: names in these domains (and the domains themselves), addresses in these networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    domains: Vec<String>,
    networks: Vec<IpNet>,
}

impl Scope {
    /// The narrowest scope that a site can live with: the domain of each name, the private network that each address
    /// lies in or the address alone if it is public, and this machine's loopback.
    pub fn around(names: &[SiteName]) -> Self {
        let domains = names.iter().filter_map(|name| match name {
            SiteName::Dns(name) => Some(domain_of(name).to_owned()),
            SiteName::Address(_) => None,
        });
        Self::new(domains.collect(), names)
    }

    /// The domains given, and networks as in [`Scope::around`].
    pub fn of_domains(domains: &[SiteName], names: &[SiteName]) -> Self {
        Self::new(domains.iter().map(|domain| domain.to_string().trim_start_matches("*.").to_owned()).collect(), names)
    }

    fn new(mut domains: Vec<String>, names: &[SiteName]) -> Self {
        domains.push("localhost".into());
        domains.sort();
        domains.dedup();
        // With no address at all in it the constraint would allow every address.
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        addresses.extend(names.iter().filter_map(|name| match name {
            SiteName::Dns(_) => None,
            SiteName::Address(address) => Some(*address),
        }));
        let mut networks: Vec<_> = addresses.into_iter().map(network_of).collect();
        networks.sort();
        networks.dedup();
        Self { domains, networks }
    }

    /// What the name constraints of a certificate in DER say.
    pub fn of_der(cert: &CertificateDer<'_>) -> Result<Self, Error> {
        Ok(Self::of_certificate(&show::parse(cert)?))
    }

    /// What the name constraints of `cert` say.
    pub(crate) fn of_certificate(cert: &X509Certificate<'_>) -> Self {
        let mut scope = Self::default();
        let constraints = cert.name_constraints().ok().flatten();
        for subtree in constraints.and_then(|found| found.value.permitted_subtrees.as_ref()).into_iter().flatten() {
            match &subtree.base {
                GeneralName::DNSName(domain) => scope.domains.push((*domain).to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => scope.networks.extend(network_in(bytes)),
                _ => {}
            }
        }
        scope
    }

    /// Whether `name` may be signed for.
    pub fn permits(&self, name: &SiteName) -> bool {
        match name {
            SiteName::Dns(name) => {
                let name = name.strip_prefix("*.").unwrap_or(name);
                self.domains.iter().any(|domain| {
                    name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
            }
            SiteName::Address(address) => self.networks.iter().any(|network| network.contains(address)),
        }
    }

    /// Those of its domains that are one label, no name of this node and none that sites use among themselves: they may be
    /// the top of names all over the world (`com`), and a CA that clients trust must not reach that far.
    pub fn tops(&self, own: &[SiteName]) -> Vec<&str> {
        let is_own = |domain: &str| own.iter().any(|name| matches!(name, SiteName::Dns(dns) if dns == domain));
        let domains = self.domains.iter().map(String::as_str);
        domains.filter(|domain| !domain.contains('.') && !LOCAL.contains(domain) && !is_own(domain)).collect()
    }

    pub(crate) fn constraints(&self) -> NameConstraints {
        let domains = self.domains.iter().cloned().map(GeneralSubtree::DnsName);
        let networks = self.networks.iter().map(|network| {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network.network(), network.prefix_len()))
        });
        NameConstraints { permitted_subtrees: domains.chain(networks).collect(), excluded_subtrees: Vec::new() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.domains.iter().cloned().chain(self.networks.iter().map(ToString::to_string)).collect();
        f.write_str(&parts.join(", "))
    }
}

/// The name without its first label, where what is left is a domain that somebody can own; else the name itself.
///
/// Without the list of public suffixes a rule of thumb must do: below a top of a country (two letters) any label may be
/// one under which others register (`school.nz`, `city.kawasaki.jp`), so that the whole name is taken; below others two
/// labels are owned, unless they are one of [`SHARED`]. Too narrow is the safe side: `ca create` widens it.
fn domain_of(name: &str) -> &str {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let Some((_, rest)) = bare.split_once('.') else { return bare };
    let Some((_, top)) = rest.rsplit_once('.') else { return bare };
    let is_shared = SHARED
        .iter()
        .any(|parent| bare.strip_suffix(parent).is_some_and(|below| below.is_empty() || below.ends_with('.')));
    if top.len() == 2 || is_shared { bare } else { rest }
}

/// Names of one label below which nobody registers anything: kept for such use (RFC 2606, 6761 and 6762; `internal` by ICANN), or in use at so many sites that they are never given out (`corp`, `home`, `lan`).
const LOCAL: [&str; 12] = [
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "test",
];

/// Parents below which everybody can have a name (dynamic DNS, hosting), as far as their top is not a country's.
const SHARED: [&str; 40] = [
    "amazonaws.com",
    "azure.com",
    "azurewebsites.net",
    "bounceme.net",
    "cloudapp.net",
    "ddns.net",
    "ddnsking.com",
    "dnsalias.com",
    "dnsalias.net",
    "dnsalias.org",
    "dnsdojo.com",
    "dnsdojo.net",
    "dnsdojo.org",
    "duckdns.org",
    "dynalias.com",
    "dynalias.net",
    "dynalias.org",
    "dyndns.org",
    "dynv6.net",
    "freeddns.org",
    "gotdns.com",
    "gotdns.org",
    "hldns.com",
    "homedns.org",
    "homeip.net",
    "homelinux.com",
    "homelinux.net",
    "homelinux.org",
    "hopto.org",
    "mooo.com",
    "myfritz.net",
    "myftp.org",
    "no-ip.com",
    "no-ip.org",
    "noip.com",
    "nsupdate.info",
    "servebeer.com",
    "sytes.net",
    "ts.net",
    "zapto.org",
];

/// The private block (RFC 1918, RFC 4193, loopback) that an address lies in, so that a machine may be renumbered within
/// its site; else the address alone.
fn network_of(address: IpAddr) -> IpNet {
    const PRIVATE: [(IpAddr, u8); 5] = [
        (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
        (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
        (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
        (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
        (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    ];
    PRIVATE
        .into_iter()
        .filter_map(|(base, prefix)| IpNet::new(base, prefix).ok())
        .find(|network| network.contains(&address))
        .unwrap_or_else(|| address.into())
}

/// An address and a mask, as RFC 5280 4.2.1.10 writes a network.
fn network_in(bytes: &[u8]) -> Option<IpNet> {
    let (address, mask): (IpAddr, IpAddr) = match bytes.len() {
        8 => {
            let (address, mask) = bytes.split_at(4);
            (<[u8; 4]>::try_from(address).ok()?.into(), <[u8; 4]>::try_from(mask).ok()?.into())
        }
        32 => {
            let (address, mask) = bytes.split_at(16);
            (<[u8; 16]>::try_from(address).ok()?.into(), <[u8; 16]>::try_from(mask).ok()?.into())
        }
        _ => return None,
    };
    IpNet::with_netmask(address, mask).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<SiteName> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn draws_the_scope_narrowly() {
        for (name, domain) in [
            ("patches.site.example", "site.example"),
            ("*.site.example", "site.example"),
            ("a.b.site.example", "b.site.example"),
            ("site.example", "site.example"),
            ("shop.co.uk", "shop.co.uk"),
            ("node.shop.co.uk", "node.shop.co.uk"),
            ("node.school.nz", "node.school.nz"),
            ("node.site.de", "node.site.de"),
            ("x.duckdns.org", "x.duckdns.org"),
            ("a.x.duckdns.org", "a.x.duckdns.org"),
            ("x.notduckdns.org", "notduckdns.org"),
            ("vm.eastus.cloudapp.azure.com", "vm.eastus.cloudapp.azure.com"),
            ("vm", "vm"),
        ] {
            assert_eq!(domain_of(name), domain, "{name}");
        }
        let scope = Scope::around(&names(&["patches.site.example", "10.1.2.3", "203.0.113.9", "2001:db8::5"]));
        for (name, inside) in [
            ("other.site.example", true),
            ("site.example", true),
            ("x.y.site.example", true),
            ("website.example", false),
            ("example", false),
            ("localhost", true),
            ("10.200.0.1", true),
            ("203.0.113.9", true),
            ("203.0.113.10", false),
            ("192.168.0.1", false),
            ("2001:db8::5", true),
            ("2001:db8::6", false),
            ("::1", true),
        ] {
            assert_eq!(scope.permits(&name.parse().unwrap()), inside, "{name}");
        }
    }
}
