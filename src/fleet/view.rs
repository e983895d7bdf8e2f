//! What is delivered to a set of groups: all revisions that they need, what is to be done with each, and what must hold before it.
//! Made once for a state of catalog and approvals; a request is answered from it alone.
//!
//! 1. From each ordered update its bundles and prerequisites are followed. What was ordered has the action that was; parts of
//!    bundles have `Bundle`, also where they are bundles themselves; the rest has `Evaluate`. Of several the strongest counts.
//! 2. Of each update one revision stays.
//! 3. Clauses that are the same are one clause, so that "Windows 11" is asked about once in a request and not once an update.
//! 4. Each revision has a stamp: the logical clock when what a client is told of it changed last. What somebody ordered has that of the
//!    order; what follows from orders has the earliest of those it follows from; becoming a leaf, or none, counts too. Where the view of
//!    the state before is known, what differs from it has the stamp of now, whatever the reason.

mod clauses;
mod numbers;

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::base::time::Timestamp;
use crate::fleet::bits::Bits;
use crate::fleet::error::Error;
use crate::fleet::graph::Graph;
use crate::fleet::graph::walk::Way;
use crate::fleet::order::Ordered;
use crate::fleet::scan::CATEGORIES_MAX;
use crate::fleet::view::clauses::{Builder, Clauses};
use crate::fleet::view::numbers::Numbers;
use crate::model::deployment::{Action, Day, Deployment};
use crate::model::update::{Identity, UpdateId};

/// Bytes of the longest Core fragment that is delivered: an answer with it is made in memory, and cumulative updates have 47 MB at most.
const CORE_MAX: u32 = 60 << 20;

/// One revision of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub number: u32,
    /// Which revision of which update.
    pub identity: Identity,
    /// What is to be done; never `Block`.
    pub action: Action,
    /// Until when.
    pub deadline: Option<Timestamp>,
    /// The day of the last change of that.
    pub changed: Day,
    /// No update names it as a prerequisite.
    pub is_leaf: bool,
    /// It is a part of a bundle that others name as a prerequisite, or of a part of one: once it is installed, so may that bundle be.
    pub decides: bool,
    /// Bytes of its Core fragment.
    pub core: u32,
    /// The logical clock when what a client is told of it changed last.
    pub stamp: u64,
    /// The same of its being a leaf alone.
    pub leaf_stamp: u64,
}

impl Entry {
    /// What a client is told.
    pub fn deployment(&self) -> Deployment {
        Deployment { id: self.number, action: self.action, deadline: self.deadline, changed: self.changed }
    }
}

/// What is delivered to a set of groups.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// In the order of numbers.
    entries: Vec<Entry>,
    /// Where the entries are, in the order in which they are sent: what is no leaf first, so that an endpoint soon knows what it is.
    order: Vec<u32>,
    numbers: Numbers,
    clauses: Clauses,
    clock: u64,
    bytes: u64,
}

/// What is gathered of a revision.
#[derive(Clone, Copy)]
struct Met {
    action: Action,
    deadline: Option<Timestamp>,
    stamp: u64,
}

impl View {
    /// The view of what was ordered, at a logical clock that is not earlier than any change in graph and orders. `before`: the view of the
    /// same groups in an earlier state, if it is known.
    pub fn new(graph: &Graph, ordered: &[Ordered], clock: u64, before: Option<&Self>) -> Self {
        let mut met: Vec<Option<Met>> = vec![None; graph.places()];
        let mut reached = Bits::new(graph.places());
        let mut roots: Vec<(&Ordered, u32)> =
            ordered.iter().filter_map(|order| Some((order, graph.root(order.update)?))).collect();
        // The earliest first: it is the one that its followers have been there for. Of the same update the strongest.
        roots.sort_by_key(|(order, place)| (order.changed, Reverse(order.action), *place));
        for (order, root) in &roots {
            graph.follow(*root, &mut reached, |place, way| {
                let Some(met) = met.get_mut(place as usize) else { return };
                let new = Met {
                    action: match way {
                        Way::Root => order.action.sent(),
                        Way::Member => Action::Bundle,
                        Way::Prerequisite => Action::Evaluate,
                    },
                    deadline: order.deadline.filter(|_| way == Way::Root && order.action.is_change()),
                    stamp: order.changed,
                };
                if met.is_none_or(|met| met.action < new.action) {
                    *met = Some(new);
                }
            });
        }
        Self::gather(graph, reached, &met, clock, before)
    }

