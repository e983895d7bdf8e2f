//! Whether a file is still of use: whether any update that is offered today leads to it.
//!
//! A revision leads to its files where it is published, nothing supersedes its update, and it is the one that counts of its
//! update or a bundle names it. What can only be had in a bundle (a hidden member) is of use as long as one of its bundles
//! is. What nobody bundles is of use by itself.

use std::collections::HashMap;

use redb::{ReadOnlyTable, ReadTransaction};

use crate::base::digest::Sha1;
use crate::store::catalog::tables::{
    IdKey, LongKey, PARENTS, REVISIONS, RevisionRow, SUPERSEDED, USERS, id_key, identity_key, long_key, of_long_key,
    read,
};
use crate::store::error::Error;
use crate::store::tables::decode;

/// Bundles within bundles that are followed: real ones have two levels.
const DEPTH_MAX: u32 = 8;
/// Revisions that one file's question looks at: those of a Defender platform file have some hundred. What is beyond counts
/// as of use.
const LOOKS_MAX: u32 = 2000;

/// What is asked of one snapshot; remembers answers.
pub(crate) struct Live {
    users: Option<ReadOnlyTable<&'static LongKey, ()>>,
    revisions: Option<ReadOnlyTable<u32, &'static [u8]>>,
    parents: Option<ReadOnlyTable<&'static LongKey, ()>>,
    superseded: Option<ReadOnlyTable<&'static IdKey, ()>>,
    known: HashMap<u32, bool>,
    looks: u32,
}

impl Live {
    pub(crate) fn of(tx: &ReadTransaction) -> Result<Self, Error> {
        Ok(Self {
            users: read(tx, USERS)?,
            revisions: read(tx, REVISIONS)?,
            parents: read(tx, PARENTS)?,
            superseded: read(tx, SUPERSEDED)?,
            known: HashMap::new(),
            looks: 0,
        })
    }

    /// Whether an update that is offered leads to the file. One that the catalog does not know of is nobody's.
    pub(crate) fn is_of_use(&mut self, sha1: &Sha1) -> Result<bool, Error> {
        let Some(users) = &self.users else { return Ok(false) };
        let sha1 = sha1.as_bytes();
        let numbers = users.range::<&LongKey>(&long_key(sha1, 0)..=&long_key(sha1, u32::MAX))?;
        let numbers: Vec<u32> = numbers
            .take(LOOKS_MAX as usize)
            .map(|row| Ok(of_long_key(row?.0.value())))
            .collect::<Result<_, Error>>()?;
        self.looks = 0;
        // The newest first: nearly always that one says yes.
        for number in numbers.into_iter().rev() {
            if self.leads(number, 0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn leads(&mut self, number: u32, depth: u32) -> Result<bool, Error> {
        if let Some(known) = self.known.get(&number) {
            return Ok(*known);
        }
        self.looks += 1;
        if depth > DEPTH_MAX || self.looks > LOOKS_MAX {
            return Ok(true);
        }
        // Until it is known: a bundle that leads to itself is of no use by that.
        self.known.insert(number, false);
        let answer = self.look(number, depth)?;
        self.known.insert(number, answer);
        Ok(answer)
    }

    fn look(&mut self, number: u32, depth: u32) -> Result<bool, Error> {
        let (Some(revisions), Some(parents), Some(superseded)) = (&self.revisions, &self.parents, &self.superseded)
        else {
            return Ok(false);
        };
        let Some(row) = revisions.get(number)? else { return Ok(false) };
        let row: RevisionRow = decode("catalog-revisions.1", row.value())?;
        if row.publication != 0 || row.refused {
            return Ok(false);
        }
        let (from, to) = (id_key(&row.id, 0), id_key(&row.id, u32::MAX));
        if superseded.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some() {
            return Ok(false);
        }
        if row.current && row.deployable {
            return Ok(true);
        }
        let key = identity_key(row.identity());
        let bundles: Vec<u32> = parents
            .range::<&LongKey>(&long_key(&key, 0)..=&long_key(&key, u32::MAX))?
            .take(LOOKS_MAX as usize)
            .map(|row| Ok(of_long_key(row?.0.value())))
            .collect::<Result<_, Error>>()?;
        if bundles.is_empty() {
            return Ok(row.current);
        }
        for bundle in bundles.into_iter().rev() {
            if self.leads(bundle, depth + 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
