//! The prefetch: files that the content policy wants are brought before an endpoint asks, in the bandwidth class for that.
//!
//! 1. It begins after a run of the catalog, a decision, a change of the policy, at the start of the node, and when somebody says so; not
//!    where nothing is missing ([`by_itself`]).
//! 2. What is wanted is walked, some files are brought at a time ([`PARALLEL`]), and what is held is left alone: so it goes on after a
//!    restart where it was.
//! 3. What has no room beside what else is wanted is left out and told: a store that is too small must not give up one file for the next.
//! 4. What failed and may go better later is tried again when the rest is done, after a rest that doubles ([`REST_FIRST`]). What then
//!    still fails stands in the job's lines with the reason, and is tried again some hours later.
//! 5. Where what is wanted changes meanwhile, the walk begins again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::base::size;
use crate::fill::{self, Fill};
use crate::jobs::address::Address;
use crate::jobs::board::{Line, Record, State, Step, Unit};
use crate::jobs::content::Tally;
use crate::jobs::error::Error;
use crate::jobs::target::target;
use crate::jobs::work::{Kind, Work};
use crate::jobs::{Jobs, Shared};
use crate::store;
use crate::store::Space;
use crate::store::catalog::{UpstreamKind, Walk, WantedFile};

/// Files that are brought at a time: one is proven while others arrive, and all of a host share its connections anyway.
const PARALLEL: usize = 4;

/// How often what failed is tried again within one job, and the rest before the first time; it doubles each time.
const ROUNDS: u32 = 3;
const REST_FIRST: Duration = Duration::from_secs(15);

/// Files that wait to be tried again; what fails beyond them is told, and tried by the next job.
const AGAIN_MAX: usize = 10_000;

/// A block of a file system.
const BLOCK: u64 = 4 << 10;

/// Lines for files that came well; those of what failed have the rest of the job's lines.
const LINES_MAX: u64 = 1_000;

/// When a prefetch that left something undone is begun again by itself.
const LATER: Duration = Duration::from_hours(3);

/// How often what endpoints ask for is kept.
const KEEP_EVERY: Duration = Duration::from_mins(1);

/// Who begins what nobody asked for.
const POLICY: &str = "the content policy";

/// How the prefetch stands.
#[derive(Clone, Debug)]
pub struct Prefetching {
    /// The job that is under way.
    pub running: Option<u64>,
    /// The last one that ended, if it is still known.
    pub last: Option<u64>,
}

impl Jobs {
    /// How the prefetch stands.
    pub fn prefetching(&self) -> Prefetching {
        let all = self.shared.board.all();
        let mut own = all.iter().filter(|record| record.kind() == Kind::Prefetch);
        let running = own.clone().find(|record| record.is_running()).map(|record| record.id());
        Prefetching { running, last: own.find(|record| !record.is_running()).map(|record| record.id()) }
    }

    /// Asks the prefetch that is under way to stop, for `by`; gives its job, if there is one. It begins again with the next cause.
    pub fn stop_prefetch(&self, by: &str) -> Result<Option<u64>, Error> {
        let running = self.prefetching().running;
        if let Some(job) = running {
            self.stop(job, by)?;
        }
        Ok(running)
    }
}

/// What came of all files so far.
#[derive(Default)]
struct Sums {
    done: u64,
    bytes: u64,
    failed: u64,
    /// Files without room, and their bytes.
    roomless: u64,
    roomless_bytes: u64,
    lines: u64,
}

/// A file that is to be brought.
struct Item {
    file: WantedFile,
    tried: u32,
}

pub(in crate::jobs) async fn run(shared: &Arc<Shared>, record: &Arc<Record>) -> Result<String, Error> {
    shared.fill()?;
    loop {
        let revision = shared.planned.revision();
        if let Some(told) = pass(shared, record, revision).await? {
            return told;
        }
        tracing::debug!(job = record.id(), "what is wanted has changed: the prefetch begins again");
    }
}

/// One walk over all that is wanted. `None`: something else is wanted by now.
async fn pass(
    shared: &Arc<Shared>,
    record: &Arc<Record>,
    revision: u64,
) -> Result<Option<Result<String, Error>>, Error> {
    let plan = shared.plan_anew().await?;
    let missing = plan.now.missing();
    record.progress(|progress| {
        progress.unit = Unit::Items;
        (progress.done, progress.total) = (0, Some(missing.files));
        progress.current = (missing.files > 0).then(|| "what the content policy wants".to_owned());
    });
    let (sift, _) = shared.sift(&plan.policy, plan.agreement.is_given()).await?;
    let sift = Arc::new(sift);
    let from = shared.sync()?.upstream().kind;
    let mut work = Bringing {
        shared,
        record,
        from,
        room: room(&plan.space, &plan.now),
        running: JoinSet::new(),
        again: VecDeque::new(),
        sums: Sums::default(),
    };
    let mut walk = Walk::default();
    while !walk.is_ended() {
        let (next, found) = shared.store.catalog().wanted_step(Arc::clone(&sift), walk).await?;
        walk = next;
        for file in found.into_iter().flat_map(|update| update.files).filter(|file| !file.held) {
            work.bring(Item { file, tried: 0 }).await?;
            if shared.planned.revision() != revision {
                return Ok(None);
            }
        }
    }
    work.rest().await?;
    for round in 1..=ROUNDS {
        if work.again.is_empty() {
            break;
        }
        let rest = REST_FIRST * 2_u32.saturating_pow(round - 1);
        let waiting = work.again.len();
        record.progress(|progress| {
            progress.current = Some(format!("{waiting} are tried again in {} s", rest.as_secs()));
        });
        tokio::select! {
            () = record.cancel().cancelled() => return Err(Error::Stopped),
            () = tokio::time::sleep(rest) => {}
        }
        for item in std::mem::take(&mut work.again) {
            work.bring(item).await?;
            if shared.planned.revision() != revision {
                return Ok(None);
            }
        }
        work.rest().await?;
    }
    let told = work.told();
    // What is held now is told by whoever asks how the node stands.
    shared.plan_anew().await?;
    Ok(Some(told))
}

