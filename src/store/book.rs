//! The drafts that there are, in memory: they are few (see [`crate::store::drafts::DRAFTS_MAX`]), and opening the store
//! looks at each of them anyway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::base::time::Timestamp;
use crate::model::name::Name;
use crate::store::filling::DraftState;

/// One draft.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: Name,
    pub(crate) demand_at: Timestamp,
    pub(crate) allocated: u64,
    pub(crate) covered: u64,
    pub(crate) open: Weak<DraftState>,
}

#[derive(Debug, Default)]
struct Lines {
    by_id: HashMap<u64, Line>,
    by_name: HashMap<Name, u64>,
}

/// All drafts.
#[derive(Debug, Default)]
pub(crate) struct Book {
    lines: Mutex<Lines>,
    /// Held while a draft is opened, so that two who ask for one get the same.
    pub(crate) opening: Mutex<()>,
}

impl Book {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.lines().by_id.len()
    }

    pub(crate) fn insert(&self, id: u64, line: Line) {
        let mut lines = self.lines();
        lines.by_name.insert(line.name.clone(), id);
        lines.by_id.insert(id, line);
    }

    /// The draft under `name`: its id, and itself where it is open.
    pub(crate) fn find(&self, name: &Name) -> Option<(u64, Option<Arc<DraftState>>)> {
        let lines = self.lines();
        let id = *lines.by_name.get(name)?;
        let open = lines.by_id.get(&id).and_then(|line| line.open.upgrade());
        drop(lines);
        Some((id, open))
    }

    /// Whether there is such a draft.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.lines().by_id.contains_key(&id)
    }

    /// Whether somebody has it open.
    pub(crate) fn is_open(&self, id: u64) -> bool {
        self.lines().by_id.get(&id).is_some_and(|line| line.open.strong_count() > 0)
    }

    /// Whether it was begun before all others that are open, of which there is one at least.
    pub(crate) fn goes_first(&self, id: u64) -> bool {
        let lines = self.lines();
        let mut others = lines.by_id.iter().filter(|(other, line)| **other != id && line.open.strong_count() > 0);
        let mut any = false;
        others.all(|(other, _)| {
            any = true;
            *other > id
        }) && any
    }

    pub(crate) fn set_open(&self, id: u64, open: &Arc<DraftState>) {
        if let Some(line) = self.lines().by_id.get_mut(&id) {
            line.open = Arc::downgrade(open);
        }
    }

    /// Takes a draft out; returns the bytes it was counted with.
    pub(crate) fn take(&self, id: u64) -> Option<u64> {
        let mut lines = self.lines();
        let line = lines.by_id.remove(&id)?;
        if lines.by_name.get(&line.name) == Some(&id) {
            lines.by_name.remove(&line.name);
        }
        Some(line.allocated)
    }

    /// Adds to the bytes that a draft takes.
    pub(crate) fn grow(&self, id: u64, bytes: u64) {
        if let Some(line) = self.lines().by_id.get_mut(&id) {
            line.allocated = line.allocated.saturating_add(bytes);
        }
    }

    /// Sets what is now known of a draft; returns the bytes it was counted with before.
    pub(crate) fn measure(&self, id: u64, allocated: u64, covered: u64, demand_at: Timestamp) -> Option<u64> {
        let mut lines = self.lines();
        let line = lines.by_id.get_mut(&id)?;
        let before = std::mem::replace(&mut line.allocated, allocated);
        line.covered = covered;
        line.demand_at = line.demand_at.max(demand_at);
        Some(before)
    }

    pub(crate) fn demand(&self, id: u64, at: Timestamp) {
        if let Some(line) = self.lines().by_id.get_mut(&id) {
            line.demand_at = line.demand_at.max(at);
        }
    }

    /// Drafts that nobody has open, the longest without demand first: id, last demand, bytes.
    pub(crate) fn idle(&self) -> Vec<(u64, Timestamp, u64)> {
        let lines = self.lines();
        let mut idle: Vec<_> = lines
            .by_id
            .iter()
            .filter(|(_, line)| line.open.strong_count() == 0)
            .map(|(id, line)| (*id, line.demand_at, line.allocated))
            .collect();
        drop(lines);
        idle.sort_unstable_by_key(|(id, demand_at, _)| (*demand_at, *id));
        idle
    }

    /// Ids and covered bytes of all drafts, in order.
    pub(crate) fn all(&self) -> Vec<(u64, u64, Option<Arc<DraftState>>)> {
        let lines = self.lines();
        let mut all: Vec<_> = lines.by_id.iter().map(|(id, line)| (*id, line.covered, line.open.upgrade())).collect();
        drop(lines);
        all.sort_unstable_by_key(|(id, ..)| *id);
        all
    }
}
