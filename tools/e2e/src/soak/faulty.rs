//! An origin that does everything wrong that origins were seen to do, now and then, by a seeded choice.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::bytes::{Dice, Object};
use crate::soak::world::{Thing, WRONG_TOTAL};

/// What it can do instead of answering well, and of how many in a thousand answers.
const FAULTS: &[(&str, u64)] = &[
    ("truncated", 40),
    ("stalled", 15),
    ("wrong Content-Range", 20),
    ("wrong total", 10),
    ("503", 25),
    ("500", 10),
    ("404", 10),
    ("ignored Range", 30),
    ("closed unanswered", 20),
    ("slow", 20),
    ("no length", 15),
    ("no HTTP", 10),
    ("chunks that break off", 15),
];

pub(super) struct Faulty {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    things: OnceLock<Vec<Arc<Thing>>>,
    dice: Mutex<Dice>,
    calm: AtomicBool,
    closed: AtomicBool,
    answers: AtomicU64,
    faults: Vec<AtomicU64>,
}

impl Faulty {
    /// Listens; serves once it is told of what.
    pub(super) fn start(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            things: OnceLock::new(),
            dice: Mutex::new(Dice::new(seed)),
            calm: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            faults: FAULTS.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.closed.load(Ordering::Relaxed) {
                    break;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A client that goes away is no fault of the origin.
                    let _ = state.serve(&stream);
                });
            }
        });
        Ok(Self { address, state })
    }

    pub(super) fn serves(&self, things: Vec<Arc<Thing>>) {
        let _ = self.state.things.set(things);
    }

    /// Whether every answer is a good one.
    pub(super) fn calm(&self, calm: bool) {
        self.state.calm.store(calm, Ordering::SeqCst);
    }

    /// Good answers, and each fault with how often it was done.
    pub(super) fn done(&self) -> (u64, Vec<(&'static str, u64)>) {
        let faults = FAULTS.iter().zip(&self.state.faults);
        (
            self.state.answers.load(Ordering::Relaxed),
            faults.map(|((name, _), count)| (*name, count.load(Ordering::Relaxed))).collect(),
        )
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// One request of the node.
struct Asked {
    head_only: bool,
    path: String,
    /// First byte, and the one after the last.
    range: Option<(u64, u64)>,
    /// The tag that a range is wanted of.
    if_range: Option<String>,
    if_none_match: Option<String>,
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let head_only = words.next() == Some("HEAD");
    let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let mut asked = Asked { head_only, path, range: None, if_range: None, if_none_match: None };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(asked)) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                asked.range = value.strip_prefix("bytes=").and_then(|text| text.split_once('-')).and_then(|(a, b)| {
                    Some((a.parse().ok()?, b.parse::<u64>().map_or(u64::MAX, |last| last.saturating_add(1))))
                });
            }
            "if-range" => asked.if_range = Some(value.to_owned()),
            "if-none-match" => asked.if_none_match = Some(value.to_owned()),
            _ => {}
        }
    }
}

impl State {
    fn fault(&self) -> Option<&'static str> {
        if self.calm.load(Ordering::SeqCst) {
            return None;
        }
        let mut roll = self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(1000);
        for ((name, weight), count) in FAULTS.iter().zip(&self.faults) {
            if roll < *weight {
                count.fetch_add(1, Ordering::Relaxed);
                return Some(name);
            }
            roll -= weight;
        }
        None
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut to = stream;
        while let Some(asked) = read(&mut reader)? {
            let thing = self.things.get().and_then(|things| things.iter().find(|thing| thing.path() == asked.path));
            let Some(object) = thing.map(|thing| thing.now()) else {
                to.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            };
            self.answers.fetch_add(1, Ordering::Relaxed);
            match self.fault() {
                None => answer(to, &object, &asked, &Manner::default())?,
                Some("truncated") => {
                    let part = self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(1000);
                    return answer(to, &object, &asked, &Manner { part, ..Manner::default() });
                }
                Some("stalled") => {
                    answer(to, &object, &asked, &Manner { part: 500, ..Manner::default() })?;
                    std::thread::sleep(Duration::from_secs(4));
                    return Ok(());
                }
                Some("wrong Content-Range") => {
                    return answer(to, &object, &asked, &Manner { shift: 4096, ..Manner::default() });
                }
                Some("wrong total") => {
                    return answer(to, &object, &asked, &Manner { total: WRONG_TOTAL, ..Manner::default() });
                }
                Some("503") => {
                    to.write_all(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy")?;
                }
                Some("500") => to.write_all(b"HTTP/1.1 500 Broken\r\nContent-Length: 6\r\n\r\nbroken")?,
                Some("404") => to.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
                Some("ignored Range") => {
                    answer(to, &object, &Asked { range: None, ..asked }, &Manner::default())?;
                }
                Some("slow") => {
                    answer(to, &object, &asked, &Manner { pause: Duration::from_millis(20), ..Manner::default() })?;
                }
                Some("no length") => {
                    let asked = Asked { range: None, ..asked };
                    return answer(to, &object, &asked, &Manner { length: false, ..Manner::default() });
                }
                Some("no HTTP") => return to.write_all(b"\x16\x03\x01 this is no answer\r\n\r\n"),
                Some("chunks that break off") => {
                    let mut buf = vec![0; object.size.min(5000) as usize];
                    object.read(0, &mut buf);
                    write!(
                        to,
                        "HTTP/1.1 200 OK\r\nETag: \"{:x}\"\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                        object.seed,
                        buf.len() + 1
                    )?;
                    return to.write_all(&buf);
                }
                // "closed unanswered"
                Some(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// In which manner an answer goes out.
struct Manner {
    /// Thousandths of the body that are sent.
    part: u64,
    /// How far off the range is that it names.
    shift: u64,
    /// How far off the total is that it names.
    total: u64,
    /// After each piece.
    pause: Duration,
    /// Whether the length is told.
    length: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { part: 1000, shift: 0, total: 0, pause: Duration::ZERO, length: true }
    }
}

fn answer(mut to: &TcpStream, object: &Object, asked: &Asked, manner: &Manner) -> io::Result<()> {
    let tag = format!("\"{:x}\"", object.seed);
    if asked.if_none_match.as_deref() == Some(&tag) {
        return write!(to, "HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\nContent-Length: 0\r\n\r\n");
    }
    let same = asked.if_range.as_ref().is_none_or(|wanted| *wanted == tag);
    let (from, end, first) = match asked.range.filter(|_| same) {
        Some((from, _)) if from >= object.size => {
            return write!(
                to,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                object.size
            );
        }
        Some((from, end)) => {
            let end = end.min(object.size);
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\n",
                from + manner.shift,
                end - 1 + manner.shift,
                object.size + manner.total
            );
            (from, end, head)
        }
        None => (0, object.size, "HTTP/1.1 200 OK\r\n".to_owned()),
    };
    let length = if manner.length { format!("Content-Length: {}", end - from) } else { "Connection: close".to_owned() };
    write!(to, "{first}{length}\r\nAccept-Ranges: bytes\r\nETag: {tag}\r\nCache-Control: max-age=1\r\n\r\n")?;
    if asked.head_only {
        return Ok(());
    }
    let end = from + (end - from) * manner.part / 1000;
    let mut buf = vec![0; 64 << 10];
    let mut at = from;
    while at < end {
        let take = buf.len().min((end - at) as usize);
        object.read(at, &mut buf[..take]);
        to.write_all(&buf[..take])?;
        at += take as u64;
        if !manner.pause.is_zero() {
            std::thread::sleep(manner.pause);
        }
    }
    Ok(())
}
