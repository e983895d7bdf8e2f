//! What the catalog publishes, in flights: its digests judge, its addresses are asked, its lengths are believed.

use waystation::keep::review;
use waystation::model::update::{File, Identity, Kind, Update, UpdateId};
use waystation::store::catalog::{Batch, Incoming, Upstream, UpstreamKind};

use super::*;

/// The file whose content are these bytes.
fn file(bytes: &[u8]) -> File {
    File {
        sha1: sha1_of(bytes),
        sha256: Some(sha256_of(bytes)),
        name: "windows.cab".into(),
        size: bytes.len() as u64,
        modified: None,
        patching: String::new(),
        encrypted: false,
    }
}

/// Puts an update of these files, which lie at these addresses, into the catalog.
async fn publish(node: &Node, authenticated: bool, number: u8, files: &[(File, String)]) {
    let catalog = node.store.catalog();
    let upstream = if authenticated {
        Upstream { kind: UpstreamKind::Microsoft, address: "https://sws.example.org".into(), unauthenticated: false }
    } else {
        Upstream { kind: UpstreamKind::Wsus, address: "http://wsus.example.org:8530".into(), unauthenticated: true }
    };
    catalog.begin_upstream(upstream).await.unwrap();
    let identity = Identity { id: UpdateId::new([number; 16]), revision: 1 };
    let update = Update {
        deployable: true,
        files: files.iter().map(|(file, _)| file.clone()).collect(),
        ..Update::new(identity, Kind::Software)
    };
    let text = || format!("<Update id=\"{identity}\"/>").into();
    let urls = files.iter().map(|(file, url)| (file.sha1, url.clone())).collect();
    let incoming =
        Incoming { update, document: text(), cabinet: false, core: text(), extended: text(), localized: vec![], urls };
    let batch = Batch { set: "all".into(), updates: vec![incoming], ..Batch::default() };
    let applied = catalog.import(batch).await.unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
}

fn content(file: &File) -> String {
    let hex = file.sha1.to_string().to_uppercase();
    format!("/Content/{}/{hex}.cab", &hex[38..])
}

#[tokio::test]
async fn what_a_client_asks_for_by_its_address_is_proven_by_the_catalog() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(2 * PIECE + 5, 1);
    origin.put("/files/0a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let file = file(&object.all());
    publish(&node, true, 1, &[(file.clone(), origin.url("/files/0a"))]).await;
    let target = node.target(&origin, "/files/0a");
    same(&node.get(&target, None, client(1)).await.unwrap(), &object.all());
    let (found, status) = node.hold(&target).await;
    assert_eq!(found.held.payload().class, Class::Proven);
    assert_eq!(status.to_string(), "waystation; hit; detail=proven");
    // It has every name that it can have, and nothing is asked for them.
    for path in [content(&file), format!("/sha256/{}", file.sha256.unwrap())] {
        let (found, _) = node.hold(&node.by_digest(&path)).await;
        assert_eq!(
            found.alias.tag,
            if path.contains("Content") {
                format!("sha1-{}", file.sha1)
            } else {
                format!("sha256-{}", file.sha256.unwrap())
            }
        );
    }
    assert_eq!(origin.sent("/files/0a"), object.len());
    let explained =
        node.fill.explain(&Ask { host: None, path: &content(&file), query: None, via: None }).await.unwrap();
    let line = |what: &str| explained.lines.iter().find(|(line, _)| line == what).map(|(_, is)| is.as_str());
    assert_eq!(line("catalog"), Some("names it by its digest: \"windows.cab\", 2097157 bytes"));
    assert_eq!(line("room"), Some("goes when it is the one least recently used of its class"));
    node.close().await;
}

