//! Which files endpoints have asked for, by what their names are like: so that of a new update those come ahead of time that are
//! like what was asked for before (see `model::policy`).
//!
//! 1. Who answers endpoints tells the name of what was not held whole ([`Lately::note`]): a set in memory, no look at the index.
//! 2. From time to time the set is looked up in the catalog and kept ([`Core::keep_asked`]); what the catalog does not know is
//!    forgotten. What a crash loses is asked for again.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::base::digest::{Digest, Sha1};
use crate::model::name::Name;
use crate::model::policy::likeness;
use crate::store::catalog::tables::{ASKED, FILES, FileRow, SHA256S, Sha256Key, read, sha256_key};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;
use crate::store::writer::Room;

/// Names that wait to be looked up; what comes beyond is not noted, and is asked for again.
const LATELY_MAX: usize = 1024;
/// Likenesses that are kept: a real catalog has some thousand. The ones that were asked for longest ago go first.
const ASKED_MAX: u64 = 20_000;

/// Names that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Lately(Mutex<HashSet<Name>>);

impl Lately {
    fn names(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An endpoint asked for this.
    pub(crate) fn note(&self, name: &Name) {
        let mut names = self.names();
        if names.len() < LATELY_MAX && !names.contains(name) {
            names.insert(name.clone());
        }
    }
}

/// The SHA-1 of the catalog's file that a name means, if it can be one: its digest, or the one at the end of a file name, as
/// Microsoft's addresses have it.
fn sha1_of(tx: &ReadTransaction, name: &Name) -> Result<Option<Sha1>, Error> {
    Ok(match name {
        Name::Digest(Digest::Sha1(sha1)) => Some(*sha1),
        Name::Digest(Digest::Sha256(sha256)) => {
            let Some(table) = read(tx, SHA256S)? else { return Ok(None) };
            let (from, to) = (sha256_key(sha256.as_bytes(), &[0; 20]), sha256_key(sha256.as_bytes(), &[255; 20]));
            let first = table.range::<&Sha256Key>(&from..=&to)?.next().transpose()?;
            first.and_then(|(key, _)| key.value().last_chunk::<20>().copied()).map(Sha1::new)
        }
        Name::Digest(Digest::Blake3(_)) => None,
        Name::Origin(key) => {
            let path = key.target().split('?').next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            let stem = file.split('.').next().unwrap_or_default();
            stem.rsplit('_').next().and_then(|digits| digits.parse().ok())
        }
    })
}

/// What is kept, all of it: at most some MB.
pub(super) fn asked_in(tx: &ReadTransaction) -> Result<HashSet<String>, Error> {
    let Some(table) = read(tx, ASKED)? else { return Ok(HashSet::new()) };
    table.iter()?.map(|row| Ok(row?.0.value().to_owned())).collect()
}

impl Core {
    /// Step 2. Says how many likenesses are new.
    pub(crate) fn keep_asked(&self) -> Result<u64, Error> {
        let names: Vec<Name> = std::mem::take(&mut *self.catalog.asked.names()).into_iter().collect();
        if names.is_empty() {
            return Ok(0);
        }
        let mut like: Vec<String> = self.index.read(|tx| {
            let Some(files) = read(tx, FILES)? else { return Ok(vec![]) };
            let mut like = Vec::new();
            for name in &names {
                let Some(sha1) = sha1_of(tx, name)? else { continue };
                let Some(row) = files.get(sha1.as_bytes())? else { continue };
                like.push(likeness(&decode::<FileRow>("catalog-files.1", row.value())?.name));
            }
            Ok(like)
        })?;
        like.retain(|like| !like.is_empty());
        if like.is_empty() {
            return Ok(0);
        }
        like.sort_unstable();
        like.dedup();
        let (new, _) = self.catalog_write(Room::Adds, move |t, w| {
            let mut new = 0;
            for like in &like {
                new += u64::from(t.asked.insert(like.as_str(), w.now)?.is_none());
            }
            let over = t.asked.len()?.saturating_sub(ASKED_MAX);
            if over > 0 {
                let mut all: Vec<(u64, String)> = t
                    .asked
                    .iter()?
                    .map(|row| row.map(|(like, at)| (at.value(), like.value().to_owned())))
                    .collect::<Result<_, _>>()?;
                all.sort_unstable();
                for (_, like) in all.iter().take(usize::try_from(over).unwrap_or(usize::MAX)) {
                    t.asked.remove(like.as_str())?;
                }
            }
            Ok(new)
        })?;
        Ok(new)
    }
}
