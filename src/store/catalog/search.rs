//! Searching for views: a small index in memory of every revision that counts, walked from the newest to the oldest.
//!
//! Views ask for parts of words of titles and for any mix of conditions; no order of rows answers that, and walking the rows
//! themselves would read tens of MB for each question. What it costs in memory and time at 100,000 updates is measured by
//! `benches/catalog.rs`. What is shown of a page is then read from the rows.
//!
//! 1. Nothing is built before the first search; then it is built from a snapshot, beside the changes of commits that come
//!    meanwhile, which may be in it already: each of them says the same twice without harm.
//! 2. The writer only queues what changed; the next search takes it over. Where nobody searches for so long that the queue
//!    is full, the index is thrown away and built again when somebody does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::ReadableTable;

use crate::model::update::Kind;
use crate::store::catalog::facts::{kind_code, kind_of, severity_code};
use crate::store::catalog::look::summary;
use crate::store::catalog::tables::{Guid, REVISIONS, RevisionRow, read};
use crate::store::catalog::value::{Cursor, Hit, Page, Query, State};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

/// Changes that wait for the next search: a few MB.
const QUEUE_MAX: usize = 8192;
/// Lines of one page.
pub const PAGE_MAX: usize = 500;
/// Words that one search looks for.
const WORDS_MAX: usize = 16;

/// A change of a revision that counts.
#[derive(Clone, Debug)]
pub(crate) enum Delta {
    /// It counts now, or is another one.
    Put(u32, Box<RevisionRow>),
    /// It does not count any more.
    Remove(u32),
}

struct Entry {
    id: Guid,
    kind: u8,
    severity: u8,
    expired: bool,
    refused: bool,
    deployable: bool,
    /// In lower case.
    title: Box<str>,
    kbs: Box<[Box<str>]>,
    /// Numbers of [`Lines::categories`].
    categories: Box<[u32]>,
    /// What it supersedes; nothing where it is withdrawn.
    supersedes: Box<[Guid]>,
}

type Place = Reverse<(u64, u32)>;

#[derive(Default)]
struct Lines {
    entries: BTreeMap<Place, Entry>,
    places: HashMap<u32, u64>,
    categories: HashMap<Guid, u32>,
    /// How many entries supersede an update.
    superseded: HashMap<Guid, u32>,
}

#[derive(Default)]
struct Queue {
    /// Whether anybody wants changes.
    is_open: bool,
    /// Some were lost: build again.
    is_lost: bool,
    deltas: Vec<Delta>,
}

/// The index in memory.
#[derive(Default)]
pub(crate) struct Search {
    lines: Mutex<Option<Lines>>,
    queue: Mutex<Queue>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("waiting", &self.queue().deltas.len()).finish_non_exhaustive()
    }
}

impl Lines {
    fn remove(&mut self, number: u32) {
        let Some(created) = self.places.remove(&number) else { return };
        let Some(entry) = self.entries.remove(&Reverse((created, number))) else { return };
        for id in &entry.supersedes {
            if let Some(count) = self.superseded.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    self.superseded.remove(id);
                }
            }
        }
    }

    fn put(&mut self, number: u32, row: &RevisionRow) {
        self.remove(number);
        let categories = row.categories.iter().map(|id| {
            let next = u32::try_from(self.categories.len()).unwrap_or(u32::MAX);
            *self.categories.entry(*id).or_insert(next)
        });
        let categories = categories.collect();
        let expired = row.publication != 0;
        // Once each, as they are counted.
        let supersedes: BTreeSet<Guid> =
            if expired { BTreeSet::new() } else { row.supersedes.iter().copied().collect() };
        for id in &supersedes {
            *self.superseded.entry(*id).or_insert(0) += 1;
        }
        let created = row.created.unwrap_or(0);
        let entry = Entry {
            id: row.id,
            kind: row.kind,
            severity: row.severity,
            expired,
            refused: row.refused,
            deployable: row.deployable,
            title: row.title.to_lowercase().into_boxed_str(),
            kbs: row.kbs.iter().map(|kb| kb.as_str().into()).collect(),
            categories,
            supersedes: supersedes.into_iter().collect(),
        };
        self.places.insert(number, created);
        self.entries.insert(Reverse((created, number)), entry);
    }

    fn apply(&mut self, delta: &Delta) {
        match delta {
            Delta::Put(number, row) => self.put(*number, row),
            Delta::Remove(number) => self.remove(*number),
        }
    }

    fn state(&self, entry: &Entry) -> State {
        if entry.refused {
            State::Refused
        } else if entry.expired {
            State::Expired
        } else if self.superseded.contains_key(&entry.id) {
            State::Superseded
        } else {
            State::Current
        }
    }

    /// The numbers of a page with their states, and how many there are in all.
    fn find(&self, query: &Query) -> (Vec<(Place, State)>, u64) {
        let text = query.text.to_lowercase();
        let words: Vec<&str> = text.split_whitespace().take(WORDS_MAX).collect();
        let category = |id: Option<crate::model::update::UpdateId>| match id {
            None => Some(None),
            Some(id) => self.categories.get(id.bytes()).map(|known| Some(*known)),
        };
        let (Some(classification), Some(product)) = (category(query.classification), category(query.product)) else {
            return (Vec::new(), 0);
        };
        let any_of: Vec<u32> = query.any_of.iter().filter_map(|id| self.categories.get(id.bytes()).copied()).collect();
        let kinds: Vec<u8> = query.kinds.iter().map(|kind| kind_code(*kind)).collect();
        let severity = query.severity.map_or(0, severity_code);
        let limit = query.limit.clamp(1, PAGE_MAX);
        let (mut found, mut total) = (Vec::new(), 0);
        for (place, entry) in &self.entries {
            let Reverse((created, number)) = *place;
            if query.until.is_some_and(|until| created >= until.ms())
                || query.from.is_some_and(|from| created < from.ms())
                || !(query.hidden || entry.deployable)
                || entry.severity < severity
                || !(kinds.is_empty() || kinds.contains(&entry.kind))
                || classification.is_some_and(|wanted| !entry.categories.contains(&wanted))
                || product.is_some_and(|wanted| !entry.categories.contains(&wanted))
                || !(query.any_of.is_empty() || any_of.iter().any(|wanted| entry.categories.contains(wanted)))
                || query.kb.as_ref().is_some_and(|kb| !entry.kbs.iter().any(|known| **known == **kb))
                || !words.iter().all(|word| entry.title.contains(word))
            {
                continue;
            }
            let state = self.state(entry);
            if !(query.states.is_empty() || query.states.contains(&state)) {
                continue;
            }
            total += 1;
            // One more than the page tells whether there is another.
            let is_behind = query.after.is_none_or(|after| (created, number) < (after.created, after.number));
            if is_behind && found.len() <= limit {
                found.push((*place, state));
            }
        }
        (found, total)
    }
}

