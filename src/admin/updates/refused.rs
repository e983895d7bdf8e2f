//! `GET /api/v1/updates/refused`: what was not taken, or is held and not offered, with the reason.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::updates::find::beginning;
use crate::admin::view::Time;
use crate::admin::view::updates as view;
use crate::model::update::{Identity, UpdateId};
use crate::store::catalog::Catalog;

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

/// The id that a text means among what is refused: whole, or a beginning as lists show it.
pub(in crate::admin) async fn meant(catalog: &Catalog, text: &str) -> Result<UpdateId, Problem> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let shown: String = text.chars().take(80).collect();
    let wrong = |title: String, next: &str| Problem::new(http::StatusCode::BAD_REQUEST, title, next);
    let Some((first, last)) = beginning(text) else {
        let next = "`waystation updates list --state refused` shows the ids, of which 8 digits or more are enough";
        return Err(wrong(format!("{shown:?} is no id of an update"), next));
    };
    // The list goes on behind a place, and this is the one before all of them.
    let before = u128::from_str_radix(&first.to_string().replace('-', ""), 16).ok().and_then(|id| id.checked_sub(1));
    let after = before.map(|id| Identity { id: UpdateId::new(id.to_be_bytes()), revision: u32::MAX });
    // Revisions of one update stand together.
    let refused = catalog.refused(after, PAGE_MAX).await?;
    let mut ids: Vec<UpdateId> =
        refused.into_iter().map(|row| row.identity.id).filter(|id| (first..=last).contains(id)).collect();
    ids.dedup();
    match ids.as_slice() {
        [one] => Ok(*one),
        [] => Err(wrong(
            format!("nothing that is refused has an id that begins with {shown}"),
            "`waystation updates list --state refused` shows what is",
        )),
        several => Err(wrong(
            format!("{} updates that are refused have ids that begin with {shown}", several.len()),
            "give more of the id",
        )),
    }
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
