//! What is brought since endpoints miss it: updates at least so severe, within the filters and what the node detects, that established
//! endpoints reported as missing.
//!
//! 1. Every few minutes, and when what is wanted changed, it is looked at which updates established endpoints miss ([`look`]). One is
//!    established where it was first seen so many days ago and is served: what turns up in order to make the node fetch has to wait.
//! 2. The content policy says of each whether it may come for this reason: not what somebody declined, what the filters do not find, or
//!    a classification for which nothing is fetched. What comes anyway is none of this.
//! 3. A ledger says which of them come now, wait for the budget of a day, or for a person (`model::drawn`). It is kept before anything
//!    comes of it, so that a restart gives no second budget.
//! 4. What was let in is wanted from then on, and the prefetch brings it as all else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::fleet::compliance::Compliance;
use crate::fleet::compliance::board::Board;
use crate::jobs::error::Error;
use crate::jobs::{Jobs, Shared};
use crate::model::deployment::rules::ESTABLISHED_DAYS;
use crate::model::deployment::{Day, Endpoint};
use crate::model::drawn::{Agreed, Candidate, Ledger, Terms, Turn};
use crate::model::policy::{Wants, Why};
use crate::model::update::{Severity, UpdateId};
use crate::store::catalog::Sift;
use crate::store::fleet::{Admitted, PAGE_MAX};

/// The document in which the ledger stands.
const LEDGER: &str = "content.drawn";

/// Updates that one look judges beside those that were let in, the worst first: each is unpacked with all that it bundles. More are missing
/// only where nobody has approved anything for years; those behind come when these were let in.
const CANDIDATES_MAX: usize = 1_000;

/// Of these, so many in one snapshot.
const STEP: usize = 100;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// What is brought since endpoints miss it, as it is set when somebody asks.
#[derive(Clone)]
pub struct Draws(pub Arc<dyn Fn() -> Terms + Send + Sync>);

impl Default for Draws {
    fn default() -> Self {
        Self(Arc::new(Terms::default))
    }
}

impl fmt::Debug for Draws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Draws").field(&(self.0)()).finish()
    }
}

/// An update that established endpoints miss, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which, and how much of it is missing.
    pub candidate: Candidate,
    /// What becomes of it.
    pub turn: Turn,
    /// Who agreed to its size.
    pub agreed: Option<Agreed>,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When that was made out.
    pub at: Timestamp,
    /// What is set.
    pub terms: Terms,
    /// Bytes that were let in on the day, by UTC.
    pub spent: u64,
    /// What established endpoints miss and nothing else brings, in the order in which it comes.
    pub lines: Vec<Line>,
}

/// What came of somebody's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It comes.
    Agreed(Line),
    /// More of it is missing than was shown: nothing is agreed.
    Larger(Line),
    /// It waits for nobody's yes.
    NotAwaited,
}

/// What this room remembers.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Drawing {
    pub(in crate::jobs) reports: OnceLock<Compliance>,
    let_in: Mutex<Arc<BTreeSet<UpdateId>>>,
    standing: Mutex<Option<Arc<Standing>>>,
    /// Held while it is looked or agreed; `None` before the ledger was read.
    ledger: tokio::sync::Mutex<Option<Ledger>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drawing {
    /// Updates whose files are wanted for this reason.
    pub(in crate::jobs) fn let_in(&self) -> Arc<BTreeSet<UpdateId>> {
        Arc::clone(&lock(&self.let_in))
    }
}

/// Looks at what endpoints miss, until `cancel`.
pub(in crate::jobs) async fn by_reports(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut revisions = shared.planned.watch();
    loop {
        revisions.mark_unchanged();
        let looked = tokio::select! {
            () = cancel.cancelled() => return,
            looked = look(&shared) => looked,
        };
        if let Err(error) = looked {
            tracing::info!(%error, "what endpoints miss cannot be looked at; it is again in some minutes");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = revisions.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(shared.config.look_every) => {}
        }
    }
}

/// Steps 1 to 4, once.
async fn look(shared: &Shared) -> Result<(), Error> {
    let mut ledger = shared.drawing.ledger.lock().await;
    let (is_other, standing) = weigh(shared, &mut ledger, None).await?;
    *lock(&shared.drawing.standing) = standing.map(Arc::new);
    drop(ledger);
    if is_other {
        shared.content_changed();
    }
    Ok(())
}

