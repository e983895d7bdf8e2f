//! The groups and endpoints that a person names.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::admin::groups::refused;
use crate::model::deployment::Endpoint;
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::Tree;
use crate::store::fleet::{PAGE_MAX, Record};

/// All endpoints, as people name them; a group that was made has no right to the name where it stands below them.
pub(in crate::admin) const ALL: &str = "all";
/// Those in no other group.
pub(in crate::admin) const NOWHERE: &str = "unassigned";
/// How an endpoint is found.
pub(in crate::admin) const FIND: &str =
    "name endpoints by their DNS names, with or without the domain, or by the ids of their agents";

/// Names in one request.
const NAMES_MAX: usize = 5_000;
/// Endpoints that are named where several have a name.
const NAMED_MAX: usize = 5;

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

/// A name as it is compared.
fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Endpoints that are known, each once; where one of the names is nobody's, or several ones', none.
pub(in crate::admin) async fn endpoints(handles: &Handles, names: &[String]) -> Result<Vec<Record>, Problem> {
    let wrong = |title: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, FIND);
    if names.len() > NAMES_MAX {
        return Err(wrong(format!("{} endpoints are more than {NAMES_MAX}: say it in several steps", names.len())));
    }
    let fleet = handles.store.fleet();
    let (mut found, mut wanted) = (BTreeMap::<Endpoint, Record>::new(), BTreeMap::<String, Vec<Record>>::new());
    for name in names {
        if let Ok(id) = name.trim().parse::<UpdateId>() {
            let known = fleet.endpoint(Endpoint(id)).await?;
            let known = known.ok_or_else(|| wrong(format!("no endpoint with the id {id} is known")))?;
            found.insert(Endpoint(id), known);
        } else {
            wanted.insert(folded(name), Vec::new());
        }
    }
    let mut after: Option<Endpoint> = None;
    while !wanted.is_empty() {
        let _turn = handles.turns.listing.acquire().await;
        let page = fleet.endpoints(after, PAGE_MAX).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.registration.endpoint);
        for record in page {
            let full = folded(&record.registration.name);
            let short = full.split('.').next().unwrap_or_default().to_owned();
            let key = if wanted.contains_key(&full) { full } else { short };
            if let Some(records) = wanted.get_mut(&key) {
                records.push(record);
            }
        }
    }
    for (name, mut records) in wanted {
        // A full name is meant before one that only begins so.
        if records.iter().any(|record| folded(&record.registration.name) == name) {
            records.retain(|record| folded(&record.registration.name) == name);
        }
        let shown = |record: &Record| format!("{} ({})", record.registration.name, record.registration.endpoint.0);
        match records.as_slice() {
            [] => return Err(wrong(format!("no endpoint called {name:?} is known: it has not registered here"))),
            [one] => drop(found.insert(one.registration.endpoint, one.clone())),
            several => {
                let told: Vec<String> = several.iter().take(NAMED_MAX).map(shown).collect();
                return Err(wrong(format!("several endpoints are called {name:?}: {}", told.join(", "))));
            }
        }
    }
    Ok(found.into_values().collect())
}
