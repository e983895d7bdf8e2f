//! One HTTP/1.1 connection of the load, plain or TLS: ask, read the head, count or check the body.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use rustix::net::{RecvFlags, recv};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bytes;

/// The longest response head that is taken.
const HEAD_MAX: usize = 16 << 10;

/// Read at once while the body comes: one buffer for all connections of a thread, so that it stays in the cache.
pub(crate) const BUFFER: usize = 256 << 10;

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What happens while an answer comes.
pub(crate) trait Watch {
    /// `bytes` of the body came.
    fn came(&mut self, bytes: usize);
}

/// Watches nothing.
pub(crate) struct Nothing;

impl Watch for Nothing {
    fn came(&mut self, _: usize) {}
}

/// How bodies are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Thrown away by the kernel without a copy where the connection is plain: the load costs as little as can be.
    Drop,
    /// Copied out and thrown away, as clients do.
    Read,
    /// Thrown away by the kernel too, but what comes with the head is held against the contents of this seed.
    Glance(u64),
    /// Held against the contents of this seed.
    Check(u64),
}

/// What a connection that reads slowly has in its kernel at most: more would take a range whole, whatever is read of it.
const SLOW_BUFFER: u32 = 64 << 10;

/// Where bodies go, one buffer for all connections of a thread.
pub(crate) type Bin = RefCell<Vec<u8>>;

pub(crate) struct Wire {
    stream: Stream,
    request: Vec<u8>,
    head: Vec<u8>,
    /// Bytes of a body that are read in a second; none: as they come.
    rate: Option<u64>,
}

impl Body {
    fn is_dropped(self) -> bool {
        matches!(self, Self::Drop | Self::Glance(_))
    }
}

pub(crate) struct Head {
    pub(crate) status: u16,
    length: u64,
    pub(crate) close: bool,
}

