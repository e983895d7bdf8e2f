//! Space: what is used, what may be used, and what goes first when there is too little.
//!
//! 1. Used is what the disk really allocated: payloads and quarantine by running sums in the index (mirrored here, so
//!    that nothing is counted at start), drafts as they grow, and files without a name that are still being served.
//! 2. Before anything is counted the maps that nobody is served from are dropped.
//! 3. What is promised to what is on its way counts too (see `promise`), for whoever wants more beside it.
//! 4. Room is made in this order: unproven payloads past their end, outdated payloads (those that only superseded or
//!    withdrawn updates have, marked when the catalog changes: see `review`), drafts nobody has asked for lately, unproven
//!    payloads, younger idle drafts, proven payloads; payloads of each kind the least recently used first. Never a pinned
//!    one, never one that is being served or filled. For bytes that nobody vouches for no proven one goes, outdated or not.
//!    All of it is done by one thread of its own, in steps of [`STEP`].
//! 5. Who knows that payloads are wanted though nobody has asked for them says so (`keep_wanted`): that counts as a use, so that
//!    what nobody wants goes before them. An outdated one still goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::ReadTransaction;

use crate::base::digest::{Blake3, Digest};
use crate::model::name::Name;
use crate::model::payload::Class;
use crate::store::cache::RecencyTick;
use crate::store::core::Core;
use crate::store::entries::{self, OUTDATED_CLASS};
use crate::store::error::Error;
use crate::store::remove::Seen;
use crate::store::tables::{
    EXPIRY, Id, PAYLOAD_BYTES, PAYLOAD_COUNT, PAYLOADS, PayloadRow, QUARANTINE_BYTES, RECENCY, TOTALS, USED,
    class_code, decode, name_key, of_time_key, of_use_key, time_key, use_key,
};
use crate::store::writer::{RESERVE, Room, Tick};

/// What is used and what is free, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Space {
    /// Allocated by payloads, their proofs, and files that are gone from the index but still take their blocks: somebody is
    /// being served from them, or they could not be deleted as yet.
    pub payloads: u64,
    /// How many payloads there are.
    pub payloads_count: u64,
    /// Allocated by drafts.
    pub drafts: u64,
    /// How many drafts there are.
    pub drafts_count: u64,
    /// Allocated by what failed verification.
    pub quarantine: u64,
    /// As configured.
    pub max_size: u64,
    /// What the file system can still take.
    pub disk_free: u64,
    /// What must stay free: as configured, and never less than the index needs to commit anything at all.
    pub min_free: u64,
}

impl Space {
    /// What `max_size` limits: payloads, drafts and quarantine together.
    pub fn used(&self) -> u64 {
        self.payloads.saturating_add(self.drafts).saturating_add(self.quarantine)
    }
}

/// How long one eviction step may take.
pub(crate) const STEP: Duration = Duration::from_millis(50);
/// Payloads doomed in one commit of a step: keeps the step short on a slow disk.
const VICTIMS: usize = 16;
/// How long ago a payload may have been used that need not be said to be wanted: most of what is said hourly changes nothing.
const WANTED_GRAIN: Duration = Duration::from_mins(10);
/// A draft nobody asked for in so long goes before unproven payloads do.
pub(crate) const DRAFT_QUIET: Duration = Duration::from_hours(1);

/// Classes as they stand in the order of use.
const UNPROVEN: u8 = class_code(Class::Unproven);
const PROVEN: u8 = class_code(Class::Proven);

/// How far eviction may go for the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// For bytes that nobody vouches for: proven payloads stay.
    Unproven,
    /// To the last unpinned payload.
    All,
}

/// What room is made beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// What is used: for whoever writes what was promised.
    Used,
    /// What is used, and what was promised by now: for whoever wants more.
    Promised,
}

impl Beside {
    fn promised(self, sums: &Counted) -> u64 {
        match self {
            Self::Used => 0,
            Self::Promised => sums.promised,
        }
    }
}

