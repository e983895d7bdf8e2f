//! Questions to the board: what all come to, which endpoints there are, which updates are missing. Pure.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::base::time::Timestamp;
use crate::fleet::compliance::board::{Board, Row};
use crate::fleet::compliance::facts::Licence;
use crate::fleet::compliance::policies::{Among, Breach, Policies};
use crate::fleet::compliance::totals::{ByState, Sign, Tally, Totals, place};
use crate::model::compliance::{Missing, State};
use crate::model::deployment::Endpoint;
use crate::model::policy::Group;
use crate::model::update::{Severity, UpdateId};
use crate::store::fleet::standing::{Held, time};

/// What an endpoint is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It never told what a scan found.
    NotScanned,
    /// It misses an update that counts.
    Missing,
    /// It misses none.
    UpToDate,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NotScanned, Self::Missing, Self::UpToDate];

    /// The word for people and scripts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotScanned => "not-scanned",
            Self::Missing => "missing",
            Self::UpToDate => "up-to-date",
        }
    }
}

/// An endpoint, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub endpoint: Endpoint,
    /// What it is counted as.
    pub class: Class,
    /// Why it does not keep to its policies, and whose; nothing where it does.
    pub reasons: Vec<Breach>,
    /// The groups whose words these are, reason or not.
    pub policies: Vec<Group>,
    /// When its last scan was.
    pub scanned: Option<Timestamp>,
    /// When a scan after that failed, and with what.
    pub failed_scan: Option<(Timestamp, i32)>,
    /// Since when a restart is pending.
    pub restart: Option<Timestamp>,
    /// What it comes to.
    pub tally: Tally,
}

fn moment(seconds: u32) -> Option<Timestamp> {
    (seconds > 0).then(|| time(seconds))
}

/// What an endpoint misses of what counts.
fn missing<'a>(board: &'a Board, row: &'a Row) -> impl Iterator<Item = Missing> + 'a {
    row.standing.held.iter().filter(|held| held.state().is_missing()).filter_map(|held| {
        let known = board.known(held.number()).filter(|known| known.facts.counts())?;
        Some(Missing { update: known.id, severity: known.facts.severity, since: time(held.since) })
    })
}

/// Why an endpoint does not keep to the policies that hold for it; of the same reason by several groups' word each is told.
fn breaches(board: &Board, endpoint: Endpoint, row: &Row, policies: &Policies, now: Timestamp) -> Vec<Breach> {
    let standing = &row.standing;
    let (scanned, restart) = (moment(standing.scanned).filter(|_| standing.is_told), moment(standing.restart));
    let mut found: Vec<Breach> = Vec::new();
    for one in policies.of(endpoint) {
        for reason in one.policy.reasons(scanned, restart, missing(board, row), now) {
            let breach = Breach { by: one.by(&reason), reason };
            if !found.contains(&breach) {
                found.push(breach);
            }
        }
    }
    found
}

/// An endpoint of the board, held against the policies that hold for it.
pub fn seen(board: &Board, endpoint: Endpoint, row: &Row, policies: &Policies, now: Timestamp) -> Seen {
    let standing = &row.standing;
    let (scanned, restart) = (moment(standing.scanned), moment(standing.restart));
    let class = match (standing.is_told, row.tally.all()) {
        (false, _) => Class::NotScanned,
        (true, 0) => Class::UpToDate,
        (true, _) => Class::Missing,
    };
    Seen {
        endpoint,
        class,
        reasons: breaches(board, endpoint, row, policies, now),
        policies: policies.groups_of(endpoint),
        scanned,
        failed_scan: standing.failed_scan.map(|(at, code)| (time(at), code)),
        restart,
        tally: row.tally,
    }
}

/// What all endpoints come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What is kept up.
    pub totals: Totals,
    /// Endpoints that keep to the policy now.
    pub compliant: u64,
    /// Updates that count and that some endpoint misses, by severity.
    pub updates: [u64; 5],
}

/// What all endpoints come to, and how many of them keep to their policies.
pub fn summary(board: &Board, policies: &Policies, now: Timestamp) -> Summary {
    summary_of(board, policies, None, now)
}

