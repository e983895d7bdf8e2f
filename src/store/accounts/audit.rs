//! The audit log: what was changed, by whom. Each entry carries a BLAKE3 over itself and the hash of the one before it, so that an entry that
//! is changed, taken out or put in breaks the chain. Whoever can write the index and knows this can make a whole new chain: only a
//! hash that somebody noted elsewhere shows that.

use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::base::time::Timestamp;
use crate::store::accounts::Accounts;
use crate::store::accounts::tables::{AUDIT, AUDIT_STATE, EntryRow, FLOOR, HEAD, mark, of_mark, read};
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Entries that are kept: some years of a busy site. The oldest go, and the log says from where on it is whole.
pub const ENTRIES_MAX: u64 = 500_000;
/// Bytes of each text of an entry: of a longer one the beginning is kept.
pub const TEXT_MAX: usize = 16 << 10;
/// Entries of one answer.
pub const PAGE_MAX: usize = 500;
/// Entries that are checked under one snapshot.
const STEP: usize = 2_000;
/// Stands before what is hashed, so that no other hash of the program is one of the log.
const CONTEXT: &str = "waystation 2026 audit log entry";

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who: an account, a token with its account, or a user of the machine.
    pub who: String,
    /// Where from.
    pub from: String,
    /// Method and route.
    pub what: String,
    /// The very address.
    pub target: String,
    /// The status that was answered.
    pub outcome: u16,
    /// What was asked for, secrets left out.
    pub asked: String,
    /// What it was like before, where that can be said.
    pub before: String,
    /// What it was like afterwards.
    pub after: String,
}

/// An entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its number, from 1.
    pub number: u64,
    /// Its chained hash.
    pub hash: [u8; 32],
    /// What it says; `None` where it cannot be read.
    pub entry: Option<Entry>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries that were looked at.
    pub entries: u64,
    /// The first and last number.
    pub span: Option<(u64, u64)>,
    /// The hash of the last one.
    pub head: [u8; 32],
    /// The first thing that is wrong.
    pub broken: Option<String>,
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

fn chained(before: &[u8; 32], number: u64, row: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(before).update(&number.to_le_bytes()).update(row);
    *hasher.finalize().as_bytes()
}

fn split(row: &[u8]) -> Option<(&[u8; 32], &[u8])> {
    row.split_first_chunk::<32>()
}

fn entry_of(row: &[u8]) -> Option<Entry> {
    let row: EntryRow = decode("audit-log.1", row).ok()?;
    Some(Entry {
        at: Timestamp::from_ms(row.at),
        who: row.who,
        from: row.from,
        what: row.what,
        target: row.target,
        outcome: row.outcome,
        asked: row.asked,
        before: row.before,
        after: row.after,
    })
}

/// Puts an entry at the end, within the transaction of what it tells of.
fn append(tx: &WriteTransaction, row: &[u8]) -> Result<u64, Error> {
    let (mut log, mut state) = (tx.open_table(AUDIT)?, tx.open_table(AUDIT_STATE)?);
    let head = state.get(HEAD)?.map(|row| of_mark(row.value()));
    let (last, before) = head.unwrap_or_default();
    let number = last.saturating_add(1);
    let hash = chained(&before, number, row);
    log.insert(number, [hash.as_slice(), row].concat().as_slice())?;
    state.insert(HEAD, &mark(number, &hash))?;
    while log.len()? > ENTRIES_MAX {
        let Some((number, row)) = log.pop_first()? else { break };
        let hash = split(row.value()).map(|(hash, _)| *hash).unwrap_or_default();
        state.insert(FLOOR, &mark(number.value(), &hash))?;
    }
    Ok(number)
}

impl Accounts {
    /// Puts an entry at the end; durable when it returns. Says its number.
    pub async fn record(&self, entry: Entry) -> Result<u64, Error> {
        let row = encode(&EntryRow {
            at: entry.at.ms(),
            who: cut(entry.who),
            from: cut(entry.from),
            what: cut(entry.what),
            target: cut(entry.target),
            outcome: entry.outcome,
            asked: cut(entry.asked),
            before: cut(entry.before),
            after: cut(entry.after),
        })?;
        // It tells of what has happened already: it may take the last of the room.
        self.core.writer.change(Room::Frees, move |tx| append(tx, &row)).await
    }

    /// Entries below `before`, the newest first; at most [`PAGE_MAX`].
    pub async fn entries(&self, before: Option<u64>, limit: usize) -> Result<Vec<Numbered>, Error> {
        self.look(move |tx| {
            let Some(log) = read(tx, AUDIT)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for row in log.range(..before.unwrap_or(u64::MAX))?.rev().take(limit.clamp(1, PAGE_MAX)) {
                let (number, row) = row?;
                let (hash, row) = split(row.value()).unwrap_or((&[0; 32], &[]));
                found.push(Numbered { number: number.value(), hash: *hash, entry: entry_of(row) });
            }
            Ok(found)
        })
        .await
    }

    /// Looks at the whole chain, in steps; what is put in meanwhile is looked at too.
    pub async fn check(&self) -> Result<Checked, Error> {
        let mut checked = Checked::default();
        let (floor, mut hash) = self.look(|tx| state(tx, FLOOR)).await?.unwrap_or_default();
        let mut at = floor;
        loop {
            let (from, before) = (at, hash);
            let (rows, head) = self.look(move |tx| step(tx, from, before)).await?;
            for row in &rows {
                match row {
                    Ok((number, chained)) => {
                        (at, hash) = (*number, *chained);
                        checked.entries += 1;
                        checked.span = Some((checked.span.map_or(*number, |span| span.0), *number));
                    }
                    Err(why) => {
                        checked.head = hash;
                        checked.broken = Some(why.clone());
                        return Ok(checked);
                    }
                }
            }
            if rows.len() < STEP {
                checked.head = hash;
                if head.unwrap_or_default() != (at, hash) && (checked.entries > 0 || head.is_some()) {
                    checked.broken = Some(format!("entries behind number {at} are gone"));
                }
                return Ok(checked);
            }
        }
    }
}

fn state(tx: &redb::ReadTransaction, name: &str) -> Result<Option<Place>, Error> {
    let Some(table) = read(tx, AUDIT_STATE)? else { return Ok(None) };
    Ok(table.get(name)?.map(|row| of_mark(row.value())))
}

/// A number and the chained hash there.
type Place = (u64, [u8; 32]);

/// A row that fits, by its place, or what is wrong with it.
type Looked = Result<Place, String>;

/// The rows behind `from`, and the head of the same snapshot.
fn step(tx: &redb::ReadTransaction, from: u64, mut before: [u8; 32]) -> Result<(Vec<Looked>, Option<Place>), Error> {
    let (mut rows, mut last) = (Vec::new(), from);
    if let Some(log) = read(tx, AUDIT)? {
        for row in log.range(from.saturating_add(1)..)?.take(STEP) {
            let (number, row) = row?;
            let number = number.value();
            let fits = split(row.value()).filter(|(hash, row)| **hash == chained(&before, number, row));
            let looked = match fits {
                _ if number != last + 1 => Err(format!("entries {} to {} are missing", last + 1, number - 1)),
                Some((hash, row)) if entry_of(row).is_some() => Ok((number, *hash)),
                _ => Err(format!("entry {number} is not what was written, or one before it is not")),
            };
            let is_wrong = looked.is_err();
            if let Ok((number, hash)) = &looked {
                (last, before) = (*number, *hash);
            }
            rows.push(looked);
            if is_wrong {
                break;
            }
        }
    }
    Ok((rows, state(tx, HEAD)?))
}

#[cfg(test)]
mod tests;
