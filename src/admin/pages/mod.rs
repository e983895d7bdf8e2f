//! The console: pages that the node writes itself, over the same handlers that the API has.
//!
//! 1. [`sign`] has the way in: set-up, sign-in, the password once more, sign-out; [`elsewhere`] that by another service.
//! 2. Every other page asks the API's own handler and puts the answer into a template; all text is escaped there, whoever it comes from.
//! 3. [`assets`] are style and script, embedded and named by their digest: there is no build step, and nothing comes from elsewhere.
//!
//! A page works without script; what the script adds is convenience.

pub mod assets;
pub mod dashboard;
pub mod draw;
pub mod elsewhere;
pub mod endpoints;
pub mod fields;
pub mod missing;
pub mod nodes;
pub mod sign;
pub mod sync;
pub mod update;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use crate::admin::Handles;
use crate::admin::door::Identity;
use crate::admin::error::Problem;

/// Where browsers are led to.
pub const HOME: &str = "/dashboard";
/// Where people sign in.
pub const SIGN_IN: &str = "/sign-in";

/// The longest address that a sign-in leads back to.
const NEXT_MAX: usize = 1_000;

/// The routes of the console.
pub fn router() -> Router<Arc<Handles>> {
    Router::new()
        .route("/sign-in", get(sign::sign_in_page).merge(post(sign::sign_in)))
        .route("/sign-in/oidc", get(elsewhere::there))
        .route("/sign-in/oidc/back", get(elsewhere::back))
        .route("/set-up", get(sign::set_up_page).merge(post(sign::set_up)))
        .route("/confirm", get(sign::confirm_page).merge(post(sign::confirm)))
        .route("/sign-out", post(sign::sign_out))
        .route("/assets/{name}", get(assets::asset))
        .route("/dashboard", get(dashboard::page))
        .route("/missing", get(missing::page))
        .route("/updates/{name}", get(update::page))
        .route("/updates/{name}/approve", post(update::approve))
        .route("/endpoints", get(endpoints::list))
        .route("/endpoints/{name}", get(endpoints::one))
        .route("/sync", get(sync::page))
        .route("/sync/start", post(sync::start))
        .route("/sync/stop", post(sync::stop))
        .route("/sync/test", post(sync::test))
        .route("/sync/upstream", post(sync::set_upstream))
        .route("/sync/filters", post(sync::set_filters))
        .route("/sync/filters/reset", post(sync::reset_filters))
        .route("/nodes", get(nodes::page))
        .route("/nodes/invite", post(nodes::invite))
        .route("/nodes/{name}/approve", post(nodes::approve))
        .route("/nodes/{name}/revoke", post(nodes::revoke))
}

/// What stands around every page.
#[derive(Debug, Default)]
pub struct Frame {
    /// The page's title.
    pub title: String,
    /// The entry of the menu that the page belongs to.
    pub here: &'static str,
    /// Who is signed in.
    pub me: Option<Me>,
}

/// Who is signed in.
#[derive(Debug)]
pub struct Me {
    /// Their name.
    pub name: String,
    /// Their role.
    pub role: &'static str,
    /// What forms carry; empty where nobody has a session.
    pub csrf: String,
}

impl Frame {
    /// For somebody who came in.
    pub fn new(title: impl Into<String>, here: &'static str, identity: &Identity) -> Self {
        let me = identity.is_in().then(|| Me {
            name: identity.name.clone(),
            role: identity.role.word(),
            csrf: identity.csrf.clone().unwrap_or_default(),
        });
        Self { title: title.into(), here, me }
    }

    /// For nobody.
    pub fn outside(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }
}

/// The entries of the menu.
pub const MENU: &[(&str, &str)] = &[
    ("Dashboard", "/dashboard"),
    ("Missing patches", "/missing"),
    ("Endpoints", "/endpoints"),
    ("Synchronisation", "/sync"),
    ("Patch servers", "/nodes"),
];

/// A problem as a page.
#[derive(Template)]
#[template(path = "problem.html", config = "src/admin/askama.toml")]
struct ProblemPage {
    frame: Frame,
    title: String,
    detail: String,
}

/// A page as an answer.
pub fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a page cannot be written: {error}"), "report it")
                .into_response()
        }
    }
}

/// A problem, as a page where a person looks at it.
pub fn shown(is_page: bool, problem: Problem) -> Response {
    if !is_page {
        return problem.into_response();
    }
    let status = problem.status();
    let view = problem.view();
    html(status, &ProblemPage { frame: Frame::outside("Not done"), title: view.title, detail: view.detail })
}

/// Whether a person's browser asks.
pub fn wants(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Leads a browser to another page of the console.
pub fn see_other(place: &str) -> Response {
    match HeaderValue::from_str(place) {
        Ok(place) => (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response(),
        Err(_) => StatusCode::SEE_OTHER.into_response(),
    }
}

/// The sign-in that leads back to what was asked for.
pub fn sign_in_before(uri: &Uri) -> String {
    let wanted = uri.path_and_query().map_or("/", |target| target.as_str());
    let next: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    if next.len() > NEXT_MAX { SIGN_IN.to_owned() } else { format!("{SIGN_IN}?next={next}") }
}

/// A place within the console, and nowhere else: who makes up a link must not lead a person who just signed in to another site.
pub fn within(next: Option<&str>) -> &str {
    let fits = |next: &&str| {
        next.starts_with('/')
            && !next.starts_with("//")
            && next.len() <= NEXT_MAX
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    next.filter(fits).unwrap_or(HOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_back_into_the_console_alone() {
        assert_eq!(within(Some("/missing?group=a%2Fb")), "/missing?group=a%2Fb");
        for wrong in ["//evil.example", "https://evil.example", "/\\evil.example", "", "x", "/a\r\nSet-Cookie: x"] {
            assert_eq!(within(Some(wrong)), HOME, "{wrong:?}");
        }
        assert_eq!(sign_in_before(&"/missing?a=b&c".parse().unwrap()), "/sign-in?next=%2Fmissing%3Fa%3Db%26c");
    }
}
