//! Documents of revisions (MS-WSUSSS 3.1.4.6): batches, asked by several workers, until each revision has either come or been
//! refused with a reason.
//!
//! 1. The identities are cut into batches of what the server takes at once; workers take them one by one.
//! 2. A batch is asked; its answer is read on a thread that may block, its documents go into a [`Spool`].
//! 3. What a short answer left out is asked for again. Where the server refuses a batch as a whole (one revision that it does
//!    not know is enough), or its answer cannot be read to its end, both halves are asked, down to the one that is the cause.
//! 4. What came goes to the taker, who takes it before the worker goes on to more than one further batch.
//!
//! Every step asks for fewer or has fewer left, so that it ends whatever the server answers.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::base::digest::Sha1;
use crate::model::update::Identity;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::ask::{exchange, settle};
use crate::upstream::wsus::error::{Error, Trouble};
use crate::upstream::wsus::patience::{Step, Tries};
use crate::upstream::wsus::pipe::Pipe;
use crate::upstream::wsus::session::Visitor;
use crate::upstream::wsus::spool::{Content, Spool};
use crate::wire::error::Error as WireError;
use crate::wire::soap::Limits;
use crate::wire::wsusss::updates::{self, FileUrl, Form, GetUpdateData, Given};
use crate::wire::wsusss::{Answer, Method};

/// Bytes of addresses and digests that are held of one answer. Real ones have some hundred kilobytes; beyond this the batch is
/// asked in halves.
const HELD_BYTES_MAX: usize = 4 << 20;

/// Attempts at the answer to more than one revision that breaks off: then a half of it may come through.
const BREAKS_MAX: u32 = 3;

/// Revisions that are refused in a row, without one that comes, after which it is the server that is broken: asking for each
/// of some hundred thousand by itself would take days.
const REFUSED_IN_A_ROW_MAX: usize = 200;

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

/// A revision that does not come.
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
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.urls.is_empty() && self.refused.is_empty()
    }
}

/// Documents under way. Dropped, all its workers end.
#[derive(Debug)]
pub struct Documents {
    batches: mpsc::Receiver<Result<Batch, Error>>,
    workers: JoinSet<()>,
}

