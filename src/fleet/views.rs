//! Views that are kept: one for each set of groups (and for each filter of categories) that endpoints come with, as of the last state of
//! catalog and approvals. Endpoints of one site have the same groups, so that there are few; a bound keeps it so whatever clients ask for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fleet::view::View;

/// Views that are kept: each is about a MiB where 5,000 updates are delivered.
pub const VIEWS_MAX: usize = 64;

/// A state of what views are made of: the clock of the catalog, that of approvals, and the day where rules go by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// [`crate::fleet::graph::Graph::clock`].
    pub catalog: u64,
    /// The logical clock of the last change of anything that decides what is ordered.
    pub approvals: u64,
    /// Days since 1970.
    pub day: u32,
}

/// A place for one view. Its lock is held while the view is made, so that it is made once.
type Slot = Arc<Mutex<Option<(Generation, Arc<View>)>>>;

struct Kept<K> {
    slots: HashMap<K, (Slot, u64)>,
    /// Counts up with each use.
    used: u64,
}

/// Views by `K`: a sorted set of groups, or that and a filter.
pub struct Views<K> {
    kept: Mutex<Kept<K>>,
    max: usize,
}

impl<K> std::fmt::Debug for Views<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").field("kept", &lock(&self.kept).slots.len()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash + Clone> Default for Views<K> {
    fn default() -> Self {
        Self::new(VIEWS_MAX)
    }
}

impl<K: Eq + Hash + Clone> Views<K> {
    /// Room for so many.
    pub fn new(max: usize) -> Self {
        Self { kept: Mutex::new(Kept { slots: HashMap::new(), used: 0 }), max: max.max(1) }
    }

    /// The view of `key` in a state; made where it is not there, with the one of the state before at hand. Never goes back: who asks for
    /// an older state gets the newer one. Blocks while somebody else makes the same one.
    pub fn get(&self, key: &K, generation: Generation, make: impl FnOnce(Option<&View>) -> View) -> Arc<View> {
        let slot = self.slot(key);
        let mut slot = lock(&slot);
        if let Some((of, view)) = slot.as_ref()
            && *of >= generation
        {
            return Arc::clone(view);
        }
        let view = Arc::new(make(slot.as_ref().map(|(_, view)| &**view)));
        *slot = Some((generation, Arc::clone(&view)));
        view
    }

    fn slot(&self, key: &K) -> Slot {
        let mut kept = lock(&self.kept);
        kept.used += 1;
        let used = kept.used;
        if let Some((slot, last)) = kept.slots.get_mut(key) {
            *last = used;
            return Arc::clone(slot);
        }
        if kept.slots.len() >= self.max
            && let Some(oldest) = kept.slots.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone())
        {
            kept.slots.remove(&oldest);
        }
        let slot = Slot::default();
        kept.slots.insert(key.clone(), (Arc::clone(&slot), used));
        slot
    }

    /// Bytes of all views together.
    pub fn bytes(&self) -> usize {
        let slots: Vec<Slot> = lock(&self.kept).slots.values().map(|(slot, _)| Arc::clone(slot)).collect();
        slots.iter().filter_map(|slot| lock(slot).as_ref().map(|(_, view)| view.size())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_made_once_for_a_state_and_the_one_used_longest_ago_goes() {
        let views = Views::new(2);
        let (mut made, at) = (0, |approvals| Generation { approvals, ..Generation::default() });
        let mut get = |key: &str, state| {
            let before = made;
            views.get(&key.to_owned(), at(state), |old| {
                made += 1 + 10 * usize::from(old.is_some());
                View::default()
            });
            made - before
        };
        assert_eq!([get("a", 1), get("a", 1), get("b", 1), get("a", 2), get("a", 1)], [1, 0, 1, 11, 0]);
        assert_eq!([get("c", 1), get("a", 2), get("b", 1)], [1, 0, 1], "b made room for c, and c for b");
    }
}
