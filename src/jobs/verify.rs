//! The verify job: payloads are read against their proofs. What is bad is taken out of service at once, so that no
//! endpoint gets it, and then
//!
//! 1. mended from a source that is known;
//! 2. or left withheld, with all its good groups, where the source or the disk cannot give what is missing just now: the
//!    clock tries again;
//! 3. or put into quarantine, where no source is known, the source has it no more, or has something else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::digest::{Blake3, Digest};
use crate::base::limits::WINDOW;
use crate::base::span::SpanSet;
use crate::fill;
use crate::jobs::Shared;
use crate::jobs::board::{Line, Record, Step, Unit};
use crate::jobs::error::Error;
use crate::jobs::work::Verify;
use crate::keep::progress::Progress;
use crate::keep::scrub::{Pace, Verified, Walk};
use crate::model::name::Name;
use crate::pace::bucket::Bucket;
use crate::store;

/// How often a walk tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// The longest sleep before a look whether the job was stopped.
const NAP: Duration = Duration::from_millis(50);

pub(in crate::jobs) async fn run(shared: &Arc<Shared>, record: &Arc<Record>, work: Verify) -> Result<String, Error> {
    let mut sum = Sum::default();
    match work.only {
        Some(blake3) => {
            let verified = one(shared, record, blake3, work.rate).await?;
            sum.add(shared, record, &work, verified).await;
        }
        None => walk(shared, record, &work, &mut sum).await?,
    }
    if record.cancel().is_cancelled() {
        return Err(Error::Stopped);
    }
    match sum {
        Sum { failed: 0, mended: 0, looked_at: 1 } => Ok("1 payload is as its proof says".to_owned()),
        Sum { failed: 0, mended: 0, looked_at } => Ok(format!("{looked_at} payloads are as their proofs say")),
        Sum { failed: 0, looked_at: 1, .. } => Ok("the payload was bad and is mended".to_owned()),
        Sum { failed: 0, mended: 1, looked_at } => Ok(format!("1 of {looked_at} payloads was bad and is mended")),
        Sum { failed: 0, mended, looked_at } => Ok(format!("{mended} of {looked_at} payloads were bad and are mended")),
        Sum { failed, looked_at, .. } => Err(Error::Items { failed, total: looked_at }),
    }
}

/// All payloads, one after the other.
async fn walk(shared: &Arc<Shared>, record: &Arc<Record>, work: &Verify, sum: &mut Sum) -> Result<(), Error> {
    let total = shared.store.space().await?.payloads_count;
    let progress = Arc::new(Progress::default());
    let tell = || {
        let now = progress.snapshot();
        record.progress(|shown| {
            (shown.done, shown.total, shown.bytes) = (now.payloads_done, Some(total.max(now.payloads_done)), now.bytes);
        });
    };
    tell();
    let mut walk =
        Walk::new(shared.store.clone(), None, pace(work.rate), Arc::clone(&progress), record.cancel().clone());
    while let Some(verified) = next(&mut walk, tell).await? {
        sum.add(shared, record, work, verified).await;
        tell();
    }
    Ok(())
}

/// The next payload of the walk; meanwhile `tell` is called now and then.
async fn next(walk: &mut Walk, tell: impl Fn()) -> Result<Option<Verified>, Error> {
    let mut next = std::pin::pin!(walk.next());
    loop {
        tokio::select! {
            verified = next.as_mut() => return Ok(verified?),
            () = tokio::time::sleep(TELL_EVERY) => tell(),
        }
    }
}

/// One payload, with its bytes as progress.
async fn one(shared: &Shared, record: &Arc<Record>, blake3: Blake3, rate: Option<u64>) -> Result<Verified, Error> {
    let name = Name::Digest(Digest::Blake3(blake3));
    let listed = shared.store.show(&name).await?.ok_or_else(|| Error::Absent(name.to_string()))?;
    record.progress(|progress| {
        (progress.total, progress.unit) = (Some(listed.payload.size), Unit::Bytes);
        progress.current = Some(name.to_string());
    });
    let told = Arc::clone(record);
    let mut pace = pace(rate);
    let each = move |read: u64| {
        told.progress(|progress| {
            progress.bytes += read;
            progress.done = progress.bytes;
        });
        // On a thread of the store's that may sleep.
        let mut wait = pace(read);
        while !wait.is_zero() && !told.cancel().is_cancelled() {
            let nap = wait.min(NAP);
            std::thread::sleep(nap);
            wait -= nap;
        }
    };
    let verified = tokio::select! {
        () = record.cancel().cancelled() => return Err(Error::Stopped),
        verified = shared.store.verify(blake3, Box::new(each)) => verified,
    };
    match verified {
        Ok(bad) if bad.is_empty() => Ok(Verified::Good(blake3)),
        Ok(bad) => Ok(Verified::Bad(blake3, bad)),
        Err(error) => Err(error.into()),
    }
}

/// What came of the payloads so far.
#[derive(Debug, Default)]
struct Sum {
    looked_at: u64,
    mended: u64,
    failed: u64,
}

