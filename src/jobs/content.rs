//! What the content policy wants, counted: the plan. It is made after each run of the catalog, decision or change of the policy, kept
//! for whoever asks how the node stands, and made anew for whoever asks what another policy would want.
//!
//! The mode `all` waits for a person ([`crate::jobs::agreement`]). A rule that names no classification of the catalog is left out and
//! told; where it would have kept something out, nothing is brought by itself until it is mended ([`Plan::held_back`]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::base::time::Timestamp;
use crate::jobs::agreement::{Agreement, terms};
use crate::jobs::error::Error;
use crate::jobs::prefetch::mismatch::Mismatched;
use crate::jobs::{Jobs, Shared};
use crate::model::filter::Tree;
use crate::model::filter::known::DEFINITION_UPDATES;
use crate::model::policy::{Policy, Unresolved, Verdict, Wants, Why, Written};
use crate::model::update::{CategoryKind, UpdateId};
use crate::store::Space;
use crate::store::catalog::{Sift, Walk, WantedUpdate};

/// Classifications and products of a plan; a real catalog has 444 categories. Beyond it they are counted together.
const GROUPS_MAX: usize = 2_000;

/// What there is to say of what is wanted where there is no catalog.
pub const EMPTY_CATALOG: &str =
    "the catalog is empty, so that nobody knows what is wanted: begin with `waystation sync start`";

/// What to do where the store has no room for what is wanted: what stands in the way is the smaller of what it may take and of what the disk
/// has.
pub fn more_room(space: &Space) -> &'static str {
    let on_disk = space.used().saturating_add(space.disk_free.saturating_sub(space.min_free));
    if on_disk < space.max_size {
        "the disk is full but for store.min_free: make room there or lower that, or want less (`waystation plan`)"
    } else {
        "raise store.max_size, or want less (`waystation plan`)"
    }
}

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

    /// So much came since it was counted.
    pub fn come(&mut self, more: Sum) {
        self.held.files = self.held.files.saturating_add(more.files).min(self.wanted.files);
        self.held.bytes = self.held.bytes.saturating_add(more.bytes).min(self.wanted.bytes);
    }

    fn add(&mut self, bytes: u64, held: bool) {
        self.wanted.add(bytes);
        if held {
            self.held.add(bytes);
        }
    }
}

/// Updates that are not fetched whole, since endpoints read parts of their files: express, PSF and UUP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InParts {
    /// How many.
    pub updates: u64,
    /// Of these, those that a person approved.
    pub approved: u64,
}

/// Of so many updates that are left to endpoints the ids are told; a real catalog has hundreds of them within one site's filters.
pub const IN_PARTS_MAX: usize = 1_000;

/// How much a policy wants.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The policy.
    pub policy: Written,
    /// What somebody agrees to who confirms it, see [`crate::jobs::agreement`].
    pub terms: String,
    /// Rules that name no classification of the catalog, and why.
    pub left_out: Vec<Unresolved>,
    /// Whether there is a catalog yet: without one nobody knows what a rule means.
    pub has_catalog: bool,
    /// When it was counted.
    pub at: Timestamp,
    /// Updates of which files are wanted.
    pub updates: u64,
    /// Of these, those of which the catalog misses a part, so that not all files are known.
    pub incomplete: u64,
    /// Of these, those that came over plain HTTP: nothing proves who said them.
    pub unauthenticated: u64,
    /// Files that are left out since they are encrypted: what lies at their addresses is not what their digests are of.
    pub encrypted: u64,
    /// Files that are wanted now, came whole, and did not match what is published: no prefetch that begins by itself fetches them again.
    pub mismatched: Vec<Mismatched>,
    /// All files.
    pub all: Tally,
    /// Of these, what comes for no other reason than the mode `all`: what somebody agrees to, and what is held against the agreement.
    pub by_all: Sum,
    /// Of these, files of definition updates, which have a bandwidth class of their own.
    pub definitions: Tally,
    /// Updates that would be fetched whole, and of which only what endpoints ask for is.
    pub in_parts: InParts,
    /// The first of these.
    pub in_parts_ids: Vec<UpdateId>,
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

