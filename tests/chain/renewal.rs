//! The feed key is replaced, a new epoch begins, and an authority whose store was rolled back signs nothing until then.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::secret::Key;
use waystation::chain::node::Role;
use waystation::model::update::UpdateId;
use waystation::store::catalog::{Deciding, Query};

use crate::nodes::runner;
use crate::sockets::{Node, SOON};

fn sim() -> Sim {
    Sim::start(Options { character: Character::Wsus, seed: 21, updates: 30, ..Options::default() }).unwrap()
}

/// An authority with a catalog, a node below it, and the root key.
async fn two(sim: &Sim) -> (Node, Node, Key) {
    let (top, child) = (Node::new().await, Node::new().await);
    runner(sim, &top.store, top.dir()).run(&CancellationToken::new()).await.unwrap();
    child.join(&top, "Berlin").await;
    child.is_like(&top).await;
    let out = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&out);
    let keep = move |root: &[u8]| {
        *kept.lock().unwrap() = Some(Key::new(root.try_into().unwrap()));
        Ok(())
    };
    top.chain.export_root(keep).await.unwrap();
    let root = out.lock().unwrap().take().unwrap();
    (top, child, root)
}

async fn some_update(node: &Node) -> UpdateId {
    let page = node.store.catalog().search(Query { limit: 1, ..Query::default() }).await.unwrap();
    page.hits[0].summary.identity.id
}

async fn decide(node: &Node, id: UpdateId, deciding: Deciding) {
    node.store.catalog().decide(vec![id], deciding, "anna".into(), String::new()).await.unwrap();
}

/// The epoch in which a node below stands.
fn epoch(node: &Node) -> u64 {
    node.chain.seen().position.unwrap().epoch
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_below_go_on_with_another_feed_key_and_in_another_epoch() {
    let sim = sim();
    let (top, child, root) = two(&sim).await;
    let id = some_update(&top).await;
    let wrong = top.chain.rotate(Key::new([9; 32])).await.unwrap_err().to_string();
    assert!(wrong.contains("not that of the chain"), "{wrong}");
    assert!(child.chain.rotate(root.clone()).await.is_err());
    assert!(child.chain.begin_epoch(root.clone()).await.is_err());

    top.chain.rotate(root.clone()).await.unwrap();
    decide(&top, id, Deciding::Decline).await;
    child.is_like(&top).await;
    assert_eq!(epoch(&child), 1);

    top.chain.begin_epoch(root.clone()).await.unwrap();
    decide(&top, id, Deciding::Reset).await;
    child.is_like(&top).await;
    assert_eq!(epoch(&child), 2);

    // The key that signs now is the one that the next start finds.
    let (dir, address) = top.stopped().await;
    let top = Node::started(dir, address).await;
    decide(&top, id, Deciding::Decline).await;
    child.is_like(&top).await;
    assert_eq!((epoch(&child), child.chain.seen().alarms.len()), (2, 0));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap(), to.to_owned());
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits until `text` stands in what a node says it waits for.
async fn troubled(node: &Node, text: &str) {
    let seen = async {
        while !node.chain.seen().trouble.is_some_and(|why| why.contains(text)) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, seen).await.unwrap_or_else(|_| panic!("{:?}", node.chain.seen()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_was_rolled_back_signs_nothing_until_a_new_epoch_begins() {
    let sim = sim();
    let (top, child, root) = two(&sim).await;
    let (id, before) = (some_update(&top).await, child.chain.seen().position.unwrap());
    let (dir, address) = top.stopped().await;
    let backup = tempfile::tempdir().unwrap();
    copy(&dir.path().join("data"), &backup.path().join("data"));
    let top = Node::started(dir, address).await;
    decide(&top, id, Deciding::Decline).await;
    child.is_like(&top).await;
    let signed = child.chain.seen().position.unwrap();
    assert!(signed > before);

    // Its disk is what it was before; the node below shows what it has verified.
    drop(top.stopped().await);
    let top = Node::started(backup, address).await;
    troubled(&top, "rolled back").await;
    assert!(top.chain.seen().trouble.unwrap().contains(&signed.to_string()));
    // Nothing that is decided now is told, also after a start, and no key but that of a new epoch helps.
    let (dir, _) = top.stopped().await;
    let top = Node::started(dir, address).await;
    troubled(&top, "rolled back").await;
    assert!(top.chain.rotate(root.clone()).await.unwrap_err().to_string().contains("waystation nodes epoch"));
    decide(&top, id, Deciding::Approve { all_files: false }).await;
    let shown = top.store.feed().tail(0, 0, 0, Arc::default()).await.unwrap().unwrap().show;
    let shown = waystation::wire::peer::signed::Checkpoint::read(shown.checkpoint.into()).unwrap();
    assert!(shown.position < signed, "{} {signed}", shown.position);
    assert_eq!(child.chain.seen().position, Some(signed));

    top.chain.begin_epoch(root).await.unwrap();
    child.is_like(&top).await;
    assert_eq!(epoch(&child), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_node_with_the_root_key_goes_on_as_the_authority() {
    let sim = sim();
    let (top, child, root) = two(&sim).await;
    let chain = top.chain.chain().await.unwrap();
    drop(top.stopped().await);
    let anew = Node::new().await;
    anew.chain.begin_epoch(root).await.unwrap();
    anew.is(Role::Authority).await;
    assert_eq!(anew.chain.chain().await.unwrap(), chain);
    runner(&sim, &anew.store, anew.dir()).run(&CancellationToken::new()).await.unwrap();
    decide(&anew, some_update(&anew).await, Deciding::Decline).await;
    // By a token of the new one: its certificates are its own.
    let invited = anew.chain.invite("Berlin", SOON, None, true).await.unwrap();
    child.chain.join(&invited.token).await.unwrap();
    child.is_like(&anew).await;
    assert!(epoch(&child) > 1);
}
