//! What is held, and what is in quarantine.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows of this page; may be fewer than asked for, even none, while there is more.
    pub rows: Vec<T>,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
}

/// A payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its identity.
    pub blake3: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its SHA-1.
    pub sha1: String,
    /// Its length.
    pub size: u64,
    /// What it really takes on the disk, proof included.
    pub allocated: u64,
    /// `proven` or `unproven`.
    pub class: String,
    /// The origins' names that point to it.
    pub names: Vec<String>,
    /// What the catalog calls the file, where it knows one with this SHA-1.
    #[serde(default)]
    pub file: Option<String>,
    /// When it was published here.
    pub published_at: Time,
    /// When a client last asked for it, to the minute; when it was published where none has since.
    pub used_at: Time,
    /// Whether a client has asked for it since it was published.
    #[serde(default)]
    pub used: bool,
    /// When an unproven one goes.
    pub expires_at: Option<Time>,
    /// Only superseded or expired updates have it: it is the first to go when room is needed.
    #[serde(default)]
    pub outdated: bool,
    /// Who pinned it.
    pub pinned: Option<Pinned>,
    /// Only of what was removed: the names to which a digest is bound still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still_bound: Vec<String>,
}

/// What `POST /api/v1/content/{address}/unbind` took back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbound {
    /// The name under which the address is kept.
    pub name: String,
    /// The digests that were bound to it.
    pub digests: Vec<String>,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
}

/// Something that failed verification and is kept for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Its number, which is its file's name in `quarantine/` of the data directory.
    pub id: String,
    /// When it was put there.
    pub at: Time,
    /// What it takes on the disk.
    pub allocated: u64,
    /// What it was filled or held as; absent where that is not told any more.
    pub name: Option<String>,
    /// The first of the addresses that it was held under, or filled from; absent where there was none.
    pub address: Option<String>,
    /// What was wrong with it.
    pub why: String,
}

/// What `DELETE /api/v1/quarantine` threw out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emptied {
    /// How many.
    pub count: u64,
    /// The bytes that it freed.
    pub bytes: u64,
}
