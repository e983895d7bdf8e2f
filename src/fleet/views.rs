//! Views that are kept: one for each set of groups (and for each filter of categories) that endpoints come with, as of the last state of
//! catalog and approvals. Endpoints of one site have the same groups, so that there are few; where each of many sites has words of its own
//! there are more, and what they take together is bounded, whatever clients ask for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fleet::view::View;

/// Views that are kept, however small they are: who is pushed out is looked for among all of them.
pub const VIEWS_MAX: usize = 4096;

/// Bytes of the views that are kept: each has about a MiB where 5,000 updates are delivered, so that a hundred sites with approvals of their
/// own have room. A view that is made anew costs some 40 ms of a core.
pub const VIEW_BYTES_MAX: usize = 128 << 20;

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

struct One {
    slot: Slot,
    /// When it was used last.
    used: u64,
    bytes: usize,
}

struct Kept<K> {
    slots: HashMap<K, One>,
    /// Counts up with each use.
    used: u64,
    bytes: usize,
}

impl<K: Eq + Hash + Clone> Kept<K> {
    /// Lets go of the one that was used longest ago; says whether there was one beside the newest.
    fn push_out(&mut self) -> bool {
        let oldest = self.slots.iter().filter(|(_, one)| one.used < self.used).min_by_key(|(_, one)| one.used);
        let Some(key) = oldest.map(|(key, _)| key.clone()) else { return false };
        let gone = self.slots.remove(&key);
        self.bytes = self.bytes.saturating_sub(gone.map_or(0, |one| one.bytes));
        true
    }
}

/// Views by `K`: a sorted set of groups, or that and a filter.
pub struct Views<K> {
    kept: Mutex<Kept<K>>,
    max: usize,
    bytes_max: usize,
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
        Self::new(VIEWS_MAX, VIEW_BYTES_MAX)
    }
}

impl<K: Eq + Hash + Clone> Views<K> {
    /// Room for so many, and for so many bytes of them; the one that was used last is kept whatever it takes.
    pub fn new(max: usize, bytes_max: usize) -> Self {
        Self { kept: Mutex::new(Kept { slots: HashMap::new(), used: 0, bytes: 0 }), max: max.max(1), bytes_max }
    }

    /// The view of `key` in a state; made where it is not there, with the one of the state before at hand. Never goes back: who asks for
    /// an older state gets the newer one. Blocks while somebody else makes the same one.
    pub fn get(&self, key: &K, generation: Generation, make: impl FnOnce(Option<&View>) -> View) -> Arc<View> {
        let place = self.slot(key);
        let mut slot = lock(&place);
        if let Some((of, view)) = slot.as_ref()
            && *of >= generation
        {
            return Arc::clone(view);
        }
        let view = Arc::new(make(slot.as_ref().map(|(_, view)| &**view)));
        *slot = Some((generation, Arc::clone(&view)));
        drop(slot);
        self.weigh(key, &place, view.size());
        view
    }

    fn slot(&self, key: &K) -> Slot {
        let mut kept = lock(&self.kept);
        kept.used += 1;
        let used = kept.used;
        if let Some(one) = kept.slots.get_mut(key) {
            one.used = used;
            return Arc::clone(&one.slot);
        }
        while kept.slots.len() >= self.max && kept.push_out() {}
        let slot = Slot::default();
        kept.slots.insert(key.clone(), One { slot: Arc::clone(&slot), used, bytes: 0 });
        slot
    }

    /// Its view has so many bytes now.
    fn weigh(&self, key: &K, place: &Slot, bytes: usize) {
        let mut kept = lock(&self.kept);
        let Some(one) = kept.slots.get_mut(key).filter(|one| Arc::ptr_eq(&one.slot, place)) else { return };
        let before = std::mem::replace(&mut one.bytes, bytes);
        kept.bytes = kept.bytes.saturating_sub(before).saturating_add(bytes);
        while kept.bytes > self.bytes_max && kept.push_out() {}
    }

    /// Bytes of all views together.
    pub fn bytes(&self) -> usize {
        lock(&self.kept).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::graph::Graph;
    use crate::fleet::order::Ordered;
    use crate::model::deployment::Action;
    use crate::model::update::{Identity, Kind, UpdateId};
    use crate::store::catalog::Related;

    #[test]
    fn a_view_is_made_once_for_a_state_and_the_one_used_longest_ago_goes() {
        let views = Views::new(2, VIEW_BYTES_MAX);
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

    #[test]
    fn what_views_take_together_is_bounded() {
        let identity = Identity { id: UpdateId::new([1; 16]), revision: 1 };
        let mut graph = Graph::default();
        graph.insert(&Related { deployable: true, ..Related::new(1, identity, Kind::Software) });
        let order = Ordered { update: identity.id, action: Action::Install, deadline: None, changed: 0 };
        let view = || View::new(&graph, &[order], 1, None);
        let one = view().size();
        assert!(one > 0);
        let views = Views::new(100, 3 * one);
        let made = |keys: &[u32]| {
            let mut made = 0;
            for key in keys {
                views.get(key, Generation::default(), |_| {
                    made += 1;
                    view()
                });
                assert!(views.bytes() <= 3 * one, "{key}");
            }
            made
        };
        assert_eq!(made(&[1, 2, 3, 1, 2, 3]), 3);
        assert_eq!(made(&[4, 4, 3, 2, 1]), 2, "the fourth made room for itself, and the first for it");
        let small = Views::new(100, 0);
        let get = |key: u32| {
            let first = small.get(&key, Generation::default(), |_| view());
            Arc::ptr_eq(&first, &small.get(&key, Generation::default(), |_| view()))
        };
        assert!(get(1) && get(2), "the last one stays, whatever it takes");
    }
}
