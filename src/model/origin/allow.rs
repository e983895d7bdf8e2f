//! The allow-list: the shipped entries, with the configured ones on top.
//!
//! A host is looked for among the configured entries first, the most specific one (the host itself, then the longest
//! wildcard) before the others; only where none matches, among the shipped ones. So a configured entry may change port
//! and scheme of a shipped host, and `!host` takes it away, whatever the order in which the entries are written.

use std::collections::HashMap;

use crate::model::origin::shipped::SHIPPED;
use crate::model::origin::{Host, OriginError, is_public};

/// Entries in the configuration: bounds the map and what `check-config` prints. A site has dozens.
const ENTRIES_MAX: usize = 10_000;

/// What an allow-list lets through for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The scheme to ask with (`http` unless the entry says `https`).
    pub https: bool,
    /// The port to ask at.
    pub port: u16,
    /// The entry names a private or loopback address literally, so it may be connected to.
    pub private: bool,
    /// The entry as written, for `explain`.
    pub entry: String,
    /// One of Microsoft's delivery hosts (shipped list): file-name digests are trusted from it.
    pub microsoft: bool,
}

impl Permit {
    /// Whether the entry is written with `http://`, so that a redirect from https may lead there.
    pub fn allows_downgrade(&self) -> bool {
        scheme_of(&self.entry).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
    }
}

/// What one reading of the entries gives; it does not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    configured: Rules,
    shipped: Rules,
    warnings: Vec<String>,
}

/// Entries by what they match: the canonical host itself, or the base of a wildcard. Several of one host differ in port;
/// the first is the one that is asked where no port is named.
#[derive(Clone, Debug, Default)]
struct Rules {
    exact: HashMap<String, Vec<Entry>>,
    wild: HashMap<String, Vec<Entry>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    text: String,
    /// `!`: what matches is refused.
    removes: bool,
    /// The scheme as written.
    scheme: Option<Scheme>,
    /// The port as written.
    port: Option<u16>,
    private: bool,
    microsoft: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Entry {
    fn https(&self) -> bool {
        self.scheme == Some(Scheme::Https)
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(if self.https() { 443 } else { 80 })
    }

    /// Whether it is asked at its scheme's own port.
    fn ordinary_port(&self) -> bool {
        self.port() == if self.https() { 443 } else { 80 }
    }
}

impl Listed {
    /// The shipped list and then `entries` on top: `*.host`, `host`, `https://host`, `host:port`, `!host` removes.
    pub(super) fn new(entries: &[String]) -> Result<Self, OriginError> {
        if entries.len() > ENTRIES_MAX {
            return Err(OriginError::new("allow", format!("{} entries are more than {ENTRIES_MAX}", entries.len())));
        }
        let mut list = Self::default();
        for row in SHIPPED {
            let (host, wild) = pattern(row.pattern)?;
            let entry = Entry {
                text: row.pattern.to_owned(),
                removes: false,
                scheme: row.https.then_some(Scheme::Https),
                port: None,
                private: false,
                microsoft: row.microsoft,
            };
            list.shipped.add(host.as_str(), wild, entry);
        }
        for text in entries {
            list.configure(text)?;
        }
        for (host, wild, entry) in list.configured.entries().filter(|(_, _, entry)| entry.removes) {
            if !list.covers(host, wild) {
                list.warnings.push(format!(
                    "allow entry {:?} removes nothing: no shipped or configured entry lets that host through",
                    entry.text
                ));
            }
        }
        list.warnings.sort();
        Ok(list)
    }

    fn configure(&mut self, text: &str) -> Result<(), OriginError> {
        let (host, wild, entry) = parse(text)?;
        let rules = self.configured.of(wild).get(host.as_str());
        if let Some(first) = rules.and_then(|entries| entries.first()) {
            let now = if entry.removes == first.removes && !entry.removes && entry.port() != first.port() {
                format!("it is asked only where a request names port {}", entry.port())
            } else {
                "it has no effect".to_owned()
            };
            self.warnings.push(format!(
                "allow entries {:?} and {:?} are of one host: the first wins, and of the second {now}",
                first.text, entry.text
            ));
        }
        if wild && !entry.removes && !host.as_str().contains('.') {
            self.warnings.push(format!("allow entry {text:?} lets every host of a whole top-level domain through"));
        }
        if host.as_str() == "localhost" && !entry.removes {
            self.warnings.push(format!(
                "allow entry {text:?} cannot be asked: a name that leads to a private address is refused, write 127.0.0.1"
            ));
        }
        self.configured.add(host.as_str(), wild, entry);
        Ok(())
    }

