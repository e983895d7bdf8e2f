//! Crash points: a workload is run once to count its syncs; then, for each of them and several seeds, again until the
//! power goes off there; and what a machine finds afterwards is opened and held against what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use waystation::store;

use super::*;

/// What was acknowledged, and what was under way when the power went.
#[derive(Debug, Default)]
pub(super) struct Acked {
    pub(super) held: BTreeMap<Name, Bytes>,
    gone: BTreeSet<Name>,
    drafts: BTreeMap<Name, (Bytes, Vec<Span>)>,
    documents: BTreeMap<String, Vec<u8>>,
    /// Names whose state may be the old one or the new one.
    open: BTreeSet<Name>,
}

impl Acked {
    fn begin(&mut self, names: &[&Name]) {
        self.open = names.iter().map(|name| (*name).clone()).collect();
    }

    fn hold(&mut self, name: &Name, bytes: &Bytes) {
        self.open.clear();
        self.gone.remove(name);
        self.drafts.remove(name);
        self.held.insert(name.clone(), bytes.clone());
    }

    fn lose(&mut self, name: &Name) {
        self.open.clear();
        self.held.remove(name);
        self.gone.insert(name.clone());
    }
}

/// Publish, delete, repair, quarantine, checkpoint, commit: everything that writes.
pub(super) async fn workload(store: &Store, acked: &mut Acked) -> Result<(), Error> {
    let (a, b, c, d) = (bytes(1, 200_000), bytes(2, 100), bytes(3, 70_000), bytes(4, 150_000));
    let (na, nb, nc, nd, ne) = (url("a"), url("b"), url("c"), url("d"), url("e"));

    acked.begin(&[&na]);
    let draft = store.start_draft(spec(&na, &a, Some(Authority::Operator))).await?;
    draft.write(65_536, a.slice(65_536..131_072)).await?;
    draft.checkpoint().await?;
    acked.open.clear();
    acked.drafts.insert(na.clone(), (a.clone(), vec![Span::new(65_536, 131_072)]));
    fill(&draft, &a).await?;
    let proved = draft.prove().await?;
    acked.begin(&[&na]);
    draft.publish(proved, vec![]).await?;
    acked.hold(&na, &a);
    drop(draft);

    acked.begin(&[&nb]);
    publish(store, &nb, &b, None).await?;
    acked.hold(&nb, &b);

    acked.begin(&[&nd]);
    let draft = store.start_draft(spec(&nd, &d, None)).await?;
    draft.write(0, d.slice(0..10_000)).await?;
    draft.checkpoint().await?;
    acked.open.clear();
    acked.drafts.insert(nd.clone(), (d.clone(), vec![Span::new(0, 10_000)]));
    draft.write(20_000, d.slice(20_000..30_000)).await?;
    draft.checkpoint().await?;
    acked.drafts.insert(nd.clone(), (d.clone(), vec![Span::new(0, 10_000), Span::new(20_000, 30_000)]));
    drop(draft);

    acked.begin(&[&nc]);
    publish(store, &nc, &c, Some(Authority::Catalog)).await?;
    acked.hold(&nc, &c);
    acked.begin(&[&nc]);
    store.remove(blake3_of(&c)).await?;
    acked.lose(&nc);
    // The same again, at once.
    acked.begin(&[&nc]);
    publish(store, &nc, &c, None).await?;
    acked.hold(&nc, &c);

    let bad = SpanSet::from_iter([Span::new(0, 65_536)]);
    let draft = store.repair_draft(blake3_of(&a), bad, vec![]).await?;
    draft.write(0, a.slice(0..65_536)).await?;
    let proved = draft.prove().await?;
    draft.publish(proved, vec![]).await?;
    drop(draft);

    acked.begin(&[&ne]);
    publish(store, &ne, &b, None).await?;
    acked.hold(&ne, &b);

    acked.begin(&[&nc]);
    store.quarantine(blake3_of(&c), "for the test").await?;
    acked.lose(&nc);

    store.set_document("a/b", Some(vec![7; 5000])).await?;
    acked.documents.insert("a/b".into(), vec![7; 5000]);

    let draft = store.draft(&nd).await?.ok_or(Error::Gone)?;
    acked.begin(&[&nd]);
    draft.quarantine("for the test").await?;
    acked.drafts.remove(&nd);
    acked.open.clear();
    Ok(())
}

