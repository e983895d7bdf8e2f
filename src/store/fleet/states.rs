//! How updates stand on endpoints, as rows. A report costs no commit: what is told is gathered in memory and written at the writer's
//! tick, at the end, and where too much is gathered. What a crash loses of it comes again with the endpoint's next scan, which tells all.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::base::time::Timestamp;
use crate::model::compliance::State;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::catalog::tables::read as table;
use crate::store::error::Error;
use crate::store::fleet::endpoints::ENDPOINTS_MAX;
use crate::store::fleet::standing::{Standing, seconds, time};
use crate::store::fleet::tables::{CHANGES, ChangeRow, ChangesRow, ENDPOINTS, Guid, STATES, UPDATES};
use crate::store::tables::{decode, encode};
use crate::store::writer::Tick;

/// Changes of states that are kept of one endpoint: those of some months.
pub const CHANGES_MAX: usize = 128;

/// Endpoints of which something is gathered before it is written without waiting for the tick: some 3 MB in one commit, which
/// publishes share and must not wait for.
const GATHERED_MAX: usize = 4_096;

/// Endpoints that came or went and that nobody has asked for: as many as there can be, twice.
const NEWS_MAX: usize = 2 * ENDPOINTS_MAX as usize;

const TABLE: &str = "fleet-changes.1";

/// A state of an update on an endpoint that became another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The number of the update.
    pub number: u32,
    /// What was before.
    pub from: State,
    /// What is since.
    pub to: State,
    /// With what it failed; 0 where it did not, or that is not known.
    pub code: i32,
}

/// An endpoint came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It registered for the first time.
    Came(Endpoint),
    /// It was forgotten.
    Went(Endpoint),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    rows: HashMap<Guid, Vec<u8>>,
    changes: HashMap<Guid, Vec<ChangeRow>>,
    /// Numbers that updates got.
    numbers: Vec<(u32, Guid)>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.changes.is_empty() && self.numbers.is_empty()
    }
}

/// What was told and is not written yet.
#[derive(Debug, Default)]
pub(crate) struct States {
    batch: Mutex<Batch>,
    /// `None` while nobody wants to hear.
    news: Mutex<Option<Vec<News>>>,
}

impl States {
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn news(&self) -> MutexGuard<'_, Option<Vec<News>>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether so much is gathered that it should be written.
    pub(super) fn gather(&self, endpoint: Endpoint, row: Vec<u8>, changes: impl Iterator<Item = Change>) -> bool {
        let (id, mut batch) = (*endpoint.0.bytes(), self.batch());
        // A store that takes nothing fills no memory.
        if batch.rows.len() < 2 * GATHERED_MAX || batch.rows.contains_key(&id) {
            batch.rows.insert(id, row);
            let changes: Vec<ChangeRow> = changes.map(row_of).collect();
            if !changes.is_empty() {
                let all = batch.changes.entry(id).or_default();
                all.extend(changes);
                cut(all);
            }
        }
        batch.rows.len() >= GATHERED_MAX
    }

    pub(super) fn name(&self, numbers: impl IntoIterator<Item = (u32, UpdateId)>) {
        self.batch().numbers.extend(numbers.into_iter().map(|(number, id)| (number, *id.bytes())));
    }

    pub(super) fn drain(&self) -> Batch {
        std::mem::take(&mut *self.batch())
    }

    /// Puts back what could not be written; what came since counts.
    pub(super) fn put_back(&self, old: Batch) {
        let mut batch = self.batch();
        for (id, row) in old.rows {
            batch.rows.entry(id).or_insert(row);
        }
        for (id, mut changes) in old.changes {
            let all = batch.changes.entry(id).or_default();
            changes.append(all);
            cut(&mut changes);
            *all = changes;
        }
        batch.numbers.extend(old.numbers);
    }

    /// Nothing of it is to be written any more.
    pub(super) fn drop_of(&self, endpoint: Endpoint) {
        let mut batch = self.batch();
        batch.rows.remove(endpoint.0.bytes());
        batch.changes.remove(endpoint.0.bytes());
    }

    pub(super) fn tell(&self, news: News) {
        if let Some(all) = self.news().as_mut().filter(|all| all.len() < NEWS_MAX) {
            all.push(news);
        }
    }

    pub(super) fn listen(&self) {
        *self.news() = Some(Vec::new());
    }

    pub(super) fn has_news(&self) -> bool {
        self.news().as_ref().is_some_and(|all| !all.is_empty())
    }

