//! Accounts, sessions and tokens are added, changed and removed.

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use crate::base::time::Timestamp;
use crate::model::access::Role;
use crate::store::accounts::tables::{ACCOUNTS, AccountRow, SESSIONS, SessionRow, TOKENS, TokenRow};
use crate::store::accounts::value::{account_of, account_row, session_row, token_row};
use crate::store::accounts::{Account, Accounts, Handle, Session, Token};
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Accounts: people of one organisation and its customers.
pub const ACCOUNTS_MAX: u64 = 1_000;
/// Sessions at once: beyond it the one that was used longest ago ends, so that nobody who can sign in fills the index.
pub const SESSIONS_MAX: u64 = 2_000;
/// Sessions of one account: nobody has more browsers, and a stolen password shall not push out everybody else.
const SESSIONS_OF_ONE: usize = 20;
/// Tokens.
pub const TOKENS_MAX: u64 = 2_000;

fn invalid(what: impl Into<String>) -> Error {
    Error::Invalid { what: what.into() }
}

/// Takes sessions out that `is_over` says are.
fn end(
    sessions: &mut Table<'_, &'static [u8; 32], &'static [u8]>,
    mut is_over: impl FnMut(&SessionRow) -> bool,
) -> Result<(), Error> {
    // A row that cannot be read is nobody's session.
    sessions.retain(|_, row| decode::<SessionRow>("access-sessions.1", row).is_ok_and(|row| !is_over(&row)))?;
    Ok(())
}

/// That somebody is left who can mend everything.
fn check_administrators(tx: &WriteTransaction) -> Result<(), Error> {
    let table = tx.open_table(ACCOUNTS)?;
    for row in table.iter()? {
        let (name, row) = row?;
        let account = account_of(name.value(), decode("access-accounts.1", row.value())?)?;
        if account.role == Role::Administrator && account.reach.is_everywhere() {
            return Ok(());
        }
    }
    Err(invalid("an administrator who reaches everything must be left: make another one first"))
}

/// Undoes what a refused step wrote in the table of accounts: a transaction has steps of others in it, and is not given up.
fn put_back(tx: &WriteTransaction, name: &str, before: Option<AccountRow>) -> Result<(), Error> {
    let mut table = tx.open_table(ACCOUNTS)?;
    match before {
        Some(row) => drop(table.insert(name, encode(&row)?.as_slice())?),
        None => drop(table.remove(name)?),
    }
    Ok(())
}

impl Accounts {
    /// A new account. `Invalid` where there is one of this name, or too many; with `first` also where there is any.
    pub async fn add(&self, account: Account, first: bool) -> Result<(), Error> {
        let row = encode(&account_row(&account))?;
        let add = move |tx: &WriteTransaction| {
            {
                let mut table = tx.open_table(ACCOUNTS)?;
                if first && !table.is_empty()? {
                    return Err(invalid("there is an account already"));
                }
                if table.get(account.name.as_str())?.is_some() {
                    return Err(invalid(format!("there is an account {:?} already", account.name)));
                }
                if table.len()? >= ACCOUNTS_MAX {
                    return Err(invalid(format!("{ACCOUNTS_MAX} accounts are the most that are kept")));
                }
                table.insert(account.name.as_str(), row.as_slice())?;
            }
            let checked = check_administrators(tx);
            if checked.is_err() {
                put_back(tx, &account.name, None)?;
            }
            checked
        };
        self.core.writer.change(Room::Adds, add).await
    }

    /// Puts an account in the place of the one of its name; its sessions end where the password is another one. `Gone` where it is not there.
    pub async fn put(&self, account: Account) -> Result<(), Error> {
        let put = move |tx: &WriteTransaction| {
            let before: AccountRow = {
                let mut table = tx.open_table(ACCOUNTS)?;
                let before = table.get(account.name.as_str())?.map(|row| decode("access-accounts.1", row.value()));
                let before = before.transpose()?.ok_or(Error::Gone)?;
                table.insert(account.name.as_str(), encode(&account_row(&account))?.as_slice())?;
                before
            };
            let (salt, hash) = (before.salt, before.hash);
            if let Err(error) = check_administrators(tx) {
                put_back(tx, &account.name, Some(before))?;
                return Err(error);
            }
            if (salt, hash) != (account.password.salt, account.password.hash) {
                end(&mut tx.open_table(SESSIONS)?, |row| row.account == account.name)?;
            }
            Ok(())
        };
        self.core.writer.change(Room::Frees, put).await
    }

