//! A scripted origin: an HTTP/1.1 server written at byte level over a real socket, whose faults are commanded request by
//! request, and which keeps a log of what it was asked and of every body byte that it sent.
//!
//! ```text
//! let origin = Origin::start().await;
//! origin.put("/a.cab", Object::made(3 << 20, 7).etag("\"v1\""));
//! origin.next("/a.cab", [Fault::TruncateAt(1000)]);      // the next request of /a.cab only
//! origin.always("/a.cab", [Fault::IgnoreRange]);         // every one for which no step is left
//! ... ask origin.url("/a.cab") ...
//! assert_eq!(origin.served("/a.cab").total(), 3 << 20);  // each byte left the origin; duplicates: origin.sent("/a.cab")
//! ```
//!
//! Objects are looked up by path, without the query. What is not there is 404. Dropping the origin closes every
//! connection. Include it with `#[path = "support/origin.rs"] mod origin;`.

#![allow(dead_code, unreachable_pub, reason = "every test binary includes this file and uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that cannot do its work must panic")]

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use waystation::base::span::{Span, SpanSet};

/// How much is written at a time: a limited or cut body is exact to the byte, a whole one quick.
const CHUNK: u64 = 64 << 10;

/// The longest request head that is read.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What one response does wrong. Several may be combined; those that say where (`TruncateAt`, `StallAt`, `ResetAt`)
/// count the body bytes of this response.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 200 with the whole object, whatever `Range` says.
    IgnoreRange,
    /// No Content-Length: the body is chunked.
    Chunked,
    /// Neither Content-Length nor chunks: the body ends with the connection.
    NoLength,
    /// This status (301, 302, 303, 307, 308) with this Location.
    Redirect(u16, String),
    /// The connection is closed in order after so many body bytes.
    TruncateAt(u64),
    /// Nothing more is sent after so many body bytes; the connection stays open until the client goes.
    StallAt(u64),
    /// The connection is reset after so many body bytes.
    ResetAt(u64),
    /// This status, with a short body of text.
    Status(u16),
    /// A field that is sent besides (`Retry-After`, `Content-Encoding`, `Via`, ...).
    Header(&'static str, String),
    /// The partial answer carries this Content-Range instead of the true one (the body stays what was asked).
    ContentRange(String),
    /// A partial answer without any Content-Range.
    NoContentRange,
    /// So many bytes more than announced: in a chunked body, since Content-Length would hide them.
    ExtraBytes(u64),
    /// A single range is answered as multipart/byteranges.
    Multipart,
    /// This response is sent at no more than so many bytes a second.
    Slow(u64),
    /// So long before the first byte of the answer.
    Delay(Duration),
    /// No ETag and no Last-Modified.
    NoValidators,
    /// The object is this one from this request on (its answer included).
    Replace(Object),
    /// The request is read and never answered.
    Hang,
    /// The connection is closed without an answer.
    HangUp,
    /// These bytes instead of an answer, and the end of the connection.
    Garbage(&'static [u8]),
    /// The body bytes are wrong (each one inverted) from this position of the object on; length and validators right.
    Altered(u64),
}

/// What lies under a path.
#[derive(Clone, Debug)]
pub struct Object {
    content: Content,
    etag: Option<String>,
    last_modified: Option<String>,
    headers: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug)]
enum Content {
    Given(Bytes),
    /// Pseudo-random bytes that are a function of position and seed: no memory, however long.
    Made {
        len: u64,
        seed: u64,
    },
}

impl Object {
    /// These bytes, with a strong entity tag made of their length.
    pub fn given(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let etag = Some(format!("\"given-{}\"", bytes.len()));
        Self { content: Content::Given(bytes), etag, last_modified: None, headers: Vec::new() }
    }

    /// `len` pseudo-random bytes that take no memory, with a strong entity tag made of length and seed.
    pub fn made(len: u64, seed: u64) -> Self {
        let etag = Some(format!("\"made-{len}-{seed}\""));
        Self { content: Content::Made { len, seed }, etag, last_modified: None, headers: Vec::new() }
    }

