//! `/api/v1/jobs`, and the writes that start one: fetch, verify, backup, import.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given, Named};
use crate::admin::{Caller, Handles, present, view};
use crate::base::digest::Sha256;
use crate::jobs::board;
use crate::jobs::error::Error;
use crate::jobs::work::{Backup, Fetch, FetchItem, Import, Kind, Verify, Work};
use crate::pace::Class;

/// The longest wait for the end of a job in one request; ask again after that.
const WAIT_S_MAX: u64 = 30;

type Accepted = Result<(StatusCode, Json<view::Started>), Problem>;

/// How to look at a job.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Answer when the job has ended, or after this many seconds.
    wait: Option<u64>,
}

/// `GET /api/v1/jobs`: newest first.
pub async fn list(State(handles): State<Arc<Handles>>) -> Json<Vec<view::Job>> {
    Json(handles.jobs.list().into_iter().map(|job| told(&handles, job)).collect())
}

/// `GET /api/v1/jobs/{id}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    Named(id): Named<u64>,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::Job>, Problem> {
    let wait = Duration::from_secs(ask.wait.unwrap_or(0).min(WAIT_S_MAX));
    let job = if wait.is_zero() { handles.jobs.get(id) } else { handles.jobs.wait(id, wait).await };
    Ok(Json(told(&handles, job.ok_or(Error::Unknown { id })?)))
}

/// A job in the words of the API. A run of the catalog that moves no byte since its class is paused says so.
fn told(handles: &Handles, job: board::View) -> view::Job {
    let is_of_the_catalog = matches!(job.kind, Kind::Sync | Kind::Crosscheck) && job.state.is_running();
    let class = if job.title == Work::Definitions.title() { Class::Definitions } else { Class::Sync };
    let mut told = present::job(job);
    if is_of_the_catalog && told.progress.waits.is_none() {
        told.progress.waits = paused(handles, class);
    }
    told
}

/// That a run of the catalog in this class waits, where the class is paused.
pub(super) fn paused(handles: &Handles, class: Class) -> Option<String> {
    let pause = handles.bandwidth.governor.pause(class)?;
    let always = if pause.until.is_none() { ", always" } else { "" };
    Some(format!("waits: bandwidth.{pause}{always} (`waystation bandwidth show`)"))
}

/// `POST /api/v1/jobs/{id}/stop`: answers with the job as it is then; it ends soon after.
pub async fn stop(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(id): Named<u64>,
) -> Result<Json<view::Job>, Problem> {
    handles.jobs.stop(id, &by)?;
    Ok(Json(told(&handles, handles.jobs.get(id).ok_or(Error::Unknown { id })?)))
}

/// `POST /api/v1/fetch`.
pub async fn fetch(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::FetchRequest>,
) -> Accepted {
    let items = request.items.into_iter().map(|item| {
        let sha256 = digest(item.sha256.as_deref())?;
        Ok(FetchItem { address: item.url, sha256 })
    });
    let items = items.collect::<Result<Vec<_>, Problem>>()?;
    start(&handles, Work::Fetch(Fetch { items, pin: request.pin, refresh: request.refresh }), &by)
}

/// `POST /api/v1/store/verify`.
pub async fn verify(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::VerifyRequest>,
) -> Accepted {
    let only = match request.only {
        Some(name) => Some(handles.jobs.held(&name).await?.payload.digests.blake3),
        None => None,
    };
    let work = Verify { only, repair: request.repair, rate: request.rate, scheduled: false };
    start(&handles, Work::Verify(work), &by)
}

/// `POST /api/v1/store/backup`.
pub async fn backup(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::BackupRequest>,
) -> Accepted {
    start(&handles, Work::Backup(Backup { to: PathBuf::from(request.to) }), &by)
}

/// `POST /api/v1/content/import`.
pub async fn import(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::ImportRequest>,
) -> Accepted {
    let sha256 = digest(request.sha256.as_deref())?;
    let paths = request.paths.into_iter().map(PathBuf::from).collect();
    start(&handles, Work::Import(Import { paths, take: request.take, sha256, address: request.url }), &by)
}

fn digest(text: Option<&str>) -> Result<Option<Sha256>, Problem> {
    text.map(str::parse)
        .transpose()
        .map_err(|error: crate::base::digest::ParseError| Problem::malformed(error.to_string()))
}

fn start(handles: &Handles, work: Work, by: &str) -> Accepted {
    let job = handles.jobs.start(work, by)?;
    Ok((StatusCode::ACCEPTED, Json(view::Started { job })))
}
