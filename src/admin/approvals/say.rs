//! Something is said of updates for groups and endpoints, or withdrawn, or their review goes on.
//!
//! 1. The updates, the groups and the endpoints are found; one that is not there ends it.
//! 2. It is held against each update whether it can be said (a removal of what can be removed, no deadline that has passed).
//! 3. It is written, whole.
//! 4. What stands in the way of its effect is told: a decline, a licence, a review, an update that was withdrawn or is superseded.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::approvals::waits::{self, Known};
use crate::admin::approvals::{ACTIONS, NOT_APPROVED, REVIEWS, deadlines};
use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::Given;
use crate::admin::groups::{self, EFFECT, who};
use crate::admin::updates::ask::moment;
use crate::admin::updates::find;
use crate::admin::view::approvals as view;
use crate::admin::{Caller, Handles, within};
use crate::base::time::Timestamp;
use crate::model::deployment::{Action, Review, Said, Target};
use crate::model::policy::Group;
use crate::model::update::{Update, UpdateId};
use crate::model::windows::Role;
use crate::store::approvals::{Saying, Tree};
use crate::store::catalog::Summary;

/// Names in one request: a month of a large site.
const NAMES_MAX: usize = 1_000;
/// Updates that they may stand for; each is unpacked with its parts.
const UPDATES_MAX: usize = 5_000;

/// Updates that are named, each once.
pub(super) async fn updates(handles: &Handles, names: &[String]) -> Result<Vec<Summary>, Problem> {
    let problem = |title: String, next: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next);
    match names.len() {
        0 => {
            return Err(problem(
                "no update is named".to_owned(),
                "give ids or KBs; `waystation updates search` finds them",
            ));
        }
        many if many > NAMES_MAX => {
            return Err(problem(format!("{many} updates are more than {NAMES_MAX}"), "say it in several steps"));
        }
        _ => {}
    }
    let catalog = handles.store.catalog();
    let (mut found, mut known) = (Vec::<Summary>::new(), BTreeSet::new());
    for name in names {
        for short in find::approvable(&catalog, name).await? {
            if known.insert(short.identity.id) {
                found.push(short);
            }
        }
        if found.len() > UPDATES_MAX {
            let title = format!("what is named stands for more than {UPDATES_MAX} updates; nothing is said of any");
            return Err(problem(title, "say it in several steps"));
        }
    }
    Ok(found)
}

/// Groups and endpoints that are named.
async fn targets(
    handles: &Handles,
    tree: &Tree,
    groups: &[String],
    endpoints: &[String],
) -> Result<Vec<Target>, Problem> {
    let mut targets: Vec<Target> = who::groups(tree, groups)?.into_iter().map(Target::Group).collect();
    if !endpoints.is_empty() {
        let found = who::endpoints(handles, endpoints).await?;
        targets.extend(found.iter().map(|record| Target::Endpoint(record.registration.endpoint)));
    }
    Ok(targets)
}

fn said(asked: &view::SetRequest) -> Result<Said, Problem> {
    let word = asked.action.as_deref().unwrap_or("install").trim().to_ascii_lowercase();
    let deadline = asked.deadline.as_deref().map(|text| moment("deadline", text, true)).transpose()?;
    if word == NOT_APPROVED {
        if deadline.is_some() {
            return Err(Problem::malformed("what is not approved has no deadline"));
        }
        return Ok(Said::NotApproved);
    }
    let action = ACTIONS.into_iter().find(|(_, known)| *known == word).map(|(action, _)| action);
    let action = action.ok_or_else(|| {
        let known: Vec<&str> = ACTIONS.into_iter().map(|(_, word)| word).collect();
        Problem::malformed(format!("action: {word:?} is none of {}, {NOT_APPROVED}", known.join(", ")))
    })?;
    Ok(Said::Do { action, deadline })
}

/// Step 2.
async fn check(handles: &Handles, shorts: Vec<Summary>, said: Said, now: Timestamp) -> Result<Vec<Known>, Problem> {
    let catalog = handles.store.catalog();
    let mut known = Vec::with_capacity(shorts.len());
    for short in shorts {
        let whole = match said {
            // What says that nothing is done needs no look at the parts.
            Said::NotApproved | Said::Inherit => crate::model::relations::Whole::default(),
            Said::Do { .. } => catalog.whole(short.identity).await?,
        };
        let update = Update { deployable: short.deployable, ..Update::new(short.identity, short.kind) };
        said.check(&update, whole.removable, whole.asks_user, now).map_err(|error| {
            let next = format!("nothing is said of any; {} is {}", short.identity.id, short.title);
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), next)
        })?;
        known.push(Known { short, eulas: whole.eulas });
    }
    Ok(known)
}

