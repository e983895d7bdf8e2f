//! What the content policy wants, counted: the plan. It is made after each run of the catalog, decision or change of the policy, kept
//! for whoever asks how the node stands, and made anew for whoever asks what another policy would want.
//!
//! The mode `all` waits for a person: [`Jobs::confirm_plan`] writes down how much it was that he agreed to. Where that grows far beyond
//! it (see `model::policy::outgrows`), it waits again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::base::time::Timestamp;
use crate::jobs::error::Error;
use crate::jobs::{Jobs, Shared};
use crate::model::filter::Tree;
use crate::model::policy::{Verdict, Wants, Written, outgrows};
use crate::model::update::{CategoryKind, UpdateId};
use crate::store::Space;
use crate::store::catalog::{Sift, Walk, WantedUpdate};

/// The document in which the confirmation stands.
const CONFIRMED: &str = "content.confirmed";

/// Classifications and products of a plan; a real catalog has 444 categories. Beyond it they are counted together.
const GROUPS_MAX: usize = 2_000;

/// The content policy as it is set when somebody asks.
#[derive(Clone)]
pub struct Content(pub Arc<dyn Fn() -> Written + Send + Sync>);

impl Default for Content {
    fn default() -> Self {
        Self(Arc::new(Written::default))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&(self.0)()).finish()
    }
}

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Files, each content once.
    pub files: u64,
    /// Their bytes, as published.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What is wanted, and how much of it is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of it.
    pub wanted: Sum,
    /// What is held of it.
    pub held: Sum,
}

impl Tally {
    /// What is not held.
    pub fn missing(&self) -> Sum {
        Sum { files: self.wanted.files - self.held.files, bytes: self.wanted.bytes.saturating_sub(self.held.bytes) }
    }

    fn add(&mut self, bytes: u64, held: bool) {
        self.wanted.add(bytes);
        if held {
            self.held.add(bytes);
        }
    }
}

/// What a person agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// How much it was.
    pub sum: Sum,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Whether the mode `all` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The policy has no `all` in it.
    NotNeeded,
    /// It was confirmed.
    Given(Confirmed),
    /// Nobody has confirmed it.
    Missing,
    /// It was, but it has grown far beyond that.
    Outgrown(Confirmed),
}

impl Agreement {
    /// Whether `all` is in force.
    pub fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// Whether somebody is waited for.
    pub fn is_awaited(&self) -> bool {
        matches!(self, Self::Missing | Self::Outgrown(_))
    }
}

/// How much a policy wants.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The policy.
    pub policy: Written,
    /// Rules that name no classification of the catalog, and why.
    pub left_out: Vec<String>,
    /// When it was counted.
    pub at: Timestamp,
    /// Updates of which files are wanted.
    pub updates: u64,
    /// Of these, those of which the catalog misses a part, so that not all files are known.
    pub incomplete: u64,
    /// All files.
    pub all: Tally,
    /// By classification, the largest first.
    pub by_classification: Vec<(String, Tally)>,
    /// By product, the largest first; a file is counted once, under the first product of the first update that wants it.
    pub by_product: Vec<(String, Tally)>,
    /// Whether `all` is in force. Where it waits, the sums are those that it will have.
    pub agreement: Agreement,
    /// What is wanted now: less, where `all` waits.
    pub now: Tally,
    /// What is used and free.
    pub space: Space,
}

/// What this room remembers of plans.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Planned {
    last: Mutex<Option<Arc<Plan>>>,
    /// Rises with everything that can change what is wanted.
    revision: AtomicU64,
    /// Told then.
    pub(in crate::jobs) changed: Notify,
    /// Held while a plan is made: two would read the same.
    counting: tokio::sync::Mutex<()>,
}

impl Planned {
    fn last(&self) -> MutexGuard<'_, Option<Arc<Plan>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::jobs) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }
}

