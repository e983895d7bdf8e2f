//! Faults: a full disk, a read-only one, a broken, missing, damaged or foreign index, a file that went away.

use waystation::base::disk::Disk;
use waystation::store::Health;

use super::*;
use crate::fault_disk::Faults;

/// A store with one proven payload in it, cached or not.
async fn store_with(disk: &FaultDisk, path: &Path) -> (Store, Bytes) {
    let (store, _) = open_on(disk, path).unwrap();
    let content = bytes(1, 100_000);
    publish(&store, &url("held"), &content, Some(Authority::Catalog)).await.unwrap();
    publish(&store, &url("cold"), &bytes(2, 1000), None).await.unwrap();
    store.close().await.unwrap();
    let (store, _) = open_on(disk, path).unwrap();
    assert!(store.find(&url("held")).await.unwrap().is_some());
    (store, content)
}

async fn still_serves(store: &Store, content: &Bytes) {
    assert_eq!(served(&store.hot(&url("held")).unwrap()), *content);
    assert_eq!(served(&store.find(&url("held")).await.unwrap().unwrap()), *content);
    assert!(store.find(&url("cold")).await.unwrap().is_some(), "one that was not open is looked up too");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, content) = store_with(&disk, dir.path()).await;
    let more = bytes(3, 50_000);
    let draft = store.start_draft(spec(&url("more"), &more, None)).await.unwrap();
    draft.write(0, more.slice(0..10_000)).await.unwrap();

    disk.set_faults(Faults { full_below: Some(dir.path().join("drafts")), ..Faults::default() });
    let error = draft.write(10_000, more.slice(10_000..20_000)).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    still_serves(&store, &content).await;

    // The bytes come in, but the proof does not fit any more.
    disk.set_faults(Faults::default());
    fill(&draft, &more).await.unwrap();
    let proved = draft.prove().await.unwrap();
    disk.set_faults(Faults { full_below: Some(dir.path().join("drafts")), ..Faults::default() });
    assert!(matches!(draft.publish(proved.clone(), vec![]).await, Err(Error::Full { .. })));
    assert!(store.find(&url("more")).await.unwrap().is_none());

    // Nor a commit.
    disk.set_faults(Faults { index_full: true, ..Faults::default() });
    let error = store.set_document("a", Some(vec![1; 100])).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    disk.set_faults(Faults::default());
    assert_eq!(store.health(), Health::Ready, "there is room again, and it works again");
    still_serves(&store, &content).await;
    assert_eq!(store.document("a").await.unwrap(), None);

    // The reserve is not touched by what adds, but what frees gets through.
    disk.set_faults(Faults { free: Some(1 << 20), ..Faults::default() });
    assert!(matches!(store.set_document("a", Some(vec![1])).await, Err(Error::Full { .. })));
    store.remove(blake3_of(&bytes(2, 1000))).await.unwrap();
    disk.set_faults(Faults::default());
    let found = draft.publish(proved, vec![]).await.unwrap();
    assert_eq!(served(&found), more);
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn an_index_that_breaks_is_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, content) = store_with(&disk, dir.path()).await;
    disk.set_faults(Faults { index_broken: true, ..Faults::default() });
    let error = store.set_document("a", Some(vec![1])).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    // The disk is well again, but nobody knows what it kept: nothing is written before a restart.
    disk.set_faults(Faults::default());
    let Health::ReadOnly { why } = store.health() else { panic!("it should be read-only") };
    assert!(why.contains("node.redb") && why.contains("waystation restore"), "{why}");
    still_serves(&store, &content).await;
    assert_eq!(store.list(None, 10).await.unwrap().len(), 2);
    let error = store.start_draft(spec(&url("new"), &bytes(5, 10), None)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }));
    assert!(matches!(store.remove(blake3_of(&content)).await, Err(Error::Unavailable { .. })));
    drop(store.close().await);

    let (store, _) = open_on(&disk, dir.path()).unwrap();
    assert_eq!(store.health(), Health::Ready);
    publish(&store, &url("new"), &bytes(5, 10), None).await.unwrap();
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn an_index_that_cannot_be_read_leaves_what_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, content) = store_with(&disk, dir.path()).await;
    disk.set_faults(Faults { index_unreadable: true, index_broken: true, ..Faults::default() });
    drop(store.set_document("a", Some(vec![1])).await.unwrap_err());
    assert_eq!(served(&store.hot(&url("held")).unwrap()), content);
    assert_eq!(served(&store.find(&url("held")).await.unwrap().unwrap()), content);
    assert!(matches!(store.find(&url("cold")).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.health(), Health::ReadOnly { .. }));
    drop(store.close().await);
}

