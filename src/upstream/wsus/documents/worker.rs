//! One worker: batches from the queue until it is empty (steps 2 to 5 of the head of [`super`]).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::base::digest::Sha1;
use crate::model::update::Identity;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::ask::{exchange, settle};
use crate::upstream::wsus::documents::health::weakness;
use crate::upstream::wsus::documents::size::Size;
use crate::upstream::wsus::documents::{Batch, Before, Document, Queue, Refused, Turn};
use crate::upstream::wsus::error::{Error, Trouble};
use crate::upstream::wsus::patience::{Step, Tries};
use crate::upstream::wsus::pipe::Pipe;
use crate::upstream::wsus::session::Visitor;
use crate::upstream::wsus::spool::Spool;
use crate::wire::error::Error as WireError;
use crate::wire::soap::Limits;
use crate::wire::wsusss::updates::{self, FileUrl, GetUpdateData, Given};
use crate::wire::wsusss::{Answer, Method};

/// Bytes of addresses and digests that are held of one answer. Real ones have some hundred kilobytes; beyond this the batch is
/// asked in halves.
const HELD_BYTES_MAX: usize = 4 << 20;

/// Attempts at the answer to more than one revision that breaks off: then a half of it may come through.
const BREAKS_MAX: u32 = 3;

/// Attempts at an answer that does not begin, or stands still, after which it is seen whether the server is well.
const SILENCES_MAX: u32 = 2;

/// Revisions that are refused in a row, by all workers, without one that comes, after which it is the server that is broken:
/// asking for each of some hundred thousand by itself would take days.
const REFUSED_IN_A_ROW_MAX: usize = 200;

/// What is asked for together.
#[derive(Debug)]
struct Piece {
    ids: Vec<Identity>,
    /// It is one, and came once in a form that could not be read.
    spoilt: bool,
}

impl Piece {
    fn new(ids: Vec<Identity>) -> Self {
        Self { ids, spoilt: false }
    }
}

/// What an answer brought, and why it did not bring the rest.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) batch: Batch,
    /// What came and cannot be read, and why. It may have been spoilt on its way.
    spoilt: BTreeMap<Identity, String>,
    pub(super) why: String,
    /// It may be that too much was asked for at once.
    too_much: bool,
}

impl Taken {
    fn nothing(why: String) -> Self {
        Self { batch: Batch::default(), spoilt: BTreeMap::new(), why, too_much: false }
    }
}

