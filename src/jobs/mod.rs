//! Floor 5: the clock, and the façade of all long work. Whoever wants something that takes longer than a request starts
//! a *job* here, and asks later how it went.
//!
//! A job goes this way:
//!
//! 1. `start` checks what was asked for ([`work`]), refuses what can never work, and what would fight with a running job;
//! 2. the job gets a number and a record on the [`board`], which keeps the last hundred;
//! 3. it runs as a task of its own, owned by this room, under a token that `stop` and `close` pull;
//! 4. it writes its progress and one line an item into its record, where `list` and `get` read them;
//! 5. it ends as done, failed or stopped, also when it panics, and everyone who waits for it is woken.
//!
//! Beside the jobs that people start, [`clock`] runs the housekeeping: eviction all the time, a look through what is held when
//! the catalog has changed, a slow scrub once a quarter; [`sync`] the runs of the catalog that its schedule asks for (`due` says
//! when); [`prefetch`] brings what the content policy wants ([`content`]), of which the
//! mode `all` waits for an [`agreement`], and, where that is set, what endpoints report as missing ([`drawn`]); [`rules`]
//! approve by themselves, ring by ring.
//! Explain, doctor and the mapping of an address to a name are plain calls, offered here so that the control plane needs
//! to know neither `fill` nor `upstream`.
//!
//! Without a `fill` (offline, on the data directory alone) only what needs no origin works; the rest says so.

pub mod address;
pub mod agreement;
pub mod ask;
pub mod backup;
pub mod bind;
pub mod board;
pub mod clock;
pub mod content;
pub mod drawn;
mod due;
pub mod error;
pub mod fetch;
pub mod import;
pub mod prefetch;
pub mod rules;
pub mod sync;
mod target;
pub mod verify;
pub mod view;
mod wishes;
pub mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::time::{Clock, Timestamp};
use crate::fill::{Fill, FlightView};
use crate::jobs::board::{Board, Record, View};
use crate::jobs::content::{Content, Planned};
use crate::jobs::drawn::{Drawing, Draws};
use crate::jobs::error::Error;
use crate::jobs::prefetch::steer::{self, Steering};
use crate::jobs::rules::Ruling;
use crate::jobs::wishes::Wishes;
use crate::jobs::work::{Kind, Work};
use crate::keep::evict::Evicted;
use crate::keep::progress::Progress;
use crate::keep::schedule;
use crate::model::deployment::detection;
use crate::model::schedule::Schedule;
use crate::store::Store;
use crate::store::catalog::RunKind;
use crate::sync::Runner;

/// What this room needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Payloads that one fetch job fills at a time.
    pub fetch_parallel: usize,
    /// How often everything is read against its proofs; `None` switches the scheduled scrub off.
    pub scrub_every: Option<Duration>,
    /// When the catalog is synchronised by itself.
    pub sync: Schedule,
    /// Which files of the catalog are brought ahead of time.
    pub content: Content,
    /// When definition updates are, by themselves.
    pub definitions: Schedule,
    /// How often what endpoints asked for is kept; not zero.
    pub keep_asked_every: Duration,
    /// The rest of a file before a prefetch tries it again for the first time; it doubles each time.
    pub prefetch_rest: Duration,
    /// When what a prefetch left undone is tried again by itself.
    pub prefetch_later: Duration,
    /// What is brought since endpoints miss it.
    pub drawn: Draws,
    /// What is looked for on endpoints though nobody decided anything: nothing else comes since they miss it.
    pub detection: detection::Written,
    /// How often it is looked at what endpoints miss; not zero.
    pub look_every: Duration,
    /// Bytes that are fetched ahead on a day since servers below want them.
    pub wishes_daily: u64,
    /// Whether rules approve here; not where the authority of a chain decides.
    pub decides: bool,
    /// A number that other nodes do not have: it spreads what they begin at one time of the clock.
    pub seed: u64,
}

/// How often what endpoints asked for is kept: what a crash loses of it.
pub const KEEP_ASKED_EVERY: Duration = Duration::from_mins(1);

/// Long enough for a host that was restarted, short beside a prefetch.
pub const PREFETCH_REST: Duration = Duration::from_secs(15);

/// Bytes that servers below may have fetched ahead on a day: what a month brings for a few products.
const WISHES_DAILY: u64 = 20 << 30;

/// A host that is down for longer is so for hours; a disk that is full, too.
pub const PREFETCH_LATER: Duration = Duration::from_hours(3);
/// How often it is looked at what endpoints miss: they scan once a day or so, and a look goes through all that they told.
pub const LOOK_EVERY: Duration = Duration::from_mins(5);

