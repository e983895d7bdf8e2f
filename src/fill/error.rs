//! What can go wrong while a payload is got, whose fault it is, and whether asking again can help.

use std::sync::Arc;
use std::time::Duration;

use crate::upstream;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The one who asked: for something that nobody here has heard of.
    Client,
    /// The origin, or the way to it.
    Upstream,
    /// The disk or the index.
    Disk,
    /// This node: it is being stopped, or a flight broke.
    Us,
}

/// Why a payload cannot be had now. `Clone`, since every waiter of a flight gets it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// 401, 403, 404, 410: the origin's last word, passed on and never kept.
    #[error("{0}")]
    Origin(Arc<upstream::Error>, u16),
    /// It is not held, and no rule, note or catalog names a place where it could be had.
    #[error("not held, and no place to fetch it from is known")]
    Nowhere,
    /// Nothing came in time; it may later.
    #[error("not available now: {why}")]
    Unavailable {
        /// What was tried and what came of it.
        why: String,
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// What was answered is no longer what comes: the object, or bytes of it, were replaced. Who has sent nothing yet asks
    /// for it again at once, and nobody notices.
    #[error("it was replaced while it was fetched: {why}")]
    Changed {
        /// By what it was noticed.
        why: String,
    },
    /// The bytes contradict a published digest. Every open response is cut; the draft lies in quarantine.
    #[error("the bytes were wrong: {why}")]
    Mismatch {
        /// Which digest, and what was computed.
        why: String,
    },
    /// The store refuses.
    #[error("store: {0}")]
    Store(Arc<crate::store::Error>),
    /// The node is being stopped.
    #[error("shutting down")]
    Closing,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Nowhere => Fault::Client,
            Self::Origin(..) | Self::Unavailable { .. } | Self::Changed { .. } | Self::Mismatch { .. } => {
                Fault::Upstream
            }
            Self::Store(_) => Fault::Disk,
            Self::Closing => Fault::Us,
        }
    }

    /// Whether the same question can be answered later without anybody mending anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Changed { .. } | Self::Mismatch { .. } | Self::Closing => true,
            Self::Origin(..) | Self::Nowhere | Self::Store(_) => false,
        }
    }

    /// The lines of `WWW-Authenticate` that an origin's 401 came with.
    pub fn challenges(&self) -> &[String] {
        match self {
            Self::Origin(error, 401) => match &**error {
                upstream::Error::Status { challenges, .. } => challenges,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Whether it is an answer like another and no trouble: any client can have as many of them as it asks for, so that they
    /// stand in the log no louder than its requests do.
    pub(super) fn is_ordinary(&self) -> bool {
        matches!(self, Self::Origin(_, 404 | 410) | Self::Nowhere | Self::Closing)
    }

    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), retry_after: super::config::RETRY_AFTER }
    }

    /// What a client is told of an origin's failure.
    pub(super) fn of_origin(error: &upstream::Error) -> Self {
        match error {
            upstream::Error::Status { status: status @ (401 | 403 | 404 | 410), .. } => {
                Self::Origin(Arc::new(error.clone()), *status)
            }
            // A circle is no matter of time. Who closed it, a node too, shall not ask again.
            upstream::Error::Looped { .. } => Self::Origin(Arc::new(error.clone()), 508),
            upstream::Error::Unavailable { retry_after, .. } => Self::Unavailable {
                why: error.to_string(),
                retry_after: retry_after.unwrap_or(super::config::RETRY_AFTER),
            },
            upstream::Error::Resting { retry_after, .. } => {
                Self::Unavailable { why: error.to_string(), retry_after: *retry_after }
            }
            _ => Self::unavailable(error.to_string()),
        }
    }
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}
