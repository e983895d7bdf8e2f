//! One extent: from the source to the draft.
//!
//! 1. Ask for the span, of the pinned version. An origin that sends the whole instead is handed back to the owner.
//! 2. Read and write at the same time: what arrives while a write runs is batched for the next one, up to 1 MiB; little
//!    is gathered for a moment, for a write costs two threads a change of what they do.
//! 3. What is written is marked, and tails may read it at once. The end of the extent is written in one go, so that
//!    enough can be held back of what completes a draft.
//! 4. Stop where the planner has cut the extent short.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::base::span::Span;
use crate::fill::config::{BATCH, CHUNKS_QUEUED, GATHER, GATHER_FOR, HELD_BACK};
use crate::fill::flight::Shared;
use crate::fill::gate::Permit;
use crate::fill::opening::must_be_one_answer;
use crate::fill::state::Extent;
use crate::model::payload::Location;
use crate::store::{self, Draft, Store, Tally};
use crate::upstream::{self, Answer, Ask, Body, Method, Pinned};

/// How often a pump to which nothing comes looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(250);

/// How an extent ended.
pub(super) enum Pumped {
    /// All of it is in.
    Done,
    /// The planner cut it short, or the background is paused: the connection is for others meanwhile.
    Cut,
    /// The origin ignores Range: its answer carries the whole.
    Whole(Box<Answer>, Permit),
    /// The source failed, after all retries.
    Failed(upstream::Error),
    /// The draft cannot be written.
    Disk(store::Error),
}

/// What a pump works with.
#[derive(Clone)]
pub(super) struct Pump {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    pub(super) draft: Draft,
    pub(super) location: Location,
    pub(super) pinned: Pinned,
    /// The extent's number in the shared state.
    pub(super) id: u64,
    pub(super) via: Option<String>,
}

impl Pump {
    /// Asks for `span` and writes what comes.
    pub(super) async fn run(self, span: Span, permit: Permit) -> Pumped {
        let ask = Ask {
            location: self.location.clone(),
            method: Method::Get,
            span: Some(span),
            pinned: Some(self.pinned.clone()),
            revalidate: None,
            via: self.via.clone(),
        };
        let answer = tokio::select! {
            answer = self.shared.source.ask(ask) => answer,
            () = self.until_over() => return Pumped::Cut,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Pumped::Failed(error),
        };
        let whole = Span::new(0, self.pinned.size);
        if answer.span != span && answer.span == whole {
            return Pumped::Whole(Box::new(answer), permit);
        }
        if answer.span.start() != span.start() || answer.span.end() > span.end() {
            return Pumped::Failed(upstream::Error::Lied {
                host: host_of(&self.location.url).to_owned(),
                why: format!("asked for {span:?}, it answers {:?}", answer.span),
            });
        }
        self.pour(answer.span, answer.body, permit).await
    }

    /// Writes a body that carries `span`. Bytes that are in already are not written again.
    pub(super) async fn pour(self, span: Span, body: Body, permit: Permit) -> Pumped {
        permit.during(self.poured(span, body)).await
    }

    async fn poured(self, span: Span, mut body: Body) -> Pumped {
        body.keep_to(&self.shared.lane);
        // One of which nothing could be kept goes on: see `Owner::choose_lane`.
        let may_pause = !must_be_one_answer(&self.pinned);
        let (chunks, arrived) = mpsc::channel(CHUNKS_QUEUED);
        let reader = read(body, chunks);
        let writer = self.write(span, arrived);
        tokio::pin!(reader, writer);
        let mut reading = true;
        loop {
            tokio::select! {
                biased;
                pumped = &mut writer => break pumped,
                () = &mut reader, if reading => reading = false,
                () = self.shared.lane.paused(), if may_pause => break Pumped::Cut,
            }
        }
    }

