//! What address, notes and catalog say of a target, all together: the digests that must match, the places to ask, and the
//! name of the flight. Asked for what is missing, never for what is served.
//!
//! 1. What was noted of the name and of the digests that the address publishes.
//! 2. What the catalog says of any of them, and of the address.
//! 3. The strongest word is what must match; the strongest digest of it names the flight.
//! 4. The places: those that were noted, those of the address itself, the upstream's, those that the catalog names. Of these
//!    only the ones that the allow-list lets through, and none of a file that is encrypted: there lies something else than
//!    what its digests say.

use std::sync::Arc;

use crate::base::digest::{Digest, Sha1};
use crate::fill::error::Error;
use crate::fill::inner::Inner;
use crate::fill::learn;
use crate::fill::locate::{self, Target};
use crate::model::name::Name;
use crate::model::origin;
use crate::model::payload::{Alias, Authority, Location, Published, Standing};
use crate::store::Found;
use crate::store::catalog::Mention;

/// What address, notes and catalog say of a target, all together.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    /// The flight's name: the strongest digest that is known, so that every name of a payload leads to one flight.
    pub(super) key: Name,
    pub(super) expected: Option<Published>,
    pub(super) generation: u32,
    pub(super) locations: Vec<Location>,
    /// What the catalog says of it.
    pub(super) mentions: Vec<Mention>,
    /// Its length, where somebody who counts has published it.
    pub(super) size: Option<u64>,
    /// The catalog lists it under this SHA-1: a WSUS server that does not have it can be told to fetch it.
    pub(super) listed: Option<Sha1>,
}

impl Inner {
    /// Step 3 of the room: the digests that somebody published, and the places, from the address, from what was noted, and
    /// from the catalog.
    pub(super) async fn gather(&self, target: &Target) -> Result<Gathered, Error> {
        let note = self.store.note(&target.name).await?;
        let mut notes = vec![note];
        let mut digests = Vec::new();
        if let (Name::Origin(_), Some(expected)) = (&target.name, target.expected) {
            for digest in expected.digests() {
                notes.push(self.store.note(&Name::Digest(digest)).await?);
                digests.push(digest);
            }
        }
        digests.extend(
            notes.iter().filter_map(|note| note.expected).flat_map(|expected| expected.digests().collect::<Vec<_>>()),
        );
        let mentions = self.store.catalog().mentions(target.name.clone(), digests).await?;
        let said = notes.iter().filter_map(|note| note.expected).chain(published(&mentions));
        let expected = merge(&target.name, target.expected, said);
        let key = expected.and_then(|expected| expected.digests().next()).map_or(target.name.clone(), Name::Digest);
        if key != target.name {
            notes.push(self.store.note(&key).await?);
        }
        let generation = notes.iter().map(|note| note.generation).max().unwrap_or(1).max(1);
        let noted = notes.iter().flat_map(|note| note.locations.iter().cloned());
        let own = target.locations.iter().cloned();
        let (above, named) = (self.of_upstream(&mentions), self.named_by(&mentions));
        // A digest's noted places are the vendor's own; what an address names of itself is asked first. Below a WSUS server
        // that is asked before those that the catalog names: there may be no way to them.
        let all: Vec<Location> = match &target.name {
            Name::Digest(_) if self.config.upstream_is_wsus => noted.chain(own).chain(above).chain(named).collect(),
            Name::Digest(_) => noted.chain(named).chain(own).chain(above).collect(),
            Name::Origin(_) => own.chain(noted).chain(above).chain(named).collect(),
        };
        let mut locations: Vec<Location> = Vec::with_capacity(all.len());
        for location in all {
            if !locations.iter().any(|known| known.url == location.url) {
                locations.push(location);
            }
        }
        if let Some(parent) = &self.parent {
            let listed = mentions.iter().find(|mention| expected.is_some_and(|expected| is_of(mention, &expected)));
            locations = parent.places(expected, listed.map(|mention| mention.file.sha1), locations).await;
        }
        let counts = |mention: &&Mention| {
            !mention.unauthenticated
                && !mention.file.encrypted
                && expected.is_some_and(|expected| is_of(mention, &expected))
        };
        let size = mentions.iter().find(counts).map(|mention| mention.file.size);
        let listed = mentions.first().map(|mention| mention.file.sha1);
        Ok(Gathered { key, expected, generation, locations, mentions, size, listed })
    }

    /// Where the upstream of the configuration has the catalog's files: those that the address does not name itself.
    pub(super) fn of_upstream(&self, mentions: &[Mention]) -> Vec<Location> {
        let Some(above) = self.config.above() else { return Vec::new() };
        let file = |mention: &Mention| {
            let extension = mention.file.name.rsplit_once('.').map(|(_, extension)| extension);
            locate::upstream_location(above, &Digest::Sha1(mention.file.sha1), extension)
        };
        mentions.iter().filter(|mention| !mention.file.encrypted).filter_map(file).collect()
    }

