//! `/api/v1/audit`: what was changed, by whom.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::view::{Time, accounts as view};
use crate::base::hex;
use crate::store::accounts::audit::{Numbered, PAGE_MAX};

/// Rows of a page unless asked otherwise.
const ROWS: usize = 50;

/// What `list` can be asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Only entries of lower numbers.
    before: Option<u64>,
    /// Rows of the page.
    limit: Option<usize>,
}

fn row(numbered: Numbered) -> view::AuditRow {
    let Numbered { number, hash, entry } = numbered;
    let Some(entry) = entry else {
        let what = "(this entry cannot be read)".to_owned();
        return view::AuditRow { number, hash: hex::encode(&hash), what, ..view::AuditRow::default() };
    };
    view::AuditRow {
        number,
        hash: hex::encode(&hash),
        at: Time(entry.at),
        who: entry.who,
        from: entry.from,
        what: entry.what,
        target: entry.target,
        outcome: entry.outcome,
        asked: entry.asked,
        before: entry.before,
        after: entry.after,
    }
}

/// `GET /api/v1/audit`.
pub async fn list(State(handles): State<Arc<Handles>>, Asked(asked): Asked<Ask>) -> Result<Json<view::Audit>, Problem> {
    let limit = asked.limit.unwrap_or(ROWS).clamp(1, PAGE_MAX);
    let found = handles.door.accounts().entries(asked.before, limit).await?;
    let next = found.last().filter(|last| found.len() == limit && last.number > 1).map(|last| last.number);
    Ok(Json(view::Audit { rows: found.into_iter().map(row).collect(), next }))
}

/// `GET /api/v1/audit/check`.
pub async fn check(State(handles): State<Arc<Handles>>) -> Result<Json<view::AuditChecked>, Problem> {
    let _turn = handles.turns.listing.acquire().await;
    let checked = handles.door.accounts().check().await?;
    if let Some(broken) = &checked.broken {
        tracing::error!(broken, "the audit log is not what was written");
    }
    Ok(Json(view::AuditChecked {
        entries: checked.entries,
        first: checked.span.map(|span| span.0),
        last: checked.span.map(|span| span.1),
        head: hex::encode(&checked.head),
        whole: checked.broken.is_none(),
        broken: checked.broken,
    }))
}
