//! Open payloads: a bounded cache from names to mapped payloads, and the recency of all use.
//!
//! 1. A hot look-up asks the cache alone: no index, no disk, no lock but the cache's own shard.
//! 2. Several names of one payload share one map, through the shelf of open payloads.
//! 3. A change of a name or a payload takes it from the cache *after* its commit and moves the mark; a look-up that
//!    began before the mark moved does not put what it read into the cache, so that nothing old can come back.
//! 4. Uses are counted in memory and handed to the writer in batches.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use quick_cache::sync::Cache;
use redb::WriteTransaction;
use tokio::sync::Notify;

use crate::base::digest::Blake3;
use crate::base::span::Span;
use crate::base::time::{Clock, Timestamp};
use crate::model::name::Name;
use crate::model::payload::{Alias, Class, Payload};
use crate::store::blob::Blob;
use crate::store::cold::{Cold, Last, Read};
use crate::store::entries;
use crate::store::error::Error;
use crate::store::pool::Pool;
use crate::store::seen::{Seen, Watch};
use crate::store::writer::Tick;

/// Uses of a payload closer together than this are one to the index, so that a popular payload does not cost a row
/// at every tick.
const USE_GRAIN_MS: u64 = 60_000;

/// A payload found under a name.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its bytes and what is known of them.
    pub held: Arc<Held>,
    /// What belongs to the name it was found under.
    pub alias: Arc<Alias>,
}

/// An open, mapped payload. While one is alive its bytes stay readable, even if the payload is removed meanwhile.
pub struct Held {
    payload: Payload,
    blob: Arc<Blob>,
    io: Arc<Pool>,
    cold: Arc<Cold>,
    last: Last,
    seen: Seen,
    used: AtomicU64,
    /// The last use that the index has been told of.
    told: AtomicU64,
    recency: Arc<Recency>,
    freed: Arc<Notify>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("payload", &self.payload).finish_non_exhaustive()
    }
}

impl Held {
    /// What the store says of it.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The mapped bytes, without a copy. `span` must lie inside the payload (else it is cut). Touching cold pages of the
    /// result blocks on the disk: ask [`Held::resident`] first, and where it says no, [`Held::read`].
    pub fn window(self: &Arc<Self>, span: Span) -> Bytes {
        self.blob.bytes(span)
    }

    /// Whether all pages of `span` are in memory, or were a moment ago (80 ms at most, see `seen`). Never blocks (about 1 us for 1 MiB).
    pub fn resident(&self, span: Span) -> bool {
        self.seen.resident(span, |span| self.blob.resident(span))
    }

    /// Reads `span` (at most a window), which is not in memory, on the I/O pool. A bad disk is an error here, not a signal.
    /// It need not be in memory afterwards for anybody else. Where all buffers are out it waits for one, for a bounded time.
    pub async fn read(self: &Arc<Self>, span: Span) -> Result<Read, Error> {
        let held = Arc::clone(self);
        let seat = self.cold.seat().await;
        Ok(self.io.run(move || held.cold.read(&held.blob, &held.last, span, seat)).await??)
    }

    /// Brings the pages of `span` in under the map, on the I/O pool. A bad disk is an error here, not a signal.
    pub async fn populate(self: &Arc<Self>, span: Span) -> Result<(), Error> {
        let blob = Arc::clone(&self.blob);
        Ok(self.io.run(move || blob.populate(span)).await??)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.payload.expires_at.is_some_and(|end| end <= now)
    }

    fn count_use(&self, now: Timestamp) {
        self.used.fetch_max(now.ms(), Ordering::Relaxed);
    }

    /// A use that the index should hear of; it counts as told from now on.
    fn untold(&self) -> Option<u64> {
        let used = self.used.load(Ordering::Relaxed);
        let told = self.told.load(Ordering::Relaxed);
        if used < told.saturating_add(USE_GRAIN_MS) {
            return None;
        }
        self.told.store(used, Ordering::Relaxed);
        Some(used)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(used) = self.untold() {
            self.recency.note(self.payload.digests.blake3, used);
        }
        // It can be given up from now on, where somebody waits for room.
        self.freed.notify_waiters();
    }
}

