//! What requests ask for, and what was asked for lately.
//!
//! A client asks for one object in hundreds of ranges, with the same host and the same target each time. What the mapping
//! says to them, and how they look in a record, is found out once and remembered while the rules of the mapping stay.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use crate::fill::{Ask, Fill, Refusal, Target};
use crate::model::shown;
use crate::store::fleet::Mark;

/// How many are remembered; a new one takes the place of the one it falls on. A client has a few files under way at a time.
const SLOTS: usize = 512;

/// The longest host and target that are remembered, in bytes together, so that the memory of all stays under 3 MiB. Those of
/// signed URLs have some 300.
const KEY_BYTES_MAX: usize = 1024;

/// Bytes of one thing that are sent before the store is told of them: a client asks for small ranges by the thousand. It is a small
/// part of what makes a file asked for.
const TOLD_AT: u64 = 64 << 10;

/// The most characters of a host in a record.
pub(super) const HOST_CHARS_MAX: usize = 300;

/// What a request asks for.
pub(super) struct Asked {
    /// What the mapping says.
    pub(super) target: Target,
    /// The host as a record shows it.
    pub(super) host: String,
    /// The target of the request as a record shows it.
    pub(super) path: String,
    /// The name in the store as a record shows it.
    pub(super) key: String,
    /// What of the catalog it may be.
    pub(super) mark: Option<Mark>,
    given_host: Option<String>,
    given_target: String,
    /// Of the rules that it was mapped by.
    revision: u64,
    /// What was sent of it.
    pub(super) untold: Untold,
}

/// Bytes that were sent and that the store was not told of, and whether it ever was of any.
#[derive(Default)]
pub(super) struct Untold {
    bytes: AtomicU64,
    told: AtomicBool,
}

impl Untold {
    /// So many bytes were sent: says how many the store is to be told of, if any. The first time at once, since that may be the whole.
    pub(super) fn sent(&self, bytes: u64) -> Option<u64> {
        let all = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if all < TOLD_AT && self.told.load(Ordering::Relaxed) {
            return None;
        }
        self.told.store(true, Ordering::Relaxed);
        // Who comes at the same time finds nothing left.
        Some(self.bytes.swap(0, Ordering::Relaxed)).filter(|all| *all > 0)
    }
}

impl Asked {
    fn new(fill: &Fill, ask: &Ask<'_>, target: &str) -> Result<Self, Refusal> {
        // Before they are asked: what is replaced meanwhile makes this old and not new.
        let revision = fill.rules_revision();
        let found = fill.locate(ask)?;
        Ok(Self {
            host: shown_host(ask.host.unwrap_or_default()),
            path: shown::target(target).into_owned(),
            key: found.name.shown(),
            mark: Mark::of(&found.name),
            target: found,
            given_host: ask.host.map(str::to_owned),
            given_target: target.to_owned(),
            revision,
            untold: Untold::default(),
        })
    }
}

/// A host as a record shows it.
pub(super) fn shown_host(host: &str) -> String {
    shown::escape(shown::without_user_info(host).as_bytes(), HOST_CHARS_MAX).into_owned()
}

/// What was asked for lately. Nobody waits here: where another thread is at the same place, the question is answered anew.
pub(super) struct Lately {
    slots: Box<[Mutex<Option<Arc<Asked>>>]>,
    hasher: RandomState,
}

impl Lately {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// What `ask` asks for; `target` is path and query as they stand in the request.
    pub(super) fn find(&self, fill: &Fill, ask: &Ask<'_>, target: &str) -> Result<Arc<Asked>, Refusal> {
        // Who comes through other proxies brings their names along, and those are not remembered.
        if ask.via.is_some() || ask.host.map_or(0, str::len) + target.len() > KEY_BYTES_MAX {
            return Ok(Arc::new(Asked::new(fill, ask, target)?));
        }
        let hash = self.hasher.hash_one((ask.host, target));
        let slot = usize::try_from(hash % SLOTS as u64).ok().and_then(|at| self.slots.get(at));
        let mut slot = slot.and_then(|slot| match slot.try_lock() {
            Ok(slot) => Some(slot),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        if let Some(known) = slot.as_deref().and_then(Option::as_ref)
            && known.given_host.as_deref() == ask.host
            && known.given_target == target
            && known.revision == fill.rules_revision()
        {
            return Ok(Arc::clone(known));
        }
        let asked = Arc::new(Asked::new(fill, ask, target)?);
        if let Some(slot) = &mut slot {
            **slot = Some(Arc::clone(&asked));
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_told_at_once_and_then_of_many_bytes_together() {
        let untold = Untold::default();
        assert_eq!(untold.sent(10), Some(10), "it may be the whole");
        let told: u64 = (0..1000).filter_map(|_| untold.sent(1000)).sum();
        let times = (0..1000).filter(|_| untold.sent(1000).is_some()).count();
        assert!(told > 1_000_000 - TOLD_AT && times < 20, "{told} {times}");
        assert!(untold.sent(TOLD_AT).is_some_and(|all| all >= TOLD_AT), "a large answer is told by itself");
    }
}
