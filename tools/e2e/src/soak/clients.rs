//! Clients of every kind that are met: Windows, plain ones, old ones, HTTP/2, slow ones, and ones that go away.
//!
//! Every byte of an answer that ends well is held against what the origin has (or had). What an answer that does not end
//! well says is of no interest: the origins fail and the node is killed.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::bytes::Dice;
use crate::http::{Connection, Head, is_unanswered};
use crate::soak::world::{Thing, is_wrong, wrong};

/// The manners of asking, in the order of [`Tally::well`].
pub(super) const MANNERS: [&str; 9] =
    ["pieces", "whole", "HTTP/1.0", "several ranges", "open and suffix", "conditional", "HTTP/2", "went away", "slow"];

/// What all clients saw.
#[derive(Default)]
pub(super) struct Tally {
    /// Answers that ended well, by manner.
    pub well: [AtomicU64; MANNERS.len()],
    /// Answers with an error status.
    pub refused: AtomicU64,
    /// Answers that broke off behind their head.
    pub cut: AtomicU64,
    /// Questions to which nothing came: the connection was closed, or the client was tired of waiting.
    pub unanswered: AtomicU64,
    /// Connections that were refused: no node was there just then.
    pub nobody: AtomicU64,
    pub hits: AtomicU64,
    pub bytes: AtomicU64,
}

/// What every client is given.
pub(super) struct Field<'a> {
    pub things: &'a [Arc<Thing>],
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub ca: &'a Path,
    pub tally: &'a Tally,
    /// Ends all clients.
    pub stop: &'a AtomicBool,
    /// Holds them back, so that the node comes to rest.
    pub quiet: &'a AtomicBool,
    /// How many are asking just now.
    pub busy: &'a AtomicU64,
}

/// One client until the soak ends; it returns what must never be.
pub(super) fn live(field: &Field<'_>, seed: u64) -> io::Result<()> {
    let mut dice = Dice::new(seed);
    while !field.stop.load(Ordering::SeqCst) {
        if field.quiet.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        field.busy.fetch_add(1, Ordering::SeqCst);
        let result = once(field, &mut dice);
        field.busy.fetch_sub(1, Ordering::SeqCst);
        match result {
            Ok(()) => {}
            Err(error) if is_wrong(&error) => return Err(error),
            Err(error) => {
                let count = match error.kind() {
                    io::ErrorKind::ConnectionRefused => &field.tally.nobody,
                    _ if is_unanswered(&error) => &field.tally.unanswered,
                    _ => &field.tally.cut,
                };
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(30));
            }
        }
    }
    Ok(())
}

fn once(field: &Field<'_>, dice: &mut Dice) -> io::Result<()> {
    let thing = &*field.things[dice.below(field.things.len() as u64) as usize];
    match dice.below(100) {
        0..40 => pieces(field, dice, thing),
        40..50 => one(field, dice, thing, 1, "1.1", String::new()),
        50..58 => one(field, dice, thing, 2, "1.0", String::new()),
        58..68 => several(field, dice, thing),
        68..76 => ends(field, dice, thing),
        76..82 => conditional(field, dice, thing),
        82..86 => http2(field, thing),
        86..96 => away(field, dice, thing),
        _ => slow(field, dice, thing),
    }
}

/// The whole body of an answer, checked; `false` where the answer was an error, or one whose end cannot be told from a cut.
/// `nap` is called between the pieces.
fn finish(
    field: &Field<'_>,
    thing: &Thing,
    connection: &mut Connection,
    head: &Head,
    mut nap: impl FnMut(),
) -> io::Result<bool> {
    if head.status == 304 {
        return Ok(false);
    }
    let length = head.length();
    let chunked = head.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let (from, size) = match (head.status, length) {
        (200, size) => (0, size),
        (206, Some(length)) => {
            let (from, size) = span(thing, head.header("content-range").unwrap_or_default(), length)?;
            (from, Some(size))
        }
        _ => {
            field.tally.refused.fetch_add(1, Ordering::Relaxed);
            connection.body(length.unwrap_or(0), |_| Ok(()))?;
            return Ok(false);
        }
    };
    let mut check = thing.check(head, from, size);
    let mut got = 0;
    let each = |bytes: &[u8]| {
        check.take(bytes);
        got += bytes.len() as u64;
        nap();
        Ok(())
    };
    match length {
        Some(length) => connection.body(length, each)?,
        None if chunked => connection.chunks(each)?,
        None => return Ok(false),
    }
    check.end()?;
    if head.header("cache-status").is_some_and(|status| status.contains("hit")) {
        field.tally.hits.fetch_add(1, Ordering::Relaxed);
    }
    field.tally.bytes.fetch_add(got, Ordering::Relaxed);
    Ok(true)
}

