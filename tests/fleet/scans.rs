//! Whole scans of random catalogs: they end, bring exactly what a plain model says, never the same twice, in few rounds; and after
//! everything changed the next scan brings the difference.

use std::collections::{BTreeMap, BTreeSet};

use waystation::fleet::graph::Graph;
use waystation::fleet::order::Ordered;
use waystation::fleet::scan::{Newcomer, Page};
use waystation::fleet::view::View;
use waystation::model::deployment::Action;
use waystation::model::update::UpdateId;

use crate::agent::Agent;
use crate::plain::{self, Catalog, Dice, Orders};

const SEEDS: u64 = 400;

fn graph(catalog: &Catalog) -> Graph {
    let mut graph = Graph::default();
    for one in catalog.values() {
        graph.insert(one);
    }
    graph
}

/// Orders with the times at which they were given.
fn given(orders: &Orders, times: &BTreeMap<UpdateId, u64>) -> Vec<Ordered> {
    let order = |(update, action): (&UpdateId, &Action)| Ordered {
        update: *update,
        action: *action,
        deadline: None,
        changed: times.get(update).copied().unwrap_or(1),
    };
    orders.iter().map(order).collect()
}

fn page(dice: &mut Dice) -> Page {
    Page { updates: 1 + usize::try_from(dice.roll(20)).unwrap(), bytes: 200 + dice.roll(20_000) }
}

/// What it holds, and was told of each, is what the model says.
fn check(agent: &Agent, catalog: &Catalog, orders: &Orders, truth: &BTreeSet<UpdateId>, seed: u64) {
    let (expected, _) = plain::settled(catalog, orders, truth);
    let held: BTreeSet<u32> = agent.held.keys().copied().collect();
    assert_eq!(held, expected, "seed {seed}");
    let delivered = plain::delivered(catalog, orders);
    for (number, entry) in &agent.held {
        assert_eq!((*number, entry.action), (*number, delivered[number]), "seed {seed}");
        assert_eq!(entry.is_leaf, plain::is_leaf(catalog, entry.identity.id), "seed {seed}: {number}");
        assert_eq!(entry.identity, catalog[number].identity);
    }
}

#[test]
fn a_first_scan_brings_exactly_what_can_be_evaluated_in_few_rounds() {
    let (mut most, mut sent) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let tidy = dice.one_in(2);
        let catalog = plain::catalog(&mut dice, tidy);
        let orders = plain::orders(&mut dice, &catalog);
        let truth = plain::truth(&mut dice, &catalog);
        let graph = graph(&catalog);
        for one in catalog.values() {
            assert_eq!(graph.is_leaf(one.identity.id), plain::is_leaf(&catalog, one.identity.id));
        }
        let view = View::new(&graph, &given(&orders, &BTreeMap::new()), 10, None);
        let in_view: BTreeMap<u32, Action> = view.entries().iter().map(|entry| (entry.number, entry.action)).collect();
        assert_eq!(in_view, plain::delivered(&catalog, &orders), "seed {seed}");
        let (mut agent, page) = (Agent::default(), page(&mut dice));
        let rounds = agent.scan(&view, &truth, page);
        check(&agent, &catalog, &orders, &truth, seed);
        let bytes: u64 = view.entries().iter().map(|entry| u64::from(entry.core) + 500).sum();
        let (_, depth) = plain::settled(&catalog, &orders, &truth);
        let pages =
            view.entries().len().div_ceil(page.updates) + 2 * usize::try_from(bytes.div_ceil(page.bytes)).unwrap();
        // One more where the last page has parts of a bundle that others need.
        assert!(rounds <= pages + depth + 2, "seed {seed}: {rounds} rounds, {pages} pages, {depth} deep");
        // What is new is nothing, and it is told at once.
        let (again, goes_on) = agent.ask(&view, None, &truth, page);
        assert!(again.new.is_empty() && again.changed.is_empty() && again.out_of_scope.is_empty() && !goes_on);
        most = most.max(rounds);
        sent += agent.held.len();
    }
    assert!(most > 20 && sent > 5000, "the catalogs are too small to show anything: {most} rounds, {sent} sent");
}

