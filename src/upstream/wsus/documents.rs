//! Documents of revisions (MS-WSUSSS 3.1.4.6): batches, asked by several workers, until each revision has either come or been
//! refused with a reason.
//!
//! 1. The identities are cut into batches of what the server takes at once; workers take them one by one.
//! 2. A batch is asked; its answer is read on a thread that may block, its documents go into a [`Spool`].
//! 3. What a short answer left out is asked for again. Where the server refuses a batch as a whole (one revision that it does
//!    not know is enough), its answer cannot be read to its end, or none comes though the server is well, both halves are asked,
//!    down to the one that is the cause. A worker asks for fewer from then on where it was the size that was too much.
//! 4. One that came in a form that cannot be read may have been spoilt on its way: it is asked for once more, by itself.
//! 5. One that fails by itself is not to blame yet. The server is asked for something that it has given before ([`health`]): where
//!    that does not come either it is the server's weakness, which is waited for, and which ends all after a time. Where it
//!    comes, and the one fails once more, it is refused.
//! 6. What came goes to the taker. A worker asks again once that has been committed or dropped, so that what came and may be
//!    lost is a batch for each worker at most.
//!
//! Every step asks for fewer or has fewer left, and each reason to repeat has a bound of its own, so that it ends whatever the
//! server answers.

mod health;
mod size;
mod worker;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::base::digest::Sha1;
use crate::model::update::Identity;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::documents::worker::work;
use crate::upstream::wsus::error::Error;
use crate::upstream::wsus::spool::Content;
use crate::wire::wsusss::updates::{FileUrl, Form};

pub(super) use health::Proof;

/// A revision's document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which revision.
    pub identity: Identity,
    /// How it came: as text, or as a cabinet for [`crate::wire::cabinet`].
    pub form: Form,
    /// Its bytes.
    pub content: Content,
    /// Its files, as the message around it names them.
    pub files: Vec<Sha1>,
}

/// A revision that does not come, from a server that gave others meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which revision.
    pub identity: Identity,
    /// Why, for the history.
    pub why: String,
}

/// What one answer brought.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Documents, each revision at most once in all batches.
    pub documents: Vec<Document>,
    /// Where their files can be fetched.
    pub urls: Vec<FileUrl>,
    /// What will not come.
    pub refused: Vec<Refused>,
    /// To be dropped once the batch has been committed.
    pub turn: Turn,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.urls.is_empty() && self.refused.is_empty()
    }
}

/// Its worker asks for nothing more while this is held: whoever keeps batches stops their workers.
#[derive(Clone, Debug, Default)]
pub struct Turn(#[expect(dead_code, reason = "what counts is when it is dropped")] Option<Arc<OwnedSemaphorePermit>>);

impl Turn {
    async fn take(turns: &Arc<Semaphore>) -> Self {
        // Nobody closes them.
        Self(Arc::clone(turns).acquire_owned().await.ok().map(Arc::new))
    }
}

/// Documents under way. Dropped, all its workers end.
#[derive(Debug)]
pub struct Documents {
    batches: mpsc::Receiver<Result<Batch, Error>>,
    workers: JoinSet<()>,
}

impl Documents {
    pub(super) fn begin(core: &Arc<Core>, ids: &[Identity], at_once: usize, before: Before) -> Self {
        let queue: Arc<Queue> = Arc::new(Queue { before, ..Queue::new(ids, at_once) });
        let workers_max = core.config.parallel.clamp(1, crate::upstream::wsus::PARALLEL_MAX).min(queue.len().max(1));
        let turns = Arc::new(Semaphore::new(workers_max));
        // A batch of each worker, so that one that is stopped has given away what it had.
        let (sender, batches) = mpsc::channel(workers_max);
        let mut workers = JoinSet::new();
        for _ in 0..workers_max {
            let (core, queue, turns, sender) =
                (Arc::clone(core), Arc::clone(&queue), Arc::clone(&turns), sender.clone());
            let tasks = core.tasks.clone();
            workers.spawn(tasks.track_future(async move {
                if let Err(error) = work(&core, &queue, &turns, &sender).await {
                    // A taker that is gone asks for no reason.
                    let _ = sender.send(Err(error)).await;
                }
            }));
        }
        Self { batches, workers }
    }

    /// The next batch; `None` once every revision has come or been refused. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// What ended it for all; the workers have ended then. What others of them had got before comes behind it.
    pub async fn next(&mut self) -> Result<Option<Batch>, Error> {
        match self.batches.recv().await {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => {
                self.workers.shutdown().await;
                Err(error)
            }
            None => {
                while let Some(ended) = self.workers.join_next().await {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        self.stop().await;
                        return Err(Error::NotKept { why: format!("a worker failed: {error}") });
                    }
                }
                Ok(None)
            }
        }
    }

    /// Ends the workers and returns, when they have ended, what had come until then.
    pub async fn finish(&mut self) -> Vec<Batch> {
        self.workers.shutdown().await;
        self.batches.close();
        let mut come = Vec::new();
        while let Ok(batch) = self.batches.try_recv() {
            // One error was told, or nobody asks for any.
            come.extend(batch.ok());
        }
        come
    }

    /// Ends the workers, and returns when they have ended.
    pub async fn stop(&mut self) {
        drop(self.finish().await);
    }
}

/// What is known of revisions that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: where many in a row are refused, it is the server that is broken.
    Unknown,
    /// Each was refused before: that it is again proves nothing.
    Refused,
}

/// What the workers share.
#[derive(Debug)]
struct Queue {
    /// Batches that no worker has taken.
    batches: Mutex<VecDeque<Vec<Identity>>>,
    /// The most that are asked for at once.
    at_once: usize,
    /// Revisions that were refused since the last one came.
    refused_in_a_row: AtomicUsize,
    /// Whether that says anything.
    before: Before,
}

impl Queue {
    fn new(ids: &[Identity], at_once: usize) -> Self {
        // A revision that is named twice comes once.
        let mut seen = HashSet::with_capacity(ids.len());
        let ids: Vec<Identity> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
        let at_once = at_once.max(1);
        let batches = ids.chunks(at_once).map(<[Identity]>::to_vec).collect();
        Self { batches: Mutex::new(batches), at_once, refused_in_a_row: AtomicUsize::new(0), before: Before::Unknown }
    }

    fn len(&self) -> usize {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn pop(&self) -> Option<Vec<Identity>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Counts what a batch brought; says how many were refused in a row.
    fn count(&self, came: usize, refused: usize) -> usize {
        if came > 0 {
            self.refused_in_a_row.store(0, Ordering::Relaxed);
            return 0;
        }
        self.refused_in_a_row.fetch_add(refused, Ordering::Relaxed).saturating_add(refused)
    }
}
