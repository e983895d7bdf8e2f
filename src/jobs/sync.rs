//! The catalog's runs: as a job that people start and stop, and by the schedule.
//!
//! A run is a job like others: its progress counts revisions, each update that is refused is a line. What it did stands in the
//! catalog's own history, which outlives the board.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::jobs::board::{Line, Record, Step, Unit};
use crate::jobs::due::{Due, Known};
use crate::jobs::error::Error;
use crate::jobs::work::{Kind, Work};
use crate::jobs::{Config, Jobs, Shared};
use crate::model::filter::Wanted;
use crate::model::schedule::{self, Schedule};
use crate::model::update::UpdateId;
use crate::store::catalog::{Compared, Counts, Outcome, Query, Run, RunKind, Standing, Upstream};
use crate::sync::{Beyond, GAVE_WAY, HookStanding, Order, Pardon, Pardoned, Progress, Runner, Waiting};

/// How often the record of a run is brought up to date.
const LOOK: Duration = Duration::from_millis(250);

/// How long the clock sleeps at most: the machine's clock may be set meanwhile.
const NAP_MAX: Duration = Duration::from_mins(1);

/// How long to wait where a run that is due cannot be started: many jobs run, or the index cannot be read.
const RETRY_AFTER: Duration = Duration::from_mins(1);

/// The longest of these waits, each twice as long as the one before it, where a run cannot even be written down as begun, as on a full
/// disk: nobody has to see more than four of them an hour.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

/// Runs that are looked through for the last one of each kind: all that are kept.
const LOOKED_THROUGH: usize = 1_100;

/// Who starts what nobody asked for.
const CLOCK: &str = "the schedule";

/// What the schedule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jobs) enum Lane {
    /// All that is wanted.
    Catalog,
    /// Definition updates, more often.
    Definitions,
}

impl Lane {
    pub(in crate::jobs) const ALL: [Self; 2] = [Self::Catalog, Self::Definitions];

    pub(in crate::jobs) fn schedule(self, config: &Config) -> &Schedule {
        match self {
            Self::Catalog => &config.sync,
            Self::Definitions => &config.definitions,
        }
    }

    const fn kind(self) -> RunKind {
        match self {
            Self::Catalog => RunKind::Catalog,
            Self::Definitions => RunKind::Definitions,
        }
    }

    const fn work(self) -> Work {
        match self {
            Self::Catalog => Work::Sync,
            Self::Definitions => Work::Definitions,
        }
    }
}

/// How the catalog's synchronisation stands.
#[derive(Clone, Debug)]
pub struct State {
    /// From whom.
    pub upstream: Upstream,
    /// The job of the run that is under way, and how far that is.
    pub running: Option<(u64, Option<Progress>)>,
    /// The last whole run that ended.
    pub last: Option<Run>,
    /// The last run of the lane of definition updates that ended.
    pub last_definitions: Option<Run>,
    /// The last whole run that ended well; `None` where none of the last thousand did.
    pub last_success: Option<Run>,
    /// The last comparison with Microsoft's catalog that ended.
    pub last_crosscheck: Option<Run>,
    /// When the schedule starts the next one; `None` where it is off.
    pub next: Option<Timestamp>,
    /// That this is a run that failed, begun again before its time.
    pub next_is_again: bool,
    /// The same of the lane of definition updates; `None` too where it waits.
    pub next_definitions: Option<Timestamp>,
    /// The job of another run, which keeps the lane out, which is due.
    pub definitions_behind: Option<u64>,
    /// The lane is on, and waits for the first whole run: there is nothing yet that it could add to.
    pub definitions_wait: bool,
    /// The host that is told of runs, if one is, and how far it has been told.
    pub hook: Option<(String, HookStanding)>,
    /// Updates that can be approved by themselves: those that views count.
    pub listed: u64,
    /// How the catalog stands.
    pub standing: Standing,
    /// Updates that are held and that the filters do not find; `None` where there are none that count.
    pub beyond: Option<Beyond>,
}

