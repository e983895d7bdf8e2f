//! Licences: which approved updates wait for one, and that somebody accepts it. An act of its own: nothing else implies it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::approvals::{deadlines, say, shorts};
use crate::admin::error::Problem;
use crate::admin::extract::Given;
use crate::admin::groups::EFFECT;
use crate::admin::view::{Time, approvals as view};
use crate::admin::{Caller, Handles};
use crate::model::deployment::{Acceptance, Action, Said};
use crate::model::update::UpdateId;

/// Approved updates that are looked at, each unpacked with its parts.
const LOOKED_MAX: usize = 5_000;
/// Rows of approvals that are read at a time.
const STEP: usize = 1_000;

/// Updates that somebody is to install, the first of them; and whether these are all.
async fn approved(handles: &Handles) -> Result<(BTreeSet<UpdateId>, bool), Problem> {
    let approvals = handles.store.approvals();
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let (page, next) = approvals.page(after, STEP).await?;
        for kept in page {
            if matches!(kept.approval.said, Said::Do { action: Action::Install | Action::OptionalInstall, .. }) {
                found.insert(kept.approval.update);
            }
        }
        after = next;
        if after.is_none() || found.len() >= LOOKED_MAX {
            return Ok((found, after.is_none()));
        }
    }
}

/// `GET /api/v1/licences`.
pub async fn list(State(handles): State<Arc<Handles>>) -> Result<Json<view::Licences>, Problem> {
    let catalog = handles.store.catalog();
    let (approved, is_all) = approved(&handles).await?;
    let mut licences: BTreeMap<UpdateId, view::Licence> = BTreeMap::new();
    let row = |eula: UpdateId| view::Licence { id: eula.to_string(), ..view::Licence::default() };
    for Acceptance { eula, by, at } in handles.store.approvals().licences().await? {
        licences.insert(eula, view::Licence { by: Some(by), at: Some(Time(at)), ..row(eula) });
    }
    for short in shorts(&catalog, approved).await?.into_values() {
        let _turn = handles.turns.listing.acquire().await;
        for eula in catalog.whole(short.identity).await?.eulas {
            let licence = licences.entry(eula).or_insert_with(|| row(eula));
            let (id, title) = (short.identity.id.to_string(), short.title.clone());
            licence.updates.push(view::LicencedUpdate { id, title, unauthenticated: short.unauthenticated });
        }
    }
    let mut rows: Vec<view::Licence> = licences.into_values().collect();
    for row in &mut rows {
        row.updates.sort_by(|a, b| a.title.cmp(&b.title).then_with(|| a.id.cmp(&b.id)));
    }
    // What waits stands first.
    rows.sort_by_key(|row| row.by.is_some());
    Ok(Json(view::Licences { rows, cut: !is_all }))
}

/// `POST /api/v1/licences/accept`.
pub async fn accept(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::AcceptRequest>,
) -> Result<Json<view::Accepted>, Problem> {
    let problem = |title: String, next: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next);
    let mut eulas: BTreeSet<UpdateId> = BTreeSet::new();
    for id in &asked.licences {
        let id = id.trim().parse::<UpdateId>();
        let next = "`waystation approvals license list` shows licences that are waited for";
        eulas.insert(id.map_err(|error| problem(format!("the id of a licence is none: {error}"), next))?);
    }
    if !asked.updates.is_empty() || asked.licences.is_empty() {
        for short in say::updates(&handles, &asked.updates).await? {
            let whole = handles.store.catalog().whole(short.identity).await?;
            if whole.eulas.is_empty() {
                let title = format!("{} ({}) needs no licence", short.identity.id, short.title);
                return Err(problem(title, "leave it out; no licence is accepted"));
            }
            eulas.extend(whole.eulas);
        }
    }
    let eulas: Vec<UpdateId> = eulas.into_iter().collect();
    let accepted = handles.store.approvals().accept(eulas.clone(), by.clone()).await?;
    tracing::info!(by, licences = eulas.len(), accepted, "licences were accepted");
    handles.jobs.rules_changed();
    let tree = handles.store.approvals().tree().await?;
    let mut notes = vec![];
    if accepted > 0 {
        let mut held = Vec::new();
        for short in shorts(&handles.store.catalog(), deadlines::dated(&handles).await?).await?.into_values() {
            let whole = handles.store.catalog().whole(short.identity).await?;
            if whole.eulas.iter().any(|eula| eulas.contains(eula)) {
                held.push(short.identity.id);
            }
        }
        notes = deadlines::notes(&handles, &tree, held).await?;
    }
    let licences = eulas.into_iter().map(|eula| eula.to_string()).collect();
    Ok(Json(view::Accepted { accepted, licences, effect: EFFECT.to_owned(), notes }))
}
