//! The store through its one door: a life of payloads, crashes at every sync, faults of disk and index, and a long
//! random walk beside a plain model.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where by panicking")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

#[path = "store/catalog.rs"]
mod catalog;
#[path = "store/changes.rs"]
mod changes;
#[path = "store/crash.rs"]
mod crash;
#[path = "support/fault_disk.rs"]
mod fault_disk;
#[path = "store/faults.rs"]
mod faults;
#[path = "store/review.rs"]
mod review;
#[path = "store/room.rs"]
mod room;
#[path = "store/shelves.rs"]
mod shelves;
#[path = "store/upkeep.rs"]
mod upkeep;
#[path = "store/walk.rs"]
mod walk;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fault_disk::{Dice, FaultDisk};
use waystation::base::digest::{Blake3, Digest, Sha256};
use waystation::base::disk::RealDisk;
use waystation::base::span::{Span, SpanSet};
use waystation::base::time::{Clock, Timestamp};
use waystation::model::name::{Name, OriginKey};
use waystation::model::payload::{Alias, Authority, Class, Published, Validators};
use waystation::store::{Config, Draft, DraftSpec, Error, Found, Opened, Store};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// A clock that stands until it is moved.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Hand {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_800_000_000_000)))
    }

    fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::Relaxed))
    }
}

fn config(path: &Path) -> Config {
    Config {
        path: path.to_owned(),
        max_size: 1 << 30,
        min_free: 0,
        unproven: Duration::from_hours(30 * 24),
        index_cache: 8 << 20,
        open_payloads: 64,
        io_threads: 2,
    }
}

fn open(path: &Path) -> (Store, Opened) {
    Store::open(config(path), Arc::new(RealDisk), Hand::new()).unwrap()
}

fn open_on(disk: &FaultDisk, path: &Path) -> Result<(Store, Opened), Error> {
    Store::open_with(config(path), Arc::new(disk.clone()), Hand::new(), &disk.medium())
}

/// Bytes that are like no others.
fn bytes(seed: u64, len: usize) -> Bytes {
    let mut dice = Dice::new(seed);
    (0..len.div_ceil(8)).flat_map(|_| dice.roll(u64::MAX).to_le_bytes()).take(len).collect::<Vec<_>>().into()
}

fn blake3_of(bytes: &[u8]) -> Blake3 {
    Blake3::new(*blake3::hash(bytes).as_bytes())
}

fn sha256_of(bytes: &[u8]) -> Sha256 {
    use sha2::Digest as _;
    Sha256::new(sha2::Sha256::digest(bytes).into())
}

fn url(path: &str) -> Name {
    OriginKey::new(&format!("dl.example.org/{path}")).unwrap().into()
}

fn spec(name: &Name, bytes: &[u8], expected: Option<Authority>) -> DraftSpec {
    DraftSpec {
        name: name.clone(),
        size: bytes.len() as u64,
        tag: format!("tag of {name}"),
        last_modified: Some("Tue, 15 Nov 1994 12:45:26 GMT".into()),
        validators: Validators { etag: Some("\"e\"".into()), last_modified: None },
        expected: expected.map(|authority| Published::one(Digest::Sha256(sha256_of(bytes)), authority)),
        locations: vec![],
        freshness: None,
        whole: false,
    }
}

async fn fill(draft: &Draft, bytes: &Bytes) -> Result<(), Error> {
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + 70_000).min(bytes.len());
        draft.write(at as u64, bytes.slice(at..end)).await?;
        at = end;
    }
    Ok(())
}

async fn publish(store: &Store, name: &Name, bytes: &Bytes, expected: Option<Authority>) -> Result<Found, Error> {
    let draft = store.start_draft(spec(name, bytes, expected)).await?;
    fill(&draft, bytes).await?;
    let proved = draft.prove().await?;
    draft.publish(proved, vec![]).await
}

fn served(found: &Found) -> Bytes {
    found.held.window(Span::new(0, found.held.payload().size))
}

async fn class_of(store: &Store, name: &Name) -> Option<Class> {
    store.find(name).await.unwrap().map(|found| found.held.payload().class)
}