/// Bytes that can be brought until what is wanted and held, and what comes to it, fills the store. What nobody wants may be given up
/// for it, and is, by its age.
fn room(space: &Space, now: &Tally) -> u64 {
    let reach = space.used().saturating_add(space.disk_free.saturating_sub(space.min_free)).min(space.max_size);
    // What endpoints ask for meanwhile has some too.
    let reach = reach - reach / 20;
    reach.saturating_sub(now.held.bytes.saturating_add(now.held.files.saturating_mul(2 * BLOCK)))
}

/// What a payload of this length takes on the disk: its last block is whole, and its proof has a leaf for each 64 KiB.
fn footprint(size: u64) -> u64 {
    let blocks = |bytes: u64| bytes.div_ceil(BLOCK).max(1).saturating_mul(BLOCK);
    blocks(size).saturating_add(blocks(size / 2048))
}

struct Bringing<'a> {
    shared: &'a Arc<Shared>,
    record: &'a Arc<Record>,
    from: UpstreamKind,
    room: u64,
    running: JoinSet<(Option<usize>, Item, Result<u64, Failed>)>,
    again: VecDeque<Item>,
    sums: Sums,
}

/// Why a file did not come.
enum Failed {
    /// It may come later.
    Later(String),
    /// It will not, unless something is mended.
    Never(String),
    /// There is no use in going on.
    All(Error),
}

impl Bringing<'_> {
    /// Begins with a file as soon as others have ended.
    async fn bring(&mut self, item: Item) -> Result<(), Error> {
        while self.running.len() >= PARALLEL {
            self.one_ended().await?;
        }
        if self.record.cancel().is_cancelled() {
            return Err(Error::Stopped);
        }
        let size = item.file.file.size;
        if item.tried == 0 {
            let Some(room) = self.room.checked_sub(footprint(size)) else {
                self.sums.roomless += 1;
                self.sums.roomless_bytes = self.sums.roomless_bytes.saturating_add(size);
                return Ok(());
            };
            self.room = room;
        }
        let shown = format!("{} ({})", item.file.file.name, item.file.file.sha1);
        let at = if item.tried == 0 && self.sums.lines < LINES_MAX {
            self.sums.lines += 1;
            self.record.add(Line::waiting(shown.clone()))
        } else {
            None
        };
        self.record.progress(|progress| progress.current = Some(shown));
        let (shared, record, from) = (Arc::clone(self.shared), Arc::clone(self.record), self.from);
        self.running.spawn(async move {
            let came = one(&shared, &record, at, &item, from).await;
            (at, item, came)
        });
        Ok(())
    }

    /// Waits until none is under way.
    async fn rest(&mut self) -> Result<(), Error> {
        while !self.running.is_empty() {
            self.one_ended().await?;
        }
        Ok(())
    }

    async fn one_ended(&mut self) -> Result<(), Error> {
        let ended = tokio::select! {
            // Dropping the set withdraws the interest; what is under way is filled to its end, as it is by a fetch.
            () = self.record.cancel().cancelled() => return Err(Error::Stopped),
            ended = self.running.join_next() => ended,
        };
        let (at, mut item, came) = match ended {
            None => return Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(error)) => return Err(Error::Broken(format!("a prefetch broke off: {error}"))),
        };
        match came {
            Ok(size) => {
                self.line(at, &item, Step::Done, "held", true);
                self.sums.done += 1;
                self.sums.bytes = self.sums.bytes.saturating_add(size);
            }
            Err(Failed::All(error)) => return Err(error),
            Err(Failed::Later(why)) if item.tried < ROUNDS && self.again.len() < AGAIN_MAX => {
                self.line(at, &item, Step::Waiting, &format!("is tried again: {why}"), true);
                item.tried += 1;
                self.again.push_back(item);
            }
            Err(Failed::Later(why) | Failed::Never(why)) => {
                tracing::info!(file = item.file.file.name, sha1 = %item.file.file.sha1, why, "a file does not come");
                self.line(at, &item, Step::Failed, &why, false);
                self.sums.failed += 1;
            }
        }
        let (done, bytes) = (self.sums.done + self.sums.failed, self.sums.bytes);
        self.record.progress(|progress| (progress.done, progress.bytes) = (done, bytes));
        Ok(())
    }

    /// Writes what came of a file into its line. One that has none gets one where it failed.
    fn line(&self, at: Option<usize>, item: &Item, step: Step, text: &str, only_own: bool) {
        let size = item.file.file.size;
        if let Some(at) = at {
            self.record.line(at, |line| {
                line.name = None;
                (line.step, line.text) = (step, text.to_owned());
                (line.done, line.total) = (if step == Step::Done { size } else { 0 }, Some(size));
            });
        } else if !only_own {
            let shown = format!("{} ({})", item.file.file.name, item.file.file.sha1);
            self.record.add(Line::ended(shown, step, 0, text.to_owned()));
        }
    }

    /// What came of it, for people.
    fn told(&self) -> Result<String, Error> {
        let Sums { done, failed, roomless, roomless_bytes, .. } = self.sums;
        if roomless > 0 {
            let what = format!(
                "{done} fetched, {failed} failed, and {roomless} files of {} have no room beside what else is wanted: \
                 raise store.max_size, or want less",
                size::bytes(roomless_bytes)
            );
            return Err(Error::NoRoom(what));
        }
        match failed {
            0 if done == 0 => Ok("nothing was missing".to_owned()),
            0 => Ok(format!("{done} fetched")),
            failed => Err(Error::Items { failed, total: done + failed }),
        }
    }
}

