//! How all updates of the catalog hang together, in memory: prerequisites, bundles, supersedence, and which updates are leaves.
//!
//! A revision has a place (a small number that is used again when it goes), an update has another one that it keeps. Edges are such
//! places in one slice a revision, so that a walk touches little memory and data that goes in circles does no harm. At 100,000
//! updates of realistic shape it takes 203 bytes an update (`benches/scan.rs`).
//!
//! 1. Revisions go in, in any order ([`Graph::insert`]), and out ([`Graph::remove`]); [`Graph::is_leaf`] is kept up with each.
//! 2. The revision that counts of an update is told by the catalog, not by its number: after a change of upstream a lower one may.
//! 3. Numbers of revisions that went are remembered, since an endpoint that holds one of them holds a revision of that update.

mod links;
pub(crate) mod walk;

use std::collections::{BTreeSet, HashMap};

use crate::fleet::bits::Bits;
use crate::fleet::graph::links::Links;
use crate::model::deployment::Day;
use crate::model::update::{CategoryKind, Identity, Kind, UpdateId};
use crate::store::catalog::Related;

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

const CURRENT: u8 = 1;
const DEPLOYABLE: u8 = 2;
const EXPIRED: u8 = 4;
const REFUSED: u8 = 8;
const UNPROVEN: u8 = 16;
const DATED: u8 = 32;

/// A revision.
#[derive(Clone, Debug)]
struct Row {
    number: u32,
    update: u32,
    revision: u32,
    /// The place of another revision of the same update.
    next: u32,
    /// Bytes of its Core fragment.
    core: u32,
    created: Day,
    changed: u64,
    kind: Kind,
    flags: u8,
    links: Links,
}

impl Row {
    /// Whether it counts and is offered, so that what it says of others does.
    fn speaks(&self) -> bool {
        self.flags & (CURRENT | EXPIRED | REFUSED) == CURRENT
    }
}

/// An update, held or only named.
#[derive(Clone, Debug)]
struct Update {
    id: UpdateId,
    /// The place of the revision that counts.
    current: u32,
    /// The place of one of its revisions.
    first: u32,
    /// The latest of its numbers that are past, in `past`.
    past: u32,
    /// Revisions of other updates that name it as a prerequisite.
    named: u32,
    /// The logical clock when it became what it is, leaf or not; not earlier, as far as what is here can tell.
    since: u64,
}

/// The graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    rows: Vec<Row>,
    /// Places of rows that are free.
    free: Vec<u32>,
    updates: Vec<Update>,
    ids: HashMap<UpdateId, u32>,
    /// Number of a revision -> its place.
    places: HashMap<u32, u32>,
    /// Numbers that were a revision's of an update; each points to the next one of the same update.
    past: Vec<(u32, u32)>,
    /// Licences; few updates have one.
    eulas: HashMap<u32, UpdateId>,
    clock: u64,
}

/// An update that can be approved by itself, as the graph has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The revision that counts.
    pub identity: Identity,
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
    /// It was withdrawn.
    pub expired: bool,
    /// It must not be offered.
    pub refused: bool,
    /// When it was made.
    pub created: Option<Day>,
    /// The logical clock of its last change.
    pub changed: u64,
    /// Its products and classifications.
    pub categories: Vec<UpdateId>,
}

impl Graph {
    /// The logical clock of the catalog up to which it is complete.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// It is complete up to here.
    pub fn set_clock(&mut self, clock: u64) {
        self.clock = self.clock.max(clock);
    }

    /// Revisions in it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts a revision in, or in the place of what it was.
    pub fn insert(&mut self, related: &Related) {
        let update = self.update(related.identity.id);
        let links = Links::new(related, |id| self.update(id));
        // Before the old ones go: what stays named is not a leaf for a moment.
        for named in links.named(update) {
            if let Some(of) = self.updates.get_mut(named as usize) {
                of.since = if of.named == 0 { related.changed } else { of.since.min(related.changed) };
                of.named += 1;
            }
        }
        let place = match self.places.get(&related.number) {
            Some(place) => *place,
            None => self.place(related.number, update),
        };
        let mut flags = 0;
        for (is_so, flag) in [
            (related.current, CURRENT),
            (related.deployable, DEPLOYABLE),
            (related.expired, EXPIRED),
            (related.refused, REFUSED),
            (related.unauthenticated, UNPROVEN),
            (related.created.is_some(), DATED),
        ] {
            flags |= if is_so { flag } else { 0 };
        }
        let Some(row) = self.rows.get_mut(place as usize) else { return };
        let old = std::mem::replace(&mut row.links, links);
        row.revision = related.identity.revision;
        row.core = u32::try_from(related.core).unwrap_or(u32::MAX);
        row.created = related.created.map_or(Day::default(), Day::from);
        row.changed = related.changed;
        row.kind = related.kind;
        row.flags = flags;
        self.unname(&old, update, related.changed);
        match related.eula {
            Some(eula) => drop(self.eulas.insert(place, eula)),
            None => drop(self.eulas.remove(&place)),
        }
        let before = self.updates.get(update as usize).map_or(NONE, |update| update.current);
        if related.current && before != place {
            if let Some(before) = self.rows.get_mut(before as usize) {
                before.flags &= !CURRENT;
            }
            self.set_current(update, place);
        } else if !related.current && before == place {
            self.set_current(update, NONE);
        }
    }

