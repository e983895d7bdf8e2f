//! A consistent copy of the index while it is in use: one snapshot, copied table by table in order into a new file, which
//! is synced and then gets its name. The writer goes on meanwhile; the snapshot only keeps its pages from being reused.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;

use redb::{Database, Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value};

use crate::base::disk::Disk;
use crate::store::accounts::tables as accounts;
use crate::store::approvals::tables as approvals;
use crate::store::catalog::tables as catalog;
use crate::store::error::Error;
use crate::store::feed::tables as feed;
use crate::store::fleet::tables as fleet;
use crate::store::identity;
use crate::store::index;
use crate::store::rules::tables as rules;
use crate::store::tables::{
    ALIASES, DOCUMENTS, DOOMED, DRAFTS, EXPIRY, INTENTS, LEDGER, META, NAMES, NOTES, OUTDATED, PAYLOADS, PIECES, PINS,
    QUARANTINE, RECENCY, TOTALS, UNCHECKED, USED,
};

/// The cache of the database that is being written.
const CACHE: usize = 16 << 20;

/// Rows between two looks whether anybody still waits for the copy.
const LOOK_EVERY: usize = 4096;

/// Copies the snapshot `tx` into the new file `to`, which must not be there; two that run at once do not meet. Ends with
/// an `Interrupted` error soon after `wanted` says no. Whatever fails, nothing is left.
pub(crate) fn copy(disk: &dyn Disk, tx: &ReadTransaction, to: &Path, wanted: &dyn Fn() -> bool) -> Result<(), Error> {
    free(disk, to)?;
    let mut temporary = to.to_owned();
    temporary.as_mut_os_string().push(format!(".{}.partial", identity::text(&identity::fresh()?)));
    let at = |error: std::io::Error| Error::at(&temporary, &error);
    let copied = index::create(&temporary, CACHE)
        .and_then(|db| {
            tables(tx, &db, wanted)?;
            db.close().map_err(Error::from)
        })
        .map_err(|error| match error {
            Error::Redb(error) => match *error {
                redb::Error::Io(error) => at(error),
                other => Error::Redb(Box::new(other)),
            },
            other => other,
        })
        .and_then(|()| disk.open(&temporary).and_then(|file| file.sync()).map_err(at))
        .and_then(|()| free(disk, to))
        .and_then(|()| disk.rename(&temporary, to).map_err(at));
    if copied.is_err() {
        // What is left of it is of no use, and the disk may be full of it.
        drop(disk.unlink(&temporary));
    }
    copied?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_dir(folder).map_err(|error| Error::at(folder, &error))
}

/// A backup never takes the place of another file: that may be the last one that is good.
fn free(disk: &dyn Disk, to: &Path) -> Result<(), Error> {
    if disk.facts(to).map_err(|error| Error::at(to, &error))?.is_some() {
        let what = format!("{} is there already and is not overwritten: name another file", to.display());
        return Err(Error::Invalid { what });
    }
    Ok(())
}

/// Copies every table that belongs in a backup, as long as it is `wanted`.
pub(crate) fn tables(tx: &ReadTransaction, db: &Database, wanted: &dyn Fn() -> bool) -> Result<(), Error> {
    carried(&mut Copying { tx, db, wanted })
}

/// Who goes from table to table, each of its own types.
trait Visit {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), Error>;
}