/// First byte and size of the object out of a `Content-Range` that fits a body of `length` bytes.
fn span(thing: &Thing, text: &str, length: u64) -> io::Result<(u64, u64)> {
    let parsed = text.strip_prefix("bytes ").and_then(|text| text.split_once('/')).and_then(|(span, size)| {
        let (first, last) = span.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, size.parse::<u64>().ok()?))
    });
    match parsed {
        Some((first, last, size)) if first <= last && last < size && last - first + 1 == length => Ok((first, size)),
        _ => Err(wrong(format!("{}: Content-Range {text:?} over {length} bytes", thing.path()))),
    }
}

fn request(connection: &Connection, thing: &Thing, version: &str, more: &str) -> String {
    format!("GET {} HTTP/{version}\r\nHost: {}\r\n{more}\r\n", thing.target(), connection.host())
}

/// One GET on a connection of its own.
fn one(
    field: &Field<'_>,
    dice: &mut Dice,
    thing: &Thing,
    manner: usize,
    version: &str,
    more: String,
) -> io::Result<()> {
    let mut connection = Connection::open(field.http)?;
    // An old client may ask to stay, too.
    let more = if dice.below(4) == 0 { format!("{more}Connection: keep-alive\r\n") } else { more };
    let head = connection.ask(&request(&connection, thing, version, &more))?;
    if finish(field, thing, &mut connection, &head, || ())? {
        field.tally.well[manner].fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Shuffled closed ranges of 1 MiB over one keep-alive connection, as Delivery Optimization asks.
fn pieces(field: &Field<'_>, dice: &mut Dice, thing: &Thing) -> io::Result<()> {
    const PIECE: u64 = 1 << 20;
    let size = thing.now().size;
    let mut firsts: Vec<u64> = (0..size.div_ceil(PIECE)).map(|piece| piece * PIECE).collect();
    dice.shuffle(&mut firsts);
    firsts.truncate(8);
    let mut connection = Connection::open(field.http)?;
    for first in firsts {
        let more = format!("Range: bytes={first}-{}\r\nContent-Length: 0\r\n", (first + PIECE).min(size) - 1);
        let head = connection.ask(&request(&connection, thing, "1.1", &more))?;
        if finish(field, thing, &mut connection, &head, || ())? {
            field.tally.well[0].fetch_add(1, Ordering::Relaxed);
        }
        if head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            connection = Connection::open(field.http)?;
        }
    }
    Ok(())
}

/// Two to five ranges apart, and the parts of what comes.
fn several(field: &Field<'_>, dice: &mut Dice, thing: &Thing) -> io::Result<()> {
    let size = thing.now().size;
    let ranges: Vec<String> = (0..2 + dice.below(4))
        .map(|_| {
            let first = dice.below(size);
            format!("{first}-{}", first + dice.below(40_000))
        })
        .collect();
    let mut connection = Connection::open(field.http)?;
    let more = format!("Range: bytes={}\r\n", ranges.join(","));
    let head = connection.ask(&request(&connection, thing, "1.1", &more))?;
    let kind = head.header("content-type").unwrap_or_default().to_owned();
    let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=") else {
        finish(field, thing, &mut connection, &head, || ())?;
        return Ok(());
    };
    let mut body = Vec::new();
    connection.body(head.length().unwrap_or(0), |bytes| body.write_all(bytes))?;
    let broken = |what: &str| wrong(format!("{}: a multipart answer {what}: {head:?}", thing.path()));
    let mut rest = body.as_slice();
    let mut check = None;
    loop {
        let line = format!("--{boundary}");
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        rest = rest.strip_prefix(line.as_bytes()).ok_or_else(|| broken("without its boundary"))?;
        if rest == b"--\r\n" || rest == b"--" {
            break;
        }
        let end =
            rest.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| broken("with a part without a head"))?;
        let part = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let range = part.lines().find_map(|line| line.strip_prefix("Content-Range: "));
        let (from, last) = range
            .and_then(|range| range.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-'))
            .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)))
            .ok_or_else(|| broken("with a part of no range"))?;
        let length = last + 1 - from;
        let (_, size) = span(thing, range.unwrap_or_default(), length)?;
        let bytes = rest.get(..length as usize).ok_or_else(|| broken("with a part that is too short"))?;
        let check = check.get_or_insert_with(|| thing.check(&head, from, Some(size)));
        check.seek(from);
        check.take(bytes);
        rest = &rest[length as usize..];
    }
    check.ok_or_else(|| broken("without parts"))?.end()?;
    field.tally.well[3].fetch_add(1, Ordering::Relaxed);
    field.tally.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// From somewhere to the end, or so many of the last bytes.
