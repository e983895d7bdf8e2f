//! What people decide for groups and endpoints reaches replicas, at any depth, and nobody who decides for himself.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::timeout;
use waystation::base::time::Timestamp;
use waystation::model::compliance::inherit::Own;
use waystation::model::deployment::{Action, Endpoint, Review, Said, Target};
use waystation::model::group::{Level, Node as Place};
use waystation::model::policy::Group;
use waystation::model::update::{Severity, UpdateId};
use waystation::store::Store;
use waystation::store::approvals::{Change, Saying};
use waystation::store::catalog::Deciding;

use crate::sockets::{Node, SOON};

fn id(at: u8) -> UpdateId {
    UpdateId::new([at; 16])
}

fn group(at: u8) -> Group {
    Group(id(at))
}

fn place(at: u8, name: &str, parent: Group) -> Place {
    let rules = vec![];
    Place { id: group(at), name: name.into(), level: Level::Group, parent, is_test: false, asks_review: false, rules }
}

fn saying(update: u8, target: Target, said: Said) -> Saying {
    let (by, why) = ("anna".to_owned(), "tested".to_owned());
    Saying { updates: vec![id(update)], targets: vec![target], said, all_files: false, by, why }
}

const INSTALL: Said = Said::Do { action: Action::Install, deadline: None };

/// All that was decided in a store, as far as it is the same wherever it holds.
#[derive(Debug, PartialEq, Eq)]
struct Decided {
    groups: Vec<(Place, String)>,
    words: BTreeSet<(UpdateId, Target, String, bool, String, String)>,
    reviews: BTreeMap<UpdateId, (Review, String, String)>,
    licences: BTreeSet<(UpdateId, String)>,
    policies: BTreeMap<Group, Own>,
    members: BTreeMap<Endpoint, Vec<Group>>,
}

async fn decided(store: &Store) -> Decided {
    let approvals = store.approvals();
    let (page, next) = approvals.page(None, 1_000).await.unwrap();
    assert!(next.is_none());
    let word = |kept: waystation::store::approvals::Kept| {
        let (said, one) = (format!("{:?}", kept.approval.said), kept.approval);
        (one.update, one.target, said, kept.declined, one.by, kept.why)
    };
    let tree = approvals.tree().await.unwrap();
    let reviews = approvals.reviews((0..=255).map(id).collect()).await.unwrap();
    let licences = approvals.licences().await.unwrap();
    Decided {
        groups: tree.groups.iter().map(|node| (node.clone(), tree.by[&node.id].0.clone())).collect(),
        words: page.into_iter().map(word).collect(),
        reviews: reviews
            .into_iter()
            .map(|step| (step.update, (step.reviewed.review, step.reviewed.by, step.why)))
            .collect(),
        licences: licences.into_iter().map(|one| (one.eula, one.by)).collect(),
        policies: approvals.policies().await.unwrap().into_iter().map(|(group, policy)| (group, policy.own)).collect(),
        members: approvals.members().await.unwrap().into_iter().collect(),
    }
}

