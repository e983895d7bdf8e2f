//! Walks over the graph: what an endpoint must know to judge what is delivered to it.

use std::collections::{HashMap, VecDeque};

use crate::fleet::bits::Bits;
use crate::fleet::graph::{Graph, NONE, REFUSED, Row};
use crate::model::update::{Identity, Kind, UpdateId};

/// A revision as a view wants it.
#[derive(Clone, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) number: u32,
    pub(crate) identity: Identity,
    pub(crate) update: u32,
    pub(crate) core: u32,
    pub(crate) is_leaf: bool,
    /// When it became a leaf, or ceased to be one.
    pub(crate) leaf_since: u64,
    row: &'a Row,
}

impl Seen<'_> {
    /// Clauses of what must be there, as places of updates.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = &[u32]> {
        self.row.links.clauses().map(|(_, clause)| clause)
    }

    /// Places of updates that are its categories.
    pub(crate) fn categories(&self) -> impl Iterator<Item = u32> + '_ {
        self.row.links.categories()
    }
}

/// How a walk came to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It began there.
    Root,
    /// As a part of a bundle.
    Member,
    /// As a prerequisite.
    Prerequisite,
}

impl Graph {
    /// Places of the revisions that can be delivered: not what must not be offered, and no drivers.
    pub(crate) fn sendable(&self, place: u32) -> bool {
        self.row(place).is_some_and(|row| row.flags & REFUSED == 0 && row.kind != Kind::Driver)
    }

    /// The place of the revision of an update that counts and can be delivered.
    pub(crate) fn root(&self, id: UpdateId) -> Option<u32> {
        self.current_place(id).filter(|place| self.sendable(*place))
    }

    /// Room for all places.
    pub(crate) fn places(&self) -> usize {
        self.rows.len()
    }

    /// Follows bundles and prerequisites from `root` through all that was not `reached` yet, and tells `meet` of each revision as often
    /// as it is come to. A circle ends where it began.
    pub(crate) fn follow(&self, root: u32, reached: &mut Bits, mut meet: impl FnMut(u32, Way)) {
        let mut line = VecDeque::new();
        meet(root, Way::Root);
        if reached.add(root) {
            line.push_back(root);
        }
        while let Some(row) = line.pop_front().and_then(|place| self.row(place)) {
            let members = row.links.members().map(|(update, revision)| (self.revision(update, revision), Way::Member));
            let named = row.links.prerequisites().map(|update| {
                let place = self.updates.get(update as usize).map_or(NONE, |update| update.current);
                (place, Way::Prerequisite)
            });
            for (place, way) in members.chain(named) {
                if self.sendable(place) {
                    meet(place, way);
                    if reached.add(place) {
                        line.push_back(place);
                    }
                }
            }
        }
    }

    /// The place of one revision of an update.
    fn revision(&self, update: u32, revision: u32) -> u32 {
        let mut at = self.updates.get(update as usize).map_or(NONE, |update| update.first);
        while let Some(row) = self.row(at) {
            if row.revision == revision {
                return at;
            }
            at = row.next;
        }
        NONE
    }

    /// Places of updates whose being installed decides, by itself or through the bundles between, whether one that others name as a
    /// prerequisite is: the parts of what is `reached` and no leaf. An agent takes a bundle for installed once its parts are.
    pub(crate) fn deciding_parts(&self, reached: &Bits) -> Bits {
        let is_named = |update: u32| self.updates.get(update as usize).is_some_and(|update| update.named > 0);
        let mut by_update: HashMap<u32, Vec<&Row>> = HashMap::new();
        for row in reached.iter().filter_map(|place| self.row(place)) {
            by_update.entry(row.update).or_default().push(row);
        }
        let mut line: Vec<u32> = by_update.keys().copied().filter(|update| is_named(*update)).collect();
        let mut parts = Bits::new(self.updates.len());
        while let Some(bundle) = line.pop() {
            let rows = by_update.get(&bundle).into_iter().flatten();
            for (part, _) in rows.flat_map(|row| row.links.members()) {
                if parts.add(part) {
                    line.push(part);
                }
            }
        }
        parts
    }

