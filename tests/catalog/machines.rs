//! Simulated upstream, node, simulated agents: each machine comes to exactly what an evaluation of the upstream's own documents says that
//! it needs, whatever people decide and a month brings, and installs what it was told to. `tools/e2e` does the same with a thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use endpoint_sim::{Common, Crowd, Expected, Guid, Plan, Server, differs};
use serde_json::{Value, json};
use tokio::time::timeout;
use upstream_sim::{Character, Options, Sim};
use waystation::base::time::{Clock, SystemClock};
use waystation::fleet::registry::Admission;
use waystation::jobs::{self, Jobs};
use waystation::model::deployment::rules::{Ring, Rule, Stop, Takes};
use waystation::model::group::{Level, Node as Entry};
use waystation::model::policy::Group;
use waystation::model::update::UpdateId;
use waystation::serve::client::Config;
use waystation::store::approvals::Change;
use waystation::store::catalog::Deciding;

use crate::endpoints::{Node, serve};
use crate::hand_clock::HandClock;

const SOON: Duration = Duration::from_mins(2);

/// What people decided.
#[derive(Default)]
struct Decided {
    approved: BTreeSet<Guid>,
    declined: BTreeSet<Guid>,
}

fn software(sim: &Sim) -> Vec<Value> {
    let all = sim.deployable(&json!({}));
    all.as_array().unwrap().iter().filter(|update| !update["kb"].is_null()).cloned().collect()
}

fn guid(update: &Value) -> Guid {
    Guid::read(update["id"].as_str().unwrap()).unwrap()
}

/// What machines are asked about by the upstream's data and what was decided, and what of it is to be installed. Licences keep an update
/// from being installed.
fn expected(sim: &Sim, decided: &Decided) -> (Expected, BTreeSet<Guid>) {
    let (mut scope, mut install) = (BTreeSet::new(), BTreeSet::new());
    for update in software(sim) {
        let id = guid(&update);
        let is_approved = decided.approved.contains(&id);
        let is_gone = update["expired"] == true || decided.declined.contains(&id);
        if is_gone || update["superseded"] == true && !is_approved {
            continue;
        }
        scope.insert(id);
        if is_approved && update["licence"] == false {
            install.insert(id);
        }
    }
    (Expected::read(sim, &json!({})).unwrap().scoped(scope), install)
}

/// All scan, and each has come to what it should: the first one asks until it is told, and then all others are.
async fn settle(crowd: &mut Crowd, sim: &Sim, decided: &Decided) {
    let (expected, install) = expected(sim, decided);
    come_to(crowd, &expected, &install).await;
}

/// The same with what they should come to.
async fn come_to(crowd: &mut Crowd, expected: &Expected, install: &BTreeSet<Guid>) {
    let probe = crowd.agents().first_mut().unwrap();
    let mut last = None;
    let told = timeout(SOON, async {
        loop {
            let scan = probe.scan().await.unwrap();
            last = differs(probe, &scan, expected, install);
            if last.is_none() {
                break;
            }
        }
    });
    assert!(told.await.is_ok(), "{last:?}");
    let scans = crowd.scan().await.unwrap();
    crowd.check(&scans, expected, install).unwrap();
    let again = crowd.scan().await.unwrap();
    crowd.check(&again, expected, install).unwrap();
    assert!(
        again.iter().all(|scan| (scan.new, scan.gone, scan.changed, scan.rounds, scan.recovered) == (0, 0, 0, 2, 0))
    );
}

