//! What is believed of what came over a connection that proves nothing, and what that means for files.
//!
//! 1. Revisions that nobody proven has said are *doubtful*; whoever compares them with somebody proven asks for them in pages.
//! 2. One that is the same there is *vouched for*: from then on it counts as if it had come from there. What
//!    nobody proven says supersedes it no longer, as it supersedes nothing that arrives proven.
//! 3. One that is not is refused. What it said of files is taken back: a file is described by the best of the revisions that have it
//!    and are offered, and where there is none its digests prove nothing. What it superseded is superseded by it no longer.
//!
//! Claims that payloads were given by a doubtful revision have the authority of an unauthenticated catalog, which proves and refutes
//! nothing; so a refusal has nothing to take back there.

#[cfg(test)]
mod tests;

use std::ops::Bound;

use redb::ReadableTable;

use crate::base::digest::{Blake3, Sha1};
use crate::model::update::Identity;
use crate::store::catalog::apply::Work;
use crate::store::catalog::prepare::files;
use crate::store::catalog::tables::{
    FileRow, HERE, IDENTITIES, IdKey, LongKey, REVISIONS, RevisionRow, Tables, UpdateRow, clock_key, identity_key,
    identity_of, long_key, of_long_key, read, sha256_key,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Rows of identities that one page looks at.
const LOOKED_AT_MAX: usize = 10_000;
/// Revisions that one transaction vouches for: each reads what it says and describes its files anew.
const VOUCH_STEP: usize = 20;
/// Refusals that one transaction takes back, for the same reason.
const PARDON_STEP: usize = 20;
/// Revisions of a file that are asked for the best description of it, from the oldest on and from the newest back, so many each.
const USERS_MAX: usize = 1000;

/// A revision that nobody proven has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubtful {
    /// Which.
    pub identity: Identity,
    /// BLAKE3 of its document.
    pub digest: Blake3,
}

/// Who describes a file.
struct BestUser {
    /// The best of those that were looked at: whether it is proven, whether it is offered, its number and its row.
    best: Option<(bool, bool, u32, RevisionRow)>,
    /// Whether a better one may be among those that were not looked at.
    is_cut: bool,
}

/// A revision that is held and offered, as a comparison wants to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Which, and what it says.
    pub revision: Doubtful,
    /// Whether it is the one that counts of its update.
    pub current: bool,
    /// Whether somebody proven has said it.
    pub proven: bool,
}

impl Tables<'_> {
    /// Step 2.
    fn vouch(&mut self, w: &mut Work<'_>, number: u32, mut row: RevisionRow) -> Result<(), Error> {
        self.log.remove(&clock_key(row.changed, number))?;
        row.unauthenticated = false;
        row.changed = self.clock(w)?;
        self.log.insert(&clock_key(row.changed, number), HERE)?;
        self.revisions.insert(number, encode(&row)?.as_slice())?;
        if row.current {
            if let Some(update) = self.update(&row.id)? {
                let update = UpdateRow { unauthenticated: false, ..update };
                self.updates.insert(&row.id, encode(&update)?.as_slice())?;
            }
            w.touched.numbers.push(number);
            let freed = self.free_of_unproven(w, &row.id)?;
            if freed > 0 {
                tracing::info!(
                    identity = %row.identity(),
                    revisions = freed,
                    "an update that is vouched for is superseded no longer by what nobody vouches for"
                );
            }
            // What nobody proven said superseded nothing that was proven.
            self.supersede(w, number, &row)?;
        }
        self.settle_files(w, number, &row)
    }

    /// Step 3, for all files of a revision of which something else is believed now.
    pub(crate) fn settle_files(&mut self, w: &Work<'_>, number: u32, row: &RevisionRow) -> Result<(), Error> {
        let update = self.facts(w, number, row)?;
        for file in files(&update) {
            self.settle_file(w, &file.sha1, number)?;
        }
        Ok(())
    }

    /// `known` is looked at wherever it stands among the users of the file.
    fn settle_file(&mut self, w: &Work<'_>, sha1: &Sha1, known: u32) -> Result<(), Error> {
        let Some(old) = self.file(sha1)? else { return Ok(()) };
        // Where a better one may have been passed by, less is believed of the file than could be, and never more.
        let BestUser { best: Some((is_proven, is_offered, number, row)), .. } =
            self.best_user(sha1, Some(known), USERS_MAX)?
        else {
            return Ok(());
        };
        let update = self.facts(w, number, &row)?;
        let Some(file) = files(&update).find(|file| file.sha1 == *sha1) else { return Ok(()) };
        let proven = is_proven && is_offered;
        // What another one said beside counts where it was proven, too.
        let said = old.sha256.filter(|_| proven && !old.unauthenticated && old.size == file.size);
        // Addresses come beside the documents: one that was compared says nothing of where somebody unproven said it lies.
        let urls = if proven && old.unauthenticated { Vec::new() } else { old.urls.clone() };
        let new = FileRow {
            sha256: file.sha256.map(|sha256| *sha256.as_bytes()).or(said),
            size: file.size,
            name: file.name.clone(),
            modified: file.modified.map(crate::base::time::Timestamp::ms),
            encrypted: file.encrypted,
            urls,
            unauthenticated: !proven,
        };
        if new == old {
            return Ok(());
        }
        let key = sha1.as_bytes();
        if let Some(sha256) = old.sha256.as_ref().filter(|_| old.sha256 != new.sha256) {
            self.sha256s.remove(&sha256_key(sha256, key))?;
        }
        self.index_addresses(sha1, &old.urls, &new.urls)?;
        if let Some(sha256) = &new.sha256 {
            self.sha256s.insert(&sha256_key(sha256, key), ())?;
        }
        self.files.insert(key, encode(&new)?.as_slice())?;
        Ok(())
    }

    /// The revision that describes a file best: one that is proven and offered, else one that is offered, else any. Of those that have
    /// the file the `most` oldest are looked at, then as many of the newest, then `known`.
    fn best_user(&self, sha1: &Sha1, known: Option<u32>, most: usize) -> Result<BestUser, Error> {
        let mut found = BestUser { best: None, is_cut: false };
        let sha1 = sha1.as_bytes();
        let mut users = self.users.range::<&LongKey>(&long_key(sha1, 0)..=&long_key(sha1, u32::MAX))?;
        let known = match known {
            Some(number) if self.users.get(&long_key(sha1, number))?.is_some() => Some(number),
            _ => None,
        };
        for at in 0..=2 * most {
            let user = if at < most { users.next() } else { users.next_back() };
            let Some(user) = user.transpose()? else { break };
            if at == 2 * most {
                found.is_cut = true;
                break;
            }
            if self.is_best(of_long_key(user.0.value()), &mut found)? {
                return Ok(found);
            }
        }
        if let Some(number) = known {
            self.is_best(number, &mut found)?;
        }
        Ok(found)
    }

    /// Holds a revision against the best one so far; says whether none can be better than the best one now.
    fn is_best(&self, number: u32, found: &mut BestUser) -> Result<bool, Error> {
        let Some(row) = self.revision(number)? else { return Ok(false) };
        let (is_proven, is_offered) = (!row.unauthenticated, !row.refused);
        let best = &mut found.best;
        if best.as_ref().is_none_or(|(proven, offered, ..)| (is_offered, is_proven) > (*offered, *proven)) {
            *best = Some((is_proven, is_offered, number, row));
        }
        Ok(is_proven && is_offered)
    }

    /// Whether every held revision that has the file is refused: what is said of it binds nobody. Where there are too many to be
    /// looked at, somebody is taken to offer it.
    pub(crate) fn is_offered_by_nobody(&self, sha1: &Sha1) -> Result<bool, Error> {
        self.is_offered_by_none_of(sha1, USERS_MAX)
    }

    /// The same where `most` of them are looked at from each end.
    fn is_offered_by_none_of(&self, sha1: &Sha1, most: usize) -> Result<bool, Error> {
        let found = self.best_user(sha1, None, most)?;
        Ok(!found.is_cut && found.best.is_none_or(|(_, is_offered, ..)| !is_offered))
    }
}