impl Plan {
    /// The rule for which nothing is brought by itself: it is left out, and would keep out what comes without it.
    pub fn held_back(&self) -> Option<&Unresolved> {
        self.left_out.iter().find(|wrong| wrong.keeps_out).filter(|_| self.has_catalog)
    }
}

/// What this room remembers of plans.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Planned {
    last: Mutex<Option<Arc<Plan>>>,
    /// Rises with everything that can change what is wanted.
    revision: watch::Sender<u64>,
    /// Held while a plan is made: two would read the same.
    counting: tokio::sync::Mutex<()>,
    /// Held while an agreement is written down or forgotten.
    pub(in crate::jobs) agreeing: tokio::sync::Mutex<()>,
    /// What a prefetch has brought since the last plan was counted.
    came: Mutex<Sum>,
    /// Rules that were left out when the log was told last.
    told: Mutex<Vec<String>>,
}

impl Planned {
    fn last(&self) -> MutexGuard<'_, Option<Arc<Plan>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A prefetch has brought a file of this size.
    pub(in crate::jobs) fn came(&self, bytes: u64) {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
    }

    /// What it has brought since the last plan was counted.
    fn came_since(&self) -> Sum {
        *self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came before a plan was counted is held in it. What came meanwhile may be told twice until the next one.
    fn is_counted(&self, before: Sum) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.files = came.files.saturating_sub(before.files);
        came.bytes = came.bytes.saturating_sub(before.bytes);
    }

