//! From settings to each room's own configuration. What contradicts itself is refused here; what will only hurt is the
//! preflight's business.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::app::config::keys::Typed;
use crate::app::config::kinds::network::ProxyChoice;
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::secret;
use crate::app::error::{ConfigError, Problem};
use crate::base::secret::Secret;
use crate::fleet::registry::Admission;
use crate::model::compliance::Policy;
use crate::model::deployment::detection;
use crate::model::drawn::Terms;
use crate::model::filter::Selection;
use crate::model::payload::{Location, Standing};
use crate::model::policy::{Choice, Written};
use crate::model::schedule::{Definitions, JITTER_MINUTES_MAX, Schedule};
use crate::model::update::UpdateId;
use crate::net::tls::files::Pair;
use crate::net::tls::names::SiteName;
use crate::pace::Class;
use crate::store::catalog;
use crate::upstream::oidc::Provider;
use crate::{admin, fill, jobs, net, pace, serve, store, upstream};

/// Hops that a request may have made when it comes here: a chain of nodes has four or five, a loop has more.
const HOPS_MAX: u32 = 8;

/// How long a WSUS server may think about which files it is to fetch (it fetches later), and how often it is asked: a client
/// is told to come again after 15 s, and finds what came of it.
const LAZY_ANSWER: Duration = Duration::from_secs(30);
const LAZY_ATTEMPTS: u32 = 3;

/// Refuses settings that contradict each other.
pub(crate) fn consistent(typed: &Typed) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    let mut refuse = |wrong: bool, key: &str, what: &str| {
        if wrong {
            problems.push(Problem { place: key.into(), what: what.into() });
        }
    };
    let tls = &typed.tls;
    refuse(
        tls.cert.0.is_some() != tls.key.0.is_some(),
        "tls.cert",
        "certificate and key belong together: set tls.cert and tls.key, or neither",
    );
    refuse(
        tls.rsa_cert.0.is_some() != tls.rsa_key.0.is_some(),
        "tls.rsa_cert",
        "certificate and key belong together: set tls.rsa_cert and tls.rsa_key, or neither",
    );
    refuse(
        typed.upstream.kind == UpstreamKind::Wsus && typed.upstream.url.0.is_empty(),
        "upstream.url",
        "this kind of upstream needs its address, such as \"http://wsus.example.org:8530\"",
    );
    if typed.upstream.kind == UpstreamKind::Wsus {
        for bare in typed.upstream.url.0.iter().filter_map(|url| beyond_port(url)) {
            let what =
                format!("a WSUS server is named by scheme, host and port, and its paths are known: write {bare:?}");
            refuse(true, "upstream.url", &what);
        }
    }
    if let Some(bare) = typed.sync.microsoft.0.as_deref().and_then(beyond_port) {
        let what = format!("a sync service is named by scheme, host and port, and its paths are known: write {bare:?}");
        refuse(true, "sync.microsoft", &what);
    }
    refuse(
        typed.sync.webhook.0.is_some() && typed.sync.webhook_secret_file.0.is_none(),
        "sync.webhook",
        "what is told is signed: name a file with the secret in sync.webhook_secret_file",
    );
    refuse(
        typed.admin.oidc_issuer.0.is_some()
            && (typed.admin.oidc_client.0.is_empty() || typed.admin.oidc_secret_file.0.is_none()),
        "admin.oidc_issuer",
        "the provider knows this node as a client: name it in admin.oidc_client, and the file with its secret in admin.oidc_secret_file",
    );
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}

/// The same URL without what stands behind its port, where something does.
fn beyond_port(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    (!bare).then(|| url.origin().ascii_serialization())
}

/// A path of the file, from the data directory where it is relative.
fn from_data(typed: &Typed, path: &Path) -> PathBuf {
    typed.store.path.0.join(path)
}

/// For the store.
pub(crate) fn store(typed: &Typed) -> store::Config {
    let store = &typed.store;
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    store::Config {
        path: store.path.0.clone(),
        max_size: store.max_size.0,
        min_free: store.min_free.0,
        unproven: Duration::from_secs(store.unproven_days.0 * 86_400),
        index_cache: count(store.index_cache.0),
        open_payloads: count(store.open_payloads.0),
        // Threads wait for the disk most of the time, and hash the rest.
        io_threads: if store.io_threads.0 == 0 { (2 * cores).clamp(4, 32) } else { count(store.io_threads.0) },
    }
}

