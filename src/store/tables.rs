//! Every table of the index and the encoding of every key and value in it.
//!
//! Keys are raw bytes in an order that means something (big endian where numbers are sorted). Values are one version
//! byte and then a postcard record of plain fields: digests as raw bytes, enums as numbers given here, never as a
//! compiler's discriminant. A table whose meaning changes gets a new number in its name. `docs/store-format.md` is
//! the same in prose.

mod words;

use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use crate::base::digest::{Blake3, Digest, Sha1, Sha256};
use crate::model::name::{Name, OriginKey};
use crate::store::error::Error;

pub(crate) use crate::store::tables::words::{authority_code, authority_of, class_code};

/// A raw BLAKE3, as a key.
pub(crate) type Id = [u8; 32];
/// Class (2 more where it is outdated), milliseconds (big endian), BLAKE3: the order in which payloads are given up.
pub(crate) type UseKey = [u8; 41];
/// Milliseconds (big endian), BLAKE3.
pub(crate) type TimeKey = [u8; 40];

/// SHA-1, BLAKE3.
pub(crate) type Sha1Key = [u8; 52];

/// Facts of the store itself: `id` (16 bytes), `epoch` (u64 LE).
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta.1");
/// Running sums, so that nothing is counted at start.
pub(crate) const TOTALS: TableDefinition<'static, &str, u64> = TableDefinition::new("totals.1");
/// BLAKE3 -> [`PayloadRow`].
pub(crate) const PAYLOADS: TableDefinition<'static, &Id, &[u8]> = TableDefinition::new("payloads.1");
/// Name key -> [`AliasRow`].
pub(crate) const ALIASES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("aliases.1");
/// BLAKE3 followed by name key -> nothing: the way back from a payload to its names.
pub(crate) const NAMES: TableDefinition<'static, &[u8], ()> = TableDefinition::new("names.1");
/// [`Sha1Key`] -> nothing: payloads whose SHA-1 was computed without collision detection.
pub(crate) const UNCHECKED: TableDefinition<'static, &Sha1Key, ()> = TableDefinition::new("unchecked.1");
/// BLAKE3 -> milliseconds of the last use known.
pub(crate) const USED: TableDefinition<'static, &Id, u64> = TableDefinition::new("used.1");
/// [`UseKey`] -> nothing. Pinned payloads are not in it.
pub(crate) const RECENCY: TableDefinition<'static, &UseKey, ()> = TableDefinition::new("recency.1");
/// [`TimeKey`] of the end of an unproven payload -> nothing.
pub(crate) const EXPIRY: TableDefinition<'static, &TimeKey, ()> = TableDefinition::new("expiry.1");
/// BLAKE3 -> [`PinRow`].
pub(crate) const PINS: TableDefinition<'static, &Id, &[u8]> = TableDefinition::new("pins.1");
/// BLAKE3 -> nothing: payloads that only superseded or withdrawn updates have.
pub(crate) const OUTDATED: TableDefinition<'static, &Id, ()> = TableDefinition::new("outdated.1");
/// BLAKE3 -> [`IntentRow`]: a publish under way.
pub(crate) const INTENTS: TableDefinition<'static, &Id, &[u8]> = TableDefinition::new("intents.1");
/// BLAKE3 -> [`DoomedRow`]: a delete under way.
pub(crate) const DOOMED: TableDefinition<'static, &Id, &[u8]> = TableDefinition::new("doomed.1");
/// Draft id -> [`DraftRow`].
pub(crate) const DRAFTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("drafts.1");
/// Draft id -> [`PiecesRow`]; apart, since it is rewritten at every checkpoint.
pub(crate) const PIECES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("pieces.1");
/// Name key -> [`NoteRow`].
pub(crate) const NOTES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("notes.1");
/// Quarantine id -> [`QuarantineRow`].
pub(crate) const QUARANTINE: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("quarantine.1");
/// Hours since 1970 -> [`TallyRow`].
pub(crate) const LEDGER: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("ledger.1");
/// Key -> bytes of another room.
pub(crate) const DOCUMENTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("documents.1");

