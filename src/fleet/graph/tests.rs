//! Small graphs by hand: leaves, what counts, closures, supersedence, licences.

use super::*;
use crate::model::update::Clause;

fn id(at: u8) -> UpdateId {
    UpdateId::new([at; 16])
}

fn identity(at: u8, revision: u32) -> Identity {
    Identity { id: id(at), revision }
}

fn any_of(ids: &[u8]) -> Clause {
    Clause { any_of: ids.iter().copied().map(id).collect(), is_category: false }
}

fn software(number: u32, at: u8, revision: u32) -> Related {
    Related { deployable: true, ..Related::new(number, identity(at, revision), Kind::Software) }
}

#[test]
fn a_leaf_is_what_no_other_update_names() {
    let mut graph = Graph::default();
    let naming = |number, at, revision, changed, ids: &[u8]| Related {
        prerequisites: vec![any_of(ids)],
        changed,
        ..software(number, at, revision)
    };
    graph.insert(&naming(1, 1, 1, 5, &[1]));
    assert!(graph.is_leaf(id(1)) && graph.is_leaf(id(9)), "its own name does not count");
    graph.insert(&naming(2, 2, 1, 7, &[1, 3, 1]));
    assert!(!graph.is_leaf(id(1)) && !graph.is_leaf(id(3)) && graph.is_leaf(id(2)));
    // What is no current revision any more counts while it is held.
    graph.insert(&naming(3, 2, 2, 9, &[4]));
    assert!(!graph.is_leaf(id(3)) && !graph.is_leaf(id(4)));
    assert_eq!(graph.current(id(2)), Some(3));
    graph.remove(2, 11);
    assert!(graph.is_leaf(id(3)) && graph.is_leaf(id(1)) && !graph.is_leaf(id(4)));
    // The same revision with other words.
    graph.insert(&naming(3, 2, 2, 13, &[4, 5]));
    assert!(!graph.is_leaf(id(4)) && !graph.is_leaf(id(5)));
    let since = |at: u8| graph.updates[graph.ids[&id(at)] as usize].since;
    assert_eq!((since(1), since(3), since(4), since(5)), (11, 11, 9, 13));
    graph.remove(77, 12);
    assert_eq!(graph.len(), 2);
}

#[test]
fn the_one_that_counts_is_what_the_catalog_says() {
    let mut graph = Graph::default();
    graph.insert(&software(5, 1, 200));
    graph.insert(&software(9, 1, 100));
    assert_eq!(graph.current(id(1)), Some(9), "after a change of upstream a lower one may count");
    graph.insert(&Related { current: false, ..software(5, 1, 200) });
    assert_eq!(graph.current(id(1)), Some(9));
    graph.remove(9, 1);
    assert_eq!(graph.current(id(1)), None);
    graph.insert(&software(5, 1, 200));
    let numbers = |graph: &Graph| graph.numbers(graph.ids[&id(1)]);
    assert_eq!((graph.current(id(1)), numbers(&graph)), (Some(5), vec![5, 9]));
    graph.insert_past(3, id(1));
    graph.insert_past(5, id(1));
    assert_eq!(numbers(&graph), [5, 3, 9], "what is held is not past");
    // Places are used again.
    graph.insert(&software(6, 2, 1));
    assert_eq!((graph.rows.len(), graph.len()), (2, 2));
}

