//! Accounts: the first one, others, their passwords.

use std::net::IpAddr;

use crate::admin::door::{Door, Identity, Refused, SignedIn, password};
use crate::base::secret::Secret;
use crate::model::access::{self, Reach, Role};
use crate::model::group::Groups;
use crate::store::accounts::Account;

/// What is wanted of an account; what is not named stays.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// How much it may do.
    pub role: Option<Role>,
    /// For which endpoints.
    pub reach: Option<Reach>,
    /// Its password.
    pub password: Option<Secret>,
}

impl Door {
    /// Makes the first account, for who has the code, and signs it in.
    pub async fn set_up(&self, code: &str, name: &str, word: &Secret, from: IpAddr) -> Result<SignedIn, Refused> {
        let held = self.attempt(from, None)?;
        if !self.is_unset().await? || !self.is_code(code) {
            tracing::warn!(%from, "a set-up code was refused");
            return Err(Refused::Code);
        }
        self.succeeded(&held);
        let account = self.account(name, Role::Administrator, Reach::Everywhere, word, "the set-up code").await?;
        self.inner.accounts.add(account.clone(), true).await?;
        self.void_code().await;
        tracing::warn!(%from, account = account.name, "the first account was made");
        self.begin(&account, from).await
    }

    async fn account(&self, name: &str, role: Role, reach: Reach, word: &Secret, by: &str) -> Result<Account, Refused> {
        let name = access::name(name).map_err(|error| Refused::Invalid(error.to_string()))?;
        password::check(word, &name)?;
        let now = self.now();
        let password = self.inner.passwords.make(word).await?;
        Ok(Account { name, role, reach, password, made: (by.to_owned(), now), password_at: now, seen_at: None })
    }

    /// Makes another account; the first one too, where it is asked for over the socket.
    pub async fn add(&self, name: &str, wanted: Wanted, by: &Identity) -> Result<Account, Refused> {
        let word = wanted.password.ok_or_else(|| Refused::Invalid("an account needs a password".into()))?;
        let role = wanted.role.unwrap_or(Role::Auditor);
        let account = self.account(name, role, wanted.reach.unwrap_or_default(), &word, &by.name).await?;
        self.inner.accounts.add(account.clone(), false).await?;
        self.void_code().await;
        Ok(account)
    }

    /// Changes an account. A new password ends its sessions, and what was tried is forgotten. Tokens that reach further than the account
    /// then does are revoked.
    pub async fn change(&self, name: &str, wanted: Wanted, tree: &Groups) -> Result<Account, Refused> {
        let mut account = self.inner.accounts.one(name).await?.ok_or(Refused::Absent)?;
        account.role = wanted.role.unwrap_or(account.role);
        account.reach = wanted.reach.unwrap_or(account.reach);
        if let Some(word) = wanted.password {
            password::check(&word, &account.name)?;
            account.password = self.inner.passwords.make(&word).await?;
            account.password_at = self.now();
        }
        self.inner.accounts.put(account.clone()).await?;
        self.pardon(&account.name);
        for token in self.inner.accounts.tokens().await? {
            if token.account == account.name
                && !token.reach.is_everywhere()
                && !account.reach.covers(&token.reach, tree)
            {
                self.inner.accounts.revoke(&token.id).await?;
            }
        }
        Ok(account)
    }

    /// Another password for who knows the old one; all sessions end, and a new one begins.
    pub async fn change_own(
        &self,
        identity: &Identity,
        old: &Secret,
        new: &Secret,
        from: IpAddr,
    ) -> Result<SignedIn, Refused> {
        let Some(name) = identity.account.as_deref().filter(|_| identity.session.is_some()) else {
            return Err(Refused::Beyond("only who signed in by password can change it".into()));
        };
        let held = self.attempt(from, Some(name))?;
        let mut account = self.inner.accounts.one(name).await?.ok_or(Refused::Absent)?;
        if !self.inner.passwords.is(old, Some(&account.password)).await? {
            return Err(Refused::Wrong);
        }
        self.succeeded(&held);
        password::check(new, name)?;
        account.password = self.inner.passwords.make(new).await?;
        account.password_at = self.now();
        self.inner.accounts.put(account.clone()).await?;
        self.begin(&account, from).await
    }
}
