//! Space, quotas, import, backup, restore, rebuild, the account, and that opening counts nothing.

use std::sync::Mutex;

use waystation::model::payload::Freshness;
use waystation::store::{self, Tally};

use super::*;
use crate::fault_disk::Faults;

const DAY_HOURS: u32 = 24;

#[tokio::test]
async fn room_is_made_in_the_promised_order() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let small = Config { max_size: 700 << 10, ..config(dir.path()) };
    let (store, _) = Store::open(small, Arc::new(RealDisk), clock.clone()).unwrap();
    let mut put = Vec::new();
    // Two proven, two unproven, an idle draft; 100 KiB each.
    for (at, expected) in [Some(Authority::Catalog), Some(Authority::Catalog), None, None].into_iter().enumerate() {
        clock.forward(HOUR);
        let body = bytes(at as u64, 100 << 10);
        publish(&store, &url(&at.to_string()), &body, expected).await.unwrap();
        put.push(body);
    }
    store.pin(blake3_of(&put[0]), "test").await.unwrap();
    let draft = store.start_draft(spec(&url("draft"), &bytes(9, 100 << 10), None)).await.unwrap();
    fill(&draft, &bytes(9, 100 << 10)).await.unwrap();
    draft.checkpoint().await.unwrap();
    // Hashed to the end, so that no work in the background holds it open when its turn comes.
    draft.prove().await.unwrap();
    drop(draft);
    clock.forward(2 * HOUR);
    // The second unproven one is in use by somebody, the first is not.
    let used = store.find(&url("3")).await.unwrap().unwrap();
    let state = async || {
        let mut held = Vec::new();
        for at in 0..4 {
            if store.show(&url(&at.to_string())).await.unwrap().is_some() {
                held.push(at.to_string());
            }
        }
        let drafts = store.drafts().await.unwrap();
        held.extend(drafts.iter().filter(|(spec, _)| spec.name == url("draft")).map(|_| "draft".to_owned()));
        held.join(" ")
    };
    let ask = async |kib: u64| store.evict_step(kib << 10).await.unwrap();
    let space = store.space().await.unwrap();
    let free = (space.max_size - space.payloads - space.drafts) >> 10;
    assert_eq!(ask(free).await, 0);
    assert_eq!(state().await, "0 1 2 3 draft");
    clock.forward(2 * HOUR);
    ask(free + 50).await;
    assert_eq!(state().await, "0 1 2 3", "the draft nobody asked for goes first");
    ask(free + 150).await;
    assert_eq!(state().await, "0 1 3", "then the unproven one that nobody is served from");
    ask(free + 250).await;
    assert_eq!(state().await, "0 3", "then the proven one that is not pinned");
    assert_eq!(ask(700).await, 0, "pinned and served ones stay");
    drop(used);
    assert!(ask(700).await > 0);
    assert_eq!(state().await, "0");
    store.close().await.unwrap();
}

#[tokio::test]
async fn unproven_bytes_never_push_out_proven_ones() {
    let dir = tempfile::tempdir().unwrap();
    let small = Config { max_size: 300 << 10, ..config(dir.path()) };
    let (store, _) = Store::open(small, Arc::new(RealDisk), Hand::new()).unwrap();
    let proven = bytes(1, 200 << 10);
    publish(&store, &url("proven"), &proven, Some(Authority::Catalog)).await.unwrap();
    let more = bytes(2, 200 << 10);
    let error = publish(&store, &url("unproven"), &more, None).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains("max_size"));
    assert!(store.find(&url("proven")).await.unwrap().is_some());
    // What somebody vouches for may.
    publish(&store, &url("vouched"), &more, Some(Authority::Catalog)).await.unwrap();
    assert!(store.find(&url("proven")).await.unwrap().is_none());
    // What can never fit is refused before a byte is fetched.
    let error = store.start_draft(spec(&url("huge"), &bytes(3, 400 << 10), None)).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }));
    store.close().await.unwrap();
}

