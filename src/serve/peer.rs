//! The listener of nodes below this one: `/peer/v1`, as `docs/CHAINING.md` says. Without a certificate only `join` answers.
//!
//! 1. Who asks is what its certificate says, held against the roll with each request, so that a node that was revoked is turned away on an
//!    open connection too.
//! 2. The question is read with limits; nothing in it says who asks.
//! 3. The chain answers; frames go out as they are. Payloads are the content face's to answer (`content`).

mod content;
mod report;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::base::hex;
use crate::chain::answer::{Answer, Question};
use crate::chain::child::{Ask, CONTENTS_MAX, Mark};
use crate::chain::error::Fault;
use crate::chain::join::CHECKPOINT_FIELD;
use crate::chain::node::{Chain, TakenIn};
use crate::chain::roll::{JoinRequest, Refusal};
use crate::model::chain::hash::{ChainId, KeyHash, Link};
use crate::model::chain::ids::Position;
use crate::net::body::collect;
use crate::net::tls::mutual::ClientCertificate;
use crate::net::{Body, Handler, Peer};
use crate::serve::Face;
use crate::serve::peer::content::Content;
use crate::wire::peer::name::Named;
use crate::wire::peer::signed::Checkpoint;

pub use crate::serve::peer::content::Counters;

/// Bodies of `join` and `renew`.
const REQUEST_MAX: usize = 16 << 10;
/// The body of `contents`: a chain and so many keys.
const CONTENTS_BYTES_MAX: usize = 32 * (CONTENTS_MAX + 1);
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Answers nodes below.
pub struct PeerFace {
    chain: Chain,
    content: Option<Content>,
    /// Turns at reading reports.
    reading: Semaphore,
}

impl fmt::Debug for PeerFace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerFace")
    }
}