/// Weighs what endpoints miss, with a yes to one of them where somebody gave it, and keeps what came of it. Says whether other updates are
/// let in than before. Nothing changes where an error is returned.
async fn weigh(
    shared: &Shared,
    kept: &mut Option<Ledger>,
    yes: Option<(UpdateId, Agreed)>,
) -> Result<(bool, Option<Standing>), Error> {
    let before = match kept.take() {
        Some(ledger) => ledger,
        None => read(shared).await?,
    };
    let result = weigh_from(shared, &before, yes).await;
    let (ledger, standing) = match result {
        Ok(result) => result,
        Err(error) => {
            *kept = Some(before);
            return Err(error);
        }
    };
    let let_in = ledger.let_in();
    *kept = Some(ledger);
    let mut now = lock(&shared.drawing.let_in);
    let is_other = **now != let_in;
    if is_other {
        *now = Arc::new(let_in);
    }
    Ok((is_other, standing))
}

/// What was kept. One that cannot be read is none: a day's budget is the worst of it.
async fn read(shared: &Shared) -> Result<Ledger, Error> {
    let kept = shared.store.document(LEDGER).await?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default())
}

async fn weigh_from(
    shared: &Shared,
    before: &Ledger,
    yes: Option<(UpdateId, Agreed)>,
) -> Result<(Ledger, Option<Standing>), Error> {
    let (terms, now) = (shared.config.drawn.0(), shared.clock.now());
    let mut ledger = before.clone();
    if let Some((update, agreed)) = yes {
        ledger.agree(update, agreed);
    }
    let candidates = match (terms.least, shared.drawing.reports.get()) {
        (Some(least), Some(reports)) => Some(candidates(shared, reports, least, &ledger, now).await?),
        _ => None,
    };
    let is_on = candidates.is_some();
    let told = ledger.weigh(&terms, Day::from(now).number(), candidates.unwrap_or_default());
    if ledger != *before {
        let kept = serde_json::to_vec(&ledger).map_err(|error| Error::Broken(error.to_string()))?;
        shared.store.set_document(LEDGER, Some(kept)).await?;
    }
    let line = |(candidate, turn): (Candidate, Turn)| {
        let agreed = ledger.agreed(candidate.update).cloned();
        Line { candidate, turn, agreed }
    };
    let lines = told.into_iter().map(line).collect();
    let standing = is_on.then_some(Standing { at: now, terms, spent: ledger.spent, lines });
    Ok((ledger, standing))
}

/// An update that is missing somewhere.
struct Missed {
    update: UpdateId,
    revision: u32,
    severity: Severity,
    endpoints: u64,
}

/// Steps 1 and 2.
async fn candidates(
    shared: &Shared,
    reports: &Compliance,
    least: Severity,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Vec<Candidate>, Error> {
    let established = established(shared, now).await?;
    let look = move |board: &Board| missed(board, &established, least);
    let missed = reports.look(look).await.map_err(|error| Error::Broken(error.to_string()))?;
    let missed = judged(missed, ledger);
    let ids: Arc<BTreeSet<UpdateId>> = Arc::new(missed.iter().map(|one| one.update).collect());
    let (sift, _) = shared.sift_in_force().await?;
    let sift = Arc::new(Sift { drawn: ids, ..sift });
    let mut found = Vec::new();
    for step in missed.chunks(STEP) {
        let numbers = step.iter().map(|one| one.revision).collect();
        let wanted = shared.store.catalog().wanted_of(Arc::clone(&sift), numbers).await?;
        for update in wanted {
            let Some(one) = step.iter().find(|one| one.update == update.identity.id) else { continue };
            if update.verdict.why != Why::Missed || update.verdict.wants != Wants::Everything {
                continue;
            }
            let missing = update.files.iter().filter(|file| !file.held);
            let (files, bytes) =
                missing.fold((0, 0_u64), |(files, bytes), file| (files + 1, bytes.saturating_add(file.file.size)));
            found.push(Candidate {
                update: one.update,
                title: update.title,
                severity: one.severity,
                endpoints: one.endpoints,
                files,
                bytes,
            });
        }
    }
    Ok(found)
}

/// What is judged of all that is missed. What was let in, or agreed to, is judged whatever is worse by now: what is not would be forgotten.
fn judged(missed: Vec<Missed>, ledger: &Ledger) -> Vec<Missed> {
    let (mut all, mut others): (Vec<Missed>, Vec<Missed>) =
        missed.into_iter().partition(|one| ledger.remembers(one.update));
    others.truncate(CANDIDATES_MAX);
    all.append(&mut others);
    all
}

/// Endpoints that were first seen so many days ago, and are served.
async fn established(shared: &Shared, now: Timestamp) -> Result<BTreeSet<Endpoint>, Error> {
    let (fleet, mut found, mut after) = (shared.store.fleet(), BTreeSet::new(), None);
    let days = u64::from(ESTABLISHED_DAYS) * DAY_MS;
    loop {
        let page = fleet.endpoints(after, PAGE_MAX).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.registration.endpoint);
        let is_old = |first: Timestamp| first.ms().saturating_add(days) <= now.ms();
        let old = page.iter().filter(|record| is_old(record.first) && record.admitted == Admitted::Accepted);
        found.extend(old.map(|record| record.registration.endpoint));
    }
}

