//! Bodies of answers: bytes that are there, or a file whose bytes are made as they leave; slowed or cut where a fault says so.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::random::file_bytes;

/// Sent at a time.
const PART: usize = 64 << 10;

enum Source {
    Bytes(Bytes),
    File { seed: u64, at: u64, end: u64 },
}

/// Told how many bytes left when the body is done with.
type Done = Box<dyn FnOnce(u64) + Send>;

pub(crate) struct Payload {
    source: Source,
    /// Bytes a second.
    rate: Option<u64>,
    /// Where the connection breaks.
    cut: Option<u64>,
    sent: u64,
    wait: Option<Pin<Box<Sleep>>>,
    done: Option<Done>,
}

impl Payload {
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Bytes(bytes.into()), rate: None, cut: None, sent: 0, wait: None, done: None }
    }

    pub(crate) fn file(seed: u64, from: u64, end: u64) -> Self {
        let source = Source::File { seed, at: from, end };
        Self { source, rate: None, cut: None, sent: 0, wait: None, done: None }
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        match &self.source {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File { at, end, .. } => end - at,
        }
    }

    pub(crate) fn slowed(mut self, rate: Option<u64>) -> Self {
        self.rate = rate.or(self.rate);
        self
    }

    /// Breaks off after `share` hundredths.
    pub(crate) fn cut(mut self, share: u64) -> Self {
        self.cut = Some(self.left() * share / 100);
        self
    }

    pub(crate) fn then(mut self, done: impl FnOnce(u64) + Send + 'static) -> Self {
        self.done = Some(Box::new(done));
        self
    }

    /// Lets go of it without a word.
    pub(crate) fn forget(mut self) {
        self.done = None;
    }

    fn take(&mut self, most: usize) -> Bytes {
        match &mut self.source {
            Source::Bytes(bytes) => bytes.split_to(most.min(bytes.len())),
            Source::File { seed, at, end } => {
                let mut part = vec![0; most.min((*end - *at) as usize)];
                file_bytes(*seed, *at, &mut part);
                *at += part.len() as u64;
                part.into()
            }
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if let Some(wait) = &mut this.wait {
            if wait.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.wait = None;
        }
        if this.cut.is_some_and(|cut| this.sent >= cut) {
            return Poll::Ready(Some(Err(io::Error::other("cut on command"))));
        }
        if this.left() == 0 {
            return Poll::Ready(None);
        }
        let mut most = PART;
        if let Some(rate) = this.rate {
            // Twenty parts a second, so that it is a trickle and not a drip.
            most = ((rate / 20) as usize).clamp(1, PART);
            let pause = Duration::from_secs_f64(most as f64 / rate as f64);
            this.wait = Some(Box::pin(sleep_until(Instant::now() + pause)));
        }
        if let Some(cut) = this.cut {
            most = most.min((cut - this.sent) as usize).max(1);
        }
        let part = this.take(most);
        this.sent += part.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0 && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(self.sent);
        }
    }
}
