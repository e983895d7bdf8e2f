//! From the work list to the catalog: documents are asked for in batches, read, and committed, until the list is empty.
//!
//! 1. A page of the work list is asked for; the conversation asks with several workers.
//! 2. Each batch that comes is read and committed by a task of its own, while the next one is on its way. A commit that has begun goes
//!    on to its end, also where the run is stopped; what has come by then is taken too, as far as that takes a few seconds.
//! 3. A document that may have been spoilt on its way is asked for once more, and then refused.
//! 4. What came or was refused has left the list; what bundles brought along is on it. So it goes on until nothing is left.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::update::Identity;
use crate::store;
use crate::store::catalog::{Batch, Catalog, Incoming};
use crate::sync::error::Error;
use crate::sync::progress::{Board, Step};
use crate::sync::read::{self, Bad, Ready, Urls};
use crate::sync::run::Work;
use crate::upstream::wsus;
use crate::upstream::wsus::Before;

/// Revisions of the work list that are looked at together.
const PAGE: usize = 10_000;

/// Batches that are read and committed at the same time: one is read while another waits for its commit.
const TAKERS_MAX: usize = 2;

/// Bytes of texts that one commit may hold in memory.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Pages in a row of which nothing comes and nothing is refused, after which it is given up.
const ROUNDS_MAX: u32 = 3;

/// How long a run that is stopped goes on to take what has come. A batch of small documents takes less than a second, one of large
/// ones minutes.
const STOPS_IN: Duration = Duration::from_secs(5);

/// Documents that were spoilt once.
type Spoilt = Arc<Mutex<HashSet<Identity>>>;

impl Work<'_> {
    /// Fetches what is wanted for a set until nothing is.
    pub(in crate::sync) async fn fetch(&self, set: &str, step: Step) -> Result<(), Error> {
        let mut left = self.set(set).await?.wanted;
        self.board.step(step, left);
        let spoilt = Spoilt::default();
        let mut rounds = 0;
        while left > 0 {
            if self.cancel.is_cancelled() {
                return Err(Error::Stopped);
            }
            let page = self.catalog.wanted(set.to_owned(), None, PAGE).await?;
            let spoilt_before = count(&spoilt);
            let done = self.page(set, step, &page, &spoilt).await?;
            left = self.set(set).await?.wanted;
            rounds = if done > 0 || count(&spoilt) > spoilt_before { 0 } else { rounds + 1 };
            if rounds >= ROUNDS_MAX {
                return Err(Error::Stuck { left, rounds });
            }
        }
        Ok(())
    }

    /// Steps 1 to 3 for a page. Says how many revisions left the list.
    async fn page(&self, set: &str, step: Step, page: &[Identity], spoilt: &Spoilt) -> Result<u64, Error> {
        let before = if step == Step::FetchingAgain { Before::Refused } else { Before::Unknown };
        let mut documents = self.wsus.documents(page, self.at_once, before);
        let mut takers: JoinSet<Result<u64, Error>> = JoinSet::new();
        let (mut done, mut ended) = (0, Ok(()));
        let stopping = Stopping { cancel: self.cancel.clone(), by: Arc::default() };
        let taker = || Taker {
            again: step == Step::FetchingAgain,
            catalog: self.catalog.clone(),
            board: Arc::clone(&self.board),
            set: set.to_owned(),
            spoilt: Arc::clone(spoilt),
            stopping: stopping.clone(),
        };
        while ended.is_ok() {
            let batch = match self.until_stopped(documents.next()).await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            };
            if takers.len() >= TAKERS_MAX {
                match joined(takers.join_next().await) {
                    Ok(more) => done += more,
                    Err(error) => ended = Err(error),
                }
            }
            takers.spawn(taker().take(batch));
        }
        // What came before a stop or a failure of the upstream need not be asked for again.
        let mut rest = documents.finish().await.into_iter();
        loop {
            while takers.len() < TAKERS_MAX
                && matches!(ended, Ok(()) | Err(Error::Stopped | Error::Upstream(_)))
                && let Some(batch) = rest.next()
            {
                takers.spawn(taker().take(batch));
            }
            if takers.is_empty() {
                break;
            }
            match joined(takers.join_next().await) {
                Ok(more) => done += more,
                // The first error is the one that counts.
                Err(error) => ended = ended.and(Err(error)),
            }
        }
        ended.map(|()| done)
    }
}

fn joined(taker: Option<Result<Result<u64, Error>, tokio::task::JoinError>>) -> Result<u64, Error> {
    match taker {
        None => Ok(0),
        Some(Ok(done)) => done,
        Some(Err(error)) => Err(Error::Broken(format!("reading what came broke off: {error}"))),
    }
}

