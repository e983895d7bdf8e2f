//! The body of an answer: counted, watched for silence, resumed where it was cut, and read no faster than its class may.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use reqwest::Response;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::base::span::Span;
use crate::pace::{Class, Flow, Lane};
use crate::upstream::error::{Cause, Error, Failure};
use crate::upstream::head::Head;
use crate::upstream::health;
use crate::upstream::retry::{Next, Trying};
use crate::upstream::send::{Question, attempt};
use crate::upstream::verified::Verified;
use crate::upstream::{Core, failed};

/// Whole answers in a row that end at the very byte where the one before ended: an origin that ignores Range and cuts all
/// that is longer will cut it forever, and each try costs the link all of what is there already.
const BARREN_MAX: u32 = 2;

/// The body of an answer. A cut or stalled transfer is resumed inside (by further ranged requests, same version) until
/// the patience ends: what `next` reports is final.
///
/// Bytes come in order, from the start of [`crate::upstream::Answer::span`] to its end. Dropping it ends the transfer.
///
/// What has come is handed out grain by grain as the bandwidth of its lane allows; meanwhile nothing more is read, so that
/// the origin is held back by TCP.
pub struct Body {
    from: From,
    /// `None` for what does not come over HTTP.
    flow: Option<Flow>,
    /// Has come and must wait for its turn.
    rest: Bytes,
}

enum From {
    Nothing,
    Fed(mpsc::Receiver<Result<Bytes, Error>>),
    Transfer(Box<Transfer>),
    Verified(Box<Verified>),
}

/// A body that comes over HTTP.
pub(super) struct Transfer {
    core: Arc<Core>,
    host: Arc<health::Host>,
    /// The question for the rest: version pinned to the first answer's.
    question: Question,
    start: u64,
    /// The next byte to hand out.
    at: u64,
    /// Where the body ends, where that is known.
    end: Option<u64>,
    /// Where the current response must end at the latest.
    limit: u64,
    /// Bytes of the current response that were handed out before.
    skip: u64,
    trying: Trying,
    /// The current response is the whole once more; how much was there before it.
    again_from: Option<u64>,
    /// How many of those in a row ended just where what was there ended.
    barren: u32,
    /// Bytes were handed out, and the reader has not come back since.
    handed_out: bool,
    phase: Phase,
}

type Attempt = Pin<Box<dyn Future<Output = Result<(Head, Response), Failure>> + Send>>;

enum Phase {
    /// `quiet_until`: when it counts as stalled; set while somebody waits, so that a slow reader accuses nobody.
    Reading {
        response: Response,
        quiet_until: Option<Instant>,
    },
    Waiting(Instant),
    Asking(Attempt),
    Complete,
    Failed(Error),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            From::Nothing => f.write_str("Body(nothing)"),
            From::Fed(_) => f.write_str("Body(fed)"),
            From::Verified(_) => f.write_str("Body(verified)"),
            From::Transfer(transfer) => write!(f, "Body({} of {:?})", transfer.at, transfer.end),
        }
    }
}

impl Body {
    /// A body without a byte.
    pub fn empty() -> Self {
        Self { from: From::Nothing, flow: None, rest: Bytes::new() }
    }

    /// A body of another [`crate::upstream::Source`]: what is sent down the channel, until its sender is dropped.
    pub fn fed(channel: mpsc::Receiver<Result<Bytes, Error>>) -> Self {
        Self { from: From::Fed(channel), flow: None, rest: Bytes::new() }
    }

    /// One of which nothing is handed out that was not checked.
    pub(super) fn verified(verified: Verified) -> Self {
        Self { from: From::Verified(Box::new(verified)), flow: None, rest: Bytes::new() }
    }

