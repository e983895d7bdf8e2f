//! Contents of records, each packed by itself and kept once for what is live and what is staged.

use bytes::Bytes;
use redb::ReadableTable;

use crate::model::chain::hash::{KeyHash, RecordHash};
use crate::model::chain::ids::Audience;
use crate::model::chain::record::{BODY_BYTES_MAX, Entry, KEY_BYTES_MAX, Record, Shown};
use crate::store::error::Error;
use crate::store::feed::tables::{BodyKey, body_key};

/// As documents of the catalog: what packs harder costs a bootstrap more than the disk is worth.
const LEVEL: i32 = 3;
/// Kind, salt, length of the key.
const HEAD: usize = 1 + 16 + 2;
const ROW_MAX: usize = HEAD + KEY_BYTES_MAX + BODY_BYTES_MAX;

fn broken(why: &str) -> Error {
    Error::Row { what: format!("a record of the feed cannot be read: {why}") }
}

fn packed(record: &Record) -> Result<Vec<u8>, Error> {
    let length = (record.key().len() as u16).to_le_bytes();
    let plain = [&[record.kind()], record.salt().as_slice(), &length, record.key(), record.body()].concat();
    let mut row = vec![1];
    row.extend(zstd::bulk::compress(&plain, LEVEL).map_err(|_| broken("it cannot be packed"))?);
    Ok(row)
}

fn unpacked(audience: Audience, row: &[u8]) -> Result<Record, Error> {
    let Some((1, packed)) = row.split_first() else { return Err(broken("it is of another version")) };
    let plain = zstd::bulk::decompress(packed, ROW_MAX).map_err(|_| broken("it cannot be unpacked"))?;
    let plain = Bytes::from(plain);
    let short = || broken("it is too short");
    let (kind, rest) = plain.split_first().ok_or_else(short)?;
    let (salt, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let length = usize::from(u16::from_le_bytes(*length));
    if rest.len() < length {
        return Err(short());
    }
    let (key, body) = (plain.slice(HEAD..HEAD + length), plain.slice(HEAD + length..));
    Record::new(*kind, audience, *salt, key, body).map_err(|error| broken(&error.to_string()))
}

/// Keeps the content of an entry that has one and is not kept yet; says whether it is kept.
pub(super) fn keep(table: &mut redb::Table<'_, &'static BodyKey, &'static [u8]>, entry: &Entry) -> Result<bool, Error> {
    let key = body_key(entry.key(), entry.record());
    if table.get(&key)?.is_some() {
        return Ok(true);
    }
    let Shown::Record(record) = entry.shown() else { return Ok(false) };
    table.insert(&key, packed(record)?.as_slice())?;
    Ok(true)
}

/// The record under these hashes, where its content is kept.
pub(super) fn get(
    table: &impl ReadableTable<&'static BodyKey, &'static [u8]>,
    audience: Audience,
    key: KeyHash,
    record: RecordHash,
) -> Result<Option<Record>, Error> {
    let row = table.get(&body_key(key, record))?;
    row.map(|row| unpacked(audience, row.value())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_unpacked_as_it_was() {
        let audience = Audience::new([3; 16]);
        let record = Record::new(7, audience, [9; 16], Bytes::from_static(b"key"), vec![5; 10_000].into()).unwrap();
        let row = packed(&record).unwrap();
        assert!(row.len() < 200);
        assert_eq!(unpacked(audience, &row).unwrap(), record);
        assert!(matches!(unpacked(audience, &[]), Err(Error::Row { .. })));
        assert!(matches!(unpacked(audience, &row[..9]), Err(Error::Row { .. })));
        assert!(matches!(unpacked(audience, &[2, 0]), Err(Error::Row { .. })));
    }
}
