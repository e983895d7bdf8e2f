//! `/api/v1/content/{address}/unbind`: what an operator bound to an address, taken back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::error::Problem;
use crate::admin::extract::Named;
use crate::admin::{Caller, Handles, view};

/// `POST /api/v1/content/{address}/unbind`: answers with what was bound.
pub async fn unbind(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Unbound>, Problem> {
    let unbound = handles.jobs.unbind(&name).await?;
    let digests: Vec<String> = unbound.published.digests().map(|digest| digest.to_string()).collect();
    tracing::info!(name = unbound.name.shown(), digests = digests.join(", "), by, "a bound digest was taken back");
    Ok(Json(view::Unbound { name: unbound.name.to_string(), digests }))
}
