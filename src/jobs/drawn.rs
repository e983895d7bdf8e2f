//! What is brought since endpoints miss it: updates at least so severe, within the filters and what the node detects, that established
//! endpoints reported as missing.
//!
//! 1. Every few minutes, when what is wanted changed and when somebody asks, it is looked at which updates established endpoints miss
//!    ([`missed`] keeps it while nothing changes). One is established where it was first seen so many days ago and is served: what turns up in order to make the node fetch has to wait.
//! 2. The content policy says of each whether it may come for this reason: not what somebody declined, what the filters do not find, or
//!    a classification for which nothing is fetched. What comes anyway is none of this.
//! 3. A ledger says which of them come now, wait for the budget of a day, or for a person (`model::drawn`). It is kept before anything
//!    comes of it, so that a restart gives no second budget.
//! 4. What was let in is wanted from then on, and the prefetch brings it as all else.

mod missed;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::fleet::compliance::Compliance;
use crate::jobs::error::Error;
use crate::jobs::{Jobs, Shared};
use crate::model::deployment::Day;
use crate::model::drawn::{Agreed, Candidate, Ledger, Terms, Turn};
use crate::model::update::UpdateId;

/// The document in which the ledger stands.
const LEDGER: &str = "content.drawn";

/// Updates that one look judges beside those that were let in, the worst first: each is unpacked with all that it bundles. More are missing
/// only where nobody has approved anything for years; those behind come when these were let in.
const CANDIDATES_MAX: usize = 1_000;

/// Of these, so many in one snapshot.
const STEP: usize = 100;

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
    /// Held while it is looked or agreed.
    kept: tokio::sync::Mutex<Kept>,
}

/// What a look begins with.
#[derive(Debug, Default)]
struct Kept {
    /// `None` before it was read.
    ledger: Option<Ledger>,
    /// What endpoints were found to miss.
    missed: missed::Kept,
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
            looked = look(&shared, true) => looked,
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

/// Steps 1 to 4, once; `anew`: whatever was found before.
async fn look(shared: &Shared, anew: bool) -> Result<(), Error> {
    let mut kept = shared.drawing.kept.lock().await;
    if anew {
        kept.missed = missed::Kept::default();
    }
    let (is_other, standing) = weigh(shared, &mut kept, None).await?;
    *lock(&shared.drawing.standing) = standing.map(Arc::new);
    drop(kept);
    if is_other {
        shared.content_changed();
    }
    Ok(())
}

/// Weighs what endpoints miss, with a yes to one of them where somebody gave it, and keeps what came of it. Says whether other updates are
/// let in than before. Nothing changes where an error is returned.
async fn weigh(
    shared: &Shared,
    kept: &mut Kept,
    yes: Option<(UpdateId, Agreed)>,
) -> Result<(bool, Option<Standing>), Error> {
    let before = match kept.ledger.take() {
        Some(ledger) => ledger,
        None => read(shared).await?,
    };
    let result = weigh_from(shared, &mut kept.missed, &before, yes).await;
    let (ledger, standing) = match result {
        Ok(result) => result,
        Err(error) => {
            kept.ledger = Some(before);
            return Err(error);
        }
    };
    let let_in = ledger.let_in();
    kept.ledger = Some(ledger);
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
    kept: &mut missed::Kept,
    before: &Ledger,
    yes: Option<(UpdateId, Agreed)>,
) -> Result<(Ledger, Option<Standing>), Error> {
    let (terms, now) = (shared.config.drawn.0(), shared.clock.now());
    let mut ledger = before.clone();
    if let Some((update, agreed)) = yes {
        ledger.agree(update, agreed);
    }
    let candidates = match (terms.least, shared.drawing.reports.get()) {
        (Some(least), Some(reports)) => Some(missed::candidates(shared, kept, reports, (least, &ledger), now).await?),
        _ => None,
    };
    let is_on = candidates.is_some();
    let told =
        ledger.weigh(&terms, Day::from(now).number(), candidates.map(|found| found.to_vec()).unwrap_or_default());
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

impl Jobs {
    /// What comes since endpoints miss it, as of the last look; `None` where that is not set, or before the first look.
    pub fn drawn(&self) -> Option<Arc<Standing>> {
        lock(&self.shared.drawing.standing).clone()
    }

    /// Looks now at what endpoints miss; where nothing changed since somebody did, that costs little.
    pub async fn look_at_missing(&self) -> Result<Option<Arc<Standing>>, Error> {
        look(&self.shared, false).await?;
        Ok(self.drawn())
    }

    /// Somebody agrees to the size of an update that waits for it, having been shown so many bytes.
    pub async fn confirm_drawn(&self, update: UpdateId, bytes: u64, by: &str) -> Result<Confirmed, Error> {
        let shared = &self.shared;
        let mut kept = shared.drawing.kept.lock().await;
        let (_, standing) = weigh(shared, &mut kept, None).await?;
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
        let (_, standing) = weigh(shared, &mut kept, Some((update, agreed))).await?;
        let agreed = line(standing.clone());
        *lock(&shared.drawing.standing) = standing.map(Arc::new);
        drop(kept);
        tracing::info!(%update, by, "what endpoints miss comes, as somebody agreed to its size");
        // A person wants it: a prefetch that was stopped is let go of.
        self.content_changed();
        Ok(agreed.map_or(Confirmed::NotAwaited, Confirmed::Agreed))
    }
}
