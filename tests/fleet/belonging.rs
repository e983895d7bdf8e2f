//! Which groups an endpoint is in, where its groups are younger than what was read of them.

use waystation::fleet::belong::Belonging;
use waystation::model::deployment::Endpoint;
use waystation::model::group::{Level, Node, UNASSIGNED};
use waystation::model::policy::Group;
use waystation::model::update::UpdateId;
use waystation::store::approvals::Change;

use crate::plain::id;
use crate::small_store;

#[tokio::test]
async fn a_group_that_is_younger_than_the_tree_is_told_and_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = small_store::open(&dir.path().join("data"));
    let (fleet, approvals) = (store.fleet(), store.approvals());
    let belonging = Belonging::new(fleet, approvals.clone());
    let (endpoint, pilots) = (Endpoint(UpdateId::new([9; 16])), Group(id(7)));
    let (old, then) = (approvals.tree().await.unwrap().groups, approvals.shared().await.unwrap().clock);
    let of_old = async || belonging.of(endpoint, &old, then).await.unwrap();
    assert_eq!(of_old().await.as_deref(), Some(&[UNASSIGNED][..]));

    let node = Node {
        id: pilots,
        name: "Pilots".into(),
        level: Level::Group,
        parent: Group::ALL_ENDPOINTS,
        is_test: false,
        asks_review: true,
        rules: vec![],
    };
    approvals.change(Change::Add(node), "kim".into()).await.unwrap();
    assert_eq!(of_old().await.as_deref(), Some(&[UNASSIGNED][..]), "it is in none of them yet");
    approvals.place(vec![endpoint], vec![pilots], "kim".into()).await.unwrap();
    // Whose groups are kept is as it was a moment ago, like the tree; of others the look-up sees what the tree does not have.
    let fresh = Belonging::new(store.fleet(), approvals.clone());
    assert!(fresh.of(endpoint, &old, then).await.unwrap().is_none(), "the tree is too old");
    let (new, now) = (approvals.tree().await.unwrap().groups, approvals.shared().await.unwrap().clock);
    assert_eq!(fresh.of(endpoint, &new, now).await.unwrap().as_deref(), Some(&[pilots][..]));
    // One that is gone again is no reason to wait for a younger tree.
    approvals.remove_group(pilots, "kim".into()).await.unwrap();
    let left = fresh.of(endpoint, &old, then).await.unwrap();
    assert_eq!(left.as_deref(), Some(&[UNASSIGNED][..]));
    assert!(now > then);
    store.close().await.unwrap();
}
