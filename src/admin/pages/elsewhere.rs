//! Sign-in by another service: the way there, and the way back.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde::Deserialize;

use crate::admin::Handles;
use crate::admin::accounts::{from, signed};
use crate::admin::door::{Identity, Refused, cookie};
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::guard;
use crate::admin::pages::{see_other, shown, within};
use crate::net::Peer;

/// Where the browser comes back to.
pub const BACK: &str = "/sign-in/oidc/back";

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
pub struct There {
    next: Option<String>,
    /// For the password once more.
    #[serde(default)]
    anew: bool,
}

/// What the service sends along (RFC 6749, 4.1.2).
#[derive(Debug, Default, Deserialize)]
pub struct Back {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

fn redirect(headers: &HeaderMap, uri: &http::Uri, secure: bool) -> Option<String> {
    let scheme = if secure { "https" } else { "http" };
    Some(format!("{scheme}://{}{BACK}", guard::host(headers, uri)?))
}

/// `GET /sign-in/oidc`.
pub async fn there(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    identity: Identity,
    Asked(asked): Asked<There>,
    request: Request,
) -> Response {
    let secure = cookie::is_secure(peer.as_ref().map(|Extension(peer)| peer));
    let Some(redirect) = redirect(request.headers(), request.uri(), secure) else {
        return shown(true, Problem::malformed("there is no Host to come back to"));
    };
    let next = within(asked.next.as_deref()).to_owned();
    match handles.door.begin_elsewhere(redirect, next, Some(&identity).filter(|_| asked.anew)).await {
        Ok(sent) => {
            let mut response = see_other(&sent.address);
            if let Some(cookie) = cookie::keep_way(&sent.keeps, secure) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => shown(true, error.into()),
    }
}

/// `GET /sign-in/oidc/back`.
pub async fn back(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    Asked(asked): Asked<Back>,
    request: Request,
) -> Response {
    let secure = cookie::is_secure(peer.as_ref().map(|Extension(peer)| peer));
    let ended = match (&asked.error, &asked.state, &asked.code) {
        (None, Some(state), Some(code)) => {
            let keeps = cookie::read_way(&request);
            handles.door.end_elsewhere(state, code, keeps.as_deref(), from(peer.as_ref())).await
        }
        (Some(error), ..) => {
            let word: String = error.chars().filter(char::is_ascii_graphic).take(60).collect();
            Err(Refused::Elsewhere(format!("the sign-in service refused: {word}")))
        }
        _ => Err(Refused::Elsewhere("the sign-in service sent nothing along".into())),
    };
    let mut response = match ended {
        Ok((made, next)) => signed(&made, peer.as_ref(), see_other(within(Some(&next)))),
        Err(error) => shown(true, error.into()).into_response(),
    };
    if let Some(cookie) = cookie::forget_way(secure) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
