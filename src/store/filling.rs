//! One draft at work: the binding of its row to its file, and what may happen in each state of its life.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use bytes::Bytes;
use redb::{ReadableTable, WriteTransaction};

use crate::base::limits::WINDOW;
use crate::base::span::{Span, SpanSet};
use crate::base::time::Timestamp;
use crate::model::name::Name;
use crate::model::payload::{Authority, Published};
use crate::store::core::Core;
use crate::store::draft::DraftFile;
use crate::store::drafts::{DraftSpec, HASH_STEP};
use crate::store::error::{Error, is_full};
use crate::store::lent::BUFFER;
use crate::store::promise::{Promise, Written};
use crate::store::proving::Ready;
use crate::store::space::{Beside, Reach, shift};
use crate::store::tables::{
    ClaimRow, DRAFTS, DraftRow, NOTES, NoteRow, PIECES, PiecesRow, PlaceRow, decode, encode, name_key,
};
use crate::store::writer::Room;

/// Where a draft is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    Filling,
    Proving,
    Proved(Arc<Ready>),
    Gone,
}

/// The shared part of all handles of one draft.
#[derive(Debug)]
pub(crate) struct DraftState {
    pub(super) core: Arc<Core>,
    pub(super) id: u64,
    /// Hashing holds it longer than anybody has the draft open; see [`Self::hash_later`].
    pub(super) file: Arc<DraftFile>,
    /// As it is to be. What is written of it is copied where it is written, so that no older one follows a newer one.
    pub(super) row: Arc<Mutex<DraftRow>>,
    pub(super) name: Name,
    pub(super) phase: RwLock<Phase>,
    pub(super) demand_at: AtomicU64,
    /// One checkpoint at a time, so that an older piece map never overwrites a newer one.
    pub(super) saving: Mutex<()>,
    /// Whether a job to hash is waiting.
    pub(super) hashing: Arc<AtomicBool>,
    /// Bytes that are to be read and hashed once more before it is proved.
    pub(super) again: AtomicU64,
    /// Room for what is to come.
    pub(super) promise: Promise,
}