impl Sum {
    async fn add(&mut self, shared: &Shared, record: &Record, work: &Verify, verified: Verified) {
        self.looked_at += 1;
        match verified {
            Verified::Good(blake3) => {
                // It may have been withheld for a fault that has passed.
                if let Err(error) = shared.store.release(blake3).await {
                    tracing::warn!(%blake3, %error, "a payload that is good again is not yet served");
                }
            }
            Verified::Gone(_) => self.looked_at -= 1,
            Verified::Unreadable(blake3, why) => {
                self.failed += 1;
                tracing::error!(%blake3, why, "a payload cannot be held against its proof");
                record.add(Line::ended(format!("blake3-{blake3}"), Step::Failed, 0, why));
            }
            Verified::Bad(blake3, spans) => {
                let (line, mended) = treat(shared, work, blake3, spans).await;
                *(if mended { &mut self.mended } else { &mut self.failed }) += 1;
                record.add(line);
            }
        }
    }
}

/// Mends a bad payload, lets it wait for that, or puts it away. Returns its line, and whether it is sound again.
async fn treat(shared: &Shared, work: &Verify, blake3: Blake3, spans: SpanSet) -> (Line, bool) {
    let item = format!("blake3-{blake3}");
    let places = if spans.count() == 1 { "1 place".to_owned() } else { format!("{} places", spans.count()) };
    let what = format!("{} bytes in {places} do not match the proof", spans.total());
    tracing::warn!(%blake3, bytes = spans.total(), places = spans.count(), "a payload does not match its proof");
    let mut unmended = String::new();
    if work.repair
        && let Some(fill) = &shared.fill
    {
        if let Err(error) = shared.store.withhold(blake3, &what).await {
            tracing::warn!(%blake3, %error, "that a payload is withheld is not noted; a restart serves it again");
        }
        match fill.repair(blake3, spans).await {
            Ok(found) => {
                tracing::info!(%blake3, "payload mended");
                let text = format!("{what}: mended from its source");
                return (Line::ended(item, Step::Done, found.held.payload().size, text), true);
            }
            Err(error) if may_pass(&error) && has_source(shared, blake3).await => {
                tracing::warn!(%blake3, %error, "a bad payload waits to be mended");
                let text = format!(
                    "{what}, could not be mended yet ({error}): it is kept, nothing is served of it, and it is tried again"
                );
                return (Line::ended(item, Step::Failed, 0, text), false);
            }
            Err(error) => unmended = format!(", could not be mended ({error})"),
        }
    }
    // The names go with it, and with them what says where it could be had.
    let has_source = has_source(shared, blake3).await;
    let listed = shared.store.show(&Name::Digest(Digest::Blake3(blake3))).await.ok().flatten();
    let address = listed.and_then(|listed| listed.names.into_iter().find(|name| matches!(name, Name::Origin(_))));
    if let Some(address) = address {
        unmended = format!("{unmended}, which was {}", address.shown());
    }
    let text = match shared.store.quarantine(blake3, &what).await {
        Ok(()) if has_source => {
            format!("{what}{unmended}: it is in quarantine and is fetched anew when it is asked for")
        }
        Ok(()) => {
            format!("{what}{unmended}: it is in quarantine, and no address of it is known: import the file again")
        }
        Err(error) => format!("{what}{unmended}, and could not be put into quarantine: {error}"),
    };
    (Line::ended(item, Step::Failed, 0, text), false)
}

/// Whether a repair that failed like this can go well later. One whose bytes were wrong, or whose origin said that it has
/// nothing, will not.
fn may_pass(error: &fill::Error) -> bool {
    match error {
        fill::Error::Unavailable { .. } | fill::Error::Changed { .. } | fill::Error::Closing => true,
        fill::Error::Store(error) => !matches!(**error, store::Error::Gone | store::Error::Mismatch { .. }),
        fill::Error::Origin(..) | fill::Error::Nowhere | fill::Error::Mismatch { .. } => false,
    }
}

/// Whether anything says where the payload could be had. Where even that cannot be read, it waits.
async fn has_source(shared: &Shared, blake3: Blake3) -> bool {
    let look = async {
        let Some(listed) = shared.store.show(&Name::Digest(Digest::Blake3(blake3))).await? else { return Ok(false) };
        for name in &listed.names {
            if matches!(name, Name::Origin(_)) || !shared.store.note(name).await?.locations.is_empty() {
                return Ok(true);
            }
        }
        Ok::<_, store::Error>(false)
    };
    look.await.unwrap_or(true)
}

/// How long to rest after each read, so that no more than `rate` bytes a second are read.
pub(in crate::jobs) fn pace(rate: Option<u64>) -> Pace {
    let Some(rate) = rate else { return Box::new(|_| Duration::ZERO) };
    let (mut bucket, begun) = (Bucket::new(rate, WINDOW.min(rate)), Instant::now());
    Box::new(move |bytes| bucket.take(begun.elapsed(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pace_keeps_the_rate() {
        let (mut pace, begun) = (pace(Some(1000)), Instant::now());
        for _ in 0..100 {
            tokio::time::sleep(pace(100)).await;
        }
        // A second's worth may go at once.
        let taken = begun.elapsed();
        assert!((Duration::from_millis(8900)..Duration::from_millis(9200)).contains(&taken), "{taken:?}");
        assert_eq!(super::pace(None)(u64::MAX), Duration::ZERO);
    }
}
