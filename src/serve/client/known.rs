//! The catalog as scans see it: the graph of all updates and what people said of them, and the views made of both.
//!
//! 1. It is read when the first agent asks, on a thread that may block, by one at a time; who leaves does not stop it.
//! 2. Each request asks the store whether anything changed since, which is one look-up; then the graph follows the change log, in a
//!    copy, while others scan what was there before.
//! 3. While a run commits one batch after the other it follows a fifth of the time at most.
//! 4. A view is made once for each state and for all endpoints for which the same was said, and of it one for each set of categories, on a
//!    thread that may block.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::base::time::Timestamp;
use crate::fleet::belong::Belonging;
use crate::fleet::graph::Graph;
use crate::fleet::load;
use crate::fleet::scan::{CATEGORIES_MAX, Newcomer};
use crate::fleet::spoken::{Spoken, Whose};
use crate::fleet::view::View;
use crate::fleet::views::{Generation, VIEW_BYTES_MAX, Views};
use crate::model::deployment::detection::{Detection, Written};
use crate::model::deployment::{Day, Endpoint};
use crate::model::group::UNASSIGNED;
use crate::model::update::UpdateId;
use crate::serve::client::error::Error;
use crate::serve::client::texts::Texts;
use crate::store::Store;
use crate::store::approvals::Approvals;
use crate::store::catalog::Catalog;

/// Lines of the change log that are read at a time.
const STEP: usize = 5_000;

/// After following it took so long, it is not followed again for so many times that.
const REST: u32 = 4;

/// Views of some categories that are kept: those that agents ask for (definitions of a product, the Store) are few, and one that
/// was pushed out is made from a whole view in milliseconds.
const PARTS_MAX: usize = 16;

/// A state of the catalog.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// All updates.
    pub(super) graph: Graph,
    spoken: Spoken,
    /// What is detected, by the categories of this state.
    detection: Detection,
    /// What of the settings for that means nothing in this state, in words.
    left_out: Vec<String>,
}

impl Known {
    /// The logical clock up to which it is complete.
    pub(super) fn clock(&self) -> u64 {
        self.graph.clock()
    }
}

/// What a request scans.
pub(super) struct Scope {
    /// What is delivered, or the part of it that has to do with the categories asked for.
    pub(super) view: Arc<View>,
    /// All that is delivered, where the view is a part of it.
    pub(super) whole: Option<Arc<View>>,
}

/// The catalog in memory.
pub(super) struct Catalogs {
    catalog: Catalog,
    approvals: Approvals,
    belonging: Belonging,
    detection: Written,
    now: ArcSwapOption<Known>,
    /// Who has it reads the catalog.
    turn: Arc<Semaphore>,
    /// Not followed again before.
    rests_until: Mutex<Option<Instant>>,
    /// All that is delivered, by whom it is for.
    views: Views<Whose>,
    /// Parts of these for scans of some categories, sorted. Clients choose them: they push out each other, and nobody's whole view.
    parts: Views<(Whose, Vec<UpdateId>)>,
}

impl Catalogs {
    pub(super) fn new(store: &Store, detection: Written) -> Self {
        Self {
            catalog: store.catalog(),
            approvals: store.approvals(),
            belonging: Belonging::new(store.fleet(), store.approvals()),
            detection,
            now: ArcSwapOption::empty(),
            turn: Arc::new(Semaphore::new(1)),
            rests_until: Mutex::default(),
            views: Views::default(),
            parts: Views::new(PARTS_MAX, VIEW_BYTES_MAX),
        }
    }