    pub(super) fn transfer(
        core: Arc<Core>,
        host: Arc<health::Host>,
        question: Question,
        head: &Head,
        response: Response,
    ) -> Self {
        let pinned = question.version.as_ref().and_then(|version| version.size);
        let told = (head.span.end() < u64::MAX).then_some(head.span.end());
        let trying = Trying::at(&question.location.url, core.config.patience);
        let start = head.span.start();
        let limit = limit(head, &question);
        let transfer = Transfer {
            core,
            host,
            question,
            start,
            at: start,
            end: told.or(pinned),
            limit,
            skip: 0,
            trying,
            again_from: None,
            barren: 0,
            handed_out: false,
            phase: Phase::Reading { response, quiet_until: None },
        };
        let flow = Some(transfer.core.pace.lane(Class::Demand).flow());
        Self { from: From::Transfer(Box::new(transfer)), flow, rest: Bytes::new() }
    }

    /// Keeps to `lane` from now on; before that somebody waits for it, as far as anyone knows.
    pub fn keep_to(&mut self, lane: &Lane) {
        if let From::Verified(verified) = &mut self.from {
            return verified.body().keep_to(lane);
        }
        if self.flow.is_some() {
            self.flow = Some(lane.flow());
        }
    }

    /// The next bytes, never none of them; `None` at the end of the span. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// What ended the transfer for good: [`Error::Unavailable`] after the patience, [`Error::Changed`] if the rest is
    /// of another version, [`Error::Lied`] if there is more than announced. The same again on every further call.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.rest.is_empty() {
            let next = match &mut self.from {
                From::Nothing => None,
                From::Fed(channel) => channel.recv().await.transpose()?,
                From::Transfer(transfer) => transfer.next().await?,
                // Boxed: it has a body of its own inside.
                From::Verified(verified) => Box::pin(verified.next()).await?,
            };
            match next {
                Some(bytes) if self.flow.is_some() => self.rest = bytes,
                next => return Ok(next),
            }
        }
        let granted = match &mut self.flow {
            Some(flow) => flow.take(self.rest.len() as u64).await,
            None => u64::MAX,
        };
        let len = usize::try_from(granted).unwrap_or(usize::MAX).min(self.rest.len());
        Ok(Some(self.rest.split_to(len)))
    }
}