/// A bounded count as an index; the bounds of its kind are far below what any machine's index holds.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The proxy that origins are asked through, with its password.
pub(crate) fn proxy(typed: &Typed) -> Result<upstream::Proxy, ConfigError> {
    let (mut found, upstream) = (through(typed, &typed.upstream.proxy)?, &typed.upstream);
    let password = password(typed, "upstream.proxy_password_file", upstream.proxy_password_file.0.as_deref())?;
    if found.url.is_some() && !upstream.proxy_username.0.is_empty() {
        (found.username, found.password) = (Some(upstream.proxy_username.0.clone()), password);
    }
    Ok(found)
}

/// The proxy of a choice. The user of `[proxy]` and the password go to that proxy alone: another one may be named while the node runs,
/// by somebody who does not know them.
fn through(typed: &Typed, choice: &ProxyChoice) -> Result<upstream::Proxy, ConfigError> {
    let proxy = &typed.proxy;
    let url = match choice {
        ProxyChoice::None => return Ok(upstream::Proxy::default()),
        ProxyChoice::Global => proxy.url.0.clone(),
        ProxyChoice::Url(url) if !proxy.url.0.as_ref().is_some_and(|known| is_same_server(known, url)) => {
            let (url, no_proxy) = (Some(url.clone()), proxy.no_proxy.0.clone());
            return Ok(upstream::Proxy { url, no_proxy, ..upstream::Proxy::default() });
        }
        ProxyChoice::Url(url) => Some(url.clone()),
    };
    let password = password(typed, "proxy.password_file", proxy.password_file.0.as_deref())?;
    let username = (!proxy.username.0.is_empty()).then(|| proxy.username.0.clone());
    Ok(upstream::Proxy { url, username, password, no_proxy: proxy.no_proxy.0.clone() })
}

/// Whether two addresses of proxies are of one server that is spoken to in one way.
fn is_same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

/// The proxy that the sync service is asked through: that of the origins, or its own.
pub(crate) fn sync_proxy(typed: &Typed) -> Result<upstream::Proxy, ConfigError> {
    let sync = &typed.sync;
    let mut found = match &sync.proxy.0 {
        None => proxy(typed)?,
        Some(ProxyChoice::Url(url)) => upstream::Proxy { url: Some(url.clone()), ..upstream::Proxy::default() },
        Some(choice) => through(typed, choice)?,
    };
    let password = password(typed, "sync.proxy_password_file", sync.proxy_password_file.0.as_deref())?;
    if found.url.is_some() && !sync.proxy_username.0.is_empty() {
        (found.username, found.password) = (Some(sync.proxy_username.0.clone()), password);
    }
    Ok(found)
}

/// The password out of the file that `key` names, if it names one.
fn password(typed: &Typed, key: &str, path: Option<&Path>) -> Result<Option<Secret>, ConfigError> {
    let read = path.map(|path| secret::read(&from_data(typed, path))).transpose();
    read.map_err(|what| ConfigError::one(key, what))
}

/// The files with further certificate authorities.
pub(crate) fn extra_ca(typed: &Typed) -> Vec<PathBuf> {
    typed.upstream.extra_ca.0.iter().map(|path| from_data(typed, path)).collect()
}

/// For the upstream of the store with the id `store`.
pub(crate) fn upstream(typed: &Typed, store: &str) -> Result<upstream::Config, ConfigError> {
    let upstream = &typed.upstream;
    Ok(upstream::Config {
        proxy: proxy(typed)?,
        extra_ca: extra_ca(typed),
        connect_timeout: upstream.connect_timeout.0,
        stall_timeout: upstream.stall_timeout.0,
        patience: upstream.patience.0,
        node: via(&node_name(typed), store),
        hops_max: HOPS_MAX,
        own_addresses: own_addresses(typed),
    })
}

/// What `Via` says: a token (RFC 9110 section 5.6.2) that no other node has. Machines made from one image share their
/// names, so part of the store's id stands behind it.
fn via(name: &str, store: &str) -> String {
    let token = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    let id: String = store.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let name: String = name.chars().take(60).map(token).collect();
    if id.is_empty() { name } else { format!("{name}-{id}") }
}

