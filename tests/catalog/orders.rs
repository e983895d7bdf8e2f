//! What is approved for whom, seen by agents that scan over real sockets: groups and what they inherit, single endpoints, deadlines,
//! licences, reviews, and that whoever was told is told when it changes, over a start of the node too.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use tokio::time::timeout;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::fleet::registry::{Admission, Registered, Registry};
use waystation::model::deployment::{Action, Endpoint, Review, Said, Target};
use waystation::model::group::{Level, Node as Entry};
use waystation::model::policy::Group;
use waystation::model::update::UpdateId;
use waystation::store::Store;
use waystation::store::approvals::{Change, Saying};
use waystation::store::catalog::Deciding;
use waystation::store::fleet::{Bios, Os, Registration};

use crate::endpoints::{Agent, Node, SOON, offered, sim};
use crate::plain_client::Client;

const INSTALL: Said = Said::Do { action: Action::Install, deadline: None };
const ALL: Target = Target::Group(Group::ALL_ENDPOINTS);

fn group(at: u8) -> Group {
    Group(UpdateId::new([at; 16]))
}

fn of(at: u8) -> Target {
    Target::Group(group(at))
}

fn entry(at: u8, name: &str, parent: Group) -> Entry {
    let (level, rules) = (Level::Group, vec![]);
    Entry { id: group(at), name: name.into(), level, parent, is_test: false, asks_review: false, rules }
}

async fn add(store: &Store, entry: Entry) {
    store.approvals().change(Change::Add(entry), "kim".into()).await.unwrap();
}

async fn say(store: &Store, updates: &[&str], targets: &[Target], said: Said) {
    let updates = updates.iter().map(|id| id.parse().unwrap()).collect();
    let saying =
        Saying { updates, targets: targets.to_vec(), said, all_files: false, by: "kim".into(), why: String::new() };
    assert!(store.approvals().say(saying).await.unwrap() > 0);
}

async fn decide(store: &Store, update: &str, deciding: Deciding) {
    let ids = vec![update.parse().unwrap()];
    store.catalog().decide(ids, deciding, "kim".into(), String::new()).await.unwrap();
}

fn endpoint(agent: &Agent) -> Endpoint {
    Endpoint(agent.id.parse().unwrap())
}

async fn place(store: &Store, agent: &Agent, groups: &[u8]) {
    let groups = groups.iter().map(|at| group(*at)).collect();
    assert_eq!(store.approvals().place(vec![endpoint(agent)], groups, "kim".into()).await.unwrap(), 1);
}

