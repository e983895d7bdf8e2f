//! A WSUS server that fetches files only when somebody asks: what it lists and answers with 404 it is told to fetch
//! (DownloadFiles, MS-WSUSSS 3.1.4.11), and asked for again until it is there.
//!
//! 1. Who misses a file says so ([`Lazy::wanted`]). What was asked for a moment ago is not asked for again.
//! 2. All that are missed within a moment are named in one message; the next ones wait for its answer.
//! 3. The server answers at once and fetches in its own time, from Microsoft; it never says how far it is. So its address is
//!    asked again, at growing intervals, for a bounded time ([`Inner::until_there`]).
//! 4. A client that waits meanwhile is told to come again (503) before it loses its patience, and finds the flight, or the
//!    next one, which does not ask the server anew. It is never told 404 of what the server is fetching: a client takes that
//!    for the node's word, and avoids it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::digest::Sha1;
use crate::fill::config::{FLIGHTS_MAX, RETRY_AFTER};
use crate::fill::inner::Inner;
use crate::fill::learn::{self, First, Learnt};
use crate::fill::pump::host_of;
use crate::model::payload::Location;
use crate::upstream;
use crate::upstream::wsus::Wsus;

/// How long misses are gathered into one message: clients of one update ask for its files within moments.
const GATHER: Duration = Duration::from_millis(100);

/// Digests in one message (MS-WSUSSS 3.1.4.11: at most 100).
const BATCH_MAX: usize = 100;

/// For so long a server is not asked for the same file again: it fetches, or has failed without a word and would again.
const ASKED_FOR: Duration = Duration::from_mins(10);

/// The same where it could not be asked at all.
const FAILED_FOR: Duration = Duration::from_secs(30);

/// Files that were asked for and are remembered; 60 bytes each.
const ASKED_MAX: usize = 16 << 10;

/// The first wait before the server is asked whether it has the file by now, and the longest one.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// How long one flight asks again before the next place is tried, or the flight ends: a server fetches an ordinary file
/// within this; whoever wants a large one asks again, and finds another flight.
const PATIENCE: Duration = Duration::from_mins(1);

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It fetches.
    Fetches,
    /// It does not know the file.
    Unknown,
    /// It could not be asked.
    Failed(String),
}

type Answer = watch::Receiver<Option<Asked>>;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Lazy {
    wsus: Wsus,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Not named in a message yet.
    waiting: BTreeMap<Sha1, watch::Sender<Option<Asked>>>,
    /// Those of which is known, or will be, what the server said, and since when.
    asked: HashMap<Sha1, (Instant, Answer)>,
    /// A task sends.
    sends: bool,
}

impl Book {
    /// What is known of a file that was asked for before.
    fn known(&self, sha1: &Sha1) -> Option<Answer> {
        let (at, answer) = self.asked.get(sha1)?;
        if answer.borrow().is_none() && answer.has_changed().is_err() {
            // Whoever was to ask is gone.
            return None;
        }
        let lasts = match &*answer.borrow() {
            None => return Some(answer.clone()),
            Some(Asked::Failed(_)) => FAILED_FOR,
            Some(Asked::Fetches | Asked::Unknown) => ASKED_FOR,
        };
        (at.elapsed() < lasts).then(|| answer.clone())
    }

    /// Takes note of one that is to be asked for; `None` where too many wait.
    fn add(&mut self, sha1: Sha1) -> Option<Answer> {
        if self.waiting.len() >= FLIGHTS_MAX {
            return None;
        }
        if self.asked.len() >= ASKED_MAX {
            self.asked.retain(|_, (at, _)| at.elapsed() < ASKED_FOR);
        }
        if self.asked.len() >= ASKED_MAX {
            let oldest = self.asked.iter().min_by_key(|(_, (at, _))| *at).map(|(sha1, _)| *sha1);
            oldest.map(|sha1| self.asked.remove(&sha1));
        }
        let (tell, answer) = watch::channel(None);
        self.waiting.insert(sha1, tell);
        self.asked.insert(sha1, (Instant::now(), answer.clone()));
        Some(answer)
    }
}

