//! One publish, delete or repair of a BLAKE3 at a time: a publish of a doomed payload waits for the delete to end.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::base::digest::Blake3;

/// The digests that somebody works on.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    taken: Mutex<HashSet<Blake3>>,
    freed: Condvar,
}

/// A digest that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Key<'a> {
    keys: &'a Keys,
    blake3: Blake3,
}

impl Keys {
    fn taken(&self) -> MutexGuard<'_, HashSet<Blake3>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody works on `blake3`. A holder never waits for another key, so that this always ends.
    pub(crate) fn take(&self, blake3: Blake3) -> Key<'_> {
        let mut taken = self.taken();
        while !taken.insert(blake3) {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        Key { keys: self, blake3 }
    }

    /// The same without waiting.
    pub(crate) fn try_take(&self, blake3: Blake3) -> Option<Key<'_>> {
        self.taken().insert(blake3).then_some(Key { keys: self, blake3 })
    }
}

impl Key<'_> {
    /// Which one.
    pub(crate) fn blake3(&self) -> Blake3 {
        self.blake3
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        self.keys.taken().remove(&self.blake3);
        self.keys.freed.notify_all();
    }
}