async fn decide(node: &Node, ids: &[Guid], deciding: Deciding) {
    let ids: Vec<UpdateId> = ids.iter().map(|id| id.to_string().parse().unwrap()).collect();
    node.store.catalog().decide(ids, deciding, "kim".into(), "for a test".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_machine_comes_to_what_it_should_need() {
    // Files of up to 12 MiB, so that most are fetched in several ranges.
    let options = Options {
        character: Character::Wsus,
        seed: 11,
        updates: 300,
        file_scale: 6.0,
        eager: true,
        ..Options::default()
    };
    let sim = Sim::start(options).unwrap();
    let node = Node::below(&sim).await;
    let listening = node.listen(|_| ()).await;
    let server = Server::find(&format!("http://{}", listening.addresses()[0]), None).unwrap();
    let plan = Plan { machines: 50, seed: 7, at_once: 16, ..Plan::default() };
    let mut crowd = Crowd::new(&server, &plan, &Common::default());
    let mut decided = Decided::default();
    settle(&mut crowd, &sim, &decided).await;

    let open: Vec<Value> = software(&sim)
        .into_iter()
        .filter(|update| update["expired"] == false && update["superseded"] == false)
        .collect();
    let ids: Vec<Guid> = open.iter().map(guid).collect();
    let licensed: Vec<Guid> = open.iter().filter(|update| update["licence"] == true).map(guid).collect();
    assert!(ids.len() > 30 && !licensed.is_empty(), "{} updates, {} with a licence", ids.len(), licensed.len());
    let (mut approved, declined) = (ids[..8].to_vec(), ids[8..16].to_vec());
    approved.extend(licensed.iter().filter(|id| !declined.contains(id)).take(1));
    decide(&node, &approved, Deciding::Approve { all_files: false }).await;
    decide(&node, &declined, Deciding::Decline).await;
    decided.approved.extend(&approved);
    decided.declined.extend(&declined);
    settle(&mut crowd, &sim, &decided).await;

    // Some install: ranges in any order, both digests, over the node, which fetches what it does not have.
    let some = Plan { machines: 6, seed: 8, at_once: 3, ..plan.clone() };
    let mut some = Crowd::new(&server, &some, &Common::default());
    settle(&mut some, &sim, &decided).await;
    let done = timeout(SOON, some.install()).await.unwrap();
    let failed: Vec<_> = done.iter().flat_map(|done| &done.failed).collect();
    assert!(failed.iter().all(|(_, why)| why.contains("this machine's seed")), "{failed:?}");
    let bytes: u64 = done.iter().map(|done| done.bytes).sum();
    let files: u64 = done.iter().map(|done| done.files).sum();
    assert!(done.iter().any(|done| done.installed > 0) && bytes > files << 20, "{files} files of {bytes} bytes");
    some.agents().iter_mut().for_each(endpoint_sim::Agent::restart);
    settle(&mut some, &sim, &decided).await;
    assert!(some.report().await.unwrap() > 20);

    // Other decisions, and a month: new updates and revisions, some withdrawn, some superseded. What was approved is approved again.
    let (back, turned) = (approved[0], declined[0]);
    decide(&node, &[back], Deciding::Reset).await;
    decide(&node, &[turned], Deciding::Approve { all_files: false }).await;
    decided.approved.remove(&back);
    decided.declined.remove(&turned);
    decided.approved.insert(turned);
    let before = expected(&sim, &decided).0.scope().clone();
    sim.advance(1);
    node.sync(&sim).await;
    let again: Vec<Guid> = decided.approved.iter().copied().collect();
    decide(&node, &again, Deciding::Approve { all_files: false }).await;
    let after = expected(&sim, &decided).0.scope().clone();
    assert!(before.difference(&after).count() > 0 && after.difference(&before).count() > 0);
    settle(&mut crowd, &sim, &decided).await;
    listening.drain(SOON).await;
    node.close().await;
}

/// What a rule that names no classification takes, by the upstream's own data; and what of it needs a licence.
fn taken(sim: &Sim) -> (BTreeSet<Guid>, BTreeSet<Guid>) {
    let is_taken = |update: &&Value| {
        update["expired"] == false && update["superseded"] == false && update["classification"] != "Upgrades"
    };
    let all: Vec<Value> = software(sim);
    let taken: Vec<&Value> = all.iter().filter(is_taken).collect();
    let licensed = taken.iter().filter(|update| update["licence"] == true).map(|update| guid(update)).collect();
    (taken.into_iter().map(guid).collect(), licensed)
}

/// What the rule goes no further with.
const STOP: Stop = Stop { percent: 5, sample: 10 };

/// What that holds for, by what the machines themselves know: what they had `before` it was offered says nothing of it. All have tried
/// what they need, so that one that fewer than a sample need is judged by all of these.
fn bad(pilot: &mut Crowd, before: &[BTreeSet<Guid>]) -> BTreeSet<Guid> {
    let mut tried: BTreeMap<Guid, (u32, u32)> = BTreeMap::new();
    for (agent, before) in pilot.agents().iter_mut().zip(before) {
        for update in agent.verdict().installed.difference(before) {
            tried.entry(*update).or_default().0 += 1;
        }
        for update in agent.failed() {
            tried.entry(*update).or_default().1 += 1;
        }
    }
    let is_bad = |installed: u32, failed: u32| failed * 100 > u32::from(STOP.percent) * (installed + failed);
    tried.into_iter().filter(|(_, (installed, failed))| is_bad(*installed, *failed)).map(|(update, _)| update).collect()
}

/// Runs the rules, and says what came of it.
async fn rules(jobs: &Jobs) -> String {
    let view = jobs.run_rules(None, "kim").await.unwrap();
    assert_eq!(view.state.word(), "done", "{view:?}");
    view.result.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_bring_ring_after_ring_what_did_not_fail() {
    let options = Options {
        character: Character::Wsus,
        seed: 13,
        updates: 160,
        file_scale: 0.001,
        eager: true,
        ..Options::default()
    };
    let sim = Sim::start(options).unwrap();
    let node = Node::below(&sim).await;
    let pilots = Group(UpdateId::new([7; 16]));
    let entry = Entry {
        id: pilots,
        name: "Pilot".into(),
        level: Level::Group,
        parent: Group::ALL_ENDPOINTS,
        is_test: false,
        asks_review: false,
        rules: vec![],
    };
    node.store.approvals().change(Change::Add(entry), "kim".into()).await.unwrap();
    // The node has the rules' clock, and moves what machines tell by theirs to it.
    let clock = HandClock::at(SystemClock.now().ms());
    let registry = node.registry(Admission::default()).await;
    let listening = serve(node.face_by(Config::default(), registry, clock.clone()).await);
    let server = Server::find(&format!("http://{}", listening.addresses()[0]), None).unwrap();
    let plan = Plan { machines: 300, seed: 31, at_once: 16, ..Plan::default() };
    let mut common = Common::default();
    common.group = Some("Pilot".into());
    let mut pilot = Crowd::new(&server, &plan, &common);
    let mut rest = Crowd::new(&server, &Plan { machines: 700, seed: 32, ..plan.clone() }, &Common::default());
    let (expected, _) = expected(&sim, &Decided::default());
    let none = BTreeSet::new();
    come_to(&mut pilot, &expected, &none).await;
    come_to(&mut rest, &expected, &none).await;
    // What they have is known before anything is approved: what is told first afterwards would count as tried.
    pilot.report().await.unwrap();
    rest.report().await.unwrap();

    // The machines have been there for more than a week.
    clock.advance(Duration::from_hours(24 * 8));
    let jobs = Jobs::offline(jobs::Config::default(), node.store.clone(), clock.clone());
    let rule = Rule {
        name: "All".into(),
        enabled: true,
        takes: Takes::default(),
        rings: vec![Ring { target: pilots, after: 0 }, Ring { target: Group::ALL_ENDPOINTS, after: 7 }],
        stop: Some(STOP),
        deadline: None,
    };
    let kept = node.store.rules().add(rule, "kim".into()).await.unwrap();
    let (taken, licensed) = taken(&sim);
    assert!(taken.len() > 30 && !licensed.is_empty(), "{} updates, {} with a licence", taken.len(), licensed.len());
    assert_eq!(rules(&jobs).await, format!("{} approvals", taken.len()));
    assert_eq!(rules(&jobs).await, "nothing was due");
    let free: BTreeSet<Guid> = taken.difference(&licensed).copied().collect();
    come_to(&mut pilot, &expected, &free).await;
    come_to(&mut rest, &expected, &none).await;

    // The pilots install, some of it fails, and they tell: all of it well after the approval, as far as clocks of machines tell.
    clock.advance(Duration::from_hours(1));
    let before: Vec<BTreeSet<Guid>> = pilot.agents().iter_mut().map(|agent| agent.verdict().installed).collect();
    let done = timeout(SOON, pilot.install()).await.unwrap();
    let failed: BTreeSet<Guid> = done.iter().flat_map(|done| &done.failed).map(|(id, _)| *id).collect();
    // Whether they restart first makes no difference: what waits for that went well.
    pilot.agents().iter_mut().step_by(2).for_each(endpoint_sim::Agent::restart);
    pilot.scan().await.unwrap();
    pilot.report().await.unwrap();
    let stopped = bad(&mut pilot, &before);
    assert!(!stopped.is_empty() && stopped.is_subset(&failed), "{} failed, {} stop", failed.len(), stopped.len());
    assert!(stopped.len() < failed.len() && failed.len() <= free.len(), "a failure or two stop nothing");
    clock.advance(Duration::from_hours(24 * 7));
    let good: BTreeSet<Guid> = free.difference(&stopped).copied().collect();
    assert_eq!(rules(&jobs).await, format!("{} approvals; {} stopped by failures", good.len(), stopped.len()));
    assert_eq!(rules(&jobs).await, "nothing was due");
    come_to(&mut rest, &expected, &good).await;

    // Somebody says that it goes on; what waits for a licence does not.
    let resumed = jobs.resume_rule(&kept, BTreeSet::new(), "kim").await.unwrap();
    let resumed: BTreeSet<String> = resumed.stopped.iter().map(ToString::to_string).collect();
    assert_eq!(resumed, stopped.iter().map(ToString::to_string).collect());
    assert_eq!(rules(&jobs).await, format!("{} approvals", stopped.len()));
    come_to(&mut rest, &expected, &free).await;
    jobs.close().await;
    listening.drain(SOON).await;
    node.close().await;
}
