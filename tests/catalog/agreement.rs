//! What a person agrees to where the policy is `all`, and for how long; and rules that mean nothing.

use std::sync::Arc;

use tokio::time::timeout;
use upstream_sim::Character;
use waystation::jobs::agreement::{Agreement, Confirming, Shown};
use waystation::jobs::board::State;
use waystation::jobs::content::{Plan, Sum};
use waystation::jobs::work::{Kind, Work};
use waystation::model::policy::{Mode, Written};
use waystation::model::update::{File, Severity, Update};
use waystation::store::catalog::{Deciding, UpstreamKind};

use crate::made_catalog::{file, identity, import, updates};
use crate::policy::{Node, SOON, by_severity, mode, sim};

fn with_rules(written: &Written, rules: &[&str]) -> Written {
    Written { rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(), ..written.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_to_is_this_policy_within_these_filters() {
    let sim = sim(Character::Microsoft, 22, 200);
    let all = mode(Mode::All);
    let node = Node::new(&sim, UpstreamKind::Microsoft, all.clone());
    node.sync().await;
    assert!(node.confirm().await.agreement.is_given());
    let agreement = async || node.plan().await.agreement.clone();
    // The same meaning in other words is the same.
    node.set(with_rules(&all, &[]));
    assert!(agreement().await.is_given());

    // Other rules and other filters are others, each way.
    let undeclined =
        [Written { decline_expired: false, ..all.clone() }, Written { decline_superseded: false, ..all.clone() }];
    for other in undeclined {
        node.set(other);
        assert_eq!(agreement().await, Agreement::Missing);
    }
    let ruled = with_rules(&all, &["Drivers: metadata"]);
    node.set(ruled.clone());
    assert_eq!(agreement().await, Agreement::Missing);
    node.set(all.clone());
    assert!(agreement().await.is_given());
    node.filter(|filters| filters.languages = vec!["de".into()]);
    assert_eq!(agreement().await, Agreement::Missing);
    node.filter(|filters| filters.languages.clear());
    assert!(agreement().await.is_given());

    // What nobody has set, nobody has confirmed; and asking changes nothing.
    let what_if = node.jobs.plan(Some(ruled.clone())).await.unwrap();
    assert_eq!(what_if.agreement, Agreement::Missing);
    assert!(agreement().await.is_given());

    // What was taken out and comes back is asked for anew.
    node.set(mode(Mode::Approved));
    assert_eq!(agreement().await, Agreement::NotNeeded);
    let what_if = node.jobs.plan(Some(all.clone())).await.unwrap();
    assert_eq!(what_if.agreement, Agreement::Missing);
    node.set(all.clone());
    assert_eq!(agreement().await, Agreement::Missing);

    // Of a rule too.
    node.set(with_rules(&mode(Mode::Approved), &["Definition Updates: all"]));
    assert!(node.confirm().await.agreement.is_given());
    node.set(all);
    assert_eq!(agreement().await, Agreement::Missing, "a part of it is not all of it");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_of_an_older_form_is_asked_for_again() {
    let sim = sim(Character::Wsus, 22, 60);
    let node = Node::new(&sim, UpstreamKind::Wsus, mode(Mode::All));
    node.sync().await;
    let old = br#"{"sum":{"files":1000000,"bytes":1000000000000},"by":"ada","at":1767603600000}"#;
    node.store.set_document("content.confirmed", Some(old.to_vec())).await.unwrap();
    assert_eq!(node.plan().await.agreement, Agreement::Missing);
    assert!(node.confirm().await.agreement.is_given());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_agrees_to_more_than_he_was_shown() {
    let sim = sim(Character::Wsus, 22, 60);
    let node = Node::new(&sim, UpstreamKind::Wsus, mode(Mode::All));
    let huge = |size: u64| {
        let mut updates = updates(b"some bytes");
        for update in &mut updates {
            for file in &mut update.files {
                file.size = size;
            }
        }
        updates
    };
    import(&node.store.catalog(), huge(200 << 30), true).await;
    let plan = node.plan().await;
    assert_eq!((plan.all.wanted.bytes, &plan.agreement), (200 << 30, &Agreement::Missing));
    assert_eq!((plan.updates, plan.unauthenticated), (3, 3), "it came over plain HTTP");
    let agree = async |bytes: u64, terms: &str| {
        let shown = Shown { sum: Sum { files: 1, bytes }, terms: terms.to_owned() };
        node.jobs.confirm_plan("ada", &shown).await.unwrap()
    };
    let is_another = |confirming: Confirming| match confirming {
        Confirming::Another(plan) => plan.all.wanted.bytes == 200 << 30,
        Confirming::Agreed(_) => false,
    };
    // Far more by now than he saw, far less, and another policy than he saw.
    assert!(is_another(agree(100 << 30, &plan.terms).await));
    assert!(is_another(agree(311 << 30, &plan.terms).await));
    assert!(is_another(agree(u64::MAX, &plan.terms).await));
    assert!(is_another(agree(200 << 30, "another policy's").await));
    assert_eq!(node.plan().await.agreement, Agreement::Missing, "nothing was agreed");

    // A little more is within what he agreed to; what is written down is what he saw, and no more than there is.
    let agreed = |confirming: Confirming| match confirming {
        Confirming::Agreed(plan) => plan.agreement.clone(),
        Confirming::Another(plan) => panic!("{plan:?}"),
    };
    let Agreement::Given(confirmed) = agreed(agree(150 << 30, &plan.terms).await) else { panic!("it is given") };
    assert_eq!((confirmed.sum.bytes, confirmed.by.as_str()), (150 << 30, "ada"));
    let Agreement::Given(confirmed) = agreed(agree(210 << 30, &plan.terms).await) else { panic!("it is given") };
    assert_eq!(confirmed.sum.bytes, 200 << 30);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_agreement_does_not_hold_up_what_has_one() {
    let sim = sim(Character::Wsus, 22, 60);
    let ruled = with_rules(&mode(Mode::Approved), &["Hotfixes: all"]);
    let node = Node::new(&sim, UpstreamKind::Wsus, ruled);
    // One that comes by `all`, and one of another classification of which a person has not said anything yet.
    let mut updates = updates(b"some bytes");
    let other = Update {
        deployable: true,
        files: vec![File { size: 40 << 30, ..file(b"an upgrade") }],
        ..Update::new(identity(0x20, 1), waystation::model::update::Kind::Software)
    };
    updates.push(other);
    import(&node.store.catalog(), updates, true).await;
    let small = Sum { files: 1, bytes: 10 };
    let plan = node.confirm().await;
    assert_eq!((plan.by_all, plan.all.wanted), (small, small));
    let approve = Deciding::Approve { all_files: false };
    node.store.catalog().decide(vec![identity(0x20, 1).id], approve, "ada".into(), "tested".into()).await.unwrap();
    let plan = node.plan().await;
    assert_eq!((plan.by_all, plan.all.wanted.files), (small, 2));
    assert!(plan.agreement.is_given() && plan.now == plan.all, "{:?}", plan.agreement);
    // What is shown and agreed to is the same.
    assert_eq!(Shown::of(&plan).sum, small);
    let Agreement::Given(confirmed) = &node.confirm().await.agreement else { panic!("it is given") };
    assert_eq!(confirmed.sum, small);
    node.close().await;
}

/// Waits until the plan was made anew, by whatever the prefetch does by itself.
async fn counted_anew(node: &Node) -> Arc<Plan> {
    let before = node.jobs.last_plan();
    node.jobs.content_changed();
    let counted = async {
        loop {
            if let Some(plan) =
                node.jobs.last_plan().filter(|plan| before.as_ref().is_none_or(|b| !Arc::ptr_eq(b, plan)))
            {
                return plan;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, counted).await.expect("it is counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_means_nothing_holds_back_what_begins_by_itself() {
    let sim = sim(Character::Wsus, 23, 300);
    // All are severe enough, and the slip of the pen was to keep one classification out.
    let slip = with_rules(&by_severity(Severity::Low), &["Security Update: metadata"]);
    let node = Node::new(&sim, UpstreamKind::Wsus, slip.clone());
    node.jobs.keep_house();
    node.sync().await;
    let prefetches = || node.jobs.list().into_iter().filter(|job| job.kind == Kind::Prefetch).collect::<Vec<_>>();
    // Looked at, and once more: the first look has ended before the second began.
    counted_anew(&node).await;
    let plan = counted_anew(&node).await;
    let held = plan.held_back().unwrap().to_string();
    assert!(
        held.contains("\"Security Update: metadata\"") && held.contains("did you mean \"Security Updates\""),
        "{held}"
    );
    assert!(plan.now.missing().files > 0 && prefetches().is_empty(), "{:?}", prefetches());
    // A person may, and is told.
    let ended = node.job(Work::Prefetch).await;
    let told = ended.result.unwrap();
    assert!(ended.state == State::Done && told.contains("left out: the rule \"Security Update: metadata\""), "{told}");

    // One that would bring more is left out and holds nothing; neither does one that is right.
    node.set(with_rules(&mode(Mode::Approved), &["Security Update: severity"]));
    let plan = node.plan().await;
    assert!(plan.held_back().is_none() && plan.left_out.len() == 1, "{:?}", plan.left_out);
    node.set(with_rules(&by_severity(Severity::Low), &["Security Updates: metadata"]));
    assert!(node.plan().await.left_out.is_empty());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefetch_that_began_by_itself_ends_where_a_rule_means_nothing_any_more() {
    let sim = sim(Character::Wsus, 23, 300);
    let node = Node::new(&sim, UpstreamKind::Wsus, by_severity(Severity::Low));
    node.sync().await;
    let (stop, governing) = crate::lanes::pause(&node, waystation::pace::Class::Prefetch).await;
    node.jobs.keep_house();
    let begun = async {
        loop {
            if let Some(job) = node.jobs.list().into_iter().find(|job| job.kind == Kind::Prefetch) {
                return job.id;
            }
            tokio::task::yield_now().await;
        }
    };
    let job = timeout(SOON, begun).await.unwrap();
    node.set(with_rules(&by_severity(Severity::Low), &["Security Update: metadata"]));
    let ended = timeout(SOON, node.jobs.wait(job, SOON)).await.unwrap().unwrap();
    let told = ended.result.unwrap();
    assert!(ended.state == State::Failed && told.contains("until content.rules is corrected"), "{told}");
    stop.cancel();
    governing.await.unwrap();
    node.close().await;
}