/// Uses that the index has not been told of and that no open payload remembers.
#[derive(Debug, Default)]
pub(crate) struct Recency(Mutex<HashMap<Blake3, u64>>);

impl Recency {
    fn lock(&self) -> MutexGuard<'_, HashMap<Blake3, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, blake3: Blake3, ms: u64) {
        let mut uses = self.lock();
        let known = uses.entry(blake3).or_default();
        *known = ms.max(*known);
    }
}

/// What is open under one digest.
#[derive(Default)]
struct Shelf {
    open: Vec<Weak<Held>>,
    names: Vec<Name>,
}

#[derive(Default)]
struct Shelves {
    by_id: HashMap<Blake3, Shelf>,
    /// Maps of files that have lost their name but still take blocks.
    ghosts: Vec<(Weak<Blob>, u64)>,
    /// How many shelves there may be before the dead ones are cleared.
    clear_at: usize,
}

/// The open payloads.
pub(crate) struct OpenCache {
    names: Cache<Name, Found>,
    shelves: Mutex<Shelves>,
    mark: AtomicU64,
    recency: Arc<Recency>,
    io: Arc<Pool>,
    cold: Arc<Cold>,
    watch: Arc<Watch>,
    clock: Arc<dyn Clock>,
    /// Rung when a payload is served to nobody any more.
    freed: Arc<Notify>,
}

impl fmt::Debug for OpenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCache").field("names", &self.names.len()).finish_non_exhaustive()
    }
}

