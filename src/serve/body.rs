//! Bodies: small state machines that give frames of at most a window.
//!
//! - [`Windows`]: a span of a held payload. Each frame goes out only when its pages are in memory; if they are not, the store's
//!   pool reads the window that it begins. The window after that is prepared while the last of it is sent, and no more than that
//!   one: a slow reader has two windows at most.
//! - [`Following`]: a span of a flight, as its bytes come in.
//! - [`Passing`]: the body of a response that is passed on.
//! - [`Parts`]: texts and bodies one after another, for `multipart/byteranges`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio_util::sync::ReusableBoxFuture;

use crate::base::limits::WINDOW;
use crate::base::span::Span;
use crate::net::{Cut, Frames};
use crate::serve::Face;
use crate::store::Held;
use crate::{fill, store};

type Polled = Poll<Option<Result<Bytes, Cut>>>;

/// The first window of `span`.
pub(super) fn first_window(span: Span) -> Span {
    Span::new(span.start(), span.end().min(span.start().saturating_add(WINDOW)))
}

/// A span of a held payload, frame by frame.
pub(super) struct Windows {
    face: Arc<Face>,
    held: Arc<Held>,
    left: Span,
    /// The window that is being read, if any; its future is polled until it is done, and never after.
    coming: Option<Span>,
    /// What is ready was read on demand, not ahead of time.
    demanded: bool,
    reading: Option<ReusableBoxFuture<'static, Result<store::Read, store::Error>>>,
    /// Of what comes next, what was read.
    ready: Option<store::Read>,
    /// So far it was looked ahead.
    ahead: u64,
}

impl Windows {
    /// `first` is the first window, which is at hand.
    pub(super) fn new(face: Arc<Face>, held: Arc<Held>, span: Span, first: Option<store::Read>) -> Self {
        let ahead = first_window(span).end();
        Self { face, held, left: span, coming: None, demanded: first.is_some(), reading: None, ready: first, ahead }
    }

    /// Starts to read `window`; [`Windows::poll_coming`] does the work.
    fn start(&mut self, window: Span) {
        let held = Arc::clone(&self.held);
        let read = async move { held.read(window).await };
        match &mut self.reading {
            Some(reading) => reading.set(read),
            None => self.reading = Some(ReusableBoxFuture::new(read)),
        }
        self.coming = Some(window);
    }

    /// Ready when nothing is being read any more.
    fn poll_coming(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let (Some(window), Some(reading)) = (self.coming, &mut self.reading) else {
            return Poll::Ready(Ok(()));
        };
        let outcome = ready!(reading.poll(cx));
        self.coming = None;
        Poll::Ready(outcome.map(|read| self.ready = Some(read)).map_err(|error| {
            self.face.unreadable(&self.held, window, &error);
            Cut(format!("a held payload cannot be read at {window:?}: {error}"))
        }))
    }

    /// The first `most` bytes of what was read; the rest is kept where it stays in memory. Else it is asked about when its turn
    /// comes, for that may be long after this.
    fn cut(&mut self, mut read: store::Read, most: usize) -> Bytes {
        let frame = read.bytes.split_to(most.min(read.bytes.len()));
        if read.stays && !read.bytes.is_empty() {
            self.ready = Some(read);
        }
        frame
    }

    /// Prepares the next window when the one before has gone.
    fn look_ahead(&mut self, cx: &mut Context<'_>) {
        let next = first_window(self.left);
        if next.is_empty() || self.ready.is_some() || self.left.start() < self.ahead {
            return;
        }
        self.ahead = next.end();
        if !self.held.resident(next) {
            self.demanded = false;
            self.start(next);
            // The first poll hands the work to the pool. Should it be done or fail at once, the next call finds out.
            if let Poll::Ready(Err(cut)) = self.poll_coming(cx) {
                tracing::debug!(error = %cut.0, "reading ahead failed, the window itself will be asked for again");
            }
        }
    }
}

