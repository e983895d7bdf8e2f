//! Finding a payload by name: in the open-payload cache, in an index of 100,000 payloads with opening and mapping the
//! file, and not finding it.
//!
//! Publishing 100,000 payloads costs 100,000 times two syncs, so the index is grown by a shortcut. One payload is
//! published through the store; its rows, as the store wrote them, are then put into the closed index once more under
//! every other BLAKE3 and name, in the five tables that a published payload has rows in, and an empty file of its length
//! is laid where the payload would lie. Look-ups cannot tell the difference; the running sums do not know of them.
//!
//! The names are the same in every run, and are asked for in an order that no cache can guess.
#![allow(missing_docs)] // criterion's macros make public functions without a comment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // A bench stops and tells at the terminal.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::runtime::Runtime;
use waystation::base::digest::{Blake3, Digest, Sha256};
use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::model::name::{Name, OriginKey};
use waystation::model::payload::{Authority, Published, Validators};
use waystation::store::{Config, DraftSpec, Store};

/// Payloads in the index.
const PAYLOADS: usize = 100_000;
/// Length of each; look-ups map it and read nothing.
const SIZE: u64 = 4096;
/// Names asked for in the open-payload cache, so that the look-up is not of one line of memory.
const HOT: usize = 1000;
/// From one name asked for to the next. It shares no factor with the numbers above: every name gets its turn.
const STRIDE: usize = 61_803;

/// The tables that a published payload has rows in, as `src/store/tables.rs` has them.
const ROWS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("payloads.1");
const ALIASES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("aliases.1");
const NAMES: TableDefinition<'static, &[u8], ()> = TableDefinition::new("names.1");
const USED: TableDefinition<'static, &[u8; 32], u64> = TableDefinition::new("used.1");
const RECENCY: TableDefinition<'static, &[u8; 41], ()> = TableDefinition::new("recency.1");
/// The kind of an origin key in front of its text, in keys of [`ALIASES`].
const ORIGIN: u8 = 4;
/// Proven, in keys of [`RECENCY`].
const PROVEN: u8 = 1;

fn text(number: usize) -> String {
    let hex = blake3::hash(&number.to_le_bytes()).to_hex();
    format!("msedge.b.tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/{}", &hex[..36])
}

fn names() -> Vec<Name> {
    (0..PAYLOADS).map(|number| Name::Origin(OriginKey::new(&text(number)).unwrap())).collect()
}

fn open(path: &Path, open_payloads: usize) -> Store {
    let config = Config {
        path: path.to_owned(),
        max_size: 1 << 40,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 64 << 20,
        open_payloads,
        io_threads: 4,
    };
    Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}

/// Publishes the one payload, under the first name.
async fn publish(store: &Store, name: &Name) -> Blake3 {
    use sha2::Digest as _;
    let bytes = vec![7; usize::try_from(SIZE).unwrap()];
    let sha256 = Sha256::new(sha2::Sha256::digest(&bytes).into());
    let spec = DraftSpec {
        name: name.clone(),
        size: SIZE,
        tag: format!("sha256-{sha256}"),
        last_modified: Some("Wed, 02 Sep 2026 08:30:53 GMT".into()),
        validators: Validators::default(),
        expected: Some(Published::one(Digest::Sha256(sha256), Authority::Catalog)),
        locations: vec![],
        freshness: None,
        whole: true,
    };
    let draft = store.start_draft(spec).await.unwrap();
    draft.write(0, bytes.into()).await.unwrap();
    let proved = draft.prove().await.unwrap();
    draft.publish(proved, vec![]).await.unwrap().held.payload().digests.blake3
}

