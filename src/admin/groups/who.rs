//! The groups and endpoints that a person names.

use std::collections::BTreeSet;

use crate::admin::Handles;
use crate::admin::endpoints::meant;
use crate::admin::error::Problem;
use crate::admin::groups::refused;
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::Tree;
use crate::store::fleet::Record;

/// All endpoints, as people name them; a group that was made has no right to the name where it stands below them.
pub(in crate::admin) const ALL: &str = "all";
/// Those in no other group.
pub(in crate::admin) const NOWHERE: &str = "unassigned";
/// How an endpoint is found.
pub(in crate::admin) const FIND: &str =
    "name endpoints by their DNS names, with or without the domain, or by the ids of their agents";

/// The group of a name, a path or an id.
pub(in crate::admin) fn group(tree: &Tree, name: &str) -> Result<Group, Problem> {
    let name = name.trim();
    if name.eq_ignore_ascii_case(ALL) || name.eq_ignore_ascii_case("all endpoints") {
        return Ok(Group::ALL_ENDPOINTS);
    }
    if name.eq_ignore_ascii_case(NOWHERE) {
        return Ok(UNASSIGNED);
    }
    if let Ok(id) = name.parse::<UpdateId>() {
        let group = Group(id);
        if tree.groups.get(group).is_some() || group == Group::ALL_ENDPOINTS || group == UNASSIGNED {
            return Ok(group);
        }
    }
    tree.groups.called(name).map_err(|error| refused(&error))
}

/// Several of them, each once.
pub(in crate::admin) fn groups(tree: &Tree, names: &[String]) -> Result<Vec<Group>, Problem> {
    let found: BTreeSet<Group> = names.iter().map(|name| group(tree, name)).collect::<Result<_, _>>()?;
    Ok(found.into_iter().collect())
}

/// Endpoints that are known, each once; where one of the names is nobody's, or can be several ones', none.
pub(in crate::admin) async fn endpoints(handles: &Handles, names: &[String]) -> Result<Vec<Record>, Problem> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    meant::all(handles, names).await
}
