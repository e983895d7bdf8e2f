//! Files of definition updates beside all others: each in a class of bandwidth of its own; and filters that change on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Sim};
use waystation::base::digest::Sha256;
use waystation::base::time::{Clock, SystemClock};
use waystation::jobs;
use waystation::jobs::board::{Line, State, Step};
use waystation::jobs::work::Work;
use waystation::model::policy::Mode;
use waystation::model::schedule::{Definitions, Schedule};
use waystation::model::update::{File, Kind, Severity, Update};
use waystation::pace::{self, Class};
use waystation::store::catalog::{Deciding, Outcome, RunKind, UpstreamKind};

use crate::hand_clock::HandClock;
use crate::made_catalog;
use crate::policy::{Node, SOON, by_severity, files, is, is_offered, mode, names, sim};

/// The node's governor at work, with this class paused; what ends it.
pub(crate) async fn pause(node: &Node, class: Class) -> (CancellationToken, JoinHandle<()>) {
    let (stop, governor) = (CancellationToken::new(), node.governor.clone());
    let governing = tokio::spawn(governor.run(stop.clone()));
    node.governor.set_config(pace::Config::default().with(class, &["paused"]).unwrap());
    while !node.governor.is_paused(class) {
        tokio::task::yield_now().await;
    }
    (stop, governing)
}

/// Those that are fetched whole, of this classification or of all others.
fn wanted(sim: &Sim, definitions: bool) -> BTreeMap<String, u64> {
    let is_one = |update: &Value| update["classification"] == "Definition Updates";
    let catalog = sim.deployable(&json!({}));
    files(&catalog, |update| is_offered(update) && !is(update, "parts") && is_one(update) == definitions)
}

