//! Which addresses are on the public internet: what an origin's name may resolve to.
//!
//! Sources: the IANA special-purpose address registries (RFC 6890 and what it was updated by), and the addresses under
//! which clouds serve their machines' secrets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 blocks (base, prefix length) that are not on the public internet.
const PRIVATE_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),        // this network (RFC 791); Linux connects 0.0.0.0 to itself
    ([10, 0, 0, 0], 8),       // private (RFC 1918)
    ([100, 64, 0, 0], 10),    // carrier-grade NAT (RFC 6598); 100.100.100.200 is a cloud's metadata
    ([127, 0, 0, 0], 8),      // loopback (RFC 1122)
    ([168, 63, 129, 16], 32), // a cloud's host agent: public by number, never outside of the machine's own host
    ([169, 254, 0, 0], 16),   // link-local (RFC 3927); 169.254.169.254 is the clouds' metadata
    ([172, 16, 0, 0], 12),    // private (RFC 1918)
    ([192, 0, 0, 0], 24),     // protocol assignments (RFC 6890); 192.0.0.192 is a cloud's metadata
    ([192, 0, 2, 0], 24),     // documentation (RFC 5737)
    ([192, 88, 99, 0], 24),   // 6to4 relays, withdrawn (RFC 7526)
    ([192, 168, 0, 0], 16),   // private (RFC 1918)
    ([198, 18, 0, 0], 15),    // benchmarking (RFC 2544)
    ([198, 51, 100, 0], 24),  // documentation (RFC 5737)
    ([203, 0, 113, 0], 24),   // documentation (RFC 5737)
    ([224, 0, 0, 0], 4),      // multicast (RFC 5771)
    ([240, 0, 0, 0], 4),      // reserved and broadcast (RFC 1112)
];

/// IPv6 blocks inside 2000::/3 that are not on the public internet. Nothing outside 2000::/3 is (loopback, unique local
/// fc00::/7, link-local fe80::/10, site-local fec0::/10, multicast ff00::/8, discard 100::/64, IPv4-compatible, ...),
/// but for addresses that carry an IPv4 one, which are judged by it.
const PRIVATE_V6: &[([u16; 8], u32)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments (RFC 2928): Teredo is judged before, ORCHID, benchmarking
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation (RFC 3849)
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation (RFC 9637)
];

/// Whether an address is on the public internet: not private, loopback, link-local, metadata, multicast, reserved, for
/// documentation or benchmarks, nor an IPv6 address that leads to such an IPv4 one (mapped, NAT64, 6to4, Teredo).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !PRIVATE_V4.iter().any(|(base, prefix)| {
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        address.to_bits() & mask == Ipv4Addr::from(*base).to_bits()
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    let v4 = |shift: u32| Ipv4Addr::from((bits >> shift) as u32);
    match address.segments() {
        // Mapped (RFC 4291 2.5.5.2): the system connects by IPv4. NAT64 by the well-known prefix (RFC 6052): what DNS64
        // makes of public names. The prefix for local use, 64:ff9b:1::/48 (RFC 8215), puts the IPv4 address where each
        // site likes, so it cannot be judged: refused.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(v4(0)),
        // 6to4 (RFC 3056): bits 16 to 48.
        [0x2002, ..] => is_public_v4(v4(80)),
        // Teredo (RFC 4380): the server in bits 32 to 64, the client inverted in the last 32.
        [0x2001, 0, ..] => is_public_v4(v4(64)) && is_public_v4(Ipv4Addr::from(!(bits as u32))),
        _ => {
            let within = |base: &[u16; 8], prefix: u32| {
                let mask = u128::MAX << (128 - prefix);
                bits & mask == Ipv6Addr::from(*base).to_bits()
            };
            within(&[0x2000, 0, 0, 0, 0, 0, 0, 0], 3) && !PRIVATE_V6.iter().any(|(base, prefix)| within(base, *prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(public: bool, addresses: &[&str]) {
        for text in addresses {
            assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
        }
    }

    #[test]
    fn the_edges_of_every_ipv4_block() {
        // First and last of each block, and its neighbours.
        for (first, last, before, after) in [
            ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            ("168.63.129.16", "168.63.129.16", Some("168.63.129.15"), Some("168.63.129.17")),
            ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
            ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
            ("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None),
        ] {
            check(false, &[first, last]);
            check(true, &before.into_iter().chain(after).collect::<Vec<_>>());
        }
        check(false, &["169.254.169.254", "100.100.100.200", "240.0.0.1", "239.255.255.250"]);
        check(true, &["8.8.8.8", "13.107.4.50", "20.190.160.1"]);
    }

    #[test]
    fn ipv6_blocks() {
        check(true, &["2600::1", "2a00:1450::1", "2001:200::1", "2001:4860:4860::8888", "3ffe::1", "2003::1"]);
        check(
            false,
            &[
                "::",
                "::1",
                "::2",
                "fc00::1",
                "fd00:ec2::254",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
                "100::1",
                "2001:db8::1",
                "2001:2::1",
                "2001:10::1",
                "2001:20::1",
                "2001:1ff:ffff::1",
                "3fff::1",
                "3fff:fff:ffff::1",
                "4000::1",
                "1fff::1",
                "5f00::1",
            ],
        );
    }

    #[test]
    fn ipv4_inside_ipv6_is_judged_by_it() {
        for (private, public) in [
            ("::ffff:127.0.0.1", "::ffff:8.8.8.8"),
            ("::ffff:169.254.169.254", "::ffff:1.1.1.1"),
            ("64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8"),
            ("64:ff9b::7f00:1", "64:ff9b::808:808"),
            ("2002:c0a8:1::1", "2002:808:808::1"),
            ("2002:7f00:1::", "2002:101:101::"),
            // Teredo: a public server, and a client that is 192.168.0.1 or 8.8.8.8 inverted.
            ("2001:0:4136:e378:8000:63bf:3f57:fffe", "2001:0:4136:e378:8000:63bf:f7f7:f7f7"),
            // ... and a private server.
            ("2001:0:a00:1:8000:63bf:f7f7:f7f7", "2001:0:808:808:0:0:f7f7:f7f7"),
        ] {
            check(false, &[private]);
            check(true, &[public]);
        }
        // Compatible (withdrawn), translated, and the NAT64 prefix for local use cannot be anyone's public address.
        check(false, &["::127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b:1::8.8.8.8", "64:ff9b:1::10.0.0.1"]);
    }
}
