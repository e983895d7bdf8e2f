//! Single answers: what leaves the scope, what changed, scans for categories, other servers' clients, bad requests; and what is ordered by
//! approvals, licences and rules of detection.

use std::collections::BTreeMap;

use waystation::base::time::Timestamp;
use waystation::fleet::category::{self, Preferred, preferred};
use waystation::fleet::error::{Error, Fault};
use waystation::fleet::graph::Graph;
use waystation::fleet::order::{self, Ordered, Terms};
use waystation::fleet::refresh::refresh;
use waystation::fleet::scan::{self, Answer, Page, Request};
use waystation::fleet::view::View;
use waystation::model::deployment::detection::Detection;
use waystation::model::deployment::inherit::{Asked, Words};
use waystation::model::deployment::{Action, Approval, Said, Target};
use waystation::model::group::Groups;
use waystation::model::policy::Group;
use waystation::model::update::{CategoryKind, Clause, Identity, Kind};
use waystation::store::catalog::Related;

use crate::plain::id;

const LARGE: Page = Page { updates: 1000, bytes: u64::MAX };

fn identity(at: u64) -> Identity {
    Identity { id: id(at), revision: 1 }
}

fn category(at: u32, kind: CategoryKind, above: Option<u64>) -> Related {
    let clause = |above| Clause { any_of: vec![id(above)], is_category: true };
    Related {
        prerequisites: above.into_iter().map(clause).collect(),
        ..Related::new(at, identity(at.into()), Kind::Category(kind))
    }
}

fn software(at: u32, categories: &[u64]) -> Related {
    let clause = |category: &u64| Clause { any_of: vec![id(*category)], is_category: true };
    Related {
        deployable: true,
        prerequisites: categories.iter().map(clause).collect(),
        ..Related::new(at, identity(at.into()), Kind::Software)
    }
}

/// 1 company, 2 family in it, 3 and 4 products, 5 classification; 10 a bundle of 11 for product 3, 12 for product 4, 13 a detectoid that
/// 12 needs.
fn graph() -> Graph {
    let mut graph = Graph::default();
    let mut other = software(12, &[4, 5]);
    other.prerequisites.push(Clause { any_of: vec![id(13), id(14)], is_category: false });
    for one in [
        category(1, CategoryKind::Company, None),
        category(2, CategoryKind::Family, Some(1)),
        category(3, CategoryKind::Product, Some(2)),
        category(4, CategoryKind::Product, Some(2)),
        category(5, CategoryKind::Classification, None),
        Related { members: vec![identity(11)], ..software(10, &[3, 5]) },
        Related { deployable: false, ..software(11, &[]) },
        other,
        Related::new(13, identity(13), Kind::Detectoid),
    ] {
        graph.insert(&one);
    }
    graph
}

fn ordered(at: u64, action: Action, changed: u64) -> Ordered {
    Ordered { update: id(at), action, deadline: None, changed }
}

fn view(graph: &Graph, orders: &[Ordered], clock: u64) -> View {
    View::new(graph, orders, clock, None)
}

fn sent(answer: &Answer) -> Vec<(u32, Action)> {
    answer.new.iter().map(|entry| (entry.number, entry.action)).collect()
}

fn ask(view: &View, installed: &[u32], cached: &[u32], mark: u64) -> Answer {
    scan::software(view, None, &Request { installed, cached, mark, two_groups: true }, LARGE).unwrap()
}

