//! What established endpoints report as missing comes by itself, within a day's budget, and above a size after a yes.

use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::told::{Told, What};
use waystation::fleet::registry::{Admission, Registered, Registry};
use waystation::jobs::drawn::{Confirmed, Draws};
use waystation::model::compliance::State as Stands;
use waystation::model::deployment::detection;
use waystation::model::deployment::{Action, Endpoint, Said, Target};
use waystation::model::drawn::{Terms, Turn};
use waystation::model::policy::Group;
use waystation::store::approvals::Saying;
use waystation::store::fleet::{Bios, Os, Registration};

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn id_of(update: &Value) -> UpdateId {
    update["id"].as_str().unwrap().parse().unwrap()
}

fn size_of(update: &Value) -> u64 {
    files(&json!([update]), |_| true).values().sum()
}

fn endpoint(of: u8) -> Endpoint {
    Endpoint(UpdateId::new([of; 16]))
}

/// A node at a time that stands, with reports.
struct Site {
    node: Node,
    reports: Compliance,
    clock: Arc<HandClock>,
    terms: Arc<Mutex<Terms>>,
}

impl Site {
    fn on(dir: Arc<TempDir>, sim: &Sim, clock: Arc<HandClock>, terms: Arc<Mutex<Terms>>) -> Self {
        Self::detecting(dir, sim, clock, terms, detection::Written::default())
    }

    fn detecting(
        dir: Arc<TempDir>,
        sim: &Sim,
        clock: Arc<HandClock>,
        terms: Arc<Mutex<Terms>>,
        detection: detection::Written,
    ) -> Self {
        let asked = Arc::clone(&terms);
        let drawn = Draws(Arc::new(move || *asked.lock().unwrap()));
        let config = jobs::Config { drawn, detection, ..jobs::Config::default() };
        let policy = mode(Mode::Approved);
        let node = Node::by(dir, sim, UpstreamKind::Wsus, policy, 1 << 40, clock.clone(), config);
        let reports = Compliance::new(&node.store);
        node.jobs.judge_by(reports.clone());
        Self { node, reports, clock, terms }
    }

    async fn restarted(self, sim: &Sim) -> Self {
        let dir = self.node.close().await;
        Self::on(dir, sim, self.clock, self.terms)
    }

    async fn register(&self, of: u8) {
        let told = Registration {
            endpoint: endpoint(of),
            name: format!("pc{of}.example"),
            os: Os::default(),
            maker: String::new(),
            model: String::new(),
            bios: Bios::default(),
            architecture: String::new(),
            client_version: String::new(),
            targets: vec![],
            address: "127.0.0.1".parse().unwrap(),
            at: self.clock.now(),
        };
        let registry = Registry::new(self.node.store.fleet(), Admission::default());
        assert_eq!(registry.registered(told).await.unwrap(), Registered::Accepted);
    }

    /// An endpoint reports that it misses these.
    async fn misses(&self, of: u8, updates: &[&Value]) {
        let at = u32::try_from(self.clock.now().ms() / 1000).unwrap();
        let all = updates.iter().map(|update| (id_of(update), Stands::NotInstalled)).collect::<BTreeMap<_, _>>().into();
        self.reports.report(endpoint(of), vec![Told { at, what: What::Snapshot(all) }]).await.unwrap();
        self.node.store.fleet().keep_states().await.unwrap();
    }

