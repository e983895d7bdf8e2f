//! The content policy, end to end: a catalog from the simulator, its files through the real way of filling, and what the node holds in the
//! end compared with what the simulator says that it should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::fill::{self, Fill};
use waystation::jobs::agreement::{Agreement, Confirming, Shown};
use waystation::jobs::board::State;
use waystation::jobs::content::{Content, InParts, Plan};
use waystation::jobs::work::{Kind, Work};
use waystation::jobs::{self, Jobs};
use waystation::model::filter::{Filters, Selection};
use waystation::model::origin::AllowList;
use waystation::model::payload::{Class, Location, Standing};
use waystation::model::policy::{Choice, Mode, Written};
use waystation::model::schedule::Schedule;
use waystation::model::update::{Severity, Update, UpdateId};
use waystation::pace::{self, Governor};
use waystation::store::catalog::{Deciding, UpstreamKind};
use waystation::store::{self, Store};
use waystation::sync::Runner;
use waystation::upstream::Upstream;
use waystation::upstream::wsus::Wsus;

use crate::hand_clock::HandClock;
use crate::{conversation, made_catalog, small_store};

#[path = "drawn.rs"]
mod drawn;

/// Longer than anything takes here on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(2);

pub(crate) fn sim(character: Character, seed: u64, updates: usize) -> Sim {
    // All files are there from the start.
    Sim::start(Options { character, seed, updates, file_scale: 0.01, eager: true, ..Options::default() }).unwrap()
}

/// A node's rooms from the store to the jobs, without faces.
pub(crate) struct Node {
    dir: Arc<TempDir>,
    pub(crate) store: Store,
    fill: Fill,
    pub(crate) jobs: Jobs,
    pub(crate) runner: Runner,
    policy: Arc<Mutex<Written>>,
    filters: Arc<Mutex<Selection>>,
    pub(crate) governor: Governor,
}

impl Node {
    pub(crate) fn new(sim: &Sim, kind: UpstreamKind, policy: Written) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), sim, kind, policy, 1 << 40)
    }

    fn on(dir: Arc<TempDir>, sim: &Sim, kind: UpstreamKind, policy: Written, max_size: u64) -> Self {
        Self::by(dir, sim, kind, policy, max_size, Arc::new(SystemClock), jobs::Config::default())
    }

    fn by(
        dir: Arc<TempDir>,
        sim: &Sim,
        kind: UpstreamKind,
        policy: Written,
        max_size: u64,
        clock: Arc<dyn Clock>,
        config: jobs::Config,
    ) -> Self {
        Self::patient(dir, sim, kind, policy, (max_size, Duration::from_mins(1)), clock, config)
    }

    /// The same, with how long a host is asked again for a file before that is given up.
    pub(crate) fn patient(
        dir: Arc<TempDir>,
        sim: &Sim,
        kind: UpstreamKind,
        policy: Written,
        (max_size, patience): (u64, Duration),
        clock: Arc<dyn Clock>,
        config: jobs::Config,
    ) -> Self {
        let jobs_config = config;
        let config = store::Config { max_size, ..small_store::config(&dir.path().join("data")) };
        let (store, _) = Store::open(config, Arc::new(RealDisk), Arc::clone(&clock)).unwrap();
        let way = conversation::config(&sim.url(), dir.path().to_owned());
        let http = waystation::upstream::Config { patience, ..way.http.clone() };
        let governor = Governor::new(pace::Config::default(), Arc::new(SystemClock));
        let wsus = Wsus::new(way, &governor).unwrap();
        let filters = Arc::new(Mutex::new(Selection::default()));
        let selected = Arc::clone(&filters);
        let chosen = Arc::new(move || selected.lock().unwrap().clone());
        let runner = Runner::new(kind, &sim.url(), wsus, store.clone(), chosen, Arc::clone(&clock));
        let allow = Arc::new(AllowList::new(&[sim.address().to_string()]).unwrap());
        let source = Arc::new(Upstream::paced(http, Arc::clone(&allow), governor.clone()).unwrap());
        let is_wsus = kind == UpstreamKind::Wsus;
        let config = fill::Config {
            upstream: is_wsus.then(|| Location { url: sim.url(), standing: Standing::Upstream }),
            upstream_is_wsus: is_wsus,
            ..fill::Config::default()
        };
        let fill = Fill::new(config, store.clone(), source, allow, Arc::clone(&clock));
        let policy = Arc::new(Mutex::new(policy));
        let asked = Arc::clone(&policy);
        let content = Content(Arc::new(move || asked.lock().unwrap().clone()));
        let config = jobs::Config { content, scrub_every: None, ..jobs_config };
        let jobs = Jobs::with_catalog(config, store.clone(), fill.clone(), runner.clone(), clock);
        Self { dir, store, fill, jobs, runner, policy, filters, governor }
    }

    pub(crate) fn set(&self, policy: Written) {
        *self.policy.lock().unwrap() = policy;
        self.jobs.content_changed();
    }

    /// As `[filters]` is changed while the node runs.
    pub(crate) fn filter(&self, change: impl FnOnce(&mut Selection)) {
        change(&mut self.filters.lock().unwrap());
        self.jobs.content_changed();
    }

    /// Agrees to what the policy that is set wants.
    pub(crate) async fn confirm(&self) -> Arc<Plan> {
        let shown = Shown::of(&*self.plan().await);
        match self.jobs.confirm_plan("ada", &shown).await.unwrap() {
            Confirming::Agreed(plan) => plan,
            Confirming::Another(plan) => panic!("{plan:?}"),
        }
    }

    /// Runs a job to its end.
    pub(crate) async fn job(&self, work: Work) -> waystation::jobs::board::View {
        let job = self.jobs.start(work, "a test").unwrap();
        let ended = timeout(SOON, self.jobs.wait(job, SOON)).await.expect("it ends").unwrap();
        assert!(!ended.state.is_running());
        ended
    }

    pub(crate) async fn sync(&self) {
        let ended = self.job(Work::Sync).await;
        assert_eq!(ended.state, State::Done, "{:?}", ended.result);
    }

    pub(crate) async fn prefetch(&self) -> String {
        let ended = self.job(Work::Prefetch).await;
        assert_eq!(ended.state, State::Done, "{:?} {:?}", ended.result, ended.lines);
        ended.result.unwrap()
    }

    pub(crate) async fn plan(&self) -> Arc<Plan> {
        self.jobs.plan(None).await.unwrap()
    }

    /// The SHA-256 of all payloads; all of them are proven.
    pub(crate) async fn held(&self) -> BTreeSet<String> {
        let (mut held, mut after) = (BTreeSet::new(), None);
        loop {
            let page = self.store.list(after, 500).await.unwrap();
            let Some(last) = page.last() else { return held };
            after = Some(last.payload.digests.blake3);
            for listed in page {
                assert_eq!(listed.payload.class, Class::Proven, "{:?}", listed.names);
                held.insert(listed.payload.digests.sha256.to_string());
            }
        }
    }

    /// A file of this update is told of by an upstream that proves what it says.
    pub(crate) async fn proven(&self, update: Update) {
        let catalog = self.store.catalog();
        let address = "https://sws.update.microsoft.com".to_owned();
        let upstream = store::catalog::Upstream { kind: UpstreamKind::Microsoft, address, unauthenticated: false };
        catalog.begin_upstream(upstream).await.unwrap();
        made_catalog::take(&catalog, update).await;
        self.jobs.content_changed();
    }

    pub(crate) async fn decide(&self, update: &Value, deciding: Deciding) {
        let id: UpdateId = update["id"].as_str().unwrap().parse().unwrap();
        self.store.catalog().decide(vec![id], deciding, "ada".into(), "tested".into()).await.unwrap();
        self.jobs.content_changed();
    }

    pub(crate) async fn close(self) -> Arc<TempDir> {
        self.jobs.close().await;
        self.fill.close().await;
        self.store.close().await.unwrap();
        self.dir
    }
}

