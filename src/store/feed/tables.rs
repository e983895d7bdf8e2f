//! The tables of the feed. All numbers in keys are big-endian, so that rows stand in their order.

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

use crate::model::chain::hash::{KeyHash, Link, RecordHash};
use crate::model::chain::ids::Audience;
use crate::store::error::Error;

/// Audience, key hash, record hash, chained hash.
pub(crate) type LogRow = [u8; 112];
/// Audience, record hash, 1 where the content is held.
pub(crate) type LiveRow = [u8; 49];
/// Audience, key hash, record hash.
pub(crate) type StagedRow = [u8; 80];
/// Key hash, record hash.
pub(crate) type BodyKey = [u8; 64];
/// Update id, revision (big endian).
pub(crate) type NumberRow = [u8; 20];

/// Sequence -> entry of the log with the chained hash up to it.
pub(crate) const LOG: TableDefinition<'static, u64, &LogRow> = TableDefinition::new("feed-log.1");
/// Key hash -> what is live under it.
pub(crate) const LIVE: TableDefinition<'static, &[u8; 32], &LiveRow> = TableDefinition::new("feed-live.1");
/// Order in which it came -> an entry that is not visible yet.
pub(crate) const STAGED: TableDefinition<'static, u64, &StagedRow> = TableDefinition::new("feed-staged.1");
/// Key hash and record hash -> the record, packed; of what is live or staged.
pub(crate) const BODIES: TableDefinition<'static, &BodyKey, &[u8]> = TableDefinition::new("feed-bodies.1");
/// Key hash and record hash -> nothing: contents that may be of no use any more.
pub(crate) const LOOSE: TableDefinition<'static, &BodyKey, ()> = TableDefinition::new("feed-loose.1");
/// Turn, kind, key -> nothing: records that changed and of which the rooms beside have not been told.
pub(crate) const UNTOLD: TableDefinition<'static, &[u8], ()> = TableDefinition::new("feed-todo.1");
/// Sequence -> the checkpoint there, as it was signed.
pub(crate) const CHECKPOINTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("feed-checkpoints.1");
/// Number of a revision in the catalog -> the revision, as far as it was published.
pub(crate) const NUMBERS: TableDefinition<'static, u32, &NumberRow> = TableDefinition::new("feed-numbers.1");
/// Name -> small documents: see the names below.
pub(crate) const STATE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("feed-state.1");

/// What a child knows beside its records.
pub(crate) const KNOWN: &str = "known";
/// Where the authority's head stands, and up to where the catalog was read.
pub(crate) const HEAD: &str = "head";
/// Epoch, sequence and chained hash before the first entry of the log.
pub(crate) const FLOOR: &str = "floor";
/// What was verified is being made visible: see [`super::apply`].
pub(crate) const APPLYING: &str = "applying";
/// What is shown to nodes below.
pub(crate) const VOUCH: &str = "vouch";
/// The checkpoint of it.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// The newest timestamp of it.
pub(crate) const STAMP: &str = "stamp";

/// Makes every table.
pub(crate) fn create(tx: &WriteTransaction) -> Result<(), Error> {
    tx.open_table(LOG)?;
    tx.open_table(LIVE)?;
    tx.open_table(STAGED)?;
    tx.open_table(BODIES)?;
    tx.open_table(LOOSE)?;
    tx.open_table(UNTOLD)?;
    tx.open_table(CHECKPOINTS)?;
    tx.open_table(NUMBERS)?;
    tx.open_table(STATE)?;
    Ok(())
}

/// A table of an index that was made before there was such a table is not there.
pub(super) fn read<K: redb::Key + 'static, V: redb::Value + 'static>(
    tx: &ReadTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, Error> {
    match tx.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// The next `N` bytes; zeros behind the end, which no row of fixed length has.
fn part<const N: usize>(row: &[u8], at: usize) -> [u8; N] {
    row.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut row = [0; N];
    let bytes = parts.iter().flat_map(|part| part.iter().copied());
    row.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    row
}

pub(super) fn log_row(audience: Audience, key: KeyHash, record: RecordHash, link: Link) -> LogRow {
    join(&[audience.bytes(), key.bytes(), record.bytes(), link.bytes()])
}

pub(super) fn of_log(row: &LogRow) -> (Audience, KeyHash, RecordHash, Link) {
    (Audience::new(part(row, 0)), KeyHash::new(part(row, 16)), RecordHash::new(part(row, 48)), Link::new(part(row, 80)))
}

pub(super) fn live_row(audience: Audience, record: RecordHash, held: bool) -> LiveRow {
    join(&[audience.bytes(), record.bytes(), &[u8::from(held)]])
}

pub(super) fn of_live(row: &LiveRow) -> (Audience, RecordHash, bool) {
    (Audience::new(part(row, 0)), RecordHash::new(part(row, 16)), part::<1>(row, 48) == [1])
}

pub(super) fn staged_row(audience: Audience, key: KeyHash, record: RecordHash) -> StagedRow {
    join(&[audience.bytes(), key.bytes(), record.bytes()])
}

pub(super) fn of_staged(row: &StagedRow) -> (Audience, KeyHash, RecordHash) {
    (Audience::new(part(row, 0)), KeyHash::new(part(row, 16)), RecordHash::new(part(row, 48)))
}

pub(super) fn body_key(key: KeyHash, record: RecordHash) -> BodyKey {
    join(&[key.bytes(), record.bytes()])
}

pub(super) fn of_body_key(row: &BodyKey) -> (KeyHash, RecordHash) {
    (KeyHash::new(part(row, 0)), RecordHash::new(part(row, 32)))
}

pub(super) fn number_row(id: &[u8; 16], revision: u32) -> NumberRow {
    join(&[id, &revision.to_be_bytes()])
}

pub(super) fn of_number(row: &NumberRow) -> ([u8; 16], u32) {
    (part(row, 0), u32::from_be_bytes(part(row, 16)))
}

pub(super) fn todo_key(turn: u8, kind: u8, key: &[u8]) -> Vec<u8> {
    [&[turn, kind], key].concat()
}
