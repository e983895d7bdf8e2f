//! Whether the host is reached at all: its name, its address, its certificate.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::Response;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::origin::is_public;
use crate::model::payload::Standing;
use crate::model::report::Verdict;
use crate::upstream::Core;
use crate::upstream::client::Clients;
use crate::upstream::error::{Cause, Failure};
use crate::upstream::probe::{Asking, CHECK, Report};
use crate::upstream::resolve::{is_own, lookup};
use crate::upstream::send::Hop;

/// Addresses that a finding shows.
const SHOWN: usize = 4;

/// Name and connection; `false` where nothing further can be tried.
pub(super) async fn reach(core: &Core, hop: &Hop, report: &mut Report) -> bool {
    let through = core.through.as_ref().filter(|_| hop.way.proxied);
    let (what, host, port) = match through {
        Some(through) => {
            let (host, port) = through.address();
            (format!("the proxy {}", through.label), host, port)
        }
        None => (hop.label.clone(), hop.host.to_string(), hop.port()),
    };
    let limit = CHECK.min(core.config.connect_timeout);
    let Some((addresses, is_name)) = addresses(&what, &host, limit, report).await else { return false };
    // A proxy may lie anywhere, and so may an upstream that is named; a literal was held against the list already.
    let judged = through.is_none() && is_name && hop.standing == Standing::Allowed;
    if judged && !leads_outside(core, &host, &addresses, report) {
        return false;
    }
    if is_name && !judged {
        report.good("dns", format!("{what} is at {}", shown(&addresses)));
    }
    let dialled: Vec<IpAddr> = addresses.into_iter().filter(|address| !judged || is_public(*address)).collect();
    connect(&what, &dialled, port, limit, report).await
}

/// Where a host lies, and whether a name server said so; `None` where it is told that nobody knows.
pub(in crate::upstream) async fn addresses(
    what: &str,
    host: &str,
    limit: Duration,
    report: &mut Report,
) -> Option<(Vec<IpAddr>, bool)> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        report.skipped("dns", format!("{what} is an address"));
        return Some((vec![address], false));
    }
    match names(host, limit).await {
        Ok(addresses) => Some((addresses, true)),
        Err(why) => {
            let seen = format!("{host} does not resolve: {why}");
            report.add("dns", Verdict::Bad, seen, "check this node's name server");
            None
        }
    }
}

async fn names(host: &str, limit: Duration) -> Result<Vec<IpAddr>, String> {
    match timeout(limit, lookup(host)).await {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

pub(in crate::upstream) fn shown(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().take(SHOWN).map(ToString::to_string).collect();
    texts.join(", ")
}

/// Whether a name leads out into the world, and not back here or into the site.
fn leads_outside(core: &Core, host: &str, addresses: &[IpAddr], report: &mut Report) -> bool {
    if let Some(own) = addresses.iter().find(|address| is_own(**address, &core.config.own_addresses)) {
        report.add(
            "dns",
            Verdict::Bad,
            format!("{host} leads back to this node ({own})"),
            "the site's name server points the origin's name at this node: let this node itself ask a name server that \
             does not, or it would ask itself",
        );
        return false;
    }
    if !addresses.iter().any(|address| is_public(*address)) {
        report.add(
            "dns",
            Verdict::Bad,
            format!("{host} leads to the private address {}", shown(addresses)),
            "if a server of the site answers under that name, list its address literally in [origins] allow; else check \
             the name server",
        );
        return false;
    }
    report.good("dns", format!("{host} is at {}", shown(addresses)));
    true
}

/// Whether one of these addresses takes connections.
pub(in crate::upstream) async fn connect(
    what: &str,
    addresses: &[IpAddr],
    port: u16,
    limit: Duration,
    report: &mut Report,
) -> bool {
    let mut last = String::new();
    let dial = async {
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(*address, port)).await {
                Ok(_) => return true,
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        false
    };
    match timeout(limit, dial).await {
        Ok(true) => {
            report.good("connect", format!("{what} takes connections at port {port}"));
            return true;
        }
        Ok(false) => {}
        Err(_) => last = format!("no connection within {limit:?}"),
    }
    let seen = format!("{what} at port {port}: {last}");
    report.add(
        "connect",
        Verdict::Bad,
        seen,
        "check that it is up, and that a firewall lets this node out to that port",
    );
    false
}

/// Whose word the certificate's trust stands on. `first` is what came of an ask that trusts the added authorities too.
pub(super) async fn tls(asking: &Asking<'_>, first: &Result<(Response, Hop), Failure>, report: &mut Report) {
    match first {
        Err(Failure { cause: cause @ Cause::NoTls, .. }) => {
            report.misaddressed(cause);
            return;
        }
        Err(Failure { cause: cause @ (Cause::Issuer | Cause::Tls(_)), host, .. }) => {
            let advice = match cause {
                Cause::Issuer => {
                    "a proxy that inspects TLS signs with a CA of its own: add it to [upstream] extra_ca, or exempt the host \
                     from inspection"
                }
                _ => "check this node's clock, and what inspects TLS on the way",
            };
            report.add("tls", Verdict::Bad, format!("{host}: {cause}"), advice);
            return;
        }
        Err(_) => return report.skipped("tls", "no answer came"),
        Ok(_) => {}
    }
    if asking.core.config.extra_ca.is_empty() {
        return report.good("tls", "the system's authorities vouch for its certificate");
    }
    // Reads the system's roots from the disk.
    let (config, through) = (asking.core.config.clone(), asking.core.through.clone());
    let built = tokio::task::spawn_blocking(move || Clients::new(&config, through.as_ref(), &[])).await;
    let Ok(Ok(system)) = built else {
        return report.skipped("tls", "the system's authorities cannot be loaded");
    };
    match asking.range(&system, 1).await {
        Err(Failure { cause: Cause::Issuer, .. }) if asking.location.standing == Standing::Upstream => {
            report.good("tls", "an authority of [upstream] extra_ca vouches for its certificate");
        }
        Err(Failure { cause: Cause::Issuer, .. }) => report.add(
            "tls",
            Verdict::Warning,
            "TLS is intercepted: only an authority of [upstream] extra_ca vouches for its certificate",
            "it works, but who inspects can read and change what comes; exempt the host from inspection if you can",
        ),
        _ => report.good("tls", "the system's authorities vouch for its certificate"),
    }
}