/// The same of some endpoints, counted now; of all what is kept up is taken.
pub fn summary_of(board: &Board, policies: &Policies, among: Option<&Among>, now: Timestamp) -> Summary {
    let is_asked = |endpoint: Endpoint| among.is_none_or(|among| among.contains(&endpoint));
    let (mut counted, mut compliant) = (Totals::default(), 0);
    let mut missed = std::collections::HashSet::new();
    for (endpoint, row) in board.rows(None).filter(|(endpoint, _)| is_asked(*endpoint)) {
        compliant += u64::from(breaches(board, endpoint, row, policies, now).is_empty());
        if among.is_some() {
            row.count(&mut counted, Sign::Comes);
            missed.extend(row.standing.held.iter().filter(|held| held.state().is_missing()).map(|held| held.number()));
        }
    }
    let mut updates = [0; 5];
    for (number, known) in board.updates().filter(|(_, known)| known.facts.counts() && known.by_state.missing() > 0) {
        if (among.is_none() || missed.contains(&number))
            && let Some(many) = updates.get_mut(place(known.facts.severity))
        {
            *many += 1;
        }
    }
    Summary { totals: if among.is_some() { counted } else { *board.totals() }, compliant, updates }
}

/// Which endpoints are shown; what is not given is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// What it is counted as.
    pub class: Option<Class>,
    /// Whether it keeps to the policy.
    pub compliant: Option<bool>,
    /// Whether a restart is pending.
    pub restart: Option<bool>,
    /// Only those on which this update is in the state `state`, or missing where none is given.
    pub update: Option<UpdateId>,
    /// See `update`; without one, endpoints on which any update that counts is in this state.
    pub state: Option<State>,
    /// Only some of these.
    pub among: Option<Among>,
}

impl Which {
    fn fits(&self, board: &Board, row: &Row, seen: &Seen) -> bool {
        self.class.is_none_or(|class| class == seen.class)
            && self.compliant.is_none_or(|wanted| wanted == seen.reasons.is_empty())
            && self.restart.is_none_or(|wanted| wanted == seen.restart.is_some())
            && self.among.as_ref().is_none_or(|among| among.contains(&seen.endpoint))
            && self.has(board, row)
    }

    fn has(&self, board: &Board, row: &Row) -> bool {
        let is_it = |state: State| self.state.map_or(state.is_missing(), |wanted| wanted == state);
        match (self.update, self.state) {
            (None, None) => true,
            (Some(update), _) => is_it(state_of(board, row, update)),
            (None, Some(_)) => row.standing.held.iter().any(|held| {
                is_it(held.state()) && board.known(held.number()).is_some_and(|known| known.facts.counts())
            }),
        }
    }
}

/// How an update stands on an endpoint.
pub fn state_of(board: &Board, row: &Row, update: UpdateId) -> State {
    if !row.standing.is_told {
        let told = board.number(update).and_then(|number| row.standing.of(number));
        return told.map_or(State::Unknown, Held::state);
    }
    let told = board.number(update).and_then(|number| row.standing.of(number));
    told.map_or(State::NotApplicable, Held::state)
}

/// A page of endpoints, and how many fit in all.
pub fn endpoints(
    board: &Board,
    which: &Which,
    policies: &Policies,
    now: Timestamp,
    after: Option<Endpoint>,
    limit: usize,
) -> (Vec<Seen>, u64) {
    let (mut found, mut total) = (Vec::new(), 0);
    for (endpoint, row) in board.rows(None) {
        let seen = seen(board, endpoint, row, policies, now);
        if !which.fits(board, row, &seen) {
            continue;
        }
        total += 1;
        if after.is_none_or(|after| after < endpoint) && found.len() < limit {
            found.push(seen);
        }
    }
    (found, total)
}

/// One update on one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands {
    /// Which update.
    pub update: UpdateId,
    /// How it stands.
    pub state: State,
    /// Since when.
    pub changed: Timestamp,
    /// Since when it is missing, where it is and counts.
    pub missing_since: Option<Timestamp>,
    /// With what installing it failed, where that is known.
    pub code: Option<i32>,
    /// What licences say to it.
    pub licence: Licence,
}

/// All that an endpoint told of.
pub fn stands(board: &Board, row: &Row) -> Vec<Stands> {
    let one = |held: &crate::store::fleet::standing::Held| {
        let known = board.known(held.number())?;
        let counts = known.facts.counts() && held.state().is_missing();
        Some(Stands {
            update: known.id,
            state: held.state(),
            changed: time(held.changed),
            missing_since: counts.then(|| time(held.since)),
            code: row.standing.code(held.number()),
            licence: known.facts.licence,
        })
    };
    row.standing.held.iter().filter_map(one).collect()
}

/// Which updates are shown; what is not given is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those that count and that some endpoint misses.
    pub missing: bool,
    /// Only what is missing on this endpoint (or, without `missing`, what it told of).
    pub endpoint: Option<Endpoint>,
    /// The least severity.
    pub severity: Option<Severity>,
    /// Categories of which it has at least one, such as a classification.
    pub classification: Option<UpdateId>,
    /// Categories of which it has at least one, such as the products of a family; none given: any.
    pub products: Vec<UpdateId>,
    /// What licences say to it.
    pub licence: Option<Licence>,
    /// Made before this time.
    pub made_before: Option<Timestamp>,
    /// Counted on these endpoints alone.
    pub among: Option<Among>,
}

