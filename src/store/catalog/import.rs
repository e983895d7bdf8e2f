//! From a batch to small transactions.
//!
//! 1. Revisions are packed one after the other on a thread of a pool; one that cannot be taken is refused by itself.
//! 2. As soon as [`STEP_UPDATES`], [`STEP_BYTES`] or [`STEP_ROWS`] are together they are committed, so that a publish waits
//!    for one small transaction and not for a batch.
//! 3. When it is time for another dictionary it is trained, and committed for what comes next.

use std::sync::{Arc, TryLockError};

use crate::model::update::Identity;
use crate::store::catalog::apply::{Outcome, Work};
use crate::store::catalog::pack::Dictionaries;
use crate::store::catalog::prepare::Ready;
use crate::store::catalog::search::Search;
use crate::store::catalog::tables::{
    DICTIONARIES, LAST_NUMBER, NUMBERS, PACKED, PACKS, TRAINED_AT, Tables, number, read,
};
use crate::store::catalog::value::{Applied, Batch};
use crate::store::catalog::work::check_set;
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::writer::Room;

/// Revisions of one transaction.
const STEP_UPDATES: usize = 50;
/// Bytes of their packs.
const STEP_BYTES: usize = 512 << 10;
/// Rows of their relations, about.
const STEP_ROWS: usize = 2000;
/// Reasons are sentences.
const REASON_MAX: usize = 2000;
/// Lines of the log that tell of what went; some years of an upstream's changes.
const GONE_MAX: u64 = 200_000;

impl Core {
    /// One transaction on the catalog's tables; what changed is told to searches before anybody is answered. Blocks.
    pub(crate) fn catalog_write<T: Send + 'static>(
        &self,
        room: Room,
        change: impl FnOnce(&mut Tables<'_>, &mut Work<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<(T, Applied), Error> {
        self.catalog_write_with(room, |_| Ok(()), change, || ())
    }