/// The addresses under which the node is known, beside those of the machine's interfaces: a name that leads to one of
/// them leads back here.
fn own_addresses(typed: &Typed) -> Vec<IpAddr> {
    let listened = typed.listen.http.0.iter().chain(&typed.listen.https.0).map(SocketAddr::ip);
    let advertised =
        typed.advertise.names.0.iter().chain(&typed.advertise.external.0).filter_map(|name| name.parse().ok());
    let mut own: Vec<IpAddr> = listened.filter(|address| !address.is_unspecified()).chain(advertised).collect();
    own.sort();
    own.dedup();
    own
}

/// What the node calls itself: its first advertised name, else the machine's.
pub(crate) fn node_name(typed: &Typed) -> String {
    typed.advertise.names.0.first().cloned().unwrap_or_else(machine_name)
}

/// The machine's own name, as far as it is one.
pub(crate) fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let clean: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.')).collect();
    if clean.is_empty() { "waystation".into() } else { clean }
}

/// For fill.
pub(crate) fn fill(typed: &Typed) -> fill::Config {
    let fill = &typed.fill;
    let upstream = (typed.upstream.kind != UpstreamKind::Microsoft)
        .then(|| typed.upstream.url.0.first())
        .flatten()
        .map(|url| Location { url: url.clone(), standing: Standing::Upstream });
    fill::Config {
        complete: fill.complete,
        verify: fill.verify,
        extent: fill.extent.0,
        connections_per_host: count(fill.connections_per_host.0),
        upstream,
        upstream_is_wsus: typed.upstream.kind == UpstreamKind::Wsus,
        silence: fill.silence.0,
        connect_timeout: typed.upstream.connect_timeout.0,
    }
}

/// For jobs, over the store with the id `store`.
pub(crate) fn jobs(typed: &Typed, store: &str) -> jobs::Config {
    let every = typed.store.scrub.0;
    let sync = &typed.sync;
    let schedule = Schedule {
        enabled: sync.enabled.0,
        when: sync.schedule.0.clone(),
        zone: typed.bandwidth.timezone.1.clone(),
        jitter_minutes: u32::try_from(sync.jitter_minutes.0).unwrap_or(JITTER_MINUTES_MAX),
        run_if_missed: sync.run_if_missed.0,
    };
    jobs::Config {
        scrub_every: (!every.is_zero()).then_some(every),
        wishes_daily: typed.downstream.fetch_daily.0,
        definitions: definitions(typed).schedule(&schedule),
        sync: schedule,
        content: fixed(content(typed)),
        detection: detection(typed),
        seed: seed(store),
        ..jobs::Config::default()
    }
}

/// A policy that stays as it is.
fn fixed(policy: Written) -> jobs::content::Content {
    jobs::content::Content(Arc::new(move || policy.clone()))
}

/// The lane of definition updates.
pub(crate) fn definitions(typed: &Typed) -> Definitions {
    let lane = &typed.definitions;
    Definitions {
        enabled: lane.enabled.0,
        when: lane.schedule.0.clone(),
        jitter_minutes: u32::try_from(lane.jitter_minutes.0).unwrap_or(JITTER_MINUTES_MAX),
        keep: u32::try_from(lane.keep.0).unwrap_or(u32::MAX),
    }
}

/// A number that follows from the store's id.
fn seed(store: &str) -> u64 {
    u64::from_str_radix(store.get(..16).unwrap_or_default(), 16).unwrap_or_default()
}

/// By which name and id a WSUS server above knows this node; `None` where it is to be told nothing, or is none.
pub(crate) fn told_above(typed: &Typed, store: &str) -> Option<(String, UpdateId)> {
    let is_told = typed.upstream.kind == UpstreamKind::Wsus && typed.upstream.rollup.0;
    is_told.then(|| (full_name(typed), account(store)))
}

/// This node's name as a WSUS takes it: only what looks like a full one.
fn full_name(typed: &Typed) -> String {
    let name = node_name(typed);
    if name.contains('.') { name } else { format!("{name}.local") }
}

/// For the catalog: what stands above, and how it is spoken with. `None` below a parent, which does that for its children.
pub(crate) fn sync(
    typed: &Typed,
    store: &str,
) -> Result<Option<(catalog::UpstreamKind, upstream::wsus::Config)>, ConfigError> {
    let id = account(store);
    let (kind, url, name) = match typed.upstream.kind {
        UpstreamKind::Parent => return Ok(None),
        UpstreamKind::Microsoft => return Ok(Some((catalog::UpstreamKind::Microsoft, microsoft(typed, store)?))),
        UpstreamKind::Wsus => {
            let url = typed.upstream.url.0.first().cloned().unwrap_or_default();
            (catalog::UpstreamKind::Wsus, url, full_name(typed))
        }
    };
    Ok(Some((kind, conversation(typed, store, &url, &name, id)?)))
}

