//! What a response carries, and reading what a request carries.
//!
//! A body with a size tells hyper exactly that size, so that it sends `Content-Length` and passes the slices on
//! untouched. A body that ends short of its size, or with an error, becomes an error for hyper, which then cuts the
//! connection (HTTP/1) or resets the stream (HTTP/2): no client takes it for whole.
//!
//! What hyper has been handed has not left: it waits in hyper's queue (HTTP/1) or for the stream's window (HTTP/2). So
//! what is handed over is a [`Slice`], which hyper advances by what its transport took; the answer has ended when the
//! body and all of its slices are gone. While many bytes are in slices the body gives no more (`outflow`).
//!
//! A frame is asked for when it can be sent, and no longer than that: [`FRAME_SLOW`] where the client is not known to be
//! fast, and where the bandwidth is limited as much as has been granted. So what a source says of its bytes, as that they are in
//! memory, holds when they are used, and nothing lies here and waits. While a turn has not come the answer waits for us and not
//! for the client.

use std::fmt;
use std::io::IoSlice;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::base::limits::WINDOW;
use crate::net::counters::Counters;
use crate::net::error::Error;
use crate::net::outflow::Outflow;
use crate::net::pulse::Visit;
use crate::pace::{Flow, Governor};

/// Why a body ended early; the connection is cut, so that no client takes it for whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body was cut short: {0}")]
pub struct Cut(pub String);

/// A source of frames. An implementation is a small state machine: a future per frame would allocate per frame.
pub trait Frames: Send {
    /// The next frame, at most `most` bytes long, which are at least 1 and at most [`WINDOW`]; `None` at the end. It goes out at
    /// once. Not asked again after `None` or an error.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>, most: usize) -> Poll<Option<Result<Bytes, Cut>>>;
}

/// How long a frame is for a client that is not known to be fast: what the kernel takes unsent from such a one
/// ([`crate::net::Config::unsent_bytes_max`]), so that no more of a frame is left over for later than that.
pub(crate) const FRAME_SLOW: usize = 128 << 10;

/// And for one that is.
const FRAME: usize = WINDOW as usize;

/// What a response carries. Frames are at most [`WINDOW`] long.
pub struct Body {
    source: Source,
    /// Bytes that are still owed; `None` where nobody said how many there are.
    left: Option<u64>,
    /// Bytes handed to the connection.
    sent: u64,
    state: State,
    passage: Arc<Passage>,
    track: Option<Track>,
    /// Asked before bytes are handed over.
    flow: Option<Flow>,
    /// Bytes that may go and have not.
    granted: usize,
    for_node: bool,
}

type Done = Box<dyn FnOnce(u64, bool) + Send>;

enum Source {
    Memory(Bytes),
    Frames(Pin<Box<dyn Frames>>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Whole,
    Broken,
}

/// An answer's bytes on their way. It is shared by the body and what it has handed over; with the last of them the answer
/// has ended.
#[derive(Default)]
struct Passage {
    /// Bytes that the connection took out of the slices.
    taken: AtomicU64,
    /// Bytes in all slices; told when the body is gone.
    handed: AtomicU64,
    /// Whether the body gave all that it was to give; told when it is gone.
    complete: AtomicBool,
    outflow: Outflow,
    /// The request is under way until then.
    visit: OnceLock<Arc<Visit>>,
    done: Mutex<Option<Done>>,
}

// What is told here is read when the last owner is gone, and that is an order in itself.
const ORDER: Ordering = Ordering::Relaxed;

impl Drop for Passage {
    fn drop(&mut self) {
        let (taken, handed) = (*self.taken.get_mut(), *self.handed.get_mut());
        let whole = *self.complete.get_mut() && taken == handed;
        if let Some(done) = self.done.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            done(taken, whole);
        }
    }
}

/// Bytes of a body on their way to the socket.
pub struct Slice {
    bytes: Bytes,
    /// Its length at first: what it lies in is there until all of it has left.
    frame: u64,
    passage: Arc<Passage>,
}

impl Drop for Slice {
    fn drop(&mut self) {
        drop(std::mem::take(&mut self.bytes));
        self.passage.outflow.gone(self.frame);
    }
}