    /// The permit for `host`; `port` where the asker named one (`None`: the entry's, else 80).
    ///
    /// Naming 80 or 443 is naming none where the entry has its scheme's own port: a client writes the port under which
    /// it reached this node, and what the origin is asked with is the entry's business.
    pub(super) fn permit(&self, host: &Host, port: Option<u16>) -> Option<Permit> {
        let entries = self.find(host)?;
        let fits = |entry: &&Entry| match port {
            None => true,
            Some(port) => port == entry.port() || ((port == 80 || port == 443) && entry.ordinary_port()),
        };
        entries.iter().find(fits).map(|entry| self.grant(host, entry, entry.https(), entry.port()))
    }

    /// The permit for exactly this scheme, host and port: what a redirect or a location in a catalog leads to. An entry
    /// without scheme and port lets `https` through at 443 too; none lets `http` through where it says `https`.
    pub(super) fn admits(&self, https: bool, host: &Host, port: u16) -> Option<Permit> {
        let fits = |entry: &&Entry| {
            let same = entry.https() == https && entry.port() == port;
            let raised = https && port == 443 && !entry.https() && entry.ordinary_port();
            !entry.removes && (same || raised)
        };
        self.find(host)?.iter().find(fits).map(|entry| self.grant(host, entry, https, port))
    }

    /// What `check-config` should warn of: two entries of one host, entries that remove nothing, ...
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// The configured hosts that are let through by name or literally, each with every scheme and port that an entry gives
    /// it, as `scheme://host[:port]`: what `doctor` tests where nothing else is said. Wildcards name no host that could be
    /// asked.
    pub(super) fn configured_hosts(&self) -> Vec<String> {
        let hosts = self.configured.exact.keys().filter_map(|host| Host::parse(host).ok());
        let url = |host: &Host, entry: &Entry| match (entry.https(), entry.ordinary_port()) {
            (true, true) => format!("https://{host}"),
            (false, true) => format!("http://{host}"),
            (true, false) => format!("https://{host}:{}", entry.port()),
            (false, false) => format!("http://{host}:{}", entry.port()),
        };
        let mut urls: Vec<String> = hosts
            .flat_map(|host| {
                let entries = self.find(&host).unwrap_or_default().iter().filter(|entry| !entry.removes);
                entries.map(|entry| url(&host, entry)).collect::<Vec<_>>()
            })
            .collect();
        urls.sort();
        urls.dedup();
        urls
    }

    /// The entries that decide for `host`, unless the first of them refuses it.
    fn find(&self, host: &Host) -> Option<&[Entry]> {
        let entries = self.configured.find(host).or_else(|| self.shipped.find(host))?;
        entries.first().filter(|entry| !entry.removes).map(|_| entries)
    }

    fn grant(&self, host: &Host, entry: &Entry, https: bool, port: u16) -> Permit {
        let shipped = || self.shipped.find(host).is_some_and(|entries| entries.iter().any(|entry| entry.microsoft));
        Permit {
            https,
            port,
            private: entry.private,
            entry: entry.text.clone(),
            // A configured entry with a port of its own is somebody's mirror under Microsoft's name.
            microsoft: (port == 80 || port == 443) && (entry.microsoft || shipped()),
        }
    }

