//! Why a request is not answered with content.

use crate::{fill, store};

/// Why a request is not answered with content. `serve/reply.rs` makes statuses and public texts of it; its own text goes to
/// the access record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A method that the content face does not have.
    #[error("method not allowed")]
    Method,
    /// A target longer than the index takes.
    #[error("a request target of {0} bytes is too long")]
    TargetTooLong(usize),
    /// A request that HTTP itself forbids.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// No rule matches, or the request contradicts itself.
    #[error(transparent)]
    Refused(#[from] fill::Refusal),
    /// It could not be had.
    #[error(transparent)]
    Fill(#[from] fill::Error),
    /// It is held, but could not be read.
    #[error("a held payload cannot be read: {0}")]
    Store(#[from] store::Error),
    /// The flight ended before the first byte, without a word.
    #[error("the flight ended before its first byte")]
    Ended,
    /// Something that was passed on makes no answer.
    #[error("what the origin answered cannot be passed on: {0}")]
    Passed(String),
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The one who asked.
    Client,
    /// The one whom we asked.
    Upstream,
    /// The disk, or what keeps order on it.
    Disk,
    /// This node.
    Us,
}

impl Fault {
    /// The word for the access record.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Disk => "disk",
            Self::Us => "us",
        }
    }
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Method
            | Self::TargetTooLong(_)
            | Self::Malformed(_)
            | Self::Refused(_)
            | Self::Fill(fill::Error::Nowhere) => Fault::Client,
            Self::Fill(fill::Error::Store(_)) | Self::Store(_) => Fault::Disk,
            Self::Fill(fill::Error::Closing) | Self::Ended => Fault::Us,
            Self::Fill(_) | Self::Passed(_) => Fault::Upstream,
        }
    }

    /// Whether the same request may be answered later, without anybody mending anything at the client or the origin.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Method | Self::TargetTooLong(_) | Self::Malformed(_) | Self::Refused(_) | Self::Passed(_) => false,
            Self::Fill(error) => !matches!(error, fill::Error::Origin(..) | fill::Error::Nowhere),
            Self::Store(_) | Self::Ended => true,
        }
    }
}
