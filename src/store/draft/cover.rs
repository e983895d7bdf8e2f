//! What of a draft is in, what of that is hashed, and how far the sequential digests are. Pure but for the hashing.

use crate::base::limits::{GROUP, PIECE};
use crate::base::span::{Span, SpanSet};
use crate::store::hash::{self, Leaf, Running};

/// States of the running digests kept to go back to, some kilobytes each: bounds what a dropped span costs to a
/// thirty-second of the payload.
const KEPT_STATES: u64 = 32;

/// What is in, and what is hashed of it.
pub(super) struct Cover {
    pub(super) covered: SpanSet,
    /// What writers are storing right now.
    pub(super) writing: SpanSet,
    /// Complete groups without a leaf; whole groups only.
    pub(super) ready: SpanSet,
    /// Of the groups that are complete and not in `ready`; of the others they mean nothing.
    pub(super) leaves: Vec<Leaf>,
    /// The frontier as far as it is still right: everything before it is covered and in the running digests.
    pub(super) hashed: u64,
    /// Number of spans dropped so far.
    pub(super) epoch: u64,
    /// What was dropped since the sync that is running began.
    pub(super) dropped: SpanSet,
}

/// The sequential digests. They stand at a multiple of [`GROUP`], or at the end.
pub(super) struct Frontier {
    pub(super) running: Running,
    /// Earlier states, in order, the first at 0.
    pub(super) kept: Vec<Running>,
    /// Distance between kept states.
    pub(super) apart: u64,
}

impl Cover {
    /// Of a draft of `size` bytes, of which `covered` are in and none is hashed.
    pub(super) fn new(mut covered: SpanSet, size: u64) -> Self {
        covered.remove(Span::new(size, u64::MAX));
        // Of each covered run the groups that lie in it whole; the last group of the payload may be a short one.
        let ready = covered
            .iter()
            .map(|run| {
                let end = if run.end() == size { size } else { run.end() / GROUP * GROUP };
                Span::new(run.start().div_ceil(GROUP) * GROUP, end)
            })
            .collect();
        // Zeroed memory that the system hands out page by page as leaves are stored: a huge sparse draft costs little.
        let leaves = vec![[0; 32]; usize::try_from(hash::groups(size)).unwrap_or_default()];
        Self { covered, writing: SpanSet::new(), ready, leaves, hashed: 0, epoch: 0, dropped: SpanSet::new() }
    }

    /// Covers `span`, and finds the groups that it completed.
    pub(super) fn store(&mut self, span: Span, size: u64) {
        self.covered.insert(span);
        let touched = span.align(GROUP, size);
        for index in touched.start() / GROUP..touched.end().div_ceil(GROUP) {
            let group = hash::group(index, size);
            if self.covered.covers(&group) {
                self.ready.insert(group);
            }
        }
    }

    /// The group that begins at `at`, if it is complete.
    pub(super) fn group_at(&self, at: u64, size: u64) -> Option<Span> {
        let group = Span::at(at, GROUP).intersect(&Span::new(0, size));
        (!group.is_empty() && self.covered.covers(&group)).then_some(group)
    }
}

impl Frontier {
    /// At the beginning of a draft of `size` bytes.
    pub(super) fn new(size: u64, checked_sha1: bool) -> Self {
        let running = Running::new(checked_sha1);
        let apart = size.div_ceil(KEPT_STATES).div_ceil(PIECE).max(16) * PIECE;
        Self { kept: vec![running.clone()], running, apart }
    }

    /// Goes back to the last kept state that is not beyond `hashed`.
    pub(super) fn go_back(&mut self, hashed: u64) {
        while self.kept.len() > 1 && self.kept.last().is_some_and(|state| state.at() > hashed) {
            self.kept.pop();
        }
        if let Some(state) = self.kept.last() {
            self.running = state.clone();
        }
    }

    /// Keeps this state if it is far enough from the last one.
    pub(super) fn keep(&mut self) {
        let last = self.kept.last().map_or(0, Running::at);
        if self.running.at() >= last + self.apart {
            self.kept.push(self.running.clone());
        }
    }
}
