//! A consistent copy of the index while it is in use: one snapshot, copied table by table in order into a new file, which
//! is synced and then gets its name. The writer goes on meanwhile; the snapshot only keeps its pages from being reused.

use std::ops::Bound;
use std::path::Path;

use redb::{Database, Key, ReadTransaction, ReadableTable, TableDefinition, Value};

use crate::base::disk::Disk;
use crate::store::error::Error;
use crate::store::index;
use crate::store::tables::{
    ALIASES, DOCUMENTS, DOOMED, DRAFTS, EXPIRY, INTENTS, LEDGER, META, NAMES, NOTES, PAYLOADS, PIECES, PINS,
    QUARANTINE, RECENCY, TOTALS, USED,
};

/// The cache of the database that is being written.
const CACHE: usize = 16 << 20;

/// Copies the snapshot `tx` into a new file at `to`. One that is there is replaced.
pub(crate) fn copy(disk: &dyn Disk, tx: &ReadTransaction, to: &Path) -> Result<(), Error> {
    let mut temporary = to.to_owned();
    temporary.as_mut_os_string().push(".partial");
    let at = |error: std::io::Error| Error::at(&temporary, &error);
    if disk.facts(&temporary).map_err(at)?.is_some() {
        disk.unlink(&temporary).map_err(at)?;
    }
    let copied = index::create(&temporary, CACHE).and_then(|db| {
        tables(tx, &db)?;
        db.close().map_err(Error::from)
    });
    if let Err(error) = copied {
        // What is left of it is of no use, and the disk may be full of it.
        drop(disk.unlink(&temporary));
        return Err(match error {
            Error::Redb(error) => match *error {
                redb::Error::Io(error) => Error::at(&temporary, &error),
                other => Error::Redb(Box::new(other)),
            },
            other => other,
        });
    }
    disk.open(&temporary).and_then(|file| file.sync()).map_err(at)?;
    disk.rename(&temporary, to).map_err(at)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_dir(folder).map_err(|error| Error::at(folder, &error))
}

/// Copies every table.
pub(crate) fn tables(tx: &ReadTransaction, db: &Database) -> Result<(), Error> {
    table(tx, db, META)?;
    table(tx, db, TOTALS)?;
    table(tx, db, PAYLOADS)?;
    table(tx, db, ALIASES)?;
    table(tx, db, NAMES)?;
    table(tx, db, USED)?;
    table(tx, db, RECENCY)?;
    table(tx, db, EXPIRY)?;
    table(tx, db, PINS)?;
    table(tx, db, INTENTS)?;
    table(tx, db, DOOMED)?;
    table(tx, db, DRAFTS)?;
    table(tx, db, PIECES)?;
    table(tx, db, NOTES)?;
    table(tx, db, QUARANTINE)?;
    table(tx, db, LEDGER)?;
    table(tx, db, DOCUMENTS)
}

fn table<K: Key + 'static, V: Value + 'static>(
    tx: &ReadTransaction,
    db: &Database,
    definition: TableDefinition<'static, K, V>,
) -> Result<(), Error> {
    let from = tx.open_table(definition)?;
    let into = db.begin_write()?;
    {
        let mut into = into.open_table(definition)?;
        let mut end = into.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded)?;
        for row in from.iter()? {
            let (key, value) = row?;
            // In order behind the last one: pages are filled one after the other.
            end.insert_before(key.value(), value.value())?;
        }
    }
    into.commit()?;
    Ok(())
}
