//! The tree of groups, and which of them somebody put an endpoint in.

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata};

use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;
use crate::model::group::rule::Rule;
use crate::model::group::{Groups, Level, Node, UNASSIGNED};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::PAGE_MAX;
use crate::store::approvals::tables::{GROUPS, GROUPS_GONE, GROUPS_NAME, GroupRow, MEMBERS, MEMBERS_NAME, MemberRow};
use crate::store::approvals::value::{Change, Tree};
use crate::store::approvals::words::{BY_MAX, SAID_MAX};
use crate::store::catalog::decisions::cut;
use crate::store::catalog::tables::{Guid, Tables, read};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Endpoints that somebody put into groups: as many as endpoints are kept.
pub const MEMBERS_MAX: u64 = crate::store::fleet::ENDPOINTS_MAX;
/// Groups that one endpoint can be put in: a view is made for each set of them.
const PLACES_MAX: usize = 32;

const LEVELS: [(Level, u8); 3] = [(Level::Company, 1), (Level::Site, 2), (Level::Group, 3)];
const SUBNET: u8 = 1;
const NAME: u8 = 2;

pub(super) fn invalid(error: &crate::model::group::Error) -> Error {
    Error::Invalid { what: error.to_string() }
}

pub(super) fn row_of(node: &Node, moved: u64, freed: Option<u64>, by: String, at: u64) -> GroupRow {
    let rule = |rule: &Rule| match rule {
        Rule::Subnet(net) => (SUBNET, net.to_string()),
        Rule::Name(pattern) => (NAME, pattern.to_string()),
    };
    GroupRow {
        name: node.name.clone(),
        level: LEVELS.into_iter().find(|(level, _)| *level == node.level).map_or(0, |(_, code)| code),
        parent: *node.parent.0.bytes(),
        is_test: node.is_test,
        asks_review: node.asks_review,
        rules: node.rules.iter().map(rule).collect(),
        moved,
        by,
        at,
        freed,
    }
}

fn node_of(id: &Guid, row: &GroupRow) -> Result<Node, Error> {
    let unknown = |what: String| Error::Row {
        what: format!("a row of {GROUPS_NAME} says {what}, which this program does not know"),
    };
    let (level, _) = LEVELS
        .into_iter()
        .find(|(_, code)| *code == row.level)
        .ok_or_else(|| unknown(format!("level {}", row.level)))?;
    let rule = |(kind, text): &(u8, String)| match *kind {
        SUBNET => text.parse().map(Rule::Subnet).map_err(|_| unknown(format!("subnet {text:?}"))),
        NAME => text.parse().map(Rule::Name).map_err(|_| unknown(format!("pattern {text:?}"))),
        other => Err(unknown(format!("rule {other}"))),
    };
    Ok(Node {
        id: Group(UpdateId::new(*id)),
        name: row.name.clone(),
        level,
        parent: Group(UpdateId::new(row.parent)),
        is_test: row.is_test,
        asks_review: row.asks_review,
        rules: row.rules.iter().map(rule).collect::<Result<_, _>>()?,
    })
}

/// The tree of a table.
pub(super) fn tree(table: &impl ReadableTable<&'static Guid, &'static [u8]>) -> Result<Tree, Error> {
    let (mut nodes, mut moved, mut freed, mut by) = (Vec::new(), BTreeMap::new(), Vec::new(), BTreeMap::new());
    for row in table.iter()? {
        let (id, row) = row?;
        let row: GroupRow = decode(GROUPS_NAME, row.value())?;
        let node = node_of(id.value(), &row)?;
        moved.insert(node.id, row.moved);
        freed.extend(row.freed.map(|at| (node.id, Timestamp::from_ms(at))));
        by.insert(node.id, (row.by, Timestamp::from_ms(row.at)));
        nodes.push(node);
    }
    let mut groups = Groups::new(nodes)
        .map_err(|error| Error::Row { what: format!("the groups of the store are no tree: {error}") })?;
    for (group, at) in freed {
        groups.free(group, at);
    }
    Ok(Tree { groups, moved, by })
}

