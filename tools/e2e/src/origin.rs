//! A small origin of our own behind a thin link: all its connections together get one rate, which nginx cannot do.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bytes::Object;

pub(crate) struct Origin {
    pub address: SocketAddr,
    link: Arc<Link>,
}

struct Link {
    /// Bytes a second for all connections together; 0: as fast as it goes.
    rate: u64,
    next: Mutex<Instant>,
    sent: AtomicU64,
    requests: AtomicU64,
    closed: AtomicBool,
    objects: Vec<Object>,
}

/// What the link carries at a time: small, so that connections share it fairly.
const CELL: u64 = 1460;

impl Origin {
    pub(crate) fn start(objects: Vec<Object>, rate: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let link = Arc::new(Link {
            rate,
            next: Mutex::new(Instant::now()),
            sent: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            objects,
        });
        let shared = Arc::clone(&link);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.closed.load(Ordering::Relaxed) {
                    break;
                }
                let link = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A client that goes away is no fault of the origin.
                    let _ = link.serve(&stream);
                });
            }
        });
        Ok(Self { address, link })
    }

    /// Body bytes that crossed the link.
    pub(crate) fn sent(&self) -> u64 {
        self.link.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.link.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.link.closed.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Link {
    /// Waits until the link has room for `bytes`, in turn with all others.
    fn carry(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        if self.rate == 0 {
            return;
        }
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *next = (*next).max(Instant::now()) + Duration::from_nanos(bytes * 1_000_000_000 / self.rate);
            *next
        };
        std::thread::sleep(turn.saturating_duration_since(Instant::now()));
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        loop {
            let mut first = String::new();
            if reader.read_line(&mut first)? == 0 {
                return Ok(());
            }
            let mut range = None;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let line = line.trim_end().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some(value) = line.strip_prefix("range: bytes=") {
                    range = value.split_once('-').map(|(a, b)| (a.parse::<u64>().ok(), b.parse::<u64>().ok()));
                }
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let mut words = first.split(' ');
            let method = words.next().unwrap_or_default();
            let path = words.next().unwrap_or_default();
            let Some(object) = self.objects.iter().find(|object| object.path == path) else {
                writer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            };
            let (from, to, head) = match range {
                Some((Some(from), last)) if from < object.size => {
                    let to = last.map_or(object.size, |last| (last + 1).min(object.size));
                    (
                        from,
                        to,
                        format!(
                            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\n",
                            to - 1,
                            object.size
                        ),
                    )
                }
                _ => (0, object.size, "HTTP/1.1 200 OK\r\n".to_owned()),
            };
            write!(
                writer,
                "{head}Content-Length: {}\r\nAccept-Ranges: bytes\r\nETag: \"{:x}\"\r\nLast-Modified: Tue, 10 Nov 2026 10:00:00 GMT\r\n\r\n",
                to - from,
                object.seed
            )?;
            if method == "HEAD" {
                continue;
            }
            let mut buf = vec![0; if self.rate == 0 { 256 << 10 } else { CELL as usize }];
            let mut at = from;
            while at < to {
                let take = buf.len().min((to - at) as usize);
                self.carry(take as u64);
                object.read(at, &mut buf[..take]);
                writer.write_all(&buf[..take])?;
                at += take as u64;
            }
        }
    }
}
