//! What the node writes about itself: one line an event to standard error, for people or as JSON, with a level that can
//! be changed while running.
//!
//! Lines go through a queue to a thread of their own: a reader of the log that stands still must not hold the reactor
//! up. Where the queue is full, in lines or in bytes, lines are lost, and the next line that fits says how many.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

/// Lines that may wait: a second or two of a node under full load.
const QUEUE_LINES: usize = 8192;

/// Bytes that may wait: a kilobyte for each of those lines. Who sends long requests does not fill the memory with them.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// How long the end of the process waits for the last lines to go out.
const FLUSH: Duration = Duration::from_secs(2);

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal and under systemd, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The word in configuration and flags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }

    /// Whether lines are JSON objects here and now.
    pub(crate) fn is_json(self) -> bool {
        match self {
            Self::Auto => !io::stderr().is_terminal() && !journal(),
            Self::Human => false,
            Self::Json => true,
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Auto, Self::Human, Self::Json]
            .into_iter()
            .find(|format| format.word() == text)
            .ok_or_else(|| format!("{text:?} is none of auto, human, json"))
    }
}

/// Whether standard error goes to systemd's journal, which puts the time before each line itself.
fn journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}

/// The running log. Dropping it writes out what waits.
pub(crate) struct Logs {
    level: Option<reload::Handle<EnvFilter, Registry>>,
    queue: Queue,
}

impl Logs {
    /// Starts to log. Where the process has a log already (it was started inside another program), that one stays.
    pub(crate) fn start(level: &str, format: LogFormat) -> io::Result<Self> {
        let filter = EnvFilter::builder().parse(level).map_err(io::Error::other)?;
        let (filter, handle) = reload::Layer::new(filter);
        let queue = Queue::start()?;
        let plain = tracing_subscriber::fmt::layer().with_writer(queue.clone());
        let lines: Box<dyn Layer<_> + Send + Sync> = if format.is_json() {
            Box::new(plain.json().flatten_event(true).with_current_span(false).with_span_list(false))
        } else if journal() {
            Box::new(plain.with_ansi(false).without_time())
        } else {
            Box::new(plain.with_ansi(io::stderr().is_terminal()))
        };
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        std::panic::set_hook(Box::new(panicked));
        Ok(Self { level: started.is_ok().then_some(handle), queue })
    }

    /// Writes lines as they are, in their turn.
    pub(crate) fn say(&self, text: &str) {
        self.queue.put(text.as_bytes().to_vec());
    }

    /// Another level from now on.
    pub(crate) fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::builder().parse(level).map_err(|error| error.to_string())?;
        match &self.level {
            Some(handle) => handle.reload(filter).map_err(|error| error.to_string()),
            None => Err("the log belongs to the program that started the node".into()),
        }
    }
}

/// A panic is one line like any other, so that a log of JSON stays one. What panicked is a fault of the program.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(
        why = panic.payload_as_str().unwrap_or("unknown"),
        place,
        thread = thread.name().unwrap_or("unnamed"),
        "a fault of the program ended a task: please report it with this line"
    );
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.queue.flush();
    }
}

/// What the writing thread is told.
enum Message {
    Line(Vec<u8>),
    /// Answer when everything before has been written.
    Flush(SyncSender<()>),
}

/// The way to the writing thread.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Message>,
    /// Bytes of the lines that wait.
    bytes: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    fn start() -> io::Result<Self> {
        let (lines, waiting) = sync_channel(QUEUE_LINES);
        let queue = Self { lines, bytes: Arc::default(), lost: Arc::default() };
        let bytes = Arc::clone(&queue.bytes);
        // It ends when the last sender is gone, at the latest with the process.
        std::thread::Builder::new().name("log".into()).spawn(move || write_all(&waiting, &bytes, &mut io::stderr()))?;
        Ok(queue)
    }

    fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.try_send(Message::Flush(done)).is_ok() {
            // A reader that stands still costs the last lines, never the end of the process.
            let _ = wait.recv_timeout(FLUSH);
        }
    }

    fn put(&self, line: Vec<u8>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let line = if lost == 0 {
            line
        } else {
            let mut told =
                format!("{{\"level\":\"WARN\",\"message\":\"log lines lost\",\"lines\":{lost}}}\n").into_bytes();
            told.extend(line);
            told
        };
        let len = line.len();
        // The length is added first, so that several threads cannot pass the limit together.
        let fits = self.bytes.fetch_add(len, Ordering::Relaxed).saturating_add(len) <= QUEUE_BYTES_MAX;
        if !fits || self.lines.try_send(Message::Line(line)).is_err() {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

fn write_all(waiting: &Receiver<Message>, bytes: &AtomicUsize, out: &mut impl Write) {
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Line(line) => {
                // Nobody is left to be told that the log cannot be written.
                drop(out.write_all(&line));
                bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Message::Flush(done) => {
                drop(out.flush());
                // The one who asked may have stopped waiting.
                let _ = done.try_send(());
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, bytes: Vec::new() }
    }
}

/// One event's line; it goes out when it is dropped.
struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.queue.put(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_lines_and_says_so() {
        let (lines, waiting) = sync_channel(1);
        let queue = Queue { lines, bytes: Arc::default(), lost: Arc::default() };
        let bytes = Arc::clone(&queue.bytes);
        for line in ["a\n", "b\n", "c\n"] {
            let mut writer = queue.make_writer();
            writer.write_all(line.as_bytes()).unwrap();
        }
        let Ok(Message::Line(first)) = waiting.try_recv() else { panic!("no line") };
        assert_eq!(first, b"a\n");
        queue.put(b"d\n".to_vec());
        drop(queue);
        let mut out = Vec::new();
        write_all(&waiting, &bytes, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"level\":\"WARN\",\"message\":\"log lines lost\",\"lines\":2}\nd\n"
        );
    }

    #[test]
    fn long_lines_do_not_fill_the_memory() {
        let (lines, waiting) = sync_channel(QUEUE_LINES);
        let queue = Queue { lines, bytes: Arc::default(), lost: Arc::default() };
        let bytes = Arc::clone(&queue.bytes);
        let long = vec![b'x'; 64 << 10];
        for _ in 0..QUEUE_LINES {
            queue.put(long.clone());
        }
        assert!(bytes.load(Ordering::Relaxed) <= QUEUE_BYTES_MAX);
        let lost = queue.lost.load(Ordering::Relaxed);
        assert_eq!(lost, QUEUE_LINES as u64 - (QUEUE_BYTES_MAX / long.len()) as u64);
        let first = waiting.iter().take(1).map(|message| match message {
            Message::Line(line) => line.len(),
            Message::Flush(_) => 0,
        });
        bytes.fetch_sub(first.sum(), Ordering::Relaxed);
        queue.put(b"short\n".to_vec());
        drop(queue);
        let mut out = Vec::new();
        write_all(&waiting, &bytes, &mut out);
        assert!(out.ends_with(format!("\"lines\":{lost}}}\nshort\n").as_bytes()), "what was lost is told");
        assert_eq!(bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn formats_are_named() {
        for format in [LogFormat::Auto, LogFormat::Human, LogFormat::Json] {
            assert_eq!(format.word().parse(), Ok(format));
        }
        assert!("yaml".parse::<LogFormat>().is_err());
    }
}
