//! `/api/v1/accounts`, `/api/v1/tokens` and `/api/v1/session`: who may come in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::admin::door::{Identity, MadeToken, Refused, SignedIn, Via, Wanted, WantedToken, cookie};
use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::groups::{path, who};
use crate::admin::recorded::Who;
use crate::admin::view::{Time, accounts as view};
use crate::admin::{Handles, guard};
use crate::base::secret::Secret;
use crate::model::access::{self, Grants, Reach, Role};
use crate::net::Peer;
use crate::store::accounts::{Account, Token};
use crate::store::approvals::Tree;

/// Days that a token is good unless told otherwise.
const DAYS: u64 = 90;

impl From<Refused> for Problem {
    fn from(error: Refused) -> Self {
        let title = error.to_string();
        let with = |status, next: &str| Self::new(status, title.clone(), next);
        match error {
            Refused::Wrong => with(
                StatusCode::UNAUTHORIZED,
                "try again; `waystation accounts password NAME` on the node's machine sets another one",
            ),
            Refused::TooMany(_) => with(
                StatusCode::TOO_MANY_REQUESTS,
                "`waystation accounts password NAME` on the node's machine ends the wait",
            ),
            Refused::Busy => with(StatusCode::SERVICE_UNAVAILABLE, "try again"),
            Refused::Code => with(
                StatusCode::FORBIDDEN,
                "`waystation accounts setup-code` on the node's machine makes a new one, good for 15 minutes",
            ),
            Refused::Invalid(_) => with(StatusCode::UNPROCESSABLE_ENTITY, "correct what was given, then try again"),
            Refused::Elsewhere(_) => with(
                StatusCode::BAD_GATEWAY,
                "begin the sign-in once more, or sign in with the password of your account; `[admin] oidc_...` are the settings",
            ),
            Refused::Beyond(_) => with(StatusCode::FORBIDDEN, "ask an administrator"),
            Refused::Absent => with(
                StatusCode::NOT_FOUND,
                "`waystation accounts list` and `waystation tokens list` show what there is",
            ),
            Refused::System(_) => with(StatusCode::INTERNAL_SERVER_ERROR, "look into the log"),
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<access::Error> for Problem {
    fn from(error: access::Error) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), "correct what was given, then try again")
    }
}

/// Where somebody asks from, for what is counted by address.
pub(in crate::admin) fn from(peer: Option<&Extension<Peer>>) -> IpAddr {
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |Extension(peer)| peer.remote.ip())
}

/// An answer that has a browser keep the session, and the log know whose it is.
pub(in crate::admin) fn signed(signed: &SignedIn, peer: Option<&Extension<Peer>>, mut response: Response) -> Response {
    let secure = cookie::is_secure(peer.map(|Extension(peer)| peer));
    if let Some(cookie) = cookie::set(signed, secure) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.extensions_mut().insert(Who(signed.identity.name.clone()));
    response
}

fn session(identity: &Identity, tree: &Tree) -> view::Session {
    let via = match identity.via {
        Via::Socket => "socket",
        Via::Local => "local",
        Via::Session => "session",
        Via::Token => "token",
        Via::Nobody => "nobody",
    };
    view::Session {
        name: identity.name.clone(),
        via: via.to_owned(),
        role: identity.role.word().to_owned(),
        groups: groups(&identity.reach, tree),
        scopes: identity.grants.as_ref().map(Grants::words).unwrap_or_default(),
        confirmed: identity.is_proved,
        csrf: identity.csrf.clone(),
    }
}

async fn begun(handles: &Handles, made: &SignedIn, peer: Option<&Extension<Peer>>) -> Result<Response, Problem> {
    let tree = handles.store.approvals().tree().await?;
    Ok(signed(made, peer, Json(session(&made.identity, &tree)).into_response()))
}

/// `POST /api/v1/setup`.
pub async fn set_up(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    Given(asked): Given<view::SetUpRequest>,
) -> Result<Response, Problem> {
    let from = from(peer.as_ref());
    let made = handles.door.set_up(&asked.code, &asked.name, &Secret::new(asked.password), from).await?;
    begun(&handles, &made, peer.as_ref()).await
}

/// `POST /api/v1/session`.
pub async fn sign_in(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    Given(asked): Given<view::SignInRequest>,
) -> Result<Response, Problem> {
    let made = handles.door.sign_in(&asked.name, &Secret::new(asked.password), from(peer.as_ref())).await?;
    begun(&handles, &made, peer.as_ref()).await
}

