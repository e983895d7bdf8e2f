//! Groups of endpoints as a tree: companies, their sites, groups in them. What is said of an update for a group holds for all below
//! it until something nearer says otherwise ([`crate::model::deployment::inherit`]).
//!
//! The two groups that WSUS servers have too stand in every tree: all endpoints, its root; and those that are in no other group.

pub mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::group::rule::{Fit, Rule};
use crate::model::policy::Group;
use crate::model::update::UpdateId;

/// Groups of one tree. WSUS itself is slow beyond some hundred; a view of an endpoint's groups is kept for each set of them.
pub const GROUPS_MAX: usize = 10_000;
/// Levels below the root: company, site, and six of groups. Each is a look-up for each decision.
pub const DEPTH_MAX: usize = 8;
/// Characters of a name, as in WSUS.
pub const NAME_MAX: usize = 256;
/// Rules of one group: each is tried for each endpoint that is seen.
pub const RULES_MAX: usize = 256;

/// What stands between the names of a path.
const BELOW: char = '/';

/// Endpoints that are in no other group: the id that WSUS servers have for "Unassigned Computers".
pub const UNASSIGNED: Group = Group(UpdateId::new([
    0xb7, 0x3c, 0xa6, 0xed, 0x57, 0x27, 0x47, 0xf3, 0x84, 0xde, 0x01, 0x5e, 0x03, 0xf6, 0xa8, 0x8a,
]));

/// What a group stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A company; below the root only.
    Company,
    /// A site; below a company, or the root where there is one company.
    Site,
    /// Any other group.
    Group,
}

/// A group as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: Group,
    /// Its name; unique among those beside it, in any case.
    pub name: String,
    /// What it stands for.
    pub level: Level,
    /// What it stands below.
    pub parent: Group,
    /// It is there for trying out what is under review.
    pub is_test: bool,
    /// What is approved takes effect in it, and below it, once its review lets it: a company that releases in steps asks for that.
    pub asks_review: bool,
    /// Which endpoints it has by rule.
    pub rules: Vec<Rule>,
}

/// What is wrong with a tree, or with a change of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that cannot be one.
    #[error(
        "{0:?} cannot be the name of a group: 1 to {NAME_MAX} characters, no control character, no slash, no semicolon"
    )]
    Name(String),
    /// There is one already.
    #[error("there is a group {0:?} beside it already; choose another name")]
    Taken(String),
    /// The id is another group's.
    #[error("there is a group with the id {} already", .0.0)]
    Known(Group),
    /// There is no such group.
    #[error("there is no group with the id {}", .0.0)]
    Unknown(Group),
    /// There is no group of that name.
    #[error("no group is called {0:?}; `waystation groups list` shows them")]
    Uncalled(String),
    /// Several are called so.
    #[error("several groups are called {name:?}: write one of {}", .paths.join(", "))]
    Ambiguous {
        /// What was written.
        name: String,
        /// The paths of some of them.
        paths: Vec<String>,
    },
    /// It would stand below itself.
    #[error("the group {0:?} would stand below itself")]
    Circle(String),
    /// Too deep.
    #[error("{0:?} would stand more than {DEPTH_MAX} levels below the root")]
    Deep(String),
    /// It does not belong there.
    #[error(
        "{0:?} cannot stand there: companies stand below the root, sites below a company or the root, nothing below the unassigned"
    )]
    Misplaced(String),
    /// There are too many.
    #[error("there can be {GROUPS_MAX} groups, and there are")]
    Many,
    /// It has too many rules.
    #[error("a group can have {RULES_MAX} rules, and {name:?} would have {many}")]
    Rules {
        /// Which group.
        name: String,
        /// How many.
        many: usize,
    },
    /// It has groups below it.
    #[error("the group {0:?} has groups below it; remove or move those first")]
    Parent(String),
    /// It stays as it is.
    #[error("all endpoints and the unassigned ones are groups that stay as they are")]
    Fixed,
}

/// A tree of groups that keeps to its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    nodes: BTreeMap<Group, Node>,
    children: BTreeMap<Group, BTreeSet<Group>>,
    freed: BTreeMap<Group, Timestamp>,
}

/// How names are compared.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

fn is_fixed(group: Group) -> bool {
    group == Group::ALL_ENDPOINTS || group == UNASSIGNED
}