#[tokio::test]
async fn recency_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let small = Config { max_size: 400 << 10, ..config(dir.path()) };
    let open = || Store::open(small.clone(), Arc::new(RealDisk), clock.clone()).unwrap().0;
    let store = open();
    for at in 0..3u64 {
        clock.forward(HOUR);
        publish(&store, &url(&at.to_string()), &bytes(at, 100 << 10), None).await.unwrap();
    }
    clock.forward(HOUR);
    assert!(store.hot(&url("0")).is_some());
    store.close().await.unwrap();
    let store = open();
    let used = store.show(&url("0")).await.unwrap().unwrap().used_at;
    assert_eq!(used, clock.now());
    store.evict_step(150 << 10).await.unwrap();
    assert!(store.find(&url("0")).await.unwrap().is_some(), "the one used last stays");
    assert!(store.find(&url("1")).await.unwrap().is_none());
    store.close().await.unwrap();
}

#[tokio::test]
async fn freshness_names_and_documents_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    publish(&store, &url("a"), &bytes(1, 10), None).await.unwrap();
    let fresh = Freshness { until: Timestamp::from_ms(5), policy: "{}".into() };
    store.refresh(&url("a"), Some(fresh.clone()), Validators::default()).await.unwrap();
    let found = store.find(&url("a")).await.unwrap().unwrap();
    assert_eq!((found.alias.freshness.clone(), &found.alias.validators.etag), (Some(fresh), &None));
    assert!(matches!(store.refresh(&url("b"), None, Validators::default()).await, Err(Error::Gone)));
    store.forget(&url("a")).await.unwrap();
    assert!(store.hot(&url("a")).is_none() && store.find(&url("a")).await.unwrap().is_none());
    let by_digest: Name = Digest::Blake3(blake3_of(&bytes(1, 10))).into();
    assert!(store.find(&by_digest).await.unwrap().is_some());
    for key in ["settings/a", "settings/b", "settingsx"] {
        store.set_document(key, Some(key.into())).await.unwrap();
    }
    let keys: Vec<_> = store.documents("settings/").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["settings/a", "settings/b"]);
    store.set_document("settings/a", None).await.unwrap();
    assert_eq!(store.document("settings/a").await.unwrap(), None);
    assert!(store.set_document("huge", Some(vec![0; 5 << 20])).await.is_err());
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_account_adds_up_by_hour() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let open = || Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap().0;
    let store = open();
    let one = Tally { requests: 1, hits: 1, sent: 1000, fetched: 10, refused: 0 };
    store.ledger().add(one);
    store.ledger().add(one);
    clock.forward(HOUR);
    store.ledger().add(one);
    store.close().await.unwrap();
    let store = open();
    store.ledger().add(one);
    let hours = store.ledger().hours(DAY_HOURS).await.unwrap();
    assert_eq!(hours.len(), 24);
    assert_eq!((hours[22].1.requests, hours[23].1.requests, hours[21].1.requests), (2, 2, 0));
    assert_eq!(hours[23].0.ms() % HOUR, 0);
    assert_eq!(store.ledger().total(), Tally { requests: 4, hits: 4, sent: 4000, fetched: 40, refused: 0 });
    clock.forward(500 * DAY);
    store.ledger().add(one);
    store.close().await.unwrap();
    let store = open();
    assert_eq!(store.ledger().total().requests, 5);
    assert_eq!(store.ledger().hours(u32::MAX).await.unwrap().iter().map(|(_, tally)| tally.requests).sum::<u64>(), 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn files_are_imported_copied_or_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir.path().join("data"));
    let content = bytes(1, 200_000);
    let path = dir.path().join("update.cab");
    std::fs::write(&path, &content).unwrap();
    let wrong = Published::one(Digest::Sha256(sha256_of(b"other")), Authority::Operator);
    for take in [false, true] {
        let error = store.import(path.clone(), take, Some(wrong), vec![]).await.unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }));
        assert_eq!(std::fs::read(&path).unwrap(), content, "a file that is not wanted lies where it was");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("data/drafts")).unwrap().count(), 0);
    let found = store.import(path.clone(), false, None, vec![]).await.unwrap();
    assert_eq!((served(&found), found.held.payload().class), (content.clone(), Class::Unproven));
    let right = Published::one(Digest::Sha256(sha256_of(&content)), Authority::Operator);
    let alias = Alias { tag: "t".into(), last_modified: None, validators: Validators::default(), freshness: None };
    store.import(path.clone(), true, Some(right), vec![(url("u"), alias)]).await.unwrap();
    assert!(!path.exists());
    assert_eq!(class_of(&store, &url("u")).await, Some(Class::Proven));
    assert!(store.import(dir.path().to_owned(), false, None, vec![]).await.is_err());
    // The store's own files are nothing to import, whichever way leads to them.
    std::os::unix::fs::symlink(dir.path().join("data"), dir.path().join("way")).unwrap();
    for own in ["data/store-id", "way/node.redb"] {
        let error = store.import(dir.path().join(own), true, None, vec![]).await.unwrap_err();
        assert!(error.to_string().contains("own data directory") && dir.path().join(own).exists(), "{error}");
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_somebody_writes_to_is_copied_and_left() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir.path().join("data"));
    let content = bytes(1, 200_000);
    let path = dir.path().join("update.cab");
    std::fs::write(&path, &content).unwrap();
    let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let found = store.import(path.clone(), true, None, vec![]).await.unwrap();
    writer.write_all_at(b"changed", 100_000).unwrap();
    assert_eq!(served(&found), content, "what is published changed under those who are served from it");
    writer.set_len(10).unwrap();
    assert_eq!(served(&found), content);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 10, "what somebody still writes to was taken from him");
    // Once nobody does it is moved.
    drop(writer);
    store.import(path.clone(), true, None, vec![]).await.unwrap();
    assert!(!path.exists());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_somebody_opens_while_it_is_taken_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let disk = FaultDisk::new(&data);
    let (store, _) = open_on(&disk, &data).unwrap();
    let content = bytes(1, 50_000);
    let path = dir.path().join("update.cab");
    std::fs::write(&path, &content).unwrap();
    disk.set_faults(Faults { moved_is_wanted: true, ..Faults::default() });
    let error = store.import(path.clone(), true, None, vec![]).await.unwrap_err();
    assert!(error.to_string().contains("opened for writing"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), content);
    disk.set_faults(Faults::default());
    store.import(path.clone(), true, None, vec![]).await.unwrap();
    store.close().await.unwrap();
    crash::check_rows(&data).unwrap();
}

