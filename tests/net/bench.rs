//! A server to be tested, and clients that do as they are told.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Notify, mpsc};
use waystation::net::{Body, Bound, Config, Counters, Cut, Frames, Handler, Peer, Server, body};

pub const MIB: usize = 1 << 20;
pub const BIG: u64 = 256 << 20;
pub const CROWD: usize = 20;

/// Nothing in here takes longer but on failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("took too long")
}

/// Answers by path; tells how each body ended.
pub struct Answers {
    pub ended: mpsc::UnboundedSender<(String, u64, bool)>,
    /// `/wait` tells here that it has come, and waits for `go`.
    pub came: Notify,
    pub go: Notify,
    /// `/crowd` answers when so many are there.
    pub crowd: Barrier,
    /// The statuses of requests that never came here.
    pub unread: std::sync::Mutex<Vec<u16>>,
}

/// `size` bytes, a mebibyte at a time, then whatever `end` says.
struct Zeros {
    left: u64,
    end: Option<Cut>,
    paused: bool,
}

impl Frames for Zeros {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>, most: usize) -> Poll<Option<Result<Bytes, Cut>>> {
        static FRAME: [u8; MIB] = [0; MIB];
        let len = self.left.min(most as u64);
        if len == 0 && self.end.is_some() && !self.paused {
            // What was given so far leaves before the end comes.
            self.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if len == 0 {
            return Poll::Ready(self.end.take().map(Err));
        }
        self.left -= len;
        Poll::Ready(Some(Ok(Bytes::from_static(&FRAME[..len as usize]))))
    }
}

fn zeros(left: u64) -> Box<dyn Frames> {
    Box::new(Zeros { left, end: None, paused: false })
}

impl Handler for Answers {
    fn unread(&self, _: Peer, status: u16, _: &str) {
        self.unread.lock().unwrap().push(status);
    }

    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let body = match path.as_str() {
                "/hello" => Body::full(Bytes::from_static(b"hello")),
                "/empty" => Body::empty(),
                "/peer" => Body::full(format!("{} {}", peer.remote.ip(), peer.secure).into()),
                "/mebibyte" => Body::full(vec![7; MIB].into()),
                "/big" => Body::frames(BIG, zeros(BIG)),
                "/short" => Body::frames(3 * MIB as u64, zeros(MIB as u64)),
                "/cut" => Body::frames(
                    3 * MIB as u64,
                    Box::new(Zeros { left: MIB as u64, end: Some(Cut("origin gone".into())), paused: false }),
                ),
                "/stream" => Body::stream(zeros(2 * MIB as u64)),
                "/stream-cut" => {
                    Body::stream(Box::new(Zeros { left: 1000, end: Some(Cut("origin gone".into())), paused: false }))
                }
                "/panic" => panic!("asked to"),
                "/wait" => {
                    self.came.notify_one();
                    self.go.notified().await;
                    Body::full(Bytes::from_static(b"waited"))
                }
                "/crowd" => {
                    self.crowd.wait().await;
                    Body::full(Bytes::from_static(b"crowd"))
                }
                "/collect" => match body::collect(request.into_body(), 1000, Duration::from_millis(300)).await {
                    Ok(bytes) => Body::full(format!("{}", bytes.len()).into()),
                    Err(error) => Body::full(error.to_string().into()),
                },
                _ => {
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    return response;
                }
            };
            let ended = self.ended.clone();
            Response::new(body.on_end(Box::new(move |bytes, whole| {
                // The test may be over and not care any more.
                let _ = ended.send((path, bytes, whole));
            })))
        })
    }
}

pub struct Bench {
    pub server: Server,
    pub address: SocketAddr,
    pub counters: Counters,
    pub answers: Arc<Answers>,
    pub ended: mpsc::UnboundedReceiver<(String, u64, bool)>,
}

impl Bench {
    pub fn new(config: Config) -> Self {
        Self::with(config, Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap())
    }

    pub fn with(config: Config, bound: Bound) -> Self {
        let (tell, ended) = mpsc::unbounded_channel();
        let answers = Arc::new(Answers {
            ended: tell,
            came: Notify::new(),
            go: Notify::new(),
            crowd: Barrier::new(CROWD),
            unread: std::sync::Mutex::default(),
        });
        let counters = Counters::default();
        let server = Server::start(config, vec![bound], answers.clone(), counters.clone()).unwrap();
        let address = server.addresses().first().copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        Self { server, address, counters, answers, ended }
    }

    pub async fn connect(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// How the next body ended.
    pub async fn next_end(&mut self) -> (String, u64, bool) {
        soon(self.ended.recv()).await.unwrap()
    }

    pub fn closed(&self, reason: waystation::net::counters::Reason) -> u64 {
        self.counters.closed.get_or_create(&waystation::net::counters::Why { reason }).get()
    }

    pub fn refused(&self, reason: waystation::net::counters::Reason) -> u64 {
        self.counters.refused.get_or_create(&waystation::net::counters::Why { reason }).get()
    }
}

/// An HTTP/1 client that sends what it is told and takes answers apart itself.
pub struct Client<S>(pub S);

pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.unwrap();
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        self.answer().await
    }

    /// The head of the next answer, with lower-case names.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.0.read_u8()).await.expect("an answer"));
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// The next answer, whose body must have a length.
    pub async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let mut body = vec![0; length(&head)];
        soon(self.0.read_exact(&mut body)).await.expect("the whole body");
        Answer { head, body }
    }

    /// Everything until the connection ends, and whether it ended well (not by a reset or a broken TLS stream).
    pub async fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        let ended = soon(self.0.read_to_end(&mut rest)).await;
        (rest, ended.is_ok())
    }
}

pub fn length(head: &str) -> usize {
    let (_, after) = head.split_once("content-length: ").expect("a length");
    after.split_once("\r\n").unwrap().0.parse().unwrap()
}
