//! From a store's catalog to the graph: loaded at once, and followed by the change log, it is the same; and it says what the catalog says.

use std::collections::{BTreeMap, BTreeSet};

use waystation::fleet::graph::Graph;
use waystation::fleet::load::{follow, load};
use waystation::fleet::order::Ordered;
use waystation::fleet::scan::{self, Page, Request};
use waystation::fleet::view::View;
use waystation::model::deployment::Action;
use waystation::model::update::{Clause, Eula, Identity, Kind, Members, Publication, Update, UpdateId};
use waystation::store::catalog::{Batch, Catalog, Incoming, Part, Text, Upstream, UpstreamKind};

use crate::plain::{Dice, id};
use crate::small_store::open;

fn incoming(update: Update, core: usize) -> Incoming {
    let text = format!("<Update id=\"{}\"/>", update.identity);
    Incoming {
        document: text.clone().into(),
        cabinet: false,
        core: format!("{text}{}", " ".repeat(core)).into(),
        extended: text.clone().into(),
        localized: vec![("en".into(), text.into())],
        urls: vec![],
        update,
    }
}

async fn import(catalog: &Catalog, updates: Vec<Update>) {
    let updates = updates.into_iter().map(|update| incoming(update, 0)).collect();
    catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
}

/// A revision that names others, those that are not there among them.
fn random(dice: &mut Dice, at: u64, revision: u32, many: u64) -> Update {
    let other = |dice: &mut Dice| id(dice.roll(many));
    let identity = Identity { id: id(at), revision };
    Update {
        deployable: dice.one_in(2),
        publication: if dice.one_in(8) { Publication::Expired } else { Publication::Published },
        prerequisites: (0..dice.roll(3))
            .map(|_| Clause { any_of: (0..=dice.roll(2)).map(|_| other(dice)).collect(), is_category: dice.one_in(2) })
            .collect(),
        bundles: (0..dice.roll(2))
            .map(|_| Members { any_of: vec![Identity { id: other(dice), revision: 1 + dice.roll(3) as u32 }] })
            .filter(|members| members.any_of[0].id != id(at))
            .collect(),
        supersedes: (0..dice.roll(2)).map(|_| other(dice)).collect(),
        ..Update::new(identity, if dice.one_in(6) { Kind::Detectoid } else { Kind::Software })
    }
}

/// All that can be told of a graph: for each update whether it is a leaf and what counts; what can be approved; what is delivered where
/// everything is.
fn told(graph: &Graph, many: u64) -> impl PartialEq + std::fmt::Debug + use<> {
    let updates: Vec<(bool, Option<u32>)> =
        (0..many).map(|at| (graph.is_leaf(id(at)), graph.current(id(at)))).collect();
    let found: BTreeMap<UpdateId, _> = graph.deployable().map(|found| (found.identity.id, found)).collect();
    let orders: Vec<Ordered> = found
        .keys()
        .map(|update| Ordered { update: *update, action: Action::Install, deadline: None, changed: 1 })
        .collect();
    let view = View::new(graph, &orders, graph.clock(), None);
    let entries: Vec<_> = view
        .entries()
        .iter()
        .map(|entry| (entry.number, entry.identity, entry.action, entry.is_leaf, entry.core))
        .collect();
    (updates, found, entries, graph.len())
}

/// The catalog's own look-up counts that too.
async fn names_itself(catalog: &Catalog, of: UpdateId) -> bool {
    let number = catalog.current(of).await.unwrap();
    number.is_some() && catalog.dependents(of, None, 10).await.unwrap() == number.into_iter().collect::<Vec<_>>()
}

