//! Putting a backup in the place of the index. No node may run.
//!
//! 1. The lock is taken, the backup is copied beside the index and read.
//! 2. What was under way when it was made is dropped from the copy: intents, deletes, drafts. They were of another time.
//! 3. It is held against `content/`: entries whose payload is gone go, payloads published since come back by their proofs.
//! 4. Its epoch is raised above every epoch known.
//! 5. The old index is kept beside it, the new one gets its name.

use std::path::{Path, PathBuf};

use redb::Database;

use crate::base::disk::Disk;
use crate::base::time::{Clock, SystemClock, Timestamp};
use crate::store::backup;
use crate::store::config::Config;
use crate::store::error::Error;
use crate::store::identity;
use crate::store::index;
use crate::store::layout::Layout;
use crate::store::lock;
use crate::store::shelves::{self, Dropped, Terms};
use crate::store::tables::{DOOMED, DRAFTS, INTENTS, PIECES};

/// Cache of the database that is being read or written.
pub(crate) const CACHE: usize = 64 << 20;

/// What came of a restore.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The store's new epoch.
    pub epoch: u64,
    /// Payloads in the index now: those of the backup that are there, and those that came after it.
    pub payloads: u64,
    /// Entries of the backup that were left out, since their payloads are not there any more.
    pub dropped_count: u64,
    /// How many of those were pinned; their pins are gone with them.
    pub dropped_pinned: u64,
    /// The first hundred thousand of them.
    pub dropped: Vec<Dropped>,
    /// Where the index that was replaced is kept, if there was one.
    pub old_index: Option<PathBuf>,
}

/// Puts a backup in place of the index (the old one is kept beside it), bumps the store epoch. No node may run. Blocks.
pub fn restore(config: &Config, disk: &dyn Disk, from: &Path) -> Result<Restored, Error> {
    let layout = Layout::new(&config.path);
    let _lock = lock::take_first(disk, layout.root(), &layout.lock())?;
    prepare(disk, &layout)?;
    let now = SystemClock.now().ms();

    // What is wrong is the file that was named, not the index: another file is the way out.
    let named = |why: &str| Error::Invalid {
        what: format!("{}: {why}; name a file that `waystation backup` wrote for this store", from.display()),
    };
    let unreadable = |error: Error| match error {
        Error::Index { why, .. } => named(&format!("it is no backup: {why}")),
        other => named(&format!("it is no backup: {other}")),
    };
    if disk.facts(from).map_err(|error| Error::at(from, &error))?.is_none_or(|facts| facts.len == 0) {
        return Err(named("there is no backup here"));
    }
    let new = beside(&layout, "restoring");
    let source = index::look(from, CACHE).map_err(unreadable)?;
    let (id, epoch) = shelves::meta(&source).map_err(unreadable)?;
    if let Some(known) = identity::read_if_whole(disk, &layout)?
        && known != id
    {
        return Err(named(&format!(
            "it is the index of store {}, but {} holds store {}; where the disk is a new one, empty that directory or name \
             another empty one, and restore before the first start",
            identity::text(&id),
            layout.root().display(),
            identity::text(&known)
        )));
    }
    remove(disk, &new)?;
    let db = index::create(&new, CACHE)?;
    backup::tables(&redb::ReadableDatabase::begin_read(&source).map_err(Error::from)?, &db, &|| true)
        .map_err(unreadable)?;
    drop(source);
    forget_work(&db)?;
    let terms = Terms { now: Timestamp::from_ms(now), unproven: config.unproven };
    let told = shelves::reconcile(&db, disk, &layout, terms, &mut |_| {})?;
    // Where the old epoch cannot be read, seconds since 1970 are above every epoch that was ever counted up to.
    let epoch = match old_epoch(&layout) {
        0 => epoch.saturating_add(1).max(now / 1000),
        known => epoch.max(known).saturating_add(1),
    };
    shelves::put_meta(&db, &id, epoch)?;
    db.close()?;
    let old_index = put_in_place(disk, &layout, &new, now)?;
    identity::write(disk, &layout, &id)?;
    Ok(Restored {
        epoch,
        payloads: told.payloads,
        dropped_count: told.dropped_count,
        dropped_pinned: told.dropped_pinned,
        dropped: told.dropped,
        old_index,
    })
}

/// Step 2.
fn forget_work(db: &Database) -> Result<(), Error> {
    let tx = db.begin_write()?;
    tx.open_table(INTENTS)?.retain(|_, _| false)?;
    tx.open_table(DOOMED)?.retain(|_, _| false)?;
    tx.open_table(DRAFTS)?.retain(|_, _| false)?;
    tx.open_table(PIECES)?.retain(|_, _| false)?;
    tx.commit()?;
    Ok(())
}

/// The directories that must be there.
pub(crate) fn prepare(disk: &dyn Disk, layout: &Layout) -> Result<(), Error> {
    for path in [layout.root().to_owned(), layout.content(), layout.drafts(), layout.quarantine()] {
        disk.create_dir(&path).map_err(|error| Error::at(&path, &error))?;
    }
    disk.sync_dir(layout.root()).map_err(|error| Error::at(layout.root(), &error))
}

/// The epoch of the index that is being replaced, as far as it can still be read.
pub(crate) fn old_epoch(layout: &Layout) -> u64 {
    index::look(&layout.index(), CACHE).and_then(|db| shelves::meta(&db)).map_or(0, |(_, epoch)| epoch)
}

/// The id in the index that is being replaced, as far as it can still be read.
pub(crate) fn old_id(layout: &Layout) -> Option<[u8; 16]> {
    index::look(&layout.index(), CACHE).and_then(|db| shelves::meta(&db)).ok().map(|(id, _)| id)
}

/// A name beside the index.
pub(crate) fn beside(layout: &Layout, word: &str) -> PathBuf {
    layout.root().join(format!("node.redb.{word}"))
}

pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.unlink(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::at(path, &error)),
        _ => Ok(()),
    }
}

/// Step 5. Returns where the old index is kept, if there was one.
pub(crate) fn put_in_place(disk: &dyn Disk, layout: &Layout, new: &Path, now: u64) -> Result<Option<PathBuf>, Error> {
    let index = layout.index();
    let mut kept = None;
    disk.open(new).and_then(|file| file.sync()).map_err(|error| Error::at(new, &error))?;
    if disk.facts(&index).map_err(|error| Error::at(&index, &error))?.is_some() {
        let old = beside(layout, &format!("old-{now}"));
        disk.rename(&index, &old).map_err(|error| Error::at(&old, &error))?;
        tracing::info!(path = %old.display(), "the old index is kept here; delete it when all is well");
        kept = Some(old);
    }
    disk.rename(new, &index).map_err(|error| Error::at(&index, &error))?;
    disk.sync_dir(layout.root()).map_err(|error| Error::at(layout.root(), &error))?;
    Ok(kept)
}
