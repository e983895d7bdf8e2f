//! Who may come in: sign-in by password, sessions of browsers, tokens of scripts, the first account.
//!
//! 1. Where there is no account, a one-time code lies in the data directory ([`code`]); whoever can read it makes the first one.
//! 2. A password is checked by [`password`] on threads that may block, few at a time, and [`attempts`] bounds how often it is tried.
//! 3. A sign-in makes a session with a new random id; what is kept of it is its hash. It ends when it was not used for a while, when it is
//!    old, at sign-out, and when the password changes.
//! 4. A token is the same for scripts, with what it may do written down with it; it never may more than its account.
//! 5. Another service may say who somebody is ([`foreign`]); what that one may do is its account's.
//! 6. Whoever comes in is an [`Identity`], which the table of [`crate::admin::rights`] is asked about.
//!
//! Secrets are compared by their BLAKE3, in constant time.

mod account;
pub mod attempts;
pub mod code;
pub mod cookie;
pub mod foreign;
pub mod identity;
pub mod password;
mod session;
mod token;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::admin::door::attempts::{Attempts, Held};
use crate::admin::door::code::Code;
use crate::admin::door::foreign::{Foreign, Ways};
use crate::admin::door::password::Passwords;
use crate::base::time::{Clock, Timestamp};
use crate::store::Store;
use crate::store::accounts::Accounts;

pub use crate::admin::door::account::Wanted;
pub use crate::admin::door::identity::{Identity, Via};
pub use crate::admin::door::session::SignedIn;
pub use crate::admin::door::token::{DAYS_MAX, MadeToken, TOKEN_BEGINS, WantedToken};

/// What the door is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory, for the code.
    pub data: PathBuf,
    /// Names by which the listener may be called, beside its addresses and localhost.
    pub hosts: Vec<String>,
    /// A session that was not used for so long ends.
    pub idle: Duration,
    /// A session ends after so long.
    pub longest: Duration,
    /// KiB of memory, passes and lanes of a password's hash.
    pub cost: (u32, u32, u32),
    /// A service that says who somebody is.
    pub foreign: Option<Arc<dyn Foreign>>,
    /// Which of its claims names the account.
    pub claim: String,
}

impl Config {
    /// As configured by nobody.
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            hosts: Vec::new(),
            idle: Duration::from_mins(30),
            longest: Duration::from_hours(12),
            cost: password::COST,
            foreign: None,
            claim: "preferred_username".to_owned(),
        }
    }
}

/// For how long a password that was given again counts.
pub const PROVED: Duration = Duration::from_mins(10);

/// The door; clones share it.
#[derive(Clone, Debug)]
pub struct Door {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    accounts: Accounts,
    clock: Arc<dyn Clock>,
    passwords: Passwords,
    attempts: Mutex<Attempts>,
    code: Mutex<Option<Code>>,
    ways: Mutex<Ways>,
}

/// Why somebody does not come in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Wrong name or password, told apart by nothing.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many attempts.
    #[error("too many attempts: try again in {} s", .0.as_secs().max(1))]
    TooMany(Duration),
    /// Too many passwords are being checked.
    #[error("many sign in at this moment: try again in a few seconds")]
    Busy,
    /// The code is wrong, used, or too old.
    #[error("the set-up code is wrong or no longer good")]
    Code,
    /// What was given cannot be.
    #[error("{0}")]
    Invalid(String),
    /// What is asked for is more than whoever asks may do.
    #[error("{0}")]
    Beyond(String),
    /// The sign-in service does not answer, or what it says is not believed.
    #[error("{0}")]
    Elsewhere(String),
    /// There is no such account or token.
    #[error("there is none of this name")]
    Absent,
    /// The system gives no random numbers, or a thread broke off.
    #[error("{0}")]
    System(String),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(crate::store::Error),
}

impl From<crate::store::Error> for Refused {
    fn from(error: crate::store::Error) -> Self {
        match error {
            crate::store::Error::Gone => Self::Absent,
            crate::store::Error::Invalid { what } => Self::Invalid(what),
            error => Self::Store(error),
        }
    }
}

impl Door {
    /// A door of this store.
    pub fn new(config: Config, store: &Store, clock: Arc<dyn Clock>) -> Self {
        let passwords = Passwords::new(config.cost);
        let inner = Inner {
            accounts: store.accounts(),
            clock,
            passwords,
            attempts: Mutex::default(),
            code: Mutex::default(),
            ways: Mutex::default(),
            config,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Names by which the listener may be called.
    pub fn hosts(&self) -> &[String] {
        &self.inner.config.hosts
    }

    /// Who is kept, and the audit log.
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// Whether nobody can sign in yet.
    pub async fn is_unset(&self) -> Result<bool, Refused> {
        Ok(self.inner.accounts.is_empty().await?)
    }

    /// The time by the node's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Counts an attempt before it is made, so that many at once are no way around.
    fn attempt(&self, from: IpAddr, account: Option<&str>) -> Result<Held, Refused> {
        let mut attempts = self.inner.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.begin(from, account, self.now()).map_err(Refused::TooMany)
    }

    /// Takes an attempt that went well out of the count.
    fn succeeded(&self, held: &Held) {
        self.inner.attempts.lock().unwrap_or_else(PoisonError::into_inner).forgive(held);
    }

    /// Forgets what was tried with an account, since somebody who may said so.
    fn pardon(&self, account: &str) {
        self.inner.attempts.lock().unwrap_or_else(PoisonError::into_inner).pardon(account);
    }
}

/// Random bytes of the system.
fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Refused::System("the system gives no random numbers".into()))?;
    Ok(bytes)
}