    /// Takes a revision out; `clock` is that of the change.
    pub fn remove(&mut self, number: u32, clock: u64) {
        let Some(place) = self.places.remove(&number) else { return };
        let Some(row) = self.rows.get_mut(place as usize) else { return };
        let (update, next) = (row.update, row.next);
        let links = std::mem::take(&mut row.links);
        self.unname(&links, update, clock);
        self.eulas.remove(&place);
        let Some(of) = self.updates.get_mut(update as usize) else { return };
        if of.current == place {
            of.current = NONE;
        }
        if of.first == place {
            of.first = next;
        } else {
            let mut at = of.first;
            while let Some(row) = self.rows.get_mut(at as usize) {
                if row.next == place {
                    row.next = next;
                    break;
                }
                at = row.next;
            }
        }
        self.free.push(place);
        self.remember(number, update);
    }

    /// A number that was once given to a revision of an update.
    pub fn insert_past(&mut self, number: u32, id: UpdateId) {
        if !self.places.contains_key(&number) {
            let update = self.update(id);
            self.remember(number, update);
        }
    }

    fn remember(&mut self, number: u32, update: u32) {
        let at = u32::try_from(self.past.len()).unwrap_or(NONE);
        let Some(of) = self.updates.get_mut(update as usize) else { return };
        self.past.push((number, of.past));
        of.past = at;
    }

    fn unname(&mut self, links: &Links, update: u32, clock: u64) {
        for named in links.named(update) {
            if let Some(of) = self.updates.get_mut(named as usize) {
                of.named = of.named.saturating_sub(1);
                if of.named == 0 {
                    of.since = clock;
                }
            }
        }
    }

    fn set_current(&mut self, update: u32, place: u32) {
        if let Some(of) = self.updates.get_mut(update as usize) {
            of.current = place;
        }
    }

    /// The place of an update; a new one where nobody has named it.
    fn update(&mut self, id: UpdateId) -> u32 {
        let next = u32::try_from(self.updates.len()).unwrap_or(NONE);
        let updates = &mut self.updates;
        *self.ids.entry(id).or_insert_with(|| {
            updates.push(Update { id, current: NONE, first: NONE, past: NONE, named: 0, since: 0 });
            next
        })
    }

    /// A place for a revision.
    fn place(&mut self, number: u32, update: u32) -> u32 {
        let next = self.updates.get(update as usize).map_or(NONE, |update| update.first);
        let row = Row {
            number,
            update,
            revision: 0,
            next,
            core: 0,
            created: Day::default(),
            changed: 0,
            kind: Kind::default(),
            flags: 0,
            links: Links::default(),
        };
        let place = if let Some(place) = self.free.pop() {
            if let Some(slot) = self.rows.get_mut(place as usize) {
                *slot = row;
            }
            place
        } else {
            self.rows.push(row);
            u32::try_from(self.rows.len() - 1).unwrap_or(NONE)
        };
        self.places.insert(number, place);
        if let Some(of) = self.updates.get_mut(update as usize) {
            of.first = place;
        }
        place
    }

    /// Whether no other update names it as a prerequisite, in any clause, categories among them, over the whole catalog (MS-WUSP
    /// 3.1.5.7, IsLeaf). Revisions that a bundle keeps although a higher one counts are asked too: they are sent, and an endpoint that
    /// takes what they name for a leaf never gets them.
    pub fn is_leaf(&self, id: UpdateId) -> bool {
        self.ids.get(&id).and_then(|at| self.updates.get(*at as usize)).is_none_or(|update| update.named == 0)
    }

    /// What kind of category an update is.
    pub fn category(&self, id: UpdateId) -> Option<CategoryKind> {
        match self.row(self.current_place(id)?)?.kind {
            Kind::Category(kind) => Some(kind),
            _ => None,
        }
    }

    /// Whether it is what a scan may bring whatever is ordered: the revision that counts of a category or a detectoid. A scan for
    /// categories brings these although nothing that is delivered needs them.
    pub fn is_common(&self, number: u32) -> bool {
        let Some(place) = self.places.get(&number).copied().filter(|place| self.sendable(*place)) else { return false };
        self.row(place)
            .is_some_and(|row| row.flags & CURRENT != 0 && matches!(row.kind, Kind::Category(_) | Kind::Detectoid))
    }