/// `GET /api/v1/session`.
pub async fn show_session(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
) -> Result<Json<view::Session>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    Ok(Json(session(&identity, &tree)))
}

/// `DELETE /api/v1/session`.
pub async fn sign_out(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    identity: Identity,
) -> Result<Response, Problem> {
    handles.door.sign_out(&identity).await?;
    let mut response = Json(view::Gone { gone: "the session".into() }).into_response();
    if let Some(cookie) = cookie::clear(cookie::is_secure(peer.as_ref().map(|Extension(peer)| peer))) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `POST /api/v1/session/confirm`.
pub async fn confirm(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    identity: Identity,
    Given(asked): Given<view::ConfirmRequest>,
) -> Result<Response, Problem> {
    let made = handles.door.prove(&identity, &Secret::new(asked.password), from(peer.as_ref())).await?;
    begun(&handles, &made, peer.as_ref()).await
}

/// `POST /api/v1/session/password`.
pub async fn change_own(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    identity: Identity,
    Given(asked): Given<view::PasswordRequest>,
) -> Result<Response, Problem> {
    let (old, new) = (Secret::new(asked.old), Secret::new(asked.new));
    let made = handles.door.change_own(&identity, &old, &new, from(peer.as_ref())).await?;
    begun(&handles, &made, peer.as_ref()).await
}

/// `POST /api/v1/setup-code`.
pub async fn setup_code(State(handles): State<Arc<Handles>>) -> Result<Json<view::SetupCode>, Problem> {
    let Some((file, until)) = handles.door.renew_code().await? else {
        let title = "there is an account already, so that nobody needs a set-up code";
        let next = "`waystation accounts password NAME` sets a password that was lost";
        return Err(Problem::new(StatusCode::CONFLICT, title, next));
    };
    Ok(Json(view::SetupCode { file: file.display().to_string(), until: Time(until) }))
}

fn groups(reach: &Reach, tree: &Tree) -> Vec<String> {
    match reach {
        Reach::Everywhere => Vec::new(),
        Reach::Groups(groups) => groups.iter().map(|group| path(tree, *group)).collect(),
    }
}

/// The reach of groups that somebody named; everything where none is.
fn reach(tree: &Tree, named: &[String]) -> Result<Reach, Problem> {
    if named.is_empty() {
        return Ok(Reach::Everywhere);
    }
    if named.len() > access::REACH_MAX {
        let title = format!("an account is bound to {} groups at most", access::REACH_MAX);
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "name a group above them"));
    }
    Ok(Reach::Groups(who::groups(tree, named)?.into_iter().collect()))
}

fn role(text: Option<&str>) -> Result<Option<Role>, Problem> {
    Ok(text.map(str::parse::<Role>).transpose()?)
}

fn account(account: Account, tree: &Tree) -> view::Account {
    view::Account {
        name: account.name,
        role: account.role.word().to_owned(),
        groups: groups(&account.reach, tree),
        by: account.made.0,
        at: Time(account.made.1),
        password_at: Time(account.password_at),
        seen: account.seen_at.map(Time),
    }
}

fn token(token: Token, tree: &Tree) -> view::Token {
    view::Token {
        id: token.id,
        name: token.name,
        account: token.account,
        role: token.role.word().to_owned(),
        groups: groups(&token.reach, tree),
        scopes: token.grants.words(),
        at: Time(token.made_at),
        until: Time(token.until),
        used: token.used_at.map(Time),
    }
}

/// `GET /api/v1/accounts`.
pub async fn list(State(handles): State<Arc<Handles>>) -> Result<Json<view::Accounts>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let rows = handles.door.accounts().all().await?.into_iter().map(|row| account(row, &tree)).collect();
    Ok(Json(view::Accounts { rows }))
}

/// `GET /api/v1/accounts/{name}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
) -> Result<Json<view::Account>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let found = handles.door.accounts().one(&access::name(&name)?).await?.ok_or(Refused::Absent)?;
    Ok(Json(account(found, &tree)))
}

fn wanted(asked: view::AccountRequest, tree: &Tree) -> Result<Wanted, Problem> {
    Ok(Wanted {
        role: role(asked.role.as_deref())?,
        reach: asked.groups.map(|groups| reach(tree, &groups)).transpose()?,
        password: asked.password.map(Secret::new),
    })
}

