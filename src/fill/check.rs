//! Holding bytes against published digests while they pass: for what cannot be kept, and therefore not be proven first.
//!
//! All but the last [`HELD_BACK`] bytes go on as they come; those only once the digests match.

use std::fmt;

use bytes::{Bytes, BytesMut};
use sha2::Digest as _;

use crate::base::digest::{Blake3, Sha1, Sha256};
use crate::base::span::Span;
use crate::fill::Obtained;
use crate::fill::Want;
use crate::fill::config::{HELD_BACK, TAIL_READ, Verify};
use crate::fill::error::Error;
use crate::fill::inner::Inner;
use crate::fill::locate::{Keeping, Target};
use crate::model::payload::Published;
use crate::store::{Draft, Store};

/// The digests of what passed so far, from the first byte on.
pub(super) struct Check {
    /// Whose threads hash.
    store: Store,
    expected: Published,
    sha256: Option<sha2::Sha256>,
    /// The one that notices the traces of known collision attacks.
    sha1: Option<Box<sha1_checked::Sha1>>,
    blake3: Option<Box<blake3::Hasher>>,
    seen: u64,
    held: BytesMut,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({} bytes)", self.seen)
    }
}

impl Check {
    pub(super) fn new(store: &Store, expected: Published) -> Self {
        let sha1 = || Box::new(sha1_checked::Sha1::builder().safe_hash(false).build());
        Self {
            store: store.clone(),
            expected,
            sha256: expected.sha256.map(|_| sha2::Sha256::new()),
            sha1: expected.sha1.map(|_| sha1()),
            blake3: expected.blake3.map(|_| Box::new(blake3::Hasher::new())),
            seen: 0,
            held: BytesMut::new(),
        }
    }

    /// Begins with the bytes before `at`, which the client has had out of the draft.
    pub(super) async fn after(store: &Store, expected: Published, draft: &Draft, at: u64) -> Result<Self, Error> {
        let mut check = Self::new(store, expected);
        while check.seen < at {
            let bytes = draft.read(Span::new(check.seen, at.min(check.seen + TAIL_READ))).await?;
            if bytes.is_empty() {
                return Err(Error::unavailable("the draft gave no bytes where there should be some"));
            }
            check = check.take(bytes).await?.0;
        }
        // They have left.
        check.held.clear();
        Ok(check)
    }

    /// Bytes taken in so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes in the next bytes and gives those that may leave: sometimes none. Hashes off the reactor, and not on tokio's
    /// blocking pool: name look-ups that hang would stop every checked body there.
    pub(super) async fn take(self, bytes: Bytes) -> Result<(Self, Bytes), Error> {
        let store = self.store.clone();
        let taken = store.hash_passing(move || self.take_now(&bytes)).await;
        taken.map_err(|error| Error::unavailable(format!("hashing broke off: {error}")))
    }

    fn take_now(mut self, bytes: &[u8]) -> (Self, Bytes) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(blake3) = &mut self.blake3 {
            blake3.update(bytes);
        }
        self.seen += bytes.len() as u64;
        self.held.extend_from_slice(bytes);
        let keep = usize::try_from(HELD_BACK).unwrap_or(usize::MAX);
        let free = self.held.len().saturating_sub(keep);
        let out = self.held.split_to(free).freeze();
        (self, out)
    }

    /// That was all: the bytes held back, if every digest matches.
    pub(super) fn finish(self) -> Result<Bytes, Error> {
        let wrong = |published: String, computed: String| {
            Err(Error::Mismatch { why: format!("{published} was published, the bytes are {computed}") })
        };
        if let (Some(sha256), Some(due)) = (self.sha256, self.expected.sha256) {
            let computed = Sha256::new(sha256.finalize().into());
            if computed != due {
                return wrong(due.to_string(), computed.to_string());
            }
        }
        if let (Some(blake3), Some(due)) = (self.blake3, self.expected.blake3) {
            let computed = Blake3::new(*blake3.finalize().as_bytes());
            if computed != due {
                return wrong(due.to_string(), computed.to_string());
            }
        }
        if let (Some(sha1), Some(due)) = (self.sha1, self.expected.sha1) {
            let result = sha1.try_finalize();
            let computed = Sha1::new((*result.hash()).into());
            if computed != due {
                return wrong(due.to_string(), computed.to_string());
            }
            if result.has_collision() {
                return wrong(due.to_string(), "made to collide with others of that digest".to_owned());
            }
        }
        Ok(self.held.freeze())
    }
}