#[tokio::test]
async fn a_payload_is_found_under_every_name_and_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = open(dir.path());
    assert!(opened.created && opened.epoch == 1);
    let content = bytes(1, 300_001);
    let name = url("a");
    assert!(store.find(&name).await.unwrap().is_none() && store.hot(&name).is_none());
    let found = publish(&store, &name, &content, Some(Authority::Catalog)).await.unwrap();
    assert_eq!(found.held.payload().class, Class::Proven);
    assert_eq!(found.alias.tag, format!("tag of {name}"));
    let digests = found.held.payload().digests;
    assert_eq!((digests.blake3, digests.sha256), (blake3_of(&content), sha256_of(&content)));
    let other = url("b");
    let alias = Alias { tag: "b".into(), last_modified: None, validators: Validators::default(), freshness: None };
    store.alias(digests.blake3, other.clone(), alias).await.unwrap();
    assert!(store.hot(&name).is_some(), "what was published is open");
    let both =
        Published { sha1: Some(digests.sha1), ..Published::one(Digest::Sha256(digests.sha256), Authority::Catalog) };
    store.expect(&url("b"), both, vec![]).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.find(&url("c")).await, Err(Error::Unavailable { .. })));

    let (store, opened) = open(dir.path());
    assert!(!opened.created && opened.drafts_swept == 0 && opened.intents_undone == 0);
    for (name, tag) in [
        (name, "tag of dl.example.org/a".to_owned()),
        (other, "b".to_owned()),
        (digests.sha256.into_name(), format!("sha256-{}", digests.sha256)),
        (Digest::Blake3(digests.blake3).into(), format!("blake3-{}", digests.blake3)),
        (Digest::Sha1(digests.sha1).into(), format!("sha1-{}", digests.sha1)),
    ] {
        let found = store.find(&name).await.unwrap().unwrap();
        assert_eq!((served(&found), &found.alias.tag), (content.clone(), &tag), "{name}");
        assert!(store.hot(&name).is_some());
    }
    let listed = store.list(None, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].names.len()), (1, 5));
    store.close().await.unwrap();
}

trait IntoName {
    fn into_name(self) -> Name;
}

impl IntoName for Sha256 {
    fn into_name(self) -> Name {
        Digest::Sha256(self).into()
    }
}

#[tokio::test]
async fn wrong_bytes_are_never_published() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (right, wrong) = (bytes(1, 5000), bytes(2, 5000));
    let name = url("a");
    let draft = store.start_draft(spec(&name, &right, Some(Authority::Operator))).await.unwrap();
    fill(&draft, &wrong).await.unwrap();
    let error = draft.prove().await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains(&sha256_of(&wrong).to_string()));
    draft.quarantine("its bytes were wrong").await.unwrap();
    assert!(store.find(&name).await.unwrap().is_none() && store.draft(&name).await.unwrap().is_none());
    assert_eq!(store.note(&name).await.unwrap().generation, 2);
    let kept: Vec<_> = std::fs::read_dir(dir.path().join("quarantine")).unwrap().map(|e| e.unwrap().path()).collect();
    let why = kept.iter().find(|path| path.extension().is_some()).unwrap();
    assert!(std::fs::read_to_string(why).unwrap().contains("its bytes were wrong"));
    assert!(kept.iter().any(|path| std::fs::read(path).unwrap() == wrong));

    // Under the name of another digest they are wrong too, whoever asked.
    let address: Name = Digest::Sha256(sha256_of(&right)).into();
    let draft = store.start_draft(spec(&address, &wrong, None)).await.unwrap();
    fill(&draft, &wrong).await.unwrap();
    assert!(matches!(draft.prove().await, Err(Error::Mismatch { .. })));
    draft.discard().await.unwrap();
    assert!(matches!(draft.write(0, wrong.clone()).await, Err(Error::Gone)));
    assert_eq!(publish(&store, &address, &right, None).await.unwrap().held.payload().class, Class::Proven);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_turns_up_later_promotes_or_throws_out() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let contents: Vec<_> = (0..4).map(|seed| bytes(seed, 4000)).collect();
    for (at, content) in contents.iter().enumerate() {
        let found = publish(&store, &url(&at.to_string()), content, None).await.unwrap();
        assert_eq!(found.held.payload().class, Class::Unproven);
        assert!(found.held.payload().expires_at.is_some());
    }
    let claim = |content: &Bytes, authority| Published::one(Digest::Sha256(sha256_of(content)), authority);
    // An unauthenticated word does nothing, right or wrong.
    store.expect(&url("0"), claim(&contents[0], Authority::Unauthenticated), vec![]).await.unwrap();
    store.expect(&url("1"), claim(&contents[0], Authority::Unauthenticated), vec![]).await.unwrap();
    assert_eq!(class_of(&store, &url("0")).await, Some(Class::Unproven));
    assert_eq!(class_of(&store, &url("1")).await, Some(Class::Unproven));
    // A match promotes, by the name or by the digest alone.
    store.expect(&url("0"), claim(&contents[0], Authority::Operator), vec![]).await.unwrap();
    store.expect(&sha256_of(&contents[1]).into_name(), claim(&contents[1], Authority::Catalog), vec![]).await.unwrap();
    assert_eq!(class_of(&store, &url("0")).await, Some(Class::Proven));
    assert_eq!(class_of(&store, &url("1")).await, Some(Class::Proven));
    // A contradiction throws out what is unproven, and what a weaker authority had proved, but nothing stronger.
    store.expect(&url("2"), claim(&contents[3], Authority::FileName), vec![]).await.unwrap();
    assert_eq!(class_of(&store, &url("2")).await, None);
    store.expect(&url("1"), claim(&contents[3], Authority::Operator), vec![]).await.unwrap();
    assert_eq!(class_of(&store, &url("1")).await, Some(Class::Proven));
    store.expect(&url("0"), claim(&contents[3], Authority::Catalog), vec![]).await.unwrap();
    assert_eq!(class_of(&store, &url("0")).await, None);
    assert!(store.space().await.unwrap().quarantine > 0);
    store.close().await.unwrap();
}