/// Every row of every table against every other, and against the files. The store is closed.
pub(super) fn check_rows(root: &Path) -> Result<(), String> {
    const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta.1");
    const PAYLOADS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("payloads.1");
    const ALIASES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("aliases.1");
    const NAMES: TableDefinition<'static, &[u8], ()> = TableDefinition::new("names.1");
    const USED: TableDefinition<'static, &[u8; 32], u64> = TableDefinition::new("used.1");
    const RECENCY: TableDefinition<'static, &[u8; 41], ()> = TableDefinition::new("recency.1");
    const EXPIRY: TableDefinition<'static, &[u8; 40], ()> = TableDefinition::new("expiry.1");
    const PINS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("pins.1");
    const TOTALS: TableDefinition<'static, &str, u64> = TableDefinition::new("totals.1");
    const INTENTS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("intents.1");
    const DOOMED: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("doomed.1");
    const DRAFTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("drafts.1");
    const PIECES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("pieces.1");

    let db = redb::Database::open(root.join("node.redb")).unwrap();
    let tx = db.begin_read().unwrap();
    let ensure = |good: bool, what: &str| if good { Ok(()) } else { Err(what.to_owned()) };
    ensure(tx.open_table(META).unwrap().len().unwrap() >= 2, "meta")?;
    ensure(tx.open_table(INTENTS).unwrap().is_empty().unwrap(), "an intent is left")?;
    ensure(tx.open_table(DOOMED).unwrap().is_empty().unwrap(), "a doomed row is left")?;

    let payloads = tx.open_table(PAYLOADS).unwrap();
    let ids: BTreeSet<[u8; 32]> = payloads.iter().unwrap().map(|row| *row.unwrap().0.value()).collect();
    let mut files = BTreeSet::new();
    for id in &ids {
        let blake3 = Blake3::new(*id).to_string();
        let path = root.join("content").join(&blake3[..2]).join(&blake3);
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        ensure(blake3_of(&bytes).to_string() == blake3, "a payload is not its BLAKE3")?;
        files.insert(path.clone());
        let proof = path.with_extension("proof");
        ensure(proof.is_file(), "a payload has no proof")?;
        files.insert(proof);
    }
    for shelf in std::fs::read_dir(root.join("content")).unwrap() {
        for file in std::fs::read_dir(shelf.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            ensure(files.contains(&path), &format!("{} belongs to no entry", path.display()))?;
        }
    }
    let mut back = BTreeSet::new();
    for row in tx.open_table(ALIASES).unwrap().iter().unwrap() {
        let (name, row) = row.unwrap();
        // The row begins with its version and the BLAKE3.
        let id: [u8; 32] = row.value()[1..33].try_into().unwrap();
        ensure(ids.contains(&id), "an alias points to nothing")?;
        back.insert([&id[..], name.value()].concat());
    }
    let names: BTreeSet<Vec<u8>> =
        tx.open_table(NAMES).unwrap().iter().unwrap().map(|row| row.unwrap().0.value().to_vec()).collect();
    ensure(names == back, "names are not the way back of the aliases")?;

    let pins = tx.open_table(PINS).unwrap();
    let used = tx.open_table(USED).unwrap();
    ensure(used.len().unwrap() == ids.len() as u64, "recency of something that is not there")?;
    let mut ordered = BTreeSet::new();
    for row in tx.open_table(RECENCY).unwrap().iter().unwrap() {
        let key = *row.unwrap().0.value();
        let id: [u8; 32] = key[9..].try_into().unwrap();
        let ms = used.get(&id).unwrap().map(|ms| ms.value());
        ensure(ms == Some(u64::from_be_bytes(key[1..9].try_into().unwrap())), "two times of one use")?;
        ensure(ordered.insert(id), "a payload has two places in the order")?;
    }
    for id in &ids {
        ensure(ordered.contains(id) != pins.get(id).unwrap().is_some(), "pinned and in the order, or neither")?;
    }
    for row in tx.open_table(EXPIRY).unwrap().iter().unwrap() {
        let id: [u8; 32] = row.unwrap().0.value()[8..].try_into().unwrap();
        ensure(ids.contains(&id), "the end of something that is not there")?;
    }
    let totals = tx.open_table(TOTALS).unwrap();
    let total = |key| totals.get(key).unwrap().map_or(0, |sum| sum.value());
    ensure(total("payload-count") == ids.len() as u64, "the count of payloads")?;

    let drafts: BTreeSet<u64> =
        tx.open_table(DRAFTS).unwrap().iter().unwrap().map(|row| row.unwrap().0.value()).collect();
    for row in tx.open_table(PIECES).unwrap().iter().unwrap() {
        ensure(drafts.contains(&row.unwrap().0.value()), "pieces of no draft")?;
    }
    for id in &drafts {
        ensure(root.join(format!("drafts/{id:016x}")).is_file(), "a draft without its file")?;
    }
    ensure(std::fs::read_dir(root.join("drafts")).unwrap().count() == drafts.len(), "a file of no draft")
}