/// An agent takes a bundle for installed with the last of its parts, which is a leaf: the scan that brings it must go on.
#[test]
fn a_scan_ends_only_when_nothing_more_can_come() {
    let (mut bundles, mut longer) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice(seed ^ 0x0b0d_1e5a);
        let catalog = plain::catalog(&mut dice, true);
        let orders = plain::orders(&mut dice, &catalog);
        let truth = plain::truth(&mut dice, &catalog);
        let (graph, page) = (graph(&catalog), page(&mut dice));
        let view = View::new(&graph, &given(&orders, &BTreeMap::new()), 10, None);
        let parts = |one: &waystation::store::catalog::Related| {
            (one.number, one.members.iter().map(|member| member.id).collect::<Vec<_>>())
        };
        let parts: BTreeMap<_, _> = catalog.values().filter(|one| !one.members.is_empty()).map(parts).collect();
        let mut agent = Agent::with_parts(parts);
        let rounds = agent.scan(&view, &truth, page);
        let held = agent.held.len();
        bundles += agent.held.keys().filter(|number| agent.parts.contains_key(number)).count();
        longer += usize::from(rounds > 2);
        assert_eq!((agent.scan(&view, &truth, page), agent.held.len()), (1, held), "seed {seed}");
    }
    assert!(bundles > 100 && longer > 100, "{bundles} bundles, {longer} scans of several rounds");
}