#[tokio::test]
async fn a_mount_that_is_not_there_is_not_filled() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, content) = store_with(&disk, dir.path()).await;
    store.close().await.unwrap();
    drop(store);
    let (place, elsewhere) = (dir.path().join("content"), dir.path().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    for mount_point in [false, true] {
        assert_eq!(place.exists(), mount_point);
        let (store, _) = open_on(&disk, dir.path()).unwrap();
        let Health::ReadOnly { why } = store.health() else { panic!("it should be read-only") };
        assert!(why.contains("2 payloads") && why.contains("mounted"), "{why}");
        let error = store.start_draft(spec(&url("new"), &bytes(5, 10), None)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        store.close().await.unwrap();
        assert!(std::fs::read_dir(&place).unwrap().next().is_none());
    }
    std::fs::remove_dir(&place).unwrap();
    std::fs::rename(&elsewhere, &place).unwrap();
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    assert_eq!(store.health(), Health::Ready);
    assert_eq!(served(&store.find(&url("held")).await.unwrap().unwrap()), content);
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn a_read_only_file_system_is_served_from() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, content) = store_with(&disk, dir.path()).await;
    store.set_document("a", Some(vec![7])).await.unwrap();
    // Not closed: the index must be repaired before it can be read, without a byte being written.
    let image = tempfile::tempdir().unwrap();
    disk.off();
    drop(store);
    disk.crash(1, image.path());
    let before = std::fs::read(image.path().join("node.redb")).unwrap();
    let disk = FaultDisk::new(image.path());
    disk.set_faults(Faults { read_only: true, ..Faults::default() });
    let (store, _) = open_on(&disk, image.path()).unwrap();
    let Health::ReadOnly { why } = store.health() else { panic!("it should be read-only") };
    assert!(why.contains("mount it writable"), "{why}");
    assert_eq!(served(&store.find(&url("held")).await.unwrap().unwrap()), content);
    still_serves(&store, &content).await;
    assert_eq!(store.document("a").await.unwrap(), Some(vec![7]));
    assert!(store.draft(&url("x")).await.unwrap().is_none());
    let error = store.start_draft(spec(&url("new"), &bytes(5, 10), None)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }));
    store.close().await.unwrap();
    assert!(std::fs::read(image.path().join("node.redb")).unwrap() == before, "something was written");
}

/// The same with a file system of the kernel's own, where this process may mount one.
#[tokio::test]
async fn a_read_only_mount_is_served_from() {
    let dir = tempfile::tempdir().unwrap();
    let (data, view) = (dir.path().join("data"), dir.path().join("view"));
    let (store, _) = open(&data);
    let content = bytes(1, 100_000);
    publish(&store, &url("held"), &content, None).await.unwrap();
    store.close().await.unwrap();
    std::fs::create_dir(&view).unwrap();
    let mount = |args: &[&str]| {
        let done = std::process::Command::new("mount").args(args).arg(&data).arg(&view).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !mount(&["-o", "bind,ro"]) {
        println!("skipped: this process may not mount (the same is tested through the disk seam)");
        return;
    }
    let outcome = Store::open(config(&view), Arc::new(RealDisk), Hand::new());
    let served_it = match &outcome {
        Ok((store, _)) => {
            let found = store.find(&url("held")).await.unwrap().map(|found| served(&found));
            let read_only = matches!(store.health(), Health::ReadOnly { .. });
            store.close().await.unwrap();
            read_only && found == Some(content)
        }
        Err(_) => false,
    };
    let error = outcome.err();
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&view).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!(served_it, "{error:?}");
}

