//! What an endpoint's states are after it told something: a function of what was before. Pure.

use crate::fleet::compliance::board::{Board, Changed, Refused, Taken};
use crate::fleet::compliance::told::{Told, What};
use crate::model::compliance::State;
use crate::model::update::UpdateId;
use crate::store::fleet::standing::{HELD_MAX, Held, Standing};

/// What comes of something told.
pub(super) struct Taking {
    pub(super) standing: Standing,
    pub(super) taken: Taken,
}

impl Taking {
    /// `board` knows the updates. A snapshot counts more than all that is older than it.
    pub(super) fn of(board: &Board, before: &Standing, told: &Told) -> Result<Self, Refused> {
        if told.at < before.told {
            return Err(Refused::Stale);
        }
        let mut standing = before.clone();
        let mut taken = Taken::default();
        match &told.what {
            What::Scanned => scanned(&mut standing, told.at),
            What::ScanFailed(code) => standing.failed_scan = Some((told.at, *code)),
            What::Restarted if told.at < standing.restart => return Err(Refused::Stale),
            What::Restarted => standing.restart = 0,
            What::RestartPending => restart(&mut standing, told.at),
            What::Became(update, state, code) => {
                let Some(number) = board.number(*update) else {
                    return Ok(Self { standing: before.clone(), taken: Taken { unknown: 1, ..Taken::default() } });
                };
                if before.of(number).is_some_and(|held| told.at < held.changed) {
                    return Err(Refused::Stale);
                }
                if *state == State::PendingRestart {
                    restart(&mut standing, told.at);
                }
                let from = before.of(number).map_or(State::NotApplicable, Held::state);
                // Files that are there change nothing for what is installed, failed or of no use.
                if *state != State::Downloaded || from == State::NotInstalled {
                    let held = one(board, before, number, *state, told.at);
                    put(&mut standing, held, *code)?;
                    note(&mut taken, before, &standing, number, told.at);
                }
            }
            What::Snapshot(all) => {
                if all.len() > HELD_MAX {
                    return Err(Refused::Absurd);
                }
                snapshot(
                    board,
                    before,
                    &mut standing,
                    all.iter().map(|(id, state)| (*id, *state)),
                    told.at,
                    &mut taken,
                );
                standing.told = told.at;
                scanned(&mut standing, told.at);
            }
        }
        Ok(Self { standing, taken })
    }
}

fn scanned(standing: &mut Standing, at: u32) {
    standing.scanned = standing.scanned.max(at);
    standing.failed_scan = standing.failed_scan.filter(|(failed, _)| *failed > at);
}

fn restart(standing: &mut Standing, at: u32) {
    if standing.restart == 0 {
        // Zero stands for none.
        standing.restart = at.max(1);
    }
}

/// An update in a state, with since when it is so and since when it is missing.
fn one(board: &Board, before: &Standing, number: u32, state: State, at: u32) -> Option<Held> {
    let old = before.of(number);
    let changed = old.filter(|old| old.state() == state).map_or(at, |old| old.changed);
    let mut held = Held::new(number, state, changed)?;
    if state.is_missing() {
        held.since = match old.filter(|old| old.state().is_missing()) {
            // A snapshot may be older than what was told of single updates.
            Some(old) => old.since.min(changed),
            None => inherited(board, before, number).map_or(changed, |since| since.min(changed)),
        };
    }
    Some(held)
}

/// Since when the earliest of those is missing whose place an update takes: who never installs the update of a month must not look as if
/// nothing were ever missing for longer than that month.
fn inherited(board: &Board, before: &Standing, number: u32) -> Option<u32> {
    let supersedes = &board.known(number)?.facts.supersedes;
    let missing = supersedes.iter().filter_map(|id| before.of(board.number(*id)?));
    missing.filter(|held| held.state().is_missing()).map(|held| held.since).min()
}

fn put(standing: &mut Standing, held: Option<Held>, code: i32) -> Result<(), Refused> {
    let Some(held) = held else { return Ok(()) };
    let number = held.number();
    match standing.held.binary_search_by_key(&number, |held| held.number()) {
        Ok(at) => {
            if let Some(place) = standing.held.get_mut(at) {
                *place = held;
            }
        }
        Err(at) => {
            if standing.held.len() >= HELD_MAX {
                return Err(Refused::Absurd);
            }
            let mut all = std::mem::take(&mut standing.held).into_vec();
            all.insert(at, held);
            standing.held = all.into_boxed_slice();
        }
    }
    standing.codes.retain(|(of, _)| *of != number);
    if held.state() == State::Failed && code != 0 {
        let at = standing.codes.partition_point(|(of, _)| *of < number);
        standing.codes.insert(at, (number, code));
    }
    Ok(())
}

fn note(taken: &mut Taken, before: &Standing, after: &Standing, number: u32, at: u32) {
    let silent = if before.is_told { State::NotApplicable } else { State::Unknown };
    let state = |standing: &Standing| standing.of(number).map_or(silent, Held::state);
    let (from, to) = (state(before), state(after));
    let code = after.code(number).unwrap_or(0);
    if from != to || code != before.code(number).unwrap_or(0) {
        taken.changes.push(Changed { number, from, to, code, at });
    }
}

fn snapshot(
    board: &Board,
    before: &Standing,
    standing: &mut Standing,
    all: impl Iterator<Item = (UpdateId, State)>,
    at: u32,
    taken: &mut Taken,
) {
    let mut held = Vec::new();
    for (id, state) in all {
        match board.number(id) {
            Some(number) => held.extend(one(board, before, number, state, at)),
            None => taken.unknown += 1,
        }
    }
    held.sort_unstable_by_key(|held| held.number());
    let is_failed = |number: u32| {
        let place = held.binary_search_by_key(&number, |held: &Held| held.number()).ok();
        place.and_then(|place| held.get(place)).is_some_and(|held| held.state() == State::Failed)
    };
    standing.codes.retain(|(number, _)| is_failed(*number));
    let pending = held.iter().filter(|held| held.state() == State::PendingRestart).map(|held| held.changed).min();
    // A snapshot is made by a scan, which no machine can make that must restart first without saying so.
    match pending {
        Some(since) => restart(standing, since),
        None => standing.restart = 0,
    }
    standing.held = held.into_boxed_slice();
    // The first of all is no change: it would fill the history with what was there before anybody asked.
    if before.is_told {
        changes(before, standing, at, taken);
    }
    standing.is_told = true;
}

/// All that is other than before, both in the order of numbers.
fn changes(before: &Standing, after: &Standing, at: u32, taken: &mut Taken) {
    let (mut old, mut new) = (before.held.iter().peekable(), after.held.iter().peekable());
    loop {
        let number = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.number().min(new.number()),
            (Some(one), None) | (None, Some(one)) => one.number(),
            (None, None) => return,
        };
        let from = old.next_if(|held| held.number() == number).map_or(State::NotApplicable, |held| held.state());
        let to = new.next_if(|held| held.number() == number).map_or(State::NotApplicable, |held| held.state());
        if from != to {
            taken.changes.push(Changed { number, from, to, code: after.code(number).unwrap_or(0), at });
        }
    }
}
