//! The dashboard: how the site stands, on one page.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};

use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::pages::draw::{self, Bar, Hour, LEFT, LINE, TALL, WIDTH};
use crate::admin::pages::fields::Fields;
use crate::admin::pages::{Frame, html, shown};
use crate::admin::view::{self, Status, Sync, compliance::Summary};
use crate::admin::{Access, Handles, compliance, status, sync};
use crate::base::size;

/// Share of the store's limit beyond which it is told of, in percent.
const FULL: u64 = 90;

/// Something that somebody should look at.
struct Notice {
    text: String,
    to: &'static str,
}

#[derive(Template)]
#[template(path = "dashboard.html", config = "src/admin/askama.toml")]
struct Page {
    frame: Frame,
    notices: Vec<Notice>,
    summary: Summary,
    severities: Vec<Bar>,
    overview: Vec<Bar>,
    status: Status,
    hours: Vec<Hour>,
    ratio: Option<u64>,
    sync: Option<Sync>,
    used: u64,
}

impl Page {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates hand references")]
    fn size(bytes: &u64) -> String {
        size::bytes(*bytes)
    }

    fn high(lines: &[Bar]) -> u64 {
        lines.len() as u64 * LINE
    }
}

fn notices(status: &Status, summary: &Summary, sync: Option<&Sync>, used: u64) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut add = |is: bool, text: String, to| {
        if is {
            notices.push(Notice { text, to });
        }
    };
    add(status.health.state != "ready", format!("The node is {}: {}", status.health.state, status.health.why), "");
    add(summary.failed > 0, format!("{} endpoints have a patch that failed to install", summary.failed), "/missing");
    add(summary.restart_pending > 0, format!("{} endpoints wait for a restart", summary.restart_pending), "/endpoints");
    add(
        summary.not_scanned > 0,
        format!("{} endpoints have never told what a scan found", summary.not_scanned),
        "/endpoints",
    );
    add(used >= FULL, format!("The store uses {used} % of what it may"), "");
    add(
        status.store.quarantine > 0,
        "Something lies in quarantine: its bytes were not what was published".to_owned(),
        "",
    );
    for host in status.upstream.iter().filter(|host| host.state == "failing") {
        add(
            true,
            format!("{} does not answer well: {}", host.host, host.last_error.as_deref().unwrap_or_default()),
            "",
        );
    }
    if let Some(sync) = sync {
        let failed = sync.last.as_ref().filter(|run| !["successful", "running"].contains(&run.outcome.as_str()));
        if let Some(run) = failed {
            add(true, format!("The last synchronisation was {}: {}", run.outcome, run.reason), "");
        }
        add(sync.last.is_none() && sync.running.is_none(), "The catalog was never synchronised".to_owned(), "");
    }
    notices
}

/// `GET /dashboard`.
pub async fn page(state: State<Arc<Handles>>, access: Access, identity: Identity, uri: Uri) -> Response {
    match made(state, access, identity, &uri).await {
        Ok(page) => html(StatusCode::OK, &page).into_response(),
        Err(problem) => shown(true, problem),
    }
}

async fn made(state: State<Arc<Handles>>, access: Access, identity: Identity, uri: &Uri) -> Result<Page, Problem> {
    let axum::Json(status): axum::Json<view::Status> = status::status(state.clone(), access).await?;
    let asked = Asked(Fields::of(uri).ask()?);
    let axum::Json(summary) = compliance::summary(state.clone(), identity.clone(), asked).await?;
    // A node without a catalog has no runs.
    let sync = sync::state(state).await.ok().map(|axum::Json(sync)| sync);
    let used = draw::percent(status.store.allocated, status.store.max_size);
    let overview = draw::bars([
        ("missing".to_owned(), summary.missing, "bar-critical".to_owned(), "/endpoints".to_owned()),
        ("not scanned".to_owned(), summary.not_scanned, "bar-unspecified".to_owned(), "/endpoints".to_owned()),
        ("up to date".to_owned(), summary.up_to_date, "bar-good".to_owned(), "/endpoints".to_owned()),
    ]);
    Ok(Page {
        frame: Frame::new("Dashboard", "/dashboard", &identity),
        notices: notices(&status, &summary, sync.as_ref(), used),
        severities: draw::severities(&summary.by_severity),
        hours: draw::hours(&status.hours),
        ratio: status.day.hit_ratio.map(|ratio| (ratio * 100.0).round() as u64),
        overview,
        summary,
        status,
        sync,
        used,
    })
}
