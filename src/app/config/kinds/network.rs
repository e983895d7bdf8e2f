//! Addresses, names, networks and URLs.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use crate::app::config::kinds::{Kind, items, text};
use crate::model::origin::AllowList;
use crate::model::settings::Raw;

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        if text.parse::<u16>().is_ok() {
            format!("{text:?} is a port alone: write \"0.0.0.0:{text}\" for all addresses")
        } else if text.parse::<IpAddr>().is_ok() {
            format!("{text:?} names no port")
        } else {
            format!("{text:?} is none (a name is not resolved here)")
        }
    })
}

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(pub(crate) Vec<SocketAddr>);

impl Kind for Addresses {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several addresses with ports, such as \"0.0.0.0:3698\" or [\"0.0.0.0:80\", \"[::]:3698\"]".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let mut addresses = Vec::new();
        for item in items(raw)? {
            let address = socket(item)?;
            if addresses.contains(&address) {
                return Err(format!("{address} stands there twice"));
            }
            addresses.push(address);
        }
        Ok(Self(addresses))
    }
}

/// One address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) Option<SocketAddr>);

impl Kind for Address {
    fn expected() -> String {
        "an address with its port, such as \"127.0.0.1:6202\", or \"\" for none".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)? {
            "" => Ok(Self(None)),
            text => socket(text).map(Some).map(Self),
        }
    }
}

/// Names or addresses by which clients call the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostNames(pub(crate) Vec<String>);

impl Kind for HostNames {
    const LIST: bool = true;
    fn expected() -> String {
        "host names or addresses without ports, such as [\"patches.site.example\", \"10.0.0.5\"]".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let mut names = Vec::new();
        for item in items(raw)? {
            let name = item.trim_end_matches('.').to_ascii_lowercase();
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            };
            if name.parse::<IpAddr>().is_err() && (name.len() > 253 || !name.split('.').all(label)) {
                return Err(format!("{item:?} is none"));
            }
            names.push(name);
        }
        Ok(Self(names))
    }
}

/// Names of servers, or the ends of names behind `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accounts(pub(crate) Vec<String>);

impl Kind for Accounts {
    const LIST: bool = true;
    fn expected() -> String {
        "names of servers, such as [\"wsus.site.example\", \"*.munich.example\"]".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let mut accounts = Vec::new();
        for item in items(raw)? {
            let (any, name) = item.strip_prefix("*.").map_or(("", item), |name| ("*.", name));
            let one = Raw::List(vec![name.to_owned()]);
            let names = HostNames::read(&one).map_err(|_| format!("{item:?} is none"))?.0;
            accounts.extend(names.into_iter().map(|name| format!("{any}{name}")));
        }
        Ok(Self(accounts))
    }
}

/// Entries of the allow-list, each in the form that the list takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginEntries(pub(crate) Vec<String>);

impl Kind for OriginEntries {
    const LIST: bool = true;
    fn expected() -> String {
        "origins, such as [\"*.example.org\", \"https://dl.example.org\", \"127.0.0.1:8000\", \"!download.nvidia.com\"]"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let entries: Vec<String> = items(raw)?.into_iter().map(str::to_owned).collect();
        AllowList::new(&entries).map(|_| Self(entries)).map_err(|error| error.to_string())
    }
}

/// IP networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

