//! Endpoints as rows: what they said of themselves, who contests it, and what happened to them.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::approvals::tables::MEMBERS;
use crate::store::catalog::tables::read as table;
use crate::store::error::Error;
use crate::store::fleet::tables::{
    CONTACTS, ContestRow, ENDPOINTS, EndpointRow, EventRow, Guid, HISTORY, HistoryRow, MachineRow, address_bytes,
    address_of,
};
use crate::store::fleet::value::{Admitted, Bios, Contest, Event, EventKind, Os, Record, Registration, Ruling};
use crate::store::tables::{decode, encode};

/// Endpoints of one node: ten times what it is sized for. Ids cost an attacker nothing, rows of half a KiB do.
pub const ENDPOINTS_MAX: u64 = 200_000;
/// Events that are kept of one endpoint: a notebook that changes networks twice a day for a month.
pub const HISTORY_MAX: usize = 64;
/// Endpoints in one answer.
pub const PAGE_MAX: usize = 1000;
/// Bytes of the text of an event: two names and what stands between them.
const TEXT_MAX: usize = 640;

const TABLE: &str = "fleet-endpoints.1";
const EVENTS: &str = "fleet-history.1";

const ACCEPTED: u8 = 1;
const HELD: u8 = 2;

const KINDS: [(EventKind, u8); 6] = [
    (EventKind::First, 1),
    (EventKind::Address, 2),
    (EventKind::Changed, 3),
    (EventKind::Contested, 4),
    (EventKind::Admitted, 5),
    (EventKind::Bound, 6),
];

fn row_of(record: &Record) -> EndpointRow {
    let told = &record.registration;
    let Os { major, minor, build, pack_major, pack_minor, product } = told.os;
    let machine = |name: &str, maker: &str, model: &str, bios: &Bios, address| MachineRow {
        name: name.to_owned(),
        maker: maker.to_owned(),
        model: model.to_owned(),
        bios_name: bios.name.clone(),
        bios_version: bios.version.clone(),
        bios_date: bios.date.clone(),
        address: address_bytes(address),
    };
    let contest = |contest: &Contest| ContestRow {
        machine: machine(&contest.name, &contest.maker, &contest.model, &contest.bios, contest.address),
        first: contest.first.ms(),
        last: contest.last.ms(),
        times: contest.times,
        between: contest.between.map(Timestamp::ms),
        is_clone: contest.is_clone,
    };
    EndpointRow {
        machine: machine(&told.name, &told.maker, &told.model, &told.bios, told.address),
        os: [major, minor, build, pack_major, pack_minor, product],
        architecture: told.architecture.clone(),
        client_version: told.client_version.clone(),
        targets: told.targets.clone(),
        first: record.first.ms(),
        at: told.at.ms(),
        admitted: if record.admitted == Admitted::Accepted { ACCEPTED } else { HELD },
        contests: record.contests.iter().map(contest).collect(),
    }
}

fn bios_of(machine: &MachineRow) -> Bios {
    Bios { name: machine.bios_name.clone(), version: machine.bios_version.clone(), date: machine.bios_date.clone() }
}

pub(super) fn record_of(id: &Guid, row: &[u8]) -> Result<Record, Error> {
    let row: EndpointRow = decode(TABLE, row)?;
    let admitted = match row.admitted {
        ACCEPTED => Admitted::Accepted,
        HELD => Admitted::Held,
        other => {
            return Err(Error::Row {
                what: format!("a row of {TABLE} says {other}, which this program does not know"),
            });
        }
    };
    let contest = |row: &ContestRow| Contest {
        name: row.machine.name.clone(),
        maker: row.machine.maker.clone(),
        model: row.machine.model.clone(),
        bios: bios_of(&row.machine),
        address: address_of(row.machine.address),
        first: Timestamp::from_ms(row.first),
        last: Timestamp::from_ms(row.last),
        times: row.times,
        between: row.between.map(Timestamp::from_ms),
        is_clone: row.is_clone,
    };
    let [major, minor, build, pack_major, pack_minor, product] = row.os;
    Ok(Record {
        first: Timestamp::from_ms(row.first),
        admitted,
        contests: row.contests.iter().map(contest).collect(),
        registration: Registration {
            endpoint: Endpoint(UpdateId::new(*id)),
            bios: bios_of(&row.machine),
            name: row.machine.name,
            os: Os { major, minor, build, pack_major, pack_minor, product },
            maker: row.machine.maker,
            model: row.machine.model,
            architecture: row.architecture,
            client_version: row.client_version,
            targets: row.targets,
            address: address_of(row.machine.address),
            at: Timestamp::from_ms(row.at),
        },
    })
}

pub(super) fn get(tx: &ReadTransaction, endpoint: Endpoint) -> Result<Option<Record>, Error> {
    let Some(rows) = table(tx, ENDPOINTS)? else { return Ok(None) };
    let id = endpoint.0.bytes();
    rows.get(id)?.map(|row| record_of(id, row.value())).transpose()
}