/// `POST /api/v1/accounts`.
pub async fn add(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Given(mut asked): Given<view::AccountRequest>,
) -> Result<Json<view::Account>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let name = asked.name.take().unwrap_or_default();
    let made = handles.door.add(&name, wanted(asked, &tree)?, &identity).await?;
    tracing::warn!(by = identity.name, account = made.name, role = %made.role, "an account was made");
    Ok(Json(account(made, &tree)))
}

/// `POST /api/v1/accounts/{name}`.
pub async fn change(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Named(name): Named<String>,
    Given(asked): Given<view::AccountRequest>,
) -> Result<Json<view::Account>, Problem> {
    if asked.name.is_some() {
        return Err(Problem::malformed("an account keeps its name: make another one"));
    }
    let tree = handles.store.approvals().tree().await?;
    let changed = handles.door.change(&access::name(&name)?, wanted(asked, &tree)?, &tree.groups).await?;
    tracing::warn!(by = identity.name, account = changed.name, role = %changed.role, "an account was changed");
    Ok(Json(account(changed, &tree)))
}

/// `DELETE /api/v1/accounts/{name}`.
pub async fn remove(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Named(name): Named<String>,
) -> Result<Json<view::Gone>, Problem> {
    let name = access::name(&name)?;
    handles.door.accounts().remove(&name).await.map_err(Refused::from)?;
    tracing::warn!(by = identity.name, account = name, "an account was removed with its sessions and tokens");
    Ok(Json(view::Gone { gone: name }))
}

/// `GET /api/v1/tokens`.
pub async fn tokens(State(handles): State<Arc<Handles>>, identity: Identity) -> Result<Json<view::Tokens>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let all = handles.door.accounts().tokens().await?.into_iter().filter(|token| may_see(&identity, token));
    Ok(Json(view::Tokens { rows: all.map(|row| token(row, &tree)).collect() }))
}

/// Whether somebody may see and revoke a token: its owner, and an administrator.
fn may_see(identity: &Identity, token: &Token) -> bool {
    let is_ruler = identity.role == Role::Administrator && identity.reach.is_everywhere();
    is_ruler || identity.account.as_deref() == Some(token.account.as_str())
}

/// `POST /api/v1/tokens`.
pub async fn make_token(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Given(asked): Given<view::TokenRequest>,
) -> Result<Json<view::TokenMade>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    // A token that makes tokens would outlive its own end.
    if identity.via == Via::Token {
        let title = "a token makes no other token";
        return Err(Problem::new(StatusCode::FORBIDDEN, title, "sign in, or use the command on the node's machine"));
    }
    let account = match (&identity.account, asked.account) {
        (Some(own), Some(other)) if *own != other => {
            return Err(Refused::Beyond("a token is of whoever makes it".into()).into());
        }
        (Some(own), _) => own.clone(),
        (None, Some(named)) => access::name(&named)?,
        (None, None) => return Err(Problem::malformed("whose token is it to be? name an account")),
    };
    let owner = handles.door.accounts().one(&account).await?.ok_or(Refused::Absent)?;
    let bound = match reach(&tree, &asked.groups)? {
        Reach::Everywhere => owner.reach.clone(),
        groups @ Reach::Groups(_) => groups,
    };
    let wanted = WantedToken {
        name: asked.name,
        role: role(asked.role.as_deref())?.unwrap_or(owner.role),
        reach: bound,
        grants: Grants::read(asked.scopes.iter().map(String::as_str))?,
        days: asked.days.unwrap_or(DAYS),
    };
    if wanted.grants.is_confirmed && !identity.is_proved {
        return Err(guard::unproved(&identity));
    }
    let MadeToken { secret, token: made } = handles.door.make_token(&account, wanted, &tree.groups).await?;
    tracing::warn!(by = identity.name, account, token = made.id, "a token was made");
    Ok(Json(view::TokenMade { secret: secret.expose().to_owned(), token: token(made, &tree) }))
}

/// `DELETE /api/v1/tokens/{id}`.
pub async fn revoke(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Named(id): Named<String>,
) -> Result<Json<view::Gone>, Problem> {
    let accounts = handles.door.accounts();
    let known = accounts.tokens().await?.into_iter().find(|token| token.id == id && may_see(&identity, token));
    let known = known.ok_or(Refused::Absent)?;
    accounts.revoke(&known.id).await.map_err(Refused::from)?;
    tracing::warn!(by = identity.name, account = known.account, token = known.id, "a token was revoked");
    Ok(Json(view::Gone { gone: known.id }))
}