    async fn write(&self, span: Span, mut arrived: mpsc::Receiver<Result<Bytes, upstream::Error>>) -> Pumped {
        let mut at = span.start();
        let mut pending = Pending::default();
        let mut over = None;
        loop {
            let end = self.shared.lock().extents.get(&self.id).map_or(at, |extent| extent.end.min(span.end()));
            if at >= end {
                return if end < span.end() { Pumped::Cut } else { Pumped::Done };
            }
            // The extent's end is written in one go, everything else as soon as there is something.
            let enough = |len: u64| at + len >= end || (len > 0 && at + len + HELD_BACK <= end) || len > HELD_BACK;
            let mut gathered = None;
            while over.is_none() && pending.len < BATCH {
                let until = *gathered.get_or_insert_with(|| Instant::now() + GATHER_FOR);
                let is_due = pending.len >= GATHER || at + pending.len >= end || Instant::now() >= until;
                let next = if enough(pending.len) && is_due {
                    match arrived.try_recv() {
                        Ok(next) => Some(next),
                        Err(mpsc::error::TryRecvError::Empty) => break,
                        Err(mpsc::error::TryRecvError::Disconnected) => None,
                    }
                } else {
                    tokio::select! {
                        next = arrived.recv() => next,
                        () = tokio::time::sleep_until(until), if enough(pending.len) => continue,
                        // What little has come since the last write is not worth keeping: it is being asked for anew.
                        () = self.until_over() => return Pumped::Cut,
                    }
                };
                match next {
                    Some(Ok(chunk)) => {
                        self.store.ledger().add(Tally { fetched: chunk.len() as u64, ..Tally::default() });
                        pending.push(chunk);
                    }
                    Some(Err(error)) => over = Some(Pumped::Failed(error)),
                    None => over = Some(Pumped::Failed(short(&self.location, at + pending.len, span))),
                }
            }
            // The planner may have cut the extent short meanwhile.
            let end = self.shared.lock().extents.get(&self.id).map_or(at, |extent| extent.end.min(end));
            let len = match step(at, end, pending.len, over.is_some()) {
                Step::Write(len) => len,
                Step::Look => continue,
                Step::End => return over.unwrap_or(Pumped::Cut),
            };
            let parts = pending.take(len);
            if let Err(error) = self.store_bytes(at, parts).await {
                return Pumped::Disk(error);
            }
            at += len;
            let mut state = self.shared.lock();
            if let Some(extent) = state.extents.get_mut(&self.id) {
                extent.at = at;
                extent.fed_at = Some(Instant::now());
            }
        }
    }

    /// Waits until the planner has given the rest of the extent back: a connection over which nothing comes must not keep
    /// its place at the gate.
    async fn until_over(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.shared.lock().extents.get(&self.id).is_none_or(Extent::is_over) {
                return;
            }
        }
    }

    /// Writes those of the bytes that are not in, and marks them.
    async fn store_bytes(&self, at: u64, parts: Vec<Bytes>) -> Result<(), store::Error> {
        let span = Span::at(at, total(&parts));
        let gaps: Vec<Span> = self.shared.lock().writable(span);
        for gap in gaps {
            self.shared.until_room().await;
            // Before the write: one that breaks off may have written some of it.
            self.shared.lock().writers.wrote(host_of(&self.location.url), gap);
            self.draft.write_parts(gap.start(), cut(&parts, at, gap)).await?;
            self.shared.mark(gap);
        }
        Ok(())
    }
}

/// What a pump does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// This much is written.
    Write(u64),
    /// Nothing can be written: what is wanted is looked at anew.
    Look,
    /// Nothing more comes, and something is missing.
    End,
}

/// What is done with `pending` bytes that begin at `at`, of an extent that now ends at `end`; `over`: the body has ended. An extent that
/// was given back has nothing that could be missing, however its body ended: what has come of it is being asked for anew.
fn step(at: u64, end: u64, pending: u64, over: bool) -> Step {
    let mut len = pending.min(end.saturating_sub(at)).min(BATCH);
    if at + len < end && at + len + HELD_BACK > end && len > HELD_BACK {
        len = end - HELD_BACK - at;
    }
    match len {
        0 if over && at < end => Step::End,
        0 => Step::Look,
        len => Step::Write(len),
    }
}

/// Chunks in order, not yet written.
#[derive(Default)]
struct Pending {
    chunks: std::collections::VecDeque<Bytes>,
    len: u64,
}