async fn one(
    shared: &Shared,
    record: &Record,
    at: Option<usize>,
    item: &Item,
    from: UpstreamKind,
) -> Result<u64, Failed> {
    let fill: &Fill = shared.fill().map_err(Failed::All)?;
    let target = target(fill, &item.file, from).map_err(|error| Failed::Never(error.to_string()))?;
    if let Some(at) = at {
        record.line(at, |line| {
            (line.step, line.name) = (Step::Running, Some(target.name.clone()));
        });
    }
    match fill.prefetch(&target).await {
        Ok(found) => Ok(found.held.payload().size),
        Err(fill::Error::Closing) => Err(Failed::All(Error::Stopped)),
        Err(fill::Error::Store(error)) => Err(match &*error {
            store::Error::Full { .. } | store::Error::Busy { .. } | store::Error::Gone => {
                Failed::Later(error.to_string())
            }
            store::Error::Mismatch { .. } | store::Error::Invalid { .. } => Failed::Never(error.to_string()),
            _ => Failed::All(Error::Kept(error)),
        }),
        // All of it has come and is not what is published: it would be so again.
        Err(error @ fill::Error::Mismatch { .. }) => Err(Failed::Never(Address::redact(&error.to_string()))),
        Err(error) if error.is_retryable() => Err(Failed::Later(Address::redact(&error.to_string()))),
        Err(error) => Err(Failed::Never(error.to_string())),
    }
}

/// Begins a prefetch whenever there is a cause and something is missing. Returns after `cancel`.
pub(in crate::jobs) async fn by_itself(jobs: Jobs, cancel: CancellationToken) {
    let shared = &jobs.shared;
    // The start of the node is a cause.
    shared.content_changed();
    let mut keep = tokio::time::interval(KEEP_EVERY);
    let mut later: Option<tokio::time::Instant> = None;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = shared.planned.changed.notified() => {}
            () = sleep_until(later) => {}
            _ = keep.tick() => {
                match shared.store.catalog().keep_asked().await {
                    Ok(0) => {}
                    // Files like these may be wanted of updates that are there already.
                    Ok(_) => shared.content_changed(),
                    Err(error) => tracing::debug!(%error, "what endpoints asked for is not kept"),
                }
                continue;
            }
        }
        later = match begin(&jobs, &cancel).await {
            Ok(true) => None,
            Ok(false) => Some(tokio::time::Instant::now() + LATER),
            Err(Error::Closing) => return,
            Err(error) => {
                tracing::info!(%error, "a prefetch waits");
                Some(tokio::time::Instant::now() + LATER)
            }
        };
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Brings what is missing, to the end; `false` where something was left undone.
async fn begin(jobs: &Jobs, cancel: &CancellationToken) -> Result<bool, Error> {
    let shared = &jobs.shared;
    let plan = shared.plan_anew().await?;
    if plan.now.missing().files == 0 {
        return Ok(true);
    }
    let job = match jobs.start(Work::Prefetch, POLICY) {
        Ok(job) => job,
        // One that somebody else began has noticed what changed.
        Err(Error::Busy { id, .. }) => id,
        Err(error) => return Err(error),
    };
    let Some(record) = shared.board.get(job) else { return Ok(true) };
    tokio::select! {
        () = cancel.cancelled() => return Err(Error::Closing),
        () = record.ended() => {}
    }
    // Who stopped it does not want it again by itself.
    Ok(record.state() != State::Failed)
}
