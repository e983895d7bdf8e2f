//! Endpoints: the list, and one of them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Named};
use crate::admin::pages::draw;
use crate::admin::pages::fields::Fields;
use crate::admin::pages::{Frame, html, shown};
use crate::admin::view::compliance::Whole as Standing;
use crate::admin::view::endpoints::{Endpoint, Endpoints, Whole};
use crate::admin::view::groups::Groups;
use crate::admin::{Handles, compliance, endpoints, groups};

/// Rows of a page.
const ROWS: &str = "50";
/// Updates and events that are shown of one endpoint: the API has the rest.
const STATES: usize = 100;
const EVENTS: usize = 30;

#[derive(Template)]
#[template(path = "endpoints.html", config = "src/admin/askama.toml")]
struct ListPage {
    frame: Frame,
    fields: Fields,
    groups: Groups,
    endpoints: Endpoints,
    next: Option<String>,
}

impl ListPage {
    fn scan(endpoint: &Endpoint) -> String {
        draw::time(endpoint.last_scan.as_ref())
    }
}

#[derive(Template)]
#[template(path = "endpoint.html", config = "src/admin/askama.toml")]
struct OnePage {
    frame: Frame,
    whole: Whole,
    standing: Option<Standing>,
}

impl OnePage {
    fn scan(&self) -> String {
        draw::time(self.whole.short.last_scan.as_ref())
    }

    fn report(&self) -> String {
        draw::time(self.whole.short.last_report.as_ref())
    }

    fn states(&self) -> &[crate::admin::view::compliance::Stands] {
        let rows = self.standing.as_ref().map_or(&[][..], |standing| &standing.states);
        &rows[..rows.len().min(STATES)]
    }

    fn events(&self) -> Vec<&crate::admin::view::endpoints::Event> {
        self.whole.history.iter().rev().take(EVENTS).collect()
    }
}

/// `GET /endpoints`.
pub async fn list(state: State<Arc<Handles>>, identity: Identity, uri: Uri) -> Response {
    let made = async {
        let fields = Fields::of(&uri);
        let asked = Asked(fields.with("limit", ROWS).ask()?);
        let axum::Json(endpoints) = endpoints::list(state.clone(), identity.clone(), asked).await?;
        let axum::Json(groups) = groups::list(state, identity.clone()).await?;
        let next = endpoints.next.as_ref().map(|next| format!("/endpoints{}", fields.with("after", next).query()));
        let frame = Frame::new("Endpoints", "/endpoints", &identity);
        Ok::<_, Problem>(ListPage { frame, fields, groups, endpoints, next })
    };
    match made.await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(problem) => shown(true, problem),
    }
}

/// `GET /endpoints/{name}`.
pub async fn one(state: State<Arc<Handles>>, identity: Identity, Named(name): Named<String>) -> Response {
    let made = async {
        let axum::Json(whole) = endpoints::show(state.clone(), identity.clone(), Named(name)).await?;
        // One that never reported has no standing.
        let id = Named(whole.short.id.clone());
        let standing = compliance::endpoint(state, identity.clone(), id).await.ok().map(|axum::Json(whole)| whole);
        let frame = Frame::new(whole.short.name.clone(), "/endpoints", &identity);
        Ok::<_, Problem>(OnePage { frame, whole, standing })
    };
    match made.await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(problem) => shown(true, problem),
    }
}
