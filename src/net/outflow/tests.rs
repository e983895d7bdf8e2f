//! What a client that does not read makes the node hold.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use super::OUT_MAX;
use crate::net::body::FRAME_SLOW;
use crate::net::census::Census;
use crate::net::connection::{serve_http1, serve_http2};
use crate::net::drain::Drain;
use crate::net::pulse::Pulse;
use crate::net::told::Told;
use crate::net::{Body, Config, Counters, Cut, Frames, Handler, Peer, Shared};

/// More than anybody would hold.
const SIZE: u64 = 64 << 20;

/// What the pipe between both ends takes.
const PIPE: usize = 64 << 10;

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Answers when told to, in frames of one length, and counts what is pulled of them.
struct Endless {
    frame: usize,
    came: AtomicUsize,
    go: Notify,
    pulled: Arc<AtomicU64>,
}

struct Counted {
    frame: usize,
    pulled: Arc<AtomicU64>,
}

impl Frames for Counted {
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>, most: usize) -> Poll<Option<Result<Bytes, Cut>>> {
        let len = self.frame.min(most);
        self.pulled.fetch_add(len as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Bytes::from(vec![0; len]))))
    }
}

impl Handler for Endless {
    fn handle(self: Arc<Self>, _: Peer, _: Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            self.came.fetch_add(1, Ordering::Relaxed);
            self.go.notified().await;
            let (frame, pulled) = (self.frame, Arc::clone(&self.pulled));
            Response::new(Body::frames(SIZE, Box::new(Counted { frame, pulled })))
        })
    }
}

fn server(frame: usize) -> (Arc<Endless>, Arc<Shared>) {
    let handler = Arc::new(Endless { frame, came: AtomicUsize::new(0), go: Notify::new(), pulled: Arc::default() });
    let shared = Shared {
        config: ArcSwap::from_pointee(Config::default()),
        handler: handler.clone(),
        counters: Counters::default(),
        census: Census::default(),
        told: Told::default(),
        drain: Drain::new(),
    };
    (handler, Arc::new(shared))
}

/// Lets every task of this thread go on until none can: nobody here waits for a clock or another thread.
async fn settle() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

/// Runs the tasks of a client until it falls asleep.
#[derive(Clone, Default)]
struct Drowsy(Arc<AtomicBool>);

impl<F> hyper::rt::Executor<F> for Drowsy
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let asleep = Arc::clone(&self.0);
        let mut task = Box::pin(task);
        tokio::spawn(std::future::poll_fn(move |cx| {
            if asleep.load(Ordering::Relaxed) { Poll::Pending } else { task.as_mut().poll(cx).map(drop) }
        }));
    }
}

const PEER: Peer = Peer { remote: HERE, local: HERE, secure: false };

#[tokio::test]
async fn http1_holds_little_for_a_client_that_does_not_read() {
    for frame in [20 << 10, 63 << 10, 128 << 10, 1 << 20] {
        let (handler, shared) = server(frame);
        let (mut client, stream) = tokio::io::duplex(PIPE);
        let config = shared.config.load_full();
        tokio::spawn(async move { serve_http1(stream, PEER, None, &shared, config, Arc::new(Pulse::default())).await });
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        settle().await;
        handler.go.notify_waiters();
        settle().await;
        let pulled = handler.pulled.load(Ordering::Relaxed);
        assert!(
            (1..PIPE as u64 + OUT_MAX + frame.min(FRAME_SLOW) as u64).contains(&pulled),
            "{pulled} in frames of {frame}"
        );
        drop(client);
    }
}

#[tokio::test]
async fn http2_holds_little_for_a_client_that_opens_its_windows_and_does_not_read() {
    const STREAMS: usize = 6;
    for frame in [20 << 10, 63 << 10, 128 << 10, 1 << 20] {
        let (handler, shared) = server(frame);
        let (client, stream) = tokio::io::duplex(PIPE);
        let config = shared.config.load_full();
        tokio::spawn(async move { serve_http2(stream, PEER, None, &shared, config, Arc::new(Pulse::default())).await });
        let drowsy = Drowsy::default();
        let mut builder = hyper::client::conn::http2::Builder::new(drowsy.clone());
        builder.initial_stream_window_size(Some(16 << 20)).initial_connection_window_size(Some(256 << 20));
        let (ask, connection) = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(client)).await.unwrap();
        hyper::rt::Executor::execute(&drowsy, connection);
        for _ in 0..STREAMS {
            let request = Request::get("http://x/").body(Empty::new()).unwrap();
            hyper::rt::Executor::execute(&drowsy, ask.clone().send_request(request));
        }
        while handler.came.load(Ordering::Relaxed) < STREAMS {
            tokio::task::yield_now().await;
        }
        settle().await;
        drowsy.0.store(true, Ordering::Relaxed);
        handler.go.notify_waiters();
        settle().await;
        let pulled = handler.pulled.load(Ordering::Relaxed);
        let most = PIPE as u64 + STREAMS as u64 * (OUT_MAX + frame.min(FRAME_SLOW) as u64);
        assert!((1..most).contains(&pulled), "{pulled} in frames of {frame}");
        drop(ask);
    }
}

#[tokio::test]
async fn who_waits_is_woken_by_what_goes() {
    let outflow = super::Outflow::default();
    outflow.leaves(OUT_MAX);
    let waiting = std::future::poll_fn(|cx| outflow.poll_room(cx));
    tokio::pin!(waiting);
    assert!(futures_now(waiting.as_mut()).await.is_pending());
    outflow.gone(1);
    waiting.await;
}

/// One look.
async fn futures_now<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