fn bad(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

impl Wire {
    /// Connects from `from`, where that matters, and shakes hands where `tls` is given. With a `rate` bodies are read at so many
    /// bytes a second, and the kernel takes little ahead.
    pub(crate) async fn open(
        to: SocketAddr,
        from: Option<SocketAddr>,
        tls: Option<&Arc<ClientConfig>>,
        rate: Option<u64>,
    ) -> io::Result<Self> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = from {
            socket.bind(from)?;
        }
        if rate.is_some() {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let name = ServerName::IpAddress(to.ip().into());
                Stream::Tls(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
            }
        };
        Ok(Self { stream, request: Vec::with_capacity(512), head: Vec::new(), rate })
    }

    /// Sends a GET in the words of Delivery Optimization; `range` is from and length.
    pub(crate) async fn ask(&mut self, host: &str, target: &str, range: Option<(u64, u64)>) -> io::Result<()> {
        self.request.clear();
        write!(self.request, "GET {target} HTTP/1.1\r\nConnection: Keep-Alive\r\nAccept: */*\r\n")?;
        if let Some((from, len)) = range {
            write!(self.request, "Range: bytes={from}-{}\r\n", from + len - 1)?;
        }
        write!(self.request, "User-Agent: Microsoft-Delivery-Optimization/10.1\r\nHost: {host}\r\n\r\n")?;
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(&self.request).await,
            Stream::Tls(stream) => {
                stream.write_all(&self.request).await?;
                stream.flush().await
            }
        }
    }

    /// Waits until something came, or the other side has closed (false).
    pub(crate) async fn closed(&mut self) -> bool {
        let mut one = [0; 1];
        !matches!(self.read(&mut one).await, Ok(1))
    }

    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read(buf).await,
            Stream::Tls(stream) => stream.read(buf).await,
        }
    }

    /// Takes up to `most` bytes of a body, which begin at `at`; how many. `bin` is lent to one connection at a time.
    async fn take(&mut self, most: u64, body: Body, at: u64, bin: &Bin) -> io::Result<usize> {
        let most = BUFFER.min(usize::try_from(most).unwrap_or(usize::MAX));
        let flags = if body.is_dropped() { RecvFlags::TRUNC | RecvFlags::DONTWAIT } else { RecvFlags::DONTWAIT };
        match &mut self.stream {
            Stream::Plain(stream) => {
                let stream = &*stream;
                stream
                    .async_io(Interest::READABLE, || {
                        let buf = &mut bin.borrow_mut()[..most];
                        let got = recv(stream, &mut *buf, flags)?.1;
                        check(body, at, &buf[..got])?;
                        Ok(got)
                    })
                    .await
            }
            Stream::Tls(stream) => {
                poll_fn(|context| {
                    let mut buf = bin.borrow_mut();
                    let mut read = ReadBuf::new(&mut buf[..most]);
                    ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
                    check(body, at, read.filled())?;
                    Poll::Ready(Ok(read.filled().len()))
                })
                .await
            }
        }
    }

    /// Reads one whole answer to a question of `range`; its head. Nothing at all before the end is `UnexpectedEof`.
    pub(crate) async fn answer(
        &mut self,
        range: Option<(u64, u64)>,
        body: Body,
        bin: &Bin,
        watch: &mut impl Watch,
    ) -> io::Result<Head> {
        // A small first bite of what is thrown away: the copy that is saved is most of the body.
        let bite = if body.is_dropped() && range.is_none_or(|(_, len)| len > 16 << 10) { 2 << 10 } else { HEAD_MAX };
        let mut have = 0;
        let mut buf = std::mem::take(&mut self.head);
        buf.resize(2 * HEAD_MAX, 0);
        let (head, ends) = loop {
            let end = buf.len().min(have + bite);
            let got = self.read(&mut buf[have..end]).await?;
            if got == 0 {
                let kind = if have == 0 { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
                return Err(io::Error::new(kind, "the connection was closed before an answer"));
            }
            have += got;
            // The end of the head lies in what is new, or just before it.
            let from = (have - got).saturating_sub(3);
            if let Some(at) = buf[from..have].windows(4).position(|four| four == b"\r\n\r\n") {
                let ends = from + at + 4;
                break (parse(&buf[..ends])?, ends);
            }
            if have > HEAD_MAX {
                return Err(bad("a response head of over 16 KiB"));
            }
        };
        if !(200..300).contains(&head.status) {
            // The body of an error is not read: the connection ends here.
            return Ok(Head { close: true, ..head });
        }
        if range.is_some_and(|(_, len)| len != head.length) || head.status != if range.is_some() { 206 } else { 200 } {
            return Err(bad(format!("status {} with {} bytes for {range:?}", head.status, head.length)));
        }
        let mut at = range.map_or(0, |(from, _)| from);
        let mut left = head.length;
        let first = have - ends;
        if first as u64 > left {
            return Err(bad("more bytes than the answer has"));
        }
        if first > 0 {
            watch.came(first);
            if let Body::Check(seed) | Body::Glance(seed) = body {
                check(Body::Check(seed), at, &buf[ends..have])?;
            }
            at += first as u64;
            left -= first as u64;
        }
        self.head = buf;
        let (begin, whole) = (Instant::now(), left);
        while left > 0 {
            let mut most = left;
            if let Some(rate) = self.rate {
                most = most.min(u64::from(SLOW_BUFFER));
                sleep_until(begin + Duration::from_secs_f64((whole - left) as f64 / rate as f64)).await;
            }
            let got = self.take(most, body, at, bin).await?;
            if got == 0 {
                return Err(bad(format!("the answer ended {left} bytes early")));
            }
            watch.came(got);
            at += got as u64;
            left -= got as u64;
        }
        Ok(head)
    }
}

fn check(body: Body, at: u64, buf: &[u8]) -> io::Result<()> {
    match body {
        Body::Check(seed) if !bytes::matches(seed, at, buf) => Err(bad(format!("wrong bytes at {at}"))),
        _ => Ok(()),
    }
}

fn parse(head: &[u8]) -> io::Result<Head> {
    let text = std::str::from_utf8(head).map_err(|_| bad("a head that is not text"))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| bad(format!("not a status line: {first}")))?;
    let mut found = Head { status, length: 0, close: first.starts_with("HTTP/1.0") };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            found.length = value.parse().map_err(|_| bad(format!("not a length: {value}")))?;
        } else if name.eq_ignore_ascii_case("connection") {
            found.close = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") && (200..300).contains(&status) {
            return Err(bad(format!("Transfer-Encoding: {value}, where ranges were asked")));
        }
    }
    Ok(found)
}
