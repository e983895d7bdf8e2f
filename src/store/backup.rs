//! A consistent copy of the index while it is in use: one snapshot, copied table by table in order into a new file, which
//! is synced and then gets its name. The writer goes on meanwhile; the snapshot only keeps its pages from being reused.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;

use redb::{Database, Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value};

use crate::base::disk::Disk;
use crate::store::catalog::tables as catalog;
use crate::store::error::Error;
use crate::store::fleet::tables as fleet;
use crate::store::identity;
use crate::store::index;
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

/// Copies every table, as long as it is `wanted`.
pub(crate) fn tables(tx: &ReadTransaction, db: &Database, wanted: &dyn Fn() -> bool) -> Result<(), Error> {
    table(tx, db, META, wanted)?;
    table(tx, db, TOTALS, wanted)?;
    table(tx, db, PAYLOADS, wanted)?;
    table(tx, db, ALIASES, wanted)?;
    table(tx, db, NAMES, wanted)?;
    table(tx, db, UNCHECKED, wanted)?;
    table(tx, db, USED, wanted)?;
    table(tx, db, RECENCY, wanted)?;
    table(tx, db, EXPIRY, wanted)?;
    table(tx, db, PINS, wanted)?;
    table(tx, db, OUTDATED, wanted)?;
    table(tx, db, INTENTS, wanted)?;
    table(tx, db, DOOMED, wanted)?;
    table(tx, db, DRAFTS, wanted)?;
    table(tx, db, PIECES, wanted)?;
    table(tx, db, NOTES, wanted)?;
    table(tx, db, QUARANTINE, wanted)?;
    table(tx, db, LEDGER, wanted)?;
    table(tx, db, DOCUMENTS, wanted)?;
    table(tx, db, catalog::REVISIONS, wanted)?;
    table(tx, db, catalog::PACKS, wanted)?;
    table(tx, db, catalog::UPDATES, wanted)?;
    table(tx, db, catalog::IDENTITIES, wanted)?;
    table(tx, db, catalog::DEPENDENTS, wanted)?;
    table(tx, db, catalog::PARENTS, wanted)?;
    table(tx, db, catalog::SUPERSEDED, wanted)?;
    table(tx, db, catalog::KBS, wanted)?;
    table(tx, db, catalog::FILES, wanted)?;
    table(tx, db, catalog::USERS, wanted)?;
    table(tx, db, catalog::SHA256S, wanted)?;
    table(tx, db, catalog::ADDRESSES, wanted)?;
    table(tx, db, catalog::LOG, wanted)?;
    table(tx, db, catalog::CHUNKS, wanted)?;
    table(tx, db, catalog::BLOBS, wanted)?;
    table(tx, db, catalog::DICTIONARIES, wanted)?;
    table(tx, db, catalog::NUMBERS, wanted)?;
    table(tx, db, catalog::STATE, wanted)?;
    table(tx, db, catalog::SETS, wanted)?;
    table(tx, db, catalog::WANTED, wanted)?;
    table(tx, db, catalog::REFUSED, wanted)?;
    table(tx, db, catalog::RUNS, wanted)?;
    table(tx, db, catalog::RUN_FILES, wanted)?;
    table(tx, db, catalog::RUN_NOTES, wanted)?;
    table(tx, db, catalog::DECISIONS, wanted)?;
    table(tx, db, catalog::DECISION_LOG, wanted)?;
    table(tx, db, catalog::DECISION_LINES, wanted)?;
    table(tx, db, catalog::ASKED, wanted)?;
    table(tx, db, catalog::LET_GO, wanted)?;
    // Keys for cookies are in no copy: after a restore new ones are made, and endpoints shake hands anew.
    table(tx, db, fleet::SERVER, wanted)?;
    table(tx, db, fleet::ENDPOINTS, wanted)?;
    table(tx, db, fleet::CONTACTS, wanted)?;
    table(tx, db, fleet::HISTORY, wanted)
}

fn table<K: Key + 'static, V: Value + 'static>(
    tx: &ReadTransaction,
    db: &Database,
    definition: TableDefinition<'static, K, V>,
    wanted: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let from = match tx.open_table(definition) {
        // An index that was made before there was this table: it is empty.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        from => from?,
    };
    let into = db.begin_write()?;
    {
        let mut into = into.open_table(definition)?;
        let mut end = into.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded)?;
        for (at, row) in from.iter()?.enumerate() {
            if at % LOOK_EVERY == 0 && !wanted() {
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