/// Every table that belongs in a backup. Whoever adds a table to the index says here that a backup carries it, or its test that it is left out,
/// and why.
fn carried(visit: &mut impl Visit) -> Result<(), Error> {
    visit.table(META)?;
    visit.table(TOTALS)?;
    visit.table(PAYLOADS)?;
    visit.table(ALIASES)?;
    visit.table(NAMES)?;
    visit.table(UNCHECKED)?;
    visit.table(USED)?;
    visit.table(RECENCY)?;
    visit.table(EXPIRY)?;
    visit.table(PINS)?;
    visit.table(OUTDATED)?;
    visit.table(INTENTS)?;
    visit.table(DOOMED)?;
    visit.table(DRAFTS)?;
    visit.table(PIECES)?;
    visit.table(NOTES)?;
    visit.table(QUARANTINE)?;
    visit.table(LEDGER)?;
    visit.table(DOCUMENTS)?;
    visit.table(catalog::REVISIONS)?;
    visit.table(catalog::PACKS)?;
    visit.table(catalog::UPDATES)?;
    visit.table(catalog::IDENTITIES)?;
    visit.table(catalog::DEPENDENTS)?;
    visit.table(catalog::PARENTS)?;
    visit.table(catalog::SUPERSEDED)?;
    visit.table(catalog::KBS)?;
    visit.table(catalog::FILES)?;
    visit.table(catalog::USERS)?;
    visit.table(catalog::SHA256S)?;
    visit.table(catalog::ADDRESSES)?;
    visit.table(catalog::LOG)?;
    visit.table(catalog::CHUNKS)?;
    visit.table(catalog::BLOBS)?;
    visit.table(catalog::DICTIONARIES)?;
    visit.table(catalog::NUMBERS)?;
    visit.table(catalog::STATE)?;
    visit.table(catalog::SETS)?;
    visit.table(catalog::WANTED)?;
    visit.table(catalog::REFUSED)?;
    visit.table(catalog::RUNS)?;
    visit.table(catalog::RUN_FILES)?;
    visit.table(catalog::RUN_NOTES)?;
    visit.table(catalog::DECISIONS)?;
    visit.table(catalog::DECISION_LOG)?;
    visit.table(catalog::DECISION_LINES)?;
    visit.table(catalog::ASKED)?;
    visit.table(catalog::LET_GO)?;
    visit.table(approvals::APPROVALS)?;
    visit.table(approvals::REVIEWS)?;
    visit.table(approvals::LICENCES)?;
    visit.table(approvals::GROUPS)?;
    visit.table(approvals::MEMBERS)?;
    visit.table(rules::RULES)?;
    visit.table(rules::PROGRESS)?;
    visit.table(rules::HISTORY)?;
    visit.table(approvals::POLICIES)?;
    // Keys for cookies are in no copy: after a restore new ones are made, and endpoints shake hands anew.
    visit.table(fleet::SERVER)?;
    visit.table(fleet::ENDPOINTS)?;
    visit.table(fleet::CONTACTS)?;
    visit.table(fleet::HISTORY)?;
    // What endpoints tell they tell again, but not since when.
    visit.table(fleet::UPDATES)?;
    visit.table(fleet::STATES)?;
    visit.table(fleet::CHANGES)?;
    visit.table(fleet::SERVED)?;
    visit.table(fleet::SERVED_PLACES)?;
    // Whoever restores an authority begins a new epoch; nodes below compare what they have by its hashes.
    visit.table(feed::LOG)?;
    visit.table(feed::LIVE)?;
    visit.table(feed::STAGED)?;
    visit.table(feed::BODIES)?;
    visit.table(feed::LOOSE)?;
    visit.table(feed::UNTOLD)?;
    visit.table(feed::CHECKPOINTS)?;
    visit.table(feed::NUMBERS)?;
    visit.table(feed::STATE)?;
    // Sessions are in no copy: whoever restores one signs in anew.
    visit.table(accounts::ACCOUNTS)?;
    visit.table(accounts::TOKENS)?;
    visit.table(accounts::AUDIT)?;
    visit.table(accounts::AUDIT_STATE)
}

/// Copies table by table.
struct Copying<'a> {
    tx: &'a ReadTransaction,
    db: &'a Database,
    wanted: &'a dyn Fn() -> bool,
}

impl Visit for Copying<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), Error> {
        let from = match self.tx.open_table(definition) {
            // An index that was made before there was this table: it is empty.
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            from => from?,
        };
        let into = self.db.begin_write()?;
        {
            let mut into = into.open_table(definition)?;
            let mut end = into.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded)?;
            for (at, row) in from.iter()?.enumerate() {
                if at % LOOK_EVERY == 0 && !(self.wanted)() {
                    return Err(Error::Io(std::io::Error::new(ErrorKind::Interrupted, "the backup was broken off")));
                }
                let (key, value) = row?;
                // In order behind the last one: pages are filled one after the other.
                end.insert_before(key.value(), value.value())?;
            }
        }
        into.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