impl Jobs {
    /// How the synchronisation stands.
    pub async fn sync_state(&self) -> Result<State, Error> {
        let sync = self.shared.sync()?;
        // Before the history: a run that ends in between stands there as ended.
        let job = self.sync_job();
        let runs = sync.history(None, LOOKED_THROUGH).await?;
        let ended = |run: &&Run| run.outcome != Outcome::Running;
        let last_of = |kind: RunKind| runs.iter().filter(ended).find(|run| run.note.kind == kind).cloned();
        let (last, last_definitions) = (last_of(RunKind::Catalog), last_of(RunKind::Definitions));
        let last_crosscheck = last_of(RunKind::Crosscheck);
        let now = self.shared.clock.now();
        // What cannot be meant was refused when the settings were read.
        let due = |lane: Lane| self.next_run(lane, &runs, job.is_some()).ok().flatten();
        let next_is_again = due(Lane::Catalog).is_some_and(|due| due.is_again);
        let next = |lane: Lane| Some(due(lane)?.at.max(now));
        let (next, next_definitions) = (next(Lane::Catalog), next(Lane::Definitions));
        let definitions_wait = next_definitions.is_some() && sync.is_too_early_for_definitions().await?;
        let is_due = next_definitions.is_some_and(|at| at <= now) && !definitions_wait;
        let is_lanes = || sync.progress().is_some_and(|seen| seen.kind == RunKind::Definitions);
        let definitions_behind = job.filter(|_| is_due && !is_lanes());
        let is_success = |run: &Run| run.outcome == Outcome::Successful && run.note.kind == RunKind::Catalog;
        let last_success = runs.into_iter().find(is_success);
        Ok(State {
            upstream: sync.upstream().clone(),
            running: job.map(|job| (job, sync.progress())),
            next,
            next_is_again,
            next_definitions: next_definitions.filter(|_| !definitions_wait),
            definitions_behind,
            definitions_wait,
            last,
            last_definitions,
            last_success,
            last_crosscheck,
            hook: sync.hook().map(str::to_owned).zip(sync.hook_standing()),
            listed: self.shared.store.catalog().search(Query { limit: 1, ..Query::default() }).await?.total,
            standing: sync.standing().await?,
            beyond: sync.beyond().await?,
        })
    }

    /// How many updates are held that the filters do not find, and these filters; `None` where none count: all is taken, or no catalog
    /// is synchronised.
    pub async fn beyond_filters(&self) -> Result<Option<(Beyond, Wanted)>, Error> {
        let Ok(sync) = self.shared.sync() else { return Ok(None) };
        let (Some(many), Some((wanted, _))) = (sync.beyond().await?, sync.filters().await?) else { return Ok(None) };
        Ok(Some((many, wanted)))
    }

    /// The newest runs first, those before `before`.
    pub async fn sync_history(&self, before: Option<u64>, limit: usize) -> Result<Vec<Run>, Error> {
        Ok(self.shared.sync()?.history(before, limit).await?)
    }

    /// Refuses these no more, or all that were not taken where none is named, so that the next run asks for them again; where `compared`,
    /// all that a comparison refused instead, which is offered again.
    pub async fn retry_sync(&self, named: Vec<UpdateId>, compared: bool) -> Result<Pardoned, Error> {
        let which = match (compared, named.is_empty()) {
            (true, true) => Pardon::Compared,
            (true, false) => {
                let why = "either ids are named, or all that a comparison refused is meant";
                return Err(Error::Input(why.to_owned()));
            }
            (false, true) => Pardon::NotTaken,
            (false, false) => Pardon::Named(named),
        };
        let pardoned = self.shared.sync()?.retry(which).await?;
        // What is offered again may be wanted.
        if pardoned.identities.len() as u64 > pardoned.asked {
            self.shared.content_changed();
        }
        Ok(pardoned)
    }

    /// Tells the hook that this is a test; its host, and what it answered: the status if there was one, the text, the time that it took.
    pub async fn test_hook(&self) -> Result<(String, Option<u16>, String, Duration), Error> {
        let sync = self.shared.sync()?;
        let (Some(host), Some(tested)) = (sync.hook(), sync.test_hook().await) else {
            let what = "nobody is told of runs: there is no webhook";
            return Err(Error::Unset {
                what,
                next: "set webhook and webhook_secret_file in [sync], and restart the node",
            });
        };
        let answer = tested.map_err(Error::Broken)?;
        Ok((host.to_owned(), answer.status, answer.text, answer.took))
    }

    /// Asks the run that is under way to stop, for `by`; gives its job, if there is one.
    pub fn stop_sync(&self, by: &str) -> Result<Option<u64>, Error> {
        self.shared.sync()?;
        let job = self.sync_job();
        if let Some(job) = job {
            self.stop(job, by)?;
        }
        Ok(job)
    }

    /// The job of the run that is under way, or of the comparison.
    pub fn sync_job(&self) -> Option<u64> {
        let running =
            |record: &&Arc<Record>| matches!(record.kind(), Kind::Sync | Kind::Crosscheck) && record.is_running();
        self.shared.board.all().iter().find(running).map(|record| record.id())
    }

