//! `/api/v1/approvals` and `/api/v1/licences`: what is approved for whom, how far reviews have come, and licences.
//!
//! 1. Updates are found as for `updates approve`, groups and endpoints by [`crate::admin::groups`].
//! 2. What cannot be said of one of them is refused for all ([`say`]); what stands in the way of what can is told
//!    ([`waits`]).
//! 3. The store writes it, and what it means for files is planned anew. What a review or a licence lets has its deadline told
//!    ([`deadlines`]).

pub(in crate::admin) mod deadlines;
pub mod licences;
mod say;
pub(in crate::admin) mod waits;

pub use self::say::{review, set, withdraw};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::groups::{self, who};
use crate::admin::updates::find;
use crate::admin::view::{Time, approvals as view};
use crate::model::deployment::{Action, Endpoint, Review, Said, Target};
use crate::model::policy::Group;
use crate::model::relations::Target as Pointed;
use crate::model::update::UpdateId;
use crate::store::approvals::{Kept, Place, Tree};
use crate::store::catalog::{Catalog, Summary};

/// Rows of a page unless asked otherwise, and the most.
const ROWS: usize = 500;
const ROWS_MAX: usize = 5_000;

/// Rows that are looked through for one page where only some are wanted.
const SOUGHT_MAX: usize = 100_000;

const ACTIONS: [(Action, &str); 4] = [
    (Action::Install, "install"),
    (Action::OptionalInstall, "optional-install"),
    (Action::Uninstall, "uninstall"),
    (Action::PreDeploymentCheck, "detect-only"),
];
const NOT_APPROVED: &str = "not-approved";
const DECLINED: &str = "declined";

const REVIEWS: [(Review, &str); 3] =
    [(Review::Held, "held"), (Review::InTest, "in-test"), (Review::Released, "released")];

fn review_word(review: Review) -> &'static str {
    REVIEWS.into_iter().find(|(known, _)| *known == review).map_or("", |(_, word)| word)
}

fn action_word(kept: &Kept) -> &'static str {
    match kept.approval.said {
        _ if kept.declined => DECLINED,
        Said::Do { action, .. } => ACTIONS.into_iter().find(|(known, _)| *known == action).map_or("", |(_, word)| word),
        Said::NotApproved | Said::Inherit => NOT_APPROVED,
    }
}

/// What a list can be asked; what is not given is not asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Of one update only.
    update: Option<String>,
    /// For one group only, what it inherits left out.
    group: Option<String>,
    /// For one endpoint only, what its groups have left out.
    endpoint: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows wanted.
    limit: Option<usize>,
}

/// A place in a list, as text.
fn cursor(place: Place) -> String {
    let (kind, id) = match place.target {
        Target::Group(group) => ('g', group.0),
        Target::Endpoint(endpoint) => ('e', endpoint.0),
    };
    format!("{}.{kind}.{id}", place.update)
}

fn place(text: &str) -> Result<Place, Problem> {
    let read = || {
        let (update, rest) = text.split_once('.')?;
        let (kind, id) = rest.split_once('.')?;
        let id: UpdateId = id.parse().ok()?;
        let target = match kind {
            "g" => Target::Group(Group(id)),
            "e" => Target::Endpoint(Endpoint(id)),
            _ => return None,
        };
        Some(Place { update: update.parse().ok()?, target })
    };
    read().ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Problem::malformed(format!("after: {shown:?} is not the `next` of a page"))
    })
}