    /// Of several revisions of one update in `reached` the one that counts, else the highest, stays; the others go.
    pub(crate) fn one_of_each(&self, reached: &mut Bits) {
        let all: Vec<u32> = reached.iter().collect();
        for place in all {
            let Some(row) = self.row(place) else { continue };
            let Some(update) = self.updates.get(row.update as usize) else { continue };
            if place == update.current || row.next == NONE && update.first == place {
                continue;
            }
            let mut at = update.first;
            while let Some(other) = self.row(at) {
                let is_better = at == update.current || other.revision > row.revision;
                if at != place && is_better && reached.has(at) {
                    reached.remove(place);
                    break;
                }
                at = other.next;
            }
        }
    }

    /// What is at a place.
    pub(crate) fn seen(&self, place: u32) -> Option<Seen<'_>> {
        let row = self.row(place)?;
        let update = self.updates.get(row.update as usize)?;
        Some(Seen {
            number: row.number,
            identity: self.identity(row),
            update: row.update,
            core: row.core,
            is_leaf: update.named == 0,
            leaf_since: update.since,
            row,
        })
    }

    /// All numbers that revisions of an update have or had: an endpoint that holds one of them holds the update.
    pub(crate) fn numbers(&self, update: u32) -> Vec<u32> {
        let Some(of) = self.updates.get(update as usize) else { return vec![] };
        let mut numbers = Vec::new();
        let mut at = of.first;
        while let Some(row) = self.row(at) {
            numbers.push(row.number);
            at = row.next;
        }
        let mut at = of.past;
        while let Some((number, next)) = self.past.get(at as usize) {
            numbers.push(*number);
            at = *next;
        }
        numbers
    }

    /// Places of the categories that are these or stand below one of them.
    pub(crate) fn categories_below(&self, ids: &[UpdateId]) -> Bits {
        let mut found = Bits::new(self.updates.len());
        for id in ids {
            if let Some(at) = self.ids.get(id) {
                found.add(*at);
            }
        }
        let categories: Vec<&Row> = self
            .updates
            .iter()
            .filter_map(|update| self.row(update.current))
            .filter(|row| matches!(row.kind, Kind::Category(_)))
            .collect();
        // As often as the tree has levels; in a circle nothing new turns up.
        loop {
            let mut has_more = false;
            for row in &categories {
                has_more |= row.links.categories().any(|above| found.has(above)) && found.add(row.update);
            }
            if !has_more {
                return found;
            }
        }
    }

    /// The licences of an update with all that it bundles.
    pub fn eulas(&self, id: UpdateId) -> Vec<UpdateId> {
        let (mut found, mut reached) = (Vec::new(), Bits::new(self.rows.len()));
        let mut line: Vec<u32> = self.current_place(id).into_iter().collect();
        // Nearly every update is without.
        if self.eulas.is_empty() {
            return found;
        }
        while let Some(place) = line.pop() {
            if reached.add(place) {
                found.extend(self.eulas.get(&place).copied());
                let members = self.row(place).into_iter().flat_map(|row| row.links.members());
                line.extend(members.map(|(update, revision)| self.revision(update, revision)).filter(|at| *at != NONE));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Numbers of all revisions that these updates need with them, rising: what is there of their bundles and prerequisites, categories
    /// among them, one revision of each.
    pub fn closure(&self, ids: &[UpdateId]) -> Vec<u32> {
        let mut reached = Bits::new(self.rows.len());
        for root in ids.iter().filter_map(|id| self.root(*id)) {
            self.follow(root, &mut reached, |_, _| ());
        }
        self.one_of_each(&mut reached);
        let mut numbers: Vec<u32> = reached.iter().filter_map(|place| self.row(place)).map(|row| row.number).collect();
        numbers.sort_unstable();
        numbers
    }
}