impl Tables<'_> {
    /// Endpoints that somebody put into a group, with all that they were put into.
    fn members_of(&self, group: Group) -> Result<Vec<(Guid, MemberRow)>, Error> {
        let mut found = Vec::new();
        for row in self.members.iter()? {
            let (endpoint, row) = row?;
            let row: MemberRow = decode(MEMBERS_NAME, row.value())?;
            if row.groups.contains(group.0.bytes()) {
                found.push((*endpoint.value(), row));
            }
        }
        Ok(found)
    }
}

impl Core {
    pub(super) fn tree_of_groups(&self) -> Result<Tree, Error> {
        self.index.read(|tx| read(tx, GROUPS)?.map_or_else(|| Ok(Tree::default()), |table| tree(&table)))
    }

    pub(super) fn change_groups(&self, change: Change, by: String) -> Result<(Tree, u64), Error> {
        let by = cut(by, BY_MAX);
        let room = if matches!(change, Change::Remove(_)) { Room::Frees } else { Room::Adds };
        let (done, _) = self.catalog_write(room, move |t, w| {
            let mut known = tree(&t.groups)?;
            let mut members = Vec::new();
            let (Change::Add(Node { id: of, .. })
            | Change::Put(Node { id: of, .. })
            | Change::PutOver(Node { id: of, .. }, _)
            | Change::Remove(of)) = &change;
            let did_ask = known.groups.get(*of).is_some() && known.groups.asks_review(*of);
            let (seen, known_revision) = (change.seen(), known.revision(*of));
            let (id, node) = match change {
                Change::Add(node) => {
                    known.groups.add(node.clone()).map_err(|error| invalid(&error))?;
                    (node.id, Some((node, true)))
                }
                Change::Put(node) | Change::PutOver(node, _) => {
                    let before = known.groups.get(node.id).cloned();
                    if before.as_ref() == Some(&node) {
                        return Ok((known, 0));
                    }
                    if let Some(before) = before.as_ref().filter(|_| seen.is_some_and(|seen| seen != known_revision)) {
                        let by = known.by.get(&before.id).map_or("", |(by, _)| by);
                        let what = format!(
                            "the group {:?} was changed meanwhile, by {by}: look at it again (`waystation groups list`), then say it once \
                             more",
                            before.name
                        );
                        return Err(Error::Invalid { what });
                    }
                    known.groups.change(node.clone()).map_err(|error| invalid(&error))?;
                    let place = |node: &Node| (node.parent, node.is_test, node.asks_review);
                    let is_moved = before.is_none_or(|before| place(&before) != place(&node));
                    (node.id, Some((node, is_moved)))
                }
                Change::Remove(group) => {
                    let node = known.groups.remove(group).map_err(|error| invalid(&error))?;
                    members = t.members_of(group)?;
                    if members.len() > SAID_MAX {
                        let what = format!(
                            "{} endpoints were put into {:?}, more than the {SAID_MAX} that are moved at once: put some elsewhere first \
                             (`waystation groups move-endpoint`)",
                            members.len(),
                            node.name
                        );
                        return Err(Error::Invalid { what });
                    }
                    let above = Some(*node.parent.0.bytes()).filter(|_| node.parent != Group::ALL_ENDPOINTS);
                    for (_, row) in &mut members {
                        row.groups.retain(|of| of != group.0.bytes());
                        row.groups.extend(above);
                        row.groups.sort_unstable();
                        row.groups.dedup();
                    }
                    (group, None)
                }
            };
            let at = t.touch_shared(w)?;
            if let Some((node, is_moved)) = node {
                let moved = if is_moved { at } else { known.moved.get(&id).copied().unwrap_or(at) };
                if did_ask && !known.groups.asks_review(id) {
                    known.groups.free(id, Timestamp::from_ms(at));
                }
                let freed = known.groups.freed_itself(id).map(Timestamp::ms);
                t.groups.insert(id.0.bytes(), encode(&row_of(&node, moved, freed, by.clone(), at))?.as_slice())?;
                known.moved.insert(id, moved);
                known.by.insert(id, (by, Timestamp::from_ms(at)));
            } else {
                for (endpoint, row) in &members {
                    if row.groups.is_empty() {
                        t.members.remove(endpoint)?;
                    } else {
                        let row = MemberRow { by: by.clone(), at, ..row.clone() };
                        t.members.insert(endpoint, encode(&row)?.as_slice())?;
                    }
                }
                t.groups.remove(id.0.bytes())?;
                t.policies.remove(id.0.bytes())?;
                t.set_number(GROUPS_GONE, 1)?;
                known.moved.remove(&id);
                known.by.remove(&id);
            }
            Ok((known, members.len() as u64))
        })?;
        Ok(done)
    }

