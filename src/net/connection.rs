//! One connection, from the accepted socket to its end.
//!
//! 1. Shake hands where it is TLS, in bounded time; ALPN names the protocol. HTTP/2 exists on TLS only.
//! 2. Let hyper read heads; give each request to the handler as a [`Visit`] that the pulse knows of.
//! 3. Every tick judge the pulse: close when idle, cut when the client is too slow.
//! 4. On a drain finish what is under way; at its end cut.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::net::body::Body;
use crate::net::census::Seat;
use crate::net::config::Config;
use crate::net::counters::{Counters, Reason};
use crate::net::drain::Drain;
use crate::net::guard::Guard;
use crate::net::pulse::{Pulse, Verdict, Visit, Watch};
use crate::net::tls::mutual::ClientCertificate;
use crate::net::{Peer, Shared};
use crate::pace::Governor;

/// The HTTP/2 library takes heads so many times as long as [`Config::header_bytes_max`]: what it takes is judged in the
/// door, refused there with a record and forgotten. What is longer still it refuses by itself, and tells nobody.
/// The library also tells the peer this length (`SETTINGS_MAX_HEADER_LIST_SIZE`), which is advice: heads between the two are
/// answered 431 all the same.
const HEAD_READ: usize = 4;

/// How many header fields the HTTP/1 library takes where nobody says how many.
const HEADERS_USUAL: usize = 100;

/// What the HTTP/1 library reads of a head or a body before somebody wants it, and what it queues of answers before it sends
/// them. Its own 408 KiB are what a client could make every connection hold; the longest head fits with as much again.
const HTTP1_BUFFER: usize = 128 << 10;

/// What the HTTP/2 library queues of a stream. Each stream of a client that opens its windows and reads nothing holds that.
const HTTP2_STREAM_BUFFER: usize = 64 << 10;

/// What HTTP/2 counts for a field beside its bytes (RFC 9113, 6.5.2).
const FIELD_BYTES: usize = 32;

/// The address that stands for our own end where the socket is gone already.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Sees `socket` through to its end, under the limits of `config`. `seat` is given back with it.
pub(crate) async fn run(
    socket: TcpStream,
    remote: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    config: Arc<Config>,
    seat: Seat,
) {
    let local = socket.local_addr().unwrap_or(NOWHERE);
    let peer = Peer { remote: canonical(remote), local: canonical(local), secure: tls.is_some() };
    let pulse = Arc::new(Pulse::default());
    let guard = Guard::new(socket, pulse.clone(), shared.counters.clone(), &config);
    let _counted = Counted::new(&shared.counters, seat);
    match tls {
        None => serve_http1(guard, peer, None, &shared, config, pulse).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(config.handshake_max, acceptor.accept(guard));
            let shaken = tokio::select! {
                () = shared.drain.stop().raised() => None,
                shaken = handshake => Some(shaken),
            };
            match shaken {
                None => {}
                Some(Ok(Ok(stream))) => {
                    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    let shown = shown.map(|shown| ClientCertificate(shown.clone().into_owned()));
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        serve_http2(stream, peer, shown, &shared, config, pulse).await;
                    } else {
                        serve_http1(stream, peer, shown, &shared, config, pulse).await;
                    }
                }
                Some(Ok(Err(error))) => {
                    shared.counters.handshakes_failed.inc();
                    tracing::debug!(client = %peer.remote, %error, "TLS handshake failed");
                }
                Some(Err(_)) => {
                    shared.counters.handshakes_failed.inc();
                    tracing::debug!(client = %peer.remote, "TLS handshake took too long");
                }
            }
        }
    }
}

/// A connection in the books for as long as this lives, however its task ends.
struct Counted {
    open: Gauge,
    _seat: Seat,
}