/// Sums under way.
#[derive(Default)]
struct Count {
    updates: u64,
    incomplete: u64,
    all: Tally,
    classes: BTreeMap<Option<UpdateId>, Tally>,
    products: BTreeMap<Option<UpdateId>, Tally>,
}

impl Count {
    fn add(&mut self, update: &WantedUpdate, tree: &Tree) {
        let of = |kind: CategoryKind| {
            let is = |id: &UpdateId| tree.get(*id).is_some_and(|category| category.kind == kind);
            update.categories.iter().copied().find(is)
        };
        // Of the others nothing is wanted as yet.
        if update.verdict.wants == Wants::Everything || !update.files.is_empty() {
            self.updates += 1;
            self.incomplete += u64::from(update.missing > 0);
        }
        let (class, product) = (of(CategoryKind::Classification), of(CategoryKind::Product));
        for file in &update.files {
            self.all.add(file.file.size, file.held);
            for (groups, id) in [(&mut self.classes, class), (&mut self.products, product)] {
                let id = id.filter(|id| groups.len() < GROUPS_MAX || groups.contains_key(&Some(*id)));
                groups.entry(id).or_default().add(file.file.size, file.held);
            }
        }
    }

    fn named(groups: BTreeMap<Option<UpdateId>, Tally>, tree: &Tree) -> Vec<(String, Tally)> {
        let name = |id: Option<UpdateId>| id.map_or_else(|| "(others)".to_owned(), |id| tree.name(id));
        let mut named: Vec<(String, Tally)> = groups.into_iter().map(|(id, tally)| (name(id), tally)).collect();
        named.sort_by(|(a, one), (b, two)| two.wanted.bytes.cmp(&one.wanted.bytes).then_with(|| a.cmp(b)));
        named
    }
}

impl Shared {
    /// What is wanted by `policy`, as a walk takes it; and the rules that were left out.
    pub(in crate::jobs) async fn sift(&self, policy: &Written, confirmed: bool) -> Result<(Sift, Vec<String>), Error> {
        let tree = self.store.catalog().tree().await?;
        let (mut policy, wrong) = policy.in_force(&tree);
        policy.confirmed = confirmed;
        let (filters, languages) = match self.sync()?.filters().await? {
            Some((wanted, filters)) => (Some(wanted), filters.languages),
            None => (None, BTreeSet::new()),
        };
        Ok((Sift { policy, filters, languages }, wrong.iter().map(ToString::to_string).collect()))
    }

    async fn count(&self, policy: &Written, confirmed: bool) -> Result<(Count, Vec<String>), Error> {
        let catalog = self.store.catalog();
        let tree = catalog.tree().await?;
        let (sift, left_out) = self.sift(policy, confirmed).await?;
        let (sift, mut walk, mut count) = (Arc::new(sift), Walk::default(), Count::default());
        while !walk.is_ended() {
            let (next, found) = catalog.wanted_step(Arc::clone(&sift), walk).await?;
            for update in &found {
                count.add(update, &tree);
            }
            walk = next;
        }
        Ok((count, left_out))
    }

    /// What a policy wants, counted now.
    pub(in crate::jobs) async fn plan(&self, policy: Written) -> Result<Plan, Error> {
        // What endpoints asked for a moment ago counts too. Where nothing can be written, the plan is none the worse.
        if let Err(error) = self.store.catalog().keep_asked().await {
            tracing::debug!(%error, "what endpoints asked for is not kept");
        }
        let _counting = self.planned.counting.lock().await;
        let (count, left_out) = self.count(&policy, true).await?;
        let agreement = self.agreement(&policy, count.all.wanted).await?;
        let now = if agreement.is_awaited() { self.count(&policy, false).await?.0.all } else { count.all };
        let tree = self.store.catalog().tree().await?;
        Ok(Plan {
            policy,
            left_out,
            at: self.clock.now(),
            updates: count.updates,
            incomplete: count.incomplete,
            all: count.all,
            by_classification: Count::named(count.classes, &tree),
            by_product: Count::named(count.products, &tree),
            agreement,
            now,
            space: self.store.space().await?,
        })
    }

