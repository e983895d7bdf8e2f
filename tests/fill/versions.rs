//! Versions of an object: the one that is held, the one that comes, and none at all.

use super::*;

fn aging(seed: u64) -> Object {
    Object::made(100 * PIECE, seed).header("Cache-Control", "max-age=60")
}

#[tokio::test]
async fn the_draft_of_a_new_version_outlives_a_pause() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let setup = Setup { fill: Config { complete: Complete::Never, ..Config::default() }, ..Setup::default() };
    let first = Span::new(0, PIECE);
    for (path, date) in [("/tag", None), ("/date", Some("Mon, 07 Nov 1994 08:49:37 GMT"))] {
        let node = Node::open(dir.path(), setup.clone(), &[&origin]);
        let target = node.target(&origin, path);
        origin.put(path, Object::made(1000, 1).header("Cache-Control", "max-age=60"));
        node.until_held(&target).await;
        node.clock.0.fetch_add(61_000, Ordering::Relaxed);
        let new = date.map_or_else(|| aging(2), |date| aging(2).etag("").last_modified(date));
        origin.put(path, new.clone());
        let (facts, flight, _) = node.fly(&target, part(first)).await;
        same(&read(&flight, first, client(1)).await.1.unwrap(), &new.bytes(first));
        drop(flight);
        // The pause: its flight is over, its draft is there.
        let now = node.clock.0.load(Ordering::Relaxed);
        node.close().await;
        let node = Node::open(dir.path(), setup.clone(), &[&origin]);
        node.clock.0.store(now, Ordering::Relaxed);
        let sent = origin.sent(path);
        let (again, flight, status) = node.fly(&target, part(first)).await;
        assert_eq!((again.tag, status.outcome), (facts.tag, Outcome::Partial));
        same(&read(&flight, first, client(1)).await.1.unwrap(), &new.bytes(first));
        assert!(origin.sent(path) - sent <= 256 << 10, "at most the answer that showed which version it is");
        drop(flight);
        node.close().await;
        // A third version takes its place.
        let node = Node::open(dir.path(), setup.clone(), &[&origin]);
        node.clock.0.store(now, Ordering::Relaxed);
        let newer = aging(3);
        origin.put(path, newer.clone());
        same(&node.get(&target, Some(first), client(1)).await.unwrap(), &newer.bytes(first));
        node.close().await;
    }
}

#[tokio::test]
async fn what_the_origin_says_of_a_stale_object_is_said_each_time() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(1000, 1).header("Cache-Control", "max-age=60");
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    node.until_held(&target).await;
    node.clock.0.fetch_add(61_000, Ordering::Relaxed);
    for status in [404, 403, 410] {
        origin.always("/a", [Fault::Status(status)]);
        for _ in 0..3 {
            match node.fill.obtain(&target, whole()).await {
                Err(Error::Origin(_, told)) => assert_eq!(told, status),
                other => panic!("{status} was due, got {other:?}"),
            }
        }
    }
    // One that cannot be asked has said nothing, and is left alone for a while.
    origin.always("/a", [Fault::HangUp]);
    assert_eq!(node.hold(&target).await.1.outcome, Outcome::Stale);
    let asked = origin.log().len();
    assert_eq!(node.hold(&target).await.1.outcome, Outcome::Stale);
    assert_eq!(origin.log().len(), asked);
}