/// The running sums in memory. Behind one lock, held for moments: bytes go from a promise to a draft and from a draft to a
/// payload, and whoever adds them up on the way must find them once, neither twice nor nowhere.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<Counted>);

/// What is counted, in bytes but for `count` and `revision`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) payloads: u64,
    /// How many payloads.
    pub(crate) count: u64,
    /// How often one of these two became another.
    pub(crate) revision: u64,
    pub(crate) drafts: u64,
    pub(crate) quarantine: u64,
    /// Promised to what is on its way, and not written yet.
    pub(crate) promised: u64,
    /// Taken out, but its files could not be deleted as yet.
    pub(crate) doomed: u64,
}

/// Adds a change that may be negative; never below zero.
pub(crate) fn shift(sum: &mut u64, up: u64, down: u64) {
    *sum = sum.saturating_add(up).saturating_sub(down);
}

impl Sums {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them at one moment.
    pub(crate) fn now(&self) -> Counted {
        *self.lock()
    }

    /// Changes several at one moment.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Counted)) {
        let mut sums = self.lock();
        let before = (sums.payloads, sums.count);
        change(&mut sums);
        if (sums.payloads, sums.count) != before {
            sums.revision = sums.revision.wrapping_add(1);
        }
    }

    /// The sums as the index has them: three rows, however many payloads there are.
    pub(crate) fn load(&self, tx: &ReadTransaction) -> Result<(), Error> {
        let totals = tx.open_table(TOTALS)?;
        let read = |key| Ok::<_, Error>(totals.get(key)?.map_or(0, |value| value.value()));
        let (payloads, count, quarantine) = (read(PAYLOAD_BYTES)?, read(PAYLOAD_COUNT)?, read(QUARANTINE_BYTES)?);
        self.change(|sums| *sums = Counted { payloads, count, quarantine, ..*sums });
        Ok(())
    }
}

impl Core {
    /// What is used and free now.
    pub(crate) fn space(&self) -> Result<Space, Error> {
        self.space_of(&self.sums.now())
    }

    fn space_of(&self, sums: &Counted) -> Result<Space, Error> {
        let root = self.layout.root();
        Ok(Space {
            payloads: sums.payloads.saturating_add(sums.doomed).saturating_add(self.cache.ghosts()),
            payloads_count: sums.count,
            drafts: sums.drafts,
            drafts_count: self.book.count() as u64,
            quarantine: sums.quarantine,
            max_size: self.config.max_size,
            disk_free: self.disk.free_bytes(root).map_err(|error| Error::at(root, &error))?,
            min_free: self.config.min_free.max(RESERVE),
        })
    }

    /// How many bytes must go before `more` may come.
    pub(crate) fn excess(&self, more: u64, beside: Beside) -> Result<u64, Error> {
        let sums = self.sums.now();
        let space = self.space_of(&sums)?;
        let more = more.saturating_add(beside.promised(&sums));
        let over = space.used().saturating_add(more).saturating_sub(space.max_size);
        let short = space.min_free.saturating_add(more).saturating_sub(space.disk_free);
        Ok(over.max(short))
    }

    /// Makes room for `more` bytes, or says what is full. `spared` stays. Only for the thread that evicts.
    pub(crate) fn make_room(
        &self,
        more: u64,
        beside: Beside,
        reach: Reach,
        spared: Option<&Blake3>,
    ) -> Result<(), Error> {
        loop {
            let excess = self.excess(more, beside)?;
            if excess == 0 {
                return Ok(());
            }
            // Somebody waits: the loop that makes room ahead should look.
            self.short.notify_one();
            if self.evict(more, beside, reach, spared, Instant::now())? == 0 {
                // Somebody may have let go of something while this one looked for victims.
                let excess = self.excess(more, beside)?;
                if excess == 0 {
                    return Ok(());
                }
                let sums = self.sums.now();
                let (space, promised) = (self.space_of(&sums)?, beside.promised(&sums));
                let what = format!(
                    "{excess} bytes too many: payloads {}, drafts {}, promised to drafts {promised}, quarantine {} of \
                     max_size {}, {} free of min_free {}; raise max_size, unpin or remove payloads, or make room on the \
                     disk",
                    space.payloads, space.drafts, space.quarantine, space.max_size, space.disk_free, space.min_free
                );
                return Err(Error::Full { what });
            }
        }
    }