/// What holds at the top holds here, as soon as it was told.
async fn is_as(below: &Node, top: &Node) {
    let (wanted, mut told) = (decided(&top.store).await, below.chain.told());
    let same = async {
        while decided(&below.store).await != wanted {
            told.changed().await.unwrap();
        }
    };
    if timeout(SOON, same).await.is_err() {
        assert_eq!(decided(&below.store).await, wanted, "what is decided above arrives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_has_what_the_authority_decided_and_nothing_of_its_own() {
    let (top, middle, leaf) = (Node::new().await, Node::new().await, Node::new().await);
    let (all, said) = (Group::ALL_ENDPOINTS, top.store.approvals());
    // What the lower ones decided by themselves, before: other groups, one of them in the place of another, words, a decline.
    for node in [&middle, &leaf] {
        let own = node.store.approvals();
        for add in [place(90, "Kiosks", all), place(91, "Below", group(90)), place(92, "Own", all)] {
            own.change(Change::Add(add), "ben".into()).await.unwrap();
        }
        own.say(saying(7, Target::Group(group(92)), INSTALL)).await.unwrap();
        own.say(saying(1, Target::Endpoint(Endpoint(id(70))), INSTALL)).await.unwrap();
        own.place(vec![Endpoint(id(60))], vec![group(92)], "ben".into()).await.unwrap();
        let own = node.store.catalog();
        own.decide(vec![id(8)], Deciding::Decline, "ben".into(), String::new()).await.unwrap();
    }
    for add in [place(1, "Contoso", all), place(2, "Kiosks", all), place(3, "Berlin", group(1))] {
        said.change(Change::Add(add), "anna".into()).await.unwrap();
    }
    let deadline = Some(Timestamp::from_ms(4_000_000_000_000));
    let until = Said::Do { action: Action::Install, deadline };
    said.say(saying(1, Target::Group(group(1)), until)).await.unwrap();
    said.say(saying(1, Target::Group(group(3)), Said::NotApproved)).await.unwrap();
    said.say(saying(2, Target::Endpoint(Endpoint(id(50))), INSTALL)).await.unwrap();
    said.say(saying(3, Target::Group(all), until)).await.unwrap();
    said.say(saying(4, Target::Group(all), INSTALL)).await.unwrap();
    said.review(vec![id(1), id(2)], Review::InTest, "anna".into(), "in the lab".into()).await.unwrap();
    said.accept(vec![id(40)], "anna".into()).await.unwrap();
    said.set_policy(group(1), Own { severity: Some(Severity::Critical), ..Own::default() }, "anna".into())
        .await
        .unwrap();
    said.place(vec![Endpoint(id(50))], vec![group(2), group(3)], "anna".into()).await.unwrap();
    top.store.catalog().decide(vec![id(5)], Deciding::Decline, "anna".into(), "bad".into()).await.unwrap();

    middle.join(&top, "middle").await;
    leaf.join(&middle, "leaf").await;
    is_as(&middle, &top).await;
    is_as(&leaf, &top).await;

    // It goes on: two groups change their names with each other, one goes with what was said for it, words are withdrawn and others said.
    said.change(Change::Put(place(1, "Fabrikam", all)), "anna".into()).await.unwrap();
    said.change(Change::Put(place(2, "Contoso", all)), "anna".into()).await.unwrap();
    said.change(Change::Put(place(1, "Kiosks", all)), "anna".into()).await.unwrap();
    said.change(Change::Remove(group(3)), "anna".into()).await.unwrap();
    said.change(Change::Add(place(6, "Bonn", group(2))), "anna".into()).await.unwrap();
    said.say(saying(1, Target::Group(group(3)), Said::Inherit)).await.unwrap();
    said.say(saying(3, Target::Group(all), INSTALL)).await.unwrap();
    said.say(saying(9, Target::Group(group(6)), INSTALL)).await.unwrap();
    said.review(vec![id(1)], Review::Released, "anna".into(), String::new()).await.unwrap();
    said.set_policy(group(1), Own::default(), "anna".into()).await.unwrap();
    said.place(vec![Endpoint(id(50))], vec![], "anna".into()).await.unwrap();
    top.store.catalog().decide(vec![id(5)], Deciding::Reset, "anna".into(), String::new()).await.unwrap();
    is_as(&middle, &top).await;
    is_as(&leaf, &top).await;
    assert!(leaf.chain.is_replica() && !top.chain.is_replica());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_decides_for_himself_takes_the_catalog_alone() {
    let (top, own) = (Node::new().await, Node::autonomous().await);
    let all = Group::ALL_ENDPOINTS;
    top.store.approvals().change(Change::Add(place(1, "Contoso", all)), "anna".into()).await.unwrap();
    own.store.approvals().change(Change::Add(place(2, "Own", all)), "ben".into()).await.unwrap();
    let before = decided(&own.store).await;
    own.join(&top, "own").await;
    let mut told = own.chain.told();
    timeout(SOON, told.wait_for(Option::is_some)).await.unwrap().unwrap();
    top.store.approvals().say(saying(1, Target::Group(group(1)), INSTALL)).await.unwrap();
    let at = *told.borrow_and_update();
    timeout(SOON, told.wait_for(|now| *now > at)).await.unwrap().unwrap();
    assert_eq!(decided(&own.store).await, before);
    assert!(own.chain.feeds_catalog() && !own.chain.is_replica());
}
