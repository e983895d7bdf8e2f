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
        // Made only where it is ours: a key that is dropped gives up its digest, whoever works on that.
        self.taken().insert(blake3).then(|| Key { keys: self, blake3 })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_taken_is_refused_at_once_and_stays_taken() {
        let keys = Keys::default();
        let blake3 = Blake3::new([7; 32]);
        let first = keys.take(blake3);
        assert!(keys.try_take(blake3).is_none());
        assert!(keys.try_take(blake3).is_none(), "the look before took nothing from its holder");
        drop(first);
        assert!(keys.try_take(blake3).is_some());
    }
}
