//! Policies of groups: what a group says holds for all below it, each field by itself, until something nearer says otherwise. Pure.
//!
//! What holds for all endpoints stands at the root. An endpoint in several groups keeps to the policies of all of them: whoever put it into
//! each meant what that asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::compliance::{Policy, Reason};
use crate::model::group::Groups;
use crate::model::policy::Group;
use crate::model::update::Severity;

/// What a group says for itself; what it does not say comes from above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// See [`Policy::severity`].
    pub severity: Option<Severity>,
    /// See [`Policy::missing_days`].
    pub missing_days: Option<u32>,
    /// See [`Policy::scan_days`].
    pub scan_days: Option<u32>,
    /// See [`Policy::restart_days`].
    pub restart_days: Option<u32>,
}

impl Own {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What holds for the endpoints of a group, and which group says each part of it; [`Group::ALL_ENDPOINTS`] where none does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// What holds.
    pub policy: Policy,
    /// Who says what may be missing: the nearest one that says of what severity, or for how long.
    pub missing: Group,
    /// Who says how often it must scan.
    pub scan: Group,
    /// Who says how long a restart may be pending.
    pub restart: Group,
}

impl InForce {
    /// What holds for all endpoints.
    pub fn of_all(policy: Policy) -> Self {
        let all = Group::ALL_ENDPOINTS;
        Self { policy, missing: all, scan: all, restart: all }
    }

    /// By whose policy something is a reason.
    pub fn by(&self, reason: &Reason) -> Group {
        match reason {
            Reason::NeverScanned | Reason::NotScanned { .. } => self.scan,
            Reason::Missing { .. } => self.missing,
            Reason::Restart { .. } => self.restart,
        }
    }
}

/// What holds for the endpoints of a group. `all`: for all endpoints; `own`: what groups say.
pub fn in_force(all: Policy, own: &BTreeMap<Group, Own>, tree: &Groups, group: Group) -> InForce {
    let mut found = InForce::of_all(all);
    let says: Vec<(Group, &Own)> = tree.up(group).filter_map(|above| Some((above, own.get(&above)?))).collect();
    // The nearest one last, so that its word stays.
    for (above, own) in says.into_iter().rev() {
        if own.severity.is_some() || own.missing_days.is_some() {
            found.missing = above;
        }
        found.policy.severity = own.severity.unwrap_or(found.policy.severity);
        found.policy.missing_days = own.missing_days.unwrap_or(found.policy.missing_days);
        if let Some(days) = own.scan_days {
            (found.policy.scan_days, found.scan) = (days, above);
        }
        if let Some(days) = own.restart_days {
            (found.policy.restart_days, found.restart) = (days, above);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::group::{Level, Node, UNASSIGNED};
    use crate::model::update::UpdateId;

    fn id(at: u8) -> Group {
        Group(UpdateId::new([at; 16]))
    }

    #[test]
    fn the_nearest_word_counts_for_each_field() {
        let node = |at: u8, parent: Group| Node {
            id: id(at),
            name: format!("group {at}"),
            level: Level::Group,
            parent,
            is_test: false,
            asks_review: false,
            rules: vec![],
        };
        let tree = Groups::new([node(1, Group::ALL_ENDPOINTS), node(2, id(1)), node(3, id(2))]).unwrap();
        let all = Policy::default();
        let own = BTreeMap::from([
            (id(1), Own { severity: Some(Severity::Critical), scan_days: Some(3), ..Own::default() }),
            (id(3), Own { missing_days: Some(5), scan_days: Some(30), ..Own::default() }),
            (UNASSIGNED, Own { restart_days: Some(1), ..Own::default() }),
        ]);
        let of = |group| in_force(all, &own, &tree, group);
        assert_eq!(of(Group::ALL_ENDPOINTS), InForce::of_all(all));
        let two = of(id(2));
        assert_eq!((two.policy.severity, two.policy.missing_days, two.policy.scan_days), (Severity::Critical, 30, 3));
        assert_eq!((two.missing, two.scan, two.restart), (id(1), id(1), Group::ALL_ENDPOINTS));
        let three = of(id(3));
        assert_eq!(
            (three.policy.severity, three.policy.missing_days, three.policy.scan_days),
            (Severity::Critical, 5, 30)
        );
        assert_eq!((three.missing, three.scan), (id(3), id(3)));
        assert_eq!((of(UNASSIGNED).policy.restart_days, of(UNASSIGNED).restart), (1, UNASSIGNED));
        // A group that is gone stands right below the root.
        assert_eq!(of(id(9)), InForce::of_all(all));
        assert_eq!(three.by(&Reason::NeverScanned), id(3));
        assert_eq!(three.by(&Reason::Restart { days: 9, most: 7 }), Group::ALL_ENDPOINTS);
    }
}