/// For Microsoft's catalog.
pub(crate) fn microsoft(typed: &Typed, store: &str) -> Result<upstream::wsus::Config, ConfigError> {
    let id = account(store);
    let url = typed.sync.microsoft.0.clone();
    let url = url.unwrap_or_else(|| upstream::wsus::MICROSOFT_URL.to_owned());
    // It wants no name, so that it is told none.
    conversation(typed, store, &url, &id.to_string(), id)
}

fn conversation(
    typed: &Typed,
    store: &str,
    url: &str,
    name: &str,
    id: UpdateId,
) -> Result<upstream::wsus::Config, ConfigError> {
    let http = upstream::Config { proxy: sync_proxy(typed)?, ..upstream(typed, store)? };
    let mut config = upstream::wsus::Config::new(url, name, id, http, typed.store.path.0.clone());
    config.parallel = count(typed.sync.parallel.0);
    config.patience = upstream::wsus::Patience::of(typed.upstream.patience.0);
    Ok(config)
}

/// What is told of runs is signed with it, where somebody is told.
pub(crate) fn hook_secret(typed: &Typed) -> Result<Option<Secret>, ConfigError> {
    let sync = &typed.sync;
    let Some(file) = sync.webhook_secret_file.0.as_ref().filter(|_| sync.webhook.0.is_some()) else { return Ok(None) };
    let read = secret::read(&from_data(typed, file));
    read.map(Some).map_err(|what| ConfigError::one("sync.webhook_secret_file", what))
}

/// For who is told of runs.
pub(crate) fn hook(typed: &Typed, store: &str) -> Result<Option<upstream::hook::Config>, ConfigError> {
    let sync = &typed.sync;
    let (Some(url), Some(secret)) = (&sync.webhook.0, hook_secret(typed)?) else { return Ok(None) };
    let patience = upstream::hook::Patience::default();
    Ok(Some(upstream::hook::Config { url: url.clone(), secret, http: upstream(typed, store)?, patience }))
}

/// For telling the WSUS server above to fetch files; `None` below anything else. Somebody waits: it is asked in the bandwidth of
/// what is waited for, and an upstream that is down is told of soon.
pub(crate) fn lazy(typed: &Typed, store: &str) -> Result<Option<upstream::wsus::Config>, ConfigError> {
    let Some((catalog::UpstreamKind::Wsus, mut config)) = sync(typed, store)? else { return Ok(None) };
    config.class = Class::Demand;
    config.answer_timeout = LAZY_ANSWER;
    config.patience.attempts_max = LAZY_ATTEMPTS;
    Ok(Some(config))
}

/// The id by which an upstream knows this node: that of its store.
fn account(store: &str) -> UpdateId {
    let mut bytes = [0; 16];
    let digits = store.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    for (byte, pair) in bytes.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    UpdateId::new(bytes)
}

/// For scans; content is listened for at `http`.
pub(crate) fn scan(typed: &Typed, http: Vec<SocketAddr>) -> serve::client::Config {
    let mut exempt = serve::client::Config::default().exempt;
    exempt.extend(&typed.limits.exempt.0);
    serve::client::Config {
        exempt,
        plaintext: typed.scan.plaintext.0.clone(),
        content_url: typed.advertise.content_url.0.clone(),
        http,
        name: node_name(typed),
        detection: detection(typed),
        ..serve::client::Config::default()
    }
}

/// For WSUS servers below; none where no network is named.
pub(crate) fn downstream(typed: &Typed) -> Option<serve::downstream::Config> {
    let (networks, accounts) = (typed.downstream.networks.0.clone(), typed.downstream.accounts.0.clone());
    (!networks.is_empty()).then_some(serve::downstream::Config { networks, accounts })
}

/// What is detected though nobody decided.
pub(crate) fn detection(typed: &Typed) -> detection::Written {
    let scan = &typed.scan;
    detection::Written {
        products: scan.detect_products.0.clone(),
        classifications: scan.detect_classifications.0.clone(),
        days: u32::try_from(scan.detect_days.0).ok().filter(|days| *days > 0),
    }
}

