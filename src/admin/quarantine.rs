//! `/api/v1/quarantine`: what failed verification, looked at and thrown out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::error::Problem;
use crate::admin::{Access, Caller, Handles, present, view};

/// `GET /api/v1/quarantine`: the oldest first. The store keeps some dozens at most, so that there are no pages.
pub async fn list(
    State(handles): State<Arc<Handles>>,
    access: Access,
) -> Result<Json<Vec<view::Quarantined>>, Problem> {
    let all = handles.store.quarantined().await?;
    Ok(Json(all.into_iter().map(|one| present::quarantined(one, access)).collect()))
}

/// `DELETE /api/v1/quarantine`: answers with what went.
pub async fn empty(State(handles): State<Arc<Handles>>, Caller(by): Caller) -> Result<Json<view::Emptied>, Problem> {
    let (count, bytes) = handles.store.empty_quarantine().await?;
    tracing::info!(count, bytes, by, "the quarantine was emptied");
    Ok(Json(view::Emptied { count, bytes }))
}