impl Inner {
    /// [`Inner::any`], and what is passed on is held against the digests that somebody published for it.
    pub(super) async fn obtain(self: &std::sync::Arc<Self>, target: &Target, want: Want) -> Result<Obtained, Error> {
        let mut passed = match self.any(target, want).await? {
            Obtained::Passed(passed) if target.keeping != Keeping::Never => passed,
            other => return Ok(other),
        };
        let expected = match self.gather(target).await {
            Ok(gathered) => gathered.expected,
            Err(_) => target.expected,
        };
        if let Some(expected) = expected
            && let Some(body) = passed.body.take()
        {
            if self.config.verify == Verify::Strict {
                return Err(Error::unavailable("it cannot be kept now, and nothing may leave before its proof"));
            }
            // Of a part nothing can be said: who asks for parts holds the whole against the digest.
            passed.body = Some(if passed.status == 200 { body.checked(expected) } else { body });
        }
        Ok(Obtained::Passed(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Digest;
    use crate::model::payload::Authority;

    fn store(dir: &tempfile::TempDir) -> Store {
        let config = crate::store::Config {
            path: dir.path().to_owned(),
            max_size: 1 << 30,
            min_free: 0,
            unproven: std::time::Duration::from_hours(24),
            index_cache: 4 << 20,
            open_payloads: 8,
            io_threads: 1,
        };
        let disk = std::sync::Arc::new(crate::base::disk::RealDisk);
        Store::open(config, disk, std::sync::Arc::new(crate::base::time::SystemClock)).unwrap().0
    }

    #[test]
    fn name_look_ups_that_hang_hold_no_check_up() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let bytes = Bytes::from(vec![7_u8; 10_000]);
        let digest = Digest::Blake3(Blake3::new(*blake3::hash(&bytes).as_bytes()));
        let (answer, hangs) = std::sync::mpsc::channel::<()>();
        let taken = runtime.block_on(async {
            tokio::task::spawn_blocking(move || hangs.recv().is_ok());
            let check = Check::new(&store, Published::one(digest, Authority::Address));
            tokio::time::timeout(std::time::Duration::from_secs(20), check.take(bytes)).await
        });
        drop(answer);
        let (check, out) = taken.unwrap().unwrap();
        assert_eq!((out.len(), check.finish().unwrap().len()), (10_000 - 4096, 4096));
        runtime.block_on(store.close()).unwrap();
    }

    #[tokio::test]
    async fn the_end_leaves_only_when_the_digest_matches() {
        let bytes = Bytes::from(vec![7_u8; 10_000]);
        let right = [
            Digest::Sha256(Sha256::new(sha2::Sha256::digest(&bytes).into())),
            Digest::Sha1(Sha1::new(sha1::Sha1::digest(&bytes).into())),
            Digest::Blake3(Blake3::new(*blake3::hash(&bytes).as_bytes())),
        ];
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        for digest in right {
            let check = Check::new(&store, Published::one(digest, Authority::Address));
            let (check, some) = check.take(bytes.slice(..3000)).await.unwrap();
            assert!(some.is_empty());
            let (check, some) = check.take(bytes.slice(3000..)).await.unwrap();
            assert_eq!((some.len(), check.seen()), (10_000 - 4096, 10_000));
            assert_eq!(check.finish().unwrap().len(), 4096);
            let (short, _) =
                Check::new(&store, Published::one(digest, Authority::Address)).take(bytes.slice(1..)).await.unwrap();
            assert!(matches!(short.finish(), Err(Error::Mismatch { .. })));
        }
        store.close().await.unwrap();
    }
}
