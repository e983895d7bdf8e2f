//! The path tests of `doctor`: what support calls turn out to be about, one finding each, with what to do.
//!
//! 1. `allow`: the rules let the location through.
//! 2. `dns`: the name resolves, not to this node and not to a private address. Behind a proxy the proxy's name.
//! 3. `connect`: a connection comes about (to the proxy, where there is one).
//! 4. `tls`: the certificate is trusted, and not only because of an authority that was added.
//! 5. `answer`, `proxy`: an answer comes, and no demand for credentials.
//! 6. `clock`, `loop`, `coding`: what the answer's head gives away.
//! 7. `range`: a range is answered as one.
//! 8. `body`: a range and the whole begin with the same bytes and agree about the length.
//! 9. `mtu`: an answer of 64 KiB comes through where a small one does.
//!
//! Nothing is retried and nothing is counted in the host's health. A check that makes the next ones pointless ends it.

mod content;
pub(super) mod reach;

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use reqwest::Response;
use tokio::time::Instant;

use crate::model::payload::Location;
use crate::model::report::{Finding, Verdict};
use crate::upstream::client::Clients;
use crate::upstream::error::{Cause, Failure};
use crate::upstream::send::{Hop, hop, plain, send};
use crate::upstream::{Core, Method, Object, via};

/// The longest that one check may take.
pub(super) const CHECK: Duration = Duration::from_secs(10);

/// The longest that all checks of one location may take together: `doctor` goes through dozens of hosts.
const WHOLE: Duration = Duration::from_secs(40);

/// The findings so far.
#[derive(Debug)]
pub(super) struct Report {
    subject: String,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Of this host, of which nothing is known yet.
    pub(super) fn of(subject: &str) -> Self {
        Self { subject: subject.to_owned(), findings: Vec::new() }
    }

    pub(super) fn add(&mut self, check: &str, verdict: Verdict, seen: impl Into<String>, advice: impl Into<String>) {
        let (subject, check) = (self.subject.clone(), check.to_owned());
        self.findings.push(Finding { subject, check, verdict, seen: seen.into(), advice: advice.into() });
    }

    pub(super) fn good(&mut self, check: &str, seen: impl Into<String>) {
        self.add(check, Verdict::Good, seen, "");
    }

    /// That scheme or port of the address are wrong, where that is the cause. Whoever asks there says it in the same words.
    pub(super) fn misaddressed(&mut self, cause: &Cause) -> bool {
        let check = match cause {
            Cause::NoTls => "tls",
            Cause::NoHttp => "answer",
            _ => return false,
        };
        let advice = "correct the scheme or the port of the address (in [upstream] url, where it is the upstream's)";
        self.add(check, Verdict::Bad, cause.to_string(), advice);
        true
    }

    pub(super) fn skipped(&mut self, check: &str, why: impl Into<String>) {
        self.add(check, Verdict::Skipped, why, "");
    }
}

/// All checks of one location, in order.
pub(super) async fn probe(core: &Arc<Core>, location: &Location, object: Object) -> Vec<Finding> {
    let hop = match hop(core, &location.url, location.standing) {
        Ok(hop) => hop,
        Err(Failure { host, cause, .. }) => {
            let mut report = Report::of(&host);
            report.add("allow", Verdict::Bad, cause.to_string(), "list it in [origins] allow, or ask for another one");
            return report.findings;
        }
    };
    let mut report = Report::of(&hop.label);
    report.good("allow", "it may be asked");
    if tokio::time::timeout(WHOLE, checks(core, location, object, &hop, &mut report)).await.is_err() {
        let seen = format!("the checks took longer than {WHOLE:?}; those that are not listed were not made");
        report.add("time", Verdict::Warning, seen, "the path is very slow or drops packets; try again alone");
    }
    report.findings
}

async fn checks(core: &Arc<Core>, location: &Location, object: Object, hop: &Hop, report: &mut Report) {
    if !reach::reach(core, hop, report).await {
        return;
    }
    let asking = Asking { core, location };
    let first = asking.range(&core.clients, 1).await;
    if hop.url.scheme() == "https" {
        reach::tls(&asking, &first, report).await;
    }
    let response = match first {
        Ok((response, _)) => response,
        Err(failure) => return unanswered(&failure, report),
    };
    content::content(&asking, object, response, report).await;
}

fn unanswered(failure: &Failure, report: &mut Report) {
    // By the check of TLS where that is tried.
    if matches!(failure.cause, Cause::NoHttp) && report.misaddressed(&failure.cause) {
        return;
    }
    let seen = format!("{}: {}", failure.host, failure.cause);
    match &failure.cause {
        Cause::Issuer | Cause::Tls(_) | Cause::NoTls => {} // said by the check of TLS
        Cause::ProxyCredentials { .. } => report.add(
            "proxy",
            Verdict::Bad,
            seen,
            "set [proxy] username and password_file, or have the proxy let this node through without",
        ),
        Cause::NotAllowed(_) => {
            report.add("answer", Verdict::Bad, seen, "list the target in [origins] allow if it should be asked");
        }
        _ => report.add("answer", Verdict::Bad, seen, "check firewall and proxy between this node and the host"),
    }
}

/// How the checks ask: once, without retries.
struct Asking<'a> {
    core: &'a Core,
    location: &'a Location,
}

impl Asking<'_> {
    /// How long one check waits.
    fn limit(&self) -> Duration {
        CHECK.min(self.core.config.connect_timeout + self.core.config.stall_timeout)
    }

    /// Asks for the first `len` bytes.
    async fn range(&self, clients: &Clients, len: u64) -> Result<(Response, Hop), Failure> {
        let mut fields = self.fields();
        if let Ok(range) = HeaderValue::from_str(&format!("bytes=0-{}", len.saturating_sub(1))) {
            fields.insert(header::RANGE, range);
        }
        self.send(clients, &fields).await
    }

    /// Asks for the whole.
    async fn whole(&self) -> Result<(Response, Hop), Failure> {
        self.send(&self.core.clients, &self.fields()).await
    }

    fn fields(&self) -> HeaderMap {
        // Alone it cannot be refused: nobody has been here before.
        plain(&via::onward(None, &self.core.config.node, u32::MAX).unwrap_or_default())
    }

    async fn send(&self, clients: &Clients, fields: &HeaderMap) -> Result<(Response, Hop), Failure> {
        let deadline = Instant::now() + self.limit();
        send(self.core, clients, self.location, Method::Get, fields, deadline).await
    }
}
