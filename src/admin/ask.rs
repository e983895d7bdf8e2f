//! `/api/v1/explain`, `/api/v1/doctor` and `/api/v1/settings`: questions that change nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::{Access, Handles, present, view};
use crate::base::digest::Digest;
use crate::jobs::error::Error;
use crate::model::name::Name;
use crate::model::report::{Finding, Verdict};

/// What to explain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The address as a client asks it.
    url: String,
}

/// `GET /api/v1/explain?url=`.
pub async fn explain(
    State(handles): State<Arc<Handles>>,
    access: Access,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::Explained>, Problem> {
    let told = handles.jobs.explain(&ask.url).await?;
    let content = match told.payload {
        Some(blake3) => handles
            .store
            .show(&Name::Digest(Digest::Blake3(blake3)))
            .await?
            .map(|listed| present::content(listed, access)),
        None => None,
    };
    Ok(Json(present::explained(&ask.url, told, content, access)))
}

/// `GET /api/v1/doctor?url=..&url=..`; without any, all origins that are known. One at a time.
pub async fn doctor(
    State(handles): State<Arc<Handles>>,
    RawQuery(query): RawQuery,
) -> Result<Json<view::Findings>, Problem> {
    let mut urls = Vec::new();
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if key != "url" {
            return Err(Problem::malformed(format!("{key:?} means nothing here: give url=, once or more often")));
        }
        if urls.len() >= crate::jobs::ask::DOCTOR_MAX {
            return Err(Error::Input(format!("give at most {} addresses", crate::jobs::ask::DOCTOR_MAX)).into());
        }
        urls.push(value.into_owned());
    }
    let Ok(_turn) = handles.turns.doctor.try_acquire() else {
        return Err(testing_already());
    };
    // Who names addresses asks about these.
    let counted = if urls.is_empty() { counted(&handles).await } else { None };
    let mut findings = handles.jobs.doctor(urls).await?;
    findings.extend(counted);
    Ok(Json(view::Findings { findings }))
}

/// The path tests go one at a time.
pub(super) fn testing_already() -> Problem {
    let next = "try again when they are over, in a few minutes at most";
    Problem::new(StatusCode::CONFLICT, "the path tests are running for somebody else", next)
}

/// Whether what is counted of endpoints' reports is what counting anew gives; nothing where nobody has reported.
async fn counted(handles: &Handles) -> Option<Finding> {
    let (subject, check) = ("compliance".to_owned(), "counters".to_owned());
    match handles.reported.check().await {
        Ok(differences) if differences.is_empty() => None,
        Ok(differences) => Some(Finding {
            subject,
            check,
            verdict: Verdict::Bad,
            seen: format!(
                "what is counted of endpoints differs: {}",
                differences.into_iter().take(3).collect::<Vec<_>>().join("; ")
            ),
            advice: "restart the node, which counts anew, and report this with its log".into(),
        }),
        Err(error) => Some(Finding {
            subject,
            check,
            verdict: Verdict::Skipped,
            seen: format!("what endpoints reported cannot be read: {error}"),
            advice: "look at the disk of the data directory and into the log".into(),
        }),
    }
}

/// `GET /api/v1/settings`.
pub async fn settings(State(handles): State<Arc<Handles>>) -> Result<Json<Vec<view::Setting>>, Problem> {
    in_force(&handles).await.map(Json)
}

/// The settings as they are in force now, read where that holds up no reactor.
pub(super) async fn in_force(handles: &Handles) -> Result<Vec<view::Setting>, Problem> {
    let view = Arc::clone(&handles.settings);
    tokio::task::spawn_blocking(move || view()).await.map_err(|error| {
        let title = format!("the look at the settings broke off: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, title, "report it with the log of this node")
    })
}