    async fn agreement(&self, policy: &Written, now: Sum) -> Result<Agreement, Error> {
        if !policy.has_all() {
            return Ok(Agreement::NotNeeded);
        }
        Ok(match self.confirmed().await? {
            None => Agreement::Missing,
            Some(confirmed) if outgrows(confirmed.sum.bytes, now.bytes) => Agreement::Outgrown(confirmed),
            Some(confirmed) => Agreement::Given(confirmed),
        })
    }

    async fn confirmed(&self) -> Result<Option<Confirmed>, Error> {
        let record = self.store.document(CONFIRMED).await?;
        // One that cannot be read is none: it is asked again.
        Ok(record.and_then(|record| serde_json::from_slice(&record).ok()))
    }

    /// The plan of the policy that is set, counted now and remembered.
    pub(in crate::jobs) async fn plan_anew(&self) -> Result<Arc<Plan>, Error> {
        let plan = Arc::new(self.plan(self.config.content.0()).await?);
        *self.planned.last() = Some(Arc::clone(&plan));
        Ok(plan)
    }

    /// What is wanted may be something else now.
    pub(in crate::jobs) fn content_changed(&self) {
        self.planned.revision.fetch_add(1, Ordering::AcqRel);
        self.planned.changed.notify_one();
    }
}

impl Jobs {
    /// The content policy that is set.
    pub fn content_policy(&self) -> Written {
        self.shared.config.content.0()
    }

    /// What the policy that is set wants, or what another one would.
    pub async fn plan(&self, other: Option<Written>) -> Result<Arc<Plan>, Error> {
        self.shared.sync()?;
        match other {
            Some(policy) if policy != self.content_policy() => Ok(Arc::new(self.shared.plan(policy).await?)),
            _ => self.shared.plan_anew().await,
        }
    }

    /// The plan that was made last; `None` before the first one.
    pub fn last_plan(&self) -> Option<Arc<Plan>> {
        self.shared.planned.last().clone()
    }

    /// Agrees to what the policy that is set wants now, so that the mode `all` holds. Refused where it has no `all`.
    pub async fn confirm_plan(&self, by: &str) -> Result<Arc<Plan>, Error> {
        let plan = self.plan(None).await?;
        if plan.agreement == Agreement::NotNeeded {
            let what = "there is nothing to confirm: content.policy is not \"all\", and no rule of content.rules is";
            let next = "set [content] policy = \"all\", or a rule such as \"Definition Updates: all\", and look with `waystation plan`";
            return Err(Error::Unset { what, next });
        }
        let confirmed = Confirmed { sum: plan.all.wanted, by: by.to_owned(), at: self.shared.clock.now() };
        let record = serde_json::to_vec(&confirmed).map_err(|error| Error::Broken(error.to_string()))?;
        self.shared.store.set_document(CONFIRMED, Some(record)).await?;
        tracing::info!(by, files = confirmed.sum.files, bytes = confirmed.sum.bytes, "the content policy is confirmed");
        let plan = self.plan(None).await?;
        self.content_changed();
        Ok(plan)
    }

    /// Says that what is wanted may be something else now: a decision was made, the policy was changed, a run has ended. The next
    /// prefetch begins soon after, and one that is under way starts over.
    pub fn content_changed(&self) {
        self.shared.content_changed();
    }

    /// What the policy that is set makes of the revision with this number; `None` where that cannot be approved by itself, or this
    /// node has no catalog of its own.
    pub async fn verdict(&self, number: u32) -> Result<Option<Verdict>, Error> {
        if self.shared.sync().is_err() {
            return Ok(None);
        }
        let confirmed = self.last_plan().is_some_and(|plan| plan.agreement.is_given());
        let (sift, _) = self.shared.sift(&self.content_policy(), confirmed).await?;
        Ok(self.shared.store.catalog().judge(Arc::new(sift), number).await?)
    }
}
