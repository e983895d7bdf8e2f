//! When endpoints were last heard of. A scan has some twenty requests, and none of them may cost a commit: what is heard is
//! gathered in memory and written at the writer's tick, and at the end. What a crash loses comes again with the next request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, WriteTransaction};

use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;
use crate::store::catalog::tables::read as table;
use crate::store::error::Error;
use crate::store::fleet::endpoints::tell;
use crate::store::fleet::places::Places;
use crate::store::fleet::tables::{CONTACTS, ContactRow, ENDPOINTS, Guid, address_bytes, address_of};
use crate::store::fleet::turns::Turns;
use crate::store::fleet::value::{Contact, Contacts, Event, EventKind};
use crate::store::tables::{decode, encode};
use crate::store::writer::Tick;

/// Endpoints of which something is gathered; what comes beyond within one tick is not noted, and comes again.
/// Written in one commit, which publishes share and must not wait for.
const GATHERED_MAX: usize = 8192;

const TABLE: &str = "fleet-contacts.1";

#[derive(Clone, Copy, Debug)]
struct Heard {
    last: [u64; 5],
    address: IpAddr,
}

impl Heard {
    /// What is later counts; where both are, the address of `other`.
    fn with(mut self, other: Self) -> Self {
        let latest = |last: &[u64; 5]| last.iter().copied().max();
        if latest(&other.last) >= latest(&self.last) {
            self.address = other.address;
        }
        for (mine, theirs) in self.last.iter_mut().zip(other.last) {
            *mine = (*mine).max(theirs);
        }
        self
    }
}

/// What is held in memory of endpoints.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// What was heard and is not written yet.
    heard: Mutex<HashMap<Guid, Heard>>,
    /// What is known of them changes.
    pub(super) turns: Turns,
    /// From where they were last heard of, by what is written.
    places: Mutex<Places>,
}

impl Gathered {
    fn heard(&self) -> MutexGuard<'_, HashMap<Guid, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, id: Guid, new: Heard) {
        let mut heard = self.heard();
        if let Some(known) = heard.get_mut(&id) {
            *known = known.with(new);
        } else if heard.len() < GATHERED_MAX {
            heard.insert(id, new);
        }
    }

    pub(super) fn note(&self, endpoint: Endpoint, address: IpAddr, contact: Contact, at: Timestamp) {
        let mut last = [0; 5];
        if let Some(place) = last.get_mut(contact.place()) {
            *place = at.ms();
        }
        self.take_in(*endpoint.0.bytes(), Heard { last, address: address.to_canonical() });
    }
}

fn row_heard(row: &ContactRow) -> Heard {
    Heard { last: row.last, address: address_of(row.address) }
}

/// When an endpoint that is known was last heard of.
pub(super) fn of(
    rows: Option<&ReadOnlyTable<&'static Guid, &'static [u8]>>,
    gathered: &Gathered,
    id: &Guid,
) -> Result<Contacts, Error> {
    let row = match rows {
        Some(rows) => rows.get(id)?.map(|row| decode::<ContactRow>(TABLE, row.value())).transpose()?,
        None => None,
    };
    let new = gathered.heard().get(id).copied();
    let heard = match (row.as_ref().map(row_heard), new) {
        (Some(old), Some(new)) => old.with(new),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Ok(Contacts::default()),
    };
    Ok(Contacts { last: heard.last, address: Some(heard.address) })
}

pub(super) fn get(tx: &ReadTransaction, gathered: &Gathered, endpoint: Endpoint) -> Result<Contacts, Error> {
    let id = endpoint.0.bytes();
    let is_known = match table(tx, ENDPOINTS)? {
        Some(rows) => rows.get(id)?.is_some(),
        None => false,
    };
    if is_known { of(table(tx, CONTACTS)?.as_ref(), gathered, id) } else { Ok(Contacts::default()) }
}

/// Writes what was gathered.
pub(crate) struct ContactTick {
    gathered: Arc<Gathered>,
    /// What is being written: put back where the commit fails.
    under_way: Mutex<Vec<(Guid, Heard)>>,
}

impl ContactTick {
    pub(crate) fn new(gathered: Arc<Gathered>) -> Self {
        Self { gathered, under_way: Mutex::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<(Guid, Heard)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tick for ContactTick {
    fn is_due(&self) -> bool {
        !self.gathered.heard().is_empty()
    }

    fn write(&self, tx: &WriteTransaction) -> Result<(), Error> {
        let batch: Vec<(Guid, Heard)> = self.gathered.heard().drain().collect();
        self.under_way().clone_from(&batch);
        let endpoints = tx.open_table(ENDPOINTS)?;
        let mut rows = tx.open_table(CONTACTS)?;
        for (id, new) in batch {
            // Ids that nobody registered leave nothing behind.
            if endpoints.get(&id)?.is_none() {
                continue;
            }
            let old = rows.get(&id)?.map(|row| decode::<ContactRow>(TABLE, row.value())).transpose();
            // A row that cannot be read is worth less than what came since.
            let old = old.unwrap_or_else(|error| {
                tracing::warn!(%error, "when an endpoint was last heard of is written anew");
                None
            });
            let old = old.as_ref().map(row_heard);
            let heard = old.map_or(new, |old| old.with(new));
            if let Some(old) = old.filter(|old| old.address != heard.address) {
                let at = Timestamp::from_ms(heard.last.iter().copied().max().unwrap_or(0));
                let text = format!("{} instead of {}", heard.address, old.address);
                tell(tx, &id, vec![Event { at, kind: EventKind::Address, text }])?;
            }
            let row = ContactRow { last: heard.last, address: address_bytes(heard.address) };
            rows.insert(&id, encode(&row)?.as_slice())?;
            let latest = heard.last.iter().copied().max().unwrap_or(0);
            self.gathered.places().came(id, heard.address, latest);
        }
        Ok(())
    }

    fn settle(&self, committed: bool) {
        let batch = std::mem::take(&mut *self.under_way());
        if !committed {
            for (id, heard) in batch {
                self.gathered.take_in(id, heard);
            }
        }
    }
}
