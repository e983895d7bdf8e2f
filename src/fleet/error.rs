//! What can go wrong in this room, and whose fault it is.

use crate::store;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The endpoint's: it asked for what cannot be.
    Client,
    /// The store's.
    Store,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list of a request is longer than any endpoint's.
    #[error("{list} has {many} entries, and at most {max} are taken")]
    Long {
        /// Which list, by its name in the protocol.
        list: &'static str,
        /// How many it has.
        many: usize,
        /// How many are taken.
        max: usize,
    },
    /// A thread ended under it: the node is ending.
    #[error("the node is ending")]
    Ended,
    /// The catalog cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Long { .. } => Fault::Client,
            Self::Ended | Self::Store(_) => Fault::Store,
        }
    }

    /// Whether the same question may be answered later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Long { .. } => false,
            Self::Ended => true,
            Self::Store(error) => error.is_retryable(),
        }
    }
}
