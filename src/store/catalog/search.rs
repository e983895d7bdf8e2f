//! Searching for views: a small index in memory of every revision that counts (`lines`), walked from the newest to the oldest.
//!
//! Views ask for parts of words of titles and for any mix of conditions; no order of rows answers that, and walking the rows
//! themselves would read tens of MB for each question. What it costs in memory and time at 100,000 updates is measured by
//! `benches/catalog.rs`. What is shown of a page is then read from the rows.
//!
//! 1. Nothing is built before the first search; then it is built from short snapshots of [`SLICE`] rows each.
//! 2. From the first of them on the writer notes which revisions and updates its commits touched, and nothing else of them.
//! 3. The next search, and the first one as soon as it has built, reads those again and puts them in the place of what it
//!    had: so it does not matter which of the changes a snapshot had seen already.
//! 4. Where nobody searches for so long that too much is noted, the index is thrown away and built again when somebody does.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::update::Kind;
use crate::store::catalog::facts::kind_of;
use crate::store::catalog::lines::Lines;
use crate::store::catalog::look::summary;
use crate::store::catalog::tables::{
    Guid, IdKey, NUMBERS, REVISION_COUNT, REVISIONS, SUPERSEDED, id_key, number, of_id_key, read,
};
use crate::store::catalog::value::{Hit, Page, Query, State};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

/// Revisions and updates that are noted for the next search: a quarter of a MiB, and read again in less time than building
/// takes.
const NOTES_MAX: usize = 16 << 10;
/// Rows that one snapshot walks: pages that a commit gave up are only used again when no snapshot needs them any more.
const SLICE: usize = 10_000;
/// Lines of one page.
pub const PAGE_MAX: usize = 500;

/// What a transaction touched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    /// Revisions that count now, do not any more, or are others.
    pub(crate) numbers: Vec<u32>,
    /// Updates that something began or ceased to supersede.
    pub(crate) superseded: Vec<Guid>,
}

#[derive(Default)]
struct Queue {
    /// Whether anybody wants notes.
    is_open: bool,
    /// Some were lost: build again.
    is_lost: bool,
    notes: Touched,
}

/// The index in memory.
#[derive(Default)]
pub(crate) struct Search {
    lines: Mutex<Option<Lines>>,
    queue: Mutex<Queue>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("waiting", &self.queue().notes.numbers.len()).finish_non_exhaustive()
    }
}

impl Search {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a commit; called by the writer, and never waits for a search.
    pub(crate) fn push(&self, touched: Touched) {
        let mut queue = self.queue();
        if !queue.is_open || queue.is_lost {
            return;
        }
        let Touched { numbers, superseded } = touched;
        let noted = queue.notes.numbers.len() + queue.notes.superseded.len();
        if noted + numbers.len() + superseded.len() > NOTES_MAX {
            queue.is_lost = true;
            queue.notes = Touched::default();
            return;
        }
        queue.notes.numbers.extend(numbers);
        queue.notes.superseded.extend(superseded);
    }

    /// From here on notes are taken; what was committed before is in every snapshot from now.
    fn open(&self) {
        *self.queue() = Queue { is_open: true, ..Queue::default() };
    }

    /// What was noted since it was asked last; `None` where some of it was lost.
    fn notes(&self) -> Option<Touched> {
        let mut queue = self.queue();
        (queue.is_open && !queue.is_lost).then(|| std::mem::take(&mut queue.notes))
    }
}

impl Core {
    /// Runs `look` on the index in memory as of now. Blocks.
    fn with_lines<T>(&self, look: impl FnOnce(&Lines) -> T) -> Result<T, Error> {
        let search = &self.catalog.search;
        let mut held = search.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: an error on the way leaves nothing that knows only half.
        let mut lines = held.take();
        let lines = loop {
            match (lines.take(), search.notes()) {
                (Some(mut lines), Some(notes)) if !lines.is_stale() => {
                    self.catch_up(&mut lines, notes)?;
                    break lines;
                }
                (old, _) => {
                    drop(old);
                    search.open();
                    lines = Some(self.build_lines()?);
                }
            }
        };
        Ok(look(held.insert(lines)))
    }

