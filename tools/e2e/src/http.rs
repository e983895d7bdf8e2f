//! An HTTP/1.1 client at byte level, on blocking sockets: what a Windows client does, and nothing that the node's own
//! libraries would hide.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A response under 4000 bytes a second for 20 seconds is given up, as Delivery Optimization does.
pub(crate) const SLOW_BYTES_PER_S: u64 = 4000;
pub(crate) const SLOW_FOR: Duration = Duration::from_secs(20);

pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
}

#[derive(Debug)]
pub(crate) struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `Content-Length`.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }
}

fn bad(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

/// No head came.
#[derive(Debug)]
struct Unanswered(io::Error);

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no answer: {}", self.0)
    }
}

impl std::error::Error for Unanswered {}

/// Whether a question failed before any answer came.
pub(crate) fn is_unanswered(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + std::marker::Send + std::marker::Sync + 'static>::is::<Unanswered>)
}

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        // One tick of the slow-response watch.
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { reader: BufReader::with_capacity(256 << 10, stream), host: to.to_string() })
    }

    /// A GET as Delivery Optimization sends it; every piece of the body goes to `each`, with the head that it came under.
    pub(crate) fn get(
        &mut self,
        target: &str,
        range: Option<(u64, u64)>,
        mut each: impl FnMut(&Head, &[u8]) -> io::Result<()>,
    ) -> io::Result<Head> {
        let range = range.map_or_else(String::new, |(first, last)| format!("Range: bytes={first}-{last}\r\n"));
        let request = format!(
            "GET {target} HTTP/1.1\r\nConnection: Keep-Alive\r\nAccept: */*\r\n{range}\
             User-Agent: Microsoft-Delivery-Optimization/10.1\r\nMS-CV: e2e.1\r\nContent-Length: 0\r\nHost: {}\r\n\r\n",
            self.host
        );
        let head = self.ask(&request)?;
        let length = head.length().ok_or_else(|| bad(format!("no Content-Length in {head:?}")))?;
        self.body(length, |bytes| each(&head, bytes))?;
        Ok(head)
    }

    /// The host that the connection goes to, for a request's `Host`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a request as it stands, and reads the head of the answer.
    pub(crate) fn ask(&mut self, request: &str) -> io::Result<Head> {
        let asked = self.reader.get_mut().write_all(request.as_bytes());
        asked
            .and_then(|()| self.head(&mut Watch::new()))
            .map_err(|error| io::Error::new(error.kind(), Unanswered(error)))
    }

    /// Reads `left` bytes of a body.
    pub(crate) fn body(&mut self, mut left: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut watch = Watch::new();
        while left > 0 {
            let buf = match self.reader.fill_buf() {
                Ok([]) => return Err(bad(format!("the response ended {left} bytes early"))),
                Ok(buf) => buf,
                Err(error) if waits(&error) => {
                    watch.tick(0)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let take = buf.len().min(left.min(1 << 20) as usize);
            each(&buf[..take])?;
            self.reader.consume(take);
            left -= take as u64;
            watch.tick(take as u64)?;
        }
        Ok(())
    }

    /// Reads a chunked body (RFC 9112, section 7.1) to its end.
    pub(crate) fn chunks(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        loop {
            let line = self.line(&mut Watch::new())?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| bad(format!("not the size of a chunk: {line:?}")))?;
            self.body(size, &mut each)?;
            let end = self.line(&mut Watch::new())?;
            if !end.is_empty() {
                return Err(bad(format!("{end:?} behind a chunk")));
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self, watch: &mut Watch) -> io::Result<String> {
        let mut line = Vec::new();
        loop {
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return Err(bad("the connection was closed before an answer")),
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) => {}
                Err(error) if waits(&error) => watch.tick(0)?,
                Err(error) => return Err(error),
            }
            if line.len() > 64 << 10 {
                return Err(bad("a header line of over 64 KiB"));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn head(&mut self, watch: &mut Watch) -> io::Result<Head> {
        let first = self.line(watch)?;
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(|| bad(first.clone()))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line(watch)?;
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
                None if line.is_empty() => return Ok(Head { status, headers }),
                None => return Err(bad(format!("not a header: {line}"))),
            }
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Gives up on a response that is too slow.
struct Watch {
    /// Seconds since the question, and what came in each.
    start: Instant,
    seconds: Vec<u64>,
}

impl Watch {
    fn new() -> Self {
        Self { start: Instant::now(), seconds: vec![0] }
    }

    fn tick(&mut self, bytes: u64) -> io::Result<()> {
        let now = self.start.elapsed().as_secs() as usize;
        self.seconds.resize(self.seconds.len().max(now + 1), 0);
        self.seconds[now] += bytes;
        let window = SLOW_FOR.as_secs() as usize;
        if now >= window {
            let sum: u64 = self.seconds[now - window..now].iter().sum();
            if sum < SLOW_BYTES_PER_S * SLOW_FOR.as_secs() {
                return Err(bad(format!("given up: {sum} bytes in 20 s, after {now} s")));
            }
        }
        Ok(())
    }
}

/// One GET on a connection of its own, body in memory.
pub(crate) fn fetch(to: SocketAddr, target: &str, range: Option<(u64, u64)>) -> io::Result<(Head, Vec<u8>)> {
    let mut body = Vec::new();
    let head = Connection::open(to)?.get(target, range, |_, bytes| body.write_all(bytes))?;
    Ok((head, body))
}

/// A bare GET for the control listener: any framing, read to the end of the connection.
pub(crate) fn peek(to: SocketAddr, target: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {target} HTTP/1.0\r\nHost: {to}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(|| bad("no status"))?;
    Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
