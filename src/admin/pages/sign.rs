//! The way in: the first account, sign-in, the password once more, sign-out.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Deserialize;

use crate::admin::Handles;
use crate::admin::accounts::{from, signed};
use crate::admin::door::{Identity, SignedIn, cookie};
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::pages::{Frame, SIGN_IN, html, see_other, shown, within};
use crate::base::secret::Secret;
use crate::net::Peer;

/// Where a page leads to afterwards.
#[derive(Debug, Default, Deserialize)]
pub struct Next {
    next: Option<String>,
}

/// The form of a sign-in.
#[derive(Deserialize)]
pub struct SignInForm {
    name: String,
    password: String,
    next: Option<String>,
}

/// The form of the first account.
#[derive(Deserialize)]
pub struct SetUpForm {
    code: String,
    name: String,
    password: String,
    again: String,
}

/// The form of the password once more.
#[derive(Deserialize)]
pub struct ConfirmForm {
    password: String,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "sign-in.html", config = "src/admin/askama.toml")]
struct SignInPage {
    frame: Frame,
    elsewhere: Option<Elsewhere>,
    name: String,
    next: String,
    trouble: Option<Trouble>,
}

#[derive(Template)]
#[template(path = "set-up.html", config = "src/admin/askama.toml")]
struct SetUpPage {
    frame: Frame,
    name: String,
    file: String,
    trouble: Option<Trouble>,
}

#[derive(Template)]
#[template(path = "confirm.html", config = "src/admin/askama.toml")]
struct ConfirmPage {
    frame: Frame,
    elsewhere: Option<Elsewhere>,
    next: String,
    csrf: String,
    trouble: Option<Trouble>,
}

/// The way to a service that says who somebody is.
struct Elsewhere {
    host: String,
    href: String,
}

/// What went wrong, and what to do.
pub struct Trouble {
    title: String,
    detail: String,
}

impl From<&Problem> for Trouble {
    fn from(problem: &Problem) -> Self {
        let view = problem.view();
        Self { title: view.title, detail: view.detail }
    }
}

fn elsewhere(handles: &Handles, next: &str, anew: bool) -> Option<Elsewhere> {
    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let anew = if anew { "&anew=true" } else { "" };
    handles
        .door
        .elsewhere()
        .map(|host| Elsewhere { host: host.to_owned(), href: format!("/sign-in/oidc?next={next}{anew}") })
}

fn begun(made: &SignedIn, peer: Option<&Extension<Peer>>, next: Option<&str>) -> Response {
    signed(made, peer, see_other(within(next)))
}

/// `GET /sign-in`.
pub async fn sign_in_page(State(handles): State<Arc<Handles>>, Asked(asked): Asked<Next>) -> Response {
    match handles.door.is_unset().await {
        Ok(true) => see_other("/set-up"),
        Ok(false) => {
            let next = within(asked.next.as_deref()).to_owned();
            let (frame, elsewhere) = (Frame::outside("Sign in"), elsewhere(&handles, &next, false));
            let page = SignInPage { frame, elsewhere, name: String::new(), next, trouble: None };
            html(StatusCode::OK, &page)
        }
        Err(error) => shown(true, error.into()),
    }
}

/// `POST /sign-in`.
pub async fn sign_in(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    Form(form): Form<SignInForm>,
) -> Response {
    let next = within(form.next.as_deref()).to_owned();
    match handles.door.sign_in(&form.name, &Secret::new(form.password), from(peer.as_ref())).await {
        Ok(made) => begun(&made, peer.as_ref(), Some(&next)),
        Err(error) => {
            let problem = Problem::from(error);
            let trouble = Some(Trouble::from(&problem));
            let (frame, elsewhere) = (Frame::outside("Sign in"), elsewhere(&handles, &next, false));
            html(problem.status(), &SignInPage { frame, elsewhere, name: form.name, next, trouble })
        }
    }
}

fn code_file(handles: &Handles) -> String {
    handles.node.data.join(crate::admin::door::code::NAME).display().to_string()
}

/// `GET /set-up`.
pub async fn set_up_page(State(handles): State<Arc<Handles>>) -> Response {
    match handles.door.is_unset().await {
        Ok(false) => see_other(SIGN_IN),
        Ok(true) => {
            let frame = Frame::outside("Set up");
            let page = SetUpPage { frame, name: String::new(), file: code_file(&handles), trouble: None };
            html(StatusCode::OK, &page)
        }
        Err(error) => shown(true, error.into()),
    }
}

/// `POST /set-up`.
pub async fn set_up(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    Form(form): Form<SetUpForm>,
) -> Response {
    let made = if form.password == form.again {
        let (word, from) = (Secret::new(form.password), from(peer.as_ref()));
        handles.door.set_up(&form.code, &form.name, &word, from).await.map_err(Problem::from)
    } else {
        let next = "type the same password twice";
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the two passwords differ", next))
    };
    match made {
        Ok(made) => begun(&made, peer.as_ref(), None),
        Err(problem) => {
            let (frame, trouble) = (Frame::outside("Set up"), Some(Trouble::from(&problem)));
            html(problem.status(), &SetUpPage { frame, name: form.name, file: code_file(&handles), trouble })
        }
    }
}

/// `GET /confirm`.
pub async fn confirm_page(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Asked(asked): Asked<Next>,
) -> Response {
    let next = within(asked.next.as_deref()).to_owned();
    let csrf = identity.csrf.clone().unwrap_or_default();
    let (frame, elsewhere) = (Frame::new("Your password", "", &identity), elsewhere(&handles, &next, true));
    html(StatusCode::OK, &ConfirmPage { frame, elsewhere, next, csrf, trouble: None })
}

/// `POST /confirm`.
pub async fn confirm(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    identity: Identity,
    Form(form): Form<ConfirmForm>,
) -> Response {
    let next = within(form.next.as_deref()).to_owned();
    match handles.door.prove(&identity, &Secret::new(form.password), from(peer.as_ref())).await {
        Ok(made) => begun(&made, peer.as_ref(), Some(&next)),
        Err(error) => {
            let problem = Problem::from(error);
            let (csrf, trouble) = (identity.csrf.clone().unwrap_or_default(), Some(Trouble::from(&problem)));
            let frame = Frame::new("Your password", "", &identity);
            let elsewhere = elsewhere(&handles, &next, true);
            html(problem.status(), &ConfirmPage { frame, elsewhere, next, csrf, trouble })
        }
    }
}

/// `POST /sign-out`.
pub async fn sign_out(
    State(handles): State<Arc<Handles>>,
    peer: Option<Extension<Peer>>,
    identity: Identity,
) -> Response {
    if let Err(error) = handles.door.sign_out(&identity).await {
        return shown(true, error.into());
    }
    let mut response = see_other(SIGN_IN).into_response();
    if let Some(cookie) = cookie::clear(cookie::is_secure(peer.as_ref().map(|Extension(peer)| peer))) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