#[tokio::test]
async fn a_backup_brings_back_what_proofs_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (store, _) = open(&data);
    let (a, b, c) = (bytes(1, 1000), bytes(2, 2000), bytes(3, 3000));
    publish(&store, &url("a"), &a, None).await.unwrap();
    publish(&store, &url("b"), &b, Some(Authority::Catalog)).await.unwrap();
    let alias = Alias { tag: "t".into(), last_modified: None, validators: Validators::default(), freshness: None };
    store.alias(blake3_of(&b), url("later"), alias).await.unwrap();
    store.pin(blake3_of(&b), "me").await.unwrap();
    let backup = dir.path().join("backup");
    store.backup(backup.clone()).await.unwrap();
    let error = store.backup(backup.clone()).await.unwrap_err();
    assert!(error.to_string().contains("not overwritten"), "{error}");
    let (one, two) = tokio::join!(store.backup(dir.path().join("twin")), store.backup(dir.path().join("twin")));
    assert!(one.is_ok() || two.is_ok());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().contains("partial")), "{left:?}");
    // After the backup one goes, one comes.
    store.remove(blake3_of(&a)).await.unwrap();
    publish(&store, &url("c"), &c, None).await.unwrap();
    let error = store::restore(&config(&data), &RealDisk, &backup).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    store.close().await.unwrap();

    let restored = store::restore(&config(&data), &RealDisk, &backup).unwrap();
    assert_eq!((restored.epoch, restored.payloads, restored.dropped_count), (2, 2, 1));
    let gone = store::Dropped { blake3: blake3_of(&a), size: 1000, names: vec![url("a")], pinned: false };
    assert_eq!(restored.dropped, [gone]);
    let (store, opened) = open(&data);
    assert_eq!(opened.epoch, 2);
    assert!(store.find(&url("a")).await.unwrap().is_none(), "its file is gone");
    assert_eq!(served(&store.find(&url("c")).await.unwrap().unwrap()), c, "it came back by its proof");
    assert_eq!(served(&store.find(&url("later")).await.unwrap().unwrap()), b);
    assert!(store.show(&url("b")).await.unwrap().unwrap().pinned.is_some());
    store.close().await.unwrap();
    crash::check_rows(&data).unwrap();
    let old = std::fs::read_dir(&data)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("node.redb.old-"));
    assert_eq!(old.count(), 1);
    // What the epoch was is lost with the index: no later one may be below it.
    std::fs::write(data.join("node.redb"), b"nothing").unwrap();
    assert!(store::restore(&config(&data), &RealDisk, &backup).unwrap().epoch > 1_000_000);
    // The backup of another store is refused, and so is what is no backup.
    let (other, _) = open(&dir.path().join("other"));
    other.close().await.unwrap();
    let error = store::restore(&config(&dir.path().join("other")), &RealDisk, &backup).unwrap_err().to_string();
    assert!(error.contains("holds store") && !error.contains("waystation restore"), "{error}");
    assert!(error.contains("restore before the first start"), "{error}");
    // On a new disk nothing is there: the pinned payload is told as that.
    let fresh = dir.path().join("fresh");
    std::fs::create_dir(&fresh).unwrap();
    let restored = store::restore(&config(&fresh), &RealDisk, &backup).unwrap();
    assert_eq!((restored.payloads, restored.dropped_count, restored.dropped_pinned), (0, 2, 1));
    assert_eq!(restored.old_index, None);
    let pinned: Vec<_> = restored.dropped.iter().filter(|gone| gone.pinned).map(|gone| gone.blake3).collect();
    assert_eq!(pinned, [blake3_of(&b)]);
    let noise = dir.path().join("noise");
    std::fs::write(&noise, bytes(4, 9000)).unwrap();
    let error = store::restore(&config(&data), &RealDisk, &noise).unwrap_err().to_string();
    assert!(error.contains("no backup") && !error.contains("waystation restore"), "{error}");
    // A target that cannot be made is no damage of the index either.
    let (store, _) = open(&data);
    let error = store.backup(dir.path().join("nowhere/backup")).await.unwrap_err();
    assert!(matches!(error, Error::Io(_)) && error.to_string().contains("nowhere"), "{error}");
    store.close().await.unwrap();
    let error = store::restore(&config(&data), &RealDisk, &dir.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("no backup") && !error.contains("waystation restore"), "{error}");
}

