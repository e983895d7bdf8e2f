//! A seeded generator of what nobody should send: requests, TLS hellos, HTTP/2 frames and control calls against a node
//! that runs. It must stay alive, answer `/healthz`, never say 500, not grow, and still serve what it holds.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Stage;
use crate::branch::check;
use crate::bytes::{Dice, Object, sha256};
use crate::http;
use crate::nginx::Nginx;
use crate::node::{Node, wait_for};
use crate::soak::watch::{Sample, panics};

/// What is sent where, and how many threads send it.
const SENDERS: [(&str, usize); 5] =
    [("requests", 3), ("TLS hellos", 1), ("HTTP/2 frames", 1), ("control reads", 1), ("control calls", 1)];

struct Field {
    http: SocketAddr,
    https: SocketAddr,
    control: SocketAddr,
    socket: PathBuf,
    folder: PathBuf,
    /// Targets that the node has something for.
    targets: Vec<String>,
    /// Hellos as curl and openssl send them, to begin with.
    hellos: Vec<Vec<u8>>,
    /// By [`SENDERS`].
    sent: [AtomicU64; SENDERS.len()],
    /// Answers by the first digit of their status; 0 for none.
    answers: [AtomicU64; 6],
    stop: AtomicBool,
    quiet: AtomicBool,
    busy: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

pub(crate) fn hostile(stage: &Stage) -> io::Result<String> {
    println!("     seed {}, {} s", stage.seed, stage.seconds);
    let root = stage.folder.join("root");
    fs::create_dir_all(root.join("c/msdownload/update"))?;
    let object = Object::new("/c/msdownload/update/held.cab", (2 << 20) + 77, 91);
    object.write(&root.join(&object.path[1..]))?;
    let nginx = Nginx::start(&stage.folder, &root)?;
    let mut node = Node::start(
        &stage.program,
        &stage.folder,
        &[nginx.address],
        "[log]\nlevel = \"warn\"\n[upstream]\npatience = \"2 s\"\n[limits]\nidle = \"2 s\"\ndrain = \"3 s\"\n",
    )?;
    let url = format!("http://{}{}", nginx.address, object.path);
    node.verb(&["fetch", &url, "--sha256", &object.sha256(), "--pin"])?;
    let field = Field {
        http: node.http,
        https: node.https,
        control: node.control,
        socket: node.data().join("control.sock"),
        folder: stage.folder.clone(),
        targets: vec![Node::target(nginx.address, &object.path), format!("/sha256/{}", object.sha256()), url],
        hellos: hellos()?,
        sent: Default::default(),
        answers: Default::default(),
        stop: AtomicBool::new(false),
        quiet: AtomicBool::new(false),
        busy: AtomicU64::new(0),
        failure: Mutex::new(None),
    };
    let most = std::thread::scope(|scope| {
        let mut id = 0;
        for (kind, (_, threads)) in SENDERS.iter().enumerate() {
            for _ in 0..*threads {
                id += 1;
                let (field, seed) = (&field, stage.seed.wrapping_mul(100).wrapping_add(id));
                scope.spawn(move || live(field, kind, seed));
            }
        }
        let result = watch(stage, &field, &mut node);
        field.stop.store(true, Ordering::SeqCst);
        result
    })?;
    let (head, body) = http::fetch(node.http, &field.targets[0], None)?;
    check(head.status == 200 && sha256(&body) == object.sha256(), || format!("what is held came as {head:?}"))?;
    node.verb(&["store", "verify"])?;
    node.stop()?;
    let log = panics(&node.log())?;
    check(log.is_empty(), || format!("the log has: {}", log.join("\n")))?;
    let count = |counts: &[AtomicU64], at: usize| counts[at].load(Ordering::Relaxed);
    let sent: Vec<String> =
        SENDERS.iter().enumerate().map(|(at, (name, _))| format!("{} {name}", count(&field.sent, at))).collect();
    check(field.sent.iter().all(|sent| sent.load(Ordering::Relaxed) > 0) && count(&field.answers, 2) > 0, || {
        format!("too little happened: {}", sent.join(", "))
    })?;
    let answers: Vec<String> = (1..6).map(|digit| format!("{} of {digit}xx", count(&field.answers, digit))).collect();
    Ok(format!(
        "     {}\n     answers: {}, {} closed without one\n     most: {most}; {} KiB of log",
        sent.join(", "),
        answers.join(", "),
        count(&field.answers, 0),
        fs::metadata(node.log())?.len() >> 10
    ))
}

/// Looks at the node all the time, and at its rest after a tenth of the time, and at the end.
fn watch(stage: &Stage, field: &Field, node: &mut Node) -> io::Result<Sample> {
    let start = Instant::now();
    let whole = Duration::from_secs(stage.seconds);
    let mut most = Sample::default();
    let mut at_rest = None;
    loop {
        std::thread::sleep(Duration::from_millis(250));
        if let Some(error) = field.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if let Some(status) = node.has_ended() {
            return Err(io::Error::other(format!("the node ended by itself with {status}")));
        }
        let healthy = http::peek(node.control, "/healthz");
        check(matches!(healthy, Ok((200, _))), || format!("/healthz: {healthy:?}"))?;
        let sample = node.pid().and_then(Sample::of).unwrap_or_default();
        sample.bounded()?;
        most = most.most(sample);
        let over = start.elapsed() > whole;
        if over || (at_rest.is_none() && start.elapsed() > whole / 10) {
            let now = rest(field, node)?;
            println!("     at rest: {now}");
            now.has_not_grown(*at_rest.get_or_insert(now))?;
        }
        if over {
            return Ok(most);
        }
    }
}

/// Lets all senders wait, and the node forget them.
fn rest(field: &Field, node: &Node) -> io::Result<Sample> {
    field.quiet.store(true, Ordering::SeqCst);
    wait_for("all senders to wait", || field.busy.load(Ordering::SeqCst) == 0)?;
    let pid = node.pid().ok_or_else(|| io::Error::other("the node is gone"))?;
    let mut files = u64::MAX;
    // Idle connections end after 2 s, those that have begun a request a little later: until nothing goes any more.
    wait_for("connections to end", || {
        std::thread::sleep(Duration::from_secs(3));
        let now = Sample::of(pid).map_or(0, |sample| sample.files);
        let same = now == files;
        files = now;
        same
    })?;
    let sample = Sample::of(pid).ok_or_else(|| io::Error::other("the node is gone"))?;
    field.quiet.store(false, Ordering::SeqCst);
    Ok(sample)
}

fn live(field: &Field, kind: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    while !field.stop.load(Ordering::SeqCst) {
        if field.quiet.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        field.busy.fetch_add(1, Ordering::SeqCst);
        let result = match kind {
            0 => send(field, TcpStream::connect(field.http), &requests(field, &mut dice), &mut dice),
            1 => send(field, TcpStream::connect(field.https), &hello(field, &mut dice), &mut dice),
            2 => http2(field, &mut dice),
            3 => send(field, TcpStream::connect(field.control), &control_read(&mut dice), &mut dice),
            _ => send(field, UnixStream::connect(&field.socket), &control_call(field, &mut dice), &mut dice),
        };
        field.sent[kind].fetch_add(1, Ordering::Relaxed);
        field.busy.fetch_sub(1, Ordering::SeqCst);
        if let Err(error) = result {
            field.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            return;
        }
    }
}

/// A stream of either kind.
trait Stream: Read + Write {
    fn patience(&self, time: Duration) -> io::Result<()>;
    fn no_more(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn patience(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn no_more(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn patience(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn no_more(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Sends it whole, in pieces, or in part, and reads a little of what comes. Fails where that is a 500.
fn send<S: Stream>(field: &Field, stream: io::Result<S>, bytes: &[u8], dice: &mut Dice) -> io::Result<()> {
    // A full backlog is no fault of the node's.
    let Ok(mut stream) = stream else { return Ok(()) };
    stream.patience(Duration::from_millis(20 + dice.below(400)))?;
    let pieces = if dice.below(3) == 0 { 1 + dice.below(6) as usize } else { 1 };
    for piece in bytes.chunks((bytes.len() / pieces).max(1)) {
        if stream.write_all(piece).is_err() {
            break;
        }
        if pieces > 1 {
            std::thread::sleep(Duration::from_millis(dice.below(5)));
        }
    }
    if dice.below(3) == 0 {
        let _ = stream.no_more();
    }
    let mut answer = vec![0; 4096];
    let mut got = 0;
    if dice.below(10) > 0 {
        while got < answer.len() {
            match stream.read(&mut answer[got..]) {
                Ok(0) | Err(_) => break,
                Ok(read) => got += read,
            }
        }
    }
    let said = String::from_utf8_lossy(&answer[..got]);
    let status = said.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse::<u16>().ok());
    field.answers[usize::from(status.unwrap_or(0) / 100).min(5)].fetch_add(1, Ordering::Relaxed);
    check(status != Some(500), || {
        format!("500 for {:?}: {said}", String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]))
    })
}

fn pick<'a, T: ?Sized>(dice: &mut Dice, from: &[&'a T]) -> &'a T {
    from[dice.below(from.len() as u64) as usize]
}

fn noise(dice: &mut Dice, most: u64) -> Vec<u8> {
    (0..dice.below(most)).map(|_| dice.below(256) as u8).collect()
}

/// Changes a few bytes, takes some out, puts some in, or repeats some.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(6) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len() as u64) as usize;
        let end = (at + 1 + dice.below(16) as usize).min(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = pick(dice, &[b"\0", b"\r", b"\n", b" ", b":", b"%", b"\xff", b"\x7f", b"-", b"9"])[0],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let new = noise(dice, 12);
                bytes.splice(at..at, new);
            }
            _ => bytes.truncate(at),
        }
    }
}

