//! All routes of the control plane, at one glance.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use http::{Method, StatusCode, Uri};

use crate::admin::error::Problem;
use crate::admin::{Access, BODY_BYTES_MAX, Handles, ask, bind, content, guard, health, metrics, status, work};

/// The control plane with what `access` allows.
pub fn router(handles: Handles, access: Access) -> Router {
    let api = Router::new()
        .route("/status", get(status::status))
        .route("/flights", get(status::flights))
        .route("/content", get(content::list))
        .route("/content/import", post(work::import))
        .route("/content/{name}", get(content::show).merge(delete(content::remove)))
        .route("/content/{name}/pin", post(content::pin))
        .route("/content/{name}/unpin", post(content::unpin))
        .route("/content/{name}/unbind", post(bind::unbind))
        .route("/jobs", get(work::list))
        .route("/jobs/{id}", get(work::show))
        .route("/jobs/{id}/stop", post(work::stop))
        .route("/fetch", post(work::fetch))
        .route("/store/verify", post(work::verify))
        .route("/store/backup", post(work::backup))
        .route("/explain", get(ask::explain))
        .route("/doctor", get(ask::doctor))
        .route("/settings", get(ask::settings));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .nest("/api/v1", api)
        .fallback(absent)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(access, guard::guard))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(handles))
}

async fn absent(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {}", uri.path().chars().take(200).collect::<String>()),
        "begin at /api/v1/status; health is at /healthz and /readyz, metrics are at /metrics",
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} means nothing at {}", uri.path().chars().take(200).collect::<String>()),
        "GET reads, POST starts or changes, DELETE removes",
    )
}
