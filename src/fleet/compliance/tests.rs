//! States, totals and verdicts: asserted values, and counters that are maintained beside those that are recounted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::ask::{self, Class, Wanted, Which};
use super::board::{Board, FAIR, Refused, Taken};
use super::facts::{Facts, Licence};
use super::policies::Among;
use super::told::{Snapshot, Told, What};
use super::totals::place;
use crate::base::time::Timestamp;
use crate::model::compliance::{Policy, State};
use crate::model::deployment::Endpoint;
use crate::model::update::{Severity, UpdateId};
use crate::store::fleet::standing::{HELD_MAX, Standing, time};

const DAY: u32 = 86_400;
const T: u32 = 1_800_000_000;

fn id(of: u8) -> UpdateId {
    UpdateId::new([of; 16])
}

fn endpoint(of: u8) -> Endpoint {
    Endpoint(id(of))
}

fn facts(severity: Severity) -> Facts {
    Facts { revision: Some(1), deployable: true, severity, ..Facts::default() }
}

fn board(updates: u8) -> Board {
    let mut board = Board::default();
    for of in 1..=updates {
        board.learn(id(of), facts(Severity::Critical));
    }
    board
}

fn all(states: &[(u8, State)]) -> What {
    What::Snapshot(states.iter().map(|(of, state)| (id(*of), *state)).collect::<BTreeMap<_, _>>().into())
}

/// As those that were seen send it: what is needed and what is installed, and no other list.
fn two_lists(states: &[(u8, State)]) -> What {
    let states = states.iter().map(|(of, state)| (id(*of), *state)).collect();
    What::Snapshot(Snapshot { states, ..Snapshot::default() })
}

fn tell(board: &mut Board, at: u32, what: What) -> Result<Taken, Refused> {
    board.take(endpoint(1), &Told { at, what })
}

fn standing(board: &Board) -> &Standing {
    &board.row(endpoint(1)).unwrap().standing
}

fn state(board: &Board, of: u8) -> State {
    ask::state_of(board, board.row(endpoint(1)).unwrap(), id(of))
}

#[test]
fn a_snapshot_is_the_truth_and_what_it_leaves_out_is_of_no_use() {
    use State::{Failed, Installed, NotApplicable, NotInstalled, PendingRestart, Unknown};
    let mut board = board(4);
    board.arrive(endpoint(1));
    assert_eq!((state(&board, 1), board.totals().unscanned), (Unknown, 1));
    let first = tell(&mut board, T, all(&[(1, NotInstalled), (2, Installed), (9, Installed)])).unwrap();
    assert_eq!((first.changes.len(), first.unknown), (0, 1), "the first one is no change, and 9 is in no catalog");
    assert_eq!((state(&board, 1), state(&board, 2), state(&board, 3)), (NotInstalled, Installed, NotApplicable));
    assert_eq!((board.totals().missing, board.totals().unscanned, board.totals().up_to_date), (1, 0, 0));

    // Said again it changes nothing, and its times stay.
    assert_eq!(tell(&mut board, T + 60, all(&[(1, NotInstalled), (2, Installed)])).unwrap(), Taken::default());
    assert_eq!(standing(&board).of(0).unwrap().changed, T);
    let second = tell(&mut board, T + DAY, all(&[(1, Failed), (3, PendingRestart)])).unwrap();
    let told: Vec<_> = second.changes.iter().map(|one| (one.number, one.from, one.to)).collect();
    let wanted = [(0, NotInstalled, Failed), (1, Installed, NotApplicable), (2, NotApplicable, PendingRestart)];
    assert_eq!(told, wanted);
    let held = standing(&board).of(0).unwrap();
    assert_eq!((held.changed, held.since), (T + DAY, T), "it has been missing from the beginning");
    assert_eq!((standing(&board).restart, board.totals().restart, board.totals().failed), (T + DAY, 1, 1));

    // What is older counts no more; a later one without pending ones ends the restart.
    assert_eq!(tell(&mut board, T + 60, all(&[(1, Installed)])), Err(Refused::Stale));
    tell(&mut board, T + 2 * DAY, all(&[(1, Installed), (3, Installed)])).unwrap();
    assert_eq!((standing(&board).restart, board.totals().restart, board.totals().up_to_date), (0, 0, 1));
    assert_eq!(board.differences(), Vec::<String>::new());
}

