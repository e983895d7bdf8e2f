//! What there is to ask for: objects of four origins, some of which change, and what an answer may say of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::bytes::Object;
use crate::http::Head;
use crate::node::Node;

/// How far off a total is that a faulty origin names.
pub(super) const WRONG_TOTAL: u64 = 7;

/// An object of an origin. Its content follows from its seed and its version.
#[derive(Debug)]
pub(super) struct Thing {
    pub origin: SocketAddr,
    first: Object,
    /// The version that the origin has now; only what changes leaves 0.
    pub version: AtomicU64,
    /// Whether the origin changes it.
    pub changes: bool,
    /// SHA-256 of what never changes.
    pub sha256: String,
    /// Which versions each entity tag can be of: two versions under one tag would be joined by a client.
    tags: Mutex<BTreeMap<String, BTreeSet<u64>>>,
}

impl Thing {
    pub(super) fn new(origin: SocketAddr, first: Object, changes: bool) -> Self {
        let sha256 = if changes { String::new() } else { first.sha256() };
        Self { origin, first, version: AtomicU64::new(0), changes, sha256, tags: Mutex::default() }
    }

    pub(super) fn path(&self) -> &str {
        &self.first.path
    }

    /// As the origin has it now.
    pub(super) fn now(&self) -> Object {
        self.at(self.version.load(Ordering::SeqCst))
    }

    /// As it was in `version`: every third one is of another length.
    pub(super) fn at(&self, version: u64) -> Object {
        let size = self.first.size + version % 3 * 4097;
        Object::new(self.first.path.clone(), size, self.first.seed.wrapping_add(version.wrapping_mul(0x1_0000_0001)))
    }

    /// The URL for verbs of the command line.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.origin, self.first.path)
    }

    /// Where it is asked for at the node.
    pub(super) fn target(&self) -> String {
        Node::target(self.origin, &self.first.path)
    }

    /// A check of an answer's bytes from `from` on; `size` is that of the object, where the answer tells it.
    pub(super) fn check(&self, head: &Head, from: u64, size: Option<u64>) -> Check<'_> {
        // The origin may take the next version while this answer is under way.
        let known = 0..=self.version.load(Ordering::SeqCst) + 1;
        // A wrong total is told to clients as long as nothing contradicts it: what is passed on, and what is being filled.
        let said = head.header("cache-status").unwrap_or_default().to_owned();
        let off = if said.contains("hit") { 0 } else { WRONG_TOTAL };
        let fits = |own: u64| size.is_none_or(|size| size == own || size == own + off);
        let versions = known.filter(|version| fits(self.at(*version).size)).collect();
        Check {
            thing: self,
            versions,
            at: from,
            to_the_end: size.is_none(),
            tag: head.header("etag").map(str::to_owned),
            said,
        }
    }
}

/// Holds an answer's bytes against every version that they may be of.
pub(super) struct Check<'a> {
    thing: &'a Thing,
    versions: Vec<u64>,
    at: u64,
    /// The answer told no size: it is whole, so that where it ends the object does.
    to_the_end: bool,
    tag: Option<String>,
    /// Its `Cache-Status`.
    said: String,
}

/// What must never be: the soak fails with it. Anything else that a client meets may come of the faults.
pub(super) fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

pub(super) fn is_wrong(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

impl Check<'_> {
    /// The next bytes of the answer.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let (thing, at) = (self.thing, self.at);
        self.versions.retain(|version| {
            let object = thing.at(*version);
            // Most versions fall at once.
            object.matches(at, &bytes[..bytes.len().min(32)]) && object.matches(at, bytes)
        });
        self.at += bytes.len() as u64;
    }

    /// The next part of the same answer begins at `from`.
    pub(super) fn seek(&mut self, from: u64) {
        self.at = from;
    }

    /// The answer has ended well: its bytes are of one version, and of one that this tag has stood for all the time.
    pub(super) fn end(mut self) -> io::Result<()> {
        let (thing, at) = (self.thing, self.at);
        if self.to_the_end {
            self.versions.retain(|version| thing.at(*version).size == at);
        }
        let path = thing.path();
        if self.versions.is_empty() {
            return Err(wrong(format!(
                "{path}: a whole answer up to {} has bytes of no version ({})",
                self.at, self.said
            )));
        }
        let Some(tag) = self.tag else {
            return Err(wrong(format!("{path}: an answer without an entity tag")));
        };
        let mut tags = self.thing.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let of = tags.entry(tag.clone()).or_insert_with(|| self.versions.iter().copied().collect());
        let both: BTreeSet<u64> = self.versions.iter().copied().filter(|version| of.contains(version)).collect();
        if both.is_empty() {
            return Err(wrong(format!("{path}: {tag} stood for {of:?} and now for {:?}", self.versions)));
        }
        *of = both;
        Ok(())
    }
}