/// Batches from the queue, and what they brought to `out`.
pub(super) async fn work(
    core: &Core,
    queue: &Queue,
    turns: &Arc<Semaphore>,
    out: &mpsc::Sender<Result<Batch, Error>>,
) -> Result<(), Error> {
    let mut worker = Worker { core, visitor: Visitor::new(core) };
    let mut size = Size::new(queue.at_once);
    // Refusals are told once something has come again: until then it may be the server that is broken.
    let mut held_back: Vec<Refused> = Vec::new();
    while let Some(ids) = queue.pop() {
        let mut stack = vec![Piece::new(ids)];
        while let Some(mut piece) = stack.pop() {
            if piece.ids.len() > size.now() {
                stack.push(Piece::new(piece.ids.split_off(size.now())));
            }
            let asked = piece.ids.len();
            let turn = Turn::take(turns).await;
            let Taken { mut batch, spoilt, why, too_much } = match piece.ids.as_slice() {
                [one] => worker.alone(*one, piece.spoilt).await?,
                many => worker.ask(many).await?,
            };
            match (too_much, asked) {
                // One cannot be too many.
                (true, 1) => {}
                (true, _) => size.too_much(asked),
                (false, _) => size.answered(asked),
            }
            let mut left = left(&piece.ids, &batch);
            left.retain(|identity| !spoilt.contains_key(identity));
            stack.extend(spoilt.into_keys().map(|identity| Piece { ids: vec![identity], spoilt: true }));
            match left.len() {
                0 => {}
                count if count < asked => stack.push(Piece::new(left)),
                count => {
                    let second = left.split_off(count / 2);
                    stack.extend([Piece::new(second), Piece::new(left)]);
                }
            }
            let came = batch.documents.len();
            let in_a_row = queue.count(came, batch.refused.len());
            held_back.append(&mut batch.refused);
            if in_a_row > REFUSED_IN_A_ROW_MAX && queue.before == Before::Unknown {
                let why = format!("{in_a_row} revisions in a row, each by itself; the last one: {why}");
                return Err(Tries::new(core, Method::GetUpdateData).refused_as(true, why));
            }
            if came > 0 {
                core.proof.keep(&batch);
            }
            if came > 0 || queue.before == Before::Refused {
                batch.refused = std::mem::take(&mut held_back);
            }
            batch.turn = turn;
            if !batch.is_empty() && out.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
    }
    if !held_back.is_empty() {
        // Whoever is gone does not need them.
        let _ = out.send(Ok(Batch { refused: held_back, ..Batch::default() })).await;
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

struct Worker<'a> {
    core: &'a Core,
    visitor: Visitor<'a>,
}

impl Worker<'_> {
    /// Asks for one by itself until it has come or is refused (steps 4 and 5).
    async fn alone(&mut self, identity: Identity, mut spoilt: bool) -> Result<Taken, Error> {
        let mut pauses = Tries::new(self.core, Method::GetUpdateData);
        let mut failed = false;
        loop {
            let mut taken = self.ask(&[identity]).await?;
            if !taken.batch.documents.is_empty() || !taken.batch.refused.is_empty() {
                return Ok(taken);
            }
            let refuse = |mut taken: Taken, why: String| {
                taken.batch.refused.push(Refused { identity, why: why.clone() });
                Ok(Taken { why, ..taken })
            };
            if let Some(why) = taken.spoilt.remove(&identity) {
                if std::mem::replace(&mut spoilt, true) {
                    return refuse(taken, why);
                }
                continue;
            }
            if failed {
                let why = taken.why.clone();
                return refuse(taken, why);
            }
            let weakness = weakness(self.core, &mut self.visitor, &[identity]).await?;
            let goes_on = pauses.wait(None, &taken.why).await;
            match weakness {
                // It counts only where the server was well in between.
                None => failed = true,
                Some(_) if goes_on => {}
                Some(weakness) => {
                    let why = format!("{}; what it gave before it does not give now either ({weakness})", taken.why);
                    return Err(pauses.unavailable(why, None));
                }
            }
        }
    }

    /// Asks for these until there is an answer, or it is clear that they must be asked in halves.
    async fn ask(&mut self, ids: &[Identity]) -> Result<Taken, Error> {
        let core = self.core;
        let mut tries = Tries::new(core, Method::GetUpdateData);
        if ids.len() > 1 {
            tries = tries.answers_max(BREAKS_MAX);
        }
        let (mut silences, mut weak) = (0, None);
        loop {
            let call = GetUpdateData { cookie: Some(self.visitor.cookie().await?), updates: ids.to_vec() };
            let asked: HashSet<Identity> = ids.iter().copied().collect();
            let spool = Spool::new(core.config.spool.clone());
            let outcome = match exchange(core, &core.sync_url, &call, move |pipe| read(pipe, &asked, spool)).await {
                Ok((decoded, broken)) => settle(decoded, broken),
                Err(trouble) => Err(trouble),
            };
            match outcome {
                Ok(Answer::Done(taken)) => return Ok(taken),
                Ok(Answer::Fault(fault)) => match self.visitor.refusal(&mut tries, &fault).await? {
                    Step::Again | Step::Reauthorize => {}
                    Step::Bisect => return Ok(Taken::nothing(format!("{} refuses it: {fault}", core.label))),
                },
                Err(trouble) => {
                    let (is_answers, is_silence) = (trouble.is_answers(), trouble.is_silence() || trouble.hangs());
                    let why = trouble.in_words();
                    silences += u32::from(is_silence);
                    match tries.failed(trouble).await {
                        Ok(()) => {}
                        // Fewer would not come either.
                        Err(Error::Unavailable { why, retry_after, .. }) if let Some(weakness) = weak.take() => {
                            let why = format!("{why}; what it gave before it does not give now either ({weakness})");
                            return Err(tries.unavailable(why, retry_after));
                        }
                        Err(error @ (Error::Unavailable { .. } | Error::Unusable { .. })) if is_answers => {
                            return Ok(Taken { too_much: true, ..Taken::nothing(error.to_string()) });
                        }
                        Err(error) => return Err(error),
                    }
                    if is_silence && silences.is_multiple_of(SILENCES_MAX) {
                        weak = weakness(core, &mut self.visitor, ids).await?;
                        if weak.is_none() {
                            let why = format!("{} does not answer when it is asked for it: {why}", core.label);
                            return Ok(Taken { too_much: true, ..Taken::nothing(why) });
                        }
                        tries.weak();
                    }
                }
            }
        }
    }
}

/// Reads an answer. Blocks.
pub(super) fn read(pipe: Pipe, asked: &HashSet<Identity>, mut spool: Spool) -> Result<Answer<Taken>, Trouble> {
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
                    let why = error.to_string();
                    // What is too large is so every time.
                    if matches!(error, WireError::Limit { .. }) {
                        taken.batch.refused.push(Refused { identity, why });
                    } else {
                        taken.spoilt.insert(identity, why);
                    }
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
