//! Sign-in by password, and the sessions that come of it.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::admin::door::{Door, Identity, PROVED, Refused, Via, random};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::model::{access, shown};
use crate::store::accounts::{Account, Handle, Session};

/// How far apart two uses are that are written down: each is a commit.
const USED_EVERY: std::time::Duration = std::time::Duration::from_mins(1);
/// Characters of an id: 32 bytes in base 64.
const ID_CHARS: usize = 43;

/// Somebody just signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// What the browser keeps: told once.
    pub id: Secret,
    /// Who it is.
    pub identity: Identity,
    /// When the session ends at the latest.
    pub until: Timestamp,
}

/// What is kept of an id.
fn handle(id: &str) -> Option<Handle> {
    let fits = id.len() == ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    fits.then(|| *blake3::hash(id.as_bytes()).as_bytes())
}

/// What forms of a session carry: who does not know the id cannot make it.
fn csrf(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(&blake3::derive_key("waystation 2026 console form token", id.as_bytes())[..24])
}

impl Door {
    /// Signs somebody in: always a new session with a new id, whatever the browser had before.
    pub async fn sign_in(&self, name: &str, password: &Secret, from: IpAddr) -> Result<SignedIn, Refused> {
        // A name that cannot be one is tried like any other.
        let name = access::name(name).unwrap_or_else(|_| name.chars().take(access::NAME_MAX).collect());
        let held = self.attempt(from, Some(&name))?;
        let account = self.inner.accounts.one(&name).await?;
        let fits = self.inner.passwords.is(password, account.as_ref().map(|account| &account.password)).await?;
        let Some(account) = account.filter(|_| fits) else {
            tracing::warn!(%from, account = %shown::escape(name.as_bytes(), access::NAME_MAX), "a sign-in failed");
            return Err(Refused::Wrong);
        };
        self.succeeded(&held);
        let made = self.begin(&account, from).await?;
        tracing::info!(%from, account = account.name, "somebody signed in");
        Ok(made)
    }

    /// A new session of an account whose password was just given.
    pub(super) async fn begin(&self, account: &Account, from: IpAddr) -> Result<SignedIn, Refused> {
        let id = URL_SAFE_NO_PAD.encode(random::<32>()?);
        let handle = handle(&id).ok_or_else(|| Refused::System("an id of a session cannot be made".into()))?;
        let now = self.now();
        let config = &self.inner.config;
        let since = |time: std::time::Duration| Timestamp::from_ms(now.ms().saturating_sub(time.as_millis() as u64));
        let (hash, account) = (account.password.hash, account.name.clone());
        let session = Session { account, made_at: now, used_at: now, proved_at: now, from: from.to_string() };
        self.inner.accounts.begin(handle, session, hash, since(config.longest), since(config.idle)).await?;
        let identity = self.session(&id).await?.ok_or(Refused::Absent)?;
        Ok(SignedIn { id: Secret::new(id), identity, until: now.after(config.longest) })
    }

    /// Who has this session, if it goes on.
    pub async fn session(&self, id: &str) -> Result<Option<Identity>, Refused> {
        let Some(handle) = handle(id) else { return Ok(None) };
        let Some((mut session, account)) = self.inner.accounts.session(handle).await? else { return Ok(None) };
        let (now, config) = (self.now(), &self.inner.config);
        if now.since(session.made_at) >= config.longest || now.since(session.used_at) >= config.idle {
            self.inner.accounts.end(handle).await?;
            return Ok(None);
        }
        if now.since(session.used_at) >= USED_EVERY {
            session.used_at = now;
            // A store that cannot be written answers all the same; the session then ends when it would have without this use.
            if let Err(error) = self.inner.accounts.touch(handle, session.clone()).await {
                tracing::debug!(%error, "the use of a session is not noted");
            }
        }
        let name = account.name.clone();
        let mut identity = Identity::of(Via::Session, name.clone(), name, account.role, account.reach);
        identity.is_proved = now.since(session.proved_at) < PROVED;
        identity.session = Some(handle);
        identity.csrf = Some(csrf(id));
        Ok(Some(identity))
    }

    /// Takes the password once more, for what needs it: the session goes on under a new id.
    pub async fn prove(&self, identity: &Identity, password: &Secret, from: IpAddr) -> Result<SignedIn, Refused> {
        let (Some(account), Some(old)) = (&identity.account, identity.session) else {
            return Err(Refused::Beyond("only who signed in by password can give it once more".into()));
        };
        let made = self.sign_in(account, password, from).await?;
        self.inner.accounts.end(old).await?;
        Ok(made)
    }

    /// Ends the session.
    pub async fn sign_out(&self, identity: &Identity) -> Result<(), Refused> {
        if let Some(handle) = identity.session {
            self.inner.accounts.end(handle).await?;
        }
        Ok(())
    }
}