impl Lazy {
    pub(super) fn new(wsus: Wsus) -> Self {
        Self { wsus, book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Whole between any two calls, so that a panic elsewhere has broken nothing.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when nothing is at work for it.
    pub(super) async fn ended(&self) {
        self.wsus.drained().await;
    }

    /// The next batch; where there is none nobody sends any more.
    fn batch(&self) -> Vec<(Sha1, watch::Sender<Option<Asked>>)> {
        let mut book = self.book();
        let batch: Vec<_> = std::iter::from_fn(|| book.waiting.pop_first()).take(BATCH_MAX).collect();
        book.sends = !batch.is_empty();
        batch
    }

    /// Step 2, until nothing waits.
    async fn send(&self, closing: &CancellationToken) {
        loop {
            tokio::time::sleep(GATHER).await;
            let batch = self.batch();
            if batch.is_empty() {
                return;
            }
            let digests: Vec<Sha1> = batch.iter().map(|(sha1, _)| *sha1).collect();
            let asked = tokio::select! {
                () = closing.cancelled() => return,
                asked = self.wsus.download_files(&digests) => asked,
            };
            match &asked {
                Ok(unknown) => tracing::info!(
                    upstream = self.wsus.label(),
                    files = digests.len(),
                    unknown = unknown.len(),
                    "the upstream was told to fetch files that it lists and does not have"
                ),
                Err(error) => {
                    tracing::warn!(%error, files = digests.len(), "the upstream could not be told to fetch files");
                }
            }
            for (sha1, tell) in batch {
                tell.send_replace(Some(match &asked {
                    Ok(unknown) if unknown.contains(&sha1) => Asked::Unknown,
                    Ok(_) => Asked::Fetches,
                    Err(error) => Asked::Failed(error.to_string()),
                }));
            }
        }
    }
}

impl Inner {
    /// Steps 1 and 2: what the server says to being told to fetch the file.
    async fn told_to_fetch(self: &Arc<Self>, sha1: Sha1) -> Asked {
        let Some(lazy) = &self.lazy else { return Asked::Unknown };
        let (answer, begin) = {
            let mut book = lazy.book();
            let answer = match book.known(&sha1) {
                Some(answer) => Some(answer),
                None => book.add(sha1),
            };
            let begin = !book.waiting.is_empty() && !std::mem::replace(&mut book.sends, true);
            (answer, begin)
        };
        if begin {
            let inner = Arc::clone(self);
            self.tracker.spawn(async move {
                if let Some(lazy) = &inner.lazy {
                    lazy.send(&inner.closing).await;
                }
            });
        }
        let Some(mut answer) = answer else {
            return Asked::Failed("it is being told of too many files already".to_owned());
        };
        match answer.wait_for(Option::is_some).await {
            Ok(told) => told.clone().unwrap_or(Asked::Unknown),
            Err(_) => Asked::Failed("the node is being stopped".to_owned()),
        }
    }

    /// Step 3. `missing` is the 404 that was answered.
    pub(super) async fn until_there(
        self: &Arc<Self>,
        sha1: Sha1,
        location: &Location,
        first: First,
        via: Option<&str>,
        missing: Learnt,
    ) -> Learnt {
        let host = || host_of(&location.url).to_owned();
        match self.told_to_fetch(sha1).await {
            Asked::Unknown => return missing,
            Asked::Failed(why) => {
                let why = format!("it does not have the file yet and cannot be told to fetch it: {why}");
                let retry_after = Some(RETRY_AFTER);
                return Learnt::Failed(upstream::Error::Unavailable { host: host(), why, retry_after });
            }
            Asked::Fetches => {}
        }
        let begun = Instant::now();
        let mut wait = FIRST;
        while begun.elapsed() < PATIENCE {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
            match learn::ask(self.source.as_ref(), &self.gates, location, first, via).await {
                Learnt::Failed(upstream::Error::Status { status: 404, .. }) => {}
                learnt => return learnt,
            }
        }
        let why = "it was told to fetch the file and does not have it yet".to_owned();
        Learnt::Failed(upstream::Error::Unavailable { host: host(), why, retry_after: Some(RETRY_AFTER) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn sha1(byte: u8) -> Sha1 {
        Sha1::new([byte; 20])
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_file_is_not_asked_for_again_for_a_while() {
        let mut book = Book::default();
        assert!(book.known(&sha1(1)).is_none());
        let answer = book.add(sha1(1)).unwrap();
        assert!(book.known(&sha1(1)).is_some(), "it is being asked for");
        let tell = book.waiting.pop_first().unwrap().1;
        tell.send_replace(Some(Asked::Fetches));
        assert_eq!(*answer.borrow(), Some(Asked::Fetches));
        tokio::time::advance(ASKED_FOR.mul_f64(0.9)).await;
        assert!(book.known(&sha1(1)).is_some());
        tokio::time::advance(ASKED_FOR.mul_f64(0.2)).await;
        assert!(book.known(&sha1(1)).is_none());

        book.add(sha1(2)).unwrap();
        book.waiting.pop_first().unwrap().1.send_replace(Some(Asked::Failed(String::new())));
        tokio::time::advance(FAILED_FOR).await;
        assert!(book.known(&sha1(2)).is_none(), "it may be up again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_has_a_bound() {
        let mut book = Book::default();
        for number in 0..ASKED_MAX + 5 {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let one = Sha1::new(bytes);
            book.add(one).unwrap();
            book.waiting.remove(&one);
            tokio::time::advance(Duration::from_micros(1)).await;
        }
        assert_eq!(book.asked.len(), ASKED_MAX);
        for number in 0..=FLIGHTS_MAX {
            let mut bytes = [1; 20];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            assert_eq!(book.add(Sha1::new(bytes)).is_some(), number < FLIGHTS_MAX);
        }
    }
}