fn ends(field: &Field<'_>, dice: &mut Dice, thing: &Thing) -> io::Result<()> {
    let size = thing.now().size;
    let range = match dice.below(3) {
        0 => format!("-{}", 1 + dice.below(size + 1000)),
        _ => format!("{}-", dice.below(size + 10)),
    };
    one(field, dice, thing, 4, "1.1", format!("Range: bytes={range}\r\n"))
}

/// The tag of one answer in the condition of the next.
fn conditional(field: &Field<'_>, dice: &mut Dice, thing: &Thing) -> io::Result<()> {
    let mut connection = Connection::open(field.http)?;
    let head = connection.ask(&format!("HEAD {} HTTP/1.1\r\nHost: {}\r\n\r\n", thing.target(), connection.host()))?;
    let (Some(tag), 200) = (head.header("etag"), head.status) else {
        field.tally.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    let more = match dice.below(3) {
        0 => format!("If-None-Match: {tag}\r\n"),
        1 => format!("If-Range: {tag}\r\nRange: bytes=1-9\r\n"),
        _ => format!("If-Match: {tag}\r\nRange: bytes=0-99\r\n"),
    };
    let head = connection.ask(&request(&connection, thing, "1.1", &more))?;
    finish(field, thing, &mut connection, &head, || ())?;
    field.tally.well[5].fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// curl over TLS and HTTP/2.
fn http2(field: &Field<'_>, thing: &Thing) -> io::Result<()> {
    let url = format!("https://patches.site.example:{}{}", field.https.port(), thing.target());
    let out = Command::new("curl")
        .args(["-sS", "-i", "--http2", "--max-time", "60", "--cacert", &field.ca.to_string_lossy()])
        .args(["--resolve", &format!("patches.site.example:{}:127.0.0.1", field.https.port()), &url])
        .stdin(Stdio::null())
        .output()?;
    if !out.status.success() {
        // 7 is a connection that was refused.
        let kind = if out.status.code() == Some(7) { io::ErrorKind::ConnectionRefused } else { io::ErrorKind::Other };
        return Err(io::Error::new(kind, "curl was cut off"));
    }
    let end = out.stdout.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    let text = String::from_utf8_lossy(&out.stdout[..end]).into_owned();
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let head = Head { status, headers };
    if status != 200 {
        field.tally.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let body = &out.stdout[end + 4..];
    let mut check = thing.check(&head, 0, Some(body.len() as u64));
    check.take(body);
    check.end()?;
    field.tally.well[6].fetch_add(1, Ordering::Relaxed);
    field.tally.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// Reads a little and is gone.
fn away(field: &Field<'_>, dice: &mut Dice, thing: &Thing) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&field.http, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_millis(1 + dice.below(2000))))?;
    write!(stream, "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", thing.target(), field.http)?;
    let mut left = dice.below(200_000) as usize;
    let mut buf = [0; 8192];
    while left > 0 {
        match stream.read(&mut buf[..left.min(8192)]) {
            Ok(0) | Err(_) => break,
            Ok(read) => left -= read,
        }
    }
    field.tally.well[7].fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Takes its bytes a little at a time.
fn slow(field: &Field<'_>, dice: &mut Dice, thing: &Thing) -> io::Result<()> {
    let mut connection = Connection::open(field.http)?;
    let head = connection.ask(&request(&connection, thing, "1.1", ""))?;
    let pause = 5 + dice.below(100);
    let mut naps = 60;
    let nap = || {
        if naps > 0 && !field.quiet.load(Ordering::Relaxed) {
            naps -= 1;
            std::thread::sleep(Duration::from_millis(pause));
        }
    };
    if finish(field, thing, &mut connection, &head, nap)? {
        field.tally.well[8].fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