#[test]
fn a_closure_goes_through_bundles_and_prerequisites_and_ends_in_circles() {
    let mut graph = Graph::default();
    let bundle = |number, at, members: &[Identity]| Related { members: members.to_vec(), ..software(number, at, 1) };
    graph.insert(&bundle(1, 1, &[identity(2, 1), identity(2, 7), identity(1, 1)]));
    graph.insert(&Related { prerequisites: vec![any_of(&[3, 4]), any_of(&[1])], ..software(2, 2, 1) });
    graph.insert(&Related { prerequisites: vec![any_of(&[4, 99])], ..software(3, 3, 1) });
    graph.insert(&Related { prerequisites: vec![any_of(&[3])], ..software(4, 4, 1) });
    assert_eq!(graph.closure(&[id(1)]), [1, 2, 3, 4]);
    assert_eq!(graph.closure(&[id(4)]), [3, 4]);
    // Of an update one revision: the one that counts, where both are reached.
    graph.insert(&Related { members: vec![identity(2, 1)], ..software(6, 6, 1) });
    graph.insert(&software(5, 2, 2));
    assert_eq!(graph.closure(&[id(6)]), [1, 2, 3, 4, 6], "the bundle names a revision");
    assert_eq!(graph.closure(&[id(6), id(2)]), [1, 3, 4, 5, 6]);
    // What must not be offered, and what is a driver, is not there.
    graph.insert(&Related { refused: true, ..software(4, 4, 1) });
    graph.insert(&Related { kind: Kind::Driver, ..software(3, 3, 1) });
    assert_eq!(graph.closure(&[id(6), id(4)]), [1, 2, 6]);
}

#[test]
fn superseded_is_what_the_catalog_takes_for_it() {
    let superseding = |number, at, of: u8| Related { supersedes: vec![id(of)], ..software(number, at, 1) };
    let superseded = |graph: &Graph| {
        let covered = graph.superseded();
        let found = graph.deployable().filter(|found| covered.contains(&found.identity.id));
        found.map(|found| found.number).collect::<Vec<_>>()
    };
    let mut graph = Graph::default();
    graph.insert(&software(1, 1, 1));
    graph.insert(&superseding(2, 2, 1));
    assert_eq!(superseded(&graph), [1]);
    graph.insert(&Related { unauthenticated: true, ..superseding(2, 2, 1) });
    assert!(superseded(&graph).is_empty(), "what proves nothing says nothing of what was proven");
    for silent in [
        Related { expired: true, ..superseding(2, 2, 1) },
        Related { refused: true, ..superseding(2, 2, 1) },
        superseding(2, 2, 2),
    ] {
        graph.insert(&silent);
        assert!(superseded(&graph).is_empty(), "{silent:?}");
    }
    graph.insert(&superseding(2, 2, 1));
    graph.insert(&superseding(1, 1, 2));
    assert!(superseded(&graph).is_empty(), "of two that name each other neither counts");
}

#[test]
fn what_is_passed_over_covers_nothing_by_itself() {
    let mut graph = Graph::default();
    graph.insert(&software(1, 1, 1));
    for at in 2..=4_u8 {
        graph.insert(&Related { supersedes: vec![id(at - 1)], ..software(u32::from(at), at, 1) });
    }
    let covered = |over: &[u8]| {
        let mut passed_over = Bits::new(graph.updates());
        for (place, found) in graph.deployable_at() {
            if over.iter().any(|at| found.identity.id == id(*at)) {
                passed_over.add(place);
            }
        }
        let covered = graph.covered(&passed_over);
        let found = graph.deployable_at().filter(|(place, _)| covered.has(*place));
        found.map(|(_, found)| found.number).collect::<Vec<_>>()
    };
    assert_eq!(covered(&[]), [1, 2, 3]);
    assert_eq!(covered(&[4]), [1, 2], "the third is looked for in its place");
    assert_eq!(covered(&[3, 4]), [1]);
    assert_eq!(covered(&[3]), [1, 2, 3], "the fourth covers the second through the third");
    assert_eq!(covered(&[1, 2, 3, 4]), [0; 0]);
}

#[test]
fn licences_are_those_of_all_parts() {
    let mut graph = Graph::default();
    assert!(graph.eulas(id(1)).is_empty());
    graph.insert(&Related { members: vec![identity(2, 1), identity(9, 1)], ..software(1, 1, 1) });
    graph.insert(&Related { members: vec![identity(1, 1)], eula: Some(id(50)), ..software(2, 2, 1) });
    assert_eq!(graph.eulas(id(1)), [id(50)]);
    graph.insert(&Related { eula: Some(id(51)), ..software(1, 1, 1) });
    assert_eq!((graph.eulas(id(1)), graph.eulas(id(2))), (vec![id(51)], vec![id(50), id(51)]));
}

#[test]
fn a_row_is_small() {
    assert!(size_of::<Row>() <= 64 && size_of::<Update>() <= 40);
}