    /// Another entity tag, with its quotes and `W/`; empty: none.
    #[must_use]
    pub fn etag(mut self, tag: &str) -> Self {
        self.etag = (!tag.is_empty()).then(|| tag.to_owned());
        self
    }

    /// A Last-Modified, as it is sent.
    #[must_use]
    pub fn last_modified(mut self, date: &str) -> Self {
        self.last_modified = Some(date.to_owned());
        self
    }

    /// A further field of every answer (`Cache-Control`, ...).
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Given(bytes) => bytes.len() as u64,
            Content::Made { len, .. } => *len,
        }
    }

    /// The bytes of `span`, which must lie inside.
    pub fn bytes(&self, span: Span) -> Vec<u8> {
        match &self.content {
            Content::Given(bytes) => {
                bytes[usize::try_from(span.start()).unwrap()..usize::try_from(span.end()).unwrap()].to_vec()
            }
            Content::Made { seed, .. } => {
                let mut made = Vec::with_capacity(usize::try_from(span.len()).unwrap() + 16);
                let first = span.start() / 8;
                for word in first..span.end().div_ceil(8) {
                    made.extend_from_slice(&scatter(seed.wrapping_mul(0x9e37_79b9) ^ word).to_le_bytes());
                }
                made.drain(..usize::try_from(span.start() - first * 8).unwrap());
                made.truncate(usize::try_from(span.len()).unwrap());
                made
            }
        }
    }

    /// All of it.
    pub fn all(&self) -> Vec<u8> {
        self.bytes(Span::new(0, self.len()))
    }
}

/// A step of splitmix64: neighbouring numbers give unrelated ones.
fn scatter(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection, counted from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The request target, query included.
    pub target: String,
    /// Field names in lower case, values as sent.
    pub headers: Vec<(String, String)>,
    /// When its head was complete.
    pub at: Instant,
}

impl Seen {
    /// The first value of a field; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Script {
    object: Option<Object>,
    steps: VecDeque<Vec<Fault>>,
    always: Vec<Fault>,
    served: SpanSet,
    sent: u64,
}

#[derive(Debug, Default)]
struct State {
    scripts: HashMap<String, Script>,
    log: Vec<Seen>,
    connections: usize,
    /// The whole origin's rate in bytes a second, and when the next byte may leave.
    link: Option<(u64, Instant)>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    seen: watch::Sender<usize>,
}

/// The origin. See the head of this file.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    https: bool,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    /// Plain HTTP on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Plain HTTP at this address; a port that was used a moment ago can be taken again.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::listen(address, None).await
    }

    /// HTTPS on a free port of 127.0.0.1.
    pub async fn start_tls(tls: Arc<rustls::ServerConfig>) -> Self {
        Self::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(tls)).await
    }

    async fn listen(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the origin's address can be bound");
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { state: Mutex::default(), seen: watch::Sender::new(0) });
        let https = tls.is_some();
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { address, https, shared, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its IP address.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Its allow-list entry: scheme (if https), address and port.
    pub fn entry(&self) -> String {
        if self.https { format!("https://{}", self.address) } else { self.address.to_string() }
    }

    /// The absolute URL of a path (and query).
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.https { "https" } else { "http" }, self.address)
    }

    /// Puts an object under a path, or another one in its place. Steps and log stay.
    pub fn put(&self, path: &str, object: Object) {
        self.script(path, |script| script.object = Some(object));
    }

    /// Adds a step: what is wrong with the next answer for `path` that has no step yet. An empty step is a good answer.
    pub fn next(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let step = faults.into_iter().collect();
        self.script(path, |script| script.steps.push_back(step));
    }

    /// What is wrong with every answer for `path` that no step is left for. Replaces what was said before.
    pub fn always(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let always = faults.into_iter().collect();
        self.script(path, |script| script.always = always);
    }

    /// Limits the whole origin, all connections together, to so many body bytes a second: a thin link.
    pub fn limit(&self, bytes_per_s: u64) {
        self.shared.state.lock().unwrap().link = Some((bytes_per_s, Instant::now()));
    }

    /// All requests so far, in order.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().log.clone()
    }

    /// The `Range` fields of the requests of a path, in order; `None` where there was none.
    pub fn ranges(&self, path: &str) -> Vec<Option<String>> {
        let of_path = |seen: &Seen| seen.path() == path;
        self.log().iter().filter(|seen| of_path(seen)).map(|seen| seen.header("range").map(str::to_owned)).collect()
    }

    /// Which bytes of a path's object left the origin.
    pub fn served(&self, path: &str) -> SpanSet {
        self.script(path, |script| script.served.clone())
    }

    /// How many body bytes left the origin for a path, those sent twice counted twice.
    pub fn sent(&self, path: &str) -> u64 {
        self.script(path, |script| script.sent)
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// Waits until `count` requests have come in since the start.
    pub async fn wait_for(&self, count: usize) {
        self.shared.seen.subscribe().wait_for(|seen| *seen >= count).await.unwrap();
    }

    fn script<T>(&self, path: &str, act: impl FnOnce(&mut Script) -> T) -> T {
        act(self.shared.state.lock().unwrap().scripts.entry(path.to_owned()).or_default())
    }
}