impl Frames for Windows {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>, most: usize) -> Polled {
        let this = self.get_mut();
        if this.left.is_empty() {
            return Poll::Ready(None);
        }
        let window = first_window(this.left);
        let frame = Span::new(window.start(), window.end().min(window.start().saturating_add(most as u64)));
        let bytes = loop {
            if let Err(cut) = ready!(this.poll_coming(cx)) {
                return Poll::Ready(Some(Err(cut)));
            }
            match this.ready.take() {
                // Pages that were read ahead may be gone again when a slow reader asks for them. What has just been read on
                // demand is not asked again: under memory pressure that could go on for ever.
                Some(read) if read.stays || this.demanded => break this.cut(read, most),
                _ if this.held.resident(frame) => break this.held.window(frame),
                _ => {}
            }
            this.demanded = true;
            this.start(window);
        };
        this.demanded = false;
        this.left = Span::new(this.left.start() + bytes.len() as u64, this.left.end());
        this.look_ahead(cx);
        Poll::Ready(Some(Ok(bytes)))
    }
}

/// Pulls chunks out of something that is asked by an async call, without an allocation per chunk.
struct Pull<T: 'static, E: 'static> {
    asking: Option<Asking<T, E>>,
    idle: Option<T>,
    /// What came beyond a window.
    rest: Bytes,
}

type Asking<T, E> = ReusableBoxFuture<'static, (T, Option<Result<Bytes, E>>)>;

/// Something that gives chunks.
trait Chunks: Send + Sized + 'static {
    type Error: std::fmt::Display + Send + 'static;

    fn ask(self) -> impl Future<Output = (Self, Option<Result<Bytes, Self::Error>>)> + Send + 'static;
}

impl Chunks for fill::Tail {
    type Error = fill::Error;

    async fn ask(mut self) -> (Self, Option<Result<Bytes, fill::Error>>) {
        let next = self.next().await;
        (self, next)
    }
}

impl Chunks for fill::Through {
    type Error = fill::Error;

    async fn ask(mut self) -> (Self, Option<Result<Bytes, fill::Error>>) {
        let next = self.next().await.transpose();
        (self, next)
    }
}

