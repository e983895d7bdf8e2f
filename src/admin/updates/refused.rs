//! `GET /api/v1/updates/refused`: what was not taken, or is held and not offered, with the reason.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::view::Time;
use crate::admin::view::updates as view;
use crate::model::update::Identity;

/// Rows on one page, unless told otherwise, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/updates/refused`, in the order of ids.
pub async fn list(
    State(handles): State<Arc<Handles>>,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::RefusedPage>, Problem> {
    let limit = ask.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let after = ask.after.as_deref().map(place).transpose()?;
    let catalog = handles.store.catalog();
    let refused = catalog.refused(after, limit).await?;
    let next = refused.last().filter(|_| refused.len() == limit).map(|last| last.identity.to_string());
    let mut rows = Vec::with_capacity(refused.len());
    for row in refused {
        let held = match catalog.number(row.identity).await? {
            Some(number) => catalog.summaries(vec![number]).await?.pop(),
            None => None,
        };
        rows.push(view::Refused {
            id: row.identity.id.to_string(),
            revision: row.identity.revision,
            at: Time(row.at),
            reason: row.reason,
            stays: row.stays,
            held: held.is_some(),
            title: held.map(|held| held.title),
        });
    }
    let total = catalog.standing().await?.refused;
    Ok(Json(view::RefusedPage { rows, total, next }))
}

/// An id with its revision, as a page before gave it.
fn place(text: &str) -> Result<Identity, Problem> {
    let parts = text.split_once('/').and_then(|(id, revision)| Some((id.parse().ok()?, revision.parse().ok()?)));
    let Some((id, revision)) = parts else {
        return Err(Problem::malformed(
            "`after` is no place in the list: give what a page before said as `next`".to_owned(),
        ));
    };
    Ok(Identity { id, revision })
}