#[tokio::test]
async fn wrong_bytes_of_a_file_of_the_catalog_are_never_published() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(PIECE + 5, 2);
    origin.put("/files/0b", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let file = file(&object.all());
    publish(&node, true, 1, &[(file.clone(), origin.url("/files/0b"))]).await;
    let target = node.target(&origin, "/files/0b");
    origin.next("/files/0b", [Fault::Altered(1000)]);
    origin.next("/files/0b", [Fault::Altered(1000)]);
    assert!(matches!(node.fill.prefetch(&target).await, Err(Error::Mismatch { .. })));
    assert!(node.store.find(&target.name).await.unwrap().is_none());
    // Another length is another object: not a byte of it leaves.
    origin.put("/files/0b", Object::made(PIECE + 6, 2));
    let before = origin.sent("/files/0b");
    let error = node.get(&target, None, client(1)).await.unwrap_err();
    assert!(error.to_string().contains("the catalog publishes"), "{error}");
    assert!(origin.sent("/files/0b") - before <= PIECE + 6);
    origin.put("/files/0b", object.clone());
    same(&read_held(&node.until_held(&target).await, None).await, &object.all());
    node.close().await;
}

#[tokio::test]
async fn a_digest_that_is_not_held_is_asked_for_where_the_catalog_says() {
    let (dir, origin, other) = (tempfile::tempdir().unwrap(), Origin::start().await, Origin::start().await);
    let (object, secret) = (Object::made(300_000, 3), Object::made(200_000, 4));
    for at in [&origin, &other] {
        at.put("/x/0c", object.clone());
        at.put("/x/0d", secret.clone());
    }
    // The other one is not on the allow-list.
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let known = file(&object.all());
    let encrypted = File { encrypted: true, ..file(&secret.all()) };
    // From a catalog that proves nothing: the digest that was asked for judges.
    publish(&node, false, 1, &[(known.clone(), other.url("/x/0c")), (encrypted.clone(), origin.url("/x/0d"))]).await;
    let target = node.by_digest(&content(&known));
    assert!(matches!(node.fill.prefetch(&target).await, Err(Error::Nowhere)));
    assert!(other.log().is_empty());
    publish(&node, false, 2, &[(known.clone(), origin.url("/x/0c"))]).await;
    let found = node.until_held(&target).await;
    same(&read_held(&found, None).await, &object.all());
    assert_eq!(found.held.payload().class, Class::Proven, "by its address, /Content/..");
    assert!(other.log().is_empty());
    // What lies at the address of an encrypted file is not what its digests say.
    assert!(matches!(node.fill.prefetch(&node.by_digest(&content(&encrypted))).await, Err(Error::Nowhere)));
    node.close().await;
}

#[tokio::test]
async fn a_catalog_that_proves_nothing_proves_nothing() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(100_000, 5);
    origin.put("/files/0e", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    publish(&node, false, 1, &[(file(b"something else"), origin.url("/files/0e"))]).await;
    let target = node.target(&origin, "/files/0e");
    let found = node.until_held(&target).await;
    assert_eq!(found.held.payload().class, Class::Unproven);
    let review = async || review::pass(&node.store, &CancellationToken::new()).await.unwrap();
    assert_eq!((review().await.promoted, review().await.thrown_out), (0, 0));
    // Who proves himself says that it is another one: it goes, and the next one who asks has it fetched anew.
    let right = Object::made(100_000, 6);
    publish(&node, true, 2, &[(file(&right.all()), origin.url("/files/0e"))]).await;
    assert_eq!(review().await.thrown_out, 1);
    assert!(node.store.find(&target.name).await.unwrap().is_none());
    origin.put("/files/0e", right.clone());
    let found = node.until_held(&target).await;
    same(&read_held(&found, None).await, &right.all());
    assert_eq!(found.held.payload().class, Class::Proven);
    node.close().await;
}

#[tokio::test]
async fn what_is_said_of_an_address_while_it_is_filled_judges_it() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(3 * PIECE, 7);
    origin.put("/files/0f", object.clone());
    origin.always("/files/0f", [Fault::Slow(8 << 20)]);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/files/0f");
    let (_, flight, _) = node.fly(&target, part(Span::new(0, 10))).await;
    let mut tail = flight.tail(Span::new(0, 10), client(1));
    assert!(tail.next().await.unwrap().is_ok());
    publish(&node, true, 1, &[(file(&object.all()), origin.url("/files/0f"))]).await;
    let found = node.until_held(&target).await;
    assert_eq!(found.held.payload().class, Class::Proven);
    drop((tail, flight));
    node.close().await;
}
