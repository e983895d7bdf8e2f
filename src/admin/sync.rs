//! `/api/v1/sync`: how the catalog is synchronised, its history, and the orders to start and stop a run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given};
use crate::admin::view::{self, Time};
use crate::admin::{Caller, Handles, ask, plan, updates, work};
use crate::jobs;
use crate::jobs::work::Work;
use crate::pace::Class;
use crate::store::catalog::{Compared, Counts, Outcome, Run, RunKind, Upstream, UpstreamKind};

/// Runs on one page, unless told otherwise, and at most.
const PAGE: usize = 20;
const PAGE_MAX: usize = 1_000;

/// Ids in one request to ask for what is refused again: without any, all of it is.
const IDS_MAX: usize = 1_000;

/// Which page of the history.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    before: Option<u64>,
    limit: Option<usize>,
}

/// `GET /api/v1/sync`.
pub async fn state(State(handles): State<Arc<Handles>>) -> Result<Json<view::Sync>, Problem> {
    let jobs::sync::State {
        upstream: asked,
        running,
        last,
        last_success,
        last_crosscheck,
        last_definitions,
        next,
        next_is_again,
        next_definitions,
        definitions_behind,
        definitions_wait,
        hook,
        listed,
        standing,
        beyond,
    } = handles.jobs.sync_state().await?;
    let later = later(ask::in_force(&handles).await?);
    let running = running.map(|(job, seen)| {
        let mut running = view::SyncRunning {
            job,
            step: String::new(),
            done: 0,
            total: 0,
            per_minute: None,
            left_s: None,
            started_at: None,
            counts: view::SyncCounts::default(),
            kind: String::new(),
            waits: None,
        };
        if let Some(seen) = seen {
            seen.step.word().clone_into(&mut running.step);
            (running.done, running.total, running.per_minute) = (seen.done, seen.total, seen.per_minute);
            running.left_s = seen.left.map(|left| left.as_secs());
            (running.started_at, running.counts) = (Some(Time(seen.started)), counts(seen.counts));
            kind(seen.kind).clone_into(&mut running.kind);
            running.waits = jobs::sync::waits(&seen);
        }
        let class = if running.kind == "definitions" { Class::Definitions } else { Class::Sync };
        running.waits = running.waits.or_else(|| work::paused(&handles, class));
        running
    });
    Ok(Json(view::Sync {
        held_from: standing.upstream.filter(|held| *held != asked).map(upstream),
        upstream: upstream(asked),
        running,
        last: last.map(run),
        last_success: last_success.map(run),
        last_definitions: last_definitions.map(run),
        last_crosscheck: last_crosscheck.map(run),
        next_at: next.map(Time),
        next_is_again,
        definitions_behind,
        next_definitions_at: next_definitions.map(Time),
        definitions_wait,
        later,
        webhook: hook.as_ref().map(|(host, _)| host.clone()),
        webhook_state: hook.map(|(_, standing)| view::SyncWebhook {
            waiting: u64::try_from(standing.waiting).unwrap_or(u64::MAX),
            lost: standing.lost,
            lost_at: standing.given_up.as_ref().map(|last| Time(last.at)),
            lost_why: standing.given_up.map(|last| last.why),
            told_at: standing.told.map(Time),
            failed_at: standing.failed.as_ref().map(|failed| Time(failed.at)),
            failure: standing.failed.map(|failed| failed.why),
            next_at: standing.next.map(Time),
        }),
        listed,
        updates: standing.updates,
        beyond_filters: beyond.map(|beyond| beyond.all),
        beyond_needed: beyond.and_then(|beyond| beyond.needed),
        revisions: standing.revisions,
        refused: standing.refused,
        wanted: standing.sets.iter().map(|set| set.wanted).sum(),
        content: Some(plan::state(&handles)),
    }))
}

/// Settings of the catalog's runs that were changed and count from the next start of the node on.
fn later(settings: Vec<view::Setting>) -> Vec<view::SyncLater> {
    let is_of_runs = |key: &str| ["sync.", "definitions.", "upstream."].iter().any(|section| key.starts_with(section));
    let waits = |setting: view::Setting| {
        let next = setting.next.filter(|next| next.when == "restart" && is_of_runs(&setting.key))?;
        Some(view::SyncLater { key: setting.key, value: next.value.to_string() })
    };
    settings.into_iter().filter_map(waits).collect()
}

/// `GET /api/v1/sync/history`: newest first.
pub async fn history(
    State(handles): State<Arc<Handles>>,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::SyncHistory>, Problem> {
    let limit = ask.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let runs = handles.jobs.sync_history(ask.before, limit).await?;
    let next = runs.last().filter(|_| runs.len() == limit).map(|run| run.id);
    Ok(Json(view::SyncHistory { runs: runs.into_iter().map(run).collect(), next }))
}

/// Which run.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    lane: Option<String>,
}