    /// One eviction step for housekeeping: deletes that failed are tried again, what is over ends, then `wanted` bytes of
    /// room are made where there is too little. All within [`STEP`].
    pub(crate) fn evict_step(&self, wanted: u64) -> Result<u64, Error> {
        let begun = Instant::now();
        let mut freed = self.trim_quarantine(begun)?;
        for part in [Self::retry_doomed, Self::sweep_drafts] {
            if freed == 0 || begun.elapsed() < STEP {
                freed = freed.saturating_add(part(self, begun)?);
            }
        }
        if freed == 0 || begun.elapsed() < STEP {
            freed = freed.saturating_add(self.evict(wanted, Beside::Used, Reach::All, None, begun)?);
        }
        Ok(freed)
    }

    /// One eviction step that makes room before it is needed: proven payloads do not go for that.
    pub(crate) fn ease_step(&self, wanted: u64) -> Result<u64, Error> {
        self.evict(wanted, Beside::Used, Reach::Unproven, None, Instant::now())
    }

    /// Step 4. Frees in the order of the head what is too much for `more` bytes to come, in at most [`STEP`]; where
    /// nothing is, only what is past its end. Returns what went.
    fn evict(
        &self,
        more: u64,
        beside: Beside,
        reach: Reach,
        spared: Option<&Blake3>,
        begun: Instant,
    ) -> Result<u64, Error> {
        let wanted = self.excess(more, beside)?;
        let now = self.clock.now();
        if wanted > 0 {
            self.cache.drop_idle();
            // The order in the index must know the uses of the last half minute.
            let tick = Arc::new(RecencyTick::new(Arc::clone(&self.cache)));
            if tick.is_due() {
                let theirs = Arc::clone(&tick);
                let told = self.writer.write(Room::Frees, move |tx| theirs.write(tx));
                tick.settle(told.is_ok());
                if let Err(error) = told {
                    // On a disk without a byte left the order is a little old; room is made all the same.
                    tracing::debug!(%error, "the uses of the last half minute are not known to the index yet");
                }
            }
        }
        // A step always frees something, however slow the disk is: whoever waits for room takes nothing freed for nothing
        // to free.
        let goes_on = |freed: u64| freed < wanted && (freed == 0 || begun.elapsed() < STEP);
        // Those in use are passed over; there can be no more of them than names in the cache.
        let walk = self.config.open_payloads.saturating_add(4 * VICTIMS);
        let mut freed = self.evict_from(u64::MAX, begun, spared, |tx| expired(tx, now.ms()))?;
        let outdated = |class: u8| class.saturating_add(OUTDATED_CLASS);
        if goes_on(freed) {
            freed += self.evict_from(wanted - freed, begun, spared, |tx| least_recent(tx, outdated(UNPROVEN), walk))?;
        }
        if goes_on(freed) && reach == Reach::All {
            freed += self.evict_from(wanted - freed, begun, spared, |tx| least_recent(tx, outdated(PROVEN), walk))?;
        }
        let quiet = now.ms().saturating_sub(u64::try_from(DRAFT_QUIET.as_millis()).unwrap_or(u64::MAX));
        if goes_on(freed) {
            freed += self.evict_drafts(wanted - freed, quiet, begun)?;
        }
        if goes_on(freed) {
            freed += self.evict_from(wanted - freed, begun, spared, |tx| least_recent(tx, UNPROVEN, walk))?;
        }
        if goes_on(freed) {
            freed += self.evict_drafts(wanted - freed, u64::MAX, begun)?;
        }
        if goes_on(freed) && reach == Reach::All {
            freed += self.evict_from(wanted - freed, begun, spared, |tx| least_recent(tx, PROVEN, walk))?;
        }
        Ok(freed)
    }

