//! The catalog's runs: as a job that people start and stop, and by the schedule.
//!
//! A run is a job like others: its progress counts revisions, each update that is refused is a line. What it did stands in the
//! catalog's own history, which outlives the board.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::jobs::board::{Line, Record, Step, Unit};
use crate::jobs::error::Error;
use crate::jobs::work::{Kind, Work};
use crate::jobs::{Jobs, Shared};
use crate::store::catalog::{Counts, Outcome, Run, Standing, Upstream};
use crate::sync::Progress;

/// How often the record of a run is brought up to date.
const LOOK: Duration = Duration::from_millis(250);

/// How long the clock sleeps at most: the machine's clock may be set meanwhile.
const NAP_MAX: Duration = Duration::from_mins(1);

/// How long to wait where a run that is due cannot be started: many jobs run, or the index cannot be read.
const RETRY_AFTER: Duration = Duration::from_mins(1);

/// Who starts what nobody asked for.
const CLOCK: &str = "the schedule";

/// How the catalog's synchronisation stands.
#[derive(Clone, Debug)]
pub struct State {
    /// From whom.
    pub upstream: Upstream,
    /// The job of the run that is under way, and how far that is.
    pub running: Option<(u64, Option<Progress>)>,
    /// The last run that ended.
    pub last: Option<Run>,
    /// The last run that ended well; `None` where none of the last thousand did.
    pub last_success: Option<Run>,
    /// When the schedule starts the next one; `None` where it is off.
    pub next: Option<Timestamp>,
    /// How the catalog stands.
    pub standing: Standing,
}

/// Runs that are looked through for the last one that ended well.
const LOOKED_THROUGH: usize = 1_000;
/// Of them so many at a time: mostly one of the newest did.
const PAGE: usize = 20;

impl Jobs {
    /// How the synchronisation stands.
    pub async fn sync_state(&self) -> Result<State, Error> {
        let sync = self.shared.sync()?;
        let (mut last, mut last_success) = (None, None);
        let (mut before, mut looked) = (None, 0);
        while last_success.is_none() && looked < LOOKED_THROUGH {
            let runs = sync.history(before, PAGE).await?;
            let Some(oldest) = runs.last() else { break };
            (before, looked) = (Some(oldest.id), looked + runs.len());
            last = last.or_else(|| runs.iter().find(|run| run.outcome != Outcome::Running).cloned());
            last_success = runs.into_iter().find(|run| run.outcome == Outcome::Successful);
        }
        let job = self.sync_job();
        Ok(State {
            upstream: sync.upstream().clone(),
            running: job.map(|job| (job, sync.progress())),
            next: self.next_run(last.as_ref().map(|run| run.started)),
            last,
            last_success,
            standing: sync.standing().await?,
        })
    }

    /// The newest runs first, those before `before`.
    pub async fn sync_history(&self, before: Option<u64>, limit: usize) -> Result<Vec<Run>, Error> {
        Ok(self.shared.sync()?.history(before, limit).await?)
    }

    /// Asks the run that is under way to stop; gives its job, if there is one.
    pub fn stop_sync(&self) -> Result<Option<u64>, Error> {
        self.shared.sync()?;
        let job = self.sync_job();
        if let Some(job) = job {
            self.stop(job)?;
        }
        Ok(job)
    }

    /// The job of the run that is under way.
    fn sync_job(&self) -> Option<u64> {
        let running = |record: &&std::sync::Arc<Record>| record.kind() == Kind::Sync && record.is_running();
        self.shared.board.all().iter().find(running).map(|record| record.id())
    }

    /// When the schedule starts the next run, if the last one began then.
    fn next_run(&self, last: Option<Timestamp>) -> Option<Timestamp> {
        let (schedule, seed, now) = (&self.shared.config.sync, self.shared.config.seed, self.shared.clock.now());
        if let Some(last) = last
            && schedule.missed(last, now, seed).unwrap_or(false)
        {
            return Some(now);
        }
        // What cannot be meant was refused when the settings were read.
        schedule.next(now, seed).ok().flatten()
    }
}

