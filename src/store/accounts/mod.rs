//! Who may come in on the control plane: accounts, their sessions and tokens; and the audit log of what was changed.
//!
//! What it promises:
//! - No secret is in here: of passwords there is an Argon2id hash, of sessions and tokens a BLAKE3 of 256 random bits.
//! - There is always an administrator who reaches everything, once there is an account at all.
//! - An account that goes, or gets another password, takes its sessions with it, and one that goes its tokens, in one transaction.
//! - An entry of the log is never changed; each is chained to the one before it (`audit`).
//!
//! Tables are in `tables`, what goes in and comes out in `value`, what is written in `keep`.

pub mod audit;
mod keep;
pub(crate) mod tables;
mod value;

use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::store::accounts::tables::{ACCOUNTS, SESSIONS, TOKENS, read};
use crate::store::accounts::value::{account_of, session_of, token_of};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

pub use crate::store::accounts::keep::{ACCOUNTS_MAX, SESSIONS_MAX, TOKENS_MAX};
pub use crate::store::accounts::value::{Account, Hashed, Session, Token};

/// BLAKE3 of a session's id or of a token.
pub type Handle = [u8; 32];

/// The accounts of a store; clones share them.
#[derive(Clone, Debug)]
pub struct Accounts {
    core: Arc<Core>,
}

impl Accounts {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn look<T: Send + 'static>(
        &self,
        job: impl Fn(&ReadTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || core.index.read(&job)).await?
    }

    /// Whether there is one at all.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        self.look(|tx| read(tx, ACCOUNTS)?.map_or(Ok(true), |table| Ok(table.is_empty()?))).await
    }

    /// All accounts, by name.
    pub async fn all(&self) -> Result<Vec<Account>, Error> {
        self.look(|tx| {
            let Some(table) = read(tx, ACCOUNTS)? else { return Ok(Vec::new()) };
            let rows = table.iter()?.map(|row| {
                let (name, row) = row?;
                account_of(name.value(), decode("access-accounts.1", row.value())?)
            });
            rows.collect()
        })
        .await
    }

    /// One of them.
    pub async fn one(&self, name: &str) -> Result<Option<Account>, Error> {
        let name = name.to_owned();
        self.look(move |tx| account(tx, &name)).await
    }

    /// The session of this handle with its account, ended or not.
    pub async fn session(&self, handle: Handle) -> Result<Option<(Session, Account)>, Error> {
        self.look(move |tx| {
            let Some(table) = read(tx, SESSIONS)? else { return Ok(None) };
            let Some(row) = table.get(&handle)? else { return Ok(None) };
            let session = session_of(decode("access-sessions.1", row.value())?);
            let account = account(tx, &session.account)?;
            Ok(account.map(|account| (session, account)))
        })
        .await
    }

    /// The token of this handle with its account, ended or not.
    pub async fn token(&self, handle: Handle) -> Result<Option<(Token, Account)>, Error> {
        self.look(move |tx| {
            let Some(table) = read(tx, TOKENS)? else { return Ok(None) };
            let Some(row) = table.get(&handle)? else { return Ok(None) };
            let token = token_of(decode("access-tokens.1", row.value())?)?;
            let account = account(tx, &token.account)?;
            Ok(account.map(|account| (token, account)))
        })
        .await
    }

    /// All tokens, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        self.look(|tx| {
            let Some(table) = read(tx, TOKENS)? else { return Ok(Vec::new()) };
            let rows = table.iter()?.map(|row| token_of(decode("access-tokens.1", row?.1.value())?));
            let mut tokens = rows.collect::<Result<Vec<_>, Error>>()?;
            tokens.sort_by(|a, b| (a.made_at, &a.id).cmp(&(b.made_at, &b.id)));
            Ok(tokens)
        })
        .await
    }
}

fn account(tx: &ReadTransaction, name: &str) -> Result<Option<Account>, Error> {
    let Some(table) = read(tx, ACCOUNTS)? else { return Ok(None) };
    let Some(row) = table.get(name)? else { return Ok(None) };
    account_of(name, decode("access-accounts.1", row.value())?).map(Some)
}

#[cfg(test)]
mod tests;
