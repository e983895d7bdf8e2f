//! Endpoints: what becomes of those that were never seen, by default and by network.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::app::config::kinds::{Kind, items, text};
use crate::fleet::registry::Admit;
use crate::model::settings::Raw;

/// Networks with words: each new endpoint is held against all of them.
const NETWORKS_MAX: usize = 1000;

fn words() -> String {
    Admit::WORDS.map(|(word, _)| format!("\"{word}\"")).join(" or ")
}

impl Kind for Admit {
    fn expected() -> String {
        words()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        Self::of_word(text(raw)?).ok_or_else(String::new)
    }
}

/// What holds for networks instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdmitByNetwork(pub(crate) Vec<(IpNet, Admit)>);

impl Kind for AdmitByNetwork {
    const LIST: bool = true;
    fn expected() -> String {
        "networks with what holds there, such as [\"10.1.0.0/16: accept\", \"10.9.0.0/16: hold\", \"2001:db8::/32: refuse\"]"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let items = items(raw)?;
        if items.len() > NETWORKS_MAX {
            return Err(format!("{} networks are more than {NETWORKS_MAX}", items.len()));
        }
        let mut all: Vec<(IpNet, Admit)> = Vec::with_capacity(items.len());
        for item in items {
            // An IPv6 network has colons of its own: the last one stands before the word.
            let (network, word) = item.rsplit_once(':').ok_or_else(|| format!("{item:?} has no colon"))?;
            let (network, word) = (network.trim(), word.trim());
            let admit = Admit::of_word(word).ok_or_else(|| format!("{word:?} in {item:?} is none of {}", words()))?;
            let read = network.parse::<IpNet>().or_else(|_| network.parse::<IpAddr>().map(IpNet::from));
            let network = read.map_err(|_| format!("{network:?} in {item:?} is no network"))?.trunc();
            if all.iter().any(|(known, _)| *known == network) {
                return Err(format!("{network} stands there twice"));
            }
            all.push((network, admit));
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_words() {
        let raw = Raw::List(vec!["10.9.1.2/16: hold".into(), "2001:db8::/32:refuse".into(), "fe80::1: accept".into()]);
        let told: Vec<String> =
            AdmitByNetwork::read(&raw).unwrap().0.iter().map(|(at, admit)| format!("{at} {admit:?}")).collect();
        assert_eq!(told, ["10.9.0.0/16 Hold", "2001:db8::/32 Refuse", "fe80::1/128 Accept"]);
        for (wrong, why) in [
            ("10.0.0.0/8", "no colon"),
            ("10.0.0.0/8: deny", "none of"),
            ("10.0.0.0/33: hold", "no network"),
            ("2001:db8::/32", "none of"),
        ] {
            assert!(AdmitByNetwork::read(&wrong.into()).unwrap_err().contains(why), "{wrong}");
        }
        let twice = Raw::List(vec!["10.0.0.0/8: hold".into(), "10.1.0.0/8: accept".into()]);
        assert!(AdmitByNetwork::read(&twice).unwrap_err().contains("twice"));
        assert_eq!(Admit::read(&" hold ".into()).unwrap(), Admit::Hold);
        assert!(Admit::read(&"deny".into()).is_err() && Admit::expected().contains("\"hold\" or \"refuse\""));
    }
}