pub(super) fn page(tx: &ReadTransaction, after: Option<Endpoint>, limit: usize) -> Result<Vec<Record>, Error> {
    let Some(rows) = table(tx, ENDPOINTS)? else { return Ok(vec![]) };
    let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.0.bytes()));
    let range = rows.range::<&Guid>((from, Bound::Unbounded))?;
    let record = |row: Result<(_, _), redb::StorageError>| {
        let (id, row): (redb::AccessGuard<'_, &'static Guid>, redb::AccessGuard<'_, &'static [u8]>) = row?;
        readable(record_of(id.value(), row.value()))
    };
    range.filter_map(|row| record(row).transpose()).take(limit).collect()
}

/// One row that cannot be read does not hide the others.
pub(super) fn readable(record: Result<Record, Error>) -> Result<Option<Record>, Error> {
    match record {
        Err(error @ Error::Row { .. }) => {
            tracing::warn!(%error, "an endpoint is left out");
            Ok(None)
        }
        other => other.map(Some),
    }
}

pub(super) fn count(tx: &ReadTransaction) -> Result<u64, Error> {
    Ok(table(tx, ENDPOINTS)?.map(|rows| rows.len()).transpose()?.unwrap_or(0))
}

pub(super) fn history(tx: &ReadTransaction, endpoint: Endpoint) -> Result<Vec<Event>, Error> {
    let Some(rows) = table(tx, HISTORY)? else { return Ok(vec![]) };
    let Some(row) = rows.get(endpoint.0.bytes())? else { return Ok(vec![]) };
    let row: HistoryRow = decode(EVENTS, row.value())?;
    let event = |row: EventRow| {
        let kind = KINDS.iter().find(|(_, code)| *code == row.kind).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| Error::Row {
            what: format!("a row of {EVENTS} says {}, which this program does not know", row.kind),
        })?;
        Ok(Event { at: Timestamp::from_ms(row.at), kind, text: row.text })
    };
    row.events.into_iter().map(event).collect()
}

/// Writes events behind those that are there; the oldest go, but not the first of all: when it was first seen is worth more.
pub(super) fn tell(tx: &WriteTransaction, id: &Guid, events: Vec<Event>) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let mut rows = tx.open_table(HISTORY)?;
    let mut row: HistoryRow = rows.get(id)?.map(|row| decode(EVENTS, row.value())).transpose()?.unwrap_or_default();
    for mut event in events {
        event.text.truncate(event.text.floor_char_boundary(TEXT_MAX));
        let kind = KINDS.iter().find(|(kind, _)| *kind == event.kind).map_or(0, |(_, code)| *code);
        // A registration from elsewhere is a contact from there too: one of both is enough.
        let is_known = |last: &EventRow| event.kind == EventKind::Address && last.text == event.text;
        if row.events.iter().rfind(|last| last.kind == kind).is_some_and(is_known) {
            continue;
        }
        row.events.push(EventRow { at: event.at.ms(), kind, text: event.text });
    }
    let over = row.events.len().saturating_sub(HISTORY_MAX);
    if over > 0 {
        row.events.drain(1..=over);
    }
    rows.insert(id, encode(&row)?.as_slice())?;
    Ok(())
}

/// What came of a judgement.
pub(super) struct Ruled<T> {
    pub(super) answer: T,
    /// What was written.
    pub(super) put: Option<Record>,
    /// Nothing was known of the endpoint before, and now something is.
    pub(super) is_new: bool,
}

/// Lays what is known before the judge, and writes what it rules.
pub(super) fn rule<T>(
    tx: &WriteTransaction,
    endpoint: Endpoint,
    judge: &impl Fn(Option<Record>) -> Ruling<T>,
) -> Result<Ruled<T>, Error> {
    let id = endpoint.0.bytes();
    let mut rows = tx.open_table(ENDPOINTS)?;
    let known = rows.get(id)?.map(|row| record_of(id, row.value())).transpose()?;
    let is_new = known.is_none();
    let Ruling { put, events, answer } = judge(known);
    if let Some(record) = &put {
        if is_new && rows.len()? >= ENDPOINTS_MAX {
            return Err(Error::Full {
                what: format!("{ENDPOINTS_MAX} endpoints are the most that are kept: forget those that are gone"),
            });
        }
        rows.insert(id, encode(&row_of(record))?.as_slice())?;
    }
    // What is refused leaves nothing behind.
    if put.is_some() || !is_new {
        tell(tx, id, events)?;
    }
    Ok(Ruled { answer, is_new: is_new && put.is_some(), put })
}

pub(super) fn forget(tx: &WriteTransaction, endpoint: Endpoint) -> Result<bool, Error> {
    let id = endpoint.0.bytes();
    tx.open_table(CONTACTS)?.remove(id)?;
    tx.open_table(HISTORY)?.remove(id)?;
    tx.open_table(MEMBERS)?.remove(id)?;
    let was_there = tx.open_table(ENDPOINTS)?.remove(id)?.is_some();
    Ok(was_there)
}