    pub(super) fn placed(&self, endpoints: &[Endpoint]) -> Result<Vec<Vec<Group>>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, MEMBERS)? else { return Ok(vec![vec![]; endpoints.len()]) };
            let one = |endpoint: &Endpoint| {
                let Some(row) = table.get(endpoint.0.bytes())? else { return Ok(vec![]) };
                let row: MemberRow = decode(MEMBERS_NAME, row.value())?;
                Ok(row.groups.into_iter().map(|group| Group(UpdateId::new(group))).collect())
            };
            endpoints.iter().take(PAGE_MAX).map(one).collect()
        })
    }

    pub(super) fn place(&self, mut endpoints: Vec<Endpoint>, mut groups: Vec<Group>, by: String) -> Result<u64, Error> {
        endpoints.sort_unstable();
        endpoints.dedup();
        groups.sort_unstable();
        groups.dedup();
        let invalid = |what: String| Err(Error::Invalid { what });
        if endpoints.len() > SAID_MAX {
            return invalid(format!(
                "{} endpoints are more than {SAID_MAX}: move them in several steps",
                endpoints.len()
            ));
        }
        if groups.len() > PLACES_MAX {
            return invalid(format!("an endpoint can be put into {PLACES_MAX} groups, and {} are named", groups.len()));
        }
        let by = cut(by, BY_MAX);
        let room = if groups.is_empty() { Room::Frees } else { Room::Adds };
        let (moved, _) = self.catalog_write(room, move |t, w| {
            for group in &groups {
                // All endpoints are in the root anyway; who is nowhere else is unassigned by that.
                if t.groups.get(group.0.bytes())?.is_none() {
                    let what = if *group == Group::ALL_ENDPOINTS || *group == UNASSIGNED {
                        "nobody is put into all endpoints or the unassigned ones: name a group that was made".to_owned()
                    } else {
                        format!("there is no group with the id {}", group.0)
                    };
                    return Err(Error::Invalid { what });
                }
            }
            if t.members.len()?.saturating_add(endpoints.len() as u64) > MEMBERS_MAX && !groups.is_empty() {
                return Err(Error::Invalid {
                    what: format!("{MEMBERS_MAX} endpoints are the most that are put into groups"),
                });
            }
            let ids: Vec<Guid> = groups.iter().map(|group| *group.0.bytes()).collect();
            let mut moved = 0;
            for endpoint in &endpoints {
                let id = endpoint.0.bytes();
                let old: Option<MemberRow> =
                    t.members.get(id)?.map(|row| decode(MEMBERS_NAME, row.value())).transpose()?;
                if old.map(|old| old.groups).unwrap_or_default() == ids {
                    continue;
                }
                moved += 1;
                let at = t.touch_shared(w)?;
                if ids.is_empty() {
                    t.members.remove(id)?;
                } else {
                    let row = MemberRow { groups: ids.clone(), by: by.clone(), at };
                    t.members.insert(id, encode(&row)?.as_slice())?;
                }
            }
            Ok(moved)
        })?;
        Ok(moved)
    }
}