    /// Step 1.
    fn build_lines(&self) -> Result<Lines, Error> {
        let count = self.index.read(|tx| {
            let Some(numbers) = read(tx, NUMBERS)? else { return Ok(0) };
            number(&numbers, REVISION_COUNT)
        })?;
        let lines = RefCell::new(Lines::with_room(usize::try_from(count).unwrap_or(0)));
        let mut next = Some(0);
        while let Some(from) = next {
            let len = lines.borrow().len();
            next = self.index.read(|tx| {
                let mut lines = lines.borrow_mut();
                // A snapshot of an index that fails is tried again.
                lines.cut(len);
                let Some(table) = read(tx, REVISIONS)? else { return Ok(None) };
                for (at, row) in table.range(from..)?.enumerate() {
                    let (number, row) = row?;
                    if at == SLICE {
                        return Ok(Some(number.value()));
                    }
                    lines.load(number.value(), row.value(), |_| Ok(false))?;
                }
                Ok(None)
            })?;
        }
        // Both in the order of ids: cheaper than asking for every line.
        lines.borrow_mut().arrange_by_id();
        let mut next = Some([0; 20]);
        while let Some(from) = next {
            next = self.index.read(|tx| {
                let mut lines = lines.borrow_mut();
                let Some(table) = read(tx, SUPERSEDED)? else { return Ok(None) };
                let mut last = None;
                for (at, row) in table.range::<&IdKey>(&from..)?.enumerate() {
                    let key = *row?.0.value();
                    if at == SLICE {
                        return Ok(Some(key));
                    }
                    let (id, _) = of_id_key(&key);
                    if last != Some(id) {
                        lines.supersede(&id);
                        last = Some(id);
                    }
                }
                Ok(None)
            })?;
        }
        let mut lines = lines.into_inner();
        lines.arrange()?;
        // They came in the order of revision numbers, and are walked in that of their dates.
        lines.repack()?;
        Ok(lines)
    }

    /// Step 3.
    fn catch_up(&self, lines: &mut Lines, notes: Touched) -> Result<(), Error> {
        let Touched { mut numbers, mut superseded } = notes;
        if numbers.is_empty() && superseded.is_empty() {
            return Ok(());
        }
        numbers.sort_unstable();
        numbers.dedup();
        superseded.sort_unstable();
        superseded.dedup();
        lines.forget(&numbers);
        let len = lines.len();
        let lines = RefCell::new(lines);
        self.index.read(|tx| {
            let mut lines = lines.borrow_mut();
            lines.cut(len);
            let (Some(revisions), Some(table)) = (read(tx, REVISIONS)?, read(tx, SUPERSEDED)?) else { return Ok(()) };
            let is_superseded = |id: &Guid| {
                let (from, to) = (id_key(id, 0), id_key(id, u32::MAX));
                Ok::<_, Error>(table.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some())
            };
            for number in &numbers {
                if let Some(row) = revisions.get(*number)? {
                    lines.load(*number, row.value(), is_superseded)?;
                }
            }
            let states =
                superseded.iter().map(|id| Ok((*id, is_superseded(id)?))).collect::<Result<Vec<_>, Error>>()?;
            if !states.is_empty() {
                lines.set_superseded(&states);
            }
            Ok(())
        })?;
        lines.into_inner().arrange()
    }

    /// A page of what `query` asks for.
    pub(crate) fn search(&self, query: &Query) -> Result<Page, Error> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let decided = if query.decisions.is_empty() { HashMap::new() } else { self.decided()? };
        let (mut found, total) = self.with_lines(|lines| lines.find(query, &decided, limit))?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(cursor, _)| *cursor);
        self.index.read(|tx| {
            let Some(table) = read(tx, REVISIONS)? else { return Ok(Page::default()) };
            let mut hits = Vec::new();
            for (cursor, state) in &found {
                // One that went meanwhile is left out.
                if let Some(row) = table.get(cursor.number)? {
                    let row = decode("catalog-revisions.1", row.value())?;
                    hits.push(Hit { summary: summary(cursor.number, row)?, state: *state });
                }
            }
            Ok(Page { hits, total, next })
        })
    }

    /// How many updates there are of each kind and state.
    pub(crate) fn census(&self) -> Result<BTreeMap<(Kind, State), u64>, Error> {
        let counted = self.with_lines(Lines::census)?;
        counted.into_iter().map(|((kind, state), many)| Ok(((kind_of(kind)?, state), many))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_taken_from_the_opening_on_and_too_many_are_given_up() {
        let search = Search::default();
        let touched = |many: u32| Touched { numbers: (0..many).collect(), superseded: vec![[1; 16]] };
        search.push(touched(1));
        assert!(search.notes().is_none(), "nobody wants them yet");
        search.open();
        assert!(search.notes().is_some_and(|notes| notes.numbers.is_empty()));
        search.push(touched(2));
        search.push(touched(3));
        let notes = search.notes().unwrap();
        assert_eq!((notes.numbers.as_slice(), notes.superseded.len()), ([0, 1, 0, 1, 2].as_slice(), 2));
        search.push(touched(u32::try_from(NOTES_MAX).unwrap() - 10));
        search.push(touched(20));
        assert!(search.notes().is_none(), "some were lost");
        search.push(touched(1));
        assert!(search.notes().is_none(), "and they stay lost until the index is built again");
        assert_eq!(search.queue().notes.numbers.capacity(), 0, "what is of no use takes no memory");
        search.open();
        search.push(touched(1));
        assert_eq!(search.notes().unwrap().numbers, [0]);
    }
}
