//! What is known of a payload and of the names that point to it.

use serde::{Deserialize, Serialize};

use crate::base::digest::{Digest, Digests, Sha1, Sha256};
use crate::base::time::Timestamp;

/// How sure the store is of a payload's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Every published digest that is known matched.
    Proven,
    /// Complete and consistent, but nobody published a digest. Kept with a lifetime, never called proven.
    Unproven,
}

/// Who says that a digest belongs to a name. Later ones win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// A catalog that came over an unauthenticated channel: promotes nothing, wins no conflict, throws nothing out.
    Unauthenticated,
    /// The digest in a file name, from one of Microsoft's delivery hosts.
    FileName,
    /// The digest in the address that a client asked for (`/sha256/..`, `/Content/..`): judges what is answered there.
    Address,
    /// The person who runs the node, with `fetch URL --sha256`.
    Operator,
    /// An authenticated catalog.
    Catalog,
}

/// Digests that somebody published for an object. At least one is set where it means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// A whole-file BLAKE3 (only from the address form, or signed by the authority of a chain).
    pub blake3: Option<crate::base::digest::Blake3>,
    /// Judged with collision detection where it is the only one.
    pub sha1: Option<Sha1>,
    /// Preferred.
    pub sha256: Option<Sha256>,
    /// Who says so.
    pub authority: Authority,
}

impl Published {
    /// This one digest, published by `authority`.
    pub fn one(digest: Digest, authority: Authority) -> Self {
        let mut published = Self { blake3: None, sha1: None, sha256: None, authority };
        match digest {
            Digest::Blake3(digest) => published.blake3 = Some(digest),
            Digest::Sha1(digest) => published.sha1 = Some(digest),
            Digest::Sha256(digest) => published.sha256 = Some(digest),
        }
        published
    }

    /// The digests that are set, the strongest last judged first: SHA-256, BLAKE3, SHA-1.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        [self.sha256.map(Digest::Sha256), self.blake3.map(Digest::Blake3), self.sha1.map(Digest::Sha1)]
            .into_iter()
            .flatten()
    }

    /// Whether a SHA-1 is all there is, so that it must be computed with collision detection.
    pub fn only_sha1(&self) -> bool {
        self.sha1.is_some() && self.sha256.is_none() && self.blake3.is_none()
    }

    /// The first published digest that the computed ones contradict, if any.
    pub fn contradiction(&self, computed: &Digests) -> Option<Digest> {
        self.digests().find(|digest| !computed.has(digest))
    }
}

/// What an origin said of the version that it served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Validators {
    /// The entity tag as sent, with its quotes and `W/`.
    pub etag: Option<String>,
    /// Last-Modified as sent.
    pub last_modified: Option<String>,
}

impl Validators {
    /// The entity tag, where it is a strong one.
    pub fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| tag.starts_with('"') && tag.len() >= 2 && tag.ends_with('"'))
    }
}

/// What the store says of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Length in bytes.
    pub size: u64,
    /// As computed here when it was published.
    pub digests: Digests,
    /// How sure the store is.
    pub class: Class,
    /// When it was published.
    pub published_at: Timestamp,
    /// When an unproven payload ends; `None` for a proven one.
    pub expires_at: Option<Timestamp>,
    /// Bytes really allocated on the disk, proof included.
    pub allocated: u64,
}

/// What belongs to a name that points to a payload: fixed when the object is first answered under that name, and never
/// upgraded, so that If-Range never joins bytes of two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The strong entity tag, without its quotes.
    pub tag: String,
    /// Last-Modified as it is sent to clients (an IMF-fixdate), if there is one.
    pub last_modified: Option<String>,
    /// The origin's own validators, for revalidation.
    pub validators: Validators,
    /// Until when the object is fresh under RFC 9111, and how to ask again; `None` for an immutable one.
    pub freshness: Option<Freshness>,
}

/// The RFC 9111 state of an object that may change under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// From then on it is stale.
    pub until: Timestamp,
    /// The cache policy in the form of the crate that computes it (JSON).
    pub policy: String,
}

/// Where an object can be asked for, best first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The absolute URL, signed query included. Never logged whole.
    pub url: String,
    /// Why it may be asked.
    pub standing: Standing,
}

/// Why a location may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its host is on the allow-list: public addresses only, unless the entry names a private one literally.
    Allowed,
    /// It is named in the configuration as the upstream: allowed as named, whatever its address.
    Upstream,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_names_the_digest() {
        let computed = Digests {
            blake3: crate::base::digest::Blake3::new([1; 32]),
            sha1: Sha1::new([2; 20]),
            sha256: Sha256::new([3; 32]),
        };
        let right = Published {
            blake3: None,
            sha1: Some(computed.sha1),
            sha256: Some(computed.sha256),
            authority: Authority::Catalog,
        };
        assert_eq!(right.contradiction(&computed), None);
        let wrong = Published { sha1: Some(Sha1::new([9; 20])), ..right };
        assert_eq!(wrong.contradiction(&computed), Some(Digest::Sha1(Sha1::new([9; 20]))));
        assert!(!right.only_sha1() && Published { sha256: None, ..right }.only_sha1());
    }

    #[test]
    fn a_weak_tag_is_no_strong_one() {
        let tag = |text: &str| Validators { etag: Some(text.into()), last_modified: None };
        assert_eq!(tag("\"a\"").strong_etag(), Some("\"a\""));
        assert_eq!(tag("W/\"a\"").strong_etag(), None);
        assert_eq!(tag("\"").strong_etag(), None);
    }
}