#[test]
fn each_round_brings_what_the_one_before_makes_possible() {
    let view = view(&graph(), &[ordered(10, Action::Install, 3), ordered(12, Action::Block, 4)], 9);
    let first = ask(&view, &[], &[], 0);
    // What is no leaf first; the part of the bundle needs nothing.
    let evaluate = |number| (number, Action::Evaluate);
    assert_eq!(sent(&first), [evaluate(1), evaluate(5), evaluate(13), (11, Action::Bundle)]);
    assert_eq!(first.new.iter().map(|entry| entry.is_leaf).collect::<Vec<_>>(), [false, false, false, true]);
    assert_eq!((first.mark, first.truncated, first.no_driver_sync), (9, false, false));
    assert_eq!(sent(&ask(&view, &[1, 5, 13], &[11], 9)), [evaluate(2)]);
    assert_eq!(sent(&ask(&view, &[1, 2, 5, 13], &[11], 9)), [evaluate(3), evaluate(4)]);
    let last = ask(&view, &[1, 2, 3, 4, 5, 13], &[11], 9);
    assert_eq!(sent(&last), [(10, Action::Install), (12, Action::PreDeploymentCheck)], "nobody is told to block");
    // The detectoid does not hold: what needs it leaves the scope, and so does what nobody knows.
    let later = ask(&view, &[1, 2, 3, 4, 5], &[13, 11, 10, 12, 4711, 4711], 9);
    assert_eq!((later.out_of_scope, later.new), (vec![12, 4711], vec![]));
    // So does all that hangs on what leaves it, at once.
    let without = ask(&view, &[2, 3, 4, 5, 13], &[1, 11, 10, 12], 9);
    assert_eq!(without.out_of_scope, [2, 3, 4, 10, 12]);
}

#[test]
fn an_older_revision_stands_for_the_one_that_takes_its_place() {
    let mut graph = graph();
    graph.insert(&Related {
        identity: Identity { id: id(13), revision: 2 },
        number: 99,
        ..Related::new(99, identity(13), Kind::Detectoid)
    });
    graph.remove(13, 8);
    let view = view(&graph, &[ordered(12, Action::Install, 4)], 9);
    let answer = ask(&view, &[1, 2, 4, 5, 13], &[12], 9);
    assert_eq!((sent(&answer), answer.out_of_scope), (vec![(99, Action::Evaluate)], vec![13]), "12 is not taken away");
    // Where something else comes first, the old one waits for the new one.
    let request = Request { installed: &[2, 4, 5, 13], cached: &[12], mark: 9, two_groups: true };
    let first =
        scan::software(&view, None, &Request { installed: &[13], ..request }, Page { updates: 1, ..LARGE }).unwrap();
    assert_eq!((sent(&first), first.out_of_scope, first.truncated), (vec![(1, Action::Evaluate)], vec![12], true));
}

#[test]
fn what_changed_is_told_once_and_by_its_stamps() {
    let graph = graph();
    let orders = [ordered(10, Action::Install, 5), ordered(12, Action::Install, 6)];
    let view = View::new(&graph, &orders, 9, None);
    let all = [1, 2, 3, 4, 5, 13];
    let told = |mark, updates| {
        let request = Request { installed: &all, cached: &[10, 11, 12], mark, two_groups: true };
        let answer = scan::software(&view, None, &request, Page { updates, bytes: u64::MAX }).unwrap();
        let numbers: Vec<u32> = answer.changed.iter().map(|entry| entry.number).collect();
        (numbers, answer.truncated, answer.mark)
    };
    assert_eq!(told(9, 100), (vec![], false, 9));
    assert_eq!(told(5, 100), (vec![4, 12, 13], false, 9), "what there is for 12 alone has its time");
    assert_eq!(told(0, 100), (vec![1, 2, 3, 5, 10, 11, 4, 12, 13], false, 9));
    // A stamp goes as a whole, and the mark goes no further than what was told.
    assert_eq!(told(0, 7), (vec![1, 2, 3, 5, 10, 11], true, 5));
    assert_eq!(told(0, 2), (vec![1, 2, 3, 5, 10, 11], true, 5));
    assert_eq!(told(5, 2), (vec![4, 12, 13], false, 9));
    // With the view before at hand, what differs is told, whatever the reason: here an order went, and its part has no bundle.
    let mut alone = graph.clone();
    alone.insert(&Related { changed: 15, ..software(11, &[]) });
    let both = View::new(&alone, &[orders[0], ordered(11, Action::PreDeploymentCheck, 1)], 20, Some(&view));
    let one = View::new(&alone, &[ordered(11, Action::PreDeploymentCheck, 1)], 30, Some(&both));
    assert_eq!(both.entry(11).unwrap().stamp, 20);
    assert_eq!(one.entry(11).map(|entry| (entry.stamp, entry.action)), Some((20, Action::PreDeploymentCheck)));
    assert!(one.entry(10).is_none());
}