#[test]
fn events_between_snapshots_set_what_cannot_mislead() {
    use State::{Downloaded, Failed, Installed, NotInstalled, PendingRestart};
    let mut board = board(3);
    tell(&mut board, T, all(&[(1, NotInstalled), (2, Installed)])).unwrap();
    tell(&mut board, T + 1, What::Became(id(1), Downloaded, 0)).unwrap();
    tell(&mut board, T + 1, What::Became(id(2), Downloaded, 0)).unwrap();
    assert_eq!(
        (state(&board, 1), state(&board, 2)),
        (Downloaded, Installed),
        "files there say nothing of an installed one"
    );
    let failed = What::Became(id(1), Failed, -7);
    assert_eq!(tell(&mut board, T + 2, failed.clone()).unwrap().changes.len(), 1);
    assert_eq!(tell(&mut board, T + 2, failed.clone()).unwrap().changes, [], "said twice it is said once");
    assert_eq!((state(&board, 1), standing(&board).code(0), board.totals().failed), (Failed, Some(-7), 1));
    // The list of failed ones has no codes: that of before stays.
    tell(&mut board, T + 3, all(&[(1, Failed), (2, Installed)])).unwrap();
    assert_eq!(standing(&board).code(0), Some(-7));
    tell(&mut board, T + 4, What::Became(id(1), PendingRestart, 0)).unwrap();
    assert_eq!((standing(&board).restart, standing(&board).code(0), board.totals().missing), (T + 4, None, 0));
    assert_eq!(tell(&mut board, T + 3, What::Restarted), Err(Refused::Stale));
    tell(&mut board, T + 5, What::Restarted).unwrap();
    assert_eq!(
        (standing(&board).restart, state(&board, 1)),
        (0, PendingRestart),
        "what came of it the next scan tells"
    );
    assert_eq!(tell(&mut board, T + 1, failed), Err(Refused::Stale), "it comes late");
    assert_eq!(tell(&mut board, T + 6, What::Became(id(9), Failed, 1)).unwrap().unknown, 1);
    // Scans.
    tell(&mut board, T + 7, What::ScanFailed(-1)).unwrap();
    assert_eq!((standing(&board).failed_scan, standing(&board).scanned), (Some((T + 7, -1)), T + 3));
    tell(&mut board, T + 8, What::Scanned).unwrap();
    assert_eq!((standing(&board).failed_scan, standing(&board).scanned), (None, T + 8));
    assert_eq!(board.differences(), Vec::<String>::new());
}

#[test]
fn a_snapshot_without_a_list_leaves_what_the_list_would_tell() {
    use State::{Failed, Installed, NotApplicable, NotInstalled, PendingRestart};
    let mut board = board(6);
    tell(&mut board, T, two_lists(&[(1, NotInstalled), (2, NotInstalled), (3, NotInstalled), (4, Installed)])).unwrap();
    tell(&mut board, T + 1, What::Became(id(1), Failed, -7)).unwrap();
    tell(&mut board, T + 1, What::Became(id(2), PendingRestart, 0)).unwrap();
    tell(&mut board, T + 1, What::Became(id(3), PendingRestart, 0)).unwrap();
    // Agents that were seen name what waits among what is needed, or among what is installed.
    let next = two_lists(&[(1, NotInstalled), (2, NotInstalled), (3, Installed), (4, Installed), (5, NotInstalled)]);
    let changes = tell(&mut board, T + DAY, next.clone()).unwrap().changes;
    assert_eq!(changes.iter().map(|one| (one.number, one.to)).collect::<Vec<_>>(), [(4, NotInstalled)]);
    let of = |board: &Board| [1, 2, 3, 4, 5].map(|of| state(board, of));
    assert_eq!(of(&board), [Failed, PendingRestart, PendingRestart, Installed, NotInstalled]);
    assert_eq!((standing(&board).code(0), standing(&board).restart), (Some(-7), T + 1));
    assert_eq!(standing(&board).of(0).map(|held| (held.changed, held.since)), Some((T + 1, T)));
    // After the restart the same words mean what they say; an installed one has not failed.
    tell(&mut board, T + DAY + 1, What::Restarted).unwrap();
    tell(&mut board, T + DAY + 2, next).unwrap();
    assert_eq!(of(&board), [Failed, NotInstalled, Installed, Installed, NotInstalled]);
    tell(&mut board, T + DAY + 3, two_lists(&[(1, Installed), (2, NotInstalled)])).unwrap();
    assert_eq!((state(&board, 1), state(&board, 5), standing(&board).code(0)), (Installed, NotApplicable, None));
    // A restart that no update is behind goes on until it is told that it was; one that was behind an update that is gone does not.
    tell(&mut board, T + DAY + 6, What::RestartPending).unwrap();
    tell(&mut board, T + DAY + 7, two_lists(&[(1, Installed)])).unwrap();
    assert_eq!(standing(&board).restart, T + DAY + 6);
    tell(&mut board, T + DAY + 8, What::Became(id(1), PendingRestart, 0)).unwrap();
    tell(&mut board, T + DAY + 9, two_lists(&[(6, Installed)])).unwrap();
    assert_eq!((standing(&board).restart, board.totals().restart), (0, 0));
    // A list that is there says all, and from then on one that is left out is empty.
    tell(&mut board, T + DAY + 10, two_lists(&[(1, NotInstalled), (2, NotInstalled)])).unwrap();
    for at in [11, 13] {
        tell(&mut board, T + DAY + at, What::Became(id(1), Failed, -7)).unwrap();
        tell(&mut board, T + DAY + at, What::Became(id(2), PendingRestart, 0)).unwrap();
        assert_eq!((state(&board, 1), board.totals().restart), (Failed, 1));
        let states = [(1, NotInstalled), (2, NotInstalled)];
        let what = if at == 11 { all(&states) } else { two_lists(&states) };
        tell(&mut board, T + DAY + at + 1, what).unwrap();
        assert_eq!((state(&board, 1), standing(&board).code(0)), (NotInstalled, None), "{at}");
        assert_eq!((state(&board, 2), standing(&board).restart), (NotInstalled, 0), "{at}");
    }
    assert_eq!(tell(&mut board, T + DAY + 12, What::Became(id(1), Failed, -7)), Err(Refused::Stale));
    assert_eq!(tell(&mut board, T + DAY + 12, What::Restarted), Err(Refused::Stale));
    assert_eq!(board.differences(), Vec::<String>::new());
}

