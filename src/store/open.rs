//! Opening a store.
//!
//! 1. The lock is taken, as the owner of the directory: before that nothing is touched.
//! 2. The directories are made; where the file system or the rights on it allow no writing, all that follows only reads.
//! 3. The index and the id beside it must fit: an index is made only where there is neither id nor content. An index
//!    that is missing beside an id is an error that says how to get it back, never an empty store. Payloads that are missing
//!    all together are a mount that is not there: only reading is possible, so that nothing is fetched onto the wrong disk.
//! 4. The writer and the pools are started, and what a crash left is mended (see `recover`).
//! 5. Where 3 or 4 fail at the index, a store that is to serve gets one in memory instead, made from the proofs: held
//!    payloads are found by their digests and the names in their proofs, nothing is written, and health says what to do.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use redb::ReadableTable;
use tokio::sync::Notify;

use crate::base::disk::Disk;
use crate::base::time::Clock;
use crate::store::book::Book;
use crate::store::cache::{OpenCache, RecencyTick};
use crate::store::config::Config;
use crate::store::core::{
    BULK_THREADS, Core, EVICT_THREADS, LONG_THREADS, PASSING_THREADS, READ_THREADS, STEP_THREADS, SYNC_THREADS,
    VERIFY_THREADS,
};
use crate::store::counters::Counters;
use crate::store::entries;
use crate::store::error::{Error, is_full, is_read_only};
use crate::store::fleet::{ContactTick, Gathered, Served, ServedTick, States, StatesTick};
use crate::store::identity;
use crate::store::index::{Health, Index};
use crate::store::keys::Keys;
use crate::store::layout::Layout;
use crate::store::ledger::{Account, Ledger, LedgerTick};
use crate::store::lent::Buffers;
use crate::store::lock;
use crate::store::medium::{Access, Medium};
use crate::store::pool::Pool;
use crate::store::restore::old_epoch;
use crate::store::shelf::Shelved;
use crate::store::shelves::{self, read_count, read_meta};
use crate::store::space::Sums;
use crate::store::tables::{META, META_EPOCH, META_ID};
use crate::store::withheld::Withheld;
use crate::store::writer::{RESERVE, Tick, Writer};

/// What opening found and mended.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Rises with every restore, so that what others remember of this store can be told from what it is now.
    pub epoch: u64,
    /// Whether the store is a new one.
    pub created: bool,
    /// Publishes that were cut off and left no payload (their drafts are kept).
    pub intents_undone: u64,
    /// Publishes that were cut off after all files were in place.
    pub intents_finished: u64,
    /// Deletes that were cut off.
    pub deletes_finished: u64,
    /// Drafts that can be filled on.
    pub drafts_kept: u64,
    /// Files and rows in drafts that belonged to nothing.
    pub drafts_swept: u64,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}{}", self.epoch, if self.created { ", new" } else { "" })?;
        for (many, what) in [
            (self.intents_finished, "publishes finished"),
            (self.intents_undone, "publishes undone"),
            (self.deletes_finished, "deletes finished"),
            (self.drafts_kept, "drafts kept"),
            (self.drafts_swept, "drafts swept"),
        ] {
            if many > 0 {
                write!(f, ", {many} {what}")?;
            }
        }
        Ok(())
    }
}

/// What is to be done where the index is missing or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Say so and do not open: for whoever wants to change something.
    Refuse,
    /// Serve what is held, by its proofs.
    StandIn,
}

/// Opens a store; see the head of this file.
pub(crate) fn open(
    config: Config,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    medium: &Medium,
    lost: Lost,
) -> Result<(Arc<Core>, Opened), Error> {
    let layout = Layout::new(&config.path);
    if config.min_free > 0 && config.min_free < RESERVE {
        tracing::warn!(
            min_free = config.min_free,
            "store.min_free is less than the index needs to commit anything; {RESERVE} bytes are kept free instead"
        );
    }
    let lock = lock::take_first(&*disk, layout.root(), &layout.lock())?;
    let read_only = make_directories(&*disk, &layout)?;
    let outcome = open_index(&*disk, &layout, &config, medium, read_only.as_deref()).and_then(|(index, opened)| {
        let may_write = index.health() == Health::Ready;
        start(config.clone(), Arc::clone(&disk), Arc::clone(&clock), index, opened, may_write)
    });
    let (core, opened) = match outcome {
        Err(error) if lost == Lost::StandIn && is_of_the_index(&error) => {
            let (index, opened) = stand_in(&*disk, &layout, &config, &*clock, &error)?;
            start(config, disk, clock, index, opened, false)?
        }
        other => other?,
    };
    *core.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
    Ok((core, opened))
}

