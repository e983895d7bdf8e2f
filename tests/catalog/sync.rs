//! Runs of the catalog, end to end: a store on a disk, the conversation over real sockets, and the simulator in both characters.
//! What the node holds in the end is compared with what the simulator says that it should hold.

#![allow(clippy::print_stdout, reason = "what a run said is of use where a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::time::SystemClock;
use waystation::model::filter::{Filters, Selection};
use waystation::model::update::{Identity, Kind, Publication, UpdateId};
use waystation::pace::Governor;
use waystation::store::Store;
use waystation::store::catalog::{Catalog, Counts, Deciding, Outcome, Part, Query, State, UpstreamKind};
use waystation::sync::error::{Error, Fault};
use waystation::sync::{Beyond, Extras, Runner};
use waystation::upstream::wsus::Wsus;

use crate::{conversation, small_store};

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_mins(2);

fn sim(character: Character, seed: u64, updates: usize) -> Sim {
    Sim::start(Options { character, seed, updates, file_scale: 0.02, ..Options::default() }).unwrap()
}

/// A node's store and its way to an upstream. Dropped without `close` it is one that was killed.
struct Node {
    dir: Arc<TempDir>,
    store: Store,
    runner: Runner,
}

impl Node {
    fn new(sim: &Sim, kind: UpstreamKind) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), sim, kind)
    }

    fn on(dir: Arc<TempDir>, sim: &Sim, kind: UpstreamKind) -> Self {
        Self::with(dir, sim, kind, Selection::default())
    }

    fn with(dir: Arc<TempDir>, sim: &Sim, kind: UpstreamKind, chosen: Selection) -> Self {
        Self::made(dir, sim, kind, chosen, Extras::default())
    }

    fn made(dir: Arc<TempDir>, sim: &Sim, kind: UpstreamKind, chosen: Selection, extras: Extras) -> Self {
        Self::told(dir, sim, kind, chosen, extras, |_| ())
    }

    fn told(
        dir: Arc<TempDir>,
        sim: &Sim,
        kind: UpstreamKind,
        chosen: Selection,
        extras: Extras,
        change: impl FnOnce(&mut waystation::upstream::wsus::Config),
    ) -> Self {
        let store = small_store::open(&dir.path().join("data"));
        let mut config = conversation::config(&sim.url(), dir.path().to_owned());
        // Small, so that a run has many batches.
        config.batch_max = 25;
        change(&mut config);
        let wsus = Wsus::new(config, &Governor::default()).unwrap();
        let chosen = Arc::new(move || chosen.clone());
        let runner = Runner::with(kind, &sim.url(), wsus, store.clone(), chosen, Arc::new(SystemClock), extras);
        Self { dir, store, runner }
    }

    fn catalog(&self) -> Catalog {
        self.store.catalog()
    }

    async fn run(&self) -> Result<Counts, Error> {
        let ended = timeout(SOON, self.runner.run(&CancellationToken::new())).await.expect("a run ends");
        // Shown where a test fails.
        println!("{ended:?}; refused: {:?}", self.catalog().refused(None, 20).await.unwrap());
        ended
    }

    /// Identity of every update that counts, its kind as the simulator calls it, and whether it was withdrawn.
    async fn held(&self) -> BTreeMap<Identity, (&'static str, bool)> {
        let catalog = self.catalog();
        let (mut held, mut after) = (BTreeMap::new(), (0, 0));
        loop {
            let page = catalog.changes(after.0, after.1, 5_000).await.unwrap();
            let numbers = page.changes.iter().filter(|change| change.held).map(|change| change.number).collect();
            for summary in catalog.summaries(numbers).await.unwrap() {
                let kind = match summary.kind {
                    Kind::Software => "software",
                    Kind::Driver => "driver",
                    Kind::Category(_) => "category",
                    Kind::Detectoid => "detectoid",
                };
                if summary.current {
                    held.insert(summary.identity, (kind, summary.publication == Publication::Expired));
                }
            }
            match page.changes.last() {
                Some(last) if page.more => after = (last.at, last.number),
                _ => return held,
            }
        }
    }

    /// Closes it as a node that is told to stop.
    async fn close(self) -> Arc<TempDir> {
        self.store.close().await.unwrap();
        self.dir
    }
}

