//! A store of many payloads, made fast, for the benches that look into one.
//!
//! Publishing a million payloads costs a million times two syncs, so the index is grown by a shortcut. One payload is
//! published through the store; its rows, as the store wrote them, are then put into the closed index once more under
//! every other BLAKE3 and name, in the five tables that a published payload has rows in, the sums are set to what they
//! would be, and an empty file of its length is laid where each payload would lie. Neither a start nor a look-up can
//! tell the difference. There are no proofs, so such a store cannot be verified.
//!
//! The names are the same in every run. Payloads may have SHA-1 and SHA-256 of their own, such as those of files of a catalog; they
//! have no names by these.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::runtime::Runtime;
use waystation::base::digest::{Blake3, Digest, Digests, Sha1, Sha256};
use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::model::name::{Name, OriginKey};
use waystation::model::payload::{Authority, Published, Validators};
use waystation::store::{Config, DraftSpec, Store};

/// Length of each payload; look-ups map it and read nothing.
pub(crate) const SIZE: u64 = 4096;
/// Rows in one commit: enough that syncs cost nothing, few enough that their pages fit in memory.
const BATCH: usize = 100_000;

/// The tables that a published payload has rows in, as `src/store/tables.rs` has them.
const ROWS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("payloads.1");
const ALIASES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("aliases.1");
const NAMES: TableDefinition<'static, &[u8], ()> = TableDefinition::new("names.1");
const USED: TableDefinition<'static, &[u8; 32], u64> = TableDefinition::new("used.1");
const RECENCY: TableDefinition<'static, &[u8; 41], ()> = TableDefinition::new("recency.1");
/// The running sums.
const TOTALS: TableDefinition<'static, &str, u64> = TableDefinition::new("totals.1");
/// The kind of an origin key in front of its text, in keys of [`ALIASES`].
const ORIGIN: u8 = 4;
/// Proven, in keys of [`RECENCY`].
const PROVEN: u8 = 1;
/// In [`ROWS`]: a SHA-1 without a collision, so many bytes behind the SHA-256.
const CLEAN: (usize, u8) = (2, 1);

/// SHA-1 and SHA-256 of payload `number`.
pub(crate) type OwnDigests<'a> = &'a dyn Fn(usize) -> (Sha1, Sha256);

/// The origin key of payload `number`.
pub(crate) fn text(number: usize) -> String {
    let hex = blake3::hash(&number.to_le_bytes()).to_hex();
    format!("msedge.b.tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/{}", &hex[..36])
}

/// Its name.
pub(crate) fn name(number: usize) -> Name {
    Name::Origin(OriginKey::new(&text(number)).unwrap())
}

/// The store at `path`.
pub(crate) fn open(path: &Path, open_payloads: usize) -> Store {
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
async fn publish(store: &Store, name: &Name) -> Digests {
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
    draft.publish(proved, vec![]).await.unwrap().held.payload().digests
}

/// The row of a payload with other digests, and a SHA-1 that was looked at.
fn with_digests(row: &[u8], of: &Digests, own: (Sha1, Sha256)) -> Vec<u8> {
    let place = |bytes: &[u8]| row.windows(bytes.len()).position(|part| part == bytes).unwrap();
    let (sha1, sha256) = (place(of.sha1.as_bytes()), place(of.sha256.as_bytes()));
    let mut row = row.to_vec();
    row[sha1..sha1 + 20].copy_from_slice(own.0.as_bytes());
    row[sha256..sha256 + 32].copy_from_slice(own.1.as_bytes());
    let (behind, clean) = CLEAN;
    row[sha256 + 32 + behind] = clean;
    row
}

/// Puts the rows of payload `first` in for every number below `payloads`, and lays their files.
fn grow(path: &Path, of: &Digests, payloads: usize, own: Option<OwnDigests<'_>>) {
    let first: Blake3 = of.blake3;
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
    let numbers: Vec<usize> = (1..payloads).collect();
    for batch in numbers.chunks(BATCH) {
        let change = index.begin_write().unwrap();
        {
            let mut rows = change.open_table(ROWS).unwrap();
            let mut aliases = change.open_table(ALIASES).unwrap();
            let mut names = change.open_table(NAMES).unwrap();
            let mut uses = change.open_table(USED).unwrap();
            let mut recency = change.open_table(RECENCY).unwrap();
            for &number in batch {
                let name = text(number);
                let id = *blake3::hash(name.as_bytes()).as_bytes();
                let key = [&[ORIGIN], name.as_bytes()].concat();
                let used = used + number as u64;
                match own {
                    Some(own) => rows.insert(&id, with_digests(&row, of, own(number)).as_slice()).unwrap(),
                    None => rows.insert(&id, row.as_slice()).unwrap(),
                };
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
    let change = index.begin_write().unwrap();
    {
        let mut totals = change.open_table(TOTALS).unwrap();
        for sum in ["payload-bytes", "payload-count"] {
            let one = totals.get(sum).unwrap().unwrap().value();
            totals.insert(sum, one * payloads as u64).unwrap();
        }
    }
    change.commit().unwrap();
}

/// Makes a data directory with `payloads` payloads in it, or puts them into one that has none; all but the first with digests of
/// their own where these are given.
pub(crate) fn fill(runtime: &Runtime, path: &Path, payloads: usize, own: Option<OwnDigests<'_>>) {
    let began = Instant::now();
    let store = open(path, 16);
    let first = runtime.block_on(publish(&store, &name(0)));
    runtime.block_on(store.close()).unwrap();
    drop(store);
    grow(path, &first, payloads, own);
    let bytes = fs::metadata(path.join("node.redb")).unwrap().len();
    eprintln!("{payloads} payloads in an index of {} MiB, made in {:.1?}", bytes >> 20, began.elapsed());
}
