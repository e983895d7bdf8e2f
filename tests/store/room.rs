//! Room: who gets it where not all can, and that nobody else waits while it is made.

use super::*;
use crate::fault_disk::Faults;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn open_gated(path: &Path, disk: &FaultDisk, max_size: usize, clock: Arc<Hand>) -> Store {
    let config = Config { max_size: max_size as u64, io_threads: 1, ..config(path) };
    Store::open_with(config, Arc::new(disk.clone()), clock, &disk.medium()).unwrap().0
}

#[tokio::test]
async fn of_two_that_cannot_both_fit_the_later_one_learns_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) =
        Store::open(Config { max_size: MIB as u64, ..config(dir.path()) }, Arc::new(RealDisk), Hand::new()).unwrap();
    let (first, second) = (bytes(1, 600 * KIB), bytes(2, 600 * KIB));
    let draft = store.start_draft(spec(&url("first"), &first, Some(Authority::Catalog))).await.unwrap();
    draft.write(0, first.slice(..KIB)).await.unwrap();
    let later = spec(&url("second"), &second, Some(Authority::Catalog));
    let error = store.start_draft(later.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Full { what } if what.contains("promised")), "{error}");
    assert!(store.draft(&url("second")).await.unwrap().is_none());
    fill(&draft, &first).await.unwrap();
    let proved = draft.prove().await.unwrap();
    drop(draft.publish(proved, vec![]).await.unwrap());
    drop(draft);
    // What is published is no promise any more, and goes for what comes.
    let draft = store.start_draft(later).await.unwrap();
    fill(&draft, &second).await.unwrap();
    assert!(store.find(&url("first")).await.unwrap().is_none());
    drop(draft);
    // One that is left gives its promise back.
    let third = bytes(3, 900 * KIB);
    publish(&store, &url("third"), &third, Some(Authority::Catalog)).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_draft_that_was_left_is_opened_only_where_the_rest_of_it_fits() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) =
        Store::open(Config { max_size: MIB as u64, ..config(dir.path()) }, Arc::new(RealDisk), Hand::new()).unwrap();
    let (left, other) = (bytes(1, 500 * KIB), bytes(2, 700 * KIB));
    let draft = store.start_draft(spec(&url("left"), &left, None)).await.unwrap();
    draft.write(0, left.slice(..100 * KIB)).await.unwrap();
    draft.checkpoint().await.unwrap();
    drop(draft);
    let draft = store.start_draft(spec(&url("other"), &other, None)).await.unwrap();
    assert!(matches!(store.draft(&url("left")).await, Err(Error::Full { .. })));
    draft.discard().await.unwrap();
    let draft = store.draft(&url("left")).await.unwrap().unwrap();
    fill(&draft, &left).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_draft_that_was_left_keeps_no_room_while_it_is_still_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let config = Config { max_size: MIB as u64, io_threads: 2, ..config(dir.path()) };
    let (store, _) = Store::open_with(config, Arc::new(disk.clone()), Hand::new(), &disk.medium()).unwrap();
    disk.set_faults(Faults { read_waits: Some(dir.path().join("drafts")), ..Faults::default() });
    disk.read_gate.shut();
    let (left, other) = (bytes(1, 600 * KIB), bytes(2, 700 * KIB));
    let draft = store.start_draft(spec(&url("left"), &left, None)).await.unwrap();
    draft.write(0, left.slice(..100 * KIB)).await.unwrap();
    disk.read_gate.arrival().await;
    drop(draft);
    store.start_draft(spec(&url("other"), &other, None)).await.unwrap();
    disk.read_gate.open_up();
    store.close().await.unwrap();
}