impl<T: Chunks> Pull<T, T::Error> {
    fn new(source: T, first: Bytes) -> Self {
        Self { asking: None, idle: Some(source), rest: first }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, most: usize) -> Polled {
        loop {
            if !self.rest.is_empty() {
                return Poll::Ready(Some(Ok(self.rest.split_to(most.min(self.rest.len())))));
            }
            if let Some(source) = self.idle.take() {
                match &mut self.asking {
                    Some(asking) => asking.set(source.ask()),
                    None => self.asking = Some(ReusableBoxFuture::new(source.ask())),
                }
            }
            let Some(asking) = &mut self.asking else {
                return Poll::Ready(None);
            };
            let (source, next) = ready!(asking.poll(cx));
            match next {
                // An empty chunk is no end; ask again.
                Some(Ok(chunk)) => {
                    self.rest = chunk;
                    self.idle = Some(source);
                }
                Some(Err(error)) => {
                    self.asking = None;
                    return Poll::Ready(Some(Err(Cut(error.to_string()))));
                }
                None => {
                    self.asking = None;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

/// A span of a flight, as its bytes come in.
pub(super) struct Following(Pull<fill::Tail, fill::Error>);

impl Following {
    /// `first` came before the head was sent.
    pub(super) fn new(tail: fill::Tail, first: Bytes) -> Self {
        Self(Pull::new(tail, first))
    }
}

impl Frames for Following {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>, most: usize) -> Polled {
        self.get_mut().0.poll_next(cx, most)
    }
}

/// The body of a response that is passed on.
pub(super) struct Passing(Pull<fill::Through, fill::Error>);

impl Passing {
    /// `first` came out of `body` already.
    pub(super) fn new(body: fill::Through, first: Bytes) -> Self {
        Self(Pull::new(body, first))
    }
}

impl Frames for Passing {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>, most: usize) -> Polled {
        self.get_mut().0.poll_next(cx, most)
    }
}

/// One piece of a body of several.
pub(super) enum Part {
    Text(Bytes),
    Body(Pin<Box<dyn Frames>>),
}

/// Texts and bodies, one after another.
pub(super) struct Parts(VecDeque<Part>);

impl Parts {
    pub(super) fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        Self(parts.into_iter().collect())
    }
}

impl Frames for Parts {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>, most: usize) -> Polled {
        let parts = &mut self.get_mut().0;
        loop {
            let frame = match parts.front_mut() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => Some(Ok(text.split_to(text.len().min(most)))),
                Some(Part::Body(body)) => ready!(body.as_mut().poll_next(cx, most)),
            };
            let ended = frame.is_none() || matches!(parts.front(), Some(Part::Text(text)) if text.is_empty());
            if ended {
                parts.pop_front();
            }
            if frame.is_some() {
                return Poll::Ready(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives these chunks; says "not yet" once before each.
    struct Script(VecDeque<Result<Bytes, String>>);

    impl Chunks for Script {
        type Error = String;

        async fn ask(mut self) -> (Self, Option<Result<Bytes, String>>) {
            tokio::task::yield_now().await;
            let next = self.0.pop_front();
            (self, next)
        }
    }

    struct Scripted(Pull<Script, String>);

    impl Frames for Scripted {
        fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>, most: usize) -> Polled {
            self.get_mut().0.poll_next(cx, most)
        }
    }

    fn scripted(first: &'static str, chunks: &[Result<&'static str, &str>]) -> Pin<Box<dyn Frames>> {
        let chunks = chunks.iter().map(|chunk| chunk.map(Bytes::from).map_err(str::to_owned)).collect();
        Box::pin(Scripted(Pull::new(Script(chunks), Bytes::from(first))))
    }

    async fn drain(mut frames: Pin<Box<dyn Frames>>) -> Vec<Result<Bytes, String>> {
        let mut all = Vec::new();
        loop {
            match std::future::poll_fn(|cx| frames.as_mut().poll_next(cx, WINDOW as usize)).await {
                Some(Ok(frame)) => all.push(Ok(frame)),
                Some(Err(cut)) => {
                    all.push(Err(cut.0));
                    return all;
                }
                None => return all,
            }
        }
    }

    fn frames(list: &[Result<&'static str, &str>]) -> Vec<Result<Bytes, String>> {
        list.iter().map(|frame| frame.map(Bytes::from).map_err(str::to_owned)).collect()
    }

    #[tokio::test]
    async fn pulls_chunk_by_chunk_until_the_end_or_an_error() {
        assert_eq!(drain(scripted("a", &[Ok("b"), Ok(""), Ok("c")])).await, frames(&[Ok("a"), Ok("b"), Ok("c")]));
        assert_eq!(drain(scripted("", &[Ok("b"), Err("stalled"), Ok("c")])).await, frames(&[Ok("b"), Err("stalled")]));
        assert_eq!(drain(scripted("", &[])).await, frames(&[]));
    }

    #[tokio::test]
    async fn no_frame_is_longer_than_a_window() {
        let long = Bytes::from(vec![7; 2 * WINDOW as usize + 5]);
        let script = Script(VecDeque::from([Ok(long.clone())]));
        let all = drain(Box::pin(Scripted(Pull::new(script, Bytes::new())))).await;
        let lens: Vec<u64> = all.iter().map(|frame| frame.as_ref().unwrap().len() as u64).collect();
        assert_eq!(lens, [WINDOW, WINDOW, 5]);
    }

    #[tokio::test]
    async fn parts_come_one_after_another() {
        let part = |text: &'static str| Part::Text(Bytes::from(text));
        let all = Parts::new([
            part("<1>"),
            Part::Body(scripted("", &[Ok("a"), Ok("b")])),
            part("<2>"),
            Part::Body(scripted("", &[])),
            part("<end>"),
        ]);
        let expected = [Ok("<1>"), Ok("a"), Ok("b"), Ok("<2>"), Ok("<end>")];
        assert_eq!(drain(Box::pin(all)).await, frames(&expected));
        let cut = Parts::new([part("<1>"), Part::Body(scripted("", &[Err("gone")])), part("<end>")]);
        assert_eq!(drain(Box::pin(cut)).await, frames(&[Ok("<1>"), Err("gone")]));
    }
}