impl Groups {
    /// A tree of these, in any order.
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Result<Self, Error> {
        let mut tree = Self::default();
        let mut waiting: BTreeMap<Group, Vec<Node>> = BTreeMap::new();
        for (many, node) in nodes.into_iter().enumerate() {
            if many >= GROUPS_MAX {
                return Err(Error::Many);
            }
            waiting.entry(node.parent).or_default().push(node);
        }
        let mut parents = vec![Group::ALL_ENDPOINTS];
        while let Some(parent) = parents.pop() {
            for node in waiting.remove(&parent).unwrap_or_default() {
                parents.push(node.id);
                tree.add(node)?;
            }
        }
        // What is left leads to nothing, or in a circle.
        let left: BTreeSet<Group> = waiting.values().flatten().map(|node| node.id).collect();
        match waiting.keys().find(|parent| !left.contains(parent)) {
            Some(parent) => Err(Error::Unknown(*parent)),
            None => waiting.into_values().flatten().next().map_or(Ok(tree), |node| Err(Error::Circle(node.name))),
        }
    }

    /// Adds a group.
    pub fn add(&mut self, node: Node) -> Result<(), Error> {
        if is_fixed(node.id) || self.nodes.contains_key(&node.id) {
            return Err(Error::Known(node.id));
        }
        if self.nodes.len() >= GROUPS_MAX {
            return Err(Error::Many);
        }
        self.check(&node, 0)?;
        self.children.entry(node.parent).or_default().insert(node.id);
        self.nodes.insert(node.id, node);
        Ok(())
    }

    /// Puts a group in the place of the one with its id: another name, place, level or rules.
    pub fn change(&mut self, node: Node) -> Result<(), Error> {
        if is_fixed(node.id) {
            return Err(Error::Fixed);
        }
        let old = self.nodes.get(&node.id).ok_or(Error::Unknown(node.id))?;
        let from = old.parent;
        if self.up(node.parent).any(|above| above == node.id) {
            return Err(Error::Circle(node.name));
        }
        self.check(&node, self.height(node.id))?;
        if let Some(below) = self.children(node.id).find(|below| !may_stand(below.level, Some(node.level))) {
            return Err(Error::Misplaced(below.name.clone()));
        }
        if let Some(beside) = self.children.get_mut(&from) {
            beside.remove(&node.id);
        }
        self.children.entry(node.parent).or_default().insert(node.id);
        self.nodes.insert(node.id, node);
        Ok(())
    }

    /// Takes a group out that has none below it.
    pub fn remove(&mut self, group: Group) -> Result<Node, Error> {
        if is_fixed(group) {
            return Err(Error::Fixed);
        }
        let node = self.nodes.get(&group).ok_or(Error::Unknown(group))?;
        if self.children.get(&group).is_some_and(|below| !below.is_empty()) {
            return Err(Error::Parent(node.name.clone()));
        }
        self.children.remove(&group);
        self.freed.remove(&group);
        if let Some(beside) = self.children.get_mut(&node.parent) {
            beside.remove(&group);
        }
        self.nodes.remove(&group).ok_or(Error::Unknown(group))
    }

    /// What must hold of a group in its place, with so many levels below it.
    fn check(&self, node: &Node, height: usize) -> Result<(), Error> {
        let bad = |letter: char| letter.is_control() || letter == BELOW || letter == ';';
        let len = node.name.chars().count();
        if node.name.trim() != node.name || len == 0 || len > NAME_MAX || node.name.contains(bad) {
            return Err(Error::Name(node.name.chars().take(48).collect()));
        }
        if node.rules.len() > RULES_MAX {
            return Err(Error::Rules { name: node.name.clone(), many: node.rules.len() });
        }
        let above = match node.parent {
            Group::ALL_ENDPOINTS => None,
            UNASSIGNED => return Err(Error::Misplaced(node.name.clone())),
            parent => Some(self.nodes.get(&parent).ok_or(Error::Unknown(parent))?.level),
        };
        if !may_stand(node.level, above) {
            return Err(Error::Misplaced(node.name.clone()));
        }
        if self.up(node.parent).count() + height > DEPTH_MAX {
            return Err(Error::Deep(node.name.clone()));
        }
        let name = folded(&node.name);
        if self.children(node.parent).any(|other| other.id != node.id && folded(&other.name) == name) {
            return Err(Error::Taken(node.name.clone()));
        }
        Ok(())
    }

    /// Levels below a group.
    fn height(&self, group: Group) -> usize {
        let (mut level, mut height) = (vec![group], 0);
        loop {
            level = level.iter().flat_map(|group| self.children(*group).map(|node| node.id)).collect();
            if level.is_empty() {
                return height;
            }
            height += 1;
        }
    }

