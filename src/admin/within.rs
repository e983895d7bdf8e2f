//! What somebody who is bound to groups may see and change: what is in those groups and in the groups below them.
//!
//! A route of the table that is [`crate::admin::rights::Bound::Within`] asks here; what is outside looks as if it were not there.

use http::StatusCode;

use crate::admin::Handles;
use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::fleet::belong;
use crate::model::access::Reach;
use crate::model::deployment::Target;
use crate::model::policy::Group;
use crate::store::approvals::Tree;
use crate::store::fleet::Record;

fn outside(what: &str) -> Problem {
    let title = format!("{what} is not among the groups that the account is bound to");
    Problem::new(
        StatusCode::FORBIDDEN,
        title,
        "`waystation groups list` shows those; an administrator can bind it to others",
    )
}

/// That a group is within reach.
pub(in crate::admin) fn group(identity: &Identity, tree: &Tree, group: Group) -> Result<(), Problem> {
    if identity.reach.has(group, &tree.groups) { Ok(()) } else { Err(outside("a group that is named")) }
}

/// Whether an endpoint is: one of its groups is enough, as for what is approved for it.
pub(in crate::admin) async fn has(
    handles: &Handles,
    identity: &Identity,
    tree: &Tree,
    record: &Record,
) -> Result<bool, Problem> {
    if identity.reach.is_everywhere() {
        return Ok(true);
    }
    let placed = handles.store.approvals().placed(vec![record.registration.endpoint]).await?;
    let placed = placed.into_iter().next().unwrap_or_default();
    let (groups, _) = belong::groups(Some(record), &placed, &tree.groups);
    Ok(groups.into_iter().any(|group| identity.reach.has(group, &tree.groups)))
}

/// The endpoint that was found, or the same answer as where there is none: that it is there is known to nobody outside.
pub(in crate::admin) async fn record(
    handles: &Handles,
    identity: &Identity,
    found: Result<Record, Problem>,
) -> Result<Record, Problem> {
    if identity.reach.is_everywhere() {
        return found;
    }
    let tree = handles.store.approvals().tree().await?;
    if let Ok(record) = found
        && has(handles, identity, &tree, &record).await?
    {
        return Ok(record);
    }
    let title = "no endpoint of this name is in the groups that the account is bound to, or several are";
    Err(Problem::new(StatusCode::NOT_FOUND, title, "give its id"))
}

/// What was found by the names that somebody gave. What does not go well says no more to who is bound than that it is not there: a text that
/// can mean several is told with all of them, those of others too.
pub(in crate::admin) fn hide<T>(reach: &Reach, found: Result<T, Problem>) -> Result<T, Problem> {
    if reach.is_everywhere() {
        return found;
    }
    found.map_err(|_| {
        let title = "one of the names means nothing in the groups that the account is bound to, or several things";
        Problem::new(
            StatusCode::FORBIDDEN,
            title,
            "give ids, as `waystation groups list` and `endpoints list` show them",
        )
    })
}

/// That all of these are.
pub(in crate::admin) async fn targets(
    handles: &Handles,
    identity: &Identity,
    tree: &Tree,
    targets: &[Target],
) -> Result<(), Problem> {
    if identity.reach.is_everywhere() {
        return Ok(());
    }
    for target in targets {
        match target {
            Target::Group(named) => group(identity, tree, *named)?,
            Target::Endpoint(endpoint) => {
                let known = handles.store.fleet().endpoint(*endpoint).await?;
                let is_within = match &known {
                    Some(record) => has(handles, identity, tree, record).await?,
                    None => false,
                };
                if !is_within {
                    return Err(outside("an endpoint that is named"));
                }
            }
        }
    }
    Ok(())
}

/// The groups that a question is about: those of `named` and below it, or all, as far as they are within reach; `None` for everything.
pub(in crate::admin) fn groups(reach: &Reach, tree: &Tree, named: Group) -> Option<std::collections::BTreeSet<Group>> {
    let all = named == Group::ALL_ENDPOINTS;
    match reach {
        Reach::Everywhere if all => None,
        Reach::Everywhere => Some(tree.groups.below(named).into_iter().collect()),
        Reach::Groups(own) if all => Some(own.iter().flat_map(|group| tree.groups.below(*group)).collect()),
        Reach::Groups(_) => {
            Some(tree.groups.below(named).into_iter().filter(|group| reach.has(*group, &tree.groups)).collect())
        }
    }
}
