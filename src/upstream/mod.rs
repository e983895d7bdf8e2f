//! Asking others: the HTTP(S) client. Knows origins and proxies, never the store.
//!
//! What one ask goes through:
//! 1. `via`: a request that has been here before, or has come over too many hops, goes no further.
//! 2. `send`: scheme, user info, allow-list and literal addresses are checked, and the way is chosen (`proxy`).
//! 3. `health`: a host that failed again and again is left alone for a moment; who asks then learns at once.
//! 4. `client`, `resolve`: the name is resolved once, its addresses are checked, and those very ones are connected to.
//! 5. `send`: redirects are followed by hand, each hop by the rules of 2 to 4.
//! 6. `head`: status, Content-Range, lengths and validators are held against what was asked.
//! 7. `retry`: what may pass is asked again, with back-off and jitter, until the patience ends. No other room repeats.
//! 8. `body`: bytes are counted; a transfer that is cut or falls silent is resumed at its place, same version only; what
//!    comes is read no faster than [`crate::pace`] allows.
//!
//! What lies at the node above ([`above`]) goes the same way, to whoever shows a certificate of the pinned authority ([`peer`]), and is
//! held against what the authority signed before it is handed out (`verified`).
//!
//! [`wsus`] is the conversation of a sync run with the one upstream that the configuration names; it shares the proxies, the
//! resolver and the causes of failures, and has a client, a patience and errors of its own.
//!
//! [`oidc`] asks a sign-in service who somebody is, and [`hook`] tells somebody what happened; both share the clients.
//!
//! Invariants: no text (error, log line, health) carries a query string, for it may be signed; two versions of an object
//! are never joined, unless a known digest judges them in the end; nothing is asked with a content coding.

pub mod above;
mod body;
mod client;
mod error;
mod head;
mod health;
pub mod hook;
pub mod oidc;
pub mod peer;
mod probe;
mod proxy;
mod resolve;
mod retry;
mod send;
mod verified;
mod via;
pub mod wsus;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::base::span::Span;
use crate::model::origin::AllowList;
use crate::model::payload::{Location, Standing, Validators};
use crate::model::report::{Finding, HostHealth};
use crate::pace::Governor;
use crate::upstream::client::Clients;
use crate::upstream::error::{Cause, Failure};
use crate::upstream::head::Version;
use crate::upstream::proxy::Through;
use crate::upstream::retry::{Next, Trying, bounded};
use crate::upstream::send::{Question, attempt, hop};

pub use body::Body;
pub use client::authorities_in;
pub use error::{Blame, Error};
pub use proxy::Proxy;

/// What the room is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The way out, if there is a proxy.
    pub proxy: Proxy,
    /// Further trusted roots, PEM files, beside the system's.
    pub extra_ca: Vec<PathBuf>,
    /// How long name, connection and TLS together may take.
    pub connect_timeout: Duration,
    /// A response that sends nothing for this long is taken for stalled.
    pub stall_timeout: Duration,
    /// How long one ask is retried without a byte of progress before it is reported.
    pub patience: Duration,
    /// What `Via` says of this node (a token of RFC 9110, the same for all its listeners, another one for every node).
    pub node: String,
    /// How many hops a request may have come over.
    pub hops_max: u32,
    /// The addresses that this node listens on or is advertised under, for telling a name that leads back to it.
    /// Addresses of the machine's own interfaces are found without.
    pub own_addresses: Vec<IpAddr>,
}

/// How a question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The bytes.
    Get,
    /// The head alone.
    Head,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where.
    pub location: Location,
    /// How.
    pub method: Method,
    /// The bytes wanted (not empty); `None` asks for the whole. An origin that ignores Range is told by `Answer::span`.
    /// An end of `u64::MAX` asks for all from the start on.
    pub span: Option<Span>,
    /// The version that the bytes must be of (sent as If-Range where strong; another version is `Error::Changed`).
    pub pinned: Option<Pinned>,
    /// For a revalidation: sent as If-None-Match / If-Modified-Since; 304 is then an answer, not an error.
    pub revalidate: Option<Validators>,
    /// The `Via` of the request that led here, for loop detection and the hop limit.
    pub via: Option<String>,
}

/// What all answers of one flight must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Length in bytes.
    pub size: u64,
    /// As the first answer had them.
    pub validators: Validators,
    /// A digest is known: only another length counts as a change (CDN edges differ in their tags).
    pub digest_known: bool,
}

/// A good answer (200, 206, 304).
#[derive(Debug)]
pub struct Answer {
    /// 200, 206 or 304.
    pub status: u16,
    /// The bytes that the body carries, as the origin said: the asked span or the front of it, or the whole from an
    /// origin that ignores Range. Its end is `u64::MAX` where the origin told no length: then the body ends where it
    /// ends. Empty for 304. For HEAD it is the span that a GET would carry.
    pub span: Span,
    /// The object's length, where the origin told it.
    pub total: Option<u64>,
    /// Of the version that was served.
    pub validators: Validators,
    /// Cache-Control, Expires, Pragma, Date, Age, Vary, Content-Type, Content-Disposition, names in lower case: for
    /// RFC 9111 and for passing on.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub body: Body,
}