async fn until_held(node: &Node, what: &str, fits: impl Fn(&BTreeSet<String>) -> bool) {
    let waits = async {
        while !fits(&node.held().await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SOON, waits).await.is_ok(), "{what}: {:?}", node.jobs.list());
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_come_while_all_else_is_paused_and_the_other_way_round() {
    for held_up in [Class::Prefetch, Class::Definitions] {
        let sim = sim(Character::Wsus, 26, 400);
        let node = Node::new(&sim, UpstreamKind::Wsus, mode(Mode::All));
        node.sync().await;
        node.confirm().await;
        let plan = node.plan().await;
        let (definitions, others) = (wanted(&sim, true), wanted(&sim, false));
        assert!(definitions.len() > 8 && others.len() > 8, "{} {}", definitions.len(), others.len());
        assert_eq!(plan.definitions.wanted.files, definitions.len() as u64);
        assert_eq!(plan.all.wanted.files, (definitions.len() + others.len()) as u64);
        let (stop, governing) = pause(&node, held_up).await;
        let job = node.jobs.start(Work::Prefetch, "a test").unwrap();
        let flowing = if held_up == Class::Prefetch { &definitions } else { &others };
        until_held(&node, "those that may flow come", |held| names(flowing).is_subset(held)).await;
        assert_eq!(node.held().await, names(flowing), "and none of the others");

        // What a run brings meanwhile comes too: the job that waits is woken.
        sim.advance(1);
        node.sync().await;
        let (later_definitions, later_others) = (wanted(&sim, true), wanted(&sim, false));
        let later = if held_up == Class::Prefetch { &later_definitions } else { &later_others };
        assert!(names(later).difference(&names(flowing)).next().is_some(), "there are new ones");
        until_held(&node, "new ones come", |held| names(later).is_subset(held)).await;
        let counted = |class| node.governor.counters().bytes(class);
        let (own, other) = if held_up == Class::Prefetch {
            (Class::Definitions, Class::Prefetch)
        } else {
            (Class::Prefetch, Class::Definitions)
        };
        assert_eq!(counted(other), 0, "{other:?}");
        assert!(counted(own) >= flowing.values().sum(), "{own:?} {}", counted(own));

        // The pause is over: all of it is there.
        node.governor.set_config(pace::Config::default());
        let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
        assert_eq!(ended.state, State::Done, "{:?} {:?}", ended.result, ended.lines);
        let all: BTreeSet<String> = names(&later_definitions).union(&names(&later_others)).cloned().collect();
        assert!(all.is_subset(&node.held().await));
        assert_eq!(counted(Class::Demand), 0, "nobody has waited");
        stop.cancel();
        governing.await.unwrap();
        node.close().await;
    }
}

/// A definition file that fails while all else is paused, until this is said of it.
async fn one_fails(config: jobs::Config, told: impl Fn(&Line) -> bool) {
    let sim = sim(Character::Wsus, 26, 400);
    let (dir, clock) = (Arc::new(tempfile::tempdir().unwrap()), Arc::new(SystemClock));
    let way = (1 << 40, Duration::from_millis(300));
    let node = Node::patient(dir, &sim, UpstreamKind::Wsus, mode(Mode::All), way, clock, config);
    node.sync().await;
    node.confirm().await;
    let definitions = wanted(&sim, true);
    let (stop, governing) = pause(&node, Class::Prefetch).await;
    // It falls on the first file that is asked for, and stays with it.
    sim.fault(&json!({ "fault": "content-503", "count": 1 })).unwrap();
    let job = node.jobs.start(Work::Prefetch, "a test").unwrap();
    let is_told = async {
        while !node.jobs.get(job).unwrap().lines.iter().any(&told) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SOON, is_told).await.is_ok(), "{:?}", node.jobs.get(job).unwrap().lines);
    let is_held = |held: &BTreeSet<String>| names(&definitions).is_subset(held);
    assert!(!is_held(&node.held().await), "one does not come");
    sim.clear_faults();
    until_held(&node, "the one that failed comes, while the others are paused", is_held).await;
    assert_eq!(node.governor.counters().bytes(Class::Prefetch), 0);
    assert!(node.jobs.get(job).unwrap().state.is_running());
    node.governor.set_config(pace::Config::default());
    let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Done, "{:?} {:?}", ended.result, ended.lines);
    let all = (definitions.len() + wanted(&sim, false).len()) as u64;
    assert_eq!((ended.progress.done, ended.progress.total), (all, Some(all)));
    stop.cancel();
    governing.await.unwrap();
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_failed_is_tried_again_while_all_else_is_paused() {
    let config = jobs::Config { prefetch_rest: Duration::from_secs(1), ..jobs::Config::default() };
    one_fails(config, |line| line.step == Step::Waiting && line.text.starts_with("is tried again")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_was_given_up_is_begun_anew_later_in_a_job_that_goes_on() {
    let (prefetch_rest, prefetch_later) = (Duration::from_millis(1), Duration::from_secs(2));
    let config = jobs::Config { prefetch_rest, prefetch_later, ..jobs::Config::default() };
    one_fails(config, |line| line.step == Step::Failed).await;
}

/// How often a file was asked for, by SHA-1.
fn gets(sim: &Sim) -> BTreeMap<String, usize> {
    let (log, mut gets) = (sim.log(20_000), BTreeMap::new());
    for line in log["lines"].as_array().unwrap().iter().filter(|line| line["method"] == "content-GET") {
        *gets.entry(line["sha1"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    gets
}

/// SHA-1 of the files of an update, or of several.
fn sha1s<'a>(updates: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let files = updates.into_iter().flat_map(|update| update["files"].as_array().unwrap());
    files.map(|file| file["sha1"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_by_is_judged_anew_when_something_changes() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Change {
        Decline,
        Narrow,
        Digest,
    }
    for change in [Change::Decline, Change::Narrow, Change::Digest] {
        let sim = sim(Character::Wsus, 26, 400);
        let node = Node::new(&sim, UpstreamKind::Wsus, mode(Mode::All));
        node.sync().await;
        node.confirm().await;
        let (stop, governing) = pause(&node, Class::Definitions).await;
        let job = node.jobs.start(Work::Prefetch, "a test").unwrap();
        // Definition updates are met first: when all others are there, theirs are under way or put by.
        let others = names(&wanted(&sim, false));
        until_held(&node, "all others come", |held| others.is_subset(held)).await;

        let catalog = sim.deployable(&json!({}));
        let is_wanted = |update: &&Value| is_offered(update) && !is(update, "parts");
        let of_definitions: Vec<&Value> = catalog
            .as_array()
            .unwrap()
            .iter()
            .filter(is_wanted)
            .filter(|update| update["classification"] == "Definition Updates")
            .collect();
        let lines = node.jobs.get(job).unwrap().lines;
        let all = sha1s(of_definitions.iter().copied());
        let has_line = |sha1: &String| lines.iter().any(|line| format!("{line:?}").contains(sha1.as_str()));
        let begun: BTreeSet<String> = all.iter().filter(|sha1| has_line(sha1)).cloned().collect();
        assert!(begun.len() == 4 && all.len() > 8, "{begun:?} of {}", all.len());
        let waits = |update: &&&Value| {
            let own = sha1s([**update]);
            !own.is_empty() && own.is_disjoint(&begun)
        };
        let one = *of_definitions.iter().find(waits).unwrap();
        let elsewhere = sha1s(of_definitions.iter().copied().filter(|other| other["id"] != one["id"]));
        let own: BTreeSet<String> = sha1s([one]).difference(&elsewhere).cloned().collect();
        assert!(!own.is_empty());
        let expected: BTreeSet<String> = match change {
            Change::Decline => {
                node.decide(one, Deciding::Decline).await;
                all.difference(&own).cloned().collect()
            }
            Change::Narrow => {
                node.set(mode(Mode::Approved));
                begun.clone()
            }
            Change::Digest => {
                // Microsoft says of a file of the same name and size that it is another one.
                let told =
                    one["files"].as_array().unwrap().iter().find(|file| file["sha1"] == *own.first().unwrap()).unwrap();
                let file = File {
                    sha1: told["sha1"].as_str().unwrap().parse().unwrap(),
                    sha256: Some(Sha256::new([7; 32])),
                    name: told["name"].as_str().unwrap().to_owned(),
                    size: told["size"].as_u64().unwrap(),
                    ..made_catalog::file(b"")
                };
                let update = Update {
                    deployable: true,
                    files: vec![file],
                    ..Update::new(made_catalog::identity(0x30, 1), Kind::Software)
                };
                node.proven(update).await;
                all.clone()
            }
        };
        node.governor.set_config(pace::Config::default());
        let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
        let told = ended.result.clone().unwrap();
        let gets = gets(&sim);
        let asked: BTreeSet<String> = gets.keys().filter(|sha1| all.contains(*sha1)).cloned().collect();
        assert_eq!(asked, expected, "{change:?}: {told}");
        // The pause has cut the answers to those that had begun.
        assert!(asked.difference(&begun).all(|sha1| gets[sha1] == 1), "{change:?}: {gets:?}");
        if change == Change::Digest {
            assert_eq!(ended.state, State::Failed, "{told}");
            // It was brought as what it is said to be by now, and is remembered as that.
            let plan = node.plan().await;
            let [sick] = plan.mismatched.as_slice() else { panic!("{told} {:?}", plan.mismatched) };
            assert_eq!(Some(&sick.sha1.to_string()), own.first());
        } else {
            assert_eq!(ended.state, State::Done, "{told}");
        }
        stop.cancel();
        governing.await.unwrap();
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_are_changed_reach_a_prefetch_that_is_under_way() {
    let sim = sim(Character::Microsoft, 22, 500);
    let node = Node::new(&sim, UpstreamKind::Microsoft, by_severity(Severity::Low));
    node.sync().await;
    let before = node.plan().await.all.wanted;
    let (stop, governing) = pause(&node, Class::Prefetch).await;
    let job = node.jobs.start(Work::Prefetch, "a test").unwrap();
    let begun = async {
        while node.governor.report().classes.iter().all(|class| class.waiting == 0)
            && node.jobs.get(job).unwrap().lines.len() < 4
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, begun).await.unwrap();
    // Only critical updates are wanted from now on; what has begun is brought to its end.
    node.filter(|filters| filters.classifications = vec!["Critical Updates".into()]);
    let after = node.plan().await.all.wanted;
    assert!(after.files + 4 < before.files, "{before:?} {after:?}");
    node.governor.set_config(pace::Config::default());
    let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Done, "{:?}", ended.result);
    let plan = node.plan().await;
    assert_eq!(plan.all.held.files, after.files, "what is wanted now is there");
    assert!(node.held().await.len() as u64 <= after.files + 4, "and little else");
    stop.cancel();
    governing.await.unwrap();
    node.close().await;
}

/// A whole run that waits for the end of a pause has the turn; the lane has a class of its own, and comes all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_that_waits_in_a_pause_gives_way_to_the_lane_of_definitions() {
    let sim = sim(Character::Wsus, 27, 100);
    let hand = HandClock::at(1_767_603_600_000);
    let schedule = Schedule { zone: "UTC".to_owned(), jitter_minutes: 0, ..Schedule::default() };
    let definitions = Schedule { when: Definitions::default().when, ..schedule.clone() };
    let config = jobs::Config { sync: schedule, definitions, ..jobs::Config::default() };
    let (dir, clock) = (Arc::new(tempfile::tempdir().unwrap()), Arc::clone(&hand) as Arc<dyn Clock>);
    let way = (1 << 40, Duration::from_secs(1));
    let node = Node::patient(dir, &sim, UpstreamKind::Wsus, mode(Mode::Approved), way, clock, config);
    let (stop, governing) = pause(&node, Class::Sync).await;
    let job = node.jobs.start(Work::Sync, "a test").unwrap();
    let waits = async {
        while !node.runner.keeps_definitions_out() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waits).await.unwrap();
    assert_eq!(node.jobs.sync_state().await.unwrap().definitions_behind, None, "the lane is not due yet");
    hand.advance(Duration::from_hours(5));
    assert_eq!(node.jobs.sync_state().await.unwrap().definitions_behind, Some(job));
    node.jobs.keep_house();
    let came = async {
        loop {
            let newest = node.jobs.sync_history(None, 1).await.unwrap().remove(0);
            if newest.note.kind == RunKind::Definitions && newest.outcome != Outcome::Running {
                break newest;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let lane = timeout(SOON, came).await.unwrap();
    assert_eq!(lane.outcome, Outcome::Successful, "{lane:?}");
    assert_eq!(node.jobs.get(job).unwrap().state, State::Stopped);
    let whole = node.jobs.sync_history(Some(lane.id), 1).await.unwrap().remove(0);
    assert!(whole.note.again && whole.reason.starts_with("stopped by the lane of definition updates"), "{whole:?}");
    assert!(node.jobs.sync_state().await.unwrap().next_is_again, "and it goes on after the pause");
    stop.cancel();
    governing.await.unwrap();
    node.close().await;
}