/// The machine of an agent says of itself which groups it is for.
async fn register(store: &Store, agent: &Agent, targets: &[&str]) {
    let registry = Registry::new(store.fleet(), Admission::default());
    let told = Registration {
        endpoint: endpoint(agent),
        name: "pc.site.example".into(),
        os: Os { major: 10, build: 26_100, ..Os::default() },
        maker: "QEMU".into(),
        model: agent.model.clone(),
        bios: Bios::default(),
        architecture: String::new(),
        client_version: String::new(),
        targets: targets.iter().map(|name| (*name).to_owned()).collect(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        at: SystemClock.now(),
    };
    assert_eq!(registry.registered(told).await.unwrap(), Registered::Accepted);
}

/// Scans until an update is to be treated so; an agent is told at most a moment late.
async fn until(agent: &mut Agent, update: &str, action: &str) {
    let told = timeout(SOON, async {
        while agent.action(update).as_deref() != Some(action) {
            agent.scan().await;
        }
    });
    told.await.unwrap_or_else(|_| panic!("{update} is {:?} and not {action}", agent.action(update)));
}

/// Updates that need no licence, so many.
async fn free(store: &Store, updates: &BTreeSet<String>, many: usize) -> Vec<String> {
    let mut found = Vec::new();
    for update in updates {
        if found.len() < many && licences(store, update).await.is_empty() {
            found.push(update.clone());
        }
    }
    assert_eq!(found.len(), many);
    found
}

async fn licences(store: &Store, update: &str) -> Vec<UpdateId> {
    let catalog = store.catalog();
    let number = catalog.current(update.parse().unwrap()).await.unwrap().unwrap();
    let identity = catalog.summaries(vec![number]).await.unwrap()[0].identity;
    catalog.whole(identity).await.unwrap().eulas
}

const DETECT: &str = "PreDeploymentCheck";

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_install_is_for_agents_that_know_it() {
    let sim = sim(120);
    let node = Node::below(&sim).await;
    let server = node.listen(|_| ()).await;
    let update = free(&node.store, &offered(&sim), 1).await.remove(0);
    let mut old = Agent::new(server.addresses()[0], 1).await;
    old.build = 17_763;
    let mut new = Agent::new(server.addresses()[0], 2).await;
    for agent in [&mut old, &mut new] {
        agent.handshake().await;
        agent.scan().await;
    }
    let optional = Said::Do { action: Action::OptionalInstall, deadline: None };
    say(&node.store, &[update.as_str()], &[Target::Group(Group::ALL_ENDPOINTS)], optional).await;
    until(&mut new, &update, "OptionalInstall").await;
    old.scan().await;
    assert_eq!(old.action(&update).as_deref(), Some(DETECT));
    // Its system is renewed: it is told what it did not know before.
    old.build = 19_045;
    old.register().await.unwrap();
    until(&mut old, &update, "OptionalInstall").await;
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_reaches_those_it_is_for_and_nobody_else() {
    let sim = sim(200);
    let node = Node::below(&sim).await;
    let store = node.store.clone();
    let server = node.listen(|_| ()).await;
    let address = server.addresses()[0];
    // Contoso has Berlin, and that has the pilots; the lab stands by itself.
    let root = Group::ALL_ENDPOINTS;
    add(&store, entry(1, "Contoso", root)).await;
    add(&store, entry(2, "Berlin", group(1))).await;
    add(&store, entry(3, "Pilot", group(2))).await;
    add(&store, entry(4, "Lab", root)).await;
    let mut agents = Vec::new();
    for at in 1..=3 {
        let mut agent = Agent::new(address, at).await;
        agent.handshake().await;
        agent.scan().await;
        agents.push(agent);
    }
    let [mut pilot, mut berlin, mut nobody] = <[Agent; 3]>::try_from(agents).ok().unwrap();
    let wanted = offered(&sim);
    assert_eq!(pilot.with_action(DETECT), wanted);
    let updates = free(&store, &wanted, 4).await;
    let [one, two, three, four] = [0, 1, 2, 3].map(|at: usize| updates[at].as_str());
    place(&store, &pilot, &[3]).await;
    register(&store, &berlin, &["Nowhere; berlin"]).await;

    // For a group and what stands below it, with a deadline.
    let deadline = Timestamp::from_ms(SystemClock.now().ms() / 1000 * 1000 + 86_400_000);
    let dated = Said::Do { action: Action::Install, deadline: Some(deadline) };
    say(&store, &[one, two], &[of(2)], dated).await;
    for agent in [&mut pilot, &mut berlin] {
        until(agent, one, "Install").await;
        assert_eq!(agent.with_action("Install"), [one.to_owned(), two.to_owned()].into());
        assert_eq!(agent.deadline(one).as_deref(), Some(deadline.to_string().as_str()));
    }
    // Not approved below it; for another endpoint by itself, which has no groups.
    say(&store, &[one], &[of(3)], Said::NotApproved).await;
    until(&mut pilot, one, DETECT).await;
    assert_eq!(pilot.deadline(one), None);
    say(&store, &[three], &[Target::Endpoint(endpoint(&nobody))], INSTALL).await;
    until(&mut nobody, three, "Install").await;
    assert_eq!(nobody.with_action("Install"), [three.to_owned()].into());
    berlin.scan().await;
    pilot.scan().await;
    assert_eq!(berlin.with_action("Install"), [one.to_owned(), two.to_owned()].into());
    assert_eq!(pilot.with_action("Install"), [two.to_owned()].into());

    // A decline is for everybody; taken back, what was said before counts again.
    decide(&store, two, Deciding::Decline).await;
    for agent in [&mut pilot, &mut berlin, &mut nobody] {
        timeout(SOON, async {
            while agent.action(two).is_some() {
                agent.scan().await;
            }
        })
        .await
        .unwrap();
    }
    decide(&store, two, Deciding::Reset).await;
    until(&mut berlin, two, "Install").await;
    until(&mut nobody, two, DETECT).await;
    // What is withdrawn is told: the endpoint holds it already.
    say(&store, &[one], &[of(2)], Said::Inherit).await;
    until(&mut berlin, one, DETECT).await;
    assert_eq!(berlin.with_action("Install"), [two.to_owned()].into());

    // What was approved for another group long ago is told to who comes into it: before that, and to others, it is not.
    say(&store, &[four], &[of(4)], INSTALL).await;
    say(&store, &[one], &[of(4)], INSTALL).await;
    for agent in [&mut pilot, &mut berlin, &mut nobody] {
        agent.scan().await;
    }
    until(&mut pilot, one, DETECT).await;
    place(&store, &pilot, &[4]).await;
    until(&mut pilot, four, "Install").await;
    assert_eq!(pilot.with_action("Install"), [four.to_owned(), one.to_owned()].into());
    // In two groups the strongest counts; by its own word again it is nowhere.
    place(&store, &pilot, &[4, 3]).await;
    until(&mut pilot, two, "Install").await;
    assert_eq!(pilot.with_action("Install"), [four.to_owned(), one.to_owned(), two.to_owned()].into());
    place(&store, &pilot, &[]).await;
    until(&mut pilot, four, DETECT).await;
    assert_eq!(pilot.with_action("Install"), BTreeSet::new());
    assert_eq!(nobody.with_action("Install"), [three.to_owned()].into());
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_told_over_a_start_of_the_node_too() {
    let sim = sim(120);
    let node = Node::below(&sim).await;
    let store = node.store.clone();
    let server = node.listen(|_| ()).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    agent.handshake().await;
    let updates = free(&store, &offered(&sim), 3).await;
    let [one, two, three] = [0, 1, 2].map(|at: usize| updates[at].as_str());
    let root = Group::ALL_ENDPOINTS;
    for (at, name) in [(1, "Contoso"), (2, "Fabrikam")] {
        add(&store, entry(at, name, root)).await;
    }
    add(&store, entry(3, "Berlin", group(1))).await;
    place(&store, &agent, &[3]).await;
    // The last one makes Berlin count by itself.
    say(&store, &[one], &[of(1)], INSTALL).await;
    say(&store, &[two], &[ALL], INSTALL).await;
    say(&store, &[three], &[of(3)], INSTALL).await;
    agent.scan().await;
    until(&mut agent, three, "Install").await;
    assert_eq!(agent.with_action("Install"), updates.iter().cloned().collect());
    server.drain(SOON).await;
    // Nobody sees the state before these: Berlin goes elsewhere, and what was decided for all is taken back.
    let moved = entry(3, "Berlin", group(2));
    store.approvals().change(Change::Put(moved), "kim".into()).await.unwrap();
    decide(&store, two, Deciding::Reset).await;
    let again = node.listen(|_| ()).await;
    agent.address = again.addresses()[0];
    agent.client = Client::connect(agent.address).await;
    agent.scan().await;
    assert_eq!(agent.rounds, 1, "nothing is new");
    assert_eq!(agent.with_action("Install"), [three.to_owned()].into());
    assert_eq!([agent.action(one), agent.action(two)], [Some(DETECT.to_owned()), Some(DETECT.to_owned())]);
    again.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_and_a_review_stand_before_what_is_approved() {
    let sim = sim(400);
    let node = Node::below(&sim).await;
    let store = node.store.clone();
    let server = node.listen(|_| ()).await;
    let address = server.addresses()[0];
    let wanted = offered(&sim);
    let mut licenced = None;
    for update in &wanted {
        let eulas = licences(&store, update).await;
        if !eulas.is_empty() {
            licenced = Some((update.clone(), eulas));
            break;
        }
    }
    let (licenced, eulas) = licenced.expect("the simulator has an update with a licence");
    let updates = free(&store, &wanted, 2).await;
    let [one, two] = [0, 1].map(|at: usize| updates[at].as_str());
    let mut agents = Vec::new();
    for at in 1..=3 {
        let mut agent = Agent::new(address, at).await;
        agent.handshake().await;
        agents.push(agent);
    }
    let [mut tester, mut member, mut other] = <[Agent; 3]>::try_from(agents).ok().unwrap();

    say(&store, &[&licenced, one], &[ALL], INSTALL).await;
    other.scan().await;
    until(&mut other, one, "Install").await;
    assert_eq!(other.action(&licenced).as_deref(), Some(DETECT), "nobody has accepted its licence");
    assert_eq!(store.approvals().accept(eulas.clone(), "kim".into()).await.unwrap(), eulas.len() as u64);
    until(&mut other, &licenced, "Install").await;

    // A company asks for reviews; one of its groups is there for trying out.
    add(&store, Entry { asks_review: true, ..entry(1, "Contoso", Group::ALL_ENDPOINTS) }).await;
    add(&store, Entry { is_test: true, ..entry(2, "Testers", group(1)) }).await;
    place(&store, &tester, &[2]).await;
    place(&store, &member, &[1]).await;
    say(&store, &[two], &[ALL], INSTALL).await;
    until(&mut other, two, "Install").await;
    let review = async |review| {
        store.approvals().review(vec![two.parse().unwrap()], review, "kim".into(), String::new()).await.unwrap();
    };
    tester.scan().await;
    member.scan().await;
    let both = |tester: &Agent, member: &Agent| [tester.action(two), member.action(two)].map(Option::unwrap);
    assert_eq!(both(&tester, &member), [DETECT, DETECT], "nobody has reviewed it");
    review(Review::InTest).await;
    until(&mut tester, two, "Install").await;
    member.scan().await;
    assert_eq!(both(&tester, &member), ["Install", DETECT]);
    review(Review::Released).await;
    until(&mut member, two, "Install").await;
    review(Review::Held).await;
    until(&mut tester, two, DETECT).await;
    until(&mut member, two, DETECT).await;
    other.scan().await;
    assert_eq!(other.action(two).as_deref(), Some("Install"), "others ask for no review");
    server.drain(SOON).await;
    node.close().await;
}