/// `POST /api/v1/approvals`.
pub async fn set(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    identity: Identity,
    Given(asked): Given<view::SetRequest>,
) -> Result<Json<view::Said>, Problem> {
    let said = said(&asked)?;
    let is_install = matches!(said, Said::Do { action: Action::Install | Action::OptionalInstall, .. });
    if asked.all_files && !is_install {
        return Err(Problem::malformed("all_files is of use for an installation only"));
    }
    let approvals = handles.store.approvals();
    let tree = approvals.tree().await?;
    let targets = targets(&handles, &tree, &asked.groups, &asked.endpoints).await;
    let targets = within::hide(&identity.reach, targets)?;
    if targets.is_empty() {
        let next = "name groups (`all` for all endpoints) or endpoints; `waystation groups list` shows the groups";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "it is not said for whom", next));
    }
    within::targets(&handles, &identity, &tree, &targets).await?;
    let shorts = updates(&handles, &asked.updates).await?;
    let known = check(&handles, shorts, said, handles.clock.now()).await?;
    let updates: Vec<UpdateId> = known.iter().map(|one| one.short.identity.id).collect();
    let (all_files, why) = (asked.all_files, asked.why);
    let saying = Saying { updates, targets: targets.clone(), said, all_files, by: by.clone(), why };
    let changed = approvals.say(saying).await?;
    tracing::info!(
        by,
        updates = known.len(),
        targets = targets.len(),
        changed,
        ?said,
        "updates were approved for some"
    );
    handles.jobs.content_changed();
    handles.jobs.rules_changed();
    Ok(Json(told(&handles, &tree, &known, &targets, said, changed).await?))
}

/// Step 4.
async fn told(
    handles: &Handles,
    tree: &Tree,
    known: &[Known],
    targets: &[Target],
    said: Said,
    changed: u64,
) -> Result<view::Said, Problem> {
    let (waits, mut notes) = waits::of(handles, tree, known, targets, said).await?;
    let is_held = waits.iter().flatten().any(|word| matches!(*word, "licence" | "review"));
    let row = |(one, waits): (&Known, Vec<&str>)| view::SaidOf {
        id: one.short.identity.id.to_string(),
        title: one.short.title.clone(),
        unauthenticated: one.short.unauthenticated,
        waits: waits.into_iter().map(str::to_owned).collect(),
    };
    let rows = known.iter().zip(waits).map(row).collect();
    if let Said::Do { deadline: Some(deadline), .. } = said {
        if is_held {
            notes.push(
                "as long as a licence or a review holds it back, the deadline does not run: it is later by that"
                    .to_owned(),
            );
        }
        notes.extend(servers_note(handles, tree, targets, &deadline.to_string()).await?);
    }
    Ok(view::Said { changed, rows, effect: EFFECT.to_owned(), notes })
}

/// The warning where servers are among those who are to do something by a time.
pub(super) async fn servers_note(
    handles: &Handles,
    tree: &Tree,
    targets: &[Target],
    deadline: &str,
) -> Result<Option<String>, Problem> {
    let servers = servers(handles, tree, targets).await?;
    if servers.many == 0 {
        return Ok(None);
    }
    let (many, some) = (servers.many, servers.names.join(", "));
    let (what, more) =
        (if many == 1 { "server" } else { "servers" }, if many > servers.names.len() { ", ..." } else { "" });
    Ok(Some(format!(
        "{many} {what} among them ({some}{more}), by what they say of themselves: where it is needed there, it is installed by {deadline} \
         whatever they do then, with the restart that it wants; leave the deadline out for groups that have servers"
    )))
}

/// Servers that are named in a warning.
const SERVERS_NAMED: usize = 5;

/// Servers among those that something is said for.
#[derive(Default)]
struct Servers {
    many: usize,
    names: Vec<String>,
}

/// Endpoints are told apart by the role that they register with (domain controllers are servers too), not by what they, or updates, are
/// called. Goes through all of them: a deadline is said by a person.
async fn servers(handles: &Handles, tree: &Tree, targets: &[Target]) -> Result<Servers, Problem> {
    let targets: BTreeSet<Target> = targets.iter().copied().collect();
    let mut found = Servers::default();
    groups::each_endpoint(handles, tree, |record, of| {
        let told = &record.registration;
        if !Role::of(told.os.product).is_some_and(Role::is_server) {
            return;
        }
        let mut above = of.iter().flat_map(|group| tree.groups.up(*group));
        let is_meant = targets.contains(&Target::Endpoint(told.endpoint))
            || above.any(|group| targets.contains(&Target::Group(group)));
        if is_meant {
            found.many += 1;
            if found.names.len() < SERVERS_NAMED {
                found.names.push(told.name.clone());
            }
        }
    })
    .await?;
    Ok(found)
}

