//! How all updates stand on all endpoints, in memory, with what that comes to. Pure.
//!
//! 1. An update that an endpoint tells of and that the catalog has gets a number ([`Board::learn`]); of others nothing is kept.
//! 2. What an endpoint told is taken in ([`Board::take_all`]): the states are set, not counted up, so that a report that comes twice changes
//!    nothing; what is older than what was told before is left out.
//! 3. What changed goes to the store, by whoever called; counts are kept up on the way (`totals`).
//! 4. What the catalog says changes too ([`Board::learn`] again): then the endpoints that miss the update are counted anew.
//!
//! Of an endpoint with 200 updates it takes some 2.6 KB.

use std::collections::{BTreeMap, HashMap};

use crate::fleet::compliance::facts::Facts;
use crate::fleet::compliance::take::apply;
use crate::fleet::compliance::told::Told;
use crate::fleet::compliance::totals::{ByState, Sign, Tally, Totals};
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::fleet::ENDPOINTS_MAX;
use crate::store::fleet::standing::{NUMBER_MAX, Standing};

/// States of updates on endpoints that are held, together: 20,000 endpoints have some 4 million. 144 MB at the most. Beyond it whoever
/// tells of the most gives room, see [`Board::take_all`].
pub const PAIRS_MAX: usize = 12_000_000;

/// States that an endpoint keeps whoever else wants room: a real one tells of some sixty, and of some hundreds where a whole catalog is
/// delivered.
pub const FAIR: usize = 512;

/// Of the states that are held together, this part is made free at a time, so that all endpoints are seldom looked through for it.
const FREED: usize = 64;

/// Updates that are known by number: a catalog has some 100,000, of which endpoints tell of some thousands.
pub const UPDATES_MAX: usize = 1_000_000;

/// An update that endpoints told of.
#[derive(Clone, Debug)]
pub struct Known {
    /// Which.
    pub id: UpdateId,
    /// What the catalog says of it.
    pub facts: Facts,
    /// On how many endpoints it is in each state.
    pub by_state: ByState,
}

/// An endpoint.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What it told.
    pub standing: Standing,
    /// What that comes to.
    pub tally: Tally,
    /// Of the board, when something of it changed last.
    revision: u64,
}

impl Row {
    /// A number that is another one after anything changed that it told, or of what counts of that.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn count(&self, totals: &mut Totals, sign: Sign) {
        totals.count(&self.tally, self.standing.is_told, self.standing.restart > 0, sign);
    }
}

/// Why something that an endpoint told is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is older than what was told before.
    Stale,
    /// It tells of more updates than any endpoint has.
    Absurd,
    /// There is no room for more.
    Full,
}

/// What came of something that an endpoint told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// States that are others now: the number of the update, from, to, the code of a failure.
    pub changes: Vec<Changed>,
    /// Updates that it names and that are not known.
    pub unknown: usize,
}

/// A state that is another now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The number of the update.
    pub number: u32,
    /// What was before.
    pub from: crate::model::compliance::State,
    /// What is now.
    pub to: crate::model::compliance::State,
    /// With what it failed; 0 where it did not, or that is not known.
    pub code: i32,
    /// When, in seconds.
    pub at: u32,
}

/// The board.
#[derive(Clone, Debug)]
pub struct Board {
    numbers: HashMap<UpdateId, u32>,
    /// By their numbers; a number that nobody has is of no update.
    updates: Vec<Option<Known>>,
    rows: BTreeMap<Endpoint, Row>,
    totals: Totals,
    /// States held, together.
    pairs: usize,
    /// How many of them may be.
    pairs_max: usize,
    /// Rises with every change.
    revision: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self::with_room(PAIRS_MAX)
    }
}

impl Board {
    /// An empty one with room for so many states.
    pub fn with_room(pairs_max: usize) -> Self {
        Self {
            numbers: HashMap::new(),
            updates: Vec::new(),
            rows: BTreeMap::new(),
            totals: Totals::default(),
            pairs: 0,
            pairs_max,
            revision: 0,
        }
    }

