//! Rows to the words of the model and back.

use crate::base::digest::{Blake3, Digests, Sha1, Sha256};
use crate::base::span::{Span, SpanSet};
use crate::base::time::Timestamp;
use crate::model::payload::{Alias, Authority, Class, Freshness, Location, Payload, Published, Standing, Validators};
use crate::store::tables::{AliasRow, ClaimRow, Id, PayloadRow, PiecesRow, PlaceRow};

pub(crate) const fn class_code(class: Class) -> u8 {
    match class {
        Class::Unproven => 0,
        Class::Proven => 1,
    }
}

pub(crate) const fn authority_code(authority: Authority) -> u8 {
    match authority {
        Authority::Unauthenticated => 1,
        Authority::FileName => 2,
        Authority::Address => 3,
        Authority::Operator => 4,
        Authority::Catalog => 5,
    }
}

/// An unknown number is taken for the weakest word.
pub(crate) const fn authority_of(code: u8) -> Authority {
    match code {
        2 => Authority::FileName,
        3 => Authority::Address,
        4 => Authority::Operator,
        5 => Authority::Catalog,
        _ => Authority::Unauthenticated,
    }
}

impl PayloadRow {
    pub(crate) fn digests(&self, blake3: &Id) -> Digests {
        Digests { blake3: Blake3::new(*blake3), sha1: Sha1::new(self.sha1), sha256: Sha256::new(self.sha256) }
    }

    pub(crate) fn payload(&self, blake3: &Id) -> Payload {
        Payload {
            size: self.size,
            digests: self.digests(blake3),
            class: if self.class == class_code(Class::Proven) { Class::Proven } else { Class::Unproven },
            published_at: Timestamp::from_ms(self.published_at),
            expires_at: self.expires_at.map(Timestamp::from_ms),
            allocated: self.allocated,
        }
    }
}

impl AliasRow {
    pub(crate) fn of(blake3: &Id, alias: &Alias) -> Self {
        Self {
            blake3: *blake3,
            tag: alias.tag.clone(),
            last_modified: alias.last_modified.clone(),
            origin_etag: alias.validators.etag.clone(),
            origin_last_modified: alias.validators.last_modified.clone(),
            fresh: alias.freshness.as_ref().map(|fresh| (fresh.until.ms(), fresh.policy.clone())),
        }
    }

    pub(crate) fn alias(&self) -> Alias {
        Alias {
            tag: self.tag.clone(),
            last_modified: self.last_modified.clone(),
            validators: Validators { etag: self.origin_etag.clone(), last_modified: self.origin_last_modified.clone() },
            freshness: self
                .fresh
                .as_ref()
                .map(|(until, policy)| Freshness { until: Timestamp::from_ms(*until), policy: policy.clone() }),
        }
    }
}

impl ClaimRow {
    pub(crate) fn of(claim: &Published) -> Self {
        Self {
            blake3: claim.blake3.map(|digest| *digest.as_bytes()),
            sha1: claim.sha1.map(|digest| *digest.as_bytes()),
            sha256: claim.sha256.map(|digest| *digest.as_bytes()),
            authority: authority_code(claim.authority),
        }
    }

    pub(crate) fn claim(&self) -> Published {
        Published {
            blake3: self.blake3.map(Blake3::new),
            sha1: self.sha1.map(Sha1::new),
            sha256: self.sha256.map(Sha256::new),
            authority: authority_of(self.authority),
        }
    }
}

impl PlaceRow {
    pub(crate) fn of(location: &Location) -> Self {
        Self { url: location.url.clone(), standing: u8::from(location.standing == Standing::Upstream) }
    }

    pub(crate) fn location(&self) -> Location {
        let standing = if self.standing == 1 { Standing::Upstream } else { Standing::Allowed };
        Location { url: self.url.clone(), standing }
    }
}

impl PiecesRow {
    pub(crate) fn spans(&self) -> SpanSet {
        self.spans.iter().map(|&(start, end)| Span::new(start, end)).collect()
    }
}
