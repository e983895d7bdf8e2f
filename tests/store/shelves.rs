//! The directories of payloads: what is acknowledged lies in one whose own name is on the disk, whoever made it and
//! however often its sync failed. The same of the data directory itself and of the one for TLS in it.

use super::crash::{Acked, check_acked, check_rows, workload};
use super::*;
use crate::fault_disk::Faults;

/// Three contents that lie in one directory.
fn neighbours() -> [Bytes; 3] {
    let shelf = |content: &Bytes| blake3_of(content).as_bytes()[0];
    let first = bytes(1, 100);
    let mut others = (2..).map(|seed| bytes(seed, 100)).filter(|content| shelf(content) == shelf(&first));
    let mut next = || others.next().unwrap();
    let (second, third) = (next(), next());
    [first, second, third]
}

/// Whether each of `wanted` is there on a machine that kept nothing that was not synced.
async fn are_held(disk: &FaultDisk, wanted: &[(Name, &Bytes)]) {
    let after = tempfile::tempdir().unwrap();
    disk.crash(0, after.path());
    let (store, _) = open(after.path());
    for (name, content) in wanted {
        let found = store.find(name).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{name} was acknowledged and is lost"));
        assert_eq!(served(&found), **content, "{name}");
    }
    store.close().await.unwrap();
    check_rows(after.path()).unwrap();
}

#[tokio::test]
async fn a_directory_whose_sync_failed_is_synced_before_anything_else_comes_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let [first, second, third] = neighbours();
    disk.set_faults(Faults { folder_sync_fails: Some(dir.path().join("content")), ..Faults::default() });
    publish(&store, &url("1"), &first, None).await.unwrap_err();
    publish(&store, &url("2"), &second, None).await.unwrap();
    are_held(&disk, &[(url("2"), &second)]).await;
    // An import goes the same way.
    let file = dir.path().with_extension("in");
    std::fs::write(&file, &third).unwrap();
    store.import(file.clone(), false, None, vec![]).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    are_held(&disk, &[(url("2"), &second), (Digest::Blake3(blake3_of(&third)).into(), &third)]).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_import_too_waits_for_a_directory_whose_sync_failed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let [first, second, _] = neighbours();
    disk.set_faults(Faults { folder_sync_fails: Some(dir.path().join("content")), ..Faults::default() });
    publish(&store, &url("1"), &first, None).await.unwrap_err();
    let file = dir.path().with_extension("in");
    std::fs::write(&file, &second).unwrap();
    store.import(file.clone(), false, None, vec![]).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    are_held(&disk, &[(Digest::Blake3(blake3_of(&second)).into(), &second)]).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_publish_does_not_rely_on_the_sync_that_another_one_has_only_begun() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let [first, second, _] = neighbours();
    disk.set_faults(Faults { sync_waits: Some(dir.path().join("content")), ..Faults::default() });
    disk.sync_gate.shut();
    let theirs = store.clone();
    let one = tokio::spawn({
        let first = first.clone();
        async move { publish(&theirs, &url("1"), &first, None).await.map(drop) }
    });
    disk.sync_gate.arrival().await;
    // The directory is there now, and its name is not on the disk.
    let theirs = store.clone();
    let mut two = tokio::spawn({
        let second = second.clone();
        async move { publish(&theirs, &url("2"), &second, None).await.map(drop) }
    });
    tokio::select! {
        ended = &mut two => {
            ended.unwrap().unwrap();
            are_held(&disk, &[(url("2"), &second)]).await;
        }
        () = disk.sync_gate.arrival() => {
            disk.sync_gate.open_up();
            two.await.unwrap().unwrap();
        }
    }
    disk.sync_gate.open_up();
    one.await.unwrap().unwrap();
    are_held(&disk, &[(url("1"), &first), (url("2"), &second)]).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_a_killed_process_made_is_synced_by_the_next_one() {
    let first = bytes(2, 100);
    // The process ends at each of its syncs, one after the other; the machine goes on.
    let (mut sync, mut ended) = (0, false);
    while !ended {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new(dir.path());
        disk.off_at(sync);
        if let Ok((store, _)) = open_on(&disk, dir.path()) {
            ended = publish(&store, &url("1"), &first, None).await.is_ok();
            drop(store.close().await);
        }
        disk.on();
        let (store, _) = open_on(&disk, dir.path()).unwrap();
        if let Some(draft) = store.draft(&url("1")).await.unwrap() {
            draft.discard().await.unwrap();
        }
        publish(&store, &url("2"), &first, None).await.unwrap();
        are_held(&disk, &[(url("2"), &first)]).await;
        store.close().await.unwrap();
        sync += 1;
    }
    assert!(sync > 10, "a publish has only {sync} syncs");
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_and_what_the_next_one_does_survive_the_power() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    workload(&store, &mut Acked::default()).await.unwrap();
    let syncs = disk.syncs();
    store.close().await.unwrap();
    for sync in 0..syncs {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new(dir.path());
        disk.off_at(sync);
        let mut acked = Acked::default();
        if let Ok((store, _)) = open_on(&disk, dir.path()) {
            drop(workload(&store, &mut acked).await);
            drop(store.close().await);
        }
        disk.on();
        let (store, _) = open_on(&disk, dir.path()).unwrap();
        check_acked(&store, &acked).await.unwrap_or_else(|what| panic!("killed at sync {sync}: {what}"));
        // The same once more, over what is there: every directory is come to again.
        let mut again = Acked::default();
        workload(&store, &mut again).await.unwrap_or_else(|error| panic!("killed at sync {sync}: {error}"));
        let after = tempfile::tempdir().unwrap();
        disk.crash(0, after.path());
        drop(store.close().await);
        let (store, _) = open(after.path());
        check_acked(&store, &again).await.unwrap_or_else(|what| panic!("killed at sync {sync}, then off: {what}"));
        store.close().await.unwrap();
        check_rows(after.path()).unwrap_or_else(|what| panic!("killed at sync {sync}, then off: {what}"));
    }
}

#[tokio::test]
async fn the_data_directory_and_what_is_made_in_it_survive_the_power() {
    use waystation::net::tls::{ca::SiteCa, scope::Scope};

    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let data = dir.path().join("data");
    let (store, _) = open_on(&disk, &data).unwrap();
    let tls = data.join("tls");
    let scope = Scope::of_domains(&["example.org".parse().unwrap()], &[]);
    let made = SiteCa::open(&disk, &tls, &*Hand::new(), &scope).unwrap();
    let after = tempfile::tempdir().unwrap();
    disk.crash(0, after.path());
    assert!(after.path().join("data/content").is_dir());
    let kept = SiteCa::existing(&RealDisk, &after.path().join("data/tls")).unwrap().unwrap();
    assert_eq!(kept.certificate(), made.certificate());
    store.close().await.unwrap();
}
