//! Limits by the client's network. Pure.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::pace::class::Class;
use crate::pace::error::Error;
use crate::pace::schedule::{RULES_MAX, Schedule};

/// Networks with rules: each is looked at when a client of an unknown network comes.
pub const NETWORKS_MAX: usize = 1024;

/// The rules of one network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkRule {
    /// The network.
    pub network: IpNet,
    /// The length of the prefix by which it is divided; each part has a bucket of its own. The network's own length where it
    /// is not divided.
    pub each: u8,
    /// What holds for each part.
    pub schedule: Schedule,
}

impl NetworkRule {
    /// Reads rules like `"10.1.0.0/16: 50 Mbit/s"`, `"10.0.0.0/8 each /24: 08:00-18:00 Mon-Fri: 5 Mbit/s"`. Those of one
    /// network are looked at in their order, and must agree on how it is divided. The result has the longest prefixes first.
    pub fn parse_all<T: AsRef<str>>(texts: &[T]) -> Result<Vec<Self>, Error> {
        let many = |count| Err(Error::Many { count, max: NETWORKS_MAX });
        if texts.len() > NETWORKS_MAX * 8 {
            return many(texts.len());
        }
        let mut grouped: Vec<(IpNet, u8, Vec<&str>)> = Vec::new();
        for text in texts.iter().map(AsRef::as_ref) {
            let (network, each, rule) = split(text).map_err(|why| wrong(text, why))?;
            match grouped.iter_mut().find(|(other, ..)| *other == network) {
                None => grouped.push((network, each, vec![rule])),
                Some((_, other, _)) if *other != each => {
                    return Err(wrong(text, format!("another rule divides {network} by /{other}")));
                }
                Some((_, _, rules)) if rules.len() >= RULES_MAX => {
                    return Err(Error::Many { count: rules.len() + 1, max: RULES_MAX });
                }
                Some((_, _, rules)) => rules.push(rule),
            }
        }
        if grouped.len() > NETWORKS_MAX {
            return many(grouped.len());
        }
        let mut rules = Vec::with_capacity(grouped.len());
        for (network, each, texts) in grouped {
            let schedule = Schedule::parse(&texts)?;
            if schedule.pauses() {
                return Err(Error::Unpausable { class: Class::Clients.word() });
            }
            rules.push(Self { network, each, schedule });
        }
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.network.prefix_len()));
        Ok(rules)
    }

    /// The part of the network that `client` belongs to; `None` where it belongs to none.
    pub fn part_of(&self, client: IpAddr) -> Option<IpNet> {
        if !self.network.contains(&client) {
            return None;
        }
        IpNet::new(client, self.each).ok().map(|part| part.trunc())
    }
}

fn wrong(text: &str, why: String) -> Error {
    Error::Network { text: text.chars().take(80).collect(), why }
}

/// Network, division, and the rest.
fn split(text: &str) -> Result<(IpNet, u8, &str), String> {
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).ok_or("it has no rate")?;
    let rest = rest.trim_start();
    let (name, each, rest) = if let Some(name) = first.strip_suffix(':') {
        (name, None, rest)
    } else {
        let rest = rest.strip_prefix("each").ok_or("behind the network a colon is missing")?;
        let (each, rest) = rest.split_once(':').ok_or("behind the network a colon is missing")?;
        (first, Some(each.trim()), rest.trim_start())
    };
    let network = name
        .parse::<IpNet>()
        .or_else(|_| name.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{name:?} is no network"))?
        .trunc();
    let own = network.prefix_len();
    let each = match each {
        None => own,
        Some(each) => each
            .strip_prefix('/')
            .and_then(|length| length.parse().ok())
            .filter(|length| (own..=network.max_prefix_len()).contains(length))
            .ok_or_else(|| format!("{each:?} divides it by no prefix from /{own} to /{}", network.max_prefix_len()))?,
    };
    Ok((network, each, rest))
}

impl fmt::Display for NetworkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)?;
        if self.each == self.network.prefix_len() { Ok(()) } else { write!(f, " each /{}", self.each) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(rules: &[&str], client: &str) -> Option<(String, String)> {
        let rules = NetworkRule::parse_all(rules).unwrap();
        let client = client.parse().unwrap();
        rules.iter().find_map(|rule| Some((rule.to_string(), rule.part_of(client)?.to_string())))
    }

    #[test]
    fn the_longest_prefix_decides_and_parts_are_told_apart() {
        let rules = [
            "10.0.0.0/8 each /24: 20 Mbit/s",
            "10.1.0.0/16: 50 Mbit/s",
            "2001:db8::/32 each /64: 08:00-18:00 Mon-Fri: 5 Mbit/s",
            "192.0.2.7: 1 MB/s",
        ];
        let part = |client| parts(&rules, client).map(|(rule, part)| format!("{rule} | {part}"));
        assert_eq!(part("10.9.8.7").unwrap(), "10.0.0.0/8 each /24 | 10.9.8.0/24");
        assert_eq!(part("10.1.8.7").unwrap(), "10.1.0.0/16 | 10.1.0.0/16");
        assert_eq!(part("2001:db8:1:2::3").unwrap(), "2001:db8::/32 each /64 | 2001:db8:1:2::/64");
        assert_eq!(part("192.0.2.7").unwrap(), "192.0.2.7/32 | 192.0.2.7/32");
        assert_eq!(part("192.0.2.8"), None);
    }

    #[test]
    fn rules_of_one_network_belong_together() {
        let rules = NetworkRule::parse_all(&["10.0.0.0/8: Sat-Sun: unlimited", "10.9.9.9/8: 1 MB/s"]).unwrap();
        assert_eq!((rules.len(), rules[0].schedule.rates().min()), (1, Some(1_000_000)));
        let refused = |texts: &[&str]| NetworkRule::parse_all(texts).unwrap_err().to_string();
        assert!(refused(&["10.0.0.0/8: 1 MB/s", "10.0.0.0/8 each /24: 1 MB/s"]).contains("another rule"));
        assert!(refused(&["10.0.0.0/8: paused"]).contains("cannot be paused"));
        assert!(refused(&["10.0.0.0/8 each /4: 1 MB/s"]).contains("no prefix"));
        assert!(refused(&["10.0.0.0/8 1 MB/s"]).contains("colon"));
        assert!(refused(&["10.0.0.0/33: 1 MB/s"]).contains("no network"));
        assert!(refused(&["10.0.0.0/8:"]).contains("no rate"));
        assert!(refused(&["10.0.0.0/8: 08:00-18:00"]).contains("no rate"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[0-9a-f:./ ]{0,30}(each)?[ /0-9:]{0,10}.{0,10}") {
            let _ = NetworkRule::parse_all(&[text]);
        }
    }
}