/// `POST /api/v1/sync/start`: the run is a job; with `lane=definitions` one of definition updates alone.
pub async fn start(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Asked(asked): Asked<Lane>,
) -> Result<(StatusCode, Json<view::Started>), Problem> {
    let work = match asked.lane.as_deref() {
        None | Some("catalog") => Work::Sync,
        Some("definitions") => Work::Definitions,
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            return Err(Problem::malformed(format!("lane: {shown:?} is neither catalog nor definitions")));
        }
    };
    let job = handles.jobs.start(work, &by)?;
    Ok((StatusCode::ACCEPTED, Json(view::Started { job })))
}

/// `POST /api/v1/sync/crosscheck`: the comparison is a job.
pub async fn crosscheck(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
) -> Result<(StatusCode, Json<view::Started>), Problem> {
    let job = handles.jobs.start(Work::Crosscheck, &by)?;
    Ok((StatusCode::ACCEPTED, Json(view::Started { job })))
}

/// `POST /api/v1/sync/stop`: the run ends soon after.
pub async fn stop(State(handles): State<Arc<Handles>>, Caller(by): Caller) -> Result<Json<view::SyncStopped>, Problem> {
    Ok(Json(view::SyncStopped { job: handles.jobs.stop_sync(&by)? }))
}

/// `POST /api/v1/sync/retry`: what is refused is asked for again by the next run.
pub async fn retry(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::SyncRetry>,
) -> Result<Json<view::SyncRetried>, Problem> {
    let catalog = handles.store.catalog();
    let mut named = Vec::with_capacity(request.ids.len().min(IDS_MAX));
    if request.ids.len() > IDS_MAX {
        return Err(Problem::malformed(format!("{} ids are more than {IDS_MAX}", request.ids.len())));
    }
    for id in &request.ids {
        named.push(updates::refused_meant(&catalog, id).await?);
    }
    let pardoned = handles.jobs.retry_sync(named, request.compared).await?;
    let (asked, left) = (pardoned.asked, pardoned.left);
    tracing::info!(by, updates = pardoned.identities.len(), asked, "updates are refused no more");
    let retried = pardoned.identities.iter().map(ToString::to_string).collect();
    Ok(Json(view::SyncRetried { retried, asked, left, job: None }))
}

/// `POST /api/v1/sync/webhook/test`: tells it that this is a test, and what it answered.
pub async fn test_webhook(State(handles): State<Arc<Handles>>) -> Result<Json<view::HookTested>, Problem> {
    let (host, status, text, took) = handles.jobs.test_hook().await?;
    let taken = status.is_some_and(|status| (200..300).contains(&status));
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(view::HookTested { host, taken, status, text, took_ms }))
}

const fn kind(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Catalog => "catalog",
        RunKind::Definitions => "definitions",
        RunKind::Crosscheck => "crosscheck",
    }
}

/// From whom a catalog comes.
pub(super) fn upstream(upstream: Upstream) -> view::SyncUpstream {
    let kind = match upstream.kind {
        UpstreamKind::Microsoft => "microsoft",
        UpstreamKind::Wsus => "wsus",
        UpstreamKind::Parent => "parent",
    };
    view::SyncUpstream { kind: kind.to_owned(), address: upstream.address, unauthenticated: upstream.unauthenticated }
}

fn run(run: Run) -> view::SyncRun {
    let outcome = match run.outcome {
        Outcome::Running => "running",
        Outcome::Successful => "successful",
        Outcome::Failed => "failed",
        Outcome::Stopped => "stopped",
        Outcome::CutOff => "cut off",
    };
    let took = run.ended.map(|ended| u64::try_from(ended.since(run.started).as_millis()).unwrap_or(u64::MAX));
    view::SyncRun {
        id: run.id,
        started_at: Time(run.started),
        ended_at: run.ended.map(Time),
        took_ms: took,
        upstream: run.upstream,
        outcome: outcome.to_owned(),
        reason: run.reason,
        counts: counts(run.counts),
        wanted: run.wanted.map(|(files, bytes)| view::policy::Sum { files, bytes }),
        kind: kind(run.note.kind).to_owned(),
        by: run.note.by,
        unauthenticated: run.note.unauthenticated,
        troubles: run.note.troubles,
        compared: run.note.compared.map(compared),
    }
}

fn compared(compared: Compared) -> view::SyncCompared {
    let Compared { agreed, differed, text, absent, unknown, behind, withdrawn } = compared;
    view::SyncCompared { agreed, differed, text, absent, unknown, behind, withdrawn }
}

fn counts(counts: Counts) -> view::SyncCounts {
    let Counts { new, changed, expired, superseded, files, bytes, errors, refused, pruned } = counts;
    view::SyncCounts { new, changed, expired, superseded, files, bytes, errors, refused, pruned }
}
