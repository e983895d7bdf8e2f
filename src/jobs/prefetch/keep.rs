//! What is wanted and held stays, where something must be given up: the store gives up what was used least recently, and a file that was
//! brought months ago, and that no endpoint has asked for yet, would be the first, only to be fetched again.
//!
//! 1. Where the store has too little room for what is missing beside all that it holds, what is wanted is walked, and the store is told
//!    of what is held of it, in one commit for each step of the walk: it counts as used now.
//! 2. That is done before anything is begun, after each change of what is wanted, and each [`AGAIN`] of a job that goes on for days;
//!    and at each cause, also where nothing is missing, since what endpoints ask for wants room too.
//!
//! So what nobody wants and nobody has used since goes first. What endpoints used later than that is as good as what is wanted; and
//! what only expired or superseded updates have goes before all others, wanted or not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::digest::Digest;
use crate::jobs::Shared;
use crate::jobs::content::Plan;
use crate::jobs::error::Error;
use crate::jobs::prefetch::room::is_short;
use crate::store::catalog::{Sift, Walk, WantedFile};

/// After this it is said again.
const AGAIN: Duration = Duration::from_hours(1);

/// When it was said last, and of which revision of what is wanted.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Kept(Mutex<Option<(Instant, u64)>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, revision: u64) -> bool {
        self.lock().is_none_or(|(at, of)| of != revision || at.elapsed() >= AGAIN)
    }
}

fn digests(file: &WantedFile) -> Vec<Digest> {
    let sha256 = file.file.sha256.map(Digest::Sha256);
    sha256.into_iter().chain([Digest::Sha1(file.file.sha1)]).collect()
}

/// Tells the store what is wanted by this sift of this plan, where it matters and was not said lately. `revision` is that of what was
/// wanted before the sift was made: a decision that it may not have in it makes this due again.
pub(in crate::jobs) async fn keep(
    shared: &Shared,
    plan: &Plan,
    (sift, revision): (&Arc<Sift>, u64),
    cancel: &CancellationToken,
) -> Result<(), Error> {
    if !shared.steering.kept.is_due(revision) || !is_short(&shared.store.space().await?, &plan.now) {
        return Ok(());
    }
    let (mut walk, mut many) = (Walk::default(), 0);
    while !walk.is_ended() {
        if cancel.is_cancelled() {
            return Err(Error::Stopped);
        }
        let (next, found) = shared.store.catalog().wanted_step(Arc::clone(sift), walk).await?;
        walk = next;
        let held: Vec<Vec<Digest>> =
            found.iter().flat_map(|update| &update.files).filter(|file| file.held).map(digests).collect();
        if !held.is_empty() {
            many += shared.store.keep_wanted(held).await?;
        }
    }
    *shared.steering.kept.lock() = Some((Instant::now(), revision));
    tracing::debug!(files = many, "what is wanted and held counts as used now: something else is given up before it");
    Ok(())
}
