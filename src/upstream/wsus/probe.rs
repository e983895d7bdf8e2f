//! The path tests of `doctor` against a sync service: `dns`, `connect` and `tls` as for origins, and `sync`: whether what answers
//! there is one. It is asked for what needs no cookie (`GetAuthConfig`, MS-WSUSSS 3.1.4.1), once, past the bandwidth classes.

use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use crate::model::report::{Finding, Verdict};
use crate::upstream::error::Cause;
use crate::upstream::probe::{CHECK, Report, reach};
use crate::upstream::wsus::Wsus;
use crate::upstream::wsus::ask::once;
use crate::upstream::wsus::error::Trouble;
use crate::upstream::wsus::trust;
use crate::wire::wsusss::Answer;
use crate::wire::wsusss::authorize::GetAuthConfig;
use crate::wire::wsusss::method::SERVER_SYNC_PATH;

/// Bytes of the answer that are read: real ones have 700.
const ANSWER_MAX: usize = 64 << 10;

/// What is said of a path on which nothing is seen but silence and closed ports.
const WAY: &str = "check firewall and proxy between this node and the server";

impl Wsus {
    /// Whether an address that somebody names means this service and no content: the server's root, or the service's path.
    pub fn is_meant(&self, address: &str) -> bool {
        let service = SERVER_SYNC_PATH.trim_start_matches('/').to_ascii_lowercase();
        Url::parse(address).is_ok_and(|url| {
            let path = url.path().trim_start_matches('/').to_ascii_lowercase();
            url.origin() == self.core.root.origin() && (path.is_empty() || path == service)
        })
    }

    /// Tests the way to it, and whether it is a sync service. Each check takes seconds at most, and nothing is repeated.
    pub async fn probe(&self) -> Vec<Finding> {
        let mut report = Report::of(&self.core.label);
        self.checks(&mut report).await;
        report.findings
    }

    async fn checks(&self, report: &mut Report) {
        let core = &*self.core;
        let limit = CHECK.min(core.config.http.connect_timeout);
        let (what, (host, port)) = if let Some(through) = &core.proxy {
            (format!("the proxy {}", through.label), through.address())
        } else {
            let host = core.root.host_str().unwrap_or_default().to_owned();
            (core.label.clone(), (host, core.root.port_or_known_default().unwrap_or(80)))
        };
        let Some((addresses, is_name)) = reach::addresses(&what, &host, limit, report).await else { return };
        if is_name {
            report.good("dns", format!("{what} is at {}", reach::shown(&addresses)));
        }
        if !reach::connect(&what, &addresses, port, limit, report).await {
            return;
        }
        let wait = CHECK.min(core.config.http.connect_timeout + core.config.http.stall_timeout);
        let asked = timeout(wait, once(core, &core.sync_url, &GetAuthConfig, ANSWER_MAX)).await;
        let asked = asked.unwrap_or(Err(Trouble::Path(Cause::Silent(wait))));
        if let Err(Trouble::Path(cause)) = &asked
            && report.misaddressed(cause)
        {
            return;
        }
        if core.root.scheme() == "https" && !self.trusted(&asked, report) {
            return;
        }
        match asked {
            Ok(Answer::Done(config)) if config.plug_ins.is_empty() => report.add(
                "sync",
                Verdict::Bad,
                "its sync service names no service that gives out authorization cookies",
                "see whether the server is set up: a WSUS says so in its own console",
            ),
            Ok(Answer::Done(_)) => report.good("sync", "its sync service answers"),
            Ok(Answer::Fault(fault)) => report.add(
                "sync",
                Verdict::Bad,
                format!("its sync service refuses the first question: {fault}"),
                "the server's log says why",
            ),
            Err(trouble) => {
                let (seen, advice) = self.in_words(&trouble, wait);
                report.add("sync", Verdict::Bad, seen, advice);
            }
        }
    }

    /// Whether TLS came about, which is told.
    fn trusted<T>(&self, asked: &Result<T, Trouble>, report: &mut Report) -> bool {
        match asked {
            Err(Trouble::Path(cause @ (Cause::Issuer | Cause::Tls(_)))) => {
                let advice = match cause {
                    Cause::Issuer if self.is_microsofts() => {
                        "a proxy that inspects TLS signs with a CA of its own: exempt this host from inspection, or add the CA to \
                         [upstream] extra_ca"
                    }
                    Cause::Issuer => "add the CA that signed the server's certificate to [upstream] extra_ca",
                    _ => {
                        "check this node's clock, whether TLS is spoken at that port, and what inspects TLS on the way"
                    }
                };
                report.add("tls", Verdict::Bad, cause.to_string(), advice);
                false
            }
            // No connection came about, or none that answered: nothing is known of TLS, and the next check says why.
            Err(Trouble::Path(
                Cause::Silent(_) | Cause::Cut { .. } | Cause::Proxy { .. } | Cause::ProxyCredentials { .. },
            )) => {
                report.skipped("tls", "no answer came");
                true
            }
            _ if self.is_microsofts() => {
                report.good(
                    "tls",
                    "its certificate is vouched for (Microsoft's root for this service ships with the node)",
                );
                true
            }
            _ => {
                report.good("tls", "its certificate is vouched for");
                true
            }
        }
    }

    fn is_microsofts(&self) -> bool {
        self.core.root.host_str().is_some_and(trust::is_microsofts)
    }

    /// What was seen, and what to do about it.
    fn in_words(&self, trouble: &Trouble, waited: Duration) -> (String, &'static str) {
        let at = self.core.sync_url.path();
        let url = if self.is_microsofts() {
            "a proxy or a portal on the way answers in Microsoft's place: exempt this host there"
        } else {
            "see whether this is a WSUS server and its sync service's port (8530, with TLS 8531): correct [upstream] url"
        };
        match trouble {
            Trouble::Path(Cause::Status(status @ (401 | 403))) => (
                format!("it answered {status} at {at}"),
                "it does not let this node in: see its access rules, and whether it wants TLS",
            ),
            Trouble::Path(Cause::Status(status)) => (format!("it answered {status} at {at}: no sync service"), url),
            Trouble::Path(Cause::Busy { status: status @ 501, .. }) => {
                (format!("it answered {status} at {at}: no sync service"), url)
            }
            Trouble::Path(Cause::Busy { status, .. }) => (
                format!("it answered {status} at {at}"),
                "the server or a proxy before it is in trouble: see whether its application pool (WsusPool) runs",
            ),
            Trouble::Path(Cause::ProxyCredentials { .. }) => (
                trouble.in_words(),
                "set [sync] proxy_username and proxy_password_file (or those of [proxy]), or have the proxy let this node through",
            ),
            Trouble::Path(Cause::Silent(_)) => (format!("no answer within {waited:?}"), WAY),
            Trouble::Path(_) => (trouble.in_words(), WAY),
            _ => (format!("what answers at {at} is no sync service: {}", trouble.in_words()), url),
        }
    }
}
