//! Which policies each endpoint is held against, and who is asked about: made by whoever knows the groups, for one question. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::model::compliance::inherit::{InForce, Own, in_force};
use crate::model::compliance::{Policy, Reason};
use crate::model::deployment::Endpoint;
use crate::model::group::{Groups, UNASSIGNED};
use crate::model::policy::Group;

/// Endpoints that a question is about.
pub type Among = Arc<HashSet<Endpoint>>;

/// Why an endpoint does not keep to a policy, and to whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Why.
    pub reason: Reason,
    /// The group that says so; [`Group::ALL_ENDPOINTS`] for what holds for all.
    pub by: Group,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(f)
    }
}

/// The policies of all endpoints.
#[derive(Clone, Debug)]
pub struct Policies {
    /// What endpoints keep to that no list names: those that never registered are in no group.
    others: Vec<InForce>,
    /// What is held against, each set of policies once.
    sets: Vec<Vec<InForce>>,
    /// Which set holds for an endpoint.
    of: HashMap<Endpoint, usize>,
}

impl From<Policy> for Policies {
    fn from(policy: Policy) -> Self {
        Self { others: vec![InForce::of_all(policy)], sets: Vec::new(), of: HashMap::new() }
    }
}

impl Policies {
    /// What groups of a tree say, where `all` holds for all endpoints and `groups` tells who is in which.
    pub fn new(
        all: Policy,
        own: &BTreeMap<Group, Own>,
        tree: &Groups,
        groups: impl IntoIterator<Item = (Endpoint, Arc<[Group]>)>,
    ) -> Self {
        let mut found = Self { others: vec![in_force(all, own, tree, UNASSIGNED)], ..Self::from(all) };
        let mut known: HashMap<Arc<[Group]>, usize> = HashMap::new();
        for (endpoint, groups) in groups {
            let at = *known.entry(groups).or_insert_with_key(|groups| {
                let mut set: Vec<InForce> = Vec::new();
                for group in groups.iter() {
                    let one = in_force(all, own, tree, *group);
                    if !set.contains(&one) {
                        set.push(one);
                    }
                }
                found.sets.push(set);
                found.sets.len() - 1
            });
            found.of.insert(endpoint, at);
        }
        found
    }

    /// What an endpoint is held against: all of these.
    pub fn of(&self, endpoint: Endpoint) -> &[InForce] {
        let set = self.of.get(&endpoint).and_then(|at| self.sets.get(*at));
        set.filter(|set| !set.is_empty()).unwrap_or(&self.others)
    }

    /// The groups whose words an endpoint is held against, each once.
    pub fn groups_of(&self, endpoint: Endpoint) -> Vec<Group> {
        let all = self.of(endpoint).iter().flat_map(|one| [one.missing, one.scan, one.restart]);
        let mut groups: Vec<Group> = all.collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}
