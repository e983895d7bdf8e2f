//! What the store reads back from its disk: proofs and rows of the index. Both may have rotted, or be another's.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend, TableDefinition};
use waystation::base::digest::Blake3;
use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::model::name::{Name, OriginKey};
use waystation::store::{Config, Medium, Store, rebuild};

fn place() -> &'static Path {
    static PLACE: OnceLock<tempfile::TempDir> = OnceLock::new();
    PLACE.get_or_init(|| tempfile::tempdir_in("/dev/shm").expect("a directory in memory")).path()
}

fn config(path: &Path) -> Config {
    Config {
        path: path.to_owned(),
        max_size: 1 << 30,
        min_free: 0,
        unproven: Duration::from_secs(86_400),
        index_cache: 1 << 20,
        open_payloads: 16,
        io_threads: 1,
    }
}

/// A proof beside a payload, read by `store rebuild`. Its checksum is made right, so that its fields are looked at; the
/// first byte says whether.
pub fn proof(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    if first & 1 == 0 {
        bytes.extend_from_slice(blake3::hash(rest).as_bytes());
    }
    // Where the proof says that the payload lies, so that the two belong together.
    let id = rest.get(40..72).map_or([0; 32], |id| id.try_into().unwrap_or([0; 32]));
    let hex = blake3::Hash::from_bytes(id).to_hex();
    let path = place().join("rebuilt");
    let _ = std::fs::remove_dir_all(&path);
    let shelf = path.join("content").join(&hex[..2]);
    std::fs::create_dir_all(&shelf).expect("a directory in memory");
    let size = rest.get(16..24).map_or(0, |size| u64::from_le_bytes(size.try_into().unwrap_or_default()));
    let payload = std::fs::File::create(shelf.join(hex.as_str())).expect("a file in memory");
    let _ = payload.set_len(size.min(1 << 20));
    std::fs::write(shelf.join(format!("{hex}.proof")), bytes).expect("a file in memory");
    let told = rebuild(&config(&path), Arc::new(RealDisk), Arc::new(SystemClock), &mut |_| {});
    if let Err(error) = told {
        assert!(!error.to_string().is_empty());
    }
}

/// An index in memory that is the same for all handles.
#[derive(Clone, Debug)]
struct Shared(Arc<InMemoryBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

type Id = [u8; 32];

/// Tables whose keys are a BLAKE3.
const BY_ID: [&str; 4] = ["payloads.1", "pins.1", "intents.1", "doomed.1"];
/// Tables whose keys are a number.
const BY_NUMBER: [&str; 4] = ["drafts.1", "pieces.1", "quarantine.1", "ledger.1"];
/// Tables whose keys are a name.
const BY_NAME: [&str; 2] = ["aliases.1", "notes.1"];

const KEY: &str = "a.example/x.cab";

/// Rows of every table, then everything that reads them. Each row is a byte for its table, two for its length, and its
/// value. The keys are few, so that rows meet.
pub fn rows(data: &[u8]) {
    static TURN: Mutex<()> = Mutex::new(());
    let _alone = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = place().join("rows");
    let _ = std::fs::remove_dir_all(&path);
    let shared = Shared(Arc::new(InMemoryBackend::new()));
    let medium: Medium = {
        let shared = shared.clone();
        Arc::new(move |_| Ok(Box::new(shared.clone()) as Box<dyn StorageBackend>))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let open = || Store::open_with(config(&path), Arc::new(RealDisk), Arc::new(SystemClock), &medium);
    let (store, _) = open().expect("a new store");
    runtime.block_on(store.close()).expect("an end");
    drop(store);

    let id: Id = *blake3::hash(b"payload").as_bytes();
    let name: Vec<u8> = [&[4], KEY.as_bytes()].concat();
    let db = Database::builder().create_with_backend(shared.clone()).expect("the index");
    let tx = db.begin_write().expect("a transaction");
    let mut rest = data;
    while let [table, low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (value, after) = more.split_at(length);
        rest = after;
        let table = usize::from(*table);
        match table % 11 {
            at @ 0..4 => {
                let table: TableDefinition<'static, &Id, &[u8]> = TableDefinition::new(BY_ID[at]);
                tx.open_table(table).expect("a table").insert(&id, value).expect("a row");
            }
            at @ 4..8 => {
                let definition: TableDefinition<'static, u64, &[u8]> = TableDefinition::new(BY_NUMBER[at - 4]);
                let number = if table < 128 { 1 } else { u64::MAX };
                tx.open_table(definition).expect("a table").insert(number, value).expect("a row");
            }
            at @ 8..10 => {
                let table: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new(BY_NAME[at - 8]);
                tx.open_table(table).expect("a table").insert(name.as_slice(), value).expect("a row");
            }
            _ => {
                let table: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta.1");
                let key = ["epoch", "ledger-total"][usize::from(value.len() > 8)];
                tx.open_table(table).expect("a table").insert(key, value).expect("a row");
            }
        }
    }
    {
        let names: TableDefinition<'static, &[u8], ()> = TableDefinition::new("names.1");
        let key = [id.as_slice(), &name].concat();
        tx.open_table(names).expect("a table").insert(key.as_slice(), ()).expect("a row");
        let recency: TableDefinition<'static, &[u8; 41], ()> = TableDefinition::new("recency.1");
        let mut key = [1; 41];
        key[9..].copy_from_slice(&id);
        tx.open_table(recency).expect("a table").insert(&key, ()).expect("a row");
    }
    tx.commit().expect("a commit");
    drop(db);
    // A draft's file, so that its row is not simply swept.
    let draft = path.join("drafts").join("0000000000000001");
    assert!(draft.as_os_str().as_bytes().len() < 4096);
    if let Ok(file) = std::fs::File::create(&draft) {
        let _ = file.set_len(70_000);
    }

    let Ok((store, _)) = open() else { return };
    runtime.block_on(async {
        let key = Name::Origin(OriginKey::new(KEY).expect("a key"));
        let blake3 = Blake3::new(id);
        let _ = store.find(&key).await;
        let _ = store.show(&key).await;
        let _ = store.note(&key).await;
        let _ = store.list(None, 10).await;
        let _ = store.drafts().await;
        let _ = store.draft(&key).await;
        let _ = store.space().await;
        let _ = store.evict_step(1 << 40).await;
        let _ = store.verify(blake3, Box::new(|_| {})).await;
        let _ = store.pin(blake3, "fuzz").await;
        let _ = store.unpin(blake3).await;
        let _ = store.remove(blake3).await;
        let _ = store.ledger().total();
        let _ = store.close().await;
    });
}
