//! When a prefetch begins by itself, and when it does not.
//!
//! 1. A cause raises the revision of what is wanted ([`Shared::content_changed`]); where anything is missing then, a job begins
//!    ([`by_itself`]). The job goes by the revision that it has seen: causes that are older than its end begin none after it.
//! 2. Who stops a prefetch holds it ([`Steering::hold`]): what happens by itself (a run of the catalog, what endpoints ask for, the time)
//!    begins none. It is let go of by who says `prefetch start`, decides something, or changes [content] or [filters]; and by a restart.
//! 3. Where a job left something undone another one begins some hours later, whoever had begun the first ([`Steering::ended`]).
//! 4. What endpoints ask for is kept meanwhile, by a task of its own ([`keep_asked`]): a job goes on for hours.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::jobs::board::State;
use crate::jobs::error::Error;
use crate::jobs::prefetch::keep::{Kept, keep};
use crate::jobs::prefetch::mismatch::Mismatches;
use crate::jobs::work::Work;
use crate::jobs::{Jobs, Shared};

/// Who begins what nobody asked for.
pub(in crate::jobs) const POLICY: &str = "the content policy";

/// Who stopped the prefetch, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What is remembered from one job to the next.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Steering {
    stopped: Mutex<Option<Stopped>>,
    /// When the next job begins by itself, since the last one left something undone.
    next: Mutex<Option<Timestamp>>,
    /// Pulled when a job has ended that somebody else began.
    ended: Notify,
    /// The revision of what is wanted that a job went by last.
    went_by: AtomicU64,
    pub(in crate::jobs) mismatches: Mismatches,
    pub(in crate::jobs) kept: Kept,
}

impl Steering {
    fn lock(&self) -> MutexGuard<'_, Option<Stopped>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who stopped it, if nobody has let go of it since.
    pub(in crate::jobs) fn stopped(&self) -> Option<Stopped> {
        self.lock().clone()
    }

    /// Nothing begins by itself until [`Steering::let_go`].
    pub(in crate::jobs) fn hold(&self, by: &str, now: Timestamp) {
        *self.lock() = Some(Stopped { by: by.to_owned(), at: now });
    }

    pub(in crate::jobs) fn let_go(&self) {
        *self.lock() = None;
    }

    fn begins_at(&self, at: Option<Timestamp>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// When the next job begins by itself, where one does by the time alone.
    pub(in crate::jobs) fn next(&self) -> Option<Timestamp> {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job has ended that somebody began: what it left undone is tried again as after one that began by itself.
    pub(in crate::jobs) fn ended(&self) {
        self.ended.notify_one();
    }

    /// A job has seen what is wanted by this revision.
    pub(in crate::jobs) fn goes_by(&self, revision: u64) {
        self.went_by.store(revision, Ordering::Release);
    }

    fn went_by(&self) -> u64 {
        self.went_by.load(Ordering::Acquire)
    }
}

/// What came of a cause.
#[derive(Clone, Copy, Default)]
struct Begun {
    /// Something was left undone that may go better later.
    undone: bool,
    /// A job that somebody else had begun was waited for: it may have ended before it saw this cause.
    elsewhere: bool,
}

/// Begins a prefetch whenever there is a cause and something is missing. Returns after `cancel`.
pub(in crate::jobs) async fn by_itself(jobs: Jobs, cancel: CancellationToken) {
    let shared = &jobs.shared;
    // The start of the node is a cause.
    shared.content_changed();
    let mut revisions = shared.planned.watch();
    let (mut seen, mut later): (u64, Option<tokio::time::Instant>) = (0, None);
    loop {
        let mut is_due = *revisions.borrow_and_update() != seen;
        while !is_due {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = revisions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    is_due = *revisions.borrow_and_update() != seen;
                }
                () = sleep_until(later) => is_due = true,
                () = shared.steering.ended.notified() => later = put_off(shared, jobs.is_undone()),
            }
        }
        shared.steering.begins_at(None);
        let cause = shared.planned.revision();
        let begun = begin(&jobs, &cancel).await;
        seen = match begun {
            Ok(Begun { elsewhere: true, .. }) => shared.steering.went_by(),
            _ => cause.max(shared.steering.went_by()),
        };
        let is_later = match begun {
            Ok(begun) => begun.undone,
            Err(Error::Closing) => return,
            Err(error) => {
                tracing::info!(%error, "a prefetch waits");
                true
            }
        };
        later = put_off(shared, is_later);
    }
}

/// When the next job begins by the time alone, where something was left undone; people see it.
fn put_off(shared: &Shared, is_undone: bool) -> Option<tokio::time::Instant> {
    let rest = shared.config.prefetch_later;
    shared.steering.begins_at(is_undone.then(|| shared.clock.now().after(rest)));
    is_undone.then(|| tokio::time::Instant::now() + rest)
}

/// Without a time: for ever.
pub(super) async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Brings what is missing, to the end.
async fn begin(jobs: &Jobs, cancel: &CancellationToken) -> Result<Begun, Error> {
    let shared = &jobs.shared;
    let revision = shared.planned.revision();
    // Counted whether or not anything begins: `status` tells it.
    let plan = shared.plan_anew().await?;
    let (sift, _) = shared.sift(&plan.policy, plan.agreement.is_given()).await?;
    keep(shared, &plan, (&Arc::new(sift), revision), cancel).await?;
    // What does not match waits for a change, or for a person; so does all where a rule is left out that would keep something out.
    if plan.held_back().is_some() {
        return Ok(Begun::default());
    }
    if plan.now.missing().files <= plan.mismatched.len() as u64 || shared.steering.stopped().is_some() {
        return Ok(Begun::default());
    }
    let (job, is_own) = match jobs.start(Work::Prefetch, POLICY) {
        Ok(job) => (job, true),
        Err(Error::Busy { id, .. }) => (id, false),
        Err(error) => return Err(error),
    };
    let Some(record) = shared.board.get(job) else { return Ok(Begun::default()) };
    // Whoever stopped it a moment ago found none to stop.
    if is_own && let Some(stopped) = shared.steering.stopped() {
        record.stop(&stopped.by);
    }
    tokio::select! {
        () = cancel.cancelled() => return Err(Error::Closing),
        () = record.ended() => {}
    }
    Ok(Begun { undone: record.state() == State::Failed, elsewhere: !is_own })
}

/// Keeps what endpoints ask for, until `cancel` and once more then.
pub(in crate::jobs) async fn keep_asked(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut ticks = tokio::time::interval(shared.config.keep_asked_every);
    // A node that stood still has one tick to make up for, and not one for each minute.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            () = cancel.cancelled() => true,
            _ = ticks.tick() => false,
        };
        match shared.store.catalog().keep_asked().await {
            // Files like these may be wanted of updates that are there already.
            Ok(new) if new > 0 && !is_last => shared.content_changed(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "what endpoints asked for is not kept"),
        }
        if is_last {
            return;
        }
    }
}