    /// Takes an account away with its sessions and tokens. `Gone` where it is not there.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        let remove = move |tx: &WriteTransaction| {
            let before: AccountRow = {
                let mut table = tx.open_table(ACCOUNTS)?;
                let row = table.remove(name.as_str())?.map(|row| decode("access-accounts.1", row.value()));
                row.transpose()?.ok_or(Error::Gone)?
            };
            if let Err(error) = check_administrators(tx) {
                put_back(tx, &name, Some(before))?;
                return Err(error);
            }
            end(&mut tx.open_table(SESSIONS)?, |row| row.account == name)?;
            tx.open_table(TOKENS)?
                .retain(|_, row| decode::<TokenRow>("access-tokens.1", row).is_ok_and(|row| row.account != name))?;
            Ok(())
        };
        self.core.writer.change(Room::Frees, remove).await
    }

    /// Begins a session, and notes with the account that it signed in; `Gone` where its password is not `hash` any more. Those that began before `ended` or were not used since `idle` go.
    pub async fn begin(
        &self,
        handle: Handle,
        session: Session,
        hash: [u8; 32],
        ended: Timestamp,
        idle: Timestamp,
    ) -> Result<(), Error> {
        let begin = move |tx: &WriteTransaction| {
            let mut accounts = tx.open_table(ACCOUNTS)?;
            let row = accounts.get(session.account.as_str())?.map(|row| decode("access-accounts.1", row.value()));
            let row: Option<AccountRow> = row.transpose()?;
            let mut row = row.filter(|row| row.hash == hash).ok_or(Error::Gone)?;
            row.seen_at = Some(session.made_at.ms());
            accounts.insert(session.account.as_str(), encode(&row)?.as_slice())?;
            let mut table = tx.open_table(SESSIONS)?;
            end(&mut table, |row| row.made_at < ended.ms() || row.used_at < idle.ms())?;
            let mut own = Vec::new();
            for row in table.iter()? {
                let (handle, row) = row?;
                let row: SessionRow = decode("access-sessions.1", row.value())?;
                own.push((row.account == session.account, row.used_at, *handle.value()));
            }
            own.sort_unstable_by_key(|(_, used, _)| *used);
            let of_one = own.iter().filter(|(is_own, ..)| *is_own).count();
            if of_one >= SESSIONS_OF_ONE || own.len() as u64 >= SESSIONS_MAX {
                let goes = own.iter().find(|(is_own, ..)| *is_own || of_one < SESSIONS_OF_ONE);
                if let Some((_, _, goes)) = goes {
                    table.remove(goes)?;
                }
            }
            table.insert(&handle, encode(&session_row(&session))?.as_slice())?;
            Ok(())
        };
        self.core.writer.change(Room::Adds, begin).await
    }

    /// Puts what is known of a session in its place; nothing where it has ended meanwhile.
    pub async fn touch(&self, handle: Handle, session: Session) -> Result<(), Error> {
        let row = encode(&session_row(&session))?;
        let touch = move |tx: &WriteTransaction| {
            let mut table = tx.open_table(SESSIONS)?;
            if table.get(&handle)?.is_some() {
                table.insert(&handle, row.as_slice())?;
            }
            Ok(())
        };
        self.core.writer.change(Room::Frees, touch).await
    }

    /// Ends a session.
    pub async fn end(&self, handle: Handle) -> Result<(), Error> {
        let end = move |tx: &WriteTransaction| {
            tx.open_table(SESSIONS)?.remove(&handle)?;
            Ok(())
        };
        self.core.writer.change(Room::Frees, end).await
    }

    /// Keeps a token; one of the same handle is replaced by it. `Gone` where its account is not there.
    pub async fn put_token(&self, handle: Handle, token: Token) -> Result<(), Error> {
        let row = encode(&token_row(&token))?;
        let put = move |tx: &WriteTransaction| {
            if tx.open_table(ACCOUNTS)?.get(token.account.as_str())?.is_none() {
                return Err(Error::Gone);
            }
            let mut table = tx.open_table(TOKENS)?;
            if table.len()? >= TOKENS_MAX && table.get(&handle)?.is_none() {
                return Err(invalid(format!("{TOKENS_MAX} tokens are the most that are kept: revoke some")));
            }
            table.insert(&handle, row.as_slice())?;
            Ok(())
        };
        self.core.writer.change(Room::Adds, put).await
    }

    /// Notes when a token was used; nothing where it was revoked meanwhile.
    pub async fn use_token(&self, handle: Handle, at: Timestamp) -> Result<(), Error> {
        let note = move |tx: &WriteTransaction| {
            let mut table = tx.open_table(TOKENS)?;
            let row = table.get(&handle)?.map(|row| decode::<TokenRow>("access-tokens.1", row.value())).transpose()?;
            if let Some(mut row) = row {
                row.used_at = Some(at.ms());
                table.insert(&handle, encode(&row)?.as_slice())?;
            }
            Ok(())
        };
        self.core.writer.change(Room::Frees, note).await
    }

    /// Takes the token of this id away. `Gone` where there is none.
    pub async fn revoke(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        let revoke = move |tx: &WriteTransaction| {
            let mut table = tx.open_table(TOKENS)?;
            let before = table.len()?;
            table.retain(|_, row| decode::<TokenRow>("access-tokens.1", row).is_ok_and(|row| row.id != id))?;
            if table.len()? == before { Err(Error::Gone) } else { Ok(()) }
        };
        self.core.writer.change(Room::Frees, revoke).await
    }
}
