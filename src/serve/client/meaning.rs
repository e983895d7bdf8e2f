//! What a reported event means for the state of an endpoint, and whether it can be believed. Pure.
//!
//! The numbers are those of the table of MS-WUSP 2.2.2.3.1; what a WSUS makes of them was observed: only a snapshot (156) and a failed
//! installation (182) change the state of an update there.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::fleet::compliance::counters::Disbelief;
use crate::fleet::compliance::told::{Snapshot, Told, What};
use crate::model::compliance::State;
use crate::model::update::UpdateId;
use crate::store::fleet::standing::seconds;
use crate::wire::wusp::report::Event;

/// How far the clock of an endpoint may be ahead. What lies between is taken for now.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// How far back an event is believed to lie: an agent that was away for longer than that tells its state anew before it tells of the past.
const BEHIND_MAX: Duration = Duration::from_hours(30 * 24);

/// How far the clock of an endpoint is off before its events are moved: networks and hands take their time, and what is within it (as
/// Kerberos has it) does no harm.
const OFF_MIN: Duration = Duration::from_mins(5);

/// How far a clock is believed to be off: one without a battery begins in the year in which its firmware was made.
const OFF_MAX: Duration = Duration::from_hours(20 * 366 * 24);

/// What is added to times of an endpoint whose clock says `clock` now, in ms.
pub(super) fn off(clock: Option<Timestamp>, now: Timestamp) -> i64 {
    let Some(clock) = clock else { return 0 };
    let apart = now.ms().abs_diff(clock.ms());
    if !(OFF_MIN.as_millis()..=OFF_MAX.as_millis()).contains(&u128::from(apart)) {
        return 0;
    }
    let apart = i64::try_from(apart).unwrap_or_default();
    if clock < now { apart } else { -apart }
}

/// The one namespace of the table.
const NAMESPACE: i32 = 1;

/// `WU_S_REBOOT_REQUIRED`: what Windows 11 sends with "installation pending".
const REBOOT_REQUIRED: i32 = 0x0024_0005;

/// The list of what failed, and that of what waits for a restart.
const FAILURES: &str = "g";
const RESTARTS: &str = "W";

/// The lists of a snapshot.
const LISTS: [(&str, State); 5] = [
    ("U", State::NotInstalled),
    ("h", State::Downloaded),
    ("V", State::Installed),
    (FAILURES, State::Failed),
    (RESTARTS, State::PendingRestart),
];

/// The code of a failure that tells none: `E_FAIL`.
const FAILED: i32 = 0x8000_4005_u32.cast_signed();

fn what(event: &Event) -> Option<What> {
    let became = |state, code| event.update.map(|update| What::Became(update.id, state, code));
    match event.id {
        147 => Some(What::Scanned),
        148 => Some(What::ScanFailed(event.result)),
        156 => Some(What::Snapshot(snapshot(event))),
        162 | 164 => became(State::Downloaded, 0),
        182 | 187 | 192 | 195 | 198 | 200 | 204 => {
            became(State::Failed, if event.result == 0 { FAILED } else { event.result })
        }
        184 | 191 | 199 => became(State::PendingRestart, 0),
        201 if event.result == REBOOT_REQUIRED => became(State::PendingRestart, 0),
        193 | 194 | 224 => Some(What::RestartPending),
        // 203: it went well, after the restart.
        202 | 203 => Some(What::Restarted),
        _ => None,
    }
}

/// All that it names, each once; of several states the greatest.
fn snapshot(event: &Event) -> Snapshot {
    let mut all = Snapshot::default();
    for (tag, state) in LISTS {
        let Some(ids) = event.updates(tag) else { continue };
        all.tells_failed |= tag == FAILURES;
        all.tells_restarts |= tag == RESTARTS;
        for id in ids {
            all.states.entry(id).and_modify(|known: &mut State| *known = state.max(*known)).or_insert(state);
        }
    }
    all
}

