//! Ports, origins, the upstream, and networks that let too much in.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::app::config::keys::Typed;
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::rooms;
use crate::app::machine::Machine;
use crate::app::preflight::{Found, is_shipped};
use crate::fleet::registry::Admit;
use crate::model::origin::{AllowList, is_public};
use crate::model::report::Verdict;
use crate::model::settings::Settings;

pub(super) fn ports(typed: &Typed, settings: &Settings, machine: &Machine, found: &mut Found) {
    let listen = &typed.listen;
    let http: Vec<u16> = listen.http.0.iter().map(std::net::SocketAddr::port).collect();
    let https: Vec<u16> = listen.https.0.iter().map(std::net::SocketAddr::port).collect();
    if http.is_empty() && https.is_empty() {
        found.bad("ports", "listen", "nothing is listened on", "set listen.http, such as \"0.0.0.0:3698\"");
        return;
    }
    let below_wsus = typed.upstream.kind == UpstreamKind::Wsus;
    if http.contains(&80) {
        found.good("delivery-optimization", "listen.http", "port 80 is listened on, which DOCacheHost clients ask");
    } else if !below_wsus {
        // The shipped port is taken by nobody else and serves whoever names it: what it leaves out is no mistake.
        let shipped = is_shipped(settings, "listen.http");
        found.add(
            if shipped { Verdict::Note } else { Verdict::Warning },
            "delivery-optimization",
            "listen.http",
            "port 80 is not listened on, and Delivery Optimization clients (DOCacheHost) ask no other for HTTP",
            "add \"0.0.0.0:80\" to listen.http if DOCacheHost is to be used; BITS and WSUS roads do not need it",
        );
    }
    for port in https.iter().filter(|_| below_wsus) {
        // The Windows Update Agent takes 80 beside 443, and one less for every other port.
        let partner = if *port == 443 { 80 } else { port.saturating_sub(1) };
        if http.contains(&partner) {
            continue;
        }
        let pair = format!("add \"0.0.0.0:{partner}\" to listen.http, or listen on the pair 8530 and 8531");
        let seen = format!(
            "HTTPS port {port} has no HTTP port {partner} beside it, where clients that name it by https look for content"
        );
        match http.first() {
            Some(plain) => found.add(
                Verdict::Note,
                "wsus-pair",
                "listen.https",
                seen,
                format!("name the node by http there (port {plain}), which needs no pair; or {pair}"),
            ),
            None => found.warn(
                "wsus-pair",
                "listen.https",
                format!("{seen}, and there is no HTTP port to name instead"),
                pair,
            ),
        }
    }
    let mut all = listen.http.0.clone();
    all.extend(&listen.https.0);
    all.extend(listen.control.0);
    // Not open yet, but an invitation must not fail for want of a port.
    all.extend(&listen.peer.0);
    for (at, one) in all.iter().enumerate() {
        let same = |other: &&std::net::SocketAddr| {
            other.port() == one.port()
                && one.port() != 0
                && other.is_ipv4() == one.is_ipv4()
                && (other.ip() == one.ip() || other.ip().is_unspecified() || one.ip().is_unspecified())
        };
        if let Some(other) = all[at + 1..].iter().find(same) {
            found.bad(
                "ports",
                "listen",
                format!("two listeners want {one} and {other}, which collide"),
                "give each of [listen] http, https, control and peer a port of its own",
            );
        }
    }
    let low: Vec<_> =
        all.iter().filter(|address| address.port() != 0 && address.port() < machine.free_ports_from).collect();
    if let Some(first) = low.first() {
        if machine.binds_low_ports {
            found.good("low-ports", "listen", format!("{first} may be bound"));
        } else {
            found.bad(
                "low-ports",
                "listen",
                format!("{first} may not be bound: ports below {} need a right", machine.free_ports_from),
                "start by the shipped unit file, or once: setcap cap_net_bind_service=+ep $(command -v waystation)",
            );
        }
    }
    if let Some(control) = listen.control.0.filter(|control| !control.ip().is_loopback()) {
        found.warn(
            "control",
            "listen.control",
            format!("{control} is reachable from other machines: over TLS, for who signs in or has a token"),
            "let in by a firewall only those networks that administrators and the monitoring are in",
        );
    }
}

pub(super) fn origins(typed: &Typed, found: &mut Found) {
    match AllowList::new(&typed.origins.allow.0) {
        Ok(list) => {
            for warning in list.warnings() {
                found.warn("allow-list", "origins.allow", warning, "keep the one that is meant");
            }
            for entry in &typed.origins.allow.0 {
                if let Some(address) = literal(entry).filter(|address| !is_public(*address)) {
                    found.warn(
                        "private-origin",
                        "origins.allow",
                        format!("{entry:?}: whoever reaches the node reaches {address} through it"),
                        "keep it only if what stands there may be read by every client",
                    );
                }
            }
        }
        Err(error) => found.bad("allow-list", "origins.allow", error.to_string(), "correct the entry"),
    }
}