/// `GET /api/v1/approvals`.
pub async fn list(
    State(handles): State<Arc<Handles>>,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::Approvals>, Problem> {
    let approvals = handles.store.approvals();
    let tree = approvals.tree().await?;
    let limit = match ask.limit.unwrap_or(ROWS) {
        0 => return Err(Problem::malformed("limit: a page of 0 rows would never end")),
        limit if limit > ROWS_MAX => return Err(Problem::malformed(format!("limit: {limit} is over {ROWS_MAX}"))),
        limit => limit,
    };
    let mut target = ask.group.as_deref().map(|name| who::group(&tree, name)).transpose()?.map(Target::Group);
    if let Some(name) = &ask.endpoint {
        if target.is_some() {
            return Err(Problem::malformed("ask for a group or for an endpoint, not for both"));
        }
        let found = who::endpoints(&handles, std::slice::from_ref(name)).await?;
        target = found.first().map(|record| Target::Endpoint(record.registration.endpoint));
    }
    let fits = |kept: &Kept| target.is_none_or(|target| kept.approval.target == target);
    let mut after = ask.after.as_deref().map(place).transpose()?;
    let (mut found, mut looked) = (Vec::new(), 0);
    if let Some(name) = &ask.update {
        let updates = find::approvable(&handles.store.catalog(), name).await?;
        let ids = updates.iter().map(|short| short.identity.id).collect();
        found = approvals.of(ids).await?;
        found.retain(fits);
        after = None;
    } else {
        loop {
            let (mut page, next) = approvals.page(after, limit - found.len()).await?;
            looked += page.len();
            page.retain(fits);
            found.extend(page);
            after = next;
            if after.is_none() || found.len() >= limit || looked >= SOUGHT_MAX {
                break;
            }
        }
    }
    let rows = rows(&handles, &tree, found).await?;
    Ok(Json(view::Approvals { rows, next: after.map(cursor) }))
}

/// The short of updates, by id; those that are not held are left out.
async fn shorts(
    catalog: &Catalog,
    ids: impl IntoIterator<Item = UpdateId>,
) -> Result<HashMap<UpdateId, Summary>, Problem> {
    let ids: BTreeSet<UpdateId> = ids.into_iter().collect();
    let targets = ids.into_iter().map(Pointed::Newest).collect();
    let found = catalog.shorts(targets).await?.into_iter().flatten();
    Ok(found.map(|short| (short.identity.id, short)).collect())
}

async fn rows(handles: &Handles, tree: &Tree, found: Vec<Kept>) -> Result<Vec<view::Approval>, Problem> {
    let shorts = shorts(&handles.store.catalog(), found.iter().map(|kept| kept.approval.update)).await?;
    let ids: BTreeSet<UpdateId> = found.iter().map(|kept| kept.approval.update).collect();
    let reviews = handles.store.approvals().reviews(ids.into_iter().collect()).await?;
    let reviews: BTreeMap<UpdateId, Review> =
        reviews.into_iter().map(|step| (step.update, step.reviewed.review)).collect();
    let mut names = BTreeMap::new();
    for kept in &found {
        if let Target::Endpoint(endpoint) = kept.approval.target
            && !names.contains_key(&endpoint)
        {
            let record = handles.store.fleet().endpoint(endpoint).await?;
            names.insert(endpoint, record.map_or_else(|| endpoint.0.to_string(), |record| record.registration.name));
        }
    }
    let row = |kept: Kept| {
        let short = shorts.get(&kept.approval.update);
        let action = action_word(&kept).to_owned();
        let approval = kept.approval;
        let (target, target_id, target_name) = match approval.target {
            Target::Group(group) => {
                let kind = if group == Group::ALL_ENDPOINTS { who::ALL } else { "group" };
                (kind, group.0, groups::path(tree, group))
            }
            Target::Endpoint(endpoint) => ("endpoint", endpoint.0, names.get(&endpoint).cloned().unwrap_or_default()),
        };
        let deadline = match approval.said {
            Said::Do { deadline, .. } => deadline.map(Time),
            Said::NotApproved | Said::Inherit => None,
        };
        view::Approval {
            update: approval.update.to_string(),
            title: short.map(|short| short.title.clone()),
            unauthenticated: short.is_some_and(|short| short.unauthenticated),
            kbs: short.map(|short| short.kbs.clone()).unwrap_or_default(),
            target: target.to_owned(),
            target_id: target_id.to_string(),
            target_name,
            action,
            deadline,
            all_files: kept.all_files,
            by: approval.by,
            at: Time(approval.at),
            why: kept.why,
            review: reviews.get(&approval.update).map(|review| review_word(*review).to_owned()),
        }
    };
    Ok(found.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let id = |at: u8| UpdateId::new([at; 16]);
        for target in [Target::Group(Group(id(2))), Target::Endpoint(Endpoint(id(3)))] {
            let at = Place { update: id(1), target };
            assert_eq!(place(&cursor(at)).unwrap(), at);
        }
        for text in ["", "x", "1.g.2", &format!("{}.x.{}", id(1), id(2))] {
            assert_eq!(place(text).unwrap_err().view().status, 400, "{text}");
        }
    }
}
