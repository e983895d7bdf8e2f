//! What address, notes and catalog say of a target, all together: the digests that must match, the places to ask, and the
//! name of the flight.

use std::sync::Arc;

use crate::base::digest::Digest;
use crate::fill::error::Error;
use crate::fill::inner::Inner;
use crate::fill::learn;
use crate::fill::locate::Target;
use crate::model::name::Name;
use crate::model::payload::{Alias, Authority, Location, Published};
use crate::store::Found;

/// What address, notes and catalog say of a target, all together.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    /// The flight's name: the strongest digest that is known, so that every name of a payload leads to one flight.
    pub(super) key: Name,
    pub(super) expected: Option<Published>,
    pub(super) generation: u32,
    pub(super) locations: Vec<Location>,
}

impl Inner {
    /// Step 3: the digests that somebody published, and the places, from the address and from what was noted.
    pub(super) async fn gather(&self, target: &Target) -> Result<Gathered, Error> {
        let note = self.store.note(&target.name).await?;
        let mut notes = vec![note];
        if let (Name::Origin(_), Some(expected)) = (&target.name, target.expected) {
            for digest in expected.digests() {
                notes.push(self.store.note(&Name::Digest(digest)).await?);
            }
        }
        let expected = merge(&target.name, target.expected, notes.iter().filter_map(|note| note.expected));
        let key = expected.and_then(|expected| expected.digests().next()).map_or(target.name.clone(), Name::Digest);
        if key != target.name {
            notes.push(self.store.note(&key).await?);
        }
        let generation = notes.iter().map(|note| note.generation).max().unwrap_or(1).max(1);
        let noted = notes.iter().flat_map(|note| note.locations.iter().cloned());
        // A digest's noted places are the vendor's own; what an address names of itself is asked first.
        let all: Vec<Location> = match &target.name {
            Name::Digest(_) => noted.chain(target.locations.iter().cloned()).collect(),
            Name::Origin(_) => target.locations.iter().cloned().chain(noted).collect(),
        };
        let mut locations: Vec<Location> = Vec::with_capacity(all.len());
        for location in all {
            if !locations.iter().any(|known| known.url == location.url) {
                locations.push(location);
            }
        }
        Ok(Gathered { key, expected, generation, locations })
    }
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