/// One to four requests in a row, each somewhere between odd and impossible.
fn requests(field: &Field, dice: &mut Dice) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..=dice.below(4) {
        let mut one = request(field, dice);
        if dice.below(5) < 2 {
            mutate(dice, &mut one);
        }
        all.extend(one);
    }
    all
}

fn target(field: &Field, dice: &mut Dice) -> Vec<u8> {
    let known = field.targets[dice.below(field.targets.len() as u64) as usize].clone();
    match dice.below(12) {
        0..6 => known.into_bytes(),
        6 => {
            let odd = [
                "/",
                "*",
                "",
                "//",
                "/..",
                "/%2e%2e/%2e%2e/etc/passwd",
                "/%",
                "/%zz",
                "/%00",
                "/?",
                "/#x",
                "http://",
                "http://[::1",
                "/sha256/",
                "/sha256/0",
                "/sha1/zz",
                "/blake3/%30",
                "/mscomtest/wuidt.gif",
                "/files/..\\..\\x",
                "/\u{fe0f}",
                "http://user:pass@host/x",
                "https://169.254.169.254/latest",
                "/x?cacheHostOrigin=",
                "host:443",
            ];
            pick(dice, &odd).as_bytes().to_vec()
        }
        7 => {
            let origins = [
                "",
                "localhost",
                "127.0.0.1",
                "[::1]:80",
                "a..b",
                "-",
                "%00",
                "evil.example@127.0.0.1",
                "127.0.0.1:99999",
                "0x7f.1",
                "::1",
                "download.windowsupdate.com:0",
                "%5b%5d",
                "a%0d%0ab",
                "xn--",
                "download.windowsupdate.com%00.evil.example",
            ];
            format!("/f/x.cab?cacheHostOrigin={}", pick(dice, &origins)).into_bytes()
        }
        8 => format!("{known}{}", "/../%41?&=".repeat(1 + dice.below(400) as usize)).into_bytes(),
        9 => format!("/{}", "a".repeat(dice.below(100_000) as usize)).into_bytes(),
        10 => [b"/", noise(dice, 60).as_slice()].concat(),
        _ => {
            let mut bytes = known.into_bytes();
            mutate(dice, &mut bytes);
            bytes
        }
    }
}