impl Counted {
    fn new(counters: &Counters, seat: Seat) -> Self {
        counters.open.inc();
        Self { open: counters.open.clone(), _seat: seat }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

pub(super) async fn serve_http1<S>(
    stream: S,
    peer: Peer,
    shown: Option<ClientCertificate>,
    shared: &Arc<Shared>,
    config: Arc<Config>,
    pulse: Arc<Pulse>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (judged, pace) = (None, config.pace.clone());
    let door = Door { shared: shared.clone(), peer, shown, pulse: pulse.clone(), judged, pace };
    // `pipeline_flush` stays off: with it hyper would buffer whole bodies for slow readers. hyper's own header timeout
    // also runs while a connection is idle, so it stands behind our two clocks and not in their place.
    let mut http1 = http1::Builder::new();
    // Told its own number the library would take room from the heap for each head.
    if config.headers_max != HEADERS_USUAL {
        http1.max_headers(config.headers_max);
    }
    let connection = http1
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_max + config.header_read_max)
        .max_header_size(config.header_bytes_max)
        .max_buf_size(HTTP1_BUFFER.max(config.header_bytes_max.saturating_mul(2)))
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), door);
    watch(connection, Watch::new(&config, true, Instant::now(), &pulse.sample()), config.tick(), peer, shared, &pulse)
        .await;
}

pub(super) async fn serve_http2<S>(
    stream: S,
    peer: Peer,
    shown: Option<ClientCertificate>,
    shared: &Arc<Shared>,
    config: Arc<Config>,
    pulse: Arc<Pulse>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (judged, pace) = (Some(config.clone()), config.pace.clone());
    let door = Door { shared: shared.clone(), peer, shown, pulse: pulse.clone(), judged, pace };
    let over = CancellationToken::new();
    // Streams run as tasks of their own; when the connection ends, however it does, so do they.
    let _streams_end_with_it = over.clone().drop_guard();
    let connection = http2::Builder::new(Streams { drain: shared.drain.clone(), over })
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        .max_send_buf_size(HTTP2_STREAM_BUFFER)
        .max_header_list_size(u32::try_from(config.header_bytes_max.saturating_mul(HEAD_READ)).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), door);
    watch(connection, Watch::new(&config, false, Instant::now(), &pulse.sample()), config.tick(), peer, shared, &pulse)
        .await;
}

/// A connection of hyper's that can be asked to end well.
trait Http: Future<Output = hyper::Result<()>> {
    fn say_goodbye(self: Pin<&mut Self>);
}

impl<S> Http for http1::Connection<TokioIo<S>, Door>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    fn say_goodbye(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Http for http2::Connection<TokioIo<S>, Door, Streams>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    fn say_goodbye(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives `connection` until it ends, is judged, or the server ends.
async fn watch(connection: impl Http, mut watch: Watch, every: Duration, peer: Peer, shared: &Shared, pulse: &Pulse) {
    let mut connection = pin!(connection);
    let mut stop = pin!(shared.drain.stop().raised());
    let mut cut = pin!(shared.drain.cut().raised());
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut stopping, mut leaving) = (false, false);
    let before = pulse.sample();
    loop {
        tokio::select! {
            biased;
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(client = %peer.remote, %error, "connection ended early");
                    unread(&error, peer, shared);
                }
                return;
            }
            // A cut is never without a stop, and comes after it: one of the two is waited for at a time.
            () = &mut stop, if !stopping => {
                stopping = true;
                let now = pulse.sample();
                if now.begun == 0 && now.read == before.read {
                    // Nothing was asked yet: there is nobody to say good-bye to.
                    return;
                }
                if watch.is_amid_head(&now) {
                    // hyper would wait for the rest of a first head, and the drain with it.
                    return;
                }
                if !leaving {
                    leaving = true;
                    connection.as_mut().say_goodbye();
                }
            }
            () = &mut cut, if stopping => {
                shared.counters.close(Reason::Drained);
                pulse.demand_reset();
                return;
            }
            _ = tick.tick() => match watch.judge(Instant::now(), &pulse.sample()) {
                Verdict::Go => {}
                Verdict::Close(reason) if leaving => {
                    // It was asked to leave an idle time ago and is still here.
                    tracing::debug!(client = %peer.remote, reason = reason.as_str(), "connection cut");
                    return;
                }
                Verdict::Close(reason) => {
                    shared.counters.close(reason);
                    leaving = true;
                    if pulse.sample().begun == 0 {
                        return;
                    }
                    connection.as_mut().say_goodbye();
                }
                Verdict::Cut(reason) => {
                    shared.counters.close(reason);
                    tracing::debug!(client = %peer.remote, reason = reason.as_str(), "connection cut");
                    pulse.demand_reset();
                    return;
                }
            }
        }
    }
}

