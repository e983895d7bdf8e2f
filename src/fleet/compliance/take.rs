//! What an endpoint's states are after it told something: a function of what was before. Pure.

use crate::fleet::compliance::board::{Board, Changed, Refused, Taken};
use crate::fleet::compliance::told::{Snapshot, Told, What};
use crate::model::compliance::State;
use crate::store::fleet::standing::{HELD_MAX, Held, Standing};

/// So long after it happened an event can still come: as far back as one is believed to lie. A restart of which nobody has told by then is
/// one whose event was lost, and what scans say counts.
const LOST: u32 = 30 * 86_400;

/// Whether something that happened before the last snapshot can still be taken. That knows better where it had a list for such things; and
/// of files that came, and scans, it tells itself.
fn comes_late(standing: &Standing, what: &What) -> bool {
    match what {
        What::Restarted | What::RestartPending | What::Became(_, State::PendingRestart, _) => !standing.lists_restarts,
        // What it does not name is of no use any more.
        What::Became(_, State::Failed, _) => !standing.lists_failed,
        _ => false,
    }
}

/// Takes something told into `standing`, which it changes only where it is taken. `board` knows the updates. A snapshot counts more than
/// all that is older than it, as far as it tells of such things at all.
pub(super) fn apply(board: &Board, standing: &mut Standing, told: &Told) -> Result<Taken, Refused> {
    let is_late = told.at < standing.told;
    if is_late && !comes_late(standing, &told.what) {
        return Err(Refused::Stale);
    }
    let mut taken = Taken::default();
    match &told.what {
        What::Scanned => scanned(standing, told.at),
        What::ScanFailed(code) => standing.failed_scan = Some((told.at, *code)),
        What::Restarted if told.at < standing.restart => return Err(Refused::Stale),
        What::Restarted => restarted(standing, told.at),
        What::RestartPending if told.at < standing.restarted => return Err(Refused::Stale),
        What::RestartPending => restart(standing, told.at),
        What::Became(update, state, code) => {
            let Some(number) = board.number(*update) else {
                return Ok(Taken { unknown: 1, ..Taken::default() });
            };
            let old = standing.of(number);
            // What the last snapshot does not name is of no use any more, and what waited for a restart that has been waits no more.
            let is_over = is_late && old.is_none() || *state == State::PendingRestart && told.at < standing.restarted;
            if is_over || old.is_some_and(|held| told.at < held.changed) {
                return Err(Refused::Stale);
            }
            if old.is_none() && standing.held.len() >= HELD_MAX {
                return Err(Refused::Absurd);
            }
            if *state == State::PendingRestart {
                restart(standing, told.at);
            }
            let from = old.map_or(State::NotApplicable, Held::state);
            // Files that are there change nothing for what is installed, failed or of no use.
            if *state != State::Downloaded || from == State::NotInstalled {
                let before = seen(standing, number);
                let held = one(board, standing, number, *state, told.at);
                put(standing, held, *code);
                let (from, to) = (before, seen(standing, number));
                if from != to {
                    taken.changes.push(Changed { number, from: from.0, to: to.0, code: to.1, at: told.at });
                }
            }
        }
        What::Snapshot(all) => {
            if all.states.len() > HELD_MAX {
                return Err(Refused::Absurd);
            }
            standing.lists_failed |= all.tells_failed;
            standing.lists_restarts |= all.tells_restarts;
            snapshot(board, standing, all, told.at, &mut taken);
            standing.told = told.at;
            scanned(standing, told.at);
        }
    }
    Ok(taken)
}

/// How an update stands, and with what it failed; 0 where it did not.
fn seen(standing: &Standing, number: u32) -> (State, i32) {
    let silent = if standing.is_told { State::NotApplicable } else { State::Unknown };
    (standing.of(number).map_or(silent, Held::state), standing.code(number).unwrap_or(0))
}

fn scanned(standing: &mut Standing, at: u32) {
    standing.scanned = standing.scanned.max(at);
    standing.failed_scan = standing.failed_scan.filter(|(failed, _)| *failed > at);
}

