//! The data plane: what endpoints talk to. [`Face`] answers the requests that `net` brings.
//!
//! What goes to the services of Windows Update Agents is the scan face's ([`client`]), what goes to those of WSUS servers below that of
//! [`downstream`], where there is one; all else is content.
//!
//! The content face answers GET and HEAD for the digest forms and the origin forms, and 404 at once for all else:
//! 1. Refuse what is not its own: methods, malformed or overlong targets. (`content`)
//! 2. Map the request to a target: `fill` knows the rules, what was asked for lately is remembered. (`content`, `asked`)
//! 3. If the payload is open and fresh, serve it: no index, no lock, one slice of the map for a piece. (`content`)
//! 4. Else let `fill` look it up, join its flight, start one, or pass the request on. (`content`)
//! 5. Decide what of it goes out: `wire::conditional`, and the head of it: `reply`.
//! 6. Give the bytes: windows of the map that are known to be in memory, the tail of a flight, or what is passed on.
//!    (`body`, `passed`)
//! 7. When the last byte has left, or the client: record, count, and enter it in the ledger. (`record`, `counters`)
//!
//! Held and flying bodies wait for their first bytes before the head goes out, so that what fails at the start is answered
//! with a status (`reply`). What fails later cuts the connection: no client takes a part for the whole.
//!
//! Contract: a request for content has no body that would be read. Nothing here blocks. A client that leaves withdraws itself only.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response};
use prometheus_client::metrics::counter::Counter;

use crate::base::digest::Blake3;
use crate::base::span::Span;
use crate::base::time::Clock;
use crate::fill::Fill;
use crate::net::{Body, Handler, Peer};
use crate::store::{self, Held, Store};

mod asked;
mod body;
pub mod client;
mod config;
mod content;
mod counters;
pub mod downstream;
mod error;
mod passed;
pub mod peer;
mod record;
mod reply;

pub use config::Config;
pub use counters::Counters;
pub use error::{Error, Fault};

use asked::Lately;
use record::Record;

/// A held payload that the disk could not give: it should be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Which payload.
    pub blake3: Blake3,
    /// The bytes that could not be read.
    pub span: Span,
    /// What the disk said.
    pub why: String,
}

/// Who is told of a [`Suspicion`]. Called on a reactor thread: it must not block.
pub type Suspect = Box<dyn Fn(Suspicion) + Send + Sync>;

/// The content face.
pub struct Face {
    config: Config,
    fill: Fill,
    store: Store,
    clock: Arc<dyn Clock>,
    counters: Counters,
    suspect: Suspect,
    lately: Lately,
    /// What answers scans, where this node does.
    scans: Option<Arc<client::Scans>>,
    /// What answers WSUS servers below, where this node does.
    downstream: Option<Arc<downstream::Downstream>>,
}

impl Face {
    /// The face of this store and this fill. `suspect` is told of payloads that should be verified.
    pub fn new(config: Config, fill: Fill, store: Store, clock: Arc<dyn Clock>, suspect: Suspect) -> Self {
        let (counters, lately) = (Counters::default(), Lately::new());
        Self { config, fill, store, clock, counters, suspect, lately, scans: None, downstream: None }
    }

    /// The same, which answers scans beside.
    #[must_use]
    pub fn with_scans(self, scans: Arc<client::Scans>) -> Self {
        Self { scans: Some(scans), ..self }
    }

    /// The same, which answers WSUS servers below beside.
    #[must_use]
    pub fn with_downstream(self, downstream: Arc<downstream::Downstream>) -> Self {
        Self { downstream: Some(downstream), ..self }
    }

    /// What it counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    async fn respond(self: Arc<Self>, peer: Peer, request: Request<hyper::body::Incoming>) -> Response<Body> {
        let (request, unread) = request.into_parts();
        if let Some(face) = self.downstream.as_ref().filter(|_| downstream::is_rollup(&request)) {
            return Box::pin(downstream::respond(face, peer, &request, unread)).await;
        }
        if let (Some(scans), Some(service)) = (&self.scans, client::is_ours(request.uri.path())) {
            // Boxed: what asks for content, which is nearly all, does not pay for its room.
            return Box::pin(client::respond(scans, service, peer, &request, unread)).await;
        }
        if let Some(face) = self.downstream.as_ref().filter(|_| downstream::is_ours(request.uri.path())) {
            return Box::pin(downstream::respond(face, peer, &request, unread)).await;
        }
        // The body is kept until the head is ready and never read: what a client sends with a GET means nothing.
        let _unread = unread;
        self.content(peer, &request, None).await
    }

    /// Content alone; `to_nodes` counts what is sent where it goes to a node below.
    async fn content(self: Arc<Self>, peer: Peer, request: &Parts, to_nodes: Option<Counter>) -> Response<Body> {
        let mut record = Record::begin(Arc::clone(&self), peer, request, to_nodes.is_some());
        let response = match content::answer(&self, peer, request, &mut record).await {
            Ok(response) => response,
            Err(error) => {
                record.failed(&error);
                let head = request.method == Method::HEAD;
                reply::error(&error, record::REFUSED, self.config.retry_after)
                    .map(|text| if head { Body::empty() } else { Body::full(text) })
            }
        };
        record.headed(response.status().as_u16());
        response.map(|body| match to_nodes {
            None => body.on_end(Box::new(move |sent, whole| record.ended(sent, whole))),
            Some(counter) => body.for_node().on_end(Box::new(move |sent, whole| {
                counter.inc_by(sent);
                record.ended(sent, whole);
            })),
        })
    }

    /// A window of a held payload could not be read: counts it, says so, and has the payload verified.
    fn unreadable(&self, held: &Held, span: Span, error: &store::Error) {
        self.counters.unreadable();
        let blake3 = held.payload().digests.blake3;
        tracing::error!(%blake3, ?span, %error, "a held payload cannot be read: check the disk, it will be verified");
        (self.suspect)(Suspicion { blake3, span, why: error.to_string() });
    }
}

impl Handler for Face {
    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<hyper::body::Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(self.respond(peer, request))
    }

    fn unread(&self, peer: Peer, status: u16, why: &str) {
        record::unread(self.clock.now(), peer, status, why);
    }
}

impl fmt::Debug for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Face").field("config", &self.config).finish_non_exhaustive()
    }
}
