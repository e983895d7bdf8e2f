//! A store in a directory of its own, and ways to fill it and to damage it.
#![allow(dead_code, reason = "not every test that includes this uses all of it")]

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use waystation::base::digest::Blake3;
use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, Timestamp};
use waystation::model::name::{Name, OriginKey};
use waystation::model::payload::{Published, Validators};
use waystation::store::{Config, DraftSpec, Store};

/// A clock that only the test moves.
#[derive(Debug)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    /// At noon of a day in 2026.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_790_000_000_000)))
    }

    /// Moves it on.
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

/// A data directory, and the store in it while it is open.
pub(crate) struct Cellar {
    dir: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) store: Store,
}

impl Cellar {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = HandClock::new();
        let store = open(&dir, &clock, 1 << 40);
        Self { dir, clock, store }
    }

    /// Closes the store and opens it again with another `max_size`.
    pub(crate) async fn reopen(self, max_size: u64) -> Self {
        let Self { dir, clock, store } = self;
        store.close().await.unwrap();
        drop(store);
        let store = open(&dir, &clock, max_size);
        Self { dir, clock, store }
    }

    /// Publishes `size` bytes that depend on `seed`; proven, if `proven`.
    pub(crate) async fn put(&self, seed: u8, size: usize, proven: bool) -> Blake3 {
        use sha1::Digest as _;
        let bytes = content(seed, size);
        let spec = DraftSpec {
            name: name(seed),
            size: size as u64,
            tag: format!("tag-{seed}"),
            last_modified: None,
            validators: Validators::default(),
            expected: proven.then(|| {
                let sha256 = waystation::base::digest::Sha256::new(sha2::Sha256::digest(&bytes).into());
                Published::one(
                    waystation::base::digest::Digest::Sha256(sha256),
                    waystation::model::payload::Authority::Operator,
                )
            }),
            locations: vec![],
            freshness: None,
            whole: true,
        };
        let draft = self.store.start_draft(spec).await.unwrap();
        draft.write(0, bytes.into()).await.unwrap();
        let proved = draft.prove().await.unwrap();
        draft.publish(proved, vec![]).await.unwrap().held.payload().digests.blake3
    }

    /// Where a payload lies.
    pub(crate) fn file(&self, blake3: Blake3) -> PathBuf {
        let hex = blake3.to_string();
        self.dir.path().join("content").join(&hex[..2]).join(hex)
    }

    /// Where its proof lies.
    pub(crate) fn proof(&self, blake3: Blake3) -> PathBuf {
        self.file(blake3).with_extension("proof")
    }

    /// Flips one bit of a payload on the disk, past its mode.
    pub(crate) fn flip(&self, blake3: Blake3, at: u64) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(blake3);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }
}

fn open(dir: &tempfile::TempDir, clock: &Arc<HandClock>, max_size: u64) -> Store {
    let config = Config {
        path: dir.path().to_owned(),
        max_size,
        min_free: 0,
        unproven: Duration::from_hours(24 * 30),
        index_cache: 4 << 20,
        open_payloads: 8,
        io_threads: 2,
    };
    Store::open(config, Arc::new(RealDisk), Arc::<HandClock>::clone(clock)).unwrap().0
}

/// The name under which [`Cellar::put`] publishes.
pub(crate) fn name(seed: u8) -> Name {
    Name::Origin(OriginKey::new(&format!("dl.example.org/{seed}")).unwrap())
}

/// Bytes that are the same in every run and do not compress.
pub(crate) fn content(seed: u8, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new_derive_key("waystation test cellar").update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}
