//! Groups as another node has them, and who was put into groups, all together.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;
use crate::model::group::{Groups, Node};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::groups::{invalid, row_of, tree};
use crate::store::approvals::tables::{GROUPS_GONE, MEMBERS, MEMBERS_NAME, MemberRow};
use crate::store::approvals::value::Tree;
use crate::store::approvals::words::BY_MAX;
use crate::store::catalog::decisions::cut;
use crate::store::catalog::tables::read;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// What is left of `before` beside `put`: neither gone, nor in the place of one of these, nor below one that is.
fn left(before: &Groups, put: &BTreeMap<Group, Node>, gone: &BTreeSet<Group>) -> Vec<Node> {
    let places: BTreeSet<(Group, String)> = put.values().map(|node| (node.parent, node.name.to_lowercase())).collect();
    let goes = |node: &Node| gone.contains(&node.id) || places.contains(&(node.parent, node.name.to_lowercase()));
    let stays = |node: &&Node| {
        let mut above =
            before.up(node.id).filter(|group| !put.contains_key(group)).filter_map(|group| before.get(group));
        !put.contains_key(&node.id) && !above.any(goes)
    };
    before.iter().filter(stays).cloned().collect()
}

impl Core {
    pub(super) fn members(&self) -> Result<Vec<(Endpoint, Vec<Group>)>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, MEMBERS)? else { return Ok(vec![]) };
            let rows = table.iter()?.map(|row| {
                let (id, row) = row?;
                let row: MemberRow = decode(MEMBERS_NAME, row.value())?;
                let groups = row.groups.into_iter().map(|group| Group(UpdateId::new(group))).collect();
                Ok((Endpoint(UpdateId::new(*id.value())), groups))
            });
            rows.collect()
        })
    }

    pub(super) fn take_groups(&self, put: Vec<(Node, String)>, gone: &[Group]) -> Result<Tree, Error> {
        let who: BTreeMap<Group, String> = put.iter().map(|(node, by)| (node.id, cut(by.clone(), BY_MAX))).collect();
        let put: BTreeMap<Group, Node> = put.into_iter().map(|(node, _)| (node.id, node)).collect();
        let gone: BTreeSet<Group> = gone.iter().copied().collect();
        let room = if put.is_empty() { Room::Frees } else { Room::Adds };
        let (done, _) = self.catalog_write(room, move |t, w| {
            let mut known = tree(&t.groups)?;
            let nodes = left(&known.groups, &put, &gone).into_iter().chain(put.values().cloned());
            let mut groups = Groups::new(nodes).map_err(|error| invalid(&error))?;
            let went: BTreeSet<Group> =
                known.groups.iter().map(|node| node.id).filter(|id| groups.get(*id).is_none()).collect();
            let changed: Vec<Node> =
                put.values().filter(|node| known.groups.get(node.id) != Some(*node)).cloned().collect();
            if went.is_empty() && changed.is_empty() {
                return Ok(known);
            }
            let at = t.touch_shared(w)?;
            for node in groups.iter().map(|node| node.id).collect::<Vec<_>>() {
                let before = known.groups.freed_itself(node);
                let ceased = known.groups.get(node).is_some() && known.groups.asks_review(node);
                let freed = if ceased && !groups.asks_review(node) { Some(Timestamp::from_ms(at)) } else { before };
                if let Some(freed) = freed {
                    groups.free(node, freed);
                }
            }
            let place = |node: &Node| (node.parent, node.is_test, node.asks_review);
            for node in changed {
                let is_moved = known.groups.get(node.id).is_none_or(|before| place(before) != place(&node));
                let moved = if is_moved { at } else { known.moved.get(&node.id).copied().unwrap_or(at) };
                let freed = groups.freed_itself(node.id).map(Timestamp::ms);
                let by = who.get(&node.id).cloned().unwrap_or_default();
                t.groups.insert(node.id.0.bytes(), encode(&row_of(&node, moved, freed, by.clone(), at))?.as_slice())?;
                known.moved.insert(node.id, moved);
                known.by.insert(node.id, (by, Timestamp::from_ms(at)));
            }
            if !went.is_empty() {
                let mut members = Vec::new();
                for row in t.members.iter()? {
                    let (endpoint, row) = row?;
                    let mut row: MemberRow = decode(MEMBERS_NAME, row.value())?;
                    let before = row.groups.len();
                    row.groups.retain(|group| !went.contains(&Group(UpdateId::new(*group))));
                    if row.groups.len() < before {
                        members.push((*endpoint.value(), MemberRow { at, ..row }));
                    }
                }
                for (endpoint, row) in members {
                    if row.groups.is_empty() {
                        t.members.remove(&endpoint)?;
                    } else {
                        t.members.insert(&endpoint, encode(&row)?.as_slice())?;
                    }
                }
                for group in &went {
                    t.groups.remove(group.0.bytes())?;
                    t.policies.remove(group.0.bytes())?;
                    known.moved.remove(group);
                    known.by.remove(group);
                }
                t.set_number(GROUPS_GONE, 1)?;
            }
            known.groups = groups;
            Ok(known)
        })?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::group::Level;

    fn node(at: u8, parent: Group, name: &str) -> Node {
        let (id, name) = (Group(UpdateId::new([at; 16])), name.to_owned());
        Node { id, name, level: Level::Group, parent, is_test: false, asks_review: false, rules: vec![] }
    }

    #[test]
    fn who_stands_in_the_place_of_a_taken_group_goes_with_what_is_below() {
        let (all, own) = (Group::ALL_ENDPOINTS, Group(UpdateId::new([1; 16])));
        let before = Groups::new([
            node(1, all, "Kiosks"),
            node(2, own, "Berlin"),
            node(3, all, "Own"),
            node(4, all, "Gone"),
            node(5, all, "Moves"),
        ]);
        let before = before.unwrap();
        let put = [node(9, all, "KIOSKS"), node(5, Group(UpdateId::new([9; 16])), "Moves")];
        let put: BTreeMap<Group, Node> = put.into_iter().map(|node| (node.id, node)).collect();
        let gone = BTreeSet::from([Group(UpdateId::new([4; 16]))]);
        let names: Vec<String> = left(&before, &put, &gone).into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["Own"]);
    }
}