fn sha1_of(bytes: &[u8]) -> waystation::base::digest::Sha1 {
    use sha1::Digest as _;
    waystation::base::digest::Sha1::new(sha1::Sha1::digest(bytes).into())
}

#[tokio::test]
async fn a_sha1_names_only_what_nobody_can_have_made_two_of() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let under = |content: &Bytes| Name::Digest(Digest::Sha1(sha1_of(content)));
    let both = |content: &Bytes, authority| Published {
        sha1: Some(sha1_of(content)),
        ..Published::one(Digest::Sha256(sha256_of(content)), authority)
    };
    // Proven by its SHA-256 alone: nobody looked for a collision, and a name in an address vouches for nothing.
    let plain = bytes(1, 5000);
    publish(&store, &url("plain"), &plain, Some(Authority::Catalog)).await.unwrap();
    store.expect(&url("plain"), both(&plain, Authority::FileName), vec![]).await.unwrap();
    assert_eq!(names_of(&store, &plain).await, 3);
    // A catalog that has both does, also afterwards.
    store.expect(&url("plain"), both(&plain, Authority::Catalog), vec![]).await.unwrap();
    assert_eq!(names_of(&store, &plain).await, 4);
    assert_eq!(served(&store.find(&under(&plain)).await.unwrap().unwrap()), plain);
    // And before.
    let known = bytes(2, 5000);
    let spec_of = DraftSpec { expected: Some(both(&known, Authority::Operator)), ..spec(&url("known"), &known, None) };
    let draft = store.start_draft(spec_of).await.unwrap();
    fill(&draft, &known).await.unwrap();
    let proved = draft.prove().await.unwrap();
    draft.publish(proved, vec![]).await.unwrap();
    assert_eq!(served(&store.find(&under(&known)).await.unwrap().unwrap()), known);
    // Where nobody says anything a collision is looked for once somebody asks for the SHA-1. It is shown before.
    let unknown = bytes(3, 5000);
    publish(&store, &url("unknown"), &unknown, None).await.unwrap();
    assert_eq!(names_of(&store, &unknown).await, 3);
    let shown = store.show(&under(&unknown)).await.unwrap().unwrap();
    assert_eq!(shown.payload.digests.blake3, blake3_of(&unknown));
    assert_eq!(served(&store.find(&under(&unknown)).await.unwrap().unwrap()), unknown);
    assert!(store.hot(&under(&unknown)).is_some() && names_of(&store, &unknown).await == 4);
    store.close().await.unwrap();
}

