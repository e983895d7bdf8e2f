//! Files of definition updates beside all others: each in a class of bandwidth of its own; and filters that change on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Sim};
use waystation::jobs::board::State;
use waystation::jobs::work::Work;
use waystation::model::policy::Mode;
use waystation::model::update::Severity;
use waystation::pace::{self, Class};
use waystation::store::catalog::UpstreamKind;

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
fn wanted(sim: &Sim, definitions: bool) -> std::collections::BTreeMap<String, u64> {
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
