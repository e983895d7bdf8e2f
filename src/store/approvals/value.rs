//! What goes into the tables of approvals and groups and comes out of them.

use std::collections::BTreeMap;

use crate::base::time::Timestamp;
use crate::model::compliance::inherit::Own;
use crate::model::deployment::{Approval, Reviewed, Said, Target};
use crate::model::group::{Groups, Node};
use crate::model::policy::Group;
use crate::model::update::UpdateId;

/// Something that somebody says of updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Of which updates.
    pub updates: Vec<UpdateId>,
    /// For whom, each.
    pub targets: Vec<Target>,
    /// What.
    pub said: Said,
    /// With the files that endpoints read in parts.
    pub all_files: bool,
    /// Who says it.
    pub by: String,
    /// Why, in the person's words; may be empty.
    pub why: String,
}

/// What somebody said of an update for a target, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What, for whom, by whom and when.
    pub approval: Approval,
    /// It is a decline: for all endpoints, and above all that is said for some. What is said in `approval` is that it is not approved.
    pub declined: bool,
    /// With the files that endpoints read in parts.
    pub all_files: bool,
    /// Something superseded it already when it was said.
    pub though_superseded: bool,
    /// Why; may be empty.
    pub why: String,
}

/// A place in the order of updates and targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The update.
    pub update: UpdateId,
    /// The target.
    pub target: Target,
}

/// How far the review of an update has come, with the reason that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which update.
    pub update: UpdateId,
    /// What it is now, by whom and when.
    pub reviewed: Reviewed,
    /// Why; may be empty.
    pub why: String,
}

/// The groups of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The tree.
    pub groups: Groups,
    /// When the place of each, or what it is there for, changed last, by the logical clock.
    pub moved: BTreeMap<Group, u64>,
    /// Who changed each last, and when.
    pub by: BTreeMap<Group, (String, Timestamp)>,
}

impl Tree {
    /// A number that is another one after each change of a group; 0 where there is none.
    pub fn revision(&self, group: Group) -> u64 {
        self.by.get(&group).map_or(0, |(_, at)| at.ms())
    }
}

/// A change of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new group.
    Add(Node),
    /// Another name, place, level, or other rules, for the group with this id.
    Put(Node),
    /// The same, of one who saw the group in this revision ([`Tree::revision`]).
    PutOver(Node, u64),
    /// It goes; nothing may stand below it. Who was put into it is in the group that it stands below.
    Remove(Group),
}

impl Change {
    /// The revision in which the group was seen by whoever changes it, where that counts.
    pub(super) const fn seen(&self) -> Option<u64> {
        match self {
            Self::PutOver(_, revision) => Some(*revision),
            Self::Add(_) | Self::Put(_) | Self::Remove(_) => None,
        }
    }
}

/// What endpoints of a group must keep to, as far as the group says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPolicy {
    /// What it says.
    pub own: Own,
    /// Who said it last.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// How far all that is shared by approvals has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// The logical clock when groups, who is in them, or licences changed last.
    pub clock: u64,
    /// What was withdrawn up to here may be forgotten: who was told of changes up to an earlier time is told everything.
    pub floor: u64,
}
