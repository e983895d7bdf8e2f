//! The `[proxy]` section: which requests go through a proxy, and through which.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

use crate::base::secret::Secret;
use crate::model::origin::Host;
use crate::upstream::error::Error;

/// The `[proxy]` section, resolved.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// `http://`, `https://`, `socks5://`, `socks5h://`, `socks4://`; none: direct.
    pub url: Option<String>,
    /// The user that the proxy is told, if any.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Who is asked directly: hosts (with what is below them), addresses, networks in CIDR form, `*` for all, each with
    /// a port if it goes for that one only. Networks match address literals: names are not resolved for this.
    pub no_proxy: Vec<String>,
}

/// The section, checked.
#[derive(Clone, Debug)]
pub(super) struct Through {
    /// The proxy as messages name it: without credentials.
    pub(super) label: String,
    /// The proxy's host, for the resolver.
    pub(super) host: String,
    /// With credentials.
    url: Secret,
    not: Vec<Not>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Not {
    port: Option<u16>,
    who: Who,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    All,
    /// This host and what is below it.
    Name(String),
    Net(IpNet),
}

fn refuse<T>(what: &str, why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config { what: what.to_owned(), why: why.into() })
}

impl Through {
    /// Checks the section; `None` where there is no proxy.
    pub(super) fn new(config: &Proxy) -> Result<Option<Self>, Error> {
        let Some(text) = config.url.as_deref() else { return Ok(None) };
        let key = "[proxy] url";
        // Its text may carry a password, so it is not repeated.
        let Ok(mut url) = Url::parse(text) else {
            return refuse(key, "it is no URL; write it like http://proxy.example.org:3128");
        };
        if !["http", "https", "socks4", "socks4a", "socks5", "socks5h"].contains(&url.scheme()) {
            return refuse(key, format!("{:?} is none of http, https, socks4, socks5, socks5h", url.scheme()));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()).map(str::to_owned) else {
            return refuse(key, "it names no host");
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return refuse(key, "a proxy has no path; give scheme, host and port");
        }
        let default = if url.scheme().starts_with("socks") { 1080 } else { 80 };
        let port = url.port_or_known_default().unwrap_or(default);
        let label = format!("{}://{host}:{port}", url.scheme());
        if let Some(username) = config.username.as_deref().filter(|name| !name.is_empty()) {
            let password = config.password.as_ref().map(Secret::expose);
            if url.set_username(username).is_err() || url.set_password(password).is_err() {
                return refuse("[proxy] username", "it cannot be joined to the proxy's URL");
            }
        }
        if url.scheme().starts_with("socks4") && !url.username().is_empty() {
            return refuse("[proxy] username", "SOCKS 4 knows no credentials; use socks5 or leave the name out");
        }
        let not = config.no_proxy.iter().map(|text| Not::parse(text)).collect::<Result<_, _>>()?;
        Ok(Some(Self { label, host, url: Secret::new(url.into()), not }))
    }

    /// Whether this host is asked through the proxy.
    pub(super) fn takes(&self, host: &Host, port: u16) -> bool {
        !self.not.iter().any(|not| not.matches(host, port))
    }

    /// For the client library.
    pub(super) fn client(&self) -> Result<reqwest::Proxy, Error> {
        reqwest::Proxy::all(self.url.expose()).or_else(|error| refuse("[proxy] url", error.without_url().to_string()))
    }

    /// Host and port of the proxy itself.
    pub(super) fn address(&self) -> (String, u16) {
        let port = self.label.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        (self.host.clone(), port.unwrap_or(80))
    }
}

impl Not {
    fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self { port: None, who: Who::All });
        }
        if let Some(net) = net(text) {
            return Ok(Self { port: None, who: Who::Net(net) });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => match port.parse::<u16>() {
                Ok(port) => (name, Some(port)),
                Err(_) => return refuse("[proxy] no_proxy", format!("the port in {text:?} is no number")),
            },
            None => (text, None),
        };
        if let Some(net) = net(name.trim_start_matches('[').trim_end_matches(']')) {
            return Ok(Self { port, who: Who::Net(net) });
        }
        let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
        match Host::parse(name) {
            Ok(host) => Ok(Self { port, who: Who::Name(host.to_string()) }),
            Err(error) => refuse("[proxy] no_proxy", error.to_string()),
        }
    }

    fn matches(&self, host: &Host, port: u16) -> bool {
        let who = match &self.who {
            Who::All => true,
            Who::Name(name) => {
                let front = host.as_str().strip_suffix(name.as_str());
                front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
            }
            Who::Net(net) => host.address().is_some_and(|address| net.contains(&address)),
        };
        who && self.port.is_none_or(|only| only == port)
    }
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(url: &str, not: &[&str]) -> Result<Option<Through>, Error> {
        let no_proxy = not.iter().map(|text| (*text).to_owned()).collect();
        let password = Some(Secret::new("p@ss:w/rd".to_owned()));
        Through::new(&Proxy { url: Some(url.to_owned()), username: Some("us er".to_owned()), password, no_proxy })
    }

    #[test]
    fn who_goes_around_it() {
        let some = through(
            "http://proxy.example:3128",
            &[
                "direct.example",
                ".sub.example",
                "*.star.example",
                "10.0.0.0/8",
                "192.0.2.7",
                "fd00::/8",
                "port.example:8080",
                "[::1]:80",
            ],
        );
        let some = some.unwrap().unwrap();
        for (host, port, takes) in [
            ("direct.example", 80, false),
            ("x.direct.example", 80, false),
            ("notdirect.example", 80, true),
            ("a.sub.example", 80, false),
            ("a.star.example", 80, false),
            ("10.1.2.3", 80, false),
            ("11.1.2.3", 80, true),
            ("192.0.2.7", 443, false),
            ("192.0.2.8", 443, true),
            ("[fd00::1]", 80, false),
            ("[2600::1]", 80, true),
            ("port.example", 8080, false),
            ("port.example", 80, true),
            ("[::1]", 80, false),
            ("[::1]", 81, true),
        ] {
            assert_eq!(some.takes(&Host::parse(host).unwrap(), port), takes, "{host}:{port}");
        }
        assert!(!through("http://p", &["*"]).unwrap().unwrap().takes(&Host::parse("any.example").unwrap(), 80));
        assert!(Through::new(&Proxy::default()).unwrap().is_none());
    }

    #[test]
    fn credentials_show_nowhere() {
        for url in
            ["http://proxy.example:3128", "socks5://proxy.example", "socks5h://[::1]:1080", "https://proxy.example"]
        {
            let through = through(url, &[]).unwrap().unwrap();
            assert!(!format!("{through:?}").contains("p@ss") && !through.label.contains("us"), "{through:?}");
            assert!(!format!("{through:?}").contains("p%40ss"), "{through:?}");
            assert!(through.client().is_ok(), "{url}");
        }
        assert_eq!(through("socks5://proxy.example", &[]).unwrap().unwrap().address(), ("proxy.example".into(), 1080));
    }

    #[test]
    fn refuses_what_is_no_proxy() {
        for (url, not) in [
            ("proxy:3128", None),
            ("ftp://proxy", None),
            ("http://", None),
            ("http://proxy/path", None),
            ("socks4://proxy", None),
            ("http://proxy", Some("a..b")),
            ("http://proxy", Some("host:port")),
        ] {
            let not: Vec<&str> = not.into_iter().collect();
            assert!(matches!(through(url, &not), Err(Error::Config { .. })), "{url} {not:?}");
        }
    }
}
