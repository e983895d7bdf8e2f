//! The clock: what happens without anybody asking. The loops are the housekeeping's own; what belongs here is what is
//! done about the findings of the scheduled scrub: each becomes a job, so that people see what was mended and what was
//! not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::base::digest::Blake3;
use crate::jobs::board::State;
use crate::jobs::error::Error;
use crate::jobs::verify;
use crate::jobs::work::{Verify, Work};
use crate::jobs::{Jobs, Shared};
use crate::keep::schedule::{self, Schedule};
use crate::keep::scrub::Verified;
use crate::keep::{evict, progress, review};

/// Findings that may wait; the scrub rests while more would. A disk that rots faster than it is mended is read no
/// further.
const FINDINGS_MAX: usize = 16;

/// How long what could not be mended rests, first and at most: each try reads the payload once more, and is a job that
/// pushes another one off the board.
const MEND_FIRST: Duration = Duration::from_mins(10);
const MEND_LAST: Duration = Duration::from_hours(6);

/// How long to wait when too many jobs run.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How the scheduled scrub stands.
#[derive(Clone, Debug)]
pub struct Scrub {
    /// Where the last pass is, or was at its end; `None` before the clock first looked.
    pub state: Option<schedule::State>,
    /// The counters of the pass that runs.
    pub progress: progress::Snapshot,
}

impl Jobs {
    /// How the scheduled scrub stands; `None` where it is switched off.
    pub async fn scrub(&self) -> Result<Option<Scrub>, Error> {
        if self.shared.config.scrub_every.is_none() {
            return Ok(None);
        }
        let state = schedule::load(&self.shared.store).await?;
        Ok(Some(Scrub { state, progress: self.shared.scrub.snapshot() }))
    }

    /// What eviction did since the start.
    pub fn evicted(&self) -> &evict::Evicted {
        &self.shared.evicted
    }
}

pub(in crate::jobs) async fn evict(shared: Arc<Shared>, cancel: CancellationToken) {
    evict::run(shared.store.clone(), Arc::clone(&shared.wake), Arc::clone(&shared.evicted), cancel).await;
}

/// Holds what is held against the catalog when that has changed.
pub(in crate::jobs) async fn review(shared: Arc<Shared>, cancel: CancellationToken) {
    review::run(shared.store.clone(), Arc::clone(&shared.review), cancel).await;
}

/// Walks when it is due, and has what is found treated. Returns after `cancel`.
pub(in crate::jobs) async fn scrub(jobs: Jobs, every: Duration, cancel: CancellationToken) {
    let (findings, found) = mpsc::channel(FINDINGS_MAX);
    let schedule = Schedule {
        every,
        pace: Box::new(|rate| verify::pace(Some(rate))),
        findings,
        progress: Arc::clone(&jobs.shared.scrub),
        clock: Arc::clone(&jobs.shared.clock),
    };
    let walking = schedule::run(jobs.shared.store.clone(), schedule, cancel.clone());
    tokio::join!(walking, treat(&jobs, found, cancel));
}

async fn treat(jobs: &Jobs, mut found: mpsc::Receiver<Verified>, cancel: CancellationToken) {
    // Those that a former run left come first.
    let mut rest = Duration::ZERO;
    loop {
        let verified = tokio::select! {
            () = cancel.cancelled() => return,
            verified = found.recv() => verified,
            () = tokio::time::sleep(rest) => {
                for blake3 in jobs.shared.store.withheld() {
                    if !mend(jobs, blake3, &cancel).await {
                        return;
                    }
                }
                rest = if jobs.shared.store.withheld().is_empty() { MEND_FIRST } else { longer(rest) };
                continue;
            }
        };
        match verified {
            None => return,
            Some(Verified::Bad(blake3, _)) => {
                if !mend(jobs, blake3, &cancel).await {
                    return;
                }
            }
            Some(Verified::Unreadable(blake3, why)) => {
                tracing::error!(%blake3, why, "a payload cannot be held against its proof");
            }
            Some(Verified::Good(_) | Verified::Gone(_)) => {}
        }
    }
}

/// The rest before the next try at what could not be mended.
fn longer(rest: Duration) -> Duration {
    (rest * 2).clamp(MEND_FIRST, MEND_LAST)
}

/// Reads a bad payload once more (it may have been mended since, and what is bad must be known exactly) and mends it.
/// `false` where the node is closing.
async fn mend(jobs: &Jobs, blake3: Blake3, cancel: &CancellationToken) -> bool {
    let repair = jobs.shared.fill.is_some();
    let work = Verify { only: Some(blake3), repair, rate: None, scheduled: true };
    job(jobs, &work, cancel).await
}

/// Runs one job to its end; `false` where the node is closing.
async fn job(jobs: &Jobs, work: &Verify, cancel: &CancellationToken) -> bool {
    loop {
        match jobs.start(Work::Verify(work.clone()), "the scheduled scrub") {
            Ok(id) => {
                let Some(record) = jobs.shared.board.get(id) else { return true };
                record.ended().await;
                return record.state() != State::Stopped || !cancel.is_cancelled();
            }
            // Somebody else does the very same already.
            Err(Error::Busy { .. }) => return true,
            Err(Error::Full { .. }) => tokio::select! {
                () = cancel.cancelled() => return false,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            },
            Err(error) => {
                tracing::warn!(%error, "a finding of the scheduled scrub starts no job");
                return !cancel.is_cancelled();
            }
        }
    }
}
