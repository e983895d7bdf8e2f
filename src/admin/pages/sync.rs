//! Synchronisation: what stands above and the way to it, the run that is under way, the filters, the history; started, stopped and tested from
//! here.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given, Named};
use crate::admin::pages::draw;
use crate::admin::pages::fields::Fields;
use crate::admin::pages::{Frame, html, see_other, shown};
use crate::admin::view::filters::{Chosen, Filters, How, SetRequest};
use crate::admin::view::upstream::{Above, Choice, TestRequest};
use crate::admin::view::{Sync, SyncRun};
use crate::admin::{Caller, Handles, filters, sync, upstream};
use crate::model::access::{Area, Role};
use crate::model::report::{Finding, Verdict};

/// Runs that are shown: the API has the rest.
const RUNS: &str = "20";

/// Where this page is.
const HERE: &str = "/sync";

#[derive(Template)]
#[template(path = "sync.html", config = "src/admin/askama.toml")]
struct Page {
    frame: Frame,
    /// How it stands, or why that cannot be said.
    state: Result<Sync, String>,
    runs: Vec<SyncRun>,
    above: Option<Above>,
    filters: Option<Filters>,
    found: Option<Vec<Finding>>,
    may_run: bool,
    may_change: bool,
    csrf: String,
}

impl Page {
    fn running(&self) -> Option<&crate::admin::view::SyncRunning> {
        self.state.as_ref().ok()?.running.as_ref()
    }

    fn next(&self) -> String {
        match self.state.as_ref().ok().and_then(|state| state.next_at.as_ref()) {
            Some(at) => at.to_string(),
            None if self.above.as_ref().is_some_and(|above| above.now.kind == "parent") => {
                "whenever the parent has news".to_owned()
            }
            None => "the schedule is off".to_owned(),
        }
    }

    fn ended(run: &SyncRun) -> String {
        draw::time(run.ended_at.as_ref())
    }

    /// The three lists of filters, with their keys and names.
    fn lists(filters: &Filters) -> [(&'static str, &'static str, &Chosen); 3] {
        [
            ("products", "Products", &filters.products),
            ("classifications", "Classifications", &filters.classifications),
            ("languages", "Languages", &filters.languages),
        ]
    }

    fn word(one: &Finding) -> &'static str {
        match one.verdict {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Warning => "warning",
            Verdict::Bad => "does not work",
            Verdict::Skipped => "not tried",
        }
    }

    fn tag(one: &Finding) -> &'static str {
        match one.verdict {
            Verdict::Bad => "critical",
            Verdict::Warning => "important",
            _ => "good",
        }
    }
}

async fn made(state: State<Arc<Handles>>, identity: Identity, found: Option<Vec<Finding>>) -> Result<Page, Problem> {
    let now = sync::state(state.clone()).await.map(|axum::Json(now)| now).map_err(|problem| {
        let view = problem.view();
        format!("{}: {}", view.title, view.detail)
    });
    let asked = Asked(Fields::default().with("limit", RUNS).ask()?);
    let runs = sync::history(state.clone(), asked).await.map(|axum::Json(history)| history.runs).unwrap_or_default();
    Ok(Page {
        frame: Frame::new("Synchronisation", HERE, &identity),
        state: now,
        runs,
        above: upstream::show(state.clone()).await.ok().map(|axum::Json(above)| above),
        filters: filters::show(state).await.ok().map(|axum::Json(filters)| filters),
        found,
        may_run: identity.may(Role::Operator, Area::Catalog, true),
        may_change: identity.may(Role::Administrator, Area::Catalog, true),
        csrf: identity.csrf.clone().unwrap_or_default(),
    })
}

fn page_of(made: Result<Page, Problem>) -> Response {
    match made {
        Ok(page) => html(StatusCode::OK, &page),
        Err(problem) => shown(true, problem),
    }
}

/// `GET /sync`.
pub async fn page(state: State<Arc<Handles>>, identity: Identity) -> Response {
    page_of(made(state, identity, None).await)
}

fn back<T>(done: Result<T, Problem>) -> Response {
    match done {
        Ok(_) => see_other(HERE),
        Err(problem) => shown(true, problem),
    }
}

/// `POST /sync/start`, of the lane of definition updates with `?lane=definitions`.
pub async fn start(state: State<Arc<Handles>>, caller: Caller, uri: Uri) -> Response {
    match Fields::of(&uri).ask() {
        Ok(lane) => back(sync::start(state, caller, Asked(lane)).await),
        Err(problem) => shown(true, problem),
    }
}

/// `POST /sync/stop`.
pub async fn stop(state: State<Arc<Handles>>, caller: Caller) -> Response {
    back(sync::stop(state, caller).await)
}

/// The form of an upstream.
#[derive(Deserialize)]
pub struct Upstream {
    kind: String,
    #[serde(default)]
    url: String,
}

impl Upstream {
    fn choice(self) -> Choice {
        let url = Some(self.url.trim().to_owned()).filter(|url| !url.is_empty() && self.kind == "wsus");
        Choice { kind: self.kind, url, proxy: None }
    }
}

/// `POST /sync/upstream`.
pub async fn set_upstream(state: State<Arc<Handles>>, caller: Caller, Form(form): Form<Upstream>) -> Response {
    back(upstream::set(state, caller, Given(form.choice())).await)
}

/// `POST /sync/test`: the page with what was found on the way.
pub async fn test(state: State<Arc<Handles>>, identity: Identity) -> Response {
    match upstream::test(state.clone(), Given(TestRequest::default())).await {
        Ok(axum::Json(found)) => page_of(made(state, identity, Some(found.findings)).await),
        Err(problem) => shown(true, problem),
    }
}

/// The form of a filter.
#[derive(Deserialize)]
pub struct Filter {
    key: String,
    #[serde(default)]
    add: String,
    #[serde(default)]
    remove: String,
}

/// `POST /sync/filters`.
pub async fn set_filters(state: State<Arc<Handles>>, caller: Caller, Form(form): Form<Filter>) -> Response {
    let (add, remove) = (form.add.trim().to_owned(), form.remove.trim().to_owned());
    let (value, how) = if add.is_empty() { (remove, How::Remove) } else { (add, How::Add) };
    let asked = SetRequest { values: vec![value], how, remove: vec![] };
    back(filters::set(state, Named(form.key), caller, Given(asked)).await)
}

/// `POST /sync/filters/reset`.
pub async fn reset_filters(state: State<Arc<Handles>>, caller: Caller) -> Response {
    back(filters::reset_all(state, caller).await)
}