impl Default for Config {
    /// Four payloads at a time keep a link busy while one of them is being proven.
    fn default() -> Self {
        let sync = Schedule { enabled: false, ..Schedule::default() };
        let definitions = sync.clone();
        Self {
            fetch_parallel: 4,
            scrub_every: Some(schedule::EVERY),
            sync,
            definitions,
            content: Content::default(),
            keep_asked_every: KEEP_ASKED_EVERY,
            prefetch_rest: PREFETCH_REST,
            prefetch_later: PREFETCH_LATER,
            drawn: Draws::default(),
            detection: detection::Written::default(),
            look_every: LOOK_EVERY,
            wishes_daily: WISHES_DAILY,
            decides: true,
            seed: 0,
        }
    }
}

/// The document in which the last number of a job stands.
const LAST_NUMBER: &str = "jobs.last-number";

/// Jobs that may run at once: each holds tasks, and they all share one disk and one link.
const RUNNING_MAX: usize = 16;

/// The façade. A cheap handle; clones share the jobs.
#[derive(Clone, Debug)]
pub struct Jobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(in crate::jobs) struct Shared {
    pub(in crate::jobs) config: Config,
    pub(in crate::jobs) store: Store,
    pub(in crate::jobs) fill: Option<Fill>,
    pub(in crate::jobs) sync: Option<Runner>,
    pub(in crate::jobs) clock: Arc<dyn Clock>,
    board: Board,
    /// Whether numbers of jobs are kept; held while one is, so that none is overwritten by one before it.
    counts: tokio::sync::Mutex<bool>,
    /// Pulled by the store when somebody waits for room, so that eviction does not wait for its tick.
    wake: Arc<Notify>,
    /// Pulled when a run of the catalog has ended.
    review: Arc<Notify>,
    evicted: Arc<Evicted>,
    scrub: Arc<Progress>,
    /// Since when this process looks, in milliseconds; see [`Shared::begun`].
    begun: AtomicU64,
    pub(in crate::jobs) planned: Planned,
    pub(in crate::jobs) steering: Steering,
    pub(in crate::jobs) ruling: Ruling,
    pub(in crate::jobs) drawing: Drawing,
    pub(in crate::jobs) wishes: Wishes,
    tasks: TaskTracker,
    /// Where jobs run, whichever runtime the question came from; `None` where the façade was made outside of one.
    runtime: Option<Handle>,
    /// Pulled at close; every job's own token is a child of it.
    cancel: CancellationToken,
}

impl Shared {
    /// Runs a task of this room, which `close` waits for, on the room's own runtime.
    pub(in crate::jobs) fn spawn<V: Send + 'static>(
        &self,
        task: impl Future<Output = V> + Send + 'static,
    ) -> JoinHandle<V> {
        match &self.runtime {
            Some(runtime) => self.tasks.spawn_on(task, runtime),
            None => self.tasks.spawn(task),
        }
    }

    /// Since when this process looks at the time. A machine whose clock was ahead when it booted learns better: what is due after the
    /// start must not wait until that time comes.
    pub(in crate::jobs) fn begun(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_ms(self.begun.fetch_min(now.ms(), Ordering::Relaxed).min(now.ms()))
    }

    /// The way to the origins, or the error that says why there is none.
    pub(in crate::jobs) fn fill(&self) -> Result<&Fill, Error> {
        self.fill.as_ref().ok_or(Error::NeedsNode)
    }

    /// The runs of the catalog, or the error that says why there are none.
    pub(in crate::jobs) fn sync(&self) -> Result<&Runner, Error> {
        match (&self.sync, &self.fill) {
            (Some(sync), _) => Ok(sync),
            (None, Some(_)) => Err(Error::NoCatalog),
            (None, None) => Err(Error::NeedsNode),
        }
    }
}

impl Jobs {
    /// For a node: everything works. Jobs run on the runtime that this is called in, also those that are started from
    /// another one, so that what is fetched for an operator loads the data plane and not the console.
    pub fn new(config: Config, store: Store, fill: Fill, clock: Arc<dyn Clock>) -> Self {
        Self::with(config, store, Some(fill), None, clock)
    }

    /// For a node that keeps a catalog too.
    pub fn with_catalog(config: Config, store: Store, fill: Fill, sync: Runner, clock: Arc<dyn Clock>) -> Self {
        Self::with(config, store, Some(fill), Some(sync), clock)
    }

