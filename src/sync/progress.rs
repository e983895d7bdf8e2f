//! How far a run is: written by the run, read by everyone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::time::Timestamp;
use crate::model::update::Identity;
use crate::store::catalog::{Applied, Compared, Counts, RunKind};
use crate::upstream::wsus::{Silence, Waiting};

/// Refusals of one run that are told; the others stand in the catalog all the same.
const REFUSED_TOLD_MAX: usize = 1_000;

/// Revisions that a run may refuse without more ado; beyond that no more than one in so many.
const SPOILT_MAX: u64 = 100;
/// One in so many: of real catalogs hardly one in a thousand cannot be used.
const SPOILT_SHARE: u64 = 10;

/// Shorter than this a step has no rate.
const RATE_AFTER: Duration = Duration::from_secs(2);

/// What a run is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Who it is that is asked, and what it allows.
    #[default]
    Asking,
    /// Documents that were refused or pardoned since the last run.
    FetchingAgain,
    /// Which categories and detectoids there are.
    ListingCategories,
    /// Their documents.
    FetchingCategories,
    /// Which updates there are.
    ListingUpdates,
    /// Their documents.
    FetchingUpdates,
    /// Prerequisites beyond the filters: which there are, and their documents.
    Prerequisites,
    /// What is held against Microsoft's.
    Comparing,
    /// What the upstream does not have any more goes; what was left behind is swept.
    Tidying,
}

impl Step {
    /// The words for people and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asking => "asking the upstream",
            Self::FetchingAgain => "fetching again what was refused",
            Self::ListingCategories => "listing categories",
            Self::FetchingCategories => "fetching categories",
            Self::ListingUpdates => "listing updates",
            Self::FetchingUpdates => "fetching updates",
            Self::Prerequisites => "fetching prerequisites",
            Self::Comparing => "comparing with Microsoft's catalog",
            Self::Tidying => "tidying up",
        }
    }
}

/// A run as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its number in the history.
    pub run: u64,
    /// When it began.
    pub started: Timestamp,
    /// What it is at.
    pub step: Step,
    /// Revisions of this step that are done.
    pub done: u64,
    /// Revisions of this step, as far as is known: bundles bring members with them.
    pub total: u64,
    /// Revisions a minute in this step, where it has gone on for some seconds.
    pub per_minute: Option<u64>,
    /// How long this step will take at that rate.
    pub left: Option<Duration>,
    /// What the run did so far.
    pub counts: Counts,
    /// Which kind of run it is.
    pub kind: RunKind,
    /// What a comparison found so far.
    pub compared: Compared,
    /// What is waited for before the upstream is asked again, where it is.
    pub waiting: Option<Waiting>,
    /// That the upstream was asked and says nothing, where it does.
    pub silence: Option<Silence>,
}

/// Where the run writes.
#[derive(Debug)]
pub(in crate::sync) struct Board {
    run: u64,
    started: Timestamp,
    kind: RunKind,
    live: Mutex<Live>,
}

#[derive(Debug)]
struct Live {
    step: Step,
    since: Instant,
    done: u64,
    total: u64,
    /// Revisions that were done in the steps before this one.
    before: u64,
    counts: Counts,
    refused: Vec<(Identity, String)>,
    remarks: Vec<(Identity, String)>,
    compared: Compared,
    /// Revisions that came for the first time, and those of them that cannot be used.
    asked: u64,
    bad: u64,
    /// What the history is to tell of a run that ended well.
    notes: Vec<String>,
    ended: bool,
}

impl Board {
    pub(in crate::sync) fn new(run: u64, started: Timestamp, kind: RunKind) -> Self {
        let live = Live {
            step: Step::default(),
            since: Instant::now(),
            done: 0,
            total: 0,
            before: 0,
            counts: Counts::default(),
            refused: Vec::new(),
            remarks: Vec::new(),
            compared: Compared::default(),
            asked: 0,
            bad: 0,
            notes: Vec::new(),
            ended: false,
        };
        Self { run, started, kind, live: Mutex::new(live) }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Every change is whole when the lock is given back, so that a panic elsewhere has broken nothing.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::sync) fn run(&self) -> u64 {
        self.run
    }

    /// Another step begins, with so many revisions to do.
    pub(in crate::sync) fn step(&self, step: Step, total: u64) {
        let mut live = self.live();
        live.before += live.done;
        (live.step, live.since, live.done, live.total) = (step, Instant::now(), 0, total);
        tracing::debug!(run = self.run, step = step.word(), total, "a sync goes on");
    }

    /// Something was committed.
    pub(in crate::sync) fn applied(&self, applied: &Applied, done: u64) {
        let mut live = self.live();
        live.done += done;
        live.total = (live.total + applied.wanted).max(live.done);
        let counts = &mut live.counts;
        counts.new += applied.new;
        counts.changed += applied.changed;
        counts.expired += applied.expired;
        counts.superseded += applied.superseded;
        counts.refused += applied.refused.len() as u64;
        counts.files += applied.files;
        counts.bytes += applied.bytes;
        let room = REFUSED_TOLD_MAX.saturating_sub(live.refused.len());
        live.refused.extend(applied.refused.iter().take(room).cloned());
    }