pub(in crate::jobs) async fn run(shared: &Shared, record: &Record) -> Result<String, Error> {
    let sync = shared.sync()?.clone();
    record.progress(|progress| progress.unit = Unit::Items);
    let mut told = 0;
    let mut look = || {
        let Some(seen) = sync.progress() else { return };
        for (identity, reason) in sync.refused(told) {
            told += 1;
            record.add(Line::ended(identity.to_string(), Step::Failed, 0, reason));
        }
        record.progress(|progress| {
            (progress.done, progress.total) = (seen.done, Some(seen.total));
            progress.bytes = seen.counts.bytes;
            progress.current = Some(in_words(&seen));
        });
    };
    let running = sync.run(record.cancel());
    tokio::pin!(running);
    let mut ticks = tokio::time::interval(LOOK);
    let counts = loop {
        tokio::select! {
            ended = &mut running => break ended?,
            _ = ticks.tick() => look(),
        }
    };
    Ok(summary(&counts))
}

/// What a run is at, for people.
fn in_words(seen: &Progress) -> String {
    match seen.left {
        Some(left) if left < Duration::from_secs(90) => format!("{}, {} s left", seen.step.word(), left.as_secs()),
        Some(left) => format!("{}, {} min left", seen.step.word(), left.as_secs().div_ceil(60)),
        None => seen.step.word().to_owned(),
    }
}

/// What a run did, for people.
fn summary(counts: &Counts) -> String {
    let Counts { new, changed, expired, superseded, files, refused, pruned, .. } = *counts;
    let rare = [(refused, "refused"), (pruned, "gone")].into_iter().filter(|(count, _)| *count > 0);
    let first = format!("{new} new, {changed} changed, {expired} withdrawn, {superseded} superseded; {files} files");
    std::iter::once(first).chain(rare.map(|(count, word)| format!("{count} {word}"))).collect::<Vec<_>>().join("; ")
}

/// Starts a run whenever the schedule says so. Returns after `cancel`.
pub(in crate::jobs) async fn by_the_clock(jobs: Jobs, cancel: CancellationToken) {
    // Before the first run there is none that could have been missed: it begins when it is due.
    let begun = jobs.shared.clock.now();
    loop {
        let last = match jobs.sync_history(None, 1).await {
            Ok(runs) => runs.first().map(|run| run.started),
            Err(error) => {
                tracing::warn!(%error, "the history of the catalog's runs cannot be read, so that none is started");
                if !nap(RETRY_AFTER, &cancel).await {
                    return;
                }
                continue;
            }
        };
        let (schedule, seed, now) = (&jobs.shared.config.sync, jobs.shared.config.seed, jobs.shared.clock.now());
        // A run that was due while the node was off counts only where it is to be made up for.
        let from = match last {
            Some(last) if schedule.run_if_missed => last,
            Some(last) => last.max(begun),
            None => begun,
        };
        let due = match schedule.next(from, seed) {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the schedule of the catalog cannot be used, so that no run is started by it");
                return;
            }
        };
        if due > now {
            if !nap(due.since(now).min(NAP_MAX), &cancel).await {
                return;
            }
            continue;
        }
        match jobs.start(Work::Sync, CLOCK) {
            Ok(job) => {
                if let Some(record) = jobs.shared.board.get(job) {
                    record.ended().await;
                }
            }
            Err(Error::Closing) => return,
            Err(error) => tracing::info!(%error, "a run of the catalog that is due waits"),
        }
        // Where it could not even be written into the history it would be due again at once.
        if !nap(RETRY_AFTER, &cancel).await {
            return;
        }
    }
}

/// Sleeps; `false` where the node is closing.
async fn nap(time: Duration, cancel: &CancellationToken) -> bool {
    tokio::select! {
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}