#[tokio::test]
async fn a_rebuild_reads_proofs_and_says_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let contents: Vec<_> = (0..4).map(|seed| bytes(seed, 70_000)).collect();
    for (at, content) in contents.iter().enumerate() {
        let authority = (at % 2 == 0).then_some(Authority::Catalog);
        publish(&store, &url(&at.to_string()), content, authority).await.unwrap();
    }
    store.close().await.unwrap();
    let place = |content: &Bytes| {
        let text = blake3_of(content).to_string();
        dir.path().join("content").join(&text[..2]).join(text)
    };
    std::fs::remove_file(dir.path().join("node.redb")).unwrap();
    let cut = place(&contents[2]).with_extension("proof");
    let proof = std::fs::read(&cut).unwrap();
    std::fs::remove_file(&cut).unwrap();
    std::fs::write(&cut, &proof[..proof.len() / 2]).unwrap();
    std::fs::remove_file(place(&contents[3]).with_extension("proof")).unwrap();

    let clock = Hand::new();
    let seen = Mutex::new(0);
    let rebuilt =
        store::rebuild(&config(dir.path()), Arc::new(RealDisk), clock.clone(), &mut |n| *seen.lock().unwrap() = n)
            .unwrap();
    assert_eq!((rebuilt.payloads, *seen.lock().unwrap()), (2, 4));
    assert_eq!(rebuilt.bad_proofs, [cut]);
    assert_eq!(rebuilt.without_proof, [place(&contents[3])]);
    assert!(rebuilt.epoch > 1_000_000, "above every epoch that was ever counted");
    let (store, opened) = open(dir.path());
    assert_eq!((opened.epoch, opened.created), (rebuilt.epoch, false));
    assert_eq!(class_of(&store, &url("0")).await, Some(Class::Proven));
    assert_eq!(class_of(&store, &url("1")).await, Some(Class::Unproven));
    assert_eq!(store.find(&url("1")).await.unwrap().unwrap().alias.tag, "tag of dl.example.org/1");
    // What has no entry is found again by being filled again.
    publish(&store, &url("2"), &contents[2], None).await.unwrap();
    assert_eq!(store.verify(blake3_of(&contents[2]), Box::new(|_| ())).await.unwrap(), SpanSet::new());
    store.close().await.unwrap();
    // Again over a readable index: the epoch goes on by one.
    let again = store::rebuild(&config(dir.path()), Arc::new(RealDisk), clock, &mut |_| ()).unwrap();
    assert_eq!((again.payloads, again.epoch), (3, rebuilt.epoch + 1));
}

