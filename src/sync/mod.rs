//! Floor 3: getting the catalog. One run at a time brings what is held up to what the upstream has, and says what it did.
//!
//! What a run does ([`run`]), each step in the file named:
//! 1. It is written into the history. The catalog learns from whom everything comes from now on; limits and languages are asked.
//! 2. Categories and detectoids are listed and fetched, so that filters mean what they mean today.
//! 3. What is wanted is turned into a list of updates to ask for ([`plan`]): the filters, resolved against the tree of the
//!    catalog, of Microsoft; all that it has of a WSUS server. A list is asked as a change since the last one where that was
//!    committed to its end.
//! 4. A list goes onto the catalog's work list, and what is on that is fetched ([`fetch`]) in batches. Each document is read on a
//!    thread that may block ([`read`]) and committed with some others; what cannot be used is refused with the reason, and the run
//!    goes on. Members of bundles join the work list by themselves. With the last of it the anchor moves.
//! 5. Prerequisites that lie beyond the filters are found in the list of everything and fetched too, to the end ([`beyond`]).
//! 6. What a former upstream had and this one does not have goes; so does, where that is wanted, what filters found before they were
//!    narrowed ([`outside`]). What was left behind is swept, the run ends in the history.
//!
//! Two other kinds of run share the turn, the history and the progress: definition updates alone ([`definitions`]), and the comparison
//! of what came over plain HTTP with Microsoft's catalog ([`crosscheck`]). What happens to a run is told to who wants to hear it
//! ([`tell`]).
//!
//! The turn itself, from the beginning of a run in the history to its end there, is in [`turn`]; refusals are taken back in [`pardon`].
//!
//! Below a parent a run tells the catalog what the parent's feed brought ([`above`]): nothing is listed, since the feed names what changed.
//!
//! What holds: a run that is stopped, fails or is killed keeps what it committed, and the next one goes on behind it without asking
//! for any of that again. An upstream that says it is another one has its anchors forgotten and is listed anew. Nothing is deleted
//! before a run has ended well.

mod above;
mod account;
mod beyond;
mod crosscheck;
mod definitions;
mod difference;
mod doctor;
pub mod error;
mod fetch;
mod judge;
mod ledger;
mod outside;
mod pardon;
mod plan;
mod progress;
mod read;
mod run;
mod tell;
mod turn;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::base::time::Clock;
use crate::model::filter::{self, Filters, Selection, known};
use crate::model::policy::Word;
use crate::model::schedule::Definitions;
use crate::model::update::Identity;
use crate::store::Store;
use crate::store::catalog::{Compared, PAGE_MAX, Query, Run, RunKind, Standing, Upstream, UpstreamKind};
use crate::sync::error::Error;
use crate::sync::progress::Board;
use crate::sync::turn::Ended;
use crate::upstream::hook::Answer;
use crate::upstream::wsus::Wsus;

pub use crate::sync::above::{Above, Awaited, Trouble};
pub use crate::sync::account::Account;
pub use crate::sync::pardon::{Pardon, Pardoned};
pub use crate::sync::progress::{Progress, Step};
pub use crate::sync::tell::{StoppedRule, Teller};
pub use crate::upstream::hook::Standing as HookStanding;
pub use crate::upstream::wsus::{Silence, Waiting};

/// What of Microsoft's catalog is wanted, as it is set when a run asks.
pub type Chosen = Arc<dyn Fn() -> Selection + Send + Sync>;

/// Runs, one at a time. Clones share them.
#[derive(Clone, Debug)]
pub struct Runner {
    shared: Arc<Shared>,
}

/// Who is asked.
enum Source {
    /// A sync service.
    Service(Box<Wsus>),
    /// A parent, whose feed is followed.
    Parent(Arc<dyn Above>),
}