/// Keys of [`META`].
pub(crate) const META_ID: &str = "id";
pub(crate) const META_EPOCH: &str = "epoch";
pub(crate) const META_LEDGER_TOTAL: &str = "ledger-total";

/// Keys of [`TOTALS`].
pub(crate) const PAYLOAD_BYTES: &str = "payload-bytes";
pub(crate) const PAYLOAD_COUNT: &str = "payload-count";
pub(crate) const QUARANTINE_BYTES: &str = "quarantine-bytes";

const ROW_VERSION: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayloadRow {
    pub(crate) size: u64,
    pub(crate) sha1: [u8; 20],
    pub(crate) sha256: [u8; 32],
    /// 0 unproven, 1 proven.
    pub(crate) class: u8,
    /// Who proved it: 0 nobody, else the number of [`authority_code`].
    pub(crate) authority: u8,
    /// 0 SHA-1 computed without collision detection, 1 with it and clean, 2 a collision block was found.
    pub(crate) sha1_state: u8,
    pub(crate) published_at: u64,
    pub(crate) expires_at: Option<u64>,
    pub(crate) allocated: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AliasRow {
    pub(crate) blake3: Id,
    pub(crate) tag: String,
    pub(crate) last_modified: Option<String>,
    pub(crate) origin_etag: Option<String>,
    pub(crate) origin_last_modified: Option<String>,
    pub(crate) fresh: Option<(u64, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PinRow {
    pub(crate) by: String,
    pub(crate) at: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IntentRow {
    pub(crate) draft: u64,
    pub(crate) payload: PayloadRow,
    pub(crate) names: Vec<(Vec<u8>, AliasRow)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DoomedRow {
    pub(crate) allocated: u64,
    /// Quarantine id and reason, where the files are kept for a while.
    pub(crate) quarantine: Option<(u64, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClaimRow {
    pub(crate) blake3: Option<[u8; 32]>,
    pub(crate) sha1: Option<[u8; 20]>,
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) authority: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlaceRow {
    pub(crate) url: String,
    /// 0 allowed, 1 upstream.
    pub(crate) standing: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DraftRow {
    pub(crate) name: Vec<u8>,
    pub(crate) size: u64,
    /// Its digest and when are of no matter here; tag, Last-Modified, validators and freshness are.
    pub(crate) alias: AliasRow,
    pub(crate) expected: Option<ClaimRow>,
    pub(crate) places: Vec<PlaceRow>,
    pub(crate) whole: bool,
    pub(crate) started_at: u64,
    pub(crate) checked_sha1: bool,
    /// The payload whose file it will replace.
    pub(crate) repairs: Option<Id>,
    /// The administrator's file that lies here until it is published (raw bytes of its path).
    pub(crate) taken_from: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PiecesRow {
    pub(crate) spans: Vec<(u64, u64)>,
    pub(crate) demand_at: u64,
    pub(crate) allocated: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct NoteRow {
    /// At most one of each authority.
    pub(crate) claims: Vec<ClaimRow>,
    pub(crate) places: Vec<PlaceRow>,
    /// 0 means 1, the first.
    pub(crate) generation: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QuarantineRow {
    pub(crate) at: u64,
    pub(crate) allocated: u64,
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TallyRow {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    pub(crate) sent: u64,
    pub(crate) fetched: u64,
    pub(crate) refused: u64,
}

/// A row as it lies in the index.
pub(crate) fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>, Error> {
    postcard::to_extend(row, vec![ROW_VERSION])
        .map_err(|error| Error::Invalid { what: format!("a record cannot be encoded: {error}") })
}

/// A row read back; an unknown version or damaged bytes are an error of this row alone, never a panic.
pub(crate) fn decode<'a, T: Deserialize<'a>>(table: &str, bytes: &'a [u8]) -> Result<T, Error> {
    let broken = |why: String| Error::Row { what: format!("a row of table {table} cannot be read: {why}") };
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| broken(error.to_string())),
        Some((version, _)) => Err(broken(format!("its version is {version}, this program knows {ROW_VERSION}"))),
        None => Err(broken("it is empty".into())),
    }
}

const NAME_SHA1: u8 = 1;
const NAME_SHA256: u8 = 2;
const NAME_BLAKE3: u8 = 3;
const NAME_ORIGIN: u8 = 4;

/// A name as a key: one byte of kind, then the raw digest or the text of the origin key.
pub(crate) fn name_key(name: &Name) -> Vec<u8> {
    let (kind, rest): (u8, &[u8]) = match name {
        Name::Digest(Digest::Sha1(digest)) => (NAME_SHA1, digest.as_bytes()),
        Name::Digest(Digest::Sha256(digest)) => (NAME_SHA256, digest.as_bytes()),
        Name::Digest(Digest::Blake3(digest)) => (NAME_BLAKE3, digest.as_bytes()),
        Name::Origin(key) => (NAME_ORIGIN, key.as_str().as_bytes()),
    };
    let mut bytes = Vec::with_capacity(1 + rest.len());
    bytes.push(kind);
    bytes.extend_from_slice(rest);
    bytes
}

/// The name of a key.
pub(crate) fn name_of(key: &[u8]) -> Result<Name, Error> {
    let parsed = match key.split_first() {
        Some((&NAME_SHA1, rest)) => rest.try_into().ok().map(|raw| Name::Digest(Digest::Sha1(Sha1::new(raw)))),
        Some((&NAME_SHA256, rest)) => rest.try_into().ok().map(|raw| Name::Digest(Digest::Sha256(Sha256::new(raw)))),
        Some((&NAME_BLAKE3, rest)) => rest.try_into().ok().map(|raw| Name::Digest(Digest::Blake3(Blake3::new(raw)))),
        Some((&NAME_ORIGIN, rest)) => {
            std::str::from_utf8(rest).ok().and_then(|text| OriginKey::new(text).ok()).map(Name::Origin)
        }
        _ => None,
    };
    parsed.ok_or_else(|| Error::Row { what: "a name key cannot be read".into() })
}

/// The key of [`NAMES`] for one name of a payload.
pub(crate) fn names_key(blake3: &Id, name: &[u8]) -> Vec<u8> {
    [blake3.as_slice(), name].concat()
}

/// The first key beyond all names of `blake3`; `None` for the very last digest.
pub(crate) fn names_end(blake3: &Id) -> Option<Id> {
    let mut end = *blake3;
    for byte in end.iter_mut().rev() {
        if let Some(next) = byte.checked_add(1) {
            *byte = next;
            return Some(end);
        }
        *byte = 0;
    }
    None
}

pub(crate) fn use_key(class: u8, ms: u64, blake3: &Id) -> UseKey {
    let mut key = [0; 41];
    key[0] = class;
    key[1..9].copy_from_slice(&ms.to_be_bytes());
    key[9..].copy_from_slice(blake3);
    key
}

/// The digest in a [`UseKey`] and the milliseconds.
pub(crate) fn of_use_key(key: &UseKey) -> (u64, Id) {
    let (mut ms, mut id) = ([0; 8], [0; 32]);
    ms.copy_from_slice(&key[1..9]);
    id.copy_from_slice(&key[9..]);
    (u64::from_be_bytes(ms), id)
}

pub(crate) fn time_key(ms: u64, blake3: &Id) -> TimeKey {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&ms.to_be_bytes());
    key[8..].copy_from_slice(blake3);
    key
}

pub(crate) fn sha1_key(sha1: &[u8; 20], blake3: &Id) -> Sha1Key {
    let mut key = [0; 52];
    key[..20].copy_from_slice(sha1);
    key[20..].copy_from_slice(blake3);
    key
}

/// The BLAKE3 in a [`Sha1Key`].
pub(crate) fn of_sha1_key(key: &Sha1Key) -> Id {
    let mut id = [0; 32];
    id.copy_from_slice(&key[20..]);
    id
}

/// The milliseconds and the digest in a [`TimeKey`].
pub(crate) fn of_time_key(key: &TimeKey) -> (u64, Id) {
    let (mut ms, mut id) = ([0; 8], [0; 32]);
    ms.copy_from_slice(&key[..8]);
    id.copy_from_slice(&key[8..]);
    (u64::from_be_bytes(ms), id)
}

#[cfg(test)]
mod tests;
