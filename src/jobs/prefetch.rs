//! The prefetch: files that the content policy wants are brought before an endpoint asks, in the bandwidth class for that; those of
//! definition updates in theirs.
//!
//! 1. It begins after a run of the catalog, a decision, a change of the policy, at the start of the node, and when somebody says so; not
//!    where nothing is missing, and not by itself while somebody holds it ([`steer`]).
//! 2. What is wanted is walked, some files are brought at a time, and what is held is left alone: so it goes on after a restart where it
//!    was ([`bring`]).
//! 3. What has no room beside what else is wanted is left out and told: a store that is too small must not give up one file for the next.
//!    What is wanted and held counts as used, so that what nobody wants is given up before it ([`keep`]).
//! 4. Where what is wanted changes meanwhile, the walk looks at that and goes on behind where it is, and begins again at its end: fifty
//!    decisions one by one are one walk more, and what lies behind them comes all the same. What has begun is brought to its end; what
//!    waited for a place of its class only is judged anew.
//! 5. What failed and may go better later is tried again after a rest that doubles, beside what is under way ([`lane`]). What then still fails
//!    stands in the job's lines with the reason, and is tried again some hours later; what did not match what is published is not, but
//!    for a cause of its own ([`mismatch`]).
//!
//! Its sums are those of the whole job, over all its walks.

mod bring;
mod keep;
mod lane;
pub mod mismatch;
mod one;
mod room;
pub mod steer;

use std::sync::Arc;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::jobs::board::{Progress, Record, State};
use crate::jobs::error::Error;
use crate::jobs::prefetch::bring::Bringing;
use crate::jobs::prefetch::keep::keep;
use crate::jobs::prefetch::steer::Stopped;
use crate::jobs::work::Kind;
use crate::jobs::{Jobs, Shared};
use crate::model::filter::known::DEFINITION_UPDATES;
use crate::model::policy::Unresolved;
use crate::pace::Class;
use crate::store::catalog::{Sift, Walk, WantedUpdate};

/// How the prefetch stands.
#[derive(Clone, Debug)]
pub struct Prefetching {
    /// The job that is under way.
    pub running: Option<u64>,
    /// Why nothing of it moves, where nothing does.
    pub waits: Option<String>,
    /// How long it will take at the rate of now, where bytes come.
    pub left: Option<Duration>,
    /// The last one that ended, if it is still known.
    pub last: Option<u64>,
    /// What came of that, where not all that it was to bring came.
    pub undone: Option<String>,
    /// When the next one begins by itself, since the last one left something undone.
    pub next: Option<Timestamp>,
    /// Who stopped it: none begins by itself until it is let go of.
    pub stopped: Option<Stopped>,
}

impl Jobs {
    /// How the prefetch stands.
    pub fn prefetching(&self) -> Prefetching {
        let all = self.shared.board.all();
        let mut own = all.iter().filter(|record| record.kind() == Kind::Prefetch);
        let running = own.clone().find(|record| record.is_running());
        let seen = running.map(|record| self.seen(record).progress);
        let left = seen.as_ref().and_then(Progress::left);
        let waits = seen.and_then(|seen| seen.waits);
        let last = own.find(|record| !record.is_running()).map(|record| record.view(false));
        let undone = last.as_ref().filter(|last| last.state == State::Failed).and_then(|last| last.result.clone());
        let (running, last) = (running.map(|record| record.id()), last.map(|last| last.id));
        let (stopped, next) = (self.shared.steering.stopped(), self.shared.steering.next());
        let next = next.filter(|_| stopped.is_none());
        Prefetching { running, waits, left, last, undone, next, stopped }
    }

    /// Whether the last prefetch that ended left something undone.
    pub(in crate::jobs) fn is_undone(&self) -> bool {
        let all = self.shared.board.all();
        let last = all.iter().find(|record| record.kind() == Kind::Prefetch && !record.is_running());
        last.is_some_and(|last| last.state() == State::Failed)
    }