struct Shared {
    upstream: Upstream,
    store: Store,
    source: Source,
    chosen: Chosen,
    clock: Arc<dyn Clock>,
    /// Microsoft's catalog, to compare with.
    microsoft: Option<Wsus>,
    /// The lane of definition updates, where it is on.
    definitions: Option<Definitions>,
    teller: Option<Teller>,
    /// Whether what the filters do not find any more is let go of.
    prune_beyond: bool,
    /// Revisions that a comparison asks for and commits together.
    page: usize,
    turn: tokio::sync::Mutex<()>,
    /// The end of a run that could not be written, such as on a disk without a byte left: the next run writes it first.
    unwritten: Mutex<Option<Ended>>,
    /// What a WSUS server above is told after a run, once that is known.
    account: std::sync::OnceLock<Arc<dyn Account>>,
    /// Of the run that is under way, or else of the last one.
    board: Mutex<Option<Arc<Board>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Option<Arc<Board>>> {
        // One assignment at a time, so that a panic elsewhere has broken nothing.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sync service that is asked; none below a parent.
    fn service(&self) -> Option<&Wsus> {
        match &self.source {
            Source::Service(wsus) => Some(wsus),
            Source::Parent(_) => None,
        }
    }

    /// These filters, and what comes by the lane of definition updates where that is on: what a lane brings is wanted, whether
    /// filters name it beside or not.
    fn with_lane(&self, mut filters: Filters) -> Filters {
        // Filters without any classification find nothing, and stay wrong.
        if self.definitions.is_some() && !filters.classifications.is_empty() {
            filters.classifications.insert(known::DEFINITION_UPDATES);
        }
        filters
    }
}

/// What a runner is made of beside what every one has.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Microsoft's catalog, to compare one with that came over plain HTTP.
    pub microsoft: Option<Wsus>,
    /// The lane of definition updates; `None` where it is off, and nothing is let go of by its rule.
    pub definitions: Option<Definitions>,
    /// Who is told of runs.
    pub teller: Option<Teller>,
    /// Whether updates that the filters do not find any more are let go of at the end of a run.
    pub prune_beyond: bool,
    /// Revisions that a comparison asks for and commits together; `None` for a thousand.
    pub page: Option<std::num::NonZeroUsize>,
}

/// Who stops a whole run that waits for the end of a pause, so that definition updates come meanwhile. Nobody meant that the run should
/// end: it is begun again.
pub const GAVE_WAY: &str = "the lane of definition updates, for which bytes may flow in this pause";

/// Updates beyond the filters of which it is looked up whether others need them: twenty thousand short look-ups.
const BEYOND_LOOKED_AT: usize = 10_000;

/// Updates that are held and that the filters do not find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// How many.
    pub all: u64,
    /// Of these, those that somebody approved.
    pub approved: u64,
    /// Of the others, those that an update needs which is not one of them; `None` where there are too many to look that up.
    pub needed: Option<u64>,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Which kind of run.
    pub kind: RunKind,
    /// Who wants it; empty where that is not known.
    pub by: String,
    /// A person waits for it: what does not pass by itself is told within seconds.
    pub attended: bool,
    /// Who told it to stop, written before its token is pulled; a run that is stopped by nobody was stopped by the node, which ends.
    /// With the order, so that a stop counts before the run has begun.
    pub stopped_by: Arc<OnceLock<String>>,
}

impl Runner {
    /// For an upstream of this kind at this address, which `wsus` speaks with. `chosen` counts for Microsoft's alone.
    pub fn new(
        kind: UpstreamKind,
        address: &str,
        wsus: Wsus,
        store: Store,
        chosen: Chosen,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::with(kind, address, wsus, store, chosen, clock, Extras::default())
    }

    /// The same with more than what every runner has.
    pub fn with(
        kind: UpstreamKind,
        address: &str,
        wsus: Wsus,
        store: Store,
        chosen: Chosen,
        clock: Arc<dyn Clock>,
        extras: Extras,
    ) -> Self {
        let upstream = Upstream { kind, address: address.to_owned(), unauthenticated: !wsus.is_authenticated() };
        Self::of(upstream, Source::Service(Box::new(wsus)), store, chosen, clock, extras)
    }

