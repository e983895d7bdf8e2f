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
                let names = |kb: &String| {
                    let mut kbs = kbs.split_terminator('\0');
                    if query.kb_begins { kbs.any(|known| known.starts_with(kb)) } else { kbs.any(|known| known == kb) }
                };
                if query.kb.as_ref().is_some_and(|kb| !names(kb)) || !words.iter().all(|word| title.contains(word)) {
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
mod tests;