    /// The part of this view that has to do with some categories, as a scan for them wants it: what is ordered and has one of them or one
    /// below them, with all that it needs; and the categories themselves, with what they stand below. At most [`CATEGORIES_MAX`] of them.
    pub fn only(&self, graph: &Graph, categories: &[UpdateId]) -> Result<Self, Error> {
        if categories.len() > CATEGORIES_MAX {
            return Err(Error::Long { list: "FilterCategoryIds", many: categories.len(), max: CATEGORIES_MAX });
        }
        let mut reached = Bits::new(graph.places());
        let wanted = graph.categories_below(categories);
        let mut met: Vec<Option<Met>> = vec![None; graph.places()];
        let mut roots: Vec<u32> = categories.iter().filter_map(|id| graph.root(*id)).collect();
        for entry in self.entries.iter().filter(|entry| entry.action > Action::Bundle) {
            let Some(place) = graph.root(entry.identity.id) else { continue };
            let Some(seen) = graph.seen(place) else { continue };
            if seen.categories().any(|category| wanted.has(category)) {
                roots.push(place);
            }
        }
        for root in roots {
            graph.follow(root, &mut reached, |place, way| {
                let Some(met) = met.get_mut(place as usize) else { return };
                let action = if way == Way::Member { Action::Bundle } else { Action::Evaluate };
                if met.is_none_or(|met| met.action < action) {
                    *met = Some(Met { action, deadline: None, stamp: 0 });
                }
            });
        }
        for place in reached.iter() {
            let entry = graph.seen(place).and_then(|seen| self.entry(seen.number));
            if let (Some(met), Some(entry)) = (met.get_mut(place as usize), entry) {
                *met = Some(Met { action: entry.action, deadline: entry.deadline, stamp: entry.stamp });
            }
        }
        // What is the same in both has the same stamp.
        Ok(Self::gather(graph, reached, &met, self.clock, Some(self)))
    }

    /// Steps 2 to 4.
    fn gather(graph: &Graph, mut reached: Bits, met: &[Option<Met>], clock: u64, before: Option<&Self>) -> Self {
        graph.one_of_each(&mut reached);
        let deciding = graph.deciding_parts(&reached);
        let mut found: Vec<_> =
            reached.iter().filter_map(|place| Some((graph.seen(place)?, (*met.get(place as usize)?)?))).collect();
        // No answer has room for it, and who needs it needs the whole of it.
        found.retain(|(seen, _)| seen.core <= CORE_MAX);
        found.sort_unstable_by_key(|(seen, _)| seen.number);
        let mut builder = Builder::default();
        let mut entries = Vec::with_capacity(found.len());
        let mut by_update = HashMap::with_capacity(found.len());
        for ((seen, met), at) in found.into_iter().zip(0_u32..) {
            by_update.insert(seen.update, at);
            builder.push(seen.clauses(), |update| graph.numbers(update));
            let leaf_stamp = seen.leaf_since.min(clock);
            let mut entry = Entry {
                number: seen.number,
                identity: seen.identity,
                action: met.action,
                deadline: met.deadline,
                changed: Day::from(Timestamp::from_ms(met.stamp)),
                is_leaf: seen.is_leaf,
                decides: deciding.has(seen.update),
                core: seen.core,
                stamp: met.stamp.min(clock).max(leaf_stamp),
                leaf_stamp,
            };
            if let Some(old) = before.and_then(|before| before.entry(seen.number)) {
                let is_leaf_same = old.is_leaf == entry.is_leaf;
                let is_same = is_leaf_same && (old.action, old.deadline) == (entry.action, entry.deadline);
                entry.leaf_stamp = if is_leaf_same { old.leaf_stamp } else { clock };
                entry.stamp = if is_same { old.stamp } else { clock };
                entry.changed = if is_same { old.changed } else { Day::from(Timestamp::from_ms(clock)) };
            }
            entries.push(entry);
        }
        let mut order: Vec<u32> = (0..).take(entries.len()).collect();
        order.sort_by_key(|at| entries.get(*at as usize).is_some_and(|entry: &Entry| entry.is_leaf));
        let bytes = entries.iter().map(|entry| u64::from(entry.core)).sum();
        let numbers = Numbers::new(entries.iter().map(|entry| entry.number));
        Self { entries, order, numbers, clauses: builder.build(&by_update), clock, bytes }
    }

    /// The logical clock of the state that it is of.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// All that is in it, by number.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is in it of this number.
    pub fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get(self.find(number)? as usize)
    }

    /// Where the entry of a number is.
    pub(crate) fn find(&self, number: u32) -> Option<u32> {
        self.numbers.place(number)
    }

    /// Bytes of all Core fragments together: with what a machine at its first scan has to evaluate.
    pub fn core_bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries in the order in which they are sent.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    pub(crate) fn at(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)
    }

    /// The entries of which every clause holds where these are installed.
    pub(crate) fn needed(&self, installed: impl IntoIterator<Item = u32>) -> Bits {
        self.clauses.hold(installed)
    }

    /// The entry that an installed revision of this number stands for, where others name it.
    pub(crate) fn stands_for(&self, number: u32) -> Option<u32> {
        self.clauses.stands_for(number)
    }

    /// Bytes that it takes in memory.
    pub fn size(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.order.capacity() * size_of::<u32>()
            + self.numbers.bytes()
            + self.clauses.bytes()
    }
}