/// A status, the word for machines, and the text for people.
struct Problem(StatusCode, &'static str, String);

type Told = Result<Response<Body>, Problem>;

fn malformed(why: impl Into<String>) -> Problem {
    Problem(StatusCode::BAD_REQUEST, "malformed", why.into())
}

impl From<crate::chain::error::Error> for Problem {
    fn from(error: crate::chain::error::Error) -> Self {
        if let crate::chain::error::Error::Refused(why) = error {
            return Self(StatusCode::FORBIDDEN, "revoked", why);
        }
        match error.fault() {
            Fault::Peer => malformed(error.to_string()),
            Fault::Us => {
                tracing::warn!(%error, "a node below cannot be answered");
                Self(StatusCode::SERVICE_UNAVAILABLE, "failed", "this node cannot answer now".into())
            }
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    respond(status, "application/json", value.to_string().into())
}

fn octets(body: Bytes) -> Response<Body> {
    respond(StatusCode::OK, "application/octet-stream", body).map(Body::for_node)
}

fn unknown() -> Problem {
    Problem(StatusCode::NOT_FOUND, "unknown", "this version does not know that address".into())
}

impl PeerFace {
    /// For this node.
    pub fn new(chain: Chain) -> Self {
        Self { chain, content: None, reading: Semaphore::new(report::READING_MAX) }
    }

    /// The same, which answers for payloads, too: as `face` does.
    #[must_use]
    pub fn with_content(self, face: Arc<Face>, counters: Counters) -> Self {
        Self { content: Some(Content::new(face, counters)), ..self }
    }

    async fn route(&self, peer: Peer, request: Request<Incoming>) -> Told {
        let shown = request.extensions().get::<ClientCertificate>().cloned();
        let (head, body) = request.into_parts();
        let get = || {
            let right = head.method == Method::GET;
            right.then_some(()).ok_or(Problem(StatusCode::METHOD_NOT_ALLOWED, "method", "GET is meant".into()))
        };
        let post = || {
            let right = head.method == Method::POST;
            right.then_some(()).ok_or(Problem(StatusCode::METHOD_NOT_ALLOWED, "method", "POST is meant".into()))
        };
        let path = head.uri.path();
        if path == "/peer/v1/join" {
            post()?;
            let request: JoinRequest = read(body).await?;
            return self.join(peer, &request).await;
        }
        let shown = shown.ok_or_else(|| {
            Problem(StatusCode::UNAUTHORIZED, "certificate", "only a node that joined may ask that".into())
        })?;
        let named = self.chain.who(&shown.0).await?;
        let query = head.uri.query().unwrap_or_default();
        match path {
            "/peer/v1/renew" => {
                post()?;
                #[derive(Deserialize)]
                struct Renew {
                    csr: String,
                }
                let request: Renew = read(body).await?;
                let certificate = self.chain.renew(&named, &request.csr).await?;
                Ok(json(StatusCode::OK, &serde_json::json!({ "certificate": certificate })))
            }
            "/peer/v1/feed" => {
                get()?;
                let asked = Asked::read(query)?;
                let mark = asked.mark()?;
                let is_new = mark.is_none();
                let nowhere = Mark { position: Position::default(), link: Link::default() };
                let shows = head.headers.get(CHECKPOINT_FIELD).and_then(|value| STANDARD.decode(value).ok());
                let shows = shows.and_then(|bytes| Checkpoint::read(bytes.into()).ok());
                let ask = Ask::Feed(mark.unwrap_or(nowhere));
                let wait = Duration::from_secs(asked.wait.unwrap_or(0));
                self.answer(&named, asked.chain()?, ask, is_new, shows, wait).await
            }
            "/peer/v1/snapshot" => {
                get()?;
                let asked = Asked::read(query)?;
                let base = asked.epoch.zip(asked.base).map(|(epoch, sequence)| Position { epoch, sequence });
                let after = asked.after.as_deref().map(|after| hex::decode(after).ok_or_else(|| malformed("after")));
                let after = after.transpose()?.map(KeyHash::new);
                let ask = Ask::Snapshot { base, after, bare: asked.bare == Some(1) };
                self.answer(&named, asked.chain()?, ask, false, None, Duration::ZERO).await
            }
            "/peer/v1/contents" => {
                post()?;
                let body = collect(body, CONTENTS_BYTES_MAX, BODY_TIME).await;
                let body = body.map_err(|error| malformed(error.to_string()))?;
                let (chain, keys) = body.split_first_chunk::<32>().ok_or_else(|| malformed("no chain"))?;
                let (keys, rest) = keys.as_chunks::<32>();
                if !rest.is_empty() {
                    return Err(malformed("a key of less than 32 bytes"));
                }
                let keys = keys.iter().map(|key| KeyHash::new(*key)).collect();
                let chain = ChainId::new(*chain);
                self.answer(&named, chain, Ask::Contents(keys), false, None, Duration::ZERO).await
            }
            "/peer/v1/report" => {
                post()?;
                report::take(&self.chain, &self.reading, &named, body).await
            }
            "/peer/v1/goodbye" => {
                post()?;
                report::goodbye(&self.chain, &named, read(body).await?).await
            }
            _ => {
                let Some(content) = &self.content else { return Err(unknown()) };
                if let Some(rest) = path.strip_prefix("/peer/v1/content/") {
                    let (rest, _unread) = (rest.to_owned(), body);
                    return content.bytes(peer, head, &rest).await;
                }
                if let Some(rest) = path.strip_prefix("/peer/v1/proof/") {
                    get()?;
                    return Ok(octets(content.proof(rest, query).await?));
                }
                if path == "/peer/v1/held" {
                    post()?;
                    let body = collect(body, content::HELD_BYTES_MAX, content::HELD_TIME).await;
                    let body = body.map_err(|error| malformed(error.to_string()))?;
                    return Ok(octets(content.held(&body).await?));
                }
                Err(unknown())
            }
        }
    }

    async fn join(&self, peer: Peer, request: &JoinRequest) -> Told {
        match self.chain.take_in(request, peer.remote.ip()).await? {
            TakenIn::Member { certificate, ca, vouch, node } => {
                let told = serde_json::json!({
                    "state": "member", "certificate": certificate, "ca": ca, "vouch": vouch, "node": node,
                });
                Ok(json(StatusCode::OK, &told))
            }
            TakenIn::Waiting { fingerprint } => {
                Ok(json(StatusCode::OK, &serde_json::json!({ "state": "waiting", "fingerprint": fingerprint })))
            }
            TakenIn::Refused(refusal) => {
                tracing::warn!(client = %peer.remote, why = refusal.word(), "a node was not let in");
                let status =
                    if refusal == Refusal::Slow { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::FORBIDDEN };
                Err(Problem(status, refusal.word(), refusal.text()))
            }
        }
    }

    async fn answer(
        &self,
        named: &Named,
        chain: ChainId,
        ask: Ask,
        is_new: bool,
        shows: Option<Checkpoint>,
        wait: Duration,
    ) -> Told {
        let audiences = self.chain.audiences_of(named.node).await?;
        let question = Question { chain, ask, is_new, shows, wait, audiences };
        let feed = "application/vnd.waystation.feed";
        match self.chain.answer(named, question).await? {
            Answer::Frames(bytes) => Ok(respond(StatusCode::OK, feed, bytes)),
            Answer::Conflict(word, bytes) => {
                tracing::warn!(node = %named.node, word, "a node below stands where this one does not");
                Ok(respond(StatusCode::CONFLICT, feed, bytes))
            }
            Answer::OtherChain => {
                Err(Problem(StatusCode::NOT_FOUND, "chain", "this node does not serve that chain".into()))
            }
            Answer::NotYet => Err(Problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "syncing",
                "this node has nothing to show yet: ask again in a moment".into(),
            )),
        }
    }
}

async fn read<T: for<'a> Deserialize<'a>>(body: Incoming) -> Result<T, Problem> {
    let body = collect(body, REQUEST_MAX, BODY_TIME).await.map_err(|error| malformed(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))
}

/// The fields of a question's address.
#[derive(Debug, Default)]
struct Asked {
    chain: Option<String>,
    at: Option<String>,
    after: Option<String>,
    epoch: Option<u64>,
    sequence: Option<u64>,
    base: Option<u64>,
    wait: Option<u64>,
    bare: Option<u64>,
}

impl Asked {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let number = || value.parse().map(Some).map_err(|_| malformed(format!("{name} is no number")));
            match name.as_ref() {
                "chain" => asked.chain = Some(value.into_owned()),
                "at" => asked.at = Some(value.into_owned()),
                "after" => asked.after = Some(value.into_owned()),
                "epoch" => asked.epoch = number()?,
                "sequence" => asked.sequence = number()?,
                "base" => asked.base = number()?,
                "wait" => asked.wait = number()?,
                "bare" => asked.bare = number()?,
                _ => {}
            }
        }
        Ok(asked)
    }

    fn chain(&self) -> Result<ChainId, Problem> {
        let chain = self.chain.as_deref().and_then(hex::decode);
        chain.map(ChainId::new).ok_or_else(|| malformed("chain is to be 64 hex digits"))
    }

    /// The cursor; `None` where it is left out.
    fn mark(&self) -> Result<Option<Mark>, Problem> {
        let Some((epoch, sequence)) = self.epoch.zip(self.sequence) else { return Ok(None) };
        let link = self.at.as_deref().and_then(hex::decode).map(Link::new);
        let link = link.ok_or_else(|| malformed("at is to be 64 hex digits"))?;
        Ok(Some(Mark { position: Position { epoch, sequence }, link }))
    }
}

impl Handler for PeerFace {
    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            match self.route(peer, request).await {
                Ok(response) => response,
                Err(Problem(status, word, text)) => {
                    json(status, &serde_json::json!({ "error": word, "message": text }))
                }
            }
        })
    }
}