impl Buf for Slice {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        self.passage.taken.fetch_add(taken as u64, ORDER);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.bytes.copy_to_bytes(len);
        self.passage.taken.fetch_add(len as u64, ORDER);
        bytes
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice").field("remaining", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The connection's interest in a body.
struct Track {
    visit: Arc<Visit>,
    counters: Counters,
    /// An early end can only be told from a good one by a reset of the connection.
    reset_when_broken: bool,
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// All of it at once, already in memory.
    pub fn full(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        Self::new(Source::Memory(bytes), Some(size))
    }

    /// `size` bytes from `next`: frame by frame; ending short of `size`, or an error, cuts the connection.
    pub fn frames(size: u64, next: Box<dyn Frames>) -> Self {
        Self::new(Source::Frames(Box::into_pin(next)), Some(size))
    }

    /// However many bytes `next` gives, chunked on HTTP/1.1; an error cuts the connection.
    pub fn stream(next: Box<dyn Frames>) -> Self {
        Self::new(Source::Frames(Box::into_pin(next)), None)
    }

    fn new(source: Source, left: Option<u64>) -> Self {
        let state = if left == Some(0) { State::Whole } else { State::Open };
        Self {
            source,
            left,
            sent: 0,
            state,
            passage: Arc::default(),
            track: None,
            flow: None,
            granted: 0,
            for_node: false,
        }
    }

    /// Calls `done` once when the answer has ended: with the bytes of it that the connection's transport took, and whether
    /// these were all that the response was to carry (access record, counters). What the transport is asked to take but does
    /// not, because the client left or does not read, is not among them. The answer to a HEAD carries nothing, and that is
    /// whole. It is called on the reactor: it must not block. A second call replaces the first.
    #[must_use]
    pub fn on_end(self, done: Box<dyn FnOnce(u64, bool) + Send>) -> Self {
        *self.passage.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        self
    }

    /// It goes to a child node, so that the bandwidth of nodes is its own and not that of endpoints.
    #[must_use]
    pub fn for_node(mut self) -> Self {
        self.for_node = true;
        self
    }

    /// How many bytes it has; `None` where that is not known.
    pub fn size(&self) -> Option<u64> {
        self.left.map(|left| self.sent + left)
    }

    /// Leaves the bytes out: the answer to a HEAD.
    pub(crate) fn leave_out(&mut self) {
        self.source = Source::Memory(Bytes::new());
        self.left = Some(0);
        self.state = State::Whole;
    }

    /// Lets the connection know how it goes. From here on it waits for the client, and the visit lasts until the last byte
    /// has left.
    pub(crate) fn track(&mut self, visit: Visit, counters: Counters, old_client: bool) {
        visit.set_ours(false);
        let visit = Arc::new(visit);
        // There is one connection to a body, so that this is the first.
        let _ = self.passage.visit.set(Arc::clone(&visit));
        let reset_when_broken = old_client && self.left.is_none();
        self.track = Some(Track { visit, counters, reset_when_broken });
    }

    /// Keeps to the bandwidth that `client` may have.
    pub(crate) fn keep_pace(&mut self, governor: &Governor, client: IpAddr) {
        if self.state == State::Open {
            self.flow = Some(if self.for_node { governor.to_node() } else { governor.to_client(client) });
        }
    }

    /// How long the next frame may be, once its turn has come.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        // What is in memory anyway is not cut.
        let is_cut = match (&self.source, &self.track) {
            (Source::Frames(_), Some(track)) => !track.visit.pulse().is_roomy(),
            _ => false,
        };
        let most = if is_cut { FRAME_SLOW } else { FRAME };
        let Some(flow) = self.flow.as_mut().filter(|flow| !flow.is_free()) else {
            self.granted = 0;
            return Poll::Ready(most);
        };
        if self.granted == 0 {
            let want = self.left.map_or(most as u64, |left| left.min(most as u64));
            let granted = ready!(flow.poll_take(cx, want));
            self.granted = usize::try_from(granted).unwrap_or(usize::MAX).max(1);
        }
        Poll::Ready(most.min(self.granted))
    }

    fn set_ours(&self, ours: bool) {
        if let Some(track) = &self.track {
            track.visit.set_ours(ours);
        }
    }

