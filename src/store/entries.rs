//! The rows that belong together: a payload with its recency, its end and the running sums; a name with its way back.
//! Every function here keeps all of them in step inside one transaction, and nothing else may write these tables.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable, TableError, WriteTransaction};

use crate::base::digest::{Blake3, Digest, Sha1, Sha256};
use crate::model::name::Name;
use crate::model::payload::Class;
use crate::store::error::Error;
use crate::store::judge::Sha1State;
use crate::store::tables::{
    ALIASES, AliasRow, EXPIRY, Id, NAMES, OUTDATED, PAYLOAD_BYTES, PAYLOAD_COUNT, PAYLOADS, PINS, PayloadRow, RECENCY,
    Sha1Key, TOTALS, UNCHECKED, USED, class_code, decode, encode, name_key, name_of, names_end, names_key, of_sha1_key,
    sha1_key, time_key, use_key,
};
use crate::store::withheld;

/// Adds to a running sum, or takes from it; it never goes below zero.
pub(crate) fn add_total(tx: &WriteTransaction, key: &str, change: i64) -> Result<(), Error> {
    let mut totals = tx.open_table(TOTALS)?;
    let now = totals.get(key)?.map_or(0, |sum| sum.value());
    totals.insert(key, now.saturating_add_signed(change))?;
    Ok(())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The row of a payload.
pub(crate) fn payload(tx: &WriteTransaction, id: &Id) -> Result<Option<PayloadRow>, Error> {
    tx.open_table(PAYLOADS)?.get(id)?.map(|row| decode("payloads.1", row.value())).transpose()
}

/// What is added to the class of an outdated payload where it stands in the order of giving up.
pub(crate) const OUTDATED_CLASS: u8 = 2;

/// Where a payload of this class stands in the order of giving up.
pub(crate) fn order(tx: &WriteTransaction, id: &Id, class: u8) -> Result<u8, Error> {
    Ok(place(class, tx.open_table(OUTDATED)?.get(id)?.is_some()))
}

fn place(class: u8, outdated: bool) -> u8 {
    if outdated { class.saturating_add(OUTDATED_CLASS) } else { class }
}

/// Whether a payload is marked as one that only superseded or withdrawn updates have.
pub(crate) fn is_outdated(tx: &ReadTransaction, id: &Id) -> Result<bool, Error> {
    match tx.open_table(OUTDATED) {
        Ok(table) => Ok(table.get(id)?.is_some()),
        // An index that was made before there was this table, opened to be read alone.
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sets that mark, or takes it away, and gives the payload its place in the order. Says whether anything changed.
pub(crate) fn mark_outdated(tx: &WriteTransaction, id: &Id, outdated: bool) -> Result<bool, Error> {
    let Some(row) = payload(tx, id)? else { return Ok(false) };
    let before = order(tx, id, row.class)?;
    {
        let mut table = tx.open_table(OUTDATED)?;
        let was = if outdated { table.insert(id, ())?.is_some() } else { table.remove(id)?.is_some() };
        if was == outdated {
            return Ok(false);
        }
    }
    let after = order(tx, id, row.class)?;
    let used = tx.open_table(USED)?.get(id)?.map_or(0, |ms| ms.value());
    let mut recency = tx.open_table(RECENCY)?;
    // A pinned payload has no place.
    if recency.remove(&use_key(before, used, id))?.is_some() {
        recency.insert(&use_key(after, used, id), ())?;
    }
    Ok(true)
}

/// Marks the payloads of a file that no update of the catalog has any more. One that was published with another SHA-256 is not it.
pub(crate) fn mark_forgotten(tx: &WriteTransaction, sha1: &Sha1, sha256: Option<&Sha256>) -> Result<(), Error> {
    let digests = [Some(Digest::Sha1(*sha1)), sha256.copied().map(Digest::Sha256)];
    let mut ids = BTreeSet::new();
    for digest in digests.into_iter().flatten() {
        ids.extend(alias(tx, &name_key(&Name::Digest(digest)))?.map(|row| row.blake3));
    }
    let (from, to) = (sha1_key(sha1.as_bytes(), &[0; 32]), sha1_key(sha1.as_bytes(), &[255; 32]));
    for row in tx.open_table(UNCHECKED)?.range::<&Sha1Key>(&from..=&to)? {
        ids.insert(of_sha1_key(row?.0.value()));
    }
    for id in ids {
        let Some(row) = payload(tx, &id)? else { continue };
        if sha256.is_none_or(|sha256| row.sha256 == *sha256.as_bytes()) {
            mark_outdated(tx, &id, true)?;
        }
    }
    Ok(())
}

/// Puts a payload in, or another state of it in place of what is there. `used_at` is kept where it is already later.
pub(crate) fn put_payload(tx: &WriteTransaction, id: &Id, row: &PayloadRow, used_at: u64) -> Result<(), Error> {
    let old = payload(tx, id)?;
    let place = order(tx, id, row.class)?;
    let old_place = old.as_ref().map(|old| order(tx, id, old.class)).transpose()?;
    tx.open_table(PAYLOADS)?.insert(id, encode(row)?.as_slice())?;
    let pinned = tx.open_table(PINS)?.get(id)?.is_some();
    let mut unchecked = tx.open_table(UNCHECKED)?;
    if row.sha1_state == Sha1State::Unchecked.code() {
        unchecked.insert(&sha1_key(&row.sha1, id), ())?;
    } else {
        unchecked.remove(&sha1_key(&row.sha1, id))?;
    }
    let mut used = tx.open_table(USED)?;
    let was = used.get(id)?.map(|ms| ms.value());
    let now = was.map_or(used_at, |was| was.max(used_at));
    used.insert(id, now)?;
    let mut recency = tx.open_table(RECENCY)?;
    let mut expiry = tx.open_table(EXPIRY)?;
    if let Some(old) = &old {
        recency.remove(&use_key(old_place.unwrap_or(old.class), was.unwrap_or(0), id))?;
        if let Some(end) = old.expires_at {
            expiry.remove(&time_key(end, id))?;
        }
    }
    if !pinned {
        recency.insert(&use_key(place, now, id), ())?;
    }
    if let Some(end) = row.expires_at {
        expiry.insert(&time_key(end, id), ())?;
    }
    let (bytes, count) = old.map_or((0, 1), |old| (signed(old.allocated), 0));
    add_total(tx, PAYLOAD_BYTES, signed(row.allocated).saturating_sub(bytes))?;
    add_total(tx, PAYLOAD_COUNT, count)
}

/// Takes a payload out with every name that points to it. `None` where there is none.
pub(crate) fn take_payload(tx: &WriteTransaction, id: &Id) -> Result<Option<PayloadRow>, Error> {
    let Some(row) = payload(tx, id)? else { return Ok(None) };
    tx.open_table(PAYLOADS)?.remove(id)?;
    tx.open_table(PINS)?.remove(id)?;
    tx.open_table(UNCHECKED)?.remove(&sha1_key(&row.sha1, id))?;
    withheld::release(tx, id)?;
    let used = tx.open_table(USED)?.remove(id)?.map_or(0, |ms| ms.value());
    let place = order(tx, id, row.class)?;
    tx.open_table(RECENCY)?.remove(&use_key(place, used, id))?;
    tx.open_table(OUTDATED)?.remove(id)?;
    if let Some(end) = row.expires_at {
        tx.open_table(EXPIRY)?.remove(&time_key(end, id))?;
    }
    let names = names_in(&tx.open_table(NAMES)?, id)?;
    let mut aliases = tx.open_table(ALIASES)?;
    let mut back = tx.open_table(NAMES)?;
    for name in &names {
        aliases.remove(name.as_slice())?;
        back.remove(names_key(id, name).as_slice())?;
    }
    drop((aliases, back));
    add_total(tx, PAYLOAD_BYTES, signed(row.allocated).saturating_neg())?;
    add_total(tx, PAYLOAD_COUNT, -1)?;
    Ok(Some(row))
}

/// Sets the times of the last use that are later than the ones known, the tables opened once for all of them: a busy node
/// tells of thousands in one step. A row that cannot be read keeps its time and must not keep the others from being used.
pub(crate) fn touch<'a>(tx: &WriteTransaction, uses: impl Iterator<Item = (&'a Id, u64)>) -> Result<(), Error> {
    let payloads = tx.open_table(PAYLOADS)?;
    let outdated = tx.open_table(OUTDATED)?;
    let mut used = tx.open_table(USED)?;
    let mut recency = tx.open_table(RECENCY)?;
    for (id, ms) in uses {
        let row = payloads.get(id)?.map(|row| decode::<PayloadRow>("payloads.1", row.value()));
        let Some(Ok(row)) = row else { continue };
        let was = used.get(id)?.map_or(0, |ms| ms.value());
        if was >= ms {
            continue;
        }
        used.insert(id, ms)?;
        let place = place(row.class, outdated.get(id)?.is_some());
        // A pinned payload has no place in the order, and gets none by being used.
        if recency.remove(&use_key(place, was, id))?.is_some() {
            recency.insert(&use_key(place, ms, id), ())?;
        }
    }
    Ok(())
}

/// Whether `row` is of a proven payload.
pub(crate) fn is_proven(row: &PayloadRow) -> bool {
    row.class == class_code(Class::Proven)
}

/// Origin names of one payload. Anybody who may ask can make up names of it (a query that the origin ignores), and all of
/// them are read with the payload, written into its proof and listed: without a bound one payload could fill the index.
pub(crate) const NAMES_MAX: usize = 1024;

/// Whether `name` may be let point to a payload: it does so already, it is a digest, or there are not too many.
pub(crate) fn may_name(tx: &WriteTransaction, id: &Id, name: &[u8]) -> Result<bool, Error> {
    let table = tx.open_table(NAMES)?;
    if matches!(name_of(name)?, Name::Digest(_)) || table.get(names_key(id, name).as_slice())?.is_some() {
        return Ok(true);
    }
    Ok(names_in(&table, id)?.len() < NAMES_MAX)
}

/// Makes place for `name` among the names of a payload: the first origin name goes where there are too many.
pub(crate) fn make_place(tx: &WriteTransaction, id: &Id, name: &[u8]) -> Result<(), Error> {
    if may_name(tx, id, name)? {
        return Ok(());
    }
    let names = names_in(&tx.open_table(NAMES)?, id)?;
    for old in names {
        if matches!(name_of(&old)?, Name::Origin(_)) {
            take_alias(tx, &old)?;
            break;
        }
    }
    Ok(())
}

/// Lets `name` point to the payload that `row` names; what it pointed to before loses it. The caller has checked that
/// the payload is there.
pub(crate) fn put_alias(tx: &WriteTransaction, name: &[u8], row: &AliasRow) -> Result<(), Error> {
    let old = tx.open_table(ALIASES)?.insert(name, encode(row)?.as_slice())?.map(|old| old.value().to_vec());
    let mut names = tx.open_table(NAMES)?;
    if let Some(old) = old {
        let old: AliasRow = decode("aliases.1", &old)?;
        names.remove(names_key(&old.blake3, name).as_slice())?;
    }
    names.insert(names_key(&row.blake3, name).as_slice(), ())?;
    Ok(())
}

/// The row of a name.
pub(crate) fn alias(tx: &WriteTransaction, name: &[u8]) -> Result<Option<AliasRow>, Error> {
    tx.open_table(ALIASES)?.get(name)?.map(|row| decode("aliases.1", row.value())).transpose()
}

/// Takes a name away.
pub(crate) fn take_alias(tx: &WriteTransaction, name: &[u8]) -> Result<Option<AliasRow>, Error> {
    let Some(row) = alias(tx, name)? else { return Ok(None) };
    tx.open_table(ALIASES)?.remove(name)?;
    tx.open_table(NAMES)?.remove(names_key(&row.blake3, name).as_slice())?;
    Ok(Some(row))
}

/// The keys of all names of a payload.
pub(crate) fn names_in(table: &impl ReadableTable<&'static [u8], ()>, id: &Id) -> Result<Vec<Vec<u8>>, Error> {
    let end = names_end(id);
    let rows = match &end {
        Some(end) => table.range::<&[u8]>(id.as_slice()..end.as_slice())?,
        None => table.range::<&[u8]>(id.as_slice()..)?,
    };
    rows.map(|row| Ok(row?.0.value().get(id.len()..).unwrap_or_default().to_vec())).collect()
}

/// The payload that a name points to, in a snapshot.
pub(crate) fn look_up(tx: &ReadTransaction, name: &[u8]) -> Result<Option<(Blake3, PayloadRow, AliasRow)>, Error> {
    look_up_in(&tx.open_table(ALIASES)?, &tx.open_table(PAYLOADS)?, name)
}

/// The same in tables that are open.
pub(crate) fn look_up_in(
    aliases: &impl ReadableTable<&'static [u8], &'static [u8]>,
    payloads: &impl ReadableTable<&'static Id, &'static [u8]>,
    name: &[u8],
) -> Result<Option<(Blake3, PayloadRow, AliasRow)>, Error> {
    let Some(alias) = aliases.get(name)?.map(|row| decode::<AliasRow>("aliases.1", row.value())) else {
        return Ok(None);
    };
    let alias = alias?;
    let row = payloads.get(&alias.blake3)?.map(|row| decode("payloads.1", row.value())).transpose()?;
    Ok(row.map(|row| (Blake3::new(alias.blake3), row, alias)))
}

/// Makes every table, so that a reader never meets one that is not there.
pub(crate) fn create_tables(tx: &WriteTransaction) -> Result<(), Error> {
    use crate::store::tables::{DOCUMENTS, DOOMED, DRAFTS, INTENTS, LEDGER, META, NOTES, PIECES, QUARANTINE};
    tx.open_table(META)?;
    tx.open_table(TOTALS)?;
    tx.open_table(PAYLOADS)?;
    tx.open_table(ALIASES)?;
    tx.open_table(NAMES)?;
    tx.open_table(UNCHECKED)?;
    tx.open_table(USED)?;
    tx.open_table(RECENCY)?;
    tx.open_table(EXPIRY)?;
    tx.open_table(PINS)?;
    tx.open_table(OUTDATED)?;
    tx.open_table(INTENTS)?;
    tx.open_table(DOOMED)?;
    tx.open_table(DRAFTS)?;
    tx.open_table(PIECES)?;
    tx.open_table(NOTES)?;
    tx.open_table(QUARANTINE)?;
    tx.open_table(LEDGER)?;
    tx.open_table(DOCUMENTS)?;
    crate::store::catalog::tables::create(tx)?;
    crate::store::fleet::tables::create(tx)?;
    crate::store::feed::tables::create(tx)?;
    crate::store::below::tables::create(tx)?;
    crate::store::accounts::tables::create(tx)
}