#[tokio::test]
async fn an_index_that_is_missing_or_damaged_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 100_000);
    publish(&store, &url("held"), &content, None).await.unwrap();
    store.close().await.unwrap();
    let path = dir.path().join("node.redb");
    let good = std::fs::read(&path).unwrap();
    let refused = |what: &str| {
        let error = Store::open(config(dir.path()), Arc::new(RealDisk), Hand::new()).map(drop).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Index { .. }), "{what}: {text}");
        assert!(text.contains("node.redb") && text.contains("waystation store rebuild"), "{what}: {text}");
        assert!(text.contains("waystation restore"), "{what}: {text}");
    };
    std::fs::remove_file(&path).unwrap();
    refused("missing");
    assert!(!path.exists(), "no empty index takes the place of a missing one");
    for (what, damaged) in [
        ("empty", vec![]),
        ("cut", good[..5000].to_vec()),
        ("noise", bytes(7, 100_000).to_vec()),
        ("no magic", [&[0; 64], &good[64..]].concat()),
    ] {
        std::fs::write(&path, damaged).unwrap();
        refused(what);
    }
    // Damage in the middle shows on open or later; it is an error either way, never a panic, and rebuild mends it.
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let mut damaged = good.clone();
        for _ in 0..200 {
            let at = 512 + dice.roll(damaged.len() as u64 - 512) as usize;
            damaged[at] ^= 0x55;
        }
        std::fs::write(&path, damaged).unwrap();
        if let Ok((store, _)) = Store::open(config(dir.path()), Arc::new(RealDisk), Hand::new()) {
            if let Ok(Some(found)) = store.find(&url("held")).await {
                assert_eq!(served(&found), content);
            }
            drop(store.set_document("a", Some(vec![1; 1000])).await);
            drop(store.close().await);
        }
    }
    std::fs::write(&path, bytes(8, 9000)).unwrap();
    let rebuilt =
        waystation::store::rebuild(&config(dir.path()), Arc::new(RealDisk), Hand::new(), &mut |_| ()).unwrap();
    assert_eq!(rebuilt.payloads, 1);
    let (store, _) = open(dir.path());
    assert_eq!(served(&store.find(&url("held")).await.unwrap().unwrap()), content);
    store.close().await.unwrap();

    // The index of another store, and content without any id.
    let other = tempfile::tempdir().unwrap();
    let (store, _) = open(other.path());
    store.close().await.unwrap();
    std::fs::copy(other.path().join("node.redb"), &path).unwrap();
    refused("of another store");
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(dir.path().join("store-id")).unwrap();
    refused("without an id");
}

