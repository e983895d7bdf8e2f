//! Payloads for nodes below: their bytes, the parts of their hash trees, and whether they are held.
//!
//! 1. Bytes are answered by the content face as it answers endpoints, by digest alone: what is held out of the map, what is missing while it
//!    is filled. They keep to the bandwidth of nodes.
//! 2. Of what is held the part of the hash tree that a range needs is told. Trees are remembered, since a large file is asked for in
//!    many parts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Uri};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Registry, Unit};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::base::digest::{Blake3, Sha1, Sha256};
use crate::net::{Body, Peer};
use crate::serve::Face;
use crate::serve::peer::{Problem, malformed};
use crate::store::Store;
use crate::wire::peer::slice::{GROUPS_MAX, Tree};

/// The body of `held`: 2,048 payloads.
pub(super) const HELD_BYTES_MAX: usize = 64 << 10;
/// Trees that are remembered take at most so much: those of 32 GiB of payloads.
const TREES_BYTES_MAX: u64 = 32 << 20;
/// About how many those are, at a usual size of payloads.
const TREES: usize = 512;
/// What is no name of any host: what nodes ask for they ask for by digest.
const NOBODY: HeaderValue = HeaderValue::from_static("node.invalid");

#[derive(Clone)]
struct Weight;

impl Weighter<Blake3, Arc<Tree>> for Weight {
    fn weight(&self, _: &Blake3, tree: &Arc<Tree>) -> u64 {
        tree.bytes() as u64
    }
}

/// What is counted of what nodes below were sent.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Bytes of payloads.
    pub sent: Counter,
    /// Parts of hash trees.
    pub proofs: Counter,
    /// Questions for one that this node has not.
    pub without: Counter,
}

impl Counters {
    /// Enters all of them.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Body bytes of payloads sent to nodes below";
        registry.register_with_unit("sent", help, Unit::Bytes, self.sent.clone());
        registry.register("proofs", "Parts of hash trees told to nodes below", self.proofs.clone());
        registry.register(
            "without_proof",
            "Questions of nodes below for a proof that is not here",
            self.without.clone(),
        );
    }
}

/// Payloads for nodes below.
pub(super) struct Content {
    face: Arc<Face>,
    store: Store,
    trees: Cache<Blake3, Arc<Tree>, Weight>,
    counters: Counters,
}

/// What the content face calls what is asked for by `<kind>/<hex>`.
fn digest_form(rest: &str) -> Option<String> {
    let (kind, hex) = rest.split_once('/')?;
    Some(match kind {
        "blake3" => format!("/blake3/{}", hex.parse::<Blake3>().ok()?),
        "sha256" => format!("/sha256/{}", hex.parse::<Sha256>().ok()?),
        "sha1" => {
            let hex = hex.parse::<Sha1>().ok()?.to_string().to_uppercase();
            format!("/Content/{}/{hex}", hex.get(38..)?)
        }
        _ => return None,
    })
}

impl Content {
    pub(super) fn new(face: Arc<Face>, counters: Counters) -> Self {
        let store = face.store.clone();
        Self { face, store, trees: Cache::with_weighter(TREES, TREES_BYTES_MAX, Weight), counters }
    }

    /// `/peer/v1/content/<kind>/<hex>`.
    pub(super) async fn bytes(&self, peer: Peer, mut head: Parts, rest: &str) -> Result<Response<Body>, Problem> {
        let form = digest_form(rest).ok_or_else(|| malformed("a digest is to follow: blake3, sha256 or sha1 / hex"))?;
        head.uri = Uri::try_from(form).map_err(|error| malformed(error.to_string()))?;
        head.headers.insert(HOST, NOBODY);
        Ok(Arc::clone(&self.face).content(peer, &head, Some(self.counters.sent.clone())).await)
    }

    /// `/peer/v1/proof/<blake3>`.
    pub(super) async fn proof(&self, rest: &str, query: &str) -> Result<Bytes, Problem> {
        let blake3: Blake3 = rest.parse().map_err(|_| malformed("a BLAKE3 is to follow, 64 hex digits"))?;
        let (mut first, mut count) = (0, GROUPS_MAX);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let number = || value.parse::<u64>().map_err(|_| malformed(format!("{name} is no number")));
            match name.as_ref() {
                "group" => first = number()?,
                "count" => count = number()?,
                _ => {}
            }
        }
        if count == 0 || count > GROUPS_MAX {
            return Err(malformed(format!("count is to be 1 to {GROUPS_MAX}")));
        }
        let Some(tree) = self.tree(blake3).await else {
            self.counters.without.inc();
            let why = "this node does not hold it, or not all of it: it has no proof";
            return Err(Problem(StatusCode::NOT_FOUND, "no-proof", why.into()));
        };
        let Some(slice) = tree.slice(first, count) else {
            let why = "it has no such group".into();
            return Err(Problem(StatusCode::RANGE_NOT_SATISFIABLE, "range", why));
        };
        self.counters.proofs.inc();
        Ok(slice.write())
    }

    async fn tree(&self, blake3: Blake3) -> Option<Arc<Tree>> {
        if let Some(tree) = self.trees.get(&blake3) {
            return Some(tree);
        }
        let found = self.store.leaves(blake3).await.unwrap_or_else(|error| {
            tracing::warn!(%blake3, %error, "a proof cannot be read, so that nodes below get none");
            None
        })?;
        let made = tokio::task::spawn_blocking(move || Tree::new(found.size, found.leaves)).await;
        let tree = Arc::new(made.ok().flatten()?);
        self.trees.insert(blake3, Arc::clone(&tree));
        Some(tree)
    }

    /// `/peer/v1/held`: one bit for each BLAKE3, the lowest first.
    pub(super) async fn held(&self, asked: &[u8]) -> Result<Bytes, Problem> {
        let (asked, rest) = asked.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(malformed("a BLAKE3 of less than 32 bytes"));
        }
        let asked: Vec<Blake3> = asked.iter().map(|bytes| Blake3::new(*bytes)).collect();
        let held = self.store.are_held(asked).await.map_err(|error| {
            tracing::warn!(%error, "a node below cannot be told what is held");
            Problem(StatusCode::SERVICE_UNAVAILABLE, "failed", "this node cannot answer now".into())
        })?;
        let bits = held.chunks(8).map(|some| some.iter().rev().fold(0_u8, |bits, held| bits << 1 | u8::from(*held)));
        Ok(bits.collect::<Vec<u8>>().into())
    }
}

/// How long a body of `held` may take.
pub(super) const HELD_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_becomes_the_form_that_the_content_face_knows() {
        let hex = "ab".repeat(32);
        assert_eq!(digest_form(&format!("blake3/{hex}")), Some(format!("/blake3/{hex}")));
        assert_eq!(digest_form(&format!("sha256/{hex}")), Some(format!("/sha256/{hex}")));
        let sha1 = format!("{}0f", "ab".repeat(19));
        assert_eq!(digest_form(&format!("sha1/{sha1}")), Some(format!("/Content/0F/{}", sha1.to_uppercase())));
        for wrong in
            ["", "blake3", "blake3/", "blake3/ab", "md5/ab", &format!("sha1/{hex}"), &format!("blake3/{hex}/x")]
        {
            assert_eq!(digest_form(wrong), None, "{wrong}");
        }
    }
}
