//! Wrong bytes: who is blamed for them, and who is asked next.

use super::*;

/// Two places of one payload; small extents over one connection, so that it is known who gives what.
async fn two(dir: &Path) -> (Node, [Origin; 2], Object, Target) {
    let origins = [Origin::start().await, Origin::start().await];
    let object = Object::made(5 * PIECE, 6);
    let fill = Config { connections_per_host: 1, extent: PIECE, ..Config::default() };
    let node = Node::open(dir, Setup { fill, ..Setup::default() }, &[&origins[0], &origins[1]]);
    let digest = sha256_of(&object.all());
    let places = origins.each_ref().map(|origin| Location { url: origin.url("/a"), standing: Standing::Allowed });
    for origin in &origins {
        origin.put("/a", object.clone());
    }
    node.store.expect(&Name::Digest(Digest::Sha256(digest)), operator(digest), places.to_vec()).await.unwrap();
    let target = node.by_digest(&format!("/sha256/{digest}"));
    (node, origins, object, target)
}

#[tokio::test]
async fn who_gave_wrong_bytes_and_left_is_asked_last() {
    let dir = tempfile::tempdir().unwrap();
    let (node, [first, second], object, target) = two(dir.path()).await;
    for _ in 0..4 {
        first.next("/a", [Fault::Altered(0)]);
        first.next("/a", [Fault::Status(404)]);
    }
    assert!(matches!(node.fill.prefetch(&target).await, Err(Error::Mismatch { .. })));
    let asked = first.log().len();
    let found = node.until_held(&target).await;
    same(&read_held(&found, None).await, &object.all());
    assert_eq!(first.log().len(), asked, "the next flight is the other one's alone");
    assert!(second.sent("/a") >= object.len());
}

#[tokio::test]
async fn places_that_gave_wrong_bytes_together_are_asked_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (node, [first, second], object, target) = two(dir.path()).await;
    // The first gives right bytes and leaves, the second wrong ones.
    first.next("/a", []);
    first.next("/a", [Fault::Status(404)]);
    second.always("/a", [Fault::Altered(0)]);
    assert!(matches!(node.fill.prefetch(&target).await, Err(Error::Mismatch { .. })));
    // Now the second leaves in the middle: the first must not go on where it ended, but give all of it.
    second.always("/a", [Fault::Status(404)]);
    second.next("/a", [Fault::Altered(0)]);
    let before = first.sent("/a");
    let found = node.until_held(&target).await;
    same(&read_held(&found, None).await, &object.all());
    assert_eq!(first.sent("/a") - before, object.len());
}

#[tokio::test]
async fn a_place_that_is_named_for_a_digest_is_asked_first() {
    let dir = tempfile::tempdir().unwrap();
    let (node, [first, second], object, mut target) = two(dir.path()).await;
    first.always("/a", [Fault::Altered(0)]);
    target.locations.push(Location { url: second.url("/a"), standing: Standing::Allowed });
    let found = node.until_held(&target).await;
    same(&read_held(&found, None).await, &object.all());
    assert!(first.log().is_empty());
}