/// `POST /api/v1/approvals/withdraw`.
pub async fn withdraw(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    identity: Identity,
    Given(asked): Given<view::WithdrawRequest>,
) -> Result<Json<view::Said>, Problem> {
    let approvals = handles.store.approvals();
    let tree = approvals.tree().await?;
    let named = targets(&handles, &tree, &asked.groups, &asked.endpoints).await;
    let named = within::hide(&identity.reach, named)?;
    within::targets(&handles, &identity, &tree, &named).await?;
    if asked.everywhere {
        within::group(&identity, &tree, Group::ALL_ENDPOINTS)?;
    }
    if named.is_empty() != asked.everywhere {
        let next = "name groups or endpoints, or say `everywhere` for all of whom something was said";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "it is not said from whom", next));
    }
    let shorts = updates(&handles, &asked.updates).await?;
    let known = check(&handles, shorts, Said::Inherit, handles.clock.now()).await?;
    let ids: Vec<UpdateId> = known.iter().map(|one| one.short.identity.id).collect();
    let mut changed = 0;
    let mut told_to: BTreeSet<Target> = named.iter().copied().collect();
    let saying = |updates, targets| Saying {
        updates,
        targets,
        said: Said::Inherit,
        all_files: false,
        by: by.clone(),
        why: String::new(),
    };
    if asked.everywhere {
        for id in ids.iter().copied() {
            let said = approvals.of(vec![id]).await?;
            // A decline is taken back by `updates reset`.
            let said: Vec<Target> =
                said.into_iter().filter(|kept| !kept.declined).map(|kept| kept.approval.target).collect();
            told_to.extend(said.iter().copied());
            for targets in said.chunks(crate::store::approvals::SAID_MAX) {
                changed += approvals.say(saying(vec![id], targets.to_vec())).await?;
            }
        }
    } else {
        changed = approvals.say(saying(ids.clone(), named)).await?;
    }
    tracing::info!(by, updates = known.len(), targets = told_to.len(), changed, "approvals were withdrawn");
    handles.jobs.content_changed();
    handles.jobs.rules_changed();
    let targets: Vec<Target> = told_to.into_iter().collect();
    let mut answer = told(&handles, &tree, &known, &targets, Said::Inherit, changed).await?;
    // What was said further up, with a deadline of then, counts for them again.
    answer.notes.extend(deadlines::notes(&handles, &tree, ids).await?);
    Ok(Json(answer))
}

/// `POST /api/v1/approvals/review`.
pub async fn review(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::ReviewRequest>,
) -> Result<Json<view::Said>, Problem> {
    let state = asked.state.trim().to_ascii_lowercase();
    let state = REVIEWS.into_iter().find(|(_, word)| *word == state).map(|(review, _)| review);
    let state = state
        .ok_or_else(|| Problem::malformed(format!("state: {:?} is none of held, in-test, released", asked.state)))?;
    let approvals = handles.store.approvals();
    let shorts = updates(&handles, &asked.updates).await?;
    let ids: Vec<UpdateId> = shorts.iter().map(|short| short.identity.id).collect();
    let changed = approvals.review(ids.clone(), state, by.clone(), asked.why).await?;
    tracing::info!(by, updates = shorts.len(), changed, ?state, "a review went on");
    handles.jobs.rules_changed();
    let tree = approvals.tree().await?;
    let asks: Vec<String> =
        tree.groups.iter().filter(|node| node.asks_review).map(|node| groups::path(&tree, node.id)).collect();
    let note = if asks.is_empty() {
        "no group asks for a review, so that it changes nothing: `waystation groups change GROUP --review on`"
            .to_owned()
    } else {
        format!("it counts in {}, and below", asks.into_iter().take(10).collect::<Vec<_>>().join(", "))
    };
    let mut notes = vec![note];
    if state != Review::Held {
        notes.extend(deadlines::notes(&handles, &tree, ids).await?);
    }
    let row = |short: Summary| view::SaidOf {
        id: short.identity.id.to_string(),
        title: short.title,
        unauthenticated: short.unauthenticated,
        waits: vec![],
    };
    let rows = shorts.into_iter().map(row).collect();
    Ok(Json(view::Said { changed, rows, effect: EFFECT.to_owned(), notes }))
}