    /// Whether any entry that lets through matches what a removal of this host (or of these hosts) would take away.
    fn covers(&self, host: &str, wild: bool) -> bool {
        let under = |name: &str| name.strip_suffix(host).is_some_and(|front| front.ends_with('.'));
        let allows = |entries: &[Entry]| entries.iter().any(|entry| !entry.removes);
        [&self.configured, &self.shipped].into_iter().any(|rules| {
            let by_wildcard = parents(host).any(|parent| rules.wild.get(parent).is_some_and(|found| allows(found)));
            let itself = rules.of(wild).get(host).is_some_and(|found| allows(found));
            let below = || rules.exact.iter().chain(&rules.wild).any(|(name, found)| under(name) && allows(found));
            by_wildcard || itself || (wild && below())
        })
    }
}

impl Rules {
    fn of(&self, wild: bool) -> &HashMap<String, Vec<Entry>> {
        if wild { &self.wild } else { &self.exact }
    }

    fn add(&mut self, host: &str, wild: bool, entry: Entry) {
        let rules = if wild { &mut self.wild } else { &mut self.exact };
        rules.entry(host.to_owned()).or_default().push(entry);
    }

    fn entries(&self) -> impl Iterator<Item = (&str, bool, &Entry)> {
        let all = |wild: bool| {
            self.of(wild)
                .iter()
                .flat_map(move |(host, found)| found.iter().map(move |entry| (host.as_str(), wild, entry)))
        };
        all(false).chain(all(true))
    }

    /// The entries of the host itself, else those of the longest wildcard that spans it.
    fn find(&self, host: &Host) -> Option<&[Entry]> {
        let name = host.as_str();
        let wild = || parents(name).find_map(|parent| self.wild.get(parent));
        self.exact.get(name).or_else(wild).map(Vec::as_slice)
    }
}

/// The domains above a name, the longest first. Address literals never match: wildcards are of names only.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[at + 1..])
}

/// Scheme and rest of an entry, where it has a scheme.
fn scheme_of(entry: &str) -> Option<(&str, &str)> {
    entry.split_once("://")
}

/// Host and whether it is the base of a wildcard.
fn pattern(text: &str) -> Result<(Host, bool), OriginError> {
    let (base, wild) = text.strip_prefix("*.").map_or((text, false), |base| (base, true));
    let host = Host::parse(base)?;
    if wild && host.address().is_some() {
        return Err(OriginError::new(text, "a wildcard of an address; list each address literally"));
    }
    Ok((host, wild))
}

fn parse(text: &str) -> Result<(Host, bool, Entry), OriginError> {
    let fail = |why: &str| OriginError::new(text, why);
    let trimmed = text.trim();
    let (removes, rest) = trimmed.strip_prefix('!').map_or((false, trimmed), |rest| (true, rest.trim_start()));
    let (scheme, rest) = match scheme_of(rest) {
        None => (None, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(Scheme::Http), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(Scheme::Https), rest),
        Some(_) => return Err(fail("the scheme of an origin is http or https")),
    };
    if rest.contains('@') {
        return Err(fail("user info is not allowed: take out what stands before the '@'"));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let network = |(base, bits): (&str, &str)| base.parse::<std::net::IpAddr>().is_ok() && bits.parse::<u8>().is_ok();
    if rest.split_once('/').is_some_and(network) {
        return Err(fail("networks cannot be listed: list each host by its name, or each address as it is"));
    }
    if rest.contains(['/', '?']) {
        return Err(fail("an entry is a host, with its port where it has one, and never a path: take the path out"));
    }
    // A bare IPv6 address has colons and no port; with a port it needs brackets.
    let bare_v6 = rest.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !bare_v6 && !rest.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
            (host.to_owned(), Some(port.ok_or_else(|| fail("a port is a number from 1 to 65535"))?))
        }
        _ if bare_v6 => (format!("[{rest}]"), None),
        _ => (rest.to_owned(), None),
    };
    if host == "*" || host.is_empty() {
        return Err(fail("it would let every host through; name the domain, as in *.example.org"));
    }
    if removes && (scheme.is_some() || port.is_some()) {
        return Err(fail("a removal names the host alone: it goes for every scheme and port"));
    }
    let (host, wild) = pattern(&host).map_err(|error| fail(&error.why))?;
    let private = host.address().is_some_and(|address| !is_public(address));
    let entry = Entry { text: trimmed.to_owned(), removes, scheme, port, private, microsoft: false };
    Ok((host, wild, entry))
}

#[cfg(test)]
mod tests;