#[tokio::test]
async fn a_graph_that_is_followed_is_as_one_that_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let catalog = store.catalog();
    let microsoft = Upstream { kind: UpstreamKind::Microsoft, address: "https://up".into(), unauthenticated: false };
    catalog.begin_upstream(microsoft).await.unwrap();
    let mut dice = Dice(7);
    let many = 60;
    let mut graph = load(&catalog).await.unwrap();
    assert!(graph.is_empty());
    let (mut revisions, mut refused): (BTreeMap<u64, u32>, Vec<Identity>) = (BTreeMap::new(), vec![]);
    for round in 0..25 {
        let mut updates = Vec::new();
        for _ in 0..dice.roll(12) {
            let at = dice.roll(many);
            let revision = revisions.entry(at).or_default();
            *revision += u32::from(*revision == 0 || dice.one_in(2));
            let update = random(&mut dice, at, *revision, many);
            if !updates.iter().any(|other: &Update| other.identity == update.identity) {
                updates.push(update);
            }
        }
        import(&catalog, updates).await;
        if dice.one_in(3) {
            let at = dice.roll(many);
            if let Some(revision) = revisions.get(&at) {
                let identity = Identity { id: id(at), revision: *revision };
                catalog.refuse(identity, "the test says so".into()).await.unwrap();
                refused.push(identity);
            }
        } else if dice.one_in(2)
            && let Some(identity) = refused.pop()
        {
            catalog.pardon(identity).await.unwrap();
        }
        if dice.one_in(4) {
            let ids = (0..3).map(|_| id(dice.roll(many))).collect();
            catalog.let_go(ids, true, None).await.unwrap();
        }
        if dice.one_in(3) {
            continue;
        }
        assert!(follow(&catalog, &mut graph).await.unwrap());
        let anew = load(&catalog).await.unwrap();
        assert_eq!(told(&graph, many), told(&anew, many), "round {round}");
        assert_eq!(graph.clock(), catalog.standing().await.unwrap().clock);
        // What the catalog itself says.
        let ids: Vec<UpdateId> = (0..many).map(id).collect();
        for (id, is_leaf) in ids.iter().zip(catalog.leaves(ids.clone()).await.unwrap()) {
            // Revisions that do not count and are kept for bundles name theirs too.
            assert!(is_leaf || !graph.is_leaf(*id) || names_itself(&catalog, *id).await, "{id}");
            assert_eq!(graph.current(*id), catalog.current(*id).await.unwrap());
        }
        let found: Vec<_> = graph.deployable().collect();
        let superseded = catalog.are_superseded(found.iter().map(|one| one.identity.id).collect()).await.unwrap();
        let covered = graph.superseded();
        for (found, superseded) in found.iter().zip(superseded) {
            assert_eq!(covered.contains(&found.identity.id), superseded, "{found:?}");
        }
    }
    assert!(graph.len() > 40, "{}", graph.len());
    // A number that is past still stands for its update, also for who starts anew.
    let (past, next) = catalog.past_step(None).await.unwrap();
    assert!(!past.is_empty() && next.is_none(), "revisions went");
    let held: BTreeSet<u32> = catalog.related_step(None).await.unwrap().0.iter().map(|one| one.number).collect();
    assert!(past.iter().all(|(number, _)| !held.contains(number)));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_catalog_of_many_snapshots_is_read_whole_and_scanned() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let catalog = store.catalog();
    let many = 4_300_u64;
    let category = |at: u64| Clause { any_of: vec![id(at)], is_category: true };
    let update = |at: u64, kind| Update::new(Identity { id: id(at), revision: 1 }, kind);
    for from in (0..many).step_by(500) {
        let made = (from..(from + 500).min(many)).map(|at| match at {
            0 => update(at, Kind::Detectoid),
            _ => Update {
                deployable: true,
                prerequisites: vec![category(0)],
                eula: (at == 9).then(|| Eula { id: id(70_000), files: vec![] }),
                ..update(at, Kind::Software)
            },
        });
        let updates = made.map(|update| incoming(update, 1000)).collect();
        catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
    }
    let graph = load(&catalog).await.unwrap();
    assert_eq!((graph.len() as u64, graph.eulas(id(9))), (many, vec![id(70_000)]));
    let (mut steps, mut after, mut seen) = (0, None, BTreeSet::new());
    loop {
        let (found, next) = catalog.related_step(after).await.unwrap();
        assert!(found.iter().all(|one| seen.insert(one.number)));
        steps += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((steps, seen.len() as u64), (3, many), "snapshots are short");
    let orders: Vec<Ordered> = (1..many)
        .map(|at| Ordered { update: id(at), action: Action::PreDeploymentCheck, deadline: None, changed: 0 })
        .collect();
    let view = View::new(&graph, &orders, graph.clock(), None);
    // The length of what is sent is that of the Core fragment.
    let number = catalog.current(id(5)).await.unwrap().unwrap();
    let Some(Text::Whole(core)) = catalog.text(number, Part::Core).await.unwrap() else { panic!("it is small") };
    assert_eq!(view.entry(number).map(|entry| entry.core as usize), Some(core.len()));
    let first = scan::software(&view, None, &Request::default(), Page::of(&view)).unwrap();
    assert_eq!((first.new.len(), first.new[0].identity.id), (1, id(0)));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_went_back_in_time_is_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let catalog = store.catalog();
    import(&catalog, vec![random(&mut Dice(1), 1, 1, 5)]).await;
    let mut graph = load(&catalog).await.unwrap();
    assert!(follow(&catalog, &mut graph).await.unwrap());
    graph.set_clock(graph.clock() + 1);
    assert!(!follow(&catalog, &mut graph).await.unwrap(), "the clock of the catalog is behind that of the graph");
    store.close().await.unwrap();
}