    /// Errors of the upstream that were got over, and updates that went.
    pub(in crate::sync) fn count(&self, more: Counts) {
        let counts = &mut self.live().counts;
        counts.errors += more.errors;
        counts.pruned += more.pruned;
        counts.refused += more.refused;
        counts.bytes += more.bytes;
    }

    /// So many more are done.
    pub(in crate::sync) fn done(&self, more: u64) {
        let mut live = self.live();
        live.done += more;
        live.total = live.total.max(live.done);
    }

    /// A held revision was refused.
    pub(in crate::sync) fn refuse(&self, identity: Identity, reason: String) {
        let mut live = self.live();
        if live.refused.len() < REFUSED_TOLD_MAX {
            live.refused.push((identity, reason));
        }
    }

    /// Something is to be told of a revision that is left as it is.
    pub(in crate::sync) fn remark(&self, identity: Identity, text: String) {
        let mut live = self.live();
        if live.remarks.len() < REFUSED_TOLD_MAX {
            live.remarks.push((identity, text));
        }
    }

    /// A comparison found so much more.
    pub(in crate::sync) fn compared(&self, more: Compared) {
        let found = &mut self.live().compared;
        found.agreed += more.agreed;
        found.differed += more.differed;
        found.text += more.text;
        found.absent += more.absent;
        found.unknown += more.unknown;
        found.behind += more.behind;
        found.withdrawn += more.withdrawn;
    }

    /// So much of what a comparison had found counts as something else now.
    pub(in crate::sync) fn counts_otherwise(&self, less: Compared) {
        let found = &mut self.live().compared;
        found.agreed = found.agreed.saturating_sub(less.agreed);
        found.absent = found.absent.saturating_sub(less.absent);
        found.unknown = found.unknown.saturating_sub(less.unknown);
    }

    pub(in crate::sync) fn found(&self) -> Compared {
        self.live().compared
    }

    /// What was remarked so far, behind the first `from`.
    pub(in crate::sync) fn remarks(&self, from: usize) -> Vec<(Identity, String)> {
        self.live().remarks.get(from..).unwrap_or_default().to_vec()
    }

    pub(in crate::sync) fn counts(&self) -> Counts {
        self.live().counts
    }

    /// So many came that can be used, and so many that cannot. Where those are too many it says how many cannot be used of how many.
    pub(in crate::sync) fn spoils(&self, good: u64, bad: u64) -> Option<(u64, u64)> {
        let mut live = self.live();
        live.asked += good + bad;
        live.bad += bad;
        let too_many = live.bad > SPOILT_MAX && live.bad.saturating_mul(SPOILT_SHARE) > live.asked;
        too_many.then_some((live.bad, live.asked))
    }

    /// The history is to tell of it.
    pub(in crate::sync) fn note(&self, note: String) {
        let mut live = self.live();
        // A run may begin anew.
        if !live.notes.contains(&note) {
            live.notes.push(note);
        }
    }

    /// What was noted, in one text.
    pub(in crate::sync) fn notes(&self) -> String {
        self.live().notes.join("; ")
    }

    /// What was refused so far, behind the first `from`.
    pub(in crate::sync) fn refused(&self, from: usize) -> Vec<(Identity, String)> {
        self.live().refused.get(from..).unwrap_or_default().to_vec()
    }

    /// The run is over. What it refused can still be read.
    pub(in crate::sync) fn end(&self) {
        self.live().ended = true;
    }

    /// Revisions that were done over all steps so far, and those that are known to be left of this one.
    pub(in crate::sync) fn whole(&self) -> (u64, u64) {
        let live = self.live();
        (live.before + live.done, live.total.saturating_sub(live.done))
    }

    /// How far it is, while it runs.
    pub(in crate::sync) fn look(&self) -> Option<Progress> {
        let live = self.live();
        if live.ended {
            return None;
        }
        let passed = live.since.elapsed();
        let rate = (passed >= RATE_AFTER && live.done > 0).then(|| live.done as f64 / passed.as_secs_f64());
        let left = rate.map(|rate| {
            let seconds = live.total.saturating_sub(live.done) as f64 / rate;
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        });
        Some(Progress {
            run: self.run,
            started: self.started,
            step: live.step,
            done: live.done,
            total: live.total,
            per_minute: rate.map(|rate| (rate * 60.0) as u64),
            left,
            counts: live.counts,
            kind: self.kind,
            compared: live.compared,
            waiting: None,
            silence: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_expected_end_follows_from_what_is_done() {
        let board = Board::new(1, Timestamp::from_ms(0), RunKind::Catalog);
        board.step(Step::FetchingUpdates, 100);
        let seen = board.look().unwrap();
        assert_eq!((seen.per_minute, seen.left), (None, None), "nothing is known yet");
        tokio::time::advance(Duration::from_secs(10)).await;
        board.applied(&Applied { wanted: 20, ..Applied::default() }, 40);
        let seen = board.look().unwrap();
        assert_eq!((seen.done, seen.total, seen.per_minute), (40, 120, Some(240)));
        assert_eq!(seen.left, Some(Duration::from_secs(20)));
        board.step(Step::Tidying, 0);
        assert_eq!((board.look().unwrap().total, board.whole()), (0, (40, 0)), "what came before counts in the end");
        board.end();
        assert_eq!(board.look(), None);
    }
}