    /// Asks the prefetch that is under way to stop, for `by`; gives its job, if there is one. None begins by itself until somebody starts
    /// one, decides something or changes the content policy or the filters.
    pub fn stop_prefetch(&self, by: &str) -> Result<Option<u64>, Error> {
        self.shared.steering.hold(by, self.shared.clock.now());
        let running = self.prefetching().running;
        if let Some(job) = running {
            self.stop(job, by)?;
        }
        Ok(running)
    }
}

pub(in crate::jobs) async fn run(shared: &Arc<Shared>, record: &Arc<Record>) -> Result<String, Error> {
    shared.fill()?;
    let mut work = Bringing::new(shared, record)?;
    loop {
        walk(shared, &mut work).await?;
        if !work.again().await? {
            break;
        }
        tracing::debug!(job = record.id(), "what is wanted has changed: the prefetch walks again");
    }
    // What is held now is told by whoever asks how the node stands.
    let plan = shared.plan_anew().await?;
    work.told(&plan)
}

/// Steps 2 to 4: until a walk over all that is wanted went through without a change.
async fn walk(shared: &Shared, work: &mut Bringing<'_>) -> Result<(), Error> {
    loop {
        let plan = work.begin_walk().await?;
        let mut sift = Arc::new(may_go_on(work, shared.sift(&plan.policy, plan.agreement.is_given()).await?)?);
        keep(shared, &plan, (&sift, work.revision()), work.cancel()).await?;
        if plan.definitions.missing().files > 0 {
            definitions(shared, work, &sift).await?;
        }
        let (mut walk, mut is_the_last) = (Walk::default(), true);
        while !walk.is_ended() {
            let (next, found) = shared.store.catalog().wanted_step(Arc::clone(&sift), walk).await?;
            walk = next;
            meet(work, found).await?;
            if !work.has_changed() {
                keep(shared, &plan, (&sift, work.revision()), work.cancel()).await?;
            }
            if work.has_changed() {
                is_the_last = false;
                work.look_up();
                sift = Arc::new(may_go_on(work, sift_anew(shared).await?)?);
                walk.refresh();
                definitions(shared, work, &sift).await?;
            }
        }
        if is_the_last && !work.has_changed() {
            work.end_walk();
            return Ok(());
        }
    }
}

/// Brings what is not held of these updates, until what is wanted changes.
async fn meet(work: &mut Bringing<'_>, found: Vec<WantedUpdate>) -> Result<(), Error> {
    for update in found {
        let are_definitions = update.categories.contains(&DEFINITION_UPDATES);
        let class = if are_definitions { Class::Definitions } else { Class::Prefetch };
        for file in update.files.into_iter().filter(|file| !file.held) {
            if work.has_changed() {
                return Ok(());
            }
            work.meet(file, class).await?;
        }
    }
    Ok(())
}

/// A walk over definition updates alone. They have a bandwidth class of their own, so that nothing may stand before them.
async fn definitions(shared: &Shared, work: &mut Bringing<'_>, sift: &Sift) -> Result<(), Error> {
    let own = Arc::new(Sift { policy: sift.policy.only(DEFINITION_UPDATES), ..sift.clone() });
    let mut walk = Walk::default();
    while !walk.is_ended() && !work.has_changed() {
        let (next, found) = shared.store.catalog().wanted_step(Arc::clone(&own), walk).await?;
        walk = next;
        meet(work, found).await?;
    }
    Ok(())
}

fn may_go_on(work: &Bringing<'_>, (sift, left_out): (Sift, Vec<Unresolved>)) -> Result<Sift, Error> {
    work.may_go_on(&left_out)?;
    Ok(sift)
}

/// What is wanted by now. It is counted anew only where that says whether `all` is in force.
async fn sift_anew(shared: &Shared) -> Result<(Sift, Vec<Unresolved>), Error> {
    let policy = shared.config.content.0();
    if !policy.has_all() {
        return shared.sift(&policy, false).await;
    }
    let plan = shared.plan_anew().await?;
    shared.sift(&plan.policy, plan.agreement.is_given()).await
}