/// Something happens to a catalog at a time: revisions come, change, go.
fn change(dice: &mut Dice, catalog: &mut Catalog, graph: &mut Graph, last: &mut u32, clock: u64) {
    let many = catalog.values().map(|one| one.identity.id).collect::<BTreeSet<_>>().len() as u64;
    let numbers: Vec<u32> = catalog.keys().copied().collect();
    let number = numbers[usize::try_from(dice.roll(numbers.len() as u64)).unwrap()];
    let at = u64::from_be_bytes(catalog[&number].identity.id.bytes()[..8].try_into().unwrap());
    match dice.roll(5) {
        // A new update, or a higher revision of one; the one before it stays where a bundle names it.
        0..=2 => {
            let is_new = dice.one_in(2);
            let at = if is_new { many + 5 + dice.roll(1000) } else { at };
            let before =
                catalog.values().filter(|one| one.identity.id == plain::id(at)).map(|one| one.identity.revision).max();
            let base = if is_new { many } else { at };
            let mut next = plain::revision(dice, base, 1 + before.unwrap_or(0), many, true, catalog);
            next.identity.id = plain::id(at);
            next.members.retain(|member| member.id != plain::id(at));
            next.changed = clock;
            // A number is never given away twice.
            *last += 1;
            next.number = *last;
            graph.insert(&next);
            for old in catalog.values_mut().filter(|one| one.identity.id == next.identity.id) {
                old.current = false;
            }
            catalog.insert(next.number, next);
            let orphans: Vec<u32> = catalog
                .values()
                .filter(|one| !one.current && !catalog.values().any(|other| other.members.contains(&one.identity)))
                .map(|one| one.number)
                .collect();
            for number in orphans {
                catalog.remove(&number);
                graph.remove(number, clock);
            }
        }
        // It must not be offered any more, or may again.
        3 => {
            let one = catalog.get_mut(&number).unwrap();
            one.refused = !one.refused;
            one.changed = clock;
            graph.insert(one);
        }
        _ if catalog.len() > 5 => {
            let gone = catalog.remove(&number).unwrap();
            graph.remove(number, clock);
            let left: Vec<u32> =
                catalog.values().filter(|one| one.identity.id == gone.identity.id).map(|one| one.number).collect();
            if gone.current {
                for number in left {
                    catalog.remove(&number);
                    graph.remove(number, clock);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn after_changes_the_next_scan_brings_the_difference() {
    let (mut changed, mut forgotten, mut flipped) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice(seed ^ 0xabcd_ef00);
        let mut catalog = plain::catalog(&mut dice, true);
        let mut orders = plain::orders(&mut dice, &catalog);
        let mut times: BTreeMap<UpdateId, u64> = BTreeMap::new();
        let mut truth = plain::truth(&mut dice, &catalog);
        let (mut graph, page) = (graph(&catalog), page(&mut dice));
        let mut view = View::new(&graph, &given(&orders, &times), 10, None);
        let mut agent = Agent::default();
        let mut last = *catalog.keys().last().unwrap();
        agent.scan(&view, &truth, page);
        for step in 1..6 {
            let clock = 10 + step * 10;
            for tick in 0..dice.roll(6) {
                change(&mut dice, &mut catalog, &mut graph, &mut last, clock - 9 + tick);
            }
            let others = plain::orders(&mut dice, &catalog);
            for update in catalog.values().map(|one| one.identity.id) {
                if dice.one_in(5) && orders.get(&update) != others.get(&update) {
                    match others.get(&update) {
                        Some(action) => drop(orders.insert(update, *action)),
                        None => drop(orders.remove(&update)),
                    }
                    times.insert(update, clock - 1);
                }
            }
            for one in catalog.values() {
                if dice.one_in(10) && !truth.remove(&one.identity.id) {
                    truth.insert(one.identity.id);
                }
            }
            let next = View::new(&graph, &given(&orders, &times), clock, Some(&view));
            let was: BTreeMap<u32, bool> = agent.held.iter().map(|(number, entry)| (*number, entry.is_leaf)).collect();
            // The same by somebody who has only just started, and whose graph was made at once.
            let mut other = agent.clone();
            let anew = View::new(&self::graph(&catalog), &given(&orders, &times), clock, None);
            other.scan(&anew, &truth, page);
            let (expected, _) = plain::settled(&catalog, &orders, &truth);
            assert!(
                other.held.values().all(|entry| !entry.is_leaf || plain::is_leaf(&catalog, entry.identity.id)),
                "seed {seed}: one that takes for a leaf what is none asks for nothing that depends on it"
            );
            // Numbers of revisions that are gone are not known to it here; what is there must be right all the same in the end.
            other.scan(&anew, &truth, page);
            assert_eq!(other.held.keys().copied().collect::<BTreeSet<_>>(), expected, "seed {seed}, step {step}");

            agent.begin();
            let (first, goes_on) = agent.ask(&next, None, &truth, page);
            changed += first.changed.len();
            forgotten += first.out_of_scope.len();
            flipped +=
                usize::from(first.changed.iter().any(|entry| was.get(&entry.number) == Some(&true) && !entry.is_leaf));
            if goes_on {
                agent.go_on(&next, &truth, page);
            }
            check(&agent, &catalog, &orders, &truth, seed);
            view = next;
        }
    }
    assert!(
        changed > 200 && forgotten > 200 && flipped > 5,
        "{changed} changed, {forgotten} forgotten, {flipped} flipped"
    );
}

/// Pages grow with what is delivered, so that a fresh client stays far away from the 200 rounds after which an agent gives up.
#[test]
fn a_fresh_client_never_nears_the_limit_of_rounds() {
    for (many, core) in [(60_000_u32, 3_000), (6_000, 200_000), (300, 1_400_000), (40, 47_000_000)] {
        let mut catalog = Catalog::new();
        for number in 1..=many {
            let mut one = waystation::store::catalog::Related::new(
                number,
                waystation::model::update::Identity { id: plain::id(u64::from(number)), revision: 1 },
                waystation::model::update::Kind::Software,
            );
            one.deployable = true;
            one.core = core / 2 + u64::from(number % 97) * core / 97;
            catalog.insert(number, one);
        }
        let graph = graph(&catalog);
        let orders: Orders = catalog.values().map(|one| (one.identity.id, Action::PreDeploymentCheck)).collect();
        let view = View::new(&graph, &given(&orders, &BTreeMap::new()), 10, None);
        let page = Page::of(&view);
        let (mut held, mut rounds, mut largest) = (Vec::new(), 0, 0);
        loop {
            let request = waystation::fleet::scan::Request {
                cached: &held,
                mark: 10,
                ..waystation::fleet::scan::Request::default()
            };
            let answer = waystation::fleet::scan::software(&view, None, &request, page).unwrap();
            rounds += 1;
            largest = largest.max(answer.new.iter().map(|entry| u64::from(entry.core)).sum::<u64>());
            held.extend(answer.new.iter().map(|entry| entry.number));
            if !answer.truncated {
                break;
            }
        }
        assert_eq!(held.len(), many as usize);
        assert!(rounds <= 120, "{rounds} rounds for {many} of {core} bytes");
        let told = Newcomer::of(&view);
        assert!(rounds <= told.rounds && told.updates == u64::from(many), "{rounds} rounds, and {told:?} were told");
        assert_eq!(told.bytes, view.core_bytes());
        let one = view.entries().iter().map(|entry| u64::from(entry.core)).max().unwrap();
        assert!(largest <= page.bytes.max(one), "{largest}");
    }
}