    pub(in crate::jobs) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    pub(in crate::jobs) fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

/// Sums under way.
#[derive(Default)]
struct Count {
    updates: u64,
    incomplete: u64,
    unauthenticated: u64,
    encrypted: u64,
    mismatched: Vec<Mismatched>,
    all: Tally,
    by_all: Sum,
    definitions: Tally,
    in_parts: InParts,
    in_parts_ids: Vec<UpdateId>,
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
            self.unauthenticated += u64::from(update.unauthenticated);
        }
        self.encrypted += update.encrypted;
        if matches!(update.verdict.why, Why::Parts | Why::ApprovedParts) {
            self.in_parts.updates += 1;
            if self.in_parts_ids.len() < IN_PARTS_MAX {
                self.in_parts_ids.push(update.identity.id);
            }
            self.in_parts.approved += u64::from(update.verdict.why == Why::ApprovedParts);
        }
        let (class, product) = (of(CategoryKind::Classification), of(CategoryKind::Product));
        let are_definitions = update.categories.contains(&DEFINITION_UPDATES);
        for file in &update.files {
            self.all.add(file.file.size, file.held);
            if update.verdict.why == Why::All {
                self.by_all.add(file.file.size);
            }
            if are_definitions {
                self.definitions.add(file.file.size, file.held);
            }
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

/// A policy in the words of the catalog.
struct Sifted {
    sift: Sift,
    left_out: Vec<Unresolved>,
    terms: String,
}

impl Shared {
    async fn sifted(&self, policy: &Written, confirmed: bool) -> Result<Sifted, Error> {
        let tree = self.store.catalog().tree().await?;
        let (mut in_force, left_out) = policy.in_force(&tree);
        in_force.confirmed = confirmed;
        let (wanted, filters) = self.sync()?.filters().await?.unzip();
        let terms = terms(policy, filters.as_ref())?;
        let languages = filters.map(|filters| filters.languages).unwrap_or_default();
        let sift = Sift { policy: in_force, filters: wanted, languages, drawn: self.drawing.let_in() };
        Ok(Sifted { sift, left_out, terms })
    }

    /// What is wanted by `policy`, as a walk takes it; and the rules that were left out.
    pub(in crate::jobs) async fn sift(
        &self,
        policy: &Written,
        confirmed: bool,
    ) -> Result<(Sift, Vec<Unresolved>), Error> {
        let Sifted { sift, left_out, .. } = self.sifted(policy, confirmed).await?;
        Ok((sift, left_out))
    }

    /// What is wanted by the policy that is set. Whether `all` is in force is as the last plan found it: whoever agreed did so to the
    /// policy of that plan.
    pub(in crate::jobs) async fn sift_in_force(&self) -> Result<(Sift, Vec<Unresolved>), Error> {
        let policy = self.config.content.0();
        let last = self.planned.last().clone();
        let confirmed = last.is_some_and(|plan| plan.agreement.is_given() && plan.policy.means(&policy));
        self.sift(&policy, confirmed).await
    }

    async fn count(&self, sift: Sift) -> Result<Count, Error> {
        let (catalog, upstream) = (self.store.catalog(), self.sync()?.upstream());
        let tree = catalog.tree().await?;
        let (sift, mut walk, mut count) = (Arc::new(sift), Walk::default(), Count::default());
        while !walk.is_ended() {
            let (next, found) = catalog.wanted_step(Arc::clone(&sift), walk).await?;
            for update in &found {
                count.add(update, &tree);
                let missing = update.files.iter().filter(|file| !file.held);
                count.mismatched.extend(missing.filter_map(|file| self.steering.mismatches.known(file, upstream)));
            }
            walk = next;
        }
        Ok(count)
    }

    /// What a policy wants, counted now.
    pub(in crate::jobs) async fn plan(&self, policy: Written) -> Result<Plan, Error> {
        // What endpoints asked for a moment ago counts too. Where nothing can be written, the plan is none the worse.
        if let Err(error) = self.store.catalog().keep_asked().await {
            tracing::debug!(%error, "what endpoints asked for is not kept");
        }
        let _counting = self.planned.counting.lock().await;
        let Sifted { sift, left_out, terms } = self.sifted(&policy, true).await?;
        let count = self.count(sift.clone()).await?;
        let has_catalog = self.store.catalog().standing().await?.updates > 0;
        // Without a catalog nobody knows yet which rules will be left out.
        let has_all = if has_catalog { policy.has_all_but(&left_out) } else { policy.has_all() };
        let agreement = self.agreement(has_all, &terms, count.by_all).await?;
        let (now, mismatched) = if agreement.is_awaited() {
            let unconfirmed = Policy { confirmed: false, ..sift.policy };
            let now = self.count(Sift { policy: unconfirmed, ..sift }).await?;
            (now.all, now.mismatched)
        } else {
            (count.all, count.mismatched)
        };
        let tree = self.store.catalog().tree().await?;
        Ok(Plan {
            policy,
            terms,
            left_out,
            has_catalog,
            at: self.clock.now(),
            updates: count.updates,
            incomplete: count.incomplete,
            unauthenticated: count.unauthenticated,
            encrypted: count.encrypted,
            mismatched,
            all: count.all,
            by_all: count.by_all,
            definitions: count.definitions,
            in_parts: count.in_parts,
            in_parts_ids: count.in_parts_ids,
            by_classification: Count::named(count.classes, &tree),
            by_product: Count::named(count.products, &tree),
            agreement,
            now,
            space: self.store.space().await?,
        })
    }

    /// The plan of the policy that is set, counted now and remembered.
    pub(in crate::jobs) async fn plan_anew(&self) -> Result<Arc<Plan>, Error> {
        let before = self.planned.came_since();
        let plan = Arc::new(self.plan(self.config.content.0()).await?);
        if plan.agreement == Agreement::NotNeeded {
            self.forget_agreement().await;
        }
        self.tell_left_out(&plan);
        *self.planned.last() = Some(Arc::clone(&plan));
        self.planned.is_counted(before);
        Ok(plan)
    }

    /// Tells the log of rules that are left out, once for each change.
    fn tell_left_out(&self, plan: &Plan) {
        if !plan.has_catalog {
            return;
        }
        let now: Vec<String> = plan.left_out.iter().map(ToString::to_string).collect();
        let before = {
            let mut told = self.planned.told.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, now.clone())
        };
        for (wrong, text) in plan.left_out.iter().zip(now) {
            if before.contains(&text) {
                continue;
            }
            if wrong.keeps_out {
                tracing::warn!(
                    rule = %wrong.rule,
                    why = %wrong.error,
                    "a rule of content.rules is left out, and would keep out what comes without it: nothing is fetched ahead by itself \
                     until it is corrected"
                );
            } else {
                tracing::warn!(rule = %wrong.rule, why = %wrong.error, "a rule of content.rules is left out");
            }
        }
    }

    /// What is wanted may be something else now, by what happens without a person.
    pub(in crate::jobs) fn content_changed(&self) {
        self.planned.revision.send_modify(|revision| *revision += 1);
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
            Some(policy) if !policy.means(&self.content_policy()) => Ok(Arc::new(self.shared.plan(policy).await?)),
            _ => self.shared.plan_anew().await,
        }
    }

