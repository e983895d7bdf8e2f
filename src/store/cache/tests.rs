//! What stays open, and what goes first.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::base::digest::{Digests, Sha1, Sha256};
use crate::base::disk::RealDisk;
use crate::base::time::SystemClock;
use crate::model::name::OriginKey;
use crate::model::payload::Validators;

/// Longer than anything here takes that does not hang.
const NEVER: Duration = Duration::from_secs(20);

fn admit(cache: &OpenCache, number: u8, path: &std::path::Path) -> Name {
    let digests =
        Digests { blake3: Blake3::new([number; 32]), sha1: Sha1::new([number; 20]), sha256: Sha256::new([number; 32]) };
    let at = Timestamp::from_ms(1);
    let payload = Payload { digests, size: 5, class: Class::Proven, published_at: at, expires_at: None, allocated: 5 };
    let held = cache.hold(payload, Blob::open(&RealDisk, path, 5).unwrap());
    let name: Name = OriginKey::new(&format!("h.example/{number}")).unwrap().into();
    let alias = Alias { tag: "t".into(), last_modified: None, validators: Validators::default(), freshness: None };
    cache.admit(cache.mark(), &name, &held, Arc::new(alias), true).unwrap();
    name
}

#[test]
fn what_is_idle_ends_outside_the_locks_of_those_who_look_something_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("payload");
    std::fs::write(&path, "bytes").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cache = Arc::new(OpenCache::new(64, Arc::new(Pool::new(1)), clock, Arc::default()));
    let (idle, served) = (admit(&cache, 1, &path), admit(&cache, 2, &path));
    let in_hand = cache.hot(&served).unwrap();
    // Whoever lets go of an open payload notes its use: here that takes as long as an unmap may.
    let slow = cache.recency.lock();
    let theirs = Arc::clone(&cache);
    let dropper = std::thread::spawn(move || theirs.drop_idle());
    let (tell, told) = mpsc::channel();
    let theirs = Arc::clone(&cache);
    std::thread::spawn(move || {
        while theirs.names.len() > 1 {
            std::thread::yield_now();
        }
        let found = (theirs.hot(&idle).is_some(), theirs.hot(&served).is_some());
        drop(theirs.shelves());
        tell.send(found).unwrap();
    });
    let found = told.recv_timeout(NEVER);
    assert!(!dropper.is_finished(), "nothing was let go of");
    drop(slow);
    dropper.join().unwrap();
    assert_eq!(found, Ok((false, true)), "a look-up waited for what was let go of");
    drop(in_hand);
}
