//! Tokens: what a script comes in with.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::admin::door::{Door, Identity, Refused, Via, random};
use crate::base::hex;
use crate::base::secret::Secret;
use crate::model::access::{Grants, Reach, Role};
use crate::model::group::Groups;
use crate::store::accounts::{Account, Handle, Token};

/// With what a token begins, so that it is known for one where it lies about.
pub const TOKEN_BEGINS: &str = "wsk_";
/// The longest that a token is good.
pub const DAYS_MAX: u64 = 3 * 366;
/// Characters of what somebody writes to know a token by.
const NAME_MAX: usize = 100;
/// How far apart two uses are that are written down: each is a commit.
const USED_EVERY: Duration = Duration::from_hours(1);

/// A token that somebody wants.
#[derive(Clone, Debug)]
pub struct WantedToken {
    /// What to know it by.
    pub name: String,
    /// How much it may do.
    pub role: Role,
    /// For which endpoints.
    pub reach: Reach,
    /// In which areas.
    pub grants: Grants,
    /// How many days it is good.
    pub days: u64,
}

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct MadeToken {
    /// The token itself: told once.
    pub secret: Secret,
    /// What is kept of it.
    pub token: Token,
}

fn handle(token: &str) -> Option<Handle> {
    let rest = token.strip_prefix(TOKEN_BEGINS)?;
    (rest.len() == 43).then(|| *blake3::hash(token.as_bytes()).as_bytes())
}

impl Door {
    /// Makes a token for `account`, at most as much as the account may do.
    pub async fn make_token(&self, account: &str, wanted: WantedToken, tree: &Groups) -> Result<MadeToken, Refused> {
        let owner = self.inner.accounts.one(account).await?.ok_or(Refused::Absent)?;
        if wanted.role > owner.role || !owner.reach.covers(&wanted.reach, tree) {
            let what = format!("a token of {:?} cannot do more than {:?} itself", owner.name, owner.name);
            return Err(Refused::Beyond(what));
        }
        if !(1..=DAYS_MAX).contains(&wanted.days) {
            return Err(Refused::Invalid(format!("a token is good for 1 to {DAYS_MAX} days")));
        }
        let name: String = wanted.name.trim().chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
        if name.is_empty() {
            return Err(Refused::Invalid("a token needs a name, to know it by".into()));
        }
        let text = format!("{TOKEN_BEGINS}{}", URL_SAFE_NO_PAD.encode(random::<32>()?));
        let handle = handle(&text).ok_or_else(|| Refused::System("a token cannot be made".into()))?;
        let now = self.now();
        let token = Token {
            id: hex::encode(&random::<6>()?),
            name,
            account: owner.name,
            role: wanted.role,
            reach: wanted.reach,
            grants: wanted.grants,
            made_at: now,
            until: now.after(Duration::from_hours(24 * wanted.days)),
            used_at: None,
        };
        self.inner.accounts.put_token(handle, token.clone()).await?;
        Ok(MadeToken { secret: Secret::new(text), token })
    }

    /// Who comes with this token, if it is good.
    pub async fn token(&self, text: &str) -> Result<Option<Identity>, Refused> {
        let Some(handle) = handle(text) else { return Ok(None) };
        let Some((token, account)) = self.inner.accounts.token(handle).await? else { return Ok(None) };
        let now = self.now();
        if now >= token.until {
            return Ok(None);
        }
        if token.used_at.is_none_or(|used| now.since(used) >= USED_EVERY) {
            // A store that cannot be written answers all the same.
            if let Err(error) = self.inner.accounts.use_token(handle, now).await {
                tracing::debug!(%error, "the use of a token is not noted");
            }
        }
        Ok(Some(identity(token, account)))
    }
}

/// Of both the lesser: an account that may do less since then takes its tokens with it. Where both are bound, the account's groups
/// count for a token without bound, and the token's else; a token whose groups are no longer the account's reaches nothing of them,
/// since whoever changes an account's groups revokes what does not fit.
fn identity(token: Token, account: Account) -> Identity {
    let reach = match (&account.reach, &token.reach) {
        (Reach::Groups(_), Reach::Everywhere) => account.reach.clone(),
        _ => token.reach.clone(),
    };
    let name = format!("{} (token {}, {})", account.name, token.id, token.name);
    let role = token.role.min(account.role);
    let mut identity = Identity::of(Via::Token, name, account.name, role, reach);
    identity.is_proved = token.grants.is_confirmed;
    identity.grants = Some(token.grants);
    identity
}
