//! The catalog as scans see it: the graph of all updates and what people decided of them, and the views made of both.
//!
//! 1. It is read when the first agent asks, on a thread that may block, by one at a time; who leaves does not stop it.
//! 2. Each request asks the store whether anything changed since, which is one look-up; then the graph follows the change log, in a
//!    copy, while others scan what was there before.
//! 3. While a run commits one batch after the other it follows a fifth of the time at most.
//! 4. A view is made once for each set of categories and each state, on a thread that may block.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::base::time::Timestamp;
use crate::fleet::graph::Graph;
use crate::fleet::load;
use crate::fleet::order::{self, Ordered, Terms};
use crate::fleet::scan::CATEGORIES_MAX;
use crate::fleet::view::View;
use crate::fleet::views::{Generation, Views};
use crate::model::deployment::detection::Detection;
use crate::model::deployment::inherit::{Asked, Words};
use crate::model::deployment::{Action, Approval, Said, Target};
use crate::model::group::Groups;
use crate::model::policy::{Decision, Group, Word};
use crate::model::update::UpdateId;
use crate::serve::client::error::Error;
use crate::serve::client::texts::Texts;
use crate::store::catalog::Catalog;

/// Decisions that are asked for at a time, and lines of the change log that are read at a time.
const STEP: usize = 5_000;

/// After following it took so long, it is not followed again for so many times that.
const REST: u32 = 4;

/// A state of the catalog.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// All updates.
    pub(super) graph: Graph,
    words: BTreeMap<UpdateId, Words>,
}

impl Known {
    /// The logical clock up to which it is complete.
    pub(super) fn clock(&self) -> u64 {
        self.graph.clock()
    }

    /// What is ordered for all endpoints. What was withdrawn is not, whatever was said of it before.
    fn ordered(&self, detection: &Detection, now: Timestamp) -> Vec<Ordered> {
        let tree = Groups::default();
        let groups = [Group::ALL_ENDPOINTS];
        let asked = Asked { endpoint: None, groups: &groups, tree: &tree, review: false };
        // Nobody can accept a licence yet: what needs one is detected.
        let accepted = BTreeMap::new();
        let terms = Terms { words: &self.words, asked, detection, accepted: &accepted, now };
        let expired: HashSet<UpdateId> =
            self.graph.deployable().filter(|found| found.expired).map(|found| found.identity.id).collect();
        let mut ordered = order::ordered(&self.graph, terms);
        ordered.retain(|order| !expired.contains(&order.update));
        ordered
    }
}

/// What somebody decided for all endpoints, as a word of the tree of groups; `at` by the logical clock.
fn words(update: UpdateId, decision: Decision, at: Timestamp) -> Words {
    match decision.word {
        Word::Declined => Words { declined: Some(at), ..Words::default() },
        Word::Approved => {
            let target = Target::Group(Group::ALL_ENDPOINTS);
            let said = Said::Do { action: Action::Install, deadline: None };
            let approval = Approval { update, target, said, by: decision.by, at };
            Words { approvals: BTreeMap::from([(target, approval)]), ..Words::default() }
        }
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
    detection: Detection,
    now: ArcSwapOption<Known>,
    /// Who has it reads the catalog.
    turn: Arc<Semaphore>,
    /// Not followed again before.
    rests_until: Mutex<Option<Instant>>,
    /// By the categories of a scan, sorted; none for all.
    views: Views<Vec<UpdateId>>,
}

impl Catalogs {
    pub(super) fn new(catalog: Catalog, detection: Detection) -> Self {
        Self {
            catalog,
            detection,
            now: ArcSwapOption::empty(),
            turn: Arc::new(Semaphore::new(1)),
            rests_until: Mutex::default(),
            views: Views::default(),
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
            if load::follow(&self.catalog, &mut known.graph).await? && self.decided(&mut known, from, texts).await? {
                return Ok(known);
            }
            tracing::info!("the change log does not reach back to what scans know of the catalog: it is read anew");
        }
        texts.forget_all();
        let graph = load::load(&self.catalog).await?;
        let mut known = Known { graph, words: BTreeMap::new() };
        // Those of before decisions were logged are found by their updates.
        let ids: Vec<UpdateId> = known.graph.deployable().map(|found| found.identity.id).collect();
        self.take(&mut known, &ids.into_iter().map(|id| (id, 0)).collect::<Vec<_>>()).await?;
        self.decided(&mut known, 0, texts).await?;
        tracing::info!(
            revisions = known.graph.len(),
            bytes = known.graph.bytes(),
            decisions = known.words.len(),
            "the catalog is in memory for scans"
        );
        Ok(known)
    }

    /// Takes in what people decided from a clock on, and forgets texts of what changed. Says whether the log reaches back so far.
    async fn decided(&self, known: &mut Known, from: u64, texts: &Texts) -> Result<bool, Error> {
        let mut after = (from, u32::MAX);
        if from == 0 {
            after = (0, 0);
        }
        loop {
            let page = self.catalog.changes(after.0, after.1, STEP).await?;
            if from != 0 && page.floor > from {
                return Ok(false);
            }
            for change in &page.changes {
                texts.forget(change.number);
            }
            let told = page.decisions.iter().filter(|decided| decided.group == Group::ALL_ENDPOINTS);
            let told: Vec<(UpdateId, u64)> = told.map(|decided| (decided.id, decided.at)).collect();
            self.take(known, &told).await?;
            if !page.more {
                return Ok(true);
            }
            after = page.next;
        }
    }

    /// Asks what was decided of these, and puts it in; the times are those of the log.
    async fn take(&self, known: &mut Known, told: &[(UpdateId, u64)]) -> Result<(), Error> {
        for step in told.chunks(STEP) {
            let ids = step.iter().map(|(id, _)| *id).collect();
            let decisions = self.catalog.decisions(ids).await?;
            for ((id, at), decision) in step.iter().zip(decisions) {
                match decision {
                    Some(decision) => {
                        let at = decision.at.max(Timestamp::from_ms(*at));
                        known.words.insert(*id, words(*id, decision, at));
                    }
                    None => drop(known.words.remove(id)),
                }
            }
        }
        Ok(())
    }

    /// What a request with these categories scans, none for all. Blocks while the view is made.
    pub(super) fn scope(&self, known: &Known, categories: &[UpdateId], now: Timestamp) -> Result<Scope, Error> {
        let clock = known.clock();
        let generation = Generation { catalog: clock, approvals: clock, day: 0 };
        let whole = self.views.get(&Vec::new(), generation, |before| {
            View::new(&known.graph, &known.ordered(&self.detection, now), clock, before)
        });
        if categories.is_empty() {
            return Ok(Scope { view: whole, whole: None });
        }
        if categories.len() > CATEGORIES_MAX {
            let many = categories.len();
            return Err(Error::parameter("parameters.FilterCategoryIds", format!("{many} categories are too many")));
        }
        let mut key = categories.to_vec();
        key.sort_unstable();
        key.dedup();
        let view = self.views.get(&key, generation, |_| {
            // Their number was looked at.
            whole.only(&known.graph, &key).unwrap_or_default()
        });
        Ok(Scope { view, whole: Some(whole) })
    }
}