    /// The groups right below one.
    pub fn children(&self, group: Group) -> impl Iterator<Item = &Node> + '_ {
        self.children.get(&group).into_iter().flatten().filter_map(|id| self.nodes.get(id))
    }

    /// A group that somebody made.
    pub fn get(&self, group: Group) -> Option<&Node> {
        self.nodes.get(&group)
    }

    /// All groups that somebody made, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Node> + '_ {
        self.nodes.values()
    }

    /// Whether a group, or one above it, is there for trying out what is under review.
    pub fn is_test(&self, group: Group) -> bool {
        self.up(group).any(|group| self.nodes.get(&group).is_some_and(|node| node.is_test))
    }

    /// Whether a group, or one above it, asks for a review before what is approved takes effect.
    pub fn asks_review(&self, group: Group) -> bool {
        self.up(group).any(|group| self.nodes.get(&group).is_some_and(|node| node.asks_review))
    }

    /// From this time on a group asks for no review, and it had asked for one before.
    pub fn free(&mut self, group: Group, at: Timestamp) {
        self.freed.insert(group, at);
    }

    /// What [`Self::free`] was told of the group itself.
    pub fn freed_itself(&self, group: Group) -> Option<Timestamp> {
        self.freed.get(&group).copied()
    }

    /// Since when a group asks for no review any more, by itself or by one above it; `None` where it never did, or still does.
    pub fn freed(&self, group: Group) -> Option<Timestamp> {
        let freed = self.up(group).filter_map(|group| self.freed.get(&group).copied()).max();
        freed.filter(|_| !self.asks_review(group))
    }

    /// The group itself and those above it up to the root. One that is not known (any more) stands right below the root.
    pub fn up(&self, group: Group) -> impl Iterator<Item = Group> + '_ {
        std::iter::successors(Some(group), |group| {
            (*group != Group::ALL_ENDPOINTS)
                .then(|| self.nodes.get(group).map_or(Group::ALL_ENDPOINTS, |node| node.parent))
        })
    }

    /// The group itself and all below it.
    pub fn below(&self, group: Group) -> Vec<Group> {
        let mut found = vec![group];
        let mut at = 0;
        while let Some(group) = found.get(at).copied() {
            found.extend(self.children(group).map(|node| node.id));
            at += 1;
        }
        found
    }

    /// Names from below the root down, with slashes between.
    pub fn path(&self, group: Group) -> String {
        let mut names: Vec<&str> =
            self.up(group).filter_map(|group| self.nodes.get(&group)).map(|node| node.name.as_str()).collect();
        names.reverse();
        names.join("/")
    }

    /// The group that a client or a person names: by its name where only one is called so, or by the end of its path.
    pub fn called(&self, name: &str) -> Result<Group, Error> {
        let wanted = folded(name.trim());
        let end = format!("{BELOW}{wanted}");
        let last = wanted.rsplit(BELOW).next().unwrap_or_default();
        let fits = |node: &&Node| {
            folded(&node.name) == last && {
                let path = folded(&self.path(node.id));
                path == wanted || path.ends_with(&end)
            }
        };
        let found: Vec<&Node> = self.nodes.values().filter(fits).collect();
        match found.as_slice() {
            [] => Err(Error::Uncalled(name.chars().take(NAME_MAX).collect())),
            [one] => Ok(one.id),
            several => match several.iter().find(|node| folded(&self.path(node.id)) == wanted) {
                Some(exact) => Ok(exact.id),
                None => Err(Error::Ambiguous {
                    name: name.to_owned(),
                    paths: several.iter().take(5).map(|node| self.path(node.id)).collect(),
                }),
            },
        }
    }

    /// The groups that an endpoint of this name at this address is in by rule: all whose pattern its name fits, and those whose
    /// subnet is the narrowest one that it is in. None: nobody made a rule for it.
    pub fn by_rule(&self, name: &str, address: IpAddr) -> BTreeSet<Group> {
        let (mut found, mut narrowest, mut near) = (BTreeSet::new(), 0, BTreeSet::new());
        for node in self.nodes.values() {
            for rule in &node.rules {
                match rule.fits(name, address) {
                    Some(Fit::Name) => drop(found.insert(node.id)),
                    Some(Fit::Subnet(bits)) if bits > narrowest || near.is_empty() => {
                        narrowest = bits;
                        near = BTreeSet::from([node.id]);
                    }
                    Some(Fit::Subnet(bits)) if bits == narrowest => drop(near.insert(node.id)),
                    Some(Fit::Subnet(_)) | None => {}
                }
            }
        }
        found.extend(near);
        found
    }
}

/// Whether a group of this level may stand below one of that level; none: the root.
fn may_stand(level: Level, above: Option<Level>) -> bool {
    match level {
        Level::Company => above.is_none(),
        Level::Site => above.is_none_or(|above| above == Level::Company),
        Level::Group => true,
    }
}

#[cfg(test)]
#[path = "group/tests.rs"]
mod tests;
