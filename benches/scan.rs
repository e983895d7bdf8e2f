//! What a scan costs beside its texts: 100,000 updates of realistic shape, of which 5,000 are approved or detected. The graph is made, a
//! view of it, and a new machine stages its first scan, all rounds, until nothing more is sent; then it asks again and nothing is new.
//!
//! The shape is that of a real catalog: 19 classifications, 300 products in 40 families, 3,800 detectoids, of which a machine has one in
//! forty; the rest are bundles that can be approved, each with one or two hidden parts that need one to three of the detectoids, and
//! supersede some before them. What is ordered are the newest. Core fragments are 2 to 8 KB, one in a hundred 200 KB.
#![allow(missing_docs, reason = "criterion's macros make public functions without a comment")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

use std::collections::HashSet;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use waystation::fleet::graph::Graph;
use waystation::fleet::order::Ordered;
use waystation::fleet::scan::{Page, Request, software};
use waystation::fleet::view::View;
use waystation::model::deployment::Action;
use waystation::model::update::{CategoryKind, Clause, Identity, Kind, UpdateId};
use waystation::store::catalog::Related;

const UPDATES: u32 = 100_000;
const ORDERED: usize = 5_000;
const CLASSIFICATIONS: u32 = 19;
const FAMILIES: u32 = 40;
const PRODUCTS: u32 = 300;
const DETECTOIDS: u32 = 3_800;
/// A machine has one in so many products and detectoids.
const HAS: u32 = 40;

/// splitmix64: the same number gives the same update.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(sides)) as u32
    }
}

fn identity(at: u32) -> Identity {
    let id = UpdateId::new(blake3::hash(&at.to_le_bytes()).as_bytes()[..16].try_into().unwrap());
    Identity { id, revision: 200 }
}

fn clause(at: u32, is_category: bool) -> Clause {
    Clause { any_of: vec![identity(at).id], is_category }
}

const FIRST_FAMILY: u32 = CLASSIFICATIONS;
const FIRST_PRODUCT: u32 = FIRST_FAMILY + FAMILIES;
const FIRST_DETECTOID: u32 = FIRST_PRODUCT + PRODUCTS;
const FIRST_SOFTWARE: u32 = FIRST_DETECTOID + DETECTOIDS;

fn made(at: u32) -> Related {
    let mut dice = Dice(u64::from(at).wrapping_mul(0x5851_f42d_4c95_7f2d));
    let category = |kind| Related::new(at + 1, identity(at), Kind::Category(kind));
    match at {
        _ if at < FIRST_FAMILY => category(CategoryKind::Classification),
        _ if at < FIRST_PRODUCT => category(CategoryKind::Family),
        _ if at < FIRST_DETECTOID => Related {
            prerequisites: vec![clause(FIRST_FAMILY + dice.roll(FAMILIES), true)],
            ..category(CategoryKind::Product)
        },
        _ if at < FIRST_SOFTWARE => Related {
            prerequisites: vec![clause(FIRST_PRODUCT + dice.roll(PRODUCTS), false)],
            core: 500 + u64::from(dice.roll(2000)),
            ..Related::new(at + 1, identity(at), Kind::Detectoid)
        },
        // Two parts, then the bundle of them.
        _ if at % 3 < 2 => Related {
            prerequisites: (0..=dice.roll(3))
                .map(|_| Clause {
                    any_of: (0..=dice.roll(4)).map(|_| identity(FIRST_DETECTOID + dice.roll(DETECTOIDS)).id).collect(),
                    is_category: false,
                })
                .collect(),
            core: if dice.roll(100) == 0 { 200_000 } else { 2000 + u64::from(dice.roll(6000)) },
            ..Related::new(at + 1, identity(at), Kind::Software)
        },
        _ => Related {
            deployable: true,
            prerequisites: vec![
                clause(dice.roll(CLASSIFICATIONS), true),
                clause(FIRST_PRODUCT + dice.roll(PRODUCTS), true),
            ],
            members: (1..=1 + dice.roll(2)).map(|back| identity(at - back)).collect(),
            supersedes: (1..=dice.roll(6)).map(|back| identity(at.saturating_sub(900 * back)).id).collect(),
            core: 1000,
            ..Related::new(at + 1, identity(at), Kind::Software)
        },
    }
}