    /// For a node that follows a parent, which the catalog knows by `address`.
    pub fn below(
        address: String,
        above: Arc<dyn Above>,
        store: Store,
        chosen: Chosen,
        clock: Arc<dyn Clock>,
        teller: Option<Teller>,
    ) -> Self {
        let upstream = Upstream { kind: UpstreamKind::Parent, address, unauthenticated: false };
        Self::of(upstream, Source::Parent(above), store, chosen, clock, Extras { teller, ..Extras::default() })
    }

    fn of(
        upstream: Upstream,
        source: Source,
        store: Store,
        chosen: Chosen,
        clock: Arc<dyn Clock>,
        extras: Extras,
    ) -> Self {
        let Extras { microsoft, definitions, teller, prune_beyond, page } = extras;
        let page = page.map_or(crosscheck::PAGE, std::num::NonZeroUsize::get);
        let (turn, board) = (tokio::sync::Mutex::new(()), Mutex::new(None));
        let unwritten = Mutex::new(None);
        let shared = Shared {
            upstream,
            store,
            source,
            chosen,
            clock,
            microsoft,
            definitions,
            teller,
            prune_beyond,
            page,
            turn,
            unwritten,
            account: std::sync::OnceLock::new(),
            board,
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on a WSUS server above is told this at the end of each whole run.
    pub fn tell_above(&self, account: Arc<dyn Account>) {
        // The first one stays.
        let _ = self.shared.account.set(account);
    }

    /// From whom.
    pub fn upstream(&self) -> &Upstream {
        &self.shared.upstream
    }

    /// What of the catalog is wanted now, where that is chosen here: of Microsoft's, the lane's definition updates among it. Of another
    /// upstream all is taken.
    pub async fn filters(&self) -> Result<Option<(filter::Wanted, Filters)>, Error> {
        if self.shared.upstream.kind != UpstreamKind::Microsoft {
            return Ok(None);
        }
        let tree = self.shared.store.catalog().tree().await?;
        let (filters, _) = (self.shared.chosen)().in_force(&tree);
        let filters = self.shared.with_lane(filters);
        Ok(Some((filters.wanted(&tree), filters)))
    }

    /// Which updates are held that the filters do not find; `None` where all is taken, or where filters mean nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn beyond(&self) -> Result<Option<Beyond>, Error> {
        let Some((wanted, filters)) = self.filters().await? else { return Ok(None) };
        if filters.check().is_err() {
            return Ok(None);
        }
        let catalog = self.shared.store.catalog();
        let query = Query { beyond: Some(Arc::new(wanted)), limit: 1, ..Query::default() };
        let all = catalog.search(query.clone()).await?.total;
        if all == 0 {
            return Ok(Some(Beyond::default()));
        }
        let mut query = Query { decisions: vec![None, Some(Word::Declined)], limit: PAGE_MAX, ..query };
        let (mut ids, mut others) = (Vec::new(), 0);
        loop {
            let page = catalog.search(query.clone()).await?;
            others = page.total.max(others);
            ids.extend(page.hits.into_iter().map(|hit| hit.summary.identity.id));
            match page.next {
                Some(next) if ids.len() < BEYOND_LOOKED_AT => query.after = Some(next),
                _ => break,
            }
        }
        let is_whole = ids.len() as u64 >= others;
        let needed = if is_whole { Some(catalog.needed(ids).await?) } else { None };
        Ok(Some(Beyond { all, approved: all.saturating_sub(others), needed }))
    }

    /// Before the first run of a process: those that never ended were cut off, and what happens from now on is told.
    ///
    /// # Errors
    /// The store's.
    pub async fn begin(&self) -> Result<(), Error> {
        if let Some(teller) = &self.shared.teller {
            teller.hook.start();
        }
        self.close_cut_off().await
    }

    /// Whether somebody is told of runs, and which host.
    pub fn hook(&self) -> Option<&str> {
        self.shared.teller.as_ref().map(|teller| teller.hook.label())
    }

    /// How far who is told of runs has been told.
    pub fn hook_standing(&self) -> Option<HookStanding> {
        self.shared.teller.as_ref().map(|teller| teller.hook.standing())
    }

    /// Tells the hook that this is a test, at once; `None` where there is none.
    pub async fn test_hook(&self) -> Option<Result<Answer, String>> {
        let teller = self.shared.teller.as_ref()?;
        Some(teller.test(self.shared.clock.now()).await)
    }

    /// Tells who wants to hear it that a rule goes no further.
    pub fn tell_stopped_rule(&self, told: &StoppedRule) {
        if let Some(teller) = &self.shared.teller {
            teller.stopped_rule(self.shared.clock.now(), told);
        }
    }

    /// Ends what goes on beside runs, and waits for it. Runs are ended by their tokens, before.
    pub async fn close(&self) {
        if let Some(teller) = &self.shared.teller {
            teller.hook.close().await;
        }
    }

    /// Whether a whole run is under way that waits for the end of a pause, in which definition updates may flow.
    pub fn keeps_definitions_out(&self) -> bool {
        let is_whole = self.shared.board().as_ref().and_then(|board| board.look());
        is_whole.is_some_and(|seen| seen.kind == RunKind::Catalog)
            && self.shared.service().is_some_and(Wsus::is_paused_but_for_definitions)
    }

    /// Changes when what a parent's feed brought waits for a run; `None` where runs begin by the clock.
    pub fn due(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        match &self.shared.source {
            Source::Service(_) => None,
            Source::Parent(above) => Some(above.due()),
        }
    }

    /// Whether nothing may flow for a whole run now.
    pub fn is_paused(&self) -> bool {
        self.shared.service().is_some_and(Wsus::is_paused)
    }

    /// The run that is under way.
    pub fn progress(&self) -> Option<Progress> {
        let mut seen = self.shared.board().as_ref().and_then(|board| board.look())?;
        let asked = match seen.kind {
            RunKind::Crosscheck => self.shared.microsoft.as_ref().or(self.shared.service()),
            RunKind::Catalog | RunKind::Definitions => self.shared.service(),
        };
        (seen.waiting, seen.silence) = (asked.and_then(Wsus::waiting), asked.and_then(Wsus::silence));
        Some(seen)
    }

    /// Revisions that the run that is under way, or else the last one, has done over all its steps, and those known to be left.
    pub fn whole(&self) -> (u64, u64) {
        self.shared.board().as_ref().map(|board| board.whole()).unwrap_or_default()
    }

    /// What is told of revisions that the run left as they are, behind the first `from`; the first thousand.
    pub fn remarks(&self, from: usize) -> Vec<(Identity, String)> {
        self.shared.board().as_ref().map(|board| board.remarks(from)).unwrap_or_default()
    }

    /// What the comparison that is under way, or else the last one, found.
    pub fn found(&self) -> Compared {
        self.shared.board().as_ref().map(|board| board.found()).unwrap_or_default()
    }

    /// What the run that is under way, or else the last one, has refused, behind the first `from`; the first thousand are told.
    pub fn refused(&self, from: usize) -> Vec<(Identity, String)> {
        self.shared.board().as_ref().map(|board| board.refused(from)).unwrap_or_default()
    }

    /// The newest runs first, those before `before`.
    pub async fn history(&self, before: Option<u64>, limit: usize) -> Result<Vec<Run>, Error> {
        Ok(self.shared.store.catalog().runs(before, limit).await?)
    }

    /// How the catalog stands.
    pub async fn standing(&self) -> Result<Standing, Error> {
        Ok(self.shared.store.catalog().standing().await?)
    }
}