#[test]
fn what_comes_later_than_a_snapshot_that_does_not_tell_of_it_counts() {
    use State::{Failed, Installed, NotInstalled, PendingRestart};
    let mut board = board(4);
    let pending = |of| What::Became(id(of), PendingRestart, 0);
    let needed = two_lists(&[(1, NotInstalled), (2, NotInstalled), (3, NotInstalled)]);
    tell(&mut board, T, needed.clone()).unwrap();
    tell(&mut board, T + 10, pending(1)).unwrap();
    tell(&mut board, T + 100, needed).unwrap();
    // A batch of what happened before that snapshot was refused, and is sent again now.
    tell(&mut board, T + 50, What::Became(id(2), Failed, -7)).unwrap();
    tell(&mut board, T + 60, pending(3)).unwrap();
    assert_eq!((state(&board, 2), standing(&board).code(1), state(&board, 3)), (Failed, Some(-7), PendingRestart));
    assert_eq!(
        tell(&mut board, T + 60, What::Became(id(4), Failed, -7)),
        Err(Refused::Stale),
        "it names no such update"
    );
    assert_eq!((standing(&board).restart, board.totals().restart), (T + 10, 1));
    tell(&mut board, T + 70, What::Restarted).unwrap();
    assert_eq!((standing(&board).restart, board.totals().restart), (0, 0));
    assert_eq!(tell(&mut board, T + 65, pending(2)), Err(Refused::Stale), "it waited for the restart that has been");
    let next = two_lists(&[(1, Installed), (2, NotInstalled), (3, Installed), (4, NotInstalled)]);
    tell(&mut board, T + 200, next.clone()).unwrap();
    assert_eq!([1, 2, 3].map(|of| state(&board, of)), [Installed, Failed, Installed]);
    assert_eq!(tell(&mut board, T + 150, What::Became(id(1), Failed, 1)), Err(Refused::Stale), "it is installed since");
    // Of two that wait the restart between them lets one.
    tell(&mut board, T + 300, pending(4)).unwrap();
    tell(&mut board, T + 500, pending(3)).unwrap();
    tell(&mut board, T + 600, next.clone()).unwrap();
    assert_eq!(tell(&mut board, T + 250, What::Restarted), Err(Refused::Stale), "before either");
    tell(&mut board, T + 400, What::Restarted).unwrap();
    assert_eq!((standing(&board).restart, board.totals().restart), (T + 500, 1));
    tell(&mut board, T + 700, next).unwrap();
    assert_eq!([3, 4].map(|of| state(&board, of)), [PendingRestart, NotInstalled]);
    assert_eq!(standing(&board).restart, T + 500);
    assert_eq!(board.differences(), Vec::<String>::new());
}

