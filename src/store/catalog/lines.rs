//! One line in memory for every revision that counts, as a search wants it.
//!
//! Lines are of one size and lie in one array, the newest first; titles (in lower case) and KBs lie one behind the other in
//! chunks of text, and the few different sets of categories are kept once each. So a search walks two stretches of memory
//! from the beginning to the end, and a line costs its words and 48 bytes, with nothing allocated of its own. What was
//! replaced stays in the text until half of it is waste; then it is written anew.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::policy::Word;
use crate::model::update::UpdateId;
use crate::store::catalog::facts::{kind_code, severity_code};
use crate::store::catalog::tables::{Guid, ShownRow};
use crate::store::catalog::value::{Cursor, Query, State};
use crate::store::error::Error;
use crate::store::tables::decode;

/// Bytes of text that are allocated at a time: large enough for the allocator to give it back by itself.
const CHUNK: usize = 256 << 10;
/// Bytes of a title in lower case, and of the KBs of one line; rows are cut to much less when they are made.
const TITLE_MAX: usize = 8 << 10;
const KBS_MAX: usize = 16 << 10;
/// The number of drivers; that of software is below it, and of nothing else.
const DRIVER: u8 = 1;
/// Words that one search looks for.
const WORDS_MAX: usize = 16;
/// Sets of categories that no line has any more and that are borne with.
const SETS_SPARE: usize = 4096;

/// Text that is only ever appended to; a place in it is the chunk times its size and the offset within.
#[derive(Default)]
struct Texts {
    chunks: Vec<String>,
    used: usize,
    wasted: usize,
}

impl Texts {
    fn put(&mut self, text: &str) -> Result<u32, Error> {
        if self.chunks.last().is_none_or(|chunk| chunk.len() + text.len() > CHUNK) {
            self.chunks.push(String::with_capacity(CHUNK));
        }
        let before = self.chunks.len().saturating_sub(1) * CHUNK;
        let Some(chunk) = self.chunks.last_mut() else { return Ok(0) };
        let at = u32::try_from(before + chunk.len()).map_err(|_| Error::Invalid {
            what: "the titles of the catalog are more than a search can hold: narrow the filters".into(),
        })?;
        chunk.push_str(text);
        self.used += text.len();
        Ok(at)
    }