    fn evict_from(
        &self,
        wanted: u64,
        begun: Instant,
        spared: Option<&Blake3>,
        walk: impl Fn(&ReadTransaction) -> Result<Vec<(Id, Seen)>, Error>,
    ) -> Result<u64, Error> {
        let mut freed: u64 = 0;
        let mut candidates = self.index.read(walk)?.into_iter();
        while freed < wanted && (freed == 0 || begun.elapsed() < STEP) {
            let mut victims = Vec::new();
            let mut sum: u64 = 0;
            for (id, seen) in candidates.by_ref() {
                let blake3 = Blake3::new(id);
                if spared == Some(&blake3) || !self.cache.retire(&blake3) {
                    continue;
                }
                sum = sum.saturating_add(self.index.read(|tx| allocated(tx, &id))?);
                victims.push((blake3, seen));
                if victims.len() == VICTIMS || freed.saturating_add(sum) >= wanted {
                    break;
                }
            }
            if victims.is_empty() {
                break;
            }
            freed = freed.saturating_add(self.remove_idle(&victims)?);
        }
        Ok(freed)
    }
}

impl Core {
    /// Step 5: the payloads that are held of these files count as used now. One commit for all of them, and none where all were used
    /// a moment ago. Says of how many it was written down. Blocks.
    pub(crate) fn keep_wanted(&self, files: &[Vec<Digest>]) -> Result<u64, Error> {
        let now = self.clock.now().ms();
        let long_ago = now.saturating_sub(u64::try_from(WANTED_GRAIN.as_millis()).unwrap_or(u64::MAX));
        let ids = self.index.read(|tx| {
            let used = tx.open_table(USED)?;
            let mut ids: Vec<Id> = Vec::new();
            for digests in files {
                for digest in digests {
                    let Some((blake3, ..)) = entries::look_up(tx, &name_key(&Name::Digest(*digest)))? else { continue };
                    if used.get(blake3.as_bytes())?.is_none_or(|ms| ms.value() < long_ago) {
                        ids.push(*blake3.as_bytes());
                    }
                    break;
                }
            }
            Ok(ids)
        })?;
        let many = ids.len() as u64;
        if many > 0 {
            self.writer.write(Room::Frees, move |tx| entries::touch(tx, ids.iter().map(|id| (id, now))))?;
        }
        Ok(many)
    }
}

fn allocated(tx: &ReadTransaction, id: &Id) -> Result<u64, Error> {
    let row =
        tx.open_table(PAYLOADS)?.get(id)?.map(|row| decode::<PayloadRow>("payloads.1", row.value())).transpose()?;
    Ok(row.map_or(0, |row| row.allocated))
}

/// Unproven payloads past their end. A pinned one has no end.
fn expired(tx: &ReadTransaction, now: u64) -> Result<Vec<(Id, Seen)>, Error> {
    let end = time_key(now, &[0xff; 32]);
    let table = tx.open_table(EXPIRY)?;
    let rows = table.range::<&[u8; 40]>(..=&end)?.take(VICTIMS);
    rows.map(|row| Ok((of_time_key(row?.0.value()).1, Seen::Over { now }))).collect()
}

/// Unpinned payloads of a class, the least recently used first.
fn least_recent(tx: &ReadTransaction, class: u8, many: usize) -> Result<Vec<(Id, Seen)>, Error> {
    let (from, to) = (use_key(class, 0, &[0; 32]), use_key(class, u64::MAX, &[0xff; 32]));
    let table = tx.open_table(RECENCY)?;
    let rows = table.range::<&[u8; 41]>(&from..=&to)?.take(many);
    rows.map(|row| {
        let (ms, id) = of_use_key(row?.0.value());
        Ok((id, Seen::Use { class, ms }))
    })
    .collect()
}