#[tokio::test]
async fn of_large_drafts_that_grow_the_first_waits_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let size = 80 * MIB;
    let small = Config { max_size: 130 * MIB as u64, ..config(dir.path()) };
    let (store, _) = Store::open(small, Arc::new(RealDisk), Hand::new()).unwrap();
    let piece = bytes(1, MIB);
    let mut drafts = Vec::new();
    for name in ["first", "second"] {
        let spec = DraftSpec { size: size as u64, ..spec(&url(name), &piece, Some(Authority::Catalog)) };
        let draft = store.start_draft(spec).await.unwrap();
        for at in 0..64 {
            draft.write((at * MIB) as u64, piece.clone()).await.unwrap();
        }
        drafts.push(draft);
    }
    let (second, first) = (drafts.pop().unwrap(), drafts.pop().unwrap());
    // Two more fit beside what both have. Then neither finds room, and the second is refused at once.
    for at in 64..66 {
        first.write((at * MIB) as u64, piece.clone()).await.unwrap();
    }
    let waiting = first.write(66 * MIB as u64, piece.clone());
    tokio::pin!(waiting);
    let refused = tokio::select! {
        biased;
        _ = &mut waiting => panic!("there was no room"),
        refused = second.write(64 * MIB as u64, piece.clone()) => refused,
    };
    assert!(matches!(refused, Err(Error::Full { .. })));
    // It lets go, and the first goes on.
    drop(second);
    waiting.await.unwrap();
    for at in 67..80 {
        first.write((at * MIB) as u64, piece.clone()).await.unwrap();
    }
    assert!(first.is_complete());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_room_is_made_pages_are_brought_in_and_others_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let store = open_gated(dir.path(), &disk, MIB, Hand::new());
    let (old, served) = (bytes(1, 400 * KIB), bytes(2, 400 * KIB));
    publish(&store, &url("old"), &old, Some(Authority::Catalog)).await.unwrap();
    let found = publish(&store, &url("served"), &served, Some(Authority::Catalog)).await.unwrap();
    // Begun while there was room; then others take it.
    let grown = bytes(3, 100 * KIB);
    let draft = store.start_draft(spec(&url("grows"), &grown, Some(Authority::Catalog))).await.unwrap();
    draft.write(0, grown.clone()).await.unwrap();
    draft.drop_span(Span::new(0, 100 * KIB as u64)).await.unwrap();
    publish(&store, &url("more"), &bytes(4, 100 * KIB), Some(Authority::Catalog)).await.unwrap();
    disk.gate.shut();
    let shortage = store.shortage();
    let writing = tokio::spawn(async move { draft.write(0, grown).await });
    disk.gate.arrival().await;
    shortage.notified().await;
    // The one thread that brings pages in is free, though somebody who writes waits for a delete.
    found.held.populate(Span::new(0, 400 * KIB as u64)).await.unwrap();
    assert!(!writing.is_finished());
    disk.gate.open_up();
    writing.await.unwrap().unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn room_for_a_repair_is_not_made_of_what_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let small = Config { max_size: MIB as u64, ..config(dir.path()) };
    let (store, _) = Store::open(small, Arc::new(RealDisk), clock.clone()).unwrap();
    let content = bytes(1, 400 * KIB);
    publish(&store, &url("bad"), &content, Some(Authority::Catalog)).await.unwrap();
    clock.forward(HOUR);
    publish(&store, &url("newer"), &bytes(2, 400 * KIB), Some(Authority::Catalog)).await.unwrap();
    let bad: SpanSet = std::iter::once(Span::new(0, 65_536)).collect();
    let draft = store.repair_draft(blake3_of(&content), bad, vec![]).await.unwrap();
    assert!(store.find(&url("bad")).await.unwrap().is_some(), "the one used last went for it");
    assert!(store.find(&url("newer")).await.unwrap().is_none());
    draft.write(0, content.slice(..65_536)).await.unwrap();
    let proved = draft.prove().await.unwrap();
    draft.publish(proved, vec![]).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_has_its_room_while_it_copies_and_can_be_broken_off() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let store = open_gated(&dir.path().join("data"), &disk, MIB, Hand::new());
    let file = dir.path().join("file");
    let content = bytes(1, 600 * KIB);
    std::fs::write(&file, &content).unwrap();
    disk.gate.shut();
    let theirs = store.clone();
    let path = file.clone();
    let importing = tokio::spawn(async move { theirs.import(path, false, None, vec![]).await });
    disk.gate.arrival().await;
    let error = store.start_draft(spec(&url("beside"), &bytes(2, 600 * KIB), None)).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    importing.abort();
    assert!(importing.await.unwrap_err().is_cancelled());
    disk.gate.open_up();
    // Closing waits for what was begun; it was not taken in, and nothing of it is left.
    store.close().await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("data/drafts")).unwrap().count(), 0);
    let store = open_gated(&dir.path().join("data"), &disk, MIB, Hand::new());
    assert!(store.show(&Name::Digest(Digest::Blake3(blake3_of(&content)))).await.unwrap().is_none());
    store.import(file, false, None, vec![]).await.unwrap();
    assert_eq!(store.space().await.unwrap().drafts, 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_its_length_while_it_is_copied_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let store = open_gated(&dir.path().join("data"), &disk, 20 * MIB, Hand::new());
    let file = dir.path().join("file");
    // More than one piece, so that threads hash it beside the copying.
    let content = bytes(1, 3 * MIB + 777);
    for len in [content.len() / 2, content.len() + 1] {
        std::fs::write(&file, &content).unwrap();
        disk.gate.shut();
        let (theirs, path) = (store.clone(), file.clone());
        let importing = tokio::spawn(async move { theirs.import(path, false, None, vec![]).await });
        disk.gate.arrival().await;
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(len as u64).unwrap();
        disk.gate.open_up();
        importing.await.unwrap().unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path().join("data/drafts")).unwrap().count(), 0);
        assert_eq!(store.space().await.unwrap().drafts, 0);
    }
    std::fs::write(&file, &content).unwrap();
    let found = store.import(file, false, None, vec![]).await.unwrap();
    assert_eq!(found.held.payload().digests.blake3, blake3_of(&content));
    assert!(found.held.window(Span::new(0, content.len() as u64)) == content);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_delete_that_failed_still_counts_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let store = open_gated(dir.path(), &disk, 10 * MIB, Hand::new());
    let content = bytes(1, 600 * KIB);
    publish(&store, &url("a"), &content, None).await.unwrap();
    disk.gate.refuse(true);
    store.remove(blake3_of(&content)).await.unwrap_err();
    assert!(store.find(&url("a")).await.unwrap().is_none());
    assert!(store.space().await.unwrap().payloads >= 600 * KIB as u64, "its blocks are still taken");
    assert_eq!(store.evict_step(0).await.unwrap(), 0);
    disk.gate.refuse(false);
    assert!(store.evict_step(0).await.unwrap() >= 600 * KIB as u64);
    assert_eq!(store.space().await.unwrap().payloads, 0);
    let hex = blake3_of(&content).to_string();
    assert!(!dir.path().join("content").join(&hex[..2]).join(&hex).exists());
    assert_eq!(store.evict_step(0).await.unwrap(), 0);
    store.close().await.unwrap();
    crash::check_rows(dir.path()).unwrap();
}

