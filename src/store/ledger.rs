//! The account of requests: bytes sent, and where they came from, by hour and in total. Counted in memory (atomics),
//! flushed by the writer in batches, kept for 400 days by hour.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use redb::{ReadableTable, WriteTransaction};

use crate::base::time::{Clock, Timestamp};
use crate::store::error::Error;
use crate::store::index::Index;
use crate::store::pool::Pool;
use crate::store::tables::{LEDGER, META, META_LEDGER_TOTAL, TallyRow, decode, encode};
use crate::store::writer::Tick;

const HOUR_MS: u64 = 3_600_000;
/// A year and a month to compare it with; 9,600 rows of some 20 bytes.
const KEPT_HOURS: u64 = 400 * 24;

/// One line of the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests of the content face.
    pub requests: u64,
    /// Requests answered without asking anyone (outcome hit).
    pub hits: u64,
    /// Body bytes sent to clients.
    pub sent: u64,
    /// Body bytes received from origins (added by `fill`).
    pub fetched: u64,
    /// Requests that were refused.
    pub refused: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            hits: self.hits.saturating_add(other.hits),
            sent: self.sent.saturating_add(other.sent),
            fetched: self.fetched.saturating_add(other.fetched),
            refused: self.refused.saturating_add(other.refused),
        }
    }

    fn row(self) -> TallyRow {
        let Self { requests, hits, sent, fetched, refused } = self;
        TallyRow { requests, hits, sent, fetched, refused }
    }

    fn of(row: TallyRow) -> Self {
        let TallyRow { requests, hits, sent, fetched, refused } = row;
        Self { requests, hits, sent, fetched, refused }
    }
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    hits: AtomicU64,
    sent: AtomicU64,
    fetched: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    fn add(&self, tally: Tally) {
        self.requests.fetch_add(tally.requests, Ordering::Relaxed);
        self.hits.fetch_add(tally.hits, Ordering::Relaxed);
        self.sent.fetch_add(tally.sent, Ordering::Relaxed);
        self.fetched.fetch_add(tally.fetched, Ordering::Relaxed);
        self.refused.fetch_add(tally.refused, Ordering::Relaxed);
    }

    fn read(&self, each: impl Fn(&AtomicU64) -> u64) -> Tally {
        Tally {
            requests: each(&self.requests),
            hits: each(&self.hits),
            sent: each(&self.sent),
            fetched: each(&self.fetched),
            refused: each(&self.refused),
        }
    }

    fn now(&self) -> Tally {
        self.read(|counter| counter.load(Ordering::Relaxed))
    }

    fn take(&self) -> Tally {
        self.read(|counter| counter.swap(0, Ordering::Relaxed))
    }
}

/// One hour that is not in the index yet, or not all of it.
#[derive(Debug, Default)]
struct Hour {
    hour: u64,
    counters: Counters,
}

/// The part that the writer shares.
#[derive(Debug)]
pub(crate) struct Account {
    now: ArcSwap<Hour>,
    /// Hours before that one. Each is kept through one flush more than the one that emptied it: an adder may have taken
    /// hold of it just before the hour changed.
    before: Mutex<Vec<Arc<Hour>>>,
    total: Counters,
    clock: Arc<dyn Clock>,
}

/// The account of requests.
#[derive(Debug)]
pub struct Ledger {
    account: Arc<Account>,
    index: Arc<Index>,
    reads: Arc<Pool>,
}

impl Account {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let hour = clock.now().ms() / HOUR_MS;
        let now = ArcSwap::from_pointee(Hour { hour, counters: Counters::default() });
        Self { now, before: Mutex::default(), total: Counters::default(), clock }
    }

    fn before(&self) -> MutexGuard<'_, Vec<Arc<Hour>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tally: Tally) {
        self.total.add(tally);
        let hour = self.clock.now().ms() / HOUR_MS;
        let now = self.now.load();
        if now.hour == hour {
            now.counters.add(tally);
            return;
        }
        drop(now);
        // Once an hour; a clock that was set back opens its hour again, and the index adds the two up.
        let mut before = self.before();
        if self.now.load().hour != hour {
            before.push(self.now.swap(Arc::new(Hour { hour, counters: Counters::default() })));
        }
        drop(before);
        self.now.load().counters.add(tally);
    }

    fn pending(&self) -> Vec<(u64, Tally)> {
        let before = self.before();
        let mut hours: Vec<_> = before.iter().map(|hour| (hour.hour, hour.counters.now())).collect();
        drop(before);
        let now = self.now.load();
        hours.push((now.hour, now.counters.now()));
        hours
    }
}

impl Ledger {
    pub(crate) fn new(account: Arc<Account>, index: Arc<Index>, reads: Arc<Pool>) -> Result<Self, Error> {
        let total = index.read(|tx| {
            let meta = tx.open_table(META)?;
            meta.get(META_LEDGER_TOTAL)?.map(|row| decode::<TallyRow>("meta.1", row.value())).transpose()
        })?;
        account.total.add(Tally::of(total.unwrap_or_default()));
        Ok(Self { account, index, reads })
    }

    /// Adds to the hour that is now. Never blocks on the disk or the index.
    pub fn add(&self, tally: Tally) {
        self.account.add(tally);
    }

