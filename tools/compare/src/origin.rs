//! An origin shaped as real links are: a wait before each answer, a rate for each connection, a rate for all together;
//! a link that can be cut or slowed. Its contents can be checked anywhere; it remembers what was asked over how many
//! connections.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::bytes;

/// What the link does to answers.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Before each answer.
    pub(crate) delay: Duration,
    /// Bytes a second of one connection.
    pub(crate) connection: f64,
    /// Bytes a second of all.
    pub(crate) all: f64,
}

/// As a content network is seen over a good line.
pub(crate) const SHAPE: Shape = Shape { delay: Duration::from_millis(20), connection: 30e6, all: 120e6 };

/// Something that can be asked for.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) seed: u64,
}

/// How well the link does, in hundredths of its rates; 0 is a cut cable: nothing is lost, nothing comes.
type Percent = u32;

/// What is sent at a time: small, so that connections share the link evenly.
const CELL: usize = 16 << 10;

/// How far a sender may make up for a timer that fired late.
const SLACK: Duration = Duration::from_millis(4);

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    link: watch::Sender<Percent>,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    objects: Vec<Object>,
    shape: Shape,
    /// When the link has room again.
    free: Mutex<Instant>,
    log: Mutex<Log>,
    sent: AtomicU64,
    open: AtomicUsize,
}

#[derive(Default, Clone)]
pub(crate) struct Log {
    /// Spans of bodies really sent: object, from, to.
    pub(crate) spans: Vec<(usize, u64, u64)>,
    pub(crate) requests: usize,
    /// Connections that asked for something.
    pub(crate) connections: usize,
    /// The most of them open at once.
    pub(crate) most_open: usize,
}

impl Log {
    /// Bytes sent, and how many of them more than once.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let mut spans = self.spans.clone();
        spans.sort_unstable();
        let (mut all, mut twice, mut last) = (0, 0, (usize::MAX, 0));
        for (object, from, to) in spans {
            let end = if last.0 == object { last.1 } else { 0 };
            all += to - from;
            twice += end.min(to).saturating_sub(from);
            last = (object, end.max(to));
        }
        (all, twice)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Origin {
    /// Listens on a free port of the loopback, on a thread of its own.
    pub(crate) fn start(objects: Vec<Object>, shape: Shape) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            objects,
            shape,
            free: Mutex::new(Instant::now()),
            log: Mutex::default(),
            sent: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        let (link, seen) = watch::channel(100);
        let (stop, mut stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let given = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                let mut tasks = tokio::task::JoinSet::new();
                loop {
                    tokio::select! {
                        _ = stopped.wait_for(|stop| *stop) => return,
                        accepted = listener.accept() => {
                            if let Ok((stream, _)) = accepted {
                                let (shared, seen) = (Arc::clone(&given), seen.clone());
                                // A client that goes away is no fault of the origin.
                                tasks.spawn(async move { shared.serve(stream, seen).await.ok() });
                            }
                        }
                        _ = tasks.join_next(), if !tasks.is_empty() => {}
                    }
                }
            });
        });
        Ok(Self { address, shared, link, stop, thread: Some(thread) })
    }

    /// Cuts, slows or mends the link.
    pub(crate) fn link(&self, percent: Percent) {
        self.link.send_replace(percent);
    }

    /// Body bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// What was asked since the last call; connections that are open stay counted as open.
    pub(crate) fn take_log(&self) -> Log {
        let mut log = lock(&self.shared.log);
        let open = self.shared.open.load(Ordering::Relaxed);
        std::mem::replace(&mut *log, Log { most_open: open, ..Log::default() })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It ends on the word above; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// Counts a connection while it is open.
struct Open<'a>(&'a Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Waits until `bytes` may go: in the turn of this connection and of all.
    async fn carry(&self, own: &mut Instant, bytes: usize, link: &mut watch::Receiver<Percent>) {
        let percent = match link.wait_for(|percent| *percent > 0).await {
            Ok(percent) => f64::from(*percent) / 100.0,
            Err(_) => 1.0,
        };
        let take = |rate: f64| Duration::from_secs_f64(bytes as f64 / (rate * percent));
        let now = Instant::now();
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        *own = (*own).max(earliest) + take(self.shape.connection);
        let all = {
            let mut free = lock(&self.free);
            *free = (*free).max(earliest) + take(self.shape.all);
            *free
        };
        let due = all.max(*own);
        if due > now {
            tokio::time::sleep_until(due.into()).await;
        }
    }

    async fn serve(&self, mut stream: TcpStream, mut link: watch::Receiver<Percent>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut asked = Vec::new();
        let mut own = Instant::now();
        let mut counted = None;
        let mut cell = vec![0; CELL];
        loop {
            let end = loop {
                if let Some(at) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut asked).await? == 0 {
                    return Ok(());
                }
            };
            let head: Vec<u8> = asked.drain(..end).collect();
            let text = String::from_utf8_lossy(&head).into_owned();
            counted.get_or_insert_with(|| {
                let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
                let mut log = lock(&self.log);
                log.connections += 1;
                log.most_open = log.most_open.max(open);
                Open(self)
            });
            lock(&self.log).requests += 1;
            tokio::time::sleep(self.shape.delay).await;
            self.carry(&mut own, 500, &mut link).await;
            let mut words = text.split(' ');
            let method = words.next().unwrap_or_default();
            let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default();
            let Some((number, object)) = self.objects.iter().enumerate().find(|(_, object)| object.path == path) else {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
                continue;
            };
            let range = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let (from, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
                name.eq_ignore_ascii_case("range")
                    .then_some((from.parse::<u64>().ok()?, last.trim().parse::<u64>().ok()))
            });
            let (from, to, line) = match range {
                Some((from, last)) if from < object.size => {
                    let to = last.map_or(object.size, |last| object.size.min(last + 1)).max(from + 1);
                    let line = format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", to - 1, object.size);
                    (from, to, line)
                }
                _ => (0, object.size, "200 OK".to_owned()),
            };
            let head = format!(
                "HTTP/1.1 {line}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nETag: \"{:x}\"\r\n\
                 Last-Modified: Tue, 10 Nov 2026 10:00:00 GMT\r\nCache-Control: max-age=86400\r\n\r\n",
                to - from,
                object.seed
            );
            stream.write_all(head.as_bytes()).await?;
            if method == "HEAD" {
                continue;
            }
            let place = {
                let mut log = lock(&self.log);
                log.spans.push((number, from, from));
                log.spans.len() - 1
            };
            let mut at = from;
            while at < to {
                let take = CELL.min((to - at) as usize);
                self.carry(&mut own, take, &mut link).await;
                bytes::read(object.seed, at, &mut cell[..take]);
                stream.write_all(&cell[..take]).await?;
                at += take as u64;
                self.sent.fetch_add(take as u64, Ordering::Relaxed);
                if let Some(span) = lock(&self.log).spans.get_mut(place)
                    && span.1 == from
                {
                    span.2 = at;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sent_twice_are_told_apart() {
        let log = Log { spans: vec![(0, 0, 100), (1, 0, 100), (0, 50, 150), (0, 60, 70)], ..Log::default() };
        assert_eq!(log.bytes(), (310, 60));
    }
}