impl OpenCache {
    pub(crate) fn new(capacity: usize, io: Arc<Pool>, clock: Arc<dyn Clock>, freed: Arc<Notify>) -> Self {
        Self {
            names: Cache::new(capacity.max(1)),
            shelves: Mutex::new(Shelves { clear_at: capacity.max(16) * 2, ..Shelves::default() }),
            mark: AtomicU64::new(0),
            recency: Arc::default(),
            io,
            cold: Arc::new(Cold::of_machine()),
            watch: Arc::new(Watch::new()),
            clock,
            freed,
        }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Step 1: the cache alone.
    pub(crate) fn hot(&self, name: &Name) -> Option<Found> {
        let found = self.names.get(name)?;
        let now = self.clock.now();
        if found.held.is_over(now) {
            return None;
        }
        found.held.count_use(now);
        Some(found)
    }

    /// To be taken before the index is asked, and given back to [`OpenCache::admit`].
    pub(crate) fn mark(&self) -> u64 {
        self.mark.load(Ordering::Acquire)
    }

    /// The open payload of `blake3`, if its state is `payload`.
    pub(crate) fn open(&self, payload: &Payload) -> Option<Arc<Held>> {
        let shelves = self.shelves();
        let shelf = shelves.by_id.get(&payload.digests.blake3)?;
        let open: Vec<_> = shelf.open.iter().filter_map(Weak::upgrade).collect();
        drop(shelves);
        open.into_iter().find(|held| held.payload == *payload)
    }

    /// A payload that was just opened.
    pub(crate) fn hold(&self, payload: Payload, blob: Blob) -> Arc<Held> {
        Arc::new(Held {
            seen: Seen::new(payload.size, Arc::clone(&self.watch)),
            payload,
            blob: Arc::new(blob.ends_on(&self.io)),
            io: Arc::clone(&self.io),
            cold: Arc::clone(&self.cold),
            last: Last::default(),
            // Nobody has used it yet: who opens it may only look.
            used: AtomicU64::new(0),
            told: AtomicU64::new(0),
            recency: Arc::clone(&self.recency),
            freed: Arc::clone(&self.freed),
        })
    }

    /// Step 3: keeps what was found under `name`, unless something changed since `mark` was taken: then `None`, and the
    /// caller looks again. Counts the use where it `is_use`.
    pub(crate) fn admit(
        &self,
        mark: u64,
        name: &Name,
        held: &Arc<Held>,
        alias: Arc<Alias>,
        is_use: bool,
    ) -> Option<Found> {
        let found = Found { held: Arc::clone(held), alias };
        if is_use {
            held.count_use(self.clock.now());
        }
        let mut shelves = self.shelves();
        if self.mark() != mark {
            return None;
        }
        if shelves.by_id.len() >= shelves.clear_at {
            shelves.by_id.retain(|_, shelf| shelf.open.iter().any(|held| held.strong_count() > 0));
            shelves.clear_at = (shelves.by_id.len() * 2).max(shelves.clear_at);
        }
        let shelf = shelves.by_id.entry(held.payload.digests.blake3).or_default();
        shelf.open.retain(|open| open.strong_count() > 0);
        let weak = Arc::downgrade(held);
        if !shelf.open.iter().any(|open| open.ptr_eq(&weak)) {
            shelf.open.push(weak);
        }
        if !shelf.names.contains(name) {
            shelf.names.push(name.clone());
        }
        // Inside the lock, so that no change can slip in between; what falls out of the cache ends after it.
        let mut fallen = Default::default();
        self.names.insert_with_lifecycle(name.clone(), found.clone(), &mut fallen);
        drop(shelves);
        drop(fallen);
        Some(found)
    }

    /// After a commit that changed what `name` points to or says.
    pub(crate) fn drop_name(&self, name: &Name) {
        let shelves = self.shelves();
        self.mark.fetch_add(1, Ordering::AcqRel);
        let old = self.names.remove(name);
        drop((shelves, old));
    }

    /// After a commit that changed the state of a payload, replaced its file (`was` allocated so many bytes), or took it
    /// out.
    pub(crate) fn drop_payload(&self, blake3: &Blake3, was: Option<u64>) {
        let mut shelves = self.shelves();
        self.mark.fetch_add(1, Ordering::AcqRel);
        let mut old = Vec::new();
        if let Some(shelf) = shelves.by_id.remove(blake3) {
            old.extend(shelf.names.iter().map(|name| self.names.remove(name)));
            if let Some(bytes) = was {
                let open = shelf.open.iter().filter_map(Weak::upgrade).map(|held| Arc::downgrade(&held.blob)).next();
                shelves.ghosts.extend(open.map(|blob| (blob, bytes)));
            } else {
                // Still the same file: whoever serves it keeps it in use.
                shelves.by_id.insert(*blake3, Shelf { open: shelf.open, names: Vec::new() });
            }
        }
        drop(shelves);
        drop(old);
    }

    /// Takes an idle payload's names from the cache and says whether nobody is being served from it.
    pub(crate) fn retire(&self, blake3: &Blake3) -> bool {
        let mut shelves = self.shelves();
        let Some(shelf) = shelves.by_id.get_mut(blake3) else { return true };
        let old: Vec<_> = shelf.names.drain(..).map(|name| self.names.remove(&name)).collect();
        let open = shelf.open.clone();
        drop(shelves);
        drop(old);
        !open.iter().any(|held| held.strong_count() > 0)
    }

    /// The last use of a payload, as far as it is remembered here.
    pub(crate) fn used(&self, blake3: &Blake3) -> Option<u64> {
        let open: Vec<_> = {
            let shelves = self.shelves();
            let open = shelves.by_id.get(blake3).into_iter().flat_map(|shelf| &shelf.open);
            open.filter_map(Weak::upgrade).collect()
        };
        let noted = self.recency.lock().get(blake3).copied();
        let live = open.iter().map(|held| held.used.load(Ordering::Relaxed)).max();
        noted.max(live).filter(|ms| *ms > 0)
    }

    /// Bytes of payloads that were published since, that may be given up for bytes that nobody vouches for (`only_unproven`)
    /// or for any, and that somebody has in hand.
    pub(crate) fn in_hand(&self, since: Timestamp, only_unproven: bool) -> u64 {
        let open = {
            let shelves = self.shelves();
            let open = shelves.by_id.values().filter_map(|shelf| shelf.open.iter().find_map(Weak::upgrade));
            open.collect::<Vec<_>>()
        };
        let may_go = |held: &&Arc<Held>| {
            let payload = &held.payload;
            payload.published_at >= since && !(only_unproven && payload.class == Class::Proven)
        };
        open.iter().filter(may_go).map(|held| held.payload.size).sum()
    }

    /// Bytes of files without a name that somebody is still being served from.
    pub(crate) fn ghosts(&self) -> u64 {
        let mut shelves = self.shelves();
        shelves.ghosts.retain(|(blob, _)| blob.strong_count() > 0);
        shelves.ghosts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Drops the maps that nobody is served from, so that their blocks are really free.
    pub(crate) fn drop_idle(&self) {
        let shelves = self.shelves();
        // Several names of one payload share it: only what nobody but the cache holds is idle.
        let open: Vec<(Name, Found)> = self.names.iter().collect();
        let mut ours = HashMap::<*const Held, usize>::new();
        for (_, found) in &open {
            // Once in the cache, once here.
            *ours.entry(Arc::as_ptr(&found.held)).or_default() += 2;
        }
        let is_idle = |found: &Found| ours.get(&Arc::as_ptr(&found.held)) == Some(&Arc::strong_count(&found.held));
        let idle: Vec<&Name> = open.iter().filter(|(_, found)| is_idle(found)).map(|(name, _)| name).collect();
        let old: Vec<_> = idle.into_iter().map(|name| self.names.remove(name)).collect();
        drop(shelves);
        // The maps end here, after the locks: what takes them to look something up does not wait for an unmap.
        drop((old, open));
    }
}

/// Step 4: the writer's view of the recency.
pub(crate) struct RecencyTick {
    cache: Arc<OpenCache>,
    /// Said to a commit that has not ended: where it fails, it is said again.
    said: Mutex<HashMap<Blake3, u64>>,
}

impl RecencyTick {
    pub(crate) fn new(cache: Arc<OpenCache>) -> Self {
        Self { cache, said: Mutex::default() }
    }

    fn live(&self) -> Vec<Arc<Held>> {
        let shelves = self.cache.shelves();
        shelves.by_id.values().flat_map(|shelf| shelf.open.iter().filter_map(Weak::upgrade)).collect()
    }

    fn said(&self) -> MutexGuard<'_, HashMap<Blake3, u64>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tick for RecencyTick {
    fn is_due(&self) -> bool {
        let due = |held: &Arc<Held>| {
            held.used.load(Ordering::Relaxed) >= held.told.load(Ordering::Relaxed).saturating_add(USE_GRAIN_MS)
        };
        // Apart: letting go of the last open payload notes its use, under this very lock.
        let noted = !self.cache.recency.lock().is_empty();
        noted || self.live().iter().any(due)
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<(), Error> {
        let mut uses = std::mem::take(&mut *self.cache.recency.lock());
        for held in self.live() {
            if let Some(used) = held.untold() {
                let known = uses.entry(held.payload.digests.blake3).or_default();
                *known = used.max(*known);
            }
        }
        self.said().extend(uses.iter().map(|(blake3, ms)| (*blake3, *ms)));
        entries::touch(transaction, uses.iter().map(|(blake3, ms)| (blake3.as_bytes(), *ms)))
    }

    fn settle(&self, committed: bool) {
        let said = std::mem::take(&mut *self.said());
        if !committed {
            for (blake3, ms) in said {
                self.cache.recency.note(blake3, ms);
            }
        }
    }
}

#[cfg(test)]
mod tests;
