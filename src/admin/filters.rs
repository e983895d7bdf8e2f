//! `/api/v1/filters`: what of Microsoft's catalog is wanted, looked at, set at run time and taken back.
//!
//! What is set is kept as ids, which never change, in the node's local layer of settings; names are resolved in the catalog as
//! it is, and what it does not know is refused with what may have been meant.
//!
//! 1. [`change`] makes the list that a key is to have out of what was asked;
//! 2. the node's settings take it;
//! 3. [`tell`] says what is wanted then, and what there is to choose from.

mod change;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::bandwidth::Refused;
use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::filters::change::changed;
use crate::admin::filters::tell::{languages, rows, selection, setting, told};
use crate::admin::view::filters::{self as view, SetRequest};
use crate::admin::{Caller, Handles, ask};
use crate::model::settings::{Raw, SettingError};
use crate::model::update::{CategoryKind, Kind, UpdateId};
use crate::store::catalog::{Catalog, PAGE_MAX, Query};

/// What can be chosen, and what it stands below.
const CATEGORIES: [CategoryKind; 5] = [
    CategoryKind::Company,
    CategoryKind::Family,
    CategoryKind::Product,
    CategoryKind::Classification,
    CategoryKind::Other,
];

/// What there is to set.
const KEYS: [&str; 3] = ["products", "classifications", "languages"];

/// What to do about a name that is not known.
const LOOK: &str = "`waystation filters list --available` shows what the catalog has; a new node knows few products before its \
                    first synchronisation (`waystation sync start`)";

/// `GET /api/v1/filters`.
pub async fn show(State(handles): State<Arc<Handles>>) -> Result<Json<view::Filters>, Problem> {
    present(&handles).await.map(Json)
}

/// `GET /api/v1/filters/available`: the tree, from the top, each behind what it stands below.
pub async fn available(State(handles): State<Arc<Handles>>) -> Result<Json<Vec<view::Available>>, Problem> {
    let settings = ask::in_force(&handles).await?;
    let catalog = handles.store.catalog();
    let tree = catalog.tree().await?;
    let mut rows = aside(move || {
        let (filters, _) = selection(&settings).in_force(&tree);
        let mut rows = rows(&tree, &filters);
        rows.extend(languages(&filters));
        rows
    })
    .await?;
    let doubtful: BTreeSet<String> = doubtful(&catalog).await?.iter().map(ToString::to_string).collect();
    for row in &mut rows {
        row.unauthenticated = doubtful.contains(&row.id);
    }
    Ok(Json(rows))
}

/// `POST /api/v1/filters/{key}`.
pub async fn set(
    State(handles): State<Arc<Handles>>,
    Named(key): Named<String>,
    Caller(by): Caller,
    Given(asked): Given<SetRequest>,
) -> Result<Json<view::Filters>, Problem> {
    let key = known(&key)?;
    let settings = ask::in_force(&handles).await?;
    let tree = handles.store.catalog().tree().await?;
    let list = aside(move || {
        let (now, _) = selection(&settings).in_force(&tree);
        changed(key, &asked, &now, &tree)
    })
    .await??;
    change(&handles, key, Some(Raw::List(list)), by).await?;
    present(&handles).await.map(Json)
}

/// `DELETE /api/v1/filters/{key}`.
pub async fn reset(
    State(handles): State<Arc<Handles>>,
    Named(key): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Filters>, Problem> {
    change(&handles, known(&key)?, None, by).await?;
    present(&handles).await.map(Json)
}

/// `DELETE /api/v1/filters`: all of them, but those that are fixed elsewhere.
pub async fn reset_all(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
) -> Result<Json<view::Filters>, Problem> {
    let settings = ask::in_force(&handles).await?;
    for key in KEYS {
        let locked = setting(&settings, key).is_some_and(|setting| setting.locked);
        if !locked {
            change(&handles, key, None, by.clone()).await?;
        }
    }
    present(&handles).await.map(Json)
}

/// Names are compared where that holds up no reactor: there may be thousands on either side.
async fn aside<V: Send + 'static>(work: impl FnOnce() -> V + Send + 'static) -> Result<V, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let title = format!("the look at the filters broke off: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, title, "report it with the log of this node")
    })
}

fn known(key: &str) -> Result<&'static str, Problem> {
    KEYS.into_iter().find(|known| *known == key).ok_or_else(|| {
        let shown: String = key.chars().take(40).collect();
        let title = format!("there is no filter {shown:?}");
        Problem::new(StatusCode::NOT_FOUND, title, "the filters are products, classifications and languages")
    })
}

async fn change(handles: &Handles, key: &str, value: Option<Raw>, by: String) -> Result<(), Problem> {
    let Some(changing) = &handles.filters else {
        let title = "no node runs whose filters could be changed";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            title,
            "start it, or write it into waystation.toml",
        ));
    };
    changing(key.to_owned(), value, by).await.map_err(|refused| match refused {
        Refused::Value(title) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "correct it and send it again"),
        Refused::Setting(SettingError::Startup { .. } | SettingError::Unknown { .. }) => {
            Problem::new(StatusCode::NOT_FOUND, refused.to_string(), LOOK)
        }
        other => other.into(),
    })
}

async fn present(handles: &Handles) -> Result<view::Filters, Problem> {
    let settings = ask::in_force(handles).await?;
    let catalog = handles.store.catalog();
    let tree = catalog.tree().await?;
    let is_empty = catalog.standing().await?.updates == 0;
    let unauthenticated = !doubtful(&catalog).await?.is_empty();
    let told = aside(move || told(&settings, &tree, is_empty)).await?;
    let beyond = handles.jobs.beyond_filters().await?.map(|(beyond, _)| beyond);
    let (beyond_approved, beyond_needed) =
        (beyond.map_or(0, |beyond| beyond.approved), beyond.and_then(|beyond| beyond.needed));
    let beyond = beyond.map(|beyond| beyond.all);
    Ok(view::Filters { beyond, beyond_approved, beyond_needed, unauthenticated, ..told })
}

/// Categories that nobody proven has said.
async fn doubtful(catalog: &Catalog) -> Result<BTreeSet<UpdateId>, Problem> {
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let kinds = CATEGORIES.map(Kind::Category).to_vec();
        let query = Query { kinds, hidden: true, after, limit: PAGE_MAX, ..Query::default() };
        let page = catalog.search(query).await?;
        let doubtful = page.hits.iter().filter(|hit| hit.summary.unauthenticated);
        found.extend(doubtful.map(|hit| hit.summary.identity.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}