/// Tells of a request that hyper answered by itself, since it could not be read; with which status is hyper's rule.
fn unread(error: &hyper::Error, peer: Peer, shared: &Shared) {
    let (reason, status) = match (error.is_parse(), error.is_parse_too_large()) {
        (_, true) => (Reason::TooLarge, 431),
        (true, false) => (Reason::Malformed, 400),
        (false, false) => return,
    };
    shared.counters.refuse_request(reason);
    shared.handler.unread(peer, status, &error.to_string());
}

/// Runs the streams of one HTTP/2 connection as tasks that the drain waits for.
#[derive(Clone)]
struct Streams {
    drain: Drain,
    over: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let over = self.over.clone();
        self.drain.spawn(async move {
            over.run_until_cancelled_owned(stream).await;
        });
    }
}

/// Where hyper's requests come in.
struct Door {
    shared: Arc<Shared>,
    peer: Peer,
    /// What the client has shown of itself.
    shown: Option<ClientCertificate>,
    pulse: Arc<Pulse>,
    /// By what heads are judged here; `None` where hyper has done so.
    judged: Option<Arc<Config>>,
    pace: Governor,
}

impl Door {
    /// Whether the request's head is longer than it may be: refused then, counted and told of, as hyper does it for HTTP/1.
    fn refuses(&self, request: &Request<Incoming>) -> bool {
        let Some(config) = &self.judged else { return false };
        let (bytes, fields) = (head_bytes(request), request.headers().len());
        let why = if bytes > config.header_bytes_max {
            format!("a head of {bytes} bytes, and at most {} are read", config.header_bytes_max)
        } else if fields > config.headers_max {
            format!("{fields} header fields, and at most {} are read", config.headers_max)
        } else {
            return false;
        };
        tracing::debug!(client = %self.peer.remote, why, "request refused");
        self.shared.counters.refuse_request(Reason::TooLarge);
        self.shared.handler.unread(self.peer, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16(), &why);
        true
    }
}

/// The size of a request's head as HTTP/2 counts it (RFC 9113, 6.5.2), the target included.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let target = [
        (":method", Some(request.method().as_str())),
        (":scheme", uri.scheme_str()),
        (":authority", uri.authority().map(http::uri::Authority::as_str)),
        (":path", uri.path_and_query().map(http::uri::PathAndQuery::as_str)),
    ];
    let target = target.iter().filter_map(|(name, value)| value.map(|value| name.len() + value.len() + FIELD_BYTES));
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    target.chain(fields).sum()
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        if let Some(shown) = &self.shown {
            request.extensions_mut().insert(shown.clone());
        }
        let head = request.method() == Method::HEAD;
        let old_client = request.version() <= Version::HTTP_10;
        let answer = if self.refuses(&request) {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Box::pin(std::future::ready(refusal))
        } else {
            self.shared.counters.requests.inc();
            self.shared.handler.clone().handle(self.peer, request)
        };
        let visit = Visit::begin(self.pulse.clone());
        let (pace, client) = (self.pace.clone(), self.peer.remote.ip());
        Answering { answer, visit: Some(visit), shared: self.shared.clone(), head, old_client, pace, client }
    }
}

/// A request at the handler.
struct Answering {
    answer: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
    visit: Option<Visit>,
    shared: Arc<Shared>,
    head: bool,
    old_client: bool,
    pace: Governor,
    client: IpAddr,
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut response = ready!(this.answer.as_mut().poll(cx));
        if this.head {
            leave_body_out(&mut response);
        }
        if let Some(visit) = this.visit.take() {
            response.body_mut().track(visit, this.shared.counters.clone(), this.old_client);
            response.body_mut().keep_pace(&this.pace, this.client);
        }
        Poll::Ready(Ok(response))
    }
}

/// The head of a GET's answer without its bytes. hyper would do it for HTTP/1 but not for HTTP/2.
fn leave_body_out(response: &mut Response<Body>) {
    let status = response.status();
    let size = response.body().size();
    response.body_mut().leave_out();
    let may_have_length = !status.is_informational() && !matches!(status.as_u16(), 204 | 304);
    if let Some(size) = size
        && may_have_length
    {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(size));
    }
}