/// Puts the rows of payload `first` in for every other number, in one commit, and lays their files.
fn grow(path: &Path, first: Blake3) {
    let index = Database::open(path.join("node.redb")).unwrap();
    let read = index.begin_read().unwrap();
    let row = read.open_table(ROWS).unwrap().get(first.as_bytes()).unwrap().unwrap().value().to_vec();
    let key = [&[ORIGIN], text(0).as_bytes()].concat();
    let alias = read.open_table(ALIASES).unwrap().get(key.as_slice()).unwrap().unwrap().value().to_vec();
    let used = read.open_table(USED).unwrap().get(first.as_bytes()).unwrap().unwrap().value();
    assert_eq!(alias[1..33], *first.as_bytes(), "a row of a name begins with its version and the BLAKE3");
    drop(read);

    for shelf in 0..=u8::MAX {
        fs::create_dir_all(path.join("content").join(format!("{shelf:02x}"))).unwrap();
    }
    let change = index.begin_write().unwrap();
    {
        let mut rows = change.open_table(ROWS).unwrap();
        let mut aliases = change.open_table(ALIASES).unwrap();
        let mut names = change.open_table(NAMES).unwrap();
        let mut uses = change.open_table(USED).unwrap();
        let mut recency = change.open_table(RECENCY).unwrap();
        for number in 1..PAYLOADS {
            let name = text(number);
            let id = *blake3::hash(name.as_bytes()).as_bytes();
            let key = [&[ORIGIN], name.as_bytes()].concat();
            let used = used + number as u64;
            rows.insert(&id, row.as_slice()).unwrap();
            aliases.insert(key.as_slice(), [&alias[..1], &id, &alias[33..]].concat().as_slice()).unwrap();
            names.insert([id.as_slice(), &key].concat().as_slice(), ()).unwrap();
            uses.insert(&id, used).unwrap();
            let order: [u8; 41] = [&[PROVEN][..], &used.to_be_bytes(), &id].concat().try_into().unwrap();
            recency.insert(&order, ()).unwrap();
            let hex = blake3::Hash::from_bytes(id).to_hex();
            let file = File::create(path.join("content").join(&hex[..2]).join(hex.as_str())).unwrap();
            file.set_len(SIZE).unwrap();
        }
    }
    change.commit().unwrap();
}

/// A data directory with all the payloads in it.
fn fill(runtime: &Runtime, path: &Path, names: &[Name]) {
    let began = Instant::now();
    let store = open(path, 16);
    let first = runtime.block_on(publish(&store, &names[0]));
    runtime.block_on(store.close()).unwrap();
    drop(store);
    grow(path, first);
    let bytes = fs::metadata(path.join("node.redb")).unwrap().len();
    eprintln!("lookup: {PAYLOADS} payloads in an index of {} MiB, made in {:.1?}", bytes >> 20, began.elapsed());
}

fn lookup(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let names = names();
    fill(&runtime, dir.path(), &names);
    let mut group = c.benchmark_group("lookup");

    let store = open(dir.path(), 4096);
    let hot = &names[..HOT];
    for name in hot {
        assert!(runtime.block_on(store.find(name)).unwrap().is_some(), "{name:?}");
    }
    assert!(hot.iter().all(|name| store.hot(name).is_some()), "what was found stays in a cache four times as large");
    let mut at = 0;
    group.bench_function("in the open-payload cache", |bencher| {
        bencher.iter(|| {
            at = (at + STRIDE) % HOT;
            store.hot(black_box(&hot[at]))
        });
    });
    runtime.block_on(store.close()).unwrap();
    drop(store);

    // As few open payloads as the settings allow: nearly every look-up goes past them.
    let store = open(dir.path(), 16);
    let mut at = 0;
    group.bench_function("in the index, opened and mapped", |bencher| {
        bencher.iter(|| {
            at = (at + STRIDE) % PAYLOADS;
            let found = runtime.block_on(store.find(black_box(&names[at]))).unwrap();
            assert!(found.is_some());
            found
        });
    });
    let strangers: Vec<Name> =
        (0..HOT).map(|number| Name::Origin(OriginKey::new(&text(PAYLOADS + number)).unwrap())).collect();
    group.bench_function("not in the index", |bencher| {
        bencher.iter(|| {
            at = (at + STRIDE) % HOT;
            let found = runtime.block_on(store.find(black_box(&strangers[at % HOT]))).unwrap();
            assert!(found.is_none());
        });
    });
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