    /// The number of the revision of an update that counts.
    pub fn current(&self, id: UpdateId) -> Option<u32> {
        self.row(self.current_place(id)?).map(|row| row.number)
    }

    /// All updates that can be approved by themselves and of which a revision counts, with what rules ask of them.
    pub fn deployable(&self) -> impl Iterator<Item = Found> + '_ {
        self.deployable_at().map(|(_, found)| found)
    }

    /// The same, each with the place of the update.
    pub(crate) fn deployable_at(&self) -> impl Iterator<Item = (u32, Found)> + '_ {
        let rows = self.updates.iter().filter_map(|update| self.row(update.current));
        rows.filter(|row| row.flags & DEPLOYABLE != 0).map(move |row| {
            let found = Found {
                identity: self.identity(row),
                number: row.number,
                kind: row.kind,
                expired: row.flags & EXPIRED != 0,
                refused: row.flags & REFUSED != 0,
                created: (row.flags & DATED != 0).then_some(row.created),
                changed: row.changed,
                categories: row.links.categories().filter_map(|at| self.id(at)).collect(),
            };
            (row.update, found)
        })
    }

    /// As many places as updates have, for sets of them.
    pub(crate) fn updates(&self) -> usize {
        self.updates.len()
    }

    /// Places of updates that something superseded which counts, is offered, and is not passed over; what supersedes such a one covers
    /// it, through whatever lies between.
    pub(crate) fn covered(&self, passed_over: &Bits) -> Bits {
        let mut found = Bits::new(self.updates.len());
        let looked_for = |row: &&Row| row.speaks() && !passed_over.has(row.update);
        let mut open: Vec<&Row> = self.rows.iter().filter(looked_for).collect();
        while let Some(row) = open.pop() {
            for of in self.superseded_by(row) {
                if found.add(of) {
                    let through = self.updates.get(of as usize).and_then(|update| self.row(update.current));
                    open.extend(through.filter(|row| row.speaks() && passed_over.has(row.update)));
                }
            }
        }
        found
    }

    /// Updates that something supersedes which counts and is offered, whoever looks for it: what the catalog takes for superseded.
    pub fn superseded(&self) -> BTreeSet<UpdateId> {
        self.covered(&Bits::new(self.updates.len())).iter().filter_map(|at| self.id(at)).collect()
    }

    /// What a row supersedes. As in the catalog: what proves nothing says nothing of what was proven, and of two that name each other
    /// neither counts.
    fn superseded_by<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = u32> + 'a {
        row.links.supersedes().filter(|of| *of != row.update).filter(move |of| {
            let other = self.updates.get(*of as usize).and_then(|update| self.row(update.current));
            other.is_none_or(|other| {
                let is_weaker = |a: &Row, b: &Row| a.flags & UNPROVEN != 0 && b.flags & UNPROVEN == 0;
                let contradicts =
                    other.speaks() && !is_weaker(other, row) && other.links.supersedes().any(|back| back == row.update);
                !is_weaker(row, other) && !contradicts
            })
        })
    }

    fn row(&self, place: u32) -> Option<&Row> {
        self.rows.get(place as usize)
    }

    fn current_place(&self, id: UpdateId) -> Option<u32> {
        let update = self.updates.get(*self.ids.get(&id)? as usize)?;
        (update.current != NONE).then_some(update.current)
    }

    fn id(&self, update: u32) -> Option<UpdateId> {
        self.updates.get(update as usize).map(|update| update.id)
    }

    fn identity(&self, row: &Row) -> Identity {
        let id = self.id(row.update).unwrap_or(UpdateId::new([0; 16]));
        Identity { id, revision: row.revision }
    }

    /// Bytes that it takes, allocations counted as what was asked for.
    pub fn bytes(&self) -> usize {
        // A table of the standard library has one byte beside each of its slots, and an eighth more slots than it tells of.
        let table = |capacity: usize, slot: usize| capacity / 7 * 8 * (slot + 1);
        self.rows.capacity() * size_of::<Row>()
            + self.rows.iter().map(|row| row.links.bytes()).sum::<usize>()
            + self.free.capacity() * size_of::<u32>()
            + self.updates.capacity() * size_of::<Update>()
            + table(self.ids.capacity(), size_of::<(UpdateId, u32)>())
            + table(self.places.capacity(), size_of::<(u32, u32)>())
            + table(self.eulas.capacity(), size_of::<(u32, UpdateId)>())
            + self.past.capacity() * size_of::<(u32, u32)>()
    }
}

#[cfg(test)]
mod tests;