/// What a node with these filters should hold, by the simulator.
fn wanted(sim: &Sim, filter: &Value) -> BTreeMap<Identity, (&'static str, bool)> {
    let identities = sim.identities(filter);
    let one = |value: &Value| {
        let identity = Identity {
            id: value["id"].as_str().unwrap().parse().unwrap(),
            revision: u32::try_from(value["revision"].as_u64().unwrap()).unwrap(),
        };
        let kind = ["software", "driver", "category", "detectoid"].into_iter().find(|kind| value["kind"] == **kind);
        (identity, (kind.unwrap(), value["expired"].as_bool().unwrap()))
    };
    identities.as_array().unwrap().iter().map(one).collect()
}

fn default_filter() -> Value {
    filter_of(&Filters::default().products, &Filters::default().classifications)
}

fn filter_of(products: &BTreeSet<UpdateId>, classifications: &BTreeSet<UpdateId>) -> Value {
    let texts = |ids: &BTreeSet<UpdateId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({ "products": texts(products), "classifications": texts(classifications) })
}

#[track_caller]
fn assert_same(
    held: &BTreeMap<Identity, (&'static str, bool)>,
    wanted: &BTreeMap<Identity, (&'static str, bool)>,
    when: &str,
) {
    let missing: Vec<_> = wanted.iter().filter(|(id, what)| held.get(id) != Some(what)).take(5).collect();
    let surplus: Vec<_> = held.keys().filter(|id| !wanted.contains_key(id)).take(5).collect();
    assert!(
        missing.is_empty() && surplus.is_empty() && !held.is_empty(),
        "{when}: {} held, {} wanted; missing {missing:?}; too much {surplus:?}",
        held.len(),
        wanted.len()
    );
}

/// Identities that GetUpdateData was asked for, in the order of the questions.
fn asked(sim: &Sim) -> Vec<Vec<Identity>> {
    let log = sim.log(2_000);
    let lines = log["lines"].as_array().unwrap().iter().filter(|line| line["method"] == "GetUpdateData");
    let identity = |text: &Value| {
        let (id, revision) = text.as_str().unwrap().split_once('/').unwrap();
        Identity { id: id.parse().unwrap(), revision: revision.parse().unwrap() }
    };
    lines.map(|line| line["ids"].as_array().unwrap().iter().map(identity).collect()).collect()
}

fn count(sim: &Sim, method: &str) -> u64 {
    sim.log(0)["methods"][method].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_run_three_months_and_a_run_without_change() {
    let sim = sim(Character::Microsoft, 7, 1_500);
    let node = Node::new(&sim, UpstreamKind::Microsoft);
    let counts = node.run().await.unwrap();
    let held = node.held().await;
    assert_same(&held, &wanted(&sim, &default_filter()), "after the first run");
    assert_eq!((counts.new, counts.changed, counts.refused), (held.len() as u64, 0, 0));
    assert!(counts.files > 0 && counts.bytes > 0, "{counts:?}");
    assert_eq!(sim.log(0)["updates"]["asked_more_than_once"], 0, "nothing is asked for twice");
    let standing = node.catalog().standing().await.unwrap();
    assert!(standing.upstream.unwrap().unauthenticated, "plain HTTP proves nothing");
    assert!(standing.sets.iter().all(|set| set.wanted == 0 && set.anchor.is_some()), "{:?}", standing.sets);

    // States as a person sees them.
    let census = node.catalog().census().await.unwrap();
    let state = sim.state(&default_filter());
    let count_of = |wanted: State| {
        let of_state = census.iter().filter(|((_, state), _)| *state == wanted);
        of_state.map(|(_, count)| *count).sum::<u64>()
    };
    assert_eq!(count_of(State::Expired), state["updates"]["expired"].as_u64().unwrap());

    sim.reset_log();
    let counts = node.run().await.unwrap();
    assert_eq!(counts, Counts::default(), "nothing has changed");
    assert_eq!(count(&sim, "GetUpdateData"), 0);
    // What the upstream says of itself comes whole, since nothing of it is kept.
    let log = sim.log(100);
    let config = log["lines"].as_array().unwrap().iter().find(|line| line["method"] == "GetConfigData").unwrap();
    assert!(config["anchor"].is_null(), "{config}");

    for month in 1..=3 {
        sim.advance(1);
        sim.reset_log();
        let counts = node.run().await.unwrap();
        assert_same(&node.held().await, &wanted(&sim, &default_filter()), &format!("after month {month}"));
        assert!(counts.new > 0 && counts.changed > 0, "month {month}: {counts:?}");
        assert_eq!(sim.log(0)["updates"]["asked_more_than_once"], 0, "month {month}");
        let asked: usize = asked(&sim).iter().map(Vec::len).sum();
        assert!(asked < held.len() / 4, "month {month} is a change and no full list: {asked}");
    }
    let runs = node.runner.history(None, 10).await.unwrap();
    assert!(runs.iter().all(|run| run.outcome == Outcome::Successful && run.reason.is_empty()), "{runs:?}");
    assert_eq!(runs.len(), 5);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_wsus_everything_is_taken() {
    let sim = sim(Character::Wsus, 8, 400);
    let node = Node::new(&sim, UpstreamKind::Wsus);
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "all of it");
    // What is kept is what was sent: a fragment can be had, and every file has an address.
    let catalog = node.catalog();
    let (identity, _) = node.held().await.into_iter().find(|(_, (kind, _))| *kind == "software").unwrap();
    let number = catalog.number(identity).await.unwrap().unwrap();
    assert!(catalog.text(number, Part::Core).await.unwrap().is_some());
    sim.advance(2);
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "after two months");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_aborted_goes_on_where_it_was() {
    let sim = sim(Character::Microsoft, 9, 1_000);
    let mut dir = Arc::new(tempfile::tempdir().unwrap());
    let mut lives = 0;
    let (mut lost, mut asked_before) = (0, BTreeSet::new());
    loop {
        let node = Node::on(Arc::clone(&dir), &sim, UpstreamKind::Microsoft);
        let before: BTreeSet<Identity> = node.held().await.into_keys().collect();
        sim.reset_log();
        let cancel = CancellationToken::new();
        let (runner, all) = (node.runner.clone(), cancel.clone());
        let run = tokio::spawn(async move { runner.run(&all).await });
        // Aborted where it awaits after so many revisions were committed, another number each time.
        let enough = before.len() + 40 + 17 * lives;
        let ended = loop {
            if run.is_finished() {
                break true;
            }
            if node.catalog().standing().await.unwrap().updates as usize >= enough {
                run.abort();
                break run.is_finished();
            }
            tokio::task::yield_now().await;
        };
        let result = run.await;
        let again: Vec<Identity> = asked(&sim).into_iter().flatten().filter(|id| before.contains(id)).collect();
        assert!(again.is_empty(), "life {lives}: what was committed is asked for again: {again:?}");
        // What was under way is, at most a batch of 25 for each of four workers.
        let asked_now: BTreeSet<Identity> = asked(&sim).into_iter().flatten().collect();
        let repeated = asked_now.intersection(&asked_before).count();
        assert!(repeated <= 4 * 25, "life {lives}: {repeated} are asked for again");
        lost += repeated;
        asked_before = asked_now;
        assert_eq!(sim.log(0)["updates"]["asked_more_than_once"], 0, "life {lives}");
        if ended && result.is_ok_and(|run| run.is_ok()) {
            assert_same(&node.held().await, &wanted(&sim, &default_filter()), "at last");
            let runs = node.runner.history(None, 100).await.unwrap();
            assert_eq!(runs[0].outcome, Outcome::Successful);
            assert!(runs[1..].iter().all(|run| run.outcome == Outcome::CutOff), "{runs:?}");
            assert!(lives >= 5, "it was aborted only {lives} times");
            println!("{lost} revisions were asked for again after {lives} lives");
            node.close().await;
            return;
        }
        lives += 1;
        assert!(lives < 100, "it comes to no end");
        // The run is lost, the store is closed in order. What becomes of both where the process is killed is tried in tests/cli, and
        // of the store where the machine dies in tests/store.
        dir = Arc::clone(&node.dir);
        node.store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_keeps_what_it_has() {
    let sim = sim(Character::Wsus, 10, 600);
    let node = Node::new(&sim, UpstreamKind::Wsus);
    let cancel = CancellationToken::new();
    let (runner, token) = (node.runner.clone(), cancel.clone());
    let run = tokio::spawn(async move { runner.run(&token).await });
    while node.catalog().standing().await.unwrap().updates < 100 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(node.run().await, Err(Error::Running)), "one run at a time");
    assert!(node.runner.progress().is_some());
    cancel.cancel();
    let error = timeout(SOON, run).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::Stopped) && error.fault() == Fault::Caller, "{error}");
    assert!(node.runner.progress().is_none());
    let runs = node.runner.history(None, 1).await.unwrap();
    assert_eq!(runs[0].outcome, Outcome::Stopped);
    let held = node.held().await.len() as u64;
    assert!(held >= 100 && runs[0].counts.new == held, "{held} held, {:?}", runs[0].counts);
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "after the second run");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_quarantined_and_the_run_goes_on() {
    let sim = sim(Character::Wsus, 11, 300);
    let all = wanted(&sim, &json!({}));
    let mut software = all.iter().filter(|(_, (kind, _))| *kind == "software").map(|(identity, _)| *identity);
    let mut next = || software.next().unwrap();
    let faults = ["wrong-identity", "entity-bomb", "deep-xml", "many-attributes", "bad-cabinet", "unknown-id"];
    let sick: BTreeMap<Identity, &str> = faults.into_iter().map(|fault| (next(), fault)).collect();
    for (identity, fault) in &sick {
        sim.fault(&json!({ "fault": fault, "ids": [identity.id.to_string()] })).unwrap();
    }
    // Spoilt on its way, and well the next time.
    let passing = next();
    sim.fault(&json!({ "fault": "half-document", "ids": [passing.id.to_string()], "times": 1 })).unwrap();
    let node = Node::new(&sim, UpstreamKind::Wsus);
    let counts = node.run().await.unwrap();
    let refused = node.catalog().refused(None, 100).await.unwrap();
    let quarantined: BTreeSet<Identity> = refused.iter().map(|refused| refused.identity).collect();
    assert_eq!(quarantined, sick.keys().copied().collect::<BTreeSet<_>>(), "{refused:?}");
    assert!(refused.iter().all(|refused| refused.reason.len() > 10), "{refused:?}");
    assert_eq!(counts.refused, sick.len() as u64);
    assert_eq!(node.runner.refused(0).len(), sick.len());
    let expected = all.into_iter().filter(|(identity, _)| !sick.contains_key(identity)).collect();
    let held = node.held().await;
    assert!(held.contains_key(&passing));
    assert_same(&held, &expected, "but for what was refused");
    // It is asked for once more by the next run, since something may have passed, and then not for a day.
    let healed = *sick.keys().next().unwrap();
    sim.clear_faults();
    for (identity, fault) in sick.iter().skip(1) {
        sim.fault(&json!({ "fault": fault, "ids": [identity.id.to_string()] })).unwrap();
    }
    sim.reset_log();
    assert_eq!(node.run().await.unwrap().refused, sick.len() as u64 - 1);
    let again: BTreeSet<Identity> = asked(&sim).into_iter().flatten().collect();
    assert_eq!(again, quarantined);
    assert!(node.held().await.contains_key(&healed));
    sim.reset_log();
    node.run().await.unwrap();
    assert_eq!(count(&sim, "GetUpdateData"), 0);
    // Pardoned, it comes although no list names it.
    let pardoned = *sick.keys().nth(1).unwrap();
    sim.clear_faults();
    assert!(node.catalog().pardon(pardoned).await.unwrap());
    node.run().await.unwrap();
    assert!(node.held().await.contains_key(&pardoned));
    node.close().await;
}

/// What contradicts itself is refused by its id with the reason; a size that lies is found out by whoever fetches the file.
#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_itself_is_quarantined_and_the_run_goes_on() {
    for kind in ["cabinet-bomb", "bad-digest", "cyclic-prerequisite", "cyclic-bundle", "lying-size"] {
        let sim = sim(Character::Wsus, 11, 120);
        sim.fault(&json!({ "fault": kind, "count": 1 })).unwrap();
        let node = Node::new(&sim, UpstreamKind::Wsus);
        let counts = node.run().await.unwrap();
        let refused = node.catalog().refused(None, 100).await.unwrap();
        let faults = sim.faults();
        println!("{kind}: {faults}\n{refused:?}");
        let sick = faults["documents"][0]["id"].as_str().unwrap();
        let why = refused.iter().find(|one| one.identity.id.to_string() == sick).map(|one| one.reason.as_str());
        match kind {
            "cyclic-prerequisite" => assert_eq!(why, Some("it is its own prerequisite")),
            // A bundle in itself is refused; one in a part of its own is held, and what follows it goes round once.
            "cyclic-bundle" => assert!(why.is_none_or(|why| why.contains("itself")), "{refused:?}"),
            "lying-size" => assert!(why.is_none_or(|why| why.contains("another size")), "{refused:?}"),
            _ => assert!(why.is_some_and(|why| why.len() > 10), "{kind}: {refused:?}"),
        }
        assert_eq!(counts.refused, refused.len() as u64, "{kind}");
        let held = node.held().await;
        let is_refused = |identity: &Identity| refused.iter().any(|one| one.identity == *identity);
        assert!(wanted(&sim, &json!({})).keys().all(|one| held.contains_key(one) || is_refused(one)), "{kind}");
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weakness_of_the_upstream_quarantines_nothing() {
    let sim = sim(Character::Wsus, 16, 300);
    let node = Node::new(&sim, UpstreamKind::Wsus);
    for kind in ["internal-server-error", "truncated-body", "drop"] {
        sim.fault(&json!({ "fault": kind, "method": "GetUpdateData", "after": 3, "count": 1_000_000 })).unwrap();
        let error = node.run().await.unwrap_err();
        assert!(error.fault() == Fault::Upstream && error.is_retryable(), "{kind}: {error}");
        assert_eq!(node.catalog().refused(None, 10).await.unwrap().len(), 0, "{kind}");
        sim.clear_faults();
    }
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "when it is well again");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_most_is_spoilt_fails_and_loses_nothing() {
    let sim = sim(Character::Wsus, 16, 300);
    sim.fault(&json!({ "fault": "half-document", "count": 100_000 })).unwrap();
    let node = Node::new(&sim, UpstreamKind::Wsus);
    let error = node.run().await.unwrap_err();
    assert!(matches!(error, Error::Spoilt { bad: 101.., .. }) && error.is_retryable(), "{error}");
    sim.clear_faults();
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "when it has passed");
    assert!(node.catalog().refused(None, 1).await.unwrap().is_empty());
    node.close().await;
}

/// Members of bundles stand in no list. Where the run that would have fetched them breaks off, the next one does, whatever became of
/// the list that they were on.
#[tokio::test(flavor = "multi_thread")]
async fn members_of_bundles_come_although_their_list_is_given_up() {
    let sim = sim(Character::Microsoft, 17, 600);
    let security = Selection {
        classifications: vec!["Security Updates".to_owned(), "Definition Updates".to_owned()],
        ..Selection::default()
    };
    let node = Node::with(Arc::new(tempfile::tempdir().unwrap()), &sim, UpstreamKind::Microsoft, security);
    sim.fault(&json!({ "fault": "server-busy", "method": "GetUpdateData", "after": 12, "count": 1_000 })).unwrap();
    node.run().await.unwrap_err();
    let catalog = node.catalog();
    let standing = catalog.standing().await.unwrap();
    let set = standing.sets.iter().find(|set| set.name.starts_with("updates-")).unwrap();
    let listed = catalog.wanted(set.name.clone(), None, 10_000).await.unwrap();
    let mut members = Vec::new();
    for identity in &listed {
        if !catalog.parents(*identity).await.unwrap().is_empty() {
            members.push(*identity);
        }
    }
    assert!(!members.is_empty(), "members are among what is wanted: {set:?}");
    sim.clear_faults();
    let node = Node::on(node.close().await, &sim, UpstreamKind::Microsoft);
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &default_filter()), "with other filters");
    node.close().await;

    let node = Node::new(&sim, UpstreamKind::Microsoft);
    sim.fault(&json!({ "fault": "server-changed", "method": "GetUpdateData", "after": 12 })).unwrap();
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &default_filter()), "of a server that changed meanwhile");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prerequisites_beyond_the_filters_stay_new_when_everything_is_listed_anew() {
    let sim = sim(Character::Microsoft, 18, 900);
    let tree = waystation::model::filter::Tree::new([]);
    let (products, classifications) = (["Windows Server 2019"], ["Security Updates"]);
    let chosen = Selection {
        products: products.map(str::to_owned).to_vec(),
        classifications: classifications.map(str::to_owned).to_vec(),
        languages: Vec::new(),
    };
    let filter = filter_of(
        &products.iter().map(|name| tree.product(name).unwrap()).collect(),
        &classifications.iter().map(|name| tree.classification(name).unwrap()).collect(),
    );
    let node = Node::with(Arc::new(tempfile::tempdir().unwrap()), &sim, UpstreamKind::Microsoft, chosen);
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &filter), "at first");
    for month in 1..=4 {
        sim.fault(&json!({ "fault": "server-changed", "method": "GetRevisionIdList" })).unwrap();
        node.run().await.unwrap();
        sim.advance(1);
        node.run().await.unwrap();
        assert_same(&node.held().await, &wanted(&sim, &filter), &format!("after month {month}"));
    }
    node.close().await;
}