/// Whether payloads may be well although this failed.
pub(crate) fn is_of_the_index(error: &Error) -> bool {
    matches!(error, Error::Index { .. } | Error::Row { .. } | Error::Redb(_) | Error::Unavailable { .. })
}

/// Step 4. The lock is put in by the caller.
fn start(
    config: Config,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    index: Index,
    mut opened: Opened,
    may_write: bool,
) -> Result<(Arc<Core>, Opened), Error> {
    let layout = Layout::new(&config.path);
    let index = Arc::new(index);
    let io = Arc::new(Pool::new(config.io_threads));
    let reads = Arc::new(Pool::new(READ_THREADS));
    let freed = Arc::new(Notify::new());
    let cache = Arc::new(OpenCache::new(config.open_payloads, Arc::clone(&io), Arc::clone(&clock), Arc::clone(&freed)));
    let account = Arc::new(Account::new(Arc::clone(&clock)));
    let ledger = Ledger::new(Arc::clone(&account), Arc::clone(&index), Arc::clone(&reads))?;
    let heard = Arc::new(Gathered::default());
    let states = Arc::new(States::default());
    let served = Arc::new(Served::default());
    let ticks: Vec<Box<dyn Tick>> = vec![
        Box::new(RecencyTick::new(Arc::clone(&cache))),
        Box::new(LedgerTick::new(Arc::clone(&account))),
        Box::new(ContactTick::new(Arc::clone(&heard))),
        Box::new(StatesTick::new(Arc::clone(&states))),
        Box::new(ServedTick::new(Arc::clone(&served), Arc::clone(&heard))),
    ];
    let writer = Writer::start(Arc::clone(&index), Arc::clone(&disk), layout.root().to_owned(), ticks)?;
    let core = Arc::new(Core {
        config,
        layout,
        disk,
        clock,
        index,
        writer,
        io,
        reads,
        steps: Pool::new(STEP_THREADS),
        long: Pool::new(LONG_THREADS),
        verifying: Pool::new(VERIFY_THREADS),
        bulk: Pool::new(BULK_THREADS),
        passing: Pool::new(PASSING_THREADS),
        syncing: Pool::new(SYNC_THREADS),
        evictor: Pool::new(EVICT_THREADS),
        freed,
        short: Arc::default(),
        cache,
        sums: Sums::default(),
        book: Book::default(),
        keys: Keys::default(),
        shelved: Shelved::default(),
        withheld: Withheld::default(),
        arrived: crate::store::arrived::Arrived::default(),
        ledger,
        counters: Counters::default(),
        catalog: crate::store::catalog::Shared::default(),
        heard,
        states,
        served,
        buffers: Buffers::default(),
        looking: Arc::default(),
        next: AtomicU64::new(1),
        lock: Mutex::new(None),
    });
    core.recover(&mut opened, may_write)?;
    Ok((core, opened))
}