    fn get(&self, at: u32, len: usize) -> &str {
        let at = at as usize;
        let chunk = self.chunks.get(at / CHUNK).and_then(|chunk| chunk.get(at % CHUNK..at % CHUNK + len));
        chunk.unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
struct Line {
    created: u64,
    id: Guid,
    number: u32,
    /// Where its title begins; its KBs follow, each with a zero byte behind it.
    text: u32,
    /// Which set of categories it has.
    set: u32,
    title: u16,
    kbs: u16,
    kind: u8,
    severity: u8,
    expired: bool,
    refused: bool,
    deployable: bool,
    superseded: bool,
}

impl Line {
    fn place(&self) -> (u64, u32) {
        (self.created, self.number)
    }

    fn state(&self) -> State {
        if self.refused {
            State::Refused
        } else if self.expired {
            State::Expired
        } else if self.superseded {
            State::Superseded
        } else {
            State::Current
        }
    }

    fn text_len(&self) -> usize {
        usize::from(self.title) + usize::from(self.kbs)
    }
}

/// All lines. Loading leaves them out of order: [`Lines::arrange`] must follow before anything is found.
#[derive(Default)]
pub(crate) struct Lines {
    all: Vec<Line>,
    texts: Texts,
    /// Numbers of categories, and of sets of those numbers.
    categories: HashMap<Guid, u32>,
    sets: HashMap<Box<[u32]>, u32>,
}

/// The number that a map of `len` entries, which numbers what comes, gives next.
fn next_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The text that a line keeps, and how much of it is the title.
fn text_of(row: &ShownRow<'_>) -> (String, usize) {
    let mut text = row.title.to_lowercase();
    let mut title = text.len().min(TITLE_MAX);
    while !text.is_char_boundary(title) {
        title -= 1;
    }
    text.truncate(title);
    for kb in &row.kbs {
        if text.len() - title + kb.len() < KBS_MAX {
            text.push_str(kb);
            text.push('\0');
        }
    }
    (text, title)
}

impl Lines {
    pub(crate) fn with_room(lines: usize) -> Self {
        Self { all: Vec::with_capacity(lines), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes out what was loaded since there were `len` lines.
    pub(crate) fn cut(&mut self, len: usize) {
        for line in self.all.drain(len.min(self.all.len())..) {
            self.texts.wasted += line.text_len();
        }
    }

    /// A line for the row of a revision, where that counts. `superseded` says whether anything supersedes an update.
    pub(crate) fn load(
        &mut self,
        number: u32,
        row: &[u8],
        superseded: impl FnOnce(&Guid) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let row: ShownRow<'_> = decode("catalog-revisions.1", row)?;
        if !row.current {
            return Ok(());
        }
        let mut categories: Vec<u32> = Vec::with_capacity(row.categories.len());
        for id in &row.categories {
            let next = next_of(self.categories.len());
            categories.push(*self.categories.entry(*id).or_insert(next));
        }
        categories.sort_unstable();
        categories.dedup();
        let next = next_of(self.sets.len());
        let set = *self.sets.entry(categories.into_boxed_slice()).or_insert(next);
        let (text, title) = text_of(&row);
        let line = Line {
            created: row.created.unwrap_or(0),
            id: row.id,
            number,
            text: self.texts.put(&text)?,
            set,
            title: u16::try_from(title).unwrap_or(u16::MAX),
            kbs: u16::try_from(text.len() - title).unwrap_or(u16::MAX),
            kind: row.kind,
            severity: row.severity,
            expired: row.publication != 0,
            refused: row.refused,
            deployable: row.deployable,
            superseded: superseded(&row.id)?,
        };
        self.all.push(line);
        Ok(())
    }

    /// Takes out the lines of `numbers`, which are sorted.
    pub(crate) fn forget(&mut self, numbers: &[u32]) {
        let wasted = &mut self.texts.wasted;
        self.all.retain(|line| {
            let goes = numbers.binary_search(&line.number).is_ok();
            if goes {
                *wasted += line.text_len();
            }
            !goes
        });
    }

    /// Whether anything supersedes these updates, sorted by id.
    pub(crate) fn set_superseded(&mut self, of: &[(Guid, bool)]) {
        for line in &mut self.all {
            if let Ok(at) = of.binary_search_by(|(id, _)| id.cmp(&line.id))
                && let Some((_, superseded)) = of.get(at)
            {
                line.superseded = *superseded;
            }
        }
    }

    /// Lines in the order of ids, for [`Lines::supersede`].
    pub(crate) fn arrange_by_id(&mut self) {
        self.all.sort_unstable_by_key(|line| line.id);
    }

    /// Something supersedes `id`. Lines must be in the order of ids.
    pub(crate) fn supersede(&mut self, id: &Guid) {
        let at = self.all.partition_point(|line| line.id < *id);
        // Two, where one took the place of the other while they were loaded.
        for line in self.all.iter_mut().skip(at).take_while(|line| line.id == *id) {
            line.superseded = true;
        }
    }

    /// Brings lines that were loaded into their places, and throws waste away where it is half of the text.
    pub(crate) fn arrange(&mut self) -> Result<(), Error> {
        // Stable, as it is the one that takes advantage of a long part that is in order already.
        self.all.sort_by_key(|line| Reverse(line.place()));
        if self.texts.wasted > CHUNK && self.texts.wasted > self.texts.used / 2 {
            self.repack()?;
        }
        Ok(())
    }

    /// Writes the text anew, in the order of lines.
    pub(crate) fn repack(&mut self) -> Result<(), Error> {
        let mut texts = Texts::default();
        for line in &mut self.all {
            line.text = texts.put(self.texts.get(line.text, line.text_len()))?;
        }
        self.texts = texts;
        Ok(())
    }

    /// Whether so much is left of what went that it is better to begin anew.
    pub(crate) fn is_stale(&self) -> bool {
        self.sets.len() > self.all.len() + SETS_SPARE
    }

    /// For each set of categories whether it has what is asked for; `None` where nothing is.
    fn sets_with(&self, query: &Query) -> Option<Vec<bool>> {
        if query.classification.is_none()
            && query.product.is_none()
            && query.any_of.is_empty()
            && query.beyond.is_none()
        {
            return None;
        }
        let known = |id: &UpdateId| self.categories.get(id.bytes()).copied();
        let all = [query.classification, query.product].map(|id| id.map(|id| known(&id)));
        let any: Vec<u32> = query.any_of.iter().filter_map(known).collect();
        let numbers = |ids: &BTreeSet<UpdateId>| ids.iter().filter_map(known).collect::<HashSet<u32>>();
        let within = query.beyond.as_ref().map(|beyond| (numbers(&beyond.products), numbers(&beyond.classifications)));
        let is_beyond = |set: &[u32]| {
            within.as_ref().is_none_or(|(products, classifications)| {
                !(set.iter().any(|of| products.contains(of)) && set.iter().any(|of| classifications.contains(of)))
            })
        };
        let mut fits = vec![false; self.sets.len()];
        for (set, number) in &self.sets {
            if let Some(fits) = fits.get_mut(*number as usize) {
                let has_all = all.iter().flatten().all(|wanted| wanted.is_some_and(|wanted| set.contains(&wanted)));
                *fits = has_all
                    && (query.any_of.is_empty() || any.iter().any(|wanted| set.contains(wanted)))
                    && is_beyond(set);
            }
        }
        Some(fits)
    }

    /// The places of a page with their states, and of one line more where there is one; and how many there are in all.
    /// `decided` is what people decided of updates, where `query` asks for that.
    pub(crate) fn find(
        &self,
        query: &Query,
        decided: &HashMap<Guid, Word>,
        limit: usize,
    ) -> (Vec<(Cursor, State)>, u64) {
        let text = query.text.to_lowercase();
        let mut words: Vec<&str> = text.split_whitespace().take(WORDS_MAX).collect();
        // The longest is the rarest, as a rule.
        words.sort_by_key(|word| Reverse(word.len()));
        let sets = self.sets_with(query);
        let kinds: Vec<u8> = query.kinds.iter().map(|kind| kind_code(*kind)).collect();
        let severity = query.severity.map_or(0, severity_code);
        let behind = |time: u64| self.all.partition_point(|line| line.created >= time);
        let from = query.until.map_or(0, |until| behind(until.ms()));
        let to = query.from.map_or(self.all.len(), |from| behind(from.ms()));
        let (mut found, mut total) = (Vec::new(), 0);
        for line in self.all.get(from..to).unwrap_or_default() {
            if !(query.hidden || line.deployable)
                || line.severity < severity
                || !(kinds.is_empty() || kinds.contains(&line.kind))
                // Filters are of nothing else.
                || (query.beyond.is_some() && line.kind > DRIVER)
                || sets.as_ref().is_some_and(|fits| !fits.get(line.set as usize).is_some_and(|fits| *fits))
            {
                continue;
            }
            if !query.decisions.is_empty() && !query.decisions.contains(&decided.get(&line.id).copied()) {
                continue;
            }
            if !words.is_empty() || query.kb.is_some() {
                let text = self.texts.get(line.text, line.text_len());
                let Some((title, kbs)) = text.split_at_checked(line.title.into()) else { continue };
                if query.kb.as_ref().is_some_and(|kb| !kbs.split_terminator('\0').any(|known| known == kb))
                    || !words.iter().all(|word| title.contains(word))
                {
                    continue;
                }
            }
            let state = line.state();
            if !(query.states.is_empty() || query.states.contains(&state)) {
                continue;
            }
            total += 1;
            // One more than the page tells whether there is another.
            let is_behind = query.after.is_none_or(|after| line.place() < (after.created, after.number));
            if is_behind && found.len() <= limit {
                found.push((Cursor { created: line.created, number: line.number }, state));
            }
        }
        (found, total)
    }

    /// How many there are of each kind (as its number) and state.
    pub(crate) fn census(&self) -> BTreeMap<(u8, State), u64> {
        let mut census = BTreeMap::new();
        for line in &self.all {
            *census.entry((line.kind, line.state())).or_insert(0) += 1;
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::time::Timestamp;
    use crate::model::filter::Wanted;
    use crate::store::catalog::tables::RevisionRow;
    use crate::store::tables::encode;

    fn row(at: u32, salt: u32) -> RevisionRow {
        let category = |of: u32| [u8::try_from(of).unwrap(); 16];
        RevisionRow {
            id: blake3::hash(&at.to_le_bytes()).as_bytes()[..16].try_into().unwrap(),
            revision: salt,
            kind: if at % 9 == 4 { 13 } else { u8::from(at % 9 == 5) },
            publication: u8::from(at % 11 == 3),
            severity: u8::try_from(at % 5).unwrap(),
            created: (!at.is_multiple_of(7)).then_some(u64::from(at * 7919 % 500)),
            title: format!("Ünique {} Update {at} of {salt}", ["Security", "Preview", "Driver"][at as usize % 3]),
            kbs: (0..at % 3).map(|more| format!("50{}", at / 2 + more)).collect(),
            categories: vec![category(at % 4), category(100 + at % 9), category(at % 4)],
            supersedes: vec![[7; 16]; at as usize % 3],
            deployable: at % 6 != 1,
            files: 3,
            bytes: 1 << 40,
            current: at % 13 != 5,
            refused: at % 17 == 2,
            ..RevisionRow::default()
        }
    }

    /// Filters of these products and classifications.
    fn beyond(products: &[u8], classifications: &[u8]) -> Wanted {
        let ids = |of: &[u8]| of.iter().map(|of| UpdateId::new([*of; 16])).collect();
        Wanted { products: ids(products), classifications: ids(classifications), ..Wanted::default() }
    }

    /// What `find` must say, without any of its ways.
    fn plainly(rows: &BTreeMap<u32, RevisionRow>, query: &Query, limit: usize) -> (Vec<(Cursor, State)>, u64) {
        let has = |row: &RevisionRow, id: Option<UpdateId>| id.is_none_or(|id| row.categories.contains(id.bytes()));
        let mut all: Vec<_> = rows
            .iter()
            .filter(|(_, row)| {
                let words = query.text.to_lowercase();
                let created = Timestamp::from_ms(row.created.unwrap_or(0));
                row.current
                    && (query.hidden || row.deployable)
                    && row.severity >= query.severity.map_or(0, severity_code)
                    && has(row, query.product)
                    && has(row, query.classification)
                    && (query.any_of.is_empty() || query.any_of.iter().any(|id| has(row, Some(*id))))
                    && query.beyond.as_ref().is_none_or(|beyond| {
                        row.kind <= 1 && !beyond.takes(row.categories.iter().copied().map(UpdateId::new))
                    })
                    && query.kb.as_ref().is_none_or(|kb| row.kbs.contains(kb))
                    && words.split_whitespace().all(|word| row.title.to_lowercase().contains(word))
                    && query.from.is_none_or(|from| created >= from)
                    && query.until.is_none_or(|until| created < until)
            })
            .map(|(number, row)| {
                let state = match () {
                    () if row.refused => State::Refused,
                    () if row.publication != 0 => State::Expired,
                    () if row.id[0] < 60 => State::Superseded,
                    () => State::Current,
                };
                (Cursor { created: row.created.unwrap_or(0), number: *number }, state)
            })
            .filter(|(_, state)| query.states.is_empty() || query.states.contains(state))
            .collect();
        all.sort_by_key(|(cursor, _)| Reverse(*cursor));
        let total = all.len() as u64;
        all.retain(|(cursor, _)| query.after.is_none_or(|after| *cursor < after));
        all.truncate(limit + 1);
        (all, total)
    }

    fn load(lines: &mut Lines, number: u32, row: &RevisionRow) {
        lines.load(number, &encode(row).unwrap(), |id| Ok(id[0] < 60)).unwrap();
    }

    #[test]
    fn whatever_is_asked_is_found_as_a_plain_walk_finds_it() {
        let (mut lines, mut rows) = (Lines::with_room(10), BTreeMap::new());
        // So many rounds that the text is written anew more than once.
        for round in 0..60_u32 {
            let changed: Vec<u32> = (0..400).filter(|at| round == 0 || (at * 31 + round) % 3 == 0).collect();
            lines.forget(&changed);
            for at in &changed {
                rows.remove(at);
                if (at + round) % 10 != 9 {
                    load(&mut lines, *at, &row(*at, round));
                    rows.insert(*at, row(*at, round));
                }
            }
            lines.arrange().unwrap();
            let category = |of: u8| Some(UpdateId::new([of; 16]));
            let base = Query { hidden: true, ..Query::default() };
            let mut after = None;
            for query in [
                base.clone(),
                Query::default(),
                Query { text: "UPDATE sec 1".into(), ..base.clone() },
                Query { text: format!("ünique of {round}"), ..base.clone() },
                Query { text: "50".into(), product: category(2), classification: category(103), ..base.clone() },
                Query { product: category(250), ..base.clone() },
                Query { any_of: [1, 250, 104].map(|of| UpdateId::new([of; 16])).to_vec(), ..base.clone() },
                Query { any_of: vec![UpdateId::new([250; 16])], ..base.clone() },
                Query { beyond: Some(Arc::new(beyond(&[0, 2], &[100, 103, 250]))), ..base.clone() },
                Query { beyond: Some(Arc::new(beyond(&[251], &[100]))), text: "server".into(), ..base.clone() },
                Query { kb: Some("5033".into()), ..base.clone() },
                Query { severity: Some(crate::model::update::Severity::Important), ..Query::default() },
                Query { states: vec![State::Superseded, State::Refused], ..base.clone() },
                Query { from: Some(Timestamp::from_ms(100)), until: Some(Timestamp::from_ms(300)), ..base.clone() },
                Query { from: Some(Timestamp::from_ms(400)), until: Some(Timestamp::from_ms(300)), ..base.clone() },
            ] {
                for limit in [1, 30, 1000] {
                    let query = Query { after, ..query.clone() };
                    let found = lines.find(&query, &HashMap::new(), limit);
                    assert_eq!(found, plainly(&rows, &query, limit), "round {round}, {query:?}");
                    after = found.0.get(found.0.len() / 2).map(|(cursor, _)| *cursor);
                }
            }
            assert_eq!(lines.census().values().sum::<u64>(), lines.len() as u64);
        }
        let held: usize = lines.all.iter().map(Line::text_len).sum();
        assert_eq!(lines.texts.used - lines.texts.wasted, held);
        assert!(lines.texts.wasted <= (lines.texts.used / 2).max(CHUNK), "waste is thrown away");
    }

    #[test]
    fn what_is_superseded_is_set_in_either_way() {
        let mut lines = Lines::default();
        for at in 0..50 {
            load(&mut lines, at, &RevisionRow { current: true, ..row(at, 1) });
        }
        lines.set_superseded(&{
            let mut all: Vec<_> = lines.all.iter().map(|line| (line.id, false)).collect();
            all.sort_unstable();
            all
        });
        assert!(lines.all.iter().all(|line| !line.superseded));
        lines.arrange_by_id();
        lines.supersede(&row(17, 1).id);
        lines.supersede(&[9; 16]);
        lines.arrange().unwrap();
        let superseded: Vec<_> = lines.all.iter().filter(|line| line.superseded).map(|line| line.number).collect();
        assert_eq!(superseded, [17]);
    }

    #[test]
    fn an_attempt_that_is_cut_leaves_nothing_and_a_row_of_nonsense_is_bounded() {
        let mut lines = Lines::default();
        load(&mut lines, 1, &row(1, 1));
        let len = lines.len();
        load(&mut lines, 2, &row(2, 1));
        lines.cut(len);
        assert_eq!((lines.len(), lines.texts.used > lines.texts.wasted), (1, true));
        let long = RevisionRow {
            title: "ﬁİ".repeat(20_000),
            kbs: vec!["5".repeat(9000); 9],
            current: true,
            deployable: true,
            ..row(3, 1)
        };
        load(&mut lines, 3, &long);
        lines.arrange().unwrap();
        assert_eq!(lines.find(&Query { text: "ﬁ".into(), ..Query::default() }, &HashMap::new(), 10).1, 1);
        assert!(lines.texts.used <= 2 * (TITLE_MAX + KBS_MAX));
        for cut in 0..20 {
            assert!(lines.load(4, &encode(&row(4, 1)).unwrap()[..cut], |_| Ok(false)).is_err());
        }
    }

    #[test]
    fn a_line_is_small() {
        assert_eq!(size_of::<Line>(), 48);
    }
}
