//! Pins: a pinned payload is never given up to make room, and an unproven one that is pinned has no end.

use redb::{ReadableTable, WriteTransaction};

use crate::base::digest::Blake3;
use crate::base::time::Timestamp;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::tables::{Id, PINS, PinRow, RECENCY, USED, encode, use_key};

/// Who pinned a payload, and when.
#[derive(Clone, Debug)]
pub struct Pin {
    /// Who, in their own words.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Bytes of `by` that are kept.
const BY_MAX: usize = 256;

/// Pins a held payload; pinning it again changes who.
pub(crate) fn pin(tx: &WriteTransaction, id: &Id, by: &str, at: u64) -> Result<(), Error> {
    let mut row = entries::payload(tx, id)?.ok_or(Error::Gone)?;
    let by: String = by.chars().take(BY_MAX).collect();
    let used = tx.open_table(USED)?.get(id)?.map_or(0, |ms| ms.value());
    let place = entries::order(tx, id, row.class)?;
    tx.open_table(RECENCY)?.remove(&use_key(place, used, id))?;
    tx.open_table(PINS)?.insert(id, encode(&PinRow { by, at })?.as_slice())?;
    row.expires_at = None;
    entries::put_payload(tx, id, &row, used)
}

/// Takes a pin away; one that is not there is fine. An unproven payload gets `unproven_end` as its end.
pub(crate) fn unpin(tx: &WriteTransaction, blake3: &Blake3, unproven_end: u64) -> Result<(), Error> {
    let id = blake3.as_bytes();
    let was_pinned = tx.open_table(PINS)?.remove(id)?.is_some();
    let Some(mut row) = entries::payload(tx, id)? else {
        // The pin of a damaged payload that was to come again.
        return if was_pinned { Ok(()) } else { Err(Error::Gone) };
    };
    if !was_pinned {
        return Ok(());
    }
    if !entries::is_proven(&row) {
        row.expires_at = Some(unproven_end);
    }
    entries::put_payload(tx, id, &row, 0)
}