/// Step 5. Reads every proof, and no payload.
fn stand_in(
    disk: &dyn Disk,
    layout: &Layout,
    config: &Config,
    clock: &dyn Clock,
    error: &Error,
) -> Result<(Index, Opened), Error> {
    let path = layout.index();
    let what = match error {
        Error::Index { why, .. } => why.clone(),
        other => other.to_string(),
    };
    let why = format!(
        "{}: {what}; held payloads are served by their proofs, nothing new is kept, and pins and settings are not known; \
         stop the node, then bring the index back with `waystation restore FILE`, or make a new one from the proofs with \
         `waystation store rebuild`",
        path.display()
    );
    tracing::error!("{why}");
    let now = clock.now().ms();
    let id = match identity::read(disk, layout) {
        Ok(Some(id)) => id,
        _ => identity::fresh()?,
    };
    // It is no newer than the index that it stands in for; where that does not tell, as a rebuild would number it.
    let epoch = match old_epoch(layout) {
        0 => now / 1000,
        known => known,
    };
    let index = Index::stand_in(&path, config.index_cache, why, |db| {
        shelves::put_meta(db, &id, epoch)?;
        let terms = shelves::Terms { now: clock.now(), unproven: config.unproven };
        let told = shelves::reconcile(db, disk, layout, terms, &mut |_| {})?;
        tracing::warn!(
            payloads = told.payloads,
            left_out = told.bad_proofs.len() + told.without_proof.len(),
            "an index in memory was made from the proofs"
        );
        Ok(())
    })?;
    Ok((index, Opened { epoch, ..Opened::default() }))
}

/// Makes the name of the data directory itself durable, where that can be done: the directory above may be one that must
/// not be read, of a file system that cannot sync directories or cannot be written to, or of another disk that fails. That is
/// said, and decides nothing of what the store can do on its own disk.
fn sync_name(disk: &dyn Disk, root: &Path) {
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Err(error) = disk.sync_dir(parent) else { return };
    let (path, what) = (parent.display(), "the directory above the data directory cannot be synced");
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::InvalidInput
        | ErrorKind::Unsupported
        | ErrorKind::ReadOnlyFilesystem => tracing::debug!(%path, %error, what),
        _ => tracing::warn!(%path, %error, what),
    }
}

/// Step 2. Says why only reading is possible, if so.
fn make_directories(disk: &dyn Disk, layout: &Layout) -> Result<Option<String>, Error> {
    files_in_the_way(disk, layout)?;
    let make = || {
        for path in [layout.root().to_owned(), layout.content(), layout.drafts(), layout.quarantine()] {
            disk.create_dir(&path)?;
        }
        sync_name(disk, layout.root());
        disk.sync_dir(layout.root())?;
        // Directories that are there already prove nothing: only a file that can be made does.
        let probe = layout.root().join("probe");
        if disk.facts(&probe)?.is_some() {
            disk.unlink(&probe)?;
        }
        drop(disk.create(&probe)?);
        disk.unlink(&probe)
    };
    match make() {
        Ok(()) => Ok(None),
        Err(error) if is_read_only(&error) && disk.facts(&layout.store_id()).ok().flatten().is_some() => {
            let why = format!(
                "{} cannot be written to ({error}); held payloads are served, nothing new is kept; mount it writable or \
                 give the node's user the right to write, then restart the node",
                layout.root().display()
            );
            tracing::error!("{why}");
            Ok(Some(why))
        }
        // A full disk must not keep a store from serving what it holds; the first write will say so.
        Err(error) if is_full(&error) => Ok(None),
        Err(error) => Err(Error::at(layout.root(), &error)),
    }
}

/// Refuses what lies where a directory must be.
pub(crate) fn files_in_the_way(disk: &dyn Disk, layout: &Layout) -> Result<(), Error> {
    for path in [layout.content(), layout.drafts(), layout.quarantine()] {
        if disk.facts(&path).ok().flatten().is_some_and(|facts| !facts.is_dir) {
            let what = format!("{} must be a directory and is a file: move it away, then start again", path.display());
            return Err(Error::Invalid { what });
        }
    }
    Ok(())
}