fn ranges(dice: &mut Dice) -> String {
    let number = |dice: &mut Dice| match dice.below(6) {
        0 => String::new(),
        1 => "18446744073709551615".into(),
        2 => "99999999999999999999999".into(),
        3 => "-1".into(),
        _ => dice.below(3_000_000).to_string(),
    };
    let unit = pick(dice, &["bytes", "bytes", "bytes", "BYTES", "octets", "", "bytes ", "=bytes"]);
    let parts: Vec<String> = (0..*pick(dice, &[&1, &2, &5, &64, &65, &3000]))
        .map(|_| format!("{}-{}", number(dice), number(dice)))
        .collect();
    format!("{unit}={}", parts.join(pick(dice, &[",", ", ", ",,", ";", " "])))
}

fn header(dice: &mut Dice) -> Vec<u8> {
    let dates = [
        "Wed, 02 Sep 2026 08:30:53 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "0",
        "Wed, 99 Foo 99999 99:99:99 GMT",
        "\u{1f4a9}",
    ];
    let tags = ["*", "\"x\"", "W/\"x\"", "\"", "\"\"\"", "x", "\"sha256-0\", \"y\"", ",,,,", "W/"];
    let line = match dice.below(16) {
        0..4 => format!("Range: {}", ranges(dice)),
        4 => format!("If-Range: {}", pick(dice, &tags)),
        5 => format!("If-Range: {}", pick(dice, &dates)),
        6 => format!("If-None-Match: {}", pick(dice, &tags)),
        7 => format!("If-Match: {}", pick(dice, &tags)),
        8 => format!("If-Modified-Since: {}", pick(dice, &dates)),
        9 => format!("If-Unmodified-Since: {}", pick(dice, &dates)),
        10 => format!(
            "Content-Length: {}",
            pick(dice, &["0", "1", "-1", "+1", "99999999999999999999", "0x10", "1, 1", "1,2", ""])
        ),
        11 => format!(
            "Transfer-Encoding: {}",
            pick(dice, &["chunked", "identity", "chunked, chunked", "gzip, chunked", "xchunked"])
        ),
        12 => format!("Connection: {}", pick(dice, &["close", "keep-alive", "upgrade", "Range, Host", ",,", "te"])),
        13 => pick(
            dice,
            &[
                "Expect: 100-continue",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABk",
                "TE: trailers",
                "Via: 1.1 a, 1.1 b",
                " folded: x",
                ": x",
                "x",
                "X-Forwarded-For: 1\u{b}2",
            ],
        )
        .to_owned(),
        14 => format!("X: {}", "y".repeat(dice.below(120_000) as usize)),
        _ => format!("Host: {}", pick(dice, &["", "a", "a, b", "[::1]:x", "evil.example\u{0}", "127.0.0.1"])),
    };
    [line.as_bytes(), pick(dice, &[&b"\r\n"[..], b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])].concat()
}