fn restart(standing: &mut Standing, at: u32) {
    // Zero stands for none. One that was told of late began earlier.
    if standing.restart == 0 || at < standing.restart {
        standing.restart = at.max(1);
    }
}

/// It was restarted: what waits since then waits for the next one.
fn restarted(standing: &mut Standing, at: u32) {
    standing.restarted = standing.restarted.max(at);
    let since = waiting(&standing.held).filter(|since| *since > standing.restarted).min();
    standing.restart = since.unwrap_or(0);
}

/// Since when each update waits for a restart that does.
fn waiting(held: &[Held]) -> impl Iterator<Item = u32> {
    held.iter().filter(|held| held.state() == State::PendingRestart).map(|held| held.changed)
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

fn put(standing: &mut Standing, held: Option<Held>, code: i32) {
    let Some(held) = held else { return };
    let number = held.number();
    match standing.held.binary_search_by_key(&number, |held| held.number()) {
        Ok(at) => {
            if let Some(place) = standing.held.get_mut(at) {
                *place = held;
            }
        }
        Err(at) => {
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
}

/// Whether what waits for a restart since then can still wait for it at `at`, by what was told.
fn still_waits(before: &Standing, since: u32, at: u32) -> bool {
    since > before.restarted && at.saturating_sub(since) < LOST
}

/// The state of an update in a snapshot that names it in `told`. What is needed may have failed, and what is needed or installed may wait for
/// a restart that has not been yet: where the endpoint has no lists of these, what was told of them before stays.
fn meant(before: &Standing, number: u32, told: State, at: u32) -> State {
    let was = before.of(number);
    match (was.map(Held::state), told) {
        (Some(State::Failed), State::NotInstalled | State::Downloaded) if !before.lists_failed => State::Failed,
        (Some(State::PendingRestart), State::NotInstalled | State::Downloaded | State::Installed)
            if !before.lists_restarts && was.is_some_and(|was| still_waits(before, was.changed, at)) =>
        {
            State::PendingRestart
        }
        _ => told,
    }
}

fn snapshot(board: &Board, standing: &mut Standing, all: &Snapshot, at: u32, taken: &mut Taken) {
    let before = std::mem::take(standing);
    let mut held = Vec::with_capacity(all.states.len());
    for (id, state) in &all.states {
        match board.number(*id) {
            Some(number) => held.extend(one(board, &before, number, meant(&before, number, *state, at), at)),
            None => taken.unknown += 1,
        }
    }
    held.sort_unstable_by_key(|held| held.number());
    let is_failed = |number: u32| {
        let place = held.binary_search_by_key(&number, |held: &Held| held.number()).ok();
        place.and_then(|place| held.get(place)).is_some_and(|held| held.state() == State::Failed)
    };
    standing.codes = before.codes.iter().copied().filter(|(number, _)| is_failed(*number)).collect();
    // A restart that no update is behind goes on where there is no list that would tell otherwise. One that was behind an update that is
    // named no more, or waits no more, does not.
    let is_alone = before.restart > 0 && waiting(&before.held).next().is_none();
    let goes_on = is_alone && !before.lists_restarts && still_waits(&before, before.restart, at);
    let since = waiting(&held).min();
    let older =
        (before.restart > before.restarted && at.saturating_sub(before.restart) < LOST).then_some(before.restart);
    standing.restart = match (since, older) {
        (Some(since), Some(older)) => since.min(older).max(1),
        (Some(since), None) => since.max(1),
        (None, _) if goes_on => before.restart,
        (None, _) => 0,
    };
    (standing.lists_failed, standing.lists_restarts) = (before.lists_failed, before.lists_restarts);
    standing.restarted = before.restarted;
    standing.held = held.into_boxed_slice();
    (standing.scanned, standing.failed_scan) = (before.scanned, before.failed_scan);
    // The first of all is no change: it would fill the history with what was there before anybody asked.
    if before.is_told {
        changes(&before, standing, at, taken);
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