    /// Where the catalog says that its files lie, as far as the allow-list lets that through.
    pub(super) fn named_by(&self, mentions: &[Mention]) -> Vec<Location> {
        let admitted = |url: &&String| {
            origin::split(url).is_some_and(|(https, host, port, _)| self.allow.admits(https, &host, port).is_some())
        };
        let plain = mentions.iter().filter(|mention| !mention.file.encrypted);
        let urls = plain.flat_map(|mention| mention.urls.iter().filter(admitted));
        urls.map(|url| Location { url: url.clone(), standing: Standing::Allowed }).collect()
    }
}

/// Whether what must match is this very file.
fn is_of(mention: &Mention, expected: &Published) -> bool {
    match (expected.sha256, mention.file.sha256) {
        (Some(expected), Some(sha256)) => expected == sha256,
        _ => expected.sha1 == Some(mention.file.sha1),
    }
}

/// What the catalog publishes. Where several files lie at one address nothing is expected of it before the bytes are there:
/// they are then held against all of them.
fn published(mentions: &[Mention]) -> impl Iterator<Item = Published> {
    let at_address = mentions.iter().filter(|mention| mention.by_address && !mention.unauthenticated).count();
    mentions.iter().filter(move |mention| mention.by_digest || at_address == 1).filter_map(Mention::published)
}

/// The payload under the name that was asked for: with the tag that belongs to it.
pub(super) fn own(found: Found, target: &Target, gathered: &Gathered) -> Found {
    // A payload may come under another name than the flight's; a digest's own tag is made of nothing but the digest.
    if target.name == gathered.key && matches!(target.name, Name::Origin(_)) {
        return found;
    }
    let tag = learn::tag_of(target, &gathered.key, gathered.generation, &found.alias.tag);
    let alias = Alias { tag, freshness: None, ..found.alias.as_ref().clone() };
    Found { held: found.held, alias: Arc::new(alias) }
}

/// What must match: the word of the highest authority. Digests of one authority add up; an address's own digest always
/// judges what is answered there; an unauthenticated catalog judges nothing.
fn merge(name: &Name, address: Option<Published>, noted: impl Iterator<Item = Published>) -> Option<Published> {
    let mut merged: Option<Published> = None;
    for next in address.into_iter().chain(noted).filter(|next| next.authority > Authority::Unauthenticated) {
        merged = Some(match merged {
            Some(best) if best.authority > next.authority => best,
            Some(best) if best.authority == next.authority => Published {
                blake3: best.blake3.or(next.blake3),
                sha1: best.sha1.or(next.sha1),
                sha256: best.sha256.or(next.sha256),
                authority: best.authority,
            },
            _ => next,
        });
    }
    if let (Name::Digest(digest), Some(merged)) = (name, &mut merged) {
        match digest {
            Digest::Blake3(digest) => merged.blake3 = Some(*digest),
            Digest::Sha1(digest) => merged.sha1 = Some(*digest),
            Digest::Sha256(digest) => merged.sha256 = Some(*digest),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::{Sha1, Sha256};

    #[test]
    fn the_highest_authority_speaks_and_the_address_judges_its_own_digest() {
        let (one, two) = (Digest::Sha1(Sha1::new([1; 20])), Digest::Sha1(Sha1::new([2; 20])));
        let sha256 = Digest::Sha256(Sha256::new([3; 32]));
        let origin = Name::Origin(crate::model::name::OriginKey::new("a/b").unwrap());
        let say = Published::one;
        let merged = |name: &Name, address, noted: &[Published]| merge(name, address, noted.iter().copied());
        let file = say(one, Authority::FileName);
        assert_eq!(merged(&origin, Some(file), &[]), Some(file));
        assert_eq!(merged(&origin, Some(file), &[say(two, Authority::Unauthenticated)]), Some(file));
        assert_eq!(merged(&origin, None, &[say(two, Authority::Unauthenticated)]), None);
        let catalog = say(sha256, Authority::Catalog);
        assert_eq!(merged(&origin, Some(file), &[catalog]), Some(catalog));
        assert_eq!(merged(&origin, None, &[catalog, file]), Some(catalog));
        let both = merged(&origin, None, &[catalog, say(two, Authority::Catalog)]).unwrap();
        assert_eq!((both.sha256.is_some(), both.sha1), (true, Some(Sha1::new([2; 20]))));
        let address = merged(&Name::Digest(one), Some(say(one, Authority::Address)), &[catalog]).unwrap();
        assert_eq!((address.sha1, address.sha256.is_some()), (Some(Sha1::new([1; 20])), true));
    }
}
