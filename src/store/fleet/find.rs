//! Endpoints looked for by what is known of them, in one snapshot, in the order of their names.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable};

use crate::model::deployment::Endpoint;
use crate::store::catalog::tables::read as table;
use crate::store::error::Error;
use crate::store::fleet::contacts::{self, Gathered};
use crate::store::fleet::endpoints::{readable, record_of};
use crate::store::fleet::tables::{CONTACTS, ENDPOINTS};
use crate::store::fleet::value::{Contacts, Found, Record, Row};

/// Where a row stands among the others: its name in lower case, then its id.
pub(super) fn place(record: &Record) -> (String, Endpoint) {
    (record.registration.name.to_lowercase(), record.registration.endpoint)
}

/// All rows are read, since any may fit; of those that do, the first `limit` behind `after` are kept at a time.
pub(super) fn find(
    tx: &ReadTransaction,
    gathered: &Gathered,
    fits: &dyn Fn(&Record, &Contacts) -> bool,
    after: Option<&(String, Endpoint)>,
    limit: usize,
) -> Result<Found, Error> {
    let mut found = Found::default();
    let Some(rows) = table(tx, ENDPOINTS)? else { return Ok(found) };
    let contacts = table(tx, CONTACTS)?;
    let mut kept = BTreeMap::new();
    let mut is_more = false;
    for row in rows.iter()? {
        let (id, row) = row?;
        found.known += 1;
        let Some(record) = readable(record_of(id.value(), row.value()))? else { continue };
        let contacts = contacts::of(contacts.as_ref(), gathered, id.value())?;
        if !fits(&record, &contacts) {
            continue;
        }
        found.total += 1;
        let place = place(&record);
        if after.is_some_and(|after| place <= *after) {
            continue;
        }
        kept.insert(place, Row { record, contacts });
        if kept.len() > limit {
            kept.pop_last();
            is_more = true;
        }
    }
    found.next = kept.last_key_value().map(|(place, _)| place.clone()).filter(|_| is_more);
    found.rows = kept.into_values().collect();
    Ok(found)
}