/// A connection, plain or TLS, that can be reset.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared>) {
    // Aborting this task drops the set, and that closes every connection.
    let mut connections = JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        tcp.set_nodelay(true).unwrap();
        while connections.try_join_next().is_some() {}
        let connection = {
            let mut state = shared.state.lock().unwrap();
            state.connections += 1;
            state.connections - 1
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        connections.spawn(async move {
            // A client that goes away is no failure of the origin.
            let _ = match tls {
                None => serve(tcp, connection, &shared).await,
                Some(tls) => match tokio_rustls::TlsAcceptor::from(tls).accept(tcp).await {
                    Ok(stream) => serve(stream, connection, &shared).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

async fn serve(mut wire: impl Wire, connection: usize, shared: &Shared) -> io::Result<()> {
    let mut pending = Vec::new();
    while let Some(head) = read_head(&mut wire, &mut pending).await? {
        let Some(seen) = parse(&head, connection) else {
            wire.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
            return wire.shutdown().await;
        };
        let (object, faults) = {
            let mut state = shared.state.lock().unwrap();
            state.log.push(seen.clone());
            let script = state.scripts.entry(seen.path().to_owned()).or_default();
            let faults = script.steps.pop_front().unwrap_or_else(|| script.always.clone());
            for fault in &faults {
                if let Fault::Replace(object) = fault {
                    script.object = Some(object.clone());
                }
            }
            (script.object.clone(), faults)
        };
        shared.seen.send_modify(|count| *count += 1);
        if !answer(&mut wire, &seen, object, &faults, shared).await? {
            return wire.shutdown().await;
        }
    }
    Ok(())
}

/// The next request head, `None` at the end of the connection.
async fn read_head(wire: &mut impl Wire, pending: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = pending.split_off(at + 4);
            return Ok(Some(std::mem::replace(pending, rest)));
        }
        if pending.len() > HEAD_BYTES_MAX || wire.read_buf(pending).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(head: &[u8], connection: usize) -> Option<Seen> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Seen { connection, method, target, headers, at: Instant::now() })
}

/// What `Range` asks of an object of `len` bytes: the whole, a part, or nothing that is there.
enum Asked {
    Whole,
    Part(Span),
    Beyond,
}

fn asked(seen: &Seen, object: &Object) -> Asked {
    let len = object.len();
    let Some(range) = seen.header("range").and_then(|range| range.strip_prefix("bytes=")) else { return Asked::Whole };
    let tag = object.etag.as_deref();
    if seen.header("if-range").is_some_and(|given| Some(given) != tag || given.starts_with("W/")) {
        return Asked::Whole;
    }
    let Some((first, last)) = range.split_once('-') else { return Asked::Whole };
    let span = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => Span::new(first, last.saturating_add(1).min(len)),
        (Ok(first), Err(_)) if last.is_empty() => Span::new(first, len),
        (Err(_), Ok(suffix)) if first.is_empty() => Span::new(len.saturating_sub(suffix), len),
        _ => return Asked::Whole,
    };
    if span.is_empty() { Asked::Beyond } else { Asked::Part(span) }
}

fn unchanged(seen: &Seen, object: &Object) -> bool {
    match (seen.header("if-none-match"), &object.etag) {
        (Some(given), Some(tag)) => given.trim_start_matches("W/") == tag.trim_start_matches("W/"),
        (Some(_), None) => false,
        (None, _) => seen.header("if-modified-since").is_some_and(|date| Some(date) == object.last_modified.as_deref()),
    }
}

/// Answers one request; `false` ends the connection.
async fn answer(
    wire: &mut impl Wire,
    seen: &Seen,
    object: Option<Object>,
    faults: &[Fault],
    shared: &Shared,
) -> io::Result<bool> {
    let mut extra = String::new();
    let (mut ignore, mut chunked, mut no_length, mut multipart, mut validators) = (false, false, false, false, true);
    let (mut more, mut rate, mut altered) = (0, None, u64::MAX);
    let mut content_range = None;
    let mut status = None;
    for fault in faults {
        match fault {
            Fault::IgnoreRange => ignore = true,
            Fault::Chunked => chunked = true,
            Fault::NoLength => no_length = true,
            Fault::Multipart => multipart = true,
            Fault::NoValidators => validators = false,
            Fault::ContentRange(value) => content_range = Some(Some(value.clone())),
            Fault::NoContentRange => content_range = Some(None),
            Fault::ExtraBytes(count) => (more, chunked) = (*count, true),
            Fault::Slow(bytes_per_s) => rate = Some(*bytes_per_s),
            Fault::Altered(from) => altered = *from,
            Fault::Header(name, value) => write!(extra, "{name}: {value}\r\n").unwrap(),
            Fault::Redirect(code, location) => {
                status = Some(*code);
                write!(extra, "Location: {location}\r\n").unwrap();
            }
            Fault::Status(code) => status = Some(*code),
            Fault::Delay(time) => tokio::time::sleep(*time).await,
            Fault::Hang => return silence(wire).await,
            Fault::HangUp => return Ok(false),
            Fault::Garbage(bytes) => {
                wire.write_all(bytes).await?;
                return Ok(false);
            }
            Fault::TruncateAt(_) | Fault::StallAt(_) | Fault::ResetAt(_) | Fault::Replace(_) => {}
        }
    }
    let head_only = seen.method == "HEAD";
    let (status, object) = match (status, object) {
        (Some(status), _) => (status, None),
        (None, None) => (404, None),
        (None, Some(object)) => (200, Some(object)),
    };
    let Some(object) = object else {
        let text = format!("status {status}\n");
        let mut head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{extra}\r\n", text.len());
        if !head_only {
            head.push_str(&text);
        }
        wire.write_all(head.as_bytes()).await?;
        return Ok(true);
    };

    let mut fields = extra;
    for (name, value) in &object.headers {
        write!(fields, "{name}: {value}\r\n").unwrap();
    }
    if validators {
        for (name, value) in [("ETag", &object.etag), ("Last-Modified", &object.last_modified)] {
            if let Some(value) = value {
                write!(fields, "{name}: {value}\r\n").unwrap();
            }
        }
    }
    if unchanged(seen, &object) {
        wire.write_all(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").as_bytes()).await?;
        return Ok(true);
    }
    let len = object.len();
    let (line, span) = match if ignore { Asked::Whole } else { asked(seen, &object) } {
        Asked::Beyond => {
            let head = format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{len}\r\nContent-Length: 0\r\n{fields}\r\n"
            );
            wire.write_all(head.as_bytes()).await?;
            return Ok(true);
        }
        Asked::Whole => ("200 OK", Span::new(0, len)),
        Asked::Part(span) => {
            let truth = format!("bytes {}-{}/{len}", span.start(), span.end() - 1);
            if multipart {
                fields.push_str("Content-Type: multipart/byteranges; boundary=cut\r\n");
            } else if let Some(value) = content_range.unwrap_or(Some(truth)) {
                write!(fields, "Content-Range: {value}\r\n").unwrap();
            }
            ("206 Partial Content", span)
        }
    };
    if chunked {
        fields.push_str("Transfer-Encoding: chunked\r\n");
    } else if !no_length {
        write!(fields, "Content-Length: {}\r\n", span.len()).unwrap();
    }
    if no_length {
        fields.push_str("Connection: close\r\n");
    }
    wire.write_all(format!("HTTP/1.1 {line}\r\nAccept-Ranges: bytes\r\n{fields}\r\n").as_bytes()).await?;
    if head_only {
        return Ok(!no_length);
    }
    let body = Sending { path: seen.path(), object: &object, span, chunked, more, rate, altered };
    Ok(body.send(wire, faults, shared).await? && !no_length)
}

struct Sending<'a> {
    path: &'a str,
    object: &'a Object,
    span: Span,
    chunked: bool,
    more: u64,
    rate: Option<u64>,
    altered: u64,
}

impl Sending<'_> {
    /// Sends the body as far as the faults let it; `false` ends the connection.
    async fn send(&self, wire: &mut impl Wire, faults: &[Fault], shared: &Shared) -> io::Result<bool> {
        let stop = faults.iter().find_map(|fault| match fault {
            Fault::TruncateAt(at) | Fault::StallAt(at) | Fault::ResetAt(at) => Some((*at, fault)),
            _ => None,
        });
        let end = stop.map_or(self.span.end(), |(at, _)| self.span.end().min(self.span.start() + at));
        let mut at = self.span.start();
        let mut own = self.rate.map(|rate| (rate, Instant::now()));
        while at < end {
            let limited = own.is_some() || shared.state.lock().unwrap().link.is_some();
            let span = Span::new(at, end.min(at + if limited { 1 << 10 } else { CHUNK }));
            pace(&mut own, span.len()).await;
            let wait = shared.state.lock().unwrap().link.as_mut().map(|link| reserve(link, span.len()));
            if let Some(wait) = wait {
                tokio::time::sleep_until(wait).await;
            }
            let mut bytes = self.object.bytes(span);
            for (byte, position) in bytes.iter_mut().zip(span.start()..) {
                if position >= self.altered {
                    *byte = !*byte;
                }
            }
            self.write(wire, &bytes).await?;
            let mut state = shared.state.lock().unwrap();
            let script = state.scripts.entry(self.path.to_owned()).or_default();
            script.served.insert(span);
            script.sent += span.len();
            at = span.end();
        }
        match stop {
            Some((_, Fault::TruncateAt(_))) => return Ok(false),
            Some((_, Fault::StallAt(_))) => return silence(wire).await,
            Some((_, Fault::ResetAt(_))) => {
                // Without lingering, closing discards what is unsent and sends RST. What the client has not read yet
                // is lost to it as well.
                socket2::SockRef::from(wire.tcp()).set_linger(Some(Duration::ZERO))?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            _ => {}
        }
        if self.more > 0 {
            self.write(wire, &vec![b'x'; usize::try_from(self.more).unwrap()]).await?;
        }
        if self.chunked {
            wire.write_all(b"0\r\n\r\n").await?;
        }
        wire.flush().await?;
        Ok(true)
    }

    async fn write(&self, wire: &mut impl Wire, bytes: &[u8]) -> io::Result<()> {
        if self.chunked {
            wire.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        }
        wire.write_all(bytes).await?;
        if self.chunked {
            wire.write_all(b"\r\n").await?;
        }
        wire.flush().await
    }
}

/// Sends nothing until the client goes away.
async fn silence(wire: &mut impl Wire) -> io::Result<bool> {
    wire.flush().await?;
    let mut ignored = [0; 1024];
    while wire.read(&mut ignored).await? > 0 {}
    Ok(false)
}

/// When `len` bytes may leave over a link of this rate; they are counted as sent then.
fn reserve((rate, free): &mut (u64, Instant), len: u64) -> Instant {
    let start = (*free).max(Instant::now());
    *free = start + Duration::from_micros(len * 1_000_000 / (*rate).max(1));
    *free
}

async fn pace(own: &mut Option<(u64, Instant)>, len: u64) {
    if let Some(link) = own {
        tokio::time::sleep_until(reserve(link, len)).await;
    }
}
