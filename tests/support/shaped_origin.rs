//! An origin at the end of a shaped link: every connection and all of them together have a rate, every answer takes a
//! round trip (and one more for the handshake of a new connection), and the link can be cut or slowed down.
//!
//! Every path is the same object: bytes that repeat after [`PATTERN`], with a strong entity tag. Include it with
//! `#[path = "../tests/support/shaped_origin.rs"] mod shaped_origin;`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "measuring stops where it cannot go on")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// After how many bytes the object repeats.
pub const PATTERN: u64 = 1 << 20;

/// What is written at a time.
const CHUNK: u64 = 64 << 10;

/// The link.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Length of the object, bytes.
    pub size: u64,
    /// Bytes a second of one connection.
    pub each: u64,
    /// Bytes a second of all together.
    pub all: u64,
    /// From request to first byte.
    pub round_trip: Duration,
}

#[derive(Debug)]
struct Shared {
    shape: Shape,
    free: Mutex<Instant>,
    /// In thousandths of the shape's rates; 0: cut.
    permille: AtomicU64,
    open: AtomicUsize,
    most_open: AtomicUsize,
    sent: AtomicU64,
    pattern: Vec<u8>,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct ShapedOrigin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl ShapedOrigin {
    /// Listens on a free port of 127.0.0.1, for as long as the runtime lives.
    pub async fn start(shape: Shape) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let pattern =
            (0..PATTERN + CHUNK).map(|at| (at % PATTERN).wrapping_mul(0x9e37_79b9).to_le_bytes()[3]).collect();
        let shared = Arc::new(Shared {
            shape,
            free: Mutex::new(Instant::now()),
            permille: AtomicU64::new(1000),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            pattern,
        });
        let address = listener.local_addr().unwrap();
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move {
                    let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
                    shared.most_open.fetch_max(open, Ordering::Relaxed);
                    // A client that goes away is no failure of the origin.
                    let _ = serve(stream, &shared).await;
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on all rates are this many thousandths of the shape's; 0 cuts the link.
    pub fn set_permille(&self, permille: u64) {
        self.shared.permille.store(permille, Ordering::Relaxed);
    }

    /// Most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::Relaxed)
    }

    /// Body bytes sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// The byte at a place of the object.
    pub fn byte(&self, at: u64) -> u8 {
        self.shared.pattern[usize::try_from(at % PATTERN).unwrap()]
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut late = shared.shape.round_trip;
    let mut head = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        head.drain(..end);
        tokio::time::sleep(std::mem::take(&mut late) + shared.shape.round_trip).await;
        let size = shared.shape.size;
        let range = text.lines().find_map(|line| line.strip_prefix("range: bytes=")).map(|range| {
            let (first, last) = range.trim().split_once('-').unwrap();
            (first.parse::<u64>().unwrap(), last.parse::<u64>().map_or(size, |last| (last + 1).min(size)))
        });
        let (start, end) = range.unwrap_or((0, size));
        let line = match range {
            Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}", end - 1),
            None => "200 OK".to_owned(),
        };
        let length = end - start;
        while shared.permille.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let answer =
            format!("HTTP/1.1 {line}\r\nContent-Length: {length}\r\nETag: \"shaped\"\r\nAccept-Ranges: bytes\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        if text.starts_with("head ") {
            continue;
        }
        let mut own = Instant::now();
        let mut at = start;
        while at < end {
            let permille = shared.permille.load(Ordering::Relaxed);
            if permille == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let chunk = CHUNK.min(if permille < 100 { 1 << 10 } else { CHUNK });
            let len = chunk.min(end - at);
            let takes = |rate: u64| Duration::from_nanos(len * 1_000_000_000 / (rate * permille / 1000).max(1));
            let now = Instant::now();
            own = own.max(now) + takes(shared.shape.each);
            let all = {
                let mut free = shared.free.lock().unwrap();
                *free = (*free).max(now) + takes(shared.shape.all);
                *free
            };
            // The timer's grain is a millisecond: what is due sooner goes now, and the clocks keep the average.
            let due = own.max(all);
            if due > now + Duration::from_millis(1) {
                tokio::time::sleep_until(due).await;
            }
            let from = usize::try_from(at % PATTERN).unwrap();
            stream.write_all(&shared.pattern[from..from + usize::try_from(len).unwrap()]).await?;
            shared.sent.fetch_add(len, Ordering::Relaxed);
            at += len;
        }
    }
}