impl Pending {
    fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len() as u64;
        self.chunks.push_back(chunk);
    }

    /// The first `len` bytes (at most what is there), uncopied.
    fn take(&mut self, len: u64) -> Vec<Bytes> {
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        let mut parts: Vec<Bytes> = Vec::new();
        while left > 0 {
            let Some(mut chunk) = self.chunks.pop_front() else {
                break;
            };
            let part = chunk.split_to(left.min(chunk.len()));
            left -= part.len();
            if !chunk.is_empty() {
                self.chunks.push_front(chunk);
            }
            parts.push(part);
        }
        self.len -= total(&parts);
        parts
    }
}

fn total(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

/// The bytes of `span` out of `parts`, which begin at `at`; uncopied.
fn cut(parts: &[Bytes], mut at: u64, span: Span) -> Vec<Bytes> {
    let mut inside = Vec::with_capacity(parts.len());
    for part in parts {
        let here = Span::at(at, part.len() as u64).intersect(&span);
        if !here.is_empty() {
            // Both are inside the part, whose length is a usize.
            let place = |offset: u64| usize::try_from(offset - at).unwrap_or(part.len());
            inside.push(part.slice(place(here.start())..place(here.end())));
        }
        at += part.len() as u64;
    }
    inside
}

/// Hands chunks on until the body ends; the writer's going away ends it too.
async fn read(mut body: Body, chunks: mpsc::Sender<Result<Bytes, upstream::Error>>) {
    loop {
        let next = match body.next().await {
            Ok(Some(chunk)) if chunk.is_empty() => continue,
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let last = next.is_err();
        if chunks.send(next).await.is_err() || last {
            return;
        }
    }
}

fn short(location: &Location, at: u64, span: Span) -> upstream::Error {
    upstream::Error::Lied {
        host: host_of(&location.url).to_owned(),
        why: format!("the answer for {span:?} ends at byte {at}"),
    }
}

/// Host and port of an absolute URL.
pub(super) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_bytes_come_out_in_order_and_cut_to_size() {
        let mut pending = Pending::default();
        for chunk in ["ab", "cde", "f"] {
            pending.push(Bytes::from_static(chunk.as_bytes()));
        }
        assert_eq!(pending.take(1), ["a"]);
        assert_eq!(pending.take(3), ["b", "cd"]);
        assert_eq!(pending.len, 2);
        assert_eq!(pending.take(9), ["e", "f"]);
        assert_eq!((pending.len, pending.take(1).len()), (0, 0));
    }

    #[test]
    fn a_body_that_ends_accuses_nobody_of_what_was_given_back() {
        let end = 4 * BATCH;
        // All of a piece came, and the planner has given the extent back meanwhile: at its beginning, or before what was written last.
        assert_eq!(step(BATCH, BATCH, BATCH, true), Step::Look);
        assert_eq!(step(2 * BATCH, BATCH, 10, true), Step::Look);
        assert_eq!(step(BATCH, BATCH + 10, BATCH, true), Step::Write(10));
        // What is missing is missing.
        assert_eq!(step(BATCH, end, 0, true), Step::End);
        assert_eq!(step(BATCH, end, 0, false), Step::Look);
        assert_eq!(step(BATCH, end, 7, true), Step::Write(7));
        assert_eq!(step(0, end, 9 * BATCH, false), Step::Write(BATCH));
        // The end is written in one go.
        assert_eq!(step(0, BATCH, BATCH - 1, false), Step::Write(BATCH - HELD_BACK));
    }

    #[test]
    fn the_bytes_of_a_span_out_of_parts() {
        let parts = ["ab", "cde", "f"].map(|part| Bytes::from_static(part.as_bytes()));
        assert_eq!(cut(&parts, 10, Span::new(11, 14)), ["b", "cd"]);
        assert_eq!(cut(&parts, 10, Span::new(12, 16)), ["cde", "f"]);
        assert_eq!(cut(&parts, 10, Span::new(13, 14)), ["d"]);
    }

    #[test]
    fn the_host_of_a_url() {
        assert_eq!(host_of("http://a:1/b?c"), "a:1");
        assert_eq!(host_of("https://[::1]:2?x"), "[::1]:2");
    }
}