/// Updates that count, are severe enough, and are missing on established endpoints: the worst first, of these what most miss.
fn missed(board: &Board, established: &BTreeSet<Endpoint>, least: Severity) -> Vec<Missed> {
    let fits = board
        .updates()
        .filter(|(_, known)| known.by_state.missing() > 0 && known.facts.counts() && known.facts.severity >= least);
    let mut many: BTreeMap<u32, u64> = fits.map(|(number, _)| (number, 0)).collect();
    if many.is_empty() {
        return Vec::new();
    }
    for (_, row) in board.rows(None).filter(|(endpoint, _)| established.contains(endpoint)) {
        for held in row.standing.held.iter().filter(|held| held.state().is_missing()) {
            if let Some(many) = many.get_mut(&held.number()) {
                *many += 1;
            }
        }
    }
    let one = |(number, endpoints): (u32, u64)| {
        let known = board.known(number)?;
        let (update, severity) = (known.id, known.facts.severity);
        Some(Missed { update, revision: known.facts.revision?, severity, endpoints })
    };
    let mut found: Vec<Missed> = many.into_iter().filter(|(_, many)| *many > 0).filter_map(one).collect();
    found.sort_by_key(|one| (std::cmp::Reverse((one.severity, one.endpoints)), one.update));
    found
}

impl Jobs {
    /// What comes since endpoints miss it, as of the last look; `None` where that is not set, or before the first look.
    pub fn drawn(&self) -> Option<Arc<Standing>> {
        lock(&self.shared.drawing.standing).clone()
    }

    /// Looks now at what endpoints miss.
    pub async fn look_at_missing(&self) -> Result<Option<Arc<Standing>>, Error> {
        look(&self.shared).await?;
        Ok(self.drawn())
    }

    /// Somebody agrees to the size of an update that waits for it, having been shown so many bytes.
    pub async fn confirm_drawn(&self, update: UpdateId, bytes: u64, by: &str) -> Result<Confirmed, Error> {
        let shared = &self.shared;
        let mut ledger = shared.drawing.ledger.lock().await;
        let (_, standing) = weigh(shared, &mut ledger, None).await?;
        let line = |standing: Option<Standing>| {
            standing.and_then(|standing| standing.lines.into_iter().find(|line| line.candidate.update == update))
        };
        let Some(waits) = line(standing).filter(|line| line.turn == Turn::WaitsForYes) else {
            return Ok(Confirmed::NotAwaited);
        };
        if waits.candidate.bytes > bytes {
            return Ok(Confirmed::Larger(waits));
        }
        let agreed = Agreed { bytes: waits.candidate.bytes, by: by.to_owned(), at: shared.clock.now() };
        let (_, standing) = weigh(shared, &mut ledger, Some((update, agreed))).await?;
        let agreed = line(standing.clone());
        *lock(&shared.drawing.standing) = standing.map(Arc::new);
        drop(ledger);
        tracing::info!(%update, by, "what endpoints miss comes, as somebody agreed to its size");
        // A person wants it: a prefetch that was stopped is let go of.
        self.content_changed();
        Ok(agreed.map_or(Confirmed::NotAwaited, Confirmed::Agreed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_in_is_judged_however_much_is_worse_by_now() {
        let id = |of: usize| UpdateId::new((of as u128).to_be_bytes());
        let missed = |of: std::ops::Range<usize>| -> Vec<Missed> {
            of.map(|of| Missed { update: id(of), revision: 1, severity: Severity::Critical, endpoints: 1 }).collect()
        };
        let mut ledger = Ledger::default();
        let last = CANDIDATES_MAX + 500;
        let candidate = |update| Candidate {
            update,
            title: String::new(),
            severity: Severity::Low,
            endpoints: 1,
            files: 1,
            bytes: 1,
        };
        ledger.weigh(&Terms::default(), 1, vec![candidate(id(last))]);
        ledger.agree(id(last - 1), Agreed { bytes: 1, by: "kim".into(), at: Timestamp::default() });
        let judged: BTreeSet<UpdateId> = judged(missed(0..last + 1), &ledger).iter().map(|one| one.update).collect();
        assert_eq!(judged.len(), CANDIDATES_MAX + 2);
        assert!([0, CANDIDATES_MAX - 1, last - 1, last].iter().all(|of| judged.contains(&id(*of))));
        assert!(!judged.contains(&id(CANDIDATES_MAX)), "it is behind the worst of the others");
    }
}
