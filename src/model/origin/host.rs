//! Canonical hosts: one spelling for one host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::model::origin::OriginError;

/// The longest host name (RFC 1035 2.3.4, without the root's dot).
const NAME_BYTES_MAX: usize = 253;

/// The longest label of it.
const LABEL_BYTES_MAX: usize = 63;

/// A canonical host name or address literal: lower case, no trailing dot, IDN as punycode, no user info, no port. An
/// IPv4 address in dotted decimals whatever it was written as, an IPv6 address compressed and in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Box<str>);

impl Host {
    /// Canonicalises; refuses user info, ports, empty labels, and what IDNA refuses.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let fail = |why: &str| Err(OriginError::new(text, why));
        if text.len() > 4 * NAME_BYTES_MAX {
            return fail("it is too long for a host name");
        }
        if is_canonical(text) {
            return Self::domain(text, text);
        }
        // Strictly dotted decimals, without leading zeros: what the parser below would print.
        if text.parse::<Ipv4Addr>().is_ok() {
            return Ok(Self(text.into()));
        }
        if text.contains('@') {
            return fail("user info is not allowed; give the host alone");
        }
        if text.contains(['/', '\\', '?', '#']) {
            return fail("a host is wanted, without scheme, path and query");
        }
        let bracketed = text.starts_with('[') && text.ends_with(']');
        if text.contains(':') && !bracketed {
            return fail("a host is wanted, without a port (and an IPv6 address in brackets)");
        }
        match url::Host::parse(text) {
            Ok(url::Host::Domain(name)) => Self::domain(text, &name),
            Ok(literal) => Ok(Self(literal.to_string().into())),
            Err(error) => fail(&error.to_string()),
        }
    }

    /// What the parser left to check of a name: it decodes and maps, but DNS knows lengths and labels.
    fn domain(text: &str, name: &str) -> Result<Self, OriginError> {
        let fail = |why: &str| Err(OriginError::new(text, why));
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.len() > NAME_BYTES_MAX {
            return fail("a host name has at most 253 bytes");
        }
        for label in name.split('.') {
            if label.is_empty() {
                return fail("a label of the name is empty");
            }
            if label.len() > LABEL_BYTES_MAX {
                return fail("a label of a host name has at most 63 bytes");
            }
            // The URL parser lets more through than a name server or a certificate could carry; `*` among it.
            if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
                return fail("a host name is made of letters, digits, '-' and '_'");
            }
        }
        Ok(Self(name.into()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the host is a literal one.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Whether a parser would leave it as it is: a name of lower-case letters, digits, dots and hyphens that is no punycode, and
/// whose last label begins with a letter, so that it is no number. Every request names its host, nearly always like this.
fn is_canonical(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    last.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
        && !text.contains("xn--")
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_one_host() {
        let long = format!("{}.{}.{}.example", "a".repeat(63), "b".repeat(63), "c".repeat(63));
        for (given, canonical) in [
            ("dl.example.org", "dl.example.org"),
            ("DL.Example.ORG", "dl.example.org"),
            ("dl.example.org.", "dl.example.org"),
            ("%64l.example.org", "dl.example.org"),
            ("dl.example.org%2E", "dl.example.org"),
            ("dl%2eexample.org", "dl.example.org"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("dl。example.org", "dl.example.org"),
            ("ｄｌ.example.org", "dl.example.org"),
            ("localhost", "localhost"),
            ("a_b.example", "a_b.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("%31%32%37.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
            (&long, &long),
        ] {
            assert_eq!(Host::parse(given).map(|host| host.to_string()), Ok(canonical.to_owned()), "{given}");
        }
    }

    #[test]
    fn refuses_what_is_no_host() {
        let label = format!("{}.example", "a".repeat(64));
        let name = format!("{}example", "abcdefg.".repeat(32));
        let flood = "a".repeat(1 << 20);
        for given in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "user@host",
            "user:word@host",
            "host:80",
            "127.0.0.1:80",
            "[::1]:80",
            "::1",
            "http://host",
            "host/path",
            "host?query",
            "host#part",
            "ho st",
            "host\\x",
            "ho%20st",
            "ho%00st",
            "host%",
            "host%2",
            "host%3a80",
            "user%40host",
            "host%2fpath",
            "*.example.org",
            "[::1",
            "::1]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "1.2.3.4.5",
            "256.0.0.1",
            "0x100000000",
            "a.1",
            "xn--a",
            "ho\nst",
            "a,b",
            "a!b",
            &label,
            &name,
            &flood,
        ] {
            let refused = Host::parse(given).expect_err(given);
            assert!(refused.to_string().len() < 300, "{given:?}");
        }
    }

    #[test]
    fn a_literal_has_an_address() {
        let address = |text: &str| Host::parse(text).unwrap().address();
        assert_eq!(address("0x7f.1"), Some([127, 0, 0, 1].into()));
        assert_eq!(address("[::1]"), Some("::1".parse().unwrap()));
        assert_eq!(address("dl.example.org"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_for_canonical_is_left_as_it_is_by_the_parser(text in "[a-z0-9-]{0,6}(\\.[a-z0-9-]{1,6}){0,3}") {
            if is_canonical(&text) && Host::parse(&text).is_ok() {
                proptest::prop_assert_eq!(url::Host::parse(&text), Ok(url::Host::Domain(text.clone())));
            }
        }

        #[test]
        fn canonical_is_a_fixed_point(text in "\\PC{0,40}") {
            if let Ok(host) = Host::parse(&text) {
                proptest::prop_assert_eq!(Host::parse(host.as_str()).unwrap(), host);
            }
        }

        #[test]
        fn hosts_of_hosts_letters(text in "[a-zA-Z0-9.%\\-\\[\\]:_xX]{0,24}") {
            if let Ok(host) = Host::parse(&text) {
                proptest::prop_assert_eq!(Host::parse(host.as_str()).unwrap(), host);
            }
        }
    }
}
