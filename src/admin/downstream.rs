//! `/api/v1/downstream`: WSUS servers below this node, as they told of themselves.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::admin::error::Problem;
use crate::admin::view::{Time, downstream as view};
use crate::admin::{Caller, Handles, ask};
use crate::model::downstream::Server;

/// `GET /api/v1/downstream`: 500 at most, so that there are no pages.
pub async fn list(State(handles): State<Arc<Handles>>) -> Result<Json<view::Downstream>, Problem> {
    let mut servers: Vec<view::Server> = handles.store.downstream_servers().await?.into_iter().map(told).collect();
    servers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let settings = ask::in_force(&handles).await?;
    let networks = settings.iter().find(|setting| setting.key == "downstream.networks");
    let enabled = networks.is_some_and(|setting| setting.value.to_string() != "[]");
    Ok(Json(view::Downstream { enabled, servers }))
}

/// `DELETE /api/v1/downstream/{server}`, by id or name.
pub async fn forget(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Path(server): Path<String>,
) -> Result<Json<view::Server>, Problem> {
    let known = handles.store.downstream_servers().await?;
    let mut meant =
        known.into_iter().filter(|one| one.id.to_string() == server || one.name.eq_ignore_ascii_case(&server));
    let (Some(one), None) = (meant.next(), meant.next()) else {
        let title = format!("{server:?} is the name of no server below, or of several");
        let advice = "`waystation downstream list` has names and ids";
        return Err(Problem::new(StatusCode::NOT_FOUND, title, advice));
    };
    handles.store.forget_downstream_server(one.id).await?;
    tracing::info!(server = one.name, id = %one.id, by, "a server below was forgotten");
    Ok(Json(told(one)))
}

fn told(server: Server) -> view::Server {
    view::Server {
        id: server.id.to_string(),
        name: server.name,
        parent: server.parent.map(|parent| parent.to_string()),
        version: server.version,
        replica: server.is_replica,
        last_sync: server.last_sync.map(Time),
        told_at: Time(server.told),
        from: server.from.to_string(),
        standing: server.standing.map(|standing| view::Standing {
            updates: standing.updates,
            approved: standing.approved,
            declined: standing.declined,
            lacking_files: standing.lacking_files,
            computers: standing.computers,
            lacking: standing.lacking,
            failed: standing.failed,
            up_to_date: standing.up_to_date,
        }),
        systems: server.systems.into_iter().map(|(system, computers)| view::System { system, computers }).collect(),
    }
}