    /// As [`Self::catalog_write`], after something in tables of others in the same transaction; `told` is run behind the commit, and must
    /// not block.
    pub(crate) fn catalog_write_with<T: Send + 'static>(
        &self,
        room: Room,
        before: impl FnOnce(&redb::WriteTransaction) -> Result<(), Error> + Send + 'static,
        change: impl FnOnce(&mut Tables<'_>, &mut Work<'_>) -> Result<T, Error> + Send + 'static,
        told: impl FnOnce() + Send + 'static,
    ) -> Result<(T, Applied), Error> {
        let dictionaries: Arc<Dictionaries> = Arc::clone(&self.catalog.dictionaries);
        let search: Arc<Search> = Arc::clone(&self.catalog.search);
        let now = self.clock.now().ms();
        let (value, outcome) = self.writer.write_and_tell(
            room,
            move |tx| {
                before(tx)?;
                let mut tables = Tables::open(tx)?;
                let mut work = Work::begin(&tables, &dictionaries, now)?;
                let value = change(&mut tables, &mut work)?;
                let mut outcome = work.end(&mut tables)?;
                // Another file of the same transaction may have brought it back.
                let forgotten = std::mem::take(&mut outcome.forgotten);
                for (sha1, sha256) in forgotten {
                    if tables.file(&sha1)?.is_none() {
                        entries::mark_forgotten(tx, &sha1, sha256.as_ref())?;
                    }
                }
                Ok((value, outcome))
            },
            move |(_, outcome): &mut (T, Outcome)| {
                search.push(std::mem::take(&mut outcome.touched));
                told();
            },
        )?;
        Ok((value, outcome.applied))
    }

    /// Steps 1 to 3. What was committed before an error stays.
    pub(crate) fn import_catalog(self: &Arc<Self>, batch: Batch) -> Result<Applied, Error> {
        let applied = self.import_steps(batch);
        self.catalog.dictionaries.rest();
        applied
    }

    fn import_steps(self: &Arc<Self>, batch: Batch) -> Result<Applied, Error> {
        let Batch { run, set, updates, came, refused, plain } = batch;
        if !set.is_empty() {
            check_set(&set)?;
        }
        self.load_dictionary()?;
        let mut applied = Applied::default();
        let mut refused: Vec<(Identity, String)> = refused;
        let (mut ready, mut bytes, mut rows) = (Vec::new(), 0, 0);
        let came = came.into_iter().chain(std::iter::repeat(0));
        for (incoming, came) in updates.into_iter().zip(came) {
            let identity = incoming.update.identity;
            match self.prepare(incoming) {
                Ok(mut one) => {
                    one.came = came;
                    (bytes, rows) = (bytes + one.pack.len(), rows + one.related);
                    ready.push(one);
                }
                Err(Error::Invalid { what }) => refused.push((identity, what)),
                Err(error) => return Err(error),
            }
            if ready.len() >= STEP_UPDATES || bytes >= STEP_BYTES || rows >= STEP_ROWS {
                let (ready, refused) = (std::mem::take(&mut ready), std::mem::take(&mut refused));
                applied.add(self.commit_step(run, &set, plain, ready, refused)?);
                (bytes, rows) = (0, 0);
            }
        }
        if !ready.is_empty() || !refused.is_empty() {
            applied.add(self.commit_step(run, &set, plain, ready, refused)?);
        }
        self.train()?;
        Ok(applied)
    }

    fn commit_step(
        &self,
        run: Option<u64>,
        set: &str,
        plain: bool,
        ready: Vec<Ready>,
        refused: Vec<(Identity, String)>,
    ) -> Result<Applied, Error> {
        let set = set.to_owned();
        let ((), applied) = self.catalog_write(Room::Adds, move |t, w| {
            w.unauthenticated |= plain;
            for one in &ready {
                t.take(w, one, &set)?;
            }
            for (identity, mut reason) in refused {
                let mut end = reason.len().min(REASON_MAX);
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                reason.truncate(end);
                t.refuse(w, identity, reason, false)?;
            }
            if let Some(run) = run {
                t.count_applied(run, &w.applied)?;
            }
            // Their blobs belong to somebody now.
            drop(ready);
            Ok(())
        })?;
        Ok(applied)
    }

    /// The newest dictionary of the store is used, once in a process.
    fn load_dictionary(&self) -> Result<(), Error> {
        if self.catalog.dictionaries.version() > 0 {
            return Ok(());
        }
        let newest = self.index.read(|tx| {
            let Some(table) = read(tx, DICTIONARIES)? else { return Ok(None) };
            Ok(redb::ReadableTable::last(&table)?.map(|(version, row)| (version.value(), row.value().to_vec())))
        })?;
        if let Some((version, dictionary)) = newest {
            self.catalog.dictionaries.adopt(version, &dictionary);
        }
        Ok(())
    }

    /// Step 3.
    fn train(&self) -> Result<(), Error> {
        let dictionaries = &self.catalog.dictionaries;
        let _training = match dictionaries.training.try_lock() {
            Ok(training) => training,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is at it.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let (packed, trained_at, last) = self.index.read(|tx| {
            let Some(numbers) = read(tx, NUMBERS)? else { return Ok((0, 0, 0)) };
            Ok((number(&numbers, PACKED)?, number(&numbers, TRAINED_AT)?, number(&numbers, LAST_NUMBER)?))
        })?;
        if !dictionaries.is_due(packed, trained_at) {
            return Ok(());
        }
        let samples = self.index.read(|tx| {
            let (Some(packs), Some(table)) = (read(tx, PACKS)?, read(tx, DICTIONARIES)?) else { return Ok(vec![]) };
            dictionaries.samples(u32::try_from(last).unwrap_or(u32::MAX), &packs, &table)
        })?;
        let made = dictionaries.train(samples);
        let theirs = made.clone();
        let (is_new, _) = self.catalog_write(Room::Adds, move |t, _| {
            t.set_number(TRAINED_AT, packed)?;
            let Some((version, dictionary)) = theirs else { return Ok(false) };
            // Two that trained at once: the first one's stands, since packs may refer to it already.
            if redb::ReadableTable::get(&t.dictionaries, version)?.is_some() {
                return Ok(false);
            }
            t.dictionaries.insert(version, dictionary.as_slice())?;
            Ok(true)
        })?;
        if let (Some((version, dictionary)), true) = (made, is_new) {
            self.catalog.dictionaries.adopt(version, &dictionary);
        }
        Ok(())
    }

    /// What a crash or a replaced revision left, in small transactions; the log of what went is cut. Says whether there
    /// may be more. Blocks.
    pub(crate) fn sweep_catalog(&self) -> Result<bool, Error> {
        if self.sweep_blobs()? || self.sweep_decisions()? || self.sweep_approvals()? {
            return Ok(true);
        }
        self.forget_gone(GONE_MAX)
    }
}