/// How many names a held payload has.
async fn names_of(store: &Store, content: &Bytes) -> usize {
    store.show(&Digest::Blake3(blake3_of(content)).into()).await.unwrap().unwrap().names.len()
}

/// The first 320 bytes of the two PDF files of the SHAttered attack (2017) differ and have one SHA-1.
fn collision() -> [Bytes; 2] {
    let prefix = "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f4865696768742033203\
                  020522f547970652034203020522f537562747970652035203020522f46696c7465722036203020522f436f6c6f725370616\
                  3652037203020522f4c656e6774682038203020522f42697473506572436f6d706f6e656e7420383e3e0a73747265616d0af\
                  fd8fffe00245348412d3120697320646561642121212121852fec092339759c39b1a1c63c4c97e1fffe01";
    let one = "7f46dc93a6b67e013b029aaa1db2560b45ca67d688c7f84b8c4c791fe02b3df614f86db1690901c56b45c1530afedfb76038e97\
               2722fe7ad728f0e4904e046c230570fe9d41398abe12ef5bc942be33542a4802d98b5d70f2a332ec37fac3514e74ddc0f2cc1a\
               874cd0c78305a21566461309789606bd0bf3f98cda8044629a1";
    let other = "7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fedfb3dc38e9\
                 6ac22fe7bd728f0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf93ac3500eb4ddc0decc\
                 1a864790c782c76215660dd309791d06bd0af3f98cda4bc4629b1";
    [one, other].map(|tail| {
        let text = format!("{prefix}{tail}");
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    })
}