    fn give(&mut self, frame: Bytes) -> Result<Frame<Slice>, Cut> {
        let len = frame.len() as u64;
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(len) else {
                let excess = len - *left;
                return Err(self.fail(Cut(format!("its source gave {excess} bytes more than were promised"))));
            };
            *left = rest;
        }
        self.sent += len;
        self.granted = self.granted.saturating_sub(frame.len());
        if self.left == Some(0) {
            self.state = State::Whole;
        }
        self.passage.outflow.leaves(len);
        Ok(Frame::data(Slice { bytes: frame, frame: len, passage: Arc::clone(&self.passage) }))
    }

    fn fail(&mut self, cut: Cut) -> Cut {
        self.state = State::Broken;
        self.source = Source::Memory(Bytes::new());
        if let Some(track) = &self.track {
            track.counters.bodies_cut.inc();
            if track.reset_when_broken {
                track.visit.pulse().demand_reset();
            }
        }
        cut
    }
}

impl http_body::Body for Body {
    type Data = Slice;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Slice>, Cut>>> {
        let body = &mut *self;
        if body.state != State::Open {
            return Poll::Ready(None);
        }
        if body.passage.outflow.poll_room(cx).is_pending() {
            body.set_ours(false);
            return Poll::Pending;
        }
        let next = match body.poll_turn(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(most) => match &mut body.source {
                Source::Memory(bytes) => Poll::Ready(Some(Ok(bytes.split_to(bytes.len().min(most))))),
                Source::Frames(frames) => frames.as_mut().poll_next(cx, most),
            },
        };
        let next = match next {
            Poll::Ready(Some(Ok(frame))) if frame.is_empty() => {
                // Nothing to send; asked again soon, but not in a loop that nobody else gets a turn in.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            next => next,
        };
        body.set_ours(next.is_pending());
        Poll::Ready(match ready!(next) {
            Some(Ok(frame)) => Some(body.give(frame)),
            Some(Err(cut)) => Some(Err(body.fail(cut))),
            None => match body.left {
                None => {
                    body.state = State::Whole;
                    None
                }
                Some(left) => Some(Err(body.fail(Cut(format!("its source ended {left} bytes early"))))),
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Whole
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.set_ours(false);
        self.passage.handed.store(self.sent, ORDER);
        self.passage.complete.store(self.state == State::Whole, ORDER);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("left", &self.left).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// Reads a request's body whole: at most `bytes_max` bytes, within `time_max`, so that neither a long nor a slow one
/// holds memory or a handler.
pub async fn collect(body: Incoming, bytes_max: usize, time_max: Duration) -> Result<Bytes, Error> {
    let whole = tokio::time::timeout(time_max, Limited::new(body, bytes_max).collect())
        .await
        .map_err(|_| Error::BodyTooSlow { time_max })?;
    match whole {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::BodyTooLong { bytes_max }),
        Err(error) => Err(Error::BodyBroken(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    struct List(Vec<Result<Bytes, Cut>>);

    impl Frames for List {
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: usize) -> Poll<Option<Result<Bytes, Cut>>> {
            Poll::Ready((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    fn list(frames: &[&'static str]) -> Box<dyn Frames> {
        Box::new(List(frames.iter().map(|frame| Ok(Bytes::from_static(frame.as_bytes()))).collect()))
    }

    /// What a body gave, how it ended, and what `on_end` was told (a list, to see that it is told once).
    fn drain(body: Body) -> (Vec<u8>, Option<Cut>, Vec<(u64, bool)>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = told.clone();
        let mut body = Box::pin(body.on_end(Box::new(move |bytes, whole| teller.lock().unwrap().push((bytes, whole)))));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut bytes, mut cut) = (Vec::new(), None);
        loop {
            let hint = body.size_hint().exact();
            match body.as_mut().poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let mut data = frame.into_data().unwrap();
                    let data = data.copy_to_bytes(data.remaining());
                    assert!(data.len() as u64 <= WINDOW);
                    assert_eq!(body.size_hint().exact(), hint.map(|hint| hint - data.len() as u64));
                    bytes.extend_from_slice(&data);
                }
                Poll::Ready(Some(Err(error))) => cut = Some(error),
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
        }
        drop(body);
        let told = told.lock().unwrap().clone();
        (bytes, cut, told)
    }

    /// As long as it may be each time.
    struct Greedy(Arc<AtomicU64>);

    impl Frames for Greedy {
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>, most: usize) -> Poll<Option<Result<Bytes, Cut>>> {
            self.0.fetch_add(most as u64, ORDER);
            Poll::Ready(Some(Ok(Bytes::from(vec![0; most]))))
        }
    }

    /// The length of the next frame, which is gone at once.
    fn next_len(body: &mut Pin<Box<Body>>) -> Option<u64> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => Some(frame.unwrap().into_data().unwrap().remaining() as u64),
            _ => None,
        }
    }

    #[test]
    fn frames_are_short_until_the_client_is_known_to_be_fast() {
        let (pulse, pulled) = (Arc::new(crate::net::pulse::Pulse::default()), Arc::new(AtomicU64::new(0)));
        let mut body = Body::frames(1 << 30, Box::new(Greedy(pulled)));
        body.track(Visit::begin(pulse.clone()), Counters::default(), false);
        let mut body = Box::pin(body);
        assert_eq!(next_len(&mut body), Some(FRAME_SLOW as u64));
        pulse.set_roomy(true);
        assert_eq!(next_len(&mut body), Some(WINDOW));
        pulse.set_roomy(false);
        assert_eq!(next_len(&mut body), Some(FRAME_SLOW as u64));
    }

    #[tokio::test]
    async fn nothing_is_asked_for_before_its_turn_has_come() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let rules = crate::pace::Config::default().with(crate::pace::Class::Clients, &["32 kbit/s"]).unwrap();
        let governor = Governor::new(rules, Arc::new(crate::base::time::SystemClock));
        let driver = tokio::spawn(governor.clone().run(tokio_util::sync::CancellationToken::new()));
        while governor.to_client(client).is_free() {
            tokio::task::yield_now().await;
        }
        let pulled = Arc::new(AtomicU64::new(0));
        let mut body = Body::frames(1 << 30, Box::new(Greedy(pulled.clone())));
        body.keep_pace(&governor, client);
        let (mut body, mut sent) = (Box::pin(body), 0);
        while let Some(len) = next_len(&mut body) {
            sent += len;
            assert_eq!(pulled.load(ORDER), sent);
        }
        assert!((1..WINDOW).contains(&sent), "{sent}");
        assert_eq!(pulled.load(ORDER), sent, "what waits for its turn was not asked for");
        driver.abort();
    }

    #[test]
    fn gives_what_was_promised_and_tells_once() {
        assert_eq!(drain(Body::empty()), (vec![], None, vec![(0, true)]));
        assert!(Body::empty().is_end_stream());
        assert_eq!(drain(Body::frames(5, list(&["he", "", "llo"]))), (b"hello".to_vec(), None, vec![(5, true)]));
        assert_eq!(drain(Body::stream(list(&["he", "llo"]))), (b"hello".to_vec(), None, vec![(5, true)]));
        let long = vec![7; 3 * WINDOW as usize + 1];
        let (bytes, cut, told) = drain(Body::full(Bytes::from(long.clone())));
        assert_eq!((bytes == long, cut, told), (true, None, vec![(long.len() as u64, true)]));
    }

    #[test]
    fn breaks_where_the_source_does_not_keep_the_promise() {
        let (bytes, cut, told) = drain(Body::frames(6, list(&["hello"])));
        assert_eq!((bytes.as_slice(), told), (b"hello".as_slice(), vec![(5, false)]));
        assert!(cut.unwrap().to_string().contains("1 bytes early"));
        let (bytes, cut, told) = drain(Body::frames(4, list(&["hel", "lo"])));
        assert_eq!((bytes.as_slice(), told), (b"hel".as_slice(), vec![(3, false)]));
        assert!(cut.unwrap().to_string().contains("1 bytes more"));
        let failing = List(vec![Ok(Bytes::from_static(b"x")), Err(Cut("gone".into()))]);
        assert_eq!(drain(Body::stream(Box::new(failing))), (b"x".to_vec(), Some(Cut("gone".into())), vec![(1, false)]));
    }

    #[test]
    fn an_answer_to_head_is_whole_without_bytes() {
        let mut body = Body::frames(6, list(&[]));
        assert_eq!(body.size(), Some(6));
        body.leave_out();
        assert_eq!(drain(body), (vec![], None, vec![(0, true)]));
    }
}