    /// When the schedule starts the next run of a lane, if these are its runs: `due` as it is, so that the clock need not ask again.
    fn next_run(&self, lane: Lane, runs: &[Run], is_running: bool) -> Result<Option<Due>, schedule::Error> {
        let config = &self.shared.config;
        let now = self.shared.clock.now();
        let (schedule, seed, begun) = (lane.schedule(config), config.seed, self.shared.begun(now));
        let runs: Vec<Run> = runs.iter().filter(|run| run.note.kind == lane.kind()).cloned().collect();
        Known { schedule, seed, runs: &runs, is_running, begun, now }.due()
    }
}

pub(in crate::jobs) async fn run(shared: &Shared, record: &Record, kind: RunKind) -> Result<String, Error> {
    let sync = shared.sync()?.clone();
    record.progress(|progress| progress.unit = Unit::Items);
    let (mut told, mut remarked) = (0, 0);
    let mut look = || {
        for (identity, reason) in sync.refused(told) {
            told += 1;
            record.add(Line::ended(identity.to_string(), Step::Failed, 0, reason));
        }
        for (identity, text) in sync.remarks(remarked) {
            remarked += 1;
            record.add(Line::ended(identity.to_string(), Step::Done, 0, text));
        }
        let Some(seen) = sync.progress() else { return };
        record.progress(|progress| {
            (progress.done, progress.total) = (seen.done, Some(seen.total));
            progress.bytes = seen.counts.bytes;
            progress.current = Some(in_words(&seen));
            progress.waits = waits(&seen);
        });
    };
    let order = Order {
        kind,
        by: record.by().to_owned(),
        attended: record.by() != CLOCK,
        stopped_by: Arc::clone(record.stopped_by()),
    };
    let running = sync.run_named(order, record.cancel());
    tokio::pin!(running);
    let mut ticks = tokio::time::interval(LOOK);
    // The board is that of the run before until this one has begun, which is at the first look.
    ticks.reset();
    let ended = loop {
        tokio::select! {
            ended = &mut running => {
                // However it ended: what it committed counts.
                shared.review.notify_one();
                shared.rules_due();
                break ended;
            }
            _ = ticks.tick() => look(),
        }
    };
    // What it refused at last, too.
    if !matches!(ended, Err(crate::sync::error::Error::Running | crate::sync::error::Error::NotBegun(_))) {
        look();
        // Of all steps, and not of the last one, which is tidying up. What it found on the way to be less than it had reckoned with is
        // done too.
        let (done, left) = sync.whole();
        let left = if ended.is_ok() { 0 } else { left };
        record.progress(|progress| (progress.done, progress.total) = (done, Some(done + left)));
    }
    // What a run that failed has committed may be wanted too.
    shared.content_changed();
    let (run, counts) = ended?;
    if let Err(error) = count_wanted(shared, run).await {
        tracing::warn!(%error, "what files are wanted after a run of the catalog is not counted");
    }
    Ok(match kind {
        RunKind::Crosscheck => compared(sync.found()),
        RunKind::Catalog | RunKind::Definitions => summary(&counts),
    })
}

/// What a run waits for, for people; the same text for as long as it is the same thing.
pub fn waits(seen: &Progress) -> Option<String> {
    // Silence is of a question that is under way, and so is newer than a wait before it.
    seen.silence.as_ref().map(ToString::to_string).or_else(|| seen.waiting.as_ref().map(asks_again))
}

fn asks_again(waiting: &Waiting) -> String {
    let Waiting { method, why, attempt, attempts_max, wait } = waiting;
    let seconds = wait.as_secs_f64();
    format!("asking for {method} again in {seconds:.1} s (attempt {attempt} of {attempts_max}): {why}")
}