    /// The catalog as it is now, or as it was a moment ago. Forgets texts of revisions that changed.
    pub(super) async fn current(self: &Arc<Self>, texts: &Arc<Texts>) -> Result<Arc<Known>, Error> {
        if let Some(known) = self.as_is().await? {
            return Ok(known);
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Error::Ended)?;
        // Whoever had the turn before may have done it.
        if let Some(known) = self.as_is().await? {
            return Ok(known);
        }
        let (this, texts, runtime) = (Arc::clone(self), Arc::clone(texts), Handle::current());
        let reading = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let known = runtime.block_on(this.read(&texts))?;
            let known = Arc::new(known);
            this.now.store(Some(Arc::clone(&known)));
            let rest = begun.elapsed().saturating_mul(REST);
            *this.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(rest);
            drop(turn);
            Ok(known)
        });
        reading.await.map_err(|_| Error::Ended)?
    }

    /// What is in memory, if it is still so or must do for a moment.
    async fn as_is(&self) -> Result<Option<Arc<Known>>, Error> {
        let Some(known) = self.now.load_full() else { return Ok(None) };
        let rests = {
            let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
            until.is_some_and(|until| Instant::now() < until)
        };
        if rests {
            return Ok(Some(known));
        }
        let page = self.catalog.changes(known.clock(), u32::MAX, 1).await?;
        Ok((page.clock == known.clock()).then_some(known))
    }

    /// Reads what changed, or all of it.
    async fn read(&self, texts: &Texts) -> Result<Known, Error> {
        if let Some(old) = self.now.load_full() {
            let from = old.clock();
            let mut known = Known::clone(&old);
            drop(old);
            if load::follow(&self.catalog, &mut known.graph).await? && self.told(&mut known, from, texts).await? {
                self.detect(&mut known).await?;
                return Ok(known);
            }
            tracing::info!("the change log does not reach back to what scans know of the catalog: it is read anew");
        }
        texts.forget_all();
        let graph = load::load(&self.catalog).await?;
        let (spoken, detection) = (Spoken::default(), Detection::default());
        let mut known = Known { graph, spoken, detection, left_out: Vec::new() };
        // What was decided before decisions were logged is found by its update.
        let ids: Vec<UpdateId> = known.graph.deployable().map(|found| found.identity.id).collect();
        known.spoken.tell(&self.approvals, &ids, 0).await?;
        self.told(&mut known, 0, texts).await?;
        self.detect(&mut known).await?;
        tracing::info!(
            revisions = known.graph.len(),
            bytes = known.graph.bytes(),
            decisions = known.spoken.len(),
            groups = known.spoken.tree().groups.iter().count(),
            "the catalog is in memory for scans"
        );
        Ok(known)
    }

    /// Makes out what the settings of detection mean by the categories that there are now; the log is told once for each change.
    async fn detect(&self, known: &mut Known) -> Result<(), Error> {
        let tree = self.catalog.tree().await?;
        let (detection, wrong) = self.detection.in_force(&tree);
        let left_out: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        for why in left_out.iter().filter(|why| !known.left_out.contains(why)) {
            tracing::warn!(%why, "an entry of scan.detect_products or scan.detect_classifications is left out");
        }
        (known.detection, known.left_out) = (detection, left_out);
        Ok(())
    }

    /// Takes in what people said from a clock on, and forgets texts of what changed. Says whether the log reaches back so far.
    async fn told(&self, known: &mut Known, from: u64, texts: &Texts) -> Result<bool, Error> {
        let mut after = if from == 0 { (0, 0) } else { (from, u32::MAX) };
        loop {
            let page = self.catalog.changes(after.0, after.1, STEP).await?;
            if from != 0 && page.floor > from {
                return Ok(false);
            }
            for change in &page.changes {
                texts.forget(change.number);
            }
            let told: Vec<UpdateId> = page.decisions.iter().map(|line| line.id).collect();
            known.spoken.tell(&self.approvals, &told, page.floor).await?;
            if !page.more {
                break;
            }
            after = page.next;
        }
        known.spoken.follow(&self.approvals).await?;
        Ok(true)
    }

    /// Whom the view of an endpoint is for; `None` where it was put into a group that this state does not have yet.
    async fn whose(&self, known: &Known, endpoint: Endpoint) -> Result<Option<Whose>, Error> {
        let (tree, clock) = (&known.spoken.tree().groups, known.spoken.shared());
        let groups = self.belonging.of(endpoint, tree, clock).await?;
        Ok(groups.map(|groups| known.spoken.whose(endpoint, &groups)))
    }

    /// The catalog as it is now, or as it was a moment ago, and whom in it the view of an endpoint is for. What stands between the endpoint
    /// and an update in its group is never left out because the group is younger than what was read.
    pub(super) async fn current_of(
        self: &Arc<Self>,
        texts: &Arc<Texts>,
        endpoint: Endpoint,
    ) -> Result<(Arc<Known>, Whose), Error> {
        let known = self.current(texts).await?;
        if let Some(whose) = self.whose(&known, endpoint).await? {
            return Ok((known, whose));
        }
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let known = self.current(texts).await?;
        // Groups come faster than they are read: it asks again.
        let whose = self.whose(&known, endpoint).await?.ok_or(Error::Busy)?;
        Ok((known, whose))
    }

    /// What a machine that comes for the first time must evaluate, where it is in no group. Blocks while the view is made.
    pub(super) fn newcomer(&self, known: &Known, now: Timestamp) -> Result<Newcomer, Error> {
        let whose = known.spoken.whose(Endpoint(UpdateId::new([0; 16])), &[UNASSIGNED]);
        Ok(Newcomer::of(&self.scope(known, &whose, &[], now)?.view))
    }

    /// What a request with these categories scans, none for all. Blocks while the view is made.
    pub(super) fn scope(
        &self,
        known: &Known,
        whose: &Whose,
        categories: &[UpdateId],
        now: Timestamp,
    ) -> Result<Scope, Error> {
        let clock = known.clock();
        // Where updates are detected by their age, what is detected is another set each day.
        let day = known.detection.days.map_or(0, |_| Day::from(now).number());
        let generation = Generation { catalog: clock, approvals: clock, day };
        let whole = self.views.get(whose, generation, |before| {
            let ordered = known.spoken.ordered(&known.graph, whose, &known.detection, now);
            View::new(&known.graph, &ordered, clock, before)
        });
        if categories.is_empty() {
            return Ok(Scope { view: whole, whole: None });
        }
        if categories.len() > CATEGORIES_MAX {
            let many = categories.len();
            return Err(Error::parameter("parameters.FilterCategoryIds", format!("{many} categories are too many")));
        }
        let mut sorted = categories.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let view = self.parts.get(&(whose.clone(), sorted.clone()), generation, |_| {
            // Their number was looked at.
            whole.only(&known.graph, &sorted).unwrap_or_default()
        });
        Ok(Scope { view, whole: Some(whole) })
    }
}