impl Search {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a commit; called by the writer, and never waits for a search.
    pub(crate) fn push(&self, deltas: Vec<Delta>) {
        let mut queue = self.queue();
        if !queue.is_open || queue.is_lost {
            return;
        }
        if queue.deltas.len() + deltas.len() > QUEUE_MAX {
            queue.is_lost = true;
            queue.deltas = Vec::new();
            return;
        }
        queue.deltas.extend(deltas);
    }
}

impl Core {
    /// Runs `look` on the index in memory as of now. Blocks.
    fn with_lines<T>(&self, look: impl FnOnce(&Lines) -> T) -> Result<T, Error> {
        let search = &self.catalog.search;
        let mut lines = search.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue = search.queue();
        if lines.is_none() || queue.is_lost {
            // Changes from here on are kept; those of before are in the snapshot.
            *queue = Queue { is_open: true, ..Queue::default() };
            drop(queue);
            *lines = None;
            *lines = Some(self.index.read(|tx| {
                let mut lines = Lines::default();
                let Some(table) = read(tx, REVISIONS)? else { return Ok(lines) };
                for row in table.iter()? {
                    let (number, row) = row?;
                    let row: RevisionRow = decode("catalog-revisions.1", row.value())?;
                    if row.current {
                        lines.put(number.value(), &row);
                    }
                }
                Ok(lines)
            })?);
            queue = search.queue();
        }
        let deltas = std::mem::take(&mut queue.deltas);
        drop(queue);
        let lines = lines.get_or_insert_default();
        for delta in &deltas {
            lines.apply(delta);
        }
        Ok(look(lines))
    }

    /// A page of what `query` asks for.
    pub(crate) fn search(&self, query: &Query) -> Result<Page, Error> {
        let (mut found, total) = self.with_lines(|lines| lines.find(query))?;
        let limit = query.limit.clamp(1, PAGE_MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|(Reverse((created, number)), _)| Cursor { created: *created, number: *number });
        self.index.read(|tx| {
            let Some(table) = read(tx, REVISIONS)? else { return Ok(Page::default()) };
            let mut hits = Vec::new();
            for (Reverse((_, number)), state) in &found {
                // One that went meanwhile is left out.
                if let Some(row) = table.get(*number)? {
                    let row = decode("catalog-revisions.1", row.value())?;
                    hits.push(Hit { summary: summary(*number, row)?, state: *state });
                }
            }
            Ok(Page { hits, total, next })
        })
    }

    /// How many updates there are of each kind and state.
    pub(crate) fn census(&self) -> Result<BTreeMap<(Kind, State), u64>, Error> {
        let counted = self.with_lines(|lines| {
            let mut census = BTreeMap::new();
            for entry in lines.entries.values() {
                *census.entry((entry.kind, lines.state(entry))).or_insert(0) += 1;
            }
            census
        })?;
        counted.into_iter().map(|((kind, state), many)| Ok(((kind_of(kind)?, state), many))).collect()
    }
}