impl Core {
    /// Step 1: of what is held and offered behind `after` that which nobody proven has said, and where to go on; no place is the end.
    pub(crate) fn doubtful(&self, after: Option<Identity>) -> Result<(Vec<Doubtful>, Option<Identity>), Error> {
        let (found, next) = self.offered(after)?;
        let doubtful = found.into_iter().filter(|one| !one.proven).map(|one| one.revision).collect();
        Ok((doubtful, next))
    }

    /// Revisions behind `after` that are held and offered, and where to go on; no place is the end.
    pub(crate) fn offered(&self, after: Option<Identity>) -> Result<(Vec<Offered>, Option<Identity>), Error> {
        self.index.read(|tx| {
            let (Some(identities), Some(revisions)) = (read(tx, IDENTITIES)?, read(tx, REVISIONS)?) else {
                return Ok((vec![], None));
            };
            let from = after.map(identity_key);
            let from = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut found = Vec::new();
            let mut last = None;
            for (seen, row) in identities.range::<&IdKey>((from, Bound::Unbounded))?.enumerate() {
                let (key, number) = row?;
                if seen >= LOOKED_AT_MAX {
                    return Ok((found, last));
                }
                let identity = identity_of(key.value());
                last = Some(identity);
                let Some(row) = revisions.get(number.value())? else { continue };
                let row: RevisionRow = decode("catalog-revisions.1", row.value())?;
                if !row.refused {
                    let revision = Doubtful { identity, digest: Blake3::new(row.digest) };
                    found.push(Offered { revision, current: row.current, proven: !row.unauthenticated });
                }
            }
            Ok((found, None))
        })
    }

    /// Takes these out of quarantine, in small transactions; says which of them were in. What is not held is asked for by the next
    /// run, what is held is offered again.
    pub(crate) fn pardon(&self, identities: &[Identity]) -> Result<Vec<(Identity, bool)>, Error> {
        let mut pardoned = Vec::new();
        for step in identities.chunks(PARDON_STEP) {
            let step = step.to_vec();
            let (were, _) = self.catalog_write(Room::Adds, move |t, w| {
                let mut were = Vec::new();
                for identity in step {
                    if t.refused.remove(&identity_key(identity))?.is_some() {
                        were.push((identity, t.want_pardoned(w, identity)?));
                    }
                    if let Some((number, row)) = t.held(identity)? {
                        t.set_refused(w, number, row, false)?;
                    }
                }
                Ok(were)
            })?;
            pardoned.extend(were);
        }
        Ok(pardoned)
    }

    /// Step 2 for those that are still held as they were when they were compared. Says how many.
    pub(crate) fn vouch_for(&self, agreed: &[Doubtful]) -> Result<u64, Error> {
        let mut vouched = 0;
        for step in agreed.chunks(VOUCH_STEP) {
            let step = step.to_vec();
            let (count, _) = self.catalog_write(Room::Adds, move |t, w| {
                let mut count = 0;
                for one in step {
                    if let Some((number, row)) = t.held(one.identity)?
                        && row.unauthenticated
                        && !row.refused
                        && row.digest == *one.digest.as_bytes()
                    {
                        t.vouch(w, number, row)?;
                        count += 1;
                    }
                }
                Ok(count)
            })?;
            vouched += count;
        }
        Ok(vouched)
    }
}
