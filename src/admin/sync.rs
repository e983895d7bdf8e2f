//! `/api/v1/sync`: how the catalog is synchronised, its history, and the orders to start and stop a run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::view::{self, Time};
use crate::admin::{Caller, Handles, plan};
use crate::jobs;
use crate::jobs::work::Work;
use crate::store::catalog::{Counts, Outcome, Run, Upstream, UpstreamKind};

/// Runs on one page, unless told otherwise, and at most.
const PAGE: usize = 20;
const PAGE_MAX: usize = 1_000;

/// Which page of the history.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    before: Option<u64>,
    limit: Option<usize>,
}

/// `GET /api/v1/sync`.
pub async fn state(State(handles): State<Arc<Handles>>) -> Result<Json<view::Sync>, Problem> {
    let jobs::sync::State { upstream: asked, running, last, last_success, next, standing } =
        handles.jobs.sync_state().await?;
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
        };
        if let Some(seen) = seen {
            seen.step.word().clone_into(&mut running.step);
            (running.done, running.total, running.per_minute) = (seen.done, seen.total, seen.per_minute);
            running.left_s = seen.left.map(|left| left.as_secs());
            (running.started_at, running.counts) = (Some(Time(seen.started)), counts(seen.counts));
        }
        running
    });
    Ok(Json(view::Sync {
        held_from: standing.upstream.filter(|held| *held != asked).map(upstream),
        upstream: upstream(asked),
        running,
        last: last.map(run),
        last_success: last_success.map(run),
        next_at: next.map(Time),
        updates: standing.updates,
        revisions: standing.revisions,
        refused: standing.refused,
        wanted: standing.sets.iter().map(|set| set.wanted).sum(),
        content: Some(plan::state(&handles)),
    }))
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

/// `POST /api/v1/sync/start`: the run is a job.
pub async fn start(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
) -> Result<(StatusCode, Json<view::Started>), Problem> {
    let job = handles.jobs.start(Work::Sync, &by)?;
    Ok((StatusCode::ACCEPTED, Json(view::Started { job })))
}

/// `POST /api/v1/sync/stop`: the run ends soon after.
pub async fn stop(State(handles): State<Arc<Handles>>) -> Result<Json<view::SyncStopped>, Problem> {
    Ok(Json(view::SyncStopped { job: handles.jobs.stop_sync()? }))
}

fn upstream(upstream: Upstream) -> view::SyncUpstream {
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
    }
}

fn counts(counts: Counts) -> view::SyncCounts {
    let Counts { new, changed, expired, superseded, files, bytes, errors, refused, pruned } = counts;
    view::SyncCounts { new, changed, expired, superseded, files, bytes, errors, refused, pruned }
}