pub(super) async fn check_acked(store: &Store, acked: &Acked) -> Result<(), String> {
    for (name, bytes) in &acked.held {
        let found = store.find(name).await.map_err(|error| error.to_string())?;
        match found {
            Some(found) if served(&found) == *bytes => {}
            Some(_) => return Err(format!("{name} has other bytes")),
            None if acked.open.contains(name) => {}
            None => return Err(format!("{name} was acknowledged and is lost")),
        }
    }
    for name in &acked.gone {
        if !acked.open.contains(name) && store.find(name).await.unwrap().is_some() {
            return Err(format!("{name} was deleted and is back"));
        }
    }
    for (name, (bytes, spans)) in &acked.drafts {
        let Some(draft) = store.draft(name).await.map_err(|error| error.to_string())? else {
            if acked.open.contains(name) {
                continue;
            }
            return Err(format!("the draft of {name} is lost"));
        };
        let covered = draft.covered();
        if let Some(lost) = spans.iter().find(|span| !covered.covers(span)) {
            return Err(format!("{lost:?} of the draft of {name} was checkpointed and is lost"));
        }
        for span in covered.iter() {
            let wanted = bytes.slice(span.start() as usize..span.end() as usize);
            if draft.read(span).await.unwrap() != wanted {
                return Err(format!("{span:?} of the draft of {name} is claimed and wrong"));
            }
        }
    }
    for (key, value) in &acked.documents {
        if store.document(key).await.unwrap().as_ref() != Some(value) {
            return Err(format!("document {key} is lost"));
        }
    }
    Ok(())
}

