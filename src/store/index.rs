//! The index: one redb database, how it is opened, read, and what happens when it fails.
//!
//! 1. Opening is wrapped: damage is an error that names the file, never a panic.
//! 2. A read takes a snapshot, runs, and gives values back; no guard leaves this file's closures.
//!    Look-ups share one snapshot as long as nothing is committed: to take one, and to find the tables in it, costs more than
//!    to look into them.
//! 3. After an I/O error redb refuses everything. The gate to the file is shut, the file is opened again: for writing
//!    where only space was missing, else to be read alone (through an overlay), and [`Health`] says why. An index that is
//!    read alone already and fails once more is opened again too, a few times a minute at most.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, WriteTransaction};

use crate::base::disk::Disk;
use crate::store::backup;
use crate::store::error::{Error, is_full};
use crate::store::medium::{Access, Gate, Medium, Overlay};
use crate::store::tables::{ALIASES, Id, PAYLOADS};

/// Whether the store can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything works.
    Ready,
    /// Held payloads are served; nothing new is kept.
    ReadOnly {
        /// Why, and what to do.
        why: String,
    },
}

/// Openings to be read alone within [`REOPEN_SPAN`]: a disk that fails again and again is not asked without end, and one
/// that recovers is read again without a restart.
const REOPENINGS: usize = 8;
const REOPEN_SPAN: Duration = Duration::from_mins(1);

/// The database and its fate.
pub(crate) struct Index {
    path: PathBuf,
    medium: Medium,
    cache: usize,
    /// It stands in for one that is lost or damaged, and knows only what the proofs say.
    stands_in: bool,
    /// Looked at without waiting, by reactors too.
    state: ArcSwap<State>,
    /// Held while the index is opened anew, with the times of the last openings to be read alone.
    turning: Mutex<VecDeque<Instant>>,
    /// Counts commits.
    commits: AtomicU64,
    /// What the last look-up asked. Let go of by the next commit, so that the pages of a snapshot are not kept for longer.
    names: ArcSwapOption<Names>,
}

/// The tables of a look-up, in one snapshot.
pub(crate) struct Names {
    /// Of which opening, and after how many commits.
    at: (u64, u64),
    pub(crate) aliases: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(crate) payloads: ReadOnlyTable<&'static Id, &'static [u8]>,
}

#[derive(Clone)]
struct State {
    db: Option<Arc<Database>>,
    shut: Arc<AtomicBool>,
    /// Counts openings, so that two that saw the same failure do not both reopen.
    opening: u64,
    /// The disk was full and the index could not even be opened for writing: every write tries that again.
    full: bool,
    /// For good: nothing is opened any more.
    closed: bool,
    health: Health,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index at `path`. With [`Access::Read`] nothing is ever written, and `why` is what health says.
    pub(crate) fn open(
        path: &Path,
        medium: Medium,
        access: Access,
        cache: usize,
        why: Option<String>,
    ) -> Result<Self, Error> {
        let (db, shut) = start(path, &medium, access, cache)?;
        Ok(Self::with(path, medium, cache, db, shut, why.map_or(Health::Ready, |why| Health::ReadOnly { why })))
    }

    /// An index that stands in for the one at `path`, in memory alone, made by `fill`. It is only read, and `why` is what
    /// health says. Nothing at `path` is touched.
    pub(crate) fn stand_in(
        path: &Path,
        cache: usize,
        why: String,
        fill: impl FnOnce(&Database) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut builder = Builder::new();
        builder.set_cache_size(cache);
        let (gate, shut) = Gate::new(Box::new(InMemoryBackend::new()));
        let db = builder.create_with_backend(gate)?;
        fill(&db)?;
        // What is in memory cannot be opened a second time.
        let medium: Medium = Arc::new(|_| Err(io::Error::other("the index in memory failed")));
        Ok(Self { stands_in: true, ..Self::with(path, medium, cache, db, shut, Health::ReadOnly { why }) })
    }

