//! `/api/v1/content`: what is held; looked at, pinned, removed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Named};
use crate::admin::{Access, Caller, Handles, present, view};
use crate::base::digest::Blake3;
use crate::store::Listed;

/// Rows of a page unless asked otherwise, and at most.
const ROWS: usize = 100;
const ROWS_MAX: usize = 1000;

/// Payloads that one filtered page looks at: bounds the time of a question that matches little in a store of millions.
/// The page is then short and has a `next`.
const LOOKED_AT_MAX: usize = 50_000;

/// Payloads read from the index at a time.
const STRIDE: usize = 1000;

/// What `list` can be asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows wanted.
    limit: Option<usize>,
    /// Text that a name, the catalog's name of the file, or a digest must have in it; case does not count.
    filter: Option<String>,
    /// `proven` or `unproven`.
    class: Option<String>,
    /// Pinned only, or not pinned only.
    pinned: Option<bool>,
}

/// `GET /api/v1/content`.
pub async fn list(
    State(handles): State<Arc<Handles>>,
    access: Access,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::Page<view::Content>>, Problem> {
    let after = ask.after.as_deref().map(str::parse::<Blake3>).transpose();
    let mut after = after.map_err(|error| Problem::malformed(format!("after: {error}")))?;
    let limit = match ask.limit.unwrap_or(ROWS) {
        0 => return Err(Problem::malformed("limit: a page of 0 rows would never end")),
        limit if limit > ROWS_MAX => return Err(Problem::malformed(format!("limit: {limit} is over {ROWS_MAX}"))),
        limit => limit,
    };
    if let Some(class) = ask.class.as_deref().filter(|class| !matches!(*class, "proven" | "unproven")) {
        return Err(Problem::malformed(format!("class: {class:?} is neither proven nor unproven")));
    }
    let sieve = Sieve { text: ask.filter.as_deref().map(str::to_lowercase), class: ask.class, pinned: ask.pinned };
    let stride = if sieve.lets_all_through() { limit } else { STRIDE };
    let mut page = view::Page { rows: Vec::new(), next: None };
    let mut looked_at = 0;
    loop {
        // A turn for each stretch, so that a short page need not wait for the end of a long search. It is never closed.
        let turn = handles.turns.listing.acquire().await;
        let batch = named(&handles, handles.store.list(after, stride).await?).await?;
        drop(turn);
        let last = batch.len() < stride;
        looked_at += batch.len();
        let count = batch.len();
        for (at, (listed, file)) in batch.into_iter().enumerate() {
            after = Some(listed.payload.digests.blake3);
            // Sifted as it is shown: a filter must not find out what the rows do not tell.
            let row = view::Content { file, ..present::content(listed, access) };
            if sieve.lets_through(&row) {
                page.rows.push(row);
            }
            if page.rows.len() == limit && !(last && at + 1 == count) {
                page.next = after.map(|digest| digest.to_string());
                return Ok(Json(page));
            }
        }
        if last {
            return Ok(Json(page));
        }
        if looked_at >= LOOKED_AT_MAX {
            page.next = after.map(|digest| digest.to_string());
            return Ok(Json(page));
        }
    }
}

/// Payloads with what the catalog calls them: what came by its digest alone has no other name.
async fn named(handles: &Handles, batch: Vec<Listed>) -> Result<Vec<(Listed, Option<String>)>, Problem> {
    let sha1s = batch.iter().map(|listed| listed.payload.digests.sha1).collect();
    let names = handles.store.catalog().file_names(sha1s).await?;
    Ok(batch.into_iter().zip(names).collect())
}

/// One payload with what the catalog calls it.
async fn whole(handles: &Handles, listed: Listed, access: Access) -> Result<view::Content, Problem> {
    let file = named(handles, vec![listed.clone()]).await?.pop().and_then(|(_, file)| file);
    Ok(view::Content { file, ..present::content(listed, access) })
}

struct Sieve {
    text: Option<String>,
    class: Option<String>,
    pinned: Option<bool>,
}

impl Sieve {
    fn lets_all_through(&self) -> bool {
        self.text.is_none() && self.class.is_none() && self.pinned.is_none()
    }

    fn lets_through(&self, row: &view::Content) -> bool {
        let text = self.text.as_ref().is_none_or(|text| {
            [&row.blake3, &row.sha256, &row.sha1].into_iter().any(|digest| digest.contains(text.as_str()))
                || row.names.iter().chain(&row.file).any(|name| name.to_lowercase().contains(text.as_str()))
        });
        let class = self.class.as_ref().is_none_or(|class| row.class == *class);
        text && class && self.pinned.is_none_or(|pinned| row.pinned.is_some() == pinned)
    }
}

/// `GET /api/v1/content/{digest or address}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    access: Access,
    Named(name): Named<String>,
) -> Result<Json<view::Content>, Problem> {
    whole(&handles, handles.jobs.held(&name).await?, access).await.map(Json)
}

/// `POST /api/v1/content/{digest or address}/pin`.
pub async fn pin(
    State(handles): State<Arc<Handles>>,
    access: Access,
    Named(name): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Content>, Problem> {
    let blake3 = identity(&handles.jobs.held(&name).await?);
    handles.store.pin(blake3, &by).await?;
    tracing::info!(%blake3, by, "payload pinned");
    as_it_is(&handles, blake3, access).await
}

/// `POST /api/v1/content/{digest or address}/unpin`.
pub async fn unpin(
    State(handles): State<Arc<Handles>>,
    access: Access,
    Named(name): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Content>, Problem> {
    let blake3 = identity(&handles.jobs.held(&name).await?);
    handles.store.unpin(blake3).await?;
    tracing::info!(%blake3, by, "payload unpinned");
    as_it_is(&handles, blake3, access).await
}

/// `DELETE /api/v1/content/{digest or address}`: answers with what was removed, and what is bound still.
pub async fn remove(
    State(handles): State<Arc<Handles>>,
    access: Access,
    Named(name): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Content>, Problem> {
    let listed = handles.jobs.held(&name).await?;
    if let Some(pin) = &listed.pinned {
        return Err(Problem::new(
            http::StatusCode::CONFLICT,
            format!("it was pinned by {} at {}", pin.by, pin.at),
            "take the pin away first: `waystation content unpin`",
        ));
    }
    let blake3 = identity(&listed);
    let bound = handles.jobs.remove(&listed).await?;
    tracing::info!(%blake3, by, "payload removed");
    let still_bound = bound.iter().map(|name| access.name(name)).collect();
    Ok(Json(view::Content { still_bound, ..whole(&handles, listed, access).await? }))
}

/// A payload after a change.
async fn as_it_is(handles: &Handles, blake3: Blake3, access: Access) -> Result<Json<view::Content>, Problem> {
    whole(handles, handles.jobs.held(&format!("blake3-{blake3}")).await?, access).await.map(Json)
}

fn identity(listed: &Listed) -> Blake3 {
    listed.payload.digests.blake3
}
