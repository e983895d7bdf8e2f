//! Sign-in by another service (OpenID Connect): whom it vouches for comes in as the account of that name.
//!
//! 1. [`Door::begin_elsewhere`] makes what the way there and back is known by: a state and a nonce, a verifier that only this node can show,
//!    and a word that the browser keeps, so that nobody can have another browser come back on a way of his own.
//! 2. The browser comes back with the state and a code. What was kept is taken out, once ([`Door::end_elsewhere`]).
//! 3. The service trades the code for claims. Their nonce must be that of the way; the claim that was configured names the account.
//! 4. An account must be there: who may do what is decided here, and not there.
//!
//! The same way with a sign-in anew stands for the password once more.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::admin::door::{Door, Identity, PROVED, Refused, SignedIn, random};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::model::{access, shown};
use crate::store::accounts::Handle;

/// How long somebody may stay on the service's page.
pub const WAITS: Duration = Duration::from_mins(10);
/// Ways that are open at a time; the oldest gives way. Some KiB in all.
const OPEN_MAX: usize = 256;
/// Of a claim that cannot be an account, what is told.
const TOLD_MAX: usize = 80;

/// What comes of a question to the service, or why nothing does.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// One way to the service and back.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where the browser comes back to.
    pub redirect: String,
    /// Comes back with it.
    pub state: String,
    /// Stands in what the service claims.
    pub nonce: String,
    /// SHA-256 of the verifier, in base 64.
    pub challenge: String,
    /// The service asks for the password, whoever is signed in there.
    pub anew: bool,
}

/// A service that says who somebody is.
pub trait Foreign: Debug + Send + Sync {
    /// Its host, for people.
    fn host(&self) -> &str;
    /// Where a browser is sent.
    fn address(&self, way: Way) -> Answer<'_, String>;
    /// What it claims of who came back with this code. Issuer, client and end are looked at already.
    fn claims(
        &self,
        code: String,
        verifier: Secret,
        redirect: String,
        now: Timestamp,
    ) -> Answer<'_, Map<String, Value>>;
}

/// A way that is open.
#[derive(Debug)]
pub(super) struct Open {
    verifier: Secret,
    nonce: String,
    redirect: String,
    next: String,
    browser: blake3::Hash,
    /// Who gives the password once more, and the session that ends then.
    proves: Option<(String, Handle)>,
    until: Timestamp,
}

/// Ways that are open, by the hash of their state.
pub(super) type Ways = HashMap<[u8; 32], Open>;

/// Where a browser is sent.
#[derive(Debug)]
pub struct Sent {
    /// To this address.
    pub address: String,
    /// With this word, which it keeps until it comes back.
    pub keeps: Secret,
}

fn word() -> Result<String, Refused> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

fn hash(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

impl Door {
    /// The service's host, where there is one.
    pub fn elsewhere(&self) -> Option<&str> {
        self.inner.config.foreign.as_deref().map(Foreign::host)
    }

    /// Step 1. `proves` is who gives the password once more.
    pub async fn begin_elsewhere(
        &self,
        redirect: String,
        next: String,
        proves: Option<&Identity>,
    ) -> Result<Sent, Refused> {
        let service = self.inner.config.foreign.as_deref().ok_or(Refused::Absent)?;
        let proves = proves.and_then(|one| Some((one.account.clone()?, one.session?)));
        let (state, nonce, verifier, keeps) = (word()?, word()?, word()?, word()?);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let (asked, anew) = ((redirect.clone(), state.clone(), nonce.clone()), proves.is_some());
        let way = Way { redirect: asked.0, state: asked.1, nonce: asked.2, challenge, anew };
        let address = service.address(way).await.map_err(Refused::Elsewhere)?;
        let now = self.now();
        let open = Open {
            verifier: Secret::new(verifier),
            nonce,
            redirect,
            next,
            browser: blake3::hash(keeps.as_bytes()),
            proves,
            until: now.after(WAITS),
        };
        let mut ways = self.inner.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.retain(|_, open| open.until > now);
        if ways.len() >= OPEN_MAX
            && let Some(oldest) = ways.iter().min_by_key(|(_, open)| open.until).map(|(state, _)| *state)
        {
            ways.remove(&oldest);
        }
        ways.insert(hash(&state), open);
        Ok(Sent { address, keeps: Secret::new(keeps) })
    }

    /// Steps 2 to 4: who came back, and where to.
    pub async fn end_elsewhere(
        &self,
        state: &str,
        code: &str,
        keeps: Option<&str>,
        from: IpAddr,
    ) -> Result<(SignedIn, String), Refused> {
        let service = self.inner.config.foreign.as_deref().ok_or(Refused::Absent)?;
        let (now, held) = (self.now(), self.attempt(from, None)?);
        let stale =
            || Refused::Elsewhere("this sign-in was not begun in this browser, is over, or took too long".into());
        let open =
            self.inner.ways.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(state)).ok_or_else(stale)?;
        // `blake3::Hash` compares in constant time.
        if open.until <= now || keeps.is_none_or(|word| blake3::hash(word.as_bytes()) != open.browser) {
            return Err(stale());
        }
        let asked = service.claims(code.to_owned(), open.verifier, open.redirect, now);
        let claims = asked.await.map_err(Refused::Elsewhere)?;
        if claims.get("nonce").and_then(Value::as_str) != Some(open.nonce.as_str()) {
            return Err(Refused::Elsewhere(format!("what {} claims is of another sign-in", service.host())));
        }
        let name = self.named(service, &claims)?;
        if let Some((account, _)) = &open.proves {
            let at = claims.get("auth_time").and_then(Value::as_u64);
            let is_fresh = at.is_some_and(|at| now.since(Timestamp::from_ms(at.saturating_mul(1000))) < PROVED);
            if *account != name || !is_fresh {
                let host = service.host();
                return Err(Refused::Elsewhere(format!("{host} did not ask {account} for the password anew")));
            }
        }
        let account = self.inner.accounts.one(&name).await?.ok_or_else(|| {
            tracing::warn!(%from, account = name, "somebody signed in elsewhere who has no account here");
            Refused::Beyond(format!(
                "{} says that you are {name:?}, and there is no account of that name",
                service.host()
            ))
        })?;
        self.succeeded(&held);
        let made = self.begin(&account, from).await?;
        if let Some((_, session)) = open.proves {
            self.inner.accounts.end(session).await?;
        }
        tracing::info!(%from, account = account.name, by = service.host(), "somebody signed in by another service");
        Ok((made, open.next))
    }

    /// The account that claims name.
    fn named(&self, service: &dyn Foreign, claims: &Map<String, Value>) -> Result<String, Refused> {
        let claim = self.inner.config.claim.as_str();
        let strange = |why: String| Refused::Elsewhere(format!("{} {why}", service.host()));
        let value = claims.get(claim).and_then(Value::as_str).ok_or_else(|| strange(format!("claims no {claim}")))?;
        // Anybody can call himself by an address that nobody has looked at.
        if claim == "email" && claims.get("email_verified").and_then(Value::as_bool) != Some(true) {
            return Err(strange("does not say that it has verified the address".into()));
        }
        access::name(value).map_err(|_| {
            strange(format!("claims {claim} {}, which cannot be an account", shown::escape(value.as_bytes(), TOLD_MAX)))
        })
    }
}