#[test]
fn a_restart_of_which_nobody_tells_is_over_when_nobody_can_tell_of_it_any_more() {
    use State::{Installed, NotInstalled, PendingRestart};
    for has_update in [true, false] {
        let mut board = board(1);
        tell(&mut board, T, two_lists(&[(1, NotInstalled)])).unwrap();
        let what = if has_update { What::Became(id(1), PendingRestart, 0) } else { What::RestartPending };
        tell(&mut board, T, what).unwrap();
        tell(&mut board, T + 30 * DAY - 1, two_lists(&[(1, Installed)])).unwrap();
        assert_eq!((standing(&board).restart, state(&board, 1) == PendingRestart), (T, has_update));
        tell(&mut board, T + 30 * DAY, two_lists(&[(1, Installed)])).unwrap();
        assert_eq!((standing(&board).restart, state(&board, 1)), (0, Installed));
        assert_eq!(board.differences(), Vec::<String>::new());
    }
}

#[test]
fn a_batch_counts_once_and_what_is_refused_changes_nothing_of_it() {
    use State::{Failed, Installed, NotInstalled};
    let told = |at, what| Told { at, what };
    let batch = [
        told(T, What::Scanned),
        told(T, all(&[(1, NotInstalled), (2, Installed)])),
        told(T - 1, all(&[(2, Failed)])),
        told(T + 1, What::Became(id(9), Failed, 1)),
        told(T + 1, What::Became(id(1), Failed, -2)),
    ];
    let (mut whole, mut single) = (board(3), board(3));
    let (taken, gave_way) = whole.take_all(endpoint(1), &batch);
    let each: Vec<_> = batch.iter().map(|one| single.take(endpoint(1), one)).collect();
    assert_eq!((&taken, gave_way.len()), (&each, 0));
    assert_eq!((taken[2].clone(), taken[3].as_ref().unwrap().unknown), (Err(Refused::Stale), 1));
    assert_eq!(standing(&whole), standing(&single));
    assert_eq!((whole.totals(), whole.differences()), (single.totals(), Vec::new()));
    let (taken, _) = whole.take_all(endpoint(2), &[told(T, What::Became(id(9), Failed, 1))]);
    assert!(taken[0].is_ok() && whole.take_all(endpoint(3), &[]).0.is_empty() && whole.row(endpoint(3)).is_none());
}

#[test]
fn who_tells_of_thousands_gives_way_to_those_who_tell_of_what_machines_have() {
    let many = |of: std::ops::Range<u32>| -> What {
        let id = |of: u32| {
            let mut bytes = [1; 16];
            bytes[..4].copy_from_slice(&of.to_be_bytes());
            UpdateId::new(bytes)
        };
        What::Snapshot(of.map(|of| (id(of), State::Installed)).collect::<BTreeMap<_, _>>().into())
    };
    let fair = u32::try_from(FAIR).unwrap();
    let mut board = Board::with_room(4 * FAIR);
    let What::Snapshot(all) = many(0..4 * fair) else { panic!("it is one") };
    board.learn_all(all.states.into_keys().map(|id| (id, facts(Severity::Low))).collect());
    let tell = |board: &mut Board, of: u8, what: What| {
        let (taken, gave_way) = board.take_all(endpoint(of), &[Told { at: T, what }]);
        (taken[0].is_ok(), gave_way)
    };
    assert_eq!(tell(&mut board, 1, many(0..fair)), (true, vec![]));
    assert_eq!(tell(&mut board, 2, many(0..3 * fair)), (true, vec![]));
    // The one that holds three quarters has told nothing, so that others have room.
    assert_eq!(tell(&mut board, 3, many(0..200)), (true, vec![endpoint(2)]));
    assert_eq!(board.row(endpoint(2)).map(|row| (row.standing.is_told, row.standing.held.len())), Some((false, 0)));
    assert_eq!((board.pairs(), board.totals().unscanned), (FAIR + 200, 1));
    // It takes what is left, and no more: nobody who tells less gives way to it.
    assert_eq!(tell(&mut board, 2, many(0..4 * fair)), (false, vec![]));
    assert_eq!(tell(&mut board, 4, many(0..2 * fair)), (true, vec![]));
    assert!(tell(&mut board, 5, many(0..fair)).0);
    assert_eq!(board.row(endpoint(1)).map(|row| row.standing.held.len()), Some(FAIR));
    assert_eq!(board.differences(), Vec::<String>::new());
}

