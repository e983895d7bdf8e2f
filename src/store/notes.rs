//! What was said of names before (and after) they were held: expectations, locations, generations.
//!
//! An expectation is noted under its name and under each of its digests, so that it judges whatever comes under any of
//! them. What is held already is judged at once:
//! - an unproven payload that matches is promoted, one that does not goes to quarantine;
//! - a proven one is contradicted only by a stronger authority than the one that proved it; it then goes to quarantine.
//!
//! An unauthenticated claim is noted and does none of this. What the catalog publishes needs no note: it is asked whenever
//! something is judged.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::base::digest::{Blake3, Digest, Digests};
use crate::model::name::Name;
use crate::model::payload::{Authority, Location, Published};
use crate::store::catalog::mentions;
use crate::store::core::Core;
use crate::store::drafts::PLACES_MAX;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::judge::{Sha1State, Verdict, judge};
use crate::store::publish::proven_by;
use crate::store::remove::Fate;
use crate::store::tables::{
    ClaimRow, NOTES, NoteRow, PINS, PlaceRow, authority_code, class_code, decode, encode, name_key,
};
use crate::store::writer::Room;

/// What somebody said of a name before it was held.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// What must match, if somebody published it (`fetch --sha256` or a catalog): the claim of the strongest authority.
    pub expected: Option<Published>,
    /// Where it can be asked for, beside what the name itself says.
    pub locations: Vec<Location>,
    /// 1 until a flight whose bytes had left was found wrong; then tags carry `-2`, `-3`, ...
    pub generation: u32,
}

/// Names that something is noted of: some gigabyte of index. A large catalog has a million files, each noted under its
/// name and its digests.
const NOTES_MAX: u64 = 8 << 20;
/// The part of it (one n-th) beyond which nothing is noted any more of what nobody vouches for: whoever can make names up
/// must not keep the words of a catalog out.
const NOBODYS_SHARE: u64 = 8;

fn row_of(tx: &ReadTransaction, key: &[u8]) -> Result<NoteRow, Error> {
    let row = tx.open_table(NOTES)?.get(key)?.map(|row| decode("notes.1", row.value())).transpose()?;
    Ok(row.unwrap_or_default())
}

/// The note of a name.
pub(crate) fn note(tx: &ReadTransaction, name: &Name) -> Result<Note, Error> {
    let row = row_of(tx, &name_key(name))?;
    Ok(Note {
        expected: row.claims.iter().map(ClaimRow::claim).max_by_key(|claim| claim.authority),
        locations: row.places.iter().map(PlaceRow::location).collect(),
        generation: row.generation.max(1),
    })
}

/// Adds a claim and locations to a note: a claim takes the place of the one that the same authority made before, and
/// new locations go before old ones.
fn add(tx: &WriteTransaction, key: &[u8], claim: &ClaimRow, places: &[PlaceRow]) -> Result<(), Error> {
    let mut notes = tx.open_table(NOTES)?;
    let known = notes.get(key)?.map(|row| decode::<NoteRow>("notes.1", row.value())).transpose()?;
    let mut row = match known {
        Some(row) => row,
        None if notes.len()? < notes_max(claim.authority) => NoteRow::default(),
        None => return Err(Error::Full { what: format!("something is noted of {} names already", notes.len()?) }),
    };
    if claim.blake3.is_some() || claim.sha1.is_some() || claim.sha256.is_some() {
        row.claims.retain(|known| known.authority != claim.authority);
        row.claims.push(claim.clone());
    }
    let mut merged: Vec<PlaceRow> = places.to_vec();
    merged.extend(row.places.into_iter().filter(|old| !places.iter().any(|new| new.url == old.url)));
    merged.truncate(PLACES_MAX);
    row.places = merged;
    notes.insert(key, encode(&row)?.as_slice())?;
    Ok(())
}

/// How many notes there may be for one more by this authority.
fn notes_max(authority: u8) -> u64 {
    if authority == authority_code(Authority::Unauthenticated) { NOTES_MAX / NOBODYS_SHARE } else { NOTES_MAX }
}

/// Changes the note of a name, if there is one.
fn amend(tx: &WriteTransaction, key: &[u8], change: impl FnOnce(&mut NoteRow)) -> Result<(), Error> {
    let mut notes = tx.open_table(NOTES)?;
    let row = notes.get(key)?.map(|row| decode::<NoteRow>("notes.1", row.value())).transpose()?;
    if let Some(mut row) = row {
        change(&mut row);
        notes.insert(key, encode(&row)?.as_slice())?;
    }
    Ok(())
}