/// Which endpoints are let in that were never seen.
pub(crate) fn admission(typed: &Typed) -> Admission {
    Admission { otherwise: typed.scan.unknown, networks: typed.scan.unknown_networks.0.clone() }
}

/// What of the catalog is wanted, as it was written.
pub(crate) fn filters(typed: &Typed) -> Selection {
    let filters = &typed.filters;
    Selection {
        products: filters.products.0.clone(),
        classifications: filters.classifications.0.clone(),
        languages: filters.languages.0.clone(),
    }
}

/// Which files of the catalog are brought ahead of time, as it was written.
pub(crate) fn content(typed: &Typed) -> Written {
    let content = &typed.content;
    Written {
        choice: Choice { mode: content.policy, level: content.severity },
        rules: content.rules.0.clone(),
        decline_expired: content.decline_expired.0,
        decline_superseded: content.decline_superseded.0,
    }
}

/// What is brought since endpoints miss it.
pub(crate) fn drawn(typed: &Typed) -> Terms {
    let content = &typed.content;
    Terms { least: content.detected.0, daily: content.detected_daily.0, ask_above: content.detected_ask_above.0 }
}

/// What endpoints must keep to.
pub(crate) fn compliance(typed: &Typed) -> Policy {
    let compliance = &typed.compliance;
    let days = |days: u64| u32::try_from(days).unwrap_or(u32::MAX);
    Policy {
        severity: compliance.severity.0,
        missing_days: days(compliance.missing_days.0),
        scan_days: days(compliance.scan_days.0),
        restart_days: days(compliance.restart_days.0),
    }
}

/// For the bandwidth governor.
pub(crate) fn pace(typed: &Typed) -> Result<pace::Config, ConfigError> {
    let rules = &typed.bandwidth;
    let mut config = pace::Config::new(rules.timezone.0.clone(), rules.networks.0.clone(), rules.give_way.0);
    for (class, schedule) in [
        (Class::Upstream, &rules.upstream.0),
        (Class::Sync, &rules.sync.0),
        (Class::Prefetch, &rules.prefetch.0),
        (Class::Definitions, &rules.definitions.0),
        (Class::Demand, &rules.demand.0),
        (Class::Clients, &rules.clients.0),
        (Class::Nodes, &rules.nodes.0),
    ] {
        let key = || format!("bandwidth.{}", class.word());
        config.set(class, schedule.clone()).map_err(|error| ConfigError::one(key(), error.to_string()))?;
    }
    Ok(config)
}

/// For the listeners of the data plane. Loopback stays exempt from the limit per client, whatever is listed.
pub(crate) fn net(typed: &Typed, pace: &pace::Governor) -> net::Config {
    let limits = &typed.limits;
    let mut config = net::Config {
        connections_max: count(limits.connections.0),
        connections_per_client_max: count(limits.connections_per_client.0),
        idle_max: limits.idle.0,
        pace: pace.clone(),
        ..net::Config::default()
    };
    config.exempt.extend(&limits.exempt.0);
    config
}

/// Connections to the control listener: a console, a monitoring system and a few scripts.
const CONTROL_CONNECTIONS_MAX: usize = 128;

/// For the control listener.
pub(crate) fn control() -> net::Config {
    net::Config {
        connections_max: CONTROL_CONNECTIONS_MAX,
        connections_per_client_max: CONTROL_CONNECTIONS_MAX,
        ..net::Config::default()
    }
}

/// For who may come in on the control plane.
pub(crate) fn door(typed: &Typed) -> admin::door::Config {
    let mut config = admin::door::Config::new(typed.store.path.0.clone());
    config.hosts = typed.admin.hosts.0.iter().chain(&typed.advertise.names.0).cloned().collect();
    config.idle = typed.admin.session_idle.0;
    config.longest = typed.admin.session_max.0;
    config.claim.clone_from(&typed.admin.oidc_claim.0);
    config
}

/// For who says who somebody is. Blocks for files.
pub(crate) fn elsewhere(typed: &Typed, store: &str) -> Result<Option<Provider>, ConfigError> {
    let admin = &typed.admin;
    let (Some(issuer), Some(file)) = (&admin.oidc_issuer.0, &admin.oidc_secret_file.0) else { return Ok(None) };
    let secret =
        secret::read(&from_data(typed, file)).map_err(|what| ConfigError::one("admin.oidc_secret_file", what))?;
    let (client, http) = (admin.oidc_client.0.clone(), upstream(typed, store)?);
    let config = upstream::oidc::Config { issuer: issuer.clone(), client, secret, http };
    Provider::new(config).map(Some).map_err(|error| ConfigError::one("admin.oidc_issuer", error.to_string()))
}