#[tokio::test]
async fn a_file_that_went_away_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 100_000);
    publish(&store, &url("a"), &content, None).await.unwrap();
    store.close().await.unwrap();
    let text = blake3_of(&content).to_string();
    let path = dir.path().join("content").join(&text[..2]).join(&text);
    std::fs::remove_file(&path).unwrap();
    let (store, _) = open(dir.path());
    assert!(store.find(&url("a")).await.unwrap().is_none());
    assert!(store.list(None, 10).await.unwrap().is_empty());
    publish(&store, &url("a"), &content, None).await.unwrap();
    // Gone again, and nobody looked before it was filled under another name.
    store.close().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let (store, _) = open(dir.path());
    publish(&store, &url("b"), &content, None).await.unwrap();
    assert_eq!(served(&store.find(&url("a")).await.unwrap().unwrap()), content);
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn a_failed_sync_of_a_draft_ends_the_draft() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let content = bytes(1, 100_000);
    let draft = store.start_draft(spec(&url("a"), &content, None)).await.unwrap();
    fill(&draft, &content).await.unwrap();
    disk.set_faults(Faults { sync_fails_below: Some(dir.path().join("drafts")), ..Faults::default() });
    assert!(matches!(draft.checkpoint().await, Err(Error::Io(_))));
    assert!(matches!(draft.checkpoint().await, Err(Error::Gone)), "what a failed sync leaves cannot be trusted");
    assert!(store.draft(&url("a")).await.unwrap().is_none());
    assert!(disk.list(&dir.path().join("drafts")).unwrap().is_empty());

    let draft = store.start_draft(spec(&url("a"), &content, None)).await.unwrap();
    fill(&draft, &content).await.unwrap();
    let proved = draft.prove().await.unwrap();
    disk.set_faults(Faults { sync_fails_below: Some(dir.path().join("drafts")), ..Faults::default() });
    assert!(draft.publish(proved, vec![]).await.is_err());
    assert!(store.draft(&url("a")).await.unwrap().is_none());
    publish(&store, &url("a"), &content, None).await.unwrap();
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn without_its_index_a_node_serves_what_is_held_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 200_000);
    let found = publish(&store, &url("held"), &content, Some(Authority::Catalog)).await.unwrap();
    let digests = found.held.payload().digests;
    drop(found);
    // A draft that a node with its index would go on with.
    let draft = store.start_draft(spec(&url("half"), &bytes(2, 1000), None)).await.unwrap();
    draft.checkpoint().await.unwrap();
    drop(draft);
    store.close().await.unwrap();
    let path = dir.path().join("node.redb");
    let good = std::fs::read(&path).unwrap();
    for (what, damaged) in [
        ("missing", None),
        ("empty", Some(vec![])),
        ("cut", Some(good[..4096].to_vec())),
        ("noise", Some(bytes(7, 65_536).to_vec())),
    ] {
        match &damaged {
            Some(damaged) => std::fs::write(&path, damaged).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let (store, _) = Store::open_to_serve(config(dir.path()), Arc::new(RealDisk), Hand::new()).unwrap();
        let Health::ReadOnly { why } = store.health() else { panic!("{what}: it says that all is well") };
        for word in ["node.redb", "waystation restore FILE", "waystation store rebuild", "stop the node"] {
            assert!(why.contains(word), "{what}: {why}");
        }
        for name in [url("held"), Digest::Sha256(digests.sha256).into(), Digest::Blake3(digests.blake3).into()] {
            let found = store.find(&name).await.unwrap().unwrap();
            assert_eq!((served(&found), found.held.payload().class), (content.clone(), Class::Proven), "{what}");
        }
        assert!(store.find(&url("other")).await.unwrap().is_none());
        assert_eq!(store.space().await.unwrap().payloads_count, 1);
        let refused = store.start_draft(spec(&url("new"), &bytes(3, 10), None)).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable { .. }), "{what}: {refused}");
        assert!(matches!(store.remove(digests.blake3).await, Err(Error::Unavailable { .. })));
        store.close().await.unwrap();
        assert_eq!(std::fs::read(&path).ok(), damaged, "{what}: the index was written");
        assert_eq!(std::fs::read_dir(dir.path().join("drafts")).unwrap().count(), 1, "{what}: a draft went");
    }
    waystation::store::rebuild(&config(dir.path()), Arc::new(RealDisk), Hand::new(), &mut |_| ()).unwrap();
    let (store, _) = Store::open_to_serve(config(dir.path()), Arc::new(RealDisk), Hand::new()).unwrap();
    assert_eq!(store.health(), Health::Ready);
    assert_eq!(served(&store.find(&url("held")).await.unwrap().unwrap()), content);
    store.close().await.unwrap();
}

