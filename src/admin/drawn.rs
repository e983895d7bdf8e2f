//! `/api/v1/prefetch/detected` and `confirm`: what comes since endpoints miss it, and the yes that large updates wait for.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given};
use crate::admin::updates;
use crate::admin::view::policy as view;
use crate::admin::{Caller, Handles};
use crate::jobs::drawn::{Confirmed, Line, Standing};
use crate::model::drawn::Turn;
use crate::model::policy::level_word;
use crate::model::update::UpdateId;

/// Which update is meant; without one all are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    update: Option<String>,
}

/// `GET /api/v1/prefetch/detected`: looked at now.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::Detected>, Problem> {
    let standing = handles.jobs.look_at_missing().await?;
    let standing = standing.ok_or_else(|| {
        let title = "nothing comes since endpoints miss it: content.detected is off";
        Problem::new(
            StatusCode::CONFLICT,
            title,
            "set it to the least severity, such as \"critical\", and reload (SIGHUP)",
        )
    })?;
    let mut told = present(&standing, true);
    if let Some(name) = ask.update {
        let meant = updates::find::approvable(&handles.store.catalog(), &name).await?;
        let meant: BTreeSet<String> = meant.iter().map(|short| short.identity.id.to_string()).collect();
        told.updates.retain(|update| meant.contains(&update.id));
    }
    Ok(Json(told))
}

/// `POST /api/v1/prefetch/confirm`: agrees to so many bytes of one update. 409 where it waits for nobody, or more is missing by now.
pub async fn confirm(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(seen): Given<view::ConfirmDetected>,
) -> Result<Json<view::DetectedUpdate>, Problem> {
    let update: UpdateId = seen.update.parse().map_err(|_| {
        Problem::malformed(format!("update: {:?} is no id", seen.update.chars().take(40).collect::<String>()))
    })?;
    let refused =
        |title: String| Problem::new(StatusCode::CONFLICT, title, "`waystation prefetch status` tells what waits");
    match handles.jobs.confirm_drawn(update, seen.bytes, &by).await? {
        Confirmed::Agreed(line) => Ok(Json(one(&line))),
        Confirmed::Larger(line) => Err(refused(format!(
            "{} bytes of {update} are missing by now, and not {}: nothing is confirmed",
            line.candidate.bytes, seen.bytes
        ))),
        Confirmed::NotAwaited => Err(refused(format!("{update} does not wait to be confirmed"))),
    }
}

fn one(line: &Line) -> view::DetectedUpdate {
    let of = &line.candidate;
    view::DetectedUpdate {
        id: of.update.to_string(),
        title: of.title.clone(),
        unauthenticated: of.unauthenticated,
        severity: level_word(of.severity).to_owned(),
        endpoints: of.endpoints,
        files: of.files,
        bytes: of.bytes,
        state: line.turn.word().to_owned(),
        confirmed_by: line.agreed.as_ref().map(|agreed| agreed.by.clone()),
    }
}

/// How it stands; with the updates where they are asked for.
pub(super) fn present(standing: &Standing, has_updates: bool) -> view::Detected {
    let sum = |turn: Turn| {
        let of = standing.lines.iter().filter(|line| line.turn == turn);
        of.fold(view::DetectedSum::default(), |sum, line| view::DetectedSum {
            updates: sum.updates + 1,
            bytes: sum.bytes.saturating_add(line.candidate.bytes),
        })
    };
    view::Detected {
        severity: standing.terms.least.map(level_word).unwrap_or_default().to_owned(),
        daily: standing.terms.daily,
        spent: standing.spent,
        ask_above: standing.terms.ask_above,
        comes: sum(Turn::Comes),
        waits_for_budget: sum(Turn::WaitsForBudget),
        waits_for_confirmation: sum(Turn::WaitsForYes),
        updates: if has_updates { standing.lines.iter().map(one).collect() } else { vec![] },
    }
}
