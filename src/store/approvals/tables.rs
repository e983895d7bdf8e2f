//! The tables of what is said for groups and single endpoints, and of the groups themselves. They are opened with those of the catalog
//! (`store::catalog::tables`), so that one transaction has one place in the logical clock, whatever it writes.

use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use crate::model::deployment::{Endpoint, Target};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::catalog::tables::Guid;

/// Update, kind of target, target.
pub(crate) type ApprovalKey = [u8; 33];

/// [`approval_key`] -> [`ApprovalRow`].
pub(crate) const APPROVALS: TableDefinition<'static, &ApprovalKey, &[u8]> = TableDefinition::new(APPROVALS_NAME);
/// Update -> [`ReviewRow`].
pub(crate) const REVIEWS: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new(REVIEWS_NAME);
/// Licence -> [`LicenceRow`].
pub(crate) const LICENCES: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new(LICENCES_NAME);
/// Group -> [`GroupRow`].
pub(crate) const GROUPS: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new(GROUPS_NAME);
/// Endpoint -> [`MemberRow`]: the groups that somebody put it in.
pub(crate) const MEMBERS: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new(MEMBERS_NAME);
/// Group -> [`PolicyRow`]: what it asks of its endpoints.
pub(crate) const POLICIES: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new(POLICIES_NAME);

/// Names, for messages too.
pub(crate) const APPROVALS_NAME: &str = "fleet-approvals.1";
pub(crate) const REVIEWS_NAME: &str = "fleet-reviews.1";
pub(crate) const LICENCES_NAME: &str = "fleet-licences.1";
pub(crate) const GROUPS_NAME: &str = "fleet-groups.1";
pub(crate) const MEMBERS_NAME: &str = "fleet-members.1";
pub(crate) const POLICIES_NAME: &str = "fleet-policies.1";

/// Names in `catalog-numbers.1`. The logical clock when groups, who is in them, or licences changed last.
pub(crate) const SHARED_CLOCK: &str = "approvals-shared-clock";
/// What was withdrawn up to here may be forgotten.
pub(crate) const WITHDRAWN_FLOOR: &str = "approvals-floor";
/// 1 where approvals of a group that is gone may be left.
pub(crate) const GROUPS_GONE: &str = "approvals-groups-gone";

/// What was said of an update for a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApprovalRow {
    /// 1 not approved, 2 withdrawn, 3 detect only, 4 uninstall, 5 optional install, 6 install.
    pub(crate) said: u8,
    pub(crate) deadline: Option<u64>,
    /// Files that endpoints read in parts too.
    pub(crate) all_files: bool,
    /// Something superseded it already.
    pub(crate) though_superseded: bool,
    pub(crate) by: String,
    /// The logical clock.
    pub(crate) at: u64,
    pub(crate) why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReviewRow {
    /// 1 held, 2 in test, 3 released.
    pub(crate) review: u8,
    pub(crate) by: String,
    /// The logical clock.
    pub(crate) at: u64,
    pub(crate) why: String,
    /// Since when it lets groups that are there for trying out, and since when all, without a break.
    pub(crate) in_test: Option<u64>,
    pub(crate) released: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LicenceRow {
    pub(crate) by: String,
    /// The logical clock.
    pub(crate) at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    pub(crate) name: String,
    /// 1 company, 2 site, 3 any other.
    pub(crate) level: u8,
    pub(crate) parent: Guid,
    pub(crate) is_test: bool,
    pub(crate) asks_review: bool,
    /// 1 a subnet, 2 a pattern for names; as it is written.
    pub(crate) rules: Vec<(u8, String)>,
    /// The logical clock when its place, or what it is there for, changed last.
    pub(crate) moved: u64,
    pub(crate) by: String,
    pub(crate) at: u64,
    /// The logical clock when it ceased to ask for reviews, by itself or by one above it.
    pub(crate) freed: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberRow {
    pub(crate) groups: Vec<Guid>,
    pub(crate) by: String,
    pub(crate) at: u64,
}

/// What endpoints of a group must keep to; what it does not say comes from above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyRow {
    /// 0 any, 1 low, 2 moderate, 3 important, 4 critical.
    pub(crate) severity: Option<u8>,
    pub(crate) missing_days: Option<u32>,
    pub(crate) scan_days: Option<u32>,
    pub(crate) restart_days: Option<u32>,
    pub(crate) by: String,
    pub(crate) at: u64,
}

/// Kinds of targets in keys. Endpoints choose their ids themselves, so that one could choose that of a group.
const GROUP: u8 = 1;
const ENDPOINT: u8 = 2;

pub(crate) fn approval_key(update: &Guid, target: Target) -> ApprovalKey {
    let (kind, id) = match target {
        Target::Group(group) => (GROUP, group.0),
        Target::Endpoint(endpoint) => (ENDPOINT, endpoint.0),
    };
    let mut key = [kind; 33];
    key[..16].copy_from_slice(update);
    key[17..].copy_from_slice(id.bytes());
    key
}

/// What [`approval_key`] put together; `None` for a kind that this program does not know.
pub(crate) fn of_approval_key(key: &ApprovalKey) -> Option<(UpdateId, Target)> {
    let (mut update, mut target) = ([0; 16], [0; 16]);
    update.copy_from_slice(&key[..16]);
    target.copy_from_slice(&key[17..]);
    let target = UpdateId::new(target);
    let target = match key[16] {
        GROUP => Target::Group(Group(target)),
        ENDPOINT => Target::Endpoint(Endpoint(target)),
        _ => return None,
    };
    Some((UpdateId::new(update), target))
}

/// The first and the last key of an update.
pub(crate) fn approval_keys(update: &Guid) -> (ApprovalKey, ApprovalKey) {
    let (mut first, mut last) = ([0; 33], [255; 33]);
    first[..16].copy_from_slice(update);
    last[..16].copy_from_slice(update);
    (first, last)
}