/// For TLS.
pub(crate) fn tls(typed: &Typed) -> Result<net::tls::Config, ConfigError> {
    let mut config = net::tls::Config::new(typed.store.path.0.join("tls"));
    let advertise = &typed.advertise;
    for name in advertise.names.0.iter().chain(&advertise.external.0) {
        let name: SiteName =
            name.parse().map_err(|error: net::Error| ConfigError::one("advertise.names", error.to_string()))?;
        config.names.push(name);
    }
    let tls = &typed.tls;
    for (cert, key) in [(&tls.cert, &tls.key), (&tls.rsa_cert, &tls.rsa_key)] {
        if let (Some(cert), Some(key)) = (&cert.0, &key.0) {
            config.pairs.push(Pair { cert: from_data(typed, cert), key: from_data(typed, key) });
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_knows_a_store_by_its_id() {
        let store = "0fa1201d43304fa88ae9b877473b6441";
        assert_eq!(account(store).to_string(), "0fa1201d-4330-4fa8-8ae9-b877473b6441");
        assert_eq!(seed(store), 0x0fa1_201d_4330_4fa8);
        assert_eq!((account("").bytes(), seed("é")), (&[0; 16], 0));
    }

    fn typed(set: &[(&str, &str)]) -> Typed {
        let data = tempfile::tempdir().unwrap();
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let flags = crate::app::Flags { data: Some(data.path().to_owned()), set, ..crate::app::Flags::default() };
        crate::app::load_with(&flags, []).unwrap().typed().unwrap()
    }

    #[test]
    fn the_sync_service_may_have_a_way_of_its_own() {
        let through = |set: &[(&str, &str)]| {
            let typed = typed(set);
            let (content, sync) = (proxy(&typed).unwrap(), sync_proxy(&typed).unwrap());
            [(content.url, content.username), (sync.url, sync.username)]
                .map(|(url, user)| (url.unwrap_or_default(), user.unwrap_or_default()))
        };
        let way = |url: &str, user: &str| (url.to_owned(), user.to_owned());
        let (out, other) = ("http://out:3128", "http://other:3128");
        let global = [("proxy.url", out), ("proxy.username", "kim")];
        let with = |more: &[(&'static str, &'static str)]| through(&[&global[..], more].concat());
        assert_eq!(through(&[]), [way("", ""), way("", "")]);
        assert_eq!(with(&[]), [way(out, "kim"), way(out, "kim")]);
        assert_eq!(with(&[("sync.proxy", "none")]), [way(out, "kim"), way("", "")]);
        assert_eq!(with(&[("sync.proxy", other)]), [way(out, "kim"), way(other, "")]);
        assert_eq!(
            with(&[("sync.proxy", other), ("sync.proxy_username", "sync")]),
            [way(out, "kim"), way(other, "sync")]
        );
        assert_eq!(with(&[("upstream.proxy", "none")]), [way("", ""), way("", "")]);
        // Whoever names another proxy does not get the password of this one.
        assert_eq!(with(&[("upstream.proxy", other)]), [way(other, ""), way(other, "")]);
        assert_eq!(with(&[("upstream.proxy", "HTTP://out:3128/")])[0].1, "kim");
        let own = [("upstream.proxy", other), ("upstream.proxy_username", "own")];
        assert_eq!(with(&own), [way(other, "own"), way(other, "own")]);
        assert_eq!(with(&[&own[..], &[("sync.proxy", "global")]].concat()), [way(other, "own"), way(out, "kim")]);
        assert_eq!(with(&[("upstream.proxy", "none"), ("upstream.proxy_username", "own")])[0], way("", ""));
        assert_eq!(
            with(&[("upstream.proxy", "none"), ("sync.proxy", "global"), ("sync.proxy_username", "sync")]),
            [way("", ""), way(out, "sync")]
        );
    }

    #[test]
    fn via_is_a_token_and_differs_between_stores() {
        assert_eq!(via("patches.site.example", "0123456789abcdef"), "patches.site.example-01234567");
        assert_eq!(via("2001:db8::1", "ab-cd-ef-01-23"), "2001-db8--1-abcdef01");
        assert_eq!(via("node", ""), "node");
    }
}