fn request(field: &Field, dice: &mut Dice) -> Vec<u8> {
    let methods = [
        "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "TRACE", "PRI", "get", "", "G\u{0}T",
        "DELETE",
    ];
    let versions =
        ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "HTTP/1.1.1", "", "ICY"];
    let mut out = pick(dice, &methods).as_bytes().to_vec();
    out.push(b' ');
    out.extend(target(field, dice));
    out.push(b' ');
    out.extend(pick(dice, &versions).as_bytes());
    out.extend(b"\r\n");
    if dice.below(5) > 0 {
        out.extend(format!("Host: {}\r\n", field.http).as_bytes());
    }
    for _ in 0..pick(dice, &[&0, &1, &1, &2, &3, &6, &200]).to_owned() {
        out.extend(header(dice));
    }
    out.extend(b"\r\n");
    match dice.below(6) {
        0 => out.extend(b"5\r\nhello\r\n0\r\n\r\n"),
        1 => out.extend(pick(
            dice,
            &[&b"ffffffffffffffff\r\n"[..], b"-1\r\n", b"5;x=\"\r\n\r\n", b"0\r\nX: y\r\n", b"zz\r\n"],
        )),
        2 => out.extend(noise(dice, 2000)),
        _ => {}
    }
    out
}

/// What curl and openssl say first to a server that says nothing.
fn hellos() -> io::Result<Vec<Vec<u8>>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let url = format!("https://{address}/");
    let mut found = Vec::new();
    for (program, words) in [
        ("curl", vec!["-sk", "--max-time", "2", &url]),
        (
            "openssl",
            vec!["s_client", "-connect", &address, "-servername", "patches.site.example", "-alpn", "h2,http/1.1"],
        ),
        ("openssl", vec!["s_client", "-connect", &address, "-tls1_2"]),
    ] {
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut hello = vec![0; 16 << 10];
        let got = stream.read(&mut hello)?;
        hello.truncate(got);
        found.push(hello);
        drop(stream);
        let _ = child.kill();
        child.wait()?;
    }
    Ok(found)
}