#[test]
fn a_leaf_that_is_none_any_more_makes_the_agent_ask_again() {
    let mut graph = graph();
    graph.insert(&Related { deployable: true, ..Related::new(20, identity(20), Kind::Software) });
    let before = view(&graph, &[ordered(20, Action::Install, 1)], 9);
    assert!(before.entry(20).unwrap().is_leaf);
    let mut next = Related { changed: 12, ..software(21, &[]) };
    next.prerequisites.push(Clause { any_of: vec![id(20)], is_category: false });
    graph.insert(&next);
    let after = view(&graph, &[ordered(20, Action::Install, 1), ordered(21, Action::Install, 11)], 13);
    let answer = ask(&after, &[], &[20], 9);
    assert_eq!(answer.changed.iter().map(|entry| (entry.number, entry.is_leaf)).collect::<Vec<_>>(), [(20, false)]);
    assert!(answer.truncated && answer.new.is_empty());
    let again = ask(&after, &[20], &[], answer.mark);
    assert_eq!((sent(&again), again.truncated), (vec![(21, Action::Install)], false));
}

/// 30 is a bundle of 31, which waits for a detectoid; 32 needs the bundle. 40 bundles the bundle, and 41 needs that.
#[test]
fn a_page_of_leaves_that_are_parts_of_what_others_need_does_not_end_the_scan() {
    let needing = |at: u32, of: u64| {
        let mut one = software(at, &[]);
        one.prerequisites.push(Clause { any_of: vec![id(of)], is_category: false });
        one
    };
    let mut graph = Graph::default();
    for one in [
        Related { members: vec![identity(31)], ..software(30, &[]) },
        Related { deployable: false, ..needing(31, 33) },
        needing(32, 30),
        Related::new(33, identity(33), Kind::Detectoid),
        // A bundle that nobody needs.
        Related { members: vec![identity(51)], ..software(50, &[]) },
        Related { deployable: false, ..needing(51, 33) },
    ] {
        graph.insert(&one);
    }
    let orders = [30, 32].map(|at| ordered(at, Action::Install, 1));
    let view = view(&graph, &orders, 9);
    let first = ask(&view, &[], &[], 9);
    assert_eq!(sent(&first), [(30, Action::Install), (33, Action::Evaluate)]);
    let part = ask(&view, &[33], &[30], 9);
    assert_eq!(sent(&part), [(31, Action::Bundle)]);
    assert!(part.new.iter().all(|entry| entry.is_leaf) && part.truncated, "the bundle is installed with its part");
    let last = ask(&view, &[30, 33], &[31], 9);
    assert_eq!((sent(&last), last.truncated), (vec![(32, Action::Install)], false));
    // It came and decided nothing: nothing comes, and it ends.
    let none = ask(&view, &[33], &[30, 31], 9);
    assert_eq!((sent(&none), none.truncated), (vec![], false));

    let alone = self::view(&graph, &[ordered(50, Action::Install, 1)], 9);
    let part = ask(&alone, &[33], &[50], 9);
    assert_eq!((sent(&part), part.truncated), (vec![(51, Action::Bundle)], false));

    // Through a bundle in a bundle.
    graph.insert(&Related { members: vec![identity(30)], ..software(40, &[]) });
    graph.insert(&needing(41, 40));
    graph.remove(32, 10);
    let nested = self::view(&graph, &[40, 41].map(|at| ordered(at, Action::Install, 1)), 11);
    assert!(nested.entry(30).unwrap().is_leaf);
    let part = ask(&nested, &[33], &[30, 40], 11);
    assert!(sent(&part) == [(31, Action::Bundle)] && part.truncated);
}