/// The future of an [`Answer`].
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send + 'a>>;

/// Whether an object lies at a location that is tested, as far as its tester knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Somebody named it, and wants that very object: none is bad.
    Named,
    /// Its publisher has had it there for years: none is a sign that something is wrong on the way.
    Known,
    /// It may be there or not: none says nothing but that the host is reached.
    Perhaps,
}

/// The future of a probe.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// The seam: what can be asked for content. Ships as [`Upstream`]; tests put origins with faults in its place.
pub trait Source: Send + Sync + fmt::Debug + 'static {
    /// Asks, repeats what may pass, and answers with the head and a body that resumes itself.
    fn ask(&self, ask: Ask) -> Asking<'_>;
    /// Whether a request that came with this `Via` has been here before. Such a one must not even wait for an answer that
    /// another one is waiting for: that may be itself.
    fn loops(&self, _via: &str) -> bool {
        false
    }
    /// What holds the bodies of its answers back; one that limits nothing where they are not held back.
    fn pace(&self) -> Governor {
        Governor::default()
    }
    /// Whether the host of this https address was seen to speak TLS (whatever it answered) or not to (no connection, no
    /// handshake), since then; `None` where neither was seen. Told at once, while an ask is still being repeated.
    fn tls_seen(&self, _url: &str, _since: Instant) -> Option<bool> {
        None
    }
    /// What each host answered lately, for status and explain.
    fn health(&self) -> Vec<HostHealth>;
    /// The path tests of `doctor` against one location.
    fn probe<'a>(&'a self, location: &'a Location, object: Object) -> Probing<'a>;
}

/// The HTTP(S) client: allow-list, address check, proxies, redirects, retries. Clones share connections and health.
#[derive(Clone, Debug)]
pub struct Upstream {
    core: Arc<Core>,
}

/// What every ask needs.
#[derive(Debug)]
struct Core {
    config: Config,
    allow: Arc<AllowList>,
    through: Option<Through>,
    clients: Clients,
    book: health::Book,
    pace: Governor,
    above: Option<Arc<above::Above>>,
}

impl Upstream {
    /// Reads the CA files and builds the clients. Blocks for the files; opens no connection. Nothing limits its bandwidth.
    ///
    /// # Errors
    /// [`Error::Config`] names the key or file that cannot be used.
    pub fn new(config: Config, allow: Arc<AllowList>) -> Result<Self, Error> {
        Self::paced(config, allow, Governor::default())
    }

    /// As [`Upstream::new`], with a bandwidth that `pace` governs.
    pub fn paced(config: Config, allow: Arc<AllowList>, pace: Governor) -> Result<Self, Error> {
        Self::made(config, allow, pace, None)
    }

    /// The same, which asks a parent node, too ([`above::place`]).
    pub fn below(config: Config, allow: Arc<AllowList>, pace: Governor, ways: above::Ways) -> Result<Self, Error> {
        Self::made(config, allow, pace, Some(Arc::new(above::Above::new(ways))))
    }

    /// What is counted of content from the parent, where there may be one.
    pub fn of_parent(&self) -> Option<&above::Counters> {
        self.core.above.as_ref().map(|above| &*above.counters)
    }

    fn made(
        config: Config,
        allow: Arc<AllowList>,
        pace: Governor,
        above: Option<Arc<above::Above>>,
    ) -> Result<Self, Error> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&byte);
        if config.node.is_empty() || !config.node.bytes().all(token) {
            let why = "Via takes a name of letters, digits, '-' and '.'".to_owned();
            return Err(Error::Config { what: format!("node name {:?}", config.node), why });
        }
        let through = Through::new(&config.proxy)?;
        let roots = client::read_roots(&config.extra_ca)?;
        let clients = Clients::new(&config, through.as_ref(), &roots)?;
        Ok(Self {
            core: Arc::new(Core { config, allow, through, clients, book: health::Book::default(), pace, above }),
        })
    }
}

impl Source for Upstream {
    fn ask(&self, ask: Ask) -> Asking<'_> {
        match self.core.above.as_ref().filter(|_| above::is_place(&ask.location.url)) {
            Some(above) => Box::pin(above::ask(&self.core, above, ask)),
            None => Box::pin(put(&self.core, ask)),
        }
    }

    fn loops(&self, via: &str) -> bool {
        via::names(via, &self.core.config.node)
    }

    fn pace(&self) -> Governor {
        self.core.pace.clone()
    }

    fn tls_seen(&self, url: &str, since: Instant) -> Option<bool> {
        // As the allow-list lets it through or not: nothing is asked here.
        let hop = hop(&self.core, url, Standing::Allowed).ok()?;
        self.core.book.tls_seen(&hop.label, since)
    }

    fn health(&self) -> Vec<HostHealth> {
        self.core.book.report()
    }

    fn probe<'a>(&'a self, location: &'a Location, object: Object) -> Probing<'a> {
        Box::pin(probe::probe(&self.core, location, object))
    }
}