#[test]
fn what_is_superseded_counts_until_what_takes_its_place_is_approved() {
    let counts =
        |superseded, replaced, approved| Facts { superseded, replaced, approved, ..facts(Severity::Low) }.counts();
    assert!(counts(true, false, false), "nobody approved what would take its place");
    assert!(!counts(true, true, false) && counts(true, true, true) && counts(false, false, false));
    let gone = Facts { approved: true, expired: true, ..facts(Severity::Low) };
    assert!(!gone.counts() && !Facts { approved: true, declined: true, ..facts(Severity::Low) }.counts());
    assert_eq!(Licence::ALL.map(Licence::word), ["none", "required", "accepted"]);
}

#[test]
fn who_never_installs_a_monthly_update_misses_it_since_the_first_month() {
    let mut board = board(1);
    let newer = Facts { supersedes: Box::new([id(1)]), ..facts(Severity::Critical) };
    board.learn(id(2), newer);
    tell(&mut board, T, all(&[(1, State::NotInstalled)])).unwrap();
    tell(&mut board, T + 30 * DAY, all(&[(2, State::NotInstalled)])).unwrap();
    assert_eq!(standing(&board).of(1).map(|held| (held.changed, held.since)), Some((T + 30 * DAY, T)));
    let now = time(T + 31 * DAY);
    let row = board.row(endpoint(1)).unwrap();
    let seen = ask::seen(&board, endpoint(1), row, &Policy::default().into(), now);
    assert_eq!((seen.class, seen.reasons.len()), (Class::Missing, 1));
    assert!(seen.reasons[0].to_string().contains("for 31 days"), "{}", seen.reasons[0]);
}

#[test]
fn what_happens_in_the_catalog_is_counted_at_once() {
    let mut board = board(2);
    tell(&mut board, T, all(&[(1, State::NotInstalled), (2, State::Failed)])).unwrap();
    assert_eq!((board.totals().pairs[place(Severity::Critical)], board.totals().failed), (2, 1));
    let missing = |board: &Board| ask::updates(board, &Wanted { missing: true, ..Wanted::default() }).len();
    assert_eq!(missing(&board), 2);
    board.learn(id(2), Facts { superseded: true, replaced: true, ..facts(Severity::Critical) });
    assert_eq!((board.totals().pairs[place(Severity::Critical)], board.totals().failed, missing(&board)), (1, 0, 1));
    board.learn(id(1), Facts { declined: true, ..facts(Severity::Critical) });
    assert_eq!((board.totals().up_to_date, missing(&board)), (1, 0));
    board.learn_all(vec![(id(1), facts(Severity::Low)), (id(2), facts(Severity::Important))]);
    assert_eq!(board.totals().pairs, [0, 1, 0, 1, 0]);
    board.learn(id(1), Facts::default());
    assert_eq!(board.totals().pairs, [0, 0, 0, 1, 0], "the catalog has it no more");
    assert_eq!(board.differences(), Vec::<String>::new());
    assert!(board.forget(endpoint(1)) && !board.forget(endpoint(1)));
    assert_eq!((board.totals().endpoints, board.totals().missing, board.pairs()), (0, 0, 0));
    assert_eq!(board.known(1).unwrap().by_state.told(), 0);
}

#[test]
fn absurd_lists_are_refused_whole() {
    let mut board = Board::default();
    let mut many = BTreeMap::new();
    for of in 0..=u32::try_from(HELD_MAX).unwrap() {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&of.to_be_bytes());
        board.learn(UpdateId::new(bytes), facts(Severity::Low));
        many.insert(UpdateId::new(bytes), State::Installed);
    }
    assert_eq!(tell(&mut board, T, What::Snapshot(many.clone().into())), Err(Refused::Absurd));
    let (last, _) = many.pop_last().unwrap();
    tell(&mut board, T, What::Snapshot(many.into())).unwrap();
    assert_eq!(tell(&mut board, T, What::Became(last, State::Failed, 1)), Err(Refused::Absurd));
    assert_eq!(board.pairs(), HELD_MAX);
}

