//! What every part of the store shares: where things lie, the index and its writer, the threads, what is open.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::base::disk::{Disk, Facts};
use crate::base::time::Clock;
use crate::store::book::Book;
use crate::store::cache::OpenCache;
use crate::store::config::Config;
use crate::store::counters::Counters;
use crate::store::error::Error;
use crate::store::index::{Health, Index};
use crate::store::keys::Keys;
use crate::store::layout::Layout;
use crate::store::ledger::Ledger;
use crate::store::lent::Buffers;
use crate::store::lock::Lock;
use crate::store::pool::Pool;
use crate::store::shelf::Shelved;
use crate::store::space::Sums;
use crate::store::withheld::Withheld;
use crate::store::writer::Writer;

/// Threads for look-ups in the index: they must not wait behind cold pages.
pub(crate) const READ_THREADS: usize = 2;
/// Threads for what takes several commits: publish, remove.
pub(crate) const STEP_THREADS: usize = 4;
/// Threads for what takes long and somebody waits for: proving, and making the draft of a repair.
pub(crate) const LONG_THREADS: usize = 4;
/// Threads that read payloads again; they sleep to keep a rate, and so share with nobody.
pub(crate) const VERIFY_THREADS: usize = 4;
/// Threads for imports and for copies of the index.
pub(crate) const BULK_THREADS: usize = 2;
/// Threads that hash what passes through without being kept: with the largest pieces each takes some milliseconds, and a
/// core does more than a gigabit a second.
pub(crate) const PASSING_THREADS: usize = 2;
/// Threads that pack and commit revisions of the catalog: the workers of a sync must not take those that publish.
pub(crate) const SYNC_THREADS: usize = 2;
/// One thread gives up payloads and promises room: two that look for victims would find the same.
pub(crate) const EVICT_THREADS: usize = 1;

/// The shared part of all handles of the store. Its methods block; the facade runs them on the pools.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Arc<Index>,
    pub(crate) writer: Writer,
    pub(crate) io: Arc<Pool>,
    pub(crate) reads: Arc<Pool>,
    pub(crate) steps: Pool,
    pub(crate) long: Pool,
    pub(crate) verifying: Pool,
    pub(crate) bulk: Pool,
    pub(crate) passing: Pool,
    pub(crate) syncing: Pool,
    pub(crate) evictor: Pool,
    /// Told whenever room may have been let go of.
    pub(crate) freed: Arc<Notify>,
    /// Told whenever room had to be made while somebody waited.
    pub(crate) short: Arc<Notify>,
    pub(crate) cache: Arc<OpenCache>,
    /// What drafts are read into.
    pub(crate) buffers: Buffers,
    pub(crate) sums: Sums,
    pub(crate) book: Book,
    pub(crate) keys: Keys,
    pub(crate) shelved: Shelved,
    pub(crate) withheld: Withheld,
    /// Payloads that came to be held, for other nodes.
    pub(crate) arrived: crate::store::arrived::Arrived,
    pub(crate) ledger: Ledger,
    pub(crate) counters: Counters,
    pub(crate) catalog: crate::store::catalog::Shared,
    /// Endpoints that were heard of.
    pub(crate) heard: Arc<crate::store::fleet::Gathered>,
    /// What they told of their updates.
    pub(crate) states: Arc<crate::store::fleet::States>,
    /// Files that they were sent.
    pub(crate) served: Arc<crate::store::fleet::Served>,
    /// Held while a payload is read to find out what its SHA-1 is worth: one at a time.
    pub(crate) looking: Arc<tokio::sync::Mutex<()>>,
    /// Above every id that a draft or a thing in quarantine has.
    pub(crate) next: AtomicU64,
    pub(crate) lock: Mutex<Option<Lock>>,
}

impl Core {
    /// A number for a new draft or a place in quarantine.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses early what could not be finished.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        match self.index.health() {
            Health::Ready => Ok(()),
            Health::ReadOnly { why } => Err(Error::Unavailable { why }),
        }
    }

    /// Takes a name away; one that is not there is fine.
    pub(crate) fn unlink(&self, path: &Path) -> Result<(), Error> {
        match self.disk.unlink(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::at(path, &error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn facts(&self, path: &Path) -> Result<Option<Facts>, Error> {
        self.disk.facts(path).map_err(|error| Error::at(path, &error))
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        self.disk.sync_dir(path).map_err(|error| Error::at(path, &error))
    }
}

/// Gives the owner the right to write back to a draft that was sealed for a publish which did not come about. A right is
/// not data: it needs no order and no sync.
pub(crate) fn unseal(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
        tracing::debug!(path = %path.display(), %error, "a draft stays sealed");
    }
}
