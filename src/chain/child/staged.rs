//! What came and is not applied yet, as its hashes.

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::alarm::Alarm;
use crate::chain::child::{Ask, Child, Mark, Step, lacks};
use crate::chain::error::Error;
use crate::model::chain::hash::KeyHash;
use crate::model::chain::ids::Audience;
use crate::model::chain::live::{Leaf, LiveSet};
use crate::model::chain::record::Entry;
use crate::wire::peer::signed::Checkpoint;

/// Entries that are held without being applied, beside those that a checkpoint says are live, at some 150 bytes of memory each: four times
/// what an authority leaves without a checkpoint. More is made up.
pub const STAGED_MAX: usize = 262_144;

/// What they become.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum What {
    /// Changes to what is live: what is under each key afterwards.
    Tail(BTreeMap<KeyHash, Option<Leaf>>),
    /// All that is live.
    Snapshot {
        set: LiveSet,
        /// The checkpoint at its beginning.
        checkpoint: Checkpoint,
        /// Up to which key its pages came.
        after: Option<KeyHash>,
        /// More pages are to come.
        is_open: bool,
        /// They are asked for as hashes alone.
        bare: bool,
    },
}

/// What is staged.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub(super) base: Mark,
    pub(super) head: Mark,
    pub(super) what: What,
    /// A checkpoint at the head, whose chain is right; what lacks keeps it from being applied.
    pub(super) covered: Option<Checkpoint>,
    /// What is for this node and came as its hash alone.
    pub(super) lacking: BTreeSet<KeyHash>,
    /// What lacks was asked for since the tail was, in vain.
    pub(super) tried: bool,
}

impl Staged {
    pub(super) fn tail(base: Mark) -> Self {
        Self::of(base, What::Tail(BTreeMap::new()))
    }

    pub(super) fn snapshot(checkpoint: &Checkpoint, bare: bool) -> Self {
        let (set, begun) = (LiveSet::default(), checkpoint.clone());
        Self::of(checkpoint.into(), What::Snapshot { set, checkpoint: begun, after: None, is_open: true, bare })
    }

    pub(super) fn of(base: Mark, what: What) -> Self {
        Self { base, head: base, what, covered: None, lacking: BTreeSet::new(), tried: false }
    }

    pub(super) fn base(&self) -> Mark {
        self.base
    }

    pub(super) fn head(&self) -> Mark {
        self.head
    }

    pub(super) fn is_snapshot(&self) -> bool {
        matches!(self.what, What::Snapshot { .. })
    }

    /// Whether pages are still to come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.what, What::Snapshot { is_open: true, .. })
    }

    pub(super) fn after(&self) -> Option<KeyHash> {
        match &self.what {
            What::Snapshot { after, .. } => *after,
            What::Tail(_) => None,
        }
    }

    /// Whether its pages are asked for as hashes alone.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.what, What::Snapshot { bare: true, .. })
    }

    /// What is to be asked for before it can be applied.
    pub(super) fn missing(&self, max: usize) -> Vec<KeyHash> {
        let now = self.covered.is_some() && !self.tried;
        self.lacking.iter().take(if now { max } else { 0 }).copied().collect()
    }

    /// Whether so many more may be staged.
    fn takes(&self, more: usize) -> bool {
        let behind = self.head.position.sequence.saturating_sub(self.base.position.sequence);
        let (held, max) = match &self.what {
            What::Tail(_) => (behind, 0),
            What::Snapshot { set, checkpoint, .. } => (set.len().saturating_add(behind), checkpoint.count),
        };
        held.saturating_add(more as u64) <= max.saturating_add(STAGED_MAX as u64)
    }

    pub(super) fn put(&mut self, key: KeyHash, leaf: Option<Leaf>, audiences: &BTreeSet<Audience>) {
        if leaf.is_some_and(|leaf| lacks(audiences, &leaf)) {
            self.lacking.insert(key);
        } else {
            self.lacking.remove(&key);
        }
        match &mut self.what {
            What::Tail(changes) => drop(changes.insert(key, leaf)),
            What::Snapshot { set, .. } => drop(set.put(&key, leaf)),
        }
    }

    /// What will be live under a key, as far as it is staged.
    pub(super) fn get(&self, key: &KeyHash) -> Option<Leaf> {
        match &self.what {
            What::Tail(changes) => changes.get(key).copied().flatten(),
            What::Snapshot { set, .. } => set.get(key).copied(),
        }
    }

    /// The content of what is staged under this key came.
    pub(super) fn hold(&mut self, leaf: Leaf) {
        self.lacking.remove(&leaf.key);
        match &mut self.what {
            What::Tail(changes) => drop(changes.insert(leaf.key, Some(leaf))),
            What::Snapshot { set, .. } => drop(set.insert(leaf)),
        }
    }

    pub(super) fn count_lacking(&mut self, audiences: &BTreeSet<Audience>) {
        let mine = |leaf: &&Leaf| lacks(audiences, leaf);
        self.lacking = match &self.what {
            What::Tail(changes) => changes.values().flatten().filter(mine).map(|leaf| leaf.key).collect(),
            What::Snapshot { set, .. } => set.iter().filter(mine).map(|leaf| leaf.key).collect(),
        };
    }
}