fn count(spoilt: &Spoilt) -> usize {
    spoilt.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// What one task needs to take a batch in.
struct Taker {
    /// It was refused before.
    again: bool,
    catalog: Catalog,
    board: Arc<Board>,
    set: String,
    spoilt: Spoilt,
    stopping: Stopping,
}

/// Whether the run is stopped, and how long what has come is taken all the same.
#[derive(Clone)]
struct Stopping {
    cancel: CancellationToken,
    by: Arc<OnceLock<Instant>>,
}

impl Stopping {
    fn is_over(&self) -> bool {
        self.cancel.is_cancelled() && {
            let now = Instant::now();
            *self.by.get_or_init(|| now + STOPS_IN) <= now
        }
    }
}

/// Revisions that are committed together.
#[derive(Default)]
struct Group {
    updates: Vec<Incoming>,
    refused: Vec<(Identity, String)>,
    failed: Option<store::Error>,
    held: usize,
    /// Bytes in which each of `updates` came.
    came: Vec<u64>,
}

impl Taker {
    /// Reads and commits a batch; says how many of its revisions left the work list. What it comes to only after a stop stays there.
    async fn take(self, batch: wsus::Batch) -> Result<u64, Error> {
        // The next batch is asked for once this one is committed.
        let wsus::Batch { documents, urls, refused, turn: _turn } = batch;
        let refused = refused.into_iter().map(|refused| (refused.identity, refused.why)).collect();
        let mut group = Group { refused, ..Group::default() };
        let mut documents = documents.into_iter();
        let urls = Arc::new(read::urls(urls));
        let mut done = 0;
        loop {
            let (catalog, runtime) = (self.catalog.clone(), Handle::current());
            let (urls, spoilt, stopping) = (Arc::clone(&urls), Arc::clone(&self.spoilt), self.stopping.clone());
            let reading = tokio::task::spawn_blocking(move || {
                while group.held < GROUP_BYTES_MAX && group.failed.is_none() && !stopping.is_over() {
                    let Some(document) = documents.next() else { break };
                    group.add(&catalog, &runtime, &document, &urls, &spoilt);
                }
                (documents, group)
            });
            let (left, mut read) =
                reading.await.map_err(|error| Error::Broken(format!("reading a document broke off: {error}")))?;
            if let Some(failed) = read.failed.take() {
                return Err(failed.into());
            }
            done += self.commit(read).await?;
            if left.as_slice().is_empty() || self.stopping.is_over() {
                return Ok(done);
            }
            (documents, group) = (left, Group::default());
        }
    }

    async fn commit(&self, group: Group) -> Result<u64, Error> {
        let Group { updates, refused, came, .. } = group;
        let (good, bad) = (updates.len() as u64, refused.len() as u64);
        let done = good + bad;
        if done == 0 {
            return Ok(0);
        }
        // What was refused before proves nothing by being refused again. What comes well counts whether anything is refused beside
        // it or not.
        let too_many = if self.again { None } else { self.board.spoils(good, bad) };
        if let Some((bad, asked)) = too_many
            && let Some((identity, why)) = refused.last()
        {
            return Err(Error::Spoilt { bad, asked, last: *identity, why: why.clone() });
        }
        let run = Some(self.board.run());
        let applied =
            self.catalog.import(Batch { run, set: self.set.clone(), updates, came, refused, plain: false }).await?;
        for (identity, reason) in &applied.refused {
            tracing::warn!(%identity, reason, "an update is not taken");
        }
        self.board.applied(&applied, done);
        Ok(done)
    }
}

impl Group {
    fn add(&mut self, catalog: &Catalog, runtime: &Handle, document: &wsus::Document, urls: &Urls, spoilt: &Spoilt) {
        let identity = document.identity;
        match read::read(catalog, runtime, document, urls) {
            Ok(Ready { incoming, held }) => {
                self.held += held;
                self.came.push(document.content.len());
                self.updates.push(incoming);
            }
            // Step 3: the first time it stays on the list.
            Err(Bad::Document { why, again: true })
                if spoilt.lock().unwrap_or_else(PoisonError::into_inner).insert(identity) =>
            {
                tracing::debug!(%identity, why, "a document is asked for once more");
            }
            Err(Bad::Document { why, .. }) => self.refused.push((identity, why)),
            Err(Bad::Store(error)) => self.failed = Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_is_taken_for_a_while_after_a_stop_and_not_before_one() {
        let stopping = Stopping { cancel: CancellationToken::new(), by: Arc::new(OnceLock::from(Instant::now())) };
        assert!(!stopping.is_over(), "nobody has stopped it");
        stopping.cancel.cancel();
        assert!(stopping.is_over());
        let stopping = Stopping { by: Arc::default(), ..stopping };
        assert!(!stopping.is_over(), "it has just been stopped");
    }
}