async fn crash_at(sync: u64, seed: u64) -> Result<(), String> {
    let before = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(before.path());
    disk.off_at(sync);
    let mut acked = Acked::default();
    if let Ok((store, _)) = open_on(&disk, before.path()) {
        let end = workload(&store, &mut acked).await;
        if end.is_ok() {
            // The last syncs are those of closing.
            drop(store.close().await);
        }
    }
    let after = tempfile::tempdir().unwrap();
    disk.crash(seed, after.path());
    let disk = FaultDisk::new(after.path());
    let (store, opened) = open_on(&disk, after.path()).map_err(|error| format!("does not open: {error}"))?;
    if opened.created && !(acked.held.is_empty() && acked.drafts.is_empty()) {
        return Err("an empty store was made in place of a full one".into());
    }
    check_acked(&store, &acked).await?;
    // It goes on working.
    let more = bytes(99, 1000);
    publish(&store, &url("more"), &more, None).await.map_err(|error| format!("no more: {error}"))?;
    store.close().await.map_err(|error| error.to_string())?;
    check_rows(after.path())
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_wherever_the_power_goes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let mut acked = Acked::default();
    workload(&store, &mut acked).await.unwrap();
    check_acked(&store, &acked).await.unwrap();
    store.close().await.unwrap();
    check_rows(dir.path()).unwrap();
    let syncs = disk.syncs();
    assert!(syncs > 60, "the workload has only {syncs} syncs");
    let mut wrong = Vec::new();
    for sync in 0..syncs {
        for seed in [0, 1, 2 + sync, 1000 + sync] {
            if let Err(what) = crash_at(sync, seed).await {
                wrong.push(format!("sync {sync} of {syncs}, seed {seed}: {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} crashes went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn opening_after_a_crash_may_crash_too() {
    let before = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(before.path());
    let (store, _) = open_on(&disk, before.path()).unwrap();
    let mut acked = Acked::default();
    let count = disk.syncs();
    drop(workload(&store, &mut acked).await);
    let all = disk.syncs();
    drop(store);
    for sync in (count..all).step_by(7) {
        let before = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new(before.path());
        disk.off_at(sync);
        let mut acked = Acked::default();
        let (store, _) = open_on(&disk, before.path()).unwrap();
        drop(workload(&store, &mut acked).await);
        drop(store);
        let mut last = tempfile::tempdir().unwrap();
        disk.crash(sync, last.path());
        // Each opening gets one sync further than the one before.
        for steps in 0..40 {
            let disk = FaultDisk::new(last.path());
            disk.off_at(steps);
            let opened = open_on(&disk, last.path());
            if let Ok((store, _)) = opened {
                disk.off_at(u64::MAX);
                check_acked(&store, &acked).await.unwrap_or_else(|what| panic!("sync {sync}, step {steps}: {what}"));
                store.close().await.unwrap();
                check_rows(last.path()).unwrap_or_else(|what| panic!("sync {sync}, step {steps}: {what}"));
                break;
            }
            let next = tempfile::tempdir().unwrap();
            disk.crash(steps + 77, next.path());
            last = next;
            assert!(steps < 39, "opening never ends");
        }
    }
}

/// Takes `path` over until the power goes off at sync `sync`, where one is given; says how many syncs there were.
async fn take_over(path: &Path, data: &Path, sync: Option<u64>) -> FaultDisk {
    let disk = FaultDisk::new(data);
    let (store, _) = open_on(&disk, data).unwrap();
    let begun = disk.syncs();
    if let Some(sync) = sync {
        disk.off_at(begun + sync);
    }
    drop(store.import(path.to_owned(), true, None, vec![]).await);
    disk
}

#[tokio::test]
async fn a_file_that_was_being_moved_in_outlives_the_index() {
    let content = bytes(1, 50_000);
    // Whether the file lies in some directory below.
    fn lies_in(root: &Path, content: &Bytes) -> bool {
        std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .any(|path| if path.is_dir() { lies_in(&path, content) } else { std::fs::read(&path).unwrap() == *content })
    }
    let (mut sync, mut went_back) = (0, 0);
    loop {
        let dir = tempfile::tempdir().unwrap();
        let (data, path) = (dir.path().join("data"), dir.path().join("only-copy"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(&path, &content).unwrap();
        let disk = take_over(&path, &data, Some(sync)).await;
        let ended = disk.syncs() < sync;
        for seed in [1, 2 + sync, 1000 + sync] {
            let after = tempfile::tempdir().unwrap();
            disk.crash(seed, after.path());
            // Where the move itself was lost, the file still lies where it was.
            let was_moved = lies_in(after.path(), &content);
            let left = path.exists();
            let rebuilt = store::rebuild(&config(after.path()), Arc::new(RealDisk), Hand::new(), &mut |_| {}).unwrap();
            let (store, _) = open(after.path());
            let held = store.show(&Name::Digest(Digest::Blake3(blake3_of(&content)))).await.unwrap().is_some();
            let back = std::fs::read(&path).is_ok_and(|bytes| bytes == content);
            store.close().await.unwrap();
            went_back += u64::from(!left && back);
            // A payload whose proof was lost is told of and left where it is.
            let told = rebuilt.without_proof.iter().any(|path| std::fs::read(path).unwrap() == content);
            assert!(held || back || told || !was_moved, "sync {sync}, seed {seed}: the only copy is lost");
            if rebuilt.without_proof.is_empty() {
                check_rows(after.path()).unwrap();
            }
            if !left && path.exists() {
                std::fs::remove_file(&path).unwrap();
            }
        }
        if ended || sync > 60 {
            break;
        }
        sync += 1;
    }
    assert!(went_back > 0, "no power was cut while the file was on its way");
}