#[tokio::test]
async fn what_was_promoted_outlives_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let open = || Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap().0;
    let store = open();
    let content = bytes(1, 70_000);
    publish(&store, &url("a"), &content, None).await.unwrap();
    let claim = Published::one(Digest::Sha256(sha256_of(&content)), Authority::Catalog);
    store.expect(&url("a"), claim, vec![]).await.unwrap();
    store.close().await.unwrap();
    clock.forward(40 * DAY);
    let rebuilt = store::rebuild(&config(dir.path()), Arc::new(RealDisk), clock.clone(), &mut |_| ()).unwrap();
    assert_eq!((rebuilt.payloads, rebuilt.unproven), (1, 1));
    let store = open();
    store.evict_step(0).await.unwrap();
    let found = store.find(&url("a")).await.unwrap().unwrap();
    assert_eq!(found.held.payload().expires_at, Some(Timestamp::from_ms(clock.now().ms() + 30 * DAY)));
    store.close().await.unwrap();
}

/// A storage that counts what is read of it.
#[derive(Debug)]
struct Counting {
    inner: redb::backends::FileBackend,
    read: Arc<AtomicU64>,
}

impl redb::StorageBackend for Counting {
    fn len(&self) -> std::io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.read.fetch_add(out.len() as u64, Ordering::Relaxed);
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.inner.write(offset, data)
    }
}