#[derive(Clone, Debug)]
enum Step {
    Tell(u8, u32, What),
    Learn(Vec<(u8, Severity, u8)>),
    Forget(u8),
    Arrive(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let state = (2..7_u8).prop_map(|number| State::of_number(number).unwrap());
    let severity = prop::sample::select(super::totals::SEVERITIES.to_vec());
    let states = prop::collection::btree_map((1..12_u8).prop_map(id), state.clone(), 0..10);
    let snapshot = (states, any::<bool>(), any::<bool>()).prop_map(|(states, tells_failed, tells_restarts)| {
        What::Snapshot(Snapshot { states, tells_failed, tells_restarts })
    });
    let what = prop_oneof![
        4 => snapshot,
        4 => ((1..12_u8).prop_map(id), state, -3..3_i32).prop_map(|(id, state, code)| What::Became(id, state, code)),
        1 => Just(What::Scanned),
        1 => any::<i32>().prop_map(What::ScanFailed),
        1 => Just(What::RestartPending),
        1 => Just(What::Restarted),
    ];
    prop_oneof![
        8 => (1..5_u8, 0..2_000_u32, what).prop_map(|(of, at, what)| Step::Tell(of, T + at, what)),
        3 => prop::collection::vec((1..12_u8, severity, 0..32_u8), 1..5).prop_map(Step::Learn),
        1 => (1..5_u8).prop_map(Step::Forget),
        1 => (1..5_u8).prop_map(Step::Arrive),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_kept_up_is_what_counting_anew_gives(steps in prop::collection::vec(step(), 1..60)) {
        let mut board = Board::default();
        for step in steps {
            match step {
                Step::Tell(of, at, what) => drop(board.take(endpoint(of), &Told { at, what })),
                Step::Learn(all) => {
                    let facts = all.into_iter().map(|(of, severity, bits)| {
                        let bit = |at: u8| bits & (1 << at) != 0;
                        let facts = Facts {
                            revision: (!bit(0)).then_some(1),
                            superseded: bit(1),
                            replaced: bit(1) && !bit(4),
                            declined: bit(2),
                            expired: bit(3),
                            supersedes: if bit(4) { Box::new([id(1), id(2)]) } else { Box::default() },
                            ..facts(severity)
                        };
                        (id(of), facts)
                    });
                    board.learn_all(facts.collect());
                }
                Step::Forget(of) => drop(board.forget(endpoint(of))),
                Step::Arrive(of) => drop(board.arrive(endpoint(of))),
                Step::Restart => board = board.recounted(),
            }
            prop_assert_eq!(board.differences(), Vec::<String>::new());
            let totals = board.totals();
            prop_assert_eq!(totals.endpoints, totals.unscanned + totals.missing + totals.up_to_date);
            let policy = Policy::default();
            let shown = |class| {
                let which = Which { class: Some(class), ..Which::default() };
                ask::endpoints(&board, &which, &policy.into(), time(T), None, 10).1
            };
            prop_assert_eq!(Class::ALL.map(shown), [totals.unscanned, totals.missing, totals.up_to_date]);
            prop_assert!(ask::summary(&board, &policy.into(), Timestamp::from_ms(0)).compliant <= totals.endpoints);
            // What is counted of some and of the others is what is kept up of all.
            let part = |all: [u8; 2]| Arc::new(all.map(endpoint).into_iter().collect::<HashSet<_>>());
            let parts = [part([1, 2]), part([3, 4])];
            let of = |among: &Among| ask::summary_of(&board, &policy.into(), Some(among), time(T));
            let all = ask::summary(&board, &policy.into(), time(T));
            let [one, two] = [of(&parts[0]), of(&parts[1])];
            prop_assert_eq!(one.totals.endpoints + two.totals.endpoints, all.totals.endpoints);
            prop_assert_eq!(one.totals.missing + two.totals.missing, all.totals.missing);
            prop_assert_eq!(one.totals.restart + two.totals.restart, all.totals.restart);
            prop_assert_eq!(one.compliant + two.compliant, all.compliant);
            let pairs: [u64; 5] = std::array::from_fn(|at| one.totals.pairs[at] + two.totals.pairs[at]);
            prop_assert_eq!(pairs, all.totals.pairs);
            let lines = |among: Option<&Among>| {
                let wanted = Wanted { missing: true, among: among.cloned(), ..Wanted::default() };
                let lines = ask::updates(&board, &wanted);
                lines.into_iter().map(|line| (line.update, line.by_state.missing())).collect::<BTreeMap<_, _>>()
            };
            let mut sum = lines(Some(&parts[0]));
            for (update, many) in lines(Some(&parts[1])) {
                *sum.entry(update).or_default() += many;
            }
            prop_assert_eq!(sum, lines(None));
            for row in board.rows(None).map(|(_, row)| row) {
                prop_assert!(row.standing.held.is_sorted_by(|a, b| a.number() < b.number()));
                prop_assert!(row.standing.codes.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert!(row.standing.held.iter().all(|held| held.since <= held.changed));
            }
        }
    }
}