/// The address that an allow-list entry names literally, if it does.
fn literal(entry: &str) -> Option<IpAddr> {
    let host = entry.split_once("://").map_or(entry, |(_, rest)| rest).trim_end_matches('/');
    host.parse()
        .ok()
        .or_else(|| host.parse().ok().map(|address: std::net::SocketAddr| address.ip()))
        .or_else(|| host.trim_start_matches('[').trim_end_matches(']').parse().ok())
}

pub(super) fn upstream(typed: &Typed, found: &mut Found) {
    let upstream = &typed.upstream;
    let proxy = &typed.proxy;
    if upstream.kind == UpstreamKind::Microsoft && !upstream.url.0.is_empty() {
        found.warn(
            "upstream",
            "upstream.url",
            "it is set, but upstream.kind is \"microsoft\", which asks each origin itself",
            "set upstream.kind to \"wsus\" or \"parent\", or take the URL away",
        );
    }
    if upstream.url.0.len() > 1 {
        found.warn(
            "upstream",
            "upstream.url",
            format!("{} are named; the first is asked", upstream.url.0.len()),
            "put the one that is to be asked first",
        );
    }
    if proxy.username.0.is_empty() != proxy.password_file.0.is_none() {
        found.warn("proxy", "proxy.username", "of username and password_file only one is set", "set both, or neither");
    }
    let sync = &typed.sync;
    if sync.proxy_username.0.is_empty() != sync.proxy_password_file.0.is_none() {
        let seen = "of proxy_username and proxy_password_file only one is set";
        found.warn("proxy", "sync.proxy_username", seen, "set both, or neither");
    }
    if !sync.proxy_username.0.is_empty() && rooms::sync_proxy(typed).is_ok_and(|proxy| proxy.url.is_none()) {
        let seen = "a user for the proxy is set, but the sync service is asked directly";
        found.warn("proxy", "sync.proxy", seen, "set sync.proxy, or [proxy] url, or take the user out");
    }
    if proxy.url.0.is_none() && !proxy.username.0.is_empty() {
        found.warn("proxy", "proxy.url", "a user for the proxy is set, but no proxy", "set proxy.url");
    }
}

/// Keys that change nothing beside what else is set.
pub(super) fn without_effect(typed: &Typed, found: &mut Found) {
    let upstream = &typed.upstream;
    if upstream.kind == UpstreamKind::Parent {
        return;
    }
    for (key, is_set) in [
        ("upstream.direct_classifications", !upstream.direct_classifications.0.is_empty()),
        ("upstream.direct_products", !upstream.direct_products.0.is_empty()),
        ("upstream.direct_hosts", !upstream.direct_hosts.0.is_empty()),
    ] {
        if is_set {
            let seen = "it is set and has no effect: only below a parent something comes from elsewhere than where it is published";
            found.warn("no-effect", key, seen, "take it out");
        }
    }
}

/// Endpoints that were never seen and can never come in, or wait for a person wherever they come from.
pub(super) fn unknown(typed: &Typed, found: &mut Found) {
    let scan = &typed.scan;
    let is_any =
        |wanted: Admit| scan.unknown == wanted || scan.unknown_networks.0.iter().any(|(_, admit)| *admit == wanted);
    if is_any(Admit::Accept) {
        return;
    }
    if is_any(Admit::Hold) {
        found.add(
            Verdict::Note,
            "unknown-endpoints",
            "scan.unknown",
            "no endpoint that scans for the first time is served until somebody lets it in",
            "`waystation endpoints list --held` shows who waits, and `waystation endpoints admit` lets them in",
        );
    } else {
        found.warn(
            "unknown-endpoints",
            "scan.unknown",
            "every endpoint that scans for the first time is refused, wherever it comes from",
            "set it to \"hold\", or name the networks of your endpoints in scan.unknown_networks: \"10.0.0.0/8: accept\"",
        );
    }
}

/// The networks of sites: private (RFC 1918, RFC 4193), shared (RFC 6598), link-local, loopback.
const SITE_NETWORKS: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

/// Networks that let more in than a site has.
pub(super) fn networks(typed: &Typed, found: &mut Found) {
    let site = |network: &IpNet| {
        SITE_NETWORKS.iter().filter_map(|site| site.parse().ok()).any(|site: IpNet| site.contains(network))
    };
    for network in typed.scan.plaintext.0.iter().filter(|network| !site(network)) {
        found.warn(
            "private-range",
            "scan.plaintext",
            format!(
                "{network} reaches beyond private addresses: whoever is on the path there runs code on its clients"
            ),
            "name only networks whose wires are trusted, and let the others scan over HTTPS",
        );
    }
    for network in typed.limits.exempt.0.iter().filter(|network| !site(network)) {
        found.warn(
            "private-range",
            "limits.exempt",
            format!("{network} reaches beyond private addresses: none of its clients is limited"),
            "name only the gateways and proxies that stand for many clients",
        );
    }
}