    /// The number of an update that is known.
    pub fn number(&self, id: UpdateId) -> Option<u32> {
        self.numbers.get(&id).copied()
    }

    /// The update with a number.
    pub fn known(&self, number: u32) -> Option<&Known> {
        self.updates.get(number as usize)?.as_ref()
    }

    /// All updates that are known, by number.
    pub fn updates(&self) -> impl Iterator<Item = (u32, &Known)> {
        self.updates.iter().zip(0..).filter_map(|(known, number)| Some((number, known.as_ref()?)))
    }

    /// An endpoint.
    pub fn row(&self, endpoint: Endpoint) -> Option<&Row> {
        self.rows.get(&endpoint)
    }

    /// All endpoints in the order of their ids, those behind `after`.
    pub fn rows(&self, after: Option<Endpoint>) -> impl Iterator<Item = (Endpoint, &Row)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range((from, Bound::Unbounded)).map(|(endpoint, row)| (*endpoint, row))
    }

    /// What all come to.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// A number that is another one after anything changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// States held, together.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Bytes that it takes, allocations counted as what was asked for.
    pub fn bytes(&self) -> usize {
        let row =
            |row: &Row| size_of_val(&*row.standing.held) + row.standing.codes.capacity() * size_of::<(u32, i32)>();
        let known = |known: &Known| {
            let facts = &known.facts;
            (facts.categories.len() + facts.supersedes.len() + facts.eulas.len()) * 16
        };
        self.rows.len() * (size_of::<(Endpoint, Row)>() + 16)
            + self.rows.values().map(row).sum::<usize>()
            + self.updates.capacity() * size_of::<Option<Known>>()
            + self.updates.iter().flatten().map(known).sum::<usize>()
            + self.numbers.capacity() * (size_of::<(UpdateId, u32)>() + 1)
    }

    /// What was once given to an update. For loading; `false` where there is no such number.
    pub fn restore(&mut self, number: u32, id: UpdateId) -> bool {
        let place = number as usize;
        if number > NUMBER_MAX || place >= UPDATES_MAX {
            return false;
        }
        if self.updates.len() <= place {
            self.updates.resize(place + 1, None);
        }
        if let Some(slot) = self.updates.get_mut(place) {
            *slot = Some(Known { id, facts: Facts::default(), by_state: ByState::default() });
        }
        self.numbers.insert(id, number);
        true
    }

    /// What the catalog says of an update now. One that has no number gets one, which is returned; `None` where it had one, or none is
    /// left.
    pub fn learn(&mut self, id: UpdateId, facts: Facts) -> Option<u32> {
        self.learn_all(vec![(id, facts)]).pop().map(|(number, _)| number)
    }

    /// The same of several: endpoints are gone through once for all of them. The new numbers with their updates.
    pub fn learn_all(&mut self, told: Vec<(UpdateId, Facts)>) -> Vec<(u32, UpdateId)> {
        let mut new = Vec::new();
        self.revision += 1;
        // What counted before, by number, where that is another thing now.
        let mut moved: BTreeMap<u32, (Facts, Facts)> = BTreeMap::new();
        for (id, facts) in told {
            if let Some(number) = self.number(id) {
                let Some(known) = self.updates.get_mut(number as usize).and_then(Option::as_mut) else { continue };
                let before = std::mem::replace(&mut known.facts, facts.clone());
                let is_same = before.counts() == facts.counts() && before.severity == facts.severity;
                if !is_same && known.by_state.missing() > 0 {
                    moved.entry(number).or_insert((before, Facts::default())).1 = facts;
                }
                continue;
            }
            let Ok(number) = u32::try_from(self.updates.len()) else { continue };
            if !self.restore(number, id) {
                continue;
            }
            if let Some(Some(known)) = self.updates.get_mut(number as usize) {
                known.facts = facts;
            }
            new.push((number, id));
        }
        if !moved.is_empty() {
            self.recount_of(&moved);
        }
        new
    }

    /// Counts endpoints anew that miss one of these updates.
    fn recount_of(&mut self, moved: &BTreeMap<u32, (Facts, Facts)>) {
        for row in self.rows.values_mut() {
            let mut tally = row.tally;
            let mut is_moved = false;
            for (number, (before, after)) in moved {
                let Some(held) = row.standing.of(*number) else { continue };
                is_moved |= held.state().is_missing();
                for (facts, sign) in [(before, Sign::Goes), (after, Sign::Comes)] {
                    if facts.counts() {
                        tally.count(held.state(), facts.severity, sign);
                    }
                }
            }
            if is_moved {
                row.revision = self.revision;
            }
            if tally != row.tally {
                row.count(&mut self.totals, Sign::Goes);
                row.tally = tally;
                row.count(&mut self.totals, Sign::Comes);
            }
        }
    }

    /// There is an endpoint. `false` where there is no room for it.
    pub fn arrive(&mut self, endpoint: Endpoint) -> bool {
        if self.rows.contains_key(&endpoint) {
            return true;
        }
        if self.rows.len() as u64 >= ENDPOINTS_MAX {
            return false;
        }
        self.revision += 1;
        let row = Row { revision: self.revision, ..Row::default() };
        row.count(&mut self.totals, Sign::Comes);
        self.rows.insert(endpoint, row);
        true
    }

    /// It is gone; says whether it was there.
    pub fn forget(&mut self, endpoint: Endpoint) -> bool {
        let Some(row) = self.rows.remove(&endpoint) else { return false };
        self.revision += 1;
        row.count(&mut self.totals, Sign::Goes);
        self.pairs = self.pairs.saturating_sub(row.standing.held.len());
        for held in &row.standing.held {
            if let Some(Some(known)) = self.updates.get_mut(held.number() as usize) {
                known.by_state.count(held.state(), Sign::Goes);
            }
        }
        true
    }

    /// Puts an endpoint in as it was kept. What is of no known number is left out; `false` where there is no room for all of it.
    pub fn put(&mut self, endpoint: Endpoint, mut standing: Standing) -> bool {
        self.forget(endpoint);
        if !self.arrive(endpoint) {
            return false;
        }
        if self.pairs + standing.held.len() > self.pairs_max {
            // It is there, and has told nothing until its next scan.
            return false;
        }
        let is_known = |number: u32| self.updates.get(number as usize).is_some_and(Option::is_some);
        if !standing.held.iter().all(|held| is_known(held.number())) {
            standing.held = standing.held.into_iter().filter(|held| is_known(held.number())).collect();
        }
        self.set(endpoint, standing);
        true
    }

    /// Puts what an endpoint tells in the place of what it told before, and keeps the counts up.
    fn set(&mut self, endpoint: Endpoint, standing: Standing) {
        let Some(row) = self.rows.get_mut(&endpoint) else { return };
        self.revision += 1;
        row.revision = self.revision;
        row.count(&mut self.totals, Sign::Goes);
        let before = std::mem::replace(&mut row.standing, standing);
        self.pairs = self.pairs.saturating_sub(before.held.len()) + row.standing.held.len();
        for (all, sign) in [(&before, Sign::Goes), (&row.standing, Sign::Comes)] {
            for held in &all.held {
                let Some(Some(known)) = self.updates.get_mut(held.number() as usize) else { continue };
                known.by_state.count(held.state(), sign);
                if known.facts.counts() {
                    row.tally.count(held.state(), known.facts.severity, sign);
                }
            }
        }
        row.count(&mut self.totals, Sign::Comes);
    }

    /// Takes in something that an endpoint told; see [`Self::take_all`].
    pub fn take(&mut self, endpoint: Endpoint, told: &Told) -> Result<Taken, Refused> {
        self.take_all(endpoint, std::slice::from_ref(told)).0.pop().unwrap_or(Err(Refused::Full))
    }

    /// Takes in what an endpoint told, the earlier first, and what came of each; counts move once for all of it. An endpoint that is not
    /// there yet is from then on.
    ///
    /// Where there is no room for more states, those endpoints that tell of the most, and of more than [`FAIR`], have told nothing until
    /// their next scan; they are named. Few that tell of thousands each take nothing from the many that tell of what a machine has.
    pub fn take_all(&mut self, endpoint: Endpoint, told: &[Told]) -> (Vec<Result<Taken, Refused>>, Vec<Endpoint>) {
        let mut standing = self.rows.get(&endpoint).map(|row| row.standing.clone()).unwrap_or_default();
        let had = standing.held.len();
        let taken: Vec<_> = told.iter().map(|one| apply(self, &mut standing, one)).collect();
        if taken.iter().all(Result::is_err) {
            return (taken, Vec::new());
        }
        let gave_way = self.make_room(endpoint, standing.held.len().saturating_sub(had));
        let Some(gave_way) = gave_way.filter(|_| self.arrive(endpoint)) else {
            return (taken.into_iter().map(|one| one.and(Err(Refused::Full))).collect(), Vec::new());
        };
        self.set(endpoint, standing);
        (taken, gave_way)
    }

    /// Makes room for so many states more of an endpoint. Who gave way to it, or `None` where there is none to be had.
    fn make_room(&mut self, of: Endpoint, more: usize) -> Option<Vec<Endpoint>> {
        if self.pairs + more <= self.pairs_max {
            return Some(Vec::new());
        }
        let mine = self.rows.get(&of).map_or(0, |row| row.standing.held.len()) + more;
        let mut largest: Vec<(usize, Endpoint)> = self
            .rows
            .iter()
            .map(|(endpoint, row)| (row.standing.held.len(), *endpoint))
            .filter(|(many, endpoint)| *endpoint != of && *many > FAIR.max(mine))
            .collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let (mut free, wanted) = (0, (self.pairs + more).saturating_sub(self.pairs_max));
        if largest.iter().map(|(many, _)| many).sum::<usize>() < wanted {
            return None;
        }
        let mut gave_way = Vec::new();
        for (many, endpoint) in largest {
            if free >= wanted.max(self.pairs_max / FREED) {
                break;
            }
            free += many;
            self.set(endpoint, Standing::default());
            gave_way.push(endpoint);
        }
        Some(gave_way)
    }

    /// The same board with everything counted anew.
    #[must_use]
    pub fn recounted(&self) -> Self {
        let mut anew = Self::with_room(self.pairs_max);
        for (number, known) in self.updates() {
            anew.restore(number, known.id);
            if let Some(Some(of)) = anew.updates.get_mut(number as usize) {
                of.facts = known.facts.clone();
            }
        }
        for (endpoint, row) in &self.rows {
            anew.put(*endpoint, row.standing.clone());
        }
        anew
    }

    /// What is kept up and is not what counting anew gives, in words; nothing where all is well.
    pub fn differences(&self) -> Vec<String> {
        let (anew, mut told) = (self.recounted(), Vec::new());
        if (anew.totals, anew.pairs) != (self.totals, self.pairs) {
            told.push(format!(
                "{:?} of {} states, counted anew {:?} of {}",
                self.totals, self.pairs, anew.totals, anew.pairs
            ));
        }
        for (number, known) in self.updates() {
            let counted = anew.known(number).map(|known| known.by_state).unwrap_or_default();
            if counted != known.by_state {
                told.push(format!("update {}: {:?}, counted anew {counted:?}", known.id, known.by_state));
            }
        }
        for (endpoint, row) in &self.rows {
            let counted = anew.row(*endpoint).map(|row| row.tally).unwrap_or_default();
            if counted != row.tally {
                told.push(format!("endpoint {}: {:?}, counted anew {counted:?}", endpoint.0, row.tally));
            }
        }
        told
    }
}