    /// The plan that was made last; `None` before the first one.
    pub fn last_plan(&self) -> Option<Arc<Plan>> {
        self.shared.planned.last().clone()
    }

    /// What a prefetch has brought since the last plan was counted.
    pub fn came_since(&self) -> Sum {
        self.shared.planned.came_since()
    }

    /// Says that a person has changed what is wanted: a decision was made, the policy or the filters were changed. The next prefetch
    /// begins soon after, also where somebody had stopped it, and one that is under way goes by it.
    pub fn content_changed(&self) {
        self.shared.steering.let_go();
        self.shared.content_changed();
    }

    /// Says that the authority of the chain may have changed what is wanted. What somebody stopped here stays stopped.
    pub fn decided_above(&self) {
        self.shared.content_changed();
    }

    /// What the policy that is set makes of the revisions with these numbers, in their order; `None` where one cannot be approved by
    /// itself, and for all of them where this node has no catalog of its own.
    pub async fn verdicts(&self, numbers: &[u32]) -> Result<Vec<Option<Verdict>>, Error> {
        if self.shared.sync().is_err() {
            return Ok(vec![None; numbers.len()]);
        }
        let (sift, _) = self.shared.sift_in_force().await?;
        let (sift, catalog) = (Arc::new(sift), self.shared.store.catalog());
        let mut verdicts = Vec::with_capacity(numbers.len());
        for number in numbers {
            verdicts.push(catalog.judge(Arc::clone(&sift), *number).await?);
        }
        Ok(verdicts)
    }

    /// The same of one.
    pub async fn verdict(&self, number: u32) -> Result<Option<Verdict>, Error> {
        Ok(self.verdicts(&[number]).await?.pop().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_is_held_and_no_more_than_is_wanted() {
        let wanted = Sum { files: 5, bytes: 500 };
        let mut tally = Tally { wanted, held: Sum { files: 2, bytes: 100 } };
        tally.come(Sum { files: 2, bytes: 150 });
        assert_eq!(tally.missing(), Sum { files: 1, bytes: 250 });
        tally.come(Sum { files: 9, bytes: 900 });
        assert_eq!((tally.held, tally.missing()), (wanted, Sum::default()));
        let planned = Planned::default();
        planned.came(7);
        let before = planned.came_since();
        planned.came(9);
        planned.is_counted(before);
        assert_eq!(planned.came_since(), Sum { files: 1, bytes: 9 }, "what came while it was counted");
    }

    #[test]
    fn room_is_made_where_it_is_missing() {
        let space =
            |max_size, disk_free, min_free| Space { payloads: 10, max_size, disk_free, min_free, ..Space::default() };
        assert!(more_room(&space(100, 500, 50)).contains("raise store.max_size"));
        for full in [space(100, 500, 450), space(100, 20, 450), space(u64::MAX, 500, 0)] {
            let told = more_room(&full);
            assert!(told.contains("store.min_free") && !told.contains("max_size"), "{told}");
        }
    }
}