#[tokio::test]
async fn on_a_disk_that_others_filled_room_is_made_and_health_says_so_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    for seed in 0..3 {
        publish(&store, &url(&seed.to_string()), &bytes(seed, 100_000), Some(Authority::Catalog)).await.unwrap();
    }
    store.pin(blake3_of(&bytes(0, 100_000)), "me").await.unwrap();
    // Above min_free (0), below what the index needs.
    disk.set_faults(Faults { free: Some(1000), ..Faults::default() });
    assert!(matches!(store.set_document("a", Some(vec![1])).await, Err(Error::Full { .. })));
    let Health::ReadOnly { why } = store.health() else { panic!("it says that all is well") };
    assert!(why.contains("1000 bytes are free"), "{why}");
    assert!(store.evict_step(0).await.unwrap() > 0);
    assert!(store.find(&url("1")).await.unwrap().is_none() && store.find(&url("2")).await.unwrap().is_none());
    assert!(store.find(&url("0")).await.unwrap().is_some(), "a pinned one stays");
    // Asking for a new draft makes room too, or says why there is none.
    let error = store.start_draft(spec(&url("new"), &bytes(5, 10), None)).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    disk.set_faults(Faults::default());
    publish(&store, &url("new"), &bytes(5, 10), None).await.unwrap();
    assert_eq!(store.health(), Health::Ready);
    store.close().await.unwrap();
}

#[tokio::test]
async fn where_not_even_an_eviction_can_be_written_the_files_make_the_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let content = bytes(1, 100_000);
    publish(&store, &url("a"), &content, Some(Authority::Catalog)).await.unwrap();
    disk.set_faults(Faults { free: Some(0), index_full: true, ..Faults::default() });
    drop(store.evict_step(0).await);
    let text = blake3_of(&content).to_string();
    assert!(!dir.path().join("content").join(&text[..2]).join(&text).exists(), "its blocks are free");
    disk.set_faults(Faults::default());
    assert!(store.find(&url("a")).await.unwrap().is_none());
    publish(&store, &url("a"), &content, Some(Authority::Catalog)).await.unwrap();
    assert_eq!(served(&store.find(&url("a")).await.unwrap().unwrap()), content);
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_opened_meanwhile_keeps_its_file_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let clock = Hand::new();
    let (store, _) =
        Store::open_with(config(dir.path()), Arc::new(disk.clone()), clock.clone(), &disk.medium()).unwrap();
    let (old, used) = (bytes(1, 100_000), bytes(2, 100_000));
    publish(&store, &url("old"), &old, Some(Authority::Catalog)).await.unwrap();
    clock.forward(HOUR);
    publish(&store, &url("used"), &used, Some(Authority::Catalog)).await.unwrap();
    disk.set_faults(Faults { free: Some(0), index_full: true, ..Faults::default() });
    disk.gate.shut();
    let theirs = store.clone();
    let evicting = tokio::spawn(async move { theirs.evict_step(0).await });
    // The first file is on its way out when somebody comes for the second.
    disk.gate.arrival().await;
    let found = store.find(&url("used")).await.unwrap().unwrap();
    disk.gate.open_up();
    drop(evicting.await.unwrap());
    let file = |content: &Bytes| {
        let hex = blake3_of(content).to_string();
        dir.path().join("content").join(&hex[..2]).join(hex)
    };
    assert!(!file(&old).exists() && file(&used).exists(), "a payload in use lost its file");
    assert_eq!(served(&found), used);
    disk.set_faults(Faults::default());
    drop(found);
    assert_eq!(served(&store.find(&url("used")).await.unwrap().unwrap()), used);
    store.close().await.unwrap();
}

