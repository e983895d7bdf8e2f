//! Decisions of people: updates approved or declined for all endpoints, and decisions taken back. Bundles are decided as wholes: what is
//! hidden in one is decided with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::approvals::{deadlines, waits};
use crate::admin::error::Problem;
use crate::admin::extract::Given;
use crate::admin::groups::EFFECT;
use crate::admin::updates::{find, words};
use crate::admin::view::policy as view;
use crate::admin::{Caller, Handles};
use crate::model::deployment::{Action, Said, Target};
use crate::model::policy::{Group, Verdict, Why, Word};
use crate::store::catalog::{Deciding, Summary};

/// Names in one request: a month of a large site.
const NAMES_MAX: usize = 1_000;

/// Updates that they may stand for: all are decided in one transaction, which payloads that are being published wait for, and each is
/// judged for the answer.
const UPDATES_MAX: usize = 5_000;

/// `POST /api/v1/updates/approve`.
pub async fn approve(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::DecideRequest>,
) -> Result<Json<view::Decided>, Problem> {
    let all_files = asked.all_files;
    decide(&handles, asked, Deciding::Approve { all_files }, by).await
}

/// `POST /api/v1/updates/decline`.
pub async fn decline(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::DecideRequest>,
) -> Result<Json<view::Decided>, Problem> {
    decide(&handles, asked, Deciding::Decline, by).await
}

/// `POST /api/v1/updates/reset`.
pub async fn reset(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::DecideRequest>,
) -> Result<Json<view::Decided>, Problem> {
    decide(&handles, asked, Deciding::Reset, by).await
}

async fn decide(
    handles: &Handles,
    asked: view::DecideRequest,
    deciding: Deciding,
    by: String,
) -> Result<Json<view::Decided>, Problem> {
    let next = "give ids or KBs; `waystation updates search` finds them";
    match asked.updates.len() {
        0 => return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no update is named", next)),
        many if many > NAMES_MAX => {
            let title = format!("{many} updates are more than {NAMES_MAX}");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "decide them in several steps"));
        }
        _ => {}
    }
    if asked.all_files && !matches!(deciding, Deciding::Approve { .. }) {
        return Err(Problem::malformed("all_files is of use for an approval only"));
    }
    let catalog = handles.store.catalog();
    let (mut found, mut known) = (Vec::<Summary>::new(), BTreeSet::new());
    for name in &asked.updates {
        let approvable = find::approvable(&catalog, name).await;
        let of_several =
            |problem: Problem| if asked.updates.len() > 1 { problem.and_said("nothing is decided") } else { problem };
        for short in approvable.map_err(of_several)? {
            if known.insert(short.identity.id) {
                found.push(short);
            }
        }
        if found.len() > UPDATES_MAX {
            let title = format!(
                "what is named stands for {} updates and more, which are more than {UPDATES_MAX}; none is decided",
                found.len()
            );
            let next = "decide them in several steps: fewer KBs at a time, or ids, which stand for one update each";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next));
        }
    }
    let ids: Vec<_> = found.iter().map(|short| short.identity.id).collect();
    let before = catalog.decisions(ids.clone()).await?;
    let changed = catalog.decide(ids.clone(), deciding.clone(), by.clone(), asked.why).await?;
    tracing::info!(by, updates = ids.len(), changed, "updates were decided");
    handles.jobs.content_changed();
    handles.jobs.rules_changed();
    let numbers: Vec<u32> = found.iter().map(|short| short.number).collect();
    let decisions = catalog.decisions(ids.clone()).await?;
    let for_some = handles.store.approvals().approved(ids.clone()).await?;
    let superseded = catalog.are_superseded(ids.clone()).await?;
    let verdicts = handles.jobs.verdicts(&numbers).await?;
    let policy = handles.jobs.content_policy();
    let is_reset = matches!(deciding, Deciding::Reset);
    let (waits, mut notes) = in_the_way(handles, &found, deciding).await?;
    if is_reset {
        // A deadline that passed while it was declined counts at once, as on a WSUS server: whoever lets it knows by this.
        let tree = handles.store.approvals().tree().await?;
        notes.extend(deadlines::notes(handles, &tree, ids).await?);
    }
    let mut rows = Vec::with_capacity(found.len());
    let judged = found.into_iter().zip(decisions).zip(superseded).zip(for_some).zip(verdicts).zip(before).zip(waits);
    for ((((((short, said), superseded), for_some), verdict), before), waits) in judged {
        let had_all = before.is_some_and(|before| before.word == Word::Approved && before.all_files);
        let less = had_all && said.as_ref().is_some_and(|said| said.word == Word::Approved && !said.all_files);
        let state = words::state(&short, superseded);
        rows.push(view::DecidedUpdate {
            id: short.identity.id.to_string(),
            decision: words::decision(said.as_ref(), for_some, state, &policy),
            less,
            waits: waits.into_iter().map(str::to_owned).collect(),
            files: verdict.map(files),
            unauthenticated: short.unauthenticated,
            title: short.title,
        });
    }
    Ok(Json(view::Decided { changed, rows, effect: EFFECT.to_owned(), notes }))
}

/// What an approval waits for, as `approvals set` tells it; nothing for what is no approval.
async fn in_the_way(
    handles: &Handles,
    found: &[Summary],
    deciding: Deciding,
) -> Result<(Vec<Vec<&'static str>>, Vec<String>), Problem> {
    if !matches!(deciding, Deciding::Approve { .. }) {
        return Ok((vec![Vec::new(); found.len()], Vec::new()));
    }
    let catalog = handles.store.catalog();
    let mut known = Vec::with_capacity(found.len());
    for short in found {
        let eulas = catalog.whole(short.identity).await?.eulas;
        known.push(waits::Known { short: short.clone(), eulas });
    }
    let tree = handles.store.approvals().tree().await?;
    let said = Said::Do { action: Action::Install, deadline: None };
    waits::of(handles, &tree, &known, &[Target::Group(Group::ALL_ENDPOINTS)], said).await
}

/// The same of an update of which endpoints read files in parts, or do not: whoever thinks of approving it knows that before.
pub(super) fn files_of(verdict: Verdict, in_parts: bool) -> view::FilesWanted {
    let mut told = files(verdict);
    if in_parts && verdict.why == Why::NotApproved {
        told.why.push_str(
            "; endpoints read its express, PSF or UUP files in parts, so that an approval has them come when asked for, and one with \
             --all-files has all of them fetched",
        );
    }
    told
}

/// What the content policy makes of an update, in words.
pub(super) fn files(verdict: Verdict) -> view::FilesWanted {
    view::FilesWanted { wants: verdict.wants.word().to_owned(), why: verdict.why.words().to_owned() }
}