/// Else each whole list would bring them, and the end of the same run would let go of them.
#[tokio::test(flavor = "multi_thread")]
async fn prerequisites_of_what_went_are_looked_for_no_more() {
    let sim = sim(Character::Microsoft, 18, 900);
    let chosen = |product: &str| Selection {
        products: vec![product.to_owned()],
        classifications: vec!["Security Updates".to_owned()],
        languages: Vec::new(),
    };
    let found = async |node: &Node| {
        let record = node.store.document("sync.beyond").await.unwrap().unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        serde_json::from_value::<BTreeSet<UpdateId>>(record["found"].clone()).unwrap()
    };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = Node::with(dir, &sim, UpstreamKind::Microsoft, chosen("Windows Server 2019"));
    node.run().await.unwrap();
    let before = found(&node).await;
    assert!(!before.is_empty());
    let extras = Extras { prune_beyond: true, ..Extras::default() };
    let node = Node::made(node.close().await, &sim, UpstreamKind::Microsoft, chosen("Windows 11"), extras);
    node.run().await.unwrap();
    let mut went = BTreeSet::new();
    for id in before {
        if node.catalog().current(id).await.unwrap().is_none() {
            went.insert(id);
        }
    }
    assert!(!went.is_empty() && found(&node).await.is_disjoint(&went), "{went:?}");
    sim.reset_log();
    sim.advance(1);
    node.run().await.unwrap();
    let asked: BTreeSet<UpdateId> = asked(&sim).into_iter().flatten().map(|identity| identity.id).collect();
    assert!(asked.is_disjoint(&went), "{asked:?}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_mean_nothing_end_a_run_and_one_that_is_left_out_is_told() {
    let sim = sim(Character::Microsoft, 19, 200);
    let chosen = |products: &[&str]| Selection {
        products: products.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = Node::with(dir, &sim, UpstreamKind::Microsoft, chosen(&["Windows Eleven"]));
    let error = node.run().await.unwrap_err();
    assert!(matches!(error, Error::Filters { .. }) && error.fault() == Fault::Us && !error.is_retryable());
    let said = error.to_string();
    assert!(said.contains("\"Windows Eleven\"") && said.contains("waystation filters list --available"), "{said}");
    assert!(node.catalog().standing().await.unwrap().sets.iter().all(|set| !set.name.starts_with("updates")));
    let node = Node::with(node.close().await, &sim, UpstreamKind::Microsoft, chosen(&["Windows 11", "Windows Eleven"]));
    node.run().await.unwrap();
    let run = node.runner.history(None, 1).await.unwrap().remove(0);
    assert_eq!(run.outcome, Outcome::Successful);
    assert!(
        run.reason.starts_with("left out of the filters: no product is called \"Windows Eleven\""),
        "{}",
        run.reason
    );
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_leaves_nothing_behind_but_what_it_committed() {
    use redb::{ReadableDatabase, ReadableTableMetadata};
    let sim = sim(Character::Wsus, 20, 100);
    let node = Node::new(&sim, UpstreamKind::Wsus);
    let mut stage = node.catalog().stage();
    stage.write(&vec![b'x'; 600_000]).await.unwrap();
    drop(stage);
    sim.fault(&json!({ "fault": "server-busy", "count": 1_000 })).unwrap();
    node.run().await.unwrap_err();
    let dir = node.close().await;
    let db = redb::Database::open(dir.path().join("data/node.redb")).unwrap();
    let blobs: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("catalog-blobs.1");
    assert_eq!(db.begin_read().unwrap().open_table(blobs).unwrap().len().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_in_mid_run_fails_it_and_keeps_what_came() {
    let sim = sim(Character::Wsus, 21, 300);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let (chosen, extras) = (Selection::default(), Extras::default());
    let node = Node::told(dir, &sim, UpstreamKind::Wsus, chosen, extras, |config| {
        config.http.stall_timeout = Duration::from_millis(300);
    });
    let order = json!({ "fault": "slow", "method": "GetUpdateData", "after": 6, "count": 1_000, "delay_ms": 600_000 });
    sim.fault(&order).unwrap();
    let error = node.run().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Upstream, "{error}");
    let runs = node.runner.history(None, 1).await.unwrap();
    assert_eq!((runs[0].outcome, runs[0].reason.clone()), (Outcome::Failed, error.to_string()));
    assert!(error.to_string().contains("no answer within"), "{error}");
    let kept: BTreeSet<Identity> = node.held().await.into_keys().collect();
    assert!(!kept.is_empty(), "what came before it hung");
    sim.clear_faults();
    sim.reset_log();
    node.run().await.unwrap();
    let again = asked(&sim).into_iter().flatten().filter(|identity| kept.contains(identity)).count();
    assert_eq!(again, 0, "what was committed is not asked for again");
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "once it answers");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upstream_takes_the_place_of_the_first_when_its_run_is_done() {
    let first = sim(Character::Microsoft, 12, 300);
    let node = Node::new(&first, UpstreamKind::Microsoft);
    node.run().await.unwrap();
    let before = node.held().await;
    let dir = node.close().await;
    let second = sim(Character::Wsus, 13, 300);
    second.fault(&json!({ "fault": "server-busy", "method": "GetUpdateData", "after": 4, "count": 1_000 })).unwrap();
    let node = Node::on(dir, &second, UpstreamKind::Wsus);
    let error = node.run().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Upstream, "{error}");
    let runs = node.runner.history(None, 1).await.unwrap();
    assert_eq!((runs[0].outcome, runs[0].reason.clone()), (Outcome::Failed, error.to_string()));
    let held = node.held().await;
    let ids: BTreeSet<UpdateId> = held.keys().map(|identity| identity.id).collect();
    assert!(before.keys().all(|identity| ids.contains(&identity.id)), "nothing goes before the new one is all there");
    second.clear_faults();
    let counts = node.run().await.unwrap();
    assert!(counts.pruned > 0);
    // What the new one does not list stays where something that it lists names it as a prerequisite.
    let (mut held, wanted) = (node.held().await, wanted(&second, &json!({})));
    for identity in held.keys().copied().collect::<Vec<_>>() {
        let needed = !node.catalog().dependents(identity.id, None, 1).await.unwrap().is_empty();
        if needed && !wanted.contains_key(&identity) {
            held.remove(&identity);
        }
    }
    assert_same(&held, &wanted, "of the second one alone");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_what_it_was_is_listed_anew() {
    let sim = sim(Character::Wsus, 14, 200);
    let node = Node::new(&sim, UpstreamKind::Wsus);
    node.run().await.unwrap();
    sim.advance(1);
    sim.reset_log();
    sim.fault(&json!({ "fault": "server-changed", "method": "GetRevisionIdList", "after": 1 })).unwrap();
    let counts = node.run().await.unwrap();
    assert_eq!(counts.errors, 1);
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "all the same");
    assert_eq!(sim.log(0)["updates"]["asked_more_than_once"], 0, "what is held is not fetched again");
    // It tells by the cookie that it is another one: with a new one it is listed anew, in the same run.
    sim.advance(1);
    sim.fault(&json!({ "fault": "another-server", "method": "GetRevisionIdList", "after": 1 })).unwrap();
    let counts = node.run().await.unwrap();
    assert_eq!(counts.errors, 1);
    assert_same(&node.held().await, &wanted(&sim, &json!({})), "another server");
    // One that says so again and again is given up.
    sim.fault(&json!({ "fault": "server-changed", "method": "GetRevisionIdList", "count": 100 })).unwrap();
    let error = node.run().await.unwrap_err();
    assert!(matches!(error, Error::Unsteady { .. }), "{error}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_filters_cost_what_they_add() {
    // As nobody has recorded what a server makes of it where one id of an update is new to the anchor and the other is not.
    for strict_delta in [false, true] {
        let options = Options { seed: 15, updates: 800, file_scale: 0.02, strict_delta, ..Options::default() };
        more_filters(&Sim::start(Options { character: Character::Microsoft, ..options }).unwrap()).await;
    }
}

async fn more_filters(sim: &Sim) {
    let chosen = |classifications: &[&str]| Selection {
        classifications: classifications.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    };
    let filter = |classifications: &[&str]| {
        let tree = waystation::model::filter::Tree::new([]);
        let ids = classifications.iter().map(|name| tree.classification(name).unwrap()).collect();
        filter_of(&Filters::default().products, &ids)
    };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let some = &["Security Updates"];
    let node = Node::with(dir, sim, UpstreamKind::Microsoft, chosen(some));
    node.run().await.unwrap();
    let before = node.held().await;
    assert_same(&before, &wanted(sim, &filter(some)), "with one classification");
    let dir = node.close().await;
    let more = &["Security Updates", "Critical Updates", "Definition Updates"];
    sim.advance(1);
    sim.reset_log();
    let node = Node::with(dir, sim, UpstreamKind::Microsoft, chosen(more));
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(sim, &filter(more)), "with three");
    let again = asked(sim).into_iter().flatten().filter(|identity| before.contains_key(identity)).count();
    assert_eq!(again, 0, "what was held is not fetched again");
    let sets = node.catalog().standing().await.unwrap().sets;
    assert!(sets.len() <= 3, "the anchor of the former filters is forgotten: {sets:?}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_narrower_filters_do_not_find_is_told_and_goes_where_that_is_wanted() {
    let sim = sim(Character::Microsoft, 23, 600);
    let chosen = |classifications: &[&str]| Selection {
        classifications: classifications.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    };
    let tree = waystation::model::filter::Tree::new([]);
    let narrow =
        filter_of(&Filters::default().products, &BTreeSet::from([tree.classification("Security Updates").unwrap()]));
    let node = Node::new(&sim, UpstreamKind::Microsoft);
    node.run().await.unwrap();
    let beyond = async |node: &Node| {
        let (wanted, _) = node.runner.filters().await.unwrap().unwrap();
        let query = Query { beyond: Some(Arc::new(wanted)), limit: 500, ..Query::default() };
        node.catalog().search(query).await.unwrap()
    };
    // No filter finds prerequisites that others need.
    let needed: BTreeSet<UpdateId> = beyond(&node).await.hits.into_iter().map(|hit| hit.summary.identity.id).collect();
    let of_needed = needed.len() as u64;
    let told = node.runner.beyond().await.unwrap().unwrap();
    assert_eq!(told, Beyond { all: of_needed, approved: 0, needed: Some(of_needed) });
    let before = node.held().await;
    let narrowed = chosen(&["Security Updates"]);
    let prune = Extras { prune_beyond: true, ..Extras::default() };

    // They stay, and are counted at once; one of them is approved.
    let node = Node::with(node.close().await, &sim, UpstreamKind::Microsoft, narrowed.clone());
    node.run().await.unwrap();
    assert_eq!(node.held().await, before);
    let told = node.runner.beyond().await.unwrap().unwrap();
    let many = told.all;
    assert!(told.approved == 0 && told.needed.is_some_and(|needed| needed < many), "{told:?}");
    let page = beyond(&node).await;
    assert!(
        many > needed.len() as u64 + 20 && page.total == many && page.hits.len() as u64 == many,
        "{many} of {}",
        before.len()
    );
    let approved = page.hits.iter().find(|hit| !needed.contains(&hit.summary.identity.id)).unwrap().summary.identity;
    let approve = Deciding::Approve { all_files: false };
    node.catalog().decide(vec![approved.id], approve, "ada".into(), "pinned".into()).await.unwrap();

    assert_eq!(node.runner.beyond().await.unwrap().unwrap().approved, 1);

    // A filter that means nothing would let go of what it found: nothing goes.
    let wrong = chosen(&["Security Updates", "Rollup Updates"]);
    let node = Node::made(node.close().await, &sim, UpstreamKind::Microsoft, wrong, prune.clone());
    assert_eq!(node.run().await.unwrap().pruned, 0);
    assert_eq!(node.held().await, before);

    let node = Node::made(node.close().await, &sim, UpstreamKind::Microsoft, narrowed.clone(), prune.clone());
    let counts = node.run().await.unwrap();
    assert!(counts.pruned >= (many - needed.len() as u64) / 2, "{counts:?}");
    assert_eq!(node.runner.history(None, 1).await.unwrap()[0].counts.pruned, counts.pruned);
    let held = node.held().await;
    assert!(held.contains_key(&approved));
    let wanted_now = wanted(&sim, &narrow);
    assert!(
        wanted_now.iter().all(|(one, what)| held.get(one) == Some(what)),
        "what is found stays, with all that it needs"
    );
    assert_eq!(node.run().await.unwrap().pruned, 0, "nothing comes again by itself");
    // With the approval goes the last of it.
    node.catalog().decide(vec![approved.id], Deciding::Reset, "ada".into(), String::new()).await.unwrap();
    assert!(node.run().await.unwrap().pruned > 0);
    assert_same(&node.held().await, &wanted_now, "with narrower filters");

    // What is left is what others need, and none of it goes.
    let told = node.runner.beyond().await.unwrap().unwrap();
    assert_eq!((told.approved, told.needed), (0, Some(told.all)));

    // Filters that are widened again list all that they find, and not what changed since.
    let node = Node::on(node.close().await, &sim, UpstreamKind::Microsoft);
    node.run().await.unwrap();
    assert_same(&node.held().await, &wanted(&sim, &default_filter()), "with the former filters");
    node.close().await;
}