impl Child {
    /// The leaf that an entry makes; held where it came whole, or is held already.
    fn leaf(&self, entry: &Entry) -> Leaf {
        let key = entry.key();
        let mut leaf = Leaf { key, record: entry.record(), audience: entry.audience(), held: entry.is_whole() };
        let known = self.live.get(&key).filter(|known| known.record == leaf.record);
        leaf.held |= known.is_some_and(|known| known.held);
        leaf
    }

    fn turn_ask(&self) -> Option<&Ask> {
        self.turn.as_ref().map(|turn| &turn.ask)
    }

    fn has_staged(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.has_staged = true;
        }
    }

    /// Entries behind what is staged, or behind what is applied.
    pub(super) fn tail(
        &mut self,
        first: u64,
        entries: &[Entry],
        steps: &mut Vec<Step>,
    ) -> Result<Result<(), Alarm>, Error> {
        if !matches!(self.turn_ask(), Some(Ask::Feed(_))) {
            return Err(Error::Order("entries of the log were not asked for".into()));
        }
        if self.staged.as_ref().is_some_and(Staged::is_open) {
            return Err(Error::Order("entries of the log before the snapshot is whole".into()));
        }
        let base = self.staged.as_ref().map(Staged::head).or_else(|| self.applied_here().map(Mark::from));
        let Some(base) = base else { return Err(Error::Order("entries of the log before a snapshot".into())) };
        if first.checked_sub(1) != Some(base.position.sequence) {
            let at = base.position.sequence;
            return Err(Error::Order(format!("entries from number {first} on, where {at} was the last")));
        }
        if self.staged.as_ref().is_some_and(|staged| !staged.takes(entries.len())) {
            self.drop_staged(steps);
            return Ok(Err(Alarm::Uncovered { max: STAGED_MAX }));
        }
        let leaves: Vec<Option<Leaf>> =
            entries.iter().map(|entry| (!entry.is_gone()).then(|| self.leaf(entry))).collect();
        let staged = self.staged.get_or_insert_with(|| Staged::tail(base));
        for (entry, leaf) in entries.iter().zip(leaves) {
            let head = &mut staged.head;
            head.position.sequence += 1;
            let number = head.position.sequence;
            head.link = head.link.next(number, entry.op(), entry.audience(), entry.key(), entry.record());
            staged.put(entry.key(), leaf, &self.audiences);
        }
        (staged.covered, staged.tried) = (None, false);
        self.has_staged();
        steps.extend([Step::Stage, Step::Remember]);
        Ok(Ok(()))
    }

    /// A page of the snapshot that is under way.
    pub(super) fn page(&mut self, entries: &[Entry], steps: &mut Vec<Step>) -> Result<Result<(), Alarm>, Error> {
        if self.turn.as_ref().is_some_and(|turn| turn.is_held) {
            return Ok(Ok(()));
        }
        let is_asked = matches!(self.turn_ask(), Some(Ask::Snapshot { .. }));
        let leaves: Vec<Leaf> = entries.iter().map(|entry| self.leaf(entry)).collect();
        let Some(staged) = self.staged.as_mut().filter(|staged| is_asked && staged.is_open()) else {
            return Err(Error::Order("a page of a snapshot that was not begun".into()));
        };
        if !staged.takes(leaves.len()) {
            self.drop_staged(steps);
            return Ok(Err(Alarm::Uncovered { max: STAGED_MAX }));
        }
        let Some((first, last)) = leaves.first().zip(leaves.last()).map(|(a, b)| (a.key, b.key)) else {
            return Ok(Ok(()));
        };
        if staged.after().is_some_and(|after| first <= after) {
            return Err(Error::Order("a page of a snapshot that was there already".into()));
        }
        for leaf in leaves {
            staged.put(leaf.key, Some(leaf), &self.audiences);
        }
        if let What::Snapshot { after, .. } = &mut staged.what {
            *after = Some(last);
        }
        self.has_staged();
        steps.extend([Step::Stage, Step::Remember]);
        Ok(Ok(()))
    }
}
