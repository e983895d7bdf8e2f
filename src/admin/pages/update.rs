//! One update: what it mends, what stands above and below it, its files, and who misses it; approved and declined from here.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given, Named};
use crate::admin::pages::fields::Fields;
use crate::admin::pages::{Frame, html, see_other, shown};
use crate::admin::view::approvals::SetRequest;
use crate::admin::view::compliance::Endpoints;
use crate::admin::view::groups::Groups;
use crate::admin::view::updates::Whole;
use crate::admin::{Caller, Handles, approvals, compliance, groups, updates};
use crate::base::size;
use crate::model::access::{Area, Role};

/// Files that are listed, and endpoints: the API has the rest.
const FILES: usize = 40;
const ENDPOINTS: &str = "50";

#[derive(Template)]
#[template(path = "update.html", config = "src/admin/askama.toml")]
struct Page {
    frame: Frame,
    update: Whole,
    description: String,
    more_info: String,
    missing: Endpoints,
    groups: Groups,
    may_approve: bool,
    said: bool,
    csrf: String,
}

impl Page {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates hand references")]
    fn size(bytes: &u64) -> String {
        size::bytes(*bytes)
    }

    fn files(&self) -> &[crate::admin::view::updates::File] {
        let rows = &self.update.all_files.rows;
        &rows[..rows.len().min(FILES)]
    }

    fn kbs(&self) -> String {
        self.update.short.kbs.iter().map(|kb| format!("KB{kb}")).collect::<Vec<_>>().join(", ")
    }
}

/// An address that a page may lead to: what a catalog says is not taken for a link but where it is one over HTTP.
fn link(text: Option<&str>) -> String {
    let is_link = |text: &&str| text.starts_with("https://") || text.starts_with("http://");
    text.filter(is_link).unwrap_or_default().to_owned()
}

/// `GET /updates/{name}`.
pub async fn page(state: State<Arc<Handles>>, identity: Identity, name: Named<String>, uri: http::Uri) -> Response {
    match made(state, identity, name, &uri).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(problem) => shown(true, problem),
    }
}

async fn made(
    state: State<Arc<Handles>>,
    identity: Identity,
    name: Named<String>,
    uri: &http::Uri,
) -> Result<Page, Problem> {
    let axum::Json(update) = updates::show(state.clone(), name).await?;
    let asked = Fields::default().with("update", &update.short.id).with("limit", ENDPOINTS).with("verdict", "missing");
    let asked = Asked(asked.ask()?);
    let axum::Json(missing) = compliance::endpoints(state.clone(), identity.clone(), asked).await?;
    let axum::Json(groups) = groups::list(state, identity.clone()).await?;
    let description = update.texts.first().map(|words| words.description.clone()).unwrap_or_default();
    Ok(Page {
        frame: Frame::new(update.short.title.clone(), "/missing", &identity),
        more_info: link(update.more_info.as_deref()),
        may_approve: update.short.deployable && identity.may(Role::Operator, Area::Approvals, true),
        csrf: identity.csrf.clone().unwrap_or_default(),
        said: Fields::of(uri).get("said") == "1",
        description,
        update,
        missing,
        groups,
    })
}

/// The form of an approval.
#[derive(Deserialize)]
pub struct Approve {
    group: String,
    action: String,
    #[serde(default)]
    deadline: String,
    #[serde(default)]
    why: String,
}

/// `POST /updates/{name}/approve`.
pub async fn approve(
    state: State<Arc<Handles>>,
    caller: Caller,
    identity: Identity,
    Named(name): Named<String>,
    Form(form): Form<Approve>,
) -> Response {
    let back = format!("/updates/{}?said=1", url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
    let asked = SetRequest {
        updates: vec![name],
        groups: vec![form.group],
        action: Some(form.action),
        deadline: Some(form.deadline).filter(|deadline| !deadline.trim().is_empty()),
        why: form.why,
        ..SetRequest::default()
    };
    match approvals::set(state, caller, identity, Given(asked)).await {
        Ok(_) => see_other(&back),
        Err(problem) => shown(true, problem),
    }
}