#[tokio::test]
async fn bytes_made_for_a_collision_are_never_named_by_their_sha1() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let [one, other] = collision();
    let short = Name::Digest(Digest::Sha1(sha1_of(&one)));
    assert_eq!((sha1_of(&one), one == other), (sha1_of(&other), false));
    publish(&store, &url("one"), &one, None).await.unwrap();
    publish(&store, &url("other"), &other, Some(Authority::Catalog)).await.unwrap();
    for _ in 0..2 {
        assert!(store.find(&short).await.unwrap().is_none());
    }
    assert_eq!((names_of(&store, &one).await, names_of(&store, &other).await), (3, 3));
    assert!(store.show(&short).await.unwrap().is_none(), "nobody will look again");
    // Nor does a SHA-1 alone prove them, before anybody looked or after.
    let file = dir.path().with_extension("in");
    std::fs::write(&file, &one).unwrap();
    let claim = Published::one(Digest::Sha1(sha1_of(&one)), Authority::Operator);
    let refused = store.import(file.clone(), false, Some(claim), vec![]).await;
    assert!(matches!(refused, Err(Error::Mismatch { .. })), "{refused:?}");
    std::fs::remove_file(file).unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_sha1_that_is_published_later_proves_what_is_read_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let [asked, published, listed] = [bytes(1, 200_000), bytes(2, 200_000), bytes(3, 200_000)];
    let claim = |content: &Bytes| Published::one(Digest::Sha1(sha1_of(content)), Authority::Catalog);
    for (name, content) in [("a", &asked), ("b", &published), ("c", &listed)] {
        let found = publish(&store, &url(name), content, None).await.unwrap();
        assert_eq!(found.held.payload().class, Class::Unproven);
    }
    // By its address, and by the digest alone.
    store.expect(&url("b"), claim(&published), vec![]).await.unwrap();
    assert_eq!(class_of(&store, &url("b")).await, Some(Class::Proven));
    store.expect(&Digest::Sha1(sha1_of(&listed)).into(), claim(&listed), vec![]).await.unwrap();
    assert_eq!(class_of(&store, &url("c")).await, Some(Class::Proven));
    // A restart knows what nobody has looked at.
    store.close().await.unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(class_of(&store, &Digest::Sha1(sha1_of(&asked)).into()).await, Some(Class::Unproven));
    assert_eq!(class_of(&store, &Digest::Sha1(sha1_of(&published)).into()).await, Some(Class::Proven));
    // What is removed is not looked for any more.
    store.remove(blake3_of(&asked)).await.unwrap();
    assert!(store.find(&Digest::Sha1(sha1_of(&asked)).into()).await.unwrap().is_none());
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_read_once_more_counts_as_left_to_hash() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = Store::open_with(config(dir.path()), Arc::new(disk.clone()), Hand::new(), &disk.medium()).unwrap();
    let content = bytes(1, 200_000);
    let draft = store.start_draft(spec(&url("a"), &content, None)).await.unwrap();
    fill(&draft, &content).await.unwrap();
    while draft.hashed() < 200_000 {
        tokio::task::yield_now().await;
    }
    // Only now it is told that a SHA-1 has to prove it.
    store.expect(&url("a"), Published::one(Digest::Sha1(sha1_of(&content)), Authority::Catalog), vec![]).await.unwrap();
    disk.set_faults(fault_disk::Faults { read_waits: Some(dir.path().join("drafts")), ..Default::default() });
    disk.read_gate.shut();
    let draft = Arc::new(draft);
    let proving = tokio::spawn({
        let draft = Arc::clone(&draft);
        async move { draft.prove().await }
    });
    disk.read_gate.arrival().await;
    assert_eq!(draft.hashed(), 0, "who waits for the proof is told how far it is");
    disk.read_gate.open_up();
    let proved = proving.await.unwrap().unwrap();
    assert_eq!(draft.hashed(), 200_000);
    let found = draft.publish(proved, vec![]).await.unwrap();
    assert_eq!(found.held.payload().class, Class::Proven);
    drop((draft, found));
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_strongest_claim_proves_by_a_sha1_that_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 200_000);
    let claim = Published::one(Digest::Sha1(sha1_of(&content)), Authority::Catalog);
    store.expect(&url("a"), claim, vec![]).await.unwrap();
    // The draft knows of a SHA-256 that an operator gave; the catalog is stronger and has a SHA-1 only.
    let found = publish(&store, &url("a"), &content, Some(Authority::Operator)).await.unwrap();
    assert_eq!(found.held.payload().class, Class::Proven);
    // The same for a file that is taken in.
    let file = dir.path().with_extension("in");
    let other = bytes(2, 200_000);
    std::fs::write(&file, &other).unwrap();
    let claim = Published::one(Digest::Sha1(sha1_of(&other)), Authority::Catalog);
    store.expect(&url("b"), claim, vec![]).await.unwrap();
    let expected = Published::one(Digest::Sha256(sha256_of(&other)), Authority::Operator);
    let found = store.import(file.clone(), false, Some(expected), vec![]).await.unwrap();
    assert_eq!(found.held.payload().class, Class::Proven);
    std::fs::remove_file(file).unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_noted_before_judges_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 100_000);
    let claim = Published::one(Digest::Sha256(sha256_of(&content)), Authority::Catalog);
    store.expect(&url("noted"), claim, vec![]).await.unwrap();
    assert_eq!(store.note(&url("noted")).await.unwrap().expected, Some(claim));
    assert!(matches!(publish(&store, &url("noted"), &bytes(2, 10), None).await, Err(Error::Mismatch { .. })));
    // The same bytes under another name are proven by the note of their digest.
    assert_eq!(publish(&store, &url("other"), &content, None).await.unwrap().held.payload().class, Class::Proven);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_claim_that_comes_between_proof_and_publish_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 100_000);
    for (at, claimed, authority) in [(0, &content, Some(Class::Proven)), (1, &bytes(2, 10), None)] {
        let name = url(&at.to_string());
        let body: Bytes = if at == 0 { content.clone() } else { bytes(3, 5000) };
        let draft = store.start_draft(spec(&name, &body, None)).await.unwrap();
        fill(&draft, &body).await.unwrap();
        let proved = draft.prove().await.unwrap();
        let claim = Published::one(Digest::Sha256(sha256_of(claimed)), Authority::Catalog);
        store.expect(&name, claim, vec![]).await.unwrap();
        let published = draft.publish(proved, vec![]).await;
        assert_eq!(published.is_err(), authority.is_none(), "{published:?}");
        assert!(published.is_ok() || matches!(published, Err(Error::Mismatch { .. })));
        assert_eq!(class_of(&store, &name).await, authority);
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_unproven_payload_ends_unless_it_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap();
    let (a, b) = (bytes(1, 9000), bytes(2, 9000));
    publish(&store, &url("a"), &a, None).await.unwrap();
    publish(&store, &url("b"), &b, None).await.unwrap();
    store.pin(blake3_of(&b), "the test").await.unwrap();
    clock.forward(31 * DAY);
    assert!(store.hot(&url("a")).is_none() && store.find(&url("a")).await.unwrap().is_none());
    assert!(store.find(&url("b")).await.unwrap().is_some());
    assert!(store.evict_step(0).await.unwrap() > 0);
    let listed = store.list(None, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].pinned.as_ref().map(|pin| pin.by.as_str()), Some("the test"));
    store.unpin(blake3_of(&b)).await.unwrap();
    assert!(store.show(&url("b")).await.unwrap().unwrap().payload.expires_at.is_some());
    // Filled again it is the same payload again.
    clock.forward(31 * DAY);
    publish(&store, &url("b"), &b, None).await.unwrap();
    assert!(store.find(&url("b")).await.unwrap().is_some());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_removed_payload_is_read_to_the_end_by_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 500_000);
    let found = publish(&store, &url("a"), &content, None).await.unwrap();
    store.remove(blake3_of(&content)).await.unwrap();
    assert!(store.hot(&url("a")).is_none() && store.find(&url("a")).await.unwrap().is_none());
    assert!(matches!(store.remove(blake3_of(&content)).await, Err(Error::Gone)));
    assert_eq!(served(&found), content);
    // Its blocks count until nobody reads it any more.
    assert!(store.space().await.unwrap().payloads >= 500_000);
    drop(found);
    let space = store.space().await.unwrap();
    assert_eq!((space.payloads, space.payloads_count), (0, 0));
    assert_eq!(publish(&store, &url("a"), &content, None).await.map(|found| served(&found)).unwrap(), content);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_repair_replaces_the_file_and_keeps_the_names() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 400_000);
    let blake3 = blake3_of(&content);
    let before = publish(&store, &url("a"), &content, Some(Authority::Catalog)).await.unwrap();
    let path = dir.path().join(format!("content/{}/{blake3}", &blake3.to_string()[..2]));
    // A bit flips on the disk: another file, since the mapped one must not change under anybody.
    let mut bad = content.to_vec();
    bad[70_000] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &bad).unwrap();
    let groups = Arc::new(AtomicU64::new(0));
    let told = groups.clone();
    let spans = store
        .verify(blake3, Box::new(move |len| told.store(told.load(Ordering::Relaxed) + len, Ordering::Relaxed)))
        .await
        .unwrap();
    assert_eq!(groups.load(Ordering::Relaxed), 400_000);
    assert_eq!(spans.iter().collect::<Vec<_>>(), [Span::new(65_536, 131_072)]);
    let draft = store.repair_draft(blake3, spans, vec![]).await.unwrap();
    assert_eq!(draft.covered().total(), 400_000 - 65_536);
    draft.write(65_536, content.slice(65_536..131_072)).await.unwrap();
    let proved = draft.prove().await.unwrap();
    let after = draft.publish(proved, vec![]).await.unwrap();
    assert_eq!((served(&after), served(&before)), (content.clone(), content.clone()));
    assert!(store.verify(blake3, Box::new(|_| ())).await.unwrap().is_empty());
    let found = store.find(&url("a")).await.unwrap().unwrap();
    assert_eq!((found.held.payload().class, found.alias.tag.as_str()), (Class::Proven, "tag of dl.example.org/a"));
    assert_eq!(store.space().await.unwrap().payloads_count, 1);
    // The fresh draft of a repair that brings other bytes is no repair.
    let draft = store.repair_draft(blake3, SpanSet::from_iter([Span::new(0, 10)]), vec![]).await.unwrap();
    draft.write(0, bytes(9, 65_536)).await.unwrap();
    assert!(matches!(draft.prove().await, Err(Error::Mismatch { .. })));
    store.close().await.unwrap();
}