/// Step 3. [`crate::store::survey`] judges in the same way: change both together.
fn open_index(
    disk: &dyn Disk,
    layout: &Layout,
    config: &Config,
    medium: &Medium,
    read_only: Option<&str>,
) -> Result<(Index, Opened), Error> {
    let path = layout.index();
    let open = |access| Index::open(&path, Arc::clone(medium), access, config.index_cache, read_only.map(Into::into));
    if let Some(id) = identity::read(disk, layout)? {
        let index = match open(if read_only.is_some() { Access::Read } else { Access::Write }) {
            // The disk says no to writing, or to part of the file: what can be read is served all the same.
            Err(error @ (Error::Io(_) | Error::Full { .. })) if read_only.is_none() => {
                let why = format!(
                    "the index cannot be opened for writing ({error}); held payloads are served, nothing new is kept; \
                     make room on the disk or mend it, then restart the node"
                );
                tracing::error!("{why}");
                let medium = Arc::clone(medium);
                Index::open(&path, medium, Access::Read, config.index_cache, Some(why))
                    .map_err(|_| Error::Index { path: path.clone(), why: format!("it cannot be read: {error}") })?
            }
            other => other?,
        };
        let (found, epoch) = index.read(read_meta).map_err(|error| broken(&path, &error))?;
        if found != id {
            return Err(foreign(path, &found, &id));
        }
        let opened = Opened { epoch, ..Opened::default() };
        let known = index.read(read_count).map_err(|error| broken(&path, &error))?;
        if read_only.is_some() || known == 0 || has_shelves(disk, layout)? {
            return Ok((index, opened));
        }
        let why = unmounted(layout, known);
        tracing::error!("{why}");
        drop(index);
        return Ok((Index::open(&path, Arc::clone(medium), Access::Read, config.index_cache, Some(why))?, opened));
    }
    let folder = layout.content();
    if !disk.list(&folder).map_err(|error| Error::at(&folder, &error))?.is_empty() {
        return Err(Error::Index { path, why: NO_ID.into() });
    }
    // A creation that was cut off left an index without content: it may be damaged, and nothing is in it.
    let index = match open(Access::Create) {
        Err(Error::Index { .. }) => {
            disk.unlink(&path).map_err(|error| Error::at(&path, &error))?;
            open(Access::Create)?
        }
        other => other?,
    };
    let id = identity::fresh()?;
    let known = std::cell::Cell::new((id, 1));
    index.write(|tx| {
        entries::create_tables(tx)?;
        let mut meta = tx.open_table(META)?;
        let old = meta.get(META_ID)?.and_then(|id| id.value().try_into().ok());
        let epoch = meta.get(META_EPOCH)?.and_then(|epoch| epoch.value().try_into().ok()).map(u64::from_le_bytes);
        known.set((old.unwrap_or(id), epoch.unwrap_or(1)));
        let (id, epoch) = known.get();
        meta.insert(META_ID, id.as_slice())?;
        meta.insert(META_EPOCH, epoch.to_le_bytes().as_slice())?;
        Ok(())
    })?;
    let (id, epoch) = known.get();
    disk.sync_dir(layout.root()).map_err(|error| Error::at(layout.root(), &error))?;
    identity::write(disk, layout, &id)?;
    Ok((index, Opened { epoch, created: true, ..Opened::default() }))
}

/// What is said of content that belongs to nothing.
pub(crate) const NO_ID: &str = "there is content, but no store-id beside it";

/// What is said where none of the `known` payloads is there.
pub(crate) fn unmounted(layout: &Layout, known: u64) -> String {
    let content = layout.content();
    format!(
        "{} has no payloads, but the index knows {known} payloads: is everything mounted? Nothing is kept meanwhile; mount it, \
         then restart the node. If they are lost, stop the node and run `waystation store rebuild --force`",
        content.display()
    )
}

/// An index of another store than its directory.
pub(crate) fn foreign(path: PathBuf, found: &[u8; 16], id: &[u8; 16]) -> Error {
    let why = format!("it belongs to store {}, this is {}", identity::text(found), identity::text(id));
    Error::Index { path, why }
}

/// Whether any directory of payloads lies in `content/`, which may be missing. Of those there are 256 at most, however many
/// payloads.
pub(crate) fn has_shelves(disk: &dyn Disk, layout: &Layout) -> Result<bool, Error> {
    let folder = layout.content();
    match disk.list(&folder) {
        Ok(found) => Ok(found.iter().any(|(_, facts)| facts.is_dir)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::at(&folder, &error)),
    }
}

pub(crate) fn broken(path: &Path, error: &Error) -> Error {
    Error::Index { path: path.to_owned(), why: format!("it cannot be read: {error}") }
}
