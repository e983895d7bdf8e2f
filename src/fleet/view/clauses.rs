//! The clauses of a view: each different one once, over the updates that stand in any of them.

use std::collections::HashMap;

use crate::fleet::bits::Bits;
use crate::fleet::graph::NONE;

/// How often what is installed is looked through for what is not needed any more: as deep as prerequisites hang on each other in real
/// catalogs, several times over. What is left after that the next request finds.
const PASSES_MAX: usize = 64;

/// Clauses of all entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Clauses {
    /// Numbers of revisions, rising, and which update of those that stand in clauses each is one of.
    updates: Vec<(u32, u32)>,
    /// The entry of each of those updates; [`NONE`] where it is not delivered.
    delivered: Vec<u32>,
    /// Where each clause ends in `any_of`.
    ends: Vec<u32>,
    /// Updates of which one must be there.
    any_of: Vec<u32>,
    /// Where what each entry needs ends in `all_of`.
    entry_ends: Vec<u32>,
    /// Clauses that must all hold.
    all_of: Vec<u32>,
}

/// Pieces between ends.
fn pieces<'a>(ends: &'a [u32], of: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
    ends.iter().scan(0, |from, end| {
        let piece = of.get(*from as usize..*end as usize).unwrap_or_default();
        *from = *end;
        Some(piece)
    })
}

impl Clauses {
    /// The entries all of whose clauses hold where revisions of these numbers are installed. One that is not needed itself (any more)
    /// is about to be forgotten by the client, and counts for nothing; an older revision counts for the one that takes its place.
    pub(super) fn hold(&self, installed: impl IntoIterator<Item = u32>) -> Bits {
        let mut here = Bits::new(self.delivered.len());
        for number in installed {
            if let Ok(at) = self.updates.binary_search_by_key(&number, |(number, _)| *number)
                && let Some((_, update)) = self.updates.get(at)
            {
                here.add(*update);
            }
        }
        let mut entries = self.hold_by(&here);
        for _ in 0..PASSES_MAX {
            let is_gone = |update: &u32| {
                let entry = self.delivered.get(*update as usize).copied().unwrap_or(NONE);
                !entries.has(entry)
            };
            let gone: Vec<u32> = here.iter().filter(is_gone).collect();
            if gone.is_empty() {
                break;
            }
            for update in gone {
                here.remove(update);
            }
            entries = self.hold_by(&here);
        }
        entries
    }

    /// The entry that a number stands for in clauses: its own, or that of the revision that takes its place.
    pub(super) fn stands_for(&self, number: u32) -> Option<u32> {
        let at = self.updates.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let entry = *self.delivered.get(self.updates.get(at)?.1 as usize)?;
        (entry != NONE).then_some(entry)
    }

    fn hold_by(&self, here: &Bits) -> Bits {
        let mut holding = Bits::new(self.ends.len());
        for (at, clause) in (0..).zip(pieces(&self.ends, &self.any_of)) {
            if clause.iter().any(|update| here.has(*update)) {
                holding.add(at);
            }
        }
        let mut entries = Bits::new(self.entry_ends.len());
        for (at, clauses) in (0..).zip(pieces(&self.entry_ends, &self.all_of)) {
            if clauses.iter().all(|clause| holding.has(*clause)) {
                entries.add(at);
            }
        }
        entries
    }

    pub(super) fn bytes(&self) -> usize {
        self.updates.capacity() * size_of::<(u32, u32)>()
            + (self.delivered.capacity()
                + self.ends.capacity()
                + self.any_of.capacity()
                + self.entry_ends.capacity()
                + self.all_of.capacity())
                * size_of::<u32>()
    }
}

/// Clauses on the way.
#[derive(Default)]
pub(super) struct Builder {
    clauses: Clauses,
    known: HashMap<Vec<u32>, u32>,
    /// Place of an update in the graph -> which one it is here.
    places: HashMap<u32, u32>,
}

fn len(of: &[u32]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

impl Builder {
    /// The clauses of the next entry; `numbers` tells all numbers of the revisions of an update.
    pub(super) fn push<'a>(
        &mut self,
        clauses: impl Iterator<Item = &'a [u32]>,
        mut numbers: impl FnMut(u32) -> Vec<u32>,
    ) {
        for clause in clauses {
            let mut any_of = clause.to_vec();
            any_of.sort_unstable();
            any_of.dedup();
            let next = len(&self.clauses.ends);
            let known = *self.known.entry(any_of).or_insert_with_key(|any_of| {
                for place in any_of {
                    let fresh = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
                    let update = *self.places.entry(*place).or_insert_with(|| {
                        self.clauses.updates.extend(numbers(*place).into_iter().map(|number| (number, fresh)));
                        fresh
                    });
                    self.clauses.any_of.push(update);
                }
                self.clauses.ends.push(len(&self.clauses.any_of));
                next
            });
            self.clauses.all_of.push(known);
        }
        self.clauses.entry_ends.push(len(&self.clauses.all_of));
    }

    /// All of them; `entries` tells where the entry of an update is, by its place in the graph.
    pub(super) fn build(mut self, entries: &HashMap<u32, u32>) -> Clauses {
        self.clauses.updates.sort_unstable();
        self.clauses.updates.dedup_by_key(|(number, _)| *number);
        self.clauses.delivered = vec![NONE; self.places.len()];
        for (place, update) in &self.places {
            if let (Some(slot), Some(entry)) = (self.clauses.delivered.get_mut(*update as usize), entries.get(place)) {
                *slot = *entry;
            }
        }
        for list in
            [&mut self.clauses.ends, &mut self.clauses.any_of, &mut self.clauses.entry_ends, &mut self.clauses.all_of]
        {
            list.shrink_to_fit();
        }
        self.clauses.updates.shrink_to_fit();
        self.clauses
    }
}