impl Documents {
    pub(super) fn begin(core: &Arc<Core>, ids: &[Identity], at_once: usize) -> Self {
        let queue: Arc<Queue> = Arc::new(Queue::new(ids, at_once));
        let workers_max = core.config.parallel.clamp(1, crate::upstream::wsus::PARALLEL_MAX).min(queue.len().max(1));
        // One that waits for the taker, besides those that the workers have at hand.
        let (sender, batches) = mpsc::channel(1);
        let mut workers = JoinSet::new();
        for _ in 0..workers_max {
            let (core, queue, sender) = (Arc::clone(core), Arc::clone(&queue), sender.clone());
            let tasks = core.tasks.clone();
            workers.spawn(tasks.track_future(async move {
                if let Err(error) = work(&core, &queue, &sender).await {
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
    /// What ended it for all; the workers have ended then, and there is nothing more.
    pub async fn next(&mut self) -> Result<Option<Batch>, Error> {
        match self.batches.recv().await {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => {
                self.stop().await;
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

    /// Ends the workers, and returns when they have ended.
    pub async fn stop(&mut self) {
        self.batches.close();
        self.workers.shutdown().await;
        while self.batches.try_recv().is_ok() {}
    }
}

/// Batches that no worker has taken.
#[derive(Debug)]
struct Queue(Mutex<VecDeque<Vec<Identity>>>);

impl Queue {
    fn new(ids: &[Identity], at_once: usize) -> Self {
        // A revision that is named twice comes once.
        let mut seen = HashSet::with_capacity(ids.len());
        let ids: Vec<Identity> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
        Self(Mutex::new(ids.chunks(at_once.max(1)).map(<[Identity]>::to_vec).collect()))
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn pop(&self) -> Option<Vec<Identity>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// One worker: batches from the queue until it is empty.
async fn work(core: &Arc<Core>, queue: &Queue, out: &mpsc::Sender<Result<Batch, Error>>) -> Result<(), Error> {
    let mut visitor = Visitor::new(core);
    let mut in_a_row = 0;
    while let Some(ids) = queue.pop() {
        let mut stack = vec![ids];
        while let Some(ids) = stack.pop() {
            let Taken { mut batch, why } = ask(core, &mut visitor, &ids).await?;
            let left = left(&ids, &batch);
            match (left.len(), left.len() < ids.len()) {
                (0, _) => {}
                (_, true) => stack.push(left),
                (1, false) => {
                    batch.refused.extend(left.into_iter().map(|identity| Refused { identity, why: why.clone() }));
                }
                (count, false) => {
                    let mut first = left;
                    let second = first.split_off(count / 2);
                    stack.extend([second, first]);
                }
            }
            in_a_row = if batch.documents.is_empty() { in_a_row + batch.refused.len() } else { 0 };
            if in_a_row > REFUSED_IN_A_ROW_MAX {
                let why = format!("{in_a_row} revisions in a row, each by itself; the last one: {why}");
                return Err(Tries::new(core, Method::GetUpdateData).refused(why));
            }
            if !batch.is_empty() && out.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Those that have neither come nor been refused, in order.
fn left(asked: &[Identity], batch: &Batch) -> Vec<Identity> {
    let done: HashSet<Identity> = batch
        .documents
        .iter()
        .map(|document| document.identity)
        .chain(batch.refused.iter().map(|refused| refused.identity))
        .collect();
    asked.iter().copied().filter(|identity| !done.contains(identity)).collect()
}

/// What an answer brought, and why it did not bring the rest.
#[derive(Debug)]
struct Taken {
    batch: Batch,
    why: String,
}

impl Taken {
    fn nothing(why: String) -> Self {
        Self { batch: Batch::default(), why }
    }
}

/// Asks for these until there is an answer, or it is clear that they must be asked in halves.
async fn ask(core: &Core, visitor: &mut Visitor<'_>, ids: &[Identity]) -> Result<Taken, Error> {
    let alone = ids.len() == 1;
    let mut tries = Tries::new(core, Method::GetUpdateData);
    if !alone {
        tries = tries.answers_max(BREAKS_MAX);
    }
    let mut refused_alone = false;
    loop {
        let call = GetUpdateData { cookie: Some(visitor.cookie().await?), updates: ids.to_vec() };
        let asked: HashSet<Identity> = ids.iter().copied().collect();
        let spool = Spool::new(core.config.spool.clone());
        let outcome = match exchange(core, &core.sync_url, &call, move |pipe| read(pipe, &asked, spool)).await {
            Ok((decoded, broken)) => settle(decoded, broken),
            Err(trouble) => Err(trouble),
        };
        match outcome {
            Ok(Answer::Done(taken)) => return Ok(taken),
            Ok(Answer::Fault(fault)) => match tries.refusal(&fault).await? {
                Step::Again => {}
                Step::Reauthorize => visitor.forget(),
                // A server says the same of a revision that it does not know and of a moment of weakness: the one that is
                // left alone has a second chance.
                Step::Bisect if alone && !refused_alone && tries.wait(None, &fault.to_string()).await => {
                    refused_alone = true;
                }
                Step::Bisect => return Ok(Taken::nothing(format!("{} refuses it: {fault}", core.label))),
            },
            Err(trouble) => {
                let is_answers = trouble.is_answers();
                match tries.failed(trouble).await {
                    Ok(()) => {}
                    Err(error @ (Error::Unavailable { .. } | Error::Unusable { .. })) if is_answers => {
                        return Ok(Taken::nothing(error.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Reads an answer. Blocks.
fn read(pipe: Pipe, asked: &HashSet<Identity>, mut spool: Spool) -> Result<Answer<Taken>, Trouble> {
    let mut answer = match updates::open(pipe, Limits::STREAM)? {
        Answer::Done(answer) => answer,
        Answer::Fault(fault) => return Ok(Answer::Fault(fault)),
    };
    let mut taken = Taken::nothing("the server leaves it out of its answers".to_owned());
    let mut seen = HashSet::with_capacity(asked.len());
    let mut held = 0_usize;
    loop {
        spool.discard();
        let given = answer.next_item(&mut spool);
        if let Some(why) = spool.failure() {
            return Err(Trouble::NotKept(why.to_owned()));
        }
        let Some(given) = given? else { return Ok(Answer::Done(taken)) };
        match given {
            // What nobody asked for, and what has come already, is left alone.
            Given::Update(update) => {
                if asked.contains(&update.identity) && seen.insert(update.identity) {
                    held = held.saturating_add(update.files.len().saturating_mul(size_of::<Sha1>()));
                    let content = spool.keep().map_err(|error| Trouble::NotKept(error.to_string()))?;
                    let updates::UpdateData { identity, form, files, .. } = update;
                    taken.batch.documents.push(Document { identity, form, content, files });
                }
            }
            Given::Url(url) => {
                let text = |part: &Option<String>| part.as_ref().map_or(0, String::len);
                held = held.saturating_add(size_of::<FileUrl>() + text(&url.microsoft) + text(&url.server));
                taken.batch.urls.push(url);
            }
            Given::Bad { identity: Some(identity), error } => {
                if asked.contains(&identity) && seen.insert(identity) {
                    taken.batch.refused.push(Refused { identity, why: error.to_string() });
                }
            }
            Given::Bad { identity: None, error } => taken.why = error.to_string(),
        }
        if held > HELD_BYTES_MAX {
            let limit = WireError::Limit {
                what: "an answer with documents",
                max: HELD_BYTES_MAX as u64,
                unit: "bytes of addresses and digests",
            };
            return Err(Trouble::Answer(limit));
        }
    }
}
