//! What the graph of all updates is made of: how revisions hang together, read in short snapshots.
//!
//! 1. The clock of the change log is taken first ([`super::Catalog::standing`]).
//! 2. All revisions are walked by their numbers, some thousand in a snapshot; then the numbers that were given to revisions which
//!    are not held any more, since endpoints still name them.
//! 3. The change log from that clock on tells what may have been seen too early or too late; those revisions are read again.

use std::ops::Bound;

use redb::ReadTransaction;

use crate::base::time::Timestamp;
use crate::model::update::{Clause, Identity, Kind, UpdateId};
use crate::store::catalog::facts::kind_of;
use crate::store::catalog::look::{ANSWER_MAX, revision_in, row_of};
use crate::store::catalog::pack::Dictionaries;
use crate::store::catalog::tables::{
    IDENTITIES, IdKey, PART_CORE, REVISIONS, RevisionRow, identity_key, identity_of, read,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

/// Revisions that one snapshot unpacks, some 20 microseconds each: pages that a commit gave up are used again only when no snapshot
/// needs them.
const SLICE: usize = 2_000;
/// Numbers that one snapshot looks at to find those whose revision is gone.
const SLICE_PAST: usize = 20_000;

/// How a revision hangs together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub struct Related {
    /// Its local number: never given to another revision.
    pub number: u32,
    /// Which revision of which update.
    pub identity: Identity,
    /// What it is.
    pub kind: Kind,
    /// Whether it is the one that counts of its update.
    pub current: bool,
    /// Whether it can be approved by itself.
    pub deployable: bool,
    /// It was withdrawn.
    pub expired: bool,
    /// It is held but must not be offered.
    pub refused: bool,
    /// It came over a connection that proves nothing.
    pub unauthenticated: bool,
    /// When it was made, as published.
    pub created: Option<Timestamp>,
    /// The logical clock of its last change.
    pub changed: u64,
    /// Length of its Core fragment in bytes.
    pub core: u64,
    /// The licence that must be accepted.
    pub eula: Option<UpdateId>,
    /// What must hold before it is evaluated: all of these.
    pub prerequisites: Vec<Clause>,
    /// All revisions that it bundles.
    pub members: Vec<Identity>,
    /// What it makes superfluous.
    pub supersedes: Vec<UpdateId>,
}

impl Related {
    /// A revision of which nothing else is known, the current one of its update.
    pub fn new(number: u32, identity: Identity, kind: Kind) -> Self {
        Self {
            number,
            identity,
            kind,
            current: true,
            deployable: false,
            expired: false,
            refused: false,
            unauthenticated: false,
            created: None,
            changed: 0,
            core: 0,
            eula: None,
            prerequisites: Vec::new(),
            members: Vec::new(),
            supersedes: Vec::new(),
        }
    }
}

/// One revision; `None` where what it says is lost, which is told in the log: it can be part of nothing.
fn related(
    tx: &ReadTransaction,
    dictionaries: &Dictionaries,
    number: u32,
    row: &RevisionRow,
) -> Result<Option<Related>, Error> {
    let update = match revision_in(tx, dictionaries, number, row) {
        Ok(update) => update,
        Err(Error::Row { what }) => {
            tracing::warn!(number, what, "a revision that cannot be read is left out of the graph of updates");
            return Ok(None);
        }
        Err(other) => return Err(other),
    };
    let core = row.parts.iter().find(|part| part.part == PART_CORE).map_or(0, |part| part.len);
    let members = update.members().collect();
    Ok(Some(Related {
        number,
        identity: row.identity(),
        kind: kind_of(row.kind)?,
        current: row.current,
        deployable: row.deployable,
        expired: row.publication != 0,
        refused: row.refused,
        unauthenticated: row.unauthenticated,
        created: row.created.map(Timestamp::from_ms),
        changed: row.changed,
        core,
        eula: update.eula.as_ref().map(|eula| eula.id),
        members,
        prerequisites: update.prerequisites,
        supersedes: update.supersedes,
    }))
}

impl Core {
    /// The next revisions behind `after`, and the number to go on behind, until there is none.
    pub(crate) fn related_step(&self, after: Option<u32>) -> Result<(Vec<Related>, Option<u32>), Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, REVISIONS)? else { return Ok((vec![], None)) };
            let mut found = Vec::new();
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            for (at, row) in table.range::<u32>((from, Bound::Unbounded))?.enumerate() {
                let (number, row) = row?;
                let row: RevisionRow = decode("catalog-revisions.1", row.value())?;
                found.extend(related(tx, &self.catalog.dictionaries, number.value(), &row)?);
                if at + 1 >= SLICE {
                    return Ok((found, Some(number.value())));
                }
            }
            Ok((found, None))
        })
    }

    /// These revisions, those that are held.
    pub(crate) fn related(&self, numbers: &[u32]) -> Result<Vec<Related>, Error> {
        self.index.read(|tx| {
            let mut found = Vec::new();
            for number in numbers.iter().take(ANSWER_MAX) {
                if let Some(row) = row_of(tx, *number)? {
                    found.extend(related(tx, &self.catalog.dictionaries, *number, &row)?);
                }
            }
            Ok(found)
        })
    }

    /// Numbers of revisions that were held once and are not, in the order of identities, and the identity to go on behind, until
    /// there is none.
    #[allow(clippy::type_complexity, reason = "a page and where the next one begins")]
    pub(crate) fn past_step(&self, after: Option<Identity>) -> Result<(Vec<(u32, Identity)>, Option<Identity>), Error> {
        self.index.read(|tx| {
            let (Some(table), Some(held)) = (read(tx, IDENTITIES)?, read(tx, REVISIONS)?) else {
                return Ok((vec![], None));
            };
            let mut found = Vec::new();
            let after = after.map(identity_key);
            let from: Bound<&IdKey> = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            for (at, row) in table.range::<&IdKey>((from, Bound::Unbounded))?.enumerate() {
                let (key, number) = row?;
                let identity = identity_of(key.value());
                if held.get(number.value())?.is_none() {
                    found.push((number.value(), identity));
                }
                if at + 1 >= SLICE_PAST {
                    return Ok((found, Some(identity)));
                }
            }
            Ok((found, None))
        })
    }
}