fn hello(field: &Field, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = field.hellos[dice.below(field.hellos.len() as u64) as usize].clone();
    match dice.below(8) {
        0 => noise(dice, 3000),
        // Records of every kind and length, one after the other.
        1 => (0..=dice.below(40))
            .flat_map(|_| {
                let body = noise(dice, 300);
                let kind = pick(dice, &[&20, &21, &22, &23, &24, &255]).to_owned();
                [vec![kind, 3, dice.below(5) as u8], (body.len() as u16).to_be_bytes().to_vec(), body].concat()
            })
            .collect(),
        2 => request(field, dice),
        _ => {
            mutate(dice, &mut bytes);
            // The lengths of record and handshake are right again, so that what lies in it is looked at.
            if dice.below(2) == 0 && bytes.len() > 9 {
                let record = (bytes.len() - 5) as u16;
                bytes[3..5].copy_from_slice(&record.to_be_bytes());
                let inner = ((bytes.len() - 9) as u32).to_be_bytes();
                bytes[6..9].copy_from_slice(&inner[1..]);
            }
            bytes
        }
    }
}

/// HTTP/2 frames behind a good handshake, which openssl makes.
fn http2(field: &Field, dice: &mut Dice) -> io::Result<()> {
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &field.https.to_string(), "-alpn", "h2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for _ in 0..dice.below(60) {
        let body = match dice.below(4) {
            // :method GET, :scheme https, :path / by the static table, then whatever comes.
            0 => [&[0x82, 0x87, 0x84][..], &noise(dice, 20)].concat(),
            1 => vec![],
            _ => noise(dice, 200),
        };
        let length = if dice.below(8) == 0 { dice.below(1 << 24) as u32 } else { body.len() as u32 };
        bytes.extend(&length.to_be_bytes()[1..]);
        bytes.extend([dice.below(12) as u8, dice.below(256) as u8]);
        let stream = pick(dice, &[&0_u32, &1, &1, &3, &5, &2, &0x7fff_ffff]).to_owned();
        bytes.extend(stream.to_be_bytes());
        bytes.extend(body);
    }
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(&bytes);
        let _ = stdin.flush();
        std::thread::sleep(Duration::from_millis(60 + dice.below(200)));
    }
    let _ = child.kill();
    child.wait().map(drop)
}

fn control_read(dice: &mut Dice) -> Vec<u8> {
    let paths = [
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/status",
        "/api/v1/flights",
        "/api/v1/content",
        "/api/v1/content/x",
        "/api/v1/jobs",
        "/api/v1/jobs/1",
        "/api/v1/jobs/18446744073709551616",
        "/api/v1/explain",
        "/api/v1/settings",
        "/api/v1/store/backup",
        "/api/v2",
        "/%ff",
        "/api/v1/content/http%3A%2F%2F127.0.0.1%2F",
        "/api/v1/content/..%2f..",
    ];
    let queries = [
        "",
        "?limit=0",
        "?limit=-1",
        "?limit=99999999999999999999",
        "?after=zz",
        "?after=%00",
        "?filter=%ff%fe",
        "?class=none",
        "?pinned=maybe",
        "?url=http://127.0.0.1/",
        "?url=",
        "?url=file:///etc/passwd",
        "?wait=1",
        "?wait=99999999999999",
        "?&&&=&",
        "?limit=1&limit=2",
    ];
    let hosts = ["127.0.0.1", "localhost", "evil.example", ""];
    let mut bytes = format!(
        "{} {}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        pick(dice, &["GET", "GET", "GET", "HEAD", "POST", "DELETE", "PUT"]),
        pick(dice, &paths),
        pick(dice, &queries),
        pick(dice, &hosts)
    )
    .into_bytes();
    if dice.below(3) == 0 {
        mutate(dice, &mut bytes);
    }
    bytes
}