    /// All since the store was made.
    pub fn total(&self) -> Tally {
        self.account.total.now()
    }

    /// The last `hours` hours, oldest first: start of the hour and its line. Hours without a request are there too.
    pub async fn hours(&self, hours: u32) -> Result<Vec<(Timestamp, Tally)>, Error> {
        let last = self.account.clock.now().ms() / HOUR_MS;
        let first = (last + 1).saturating_sub(u64::from(hours).min(KEPT_HOURS));
        let index = Arc::clone(&self.index);
        let rows = self
            .reads
            .run(move || {
                index.read(|tx| {
                    let table = tx.open_table(LEDGER)?;
                    let rows = table.range(first..=last)?;
                    rows.map(|row| {
                        let (hour, row) = row?;
                        Ok((hour.value(), Tally::of(decode("ledger.1", row.value())?)))
                    })
                    .collect::<Result<Vec<_>, Error>>()
                })
            })
            .await??;
        let mut lines: Vec<_> = (first..=last).map(|hour| (hour, Tally::default())).collect();
        for (hour, tally) in rows.into_iter().chain(self.account.pending()) {
            if let Some(line) = hour.checked_sub(first).and_then(|at| lines.get_mut(at as usize)) {
                line.1 = line.1.plus(tally);
            }
        }
        Ok(lines.into_iter().map(|(hour, tally)| (Timestamp::from_ms(hour * HOUR_MS), tally)).collect())
    }
}

/// The writer's view of the account.
pub(crate) struct LedgerTick {
    account: Arc<Account>,
    /// Said to a commit that has not ended: where it fails, it is said again.
    said: Mutex<Vec<(u64, Tally)>>,
}

impl LedgerTick {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, said: Mutex::default() }
    }

    fn said(&self) -> MutexGuard<'_, Vec<(u64, Tally)>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tick for LedgerTick {
    fn is_due(&self) -> bool {
        self.account.pending().iter().any(|(_, tally)| *tally != Tally::default())
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<(), Error> {
        let mut before = self.account.before();
        let mut hours: Vec<(u64, Tally)> = Vec::new();
        before.retain(|hour| {
            let tally = hour.counters.take();
            hours.push((hour.hour, tally));
            tally != Tally::default()
        });
        drop(before);
        let now = self.account.now.load_full();
        hours.push((now.hour, now.counters.take()));
        hours.retain(|(_, tally)| *tally != Tally::default());
        self.said().extend_from_slice(&hours);
        let mut flushed = Tally::default();
        let mut table = transaction.open_table(LEDGER)?;
        for (hour, tally) in hours {
            let old = table.get(hour)?.map(|row| decode::<TallyRow>("ledger.1", row.value())).transpose()?;
            let sum = tally.plus(Tally::of(old.unwrap_or_default()));
            table.insert(hour, encode(&sum.row())?.as_slice())?;
            flushed = flushed.plus(tally);
        }
        let oldest = now.hour.saturating_sub(KEPT_HOURS);
        // At most a few rows an hour; the rest of a long pause goes by and by.
        for _ in 0..64 {
            let first = table.first()?.map(|(hour, _)| hour.value());
            match first {
                Some(hour) if hour < oldest => table.remove(hour)?,
                _ => break,
            };
        }
        let mut meta = transaction.open_table(META)?;
        let old = meta.get(META_LEDGER_TOTAL)?.map(|row| decode::<TallyRow>("meta.1", row.value())).transpose()?;
        let sum = flushed.plus(Tally::of(old.unwrap_or_default()));
        meta.insert(META_LEDGER_TOTAL, encode(&sum.row())?.as_slice())?;
        Ok(())
    }

    fn settle(&self, committed: bool) {
        let said = std::mem::take(&mut *self.said());
        if committed {
            return;
        }
        let mut before = self.account.before();
        for (hour, tally) in said {
            let counters = Counters::default();
            counters.add(tally);
            before.push(Arc::new(Hour { hour, counters }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SystemClock;
    use crate::store::medium::{self, Access};

    #[test]
    fn what_a_failed_commit_took_is_written_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.redb");
        let index = Index::open(&path, medium::file(path.clone()), Access::Create, 1 << 20, None).unwrap();
        let account = Arc::new(Account::new(Arc::new(SystemClock)));
        let tick = LedgerTick::new(Arc::clone(&account));
        let one = Tally { requests: 1, sent: 10, ..Tally::default() };
        account.add(one);
        let failed = index.write(|tx| tick.write(tx).and(Err(Error::Gone)));
        tick.settle(failed.is_ok());
        account.add(one);
        assert!(tick.is_due());
        index.write(|tx| tick.write(tx)).unwrap();
        tick.settle(true);
        assert!(!tick.is_due());
        let kept = index.read(|tx| {
            let mut kept = Tally::default();
            for row in tx.open_table(LEDGER)?.iter()? {
                kept = kept.plus(Tally::of(decode("ledger.1", row?.1.value())?));
            }
            Ok(kept)
        });
        assert_eq!(kept.unwrap(), one.plus(one));
        assert_eq!(account.total.now(), one.plus(one));
    }
}
