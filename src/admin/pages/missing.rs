//! Missing patches: what endpoints told that they miss, filtered and paged by the API, approved from here.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::pages::fields::Fields;
use crate::admin::pages::{Frame, html, shown};
use crate::admin::view::compliance::{Update, Updates};
use crate::admin::view::groups::Groups;
use crate::admin::{Handles, compliance, groups};

/// Rows of a page: some 60 kB.
const ROWS: &str = "50";

#[derive(Template)]
#[template(path = "missing.html", config = "src/admin/askama.toml")]
struct Page {
    frame: Frame,
    fields: Fields,
    groups: Groups,
    updates: Updates,
    next: Option<String>,
}

const SEVERITIES: [&str; 5] = ["critical", "important", "moderate", "low", "unspecified"];
const RESTARTS: [&str; 3] = ["required", "may-require", "not-required"];
const LICENCES: [&str; 3] = ["required", "accepted", "none"];

impl Page {
    fn severities() -> [&'static str; 5] {
        SEVERITIES
    }

    fn restarts() -> [&'static str; 3] {
        RESTARTS
    }

    fn licences() -> [&'static str; 3] {
        LICENCES
    }

    fn kbs(update: &Update) -> String {
        update.kbs.iter().map(|kb| format!("KB{kb}")).collect::<Vec<_>>().join(", ")
    }
}

/// `GET /missing`.
pub async fn page(state: State<Arc<Handles>>, identity: Identity, uri: Uri) -> Response {
    match made(state, identity, &uri).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(problem) => shown(true, problem),
    }
}

async fn made(state: State<Arc<Handles>>, identity: Identity, uri: &Uri) -> Result<Page, Problem> {
    let fields = Fields::of(uri);
    let asked = Asked(fields.with("limit", ROWS).ask()?);
    let axum::Json(updates) = compliance::missing(state.clone(), identity.clone(), asked).await?;
    let axum::Json(groups) = groups::list(state, identity.clone()).await?;
    let next = updates.next.as_ref().map(|next| format!("/missing{}", fields.with("after", next).query()));
    Ok(Page { frame: Frame::new("Missing patches", "/missing", &identity), fields, groups, updates, next })
}
