//! Reading payloads again and holding them against their proofs.
//!
//! 1. Payloads are listed page by page, in the order of their BLAKE3, so that a walk can go on from any of them.
//! 2. Each is verified by the store, group by group; after every group the pace says how long to wait.
//! 3. What is bad is said at once, with the bad spans; what is gone meanwhile (evicted, removed) is nothing.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::digest::{Blake3, Digest};
use crate::base::span::SpanSet;
use crate::keep::progress::{Progress, Snapshot};
use crate::store::{Error, Store};

/// Payloads asked of the index at a time: bounds the memory of a walk through a million.
const PAGE: usize = 256;

/// Bad payloads that a report names; of more it only has the number. A disk with so many has to be replaced, and the
/// list must not grow with it.
const BAD_MAX: usize = 10_000;

/// The longest sleep before a look whether the scrub was called off.
const NAP: Duration = Duration::from_millis(50);

/// How long to wait after so many more bytes were read.
pub type Pace = Box<dyn FnMut(u64) -> Duration + Send>;

/// What a whole pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Payloads looked at, good and bad.
    pub payloads: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Payloads with groups that are not what their proofs say, at most ten thousand.
    pub bad: Vec<(Blake3, SpanSet)>,
    /// Payloads of which nothing can be said (the proof or the file cannot be read), and why, likewise.
    pub unreadable: Vec<(Blake3, String)>,
    /// Bad or unreadable ones beyond those named.
    pub more: u64,
    /// Whether it came to the end and was not called off.
    pub complete: bool,
}

/// What became of one payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// As its proof says.
    Good(Blake3),
    /// Not in these groups. To be fetched again where a source is known, else quarantined.
    Bad(Blake3, SpanSet),
    /// Nothing can be said of it: the proof or the file cannot be read, and why.
    Unreadable(Blake3, String),
    /// It went while the walk came to it.
    Gone(Blake3),
}

/// A walk through the payloads, in the order of their BLAKE3.
pub struct Walk {
    store: Store,
    pace: Arc<Mutex<Pace>>,
    progress: Arc<Progress>,
    cancel: CancellationToken,
    page: VecDeque<Blake3>,
    after: Option<Blake3>,
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("after", &self.after).finish_non_exhaustive()
    }
}

/// Verifies every payload once.
pub async fn pass(
    store: &Store,
    pace: Pace,
    progress: &Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<ScrubReport, Error> {
    progress.begin(Snapshot { payloads_total: store.space().await?.payloads_count, ..Snapshot::default() });
    let mut walk = Walk::new(store.clone(), None, pace, Arc::clone(progress), cancel.clone());
    let mut report = ScrubReport::default();
    while let Some(verified) = walk.next().await? {
        report.add(verified);
    }
    report.bytes = progress.snapshot().bytes;
    report.complete = !cancel.is_cancelled();
    Ok(report)
}

impl ScrubReport {
    fn add(&mut self, verified: Verified) {
        self.payloads += u64::from(!matches!(verified, Verified::Gone(_)));
        let room = self.bad.len() + self.unreadable.len() < BAD_MAX;
        match verified {
            Verified::Bad(blake3, spans) if room => self.bad.push((blake3, spans)),
            Verified::Unreadable(blake3, why) if room => self.unreadable.push((blake3, why)),
            Verified::Bad(..) | Verified::Unreadable(..) => self.more += 1,
            Verified::Good(_) | Verified::Gone(_) => {}
        }
    }
}

impl Walk {
    /// From the payload after `after` on (from the first, where that is none) to the last.
    pub fn new(
        store: Store,
        after: Option<Blake3>,
        pace: Pace,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Self {
        Self { store, pace: Arc::new(Mutex::new(pace)), progress, cancel, page: VecDeque::new(), after }
    }

    /// Verifies the next payload. `None` at the end, and where the walk was called off: then the payload that it was at
    /// is the first of the next walk. An error is the index's; the walk can go on when that is well again.
    pub async fn next(&mut self) -> Result<Option<Verified>, Error> {
        let Some(blake3) = self.ahead().await? else { return Ok(None) };
        let Some(verified) = self.verify(blake3).await else { return Ok(None) };
        let verified = match verified {
            Ok(bad) if bad.is_empty() => Verified::Good(blake3),
            Ok(bad) => Verified::Bad(blake3, bad),
            Err(Error::Gone) => Verified::Gone(blake3),
            Err(error) if error.is_retryable() || matches!(error, Error::Unavailable { .. }) => return Err(error),
            // Files of a payload that went in the meantime cannot be read either; only the index knows the difference.
            Err(error) => match self.store.show(&Digest::Blake3(blake3).into()).await? {
                Some(_) => Verified::Unreadable(blake3, error.to_string()),
                None => Verified::Gone(blake3),
            },
        };
        self.page.pop_front();
        self.after = Some(blake3);
        self.progress.through(matches!(verified, Verified::Bad(..) | Verified::Unreadable(..)));
        Ok(Some(verified))
    }

    /// The payload that comes next, left where it is.
    async fn ahead(&mut self) -> Result<Option<Blake3>, Error> {
        if self.cancel.is_cancelled() {
            return Ok(None);
        }
        if self.page.is_empty() {
            let listed = self.store.list(self.after, PAGE).await?;
            self.page.extend(listed.into_iter().map(|listed| listed.payload.digests.blake3));
        }
        Ok(self.page.front().copied())
    }

    /// `None` where it was called off.
    async fn verify(&self, blake3: Blake3) -> Option<Result<SpanSet, Error>> {
        let over = Over::default();
        let (pace, progress) = (Arc::clone(&self.pace), Arc::clone(&self.progress));
        let called_off = Arc::clone(&over.0);
        // Runs on a thread of the store's that may sleep.
        let each = move |bytes: u64| {
            progress.read(bytes);
            let mut wait = pace.lock().unwrap_or_else(PoisonError::into_inner)(bytes);
            while !wait.is_zero() && !called_off.load(Ordering::Relaxed) {
                let nap = wait.min(NAP);
                std::thread::sleep(nap);
                wait -= nap;
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            verified = self.store.verify(blake3, Box::new(each)) => Some(verified),
        }
    }
}

/// Tells the reading thread that nobody waits for it any more, however the waiting ended: it sleeps no longer.
#[derive(Default)]
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::span::Span;

    #[test]
    fn a_report_names_so_many_and_counts_the_rest() {
        let mut report = ScrubReport::default();
        let blake3 = |number: usize| Blake3::new([(number % 251) as u8; 32]);
        let spans: SpanSet = std::iter::once(Span::new(0, 9)).collect();
        for number in 0..BAD_MAX + 5 {
            report.add(match number % 2 {
                0 => Verified::Bad(blake3(number), spans.clone()),
                _ => Verified::Unreadable(blake3(number), "no proof".into()),
            });
        }
        report.add(Verified::Good(blake3(1)));
        report.add(Verified::Gone(blake3(1)));
        assert_eq!(report.bad.len() + report.unreadable.len(), BAD_MAX);
        assert_eq!((report.more, report.payloads), (5, BAD_MAX as u64 + 6));
    }
}