#[tokio::test]
async fn a_step_is_short_on_a_slow_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, clock) = (FaultDisk::new(dir.path()), Hand::new());
    let store = open_gated(dir.path(), &disk, 10 * MIB, clock.clone());
    for at in 0..8 {
        let content = bytes(at, KIB);
        let draft = store.start_draft(spec(&url(&at.to_string()), &content, None)).await.unwrap();
        fill(&draft, &content).await.unwrap();
        draft.prove().await.unwrap();
    }
    clock.forward(31 * DAY);
    disk.gate.slow(Duration::from_millis(60));
    let mut steps = 0;
    while store.evict_step(0).await.unwrap() > 0 {
        steps += 1;
    }
    assert_eq!((steps, store.space().await.unwrap().drafts_count), (8, 0), "one delete is longer than a step");
    store.close().await.unwrap();
}

#[tokio::test]
async fn who_asks_for_ever_new_names_throws_out_no_draft_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let clock = Hand::new();
    let (store, _) =
        Store::open_with(config(dir.path()), Arc::new(disk.clone()), clock.clone(), &disk.medium()).unwrap();
    let content = bytes(1, 100 * KIB);
    let net = |last: u8| std::net::IpAddr::from([10, 0, last, 9]);
    let begin = async |client: u8, name: &str, expected| {
        let draft = store.start_draft_for(net(client), spec(&url(name), &content, expected)).await.unwrap();
        draft.write(0, content.slice(..KIB)).await.unwrap();
    };
    begin(1, "other", None).await;
    begin(2, "own", None).await;
    begin(2, "vouched", Some(Authority::Catalog)).await;
    clock.forward(HOUR);
    for at in 0..1100 {
        let name = url(&format!("scan?n={at}"));
        drop(store.start_draft_for(net(2), spec(&name, &content, None)).await.unwrap());
    }
    let drafts = store.drafts().await.unwrap();
    assert_eq!(drafts.len(), 1024 + 2, "drafts are counted by the network that they were begun for");
    for name in ["other", "own", "vouched"] {
        assert!(drafts.iter().any(|(spec, _)| spec.name == url(name)), "{name} went for empty ones");
    }
    store.close().await.unwrap();
}
