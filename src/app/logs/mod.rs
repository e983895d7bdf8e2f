//! What the node writes about itself: one line an event to standard error, for people or as JSON, with a level that can
//! be changed while running.
//!
//! Lines go through a buffer to a thread of their own ([`queue`]): a reader of the log that stands still must not hold the
//! reactor up. The access record has a writer of its own ([`lines`]): there is one for every request.

mod lines;
mod queue;

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

use crate::app::logs::lines::{Lines, Look};
use crate::app::logs::queue::Queue;

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
pub struct Logs {
    level: Option<reload::Handle<EnvFilter, Registry>>,
    queue: Queue,
}

impl Logs {
    /// Starts to log. Where the process has a log already (it was started inside another program), that one stays.
    pub fn start(level: &str, format: LogFormat) -> io::Result<Self> {
        let filter = EnvFilter::builder().parse(level).map_err(io::Error::other)?;
        let (filter, handle) = reload::Layer::new(filter);
        let queue = Queue::start()?;
        let plain = tracing_subscriber::fmt::layer().with_writer(queue.clone());
        let lines: Box<dyn Layer<_> + Send + Sync> = if format.is_json() {
            let json = plain.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(json.map_event_format(|other| Lines::new(Look::Json, other)))
        } else if journal() {
            Box::new(plain.with_ansi(false).without_time().map_event_format(|other| Lines::new(Look::Untimed, other)))
        } else {
            let plain = plain.with_ansi(io::stderr().is_terminal());
            Box::new(plain.map_event_format(|other| Lines::new(Look::Timed, other)))
        };
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        std::panic::set_hook(Box::new(panicked));
        Ok(Self { level: started.is_ok().then_some(handle), queue })
    }

    /// Writes lines as they are, in their turn.
    pub(crate) fn say(&self, text: &str) {
        self.queue.put(text.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_named() {
        for format in [LogFormat::Auto, LogFormat::Human, LogFormat::Json] {
            assert_eq!(format.word().parse(), Ok(format));
        }
        assert!("yaml".parse::<LogFormat>().is_err());
    }
}