/// What some endpoints told: how many there are, how many of them told of a scan, and by the number of an update in which states it is.
#[derive(Default)]
struct Part {
    endpoints: u64,
    unscanned: u64,
    by_number: HashMap<u32, ByState>,
}

impl Part {
    fn new(board: &Board, among: &Among) -> Self {
        let mut part = Self::default();
        for (_, row) in board.rows(None).filter(|(endpoint, _)| among.contains(endpoint)) {
            part.endpoints += 1;
            part.unscanned += u64::from(!row.standing.is_told);
            for held in &row.standing.held {
                part.by_number.entry(held.number()).or_default().count(held.state(), Sign::Comes);
            }
        }
        part
    }
}

/// An update with how it stands on all endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub update: UpdateId,
    /// The number of the revision that counts, where the catalog has one.
    pub revision: Option<u32>,
    /// How bad what it mends is.
    pub severity: Severity,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What licences say to it.
    pub licence: Licence,
    /// Whether endpoints that need it miss something.
    pub counts: bool,
    /// On how many endpoints it is in each state.
    pub by_state: ByState,
    /// Endpoints that told, and have no use for it.
    pub not_applicable: u64,
    /// Endpoints that never told.
    pub unknown: u64,
    /// Since when the first endpoint misses it.
    pub since: Option<Timestamp>,
}

/// The updates that endpoints told of: the worst first, of these the newest.
pub fn updates(board: &Board, wanted: &Wanted) -> Vec<Line> {
    let of_endpoint = wanted.endpoint.map(|endpoint| board.row(endpoint));
    let mut lines = Vec::new();
    // By number: where its line is.
    let mut places = HashMap::new();
    let part = wanted.among.as_ref().map(|among| Part::new(board, among));
    let (endpoints, unscanned) = match &part {
        Some(part) => (part.endpoints, part.unscanned),
        None => (board.totals().endpoints, board.totals().unscanned),
    };
    for (number, known) in board.updates() {
        let facts = &known.facts;
        let by_state = match &part {
            Some(part) => part.by_number.get(&number).copied().unwrap_or_default(),
            None => known.by_state,
        };
        if by_state.told() == 0 || wanted.missing && !(facts.counts() && by_state.missing() > 0) {
            continue;
        }
        let held = of_endpoint.map(|row| row.and_then(|row| row.standing.of(number)));
        if held.is_some_and(|held| !held.is_some_and(|held| !wanted.missing || held.state().is_missing())) {
            continue;
        }
        let has = |id: &UpdateId| facts.categories.contains(id);
        if wanted.severity.is_some_and(|least| facts.severity < least)
            || wanted.classification.is_some_and(|id| !has(&id))
            || !wanted.products.is_empty() && !wanted.products.iter().any(has)
            || wanted.licence.is_some_and(|licence| licence != facts.licence)
            || wanted.made_before.is_some_and(|before| facts.created.is_none_or(|created| created >= before))
        {
            continue;
        }
        let told = endpoints.saturating_sub(unscanned);
        places.insert(number, lines.len());
        lines.push(Line {
            update: known.id,
            revision: facts.revision,
            severity: facts.severity,
            created: facts.created,
            licence: facts.licence,
            counts: facts.counts(),
            by_state,
            not_applicable: told.saturating_sub(by_state.told()),
            unknown: unscanned,
            since: None,
        });
    }
    let is_asked = |endpoint: Endpoint| {
        wanted.endpoint.is_none_or(|wanted| wanted == endpoint)
            && wanted.among.as_ref().is_none_or(|among| among.contains(&endpoint))
    };
    let rows = board.rows(None).filter(|(endpoint, _)| is_asked(*endpoint));
    for held in rows.flat_map(|(_, row)| row.standing.held.iter()).filter(|held| held.state().is_missing()) {
        let line = places.get(&held.number()).and_then(|place| lines.get_mut(*place));
        if let Some(line) = line {
            let since = time(held.since);
            line.since = Some(line.since.map_or(since, |known| known.min(since)));
        }
    }
    lines.sort_by_key(Line::place);
    lines
}

/// Where a line stands in a list of updates: the worst first, of these the newest. A page goes on behind one, whether it is still there or
/// not.
pub type Place = (Reverse<Severity>, Reverse<Option<Timestamp>>, UpdateId);

impl Line {
    /// Its place.
    pub fn place(&self) -> Place {
        (Reverse(self.severity), Reverse(self.created), self.update)
    }
}
