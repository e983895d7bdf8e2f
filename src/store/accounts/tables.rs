//! The tables of accounts, sessions, tokens and of the audit log.

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};

use crate::store::error::Error;

/// Name, in lower case -> [`AccountRow`].
pub(crate) const ACCOUNTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("access-accounts.1");
/// BLAKE3 of the session's id -> [`SessionRow`].
pub(crate) const SESSIONS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("access-sessions.1");
/// BLAKE3 of the token -> [`TokenRow`].
pub(crate) const TOKENS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("access-tokens.1");
/// Number -> chained hash and [`EntryRow`].
pub(crate) const AUDIT: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("audit-log.1");
/// Name -> number and chained hash: see the names below.
pub(crate) const AUDIT_STATE: TableDefinition<'static, &str, &[u8; 40]> = TableDefinition::new("audit-state.1");

/// The last entry of the log.
pub(crate) const HEAD: &str = "head";
/// The last entry that was given up at the log's beginning.
pub(crate) const FLOOR: &str = "floor";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    /// 1 auditor, 2 operator, 3 administrator.
    pub(crate) role: u8,
    /// Groups; none where it reaches everywhere.
    pub(crate) reach: Option<Vec<[u8; 16]>>,
    pub(crate) salt: [u8; 16],
    pub(crate) hash: [u8; 32],
    /// KiB of memory, passes, lanes.
    pub(crate) cost: (u32, u32, u32),
    pub(crate) made_by: String,
    pub(crate) made_at: u64,
    pub(crate) password_at: u64,
    pub(crate) seen_at: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) account: String,
    pub(crate) made_at: u64,
    pub(crate) used_at: u64,
    /// When the password was given last.
    pub(crate) proved_at: u64,
    pub(crate) from: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) role: u8,
    pub(crate) reach: Option<Vec<[u8; 16]>>,
    pub(crate) grants: Vec<String>,
    pub(crate) made_at: u64,
    pub(crate) until: u64,
    pub(crate) used_at: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    pub(crate) at: u64,
    pub(crate) who: String,
    pub(crate) from: String,
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) outcome: u16,
    pub(crate) asked: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// Makes every table.
pub(crate) fn create(tx: &WriteTransaction) -> Result<(), Error> {
    tx.open_table(ACCOUNTS)?;
    tx.open_table(SESSIONS)?;
    tx.open_table(TOKENS)?;
    tx.open_table(AUDIT)?;
    tx.open_table(AUDIT_STATE)?;
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

/// A number and a hash, as [`AUDIT_STATE`] has them.
pub(super) fn mark(number: u64, hash: &[u8; 32]) -> [u8; 40] {
    let mut row = [0; 40];
    row[..8].copy_from_slice(&number.to_le_bytes());
    row[8..].copy_from_slice(hash);
    row
}

/// The same read back.
pub(super) fn of_mark(row: &[u8; 40]) -> (u64, [u8; 32]) {
    let (mut number, mut hash) = ([0; 8], [0; 32]);
    number.copy_from_slice(&row[..8]);
    hash.copy_from_slice(&row[8..]);
    (u64::from_le_bytes(number), hash)
}