    fn with(path: &Path, medium: Medium, cache: usize, db: Database, shut: Arc<AtomicBool>, health: Health) -> Self {
        let state = State { db: Some(Arc::new(db)), shut, opening: 0, full: false, closed: false, health };
        Self {
            path: path.to_owned(),
            medium,
            cache,
            stands_in: false,
            state: ArcSwap::from_pointee(state),
            turning: Mutex::default(),
            commits: AtomicU64::new(0),
            names: ArcSwapOption::empty(),
        }
    }

    /// Never waits, whatever the index is at.
    pub(crate) fn health(&self) -> Health {
        self.state.load().health.clone()
    }

    /// Whether it stands in for one that is lost: what only an index knows (catalog, decisions, endpoints, settings) is not in it.
    pub(crate) fn stands_in(&self) -> bool {
        self.stands_in
    }

    fn turn(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database that is open; waits while it is being opened anew, and opens it to be read where that failed before.
    fn db(&self) -> Result<(Arc<Database>, u64), Error> {
        let state = self.state.load();
        if let Some(db) = &state.db {
            return Ok((Arc::clone(db), state.opening));
        }
        drop(state);
        let mut turns = self.turn();
        let mut state = State::clone(&self.state.load());
        if state.db.is_none() && !state.closed {
            self.reopen_to_read(&mut state, &mut turns);
            self.state.store(Arc::new(state.clone()));
        }
        drop(turns);
        match (state.db, state.health) {
            (Some(db), _) => Ok((db, state.opening)),
            (None, Health::ReadOnly { why }) => Err(Error::Unavailable { why }),
            (None, Health::Ready) if state.full => Err(self.is_full()),
            (None, Health::Ready) => Err(Error::Unavailable { why: "the store is closed".into() }),
        }
    }

    fn is_full(&self) -> Error {
        Error::Full { what: format!("no space left on the disk for {}", self.path.display()) }
    }

    /// Runs `look` on a snapshot. Blocks on the disk. Where the index fails under it, it is tried once more on the
    /// reopened one; a snapshot of a handle that was given up meanwhile answers nothing (see [`Gate`]).
    pub(crate) fn read<T>(&self, look: impl Fn(&ReadTransaction) -> Result<T, Error>) -> Result<T, Error> {
        self.attempt(|db, _| look(&db.begin_read()?))
    }

    /// The same for a look-up of a name: everything that was committed before this was called is seen.
    pub(crate) fn look_up<T>(&self, look: impl Fn(&Names) -> Result<T, Error>) -> Result<T, Error> {
        self.attempt(|db, opening| look(&*self.names(db, opening)?))
    }

    fn names(&self, db: &Database, opening: u64) -> Result<Arc<Names>, Error> {
        // Before the snapshot is taken: one that a commit overtakes is not used again.
        let at = (opening, self.commits.load(Ordering::Acquire));
        if let Some(names) = &*self.names.load()
            && names.at == at
        {
            return Ok(Arc::clone(names));
        }
        let tx = db.begin_read()?;
        let names = Arc::new(Names { at, aliases: tx.open_table(ALIASES)?, payloads: tx.open_table(PAYLOADS)? });
        self.names.store(Some(Arc::clone(&names)));
        Ok(names)
    }

    fn attempt<T>(&self, look: impl Fn(&Database, u64) -> Result<T, Error>) -> Result<T, Error> {
        let mut tries = 0;
        loop {
            let (db, opening) = self.db()?;
            let outcome = catch_unwind(AssertUnwindSafe(|| look(&db, opening)));
            drop(db);
            let error = match outcome {
                Ok(Err(Error::Redb(error))) => Error::Redb(error),
                Ok(answer) => return answer,
                Err(_) => Error::Redb(Box::new(redb::Error::Corrupted("reading it panicked".into()))),
            };
            let failure = self.fail(opening, &error);
            tries += 1;
            if tries > 1 {
                return Err(failure);
            }
        }
    }

    /// Runs `change` in a write transaction and commits it. Only the writer calls it, so that there is never another.
    pub(crate) fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<(), Error>) -> Result<(), Error> {
        if let Health::ReadOnly { why } = self.health() {
            return Err(Error::Unavailable { why });
        }
        self.reopen_if_full()?;
        let (db, opening) = self.db()?;
        let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<(), Error> {
            let mut transaction = db.begin_write()?;
            transaction
                .set_durability(Durability::Immediate)
                .map_err(|error| Error::Redb(Box::new(redb::Error::Corrupted(error.to_string()))))?;
            transaction.set_quick_repair(true);
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        }));
        // Also where the commit failed: it may have come through.
        self.commits.fetch_add(1, Ordering::AcqRel);
        self.names.store(None);
        drop(db);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ Error::Redb(_))) => Err(self.fail(opening, &error)),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let error = Error::Redb(Box::new(redb::Error::Corrupted("writing it panicked".into())));
                Err(self.fail(opening, &error))
            }
        }
    }

    /// After a full disk: for writing again, now that there may be room.
    fn reopen_if_full(&self) -> Result<(), Error> {
        if !self.state.load().full {
            return Ok(());
        }
        let _turn = self.turn();
        let old = self.state.load_full();
        // Whoever still reads through the old handle must not see what the new one writes.
        old.shut.store(true, Ordering::Release);
        let (opened, full) = match start(&self.path, &self.medium, Access::Write, self.cache) {
            Ok(opened) => (Ok(opened), false),
            Err(error) => {
                tracing::warn!(%error, "the index cannot be opened for writing yet");
                (start(&self.path, &self.medium, Access::Read, self.cache), true)
            }
        };
        self.names.store(None);
        let mut state = State { db: None, full, opening: old.opening + 1, ..State::clone(&old) };
        if let Ok((db, shut)) = opened {
            (state.db, state.shut) = (Some(Arc::new(db)), shut);
        }
        self.state.store(Arc::new(state));
        if full { Err(self.is_full()) } else { Ok(()) }
    }

    /// Opens it to be read alone, unless that was tried too often of late.
    fn reopen_to_read(&self, state: &mut State, turns: &mut VecDeque<Instant>) {
        let now = Instant::now();
        turns.retain(|at| now.duration_since(*at) < REOPEN_SPAN);
        if turns.len() >= REOPENINGS {
            return;
        }
        turns.push_back(now);
        match start(&self.path, &self.medium, Access::Read, self.cache) {
            Ok((db, shut)) => {
                (state.db, state.shut) = (Some(Arc::new(db)), shut);
                state.opening += 1;
            }
            Err(error) => {
                tracing::error!(%error, "the index cannot be read again either; only open payloads are served");
            }
        }
    }

    /// Takes note of a failure and opens the index again. Returns what to tell the caller.
    fn fail(&self, opening: u64, error: &Error) -> Error {
        let full = full(error);
        let told = if full {
            self.is_full()
        } else {
            Error::Unavailable {
                why: format!(
                    "{} failed ({error}); check the disk, then restart the node; if it does not open again, use \
                     `waystation restore FILE` or `waystation store rebuild`",
                    self.path.display()
                ),
            }
        };
        let mut turns = self.turn();
        let mut state = State::clone(&self.state.load());
        if state.opening != opening || state.closed {
            return told;
        }
        state.shut.store(true, Ordering::Release);
        self.names.store(None);
        state.db = None;
        state.opening += 1;
        let was_ready = state.health == Health::Ready;
        if full && was_ready {
            tracing::warn!(index = %self.path.display(), "no space left for a commit; nothing that is held is lost");
        } else {
            tracing::error!(index = %self.path.display(), %error, "the index failed; held payloads are still served, nothing new is kept");
            if was_ready {
                state.health = Health::ReadOnly { why: told.to_string() };
            }
        }
        // Nobody waits to be told; whoever wants to read waits for the rest.
        self.state.store(Arc::new(state.clone()));
        if full && was_ready {
            match start(&self.path, &self.medium, Access::Write, self.cache) {
                Ok((db, shut)) => (state.db, state.shut) = (Some(Arc::new(db)), shut),
                Err(_) => state.full = true,
            }
        }
        if state.db.is_none() {
            self.reopen_to_read(&mut state, &mut turns);
        }
        self.state.store(Arc::new(state));
        told
    }

    /// Copies a snapshot into the new file `to`. A disk that refuses the copy is no failure of the index.
    pub(crate) fn copy(&self, disk: &dyn Disk, to: &Path, wanted: &dyn Fn() -> bool) -> Result<(), Error> {
        let (db, opening) = self.db()?;
        let copied = catch_unwind(AssertUnwindSafe(|| {
            let is_old = || self.state.load().opening != opening;
            // Not only at the end: the snapshot of a handle that was given up is worth nothing.
            backup::copy(disk, &db.begin_read()?, to, &|| wanted() && !is_old())
        }));
        if self.state.load().opening != opening && !matches!(copied, Ok(Ok(()))) {
            let why =
                format!("{} was opened anew while it was copied; ask for the copy once more", self.path.display());
            return Err(Error::Unavailable { why });
        }
        copied.unwrap_or_else(|_| Err(Error::Index { path: self.path.clone(), why: "reading it panicked".into() }))
    }

    /// Closes the database properly, so that the next start needs no repair. Reads and writes after it are refused.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let _turn = self.turn();
        let old = self.state.load_full();
        self.state.store(Arc::new(State { db: None, closed: true, ..State::clone(&old) }));
        let db = old.db.clone();
        drop(old);
        self.names.store(None);
        match db.map(Arc::try_unwrap) {
            Some(Ok(db)) => db.close().map_err(Error::from),
            // A snapshot is still being read; the last one to let go closes it.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

fn full(error: &Error) -> bool {
    match error {
        Error::Redb(error) => matches!(&**error, redb::Error::Io(error) if is_full(error)),
        _ => false,
    }
}

/// Opens the database on `medium`.
fn start(path: &Path, medium: &Medium, access: Access, cache: usize) -> Result<(Database, Arc<AtomicBool>), Error> {
    let broken = |why: String| Error::Index { path: path.to_owned(), why };
    let backend = medium(access).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if access != Access::Create => broken("it is missing".into()),
        _ => Error::at(path, &error),
    })?;
    let empty = backend.len().map_err(|error| Error::at(path, &error))? == 0;
    if empty && access != Access::Create {
        return Err(broken("it is empty".into()));
    }
    let (gate, shut) = Gate::new(backend);
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(cache);
        if access == Access::Read {
            builder.create_with_backend(Overlay::new(Box::new(gate))?)
        } else {
            builder.create_with_backend(gate)
        }
    }));
    match opened {
        Ok(Ok(db)) => Ok((db, shut)),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error))))
            if error.kind() != io::ErrorKind::InvalidData && error.kind() != io::ErrorKind::UnexpectedEof =>
        {
            Err(Error::at(path, &error))
        }
        Ok(Err(error)) => Err(broken(format!("it is damaged: {error}"))),
        Err(_) => Err(broken("it is damaged beyond reading".into())),
    }
}

/// A new, empty database file at `path`, closed properly by the caller.
pub(crate) fn create(path: &Path, cache: usize) -> Result<Database, Error> {
    start(path, &crate::store::medium::file(path.to_owned()), Access::Create, cache).map(|(db, _)| db)
}

/// The existing database file at `path`, to be read alone.
pub(crate) fn look(path: &Path, cache: usize) -> Result<Database, Error> {
    start(path, &crate::store::medium::file(path.to_owned()), Access::Read, cache).map(|(db, _)| db)
}

#[cfg(test)]
mod tests;