pub(crate) fn by_severity(level: Severity) -> Written {
    Written { choice: Choice { mode: Mode::Severity, level }, ..Written::default() }
}

pub(crate) fn mode(mode: Mode) -> Written {
    Written { choice: Choice { mode, level: Severity::Critical }, ..Written::default() }
}

pub(crate) fn is(update: &Value, key: &str) -> bool {
    update[key].as_bool().unwrap()
}

pub(crate) fn is_offered(update: &Value) -> bool {
    !is(update, "expired") && !is(update, "superseded")
}

/// SHA-256 and size of the files of all updates that fit.
pub(crate) fn files(updates: &Value, fits: impl Fn(&Value) -> bool) -> BTreeMap<String, u64> {
    let all = updates.as_array().unwrap().iter().filter(|update| fits(update));
    let files = all.flat_map(|update| update["files"].as_array().unwrap());
    files.map(|file| (file["sha256"].as_str().unwrap().to_owned(), file["size"].as_u64().unwrap())).collect()
}

fn critical(update: &Value) -> bool {
    is_offered(update) && !is(update, "parts") && update["severity"] == "critical"
}

pub(crate) fn names(files: &BTreeMap<String, u64>) -> BTreeSet<String> {
    files.keys().cloned().collect()
}

#[track_caller]
fn assert_sums(plan: &Plan, wanted: &BTreeMap<String, u64>, held: usize) {
    assert_eq!(plan.all.wanted.files, wanted.len() as u64);
    assert_eq!(plan.all.wanted.bytes, wanted.values().sum::<u64>());
    assert_eq!(plan.all.held.files, held as u64);
    let classes: u64 = plan.by_classification.iter().map(|(_, tally)| tally.wanted.bytes).sum();
    let products: u64 = plan.by_product.iter().map(|(_, tally)| tally.wanted.bytes).sum();
    assert_eq!((classes, products), (plan.all.wanted.bytes, plan.all.wanted.bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn critical_updates_come_and_decisions_and_supersedence_count() {
    let sim = sim(Character::Wsus, 21, 900);
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Critical));
    node.sync().await;
    let catalog = sim.deployable(&json!({}));
    let wanted = files(&catalog, critical);
    assert!(wanted.len() > 5, "the catalog has some: {}", wanted.len());
    assert_sums(&*node.plan().await, &wanted, 0);
    let in_parts = |update: &&Value| is_offered(update) && is(update, "parts") && update["severity"] == "critical";
    let left = catalog.as_array().unwrap().iter().filter(in_parts).count() as u64;
    assert!(left > 0, "some are left to endpoints");
    assert_eq!(node.plan().await.in_parts, InParts { updates: left, approved: 0 });
    let runs = node.jobs.sync_history(None, 1).await.unwrap();
    assert_eq!(runs[0].wanted, Some((wanted.len() as u64, wanted.values().sum())), "the history has it");

    assert_eq!(node.prefetch().await, format!("{} fetched", wanted.len()));
    assert_eq!(node.held().await, names(&wanted), "what the simulator calls critical, and nothing else");
    assert_sums(&*node.plan().await, &wanted, wanted.len());
    assert_eq!(node.prefetch().await, "nothing was missing");

    // One that is not critical is approved: its files come. One in parts: they do not, until it is said of all files.
    let all = catalog.as_array().unwrap();
    let low = |parts: bool| {
        let fits = |update: &&Value| {
            is_offered(update)
                && is(update, "parts") == parts
                && update["severity"] != "critical"
                && !update["files"].as_array().unwrap().is_empty()
        };
        all.iter().find(fits).unwrap()
    };
    let whole_of = |one: &Value| files(&json!([one]), |_| true);
    node.decide(low(false), Deciding::Approve { all_files: false }).await;
    node.decide(low(true), Deciding::Approve { all_files: false }).await;
    assert_eq!(node.plan().await.in_parts, InParts { updates: left + 1, approved: 1 });
    node.prefetch().await;
    let mut expected = names(&wanted);
    expected.extend(names(&whole_of(low(false))));
    assert_eq!(node.held().await, expected);
    node.decide(low(true), Deciding::Approve { all_files: true }).await;
    assert_eq!(node.plan().await.in_parts, InParts { updates: left, approved: 0 });
    node.prefetch().await;
    expected.extend(names(&whole_of(low(true))));
    assert_eq!(node.held().await, expected);

    // One that is declined is not wanted any more, and is again when that is taken back.
    let before = node.plan().await.all.wanted;
    let declined = all.iter().find(|update| critical(update)).unwrap();
    node.decide(declined, Deciding::Decline).await;
    let after = node.plan().await.all.wanted;
    assert!(after.files < before.files && after.bytes < before.bytes, "{before:?} {after:?}");
    node.decide(declined, Deciding::Reset).await;
    assert_eq!(node.plan().await.all.wanted, before);
    for one in [low(false), low(true)] {
        node.decide(one, Deciding::Reset).await;
    }
    assert_sums(&*node.plan().await, &wanted, wanted.len());

    // Months later some are superseded or withdrawn.
    sim.advance(3);
    node.sync().await;
    let catalog = sim.deployable(&json!({}));
    let later = files(&catalog, critical);
    assert!(names(&wanted).difference(&names(&later)).next().is_some(), "some are not wanted any more");
    let plan = node.plan().await;
    assert_eq!((plan.all.wanted.files, plan.all.wanted.bytes), (later.len() as u64, later.values().sum()));
    node.prefetch().await;
    assert!(names(&later).is_subset(&node.held().await));
    // Somebody who wants them all the same can have that.
    node.set(Written { decline_superseded: false, ..by_severity(Severity::Critical) });
    let with_superseded =
        files(&catalog, |update| !is(update, "expired") && !is(update, "parts") && update["severity"] == "critical");
    assert_eq!(node.plan().await.all.wanted.files, with_superseded.len() as u64);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_waits_for_a_person_and_goes_on_after_a_restart() {
    let sim = sim(Character::Microsoft, 22, 500);
    let filter = json!({
        "products": Filters::default().products.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "classifications": Filters::default().classifications.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    let node = Node::new(&sim, UpstreamKind::Microsoft, mode(Mode::All));
    node.sync().await;
    let wanted = files(&sim.deployable(&filter), |update| is_offered(update) && !is(update, "parts"));
    assert!(wanted.len() > 20, "{}", wanted.len());
    let plan = node.plan().await;
    assert_eq!((&plan.agreement, plan.now.wanted.files), (&Agreement::Missing, 0));
    assert_sums(&plan, &wanted, 0);
    let told = node.prefetch().await;
    assert!(told.contains("\"all\" is not confirmed") && told.contains("waystation plan --confirm"), "{told}");
    assert!(node.held().await.is_empty(), "nobody has agreed");

    let plan = node.confirm().await;
    assert!(plan.agreement.is_given() && plan.now == plan.all, "{:?}", plan.agreement);
    // Killed on the way: what is held is not asked for again.
    let job = node.jobs.start(Work::Prefetch, "a test").unwrap();
    timeout(SOON, async {
        while node.store.list(None, 10).await.unwrap().len() < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    node.jobs.stop(job, "a test").unwrap();
    assert_eq!(node.jobs.wait(job, SOON).await.unwrap().state, State::Stopped);
    let dir = node.close().await;
    let node = Node::on(dir, &sim, UpstreamKind::Microsoft, mode(Mode::All), 1 << 40);
    let before = node.held().await;
    assert!(before.len() >= 5 && before.len() < wanted.len(), "{} of {}", before.len(), wanted.len());
    sim.reset_log();
    assert!(node.plan().await.agreement.is_given(), "the agreement is kept");
    node.prefetch().await;
    assert_eq!(node.held().await, names(&wanted));
    let asked: u64 =
        sim.log(5_000)["lines"].as_array().unwrap().iter().filter(|line| line["sha1"].is_string()).count() as u64;
    assert!(
        asked < 2 * (wanted.len() - before.len()) as u64 + 10,
        "{asked} questions for {} files",
        wanted.len() - before.len()
    );
    // A policy that has nothing of it needs no agreement.
    node.set(mode(Mode::Approved));
    let shown = Shown::of(&*node.plan().await);
    assert!(matches!(node.jobs.confirm_plan("ada", &shown).await, Err(jobs::error::Error::Unset { .. })));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_by_itself_and_tells_what_does_not_come() {
    let sim = sim(Character::Wsus, 23, 400);
    let catalog = sim.deployable(&json!({}));
    let wanted = files(&catalog, critical);
    // The first file that is asked for is sick from then on.
    sim.fault(&json!({ "fault": "content-404" })).unwrap();
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Critical));
    node.jobs.keep_house();
    node.sync().await;
    let prefetched = async {
        loop {
            let own = node.jobs.list().into_iter().find(|job| job.kind == Kind::Prefetch && !job.state.is_running());
            if let Some(job) = own {
                return node.jobs.get(job.id).unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let job = timeout(SOON, prefetched).await.expect("it begins after the run, and ends");
    assert_eq!((job.state, job.by.as_str()), (State::Failed, "the content policy"), "{:?}", job.result);
    let failed: Vec<_> = job.lines.iter().filter(|line| line.step == waystation::jobs::board::Step::Failed).collect();
    assert!(failed.len() == 1 && failed[0].text.contains("404"), "{failed:?}");
    let sick = catalog.as_array().unwrap().iter().flat_map(|update| update["files"].as_array().unwrap());
    let mut sick = sick.filter(|file| failed[0].item.contains(file["sha1"].as_str().unwrap()));
    let sick = sick.next().expect("it is named by its digest");
    let mut expected = names(&wanted);
    expected.remove(sick["sha256"].as_str().unwrap());
    assert_eq!(node.held().await, expected, "all the others came");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_is_left_out_and_told() {
    let sim = sim(Character::Wsus, 21, 900);
    let wanted = files(&sim.deployable(&json!({})), critical);
    // As much as they take in whole blocks with their proofs.
    let all: u64 = wanted.values().map(|size| size.next_multiple_of(4096) + 4096).sum();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = Node::on(dir, &sim, UpstreamKind::Wsus, by_severity(Severity::Critical), all / 2);
    node.sync().await;
    let ended = node.job(Work::Prefetch).await;
    let told = ended.result.unwrap();
    assert!(ended.state == State::Failed && told.contains("have no room") && told.contains("store.max_size"), "{told}");
    let space = node.store.space().await.unwrap();
    assert!(space.used() <= space.max_size && space.payloads_count > 0, "{space:?}");
    // Each file counts once, however many updates have it, and is named.
    let plan = node.plan().await;
    let (held, missing) = (plan.now.held.files, plan.now.missing().files);
    assert_eq!((ended.progress.done, ended.progress.total), (held, Some(wanted.len() as u64)), "{told}");
    assert!(told.contains(&format!("{held} fetched, 0 failed, and {missing} files of ")), "{told}");
    let no_room = ended.lines.iter().filter(|line| line.text.contains("no room")).count() as u64;
    assert_eq!(no_room, missing.min(200), "{told}");
    assert_eq!(node.jobs.prefetching().undone.as_deref(), Some(told.as_str()));
    // What it has stays what it has: nothing is given up for the next.
    let before = node.held().await;
    node.job(Work::Prefetch).await;
    assert_eq!(node.held().await, before);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_hosts_cannot_be_asked_it_says_that_nothing_moves_and_why() {
    let sim = sim(Character::Wsus, 21, 300);
    // A little longer than it takes until it is told that nothing comes.
    let (dir, way) = (Arc::new(tempfile::tempdir().unwrap()), (1 << 40, Duration::from_secs(20)));
    let policy = by_severity(Severity::Critical);
    let config = jobs::Config { prefetch_rest: Duration::from_mins(1), ..jobs::Config::default() };
    let node = Node::patient(dir, &sim, UpstreamKind::Wsus, policy, way, Arc::new(SystemClock), config);
    assert!(node.prefetch().await.contains("the catalog is empty"), "nobody knows what is wanted");
    node.sync().await;
    drop(sim);
    let job = node.jobs.start(Work::Prefetch, "a test").unwrap();
    // First that nothing comes of what is asked for, then that it is tried again.
    until(&node, "it waits", |_| node.jobs.prefetching().waits.is_some()).await;
    let waits = node.jobs.prefetching().waits.unwrap();
    assert!(waits.starts_with("nothing moves: ") && waits.contains("127.0.0.1"), "{waits}");
    let is_later = |waits: Option<String>| waits.is_some_and(|waits| waits.contains("tried again at"));
    until(&node, "it is tried again", |_| is_later(node.jobs.prefetching().waits)).await;
    let waits = node.jobs.prefetching().waits.unwrap();
    assert!(waits.contains("127.0.0.1"), "who cannot be asked: {waits}");
    node.jobs.stop(job, "a test").unwrap();
    node.jobs.wait(job, SOON).await.unwrap();
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_without_a_catalog_waits_and_jobs_keep_their_numbers_and_totals() {
    let sim = sim(Character::Microsoft, 21, 60);
    let lane = Schedule { enabled: true, ..Schedule::default() };
    let config = || jobs::Config { definitions: lane.clone(), ..jobs::Config::default() };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let on = |dir| {
        Node::by(dir, &sim, UpstreamKind::Microsoft, Written::default(), 1 << 40, Arc::new(SystemClock), config())
    };
    let node = on(dir);
    node.jobs.go_on_counting().await.unwrap();
    let state = node.jobs.sync_state().await.unwrap();
    assert!(state.definitions_wait && state.next_definitions.is_none(), "{state:?}");
    let early = node.job(Work::Definitions).await;
    assert!(early.state == State::Failed && early.result.as_deref().is_some_and(|why| why.contains("no catalog")));
    let state = node.jobs.sync_state().await.unwrap();
    assert!(state.last.is_none() && state.last_definitions.is_some_and(|run| !run.note.again), "no reason that passes");
    let brought = node.job(Work::Sync).await;
    assert!(brought.progress.done > 60 && brought.progress.total == Some(brought.progress.done), "{brought:?}");
    let state = node.jobs.sync_state().await.unwrap();
    assert!(!state.definitions_wait && state.next_definitions.is_some(), "{state:?}");
    let dir = node.close().await;
    let node = on(dir);
    node.jobs.go_on_counting().await.unwrap();
    assert_eq!(node.job(Work::Sync).await.id, brought.id + 1, "a number is one job's");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_wants_is_given_up_before_what_is_wanted_and_older() {
    let sim = sim(Character::Wsus, 21, 900);
    let catalog = sim.deployable(&json!({}));
    // What they take on the disk with their proofs, which are small here.
    let taken =
        |files: &BTreeMap<String, u64>| files.values().map(|size| size.next_multiple_of(4096) + 4096).sum::<u64>();
    let old = files(&catalog, critical);
    let (mut once, mut new) = (Vec::new(), Vec::new());
    let of = |updates: &[&Value]| {
        let mut all = BTreeMap::new();
        for update in updates {
            all.extend(files(&json!([update]), |_| true));
        }
        all.retain(|sha256, _| !old.contains_key(sha256));
        all
    };
    // As much that was wanted once, and nearly as much that comes to be wanted.
    for update in catalog.as_array().unwrap() {
        let is_other = is_offered(update) && !is(update, "parts") && update["severity"] != "critical";
        let own = of(&[update]);
        if !is_other || own.is_empty() || own.keys().any(|one| of(&once).contains_key(one)) {
            continue;
        }
        if taken(&of(&once)) < taken(&old) {
            once.push(update);
        } else if taken(&of(&new)) < taken(&of(&once)) / 10 * 8 {
            new.push(update);
        }
    }
    let (before, later) = (of(&once), of(&new));
    // Room for two of the three, as carefully as a prefetch counts what is held, and not for all.
    let counted = taken(&old) + 4096 * old.len() as u64;
    let max_size = (counted + taken(&before)) / 100 * 107;
    let all = taken(&old) + taken(&before) + taken(&later);
    assert!(all > max_size && counted + taken(&later) < max_size / 100 * 94, "{all} {counted} {max_size}");

    let hand = HandClock::at(1_767_603_600_000);
    let (dir, clock) = (Arc::new(tempfile::tempdir().unwrap()), Arc::clone(&hand) as Arc<dyn Clock>);
    let written = by_severity(Severity::Critical);
    let node = Node::by(dir, &sim, UpstreamKind::Wsus, written, max_size, clock, jobs::Config::default());
    node.sync().await;
    node.prefetch().await;
    assert_eq!(node.held().await, names(&old));
    let pass = |days: u64| hand.set(hand.now().after(Duration::from_hours(24 * days)));
    // What is used later than all that is wanted, and wanted no more.
    pass(30);
    let approve = Deciding::Approve { all_files: false };
    for update in &once {
        node.decide(update, approve.clone()).await;
    }
    node.prefetch().await;
    assert_eq!(node.held().await.len(), old.len() + before.len());
    pass(30);
    for update in &once {
        node.decide(update, Deciding::Reset).await;
    }
    for update in &new {
        node.decide(update, approve.clone()).await;
    }
    node.prefetch().await;
    let held = node.held().await;
    let is_held = |files: &BTreeMap<String, u64>| names(files).is_subset(&held);
    let told = format!("{} of {}, {} and {}", held.len(), old.len(), before.len(), later.len());
    assert!(is_held(&old) && is_held(&later), "{told}");
    assert!(!is_held(&before), "{told}");
    assert_eq!(node.prefetch().await, "nothing was missing", "nothing was given up to be fetched again");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_endpoints_asked_for_comes_in_its_next_version() {
    use waystation::base::digest::{Digest, Sha1};
    use waystation::model::name::Name;
    use waystation::model::policy::likeness;
    let sim = sim(Character::Wsus, 24, 600);
    let node = Node::new(&sim, UpstreamKind::Wsus, mode(Mode::Asked));
    node.sync().await;
    assert_eq!(node.plan().await.all.wanted.files, 0, "nobody has asked for anything");
    let catalog = sim.deployable(&json!({}));
    let all = catalog.as_array().unwrap().iter().filter(|update| is_offered(update));
    let names_of = |updates: &mut dyn Iterator<Item = &Value>| {
        let files = updates.flat_map(|update| update["files"].as_array().unwrap().iter().cloned());
        files.map(|file| (file["name"].as_str().unwrap().to_owned(), file)).collect::<Vec<_>>()
    };
    let all = names_of(&mut all.clone());
    let (name, asked) = all.iter().find(|(name, _)| name.ends_with("x64.exe")).unwrap();
    let sha1: Sha1 = asked["sha1"].as_str().unwrap().parse().unwrap();
    node.store.asked(&Name::Digest(Digest::Sha1(sha1)), 1 << 20);
    node.store.asked(&Name::Digest(Digest::Sha1(Sha1::new([9; 20]))), 1 << 20);
    let alike: BTreeSet<String> = all
        .iter()
        .filter(|(other, _)| likeness(other) == likeness(name))
        .map(|(_, file)| file["sha256"].as_str().unwrap().to_owned())
        .collect();
    let plan = node.plan().await;
    assert_eq!(plan.all.wanted.files, alike.len() as u64, "{name}");
    node.prefetch().await;
    assert_eq!(node.held().await, alike);
    node.close().await;
}

/// Waits until `fits` of the node's jobs, the newest first.
async fn until(node: &Node, what: &str, fits: impl Fn(&[waystation::jobs::board::View]) -> bool) {
    let waits = async {
        loop {
            let all: Vec<_> = node.jobs.list().into_iter().filter(|job| job.kind == Kind::Prefetch).collect();
            if fits(&all) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(SOON, waits).await.is_ok(), "{what}: {:?}", node.jobs.list());
}

/// Runs the catalog, which is a cause that nobody is behind, some times, so that the prefetch has made up its mind on the first.
async fn causes(node: &Node) {
    for _ in 0..3 {
        node.sync().await;
        // Counts are made one after the other: behind the one that the cause had.
        node.plan().await;
    }
}

fn gets(sim: &Sim, sha1: &str) -> usize {
    let log = sim.log(20_000);
    let lines = log["lines"].as_array().unwrap();
    lines.iter().filter(|line| line["sha1"] == sha1 && line["method"] == "content-GET").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_match_is_not_fetched_again_by_itself() {
    let sim = sim(Character::Wsus, 23, 400);
    let catalog = sim.deployable(&json!({}));
    let wanted = files(&catalog, critical);
    // The first file that is asked for has other bytes from then on.
    sim.fault(&json!({ "fault": "wrong-digest" })).unwrap();
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Critical));
    node.jobs.keep_house();
    node.sync().await;
    until(&node, "it begins after the run, and ends", |jobs| jobs.iter().any(|job| !job.state.is_running())).await;
    let job = node.jobs.list().into_iter().find(|job| job.kind == Kind::Prefetch).unwrap();
    let told = job.result.clone().unwrap();
    assert_eq!(job.state, State::Failed, "{told}");
    assert!(told.starts_with(&format!("1 of {} failed; 1 of them does not match", wanted.len())), "{told}");
    // Done is what is held.
    assert_eq!((job.progress.done, job.progress.total), (wanted.len() as u64 - 1, Some(wanted.len() as u64)));
    let plan = node.plan().await;
    let [sick] = plan.mismatched.as_slice() else { panic!("{:?}", plan.mismatched) };
    assert!(sick.why.contains("wrong") && plan.now.missing().files == 1, "{sick:?}");
    let sha1 = sick.sha1.to_string();
    let before = gets(&sim, &sha1);
    assert!(before > 0);

    // What happens by itself begins no job for it, and a job that something else began by itself leaves it alone.
    causes(&node).await;
    assert_eq!(node.jobs.list().iter().filter(|job| job.kind == Kind::Prefetch).count(), 1, "{:?}", node.jobs.list());
    let by_itself = |node: &Node| node.jobs.start(Work::Prefetch, "the content policy").unwrap();
    let ended = node.jobs.wait(by_itself(&node), SOON).await.unwrap();
    let told = ended.result.unwrap();
    assert!(ended.state == State::Done && told.contains("1 file that came before does not match"), "{told}");
    assert_eq!(gets(&sim, &sha1), before, "it was left alone");
    // It becomes what it should be: a person has it tried again.
    sim.clear_faults();
    let ended = node.jobs.wait(by_itself(&node), SOON).await.unwrap();
    assert!(ended.result.unwrap().contains("does not match"), "nobody knows that it is well");
    assert_eq!(node.prefetch().await, "1 fetched");
    assert_eq!(node.held().await, names(&wanted));
    assert!(node.plan().await.mismatched.is_empty());
    node.close().await;
}

/// Each file takes so long before its first byte.
fn slow(sim: &Sim, delay: u64) {
    sim.fault(&json!({ "fault": "content-slow", "delay_ms": delay, "count": 10_000 })).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_it_holds_it_until_a_person_wants_it() {
    let sim = sim(Character::Wsus, 21, 900);
    let catalog = sim.deployable(&json!({}));
    let wanted = files(&catalog, critical);
    slow(&sim, 200);
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Critical));
    node.jobs.keep_house();
    node.sync().await;
    until(&node, "it begins", |jobs| jobs.first().is_some_and(|job| job.progress.done > 0)).await;
    // A cause while it runs, which is older than its end.
    node.sync().await;
    let job = node.jobs.stop_prefetch("ada").unwrap().expect("one is under way");
    assert_eq!(node.jobs.wait(job, SOON).await.unwrap().state, State::Stopped);
    assert_eq!(node.jobs.prefetching().stopped.unwrap().by, "ada");
    causes(&node).await;
    let count = |node: &Node| node.jobs.list().iter().filter(|job| job.kind == Kind::Prefetch).count();
    assert_eq!(count(&node), 1, "nothing that happens by itself begins one: {:?}", node.jobs.list());
    assert!(node.held().await.len() < wanted.len());

    // A decision does.
    sim.clear_faults();
    let offered = catalog.as_array().unwrap().iter().find(|update| critical(update)).unwrap();
    node.decide(offered, Deciding::Approve { all_files: false }).await;
    until(&node, "a decision lets go of it", |jobs| jobs.len() == 2 && !jobs[0].state.is_running()).await;
    assert!(node.jobs.prefetching().stopped.is_none());
    assert_eq!(node.held().await, names(&wanted));
    // So does whoever starts one; and it is held where none is under way.
    assert_eq!(node.jobs.stop_prefetch("bob").unwrap(), None);
    assert_eq!(node.jobs.prefetching().stopped.unwrap().by, "bob");
    node.prefetch().await;
    assert!(node.jobs.prefetching().stopped.is_none());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_began_and_failed_is_tried_again_by_itself() {
    let sim = sim(Character::Wsus, 23, 400);
    let wanted = files(&sim.deployable(&json!({})), critical);
    let config = jobs::Config {
        prefetch_rest: Duration::from_millis(1),
        prefetch_later: Duration::from_secs(2),
        ..jobs::Config::default()
    };
    let (dir, clock) = (Arc::new(tempfile::tempdir().unwrap()), Arc::new(SystemClock));
    let node = Node::by(dir, &sim, UpstreamKind::Wsus, by_severity(Severity::Critical), 1 << 40, clock, config);
    node.jobs.keep_house();
    // So that the person is the first who begins one.
    node.jobs.stop_prefetch("ada").unwrap();
    causes(&node).await;
    assert_eq!(node.jobs.prefetching().next, None);
    sim.fault(&json!({ "fault": "content-404", "count": 10_000 })).unwrap();
    let ended = node.job(Work::Prefetch).await;
    assert_eq!(ended.state, State::Failed, "{:?}", ended.result);
    until(&node, "it says when it is tried again", |_| node.jobs.prefetching().next.is_some()).await;
    sim.clear_faults();
    let is_again = |jobs: &[waystation::jobs::board::View]| {
        jobs.first().is_some_and(|job| job.by == "the content policy" && !job.state.is_running())
    };
    until(&node, "the time begins another one", is_again).await;
    assert_eq!(node.held().await, names(&wanted));
    until(&node, "nothing is put off any more", |_| node.jobs.prefetching().next.is_none()).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cause_that_a_job_has_seen_begins_no_other() {
    let sim = sim(Character::Wsus, 23, 400);
    sim.fault(&json!({ "fault": "content-404" })).unwrap();
    slow(&sim, 100);
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Critical));
    node.jobs.keep_house();
    node.sync().await;
    until(&node, "it begins", |jobs| jobs.first().is_some_and(|job| job.progress.done > 0)).await;
    node.sync().await;
    until(&node, "it ends", |jobs| jobs.iter().any(|job| !job.state.is_running())).await;
    // What is left undone is tried by the next cause, and had it been tried before that, there were one more.
    node.sync().await;
    until(&node, "the next one ends", |jobs| jobs.len() >= 2 && jobs.iter().all(|job| !job.state.is_running())).await;
    let count = node.jobs.list().iter().filter(|job| job.kind == Kind::Prefetch).count();
    assert_eq!(count, 2, "{:?}", node.jobs.list());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_on_the_way_are_part_of_one_job_whose_sums_add_up() {
    let sim = sim(Character::Wsus, 21, 900);
    let catalog = sim.deployable(&json!({}));
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Critical));
    node.sync().await;
    let mut wanted = files(&catalog, critical);
    // One does not come, whatever is decided; all of them are slow.
    sim.fault(&json!({ "fault": "content-404" })).unwrap();
    slow(&sim, 100);
    let job = node.jobs.start(Work::Prefetch, "a test").unwrap();
    until(&node, "the first ones come", |jobs| jobs[0].progress.done > 0).await;
    let has_files = |update: &&Value| {
        is_offered(update)
            && !is(update, "parts")
            && update["severity"] != "critical"
            && !update["files"].as_array().unwrap().is_empty()
    };
    let more: Vec<&Value> = catalog.as_array().unwrap().iter().filter(has_files).take(6).collect();
    for one in &more {
        let done = node.jobs.get(job).unwrap().progress.done;
        node.decide(one, Deciding::Approve { all_files: false }).await;
        wanted.extend(files(&json!([one]), |_| true));
        until(&node, "more come", |jobs| jobs[0].progress.done > done || !jobs[0].state.is_running()).await;
    }
    let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
    let all = wanted.len() as u64;
    assert_eq!(ended.result.unwrap(), format!("1 of {all} failed"));
    assert_eq!((ended.progress.done, ended.progress.total), (all - 1, Some(all)));
    let failed = ended.lines.iter().filter(|line| line.step == waystation::jobs::board::Step::Failed).count();
    assert_eq!((failed, ended.lines.len() as u64), (1, all), "each file once, what failed too");
    assert_eq!(node.held().await.len() as u64, all - 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_endpoints_ask_for_while_a_prefetch_runs_is_kept() {
    use waystation::base::digest::{Digest, Sha1};
    use waystation::model::name::Name;
    use waystation::model::policy::likeness;
    let sim = sim(Character::Wsus, 24, 600);
    let config = jobs::Config { keep_asked_every: Duration::from_millis(20), ..jobs::Config::default() };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let clock = Arc::new(SystemClock);
    let node = Node::by(dir, &sim, UpstreamKind::Wsus, mode(Mode::Asked), 1 << 40, clock, config);
    node.sync().await;
    slow(&sim, 300);
    let catalog = sim.deployable(&json!({}));
    let offered = catalog.as_array().unwrap().iter().filter(|update| is_offered(update));
    // What it is like -> SHA-1 of one, and SHA-256 of all.
    let mut like = BTreeMap::<String, (Sha1, BTreeSet<String>)>::new();
    for file in offered.flat_map(|update| update["files"].as_array().unwrap()) {
        let text = |key: &str| file[key].as_str().unwrap();
        let all = like.entry(likeness(text("name"))).or_insert((text("sha1").parse().unwrap(), BTreeSet::new()));
        all.1.insert(text("sha256").to_owned());
    }
    let mut like: Vec<_> = like.into_values().filter(|(_, all)| all.len() > 4).collect();
    like.sort_by_key(|(_, all)| all.len());
    let [(first, some), (second, others), ..] = like.as_slice() else { panic!("{}", like.len()) };
    node.store.asked(&Name::Digest(Digest::Sha1(*first)), 1 << 20);
    node.jobs.keep_house();
    until(&node, "it begins", |jobs| jobs.first().is_some_and(|job| job.progress.done > 0)).await;
    node.store.asked(&Name::Digest(Digest::Sha1(*second)), 1 << 20);
    until(&node, "it ends", |jobs| jobs.iter().any(|job| !job.state.is_running())).await;
    let job = node.jobs.list().into_iter().rfind(|job| job.kind == Kind::Prefetch).unwrap();
    let both: BTreeSet<String> = some.union(others).cloned().collect();
    assert_eq!(job.result.unwrap(), format!("{} fetched", both.len()));
    assert_eq!(node.held().await, both);
    node.close().await;
}

/// The files that are wanted after a run are counted when it has given the turn back, and another run may have begun by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_after_a_run_is_written_to_that_run() {
    let sim = sim(Character::Wsus, 30, 300);
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Critical));
    let job = node.jobs.start(Work::Sync, "a test").unwrap();
    let begun = async {
        while node.store.catalog().runs(None, 1).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, begun).await.unwrap();
    // Takes the turn as soon as it is free, long before a plan is made.
    let runner = node.runner.clone();
    let next = tokio::spawn(async move {
        let cancel = CancellationToken::new();
        loop {
            match runner.run(&cancel).await {
                Err(waystation::sync::error::Error::Running) => tokio::task::yield_now().await,
                ended => break ended,
            }
        }
    });
    let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Done, "{:?}", ended.result);
    timeout(SOON, next).await.unwrap().unwrap().unwrap();
    let runs = node.store.catalog().runs(None, 10).await.unwrap();
    let wanted: Vec<_> = runs.iter().map(|run| run.wanted).collect();
    let plan = node.plan().await;
    assert_eq!(wanted, [None, Some((plan.now.wanted.files, plan.now.wanted.bytes))], "the newest first");
    assert!(plan.now.wanted.files > 0);
    node.close().await;
}

/// A node whose runs of the catalog go by this clock.
fn by_hand(dir: Arc<TempDir>, sim: &Sim, hand: &Arc<HandClock>, run_if_missed: bool) -> Node {
    let sync = Schedule { zone: "UTC".to_owned(), jitter_minutes: 0, run_if_missed, ..Schedule::default() };
    let config = jobs::Config { sync, ..jobs::Config::default() };
    let clock = Arc::clone(hand) as Arc<dyn Clock>;
    Node::by(dir, sim, UpstreamKind::Wsus, mode(Mode::Approved), 1 << 40, clock, config)
}

/// Begins the housekeeping, and waits for the run that the schedule starts.
async fn by_the_clock(node: &Node) {
    node.jobs.keep_house();
    let begun = async {
        while !node.jobs.list().iter().any(|job| job.kind == Kind::Sync && job.by == "the schedule") {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, begun).await.expect("the schedule starts a run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dated_in_the_future_does_not_stop_the_schedule() {
    let sim = sim(Character::Wsus, 24, 60);
    // 2036 and 2026-01-05, at 09:00.
    let (future, now) = (Timestamp::from_ms(2_083_050_000_000), Timestamp::from_ms(1_767_603_600_000));
    let hand = HandClock::at(future.ms());
    // The clock is set right while the node runs.
    let node = by_hand(Arc::new(tempfile::tempdir().unwrap()), &sim, &hand, true);
    node.sync().await;
    hand.set(now);
    let next = node.jobs.sync_state().await.unwrap().next.unwrap();
    assert_eq!(next.to_string(), "2026-01-06T02:00:00Z");
    hand.set(next.after(Duration::from_secs(30)));
    assert_eq!(node.jobs.sync_state().await.unwrap().next, Some(hand.now()), "it is due");
    by_the_clock(&node).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_came_to_nothing_is_made_up_for() {
    let sim = sim(Character::Wsus, 25, 60);
    let now = Timestamp::from_ms(1_767_603_600_000);
    let hand = HandClock::at(now.ms());
    let node = by_hand(Arc::new(tempfile::tempdir().unwrap()), &sim, &hand, true);
    sim.fault(&json!({ "fault": "server-busy", "count": 1_000 })).unwrap();
    assert_eq!(node.job(Work::Sync).await.state, State::Failed);
    let next = |node: &Node| {
        let jobs = node.jobs.clone();
        async move { jobs.sync_state().await.unwrap().next.unwrap() }
    };
    assert_eq!(next(&node).await, now.after(Duration::from_mins(15)));
    // The node ends in the middle of a run: that was nobody's wish.
    sim.clear_faults();
    sim.fault(&json!({ "fault": "slow", "delay_ms": 60_000, "count": 1_000 })).unwrap();
    let job = node.jobs.start(Work::Sync, "a test").unwrap();
    let is_under_way = async {
        while node.jobs.sync_history(None, 1).await.unwrap()[0].ended.is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, is_under_way).await.unwrap();
    assert_eq!(
        next(&node).await.to_string(),
        "2026-01-06T02:00:00Z",
        "while job {job} runs, the next one is tomorrow's"
    );
    let dir = node.close().await;
    sim.clear_faults();
    let node = by_hand(dir, &sim, &hand, true);
    hand.set(now.after(Duration::from_mins(90)));
    let run = node.jobs.sync_history(None, 1).await.unwrap().remove(0);
    assert!(run.note.again, "{run:?}");
    by_the_clock(&node).await;
    let dir = node.close().await;
    // Whoever stops one means it; what the settings are to blame for is not tried again, and nothing is where nobody wants it.
    let node = by_hand(dir, &sim, &hand, true);
    sim.fault(&json!({ "fault": "slow", "delay_ms": 60_000, "count": 1_000 })).unwrap();
    let job = node.jobs.start(Work::Sync, "a test").unwrap();
    timeout(SOON, async {
        while node.jobs.sync_history(None, 1).await.unwrap()[0].ended.is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    node.jobs.stop(job, "ada").unwrap();
    timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap();
    assert_eq!(next(&node).await.to_string(), "2026-01-06T02:00:00Z");
    // At once, too, before the run has begun.
    let before = node.jobs.sync_history(None, 1).await.unwrap()[0].id;
    let job = node.jobs.start(Work::Sync, "a test").unwrap();
    node.jobs.stop(job, "grace").unwrap();
    let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Stopped, "{:?}", ended.result);
    let run = node.jobs.sync_history(None, 1).await.unwrap().remove(0);
    assert!(run.id == before + 1 && run.reason.starts_with("stopped by grace;") && !run.note.again, "{run:?}");
    assert_eq!(next(&node).await.to_string(), "2026-01-06T02:00:00Z", "nobody begins it again");
    node.close().await;
}