impl Core {
    /// Every claim that concerns bytes with these digests, asked for under `name`: what was noted, and what the catalog says.
    pub(crate) fn claims(
        &self,
        name: &Name,
        digests: &Digests,
        own: Option<Published>,
    ) -> Result<Vec<Published>, Error> {
        let mut keys = vec![name_key(name)];
        for digest in digests_of(digests) {
            let key = name_key(&digest.into());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let noted = self.index.read(|tx| {
            let mut claims = Vec::new();
            for key in &keys {
                claims.extend(row_of(tx, key)?.claims.iter().map(ClaimRow::claim));
            }
            let said = mentions::mentions(tx, Some(name), digests_of(digests))?;
            claims.extend(mentions::claims(&said, digests));
            Ok(claims)
        })?;
        Ok(own.into_iter().chain(noted).collect())
    }

    /// Registers what must match under `name` and its digests, and judges what is held. Returns the payloads of which it
    /// must be found out first what their SHA-1 is worth; then [`Core::hold`] says more.
    pub(crate) fn expect(
        &self,
        name: &Name,
        expected: &Published,
        locations: &[Location],
    ) -> Result<Vec<Blake3>, Error> {
        let names = names_of(name, expected);
        let keys: Vec<_> = names.iter().map(name_key).collect();
        let (claim, places): (_, Vec<_>) =
            (ClaimRow::of(expected), locations.iter().take(PLACES_MAX).map(PlaceRow::of).collect());
        self.writer.write(Room::Adds, move |tx| keys.iter().try_for_each(|key| add(tx, key, &claim, &places)))?;
        if expected.authority == Authority::Unauthenticated {
            return Ok(Vec::new());
        }
        self.hold(name, expected)?;
        self.name_by_sha1(expected)?;
        self.to_look_at(&names, expected)
    }

    /// Judges what is held under `name` and under the digests published for it.
    pub(crate) fn hold(&self, name: &Name, expected: &Published) -> Result<(), Error> {
        for name in &names_of(name, expected) {
            self.hold_against(name, Some(*expected))?;
        }
        Ok(())
    }

    /// Judges what was just published under these names once more: a claim that came while it was being published found
    /// nothing held, and the judge before did not know the claim. [`Error::Mismatch`] where it went to quarantine.
    pub(crate) fn judge_published(&self, names: &[Name], computed: &Digests) -> Result<(), Error> {
        for name in names {
            if let Some(published) = self.hold_against(name, None)? {
                return Err(Error::Mismatch { published, computed: *computed });
            }
        }
        Ok(())
    }

    /// See [`crate::store::Store::unbind`]. The places that came with the name are taken from the notes of its digests
    /// too: what is asked for under the digest must not be looked for there any more.
    pub(crate) fn unbind(&self, name: &Name) -> Result<Option<Published>, Error> {
        let (key, operator) = (name_key(name), authority_code(Authority::Operator));
        let own = self.index.read(|tx| row_of(tx, &key))?;
        let Some(bound) = own.claims.iter().find(|claim| claim.authority == operator).map(ClaimRow::claim) else {
            return Ok(None);
        };
        let digests: Vec<_> = bound.digests().map(|digest| name_key(&digest.into())).filter(|at| *at != key).collect();
        self.writer.write(Room::Frees, move |tx| {
            amend(tx, &key, |row| row.claims.retain(|claim| claim.authority != operator))?;
            for digest in &digests {
                amend(tx, digest, |row| {
                    row.places.retain(|place| !own.places.iter().any(|gone| gone.url == place.url));
                })?;
            }
            entries::take_alias(tx, &key).map(drop)
        })?;
        self.cache.drop_name(name);
        Ok(Some(bound))
    }

    /// Judges the payload under `name` anew. Returns the digest that threw it out, if one did.
    fn hold_against(&self, name: &Name, own: Option<Published>) -> Result<Option<Digest>, Error> {
        let key = name_key(name);
        let Some((blake3, row, _)) = self.index.read(|tx| entries::look_up(tx, &key))? else { return Ok(None) };
        let id = *blake3.as_bytes();
        let digests = row.digests(&id);
        let claims = self.claims(name, &digests, own)?;
        // Of what was just published the name was judged before; that its own digest is its name proves nothing anew.
        match judge(own.map(|_| name), &claims, &digests, Sha1State::of(row.sha1_state)) {
            Verdict::Unproven => Ok(None),
            Verdict::Proven(authority) => {
                let code = authority_code(authority);
                if entries::is_proven(&row) && row.authority >= code {
                    return Ok(None);
                }
                self.writer.write(Room::Frees, move |tx| {
                    // Given up meanwhile: the note stands, and judges it when it comes again.
                    let Some(mut row) = entries::payload(tx, &id)? else { return Ok(()) };
                    row.class = class_code(Verdict::Proven(authority).class());
                    row.authority = row.authority.max(code);
                    row.expires_at = None;
                    entries::put_payload(tx, &id, &row, 0)
                })?;
                self.cache.drop_payload(&blake3, None);
                self.arrived.note(blake3);
                tracing::info!(%blake3, name = name.shown(), "a payload was promoted: what was published for it matches");
                Ok(None)
            }
            Verdict::Contradicted(digest, authority) => {
                let pinned = self.index.read(|tx| Ok(tx.open_table(PINS)?.get(&id)?.is_some()))?;
                if proven_by(&row).is_some_and(|proved| proved >= authority) {
                    tracing::warn!(%blake3, name = name.shown(), %digest, "a claim contradicts what a stronger authority proved; it is only noted");
                    return Ok(None);
                }
                tracing::warn!(%blake3, name = name.shown(), %digest, pinned, "a held payload is not what was published; it goes to quarantine");
                let why = format!(
                    "asked for as {}, for which {digest} was published; it is {}",
                    name.shown(),
                    digests.sha256
                );
                match self.remove(blake3, &Fate::Quarantined(why)) {
                    Ok(()) | Err(Error::Gone) => Ok(Some(digest)),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// The name, and the digests published for it.
fn names_of(name: &Name, expected: &Published) -> Vec<Name> {
    let digests = expected.digests().map(Name::Digest).filter(|digest| digest != name);
    std::iter::once(name.clone()).chain(digests).collect()
}

fn digests_of(digests: &Digests) -> [Digest; 3] {
    [Digest::Sha256(digests.sha256), Digest::Blake3(digests.blake3), Digest::Sha1(digests.sha1)]
}