/// Puts a question: the numbered steps of this room's head.
async fn put(core: &Arc<Core>, ask: Ask) -> Result<Answer, Error> {
    let first = hop(core, &ask.location.url, ask.location.standing)?;
    let refuse = |why: String| Error::from(Cause::NotAllowed(why).at(&first.label));
    if ask.via.as_deref().is_some_and(|via| via::names(via, &core.config.node)) {
        return Err(Error::Looped {
            host: first.label,
            why: format!(
                "the request has been at this node ({}) before: an upstream or a name leads back to it, or two nodes have \
                 one name",
                core.config.node
            ),
        });
    }
    let via = via::onward(ask.via.as_deref(), &core.config.node, core.config.hops_max).map_err(refuse)?;
    if ask.span.is_some_and(|span| span.is_empty()) {
        return Err(refuse("an empty span was asked for".to_owned()));
    }
    let host = core.book.host(&first.label);
    let mut turn = host.turn().map_err(|(left, last)| Error::Resting {
        host: first.label.clone(),
        why: format!("it failed again and again; at last: {last}"),
        retry_after: left,
    })?;
    let version = ask.pinned.map(|Pinned { size, validators, digest_known }| Version {
        size: Some(size),
        validators,
        digest_known,
    });
    let mut question = Question {
        location: ask.location,
        method: ask.method,
        span: ask.span,
        version,
        revalidate: ask.revalidate,
        via,
    };
    let secure = first.url.scheme() == "https";
    let mut trying = Trying::at(&question.location.url, core.config.patience);
    let (head, response) = loop {
        let asked_at = Instant::now();
        let failure = match attempt(core, &question, trying.deadline()).await {
            Ok((head, response)) => {
                let took = asked_at.elapsed();
                host.answered(head.status, took);
                if secure {
                    host.saw_tls(true);
                }
                core.pace.answered(&first.label, took);
                break (head, response);
            }
            Err(failure) => failure,
        };
        // What it redirected to may have failed, be that the same host at its other port.
        let shown = if failure.answered { Some(true) } else { failure.cause.shows_tls() };
        if let (true, Some(speaks)) = (secure, shown) {
            host.saw_tls(speaks);
        }
        // No range of an empty object can be satisfied; asked without one it answers.
        if failure.cause == Cause::Status(416) && question.span.is_some_and(|span| span.start() == 0) {
            question.span = None;
            continue;
        }
        turn.looked(is_down(&host, &failure));
        match trying.failed(&failure) {
            Next::At(at) => {
                tracing::debug!(host = failure.host, cause = %failure.cause, "asked again");
                host.retried(&failure.cause.to_string(), failure.cause.status());
                sleep_until(at).await;
            }
            Next::Enough => return Err(failed(&host, failure)),
        }
    };
    let body = if question.method == Method::Head || head.status == 304 {
        Body::empty()
    } else {
        Body::transfer(Arc::clone(core), Arc::clone(&host), pin(question, &head), &head, response)
    };
    let head::Head { status, span, total, validators, headers } = head;
    Ok(Answer { status, span, total, validators, headers, body })
}

/// The question by which a cut transfer is resumed: for the version that was answered.
fn pin(mut question: Question, head: &head::Head) -> Question {
    let asked = question.version.take().unwrap_or_default();
    let told = head.validators.etag.is_some() || head.validators.last_modified.is_some();
    question.version = Some(Version {
        size: head.total.or(asked.size),
        validators: if told { head.validators.clone() } else { asked.validators },
        digest_known: asked.digest_known,
    });
    question.revalidate = None;
    question
}

/// Whether a failure says of the host itself that it cannot be asked; where a redirect led is another host's trouble.
fn is_down(host: &health::Host, failure: &Failure) -> bool {
    failure.cause.is_hosts() && failure.host == host.name()
}

/// Notes a final failure in the host's health, and says it in words.
fn failed(host: &health::Host, failure: Failure) -> Error {
    let status = failure.cause.status();
    let down = is_down(host, &failure);
    let mut error = Error::from(failure);
    match &mut error {
        Error::Status { .. } => host.declined(status),
        Error::Unavailable { retry_after, .. } => {
            *retry_after = bounded(*retry_after);
            host.failed(&error.to_string(), status, down);
        }
        _ => host.failed(&error.to_string(), status, false),
    }
    error
}