#[test]
fn a_scan_for_categories_has_its_part_and_the_way_to_it() {
    let graph = graph();
    let whole = view(&graph, &[ordered(10, Action::Install, 3), ordered(12, Action::Install, 4)], 9);
    let numbers = |view: &View| view.entries().iter().map(|entry| (entry.number, entry.action)).collect::<Vec<_>>();
    let evaluate = |number| (number, Action::Evaluate);
    let part = whole.only(&graph, &[id(3)]).unwrap();
    let expected =
        vec![evaluate(1), evaluate(2), evaluate(3), evaluate(5), (10, Action::Install), (11, Action::Bundle)];
    assert_eq!(numbers(&part), expected);
    assert_eq!(whole.only(&graph, &[id(2)]).unwrap().entries().len(), 9, "a family is all its products");
    assert_eq!(numbers(&View::default().only(&graph, &[id(3)]).unwrap()), [evaluate(1), evaluate(2), evaluate(3)]);
    assert_eq!(whole.only(&graph, &[id(77)]).unwrap().entries().len(), 0);
    assert!(matches!(whole.only(&graph, &[id(3); 200]), Err(Error::Long { list: "FilterCategoryIds", .. })));
    // What is delivered and not part of it is told apart from what is not.
    let installed = [1, 2, 3, 4, 5, 13];
    let answer = |two_groups| {
        let request = Request { installed: &installed, cached: &[12, 4711], mark: 9, two_groups };
        scan::software(&part, Some(&whole), &request, LARGE).unwrap()
    };
    let two = answer(true);
    assert_eq!((&*two.out_of_scope, &*two.deployed_out_of_scope), ([4711].as_slice(), [4, 12, 13].as_slice()));
    assert!(two.no_driver_sync && sent(&two) == [(10, Action::Install), (11, Action::Bundle)]);
    assert_eq!(answer(false).out_of_scope, [4, 12, 13, 4711]);
}

#[test]
fn another_servers_client_learns_the_numbers_of_what_is_delivered() {
    let graph = graph();
    let view = view(&graph, &[ordered(10, Action::Install, 3)], 9);
    let held: Vec<Identity> =
        [10, 11, 12, 3, 3].into_iter().map(identity).chain([Identity { id: id(5), revision: 2 }]).collect();
    let told = refresh(&view, &held).unwrap();
    assert_eq!(told.iter().map(|entry| entry.number).collect::<Vec<_>>(), [10, 3], "parts of bundles are left out");
    assert_eq!((told[0].deployment().action, told[0].deployment().id), (Action::Install, 10));
    let many = vec![identity(1); scan::CACHED_MAX + 1];
    assert!(matches!(refresh(&view, &many), Err(Error::Long { .. })));
}

#[test]
fn categories_that_are_asked_for_together() {
    let graph = graph();
    let ask = |of: &[(i32, u64)]| {
        let asked: Vec<_> = of.iter().map(|(group, at)| (*group, id(*at))).collect();
        preferred(&asked, |id| graph.category(id)).unwrap()
    };
    let told = |preferred: &[u64], in_error: &[u64]| Preferred {
        preferred: preferred.iter().copied().map(id).collect(),
        in_error: in_error.iter().copied().map(id).collect(),
    };
    assert_eq!(ask(&[(0, 3)]), told(&[3], &[]));
    assert_eq!(ask(&[(0, 3), (1, 5), (1, 4), (2, 3)]), told(&[3, 4], &[]));
    assert_eq!(ask(&[(0, 3), (0, 99), (1, 4)]), told(&[4], &[99]), "with what is not known the whole group goes");
    for all in [vec![(0, 3), (1, 5)], vec![(0, 3), (0, 4)], vec![(0, 3), (1, 2)]] {
        assert_eq!(ask(&all), told(&[], &[]), "{all:?}");
    }
    assert_eq!((ask(&[]), ask(&[(7, 12)])), (told(&[], &[]), told(&[], &[12])), "12 is no category");
    let many = vec![(0, id(3)); category::REQUESTED_MAX + 1];
    let error = preferred(&many, |id| graph.category(id)).unwrap_err();
    assert!(
        error.fault() == Fault::Client && !error.is_retryable() && error.to_string().contains("requestedCategories")
    );
}

