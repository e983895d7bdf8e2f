//! The lines of the feed's log: `op u8, form u8, audience [16]`, then hashes or content.

use bytes::Bytes;

use crate::model::chain::hash::{KeyHash, RecordHash};
use crate::model::chain::ids::Audience;
use crate::model::chain::record::{BODY_BYTES_MAX, Entry, KEY_BYTES_MAX, Record, Shown};
use crate::wire::error::Result;
use crate::wire::peer::read::Read;

const SET: u8 = 1;
const GONE: u8 = 2;
const BARE: u8 = 0;
const WHOLE: u8 = 1;

/// Bytes of the longest entry.
pub const ENTRY_BYTES_MAX: usize = 18 + 1 + 16 + 2 + 4 + KEY_BYTES_MAX + BODY_BYTES_MAX;

/// Bytes that writing it takes.
pub(super) fn len(entry: &Entry) -> usize {
    18 + match entry.shown() {
        Shown::Bare if entry.is_gone() => 32,
        Shown::Bare => 64,
        Shown::Gone { key, .. } => 3 + key.len(),
        Shown::Record(record) => 23 + record.key().len() + record.body().len(),
    }
}

pub(super) fn write(out: &mut Vec<u8>, entry: &Entry) {
    let form = if *entry.shown() == Shown::Bare { BARE } else { WHOLE };
    out.extend_from_slice(&[entry.op(), form]);
    out.extend_from_slice(entry.audience().bytes());
    match entry.shown() {
        Shown::Bare => {
            out.extend_from_slice(entry.key().bytes());
            if !entry.is_gone() {
                out.extend_from_slice(entry.record().bytes());
            }
        }
        Shown::Gone { kind, key } => {
            out.push(*kind);
            out.extend_from_slice(&(key.len() as u16).to_le_bytes());
            out.extend_from_slice(key);
        }
        Shown::Record(record) => {
            out.push(record.kind());
            out.extend_from_slice(record.salt());
            out.extend_from_slice(&(record.key().len() as u16).to_le_bytes());
            out.extend_from_slice(&(record.body().len() as u32).to_le_bytes());
            out.extend_from_slice(record.key());
            out.extend_from_slice(record.body());
        }
    }
}

pub(super) fn read(from: &mut Read) -> Result<Entry> {
    let (op, form) = (from.u8()?, from.u8()?);
    let audience = Audience::new(from.array()?);
    match (op, form) {
        (SET, BARE) => {
            let (key, record) = (KeyHash::new(from.array()?), RecordHash::new(from.array()?));
            if record == RecordHash::NONE {
                return Err(from.fail("a record that is set has the hash of none"));
            }
            Ok(Entry::bare(audience, key, record))
        }
        (GONE, BARE) => Ok(Entry::bare(audience, KeyHash::new(from.array()?), RecordHash::NONE)),
        (SET, WHOLE) => {
            let (kind, salt) = (from.u8()?, from.array()?);
            let (key, body) = (from.u16()? as usize, from.u32()? as usize);
            let (key, body) = (from.bytes(key)?, from.bytes(body)?);
            let record = Record::new(kind, audience, salt, key, body);
            Ok(Entry::set(record.map_err(|error| from.fail(error.to_string()))?))
        }
        (GONE, WHOLE) => {
            let kind = from.u8()?;
            let key = from.u16()? as usize;
            let key: Bytes = from.bytes(key)?;
            Entry::gone(kind, audience, key).map_err(|error| from.fail(error.to_string()))
        }
        _ => Err(from.fail(format!("an entry of op {op} and form {form}"))),
    }
}