/// Memory of this process that no file stands for, in bytes.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// All rounds of a first scan; how many, and what is held then: installed and no leaf; all else.
fn first(view: &View, has: &HashSet<UpdateId>) -> (usize, Vec<u32>, Vec<u32>) {
    let (mut rounds, mut installed, mut cached, mut mark) = (0, Vec::new(), Vec::new(), 0);
    loop {
        let request = Request { installed: &installed, cached: &cached, mark, two_groups: false };
        let answer = software(view, None, &request, Page::of(view)).unwrap();
        rounds += 1;
        mark = answer.mark;
        let mut goes_on = answer.truncated;
        for entry in &answer.new {
            goes_on |= !entry.is_leaf;
            let list = if !entry.is_leaf && has.contains(&entry.identity.id) { &mut installed } else { &mut cached };
            list.push(entry.number);
        }
        if !goes_on {
            return (rounds, installed, cached);
        }
    }
}

fn scan(c: &mut Criterion) {
    let all: Vec<Related> = (0..UPDATES).map(made).collect();
    let before = anonymous();
    let mut graph = Graph::default();
    for related in &all {
        graph.insert(related);
    }
    let (told, taken) = (graph.bytes() as u64, anonymous().saturating_sub(before));
    eprintln!(
        "graph: {} KB counted, {} KB taken, {} bytes an update",
        told / 1000,
        taken / 1000,
        told.max(taken) / u64::from(UPDATES)
    );
    let newest = (FIRST_SOFTWARE..UPDATES).rev().filter(|at| at % 3 == 2).take(ORDERED);
    let ordered: Vec<Ordered> = newest
        .map(|at| Ordered {
            update: identity(at).id,
            action: if at % 10 == 0 { Action::Install } else { Action::PreDeploymentCheck },
            deadline: None,
            changed: 1,
        })
        .collect();
    let view = View::new(&graph, &ordered, 2, None);
    // All classifications and families, some products and some of the detectoids of these.
    let has: HashSet<UpdateId> = (0..FIRST_SOFTWARE)
        .filter(|at| *at < FIRST_PRODUCT || at % HAS == 0 || *at < FIRST_DETECTOID && at % 4 == 0)
        .map(|at| identity(at).id)
        .collect();
    let everything: HashSet<UpdateId> = (0..FIRST_SOFTWARE).map(|at| identity(at).id).collect();
    for (name, has) in [("a machine", &has), ("one that everything fits", &everything)] {
        let (rounds, installed, cached) = first(&view, has);
        eprintln!(
            "{name}: {} revisions delivered ({} KB of memory, {} MB of Core fragments), {} held after {rounds} rounds",
            view.entries().len(),
            view.size() / 1000,
            view.core_bytes() / 1_000_000,
            installed.len() + cached.len()
        );
        assert!(rounds <= 130, "an agent gives up after 200 rounds");
    }
    let mut group = c.benchmark_group("scan");
    group.sample_size(20);
    group.bench_function("view of 5,000 updates", |bencher| {
        bencher.iter(|| View::new(black_box(&graph), black_box(&ordered), 2, None));
    });
    for (name, has) in [("a machine", &has), ("one that everything fits", &everything)] {
        group.bench_function(format!("first scan of {name}, all rounds"), |bencher| {
            bencher.iter(|| first(black_box(&view), has));
        });
        let (_, installed, cached) = first(&view, has);
        group.bench_function(format!("repeat scan of {name}, nothing new"), |bencher| {
            let request = Request { installed: &installed, cached: &cached, mark: 2, two_groups: false };
            bencher.iter(|| {
                let answer = software(black_box(&view), None, black_box(&request), Page::of(&view)).unwrap();
                assert!(answer.new.is_empty() && answer.changed.is_empty() && answer.out_of_scope.is_empty());
                answer
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
