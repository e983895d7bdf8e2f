//! A plain HTTP/1.1 client written at byte level over a real socket, and a parser of `multipart/byteranges` that shares no
//! code with the product. Include it with `#[path = "support/plain_client.rs"] mod plain_client;`.

#![allow(dead_code, unreachable_pub, reason = "every test binary includes this file and uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that cannot do its work must panic")]

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One kept-alive connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    pending: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body came to its announced end.
    pub whole: bool,
}

/// One part of a multipart answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub first: u64,
    pub last: u64,
    pub size: u64,
    pub bytes: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, pending: Vec::new() }
    }

    /// Sends a request without a body and reads the answer to its end.
    pub async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(method, target, headers).await;
        self.answer(method == "HEAD").await
    }

    pub async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", target, headers).await
    }

    /// Sends the head of a request. `Host` is `node` unless given.
    pub async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str("Host: node\r\n");
        }
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        self.send_raw(head.as_bytes()).await;
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads one answer to its end.
    pub async fn answer(&mut self, to_head: bool) -> Answer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        if to_head || answer.status == 204 || answer.status == 304 {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.whole = false;
            while let Some(line) = self.line().await {
                let length = usize::from_str_radix(line.trim(), 16).unwrap();
                let (mut chunk, whole) = self.bytes(length + 2).await;
                if !whole {
                    break;
                }
                chunk.truncate(length);
                answer.body.extend_from_slice(&chunk);
                if length == 0 {
                    answer.whole = true;
                    break;
                }
            }
        } else {
            (answer.body, answer.whole) = self.bytes(length.unwrap_or(usize::MAX)).await;
            answer.whole |= length.is_none();
        }
        answer
    }

    /// Reads the head of an answer and leaves its body.
    pub async fn head(&mut self) -> Answer {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await.expect("the connection was closed before the answer's head was whole");
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines[1..]
            .iter()
            .map(|line| line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Answer { status, headers, body: Vec::new(), whole: true }
    }

    /// Whether the other side has closed the connection. Waits for a byte or the end.
    pub async fn is_closed(&mut self) -> bool {
        self.pending.is_empty() && matches!(self.stream.read(&mut [0]).await, Ok(0) | Err(_))
    }

    /// Up to `count` bytes, fewer where the connection ends first.
    pub async fn bytes(&mut self, count: usize) -> (Vec<u8>, bool) {
        while self.pending.len() < count {
            if !self.more().await {
                return (std::mem::take(&mut self.pending), false);
            }
        }
        let rest = self.pending.split_off(count);
        (std::mem::replace(&mut self.pending, rest), true)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.pending.split_off(end + 2);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.truncate(end);
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        self.pending.reserve(64 << 10);
        matches!(self.stream.read_buf(&mut self.pending).await, Ok(1..))
    }
}

impl Answer {
    /// The value of a field that must not be given twice; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is given twice: {:?}", self.headers);
        value
    }

    /// Field names in lower case, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    }

    /// First byte, last byte and size out of Content-Range.
    pub fn content_range(&self) -> Option<(u64, u64, u64)> {
        self.header("content-range").map(content_range)
    }

    /// The parts of a multipart answer, read strictly by RFC 2046 and within what BITS accepts.
    pub fn parts(&self) -> Vec<Part> {
        let kind = self.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        assert!(
            (1..=70).contains(&boundary.len()) && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{boundary}"
        );
        let delimiter = format!("--{boundary}");
        let mut rest = self.body.strip_prefix(delimiter.as_bytes()).expect("nothing comes before the first boundary");
        let mut parts = Vec::new();
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let end = part.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = std::str::from_utf8(&part[..end]).unwrap();
            let mut range = None;
            let mut others = 0;
            for line in head.split("\r\n") {
                let (name, value) = line.split_once(": ").unwrap();
                match name.to_ascii_lowercase().as_str() {
                    "content-range" => range = Some(content_range(value)),
                    "content-type" => assert_eq!(value, "application/octet-stream"),
                    _ => others += line.len() + 2,
                }
            }
            assert!(others <= 180, "BITS takes 180 bytes of other headers, this part has {others}");
            let (first, last, size) = range.expect("each part has a Content-Range");
            let length = usize::try_from(last - first + 1).unwrap();
            let (bytes, after) = part[end + 4..].split_at(length);
            parts.push(Part { first, last, size, bytes: bytes.to_vec() });
            rest = after.strip_prefix(format!("\r\n{delimiter}").as_bytes()).expect("a boundary ends each part");
        }
        assert_eq!(rest, b"--\r\n", "the last boundary ends the body");
        parts
    }
}

fn content_range(value: &str) -> (u64, u64, u64) {
    let (range, size) = value.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap(), size.parse().unwrap())
}
