//! What nodes below tell: reports, and farewells.

use std::time::Duration;

use http::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::base::hex;
use crate::chain::node::Chain;
use crate::model::chain::hash::ChainId;
use crate::net::Body;
use crate::net::body::collect;
use crate::serve::peer::{Problem, Told, json, malformed};
use crate::wire::peer::name::Named;
use crate::wire::peer::report::REPORT_BYTES_MAX;

/// Reports that are read at the same time: each is held whole.
pub(super) const READING_MAX: usize = 8;
/// How long a report waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a report may take: 16 MiB over a slow line.
const TIME: Duration = Duration::from_mins(2);

/// `POST /peer/v1/report`.
pub(super) async fn take(chain: &Chain, reading: &Semaphore, named: &Named, body: Incoming) -> Told {
    let busy = || Problem(StatusCode::SERVICE_UNAVAILABLE, "busy", "others report: come again in a minute".into());
    let turn = tokio::time::timeout(PATIENCE, reading.acquire()).await.map_err(|_| busy())?;
    let _turn = turn.map_err(|_| busy())?;
    let body = collect(body, REPORT_BYTES_MAX, TIME).await.map_err(|error| malformed(error.to_string()))?;
    let taken = chain.reported(named, body).await?;
    let again = u64::try_from(taken.again.as_millis()).unwrap_or(u64::MAX);
    Ok(json(StatusCode::OK, &serde_json::json!({ "taken": taken.taken, "again_ms": again })))
}

/// The body of a farewell.
#[derive(Debug, Deserialize)]
pub(super) struct Goodbye {
    reason: String,
    #[serde(default)]
    chain: Option<String>,
}

/// `POST /peer/v1/goodbye`.
pub(super) async fn goodbye(chain: &Chain, named: &Named, goodbye: Goodbye) -> Told {
    let other = goodbye.chain.as_deref().map(|text| hex::decode(text).ok_or_else(|| malformed("chain")));
    chain.goodbye(named, &goodbye.reason, other.transpose()?.map(ChainId::new)).await?;
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
