//! Why a request of a server below is not answered as it was meant.

use crate::serve::Fault;
use crate::store;
use crate::wire::wsusss::FaultCode;

/// Why there is no answer. What the server is told is [`Error::told`]; its own text goes to the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The protocol has a word for it.
    #[error("{why}")]
    Refused {
        /// The word.
        code: FaultCode,
        /// What goes with it: a parameter, or digests.
        message: String,
        /// Why, for the log.
        why: String,
    },
    /// The catalog.
    #[error("the catalog cannot be read: {0}")]
    Store(#[from] store::Error),
    /// No random numbers, or no key.
    #[error("a cookie cannot be made: the system gives no random numbers")]
    Sealing,
    /// A task of this node ended without an answer.
    #[error("a task ended without an answer")]
    Ended,
    /// Too many ask at once.
    #[error("too many servers ask at once")]
    Busy,
}

impl Error {
    /// A refusal with nothing to name.
    pub(super) fn refused(code: FaultCode, why: impl Into<String>) -> Self {
        Self::Refused { code, message: String::new(), why: why.into() }
    }

    /// What the server is told: the word, and what goes with it.
    pub(super) fn told(&self) -> (FaultCode, &str) {
        match self {
            Self::Refused { code, message, .. } => (*code, message),
            Self::Busy | Self::Ended => (FaultCode::ServerBusy, ""),
            Self::Store(error) if error.is_retryable() => (FaultCode::ServerBusy, ""),
            Self::Store(_) | Self::Sealing => (FaultCode::InternalServerError, ""),
        }
    }

    /// Whose fault it is.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } => Fault::Client,
            Self::Store(_) => Fault::Disk,
            Self::Sealing | Self::Ended | Self::Busy => Fault::Us,
        }
    }
}