    pub(super) fn heard(&self) -> Vec<News> {
        self.news().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// The oldest go.
fn cut(all: &mut Vec<ChangeRow>) {
    let over = all.len().saturating_sub(CHANGES_MAX);
    all.drain(..over);
}

fn row_of(change: Change) -> ChangeRow {
    ChangeRow {
        number: change.number,
        at: seconds(change.at),
        from: change.from.number(),
        to: change.to.number(),
        code: change.code,
    }
}

fn change_of(row: &ChangeRow) -> Result<Change, Error> {
    let state = |number: u8| {
        let what = || format!("a row of {TABLE} says {number}, which this program does not know");
        State::of_number(number).ok_or_else(|| Error::Row { what: what() })
    };
    let (from, to) = (state(row.from)?, state(row.to)?);
    Ok(Change { at: time(row.at), number: row.number, from, to, code: row.code })
}

/// The numbers that updates have.
pub(super) fn numbers(tx: &ReadTransaction) -> Result<Vec<(u32, UpdateId)>, Error> {
    let Some(rows) = table(tx, UPDATES)? else { return Ok(vec![]) };
    rows.iter()?
        .map(|row| {
            let (number, id) = row?;
            Ok((number.value(), UpdateId::new(*id.value())))
        })
        .collect()
}

/// Endpoints behind `after` that are known, with what they told; one that cannot be read told nothing.
pub(super) fn page(
    tx: &ReadTransaction,
    after: Option<Endpoint>,
    limit: usize,
) -> Result<Vec<(Endpoint, Option<Standing>)>, Error> {
    let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.0.bytes()));
    let (Some(endpoints), states) = (table(tx, ENDPOINTS)?, table(tx, STATES)?) else { return Ok(vec![]) };
    let mut found = Vec::new();
    for row in endpoints.range::<&Guid>((from, Bound::Unbounded))?.take(limit) {
        let id = *row?.0.value();
        let told = match &states {
            Some(states) => states.get(&id)?,
            None => None,
        };
        let standing = told.and_then(|row| {
            Standing::of_row(row.value())
                .inspect_err(|error| tracing::warn!(%error, "what an endpoint told is lost until its next scan"))
                .ok()
        });
        found.push((Endpoint(UpdateId::new(id)), standing));
    }
    Ok(found)
}

pub(super) fn changes(tx: &ReadTransaction, states: &States, endpoint: Endpoint) -> Result<Vec<Change>, Error> {
    let id = endpoint.0.bytes();
    let mut all = match table(tx, CHANGES)? {
        Some(rows) => match rows.get(id)? {
            Some(row) => decode::<ChangesRow>(TABLE, row.value())?.changes,
            None => vec![],
        },
        None => vec![],
    };
    all.extend(states.batch().changes.get(id).into_iter().flatten().cloned());
    cut(&mut all);
    all.iter().map(change_of).collect()
}

pub(super) fn write(tx: &WriteTransaction, batch: &Batch) -> Result<(), Error> {
    let mut updates = tx.open_table(UPDATES)?;
    for (number, id) in &batch.numbers {
        updates.insert(*number, id)?;
    }
    // What was told by one that is forgotten leaves nothing behind.
    let endpoints = tx.open_table(ENDPOINTS)?;
    let mut rows = tx.open_table(STATES)?;
    for (id, row) in &batch.rows {
        if endpoints.get(id)?.is_none() {
            continue;
        }
        rows.insert(id, row.as_slice())?;
    }
    let mut rows = tx.open_table(CHANGES)?;
    for (id, new) in &batch.changes {
        if endpoints.get(id)?.is_none() {
            continue;
        }
        let old = rows.get(id)?.map(|row| decode::<ChangesRow>(TABLE, row.value())).transpose();
        // A row that cannot be read is worth less than what came since.
        let mut row = old.unwrap_or_else(|error| {
            tracing::warn!(%error, "the history of an endpoint's states begins anew");
            None
        });
        let row = row.get_or_insert_default();
        row.changes.extend(new.iter().cloned());
        cut(&mut row.changes);
        rows.insert(id, encode(row)?.as_slice())?;
    }
    Ok(())
}

pub(super) fn forget(tx: &WriteTransaction, endpoint: Endpoint) -> Result<(), Error> {
    tx.open_table(STATES)?.remove(endpoint.0.bytes())?;
    tx.open_table(CHANGES)?.remove(endpoint.0.bytes())?;
    Ok(())
}

/// Writes what was gathered.
pub(crate) struct StatesTick {
    states: Arc<States>,
    /// What is being written: put back where the commit fails.
    under_way: Mutex<Batch>,
}

impl StatesTick {
    pub(crate) fn new(states: Arc<States>) -> Self {
        Self { states, under_way: Mutex::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, Batch> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tick for StatesTick {
    fn is_due(&self) -> bool {
        !self.states.batch().is_empty()
    }

    fn write(&self, tx: &WriteTransaction) -> Result<(), Error> {
        let batch = self.states.drain();
        let written = write(tx, &batch);
        *self.under_way() = batch;
        written
    }

    fn settle(&self, committed: bool) {
        let batch = std::mem::take(&mut *self.under_way());
        if !committed {
            self.states.put_back(batch);
        }
    }
}