    /// For a data directory that no node runs on: no origin can be asked.
    pub fn offline(config: Config, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self::with(config, store, None, None, clock)
    }

    fn with(config: Config, store: Store, fill: Option<Fill>, sync: Option<Runner>, clock: Arc<dyn Clock>) -> Self {
        let begun = AtomicU64::new(clock.now().ms());
        let shared = Shared {
            config,
            begun,
            wake: store.shortage(),
            store,
            fill,
            sync,
            clock,
            board: Board::default(),
            counts: tokio::sync::Mutex::new(false),
            review: Arc::default(),
            evicted: Arc::new(Evicted::default()),
            scrub: Arc::new(Progress::default()),
            planned: Planned::default(),
            steering: Steering::default(),
            ruling: Ruling::default(),
            drawing: Drawing::default(),
            wishes: Wishes::default(),
            tasks: TaskTracker::new(),
            runtime: Handle::try_current().ok(),
            cancel: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Goes on with the numbers of jobs where the node was when it ended, so that a number that somebody was told means one job and no
    /// other. Once, before the first job; the last number is kept from then on.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn go_on_counting(&self) -> Result<(), Error> {
        let kept = self.shared.store.document(LAST_NUMBER).await?;
        // One that cannot be read is none.
        let last = kept.and_then(|kept| serde_json::from_slice::<u64>(&kept).ok()).unwrap_or_default();
        self.shared.board.go_on_behind(last);
        *self.shared.counts.lock().await = true;
        Ok(())
    }

    /// Starts the housekeeping: eviction, holding what is held against the catalog, the scheduled scrub, the scheduled runs of
    /// the catalog, the prefetch, the rules. Once is enough.
    pub fn keep_house(&self) {
        if self.shared.config.decides {
            self.shared.spawn(rules::clock::by_itself(self.clone(), self.shared.cancel.child_token()));
        }
        self.shared.spawn(clock::evict(Arc::clone(&self.shared), self.shared.cancel.child_token()));
        self.shared.spawn(clock::review(Arc::clone(&self.shared), self.shared.cancel.child_token()));
        if let Some(every) = self.shared.config.scrub_every {
            self.shared.spawn(clock::scrub(self.clone(), every, self.shared.cancel.child_token()));
        }
        let due = self.shared.sync.as_ref().and_then(Runner::due);
        if let Some(due) = due {
            self.shared.spawn(sync::by_the_parent(self.clone(), due, self.shared.cancel.child_token()));
        } else if self.shared.sync.is_some() {
            for lane in sync::Lane::ALL {
                if lane.schedule(&self.shared.config).enabled {
                    self.shared.spawn(sync::by_the_clock(self.clone(), lane, self.shared.cancel.child_token()));
                }
            }
        }
        if self.shared.sync.is_some() {
            self.shared.spawn(steer::by_itself(self.clone(), self.shared.cancel.child_token()));
            self.shared.spawn(drawn::by_reports(Arc::clone(&self.shared), self.shared.cancel.child_token()));
            self.shared.spawn(wishes::by_wishes(self.clone(), self.shared.cancel.child_token()));
            self.shared.spawn(steer::keep_asked(Arc::clone(&self.shared), self.shared.cancel.child_token()));
        }
    }

    /// Starts a job for `by` (who asked, for the record) and returns its number. Must be called inside a runtime where
    /// the façade was made outside of one.
    pub fn start(&self, work: Work, by: &str) -> Result<u64, Error> {
        if self.shared.cancel.is_cancelled() {
            return Err(Error::Closing);
        }
        work.check()?;
        if work.needs_origins() {
            self.shared.fill()?;
        }
        match work {
            Work::Sync | Work::Definitions | Work::Prefetch => drop(self.shared.sync()?),
            Work::Crosscheck => drop(self.shared.sync()?.comparable()?),
            _ => {}
        }
        let record = self.shared.board.begin(&work, by, self.shared.clock.now(), &self.shared.cancel, RUNNING_MAX)?;
        // Whoever starts one has it begin by itself again.
        if record.kind() == Kind::Prefetch && by != steer::POLICY {
            self.shared.steering.let_go();
        }
        let shared = Arc::clone(&self.shared);
        let id = record.id();
        tracing::info!(job = id, kind = record.kind().word(), by, "job started");
        self.shared.spawn(async move {
            // Before anything that may panic: a record that nobody ends holds its lane for good.
            let ending = Ending { shared: Arc::clone(&shared), record: Arc::clone(&record) };
            keep_number(&shared).await;
            let ended = match work {
                Work::Fetch(work) => fetch::run(&shared, &record, work).await,
                Work::Verify(work) => verify::run(&shared, &record, work).await,
                Work::Import(work) => import::run(&shared, &record, work).await,
                Work::Backup(work) => backup::run(&shared, &record, work).await,
                Work::Sync => sync::run(&shared, &record, RunKind::Catalog).await,
                Work::Definitions => sync::run(&shared, &record, RunKind::Definitions).await,
                Work::Crosscheck => sync::run(&shared, &record, RunKind::Crosscheck).await,
                Work::Prefetch => prefetch::run(&shared, &record).await,
                Work::Rules { rule } => rules::run(&shared, &record, rule).await,
            };
            record.end(ended, shared.clock.now());
            drop(ending);
        });
        Ok(id)
    }

    /// Asks a running job to stop, for `by`; it ends soon after, and says what is left undone.
    pub fn stop(&self, id: u64, by: &str) -> Result<(), Error> {
        let record = self.shared.board.get(id).ok_or(Error::Unknown { id })?;
        if record.is_running() {
            tracing::info!(job = id, kind = record.kind().word(), by, "job is told to stop");
            if record.kind() == Kind::Prefetch {
                self.shared.steering.hold(by, self.shared.clock.now());
            }
        }
        record.stop(by);
        Ok(())
    }

    /// All jobs that are still known, newest first, without their lines.
    pub fn list(&self) -> Vec<View> {
        let flights = self.flights();
        self.shared.board.all().iter().map(|record| without_lines(record, &flights)).collect()
    }

    /// One job without its lines.
    pub(in crate::jobs) fn seen(&self, record: &Record) -> View {
        without_lines(record, &self.flights())
    }

    /// One job with its lines.
    pub fn get(&self, id: u64) -> Option<View> {
        self.shared.board.get(id).map(|record| self.view(&record))
    }

    /// Waits until the job has ended, or `patience` is over, and returns it.
    pub async fn wait(&self, id: u64, patience: Duration) -> Option<View> {
        let record = self.shared.board.get(id)?;
        // Running out of patience is no failure: the view says that the job still runs.
        let _ = tokio::time::timeout(patience, record.ended()).await;
        Some(self.view(&record))
    }

    /// Stops all jobs and the housekeeping, and waits for them.
    pub async fn close(&self) {
        self.shared.cancel.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        // Last, so that the end of a run is told too.
        if let Some(sync) = &self.shared.sync {
            sync.close().await;
        }
    }

    fn view(&self, record: &Record) -> View {
        let mut view = record.view(true);
        if view.state.is_running() {
            fetch::follow(&mut view, &self.flights());
        }
        view
    }
}

/// Keeps the last number that was given, beside the job that has it: one commit for each job, which no request waits for. A crash before
/// it can give a number of that moment again.
async fn keep_number(shared: &Shared) {
    let counts = shared.counts.lock().await;
    if !*counts {
        return;
    }
    let last = shared.board.last().to_string().into_bytes();
    if let Err(error) = shared.store.set_document(LAST_NUMBER, Some(last)).await {
        tracing::debug!(%error, "the last number of a job is not kept");
    }
}

/// A job as it is now, without a copy of its lines.
fn without_lines(record: &Record, flights: &[FlightView]) -> View {
    let mut view = record.view(false);
    if view.state.is_running() {
        record.look(|lines| fetch::sum_up(&mut view.progress, lines, flights));
    }
    view
}

/// Ends the record of a job whose task is gone without having ended it, which only a panic can do.
struct Ending {
    shared: Arc<Shared>,
    record: Arc<Record>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.record.is_running() {
            let why = "it broke off by a fault of the program; the log has more".to_owned();
            self.record.end(Err(Error::Broken(why)), self.shared.clock.now());
        }
        if self.record.kind() == Kind::Prefetch && self.record.by() != steer::POLICY {
            self.shared.steering.ended();
        }
        let (id, state, kind) = (self.record.id(), self.record.state(), self.record.kind().word());
        // What a run of the catalog came to was told by the run.
        let is_told = matches!(self.record.kind(), Kind::Sync | Kind::Crosscheck);
        if state == board::State::Failed && !is_told {
            let why = self.record.result().unwrap_or_default();
            tracing::warn!(job = id, kind, state = state.word(), why, "job ended");
        } else {
            tracing::info!(job = id, kind, state = state.word(), "job ended");
        }
    }
}