/// What a comparison found, for people.
fn compared(found: Compared) -> String {
    let Compared { agreed, differed, text, absent, unknown, behind, withdrawn } = found;
    if found == Compared::default() {
        return "there is nothing that nobody vouches for, and nothing of which Microsoft has a newer revision"
            .to_owned();
    }
    let rare = [
        (text, "of those for their text alone"),
        (absent, "not Microsoft's"),
        (unknown, "that Microsoft does not give out (have the upstream synchronise, and compare again)"),
        (behind, "behind Microsoft's newest"),
        (withdrawn, "of those withdrawn there, so that nobody vouches for them"),
    ];
    let rare = rare.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    std::iter::once(format!("{agreed} are Microsoft's, {differed} are not and are refused"))
        .chain(rare)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Writes into the history how much the content policy wants after this run, which need not be the last one any more.
async fn count_wanted(shared: &Shared, run: u64) -> Result<(), Error> {
    let wanted = shared.plan_anew().await?.now.wanted;
    shared.store.catalog().set_run_files(run, wanted.files, wanted.bytes).await?;
    Ok(())
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
    let rare = [(refused, "refused"), (pruned, "pruned")].into_iter().filter(|(count, _)| *count > 0);
    let first = format!("{new} new, {changed} changed, {expired} expired, {superseded} superseded; {files} files");
    std::iter::once(first).chain(rare.map(|(count, word)| format!("{count} {word}"))).collect::<Vec<_>>().join("; ")
}

/// Starts a run of a lane whenever its schedule says so. Returns after `cancel`.
pub(in crate::jobs) async fn by_the_clock(jobs: Jobs, lane: Lane, cancel: CancellationToken) {
    let (mut is_told, mut rest, mut tried, mut has_waited) = (false, RETRY_AFTER, None, false);
    loop {
        // Before the history: a run that ends in between stands there as ended.
        let is_running = jobs.sync_job().is_some();
        let runs = match jobs.sync_history(None, LOOKED_THROUGH).await {
            Ok(runs) => runs,
            Err(error) => {
                tracing::warn!(%error, "the history of the catalog's runs cannot be read, so that none is started");
                if !nap(RETRY_AFTER, &cancel).await {
                    return;
                }
                continue;
            }
        };
        let newest = runs.first().map(|run| run.id);
        if tried.take().is_some_and(|before| before == newest) {
            rest = (rest * 2).min(RETRY_AFTER_MAX);
            if !nap(rest, &cancel).await {
                return;
            }
            // Somebody may have started a run meanwhile, and it may have ended.
            has_waited = true;
            continue;
        }
        if !std::mem::take(&mut has_waited) {
            rest = RETRY_AFTER;
        }
        let due = match jobs.next_run(lane, &runs, is_running) {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the schedule of the catalog cannot be used now, so that no run is started by it");
                if !nap(RETRY_AFTER_MAX, &cancel).await {
                    return;
                }
                continue;
            }
        };
        let now = jobs.shared.clock.now();
        if due.at > now {
            if !nap(due.at.since(now).min(NAP_MAX), &cancel).await {
                return;
            }
            continue;
        }
        if lane == Lane::Definitions && waits_for_the_first_run(&jobs, &mut is_told).await {
            if !nap(NAP_MAX, &cancel).await {
                return;
            }
            continue;
        }
        // One that came to nothing, as where it gave way to definition updates, does not come to more while nothing may flow for it.
        if lane == Lane::Catalog && due.is_again && jobs.shared.sync().is_ok_and(Runner::is_paused) {
            if !nap(NAP_MAX, &cancel).await {
                return;
            }
            continue;
        }
        match jobs.start(lane.work(), CLOCK) {
            Ok(job) => {
                tried = Some(newest);
                if let Some(record) = jobs.shared.board.get(job) {
                    record.ended().await;
                }
            }
            Err(Error::Closing) => return,
            Err(Error::Busy { id, .. }) if lane == Lane::Definitions && gives_way(&jobs, id).await => continue,
            Err(error) => tracing::info!(%error, "a run of the catalog that is due waits"),
        }
        // Where it could not even be written into the history it would be due again at once.
        if !nap(RETRY_AFTER, &cancel).await {
            return;
        }
    }
}

/// Stops a whole run that waits for the end of a pause in which definition updates may flow, where the schedule begins it again: it goes
/// on behind what it committed. Another one keeps its turn, and `sync status` tells that it does.
async fn gives_way(jobs: &Jobs, id: u64) -> bool {
    let schedule = &jobs.shared.config.sync;
    let is_begun_again = schedule.enabled && schedule.run_if_missed;
    if !is_begun_again || !jobs.shared.sync().is_ok_and(Runner::keeps_definitions_out) {
        return false;
    }
    let Some(record) = jobs.shared.board.get(id) else { return false };
    if jobs.stop(id, GAVE_WAY).is_err() {
        return false;
    }
    record.ended().await;
    true
}

/// Whether the lane of definition updates has nothing yet that it could add to, which is no failure and is told once.
async fn waits_for_the_first_run(jobs: &Jobs, is_told: &mut bool) -> bool {
    // What cannot be read now is found out by the run.
    let Ok(sync) = jobs.shared.sync() else { return false };
    let waits = sync.is_too_early_for_definitions().await.unwrap_or(false);
    if waits && !std::mem::replace(is_told, true) {
        tracing::info!("the lane of definition updates waits for the first whole run of the catalog, to which it adds");
    }
    waits
}

/// Sleeps; `false` where the node is closing.
async fn nap(time: Duration, cancel: &CancellationToken) -> bool {
    tokio::select! {
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}
