//! Why a request of an agent is not answered as it was meant.

use crate::serve::Fault;
use crate::wire::wusp::FaultCode;
use crate::{fleet, store};

/// Why there is no answer. What the agent is told is [`Error::code`] and [`Error::parameter`]; its own text goes to the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The protocol has a word for it.
    #[error("{why}")]
    Refused {
        /// The word.
        code: FaultCode,
        /// The parameter that is wrong; empty where it is none.
        parameter: &'static str,
        /// Why, for the log.
        why: String,
    },
    /// A list that is too long, or the catalog.
    #[error(transparent)]
    Fleet(#[from] fleet::error::Error),
    /// The catalog, or the register of endpoints.
    #[error("the catalog cannot be read: {0}")]
    Store(#[from] store::Error),
    /// No random numbers, or no key.
    #[error("a cookie cannot be made: the system gives no random numbers")]
    Sealing,
    /// A task of this node ended without an answer.
    #[error("a task ended without an answer")]
    Ended,
    /// Too many ask at once.
    #[error("too many agents ask at once")]
    Busy,
}

impl Error {
    /// A refusal with nothing to name.
    pub(super) fn refused(code: FaultCode, why: impl Into<String>) -> Self {
        Self::Refused { code, parameter: "", why: why.into() }
    }

    /// A parameter is wrong.
    pub(super) fn parameter(parameter: &'static str, why: impl Into<String>) -> Self {
        Self::Refused { code: FaultCode::InvalidParameters, parameter, why: why.into() }
    }

    /// What the agent is told.
    pub(super) fn told(&self) -> (FaultCode, &'static str) {
        match self {
            Self::Refused { code, parameter, .. } => (*code, parameter),
            Self::Fleet(fleet::error::Error::Long { list, .. }) => (FaultCode::InvalidParameters, parameter_of(list)),
            Self::Busy => (FaultCode::ServerBusy, ""),
            Self::Fleet(_) | Self::Store(_) | Self::Sealing | Self::Ended if self.is_retryable() => {
                (FaultCode::ServerBusy, "")
            }
            Self::Fleet(_) | Self::Store(_) | Self::Sealing | Self::Ended => (FaultCode::InternalServerError, ""),
        }
    }

    /// Whose fault it is.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } | Self::Fleet(fleet::error::Error::Long { .. }) => Fault::Client,
            Self::Fleet(_) | Self::Store(_) => Fault::Disk,
            Self::Sealing | Self::Ended | Self::Busy => Fault::Us,
        }
    }

    /// Whether the same request may be answered later.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => *code == FaultCode::ServerBusy,
            Self::Fleet(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Sealing => false,
            Self::Ended | Self::Busy => true,
        }
    }
}

/// Lists of `SyncUpdates` stand in its `parameters`.
const fn parameter_of(list: &'static str) -> &'static str {
    match list.as_bytes() {
        b"InstalledNonLeafUpdateIDs" => "parameters.InstalledNonLeafUpdateIDs",
        b"OtherCachedUpdateIDs" => "parameters.OtherCachedUpdateIDs",
        b"FilterCategoryIds" => "parameters.FilterCategoryIds",
        _ => list,
    }
}