#[test]
fn lists_have_an_end() {
    let view = view(&graph(), &[], 9);
    let (installed, cached) = (vec![1; scan::INSTALLED_MAX + 1], vec![7; scan::CACHED_MAX + 1]);
    let answer =
        |installed, cached| scan::software(&view, None, &Request { installed, cached, ..Request::default() }, LARGE);
    assert!(matches!(answer(&installed, &[]), Err(Error::Long { list: "InstalledNonLeafUpdateIDs", .. })));
    assert!(matches!(answer(&[], &cached), Err(Error::Long { list: "OtherCachedUpdateIDs", .. })));
    assert_eq!(answer(&installed[1..], &cached[1..]).unwrap().out_of_scope, [1, 7]);
}

#[test]
fn approvals_licences_and_detection_make_what_is_ordered() {
    let mut graph = graph();
    let at = Timestamp::from_ms;
    graph.insert(&Related { eula: Some(id(50)), deployable: false, ..software(11, &[]) });
    graph.insert(&Related { supersedes: vec![id(31)], ..software(30, &[4, 5]) });
    graph.insert(&software(31, &[4, 5]));
    graph.insert(&Related { expired: true, ..software(32, &[4, 5]) });
    graph.insert(&Related { kind: Kind::Driver, ..software(33, &[4, 5]) });
    graph.insert(&Related { refused: true, ..software(34, &[4, 5]) });
    graph.insert(&software(35, &[4, 5]));
    let said = |of: u64, said, ms| {
        let target = Target::Group(Group::ALL_ENDPOINTS);
        let approval = Approval { update: id(of), target, said, by: "me".into(), at: at(ms) };
        (id(of), Words { approvals: [(target, approval)].into(), ..Words::default() })
    };
    let install = Said::Do { action: Action::Install, deadline: Some(at(100)) };
    let mut words: BTreeMap<_, _> =
        [said(10, install, 5), said(31, install, 6), said(33, install, 7), said(34, install, 8)].into();
    words.insert(id(35), Words { declined: Some(at(1)), ..Words::default() });
    let tree = Groups::default();
    let asked = Asked { endpoint: None, groups: &[Group::ALL_ENDPOINTS], tree: &tree };
    let detection = Detection { products: [id(4)].into(), ..Detection::default() };
    let (none, accepted) = (BTreeMap::new(), [(id(50), at(9))].into());
    let terms = |accepted| Terms { words: &words, asked, detection: &detection, accepted, since: 0, now: at(1000) };
    let order = |of, action, deadline: Option<u64>, changed| Ordered {
        deadline: deadline.map(at),
        ..ordered(of, action, changed)
    };
    let rest = [
        order(12, Action::PreDeploymentCheck, None, 0),
        order(30, Action::PreDeploymentCheck, None, 0),
        // Approved although something newer is there: it is what was said.
        order(31, Action::Install, Some(100), 6),
    ];
    // The part of the bundle has a licence that nobody accepted: it is detected.
    let waiting = order::ordered(&graph, terms(&none));
    assert_eq!(waiting[0], order(10, Action::PreDeploymentCheck, None, 5));
    assert_eq!(waiting[1..], rest);
    assert_eq!(order::waiting(&graph, terms(&none)), [(id(50), [id(10)].into())].into());
    let going = order::ordered(&graph, terms(&accepted));
    assert_eq!(
        going[0],
        order(10, Action::Install, Some(104), 9),
        "its licence was accepted 4 ms after it was approved"
    );
    assert_eq!(going[1..], rest);
    assert!(order::waiting(&graph, terms(&accepted)).is_empty());
    let view = View::new(&graph, &going, 10, None);
    assert_eq!(view.entry(10).map(|entry| entry.deadline), Some(Some(at(104))));
    assert_eq!(view.entry(11).map(|entry| (entry.deadline, entry.action)), Some((None, Action::Bundle)));
}
