//! Goes through what is held when the catalog has changed: what only superseded or withdrawn updates have is marked, so that
//! it is the first to go; what nobody vouched for is promoted or thrown out by the digests that came.
//!
//! The whole of what is held is gone through once after each run that changed something, in steps between which all others
//! have their turn: some seconds of one core for 100,000 payloads. How far the catalog was at the beginning of the last pass is
//! kept, so that a restart after one that ended begins none, and one that was cut off begins anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::{Error, Health, Reviewed, Store};

/// How often the loop looks at the catalog without being woken.
const TICK: Duration = Duration::from_secs(30);
/// While a run is under way the catalog changes at every look: it is waited for, but not for longer than this.
const LATEST: Duration = Duration::from_mins(10);
/// Where it is kept how far the catalog was.
const DOCUMENT: &str = "keep.reviewed";

/// Goes through all that is held once, as long as it is not cancelled.
pub async fn pass(store: &Store, cancel: &CancellationToken) -> Result<Reviewed, Error> {
    let clock = store.catalog().standing().await?.clock;
    let mut reviewed = Reviewed::default();
    let mut after = None;
    loop {
        if cancel.is_cancelled() {
            return Ok(reviewed);
        }
        let (step, next) = store.review_step(after).await?;
        reviewed += step;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
        tokio::task::yield_now().await;
    }
    // Not before the end: a pass that was cut off begins anew.
    store.set_document(DOCUMENT, Some(clock.to_le_bytes().to_vec())).await?;
    Ok(reviewed)
}

/// How far the catalog was when the last pass began; `None` where there was none.
async fn reviewed_at(store: &Store) -> Result<Option<u64>, Error> {
    let document = store.document(DOCUMENT).await?;
    Ok(document.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes))
}

/// Runs until `cancel`. `wake` makes it go through what is held at once, where the catalog has changed.
pub async fn run(store: Store, wake: Arc<Notify>, cancel: CancellationToken) {
    let mut waiting: Option<(u64, Instant)> = None;
    let mut woken = false;
    loop {
        if let Err(error) = look(&store, &mut waiting, woken, &cancel).await {
            tracing::warn!(%error, "what is held could not be held against the catalog; it is tried again");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = wake.notified() => woken = true,
            () = tokio::time::sleep(TICK) => woken = false,
        }
    }
}

/// One look at the catalog, and a pass where it is due. `waiting` is the clock of the last look, and since when it moves.
async fn look(
    store: &Store,
    waiting: &mut Option<(u64, Instant)>,
    woken: bool,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    if store.health() != Health::Ready {
        // Nothing could be written down.
        return Ok(());
    }
    let clock = store.catalog().standing().await?.clock;
    if clock == 0 || reviewed_at(store).await? == Some(clock) {
        *waiting = None;
        return Ok(());
    }
    let (before, since) = waiting.unwrap_or((0, Instant::now()));
    *waiting = Some((clock, since));
    if !woken && before != clock && since.elapsed() < LATEST {
        return Ok(());
    }
    *waiting = None;
    let begun = Instant::now();
    let Reviewed { looked, promoted, thrown_out, outdated, wanted_again } = pass(store, cancel).await?;
    tracing::info!(
        looked,
        promoted,
        thrown_out,
        outdated,
        wanted_again,
        took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "what is held was held against the catalog"
    );
    Ok(())
}
