//! `/healthz` and `/readyz`: for balancers, container engines and supervisors.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::admin::error::Problem;
use crate::admin::{Handles, view};
use crate::store;

/// The process answers. Whether it is any good is `/readyz`'s business: killing a node does not mend its disk.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the node does its whole work.
pub async fn ready(State(handles): State<Arc<Handles>>) -> Response {
    let health = health(&handles);
    if health.state == "ready" {
        return "ready\n".into_response();
    }
    let title = format!("{}: {}", health.state, health.why);
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, title, "`waystation status` and the log say more").into_response()
}

/// In the words of the API.
pub fn health(handles: &Handles) -> view::Health {
    let (state, why) = match handles.store.health() {
        _ if handles.node.is_draining() => ("draining", "the node is shutting down".to_owned()),
        store::Health::Ready => ("ready", String::new()),
        store::Health::ReadOnly { why } => ("read-only", why),
    };
    view::Health { state: state.to_owned(), why }
}