#[tokio::test]
async fn reading_a_payload_again_ends_when_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 400_000);
    publish(&store, &url("a"), &content, None).await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let each = move |read: u64| {
        tell.send(read).unwrap();
        // At the first group until the asker has gone, from then on at once.
        let _ = gate.recv();
    };
    let verify = tokio::spawn({
        let store = store.clone();
        async move { store.verify(blake3_of(&content), Box::new(each)).await }
    });
    told.recv().await.unwrap();
    verify.abort();
    assert!(verify.await.unwrap_err().is_cancelled());
    drop(go);
    store.close().await.unwrap();
    assert!(told.recv().await.is_none(), "it read on though nobody waited");
}

#[tokio::test]
async fn what_is_known_to_be_bad_waits_unserved_to_be_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 400_000);
    let blake3 = blake3_of(&content);
    publish(&store, &url("a"), &content, Some(Authority::Catalog)).await.unwrap();
    store.pin(blake3, "me").await.unwrap();
    let path = dir.path().join(format!("content/{}/{blake3}", &blake3.to_string()[..2]));
    let spoil = || {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes(7, 400_000)).unwrap();
    };
    spoil();
    store.withhold(blake3, "the test says so").await.unwrap();
    assert!(store.hot(&url("a")).is_none() && store.find(&url("a")).await.unwrap().is_none());
    store.close().await.unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(store.withheld(), [blake3]);
    assert!(store.find(&url("a")).await.unwrap().is_none(), "a restart forgets nothing");
    assert!(store.show(&url("a")).await.unwrap().unwrap().pinned.is_some(), "names and pin stay");
    // The whole object coming in once more takes the place of the bad file.
    let found = publish(&store, &url("b"), &content, None).await.unwrap();
    assert_eq!((served(&found), store.withheld()), (content.clone(), vec![]));
    assert_eq!(served(&store.find(&url("a")).await.unwrap().unwrap()), content);
    // So does a repair; and what turns out to be good is served again as it is.
    spoil();
    store.withhold(blake3, "again").await.unwrap();
    let draft = store.repair_draft(blake3, SpanSet::from_iter([Span::new(0, 400_000)]), vec![]).await.unwrap();
    fill(&draft, &content).await.unwrap();
    let proved = draft.prove().await.unwrap();
    assert_eq!(served(&draft.publish(proved, vec![]).await.unwrap()), content);
    store.withhold(blake3, "for nothing").await.unwrap();
    store.release(blake3).await.unwrap();
    assert!(store.find(&url("a")).await.unwrap().is_some());
    store.withhold(blake3, "and it goes").await.unwrap();
    store.remove(blake3).await.unwrap();
    assert!(store.withheld().is_empty() && matches!(store.withhold(blake3, "gone").await, Err(Error::Gone)));
    store.close().await.unwrap();
    let (store, _) = open(dir.path());
    assert!(store.withheld().is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_draft_goes_on_where_its_checkpoint_was() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let content = bytes(1, 3_000_000);
    let name = url("a");
    let draft = store.start_draft(spec(&name, &content, None)).await.unwrap();
    draft.write(1 << 20, content.slice(1 << 20..2 << 20)).await.unwrap();
    draft.write(100, content.slice(100..200)).await.unwrap();
    draft.checkpoint().await.unwrap();
    draft.drop_span(Span::new(150, 160)).await.unwrap();
    draft.write(2 << 20, content.slice(2 << 20..)).await.unwrap();
    assert_eq!(draft.run_at(1 << 20), 3_000_000 - (1 << 20));
    draft.amend(true, vec![], None).await.unwrap();
    disk.off();
    drop((draft, store));
    let after = tempfile::tempdir().unwrap();
    disk.crash(0, after.path());
    let (store, opened) = open(after.path());
    assert_eq!((opened.drafts_kept, opened.drafts_swept), (1, 0));
    let draft = store.draft(&name).await.unwrap().unwrap();
    assert_eq!(
        draft.covered().iter().collect::<Vec<_>>(),
        [Span::new(100, 150), Span::new(160, 200), Span::new(1 << 20, 2 << 20)]
    );
    assert_eq!(draft.read(Span::new(100, 150)).await.unwrap(), content.slice(100..150));
    assert!(draft.spec().whole && draft.spec().tag == format!("tag of {name}"));
    assert!(matches!(draft.prove().await, Err(Error::Invalid { .. })));
    fill(&draft, &content).await.unwrap();
    let proved = draft.prove().await.unwrap();
    let found = draft.publish(proved, vec![]).await.unwrap();
    assert_eq!(served(&found), content);
    assert_eq!(draft.read(Span::new(5, 50)).await.unwrap(), content.slice(5..50), "a follower ends well");
    assert!(store.drafts().await.unwrap().is_empty());
    store.close().await.unwrap();
}