#[tokio::test]
async fn opening_a_large_store_reads_next_to_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.close().await.unwrap();
    // 100,000 payloads as they would lie in the index; the files are not looked at, only whether there is room for any.
    std::fs::create_dir(dir.path().join("content/00")).unwrap();
    const COUNT: u64 = 100_000;
    {
        let db = redb::Database::open(dir.path().join("node.redb")).unwrap();
        let mut tx = db.begin_write().unwrap();
        // As the writer does it.
        tx.set_quick_repair(true);
        {
            let mut payloads =
                tx.open_table(redb::TableDefinition::<'static, &[u8; 32], &[u8]>::new("payloads.1")).unwrap();
            let mut aliases = tx.open_table(redb::TableDefinition::<'static, &[u8], &[u8]>::new("aliases.1")).unwrap();
            for at in 0..COUNT {
                let id = *blake3::hash(&at.to_le_bytes()).as_bytes();
                payloads.insert(&id, [&[1u8][..], &[0; 70]].concat().as_slice()).unwrap();
                aliases
                    .insert([&[3u8][..], &id].concat().as_slice(), [&[1u8][..], &id, &[0; 20]].concat().as_slice())
                    .unwrap();
            }
            let mut totals = tx.open_table(redb::TableDefinition::<'static, &str, u64>::new("totals.1")).unwrap();
            totals.insert("payload-count", COUNT).unwrap();
        }
        tx.commit().unwrap();
    }
    let read = Arc::new(AtomicU64::new(0));
    let cold = cost_of_opening(dir.path(), &read);
    let (store, _) = Store::open_with(config(dir.path()), Arc::new(RealDisk), Hand::new(), &cold.medium).unwrap();
    let ours = read.load(Ordering::Relaxed).saturating_sub(cold.bytes);
    assert!(ours < 256 << 10, "{ours} bytes were read beside what redb itself reads after a clean end");
    assert_eq!(store.space().await.unwrap().payloads_count, COUNT);
    // After a crash too: the allocator's state was saved with the last commit, and nothing must be walked.
    store.set_document("a", Some(vec![1])).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["node.redb", "store-id"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    // Without any directory of payloads the index would be opened a second time, for reading alone.
    std::fs::create_dir_all(copy.path().join("content/00")).unwrap();
    let crashed = cost_of_opening(copy.path(), &read);
    let (after, _) = Store::open_with(config(copy.path()), Arc::new(RealDisk), Hand::new(), &crashed.medium).unwrap();
    let ours = read.load(Ordering::Relaxed).saturating_sub(crashed.bytes);
    assert!(ours < 256 << 10, "{ours} bytes were read beside what redb itself reads after a crash");
    after.close().await.unwrap();
    store.close().await.unwrap();
}

struct Cost {
    medium: store::Medium,
    bytes: u64,
}

/// What redb alone reads when it opens the index (a debug build of it walks all pages to check itself, a release build
/// a few); it must not need a repair. Sets the counter back for whoever opens it next.
fn cost_of_opening(root: &Path, read: &Arc<AtomicU64>) -> Cost {
    let open = |path: &Path, read: &Arc<AtomicU64>| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        Counting { inner: redb::backends::FileBackend::new(file).unwrap(), read: read.clone() }
    };
    let spare = tempfile::tempdir().unwrap();
    let copy = spare.path().join("node.redb");
    std::fs::copy(root.join("node.redb"), &copy).unwrap();
    read.store(0, Ordering::Relaxed);
    let mut builder = redb::Builder::new();
    builder.set_repair_callback(|_| panic!("the index needs a repair that walks all of it"));
    let db = builder.create_with_backend(open(&copy, read)).unwrap();
    let bytes = read.swap(0, Ordering::Relaxed);
    drop(db);
    read.store(0, Ordering::Relaxed);
    assert!(cfg!(debug_assertions) || bytes < 1 << 20, "redb itself reads {bytes} bytes");
    let (path, read) = (root.join("node.redb"), read.clone());
    Cost { medium: Arc::new(move |_| Ok(Box::new(open(&path, &read)) as Box<dyn redb::StorageBackend>)), bytes }
}

fn file_of(root: &Path, content: &[u8]) -> std::path::PathBuf {
    let text = blake3_of(content).to_string();
    root.join("content").join(&text[..2]).join(text)
}

#[tokio::test]
async fn a_pin_waits_for_a_damaged_payload_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 5000);
    let blake3 = blake3_of(&content);
    publish(&store, &url("a"), &content, None).await.unwrap();
    store.pin(blake3, "me").await.unwrap();
    store.quarantine(blake3, "damaged\nof nothing").await.unwrap();
    assert!(store.show(&url("a")).await.unwrap().is_none());
    let hurt = store.quarantined().await.unwrap();
    assert_eq!(hurt[0].address.as_ref().map(|key| Name::Origin(key.clone())), Some(url("a")));
    assert_eq!(hurt[0].why, "damaged of nothing");
    publish(&store, &url("a"), &content, None).await.unwrap();
    let listed = store.show(&url("a")).await.unwrap().unwrap();
    assert_eq!(listed.pinned.map(|pin| pin.by).as_deref(), Some("me"));
    assert_eq!(listed.payload.expires_at, None);
    // What is removed on purpose takes its pin along; a pin that waits can be taken away.
    store.remove(blake3).await.unwrap();
    publish(&store, &url("a"), &content, None).await.unwrap();
    assert!(store.show(&url("a")).await.unwrap().unwrap().pinned.is_none());
    store.pin(blake3, "me").await.unwrap();
    store.quarantine(blake3, "damaged").await.unwrap();
    store.unpin(blake3).await.unwrap();
    assert!(matches!(store.unpin(blake3).await, Err(Error::Gone)));
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn a_repair_proves_nothing_and_keeps_the_names_in_the_proof() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap();
    let content = bytes(1, 200_000);
    let blake3 = blake3_of(&content);
    publish(&store, &url("a"), &content, None).await.unwrap();
    let before = store.show(&url("a")).await.unwrap().unwrap().payload;
    clock.forward(DAY);
    let draft = store.repair_draft(blake3, SpanSet::from_iter([Span::new(0, 65_536)]), vec![]).await.unwrap();
    draft.write(0, content.slice(..65_536)).await.unwrap();
    let proved = draft.prove().await.unwrap();
    draft.publish(proved, vec![]).await.unwrap();
    let after = store.show(&url("a")).await.unwrap().unwrap().payload;
    assert_eq!((after.class, after.expires_at), (Class::Unproven, before.expires_at));
    assert_eq!(after.published_at, before.published_at);
    store.close().await.unwrap();
    store::rebuild(&config(dir.path()), Arc::new(RealDisk), clock.clone(), &mut |_| ()).unwrap();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock).unwrap();
    let found = store.find(&url("a")).await.unwrap().unwrap();
    assert_eq!((served(&found), found.alias.tag.as_str()), (content, "tag of dl.example.org/a"));
    assert_eq!(found.held.payload().class, Class::Unproven);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_missing_payload_file_is_mended_and_a_missing_proof_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 200_000);
    let blake3 = blake3_of(&content);
    publish(&store, &url("a"), &content, Some(Authority::Catalog)).await.unwrap();
    let path = file_of(dir.path(), &content);
    std::fs::remove_file(&path).unwrap();
    let bad = store.verify(blake3, Box::new(|_| ())).await.unwrap();
    assert_eq!(bad.iter().collect::<Vec<_>>(), [Span::new(0, 200_000)]);
    let draft = store.repair_draft(blake3, bad, vec![]).await.unwrap();
    assert_eq!(draft.covered().total(), 0);
    fill(&draft, &content).await.unwrap();
    let proved = draft.prove().await.unwrap();
    draft.publish(proved, vec![]).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert_eq!(class_of(&store, &url("a")).await, Some(Class::Proven));

    let proof = path.with_extension("proof");
    let good = std::fs::read(&proof).unwrap();
    for damaged in [None, Some(&good[..good.len() / 2])] {
        std::fs::remove_file(&proof).unwrap();
        if let Some(damaged) = damaged {
            std::fs::write(&proof, damaged).unwrap();
        }
        let read = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&read);
        let each = move |len| {
            told.fetch_add(len, Ordering::Relaxed);
        };
        assert!(store.verify(blake3, Box::new(each)).await.unwrap().is_empty());
        assert_eq!(read.load(Ordering::Relaxed), 200_000, "it was read to the end");
        assert_eq!(std::fs::read(&proof).unwrap().len(), good.len());
    }
    // Without a proof, and not what its name says either: all of it is bad.
    std::fs::remove_file(&proof).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes(2, 200_000)).unwrap();
    let bad = store.verify(blake3, Box::new(|_| ())).await.unwrap();
    assert_eq!(bad.total(), 200_000);
    assert!(!proof.exists());
    // Filled anew it has a proof again.
    publish(&store, &url("b"), &content, None).await.unwrap();
    assert!(proof.exists() && store.verify(blake3, Box::new(|_| ())).await.unwrap().is_empty());
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_need_room_at_once_all_find_it() {
    let dir = tempfile::tempdir().unwrap();
    let small = Config { max_size: 3 << 20, ..config(dir.path()) };
    let (store, _) = Store::open(small, Arc::new(RealDisk), Hand::new()).unwrap();
    for round in 0..6u64 {
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..4u64 {
            let store = store.clone();
            tasks.spawn(async move {
                let name = url(&format!("{round}-{at}"));
                publish(&store, &name, &bytes(round * 10 + at, 500 << 10), Some(Authority::Catalog)).await.map(drop)
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_payloads_that_is_missing_dooms_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 5000);
    publish(&store, &url("a"), &content, None).await.unwrap();
    store.close().await.unwrap();
    let shelf = file_of(dir.path(), &content).parent().unwrap().to_owned();
    let aside = dir.path().join("aside");
    std::fs::rename(&shelf, &aside).unwrap();
    let (store, _) = open(dir.path());
    assert!(store.find(&url("a")).await.unwrap().is_none());
    std::fs::rename(&aside, &shelf).unwrap();
    assert_eq!(served(&store.find(&url("a")).await.unwrap().unwrap()), content);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_mended_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    publish(&store, &url("a"), &bytes(1, 5000), None).await.unwrap();
    store.close().await.unwrap();
    let stranger = dir.path().join("drafts/00000000000000ff");
    std::fs::create_dir(&stranger).unwrap();
    let (store, _) = open(dir.path());
    assert!(store.find(&url("a")).await.unwrap().is_some() && stranger.is_dir());
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_lies_in_quarantine_outlives_a_rebuild_and_a_restore() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(waystation::base::time::SystemClock);
    let open = || Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap().0;
    let store = open();
    let backup = dir.path().with_extension("backup");
    store.backup(backup.clone()).await.unwrap();
    let mut kept = std::collections::BTreeMap::new();
    let look = || {
        let lying = std::fs::read_dir(dir.path().join("quarantine")).unwrap().map(|entry| entry.unwrap().path());
        lying
            .map(|path| (path.clone(), blake3_of(&std::fs::read(&path).unwrap())))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let mut store = store;
    for round in 0..3u64 {
        let content = bytes(round, 50_000);
        publish(&store, &url("a"), &content, None).await.unwrap();
        store.quarantine(blake3_of(&content), &format!("round {round}")).await.unwrap();
        let now = look();
        assert!(kept.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "something was written over");
        assert_eq!(now.len(), 3 * (round as usize + 1));
        kept = now;
        store.close().await.unwrap();
        if round == 0 {
            store::rebuild(&config(dir.path()), Arc::new(RealDisk), clock.clone(), &mut |_| {}).unwrap();
        } else {
            store::restore(&config(dir.path()), &RealDisk, &backup).unwrap();
        }
        store = open();
        assert!(store.space().await.unwrap().quarantine >= 50_000 * (round + 1), "it is counted");
        store.evict_step(0).await.unwrap();
        assert_eq!(look(), kept);
    }
    std::fs::remove_file(backup).unwrap();
    store.close().await.unwrap();
    // Its time begins with the new index, and ends.
    let clock = Arc::new(SoonClock);
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock).unwrap();
    while store.evict_step(0).await.unwrap() > 0 {}
    assert_eq!((look().len(), store.space().await.unwrap().quarantine), (0, 0));
    store.close().await.unwrap();
}

/// The real time and two months.
#[derive(Debug)]
struct SoonClock;

impl Clock for SoonClock {
    fn now(&self) -> Timestamp {
        waystation::base::time::SystemClock.now().after(Duration::from_hours(60 * 24))
    }
}

#[tokio::test]
async fn a_payload_has_so_many_names_and_an_answer_so_many_documents() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 5000);
    publish(&store, &url("a"), &content, None).await.unwrap();
    let id = blake3_of(&content);
    let mut asked = tokio::task::JoinSet::new();
    for at in 0..1100 {
        let store = store.clone();
        let alias = Alias { tag: "x".into(), last_modified: None, validators: Validators::default(), freshness: None };
        asked.spawn(async move { store.alias(id, url(&format!("a?{at}")), alias).await });
    }
    let refused = asked.join_all().await.into_iter().filter(|named| matches!(named, Err(Error::Full { .. }))).count();
    assert!((76..=80).contains(&refused), "{refused} of 1100");
    let listed = store.show(&Name::Digest(Digest::Blake3(id))).await.unwrap().unwrap();
    assert_eq!(listed.names.len(), 1100 + 3 - refused);
    // What was fetched under one more is answered under it.
    publish(&store, &url("b"), &content, None).await.unwrap();
    assert!(store.find(&url("b")).await.unwrap().is_some());
    assert_eq!(store.show(&url("b")).await.unwrap().unwrap().names.len(), listed.names.len());

    for at in 0..17 {
        store.set_document(&format!("big/{}/{at}", at % 2), Some(vec![1; 4 << 20])).await.unwrap();
    }
    let error = store.documents("big/").await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { what } if what.contains("longer beginning")), "{error}");
    assert_eq!(store.documents("big/1").await.unwrap().len(), 8);
    store.close().await.unwrap();
}