#[tokio::test]
async fn one_bad_row_costs_its_own_payload_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (bad, good) = (bytes(1, 5000), bytes(2, 5000));
    publish(&store, &url("bad"), &bad, None).await.unwrap();
    publish(&store, &url("good"), &good, None).await.unwrap();
    store.close().await.unwrap();
    {
        let db = redb::Database::open(dir.path().join("node.redb")).unwrap();
        let tx = db.begin_write().unwrap();
        let payloads = redb::TableDefinition::<'static, &[u8; 32], &[u8]>::new("payloads.1");
        let id = *blake3_of(&bad).as_bytes();
        tx.open_table(payloads).unwrap().insert(&id, [9, 9].as_slice()).unwrap();
        tx.commit().unwrap();
    }
    let (store, _) = open(dir.path());
    for _ in 0..3 {
        let error = store.find(&url("bad")).await.unwrap_err();
        assert!(error.to_string().contains("payloads.1"), "{error}");
        assert_eq!(served(&store.find(&url("good")).await.unwrap().unwrap()), good);
    }
    assert!(store.remove(blake3_of(&bad)).await.is_err());
    assert_eq!(store.health(), Health::Ready);
    publish(&store, &url("new"), &bytes(3, 5000), None).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_above_that_cannot_be_synced_keeps_no_store_from_its_work() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let disk = FaultDisk::new(&data);
    disk.set_faults(Faults { folder_sync_fails: Some(dir.path().to_owned()), ..Faults::default() });
    let (store, _) = open_on(&disk, &data).unwrap();
    assert_eq!(store.health(), Health::Ready);
    publish(&store, &url("a"), &bytes(1, 5000), None).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_moved_in_survives_a_failed_sync() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let disk = FaultDisk::new(&data);
    let (store, _) = open_on(&disk, &data).unwrap();
    let content = bytes(1, 50_000);
    let path = dir.path().join("only-copy");
    std::fs::write(&path, &content).unwrap();
    disk.set_faults(Faults { folder_sync_fails: Some(data.join("drafts")), ..Faults::default() });
    store.import(path.clone(), true, None, vec![]).await.unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), content, "it went back to where it came from");
    disk.set_faults(Faults::default());
    let found = store.import(path.clone(), true, None, vec![]).await.unwrap();
    assert_eq!((served(&found), path.exists()), (content, false));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_repair_that_fails_after_the_rename_serves_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let content = bytes(1, 200_000);
    let blake3 = blake3_of(&content);
    publish(&store, &url("a"), &content, Some(Authority::Catalog)).await.unwrap();
    let held = store.find(&url("a")).await.unwrap().unwrap();
    let draft = store.repair_draft(blake3, SpanSet::from_iter([Span::new(0, 10)]), vec![]).await.unwrap();
    draft.write(0, content.slice(0..65_536)).await.unwrap();
    let proved = draft.prove().await.unwrap();
    let shelf = dir.path().join("content").join(&blake3.to_string()[..2]);
    disk.set_faults(Faults { folder_sync_fails: Some(shelf), ..Faults::default() });
    draft.publish(proved.clone(), vec![]).await.unwrap_err();
    // It is no draft any more, and nothing of it is counted.
    assert!(matches!(draft.publish(proved, vec![]).await, Err(Error::Gone)));
    let space = store.space().await.unwrap();
    assert_eq!((space.drafts, space.drafts_count), (0, 0));
    assert!(store.draft(&Digest::Blake3(blake3).into()).await.unwrap().is_none());
    let after = store.find(&url("a")).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&held.held, &after.held), "the map of the replaced file is still handed out");
    assert_eq!(served(&after), content);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_draft_that_cannot_be_made_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let content = bytes(1, 200_000);
    publish(&store, &url("a"), &content, Some(Authority::Catalog)).await.unwrap();
    let path = dir.path().join("content").join(&blake3_of(&content).to_string()[..2]);
    // Shorter than it should be, so that the copy is made longer, for which there is no room.
    let path = path.join(blake3_of(&content).to_string());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &content[..1000]).unwrap();
    disk.set_faults(Faults { resize_fails: true, ..Faults::default() });
    store.repair_draft(blake3_of(&content), SpanSet::from_iter([Span::new(0, 10)]), vec![]).await.unwrap_err();
    store.start_draft(spec(&url("b"), &content, None)).await.unwrap_err();
    assert_eq!(std::fs::read_dir(dir.path().join("drafts")).unwrap().count(), 0);
    disk.set_faults(Faults::default());
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_index_that_fails_again_is_read_again_when_the_disk_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, content) = store_with(&disk, dir.path()).await;
    // It is to be read alone from now on, and that fails too.
    disk.set_faults(Faults { index_unreadable: true, index_broken: true, ..Faults::default() });
    drop(store.set_document("a", Some(vec![1])).await.unwrap_err());
    assert!(matches!(store.find(&url("cold")).await, Err(Error::Unavailable { .. })));
    disk.set_faults(Faults::default());
    still_serves(&store, &content).await;
    assert!(matches!(store.health(), Health::ReadOnly { .. }));
    drop(store.close().await);
    assert!(matches!(store.find(&url("never")).await, Err(Error::Unavailable { .. })), "a closed one stays closed");
}

