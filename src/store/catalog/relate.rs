//! The rows by which revisions are found: what names what, and who has which file. They come in and go out with their
//! revision, in its transaction.
//!
//! Files and members are those of every held revision; all else is said only of the one that counts of its update.

use redb::ReadableTable;

use crate::base::digest::{Sha1, Sha256};
use crate::model::update::{Identity, Update};
use crate::store::catalog::apply::Work;
use crate::store::catalog::mentions::indexed;
use crate::store::catalog::prepare::{Ready, files};
use crate::store::catalog::tables::{
    FileRow, IdKey, LongKey, RevisionRow, Tables, id_key, identity_key, identity_of, kb_key, long_key, of_id_key,
    of_long_key, sha256_key,
};
use crate::store::error::Error;
use crate::store::tables::encode;

/// Addresses of one file; an upstream names one, and a change of upstream adds one.
const URLS_MAX: usize = 8;

impl Tables<'_> {
    /// Whether a bundle of another held revision names this revision.
    pub(crate) fn is_member(&self, identity: Identity) -> Result<bool, Error> {
        let key = identity_key(identity);
        let own = self.identities.get(&key)?.map(|number| number.value());
        for row in self.parents.range::<&LongKey>(&long_key(&key, 0)..=&long_key(&key, u32::MAX))? {
            if Some(of_long_key(row?.0.value())) != own {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is said of every held revision.
    pub(crate) fn relate(&mut self, w: &Work<'_>, number: u32, row: &RevisionRow, ready: &Ready) -> Result<(), Error> {
        for member in ready.update.members() {
            self.parents.insert(&long_key(&identity_key(member), number), ())?;
        }
        for file in files(&ready.update) {
            let sha1 = file.sha1.as_bytes();
            self.users.insert(&long_key(sha1, number), ())?;
            let mut new = FileRow {
                sha256: file.sha256.map(|sha256| *sha256.as_bytes()),
                size: file.size,
                name: file.name.clone(),
                modified: file.modified.map(crate::base::time::Timestamp::ms),
                encrypted: file.encrypted,
                urls: Vec::new(),
                unauthenticated: row.unauthenticated,
            };
            let old = self.file(&file.sha1)?;
            if let Some(old) = &old {
                if w.unauthenticated && !old.unauthenticated {
                    continue;
                }
                if old.unauthenticated == new.unauthenticated {
                    // Where somebody said it lies who proves nothing is forgotten with what he said of it.
                    new.urls.clone_from(&old.urls);
                }
                // What was proven takes nothing over from what was not: it would look as if it were proven too.
                if old.size == new.size && (new.unauthenticated || !old.unauthenticated) {
                    new.sha256 = new.sha256.or(old.sha256);
                }
                if let Some(sha256) = &old.sha256
                    && new.sha256 != old.sha256
                {
                    self.sha256s.remove(&sha256_key(sha256, sha1))?;
                }
            }
            for (_, url) in ready.urls.iter().filter(|(of, _)| *of == file.sha1) {
                if !new.urls.contains(url) {
                    // The newest first: an upstream that was left may not answer any more.
                    new.urls.insert(0, url.clone());
                    new.urls.truncate(URLS_MAX);
                }
            }
            if old.as_ref() == Some(&new) {
                continue;
            }
            if let Some(sha256) = &new.sha256 {
                self.sha256s.insert(&sha256_key(sha256, sha1), ())?;
            }
            self.index_addresses(&file.sha1, old.as_ref().map_or(&[][..], |old| &old.urls), &new.urls)?;
            self.files.insert(sha1, encode(&new)?.as_slice())?;
        }
        Ok(())
    }

    /// Keeps the table of addresses in step with those of one file.
    pub(crate) fn index_addresses(&mut self, sha1: &Sha1, old: &[String], new: &[String]) -> Result<(), Error> {
        for key in old.iter().filter(|url| !new.contains(url)).filter_map(|url| indexed(url, sha1)) {
            self.addresses.remove(&key)?;
        }
        // All of them: two that differ in their scheme alone have one key.
        for key in new.iter().filter_map(|url| indexed(url, sha1)) {
            self.addresses.insert(&key, ())?;
        }
        Ok(())
    }

    /// The opposite; returns the members.
    pub(crate) fn unrelate(&mut self, w: &mut Work<'_>, number: u32, update: &Update) -> Result<Vec<Identity>, Error> {
        for member in update.members() {
            self.parents.remove(&long_key(&identity_key(member), number))?;
        }
        for file in files(update) {
            self.users.remove(&long_key(file.sha1.as_bytes(), number))?;
            self.forget_unused(w, &file.sha1)?;
        }
        Ok(update.members().collect())
    }

    /// The opposite of all that is said of a revision, where what it said cannot be read: its number is looked for in every row.
    /// Returns the members.
    pub(crate) fn unrelate_unread(
        &mut self,
        w: &mut Work<'_>,
        number: u32,
        row: &RevisionRow,
    ) -> Result<Vec<Identity>, Error> {
        let mut members = Vec::new();
        self.parents.retain(|key, ()| {
            let is_own = of_long_key(key) == number;
            if is_own {
                members.extend(key.first_chunk().map(identity_of));
            }
            !is_own
        })?;
        self.dependents.retain(|key, _| of_id_key(key).1 != number)?;
        for kb in &row.kbs {
            self.kbs.remove(kb_key(kb, number).as_slice())?;
        }
        let mut files: Vec<[u8; 20]> = Vec::new();
        self.users.retain(|key, ()| {
            let is_own = of_long_key(key) == number;
            if is_own {
                files.extend(key.first_chunk());
            }
            !is_own
        })?;
        for sha1 in files {
            self.forget_unused(w, &Sha1::new(sha1))?;
        }
        Ok(members)
    }

    /// Takes a file out that nobody has any more. Its payload, where that is held, is outdated from then on: that nothing says so of
    /// it any more does not make it one that was never published.
    fn forget_unused(&mut self, w: &mut Work<'_>, sha1: &Sha1) -> Result<(), Error> {
        let key = sha1.as_bytes();
        let mut users = self.users.range::<&LongKey>(&long_key(key, 0)..=&long_key(key, u32::MAX))?;
        if users.next().transpose()?.is_some() {
            return Ok(());
        }
        drop(users);
        if let Some(row) = self.file(sha1)? {
            if let Some(sha256) = &row.sha256 {
                self.sha256s.remove(&sha256_key(sha256, key))?;
            }
            self.index_addresses(sha1, &row.urls, &[])?;
            self.files.remove(key)?;
            w.forgotten.push((*sha1, row.sha256.map(Sha256::new)));
        }
        Ok(())
    }

    /// What is said of the revision that counts. Returns as [`Tables::supersede`].
    pub(crate) fn relate_current(
        &mut self,
        w: &mut Work<'_>,
        number: u32,
        row: &RevisionRow,
        update: &Update,
    ) -> Result<u64, Error> {
        for clause in &update.prerequisites {
            for id in &clause.any_of {
                let key = id_key(id.bytes(), number);
                let was_category = self.dependents.get(&key)?.is_some_and(|flag| flag.value() == 1);
                self.dependents.insert(&key, u8::from(clause.is_category || was_category))?;
            }
        }
        for kb in &row.kbs {
            self.kbs.insert(kb_key(kb, number).as_slice(), ())?;
        }
        self.supersede(w, number, row)
    }

    /// What a current revision makes superfluous. That is nothing where it was withdrawn or refused. It is never itself; of two that
    /// name each other neither; and nothing that was proven, where it is not ([`Tables::free_of_unproven`] where that is proven later). Returns how many held updates that can be approved and
    /// are offered are superseded now and were not before.
    pub(crate) fn supersede(&mut self, w: &mut Work<'_>, number: u32, row: &RevisionRow) -> Result<u64, Error> {
        let mut superseded = 0;
        if row.publication != 0 || row.refused {
            return Ok(superseded);
        }
        for id in row.supersedes.iter().filter(|id| **id != row.id) {
            let update = self.update(id)?;
            if let Some(update) = &update {
                if row.unauthenticated && !update.unauthenticated {
                    continue;
                }
                if self.superseded.remove(&id_key(&row.id, update.current))?.is_some() {
                    w.touched.superseded.push(row.id);
                    continue;
                }
            }
            let was = self.is_superseded(id)?;
            if let Some(update) = update.filter(|_| !was) {
                superseded += u64::from(self.revision(update.current)?.is_some_and(|row| row.is_listed()));
            }
            self.superseded.insert(&id_key(id, number), ())?;
            w.touched.superseded.push(*id);
        }
        Ok(superseded)
    }

    /// What counts of this update is proven from now on: whoever proves nothing supersedes it no longer, whether he came first or it
    /// did. Comes before [`Tables::supersede`] for the update itself, so that of two that name each other the proven one counts. Says
    /// how many revisions had superseded it.
    pub(crate) fn free_of_unproven(&mut self, w: &mut Work<'_>, id: &[u8; 16]) -> Result<u64, Error> {
        let mut unproven = Vec::new();
        for row in self.superseded.range::<&IdKey>(&id_key(id, 0)..=&id_key(id, u32::MAX))? {
            let number = of_id_key(row?.0.value()).1;
            if self.revision(number)?.is_some_and(|row| row.unauthenticated) {
                unproven.push(number);
            }
        }
        for number in &unproven {
            self.superseded.remove(&id_key(id, *number))?;
        }
        if !unproven.is_empty() {
            w.touched.superseded.push(*id);
        }
        Ok(unproven.len() as u64)
    }

    /// Whether a current revision that is offered supersedes it.
    pub(crate) fn is_superseded(&self, id: &[u8; 16]) -> Result<bool, Error> {
        let (from, to) = (id_key(id, 0), id_key(id, u32::MAX));
        Ok(self.superseded.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some())
    }

    /// The opposite.
    pub(crate) fn cease_superseding(&mut self, w: &mut Work<'_>, number: u32, row: &RevisionRow) -> Result<(), Error> {
        for id in row.supersedes.iter().filter(|id| **id != row.id) {
            if self.superseded.remove(&id_key(id, number))?.is_some() {
                w.touched.superseded.push(*id);
                continue;
            }
            // It did not count: maybe because both named each other, and then the other one's word counts from now on.
            let Some(update) = self.update(id)? else { continue };
            let Some(other) = self.revision(update.current)? else { continue };
            if other.publication == 0
                && !other.refused
                && other.supersedes.contains(&row.id)
                && (!other.unauthenticated || row.unauthenticated)
            {
                self.superseded.insert(&id_key(&row.id, update.current), ())?;
                w.touched.superseded.push(row.id);
            }
        }
        Ok(())
    }

    /// The opposite.
    pub(crate) fn unrelate_current(
        &mut self,
        w: &mut Work<'_>,
        number: u32,
        row: &RevisionRow,
        update: &Update,
    ) -> Result<(), Error> {
        for id in update.prerequisites.iter().flat_map(|clause| &clause.any_of) {
            self.dependents.remove(&id_key(id.bytes(), number))?;
        }
        for kb in &row.kbs {
            self.kbs.remove(kb_key(kb, number).as_slice())?;
        }
        self.cease_superseding(w, number, row)
    }
}