impl Kind for Networks {
    const LIST: bool = true;
    fn expected() -> String {
        "networks, such as [\"10.1.0.0/16\", \"192.0.2.7\", \"2001:db8::/32\"]".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let network = |item: &str| {
            item.parse::<IpNet>()
                .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
                .map(|network| network.trunc())
                .map_err(|_| format!("{item:?} is none"))
        };
        items(raw)?.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// Checks a URL of an allowed scheme with a host and no user information; the error never repeats it.
fn url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let parsed = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    if !schemes.contains(&parsed.scheme()) {
        return Err(format!("its scheme is none of {}", schemes.join(", ")));
    }
    if !parsed.has_host() {
        return Err("it names no host".into());
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("it carries a user name or a password: they belong into [proxy] username and password_file".into());
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err("it carries a query or a fragment".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Base URLs of nodes and servers above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Urls(pub(crate) Vec<String>);

impl Kind for Urls {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several URLs, such as \"http://wsus.example.org:8530\"".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        items(raw)?.into_iter().map(|item| url(item, &["http", "https"])).collect::<Result<_, _>>().map(Self)
    }
}

/// A base URL, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UrlText(pub(crate) Option<String>);

impl Kind for UrlText {
    fn expected() -> String {
        "a URL such as \"http://patches.site.example:3698\", or \"\" to name none".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)? {
            "" => Ok(Self(None)),
            text => url(text, &["http", "https"]).map(Some).map(Self),
        }
    }
}

/// The schemes of proxies.
const PROXY_SCHEMES: &[&str] = &["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The URL of a proxy, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyUrl(pub(crate) Option<String>);

impl Kind for ProxyUrl {
    fn expected() -> String {
        "the URL of a proxy, such as \"http://proxy.example.org:3128\" or \"socks5h://proxy.example.org:1080\", or \"\" for none"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)? {
            "" => Ok(Self(None)),
            text => url(text, PROXY_SCHEMES).map(Some).map(Self),
        }
    }
}

/// Which proxy the upstream is asked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProxyChoice {
    /// None at all.
    None,
    /// That of `[proxy]`.
    Global,
    /// Another one.
    Url(String),
}

impl Kind for ProxyChoice {
    fn expected() -> String {
        "\"none\", \"global\" or the URL of a proxy, such as \"http://proxy.example.org:3128\"".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)? {
            "none" => Ok(Self::None),
            "global" => Ok(Self::Global),
            text => url(text, PROXY_SCHEMES).map(Self::Url),
        }
    }
}

/// Which proxy the sync service is asked through; `None`: the one that all else is asked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyncProxy(pub(crate) Option<ProxyChoice>);

impl Kind for SyncProxy {
    fn expected() -> String {
        "\"upstream\" (as upstream.proxy says), \"none\", \"global\" or the URL of a proxy, such as \"http://proxy.example.org:3128\""
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)? {
            "upstream" => Ok(Self(None)),
            _ => ProxyChoice::read(raw).map(Some).map(Self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_value_stands_for_a_list() {
        let one = Addresses::read(&"0.0.0.0:3698".into()).unwrap();
        let list = Addresses::read(&Raw::List(vec!["0.0.0.0:3698".into()])).unwrap();
        assert_eq!(one, list);
        assert_eq!(Addresses::read(&Raw::none()).unwrap().0, []);
        assert!(Addresses::read(&"3698".into()).unwrap_err().contains("\"0.0.0.0:3698\""));
        assert!(Addresses::read(&Raw::List(vec!["1.2.3.4:5".into(), "1.2.3.4:5".into()])).is_err());
        assert!(Addresses::read(&Raw::Number(3698)).is_err());
        assert!(Networks::read(&"10.0.0.0/33".into()).is_err());
        assert_eq!(Networks::read(&"10.1.2.3".into()).unwrap().0[0].to_string(), "10.1.2.3/32");
    }

    #[test]
    fn names_are_names() {
        assert_eq!(HostNames::read(&"Patches.Site.Example.".into()).unwrap().0, ["patches.site.example"]);
        assert_eq!(Accounts::read(&"*.Munich.Example".into()).unwrap().0, ["*.munich.example"]);
        for wrong in ["http://x", "a b", "x:80", "a..b"] {
            assert!(HostNames::read(&wrong.into()).is_err(), "{wrong:?}");
            assert!(Accounts::read(&format!("*.{wrong}").as_str().into()).is_err(), "{wrong:?}");
        }
    }
}