#[tokio::test]
async fn a_use_that_could_not_be_written_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let clock = Hand::new();
    let open =
        || Store::open_with(config(dir.path()), Arc::new(disk.clone()), clock.clone(), &disk.medium()).unwrap().0;
    let store = open();
    publish(&store, &url("a"), &bytes(1, 1000), Some(Authority::Catalog)).await.unwrap();
    store.pin(blake3_of(&bytes(1, 1000)), "me").await.unwrap();
    assert!(store.find(&url("a")).await.unwrap().is_some());
    clock.forward(HOUR);
    assert!(store.hot(&url("a")).is_some());
    disk.set_faults(Faults { free: Some(0), index_full: true, ..Faults::default() });
    drop(store.evict_step(0).await);
    disk.set_faults(Faults::default());
    store.close().await.unwrap();
    let store = open();
    assert_eq!(store.show(&url("a")).await.unwrap().unwrap().used_at, clock.now());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_store_id_names_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let content = bytes(1, 5000);
    publish(&store, &url("a"), &content, None).await.unwrap();
    let backup = dir.path().with_extension("backup");
    store.backup(backup.clone()).await.unwrap();
    store.close().await.unwrap();
    let id = dir.path().join("store-id");
    let right = std::fs::read(&id).unwrap();
    for damaged in [&b"x"[..], &[b'z'; 33]] {
        std::fs::write(&id, damaged).unwrap();
        let error = Store::open(config(dir.path()), Arc::new(RealDisk), Hand::new()).unwrap_err();
        assert!(error.to_string().contains("waystation store rebuild"), "{error}");
        waystation::store::rebuild(&config(dir.path()), Arc::new(RealDisk), Hand::new(), &mut |_| {}).unwrap();
        assert_eq!(std::fs::read(&id).unwrap(), right, "the index knew it");
        std::fs::write(&id, damaged).unwrap();
        waystation::store::restore(&config(dir.path()), &RealDisk, &backup).unwrap();
        assert_eq!(std::fs::read(&id).unwrap(), right);
    }
    std::fs::remove_file(backup).unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(served(&store.find(&url("a")).await.unwrap().unwrap()), content);
    store.close().await.unwrap();
}

#[test]
fn nothing_is_touched_before_the_lock_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(dir.path().join("lock")).unwrap();
    lock.try_lock().unwrap();
    let config = config(dir.path());
    let refused = [
        Store::open(config.clone(), Arc::new(RealDisk), Hand::new()).map(drop).unwrap_err(),
        waystation::store::rebuild(&config, Arc::new(RealDisk), Hand::new(), &mut |_| {}).map(drop).unwrap_err(),
        waystation::store::restore(&config, &RealDisk, Path::new("/nowhere")).map(drop).unwrap_err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Error::Locked { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
