//! What is wrong with bytes that came from outside: one enum for the room.

use std::io;

/// How much of an outside value goes into a message, in characters: a hostile one cannot flood a log.
const SHOWN_CHARS_MAX: usize = 80;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever wrote the bytes: what they say cannot be used, however often it is read.
    Sender,
    /// The way they came: they end in the middle, or reading failed.
    Path,
    /// Where the result was to go: a file or buffer of this node.
    Us,
}

/// Why bytes could not be read, or a value could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes end before what they began is complete.
    #[error("{what} ends after {at} bytes, in the middle; ask for it again")]
    Truncated {
        /// What kind of bytes.
        what: &'static str,
        /// How many there were.
        at: u64,
    },
    /// Not the form that it should have.
    #[error("{what} is malformed near byte {at}: {why}")]
    Malformed {
        /// What kind of bytes.
        what: &'static str,
        /// Near which byte, counted from the beginning.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// More of something than is taken.
    #[error("{what} has more than {max} {unit}, which nothing legitimate needs; it was not read further")]
    Limit {
        /// What kind of bytes.
        what: &'static str,
        /// How many are taken.
        max: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Well formed, but something else than what was asked for.
    #[error("expected {wanted}, got {got:?}")]
    Unexpected {
        /// What was expected.
        wanted: String,
        /// What came.
        got: String,
    },
    /// An element that must be there is not.
    #[error("{inside} has no {field}")]
    Missing {
        /// In what it is missing.
        inside: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// An element whose text is not of its type.
    #[error("{field} is {got:?}, which is not {wanted}")]
    Value {
        /// Which element.
        field: String,
        /// Its text, or the beginning of it.
        got: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The bytes could not be read.
    #[error("reading failed: {0}")]
    Read(#[source] io::Error),
    /// What was read could not be handed on.
    #[error("handing on failed: {0}")]
    Write(#[source] io::Error),
}

/// The usual result of this room.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Malformed { .. }
            | Self::Limit { .. }
            | Self::Unexpected { .. }
            | Self::Missing { .. }
            | Self::Value { .. } => Fault::Sender,
            Self::Truncated { .. } | Self::Read(_) => Fault::Path,
            Self::Write(_) => Fault::Us,
        }
    }

    /// Whether asking again for the same can bring better bytes.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Read(_))
    }

    /// A text that is not of its type; only its beginning is kept.
    pub(crate) fn value(field: &str, got: &str, wanted: &'static str) -> Self {
        Self::Value { field: shown(field), got: shown(got), wanted }
    }
}

/// The same, without line breaks and what else a terminal would obey.
pub(crate) fn line(text: &str) -> String {
    shown(text).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The beginning of an outside text, as much of it as goes into a message.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