/// What an event means that the endpoint `client` reported, now; `None` where it means nothing for states. `clock`: what time it was by
/// the clock of the endpoint when it reported, where it said so.
pub fn meaning(
    event: &Event,
    client: UpdateId,
    clock: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Told>, Disbelief> {
    let is_own = event.target.trim().parse::<UpdateId>().is_ok_and(|target| target == client);
    if !is_own {
        return Err(Disbelief::Foreign);
    }
    let off = off(clock, now);
    let at = event.at.map_or(now, |at| Timestamp::from_ms(at.ms().saturating_add_signed(off)));
    if at.since(now) > AHEAD_MAX {
        return Err(Disbelief::Future);
    }
    let behind = u64::try_from(BEHIND_MAX.as_millis()).unwrap_or(u64::MAX);
    let at = at.min(now).max(Timestamp::from_ms(now.ms().saturating_sub(behind)));
    let what = if event.namespace == NAMESPACE { what(event) } else { None };
    Ok(what.map(|what| Told { at: seconds(at), what }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::update::Identity;

    const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

    fn id(of: u8) -> UpdateId {
        UpdateId::new([of; 16])
    }

    fn event(number: i32, result: i32, misc: &[String]) -> Event {
        Event {
            target: id(7).to_string().to_uppercase(),
            at: Some(NOW),
            instance: id(1),
            namespace: 1,
            id: number,
            source: 101,
            update: Some(Identity { id: id(3), revision: 1 }),
            result,
            app: String::new(),
            strings: Vec::new(),
            misc: misc.to_vec(),
            machine: crate::wire::wusp::report::Machine::default(),
            device: String::new(),
        }
    }

    fn of(event: &Event) -> Option<What> {
        meaning(event, id(7), None, NOW).unwrap().map(|told| told.what)
    }

    #[test]
    fn a_snapshot_names_each_update_once_and_the_strongest_state_counts() {
        let list = |tag: &str, of: &[u8]| {
            let ids: Vec<_> = of.iter().map(|of| id(*of).to_string().to_uppercase()).collect();
            format!("{tag}={}", ids.join(";"))
        };
        let lists = [list("U", &[1, 2, 3]), list("V", &[4, 2]), list("W", &[5, 4]), list("g", &[3]), list("h", &[1])];
        let Some(What::Snapshot(all)) = of(&event(156, 0, &lists)) else { panic!("it is a snapshot") };
        let states: Vec<u8> = all.states.values().map(|state| state.number()).collect();
        assert_eq!((all.states.len(), states), (5, vec![3, 4, 5, 6, 6]));
        assert!(all.tells_failed && all.tells_restarts);
        let Some(What::Snapshot(none)) = of(&event(156, 0, &["U=x;;y".into()])) else { panic!("it is a snapshot") };
        assert_eq!(none, Snapshot::default(), "it says nothing of failures and restarts");
    }

    #[test]
    fn events_mean_what_the_table_says() {
        let became = |state, code| Some(What::Became(id(3), state, code));
        assert_eq!(of(&event(182, -5, &[])), became(State::Failed, -5));
        assert_eq!(of(&event(182, 0, &[])), became(State::Failed, FAILED));
        assert_eq!(of(&event(184, 0, &[])), became(State::PendingRestart, 0));
        assert_eq!(of(&event(201, REBOOT_REQUIRED, &[])), became(State::PendingRestart, 0));
        assert_eq!((of(&event(201, 0, &[])), of(&event(183, 0, &[])), of(&event(181, 0, &[]))), (None, None, None));
        assert_eq!(of(&event(203, 0, &[])), Some(What::Restarted));
        assert_eq!(
            (of(&event(147, 0, &[])), of(&event(148, -3, &[]))),
            (Some(What::Scanned), Some(What::ScanFailed(-3)))
        );
        let mut other = event(182, -5, &[]);
        other.namespace = 2;
        assert_eq!(of(&other), None);
        other = event(182, -5, &[]);
        other.update = None;
        assert_eq!(of(&other), None);
    }

    #[test]
    fn what_is_of_others_or_of_the_future_is_not_believed() {
        let told = |at: Option<u64>, target: &str| {
            let at = at.map(Timestamp::from_ms);
            let event = Event { at, target: target.to_owned(), ..event(147, 0, &[]) };
            meaning(&event, id(7), None, NOW).map(|told| told.map(|told| u64::from(told.at) * 1000))
        };
        let (own, now, day) = (id(7).to_string(), NOW.ms(), 86_400_000);
        assert_eq!(told(Some(now), &id(8).to_string()), Err(Disbelief::Foreign));
        assert_eq!(told(Some(now), ""), Err(Disbelief::Foreign));
        assert_eq!(told(Some(now + day + 1), &own), Err(Disbelief::Future));
        assert_eq!(told(Some(u64::MAX), &own), Err(Disbelief::Future));
        assert_eq!((told(Some(now + day), &own), told(None, &own)), (Ok(Some(now)), Ok(Some(now))));
        assert_eq!((told(Some(now - day), &own), told(Some(0), &own)), (Ok(Some(now - day)), Ok(Some(now - 30 * day))));
    }
    #[test]
    fn times_of_a_clock_that_is_off_are_moved() {
        let (now, hour) = (NOW.ms(), 3_600_000);
        // An hour before it reported, by its own clock.
        let told = |clock: u64| {
            let event = Event { at: Some(Timestamp::from_ms(clock.saturating_sub(hour))), ..event(147, 0, &[]) };
            meaning(&event, id(7), Some(Timestamp::from_ms(clock)), NOW)
                .map(|told| told.map(|told| u64::from(told.at) * 1000))
        };
        for clock in [now, now + 40 * 24 * hour, now - 40 * 24 * hour, now - 15 * 365 * 24 * hour] {
            assert_eq!(told(clock), Ok(Some(now - hour)), "{clock}");
        }
        assert_eq!(told(now + 120_000), Ok(Some(now - hour + 120_000)), "two minutes are no reason");
        assert_eq!(told(u64::MAX), Err(Disbelief::Future), "no clock is so far off");
        assert_eq!(told(0), Ok(Some(now - 30 * 24 * hour)));
    }
}