/// A value of no meaning, nested up to `depth`.
fn json(dice: &mut Dice, depth: u64) -> String {
    match dice.below(if depth == 0 { 7 } else { 10 }) {
        0 => "null".into(),
        1 => "true".into(),
        2 => pick(dice, &["0", "-1", "1e999", "18446744073709551616", "0.1", "-0", "1E-400", "01"]).into(),
        3 => "\"\"".into(),
        4 => format!(
            "\"{}\"",
            pick(dice, &["a", "\\u0000", "\\ud800", "http://", "http://127.0.0.1:1/x", "sha256", "../../x", "é", "\\"])
        ),
        5 => format!("\"{}\"", "z".repeat(dice.below(50_000) as usize)),
        6 => pick(dice, &["{", "[", "}", "nul", "\"", ",", ""]).into(),
        7 => "[".repeat(dice.below(3000) as usize),
        8 => format!("[{}]", (0..dice.below(5)).map(|_| json(dice, depth - 1)).collect::<Vec<_>>().join(",")),
        _ => {
            let keys = ["items", "url", "sha256", "pin", "only", "repair", "rate", "to", "paths", "move", "x", ""];
            let fields: Vec<String> =
                (0..dice.below(5)).map(|_| format!("\"{}\":{}", pick(dice, &keys), json(dice, depth - 1))).collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

/// A call of the control socket, which may do everything. No body names a file outside the scenario's own folder.
fn control_call(field: &Field, dice: &mut Dice) -> Vec<u8> {
    let folder = |name: &str| Path::new(&field.folder).join(name).display().to_string();
    let (path, body) = match dice.below(12) {
        0 => (
            "/api/v1/fetch".to_owned(),
            format!(r#"{{"items":[{{"url":{},"sha256":{}}}]}}"#, json(dice, 0), json(dice, 0)),
        ),
        1 => ("/api/v1/fetch".to_owned(), json(dice, 4)),
        2 => ("/api/v1/store/verify".to_owned(), format!(r#"{{"only":{},"rate":{}}}"#, json(dice, 0), json(dice, 0))),
        3 => ("/api/v1/store/verify".to_owned(), json(dice, 3)),
        4 => ("/api/v1/store/backup".to_owned(), json(dice, 3)),
        5 => ("/api/v1/store/backup".to_owned(), format!(r#"{{"to":"{}"}}"#, folder("no/such/folder"))),
        6 => (
            "/api/v1/content/import".to_owned(),
            format!(r#"{{"paths":["{}"],"sha256":{}}}"#, folder("absent"), json(dice, 0)),
        ),
        7 => ("/api/v1/content/import".to_owned(), json(dice, 3)),
        8 => (
            format!("/api/v1/jobs/{}/stop", pick(dice, &["1", "0", "-1", "x", "99999999999999999999", "%00"])),
            String::new(),
        ),
        9 => (
            format!("/api/v1/content/{}/unpin", pick(dice, &["x", "%2f", "%ff", "sha256-0", "a%00b", "http%3A%2F%2F"])),
            json(dice, 2),
        ),
        10 => (
            format!("/api/v1/content/{}/unbind", pick(dice, &["x", "%2f", "%ff", "sha256-0", "http%3A%2F%2Fa%2Fb"])),
            json(dice, 2),
        ),
        _ => (
            "/api/v1/fetch".to_owned(),
            format!(r#"{{"items":[{}],"pin":false}}"#, r#"{"url":"x"},"#.repeat(dice.below(3000) as usize)),
        ),
    };
    let length = match dice.below(8) {
        0 => dice.below(1 << 40),
        _ => body.len() as u64,
    };
    let kind = pick(
        dice,
        &["application/json", "application/json", "application/json", "text/plain", "", "application/json; charset=x"],
    );
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
