//! Whom a question is about, and what each of them is held against.
//!
//! Who is in which group follows from hand, own word and rules (`fleet::belong`), so all endpoints are walked over for a question that needs
//! it: one about a group, or any where a group has a policy of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::admin::groups::{each_endpoint, path, who};
use crate::admin::within;
use crate::fleet::compliance::policies::{Among, Policies};
use crate::model::access::Reach;
use crate::model::compliance::Policy;
use crate::model::compliance::inherit::{InForce, Own, in_force};
use crate::model::policy::Group;
use crate::store::approvals::Tree;

/// See the head of this file.
pub(in crate::admin) struct Scope {
    /// What each is held against.
    pub(in crate::admin) policies: Arc<Policies>,
    /// Whom it is about; `None` for all.
    pub(super) among: Option<Among>,
    /// What holds for who is asked about, but for what groups below say.
    pub(super) in_force: InForce,
    /// Groups that have a policy of their own.
    pub(super) own: usize,
    tree: Tree,
}

impl Scope {
    /// Of a group with all below it, by its name, or of all endpoints, as far as they are within reach.
    pub(in crate::admin) async fn new(handles: &Handles, reach: &Reach, group: Option<&str>) -> Result<Self, Problem> {
        let (all, approvals) = (handles.reported.policy(), handles.store.approvals());
        let tree = approvals.tree().await?;
        let own: BTreeMap<Group, Own> =
            approvals.policies().await?.into_iter().map(|(group, said)| (group, said.own)).collect();
        let group = within::hide(reach, group.map(|name| who::group(&tree, name)).transpose())?;
        let group = group.unwrap_or(Group::ALL_ENDPOINTS);
        let below = within::groups(reach, &tree, group);
        let (policies, among) = walked(handles, &tree, all, &own, below.as_ref()).await?;
        let in_force = in_force(all, &own, &tree.groups, group);
        Ok(Self { policies: Arc::new(policies), among, in_force, own: own.len(), tree })
    }

    /// A group as people see it.
    pub(super) fn path(&self, group: Group) -> String {
        path(&self.tree, group)
    }
}

async fn walked(
    handles: &Handles,
    tree: &Tree,
    all: Policy,
    own: &BTreeMap<Group, Own>,
    below: Option<&BTreeSet<Group>>,
) -> Result<(Policies, Option<Among>), Problem> {
    if own.is_empty() && below.is_none() {
        return Ok((all.into(), None));
    }
    let (mut members, mut among) = (Vec::new(), HashSet::new());
    // Most endpoints are in the groups that others are in too.
    let mut known: BTreeSet<Arc<[Group]>> = BTreeSet::new();
    each_endpoint(handles, tree, |record, groups| {
        let endpoint = record.registration.endpoint;
        if below.is_some_and(|below| groups.iter().any(|group| below.contains(group))) {
            among.insert(endpoint);
        }
        let groups = known.get(groups).cloned().unwrap_or_else(|| {
            let new: Arc<[Group]> = groups.into();
            known.insert(Arc::clone(&new));
            new
        });
        members.push((endpoint, groups));
    })
    .await?;
    Ok((Policies::new(all, own, &tree.groups, members), below.map(|_| Arc::new(among))))
}

/// The endpoints of a group and of all below it, or all, as far as they are within reach; `None` for all endpoints.
pub(in crate::admin) async fn among(
    handles: &Handles,
    reach: &Reach,
    group: Option<&str>,
) -> Result<Option<Among>, Problem> {
    if group.is_none() && reach.is_everywhere() {
        return Ok(None);
    }
    Ok(Scope::new(handles, reach, group).await?.among)
}