impl Transfer {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if std::mem::take(&mut self.handed_out) {
            // The time that the reader took is nobody's fault.
            self.trying.progress(0);
        }
        loop {
            match &mut self.phase {
                Phase::Complete => return Ok(None),
                Phase::Failed(error) => return Err(error.clone()),
                Phase::Reading { response, quiet_until } => {
                    let stall = self.core.config.stall_timeout;
                    let until = *quiet_until.get_or_insert_with(|| Instant::now() + stall);
                    let came = timeout_at(until, response.chunk()).await;
                    *quiet_until = None;
                    match came {
                        Ok(Ok(Some(bytes))) => {
                            if let Some(bytes) = self.take(bytes) {
                                return Ok(Some(bytes));
                            }
                        }
                        Ok(Ok(None)) => self.ended(None),
                        Ok(Err(error)) => self.ended(Some(root(&error.without_url()))),
                        Err(_) if self.is_complete() => self.phase = Phase::Complete,
                        Err(_) => self.broken(Cause::Stalled { after: stall, at: self.at }.at(self.host.name())),
                    }
                }
                Phase::Waiting(until) => {
                    sleep_until(*until).await;
                    self.ask_again();
                }
                Phase::Asking(asking) => match asking.await {
                    Ok((head, response)) => self.resume(&head, response),
                    Err(failure) => self.broken(failure),
                },
            }
        }
    }

    /// Counts what came; what was handed out before is dropped.
    fn take(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        self.host.received(bytes.len() as u64);
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        bytes.advance(known);
        self.skip -= known as u64;
        let len = bytes.len() as u64;
        if len == 0 {
            return None;
        }
        if len > self.limit.saturating_sub(self.at) {
            let why = format!("it sent bytes beyond {}, where its body ends", self.limit);
            self.finish(Cause::Lied(why).at(self.host.name()));
            return None;
        }
        // Where the whole came once more instead of the rest, nobody wants what lies behind the end.
        let wanted = self.end.unwrap_or(u64::MAX).saturating_sub(self.at);
        if len > wanted {
            bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            self.phase = Phase::Complete;
            if bytes.is_empty() {
                return None;
            }
        }
        let len = bytes.len() as u64;
        self.at += len;
        self.trying.progress(len);
        self.handed_out = true;
        Some(bytes)
    }

    fn is_complete(&self) -> bool {
        self.skip == 0 && self.end == Some(self.at)
    }

    /// The response is over: in order, or by this error.
    fn ended(&mut self, error: Option<String>) {
        let end_unknown = self.end.is_none() && self.skip == 0;
        if self.is_complete() || (end_unknown && error.is_none()) {
            self.phase = Phase::Complete;
        } else {
            let words = error.unwrap_or_else(|| "it ended before its end".to_owned());
            self.broken(Cause::Cut { at: Some(self.at), words }.at(self.host.name()));
        }
    }

    /// Decides whether the rest is asked for, and when.
    fn broken(&mut self, failure: Failure) {
        let version = self.question.version.as_ref();
        let known = version.is_some_and(|version| {
            version.digest_known
                || version.validators.strong_etag().is_some()
                || version.validators.last_modified.is_some()
        });
        if failure.cause.may_pass() && !known && self.at > self.start {
            tracing::debug!(host = self.host.name(), cause = %failure.cause, "cannot be resumed");
            return self.finish(Cause::NoResume { at: self.at }.at(&failure.host));
        }
        if let Some(before) = self.again_from.take() {
            // What is cut before that is an unsteady link, and may be better next time.
            self.barren = if self.skip == 0 && self.at == before { self.barren + 1 } else { 0 };
            if self.barren >= BARREN_MAX {
                return self.finish(failure);
            }
        }
        match self.trying.failed(&failure) {
            Next::At(at) => {
                tracing::debug!(host = self.host.name(), cause = %failure.cause, "transfer is resumed");
                self.host.retried(&failure.cause.to_string(), failure.cause.status());
                self.phase = Phase::Waiting(at);
            }
            Next::Enough => self.finish(failure),
        }
    }

    fn finish(&mut self, failure: Failure) {
        self.phase = Phase::Failed(failed(&self.host, failure));
    }

    /// Asks for the rest; for the whole where nobody knows the end.
    fn ask_again(&mut self) {
        let mut question = self.question.clone();
        question.span = self.end.map(|end| Span::new(self.at, end));
        let (core, deadline) = (Arc::clone(&self.core), self.trying.deadline());
        self.phase = Phase::Asking(Box::pin(async move { attempt(&core, &question, deadline).await }));
    }

    /// Goes on with another response, which is of the same version as far as it tells.
    fn resume(&mut self, head: &Head, response: Response) {
        self.skip = 0;
        if head.status == 200 {
            // The whole once more. Only a strong tag or a digest to come makes these bytes the same ones.
            let same = self.question.version.as_ref().is_some_and(|version| {
                let tag = version.validators.strong_etag();
                version.digest_known || (tag.is_some() && tag == head.validators.strong_etag())
            });
            if !same && self.at > 0 {
                return self.finish(Cause::NoResume { at: self.at }.at(self.host.name()));
            }
            self.skip = self.at;
            self.again_from = Some(self.at);
        }
        self.host.resumed();
        self.limit = limit(head, &self.question);
        self.phase = Phase::Reading { response, quiet_until: None };
    }
}

/// Where a response must end at the latest.
fn limit(head: &Head, question: &Question) -> u64 {
    let size = || question.version.as_ref().and_then(|version| version.size);
    if head.span.end() < u64::MAX { head.span.end() } else { size().unwrap_or(u64::MAX) }
}

/// What an error came from, in words.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string().chars().take(200).collect()
}