impl DraftState {
    pub(super) fn row(&self) -> MutexGuard<'_, DraftRow> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> RwLockReadGuard<'_, Phase> {
        self.phase.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_phase(&self) -> RwLockWriteGuard<'_, Phase> {
        self.phase.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn io(&self, error: &std::io::Error) -> Error {
        Error::at(self.file.path(), error)
    }

    pub(super) fn ask(&self) {
        let now = self.core.clock.now();
        // A minute's grain: the book's lock is not taken for every piece.
        if now.ms() > self.demand_at.load(Ordering::Relaxed).saturating_add(60_000) {
            self.demand_at.store(now.ms(), Ordering::Relaxed);
            self.core.book.demand(self.id, now);
        }
    }

    pub(crate) fn spec(&self) -> DraftSpec {
        spec_of(self.name.clone(), &self.row())
    }

    /// Whether somebody who counts vouches for the bytes to come.
    pub(super) fn reach(&self) -> Reach {
        let row = self.row();
        if row.repairs.is_some() {
            return Reach::All;
        }
        reach(&self.name, row.expected.as_ref().map(ClaimRow::claim).as_ref())
    }

    pub(super) fn write(&self, offset: u64, parts: &[Bytes]) -> Result<Written, Error> {
        let phase = match self.phase.try_read() {
            Ok(phase) => phase,
            // It is being published, which may take as long as an fsync of all of it: a late duplicate must not hold a
            // thread of the I/O pool for that.
            Err(TryLockError::WouldBlock) if self.file.is_complete() => return Ok(Written::Done),
            Err(TryLockError::WouldBlock) => self.phase(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        match *phase {
            Phase::Filling => {}
            Phase::Proving | Phase::Proved(_) => return Ok(Written::Done),
            Phase::Gone => return Err(Error::Gone),
        }
        let size = self.row().size;
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if offset.checked_add(len).is_none_or(|end| end > size) {
            let what = format!("{len} bytes at {offset} do not fit into an object of {size} bytes");
            return Err(Error::Invalid { what });
        }
        if self.core.excess(len, Beside::Used)? > 0 || !self.promise.spend(len) {
            return Ok(Written::Short);
        }
        // It counts already. Where the disk takes less of it, the next checkpoint sets that right.
        self.core.book.grow(self.id, len);
        let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        self.file.write_parts(offset, &parts).map_err(|error| self.io(&error))?;
        self.ask();
        drop(phase);
        if self.file.is_complete() {
            self.promise.end();
        }
        self.hash_later();
        Ok(Written::Done)
    }

    /// Lets the hashing catch up behind what the pool has to do first. One such job a draft waits at a time. It has the
    /// file and not the draft, so that a draft that everybody has left counts as left, and its promise is free, at once.
    pub(super) fn hash_later(&self) {
        hash_later(&self.core, self.id, &self.file, &self.hashing);
    }

    pub(super) fn read(&self, span: Span) -> Result<Bytes, Error> {
        let len = usize::try_from(span.len()).ok().filter(|_| span.len() <= WINDOW);
        let Some(len) = len else {
            return Err(Error::Invalid { what: format!("{} bytes at once, at most {WINDOW} can be read", span.len()) });
        };
        self.ask();
        let mut lent = self.core.buffers.lend(len);
        self.file.read(span.start(), lent.room()).map_err(|error| self.io(&error))?;
        Ok(lent.freeze())
    }

    /// The same without waiting for the disk; `None` where it would have to.
    pub(super) fn read_at_once(&self, span: Span) -> Option<Bytes> {
        let len = usize::try_from(span.len()).ok().filter(|len| *len <= BUFFER)?;
        let mut lent = self.core.buffers.lend(len);
        let is_there = self.file.read_at_once(span.start(), lent.room());
        is_there.then(|| {
            self.ask();
            lent.freeze()
        })
    }

    pub(super) fn drop_span(&self, span: Span) -> Result<(), Error> {
        self.uncover(span)?;
        // The map on disk must not claim it either.
        self.checkpoint()
    }

    /// As [`Self::drop_span`], for bytes that have left. Map, tag and generation change in one commit: after a crash no
    /// other bytes are answered under the old tag, and the old ones under none.
    pub(super) fn disown(&self, span: Span, generation: u32, tag: String) -> Result<(), Error> {
        self.uncover(span)?;
        self.checkpoint_and(Some((tag, generation)))
    }

    fn uncover(&self, span: Span) -> Result<(), Error> {
        let mut phase = self.set_phase();
        match *phase {
            Phase::Filling => {}
            Phase::Proved(_) => *phase = Phase::Filling,
            Phase::Proving => return Err(Error::Busy { queued: 1 }),
            Phase::Gone => return Err(Error::Gone),
        }
        self.file.drop_span(span);
        Ok(())
    }

    pub(super) fn checkpoint(&self) -> Result<(), Error> {
        self.checkpoint_and(None)
    }

    /// A checkpoint, and with it another tag of the draft and the least generation of its name.
    fn checkpoint_and(&self, answered: Option<(String, u32)>) -> Result<(), Error> {
        let _one = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*self.phase(), Phase::Gone) {
            return Err(Error::Gone);
        }
        if let Some((tag, _)) = &answered {
            self.row().alias.tag.clone_from(tag);
        }
        let durable = match self.file.sync() {
            Ok(durable) => durable,
            Err(error) => return Err(self.spoiled(&error)),
        };
        // What was taken for bad while the sync ran must not be claimed.
        let covered = self.file.covered();
        let held: SpanSet = durable.iter().flat_map(|span| covered.within(span).collect::<Vec<_>>()).collect();
        self.save(&held, answered)
    }

    /// A sync that failed may have lost any page that was not yet on the disk, and a second one would say that all is
    /// well: nothing in the file can be trusted any more.
    pub(super) fn spoiled(&self, error: &std::io::Error) -> Error {
        if !is_full(error) {
            *self.set_phase() = Phase::Gone;
            self.give_up();
        }
        self.io(error)
    }

    pub(super) fn give_up(&self) {
        self.let_go();
        if let Err(error) = self.core.drop_draft(self.id) {
            tracing::warn!(draft = self.id, %error, "a draft that could not be synced is swept at the next start");
        }
    }

    /// What it was promised is free, and whoever waits for room is told.
    pub(super) fn let_go(&self) {
        self.promise.end();
        self.core.freed.notify_waiters();
    }

    fn save(&self, held: &SpanSet, answered: Option<(String, u32)>) -> Result<(), Error> {
        let allocated = self.file.allocated().map_err(|error| self.io(&error))?;
        let demand = Timestamp::from_ms(self.demand_at.load(Ordering::Relaxed));
        let spans = held.iter().map(|span| (span.start(), span.end())).collect();
        let row = PiecesRow { spans, demand_at: demand.ms(), allocated };
        let (id, name, whole_row) = (self.id, name_key(&self.name), Arc::clone(&self.row));
        self.core.writer.write(Room::Adds, move |tx| {
            // A draft that was discarded meanwhile must not come back as a row without one.
            if tx.open_table(DRAFTS)?.get(id)?.is_none() {
                return Err(Error::Gone);
            }
            if let Some((tag, generation)) = &answered {
                put_row(tx, id, &whole_row, Some(tag))?;
                raise_generation(tx, &name, |old| old.max(*generation))?;
            }
            put_pieces(tx, id, &row)
        })?;
        // What is written just now counts, and may or may not lie on the disk: it is measured between two writes.
        let phase = self.set_phase();
        let allocated = self.file.allocated().unwrap_or(allocated);
        if let Some(before) = self.core.book.measure(self.id, allocated, held.total(), demand) {
            self.core.sums.change(|sums| shift(&mut sums.drafts, allocated, before));
        }
        drop(phase);
        Ok(())
    }
}

fn hash_later(core: &Arc<Core>, id: u64, file: &Arc<DraftFile>, hashing: &Arc<AtomicBool>) {
    if hashing.swap(true, Ordering::AcqRel) {
        return;
    }
    let (own, its, waits) = (Arc::clone(core), Arc::clone(file), Arc::clone(hashing));
    let posted = core.io.post(move || {
        // Before the work: what is written while it runs posts another.
        waits.store(false, Ordering::Release);
        match its.hash_some(HASH_STEP) {
            Ok(true) => hash_later(&own, id, &its, &waits),
            Ok(false) => {}
            // Proving reads it again, and says so to somebody.
            Err(error) => tracing::warn!(draft = id, %error, "a draft cannot be hashed"),
        }
    });
    if !posted {
        hashing.store(false, Ordering::Release);
    }
}

/// How far eviction may go for bytes that come under `name`: to the end where somebody who counts vouches for them.
pub(super) fn reach(name: &Name, expected: Option<&Published>) -> Reach {
    let vouched = expected.is_some_and(|claim| claim.authority > Authority::Unauthenticated);
    if vouched || matches!(name, Name::Digest(_)) { Reach::All } else { Reach::Unproven }
}

/// Another generation of a name.
pub(super) fn raise_generation(tx: &WriteTransaction, name: &[u8], next: impl FnOnce(u32) -> u32) -> Result<(), Error> {
    let mut notes = tx.open_table(NOTES)?;
    let mut note: NoteRow = match notes.get(name)? {
        Some(row) => decode("notes.1", row.value())?,
        None => NoteRow::default(),
    };
    note.generation = next(note.generation.max(1));
    notes.insert(name, encode(&note)?.as_slice())?;
    Ok(())
}

pub(crate) fn spec_of(name: Name, row: &DraftRow) -> DraftSpec {
    let alias = row.alias.alias();
    DraftSpec {
        name,
        size: row.size,
        tag: alias.tag,
        last_modified: alias.last_modified,
        validators: alias.validators,
        expected: row.expected.as_ref().map(ClaimRow::claim),
        locations: row.places.iter().map(PlaceRow::location).collect(),
        freshness: alias.freshness,
        whole: row.whole,
    }
}

/// Writes the row of a draft as it is by now: two changes may come here in another order than they were made in, and the
/// last one to come has both. The tag alone stays as it was written unless another is given, since it may change only
/// together with the map of the bytes that are answered under it.
pub(super) fn put_row(tx: &WriteTransaction, id: u64, row: &Mutex<DraftRow>, tag: Option<&str>) -> Result<(), Error> {
    let mut drafts = tx.open_table(DRAFTS)?;
    let old = drafts.get(id)?.map(|old| decode::<DraftRow>("drafts.1", old.value())).transpose()?;
    let old = old.ok_or(Error::Gone)?;
    let mut row = row.lock().unwrap_or_else(PoisonError::into_inner).clone();
    row.alias.tag = tag.map_or(old.alias.tag, Into::into);
    drafts.insert(id, encode(&row)?.as_slice())?;
    Ok(())
}

/// Writes the piece map of a draft.
pub(crate) fn put_pieces(tx: &WriteTransaction, id: u64, row: &PiecesRow) -> Result<(), Error> {
    tx.open_table(PIECES)?.insert(id, encode(row)?.as_slice())?;
    Ok(())
}

/// Takes both rows of a draft away.
pub(crate) fn drop_draft_rows(tx: &WriteTransaction, id: u64) -> Result<(), Error> {
    tx.open_table(DRAFTS)?.remove(id)?;
    tx.open_table(PIECES)?.remove(id)?;
    Ok(())
}
