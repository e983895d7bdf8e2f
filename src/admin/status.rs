//! `/api/v1/status` and `/api/v1/flights`: how the node is doing, in one answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;

use crate::admin::error::Problem;
use crate::admin::view::{self, Time};
use crate::admin::{Access, Handles, bandwidth, health, plan, present};
use crate::store::Tally;

/// Hours in the table.
const HOURS: u32 = 24;

/// How long an answer waits for what takes long after a start alone.
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /api/v1/status`.
pub async fn status(State(handles): State<Arc<Handles>>, access: Access) -> Result<Json<view::Status>, Problem> {
    let node = &handles.node;
    let space = handles.store.space().await?;
    let hours = handles.store.ledger().hours(HOURS).await?;
    let day = hours.iter().map(|(_, tally)| *tally).fold(Tally::default(), present::sum);
    let started_at = node.started_at;
    let running = handles.jobs.list().into_iter().filter(|job| job.state.is_running());
    Ok(Json(view::Status {
        node: view::Node {
            version: node.version.to_owned(),
            id: node.id.clone(),
            epoch: node.epoch,
            data: node.data.display().to_string(),
            started_at: Time(started_at),
            uptime_s: handles.clock.now().since(started_at).as_secs(),
        },
        health: health::health(&handles),
        listening: node.listening.clone(),
        store: present::space(&space),
        total: present::traffic(handles.store.ledger().total()),
        day: present::traffic(day),
        hours: hours
            .into_iter()
            .map(|(at, tally)| view::Hour { at: Time(at), traffic: present::traffic(tally) })
            .collect(),
        flights: flying(&handles, access),
        upstream: handles.jobs.upstream().into_iter().map(view::Upstream::from).collect(),
        jobs: running.map(present::job).collect(),
        scrub: handles.jobs.scrub().await?.map(present::scrub),
        bandwidth: bandwidth::present(&handles).await?,
        content: handles.jobs.last_plan().map(|_| plan::state(&handles)),
        newcomer: newcomer(&handles).await,
    }))
}

/// What a new machine must evaluate, once there are machines: for a node that nobody scans against the catalog is not read into memory.
async fn newcomer(handles: &Handles) -> Option<view::compliance::Newcomer> {
    if handles.store.fleet().count().await.ok()? == 0 {
        return None;
    }
    // Reading the catalog goes on where nobody waits for it any more.
    tokio::time::timeout(PATIENCE, handles.reported.newcomer()).await.ok()?
}

/// `GET /api/v1/flights`.
pub async fn flights(State(handles): State<Arc<Handles>>, access: Access) -> Json<Vec<view::Flight>> {
    Json(flying(&handles, access))
}

fn flying(handles: &Handles, access: Access) -> Vec<view::Flight> {
    let flights = handles.jobs.flights().into_iter().map(|flight| view::Flight {
        name: access.name(&flight.name),
        size: flight.size,
        covered: flight.covered,
        hashed: flight.hashed,
        waiting: flight.waiting as u64,
        bytes_per_s: flight.bytes_per_s,
        source: flight.source,
        step: flight.step.to_owned(),
        pause: flight.pause.map(|pause| pause.to_string()),
    });
    flights.collect()
}