    async fn turns(&self) -> BTreeMap<UpdateId, Turn> {
        let standing = self.node.jobs.look_at_missing().await.unwrap().unwrap();
        standing.lines.iter().map(|line| (line.candidate.update, line.turn)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_established_endpoints_miss_comes_within_the_day_and_what_is_large_after_a_yes() {
    let sim = sim(Character::Wsus, 31, 900);
    let clock = HandClock::at(1_800_000_000_000);
    let terms = Arc::new(Mutex::new(Terms::default()));
    let site = Site::on(Arc::new(tempfile::tempdir().unwrap()), &sim, clock.clone(), terms.clone());
    site.node.sync().await;
    let catalog = sim.deployable(&json!({}));
    let all = catalog.as_array().unwrap();
    // Of files that none of the others has, the smallest first.
    let mut seen = BTreeSet::new();
    let mut rated: Vec<&Value> = all.iter().filter(|one| is_offered(one) && !is(one, "parts")).collect();
    rated.retain(|one| {
        size_of(one) > 0 && names(&files(&json!([one]), |_| true)).into_iter().all(|name| seen.insert(name))
    });
    rated.sort_by_key(|one| (size_of(one), id_of(one)));
    let (critical, others): (Vec<&Value>, Vec<&Value>) =
        rated.into_iter().partition(|one| one["severity"] == "critical");
    let [first, second, third, .., large] = critical.as_slice() else { panic!("{}", critical.len()) };
    let low = others.iter().find(|one| one["severity"] == "moderate" || one["severity"] == "low").unwrap();
    assert!(size_of(large) > size_of(third));
    let held = |updates: &[&Value]| names(&files(&json!(updates), |_| true));

    site.register(1).await;
    site.misses(1, &[first, second, large, low]).await;
    assert_eq!(site.node.jobs.look_at_missing().await.unwrap(), None, "nobody has asked for it");
    *terms.lock().unwrap() = Terms {
        least: Some(Severity::Critical),
        daily: size_of(first) + size_of(second) - 1,
        ask_above: size_of(third),
    };
    clock.advance(6 * DAY);
    assert_eq!(site.turns().await, BTreeMap::new(), "it was first seen six days ago");
    site.node.prefetch().await;
    assert!(site.node.held().await.is_empty());

    // It is established by now; another one is new, and alone in missing something.
    clock.advance(DAY);
    site.register(2).await;
    site.misses(2, &[third]).await;
    let turns = site.turns().await;
    assert_eq!(turns.keys().copied().collect::<BTreeSet<_>>(), [first, second, large].map(|one| id_of(one)).into());
    assert_eq!(turns[&id_of(large)], Turn::WaitsForYes);
    let (comes, waits) = if turns[&id_of(first)] == Turn::Comes { (first, second) } else { (second, first) };
    assert_eq!((turns[&id_of(comes)], turns[&id_of(waits)]), (Turn::Comes, Turn::WaitsForBudget));
    site.node.prefetch().await;
    assert_eq!(site.node.held().await, held(&[comes]));

    // A restart gives no second budget for the day.
    let site = site.restarted(&sim).await;
    assert_eq!(site.turns().await[&id_of(waits)], Turn::WaitsForBudget);
    site.node.prefetch().await;
    assert_eq!(site.node.held().await, held(&[comes]));
    clock.advance(DAY);
    assert_eq!(site.turns().await[&id_of(waits)], Turn::Comes);
    site.node.prefetch().await;
    assert_eq!(site.node.held().await, held(&[comes, waits]));

    // Larger than what was shown is not agreed to; what waits for nobody is not either.
    let (update, bytes) = (id_of(large), size_of(large));
    let larger = site.node.jobs.confirm_drawn(update, bytes - 1, "ada").await.unwrap();
    assert!(matches!(larger, Confirmed::Larger(_)), "{larger:?}");
    assert_eq!(site.node.jobs.confirm_drawn(id_of(low), u64::MAX, "ada").await.unwrap(), Confirmed::NotAwaited);
    assert_eq!(site.turns().await[&update], Turn::WaitsForYes);
    // By itself from here on.
    site.node.jobs.keep_house();
    let Confirmed::Agreed(line) = site.node.jobs.confirm_drawn(update, bytes, "ada").await.unwrap() else { panic!() };
    assert_eq!((line.turn, line.agreed.unwrap().by.as_str()), (Turn::Comes, "ada"));
    let all_of_it = held(&[comes, waits, large]);
    let came = async {
        while site.node.held().await != all_of_it {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, came).await.expect("it comes by itself");

    // Declined, or out of the filters' or anybody's mind: nothing is wanted of it any more.
    site.node.decide(comes, Deciding::Decline).await;
    site.reports.look_now(|_| ()).await.unwrap();
    assert_eq!(site.turns().await.get(&id_of(comes)), None);
    site.terms.lock().unwrap().least = None;
    assert_eq!(site.node.jobs.look_at_missing().await.unwrap(), None);
    assert_eq!(site.node.plan().await.all.wanted.files, 0, "switched off, nothing is wanted for this reason");
    site.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_scans_do_not_bring_is_missed_by_nobody() {
    let sim = sim(Character::Wsus, 31, 900);
    let clock = HandClock::at(1_800_000_000_000);
    let terms = Terms { least: Some(Severity::Critical), daily: u64::MAX, ask_above: u64::MAX };
    // One classification of those that critical updates have.
    let all = sim.deployable(&json!({}));
    let of = |one: &Value| one["classification"].as_str().unwrap_or_default().to_owned();
    let mut rated = all.as_array().unwrap().iter();
    let mut rated: Vec<&Value> = rated
        .by_ref()
        .filter(|one| is_offered(one) && !is(one, "parts") && one["severity"] == "critical" && size_of(one) > 0)
        .collect();
    rated.sort_by_key(|one| id_of(one));
    let detected = of(rated[0]);
    let (within, beyond): (Vec<&Value>, Vec<&Value>) = rated.into_iter().partition(|one| of(one) == detected);
    let ordered = *beyond.first().unwrap_or_else(|| panic!("all are {detected}"));
    let detection = detection::Written { classifications: vec![detected], ..detection::Written::default() };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let site = Site::detecting(dir, &sim, clock.clone(), Arc::new(Mutex::new(terms)), detection);
    site.node.sync().await;
    site.register(1).await;
    let missing: Vec<&Value> = within.iter().chain(&beyond).copied().collect();
    site.misses(1, &missing).await;
    clock.advance(8 * DAY);
    let superseded = |one: &&Value| one["superseded"] == true;
    let wanted: BTreeSet<UpdateId> = within.iter().filter(|one| !superseded(one)).map(|one| id_of(one)).collect();
    assert_eq!(site.turns().await.into_keys().collect::<BTreeSet<_>>(), wanted);

    // Somebody has it looked for on all: scans bring it now, whatever is detected by itself.
    let said = Said::Do { action: Action::PreDeploymentCheck, deadline: None };
    let saying = Saying {
        updates: vec![id_of(ordered)],
        targets: vec![Target::Group(Group::ALL_ENDPOINTS)],
        said,
        all_files: false,
        by: "ada".into(),
        why: String::new(),
    };
    site.node.store.approvals().say(saying).await.unwrap();
    let more = wanted.into_iter().chain([id_of(ordered)]).collect::<BTreeSet<_>>();
    assert_eq!(site.turns().await.into_keys().collect::<BTreeSet<_>>(), more);
    site.node.close().await;
}
