//! What goes into these tables and comes out of them, as values.

use std::collections::BTreeSet;
use std::fmt;

use crate::base::time::Timestamp;
use crate::model::access::{Grants, Reach, Role};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::accounts::tables::{AccountRow, SessionRow, TokenRow};
use crate::store::error::Error;

/// A password as it is kept: Argon2id.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    /// Made anew with each password.
    pub salt: [u8; 16],
    /// What came of it.
    pub hash: [u8; 32],
    /// KiB of memory, passes, lanes.
    pub cost: (u32, u32, u32),
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashed").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As [`crate::model::access::name`] has it.
    pub name: String,
    /// How much it may do.
    pub role: Role,
    /// For which endpoints.
    pub reach: Reach,
    /// Its password.
    pub password: Hashed,
    /// Who made it, and when.
    pub made: (String, Timestamp),
    /// Since when the password is this one.
    pub password_at: Timestamp,
    /// When it signed in last.
    pub seen_at: Option<Timestamp>,
}

/// A sign-in that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub account: String,
    /// When it began.
    pub made_at: Timestamp,
    /// When it was used last, to the minute.
    pub used_at: Timestamp,
    /// When the password was given last.
    pub proved_at: Timestamp,
    /// The address that it began at.
    pub from: String,
}

/// A token for scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// By what it is called in lists; no secret.
    pub id: String,
    /// What somebody wrote to know it by.
    pub name: String,
    /// Whose it is: gone with the account, and never more than the account.
    pub account: String,
    /// How much it may do.
    pub role: Role,
    /// For which endpoints.
    pub reach: Reach,
    /// In which areas.
    pub grants: Grants,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// When it was used last, to the hour.
    pub used_at: Option<Timestamp>,
}

fn code(role: Role) -> u8 {
    match role {
        Role::Auditor => 1,
        Role::Operator => 2,
        Role::Administrator => 3,
    }
}

fn role_of(code: u8) -> Result<Role, Error> {
    let known = Role::ALL.into_iter().find(|role| self::code(*role) == code);
    known.ok_or_else(|| Error::Row { what: format!("{code} is no role") })
}

fn groups(reach: &Reach) -> Option<Vec<[u8; 16]>> {
    match reach {
        Reach::Everywhere => None,
        Reach::Groups(groups) => Some(groups.iter().map(|group| *group.0.bytes()).collect()),
    }
}

fn reach_of(groups: Option<Vec<[u8; 16]>>) -> Reach {
    groups.map_or(Reach::Everywhere, |groups| {
        Reach::Groups(groups.into_iter().map(|id| Group(UpdateId::new(id))).collect::<BTreeSet<_>>())
    })
}

pub(super) fn account_row(account: &Account) -> AccountRow {
    AccountRow {
        role: code(account.role),
        reach: groups(&account.reach),
        salt: account.password.salt,
        hash: account.password.hash,
        cost: account.password.cost,
        made_by: account.made.0.clone(),
        made_at: account.made.1.ms(),
        password_at: account.password_at.ms(),
        seen_at: account.seen_at.map(Timestamp::ms),
    }
}

pub(super) fn account_of(name: &str, row: AccountRow) -> Result<Account, Error> {
    Ok(Account {
        name: name.to_owned(),
        role: role_of(row.role)?,
        reach: reach_of(row.reach),
        password: Hashed { salt: row.salt, hash: row.hash, cost: row.cost },
        made: (row.made_by, Timestamp::from_ms(row.made_at)),
        password_at: Timestamp::from_ms(row.password_at),
        seen_at: row.seen_at.map(Timestamp::from_ms),
    })
}

pub(super) fn session_row(session: &Session) -> SessionRow {
    SessionRow {
        account: session.account.clone(),
        made_at: session.made_at.ms(),
        used_at: session.used_at.ms(),
        proved_at: session.proved_at.ms(),
        from: session.from.clone(),
    }
}

pub(super) fn session_of(row: SessionRow) -> Session {
    Session {
        account: row.account,
        made_at: Timestamp::from_ms(row.made_at),
        used_at: Timestamp::from_ms(row.used_at),
        proved_at: Timestamp::from_ms(row.proved_at),
        from: row.from,
    }
}

pub(super) fn token_row(token: &Token) -> TokenRow {
    TokenRow {
        id: token.id.clone(),
        name: token.name.clone(),
        account: token.account.clone(),
        role: code(token.role),
        reach: groups(&token.reach),
        grants: token.grants.words(),
        made_at: token.made_at.ms(),
        until: token.until.ms(),
        used_at: token.used_at.map(Timestamp::ms),
    }
}

pub(super) fn token_of(row: TokenRow) -> Result<Token, Error> {
    let grants = Grants::read(row.grants.iter().map(String::as_str));
    Ok(Token {
        id: row.id,
        name: row.name,
        account: row.account,
        role: role_of(row.role)?,
        reach: reach_of(row.reach),
        grants: grants.map_err(|error| Error::Row { what: error.to_string() })?,
        made_at: Timestamp::from_ms(row.made_at),
        until: Timestamp::from_ms(row.until),
        used_at: row.used_at.map(Timestamp::from_ms),
    })
}
